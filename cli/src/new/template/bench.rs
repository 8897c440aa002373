//! How long a launch takes. On a GPU, launches over several sets of tensors are captured in a graph, so that neither the host nor
//! the cache makes them look faster than they are; without one the CPU device interprets the kernel, which says nothing about
//! GPUs.

use std::error::Error;
use std::time::Instant;

use CRATE::scale_rows;
use tilewright::prelude::*;

/// Sets of tensors, which take turns.
const SETS: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::best();
    let (rows, columns, repeats) = if device.is_cuda() { (4096, 7168, 50) } else { (16, 256, 3) };
    let factors = device.zeros::<f32, 1>([rows])?;
    let mut sets = Vec::new();
    for _ in 0..SETS {
        sets.push((device.zeros::<f32, 2>([rows, columns])?, device.zeros::<f32, 2>([rows, columns])?));
    }
    let mut launch_all = |stream: &Stream| -> Result<(), LaunchError> {
        for (out, src) in &mut sets {
            scale_rows(out, &*src, &factors).specialize(Specialize::Exact).launch_on(stream)?;
        }
        Ok(())
    };
    // Once before, so that the kernel is compiled.
    launch_all(&device.stream())?;
    device.synchronize()?;
    let mut graph = device.capture(&mut launch_all)?;
    let mut times = Vec::new();
    for _ in 0..repeats {
        let begin = Instant::now();
        graph.launch()?;
        device.synchronize()?;
        times.push(begin.elapsed().as_secs_f64() / SETS as f64);
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let bytes = 2 * rows * columns * size_of::<f32>();
    println!(
        "scale_rows of {rows} x {columns} f32 on {device}: {:.2} us, {:.1} GB/s",
        median * 1e6,
        bytes as f64 / median / 1e9
    );
    Ok(())
}
