//! Matrices on the host, as bits.

use std::fmt::Debug;

use tilewright_dsl::element::{Element, ElementType};

use crate::random::mixed;

/// A matrix on the host, as the bits of its elements.
pub type Rows = Vec<Vec<u64>>;

/// `rows` rows of zeros.
pub fn zeros(rows: usize, columns: usize) -> Rows {
    vec![vec![0; columns]; rows]
}

/// Rows of an element type whose elements differ, as far as it has that many bit patterns. They are pseudo-random, and every
/// fifth float is a NaN or an infinity. Another `salt` gives other elements.
///
/// ```
/// use tilewright_harness::testing::unique;
///
/// let rows = unique::<u32>(3, 4, 0);
/// assert_eq!((rows.len(), rows[0].len()), (3, 4));
/// let mut all = rows.concat();
/// all.sort_unstable();
/// all.dedup();
/// assert_eq!(all.len(), 12);
/// assert_ne!(rows, unique::<u32>(3, 4, 1));
/// ```
pub fn unique<T: Element>(rows: usize, columns: usize, salt: u64) -> Rows {
    let element = |i: usize| pattern(T::TYPE, i as u64 + (salt << 40));
    (0..rows)
        .map(|row| (0..columns).map(|column| element(row * columns + column)).collect())
        .collect()
}

/// Rows of the sentinel that stands around [`Guarded`](super::Guarded) tensors, and in those that are untouched.
pub fn sentinels<T: Element>(rows: usize, columns: usize) -> Rows {
    vec![vec![sentinel(T::TYPE); columns]; rows]
}

/// Compares matrices.
///
/// # Panics
/// If they differ; the message has `what`, and where the first element is that differs.
#[track_caller]
pub fn assert_rows(found: &Rows, expected: &Rows, what: impl Debug) {
    assert_eq!(found.len(), expected.len(), "{what:?}: rows");
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what:?}: columns of row {row}");
        if let Some(column) = (0..expected.len()).find(|&column| found[column] != expected[column]) {
            let (is, should) = (found[column], expected[column]);
            panic!("{what:?}: row {row}, column {column} is {is:#x} and should be {should:#x}");
        }
    }
}

/// A pattern that [`unique`] is unlikely to make, and no zero.
pub(super) fn sentinel(ty: ElementType) -> u64 {
    match ty {
        ElementType::Bool => 1,
        _ => 0xa5c3_96f0_5a3c_690f & mask(ty),
    }
}

fn mask(ty: ElementType) -> u64 {
    u64::MAX >> (64 - ty.bits())
}

fn pattern(ty: ElementType, i: u64) -> u64 {
    let bits = mixed(i.wrapping_add(0x9e37_79b9_7f4a_7c15));
    // What is set in the exponents of infinities and NaN.
    let exponent = match ty {
        ElementType::Bool => return bits & 1,
        ElementType::F16 => 0x7c00,
        ElementType::BF16 => 0x7f80,
        ElementType::F32 => 0x7f80_0000,
        ElementType::F64 => 0x7ff0_0000_0000_0000,
        ElementType::F8E4M3 => 0x7f,
        ElementType::F8E5M2 => 0x7c,
        _ => 0,
    };
    match i.is_multiple_of(5) {
        true => (bits | exponent) & mask(ty),
        false => bits & mask(ty),
    }
}
