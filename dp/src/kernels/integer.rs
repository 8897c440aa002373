//! Counts, places and ids of any integer type, as the kernels compute with them.
//!
//! Everything is converted to i64 before it is added, subtracted or compared, so that no type is too narrow for what comes of
//! it; and limited to where a row can be, so that nothing wraps.

use tilewright_dsl::call::MAX_COUNT;
use tilewright_dsl::{device, lang::*};

const MOST: i64 = MAX_COUNT as i64;

/// Numbers of rows: none where they are negative, and at most 2^40.
#[device]
pub(super) fn counted<I: Integer, const R: usize>(counts: Tile<I, R>) -> Tile<i64, R> {
    counts.saturating_cast::<i64>().max(0).min(MOST)
}

/// Places of rows, on either side of where rows can be at most 2^40.
#[device]
pub(super) fn placed<I: Integer, const R: usize>(places: Tile<I, R>) -> Tile<i64, R> {
    places.saturating_cast::<i64>().max(-MOST).min(MOST)
}

/// Where pages of so many rows begin: on either side of where rows can be at most 2^40.
#[device]
pub(super) fn first_row<I: Integer, const R: usize>(ids: Tile<I, R>, page: Scalar<i64>) -> Tile<i64, R> {
    let last = MOST / page;
    placed(ids).max(-last).min(last) * page
}

/// What stands for no place: -1, or the largest value of an unsigned type.
#[device]
pub(super) fn nowhere<I: Integer>() -> Scalar<I> {
    (zero::<i64>() - 1).cast::<I>()
}

/// The largest value of an integer type, as far as an i64 goes.
pub(super) fn largest<I: Integer>() -> i64 {
    let most = I::TYPE.integer_range().map_or(i128::MAX, |(_, most)| most);
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// Reports values that an `O` is too narrow for; `values` are at most `possible`.
#[device]
pub(super) fn check_fits<O: Integer, const R: usize>(values: Tile<i64, R>, possible: i64, message: &str) {
    if largest::<O>() < possible {
        device_assert(values <= largest::<O>(), message);
    }
}
