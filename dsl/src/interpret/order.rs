//! Which accesses of different programs atomic operations put in order.
//!
//! A program that acquires from an element sees what all programs did, or had seen, that released to it before. So what came
//! before the release and what comes behind the acquire are in order: never at the same time, whatever they do. Each program
//! keeps a clock of how far it has seen the others; it has an epoch from one of its atomic operations to the next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use super::clock::Clock;
use super::touch::{Meeting, Touched};
use crate::analysis::races::Touch;

/// The atomic operations of all programs that acquire or release, one after the other.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// How many there were.
    now: u64,
    /// What who acquires from an element, of a tensor at a byte, gets to see.
    released: HashMap<(u32, i64), Clock>,
}

/// A part of a program, from one of its atomic operations to the next.
#[derive(Debug)]
pub(super) struct Epoch {
    /// When it began, among all.
    began: u64,
    /// The number of epochs of each program that are seen in it.
    seen: Clock,
}

impl Turns {
    /// The epoch `number` of a program, which an operation on the element at `place` begins.
    pub fn take(
        &mut self,
        program: u32,
        number: u32,
        before: Option<&Epoch>,
        place: (u32, i64),
        acquires: bool,
        releases: bool,
    ) -> Epoch {
        self.now += 1;
        let mut seen = before.map(|epoch| epoch.seen.clone()).unwrap_or_default();
        if acquires && let Some(released) = self.released.get(&place) {
            seen.join(released);
        }
        if releases {
            let mut handed = seen.clone();
            handed.set(program, number);
            self.released.entry(place).or_default().join(&handed);
        }
        let began = self.now;
        Epoch { began, seen }
    }
}

/// A program, and its epochs after the first.
pub(super) type Epochs = (u32, Vec<Epoch>);

/// The epochs of each program after its first.
#[derive(Debug, Default)]
pub(super) struct Order {
    programs: HashMap<u32, Vec<Epoch>>,
}

impl FromIterator<Epochs> for Order {
    fn from_iter<I: IntoIterator<Item = Epochs>>(programs: I) -> Self {
        let programs = programs.into_iter().collect();
        Self { programs }
    }
}

/// In this order everything comes after what it can have seen.
type Key = (u64, u32, u32, Touch);

/// What reaches the present byte, by what it does to it.
#[derive(Default)]
struct Reaching {
    reads: BTreeMap<Key, Touched>,
    atomics: BTreeMap<Key, Touched>,
    stores: BTreeMap<Key, Touched>,
}

impl Reaching {
    fn of(&mut self, touch: Touch) -> &mut BTreeMap<Key, Touched> {
        match touch {
            Touch::Read => &mut self.reads,
            Touch::Atomic => &mut self.atomics,
            Touch::Disjoint | Touch::Write => &mut self.stores,
        }
    }
}

impl Order {
    fn epoch(&self, access: &Touched) -> Option<&Epoch> {
        let later = access.epoch.checked_sub(1)?;
        self.programs.get(&access.program)?.get(later as usize)
    }

    fn key(&self, access: &Touched) -> Key {
        let began = self.epoch(access).map_or(0, |epoch| epoch.began);
        (began, access.program, access.epoch, access.touch)
    }

    /// Whether `second`, which does not come earlier, has seen `first`.
    fn is_seen(&self, first: &Touched, second: &Touched) -> bool {
        let seen = || self.epoch(second).map_or(0, |epoch| epoch.seen.get(first.program));
        first.program == second.program || seen() > first.epoch
    }

    /// The first byte that two of `accesses`, which are those to one tensor by their first byte, touch in no order although
    /// one stores it, or one changes it atomically and the other does not.
    ///
    /// What reaches a byte is kept in an order in which everything comes after what it has seen. Between two stores that are
    /// neighbours there, one has seen the other, and so all stores have; then a load has to be compared with the stores around
    /// it only, and a store with what is between it and those.
    pub fn race(&self, accesses: &[Touched]) -> Option<Meeting> {
        let mut reaching = Reaching::default();
        let mut ends: BinaryHeap<Reverse<(i64, Key)>> = BinaryHeap::new();
        for access in accesses {
            while let Some(&Reverse((end, key))) = ends.peek()
                && end <= access.start
            {
                ends.pop();
                reaching.of(key.3).remove(&key);
            }
            let key = self.key(access);
            let before = reaching.stores.range(..key).next_back();
            let behind = reaching.stores.range(key..).next();
            let from = before.map_or(Unbounded, |(key, _)| Excluded(*key));
            let to = behind.map_or(Unbounded, |(key, _)| Excluded(*key));
            let reads = reaching.reads.range((from, to)).filter(|_| access.touch != Touch::Read);
            let atomics = reaching
                .atomics
                .range((from, to))
                .filter(|_| access.touch != Touch::Atomic);
            let mut others = before.into_iter().chain(behind).chain(reads).chain(atomics);
            let unseen = others.find(|(other_key, other)| match **other_key < key {
                true => !self.is_seen(other, access),
                false => !self.is_seen(access, other),
            });
            if let Some((_, other)) = unseen {
                return Some(Meeting::of(*access, *other, access.start));
            }
            reaching.of(access.touch).insert(key, *access);
            ends.push(Reverse((access.end, key)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Span;

    const LOCK: (u32, i64) = (1, 0);
    const OTHER: (u32, i64) = (1, 4);

    /// Programs and what they do, one thing after the other.
    #[derive(Default)]
    struct Run {
        turns: Turns,
        epochs: BTreeMap<u32, Vec<Epoch>>,
        accesses: Vec<Touched>,
    }

    impl Run {
        fn turn(&mut self, program: u32, place: (u32, i64), acquires: bool, releases: bool) {
            let epochs = self.epochs.entry(program).or_default();
            let number = epochs.len() as u32 + 1;
            let epoch = self
                .turns
                .take(program, number, epochs.last(), place, acquires, releases);
            epochs.push(epoch);
        }

        fn acquire(&mut self, program: u32, place: (u32, i64)) {
            self.turn(program, place, true, false);
        }

        fn release(&mut self, program: u32, place: (u32, i64)) {
            self.turn(program, place, false, true);
        }

        fn touch(&mut self, touch: Touch, program: u32, start: i64, end: i64) {
            let epoch = self.epochs.get(&program).map_or(0, Vec::len) as u32;
            let (tensor, span) = (0, Span::UNKNOWN);
            self.accesses.push(Touched {
                tensor,
                program,
                start,
                end,
                span,
                touch,
                epoch,
            });
        }

        fn store(&mut self, program: u32, start: i64, end: i64) {
            self.touch(Touch::Write, program, start, end);
        }

        fn race(mut self) -> Option<(u32, u32, i64)> {
            let order: Order = self.epochs.into_iter().collect();
            self.accesses.sort_by_key(|access| access.start);
            let found = order.race(&self.accesses);
            found.map(|found| (found.first.program, found.second.program, found.address))
        }
    }

    /// Each program takes a lock, touches something, and gives it back.
    fn in_turn(programs: u32, mut touch: impl FnMut(&mut Run, u32)) -> Run {
        let mut run = Run::default();
        for program in 0..programs {
            run.acquire(program, LOCK);
            touch(&mut run, program);
            run.release(program, LOCK);
        }
        run
    }

    #[test]
    fn what_is_done_under_one_lock_is_in_order_wherever_it_overlaps() {
        for touches in [
            [Touch::Write; 2],
            [Touch::Read, Touch::Write],
            [Touch::Atomic, Touch::Read],
        ] {
            let run = in_turn(300, |run, n| {
                run.touch(touches[n as usize % 2], n, i64::from(n % 7), 8 + i64::from(n % 5));
            });
            assert_eq!(run.race(), None);
        }
    }

    #[test]
    fn what_is_done_before_the_lock_or_behind_it_is_in_no_order() {
        for late in [false, true] {
            for touch in [Touch::Read, Touch::Write, Touch::Atomic] {
                let mut run = in_turn(9, |run, n| match n {
                    4 => {}
                    _ => run.store(n, 0, 8),
                });
                let mut other = Run::default();
                other.touch(touch, 4, 4, 5);
                other.accesses[0].epoch = if late { 2 } else { 0 };
                run.accesses.extend(other.accesses);
                let (first, second, address) = run.race().unwrap();
                assert!(first == 4 || second == 4, "{first} {second}");
                assert_eq!(address, 4);
            }
        }
    }

    #[test]
    fn locks_that_differ_order_nothing() {
        let mut run = Run::default();
        for (program, lock) in [(0, LOCK), (1, OTHER)] {
            run.acquire(program, lock);
            run.store(program, 4 * i64::from(program), 8);
            run.release(program, lock);
        }
        assert_eq!(run.race(), Some((0, 1, 4)));
    }

    #[test]
    fn an_order_through_a_third_program_is_one() {
        for broken in [false, true] {
            let mut run = Run::default();
            run.store(0, 0, 4);
            run.release(0, LOCK);
            run.acquire(1, LOCK);
            match broken {
                false => run.release(1, OTHER),
                true => run.acquire(1, OTHER),
            }
            run.acquire(2, OTHER);
            run.touch(Touch::Read, 2, 0, 4);
            assert_eq!(run.race(), broken.then_some((0, 2, 0)));
        }
    }

    #[test]
    fn loads_of_many_programs_between_two_stores_are_each_compared_with_both() {
        for early in [None, Some(17)] {
            let mut run = Run::default();
            run.store(0, 0, 64);
            run.release(0, LOCK);
            for n in 1..40 {
                run.acquire(n, LOCK);
                run.touch(Touch::Read, n, i64::from(n % 8) * 4, 64);
                if early != Some(n) {
                    run.release(n, LOCK);
                }
            }
            run.acquire(40, LOCK);
            run.store(40, 60, 64);
            assert_eq!(run.race(), early.map(|n| (n, 40, 60)));
        }
    }

    #[test]
    fn a_release_that_comes_after_the_acquire_orders_nothing() {
        let mut run = Run::default();
        run.acquire(1, LOCK);
        run.store(1, 0, 4);
        run.store(0, 0, 4);
        run.release(0, LOCK);
        assert_eq!(run.race(), Some((0, 1, 0)));
    }
}
