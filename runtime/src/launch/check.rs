//! What is checked before anything else sees the arguments of a launch.

use arrayvec::ArrayVec;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, MAX_COUNT, MAX_PARAMETERS, Memory, TensorArgument};
use tilewright_dsl::element::ElementType;

use super::LaunchError;
use super::overlap::Footprint;
use crate::device::Device;
use crate::memory::Storage;
use crate::specialize::trace_request;

/// Checks the arguments of a call against the device and against each other.
pub(crate) fn check(call: &Call<'_>, device: &Device) -> Result<(), LaunchError> {
    let arguments = call.arguments();
    if arguments.len() > MAX_PARAMETERS {
        return Err(LaunchError::TooManyParameters {
            kernel: call.definition().name(),
            found: arguments.len(),
        });
    }
    let mut footprints = ArrayVec::<(usize, bool, Footprint<'_, '_>), MAX_PARAMETERS>::new();
    for (position, argument) in arguments.iter().enumerate() {
        match argument {
            ArgumentValue::Tensor(tensor) => {
                let address = check_tensor(call, device, position, tensor)?;
                if let Some(footprint) = Footprint::new(tensor, address) {
                    footprints.push((position, tensor.mutable, footprint));
                }
            }
            ArgumentValue::Count(count) => check_count(call, device, position, count)?,
            ArgumentValue::Scalar(_) => {}
        }
    }
    for (index, (position, mutable, footprint)) in footprints.iter().enumerate() {
        for (other, other_mutable, other_footprint) in &footprints[..index] {
            if (*mutable || *other_mutable) && footprint.overlaps(other_footprint) {
                let (written, other) = if *mutable {
                    (*position, *other)
                } else {
                    (*other, *position)
                };
                return Err(overlap(call, written, other));
            }
        }
    }
    Ok(())
}

/// Returns the address of the first element.
fn check_tensor(
    call: &Call<'_>,
    device: &Device,
    position: usize,
    tensor: &TensorArgument<'_>,
) -> Result<u64, LaunchError> {
    let storage = check_memory(call, device, position, tensor.memory)?;
    if tensor.extents.len() != tensor.strides.len() {
        return Err(outside(call, position));
    }
    if let Some(&extent) = tensor.extents.iter().find(|&&extent| extent > MAX_COUNT) {
        return Err(count_out_of_range(
            call,
            position,
            i64::try_from(extent).unwrap_or(i64::MAX),
        ));
    }
    let address = storage.address().saturating_add(tensor.offset);
    check_within(
        call,
        position,
        storage,
        Footprint::new(tensor, address).map(|footprint| footprint.range()),
    )?;
    check_alignment(call, position, address, tensor.element)?;
    Ok(address)
}

fn check_count(
    call: &Call<'_>,
    device: &Device,
    position: usize,
    count: &CountArgument<'_>,
) -> Result<(), LaunchError> {
    let value = match *count {
        CountArgument::Exact(value) | CountArgument::Runtime(value) => value,
        CountArgument::Device {
            memory,
            offset,
            element,
            maximum,
        } => {
            let storage = check_memory(call, device, position, memory)?;
            let address = storage.address().saturating_add(offset);
            check_within(
                call,
                position,
                storage,
                Some((address, address.saturating_add(element.size() as u64))),
            )?;
            check_alignment(call, position, address, element)?;
            maximum
        }
    };
    match u64::try_from(value) {
        Ok(0..=MAX_COUNT) => Ok(()),
        _ => Err(count_out_of_range(call, position, value)),
    }
}

fn check_memory<'a>(
    call: &Call<'_>,
    device: &Device,
    position: usize,
    memory: &'a dyn Memory,
) -> Result<&'a Storage, LaunchError> {
    match Storage::of(memory) {
        Some(storage) if storage.device().shares_memory_with(device) => Ok(storage),
        found => Err(other_device(call, device, position, found)),
    }
}

/// Views are within their memory by their making; arguments made by hand may not be.
fn check_within(
    call: &Call<'_>,
    position: usize,
    storage: &Storage,
    range: Option<(u64, u64)>,
) -> Result<(), LaunchError> {
    let (first, end) = (storage.address(), storage.address() + storage.len());
    match range {
        Some((from, to)) if from < first || to > end => Err(outside(call, position)),
        _ => Ok(()),
    }
}

#[cold]
fn outside(call: &Call<'_>, position: usize) -> LaunchError {
    let reason = format!("{} is not within its memory", parameter(call, position));
    LaunchError::WrongArguments {
        kernel: call.definition().name(),
        reason,
    }
}

fn check_alignment(call: &Call<'_>, position: usize, address: u64, element: ElementType) -> Result<(), LaunchError> {
    if address.is_multiple_of(element.size() as u64) {
        Ok(())
    } else {
        Err(misaligned(call, position, address, element))
    }
}

#[cold]
fn overlap(call: &Call<'_>, written: usize, other: usize) -> LaunchError {
    let kernel = call.definition().name();
    LaunchError::Overlap {
        kernel,
        written: parameter(call, written),
        other: parameter(call, other),
    }
}

#[cold]
fn count_out_of_range(call: &Call<'_>, position: usize, value: i64) -> LaunchError {
    let kernel = call.definition().name();
    LaunchError::CountOutOfRange {
        kernel,
        parameter: parameter(call, position),
        value,
    }
}

#[cold]
fn other_device(call: &Call<'_>, device: &Device, position: usize, found: Option<&Storage>) -> LaunchError {
    let (kernel, parameter) = (call.definition().name(), parameter(call, position));
    let expected = device.to_string();
    match found {
        Some(found) => LaunchError::OtherDevice {
            kernel,
            parameter,
            found: found.device().to_string(),
            expected,
        },
        None => LaunchError::ForeignMemory {
            kernel,
            parameter,
            expected,
        },
    }
}

#[cold]
fn misaligned(call: &Call<'_>, position: usize, address: u64, element: ElementType) -> LaunchError {
    let (kernel, parameter) = (call.definition().name(), parameter(call, position));
    LaunchError::Misaligned {
        kernel,
        parameter,
        address,
        element_bytes: element.size(),
    }
}

/// A parameter as an error names it. Only a recording knows the author's names; an error can afford one.
pub(crate) fn parameter(call: &Call<'_>, position: usize) -> String {
    let traced = call.definition().trace(&trace_request(call)).ok();
    let named = traced
        .as_ref()
        .and_then(|traced| traced.kernel.parameters.get(position));
    named.map_or_else(
        || format!("parameter {position}"),
        |parameter| format!("`{}`", parameter.name),
    )
}
