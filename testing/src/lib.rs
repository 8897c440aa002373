//! What the tests of all crates share: what a machine may lack, and how a test says so.
//!
//! A test asks for what it needs with [`Part::or_skip`], and for what it can do without with [`Part::if_there`]:
//!
//! ```
//! use tilewright_testing::Part;
//!
//! # fn open() -> Result<u32, &'static str> { Ok(1) }
//! # fn a_test() {
//! let Some(gpu) = Part::Gpu.or_skip(open()) else { return };
//! # let _ = gpu;
//! # }
//! # a_test();
//! ```
//!
//! The first leaves a line `skipped: …`, the second a line `ran with no …`; `cargo xtask test` counts both for what they
//! are. No crate of the project is known here, so that each of them can test itself with it.

mod allocations;
mod browser;
mod process;
mod ptxas;

pub use allocations::{CountingAllocator, allocations};
pub use browser::{Browser, Page};
pub use process::{ended, process_of, silent_process_of, start_ranks};
pub use ptxas::Ptxas;

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What some machines have and others have not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A GPU with its driver.
    Gpu,
    /// The compiler of CUDA text.
    Nvrtc,
    /// The library of collectives between GPUs.
    Nccl,
    /// The assembler of PTX.
    Ptxas,
    /// A browser that needs no screen.
    Browser,
}

impl Part {
    /// The name that reasons give it.
    const fn name(self) -> &'static str {
        match self {
            Self::Gpu => "GPU",
            Self::Nvrtc => "NVRTC",
            Self::Nccl => "NCCL",
            Self::Ptxas => "ptxas",
            Self::Browser => "Chromium",
        }
    }

    /// The environment variable that makes its absence a failure, where it is 1.
    const fn variable(self) -> &'static str {
        match self {
            Self::Gpu => "TILEWRIGHT_REQUIRE_GPU",
            Self::Nvrtc => "TILEWRIGHT_REQUIRE_NVRTC",
            Self::Nccl => "TILEWRIGHT_REQUIRE_NCCL",
            Self::Ptxas => "TILEWRIGHT_REQUIRE_PTXAS",
            Self::Browser => "TILEWRIGHT_REQUIRE_BROWSER",
        }
    }

    /// What was found; or nothing, with the reason printed: the test returns then and counts as skipped.
    ///
    /// # Panics
    /// If nothing was found and the environment requires it.
    #[track_caller]
    pub fn or_skip<T>(self, found: Result<T, impl Display>) -> Option<T> {
        self.take(found, |name, error| skip(format_args!("no {name} ({error})")))
    }

    /// What was found; or nothing, with the reason printed: the test goes on and counts as one that ran.
    ///
    /// # Panics
    /// If nothing was found and the environment requires it.
    #[track_caller]
    pub fn if_there<T>(self, found: Result<T, impl Display>) -> Option<T> {
        self.take(found, |name, error| println!("ran with no {name} ({error})"))
    }

    #[track_caller]
    fn take<T, E: Display>(self, found: Result<T, E>, tell: impl FnOnce(&str, E)) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(error) => {
                let variable = self.variable();
                let required = std::env::var_os(variable).is_some_and(|value| value == "1");
                assert!(!required, "{variable}=1, and there is no {}: {error}", self.name());
                tell(self.name(), error);
                None
            }
        }
    }
}

/// Says why a test does not run here; it has to return then.
pub fn skip(reason: impl Display) {
    println!("skipped: {reason}");
}

/// A turn on what the tests of a process share and one at a time may use: a GPU's stream, of which a capture takes what
/// any thread asks, and whose reports go to whoever waits first.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Result<u32, &str> = Err("not on this machine");

    #[test]
    fn what_is_there_is_returned() {
        assert_eq!(Part::Gpu.or_skip(Ok::<_, &str>(1)), Some(1));
        assert_eq!(Part::Nccl.if_there(Ok::<_, &str>(2)), Some(2));
    }

    /// Runs an ignored test in a process of its own, where every part is required or none is. Returns what it prints.
    fn child(test: &str, required: bool) -> (bool, String) {
        let mut child = process_of(test);
        for part in [Part::Gpu, Part::Nvrtc, Part::Nccl, Part::Ptxas, Part::Browser] {
            child.env(part.variable(), if required { "1" } else { "0" });
        }
        let output = child.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text.into_owned())
    }

    #[test]
    fn what_is_not_there_is_told_and_a_failure_where_it_is_required() {
        for (test, line) in [
            ("tests::without_a_gpu", "skipped: no GPU (not on this machine)"),
            ("tests::with_less", "ran with no NVRTC (not on this machine)"),
        ] {
            let (passed, text) = child(test, false);
            assert!(passed && text.lines().any(|found| found.ends_with(line)), "{text}");
            let (passed, text) = child(test, true);
            assert!(!passed && text.contains("=1, and there is no "), "{text}");
        }
    }

    #[test]
    #[ignore = "run by `what_is_not_there_is_told_and_a_failure_where_it_is_required`, in an environment of its own"]
    fn without_a_gpu() {
        assert_eq!(Part::Gpu.or_skip(ABSENT), None);
    }

    #[test]
    #[ignore = "run by `what_is_not_there_is_told_and_a_failure_where_it_is_required`, in an environment of its own"]
    fn with_less() {
        assert_eq!(Part::Nvrtc.if_there(ABSENT), None);
    }
}
