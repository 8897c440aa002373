//! The kernel against the host, bit for bit.

use CRATE::scale_rows;
use tilewright::prelude::*;
use tilewright::testing::{Guarded, Placement, Rows, assert_rows, counts, for_each_device};

/// A matrix as bits.
fn matrix(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Rows {
    let row = |row| (0..columns).map(|column| value(row, column).to_bits().into()).collect();
    (0..rows).map(row).collect()
}

#[test]
fn every_row_is_multiplied_by_its_factor() {
    let value = |row: usize, column: usize| (row * 7 + column) as f32 + 0.5;
    let factor = |row: usize| 1.0 / (row + 1) as f32;
    // On the CPU device, which checks every access, and on the first GPU if there is one.
    for_each_device(|device| {
        for rows in counts(33) {
            let factors: Vec<f32> = (0..rows).map(factor).collect();
            let factors = device.upload(&factors, [rows]).unwrap();
            for columns in [1, 3, 64, 1000] {
                // Rows of the source and of the result that begin at any address, between guards.
                for placement in Placement::every::<f32>() {
                    let src = Guarded::<f32>::new(device, &matrix(rows, columns, value), columns, placement);
                    let mut out = Guarded::<f32>::untouched(device, rows, columns, placement);
                    scale_rows(out.view_mut(), src.view(), &factors).launch(device).unwrap();
                    let expected = matrix(rows, columns, |row, column| factor(row) * value(row, column));
                    assert_rows(&out.read(), &expected, (rows, columns, placement));
                }
            }
        }
    });
}

#[test]
fn rows_of_different_lengths_are_refused() {
    let device = Device::cpu();
    let zeros = |columns| device.zeros::<f32, 2>([2, columns]).unwrap();
    let factors = device.zeros::<f32, 1>([2]).unwrap();
    let error = scale_rows(&mut zeros(4), &zeros(5), &factors).launch(&device).unwrap_err();
    assert!(error.to_string().contains("out.extent(1) == src.extent(1)"), "{error}");
}
