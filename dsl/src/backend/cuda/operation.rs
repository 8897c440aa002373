//! What a value is computed by.

use super::Need;
use super::Writer;
use super::packet::{Lane, is_packed, shares_words};
use super::scalar::{self, Text};
use super::types::{bits_of, of_bits};
use crate::ir::{BinaryOp, Handle};
use crate::thread::WARP;
use crate::thread::{Operation, Shuffle, Type, Use, Value, Vote};

impl Writer<'_> {
    pub(super) fn compute(&mut self, value: Handle<Value>, operation: &Operation) {
        let element_of = |operand: Use| self.kernel.ty(operand).element;
        match operation {
            Operation::Argument(argument) => {
                let name = self.argument(*argument);
                self.alias(value, vec![Lane::Whole(name)]);
            }
            Operation::Read(register) => self.read_register(value, *register),
            Operation::Timer => {
                self.need(Need::Timer);
                self.define(value, &["tw_timer()".to_owned()]);
            }
            Operation::Load(load) => self.load(value, load),
            Operation::Unary { op, value: of } => {
                let (element, is_seen) = (element_of(*of), self.seen_as_bits.contains(&value));
                self.each_lane(value, [*of], |[of]| scalar::unary(*op, element, is_seen, of));
            }
            Operation::Binary { op, left, right } => {
                let element = element_of(*left);
                self.each_lane(value, [*left, *right], |[l, r]| scalar::binary(*op, element, l, r));
            }
            Operation::MulAdd { left, right, addend } => {
                let element = element_of(*left);
                let operands = [*left, *right, *addend];
                self.each_lane(value, operands, |[l, r, a]| scalar::mul_add(element, l, r, a));
            }
            Operation::Compare { op, left, right } => {
                self.each_lane(value, [*left, *right], |[l, r]| scalar::compare(*op, l, r));
            }
            Operation::Select {
                condition,
                accept,
                reject,
            } => self.select(value, *condition, *accept, *reject),
            Operation::Cast {
                value: of,
                to,
                rounding,
            } => {
                let from = element_of(*of);
                match scalar::narrows_pairs(from, *to) {
                    Some((function, need)) if is_packed(self.kernel.values[value].ty) => {
                        self.narrowed(value, *of, function, need);
                    }
                    _ => self.each_lane(value, [*of], |[of]| scalar::cast(from, *to, *rounding, of)),
                }
            }
            Operation::Bitcast { value: of, to } => self.bitcast(value, *of, *to),
            Operation::Canonical(Use::Value(of)) if self.canonical.contains(of) => {
                let lanes = self.values[of.index()].clone();
                self.alias(value, lanes);
            }
            Operation::Canonical(of) => self.each_lane(value, [*of], |[of]| scalar::canonical(of)),
            Operation::Funnel { low, high, by } => self.each_lane(value, [*low, *high, *by], |[low, high, by]| {
                Text::plain(format!("__funnelshift_r({low}, {high}, {by})"))
            }),
            Operation::Join(parts) => {
                let mut lanes = Vec::new();
                parts.iter().for_each(|part| lanes.extend(self.lanes(*part)));
                self.alias(value, lanes);
            }
            Operation::Part {
                value: of,
                first,
                lanes,
            } => {
                let (first, count) = (usize::from(*first), usize::from(*lanes));
                let lanes = self.lanes(*of)[first..first + count].to_vec();
                self.alias(value, lanes);
            }
            Operation::Repeat { value: of, lanes } => {
                let lane = self.lanes(*of).swap_remove(0);
                self.alias(value, vec![lane; usize::from(*lanes)]);
            }
            Operation::Shuffle {
                kind,
                value: of,
                by,
                group,
            } => self.shuffle(value, *kind, *of, *by, *group),
            Operation::Vote { kind, condition, group } => self.vote(value, *kind, *condition, *group),
            Operation::WarpReduce { op, value: of } => self.warp_reduce(value, *op, *of),
        }
    }

    /// Computes each lane of a value from those of the operands.
    fn each_lane<const N: usize>(
        &mut self,
        value: Handle<Value>,
        operands: [Use; N],
        text: impl Fn([&str; N]) -> Text,
    ) {
        let lanes = usize::from(self.kernel.values[value].ty.lanes);
        let mut texts = Vec::with_capacity(lanes);
        for lane in 0..lanes {
            let operands = operands.map(|operand| self.lane(operand, lane));
            let text = text(std::array::from_fn(|at| operands[at].as_str()));
            text.needs.into_iter().for_each(|need| self.need(need));
            texts.push(text.text);
        }
        self.define(value, &texts);
    }

    /// Lanes of f32 as narrower floats, of which `function` makes two at once.
    fn narrowed(&mut self, value: Handle<Value>, of: Use, function: &str, need: Need) {
        self.need(need);
        let ty = self.kernel.values[value].ty;
        let lanes: Vec<_> = (0..usize::from(ty.lanes)).map(|lane| self.lane(of, lane)).collect();
        let pair = |pair: &[String]| {
            let high = pair.get(1).map_or("0.0f", String::as_str);
            format!("{function}({}, {high})", pair[0])
        };
        let pairs: Vec<_> = lanes.chunks(2).map(pair).collect();
        let in_word = 2 / ty.element.size();
        let word = |pairs: &[String]| match pairs {
            [low, high] => format!("({low} | {high} << 16)"),
            _ => pairs.concat(),
        };
        let words: Vec<_> = pairs.chunks(in_word).map(word).collect();
        self.define_words(value, &words);
    }

    fn select(&mut self, value: Handle<Value>, condition: Use, accept: Use, reject: Use) {
        let ty = self.kernel.values[value].ty;
        let whole = [accept, reject].iter().all(|side| self.kernel.ty(*side) == ty);
        // Of lanes that go together whole words do.
        if is_packed(ty) && whole && self.kernel.ty(condition).lanes == 1 {
            let condition = self.lane(condition, 0);
            let (accept, reject) = (self.words(accept), self.words(reject));
            let text = |(accept, reject): (&String, &String)| format!("{condition} ? {accept} : {reject}");
            let texts: Vec<String> = accept.iter().zip(&reject).map(text).collect();
            return self.define_words(value, &texts);
        }
        self.each_lane(value, [condition, accept, reject], |[condition, accept, reject]| {
            Text::plain(format!("{condition} ? {accept} : {reject}"))
        });
    }

    fn bitcast(&mut self, value: Handle<Value>, of: Use, to: Type) {
        let from = self.kernel.ty(of);
        if from.lanes != to.lanes {
            let words = self.words(of);
            return self.define_from_words(value, words);
        }
        if !shares_words(from.element) {
            let (from, to) = (from.element, to.element);
            return self.each_lane(value, [of], |[of]| match from == to {
                true => Text::plain(of),
                false => Text::plain(of_bits(to, &bits_of(from, of))),
            });
        }
        // In a word a lane is bits; by itself it has a type.
        let lane = |lane: Lane| match lane {
            Lane::Whole(text) => Lane::Whole(of_bits(to.element, &text)),
            slice @ Lane::Slice { .. } => slice,
        };
        let lanes = self.lanes(of).into_iter().map(lane).collect();
        self.alias(value, lanes);
    }

    /// The threads of a group that meet, as a mask of their warp's, and the first one's number in the warp.
    /// Where the whole warp comes by, that of all of it.
    pub(super) fn group_mask(&self, group: u32) -> (String, String) {
        let all = || "0xffffffffU".to_owned();
        if group == WARP {
            return (all(), "0".to_owned());
        }
        let first = format!("(thread & {})", WARP - group);
        let members = match self.met_by_warps.contains(&group) {
            true => all(),
            false => format!("({}U << {first})", (1u32 << group) - 1),
        };
        (members, first)
    }

    fn shuffle(&mut self, value: Handle<Value>, kind: Shuffle, of: Use, by: Use, group: u32) {
        let element = self.kernel.ty(of).element;
        let name = match kind {
            Shuffle::Up => "__shfl_up_sync",
            Shuffle::Down => "__shfl_down_sync",
            Shuffle::Exchange => "__shfl_xor_sync",
            Shuffle::From => "__shfl_sync",
        };
        let (mask, _) = self.group_mask(group);
        let by = format!("(int){}", self.lane(by, 0));
        let moved = |bits: &str| format!("{name}({mask}, {bits}, {by}, {group})");
        match shares_words(element) {
            true => {
                let word = self.words(of).swap_remove(0);
                self.define_words(value, &[moved(&word)]);
            }
            false => {
                let bits = bits_of(element, &self.lane(of, 0));
                self.define(value, &[of_bits(element, &moved(&bits))]);
            }
        }
    }

    fn warp_reduce(&mut self, value: Handle<Value>, op: BinaryOp, of: Use) {
        self.need(Need::WarpReduce);
        let name = match op {
            BinaryOp::Min => "min",
            BinaryOp::Max => "max",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Xor => "xor",
            _ => "add",
        };
        let own = self.lane(of, 0);
        self.define(value, &[format!("tw_warp_{name}({own})")]);
    }

    fn vote(&mut self, value: Handle<Value>, kind: Vote, condition: Use, group: u32) {
        let (mask, first) = self.group_mask(group);
        let condition = self.lane(condition, 0);
        // The bits of the group, of those of the warp.
        let own = u32::MAX >> (WARP - group);
        let text = match kind {
            Vote::All if group == WARP => format!("__all_sync({mask}, {condition}) != 0"),
            Vote::Any if group == WARP => format!("__any_sync({mask}, {condition}) != 0"),
            Vote::All => format!("(__ballot_sync({mask}, !{condition}) >> {first} & {own}U) == 0"),
            Vote::Any => format!("(__ballot_sync({mask}, {condition}) >> {first} & {own}U) != 0"),
            Vote::Ballot => format!("__ballot_sync({mask}, {condition}) >> {first} & {own}U"),
        };
        self.define(value, &[text]);
    }
}
