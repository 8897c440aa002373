//! What a kernel of the thread IR computes, on the CPU: for tests, so that lowering and passes are compared with the
//! tile interpreter without a GPU.
//!
//! All threads of a block, or of the blocks of a cluster, do each statement together before the next one, in the order of their numbers,
//! and blocks or clusters come one after the other. So a result is one of those that a GPU may have; what would make it another one is a
//! [`Fault`]: a byte that another thread of the block wrote, or read, with no barrier in between
//! ([`Sharing`](super::Sharing)), a barrier that not all threads of the group come to, an address that is no
//! allocation's or that the access does not divide.
//!
//! Kernels may have lanes: an access that moves with [`Atom::Lane`] does each lane where it is.

mod memory;
mod operation;
mod statement;

use std::collections::{BTreeMap, BTreeSet};

use arrayvec::ArrayVec;

pub use memory::Memory;

use super::index::Assignment;
use super::{Atom, BufferKind, Index, Kernel, Label, MAX_LANES, Predicate, Type, Use, Value};
use crate::element::ElementType;
use crate::ir::{Handle, Literal, Span};
use memory::Touched;

/// What is passed for an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// The bits of a scalar.
    Scalar(u64),
    /// An address in the [`Memory`].
    Pointer(u64),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// What a launch has to say beside what it wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was reported, in order.
    pub reports: Vec<Reported>,
    /// Lines that were printed, in order.
    pub lines: Vec<String>,
    /// Addresses of global memory whose lines L2 was asked for, in order.
    pub prefetched: Vec<u64>,
}

/// A report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// From which place.
    pub site: u32,
    /// Of which program.
    pub program: i64,
    /// The number that says more.
    pub value: i64,
    /// The other one.
    pub met: u64,
}

/// Why a kernel has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, in block {block}, thread {thread}\n  --> {span}")]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// Which block.
    pub block: u32,
    /// Which thread; the first one of several.
    pub thread: u32,
    /// At which line.
    pub span: Span,
    /// What was reported before, in order.
    pub reports: Vec<Reported>,
}

/// Statements that a block does at most, each by all of its threads.
const MAX_STEPS: u64 = 10_000_000;

/// What passes from one look at the time to the next.
const STEP_NS: u64 = 100;

/// The bits of each lane.
type Packet = ArrayVec<u64, { MAX_LANES as usize }>;

/// Runs `blocks` blocks of a kernel that [`verify`](super::verify::verify) accepts, or that has lanes and nothing else
/// wrong with it.
///
/// # Errors If it does what no GPU gives one result for.
///
/// # Panics If an argument is missing or of another kind, or a handle is of another kernel.
pub fn run(kernel: &Kernel, blocks: u32, arguments: &[Passed], memory: &mut Memory) -> Result<Outcome, Fault> {
    let mut outcome = Outcome::default();
    for block in (0..blocks).step_by(kernel.cluster as usize) {
        let mut machine = Machine::new(kernel, block, arguments, memory, &mut outcome);
        let all = (0..kernel.cluster_threads()).collect::<Vec<u32>>();
        machine.block(&kernel.body, all)?;
    }
    Ok(outcome)
}

/// What each thread has of a value or register: as many lanes as that has, or none before it is set.
struct Column {
    most: usize,
    lanes: Vec<u8>,
    bits: Vec<u64>,
}

impl Column {
    fn new(ty: Type, threads: usize) -> Self {
        let most = usize::from(ty.lanes);
        Self {
            most,
            lanes: vec![0; threads],
            bits: vec![0; most * threads],
        }
    }

    fn of(&self, thread: u32) -> &[u64] {
        let (thread, most) = (thread as usize, self.most);
        &self.bits[thread * most..][..usize::from(self.lanes[thread])]
    }

    fn set(&mut self, thread: u32, packet: &[u64]) {
        let (thread, most) = (thread as usize, self.most);
        self.bits[thread * most..][..packet.len()].copy_from_slice(packet);
        self.lanes[thread] = packet.len() as u8;
    }
}

/// One block at work, or those of a cluster: its threads are counted on from block to block.
struct Machine<'a> {
    kernel: &'a Kernel,
    /// The first one.
    block: u32,
    arguments: &'a [Passed],
    memory: &'a mut Memory,
    outcome: &'a mut Outcome,
    /// By value.
    values: Vec<Column>,
    /// By register.
    registers: Vec<Column>,
    /// By variable and thread.
    variables: Vec<Vec<i64>>,
    /// That of one block after the other.
    shared: Vec<u8>,
    /// By buffer and thread.
    local: BTreeMap<(usize, u32), Vec<u8>>,
    touched: Touched,
    ended: BTreeSet<u32>,
    /// The threads that have left a loop or scope, or gone on to its next trip.
    left: BTreeMap<Label, Vec<u32>>,
    next: BTreeMap<Label, Vec<u32>>,
    steps: u64,
    /// Nanoseconds.
    time: u64,
    span: Span,
}

impl<'a> Machine<'a> {
    fn new(
        kernel: &'a Kernel,
        block: u32,
        arguments: &'a [Passed],
        memory: &'a mut Memory,
        outcome: &'a mut Outcome,
    ) -> Self {
        let threads = kernel.cluster_threads() as usize;
        Self {
            kernel,
            block,
            arguments,
            memory,
            outcome,
            values: kernel
                .values
                .iter()
                .map(|(_, value)| Column::new(value.ty, threads))
                .collect(),
            registers: kernel
                .registers
                .iter()
                .map(|(_, register)| Column::new(register.ty, threads))
                .collect(),
            variables: vec![vec![0; threads]; kernel.variables.len()],
            shared: vec![0xa5; (kernel.cluster * kernel.shared_bytes()) as usize],
            local: BTreeMap::new(),
            touched: Touched::default(),
            ended: BTreeSet::new(),
            left: BTreeMap::new(),
            next: BTreeMap::new(),
            steps: 0,
            time: 0,
            span: Span::UNKNOWN,
        }
    }

    fn fault<T>(&self, thread: u32, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault {
            what: what.into(),
            block: self.block + thread / self.kernel.threads,
            thread: thread % self.kernel.threads,
            span: self.span,
            reports: self.outcome.reports.clone(),
        })
    }

    fn at(&self, thread: u32, lane: usize) -> At<'_, 'a> {
        At {
            machine: self,
            thread,
            lane,
        }
    }

    fn index(&self, index: Handle<Index>, thread: u32, lane: usize) -> i64 {
        self.kernel.indices.evaluate(index, &self.at(thread, lane))
    }

    fn condition(&self, condition: Handle<Predicate>, thread: u32, lane: usize) -> bool {
        self.kernel
            .indices
            .evaluate_condition(condition, &self.at(thread, lane))
    }

    fn operand(&self, operand: Use, thread: u32) -> Packet {
        match operand {
            Use::Value(value) => self.values[value.index()].of(thread).iter().copied().collect(),
            Use::Literal(literal) => std::iter::once(literal.bits).collect(),
            Use::Index(index) => {
                let lanes = usize::from(self.kernel.ty(operand).lanes);
                (0..lanes).map(|lane| self.index(index, thread, lane) as u64).collect()
            }
            Use::Predicate(condition) => {
                let lanes = usize::from(self.kernel.ty(operand).lanes);
                (0..lanes)
                    .map(|lane| u64::from(self.condition(condition, thread, lane)))
                    .collect()
            }
        }
    }

    /// One lane of an operand; of one that has a single lane, that. `None` of a value that the thread has not.
    fn lane(&self, operand: Use, thread: u32, lane: usize) -> Option<u64> {
        let own = |lanes: usize| if lanes == 1 { 0 } else { lane };
        match operand {
            Use::Value(value) => {
                let packet = self.values[value.index()].of(thread);
                packet.get(own(packet.len())).copied()
            }
            Use::Literal(literal) => Some(literal.bits),
            Use::Index(index) => {
                let lanes = usize::from(self.kernel.ty(operand).lanes);
                Some(self.index(index, thread, own(lanes)) as u64)
            }
            Use::Predicate(condition) => {
                let lanes = usize::from(self.kernel.ty(operand).lanes);
                Some(u64::from(self.condition(condition, thread, own(lanes))))
            }
        }
    }

    fn scalar(&self, operand: Use, thread: u32) -> u64 {
        self.lane(operand, thread, 0).unwrap_or_default()
    }

    fn address_of(&self, kind: BufferKind) -> u64 {
        match kind {
            BufferKind::Global { argument, .. } => match self.arguments[argument.index()] {
                Passed::Pointer(address) => address,
                Passed::Scalar(_) | Passed::Bytes(_) => panic!("argument {} is a pointer", argument.index()),
            },
            _ => 0,
        }
    }
}

/// One lane of one thread.
struct At<'m, 'a> {
    machine: &'m Machine<'a>,
    thread: u32,
    lane: usize,
}

impl Assignment for At<'_, '_> {
    fn atom(&self, atom: Atom) -> i64 {
        let (machine, thread) = (self.machine, self.thread as usize);
        match atom {
            Atom::Thread => (self.thread % machine.kernel.threads).into(),
            Atom::Block => (machine.block + self.thread / machine.kernel.threads).into(),
            Atom::Lane(_) => self.lane as i64,
            Atom::Argument(argument) => {
                let element = match machine.kernel.arguments[argument].kind {
                    super::ArgumentKind::Scalar(element) => element,
                    super::ArgumentKind::Pointer | super::ArgumentKind::Bytes { .. } => ElementType::I64,
                };
                match &machine.arguments[argument.index()] {
                    Passed::Scalar(bits) => extended(element, *bits),
                    Passed::Pointer(_) | Passed::Bytes(_) => panic!("argument {} is a scalar", argument.index()),
                }
            }
            Atom::Address(buffer) => machine.address_of(machine.kernel.buffers[buffer].kind) as i64,
            Atom::Variable(variable) => machine.variables[variable.index()][thread],
            Atom::Value(value) => {
                let packet = machine.values[value.index()].of(self.thread);
                // Of several lanes each has its own.
                let lane = if packet.len() > 1 { self.lane } else { 0 };
                let bits = packet.get(lane).copied().unwrap_or_default();
                extended(machine.kernel.values[value].ty.element, bits)
            }
        }
    }

    fn holds(&self, value: Handle<Value>) -> bool {
        let packet = self.machine.values[value.index()].of(self.thread);
        // Of several lanes each has its own.
        let lane = if packet.len() > 1 { self.lane } else { 0 };
        packet.get(lane).is_some_and(|bits| *bits != 0)
    }
}

/// An integer, extended to 64 bits by its sign.
fn extended(element: ElementType, bits: u64) -> i64 {
    Literal { element, bits }.as_integer().unwrap_or_default() as i64
}
