//! What is checked before anything else sees the arguments of a launch.

use std::cell::Cell;

use tilewright_dsl::call::{
    ArgumentValue, Call, CountArgument, MAX_COUNT, MAX_FUSED, MAX_PARAMETERS, Memory, TensorArgument,
};
use tilewright_dsl::element::ElementType;

use super::overlap::{Footprint, Span, clash};
use crate::arguments::trace_request;
use crate::device::Device;
use crate::error::LaunchError;
use crate::hardware::memory::Storage;

/// Of a tensor's four axes one counts the tensors of a list.
const MAX_LIST_RANK: usize = 3;

/// Checks the arguments of a call against the device and against each other.
pub(crate) fn check(call: &Call<'_>, device: &Device) -> Result<(), LaunchError> {
    check_on(call, Some(device))
}

/// The same; of a call that is not launched, whatever device the memory is of.
pub(crate) fn check_on(call: &Call<'_>, device: Option<&Device>) -> Result<(), LaunchError> {
    let arguments = call.arguments();
    if let Some(calls) = call.definition().fused()
        && (calls > MAX_FUSED || arguments.len() > MAX_PARAMETERS)
    {
        let found = arguments.len();
        return Err(LaunchError::TooManyFused { calls, found });
    }
    if arguments.len() > MAX_PARAMETERS {
        return Err(LaunchError::TooManyParameters {
            kernel: call.definition().name(),
            found: arguments.len(),
        });
    }
    let mut spans = SPANS.take();
    spans.clear();
    check_each(call, device, &mut spans)?;
    // Each was checked for itself, so that there is an address and all within it.
    let overlaps = |one: Place, other: Place| match (one.footprint(call), other.footprint(call)) {
        (Some(one), Some(other)) => one.overlaps(&other),
        _ => false,
    };
    let found = clash(&mut spans, overlaps);
    SPANS.set(spans);
    match found {
        Some((written, other)) => Err(overlap(call, written, other)),
        None => Ok(()),
    }
}

thread_local! {
    /// The spans of the launch at hand, kept for their memory.
    static SPANS: Cell<Vec<Span<Place>>> = const { Cell::new(Vec::new()) };
}

/// Checks each argument for itself, and says which bytes those with elements take.
fn check_each(call: &Call<'_>, device: Option<&Device>, spans: &mut Vec<Span<Place>>) -> Result<(), LaunchError> {
    let mut add = |place, is_written, footprint: &Footprint<'_, '_>| {
        let (start, end) = footprint.range();
        spans.push(Span {
            start,
            end,
            is_written,
            place,
        });
    };
    for (position, argument) in call.arguments().iter().enumerate() {
        let tensors = match argument {
            ArgumentValue::Tensor(tensor) => std::slice::from_ref(tensor),
            ArgumentValue::List(list) if !(1..=MAX_LIST_RANK).contains(&list.rank) => {
                let reason = format!(
                    "{} is a list of tensors of rank {}",
                    parameter(call, position),
                    list.rank
                );
                let kernel = call.definition().name();
                return Err(LaunchError::WrongArguments { kernel, reason });
            }
            ArgumentValue::List(list) => &list.tensors,
            ArgumentValue::Count(count) => {
                let place = Place::of(position);
                if let Some(footprint) = check_count(call, device, place, count)? {
                    add(place, false, &footprint);
                }
                continue;
            }
            ArgumentValue::Scalar(_) => continue,
        };
        let listed = matches!(argument, ArgumentValue::List(_));
        for (number, tensor) in tensors.iter().enumerate() {
            let place = Place {
                position,
                number: listed.then_some(number),
            };
            if let Some(footprint) = check_tensor(call, device, place, tensor)? {
                if tensor.mutable && !footprint.is_one_to_one() {
                    return Err(folded(call, place, tensor));
                }
                add(place, tensor.mutable, &footprint);
            }
        }
    }
    Ok(())
}

/// What an error is about: a parameter, or one tensor of a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    position: usize,
    number: Option<usize>,
}

impl Place {
    fn of(position: usize) -> Self {
        Self { position, number: None }
    }

    /// The bytes of what is there.
    fn footprint<'c, 'a>(self, call: &'c Call<'a>) -> Option<Footprint<'c, 'a>> {
        let address = |memory, offset| Some(Storage::of(memory)?.address().saturating_add(offset));
        let tensor = match call.arguments().get(self.position)? {
            ArgumentValue::Tensor(tensor) => tensor,
            ArgumentValue::List(list) => list.tensors.get(self.number?)?,
            ArgumentValue::Count(CountArgument::Device {
                memory,
                offset,
                element,
                ..
            }) => return Some(Footprint::of_count(address(*memory, *offset)?, *element)),
            ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => return None,
        };
        Footprint::new(tensor, address(tensor.memory, tensor.offset)?)
    }

    fn name(self, call: &Call<'_>) -> String {
        let name = parameter(call, self.position);
        match (self.number, name.strip_suffix('`')) {
            (Some(number), Some(open)) => format!("{open}[{number}]`"),
            (Some(number), None) => format!("tensor {number} of {name}"),
            (None, _) => name,
        }
    }
}

/// Returns the bytes of a tensor that has elements.
fn check_tensor<'c, 'a>(
    call: &Call<'_>,
    device: Option<&Device>,
    place: Place,
    tensor: &'c TensorArgument<'a>,
) -> Result<Option<Footprint<'c, 'a>>, LaunchError> {
    let storage = check_memory(call, device, place, tensor.memory)?;
    if tensor.extents.len() != tensor.strides.len() {
        return Err(outside(call, place));
    }
    if let Some(&extent) = tensor.extents.iter().find(|&&extent| extent > MAX_COUNT) {
        return Err(count_out_of_range(
            call,
            place,
            i64::try_from(extent).unwrap_or(i64::MAX),
        ));
    }
    // Of a tensor without elements nothing else would be looked at.
    let Some(address) = storage.address().checked_add(tensor.offset) else {
        return Err(outside(call, place));
    };
    let footprint = Footprint::new(tensor, address);
    check_within(call, place, storage, footprint.as_ref().map(Footprint::range))?;
    check_alignment(call, place, address, tensor.element)?;
    Ok(footprint)
}

/// Returns the bytes that a count in device memory is read from.
fn check_count<'c, 'a>(
    call: &Call<'_>,
    device: Option<&Device>,
    place: Place,
    count: &CountArgument<'_>,
) -> Result<Option<Footprint<'c, 'a>>, LaunchError> {
    let mut footprint = None;
    let value = match *count {
        CountArgument::Exact(value) | CountArgument::Runtime(value) => value,
        CountArgument::Device {
            memory,
            offset,
            element,
            maximum,
        } => {
            let storage = check_memory(call, device, place, memory)?;
            let address = storage.address().saturating_add(offset);
            check_within(
                call,
                place,
                storage,
                Some((address, address.saturating_add(element.size() as u64))),
            )?;
            check_alignment(call, place, address, element)?;
            footprint = Some(Footprint::of_count(address, element));
            maximum
        }
    };
    match u64::try_from(value) {
        Ok(0..=MAX_COUNT) => Ok(footprint),
        _ => Err(count_out_of_range(call, place, value)),
    }
}

fn check_memory<'a>(
    call: &Call<'_>,
    device: Option<&Device>,
    place: Place,
    memory: &'a dyn Memory,
) -> Result<&'a Storage, LaunchError> {
    match Storage::of(memory) {
        Some(storage) if device.is_none_or(|on| storage.hardware().shares_memory_with(on.hardware())) => Ok(storage),
        found => Err(other_device(call, device, place, found)),
    }
}

/// Views are within their memory by their making; arguments made by hand may not be.
fn check_within(
    call: &Call<'_>,
    place: Place,
    storage: &Storage,
    range: Option<(u64, u64)>,
) -> Result<(), LaunchError> {
    let (first, end) = (storage.address(), storage.address() + storage.len());
    match range {
        Some((from, to)) if from < first || to > end => Err(outside(call, place)),
        _ => Ok(()),
    }
}

/// Two elements that a kernel may write have one place.
#[cold]
fn folded(call: &Call<'_>, place: Place, tensor: &TensorArgument<'_>) -> LaunchError {
    let (extents, strides) = (&tensor.extents[..], &tensor.strides[..]);
    let reason = format!(
        "{}, which it may write, has elements that share memory: its extents are {extents:?} and its strides {strides:?}",
        place.name(call)
    );
    LaunchError::WrongArguments {
        kernel: call.definition().name(),
        reason,
    }
}

#[cold]
fn outside(call: &Call<'_>, place: Place) -> LaunchError {
    let reason = format!("{} is not within its memory", place.name(call));
    LaunchError::WrongArguments {
        kernel: call.definition().name(),
        reason,
    }
}

fn check_alignment(call: &Call<'_>, place: Place, address: u64, element: ElementType) -> Result<(), LaunchError> {
    if address.is_multiple_of(element.size() as u64) {
        Ok(())
    } else {
        Err(misaligned(call, place, address, element))
    }
}

#[cold]
fn overlap(call: &Call<'_>, written: Place, other: Place) -> LaunchError {
    let kernel = call.definition().name();
    LaunchError::Overlap {
        kernel,
        written: written.name(call),
        other: other.name(call),
    }
}

#[cold]
fn count_out_of_range(call: &Call<'_>, place: Place, value: i64) -> LaunchError {
    let kernel = call.definition().name();
    LaunchError::CountOutOfRange {
        kernel,
        parameter: place.name(call),
        value,
    }
}

#[cold]
fn other_device(call: &Call<'_>, device: Option<&Device>, place: Place, found: Option<&Storage>) -> LaunchError {
    let (kernel, parameter) = (call.definition().name(), place.name(call));
    let expected = device.map_or_else(|| "any device".to_owned(), Device::to_string);
    match found {
        Some(found) => LaunchError::OtherDevice {
            kernel,
            parameter,
            found: found.hardware().to_string(),
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
fn misaligned(call: &Call<'_>, place: Place, address: u64, element: ElementType) -> LaunchError {
    let (kernel, parameter) = (call.definition().name(), place.name(call));
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
