//! A launch on the CPU device: the interpreter runs the variant's kernel at once.

use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, Memory, TensorArgument};
use tilewright_dsl::interpret::{
    self, BadAccess, FailedCheck, HostArgument, HostMemory, HostTensor, InterpretError, Options,
};
use tilewright_dsl::ir::{Expression, Kernel, Literal, Statement};

use super::check::parameter;
use crate::device::Device;
use crate::error::LaunchError;
use crate::hardware::memory::{Place, Storage};
use crate::specialize::{LaunchPlan, Variant};

/// Runs a plan's kernel: the proved one, so that a wrong proof is found.
pub(super) fn launch(
    call: &Call<'_>,
    plan: &LaunchPlan,
    variant: &Variant,
    device: &Device,
) -> Result<(), LaunchError> {
    let kernel = variant.kernel();
    // The canonical kernel leaves its grid to the host.
    let options = Options {
        grid: Some(plan.grid),
        print: |line| println!("{line}"),
        ..Options::default()
    };
    let binding = |(position, argument)| {
        let missing = || LaunchError::ForeignMemory {
            kernel: call.definition().name(),
            parameter: parameter(call, position),
            expected: device.to_string(),
        };
        binding(argument).ok_or_else(missing)
    };
    let bindings = call
        .arguments()
        .iter()
        .enumerate()
        .map(binding)
        .collect::<Result<Vec<_>, _>>()?;
    match interpret::run(kernel, &bindings, &options) {
        Ok(_) => Ok(()),
        // As on a GPU: the launch has happened, and the report waits.
        Err(InterpretError::OutOfBounds(access)) if is_trap(kernel, &access) => {
            device.reports().report(trapped(*access, plan.grid));
            Ok(())
        }
        Err(InterpretError::CheckFailed(check)) => {
            device.reports().report(failed(*check, plan.grid));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
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
