//! Kernels of the catalogue that are launched by themselves.

use tilewright_dsl::call::Exact;
use tilewright_dsl::element::{Float, Integer};
use tilewright_runtime::Launch;

use super::{Engine, OfflineError, Pass, Sizes};
use crate::kernels::{
    combine_rows, copy_from_slot, copy_from_slot_padded, copy_to_slot, gather_rows, pad_rows, permute_rows,
    scatter_rows,
};

/// Rows by an index of both types that engines have, into slots, out of them, and padded.
pub(super) fn rows<T: Float>(engine: &Engine, pass: &Pass, hidden: usize) -> Result<(), OfflineError> {
    indexed::<T, i32>(engine, pass, hidden)?;
    indexed::<T, i64>(engine, pass, hidden)?;
    let (device, most) = (&pass.device, engine.rows as usize);
    let src = device.zeros::<T, 2>([most, hidden])?;
    let mut buffer = device.zeros::<T, 2>([most * engine.dp as usize, hidden])?;
    let slots = |rows: u64| [0, rows * (engine.dp - 1)];
    for &Sizes { tokens, rows } in &pass.sizes {
        let tokens = Exact(tokens);
        let all = (rows * engine.dp) as usize;
        pad_rows(buffer.view_mut().rows(..rows as usize)?, &src, tokens).launch(device)?;
        for start in slots(rows).map(Exact) {
            let local = src.rows(..rows as usize)?;
            copy_to_slot(buffer.view_mut().rows(..all)?, local, start, tokens).launch(device)?;
        }
    }
    let (src, mut out) = (buffer, src);
    for &Sizes { tokens, rows } in &pass.sizes {
        let tokens = Exact(tokens);
        for start in slots(rows).map(Exact) {
            let buffer = src.rows(..(rows * engine.dp) as usize)?;
            copy_from_slot(out.view_mut().rows(..rows as usize)?, buffer, start, tokens).launch(device)?;
            copy_from_slot_padded(out.view_mut().rows(..rows as usize)?, buffer, start, tokens).launch(device)?;
        }
    }
    Ok(())
}

fn indexed<T: Float, I: Integer>(engine: &Engine, pass: &Pass, hidden: usize) -> Result<(), OfflineError> {
    let (device, most) = (&pass.device, engine.rows as usize);
    let src = device.zeros::<T, 2>([most, hidden])?;
    let mut out = device.zeros::<T, 2>([most, hidden])?;
    let index = device.zeros::<I, 1>([most])?;
    for rows in pass.rows() {
        let index = index.rows(..rows)?;
        gather_rows(out.view_mut().rows(..rows)?, &src, index).launch(device)?;
        scatter_rows(&mut out, src.rows(..rows)?, index).launch(device)?;
    }
    Ok(())
}

/// Rows to experts and back, by positions of both types that engines have.
pub(super) fn experts<T: Float>(
    engine: &Engine,
    pass: &Pass,
    hidden: usize,
    chosen: usize,
) -> Result<(), OfflineError> {
    routed::<T, i32>(engine, pass, hidden, chosen)?;
    routed::<T, i64>(engine, pass, hidden, chosen)
}

fn routed<T: Float, I: Integer>(
    engine: &Engine,
    pass: &Pass,
    hidden: usize,
    chosen: usize,
) -> Result<(), OfflineError> {
    let (device, most) = (&pass.device, engine.rows as usize);
    let src = device.zeros::<T, 2>([most, hidden])?;
    let mut out = device.zeros::<T, 2>([most, hidden])?;
    let mut routed = device.zeros::<T, 2>([most * chosen, hidden])?;
    let positions = device.zeros::<I, 2>([most, chosen])?;
    let weights = device.zeros::<f32, 2>([most, chosen])?;
    for rows in pass.rows() {
        let positions = positions.rows(..rows)?;
        permute_rows(&mut routed, src.rows(..rows)?, positions).launch(device)?;
        combine_rows(out.view_mut().rows(..rows)?, &routed, positions, weights.rows(..rows)?).launch(device)?;
    }
    Ok(())
}

impl Pass {
    /// The numbers of rows of its steps, each once.
    fn rows(&self) -> Vec<usize> {
        let mut rows: Vec<_> = self.sizes.iter().map(|sizes| sizes.rows as usize).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }
}
