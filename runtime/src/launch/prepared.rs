//! Launches that were prepared: what does not change from one to the next is found and checked once.

use std::time::Instant;

use arrayvec::ArrayVec;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, MAX_COUNT, Memory, TensorArgument};
use tilewright_dsl::element::ElementType;

use super::cuda::KeptWords;
use super::{Launched, check, goes_into_graph, put};
use crate::device::{Device, Stream};
use crate::error::LaunchError;
use crate::hardware::memory::Storage;
use crate::specialize::Site;

/// A launch that is done again and again, with other tensors, counts and scalars of the same class: of the same kernel, types,
/// layouts and alignments, and the same extents and exact counts where these shape tiles.
///
/// It knows its class, whose variants it takes as any launch does: a better one that was built behind serves the next
/// launch. Tensors that lie where those of its last launch lay, with the same extents and strides, were checked then; others are
/// checked as in any launch. So it is as safe, and waits, is sealed, measured, counted and captured in the same way. It keeps
/// nothing alive and borrows nothing: each launch is given its tensors.
///
/// With counts that are no literals, launching allocates nothing on the heap, hashes nothing and takes no lock but, for
/// reading, the one that keeps memory in order between streams. A list of tensors that no launch had before, of other places,
/// extents or strides, is an exception on a GPU, of ordinary launches too: its table is made and copied. Another one than in
/// the launch before is hashed and looked up under a lock. And once several launches in a row had the same extents and strides,
/// what these leave of the conditions is worked out, which allocates.
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
    words: KeptWords,
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

/// The allocation, whose it is, and the first byte in it.
#[derive(PartialEq)]
struct SeenPlace {
    start: u64,
    len: u64,
    /// Memory of others may be lent by two streams at once, each to be ordered with its own.
    owner: Option<usize>,
    offset: u64,
}

/// How much of a call is as in the one that was checked last, the values of counts and scalars apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alike {
    Nothing,
    /// All but where memory lies.
    Shapes,
    /// All that is checked.
    Places,
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
            words: KeptWords::default(),
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
        let launched = self.put(&call, None, started)?;
        call.recycle();
        Ok(launched)
    }

    /// Launches a call of the prepared class on a stream of the same device.
    ///
    /// # Errors
    /// As for [`Prepared::launch`]; [`LaunchError::OtherClass`] also for a stream of another device.
    pub fn launch_on(&mut self, call: Call<'_>, stream: &Stream) -> Result<Launched, LaunchError> {
        let started = Instant::now();
        self.check_stream(&call, stream)?;
        self.check(&call)?;
        let launched = self.put(&call, Some(stream), started)?;
        call.recycle();
        Ok(launched)
    }

    /// Launches a call that was checked; on the device's own stream if on no other.
    pub(super) fn put(
        &mut self,
        call: &Call<'_>,
        stream: Option<&Stream>,
        started: Instant,
    ) -> Result<Launched, LaunchError> {
        let stream = stream.unwrap_or(&self.stream);
        let specializer = stream.device().specializer();
        let plan = specializer.plan_at(&mut self.site, call, &|| goes_into_graph(stream))?;
        put(call, plan, stream, Some(&mut self.words), started)
    }

    pub(super) fn check_stream(&self, call: &Call<'_>, stream: &Stream) -> Result<(), LaunchError> {
        match stream.device().is(self.stream.device()) {
            true => Ok(()),
            false => Err(LaunchError::OtherClass {
                kernel: call.definition().name(),
                prepared: self.site.name().to_owned(),
                reason: format!(
                    "it was prepared for {}, of which the stream is none",
                    self.stream.device()
                ),
            }),
        }
    }

    pub(super) fn check(&mut self, call: &Call<'_>) -> Result<(), LaunchError> {
        let alike = self.alike(call);
        let is_same = alike == Alike::Places;
        if !is_same {
            check(call, self.stream.device())?;
        }
        self.site.check(call, is_same)?;
        if !is_same {
            self.see(call);
        }
        self.site.next(call, alike >= Alike::Shapes);
        Ok(())
    }

    /// Whether a call that differs from one that was checked in the values of its counts alone is of the prepared class.
    pub(super) fn has_counts_of(&self, call: &Call<'_>) -> bool {
        self.site.has_counts_of(call)
    }

    /// All launches to come are over the tensors of this call.
    pub(super) fn settle_shapes(&mut self, call: &Call<'_>) {
        self.site.settle_shapes(call);
    }

    fn see(&mut self, call: &Call<'_>) {
        self.words.clear();
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

    fn alike(&self, call: &Call<'_>) -> Alike {
        let device = self.stream.device();
        let mut seen = self.seen.iter();
        let mut alike = Alike::Places;
        for argument in call.arguments() {
            let found = match argument {
                ArgumentValue::Tensor(tensor) => alike_tensors(seen.next(), tensor, device),
                ArgumentValue::List(list) => {
                    let found = Seen::List(list.element, list.rank, list.mutable, list.tensors.len());
                    if seen.next() != Some(&found) {
                        return Alike::Nothing;
                    }
                    let tensors = list.tensors.iter();
                    let each = tensors.map(|tensor| alike_tensors(seen.next(), tensor, device));
                    each.fold(Alike::Places, Alike::min)
                }
                ArgumentValue::Count(CountArgument::Exact(value)) => match seen.next() {
                    Some(Seen::Count { is_exact: true }) if is_count(*value) => Alike::Places,
                    _ => Alike::Nothing,
                },
                ArgumentValue::Count(CountArgument::Runtime(value)) => match seen.next() {
                    Some(Seen::Count { is_exact: false }) if is_count(*value) => Alike::Places,
                    _ => Alike::Nothing,
                },
                ArgumentValue::Count(CountArgument::Device {
                    memory,
                    offset,
                    element,
                    maximum,
                }) => match seen.next() {
                    Some(Seen::DeviceCount(of, place)) if of == element && is_count(*maximum) => {
                        place.alike(*memory, *offset, device)
                    }
                    _ => Alike::Nothing,
                },
                ArgumentValue::Scalar(literal) => match seen.next() {
                    Some(Seen::Scalar(element)) if *element == literal.element => Alike::Places,
                    _ => Alike::Nothing,
                },
            };
            alike = alike.min(found);
            if alike == Alike::Nothing {
                return alike;
            }
        }
        match seen.next() {
            None => alike,
            Some(_) => Alike::Nothing,
        }
    }
}

fn alike_tensors(seen: Option<&Seen>, tensor: &TensorArgument<'_>, device: &Device) -> Alike {
    match seen {
        Some(Seen::Tensor(seen)) if seen.is_shaped_as(tensor) => seen.place.alike(tensor.memory, tensor.offset, device),
        _ => Alike::Nothing,
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

    fn is_shaped_as(&self, tensor: &TensorArgument<'_>) -> bool {
        self.element == tensor.element
            && self.mutable == tensor.mutable
            && are_equal(&self.extents, &tensor.extents)
            && are_equal(&self.strides, &tensor.strides)
    }
}

/// As `==`, which calls the C library for the few numbers that there are.
fn are_equal<T: PartialEq>(left: &[T], right: &[T]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left == right)
}

impl SeenPlace {
    /// Of memory of another runtime, a place that no memory is at.
    fn of(memory: &dyn Memory, offset: u64) -> Self {
        let (start, len, owner) = Storage::of(memory).map_or((u64::MAX, u64::MAX, None), |storage| {
            (storage.address(), storage.len(), storage.owner())
        });
        Self {
            start,
            len,
            owner,
            offset,
        }
    }

    fn alike(&self, memory: &dyn Memory, offset: u64, device: &Device) -> Alike {
        let is_there = |storage: &Storage| {
            self.start == storage.address()
                && self.len == storage.len()
                && self.owner == storage.owner()
                && self.offset == offset
                && storage.hardware().shares_memory_with(device.hardware())
        };
        match Storage::of(memory).is_some_and(is_there) {
            true => Alike::Places,
            false => Alike::Shapes,
        }
    }
}
