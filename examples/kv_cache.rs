//! A paged key-value cache: slots for a prefill and two steps of decoding, keys and values stored there, found again
//! through indices, moved and cleared.
//!
//! Run it with `cargo run --release --example kv_cache`; `-- --device cuda` runs it on a GPU.

mod support;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use support::{check, exit};
use tilewright::dp::kernels::{alloc_extend, copy_kv_layers, kv_indices, last_slot, store_kv, store_mla};
use tilewright::prelude::*;

const PAGE: usize = 4;
const PAGES: usize = 24;
const SLOTS: usize = PAGE * PAGES;
const WIDTH: usize = 96;
const ROPE: usize = 8;
const REQUESTS: usize = 4;
const LONGEST: usize = 32;

/// Notes the slots of new tokens: `pool[r][prefix[r] + i]` is the slot of new token `i` of request `r`.
#[kernel(grid = [requests.segments()])]
fn note_slots(pool: &mut Tensor<i32, 2>, slots: &Tensor<i64, 1>, requests: &Ragged<i64>, prefix: &Tensor<i64, 1>) {
    let request = program_id(0);
    let (start, rows) = requests.span(request);
    for i in 0..rows {
        pool.store(
            [request, prefix.load([request]) + i],
            slots.load([start + i]).cast::<i32>(),
        );
    }
}

/// The sum of every request's rows of a cache: what attention does with them, without the weights.
#[kernel(grid = [requests.segments()])]
fn sum_rows(out: &mut Tensor<f32, 2>, cache: &Tensor<f32, 2>, indices: &Tensor<i64, 1>, requests: &Ragged<i64>) {
    let request = program_id(0);
    let (start, rows) = requests.span(request);
    let cols = arange(out.extent(1));
    let mut sum = full([out.extent(1)], 0.0f32);
    for i in 0..rows {
        sum += cache.load([indices.load([start + i]), cols]);
    }
    out.store([request, cols], sum);
}

/// Clears pages of a cache that has a row for every slot; the library's `zero_pages` takes one with a row for every page.
#[kernel(grid = [pages.extent(0), page])]
fn clear_pages(cache: &mut Tensor<f32, 2>, pages: &Tensor<i64, 1>, page: Count) {
    let slot = pages.load([program_id(0)]) * page + program_id(1);
    cache.store([slot, arange(cache.extent(1))], 0.0);
}

/// The exclusive prefix sums of lengths, on a device.
fn starts<I: Integer>(device: &Device, lengths: &[usize]) -> Result<DeviceTensor<I, 1>, TensorError> {
    let sums = (0..=lengths.len()).map(|r| lengths[..r].iter().sum::<usize>());
    let sums: Vec<I> = sums.map(|sum| I::from_bits64(sum as u64)).collect();
    device.upload(&sums, [sums.len()])
}

/// Puts `rows` into a host's cache at `slots`.
fn put(cache: &mut [f32], rows: &[f32], slots: &[i64], width: usize) {
    for (row, &slot) in rows.chunks(width).zip(slots) {
        cache[slot as usize * width..][..width].copy_from_slice(row);
    }
}

fn main() -> ExitCode {
    exit::code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let device = support::device()?;
    let vector = |values: &[i64]| device.upload(values, [values.len()]);
    let (mut keys, mut values) = (device.zeros([SLOTS, WIDTH])?, device.zeros([SLOTS, WIDTH])?);
    let mut latents = device.zeros([SLOTS, WIDTH + ROPE])?;
    let mut pool = device.zeros([REQUESTS, LONGEST])?;
    let rows = vector(&[0, 1, 2, 3])?;
    // The host's caches, the slots of each request, and the free pages.
    let [mut host_keys, mut host_values, mut host_latents] =
        [WIDTH, WIDTH, WIDTH + ROPE].map(|width| vec![0.0; SLOTS * width]);
    let mut host_slots: [Vec<i64>; REQUESTS] = Default::default();
    let mut free: Vec<i64> = (1..PAGES).map(|page| (page * 7 % PAGES) as i64).collect();

    for (step, new) in [[5, 12, 1, 8], [1; REQUESTS], [1; REQUESTS]].into_iter().enumerate() {
        let total: usize = new.iter().sum();
        writeln!(io::stdout(), "step {step}: slots for {total} new tokens")?;
        let requests = starts(&device, &new)?;
        let prefix = vector(&host_slots.each_ref().map(|slots| slots.len() as i64))?;
        let (mut last, mut slots, mut used) = (device.zeros([REQUESTS])?, device.zeros([total])?, device.zeros([1])?);
        last_slot(&mut last, &rows, &prefix, &pool).launch(&device)?;
        let (pages, page) = (vector(&free)?, Exact(PAGE as u64));
        alloc_extend(&mut slots, &mut used, &requests, &prefix, &last, &pages, page).launch(&device)?;
        note_slots(&mut pool, &slots, &requests, &prefix).launch(&device)?;
        let (mut host_new, mut taken) = (Vec::new(), free.iter());
        for (slots, new) in host_slots.iter_mut().zip(new) {
            for _ in 0..new {
                let next = match slots.last() {
                    Some(last) if slots.len() % PAGE != 0 => last + 1,
                    _ => taken.next().ok_or("the cache is full")? * PAGE as i64,
                };
                slots.push(next);
                host_new.push(next);
            }
        }
        let left = taken.as_slice().to_vec();
        check("new slots", &slots.download()?, &host_new)?;
        check("pages taken", &used.download()?, &[(free.len() - left.len()) as i64])?;
        free = left;

        let value = |i: usize| ((i * 31 + step * 7) % 257) as f32;
        let k: Vec<f32> = (0..total * WIDTH).map(value).collect();
        let v: Vec<f32> = k.iter().map(|k| 300.0 - k).collect();
        let rope: Vec<f32> = (0..total * ROPE).map(|i| -value(i)).collect();
        let (k_on, v_on) = (device.upload(&k, [total, WIDTH])?, device.upload(&v, [total, WIDTH])?);
        store_kv(&mut keys, &mut values, &k_on, &v_on, &slots).launch(&device)?;
        store_mla(&mut latents, &k_on, &device.upload(&rope, [total, ROPE])?, &slots).launch(&device)?;
        put(&mut host_keys, &k, &host_new, WIDTH);
        put(&mut host_values, &v, &host_new, WIDTH);
        let both: Vec<f32> = k
            .chunks(WIDTH)
            .zip(rope.chunks(ROPE))
            .flat_map(|(k, rope)| [k, rope].concat())
            .collect();
        put(&mut host_latents, &both, &host_new, WIDTH + ROPE);
    }
    check("keys", &keys.download()?, &host_keys)?;
    check("values", &values.download()?, &host_values)?;
    check("latents", &latents.download()?, &host_latents)?;

    writeln!(io::stdout(), "the tokens of each request, found through indices")?;
    let requests = starts(&device, &host_slots.each_ref().map(Vec::len))?;
    let host_indices: Vec<i64> = host_slots.concat();
    let (mut indices, mut sums) = (device.zeros([host_indices.len()])?, device.zeros([REQUESTS, WIDTH])?);
    kv_indices(&mut indices, &requests, &rows, &vector(&[0; REQUESTS])?, &pool).launch(&device)?;
    sum_rows(&mut sums, &keys, &indices, &requests).launch(&device)?;
    let key = |slot: &i64, i: usize| host_keys[*slot as usize * WIDTH + i % WIDTH];
    let sum = |i: usize| host_slots[i / WIDTH].iter().map(|slot| key(slot, i)).sum();
    check("indices", &indices.download()?, &host_indices)?;
    check(
        "sums of keys",
        &sums.download()?,
        &(0..REQUESTS * WIDTH).map(sum).collect::<Vec<f32>>(),
    )?;

    writeln!(
        io::stdout(),
        "the last request moves to new pages of both caches, and its old pages are cleared"
    )?;
    let (page, from) = (PAGE as i64, &host_slots[REQUESTS - 1]);
    let to: Vec<i64> = (0..from.len())
        .map(|i| free[i / PAGE] * page + (i % PAGE) as i64)
        .collect();
    let old: Vec<i64> = from.iter().step_by(PAGE).map(|slot| slot / page).collect();
    copy_kv_layers([&mut keys, &mut values], &vector(&to)?, &vector(from)?).launch(&device)?;
    for (name, cache, host) in [
        ("keys", &mut keys, &mut host_keys),
        ("values", &mut values, &mut host_values),
    ] {
        clear_pages(&mut *cache, &vector(&old)?, Exact(PAGE as u64)).launch(&device)?;
        let rows: Vec<f32> = from
            .iter()
            .flat_map(|&slot| host[slot as usize * WIDTH..][..WIDTH].to_vec())
            .collect();
        put(host, &rows, &to, WIDTH);
        old.iter()
            .for_each(|&old| host[old as usize * PAGE * WIDTH..][..PAGE * WIDTH].fill(0.0));
        check(name, &cache.download()?, host)?;
    }
    Ok(())
}
