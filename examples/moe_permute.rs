//! A mixture of experts, from the scores of a router to the weighted sum of what the experts made of each token.
//!
//! Run it with `cargo run --release --example moe_permute`; `-- --device cuda` runs it on a GPU.

mod support;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use support::{check, exit};
use tilewright::dp::kernels::{claim_slots, combine_rows, count_experts, expert_offsets, permute_rows};
use tilewright::prelude::*;

const TOKENS: usize = 48;
const EXPERTS: usize = 16;
const K: usize = 4;
const HIDDEN: usize = 576;

// ANCHOR: route
/// The experts of each token: those with the largest scores. Their weights have the sum 1.
#[kernel(grid = [ids.extent(0)])]
fn route(ids: &mut Tensor<i32, 2>, weights: &mut Tensor<f32, 2>, scores: &Tensor<f32, 2>) {
    let token = program_id(0);
    let (score, expert) = scores.load([token, arange(scores.extent(1))]).top_k(0, ids.extent(1));
    let choice = arange(ids.extent(1));
    ids.store([token, choice], expert.cast::<i32>());
    weights.store([token, choice], score / score.sum_axis(0));
}
// ANCHOR_END: route

// ANCHOR: place
/// Where the row of each choice goes: behind the rows of the tokens before it that have the same expert.
#[kernel(grid = [experts.segments()])]
fn place(positions: &mut Tensor<i32, 1>, ids: &Tensor<i32, 1>, experts: &Ragged<i32>) {
    let expert = program_id(0);
    let i = arange(ids.extent(0));
    let mine = ids.load([i]).cast::<i64>() == expert;
    let before = mine.cast::<i32>().cumulative_sum_exclusive(0);
    positions.store_where([i], experts.start(expert).cast::<i32>() + before, mine);
}
// ANCHOR_END: place

// ANCHOR: apply
/// What stands in for the experts here: expert `e` multiplies its rows by `e + 1`.
#[kernel(grid = [out.extent(0)])]
fn apply_experts(out: &mut Tensor<f32, 2>, x: &Tensor<f32, 2>, experts: &Ragged<i32>) {
    let row = program_id(0);
    let cols = arange(x.extent(1));
    let factor = (experts.segment_of(row) + 1).cast::<f32>();
    out.store([row, cols], x.load([row, cols]) * factor);
}
// ANCHOR_END: apply

fn main() -> ExitCode {
    exit::code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let device = support::device()?;
    writeln!(
        io::stdout(),
        "{TOKENS} tokens of {HIDDEN} values, each to {K} of {EXPERTS} experts"
    )?;
    let x: Vec<f32> = (0..TOKENS * HIDDEN).map(|i| (i * 37 % 1009) as f32 / 16.0).collect();
    // Sixty-fourths, so that sums are exact in any order.
    let scores: Vec<f32> = (0..TOKENS * EXPERTS)
        .map(|i| (i * i * 31 % 997 + 1) as f32 / 64.0)
        .collect();

    let (mut ids, mut weights) = (device.zeros([TOKENS, K])?, device.zeros([TOKENS, K])?);
    route(&mut ids, &mut weights, &device.upload(&scores, [TOKENS, EXPERTS])?).launch(&device)?;
    let (mut host_ids, mut host_weights) = (Vec::new(), Vec::new());
    for scores in scores.chunks(EXPERTS) {
        let mut order: Vec<usize> = (0..EXPERTS).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let sum: f32 = order[..K].iter().map(|&e| scores[e]).sum();
        host_ids.extend(order[..K].iter().map(|&e| e as i32));
        host_weights.extend(order[..K].iter().map(|&e| scores[e] / sum));
    }
    check("experts by top_k", &ids.download()?, &host_ids)?;
    check("weights", &weights.download()?, &host_weights)?;

    let flat_ids = device.upload(&host_ids, [TOKENS * K])?;
    let (mut counts, mut starts) = (device.zeros([EXPERTS])?, device.zeros([EXPERTS + 1])?);
    count_experts(&mut counts, &flat_ids).launch(&device)?;
    expert_offsets(&mut starts, &counts, Exact(1)).launch(&device)?;
    let mut host_counts = vec![0; EXPERTS];
    host_ids.iter().for_each(|&e| host_counts[e as usize] += 1);
    let host_starts: Vec<i32> = (0..=EXPERTS).map(|e| host_counts[..e].iter().sum()).collect();
    check("rows of each expert by histogram", &counts.download()?, &host_counts)?;
    check("their first rows by a scan", &starts.download()?, &host_starts)?;

    let mut positions = device.zeros([TOKENS * K])?;
    place(&mut positions, &flat_ids, &starts).launch(&device)?;
    let mut next = host_starts.clone();
    let host_positions: Vec<i32> = host_ids
        .iter()
        .map(|&e| (next[e as usize], next[e as usize] += 1).0)
        .collect();
    check(
        "positions by a scan for each expert",
        &positions.download()?,
        &host_positions,
    )?;

    // The library's way to positions counts with atomic additions: any order within an expert, no slot twice.
    let (mut cursor, mut slots) = (device.zeros([EXPERTS])?, device.zeros([TOKENS, K])?);
    claim_slots(&mut slots, &mut cursor, &ids, &starts).launch(&device)?;
    let mut claimed: Vec<(i32, i32)> = host_ids.iter().copied().zip(slots.download()?).collect();
    let mut host_claimed: Vec<(i32, i32)> = host_ids.iter().copied().zip(host_positions.clone()).collect();
    claimed.sort_unstable();
    host_claimed.sort_unstable();
    check("slots claimed by atomic additions, as sets", &claimed, &host_claimed)?;

    let rows = TOKENS * K;
    let positions = device.upload(&host_positions, [TOKENS, K])?;
    let (mut permuted, mut applied) = (device.zeros([rows, HIDDEN])?, device.zeros([rows, HIDDEN])?);
    permute_rows(&mut permuted, &device.upload(&x, [TOKENS, HIDDEN])?, &positions).launch(&device)?;
    apply_experts(&mut applied, &permuted, &starts).launch(&device)?;
    let (mut host_permuted, mut host_applied) = (vec![0.0; rows * HIDDEN], vec![0.0; rows * HIDDEN]);
    for i in 0..rows * HIDDEN {
        let (choice, column) = (i / HIDDEN, i % HIDDEN);
        let to = host_positions[choice] as usize * HIDDEN + column;
        host_permuted[to] = x[choice / K * HIDDEN + column];
        host_applied[to] = host_permuted[to] * (host_ids[choice] + 1) as f32;
    }
    check("rows permuted to their experts", &permuted.download()?, &host_permuted)?;
    check("rows that the experts made", &applied.download()?, &host_applied)?;

    let mut out = device.zeros([TOKENS, HIDDEN])?;
    combine_rows::<f32, i32>(&mut out, &applied, &positions, &weights).launch(&device)?;
    let combined = |i: usize| {
        let (token, column) = (i / HIDDEN, i % HIDDEN);
        let term = |j: usize| host_applied[host_positions[j] as usize * HIDDEN + column] * host_weights[j];
        (token * K..token * K + K).map(term).fold(0.0, |sum, term| sum + term)
    };
    let host_out: Vec<f32> = (0..TOKENS * HIDDEN).map(combined).collect();
    check("weighted sums", &out.download()?, &host_out)
}
