//! What is told of a launch, against what a GPU does.

#![allow(unsafe_code)] // Instructions that read registers of the machine and nothing else.

use tilewright::dp::kernels;
use tilewright::prelude::*;
use tilewright::runtime::inspect::Inspection;
use tilewright::runtime::{Launched, Target};
use tilewright_harness::testing::gpus;
use tilewright_testing::Part;

/// `out[row, column]` is who stores it: the thread, and 1024 times its block.
#[kernel(grid = [out.extent(0)])]
fn who(out: &mut Tensor<u32, 2>, src: &Tensor<u32, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    let text = "{ .reg .u32 b, t; mov.u32 b, %%ctaid.x; mov.u32 t, %%tid.x; mad.lo.u32 %0, b, 1024, t; }";
    let value = src.load([row, cols]);
    // SAFETY: it reads two registers and multiplies.
    let (who,) = unsafe { inline_ptx_on_gpu::<_, (u32,), 1>(text, (value,)) };
    out.store([row, cols], who);
}

/// Who the page says stores an element: the block of the launch, and the thread of it.
fn told(found: &Inspection, row: u64, column: u64) -> u32 {
    let (schedule, spread) = (&found.schedule, &found.distributions[0]);
    let owner = spread.owners[(column / spread.lanes) as usize];
    let threads = u64::from(schedule.threads);
    let (shared, splits) = (u64::from(schedule.programs_per_block), u64::from(schedule.splits));
    let (block, thread) = match splits {
        1 => (row / shared, row % shared * threads + owner),
        splits => (row * splits + owner / threads, owner % threads),
    };
    (block * 1024 + thread) as u32
}

#[test]
fn every_element_is_stored_by_the_thread_that_is_told() {
    for gpu in Part::Gpu.or_skip(gpus()).into_iter().flatten() {
        let properties = gpu.as_cuda().unwrap().properties();
        let options = InspectOptions::new(Target::from(properties));
        // A program of less than a warp, of a block, of several; and one that takes rounds.
        for (rows, columns) in [(300, 16), (300, 64), (5, 1024), (2000, 1024), (7, 7168), (3, 16384)] {
            let src = gpu.zeros::<u32, 2>([rows, columns]).unwrap();
            let mut out = gpu.zeros::<u32, 2>([rows, columns]).unwrap();
            let call = who(&mut out, &src);
            let found = call.inspect(&options).unwrap();
            call.launch(&gpu).unwrap();
            let spread = &found.distributions[0];
            assert_eq!(spread.items * spread.lanes, columns as u64, "{rows} x {columns}");
            for (at, stored) in out.download().unwrap().into_iter().enumerate() {
                let (row, column) = ((at / columns) as u64, (at % columns) as u64);
                if column / spread.lanes < spread.owners.len() as u64 {
                    assert_eq!(
                        stored,
                        told(&found, row, column),
                        "{row}, {column} of {rows} x {columns}: {spread:?}"
                    );
                }
            }
        }
    }
}

/// What is told of a launch is what was launched; the figures are printed for `benches/inspected.py`, which asks a profiler.
fn compare(found: &Inspection, launched: &Launched) {
    let variant = launched.variant().unwrap();
    let module = variant.module().unwrap();
    let [x, y, z] = module.threads;
    assert_eq!(found.launch.threads, x * y * z, "{}", found.kernel);
    assert_eq!(found.launch.programs, launched.programs(), "{}", found.kernel);
    let code = found.code.as_ref().expect("there is NVRTC where this runs");
    let occupancy = code.occupancy.as_ref().unwrap();
    let name = &module.entry;
    println!(
        "inspected {name} threads={} blocks={} registers={} shared={} warps={} read={} written={}",
        found.launch.threads,
        found.launch.blocks.unwrap(),
        code.registers,
        code.shared_bytes,
        occupancy.warps,
        bytes(found, "load"),
        bytes(found, "store"),
    );
}

/// The fewest bytes that are read or written.
fn bytes(found: &Inspection, kind: &str) -> u64 {
    let tensors = found.traffic.tensors.iter().filter(|tensor| tensor.kind == kind);
    tensors.map(|tensor| tensor.floor_bytes).sum()
}

/// Launches a call until its variant is the best, then once more, and looks at the same.
macro_rules! look_at {
    ($gpu:expr, $call:expr) => {{
        $call.launch($gpu).unwrap();
        Device::settle(std::time::Duration::from_secs(60));
        let launched = $call.launch($gpu).unwrap();
        let mut options = InspectOptions::new(Target::from($gpu.as_cuda().unwrap().properties()));
        options.tier = launched.tier();
        compare(&$call.inspect(&options).unwrap(), &launched);
    }};
}

#[test]
fn what_is_told_of_five_kernels_is_what_is_launched() {
    const ROWS: usize = 16384;
    const COLUMNS: usize = 7168;
    for gpu in Part::Gpu.or_skip(gpus()).into_iter().flatten() {
        let gpu = &gpu;
        let src = gpu.zeros::<u16, 2>([ROWS, COLUMNS]).unwrap();
        let mut out = gpu.zeros::<u16, 2>([ROWS, COLUMNS]).unwrap();
        let order: Vec<i64> = (0..ROWS as i64).map(|row| row * 77 % ROWS as i64).collect();
        let index = gpu.upload(&order, [ROWS]).unwrap();
        look_at!(gpu, kernels::gather_rows(&mut out, &src, &index));
        look_at!(gpu, kernels::scatter_rows(&mut out, &src, &index));
        let (start, rows) = (Runtime(100), Runtime(ROWS as u64 - 100));
        look_at!(gpu, kernels::place_rows(&mut out, &src, start, Runtime(0), rows));
        let counts = gpu.upload(&[1000i32; 8], [8]).unwrap();
        let mut ids = gpu.zeros::<i32, 2>([ROWS, 8]).unwrap();
        look_at!(
            gpu,
            kernels::mask_padding_ids(&mut ids, &counts, Runtime(ROWS as u64 / 8))
        );
        let floats = gpu.zeros::<f32, 2>([ROWS / 2, COLUMNS]).unwrap();
        let mut small = gpu.zeros::<F8E4M3, 2>([ROWS / 2, COLUMNS]).unwrap();
        let mut scales = gpu.zeros::<f32, 2>([ROWS / 2, COLUMNS / 128]).unwrap();
        look_at!(gpu, kernels::quantize_rows(&mut small, &mut scales, &floats));
    }
}
