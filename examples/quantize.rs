//! Rows of bf16 in 8-bit floats with scales, and back: what it costs in precision and saves in bytes.
//!
//! Run it with `cargo run --release --example quantize`; `-- --device cuda` runs it on a GPU.

mod support;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use float8::F8E4M3;
use half::bf16;
use support::{check, exit};
use tilewright::dp::kernels::quantize::GROUP;
use tilewright::dp::kernels::{dequantize_rows, quantize_rows};
use tilewright::prelude::*;

const ROWS: usize = 16;
const HIDDEN: usize = 7168;

/// One scale for a whole row, which is simpler than the library's scale for every 128 columns.
#[kernel(grid = [out.extent(0)])]
fn quantize_whole_rows(out: &mut Tensor<F8E4M3, 2>, scales: &mut Tensor<f32, 2>, src: &Tensor<bf16, 2>) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    let x = src.load([row, cols]).cast::<f32>();
    let scale = x.abs().max_axis(0).max(1e-10) / 448.0;
    scales.store([row, 0], scale);
    out.store([row, cols], (x / scale).cast::<F8E4M3>());
}

/// Its inverse.
#[kernel(grid = [out.extent(0)])]
fn dequantize_whole_rows(out: &mut Tensor<f32, 2>, src: &Tensor<F8E4M3, 2>, scales: &Tensor<f32, 2>) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    out.store([row, cols], src.load([row, cols]).cast::<f32>() * scales.load([row, 0]));
}

/// Numbers around zero, with a few that are a hundred times as large, as in hidden states.
fn hidden_states() -> Vec<bf16> {
    let mut state = 0x2545_f491u32;
    let mut next = |i: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let x = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        bf16::from_f32(if i.is_multiple_of(1021) { 100.0 * x } else { x })
    };
    (0..ROWS * HIDDEN).map(&mut next).collect()
}

/// Compares everything with the host, for groups of `group` columns, and gives the mean error.
fn check_groups(group: usize, x: &[bf16], [quantized, scales, back]: [&[f32]; 3]) -> Result<f64, Box<dyn Error>> {
    let largest = |x: &[bf16]| x.iter().map(|x| x.to_f32().abs()).fold(1e-10, f32::max);
    let host_scales: Vec<f32> = x.chunks(group).map(|x| largest(x) / 448.0).collect();
    let host: Vec<f32> = x
        .iter()
        .enumerate()
        .map(|(i, x)| F8E4M3::from_f32(x.to_f32() / host_scales[i / group]).to_f32())
        .collect();
    let host_back: Vec<f32> = host
        .iter()
        .enumerate()
        .map(|(i, q)| q * host_scales[i / group])
        .collect();
    check("scales", scales, &host_scales)?;
    check("8-bit values", quantized, &host)?;
    check("values that come back", back, &host_back)?;

    let mut sum = 0.0;
    for (i, (x, back)) in x.iter().zip(back).enumerate() {
        // e4m3 has 4 significant bits, and below 2^-6 steps of 2^-9: half a step of either, and f32's own rounding.
        let (x, scale) = (x.to_f32(), host_scales[i / group]);
        let (error, bound) = ((back - x).abs(), (x.abs() / 16.0).max(scale / 1024.0) * 1.00001);
        if error > bound {
            return Err(format!("value {i} is {x} and comes back as {back}: more than {bound} away").into());
        }
        sum += f64::from(error);
    }
    writeln!(io::stdout(), "  errors: all {} are within half a step of e4m3", x.len())?;
    Ok(sum / x.len() as f64)
}

fn main() -> ExitCode {
    exit::code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let device = support::device()?;
    let x = hidden_states();
    let src = device.upload(&x, [ROWS, HIDDEN])?;
    let mut quantized = device.zeros::<F8E4M3, 2>([ROWS, HIDDEN])?;
    let mut back = device.zeros::<f32, 2>([ROWS, HIDDEN])?;
    let wide = |values: Vec<F8E4M3>| values.into_iter().map(|q| q.to_f32()).collect::<Vec<_>>();

    writeln!(
        io::stdout(),
        "{ROWS} rows of {HIDDEN} bf16, a scale for every {GROUP} columns:"
    )?;
    let mut scales = device.zeros::<f32, 2>([ROWS, HIDDEN / GROUP])?;
    quantize_rows(&mut quantized, &mut scales, &src).launch(&device)?;
    dequantize_rows(&mut back, &quantized, &scales).launch(&device)?;
    let found = [wide(quantized.download()?), scales.download()?, back.download()?];
    let by_group = check_groups(GROUP, &x, found.each_ref().map(Vec::as_slice))?;
    let bytes = quantized.bytes() + scales.bytes();

    writeln!(io::stdout(), "a scale for each row:")?;
    let mut scales = device.zeros::<f32, 2>([ROWS, 1])?;
    quantize_whole_rows(&mut quantized, &mut scales, &src).launch(&device)?;
    dequantize_whole_rows(&mut back, &quantized, &scales).launch(&device)?;
    let found = [wide(quantized.download()?), scales.download()?, back.download()?];
    let by_row = check_groups(HIDDEN, &x, found.each_ref().map(Vec::as_slice))?;

    writeln!(
        io::stdout(),
        "mean error: {by_group:.5} with a scale for every {GROUP} columns, {by_row:.5} with one for each row"
    )?;
    writeln!(
        io::stdout(),
        "bytes: {bytes} instead of {}, {} saved",
        src.bytes(),
        src.bytes() - bytes
    )?;
    Ok(())
}
