//! What indices, conditions and packets are in one lane.

use std::cmp::Ordering;

use super::Widen;
use crate::element::ElementType;
use crate::ir::Handle;
use crate::stack::room;
use crate::thread::{Atom, Index, Place, Predicate, Substitution, Use};

impl Widen {
    /// An operand without lanes: what moves with them is a packet.
    pub(super) fn packet(&mut self, operand: Use) -> Use {
        let lanes = self.b.kernel().ty(operand).lanes;
        match operand {
            Use::Value(value) => self.values.get(&value).copied().unwrap_or(operand),
            Use::Index(index) if lanes > 1 => {
                let parts = (0..lanes).map(|lane| self.index_at(index, lane).into()).collect();
                self.b.join(parts)
            }
            Use::Predicate(condition) if lanes > 1 => {
                let parts = (0..lanes)
                    .map(|lane| self.condition_at(condition, lane).into())
                    .collect();
                self.b.join(parts)
            }
            Use::Literal(_) | Use::Index(_) | Use::Predicate(_) => operand,
        }
    }

    /// What takes the place of the lane, and of packets, in one lane.
    pub(super) fn at_lane(&mut self, atoms: Vec<Atom>, lane: u8) -> Substitution {
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

    pub(super) fn index_at(&mut self, index: Handle<Index>, lane: u8) -> Handle<Index> {
        let atoms = self.b.kernel().indices.atoms(index).to_vec();
        let substitution = self.at_lane(atoms, lane);
        self.b.indices().substitute_all(index, &substitution)
    }

    pub(super) fn condition_at(&mut self, condition: Handle<Predicate>, lane: u8) -> Handle<Predicate> {
        let atoms = self.b.kernel().indices.condition_atoms(condition).to_vec();
        let substitution = self.at_lane(atoms, lane);
        self.b.indices().substitute_all_in(condition, &substitution)
    }

    /// The offset of each lane.
    pub(super) fn offsets(&mut self, place: Place, lanes: u8) -> Vec<Handle<Index>> {
        (0..lanes).map(|lane| self.index_at(place.offset, lane)).collect()
    }

    /// How far each is behind the first one, if that is known.
    pub(super) fn distances(&mut self, offsets: &[Handle<Index>]) -> Option<Vec<i64>> {
        let mut distances = Vec::with_capacity(offsets.len());
        for &offset in offsets {
            distances.push(self.b.indices().difference(offset, offsets[0])?);
        }
        Some(distances)
    }

    /// Whether an index grows with the lane, or falls, as far as it moves with it, if it does nothing else.
    fn direction(&self, index: Handle<Index>, lanes: u8) -> Option<Ordering> {
        let kernel = self.b.kernel();
        if kernel.moves_by_values(index) {
            return None;
        }
        if !kernel.indices.moves(index, Atom::Lane(lanes)) {
            return Some(Ordering::Equal);
        }
        let both = |one: Ordering, other: Ordering| match (one, other) {
            (Ordering::Equal, other) => Some(other),
            (one, Ordering::Equal) => Some(one),
            (one, other) => (one == other).then_some(one),
        };
        match kernel.indices.get(index) {
            Index::Atom(_) => Some(Ordering::Greater),
            // What wraps may fall where it grows.
            Index::Sum(sum) if kernel.indices.exact_range(sum).is_some() => {
                sum.terms.iter().try_fold(Ordering::Equal, |all, term| {
                    let own = match *term.factors {
                        [factor] => room(|| self.direction(factor, lanes))?,
                        _ => {
                            let moves = |factor: &Handle<Index>| kernel.indices.moves(*factor, Atom::Lane(lanes));
                            (!term.factors.iter().any(moves)).then_some(Ordering::Equal)?
                        }
                    };
                    both(all, if term.coefficient < 0 { own.reverse() } else { own })
                })
            }
            Index::Quotient { value, by } => {
                let by = kernel.indices.as_constant(*by)?;
                (by > 0).then(|| room(|| self.direction(*value, lanes)))?
            }
            Index::Minimum(left, right) | Index::Maximum(left, right) => {
                let (left, right) = room(|| (self.direction(*left, lanes), self.direction(*right, lanes)));
                both(left?, right?)
            }
            _ => None,
        }
    }

    /// Whether an index moves with the lane in quotients alone that change once in a packet at most.
    pub(super) fn is_mostly_still(&mut self, index: Handle<Index>, lanes: u8) -> bool {
        if self.direction(index, lanes).is_none() {
            return false;
        }
        let lane = Atom::Lane(lanes);
        match self.b.kernel().indices.get(index).clone() {
            Index::Sum(sum) => sum
                .terms
                .iter()
                .flat_map(|term| &term.factors)
                .all(|factor| !self.b.kernel().indices.moves(*factor, lane) || self.is_mostly_still(*factor, lanes)),
            Index::Quotient { value, by } => {
                let by = self.b.kernel().indices.as_constant(by);
                let step = self.b.indices().step(value, lane);
                let most = step.and_then(|step| step.checked_mul(lanes.into()));
                by.zip(most)
                    .is_some_and(|(by, most)| most.unsigned_abs() <= by.unsigned_abs())
            }
            _ => false,
        }
    }

    /// Whether a condition that moves with the lane holds for all lanes or for none, but for one packet of a row.
    pub(super) fn ends_once(&mut self, condition: Handle<Predicate>, lanes: u8) -> bool {
        if self.b.kernel().ty(Use::Predicate(condition)).lanes == 1 {
            return true;
        }
        match self.b.kernel().indices.condition(condition).clone() {
            Predicate::All(all) => all.iter().all(|one| self.ends_once(*one, lanes)),
            Predicate::Not(other) => self.ends_once(other, lanes),
            Predicate::Positive(index) => self.direction(index, lanes).is_some(),
            Predicate::Within(left, right) | Predicate::Less(left, right) => {
                [left, right].iter().all(|index| self.grows_evenly(*index, lanes))
            }
            _ => false,
        }
    }

    /// Whether an index grows by the same with each lane, or as [`Widen::direction`] says.
    fn grows_evenly(&mut self, index: Handle<Index>, lanes: u8) -> bool {
        let evenly = self.b.indices().step(index, Atom::Lane(lanes)).is_some();
        (evenly && !self.b.kernel().moves_by_values(index)) || self.direction(index, lanes).is_some()
    }

    /// Whether a condition holds for all lanes: of what grows with the lane, for the first or the last one.
    pub(super) fn for_all(&mut self, condition: Handle<Predicate>, lanes: u8) -> Handle<Predicate> {
        let all_lanes =
            |widen: &mut Self| -> Vec<_> { (0..lanes).map(|lane| widen.condition_at(condition, lane)).collect() };
        let last = lanes - 1;
        let parts = match self.b.kernel().indices.condition(condition).clone() {
            Predicate::All(all) => all.iter().map(|one| self.for_all(*one, lanes)).collect(),
            // Neither sum wraps, so neither does any in between.
            Predicate::Positive(index) => {
                let step = self.b.indices().step(index, Atom::Lane(lanes));
                let step = step.filter(|_| !self.b.kernel().moves_by_values(index));
                let direction = step.map(|step| step.cmp(&0));
                match direction.or_else(|| self.direction(index, lanes)) {
                    Some(direction) => {
                        let worst = if direction == Ordering::Less { last } else { 0 };
                        vec![self.condition_at(condition, worst)]
                    }
                    None => all_lanes(self),
                }
            }
            // Both ends are in it, and so is what is in between: fewer lanes than it takes to wrap are.
            Predicate::Within(value, limit) => {
                let step = self.b.indices().step(value, Atom::Lane(lanes));
                let apart = step.is_some_and(|step| step.unsigned_abs() < 1 << 32);
                let by_values = [value, limit]
                    .iter()
                    .any(|index| self.b.kernel().moves_by_values(*index));
                let grows = apart || self.direction(value, lanes).is_some();
                match grows && !by_values && !self.b.kernel().indices.moves(limit, Atom::Lane(lanes)) {
                    true => vec![self.condition_at(condition, 0), self.condition_at(condition, last)],
                    false => all_lanes(self),
                }
            }
            _ => all_lanes(self),
        };
        self.b.indices().all(parts)
    }

    /// One lane of a packet, or the element that stands for each.
    pub(super) fn lane_of(&mut self, value: Use, lane: u8) -> Use {
        match self.b.kernel().ty(value).lanes {
            1 => value,
            _ => self.b.part(value, lane, 1),
        }
    }
}
