//! Which bytes each program touched, and when between its atomic operations.

use super::order::{Epoch, Epochs, Turns};
use crate::analysis::races::Touch;
use crate::ir::Span;

/// Adjacent bytes of a tensor's memory that one program touched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touched {
    pub tensor: u32,
    /// The number of the program.
    pub program: u32,
    pub start: i64,
    pub end: i64,
    /// The access.
    pub span: Span,
    pub touch: Touch,
    /// Of the program's epochs, the one in which it did; 0 where nothing orders programs.
    pub epoch: u32,
}

impl Touched {
    fn kind(&self) -> (u32, Touch, u32) {
        (self.tensor, self.touch, self.epoch)
    }

    /// Whether both are among the same bytes, which are then kept disjoint.
    fn same_kind(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }

    fn same_access(&self, other: &Self) -> bool {
        // Line and column decide almost always, and comparing file names is slow.
        self.span.line == other.span.line && self.span.column == other.span.column && self.same_kind(other)
    }
}

/// Two accesses to one byte that do not go together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meeting {
    /// That of the lower program.
    pub first: Touched,
    /// That of the higher one.
    pub second: Touched,
    /// The byte.
    pub address: i64,
}

impl Meeting {
    /// Of two accesses in any order.
    pub fn of(one: Touched, other: Touched, address: i64) -> Self {
        let (first, second) = if one.program <= other.program {
            (one, other)
        } else {
            (other, one)
        };
        Self { first, second, address }
    }
}

/// What the programs of one thread touched.
#[derive(Debug, Default)]
pub(super) struct Log {
    all: Vec<Touched>,
    /// Where the entries of the present program begin.
    first: usize,
    /// At how many entries those of the present program are merged.
    limit: usize,
    /// The epochs of the present program after the first, if it has more.
    epochs: Vec<Epoch>,
    /// Whether the present program has touched anything in the last of them.
    touched: bool,
    /// Those of the programs before that have more than one.
    ordered: Vec<Epochs>,
    /// The first byte that one program wrote twice although it must not.
    repeated: Option<Meeting>,
}

/// Programs that touch more places than this have them merged on the way, so that a loop does not fill the memory.
const MERGE_AT: usize = 1 << 12;

impl Log {
    /// Notes what the present program touches, in its present epoch.
    pub fn push(&mut self, mut touched: Touched) {
        (touched.epoch, self.touched) = (self.epochs.len() as u32, true);
        match self.all[self.first..].last_mut() {
            Some(last) if last.same_access(&touched) && last.end == touched.start => last.end = touched.end,
            Some(last) if last.same_access(&touched) && last.start == touched.end => last.start = touched.start,
            _ => {
                self.all.push(touched);
                if self.all.len() - self.first > self.limit.max(MERGE_AT) {
                    self.merge();
                    self.limit = 2 * (self.all.len() - self.first);
                }
            }
        }
    }

    /// Notes that one store, which is not to, wrote a byte twice.
    pub fn repeat(&mut self, store: Touched, address: i64) {
        self.repeated.get_or_insert(Meeting::of(store, store, address));
    }

    /// Begins an epoch of the present program: it does an atomic operation on the element at `place` that acquires from those
    /// before, or releases to those after, or both.
    pub fn take_turn(&mut self, program: u32, turns: &mut Turns, place: (u32, i64), acquires: bool, releases: bool) {
        // Where nothing is touched between two operations, one epoch will do.
        let number = self.epochs.len() as u32 + u32::from(self.touched || self.epochs.is_empty());
        let before = self.epochs.last();
        let epoch = turns.take(program, number, before, place, acquires, releases);
        self.epochs.truncate(number as usize - 1);
        self.epochs.push(epoch);
        self.touched = false;
    }

    /// Ends the present program, which has this number.
    pub fn finish(&mut self, program: u32) {
        self.merge();
        if !self.epochs.is_empty() {
            self.ordered.push((program, std::mem::take(&mut self.epochs)));
        }
        self.touched = false;
        self.first = self.all.len();
        self.limit = 0;
    }

    /// Everything touched, the epochs of each program that has several, and the first byte that one program wrote twice
    /// although it must not.
    pub fn into_parts(self) -> (Vec<Touched>, Vec<Epochs>, Option<Meeting>) {
        (self.all, self.ordered, self.repeated)
    }

    /// Sorts the entries of the present program and makes those of one kind disjoint.
    fn merge(&mut self) {
        let own = &mut self.all[self.first..];
        if own.is_sorted_by(|a, b| a.kind() < b.kind() || (a.same_kind(b) && a.end <= b.start)) {
            return;
        }
        own.sort_by_key(|touched| (touched.kind(), touched.start, touched.end));
        let mut kept = self.first;
        for i in self.first + 1..self.all.len() {
            let (last, mut next) = (self.all[kept], self.all[i]);
            if last.same_kind(&next) {
                if next.touch == Touch::Disjoint && next.start < last.end {
                    self.repeated.get_or_insert(Meeting::of(last, next, next.start));
                }
                next.start = next.start.max(last.end);
                if next.start >= next.end {
                    continue;
                }
                if next.start == last.end && last.same_access(&next) {
                    self.all[kept].end = next.end;
                    continue;
                }
            }
            kept += 1;
            self.all[kept] = next;
        }
        self.all.truncate(kept + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(touch: Touch, start: i64, end: i64, line: u32) -> Touched {
        Touched {
            tensor: 0,
            program: 0,
            start,
            end,
            span: Span {
                file: "kernel.rs",
                line,
                column: 1,
            },
            touch,
            epoch: 0,
        }
    }

    fn log(entries: &[(i64, i64, u32)]) -> Vec<(i64, i64, u32)> {
        let mut log = Log::default();
        for &(start, end, line) in entries {
            log.push(touched(Touch::Write, start, end, line));
        }
        log.finish(0);
        let (all, ..) = log.into_parts();
        all.iter().map(|w| (w.start, w.end, w.span.line)).collect()
    }

    #[test]
    fn the_writes_of_a_program_become_disjoint() {
        assert_eq!(log(&[(0, 4, 1), (4, 8, 1)]), [(0, 8, 1)]);
        assert_eq!(log(&[(4, 8, 1), (0, 4, 1)]), [(0, 8, 1)]);
        assert_eq!(log(&[(0, 8, 1), (4, 12, 2), (4, 6, 3)]), [(0, 8, 1), (8, 12, 2)]);
        assert_eq!(log(&[(8, 9, 1), (0, 2, 1), (8, 9, 1)]), [(0, 2, 1), (8, 9, 1)]);
        assert_eq!(log(&[]), []);
    }

    #[test]
    fn a_loop_over_the_same_places_takes_little_room() {
        let mut log = Log::default();
        for i in 0..100_000 {
            let touch = [Touch::Write, Touch::Read][i as usize % 2];
            log.push(touched(touch, i % 7 * 10, i % 7 * 10 + 1, 1));
            assert!(log.all.len() <= MERGE_AT + 1);
        }
    }

    #[test]
    fn a_scatter_that_promises_to_be_disjoint_meets_itself() {
        let mut log = Log::default();
        for (start, touch) in [(0, Touch::Disjoint), (8, Touch::Disjoint), (8, Touch::Write)] {
            log.push(touched(touch, start, start + 4, 1));
        }
        log.finish(0);
        assert!(log.repeated.is_none());
        for start in [0, 4, 8, 12, 6] {
            log.push(touched(Touch::Disjoint, start, start + 4, 1));
        }
        log.finish(1);
        assert_eq!(log.repeated.unwrap().address, 6);
    }

    #[test]
    fn a_program_that_waits_has_one_epoch_however_often_it_looks() {
        let (mut log, mut turns) = (Log::default(), Turns::default());
        for _ in 0..1000 {
            log.take_turn(3, &mut turns, (1, 0), true, false);
        }
        log.push(touched(Touch::Write, 0, 4, 1));
        log.take_turn(3, &mut turns, (1, 0), false, true);
        log.push(touched(Touch::Write, 0, 4, 1));
        log.finish(3);
        let (all, ordered, _) = log.into_parts();
        assert_eq!(all.iter().map(|touched| touched.epoch).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(ordered[0].1.len(), 2);
    }
}
