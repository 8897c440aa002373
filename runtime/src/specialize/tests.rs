//! Tiers on the CPU device, where building can be held up, fail and panic.

mod allocations;
mod cold;
mod ending;
mod haste;
mod limits;
mod offline;
mod panics;
mod sealing;
mod serving;
mod unended;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tilewright_dsl::call::{Call, Specialize};
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

use crate::error::LaunchError;
use crate::{Device, DeviceTensor, Launch, Launched};

/// What is done instead of compiling: it is told the kernel, and whether nobody waits.
pub(super) type Injected = Arc<dyn Fn(&str, bool) -> Result<(), LaunchError> + Send + Sync>;

const LONG: Duration = Duration::from_secs(60);
const ROWS: usize = 24;
const COLUMNS: usize = 3;

/// The first `rows` rows of `src` from row `start` of `out` on, as far as there are any.
#[kernel(grid = [rows])]
fn place(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, start: Count, rows: Count) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row + start, cols], src.load([row, cols]));
}

/// The same places filled with a number.
#[kernel(grid = [rows])]
fn fill(out: &mut Tensor<i32, 2>, start: Count, rows: Count, value: i32) {
    out.store([program_id(0) + start, arange(out.extent(1))], value);
}

fn tiered() -> Device {
    let device = Device::cpu();
    device.set_specialize(Specialize::Tiered);
    device
}

fn settle() {
    assert!(Device::settle(LONG), "what is built behind is done");
}

struct Rows {
    src: DeviceTensor<i32, 2>,
    values: Vec<i32>,
}

impl Rows {
    fn on(device: &Device) -> Self {
        let values: Vec<i32> = (1..=(ROWS * COLUMNS) as i32).collect();
        let src = device.upload(&values, [ROWS, COLUMNS]).expect("an upload");
        Self { src, values }
    }

    fn out(device: &Device) -> DeviceTensor<i32, 2> {
        device
            .upload(&[-1; ROWS * COLUMNS], [ROWS, COLUMNS])
            .expect("an upload")
    }

    /// Launches `place` as `with` says, and checks what it did.
    fn place<C>(
        &self,
        device: &Device,
        start: u64,
        rows: u64,
        bind: fn(u64) -> C,
        with: fn(Call<'_>) -> Call<'_>,
    ) -> Launched
    where
        C: for<'a> tilewright_dsl::call::Argument<'a, Count>,
    {
        let mut out = Self::out(device);
        let call = with(place(&mut out, &self.src, bind(start), bind(rows)));
        let launched = call.launch(device).expect("a launch");
        let found = out.download().expect("a download");
        for (at, row) in found.chunks(COLUMNS).enumerate() {
            let from = at.checked_sub(start as usize).filter(|from| *from < rows as usize);
            let expected = from.map_or(&[-1; COLUMNS][..], |from| &self.values[from * COLUMNS..][..COLUMNS]);
            assert_eq!(row, expected, "row {at} of {rows} at {start}");
        }
        launched
    }

    /// As [`Rows::place`], from so many threads at once.
    fn place_from_two_hundred_threads<C>(&self, device: &Device, bind: fn(u64) -> C)
    where
        C: for<'a> tilewright_dsl::call::Argument<'a, Count>,
    {
        let start = Barrier::new(200);
        thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| {
                    start.wait();
                    self.place(device, 1, 7, bind, as_it_is);
                });
            }
        });
    }
}

fn as_it_is(call: Call<'_>) -> Call<'_> {
    call
}

/// Holds up what is built behind until it is opened, and counts it.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
    behind: AtomicUsize,
    waited: AtomicUsize,
}

impl Gate {
    fn before(device: &Device) -> Arc<Self> {
        let gate = Arc::new(Self::default());
        let injected = gate.clone();
        device.specializer().inject(Arc::new(move |_, is_behind| {
            if is_behind {
                injected.behind.fetch_add(1, SeqCst);
                let mut is_open = injected.is_open.lock();
                injected.opened.wait_while_for(&mut is_open, |is_open| !*is_open, LONG);
            } else {
                injected.waited.fetch_add(1, SeqCst);
            }
            Ok(())
        }));
        gate
    }

    fn open(&self) {
        *self.is_open.lock() = true;
        self.opened.notify_all();
    }
}
