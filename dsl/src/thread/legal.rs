//! What some targets have no instruction for, said in operations that all have.
//!
//! A printer prints what its target has and decides nothing, so what a target lacks is taken out before.

use super::{
    Atomic, Block, Builder, Kernel, Load, Operation, Order, Register, Rounding, Statement, Type, Unroll, Update, Use,
};
use crate::element::ElementType;
use crate::ir::{AtomicOp, BinaryOp, CompareOp, Handle, Literal, MemoryOrder, Span};
use crate::stack::room;

/// What a target has instructions for, of what not all have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Features {
    /// Converting f32 to 8-bit floats and back.
    pub f8_casts: bool,
    /// Adding to a bf16 in memory in one step.
    pub bf16_sums: bool,
}

impl Features {
    /// Those of NVIDIA's GPUs of a compute capability: 80 is 8.0.
    pub const fn of_compute_capability(capability: u32) -> Self {
        Self {
            f8_casts: capability >= 89,
            bf16_sums: capability >= 90,
        }
    }
}

/// Replaces what a target without these features has no instruction for. What the kernel computes stays the same, and so
/// does whether it is verified.
pub fn legalize(mut kernel: Kernel, features: Features) -> Kernel {
    let body = std::mem::take(&mut kernel.body);
    let mut b = Builder::new("", 1);
    *b.kernel_mut() = kernel;
    Legalize { features, b: &mut b }.block(body);
    b.finish()
}

struct Legalize<'a> {
    features: Features,
    b: &'a mut Builder,
}

impl Legalize<'_> {
    fn block(&mut self, block: Block) {
        for (statement, span) in block {
            self.b.at(span);
            room(|| self.statement(statement, span));
        }
    }

    fn inside(&mut self, block: Block) -> Block {
        let features = self.features;
        self.b.inside(|b| Legalize { features, b }.block(block))
    }

    fn statement(&mut self, statement: Statement, span: Span) {
        let statement = match statement {
            Statement::Let {
                value,
                operation: Operation::Cast { value: of, to, .. },
            } if !self.features.f8_casts && to != self.b.element(of) && self.is_f8(of, to) => {
                let result = match to {
                    ElementType::F32 => self.f8_as_f32(of),
                    _ => self.f32_as_f8(of, to),
                };
                let operation = Operation::Bitcast {
                    value: result,
                    to: self.b.kernel().ty(value.into()),
                };
                Statement::Let { value, operation }
            }
            Statement::Atomic(
                atomic @ Atomic {
                    element: ElementType::BF16,
                    update:
                        Update::Combine {
                            op: AtomicOp::Add,
                            value,
                        },
                    ..
                },
            ) if !self.features.bf16_sums => return self.add_bf16(atomic, value),
            other => other.map_blocks(|block| self.inside(block)),
        };
        self.b.at(span);
        self.b.push(statement);
    }

    fn is_f8(&self, of: Use, to: ElementType) -> bool {
        let f8 = |element| matches!(element, ElementType::F8E4M3 | ElementType::F8E5M2);
        f8(to) || f8(self.b.element(of))
    }

    fn cast(&mut self, value: Use, to: ElementType) -> Use {
        self.b.emit(Operation::Cast {
            value,
            to,
            rounding: Rounding::NearestEven,
        })
    }

    /// The same lanes as another type of as many bytes.
    fn bits(&mut self, value: Use, element: ElementType) -> Use {
        let ty = self.b.kernel().ty(value).with_element(element);
        self.b.bitcast(value, ty)
    }

    fn with(&mut self, op: BinaryOp, left: Use, right: u32) -> Use {
        let element = self.b.element(left);
        let right = Literal::wrap(element, right.into());
        self.b.binary(op, left, right.into())
    }

    /// As [`crate::arithmetic::to_f32`] does it.
    fn f8_as_f32(&mut self, value: Use) -> Use {
        let element = self.b.element(value);
        let bytes = self.bits(value, ElementType::U8);
        let halves = self.cast(bytes, ElementType::U16);
        if element == ElementType::F8E5M2 {
            // The upper byte of an f16.
            let half = self.with(BinaryOp::ShiftLeft, halves, 8);
            let half = self.bits(half, ElementType::F16);
            return self.cast(half, ElementType::F32);
        }
        // An f16 has the same exponents and more, displaced by 8.
        let sign = self.with(BinaryOp::And, halves, 0x80);
        let sign = self.with(BinaryOp::ShiftLeft, sign, 8);
        let magnitude = self.with(BinaryOp::And, halves, 0x7f);
        let shifted = self.with(BinaryOp::ShiftLeft, magnitude, 7);
        let half = self.b.binary(BinaryOp::Or, sign, shifted);
        let half = self.bits(half, ElementType::F16);
        let float = self.cast(half, ElementType::F32);
        let scaled = self.b.binary(BinaryOp::Multiply, float, Literal::new(256.0f32).into());
        let is_nan = self
            .b
            .compare(CompareOp::Equal, magnitude, Literal::new(0x7fu16).into());
        let nan = Literal::new(f32::from_bits(0x7fff_ffff)).into();
        self.b.select(is_nan, nan, scaled)
    }

    /// As [`crate::arithmetic::from_f32`] does it.
    fn f32_as_f8(&mut self, value: Use, to: ElementType) -> Use {
        let (mantissa, largest) = match to {
            ElementType::F8E4M3 => (3u32, 448.0f32),
            _ => (2, 57344.0),
        };
        let bias = (1u32 << (6 - mantissa)) - 1;
        let cut = 23 - mantissa;
        let word = self.bits(value, ElementType::U32);
        let sign = self.with(BinaryOp::ShiftRight, word, 24);
        let sign = self.with(BinaryOp::And, sign, 0x80);
        let magnitude = self.with(BinaryOp::And, word, 0x7fff_ffff);
        let magnitude = self.with(BinaryOp::Min, magnitude, largest.to_bits());
        // Rounded where the mantissa ends, with a carry into the exponent, whose bias is then exchanged.
        let last = self.with(BinaryOp::ShiftRight, magnitude, cut);
        let last = self.with(BinaryOp::And, last, 1);
        let rounded = self.with(BinaryOp::Add, magnitude, (1 << (cut - 1)) - 1);
        let rounded = self.b.binary(BinaryOp::Add, rounded, last);
        let rounded = self.with(BinaryOp::ShiftRight, rounded, cut);
        let normal = self.with(BinaryOp::Subtract, rounded, (127 - bias) << mantissa);
        // Added to a number whose last place is the smallest subnormal, which rounds.
        let anchor = (151 - bias - mantissa) << 23;
        let float = self.bits(magnitude, ElementType::F32);
        let anchored = self
            .b
            .binary(BinaryOp::Add, float, Literal::new(f32::from_bits(anchor)).into());
        let anchored = self.bits(anchored, ElementType::U32);
        let subnormal = self.with(BinaryOp::Subtract, anchored, anchor);
        let smallest_normal = Literal::new((128 - bias) << 23).into();
        let is_normal = self.b.compare(CompareOp::GreaterEqual, magnitude, smallest_normal);
        let bits = self.b.select(is_normal, normal, subnormal);
        let bits = self.b.binary(BinaryOp::Or, bits, sign);
        let is_nan = self.b.compare(CompareOp::NotEqual, value, value);
        let bits = self.b.select(is_nan, Literal::new(0x7fu32).into(), bits);
        self.cast(bits, ElementType::U8)
    }

    /// Replaces the element by the sum, once nothing came between reading and writing it.
    fn add_bf16(&mut self, atomic: Atomic, value: Use) {
        let word = Type::scalar(ElementType::U16);
        let seen = self.b.register("seen", word);
        if atomic.predicate.is_some() {
            self.b.assign(seen, Literal::new(0u16).into());
        }
        let condition = atomic.predicate.unwrap_or_else(|| self.b.indices().always(true));
        let features = self.features;
        self.b
            .when(condition, |b| Legalize { features, b }.exchange(atomic, value, seen));
        if let Some(result) = atomic.result {
            let value = self.b.read(seen);
            let operation = Operation::Bitcast {
                value,
                to: Type::scalar(ElementType::BF16),
            };
            self.b.push(Statement::Let {
                value: result,
                operation,
            });
        }
    }

    fn exchange(&mut self, atomic: Atomic, value: Use, seen: Handle<Register>) {
        let first = self.b.load(Load {
            place: atomic.place,
            ty: Type::scalar(ElementType::U16),
            order: Order::Strong(MemoryOrder::Relaxed, atomic.scope),
            cache: None,
            read_only: false,
            predicate: None,
        });
        self.b.assign(seen, first);
        let added = self.cast(value, ElementType::F32);
        let features = self.features;
        self.b.repeat(Unroll::Never, |b, label| {
            let mut pass = Legalize { features, b };
            let current = pass.b.read(seen);
            let before = pass.bits(current, ElementType::BF16);
            let before = pass.cast(before, ElementType::F32);
            let sum = pass.b.binary(BinaryOp::Add, before, added);
            let sum = pass.cast(sum, ElementType::BF16);
            let new = pass.bits(sum, ElementType::U16);
            let swap = Atomic {
                element: ElementType::U16,
                update: Update::CompareExchange { current, new },
                predicate: None,
                ..atomic
            };
            if let Some(found) = pass.b.atomic(swap, true) {
                let unchanged = pass.b.compare(CompareOp::Equal, found, current);
                let unchanged = pass.b.condition(unchanged);
                pass.b.when(unchanged, |b| b.push(Statement::Leave(label)));
                pass.b.assign(seen, found);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic;
    use crate::ir::MemoryScope;
    use crate::thread::interpret::{Memory, Passed, run};
    use crate::thread::verify::verify;
    use crate::thread::{ArgumentKind, BufferKind, Predicate, Sharing, Store};

    const NONE: Features = Features::of_compute_capability(80);

    /// What a kernel of 128 threads makes of `target`, made legal for a target without features.
    fn computed(kernel: Kernel, source: Vec<u8>, target: Vec<u8>) -> Vec<u8> {
        let legal = legalize(kernel, NONE);
        assert_eq!(verify(&legal), Ok(()), "{legal}");
        let mut memory = Memory::new();
        let places = [source, target].map(|bytes| memory.allocate(bytes, 0));
        let outcome = run(&legal, 1, &places.map(Passed::Pointer), &mut memory);
        outcome.unwrap_or_else(|fault| panic!("{fault}\n{legal}"));
        memory.bytes(places[1]).to_vec()
    }

    fn kernel(fill: impl FnOnce(&mut Builder, [Handle<crate::thread::Buffer>; 2])) -> Kernel {
        let mut b = Builder::new("legal", 128);
        let buffers = [("source", Sharing::ReadOnly), ("target", Sharing::Shared)].map(|(name, sharing)| {
            let argument = b.argument(name, ArgumentKind::Pointer);
            b.buffer(name, 16, BufferKind::Global { argument, sharing })
        });
        fill(&mut b, buffers);
        b.finish()
    }

    /// Each thread converts two elements.
    fn converts(from: ElementType, to: ElementType) -> Kernel {
        kernel(|b, [source, target]| {
            let thread = b.thread();
            let [read, written] = [from, to].map(|element| b.indices().scale(thread, 2 * element.size() as i64));
            let value = b.load(Load {
                place: b.place(source, read),
                ty: Type::packet(from, 2),
                order: Order::Weak,
                cache: None,
                read_only: true,
                predicate: None,
            });
            let mut value = b.emit(Operation::Cast {
                value,
                to,
                rounding: Rounding::NearestEven,
            });
            if to == ElementType::F32 {
                value = b.emit(Operation::Canonical(value));
            }
            b.store(Store {
                place: b.place(target, written),
                block: None,
                value,
                order: Order::Weak,
                cache: None,
                predicate: None,
            });
        })
    }

    #[test]
    fn every_8_bit_float_becomes_what_arithmetic_says() {
        for from in [ElementType::F8E4M3, ElementType::F8E5M2] {
            let bytes: Vec<u8> = (0..=255).collect();
            let expected: Vec<u8> = bytes
                .iter()
                .filter_map(|byte| {
                    let literal = Literal {
                        element: from,
                        bits: (*byte).into(),
                    };
                    arithmetic::cast(literal, ElementType::F32)
                })
                .flat_map(|literal| (literal.bits as u32).to_le_bytes())
                .collect();
            let found = computed(converts(from, ElementType::F32), bytes, vec![0; 1024]);
            assert_eq!(found, expected, "{from}");
        }
    }

    #[test]
    fn floats_of_every_size_become_the_8_bit_ones_that_arithmetic_says() {
        for to in [ElementType::F8E4M3, ElementType::F8E5M2] {
            let mut rng = fastrand::Rng::with_seed(5);
            for _ in 0..40 {
                // Between steps of the small types, beyond them, and far below.
                let values: Vec<u32> = (0..256)
                    .map(|_| match rng.u8(..4) {
                        0 => rng.u32(..),
                        1 => rng.u32(..) & 0xfff8_0000 | rng.u32(..3).wrapping_sub(1) & 0x000f_ffff,
                        2 => [0x7f80_0001, 0xff80_0000, 0x7fc0_0000, 0x43e0_0001, 0x4760_0000][rng.usize(..5)],
                        _ => (110 + rng.u32(..36)) << 23 | rng.u32(..1 << 23) | rng.u32(..2) << 31,
                    })
                    .collect();
                let expected: Vec<u8> = values
                    .iter()
                    .map(|bits| arithmetic::from_f32(to, f32::from_bits(*bits)).bits as u8)
                    .collect();
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                assert_eq!(
                    computed(converts(ElementType::F32, to), bytes, vec![0; 256]),
                    expected,
                    "{to}"
                );
            }
        }
    }

    #[test]
    fn sums_of_bf16_are_exchanged_until_none_is_lost() {
        // Every second thread adds one, and says what it found.
        let kernel = kernel(|b, [_, target]| {
            let (thread, zero) = (b.thread(), b.constant(0));
            let even = b.indices().low(thread, 1);
            let even: Handle<Predicate> = b.indices().equal(even, zero);
            let one = Literal {
                element: ElementType::BF16,
                bits: 0x3f80,
            };
            let atomic = Atomic {
                place: b.place(target, zero),
                element: ElementType::BF16,
                update: Update::Combine {
                    op: AtomicOp::Add,
                    value: one.into(),
                },
                order: MemoryOrder::AcquireRelease,
                scope: MemoryScope::Device,
                result: None,
                predicate: Some(even),
            };
            if let Some(value) = b.atomic(atomic, true) {
                let offset = b.indices().scale(thread, 2);
                let offset = b.indices().offset(offset, 2);
                b.store(Store {
                    place: b.place(target, offset),
                    block: None,
                    value,
                    order: Order::Weak,
                    cache: None,
                    predicate: None,
                });
            }
        });
        let found = computed(kernel, Vec::new(), vec![0; 258]);
        let words: Vec<u16> = found
            .chunks(2)
            .map(|word| u16::from_le_bytes([word[0], word[1]]))
            .collect();
        assert_eq!(words[0], half::bf16::from_f32(64.0).to_bits());
        let mut before: Vec<f32> = words[1..]
            .iter()
            .step_by(2)
            .map(|bits| half::bf16::from_bits(*bits).to_f32())
            .collect();
        before.sort_by(f32::total_cmp);
        assert_eq!(before, (0..64u8).map(f32::from).collect::<Vec<f32>>());
        assert!(words[2..].iter().step_by(2).all(|bits| *bits == 0), "{words:?}");
    }
}
