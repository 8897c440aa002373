//! Tiles and tensors without elements: there is nothing to do for them, and everything else is done.

use std::fmt::Debug;

use tilewright::dsl::call::Call;
use tilewright::prelude::*;

use crate::devices::on_every_device;

/// What each reduction leaves of the rows of a tensor, one column each.
#[kernel(grid = [1])]
fn reductions<T: Number>(
    out: &mut Tensor<T, 2>,
    indices: &mut Tensor<i64, 2>,
    logic: &mut Tensor<bool, 2>,
    x: &Tensor<T, 2>,
) {
    let (rows, cols) = (arange(x.extent(0)), arange(x.extent(1)));
    let x = x.load([rows.expand_dims(1), cols]);
    out.store([rows, 0], x.sum_axis(1));
    out.store([rows, 1], x.product_axis(1));
    out.store([rows, 2], x.min_axis(1));
    out.store([rows, 3], x.max_axis(1));
    out.store([rows, 4], x.reduce_axis(1, |a, b| a + b));
    indices.store([rows, 0], x.argmin_axis(1));
    indices.store([rows, 1], x.argmax_axis(1));
    indices.store([rows, 2], (x == x).count_axis(1));
    logic.store([rows, 0], (x == x).any_axis(1));
    logic.store([rows, 1], (x != x).all_axis(1));
}

/// The smallest and the largest value of a number type; of floats, the infinities.
trait Ends: Number + PartialEq + Debug + Default {
    const ENDS: [Self; 2];
    const ONE: Self;
}

macro_rules! ends {
    ($($ty:ident: $low:ident, $high:ident, $one:expr;)*) => {$(
        impl Ends for $ty {
            const ENDS: [Self; 2] = [$ty::$low, $ty::$high];
            const ONE: Self = $one;
        }
    )*};
}
use half::{bf16, f16};
ends! {
    i8: MIN, MAX, 1; i16: MIN, MAX, 1; i32: MIN, MAX, 1; i64: MIN, MAX, 1;
    u8: MIN, MAX, 1; u16: MIN, MAX, 1; u32: MIN, MAX, 1; u64: MIN, MAX, 1;
    f32: NEG_INFINITY, INFINITY, 1.0; f64: NEG_INFINITY, INFINITY, 1.0;
    f16: NEG_INFINITY, INFINITY, f16::ONE; bf16: NEG_INFINITY, INFINITY, bf16::ONE;
}

fn reduced_to_identities<T: Ends>() {
    let found = on_every_device(|device| {
        let x = device.zeros::<T, 2>([2, 0]).unwrap();
        let mut out = device.upload(&[T::ONE; 12], [2, 6]).unwrap();
        let mut indices = device.upload(&[9i64; 6], [2, 3]).unwrap();
        let mut logic = device.upload(&[true, false, true, false], [2, 2]).unwrap();
        reductions(&mut out, &mut indices, &mut logic, &x)
            .launch(device)
            .unwrap();
        let bits: Vec<u64> = out.download().unwrap().into_iter().map(Element::to_bits64).collect();
        (bits, indices.download().unwrap(), logic.download().unwrap())
    });
    let [low, high] = T::ENDS;
    let row = [T::default(), T::ONE, high, low, T::default(), T::ONE].map(Element::to_bits64);
    assert_eq!(
        found,
        ([row, row].concat(), vec![0; 6], vec![false, true, false, true]),
        "{}",
        T::TYPE
    );
}

#[test]
fn a_reduction_over_no_element_is_what_leaves_another_as_it_is() {
    reduced_to_identities::<i8>();
    reduced_to_identities::<i16>();
    reduced_to_identities::<i32>();
    reduced_to_identities::<i64>();
    reduced_to_identities::<u8>();
    reduced_to_identities::<u16>();
    reduced_to_identities::<u32>();
    reduced_to_identities::<u64>();
    reduced_to_identities::<f16>();
    reduced_to_identities::<bf16>();
    reduced_to_identities::<f32>();
    reduced_to_identities::<f64>();
}

/// Everything that rearranges or orders tiles, then a line that shows that the program came this far.
#[kernel(grid = [1], bounds = "trap")]
#[allow(unsafe_code)]
fn everything<const K: usize>(
    out: &mut Tensor<i32, 2>,
    counters: &mut Tensor<i32, 1>,
    done: &mut Tensor<i32, 1>,
    x: &Tensor<i32, 2>,
) {
    let (rows, cols) = (arange(x.extent(0)).expand_dims(1), arange(x.extent(1)));
    let whole = x.load([rows, cols]);
    let mut held = whole + 1;
    for _ in 0..done.extent(0) {
        held += whole.cumulative_sum(0) + whole.cumulative_sum_exclusive(1) + whole.cumulative_max(0);
        held = held.scan_axis_exclusive(1, 7, |a, b| a.max(b)).flip(0).flip(1);
    }
    let (best, index) = held.top_k(1, K);
    out.store([rows, arange(K)], best + index as i32);
    let turned = held.transpose().sort_axis(0).sort_descending_axis(1).transpose();
    let both = turned.concatenate(held.slice(0, 0, 0), 0).concatenate(turned, 1);
    let (left, right) = both.join(both).split();
    let picked = select(left > right, left, both).take(1, arange(0).broadcast_to([x.extent(0), 0]));
    out.store([rows, arange(0)], picked.argsort_axis(1) as i32);
    out.store(
        [rows, cols],
        whole.broadcast_to([x.extent(0), x.extent(1)]).permute([0, 1]),
    );
    device_assert(held == held, "what is not there is as it should be");
    // SAFETY: no number is its successor.
    unsafe { assume(held != held + 1) };
    let old = counters.atomic_add([rows + cols + 1], whole);
    counters.scatter([rows + cols + 1], old + 1, Conflict::LastWins);
    out.prefetch([rows, cols]);
    let counts = whole.histogram(4);
    counters.store(
        [arange(counters.extent(0).min(1)) + 0 * comptime(x.extent(0))],
        5 + counts.sum_axis(0),
    );
    done.store(
        [arange(done.extent(0))],
        1 + comptime(x.extent(0)) as i32 + whole.reshape([x.extent(1), x.extent(0)]).max_axis(0).max_axis(0).max(0),
    );
}

#[test]
fn every_operation_takes_tiles_without_elements() {
    for [rows, columns] in [[0, 0], [0, 5], [3, 0]] {
        let found = on_every_device(|device| {
            let x = device.zeros::<i32, 2>([rows, columns]).unwrap();
            let mut out = device.zeros::<i32, 2>([rows, columns]).unwrap();
            let mut counters = device.upload(&[7; 1], [1]).unwrap();
            let mut done = device.zeros::<i32, 1>([2]).unwrap();
            everything::<0>(&mut out, &mut counters, &mut done, &x)
                .launch(device)
                .unwrap();
            device.synchronize().unwrap();
            (counters.download().unwrap(), done.download().unwrap())
        });
        assert_eq!(found, (vec![5], vec![1 + rows as i32; 2]), "[{rows}, {columns}]");
    }
}

#[kernel(grid = [1])]
fn joined(
    out: &mut Tensor<u8, 1>,
    counts: &mut Tensor<i32, 1>,
    taken: &mut Tensor<u8, 1>,
    a: &Tensor<u8, 1>,
    b: &Tensor<u8, 1>,
) {
    let (a, b) = (a.load([arange(a.extent(0))]), b.load([arange(b.extent(0))]));
    out.store([arange(out.extent(0))], a.concatenate(b, 0));
    counts.store([arange(counts.extent(0))], a.histogram(counts.extent(0)));
    taken.store([arange(2)], a.take(0, arange(2)));
}

#[test]
fn an_empty_part_adds_nothing_counts_nothing_and_gives_zero() {
    let join = |device: &Device, a: &[u8], b: &[u8]| {
        let mut out = device.zeros::<u8, 1>([a.len() + b.len()]).unwrap();
        let mut counts = device.upload(&[9; 3], [3]).unwrap();
        let mut taken = device.upload(&[9u8; 2], [2]).unwrap();
        let (a, b) = (
            device.upload(a, [a.len()]).unwrap(),
            device.upload(b, [b.len()]).unwrap(),
        );
        joined(&mut out, &mut counts, &mut taken, &a, &b)
            .launch(device)
            .unwrap();
        (
            out.download().unwrap(),
            counts.download().unwrap(),
            taken.download().unwrap(),
        )
    };
    let found = on_every_device(|device| {
        [
            join(device, &[], &[1, 2]),
            join(device, &[2, 2], &[]),
            join(device, &[], &[]),
        ]
    });
    assert_eq!(
        found,
        [
            (vec![1, 2], vec![0, 0, 0], vec![0, 0]),
            (vec![2, 2], vec![0, 0, 2], vec![2, 2]),
            (vec![], vec![0, 0, 0], vec![0, 0]),
        ]
    );
}

#[kernel(grid = [out.extent(0), planes])]
fn rows(out: &mut Tensor<i64, 3>, seen: &mut Tensor<i64, 1>, planes: Count) {
    let row = program_id(0);
    out.store([row, arange(out.extent(1)).expand_dims(1), arange(out.extent(2))], row);
    seen.store([row], out.extent(1) * 10 + out.extent(2));
}

#[test]
fn a_tensor_may_have_no_elements_on_any_axis_and_a_grid_no_programs() {
    for [a, b, c] in [[0, 2, 3], [2, 0, 3], [2, 3, 0], [0, 0, 0], [2, 1, 1]] {
        for planes in [0, 1] {
            let (programs, seen) = on_every_device(|device| {
                let mut out = device.zeros::<i64, 3>([a, b, c]).unwrap();
                let mut seen = device.upload(&[-1i64; 2], [2]).unwrap();
                let launched = rows(&mut out, &mut seen, Runtime(planes)).launch(device).unwrap();
                (launched.programs(), seen.download().unwrap())
            });
            assert_eq!(programs, a as u64 * planes);
            let expected = if programs == 0 { -1 } else { (b * 10 + c) as i64 };
            assert_eq!(seen, [expected; 2], "[{a}, {b}, {c}] and {planes}");
        }
    }
}

#[test]
fn empty_calls_do_not_disturb_those_they_are_fused_with() {
    let (seen, all) = on_every_device(|device| {
        let mut nothing = device.zeros::<i64, 3>([2, 0, 3]).unwrap();
        let mut no_rows = device.zeros::<i64, 3>([0, 2, 3]).unwrap();
        let mut some = device.zeros::<i64, 3>([2, 1, 2]).unwrap();
        let mut seen = [0, 1, 2].map(|_| device.upload(&[-1i64; 2], [2]).unwrap());
        let [first, second, third] = &mut seen;
        let calls = [
            rows(&mut no_rows, first, Runtime(1)),
            rows(&mut nothing, second, Runtime(1)),
            rows(&mut some, third, Runtime(1)),
        ];
        Call::fuse(calls).launch(device).unwrap();
        (seen.map(|seen| seen.download().unwrap()), some.download().unwrap())
    });
    assert_eq!(seen, [[-1, -1], [3, 3], [12, 12]]);
    assert_eq!(all, [0, 0, 1, 1]);
}
