//! Launching a call.
//!
//! ```text
//! check    every argument against the device and the other arguments
//! plan     grid, conditions and variant: evaluated, looked up, or made (see `specialize`)
//! cuda     the arguments as words, one driver call       host   the interpreter, at once
//! ```
//!
//! What was `prepared` knows its class, and checks only what is not as it was in the launch before; what is `bound` knows its
//! tensors too, and is given counts.
//!
//! On a GPU a launch is put into a stream and returns; what it does later is seen by whatever comes after it in the
//! order of the calls. A launch that was made before, with other addresses and scalars perhaps, records nothing, compiles
//! nothing and hashes no text.

mod bound;
mod check;
mod cuda;
mod host;
mod kept;
mod measured;
mod overlap;
mod prepared;
mod update;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tilewright_dsl::call::Call;
use tilewright_dsl::lower::Accesses;

pub use crate::error::{LaunchError, MarkedAccess};
pub use bound::Bound;
pub use prepared::Prepared;

pub(crate) use check::{check, check_on};

use crate::device::{CapturedLaunch, Destination, Device, Queue, Stream};
use crate::hardware::capture;
use crate::specialize::{KeptWords, LaunchPlan, Program, Site, SiteSlot, Tier, Variant, VariantId};

/// What can be launched: a call of a kernel.
pub trait Launch: Sized {
    /// Launches on the device's own stream.
    ///
    /// # Errors
    /// The arguments are refused, the kernel cannot be recorded or compiled for them, or the device fails. What a kernel
    /// reports itself comes later, from [`Device::synchronize`].
    fn launch(self, device: &Device) -> Result<Launched, LaunchError>;

    /// Launches on a stream.
    ///
    /// # Errors
    /// As for [`Launch::launch`].
    fn launch_on(self, stream: &Stream) -> Result<Launched, LaunchError>;

    /// What each thread reads and writes of the tensors, how wide, and why not wider: of the best variant for the call. It
    /// is not launched. For the CPU device, what a GPU would do.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    /// use tilewright_runtime::{Device, Launch};
    ///
    /// #[kernel(grid = [out.extent(0)])]
    /// fn copy(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
    ///     let (row, cols) = (program_id(0), arange(out.extent(1)));
    ///     out.store([row, cols], src.load([row, cols]));
    /// }
    ///
    /// let device = Device::best();
    /// let (src, mut out) = (device.zeros::<f32, 2>([64, 3])?, device.zeros::<f32, 2>([3, 64])?);
    /// // Rows become columns: what is read lies 12 bytes apart.
    /// let accesses = copy(&mut out, src.transpose(0, 1)?).accesses(&device)?;
    /// let widths: Vec<_> = accesses.iter().map(|access| (access.tensor.as_str(), access.bytes)).collect();
    /// assert_eq!(widths, [("src", 4), ("out", 16)]);
    /// println!("{accesses}");
    /// # let narrow: Vec<_> = accesses.narrow().map(|access| access.tensor.as_str()).collect();
    /// # assert_eq!(narrow, ["src"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What a launch of the call fails with before it is compiled.
    fn accesses(&self, device: &Device) -> Result<Accesses, LaunchError>;
}

/// What a launch has done.
#[derive(Debug, Clone)]
pub struct Launched {
    programs: u64,
    variant: Option<Arc<Variant>>,
    tier: Option<Tier>,
    built: bool,
    captured: Option<Box<CapturedLaunch>>,
}

impl Launched {
    /// How many programs were launched.
    pub fn programs(&self) -> u64 {
        self.programs
    }

    /// The variant that served the launch; `None` for a launch of no programs.
    pub fn variant(&self) -> Option<&Arc<Variant>> {
        self.variant.as_ref()
    }

    /// The name of that variant.
    pub fn variant_id(&self) -> Option<VariantId> {
        self.variant.as_ref().map(|variant| variant.id())
    }

    /// What the variant knows of the launch; `None` for a launch of no programs.
    pub fn tier(&self) -> Option<Tier> {
        self.tier
    }

    /// Whether this launch had to build its variant: on a GPU, to compile it.
    pub fn compiled(&self) -> bool {
        self.built
    }

    /// The launch in the graph that [`Device::capture`] makes, for [`Graph::update`](crate::Graph::update); `None` of a launch
    /// that was not captured, or of no programs.
    pub fn captured(&self) -> Option<&CapturedLaunch> {
        self.captured.as_deref()
    }

    /// How long building took, if this launch had to.
    pub fn compile_time(&self) -> Option<Duration> {
        self.variant
            .as_ref()
            .filter(|_| self.built)
            .map(|variant| variant.build_time())
    }
}

impl Launch for Call<'_> {
    fn launch(self, device: &Device) -> Result<Launched, LaunchError> {
        launch(self, device.destination())
    }

    fn accesses(&self, device: &Device) -> Result<Accesses, LaunchError> {
        check(self, device)?;
        device.specializer().accesses(self)
    }

    fn launch_on(self, stream: &Stream) -> Result<Launched, LaunchError> {
        launch(self, stream.destination())
    }
}

fn launch(call: Call<'_>, to: Destination<'_>) -> Result<Launched, LaunchError> {
    let started = to.device.specializer().started();
    let slot = to.device.specializer().slot_of(&call);
    let mut found = slot.find();
    let site = match &mut found {
        Some(found) => found.admitting(&call, to.device.hardware(), || check(&call, to.device))?,
        None => None,
    };
    let launched = match site {
        Some(site) => put_at(site, &call, to, started)?,
        None => {
            drop(found);
            launch_elsewhere(slot, &call, to, started)?
        }
    };
    call.recycle();
    Ok(launched)
}

/// As [`launch`], of a call that no site admits.
#[inline(never)]
fn launch_elsewhere(
    slot: SiteSlot<'_>,
    call: &Call<'_>,
    to: Destination<'_>,
    started: Option<Instant>,
) -> Result<Launched, LaunchError> {
    check(call, to.device)?;
    let specializer = to.device.specializer();
    let plan = specializer.plan(call, &|| goes_into_graph(to))?;
    let launched = put(call, plan, to, None, started)?;
    specializer.remember(slot, call);
    Ok(launched)
}

/// Launches a call that a site admits.
#[inline]
fn put_at(
    site: &mut Site,
    call: &Call<'_>,
    to: Destination<'_>,
    started: Option<Instant>,
) -> Result<Launched, LaunchError> {
    let plan = to.device.specializer().plan_at(site, call, &|| goes_into_graph(to))?;
    put(call, plan, to, Some(&mut site.words), started)
}

/// Whether what is launched now goes into a graph.
fn goes_into_graph(to: Destination<'_>) -> Result<bool, LaunchError> {
    Ok(capture::is_within() || to.is_capturing()?)
}

/// Does a checked call as it is planned. A site keeps the words of its arguments.
fn put(
    call: &Call<'_>,
    plan: LaunchPlan,
    to: Destination<'_>,
    kept: Option<&mut KeptWords>,
    started: Option<Instant>,
) -> Result<Launched, LaunchError> {
    let specializer = to.device.specializer();
    let Some(mut served) = plan.served else {
        specializer.launched(None, started);
        return Ok(Launched {
            programs: plan.programs,
            variant: None,
            tier: None,
            built: false,
            captured: None,
        });
    };
    let mut place = None;
    let measure = served.measure.take();
    let put = || {
        place = match (served.variant.program(), to.queue) {
            (Program::Cuda(program), Queue::Cuda(stream)) => {
                if !stream.keep(&served.variant) {
                    served.variant.keep_for_graphs(|| stream.is_capturing())?;
                }
                cuda::launch(call, plan.grid, &served, program, kept, to.device, stream)?
            }
            _ => host::launch(call, plan.grid, &served.variant, to)?,
        };
        Ok(())
    };
    let measured = match measure {
        None => put().map(|()| None)?,
        Some(measure) => measured::around(to, put)?.map(|reading| (measure, reading)),
    };
    specializer.launched(Some(&served), started);
    if let Some((measure, reading)) = measured {
        specializer.measured(*measure, reading);
    }
    Ok(Launched {
        programs: plan.programs,
        tier: Some(served.tier),
        built: served.is_new,
        variant: Some(served.variant),
        captured: place.map(|place| Box::new(CapturedLaunch::new(place, call))),
    })
}

#[cfg(test)]
mod tests;
