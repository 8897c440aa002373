//! A launch on the CPU device: the interpreter runs the variant's kernel at once.

#![allow(unsafe_code)]

use std::sync::Arc;

use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, Memory, TensorArgument};
use tilewright_dsl::interpret::{
    self, BadAccess, EndedWait, FailedCheck, HostArgument, HostMemory, HostTensor, InterpretError, Options,
};
use tilewright_dsl::ir::{Expression, Kernel, Literal, Statement};

use super::check::parameter;
use super::cuda::memories;
use super::kept::KeptCall;
use crate::device::{Destination, Device, HostLaunch, Queue};
use crate::error::LaunchError;
use crate::hardware::capture::PlaceInGraph;
use crate::hardware::memory::{Place, Storage, refuse_borrowed};
use crate::specialize::Variant;

/// Runs a plan's kernel, the proved one, so that a wrong proof is found; or keeps the launch, in a capture, and says where.
pub(super) fn launch(
    call: &Call<'_>,
    grid: [u64; 3],
    variant: &Arc<Variant>,
    to: Destination<'_>,
) -> Result<Option<PlaceInGraph>, LaunchError> {
    let device = to.device;
    if let Queue::Captured(capture) = to.queue
        && capture.is_open()
    {
        refuse_borrowed(capture.allows_borrowing(), memories(call.arguments()))?;
        return Ok(capture.add(kept(call.clone(), grid, variant, device)?));
    }
    let bindings = bindings(call.arguments()).map_err(|position| foreign(call, position, device))?;
    run(variant, &bindings, grid, device).map(|()| None)
}

/// A checked launch to be done later. What goes wrong then, the device reports.
pub(super) fn kept(
    call: Call<'_>,
    grid: [u64; 3],
    variant: &Arc<Variant>,
    device: &Device,
) -> Result<HostLaunch, LaunchError> {
    let kernel = call.definition().name();
    // SAFETY: no memory is borrowed, or whoever puts it into a graph has promised that it stays.
    let call = unsafe { KeptCall::of(call) }.ok_or_else(|| LaunchError::WrongArguments {
        kernel,
        reason: format!("some lie in memory that is none of {device}"),
    })?;
    let (variant, device) = (variant.clone(), device.clone());
    Ok(Box::new(move || {
        let bindings = bindings(call.call().arguments()).map_err(|at| foreign(call.call(), at, &device));
        if let Err(error) = bindings.and_then(|bindings| run(&variant, &bindings, grid, &device)) {
            device.reports().report(error);
        }
    }))
}

fn foreign(call: &Call<'_>, position: usize, device: &Device) -> LaunchError {
    LaunchError::ForeignMemory {
        kernel: call.definition().name(),
        parameter: parameter(call, position),
        expected: device.to_string(),
    }
}

fn run(variant: &Variant, bindings: &[HostArgument<'_>], grid: [u64; 3], device: &Device) -> Result<(), LaunchError> {
    let kernel = variant.kernel();
    // The canonical kernel leaves its grid to the host.
    let options = Options {
        grid: Some(grid),
        device: Some(device.number()),
        print: |line| println!("{line}"),
        ..Options::default()
    };
    match interpret::run(kernel, bindings, &options) {
        Ok(_) => Ok(()),
        // As on a GPU: the launch has happened, and the report waits.
        Err(InterpretError::OutOfBounds(access)) if is_trap(kernel, &access) => {
            device.reports().report(trapped(*access, grid));
            Ok(())
        }
        Err(InterpretError::CheckFailed(check)) => {
            device.reports().report(failed(*check, grid));
            Ok(())
        }
        Err(InterpretError::WaitEnded(wait)) => {
            device.reports().report(ended(*wait, grid));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Arguments as the interpreter takes them, or the position of one that is not the CPU device's.
fn bindings<'a>(arguments: &[ArgumentValue<'a>]) -> Result<Vec<HostArgument<'a>>, usize> {
    let numbered = arguments.iter().enumerate();
    numbered
        .map(|(position, argument)| binding(argument).ok_or(position))
        .collect()
}

/// An argument as the interpreter takes it; `None` if its memory is not the CPU device's.
fn binding<'a>(argument: &ArgumentValue<'a>) -> Option<HostArgument<'a>> {
    Some(match argument {
        ArgumentValue::Tensor(tensor) => HostArgument::Tensor(tensor_binding(tensor)?),
        ArgumentValue::List(list) => {
            HostArgument::List(list.tensors.iter().map(tensor_binding).collect::<Option<_>>()?)
        }
        ArgumentValue::Count(CountArgument::Exact(value) | CountArgument::Runtime(value)) => {
            HostArgument::Count(*value)
        }
        ArgumentValue::Count(CountArgument::Device {
            memory: at,
            offset,
            element,
            maximum,
        }) => {
            let bits = memory(*at)?.get(*offset, element.size()).ok()?;
            let value = Literal {
                element: *element,
                bits,
            }
            .as_integer()?;
            HostArgument::Count(i64::try_from(value).ok()?.clamp(0, *maximum))
        }
        ArgumentValue::Scalar(literal) => HostArgument::Scalar(*literal),
    })
}

fn tensor_binding<'a>(tensor: &TensorArgument<'a>) -> Option<HostTensor<'a>> {
    Some(HostTensor {
        memory: memory(tensor.memory)?,
        offset: tensor.offset,
        extents: tensor.extents.clone(),
        strides: tensor.strides.clone(),
    })
}

fn memory(memory: &dyn Memory) -> Option<&HostMemory> {
    match Storage::of(memory)?.place() {
        Place::Host(host) => Some(host.memory()),
        Place::Cuda(_) => None,
    }
}

/// Whether the access that was out of bounds is one that reports it. The other one with an error is the author's promise, and
/// a broken promise is an error at once.
fn is_trap(kernel: &Kernel, bad: &BadAccess) -> bool {
    let mut found = false;
    kernel.body.walk(&mut |statement, span| {
        let access = match statement {
            Statement::Let(value) => match kernel.expressions.get(*value).and_then(Expression::access) {
                Some(access) => access,
                None => return,
            },
            Statement::Store { access, .. } => access,
            _ => return,
        };
        found |= span == bad.span && kernel.reports(access);
    });
    found
}

/// The number of a program, counted with the innermost grid axis fastest.
fn number([x, y, z]: [u64; 3], grid: [u64; 3]) -> u64 {
    x + grid[0] * (y + grid[1] * z)
}

fn failed(check: FailedCheck, grid: [u64; 3]) -> LaunchError {
    LaunchError::CheckFailed {
        kernel: check.kernel,
        kind: check.kind,
        message: check.message,
        span: check.span,
        program: number(check.program, grid),
    }
}

fn ended(wait: EndedWait, grid: [u64; 3]) -> LaunchError {
    LaunchError::WaitEnded {
        kernel: wait.kernel,
        parameter: wait.tensor,
        rank: wait.rank,
        epoch: wait.epoch,
        seen: wait.seen,
        span: wait.span,
        program: number(wait.program, grid),
    }
}

fn trapped(access: BadAccess, grid: [u64; 3]) -> LaunchError {
    LaunchError::Trapped {
        kernel: access.kernel,
        parameter: access.tensor,
        axis: access.axis,
        span: access.span,
        program: number(access.program, grid),
        index: access.index,
    }
}
