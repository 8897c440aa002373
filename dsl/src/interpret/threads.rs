//! Whether there are threads to share the work with.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Whether rayon's threads are this process's: the child of a process that has used them has none, and would wait for them
/// for ever. It does the work alone.
pub(super) fn are_there() -> bool {
    static FIRST: AtomicU32 = AtomicU32::new(0);
    let id = process::id();
    match FIRST.compare_exchange(0, id, Relaxed, Relaxed) {
        Ok(_) => true,
        Err(first) => first == id,
    }
}
