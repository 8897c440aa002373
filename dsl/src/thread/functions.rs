//! Numbers that a kernel is to compute, so that the text of [`crate::arithmetic`]'s functions makes their operations.

use std::cell::RefCell;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Sub};

use super::{Block, BufferKind, Builder, Load, Operation, Order, Rounding, Statement, Type, Use};
use crate::arithmetic::functions;
use crate::arithmetic::real::{DOUBLE, Format, Integer, Real, SINGLE, Truth};
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Handle, Literal, UnaryOp};
use crate::thread::Buffer;

/// A value under construction: of one type, and of one lane where something is looked up or chosen.
#[derive(Clone, Copy)]
struct Number<'a> {
    b: &'a RefCell<Builder>,
    operand: Use,
}

impl Builder {
    /// An operation that is a sequence of others, on f32 or f64, but for which NaN a NaN is; `None` of one that there
    /// is.
    pub(super) fn function(&mut self, op: UnaryOp, value: Use) -> Option<Use> {
        let lanes = self.kernel().ty(value).lanes;
        Some(match op {
            UnaryOp::Exp | UnaryOp::Exp2 | UnaryOp::Ln | UnaryOp::Log2 | UnaryOp::Tanh => {
                self.with_numbers([value], |[x]| function(op, x))
            }
            UnaryOp::Rsqrt => {
                let root = self.unary(UnaryOp::Sqrt, value);
                let one = float(self.element(value), 1.0);
                self.binary(BinaryOp::Divide, one, root)
            }
            // What is far from 0 goes another way, each lane its own.
            UnaryOp::Sin | UnaryOp::Cos => {
                let mut results = Vec::new();
                for lane in 0..lanes {
                    let value = self.part(value, lane, 1);
                    results.push(self.with_numbers([value], |[x]| function(op, x)));
                }
                self.join(results)
            }
            _ => return None,
        })
    }

    /// The exponential function, or that of base 2, of values of f32 or f64 that are at most 0 or NaN.
    pub(super) fn exponential_of_nonpositive(&mut self, op: UnaryOp, value: Use) -> Use {
        let result = self.with_numbers([value], |[x]| match op {
            UnaryOp::Exp2 => functions::exp2_of_nonpositive(x),
            _ => functions::exp_of_nonpositive(x),
        });
        if let Use::Value(result) = result
            && self.kernel().values[result].ty.element == ElementType::F32
        {
            self.kernel_mut().values[result].is_fraction = true;
        }
        result
    }

    /// A power of values of f32 or f64, but for which NaN a NaN is.
    pub(super) fn power(&mut self, base: Use, exponent: Use) -> Use {
        self.with_numbers([base, exponent], |[x, y]| functions::power(x, y))
    }

    /// f32 that are no NaN and not very small, divided by a number that is not less than 1 and not very large: exactly rounded.
    pub fn quotient_of_large(&mut self, value: Use, divisor: f32) -> Use {
        self.with_numbers([value], |[x]| functions::quotient_of_large(x, divisor))
    }

    fn with_numbers<const N: usize>(
        &mut self,
        operands: [Use; N],
        compute: impl for<'a> FnOnce([Number<'a>; N]) -> Number<'a>,
    ) -> Use {
        let b = RefCell::new(std::mem::replace(self, Builder::new("", 1)));
        let result = compute(operands.map(|operand| Number { b: &b, operand })).operand;
        *self = b.into_inner();
        result
    }

    /// The module's table of these words.
    fn table_buffer(&mut self, words: &[u64]) -> Handle<Buffer> {
        let table = self.table(words.to_vec());
        let kind = BufferKind::Table { table };
        let known = self.kernel().buffers.iter().find(|(_, buffer)| buffer.kind == kind);
        match known.map(|(handle, _)| handle) {
            Some(known) => known,
            None => self.buffer(format!("table{}", table.index()), 8, kind),
        }
    }
}

/// A constant of f32 or f64.
fn float(element: ElementType, value: f64) -> Use {
    Use::Literal(match element {
        ElementType::F32 => Literal::new(value as f32),
        _ => Literal::new(value),
    })
}

fn function<'a>(op: UnaryOp, x: Number<'a>) -> Number<'a> {
    match op {
        UnaryOp::Exp => functions::exp(x),
        UnaryOp::Exp2 => functions::exp2(x),
        UnaryOp::Ln => functions::ln(x),
        UnaryOp::Log2 => functions::log2(x),
        UnaryOp::Tanh => functions::tanh(x),
        UnaryOp::Sin => functions::sin(x),
        UnaryOp::Cos => functions::cos(x),
        // The others are operations.
        _ => x,
    }
}

impl Number<'_> {
    fn emit(self, operation: Operation) -> Self {
        self.with(self.b.borrow_mut().emit(operation))
    }

    fn with(self, operand: Use) -> Self {
        Self { operand, ..self }
    }

    fn unary(self, op: UnaryOp) -> Self {
        self.emit(Operation::Unary {
            op,
            value: self.operand,
        })
    }

    fn binary(self, op: BinaryOp, right: Self) -> Self {
        self.emit(Operation::Binary {
            op,
            left: self.operand,
            right: right.operand,
        })
    }

    fn compare(self, op: CompareOp, right: Self) -> Self {
        self.emit(Operation::Compare {
            op,
            left: self.operand,
            right: right.operand,
        })
    }

    fn cast(self, to: ElementType) -> Self {
        if self.ty().element == to {
            return self;
        }
        self.emit(Operation::Cast {
            value: self.operand,
            to,
            rounding: Rounding::NearestEven,
        })
    }

    fn ty(self) -> Type {
        self.b.borrow().kernel().ty(self.operand)
    }

    /// The same bits, as another type of the same width.
    fn as_bits(self, element: ElementType) -> Self {
        let ty = self.ty().with_element(element);
        self.with(self.b.borrow_mut().bitcast(self.operand, ty))
    }

    fn selected(condition: Self, accept: Self, reject: Self) -> Self {
        condition.emit(Operation::Select {
            condition: condition.operand,
            accept: accept.operand,
            reject: reject.operand,
        })
    }

    /// What `fill` does, as a block.
    fn block(self, fill: impl FnOnce()) -> Block {
        let nothing = || Builder::new("", 1);
        let mut builder = self.b.replace(nothing());
        let block = builder.inside(|b| {
            self.b.replace(std::mem::replace(b, nothing()));
            fill();
            *b = self.b.replace(nothing());
        });
        self.b.replace(builder);
        block
    }
}

impl Add for Number<'_> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.binary(BinaryOp::Add, other)
    }
}

impl Sub for Number<'_> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.binary(BinaryOp::Subtract, other)
    }
}

impl Mul for Number<'_> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.binary(BinaryOp::Multiply, other)
    }
}

impl Div for Number<'_> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        self.binary(BinaryOp::Divide, other)
    }
}

impl Neg for Number<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(UnaryOp::Negate)
    }
}

impl BitAnd for Number<'_> {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        self.binary(BinaryOp::And, other)
    }
}

impl BitOr for Number<'_> {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.binary(BinaryOp::Or, other)
    }
}

impl BitXor for Number<'_> {
    type Output = Self;
    fn bitxor(self, other: Self) -> Self {
        self.binary(BinaryOp::Xor, other)
    }
}

impl Not for Number<'_> {
    type Output = Self;
    fn not(self) -> Self {
        self.unary(UnaryOp::Not)
    }
}

impl Truth for Number<'_> {}

impl Integer for Number<'_> {
    type Truth = Self;

    fn of(self, value: u64) -> Self {
        let element = self.ty().element;
        self.with(Literal::wrap(element, value.into()).into())
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn minus(self, other: Self) -> Self {
        self - other
    }
    fn times(self, other: Self) -> Self {
        self * other
    }
    fn times_high(self, other: Self) -> Self {
        self.binary(BinaryOp::MultiplyHigh, other)
    }
    fn up(self, by: Self) -> Self {
        self.binary(BinaryOp::ShiftLeft, by)
    }
    fn down(self, by: Self) -> Self {
        self.binary(BinaryOp::ShiftRight, by)
    }
    fn leading_zeros(self) -> Self {
        self.unary(UnaryOp::LeadingZeros)
    }
    fn less(self, other: Self) -> Self {
        self.compare(CompareOp::Less, other)
    }
    fn equals(self, other: Self) -> Self {
        self.compare(CompareOp::Equal, other)
    }
    fn select(condition: Self, accept: Self, reject: Self) -> Self {
        Self::selected(condition, accept, reject)
    }
    fn look_up(self, table: &'static [u64]) -> Self {
        let mut b = self.b.borrow_mut();
        let buffer = b.table_buffer(table);
        let index = b.index(self.operand);
        let offset = b.indices().scale(index, 8);
        let load = Load {
            place: b.place(buffer, offset),
            ty: Type::scalar(ElementType::U64),
            order: Order::Weak,
            cache: None,
            read_only: false,
            predicate: None,
        };
        self.with(b.load(load))
    }
}

impl Real for Number<'_> {
    type Truth = Self;
    type Integer = Self;
    type Word = Self;

    fn format(self) -> &'static Format {
        match self.ty().element {
            ElementType::F32 => &SINGLE,
            _ => &DOUBLE,
        }
    }
    fn of(self, value: f64) -> Self {
        let element = self.ty().element;
        self.with(float(element, value))
    }
    fn abs(self) -> Self {
        self.unary(UnaryOp::Abs)
    }
    fn clamp(self, low: Self, high: Self) -> Self {
        self.maximum(low).binary(BinaryOp::Minimum, high)
    }
    fn maximum(self, other: Self) -> Self {
        self.binary(BinaryOp::Maximum, other)
    }
    fn round_ties_even(self) -> Self {
        self.unary(UnaryOp::Round)
    }
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self.emit(Operation::MulAdd {
            left: self.operand,
            right: factor.operand,
            addend: addend.operand,
        })
    }
    fn less(self, other: Self) -> Self {
        self.compare(CompareOp::Less, other)
    }
    fn at_most(self, other: Self) -> Self {
        self.compare(CompareOp::LessEqual, other)
    }
    fn equals(self, other: Self) -> Self {
        self.compare(CompareOp::Equal, other)
    }
    fn to_bits(self) -> Self {
        let element = self.ty().element;
        self.as_bits(match element {
            ElementType::F32 => ElementType::I32,
            _ => ElementType::I64,
        })
    }
    fn from_bits(bits: Self) -> Self {
        let element = bits.ty().element;
        bits.as_bits(match element {
            ElementType::I32 => ElementType::F32,
            _ => ElementType::F64,
        })
    }
    fn from_integer(value: Self) -> Self {
        let element = value.ty().element;
        value.cast(match element {
            ElementType::I32 => ElementType::F32,
            _ => ElementType::F64,
        })
    }
    fn to_integer(self) -> Self {
        let element = self.ty().element;
        self.cast(match element {
            ElementType::F32 => ElementType::I32,
            _ => ElementType::I64,
        })
    }
    fn to_word(self) -> Self {
        let element = self.ty().element;
        match element {
            ElementType::F32 => self.as_bits(ElementType::U32).cast(ElementType::U64),
            _ => self.as_bits(ElementType::U64),
        }
    }
    fn of_word(self, word: Self) -> Self {
        word.cast(self.ty().element)
    }
    fn small(self, word: Self) -> Self {
        let element = self.ty().element;
        word.cast(match element {
            ElementType::F32 => ElementType::I32,
            _ => ElementType::I64,
        })
    }
    fn select(condition: Self, accept: Self, reject: Self) -> Self {
        Self::selected(condition, accept, reject)
    }
    fn choose(
        condition: Self,
        accept: impl FnOnce() -> (Self, Self, Self),
        reject: impl FnOnce() -> (Self, Self, Self),
    ) -> (Self, Self, Self) {
        let mut registers = None;
        let mut set = |(word, one, other): (Self, Self, Self)| {
            let all = [word, one, other];
            let registers = *registers.get_or_insert_with(|| {
                all.map(|number| {
                    let ty = number.ty();
                    number.b.borrow_mut().register("chosen", ty)
                })
            });
            for (register, number) in registers.into_iter().zip(all) {
                number.b.borrow_mut().assign(register, number.operand);
            }
        };
        let accept = condition.block(|| set(accept()));
        let reject = condition.block(|| set(reject()));
        let mut b = condition.b.borrow_mut();
        let when = b.condition(condition.operand);
        b.push(Statement::If {
            condition: when,
            accept,
            reject,
        });
        // Both have set them.
        match registers {
            Some(registers) => {
                let [word, one, other] = registers.map(|register| condition.with(b.read(register)));
                (word, one, other)
            }
            None => (condition, condition, condition),
        }
    }
}
