//! Atomic operations: every operation on every type, orders and scopes, who wins, and what programs tell each other.

use half::{bf16, f16};
use tilewright::prelude::*;

use crate::devices::{on_every_device, where_kernels_report};

/// For each kernel: 300 programs combine scalars, then 64 programs tiles of 8, with the 7 elements of a tensor.
macro_rules! combining {
    ($($name:ident($element:ty): $op:ident;)*) => {$(
        mod $name {
            use super::*;

            #[kernel(grid = [values.extent(0)])]
            fn by_scalars(out: &mut Tensor<$element, 1>, values: &Tensor<$element, 1>) {
                let i = program_id(0);
                out.$op([i % 7], values.load([i]));
            }

            #[kernel(grid = [64])]
            fn by_tiles(out: &mut Tensor<$element, 1>, values: &Tensor<$element, 1>) {
                let i = program_id(0) * 8 + arange(8);
                out.$op([i % 7], values.load([i % 300]));
            }

            /// As bits, because a NaN is equal to nothing.
            pub fn bits(values: &[$element], first: $element) -> Vec<u64> {
                on_every_device(|device| {
                    let values = device.upload(values, [values.len()]).unwrap();
                    let mut out = device.upload(&[first; 7], [7]).unwrap();
                    by_scalars(&mut out, &values).launch(device).unwrap();
                    by_tiles(&mut out, &values).launch(device).unwrap();
                    out.download().unwrap().into_iter().map(Element::to_bits64).collect()
                })
            }

            pub fn run(values: &[$element], first: $element) -> Vec<$element> {
                bits(values, first).into_iter().map(Element::from_bits64).collect()
            }
        }
    )*};
}

combining! {
    add_i32(i32): atomic_add; add_u32(u32): atomic_add; add_i64(i64): atomic_add; add_u64(u64): atomic_add;
    add_f16(f16): atomic_add; add_bf16(bf16): atomic_add; add_f32(f32): atomic_add; add_f64(f64): atomic_add;
    min_i32(i32): atomic_min; min_u32(u32): atomic_min; min_i64(i64): atomic_min; min_u64(u64): atomic_min;
    min_f32(f32): atomic_min; min_f64(f64): atomic_min;
    max_i32(i32): atomic_max; max_u32(u32): atomic_max; max_i64(i64): atomic_max; max_u64(u64): atomic_max;
    max_f32(f32): atomic_max; max_f64(f64): atomic_max;
    and_i32(i32): atomic_and; and_u32(u32): atomic_and; and_i64(i64): atomic_and; and_u64(u64): atomic_and;
    or_i32(i32): atomic_or; or_u32(u32): atomic_or; or_i64(i64): atomic_or; or_u64(u64): atomic_or;
    xor_i32(i32): atomic_xor; xor_u32(u32): atomic_xor; xor_i64(i64): atomic_xor; xor_u64(u64): atomic_xor;
}

/// What doing all of it in turn gives.
fn in_turn<T: Copy>(values: &[T], first: T, combine: impl Fn(T, T) -> T) -> Vec<T> {
    let mut out = vec![first; 7];
    let tiles = (0..64 * 8).map(|i| (i % 7, i % 300));
    for (at, from) in (0..300).map(|i| (i % 7, i)).chain(tiles) {
        out[at] = combine(out[at], values[from]);
    }
    out
}

#[test]
fn integers_are_combined_exactly_whatever_the_order() {
    /// Bits all over the type.
    fn noise(i: u64) -> u64 {
        (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
    macro_rules! check {
        ($ty:ident, $add:ident, $min:ident, $max:ident, $and:ident, $or:ident, $xor:ident) => {
            let values: Vec<$ty> = (0..300).map(|i| noise(i) as $ty).collect();
            assert_eq!($add::run(&values, 5), in_turn(&values, 5, $ty::wrapping_add));
            assert_eq!($min::run(&values, 77), in_turn(&values, 77, Ord::min));
            assert_eq!($max::run(&values, 77), in_turn(&values, 77, Ord::max));
            assert_eq!($and::run(&values, !9), in_turn(&values, !9, |a, b| a & b));
            assert_eq!($or::run(&values, 0), in_turn(&values, 0, |a, b| a | b));
            assert_eq!($xor::run(&values, 1), in_turn(&values, 1, |a, b| a ^ b));
        };
    }
    check!(i32, add_i32, min_i32, max_i32, and_i32, or_i32, xor_i32);
    check!(u32, add_u32, min_u32, max_u32, and_u32, or_u32, xor_u32);
    check!(i64, add_i64, min_i64, max_i64, and_i64, or_i64, xor_i64);
    check!(u64, add_u64, min_u64, max_u64, and_u64, or_u64, xor_u64);
}

#[test]
fn sums_of_floats_that_are_exact_do_not_depend_on_the_order() {
    // Small enough that no partial sum of one element's values is rounded, in bf16 neither.
    let small = |i: i32| ((i * 37) % 5 - 2) as f32;
    let f32s: Vec<f32> = (0..300).map(small).collect();
    assert_eq!(add_f32::run(&f32s, 0.5), in_turn(&f32s, 0.5, |a, b| a + b));
    let f64s: Vec<f64> = f32s.iter().map(|&v| v.into()).collect();
    assert_eq!(add_f64::run(&f64s, 0.5), in_turn(&f64s, 0.5, |a, b| a + b));
    let f16s: Vec<f16> = f32s.iter().map(|&v| f16::from_f32(v)).collect();
    let sum = |a: f16, b: f16| f16::from_f32(a.to_f32() + b.to_f32());
    assert_eq!(add_f16::run(&f16s, f16::ONE), in_turn(&f16s, f16::ONE, sum));
    let bf16s: Vec<bf16> = f32s.iter().map(|&v| bf16::from_f32(v)).collect();
    let sum = |a: bf16, b: bf16| bf16::from_f32(a.to_f32() + b.to_f32());
    assert_eq!(add_bf16::run(&bf16s, bf16::ONE), in_turn(&bf16s, bf16::ONE, sum));
}

#[test]
fn a_sum_that_is_nan_has_the_same_bits_whatever_nan_went_in() {
    macro_rules! check {
        ($($add:ident($ty:ident): $infinite:expr, $nans:expr, $canonical:expr;)*) => {$(
            for nan in $nans.map($ty::from_bits) {
                let mut values = vec![$infinite; 300];
                assert!(values.iter().all(|v| !v.is_nan()) && nan.is_nan());
                // In memory already, among the values, and made from what is none.
                assert_eq!($add::bits(&values, nan), [$canonical; 7]);
                values[150..157].fill(nan);
                assert_eq!($add::bits(&values, $infinite), [$canonical; 7]);
                assert_eq!($add::bits(&vec![$infinite; 300], -$infinite), [$canonical; 7]);
            }
        )*};
    }
    check! {
        add_f64(f64): f64::INFINITY, [0xfff0_0000_0000_0001u64, 0x7ff8_0000_0000_0000, u64::MAX], u64::MAX >> 1;
        add_f32(f32): f32::INFINITY, [0xff80_0001u32, 0x7fc0_0000, u32::MAX], 0x7fff_ffff;
        add_f16(f16): f16::INFINITY, [0xfc01u16, 0x7e00, u16::MAX], 0x7fff;
        add_bf16(bf16): bf16::INFINITY, [0xff81u16, 0x7fc0, u16::MAX], 0x7fff;
    }
}

#[test]
fn the_least_and_greatest_float_is_found_and_nan_is_passed_over() {
    let mut f32s: Vec<f32> = (0..300).map(|i| ((i * 7919) % 1000) as f32 * 0.37 - 100.0).collect();
    f32s[11] = f32::NAN;
    f32s[12] = f32::NEG_INFINITY;
    assert_eq!(min_f32::run(&f32s, 3.0), in_turn(&f32s, 3.0, f32::min));
    assert_eq!(max_f32::run(&f32s, -3.0), in_turn(&f32s, -3.0, f32::max));
    let f64s: Vec<f64> = f32s.iter().map(|&v| v.into()).collect();
    assert_eq!(min_f64::run(&f64s, 3.0), in_turn(&f64s, 3.0, f64::min));
    assert_eq!(max_f64::run(&f64s, -3.0), in_turn(&f64s, -3.0, f64::max));
}

#[kernel(grid = [1])]
fn one_sum(out: &mut Tensor<f32, 1>, values: &Tensor<f32, 1>) {
    let i = arange(values.extent(0));
    out.atomic_add([i], values.load([i]));
}

#[test]
fn sums_of_f32_take_subnormal_numbers_for_zero_on_every_device() {
    let tiny = f32::MIN_POSITIVE;
    let before = [tiny / 2.0, -tiny / 2.0, 1.0, tiny, f32::INFINITY, -0.0, tiny * 1.5];
    let added = [
        tiny / 4.0,
        -tiny / 4.0,
        tiny / 2.0,
        -tiny / 2.0,
        f32::NEG_INFINITY,
        -0.0,
        -tiny,
    ];
    let bits = on_every_device(|device| {
        let values = device.upload(&added, [7]).unwrap();
        let mut out = device.upload(&before, [7]).unwrap();
        one_sum(&mut out, &values).launch(device).unwrap();
        out.download().unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    });
    let (zero, negative) = (0f32.to_bits(), (-0f32).to_bits());
    let expected = [
        zero,
        negative,
        1f32.to_bits(),
        tiny.to_bits(),
        0x7fff_ffff,
        negative,
        zero,
    ];
    assert_eq!(bits, expected);
}

#[kernel(grid = [experts.extent(0)])]
fn place_rows(slots: &mut Tensor<i32, 1>, next: &mut Tensor<i32, 1>, experts: &Tensor<i32, 1>) {
    let row = program_id(0);
    let slot = next.atomic_add([experts.load([row])], 1);
    slots.store([row], slot);
}

#[kernel(grid = [cdiv(experts.extent(0), 96)])]
fn place_blocks(slots: &mut Tensor<i32, 1>, next: &mut Tensor<i32, 1>, experts: &Tensor<i32, 1>) {
    let rows = program_id(0) * 96 + arange(96);
    let inside = rows < experts.extent(0);
    let slot = next.atomic_add_with([experts.load([rows])], 1, AtomicOptions::new().mask(inside));
    slots.store([rows], slot);
}

/// Slots of 500 rows in the segments of 5 experts, which begin at 0, 1000, 2000, ...; a row of expert 9 has none.
fn slots(device: &Device, by_blocks: bool) -> (Vec<Vec<i32>>, Vec<i32>) {
    let experts: Vec<i32> = (0..500).map(|i| if i % 83 == 0 { 9 } else { (i * i) % 5 }).collect();
    let at = device.upload(&experts, [500]).unwrap();
    let mut next = device.upload(&[0, 1000, 2000, 3000, 4000], [5]).unwrap();
    let mut slots = device.upload(&[-1; 500], [500]).unwrap();
    let call = if by_blocks {
        place_blocks(&mut slots, &mut next, &at)
    } else {
        place_rows(&mut slots, &mut next, &at)
    };
    call.launch(device).unwrap();
    let slots = slots.download().unwrap();
    let of = |expert: i32| {
        let mut own: Vec<i32> = (0..500).filter(|&i| experts[i] == expert).map(|i| slots[i]).collect();
        own.sort_unstable();
        own
    };
    ([0, 1, 4, 9].map(of).to_vec(), next.download().unwrap())
}

#[test]
fn every_row_gets_a_slot_of_its_own_and_rows_out_of_range_get_zero() {
    for by_blocks in [false, true] {
        let (segments, next) = on_every_device(|device| slots(device, by_blocks));
        for (segment, expert) in segments.iter().zip([0, 1, 4]) {
            let first = expert * 1000;
            assert_eq!(*segment, (first..first + segment.len() as i32).collect::<Vec<_>>());
            assert_eq!(next[expert as usize], first + segment.len() as i32);
        }
        assert_eq!(segments[3], [0; 7]);
    }
}

#[kernel(grid = [wanted.extent(0)])]
fn claim(owner: &mut Tensor<i64, 1>, wanted: &Tensor<i32, 1>, won: &mut Tensor<i32, 1>) {
    let program = program_id(0);
    let before = owner.atomic_compare_exchange([wanted.load([program])], -1, program + 1000);
    won.store([program], (before == -1) as i32);
}

#[test]
fn a_slot_has_one_winner_of_compare_exchange() {
    let wanted: Vec<i32> = (0..400).map(|i| (i * 13) % 9).collect();
    let winners = on_every_device(|device| {
        let wanted_there = device.upload(&wanted, [400]).unwrap();
        let mut owner = device.upload(&[-1i64; 10], [10]).unwrap();
        let mut won = device.zeros::<i32, 1>([400]).unwrap();
        claim(&mut owner, &wanted_there, &mut won).launch(device).unwrap();
        let (owner, won) = (owner.download().unwrap(), won.download().unwrap());
        assert_eq!(owner[9], -1);
        for (slot, &of) in owner[..9].iter().enumerate() {
            let winner = (of - 1000) as usize;
            assert_eq!((wanted[winner], won[winner]), (slot as i32, 1));
        }
        won.iter().sum::<i32>()
    });
    assert_eq!(winners, 9);
}

#[kernel(grid = [programs])]
fn count_under_lock(lock: &mut Tensor<i32, 1>, total: &mut Tensor<i32, 1>, programs: Count) {
    let relaxed = AtomicOptions::new().order(MemoryOrder::Relaxed);
    let acquire = AtomicOptions::new().order(MemoryOrder::Acquire);
    let release = AtomicOptions::new().order(MemoryOrder::Release);
    while lock.atomic_compare_exchange_with([0], 0, 1, acquire) != 0 {}
    // Two steps, between which another program would be noticed.
    let before = total.atomic_or_with([0], 0, relaxed);
    total.atomic_exchange_with([0], before + 1, relaxed);
    lock.atomic_exchange_with([0], 0, release);
}

#[test]
fn a_spin_lock_lets_one_program_in_at_a_time() {
    let counts = on_every_device(|device| {
        let mut lock = device.zeros::<i32, 1>([1]).unwrap();
        let mut total = device.zeros::<i32, 1>([1]).unwrap();
        count_under_lock(&mut lock, &mut total, Runtime(500))
            .launch(device)
            .unwrap();
        (lock.download().unwrap(), total.download().unwrap())
    });
    assert_eq!(counts, (vec![0], vec![500]));
}

/// Plain loads and stores between taking the lock and giving it back, in two trips.
#[kernel(grid = [programs])]
fn sum_under_lock(lock: &mut Tensor<i32, 1>, total: &mut Tensor<i32, 2>, programs: Count) {
    let acquire = AtomicOptions::new().order(MemoryOrder::Acquire);
    let release = AtomicOptions::new().order(MemoryOrder::Release);
    for trip in 0..total.extent(0) {
        while lock.atomic_compare_exchange_with([0], 0, 1, acquire) != 0 {}
        let cols = arange(total.extent(1));
        total.store([trip, cols], total.load([trip, cols]) + cols as i32 + 1);
        lock.atomic_exchange_with([0], 0, release);
    }
}

#[test]
fn plain_stores_under_a_lock_are_no_conflict() {
    const COLUMNS: usize = 131;
    let total = on_every_device(|device| {
        let mut lock = device.zeros::<i32, 1>([1]).unwrap();
        let mut total = device.zeros::<i32, 2>([2, COLUMNS]).unwrap();
        sum_under_lock(&mut lock, &mut total, Runtime(200))
            .launch(device)
            .unwrap();
        total.download().unwrap()
    });
    let row = (1..=COLUMNS as i32).map(|i| 200 * i);
    assert_eq!(total, row.clone().chain(row).collect::<Vec<_>>());
}

/// How a lock can fail to guard a store.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    Early,
    Late,
    LocksOfTheirOwn,
    TakenRelaxed,
    GivenBackRelaxed,
}

fn relaxed_if(relaxed: bool, otherwise: MemoryOrder) -> AtomicOptions {
    AtomicOptions::new().order(if relaxed { MemoryOrder::Relaxed } else { otherwise })
}

#[kernel(grid = [2])]
fn badly_locked(
    lock: &mut Tensor<i32, 1>,
    out: &mut Tensor<i32, 1>,
    #[comptime] early: bool,
    #[comptime] late: bool,
    #[comptime] own: bool,
    #[comptime] take_relaxed: bool,
    #[comptime] give_relaxed: bool,
) {
    let take = relaxed_if(take_relaxed, MemoryOrder::Acquire);
    let give = relaxed_if(give_relaxed, MemoryOrder::Release);
    let at = if own { program_id(0) } else { program_id(0) * 0 };
    if early {
        out.store([3], 1);
    }
    while lock.atomic_compare_exchange_with([at], 0, 1, take) != 0 {}
    if !early && !late {
        out.store([3], 1);
    }
    lock.atomic_exchange_with([at], 0, give);
    if late {
        out.store([3], 1);
    }
}

#[test]
fn the_cpu_device_reports_stores_that_a_lock_does_not_guard() {
    use Mistake::{Early, GivenBackRelaxed, Late, LocksOfTheirOwn, TakenRelaxed};
    for mistake in [Early, Late, LocksOfTheirOwn, TakenRelaxed, GivenBackRelaxed] {
        let device = Device::cpu();
        let mut lock = device.zeros::<i32, 1>([2]).unwrap();
        let mut out = device.zeros::<i32, 1>([4]).unwrap();
        let is = |other| mistake == other;
        let error = badly_locked(
            &mut lock,
            &mut out,
            is(Early),
            is(Late),
            is(LocksOfTheirOwn),
            is(TakenRelaxed),
            is(GivenBackRelaxed),
        )
        .launch(&device)
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("`out`[3] is written by program [0, 0, 0]") && error.contains("by program [1, 0, 0]"),
            "{mistake:?}: {error}"
        );
    }
}

/// Each program takes a number, and waits until it is its turn.
#[kernel(grid = [programs])]
fn take_turns(lock: &mut Tensor<u32, 1>, total: &mut Tensor<i32, 1>, order: &mut Tensor<i32, 1>, programs: Count) {
    let relaxed = AtomicOptions::new().order(MemoryOrder::Relaxed);
    let acquire = AtomicOptions::new().order(MemoryOrder::Acquire);
    let release = AtomicOptions::new().order(MemoryOrder::Release);
    let ticket = lock.atomic_add_with([0], 1, relaxed);
    while lock.atomic_or_with([1], 0, acquire) != ticket {}
    let before = total.atomic_or_with([0], 0, relaxed);
    total.atomic_exchange_with([0], before + 1, relaxed);
    lock.atomic_add_with([1], 1, release);
    order.store([program_id(0)], before - ticket as i32);
}

#[test]
fn a_ticket_lock_lets_programs_in_in_the_order_of_their_tickets() {
    let (lock, total, order) = on_every_device(|device| {
        let mut lock = device.zeros::<u32, 1>([2]).unwrap();
        let mut total = device.zeros::<i32, 1>([1]).unwrap();
        let mut order = device.upload(&[-1; 300], [300]).unwrap();
        take_turns(&mut lock, &mut total, &mut order, Runtime(300))
            .launch(device)
            .unwrap();
        (
            lock.download().unwrap(),
            total.download().unwrap(),
            order.download().unwrap(),
        )
    });
    assert_eq!((lock, total, order), (vec![300; 2], vec![300], vec![0; 300]));
}

#[kernel(grid = [src.extent(0)])]
fn sum_by_the_last(
    sum: &mut Tensor<i32, 1>,
    partial: &mut Tensor<i32, 2>,
    done: &mut Tensor<i32, 1>,
    src: &Tensor<i32, 2>,
) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    partial.store([row, cols], src.load([row, cols]) * 3);
    if done.atomic_add([0], 1) == num_programs(0) as i32 - 1 {
        let mut total = full([src.extent(1)], 0);
        for row in 0..num_programs(0) {
            total += partial.load([row, cols]);
        }
        sum.store([cols], total);
    }
}

#[test]
fn the_last_program_sees_what_all_others_stored() {
    const COLUMNS: usize = 131;
    let values: Vec<i32> = (0..64 * COLUMNS as i32).collect();
    let sum = on_every_device(|device| {
        let src = device.upload(&values, [64, COLUMNS]).unwrap();
        let mut sum = device.zeros::<i32, 1>([COLUMNS]).unwrap();
        for _ in 0..20 {
            let mut partial = device.zeros::<i32, 2>([64, COLUMNS]).unwrap();
            let mut done = device.zeros::<i32, 1>([1]).unwrap();
            sum = device.zeros::<i32, 1>([COLUMNS]).unwrap();
            sum_by_the_last(&mut sum, &mut partial, &mut done, &src)
                .launch(device)
                .unwrap();
        }
        sum.download().unwrap()
    });
    let column = |c: usize| (0..64).map(|row| values[row * COLUMNS + c] * 3).sum::<i32>();
    assert_eq!(sum, (0..COLUMNS).map(column).collect::<Vec<_>>());
}

#[kernel(grid = [1])]
fn exchange_rows(out: &mut Tensor<f32, 2>, bank: &mut Tensor<f32, 1>) {
    let i = arange(100);
    let old = bank.atomic_exchange([i], i as f32 + 0.5);
    // Every thread needs elements that another one has exchanged.
    out.store([i.expand_dims(1), arange(12)], old.expand_dims(1) + 1.0);
    let now = bank.load([i]);
    out.store([i.expand_dims(1), arange(1) + 12], now.expand_dims(1));
}

#[test]
fn the_old_values_of_a_tile_can_be_broadcast_and_memory_holds_the_new_ones() {
    let values: Vec<f32> = (0..100).map(|i| (i * 3) as f32).collect();
    let out = on_every_device(|device| {
        let mut bank = device.upload(&values, [100]).unwrap();
        let mut out = device.zeros::<f32, 2>([100, 13]).unwrap();
        exchange_rows(&mut out, &mut bank).launch(device).unwrap();
        out.download().unwrap()
    });
    for (i, row) in out.chunks(13).enumerate() {
        assert_eq!(row[..12], [values[i] + 1.0; 12]);
        assert_eq!(row[12], i as f32 + 0.5);
    }
}

/// Order number `order % 4` and scope number `order / 4`.
fn options(number: usize) -> AtomicOptions {
    use MemoryOrder::{Acquire, AcquireRelease, Relaxed, Release};
    let order = [Relaxed, Acquire, Release, AcquireRelease];
    let scope = [MemoryScope::Block, MemoryScope::Device, MemoryScope::System];
    AtomicOptions::new().order(order[number % 4]).scope(scope[number / 4])
}

#[kernel(grid = [4])]
fn ordered(out: &mut Tensor<i32, 2>, old: &mut Tensor<i32, 2>, #[comptime] number: usize) {
    let row = program_id(0);
    let options = options(number);
    let cols = arange(33);
    out.atomic_add_with([row, cols], 5, options);
    let before = out.atomic_max_with([row, cols], cols as i32, options);
    old.store([row, cols], before);
    let first = out.atomic_exchange_with([row, 0], 70, options);
    out.atomic_xor_with([row, 1], first, options);
}

#[test]
fn every_order_and_scope_gives_the_same_within_a_program() {
    for number in 0..12 {
        let (out, old) = on_every_device(|device| {
            let mut out = device.zeros::<i32, 2>([4, 33]).unwrap();
            let mut old = device.zeros::<i32, 2>([4, 33]).unwrap();
            ordered(&mut out, &mut old, number).launch(device).unwrap();
            (out.download().unwrap(), old.download().unwrap())
        });
        assert_eq!(old, [5; 4 * 33]);
        for row in out.chunks(33) {
            assert_eq!(row[..7], [70, 0, 5, 5, 5, 5, 6], "{number}");
            assert_eq!(row[32], 32);
        }
    }
}

#[kernel(grid = [8])]
fn mixed(out: &mut Tensor<i32, 1>, #[comptime] load: bool) {
    let program = program_id(0);
    if program == 3 {
        if load {
            out.store([5], out.load([2]));
        } else {
            out.store([2], 1);
        }
    } else {
        out.atomic_add([program % 3], 1);
    }
}

#[kernel(grid = [8])]
fn within_a_block(out: &mut Tensor<i32, 1>) {
    out.atomic_add_with([program_id(0) / 2], 1, AtomicOptions::new().scope(MemoryScope::Block));
}

#[test]
fn the_cpu_device_reports_an_atomic_operation_that_meets_another_access() {
    let device = Device::cpu();
    let mut out = device.zeros::<i32, 1>([8]).unwrap();
    for load in [false, true] {
        let error = mixed(&mut out, load).launch(&device).unwrap_err().to_string();
        for part in [
            "mixed",
            "[2, 0, 0]",
            "[3, 0, 0]",
            "changed atomically",
            "`out`[2]",
            "atomics.rs",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
    let error = within_a_block(&mut out).launch(&device).unwrap_err().to_string();
    assert!(error.contains("`out`[0] is written by program [0, 0, 0]"), "{error}");
}

#[kernel(grid = [1], bounds = "clamp")]
fn clamped(out: &mut Tensor<i32, 1>) {
    out.atomic_add([arange(10) - 3], 1);
}

#[kernel(grid = [1], bounds = "trap")]
fn trapping(out: &mut Tensor<i32, 1>) {
    out.atomic_add([arange(10) - 3], 1);
}

#[test]
fn an_index_out_of_bounds_follows_the_policy() {
    let counts = where_kernels_report(|device| {
        let mut out = device.zeros::<i32, 1>([4]).unwrap();
        clamped(&mut out).launch(device).unwrap();
        device.synchronize().unwrap();
        let clamped = out.download().unwrap();
        trapping(&mut out).launch(device).unwrap();
        let error = device.synchronize().unwrap_err().to_string();
        assert!(error.contains("trapping") && error.contains("`out`"), "{error}");
        (clamped, out.download().unwrap())
    });
    assert_eq!(counts, (vec![4, 1, 1, 4], vec![5, 2, 2, 5]));
}
