//! How long operations take beside candle's own, over the same tensors and in turns: microseconds of one of many that are asked
//! for one after the other, with all that allocating their results takes.
//!
//! `cargo run --release --features cuda --example times`; without the feature on the CPU, which says nothing about GPUs.

use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor};
use candle_ops::{Gather, PadRows, Scatter};

const COLUMNS: usize = 7168;
/// Rounds, in each of which everything has its turn.
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    #[cfg(feature = "cuda")]
    let (device, sizes, calls) = (Device::new_cuda_with_stream(0)?, [8, 256, 4096], 200);
    #[cfg(not(feature = "cuda"))]
    let (device, sizes, calls) = (Device::Cpu, [1, 8, 64], 2);
    println!("{device:?}, bf16, {COLUMNS} columns, us: the median of {ROUNDS} rounds of {calls} calls");
    for rows in sizes {
        let src = Tensor::rand(0f32, 1f32, (2 * rows, COLUMNS), &device)?.to_dtype(DType::BF16)?;
        let order: Vec<u32> = (0..rows).map(|row| (row * 37 % rows * 2) as u32).collect();
        let index = Tensor::new(&order[..], &device)?;
        let part = src.narrow(0, 0, rows)?;
        let dst = src.zeros_like()?;
        measure(
            &device,
            calls,
            &format!("{rows} rows gathered"),
            &[
                ("Gather", &|| src.apply_op2_no_bwd(&index, &Gather).map(drop)),
                ("index_select", &|| src.index_select(&index, 0).map(drop)),
            ],
        )?;
        measure(
            &device,
            calls,
            &format!("{rows} rows scattered in place"),
            &[
                ("Scatter", &|| dst.inplace_op3(&part, &index, &Scatter)),
                ("index_add, which copies all", &|| {
                    dst.index_add(&index, &part, 0).map(drop)
                }),
            ],
        )?;
        let to = rows + rows / 4;
        measure(
            &device,
            calls,
            &format!("{rows} rows padded to {to}"),
            &[
                ("PadRows", &|| part.apply_op1_no_bwd(&PadRows { rows, to }).map(drop)),
                ("pad_with_zeros", &|| part.pad_with_zeros(0, 0, to - rows).map(drop)),
            ],
        )?;
    }
    Ok(())
}

type Contestant<'a> = (&'a str, &'a dyn Fn() -> Result<()>);

fn measure(device: &Device, calls: usize, what: &str, contestants: &[Contestant<'_>]) -> Result<()> {
    let mut times = vec![Vec::new(); contestants.len()];
    // The first round compiles and loads, and is not counted.
    for round in 0..=ROUNDS {
        for ((_, call), times) in contestants.iter().zip(&mut times) {
            device.synchronize()?;
            let begin = Instant::now();
            (0..calls).try_for_each(|_| call())?;
            device.synchronize()?;
            if round > 0 {
                times.push(begin.elapsed().as_secs_f64() * 1e6 / calls as f64);
            }
        }
    }
    let shown = contestants.iter().zip(&mut times).map(|((name, _), times)| {
        times.sort_by(f64::total_cmp);
        format!("{name} {:.1}", times[times.len() / 2])
    });
    println!("{what}: {}", shown.collect::<Vec<_>>().join(", "));
    Ok(())
}
