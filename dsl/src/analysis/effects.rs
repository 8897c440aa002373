//! Which tensors a kernel reads and writes, and whether the threads of a program ever depend on one another.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::atomics::Atomics;
use super::range::{Ranges, Reach};
use crate::ir::{Access, BinaryOp, Block, Conflict, Expression, GridDependency, Handle, Kernel, Statement};
use crate::stack::room;

/// What a kernel does to memory.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// Tensors that are read.
    pub loaded: BTreeSet<u32>,
    /// Tensors that are written.
    pub stored: BTreeSet<u32>,
    /// Written tensors on which the order of a program's accesses matters between threads: they are also read, or are
    /// written at several places or in several trips of a loop that may meet, or are changed atomically as well. Stores
    /// that are known to be apart need no order.
    pub ordered: BTreeSet<u32>,
    /// The atomic operations.
    pub atomics: Atomics,
    /// Whether a variable holds a tile.
    pub has_tile_locals: bool,
    /// Whether elements of a tile meet, as in a reduction.
    pub has_collectives: bool,
    /// Whether they do in a scan.
    pub has_scans: bool,
    /// Whether elements of a tile are tested, each of which may end the program.
    pub checks_tiles: bool,
    /// Whether programs must run one after the other.
    pub in_order: bool,
    /// Whether programs wait for launches before theirs, which may write what they read.
    pub waits: bool,
    /// Tensors that other ranks read and write meanwhile.
    pub of_peers: BTreeSet<u32>,
}

impl Effects {
    /// The effects of `kernel`.
    pub fn of(kernel: &Kernel) -> Self {
        let mut effects = Self {
            has_tile_locals: kernel.locals.iter().any(|(_, local)| !local.ty.is_scalar()),
            of_peers: (0..kernel.parameters.len() as u32)
                .filter(|&tensor| kernel.is_of_peers(tensor))
                .collect(),
            ..Self::default()
        };
        // Tensors with stores that do not promise to be disjoint.
        let mut may_meet = BTreeSet::new();
        let mut last_wins = BTreeSet::new();
        kernel.body.walk(&mut |statement, _| match statement {
            Statement::Let(value) => {
                let node = &kernel.expressions[*value];
                effects.has_collectives |= node.is_collective();
                effects.has_scans |= matches!(node, Expression::Scan { .. });
                if let Expression::Load(access) = node {
                    effects.loaded.insert(access.tensor);
                }
            }
            Statement::Store { access, conflict, .. } => {
                effects.stored.insert(access.tensor);
                match conflict {
                    Some(Conflict::Disjoint) => {}
                    None => drop(may_meet.insert(access.tensor)),
                    // One thread may write what another does in the next statement.
                    Some(Conflict::LastWins) => drop(last_wins.insert(access.tensor)),
                }
            }
            Statement::GridDependency(GridDependency::Wait) => effects.waits = true,
            statement => effects.checks_tiles |= kernel.checks_tile(statement),
        });
        effects.atomics = Atomics::of(kernel, &effects.loaded, &effects.stored);
        effects.ordered = effects.stored.intersection(&effects.loaded).copied().collect();
        // Atomic operations need no order among themselves, but plain accesses beside them do.
        let plain = effects.stored.union(&effects.loaded);
        let mixed: Vec<u32> = plain.filter(|t| effects.atomics.tensors.contains(t)).copied().collect();
        effects.ordered.extend(mixed);
        let mut meet = Meetings {
            kernel,
            apart: stores_apart(kernel),
            has_registers: effects.has_tile_locals
                || effects.has_collectives
                || !effects.ordered.is_empty()
                || !effects.of_peers.is_empty()
                || effects.atomics.used.iter().any(|&found| !kernel.ty(found).is_scalar()),
            loops: Vec::new(),
            ordered: BTreeSet::new(),
        };
        meet.block(&kernel.body, &Written::new());
        effects.ordered.extend(meet.ordered.intersection(&may_meet));
        effects.in_order = !last_wins.is_empty();
        effects.ordered.extend(last_wins);
        effects
    }

    /// Whether each thread of a program can do its share without waiting for another: the program may then be split over
    /// blocks, and several programs may share one.
    pub fn threads_are_independent(&self) -> bool {
        self.threads_wait_where_elements_meet() && !self.has_collectives
    }

    /// Whether it waits for another where elements of a tile meet, if they do, and nowhere else.
    pub fn threads_wait_where_elements_meet(&self) -> bool {
        !self.in_order
            && self.ordered.is_empty()
            && !self.has_tile_locals
            && !self.checks_tiles
            && self.atomics.threads_are_independent()
    }

    /// Whether what a load from `tensor` reads depends on when it happens.
    pub fn is_changing(&self, tensor: u32) -> bool {
        self.stored.contains(&tensor) || self.atomics.tensors.contains(&tensor) || self.of_peers.contains(&tensor)
    }

    /// Whether threads see each other's work through `tensor`.
    pub fn is_shared(&self, tensor: u32) -> bool {
        // One program may change what another has, which its block did before.
        let in_order = self.in_order && self.is_changing(tensor);
        in_order
            || self.ordered.contains(&tensor)
            || self.atomics.tensors.contains(&tensor)
            || self.of_peers.contains(&tensor)
    }
}

/// A loop around the statement that is walked.
struct OpenLoop {
    /// Its induction value; none for `while`.
    induction: Option<Handle<Expression>>,
    /// The values defined inside it.
    defined: BTreeSet<Handle<Expression>>,
}

impl OpenLoop {
    fn over(induction: Option<Handle<Expression>>) -> Self {
        Self {
            induction,
            defined: BTreeSet::new(),
        }
    }
}

/// The stores that have been made of each tensor, by which access.
type Written<'a> = BTreeMap<u32, Vec<&'a Access>>;

/// Of each store, those before it in the text that it is known to be apart from. A store is known by where it lies in
/// the kernel.
type Apart = HashMap<*const Access, Vec<*const Access>>;

/// So many stores of one tensor are compared with each other, and no more.
const MOST_STORES: usize = 64;

/// Compares the stores of every tensor that has several.
fn stores_apart(kernel: &Kernel) -> Apart {
    let mut stores: BTreeMap<u32, usize> = BTreeMap::new();
    let mut in_loops = BTreeSet::new();
    kernel.body.walk(&mut |statement, _| match statement {
        Statement::Store { access, .. } => *stores.entry(access.tensor).or_default() += 1,
        Statement::For { induction, .. } => {
            in_loops.insert(*induction);
            statement.for_each_block(|block| defined_in(block, &mut in_loops));
        }
        Statement::While { .. } => statement.for_each_block(|block| defined_in(block, &mut in_loops)),
        _ => {}
    });
    let mut apart = Apart::new();
    if stores.values().all(|&number| number < 2) {
        return apart;
    }
    let mut before: BTreeMap<u32, Vec<(*const Access, Reach)>> = BTreeMap::new();
    Ranges::of_every_launch(kernel).walk(&kernel.body, &mut |ranges, statement, _| {
        let Statement::Store { access, .. } = statement else {
            return;
        };
        if stores
            .get(&access.tensor)
            .is_none_or(|number| !(2..=MOST_STORES).contains(number))
        {
            return;
        }
        // Whatever trips the loops around are in.
        let reach = ranges.reach(access, |value| in_loops.contains(&value));
        let before = before.entry(access.tensor).or_default();
        let others = before.iter().filter(|(_, other)| ranges.are_apart(other, &reach));
        let others = others.map(|(other, _)| *other).collect();
        apart.insert(std::ptr::from_ref(access), others);
        before.push((std::ptr::from_ref(access), reach));
    });
    apart
}

/// The values that are defined in a block.
fn defined_in(block: &Block, defined: &mut BTreeSet<Handle<Expression>>) {
    block.walk(&mut |statement, _| match statement {
        Statement::Let(value) => drop(defined.insert(*value)),
        Statement::For { induction, .. } => drop(defined.insert(*induction)),
        _ => {}
    });
}

/// Finds stores of one program that may write the same element.
struct Meetings<'a> {
    kernel: &'a Kernel,
    apart: Apart,
    /// Whether any tile is in registers.
    has_registers: bool,
    loops: Vec<OpenLoop>,
    ordered: BTreeSet<u32>,
}

impl<'a> Meetings<'a> {
    /// Walks a block that runs after `before`: tensors that may have been written, and where. Returns what may have been
    /// written after it, or `None` if nothing after it runs.
    fn block(&mut self, block: &'a Block, before: &Written<'a>) -> Option<Written<'a>> {
        let mut written = before.clone();
        for (statement, _) in block {
            match statement {
                Statement::Let(value) => {
                    for open in &mut self.loops {
                        open.defined.insert(*value);
                    }
                }
                Statement::Store { access, .. } => {
                    let disjoint = (0..self.loops.len()).all(|depth| self.trips_do_not_meet(depth, access));
                    if !disjoint {
                        self.ordered.insert(access.tensor);
                    }
                    self.write(access, &mut written);
                }
                Statement::If { accept, reject, .. } => {
                    let (accepted, rejected) = (
                        room(|| self.block(accept, &written)),
                        room(|| self.block(reject, &written)),
                    );
                    match (accepted, rejected) {
                        (None, None) => return None,
                        (Some(one), None) | (None, Some(one)) => written = one,
                        (Some(accepted), Some(rejected)) => {
                            written = accepted;
                            for (tensor, stores) in rejected {
                                let known = written.entry(tensor).or_default();
                                stores.into_iter().for_each(|store| add(known, store));
                            }
                        }
                    }
                }
                Statement::While { header, body, .. } => {
                    self.loops.push(OpenLoop::over(None));
                    if let Some(after) = room(|| self.block(header, &written)) {
                        room(|| self.block(body, &after));
                    }
                    self.loops.pop();
                    self.stores_of_loop([header, body], &mut written);
                }
                Statement::For { induction, body, .. } => {
                    self.loops.push(OpenLoop::over(Some(*induction)));
                    room(|| self.block(body, &written));
                    self.loops.pop();
                    self.stores_of_loop([body], &mut written);
                }
                Statement::Break | Statement::Continue | Statement::Return => return None,
                Statement::Assign { .. }
                | Statement::Check { .. }
                | Statement::Prefetch(_)
                | Statement::GridDependency(_)
                | Statement::Print { .. } => {}
            }
        }
        Some(written)
    }

    /// Adds a store, which is compared with those that may have been made before.
    fn write(&mut self, access: &'a Access, written: &mut Written<'a>) {
        let tensor = access.tensor;
        let before = written.entry(tensor).or_default();
        // Of a tensor on which order matters nothing more is to be found.
        if self.ordered.contains(&tensor) {
            return;
        }
        if before.iter().any(|earlier| !self.need_no_order(earlier, access)) {
            self.ordered.insert(tensor);
        }
        add(before, access);
    }

    /// Whether two stores, if they write an element, do it with the same thread, or write no element both.
    fn need_no_order(&self, one: &Access, other: &Access) -> bool {
        let (here, there) = (std::ptr::from_ref(one), std::ptr::from_ref(other));
        let known = |later, earlier| {
            let before = self.apart.get(&later);
            before.is_some_and(|before: &Vec<*const Access>| before.contains(&earlier))
        };
        self.same_threads(one, other) || known(here, there) || known(there, here)
    }

    /// Whether two stores, if they write an element, do it with the same thread: they are spread over threads alike where
    /// all of the access is equal, unless the value of one is in registers.
    fn same_threads(&self, one: &Access, other: &Access) -> bool {
        one == other && !self.has_registers
    }

    /// Adds what the blocks of a loop write, on whatever way they are left. One trip may store at one place, and the next
    /// one at another.
    fn stores_of_loop(&mut self, blocks: impl IntoIterator<Item = &'a Block>, written: &mut Written<'a>) {
        let mut inside = Written::new();
        for block in blocks {
            block.walk(&mut |statement, _| {
                if let Statement::Store { access, .. } = statement {
                    self.write(access, &mut inside);
                }
            });
        }
        for (tensor, stores) in inside {
            let known = written.entry(tensor).or_default();
            stores.into_iter().for_each(|store| add(known, store));
        }
    }

    /// Whether a store in the loop at `depth` writes the same places with the same threads in every trip, or other
    /// places in every trip.
    fn trips_do_not_meet(&self, depth: usize, access: &Access) -> bool {
        let OpenLoop { induction, defined } = &self.loops[depth];
        let invariant = |value: Handle<Expression>| !depends(self.kernel, value, *induction, defined);
        if access.indices.iter().all(|&index| invariant(index)) {
            return true;
        }
        let Some(induction) = induction else { return false };
        access
            .indices
            .iter()
            .any(|&index| self.kernel.ty(index).is_scalar() && self.grows_with(index, *induction, defined))
    }

    /// Whether `value` is the induction value plus or minus something that does not change in the loop.
    fn grows_with(
        &self,
        value: Handle<Expression>,
        induction: Handle<Expression>,
        defined: &BTreeSet<Handle<Expression>>,
    ) -> bool {
        let invariant = |value| !depends(self.kernel, value, Some(induction), defined);
        match &self.kernel.expressions[value] {
            _ if value == induction => true,
            _ if invariant(value) => false,
            Expression::Binary {
                op: BinaryOp::Add | BinaryOp::Subtract,
                left,
                right,
            } => {
                let grows = |value| room(|| self.grows_with(value, induction, defined));
                (invariant(*right) && grows(*left)) || (invariant(*left) && grows(*right))
            }
            _ => false,
        }
    }
}

/// Adds a store that is not there yet.
fn add<'a>(stores: &mut Vec<&'a Access>, store: &'a Access) {
    if !stores.iter().any(|known| std::ptr::eq(*known, store)) {
        stores.push(store);
    }
}

/// Whether `value` may differ between trips of a loop with this induction value and these definitions.
fn depends(
    kernel: &Kernel,
    value: Handle<Expression>,
    induction: Option<Handle<Expression>>,
    defined: &BTreeSet<Handle<Expression>>,
) -> bool {
    // What is defined outside of the loop is the same in every trip.
    let varies = |value| {
        let changes = matches!(
            kernel.expressions[value],
            Expression::Local(_) | Expression::Load(_) | Expression::Atomic(_)
        );
        Some(value) == induction || (changes && defined.contains(&value))
    };
    kernel.is_made_of(value, |value| defined.contains(&value), varies)
}
