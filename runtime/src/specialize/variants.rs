//! The variants of a device, by name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::code::Code;
use super::{Variant, VariantId};

/// Variants by name. Each is built once, by the first thread that asks for it; others that ask for the same wait.
#[derive(Default)]
pub(crate) struct Variants {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    places: HashMap<VariantId, Arc<Place>>,
    /// Those that are built, in order; also provisional ones whose place another has taken, as long as they are held.
    built: Vec<Arc<Variant>>,
}

/// Where a variant is, or will be.
#[derive(Default)]
struct Place {
    ready: ArcSwapOption<Variant>,
    /// Held while it is built, or its code is made, which is here until it is built. What is there can be taken meanwhile.
    building: Mutex<Option<Prepared>>,
}

/// Code that is not loaded yet.
pub(super) struct Prepared {
    pub(super) code: Code,
    /// How long it took to make.
    pub(super) took: Duration,
}

impl Place {
    fn get(&self, in_haste: bool) -> Option<Arc<Variant>> {
        let ready = self.ready.load_full();
        ready.filter(|variant| in_haste || !variant.is_provisional())
    }

    fn holds(&self, variant: &Arc<Variant>) -> bool {
        self.ready
            .load()
            .as_ref()
            .is_some_and(|ready| Arc::ptr_eq(ready, variant))
    }
}

impl Variants {
    /// Has the code of a variant made, unless it is there, or the variant. What is built by that name takes it.
    ///
    /// # Errors
    /// That of `make`.
    pub(super) fn prepare<E>(&self, id: VariantId, make: impl FnOnce() -> Result<Code, E>) -> Result<(), E> {
        let place = self.place(id);
        let mut prepared = place.building.lock();
        if place.get(false).is_none() && prepared.is_none() {
            let started = Instant::now();
            let code = make()?;
            let took = started.elapsed();
            *prepared = Some(Prepared { code, took });
        }
        Ok(())
    }

    fn place(&self, id: VariantId) -> Arc<Place> {
        self.table.lock().places.entry(id).or_default().clone()
    }

    /// The variant of a name, and whether it was built by this call. Only who is in haste gets one that is provisional; what is
    /// built for others takes its place.
    ///
    /// # Errors
    /// That of `build`. The next call tries again.
    pub(super) fn get_or_build<E>(
        &self,
        id: VariantId,
        in_haste: bool,
        build: impl FnOnce(Option<Prepared>) -> Result<Variant, E>,
    ) -> Result<(Arc<Variant>, bool), E> {
        let place = self.place(id);
        if let Some(variant) = place.get(in_haste) {
            return Ok((variant, false));
        }
        let mut prepared = place.building.lock();
        if let Some(variant) = place.get(in_haste) {
            return Ok((variant, false));
        }
        let variant = Arc::new(build(prepared.take())?);
        place.ready.store(Some(variant.clone()));
        let mut table = self.table.lock();
        table.built.push(variant.clone());
        // What was there before may have been forgotten meanwhile.
        table.places.insert(id, place.clone());
        Ok((variant, true))
    }

    /// The variant of a name, if it is built. One that is being built is not waited for.
    pub(crate) fn find(&self, id: VariantId, in_haste: bool) -> Option<Arc<Variant>> {
        let place = self.table.lock().places.get(&id).cloned()?;
        place.get(in_haste)
    }

    /// Forgets a variant, unless somebody else than this table and `holders` others holds it. Returns whether it did.
    pub(crate) fn forget(&self, variant: &Arc<Variant>, holders: usize) -> bool {
        let mut table = self.table.lock();
        let Some(at) = table.built.iter().position(|built| Arc::ptr_eq(built, variant)) else {
            return false;
        };
        let is_in_place = table
            .places
            .get(&variant.id())
            .is_some_and(|place| place.holds(variant));
        // The table holds it once or twice: in order, and where it is found.
        if Arc::strong_count(variant) > 1 + usize::from(is_in_place) + holders {
            return false;
        }
        table.built.remove(at);
        if is_in_place {
            table.places.remove(&variant.id());
        }
        true
    }

    /// All that are built, in order.
    pub(crate) fn all(&self) -> Vec<Arc<Variant>> {
        self.table.lock().built.clone()
    }

    /// Those of a name whose place another has taken.
    pub(crate) fn superseded(&self, id: VariantId) -> Vec<Arc<Variant>> {
        let table = self.table.lock();
        let place = table.places.get(&id);
        let is_in_place = |variant: &Arc<Variant>| place.is_some_and(|place| place.holds(variant));
        let all = table.built.iter();
        all.filter(|variant| variant.id() == id && !is_in_place(variant))
            .cloned()
            .collect()
    }
}
