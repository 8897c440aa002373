//! Whether two programs touched one byte in ways that do not go together.

use rayon::slice::ParallelSliceMut;

use super::order::Order;
use super::threads;
use super::touch::{Meeting, Touched};
use crate::analysis::races::{Sequence, Touch};

/// The first such byte, by tensor and address, of programs that run in this sequence.
pub(super) fn find(mut entries: Vec<Touched>, sequence: Sequence, order: &Order) -> Option<Meeting> {
    // The entries of one program and kind are disjoint, so this order is total.
    let key = |entry: &Touched| (entry.tensor, entry.start, entry.touch, entry.program, entry.epoch);
    match threads::are_there() {
        true => entries.par_sort_unstable_by_key(key),
        false => entries.sort_unstable_by_key(key),
    }
    entries.chunk_by(|a, b| a.tensor == b.tensor).find_map(|of_tensor| {
        if sequence == Sequence::Free {
            return clashing(of_tensor.iter().copied());
        }
        // What promises to be disjoint is so in any order.
        let promises = clashing(of_tensor.iter().copied().filter(|entry| entry.touch == Touch::Disjoint));
        let race = (sequence == Sequence::Locks).then(|| order.race(of_tensor)).flatten();
        promises.into_iter().chain(race).min_by_key(|meeting| meeting.address)
    })
}

/// The first byte of one tensor that two programs touch in ways that do not go together in any order.
fn clashing(entries: impl Iterator<Item = Touched>) -> Option<Meeting> {
    let [mut reads, mut atomics, mut stores] = [Reach::default(); 3];
    for entry in entries {
        let before = stores.of_another(&entry);
        let before = before.or_else(|| atomics.of_another(&entry).filter(|_| entry.touch != Touch::Atomic));
        let before = before.or_else(|| reads.of_another(&entry).filter(|_| entry.touch != Touch::Read));
        if let Some(before) = before {
            return Some(Meeting::of(before, entry, entry.start));
        }
        match entry.touch {
            Touch::Read => reads.add(entry),
            Touch::Atomic => atomics.add(entry),
            Touch::Disjoint | Touch::Write => stores.add(entry),
        }
    }
    None
}

/// The entries of one kind so far that reach furthest, of two programs.
#[derive(Clone, Copy, Default)]
struct Reach {
    furthest: Option<Touched>,
    /// The furthest of any other program.
    next: Option<Touched>,
}

impl Reach {
    fn add(&mut self, entry: Touched) {
        let end = |reach: &Option<Touched>| reach.map_or(i64::MIN, |entry| entry.end);
        if self.furthest.is_some_and(|furthest| furthest.program == entry.program) {
            if entry.end > end(&self.furthest) {
                self.furthest = Some(entry);
            }
        } else if entry.end > end(&self.furthest) {
            self.next = self.furthest.replace(entry);
        } else if entry.end > end(&self.next) {
            self.next = Some(entry);
        }
    }

    /// An entry of another program that overlaps `entry`, which starts no earlier.
    fn of_another(&self, entry: &Touched) -> Option<Touched> {
        let reaches = |other: &Touched| other.program != entry.program && other.end > entry.start;
        self.furthest.filter(reaches).or(self.next.filter(reaches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Span;

    fn touched(touch: Touch, program: u32, start: i64, end: i64) -> Touched {
        Touched {
            tensor: 0,
            program,
            start,
            end,
            span: Span::UNKNOWN,
            touch,
            epoch: 0,
        }
    }

    fn find(entries: &[Touched], sequence: Sequence) -> Option<(u32, u32, i64)> {
        let found = super::find(entries.to_vec(), sequence, &Order::default());
        found.map(|found| (found.first.program, found.second.program, found.address))
    }

    #[test]
    fn the_first_common_byte_of_two_programs_is_found() {
        use Touch::Write;
        let apart = [touched(Write, 0, 0, 4), touched(Write, 1, 4, 8)];
        assert_eq!(find(&apart, Sequence::Free), None);
        let meeting = [
            touched(Write, 3, 0, 4),
            touched(Write, 1, 8, 9),
            touched(Write, 2, 3, 9),
        ];
        assert_eq!(find(&meeting, Sequence::Free), Some((2, 3, 3)));
    }

    #[test]
    fn loads_meet_each_other_atomic_operations_meet_each_other_and_nothing_else() {
        use Touch::{Atomic, Disjoint, Read, Write};
        for one in [Read, Atomic, Disjoint, Write] {
            for other in [Read, Atomic, Disjoint, Write] {
                let found = |sequence, programs: [u32; 2]| {
                    let entries = [touched(one, programs[0], 0, 8), touched(other, programs[1], 4, 12)];
                    find(&entries, sequence)
                };
                let fine = one == other && one.is_shared();
                assert_eq!(found(Sequence::Free, [4, 9]).is_none(), fine, "{one:?} {other:?}");
                assert_eq!(found(Sequence::Locks, [4, 9]).is_none(), fine, "{one:?} {other:?}");
                let kept = [one, other] != [Disjoint; 2];
                assert_eq!(found(Sequence::InOrder, [4, 9]).is_none(), kept, "{one:?} {other:?}");
                assert_eq!(found(Sequence::Free, [4, 4]), None);
                assert_eq!(found(Sequence::Locks, [4, 4]), None);
            }
        }
    }

    #[test]
    fn a_program_between_two_others_does_not_hide_them() {
        use Touch::{Atomic, Write};
        // Program 7 reaches furthest and may store there itself; program 2 may not.
        let own = [touched(Atomic, 2, 0, 40), touched(Atomic, 7, 0, 90)];
        for (entries, found) in [
            (vec![own[0], touched(Write, 2, 8, 12)], None),
            (vec![own[1], touched(Write, 7, 8, 12)], None),
            (vec![own[0], own[1], touched(Write, 7, 8, 12)], Some((2, 7, 8))),
        ] {
            assert_eq!(find(&entries, Sequence::Free), found);
        }
    }
}
