//! What is proved about the accesses of a kernel, and that checks go only where it is.

use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::analysis::divisibility::divisor;
use tilewright_dsl::analysis::effects::Effects;
use tilewright_dsl::call::{Definition, ParameterFacts, TensorFacts, TraceRequest};
use tilewright_dsl::class::Class;
use tilewright_dsl::ir::{Bindings, Kernel, Statement, Symbol};
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;
use tilewright_dsl::transform::{Proof, bind, canonical};

/// The kernel for tensors of these extents; `None` is a count or scalar.
fn trace(definition: &Definition, parameters: &[Option<&[u64]>]) -> Kernel {
    let parameters = parameters.iter().map(|extents| match extents {
        Some(extents) => ParameterFacts::Tensor(TensorFacts::contiguous(extents)),
        None => ParameterFacts::Value,
    });
    let request = TraceRequest {
        parameters: parameters.collect(),
    };
    let traced = definition.trace(&request).unwrap();
    let exact = traced.literal_extents(&request);
    bind(
        &traced.kernel,
        &Bindings {
            exact,
            device: Vec::new(),
        },
    )
}

/// The kernel for launches in which these symbols have these values, and what is known of its accesses there.
fn prove(kernel: Kernel, known: &[(Symbol, i64)]) -> (Kernel, Vec<Proof>) {
    let class = Class::new(kernel);
    let value = |symbol: Symbol| known.iter().find(|(s, _)| *s == symbol).map(|(_, value)| *value);
    let axis = |axis| value(Symbol::NumPrograms(axis)).map_or(1, |programs| programs as u64);
    let holding = match known {
        [] => ConditionBits::NONE,
        _ => class.conditions(&value, [axis(0), axis(1), axis(2)]),
    };
    class.proved(holding)
}

/// What is known of every access, without the places in the source.
fn proofs(kernel: Kernel, known: &[(Symbol, i64)]) -> Vec<String> {
    let (_, proofs) = prove(kernel, known);
    proofs
        .iter()
        .map(|proof| proof.to_string().split(" at ").next().unwrap_or_default().to_owned())
        .collect()
}

fn extent(tensor: u32, axis: u8) -> Symbol {
    Symbol::Extent { tensor, axis }
}

#[kernel(grid = [out.extent(0)])]
fn gather(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>, index: &Tensor<i32, 1>) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    out.store([row, cols], src.load([index.load([row]), cols]));
}

const GATHER: [Option<&[u64]>; 3] = [Some(&[4, 96]), Some(&[9, 96]), Some(&[4])];

#[test]
fn a_program_id_is_below_the_extent_that_the_grid_has() {
    let kernel = trace(&gather::definition(), &GATHER);
    assert_eq!(
        proofs(kernel, &[]),
        [
            "load index[guarded]",
            "load src[guarded, proved]",
            "store out[proved, proved]"
        ]
    );
}

#[test]
fn the_host_checks_what_only_this_launch_guarantees() {
    let known = [(extent(0, 0), 4), (extent(2, 0), 4), (Symbol::NumPrograms(0), 4)];
    let kernel = trace(&gather::definition(), &GATHER);
    assert_eq!(proofs(kernel.clone(), &known)[0], "load index[host-checked]");
    let short = [(extent(0, 0), 4), (extent(2, 0), 3), (Symbol::NumPrograms(0), 4)];
    assert_eq!(proofs(kernel, &short)[0], "load index[guarded]");
}

#[kernel(grid = [out.extent(0).min(n)])]
fn conditions(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, start: Count, n: Count) {
    let row = program_id(0);
    let local = row - start;
    if local >= 0 && local < src.extent(0) {
        out.store([row], src.load([local]));
        return;
    }
    if row + 1 >= src.extent(0) {
        return;
    }
    out.store([row], src.load([row + 1]));
}

#[test]
fn conditions_and_early_returns_bound_what_follows() {
    let kernel = trace(&conditions::definition(), &[Some(&[4]), Some(&[9]), None, None]);
    let expected = [
        "load src[proved]",
        "store out[proved]",
        "load src[proved]",
        "store out[proved]",
    ];
    assert_eq!(proofs(kernel, &[]), expected);
}

#[kernel(grid = [1])]
fn loops(out: &mut Tensor<i64, 1>, src: &Tensor<i64, 1>, n: Count) {
    for i in 0..src.extent(0) {
        out.store([i], src.load([i]));
    }
    for i in (1..src.extent(0)).rev().step_by(2) {
        out.store([i], src.load([i - 1]));
    }
    let mut at = 0;
    while at < src.extent(0) {
        out.store([at], src.load([at]));
        at += n;
    }
}

#[test]
fn loop_variables_are_between_their_bounds_and_assigned_ones_are_not() {
    let kernel = trace(&loops::definition(), &[Some(&[8]), Some(&[8]), None]);
    let found = proofs(kernel, &[]);
    assert_eq!(found[0], "load src[proved]");
    assert_eq!(found[2], "load src[proved]");
    // `at` may have wrapped below zero: only its upper bound is known.
    assert_eq!(found[4], "load src[guarded]");
}

#[kernel(grid = [1])]
fn made_before_they_are_tested(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, start: Count, first: Count) {
    let at = start - 3;
    let (from, before) = (at + first, 4 - at);
    if at >= 0 && from < src.extent(0) {
        out.store([0], src.load([from]));
    }
    if at <= 4 && before < src.extent(0) {
        out.store([1], src.load([before]));
    }
    // What was tested there is not known here.
    if from < src.extent(0) && before < src.extent(0) {
        out.store([2], src.load([from]) + src.load([before]));
    }
}

#[test]
fn what_is_tested_bounds_what_was_made_of_it_before() {
    let kernel = trace(
        &made_before_they_are_tested::definition(),
        &[Some(&[3]), Some(&[9]), None, None],
    );
    let found = proofs(kernel, &[]);
    let loads: Vec<_> = found.iter().filter(|proof| proof.starts_with("load src")).collect();
    let [proved, guarded] = ["load src[proved]", "load src[guarded]"];
    assert_eq!(loads, [proved, proved, guarded, guarded]);
}

#[kernel(grid = [cdiv(out.extent(0), 64)])]
fn blocks(out: &mut Tensor<u8, 1>, src: &Tensor<u8, 1>) {
    let i = program_id(0) * 64 + arange(64);
    out.store([i], src.load([i]));
}

#[test]
fn whole_blocks_are_proved_where_the_extent_is_a_multiple() {
    let kernel = trace(&blocks::definition(), &[Some(&[640]), Some(&[640])]);
    let whole = [(extent(0, 0), 640), (extent(1, 0), 640), (Symbol::NumPrograms(0), 10)];
    assert_eq!(
        proofs(kernel.clone(), &whole),
        ["load src[host-checked]", "store out[host-checked]"]
    );
    let ragged = [(extent(0, 0), 630), (extent(1, 0), 640), (Symbol::NumPrograms(0), 10)];
    assert_eq!(
        proofs(kernel, &ragged),
        ["load src[host-checked]", "store out[guarded]"]
    );
}

#[kernel(grid = [1])]
fn wrapping(out: &mut Tensor<u8, 1>, x: i32) {
    let small = x % 10;
    out.store([small + 100], 1u8);
    out.store([(small + 2147483640).max(0)], 2u8);
    out.store([(x & 63) + 1], 3u8);
}

#[test]
fn arithmetic_that_may_wrap_proves_nothing() {
    let kernel = trace(&wrapping::definition(), &[Some(&[200]), None]);
    let known = [(extent(0, 0), 200)];
    assert_eq!(
        proofs(kernel, &known),
        [
            "store out[host-checked]",
            "store out[guarded]",
            "store out[host-checked]"
        ]
    );
}

#[kernel(grid = [rows])]
fn counted(out: &mut Tensor<f32, 2>, rows: Count) {
    out.store([program_id(0), arange(out.extent(1))], 1.0);
}

#[test]
fn counts_that_change_nothing_in_the_code_leave_no_trace_in_it() {
    let text = |rows: i64, exact: bool| {
        let definition = counted::definition();
        let parameters = vec![
            ParameterFacts::Tensor(TensorFacts::contiguous(&[100, 64])),
            ParameterFacts::Value,
        ];
        let request = TraceRequest { parameters };
        let traced = definition.trace(&request).unwrap();
        let mut bindings = Bindings {
            exact: traced.literal_extents(&request),
            device: Vec::new(),
        };
        if exact {
            bindings.exact.push((Symbol::Count(1), rows));
        }
        let known = [
            (extent(0, 0), 100),
            (Symbol::Count(1), rows),
            (Symbol::NumPrograms(0), rows),
        ];
        canonical(prove(bind(&traced.kernel, &bindings), &known).0).to_string()
    };
    assert_eq!(text(20, true), text(24, true));
    assert_eq!(text(20, true), text(31, false));
    // Beyond the tensor's rows a check is needed, and that is other code.
    assert_ne!(text(20, true), text(101, true));
}

#[kernel(grid = [out.extent(0)])]
fn pad(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>, rows: Count) {
    let row = program_id(0);
    let cols = arange(out.extent(1));
    if row < rows {
        out.store([row, cols], src.load([row, cols]));
    } else {
        out.store([row, cols], 0.0);
    }
}

#[test]
fn a_comparison_that_a_count_decides_is_folded() {
    let text = |rows: i64, exact: bool| {
        let tensor = |rows| ParameterFacts::Tensor(TensorFacts::contiguous(&[rows, 64]));
        let request = TraceRequest {
            parameters: vec![tensor(24), tensor(100), ParameterFacts::Value],
        };
        let traced = pad::definition().trace(&request).unwrap();
        let mut bindings = Bindings {
            exact: traced.literal_extents(&request),
            device: Vec::new(),
        };
        if exact {
            bindings.exact.push((Symbol::Count(2), rows));
        }
        let known = [
            (extent(0, 0), 24),
            (extent(1, 0), 100),
            (Symbol::Count(2), rows),
            (Symbol::NumPrograms(0), 24),
        ];
        canonical(prove(bind(&traced.kernel, &bindings), &known).0).to_string()
    };
    // Every row is real: a plain copy, whatever the count. None is: nothing is loaded.
    assert!(!text(24, true).contains("if "), "{}", text(24, true));
    assert_eq!(text(24, true), text(25, true));
    assert!(!text(0, true).contains("load"), "{}", text(0, true));
    assert!(text(20, true).contains("if "));
    // So is one of a count that is an argument: where every row is real, it shares the code of the plain copy.
    assert_eq!(text(24, false), text(24, true));
    assert_eq!(text(0, false), text(0, true));
    assert_eq!(text(20, false), text(23, false));
    assert!(text(20, false).contains("if "));
}

#[test]
fn a_device_resident_count_ends_surplus_programs() {
    let request = TraceRequest {
        parameters: vec![
            ParameterFacts::Tensor(TensorFacts::contiguous(&[100, 64])),
            ParameterFacts::Value,
        ],
    };
    let traced = counted::definition().trace(&request).unwrap();
    let bindings = Bindings {
        exact: traced.literal_extents(&request),
        device: vec![(1, ElementType::I32)],
    };
    let kernel = canonical(
        prove(
            bind(&traced.kernel, &bindings),
            &[(extent(0, 0), 100), (Symbol::NumPrograms(0), 200)],
        )
        .0,
    );
    let text = kernel.to_string();
    assert!(text.contains("return"), "{text}");
    assert!(text.contains("guard"), "a device count may exceed the tensor:\n{text}");
}

#[allow(unsafe_code)]
#[kernel(grid = [1])]
fn unchecked(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, at: i64) {
    // SAFETY: the caller's duty, as far as this test goes.
    let value = unsafe { src.load_unchecked([at]) };
    out.store([0], value);
}

#[test]
fn an_unchecked_access_is_listed_as_the_authors() {
    let kernel = trace(&unchecked::definition(), &[Some(&[4]), Some(&[4]), None]);
    assert_eq!(
        proofs(kernel, &[(extent(0, 0), 4)]),
        ["load src[unchecked]", "store out[host-checked]"]
    );
}

#[kernel(grid = [1])]
fn bounded_by_operators(out: &mut Tensor<i64, 1>, word: &Tensor<u64, 1>, any: &Tensor<i64, 1>) {
    let (w, x) = (word.load([0usize]), any.load([0usize]));
    // The numbers of bits are 0 to 64, and the high half of a product with n is below n.
    out.store([w.count_ones()], 1);
    out.store([w.leading_zeros()], 2);
    out.store([x.trailing_zeros()], 3);
    out.store([(w >> 1).mul_high(130u64)], 4);
    out.store([x.clamp(0, 64)], 5);
    out.store([x.max(0).min(64)], 6);
    out.store([x.maximum(-64).minimum(64).abs()], 7);
    // These are not.
    out.store([x.abs()], 8);
    out.store([x.mul_high(x)], 9);
    out.store([w.mul_high(66u64)], 10);
    out.store([w.bitcast::<i64>()], 11);
}

#[test]
fn counts_of_bits_high_products_and_limits_bound_an_index() {
    let kernel = trace(
        &bounded_by_operators::definition(),
        &[Some(&[65]), Some(&[1]), Some(&[1])],
    );
    let known = [(extent(0, 0), 65), (extent(1, 0), 1), (extent(2, 0), 1)];
    let mut expected = vec!["load word[host-checked]", "load any[host-checked]"];
    expected.extend(["store out[host-checked]"; 7]);
    expected.extend(["store out[guarded]"; 4]);
    assert_eq!(proofs(kernel, &known), expected);
}

#[kernel(grid = [1])]
fn folded(out: &mut Tensor<f32, 1>) {
    let i = arange(1);
    let half = full([1], 0.5f32);
    out.store([i], half.exp().ln().sqrt());
    out.store([i + 1], half.mul_add(2.0, -0.25).max(f32::NAN));
    out.store(
        [i + 2],
        half.bitcast::<u32>()
            .count_ones()
            .cast::<float8::F8E4M3>()
            .cast::<f32>(),
    );
    // The smaller of a NaN and itself is the canonical NaN, not that one.
    let nan = full([1], f32::from_bits(0xffc0_1234));
    out.store([i + 3], nan.min(nan));
    out.store([i + 4], nan.clamp(0.0, 1.0));
}

#[test]
fn operations_on_constants_are_folded_to_what_the_devices_compute() {
    let text = trace(&folded::definition(), &[Some(&[5])]).to_string();
    for word in ["exp", "fma", "popcount", "cast", "min"] {
        assert!(!text.contains(&format!(" {word} ")), "{text}");
    }
    assert!(
        text.contains("f32(0x7fffffff)") && !text.contains("f32(0xffc01234)"),
        "{text}"
    );
}

#[kernel(grid = [1])]
fn empty_loop(out: &mut Tensor<i64, 1>, n: Count, most: i64) {
    for i in 5..most.min(1) {
        out.store([n / i], n % i);
    }
}

#[test]
fn a_quotient_in_a_loop_that_has_no_trips_is_no_trouble() {
    let kernel = trace(&empty_loop::definition(), &[Some(&[4]), None, None]);
    assert_eq!(proofs(kernel, &[(extent(0, 0), 4)]), ["store out[guarded]"]);
}

#[kernel(grid = [1])]
fn shifted(out: &mut Tensor<i64, 1>, n: i32, by: i8) {
    out.store([(n & 4095) >> 40], 1);
    out.store([(by << 9) as i64], 2);
}

#[test]
fn a_shift_is_by_the_amount_modulo_the_width_in_proofs_too() {
    let kernel = trace(&shifted::definition(), &[Some(&[1]), None, None]);
    let mut divisors = Vec::new();
    kernel.body.walk(&mut |statement, _| {
        if let Statement::Store { access, .. } = statement {
            divisors.push(divisor(&kernel, access.indices[0]));
        }
    });
    assert_eq!(divisors, [1, 2]);
    // 4095 >> 8 is 15, and only 0 is inside.
    assert_eq!(
        proofs(kernel, &[(extent(0, 0), 1)]),
        ["store out[guarded]", "store out[guarded]"]
    );
}

#[kernel(grid = [1])]
fn tested_too_late(out: &mut Tensor<i64, 1>, any: &Tensor<i64, 1>) {
    let mut at = any.load([0]);
    let before = at;
    at = any.load([1]);
    if before >= 0i64 && before < 8i64 {
        out.store([at], at);
    }
}

#[test]
fn a_test_of_what_a_variable_held_says_nothing_of_what_it_holds_now() {
    let kernel = trace(&tested_too_late::definition(), &[Some(&[8]), Some(&[2])]);
    let found = proofs(kernel, &[(extent(0, 0), 8)]);
    assert_eq!(found.last().map(String::as_str), Some("store out[guarded]"));
}

#[allow(unsafe_code)]
#[kernel(grid = [1])]
fn multiples(out: &mut Tensor<i64, 1>, any: &Tensor<i64, 1>) {
    // SAFETY: it is never launched.
    let at = unsafe { any.load([arange(4)]).multiple_of(8) };
    out.store([at], at);
}

#[test]
fn what_is_claimed_of_a_tile_is_relied_on_in_a_checked_build_too_which_ends_where_it_does_not_hold() {
    let mut kernel = trace(&multiples::definition(), &[Some(&[64]), Some(&[4])]);
    let divisor = |kernel: &Kernel| {
        let mut found = None;
        kernel.body.walk(&mut |statement, _| {
            if let Statement::Store { access, .. } = statement {
                found = Some(divisor(kernel, access.indices[0]));
            }
        });
        found
    };
    let is_tested = |kernel: &Kernel| Effects::of(kernel).checks_tiles;
    assert_eq!((divisor(&kernel), is_tested(&kernel)), (Some(8), false));
    kernel.checked = true;
    assert_eq!((divisor(&kernel), is_tested(&kernel)), (Some(8), true));
}
