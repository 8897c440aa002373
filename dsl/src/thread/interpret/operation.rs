//! What operations compute.

use arrayvec::ArrayVec;

use super::memory::Touch;
use super::{Fault, Machine, Packet, Passed};
use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{Literal, UnaryOp};
use crate::thread::barriers::WARP;
use crate::thread::{Load, Operation, Order, Rounding, Shuffle, Type, Use, Vote};

impl Machine<'_> {
    /// What an operation gives one thread. `active` are all that do it.
    pub(super) fn compute(
        &mut self,
        operation: &Operation,
        ty: Type,
        thread: u32,
        active: &[u32],
    ) -> Result<Packet, Fault> {
        let element_of = |operand: &Use| self.kernel.ty(*operand).element;
        let of = |machine: &Self, operand: &Use| machine.operand(*operand, thread);
        let lanes = usize::from(ty.lanes);
        match operation {
            Operation::Argument(argument) => match &self.arguments[argument.index()] {
                Passed::Scalar(bits) => Ok(std::iter::once(*bits).collect()),
                Passed::Pointer(_) | Passed::Bytes(_) => panic!("argument {} is a scalar", argument.index()),
            },
            Operation::Read(register) => Ok(self.registers[register.index()].of(thread).iter().copied().collect()),
            Operation::Timer => {
                self.time += super::STEP_NS;
                Ok(std::iter::once(self.time).collect())
            }
            Operation::Load(load) => self.load(load, thread),
            Operation::Unary { op, value } => {
                let element = element_of(value);
                let touches_sign = matches!(op, UnaryOp::Negate | UnaryOp::Abs);
                self.each(lanes, [value], thread, |x| {
                    let found = arithmetic::unary(*op, literal(element, x[0]))?;
                    Some(if touches_sign { found } else { any_nan(found) })
                })
            }
            Operation::Binary { op, left, right } => {
                let element = element_of(left);
                self.each(lanes, [left, right], thread, |x| {
                    let found = arithmetic::binary(*op, literal(element, x[0]), literal(element, x[1]))?;
                    Some(any_nan(found))
                })
            }
            Operation::MulAdd { left, right, addend } => {
                let element = element_of(left);
                let operands = [left, right, addend];
                self.each(lanes, operands, thread, |x| {
                    let [l, r, a] = [x[0], x[1], x[2]].map(|bits| literal(element, bits));
                    arithmetic::mul_add(l, r, a).map(any_nan)
                })
            }
            Operation::Compare { op, left, right } => {
                let element = element_of(left);
                self.each(lanes, [left, right], thread, |x| {
                    arithmetic::compare(*op, literal(element, x[0]), literal(element, x[1])).map(Literal::new)
                })
            }
            Operation::Select {
                condition,
                accept,
                reject,
            } => {
                let element = element_of(accept);
                let operands = [condition, accept, reject];
                self.each(lanes, operands, thread, |x| {
                    Some(literal(element, if x[0] != 0 { x[1] } else { x[2] }))
                })
            }
            Operation::Cast { value, to, rounding } => {
                let element = element_of(value);
                self.each(lanes, [value], thread, |x| {
                    let found = arithmetic::cast(literal(element, x[0]), *to)?;
                    match rounding {
                        Rounding::NearestEven => Some(any_nan(found)),
                        Rounding::Zero => toward_zero(literal(element, x[0]), found).map(any_nan),
                    }
                })
            }
            Operation::Bitcast { value, to } => {
                let (from, packet) = (element_of(value).size(), of(self, value));
                let bytes: Vec<u8> = packet
                    .iter()
                    .flat_map(|bits| bits.to_le_bytes()[..from].to_vec())
                    .collect();
                let word = |lane: &[u8]| {
                    let mut word = [0; 8];
                    word[..lane.len()].copy_from_slice(lane);
                    u64::from_le_bytes(word)
                };
                Ok(bytes.chunks(to.element.size()).map(word).collect())
            }
            Operation::Canonical(value) => {
                let element = element_of(value);
                self.each(lanes, [value], thread, |x| {
                    let value = literal(element, x[0]);
                    Some(if is_nan(value) { canonical(element) } else { value })
                })
            }
            Operation::Funnel { low, high, by } => {
                let operands = [low, high, by];
                self.each(lanes, operands, thread, |x| {
                    let word = (x[1] << 32 | x[0]) >> (x[2] % 32);
                    Some(Literal::new(word as u32))
                })
            }
            Operation::Join(parts) => Ok(parts.iter().flat_map(|part| of(self, part)).collect()),
            Operation::Part { value, first, lanes } => {
                let packet = of(self, value);
                Ok(packet.into_iter().skip((*first).into()).take((*lanes).into()).collect())
            }
            Operation::Repeat { value, lanes } => {
                let bits = self.scalar(*value, thread);
                Ok((0..*lanes).map(|_| bits).collect())
            }
            Operation::Shuffle { kind, value, by, group } => {
                self.are_all_here(*group, thread, active)?;
                let by = self.scalar(*by, thread) as u32;
                let (first, own) = (thread / group * group, thread % group);
                let wanted = match kind {
                    Shuffle::Up => own.checked_sub(by),
                    Shuffle::Down => Some(own + by),
                    Shuffle::Exchange => Some(own ^ by),
                    Shuffle::From => Some(by),
                };
                let from = wanted.filter(|wanted| wanted < group).unwrap_or(own);
                Ok(self.operand(*value, first + from))
            }
            Operation::Vote { kind, condition, group } => {
                let first = thread / group * group;
                let mut voters = (0..*group).filter(|number| !self.ended.contains(&(first + number)));
                let here = voters
                    .clone()
                    .all(|number| active.binary_search(&(first + number)).is_ok());
                if !here {
                    return self.fault(thread, format!("not all of {group} threads vote"));
                }
                let holds = |number: u32| self.scalar(*condition, first + number) != 0;
                let found = match kind {
                    Vote::All => u64::from(voters.all(holds)),
                    Vote::Any => u64::from(voters.any(holds)),
                    Vote::Ballot => voters.map(|number| u64::from(holds(number)) << number).sum(),
                };
                Ok(std::iter::once(found).collect())
            }
            Operation::WarpReduce { op, value } => {
                self.are_all_here(WARP, thread, active)?;
                let (first, element) = (thread / WARP * WARP, self.kernel.ty(*value).element);
                let of = |thread| literal(element, self.scalar(*value, thread));
                let mut others = (first + 1..first + WARP).map(of);
                let combined = others.try_fold(of(first), |all, next| arithmetic::binary(*op, all, next));
                match combined {
                    Some(found) => Ok(std::iter::once(found.bits).collect()),
                    None => self.fault(thread, "an operation that its operands do not have"),
                }
            }
        }
    }

    /// Each lane of operands that have one lane or as many.
    fn each<const N: usize>(
        &self,
        lanes: usize,
        operands: [&Use; N],
        thread: u32,
        compute: impl Fn([u64; N]) -> Option<Literal>,
    ) -> Result<Packet, Fault> {
        let mut packet = Packet::new();
        for lane in 0..lanes {
            let values = operands.iter().map(|operand| self.lane(**operand, thread, lane));
            let values: Option<ArrayVec<u64, N>> = values.collect();
            let values = values.and_then(|values| values.into_inner().ok());
            let Some(found) = values.and_then(&compute) else {
                return self.fault(thread, "an operation that its operands do not have");
            };
            packet.push(found.bits);
        }
        Ok(packet)
    }

    pub(super) fn are_all_here(&self, group: u32, thread: u32, active: &[u32]) -> Result<(), Fault> {
        // They are in the order of their numbers, each once.
        let first = thread / group * group;
        let here =
            active.partition_point(|&other| other < first + group) - active.partition_point(|&other| other < first);
        match here == group as usize {
            true => Ok(()),
            false => self.fault(thread, format!("not all of {group} threads meet")),
        }
    }

    fn load(&mut self, load: &Load, thread: u32) -> Result<Packet, Fault> {
        let lanes = usize::from(load.ty.lanes);
        let touch = match load.order {
            Order::Weak => Touch::Read,
            Order::Strong(..) => Touch::Atomic,
        };
        let here = |machine: &Self, lane| {
            load.predicate
                .is_none_or(|holds| machine.condition(holds, thread, lane))
        };
        let mut packet = Packet::new();
        for lane in 0..lanes {
            packet.push(match here(self, lane) {
                true if lane == 0 && !self.is_aligned(load.place, load.ty.bytes(), thread) => {
                    return self.fault(thread, format!("{} is loaded from where it cannot be", load.ty));
                }
                true => self.read(load.place, load.ty.element, thread, lane, touch)?,
                false => 0,
            });
        }
        Ok(packet)
    }
}

fn literal(element: ElementType, bits: u64) -> Literal {
    Literal { element, bits }
}

fn is_nan(value: Literal) -> bool {
    match value.element {
        ElementType::F32 => f32::from_bits(value.bits as u32).is_nan(),
        ElementType::F64 => f64::from_bits(value.bits).is_nan(),
        _ => false,
    }
}

fn canonical(element: ElementType) -> Literal {
    literal(element, (1 << (element.bits() - 1)) - 1)
}

/// A NaN as no GPU has it, so that whatever relies on its bits is found.
fn any_nan(value: Literal) -> Literal {
    match value.element {
        ElementType::F32 if is_nan(value) => literal(value.element, 0xffc1_2345),
        ElementType::F64 if is_nan(value) => literal(value.element, 0xfff8_0000_1234_5678),
        _ => value,
    }
}

/// An f32 that is `nearest` to a value, or the one beside it that is nearer to zero, if the nearest is farther than the
/// value.
fn toward_zero(value: Literal, nearest: Literal) -> Option<Literal> {
    let found = nearest.get::<f32>()?;
    let is_beyond = match (value.as_integer(), value.get::<f64>()) {
        (Some(integer), _) => (found as i128).abs() > integer.abs(),
        (_, Some(float)) => f64::from(found).abs() > float.abs(),
        _ => false,
    };
    Some(match is_beyond {
        true => literal(ElementType::F32, nearest.bits - 1),
        false => nearest,
    })
}
