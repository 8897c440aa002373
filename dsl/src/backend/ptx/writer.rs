//! The state of printing one kernel: lines, registers, what is known where.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;

use super::order::Order;
use super::register::{Class, Reg};
use super::special::Strings;
use super::target::{Target, Unsupported};
use super::value::Held;
use crate::ir::{Handle, Span};
use crate::thread::{Buffer, Index, Kernel, Predicate, Term, Value};

/// Something that is in a register from here to the end of the block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Known {
    /// The low 32 bits of an index.
    Narrow(Handle<Index>),
    /// All 64 bits of an index.
    Wide(Handle<Index>),
    /// A condition.
    Holds(Handle<Predicate>),
    /// A sum without its constant, in 32 or 64 bits.
    Terms(Class, Box<[Term]>),
    /// The address of a place, but for a constant.
    Address(Base, Box<[Term]>),
}

/// What an address is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Base {
    Buffer(Handle<Buffer>),
    Pointer(Handle<Value>),
    /// All of shared memory.
    Shared,
}

/// What a kernel computes once, before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Once {
    Thread,
    Block,
    Argument(usize),
    Base(Base),
    /// The threads of a warp that are in a group of so many.
    Members(u32),
    /// The first of them.
    First(u32),
    /// The number of the barrier at which a group of so many meets.
    Barrier(u32),
}

/// Some lines of the text, with where they come from.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<(String, Span)>,
}

pub(super) struct Writer<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) met_by_warps: BTreeSet<u32>,
    pub(super) target: Target,
    pub(super) body: Lines,
    /// What stands before the body.
    pub(super) opening: Lines,
    /// How many registers of each class there are.
    pub(super) registers: [u32; 4],
    pub(super) values: Vec<Option<Held>>,
    /// Those of the IR, which change.
    pub(super) changing: Vec<Option<Held>>,
    pub(super) variables: Vec<Option<Reg>>,
    /// What variables are names of.
    pub(super) named: Vec<Option<Handle<Index>>>,
    pub(super) order: Order,
    known: HashMap<Known, Reg>,
    /// What is known, in the order it was found, so that the end of a block can forget it.
    found: Vec<Known>,
    once: HashMap<Once, Reg>,
    pub(super) span: Span,
    /// The place of the last `.loc`.
    located: Option<Span>,
    pub(super) files: Vec<&'static str>,
    labels: u32,
    pub(super) strings: Strings,
    pub(super) reports: bool,
    /// The most values that anything prints.
    pub(super) printed: Option<usize>,
    unsupported: Option<Unsupported>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(kernel: &'a Kernel, target: Target) -> Self {
        Self {
            kernel,
            met_by_warps: kernel.met_by_warps(),
            target,
            body: Lines::default(),
            opening: Lines::default(),
            registers: [0; 4],
            values: vec![None; kernel.values.len()],
            changing: vec![None; kernel.registers.len()],
            variables: vec![None; kernel.variables.len()],
            named: vec![None; kernel.variables.len()],
            order: Order::new(kernel),
            known: HashMap::new(),
            found: Vec::new(),
            once: HashMap::new(),
            span: Span::UNKNOWN,
            located: None,
            files: Vec::new(),
            labels: 0,
            strings: Strings::default(),
            reports: false,
            printed: None,
            unsupported: None,
        }
    }

    /// What the target cannot say, if there was anything.
    pub(super) fn check(&mut self) -> Result<(), Unsupported> {
        self.unsupported.take().map_or(Ok(()), Err)
    }

    /// Notes that the target has no such thing; the text is not given out then.
    pub(super) fn refuse(&mut self, what: impl Display) {
        let span = self.span;
        let target = self.target.to_string();
        self.unsupported.get_or_insert_with(|| Unsupported {
            what: what.to_string(),
            target,
            span,
        });
    }

    // Lines.

    pub(super) fn line(&mut self, text: impl Display) {
        self.body.lines.push((format!("\t{text}"), self.span));
    }

    pub(super) fn label(&mut self, label: &str) {
        self.body.lines.push((format!("{label}:"), self.span));
    }

    /// A label that nothing else has.
    pub(super) fn fresh_label(&mut self) -> String {
        self.labels += 1;
        format!("$L{}", self.labels)
    }

    /// From here on lines come from this place.
    pub(super) fn at(&mut self, span: Span) {
        self.span = span;
        if !span.is_known() || self.located == Some(span) {
            return;
        }
        self.located = Some(span);
        let file = match self.files.iter().position(|known| *known == span.file) {
            Some(known) => known + 1,
            None => {
                self.files.push(span.file);
                self.files.len()
            }
        };
        self.line(format!(".loc\t{file} {} {}", span.line, span.column));
    }

    // Registers.

    pub(super) fn fresh(&mut self, class: Class) -> Reg {
        let next = &mut self.registers[class as usize];
        let number = *next;
        *next += 1;
        Reg { class, number }
    }

    /// Computes a register: `instruction` and, behind the register, `operands`.
    pub(super) fn compute(&mut self, class: Class, instruction: impl Display, operands: impl Display) -> Reg {
        let result = self.fresh(class);
        self.line(format!("{instruction}\t{result}, {operands};"));
        result
    }

    /// What is the same in all of the kernel, computed before the rest.
    pub(super) fn once(&mut self, what: Once, compute: impl FnOnce(&mut Self) -> Reg) -> Reg {
        if let Some(&known) = self.once.get(&what) {
            return known;
        }
        // What it needs may have to be computed before, and stands before then.
        let rest = std::mem::take(&mut self.body);
        let span = std::mem::replace(&mut self.span, Span::UNKNOWN);
        let result = compute(self);
        self.span = span;
        let lines = std::mem::replace(&mut self.body, rest);
        self.opening.lines.extend(lines.lines);
        self.once.insert(what, result);
        result
    }

    /// What is computed once in a block.
    pub(super) fn known(&mut self, what: Known, compute: impl FnOnce(&mut Self) -> Reg) -> Reg {
        if let Some(&known) = self.known.get(&what) {
            return known;
        }
        let result = compute(self);
        self.known.insert(what.clone(), result);
        self.found.push(what);
        result
    }

    /// What is computed inside is known inside only.
    pub(super) fn scoped<R>(&mut self, inside: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.found.len();
        let result = inside(self);
        for what in self.found.drain(before..) {
            self.known.remove(&what);
        }
        result
    }
}
