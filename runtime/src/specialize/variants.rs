//! The variants of a device, by name.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Variant, VariantId};

/// Variants by name. Each is built once, by the first thread that asks for it; others that ask for the same wait.
#[derive(Default)]
pub(crate) struct Variants {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    places: HashMap<VariantId, Arc<Place>>,
    /// Those that are built, in order.
    built: Vec<Arc<Variant>>,
}

/// Where a variant will be. Locked while it is built; the table is not.
type Place = Mutex<Option<Arc<Variant>>>;

impl Variants {
    /// The variant of a name, and whether it was built by this call.
    ///
    /// # Errors
    /// That of `build`. The next call tries again.
    pub(crate) fn get_or_build<E>(
        &self,
        id: VariantId,
        build: impl FnOnce() -> Result<Variant, E>,
    ) -> Result<(Arc<Variant>, bool), E> {
        let place = self.table.lock().places.entry(id).or_default().clone();
        let mut place = place.lock();
        if let Some(variant) = &*place {
            return Ok((variant.clone(), false));
        }
        let variant = Arc::new(build()?);
        *place = Some(variant.clone());
        self.table.lock().built.push(variant.clone());
        Ok((variant, true))
    }

    /// The variant of a name, if it is built. One that is being built is not waited for.
    pub(crate) fn find(&self, id: VariantId) -> Option<Arc<Variant>> {
        let place = self.table.lock().places.get(&id).cloned()?;
        place.try_lock()?.clone()
    }

    /// Forgets a variant, unless somebody else than this table and `holders` others holds it. Returns whether it did.
    pub(crate) fn forget(&self, id: VariantId, holders: usize) -> bool {
        let mut table = self.table.lock();
        let Some(at) = table.built.iter().position(|variant| variant.id() == id) else {
            return false;
        };
        // The table holds it twice: where it is built, and in order.
        if Arc::strong_count(&table.built[at]) > 2 + holders {
            return false;
        }
        table.built.remove(at);
        table.places.remove(&id);
        true
    }

    /// All that are built, in order.
    pub(crate) fn all(&self) -> Vec<Arc<Variant>> {
        self.table.lock().built.clone()
    }
}
