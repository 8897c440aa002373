//! From a recording to the kernel that one launch needs: the stages of the code generator, in their order.

use tilewright_dsl::analysis::opening::opening;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, ExtentBinding, Traced};
use tilewright_dsl::class::Class;
use tilewright_dsl::ir::{Bindings, Kernel, Symbol};
use tilewright_dsl::schedule::{Machine, Schedule, choose};
use tilewright_dsl::transform::{Proof, ProvedBy, bind, canonical, checked};

use super::variant::VariantId;
use crate::arguments::{HostKnows, tensor_symbols, trace_request};
use crate::error::LaunchError;
use crate::hardware::cuda::CudaProperties;

/// A kernel that is ready to be scheduled.
pub(super) struct Staged {
    /// The canonical kernel: launches for which it is equal share a variant.
    pub(super) kernel: Kernel,
    /// What is known of its accesses.
    pub(super) proofs: Vec<Proof>,
}

/// Binds what the call binds as literals, and removes the checks that the host can make for this launch.
///
/// # Errors
/// A check is left in a kernel that denies them, or a launch is to overlap whose kernel does not begin with waiting.
pub(super) fn stage(traced: &Traced, call: &Call<'_>, grid: [u64; 3]) -> Result<Staged, LaunchError> {
    let bound = bind(&traced.kernel, &bindings(traced, call));
    let mut bound = if call.is_checked() { checked(bound) } else { bound };
    bound.reports = call.reports_out_of_bounds();
    let class = Class::new(bound);
    let (proved, proofs) = class.proved(class.conditions(&HostKnows(call), grid));
    // What a checked build checks again was promised.
    if proved.denies_guards
        && !proved.checked
        && let Some(proof) = proofs.iter().find(|proof| proof.axes.contains(&ProvedBy::Guard))
    {
        return Err(LaunchError::Guarded {
            kernel: proved.name.clone(),
            proof: proof.clone(),
        });
    }
    let kernel = canonical(proved);
    if call.is_overlapping()
        && let Err(span) = opening(&kernel)
    {
        let kernel = kernel.name;
        return Err(LaunchError::NotWaiting { kernel, span });
    }
    Ok(Staged { kernel, proofs })
}

fn bindings(traced: &Traced, call: &Call<'_>) -> Bindings {
    let mut bindings = Bindings {
        exact: traced.literal_extents(&trace_request(call)),
        device: Vec::new(),
    };
    if call.extents() == ExtentBinding::Exact {
        bindings.exact.extend(tensor_symbols(call));
    }
    for (position, argument) in (0u32..).zip(call.arguments()) {
        match argument {
            ArgumentValue::Count(CountArgument::Exact(value)) => bindings.exact.push((Symbol::Count(position), *value)),
            ArgumentValue::Count(CountArgument::Device { element, .. }) => bindings.device.push((position, *element)),
            ArgumentValue::Count(CountArgument::Runtime(_))
            | ArgumentValue::Tensor(_)
            | ArgumentValue::List(_)
            | ArgumentValue::Scalar(_) => {}
        }
    }
    bindings.exact.sort_unstable();
    bindings.exact.dedup();
    bindings
}

/// The schedule for a launch of this many programs.
pub(super) fn schedule_for(kernel: &Kernel, properties: &CudaProperties, programs: u64) -> Schedule {
    let machine = Machine {
        multiprocessors: properties.multiprocessors,
    };
    choose(kernel, &machine, programs)
}

/// The name of a variant within one process, where the compiler, its options and the author's own functions do not change.
pub(super) fn identify(kernel: &Kernel, target: Option<(&CudaProperties, &Schedule)>) -> VariantId {
    let mut hash = blake3::Hasher::new();
    hash.update(kernel.identity().as_bytes());
    if let Some((properties, schedule)) = target {
        hash.update(format!("for {}, {schedule}", properties.architecture).as_bytes());
    }
    VariantId(*hash.finalize().as_bytes())
}
