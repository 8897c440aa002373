//! All that launches may need, compiled before the first of them.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, HostCount, MAX_COUNT, Specialize};

use crate::device::Device;
use crate::error::LaunchError;
use crate::launch::check;
use crate::policy::{CountKey, CountPolicy};

/// Of how many values of a count it is tried which conditions hold: of a longer range, evenly spread ones and both
/// ends.
const MAX_TRIED: u64 = 1 << 14;

/// How far a warm-up has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many keys are done.
    pub done: usize,
    /// How many there are.
    pub all: usize,
}

/// What a warm-up has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmedUp {
    /// How many keys the calls reach under the policy: classes, sets of conditions with their schedules, and literals.
    pub keys: usize,
    /// How many variants were built for them. Many keys share one, or had one before.
    pub built: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// A launch that is to find what serves it.
struct Reached<'a> {
    call: Call<'a>,
    /// Whether what has its exact counts as literals is built too.
    with_literals: bool,
}

impl Device {
    /// Builds all variants that launches of these calls can be served by, on all cores: the resident one of each class,
    /// which serves every launch of it; those for the conditions that hold where one count goes through the range and
    /// the others are as in the call; and those with the literals that `policy` allows for that count. It makes no
    /// difference which counts launches bind exactly, unless these shape tiles; literals of a count that the call binds
    /// exactly, as planned movement does, come behind. What several counts reach only together is served by the
    /// resident variant, and better ones are compiled behind. So after it, and [`seal`](Self::seal), no launch of these
    /// classes waits.
    ///
    /// Nothing is launched. What was built is loaded at once, which holds up the launches of other threads. `progress` is called
    /// after each key, in one thread at a time.
    ///
    /// ```
    /// use tilewright_dsl::call::{Exact, Specialize};
    /// use tilewright_dsl::{kernel, lang::*};
    /// use tilewright_runtime::{CountPolicy, Device, Launch};
    ///
    /// #[kernel(grid = [rows])]
    /// fn double(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, rows: Count) {
    ///     out.store([program_id(0)], src.load([program_id(0)]) * 2.0);
    /// }
    ///
    /// let device = Device::cpu();
    /// device.set_specialize(Specialize::Tiered);
    /// let src = device.upload(&[1.0f32, 2.0, 3.0, 4.0], [4])?;
    /// let mut out = device.zeros::<f32, 1>([4])?;
    /// let policy = CountPolicy::Runtime;
    /// device.warm_up([double(&mut out, &src, policy.bind(1))], &policy, 1..=4, |_| {})?;
    /// device.seal();
    /// for rows in 1..=4 {
    ///     assert!(!double(&mut out, &src, policy.bind(rows)).launch(&device)?.compiled());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What a launch of a call fails with before it begins; [`LaunchError::TooManyKeys`] if the device does not keep as
    /// many variants. What was built by then stays.
    pub fn warm_up<'a>(
        &self,
        calls: impl IntoIterator<Item = Call<'a>>,
        policy: &CountPolicy,
        range: RangeInclusive<u64>,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<WarmedUp, LaunchError> {
        let started = Instant::now();
        let mut reached = Vec::new();
        for call in calls {
            self.reach(call, policy, &range, &mut reached)?;
        }
        let built = self.build_all(&reached, progress)?;
        Ok(WarmedUp {
            keys: reached.len(),
            built,
            elapsed: started.elapsed(),
        })
    }

    /// Adds a call for each key that is reached by a call.
    fn reach<'a>(
        &self,
        call: Call<'a>,
        policy: &CountPolicy,
        range: &RangeInclusive<u64>,
        reached: &mut Vec<Reached<'a>>,
    ) -> Result<(), LaunchError> {
        check(&call, self)?;
        let is_of_host = |argument: &ArgumentValue<'_>| {
            matches!(
                argument,
                ArgumentValue::Count(CountArgument::Exact(_) | CountArgument::Runtime(_))
            )
        };
        let counts: Vec<usize> = (0..call.arguments().len())
            .filter(|&at| is_of_host(&call.arguments()[at]))
            .collect();
        let range = *range.start()..=(*range.end()).min(MAX_COUNT);
        let keys = policy.key_count(range.clone()).saturating_mul(counts.len() as u64);
        let most = self.specializer().limits().get().variants;
        if keys > most {
            let kernel = call.definition().name();
            return Err(LaunchError::TooManyKeys { kernel, keys, most });
        }
        let mut seen = HashSet::new();
        for &count in &counts {
            // Literals of a count that the call binds exactly come behind: its launches wait for none of them.
            let with_literals = !matches!(&call.arguments()[count], ArgumentValue::Count(CountArgument::Exact(_)))
                || self.specializer().specialize(&call) == Specialize::Exact;
            for key in policy.reachable_keys(range.clone()) {
                match key {
                    CountKey::Literal(value) => reached.push(Reached {
                        call: call.clone().with_count(count, HostCount::Exact(value)),
                        with_literals: true,
                    }),
                    CountKey::Value => {
                        for value in tried(&range).filter(|value| !policy.is_literal(*value)) {
                            let call = call.clone().with_count(count, HostCount::Runtime(value));
                            if let Some(wanted) = self.specializer().served_by(&call)?
                                && seen.insert(wanted)
                            {
                                reached.push(Reached { call, with_literals });
                            }
                        }
                    }
                }
            }
        }
        // As it is, too: the range may leave its counts out.
        reached.push(Reached {
            call,
            with_literals: true,
        });
        Ok(())
    }

    /// Builds what serves each call, on all cores.
    fn build_all(&self, reached: &[Reached<'_>], progress: impl FnMut(Progress) + Send) -> Result<u64, LaunchError> {
        let next = AtomicUsize::new(0);
        let has_failed = AtomicBool::new(false);
        let reported = Mutex::new((0, progress));
        let work = || {
            let mut built = 0;
            while let Some(Reached { call, with_literals }) = reached.get(next.fetch_add(1, Relaxed))
                && !has_failed.load(Relaxed)
            {
                let result = self.specializer().warm_up(call, *with_literals);
                built += result.inspect_err(|_| has_failed.store(true, Relaxed))?;
                let (done, progress) = &mut *reported.lock();
                *done += 1;
                progress(Progress {
                    done: *done,
                    all: reached.len(),
                });
            }
            Ok(built)
        };
        let threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(reached.len().max(1));
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut built = work();
            for other in others {
                let more = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                built = built.and_then(|built: u64| Ok(built + more?));
            }
            built
        })
    }
}

/// Values of a range, both ends among them.
fn tried(range: &RangeInclusive<u64>) -> impl Iterator<Item = u64> + use<> {
    let (start, end) = (*range.start(), *range.end());
    let step = (end.saturating_sub(start) / MAX_TRIED).max(1);
    let last = (start <= end).then_some(end);
    (start..=end)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .chain(last)
}
