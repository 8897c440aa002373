//! One bad index in device memory, under each policy: the launch does what its policy says and nothing else, the process
//! goes on, the next launch is right, and what is reported names the place (acceptance cases 22 and 95).
//!
//! | policy | what a row with a bad index gets | reported |
//! |---|---|---|
//! | zero | zeros | if the launch asks for it |
//! | clamp | the nearest row | if the launch asks for it |
//! | trap | zeros | always |
//!
//! It is a program of its own because reports belong to the device, which tests of one process share.

use std::time::{Duration, Instant};

use tilewright::prelude::*;
use tilewright_testing::{Part, turn};

/// `out[i] = src[index[i]]`, and so are the next two.
#[kernel(grid = [index.extent(0)], bounds = "zero")]
fn gather_zero<I: Integer>(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, index: &Tensor<I, 1>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([index.load([row]), cols])); // zero: what a report names.
}

#[kernel(grid = [index.extent(0)], bounds = "clamp")]
fn gather_clamp<I: Integer>(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, index: &Tensor<I, 1>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([index.load([row]), cols])); // clamp: what a report names.
}

#[kernel(grid = [index.extent(0)], bounds = "trap")]
fn gather_trap<I: Integer>(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, index: &Tensor<I, 1>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([index.load([row]), cols])); // trap: what a report names.
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Zero,
    Clamp,
    Trap,
}

impl Policy {
    const ALL: [Policy; 3] = [Policy::Zero, Policy::Clamp, Policy::Trap];

    fn name(self) -> &'static str {
        match self {
            Policy::Zero => "zero",
            Policy::Clamp => "clamp",
            Policy::Trap => "trap",
        }
    }

    /// The row that a bad index reads.
    fn row(self, index: i64) -> Option<usize> {
        (self == Policy::Clamp).then(|| index.clamp(0, ROWS as i64 - 1) as usize)
    }
}

const ROWS: usize = 7;
/// The row of the source whose index is bad.
const BAD: usize = 3;
const GUARD: usize = 2;
const SENTINEL: i32 = -0x5a5a_5a5b;
const GOOD: [i64; 6] = [6, 0, 2, 2, 5, 1];

fn value(row: usize, column: usize) -> i32 {
    (row * 1000 + column) as i32 + 1
}

/// Sentinels around and in the place of the rows to come.
struct Guarded {
    tensor: DeviceTensor<i32, 2>,
    columns: usize,
}

impl Guarded {
    fn new(device: &Device, columns: usize) -> Self {
        let rows = GOOD.len() + 2 * GUARD;
        let tensor = device.upload(&vec![SENTINEL; rows * columns], [rows, columns]).unwrap();
        Self { tensor, columns }
    }

    fn view_mut(&mut self) -> TensorViewMut<'_, i32, 2> {
        self.tensor.view_mut().rows(GUARD..GUARD + GOOD.len()).unwrap()
    }

    /// The rows are these rows of the source, or zeros, and nothing around them was written.
    #[track_caller]
    fn assert(&self, rows: impl Fn(usize) -> Option<usize>, what: &str) {
        for (i, found) in self.tensor.download().unwrap().chunks(self.columns).enumerate() {
            let expected = |column| match i.checked_sub(GUARD).filter(|&row| row < GOOD.len()) {
                None => SENTINEL,
                Some(row) => rows(row).map_or(0, |row| value(row, column)),
            };
            let expected: Vec<i32> = (0..self.columns).map(expected).collect();
            assert_eq!(found, expected, "{what}: row {i}, {GUARD} guard rows at either end");
        }
    }
}

fn launch<I: Integer>(
    device: &Device,
    policy: Policy,
    reports: bool,
    out: &mut Guarded,
    src: &DeviceTensor<i32, 2>,
    index: &DeviceTensor<I, 1>,
) {
    let call = match policy {
        Policy::Zero => gather_zero::<I>(out.view_mut(), src, index),
        Policy::Clamp => gather_clamp::<I>(out.view_mut(), src, index),
        Policy::Trap => gather_trap::<I>(out.view_mut(), src, index),
    };
    let call = if reports { call.report_out_of_bounds() } else { call };
    call.launch(device).unwrap();
}

/// What the device reports by itself, without being waited for.
fn report(device: &Device) -> LaunchError {
    let started = Instant::now();
    loop {
        match device.reported() {
            Err(error) => return error,
            Ok(()) => assert!(started.elapsed() < Duration::from_secs(20), "nothing is reported"),
        }
    }
}

#[track_caller]
fn names_the_place(error: &LaunchError, policy: Policy, bad: i64) {
    let LaunchError::Trapped {
        kernel,
        parameter,
        axis,
        span,
        program,
        index,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(*kernel, format!("gather_{}", policy.name()));
    assert_eq!((parameter.as_str(), *axis), ("src", 0));
    assert_eq!((*program, *index), (BAD as u64, bad));
    let line = include_str!("gpu_bad_index.rs")
        .lines()
        .position(|line| line.ends_with(&format!("// {}: what a report names.", policy.name())))
        .unwrap();
    let place = format!("gpu_bad_index.rs:{}:", line + 1);
    assert!(span.to_string().contains(&place), "{error}");
}

fn one_bad_index<I: Integer>(device: &Device, bad: i64) {
    for columns in [64, 37] {
        let values: Vec<i32> = (0..ROWS * columns).map(|i| value(i / columns, i % columns)).collect();
        let src = device.upload(&values, [ROWS, columns]).unwrap();
        let indices = |bad: Option<i64>| {
            let at = |(i, &index): (usize, &i64)| I::from_bits64(bad.filter(|_| i == BAD).unwrap_or(index) as u64);
            let all: Vec<I> = GOOD.iter().enumerate().map(at).collect();
            device.upload(&all, [GOOD.len()]).unwrap()
        };
        let (wrong, right) = (indices(Some(bad)), indices(None));
        for policy in Policy::ALL {
            for reports in [false, true] {
                let what = format!("{policy:?}, {columns} columns, index {bad} of {}, on {device}", I::TYPE);
                let (mut first, mut next) = (Guarded::new(device, columns), Guarded::new(device, columns));
                launch(device, policy, reports, &mut first, &src, &wrong);
                // The next launch is made before anyone looks, of the same variant.
                launch(device, policy, reports, &mut next, &src, &right);
                if reports || policy == Policy::Trap {
                    names_the_place(&report(device), policy, bad);
                    // Until the launch has ended, others of its threads may report the same.
                    if let Err(again) = device.synchronize() {
                        names_the_place(&again, policy, bad);
                    }
                }
                device.synchronize().unwrap();
                next.assert(|row| Some(GOOD[row] as usize), &what);
                first.assert(
                    |row| match row {
                        BAD => policy.row(bad),
                        _ => Some(GOOD[row] as usize),
                    },
                    &what,
                );
                // And one after that, whose rows go where those of the first are.
                launch(device, policy, reports, &mut first, &src, &right);
                device.synchronize().unwrap();
                first.assert(|row| Some(GOOD[row] as usize), &what);
            }
        }
    }
}

/// The CPU device and, for one test at a time, the GPU.
fn on_each_device(test: impl Fn(&Device)) {
    test(&Device::cpu());
    if let Some(gpu) = Part::Gpu.if_there(Device::cuda(0).inspect(|gpu| gpu.set_specialize(Specialize::Exact))) {
        let _turn = turn();
        test(&gpu);
    }
}

#[test]
fn an_index_behind_the_last_row_does_what_the_policy_says_and_no_more() {
    on_each_device(|device| {
        one_bad_index::<i32>(device, ROWS as i64);
        one_bad_index::<i64>(device, ROWS as i64);
    });
}

#[test]
fn a_negative_index_does_what_the_policy_says_and_no_more() {
    on_each_device(|device| {
        one_bad_index::<i32>(device, -1);
        one_bad_index::<i64>(device, -1);
    });
}

#[test]
fn the_largest_and_the_smallest_index_do_what_the_policy_says_and_no_more() {
    on_each_device(|device| {
        for bad in [i32::MIN, i32::MAX] {
            one_bad_index::<i32>(device, bad.into());
        }
        // Some of them are rows again, where 32 bits of an index or of a product are lost.
        for bad in [i64::MIN, i64::MAX, (1 << 32) + 2, 1 << 62] {
            one_bad_index::<i64>(device, bad);
        }
    });
}
