//! Single lanes of packets.

use super::point::Point;
use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{Expression, Handle};
use crate::thread::{Atom, Index, Operation, Predicate, Rounding, Use};

impl Lower<'_> {
    /// One lane of what may have several.
    pub(super) fn lane_of(&mut self, packet: Use, lane: u8) -> Use {
        let lanes = self.b.kernel().ty(packet).lanes;
        if lanes == 1 {
            return packet;
        }
        let at = self.b.constant(lane.into());
        match packet {
            Use::Index(index) if !self.b.kernel().moves_by_values(index) => {
                self.b.indices().substitute(index, Atom::Lane(lanes), at).into()
            }
            Use::Index(_) => {
                let values = self.cast_as(packet, ElementType::I64);
                let one = self.b.part(values, lane, 1);
                self.b.index(one).into()
            }
            Use::Predicate(_) => {
                let values = self.cast_as(packet, ElementType::U8);
                let one = self.b.part(values, lane, 1);
                let holds = self.b.is_not_zero(one);
                self.as_index(holds)
            }
            Use::Value(_) | Use::Literal(_) => {
                let one = self.b.part(packet, lane, 1);
                self.as_index(one)
            }
        }
    }

    /// As many lanes of what may stand for all of them.
    pub(super) fn in_lanes(&mut self, value: Use, lanes: u8) -> Use {
        match lanes == 1 || self.b.kernel().ty(value).lanes > 1 {
            true => value,
            false => self.b.emit(Operation::Repeat { value, lanes }),
        }
    }

    /// The lanes of a packet that are at such places in it; `None` if it is not known where, or not all are in it.
    pub(super) fn lanes_at(&mut self, packet: Use, lanes: u8, places: Handle<Index>) -> Option<Use> {
        let inside = |at: i64| u8::try_from(at).ok().filter(|at| *at < lanes);
        if let Some(at) = self.b.kernel().indices.as_constant(places) {
            return inside(at).map(|at| self.lane_of(packet, at));
        }
        let &[atom @ Atom::Lane(count)] = self.b.kernel().indices.atoms(places) else {
            return None;
        };
        let mut all = Vec::with_capacity(count.into());
        for lane in 0..count {
            let lane = self.b.constant(lane.into());
            let at = self.b.indices().substitute(places, atom, lane);
            all.push(inside(self.b.kernel().indices.as_constant(at)?)?);
        }
        if count == lanes && all.iter().copied().eq(0..count) {
            return Some(packet);
        }
        let parts = all.into_iter().map(|at| self.lane_of(packet, at)).collect();
        Some(self.b.join(parts))
    }

    /// Where one lane of a packet is, of `lanes` that `point` says the places of.
    pub(super) fn point_at_lane(&mut self, point: &Point, lanes: u8, lane: u8) -> Point {
        let lane = self.b.constant(lane.into());
        let indices = self.b.indices();
        let at_lane = |&index| indices.substitute(index, Atom::Lane(lanes), lane);
        point.iter().map(at_lane).collect()
    }

    /// What must hold for one lane of a packet, of what must hold for each of them.
    pub(super) fn condition_at_lane(&mut self, condition: Handle<Predicate>, lanes: u8, lane: u8) -> Handle<Predicate> {
        let lane = self.b.constant(lane.into());
        self.b
            .indices()
            .substitute_condition(condition, Atom::Lane(lanes), lane)
    }

    /// The elements of a packet, each as if it were alone.
    pub(super) fn pull_apart(
        &mut self,
        value: Handle<Expression>,
        point: &Point,
        lanes: u8,
    ) -> Result<Use, LowerError> {
        let needed = self.needed;
        let one = |lower: &mut Self, lane: u8| {
            let point = lower.point_at_lane(point, lanes, lane);
            lower.needed = needed.map(|needed| lower.condition_at_lane(needed, lanes, lane));
            lower.pull(value, &point)
        };
        let parts: Result<Vec<Use>, LowerError> = (0..lanes).map(|lane| one(self, lane)).collect();
        self.needed = needed;
        Ok(self.b.join(parts?))
    }

    fn cast_as(&mut self, value: Use, to: ElementType) -> Use {
        self.b.emit(Operation::Cast {
            value,
            to,
            rounding: Rounding::NearestEven,
        })
    }
}
