//! What the operations compute is what arithmetic says, bit for bit: by the interpreter of the thread IR, in which
//! every NaN that an operation makes is another one.

use crate::arithmetic;
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Literal, UnaryOp};
use crate::thread::interpret::{Memory, Passed, run};
use crate::thread::verify::verify;
use crate::thread::{ArgumentKind, BufferKind, Builder, Load, Order, Place, Sharing, Store, Type, Use};

const THREADS: u64 = 1024;

/// The bits of what `compute` makes of each of these, by a kernel of which every thread does `lanes` of them.
fn computed<const N: usize>(
    inputs: &[[Literal; N]],
    lanes: u8,
    compute: impl FnOnce(&mut Builder, [Use; N]) -> Use,
) -> Vec<u64> {
    let mut b = Builder::new("elements", THREADS as u32);
    let (block, thread) = (b.block(), b.thread());
    let first = b.indices().scale(block, THREADS as i64);
    let at = b.indices().add(first, thread);
    let place = |b: &mut Builder, name: &str, sharing, bytes: usize| -> Place {
        let argument = b.argument(name, ArgumentKind::Pointer);
        let buffer = b.buffer(name, 16, BufferKind::Global { argument, sharing });
        let offset = b.indices().scale(at, bytes as i64);
        b.place(buffer, offset)
    };
    let operands = std::array::from_fn(|k| {
        let element = inputs[0][k].element;
        // A bool is a byte in memory.
        let carried = if element == ElementType::Bool {
            ElementType::U8
        } else {
            element
        };
        let ty = Type::packet(carried, lanes);
        let load = Load {
            place: place(&mut b, &format!("input{k}"), Sharing::ReadOnly, ty.bytes() as usize),
            ty,
            order: Order::Weak,
            cache: None,
            read_only: false,
            predicate: None,
        };
        let value = b.load(load);
        match element {
            ElementType::Bool => b.is_not_zero(value),
            _ => value,
        }
    });
    let value = compute(&mut b, operands);
    let value = match b.element(value) {
        ElementType::Bool => b.element_cast(value, ElementType::U8),
        _ => value,
    };
    let size = b.element(value).size();
    let parts = (u32::from(lanes) * size as u32).div_ceil(16) as u8;
    let target = place(&mut b, "target", Sharing::Private, size * usize::from(lanes));
    for part in 0..parts {
        let lanes = lanes / parts;
        let value = b.part(value, part * lanes, lanes);
        let offset = b.indices().offset(target.offset, i64::from(part) * 16);
        b.store(Store {
            place: Place { offset, ..target },
            block: None,
            value,
            order: Order::Weak,
            cache: None,
            predicate: None,
        });
    }
    let kernel = b.finish();
    assert_eq!(verify(&kernel), Ok(()), "{kernel}");
    let in_block = THREADS as usize * usize::from(lanes);
    let blocks = inputs.len().div_ceil(in_block);
    let mut memory = Memory::new();
    let mut arguments = Vec::new();
    for k in 0..N {
        let size = inputs[0][k].element.size();
        let mut bytes: Vec<u8> = inputs
            .iter()
            .flat_map(|of| of[k].bits.to_le_bytes()[..size].to_vec())
            .collect();
        bytes.resize(blocks * in_block * size, 0);
        arguments.push(Passed::Pointer(memory.allocate(bytes, 0)));
    }
    let target = memory.allocate(vec![0; blocks * in_block * size], 0);
    arguments.push(Passed::Pointer(target));
    run(&kernel, blocks as u32, &arguments, &mut memory).unwrap();
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..size].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    memory.bytes(target)[..inputs.len() * size]
        .chunks(size)
        .map(word)
        .collect()
}

/// Whether `compute` makes of each value what `expected` says.
fn agree<const N: usize>(
    what: &str,
    inputs: &[[Literal; N]],
    lanes: u8,
    compute: impl FnOnce(&mut Builder, [Use; N]) -> Use,
    expected: impl Fn([Literal; N]) -> Option<Literal>,
) {
    for (input, found) in inputs.iter().zip(computed(inputs, lanes, compute)) {
        let expected = expected(*input).unwrap_or_else(|| panic!("{what} {input:?}"));
        assert_eq!(found, expected.bits, "{what} {input:?}: {expected:?} is expected");
    }
}

fn all_of(element: ElementType) -> Vec<[Literal; 1]> {
    arithmetic::tests::values(element)
        .into_iter()
        .map(|value| [value])
        .collect()
}

/// Random bits of a type, most of them of numbers that functions are not infinite of.
fn random(element: ElementType, count: usize, seed: u64) -> Vec<Literal> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let number = |rng: &mut fastrand::Rng| {
        let bits = rng.u64(..) >> (64 - element.bits());
        match (element, rng.u32(..4)) {
            (_, 0) => Literal { element, bits },
            (ElementType::F32, _) => Literal::new((rng.f32() - 0.5) * 10f32.powi(rng.i32(-6..4))),
            (ElementType::F64, _) => Literal::new((rng.f64() - 0.5) * 10f64.powi(rng.i32(-9..5))),
            _ => Literal { element, bits },
        }
    };
    (0..count).map(|_| number(&mut rng)).collect()
}

const FLOATS: [ElementType; 4] = [ElementType::F16, ElementType::BF16, ElementType::F32, ElementType::F64];

fn unary_agrees(op: UnaryOp, element: ElementType, inputs: &[[Literal; 1]]) {
    let lanes = if inputs.len().is_multiple_of(2) { 2 } else { 1 };
    agree(
        &format!("{op:?} of {element}"),
        inputs,
        lanes,
        |b, [value]| b.element_unary(op, value),
        |[value]| arithmetic::unary(op, value),
    );
}

/// Operations that are sequences of others.
const FUNCTIONS: [UnaryOp; 8] = [
    UnaryOp::Rsqrt,
    UnaryOp::Exp,
    UnaryOp::Exp2,
    UnaryOp::Ln,
    UnaryOp::Log2,
    UnaryOp::Sin,
    UnaryOp::Cos,
    UnaryOp::Tanh,
];

#[test]
fn functions_of_every_half_precision_float_are_those_of_arithmetic() {
    for op in FUNCTIONS {
        for element in [ElementType::F16, ElementType::BF16] {
            unary_agrees(op, element, &all_of(element));
        }
    }
}

#[test]
fn functions_of_random_floats_are_those_of_arithmetic() {
    random_functions_agree(4_000, 1);
}

/// As the test above, of so many that it takes minutes.
#[test]
#[ignore = "a run of minutes"]
fn functions_of_a_million_floats_are_those_of_arithmetic() {
    random_functions_agree(1_000_000, 2);
}

fn random_functions_agree(count: usize, seed: u64) {
    for op in FUNCTIONS {
        for element in [ElementType::F32, ElementType::F64] {
            let numbers = random(element, count, seed);
            unary_agrees(
                op,
                element,
                &numbers.into_iter().map(|value| [value]).collect::<Vec<_>>(),
            );
        }
    }
}

#[test]
fn operations_on_one_element_are_those_of_arithmetic() {
    for op in UnaryOp::ALL {
        for element in ElementType::ALL.into_iter().filter(|element| op.accepts(*element)) {
            // Every value of 8 bits, and some of more.
            let all = all_of(element);
            let some = all.len().div_ceil(2_000);
            unary_agrees(op, element, &all.into_iter().step_by(some).collect::<Vec<_>>());
        }
    }
}

#[test]
fn operations_on_two_elements_are_those_of_arithmetic() {
    for op in BinaryOp::ALL {
        for element in ElementType::ALL.into_iter().filter(|element| op.accepts(*element)) {
            let known = arithmetic::tests::values(element);
            let mut rng = fastrand::Rng::with_seed(3);
            let mut inputs: Vec<[Literal; 2]> = (0..2_000)
                .map(|_| [(); 2].map(|()| known[rng.usize(..known.len())]))
                .collect();
            let (left, right) = (random(element, 2_000, 4), random(element, 2_000, 5));
            if element != ElementType::Bool {
                inputs.extend(left.into_iter().zip(right).map(|(left, right)| [left, right]));
            }
            agree(
                &format!("{op:?} of {element}"),
                &inputs,
                1,
                |b, [left, right]| b.element_binary(op, left, right),
                |[left, right]| arithmetic::binary(op, left, right),
            );
        }
    }
}

#[test]
fn fused_multiplications_and_comparisons_are_those_of_arithmetic() {
    for element in FLOATS {
        let known = arithmetic::tests::values(element);
        let mut rng = fastrand::Rng::with_seed(6);
        let inputs: Vec<[Literal; 3]> = (0..2_000)
            .map(|_| [(); 3].map(|()| known[rng.usize(..known.len())]))
            .collect();
        agree(
            &format!("a fused multiplication of {element}"),
            &inputs,
            1,
            |b, [left, right, addend]| b.element_mul_add(left, right, addend),
            |[left, right, addend]| arithmetic::mul_add(left, right, addend),
        );
    }
    for op in [CompareOp::Equal, CompareOp::Less, CompareOp::GreaterEqual] {
        for element in ElementType::ALL.into_iter().filter(|element| op.accepts(*element)) {
            let known = arithmetic::tests::values(element);
            let mut rng = fastrand::Rng::with_seed(7);
            let inputs: Vec<[Literal; 2]> = (0..2_000)
                .map(|_| [(); 2].map(|()| known[rng.usize(..known.len())]))
                .collect();
            agree(
                &format!("{op:?} of {element}"),
                &inputs,
                1,
                |b, [left, right]| b.element_compare(op, left, right),
                |[left, right]| arithmetic::compare(op, left, right).map(Literal::new),
            );
        }
    }
}

#[test]
fn casts_between_all_types_are_those_of_arithmetic() {
    for from in ElementType::ALL {
        for to in ElementType::ALL {
            // A bool in memory may be any byte; here they are 0 and 1.
            agree(
                &format!("{from} to {to}"),
                &all_of(from)
                    .into_iter()
                    .step_by(if from.size() == 2 { 1 } else { 3 })
                    .collect::<Vec<_>>(),
                if from.size() < 8 && to.size() < 8 { 2 } else { 1 },
                |b, [value]| b.element_cast(value, to),
                |[value]| arithmetic::cast(value, to),
            );
        }
    }
}
