//! Loops whose steps and bounds are at the ends of their types: as many trips as the same loop of Rust has.

// One of them has none.
#![allow(clippy::reversed_empty_ranges)]

use tilewright_dsl::call::{ParameterFacts, TensorFacts, TraceRequest};
use tilewright_dsl::interpret::{self, HostArgument, HostMemory, Options};
use tilewright_dsl::ir::Literal;
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

/// The number of trips, and the sum of the values, of a recorded loop and of Rust's.
macro_rules! same_loops {
    ($($test:ident: $ty:ident, $($rev:ident)?;)*) => {$(
        #[test]
        fn $test() {
            #[kernel(grid = [1])]
            fn counted<const STEP: usize>(out: &mut Tensor<i64, 1>, from: $ty, to: $ty) {
                let mut trips = 0i64;
                let mut sum = 0i64;
                for i in (from..to)$(.$rev())?.step_by(STEP) {
                    trips += 1;
                    sum += i.cast::<i64>();
                }
                out.store([0], trips);
                out.store([1], sum);
            }

            fn check<const STEP: usize>(from: $ty, to: $ty) {
                let rust = (from..to)$(.$rev())?.step_by(STEP).take(10);
                let (trips, sum) = rust.fold((0i64, 0i64), |(n, sum), i| (n + 1, sum.wrapping_add(i as i64)));
                if trips == 10 {
                    return;
                }
                let out = ParameterFacts::Tensor(TensorFacts::contiguous(&[2]));
                let parameters = vec![out, ParameterFacts::Value, ParameterFacts::Value];
                let traced = counted::<STEP>::definition().trace(&TraceRequest { parameters });
                let kernel = traced.unwrap().kernel;
                let memory = HostMemory::from_bytes(&[0; 16]).unwrap();
                let arguments = [
                    HostArgument::contiguous(&memory, &[2]),
                    HostArgument::Scalar(Literal::new(from)),
                    HostArgument::Scalar(Literal::new(to)),
                ];
                interpret::run(&kernel, &arguments, &Options::default()).unwrap();
                let found = [0, 8].map(|at| memory.get(at, 8).unwrap() as i64);
                assert_eq!(found, [trips, sum], "{from}..{to} by {STEP}");
            }

            const MIN: $ty = $ty::MIN;
            const MAX: $ty = $ty::MAX;
            for (from, to) in [(MIN, MAX), (0, MAX), (MIN, 0), (1, MAX), (0, 1), (MAX - 1, MAX), (MIN, MIN + 1), (3, 3), (MAX, MIN), (5, 2), (100, 101)] {
                check::<{ 1 << 63 }>(from, to);
                check::<{ (1 << 63) + 1 }>(from, to);
                check::<{ (1 << 63) - 1 }>(from, to);
                check::<{ usize::MAX }>(from, to);
                check::<{ usize::MAX - 1 }>(from, to);
                check::<{ $ty::MAX as usize }>(from, to);
                check::<{ $ty::MAX as usize / 2 + 1 }>(from, to);
                check::<1>(from, to);
                check::<7>(from, to);
            }
        }
    )*};
}

same_loops! {
    forwards_in_i8: i8, ;
    forwards_in_i16: i16, ;
    forwards_in_i32: i32, ;
    forwards_in_i64: i64, ;
    forwards_in_u8: u8, ;
    forwards_in_u16: u16, ;
    forwards_in_u32: u32, ;
    forwards_in_u64: u64, ;
    backwards_in_i8: i8, rev;
    backwards_in_i16: i16, rev;
    backwards_in_i32: i32, rev;
    backwards_in_i64: i64, rev;
    backwards_in_u8: u8, rev;
    backwards_in_u16: u16, rev;
    backwards_in_u32: u32, rev;
    backwards_in_u64: u64, rev;
}

/// Stores the values that a loop between constants has, in order.
macro_rules! constants {
    ($($test:ident: [$($range:tt)*];)*) => {$(
        #[test]
        fn $test() {
            #[kernel(grid = [1])]
            fn values(out: &mut Tensor<i64, 1>) {
                let mut at = 0i64;
                for i in $($range)* {
                    out.store([at], i as i64);
                    at += 1;
                }
            }
            let parameters = vec![ParameterFacts::Tensor(TensorFacts::contiguous(&[16]))];
            let kernel = values::definition().trace(&TraceRequest { parameters }).unwrap().kernel;
            let memory = HostMemory::from_bytes(&[0x5a; 128]).unwrap();
            interpret::run(&kernel, &[HostArgument::contiguous(&memory, &[16])], &Options::default()).unwrap();
            let found = (0..16).map(|at| memory.get(at * 8, 8).unwrap() as i64).take_while(|value| *value != i64::from_ne_bytes([0x5a; 8]));
            let expected = ($($range)*).map(|value| value as i64);
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    )*};
}

constants! {
    unrolled_in_steps: [(1usize..12).step_by(3)];
    unrolled_in_steps_from_the_end: [(1usize..12).step_by(4).rev()];
    unrolled_from_the_end_in_steps: [(1usize..12).rev().step_by(4)];
    unrolled_from_the_end_in_steps_and_back: [(1usize..12).rev().step_by(4).rev()];
    unrolled_twice_from_the_end: [(1usize..12).rev().rev()];
    unrolled_in_one_huge_step: [(3usize..12).step_by(1 << 63)];
    unrolled_in_one_huge_step_from_the_end: [(3usize..12).rev().step_by(usize::MAX)];
    unrolled_in_steps_of_steps: [(0usize..40).step_by(3).step_by(5)];
    unrolled_without_trips: [(7usize..7).rev().step_by(2)];
    recorded_of_negative_literals: [(-5i64..-2)];
    recorded_of_a_typed_start: [(0u8..3)];
    recorded_of_a_typed_end: [(2..9i32).rev().step_by(3)];
    recorded_of_two_typed_ends: [(250u8..255u8)];
    recorded_without_trips: [(3i16..3)];
}
