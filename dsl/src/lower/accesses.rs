//! Which accesses to tensors a thread does in the end, how wide they are, and why some are not wider.

use std::collections::HashMap;
use std::fmt;

use crate::element::ElementType;
use crate::ir::{Access, Expression, Handle, Kernel, Span, Statement};
use crate::schedule::VECTOR_BYTES;
use crate::stack::room;
use crate::thread::passes::{Narrow, Why};
use crate::thread::{self, Block, Buffer, Index, Operation};

/// What a thread reads and writes of the tensors of a launch, by the lines of the kernel.
///
/// A thread moves 16 bytes at once where elements are neighbours whose address is known to be a multiple of 16. Where
/// that is not so an access is *narrow*, and says why. As text it is a table, a line for each width of each access:
///
/// ```
/// use tilewright_dsl::call::{ParameterFacts, TensorFacts, TraceRequest};
/// use tilewright_dsl::lower::lower;
/// use tilewright_dsl::schedule::{Machine, choose};
/// use tilewright_dsl::{kernel, lang::*};
///
/// /// out[i] = src[index[i]], 1024 at a time.
/// #[kernel(grid = [cdiv(out.extent(0), 1024)])]
/// fn gather(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, index: &Tensor<i32, 1>) {
///     let i = arange(1024) + program_id(0) * 1024;
///     out.store([i], src.load([index.load([i])]));
/// }
///
/// let tensor = || ParameterFacts::Tensor(TensorFacts::contiguous(&[4096]));
/// let parameters = vec![tensor(), tensor(), tensor()];
/// let kernel = gather::definition().trace(&TraceRequest { parameters })?.kernel;
/// let accesses = lower(&kernel, &choose(&kernel, &Machine::H200, 4))?.accesses;
///
/// let [narrow] = &accesses.narrow().collect::<Vec<_>>()[..] else {
///     panic!("{accesses}");
/// };
/// assert_eq!((narrow.tensor.as_str(), narrow.bytes), ("src", 4));
/// let text = accesses.to_string();
/// assert!(text.contains("the index comes from a loaded value"), "{text}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Of a launch, `Launch::accesses` in the runtime says it with all that is known of its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accesses {
    kernel: String,
    all: Vec<GlobalAccess>,
}

/// Accesses of one width that are written in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalAccess {
    /// Where they are written.
    pub span: Span,
    /// What they do.
    pub kind: AccessKind,
    /// The name of the parameter.
    pub tensor: String,
    /// Its element type.
    pub element: ElementType,
    /// Bytes of each.
    pub bytes: u32,
    /// How many a thread does.
    pub repeats: Repeats,
    /// Why they are narrow, if they are. The single elements at the ends of rows are not: most of the row is wide.
    pub narrow: Option<Why>,
    /// Whether the kernel [denies](macro@crate::kernel) that they are narrow.
    pub must_be_wide: bool,
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccessKind {
    /// It reads.
    Load,
    /// It writes.
    Store,
    /// It does both, in one step.
    Atomic,
}

/// How many of something a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repeats {
    /// So many at most.
    AtMost(u64),
    /// So many in each trip of a loop, of which only the launch knows how long it is.
    EachTrip(u64),
}

/// Accesses that are narrow in a kernel that denies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarrowError {
    /// The kernel.
    pub kernel: String,
    /// The accesses, one at least.
    pub accesses: Vec<GlobalAccess>,
}

impl Accesses {
    /// Those of a kernel that has been lowered.
    pub(super) fn of(
        kernel: &Kernel,
        thread: &thread::Kernel,
        buffers: &HashMap<u32, Handle<Buffer>>,
        narrow: &[Narrow],
    ) -> Self {
        let tensors = buffers.iter().map(|(tensor, buffer)| (*buffer, *tensor)).collect();
        let mut found = Vec::new();
        let count = Count { thread, tensors };
        count.block(&thread.body, Repeats::AtMost(1), &mut found);
        let all = found.into_iter().map(|(one, repeats)| {
            let parameter = kernel.parameters.get(one.tensor as usize);
            let tensor = kernel.tensor(one.tensor);
            let name = &thread.buffers[one.buffer].name;
            let is_it = |narrow: &&Narrow| {
                let same = narrow.span == one.span && narrow.buffer == *name;
                same && narrow.is_store == (one.kind == AccessKind::Store) && one.bytes < narrow.wanted
            };
            GlobalAccess {
                span: one.span,
                kind: one.kind,
                tensor: parameter.map_or_else(String::new, |parameter| parameter.name.clone()),
                element: tensor.map_or(ElementType::U8, |tensor| tensor.element),
                bytes: one.bytes,
                repeats,
                narrow: match one.kind {
                    AccessKind::Atomic => Some(Why::Atomic),
                    _ => narrow.iter().find(is_it).map(|narrow| narrow.why),
                },
                must_be_wide: one.kind != AccessKind::Atomic && must_be_wide(kernel, one.tensor, one.span),
            }
        });
        Self {
            kernel: kernel.name.clone(),
            all: all.collect(),
        }
    }

    /// All of them, in the order in which a thread comes to them.
    pub fn iter(&self) -> std::slice::Iter<'_, GlobalAccess> {
        self.all.iter()
    }

    /// Those that are narrow.
    pub fn narrow(&self) -> impl Iterator<Item = &GlobalAccess> {
        self.all.iter().filter(|access| access.narrow.is_some())
    }

    /// Whether none is narrow that the kernel's author wants to be wide: see `deny_narrow` of
    /// [`#[kernel]`](macro@crate::kernel).
    ///
    /// # Errors
    /// Some are.
    pub fn check(&self) -> Result<(), NarrowError> {
        let denied = self.narrow().filter(|access| access.must_be_wide);
        let accesses: Vec<_> = denied.cloned().collect();
        match accesses.is_empty() {
            true => Ok(()),
            false => Err(NarrowError {
                kernel: self.kernel.clone(),
                accesses,
            }),
        }
    }
}

impl<'a> IntoIterator for &'a Accesses {
    type Item = &'a GlobalAccess;
    type IntoIter = std::slice::Iter<'a, GlobalAccess>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Whether an access of a tensor that is written in a place has to be wide.
fn must_be_wide(kernel: &Kernel, tensor: u32, span: Span) -> bool {
    let denies = |access: &Access| access.tensor == tensor && access.must_be_wide;
    let mut found = kernel.expressions.iter().any(|(handle, expression)| {
        let is_it = matches!(expression, Expression::Load(access) if denies(access));
        is_it && kernel.spans[handle.index()] == span
    });
    kernel.body.walk(&mut |statement, at| {
        found |= matches!(statement, Statement::Store { access, .. } if denies(access)) && at == span;
    });
    found
}

/// Accesses that are told apart from others.
#[derive(Debug, Clone, PartialEq, Eq)]
struct One {
    span: Span,
    kind: AccessKind,
    buffer: Handle<Buffer>,
    tensor: u32,
    bytes: u32,
}

struct Count<'a> {
    thread: &'a thread::Kernel,
    tensors: HashMap<Handle<Buffer>, u32>,
}

impl Count<'_> {
    fn block(&self, block: &Block, times: Repeats, found: &mut Vec<(One, Repeats)>) {
        for (statement, span) in block {
            room(|| self.statement(statement, *span, times, found));
        }
    }

    fn statement(&self, statement: &thread::Statement, span: Span, times: Repeats, found: &mut Vec<(One, Repeats)>) {
        let mut add = |kind, place: thread::Place, bytes| {
            if let Some(&tensor) = self.tensors.get(&place.buffer) {
                let one = One {
                    span,
                    kind,
                    buffer: place.buffer,
                    tensor,
                    bytes,
                };
                merge(found, one, times, Repeats::and);
            }
        };
        match statement {
            thread::Statement::Let {
                operation: Operation::Load(load),
                ..
            } => add(AccessKind::Load, load.place, load.ty.bytes()),
            thread::Statement::Store(store) => {
                add(AccessKind::Store, store.place, self.thread.ty(store.value).bytes());
            }
            thread::Statement::AsyncCopy(copy) => add(AccessKind::Load, copy.from, copy.bytes.into()),
            thread::Statement::Atomic(atomic) => add(AccessKind::Atomic, atomic.place, atomic.element.size() as u32),
            // A thread does one of the two.
            thread::Statement::If { accept, reject, .. } => {
                let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
                self.block(accept, times, &mut accepted);
                self.block(reject, times, &mut rejected);
                for (one, repeats) in rejected {
                    merge(&mut accepted, one, repeats, Repeats::or);
                }
                for (one, repeats) in accepted {
                    merge(found, one, repeats, Repeats::and);
                }
            }
            thread::Statement::For {
                start, end, step, body, ..
            } => self.block(body, times.within(self.trips(*start, *end, *step)), found),
            thread::Statement::Loop { body, .. } => self.block(body, times.within(None), found),
            thread::Statement::Scope { body, .. } => self.block(body, times, found),
            _ => {}
        }
    }

    /// How many trips a loop has at most, if it is known.
    fn trips(&self, start: Handle<Index>, end: Handle<Index>, step: i64) -> Option<u64> {
        let (start, end) = (self.thread.indices.facts(start), self.thread.indices.facts(end));
        let distance = end.high.checked_sub(start.low)?.max(0) as u64;
        // What nobody knows is as long as memory may be.
        (distance <= u32::MAX.into()).then(|| distance.div_ceil(step.unsigned_abs().max(1)))
    }
}

/// Adds accesses to those of the same kind, if there are any.
fn merge(found: &mut Vec<(One, Repeats)>, one: One, repeats: Repeats, join: fn(Repeats, Repeats) -> Repeats) {
    match found.iter_mut().find(|(known, _)| *known == one) {
        Some((_, known)) => *known = join(*known, repeats),
        None => found.push((one, repeats)),
    }
}

impl Repeats {
    /// In a loop of so many trips.
    fn within(self, trips: Option<u64>) -> Self {
        match (self, trips) {
            (Self::AtMost(count), Some(trips)) => Self::AtMost(count.saturating_mul(trips)),
            (Self::AtMost(count) | Self::EachTrip(count), None) => Self::EachTrip(count),
            (Self::EachTrip(count), Some(trips)) => Self::EachTrip(count.saturating_mul(trips)),
        }
    }

    /// Both, one after the other.
    fn and(self, other: Self) -> Self {
        self.join(other, u64::saturating_add)
    }

    /// One of both.
    fn or(self, other: Self) -> Self {
        self.join(other, u64::max)
    }

    fn join(self, other: Self, join: fn(u64, u64) -> u64) -> Self {
        match (self, other) {
            (Self::AtMost(left), Self::AtMost(right)) => Self::AtMost(join(left, right)),
            (Self::AtMost(left) | Self::EachTrip(left), Self::AtMost(right) | Self::EachTrip(right)) => {
                Self::EachTrip(join(left, right))
            }
        }
    }
}

impl fmt::Display for AccessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Atomic => "atomic",
        })
    }
}

impl fmt::Display for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(count) => f.pad(&count.to_string()),
            Self::EachTrip(count) => f.pad(&format!("{count} a trip")),
        }
    }
}

/// For example `src/gather.rs:7:20: load of src, bf16, 2 bytes at once: the index comes from a loaded value`.
impl fmt::Display for GlobalAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            span,
            kind,
            tensor,
            element,
            bytes,
            ..
        } = self;
        write!(f, "{span}: {kind} of {tensor}, {element}, {bytes} bytes at once")?;
        match &self.narrow {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// A table: a line for each width of each access.
impl fmt::Display for Accesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["line", "access", "tensor", "element", "bytes", "per thread"];
        let rows = self.all.iter().map(|access| {
            [
                format!("{}:{}", access.span.line, access.span.column),
                access.kind.to_string(),
                access.tensor.clone(),
                access.element.to_string(),
                access.bytes.to_string(),
                access.repeats.to_string(),
            ]
        });
        let rows: Vec<[String; 6]> = rows.collect();
        let mut widths = header.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |f: &mut fmt::Formatter<'_>, cells: &[&str], last: &str| {
            let mut text = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                text += &format!("{cell:width$}  ");
            }
            writeln!(f, "{}", (text + last).trim_end())
        };
        let files = self.all.iter().map(|access| access.span.file);
        let mut files: Vec<&str> = files.filter(|file| !file.is_empty()).collect();
        files.dedup();
        writeln!(f, "{} ({})", self.kernel, files.join(", "))?;
        line(f, &header, "narrow because")?;
        for (row, access) in rows.iter().zip(&self.all) {
            let why = match access.narrow {
                Some(why) => why.to_string(),
                None if self.is_end(access) => "(only where a packet is not whole)".to_owned(),
                None => String::new(),
            };
            line(f, &row.each_ref().map(String::as_str), &why)?;
        }
        Ok(())
    }
}

impl Accesses {
    /// Whether an access is what is left at the ends of rows of one that is wider.
    fn is_end(&self, access: &GlobalAccess) -> bool {
        let key = |access: &GlobalAccess| (access.span, access.kind, access.tensor.clone());
        let widest = self
            .all
            .iter()
            .filter(|other| key(other) == key(access))
            .map(|other| other.bytes);
        access.bytes < VECTOR_BYTES && widest.max().is_some_and(|widest| access.bytes < widest)
    }
}

impl fmt::Display for NarrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.accesses.len();
        let (accesses, are) = if count == 1 {
            ("access", "is")
        } else {
            ("accesses", "are")
        };
        write!(
            f,
            "kernel `{}` denies narrow accesses, and {count} {accesses} of this launch {are} narrow:",
            self.kernel
        )?;
        for access in &self.accesses {
            write!(f, "\n  --> {access}")?;
        }
        f.write_str(
            "\n  = help: where an access is meant to be narrow, say so: `load_with(.., AccessOptions::new().allow_narrow())`",
        )
    }
}

impl std::error::Error for NarrowError {}
