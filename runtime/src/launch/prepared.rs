//! Launches that were prepared: what does not change from one to the next is found and checked once.

use std::time::Instant;

use arrayvec::ArrayVec;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, MAX_COUNT, Memory, TensorArgument};
use tilewright_dsl::element::ElementType;

use super::{Launched, check, goes_into_graph, put};
use crate::device::{Device, Stream};
use crate::error::LaunchError;
use crate::hardware::memory::Storage;
use crate::specialize::Site;

/// A launch that is done again and again, with other tensors, counts and scalars of the same class: of the same kernel, types,
/// layouts and alignments, and the same extents where these shape tiles.
///
/// It knows its class, whose variants it takes as any launch does: a better one that was built behind serves the next
/// launch. Tensors that lie where those of its last launch lay, with the same extents and strides, were checked then; others are
/// checked as in any launch. So it is as safe, and waits, is sealed, measured, counted and captured in the same way. It keeps
/// nothing alive and borrows nothing: each launch is given its tensors.
///
/// With counts that are no literals, launching allocates nothing on the heap, hashes nothing and takes no lock but, for
/// reading, the one that keeps memory in order between streams.
///
/// ```
/// use tilewright_dsl::call::Runtime;
/// use tilewright_dsl::{kernel, lang::*};
/// use tilewright_runtime::Device;
///
/// #[kernel(grid = [rows])]
/// fn double(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, rows: Count) {
///     out.store([program_id(0)], src.load([program_id(0)]) * 2.0);
/// }
///
/// let device = Device::cpu();
/// let src = device.upload(&[1.0f32, 2.0, 3.0, 4.0], [4])?;
/// let mut out = device.zeros::<f32, 1>([4])?;
/// let mut prepared = device.prepare(&double(&mut out, &src, Runtime(1)))?;
/// for rows in 0..=3 {
///     prepared.launch(double(&mut out, &src, Runtime(rows)))?;
/// }
/// assert_eq!(out.download()?, [2.0, 4.0, 6.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Prepared {
    stream: Stream,
    site: Site,
    /// The arguments of the last call that was checked.
    seen: Vec<Seen>,
}

/// What is checked of an argument, and what its class is told apart by; not the values of scalars, nor those of counts that are
/// small enough.
#[derive(PartialEq)]
enum Seen {
    Tensor(SeenTensor),
    /// So many tensors, which follow.
    List(ElementType, usize, bool, usize),
    Count {
        is_exact: bool,
    },
    DeviceCount(ElementType, SeenPlace),
    Scalar(ElementType),
}

#[derive(PartialEq)]
struct SeenTensor {
    element: ElementType,
    mutable: bool,
    place: SeenPlace,
    extents: ArrayVec<u64, 4>,
    strides: ArrayVec<i64, 4>,
}

/// The allocation, and the first byte in it.
#[derive(PartialEq)]
struct SeenPlace {
    start: u64,
    len: u64,
    offset: u64,
}

impl Device {
    /// Prepares launches of a call and others of its class. The call is checked, and recorded if none like it was; nothing is compiled
    /// and nothing launched. The first launch may have to wait for a compiler, unless there was a
    /// [warm-up](Device::warm_up).
    ///
    /// # Errors
    /// What a launch of the call fails with before it is compiled.
    pub fn prepare(&self, call: &Call<'_>) -> Result<Prepared, LaunchError> {
        check(call, self)?;
        let mut prepared = Prepared {
            stream: self.stream(),
            site: self.specializer().site(call)?,
            seen: Vec::new(),
        };
        prepared.see(call);
        Ok(prepared)
    }
}

impl Prepared {
    /// Launches a call of the prepared class on the device's own stream.
    ///
    /// # Errors
    /// [`LaunchError::OtherClass`] if it is of another class; else as [`Launch::launch`](super::Launch::launch).
    pub fn launch(&mut self, call: Call<'_>) -> Result<Launched, LaunchError> {
        let started = Instant::now();
        self.check(&call)?;
        Self::put(&self.site, &self.stream, call, started)
    }

    /// Launches a call of the prepared class on a stream of the same device.
    ///
    /// # Errors
    /// As for [`Prepared::launch`]; [`LaunchError::OtherClass`] also for a stream of another device.
    pub fn launch_on(&mut self, call: Call<'_>, stream: &Stream) -> Result<Launched, LaunchError> {
        let started = Instant::now();
        if !stream.device().is(self.stream.device()) {
            return Err(LaunchError::OtherClass {
                kernel: call.definition().name(),
                prepared: self.site.name().to_owned(),
                reason: format!(
                    "it was prepared for {}, of which the stream is none",
                    self.stream.device()
                ),
            });
        }
        self.check(&call)?;
        Self::put(&self.site, stream, call, started)
    }

    fn put(site: &Site, stream: &Stream, call: Call<'_>, started: Instant) -> Result<Launched, LaunchError> {
        let specializer = stream.device().specializer();
        let plan = specializer.plan_at(site, &call, &|| goes_into_graph(stream))?;
        put(call, plan, stream, started)
    }

    pub(super) fn check(&mut self, call: &Call<'_>) -> Result<(), LaunchError> {
        let are_same = self.has_seen(call);
        if !are_same {
            check(call, self.stream.device())?;
        }
        self.site.check(call, are_same)?;
        if !are_same {
            self.see(call);
        }
        Ok(())
    }

    fn see(&mut self, call: &Call<'_>) {
        self.seen.clear();
        for argument in call.arguments() {
            self.seen.push(match argument {
                ArgumentValue::Tensor(tensor) => Seen::Tensor(SeenTensor::of(tensor)),
                ArgumentValue::List(list) => {
                    let count = list.tensors.len();
                    self.seen.push(Seen::List(list.element, list.rank, list.mutable, count));
                    let tensors = list.tensors.iter().map(SeenTensor::of);
                    self.seen.extend(tensors.map(Seen::Tensor));
                    continue;
                }
                ArgumentValue::Count(CountArgument::Exact(_)) => Seen::Count { is_exact: true },
                ArgumentValue::Count(CountArgument::Runtime(_)) => Seen::Count { is_exact: false },
                ArgumentValue::Count(CountArgument::Device {
                    memory,
                    offset,
                    element,
                    ..
                }) => Seen::DeviceCount(*element, SeenPlace::of(*memory, *offset)),
                ArgumentValue::Scalar(literal) => Seen::Scalar(literal.element),
            });
        }
    }

    /// Whether the checks of a call and its class depend on nothing that has changed.
    fn has_seen(&self, call: &Call<'_>) -> bool {
        let device = self.stream.device();
        let mut seen = self.seen.iter();
        let is_tensor = |tensor: &TensorArgument<'_>, seen: Option<&Seen>| match seen {
            Some(Seen::Tensor(seen)) => seen.is(tensor, device),
            _ => false,
        };
        let all = call.arguments().iter().all(|argument| match argument {
            ArgumentValue::Tensor(tensor) => is_tensor(tensor, seen.next()),
            ArgumentValue::List(list) => {
                let found = Seen::List(list.element, list.rank, list.mutable, list.tensors.len());
                seen.next() == Some(&found) && list.tensors.iter().all(|tensor| is_tensor(tensor, seen.next()))
            }
            ArgumentValue::Count(CountArgument::Exact(value)) => {
                seen.next() == Some(&Seen::Count { is_exact: true }) && is_count(*value)
            }
            ArgumentValue::Count(CountArgument::Runtime(value)) => {
                seen.next() == Some(&Seen::Count { is_exact: false }) && is_count(*value)
            }
            ArgumentValue::Count(CountArgument::Device {
                memory,
                offset,
                element,
                maximum,
            }) => match seen.next() {
                Some(Seen::DeviceCount(of, place)) => {
                    of == element && is_count(*maximum) && place.is(*memory, *offset, device)
                }
                _ => false,
            },
            ArgumentValue::Scalar(literal) => seen.next() == Some(&Seen::Scalar(literal.element)),
        });
        all && seen.next().is_none()
    }
}

fn is_count(value: i64) -> bool {
    u64::try_from(value).is_ok_and(|value| value <= MAX_COUNT)
}

impl SeenTensor {
    fn of(tensor: &TensorArgument<'_>) -> Self {
        Self {
            element: tensor.element,
            mutable: tensor.mutable,
            place: SeenPlace::of(tensor.memory, tensor.offset),
            extents: tensor.extents.clone(),
            strides: tensor.strides.clone(),
        }
    }

    fn is(&self, tensor: &TensorArgument<'_>, device: &Device) -> bool {
        self.element == tensor.element
            && self.mutable == tensor.mutable
            && self.extents == tensor.extents
            && self.strides == tensor.strides
            && self.place.is(tensor.memory, tensor.offset, device)
    }
}

impl SeenPlace {
    /// Of memory of another runtime, a place that no memory is at.
    fn of(memory: &dyn Memory, offset: u64) -> Self {
        let (start, len) =
            Storage::of(memory).map_or((u64::MAX, u64::MAX), |storage| (storage.address(), storage.len()));
        Self { start, len, offset }
    }

    fn is(&self, memory: &dyn Memory, offset: u64, device: &Device) -> bool {
        Storage::of(memory).is_some_and(|storage| {
            self.start == storage.address()
                && self.len == storage.len()
                && self.offset == offset
                && storage.hardware().shares_memory_with(device.hardware())
        })
    }
}
