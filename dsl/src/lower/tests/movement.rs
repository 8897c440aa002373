//! Rows that are moved by an index.

use super::run::{Argument, bind, check, schedule};
use crate::element::ElementType;
use crate::ir::Kernel;
use crate::ir::verify::build::Builder;
use crate::lower::{Form, Lowered};
use crate::schedule::{LoadHint, Schedule};

/// out[i] = src[index[i]], or out[index[i]] = src[i].
fn moves(element: ElementType, columns: u32, scatters: bool) -> Kernel {
    let mut b = Builder::new(if scatters { "scatter_rows" } else { "gather_rows" });
    let out = b.tensor("out", element, 2);
    let src = b.tensor("src", element, 2);
    let index = b.tensor("index", ElementType::I32, 1);
    b.tensor_mut(src).mutable = false;
    b.tensor_mut(index).mutable = false;
    let row = b.program(0);
    let named = b.load(index, &[row]);
    let cols = b.arange(columns);
    let (to, from) = if scatters { (named, row) } else { (row, named) };
    let value = b.load(src, &[from, cols]);
    b.store(out, &[to, cols], value);
    let grid = b.extent(index, 0);
    let mut kernel = b.finish(&[grid]);
    // What the range analysis proves of the columns and the program.
    prove(&mut kernel, scatters);
    kernel
}

fn prove(kernel: &mut Kernel, scatters: bool) {
    use crate::ir::{Expression, Guard, Statement};
    let row = if scatters { 0 } else { 1 };
    let unguarded = |access: &mut crate::ir::Access, keeps: bool| {
        for (axis, guard) in access.guards.iter_mut().enumerate() {
            if !(keeps && axis == 0) {
                *guard = Guard::NONE;
            }
        }
    };
    let loads: Vec<_> = kernel.expressions.iter().map(|(handle, _)| handle).collect();
    for handle in loads {
        if let Expression::Load(access) = &mut kernel.expressions[handle] {
            unguarded(access, row == 1 && access.tensor == 1);
        }
    }
    for (statement, _) in kernel.body.iter_mut() {
        if let Statement::Store { access, .. } = statement {
            unguarded(access, row == 0);
        }
    }
}

fn arguments(element: ElementType, columns: u64, offsets: [u64; 2]) -> Vec<Argument> {
    // Distinct, with rows that there are not.
    let rows = [3i32, -1, 0, 4, i32::MAX, 1];
    let limit = if element == ElementType::Bool { 2 } else { u64::MAX };
    let bits = move |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) % limit;
    vec![
        Argument::tensor(element, &[6, columns], offsets[0], |at| (at % 2) & limit),
        Argument::tensor(element, &[6, columns], offsets[1], bits),
        Argument::tensor(ElementType::I32, &[6], 0, |at| u64::from(rows[at as usize] as u32)),
    ]
}

pub(super) fn moved(element: ElementType, columns: u64, scatters: bool, offsets: [u64; 2], by: &Schedule) -> Lowered {
    let arguments = arguments(element, columns, offsets);
    let mut kernel = moves(element, columns as u32, scatters);
    bind(&mut kernel, &arguments, true);
    check(&kernel, by, &arguments)
}

#[test]
fn rows_of_7168_are_moved_in_packets_of_16_bytes() {
    for scatters in [false, true] {
        let lowered = moved(ElementType::BF16, 7168, scatters, [0, 0], &schedule(256, 4));
        let forms: Vec<_> = lowered.distributions.iter().map(|(_, spread)| spread.form).collect();
        assert_eq!(forms, [Form::Packets { lanes: 8, packets: 896 }]);
        assert_eq!(lowered.narrow, []);
    }
}

#[test]
fn the_texts_of_the_movement_kernels_are_those_that_are_kept() {
    for (scatters, columns, name) in [
        (false, 7168, "gather_rows"),
        (false, 7167, "gather_rows_7167"),
        (true, 7168, "scatter_rows"),
        (true, 7167, "scatter_rows_7167"),
    ] {
        let lowered = moved(ElementType::BF16, columns, scatters, [0, 0], &schedule(256, 4));
        let mut text = String::new();
        for (_, spread) in &lowered.distributions {
            text += &format!("{spread}\n");
        }
        text += &lowered.kernel.to_string();
        super::golden(&format!("{name}.txt"), &text);
    }
}

#[test]
fn every_element_type_is_moved_at_every_width_and_offset() {
    for element in ElementType::ALL {
        let size = element.size() as u64;
        for columns in [1, 7, 16, 33, 131, 256] {
            for offsets in [[0, 0], [size, 0], [0, 3 * size], [5 * size, 2 * size]] {
                for scatters in [false, true] {
                    moved(element, columns, scatters, offsets, &schedule(32, 2));
                }
            }
        }
    }
}

#[test]
fn where_rows_go_is_looked_up_for_those_that_there_are() {
    for (rows, columns, threads) in [(3, 5, 384), (3, 40, 64), (5, 131, 96), (3, 33, 1024), (1, 33, 96)] {
        for scatters in [false, true] {
            let mut b = Builder::new("rows");
            let (out, src) = (b.tensor("out", ElementType::U8, 2), b.tensor("src", ElementType::U8, 2));
            let index = b.tensor("index", ElementType::I32, 1);
            for tensor in [src, index] {
                b.tensor_mut(tensor).mutable = false;
            }
            let [row, cols] = [b.arange(rows), b.arange(columns)];
            let named = b.load(index, &[row]);
            let [row, named] = [row, named].map(|value| b.reshape(value, &[rows, 1]));
            let cols = b.reshape(cols, &[1, columns]);
            let (to, from) = if scatters { (named, row) } else { (row, named) };
            let value = b.load(src, &[from, cols]);
            b.store(out, &[to, cols], value);
            let mut kernel = b.launch(1);
            prove(&mut kernel, scatters);
            let bytes = |at| at % 251 + 1;
            let arguments = [
                Argument::tensor(ElementType::U8, &[8, columns.into()], 3, |_| 0),
                Argument::tensor(ElementType::U8, &[8, columns.into()], 5, bytes),
                Argument::tensor(ElementType::I32, &[rows.into()], 0, |at| 6 - at),
            ];
            bind(&mut kernel, &arguments, true);
            check(&kernel, &schedule(threads, 2), &arguments);
        }
    }
}

#[test]
fn every_schedule_moves_the_same() {
    for (threads, programs_per_block, splits, unroll) in [
        (1, 1, 1, 1),
        (2, 16, 1, 1),
        (8, 4, 1, 3),
        (16, 4, 1, 2),
        (32, 8, 1, 64),
        (96, 1, 1, 2),
        (64, 1, 3, 1),
        (1024, 1, 2, 1),
    ] {
        for load in [LoadHint::Cached, LoadHint::Streaming, LoadHint::Early] {
            let by = Schedule {
                programs_per_block,
                splits,
                load,
                ..schedule(threads, unroll)
            };
            for columns in [64, 67] {
                moved(ElementType::F16, columns, false, [2, 4], &by);
                moved(ElementType::F16, columns, true, [0, 2], &by);
            }
        }
    }
}
