//! An engine's kernels compiled before it runs, for GPUs that are not here.
//!
//! An [`Engine`] says what its steps are like: how wide hidden states are, of which types, how many rows a rank has at
//! most. [`Engine::compile`] goes through steps of all sizes as the engine would, [planned](crate::plan),
//! [moved](crate::movement) and [padded](crate::batch), on an
//! [offline device](tilewright_runtime::cache::BundleBuilder::device): what is launched there is what the engine launches,
//! and is compiled into a bundle. `tilewright bundle` is this as a command.
//!
//! ```
//! use tilewright_dp::offline::{Engine, Kernels};
//! use tilewright_dsl::element::ElementType;
//! use tilewright_runtime::Target;
//! use tilewright_runtime::cache::BundleBuilder;
//! use tilewright_runtime::compile::{Architecture, Nvrtc};
//!
//! let engine = Engine {
//!     kernels: vec![Kernels::Movement],
//!     rows: 32,
//!     ..Engine::new(64, ElementType::BF16)
//! };
//! if Nvrtc::load().is_ok() {
//!     let bundle = BundleBuilder::new();
//!     engine.compile(&bundle, Target::new(Architecture::new(9, 0), 132), |_| {})?;
//!     assert!(!bundle.is_empty());
//! }
//! # Ok::<(), tilewright_dp::offline::OfflineError>(())
//! ```

mod absent;
mod error;
mod rows;
mod step;

pub use error::OfflineError;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use parking_lot::Mutex;
use tilewright_dsl::call::Specialize;
use tilewright_dsl::element::ElementType;
use tilewright_runtime::cache::BundleBuilder;
use tilewright_runtime::{CountKey, CountPolicy, Device, Progress, Target};

use crate::catalogue::with_float;
use crate::plan::{Profile, Topology};

/// The most counts that are compiled as literals.
pub const MAX_LITERALS: u64 = 1024;

/// The most rows of a rank.
pub const MAX_ROWS: u64 = 1 << 17;

/// What an engine's steps are like, as far as its kernels depend on it.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Which kernels it uses.
    pub kernels: Vec<Kernels>,
    /// Elements of its hidden states.
    pub hidden: Vec<usize>,
    /// Their types: f16, bf16 or f32.
    pub elements: Vec<ElementType>,
    /// Data-parallel ranks.
    pub dp: u64,
    /// GPUs that share a rank's attention.
    pub attention_tp: u64,
    /// The most rows that a rank has in a step.
    pub rows: u64,
    /// How many experts a token is routed to.
    pub experts_per_token: Vec<usize>,
    /// Which counts are literals too, besides the variants that serve all counts.
    pub policy: CountPolicy,
    /// Whose rules its steps are planned by.
    pub profile: Profile,
}

/// Kernels that an engine uses together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernels {
    /// Rows into the gathered buffer and back, also in 8 and in 4 bits; padding out of routing.
    Movement,
    /// The ids, positions, cache locations and lengths of a batch, padded in one launch.
    Padding,
    /// Rows from and to where an index says, and into and out of slots.
    Rows,
    /// Rows to experts and back.
    Experts,
}

impl Kernels {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Movement, Self::Padding, Self::Rows, Self::Experts];

    /// The name, as the command has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Movement => "movement",
            Self::Padding => "padding",
            Self::Rows => "rows",
            Self::Experts => "experts",
        }
    }
}

/// What is compiled on one thread.
enum Work {
    Movement(ElementType, usize),
    Masks(usize),
    Padding,
    Rows(ElementType, usize),
    Experts(ElementType, usize, usize),
}

/// A step to be gone through: a rank has `tokens`, and the longest rank has `rows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sizes {
    tokens: u64,
    rows: u64,
}

/// A device, and the sizes of steps that are gone through on it.
struct Pass {
    device: Device,
    sizes: Vec<Sizes>,
}

impl Engine {
    /// One with all kernels, of 8 ranks that are a GPU each and have up to 1024 rows in a step, and 8 experts for a token.
    pub fn new(hidden: usize, element: ElementType) -> Self {
        Self {
            kernels: Kernels::ALL.to_vec(),
            hidden: vec![hidden],
            elements: vec![element],
            dp: 8,
            attention_tp: 1,
            rows: 1024,
            experts_per_token: vec![8],
            policy: CountPolicy::Runtime,
            profile: Profile::default(),
        }
    }

    /// Compiles what serves the engine's steps on a GPU into a bundle, on all cores: the resident variants of all classes
    /// for all numbers of rows, those for the conditions that hold in steps, and with literals the counts that the policy
    /// allows. `progress` is called in one thread at a time.
    ///
    /// Literals that the engine would try as it runs are not in it, nor are views of its tensors that begin at other
    /// multiples of bytes than rows of theirs do.
    ///
    /// # Errors
    /// Sizes that no engine has, or over [`MAX_LITERALS`] literals; what a launch fails with, there being no NVRTC included.
    pub fn compile(
        &self,
        bundle: &BundleBuilder,
        target: Target,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<(), OfflineError> {
        let topology = self.check()?;
        let device = |specialize| {
            let device = bundle.device(target);
            device.set_specialize(specialize);
            device
        };
        let passes = [
            Pass {
                device: device(Specialize::Tiered),
                sizes: self.sizes(),
            },
            Pass {
                device: device(Specialize::Exact),
                sizes: self.literals(),
            },
        ];
        let work: Vec<(&Pass, Work)> = passes
            .iter()
            .flat_map(|pass| self.work().into_iter().map(move |work| (pass, work)))
            .collect();
        in_parallel(&work, progress, |(pass, work)| match *work {
            Work::Movement(element, hidden) => {
                with_float!(element, T => step::movement::<T>(self, &topology, pass, hidden))
            }
            Work::Masks(chosen) => step::masks(self, &topology, pass, chosen),
            Work::Padding => step::padding(self, pass),
            Work::Rows(element, hidden) => with_float!(element, T => rows::rows::<T>(self, pass, hidden)),
            Work::Experts(element, hidden, chosen) => {
                with_float!(element, T => rows::experts::<T>(self, pass, hidden, chosen))
            }
        })
    }

    fn check(&self) -> Result<Topology, OfflineError> {
        let out_of_range = |what, found: u64, most| match (1..=most).contains(&found) {
            true => Ok(()),
            false => Err(OfflineError::Size { what, found, most }),
        };
        for &hidden in &self.hidden {
            out_of_range("elements of a hidden state", hidden as u64, 1 << 20)?;
        }
        for &chosen in &self.experts_per_token {
            out_of_range("experts for a token", chosen as u64, 1 << 10)?;
        }
        out_of_range("rows of a rank", self.rows, MAX_ROWS)?;
        let literals = self.policy.key_count(1..=self.rows);
        if literals > MAX_LITERALS {
            let most = MAX_LITERALS;
            return Err(OfflineError::TooManyLiterals { literals, most });
        }
        Ok(Topology::of_ranks(self.dp, self.attention_tp)?)
    }

    fn work(&self) -> Vec<Work> {
        let states = || {
            let of = |&element: &ElementType| self.hidden.iter().map(move |&hidden| (element, hidden));
            self.elements.iter().flat_map(of)
        };
        let chosen = || self.experts_per_token.iter().copied();
        let mut work = Vec::new();
        for kernels in &self.kernels {
            match kernels {
                Kernels::Movement => {
                    work.extend(states().map(|(element, hidden)| Work::Movement(element, hidden)));
                    work.extend(chosen().map(Work::Masks));
                }
                Kernels::Padding => work.push(Work::Padding),
                Kernels::Rows => work.extend(states().map(|(element, hidden)| Work::Rows(element, hidden))),
                Kernels::Experts => {
                    work.extend(states().flat_map(|(element, hidden)| {
                        chosen().map(move |chosen| Work::Experts(element, hidden, chosen))
                    }))
                }
            }
        }
        work
    }

    /// Steps of all sizes: schedules differ by the number of rows, in ranges that no two neighbours leave out, and
    /// conditions by how the tokens compare with them.
    fn sizes(&self) -> Vec<Sizes> {
        let next = |&rows: &u64| Some(rows + 1 + rows / 64).filter(|next| *next < self.rows);
        let rows = std::iter::successors(Some(1), next).chain([self.rows]);
        let mut sizes: Vec<_> = rows
            .flat_map(|rows| [0, 1, rows / 2, rows - 1, rows].map(|tokens| Sizes { tokens, rows }))
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Steps whose tokens may be literals.
    fn literals(&self) -> Vec<Sizes> {
        let literal = |key| match key {
            CountKey::Literal(tokens) => Some(Sizes { tokens, rows: tokens }),
            CountKey::Value => None,
        };
        self.policy.reachable_keys(1..=self.rows).filter_map(literal).collect()
    }
}

/// Does all work, on all cores.
fn in_parallel<W: Sync>(
    work: &[W],
    progress: impl FnMut(Progress) + Send,
    act: impl Fn(&W) -> Result<(), OfflineError> + Sync,
) -> Result<(), OfflineError> {
    let next = AtomicUsize::new(0);
    let has_failed = AtomicBool::new(false);
    let reported = Mutex::new((0, progress));
    let run = || {
        while let Some(one) = work.get(next.fetch_add(1, Relaxed))
            && !has_failed.load(Relaxed)
        {
            act(one).inspect_err(|_| has_failed.store(true, Relaxed))?;
            let (done, progress) = &mut *reported.lock();
            *done += 1;
            progress(Progress {
                done: *done,
                all: work.len(),
            });
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(work.len());
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let own = run();
        let joined = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.fold(own, Result::and)
    })
}

#[cfg(test)]
mod tests;
