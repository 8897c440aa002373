//! Arithmetic on tiles of every number type, element by element what `arithmetic` says.

use super::*;
use crate::arithmetic;
use crate::element::ElementKind;
use crate::ir::{BinaryOp, CompareOp, Expression, Handle, UnaryOp};

/// Interesting bit patterns of a type, NaNs and extremes included.
fn samples(element: ElementType) -> Vec<Literal> {
    let top = 1u64 << (element.bits() - 1);
    let all = u64::MAX >> (64 - element.bits());
    let one = match element.kind() {
        ElementKind::Float => arithmetic::cast(Literal::new(1.5f32), element).unwrap().bits,
        _ => 3 & all,
    };
    let patterns = [0, 1, one, top, all, top | one, all ^ top, top - (top >> 4)];
    let mask = if element == ElementType::Bool { 1 } else { all };
    patterns
        .iter()
        .map(|bits| Literal {
            element,
            bits: bits & mask,
        })
        .collect()
}

/// The results, as bits, of what `make` records for two tiles that hold `left` and `right`.
fn results(
    element: ElementType,
    result: ElementType,
    left: &[Literal],
    right: &[Literal],
    make: impl FnOnce(&mut Builder, Handle<Expression>, Handle<Expression>) -> Handle<Expression>,
) -> Vec<u64> {
    let mut b = Builder::new("numbers");
    let out = b.tensor("out", result, 1);
    let (l, r) = (b.tensor("left", element, 1), b.tensor("right", element, 1));
    let lanes = b.arange(left.len() as u32);
    let (x, y) = (b.load(l, &[lanes]), b.load(r, &[lanes]));
    let value = make(&mut b, x, y);
    b.store(out, &[lanes], value);
    let count = left.len() as u64;
    let zeroed = |element: ElementType| HostMemory::zeroed(count * element.size() as u64).unwrap();
    let (out, lm, rm) = (zeroed(result), zeroed(element), zeroed(element));
    for (i, (l, r)) in left.iter().zip(right).enumerate() {
        lm.set((i * element.size()) as u64, element.size(), l.bits).unwrap();
        rm.set((i * element.size()) as u64, element.size(), r.bits).unwrap();
    }
    let arguments = [&out, &lm, &rm].map(|memory| HostArgument::contiguous(memory, &[count]));
    run_default(&b.launch(1), &arguments).unwrap();
    (0..count)
        .map(|i| out.get(i * result.size() as u64, result.size()).unwrap())
        .collect()
}

/// Every pair of samples.
fn pairs(element: ElementType) -> (Vec<Literal>, Vec<Literal>) {
    let samples = samples(element);
    samples
        .iter()
        .flat_map(|&l| samples.iter().map(move |&r| (l, r)))
        .unzip()
}

#[test]
fn operators_compute_what_arithmetic_says() {
    for element in ElementType::ALL {
        let (left, right) = pairs(element);
        for op in BinaryOp::ALL.into_iter().filter(|op| op.accepts(element)) {
            let found = results(element, element, &left, &right, |b, x, y| b.binary(op, x, y));
            for (i, (&l, &r)) in left.iter().zip(&right).enumerate() {
                assert_eq!(
                    Some(found[i]),
                    arithmetic::binary(op, l, r).map(|v| v.bits),
                    "{l} {} {r}",
                    op.name()
                );
            }
        }
        for op in UnaryOp::ALL.into_iter().filter(|op| op.accepts(element)) {
            let found = results(element, element, &left, &right, |b, x, _| {
                b.emit(Expression::Unary { op, value: x })
            });
            for (&found, &l) in found.iter().zip(&left) {
                assert_eq!(
                    Some(found),
                    arithmetic::unary(op, l).map(|v| v.bits),
                    "{} {l}",
                    op.name()
                );
            }
        }
    }
}

#[test]
fn comparisons_compute_what_arithmetic_says() {
    let all = [
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::LessEqual,
        CompareOp::Greater,
        CompareOp::GreaterEqual,
    ];
    for element in ElementType::ALL {
        let (left, right) = pairs(element);
        for op in all.into_iter().filter(|op| op.accepts(element)) {
            let found = results(element, ElementType::Bool, &left, &right, |b, x, y| b.compare(op, x, y));
            for (i, (&l, &r)) in left.iter().zip(&right).enumerate() {
                assert_eq!(
                    Some(found[i] != 0),
                    arithmetic::compare(op, l, r),
                    "{l} {} {r}",
                    op.symbol()
                );
            }
        }
    }
}

#[test]
fn casts_compute_what_arithmetic_says() {
    for from in ElementType::ALL {
        let samples = samples(from);
        for to in ElementType::ALL {
            let found = results(from, to, &samples, &samples, |b, x, _| b.cast(x, to));
            for (&found, &value) in found.iter().zip(&samples) {
                assert_eq!(
                    Some(found),
                    arithmetic::cast(value, to).map(|v| v.bits),
                    "{value} as {to}"
                );
            }
        }
    }
}

#[test]
fn a_bitcast_moves_the_bits() {
    for from in ElementType::ALL {
        let samples = samples(from);
        let bits: Vec<u64> = samples.iter().map(|value| value.bits).collect();
        for to in ElementType::ALL {
            if arithmetic::bitcast(samples[0], to).is_some() {
                let found = results(from, to, &samples, &samples, |b, value, _| {
                    b.emit(Expression::Bitcast { value, to })
                });
                assert_eq!(found, bits, "{from} as {to}");
            }
        }
    }
}

#[test]
fn fused_multiplications_compute_what_arithmetic_says() {
    for element in ElementType::ALL.into_iter().filter(|element| element.is_float()) {
        let (left, right) = pairs(element);
        let found = results(element, element, &left, &right, |b, left, right| {
            b.emit(Expression::MulAdd {
                left,
                right,
                addend: left,
            })
        });
        for (i, (&l, &r)) in left.iter().zip(&right).enumerate() {
            assert_eq!(Some(found[i]), arithmetic::mul_add(l, r, l).map(|v| v.bits), "{l} {r}");
        }
    }
}

#[test]
fn half_precision_sums_round_after_every_step() {
    let lanes = 3;
    let one = half::bf16::from_f32(1.0);
    let small = half::bf16::from_f32(1.0 / 256.0);
    let (left, right) = (vec![Literal::new(one); lanes], vec![Literal::new(small); lanes]);
    let found = results(ElementType::BF16, ElementType::BF16, &left, &right, |b, x, y| {
        let sum = b.add(x, y);
        b.add(sum, y)
    });
    assert_eq!(found, vec![one.to_bits() as u64; lanes]);
    // Accumulated in f32 the two small terms count.
    let found = results(ElementType::BF16, ElementType::BF16, &left, &right, |b, x, y| {
        let (x, y) = (b.cast(x, ElementType::F32), b.cast(y, ElementType::F32));
        let sum = b.add(x, y);
        let sum = b.add(sum, y);
        b.cast(sum, ElementType::BF16)
    });
    assert_eq!(
        found,
        vec![half::bf16::from_f32(1.0 + 1.0 / 128.0).to_bits() as u64; lanes]
    );
}

#[test]
fn f16_tiles_and_scalars_mix() {
    let two = half::f16::from_f32(2.0);
    let values = [Literal::new(half::f16::from_f32(0.5)), Literal::new(half::f16::MAX)];
    let found = results(ElementType::F16, ElementType::F16, &values, &values, |b, x, _| {
        let scale = b.literal(two);
        b.mul(x, scale)
    });
    assert_eq!(
        found,
        [half::f16::ONE.to_bits() as u64, half::f16::INFINITY.to_bits() as u64]
    );
}
