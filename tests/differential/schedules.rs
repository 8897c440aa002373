//! Random schedules that fit a kernel.

use tilewright::dsl::analysis::effects::Effects;
use tilewright::dsl::ir::Kernel;
use tilewright::dsl::schedule::{LoadHint, Schedule, StoreHint};

/// Registers that a thread may need for one tile: more take the compiler seconds.
const REGISTERS: u64 = 64;

pub fn random(rng: &mut fastrand::Rng, kernel: &Kernel) -> Schedule {
    let largest = kernel.types.iter().map(|ty| ty.shape.elements()).max().unwrap_or(1);
    let effects = Effects::of(kernel);
    let independent = effects.threads_are_independent();
    let any: Vec<u32> = [1, 2, 4, 7, 16, 31]
        .into_iter()
        .chain((1..=32).map(|warps| warps * 32))
        .collect();
    // Elements that meet do so in whole warps.
    let whole = |threads: &u32| !effects.has_collectives || threads.is_multiple_of(32);
    let enough = |threads: &u32| independent || largest <= u64::from(*threads) * REGISTERS;
    let threads = rng
        .choice(any.into_iter().filter(whole).filter(enough).collect::<Vec<_>>())
        .unwrap_or(1024);
    let (mut programs_per_block, mut splits) = (1, 1);
    if independent {
        match rng.u8(..3) {
            0 => splits = rng.u32(1..=7),
            1 => {
                let fits = |n: &u32| threads * n <= 1024 && (threads * n <= 32 || (threads * n).is_multiple_of(32));
                programs_per_block = rng.choice((1..=32).filter(fits).collect::<Vec<_>>()).unwrap_or(1);
            }
            _ => {}
        }
    }
    Schedule {
        threads,
        programs_per_block,
        splits,
        unroll: rng.u32(1..=9),
        load: rng.choice(LoadHint::ALL).unwrap_or(LoadHint::Cached),
        store: rng.choice(StoreHint::ALL).unwrap_or(StoreHint::Cached),
        wide: rng.u8(..4) > 0,
    }
}
