//! Bodies of kernels that panic while they are recorded.

use std::cell::Cell;
use std::thread;

use tilewright_dsl::call::{Exact, Runtime, Specialize};
use tilewright_dsl::lang::TraceError;
use tilewright_testing::Part;

use super::*;
use crate::cache::BundleBuilder;
use crate::compile::{Architecture, Nvrtc};
use crate::{CountPolicy, Target};

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

fn width(wanted: usize) -> usize {
    assert!(!PANICS.get(), "no width of {wanted}");
    wanted
}

/// Its body panics in the middle of a block, where and when the test wants.
#[kernel(grid = [rows])]
fn panicking(out: &mut Tensor<i32, 2>, rows: Count) {
    if program_id(0) < rows {
        out.store([program_id(0), arange(width(COLUMNS))], 5);
    }
}

/// What `launch` fails with while the body panics. After that, the same is to go well, and another kernel too.
fn panics<R>(launch: impl Fn() -> Result<R, LaunchError>) {
    PANICS.set(true);
    for _ in 0..2 {
        let error = launch().err().expect("the body panics");
        let LaunchError::Trace(TraceError { kernel, message, .. }) = &error else {
            panic!("{error}")
        };
        assert_eq!(kernel, "panicking");
        assert_eq!(message, "it panicked while it was recorded: no width of 3");
        let text = error.to_string();
        assert!(
            text.starts_with("kernel `panicking`: it panicked") && text.contains(file!()),
            "{text}"
        );
        let device = tiered();
        Rows::on(&device).place(&device, 0, 3, Runtime, as_it_is);
    }
    PANICS.set(false);
    assert!(launch().is_ok(), "nothing of the panic is left");
}

#[test]
fn a_launch_whose_kernel_panics_is_an_error_and_the_next_one_works() {
    for specialize in [Specialize::Tiered, Specialize::Exact, Specialize::Resident] {
        let device = tiered();
        panics(|| {
            let mut out = Rows::out(&device);
            panicking(&mut out, Exact(2)).specialize(specialize).launch(&device)?;
            let found = out.download().expect("a download");
            assert_eq!((found[0], found[2 * COLUMNS]), (5, -1));
            Ok(())
        });
        let counters = device.counters();
        assert_eq!((counters.launches, counters.traces, counters.failures), (1, 1, 0));
    }
}

#[test]
fn so_is_a_launch_of_fused_kernels_of_which_one_panics() {
    let device = tiered();
    panics(|| {
        let (mut one, mut other) = (Rows::out(&device), Rows::out(&device));
        let calls = [
            fill(&mut one, Runtime(0), Runtime(2), 7),
            panicking(&mut other, Runtime(2)),
        ];
        Call::fuse(calls).launch(&device)?;
        assert_eq!((one.download().unwrap()[0], other.download().unwrap()[0]), (7, 5));
        Ok(())
    });
}

#[test]
fn so_is_a_launch_that_is_prepared() {
    let device = tiered();
    panics(|| {
        let mut out = Rows::out(&device);
        let mut prepared = device.prepare(&panicking(&mut out, Runtime(1)))?;
        prepared.launch(panicking(&mut out, Runtime(1)))
    });
}

#[test]
fn so_is_a_warm_up() {
    let device = tiered();
    panics(|| {
        let mut out = Rows::out(&device);
        device.warm_up([panicking(&mut out, Runtime(1))], &CountPolicy::Runtime, 0..=9, |_| {})
    });
}

#[test]
fn so_is_a_warm_up_whose_threads_record() {
    #[kernel(grid = [rows])]
    fn broken(out: &mut Tensor<i32, 2>, rows: Count) {
        let widths: Vec<usize> = Vec::new();
        out.store([program_id(0), arange(widths[2])], 5);
    }

    let device = tiered();
    let mut out = Rows::out(&device);
    for _ in 0..2 {
        let error = device
            .warm_up([broken(&mut out, Runtime(1))], &CountPolicy::Exact, 0..=9, |_| {})
            .expect_err("it panics");
        assert!(
            matches!(&error, LaunchError::Trace(error) if error.kernel == "broken" && error.message.contains("index out of bounds")),
            "{error}"
        );
    }
}

#[test]
fn so_is_what_is_compiled_without_a_gpu() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let bundle = BundleBuilder::new();
    let device = bundle.device(Target::new(Architecture::new(9, 0), 132));
    panics(|| {
        let mut out = device.zeros::<i32, 2>([ROWS, COLUMNS]).expect("memory");
        panicking(&mut out, Runtime(1)).launch(&device)
    });
}

#[test]
fn threads_whose_kernel_panics_hold_up_no_others() {
    let device = tiered();
    thread::scope(|scope| {
        for number in 0..32 {
            let device = &device;
            scope.spawn(move || {
                PANICS.set(number % 2 == 0);
                let mut out = Rows::out(device);
                for rows in 0..20 {
                    let launched = panicking(&mut out, Runtime(rows)).launch(device);
                    // Once it is recorded, nobody records it again.
                    assert!(launched.is_ok() || number % 2 == 0);
                }
            });
        }
    });
    settle();
    assert_eq!(device.counters().failures, 0);
}
