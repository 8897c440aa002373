//! Rows that are moved, in memory of the side that asks: it fills it, and compares what is there then.

use std::error::Error;

use float8::F8E4M3;
use half::bf16;
use tilewright_dp::kernels::{copy_to_slot, gather_rows, pad_rows, place_rows, scatter_rows};
use tilewright_dsl::call::{Exact, Runtime};
use tilewright_dsl::element::Element;
use tilewright_runtime::{Device, DeviceTensor, Launch, Launched, Stream, TensorError, device_count};

use crate::case::{Binding, Case, Op, Way};
use crate::memory::Memory;
use crate::work::Work;

/// A case, and its counts in device memory: the rows, and the offset.
pub struct Moves {
    case: Case,
    counts: DeviceTensor<i64, 1>,
}

impl Moves {
    /// Uploads the counts.
    ///
    /// # Safety
    /// The memory of the case is there, as large as it says, as long as this is, and the graphs of its launches.
    #[allow(unsafe_code)]
    pub unsafe fn new(device: &Device, case: Case) -> Result<Self, TensorError> {
        let counts = device.upload(&[case.rows as i64, case.offset as i64], [2])?;
        Ok(Self { case, counts })
    }

    fn launch_of<T: Element>(&self, stream: &Stream, way: &Way, set: usize) -> Result<Launched, Box<dyn Error>> {
        let Case {
            op,
            rows,
            columns,
            pool_rows,
            output_rows,
            offset,
            ..
        } = self.case;
        // SAFETY: as the caller of `new` promises.
        #[allow(unsafe_code)]
        let at = |at: u64| unsafe { Memory::new(stream.device(), at) };
        let (source, output) = (at(self.case.source), at(self.case.output));
        let index = || at(self.case.index).operand::<i32, 1>(set, [rows]);
        let (n, first) = (rows as u64, offset as u64);
        let counted = |index, most: usize| device_count(&self.counts, index, most as u64);
        Ok(match op {
            Op::Gather => {
                let src = source.operand::<T, 2>(0, [pool_rows, columns])?;
                let mut out = output.result::<T, 2>(set, [rows, columns])?;
                way.of(gather_rows(&mut out, &src, &index()?)).launch_on(stream)?
            }
            Op::Scatter => {
                let src = source.operand::<T, 2>(set, [rows, columns])?;
                let mut out = output.result::<T, 2>(0, [pool_rows, columns])?;
                way.of(scatter_rows(&mut out, &src, &index()?)).launch_on(stream)?
            }
            Op::Slot | Op::Place | Op::Pad => {
                let src = source.operand::<T, 2>(set, [rows, columns])?;
                let out = &mut output.result::<T, 2>(set, [output_rows, columns])?;
                let call = match (op, way.binding) {
                    (Op::Slot, Binding::Exact) => copy_to_slot(out, &src, Exact(first), Exact(n)),
                    (Op::Slot, Binding::Runtime) => copy_to_slot(out, &src, Runtime(first), Runtime(n)),
                    (Op::Slot, Binding::Device) => copy_to_slot(out, &src, counted(1, output_rows)?, counted(0, rows)?),
                    (Op::Place, Binding::Exact) => place_rows(out, &src, Exact(first), Exact(0), Exact(n)),
                    (Op::Place, Binding::Runtime) => place_rows(out, &src, Runtime(first), Exact(0), Runtime(n)),
                    (Op::Place, Binding::Device) => {
                        place_rows(out, &src, counted(1, output_rows)?, Exact(0), counted(0, rows)?)
                    }
                    (_, Binding::Exact) => pad_rows(out, &src, Exact(n)),
                    (_, Binding::Runtime) => pad_rows(out, &src, Runtime(n)),
                    (_, Binding::Device) => pad_rows(out, &src, counted(0, rows)?),
                };
                way.of(call).launch_on(stream)?
            }
            _ => return Err(format!("{op:?} moves no rows").into()),
        })
    }
}

impl Work for Moves {
    fn launch(&mut self, stream: &Stream, way: &Way, set: usize) -> Result<Launched, Box<dyn Error>> {
        match self.case.dtype.as_str() {
            "f32" => self.launch_of::<f32>(stream, way, set),
            "f8" => self.launch_of::<F8E4M3>(stream, way, set),
            _ => self.launch_of::<bf16>(stream, way, set),
        }
    }
}
