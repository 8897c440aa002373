//! What was seen of the arguments of a launch, to tell what is not as it was in the next one.

use arrayvec::ArrayVec;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, MAX_COUNT, Memory, TensorArgument};
use tilewright_dsl::element::ElementType;

use super::facts::WIDEST;
use crate::hardware::Hardware;
use crate::hardware::memory::{Storage, StorageId};

/// What is checked of the arguments of a launch, and what its class is told apart by; not the values of scalars, nor those
/// of counts that are small enough.
#[derive(Default)]
pub(crate) struct SeenArguments(Vec<Seen>);

enum Seen {
    Tensor(SeenTensor),
    /// Of so many tensors, which follow.
    List(ElementType, usize, bool, usize),
    Count {
        is_exact: bool,
    },
    DeviceCount(ElementType, SeenPlace),
    Scalar(ElementType),
}

struct SeenTensor {
    element: ElementType,
    mutable: bool,
    place: SeenPlace,
    extents: ArrayVec<u64, 4>,
    strides: ArrayVec<i64, 4>,
}

/// The allocation, whose it is, and the first byte in it.
struct SeenPlace {
    /// `None` of memory of another runtime.
    id: Option<StorageId>,
    start: u64,
    len: u64,
    /// Memory of others may be lent by two streams at once, each to be ordered with its own.
    owner: Option<usize>,
    offset: u64,
}

/// What of a call is as in the one that was seen, the values of counts and scalars apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alike {
    /// What its arguments are, extents and strides among that.
    pub(crate) shapes: bool,
    /// As `shapes`, but for the outermost extents of tensors by themselves.
    pub(crate) inner: bool,
    /// The memory that they lie in.
    pub(crate) memory: bool,
    /// Where they begin in it.
    pub(crate) offsets: bool,
    /// What tells its class apart, extents that are literals apart. Another outermost extent or offset need not change that.
    pub(crate) facts: bool,
}

impl Alike {
    /// All that is checked.
    pub(crate) const ALL: Self = Self {
        shapes: true,
        inner: true,
        memory: true,
        offsets: true,
        facts: true,
    };
    const NOTHING: Self = Self {
        shapes: false,
        inner: false,
        memory: false,
        offsets: false,
        facts: false,
    };

    #[inline]
    fn as_of_list(self) -> Self {
        Self {
            inner: self.shapes,
            facts: self.shapes & self.facts,
            ..self
        }
    }

    #[inline]
    fn and(self, other: Self) -> Self {
        Self {
            shapes: self.shapes & other.shapes,
            inner: self.inner & other.inner,
            memory: self.memory & other.memory,
            offsets: self.offsets & other.offsets,
            facts: self.facts & other.facts,
        }
    }
}

impl SeenArguments {
    /// Sees the arguments of a call, and no longer those of another.
    pub(crate) fn see(&mut self, call: &Call<'_>) {
        let seen = &mut self.0;
        seen.clear();
        for argument in call.arguments() {
            seen.push(match argument {
                ArgumentValue::Tensor(tensor) => Seen::Tensor(SeenTensor::of(tensor)),
                ArgumentValue::List(list) => {
                    seen.push(Seen::List(list.element, list.rank, list.mutable, list.tensors.len()));
                    seen.extend(list.tensors.iter().map(|tensor| Seen::Tensor(SeenTensor::of(tensor))));
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

    /// Sees the arguments of a call that are so much alike those that were seen.
    pub(crate) fn see_next(&mut self, call: &Call<'_>, alike: Alike) {
        match alike.inner && alike.memory {
            true => self.see_rows(call),
            false => self.see(call),
        }
    }

    /// Sees the arguments of a call that differ from those that were seen in outermost extents and offsets at most.
    fn see_rows(&mut self, call: &Call<'_>) {
        let mut seen = self.0.iter_mut();
        for argument in call.arguments() {
            match (argument, seen.next()) {
                (ArgumentValue::Tensor(tensor), Some(Seen::Tensor(seen))) => seen.see_rows(tensor),
                (ArgumentValue::List(list), Some(Seen::List(..))) => {
                    for (tensor, seen) in list.tensors.iter().zip(&mut seen) {
                        if let Seen::Tensor(seen) = seen {
                            seen.see_rows(tensor);
                        }
                    }
                }
                (ArgumentValue::Count(CountArgument::Device { offset, .. }), Some(Seen::DeviceCount(_, place))) => {
                    place.offset = *offset;
                }
                _ => {}
            }
        }
    }

    /// What of the arguments of a call for some hardware is as in those that were seen.
    pub(crate) fn alike(&self, call: &Call<'_>, hardware: &Hardware) -> Alike {
        let mut seen = self.0.iter();
        let mut alike = Alike::ALL;
        for argument in call.arguments() {
            let found = match (argument, seen.next()) {
                (ArgumentValue::Tensor(tensor), Some(Seen::Tensor(seen))) => seen.alike(tensor, hardware),
                (ArgumentValue::List(list), Some(&Seen::List(element, rank, mutable, tensors)))
                    if (list.element, list.rank, list.mutable, list.tensors.len())
                        == (element, rank, mutable, tensors) =>
                {
                    let each = list.tensors.iter().map(|tensor| match seen.next() {
                        // Their rows are no outermost extents: that is how many they are.
                        Some(Seen::Tensor(seen)) => seen.alike(tensor, hardware).as_of_list(),
                        _ => Alike::NOTHING,
                    });
                    each.fold(Alike::ALL, Alike::and)
                }
                (ArgumentValue::Count(CountArgument::Exact(value)), Some(Seen::Count { is_exact: true }))
                | (ArgumentValue::Count(CountArgument::Runtime(value)), Some(Seen::Count { is_exact: false })) => {
                    if_count(*value, || Alike::ALL)
                }
                (
                    ArgumentValue::Count(CountArgument::Device {
                        memory,
                        offset,
                        element,
                        maximum,
                    }),
                    Some(Seen::DeviceCount(of, place)),
                ) if of == element => if_count(*maximum, || place.alike(*memory, *offset, hardware)),
                (ArgumentValue::Scalar(literal), Some(Seen::Scalar(element))) if *element == literal.element => {
                    Alike::ALL
                }
                _ => Alike::NOTHING,
            };
            alike = alike.and(found);
            if alike == Alike::NOTHING {
                return alike;
            }
        }
        match seen.next() {
            None => alike,
            Some(_) => Alike::NOTHING,
        }
    }
}

fn if_count(value: i64, alike: impl FnOnce() -> Alike) -> Alike {
    match u64::try_from(value) {
        Ok(0..=MAX_COUNT) => alike(),
        _ => Alike::NOTHING,
    }
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

    fn see_rows(&mut self, tensor: &TensorArgument<'_>) {
        self.place.offset = tensor.offset;
        if let (Some(rows), Some(now)) = (self.extents.first_mut(), tensor.extents.first()) {
            *rows = *now;
        }
    }

    #[inline]
    fn alike(&self, tensor: &TensorArgument<'_>, hardware: &Hardware) -> Alike {
        let inner = self.element == tensor.element
            && self.mutable == tensor.mutable
            && are_alike((&self.extents, &self.strides), (&tensor.extents, &tensor.strides));
        let (rows, now) = (self.extents.first(), tensor.extents.first());
        let place = self.place.alike(tensor.memory, tensor.offset, hardware);
        Alike {
            shapes: inner && rows == now,
            inner,
            // The layout of no element or one on an axis is not that of several; of several it is by the strides.
            facts: inner && place.facts && (rows == now || rows.min(now) >= Some(&2)),
            ..place
        }
    }
}

/// Whether two shapes differ in the outermost extents at most. `==` calls the C library for the few numbers that there are.
#[inline]
fn are_alike((extents, strides): (&[u64], &[i64]), (now, strides_now): (&[u64], &[i64])) -> bool {
    let rank = extents.len();
    (strides.len(), now.len(), strides_now.len()) == (rank, rank, rank)
        && (1..rank).all(|axis| extents[axis] == now[axis])
        && (0..rank).all(|axis| strides[axis] == strides_now[axis])
}

impl SeenPlace {
    /// Of memory of another runtime, a place that no memory is at.
    fn of(memory: &dyn Memory, offset: u64) -> Self {
        let storage = Storage::of(memory);
        let (start, len, owner) = storage.map_or((u64::MAX, u64::MAX, None), |storage| {
            (storage.address(), storage.len(), storage.owner())
        });
        Self {
            id: storage.map(Storage::id),
            start,
            len,
            owner,
            offset,
        }
    }

    #[inline]
    fn alike(&self, memory: &dyn Memory, offset: u64, hardware: &Hardware) -> Alike {
        let is_it = |storage: &Storage| {
            let is_the_same = self.id.as_ref().is_some_and(|id| storage.is(id));
            is_the_same || self.is_of(storage, hardware)
        };
        let memory = Storage::of(memory).is_some_and(is_it);
        Alike {
            shapes: true,
            inner: true,
            memory,
            offsets: self.offset == offset,
            facts: memory && (self.offset ^ offset).is_multiple_of(WIDEST),
        }
    }

    /// Whether another allocation is in the same place, as memory of others that is borrowed once more is.
    #[cold]
    fn is_of(&self, storage: &Storage, hardware: &Hardware) -> bool {
        self.start == storage.address()
            && self.len == storage.len()
            && self.owner == storage.owner()
            && storage.hardware().shares_memory_with(hardware)
    }
}
