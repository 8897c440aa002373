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
//! The text holds no handle, so that it is the same however a kernel was built: values are numbered in the order the
//! body defines them, what is in scope everywhere is written where it is used, and what nothing defines or uses does
//! not appear. Names and texts of the author's that would read as something else are quoted. Three texts differ in what
//! they tell besides: nothing, for people ([`Display`](fmt::Display)); source positions
//! ([`Kernel::to_string_with_spans`]); and everything that tells two kernels apart ([`Kernel::identity`]).

mod expression;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{Block, Expression, Handle, Kernel, Layout, Local, Parameter, ParameterKind, Span, Statement, Symbol};
use crate::stack::room;

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printer::new(self, f, Detail::Code).kernel()
    }
}

impl Kernel {
    /// The text with the place of each statement in the author's source, for people.
    pub fn to_string_with_spans(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = Printer::new(self, &mut text, Detail::Places).kernel();
        text
    }

    /// The text of everything that decides what a kernel does, what is generated for it but the schedule, and what it
    /// reports: two kernels with one identity are one kernel. Within one process, as functions of the author's have no
    /// name beyond it.
    pub fn identity(&self) -> String {
        let mut text = String::new();
        let _ = Printer::new(self, &mut text, Detail::All).kernel();
        text
    }
}

/// What is told besides the code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Nothing.
    Code,
    /// Where statements were written.
    Places,
    /// That, and all that tells kernels apart.
    All,
}

struct Printer<'k, 'w> {
    kernel: &'k Kernel,
    out: &'w mut dyn Write,
    detail: Detail,
    depth: usize,
    /// The name of each value defined so far.
    values: BTreeMap<Handle<Expression>, String>,
    locals: BTreeMap<Handle<Local>, String>,
    /// How many locals have each name.
    taken: BTreeMap<&'k str, usize>,
}

impl<'k, 'w> Printer<'k, 'w> {
    fn new(kernel: &'k Kernel, out: &'w mut dyn Write, detail: Detail) -> Self {
        let (values, locals, taken) = Default::default();
        Self {
            kernel,
            out,
            detail,
            depth: 0,
            values,
            locals,
            taken,
        }
    }

    fn kernel(&mut self) -> fmt::Result {
        let kernel = self.kernel;
        write!(self.out, "kernel {}(", name(&kernel.name))?;
        self.end(kernel.span)?;
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
        if kernel.denies_guards && self.detail == Detail::All {
            writeln!(self.out, "denies guards")?;
        }
        self.grid()?;
        self.block(&kernel.body)?;
        writeln!(self.out)
    }

    /// The grid, with what it is computed from under names of its own.
    fn grid(&mut self) -> fmt::Result {
        let kernel = self.kernel;
        let mut values = kernel.grid_values();
        if self.detail == Detail::All {
            values.extend(kernel.requirement_values());
        }
        for value in values {
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
            let condition = match self.detail {
                Detail::All => self.value(requirement.condition),
                // As its author wrote it, as far as there is room.
                Detail::Code | Detail::Places => kernel.text_of(requirement.condition),
            };
            write!(self.out, "require {condition}")?;
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
            room(|| self.statement(statement, *span))?;
        }
        self.depth -= 1;
        self.indent()?;
        self.out.write_str("}")
    }

    fn end(&mut self, span: Span) -> fmt::Result {
        match self.detail {
            Detail::Code => writeln!(self.out),
            Detail::Places => writeln!(self.out, "  // {span}"),
            Detail::All => {
                let Span { file, line, column } = span;
                writeln!(self.out, "  // {} {line} {column}", quoted(file))
            }
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
                if let Some(own) = self.kernel.spans.get(value.index()).filter(|own| **own != span)
                    && self.detail == Detail::All
                {
                    self.end(*own)?;
                }
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
            Statement::Print { format, values } => {
                write!(self.out, "print {} ({})", quoted(format), self.list(values))?
            }
            Statement::GridDependency(dependency) => write!(self.out, "grid {}", dependency.name())?,
            Statement::Check {
                condition,
                kind,
                message,
            } => {
                let (condition, message) = (self.value(*condition), quoted(message));
                write!(self.out, "{} {condition} {message}", kind.name())?;
            }
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

/// A text in quotes, which ends where its quotes do.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// A name as it is, or in quotes if it has anything that a name in Rust, of an element of an array (`x[3]`) or of a
/// part of a fused kernel (`pad#3.x`) has not.
fn name(text: &str) -> String {
    let is_word = |word: &str| {
        let starts = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let rest = match text.split_once('.') {
        Some((part, rest)) if part.split_once('#').is_some_and(|(a, b)| is_word(a) && is_number(b)) => rest,
        _ => text,
    };
    let (word, at) = match rest.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((word, at)) => (word, Some(at)),
        None => (rest, None),
    };
    match is_word(word) && at.is_none_or(is_number) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", name(&self.name))?;
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
                    let kind = if list.peers { "peers" } else { "list" };
                    write!(f, "{kind} sharing [{}] ", axes.join(", "))?;
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
