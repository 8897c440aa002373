//! Instructions of the author's own.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Expression, Handle};
use crate::element::ElementType;

/// Instructions that compute some elements from others, one by one, and do nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ptx {
    /// The PTX: `%0`, `%1`, … are the outputs, then the inputs.
    pub text: String,
    /// The element types of the outputs.
    pub outputs: Vec<ElementType>,
    /// The values that it takes, all of one shape.
    pub inputs: Vec<Handle<Expression>>,
    /// Which output this value is.
    pub output: usize,
    /// What it computes, for the CPU device, if its author says so.
    pub meaning: Option<Meaning>,
}

/// A function from the bits of one element of every input to those of every output.
type Function = dyn Fn(&[u64], &mut [u64]) + Send + Sync;

/// What instructions compute. Two are equal only if they compute the same: clones of one, or made of one function or
/// closure that captures nothing.
#[derive(Clone)]
pub struct Meaning {
    function: Arc<Function>,
    identity: u64,
}

impl Meaning {
    /// Calculates by `function`, which is given the bits of every input and sets those of every output.
    pub fn new<F: Fn(&[u64], &mut [u64]) + Send + Sync + 'static>(function: F) -> Self {
        Self {
            function: Arc::new(function),
            identity: identity::<F>(),
        }
    }

    /// Computes one element of each output.
    pub fn compute(&self, inputs: &[u64], outputs: &mut [u64]) {
        (self.function)(inputs, outputs);
    }

    /// What tells it from every other in the process.
    pub fn identity(&self) -> u64 {
        self.identity
    }
}

/// A number for a value of the type: always the same if it captures nothing, so that the type says all, else a new one.
fn identity<F: 'static>() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static KNOWN: Mutex<BTreeMap<TypeId, u64>> = Mutex::new(BTreeMap::new());
    let next = || NEXT.fetch_add(1, Relaxed);
    match size_of::<F>() {
        // A number that is there is right, whatever stopped the thread that put it there.
        0 => {
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            *known.entry(TypeId::of::<F>()).or_insert_with(next)
        }
        _ => next(),
    }
}

impl PartialEq for Meaning {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}
impl Eq for Meaning {}
impl Hash for Meaning {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl fmt::Debug for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meaning({})", self.identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meanings_are_equal_only_if_they_compute_the_same() {
        let add = |by: u64| Meaning::new(move |inputs, outputs| outputs[0] = inputs[0] + by);
        let same = || Meaning::new(|inputs, outputs| outputs[0] = inputs[0]);
        let twice = || Meaning::new(|inputs, outputs| outputs[0] = 2 * inputs[0]);
        let one = add(1);
        assert_eq!(one, one.clone());
        assert_ne!(one, add(2));
        assert_eq!(same(), same());
        assert_ne!(same(), twice());
    }
}
