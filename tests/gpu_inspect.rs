//! What is told of a launch, against what a GPU does.

#![allow(unsafe_code)] // Instructions that read registers of the machine and nothing else.

use tilewright::prelude::*;
use tilewright::runtime::Target;
use tilewright::runtime::inspect::Inspection;
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
