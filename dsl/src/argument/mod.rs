//! The arguments of a launch, and what may be passed for a parameter.

mod comptime;

pub use comptime::{Comptime, ComptimeValue};

use std::any::Any;
use std::cell::RefCell;
use std::thread::LocalKey;

use arrayvec::ArrayVec;

use crate::element::{Element, ElementType};
use crate::ir::{Literal, canonical_strides};

/// Device memory, as much of it as argument checking needs. Runtimes downcast it to their own type.
pub trait Memory: Any + Send + Sync {
    /// The memory as the runtime's own type.
    fn as_any(&self) -> &dyn Any;
}

/// The argument of a tensor parameter: a region of memory with a shape.
#[derive(Clone)]
pub struct TensorArgument<'a> {
    /// The element type.
    pub element: ElementType,
    /// Whether the kernel may write it.
    pub mutable: bool,
    /// The extents, outermost first.
    pub extents: ArrayVec<u64, 4>,
    /// The distance in elements between neighbours on each axis.
    pub strides: ArrayVec<i64, 4>,
    /// The memory the tensor lies in.
    pub memory: &'a dyn Memory,
    /// Bytes from the start of the memory to the first element.
    pub offset: u64,
}

impl TensorArgument<'_> {
    fn with_memory(self, memory: &dyn Memory) -> TensorArgument<'_> {
        TensorArgument {
            element: self.element,
            mutable: self.mutable,
            extents: self.extents,
            strides: self.strides,
            memory,
            offset: self.offset,
        }
    }
}

/// The argument of a list: tensors of one element type, rank and mutability.
#[derive(Clone)]
pub struct ListArgument<'a> {
    /// The element type.
    pub element: ElementType,
    /// The number of axes of each tensor.
    pub rank: usize,
    /// Whether the kernel may write them.
    pub mutable: bool,
    /// The tensors.
    pub tensors: Vec<TensorArgument<'a>>,
}

/// The argument of a count parameter, and how the count is bound.
#[derive(Clone)]
pub enum CountArgument<'a> {
    /// A value that may become a literal in the code: how, the call's [`Specialize`](crate::call::Specialize) says.
    Exact(i64),
    /// A kernel argument.
    Runtime(i64),
    /// Read from device memory by every program, so that a captured graph sees new values.
    Device {
        /// The memory that holds the count.
        memory: &'a dyn Memory,
        /// Bytes from the start of the memory to the count.
        offset: u64,
        /// The type of the count in memory: i32 or i64.
        element: ElementType,
        /// The largest value the count may have; it sizes the grid. A larger or negative value in memory is clamped.
        maximum: i64,
    },
}

impl<'a> CountArgument<'a> {
    fn with_memory<'b>(
        self,
        mut memory: impl FnMut(&'a dyn Memory) -> Option<&'b dyn Memory>,
    ) -> Option<CountArgument<'b>> {
        Some(match self {
            Self::Exact(value) => CountArgument::Exact(value),
            Self::Runtime(value) => CountArgument::Runtime(value),
            Self::Device {
                memory: of,
                offset,
                element,
                maximum,
            } => CountArgument::Device {
                memory: memory(of)?,
                offset,
                element,
                maximum,
            },
        })
    }
}

/// A count that the host knows, and how it is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostCount {
    /// As [`CountArgument::Exact`].
    Exact(u64),
    /// As [`CountArgument::Runtime`].
    Runtime(u64),
}

impl HostCount {
    /// The value.
    pub fn value(self) -> u64 {
        match self {
            Self::Exact(value) | Self::Runtime(value) => value,
        }
    }
}

impl From<HostCount> for CountArgument<'_> {
    /// A count over [`MAX_COUNT`](crate::limits::MAX_COUNT) is refused when the launch is checked; here it only stays too large.
    fn from(count: HostCount) -> Self {
        match count {
            HostCount::Exact(value) => Self::Exact(saturated(value)),
            HostCount::Runtime(value) => Self::Runtime(saturated(value)),
        }
    }
}

fn saturated(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// One argument of a launch.
#[derive(Clone)]
pub enum ArgumentValue<'a> {
    /// A tensor.
    Tensor(TensorArgument<'a>),
    /// A list of tensors.
    List(ListArgument<'a>),
    /// A count.
    Count(CountArgument<'a>),
    /// Any other scalar.
    Scalar(Literal),
}

/// The arguments of a launch, in the order of the parameters.
#[derive(Clone, Default)]
pub struct Arguments<'a> {
    values: Vec<ArgumentValue<'a>>,
    /// Whether there are lists among them.
    has_lists: bool,
}

/// Room for the arguments of so many calls is kept by each thread: as many as are made before they are fused.
const MAX_SPARE: usize = 16;

thread_local! {
    /// The room of arguments that were launched, for those of the next launches.
    static SPARE: RefCell<Vec<Vec<ArgumentValue<'static>>>> = const { RefCell::new(Vec::new()) };
    /// The room of their lists.
    static SPARE_LISTS: RefCell<Vec<Vec<TensorArgument<'static>>>> = const { RefCell::new(Vec::new()) };
}

/// Leaves the room of a vector to the next ones of this thread. `U` is `T` for as long as the program runs.
fn leave<T, U>(mut all: Vec<T>, spare: &'static LocalKey<RefCell<Vec<Vec<U>>>>) {
    all.clear();
    // Collected in place: nothing is left that would have to live as long as it did.
    let room: Vec<U> = all.into_iter().map_while(|_| None).collect();
    // A thread that ends keeps none.
    let _ = spare.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.push(room);
        }
    });
}

impl<'a> Arguments<'a> {
    /// No arguments yet.
    pub fn new() -> Self {
        // A thread that ends has none to spare.
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        Self {
            values: spare.unwrap_or_default(),
            has_lists: false,
        }
    }

    /// Leaves their room to the next arguments that are made in this thread, so that launching again allocates nothing.
    pub(super) fn recycle(mut self) {
        if self.has_lists {
            for value in &mut self.values {
                if let ArgumentValue::List(list) = value {
                    leave(std::mem::take(&mut list.tensors), &SPARE_LISTS);
                }
            }
        }
        leave(self.values, &SPARE);
    }

    /// The tensors among them, as one list.
    pub(crate) fn into_list(mut self, element: ElementType, rank: usize, mutable: bool) -> ListArgument<'a> {
        let spare = SPARE_LISTS.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        let mut tensors: Vec<TensorArgument<'a>> = spare.unwrap_or_default();
        for value in self.values.drain(..) {
            if let ArgumentValue::Tensor(tensor) = value {
                tensors.push(tensor);
            }
        }
        self.recycle();
        ListArgument {
            element,
            rank,
            mutable,
            tensors,
        }
    }

    /// None yet, with room for those of so many calls.
    pub(super) fn with_room_for(calls: usize) -> Self {
        const EACH: usize = 4;
        let mut arguments = Self::new();
        arguments.values.reserve(EACH * calls);
        arguments
    }

    /// Appends an argument that is made by hand: what no [`Argument`] has lent.
    ///
    /// # Safety
    /// What a launch may do with it belongs to whoever makes it, for as long as `'a`: a tensor that says that it is mutable is
    /// borrowed by nobody else, and all elements of a tensor, of those of a list and of a count lie in what was borrowed. A
    /// launch checks that they are within their memory, of whatever else that holds.
    #[allow(unsafe_code)] // Declares a duty of the caller; nothing here is unsafe.
    #[inline]
    pub unsafe fn push(&mut self, value: ArgumentValue<'a>) {
        self.lend(value);
    }

    /// Appends an argument. Of a tensor, strides without meaning become [canonical](canonical_strides).
    #[inline]
    pub(crate) fn lend(&mut self, mut value: ArgumentValue<'a>) {
        match &mut value {
            ArgumentValue::Tensor(tensor) => {
                // Others have a meaning.
                if tensor.extents.iter().any(|extent| *extent < 2) {
                    canonical_strides(&tensor.extents, &mut tensor.strides);
                }
            }
            ArgumentValue::List(_) => self.has_lists = true,
            ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => {}
        }
        self.values.push(value);
    }

    /// Appends the arguments of another launch.
    pub(super) fn append(&mut self, mut other: Self) {
        self.values.append(&mut other.values);
        self.has_lists |= std::mem::take(&mut other.has_lists);
        other.recycle();
    }

    /// Replaces a count that the host knows.
    pub(super) fn set_count(&mut self, position: usize, count: HostCount) {
        if let Some(ArgumentValue::Count(value @ (CountArgument::Exact(_) | CountArgument::Runtime(_)))) =
            self.values.get_mut(position)
        {
            *value = count.into();
        }
    }

    /// Replaces the value of a count that the host knows.
    #[inline]
    pub(super) fn set_value(&mut self, position: usize, value: u64) {
        if let Some(ArgumentValue::Count(CountArgument::Exact(count) | CountArgument::Runtime(count))) =
            self.values.get_mut(position)
        {
            *count = saturated(value);
        }
    }

    pub(super) fn with_memory<'b>(
        self,
        mut memory: impl FnMut(&'a dyn Memory) -> Option<&'b dyn Memory>,
    ) -> Option<Arguments<'b>> {
        let mut values = Vec::with_capacity(self.values.len());
        for value in self.values {
            let mut tensor = |tensor: TensorArgument<'a>| {
                let memory = memory(tensor.memory)?;
                Some(tensor.with_memory(memory))
            };
            values.push(match value {
                ArgumentValue::Tensor(one) => ArgumentValue::Tensor(tensor(one)?),
                ArgumentValue::List(list) => ArgumentValue::List(ListArgument {
                    element: list.element,
                    rank: list.rank,
                    mutable: list.mutable,
                    tensors: list.tensors.into_iter().map(&mut tensor).collect::<Option<_>>()?,
                }),
                ArgumentValue::Count(count) => ArgumentValue::Count(count.with_memory(&mut memory)?),
                ArgumentValue::Scalar(literal) => ArgumentValue::Scalar(literal),
            });
        }
        Some(Arguments {
            values,
            has_lists: self.has_lists,
        })
    }

    /// The arguments in order.
    #[inline]
    pub fn values(&self) -> &[ArgumentValue<'a>] {
        &self.values
    }
}

/// A value that can be passed for a kernel parameter written as the type `P`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed for a kernel parameter of type `{P}`",
    note = "a `Count` is `Exact(5)`, whose value is in the code, or `Runtime(5)`, one code for all values, or read on the device, `device_count`; numbers have the parameter's own type: `2.0f32`",
    note = "a tensor has the parameter's element type, rank and mutability: `&mut out`, `&src`",
    note = "a kernel is launched and not called by another; what kernels share is a `#[device]` function"
)]
pub trait Argument<'a, P> {
    /// Appends the value to the arguments of a launch.
    fn pass(self, arguments: &mut Arguments<'a>);
}

#[diagnostic::do_not_recommend]
impl<'a, P, A: Argument<'a, P>, const N: usize> Argument<'a, [P; N]> for [A; N] {
    fn pass(self, arguments: &mut Arguments<'a>) {
        self.into_iter().for_each(|argument| argument.pass(arguments));
    }
}

/// The tensors of all ranks, in their order, and the number of the rank whose launch this is: what is passed for
/// [`PeerTensors`](crate::lang::PeerTensors). Lists are passed as [`TensorList`](crate::lang::TensorList)s are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfRank<L>(pub usize, pub L);

/// A count that may become a literal: the launch is served by a variant with this value in its code as soon as
/// [`Specialize`](crate::call::Specialize) allows, or by one for every value. It may shape a tile, as no other count can:
/// `arange(block)`. Then it is a literal in any variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exact(pub u64);

/// A count bound as a kernel argument: the launch is served by a variant for every value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime(pub u64);

#[diagnostic::do_not_recommend]
impl<'a, T: Element> Argument<'a, T> for T {
    fn pass(self, arguments: &mut Arguments<'a>) {
        arguments.lend(ArgumentValue::Scalar(Literal::new(self)));
    }
}
