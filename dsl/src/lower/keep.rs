//! What elements are made of that are combined and used again, each thread keeps: it is neither loaded nor computed twice.
//!
//! It is kept where each thread combines the elements that it holds, and whatever uses them later in the same block uses each where it
//! is; or where other threads store it, if handing it to them takes less than computing it again.

use std::collections::BTreeSet;

use super::held::{Held, Lines, MOST_REGISTERS};
use super::{Lower, LowerError};
use crate::analysis::lines::{is_costly, only_reduces};
use crate::element::ElementType;
use crate::ir::{Access, AtomicUpdate, Block, Expression, Handle, Kernel, Shape, Statement};
use crate::schedule::{VECTOR_BYTES, WARP};
use crate::stack::room;
use crate::thread::passes::Why;

/// Bytes that a thread loads at most before it needs them.
const MOST_EARLY_BYTES: u64 = 32;

/// Bytes of all tiles that the threads of a block hand each other at once, at most.
const MOST_HANDED_BYTES: u64 = 64 << 10;

/// Later uses that are looked at.
const MOST_LATER: usize = 64;

/// What a later statement uses.
enum Later {
    Store(Access, Handle<Expression>),
    Combined(Handle<Expression>),
    Other(Handle<Expression>),
    /// Behind this a program may not come.
    Elsewhere,
}

impl Lower<'_> {
    /// Before elements of `value` are combined, as `combined` says: keeps what they are made of.
    pub(super) fn keep_for(&mut self, combined: Handle<Expression>) -> Result<(), LowerError> {
        let kernel = self.kernel;
        let (value, axis, chunk) = match &kernel.expressions[combined] {
            Expression::Reduce { value, axis, reduction } => {
                (*value, *axis, self.line_to_reduce(*value, *axis, reduction).chunk())
            }
            Expression::Scan { value, axis, .. } => (*value, *axis, Expression::CHUNK as u8),
            _ => return Ok(()),
        };
        let shape = kernel.ty(value).shape;
        let layout = self.layout(shape);
        let is_innermost = usize::from(axis) + 1 == shape.rank();
        let in_chunks = layout.lanes == chunk;
        // A short line every warp has for itself, and none waits for another one.
        let chunks = shape.innermost().div_ceil(u32::from(layout.lanes));
        let by_warps = layout.packets == u64::from(chunks) && chunks <= WARP && self.workers() > WARP.into();
        if !is_innermost || !in_chunks || layout.elements() > MOST_REGISTERS || by_warps {
            return Ok(());
        }
        let later = following(&kernel.body, kernel, combined).unwrap_or_default();
        if later.len() > MOST_LATER {
            return Ok(());
        }
        let mut kept = BTreeSet::new();
        self.find_kept(value, shape, &later, &mut kept, &mut BTreeSet::new());
        let before = self.kept.len();
        for value in kept {
            if self.stays(value, &later)? && self.is_combined_at_home(value, combined)? {
                self.keep_tile(value)?;
            }
        }
        for value in self.found_early(&later, shape, before) {
            self.keep_tile(value)?;
        }
        Ok(())
    }

    /// Whether the threads of a program that have a value in shared memory between them have to meet for it once at most, if they
    /// do so where it is used: nothing in a loop or behind a condition uses it.
    pub(super) fn meets_once(&self, value: Handle<Expression>) -> bool {
        let later = following(&self.kernel.body, self.kernel, value).unwrap_or_default();
        let is_here =
            |later: &Later| matches!(later, Later::Store(..) | Later::Combined(_)) || !self.uses(later, value);
        later.len() <= MOST_LATER && later.iter().all(is_here)
    }

    /// Whether a value is a little tile that is loaded ahead of a wait, of what nobody waits for, and stored behind it as it is: on its
    /// way while the program waits. Threads hold the elements that they would store in any case: others may be stored in the same
    /// places, with no barrier between.
    pub(super) fn is_ahead_of_wait(&mut self, value: Handle<Expression>) -> Result<bool, LowerError> {
        let kernel = self.kernel;
        let ty = kernel.ty(value);
        let Expression::Load(access) = &kernel.expressions[value] else {
            return Ok(false);
        };
        if !self.effects.atomics.waits || ty.is_scalar() || !self.schedule.wide {
            return Ok(false);
        }
        let (layout, size) = (self.layout(ty.shape), ty.element.size() as u64);
        let is_vector = u64::from(layout.lanes) * size == u64::from(VECTOR_BYTES);
        let is_little = layout.elements() * size <= MOST_EARLY_BYTES;
        let waits = |inner| self.waits_for_others(inner);
        let waits = access
            .operands()
            .any(|operand| kernel.is_made_of(operand, |_| true, waits));
        if !is_vector || !is_little || waits || !self.waits_before_store(value) {
            return Ok(false);
        }
        let later = following(&kernel.body, kernel, value).unwrap_or_default();
        let as_it_is = |later: &Later| matches!(later, Later::Store(_, stored) if *stored == value);
        let is_only_stored = later.iter().all(|later| as_it_is(later) || !self.uses(later, value));
        Ok(is_only_stored && self.stays(value, &later)?)
    }

    /// Whether an element takes others, or memory.
    fn waits_for_others(&self, value: Handle<Expression>) -> bool {
        let node = &self.kernel.expressions[value];
        node.is_collective() || matches!(node, Expression::Load(_) | Expression::Local(_) | Expression::Atomic(_))
    }

    /// Whether the kernel waits for flags between the definition of a value, in its outermost block, and the first store of it.
    fn waits_before_store(&self, value: Handle<Expression>) -> bool {
        let kernel = self.kernel;
        let is_wait = |statement: &Statement| {
            let Statement::Let(own) = statement else { return false };
            let node = &kernel.expressions[*own];
            matches!(node, Expression::Atomic(atomic) if matches!(atomic.update, AtomicUpdate::Wait { .. }))
        };
        let waits = |statement: &Statement| {
            let mut found = is_wait(statement);
            statement.for_each_block(|inner| inner.walk(&mut |inner, _| found |= is_wait(inner)));
            found
        };
        let stores = |statement: &Statement| matches!(statement, Statement::Store { value: stored, .. } if self.made_of(*stored, value));
        let statements = kernel.body.iter().map(|(statement, _)| statement);
        let behind = statements.skip_while(|statement| !matches!(statement, Statement::Let(own) if *own == value));
        behind.take_while(|statement| !stores(statement)).any(waits)
    }

    /// Each thread holds its own elements of a tile from here to the end of the block. What they are made of others may have.
    pub(super) fn keep_tile(&mut self, value: Handle<Expression>) -> Result<(), LowerError> {
        let ty = self.kernel.ty(value);
        let lanes = self.layout(ty.shape).lanes;
        let is_index = matches!(ty.element, ElementType::I64 | ElementType::Bool);
        let apart = self.stores_one_by_one(ty.shape) && lanes > 1 && !is_index;
        let why = if apart { Some(Why::Scheduled) } else { self.alone };
        let before = std::mem::replace(&mut self.alone, why);
        let held = self.with_others(&[value], |lower| {
            lower.hold(ty, |lower, _, point| match apart {
                true => lower.pull_apart(value, point, lanes),
                false => lower.pull(value, point),
            })
        });
        self.alone = before;
        let held = held?;
        self.held.insert(value, held);
        self.kept.push(value);
        Ok(())
    }

    /// What the next store, one of kept tiles, loads besides that waits for nothing: it is on its way while elements meet, if it is
    /// little.
    fn found_early(&mut self, later: &[Later], shape: Shape, kept_from: usize) -> BTreeSet<Handle<Expression>> {
        let kernel = self.kernel;
        let next = later
            .iter()
            .find(|later| matches!(later, Later::Store(..) | Later::Elsewhere));
        let Some(store @ Later::Store(access, value)) = next else {
            return BTreeSet::new();
        };
        let is_of_kept = self.kept[kept_from..].iter().any(|kept| self.uses(store, *kept));
        if !is_of_kept || !self.stores_as_held(access, kernel.ty(*value).shape) {
            return BTreeSet::new();
        }
        let own = self.layout(shape).elements();
        let waits = |inner| self.waits_for_others(inner);
        let is_early = |load: Handle<Expression>, access: &Access| {
            let ty = kernel.ty(load);
            ty.shape.elements() == shape.elements()
                && own * ty.element.size() as u64 <= MOST_EARLY_BYTES
                && !self.is_there(load)
                && !self.effects.is_changing(access.tensor)
                && !access
                    .operands()
                    .any(|operand| kernel.is_made_of(operand, |_| true, waits))
                && self.made_of(*value, load)
                && self.is_where(*value, load)
        };
        let loads = kernel.expressions.iter().filter_map(|(load, node)| match node {
            Expression::Load(access) => is_early(load, access).then_some(load),
            _ => None,
        });
        loads.collect()
    }

    /// What is kept ends with the block where it is computed.
    pub(super) fn keep_no_more(&mut self, before: usize) {
        for value in self.kept.drain(before..) {
            self.held.remove(&value);
        }
    }

    /// What nothing is looked into for: it is somewhere, or every thread has it.
    fn is_there(&self, value: Handle<Expression>) -> bool {
        let kernel = self.kernel;
        kernel.ty(value).is_scalar() || self.held.contains_key(&value) || kernel.expressions[value].is_collective()
    }

    /// What of a value, or of what it is made of element by element, is used later and takes loading.
    fn find_kept(
        &self,
        value: Handle<Expression>,
        shape: Shape,
        later: &[Later],
        kept: &mut BTreeSet<Handle<Expression>>,
        seen: &mut BTreeSet<Handle<Expression>>,
    ) {
        let kernel = self.kernel;
        let node = &kernel.expressions[value];
        let takes_loading = |value| {
            let is_load =
                |inner| !kernel.ty(inner).is_scalar() && matches!(kernel.expressions[inner], Expression::Load(_));
            kernel.is_made_of(value, |inner| !self.is_there(inner), is_load)
        };
        let as_long = kernel.ty(value).shape.elements() == shape.elements();
        if !seen.insert(value) || self.is_there(value) || !as_long || !takes_loading(value) {
            return;
        }
        if later.iter().any(|later| self.uses(later, value)) {
            let narrow = self.before_widening(value);
            kept.insert(narrow.unwrap_or(value));
        } else if is_pointwise(node) {
            node.for_each_operand(|operand| room(|| self.find_kept(operand, shape, later, kept, seen)));
        }
    }

    /// What is made wider, to be kept as it was.
    fn before_widening(&self, value: Handle<Expression>) -> Option<Handle<Expression>> {
        let kernel = self.kernel;
        let from = match kernel.expressions[value] {
            Expression::Reshape { value: from, .. } => return room(|| self.before_widening(from)),
            Expression::Cast { value: from, to } if kernel.ty(from).element.size() < to.size() => from,
            _ => return None,
        };
        (!self.is_there(from)).then_some(from)
    }

    /// What lines were reduced to of which a value is made, each element of the same one: of several, all by the same threads. None if
    /// threads have met since.
    pub(super) fn own_lines(&self, value: Handle<Expression>) -> Option<&Lines> {
        let unmet = self.order.unmet.iter().filter(|what| self.made_of(value, **what));
        let mut all = unmet.map(|what| match self.held.get(what) {
            Some(Held::Lines(lines)) if self.is_where(value, *what) => Some(lines),
            _ => None,
        });
        let first = all.next()??;
        let is_alike = |lines: &Lines| (lines.group, lines.at_a_time) == (first.group, first.at_a_time);
        all.all(|lines| lines.is_some_and(is_alike)).then_some(first)
    }

    fn made_of(&self, value: Handle<Expression>, what: Handle<Expression>) -> bool {
        self.kernel
            .is_made_of(value, |inner| !self.is_there(inner), |inner| inner == what)
    }

    fn uses(&self, later: &Later, what: Handle<Expression>) -> bool {
        match later {
            Later::Store(access, value) => {
                self.made_of(*value, what) || access.operands().any(|operand| self.made_of(operand, what))
            }
            Later::Combined(value) => {
                let mut uses = false;
                self.kernel.expressions[*value].for_each_operand(|operand| uses |= self.made_of(operand, what));
                uses
            }
            Later::Other(value) => self.made_of(*value, what),
            Later::Elsewhere => false,
        }
    }

    /// Whether whatever uses a value later uses each element where a thread holds it.
    fn stays(&mut self, what: Handle<Expression>, all: &[Later]) -> Result<bool, LowerError> {
        let kernel = self.kernel;
        for later in all {
            if !self.uses(later, what) {
                continue;
            }
            let stays = match later {
                Later::Other(_) | Later::Elsewhere => false,
                Later::Combined(value) => match kernel.expressions[*value] {
                    Expression::Reduce { value, axis, .. } | Expression::Scan { value, axis, .. } => {
                        usize::from(axis) + 1 == kernel.ty(value).shape.rank() && self.is_where(value, what)
                    }
                    _ => false,
                },
                Later::Store(access, value) => {
                    let shape = kernel.ty(*value).shape;
                    let indexes = access.operands().any(|operand| self.made_of(operand, what));
                    let is_made_of = self.is_made_of_handed_over(*value, what, all) && self.has_room_to_hand(what);
                    // Blocks of a cluster hand each other nothing.
                    let by_others = self.b.kernel().cluster == 1 && (is_made_of || self.may_be_handed_over(what));
                    !indexes && self.is_where(*value, what) && (by_others || self.stores_as_held(access, shape))
                }
            };
            if !stays {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether threads store the elements of a tile that they hold: a row that begins anywhere is stored in other packets, unless
    /// elements are stored one by one.
    pub(super) fn stores_as_held(&mut self, access: &Access, shape: Shape) -> bool {
        if self.stores_one_by_one(shape) {
            return true;
        }
        let lanes = self.layout(shape).lanes;
        let packet = u64::from(lanes) * self.size_of(access.tensor);
        let divisor = self.divisor_along(access, shape, lanes);
        let is_aligned = matches!(divisor, Ok(Ok(divisor)) if divisor >= packet.min(VECTOR_BYTES.into()));
        is_aligned && !self.layout(shape).has_rest(shape)
    }

    /// Whether each thread has one packet of a tile, of which the schedule has each element alone.
    fn stores_one_by_one(&self, shape: Shape) -> bool {
        !self.schedule.wide && self.layout(shape).own == 1
    }

    /// Whether a store takes kept elements from the threads that have them, to store others than these.
    pub(super) fn is_handed_over(&mut self, access: &Access, value: Handle<Expression>) -> bool {
        let shape = self.kernel.ty(value).shape;
        if self.stores_one_by_one(shape) {
            return false;
        }
        if self.layout(shape).has_rest(shape) {
            return true;
        }
        let is_of_kept = self.kept.iter().any(|kept| self.made_of(value, *kept));
        is_of_kept && !self.stores_as_held(access, shape)
    }

    /// Whether elements are handed to the threads that store them, rather than computed again: those of a line, which take long.
    fn may_be_handed_over(&self, what: Handle<Expression>) -> bool {
        self.kernel.ty(what).shape.rank() == 1
            && self.has_room_to_hand(what)
            && is_costly(self.kernel, what)
            && only_reduces(self.kernel)
    }

    /// Whether there is shared memory for a tile beside all that is kept.
    fn has_room_to_hand(&self, what: Handle<Expression>) -> bool {
        let bytes = |value: Handle<Expression>| {
            let ty = self.kernel.ty(value);
            ty.shape.elements() * ty.element.size() as u64
        };
        let kept: u64 = self.kept.iter().copied().map(bytes).sum();
        (kept + bytes(what)) * u64::from(self.schedule.programs_per_block) <= MOST_HANDED_BYTES
    }

    /// Whether a value is made of `what` by nothing but what is kept when that is combined, and handed over.
    fn is_made_of_handed_over(&self, value: Handle<Expression>, what: Handle<Expression>, later: &[Later]) -> bool {
        let kernel = self.kernel;
        let handed = |inner: Handle<Expression>| {
            let combines = |later: &Later| {
                matches!(later, Later::Combined(combined)
                    if matches!(kernel.expressions[*combined], Expression::Reduce { value, .. } if value == inner))
            };
            inner != what && self.may_be_handed_over(inner) && later.iter().any(combines)
        };
        !kernel.is_made_of(
            value,
            |inner| !self.is_there(inner) && !handed(inner),
            |inner| inner == what,
        )
    }

    /// Whether each element of a value is made of the same one of `what`.
    fn is_where(&self, value: Handle<Expression>, what: Handle<Expression>) -> bool {
        let kernel = self.kernel;
        let elsewhere = |inner: Handle<Expression>| {
            inner != what && !is_pointwise(&kernel.expressions[inner]) && self.made_of(inner, what)
        };
        let same = kernel.ty(value).shape.elements() == kernel.ty(what).shape.elements();
        same && !kernel.is_made_of(
            value,
            |inner| inner != what && !self.is_there(inner),
            |inner| !self.is_there(inner) && elsewhere(inner),
        )
    }

    /// Whether an operation takes what threads hold of a value as it is: found by doing it once for nothing.
    fn is_combined_at_home(
        &mut self,
        what: Handle<Expression>,
        combined: Handle<Expression>,
    ) -> Result<bool, LowerError> {
        let kernel = self.kernel;
        let wanted = self.wanted_by(|lower| {
            let held = lower.hold(kernel.ty(what), |lower, _, point| lower.pull(what, point))?;
            lower.held.insert(what, held);
            let done = lower.collective_once(combined);
            lower.held.remove(&what);
            done
        })?;
        Ok(!wanted.contains(&what))
    }
}

/// Whether each element is made of those at the same place in what it is made of.
fn is_pointwise(node: &Expression) -> bool {
    matches!(
        node,
        Expression::Unary { .. }
            | Expression::Binary { .. }
            | Expression::MulAdd { .. }
            | Expression::Compare { .. }
            | Expression::Select { .. }
            | Expression::Cast { .. }
            | Expression::Bitcast { .. }
            | Expression::Reshape { .. }
    )
}

/// What the statements behind a definition use that are in its block.
fn following(block: &Block, kernel: &Kernel, value: Handle<Expression>) -> Option<Vec<Later>> {
    let defines = |statement: &Statement| matches!(statement, Statement::Let(own) if *own == value);
    let mut statements = block.iter().map(|(statement, _)| statement);
    if statements.any(defines) {
        let mut later = Vec::new();
        statements.for_each(|statement| uses_of(statement, kernel, &mut later));
        return Some(later);
    }
    let mut found = None;
    for (statement, _) in block {
        statement.for_each_block(|inner| {
            found = found.take().or_else(|| room(|| following(inner, kernel, value)));
        });
    }
    found
}

fn uses_of(statement: &Statement, kernel: &Kernel, later: &mut Vec<Later>) {
    match statement {
        Statement::Store { access, value, .. } => later.push(Later::Store(access.clone(), *value)),
        Statement::Let(value) if kernel.expressions[*value].is_collective() => later.push(Later::Combined(*value)),
        other => {
            if !matches!(other, Statement::Let(_) | Statement::Assign { .. }) {
                later.push(Later::Elsewhere);
            }
            other_uses(other, kernel, later);
        }
    }
    statement.for_each_block(|inner| inner.walk(&mut |statement, _| other_uses(statement, kernel, later)));
}

fn other_uses(statement: &Statement, kernel: &Kernel, later: &mut Vec<Later>) {
    statement.for_each_use(|value| later.push(Later::Other(value)));
    if let Statement::Let(value) = statement {
        let node = &kernel.expressions[*value];
        // Other tiles are computed where they are used.
        if kernel.ty(*value).is_scalar() || node.access().is_some() || node.is_collective() {
            node.for_each_operand(|operand| later.push(Later::Other(operand)));
        }
    }
}
