//! Classes of launches: what a launch is told apart by before its values are looked at, and the variants of each.
//!
//! Launches of one class differ in counts, extents, strides, scalars and addresses. What the proofs want of these is evaluated at each
//! launch; the conditions that hold, and the schedule for so many programs, name the variant. So a count that was never seen
//! costs what any other costs.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use tilewright_dsl::analysis::condition::{ConditionBits, Program};
use tilewright_dsl::analysis::opening::opening;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, ExtentBinding, Traced};
use tilewright_dsl::class::Class;
use tilewright_dsl::interpret::{self, Known};
use tilewright_dsl::ir::{Bindings, Kernel, Layout, ParameterKind, Symbol};
use tilewright_dsl::lower::{Accesses, lower};
use tilewright_dsl::schedule::{Machine, Schedule, Work, choose};
use tilewright_dsl::transform::{Proof, ProvedBy, bind, canonical, checked};

use super::evict::Dropped;
use super::key::Literals;
use super::literals::SeenLiterals;
use super::request::{Requests, Wanted};
use super::trial::{Trial, Verdict};
use super::variant::Variant;
use crate::arguments::{AtMost, HostKnows, has_pinned, tensor_symbols, trace_request, value_of};
use crate::error::LaunchError;

/// For how many sets of conditions the kernels are kept. What there is beyond is made anew at each launch; its variant is
/// still there.
const MAX_STAGED: usize = 64;

/// What a class is made of. It holds nothing of the launch that asks for it, so that it can be made behind.
pub(super) struct Binding {
    traced: Arc<Traced>,
    bindings: Bindings,
    /// The inner extents that are no literals.
    others: Vec<Symbol>,
    literals: Literals,
    is_checked: bool,
    reports: bool,
    is_overlapping: bool,
    schedule: Option<Schedule>,
}

/// A class of launches.
pub(super) struct LaunchClass {
    traced: Arc<Traced>,
    class: Class,
    /// The extents, strides and exact counts that are literals, and their values.
    literals: Vec<(Symbol, i64)>,
    /// The counts among them.
    literal_counts: Vec<(Symbol, i64)>,
    /// The inner extents that are none: where one is as long as a tile, it would be a literal too.
    others: Vec<Symbol>,
    is_overlapping: bool,
    /// The schedule that all launches of the class ask for.
    schedule: Option<Schedule>,
    staged: ArcSwap<Vec<Arc<Staged>>>,
    /// Why there is no kernel for launches in which no condition holds, if there is none.
    refused: OnceLock<LaunchError>,
    /// The variant that serves every launch of the class.
    resident: ArcSwapOption<Variant>,
    /// What is compiled behind for it, or could not be.
    pub(super) requests: Requests,
    /// Which values of its launches come again and again, as long as they are no literals.
    pub(super) seen: SeenLiterals,
    /// How often the class with literals could not be made behind.
    pub(super) failed_literals: AtomicU8,
    /// Whether the literals pay; `None` where there are none but those that shape tiles.
    pub(super) trial: Option<Trial>,
    /// When it was last looked up, in launches of the device.
    pub(super) last_used: AtomicU64,
}

/// The kernel of a class for launches in which some conditions hold.
pub(super) struct Staged {
    holding: ConditionBits,
    /// In canonical form: launches for which it is equal share a variant.
    pub(super) kernel: Kernel,
    /// What is known of its accesses.
    pub(super) proofs: Vec<Proof>,
    /// What schedules are chosen by.
    pub(super) work: Work,
    /// By schedule; the CPU device has none.
    variants: ArcSwap<Vec<(Option<Schedule>, Place)>>,
}

/// Where the variant with a schedule is, or was.
#[derive(Clone)]
enum Place {
    There(Arc<Variant>),
    /// It made room.
    Dropped(Dropped),
}

impl Place {
    fn variant(&self) -> Option<&Arc<Variant>> {
        match self {
            Self::There(variant) => Some(variant),
            Self::Dropped(_) => None,
        }
    }
}

impl Binding {
    /// That of a call which a recording serves.
    pub(super) fn new(traced: Arc<Traced>, call: &Call<'_>, literals: Literals) -> Self {
        let bindings = bindings(&traced, call, literals);
        let mut others = inner_extents(call);
        others.retain(|other| !bindings.exact.iter().any(|(symbol, _)| symbol == other));
        Self {
            traced,
            bindings,
            others,
            literals,
            is_checked: call.is_checked(),
            reports: call.reports_out_of_bounds(),
            is_overlapping: call.is_overlapping(),
            schedule: call.schedule().copied(),
        }
    }
}

impl LaunchClass {
    /// Binds the kernel, and finds out what its proofs want of a launch.
    pub(super) fn new(binding: Binding) -> Self {
        let Binding { traced, bindings, .. } = binding;
        let bound = bind(&traced.kernel, &bindings);
        let mut bound = if binding.is_checked { checked(bound) } else { bound };
        bound.reports = binding.reports;
        let is_count = |literal: &&(Symbol, i64)| matches!(literal.0, Symbol::Count(_));
        let literal_counts = bindings.exact.iter().filter(is_count).copied().collect();
        Self {
            literal_counts,
            traced,
            class: Class::new(bound),
            literals: bindings.exact,
            others: binding.others,
            is_overlapping: binding.is_overlapping,
            schedule: binding.schedule,
            staged: ArcSwap::default(),
            refused: OnceLock::new(),
            resident: ArcSwapOption::empty(),
            requests: Requests::default(),
            seen: SeenLiterals::default(),
            failed_literals: AtomicU8::new(0),
            trial: (binding.literals == Literals::AllThatMay).then(Trial::default),
            last_used: AtomicU64::new(0),
        }
    }

    /// The recording that it was made of.
    pub(super) fn recording(&self) -> Arc<Traced> {
        self.traced.clone()
    }

    /// What its launches ask for.
    pub(super) fn asked(&self) -> impl Iterator<Item = &'static str> {
        let kernel = self.class.source();
        let asked = [
            (kernel.checked, "a checked build"),
            (kernel.reports, "reports of indices out of bounds"),
            (self.is_overlapping, "overlapping the launch before"),
        ];
        asked
            .into_iter()
            .filter_map(|(is_asked, what)| is_asked.then_some(what))
    }

    /// Whether its literals pay; where there are none but those that shape tiles, there is nothing to be had.
    pub(super) fn verdict(&self) -> Verdict {
        self.trial.as_ref().map_or(Verdict::Rejected, Trial::verdict)
    }

    /// Notes that it was looked up.
    pub(super) fn touch(&self, now: u64) {
        self.last_used.store(now, Relaxed);
    }

    /// The literals by the author's names, for example `rows = 3, out.extent(1) = 7168`.
    pub(super) fn literals(&self) -> Vec<String> {
        self.literals.iter().map(|&literal| self.text(literal)).collect()
    }

    /// The first literal that a call has no such value for.
    pub(super) fn missing_literal(&self, call: &Call<'_>) -> Option<String> {
        let missing = self.literals.iter().find(|&&literal| !has_pinned(call, literal));
        missing.map(|&literal| self.text(literal))
    }

    fn text(&self, (symbol, value): (Symbol, i64)) -> String {
        let name = |position: u32| {
            let parameter = self.traced.kernel.parameters.get(position as usize);
            parameter.map_or_else(|| format!("parameter {position}"), |parameter| parameter.name.clone())
        };
        match symbol {
            Symbol::Extent { tensor, axis } => format!("{}.extent({axis}) = {value}", name(tensor)),
            Symbol::Stride { tensor, axis } => format!("the stride of {} on axis {axis} = {value}", name(tensor)),
            Symbol::Count(position) => format!("{} = {value}", name(position)),
            Symbol::ProgramId(axis) | Symbol::NumPrograms(axis) => format!("axis {axis} of the grid = {value}"),
        }
    }

    /// The facts about each parameter that the class is told apart by.
    pub(super) fn facts(&self) -> Vec<String> {
        let parameters = &self.traced.kernel.parameters;
        parameters
            .iter()
            .map(|parameter| format!("{} is {}", parameter.name, facts(&parameter.kind)))
            .collect()
    }

    /// The conditions by the author's names, and whether each is among those that hold.
    pub(super) fn conditions_as_text(&self, holding: &ConditionBits) -> Vec<(String, bool)> {
        let name = |symbol| self.traced.kernel.text_of_symbol(symbol);
        let texts = self.class.program().texts(&name).into_iter();
        texts.map(|(number, text)| (text, holding.holds(number))).collect()
    }

    /// The variant that serves every launch of the class, if there is one.
    pub(super) fn resident(&self) -> Option<Arc<Variant>> {
        self.resident.load_full()
    }

    /// Lets a variant for no conditions serve every launch of the class from now on, unless one does already that is not provisional.
    pub(super) fn set_resident(&self, variant: &Arc<Variant>) {
        let before = self.resident.load();
        let is_better = |before: &Arc<Variant>| before.is_provisional() && !variant.is_provisional();
        if before.as_ref().is_none_or(is_better) {
            self.resident.compare_and_swap(&before, Some(variant.clone()));
        }
    }

    /// Lets a provisional variant stay, as nothing that would take its place can be built.
    pub(super) fn keep_provisional(&self, (holding, schedule): Wanted) {
        let staged = self.find(&holding).and_then(|staged| staged.find(schedule.as_ref()));
        let resident = self.resident().filter(|_| holding == ConditionBits::NONE);
        for variant in staged.iter().chain(&resident) {
            variant.is_provisional.store(false, Relaxed);
        }
    }

    /// Numbers of programs around one that want the same schedule.
    pub(super) fn regime(&self, staged: &Staged, machine: Option<&Machine>, programs: u64) -> RangeInclusive<u64> {
        match (machine, self.schedule) {
            (Some(machine), None) => staged.work.regime(machine, programs),
            _ => 0..=u64::MAX,
        }
    }

    /// The schedule that all launches of the class ask for, if they do.
    pub(super) fn asked_schedule(&self) -> Option<Schedule> {
        self.schedule
    }

    /// The schedule that a launch of so many programs wants; none on the CPU device.
    pub(super) fn schedule(&self, staged: &Staged, machine: Option<&Machine>, programs: u64) -> Option<Schedule> {
        let chosen = || Some(staged.work.schedule(machine?, programs));
        self.schedule.or_else(chosen)
    }

    pub(super) fn traced(&self) -> &Traced {
        &self.traced
    }

    /// The grid of a launch.
    ///
    /// # Errors
    /// The arguments are not what the kernel requires, or there is no grid. An error speaks of the kernel as it was recorded, which
    /// has the author's names where the bound one has literals.
    #[inline]
    pub(super) fn grid(&self, call: &Call<'_>) -> Result<[u64; 3], LaunchError> {
        let recorded = &self.traced.kernel;
        if let Err(error) = self.class.check_requirements(&HostKnows(call)) {
            interpret::check_requirements(recorded, &HostKnows(call))?;
            return Err(error.into());
        }
        match self.class.grid(&AtMost(call)) {
            Ok(grid) => Ok(grid),
            Err(error) => {
                interpret::grid(recorded, &AtMost(call))?;
                Err(error.into())
            }
        }
    }

    /// The grid of a launch, and how many programs that is.
    ///
    /// # Errors
    /// As for [`LaunchClass::grid`].
    #[inline]
    pub(super) fn programs(&self, call: &Call<'_>) -> Result<([u64; 3], u64), LaunchError> {
        let grid = self.grid(call)?;
        let programs = if grid.contains(&0) { 0 } else { grid.iter().product() };
        Ok((grid, programs))
    }

    /// The conditions that hold in a launch with this grid.
    pub(super) fn conditions(&self, call: &Call<'_>, grid: [u64; 3]) -> ConditionBits {
        self.class.conditions(&HostKnows(call), grid)
    }

    /// The conditions of launches with the extents and strides of this one, or with those but the outermost extents; `None`
    /// where they are no simpler.
    pub(super) fn conditions_of_shapes(&self, call: &Call<'_>, are_rows_known: bool) -> Option<Program> {
        let known = HostKnows(call);
        self.class.program().given(&|symbol| match symbol {
            Symbol::Extent { axis: 0, .. } if !are_rows_known => None,
            Symbol::Extent { .. } | Symbol::Stride { .. } => known.symbol(symbol),
            Symbol::Count(_) | Symbol::ProgramId(_) | Symbol::NumPrograms(_) => None,
        })
    }

    /// Whether it is the class of a call of the same key: the same symbols are literals, of the same values.
    pub(super) fn serves(&self, call: &Call<'_>) -> bool {
        let value = |symbol| value_of(call, [0; 3], symbol);
        let is_length = |symbol| value(symbol).is_some_and(|extent| self.traced.is_length(extent));
        self.literals.iter().all(|&literal| has_pinned(call, literal))
            && !self.others.iter().any(|&symbol| is_length(symbol))
    }

    /// Whether the exact counts that are literals have the values of a call.
    #[inline]
    pub(super) fn has_counts_of(&self, call: &Call<'_>) -> bool {
        self.literal_counts.iter().all(|&literal| has_pinned(call, literal))
    }

    /// Whether it serves the same calls as another one of the same key.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.literals == other.literals && self.traced.pinned == other.traced.pinned
    }

    /// The kernel for launches in which these conditions hold, if it was made before.
    pub(super) fn find(&self, holding: &ConditionBits) -> Option<Arc<Staged>> {
        self.staged.load().iter().find(|staged| staged.is_for(holding)).cloned()
    }

    /// Whether the kernel for one set of conditions more would be kept.
    pub(super) fn has_room(&self) -> bool {
        self.staged.load().len() < MAX_STAGED
    }

    /// The kernel for launches in which these conditions hold.
    ///
    /// # Errors
    /// A check is left in a kernel that denies them, or a narrow access, or the launch is to overlap and its kernel does not
    /// begin with waiting.
    pub(super) fn staged(&self, holding: ConditionBits) -> Result<Arc<Staged>, LaunchError> {
        if let Some(staged) = self.find(&holding) {
            return Ok(staged);
        }
        let is_for_all = holding == ConditionBits::NONE;
        if let Some(refused) = self.refused.get().filter(|_| is_for_all) {
            return Err(refused.clone());
        }
        let made = self.stage(holding).inspect_err(|error| {
            if is_for_all {
                self.refused.get_or_init(|| error.clone());
            }
        });
        let made = Arc::new(made?);
        self.staged.rcu(|all| {
            let is_there = all.iter().any(|staged| staged.holding == holding);
            let added = (!is_there && all.len() < MAX_STAGED).then(|| made.clone());
            all.iter().cloned().chain(added).collect::<Vec<_>>()
        });
        Ok(self.find(&holding).unwrap_or(made))
    }

    fn stage(&self, holding: ConditionBits) -> Result<Staged, LaunchError> {
        let (proved, proofs) = self.class.proved(holding);
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
        if self.is_overlapping
            && let Err(span) = opening(&kernel)
        {
            let kernel = kernel.name;
            return Err(LaunchError::NotWaiting { kernel, span });
        }
        let work = Work::of(&kernel);
        // What a checked build does is slow anyway, and what cannot be lowered says so when it is built.
        if kernel.denies_narrow()
            && !kernel.checked
            && let Ok(lowered) = lower(
                &kernel,
                &self.schedule.unwrap_or_else(|| work.schedule(&Machine::H200, 1)),
            )
            && let Err(narrow) = lowered.accesses.check()
        {
            return Err(LaunchError::Narrow(Box::new(narrow)));
        }
        Ok(Staged {
            holding,
            work,
            kernel,
            proofs,
            variants: ArcSwap::default(),
        })
    }

    /// What a thread accesses in launches of so many programs in which these conditions hold.
    ///
    /// # Errors
    /// The kernel cannot have the schedule that the launch asks for.
    pub(super) fn accesses(
        &self,
        holding: ConditionBits,
        machine: &Machine,
        programs: u64,
    ) -> Result<Accesses, LaunchError> {
        let (kernel, _) = self.class.kernel(holding);
        let schedule = self.schedule.unwrap_or_else(|| choose(&kernel, machine, programs));
        Ok(lower(&kernel, &schedule)?.accesses)
    }

    /// All variants that the class has looked up by conditions.
    pub(super) fn variants(&self) -> Vec<Arc<Variant>> {
        let staged = self.staged.load();
        let of = |staged: &Arc<Staged>| {
            staged
                .variants
                .load()
                .iter()
                .filter_map(|(_, place)| place.variant().cloned())
                .collect::<Vec<_>>()
        };
        staged.iter().flat_map(of).collect()
    }

    /// Forgets a variant; but not that it made room, if it did.
    pub(super) fn forget(&self, variant: &Arc<Variant>, dropped: Option<Dropped>) {
        let is_it = |place: &Place| place.variant().is_some_and(|other| Arc::ptr_eq(other, variant));
        for staged in self.staged.load().iter() {
            if !staged.variants.load().iter().any(|(_, place)| is_it(place)) {
                continue;
            }
            staged.variants.rcu(|all| {
                let without = |(schedule, place): &(Option<Schedule>, Place)| match is_it(place) {
                    true => Some((*schedule, Place::Dropped(dropped?))),
                    false => Some((*schedule, place.clone())),
                };
                all.iter().filter_map(without).collect::<Vec<_>>()
            });
        }
    }
}

impl Staged {
    /// Whether it is for launches in which these conditions hold.
    pub(super) fn is_for(&self, holding: &ConditionBits) -> bool {
        self.holding == *holding
    }

    /// The variant with a schedule, if it was asked for before.
    pub(super) fn find(&self, schedule: Option<&Schedule>) -> Option<Arc<Variant>> {
        let variants = self.variants.load();
        let found = variants.iter().find(|(of, _)| of.as_ref() == schedule);
        found.and_then(|(_, place)| place.variant().cloned())
    }

    /// That the variant with a schedule made room, if it did and is not there again.
    pub(super) fn dropped(&self, schedule: Option<&Schedule>) -> Option<Dropped> {
        let variants = self.variants.load();
        let found = variants.iter().find(|(of, _)| of.as_ref() == schedule);
        match found {
            Some((_, Place::Dropped(dropped))) => Some(*dropped),
            Some((_, Place::There(_))) | None => None,
        }
    }

    /// Keeps the variant with a schedule.
    pub(super) fn keep(&self, schedule: Option<Schedule>, variant: &Arc<Variant>) {
        self.variants.rcu(|all| {
            let others = all.iter().filter(|(of, _)| *of != schedule).cloned();
            others
                .chain([(schedule, Place::There(variant.clone()))])
                .collect::<Vec<_>>()
        });
    }
}

/// What a recording knows of a parameter.
fn facts(kind: &ParameterKind) -> String {
    let tensor = match kind {
        ParameterKind::Tensor(tensor) => tensor,
        ParameterKind::Count => return "a count".to_owned(),
        ParameterKind::Scalar(element) => return format!("a scalar of {element}"),
    };
    let layout = match tensor.layout {
        Layout::Contiguous => "contiguous".to_owned(),
        Layout::Rows { multiple } => format!("of rows that begin at multiples of {multiple} elements"),
        Layout::Strided => "strided".to_owned(),
    };
    let what = if tensor.list.is_some() {
        "a list of tensors"
    } else {
        "a tensor"
    };
    format!(
        "{what} of {}, {layout}, at an address that {} divides",
        tensor.element, tensor.alignment
    )
}

/// The extents of all axes but the outermost ones.
fn inner_extents(call: &Call<'_>) -> Vec<Symbol> {
    let of = |(position, argument): (u32, &ArgumentValue<'_>)| {
        let axes = match argument {
            ArgumentValue::Tensor(tensor) => tensor.extents.len(),
            ArgumentValue::List(list) => list.rank + 1,
            ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => 0,
        };
        (1..axes as u8).map(move |axis| Symbol::Extent { tensor: position, axis })
    };
    (0..).zip(call.arguments()).flat_map(of).collect()
}

/// What the call binds as literals, and which counts it leaves in device memory.
fn bindings(traced: &Traced, call: &Call<'_>, literals: Literals) -> Bindings {
    let with_literals = literals == Literals::AllThatMay;
    let mut bindings = Bindings {
        exact: traced.literal_extents(&trace_request(call)),
        device: Vec::new(),
    };
    if with_literals && call.extents() == ExtentBinding::Exact {
        bindings.exact.extend(tensor_symbols(call));
    }
    for (position, argument) in (0u32..).zip(call.arguments()) {
        match argument {
            ArgumentValue::Count(CountArgument::Exact(value)) if with_literals => {
                bindings.exact.push((Symbol::Count(position), *value));
            }
            ArgumentValue::Count(CountArgument::Device { element, .. }) => bindings.device.push((position, *element)),
            ArgumentValue::Count(CountArgument::Exact(_) | CountArgument::Runtime(_))
            | ArgumentValue::Tensor(_)
            | ArgumentValue::List(_)
            | ArgumentValue::Scalar(_) => {}
        }
    }
    bindings.exact.sort_unstable();
    bindings.exact.dedup();
    bindings
}
