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

pub(crate) use check::check;

use crate::device::{CapturedLaunch, Device, Queue, Stream};
use crate::hardware::capture;
use crate::specialize::{Event, LaunchPlan, Program, Tier, Variant, VariantId};

/// What can be launched: a call of a kernel.
pub trait Launch: Sized {
    /// Launches on the device's own stream.
    ///
    /// # Errors
    /// The arguments are refused, the kernel cannot be recorded or compiled for them, or the device fails. What a kernel
    /// reports itself comes later, from [`Device::synchronize`].
    fn launch(self, device: &Device) -> Result<Launched, LaunchError> {
        self.launch_on(&device.stream())
    }

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
    fn accesses(&self, device: &Device) -> Result<Accesses, LaunchError> {
        check(self, device)?;
        device.specializer().accesses(self)
    }

    fn launch_on(self, stream: &Stream) -> Result<Launched, LaunchError> {
        let started = Instant::now();
        let device = stream.device();
        check(&self, device)?;
        let plan = device.specializer().plan(&self, &|| goes_into_graph(stream))?;
        let launched = put(&self, plan, stream, None, started)?;
        self.recycle();
        Ok(launched)
    }
}

/// Whether what is launched now on a stream goes into a graph.
fn goes_into_graph(stream: &Stream) -> Result<bool, LaunchError> {
    Ok(capture::is_within() || stream.is_capturing()?)
}

/// Does a checked call as it is planned. A place that launches the same again and again keeps the words of its arguments.
fn put(
    call: &Call<'_>,
    mut plan: LaunchPlan,
    stream: &Stream,
    kept: Option<&mut cuda::KeptWords>,
    started: Instant,
) -> Result<Launched, LaunchError> {
    let device = stream.device();
    let specializer = device.specializer();
    let measure = plan.served.as_mut().and_then(|served| served.measure.take());
    let (mut reading, mut place) = (None, None);
    if let Some(served) = &plan.served {
        let put = || {
            place = match (served.variant.program(), stream.queue()) {
                (Program::Cuda(program), Queue::Cuda(stream)) => {
                    if !stream.keep(&served.variant) {
                        served.variant.keep_for_graphs(|| stream.is_capturing())?;
                    }
                    cuda::launch(call, &plan, served, program, kept, device, stream)?
                }
                _ => host::launch(call, &plan, &served.variant, stream)?,
            };
            Ok(())
        };
        match measure.is_some() {
            true => reading = measured::around(stream, put)?,
            false => put()?,
        }
    }
    let captured = place.map(|place| Box::new(CapturedLaunch::new(place, call)));
    let built = plan.served.as_ref().is_some_and(|served| served.is_new);
    let tier = plan.served.as_ref().map(|served| served.tier);
    let variant = plan.served.map(|served| served.variant);
    let host_time = specializer.launched(variant.as_ref().zip(tier), built, started);
    if let Some((measure, reading)) = measure.zip(reading) {
        specializer.measured(measure, reading);
    }
    specializer.hooks().tell(|| Event::Launched {
        variant: variant.as_ref(),
        tier,
        host_time,
    });
    Ok(Launched {
        programs: plan.programs,
        variant,
        tier,
        built,
        captured,
    })
}

#[cfg(test)]
mod tests;
