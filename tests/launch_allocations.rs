//! What launches allocate on the heap: nothing, whatever their counts, once launches like them were made.

use std::time::Duration;

use tilewright::prelude::*;
use tilewright_testing::{CountingAllocator, Part, allocations, turn};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

/// The first `rows` rows of `src` from row `start` of `out` on, as far as there are any.
#[kernel(grid = [rows])]
fn place(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, start: Count, rows: Count) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row + start, cols], src.load([row, cols]));
}

/// The same for every tensor of a list.
#[kernel(grid = [rows, outs.len()])]
fn place_all(outs: &mut TensorList<i32, 2>, src: &Tensor<i32, 2>, start: Count, rows: Count) {
    let (row, number, cols) = (program_id(0), program_id(1), arange(outs.extent(1)));
    outs[number].store([row + start, cols], src.load([row, cols]));
}

const ROWS: usize = 16;
const COLUMNS: usize = 4;
/// Those of a model whose hidden states, positions, masks and so on are moved together.
const FUSED: usize = 11;
const LAUNCHES: usize = 10_000;

type Out = DeviceTensor<i32, 2>;

/// What `LAUNCHES` launches allocate, with random counts of up to `most` rows. `launch` is given the tensors, in one order
/// and the other by turns where they are to change.
fn allocated(
    device: &Device,
    outs: &mut [Out],
    most: u64,
    mut launch: impl FnMut(&mut [Out], u64, u64) -> Launched,
) -> u64 {
    let mut random = fastrand::Rng::with_seed(7);
    let mut all = |launches: usize| {
        let mut found = 0;
        for step in 0..launches {
            let (start, rows) = (random.u64(0..=ROWS as u64 + 2), random.u64(0..=most));
            let before = allocations();
            drop(launch(outs, start, rows));
            found += allocations() - before;
            if step % 64 == 0 {
                device.synchronize().expect("it is done");
                outs.swap(0, 1);
            }
        }
        found
    };
    // Every set of conditions comes up, and what is built for them.
    all(500);
    assert!(
        Device::settle(Duration::from_secs(60)),
        "nothing is built behind any more"
    );
    all(500);
    all(LAUNCHES)
}

fn launches_allocate_nothing(device: &Device, most: u64) {
    let src = device.zeros::<i32, 2>([ROWS, COLUMNS]).expect("memory");
    let out = || device.zeros::<i32, 2>([ROWS, COLUMNS]).expect("memory");
    let mut outs: Vec<_> = (0..FUSED).map(|_| out()).collect();

    let ordinary = allocated(device, &mut outs, most, |outs, start, rows| {
        let call = place(&mut outs[0], &src, Runtime(start), Runtime(rows));
        call.launch(device).expect("a launch")
    });
    assert_eq!(ordinary, 0, "an ordinary launch on {device}");

    let first = place(&mut outs[0], &src, Runtime(0), Runtime(0));
    let mut prepared = device.prepare(&first).expect("a launch that can be prepared");
    let found = allocated(device, &mut outs, most, |outs, start, rows| {
        let call = place(&mut outs[0], &src, Runtime(start), Runtime(rows));
        prepared.launch(call).expect("a launch")
    });
    assert_eq!(found, 0, "a prepared launch on {device}");

    fn batch<'a>(outs: &'a mut [Out], src: &'a Out, start: u64, rows: u64) -> Call<'a> {
        let each = |out| place(out, src, Runtime(start), Runtime(rows));
        Call::fuse(outs.iter_mut().map(each))
    }
    let ordinary = allocated(device, &mut outs, most, |outs, start, rows| {
        batch(outs, &src, start, rows).launch(device).expect("a launch")
    });
    assert_eq!(ordinary, 0, "an ordinary launch of {FUSED} kernels on {device}");
    let mut prepared = device
        .prepare(&batch(&mut outs, &src, 0, 0))
        .expect("a launch that can be prepared");
    let found = allocated(device, &mut outs, most, |outs, start, rows| {
        prepared.launch(batch(outs, &src, start, rows)).expect("a launch")
    });
    assert_eq!(found, 0, "a prepared launch of {FUSED} kernels on {device}");

    // Lists of some tensors and others by turns: their tables were copied when they were launched first.
    // Never the same number again and again, for which a place that launches works out what it can once.
    let mut launched = 0;
    let mut some = || {
        launched += 1;
        1 + launched % FUSED
    };
    let ordinary = allocated(device, &mut outs, most, |outs, start, rows| {
        let call = place_all(&mut outs[..some()], &src, Runtime(start), Runtime(rows));
        call.launch(device).expect("a launch")
    });
    assert_eq!(ordinary, 0, "an ordinary launch of a list on {device}");
    let first = place_all(&mut outs, &src, Runtime(0), Runtime(0));
    let mut prepared = device.prepare(&first).expect("a launch that can be prepared");
    let found = allocated(device, &mut outs, most, |outs, start, rows| {
        let call = place_all(&mut outs[..some()], &src, Runtime(start), Runtime(rows));
        prepared.launch(call).expect("a launch")
    });
    assert_eq!(found, 0, "a prepared launch of a list on {device}");
}

/// The interpreter allocates; a launch of no programs does all but run it, and chooses no variant.
#[test]
fn launches_of_no_programs_allocate_nothing_on_the_cpu_device() {
    launches_allocate_nothing(&Device::cpu(), 0);
}

#[test]
fn launches_allocate_nothing_on_a_gpu() {
    let Some(device) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return;
    };
    let _turn = turn();
    device.set_specialize(Specialize::Tiered);
    launches_allocate_nothing(&device, ROWS as u64);
}
