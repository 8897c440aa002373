//! Instructions of the author's own.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

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

/// What instructions compute. Equal only to its clones.
#[derive(Clone)]
pub struct Meaning(Arc<Function>);

impl Meaning {
    /// Calculates by `function`, which is given the bits of every input and sets those of every output.
    pub fn new(function: impl Fn(&[u64], &mut [u64]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    /// Computes one element of each output.
    pub fn compute(&self, inputs: &[u64], outputs: &mut [u64]) {
        (self.0)(inputs, outputs);
    }

    fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

impl PartialEq for Meaning {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}
impl Eq for Meaning {}
impl Hash for Meaning {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

impl fmt::Debug for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meaning")
    }
}
