//! Random inputs, as many as are asked for.
//!
//! `TILEWRIGHT_FUZZ_INPUTS` says how many (10,000 by default) and `TILEWRIGHT_FUZZ_FIRST` the first seed:
//!
//! ```text
//! TILEWRIGHT_FUZZ_INPUTS=1000000 cargo test --release -p tilewright-runtime --lib fuzz
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The number in an environment variable.
pub(crate) fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Far longer than any input takes.
const HANG: Duration = Duration::from_secs(10);

/// Tries every seed, on all processors. `run` says whether its input was accepted; a panic fails the test and names its
/// seed. Prints and returns how many were tried, and how many were accepted.
pub(crate) fn fuzz(run: impl Fn(&mut fastrand::Rng) -> bool + Sync) -> (u64, u64) {
    let inputs = variable("TILEWRIGHT_FUZZ_INPUTS").unwrap_or(10_000);
    let first = variable("TILEWRIGHT_FUZZ_FIRST").unwrap_or(0);
    let (next, accepted) = (AtomicU64::new(0), AtomicU64::new(0));
    let begin = Instant::now();
    let work = || {
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= inputs {
                break;
            }
            let seed = first.wrapping_add(number);
            let begin = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| run(&mut fastrand::Rng::with_seed(seed))));
            match result {
                Ok(is_accepted) => accepted.fetch_add(u64::from(is_accepted), Relaxed),
                Err(_) => panic!("TILEWRIGHT_FUZZ_FIRST={seed} fails"),
            };
            assert!(
                begin.elapsed() < HANG,
                "TILEWRIGHT_FUZZ_FIRST={seed} takes {:?}",
                begin.elapsed()
            );
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let accepted = accepted.into_inner();
    println!(
        "{inputs} inputs, of which {accepted} were accepted, in {:?}",
        begin.elapsed()
    );
    (inputs, accepted)
}
