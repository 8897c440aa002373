//! Operations on elements, lane by lane.

use super::number::{arithmetic_type, bit_type, canonical_nan, immediate};
use super::register::{Class, Reg};
use super::value::{Held, class_of, is_packed};
use super::writer::Writer;
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Literal, UnaryOp};
use crate::thread::{Operation, Type, Use};

/// An integer division, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Division {
    /// The quotient is wanted, or else the remainder.
    pub(super) quotient: bool,
    pub(super) signed: bool,
    /// The divisor may be 0.
    pub(super) by_zero: bool,
    /// The divisor may be -1.
    pub(super) by_minus_one: bool,
}

impl Writer<'_> {
    /// Does something with each lane of some operands.
    fn each_lane<const N: usize>(
        &mut self,
        ty: Type,
        operands: [Use; N],
        mut compute: impl FnMut(&mut Self, [Reg; N]) -> Reg,
    ) -> Held {
        let spread = operands.map(|operand| self.spread(operand, ty.lanes));
        let lanes = (0..usize::from(ty.lanes))
            .map(|lane| compute(self, std::array::from_fn(|at| spread[at][lane])))
            .collect();
        self.gather(ty, lanes)
    }

    pub(super) fn unary(&mut self, ty: Type, op: UnaryOp, value: Use) -> Held {
        self.each_lane(ty, [value], |w, [value]| w.unary_lane(op, ty.element, value))
    }

    fn unary_lane(&mut self, op: UnaryOp, element: ElementType, x: Reg) -> Reg {
        let (class, ty, bits) = (class_of(element), arithmetic_type(element), bit_type(element));
        let is_float = element.is_float();
        match op {
            // The sign alone, of NaN too.
            UnaryOp::Negate if is_float => self.compute(
                class,
                format_args!("xor.{bits}"),
                format_args!("{x}, {}", sign(element)),
            ),
            UnaryOp::Abs if is_float => self.compute(
                class,
                format_args!("and.{bits}"),
                format_args!("{x}, {}", canonical_nan(element)),
            ),
            UnaryOp::Negate => {
                let negative = self.compute(class, format_args!("neg.{ty}"), x);
                self.wrap(element, negative)
            }
            // The smallest integer stays itself: ptxas takes what `abs` gives for not negative, so it sees none.
            UnaryOp::Abs => {
                let negative = self.compute(class, format_args!("neg.{ty}"), x);
                let is_negative = self.compute(Class::Predicate, format_args!("setp.lt.{ty}"), format_args!("{x}, 0"));
                let absolute = self.compute(
                    class,
                    format_args!("selp.{bits}"),
                    format_args!("{negative}, {x}, {is_negative}"),
                );
                self.wrap(element, absolute)
            }
            UnaryOp::Not if element == ElementType::Bool => self.compute(class, "not.pred", x),
            UnaryOp::Not => {
                let not = self.compute(class, format_args!("not.{bits}"), x);
                self.wrap(element, not)
            }
            UnaryOp::CountOnes => {
                let x = self.unsigned(element, x);
                let count = self.compute(Class::Word, format_args!("popc.{bits}"), x);
                self.widened(element, count)
            }
            UnaryOp::LeadingZeros => {
                let x = self.unsigned(element, x);
                let count = self.compute(Class::Word, format_args!("clz.{bits}"), x);
                let above = class.bits() - element.bits();
                let count = match above {
                    0 => count,
                    _ => self.compute(Class::Word, "sub.s32", format_args!("{count}, {above}")),
                };
                self.widened(element, count)
            }
            UnaryOp::TrailingZeros => {
                let x = match element.size() {
                    // A bit above the highest one, which is found if there is no other.
                    1 | 2 => self.compute(class, "or.b32", format_args!("{x}, {}", 1u32 << element.bits())),
                    _ => x,
                };
                let reversed = self.compute(class, format_args!("brev.{bits}"), x);
                let count = self.compute(Class::Word, format_args!("clz.{bits}"), reversed);
                self.widened(element, count)
            }
            UnaryOp::Floor => self.compute(class, format_args!("cvt.rmi.{ty}.{ty}"), x),
            UnaryOp::Ceil => self.compute(class, format_args!("cvt.rpi.{ty}.{ty}"), x),
            UnaryOp::Round => self.compute(class, format_args!("cvt.rni.{ty}.{ty}"), x),
            UnaryOp::Trunc => self.compute(class, format_args!("cvt.rzi.{ty}.{ty}"), x),
            UnaryOp::Sqrt => self.compute(class, format_args!("sqrt.rn.{ty}"), x),
            UnaryOp::Rsqrt
            | UnaryOp::Exp
            | UnaryOp::Exp2
            | UnaryOp::Ln
            | UnaryOp::Log2
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tanh => {
                self.refuse(format_args!("{} of {element}", op.name()));
                x
            }
        }
    }

    /// An integer without the sign that it was extended by.
    fn unsigned(&mut self, element: ElementType, x: Reg) -> Reg {
        match element {
            ElementType::I8 | ElementType::I16 => self.compute(
                Class::Word,
                "and.b32",
                format_args!("{x}, {}", (1u32 << element.bits()) - 1),
            ),
            _ => x,
        }
    }

    /// A small number of 32 bits as an element.
    fn widened(&mut self, element: ElementType, count: Reg) -> Reg {
        match class_of(element) {
            Class::Double => self.compute(Class::Double, "cvt.u64.u32", count),
            _ => count,
        }
    }

    pub(super) fn binary(&mut self, ty: Type, op: BinaryOp, left: Use, right: Use) -> Held {
        // A literal needs no register where an instruction takes numbers.
        if let Use::Literal(literal) = right
            && literal.element != ElementType::Bool
        {
            let spread = self.spread(left, ty.lanes);
            let lanes = spread
                .into_iter()
                .map(|left| self.binary_lane(op, ty.element, left, Right::Literal(literal)))
                .collect();
            return self.gather(ty, lanes);
        }
        self.each_lane(ty, [left, right], |w, [left, right]| {
            w.binary_lane(op, ty.element, left, Right::Register(right))
        })
    }

    fn binary_lane(&mut self, op: BinaryOp, element: ElementType, l: Reg, right: Right) -> Reg {
        let (class, ty, bits) = (class_of(element), arithmetic_type(element), bit_type(element));
        let (rounding, low) = match element.is_float() {
            true => (".rn", ""),
            false => ("", ".lo"),
        };
        let r = right.text();
        let two = format_args!("{l}, {r}").to_string();
        match op {
            BinaryOp::Add => {
                let sum = self.compute(class, format_args!("add{rounding}.{ty}"), two);
                self.wrap(element, sum)
            }
            BinaryOp::Subtract => {
                let difference = self.compute(class, format_args!("sub{rounding}.{ty}"), two);
                self.wrap(element, difference)
            }
            BinaryOp::Multiply => {
                let product = self.compute(class, format_args!("mul{rounding}{low}.{ty}"), two);
                self.wrap(element, product)
            }
            BinaryOp::MultiplyHigh if element.size() < 4 => {
                let product = self.compute(class, format_args!("mul.lo.{ty}"), two);
                self.compute(
                    class,
                    format_args!("shr.{ty}"),
                    format_args!("{product}, {}", element.bits()),
                )
            }
            BinaryOp::MultiplyHigh => self.compute(class, format_args!("mul.hi.{ty}"), two),
            BinaryOp::Divide if element.is_float() => self.compute(class, format_args!("div.rn.{ty}"), two),
            BinaryOp::Divide | BinaryOp::Remainder => {
                let division = Division {
                    quotient: op == BinaryOp::Divide,
                    signed: element.is_signed(),
                    by_zero: right.may_be(0),
                    by_minus_one: element.is_signed() && right.may_be(-1),
                };
                let result = self.divide(class, division, l, &r);
                self.wrap(element, result)
            }
            BinaryOp::Min | BinaryOp::Max | BinaryOp::Minimum | BinaryOp::Maximum if element.is_float() => {
                let r = self.in_register(element, right);
                self.float_smaller(op, element, l, r)
            }
            BinaryOp::Min | BinaryOp::Minimum => self.compute(class, format_args!("min.{ty}"), two),
            BinaryOp::Max | BinaryOp::Maximum => self.compute(class, format_args!("max.{ty}"), two),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => {
                let bits = if element == ElementType::Bool { "pred" } else { bits };
                self.compute(class, format_args!("{}.{bits}", op.name()), two)
            }
            BinaryOp::ShiftLeft | BinaryOp::ShiftRight => {
                let by = self.shift_amount(element, right);
                let two = format_args!("{l}, {by}").to_string();
                match op {
                    BinaryOp::ShiftLeft => {
                        let shifted = self.compute(class, format_args!("shl.{bits}"), two);
                        self.wrap(element, shifted)
                    }
                    _ => self.compute(class, format_args!("shr.{ty}"), two),
                }
            }
            BinaryOp::Power => {
                self.refuse(format_args!("{} of {element}", op.name()));
                l
            }
        }
    }

    fn in_register(&mut self, element: ElementType, right: Right) -> Reg {
        match right {
            Right::Register(register) => register,
            Right::Literal(literal) => self.compute(
                class_of(element),
                format_args!("mov.{}", bit_type(element)),
                super::number::bits(literal),
            ),
        }
    }

    /// How far to shift, modulo the width, as the 32 bits that shifts take.
    fn shift_amount(&mut self, element: ElementType, right: Right) -> String {
        let mask = element.bits() - 1;
        match right {
            Right::Literal(literal) => (literal.bits as u32 & mask).to_string(),
            Right::Register(by) => {
                let by = match by.class {
                    Class::Double => self.compute(Class::Word, "cvt.u32.u64", by),
                    _ => by,
                };
                self.compute(Class::Word, "and.b32", format_args!("{by}, {mask}"))
                    .to_string()
            }
        }
    }

    /// A quotient rounded toward zero or a remainder; 0 where the divisor is 0. What hardware makes of 0 and of -1 is its own
    /// business, and replaced.
    pub(super) fn divide(&mut self, class: Class, division: Division, l: Reg, r: &str) -> Reg {
        let (sign, bits) = (if division.signed { "s" } else { "u" }, class.bits());
        let name = if division.quotient { "div" } else { "rem" };
        let mut result = self.compute(class, format_args!("{name}.{sign}{bits}"), format_args!("{l}, {r}"));
        let mut replace = |w: &mut Self, divisor: i32, by: String| {
            let is = w.compute(
                Class::Predicate,
                format_args!("setp.eq.{sign}{bits}"),
                format_args!("{r}, {divisor}"),
            );
            result = w.compute(
                class,
                format_args!("selp.b{bits}"),
                format_args!("{by}, {result}, {is}"),
            );
        };
        if division.by_minus_one {
            let by = match division.quotient {
                true => self.compute(class, format_args!("neg.s{bits}"), l).to_string(),
                false => "0".to_owned(),
            };
            replace(self, -1, by);
        }
        if division.by_zero {
            replace(self, 0, "0".to_owned());
        }
        result
    }

    /// The smaller or larger of two floats, as [`crate::arithmetic`] has it.
    fn float_smaller(&mut self, op: BinaryOp, element: ElementType, l: Reg, r: Reg) -> Reg {
        let (class, ty, bits) = (class_of(element), arithmetic_type(element), bit_type(element));
        let smaller = matches!(op, BinaryOp::Min | BinaryOp::Minimum);
        let by_number = matches!(op, BinaryOp::Min | BinaryOp::Max);
        // One instruction, which knows that -0 is smaller than +0.
        if element == ElementType::F32 {
            let name = if smaller { "min" } else { "max" };
            let nan = if by_number { "" } else { ".NaN" };
            return self.compute(class, format_args!("{name}{nan}.f32"), format_args!("{l}, {r}"));
        }
        let test = |w: &mut Self, comparison: &str, left: Reg, right: Reg| {
            w.compute(
                Class::Predicate,
                format_args!("setp.{comparison}.{ty}"),
                format_args!("{left}, {right}"),
            )
        };
        // Of equal ones, which may be zeros of both signs, the bits decide: any that is negative, or none.
        let joined = self.compute(
            class,
            format_args!("{}.{bits}", if smaller { "or" } else { "and" }),
            format_args!("{l}, {r}"),
        );
        let equal = test(self, "eq", l, r);
        let left = test(self, if smaller { "lt" } else { "gt" }, l, r);
        let one = self.compute(class, format_args!("selp.{bits}"), format_args!("{l}, {r}, {left}"));
        let number = self.compute(
            class,
            format_args!("selp.{bits}"),
            format_args!("{joined}, {one}, {equal}"),
        );
        match by_number {
            // Where the right one is NaN nothing compares, and it was taken.
            true => {
                let nan = test(self, "nan", r, r);
                self.compute(class, format_args!("selp.{bits}"), format_args!("{l}, {number}, {nan}"))
            }
            false => {
                let nan = test(self, "nan", l, r);
                let none = canonical_nan(element);
                self.compute(
                    class,
                    format_args!("selp.{bits}"),
                    format_args!("{none}, {number}, {nan}"),
                )
            }
        }
    }

    pub(super) fn mul_add(&mut self, ty: Type, operands: [Use; 3]) -> Held {
        let name = arithmetic_type(ty.element);
        self.each_lane(ty, operands, |w, [left, right, addend]| {
            w.compute(
                class_of(ty.element),
                format_args!("fma.rn.{name}"),
                format_args!("{left}, {right}, {addend}"),
            )
        })
    }

    pub(super) fn compare(&mut self, ty: Type, op: CompareOp, left: Use, right: Use) -> Held {
        let element = self.kernel.ty(left).element;
        if element == ElementType::Bool {
            return self.each_lane(ty, [left, right], |w, [left, right]| {
                let differ = w.compute(Class::Predicate, "xor.pred", format_args!("{left}, {right}"));
                match op {
                    CompareOp::NotEqual => differ,
                    _ => w.compute(Class::Predicate, "not.pred", differ),
                }
            });
        }
        // With NaN only this one holds.
        let name = match op {
            CompareOp::NotEqual if element.is_float() => "neu",
            _ => op.name(),
        };
        let instruction = format!("setp.{name}.{}", arithmetic_type(element));
        if let Use::Literal(literal) = right {
            let spread = self.spread(left, ty.lanes);
            let number = immediate(literal);
            let lanes = spread
                .into_iter()
                .map(|left| self.compute(Class::Predicate, &instruction, format_args!("{left}, {number}")))
                .collect();
            return self.gather(ty, lanes);
        }
        self.each_lane(ty, [left, right], |w, [left, right]| {
            w.compute(Class::Predicate, &instruction, format_args!("{left}, {right}"))
        })
    }

    pub(super) fn select(&mut self, ty: Type, [condition, accept, reject]: [Use; 3]) -> Held {
        let bits = bit_type(ty.element);
        if ty.element == ElementType::Bool {
            return self.each_lane(ty, [condition, accept, reject], |w, [condition, accept, reject]| {
                let accepted = w.compute(Class::Predicate, "and.pred", format_args!("{condition}, {accept}"));
                let other = w.compute(Class::Predicate, "not.pred", condition);
                let rejected = w.compute(Class::Predicate, "and.pred", format_args!("{other}, {reject}"));
                w.compute(Class::Predicate, "or.pred", format_args!("{accepted}, {rejected}"))
            });
        }
        let types = [condition, accept, reject].map(|operand| self.kernel.ty(operand).lanes);
        // One condition decides about whole words.
        if is_packed(ty) && types == [1, ty.lanes, ty.lanes] {
            let condition = self.register(condition);
            let (accept, reject) = (self.held(accept), self.held(reject));
            let words = accept.registers.iter().zip(&reject.registers);
            let registers = words
                .map(|(accept, reject)| {
                    self.compute(Class::Word, "selp.b32", format_args!("{accept}, {reject}, {condition}"))
                })
                .collect();
            return Held { ty, registers };
        }
        self.each_lane(ty, [condition, accept, reject], |w, [condition, accept, reject]| {
            w.compute(
                class_of(ty.element),
                format_args!("selp.{bits}"),
                format_args!("{accept}, {reject}, {condition}"),
            )
        })
    }

    pub(super) fn canonical(&mut self, ty: Type, value: Use) -> Held {
        self.each_lane(ty, [value], |w, [value]| w.canonical_lane(ty.element, value, value))
    }

    /// `result`, or the canonical NaN of `element` where `of` is NaN, which is of that type.
    pub(super) fn canonical_lane(&mut self, element: ElementType, of: Reg, result: Reg) -> Reg {
        let ty = arithmetic_type(element);
        let nan = self.compute(
            Class::Predicate,
            format_args!("setp.nan.{ty}"),
            format_args!("{of}, {of}"),
        );
        self.compute(
            class_of(element),
            format_args!("selp.{}", bit_type(element)),
            format_args!("{}, {result}, {nan}", canonical_nan(element)),
        )
    }

    pub(super) fn funnel(&mut self, ty: Type, operands: [Use; 3]) -> Held {
        self.each_lane(ty, operands, |w, [low, high, by]| {
            w.compute(Class::Word, "shf.r.wrap.b32", format_args!("{low}, {high}, {by}"))
        })
    }

    /// What an operation computes.
    pub(super) fn operation(&mut self, ty: Type, operation: &Operation) -> Held {
        match operation {
            Operation::Argument(argument) => {
                let mut register = self.argument(*argument);
                if ty.element == ElementType::Bool {
                    register = self.compute(Class::Predicate, "setp.ne.u32", format_args!("{register}, 0"));
                }
                Held {
                    ty,
                    registers: vec![register],
                }
            }
            Operation::Read(register) => self.read(*register),
            Operation::Timer => Held {
                ty,
                registers: vec![self.compute(Class::Double, "mov.u64", "%globaltimer")],
            },
            Operation::Load(load) => self.load(load),
            Operation::Unary { op, value } => self.unary(ty, *op, *value),
            Operation::Binary { op, left, right } => self.binary(ty, *op, *left, *right),
            Operation::MulAdd { left, right, addend } => self.mul_add(ty, [*left, *right, *addend]),
            Operation::Compare { op, left, right } => self.compare(ty, *op, *left, *right),
            Operation::Select {
                condition,
                accept,
                reject,
            } => self.select(ty, [*condition, *accept, *reject]),
            Operation::Cast { value, rounding, .. } => self.cast(ty, *value, *rounding),
            Operation::Bitcast { value, to } => self.bitcast(*value, *to),
            Operation::Canonical(value) => self.canonical(ty, *value),
            Operation::Funnel { low, high, by } => self.funnel(ty, [*low, *high, *by]),
            Operation::Join(parts) => self.join(ty, parts),
            Operation::Part { value, first, lanes } => self.part(*value, *first, *lanes),
            Operation::Repeat { value, lanes } => self.repeat(*value, *lanes),
            Operation::Shuffle { kind, value, by, group } => self.shuffle(*kind, *value, *by, *group),
            Operation::Vote { kind, condition, group } => self.vote(*kind, *condition, *group),
            Operation::WarpReduce { op, value } => self.warp_reduce(*op, *value),
        }
    }
}

/// The right operand of an instruction that takes numbers too.
#[derive(Debug, Clone, Copy)]
enum Right {
    Register(Reg),
    Literal(Literal),
}

impl Right {
    fn text(self) -> String {
        match self {
            Self::Register(register) => register.to_string(),
            Self::Literal(literal) => immediate(literal),
        }
    }

    fn may_be(self, value: i128) -> bool {
        match self {
            Self::Register(_) => true,
            Self::Literal(literal) => literal.as_integer().is_none_or(|known| known == value),
        }
    }
}

const fn sign(element: ElementType) -> &'static str {
    match element {
        ElementType::F64 => "0x8000000000000000",
        _ => "0x80000000",
    }
}
