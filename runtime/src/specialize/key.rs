//! What tells launches apart, as keys of tables.

use std::any::TypeId;

use tilewright_dsl::call::{ArgumentValue, Binding, Call, ComptimeValue, CountArgument};
use tilewright_dsl::element::ElementType;
use tilewright_dsl::ir::Layout;
use tilewright_dsl::schedule::Schedule;

use super::facts::{alignment_of, layout_of};
use crate::launch::scalar;

/// A kernel and words about its arguments.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// One, or several that are fused.
    kernels: Vec<TypeId>,
    /// Of all kernels; each has as many as its type says.
    comptime: Vec<ComptimeValue>,
    words: Vec<u64>,
    /// The schedule that the launch asks for.
    schedule: Option<Schedule>,
}

impl Key {
    /// A key to be refilled.
    pub(super) fn empty() -> Self {
        Self {
            kernels: Vec::new(),
            comptime: Vec::new(),
            words: Vec::new(),
            schedule: None,
        }
    }

    /// Everything about a launch but addresses (their alignment aside) and the values of scalars; those that the host needs
    /// [complete](Self::complete) the key.
    pub(super) fn refill_for_launch(&mut self, call: &Call<'_>) {
        self.refill(call);
        self.schedule = call.schedule().copied();
        self.words.push(match call.extents() {
            Binding::Exact => 0,
            Binding::Runtime => 1,
        });
        // Whether a launch may overlap changes no code, but not every kernel may.
        let asked = [call.is_checked(), call.reports_out_of_bounds(), call.is_overlapping()];
        self.words.extend(asked.map(u64::from));
        for argument in call.arguments() {
            match argument {
                ArgumentValue::Tensor(tensor) => {
                    self.words.extend(&tensor.extents);
                    self.words.extend(tensor.strides.iter().map(|&stride| stride as u64));
                }
                ArgumentValue::Count(CountArgument::Exact(value)) => self.words.extend([0, *value as u64]),
                ArgumentValue::Count(CountArgument::Runtime(value)) => self.words.extend([1, *value as u64]),
                ArgumentValue::Count(CountArgument::Device { element, maximum, .. }) => {
                    self.words.extend([2 + code(*element), *maximum as u64]);
                }
                ArgumentValue::Scalar(_) => {}
            }
        }
    }

    /// Adds the values of the scalars that the plan depends on.
    pub(super) fn complete(&mut self, call: &Call<'_>, scalars: &[u32]) {
        let arguments = call.arguments();
        let values = scalars.iter().filter_map(|&position| scalar(arguments, position));
        self.words.extend(values.map(|literal| literal.bits));
    }

    /// What a recording may rely on, but the extents.
    pub(super) fn of_facts(call: &Call<'_>) -> Self {
        let mut key = Self::empty();
        key.refill(call);
        key
    }

    fn refill(&mut self, call: &Call<'_>) {
        self.kernels.clear();
        self.comptime.clear();
        for (kernel, comptime) in call.definition().identity() {
            self.kernels.push(kernel);
            self.comptime.extend(comptime);
        }
        self.words.clear();
        self.schedule = None;
        self.words.extend(call.arguments().iter().map(facts));
    }
}

/// Kind, type, rank, mutability, alignment and layout in one word.
fn facts(argument: &ArgumentValue<'_>) -> u64 {
    match argument {
        ArgumentValue::Tensor(tensor) => {
            let layout = match layout_of(tensor) {
                Layout::Contiguous => 0,
                Layout::Rows { multiple } => u64::from(multiple),
                Layout::Strided => 0xff,
            };
            let rank = tensor.extents.len() as u64;
            1 | code(tensor.element) << 8
                | rank << 16
                | u64::from(tensor.mutable) << 24
                | u64::from(alignment_of(tensor)) << 32
                | layout << 40
        }
        ArgumentValue::Count(CountArgument::Exact(_)) => 4,
        ArgumentValue::Count(CountArgument::Runtime(_) | CountArgument::Device { .. }) => 2,
        ArgumentValue::Scalar(literal) => 3 | code(literal.element) << 8,
    }
}

fn code(element: ElementType) -> u64 {
    element as u64
}
