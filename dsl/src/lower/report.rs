//! What a lowered kernel reports while it runs.

use super::{KernelArgument, Lower};
use crate::analysis::races::Touch;
use crate::element::ElementType;
use crate::ir::{CheckKind, Handle, Literal, Span};
use crate::thread::{self, Predicate, Use};

/// A place that reports an error while the kernel runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrapSite {
    /// Where it was written.
    pub span: Span,
    /// What it reports.
    pub fault: TrapFault,
}

/// What is wrong where a kernel traps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrapFault {
    /// An index, which is the value of the record, is out of bounds. Of a list, what was met is the number of the
    /// tensor.
    OutOfBounds {
        /// The tensor parameter.
        tensor: u32,
        /// The axis.
        axis: u8,
    },
    /// An element, whose row-major position (in a list, counted from the first element of the first tensor) is the
    /// value of the record, was touched before in a way that does not go together with this one: what was met is a
    /// mark, which [`MarkedBy`](super::MarkedBy) reads.
    Conflict {
        /// The tensor parameter.
        tensor: u32,
        /// What is done to the element here.
        touch: Touch,
    },
    /// A flag has not reached an epoch within the limit of a wait: the value of the record is what the flag is, above the
    /// epoch in the lower half, and what was met is the first index of the flag, which is the rank that raises it.
    Wait {
        /// The tensor parameter.
        tensor: u32,
    },
    /// A condition does not hold; of a tile, at the row-major position that is the value of the record.
    Check {
        /// Who says that it holds.
        kind: CheckKind,
        /// What the author says about it.
        message: String,
    },
}

impl Lower<'_> {
    /// The number by which something reports from here.
    pub(super) fn site(&mut self, span: Span, fault: TrapFault) -> u32 {
        let record = self.argument(KernelArgument::Trap);
        self.b.kernel_mut().record = Some(record);
        self.sites.push(TrapSite { span, fault });
        self.b.site()
    }

    /// Reports a number from a place, where a condition holds.
    pub(super) fn report(&mut self, site: u32, value: Use, met: Use, when: Handle<Predicate>) {
        let predicate = match self.b.kernel().indices.is_known(when) {
            Some(true) => None,
            Some(false) => return,
            None => Some(when),
        };
        self.b.push(thread::Statement::Report(thread::Report {
            site,
            program: self.program,
            value,
            met,
            predicate,
        }));
    }

    /// Nothing, as what was met.
    pub(super) fn nothing(&self) -> Use {
        Literal::zero(ElementType::U64).into()
    }
}
