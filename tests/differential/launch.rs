//! Launching a case through the runtime, on any device.

use std::sync::Arc;

use parking_lot::RwLock;
use tilewright::dsl::call::{
    self, ArgumentValue, Arguments, Call, CountArgument, Definition, ListArgument, Memory, TensorArgument,
};
use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{Kernel, Statement};
use tilewright::dsl::lang;
use tilewright::dsl::schedule::Schedule;
use tilewright::prelude::{Device, DeviceTensor, Launch, LaunchError, Specialize};
use tilewright::runtime::Variant;

use crate::case::{Argument, Case, Count, Tensor};
use crate::oracle::{Outcome, Trapped};

/// A device that several threads launch on. Reports of accesses that trap do not say whose they are, so a kernel with
/// such an access is launched alone.
pub struct Shared {
    pub device: Device,
    alone: RwLock<()>,
}

impl Shared {
    pub fn new(device: Device) -> Self {
        let alone = RwLock::new(());
        Self { device, alone }
    }

    /// Launches cases with their definitions, several of them as one call. Also gives the variant; there is none for no
    /// programs.
    pub fn run(
        &self,
        parts: &[(&Case, Definition)],
        schedule: Option<Schedule>,
        specialize: Specialize,
    ) -> Result<(Outcome, Option<Arc<Variant>>), LaunchError> {
        let together = self.alone.read();
        let launched = self.once(parts, schedule, specialize)?;
        drop(together);
        if !parts.iter().any(|(case, _)| traps(&case.kernel)) {
            return Ok(launched);
        }
        // It is compiled now, so that the others do not wait for long.
        let _alone = self.alone.write();
        let _ = self.device.synchronize();
        let (mut outcome, variant) = self.once(parts, schedule, specialize)?;
        outcome.trapped = match self.device.synchronize() {
            Ok(()) => Trapped::No,
            Err(LaunchError::Trapped { .. }) => Trapped::Yes,
            Err(error) => return Err(error),
        };
        Ok((outcome, variant))
    }

    fn once(
        &self,
        parts: &[(&Case, Definition)],
        schedule: Option<Schedule>,
        specialize: Specialize,
    ) -> Result<(Outcome, Option<Arc<Variant>>), LaunchError> {
        let memories: Vec<_> = parts.iter().map(|(case, _)| self.upload(case)).collect();
        let calls = parts.iter().zip(&memories);
        let mut calls: Vec<_> = calls
            .map(|((case, definition), memories)| call(case, definition, memories))
            .collect();
        let mut call = match calls.pop() {
            Some(only) if calls.is_empty() => only,
            last => Call::fuse(calls.into_iter().chain(last)),
        };
        if let Some(schedule) = schedule {
            call = call.with_schedule(schedule);
        }
        let launched = call.specialize(specialize).launch(&self.device)?;
        let outcomes = parts.iter().zip(&memories).map(|((case, _), memories)| {
            let tensors = case.arguments.iter().zip(memories);
            let tensors = tensors.filter(|(argument, _)| matches!(argument, Argument::Tensor(_)));
            let bytes = tensors
                .filter_map(|(_, memory)| memory.as_ref())
                .map(|memory| memory.download());
            Outcome {
                memories: bytes.collect::<Result<_, _>>().expect("the device still works"),
                trapped: Trapped::No,
            }
        });
        Ok((Outcome::of_all(outcomes), launched.variant().cloned()))
    }

    /// The memory of each argument that has one.
    fn upload(&self, case: &Case) -> Vec<Option<DeviceTensor<u8, 1>>> {
        let stored = |argument: &Argument| match argument {
            Argument::Tensor(tensor) => Some(tensor.bytes.clone()),
            Argument::Count(Count::Device { stored, .. }) => Some(stored.to_le_bytes().to_vec()),
            Argument::Count(_) | Argument::Scalar(_) => None,
        };
        let upload = |bytes: Vec<u8>| self.device.upload(&bytes, [bytes.len()]).expect("the device has room");
        let arguments = case.arguments.iter();
        arguments.map(|argument| stored(argument).map(upload)).collect()
    }
}

/// Launches a case on a device that nothing else launches on now, and waits for what it reports. Also gives the variant; there
/// is none for no programs. A launch on the CPU device that is reported is none, and so that device must be new.
pub fn report(device: &Device, case: &Case) -> (Option<Arc<Variant>>, Result<(), LaunchError>) {
    let shared = Shared::new(device.clone());
    let memories = shared.upload(case);
    let launched = call(case, &case.definition(), &memories).launch(device);
    let variant = match &launched {
        Ok(launched) => launched.variant().cloned(),
        Err(_) => device.variants().into_iter().next(),
    };
    (variant, launched.and_then(|_| device.synchronize()))
}

fn call<'a>(case: &Case, definition: &Definition, memories: &'a [Option<DeviceTensor<u8, 1>>]) -> Call<'a> {
    let mut arguments = Arguments::new();
    for (argument, memory) in case.arguments.iter().zip(memories) {
        #[allow(unsafe_code)] // Cases are as wide as their memory.
        unsafe {
            arguments.push(value(argument, memory.as_ref()))
        };
    }
    let mut call = Call::new(definition.clone(), arguments);
    if case.exact_extents {
        call = call.exact_extents();
    }
    if case.checked {
        call = call.checked();
    }
    if case.kernel.reports {
        call = call.report_out_of_bounds();
    }
    call
}

fn value<'a>(argument: &Argument, memory: Option<&'a DeviceTensor<u8, 1>>) -> ArgumentValue<'a> {
    match (argument, memory) {
        (Argument::Scalar(literal), _) => ArgumentValue::Scalar(*literal),
        (Argument::Count(Count::Exact(value)), _) => ArgumentValue::Count(CountArgument::Exact(*value)),
        (Argument::Count(Count::Runtime(value)), _) => ArgumentValue::Count(CountArgument::Runtime(*value)),
        (Argument::Count(Count::Device { element, maximum, .. }), Some(memory)) => {
            ArgumentValue::Count(CountArgument::Device {
                memory: whole(memory),
                offset: 0,
                element: *element,
                maximum: *maximum,
            })
        }
        (Argument::Tensor(tensor), Some(memory)) => match &tensor.members {
            None => ArgumentValue::Tensor(part(tensor, memory)),
            Some(members) => ArgumentValue::List(ListArgument {
                element: tensor.element,
                rank: tensor.extents.len() - 1,
                mutable: tensor.mutable,
                tensors: members.iter().map(|member| part(member, memory)).collect(),
            }),
        },
        (Argument::Tensor(_) | Argument::Count(Count::Device { .. }), None) => panic!("it was not uploaded"),
    }
}

fn part<'a>(tensor: &Tensor, memory: &'a DeviceTensor<u8, 1>) -> TensorArgument<'a> {
    TensorArgument {
        element: tensor.element,
        mutable: tensor.mutable,
        extents: tensor.extents.iter().copied().collect(),
        strides: tensor.strides.iter().copied().collect(),
        memory: whole(memory),
        offset: tensor.offset,
    }
}

/// The memory of a tensor, of which a launch can name any part by hand.
fn whole(memory: &DeviceTensor<u8, 1>) -> &dyn Memory {
    let mut arguments = Arguments::new();
    let view = memory.view();
    call::Argument::<&lang::Tensor<u8, 1>>::pass(view, &mut arguments);
    match arguments.values() {
        [ArgumentValue::Tensor(tensor)] => tensor.memory,
        _ => panic!("a tensor is pushed"),
    }
}

fn traps(kernel: &Kernel) -> bool {
    let mut found = false;
    kernel.body.walk(&mut |statement, _| {
        found |= match statement {
            Statement::Let(value) => kernel.expressions[*value]
                .access()
                .is_some_and(|access| kernel.reports(access)),
            Statement::Store { access, .. } => kernel.reports(access),
            _ => false,
        }
    });
    found
}

/// The first byte where two runs differ by more than the case allows.
pub fn difference(case: &Case, expected: &Outcome, found: &Outcome) -> Option<String> {
    match (expected.trapped, found.trapped) {
        (Trapped::No, Trapped::No) | (Trapped::Load, _) | (Trapped::Yes, Trapped::Yes | Trapped::Load) => {}
        (expected, found) => return Some(format!("trapped: {found:?}, expected {expected:?}")),
    }
    let tensors = case
        .arguments
        .iter()
        .enumerate()
        .filter_map(|(position, argument)| match argument {
            Argument::Tensor(tensor) => Some((position, tensor)),
            Argument::Count(_) | Argument::Scalar(_) => None,
        });
    for ((position, tensor), (expected, found)) in tensors.zip(expected.memories.iter().zip(&found.memories)) {
        let size = tensor.element.size();
        let start = tensor.offset as usize % size;
        let elements = expected[start..]
            .chunks_exact(size)
            .zip(found[start..].chunks_exact(size));
        for (index, (expected, found)) in elements.enumerate() {
            if expected != found && distance(tensor.element, expected, found) > case.ulps {
                let first = tensor.offset as usize / size;
                return Some(format!(
                    "p{position}: {expected:02x?} expected and {found:02x?} found, {} elements after the first",
                    index as i64 - first as i64
                ));
            }
        }
    }
    None
}

/// How many values of the type lie between two floats; the largest number for anything else.
fn distance(element: ElementType, one: &[u8], other: &[u8]) -> u64 {
    let ordered = |bytes: &[u8]| {
        let mut bits = [0; 8];
        bits[..bytes.len()].copy_from_slice(bytes);
        let shift = 64 - element.bits();
        // With the sign in the top bit, negative floats count downwards.
        let bits = (u64::from_le_bytes(bits) << shift) as i64;
        (if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }) >> shift
    };
    if element.is_float() {
        ordered(one).abs_diff(ordered(other))
    } else {
        u64::MAX
    }
}
