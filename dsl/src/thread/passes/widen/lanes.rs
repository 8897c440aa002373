//! What indices, conditions and packets are in one lane.

use super::Widen;
use crate::element::ElementType;
use crate::ir::Handle;
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

    /// Whether a condition that moves with the lane holds for all lanes or for none, but for one packet of a row.
    pub(super) fn ends_once(&mut self, condition: Handle<Predicate>, lanes: u8) -> bool {
        let lane = Atom::Lane(lanes);
        if self.b.kernel().ty(Use::Predicate(condition)).lanes == 1 {
            return true;
        }
        match self.b.kernel().indices.condition(condition).clone() {
            Predicate::All(all) => all.iter().all(|one| self.ends_once(*one, lanes)),
            Predicate::Positive(index) | Predicate::Within(index, _) => {
                self.b.indices().step(index, lane).is_some() && !self.b.kernel().moves_by_values(index)
            }
            Predicate::Not(other) => self.ends_once(other, lanes),
            Predicate::Less(left, right) => [left, right].into_iter().all(|index| {
                self.b.indices().step(index, lane).is_some() && !self.b.kernel().moves_by_values(index)
            }),
            _ => false,
        }
    }

    /// Whether a condition holds for all lanes: of what grows with the lane, for the first or the last one.
    pub(super) fn for_all(&mut self, condition: Handle<Predicate>, lanes: u8) -> Handle<Predicate> {
        let all_lanes =
            |widen: &mut Self| -> Vec<_> { (0..lanes).map(|lane| widen.condition_at(condition, lane)).collect() };
        let last = lanes - 1;
        let parts = match self.b.kernel().indices.condition(condition).clone() {
            Predicate::All(all) => all.iter().map(|one| self.for_all(*one, lanes)).collect(),
            // Neither sum wraps, so neither does any in between.
            Predicate::Positive(index) => match self.b.indices().step(index, Atom::Lane(lanes)) {
                Some(step) if !self.b.kernel().moves_by_values(index) => {
                    vec![self.condition_at(condition, if step < 0 { last } else { 0 })]
                }
                _ => all_lanes(self),
            },
            // Both ends are in it, and so is what is in between: fewer lanes than it takes to wrap are.
            Predicate::Within(value, limit) => {
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

    /// One lane of a packet, or the element that stands for each.
    pub(super) fn lane_of(&mut self, value: Use, lane: u8) -> Use {
        match self.b.kernel().ty(value).lanes {
            1 => value,
            _ => self.b.part(value, lane, 1),
        }
    }
}
