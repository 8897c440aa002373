//! A kernel as the host sees it: its definition, the arguments of one launch, and the call that joins them.
//!
//! The expansion of `#[kernel]` makes a [`Call`]; a runtime launches it. What this module knows of memory is only what
//! the [`Memory`] trait says, so that any runtime can stand below it.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrayvec::ArrayVec;

use crate::element::ElementType;
use crate::ir::{Kernel, Layout, Literal, ParameterKind, Span, Symbol, verify};
use crate::lang::TraceError;
use crate::schedule::Schedule;
use crate::transform::fuse;

/// The most tensors, counts and scalars that one kernel takes, array parameters counted element by element.
pub const MAX_PARAMETERS: usize = 256;

/// A kernel before tracing: its name, its compile-time arguments, and how to record its body.
///
/// `definition()` of the type that `#[kernel]` makes beside the function returns one:
///
/// ```
/// use tilewright_dsl::{kernel, lang::*};
///
/// #[kernel(grid = [out.extent(0)])]
/// fn zero_rows(out: &mut Tensor<f32, 2>) {
///     let cols = arange(out.extent(1));
///     out.store([program_id(0), cols], 0.0);
/// }
///
/// assert_eq!(zero_rows::definition().name(), "zero_rows");
/// ```
#[derive(Debug, Clone)]
pub struct Definition {
    name: &'static str,
    identity: TypeId,
    comptime: ArrayVec<ComptimeValue, 8>,
    recording: Recording,
    file: &'static str,
    line: u32,
}

/// Where the IR of a definition comes from.
#[derive(Debug, Clone)]
enum Recording {
    /// It is recorded by running the staged body.
    Body(fn(&[ComptimeValue])),
    /// It is there.
    Done(Arc<Traced>),
    /// Those of several, side by side.
    Fused(Arc<[Part]>),
}

/// A kernel that is fused with others.
#[derive(Debug, Clone)]
struct Part {
    definition: Definition,
    /// How many of the arguments are its own.
    parameters: usize,
}

/// The value of a `#[comptime]` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComptimeValue {
    /// An integer of any type.
    Integer(i128),
    /// A bool.
    Bool(bool),
    /// A float, as the bits of an `f64`.
    Float(u64),
}

/// A type that `#[comptime]` parameters can have: `usize`, `bool`, `f32`, `f64` and the fixed-width integers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a `#[comptime]` parameter",
    note = "compile-time parameters are usize, bool, f32, f64 or fixed-width integers"
)]
pub trait Comptime: Copy + 'static {
    /// The value, as a key.
    fn into_value(self) -> ComptimeValue;
    /// The value that [`Comptime::into_value`] made the key from.
    fn from_value(value: ComptimeValue) -> Self;
}

macro_rules! comptime_integers {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Comptime for $ty {
            fn into_value(self) -> ComptimeValue {
                ComptimeValue::Integer(self as i128)
            }
            fn from_value(value: ComptimeValue) -> Self {
                match value {
                    ComptimeValue::Integer(v) => v as $ty,
                    ComptimeValue::Bool(v) => v as $ty,
                    ComptimeValue::Float(v) => f64::from_bits(v) as $ty,
                }
            }
        }
    )*};
}
comptime_integers!(usize, i8, i16, i32, i64, u8, u16, u32, u64);

#[diagnostic::do_not_recommend]
impl Comptime for bool {
    fn into_value(self) -> ComptimeValue {
        ComptimeValue::Bool(self)
    }
    fn from_value(value: ComptimeValue) -> Self {
        matches!(value, ComptimeValue::Bool(true))
    }
}

macro_rules! comptime_floats {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Comptime for $ty {
            fn into_value(self) -> ComptimeValue {
                ComptimeValue::Float((self as f64).to_bits())
            }
            fn from_value(value: ComptimeValue) -> Self {
                match value {
                    ComptimeValue::Float(v) => f64::from_bits(v) as $ty,
                    ComptimeValue::Integer(v) => v as $ty,
                    ComptimeValue::Bool(v) => v as u8 as $ty,
                }
            }
        }
    )*};
}
comptime_floats!(f32, f64);

/// What a trace may rely on: the facts about each parameter that hold for every launch of the traced class.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TraceRequest {
    /// One entry per parameter, array parameters element by element.
    pub parameters: Vec<ParameterFacts>,
}

/// What is known about one parameter when a kernel is traced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ParameterFacts {
    /// A tensor.
    Tensor(TensorFacts),
    /// A count or any other scalar: nothing.
    Value,
}

/// What is known about a tensor when a kernel is traced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorFacts {
    /// The extents of the launch at hand. Only those that shape a tile become part of the class.
    pub extents: ArrayVec<u64, 4>,
    /// How strides relate to extents.
    pub layout: Layout,
    /// The largest power of two, up to 16, that divides the address of the first element.
    pub alignment: u32,
}

impl TensorFacts {
    /// A row-major tensor without gaps whose first element is 16-byte aligned.
    pub fn contiguous(extents: &[u64]) -> Self {
        Self {
            extents: extents.iter().copied().take(4).collect(),
            layout: Layout::Contiguous,
            alignment: 16,
        }
    }
}

/// A recorded kernel and what its shape depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// The kernel, verified.
    pub kernel: Kernel,
    /// The extents and strides that shaped a tile or a compile-time decision, with the values they had. The kernel
    /// serves exactly the launches that agree with them.
    pub pinned: Vec<(Symbol, i64)>,
}

impl Traced {
    /// The extents that are literals in every variant of this class, given the extents of the launch at hand: the pinned
    /// ones, and every other inner extent that equals a pinned one. The rows of a destination are usually as long as
    /// those of the source that shaped the tile; saying so makes addresses and alignment known.
    pub fn literal_extents(&self, launch: &TraceRequest) -> Vec<(Symbol, i64)> {
        let mut literals = self.pinned.clone();
        for (position, facts) in launch.parameters.iter().enumerate() {
            let ParameterFacts::Tensor(facts) = facts else { continue };
            for (axis, &extent) in facts.extents.iter().enumerate().skip(1) {
                let symbol = Symbol::Extent {
                    tensor: position as u32,
                    axis: axis as u8,
                };
                let value = extent.min(i64::MAX as u64) as i64;
                if self.pinned.iter().any(|(_, pinned)| *pinned == value) {
                    literals.push((symbol, value));
                }
            }
        }
        literals.sort_unstable();
        literals.dedup();
        literals
    }
}

impl Definition {
    /// Used by the expansion of `#[kernel]`. `K` is the type made for the kernel, generics included.
    #[doc(hidden)]
    pub fn new<K: 'static>(
        name: &'static str,
        file: &'static str,
        line: u32,
        comptime: &[ComptimeValue],
        record: fn(&[ComptimeValue]),
    ) -> Self {
        Self {
            name,
            identity: TypeId::of::<K>(),
            comptime: comptime.iter().copied().take(8).collect(),
            recording: Recording::Body(record),
            file,
            line,
        }
    }

    /// A kernel that is IR already, made by something else than a function marked `#[kernel]`. Every call of this gives a
    /// kernel of its own.
    ///
    /// What the IR says about layouts and alignments of tensors is replaced by what a launch knows of them.
    pub fn of_ir(name: &'static str, traced: Traced) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = ComptimeValue::Integer(NEXT.fetch_add(1, Relaxed).into());
        let Span { file, line, .. } = traced.kernel.span;
        Self {
            name,
            identity: TypeId::of::<Traced>(),
            comptime: [number].into_iter().collect(),
            recording: Recording::Done(Arc::new(traced)),
            file,
            line,
        }
    }

    /// Several kernels as one.
    #[track_caller]
    fn fused(parts: Vec<Part>) -> Self {
        let here = std::panic::Location::caller();
        let (file, line) = parts
            .first()
            .map_or((here.file(), here.line()), |part| part.definition.location());
        Self {
            name: "fused",
            identity: TypeId::of::<Part>(),
            comptime: ArrayVec::new(),
            recording: Recording::Fused(parts.into()),
            file,
            line,
        }
    }

    /// The name of the author's function; `fused` of [several](Call::fuse).
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The file and line of the author's function.
    pub fn location(&self) -> (&'static str, u32) {
        (self.file, self.line)
    }

    /// What tells this definition from every other in the process: the kernel with its generic arguments, and the
    /// values of its compile-time parameters; of [fused](Call::fuse) kernels, those of each.
    pub fn identity(&self) -> impl Iterator<Item = (TypeId, &[ComptimeValue])> {
        let parts = match &self.recording {
            Recording::Fused(parts) => &parts[..],
            Recording::Body(_) | Recording::Done(_) => &[],
        };
        let all = std::iter::once(self).chain(parts.iter().map(|part| &part.definition));
        all.map(|definition| (definition.identity, &definition.comptime[..]))
    }

    /// Records the kernel for the launches that `request` describes, and verifies what was recorded.
    ///
    /// # Errors
    /// What only shows for concrete extents: shapes that do not broadcast, a tile shaped by a value that is unknown
    /// until launch, a loop that cannot be unrolled. The error names the kernel, the file and the line.
    pub fn trace(&self, request: &TraceRequest) -> Result<Traced, TraceError> {
        match &self.recording {
            Recording::Body(record) => {
                crate::lang::record(self.name, self.file, self.line, request, || record(&self.comptime))
            }
            Recording::Done(traced) => self.adapted(traced, request),
            Recording::Fused(parts) => self.trace_fused(parts, request),
        }
    }

    fn trace_fused(&self, parts: &[Part], request: &TraceRequest) -> Result<Traced, TraceError> {
        let mut facts = request.parameters.iter().cloned();
        let traced = parts.iter().map(|part| {
            let parameters = facts.by_ref().take(part.parameters).collect();
            part.definition.trace(&TraceRequest { parameters })
        });
        let traced = fuse(&traced.collect::<Result<Vec<_>, _>>()?);
        self.verified(traced)
    }

    fn verified(&self, traced: Traced) -> Result<Traced, TraceError> {
        verify::verify(&traced.kernel).map_err(|error| TraceError {
            kernel: self.name.to_owned(),
            message: error.to_string(),
            span: error.span,
            advice: None,
        })?;
        Ok(traced)
    }

    /// `traced` with what `request` says about its tensors.
    fn adapted(&self, traced: &Traced, request: &TraceRequest) -> Result<Traced, TraceError> {
        let mut traced = traced.clone();
        for (parameter, facts) in traced.kernel.parameters.iter_mut().zip(&request.parameters) {
            if let (ParameterKind::Tensor(tensor), ParameterFacts::Tensor(facts)) = (&mut parameter.kind, facts) {
                tensor.layout = facts.layout;
                tensor.alignment = facts.alignment.max(tensor.element.size() as u32);
            }
        }
        self.verified(traced)
    }
}

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

/// The argument of a count parameter, and how the count is bound.
#[derive(Clone)]
pub enum CountArgument<'a> {
    /// A literal in the code of the variant that serves the launch.
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

/// One argument of a launch.
#[derive(Clone)]
pub enum ArgumentValue<'a> {
    /// A tensor.
    Tensor(TensorArgument<'a>),
    /// A count.
    Count(CountArgument<'a>),
    /// Any other scalar.
    Scalar(Literal),
}

/// The arguments of a launch, in the order of the parameters.
#[derive(Clone, Default)]
pub struct Arguments<'a> {
    values: Vec<ArgumentValue<'a>>,
}

impl<'a> Arguments<'a> {
    /// No arguments yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an argument.
    pub fn push(&mut self, value: ArgumentValue<'a>) {
        self.values.push(value);
    }

    /// The arguments in order.
    pub fn values(&self) -> &[ArgumentValue<'a>] {
        &self.values
    }
}

/// A value that can be passed for a kernel parameter written as the type `P`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed for a kernel parameter of type `{P}`",
    note = "element type, rank and mutability of a tensor must be the parameter's; a mutable parameter takes `&mut`"
)]
pub trait Argument<'a, P> {
    /// Appends the value to the arguments of a launch.
    fn push(self, arguments: &mut Arguments<'a>);
}

#[diagnostic::do_not_recommend]
impl<'a, P, A: Argument<'a, P>, const N: usize> Argument<'a, [P; N]> for [A; N] {
    fn push(self, arguments: &mut Arguments<'a>) {
        self.into_iter().for_each(|argument| argument.push(arguments));
    }
}

/// A count bound as a literal: the launch is served by a variant with this value in its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exact(pub u64);

/// A count bound as a kernel argument: the launch is served by a variant for every value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime(pub u64);

/// The largest count: 2^40. Products of a few counts and strides below it cannot overflow 64 bits.
pub const MAX_COUNT: u64 = 1 << 40;

fn saturate(count: u64) -> i64 {
    // A count over MAX_COUNT is refused when the launch is checked; here it only has to stay too large.
    count.min(i64::MAX as u64) as i64
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<'a, crate::lang::Count> for Exact {
    fn push(self, arguments: &mut Arguments<'a>) {
        arguments.push(ArgumentValue::Count(CountArgument::Exact(saturate(self.0))));
    }
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<'a, crate::lang::Count> for Runtime {
    fn push(self, arguments: &mut Arguments<'a>) {
        arguments.push(ArgumentValue::Count(CountArgument::Runtime(saturate(self.0))));
    }
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<'a, crate::lang::Count> for CountArgument<'a> {
    fn push(self, arguments: &mut Arguments<'a>) {
        arguments.push(ArgumentValue::Count(self));
    }
}

macro_rules! scalar_arguments {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<'a> Argument<'a, $ty> for $ty {
            fn push(self, arguments: &mut Arguments<'a>) {
                arguments.push(ArgumentValue::Scalar(Literal::new(self)));
            }
        }
    )*};
}
scalar_arguments!(
    bool,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    half::f16,
    half::bf16,
    f32,
    f64
);

/// How the extents and strides of a launch's tensors are bound, where they are not part of the variant's class anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Binding {
    /// As literals in the code.
    Exact,
    /// As kernel arguments.
    #[default]
    Runtime,
}

/// A kernel with its arguments, ready to be launched by a runtime.
#[must_use = "a call does nothing until it is launched"]
#[derive(Clone)]
pub struct Call<'a> {
    definition: Definition,
    arguments: Arguments<'a>,
    extents: Binding,
    schedule: Option<Schedule>,
    checked: bool,
    reports: bool,
    overlapping: bool,
}

impl<'a> Call<'a> {
    /// Joins a kernel and its arguments. The expansion of `#[kernel]` guarantees that they fit each other.
    #[doc(hidden)]
    pub fn new(definition: Definition, arguments: Arguments<'a>) -> Self {
        Self {
            definition,
            arguments,
            extents: Binding::default(),
            schedule: None,
            checked: false,
            reports: false,
            overlapping: false,
        }
    }

    /// All of `calls` as one: a launch of it does what launching each of them does, side by side and in no order.
    ///
    /// * Its programs are those of all calls; a block of threads looks for the call that its number belongs to. So many small
    ///   launches cost as much as one (*horizontal fusion*).
    /// * As within any launch, what one call writes may share no memory with what another reads or writes.
    /// * A call whose grid depends on a count in device memory has as many programs as the count says when it runs.
    /// * Checked builds, reports, exact extents and [overlapping](Call::overlapping) are asked of all if they are asked of one;
    ///   to overlap, all must begin with the wait. A schedule is for the call that it was made for, so the result has none.
    ///
    /// ```
    /// use tilewright_dsl::call::{Argument, Arguments, Call, Exact};
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// #[kernel(grid = [programs])]
    /// fn greet(programs: Count) {
    ///     device_print("{} of {}", (program_id(0), programs));
    /// }
    ///
    /// let both = Call::fuse([greet(Exact(3)), greet(Exact(2))]);
    /// assert_eq!(both.arguments().len(), 2);
    /// ```
    #[track_caller]
    pub fn fuse(calls: impl IntoIterator<Item = Self>) -> Self {
        let (mut parts, mut all) = (Vec::new(), Vec::new());
        let mut fused = Self::new(Definition::fused(Vec::new()), Arguments::new());
        for call in calls {
            let parameters = call.arguments.values.len();
            all.extend(call.arguments.values);
            match &call.definition.recording {
                Recording::Fused(inner) => parts.extend(inner.iter().cloned()),
                Recording::Body(_) | Recording::Done(_) => parts.push(Part {
                    definition: call.definition,
                    parameters,
                }),
            }
            fused.checked |= call.checked;
            fused.reports |= call.reports;
            fused.overlapping |= call.overlapping;
            if call.extents == Binding::Exact {
                fused.extents = Binding::Exact;
            }
        }
        fused.definition = Definition::fused(parts);
        fused.arguments.values = all;
        fused
    }

    /// Binds the extents and strides of all tensors as literals: the launch is served by a variant for exactly these.
    pub fn exact_extents(mut self) -> Self {
        self.extents = Binding::Exact;
        self
    }

    /// Spreads the kernel over threads and blocks of a GPU in this way, instead of the one that
    /// [`choose`](crate::schedule::choose) picks. The result is the same; the CPU device has no use for it.
    ///
    /// The launch is refused if the schedule does not [fit](Schedule::fits) the kernel.
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// Builds the kernel so that it tests what its author claims instead of relying on it: unchecked accesses, assumptions,
    /// multiples and disjoint scatters. What does not hold is reported as an access that traps is, when the device is
    /// synchronised. Results are the same, more slowly. The CPU device tests all of it in any build.
    ///
    /// A disjoint scatter takes a bit of device memory per element of its tensor in every launch, and so cannot be put into
    /// a graph.
    pub fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    /// Reports the first index that is out of bounds whatever the policy, as an access that traps does. The results are those
    /// of the policy: zeros and skipped writes, or the nearest elements.
    pub fn report_out_of_bounds(mut self) -> Self {
        self.reports = true;
        self
    }

    /// Lets the launch begin before the launch before it in the stream has ended: once all programs of that one have
    /// [triggered](crate::lang::trigger_next_launch) or ended. Its programs then [wait](crate::lang::wait_for_previous_launch)
    /// for it to end, so that results are the same; only the start of this launch is hidden behind the end of that one.
    ///
    /// The kernel must begin with the wait: before it there may be triggers, and values that nothing is loaded for, but no
    /// access of memory, branch, check or print. Otherwise the launch is refused. Counts in device memory are read after
    /// the wait.
    ///
    /// It is a plain launch on the CPU device, which refuses the same kernels, and on GPUs below compute capability 9.0 or
    /// with a driver below CUDA 12.3. In a captured graph the two launches are joined by a programmatic edge.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// #[kernel(grid = [out.extent(0)])]
    /// fn double(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>) {
    ///     wait_for_previous_launch();
    ///     trigger_next_launch();
    ///     out.store([program_id(0)], src.load([program_id(0)]) * 2.0);
    /// }
    /// # use tilewright_dsl::analysis::opening::opening;
    /// # use tilewright_dsl::call::*;
    /// # let facts = ParameterFacts::Tensor(TensorFacts::contiguous(&[4]));
    /// # let request = TraceRequest { parameters: vec![facts.clone(), facts] };
    /// # assert!(opening(&double::definition().trace(&request).unwrap().kernel).is_ok());
    /// ```
    ///
    /// `double(&mut out, &src).overlapping().launch(&device)` then launches it so.
    pub fn overlapping(mut self) -> Self {
        self.overlapping = true;
        self
    }

    /// Whether the launch may begin before the launch before it has ended.
    pub fn is_overlapping(&self) -> bool {
        self.overlapping
    }

    /// Whether an index out of bounds is to be reported under every policy.
    pub fn reports_out_of_bounds(&self) -> bool {
        self.reports
    }

    /// Whether a checked build is asked for.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// The kernel.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The arguments.
    pub fn arguments(&self) -> &[ArgumentValue<'a>] {
        self.arguments.values()
    }

    /// The schedule asked for, if one is.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }

    /// How extents and strides are bound.
    pub fn extents(&self) -> Binding {
        self.extents
    }
}
