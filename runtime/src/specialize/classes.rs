//! The classes of a device.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::RwLock;
use tilewright_dsl::call::Call;

use super::class::LaunchClass;
use super::key::{Key, Literals};

/// How many classes are kept: counts that shape tiles, and literals, each have one for each of their values. When there are more,
/// the half that was used last stays.
pub(super) const MAX_CLASSES: usize = 1 << 12;

/// Classes by key. The lock is held for looking up and for adding, never while something is made.
#[derive(Default)]
pub(super) struct Classes(RwLock<Table>);

/// Looked up by every launch, so by a hash that is quick on long keys.
#[derive(Default)]
struct Table {
    by_key: HashMap<Key, Vec<Arc<LaunchClass>>, foldhash::fast::RandomState>,
    count: usize,
}

thread_local! {
    /// The key of the launch at hand, kept for its memory.
    static KEY: RefCell<Key> = RefCell::new(Key::empty());
}

impl Classes {
    /// The class of a call, if it was made before.
    pub(super) fn find(&self, call: &Call<'_>, literals: Literals) -> Option<Arc<LaunchClass>> {
        KEY.with_borrow_mut(|key| {
            key.refill_for_launch(call, literals);
            let classes = self.0.read();
            serving(classes.by_key.get(key)?, call)
        })
    }

    /// Adds the class of a call, unless there is one that serves it. Returns the one that there is then.
    pub(super) fn add(&self, call: &Call<'_>, literals: Literals, class: LaunchClass) -> Arc<LaunchClass> {
        let mut key = Key::empty();
        key.refill_for_launch(call, literals);
        let mut table = self.0.write();
        if let Some(class) = table.by_key.get(&key).and_then(|made| serving(made, call)) {
            return class;
        }
        table.insert(key, Arc::new(class))
    }

    /// Adds a class that was made for a call which is gone, unless there is the same already. Returns the one that there is then.
    pub(super) fn add_made(&self, key: Key, class: LaunchClass) -> Arc<LaunchClass> {
        let mut table = self.0.write();
        let same = |made: &Vec<Arc<LaunchClass>>| made.iter().find(|made| made.is_as(&class)).cloned();
        let there = table.by_key.get(&key).and_then(same);
        there.unwrap_or_else(|| table.insert(key, Arc::new(class)))
    }

    /// All classes.
    pub(super) fn all(&self) -> Vec<Arc<LaunchClass>> {
        self.0.read().by_key.values().flatten().cloned().collect()
    }
}

impl Table {
    fn insert(&mut self, key: Key, class: Arc<LaunchClass>) -> Arc<LaunchClass> {
        if self.count >= MAX_CLASSES {
            self.keep_half();
        }
        self.by_key.entry(key).or_default().push(class.clone());
        self.count += 1;
        class
    }

    fn keep_half(&mut self) {
        let used = |class: &Arc<LaunchClass>| class.last_used.load(Relaxed);
        let mut order: Vec<u64> = self.by_key.values().flatten().map(used).collect();
        order.sort_unstable();
        let first = order.get(order.len() / 2).copied().unwrap_or_default();
        self.by_key.retain(|_, classes| {
            classes.retain(|class| used(class) > first);
            !classes.is_empty()
        });
        self.count = self.by_key.values().map(Vec::len).sum();
    }
}

fn serving(made: &[Arc<LaunchClass>], call: &Call<'_>) -> Option<Arc<LaunchClass>> {
    made.iter().find(|class| class.serves(call)).cloned()
}
