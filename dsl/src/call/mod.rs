//! A kernel as the host sees it: its definition, the arguments of one launch, and the call that joins them.
//!
//! The expansion of `#[kernel]` makes a [`Call`]; a runtime launches it. What this module knows of memory is only what
//! the [`Memory`] trait says, so that any runtime can stand below it.

mod definition;

pub use crate::argument::{
    Argument, ArgumentValue, Arguments, Comptime, ComptimeValue, CountArgument, Exact, HostCount, ListArgument, Memory,
    OfRank, Runtime, TensorArgument,
};
pub use crate::limits::{MAX_COUNT, MAX_FUSED, MAX_PARAMETERS};
pub use crate::trace::{ParameterFacts, TensorFacts, TraceRequest, Traced};
pub use definition::Definition;

use crate::schedule::Schedule;

/// How the extents and strides of a launch's tensors are bound, where they are not part of the variant's class anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExtentBinding {
    /// As literals in the code.
    Exact,
    /// As kernel arguments.
    #[default]
    Runtime,
}

/// Which variant of a kernel serves a launch, where the best one has yet to be compiled. Results are the same, bit by bit.
///
/// Each class of launches has a *resident* variant: all checks are in it, and counts are kernel arguments, so that it serves
/// every launch of the class. Better ones leave out the checks that the launch's counts and extents make needless, and have the
/// exact counts (and exact extents) as literals.
///
/// What a launch [says](Call::specialize) itself comes first; then what the device has been told for its kernel; then what the
/// kernel's author wrote, `#[kernel(specialize = "exact")]`; then what the device has been told for all. Of kernels that are
/// fused and want different things, none is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Specialize {
    /// The best one there is. If that is not the best one there can be, that is compiled behind; literals, if counts repeat and
    /// launches measure them as faster.
    #[default]
    Tiered,
    /// The best one there can be: the launch waits until it is compiled.
    Exact,
    /// The resident one, always.
    Resident,
}

/// A kernel with its arguments, ready to be launched by a runtime.
#[must_use = "a call does nothing until it is launched"]
#[derive(Clone)]
pub struct Call<'a> {
    definition: Definition,
    arguments: Arguments<'a>,
    extents: ExtentBinding,
    schedule: Option<Schedule>,
    checked: bool,
    reports: bool,
    overlapping: bool,
    specialize: Option<Specialize>,
}

impl<'a> Call<'a> {
    /// Joins a kernel and its arguments. The expansion of `#[kernel]` guarantees that they fit each other.
    #[doc(hidden)]
    #[inline]
    pub fn new(definition: Definition, arguments: Arguments<'a>) -> Self {
        Self {
            definition,
            arguments,
            extents: ExtentBinding::default(),
            schedule: None,
            checked: false,
            reports: false,
            overlapping: false,
            specialize: None,
        }
    }

    /// All of `calls` as one: a launch of it does what launching each of them does, side by side and in no order.
    ///
    /// * Its programs are those of all calls; a block of threads looks for the call that its number belongs to, by
    ///   halves among sixteen calls at a time. So many small launches cost as much as one (*horizontal fusion*).
    /// * There are at most [`MAX_FUSED`] calls with [`MAX_PARAMETERS`] arguments together: a launch of more is refused.
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
        let calls = calls.into_iter();
        let mut fused = Self::nothing(calls.size_hint().0);
        for call in calls {
            fused.join(call);
        }
        fused
    }

    /// A call of nothing, with room to [`join`](Call::join) so many.
    #[track_caller]
    pub fn nothing(room: usize) -> Self {
        Self::new(Definition::nothing(room), Arguments::with_room_for(room))
    }

    /// Fuses another call with this one, as [`Call::fuse`] does.
    #[track_caller]
    pub fn join(&mut self, other: Self) {
        let (own, others) = (self.arguments.values().len(), other.arguments.values().len());
        // Where they differ, the device decides.
        let is_first = self.definition.fused() == Some(0);
        self.specialize = other
            .specialize
            .filter(|_| is_first || self.specialize == other.specialize);
        self.definition.join(own, other.definition, others);
        self.arguments.append(other.arguments);
        self.schedule = None;
        self.checked |= other.checked;
        self.reports |= other.reports;
        self.overlapping |= other.overlapping;
        if other.extents == ExtentBinding::Exact {
            self.extents = ExtentBinding::Exact;
        }
    }

    /// Lets the extents and strides of all tensors become literals, as exact counts do: see [`Specialize`].
    pub fn exact_extents(mut self) -> Self {
        self.extents = ExtentBinding::Exact;
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

    /// Builds the kernel so that it tests what it would otherwise rely on: unchecked accesses, assumptions, multiples, and that
    /// accesses go together. What does not hold is reported as an access that traps is, when the device is synchronised.
    /// Results are the same, more slowly.
    ///
    /// Which [accesses that do not go together](crate::interpret::Conflict) are seen, where the launch comes to them:
    ///
    /// | | CPU device, any build | GPU, checked build | GPU, any other build |
    /// |---|---|---|---|
    /// | two elements of one store in one place, by plain stores or disjoint scatters | yes | yes | no |
    /// | two disjoint scatters of one element, by one program or two | yes | yes | no |
    /// | two programs that write one element, plainly or one of them atomically | yes | yes | no |
    /// | one program that reads what another one writes | yes | yes | no |
    /// | the same two, in a kernel with locks | those that no lock orders | no | no |
    ///
    /// *A kernel with locks* has an atomic operation that acquires, whose value it uses, and one that releases. The CPU
    /// device follows the order that these make, through other programs too; as it is the order of that run, a kernel that
    /// relies on one that does not always hold is reported in the runs where it does not. The programs of a kernel in which
    /// the last write wins run one after the other and have no conflicts with each other. Of accesses within one program, and
    /// of what is read by a later launch, nothing is reported, because nothing is left to chance. A store of what the element
    /// holds already is a store. The CPU device reports at the launch; a GPU reports when it is
    /// synchronised, the first that it finds. A GPU looks within the first 2^20 - 2 stores of a program only, and of several
    /// programs that read an element, or change it atomically, it may not know which one it was.
    ///
    /// The price on a GPU: a checked launch takes 8 bytes of zeroed device memory for each element of every tensor that the
    /// kernel stores to, and 16 where it also reads it and has no locks. It does an atomic operation for each element that is
    /// stored, and one and a fence for each that is read from such a tensor. A launch that takes such memory cannot be put
    /// into a graph.
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

    /// Chooses which variant serves the launch, whatever the device has been told and the kernel's author wrote.
    pub fn specialize(mut self, specialize: Specialize) -> Self {
        self.specialize = Some(specialize);
        self
    }

    /// How the launch is to be specialised, if it says so itself.
    pub fn asked_specialize(&self) -> Option<Specialize> {
        self.specialize
    }

    /// Whether the launch has values that may become literals: exact counts, or exact extents.
    pub fn may_have_literals(&self) -> bool {
        self.extents == ExtentBinding::Exact || self.has_exact_counts()
    }

    /// Whether it has exact counts.
    pub fn has_exact_counts(&self) -> bool {
        let is_exact = |argument: &ArgumentValue<'_>| matches!(argument, ArgumentValue::Count(CountArgument::Exact(_)));
        self.arguments().iter().any(is_exact)
    }

    /// The same call with another value of the count at a position, bound as `count` says. Nothing changes where there is
    /// no count that the host knows.
    pub fn with_count(mut self, position: usize, count: HostCount) -> Self {
        self.arguments.set_count(position, count);
        self
    }

    /// The same call over other memory: for that of each tensor and of each count in device memory, in the order of the
    /// arguments, what `memory` gives. `None` where it gives nothing.
    pub fn with_memory<'b>(self, memory: impl FnMut(&'a dyn Memory) -> Option<&'b dyn Memory>) -> Option<Call<'b>> {
        Some(Call {
            definition: self.definition,
            arguments: self.arguments.with_memory(memory)?,
            extents: self.extents,
            schedule: self.schedule,
            checked: self.checked,
            reports: self.reports,
            overlapping: self.overlapping,
            specialize: self.specialize,
        })
    }

    /// The positions of the counts that the host knows.
    pub fn host_counts(&self) -> impl Iterator<Item = usize> {
        let is_known = |argument: &ArgumentValue<'_>| {
            matches!(
                argument,
                ArgumentValue::Count(CountArgument::Exact(_) | CountArgument::Runtime(_))
            )
        };
        let numbered = self.arguments().iter().enumerate();
        numbered.filter_map(move |(position, argument)| is_known(argument).then_some(position))
    }

    /// Gives the count at a position another value, bound as it was. Nothing changes where there is no count that the host
    /// knows.
    #[inline]
    pub fn set_count(&mut self, position: usize, value: u64) {
        self.arguments.set_value(position, value);
    }

    /// Ends a call that was launched: what it is made of serves the next one of this thread, which then allocates nothing.
    /// Runtimes do this at the end of a launch; a call that is only dropped is freed.
    pub fn recycle(self) {
        self.arguments.recycle();
        self.definition.recycle();
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
    pub fn extents(&self) -> ExtentBinding {
        self.extents
    }
}
