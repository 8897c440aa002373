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

mod expression;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use super::{Block, Expression, Handle, Kernel, Layout, Local, Parameter, ParameterKind, Span, Statement, Symbol};

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
        for value in kernel.grid_values() {
            let Some(expression) = kernel.expressions.get(value).filter(|e| !e.is_global()) else {
                continue;
            };
            let name = format!("%grid.{}", self.values.len());
            let (text, ty) = (self.expression(expression), self.ty(value));
            writeln!(self.out, "let {name} = {text}{ty}")?;
            self.values.insert(value, name);
        }
        writeln!(self.out, "grid [{}]", self.list(&kernel.grid))?;
        for requirement in &kernel.requirements {
            write!(self.out, "require {}", kernel.text_of(requirement.condition))?;
            self.end(requirement.span)?;
        }
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
                write!(f, "{}[{}] ", tensor.element, tensor.rank)?;
                if let Some(list) = tensor.list {
                    let shared = (0..).zip(list.shared).filter(|(_, shared)| *shared);
                    let axes: Vec<String> = shared.map(|(axis, _): (u8, _)| axis.to_string()).collect();
                    write!(f, "list sharing [{}] ", axes.join(", "))?;
                }
                write!(f, "{} align {}", tensor.layout, tensor.alignment)
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
