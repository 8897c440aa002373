//! Classes of launches: what a launch is told apart by before its values are looked at, and the variants of each.
//!
//! Launches of one class differ in counts, extents, strides, scalars and addresses. What the proofs want of these is evaluated at each
//! launch; the conditions that hold, and the schedule for so many programs, name the variant. So a count that was never seen
//! costs what any other costs.

use std::sync::Arc;

use parking_lot::RwLock;
use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::analysis::opening::opening;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, ExtentBinding, Traced};
use tilewright_dsl::class::Class;
use tilewright_dsl::interpret;
use tilewright_dsl::ir::{Bindings, Kernel, Symbol};
use tilewright_dsl::schedule::{Schedule, Work};
use tilewright_dsl::transform::{Proof, ProvedBy, bind, canonical, checked};

use super::variant::Variant;
use crate::arguments::{AtMost, HostKnows, tensor_symbols, trace_request, value_of};
use crate::error::LaunchError;

/// For how many sets of conditions the kernels are kept. What there is beyond is made anew at each launch; its variant is
/// still there.
const MAX_STAGED: usize = 64;

/// A class of launches.
pub(super) struct LaunchClass {
    traced: Arc<Traced>,
    class: Class,
    /// The extents, strides and exact counts that are literals, and their values.
    literals: Vec<(Symbol, i64)>,
    /// The inner extents that are none: where one equals a pinned extent, it would be a literal too.
    others: Vec<Symbol>,
    staged: RwLock<Vec<Arc<Staged>>>,
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
    variants: RwLock<Vec<(Option<Schedule>, Arc<Variant>)>>,
}

impl LaunchClass {
    /// The class of a call that a recording serves.
    pub(super) fn new(traced: Arc<Traced>, call: &Call<'_>) -> Self {
        let bindings = bindings(&traced, call);
        let bound = bind(&traced.kernel, &bindings);
        let mut bound = if call.is_checked() { checked(bound) } else { bound };
        bound.reports = call.reports_out_of_bounds();
        let mut others = inner_extents(call);
        others.retain(|other| !bindings.exact.iter().any(|(symbol, _)| symbol == other));
        Self {
            traced,
            class: Class::new(bound),
            literals: bindings.exact,
            others,
            staged: RwLock::default(),
        }
    }

    pub(super) fn traced(&self) -> &Traced {
        &self.traced
    }

    /// The grid of a launch.
    ///
    /// # Errors
    /// The arguments are not what the kernel requires, or there is no grid. An error speaks of the kernel as it was recorded, which
    /// has the author's names where the bound one has literals.
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

    /// The conditions that hold in a launch with this grid.
    pub(super) fn conditions(&self, call: &Call<'_>, grid: [u64; 3]) -> ConditionBits {
        self.class.conditions(&HostKnows(call), grid)
    }

    /// Whether it is the class of a call of the same key: the same symbols are literals, of the same values.
    pub(super) fn serves(&self, call: &Call<'_>) -> bool {
        let value = |symbol| value_of(call, [0; 3], symbol);
        let is_pinned = |found| self.traced.pinned.iter().any(|&(_, pinned)| found == Some(pinned));
        self.literals
            .iter()
            .all(|&(symbol, literal)| value(symbol) == Some(literal))
            && !self.others.iter().any(|&symbol| is_pinned(value(symbol)))
    }

    /// The kernel for launches in which these conditions hold.
    ///
    /// # Errors
    /// A check is left in a kernel that denies them, or the launch is to overlap and its kernel does not begin with waiting.
    pub(super) fn staged(&self, holding: ConditionBits, is_overlapping: bool) -> Result<Arc<Staged>, LaunchError> {
        let find = |staged: &[Arc<Staged>]| staged.iter().find(|staged| staged.holding == holding).cloned();
        if let Some(staged) = find(&self.staged.read()) {
            return Ok(staged);
        }
        let made = Arc::new(self.stage(holding, is_overlapping)?);
        let mut all = self.staged.write();
        if let Some(staged) = find(&all) {
            return Ok(staged);
        }
        if all.len() < MAX_STAGED {
            all.push(made.clone());
        }
        Ok(made)
    }

    fn stage(&self, holding: ConditionBits, is_overlapping: bool) -> Result<Staged, LaunchError> {
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
        if is_overlapping && let Err(span) = opening(&kernel) {
            let kernel = kernel.name;
            return Err(LaunchError::NotWaiting { kernel, span });
        }
        Ok(Staged {
            holding,
            work: Work::of(&kernel),
            kernel,
            proofs,
            variants: RwLock::default(),
        })
    }
}

impl Staged {
    /// The variant with a schedule, if it was asked for before.
    pub(super) fn find(&self, schedule: Option<&Schedule>) -> Option<Arc<Variant>> {
        let variants = self.variants.read();
        let found = variants.iter().find(|(of, _)| of.as_ref() == schedule);
        found.map(|(_, variant)| variant.clone())
    }

    /// Keeps the variant with a schedule.
    pub(super) fn keep(&self, schedule: Option<Schedule>, variant: &Arc<Variant>) {
        let mut variants = self.variants.write();
        if !variants.iter().any(|(of, _)| *of == schedule) {
            variants.push((schedule, variant.clone()));
        }
    }
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
