//! The types of operations.

use crate::element::ElementType;
use crate::ir::CompareOp;
use crate::thread::operation::{accepts_warp_reduce, is_computed};
use crate::thread::{
    ArgumentKind, Kernel, MAX_LANES, Operation, Type, Use, Vote, accepts_binary, accepts_cast, accepts_unary,
};

/// The type of what an operation computes, or what is wrong with it. Handles are of the kernel.
pub(in crate::thread) fn type_of(kernel: &Kernel, operation: &Operation) -> Result<Type, String> {
    let ty = |operand: &Use| kernel.ty(*operand);
    let lane_by_lane = |operands: &[Type]| lanes(operands);
    match operation {
        Operation::Argument(argument) => match kernel.arguments[*argument].kind {
            ArgumentKind::Scalar(element) => Ok(Type::scalar(element)),
            ArgumentKind::Pointer | ArgumentKind::Bytes { .. } => Err("an argument that is no scalar".to_owned()),
        },
        Operation::Read(register) => Ok(kernel.registers[*register].ty),
        Operation::Timer => Ok(Type::scalar(ElementType::U64)),
        Operation::Load(load) => Ok(load.ty),
        Operation::Unary { op, value } => {
            let ty = ty(value);
            is(accepts_unary(*op, ty.element), || format!("{} of {ty}", op.name()))?;
            Ok(ty)
        }
        Operation::Binary { op, left, right } => {
            let (l, r) = (ty(left), ty(right));
            let accepts = l.element == r.element && accepts_binary(*op, l.element);
            is(accepts, || format!("{} of {l} and {r}", op.name()))?;
            Ok(l.with_lanes(lane_by_lane(&[l, r])?))
        }
        Operation::MulAdd { left, right, addend } => {
            let all = [left, right, addend].map(ty);
            let element = all[0].element;
            let float = matches!(element, ElementType::F32 | ElementType::F64);
            is(float && all.iter().all(|ty| ty.element == element), || {
                format!("a product and sum of {all:?}")
            })?;
            Ok(all[0].with_lanes(lane_by_lane(&all)?))
        }
        Operation::Compare { op, left, right } => {
            let (l, r) = (ty(left), ty(right));
            let equality = matches!(op, CompareOp::Equal | CompareOp::NotEqual);
            let computed = is_computed(l.element) && (equality || l.element != ElementType::Bool);
            is(l.element == r.element && computed, || {
                format!("{} of {l} and {r}", op.name())
            })?;
            Ok(Type::packet(ElementType::Bool, lane_by_lane(&[l, r])?))
        }
        Operation::Select {
            condition,
            accept,
            reject,
        } => {
            let all = [condition, accept, reject].map(ty);
            let fits = all[0].element == ElementType::Bool && all[1].element == all[2].element;
            is(fits, || format!("a choice by {} of {} and {}", all[0], all[1], all[2]))?;
            Ok(all[1].with_lanes(lane_by_lane(&all)?))
        }
        Operation::Cast { value, to, rounding } => {
            let ty = ty(value);
            is(accepts_cast(ty.element, *to, *rounding), || {
                format!("{ty} to {to}, rounded to {}", rounding.name())
            })?;
            Ok(ty.with_element(*to))
        }
        Operation::Bitcast { value, to } => {
            let ty = ty(value);
            let bool = ty.element == ElementType::Bool || to.element == ElementType::Bool;
            let lanes = (1..=MAX_LANES).contains(&to.lanes);
            is(!bool && lanes && ty.bytes() == to.bytes(), || {
                format!("the bits of {ty} as {to}")
            })?;
            Ok(*to)
        }
        Operation::Canonical(value) => {
            let ty = ty(value);
            let float = matches!(ty.element, ElementType::F32 | ElementType::F64);
            is(float, || format!("the one NaN of {ty}"))?;
            Ok(ty)
        }
        Operation::Funnel { low, high, by } => {
            let all = [low, high, by].map(ty);
            let words = all.iter().all(|ty| ty.element == ElementType::U32);
            is(words, || format!("a funnel of {all:?}"))?;
            Ok(all[0].with_lanes(lane_by_lane(&all)?))
        }
        Operation::Join(parts) => {
            let first = parts.first().map(ty).ok_or("a packet of nothing")?;
            let all = parts.iter().map(|part| u32::from(ty(part).lanes)).sum::<u32>();
            let same = parts.iter().all(|part| ty(part).element == first.element);
            let lanes = u8::try_from(all).ok().filter(|lanes| *lanes <= MAX_LANES);
            match lanes {
                Some(lanes) if same => Ok(first.with_lanes(lanes)),
                _ => Err(format!("a packet of {all} lanes, the first ones of {first}")),
            }
        }
        Operation::Part { value, first, lanes } => {
            let ty = ty(value);
            let end = u32::from(*first) + u32::from(*lanes);
            is(*lanes > 0 && end <= ty.lanes.into(), || {
                format!("{lanes} lanes of {ty}, from {first} on")
            })?;
            Ok(ty.with_lanes(*lanes))
        }
        Operation::Repeat { value, lanes } => {
            let ty = ty(value);
            let fits = ty.lanes == 1 && (1..=MAX_LANES).contains(lanes);
            is(fits, || format!("{ty} in {lanes} lanes"))?;
            Ok(ty.with_lanes(*lanes))
        }
        Operation::Shuffle { value, by, .. } => {
            let (ty, by) = (ty(value), ty(by));
            let fits = ty.lanes == 1 && ty.element != ElementType::Bool && by == Type::scalar(ElementType::U32);
            is(fits, || format!("a shuffle of {ty} by {by}"))?;
            Ok(ty)
        }
        Operation::Vote { kind, condition, .. } => {
            let ty = ty(condition);
            is(ty == Type::CONDITION, || format!("a vote of {ty}"))?;
            Ok(match kind {
                Vote::All | Vote::Any => Type::CONDITION,
                Vote::Ballot => Type::scalar(ElementType::U32),
            })
        }
        Operation::WarpReduce { op, value } => {
            let ty = ty(value);
            let fits = ty.lanes == 1 && accepts_warp_reduce(*op, ty.element);
            is(fits, || format!("{} of {ty} by a warp", op.name()))?;
            Ok(ty)
        }
    }
}

fn is(right: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(what()) }
}

/// The lanes of what is done lane by lane.
fn lanes(operands: &[Type]) -> Result<u8, String> {
    let most = operands.iter().map(|ty| ty.lanes).max().unwrap_or(1);
    match operands.iter().find(|ty| ty.lanes != 1 && ty.lanes != most) {
        Some(ty) => Err(format!("{} lanes beside {most}", ty.lanes)),
        None => Ok(most),
    }
}
