//! What the host knows before a launch: conditions on the arguments, grids of scalars, counts that shape tiles.

use tilewright::dsl::call::Call;
use tilewright::dsl::interpret::RequirementError;
use tilewright::prelude::*;
use tilewright::runtime::{LaunchError, device_count};

use crate::devices::on_every_device;

#[kernel(grid = [out.extent(0)])]
fn copy_rows(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, first: i64, count: Count) {
    require(out.extent(1) == src.extent(1));
    require(first >= 0 && first + out.extent(0) <= src.extent(0));
    require(count <= out.extent(0));
    let (row, cols) = (program_id(0), arange(src.extent(1)));
    if row < count {
        out.store([row, cols], src.load([first + row, cols]));
    }
}

/// A launch for rows of these lengths, its result or all that is said.
fn copied(device: &Device, widths: [usize; 2], first: i64, count: u64) -> Result<Vec<i32>, String> {
    let values: Vec<i32> = (0..4 * widths[1] as i32).collect();
    let src = device.upload(&values, [4, widths[1]]).unwrap();
    let mut out = device.upload(&vec![-1; 2 * widths[0]], [2, widths[0]]).unwrap();
    let launched = copy_rows(&mut out, &src, first, Runtime(count)).launch(device);
    launched.map_err(|error| error.to_string())?;
    Ok(out.download().unwrap())
}

#[test]
fn a_launch_that_is_not_what_its_kernel_requires_is_refused_however_often_others_were_launched() {
    let said = |requirement: &str, left: i64, right: i64, line: u32| {
        Err(format!(
            "kernel `copy_rows` requires `{requirement}`, and here the left side is {left} and the right side {right}\n  \
             --> tests/gpu_language/requirements.rs:{line}:5"
        ))
    };
    on_every_device(|device| {
        for _ in 0..2 {
            // The same tensors with other scalars and counts.
            assert_eq!(copied(device, [2, 2], 1, 2), Ok(vec![2, 3, 4, 5]));
            assert_eq!(copied(device, [2, 2], 2, 1), Ok(vec![4, 5, -1, -1]));
            let rows = "first + out.extent(0) <= src.extent(0)";
            assert_eq!(copied(device, [2, 2], 3, 2), said(rows, 5, 4, 13));
            assert_eq!(copied(device, [2, 2], -1, 2), said("first >= 0", -1, 0, 13));
            let overflow = "kernel `copy_rows` requires `first + out.extent(0) <= src.extent(0)`, and \
                            `first + out.extent(0)` overflows here\n  --> tests/gpu_language/requirements.rs:13:5";
            assert_eq!(copied(device, [2, 2], i64::MAX, 2), Err(overflow.to_owned()));
            assert_eq!(copied(device, [2, 2], 0, 3), said("count <= out.extent(0)", 3, 2, 14));
            // Too narrow, too wide.
            assert_eq!(
                copied(device, [1, 2], 0, 2),
                said("out.extent(1) == src.extent(1)", 1, 2, 12)
            );
            assert_eq!(
                copied(device, [3, 2], 0, 2),
                said("out.extent(1) == src.extent(1)", 3, 2, 12)
            );
        }
    });
}

#[test]
fn what_a_kernel_requires_is_known_to_hold_in_it() {
    let device = Device::cpu();
    let src = device.zeros::<i32, 2>([4, 5]).unwrap();
    let mut out = device.zeros::<i32, 2>([2, 5]).unwrap();
    let launched = copy_rows(&mut out, &src, 1, Runtime(2)).launch(&device).unwrap();
    let proofs: Vec<String> = launched
        .variant()
        .unwrap()
        .proofs()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(proofs[0].starts_with("load src[proved, proved]"), "{proofs:?}");
    assert!(proofs[1].starts_with("store out[proved, proved]"), "{proofs:?}");
}

#[test]
fn a_requirement_about_a_count_in_device_memory_is_refused_where_it_stands() {
    on_every_device(|device| {
        let src = device.zeros::<i32, 2>([4, 2]).unwrap();
        let mut out = device.zeros::<i32, 2>([2, 2]).unwrap();
        let counts = device.upload(&[1i32], [1]).unwrap();
        let count = device_count(&counts, 0, 2).unwrap();
        let error = copy_rows(&mut out, &src, 0, count).launch(device).unwrap_err();
        assert!(matches!(
            error,
            LaunchError::Requirement(RequirementError::Unknown { .. })
        ));
        assert_eq!(
            error.to_string(),
            "kernel `copy_rows` requires `count <= out.extent(0)`, and the host does not know `count` in this launch\n  \
             --> tests/gpu_language/requirements.rs:14:5\n  \
             = help: pass a count as `Exact` or `Runtime`; one in device memory is tested in the kernel, with `device_assert`"
        );
    });
}

#[kernel(grid = [out.extent(0)])]
fn fill_up_to(out: &mut Tensor<i32, 1>, limit: i64) {
    require(out.extent(0) <= limit || limit < 0);
    out.store([program_id(0)], limit as i32);
}

#[test]
fn each_call_of_a_fusion_is_what_its_own_kernel_requires() {
    on_every_device(|device| {
        let mut tensors = [2, 3].map(|extent| device.zeros::<i32, 1>([extent]).unwrap());
        let [two, three] = &mut tensors;
        let mut launch = |limits: [i64; 2]| {
            let calls = [fill_up_to(&mut *two, limits[0]), fill_up_to(&mut *three, limits[1])];
            Call::fuse(calls).launch(device).map(|launched| launched.programs())
        };
        for _ in 0..2 {
            assert_eq!(launch([2, 3]).unwrap(), 5);
            assert_eq!(launch([-1, 3]).unwrap(), 5);
            let error = launch([2, 2]).unwrap_err().to_string();
            assert!(
                error.contains("requires `fill_up_to#1.out.extent(0) <= fill_up_to#1.limit || "),
                "{error}"
            );
            assert!(launch([1, 3]).is_err());
        }
        assert_eq!(
            tensors.map(|tensor| tensor.download().unwrap()),
            [vec![-1; 2], vec![3; 3]]
        );
    });
}

#[kernel(grid = [out.extent(0)])]
fn gathered(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, other: &Tensor<i32, 1>) {
    require(src.extent(0) >= out.extent(0));
    let row = program_id(0);
    out.store([row], src.load([row]) + other.load([row]));
}

#[test]
fn what_one_call_of_a_fusion_requires_says_nothing_about_another() {
    // The second call has an `other` that is too short, and its check has to stay.
    let (first, second) = on_every_device(|device| {
        let numbers = device.upload(&[1, 2, 3, 4], [4]).unwrap();
        let short = device.upload(&[10], [1]).unwrap();
        let [mut first, mut second] = [0, 1].map(|_| device.zeros::<i32, 1>([3]).unwrap());
        let calls = [
            gathered(&mut first, &numbers, &numbers),
            gathered(&mut second, &numbers, &short),
        ];
        Call::fuse(calls).launch(device).unwrap();
        (first.download().unwrap(), second.download().unwrap())
    });
    assert_eq!((first, second), (vec![2, 4, 6], vec![11, 2, 3]));
}

#[kernel(grid = [n, wide as i64 + 1])]
fn counted(out: &mut Tensor<i64, 1>, n: i64, wide: i32, value: i64) {
    let place = program_id(0) + n * program_id(1);
    out.store([place], value + num_programs(0));
}

#[test]
fn a_grid_may_be_made_of_scalar_arguments_and_follows_their_values() {
    on_every_device(|device| {
        for round in 0..2 {
            for (n, wide) in [(3, 1), (8, 0), (1, 7), (0, 3), (-4, 1), (2, -1), (i64::MIN, 0)] {
                let mut out = device.zeros::<i64, 1>([8]).unwrap();
                let launched = counted(&mut out, n, wide, 100 + round).launch(device).unwrap();
                let programs = n.max(0) * (i64::from(wide) + 1);
                assert_eq!(launched.programs(), programs as u64);
                let expected: Vec<i64> = (0..8).map(|i| if i < programs { 100 + round + n } else { 0 }).collect();
                assert_eq!(out.download().unwrap(), expected, "{n} x {wide}");
            }
            let mut out = device.zeros::<i64, 1>([1]).unwrap();
            let error = counted(&mut out, 1 << 40, 0, 0).launch(device).unwrap_err();
            assert!(
                error.to_string().contains("has more than 2147483647 programs"),
                "{error}"
            );
        }
    });
}

#[test]
fn a_negative_grid_takes_no_programs_from_the_calls_it_is_fused_with() {
    let found = on_every_device(|device| {
        let [mut one, mut two] = [0, 1].map(|_| device.zeros::<i64, 1>([4]).unwrap());
        let calls = [counted(&mut one, -3, 0, 1), counted(&mut two, 4, 0, 1)];
        let launched = Call::fuse(calls).launch(device).unwrap();
        (launched.programs(), one.download().unwrap(), two.download().unwrap())
    });
    assert_eq!(found, (4, vec![0; 4], vec![5; 4]));
}

/// The line of the tile in the kernel below.
const TILE: u32 = line!() + 5;

#[kernel(grid = [out.extent(0)])]
fn blocks(out: &mut Tensor<i64, 2>, src: &Tensor<i64, 2>, block: Count) {
    let row = program_id(0);
    let cols = arange(block);
    out.store([row, cols], src.load([row, cols]) + block);
    for i in 0..comptime(block) {
        out.store([row, 6 + i], i as i64);
    }
}

#[test]
fn an_exact_count_shapes_a_tile_and_its_value_is_part_of_the_class() {
    on_every_device(|device| {
        let src = device.upload(&[1i64, 2, 3, 4, 5, 6], [1, 6]).unwrap();
        for block in [2u64, 0, 3, 2] {
            let mut out = device.zeros::<i64, 2>([1, 9]).unwrap();
            blocks(&mut out, &src, Exact(block)).launch(device).unwrap();
            let n = block as i64;
            let mut expected: Vec<i64> = (1..=6).map(|v| if v <= n { v + n } else { 0 }).collect();
            expected.extend((0..3).map(|i| if i < n { i } else { 0 }));
            assert_eq!(out.download().unwrap(), expected, "{block}");
            // Also after an exact count of the same value.
            let error = blocks(&mut out, &src, Runtime(block)).launch(device).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "kernel `blocks`: a compile-time integer is needed here, but this depends on the count `block`, which this \
                 launch does not bind as `Exact`\n  --> tests/gpu_language/requirements.rs:{TILE}:16\n  \
                 = help: a tile's extents are literals, tensor extents, exact counts, const generics, or `#[comptime]` parameters"
                )
            );
        }
    });
}
