//! What an engine has on its device: the ranks' rows, the gathered buffer, and padded batches.

use std::error::Error;
use std::ops::Range;

use half::bf16;
use tilewright::dp::batch::Padding;
use tilewright::dp::kernels::{copy_from_slot_padded, place_rows};
use tilewright::prelude::*;
use tilewright::runtime::{Progress, WarmedUp};

use crate::driver::Driver;
use crate::steps::{RankPlan, Steps};
use crate::watch::{Operation, Watch};

/// Rows of a step begin so many rows further on than those of the step before, and at the first again after so many
/// steps: what a step leaves is not what the next one should. All begin at multiples of 16 bytes.
const SHIFT: u64 = 4;
const SHIFTS: u64 = 16;

/// What padding requests have as their length.
const PADDING_LENGTH: i32 = 1;

pub struct Engine {
    device: Device,
    /// What every rank computes with, on the host and on the device.
    states: Vec<Vec<bf16>>,
    locals: Vec<DeviceTensor<bf16, 2>>,
    ids: Vec<i64>,
    device_ids: DeviceTensor<i64, 1>,
    lengths: Vec<i32>,
    device_lengths: DeviceTensor<i32, 1>,
    gathered: DeviceTensor<bf16, 2>,
    results: Vec<DeviceTensor<bf16, 2>>,
    batches: Vec<Batch>,
    driver: Option<Driver>,
    hidden: usize,
}

/// A rank's padded tensors.
struct Batch {
    ids: DeviceTensor<i64, 1>,
    positions: DeviceTensor<i64, 1>,
    lengths: DeviceTensor<i32, 1>,
}

impl Engine {
    /// Room for all steps.
    pub fn new(device: &Device, steps: &Steps, dp: usize, hidden: usize) -> Result<Self, Box<dyn Error>> {
        let (rows, most) = (steps.most_rows as usize, steps.most_of_rank as usize);
        let with_shifts = most + (SHIFT * SHIFTS) as usize;
        let mut random = fastrand::Rng::with_seed(1);
        let state = |random: &mut fastrand::Rng| bf16::from_bits(random.u16(..));
        let states: Vec<Vec<bf16>> = (0..dp)
            .map(|_| (0..with_shifts * hidden).map(|_| state(&mut random)).collect())
            .collect();
        let ids: Vec<i64> = (0..with_shifts).map(|_| random.i64(..)).collect();
        let lengths: Vec<i32> = (0..with_shifts).map(|_| random.i32(2..)).collect();
        let upload = |states: &Vec<bf16>| device.upload(states, [with_shifts, hidden]);
        let batch = |_| {
            Ok(Batch {
                ids: device.zeros([most])?,
                positions: device.zeros([most])?,
                lengths: device.zeros([most])?,
            })
        };
        Ok(Self {
            device: device.clone(),
            locals: states.iter().map(upload).collect::<Result<_, _>>()?,
            states,
            device_ids: device.upload(&ids, [with_shifts])?,
            ids,
            device_lengths: device.upload(&lengths, [with_shifts])?,
            lengths,
            gathered: device.zeros([rows, hidden])?,
            results: (0..dp)
                .map(|_| device.zeros([most, hidden]))
                .collect::<Result<_, _>>()?,
            batches: (0..dp).map(batch).collect::<Result<_, TensorError>>()?,
            driver: Driver::on(device)?,
            hidden,
        })
    }

    // ANCHOR: warm_up
    /// Builds what the launches of any step may be served by: of all sizes that want a schedule of their own, with
    /// counts that may become literals later.
    pub fn warm_up(&mut self, mut progress: impl FnMut(Progress) + Send) -> Result<Vec<WarmedUp>, Box<dyn Error>> {
        let most = self.results[0].extents()[0] as u64;
        let (policy, range) = (CountPolicy::Runtime, 0..=most);
        let mut done = Vec::new();
        for rows in sizes(most) {
            let plan = RankPlan {
                start: 0,
                rows,
                tokens: rows,
                batch_rows: rows,
                requests: rows,
                batch_requests: rows,
            };
            for operation in Operation::ALL {
                let call = self.call(operation, 0, 0, &plan)?;
                done.push(call.1.warm_up([call.0], &policy, range.clone(), &mut progress)?);
            }
        }
        Ok(done)
    }
    // ANCHOR_END: warm_up

    /// Does all launches of a step, and waits until the device has done them.
    pub fn run(&mut self, step: u64, ranks: &[RankPlan], watch: &mut Watch) -> Result<(), Box<dyn Error>> {
        // Where in a step the driver is alone goes through all places in turn.
        let places = (Operation::ALL.len() * ranks.len()) as u64;
        let (alone, mut next) = (step.checked_rem(places).unwrap_or(0), 0);
        for operation in Operation::ALL {
            for (rank, plan) in ranks.iter().enumerate() {
                let values = match operation {
                    Operation::Gather => [plan.tokens, plan.rows, 0, 0],
                    Operation::Scatter => [plan.tokens, plan.start, plan.rows, 0],
                    Operation::Pad => [plan.tokens, plan.batch_rows, plan.requests, plan.batch_requests],
                    Operation::Driver => continue,
                };
                if next == alone
                    && let Some(driver) = &mut self.driver
                {
                    watch.time(Operation::Driver, [0; 4], || Ok(driver.launch()?))?;
                }
                next += 1;
                watch.time(operation, values, || {
                    let (call, device) = self.call(operation, step, rank, plan)?;
                    call.launch(device)?;
                    Ok(())
                })?;
            }
        }
        self.device.synchronize()?;
        Ok(())
    }

    /// The call of an operation for a rank. All counts are the plan's: values that may become literals.
    fn call(
        &mut self,
        operation: Operation,
        step: u64,
        rank: usize,
        plan: &RankPlan,
    ) -> Result<(Call<'_>, &Device), Box<dyn Error>> {
        let (first, tokens) = (shift(step), Exact(plan.tokens));
        let slot = plan.start as usize..(plan.start + plan.rows) as usize;
        let call = match operation {
            Operation::Gather => {
                let local = self.locals[rank].rows(range(first, plan.tokens))?;
                let slot = self.gathered.view_mut().rows(slot)?;
                place_rows(slot, local, Exact(0), Exact(0), tokens)
            }
            Operation::Scatter => {
                let result = self.results[rank].view_mut().rows(..plan.rows as usize)?;
                copy_from_slot_padded(result, &self.gathered, Exact(plan.start), tokens)
            }
            Operation::Pad => {
                let Batch {
                    ids,
                    positions,
                    lengths,
                } = &mut self.batches[rank];
                let (rows, requests) = (plan.batch_rows as usize, plan.batch_requests as usize);
                let source = self.device_ids.rows(range(first, plan.tokens))?;
                let source_lengths = self.device_lengths.rows(range(first, plan.requests))?;
                let mut padding = Padding::new();
                padding.pad(ids.view_mut().rows(..rows)?, source, 0, tokens, 0)?;
                padding.pad(positions.view_mut().rows(..rows)?, source, 0, tokens, -1)?;
                let lengths = lengths.view_mut().rows(..requests)?;
                padding.pad(lengths, source_lengths, 0, Exact(plan.requests), PADDING_LENGTH)?;
                padding.into_call()
            }
            Operation::Driver => return Err("the driver alone has no call".into()),
        };
        Ok((call, &self.device))
    }

    /// Compares what a step left on the device with the host, bit by bit. Says what is wrong first, if something is.
    pub fn check(&self, step: u64, ranks: &[RankPlan]) -> Result<Option<String>, TensorError> {
        let first = shift(step);
        for (rank, plan) in ranks.iter().enumerate() {
            let elements = range(first * self.hidden as u64, plan.tokens * self.hidden as u64);
            let expected = self.states[rank][elements].iter().map(|state| state.to_bits());
            let rows = plan.rows as usize;
            let slot = plan.start as usize..plan.start as usize + rows;
            let found = [
                ("gathered buffer", self.gathered.rows(slot)?.download()?),
                ("result", self.results[rank].rows(..rows)?.download()?),
            ];
            for (what, found) in found {
                let found = found.iter().map(|state| state.to_bits());
                if let Some(place) = differing(found, expected.clone(), 0) {
                    let (row, column) = (place / self.hidden, place % self.hidden);
                    return Ok(Some(format!(
                        "the {what} of rank {rank} is wrong in row {row}, column {column}"
                    )));
                }
            }
            let batch = &self.batches[rank];
            let (rows, requests) = (plan.batch_rows as usize, plan.batch_requests as usize);
            let ids = || self.ids[range(first, plan.tokens)].iter().copied();
            let lengths = self.lengths[range(first, plan.requests)].iter().copied();
            let found = [
                ("id", differing(batch.ids.rows(..rows)?.download()?, ids(), 0)),
                (
                    "position",
                    differing(batch.positions.rows(..rows)?.download()?, ids(), -1),
                ),
                (
                    "length",
                    differing(batch.lengths.rows(..requests)?.download()?, lengths, PADDING_LENGTH),
                ),
            ];
            if let Some((what, place)) = found.iter().find_map(|(what, place)| Some((what, (*place)?))) {
                return Ok(Some(format!("{what} {place} of rank {rank}'s batch is wrong")));
            }
        }
        Ok(None)
    }
}

/// The first place at which something is not what is expected, or, behind that, not padding.
fn differing<T: PartialEq + Copy>(
    found: impl IntoIterator<Item = T>,
    expected: impl Iterator<Item = T>,
    padding: T,
) -> Option<usize> {
    let expected = expected.chain(std::iter::repeat(padding));
    found
        .into_iter()
        .zip(expected)
        .position(|(found, expected)| found != expected)
}

fn shift(step: u64) -> u64 {
    step % SHIFTS * SHIFT
}

fn range(first: u64, count: u64) -> Range<usize> {
    first as usize..(first + count) as usize
}

/// Powers of two up to a number, and it.
fn sizes(most: u64) -> impl Iterator<Item = u64> {
    let powers = std::iter::successors(Some(1u64), |size| size.checked_mul(2));
    powers.take_while(move |size| *size < most).chain([most])
}
