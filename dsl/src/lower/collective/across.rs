//! Partial results of threads: those of a warp, of the warps of a block, and of the blocks of a cluster, are combined.

use super::super::access::memory_type;
use super::super::{Lower, LowerError};
use super::partial::{Order, Partial};
use super::reduce::{Share, Total};
use super::warp::neutral;
use super::{Line, Standing};
use crate::element::ElementType;
use crate::ir::{BinaryOp, Combine, Handle, Reduction};
use crate::thread::{Index, Shuffle};

/// Threads whose exchanges take longer than what a warp does at once.
const LEAST_AT_ONCE: i64 = 8;

impl Lower<'_> {
    /// Combines what the threads of a group of several warps have: each of its warps does, and the first thread of each
    /// has the total at least. They hand each other what each thread has, or each warp, if a warp finds that at once.
    pub(super) fn across_warps(
        &mut self,
        line: &Line,
        reduction: &Reduction,
        share: Share,
        own: Partial,
        standing: Standing,
    ) -> Result<Total, LowerError> {
        let Share { group, leaves, .. } = share;
        let (warp, stored) = (Self::warp(), memory_type(line.element));
        let (own, each) = match self.reduced_by_warp(reduction, own, standing.lane, leaves)? {
            Some(of_warp) => (of_warp, warp),
            None => (own, 1),
        };
        let (_, lane) = self.split(self.worker, warp);
        // Of the only line every warp finds the total, also one that has no part of it.
        let (first, reads) = match share.lines {
            1 => (self.b.constant(0), self.b.indices().always(true)),
            _ => {
                let (which, _) = self.split(self.worker, group);
                (self.b.indices().scale(which, group / each), standing.here)
            }
        };
        let count = self.b.constant(leaves);
        let (mine, rest) = self.split(self.worker, each);
        let first_of_own = self.b.indices().subtract(standing.lane, rest);
        let within = self.b.indices().less(first_of_own, count);
        let zero = self.b.constant(0);
        let is_first = self.b.indices().equal(rest, zero);
        let parts = (share.active() / each) as u64;
        self.beside_shared();
        let values = self.shared_in_each(stored, parts)?;
        let at = match own.at {
            Some(_) => Some(self.shared_in_each(ElementType::I32, parts)?),
            None => None,
        };
        // Who tells which block: each thread all of them what is its own, or what is of a warp each block another thread of it.
        let blocks = i64::from(self.b.kernel().cluster);
        let tells = match (blocks, each) {
            (1, _) => vec![(None, is_first)],
            (_, 1) => (0..blocks)
                .map(|block| (Some(self.b.constant(block)), is_first))
                .collect(),
            _ => {
                let end = self.b.constant(blocks);
                vec![(Some(self.split(rest, blocks).1), self.b.indices().less(rest, end))]
            }
        };
        for (block, is_told) in tells {
            let kept = self.b.indices().all([standing.here, within, is_told]);
            self.where_needed(kept, |lower| {
                let to = lower.element_place(values, mine, stored);
                lower.put_in(block, to, own.value);
                if let (Some(buffer), Some(at)) = (at, own.at) {
                    let to = lower.element_place(buffer, mine, ElementType::I32);
                    lower.put_in(block, to, at);
                }
                Ok(())
            })?;
        }
        self.barrier();
        self.reads_shared(values);
        at.into_iter().for_each(|at| self.reads_shared(at));
        let leaves = (leaves.min(group) + each - 1) / each;
        let count = self.b.constant(leaves);
        let rows = (group / each + warp - 1) / warp;
        let mut parts = Vec::with_capacity(rows as usize);
        for row in 0..rows {
            let leaf = self.b.indices().offset(lane, row * warp);
            let within = self.b.indices().less(leaf, count);
            if self.b.kernel().indices.is_known(within) == Some(false) {
                break;
            }
            let needed = self.b.indices().all([reads, within]);
            let from = self.b.indices().add(first, leaf);
            let part = self.where_needed(needed, |lower| {
                let place = lower.element_place(values, from, stored);
                let value = lower.fetch(place, stored, line.element);
                let at = at.map(|buffer| {
                    let place = lower.element_place(buffer, from, ElementType::I32);
                    lower.fetch(place, ElementType::I32, ElementType::I32)
                });
                Ok(Partial { value, at })
            })?;
            parts.push((leaf, part));
        }
        let own = self.joined(reduction, parts, rows, leaves, Order::Any)?;
        self.across(reduction, own, lane, leaves, warp)
    }

    /// The same, where all groups of a warp have the same: a warp may find at once what does not change by being taken twice.
    pub(super) fn across_alike(
        &mut self,
        reduction: &Reduction,
        own: Partial,
        lane: Handle<Index>,
        count: i64,
        group: i64,
    ) -> Result<Total, LowerError> {
        let takes_again = match reduction {
            Reduction::Combine(Combine::Operator(op)) => !matches!(op, BinaryOp::Add | BinaryOp::Xor),
            Reduction::Combine(Combine::Function(_)) => false,
            Reduction::ArgMin | Reduction::ArgMax => true,
        };
        let is_sooner = group >= LEAST_AT_ONCE && takes_again && self.together_in_warp() == Self::warp();
        if is_sooner && let Some(total) = self.reduced_by_warp(reduction, own, lane, count)? {
            return Ok(Total { total, in_group: true });
        }
        self.across(reduction, own, lane, count, group)
    }

    /// Combines what the threads of a group have, of whom `count` have something; the first one has the total at least.
    pub(super) fn across(
        &mut self,
        reduction: &Reduction,
        mut own: Partial,
        lane: Handle<Index>,
        mut count: i64,
        group: i64,
    ) -> Result<Total, LowerError> {
        if group == Self::warp()
            && self.together_in_warp() == group
            && let Some(total) = self.reduced_by_warp(reduction, own, lane, count)?
        {
            return Ok(Total { total, in_group: true });
        }
        // Both of a pair find the same: no operator that lines are reduced by tells left from right.
        let operator = match reduction {
            Reduction::Combine(Combine::Operator(op)) => Some(*op),
            _ => None,
        };
        if count < group
            && let Some(neutral) = operator.and_then(|op| neutral(op, self.b.element(own.value)))
        {
            let end = self.b.constant(count);
            let there = self.b.indices().less(lane, end);
            own.value = self.chosen(there.into(), own.value, neutral.into())?;
            count = group;
        }
        let is_operator = operator.is_some();
        let in_group = group == 1 || (is_operator && count >= group);
        let kind = if in_group { Shuffle::Exchange } else { Shuffle::Down };
        // All of a warp's threads of the program take part, so that it is known which do; who is told of another group's
        // has no use for it.
        let (mut half, together) = (group / 2, self.together_in_warp());
        while half > 0 {
            let other = Partial {
                value: self.shuffled(kind, own.value, half, together),
                at: own.at.map(|at| self.shuffled(kind, at, half, together)),
            };
            // Those behind the first half have no more use for theirs; of the others all have a partner after the first step.
            let (behind, end) = (self.b.indices().offset(lane, half), self.b.constant(count));
            let there = match half == group / 2 && count < group {
                true => self.b.indices().less(behind, end),
                false => self.b.indices().always(true),
            };
            own = self.better(reduction, own, other, there, Order::Any)?;
            half /= 2;
        }
        Ok(Total { total: own, in_group })
    }
}
