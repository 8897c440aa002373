//! Room for recursion: stages follow the nesting of blocks and of operations, up to the verifier's bounds, whatever the
//! stack of the thread that launches and however much of it a build without optimisation takes.

/// What one level takes at most, up to where it asks for room again.
const NEEDED: usize = 256 << 10;

/// What is added where there is less.
const ADDED: usize = 4 << 20;

/// Runs one level of a recursion, on more stack if little is left.
pub(crate) fn room<R>(level: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(NEEDED, ADDED, level)
}
