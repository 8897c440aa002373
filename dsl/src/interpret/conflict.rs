//! Which bytes each program touched, and whether two programs touched one in ways that do not go together.

use rayon::slice::ParallelSliceMut;

use super::order::{Event, Order};
use crate::ir::Span;

/// How a program touched some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touch {
    /// A plain load, noted of tensors that are changed atomically too.
    Read,
    /// An atomic operation.
    Atomic,
    /// A scatter of which the last write wins.
    LastWins,
    /// A scatter that promises to be disjoint.
    Disjoint,
    /// A plain store.
    Write,
}

impl Touch {
    const ALL: [Touch; 5] = [
        Touch::Read,
        Touch::Atomic,
        Touch::LastWins,
        Touch::Disjoint,
        Touch::Write,
    ];

    /// Whether two programs must not do this and that to one byte.
    fn conflicts_with(self, other: Touch) -> bool {
        match (self.min(other), self.max(other)) {
            // Loads of what another program stores are not this check's business.
            (Touch::Read, other) => other == Touch::Atomic,
            (Touch::Atomic, other) => other != Touch::Atomic,
            (Touch::LastWins, other) => other != Touch::LastWins,
            (Touch::Disjoint | Touch::Write, _) => true,
        }
    }
}

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
    /// How many events of the program come before a plain store; 0 for anything else.
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

/// What the programs of one thread touched.
#[derive(Debug, Default)]
pub(super) struct Log {
    all: Vec<Touched>,
    /// Where the entries of the present program begin.
    first: usize,
    /// At how many entries those of the present program are merged.
    limit: usize,
    /// What may order the stores of the present program.
    events: Vec<Event>,
    /// Whether the present program has stored since the last of them.
    stored: bool,
    /// Those of the programs before that have any.
    ordered: Vec<(u32, Vec<Event>)>,
    /// The first byte that one program wrote twice in scatters that promise to be disjoint.
    pub repeated: Option<Meeting>,
}

/// Programs that touch more places than this have them merged on the way, so that a loop does not fill the memory.
const MERGE_AT: usize = 1 << 12;

impl Log {
    /// Notes what the present program touches.
    pub fn push(&mut self, mut touched: Touched) {
        if touched.touch == Touch::Write {
            (touched.epoch, self.stored) = (self.events.len() as u32, true);
        }
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

    /// Notes what the present program may order its stores by.
    pub fn order(&mut self, event: Event) {
        match self.events.last_mut() {
            Some(last) if last.place == event.place && !self.stored => last.join(event),
            _ => self.events.push(event),
        }
        self.stored = false;
    }

    /// Ends the present program, which has this number.
    pub fn finish(&mut self, program: u32) {
        self.merge();
        if !self.events.is_empty() {
            self.ordered.push((program, std::mem::take(&mut self.events)));
        }
        self.stored = false;
        self.first = self.all.len();
        self.limit = 0;
    }

    /// Everything touched, and the events of each program that has any.
    pub fn into_parts(self) -> (Vec<Touched>, Vec<(u32, Vec<Event>)>) {
        (self.all, self.ordered)
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
                if next.touch == Touch::Disjoint && next.start < last.end && self.repeated.is_none() {
                    self.repeated = Some(Meeting {
                        first: last,
                        second: next,
                        address: next.start,
                    });
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

/// The first such byte, by tensor and address. Plain stores go together if `order` says which comes first.
pub(super) fn find(mut entries: Vec<Touched>, order: &Order) -> Option<Meeting> {
    // The entries of one program and kind are disjoint, so this order is total.
    let key = |entry: &Touched| (entry.tensor, entry.start, entry.touch, entry.program, entry.epoch);
    entries.par_sort_unstable_by_key(key);
    entries.chunk_by(|a, b| a.tensor == b.tensor).find_map(|of_tensor| {
        let found = clashing(of_tensor, order.is_empty());
        if order.is_empty() {
            return found;
        }
        let stores = of_tensor.iter().filter(|entry| entry.touch == Touch::Write);
        let unordered = order.unordered(&stores.copied().collect::<Vec<_>>());
        found.into_iter().chain(unordered).min_by_key(|meeting| meeting.address)
    })
}

/// The first byte of one tensor that two programs touch in ways that do not go together: two plain stores do if they are
/// not to be `exclusive`.
fn clashing(entries: &[Touched], exclusive: bool) -> Option<Meeting> {
    let mut reached = [Reach::default(); Touch::ALL.len()];
    for &entry in entries {
        let is_conflict = |touch: Touch| {
            touch.conflicts_with(entry.touch) && (exclusive || [touch, entry.touch] != [Touch::Write; 2])
        };
        let others = Touch::ALL.into_iter().zip(&reached);
        let others = others.filter(|(touch, _)| is_conflict(*touch));
        if let Some(before) = others.filter_map(|(_, reach)| reach.of_another(&entry)).next() {
            let (first, second) = if before.program < entry.program {
                (before, entry)
            } else {
                (entry, before)
            };
            let address = entry.start;
            return Some(Meeting { first, second, address });
        }
        reached[entry.touch as usize].add(entry);
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

    fn written(program: u32, start: i64, end: i64, line: u32) -> Touched {
        Touched {
            tensor: 0,
            program,
            start,
            end,
            span: Span {
                file: "kernel.rs",
                line,
                column: 1,
            },
            touch: Touch::Write,
            epoch: 0,
        }
    }

    fn find(entries: Vec<Touched>) -> Option<Meeting> {
        super::find(entries, &Order::default())
    }

    fn touched(touch: Touch, program: u32, start: i64, end: i64) -> Touched {
        Touched {
            touch,
            ..written(program, start, end, 1)
        }
    }

    fn log(entries: &[(i64, i64, u32)]) -> Vec<(i64, i64, u32)> {
        let mut log = Log::default();
        entries
            .iter()
            .for_each(|&(start, end, line)| log.push(written(0, start, end, line)));
        log.finish(0);
        log.into_parts()
            .0
            .iter()
            .map(|w| (w.start, w.end, w.span.line))
            .collect()
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
            log.push(written(0, i % 7 * 10, i % 7 * 10 + 1, 1));
            assert!(log.all.len() <= MERGE_AT + 1);
        }
    }

    #[test]
    fn the_first_common_byte_of_two_programs_is_found() {
        assert!(find(vec![written(0, 0, 4, 1), written(1, 4, 8, 2)]).is_none());
        let found = find(vec![written(3, 0, 4, 1), written(1, 8, 9, 2), written(2, 3, 9, 4)]).unwrap();
        let Meeting { first, second, address } = found;
        assert_eq!((first.program, second.program, second.span.line, address), (2, 3, 1, 3));
    }

    #[test]
    fn atomic_operations_meet_each_other_and_nothing_else() {
        use Touch::{Atomic, Disjoint, LastWins, Read, Write};
        for (one, other, fine) in [
            (Atomic, Atomic, true),
            (Read, Read, true),
            (Read, Write, true),
            (LastWins, LastWins, true),
            (LastWins, Write, false),
            (LastWins, Atomic, false),
            (Disjoint, Disjoint, false),
            (Disjoint, Write, false),
            (LastWins, Disjoint, false),
            (Atomic, Disjoint, false),
            (Read, Disjoint, true),
            (Write, Write, false),
            (Atomic, Write, false),
            (Write, Atomic, false),
            (Read, Atomic, false),
            (Atomic, Read, false),
        ] {
            let found = find(vec![touched(one, 4, 0, 8), touched(other, 9, 4, 12)]);
            assert_eq!(found.is_none(), fine, "{one:?} {other:?}");
            assert!(find(vec![touched(one, 4, 0, 8), touched(other, 4, 4, 12)]).is_none());
        }
    }

    #[test]
    fn a_scatter_that_promises_to_be_disjoint_meets_itself() {
        let mut log = Log::default();
        for (start, touch) in [(0, Touch::Disjoint), (8, Touch::Disjoint), (8, Touch::Write)] {
            log.push(touched(touch, 0, start, start + 4));
        }
        log.finish(0);
        assert!(log.repeated.is_none());
        for start in [0, 4, 8, 12, 6] {
            log.push(touched(Touch::Disjoint, 1, start, start + 4));
        }
        log.finish(0);
        assert_eq!(log.repeated.unwrap().address, 6);
    }

    #[test]
    fn a_program_between_two_others_does_not_hide_them() {
        use Touch::{Atomic, Write};
        // Program 7 reaches furthest and may store there itself; program 2 may not.
        let own = [touched(Atomic, 2, 0, 40), touched(Atomic, 7, 0, 90)];
        assert!(find([&own[..1], &[touched(Write, 2, 8, 12)]].concat()).is_none());
        assert!(find([&own[1..], &[touched(Write, 7, 8, 12)]].concat()).is_none());
        let found = find([&own[..], &[touched(Write, 7, 8, 12)]].concat()).unwrap();
        assert_eq!((found.first.program, found.second.program, found.address), (2, 7, 8));
    }
}
