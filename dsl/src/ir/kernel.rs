//! A whole kernel.

use std::collections::{BTreeSet, HashSet};

use super::{Access, Arena, Block, Bounds, CheckKind, Expression, Handle, Span, Statement, Symbol, Type};
use crate::element::ElementType;

/// What one program of a kernel does, and how many programs there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// The name of the author's function.
    pub name: String,
    /// Where the author's function stands.
    pub span: Span,
    /// The parameters in order; `[&Tensor; N]` takes N of them.
    pub parameters: Vec<Parameter>,
    /// All values.
    pub expressions: Arena<Expression>,
    /// The type of each expression, by its index.
    pub types: Vec<Type>,
    /// Where each expression was written, by its index.
    pub spans: Vec<Span>,
    /// All variables.
    pub locals: Arena<Local>,
    /// The number of programs on each grid axis, innermost first: 1 to 3 scalar i64 values that the host can compute,
    /// being made of literals, extents, strides, counts and scalar arguments only. They are not defined by the body.
    pub grid: Vec<Handle<Expression>>,
    /// What the arguments of every launch have to fulfil: the host tests it before the launch, so it is known to hold in it.
    pub requirements: Vec<Requirement>,
    /// What a program does.
    pub body: Block,
    /// How the launch symbols are bound in this variant; nothing is, as recorded.
    pub bindings: Bindings,
    /// Whether generated code tests what its author claims; not, as recorded.
    pub checked: bool,
    /// Whether an index out of bounds is reported under every policy, and not under *trap* alone; not, as recorded.
    pub reports: bool,
    /// Whether a launch is refused if a bounds check is left in it.
    pub denies_guards: bool,
}

/// A condition on the arguments of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// A scalar bool that the host can compute, as it does the grid. The body need not define it.
    pub condition: Handle<Expression>,
    /// Where it was written.
    pub span: Span,
}

/// How launch symbols are bound in one variant of a kernel. A symbol listed nowhere is a kernel argument.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Bindings {
    /// Extents, strides and counts that are literals here, in order. Expressions no longer refer to them; addresses and
    /// bounds checks do.
    pub exact: Vec<(Symbol, i64)>,
    /// Count parameters that are read from device memory, in order, with their type in memory: i32 or i64.
    pub device: Vec<(u32, ElementType)>,
}

impl Bindings {
    /// The literal value of `symbol`, if it has one here.
    pub fn exact(&self, symbol: Symbol) -> Option<i64> {
        self.exact.iter().find(|(s, _)| *s == symbol).map(|(_, value)| *value)
    }

    /// The type in memory of the count parameter at `position`, if it is read from there.
    pub fn device(&self, position: u32) -> Option<ElementType> {
        self.device
            .iter()
            .find(|(p, _)| *p == position)
            .map(|(_, element)| *element)
    }
}

/// A parameter of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parameter {
    /// The author's name for it; `name[i]` inside an array.
    pub name: String,
    /// What it is.
    pub kind: ParameterKind,
}

/// What a parameter is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// A tensor in device memory, or a list of them.
    Tensor(TensorParameter),
    /// A count: an i64 that is never negative.
    Count,
    /// Any other scalar.
    Scalar(ElementType),
}

/// What is known about a tensor in every launch of one variant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorParameter {
    /// The element type.
    pub element: ElementType,
    /// The number of axes, 1 to 4. Of a list, the first one counts its tensors, and the others are theirs.
    pub rank: u8,
    /// Whether it is a list of tensors.
    pub list: Option<List>,
    /// Whether the kernel may write it. A mutable tensor shares no byte with any other tensor of the launch.
    pub mutable: bool,
    /// How strides relate to extents.
    pub layout: Layout,
    /// The address of the first element is a multiple of this: a power of two, at least the element size.
    pub alignment: u32,
}

/// Tensors of one element type and rank, whose number a launch decides. Layout and alignment are what all of them have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct List {
    /// The axes of the parameter on which the kernel needs all tensors to have one extent.
    pub shared: [bool; 4],
    /// Whether each tensor is that of one rank, in their order, so that other ranks read and write them while the kernel
    /// runs. Which rank's kernel it is says the parameter behind the list, a count.
    pub peers: bool,
}

/// The most tensors of a short list. What is passed with every launch is to be little beside the launch itself.
const SHORT_LIST: usize = 16;

/// How the strides of a tensor relate to its extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Row-major without gaps: strides follow from extents.
    Contiguous,
    /// Neighbours on the innermost axis are adjacent; every other stride is a multiple of `multiple` elements.
    Rows {
        /// Every outer stride is a multiple of this.
        multiple: u32,
    },
    /// Any strides.
    Strided,
}

/// A variable: the only thing that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Local {
    /// The author's name, for the printed text.
    pub name: String,
    /// The type of every value it holds.
    pub ty: Type,
}

impl Kernel {
    /// The type of an expression.
    pub fn ty(&self, expression: Handle<Expression>) -> Type {
        self.types[expression.index()]
    }

    /// Whether `value`, or anything it is made of, satisfies `test`. Each expression is looked at once, however often it is
    /// used; what `within` refuses is not looked into.
    pub fn is_made_of(
        &self,
        value: Handle<Expression>,
        within: impl Fn(Handle<Expression>) -> bool,
        test: impl Fn(Handle<Expression>) -> bool,
    ) -> bool {
        let (mut open, mut seen) = (vec![value], HashSet::new());
        while let Some(value) = open.pop() {
            if test(value) {
                return true;
            }
            if within(value) && seen.insert(value) {
                self.expressions[value].for_each_operand(|operand| open.push(operand));
            }
        }
        false
    }

    /// Whether a launch is refused in which certain accesses are narrow.
    pub fn denies_narrow(&self) -> bool {
        let denies = |access: &Access| access.must_be_wide;
        let mut found = self
            .expressions
            .iter()
            .any(|(_, node)| node.access().is_some_and(denies));
        self.body.walk(&mut |statement, _| {
            found |= matches!(statement, Statement::Store { access, .. } if denies(access));
        });
        found
    }

    /// What the grid is made of, in the order of the arena: operands first. Of a malformed kernel there may be values that it
    /// does not have.
    pub(crate) fn grid_values(&self) -> BTreeSet<Handle<Expression>> {
        self.made_of(self.grid.iter().copied())
    }

    /// What the requirements are made of, as [`Kernel::grid_values`] says.
    pub(crate) fn requirement_values(&self) -> BTreeSet<Handle<Expression>> {
        self.made_of(self.requirements.iter().map(|requirement| requirement.condition))
    }

    /// The scalar parameters that the host needs to know for the grid and the requirements.
    pub fn host_scalars(&self) -> Vec<u32> {
        let values = self.grid_values().into_iter().chain(self.requirement_values());
        let mut scalars: Vec<u32> = values
            .filter_map(|value| match self.expressions.get(value) {
                Some(Expression::Argument(position)) => Some(*position),
                _ => None,
            })
            .collect();
        scalars.sort_unstable();
        scalars.dedup();
        scalars
    }

    /// `values` and all that they are made of.
    pub(crate) fn made_of(&self, values: impl IntoIterator<Item = Handle<Expression>>) -> BTreeSet<Handle<Expression>> {
        let mut needed: BTreeSet<_> = values.into_iter().collect();
        let mut next = needed.last().copied();
        while let Some(value) = next {
            if let Some(expression) = self.expressions.get(value) {
                // In a well-formed kernel operands come earlier; in another one this still ends.
                expression.for_each_operand(|operand| needed.extend((operand < value).then_some(operand)));
            }
            next = needed.range(..value).next_back().copied();
        }
        needed
    }

    /// The tensor parameter at `position`, if there is one.
    pub fn tensor(&self, position: u32) -> Option<&TensorParameter> {
        match &self.parameters.get(position as usize)?.kind {
            ParameterKind::Tensor(tensor) => Some(tensor),
            ParameterKind::Count | ParameterKind::Scalar(_) => None,
        }
    }

    /// Whether other ranks read and write the tensors of this parameter while the kernel runs.
    pub fn is_of_peers(&self, tensor: u32) -> bool {
        let list = self.tensor(tensor).and_then(|tensor| tensor.list);
        list.is_some_and(|list| list.peers)
    }

    /// Whether what somebody says that holds is tested in this build.
    pub fn tests(&self, kind: CheckKind) -> bool {
        kind == CheckKind::Assert || self.checked
    }

    /// Whether a statement tests elements of a tile, each of which may end the program.
    pub fn checks_tile(&self, statement: &Statement) -> bool {
        let Statement::Check { condition, kind, .. } = statement else {
            return false;
        };
        self.tests(*kind) && !self.ty(*condition).is_scalar()
    }

    /// Whether the extent of this axis differs from tensor to tensor of a list.
    pub fn differs(&self, tensor: u32, axis: u8) -> bool {
        let list = self.tensor(tensor).and_then(|tensor| tensor.list);
        list.is_some_and(|list| axis > 0 && !list.shared.get(usize::from(axis)).is_some_and(|&shared| shared))
    }

    /// How many tensors there are in a list, if that is a literal, and few enough for a launch to pass where they are.
    pub(crate) fn short_list(&self, tensor: u32) -> Option<usize> {
        self.tensor(tensor)?.list?;
        let length = self.bindings.exact(Symbol::Extent { tensor, axis: 0 })?;
        usize::try_from(length).ok().filter(|length| *length <= SHORT_LIST)
    }

    /// Forgets the expressions from position `length` on, which nothing refers to any more.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.expressions.truncate(length);
        self.types.truncate(length);
        self.spans.truncate(length);
    }

    /// Whether `access` reports an index that is out of bounds.
    pub fn reports(&self, access: &Access) -> bool {
        match access.bounds {
            Bounds::Trap => true,
            Bounds::ReadZeroSkipWrite | Bounds::Clamp => self.reports,
            Bounds::Unchecked => false,
        }
    }

    /// Stores an expression of type `ty`.
    pub fn append(&mut self, expression: Expression, ty: Type, span: Span) -> Handle<Expression> {
        self.types.push(ty);
        self.spans.push(span);
        self.expressions.append(expression)
    }
}
