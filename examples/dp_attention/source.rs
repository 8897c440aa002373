//! Hidden states that can be told apart, and what the stand-in for the MLP makes of them.

use half::bf16;
use tilewright::prelude::*;

/// Fills guard rows: a NaN that no kernel of this program computes.
pub const SENTINEL: bf16 = bf16::from_bits(0x7fe1);

/// One element of a rank's hidden states. Every row is its own pseudo-random sequence, so a row that ends up in the wrong
/// place is noticed. Values lie between 2⁻⁸ and 2⁸, so that no rounding mode or subnormal blurs the comparison.
pub fn element(rank: usize, row: usize, column: usize) -> bf16 {
    let position = ((rank as u64) << 48) ^ ((row as u64) << 20) ^ column as u64;
    let mixed = (position + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
    let sign_and_mantissa = (mixed & 0x807f) as u16;
    let exponent = 119 + (mixed >> 16 & 0xf) as u16;
    bf16::from_bits(sign_and_mantissa | exponent << 7)
}

/// All hidden states of a rank, row by row.
pub fn hidden_states(rank: usize, rows: usize, hidden: usize) -> Vec<bf16> {
    (0..rows)
        .flat_map(|row| (0..hidden).map(move |column| element(rank, row, column)))
        .collect()
}

/// Stands in for the MLP: every element by itself, computed in f32 and rounded once.
#[kernel(grid = [out.extent(0)])]
pub fn mlp(out: &mut Tensor<bf16, 2>, hidden: &Tensor<bf16, 2>) {
    let row = program_id(0);
    let cols = arange(out.extent(1));
    let x = hidden.load([row, cols]).cast::<f32>();
    out.store([row, cols], (x * 0.5 + 0.25).cast::<bf16>());
}

/// The same on the host. Halving is exact, so it does not matter whether a device fuses the multiplication and addition.
pub fn mlp_on_host(x: bf16) -> bf16 {
    bf16::from_f32(x.to_f32() * 0.5 + 0.25)
}
