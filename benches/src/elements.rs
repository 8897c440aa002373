//! Rows that are computed on their way, and written where they are: what is launched, and what it must leave.

use std::error::Error;
use std::ops::Range;

use float8::F8E4M3;
use half::bf16;
use tilewright_dp::kernels::{combine_rows, dequantize_rows, quantize_rows, store_mla};
use tilewright_dsl::call::Call;
use tilewright_dsl::{kernel, lang::*};
use tilewright_harness::testing::Random;
use tilewright_runtime::{Device, DeviceTensor, Launch, Launched, Stream, TensorError};

use crate::case::{Case, GROUP, Op, ROPE, TOP, Way};
use crate::work::{POISON, Work};

/// Rows without their signs, where they are. Done twice it is the same, so that it can be replayed.
#[kernel(grid = [x.extent(0)])]
fn abs_in_place(x: &mut Tensor<bf16, 2>) {
    let (row, cols) = (program_id(0), arange(x.extent(1)));
    let without = x.load([row, cols]).abs();
    x.store([row, cols], without);
}

/// All that the operations use; what one of them does not is short.
struct Tensors {
    /// Rows of numbers.
    wide: DeviceTensor<bf16, 2>,
    rope: DeviceTensor<bf16, 2>,
    out: DeviceTensor<bf16, 2>,
    narrow: DeviceTensor<F8E4M3, 2>,
    scales: DeviceTensor<f32, 2>,
    weights: DeviceTensor<f32, 2>,
    places: DeviceTensor<i64, 2>,
    slots: DeviceTensor<i64, 1>,
}

impl Tensors {
    fn new(device: &Device, case: &Case) -> Result<Self, TensorError> {
        let (op, columns, rows) = (case.op, case.columns, case.sets * case.rows);
        let mut random = Random(0x7157);
        let order = random.permutation(case.pool_rows);
        let permuted: Vec<i64> = order.into_iter().map(|row| row as i64).collect();
        let numbers = |random: &mut Random, many: usize| -> Vec<f32> {
            // Between -1 and 1, and never 0, so that nothing that is computed is poison.
            let one = |bits: u64| (bits >> 40 | 1) as f32 / (1 << 23) as f32 - 1.0;
            (0..many).map(|_| one(random.next())).collect()
        };
        let halves = |random: &mut Random, [rows, columns]: [usize; 2]| {
            let values: Vec<bf16> = numbers(random, rows * columns)
                .into_iter()
                .map(bf16::from_f32)
                .collect();
            device.upload(&values, [rows, columns])
        };
        let floats = |random: &mut Random, extents: [usize; 2]| {
            device.upload(&numbers(random, extents[0] * extents[1]), extents)
        };
        let of = |is_used: bool, extents: [usize; 2]| if is_used { extents } else { [1, extents[1].min(1)] };
        let (mla, combine) = (op == Op::StoreMla, op == Op::CombineRows);
        let (quantize, dequantize) = (op == Op::QuantizeRows, op == Op::DequantizeRows);
        let latent = if mla { columns - ROPE } else { columns };
        let read_rows = if combine { case.pool_rows } else { rows };
        let out_rows = if mla { case.pool_rows } else { rows };
        let is_out = mla || combine || dequantize;
        let payload: Vec<F8E4M3> = numbers(&mut random, if dequantize { rows * columns } else { 1 })
            .into_iter()
            .map(F8E4M3::from_f32)
            .collect();
        let groups = [rows, columns / GROUP];
        Ok(Self {
            wide: halves(&mut random, of(!dequantize, [read_rows, latent]))?,
            rope: halves(&mut random, of(mla, [rows, ROPE]))?,
            out: device.zeros(of(is_out, [out_rows, columns]))?,
            narrow: match dequantize {
                true => device.upload(&payload, [rows, columns])?,
                false => device.zeros(of(quantize, [rows, columns]))?,
            },
            scales: floats(&mut random, of(quantize || dequantize, groups))?,
            weights: floats(&mut random, of(combine, [rows, TOP]))?,
            places: match combine {
                true => device.upload(&permuted[..rows * TOP], [rows, TOP])?,
                false => device.zeros([1, 1])?,
            },
            slots: match mla {
                true => device.upload(&permuted[..rows], [rows])?,
                false => device.zeros([1])?,
            },
        })
    }

    fn call(&mut self, op: Op, mine: Range<usize>) -> Result<Call<'_>, TensorError> {
        Ok(match op {
            Op::StoreMla => store_mla(
                self.out.view_mut(),
                self.wide.rows(mine.clone())?,
                self.rope.rows(mine.clone())?,
                self.slots.rows(mine)?,
            ),
            Op::QuantizeRows => quantize_rows(
                self.narrow.view_mut().rows(mine.clone())?,
                self.scales.view_mut().rows(mine.clone())?,
                self.wide.rows(mine)?,
            ),
            Op::DequantizeRows => dequantize_rows(
                self.out.view_mut().rows(mine.clone())?,
                self.narrow.rows(mine.clone())?,
                self.scales.rows(mine)?,
            ),
            Op::CombineRows => combine_rows(
                self.out.view_mut().rows(mine.clone())?,
                &self.wide,
                self.places.rows(mine.clone())?,
                self.weights.rows(mine)?,
            ),
            _ => abs_in_place(self.wide.view_mut().rows(mine)?),
        })
    }
}

/// The tensors of a case on the GPU, and the same ones on the CPU device, which computes what is right.
pub struct Elements {
    case: Case,
    tensors: Tensors,
    fresh: Vec<bf16>,
    cpu: Device,
    right: Tensors,
}

impl Elements {
    /// Allocates and fills all tensors.
    pub fn new(device: &Device, case: Case) -> Result<Self, TensorError> {
        let cpu = Device::cpu();
        let right = Tensors::new(&cpu, &case)?;
        Ok(Self {
            tensors: Tensors::new(device, &case)?,
            fresh: match case.op {
                Op::AbsInPlace => right.wide.download()?,
                _ => Vec::new(),
            },
            right,
            cpu,
            case,
        })
    }

    /// The rows of each tensor that is written, as bits, which a launch of these rows leaves.
    fn written(&self, tensors: &Tensors, mine: Range<usize>) -> Result<Vec<Vec<u64>>, TensorError> {
        let rows = |tensor: &DeviceTensor<bf16, 2>| -> Result<Vec<Vec<u64>>, TensorError> {
            let bits = tensor.view().rows(mine.clone())?.download()?;
            Ok(vec![bits.into_iter().map(|value| value.to_bits().into()).collect()])
        };
        match self.case.op {
            Op::StoreMla => {
                let slots = self.right.slots.download()?;
                let found = tensors.out.download()?;
                let row = |slot: &i64| {
                    let row = &found[*slot as usize * self.case.columns..][..self.case.columns];
                    row.iter().map(|value| value.to_bits().into()).collect()
                };
                Ok(slots[mine].iter().map(row).collect())
            }
            Op::QuantizeRows => {
                let payload = tensors.narrow.view().rows(mine.clone())?.download()?;
                let scales = tensors.scales.view().rows(mine)?.download()?;
                Ok(vec![
                    payload.into_iter().map(|value| value.to_bits().into()).collect(),
                    scales.into_iter().map(|value| value.to_bits().into()).collect(),
                ])
            }
            Op::AbsInPlace => rows(&tensors.wide),
            _ => rows(&tensors.out),
        }
    }
}

impl Work for Elements {
    fn launch(&mut self, stream: &Stream, way: &Way, set: usize) -> Result<Launched, Box<dyn Error>> {
        let rows = self.case.rows;
        let call = self.tensors.call(self.case.op, set * rows..(set + 1) * rows)?;
        Ok(way.of(call).launch_on(stream)?)
    }

    fn poison(&mut self) -> Result<(), TensorError> {
        let Self { tensors, fresh, .. } = self;
        if self.case.op == Op::AbsInPlace {
            return tensors.wide.copy_from(fresh);
        }
        let poison = bf16::from_bits(POISON);
        let outs = vec![poison; tensors.out.len()];
        tensors.out.copy_from(&outs)?;
        if self.case.op == Op::QuantizeRows {
            let payload = vec![F8E4M3::from_bits(0x7f); tensors.narrow.len()];
            tensors.narrow.copy_from(&payload)?;
            let scales = vec![-1.0; tensors.scales.len()];
            tensors.scales.copy_from(&scales)?;
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        let Case { op, rows, sets, .. } = self.case;
        let mut check = || -> Result<bool, Box<dyn Error>> {
            for set in [0, sets - 1] {
                let mine = set * rows..set * rows + rows.min(CHECKED);
                self.right.call(op, mine.clone())?.launch(&self.cpu)?;
                if self.written(&self.tensors, mine.clone())? != self.written(&self.right, mine)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        match check() {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!(
                "{op:?} of {rows} rows leaves other bits than on the CPU device"
            )),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Rows of a set that are compared.
const CHECKED: usize = 8;
