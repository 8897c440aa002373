//! What is read from others, under random damage: requests as JSON, traces as CSV. No input panics, takes long or never
//! ends, and what is accepted goes through everything that is made of it.
//!
//! A failure prints the seed of its input. To run that one alone, and to run more:
//!
//! ```text
//! TILEWRIGHT_FUZZ_FIRST=1234 TILEWRIGHT_FUZZ_INPUTS=1 cargo test -p tilewright-dp --test fuzz
//! TILEWRIGHT_FUZZ_INPUTS=1000000 cargo test --release -p tilewright-dp --test fuzz -- --nocapture
//! ```

mod damage;
mod requests;
mod traces;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

/// What most inputs take a few microseconds of. Tests run side by side, so no less.
const LONGEST: Duration = Duration::from_secs(20);

/// What became of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Refused,
    Accepted,
}

/// Tries inputs of consecutive seeds, on all cores. `run` makes an input and says whether it was accepted.
fn try_all(name: &str, run: impl Fn(&mut Rng) -> Read + Sync) {
    let first = variable("TILEWRIGHT_FUZZ_FIRST").unwrap_or(0);
    let inputs = variable("TILEWRIGHT_FUZZ_INPUTS").unwrap_or(5_000);
    let (next, accepted, slowest) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let work = |running: &Mutex<Option<(u64, Instant)>>| {
        loop {
            let seed = match next.fetch_add(1, Relaxed) {
                number if number < inputs => first + number,
                _ => break,
            };
            let began = Instant::now();
            *running.lock().unwrap() = Some((seed, began));
            match catch_unwind(AssertUnwindSafe(|| run(&mut Rng::with_seed(seed)))) {
                Ok(Read::Refused) => {}
                Ok(Read::Accepted) => drop(accepted.fetch_add(1, Relaxed)),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                    failures
                        .lock()
                        .unwrap()
                        .push(format!("seed {seed}: {}", text.unwrap_or_default()));
                }
            }
            slowest.fetch_max(began.elapsed().as_micros() as u64, Relaxed);
        }
        *running.lock().unwrap() = None;
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let running: Vec<_> = (0..workers).map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        let workers: Vec<_> = running
            .iter()
            .map(|running| scope.spawn(move || work(running)))
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(100));
            for (seed, began) in running.iter().filter_map(|running| *running.lock().unwrap()) {
                if began.elapsed() > LONGEST {
                    // A thread cannot be ended from outside.
                    eprintln!("{name}: seed {seed} runs for over {LONGEST:?}");
                    std::process::exit(1);
                }
            }
        }
    });
    let (accepted, failures) = (accepted.into_inner(), failures.into_inner().unwrap());
    let slowest = Duration::from_micros(slowest.into_inner());
    println!("{inputs} {name}, of which {accepted} are accepted; the slowest took {slowest:?}");
    let shown = failures.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} {name} panicked\n{shown}", failures.len());
    // Damage that always shows tests nothing of what comes later, and damage that never shows nothing of the reader.
    assert!(
        inputs < 1000 || (accepted * 20 > inputs && accepted * 2 < inputs * 3 / 2),
        "{accepted} of {inputs} {name} are accepted"
    );
}

/// The number in an environment variable.
fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}
