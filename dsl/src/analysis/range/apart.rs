//! Whether two accesses to one tensor go to different elements.

use super::Ranges;
use super::bounds::{Bounds, Facts};
use crate::analysis::linear::Unknown;
use crate::ir::{self, Access, Expression, Handle};

/// What bounds the indices of an access, on each axis; nothing where they are moved to what is inside.
#[derive(Debug, Clone)]
pub struct Reach(Vec<Option<Facts>>);

impl Ranges<'_> {
    /// What bounds the indices of an access here, whatever the values are that `changes`.
    pub fn reach(&self, access: &Access, changes: impl Fn(Handle<Expression>) -> bool) -> Reach {
        let stays = |unknown| match unknown {
            Unknown::Value(value) | Unknown::Member(_, value, _) => !changes(value),
            Unknown::Symbol(_) | Unknown::Computed(_) => true,
        };
        let kept = |bounds: &Bounds| {
            let kept = bounds.iter().filter(|bound| bound.form.unknowns().all(stays));
            kept.cloned().collect()
        };
        let on_axis = |(axis, index): (usize, &Handle<Expression>)| {
            let moves = access.bounds == ir::Bounds::Clamp && access.guards[axis].any();
            let facts = self.facts(*index);
            (!moves).then(|| Facts {
                lower: kept(&facts.lower),
                upper: kept(&facts.upper),
            })
        };
        Reach(access.indices.iter().enumerate().map(on_axis).collect())
    }

    /// Whether all elements of one access are below all of the other on some axis, in every launch.
    pub fn are_apart(&self, one: &Reach, other: &Reach) -> bool {
        let below = |one: &Facts, other: &Facts| self.is_at_most(one, other, -1).is_always();
        let axes = one.0.iter().zip(&other.0);
        axes.filter_map(|(one, other)| one.as_ref().zip(other.as_ref()))
            .any(|(one, other)| below(one, other) || below(other, one))
    }
}
