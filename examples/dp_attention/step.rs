//! One step: from the ranks' hidden states through the gathered buffer and back.

use std::error::Error;
use std::time::{Duration, Instant};

use half::bf16;
use tilewright::dp::draw;
use tilewright::dp::kernels::{copy_from_slot_padded, fill_and_place};
use tilewright::dp::layout::GatheredLayout;
use tilewright::dp::text;
use tilewright::prelude::*;

use crate::check;
use crate::source::{self, SENTINEL};

/// Rows before and after every destination, which no kernel may touch.
pub const GUARD: usize = 2;

/// Ranks that one launch places. More ranks take more launches, each with its own part of the buffer.
const RANKS_PER_LAUNCH: usize = 8;

/// Times that each phase is run again on a GPU after its first run, which includes compiling.
const REPEATS: usize = 10;

/// The largest buffer; ranks, results and the host's copies take several times as much.
const MAX_BYTES: u64 = 4 << 30;

/// What was measured of one step: each phase by its name, and the variants that were built.
pub struct Measured {
    /// Placing all ranks' rows in the gathered buffer, the stand-in for the MLP over it, and taking each rank's rows back; between
    /// devices, gathering too.
    pub phases: Vec<(&'static str, Phase)>,
    /// Variants that were built for this step.
    pub compiles: u64,
}

/// What was measured of one phase of a step.
pub struct Phase {
    /// The first run, compiling included.
    pub first: Duration,
    /// The fastest run, the first included.
    pub best: Duration,
    /// Bytes read and written.
    pub bytes: u64,
}

/// Refuses buffers for which this program would need too much memory.
pub fn check_size(layout: &GatheredLayout) -> Result<(), Box<dyn Error>> {
    if layout.bytes() <= MAX_BYTES {
        return Ok(());
    }
    let (mode, size, limit) = (layout.mode(), draw::bytes(layout.bytes()), draw::bytes(MAX_BYTES));
    let advice = "take fewer tokens, a smaller `--hidden`, or `--mode sum`";
    Err(format!(
        "the {mode} buffer for counts {} is {size}, and this program stops at {limit}; {advice}",
        text::shortened(&format!("{:?}", layout.counts()), text::VALUE)
    )
    .into())
}

/// Runs one step and checks every bit of it.
pub fn run(device: &Device, layout: &GatheredLayout) -> Result<Measured, Box<dyn Error>> {
    let hidden = layout.hidden().size as usize;
    let before = device.counters().compiles;
    let mut ranks = Vec::new();
    for (rank, &count) in layout.counts().iter().enumerate() {
        let states = source::hidden_states(rank, count as usize, hidden);
        ranks.push(device.upload(&states, [count as usize, hidden])?);
    }
    let mut gathered = guarded(device, layout.rows(), hidden)?;
    let mut computed = guarded(device, layout.rows(), hidden)?;
    let mut results = Vec::new();
    for &padded in layout.padded() {
        results.push(guarded(device, padded, hidden)?);
    }

    let alone = || Ok(());
    let (rows, real) = (layout.bytes(), layout.real_bytes());
    let place = measure(device, rows + real, alone, || {
        place(device, layout, &ranks, &mut gathered)
    })?;
    let mlp = measure(device, 2 * rows, alone, || {
        source::mlp(inner_mut(&mut computed)?, inner(&gathered)?).launch(device)?;
        Ok(())
    })?;
    let padded_bytes = layout.padded().iter().sum::<u64>() * layout.hidden().size * layout.hidden().element_bytes;
    let take = measure(device, real + padded_bytes, alone, || {
        take_back(device, layout, &computed, &mut results)
    })?;

    check::gathered(layout, &gathered.download()?)?;
    check::computed(layout, &computed.download()?)?;
    for (rank, result) in results.iter().enumerate() {
        check::result(layout, rank, &result.download()?)?;
    }
    Ok(Measured {
        phases: vec![("place", place), ("MLP", mlp), ("take", take)],
        compiles: device.counters().compiles - before,
    })
}

/// Writes the whole gathered buffer: every rank's rows at their places and zeros between, each byte once.
fn place(
    device: &Device,
    layout: &GatheredLayout,
    ranks: &[DeviceTensor<bf16, 2>],
    gathered: &mut DeviceTensor<bf16, 2>,
) -> Result<(), Box<dyn Error>> {
    for first in (0..ranks.len()).step_by(RANKS_PER_LAUNCH) {
        let end = first + RANKS_PER_LAUNCH;
        let from = layout.starts()[first];
        let to = layout.starts().get(end).copied().unwrap_or(layout.rows());
        let part = gathered.view_mut().rows(GUARD + from as usize..GUARD + to as usize)?;
        // A launch takes a fixed number of segments; those that no rank needs are empty.
        let slot = |i: usize| (first + i < ranks.len()).then_some(first + i);
        let segments = std::array::from_fn(|i| ranks[slot(i).unwrap_or(first)].view());
        let starts = std::array::from_fn(|i| Exact(slot(i).map_or(0, |rank| layout.starts()[rank] - from)));
        let rows = std::array::from_fn(|i| Exact(slot(i).map_or(0, |rank| layout.counts()[rank])));
        fill_and_place::<bf16, RANKS_PER_LAUNCH>(part, segments, starts, rows).launch(device)?;
    }
    Ok(())
}

/// Gives every rank the rows of its slot that hold tokens, and zeros for its padding.
fn take_back(
    device: &Device,
    layout: &GatheredLayout,
    computed: &DeviceTensor<bf16, 2>,
    results: &mut [DeviceTensor<bf16, 2>],
) -> Result<(), Box<dyn Error>> {
    for (rank, result) in results.iter_mut().enumerate() {
        let (start, count) = (Exact(layout.starts()[rank]), Exact(layout.counts()[rank]));
        copy_from_slot_padded(inner_mut(result)?, inner(computed)?, start, count).launch(device)?;
    }
    Ok(())
}

/// A tensor of `rows` rows between guard rows, all of it sentinels.
pub fn guarded(device: &Device, rows: u64, hidden: usize) -> Result<DeviceTensor<bf16, 2>, Box<dyn Error>> {
    let rows = rows as usize + 2 * GUARD;
    Ok(device.upload(&vec![SENTINEL; rows * hidden], [rows, hidden])?)
}

/// A guarded tensor without its guard rows.
pub fn inner(tensor: &DeviceTensor<bf16, 2>) -> Result<TensorView<'_, bf16, 2>, Box<dyn Error>> {
    Ok(tensor.rows(GUARD..tensor.extents()[0] - GUARD)?)
}

pub fn inner_mut(tensor: &mut DeviceTensor<bf16, 2>) -> Result<TensorViewMut<'_, bf16, 2>, Box<dyn Error>> {
    let rows = GUARD..tensor.extents()[0] - GUARD;
    Ok(tensor.view_mut().rows(rows)?)
}

/// Times a phase until the device has done all of it, `begin` before each run not included.
pub fn measure(
    device: &Device,
    bytes: u64,
    mut begin: impl FnMut() -> Result<(), Box<dyn Error>>,
    mut phase: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Phase, Box<dyn Error>> {
    device.synchronize()?;
    let mut timed = || -> Result<Duration, Box<dyn Error>> {
        begin()?;
        let begun = Instant::now();
        phase()?;
        device.synchronize()?;
        Ok(begun.elapsed())
    };
    let first = timed()?;
    let mut best = first;
    // The CPU device compiles nothing, and a second run only makes sure that a rerun changes nothing.
    let repeats = if device.is_cuda() { REPEATS } else { 1 };
    for _ in 0..repeats {
        best = best.min(timed()?);
    }
    Ok(Phase { first, best, bytes })
}
