//! Control flow: recorded, unrolled, nested, left early.

use tilewright::prelude::*;

use crate::devices::on_every_device;

/// Runs a kernel of one program that fills 64 numbers.
macro_rules! fill {
    ($kernel:ident($($argument:expr),*)) => {
        on_every_device(|device| {
            let mut out = device.upload(&[-1i64; 64], [64]).unwrap();
            $kernel(&mut out, $($argument),*).launch(device).unwrap();
            out.download().unwrap()
        })
    };
}

#[kernel(grid = [1])]
fn collatz(out: &mut Tensor<i64, 1>, start: i64) {
    let mut n = start;
    let mut steps = 0;
    while n != 1 && steps < 60 {
        out.store([steps], n);
        if n % 2 == 0 {
            n = n / 2;
        } else {
            n = 3 * n + 1;
        }
        steps += 1;
    }
    out.store([63], steps);
}

#[test]
fn a_while_loop_carries_its_variables() {
    let out = fill!(collatz(7i64));
    assert_eq!(
        out[..17],
        [7, 22, 11, 34, 17, 52, 26, 13, 40, 20, 10, 5, 16, 8, 4, 2, -1]
    );
    assert_eq!(out[63], 16);
}

#[kernel(grid = [1])]
fn skipping(out: &mut Tensor<i64, 1>, n: Count) {
    let mut written = 0;
    for i in 0..n {
        if i % 3 == 0 {
            continue;
        }
        if i > 20 {
            break;
        }
        out.store([written], i);
        written += 1;
    }
    out.store([63], written);
}

#[test]
fn a_loop_can_be_continued_and_left() {
    let expected: Vec<i64> = (0..=20).filter(|i| i % 3 != 0).collect();
    let out = fill!(skipping(Runtime(1000)));
    assert_eq!(out[..expected.len()], expected);
    assert_eq!(out[63], expected.len() as i64);
    assert_eq!(fill!(skipping(Runtime(0)))[63], 0);
    assert_eq!(fill!(skipping(Exact(2)))[..2], [1, -1]);
}

#[kernel(grid = [1])]
fn backwards(out: &mut Tensor<i64, 1>, low: i64, high: i64) {
    let mut at = 0;
    for i in (low..high).rev().step_by(7) {
        out.store([at], i);
        at += 1;
    }
}

#[test]
fn a_loop_can_count_down_and_in_steps_also_at_the_ends_of_its_type() {
    for (low, high) in [
        (0, 30),
        (-5, 5),
        (5, 5),
        (6, 5),
        (i64::MIN, i64::MIN + 30),
        (i64::MAX - 20, i64::MAX),
        (1 << 35, (1 << 35) + 9),
    ] {
        let expected: Vec<i64> = (low..high).rev().step_by(7).collect();
        let out = fill!(backwards(low, high));
        assert_eq!(out[..expected.len()], expected, "{low}..{high}");
        assert_eq!(out[expected.len()], -1);
    }
}

#[kernel(grid = [1])]
fn nested(out: &mut Tensor<i64, 1>, n: Count) {
    let mut total = 0;
    for i in 0..n {
        let mut j = i;
        loop {
            if j >= 10 {
                break;
            }
            j += 3;
            if j == 7 {
                continue;
            }
            total += j;
        }
        for k in 0..4 {
            if k == 2 {
                continue;
            }
            total += i * k;
        }
    }
    out.store([0], total);
}

#[test]
fn loops_nest_and_unroll() {
    let expected: i64 = (0..12i64)
        .map(|i| {
            let mut inner = 0;
            let mut j = i;
            while j < 10 {
                j += 3;
                if j != 7 {
                    inner += j;
                }
            }
            inner + i + i * 3
        })
        .sum();
    assert_eq!(fill!(nested(Runtime(12)))[0], expected);
}

#[kernel(grid = [n])]
fn early(out: &mut Tensor<i64, 1>, n: Count) {
    let p = program_id(0);
    if p == 3 {
        return;
    }
    let value = if p < 5 { p * 10 } else { -p };
    if p > 7 {
        for i in 0..p {
            if i * i > 50 {
                out.store([p], i);
                return;
            }
        }
    }
    out.store([p], value);
}

#[test]
fn a_program_can_return_from_anywhere() {
    let out = fill!(early(Runtime(12)));
    assert_eq!(out[..13], [0, 10, 20, -1, 40, -5, -6, -7, -8, 8, 8, 8, -1]);
}

#[device]
fn weight(row: Scalar<i64>, steps: usize) -> Scalar<i64> {
    let mut product = 1;
    for step in 0..steps {
        product *= row + step as i64;
    }
    if product > 1000 {
        Scalar::min(product, 5000)
    } else {
        product
    }
}

#[kernel(grid = [20])]
fn helped<const STEPS: usize>(out: &mut Tensor<i64, 1>, #[comptime] negate: bool) {
    let p = program_id(0);
    let value = weight(p, STEPS);
    if negate {
        out.store([p], -value);
    } else {
        out.store([p], value);
    }
}

#[test]
fn helpers_const_generics_and_compile_time_parameters_shape_the_code() {
    let expected = |steps: i64, sign: i64| -> Vec<i64> {
        (0..20i64)
            .map(|p| (0..steps).map(|s| p + s).product::<i64>())
            .map(|v| sign * v.min(5000))
            .collect()
    };
    let run = |device: &Device| {
        let mut out = device.zeros::<i64, 1>([20]).unwrap();
        helped::<3>(&mut out, false).launch(device).unwrap();
        let three = out.download().unwrap();
        helped::<4>(&mut out, true).launch(device).unwrap();
        (three, out.download().unwrap())
    };
    assert_eq!(on_every_device(run), (expected(3, 1), expected(4, -1)));
}

#[kernel(grid = [3, 4, 5])]
fn coordinates(out: &mut Tensor<i64, 3>) {
    let (x, y, z) = (program_id(0), program_id(1), program_id(2));
    out.store(
        [z, y, x],
        x + 10 * y + 100 * z + 1000 * num_programs(0) + 10000 * num_programs(1) + 100000 * num_programs(2),
    );
}

#[test]
fn a_grid_has_up_to_three_axes() {
    let out = on_every_device(|device| {
        let mut out = device.zeros::<i64, 3>([5, 4, 3]).unwrap();
        coordinates(&mut out).launch(device).unwrap();
        out.download().unwrap()
    });
    let expected: Vec<i64> = (0..5)
        .flat_map(|z| (0..4).flat_map(move |y| (0..3).map(move |x| 543_000 + x + 10 * y + 100 * z)))
        .collect();
    assert_eq!(out, expected);
}

#[kernel(grid = [3])]
fn printing(out: &mut Tensor<i64, 1>, scale: f32) {
    let program = program_id(0);
    let value = program * 1000;
    device_print(
        "100% of \"{}\" at {}: {} {}",
        (value, scale, program == 1, program as u8),
    );
    device_print("é", ());
    out.store([program], value);
}

#[test]
fn a_kernel_can_print() {
    let out = fill!(printing(0.5f32));
    assert_eq!(out[..4], [0, 1000, 2000, -1]);
}

#[kernel(grid = [1])]
fn printing_too_little(out: &mut Tensor<i64, 1>) {
    device_print("{} {}", (program_id(0),));
    out.store([0], 1);
}

#[test]
fn a_line_with_a_place_too_many_is_refused() {
    let device = Device::cpu();
    let mut out = device.zeros::<i64, 1>([1]).unwrap();
    let error = printing_too_little(&mut out).launch(&device).unwrap_err().to_string();
    assert!(
        error.contains("1 values with 2 places") && error.contains("control_flow.rs"),
        "{error}"
    );
}
