//! Reductions, scans, sorts and histograms, in the order that [`Expression::Reduce`] and [`Expression::Scan`] state.

use std::cmp::Ordering;

use super::elementwise::{Operand, tile};
use super::tiles::{coordinates, lines, padded_axis, position};
use super::value::{Extents, Value, padded};
use crate::arithmetic::{self, compare};
use crate::element::ElementType;
use crate::ir::{Combine, CompareOp, Expression, Handle, Kernel, Literal, Reduction, Type};

/// Totals that [`Expression::Scan`] combines at once.
const GROUP: usize = 32;

/// The value of a reduction, scan, sort or histogram.
pub(super) fn evaluate<'v>(
    kernel: &Kernel,
    handle: Handle<Expression>,
    value: impl Fn(Handle<Expression>) -> &'v Value,
) -> Value {
    let ty = kernel.ty(handle);
    let extents = padded(ty.shape);
    let lines_of = |operand: Handle<Expression>, axis: u8| {
        let own = kernel.ty(operand);
        let line = lines(
            value(operand),
            own.element,
            padded(own.shape),
            padded_axis(axis, own.shape),
        );
        (own.element, line)
    };
    match &kernel.expressions[handle] {
        Expression::Reduce { value, axis, reduction } => {
            let (element, lines) = lines_of(*value, *axis);
            let reduced: Vec<u64> = lines.iter().map(|line| reduce(line, element, reduction)).collect();
            match *reduced.as_slice() {
                [bits] => Value::Uniform(bits),
                _ => tile(ty.element, extents, |i| reduced[i]),
            }
        }
        Expression::Scan { value, axis, combine } => {
            let (element, lines) = lines_of(*value, *axis);
            let lines: Vec<Vec<u64>> = lines.into_iter().map(|line| scan(line, element, combine)).collect();
            along(ty, *axis, &lines)
        }
        Expression::ArgSort {
            value,
            axis,
            descending,
        } => {
            let (element, lines) = lines_of(*value, *axis);
            let lines: Vec<Vec<u64>> = lines.iter().map(|line| argsort(line, element, *descending)).collect();
            along(ty, *axis, &lines)
        }
        Expression::Histogram {
            value: counted,
            mask,
            bins,
        } => {
            let own = kernel.ty(*counted);
            let operand = Operand::new(value(*counted), own.element, padded(own.shape));
            let mask = mask.map(|mask| Operand::new(value(mask), ElementType::Bool, padded(own.shape)));
            let mut counts = vec![0u64; *bins as usize];
            for i in 0..own.shape.elements() as usize {
                let literal = Literal {
                    element: own.element,
                    bits: operand.bits(i),
                };
                let bin = literal.as_integer().and_then(|bin| usize::try_from(bin).ok());
                if mask.as_ref().is_none_or(|mask| mask.bits(i) != 0)
                    && let Some(count) = bin.and_then(|bin| counts.get_mut(bin))
                {
                    *count += 1;
                }
            }
            tile(ty.element, extents, |i| counts[i])
        }
        _ => Value::Uniform(0),
    }
}

/// The tile of type `ty` whose lines along `axis` are these.
fn along(ty: Type, axis: u8, lines: &[Vec<u64>]) -> Value {
    let (extents, axis) = (padded(ty.shape), padded_axis(axis, ty.shape));
    let mut places: Extents = extents;
    places[axis] = 1;
    tile(ty.element, extents, |i| {
        let mut at = coordinates(i, extents);
        let on_axis = std::mem::take(&mut at[axis]);
        lines[position(at, places)][on_axis]
    })
}

fn reduce(line: &[u64], element: ElementType, reduction: &Reduction) -> u64 {
    match reduction {
        Reduction::Combine(combine) => {
            let combine = combiner(element, combine);
            let chunks: Vec<u64> = line
                .chunks(Expression::CHUNK)
                .map(|chunk| by_halves(chunk.to_vec(), &combine))
                .collect();
            let (leaves, rest) = chunks.split_at(chunks.len().min(Expression::LEAVES));
            let mut leaves = leaves.to_vec();
            for (i, &chunk) in rest.iter().enumerate() {
                let leaf = &mut leaves[i % Expression::LEAVES];
                *leaf = combine(*leaf, chunk);
            }
            by_halves(leaves, &combine)
        }
        // Of two indices the better is the same in any order.
        Reduction::ArgMin => best(line, element, CompareOp::Less),
        Reduction::ArgMax => best(line, element, CompareOp::Greater),
    }
}

fn combiner(element: ElementType, combine: &Combine) -> impl Fn(u64, u64) -> u64 {
    let literal = move |bits| Literal { element, bits };
    move |l, r| arithmetic::combine(combine, literal(l), literal(r)).map_or(0, |literal| literal.bits)
}

/// Element `i` with `i + h`, for `h` from half the next power of two down to 1.
fn by_halves(mut values: Vec<u64>, combine: &impl Fn(u64, u64) -> u64) -> u64 {
    let mut half = values.len().next_power_of_two() / 2;
    while half > 0 {
        for i in 0..values.len().saturating_sub(half) {
            values[i] = combine(values[i], values[i + half]);
        }
        values.truncate(half);
        half /= 2;
    }
    values[0]
}

fn best(line: &[u64], element: ElementType, better: CompareOp) -> u64 {
    let literal = |bits| Literal { element, bits };
    let number = |bits| compare(CompareOp::Equal, literal(bits), literal(bits)) == Some(true);
    let mut best = 0;
    for (i, &bits) in line.iter().enumerate().skip(1) {
        let beats = compare(better, literal(bits), literal(line[best])) == Some(true);
        if beats || (number(bits) && !number(line[best])) {
            best = i;
        }
    }
    best as u64
}

fn scan(mut line: Vec<u64>, element: ElementType, combine: &Combine) -> Vec<u64> {
    let combine = combiner(element, combine);
    let mut totals: Vec<u64> = line
        .chunks_mut(Expression::CHUNK)
        .map(|chunk| {
            (1..chunk.len()).for_each(|i| chunk[i] = combine(chunk[i - 1], chunk[i]));
            chunk[chunk.len() - 1]
        })
        .collect();
    let mut groups: Vec<u64> = totals
        .chunks_mut(GROUP)
        .map(|group| {
            by_doubling(group, &combine);
            group[group.len() - 1]
        })
        .collect();
    let mut carry = None;
    for segment in groups.chunks_mut(GROUP) {
        by_doubling(segment, &combine);
        if let Some(carry) = carry {
            segment.iter_mut().for_each(|total| *total = combine(carry, *total));
        }
        carry = Some(segment[segment.len() - 1]);
    }
    for (chunk, values) in line.chunks_mut(Expression::CHUNK).enumerate() {
        let (group, place) = (chunk / GROUP, chunk % GROUP);
        for value in values {
            if place > 0 {
                *value = combine(totals[chunk - 1], *value);
            }
            if group > 0 {
                *value = combine(groups[group - 1], *value);
            }
        }
    }
    line
}

/// Element `i - d` with `i`, for `d` = 1, 2, 4, …
fn by_doubling(values: &mut [u64], combine: &impl Fn(u64, u64) -> u64) {
    let mut distance = 1;
    while distance < values.len() {
        for i in (distance..values.len()).rev() {
            values[i] = combine(values[i - distance], values[i]);
        }
        distance *= 2;
    }
}

fn argsort(line: &[u64], element: ElementType, descending: bool) -> Vec<u64> {
    let literal = |bits| Literal { element, bits };
    let number = |bits| compare(CompareOp::Equal, literal(bits), literal(bits)) == Some(true);
    let order = |l: u64, r: u64| {
        if compare(CompareOp::Less, literal(l), literal(r)) == Some(true) {
            Ordering::Less
        } else if compare(CompareOp::Greater, literal(l), literal(r)) == Some(true) {
            Ordering::Greater
        } else {
            // NaN is the largest.
            number(r).cmp(&number(l))
        }
    };
    let mut indices: Vec<u64> = (0..line.len() as u64).collect();
    // Stable: equal elements stay in the order of their indices.
    indices.sort_by(|&l, &r| {
        let order = order(line[l as usize], line[r as usize]);
        if descending { order.reverse() } else { order }
    });
    indices
}
