//! The first of equal elements, whoever holds them.

use super::run::{Argument, bind, check, schedule};
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{Expression, Reduction};

/// The places of the least and of the largest element of each line, of which many are equal.
fn found(element: ElementType, [lines, columns]: [u32; 2], threads: u32, seed: u64) {
    let mut b = Builder::new("firsts");
    let (least, most) = (
        b.tensor("least", ElementType::I64, 1),
        b.tensor("most", ElementType::I64, 1),
    );
    let src = b.tensor("src", element, 2);
    b.tensor_mut(src).mutable = false;
    let rows = b.arange(lines);
    let (column, cols) = (b.reshape(rows, &[lines, 1]), b.arange(columns));
    let value: Value = b.load(src, &[column, cols]);
    for (out, reduction) in [(least, Reduction::ArgMin), (most, Reduction::ArgMax)] {
        let first = b.emit(Expression::Reduce {
            value,
            axis: 1,
            reduction,
        });
        b.store(out, &[rows], first);
    }
    // Two or three values, and now and then what is no number.
    let one = match element {
        ElementType::F32 => [0, 0x3f80_0000, 0x4000_0000, 0x7fc0_0000],
        _ => [0, 1, 2, 1],
    };
    let value = move |at: u64| {
        let random = (at + seed * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        one[match random % 16 {
            0 => 3,
            other => other as usize % 3,
        }]
    };
    let zeros = || Argument::tensor(ElementType::I64, &[lines.into()], 0, |_| 0);
    let arguments = [
        zeros(),
        zeros(),
        Argument::tensor(element, &[lines.into(), columns.into()], 0, value),
    ];
    let mut kernel = b.launch(1);
    bind(&mut kernel, &arguments, true);
    check(&kernel, &schedule(threads, 2), &arguments);
}

#[test]
fn the_first_of_equal_elements_is_found_by_any_number_of_threads() {
    for element in [ElementType::I32, ElementType::F32] {
        for columns in (2..=34).chain([40, 63, 64, 100, 131, 256, 300, 777, 2100]) {
            for threads in [4, 32, 128] {
                for lines in [1, 3] {
                    found(
                        element,
                        [lines, columns],
                        threads,
                        u64::from(columns) + u64::from(threads),
                    );
                }
            }
        }
    }
}
