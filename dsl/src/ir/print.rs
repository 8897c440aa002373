//! The text of a kernel.
//!
//! ```text
//! kernel gather_rows(
//!     out: mut bf16[2] contiguous align 16,
//!     index: i32[1] contiguous align 4,
//! )
//! grid [extent(out, 0)]
//! {
//!     %0 = load index[program(0)] guard zero(0: upper) : i32
//!     %1 = arange : i64[7168]
//!     ...
//! }
//! ```
//!
//! The text holds everything that decides the generated code but the schedule, and no handle, so that two kernels with
//! equal texts become equal code however they were built: values are numbered in the order the body defines them, what
//! is in scope everywhere is written where it is used, and what nothing defines or uses does not appear. Source
//! positions are left out, except by [`Kernel::to_string_with_spans`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use super::{
    Access, Atomic, Block, Expression, Guard, Handle, Kernel, Layout, Local, Parameter, ParameterKind, Span, Statement,
    Symbol,
};

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printer::new(self, f, false).kernel()
    }
}

impl Kernel {
    /// The text with the place of each statement in the author's source, for people.
    pub fn to_string_with_spans(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = Printer::new(self, &mut text, true).kernel();
        text
    }
}

struct Printer<'k, 'w> {
    kernel: &'k Kernel,
    out: &'w mut dyn Write,
    spans: bool,
    depth: usize,
    /// The name of each value defined so far.
    values: BTreeMap<Handle<Expression>, String>,
    locals: BTreeMap<Handle<Local>, String>,
    taken: BTreeSet<String>,
}

impl<'k, 'w> Printer<'k, 'w> {
    fn new(kernel: &'k Kernel, out: &'w mut dyn Write, spans: bool) -> Self {
        let (values, locals, taken) = Default::default();
        Self {
            kernel,
            out,
            spans,
            depth: 0,
            values,
            locals,
            taken,
        }
    }

    fn kernel(&mut self) -> fmt::Result {
        let kernel = self.kernel;
        writeln!(self.out, "kernel {}(", kernel.name)?;
        for parameter in &kernel.parameters {
            writeln!(self.out, "    {parameter},")?;
        }
        writeln!(self.out, ")")?;
        for &(symbol, value) in &kernel.bindings.exact {
            writeln!(self.out, "exact {} = {value}", self.symbol(symbol))?;
        }
        for &(position, element) in &kernel.bindings.device {
            writeln!(self.out, "device {} : {element}", self.symbol(Symbol::Count(position)))?;
        }
        if kernel.checked {
            writeln!(self.out, "checked")?;
        }
        if kernel.reports {
            writeln!(self.out, "reports")?;
        }
        self.grid()?;
        self.block(&kernel.body)?;
        writeln!(self.out)
    }

    /// The grid, with what it is computed from under names of its own.
    fn grid(&mut self) -> fmt::Result {
        let kernel = self.kernel;
        let mut needed: BTreeSet<Handle<Expression>> = kernel.grid.iter().copied().collect();
        let mut next = needed.last().copied();
        while let Some(value) = next {
            if let Some(expression) = kernel.expressions.get(value) {
                // In a well-formed kernel operands come earlier; in another one this still ends.
                expression.for_each_operand(|operand| {
                    needed.extend((operand < value).then_some(operand));
                });
            }
            next = needed.range(..value).next_back().copied();
        }
        for value in needed {
            let Some(expression) = kernel.expressions.get(value).filter(|e| !e.is_global()) else {
                continue;
            };
            let name = format!("%grid.{}", self.values.len());
            let (text, ty) = (self.expression(expression), self.ty(value));
            writeln!(self.out, "let {name} = {text}{ty}")?;
            self.values.insert(value, name);
        }
        writeln!(self.out, "grid [{}]", self.list(&kernel.grid))?;
        // The body defines what it uses itself.
        self.values.clear();
        Ok(())
    }

    fn indent(&mut self) -> fmt::Result {
        (0..self.depth).try_for_each(|_| self.out.write_str("    "))
    }

    fn block(&mut self, block: &Block) -> fmt::Result {
        if block.is_empty() {
            return self.out.write_str("{}");
        }
        writeln!(self.out, "{{")?;
        self.depth += 1;
        for (statement, span) in block {
            self.indent()?;
            self.statement(statement, *span)?;
        }
        self.depth -= 1;
        self.indent()?;
        self.out.write_str("}")
    }

    fn end(&mut self, span: Span) -> fmt::Result {
        if self.spans {
            writeln!(self.out, "  // {span}")
        } else {
            writeln!(self.out)
        }
    }

    fn statement(&mut self, statement: &Statement, span: Span) -> fmt::Result {
        match statement {
            Statement::Let(value) => {
                let text = match self.kernel.expressions.get(*value) {
                    Some(expression) => self.expression(expression),
                    None => "?".to_owned(),
                };
                let name = self.define(*value);
                write!(self.out, "{name} = {text}{}", self.ty(*value))?;
            }
            Statement::Store {
                access,
                value,
                conflict,
            } => {
                let (access, value) = (self.access(access), self.value(*value));
                let contract = conflict.map(|c| format!(" {}", c.name())).unwrap_or_default();
                write!(self.out, "store{contract} {access} = {value}")?;
            }
            Statement::Prefetch(access) => write!(self.out, "prefetch {}", self.access(access))?,
            Statement::Print { format, values } => write!(self.out, "print {format:?} ({})", self.list(values))?,
            Statement::GridDependency(dependency) => write!(self.out, "grid {}", dependency.name())?,
            Statement::Check {
                condition,
                kind,
                message,
            } => write!(self.out, "{} {} {message:?}", kind.name(), self.value(*condition))?,
            Statement::Assign { local, value } => {
                let (local, value) = (self.local(*local), self.value(*value));
                write!(self.out, "{local} = {value}")?;
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                write!(self.out, "if {} ", self.value(*condition))?;
                self.block(accept)?;
                if !reject.is_empty() {
                    write!(self.out, " else ")?;
                    self.block(reject)?;
                }
            }
            Statement::While {
                header,
                condition,
                body,
            } => {
                write!(self.out, "while ")?;
                if !header.is_empty() {
                    self.block(header)?;
                    write!(self.out, " ")?;
                }
                write!(self.out, "{} ", self.value(*condition))?;
                self.block(body)?;
            }
            Statement::For {
                induction,
                start,
                end,
                step,
                body,
            } => {
                let (start, end) = (self.value(*start), self.value(*end));
                let name = self.define(*induction);
                write!(
                    self.out,
                    "for {name}{} in {start}..{end} step {step} ",
                    self.ty(*induction)
                )?;
                self.block(body)?;
            }
            Statement::Break => self.out.write_str("break")?,
            Statement::Continue => self.out.write_str("continue")?,
            Statement::Return => self.out.write_str("return")?,
        }
        self.end(span)
    }

    fn define(&mut self, value: Handle<Expression>) -> String {
        let name = format!("%{}", self.values.len());
        self.values.insert(value, name.clone());
        name
    }

    fn ty(&self, value: Handle<Expression>) -> String {
        self.kernel
            .types
            .get(value.index())
            .map(|ty| format!(" : {ty}"))
            .unwrap_or_default()
    }

    fn expression(&mut self, expression: &Expression) -> String {
        match expression {
            Expression::Literal(_) | Expression::Symbol(_) | Expression::Argument(_) => self.global(expression),
            Expression::Induction(_) => "induction".to_owned(),
            // The type says the extents.
            Expression::Arange(_) => "arange".to_owned(),
            Expression::Broadcast { value, .. } => format!("broadcast {}", self.value(*value)),
            Expression::Reshape { value, .. } => format!("reshape {}", self.value(*value)),
            Expression::Permute { value, axes } => {
                let axes: Vec<String> = axes.iter().map(u8::to_string).collect();
                format!("permute [{}] {}", axes.join(", "), self.value(*value))
            }
            Expression::Slice {
                value,
                axis,
                start,
                step,
                ..
            } => format!("slice axis {axis} from {start} step {step} {}", self.value(*value)),
            Expression::Concatenate { left, right, axis } => {
                format!("concatenate axis {axis} {}", self.list(&[*left, *right]))
            }
            Expression::Take { value, index, axis } => format!("take axis {axis} {}", self.list(&[*value, *index])),
            Expression::Reduce { value, axis, reduction } => {
                format!("reduce axis {axis} {reduction} {}", self.value(*value))
            }
            Expression::Scan { value, axis, combine } => format!("scan axis {axis} {combine} {}", self.value(*value)),
            Expression::ArgSort {
                value,
                axis,
                descending,
            } => {
                let order = if *descending { "descending" } else { "ascending" };
                format!("argsort axis {axis} {order} {}", self.value(*value))
            }
            Expression::Histogram { value, mask, .. } => match mask {
                Some(mask) => format!("histogram {} where {}", self.value(*value), self.value(*mask)),
                None => format!("histogram {}", self.value(*value)),
            },
            Expression::Unary { op, value } => format!("{} {}", op.name(), self.value(*value)),
            Expression::Binary { op, left, right } => format!("{} {}", op.name(), self.list(&[*left, *right])),
            Expression::Compare { op, left, right } => format!("{} {}", op.name(), self.list(&[*left, *right])),
            Expression::MulAdd { left, right, addend } => format!("fma {}", self.list(&[*left, *right, *addend])),
            Expression::Select {
                condition,
                accept,
                reject,
            } => {
                format!("select {}", self.list(&[*condition, *accept, *reject]))
            }
            Expression::Cast { value, .. } => format!("cast {}", self.value(*value)),
            Expression::Bitcast { value, .. } => format!("bitcast {}", self.value(*value)),
            Expression::MultipleOf { value, by } => format!("multiple_of {by} {}", self.value(*value)),
            Expression::Local(local) => format!("read {}", self.local(*local)),
            Expression::Load(access) => format!("load {}", self.access(access)),
            Expression::Atomic(atomic) => self.atomic(atomic),
            Expression::Ptx(ptx) => {
                let outputs: Vec<&str> = ptx.outputs.iter().map(|element| element.name()).collect();
                let (outputs, inputs) = (outputs.join(", "), self.list(&ptx.inputs));
                format!("ptx {:?} [{outputs}] {} ({inputs})", ptx.text, ptx.output)
            }
        }
    }

    fn atomic(&self, atomic: &Atomic) -> String {
        let (access, order, scope) = (self.access(&atomic.access), atomic.order.name(), atomic.scope.name());
        let values: Vec<_> = atomic.update.operands().collect();
        format!(
            "atomic {} {order} {scope} {access} by {}",
            atomic.update.name(),
            self.list(&values)
        )
    }

    fn value(&self, value: Handle<Expression>) -> String {
        match (self.values.get(&value), self.kernel.expressions.get(value)) {
            (Some(name), _) => name.clone(),
            (None, Some(expression)) => self.global(expression),
            (None, None) => "?".to_owned(),
        }
    }

    /// A value that is in scope everywhere.
    fn global(&self, expression: &Expression) -> String {
        match expression {
            Expression::Literal(literal) => literal.to_string(),
            Expression::Symbol(symbol) => self.symbol(*symbol),
            Expression::Argument(position) => format!("argument({})", self.parameter(*position)),
            // Used without a definition, which the verifier refuses.
            _ => "?".to_owned(),
        }
    }

    fn list(&self, values: &[Handle<Expression>]) -> String {
        values
            .iter()
            .map(|&value| self.value(value))
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn symbol(&self, symbol: Symbol) -> String {
        match symbol {
            Symbol::ProgramId(axis) => format!("program({axis})"),
            Symbol::NumPrograms(axis) => format!("programs({axis})"),
            Symbol::Extent { tensor, axis } => format!("extent({}, {axis})", self.parameter(tensor)),
            Symbol::Stride { tensor, axis } => format!("stride({}, {axis})", self.parameter(tensor)),
            Symbol::Count(position) => format!("count({})", self.parameter(position)),
        }
    }

    fn parameter(&self, position: u32) -> &'k str {
        self.kernel
            .parameters
            .get(position as usize)
            .map_or("?", |parameter| &parameter.name)
    }

    /// The name of a local: the author's, with a number where another local has it.
    fn local(&mut self, local: Handle<Local>) -> String {
        if let Some(name) = self.locals.get(&local) {
            return name.clone();
        }
        let base = self.kernel.locals.get(local).map_or("?", |local| &local.name);
        let mut name = base.to_owned();
        let mut number = 0usize;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{base}.{number}");
        }
        self.locals.insert(local, name.clone());
        name
    }

    fn access(&self, access: &Access) -> String {
        let mut text = format!("{}[{}]", self.parameter(access.tensor), self.list(&access.indices));
        if let Some(mask) = access.mask {
            text += &format!(" where {}", self.value(mask));
        }
        if let Some(hint) = access.cache {
            text += &format!(" cache {}", hint.qualifier());
        }
        let sides = |guard: &Guard| match (guard.lower, guard.upper) {
            (true, true) => Some("lower upper"),
            (true, false) => Some("lower"),
            (false, true) => Some("upper"),
            (false, false) => None,
        };
        let guards: Vec<String> = access
            .guards
            .iter()
            .enumerate()
            .filter_map(|(axis, guard)| sides(guard).map(|sides| format!("{axis}: {sides}")))
            .collect();
        // Without a check left, the policy decides nothing.
        if !guards.is_empty() {
            text += &format!(" guard {}({})", access.bounds, guards.join(", "));
        }
        text
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.kind {
            ParameterKind::Count => f.write_str("count"),
            ParameterKind::Scalar(element) => write!(f, "{element}"),
            ParameterKind::Tensor(tensor) => {
                if tensor.mutable {
                    f.write_str("mut ")?;
                }
                write!(
                    f,
                    "{}[{}] {} align {}",
                    tensor.element, tensor.rank, tensor.layout, tensor.alignment
                )
            }
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contiguous => f.write_str("contiguous"),
            Self::Rows { multiple } => write!(f, "rows {multiple}"),
            Self::Strided => f.write_str("strided"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementType;
    use crate::ir::verify::build::Builder;
    use crate::ir::{BinaryOp, Bounds, CompareOp};

    fn gather(noise: bool) -> Kernel {
        let mut b = Builder::new("gather_rows");
        let out = b.tensor("out", ElementType::BF16, 2);
        let src = b.tensor("src", ElementType::BF16, 2);
        let index = b.tensor("index", ElementType::I32, 1);
        *b.tensor_mut(src) = super::super::TensorParameter {
            mutable: false,
            layout: Layout::Rows { multiple: 8 },
            alignment: 16,
            ..b.tensor_mut(src).clone()
        };
        if noise {
            b.span();
            b.append(Expression::Arange(3));
        }
        let row = b.program(0);
        let from = b.load(index, &[row]);
        let cols = b.arange(7168);
        let value = b.load(src, &[from, cols]);
        b.store(out, &[row, cols], value);
        let extent = b.extent(out, 0);
        b.finish(&[extent])
    }

    #[test]
    fn a_kernel_prints_its_parameters_grid_and_body() {
        let expected = "\
kernel gather_rows(
    out: mut bf16[2] strided align 2,
    src: bf16[2] rows 8 align 16,
    index: mut i32[1] strided align 4,
)
grid [extent(out, 0)]
{
    %0 = load index[program(0)] guard zero(0: lower upper) : i32
    %1 = arange : i64[7168]
    %2 = load src[%0, %1] guard zero(0: lower upper, 1: lower upper) : bf16[7168]
    store out[program(0), %1] guard zero(0: lower upper, 1: lower upper) = %2
}
";
        assert_eq!(gather(false).to_string(), expected);
    }

    #[test]
    fn the_text_depends_neither_on_positions_nor_on_what_is_unused() {
        assert_eq!(gather(false).to_string(), gather(true).to_string());
        assert_ne!(
            gather(false).to_string_with_spans(),
            gather(true).to_string_with_spans()
        );
        assert!(
            gather(false)
                .to_string_with_spans()
                .contains(": i32  // kernel.rs:2:5\n")
        );
    }

    #[test]
    fn control_flow_is_indented_and_locals_have_names_of_their_own() {
        let mut b = Builder::new("flow");
        let n = b.count("n");
        let scale = b.scalar("scale", ElementType::F32);
        let (zero, nil) = (b.index(0), b.literal(0f32));
        let x = b.variable("x", zero);
        let other = b.variable("x", nil);
        b.while_loop(
            |b| {
                let now = b.read(x);
                b.compare(CompareOp::Less, now, n)
            },
            |b| {
                let condition = b.literal(true);
                b.if_else(condition, |b| b.push(Statement::Break), |b| b.assign(other, scale));
            },
        );
        b.for_loop(n, zero, -2, |b, i| b.assign(x, i));
        let (block, one) = (b.index(128), b.index(127));
        let raised = b.append(Expression::Binary {
            op: BinaryOp::Add,
            left: n,
            right: one,
        });
        let blocks = b.append(Expression::Binary {
            op: BinaryOp::Divide,
            left: raised,
            right: block,
        });
        let expected = "\
kernel flow(
    n: count,
    scale: f32,
)
let %grid.0 = add count(n), 127i64 : i64
let %grid.1 = div %grid.0, 128i64 : i64
grid [%grid.1, 128i64]
{
    x = 0i64
    x.1 = f32(0x00000000)
    while {
        %0 = read x : i64
        %1 = lt %0, count(n) : bool
    } %1 {
        if true {
            break
        } else {
            x.1 = argument(scale)
        }
    }
    for %2 : i64 in count(n)..0i64 step -2 {
        x = %2
    }
}
";
        assert_eq!(b.finish(&[blocks, block]).to_string(), expected);
    }

    #[test]
    fn removed_guards_masks_policies_and_bindings_show() {
        let mut b = Builder::new("masked");
        let out = b.tensor("out", ElementType::I8, 2);
        let n = b.count("n");
        b.kernel.bindings.exact = vec![(Symbol::Extent { tensor: out, axis: 1 }, 4)];
        b.kernel.bindings.device = vec![(1, ElementType::I32)];
        let (cols, mask, value) = (b.arange(4), b.literal(true), b.literal(1i8));
        let (mask, value) = (b.stretch(mask, b.shape(cols)), b.stretch(value, b.shape(cols)));
        let mut access = b.access(out, &[n, cols]);
        access.bounds = Bounds::Trap;
        access.mask = Some(mask);
        access.guards[0].lower = false;
        access.guards[1] = Guard::NONE;
        b.push(Statement::Store {
            access: access.clone(),
            value,
            conflict: None,
        });
        access.guards[0] = Guard::NONE;
        b.push(Statement::Store {
            access,
            value,
            conflict: None,
        });
        let text = b.launch(1).to_string();
        assert!(
            text.contains("exact extent(out, 1) = 4\ndevice count(n) : i32\n"),
            "{text}"
        );
        assert!(
            text.contains("store out[count(n), %0] where %1 guard trap(0: upper) = %2\n"),
            "{text}"
        );
        assert!(text.contains("store out[count(n), %0] where %1 = %2\n"), "{text}");
    }

    #[test]
    fn a_malformed_kernel_prints_too() {
        let mut b = Builder::new("broken");
        let missing = Handle::from_index(77);
        b.push(Statement::Let(missing));
        let access = b.access(9, &[missing]);
        b.push(Statement::Store {
            access,
            value: missing,
            conflict: None,
        });
        b.kernel.grid = vec![missing];
        b.kernel.body = b.block(|_| {});
        assert!(b.kernel.to_string().contains("grid [?]"));
    }
}
