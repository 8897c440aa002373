//! What a thread does, in order.

use super::{
    Argument, AsyncCopy, Atom, Atomic, Index, IndexArena, Operation, Order, Place, Predicate, Register, Store, Update,
    Use, Value, Variable,
};
use crate::ir::{GridDependency, Handle, Meaning, MemoryOrder, MemoryScope, Span};
use crate::stack::room;

/// Statements in the order they run, each with the line of Rust it comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    items: Vec<(Statement, Span)>,
}

/// The name of a loop or scope, which nothing else in the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(pub u32);

/// One step of a thread.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// Computes a value.
    Let {
        /// The value.
        value: Handle<Value>,
        /// By what.
        operation: Operation,
    },
    /// Computes an index ahead of its uses, and gives it a name.
    Name {
        /// The name.
        variable: Handle<Variable>,
        /// The index.
        index: Handle<Index>,
    },
    /// Sets a register, to a value of its type.
    Assign {
        /// The register.
        register: Handle<Register>,
        /// The value.
        value: Use,
    },
    /// Writes memory.
    Store(Store),
    /// Reads and changes memory in one step.
    Atomic(Atomic),
    /// Copies memory while the thread goes on.
    AsyncCopy(AsyncCopy),
    /// Ends a group of copies: all that the thread has begun since it ended one.
    AsyncCommit,
    /// Waits until no more than this many groups of copies are under way: the last ones that the thread has ended.
    AsyncWait(u8),
    /// Asks for the 128 bytes of global memory at a place, of whatever alignment, to be brought into L2.
    Prefetch {
        /// Where.
        place: Place,
        /// Where this does not hold nothing is asked for.
        predicate: Option<Handle<Predicate>>,
    },
    /// Lets the threads of a group meet: what each has stored before, all see after. Where the group is more than a
    /// warp the threads of each warp meet first, since barriers go wrong in warps that have diverged (NVRTC 13.0).
    Barrier {
        /// How many threads: those whose number divided by it is the same. A power of two up to 32, or a multiple of 32
        /// that divides the block's threads, into 16 groups at most; or all of a cluster.
        group: u32,
    },
    /// Orders what the thread did before with what it does after, for whoever is in the scope.
    Fence {
        /// How much.
        order: FenceOrder,
        /// For whom.
        scope: MemoryScope,
    },
    /// Meets the launches before or after this one, on a GPU that has it; on any other nothing happens.
    GridDependency(GridDependency),
    /// Reports an error into the kernel's record.
    Report(Report),
    /// Prints a line.
    Print {
        /// What: each `{}` stands for a value.
        format: String,
        /// The values, of one lane, of no float of less than 32 bits; as many as `{}`. Integers print in decimal, bool
        /// as `true` and `false`, f64 with 17 significant digits and f32 with 9.
        values: Vec<Use>,
    },
    /// Runs instructions of the author's.
    Ptx(Ptx),
    /// Runs one of two blocks.
    If {
        /// Which one.
        condition: Handle<Predicate>,
        /// Where the condition holds.
        accept: Block,
        /// Where it does not.
        reject: Block,
    },
    /// Runs `body` for `start`, `start + step`, … as long as that is less than `end`. The bounds are read once.
    For {
        /// Its name.
        label: Label,
        /// What is counted, in scope in `body`.
        variable: Handle<Variable>,
        /// The first value.
        start: Handle<Index>,
        /// What is not reached. `end + step` does not wrap.
        end: Handle<Index>,
        /// From one value to the next: at least 1.
        step: i64,
        /// Whether a compiler may unroll it.
        unroll: Unroll,
        /// One trip.
        body: Block,
    },
    /// Runs `body` again and again, until something leaves it.
    Loop {
        /// Its name.
        label: Label,
        /// Whether a compiler may unroll it.
        unroll: Unroll,
        /// One trip.
        body: Block,
    },
    /// Runs `body`, once.
    Scope {
        /// Its name.
        label: Label,
        /// What is run.
        body: Block,
    },
    /// Goes on after the loop or scope around it that has this name.
    Leave(Label),
    /// Goes on with the next trip of the loop around it that has this name.
    Next(Label),
    /// Ends the thread.
    Exit,
}

/// How much a fence orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FenceOrder {
    /// As [`MemoryOrder::AcquireRelease`](crate::ir::MemoryOrder::AcquireRelease).
    AcquireRelease,
    /// All of them are in one order, for everybody.
    Sequential,
}

/// Whether a compiler may unroll a loop.
///
/// What is to be unrolled is unrolled in this IR already, where indices become constants; NVVM 13.0 gets some loops
/// wrong that it unrolls itself, where a body reads an element of shared memory again after a store that depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unroll {
    /// As it likes.
    Free,
    /// It must not.
    Never,
}

/// An error that a thread reports: which one is settled among all threads, and the first one stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Report {
    /// Which place of the kernel reports: less than [`Kernel::sites`](super::Kernel::sites).
    pub site: u32,
    /// Which program.
    pub program: Handle<Index>,
    /// A number that says more: an i64 of one lane.
    pub value: Use,
    /// Another one: a u64 of one lane.
    pub met: Use,
    /// Where this does not hold nothing is reported.
    pub predicate: Option<Handle<Predicate>>,
}

/// Instructions of the author's, which compute some values from others and do nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Ptx {
    /// The PTX: `%0`, `%1`, … are the outputs, then the inputs.
    pub text: String,
    /// What is computed: values of one lane, of 2, 4 or 8 bytes.
    pub outputs: Vec<Handle<Value>>,
    /// What is taken: values of one lane, of 2, 4 or 8 bytes.
    pub inputs: Vec<Use>,
    /// What the instructions compute, if their author says so.
    pub meaning: Option<Meaning>,
}

impl Block {
    /// A block without statements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a statement.
    pub fn push(&mut self, statement: Statement, span: Span) {
        self.items.push((statement, span));
    }

    /// Whether there are no statements.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The number of statements, not counting nested ones.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The statements with their lines.
    pub fn iter(&self) -> std::slice::Iter<'_, (Statement, Span)> {
        self.items.iter()
    }

    /// The statements with their lines, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, (Statement, Span)> {
        self.items.iter_mut()
    }

    /// Calls `visit` with every statement, outer before inner, in order.
    pub fn walk(&self, visit: &mut impl FnMut(&Statement, Span)) {
        for (statement, span) in &self.items {
            visit(statement, *span);
            statement.for_each_block(|block| room(|| block.walk(visit)));
        }
    }

    /// Whether the last statement leaves the block.
    pub fn is_left(&self) -> bool {
        matches!(
            self.items.last(),
            Some((Statement::Leave(_) | Statement::Next(_) | Statement::Exit, _))
        )
    }

    /// Whether the last thing that a thread does here is, or may be, a store that `is_so` says this of; loops apart.
    pub(crate) fn ends_in_store(&self, is_so: &impl Fn(&Store) -> bool) -> bool {
        match self.items.last() {
            Some((Statement::Store(store), _)) => is_so(store),
            Some((Statement::If { accept, reject, .. }, _)) => {
                room(|| accept.ends_in_store(is_so) || reject.ends_in_store(is_so))
            }
            Some((Statement::Scope { body, .. }, _)) => room(|| body.ends_in_store(is_so)),
            _ => false,
        }
    }

    /// Whether nothing after the block's place runs.
    pub fn diverges(&self) -> bool {
        match self.items.last() {
            Some((Statement::If { accept, reject, .. }, _)) => accept.diverges() && reject.diverges(),
            _ => self.is_left(),
        }
    }
}

impl IntoIterator for Block {
    type Item = (Statement, Span);
    type IntoIter = std::vec::IntoIter<(Statement, Span)>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a> IntoIterator for &'a Block {
    type Item = &'a (Statement, Span);
    type IntoIter = std::slice::Iter<'a, (Statement, Span)>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl FromIterator<(Statement, Span)> for Block {
    fn from_iter<I: IntoIterator<Item = (Statement, Span)>>(iter: I) -> Self {
        Self {
            items: iter.into_iter().collect(),
        }
    }
}

impl Statement {
    /// The same statement with what `of` makes of each block directly inside it, in order.
    pub fn map_blocks(mut self, mut of: impl FnMut(Block) -> Block) -> Self {
        let mut map = |block: &mut Block| *block = of(std::mem::take(block));
        match &mut self {
            Self::If { accept, reject, .. } => {
                map(accept);
                map(reject);
            }
            Self::For { body, .. } | Self::Loop { body, .. } | Self::Scope { body, .. } => map(body),
            Self::Let { .. }
            | Self::Name { .. }
            | Self::Assign { .. }
            | Self::Store(_)
            | Self::Atomic(_)
            | Self::AsyncCopy(_)
            | Self::AsyncCommit
            | Self::AsyncWait(_)
            | Self::Prefetch { .. }
            | Self::Barrier { .. }
            | Self::Fence { .. }
            | Self::GridDependency(_)
            | Self::Report(_)
            | Self::Print { .. }
            | Self::Ptx(_)
            | Self::Leave(_)
            | Self::Next(_)
            | Self::Exit => {}
        }
        self
    }

    /// Whether threads wait for others at this statement itself.
    pub(super) fn meets(&self) -> bool {
        match self {
            Self::Let { operation, .. } => operation.meets(),
            other => matches!(other, Self::Barrier { .. }),
        }
    }

    /// Whether what others have written is seen behind this statement, or in it, and not before it; barriers are not among these.
    pub(super) fn orders(&self) -> bool {
        match self {
            Self::Let {
                operation: Operation::Load(load),
                ..
            } => !matches!(load.order, Order::Weak | Order::Strong(MemoryOrder::Relaxed, _)),
            Self::Atomic(atomic) => atomic.order != MemoryOrder::Relaxed,
            Self::Fence { .. } | Self::AsyncWait(_) | Self::GridDependency(_) => true,
            _ => false,
        }
    }

    /// Calls `visit` with each block directly inside this statement.
    pub fn for_each_block<'a>(&'a self, mut visit: impl FnMut(&'a Block)) {
        match self {
            Self::If { accept, reject, .. } => {
                visit(accept);
                visit(reject);
            }
            Self::For { body, .. } | Self::Loop { body, .. } | Self::Scope { body, .. } => visit(body),
            Self::Let { .. }
            | Self::Name { .. }
            | Self::Assign { .. }
            | Self::Store(_)
            | Self::Atomic(_)
            | Self::AsyncCopy(_)
            | Self::AsyncCommit
            | Self::AsyncWait(_)
            | Self::Prefetch { .. }
            | Self::Barrier { .. }
            | Self::Fence { .. }
            | Self::GridDependency(_)
            | Self::Report(_)
            | Self::Print { .. }
            | Self::Ptx(_)
            | Self::Leave(_)
            | Self::Next(_)
            | Self::Exit => {}
        }
    }
}

/// Something of the kernel that a statement mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mention {
    /// What it takes.
    Use(Use),
    /// Memory that it touches.
    Place(Place),
    /// An argument whose value it takes.
    Argument(Handle<Argument>),
    /// A register that it reads or sets.
    Register(Handle<Register>),
    /// A value that it computes.
    Defines(Handle<Value>),
    /// A variable that it names or counts.
    Names(Handle<Variable>),
}

impl Mention {
    /// Calls `visit` with the atoms of what is taken, which indices and conditions are looked into for.
    pub(super) fn for_each_atom(self, indices: &IndexArena, mut visit: impl FnMut(Atom)) {
        let mut all = |atoms: &[Atom]| atoms.iter().for_each(|atom| visit(*atom));
        match self {
            Self::Use(Use::Value(value)) => all(&[Atom::Value(value)]),
            Self::Use(Use::Index(index)) => all(indices.atoms(index)),
            Self::Use(Use::Predicate(condition)) => all(indices.condition_atoms(condition)),
            Self::Place(place) => {
                place
                    .pointer
                    .into_iter()
                    .for_each(|pointer| all(&[Atom::Value(pointer)]));
                all(indices.atoms(place.offset));
            }
            Self::Use(Use::Literal(_)) | Self::Argument(_) | Self::Register(_) | Self::Defines(_) | Self::Names(_) => {}
        }
    }
}

impl Statement {
    /// Calls `visit` with the atoms of all that the statement itself takes.
    pub(super) fn for_each_atom(&self, indices: &IndexArena, mut visit: impl FnMut(Atom)) {
        self.for_each_mention(|mention| mention.for_each_atom(indices, &mut visit));
    }

    /// Calls `visit` with all that the statement itself mentions, what it defines last; not with what blocks inside it
    /// do.
    pub(super) fn for_each_mention(&self, mut visit: impl FnMut(Mention)) {
        let visit = &mut visit;
        match self {
            Self::Let { value, operation } => {
                match operation {
                    Operation::Argument(argument) => visit(Mention::Argument(*argument)),
                    Operation::Read(register) => visit(Mention::Register(*register)),
                    Operation::Load(load) => {
                        visit(Mention::Place(load.place));
                        predicate(load.predicate, visit);
                    }
                    _ => operation.for_each_operand(|operand| visit(Mention::Use(operand))),
                }
                visit(Mention::Defines(*value));
            }
            Self::Name { variable, index } => {
                visit(Mention::Use(Use::Index(*index)));
                visit(Mention::Names(*variable));
            }
            Self::Assign { register, value } => {
                visit(Mention::Use(*value));
                visit(Mention::Register(*register));
            }
            Self::Store(store) => {
                visit(Mention::Place(store.place));
                store
                    .block
                    .into_iter()
                    .for_each(|block| visit(Mention::Use(Use::Index(block))));
                visit(Mention::Use(store.value));
                predicate(store.predicate, visit);
            }
            Self::Atomic(atomic) => {
                visit(Mention::Place(atomic.place));
                match atomic.update {
                    Update::Combine { value, .. } => visit(Mention::Use(value)),
                    Update::CompareExchange { current, new } => {
                        visit(Mention::Use(current));
                        visit(Mention::Use(new));
                    }
                }
                predicate(atomic.predicate, visit);
                if let Some(result) = atomic.result {
                    visit(Mention::Defines(result));
                }
            }
            Self::AsyncCopy(copy) => {
                visit(Mention::Place(copy.to));
                visit(Mention::Place(copy.from));
                predicate(copy.predicate, visit);
            }
            Self::Prefetch { place, predicate: when } => {
                visit(Mention::Place(*place));
                predicate(*when, visit);
            }
            Self::Report(report) => {
                visit(Mention::Use(Use::Index(report.program)));
                visit(Mention::Use(report.value));
                visit(Mention::Use(report.met));
                predicate(report.predicate, visit);
            }
            Self::Print { values, .. } => values.iter().for_each(|value| visit(Mention::Use(*value))),
            Self::Ptx(ptx) => {
                ptx.inputs.iter().for_each(|input| visit(Mention::Use(*input)));
                ptx.outputs.iter().for_each(|output| visit(Mention::Defines(*output)));
            }
            Self::If { condition, .. } => visit(Mention::Use(Use::Predicate(*condition))),
            Self::For {
                variable, start, end, ..
            } => {
                visit(Mention::Use(Use::Index(*start)));
                visit(Mention::Use(Use::Index(*end)));
                visit(Mention::Names(*variable));
            }
            Self::AsyncCommit
            | Self::AsyncWait(_)
            | Self::Barrier { .. }
            | Self::Fence { .. }
            | Self::GridDependency(_)
            | Self::Loop { .. }
            | Self::Scope { .. }
            | Self::Leave(_)
            | Self::Next(_)
            | Self::Exit => {}
        }
    }
}

fn predicate(condition: Option<Handle<Predicate>>, visit: &mut impl FnMut(Mention)) {
    if let Some(condition) = condition {
        visit(Mention::Use(Use::Predicate(condition)));
    }
}
