//! Counts in device memory under graph replay (acceptance case 9): what a graph captured once does at each replay follows
//! the counts of that moment, and nothing is recorded, compiled, allocated or waited for while it is captured.
//!
//! | case | tests |
//! |---|---|
//! | 9, offset and rows of a copy to a slot | `a_captured_copy_*` |
//! | 9, counts of padding, placing and taking back, on a stream of its own | `a_whole_step_*` |
//! | 9, a whole batch padded by one launch | `a_captured_batch_*` |
//! | 9, a movement in an arena's pinned buffer, and those in 8 and 4 bits | `a_captured_movement_*` |
//! | 89, no load, allocation or wait inside a capture | all: the device's own stream refuses them while it is captured |
//! | 95, an index out of range in a replay | `an_index_*` |
//! | launches that overlap in a replay | `a_captured_chain_*` |
//! | lists of tensors, those that were never launched with included | `captured_lists_*` |
//!
//! Without a GPU there are no graphs, and no test of them.

#![allow(unsafe_code)] // A graph of a shared stream owns nothing of what its work uses; `gpu_capture.rs` is those that do.

use std::error::Error;
use std::sync::MutexGuard;
use std::time::Duration;

use tilewright::dp::batch::Padding;
use tilewright::dp::buffer::{Arena, Role};
use tilewright::dp::collective::LocalGroup;
use tilewright::dp::kernels::{
    copy_from_slot, copy_from_slot_padded, copy_to_slot, dequantize_nvfp4, fill_and_place, pad_ids, pad_rows,
};
use tilewright::dp::movement::{Contribution, Counts, Groups, Moved, Movement, MovementError};
use tilewright::dp::plan::{Plan, Profile, Request, Topology};
use tilewright::prelude::*;
use tilewright::runtime::device::cuda::{CudaGraph, CudaStream};
use tilewright::runtime::tensor::CountElement;
use tilewright::runtime::{DeviceCount, DeviceError};
use tilewright_testing::{Part, turn};

type Outcome = Result<(), Box<dyn Error>>;

/// The GPU, for one test at a time: all of them share its stream, and a capture takes what any thread asks of it. Nothing is
/// compiled behind, so that all that is built is counted where it is wanted.
fn gpu() -> Option<(Device, MutexGuard<'static, ()>)> {
    let gpu = Device::cuda(0).inspect(|gpu| gpu.set_specialize(Specialize::Exact));
    Part::Gpu.or_skip(gpu).map(|gpu| (gpu, turn()))
}

fn cuda(stream: &Stream) -> &CudaStream {
    stream.as_cuda().expect("the stream of a GPU")
}

/// Captures launches that were made before. None of them may record or build anything, and nothing runs.
fn captured<E: From<DeviceError>>(stream: &Stream, launches: impl FnOnce() -> Result<(), E>) -> Result<CudaGraph, E> {
    let device = stream.device();
    let before = device.counters();
    // SAFETY: tests take turns, and this one has the stream for itself.
    let graph = unsafe { cuda(stream).capture(launches) }?;
    let after = device.counters();
    assert!(after.launches > before.launches, "nothing was captured");
    assert_eq!(
        (after.traces, after.variants, after.compiles),
        (before.traces, before.variants, before.compiles),
        "a kernel was built during the capture"
    );
    assert_eq!(after.hits - before.hits, after.launches - before.launches);
    assert!(!cuda(stream).is_capturing().unwrap_or(true));
    Ok(graph)
}

/// Runs the captured work once.
fn replay(graph: &mut CudaGraph) -> Result<(), DeviceError> {
    // SAFETY: every tensor of these tests is declared before the graphs that use it and so outlives them, kernels live as
    // long as the device, and nobody else uses the tensors until the replay has been waited for.
    unsafe { graph.launch() }?;
    graph.stream().synchronize()
}

/// Rows before and after each destination that nothing may write.
const GUARD: usize = 2;
const SENTINEL: u16 = 0xa5c3;
/// No multiple of a vector of any width.
const COLUMNS: usize = 131;

/// A destination of sentinels between guard rows.
struct Guarded(DeviceTensor<u16, 2>);

impl Guarded {
    fn new(device: &Device, rows: usize) -> Result<Self, TensorError> {
        let rows = rows + 2 * GUARD;
        let tensor = device.upload(&vec![SENTINEL; rows * COLUMNS], [rows, COLUMNS])?;
        Ok(Self(tensor))
    }

    fn view_mut(&mut self) -> TensorViewMut<'_, u16, 2> {
        let end = self.0.extents()[0] - GUARD;
        self.0.view_mut().rows(GUARD..end).expect("rows between the guards")
    }

    fn view(&self) -> TensorView<'_, u16, 2> {
        let end = self.0.extents()[0] - GUARD;
        self.0.rows(GUARD..end).expect("rows between the guards")
    }

    fn clear(&mut self) -> Result<(), TensorError> {
        let len = self.0.len();
        self.0.copy_from(&vec![SENTINEL; len])
    }

    /// Compares with `expected`, a row or sentinels for each row, and the guards with themselves.
    #[track_caller]
    fn assert(&self, expected: impl Fn(usize) -> Option<Vec<u16>>, what: &str) -> Outcome {
        let rows = self.0.extents()[0];
        for (row, found) in self.0.download()?.chunks(COLUMNS).enumerate() {
            let inside = (GUARD..rows - GUARD).contains(&row);
            let expected = if inside { expected(row - GUARD) } else { None };
            let expected = expected.unwrap_or_else(|| vec![SENTINEL; COLUMNS]);
            assert!(
                found == expected,
                "{what}: row {row} of {rows}, {GUARD} of them guards at either end"
            );
        }
        Ok(())
    }
}

/// A row that no other (rank, row) has.
fn row_of(rank: usize, row: usize) -> Vec<u16> {
    let first = (rank * 64 + row) * COLUMNS;
    (first..first + COLUMNS)
        .map(|i| (i as u16).wrapping_mul(40503) | 1)
        .collect()
}

fn source(device: &Device, rank: usize, rows: usize) -> Result<DeviceTensor<u16, 2>, TensorError> {
    let rows_of_rank: Vec<u16> = (0..rows).flat_map(|row| row_of(rank, row)).collect();
    device.upload(&rows_of_rank, [rows, COLUMNS])
}

/// Offset and rows of the copies to be replayed, and how many rows arrive: from the specification's example (3 at 2, then
/// 1 at 0), then nothing, all, up to the end, past the end, at and behind the end, and values that are clamped.
const COPIES: [(i64, i64, usize); 9] = [
    (2, 3, 3),
    (0, 1, 1),
    (4, 0, 0),
    (0, 5, 5),
    (7, 5, 5),
    (10, 5, 2),
    (12, 5, 0),
    (1, -3, 0),
    (3, 1 << 30, 5),
];

/// Copies 5 rows into a buffer of 12 and out of one, by counts of type `T`.
fn copies_follow<T: CountElement>(stream: &Stream) -> Outcome {
    let device = stream.device();
    let (local, whole) = (source(device, 0, 5)?, source(device, 1, 12)?);
    let (mut to, mut from, mut padded) = (
        Guarded::new(device, 12)?,
        Guarded::new(device, 5)?,
        Guarded::new(device, 5)?,
    );
    let mut counts = device.zeros::<T, 1>([2])?;

    // Once before the capture: kernels are compiled, and the memory passes to the stream.
    launch_copies(stream, [&mut to, &mut from, &mut padded], [&local, &whole], &counts)?;
    let mut graph = captured(stream, || {
        launch_copies(stream, [&mut to, &mut from, &mut padded], [&local, &whole], &counts)
    })?;
    for (offset, rows, arrive) in COPIES {
        let what = format!("{} counts, {rows} rows at {offset}", T::TYPE);
        counts.copy_from(&[offset, rows].map(|count| T::from_bits64(count as u64)))?;
        for buffer in [&mut to, &mut from, &mut padded] {
            buffer.clear()?;
        }
        let compiles = device.counters().compiles;
        replay(&mut graph)?;
        let offset = offset as usize;
        let in_slot = |row: usize| row.checked_sub(offset).filter(|&row| row < arrive);
        to.assert(|row| in_slot(row).map(|row| row_of(0, row)), &what)?;
        from.assert(|row| (row < arrive).then(|| row_of(1, offset + row)), &what)?;
        let zeros_behind = |row: usize| match row < arrive {
            true => Some(row_of(1, offset + row)),
            false => Some(vec![0; COLUMNS]),
        };
        padded.assert(zeros_behind, &what)?;
        assert_eq!(device.counters().compiles, compiles);
    }
    Ok(())
}

fn launch_copies<T: CountElement>(
    stream: &Stream,
    [to, from, padded]: [&mut Guarded; 3],
    [local, whole]: [&DeviceTensor<u16, 2>; 2],
    counts: &DeviceTensor<T, 1>,
) -> Result<(), LaunchError> {
    let (offset, rows) = (count(counts, 0, 12), count(counts, 1, 5));
    copy_to_slot(to.view_mut(), local, offset, rows).launch_on(stream)?;
    copy_from_slot(from.view_mut(), whole, offset, rows).launch_on(stream)?;
    copy_from_slot_padded(padded.view_mut(), whole, offset, rows).launch_on(stream)?;
    Ok(())
}

fn count<T: CountElement>(counts: &DeviceTensor<T, 1>, index: usize, maximum: u64) -> DeviceCount<'_> {
    device_count(counts, index, maximum).expect("an element and a maximum in range")
}

#[test]
fn a_captured_copy_follows_offset_and_rows() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    copies_follow::<i32>(&device.stream())?;
    copies_follow::<i64>(&device.stream())?;
    copies_follow::<i64>(&device.new_stream()?)
}

#[test]
fn a_captured_batch_is_padded_behind_the_tokens_and_requests_of_the_moment() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    let stream = device.stream();
    let hidden = source(&device, 0, 5)?;
    let ids = device.upload(&[10i64, 11, 12, 13, 14], [5])?;
    let lengths = device.upload(&[70i32, 71, 72], [3])?;
    let mut counts = device.zeros::<i32, 1>([2])?;
    let mut padded_hidden = Guarded::new(&device, 8)?;
    let mut padded_ids = device.zeros::<i64, 1>([8])?;
    let mut padded_lengths = device.zeros::<i32, 1>([6])?;
    let mut launch = |hidden_out: &mut Guarded, ids_out: &mut DeviceTensor<i64, 1>, counts: &DeviceTensor<i32, 1>| {
        let mut padding = Padding::new();
        let (tokens, requests) = (count(counts, 0, 5), count(counts, 1, 3));
        padding.pad(hidden_out.view_mut(), &hidden, 0, tokens, 0)?;
        padding.pad(ids_out, &ids, 0, tokens, -1)?;
        padding.pad(&mut padded_lengths, &lengths, 0, requests, 1)?;
        padding.launch_on(&stream)?;
        Ok::<_, Box<dyn Error>>(())
    };
    launch(&mut padded_hidden, &mut padded_ids, &counts)?;
    let mut graph = captured(&stream, || launch(&mut padded_hidden, &mut padded_ids, &counts))?;
    for (tokens, requests) in [(5, 3), (0, 0), (1, 2), (99, -1)] {
        counts.copy_from(&[tokens, requests])?;
        padded_hidden.clear()?;
        replay(&mut graph)?;
        let [tokens, requests] = [tokens.min(5) as usize, requests.max(0) as usize];
        let row = |row| if row < tokens { row_of(0, row) } else { vec![0; COLUMNS] };
        padded_hidden.assert(|at| Some(row(at)), &format!("{tokens} tokens"))?;
        let expected: Vec<i64> = (0..8).map(|i| if i < tokens { 10 + i as i64 } else { -1 }).collect();
        assert_eq!(padded_ids.download()?, expected);
        let expected: Vec<i32> = (0..6).map(|i| if i < requests { 70 + i as i32 } else { 1 }).collect();
        assert_eq!(padded_lengths.download()?, expected);
    }
    Ok(())
}

/// Rows of each of three ranks in the test below: they change from replay to replay, the buffers do not.
const STEPS: [[i64; 3]; 5] = [[4, 2, 6], [0, 0, 0], [6, 6, 6], [0, 1, 0], [1, 5, 3]];
const MOST: usize = 6;
const BUCKET: usize = 20;

/// Everything that one step asks of the GPU, and where it goes.
struct Step<T: CountElement> {
    /// Starts of the ranks, then their rows.
    counts: DeviceTensor<T, 1>,
    ranks: [DeviceTensor<u16, 2>; 3],
    ids: DeviceTensor<i64, 1>,
    gathered: Guarded,
    batch: Guarded,
    padded_ids: DeviceTensor<i64, 1>,
    back: [Guarded; 3],
}

impl<T: CountElement> Step<T> {
    fn new(device: &Device) -> Result<Self, TensorError> {
        Ok(Self {
            counts: device.zeros([6])?,
            ranks: [
                source(device, 0, MOST)?,
                source(device, 1, MOST)?,
                source(device, 2, MOST)?,
            ],
            ids: device.upload(&[10, 11, 12, 13, 14, 15], [MOST])?,
            gathered: Guarded::new(device, BUCKET)?,
            batch: Guarded::new(device, 9)?,
            padded_ids: device.zeros([9])?,
            back: [
                Guarded::new(device, MOST)?,
                Guarded::new(device, MOST)?,
                Guarded::new(device, MOST)?,
            ],
        })
    }

    fn launch(&mut self, stream: &Stream) -> Result<(), LaunchError> {
        let [a, b, c] = &self.ranks;
        let starts: [_; 3] = std::array::from_fn(|rank| count(&self.counts, rank, BUCKET as u64));
        let rows: [_; 3] = std::array::from_fn(|rank| count(&self.counts, 3 + rank, MOST as u64));
        fill_and_place(self.gathered.view_mut(), [a, b, c], starts, rows).launch_on(stream)?;
        pad_rows(self.batch.view_mut(), c, rows[2]).launch_on(stream)?;
        pad_ids(&mut self.padded_ids, &self.ids, rows[2], -1i64).launch_on(stream)?;
        for (rank, back) in self.back.iter_mut().enumerate() {
            let gathered = self.gathered.view();
            copy_from_slot_padded(back.view_mut(), gathered, starts[rank], rows[rank]).launch_on(stream)?;
        }
        Ok(())
    }

    fn write(&mut self, rows: [i64; 3]) -> Result<(), TensorError> {
        let all = [0, rows[0], rows[0] + rows[1], rows[0], rows[1], rows[2]];
        self.counts.copy_from(&all.map(|count| T::from_bits64(count as u64)))?;
        self.gathered.clear()?;
        self.batch.clear()?;
        self.padded_ids.copy_from(&[7; 9])?;
        self.back.iter_mut().try_for_each(Guarded::clear)
    }

    #[track_caller]
    fn assert(&self, rows: [i64; 3]) -> Outcome {
        let rows = rows.map(|rows| rows as usize);
        let what = format!("{} counts {rows:?}", T::TYPE);
        let packed: Vec<_> = (0..3)
            .flat_map(|rank| (0..rows[rank]).map(move |row| row_of(rank, row)))
            .collect();
        let or_zeros = |row: Option<Vec<u16>>| Some(row.unwrap_or_else(|| vec![0; COLUMNS]));
        self.gathered.assert(|row| or_zeros(packed.get(row).cloned()), &what)?;
        let of_rank = |rank: usize, row: usize| or_zeros((row < rows[rank]).then(|| row_of(rank, row)));
        self.batch.assert(|row| of_rank(2, row), &what)?;
        for (rank, back) in self.back.iter().enumerate() {
            back.assert(|row| of_rank(rank, row), &what)?;
        }
        let ids: Vec<i64> = (0..9).map(|i| if i < rows[2] { 10 + i as i64 } else { -1 }).collect();
        assert_eq!(self.padded_ids.download()?, ids, "{what}");
        Ok(())
    }
}

fn whole_steps_follow<T: CountElement>(stream: &Stream) -> Outcome {
    let mut step = Step::<T>::new(stream.device())?;
    step.launch(stream)?;
    let mut graph = captured(stream, || step.launch(stream))?;
    for rows in STEPS {
        step.write(rows)?;
        replay(&mut graph)?;
        step.assert(rows)?;
    }
    // Launches beside the graph still go where they should.
    step.write(STEPS[0])?;
    step.launch(stream)?;
    step.assert(STEPS[0])
}

#[test]
fn a_whole_step_follows_the_counts_of_all_ranks() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    whole_steps_follow::<i32>(&device.stream())?;
    let stream = device.new_stream()?;
    whole_steps_follow::<i32>(&stream)?;
    whole_steps_follow::<i64>(&stream)
}

/// Gathers 5 rows into the arena's buffer and scatters them back, by a start and tokens in device memory.
fn move_rows(
    movement: &Movement<'_, LocalGroup>,
    arena: &mut Arena<u16>,
    local: &DeviceTensor<u16, 2>,
    back: &mut Guarded,
    counts: &DeviceTensor<i64, 1>,
    report: &mut DeviceTensor<i64, 1>,
) -> Result<(), MovementError> {
    let (start, tokens) = (count(counts, 0, 16), count(counts, 1, 64));
    let mut buffer = arena.rows(16).expect("it has as many");
    let gathered = Counts::OnDevice {
        start,
        tokens,
        report: report.view_mut(),
    };
    let gather = movement.gather(&mut buffer, local.view(), Contribution::Replicate, gathered);
    let scattered = Counts::OnDevice {
        start,
        tokens,
        report: report.view_mut(),
    };
    gather?;
    movement
        .scatter(&mut back.view_mut(), buffer.view(), scattered)
        .map(|_| ())
}

#[test]
fn a_captured_movement_follows_counts_in_a_buffer_that_its_arena_has_outgrown() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    let stream = device.stream();
    let topology = Topology::new(1, 1)?;
    let plan = Plan::new(&Request {
        profile: Profile::Pr8277,
        graph_ok: true,
        graph_buckets: Some(vec![16]),
        ..Request::new(vec![5], 1)
    })?;
    let groups = Groups::local(&device, &topology, Duration::from_secs(10)).remove(0);
    let movement = Movement::new(&plan, &topology, &groups)?;
    let mut arena = Arena::new(&device, Role::Graph, COLUMNS);
    let (local, mut back) = (source(&device, 0, 5)?, Guarded::new(&device, 7)?);
    let (mut counts, mut report) = (device.zeros([2])?, device.zeros([2])?);
    move_rows(&movement, &mut arena, &local, &mut back, &counts, &mut report)?;
    let pin = arena.pin().ok_or("it has a buffer")?;
    let mut graph = captured(&stream, || {
        move_rows(&movement, &mut arena, &local, &mut back, &counts, &mut report)
    })?;
    // The graph keeps its buffer, and what takes the place of its arena's gets none of its bytes.
    let other = arena.rows(40)?.view().download()?;
    assert_ne!(arena.pin().ok_or("it has a buffer")?.address(), pin.address());
    for (start, tokens, arrive) in [(0, 5, 5), (3, 2, 2), (1, 0, 0), (0, 40, 5), (14, 5, 2), (16, 1, 0)] {
        counts.copy_from(&[start, tokens])?;
        back.clear()?;
        replay(&mut graph)?;
        let expected = |row: usize| match row < arrive {
            true => Some(row_of(0, row)),
            false => Some(vec![0; COLUMNS]),
        };
        back.assert(expected, &format!("{tokens} tokens at {start}"))?;
        // The scatter reports last: what is in the buffer, whose rows end at 16, and in the tensor, of 7.
        let planned = tokens as u64;
        let moved = planned.min(16 - start as u64).min(7);
        assert_eq!(Moved::read(&report)?, Moved { planned, moved });
    }
    assert!(arena.rows(40)?.view().download()? == other);
    Ok(())
}

/// A row of one magnitude, which 8 bits and a scale keep exactly.
fn even_row(row: usize) -> impl Iterator<Item = f32> {
    (0..256).map(move |column| (row as f32 + 1.0) * if column % 3 == 0 { -0.5 } else { 0.5 })
}

#[test]
fn a_captured_movement_in_8_bits_follows_counts() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    let stream = device.stream();
    let topology = Topology::new(1, 1)?;
    let plan = Plan::new(&Request {
        profile: Profile::Pr8277,
        graph_ok: true,
        graph_buckets: Some(vec![16]),
        ..Request::new(vec![5], 1)
    })?;
    let groups = Groups::local(&device, &topology, Duration::from_secs(10)).remove(0);
    let movement = Movement::new(&plan, &topology, &groups)?;
    let rows: Vec<f32> = (0..4).flat_map(even_row).collect();
    let local = device.upload(&rows, [4, 256])?;
    let mut buffer = device.zeros::<f32, 2>([16, 256])?;
    let (mut payload, mut scales) = (device.zeros([16, 256])?, device.zeros([16, 2])?);
    let (mut counts, mut report) = (device.zeros::<i64, 1>([2])?, device.zeros([2])?);
    let mut gather = || {
        let on_device = Counts::OnDevice {
            start: count(&counts, 0, 16),
            tokens: count(&counts, 1, 64),
            report: report.view_mut(),
        };
        let (mut payload, mut scales) = (payload.view_mut(), scales.view_mut());
        movement
            .gather_quantized(
                &mut buffer.view_mut(),
                &mut payload,
                &mut scales,
                local.view(),
                on_device,
            )
            .map(|_| ())
    };
    gather()?;
    let mut graph = captured(&stream, gather)?;
    for (tokens, planned, moved) in [(4, 4, 4), (1, 1, 1), (0, 0, 0), (5, 5, 4), (40, 40, 4), (-2, 0, 0)] {
        counts.copy_from(&[0, tokens])?;
        buffer.copy_from(&[7.0; 16 * 256])?;
        replay(&mut graph)?;
        let mut expected: Vec<f32> = (0..moved).flat_map(even_row).collect();
        expected.resize(16 * 256, 0.0);
        assert!(buffer.download()? == expected, "{tokens} tokens");
        let moved = moved as u64;
        assert_eq!(Moved::read(&report)?, Moved { planned, moved }, "{tokens} tokens");
    }
    Ok(())
}

#[test]
fn a_captured_movement_in_4_bits_follows_counts() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    let stream = device.stream();
    let topology = Topology::new(1, 1)?;
    let plan = Plan::new(&Request {
        profile: Profile::Pr8277,
        graph_ok: true,
        graph_buckets: Some(vec![16]),
        ..Request::new(vec![5], 1)
    })?;
    let groups = Groups::local(&device, &topology, Duration::from_secs(10)).remove(0);
    let movement = Movement::new(&plan, &topology, &groups)?;
    let rows: Vec<f32> = (0..4).flat_map(even_row).collect();
    let local = device.upload(&rows, [4, 256])?;
    let mut buffer = device.zeros::<f32, 2>([16, 256])?;
    let (mut payload, mut scales) = (device.zeros([16, 128])?, device.zeros([16, 16])?);
    let (mut counts, mut report) = (device.zeros::<i64, 1>([2])?, device.zeros([2])?);
    // Of halves of small numbers that makes scales that are small numbers, and elements of 6.
    let global = 12.0;
    let mut gather = || {
        let on_device = Counts::OnDevice {
            start: count(&counts, 0, 16),
            tokens: count(&counts, 1, 64),
            report: report.view_mut(),
        };
        let (mut bytes, mut sizes) = (payload.view_mut(), scales.view_mut());
        movement.gather_nvfp4(&mut bytes, &mut sizes, local.view(), global, on_device)?;
        dequantize_nvfp4(&mut buffer, &payload, &scales, global).launch_on(&stream)?;
        Ok::<(), MovementError>(())
    };
    gather()?;
    let mut graph = captured(&stream, gather)?;
    for (tokens, planned, moved) in [(4, 4, 4), (1, 1, 1), (0, 0, 0), (5, 5, 4), (40, 40, 4), (-2, 0, 0)] {
        counts.copy_from(&[0, tokens])?;
        buffer.copy_from(&[7.0; 16 * 256])?;
        replay(&mut graph)?;
        let mut expected: Vec<f32> = (0..moved).flat_map(even_row).collect();
        expected.resize(16 * 256, 0.0);
        assert!(buffer.download()? == expected, "{tokens} tokens");
        let moved = moved as u64;
        assert_eq!(Moved::read(&report)?, Moved { planned, moved }, "{tokens} tokens");
    }
    Ok(())
}

/// `out[index[i]] = i`, with a report of what does not fit.
#[kernel(grid = [index.extent(0)], bounds = "trap")]
fn put(out: &mut Tensor<i64, 1>, index: &Tensor<i32, 1>) {
    let i = program_id(0);
    out.store([index.load([i])], i);
}

#[test]
fn an_index_out_of_range_is_reported_by_every_replay_that_meets_it() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    let stream = device.stream();
    let mut index = device.upload(&[3, 0, 1], [3])?;
    let mut out = device.zeros::<i64, 1>([4])?;
    put(&mut out, &index).launch_on(&stream)?;
    let mut graph = captured(&stream, || put(&mut out, &index).launch_on(&stream).map(|_| ()))?;
    for (at, reported) in [(1, false), (77, true), (2, false), (-5, true), (99, true), (0, false)] {
        index.copy_from(&[3, at, 1])?;
        replay(&mut graph)?;
        match device.synchronize() {
            Ok(()) => assert!(!reported, "{at} was not reported"),
            Err(LaunchError::Trapped { index, program, .. }) => {
                assert_eq!((index, program, reported), (at.into(), 1, true))
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `out[i] = 3 * src[i + 1] + amount`, where the row after the last is the first, and the amount is what the launch before
/// left in `amount`; the next one is to have one more.
#[kernel(grid = [out.extent(0)])]
fn step_on(out: &mut Tensor<i64, 1>, next: &mut Tensor<i64, 1>, src: &Tensor<i64, 1>, amount: Count) {
    trigger_next_launch();
    wait_for_previous_launch();
    let row = program_id(0);
    out.store([row], src.load([(row + 1) % src.extent(0)]) * 3 + amount);
    if row == 0 {
        next.store([0], amount + 1);
    }
}

#[test]
fn a_captured_chain_of_overlapping_launches_is_replayed_in_order() -> Outcome {
    const ROWS: usize = 1000;
    const STEPS: usize = 200;
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    let stream = device.stream();
    let mut values = [device.zeros::<i64, 1>([ROWS])?, device.zeros::<i64, 1>([ROWS])?];
    let mut amounts = [device.zeros::<i64, 1>([1])?, device.zeros::<i64, 1>([1])?];
    let mut chain = || -> Result<(), LaunchError> {
        let ([a, b], [m, n]) = (&mut values, &mut amounts);
        for _ in 0..STEPS / 2 {
            step_on(&mut *b, &mut *n, &*a, count(&*m, 0, 1 << 40))
                .overlapping()
                .launch_on(&stream)?;
            step_on(&mut *a, &mut *m, &*b, count(&*n, 0, 1 << 40))
                .overlapping()
                .launch_on(&stream)?;
        }
        Ok(())
    };
    chain()?;
    let mut graph = captured(&stream, chain)?;
    for first in [0i64, 17] {
        let mut expected: Vec<i64> = (0..ROWS as i64).collect();
        values[0].copy_from(&expected)?;
        amounts[0].copy_from(&[first])?;
        replay(&mut graph)?;
        for amount in (first..).take(STEPS) {
            expected.rotate_left(1);
            expected
                .iter_mut()
                .for_each(|value| *value = value.wrapping_mul(3).wrapping_add(amount));
        }
        assert!(values[0].download()? == expected, "from {first}");
        assert_eq!(amounts[0].download()?, [first + STEPS as i64]);
    }
    Ok(())
}

/// Memory that another stream used last cannot be passed on inside a graph: the error says so, and the stream goes on.
#[test]
fn a_capture_that_needs_an_order_between_streams_is_refused_and_ends() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    let (stream, mut step) = (device.new_stream()?, Step::<i32>::new(&device)?);
    // On the device's stream, and captured on another.
    step.launch(&device.stream())?;
    // SAFETY: nobody else has the stream.
    let Err(error) = (unsafe { cuda(&stream).capture(|| step.launch(&stream)) }) else {
        return Err("captured".into());
    };
    let text = error.to_string();
    assert!(
        text.contains("another stream used last") && text.contains("do it before the capture"),
        "{text}"
    );
    // What a capture cannot hold.
    let body = || {
        let Err(TensorError::Device(error)) = device.zeros::<u8, 1>([1]) else {
            panic!("memory was allocated in a capture");
        };
        assert!(matches!(error, DeviceError::Capturing { .. }), "{error}");
        assert!(step.counts.download().is_err() && device.synchronize().is_err());
        Err::<(), _>(error)
    };
    // SAFETY: tests take turns, and this one has the stream for itself.
    let refused = unsafe { cuda(&device.stream()).capture(body) };
    assert!(matches!(refused, Err(DeviceError::Capturing { .. })));
    whole_steps_follow::<i32>(&stream)?;
    whole_steps_follow::<i32>(&device.stream())
}

/// Row `i` of every tensor of a list, one behind the other.
#[kernel(grid = [list.len()])]
fn rows_of(out: &mut Tensor<u16, 2>, list: &TensorList<u16, 2>, i: i64) {
    let cols = arange(list.extent(1));
    out.store([program_id(0), cols], list[program_id(0)].load([i, cols]));
}

#[test]
fn captured_lists_are_read_at_every_replay_whatever_lists_come_between() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    for stream in [device.stream(), device.new_stream()?] {
        let mut layers: Vec<_> = (0..7)
            .map(|layer| source(&device, layer, 3))
            .collect::<Result<_, _>>()?;
        let (mut all, mut some) = (Guarded::new(&device, 7)?, Guarded::new(&device, 4)?);
        // A place that launches, which keeps the address of its table.
        let mut again = Guarded::new(&device, 6)?;
        let mut prepared = device.prepare(&rows_of(again.view_mut(), &layers[..6], 1))?;
        for _ in 0..2 {
            prepared.launch_on(rows_of(again.view_mut(), &layers[..6], 1), &stream)?;
        }
        rows_of(all.view_mut(), &layers, 1).launch_on(&stream)?;
        // The memory passes to the stream, and the second list is one that no launch had.
        rows_of(some.view_mut(), &layers[..4], 1).launch_on(&stream)?;
        let mut graph = captured(&stream, || {
            rows_of(all.view_mut(), &layers, 1).launch_on(&stream)?;
            rows_of(some.view_mut(), &layers[3..], 2).launch_on(&stream)?;
            prepared.launch_on(rows_of(again.view_mut(), &layers[..6], 1), &stream)?;
            Ok::<_, LaunchError>(())
        })?;
        drop(prepared);
        for round in 0..3 {
            // So many that tables are forgotten.
            let many: Vec<_> = layers
                .iter()
                .map(DeviceTensor::view)
                .cycle()
                .take(9000 + round)
                .collect();
            for skipped in 0..12 {
                let mut out = device.zeros::<u16, 2>([many.len() - skipped, COLUMNS])?;
                rows_of(&mut out, &many[skipped..], 0).launch_on(&stream)?;
                let found = out.download()?;
                for (row, found) in found.chunks(COLUMNS).enumerate().step_by(997) {
                    assert!(*found == many[row + skipped].download()?[..COLUMNS], "row {row}");
                }
            }
            for (layer, tensor) in layers.iter_mut().enumerate() {
                let rows: Vec<_> = (0..3).flat_map(|row| row_of(layer + 10 * round, row)).collect();
                tensor.copy_from(&rows)?;
            }
            all.clear()?;
            some.clear()?;
            again.clear()?;
            replay(&mut graph)?;
            again.assert(|layer| Some(row_of(layer + 10 * round, 1)), "six layers")?;
            all.assert(|layer| Some(row_of(layer + 10 * round, 1)), "all layers")?;
            some.assert(|layer| Some(row_of(layer + 3 + 10 * round, 2)), "the last layers")?;
        }
    }
    Ok(())
}
