//! What nvfp4 is, said without arithmetic of bits: all values of its types, and the nearest of them.

#![allow(dead_code)] // Each suite uses its part.

/// Columns that share a scale.
pub const GROUP: usize = 16;

/// What the magnitudes of e2m1 are, by their bits.
const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// The value of an e2m1.
pub fn e2m1(bits: u8) -> f32 {
    let magnitude = E2M1[usize::from(bits & 7)];
    if bits & 8 == 0 { magnitude } else { -magnitude }
}

/// The values of the e4m3 that are no NaN and have no sign, by their bits: 3 bits of mantissa, and a bias of 7.
fn e4m3() -> Vec<f32> {
    let value = |bits: i32| match bits >> 3 {
        0 => (bits & 7) as f32 * 2f32.powi(-9),
        exponent => (8 + (bits & 7)) as f32 * 2f32.powi(exponent - 10),
    };
    (0..127).map(value).collect()
}

/// The value of an e4m3.
pub fn scale(bits: u8) -> f32 {
    let magnitude = e4m3().get(usize::from(bits & 127)).copied().unwrap_or(f32::NAN);
    if bits & 128 == 0 { magnitude } else { -magnitude }
}

/// Which of some values is the nearest, of two the even one.
fn nearest(values: &[f32], x: f32) -> u8 {
    let x = x.min(values[values.len() - 1]);
    let distance = |i: usize| (f64::from(values[i]) - f64::from(x)).abs();
    let (mut found, mut even) = (0, true);
    for i in 1..values.len() {
        let is_nearer = distance(i) < distance(found) || (distance(i) == distance(found) && !even);
        if is_nearer {
            (found, even) = (i, i % 2 == 0);
        }
    }
    found as u8
}

/// The e2m1 of an element that is scaled already.
pub fn rounded(x: f32) -> u8 {
    match x.is_nan() {
        true => 7,
        false => nearest(&E2M1, x.abs()) | u8::from(x.is_sign_negative()) << 3,
    }
}

/// A group, two elements a byte, and its scale.
pub fn quantized(group: &[f32], global: f32) -> ([u8; GROUP / 2], u8) {
    let most = group.iter().map(|x| x.abs()).fold(f32::NAN, f32::max);
    let scaled = most * (1.0f32 / 6.0) * global;
    let bits = match scaled.is_nan() {
        true => 0x7f,
        false => nearest(&e4m3(), scaled),
    };
    let step = scale(bits);
    let inverse = match step == 0.0 {
        true => 0.0,
        false => (1.0 / (step * (1.0 / global))).min(f32::MAX),
    };
    // The smaller of NaN and a number is the number, and here there is none.
    let inverse = if step.is_nan() { f32::NAN } else { inverse };
    let element = |i: usize| rounded(group[i] * inverse);
    (std::array::from_fn(|i| element(2 * i) | element(2 * i + 1) << 4), bits)
}

/// Rows and their scales, as bits.
pub fn quantized_rows(rows: &[Vec<f32>], global: f32) -> (Vec<Vec<u64>>, Vec<Vec<u64>>) {
    let row = |row: &Vec<f32>| {
        let groups: Vec<_> = row.chunks(GROUP).map(|group| quantized(group, global)).collect();
        let payload = groups.iter().flat_map(|(bytes, _)| bytes.map(u64::from)).collect();
        (payload, groups.iter().map(|(_, scale)| u64::from(*scale)).collect())
    };
    rows.iter().map(row).unzip()
}

/// Where the scale of a row and column is among those that tensor cores read.
pub fn swizzled(row: usize, column: usize, groups: usize) -> usize {
    let block = row / 128 * groups.div_ceil(4) + column / 4;
    let row = row % 128;
    block * 512 + row % 32 * 16 + row / 32 * 4 + column % 4
}
