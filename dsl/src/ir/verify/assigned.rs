//! Which locals have a value at a place of the program.

use crate::ir::{Handle, Local};

/// The locals that every path to a place has assigned; all of them at a place that no path reaches.
#[derive(Debug, Clone)]
pub(super) struct Assigned(Option<Vec<bool>>);

impl Assigned {
    /// At the start of a program with this many locals.
    pub(super) fn none(locals: usize) -> Self {
        Self(Some(vec![false; locals]))
    }

    /// Where no path leads.
    pub(super) fn unreachable() -> Self {
        Self(None)
    }

    pub(super) fn assign(&mut self, local: Handle<Local>) {
        if let Some(slot) = self.0.as_mut().and_then(|set| set.get_mut(local.index())) {
            *slot = true;
        }
    }

    pub(super) fn has(&self, local: Handle<Local>) -> bool {
        self.0
            .as_ref()
            .is_none_or(|set| set.get(local.index()).copied().unwrap_or(false))
    }

    /// Where a path from `self` and one from `other` join.
    pub(super) fn join(&mut self, other: &Assigned) {
        match (&mut self.0, &other.0) {
            (_, None) => {}
            (None, Some(_)) => self.0 = other.0.clone(),
            (Some(set), Some(others)) => set.iter_mut().zip(others).for_each(|(mine, other)| *mine &= other),
        }
    }
}
