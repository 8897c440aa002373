//! Which stores of different programs a lock puts in order.
//!
//! A program that acquires from an element sees what all programs did that released to it before. So a store before the
//! release and one behind the acquire are no conflict. Only what one element orders directly is looked for: stores that
//! are ordered through a third program are still reported.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::conflict::{Meeting, Touched};
use crate::ir::{Expression, Kernel, MemoryScope, Shape, Statement};

/// Atomic operations of one program on one element, with no store between them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// The tensor, and the byte in its memory.
    pub place: (u32, i64),
    /// When the last one that acquires happened, counted over all programs.
    pub acquired: Option<u64>,
    /// When the first one that releases happened.
    pub released: Option<u64>,
}

impl Event {
    /// Also has `later` happen, on the same element.
    pub fn join(&mut self, later: Self) {
        self.acquired = later.acquired.or(self.acquired);
        self.released = self.released.or(later.released);
    }
}

/// Whether programs of `kernel` may store in an order that scalar atomic operations keep. Those of tiles guard nothing.
pub(super) fn is_kept(kernel: &Kernel) -> bool {
    let (mut acquires, mut releases, mut stores) = (false, false, false);
    kernel.body.walk(&mut |statement, _| match statement {
        Statement::Let(value) => {
            if let Expression::Atomic(atomic) = &kernel.expressions[*value]
                && atomic.scope != MemoryScope::Block
                && kernel.ty(*value).shape == Shape::SCALAR
            {
                acquires |= atomic.order.acquires();
                releases |= atomic.order.releases();
            }
        }
        Statement::Store { conflict: None, .. } => stores = true,
        _ => {}
    });
    acquires && releases && stores
}

/// The events of each program, in its order.
#[derive(Debug, Default)]
pub(super) struct Order {
    programs: BTreeMap<u32, Vec<Event>>,
}

impl FromIterator<(u32, Vec<Event>)> for Order {
    fn from_iter<I: IntoIterator<Item = (u32, Vec<Event>)>>(programs: I) -> Self {
        let programs = programs.into_iter().collect();
        Self { programs }
    }
}

impl Order {
    /// Whether nothing is ordered.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// The events of the program before and behind a store.
    fn around(&self, store: &Touched) -> (&[Event], &[Event]) {
        let events = self.programs.get(&store.program).map_or(&[][..], Vec::as_slice);
        events.split_at(events.len().min(store.epoch as usize))
    }

    /// Earlier for a store that is ordered before another.
    fn time(&self, store: &Touched) -> u64 {
        let last = self.around(store).0.last();
        last.and_then(|event| event.acquired.max(event.released)).unwrap_or(0)
    }

    fn is_before(&self, first: &Touched, second: &Touched) -> bool {
        if first.program == second.program {
            return first.epoch <= second.epoch;
        }
        let (releases, acquires) = (self.around(first).1, self.around(second).0);
        releases.iter().any(|release| {
            let sees = |acquire: &Event| match (release.released, acquire.acquired) {
                (Some(released), Some(acquired)) => release.place == acquire.place && released < acquired,
                _ => false,
            };
            acquires.iter().rev().any(sees)
        })
    }

    /// The first byte that two of `stores`, which are those to one tensor by their first byte, write in no order.
    pub fn unordered(&self, stores: &[Touched]) -> Option<Meeting> {
        // What reaches the present byte, by time: if neighbours are ordered, so are all.
        let mut reaching = BTreeMap::new();
        let mut ends = BinaryHeap::new();
        for store in stores {
            while let Some(&Reverse((end, key))) = ends.peek()
                && end <= store.start
            {
                ends.pop();
                reaching.remove(&key);
            }
            let key = (self.time(store), store.program, store.epoch);
            let before = reaching.range(..key).next_back().map(|(_, other)| (*other, *store));
            let behind = reaching.range(key..).next().map(|(_, other)| (*store, *other));
            let mut pairs = [before, behind].into_iter().flatten();
            if let Some((one, other)) = pairs.find(|(first, second)| !self.is_before(first, second)) {
                let (first, second) = if one.program < other.program {
                    (one, other)
                } else {
                    (other, one)
                };
                let address = store.start;
                return Some(Meeting { first, second, address });
            }
            reaching.insert(key, *store);
            ends.push(Reverse((store.end, key)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::conflict::{Touch, find};
    use super::*;
    use crate::ir::Span;

    const LOCK: (u32, i64) = (1, 0);

    fn acquire(place: (u32, i64), time: u64) -> Event {
        Event {
            place,
            acquired: Some(time),
            released: None,
        }
    }

    fn release(place: (u32, i64), time: u64) -> Event {
        Event {
            place,
            acquired: None,
            released: Some(time),
        }
    }

    fn store(program: u32, epoch: u32, start: i64, end: i64) -> Touched {
        Touched {
            tensor: 0,
            program,
            start,
            end,
            span: Span::UNKNOWN,
            touch: Touch::Write,
            epoch,
        }
    }

    fn met(stores: &[Touched], order: &Order) -> Option<(u32, u32, i64)> {
        find(stores.to_vec(), order).map(|found| (found.first.program, found.second.program, found.address))
    }

    /// Each program takes and gives back a lock, once, by its number.
    fn in_turn(programs: u32) -> Order {
        let events = |n: u64| vec![acquire(LOCK, 2 * n + 1), release(LOCK, 2 * n + 2)];
        (0..programs).map(|n| (n, events(n.into()))).collect()
    }

    #[test]
    fn stores_under_one_lock_are_in_order_wherever_they_overlap() {
        let order = in_turn(300);
        let stores: Vec<_> = (0..300)
            .map(|n| store(n, 1, i64::from(n % 7), 8 + i64::from(n % 5)))
            .collect();
        assert_eq!(met(&stores, &order), None);
        assert_eq!(met(&stores, &Order::default()), Some((0, 7, 0)));
    }

    #[test]
    fn a_store_before_the_lock_or_behind_it_is_in_no_order() {
        let order = in_turn(9);
        for epoch in [0, 2] {
            let mut stores: Vec<_> = (0..9).map(|n| store(n, 1, 0, 8)).collect();
            stores[4] = store(4, epoch, 4, 5);
            let (first, second, address) = met(&stores, &order).unwrap();
            assert!(first == 4 || second == 4, "{first} {second}");
            assert_eq!(address, 4);
        }
        // Before the first program's turn, and after the last one's, they are.
        let first = [store(0, 0, 0, 8), store(1, 1, 0, 8)];
        assert_eq!(met(&first, &order), None);
        assert_eq!(met(&[store(7, 1, 0, 8), store(8, 2, 0, 8)], &order), None);
    }

    #[test]
    fn locks_that_differ_order_nothing() {
        for other in [(2, 0), (1, 4)] {
            let order: Order = [
                (0, vec![acquire(LOCK, 1), release(LOCK, 2)]),
                (1, vec![acquire(other, 3), release(other, 4)]),
            ]
            .into_iter()
            .collect();
            assert_eq!(met(&[store(0, 1, 0, 8), store(1, 1, 4, 9)], &order), Some((0, 1, 4)));
            assert_eq!(met(&[store(0, 1, 0, 8), store(1, 1, 8, 9)], &order), None);
        }
    }

    #[test]
    fn turns_that_two_programs_take_again_and_again_are_in_order() {
        // With nothing between giving the lock back and taking it again.
        let turns = |first: u64| {
            let mut events = vec![acquire(LOCK, first)];
            for n in 0..10 {
                let mut event = release(LOCK, first + 4 * n + 1);
                event.join(acquire(LOCK, first + 4 * n + 4));
                events.push(event);
            }
            events
        };
        let order: Order = [(0, turns(1)), (1, turns(3))].into_iter().collect();
        let stores = |epochs: [std::ops::Range<u32>; 2]| {
            let of = |(program, epochs): (u32, std::ops::Range<u32>)| epochs.map(move |e| store(program, e, 0, 4));
            (0..).zip(epochs).flat_map(of).collect::<Vec<_>>()
        };
        assert_eq!(met(&stores([1..11, 1..11]), &order), None);
        assert_eq!(met(&stores([1..11, 0..11]), &order), Some((0, 1, 0)));
    }

    #[test]
    fn a_release_that_comes_after_the_acquire_orders_nothing() {
        let order: Order = [(0, vec![release(LOCK, 5)]), (1, vec![acquire(LOCK, 4)])]
            .into_iter()
            .collect();
        assert_eq!(met(&[store(0, 0, 0, 4), store(1, 1, 0, 4)], &order), Some((0, 1, 0)));
    }
}
