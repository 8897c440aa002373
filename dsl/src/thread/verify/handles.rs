//! Whether everything that is mentioned is there.

use super::{Fault, Rule, fault};
use crate::element::ElementType;
use crate::ir::{Arena, Handle, Span};
use crate::thread::statement::Mention;
use crate::thread::{Argument, ArgumentKind, Atom, BufferKind, Index, Kernel, Place, Predicate, Use};

pub(super) fn verify(kernel: &Kernel) -> Result<(), Fault> {
    let handles = Handles { kernel };
    for (_, buffer) in kernel.buffers.iter() {
        match buffer.kind {
            BufferKind::Global { argument, .. } | BufferKind::Parameter { argument } => {
                has(&kernel.arguments, argument, Span::UNKNOWN)?;
            }
            BufferKind::Table { table } => has(&kernel.tables, table, Span::UNKNOWN)?,
            BufferKind::Listed { .. } | BufferKind::Shared { .. } | BufferKind::Local { .. } => {}
        }
    }
    if let Some(record) = kernel.record {
        has(&kernel.arguments, record, Span::UNKNOWN)?;
    }
    let mut result = Ok(());
    kernel.body.walk(&mut |statement, span| {
        if result.is_ok() {
            statement.for_each_mention(|mention| {
                if result.is_ok() {
                    result = handles.mention(mention, span);
                }
            });
        }
    });
    result
}

struct Handles<'a> {
    kernel: &'a Kernel,
}

impl Handles<'_> {
    fn mention(&self, mention: Mention, span: Span) -> Result<(), Fault> {
        let kernel = self.kernel;
        match mention {
            Mention::Use(operand) => self.operand(operand, span),
            Mention::Place(place) => self.place(place, span),
            Mention::Argument(argument) => has(&kernel.arguments, argument, span),
            Mention::Register(register) => has(&kernel.registers, register, span),
            Mention::Defines(value) => has(&kernel.values, value, span),
            Mention::Names(variable) => has(&kernel.variables, variable, span),
        }
    }

    fn operand(&self, operand: Use, span: Span) -> Result<(), Fault> {
        match operand {
            Use::Value(value) => has(&self.kernel.values, value, span),
            Use::Literal(_) => Ok(()),
            Use::Index(index) => self.index(index, span),
            Use::Predicate(condition) => self.condition(condition, span),
        }
    }

    fn place(&self, place: Place, span: Span) -> Result<(), Fault> {
        has(&self.kernel.buffers, place.buffer, span)?;
        if let Some(pointer) = place.pointer {
            has(&self.kernel.values, pointer, span)?;
        }
        self.index(place.offset, span)
    }

    fn index(&self, index: Handle<Index>, span: Span) -> Result<(), Fault> {
        let indices = &self.kernel.indices;
        if !indices.has(index) {
            return fault(Rule::Handle, span, format!("there is no index {index:?}"));
        }
        indices.atoms(index).iter().try_for_each(|atom| self.atom(*atom, span))
    }

    fn condition(&self, condition: Handle<Predicate>, span: Span) -> Result<(), Fault> {
        let indices = &self.kernel.indices;
        if !indices.has_condition(condition) {
            return fault(Rule::Handle, span, format!("there is no condition {condition:?}"));
        }
        indices
            .condition_atoms(condition)
            .iter()
            .try_for_each(|atom| self.atom(*atom, span))
    }

    fn atom(&self, atom: Atom, span: Span) -> Result<(), Fault> {
        let kernel = self.kernel;
        let fits = match atom {
            Atom::Thread | Atom::Block => true,
            Atom::Lane(_) => return fault(Rule::Atom, span, "an index moves with the lane"),
            Atom::Argument(argument) => {
                has(&kernel.arguments, argument, span)?;
                is_integer(&kernel.arguments[argument])
            }
            Atom::Address(buffer) => {
                has(&kernel.buffers, buffer, span)?;
                matches!(kernel.buffers[buffer].kind, BufferKind::Global { .. })
            }
            Atom::Variable(variable) => {
                has(&kernel.variables, variable, span)?;
                true
            }
            Atom::Value(value) => {
                has(&kernel.values, value, span)?;
                let ty = kernel.values[value].ty;
                // A bool is part of conditions only, also of those that choose between indices.
                let is_condition = ty.element == ElementType::Bool && kernel.indices.of_atom(atom).is_none();
                ty.lanes == 1 && (ty.element.is_integer() || is_condition)
            }
        };
        match fits {
            true => Ok(()),
            false => fault(Rule::Atom, span, format!("an index is made of {atom:?}")),
        }
    }
}

fn is_integer(argument: &Argument) -> bool {
    matches!(argument.kind, ArgumentKind::Scalar(element) if element.is_integer())
}

fn has<T>(arena: &Arena<T>, handle: Handle<T>, span: Span) -> Result<(), Fault> {
    match arena.get(handle) {
        Some(_) => Ok(()),
        None => {
            let name = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
            fault(
                Rule::Handle,
                span,
                format!("there is no {} {handle:?}", name.to_lowercase()),
            )
        }
    }
}
