//! Several calls as one launch.

use tilewright::dsl::call::{Arguments, Call};
use tilewright::dsl::schedule::{LoadHint, Schedule, StoreHint};
use tilewright::dsl::transform::ProvedBy;
use tilewright::prelude::*;

use crate::devices::{on_every_device, where_kernels_report};

#[kernel(grid = [out.extent(0)])]
fn copy<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>) {
    let cols = arange(out.extent(1));
    out.store([program_id(0), cols], src.load([program_id(0), cols]));
}

/// Each program writes its place in the grid, and the grid.
#[kernel(grid = [2, 3, planes])]
fn places(out: &mut Tensor<i64, 2>, planes: Count) {
    let [x, y, z] = [program_id(0), program_id(1), program_id(2)];
    if z == 7 {
        return;
    }
    let i = x + num_programs(0) * (y + num_programs(1) * z);
    out.store([i, 0], x + y * 10 + z * 100);
    out.store([i, 1], num_programs(0) + num_programs(1) * 10 + num_programs(2) * 100);
}

/// Needs barriers, and memory that threads share.
#[kernel(grid = [src.extent(0)])]
fn sums(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 2>) {
    let mut total = 0i32;
    for _ in 0..2 {
        total += src.load([program_id(0), arange(src.extent(1))]).sum_axis(0);
    }
    out.store([program_id(0)], total);
}

#[kernel(grid = [count])]
fn marks(out: &mut Tensor<u8, 1>, count: Count) {
    out.store([program_id(0)], 1);
}

#[kernel(grid = [x, y, z])]
fn boxes(out: &mut Tensor<u8, 1>, x: Count, y: Count, z: Count) {
    let row = program_id(1) + num_programs(1) * program_id(2);
    out.store([program_id(0) + num_programs(0) * row], 1);
}

#[kernel(grid = [x * y])]
fn product(out: &mut Tensor<u8, 1>, x: Count, y: Count) {
    out.store([program_id(0)], 1);
}

fn numbers(count: usize) -> Vec<i32> {
    (1..=count as i32).collect()
}

#[test]
fn fused_calls_do_what_each_does_alone() {
    let results = on_every_device(|device| {
        let wide = device.upload(&numbers(5 * 700), [5, 700]).unwrap();
        let bytes: Vec<u8> = (0..9u8).collect();
        let narrow = device.upload(&bytes, [3, 3]).unwrap();
        let run = |fused: bool| {
            let mut rows = device.upload(&[-1; 6 * 700], [6, 700]).unwrap();
            let mut few = device.upload(&[77u8; 9], [3, 3]).unwrap();
            let mut placed = device.upload(&[-1i64; 2 * 6 * 9], [6 * 9, 2]).unwrap();
            let mut summed = device.upload(&[-1; 5], [5]).unwrap();
            let calls = [
                copy(&mut rows, &wide),
                places(&mut placed, Runtime(9)),
                copy(&mut few, &narrow),
                sums(&mut summed, &wide),
            ];
            if fused {
                let launched = Call::fuse(calls).launch(device).unwrap();
                assert_eq!(launched.programs(), 6 + 54 + 3 + 5);
            } else {
                calls.into_iter().for_each(|call| drop(call.launch(device).unwrap()));
            }
            let placed = placed.download().unwrap();
            (
                rows.download().unwrap(),
                placed,
                few.download().unwrap(),
                summed.download().unwrap(),
            )
        };
        let fused = run(true);
        assert_eq!(fused, run(false));
        fused
    });
    // Row 5 does not exist: zeros.
    let rows: Vec<i32> = numbers(5 * 700).into_iter().chain([0; 700]).collect();
    assert_eq!(results.0, rows);
    assert_eq!(results.1[2 * (1 + 2 * (2 + 3 * 8))..][..2], [821, 932]);
    assert_eq!(
        results.1[2 * 6 * 7..][..12],
        [-1; 12],
        "those that return leave nothing"
    );
    assert_eq!(results.2, (0..9).collect::<Vec<u8>>());
    let sum = |row: i32| 2 * (700 * (700 * row + 1) + 700 * 699 / 2);
    assert_eq!(results.3, (0..5).map(sum).collect::<Vec<_>>());
}

#[test]
fn calls_without_programs_and_no_calls_at_all_are_nothing_to_do() {
    on_every_device(|device| {
        let [mut a, mut b] = [0; 2].map(|_| device.zeros::<u8, 1>([4]).unwrap());
        let launched = Call::fuse([marks(&mut a, Runtime(0)), marks(&mut b, Runtime(3))])
            .launch(device)
            .unwrap();
        assert_eq!(launched.programs(), 3);
        assert_eq!(
            (a.download().unwrap(), b.download().unwrap()),
            (vec![0; 4], vec![1, 1, 1, 0])
        );
        assert_eq!(Call::fuse([]).launch(device).unwrap().programs(), 0);
        let nothing = Call::fuse([marks(&mut a, Exact(0)), marks(&mut b, Exact(0))]);
        assert_eq!(nothing.launch(device).unwrap().programs(), 0);
    });
}

#[test]
fn a_fused_call_can_be_fused_again_and_has_a_schedule_of_its_own() {
    let found = on_every_device(|device| {
        let src = device.upload(&numbers(4 * 65), [4, 65]).unwrap();
        let mut outs = [0; 3].map(|_| device.zeros::<i32, 2>([4, 65]).unwrap());
        let [a, b, c] = &mut outs;
        let pair = Call::fuse([copy(a, &src), copy(b, &src)]);
        let schedule = Schedule {
            threads: 64,
            programs_per_block: 2,
            splits: 1,
            unroll: 1,
            load: LoadHint::Cached,
            store: StoreHint::Cached,
            wide: true,
        };
        let launched = Call::fuse([pair, copy(c, &src)])
            .with_schedule(schedule)
            .launch(device)
            .unwrap();
        assert_eq!(launched.programs(), 12);
        outs.map(|out| out.download().unwrap())
    });
    assert_eq!(found, [0; 3].map(|_| numbers(4 * 65)));
}

#[test]
fn a_grid_of_a_count_in_memory_does_not_move_the_calls_behind_it() {
    let found = on_every_device(|device| {
        let [mut a, mut b] = [0; 2].map(|_| device.zeros::<u8, 1>([9]).unwrap());
        let mut counts = device.upload(&[2i64], [1]).unwrap();
        let mut found = Vec::new();
        for value in [2, 0, 5, 99, -4] {
            counts.copy_from(&[value]).unwrap();
            for out in [&mut a, &mut b] {
                out.copy_from(&[0; 9]).unwrap();
            }
            let count = device_count(&counts, 0, 6).unwrap();
            let calls = [marks(&mut a, count), marks(&mut b, Runtime(4))];
            Call::fuse(calls).launch(device).unwrap();
            found.push([&a, &b].map(|out| {
                out.download()
                    .unwrap()
                    .iter()
                    .map(|&mark| usize::from(mark))
                    .sum::<usize>()
            }));
        }
        found
    });
    assert_eq!(found, [[2, 4], [0, 4], [5, 4], [6, 4], [0, 4]]);
}

#[test]
fn what_one_call_writes_no_other_may_touch() {
    on_every_device(|device| {
        let src = device.zeros::<i32, 2>([4, 8]).unwrap();
        let mut out = device.zeros::<i32, 2>([8, 8]).unwrap();
        let (top, bottom) = out.view_mut().split_at(0, 4).unwrap();
        Call::fuse([copy(top, &src), copy(bottom, &src)])
            .launch(device)
            .unwrap();
        let call = copy(&mut out, &src);
        let again = || {
            let mut arguments = Arguments::new();
            for argument in call.arguments() {
                #[allow(unsafe_code)] // The launch is refused.
                unsafe {
                    arguments.push(argument.clone())
                };
            }
            Call::new(call.definition().clone(), arguments)
        };
        let error = Call::fuse([again(), again()]).launch(device).unwrap_err().to_string();
        assert!(
            error.contains("`copy#1.out`") && error.contains("shares memory with `copy#0.out`"),
            "{error}"
        );
    });
}

#[test]
fn accesses_of_every_part_are_proved_as_when_it_is_alone() {
    let device = Device::cpu();
    let src = device.zeros::<i32, 2>([5, 33]).unwrap();
    // Where a call's programs begin is a sum of more extents than a form holds.
    for calls in [2, 7, 17, 64, 120] {
        let outs = (0..calls).map(|_| device.zeros::<i32, 2>([5, 33]).unwrap());
        let mut outs: Vec<_> = outs.collect();
        let launched = Call::fuse(outs.iter_mut().map(|out| copy(out, &src)))
            .launch(&device)
            .unwrap();
        let variant = launched.variant().unwrap();
        let guarded = |proof: &&tilewright::dsl::transform::Proof| proof.axes.contains(&ProvedBy::Guard);
        assert_eq!(variant.proofs().iter().find(guarded), None, "{}", variant.kernel());
        assert_eq!(variant.proofs().len(), 2 * calls);
    }
}

#[test]
fn a_trap_names_the_line_and_the_part() {
    #[kernel(grid = [1], bounds = "trap")]
    fn trapping(out: &mut Tensor<i32, 1>, at: i64) {
        out.store([at], 1);
    }
    where_kernels_report(|device| {
        let mut outs = [0; 3].map(|_| device.zeros::<i32, 1>([4]).unwrap());
        let [a, b, c] = &mut outs;
        Call::fuse([trapping(a, 3), trapping(b, 4), trapping(c, 0)])
            .launch(device)
            .unwrap();
        let error = device.synchronize().unwrap_err();
        let LaunchError::Trapped {
            parameter, index, span, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((parameter.as_str(), *index), ("trapping#1.out", 4));
        assert!(span.file.ends_with("fusion.rs"), "{error}");
        outs.map(|out| out.download().unwrap())
    });
}

#[kernel(grid = [out.extent(0)])]
fn waiting(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>) {
    wait_for_previous_launch();
    trigger_next_launch();
    out.store([program_id(0)], src.load([program_id(0)]) + 1);
}

#[test]
fn fused_calls_that_all_wait_first_can_overlap_the_launch_before() {
    let found = on_every_device(|device| {
        let mut a = device.zeros::<i32, 1>([70]).unwrap();
        let mut b = device.zeros::<i32, 1>([70]).unwrap();
        let mut c = device.zeros::<i32, 1>([70]).unwrap();
        for _ in 0..50 {
            Call::fuse([waiting(&mut b, &a), waiting(&mut c, &a)])
                .overlapping()
                .launch(device)
                .unwrap();
            waiting(&mut a, &c).overlapping().launch(device).unwrap();
        }
        let pair = device.zeros::<i32, 2>([1, 70]).unwrap();
        let mut other = device.zeros::<i32, 2>([1, 70]).unwrap();
        let error = Call::fuse([waiting(&mut b, &a).overlapping(), copy(&mut other, &pair)])
            .launch(device)
            .unwrap_err();
        assert!(matches!(error, LaunchError::NotWaiting { .. }), "{error}");
        (a.download().unwrap(), b.download().unwrap())
    });
    assert_eq!(found, (vec![100; 70], vec![99; 70]));
}

#[kernel(grid = [out.extent(0)])]
fn number(out: &mut Tensor<i32, 1>) {
    out.store([program_id(0)], program_id(0) as i32 + num_programs(0) as i32 * 1000);
}

#[test]
fn as_many_calls_as_have_an_argument_each_do_their_own_part() {
    for calls in [1, 2, 16, 17, 115, 129, 256] {
        on_every_device(|device| {
            let mut outs: Vec<_> = (0..calls).map(|i| device.zeros::<i32, 1>([i % 5]).unwrap()).collect();
            let launched = Call::fuse(outs.iter_mut().map(number)).launch(device).unwrap();
            assert_eq!(launched.programs(), (0..calls as u64).map(|i| i % 5).sum::<u64>());
            for (i, out) in outs.iter().enumerate() {
                let extent = (i % 5) as i32;
                let expected: Vec<i32> = (0..extent).map(|program| program + extent * 1000).collect();
                assert_eq!(out.download().unwrap(), expected, "call {i} of {calls}");
            }
        });
    }
}

#[test]
fn more_calls_than_one_launch_takes_are_refused_with_advice() {
    let device = Device::cpu();
    let mut outs: Vec<_> = (0..257).map(|_| device.zeros::<i32, 1>([2]).unwrap()).collect();
    let error = Call::fuse(outs.iter_mut().map(number)).launch(&device).unwrap_err();
    let text = "257 fused calls with 257 arguments: one launch takes at most 256 calls with 256 arguments, which is what CUDA passes \
                to a kernel; launch them as several";
    assert_eq!(error.to_string(), text);
    #[kernel(grid = [3])]
    fn nothing() {}
    let error = Call::fuse((0..300).map(|_| nothing())).launch(&device).unwrap_err();
    assert!(
        matches!(error, LaunchError::TooManyFused { calls: 300, found: 0 }),
        "{error}"
    );
}

#[test]
fn a_grid_whose_product_or_sum_overflows_is_refused_and_not_empty() {
    on_every_device(|device| {
        let mut outs = [0; 3].map(|_| device.zeros::<u8, 1>([14]).unwrap());
        let refused = |call: Call<'_>| {
            let error = call.launch(device).unwrap_err();
            assert!(matches!(error, LaunchError::Grid(_)), "{error}");
            error.to_string()
        };
        let [a, b, c] = &mut outs;
        // 2^80 programs are none of a 64-bit number, and neither are three times 2^62.
        let huge = Runtime(1 << 40);
        let text = refused(Call::fuse([
            boxes(&mut *a, huge, huge, Runtime(1)),
            marks(&mut *b, Runtime(3)),
        ]));
        assert!(
            text.contains("overflows") && text.contains("launch a part at a time"),
            "{text}"
        );
        let large = |out| boxes(out, Exact(1 << 40), Runtime(1 << 22), Runtime(1));
        let text = refused(Call::fuse([large(&mut *a), large(&mut *b), large(&mut *c)]));
        assert!(text.contains("overflows"), "{text}");
        let text = refused(product(&mut *a, huge, huge));
        assert!(text.contains("`product`") && text.contains("overflows"), "{text}");
        // No programs at all, and as many as there are.
        let few = [Runtime(0), Runtime(2), Runtime(3)];
        let calls = [
            boxes(&mut *a, few[0], huge, few[1]),
            boxes(&mut *b, few[1], few[1], few[2]),
        ];
        Call::fuse(calls).launch(device).unwrap();
        assert_eq!(outs[0].download().unwrap(), [0; 14]);
        assert_eq!(outs[1].download().unwrap(), [&[1; 12][..], &[0; 2]].concat());
    });
}
