//! Kernels in an engine's memory: everything is allocated and owned by cudarc, nothing by Tilewright, and all work is on
//! the engine's own stream. Rows are gathered, scattered and padded in place, by a count that the GPU reads, and compared with
//! the host.
//!
//! Run it with `cargo run --example engine_memory`; without a GPU it says so.

#[path = "support/exit.rs"]
mod exit;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use tilewright::dp::kernels::{gather_rows, pad_rows, scatter_rows};
use tilewright::prelude::*;
use tilewright::runtime::device::cuda::cudarc::driver::{CudaContext, CudaSlice, CudaStream};
use tilewright::runtime::{BorrowedTensor, BorrowedTensorMut};

const TOKENS: usize = 300;
const SLOTS: usize = 512;
const HIDDEN: usize = 1023;
const VALID: usize = 201;

fn main() -> ExitCode {
    exit::code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let device = match Device::cuda(0) {
        Ok(device) => device,
        Err(error) => {
            writeln!(
                io::stdout(),
                "an engine's memory is a GPU's, and there is none: {error}"
            )?;
            return Ok(());
        }
    };
    // The engine: a context, a stream, and buffers.
    let context = CudaContext::new(0)?;
    let (tracking, stream) = (context.is_event_tracking(), context.new_stream()?);
    let mut engine = Engine::new(&stream)?;

    serve(&device, &stream, &mut engine)?;

    engine.compare(&stream)?;
    if context.is_event_tracking() != tracking {
        return Err("the engine's context tracks events otherwise than before".into());
    }
    let count = TOKENS * HIDDEN;
    writeln!(
        io::stdout(),
        "gathered, scattered and padded {count} elements of an engine's on {device}: all are equal to the host's, and its \
         context is as it was"
    )?;
    Ok(())
}

// ANCHOR: serve
/// One step: all of it is asked of the engine's stream, and nothing is waited for.
fn serve(device: &Device, stream: &Arc<CudaStream>, engine: &mut Engine) -> Result<(), Box<dyn Error>> {
    let ours = Stream::from_cudarc(device, stream.clone())?;
    let hidden = BorrowedTensor::from_cudarc(device, engine.hidden.as_view(), [TOKENS, HIDDEN])?;
    let order = BorrowedTensor::from_cudarc(device, engine.order.as_view(), [TOKENS])?;
    let slots = BorrowedTensor::from_cudarc(device, engine.slots.as_view(), [TOKENS])?;
    let valid = BorrowedTensor::from_cudarc(device, engine.valid.as_view(), [1])?;
    let mut gathered = BorrowedTensorMut::from_cudarc(device, engine.gathered.as_view_mut(), [TOKENS, HIDDEN])?;
    let mut cache = BorrowedTensorMut::from_cudarc(device, engine.cache.as_view_mut(), [SLOTS, HIDDEN])?;
    let mut padded = BorrowedTensorMut::from_cudarc(device, engine.padded.as_view_mut(), [SLOTS, HIDDEN])?;

    gather_rows(&mut gathered, &hidden, &order).launch_on(&ours)?;
    scatter_rows(&mut cache, gathered.view(), &slots).launch_on(&ours)?;
    pad_rows(&mut padded, gathered.view(), device_count(&valid, 0, TOKENS as u64)?).launch_on(&ours)?;
    Ok(())
}
// ANCHOR_END: serve

/// What an engine owns.
struct Engine {
    hidden: CudaSlice<f32>,
    /// Where each row of `gathered` comes from; -1 for a row of zeros.
    order: CudaSlice<i32>,
    /// Where each row of `gathered` goes in the cache; -1 for nowhere.
    slots: CudaSlice<i64>,
    /// How many rows of `gathered` are valid in `padded`.
    valid: CudaSlice<i32>,
    gathered: CudaSlice<f32>,
    cache: CudaSlice<f32>,
    padded: CudaSlice<f32>,
}

fn hidden() -> Vec<f32> {
    (0..TOKENS * HIDDEN).map(|i| i as f32 + 1.0).collect()
}

fn order() -> Vec<i32> {
    let from = |row: usize| match row % 7 {
        0 => -1,
        _ => (row * 37 % TOKENS) as i32,
    };
    (0..TOKENS).map(from).collect()
}

fn slots() -> Vec<i64> {
    let to = |row: usize| match row % 5 {
        0 => -1,
        _ => (row * 211 % SLOTS) as i64,
    };
    (0..TOKENS).map(to).collect()
}

impl Engine {
    fn new(stream: &Arc<CudaStream>) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            hidden: stream.clone_htod(&hidden())?,
            order: stream.clone_htod(&order())?,
            slots: stream.clone_htod(&slots())?,
            valid: stream.clone_htod(&[VALID as i32])?,
            gathered: stream.alloc_zeros(TOKENS * HIDDEN)?,
            cache: stream.alloc_zeros(SLOTS * HIDDEN)?,
            padded: stream.clone_htod(&vec![-1.0; SLOTS * HIDDEN])?,
        })
    }

    fn compare(&self, stream: &Arc<CudaStream>) -> Result<(), Box<dyn Error>> {
        let hidden = hidden();
        let mut gathered = vec![0.0; TOKENS * HIDDEN];
        for (row, from) in order().into_iter().enumerate() {
            if let Ok(from) = usize::try_from(from) {
                let from = &hidden[from * HIDDEN..][..HIDDEN];
                gathered[row * HIDDEN..][..HIDDEN].copy_from_slice(from);
            }
        }
        let mut cache = vec![0.0; SLOTS * HIDDEN];
        for (row, to) in slots().into_iter().enumerate() {
            if let Ok(to) = usize::try_from(to) {
                let from = &gathered[row * HIDDEN..][..HIDDEN];
                cache[to * HIDDEN..][..HIDDEN].copy_from_slice(from);
            }
        }
        let mut padded = gathered[..VALID * HIDDEN].to_vec();
        padded.resize(SLOTS * HIDDEN, 0.0);
        for (what, found, expected) in [
            ("gathered", &self.gathered, gathered),
            ("scattered", &self.cache, cache),
            ("padded", &self.padded, padded),
        ] {
            let found = stream.clone_dtoh(found)?;
            if let Some(i) = (0..expected.len()).find(|&i| found[i].to_bits() != expected[i].to_bits()) {
                let (found, expected) = (found[i], expected[i]);
                return Err(format!("{what}: element {i} is {found} and should be {expected}").into());
            }
        }
        Ok(())
    }
}
