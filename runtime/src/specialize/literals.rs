//! Which values of a class's exact counts come again and again, and whether code with them as literals is better.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, ExtentBinding};

use super::class::LaunchClass;
use super::trial::Verdict;
use crate::arguments::list_extents;

/// How often values have to come before literals are asked for.
pub(super) const ENOUGH: u64 = 16;
const SETS: usize = 32;
const WAYS: usize = 8;
/// What a way has besides the hash: how often it came, or one of what follows.
const STATE: u64 = 0xff;
const ASKED: u64 = 0xfc;
const TRIED: u64 = 0xfd;
const KEPT: u64 = 0xfe;
const REJECTED: u64 = 0xff;

/// So many classes with literals are tried at a time: measuring one takes thousands of launches, and what waits for its turn is
/// compiled for nothing.
const MAX_TRIED: usize = 16;
/// After so many launches without a verdict one gives up its place: it may be one that cannot be compiled, or does not come again.
const LONGEST: u64 = 1 << 18;
/// After so many launches room is looked for again.
const PAUSE: u64 = 1 << 12;

/// What a launch with some values may be served by, besides what there is without literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// By nothing, or by nothing better.
    Nothing,
    /// They have come often enough to be asked for.
    Wanted,
    /// By code that is being measured.
    Tried,
    /// By better code.
    Kept,
}

/// The values that a class has seen, by hash. A launch looks at one line of the cache. What comes once makes room for what comes
/// next before anything else does, and what is kept never does.
#[derive(Default)]
pub(super) struct SeenLiterals(Box<[Set; SETS]>);

#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// A number for what a call would have as literals.
pub(super) fn hash_of(call: &Call<'_>) -> u64 {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    let is_exact = call.extents() == ExtentBinding::Exact;
    for argument in call.arguments() {
        match argument {
            ArgumentValue::Count(CountArgument::Exact(value)) => {
                hasher.write_u64(1);
                hasher.write_i64(*value);
            }
            // Which counts are exact may differ between launches of a class.
            ArgumentValue::Count(CountArgument::Runtime(_) | CountArgument::Device { .. }) => hasher.write_u64(0),
            ArgumentValue::Tensor(tensor) if is_exact => {
                tensor.extents.iter().for_each(|&extent| hasher.write_u64(extent));
                tensor.strides.iter().for_each(|&stride| hasher.write_i64(stride));
            }
            ArgumentValue::List(list) if is_exact => {
                list_extents(list).iter().for_each(|&extent| hasher.write_u64(extent));
            }
            ArgumentValue::Scalar(_) | ArgumentValue::Tensor(_) | ArgumentValue::List(_) => {}
        }
    }
    hasher.finish()
}

impl SeenLiterals {
    fn set(&self, hash: u64) -> &Set {
        &self.0[(hash >> 8) as usize % SETS]
    }

    /// Notes that values of this hash came. If they came often enough, they are wanted whenever they `may_be`, until it is noted
    /// that they were [asked](Self::asked) for. Of two threads one count may be lost.
    #[inline]
    pub(super) fn saw(&self, hash: u64, may_be: impl FnOnce() -> bool) -> Standing {
        let set = self.set(hash);
        let Some((way, word)) = set.find(hash) else {
            if let Some(way) = set.room(hash) {
                way.store(hash & !STATE | 1, Relaxed);
            }
            return Standing::Nothing;
        };
        match word & STATE {
            ASKED | REJECTED => Standing::Nothing,
            TRIED => Standing::Tried,
            KEPT => Standing::Kept,
            count => {
                let is_enough = count + 1 >= ENOUGH;
                if !is_enough {
                    way.store(hash & !STATE | (count + 1), Relaxed);
                }
                match is_enough && may_be() {
                    true => Standing::Wanted,
                    false => Standing::Nothing,
                }
            }
        }
    }

    /// Values of this hash were asked for.
    pub(super) fn asked(&self, hash: u64) {
        self.set(hash).put(hash, ASKED);
    }

    /// What was asked for is not there: values of this hash are counted anew.
    pub(super) fn forget(&self, hash: u64) {
        if let Some((way, _)) = self.set(hash).find(hash) {
            way.store(0, Relaxed);
        }
    }

    /// How it stands with what has values of this hash as literals.
    pub(super) fn judge(&self, hash: u64, verdict: Verdict) {
        let state = match verdict {
            Verdict::Measuring => TRIED,
            Verdict::Kept => KEPT,
            Verdict::Rejected => REJECTED,
        };
        self.set(hash).put(hash, state);
    }
}

impl Set {
    fn find(&self, hash: u64) -> Option<(&AtomicU64, u64)> {
        let ways = self.0.iter().map(|way| (way, way.load(Relaxed)));
        ways.filter(|(_, word)| word & STATE != 0)
            .find(|(_, word)| word & !STATE == hash & !STATE)
    }

    fn put(&self, hash: u64, state: u64) {
        if let Some(way) = self.find(hash).map(|(way, _)| way).or_else(|| self.room(hash)) {
            way.store(hash & !STATE | state, Relaxed);
        }
    }

    /// A way for what has none: an empty one, one that counts, or one of what is found again when it has come often enough, if it
    /// is still there: what is no better, or is being tried.
    fn room(&self, hash: u64) -> Option<&AtomicU64> {
        // Which of those that count has to go is left to chance.
        let first = (hash >> 32) as usize;
        let find = |may_go: fn(u64) -> bool| {
            let mut ways = (0..WAYS).map(|at| &self.0[first.wrapping_add(at) % WAYS]);
            ways.find(|way| may_go(way.load(Relaxed) & STATE))
        };
        find(|state| state == 0)
            .or_else(|| find(|state| state < ENOUGH))
            .or_else(|| find(|state| state == REJECTED))
            .or_else(|| find(|state| state == TRIED))
    }
}

/// The classes with literals that are tried.
#[derive(Default)]
pub(super) struct Tried {
    /// With the launches after which they were added.
    classes: Mutex<Vec<(Weak<LaunchClass>, u64)>>,
    /// There is no room before so many launches.
    full_until: AtomicU64,
}

impl Tried {
    /// Whether there may be room for one more, after so many launches.
    #[inline]
    pub(super) fn may_have_room(&self, launches: u64) -> bool {
        launches >= self.full_until.load(Relaxed)
    }

    /// No room is looked for in some launches from now on.
    pub(super) fn wait(&self, launches: u64) {
        self.full_until.store(launches + PAUSE, Relaxed);
    }

    /// Whether there is room for one more. A launch does not wait for it.
    pub(super) fn has_room(&self, launches: u64) -> bool {
        let Some(mut tried) = self.classes.try_lock() else {
            return false;
        };
        tried.retain(|(class, since)| {
            let is_measured = |class: Arc<LaunchClass>| class.verdict() == Verdict::Measuring;
            launches < since + LONGEST && class.upgrade().is_some_and(is_measured)
        });
        tried.len() < MAX_TRIED
    }

    pub(super) fn add(&self, class: &Arc<LaunchClass>, launches: u64) {
        let mut tried = self.classes.lock();
        if !tried.iter().any(|(there, _)| there.as_ptr() == Arc::as_ptr(class)) {
            tried.push((Arc::downgrade(class), launches));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(seed: u64) -> impl Iterator<Item = u64> {
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(move || random.u64(..))
    }

    const ONE: u64 = 77 << 8;

    #[test]
    fn literals_are_wanted_when_values_repeat_until_they_are_asked_for() {
        let seen = SeenLiterals::default();
        let all_differ = hashes(1)
            .take(10_000)
            .all(|hash| seen.saw(hash, || true) == Standing::Nothing);
        assert!(all_differ, "no values came twice");
        let wanted = |times| {
            (0..times)
                .filter(|_| seen.saw(ONE, || true) == Standing::Wanted)
                .count()
        };
        assert_eq!((wanted(ENOUGH - 1), wanted(1), wanted(10)), (0, 1, 10));
        let refused = (0..1000).all(|_| seen.saw(ONE, || false) == Standing::Nothing);
        assert!(refused && wanted(1) == 1, "as soon as there is room");
        seen.asked(ONE);
        assert_eq!(wanted(1000), 0);
        seen.forget(ONE);
        assert_eq!((wanted(ENOUGH - 1), wanted(1)), (0, 1), "it was not made");
    }

    #[test]
    fn what_is_tried_or_kept_stays_whatever_else_comes() {
        let seen = SeenLiterals::default();
        seen.judge(ONE, Verdict::Measuring);
        assert_eq!(seen.saw(ONE, || true), Standing::Tried);
        hashes(2).take(10_000).for_each(|hash| _ = seen.saw(hash, || true));
        assert_eq!(seen.saw(ONE, || true), Standing::Tried);
        seen.judge(ONE, Verdict::Kept);
        hashes(3).take(10_000).for_each(|hash| _ = seen.saw(hash, || true));
        assert_eq!(seen.saw(ONE, || true), Standing::Kept);
        seen.judge(ONE, Verdict::Rejected);
        assert!(
            (0..1000).all(|_| seen.saw(ONE, || true) == Standing::Nothing),
            "it is not asked for again"
        );
    }

    #[test]
    fn sets_that_are_full_of_what_is_kept_take_no_more_and_lose_nothing() {
        let seen = SeenLiterals::default();
        let kept: Vec<_> = hashes(4).take(4 * SETS * WAYS).collect();
        kept.iter().for_each(|&hash| seen.judge(hash, Verdict::Kept));
        let still = kept
            .iter()
            .filter(|&&hash| seen.saw(hash, || true) == Standing::Kept)
            .count();
        assert_eq!(still, SETS * WAYS);
        assert!(
            hashes(5)
                .take(100)
                .all(|hash| seen.saw(hash, || true) == Standing::Nothing)
        );
    }
}
