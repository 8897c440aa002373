//! The host's opinion of every bit.

use half::bf16;
use tilewright::dp::layout::GatheredLayout;

use crate::source::{self, SENTINEL};
use crate::step::GUARD;

/// The gathered buffer: tokens at their places, zeros between them, guard rows as they were.
pub fn gathered(layout: &GatheredLayout, found: &[bf16]) -> Result<(), String> {
    compare("gathered buffer", layout, found, |row, column| {
        match token_at(layout, row) {
            Some((rank, token)) => source::element(rank, token, column),
            None => bf16::ZERO,
        }
    })
}

/// What the MLP made of it; it sees the padding too.
pub fn computed(layout: &GatheredLayout, found: &[bf16]) -> Result<(), String> {
    compare("MLP's output", layout, found, |row, column| {
        match token_at(layout, row) {
            Some((rank, token)) => source::mlp_on_host(source::element(rank, token, column)),
            None => source::mlp_on_host(bf16::ZERO),
        }
    })
}

/// What a rank got back: its own tokens, zeros in its padding.
pub fn result(layout: &GatheredLayout, rank: usize, found: &[bf16]) -> Result<(), String> {
    let count = layout.counts()[rank] as usize;
    compare(&format!("result of rank {rank}"), layout, found, |row, column| {
        if row < count {
            source::mlp_on_host(source::element(rank, row, column))
        } else {
            bf16::ZERO
        }
    })
}

/// The rank and token that a row of the buffer holds.
fn token_at(layout: &GatheredLayout, row: usize) -> Option<(usize, usize)> {
    // Ranks without rows start where the next one does, so the last rank that starts here or before is the one.
    let rank = layout
        .starts()
        .partition_point(|&start| start <= row as u64)
        .checked_sub(1)?;
    let token = row as u64 - layout.starts()[rank];
    (token < layout.counts()[rank]).then_some((rank, token as usize))
}

/// Compares a tensor with guard rows around it, bit by bit.
fn compare(
    name: &str,
    layout: &GatheredLayout,
    found: &[bf16],
    expected: impl Fn(usize, usize) -> bf16,
) -> Result<(), String> {
    let hidden = layout.hidden().size as usize;
    let rows = found.len() / hidden - 2 * GUARD;
    for (i, elements) in found.chunks_exact(hidden).enumerate() {
        let row = i.checked_sub(GUARD).filter(|&row| row < rows);
        for (column, &element) in elements.iter().enumerate() {
            let expected = row.map_or(SENTINEL, |row| expected(row, column));
            if element.to_bits() != expected.to_bits() {
                let place = row.map_or("a guard row".to_owned(), |row| format!("row {row}"));
                let (is, should) = (element.to_bits(), expected.to_bits());
                let (mode, counts) = (layout.mode(), layout.counts());
                return Err(format!(
                    "{name}, mode {mode}, counts {counts:?}: {place}, column {column} is {is:#06x} and should be {should:#06x}"
                ));
            }
        }
    }
    Ok(())
}
