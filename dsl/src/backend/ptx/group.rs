//! Threads that meet: shuffles, votes, barriers, fences.

use super::memory::scope;
use super::register::{Class, Reg};
use super::value::{Held, class_of};
use super::writer::{Once, Writer};
use crate::element::ElementType;
use crate::ir::{BinaryOp, MemoryScope};
use crate::thread::{FenceOrder, Shuffle, Type, Use, Vote, WARP};

impl Writer<'_> {
    /// The threads of the warp that are in this thread's group, as a mask; where the whole warp comes by, all of it.
    fn members(&mut self, group: u32) -> String {
        if self.met_by_warps.contains(&group) {
            return format!("{:#x}", u32::MAX);
        }
        let mask = u32::MAX >> WARP.saturating_sub(group).min(WARP - 1);
        if group >= WARP || group == self.kernel.threads {
            return format!("{mask:#x}");
        }
        let first = self.first_of_group(group);
        let members = self.once(Once::Members(group), |w| {
            let mask = w.compute(Class::Word, "mov.b32", format_args!("{mask:#x}"));
            w.compute(Class::Word, "shl.b32", format_args!("{mask}, {first}"))
        });
        members.to_string()
    }

    /// The lane of the first thread of this thread's group.
    fn first_of_group(&mut self, group: u32) -> Reg {
        let thread = self.thread();
        self.once(Once::First(group), |w| {
            let lanes = (WARP - 1) & !(group - 1);
            w.compute(Class::Word, "and.b32", format_args!("{thread}, {lanes}"))
        })
    }

    pub(super) fn shuffle(&mut self, kind: Shuffle, value: Use, by: Use, group: u32) -> Held {
        let held = self.held(value);
        let by = self.register(by);
        let members = self.members(group);
        let (name, last) = match kind {
            Shuffle::Up => ("up", 0),
            Shuffle::Down => ("down", WARP - 1),
            Shuffle::Exchange => ("bfly", WARP - 1),
            Shuffle::From => ("idx", WARP - 1),
        };
        // Lanes in whose numbers these bits differ are in other groups.
        let limits = (WARP - group) << 8 | last;
        let word = |w: &mut Self, register: Reg| {
            w.compute(
                Class::Word,
                format_args!("shfl.sync.{name}.b32"),
                format_args!("{register}, {by}, {limits}, {members}"),
            )
        };
        let registers = match (class_of(held.ty.element), held.registers.first()) {
            (Class::Double, Some(register)) => {
                let halves = [self.fresh(Class::Word), self.fresh(Class::Word)];
                self.line(format!("mov.b64\t{{{}, {}}}, {register};", halves[0], halves[1]));
                let [low, high] = halves.map(|half| word(self, half));
                vec![self.compute(Class::Double, "mov.b64", format_args!("{{{low}, {high}}}"))]
            }
            (_, Some(register)) => vec![word(self, *register)],
            (_, None) => Vec::new(),
        };
        Held { registers, ..held }
    }

    pub(super) fn warp_reduce(&mut self, op: BinaryOp, value: Use) -> Held {
        let held = self.held(value);
        let members = self.members(WARP);
        let number = if held.ty.element == ElementType::I32 {
            "s32"
        } else {
            "u32"
        };
        let combined = match op {
            BinaryOp::Min => format!("min.{number}"),
            BinaryOp::Max => format!("max.{number}"),
            BinaryOp::And => "and.b32".to_owned(),
            BinaryOp::Or => "or.b32".to_owned(),
            BinaryOp::Xor => "xor.b32".to_owned(),
            _ => format!("add.{number}"),
        };
        let word = |register: &Reg| {
            let operands = format_args!("{register}, {members}");
            self.compute(Class::Word, format_args!("redux.sync.{combined}"), operands)
        };
        let registers = held.registers.iter().map(word).collect();
        Held { registers, ..held }
    }

    pub(super) fn vote(&mut self, kind: Vote, condition: Use, group: u32) -> Held {
        let condition = self.register(condition);
        let members = self.members(group);
        let operands = format!("{condition}, {members}");
        // All that vote, or those of the group among them.
        let is_alone = group >= WARP || group == self.kernel.threads;
        let register = match kind {
            Vote::All if is_alone => self.compute(Class::Predicate, "vote.sync.all.pred", operands),
            Vote::Any if is_alone => self.compute(Class::Predicate, "vote.sync.any.pred", operands),
            Vote::Ballot if is_alone => self.compute(Class::Word, "vote.sync.ballot.b32", operands),
            Vote::Ballot => self.ballot_of_group(operands, group),
            Vote::Any => {
                let ballot = self.ballot_of_group(operands, group);
                self.compute(Class::Predicate, "setp.ne.u32", format_args!("{ballot}, 0"))
            }
            Vote::All => {
                let ballot = self.ballot_of_group(format!("!{operands}"), group);
                self.compute(Class::Predicate, "setp.eq.u32", format_args!("{ballot}, 0"))
            }
        };
        let ty = match kind {
            Vote::All | Vote::Any => Type::CONDITION,
            Vote::Ballot => Type::scalar(ElementType::U32),
        };
        Held {
            ty,
            registers: vec![register],
        }
    }

    fn ballot_of_group(&mut self, operands: String, group: u32) -> Reg {
        let ballot = self.compute(Class::Word, "vote.sync.ballot.b32", operands);
        let first = self.first_of_group(group);
        let ballot = self.compute(Class::Word, "shr.u32", format_args!("{ballot}, {first}"));
        let own = u32::MAX >> (WARP - group);
        self.compute(Class::Word, "and.b32", format_args!("{ballot}, {own:#x}"))
    }

    /// Threads of a warp meet first, as the CUDA printer says. `bar.sync` would have ptxas take warps to be whole in the
    /// loops around it: it then leaves out that threads meet behind a loop that they end at different times, and shares
    /// registers among threads that are apart (13.0: atomic operations at wild addresses on an H200).
    pub(super) fn barrier(&mut self, group: u32) {
        if group == 1 {
            return;
        }
        let members = self.members(group.min(WARP));
        self.line(format!("bar.warp.sync\t{members};"));
        if group <= WARP {
            return;
        }
        if self.kernel.is_of_cluster(group) {
            self.line("barrier.cluster.arrive;");
            return self.line("barrier.cluster.wait;");
        }
        let first = self.kernel.barriers().get(&group).copied().unwrap_or(0);
        if group == self.kernel.threads {
            self.line(format!("barrier.sync\t{first};"));
            return;
        }
        let thread = self.thread();
        let number = self.once(Once::Barrier(group), |w| {
            let number = w.compute(Class::Word, "div.u32", format_args!("{thread}, {group}"));
            w.compute(Class::Word, "add.u32", format_args!("{number}, {first}"))
        });
        self.line(format!("barrier.sync\t{number}, {group};"));
    }

    pub(super) fn fence(&mut self, order: FenceOrder, within: MemoryScope) {
        let order = match order {
            FenceOrder::AcquireRelease => "acq_rel",
            FenceOrder::Sequential => "sc",
        };
        self.line(format!("fence.{order}.{};", scope(within)));
    }
}
