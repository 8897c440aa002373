//! The tensors of a case, what is launched on them, and what they must hold then.

use std::error::Error;
use std::ops::Range;

use half::bf16;
use tilewright_dp::kernels::{copy_to_slot, gather_rows, pad_rows, place_rows, scatter_rows};
use tilewright_dsl::call::{Call, Exact, Runtime};
use tilewright_harness::testing::Random;
use tilewright_runtime::{Device, DeviceTensor, Launch, Launched, Stream, TensorError, device_count};

use crate::case::{Binding, Case, Op, Way};
use crate::work::{POISON, Work};

/// Random source rows, an output, an index vector, and the counts in device memory.
pub struct Buffers {
    case: Case,
    source: DeviceTensor<bf16, 2>,
    source_bits: Vec<u16>,
    output: DeviceTensor<bf16, 2>,
    index: DeviceTensor<i32, 1>,
    rows_of_index: Vec<i32>,
    /// The rows, and the offset.
    counts: DeviceTensor<i64, 1>,
}

impl Buffers {
    /// Allocates and fills the source.
    pub fn new(device: &Device, case: Case) -> Result<Self, TensorError> {
        let touched = case.sets * case.rows;
        let source_rows = if case.op == Op::Gather { case.pool_rows } else { touched };
        let output_rows = if case.op == Op::Scatter {
            case.pool_rows
        } else {
            case.sets * case.output_rows
        };
        let mut random = Random(0x7157);
        // Random bits rather than random numbers: movement must keep NaNs and denormals too.
        let source_bits: Vec<u16> = (0..source_rows * case.columns).map(|_| random.next() as u16).collect();
        let order = random.permutation(case.pool_rows);
        let mut rows_of_index: Vec<i32> = order.into_iter().map(|row| row as i32).collect();
        rows_of_index.truncate(touched);
        Ok(Self {
            source: device.upload(bytemuck::cast_slice(&source_bits), [source_rows, case.columns])?,
            output: device.zeros([output_rows, case.columns])?,
            index: device.upload(&rows_of_index, [touched])?,
            counts: device.upload(&[case.rows as i64, case.offset as i64], [2])?,
            source_bits,
            rows_of_index,
            case,
        })
    }

    /// Source and output row of every row that is moved.
    fn moves(&self) -> impl Iterator<Item = (usize, usize)> {
        let Case {
            op,
            rows,
            output_rows,
            offset,
            ..
        } = self.case;
        self.rows_of_index
            .iter()
            .enumerate()
            .map(move |(row, &index)| match op {
                Op::Gather => (index as usize, row),
                Op::Scatter => (row, index as usize),
                Op::Slot | Op::Place => (row, row / rows * output_rows + offset + row % rows),
                Op::Pad => (row, row / rows * output_rows + row % rows),
                // What computes is no work of these buffers.
                _ => (row, row),
            })
    }
}

impl Work for Buffers {
    fn launch(&mut self, stream: &Stream, way: &Way, set: usize) -> Result<Launched, Box<dyn Error>> {
        let Case {
            op,
            rows,
            output_rows,
            offset,
            ..
        } = self.case;
        let (source, index) = (self.source.view(), self.index.view());
        let mine = part(set, rows);
        let output = self.output.view_mut();
        let (n, first) = (rows as u64, offset as u64);
        let call: Call<'_> = match op {
            Op::Gather => gather_rows(output.rows(mine.clone())?, source, index.rows(mine)?),
            Op::Scatter => scatter_rows(output, source.rows(mine.clone())?, index.rows(mine)?),
            Op::Slot => {
                let (output, source) = (output.rows(part(set, output_rows))?, source.rows(mine)?);
                match way.binding {
                    Binding::Exact => copy_to_slot(output, source, Exact(first), Exact(n)),
                    Binding::Runtime => copy_to_slot(output, source, Runtime(first), Runtime(n)),
                    Binding::Device => {
                        let most = output_rows as u64;
                        let (n, first) = (device_count(&self.counts, 0, n)?, device_count(&self.counts, 1, most)?);
                        copy_to_slot(output, source, first, n)
                    }
                }
            }
            Op::Place => {
                let (output, source) = (output.rows(part(set, output_rows))?, source.rows(mine)?);
                match way.binding {
                    Binding::Exact => place_rows(output, source, Exact(first), Exact(0), Exact(n)),
                    Binding::Runtime => place_rows(output, source, Runtime(first), Exact(0), Runtime(n)),
                    Binding::Device => {
                        let most = output_rows as u64;
                        let (n, first) = (device_count(&self.counts, 0, n)?, device_count(&self.counts, 1, most)?);
                        place_rows(output, source, first, Exact(0), n)
                    }
                }
            }
            Op::Pad => {
                let (output, source) = (output.rows(part(set, output_rows))?, source.rows(mine)?);
                match way.binding {
                    Binding::Exact => pad_rows(output, source, Exact(n)),
                    Binding::Runtime => pad_rows(output, source, Runtime(n)),
                    Binding::Device => pad_rows(output, source, device_count(&self.counts, 0, n)?),
                }
            }
            _ => return Err(format!("{op:?} moves no rows").into()),
        };
        Ok(way.of(call).launch_on(stream)?)
    }

    fn poison(&mut self) -> Result<(), TensorError> {
        let poison = vec![bf16::from_bits(POISON); self.output.len()];
        self.output.copy_from(&poison)
    }

    fn check(&mut self) -> Result<(), String> {
        let output = self.output.download().map_err(|error| error.to_string())?;
        let output: &[u16] = bytemuck::cast_slice(&output);
        let columns = self.case.columns;
        let mut wanted = vec![None; output.len() / columns];
        for (from, to) in self.moves() {
            wanted[to] = Some(&self.source_bits[from * columns..][..columns]);
        }
        let around = match self.case.op {
            Op::Pad | Op::Place => 0,
            _ => POISON,
        };
        for (row, (found, wanted)) in output.chunks_exact(columns).zip(wanted).enumerate() {
            let right = wanted.map_or_else(|| found.iter().all(|bits| *bits == around), |wanted| found == wanted);
            if !right {
                return Err(format!(
                    "{:?} of {} rows leaves row {row} of its output wrong",
                    self.case.op, self.case.rows
                ));
            }
        }
        Ok(())
    }
}

fn part(set: usize, rows: usize) -> Range<usize> {
    set * rows..(set + 1) * rows
}
