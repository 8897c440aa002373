//! Reductions: chunks in a thread (`partial`), then the partial results of a line in a warp, each of the warps that need them (`across`).

use super::super::access::memory_type;
use super::super::held::{Held, Lines};
use super::super::{Lower, LowerError};
use super::partial::{Order, Partial};
use super::{Kept, Line, MOST_TRIPS, Standing};
use crate::ir::{Handle, Reduction};
use crate::thread::{Index, Shuffle, Use};

/// What the threads of a group have found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Total {
    pub(super) total: Partial,
    /// Whether each of them has it, and not only the first.
    pub(super) in_group: bool,
}

/// How threads share the lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// Threads that work on a line.
    pub(super) group: i64,
    /// Lines at a time.
    pub(super) lines: i64,
    /// Partial results of a line.
    pub(super) leaves: i64,
}

impl Share {
    /// A power of two of threads for each line, or as many for the only one as it has chunks. Lines that a warp combines, or less, share
    /// out all threads, of however many.
    fn of(line: &Line, threads: i64) -> Self {
        let power = |number: i64| (number as u64).next_power_of_two() as i64;
        let usable = power(threads + 1) / 2;
        let leaves = line.chunks().min(line.most_leaves());
        match line.places == 1 && leaves <= threads {
            true => Self {
                group: power(leaves),
                lines: 1,
                leaves,
            },
            false => {
                let group = power(leaves).min(usable);
                let shared = if group <= Lower::warp() { threads } else { usable };
                let lines = (shared / group).min(line.places);
                Self { group, lines, leaves }
            }
        }
    }

    /// Threads that have something to do.
    pub(super) fn active(self) -> i64 {
        self.lines * self.group
    }
}

impl Lower<'_> {
    /// The only element of a line. Where it `decides` which way threads go, all of them are told by one: that each warp has
    /// found the same for itself is not known of it.
    pub(super) fn reduce_to_one(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        decides: bool,
    ) -> Result<Held, LowerError> {
        let threads = self.workers() as i64;
        let share = Share::of(line, threads);
        let group = share.group;
        let zero = self.b.constant(0);
        // Every group does the line, or one does, whose threads hold its elements.
        let everywhere = group <= Self::warp() && !self.are_made_of_held(&[line.value]);
        let standing = match everywhere {
            true => Standing {
                place: zero,
                lane: self.split(self.worker, group).1,
                here: self.b.indices().always(true),
            },
            false => {
                let end = self.b.constant(group);
                Standing {
                    place: zero,
                    lane: self.worker,
                    here: self.b.indices().less(self.worker, end),
                }
            }
        };
        let own = self.leaves(line, reduction, share, standing)?;
        let Total { total, in_group } = match group > Self::warp() {
            true => self.across_warps(line, reduction, share, own, standing)?,
            false if everywhere => self.across_alike(reduction, own, standing.lane, share.leaves, group)?,
            false => self.across(reduction, own, standing.lane, share.leaves, group)?,
        };
        let has_each_warp = everywhere || group > Self::warp();
        let has_each_thread = in_group && (has_each_warp || group == threads) && !decides;
        let found = match threads <= Self::warp() || (has_each_warp && !decides) {
            // Each thread does all of it.
            _ if has_each_thread || (everywhere && group == 1) => total.found(),
            true => self.of_first(total),
            false => self.handed_on(total)?,
        };
        Ok(Held::Everywhere(match reduction {
            Reduction::Combine(_) => found,
            Reduction::ArgMin | Reduction::ArgMax => self.b.index(found).into(),
        }))
    }

    pub(super) fn reduce(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        (result, stored): Kept,
    ) -> Result<Held, LowerError> {
        let share = Share::of(line, self.workers() as i64);
        let Share { group, lines, .. } = share;
        let trips = (line.places + lines - 1) / lines;
        // Where some threads have no line while others have several, whose line is whose differs from what is spread over all.
        let is_spread_alike = trips == 1 || share.active() == self.workers() as i64;
        let mut own_lines = (group <= Self::warp() && trips <= MOST_TRIPS && is_spread_alike).then(Vec::new);
        self.so_often(trips, |lower, trip| {
            let first = lower.b.indices().scale(trip, share.active());
            let item = lower.b.indices().add(first, lower.worker);
            let (place, lane) = lower.split(item, group);
            let (active, places) = (lower.b.constant(share.active()), lower.b.constant(line.places));
            let works = lower.b.indices().less(lower.worker, active);
            let exists = lower.b.indices().less(place, places);
            let here = lower.b.indices().all([works, exists]);
            let standing = Standing { place, lane, here };
            let own = lower.leaves(line, reduction, share, standing)?;
            let Total { total, in_group } = match group > Self::warp() {
                true => lower.across_warps(line, reduction, share, own, standing)?,
                false => lower.across(reduction, own, lane, share.leaves, group)?,
            };
            let zero = lower.b.constant(0);
            let first = lower.b.indices().equal(lane, zero);
            let kept = lower.b.indices().all([here, first]);
            let to = lower.element_place(result, place, stored);
            lower.where_needed(kept, |lower| {
                lower.put(to, total.found());
                Ok(())
            })?;
            if let Some(own) = &mut own_lines {
                let found = match in_group {
                    true => total.found(),
                    false => lower.shuffled(Shuffle::From, total.found(), 0, group),
                };
                own.push(match reduction {
                    Reduction::Combine(_) => found,
                    Reduction::ArgMin | Reduction::ArgMax => lower.b.index(found).into(),
                });
            }
            // What the next lines exchange has been read by then.
            if group > Self::warp() && trips > 1 {
                lower.barrier();
            }
            Ok(())
        })?;
        if let Some(values) = own_lines {
            // Nothing else may be written there until all have met.
            self.reads_shared(result);
            return Ok(Held::Lines(Lines {
                values,
                group,
                at_a_time: lines,
                buffer: result,
                stored,
            }));
        }
        if group <= Self::warp() || trips == 1 {
            self.barrier();
        }
        Ok(Held::Shared(result, stored))
    }

    /// A thread's partial results of a line, combined.
    fn leaves(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        share: Share,
        standing: Standing,
    ) -> Result<Partial, LowerError> {
        let Share { group, leaves, .. } = share;
        let own = (leaves as u64).next_power_of_two() as i64 / group;
        let end = self.b.constant(leaves);
        let mut parts = Vec::with_capacity(own as usize);
        for k in 0..own {
            let leaf = self.b.indices().offset(standing.lane, k * group);
            let within = self.b.indices().less(leaf, end);
            let needed = self.b.indices().all([standing.here, within]);
            if self.b.kernel().indices.is_known(within) == Some(false) {
                break;
            }
            let part = self.where_needed(needed, |lower| lower.leaf(line, reduction, standing.place, leaf))?;
            parts.push((leaf, part));
        }
        self.joined(reduction, parts, own, leaves, Order::of_leaves(line))
    }

    /// What the first thread of the program in a warp has found.
    fn of_first(&mut self, total: Partial) -> Use {
        let together = self.together_in_warp();
        match together {
            1 => total.found(),
            _ => self.shuffled(Shuffle::From, total.found(), 0, together),
        }
    }

    /// What the program's first thread has found, handed to all others.
    fn handed_on(&mut self, total: Partial) -> Result<Use, LowerError> {
        let found = total.found();
        let element = self.b.element(found);
        let stored = memory_type(element);
        self.beside_shared();
        let buffer = self.shared(stored, 1)?;
        let zero = self.b.constant(0);
        let (place, first) = (
            self.element_place(buffer, zero, stored),
            self.b.indices().equal(self.worker, zero),
        );
        self.where_needed(first, |lower| {
            lower.put(place, found);
            Ok(())
        })?;
        self.barrier();
        self.reads_shared(buffer);
        Ok(self.fetch(place, stored, element))
    }

    /// The number of an item's group, and its number in it.
    pub(in crate::lower) fn split(&mut self, item: Handle<Index>, group: i64) -> (Handle<Index>, Handle<Index>) {
        let by = self.b.constant(group);
        let which = self.b.indices().quotient(item, by);
        (which, self.b.indices().remainder(item, by))
    }
}
