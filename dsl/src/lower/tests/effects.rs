//! What is done for its effect.

use super::run::{Argument, bind, check, lowered_and_run, schedule};
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{
    Atomic, AtomicOp, AtomicUpdate, BinaryOp, Bounds, CheckKind, CompareOp, Conflict, Expression, Meaning, MemoryOrder,
    MemoryScope, Ptx, Statement, Symbol,
};
use crate::lower::TrapFault;
use crate::schedule::Schedule;

const I64: ElementType = ElementType::I64;

fn zeros(element: ElementType, extents: &[u64]) -> Argument {
    Argument::tensor(element, extents, 0, |_| 0)
}

#[test]
fn an_index_that_is_out_of_bounds_is_reported_once_for_each_element() {
    for (extent, threads) in [(64, 32), (61, 32), (8, 32)] {
        let mut b = Builder::new("trapping");
        let out = b.tensor("out", ElementType::BF16, 1);
        let src = b.tensor("src", ElementType::BF16, 1);
        b.tensor_mut(src).mutable = false;
        b.bounds = Bounds::Trap;
        let (cols, one) = (b.arange(64), b.index(1));
        let at = b.add(cols, one);
        let value = b.load(src, &[at]);
        b.bounds = Bounds::default();
        b.store(out, &[cols], value);
        let mut kernel = b.launch(1);
        let arguments = [
            zeros(ElementType::BF16, &[64]),
            Argument::tensor(ElementType::BF16, &[extent], 0, |at| at + 7),
        ];
        bind(&mut kernel, &arguments, false);
        let (lowered, outcome, memory) = lowered_and_run(&kernel, &schedule(threads, 2), &arguments, [1, 1, 1]);
        let mut reported: Vec<i64> = outcome.reports.iter().map(|report| report.value).collect();
        reported.sort_unstable();
        let outside: Vec<i64> = (1..65).filter(|at| *at as u64 >= extent).collect();
        assert_eq!(reported, outside, "{}", lowered.kernel);
        let fault = TrapFault::OutOfBounds { tensor: src, axis: 0 };
        assert!(lowered.sites.iter().all(|site| site.fault == fault));
        // What is not there is zero.
        let row: Vec<u16> = memory[0]
            .chunks(2)
            .map(|two| u16::from_le_bytes([two[0], two[1]]))
            .collect();
        let there = |at: u64| if at + 1 < extent { at as u16 + 8 } else { 0 };
        assert_eq!(row, (0..64).map(there).collect::<Vec<u16>>(), "{}", lowered.kernel);
    }
}

#[test]
fn an_index_of_rows_that_begin_anywhere_is_reported_though_how_they_begin_is_found_out_by_it() {
    for (computed, threads) in [false, true].into_iter().flat_map(|c| [16, 32, 64].map(|t| (c, t))) {
        // As many ends as there are threads, so that whoever stores packets has an end too.
        let rows = threads / 8;
        let mut b = Builder::new("trapping");
        let out = b.tensor("out", ElementType::F32, 2);
        let src = b.tensor("src", ElementType::F32, 2);
        let index = b.tensor("index", ElementType::I32, 1);
        b.tensor_mut(src).mutable = false;
        b.tensor_mut(index).mutable = false;
        let (row, cols) = (b.arange(rows), b.arange(7));
        b.bounds = Bounds::Trap;
        let named = b.load(index, &[row]);
        b.bounds = Bounds::default();
        let [row, named] = [row, named].map(|tile| b.reshape(tile, &[rows, 1]));
        let cols = b.reshape(cols, &[1, 7]);
        let mut value = b.load(src, &[row, cols]);
        if computed {
            value = b.add(value, value);
        }
        b.conflict = Some(Conflict::Disjoint);
        b.store(out, &[named, cols], value);
        let mut kernel = b.launch(1);
        let there = u64::from(rows) - 1;
        let arguments = [
            zeros(ElementType::F32, &[there + 4, 7]),
            Argument::tensor(ElementType::F32, &[there + 1, 7], 0, |at| at),
            Argument::tensor(ElementType::I32, &[there], 0, |at| at + 1),
        ];
        bind(&mut kernel, &arguments, true);
        let (lowered, outcome, _) = lowered_and_run(&kernel, &schedule(threads, 1), &arguments, [1, 1, 1]);
        let mut reported: Vec<i64> = outcome.reports.iter().map(|report| report.value).collect();
        reported.dedup();
        assert_eq!(reported, [there as i64], "{threads} threads, {}", lowered.kernel);
    }
}

#[test]
fn a_check_reports_and_ends_the_program_that_it_fails_in() {
    let mut b = Builder::new("checking");
    let out = b.tensor("out", I64, 2);
    let (program, two) = (b.program(0), b.index(2));
    let condition = b.compare(CompareOp::NotEqual, program, two);
    b.push(Statement::Check {
        condition,
        kind: CheckKind::Assert,
        message: "not the third".to_owned(),
    });
    // The last elements are too large, as many as the number of the program.
    let (cols, limit) = (b.arange(40), b.index(40));
    let (last, limit) = (b.add(cols, program), b.stretch(limit, b.shape(cols)));
    let condition = b.compare(CompareOp::Less, last, limit);
    b.push(Statement::Check {
        condition,
        kind: CheckKind::Assert,
        message: "short".to_owned(),
    });
    b.store(out, &[program, cols], cols);
    let mut kernel = b.launch(4);
    let arguments = [zeros(I64, &[4, 40])];
    bind(&mut kernel, &arguments, false);
    // Of threads that have fewer elements and more, in a block for itself and in one that programs share.
    for (threads, side_by_side) in [(64, 1), (32, 1), (32, 4), (8, 4)] {
        let schedule = Schedule {
            programs_per_block: side_by_side,
            ..schedule(threads, 1)
        };
        let (lowered, outcome, memory) = lowered_and_run(&kernel, &schedule, &arguments, [4, 1, 1]);
        let mut reports: Vec<_> = outcome
            .reports
            .iter()
            .map(|report| (report.site, report.program, report.value))
            .collect();
        reports.sort_unstable();
        let expected = [(0, 2, 0), (1, 1, 39), (1, 3, 37), (1, 3, 38), (1, 3, 39)];
        assert_eq!(reports, expected, "{}", lowered.kernel);
        // Not one thread of a program that ended has stored.
        let words: Vec<u8> = memory[0].iter().copied().step_by(8).collect();
        let all = (0..40).chain([0; 80 + 40]).collect::<Vec<u8>>();
        assert_eq!(words, all, "{}", lowered.kernel);
    }
}

#[test]
fn a_line_is_printed_once_for_each_program() {
    let mut b = Builder::new("printing");
    let (program, half) = (b.program(0), b.literal(half::bf16::from_f32(0.5)));
    b.push(Statement::Print {
        format: "{} of {}".to_owned(),
        values: vec![program, half],
    });
    let kernel = b.launch(3);
    let (_, outcome, _) = lowered_and_run(&kernel, &schedule(64, 1), &[], [3, 1, 1]);
    assert_eq!(outcome.lines, ["0 of 0.5", "1 of 0.5", "2 of 0.5"]);
}

#[test]
fn instructions_of_an_author_are_done_in_every_lane() {
    let mut b = Builder::new("instructed");
    let out = b.tensor("out", ElementType::I32, 1);
    let cols = b.arange(37);
    let value = b.cast(cols, ElementType::I32);
    let twice = b.emit(Expression::Ptx(Box::new(Ptx {
        text: "shl.b32 %0, %1, 1;".to_owned(),
        outputs: vec![ElementType::I32],
        inputs: vec![value],
        output: 0,
        meaning: Some(Meaning::new(|inputs: &[u64], outputs: &mut [u64]| {
            outputs[0] = inputs[0] << 1
        })),
    })));
    b.store(out, &[cols], twice);
    let mut kernel = b.launch(1);
    let arguments = [zeros(ElementType::I32, &[37])];
    bind(&mut kernel, &arguments, false);
    check(&kernel, &schedule(8, 2), &arguments);
}

#[test]
fn a_prefetch_asks_for_every_line_once_and_changes_nothing() {
    let mut b = Builder::new("fetching");
    let out = b.tensor("out", ElementType::BF16, 2);
    let src = b.tensor("src", ElementType::BF16, 2);
    b.tensor_mut(src).mutable = false;
    let (row, cols) = (b.program(0), b.arange(200));
    let access = b.access(src, &[row, cols]);
    b.push(Statement::Prefetch(access));
    let value = b.load(src, &[row, cols]);
    b.store(out, &[row, cols], value);
    let mut kernel = b.launch(2);
    let arguments = [
        zeros(ElementType::BF16, &[2, 200]),
        Argument::tensor(ElementType::BF16, &[2, 200], 0, |at| at),
    ];
    bind(&mut kernel, &arguments, true);
    let lowered = check(&kernel, &schedule(32, 1), &arguments);
    let text = lowered.kernel.to_string();
    assert!(text.contains("prefetch src[128 * thread"), "{text}");
}

/// `counter[i % 4] op= value[i]`, one element or a tile of them.
fn atomics(element: ElementType, update: impl Fn(Value) -> AtomicUpdate, scalar: bool) {
    let mut b = Builder::new("counting");
    let counter = b.tensor("counter", element, 1);
    let src = b.tensor("src", element, 1);
    b.tensor_mut(src).mutable = false;
    let (cols, four, program) = (b.arange(40), b.index(4), b.program(0));
    let (at, from) = match scalar {
        true => (program, program),
        false => (b.binary(BinaryOp::Remainder, cols, four), cols),
    };
    let value = b.load(src, &[from]);
    let access = b.access(counter, &[at]);
    b.emit(Expression::Atomic(Atomic {
        access,
        update: update(value),
        order: MemoryOrder::Relaxed,
        scope: MemoryScope::Device,
    }));
    let mut kernel = b.launch(3);
    // Small numbers, whose sums are exact in any order; a NaN among floats.
    let bits = |at: u64| match element {
        ElementType::F32 if at == 7 => u64::from(f32::NAN.to_bits()),
        ElementType::F64 if at == 7 => 0x7ff8_0000_0000_0123,
        ElementType::F32 => u64::from((at as f32 - 9.0).to_bits()),
        ElementType::F64 => (at as f64 - 9.0).to_bits(),
        ElementType::F16 => u64::from(half::f16::from_f32(at as f32 - 9.0).to_bits()),
        ElementType::BF16 => u64::from(half::bf16::from_f32((at % 8) as f32).to_bits()),
        _ => at * 5 % 17,
    };
    let arguments = [
        Argument::tensor(element, &[4], 0, |at| bits(at + 1)),
        Argument::tensor(element, &[40], 0, bits),
    ];
    bind(&mut kernel, &arguments, false);
    check(&kernel, &schedule(32, 1), &arguments);
}

#[test]
fn every_atomic_operation_whose_value_nothing_uses_is_carried() {
    let ops = [
        AtomicOp::Add,
        AtomicOp::Min,
        AtomicOp::Max,
        AtomicOp::And,
        AtomicOp::Or,
        AtomicOp::Xor,
    ];
    for element in ElementType::ALL {
        for op in ops.into_iter().filter(|op| op.accepts(element)) {
            for scalar in [false, true] {
                atomics(element, |value| AtomicUpdate::Combine { op, value }, scalar);
            }
        }
    }
    atomics(
        I64,
        |value| AtomicUpdate::CompareExchange {
            current: value,
            new: value,
        },
        true,
    );
}

#[test]
fn one_tensor_of_a_list_is_found_in_its_table() {
    let mut b = Builder::new("listed");
    let out = b.tensor("out", ElementType::BF16, 2);
    let list = b.list("list", ElementType::BF16, 1);
    b.tensor_mut(list).mutable = false;
    let (program, cols) = (b.program(0), b.arange(72));
    let value = b.load(list, &[program, cols]);
    b.store(out, &[program, cols], value);
    let rows = b.of_member(Symbol::Extent { tensor: list, axis: 1 }, list, program);
    let sums = b.tensor("sums", I64, 1);
    b.store(sums, &[program], rows);
    let mut kernel = b.launch(5);
    let tensors = [72u64, 8, 0, 100]
        .map(|extent| Argument::tensor(ElementType::BF16, &[extent], 2 * (extent % 3), |at| at * 3 + extent));
    let arguments = [
        zeros(ElementType::BF16, &[5, 72]),
        Argument::List(tensors.to_vec()),
        zeros(I64, &[5]),
    ];
    bind(&mut kernel, &arguments, false);
    check(&kernel, &schedule(32, 2), &arguments);
}
