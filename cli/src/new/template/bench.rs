//! How long a launch takes, beside a copy of as many bytes. Launches go round several sets of tensors in a graph, so that neither
//! the host nor the cache makes them look faster than they are. Without a GPU the CPU device interprets the kernel, which says
//! nothing about GPUs.

use std::error::Error;

use CRATE::scale_rows;
use tilewright::bench::{Replay, copy, sets};
use tilewright::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::best();
    let (rows, columns, replays) = if device.is_cuda() { (4096, 7168, 50) } else { (16, 256, 3) };
    let bytes = 2 * rows * columns * size_of::<f32>();
    let factors = device.zeros::<f32, 1>([rows])?;
    let mut buffers = Vec::new();
    for _ in 0..sets(&device, bytes) {
        buffers.push((device.zeros::<f32, 2>([rows, columns])?, device.zeros::<f32, 2>([rows, columns])?));
    }
    let mut replay = Replay::rotating::<LaunchError>(&device, buffers.len(), |stream, set| {
        let (out, src) = &mut buffers[set];
        scale_rows(out, &*src, &factors).specialize(Specialize::Exact).launch_on(stream)
    })?;
    let times = replay.measure(replays, 2)?;
    println!(
        "scale_rows of {rows} x {columns} f32 on {device}: {times}, {:.1} GB/s, {:.0} % of a copy",
        times.gigabytes_per_second(bytes),
        100.0 * times.share_of(&copy(&device, bytes)?)
    );
    Ok(())
}
