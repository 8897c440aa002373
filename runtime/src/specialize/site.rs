//! A place that launches calls of one class, and has found it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tilewright_dsl::call::{Call, Specialize};

use super::class::LaunchClass;
use super::key::{Key, Literals};
use super::plan::{LaunchPlan, Shared};
use super::recording::check_shared;
use crate::error::LaunchError;

/// The class of the launches of one place, which need not look for it.
pub(crate) struct Site {
    key: Key,
    /// Of the launch at hand, kept for its memory.
    found: Key,
    class: Arc<LaunchClass>,
}

impl Site {
    /// Checks that a call is of the class. Of one whose arguments are the same as those of a call that was, but for the values of
    /// counts and scalars, little is looked at.
    ///
    /// # Errors
    /// It is of another one.
    pub(crate) fn check(&mut self, call: &Call<'_>, are_same: bool) -> Result<(), LaunchError> {
        if are_same && self.key.asks_as(call) {
            return Ok(());
        }
        self.found.refill_for_launch(call, Literals::None);
        if self.found != self.key || !self.class.serves(call) {
            return Err(self.other(call));
        }
        check_shared(call, &self.class.traced().kernel.parameters)
    }

    /// The name of the kernel.
    pub(crate) fn name(&self) -> &str {
        &self.class.traced().kernel.name
    }

    #[cold]
    fn other(&self, call: &Call<'_>) -> LaunchError {
        let parameters = &self.class.traced().kernel.parameters;
        let differing = || self.key.differing(&self.found, parameters.len());
        let reason = if !self.key.is_of(call) || call.arguments().len() != parameters.len() {
            "it is of another kernel, or of one with other compile-time arguments".to_owned()
        } else if let Some(parameter) = differing().and_then(|at| parameters.get(at)) {
            let name = &parameter.name;
            format!("`{name}` is of another kind, layout or alignment")
        } else if !self.key.asks_as(call) {
            "it asks for another build or schedule".to_owned()
        } else {
            "an extent differs that its code is made for, or a count is read from elsewhere".to_owned()
        };
        LaunchError::OtherClass {
            kernel: call.definition().name(),
            prepared: self.name().to_owned(),
            reason,
        }
    }
}

impl Shared {
    /// Finds the class of a checked call, or makes it, which compiles nothing.
    pub(super) fn site(&self, call: &Call<'_>) -> Result<Site, LaunchError> {
        let class = self.class(call, Literals::None)?;
        let mut key = Key::empty();
        key.refill_for_launch(call, Literals::None);
        Ok(Site {
            found: key.clone(),
            key,
            class,
        })
    }

    /// The plan of a call that the site has checked.
    pub(super) fn plan_at(
        &self,
        site: &Site,
        call: &Call<'_>,
        is_capturing: &dyn Fn() -> Result<bool, LaunchError>,
    ) -> Result<LaunchPlan, LaunchError> {
        let specialize = self.specialize(call);
        // Literals that are waited for have classes of their own.
        if specialize == Specialize::Exact && call.may_have_literals() {
            return self.plan(call, is_capturing);
        }
        site.class.touch(self.tally.launches.load(Relaxed));
        self.plan_in(&site.class, specialize, call, is_capturing)
    }
}
