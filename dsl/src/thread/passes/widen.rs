//! Accesses that move with the lane, as accesses of 1 to 16 bytes.
//!
//! The lanes of an access are where its offset is for each: index expressions say how far they are apart, and what divides
//! the first one. Of lanes whose distances are known, in whatever order and however often each element is read, those that
//! are neighbours are accessed together, as wide as their address allows. A load of 16 bytes whose address is not known to
//! be a multiple of 16 is two aligned ones, shifted together; each of the words that is read has at least one byte that is
//! asked for, so no page is touched that is not the tensor's.
//!
//! Where the condition of an access moves with the lane, all lanes are accessed together if it holds for all, and one by one
//! elsewhere.

use std::collections::BTreeMap;

use crate::element::ElementType;
use crate::ir::{Handle, Literal, Span};
use crate::stack::room;
use crate::thread::{
    Atom, Block, Builder, Condition, Index, Kernel, Load, MAX_LANES, Operand, Operation, Place, Ptx, Report, Rounding,
    Space, Statement, Store, Substitution, Type, Value,
};

/// The bytes of one access at most.
const WIDEST: i64 = 16;

/// An access that could not be made as wide as its packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrow {
    /// The line.
    pub span: Span,
    /// The memory.
    pub buffer: String,
    /// Whether it is a store.
    pub is_store: bool,
    /// Bytes of each access that was made, at least.
    pub bytes: u32,
    /// Bytes that the packet would have had at once.
    pub wanted: u32,
    /// What stood in the way.
    pub why: Why,
}

/// Why an access is narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// How far the elements are apart is not known.
    Scattered,
    /// It is known, and they are no neighbours.
    Apart,
    /// No more than this is known to divide the address.
    Unaligned(u64),
}

pub(super) fn run(kernel: &mut Kernel) -> Vec<Narrow> {
    let (b, body) = Builder::over(std::mem::take(kernel));
    let mut widen = Widen {
        b,
        values: BTreeMap::new(),
        narrow: Vec::new(),
        span: Span::UNKNOWN,
    };
    widen.block(body);
    *kernel = widen.b.finish();
    widen.narrow
}

struct Widen {
    b: Builder,
    /// What packets that were loaded have become.
    values: BTreeMap<Handle<Value>, Operand>,
    narrow: Vec<Narrow>,
    span: Span,
}

impl Widen {
    fn block(&mut self, block: Block) {
        for (statement, span) in block {
            self.span = span;
            self.b.at(span);
            room(|| self.statement(statement));
        }
    }

    fn inside(&mut self, block: Block) -> Block {
        self.b.enter();
        self.block(block);
        self.b.leave()
    }

    fn statement(&mut self, statement: Statement) {
        match statement {
            Statement::Let {
                value,
                operation: Operation::Load(load),
            } => self.load(value, load),
            Statement::Let {
                value,
                operation:
                    Operation::Select {
                        condition: Operand::Condition(condition),
                        accept,
                        reject,
                    },
            } => self.select(value, condition, accept, reject),
            Statement::Let { value, mut operation } => {
                operation.map_operands(|operand| self.packet(operand));
                self.b.push(Statement::Let { value, operation });
            }
            Statement::Store(store) => self.store(store),
            Statement::Assign { register, value } => {
                let value = self.packet(value);
                self.b.push(Statement::Assign { register, value });
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let (accept, reject) = (self.inside(accept), self.inside(reject));
                self.b.push(Statement::If {
                    condition,
                    accept,
                    reject,
                });
            }
            Statement::For {
                label,
                variable,
                start,
                end,
                step,
                unroll,
                body,
            } => {
                let body = self.inside(body);
                self.b.push(Statement::For {
                    label,
                    variable,
                    start,
                    end,
                    step,
                    unroll,
                    body,
                });
            }
            Statement::Loop { label, unroll, body } => {
                let body = self.inside(body);
                self.b.push(Statement::Loop { label, unroll, body });
            }
            Statement::Scope { label, body } => {
                let body = self.inside(body);
                self.b.push(Statement::Scope { label, body });
            }
            Statement::Report(report) => self.report(report),
            Statement::Ptx(ptx) => self.ptx(ptx),
            // Of these everything has one lane.
            other @ (Statement::Name { .. }
            | Statement::Atomic(_)
            | Statement::AsyncCopy(_)
            | Statement::AsyncCommit
            | Statement::AsyncWait(_)
            | Statement::Prefetch { .. }
            | Statement::Barrier { .. }
            | Statement::Fence { .. }
            | Statement::GridDependency(_)
            | Statement::Print { .. }
            | Statement::Leave(_)
            | Statement::Next(_)
            | Statement::Exit) => self.b.push(other),
        }
    }

    /// One of two in each lane, which is no question where the lane says which.
    fn select(&mut self, value: Handle<Value>, condition: Handle<Condition>, accept: Operand, reject: Operand) {
        let lanes = self.b.kernel().values[value].ty.lanes;
        let (accept, reject) = (self.packet(accept), self.packet(reject));
        let own: Vec<_> = (0..lanes).map(|lane| self.condition_at(condition, lane)).collect();
        let known: Option<Vec<bool>> = own.iter().map(|one| self.b.kernel().indices.is_known(*one)).collect();
        if let Some(known) = known {
            let mut parts = Vec::with_capacity(known.len());
            for (lane, accepts) in known.into_iter().enumerate() {
                parts.push(self.lane_of(if accepts { accept } else { reject }, lane as u8));
            }
            let packet = self.b.join(parts);
            self.values.insert(value, packet);
            return;
        }
        let condition = self.packet(condition.into());
        self.b.push(Statement::Let {
            value,
            operation: Operation::Select {
                condition,
                accept,
                reject,
            },
        });
    }

    /// An operand without lanes: what moves with them is a packet.
    fn packet(&mut self, operand: Operand) -> Operand {
        let lanes = self.b.kernel().ty(operand).lanes;
        match operand {
            Operand::Value(value) => self.values.get(&value).copied().unwrap_or(operand),
            Operand::Index(index) if lanes > 1 => {
                let parts = (0..lanes).map(|lane| self.index_at(index, lane).into()).collect();
                self.b.join(parts)
            }
            Operand::Condition(condition) if lanes > 1 => {
                let parts = (0..lanes)
                    .map(|lane| self.condition_at(condition, lane).into())
                    .collect();
                self.b.join(parts)
            }
            Operand::Literal(_) | Operand::Index(_) | Operand::Condition(_) => operand,
        }
    }

    /// What takes the place of the lane, and of packets, in one lane.
    fn at_lane(&mut self, atoms: Vec<Atom>, lane: u8) -> Substitution {
        let mut substitution = Substitution::default();
        for atom in atoms {
            match atom {
                Atom::Lane(_) => {
                    let lane = self.b.constant(lane.into());
                    substitution.atoms.insert(atom, lane);
                }
                Atom::Value(value) if self.b.kernel().values[value].ty.lanes > 1 => {
                    let packet = self.values.get(&value).copied().unwrap_or(value.into());
                    let part = self.b.part(packet, lane, 1);
                    match self.b.element(part) {
                        ElementType::Bool => {
                            let condition = self.b.condition(part);
                            substitution.bools.insert(value, condition);
                        }
                        _ => {
                            let index = self.b.index(part);
                            substitution.atoms.insert(atom, index);
                        }
                    }
                }
                _ => {}
            }
        }
        substitution
    }

    fn index_at(&mut self, index: Handle<Index>, lane: u8) -> Handle<Index> {
        let atoms = self.b.kernel().indices.atoms(index).to_vec();
        let substitution = self.at_lane(atoms, lane);
        self.b.indices().substitute_all(index, &substitution)
    }

    fn condition_at(&mut self, condition: Handle<Condition>, lane: u8) -> Handle<Condition> {
        let atoms = self.b.kernel().indices.condition_atoms(condition).to_vec();
        let substitution = self.at_lane(atoms, lane);
        self.b.indices().substitute_all_in(condition, &substitution)
    }

    /// The offset of each lane.
    fn offsets(&mut self, place: Place, lanes: u8) -> Vec<Handle<Index>> {
        (0..lanes).map(|lane| self.index_at(place.offset, lane)).collect()
    }

    /// How far each is behind the first one, if that is known.
    fn distances(&mut self, offsets: &[Handle<Index>]) -> Option<Vec<i64>> {
        let mut distances = Vec::with_capacity(offsets.len());
        for &offset in offsets {
            distances.push(self.b.indices().difference(offset, offsets[0])?);
        }
        Some(distances)
    }

    /// Whether a condition holds for all lanes: of what grows with the lane, for the first or the last one.
    fn for_all(&mut self, condition: Handle<Condition>, lanes: u8) -> Handle<Condition> {
        let all_lanes =
            |widen: &mut Self| -> Vec<_> { (0..lanes).map(|lane| widen.condition_at(condition, lane)).collect() };
        let last = lanes - 1;
        let parts = match self.b.kernel().indices.condition(condition).clone() {
            Condition::All(all) => all.iter().map(|one| self.for_all(*one, lanes)).collect(),
            // Neither sum wraps, so neither does any in between.
            Condition::Positive(index) => match self.b.indices().step(index, Atom::Lane(lanes)) {
                Some(step) if !self.b.kernel().moves_by_values(index) => {
                    vec![self.condition_at(condition, if step < 0 { last } else { 0 })]
                }
                _ => all_lanes(self),
            },
            // Both ends are in it, and so is what is in between: fewer lanes than it takes to wrap are.
            Condition::Within(value, limit) => {
                let step = self.b.indices().step(value, Atom::Lane(lanes));
                let apart = step.is_some_and(|step| step.unsigned_abs() < 1 << 32);
                let by_values = [value, limit]
                    .iter()
                    .any(|index| self.b.kernel().moves_by_values(*index));
                match apart && !by_values && !self.b.kernel().indices.moves(limit, Atom::Lane(lanes)) {
                    true => vec![self.condition_at(condition, 0), self.condition_at(condition, last)],
                    false => all_lanes(self),
                }
            }
            _ => all_lanes(self),
        };
        self.b.indices().all(parts)
    }

    /// A report of each lane.
    fn report(&mut self, report: Report) {
        let kernel = self.b.kernel();
        let predicate = report.predicate.map(Operand::Condition);
        let operands = [Some(report.value), Some(report.met), predicate];
        let lanes = operands
            .into_iter()
            .flatten()
            .map(|operand| kernel.ty(operand).lanes)
            .max()
            .unwrap_or(1);
        if lanes == 1 {
            return self.b.push(Statement::Report(report));
        }
        let (value, met) = (self.packet(report.value), self.packet(report.met));
        for lane in 0..lanes {
            let own = Report {
                value: self.lane_of(value, lane),
                met: self.lane_of(met, lane),
                predicate: report.predicate.map(|predicate| self.condition_at(predicate, lane)),
                ..report
            };
            if own
                .predicate
                .is_none_or(|predicate| self.b.kernel().indices.is_known(predicate) != Some(false))
            {
                self.b.push(Statement::Report(own));
            }
        }
    }

    /// The author's instructions in each lane.
    fn ptx(&mut self, ptx: Ptx) {
        let inputs: Vec<Operand> = ptx.inputs.iter().map(|input| self.packet(*input)).collect();
        let first = ptx
            .outputs
            .first()
            .map(|output| self.b.kernel().values[*output].ty.lanes);
        let lanes = first.unwrap_or(1);
        if lanes == 1 {
            return self.b.push(Statement::Ptx(Ptx { inputs, ..ptx }));
        }
        let mut parts: Vec<Vec<Operand>> = vec![Vec::new(); ptx.outputs.len()];
        for lane in 0..lanes {
            let inputs = inputs.iter().map(|input| self.lane_of(*input, lane)).collect();
            let mut outputs = Vec::with_capacity(ptx.outputs.len());
            for (output, parts) in ptx.outputs.iter().zip(&mut parts) {
                let ty = self.b.kernel().values[*output].ty.with_lanes(1);
                let own = self.b.kernel_mut().values.append(Value { ty, facts: None });
                outputs.push(own);
                parts.push(own.into());
            }
            self.b.push(Statement::Ptx(Ptx {
                text: ptx.text.clone(),
                outputs,
                inputs,
                meaning: ptx.meaning.clone(),
            }));
        }
        for (output, parts) in ptx.outputs.iter().zip(parts) {
            let packet = self.b.join(parts);
            self.values.insert(*output, packet);
        }
    }

    // Loads.

    fn load(&mut self, value: Handle<Value>, load: Load) {
        let moves = self.b.kernel().lanes_of(load.place.offset).is_some();
        let predicate = load.predicate.filter(|predicate| {
            let ty = self.b.kernel().ty(Operand::Condition(*predicate));
            ty.lanes > 1
        });
        if !moves && predicate.is_none() {
            return self.b.push(Statement::Let {
                value,
                operation: Operation::Load(load),
            });
        }
        let offsets = self.offsets(load.place, load.ty.lanes);
        let packet = match predicate {
            None => self.gather(&load, &offsets),
            Some(predicate) => self.gather_where(&load, &offsets, predicate),
        };
        self.values.insert(value, packet);
    }

    /// All lanes, each where its own condition holds.
    fn gather_where(&mut self, load: &Load, offsets: &[Handle<Index>], predicate: Handle<Condition>) -> Operand {
        let lanes = load.ty.lanes;
        let own: Vec<_> = (0..lanes).map(|lane| self.condition_at(predicate, lane)).collect();
        let mut groups: Vec<(Handle<Condition>, Vec<usize>)> = Vec::new();
        for (lane, &condition) in own.iter().enumerate() {
            match groups.iter_mut().find(|(known, _)| *known == condition) {
                Some((_, group)) => group.push(lane),
                None => groups.push((condition, vec![lane])),
            }
        }
        // What several lanes share is no matter of each.
        if groups.len() < own.len() {
            return self.in_groups(load, offsets, &groups);
        }
        let all = self.for_all(predicate, lanes);
        let whole = Load {
            predicate: None,
            ..*load
        };
        match self.b.kernel().indices.is_known(all) {
            Some(true) => self.gather(&whole, offsets),
            Some(false) => self.one_by_one(load, offsets, &own),
            None => {
                let register = self.b.register("packet", load.ty);
                self.b.enter();
                let packet = self.gather(&whole, offsets);
                self.b.assign(register, packet);
                let accept = self.b.leave();
                self.b.enter();
                let packet = self.one_by_one(load, offsets, &own);
                self.b.assign(register, packet);
                let reject = self.b.leave();
                self.b.push(Statement::If {
                    condition: all,
                    accept,
                    reject,
                });
                self.b.read(register)
            }
        }
    }

    /// Lanes by their conditions, those of each together.
    fn in_groups(
        &mut self,
        load: &Load,
        offsets: &[Handle<Index>],
        groups: &[(Handle<Condition>, Vec<usize>)],
    ) -> Operand {
        let mut parts: Vec<Operand> = vec![Literal::zero(load.ty.element).into(); offsets.len()];
        for (condition, lanes) in groups {
            let known = self.b.kernel().indices.is_known(*condition);
            if known == Some(false) {
                continue;
            }
            let own: Vec<_> = lanes.iter().map(|lane| offsets[*lane]).collect();
            let group = Load {
                ty: load.ty.with_lanes(own.len() as u8),
                predicate: Some(*condition).filter(|_| known.is_none()),
                ..*load
            };
            let packet = self.gather(&group, &own);
            for (at, lane) in lanes.iter().enumerate() {
                parts[*lane] = self.lane_of(packet, at as u8);
            }
        }
        self.b.join(parts)
    }

    /// Every lane by itself, under its own condition.
    fn one_by_one(&mut self, load: &Load, offsets: &[Handle<Index>], conditions: &[Handle<Condition>]) -> Operand {
        let mut parts = Vec::with_capacity(offsets.len());
        for (&offset, &condition) in offsets.iter().zip(conditions) {
            let predicate = Some(condition);
            parts.push(self.one(&Load { predicate, ..*load }, offset));
        }
        self.b.join(parts)
    }

    fn one(&mut self, load: &Load, offset: Handle<Index>) -> Operand {
        let known = load
            .predicate
            .map(|predicate| self.b.kernel().indices.is_known(predicate));
        let element = load.ty.element;
        if known == Some(Some(false)) {
            return Literal::zero(element).into();
        }
        self.b.load(Load {
            place: Place { offset, ..load.place },
            ty: Type::scalar(element),
            predicate: load.predicate.filter(|_| known != Some(Some(true))),
            ..*load
        })
    }

    /// All lanes, whose condition is the same.
    fn gather(&mut self, load: &Load, offsets: &[Handle<Index>]) -> Operand {
        let Load { ty, .. } = *load;
        let size = ty.element.size() as i64;
        let Some(distances) = self.distances(offsets) else {
            self.note(load.place, false, size, ty, Why::Scattered);
            let parts = offsets.iter().map(|offset| self.one(load, *offset)).collect();
            return self.b.join(parts);
        };
        let mut distinct = distances.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if let [_] = *distinct {
            let value = self.one(load, offsets[0]);
            let lanes = ty.lanes;
            return match lanes {
                1 => value,
                _ => self.b.emit(Operation::Repeat { value, lanes }),
            };
        }
        // Where each element is: which piece, and which lane of it.
        let mut found: BTreeMap<i64, (usize, u8)> = BTreeMap::new();
        let mut pieces: Vec<Operand> = Vec::new();
        let mut narrowest = (WIDEST, None);
        for (start, count) in runs(&distinct, size) {
            let mut at = start;
            let end = start + count * size;
            while at < end {
                let offset = self.b.indices().offset(offsets[0], at);
                let place = Place { offset, ..load.place };
                let divisor = self.b.kernel().divisor_of(place).min(WIDEST as u64) as i64;
                let whole = end - at >= WIDEST && divisor < WIDEST && size < WIDEST;
                let is_global = self.b.kernel().buffers[place.buffer].space() == Space::Global;
                let (bytes, piece) = if whole && is_global && divisor >= size {
                    (WIDEST, self.realigned(load, place))
                } else {
                    let bytes = largest_power(end - at).min(divisor).max(size);
                    if bytes < narrowest.0 && bytes < end - at {
                        narrowest = (bytes, Some(Why::Unaligned(divisor as u64)));
                    }
                    let ty = Type::packet(ty.element, (bytes / size) as u8);
                    (bytes, self.b.load(Load { place, ty, ..*load }))
                };
                for lane in 0..bytes / size {
                    found.insert(at + lane * size, (pieces.len(), lane as u8));
                }
                pieces.push(piece);
                at += bytes;
            }
            if count * size < WIDEST && distinct.len() as i64 > count && count * size < narrowest.0 {
                narrowest = (count * size, Some(Why::Apart));
            }
        }
        if let (bytes, Some(why)) = narrowest {
            self.note(load.place, false, bytes, ty, why);
        }
        let in_order = distances.windows(2).all(|pair| pair[1] == pair[0] + size);
        if in_order && distances[0] == distinct[0] {
            return self.b.join(pieces);
        }
        let places: Vec<(usize, u8)> = distances
            .iter()
            .filter_map(|distance| found.get(distance).copied())
            .collect();
        let mut parts = Vec::with_capacity(places.len());
        for (piece, lane) in places {
            parts.push(self.b.part(pieces[piece], lane, 1));
        }
        self.b.join(parts)
    }

    /// Sixteen bytes at any address, from the one or two aligned packets that hold them.
    fn realigned(&mut self, load: &Load, place: Place) -> Operand {
        let base = match place.pointer {
            Some(pointer) => self.b.index(pointer.into()),
            None => self.b.address(place.buffer),
        };
        let address = self.b.indices().add(base, place.offset);
        let behind = self.b.indices().low(address, 4);
        let words = Type::packet(ElementType::U32, 4);
        let first = self.b.indices().subtract(place.offset, behind);
        let second = self.b.indices().offset(first, WIDEST);
        let zero = self.b.constant(0);
        let aligned = self.b.indices().equal(behind, zero);
        let both = self.b.indices().not(aligned);
        let both = self.b.indices().all(load.predicate.into_iter().chain([both]));
        let at = |offset, predicate| Load {
            place: Place { offset, ..place },
            ty: words,
            predicate,
            ..*load
        };
        let (low, high) = (
            self.b.load(at(first, load.predicate)),
            self.b.load(at(second, Some(both))),
        );
        let mut parts = Vec::with_capacity(8);
        for packet in [low, high] {
            for lane in 0..4 {
                parts.push(self.b.part(packet, lane, 1));
            }
        }
        // By two words, by one, and by the bytes that are left.
        for (bits, by) in [(4, 2), (3, 1)] {
            let low = self.b.indices().low(behind, bits);
            let limit = self.b.constant(4 * by as i64);
            let moves = self.b.indices().at_most(limit, low);
            match self.b.kernel().indices.is_known(moves) {
                Some(false) => {}
                _ => {
                    let moved = |widen: &mut Self, word: usize| {
                        let (accept, reject) = (parts[word + by], parts[word]);
                        widen.b.select(moves.into(), accept, reject)
                    };
                    let count = parts.len() - by;
                    parts = (0..count).map(|word| moved(self, word)).collect();
                }
            }
        }
        let bytes = self.b.indices().low(behind, 2);
        let shifted: Vec<Operand> = match self.b.kernel().indices.as_constant(bytes) {
            Some(0) => parts.into_iter().take(4).collect(),
            _ => {
                let bits = self.b.indices().scale(bytes, 8);
                let by = self.b.emit(Operation::Cast {
                    value: bits.into(),
                    to: ElementType::U32,
                    rounding: Rounding::NearestEven,
                });
                let funnel = |widen: &mut Self, word: usize| {
                    let (low, high) = (parts[word], parts[word + 1]);
                    widen.b.emit(Operation::Funnel { low, high, by })
                };
                (0..4).map(|word| funnel(self, word)).collect()
            }
        };
        let words = self.b.join(shifted);
        let element = load.ty.element;
        self.b
            .bitcast(words, Type::packet(element, (WIDEST / element.size() as i64) as u8))
    }

    // Stores.

    fn store(&mut self, store: Store) {
        let value = self.packet(store.value);
        let store = Store { value, ..store };
        let kernel = self.b.kernel();
        let of_predicate = store
            .predicate
            .map_or(1, |predicate| kernel.ty(Operand::Condition(predicate)).lanes);
        let lanes = kernel.lanes_of(store.place.offset).unwrap_or(1).max(of_predicate);
        if lanes == 1 {
            return self.b.push(Statement::Store(store));
        }
        let offsets = self.offsets(store.place, lanes);
        let Some(predicate) = store.predicate.filter(|_| of_predicate > 1) else {
            return self.scatter(&store, &offsets);
        };
        let condition = self.for_all(predicate, lanes);
        let whole = Store {
            predicate: None,
            ..store
        };
        self.b.enter();
        self.scatter(&whole, &offsets);
        let accept = self.b.leave();
        self.b.enter();
        for (lane, &offset) in offsets.iter().enumerate() {
            let predicate = self.condition_at(predicate, lane as u8);
            let value = self.lane_of(store.value, lane as u8);
            self.store_one(&Store { value, ..store }, offset, Some(predicate));
        }
        let reject = self.b.leave();
        self.b.push(Statement::If {
            condition,
            accept,
            reject,
        });
    }

    fn lane_of(&mut self, value: Operand, lane: u8) -> Operand {
        match self.b.kernel().ty(value).lanes {
            1 => value,
            _ => self.b.part(value, lane, 1),
        }
    }

    fn store_one(&mut self, store: &Store, offset: Handle<Index>, predicate: Option<Handle<Condition>>) {
        let known = predicate.map(|predicate| self.b.kernel().indices.is_known(predicate));
        if known == Some(Some(false)) {
            return;
        }
        self.b.store(Store {
            place: Place { offset, ..store.place },
            predicate: predicate.filter(|_| known != Some(Some(true))),
            ..*store
        });
    }

    /// All lanes, whose condition is the same.
    fn scatter(&mut self, store: &Store, offsets: &[Handle<Index>]) {
        let ty = self.b.kernel().ty(store.value).with_lanes(offsets.len() as u8);
        let size = ty.element.size() as i64;
        let distances = self.distances(offsets);
        let order = distances.as_ref().and_then(|distances| in_order(distances, size));
        let Some(order) = order else {
            let why = if distances.is_some() {
                Why::Apart
            } else {
                Why::Scattered
            };
            self.note(store.place, true, size, ty, why);
            // In the order of the lanes: the last one stays.
            for (lane, &offset) in offsets.iter().enumerate() {
                let value = self.lane_of(store.value, lane as u8);
                self.store_one(&Store { value, ..*store }, offset, store.predicate);
            }
            return;
        };
        let is_packet = self.b.kernel().ty(store.value).lanes > 1;
        let value = match order.iter().enumerate().all(|(at, lane)| at == *lane) || !is_packet {
            true => store.value,
            false => {
                let parts = order
                    .iter()
                    .map(|lane| self.b.part(store.value, *lane as u8, 1))
                    .collect();
                self.b.join(parts)
            }
        };
        let start = offsets[order[0]];
        let (mut at, end) = (0, ty.lanes.into());
        let mut narrowest = None;
        while at < end {
            let offset = self.b.indices().offset(start, at * size);
            let place = Place { offset, ..store.place };
            let divisor = self.b.kernel().divisor_of(place).min(WIDEST as u64) as i64;
            let bytes = largest_power((end - at) * size).min(divisor).max(size);
            if bytes < WIDEST && bytes < (end - at) * size {
                narrowest = Some((bytes, divisor));
            }
            let count = (bytes / size) as u8;
            let value = match is_packet {
                true => self.b.part(value, at as u8, count),
                false if count == 1 => value,
                false => self.b.emit(Operation::Repeat { value, lanes: count }),
            };
            self.b.store(Store { place, value, ..*store });
            at += i64::from(count);
        }
        if let Some((bytes, divisor)) = narrowest {
            self.note(store.place, true, bytes, ty, Why::Unaligned(divisor as u64));
        }
    }

    fn note(&mut self, place: Place, is_store: bool, bytes: i64, ty: Type, why: Why) {
        let buffer = self.b.kernel().buffers[place.buffer].name.clone();
        let narrow = Narrow {
            span: self.span,
            buffer,
            is_store,
            bytes: bytes as u32,
            wanted: ty.bytes().min(WIDEST as u32),
            why,
        };
        if !self.narrow.contains(&narrow) {
            self.narrow.push(narrow);
        }
    }
}

/// The lanes in the order of where they are, if they are neighbours and each is somewhere else.
fn in_order(distances: &[i64], size: i64) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..distances.len()).collect();
    order.sort_by_key(|lane| distances[*lane]);
    let neighbours = order
        .windows(2)
        .all(|pair| distances[pair[1]] == distances[pair[0]] + size);
    neighbours.then_some(order)
}

/// Where neighbours begin, and how many there are, of places in order.
fn runs(places: &[i64], size: i64) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for &place in places {
        match runs.last_mut() {
            Some((start, count)) if *start + *count * size == place && *count < MAX_LANES.into() => *count += 1,
            _ => runs.push((place, 1)),
        }
    }
    runs
}

fn largest_power(bytes: i64) -> i64 {
    (1 << bytes.ilog2()).min(WIDEST)
}
