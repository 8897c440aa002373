//! Kernels of the catalogue that are launched by themselves.

use tilewright_dsl::call::Call;
use tilewright_dsl::element::{Element, Float, Integer};
use tilewright_runtime::Launch;

use super::{Engine, OfflineError, Pass, Sizes};
use crate::catalogue::{self, CatalogueError, Sample, Shapes};

/// A kernel of the catalogue, called.
type Called = fn(&Sample<'_>, &mut dyn FnMut(Call<'_>)) -> Result<(), CatalogueError>;

/// Rows by an index of both types that engines have, into slots, out of them, and padded.
pub(super) fn rows<T: Float>(engine: &Engine, pass: &Pass, hidden: usize) -> Result<(), OfflineError> {
    indexed::<T, i32>(engine, pass, hidden)?;
    indexed::<T, i64>(engine, pass, hidden)?;
    for &Sizes { tokens, rows } in &pass.sizes {
        for rank in [0, engine.dp - 1] {
            let shapes = Shapes {
                tokens: tokens as usize,
                rank: rank as usize,
                ..shapes(engine, rows as usize, hidden)
            };
            pass.launch(&shapes, catalogue::copy_to_slot::<T>)?;
            pass.launch(&shapes, catalogue::copy_from_slot::<T>)?;
            pass.launch(&shapes, catalogue::copy_from_slot_padded::<T>)?;
            pass.launch(&shapes, catalogue::pad_rows::<T>)?;
        }
    }
    Ok(())
}

fn indexed<T: Element, I: Integer>(engine: &Engine, pass: &Pass, hidden: usize) -> Result<(), OfflineError> {
    for rows in pass.rows() {
        let shapes = shapes(engine, rows, hidden);
        pass.launch(&shapes, catalogue::gather_rows::<T, I>)?;
        pass.launch(&shapes, catalogue::scatter_rows::<T, I>)?;
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
    for rows in pass.rows() {
        let shapes = Shapes {
            experts_per_token: chosen,
            ..shapes(engine, rows, hidden)
        };
        pass.launch(&shapes, catalogue::permute_rows::<T, i32>)?;
        pass.launch(&shapes, catalogue::permute_rows::<T, i64>)?;
        pass.launch(&shapes, catalogue::combine_rows::<T, i32>)?;
        pass.launch(&shapes, catalogue::combine_rows::<T, i64>)?;
    }
    Ok(())
}

/// Those of so many rows, all of them tokens. The types are in the functions that are called.
fn shapes(engine: &Engine, rows: usize, hidden: usize) -> Shapes {
    Shapes {
        rows,
        tokens: rows,
        hidden,
        ranks: engine.dp as usize,
        rank: 0,
        ..Shapes::default()
    }
}

impl Pass {
    /// Launches a kernel of the catalogue.
    fn launch(&self, shapes: &Shapes, called: Called) -> Result<(), OfflineError> {
        let device = &self.device;
        let mut launched = Ok(());
        called(&Sample { device, shapes }, &mut |call| {
            launched = call.launch(device).map(drop)
        })?;
        Ok(launched?)
    }

    /// The numbers of rows of its steps, each once.
    fn rows(&self) -> Vec<usize> {
        let mut rows: Vec<_> = self.sizes.iter().map(|sizes| sizes.rows as usize).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }
}
