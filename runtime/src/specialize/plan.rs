//! Plans: everything about a launch that does not depend on addresses, nor on scalars that the host has no use for; looked up by
//! the arguments.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tilewright_dsl::call::{Call, Traced};
use tilewright_dsl::interpret;

use super::class::Classes;
use super::key::Key;
use super::variants::Variants;
use super::{build, stage, variant::Program, variant::Variant};
use crate::arguments::{AtMost, HostKnows};
use crate::counters::Tally;
use crate::error::LaunchError;
use crate::hardware::Hardware;

/// How many plans are kept. One takes under a kilobyte; a launch whose plan is gone makes it again in microseconds, and
/// its variant is still there.
const MAX_PLANS: usize = 1 << 14;

/// How a launch is done.
pub(crate) struct LaunchPlan {
    /// The extents of the grid; 1 on axes that it does not have.
    pub(crate) grid: [u64; 3],
    /// Their product.
    pub(crate) programs: u64,
    /// What runs; `None` for no programs.
    pub(crate) served: Option<Served>,
}

/// The variant that serves a launch.
pub(crate) struct Served {
    pub(crate) variant: Arc<Variant>,
    /// The CUDA blocks; 0 on the CPU device.
    pub(crate) blocks: u32,
}

/// What is known about a key.
#[derive(Clone)]
enum Known {
    /// The plan. What the kernel requires has been tested for this key, and so holds whenever it is found.
    LaunchPlan(Arc<LaunchPlan>),
    /// The grid or a requirement depends on these scalar arguments: their values complete the key.
    Scalars(Arc<[u32]>),
}

/// What is kept per device, from recordings to variants.
#[derive(Default)]
pub(crate) struct Specializer {
    /// Looked up by every launch, so by a hash that is quick on long keys.
    plans: RwLock<HashMap<Key, Known, foldhash::fast::RandomState>>,
    classes: Classes,
    variants: Variants,
}

thread_local! {
    /// The key of the launch at hand, kept for its memory.
    static KEY: RefCell<Key> = RefCell::new(Key::empty());
}

impl Specializer {
    /// The plan of a checked call, and whether a variant was built for it now.
    pub(crate) fn plan(
        &self,
        call: &Call<'_>,
        hardware: &Hardware,
        tally: &Tally,
    ) -> Result<(Arc<LaunchPlan>, bool), LaunchError> {
        let known = KEY.with_borrow_mut(|key| {
            key.refill_for_launch(call);
            let plans = self.plans.read();
            match plans.get(key)? {
                Known::LaunchPlan(plan) => Some(plan.clone()),
                Known::Scalars(positions) => {
                    key.complete(call, positions);
                    match plans.get(key)? {
                        Known::LaunchPlan(plan) => Some(plan.clone()),
                        Known::Scalars(_) => None,
                    }
                }
            }
        });
        if let Some(plan) = known {
            return Ok((plan, false));
        }
        let traced = self.classes.serve(call, tally)?;
        let (plan, built) = self.make(&traced, call, hardware, tally)?;
        let plan = Arc::new(plan);
        let mut key = KEY.with_borrow_mut(|key| {
            // A kernel's body may have launched others while it was recorded.
            key.refill_for_launch(call);
            key.clone()
        });
        let mut plans = self.plans.write();
        if plans.len() >= MAX_PLANS {
            plans.clear();
        }
        let scalars = traced.kernel.host_scalars();
        if !scalars.is_empty() {
            let scalars: Arc<[u32]> = scalars.into();
            plans.insert(key.clone(), Known::Scalars(scalars.clone()));
            key.complete(call, &scalars);
        }
        plans.insert(key, Known::LaunchPlan(plan.clone()));
        Ok((plan, built))
    }

    fn make(
        &self,
        traced: &Traced,
        call: &Call<'_>,
        hardware: &Hardware,
        tally: &Tally,
    ) -> Result<(LaunchPlan, bool), LaunchError> {
        interpret::check_requirements(&traced.kernel, &HostKnows(call))?;
        let grid = interpret::grid(&traced.kernel, &AtMost(call))?;
        let programs = if grid.contains(&0) { 0 } else { grid.iter().product() };
        if programs == 0 {
            return Ok((
                LaunchPlan {
                    grid,
                    programs,
                    served: None,
                },
                false,
            ));
        }
        let staged = stage::stage(traced, call, grid)?;
        let (variant, built) = build::variant(&self.variants, hardware, tally, staged, programs, call.schedule())?;
        let blocks = blocks(call, &variant, programs)?;
        Ok((
            LaunchPlan {
                grid,
                programs,
                served: Some(Served { variant, blocks }),
            },
            built,
        ))
    }

    pub(crate) fn variants(&self) -> Vec<Arc<Variant>> {
        self.variants.all()
    }
}

fn blocks(call: &Call<'_>, variant: &Variant, programs: u64) -> Result<u32, LaunchError> {
    let Program::Cuda(program) = variant.program() else {
        return Ok(0);
    };
    program.module.blocks(programs).ok_or_else(|| {
        let schedule = &program.module.schedule;
        let blocks = programs
            .div_ceil(u64::from(schedule.programs_per_block))
            .saturating_mul(u64::from(schedule.splits));
        LaunchError::TooManyBlocks {
            kernel: call.definition().name(),
            programs,
            blocks,
        }
    })
}
