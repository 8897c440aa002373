//! What a kernel declares: its parameters, its grid, and what it requires of a launch.

use super::Recorder;
use crate::element::ElementType;
use crate::ir::{
    BinaryOp, Expression, Handle, Layout, List, Parameter, ParameterKind, Requirement, Span, TensorParameter, verify,
};
use crate::trace::{ParameterFacts, TensorFacts};

/// The most axes that a tensor has.
const MAX_AXES: usize = 4;

impl Recorder {
    /// Declares the next parameter, a tensor.
    pub(crate) fn declare_tensor(&mut self, name: String, element: ElementType, rank: usize, mutable: bool) -> u32 {
        let facts = match self.request.parameters.get(self.kernel.parameters.len()) {
            Some(ParameterFacts::Tensor(facts)) if facts.extents.len() == rank => Some(facts.clone()),
            _ => None,
        };
        if facts.is_none() {
            let message =
                format!("parameter `{name}` is a tensor of rank {rank}, and the trace request does not describe one");
            self.fail(self.kernel.span, message, None);
        }
        self.declare_memory(name, element, rank, None, mutable, facts)
    }

    /// Declares the next parameter, a list of tensors of this rank, be it of peers.
    pub(crate) fn declare_list(
        &mut self,
        name: String,
        element: ElementType,
        rank: usize,
        mutable: bool,
        peers: bool,
    ) -> u32 {
        let facts = match self.request.parameters.get(self.kernel.parameters.len()) {
            Some(ParameterFacts::List(facts)) if facts.extents.len() == rank + 1 => Some(facts.clone()),
            _ => None,
        };
        if !(1..MAX_AXES).contains(&rank) {
            let message = format!("`{name}` is a list of tensors of rank {rank}; lists are of rank 1 to 3");
            self.fail(self.kernel.span, message, None);
        } else if facts.is_none() {
            let message = format!(
                "parameter `{name}` is a list of tensors of rank {rank}, and the trace request does not describe one"
            );
            self.fail(self.kernel.span, message, None);
        }
        let list = Some(List {
            shared: [false; 4],
            peers,
        });
        self.declare_memory(name, element, (rank + 1).min(MAX_AXES), list, mutable, facts)
    }

    fn declare_memory(
        &mut self,
        name: String,
        element: ElementType,
        rank: usize,
        list: Option<List>,
        mutable: bool,
        facts: Option<TensorFacts>,
    ) -> u32 {
        let position = self.kernel.parameters.len();
        let (layout, alignment) = facts.map_or((Layout::Strided, 1), |facts| (facts.layout, facts.alignment));
        let alignment = alignment.max(element.size() as u32);
        let tensor = TensorParameter {
            element,
            rank: rank as u8,
            list,
            mutable,
            layout,
            alignment,
        };
        self.kernel.parameters.push(Parameter {
            name,
            kind: ParameterKind::Tensor(tensor),
        });
        position as u32
    }

    /// Needs all tensors of a list to have one extent on `axis`.
    pub(crate) fn share(&mut self, parameter: u32, axis: u8) {
        let parameter = self.kernel.parameters.get_mut(parameter as usize);
        if let Some(ParameterKind::Tensor(tensor)) = parameter.map(|parameter| &mut parameter.kind)
            && let Some(list) = &mut tensor.list
        {
            list.shared[usize::from(axis)] = true;
        }
    }

    /// Where the kernel stands.
    pub(crate) fn kernel_span(&self) -> Span {
        self.kernel.span
    }

    /// Whether other ranks read and write the tensors of this parameter.
    pub(crate) fn is_of_peers(&self, parameter: u32) -> bool {
        self.kernel.is_of_peers(parameter)
    }

    /// Declares the next parameter, a count or scalar.
    pub(crate) fn declare_value(&mut self, name: String, kind: ParameterKind) -> u32 {
        self.kernel.parameters.push(Parameter { name, kind });
        self.kernel.parameters.len() as u32 - 1
    }

    /// The grid of the kernel.
    pub(crate) fn set_grid(&mut self, grid: Vec<Handle<Expression>>) {
        self.kernel.grid = grid;
    }

    /// Has the host test a condition before every launch: of several joined by "and" each on its own, for its own values.
    pub(crate) fn require(&mut self, condition: Handle<Expression>, span: Span) {
        if self.error.is_some() {
            return;
        }
        if let Some(Expression::Binary {
            op: BinaryOp::And,
            left,
            right,
        }) = self.kernel.expressions.get(condition)
        {
            let (left, right) = (*left, *right);
            self.require(left, span);
            return self.require(right, span);
        }
        if self.depth() > 1 {
            let message =
                "`require` inside recorded control flow: it is tested before the launch, whatever the kernel does";
            let advice = "write it before the `if` or loop, or use `device_assert`";
            return self.fail(span, message, Some(advice));
        }
        if condition.index() < self.kernel.expressions.len()
            && let Some((value, what)) = verify::unknown_to_host(&self.kernel, condition)
        {
            let place = self.kernel.spans.get(value.index()).copied().filter(Span::is_known);
            let message = format!("`require` is tested before the launch, and this depends on {what}");
            let advice = "use `device_assert` for what only the device knows";
            return self.fail(place.unwrap_or(span), message, Some(advice));
        }
        self.kernel.requirements.push(Requirement { condition, span });
    }
}
