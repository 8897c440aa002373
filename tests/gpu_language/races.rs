//! Accesses that do not go together: what the CPU device reports of any build, and a GPU of a checked one; and what must not
//! be reported.

use tilewright::dsl::call::Call;
use tilewright::prelude::*;

use crate::devices::{on_every_device, where_kernels_report};

/// What a call reports, of a checked build.
fn reported(device: &Device, call: Call<'_>) -> Result<(), String> {
    let launched = call.checked().launch(device).map(drop);
    launched
        .and_then(|()| device.synchronize())
        .map_err(|error: LaunchError| error.to_string())
}

/// Launches a call on every device: what is reported has these parts, and those of the CPU device too.
macro_rules! is_reported {
    ($call:expr, $parts:expr, $of_cpu:expr) => {
        where_kernels_report(|device| {
            let error = $call(device).expect_err("it is reported");
            let of_cpu: &[&str] = if device.is_cuda() { &[] } else { &$of_cpu };
            for part in $parts.iter().chain(of_cpu) {
                assert!(error.contains(part), "no {part:?}: {error}");
            }
            assert!(error.contains("races.rs:") && error.contains("= help: "), "{error}");
            // The device goes on.
            let mut out = device.zeros::<i32, 1>([8]).unwrap();
            assert_eq!(reported(device, own(&mut out, 1)), Ok(()));
        })
    };
}

#[kernel(grid = [out.extent(0)])]
fn own(out: &mut Tensor<i32, 1>, by: i32) {
    let i = program_id(0);
    out.store([i], out.load([i]) + by);
    out.store([i], out.load([i]) * 2);
}

#[kernel(grid = [3])]
fn shift(b: &mut Tensor<f32, 1>, from: i64, to: i64) {
    let i = program_id(0);
    b.store([i + to], b.load([i + from]));
}

#[test]
fn a_program_that_reads_what_another_one_writes_is_reported() {
    for (from, to) in [(0, 1), (1, 0)] {
        let call = |device: &Device| {
            let mut b = device.upload(&[1f32, 2.0, 3.0, 4.0], [4]).unwrap();
            reported(device, shift(&mut b, from, to))
        };
        let programs = ["program [0, 0, 0]", "program [1, 0, 0]", "`b`[1]"];
        is_reported!(
            call,
            ["kernel `shift`", "`b`", "written by program", "read by program"],
            programs
        );
    }
    on_every_device(|device| {
        let mut b = device.upload(&[1f32, 2.0, 3.0, 4.0], [4]).unwrap();
        assert_eq!(reported(device, shift(&mut b, 2, 2)), Ok(()));
        // So is a build that is not checked, on the CPU device.
        if !device.is_cuda() {
            assert!(shift(&mut b, 0, 1).launch(device).is_err());
        }
    });
}

#[kernel(grid = [4])]
fn pairs(out: &mut Tensor<i32, 1>) {
    out.store([program_id(0) / 2], 7);
}

#[test]
fn two_programs_that_write_one_element_are_reported_even_if_they_write_the_same() {
    let call = |device: &Device| {
        let mut out = device.zeros::<i32, 1>([4]).unwrap();
        reported(device, pairs(&mut out))
    };
    is_reported!(call, ["kernel `pairs`", "`out`", "written by program"], ["`out`[0]"]);
}

#[kernel(grid = [1])]
fn halves(out: &mut Tensor<i32, 1>) {
    let i = arange(16);
    out.store([i / 2], i as i32);
}

#[kernel(grid = [2])]
fn indexed(out: &mut Tensor<i32, 2>, index: &Tensor<i32, 1>, last: i32) {
    let (i, value) = (arange(300), 5 + program_id(0) as i32);
    let at = index.load([i]);
    out.store_where([program_id(0), at], value, at < last);
}

#[kernel(grid = [1])]
fn matrix(out: &mut Tensor<i32, 1>, step: i64) {
    let (row, col) = (arange(8), arange(64));
    out.store([row.expand_dims(1) * step + col], 1);
}

#[test]
fn two_elements_of_one_store_in_one_place_are_reported() {
    let call = |device: &Device| {
        let mut out = device.zeros::<i32, 1>([16]).unwrap();
        reported(device, halves(&mut out))
    };
    is_reported!(
        call,
        ["kernel `halves`", "`out`", "written twice by one store"],
        ["`out`[0]"]
    );
    // Indices of a tensor, the first two of which are equal where the mask holds.
    let index: Vec<i32> = (0..300).map(|i| if i == 299 { 4 } else { (i * 7) % 300 }).collect();
    for (last, is_found) in [(300, true), (4, false)] {
        let call = |device: &Device| {
            let index = device.upload(&index, [300]).unwrap();
            let mut out = device.zeros::<i32, 2>([2, 300]).unwrap();
            reported(device, indexed(&mut out, &index, last))
        };
        match is_found {
            true => is_reported!(
                call,
                ["kernel `indexed`", "written twice by one store"],
                ["`out`[0, 4]"]
            ),
            false => on_every_device(|device| assert_eq!(call(device), Ok(()))),
        }
    }
    for (step, is_found) in [(64, false), (70, false), (63, true), (0, true)] {
        let call = |device: &Device| {
            let mut out = device.zeros::<i32, 1>([600]).unwrap();
            reported(device, matrix(&mut out, step))
        };
        match is_found {
            true => is_reported!(call, ["kernel `matrix`", "written twice by one store"], ["`out`["]),
            false => on_every_device(|device| assert_eq!(call(device), Ok(()))),
        }
    }
}

#[kernel(grid = [5])]
fn counted_and_read(count: &mut Tensor<i32, 1>, out: &mut Tensor<i32, 1>, apart: i64) {
    let relaxed = AtomicOptions::new().order(MemoryOrder::Relaxed);
    count.atomic_add_with([program_id(0) * 0], 1, relaxed);
    out.store([program_id(0)], count.load([apart]));
}

#[test]
fn what_one_program_changes_atomically_and_another_one_reads_plainly_is_reported() {
    for (apart, is_found) in [(0, true), (1, false)] {
        let call = |device: &Device| {
            let mut count = device.zeros::<i32, 1>([2]).unwrap();
            let mut out = device.zeros::<i32, 1>([5]).unwrap();
            reported(device, counted_and_read(&mut count, &mut out, apart))
        };
        match is_found {
            true => is_reported!(
                call,
                ["`count`", "changed atomically by", "read by program"],
                ["`count`[0]"]
            ),
            false => on_every_device(|device| assert_eq!(call(device), Ok(()))),
        }
    }
}

#[kernel(grid = [1])]
fn shift_one_tile(b: &mut Tensor<i32, 1>, by: i64) {
    let i = arange(1000);
    b.store([i + 1], b.load([i]));
    b.store([i], b.load([i + by]));
}

#[test]
fn one_program_loads_a_whole_tile_before_it_stores_one() {
    for checked in [false, true] {
        let b = on_every_device(|device| {
            let mut b = device.upload(&(0..1008).collect::<Vec<i32>>(), [1008]).unwrap();
            let call = shift_one_tile(&mut b, 7);
            match checked {
                true => reported(device, call).unwrap(),
                false => drop(call.launch(device).unwrap()),
            }
            b.download().unwrap()
        });
        let mut expected: Vec<i32> = (0..1008).collect();
        expected.copy_within(0..1000, 1);
        expected.copy_within(7..1007, 0);
        assert_eq!(b, expected);
    }
}

/// Each program reads what the program two before it has written: it is told by the one in between.
#[kernel(grid = [programs])]
fn relay(ticket: &mut Tensor<i64, 1>, done: &mut Tensor<i32, 1>, data: &mut Tensor<i32, 1>, programs: Count) {
    let relaxed = AtomicOptions::new().order(MemoryOrder::Relaxed);
    let acquire = AtomicOptions::new().order(MemoryOrder::Acquire);
    let release = AtomicOptions::new().order(MemoryOrder::Release);
    let turn = ticket.atomic_add_with([0], 1, relaxed);
    if turn > 1 {
        while done.atomic_or_with([turn - 1], 0, acquire) == 0 {}
        data.store([turn], data.load([turn - 2]) + 1);
    } else {
        if turn > 0 {
            while done.atomic_or_with([turn - 1], 0, acquire) == 0 {}
        }
        data.store([turn], 1);
    }
    done.atomic_exchange_with([turn], 1, release);
}

/// The last program to come by adds up what all have written.
#[kernel(grid = [programs])]
fn sum_by_the_last(part: &mut Tensor<i64, 1>, come: &mut Tensor<i32, 1>, out: &mut Tensor<i64, 1>, programs: Count) {
    part.store([program_id(0)], program_id(0) + 1);
    let before = come.atomic_add([0], 1);
    if before as i64 == programs - 1 {
        out.store([0], part.load([arange(200)]).sum_axis(0));
    }
}

/// In order, programs meet where they like.
#[kernel(grid = [4])]
fn in_order(out: &mut Tensor<i32, 1>, last: &mut Tensor<i32, 1>) {
    let i = program_id(0);
    out.store([i + 1], out.load([i]) + 1);
    last.scatter([arange(8) / 2], i as i32, Conflict::LastWins);
}

#[test]
fn what_something_puts_in_order_is_not_reported() {
    let (data, sum, ordered) = on_every_device(|device| {
        let mut ticket = device.zeros::<i64, 1>([1]).unwrap();
        let mut done = device.zeros::<i32, 1>([100]).unwrap();
        let mut data = device.zeros::<i32, 1>([100]).unwrap();
        reported(device, relay(&mut ticket, &mut done, &mut data, Runtime(100))).unwrap();

        let mut part = device.zeros::<i64, 1>([200]).unwrap();
        let mut come = device.zeros::<i32, 1>([1]).unwrap();
        let mut sum = device.zeros::<i64, 1>([1]).unwrap();
        reported(device, sum_by_the_last(&mut part, &mut come, &mut sum, Runtime(200))).unwrap();

        let mut out = device.zeros::<i32, 1>([5]).unwrap();
        let mut last = device.zeros::<i32, 1>([4]).unwrap();
        reported(device, in_order(&mut out, &mut last)).unwrap();
        let ordered = (out.download().unwrap(), last.download().unwrap());
        (data.download().unwrap(), sum.download().unwrap(), ordered)
    });
    assert_eq!(data, (0..100).map(|turn| turn / 2 + 1).collect::<Vec<_>>());
    assert_eq!(sum, [200 * 201 / 2]);
    assert_eq!(ordered, (vec![0, 1, 2, 3, 4], vec![3; 4]));
}

/// As `sum_by_the_last`, by a program that does not wait for the others.
#[kernel(grid = [programs])]
fn sum_by_the_first(part: &mut Tensor<i64, 1>, come: &mut Tensor<i32, 1>, out: &mut Tensor<i64, 1>, programs: Count) {
    part.store([program_id(0)], program_id(0) + 1);
    let before = come.atomic_add([0], 1);
    if before == 0 {
        out.store([0], part.load([arange(200)]).sum_axis(0));
    }
}

#[test]
fn the_cpu_device_reports_a_read_that_an_order_comes_too_late_for() {
    let device = Device::cpu();
    let mut part = device.zeros::<i64, 1>([200]).unwrap();
    let mut come = device.zeros::<i32, 1>([1]).unwrap();
    let mut out = device.zeros::<i64, 1>([1]).unwrap();
    let error = reported(&device, sum_by_the_first(&mut part, &mut come, &mut out, Runtime(200))).unwrap_err();
    assert!(error.contains("`part`") && error.contains("read by program"), "{error}");
}

/// Three programs change each element that is of one number, each in a tensor of its own.
#[kernel(grid = [6])]
fn each_its_own(list: &mut TensorList<i64, 1>) {
    let i = program_id(0);
    let (number, at) = (i % 3, i / 3);
    let one = &mut list[number];
    one.store([at], one.load([at]) + i);
}

#[test]
fn tensors_of_a_list_are_told_apart() {
    let call = |device: &Device, to_one: bool| {
        let mut tensors: Vec<_> = (0..3).map(|_| device.zeros::<i64, 1>([4]).unwrap()).collect();
        match to_one {
            true => reported(device, all_to_one(&mut tensors)),
            false => reported(device, each_its_own(&mut tensors)),
        }
    };
    on_every_device(|device| assert_eq!(call(device, false), Ok(())));
    let to_one = |device: &Device| call(device, true);
    is_reported!(
        to_one,
        ["kernel `all_to_one`", "`list", "written by program"],
        ["`list[2]`[1]"]
    );
}

/// Every program writes one element of the last tensor.
#[kernel(grid = [4])]
fn all_to_one(list: &mut TensorList<i64, 1>) {
    let last = list.len() - 1;
    list[last].store([1], program_id(0));
}
