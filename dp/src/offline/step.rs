//! What an engine launches in a step: its rows moved, its batches padded.

use float8::F8E4M3;
use tilewright_dsl::call::Exact;
use tilewright_dsl::element::Integer;
use tilewright_runtime::tensor::CountElement;
use tilewright_runtime::{Device, DeviceCount, DeviceTensor, Launch, TensorError, TensorViewMut, device_count};

use super::absent::{Absent, groups};
use super::{Engine, OfflineError, Pass, Sizes};
use crate::collective::Summand;
use crate::kernels::nvfp4::{NVFP4_GROUP, dequantize_nvfp4, swizzle_scales, swizzled_extents};
use crate::kernels::quantize::GROUP;
use crate::movement::{Contribution, Counts, Movement, MovementError};
use crate::plan::{Fill, ForwardMode, Plan, PlanError, Request, Topology, capture_sizes};

/// The tensors of a rank.
struct Tensors<T: Summand> {
    local: DeviceTensor<T, 2>,
    result: DeviceTensor<T, 2>,
    buffer: DeviceTensor<T, 2>,
    payload: DeviceTensor<F8E4M3, 2>,
    scales: DeviceTensor<f32, 2>,
    bytes: DeviceTensor<u8, 2>,
    steps: DeviceTensor<F8E4M3, 2>,
    report: DeviceTensor<i64, 1>,
}

/// Moves the rows of steps, with counts that are planned and with those of device memory.
pub(super) fn movement<T: Summand>(
    engine: &Engine,
    topology: &Topology,
    pass: &Pass,
    hidden: usize,
) -> Result<(), OfflineError> {
    let row_bytes = (hidden * T::TYPE.size()) as u64;
    let plans = plans(engine, pass, row_bytes)?;
    let most = plans.iter().map(|plan| plan.layout().rows()).max().unwrap_or(0) as usize;
    let of_rank = plans.iter().flat_map(|plan| plan.layout().padded()).max().copied();
    let mut tensors = Tensors::<T>::new(&pass.device, of_rank.unwrap_or(0) as usize, most, hidden)?;
    for gpu in gpus(topology) {
        let groups = groups(&pass.device.stream(), topology, gpu)?;
        for plan in &plans {
            let movement = Movement::new(plan, topology, &groups)?;
            tensors.planned(&movement, plan)?;
            tensors.on_device::<i32>(&movement, plan)?;
            tensors.on_device::<i64>(&movement, plan)?;
        }
    }
    Ok(())
}

impl<T: Summand> Tensors<T> {
    fn new(device: &Device, of_rank: usize, all: usize, hidden: usize) -> Result<Self, TensorError> {
        Ok(Self {
            local: device.zeros([of_rank, hidden])?,
            result: device.zeros([of_rank, hidden])?,
            buffer: device.zeros([all, hidden])?,
            payload: device.zeros([all, hidden])?,
            scales: device.zeros([all, hidden / GROUP])?,
            bytes: device.zeros([all, hidden / 2])?,
            steps: device.zeros([all, hidden / NVFP4_GROUP])?,
            report: device.zeros([2])?,
        })
    }

    fn has_groups(&self, group: usize) -> bool {
        self.buffer.extents()[1].is_multiple_of(group)
    }

    fn planned(&mut self, movement: &Movement<'_, Absent>, plan: &Plan) -> Result<(), MovementError> {
        let (slot, rows) = (movement.slot(), plan.layout().rows() as usize);
        let (tokens, of_rank) = (slot.tokens as usize, slot.rows as usize);
        let local = self.local.rows(..tokens)?;
        let mut buffer = self.buffer.view_mut().rows(..rows)?;
        for contribution in [Contribution::Partial, Contribution::Replicate] {
            movement.gather(&mut buffer, local, contribution, Counts::Planned)?;
            movement.gather_variable(&mut buffer, local, contribution, Counts::Planned)?;
        }
        let mut result = self.result.view_mut().rows(..of_rank)?;
        movement.scatter(&mut result, buffer.view(), Counts::Planned)?;
        if self.has_groups(GROUP) {
            let mut buffer = self.buffer.view_mut().rows(..rows)?;
            let mut payload = self.payload.view_mut().rows(..rows)?;
            let mut scales = self.scales.view_mut().rows(..rows)?;
            movement.gather_quantized(&mut buffer, &mut payload, &mut scales, local, Counts::Planned)?;
        }
        if self.has_groups(NVFP4_GROUP) {
            let mut payload = self.bytes.view_mut().rows(..rows)?;
            let mut scales = self.steps.view_mut().rows(..rows)?;
            movement.gather_nvfp4(&mut payload, &mut scales, local, 1.0, Counts::Planned)?;
            // What reads them.
            let device = self.buffer.device().clone();
            let (payload, scales) = (payload.view(), scales.view());
            let buffer = self.buffer.view_mut().rows(..rows)?;
            dequantize_nvfp4(buffer, payload, scales, 1.0).launch(&device)?;
            let mut swizzled = device.zeros(swizzled_extents(rows, scales.extents()[1]))?;
            swizzle_scales(&mut swizzled, scales).launch(&device)?;
        }
        Ok(())
    }

    fn on_device<C: CountElement>(
        &mut self,
        movement: &Movement<'_, Absent>,
        plan: &Plan,
    ) -> Result<(), MovementError> {
        let (slot, rows) = (movement.slot(), plan.layout().rows());
        let (of_rank, all) = (slot.rows as usize, rows as usize);
        let (has_groups, has_nvfp4_groups) = (self.has_groups(GROUP), self.has_groups(NVFP4_GROUP));
        let numbers = self.buffer.device().zeros::<C, 1>([2])?;
        let start = device_count(&numbers, 0, rows)?;
        let tokens = device_count(&numbers, 1, slot.rows)?;
        let local = self.local.rows(..of_rank)?;
        let mut buffer = self.buffer.view_mut().rows(..all)?;
        let mut counts = CountsOf {
            start,
            tokens,
            report: self.report.view_mut(),
        };
        movement.gather(&mut buffer, local, Contribution::Partial, counts.get())?;
        movement.gather_variable(&mut buffer, local, Contribution::Partial, counts.get())?;
        let mut result = self.result.view_mut().rows(..of_rank)?;
        movement.scatter(&mut result, buffer.view(), counts.get())?;
        if has_groups {
            let mut payload = self.payload.view_mut().rows(..all)?;
            let mut scales = self.scales.view_mut().rows(..all)?;
            movement.gather_quantized(&mut buffer, &mut payload, &mut scales, local, counts.get())?;
        }
        if has_nvfp4_groups {
            let mut payload = self.bytes.view_mut().rows(..all)?;
            let mut scales = self.steps.view_mut().rows(..all)?;
            movement.gather_nvfp4(&mut payload, &mut scales, local, 1.0, counts.get())?;
        }
        Ok(())
    }
}

/// Counts in device memory, for one launch after the other.
struct CountsOf<'a> {
    start: DeviceCount<'a>,
    tokens: DeviceCount<'a>,
    report: TensorViewMut<'a, i64, 1>,
}

impl CountsOf<'_> {
    fn get(&mut self) -> Counts<'_> {
        Counts::OnDevice {
            start: self.start,
            tokens: self.tokens,
            report: self.report.reborrow(),
        }
    }
}

/// Takes the padding of steps out of routing, for ids and counts of both types that engines have.
pub(super) fn masks(engine: &Engine, topology: &Topology, pass: &Pass, chosen: usize) -> Result<(), OfflineError> {
    masks_of::<i32, i32>(engine, topology, pass, chosen)?;
    masks_of::<i32, i64>(engine, topology, pass, chosen)?;
    masks_of::<i64, i32>(engine, topology, pass, chosen)?;
    masks_of::<i64, i64>(engine, topology, pass, chosen)
}

fn masks_of<I: Integer, C: Integer>(
    engine: &Engine,
    topology: &Topology,
    pass: &Pass,
    chosen: usize,
) -> Result<(), OfflineError> {
    let plans = plans(engine, pass, 2)?;
    let most = plans.iter().map(|plan| plan.layout().rows()).max().unwrap_or(0) as usize;
    let mut ids = pass.device.zeros::<I, 2>([most, chosen])?;
    let ranks = || pass.device.zeros::<C, 1>([engine.dp as usize]);
    let (starts, counts) = (ranks()?, ranks()?);
    let groups = groups(&pass.device.stream(), topology, 0)?;
    for plan in &plans {
        let mut ids = ids.view_mut().rows(..plan.layout().rows() as usize)?;
        Movement::new(plan, topology, &groups)?.mask_expert_ids(&mut ids, starts.view(), counts.view())?;
    }
    Ok(())
}

/// The tensors of a decode batch in SGLang that lie on the GPU, all of i64: some per row, the others per request.
const TENSORS: [&str; 5] = [
    "input_ids",
    "out_cache_loc",
    "positions",
    "req_pool_indices",
    "seq_lens",
];

/// Pads the batches of steps, as they are planned.
pub(super) fn padding(engine: &Engine, pass: &Pass) -> Result<(), OfflineError> {
    let plans = plans(engine, pass, 2)?;
    let most = plans.iter().flat_map(|plan| plan.layout().padded()).max().copied();
    let most = most.unwrap_or(0) as usize;
    let source = pass.device.zeros::<i64, 1>([most])?;
    let mut padded = [(); TENSORS.len()].map(|()| pass.device.zeros::<i64, 1>([most]));
    for plan in &plans {
        let tokens = plan.layout().counts()[0];
        // A step of which a graph runs nothing, or that decodes nothing, pads nothing.
        let Ok(batch) = plan.batch(0, ForwardMode::Decode, tokens) else {
            continue;
        };
        let mut padding = batch.padding();
        for (tensor, padded) in TENSORS.into_iter().zip(&mut padded) {
            let planned = batch.tensors.iter().find(|planned| planned.tensor == tensor);
            let (Some(planned), Ok(padded)) = (planned, padded) else {
                continue;
            };
            if planned.fill != Fill::Nothing {
                let padded = padded.view_mut().rows(..planned.length as usize)?;
                padding.pad(tensor, padded, source.rows(..tokens as usize)?, Exact(tokens))?;
            }
        }
        padding.launch_on(&pass.device.stream())?;
    }
    Ok(())
}

/// The plans of steps: run eagerly, with and without a rank that prefills, and in the graphs that engines capture.
fn plans(engine: &Engine, pass: &Pass, row_bytes: u64) -> Result<Vec<Plan>, PlanError> {
    let plans = |&Sizes { tokens, rows }: &Sizes| {
        let mut raw = vec![rows; engine.dp as usize];
        raw[0] = tokens;
        let decode = Request {
            profile: engine.profile,
            attn_tp: engine.attention_tp,
            row_bytes,
            ..Request::new(raw, engine.dp)
        };
        let extend = Request {
            extend: true,
            ..decode.clone()
        };
        let graph = Request {
            graph_ok: true,
            graph_buckets: Some(capture_sizes(false, engine.rows)),
            ..decode.clone()
        };
        [decode, extend, graph].map(|request| Plan::new(&request))
    };
    pass.sizes.iter().flat_map(plans).collect()
}

/// GPUs whose launches differ: of the first rank two, one of a rank between, and the last.
fn gpus(topology: &Topology) -> Vec<u64> {
    let tp = topology.tp();
    let mut gpus = vec![0, 1.min(tp - 1), topology.attention_tp().min(tp - 1), tp - 1];
    gpus.sort_unstable();
    gpus.dedup();
    gpus
}
