//! Counts that stay in device memory.

use tilewright_dsl::call::{Argument, Arguments, CountArgument, MAX_COUNT};
use tilewright_dsl::element::Integer;
use tilewright_dsl::lang::Count;

use super::TensorView;
use crate::error::TensorError;
use crate::hardware::memory::Storage;
use tilewright_dsl::element::ElementType;

/// A count that every program of a launch reads from device memory.
#[derive(Clone, Copy)]
pub struct DeviceCount<'a> {
    storage: &'a Storage,
    offset: usize,
    element: ElementType,
    maximum: i64,
}

/// An integer type that a count in device memory can have: i32 or i64.
#[diagnostic::on_unimplemented(message = "a count in device memory is an i32 or an i64, not a `{Self}`")]
pub trait CountElement: Integer {}

impl CountElement for i32 {}
impl CountElement for i64 {}

/// The element at `index` as a count that is read from device memory when the kernel runs, so that a captured graph sees
/// new values. `maximum` sizes the grid; a value above it or below zero is clamped.
///
/// # Errors
/// The tensor has no such element, or the maximum is over 2^40.
pub fn device_count<'a, T: CountElement>(
    counts: impl Into<TensorView<'a, T, 1>>,
    index: usize,
    maximum: u64,
) -> Result<DeviceCount<'a>, TensorError> {
    let counts = counts.into();
    let one = counts.geometry.slice(0, index..=index)?;
    if maximum > MAX_COUNT {
        return Err(TensorError::MaximumTooLarge { maximum });
    }
    let offset = one.offset * T::TYPE.size();
    Ok(DeviceCount {
        storage: &counts.memory.storage,
        offset,
        element: T::TYPE,
        maximum: maximum as i64,
    })
}

impl DeviceCount<'_> {
    /// The same count, a value above `maximum` clamped to it.
    #[must_use]
    pub fn at_most(self, maximum: u64) -> Self {
        Self {
            maximum: self.maximum.min(i64::try_from(maximum).unwrap_or(i64::MAX)),
            ..self
        }
    }
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<'a, Count> for DeviceCount<'a> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        let count = CountArgument::Device {
            memory: self.storage,
            offset: self.offset as u64,
            element: self.element,
            maximum: self.maximum,
        };
        Argument::<Count>::pass(count, arguments);
    }
}
