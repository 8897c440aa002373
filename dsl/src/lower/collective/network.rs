//! Sorting in registers: each thread its own entries, then ever larger pieces of neighbouring threads are merged.
//!
//! Two sorted pieces become one when each entry of the first is compared with that of the second at the mirrored place,
//! and then pairs ever closer together; every comparison puts the smaller entry where its place is lower. Threads of a warp
//! exchange by shuffles, others through shared memory.

use super::super::{Lower, LowerError};
use super::Standing;
use super::keys::{Entry, last_word};
use super::sort::Team;
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Handle, Literal};
use crate::thread::{Buffer, Facts, Index, Operation, Register, Shuffle, Type, Unroll, Use};

/// Comparisons of a thread's entries, of one word each, with those of others in its warp that are written one after the other, rather
/// than in a loop in which threads find out with whom they compare: as many as leave the text short. Measured on an H200, few lines of 64
/// to 512 elements are sorted in 0.84 to 0.92 of the time.
const MOST_WRITTEN: u32 = 64;

/// Registers that hold entries.
type Cells = Vec<Vec<Handle<Register>>>;

/// With whom a thread compares, and which of both it is.
#[derive(Debug, Clone, Copy)]
struct Partner {
    /// The bits in which the numbers of both differ.
    mask: Use,
    /// The highest of them: who does not have it keeps the smaller entries.
    bit: Use,
    /// Whether entries are compared with those at the mirrored place.
    mirrored: bool,
}

fn word(number: u32) -> Use {
    Literal::new(number).into()
}

impl Lower<'_> {
    /// Sorts the entries of a team; thread `t` has those from `t` times as many on.
    pub(super) fn sort_entries(
        &mut self,
        team: Team,
        standing: Standing,
        mut entries: Vec<Entry>,
    ) -> Result<Vec<Entry>, LowerError> {
        self.sort_own(&mut entries)?;
        let (levels, in_warp) = (team.threads.ilog2(), team.in_warp().ilog2());
        if levels == 0 {
            return Ok(entries);
        }
        let cells = self.cells("entry", &entries);
        let number = self.integer(standing.lane, ElementType::U32);
        let comparisons = entries.len() as u32 * in_warp * (in_warp + 1) / 2;
        if comparisons <= MOST_WRITTEN && entries.iter().all(|entry| self.is_word(entry)) {
            for level in 0..in_warp {
                let place = self.b.constant(level.into());
                let partner = self.mirrored(place, in_warp);
                self.compare_in_warp(&cells, number, partner)?;
                for closer in (0..level).rev() {
                    let place = self.b.constant(closer.into());
                    let partner = self.apart(place, in_warp);
                    self.compare_in_warp(&cells, number, partner)?;
                }
                self.merge_own(&cells)?;
            }
        } else {
            let (zero, end) = (self.b.constant(0), self.b.constant(in_warp.into()));
            self.counted(zero, end, 1, Unroll::Never, |lower, level| {
                let partner = lower.mirrored(level, in_warp);
                lower.compare_in_warp(&cells, number, partner)?;
                lower.closer_in_warp(&cells, number, level)?;
                lower.merge_own(&cells)
            })?;
        }
        if levels > in_warp {
            let through = self.memory_between(&entries)?;
            let (start, end) = (self.b.constant(in_warp.into()), self.b.constant(levels.into()));
            self.counted(start, end, 1, Unroll::Never, |lower, level| {
                let partner = lower.mirrored(level, levels);
                lower.compare_through(&cells, number, partner, &through)?;
                let far = lower.b.indices().offset(level, -i64::from(in_warp));
                let zero = lower.b.constant(0);
                lower.counted(zero, far, 1, Unroll::Never, |lower, closer| {
                    let apart = lower.b.indices().subtract(level, closer);
                    let apart = lower.b.indices().offset(apart, -1);
                    let partner = lower.apart(apart, levels);
                    lower.compare_through(&cells, number, partner, &through)
                })?;
                let all = lower.b.constant(in_warp.into());
                lower.closer_in_warp(&cells, number, all)?;
                lower.merge_own(&cells)
            })?;
            through.iter().for_each(|(buffer, _)| self.reads_shared(*buffer));
        }
        Ok(self.entries_in(&cells))
    }

    /// Registers with these entries.
    pub(super) fn cells(&mut self, name: &str, entries: &[Entry]) -> Cells {
        let cell = |entry: &Entry| {
            let register = |&word: &Use| {
                let register = self.b.register(name, Type::scalar(self.b.element(word)));
                self.b.assign(register, word);
                register
            };
            entry.words.iter().map(register).collect()
        };
        entries.iter().map(cell).collect()
    }

    /// What registers hold now.
    pub(super) fn entries_in(&mut self, cells: &Cells) -> Vec<Entry> {
        let entry = |cell: &Vec<Handle<Register>>| Entry {
            words: cell.iter().map(|register| self.b.read(*register)).collect(),
        };
        cells.iter().map(entry).collect()
    }

    pub(super) fn set_cells(&mut self, cells: &Cells, entries: &[Entry]) {
        for (cell, entry) in cells.iter().zip(entries) {
            for (register, word) in cell.iter().zip(&entry.words) {
                self.b.assign(*register, *word);
            }
        }
    }

    /// Sorts a thread's entries, of a power of two or not: a network of odd and even merges.
    pub(super) fn sort_own(&mut self, entries: &mut [Entry]) -> Result<(), LowerError> {
        let count = entries.len();
        let mut piece = 1;
        while piece < count {
            let mut apart = piece;
            while apart > 0 {
                let mut first = apart % piece;
                while first + apart < count {
                    for i in first..(first + apart).min(count - apart) {
                        if i / (2 * piece) == (i + apart) / (2 * piece) {
                            self.put_in_order(entries, i, i + apart)?;
                        }
                    }
                    first += 2 * apart;
                }
                apart /= 2;
            }
            piece *= 2;
        }
        Ok(())
    }

    fn put_in_order(&mut self, entries: &mut [Entry], left: usize, right: usize) -> Result<(), LowerError> {
        let (l, r) = (entries[left].clone(), entries[right].clone());
        [entries[left], entries[right]] = self.in_order_pair(&l, &r)?;
        Ok(())
    }

    fn merge_own(&mut self, cells: &Cells) -> Result<(), LowerError> {
        let mut entries = self.entries_in(cells);
        self.merge_entries(&mut entries)?;
        self.set_cells(cells, &entries);
        Ok(())
    }

    /// Sorts entries that first rise and then fall, or the other way round, of a power of two.
    pub(super) fn merge_entries(&mut self, entries: &mut [Entry]) -> Result<(), LowerError> {
        let mut apart = entries.len() / 2;
        while apart > 0 {
            for left in (0..entries.len()).filter(|left| left & apart == 0) {
                self.put_in_order(entries, left, left + apart)?;
            }
            apart /= 2;
        }
        Ok(())
    }

    /// Compares with threads ever closer, from below a level on.
    fn closer_in_warp(&mut self, cells: &Cells, number: Use, level: Handle<Index>) -> Result<(), LowerError> {
        let zero = self.b.constant(0);
        self.counted(zero, level, 1, Unroll::Never, |lower, closer| {
            let apart = lower.b.indices().subtract(level, closer);
            let apart = lower.b.indices().offset(apart, -1);
            let most = i64::from(Self::warp().ilog2()) as u32;
            let partner = lower.apart(apart, most);
            lower.compare_in_warp(cells, number, partner)
        })
    }

    /// The thread at the mirrored place of the other piece, of pieces of 2^`level` threads.
    fn mirrored(&mut self, level: Handle<Index>, levels: u32) -> Partner {
        let bit = self.power(level, levels);
        let twice = self.b.binary(BinaryOp::Add, bit, bit);
        let all = Facts::between(1, (1 << levels) - 1);
        let subtract = Operation::Binary {
            op: BinaryOp::Subtract,
            left: twice,
            right: word(1),
        };
        Partner {
            mask: self.b.known(subtract, Some(all)),
            bit,
            mirrored: true,
        }
    }

    /// The thread 2^`apart` away.
    fn apart(&mut self, apart: Handle<Index>, levels: u32) -> Partner {
        let bit = self.power(apart, levels);
        Partner {
            mask: bit,
            bit,
            mirrored: false,
        }
    }

    fn power(&mut self, log: Handle<Index>, levels: u32) -> Use {
        let right = self.integer(log, ElementType::U32);
        let shift = Operation::Binary {
            op: BinaryOp::ShiftLeft,
            left: word(1),
            right,
        };
        self.b.known(shift, Some(Facts::between(1, (1 << levels) - 1)))
    }

    /// Compares with the entries of a partner in the warp.
    fn compare_in_warp(&mut self, cells: &Cells, number: Use, partner: Partner) -> Result<(), LowerError> {
        let together = self.together_in_warp();
        let own = self.entries_in(cells);
        let others: Vec<Entry> = own
            .iter()
            .map(|entry| Entry {
                words: entry
                    .words
                    .iter()
                    .map(|word| self.shuffled_by(Shuffle::Exchange, *word, partner.mask, together))
                    .collect(),
            })
            .collect();
        self.keep_own_half(cells, number, partner, own, others)
    }

    /// Compares with the entries of a partner in the program.
    fn compare_through(
        &mut self,
        cells: &Cells,
        number: Use,
        partner: Partner,
        through: &[(Handle<Buffer>, ElementType)],
    ) -> Result<(), LowerError> {
        let threads = i64::from(self.schedule.threads);
        let own = self.entries_in(cells);
        self.barrier();
        for (slot, entry) in own.iter().enumerate() {
            let at = self.b.indices().offset(self.worker, slot as i64 * threads);
            for (&word, &(buffer, stored)) in entry.words.iter().zip(through) {
                let to = self.element_place(buffer, at, stored);
                self.put(to, word);
            }
        }
        self.barrier();
        // The others of the program have teams of their own, or none, and find something of theirs.
        let worker = self.integer(self.worker, ElementType::U32);
        let other = Operation::Binary {
            op: BinaryOp::Xor,
            left: worker,
            right: partner.mask,
        };
        let all = (threads as u64).next_power_of_two() as i64;
        let other = self.b.known(other, Some(Facts::between(0, all - 1)));
        let other = self.b.index(other);
        let last = self.b.constant(threads - 1);
        let other = self.b.indices().minimum(other, last);
        let mut others = Vec::with_capacity(own.len());
        for slot in 0..own.len() {
            let at = self.b.indices().offset(other, slot as i64 * threads);
            let words = through.iter().map(|&(buffer, stored)| {
                let from = self.element_place(buffer, at, stored);
                self.fetch(from, stored, stored)
            });
            others.push(Entry { words: words.collect() });
        }
        self.keep_own_half(cells, number, partner, own, others)
    }

    /// Shared memory for all entries of the program's threads, word by word.
    fn memory_between(&mut self, entries: &[Entry]) -> Result<Vec<(Handle<Buffer>, ElementType)>, LowerError> {
        let all = entries.len() as u64 * u64::from(self.schedule.threads);
        let elements: Vec<ElementType> = entries[0].words.iter().map(|word| self.b.element(*word)).collect();
        let mut memory = Vec::with_capacity(elements.len());
        for element in elements {
            memory.push((self.shared(element, all)?, element));
        }
        Ok(memory)
    }

    /// Of each pair the smaller one, or the larger.
    fn keep_own_half(
        &mut self,
        cells: &Cells,
        number: Use,
        partner: Partner,
        own: Vec<Entry>,
        mut others: Vec<Entry>,
    ) -> Result<(), LowerError> {
        if partner.mirrored {
            others.reverse();
        }
        let bit = self.b.binary(BinaryOp::And, number, partner.bit);
        let lower = self.b.compare(CompareOp::Equal, bit, word(0));
        let lower = self.b.condition(lower);
        let mut kept = Vec::with_capacity(own.len());
        for (own, other) in own.iter().zip(&others) {
            kept.push(self.half_of(lower, own, other)?);
        }
        self.set_cells(cells, &kept);
        Ok(())
    }

    /// The smaller one of two, or the larger.
    pub(super) fn half_of(
        &mut self,
        is_lower: Handle<crate::thread::Predicate>,
        own: &Entry,
        other: &Entry,
    ) -> Result<Entry, LowerError> {
        if let ([l], [r]) = (own.words.as_slice(), other.words.as_slice())
            && self.b.element(*l) == ElementType::U32
        {
            let [low, high] = [BinaryOp::Min, BinaryOp::Max].map(|op| self.b.binary(op, *l, *r));
            let word = self.chosen(is_lower.into(), low, high)?;
            return Ok(Entry { words: vec![word] });
        }
        let before = self.is_before(other, own);
        let indices = self.b.indices();
        let (not_before, not_lower) = (indices.not(before), indices.not(is_lower));
        let low = indices.all([is_lower, before]);
        let high = indices.all([not_lower, not_before]);
        let takes = indices.any([low, high]);
        self.chosen_entry(takes, other, own)
    }

    /// An entry behind all others.
    pub(super) fn last_entry(&self, like: &Entry) -> Entry {
        let last = |word: &Use| last_word(self.b.element(*word));
        Entry {
            words: like.words.iter().map(last).collect(),
        }
    }
}
