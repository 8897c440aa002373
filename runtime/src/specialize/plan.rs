//! How a launch is done: the grid, the variant, and what both are found by.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tilewright_dsl::call::Call;
use tilewright_dsl::schedule::Machine;

use super::class::{LaunchClass, Staged};
use super::key::Key;
use super::recording::{Recordings, check_shared};
use super::variants::Variants;
use super::{build, variant::Program, variant::Variant};
use crate::counters::Tally;
use crate::error::LaunchError;
use crate::hardware::Hardware;

/// How many classes are kept: each value of an exact count is one. A launch whose class is gone makes it again, and its
/// variant is still there.
const MAX_CLASSES: usize = 1 << 12;

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
    /// Whether it was built for this launch.
    pub(crate) is_new: bool,
}

/// What is kept per device, from recordings to variants.
#[derive(Default)]
pub(crate) struct Specializer {
    recordings: Recordings,
    classes: RwLock<Classes>,
    variants: Variants,
}

/// Looked up by every launch, so by a hash that is quick on long keys.
#[derive(Default)]
struct Classes {
    by_key: HashMap<Key, Vec<Arc<LaunchClass>>, foldhash::fast::RandomState>,
    count: usize,
}

thread_local! {
    /// The key of the launch at hand, kept for its memory.
    static KEY: RefCell<Key> = RefCell::new(Key::empty());
}

impl Specializer {
    /// The plan of a checked call.
    pub(crate) fn plan(&self, call: &Call<'_>, hardware: &Hardware, tally: &Tally) -> Result<LaunchPlan, LaunchError> {
        let class = self.class(call, tally)?;
        let grid = class.grid(call)?;
        let programs = if grid.contains(&0) { 0 } else { grid.iter().product() };
        if programs == 0 {
            return Ok(LaunchPlan {
                grid,
                programs,
                served: None,
            });
        }
        let staged = class.staged(class.conditions(call, grid), call.is_overlapping())?;
        let (variant, is_new) = self.variant(&staged, call, programs, hardware, tally)?;
        Ok(LaunchPlan {
            grid,
            programs,
            served: Some(Served {
                blocks: blocks(call, &variant, programs)?,
                variant,
                is_new,
            }),
        })
    }

    fn class(&self, call: &Call<'_>, tally: &Tally) -> Result<Arc<LaunchClass>, LaunchError> {
        let find = |made: &[Arc<LaunchClass>]| made.iter().find(|class| class.serves(call)).cloned();
        let found = KEY.with_borrow_mut(|key| {
            key.refill_for_launch(call);
            self.classes.read().by_key.get(key).and_then(|made| find(made))
        });
        if let Some(class) = found {
            check_shared(call, &class.traced().kernel.parameters)?;
            return Ok(class);
        }
        let traced = self.recordings.serve(call, tally)?;
        let class = Arc::new(LaunchClass::new(traced, call));
        let key = KEY.with_borrow_mut(|key| {
            // A kernel's body may have launched others while it was recorded.
            key.refill_for_launch(call);
            key.clone()
        });
        let mut classes = self.classes.write();
        if classes.count >= MAX_CLASSES {
            *classes = Classes::default();
        }
        let made = classes.by_key.entry(key).or_default();
        if let Some(class) = find(made) {
            return Ok(class);
        }
        made.push(class.clone());
        classes.count += 1;
        Ok(class)
    }

    /// The variant for so many programs, and whether it was built now.
    fn variant(
        &self,
        staged: &Staged,
        call: &Call<'_>,
        programs: u64,
        hardware: &Hardware,
        tally: &Tally,
    ) -> Result<(Arc<Variant>, bool), LaunchError> {
        let machine = hardware.as_cuda().map(|cuda| Machine {
            multiprocessors: cuda.properties().multiprocessors,
        });
        let chosen = || Some(staged.work.schedule(&machine?, programs));
        let schedule = call.schedule().copied().or_else(chosen);
        if let Some(variant) = staged.find(schedule.as_ref()) {
            return Ok((variant, false));
        }
        let (variant, is_new) = build::variant(&self.variants, hardware, tally, staged, schedule.as_ref())?;
        staged.keep(schedule, &variant);
        Ok((variant, is_new))
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
