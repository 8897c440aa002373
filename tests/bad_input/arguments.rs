//! Tensors of the wrong type, rank or extents; sources that are destinations.

use std::ops::Range;

use tilewright::dsl::call::{Argument, ArgumentValue, Arguments, ListArgument};
use tilewright::prelude::*;

use crate::kernels::copy_rows;
use crate::support::{COLUMNS, Outcome, ROWS, Tensors, arguments_of, call_of, changed, fails, on_each_device};

#[test]
fn elements_and_slices_that_do_not_fit_their_tensor_are_refused() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let words = ["31 elements", "extents [4, 8]", "which has 32"];
        fails(device.upload(&[0; 31], [ROWS, COLUMNS]).map(|_| ()), &words);
        fails(tensors.out.copy_from(&[0; 31]), &words);
        fails(tensors.out.rows(2..5).map(|_| ()), &["2..5", "axis 0", "extent of 4"]);
        fails(tensors.out.columns(9..).map(|_| ()), &["9..8", "axis 1", "extent of 8"]);
        fails(
            tensors.out.slice(2, ..).map(|_| ()),
            &["axis 2", "rank 2", "numbered from 0"],
        );
        let part = tensors.out.view_mut().columns(..2)?.copy_from(&[0; 8]);
        fails(part, &["do not follow each other", "write its rows"]);
        let longer = device.zeros::<u8, 2>([1, 1 << 41]).map(|_| ());
        fails(longer, &["axis 1", "too long", "at most 2^40"]);
        let larger = device.zeros::<u64, 2>([1 << 40, 1 << 40]).map(|_| ());
        fails(larger, &["too large for any memory", "8 bytes"]);
        tensors.are_untouched_and_usable()
    })
}

/// What rustc refuses (`compile_fail.rs`) can be put together by hand.
#[test]
fn arguments_of_another_type_rank_or_number_are_refused() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let (floats, flat) = (
            device.zeros::<f32, 2>([ROWS, COLUMNS])?,
            device.zeros::<i32, 1>([ROWS])?,
        );
        let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(1));
        let good = arguments_of(&call);
        let mut others = Arguments::new();
        Argument::<&Tensor<f32, 2>>::pass(&floats, &mut others);
        Argument::<&Tensor<i32, 1>>::pass(&flat, &mut others);
        Argument::<i64>::pass(1, &mut others);
        for other in others.values() {
            let values = [good[0].clone(), other.clone(), good[2].clone(), good[3].clone()];
            let error = fails(call_of(&call, values).launch(device), &["`copy_rows`", "`src`", "rank"]);
            assert!(matches!(
                error,
                LaunchError::WrongArguments { .. } | LaunchError::Trace(_)
            ));
        }
        let read_only = changed(&good[0], |out| out.mutable = false);
        let values = [read_only, good[1].clone(), good[2].clone(), good[3].clone()];
        fails(
            call_of(&call, values).launch(device),
            &["`copy_rows`", "`out`", "mutability"],
        );
        fails(
            call_of(&call, good[..3].to_vec()).launch(device),
            &["`copy_rows`", "3 arguments for 4 parameters"],
        );
        let outside = changed(&good[1], |src| src.extents[0] = 5);
        let values = [good[0].clone(), outside, good[2].clone(), good[3].clone()];
        fails(
            call_of(&call, values).launch(device),
            &["`copy_rows`", "`src` is not within its memory"],
        );
        let crooked = changed(&good[1], |src| {
            src.offset = 2;
            src.extents[0] = 1;
        });
        let values = [good[0].clone(), crooked, good[2].clone(), good[3].clone()];
        fails(
            call_of(&call, values).launch(device),
            &["`copy_rows`", "`src`", "no multiple of its element size, 4 bytes"],
        );
        tensors.are_untouched_and_usable()
    })
}

/// By addresses: parts of one allocation may be source and destination if they share no byte.
#[test]
fn a_destination_that_shares_memory_with_a_source_is_refused() -> Outcome {
    on_each_device(|device| {
        let before: Vec<i32> = (0..64).collect();
        let mut buffer = device.upload(&before, [8, COLUMNS])?;
        let empty = device.zeros::<i32, 2>([1, 1])?;
        let call = copy_rows(&mut buffer, &empty, Exact(0), Exact(2));
        let whole = arguments_of(&call);
        let part = |mutable: bool, rows: Range<u64>, columns: Range<u64>| {
            changed(&whole[0], |tensor| {
                tensor.mutable = mutable;
                tensor.offset = (rows.start * COLUMNS as u64 + columns.start) * 4;
                tensor.extents[0] = rows.end - rows.start;
                tensor.extents[1] = columns.end - columns.start;
            })
        };
        for (to, from) in [
            ((0..8, 0..8), (0..8, 0..8)),
            ((0..2, 0..8), (1..3, 0..8)),
            ((4..6, 0..8), (0..5, 0..8)),
            ((0..2, 0..5), (0..2, 4..8)),
            ((0..8, 7..8), (3..4, 0..8)),
        ] {
            let values = [
                part(true, to.0, to.1),
                part(false, from.0, from.1),
                whole[2].clone(),
                whole[3].clone(),
            ];
            let words = [
                "`copy_rows`",
                "`out`, which it may write, shares memory with `src`",
                "memory of its own",
            ];
            let error = fails(call_of(&call, values).launch(device), &words);
            assert!(matches!(error, LaunchError::Overlap { .. }));
        }
        // Rows that only touch, and columns that lie between each other.
        let touching = [
            part(true, 0..2, 0..8),
            part(false, 2..4, 0..8),
            whole[2].clone(),
            whole[3].clone(),
        ];
        let columns = [
            part(true, 4..6, 0..4),
            part(false, 4..6, 4..8),
            whole[2].clone(),
            whole[3].clone(),
        ];
        let (touching, columns) = (call_of(&call, touching), call_of(&call, columns));
        touching.launch(device)?;
        columns.launch(device)?;
        let mut expected = before;
        expected.copy_within(16..32, 0);
        expected.copy_within(36..40, 32);
        expected.copy_within(44..48, 40);
        assert_eq!(buffer.download()?, expected);
        Ok(())
    })
}

#[kernel(grid = [list.len()])]
fn first_rows(out: &mut Tensor<i32, 2>, list: &TensorList<i32, 2>) {
    let cols = arange(out.extent(1));
    out.store([program_id(0), cols], list[program_id(0)].load([0, cols]));
}

#[test]
fn lists_that_do_not_fit_their_parameter_are_refused() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let call = first_rows(&mut tensors.out, [&tensors.src, &tensors.src]);
        let good = arguments_of(&call);
        let ArgumentValue::List(list) = &good[1] else {
            panic!("a list")
        };
        let refused = |other: ArgumentValue<'_>| {
            let values = [good[0].clone(), other];
            let error = fails(call_of(&call, values).launch(device), &["`first_rows`"]);
            let told = matches!(
                error,
                LaunchError::WrongArguments { .. } | LaunchError::Trace(_) | LaunchError::Overlap { .. }
            );
            assert!(told, "{error}");
        };
        let changed = |change: &dyn Fn(&mut ListArgument<'_>)| {
            let mut list = list.clone();
            change(&mut list);
            refused(ArgumentValue::List(list));
        };
        changed(&|list| list.rank = usize::MAX);
        changed(&|list| list.rank = 0);
        changed(&|list| list.rank = 1);
        changed(&|list| list.element = ElementType::F32);
        changed(&|list| list.mutable = true);
        changed(&|list| list.tensors[1].element = ElementType::U32);
        changed(&|list| list.tensors[1].mutable = true);
        changed(&|list| list.tensors[1].strides.truncate(1));
        changed(&|list| {
            list.tensors[0].extents.truncate(1);
            list.tensors[0].strides.truncate(1);
        });
        changed(&|list| list.tensors[1].offset = 1 << 40);
        refused(good[0].clone());
        refused(ArgumentValue::Tensor(list.tensors[0].clone()));
        let values = [good[1].clone(), good[1].clone()];
        fails(call_of(&call, values).launch(device), &["`first_rows`"]);
        tensors.are_untouched_and_usable()
    })
}
