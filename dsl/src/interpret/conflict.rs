//! Which bytes each program wrote, and whether two programs wrote one.

use std::cmp::Ordering;

use rayon::slice::ParallelSliceMut;

use crate::ir::Span;

/// Adjacent bytes of a tensor's memory that one program wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub tensor: u32,
    /// The number of the program.
    pub program: u32,
    pub start: i64,
    pub end: i64,
    /// The store.
    pub span: Span,
}

impl Written {
    fn place(&self) -> (u32, i64, i64) {
        (self.tensor, self.start, self.end)
    }

    fn same_store(&self, other: &Self) -> bool {
        // Line and column decide almost always, and comparing file names is slow.
        self.span.line == other.span.line && self.span.column == other.span.column && self.tensor == other.tensor
    }
}

/// What the programs of one thread wrote.
#[derive(Debug, Default)]
pub(super) struct Log {
    all: Vec<Written>,
    /// Where the entries of the present program begin.
    first: usize,
    /// At how many entries those of the present program are merged.
    limit: usize,
}

/// Programs that write more places than this have them merged on the way, so that a loop does not fill the memory.
const MERGE_AT: usize = 1 << 12;

impl Log {
    /// Notes a write of the present program.
    pub fn push(&mut self, written: Written) {
        match self.all[self.first..].last_mut() {
            Some(last) if last.same_store(&written) && last.end == written.start => last.end = written.end,
            Some(last) if last.same_store(&written) && last.start == written.end => last.start = written.start,
            _ => {
                self.all.push(written);
                if self.all.len() - self.first > self.limit.max(MERGE_AT) {
                    self.merge();
                    self.limit = 2 * (self.all.len() - self.first);
                }
            }
        }
    }

    /// Ends the present program.
    pub fn finish(&mut self) {
        self.merge();
        self.first = self.all.len();
        self.limit = 0;
    }

    /// Everything written.
    pub fn into_entries(self) -> Vec<Written> {
        self.all
    }

    /// Sorts the entries of the present program and makes them disjoint.
    fn merge(&mut self) {
        let own = &mut self.all[self.first..];
        if own.is_sorted_by(|a, b| a.tensor < b.tensor || (a.tensor == b.tensor && a.end <= b.start)) {
            return;
        }
        own.sort_by_key(Written::place);
        let mut kept = self.first;
        for i in self.first + 1..self.all.len() {
            let (last, mut next) = (self.all[kept], self.all[i]);
            if last.tensor == next.tensor {
                next.start = next.start.max(last.end);
                if next.start >= next.end {
                    continue;
                }
                if next.start == last.end && last.same_store(&next) {
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

/// The first byte, by tensor and address, that two programs wrote: the program that wrote it first in program order and
/// the next one, with that one's store.
pub(super) fn find(mut entries: Vec<Written>) -> Option<(u32, Written, i64)> {
    // The entries of one program are disjoint, so this order is total.
    let order =
        |a: &Written, b: &Written| -> Ordering { (a.tensor, a.start, a.program).cmp(&(b.tensor, b.start, b.program)) };
    entries.par_sort_unstable_by(order);
    let mut reach: Option<Written> = None;
    for entry in entries {
        match reach {
            Some(before) if before.tensor == entry.tensor && entry.start < before.end => {
                let (first, second) = if before.program < entry.program {
                    (before, entry)
                } else {
                    (entry, before)
                };
                return Some((first.program, second, entry.start));
            }
            _ => reach = Some(entry),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(program: u32, start: i64, end: i64, line: u32) -> Written {
        Written {
            tensor: 0,
            program,
            start,
            end,
            span: Span {
                file: "kernel.rs",
                line,
                column: 1,
            },
        }
    }

    fn log(entries: &[(i64, i64, u32)]) -> Vec<(i64, i64, u32)> {
        let mut log = Log::default();
        entries
            .iter()
            .for_each(|&(start, end, line)| log.push(written(0, start, end, line)));
        log.finish();
        log.into_entries()
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
        let (first, second, at) = find(vec![written(3, 0, 4, 1), written(1, 8, 9, 2), written(2, 3, 9, 4)]).unwrap();
        assert_eq!((first, second.program, second.span.line, at), (2, 3, 1, 3));
    }
}
