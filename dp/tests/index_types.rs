//! Every kernel that takes indices, counts or ids, with every integer type: results are those of exact arithmetic, whatever
//! the type, also at its ends; and what does not fit a result's type is reported.

use tilewright_dp::kernels::*;
use tilewright_dsl::call::{Exact, Runtime};
use tilewright_dsl::element::Integer;
use tilewright_dsl::ir::Literal;
use tilewright_harness::testing::for_each_device;
use tilewright_runtime::{Device, DeviceTensor, Launch, LaunchError};

/// Calls a function that is generic over an integer type with every one.
macro_rules! for_every_integer {
    ($function:ident) => {
        for_every_integer!($function: i8 i16 i32 i64 u8 u16 u32 u64)
    };
    ($function:ident: $($ty:ty)*) => {
        $($function::<$ty>();)*
    };
}

fn exact<I: Integer>(value: I) -> i128 {
    Literal::new(value).as_integer().unwrap()
}

fn ends<I: Integer>() -> (i128, i128) {
    I::TYPE.integer_range().unwrap()
}

/// The nearest values that an `I` has.
fn nearest<I: Integer>(values: &[i128]) -> Vec<i128> {
    let (low, high) = ends::<I>();
    values.iter().map(|&value| value.clamp(low, high)).collect()
}

/// A tensor of values that an `I` has.
fn tensor<I: Integer>(device: &Device, values: &[i128]) -> DeviceTensor<I, 1> {
    let elements: Vec<I> = values
        .iter()
        .map(|&v| I::from_bits64(Literal::wrap(I::TYPE, v).bits))
        .collect();
    device.upload(&elements, [values.len()]).unwrap()
}

fn matrix<I: Integer>(device: &Device, values: &[i128], columns: usize) -> DeviceTensor<I, 2> {
    let elements = tensor::<I>(device, values).download().unwrap();
    device.upload(&elements, [values.len() / columns, columns]).unwrap()
}

fn read<I: Integer, const R: usize>(tensor: &DeviceTensor<I, R>) -> Vec<i128> {
    tensor.download().unwrap().into_iter().map(exact).collect()
}

/// -1, or the largest value of an unsigned type.
fn nowhere<I: Integer>() -> i128 {
    exact(I::from_bits64(Literal::wrap(I::TYPE, -1).bits))
}

const FAR: i128 = i64::MAX as i128 + 5;

/// Indices of six rows, some of them twice or not there.
const READ: [i128; 9] = [3, 0, -1, 5, 6, FAR, -FAR, 3, 127];

/// Indices of six rows, none of them twice.
const WRITTEN: [i128; 9] = [3, 0, -1, 5, 6, FAR, -FAR, 2, 127];

const ROWS: [i16; 6] = [10, 11, 12, 13, 14, 15];

fn row(index: i128) -> Option<usize> {
    usize::try_from(index).ok().filter(|&index| index < ROWS.len())
}

fn rows_are_read<I: Integer>() {
    let index = nearest::<I>(&READ);
    let expected: Vec<i16> = index.iter().map(|&i| row(i).map_or(0, |row| ROWS[row])).collect();
    for_each_device(|device| {
        let src = device.upload(&ROWS, [6, 1]).unwrap();
        let at = tensor::<I>(device, &index);
        let mut out = device.upload(&[-1i16; 9], [9, 1]).unwrap();
        gather_rows(&mut out, &src, &at).launch(device).unwrap();
        assert_eq!(out.download().unwrap(), expected, "{}", I::TYPE);
        let table = device.upload(&ROWS, [6]).unwrap();
        let mut out = device.upload(&[-1i16; 9], [9]).unwrap();
        translate_ids(&mut out, &at, &table, Runtime(9)).launch(device).unwrap();
        assert_eq!(out.download().unwrap(), expected, "{}", I::TYPE);
        // Two choices of each row, the second one always of row 1.
        let pairs: Vec<i128> = index.iter().flat_map(|&i| [i, 1]).collect();
        let positions = matrix::<I>(device, &pairs, 2);
        let weights = device.upload(&[[2.0f32, 0.5]; 9].concat(), [9, 2]).unwrap();
        let x = device.upload(&ROWS.map(f32::from), [6, 1]).unwrap();
        let mut sums = device.zeros::<f32, 2>([9, 1]).unwrap();
        combine_rows(&mut sums, &x, &positions, &weights)
            .launch(device)
            .unwrap();
        let expected: Vec<f32> = expected.iter().map(|&v| f32::from(v) * 2.0 + 5.5).collect();
        assert_eq!(sums.download().unwrap(), expected, "{}", I::TYPE);
    });
}

#[test]
fn rows_are_read_where_indices_of_any_type_say() {
    for_every_integer!(rows_are_read);
}

fn rows_are_written<I: Integer>() {
    let index = nearest::<I>(&WRITTEN);
    // An unsigned type has one value for all that is below it.
    let index: Vec<i128> = (0..9)
        .filter(|&i| !index[..i].contains(&index[i]))
        .map(|i| index[i])
        .collect();
    let n = index.len();
    let place = |start: [i16; 6], skipped: Option<i128>| {
        let mut rows = start;
        for (i, &at) in index.iter().enumerate().filter(|(_, at)| Some(**at) != skipped) {
            if let Some(row) = row(at) {
                rows[row] = i as i16 + 1;
            }
        }
        rows
    };
    for_each_device(|device| {
        let values: Vec<i16> = (1..=n as i16).collect();
        let src = device.upload(&values, [n, 1]).unwrap();
        let at = tensor::<I>(device, &index);
        let fresh = || device.upload(&ROWS, [6, 1]).unwrap();
        let mut out = fresh();
        scatter_rows(&mut out, &src, &at).launch(device).unwrap();
        assert_eq!(out.download().unwrap(), place(ROWS, None), "{}", I::TYPE);
        let mut out = fresh();
        scatter_rows_except(&mut out, &src, &at, 3).launch(device).unwrap();
        assert_eq!(out.download().unwrap(), place(ROWS, Some(3)), "{}", I::TYPE);
        let (mut keys, mut values) = (fresh(), fresh());
        store_kv(&mut keys, &mut values, &src, &src, &at)
            .launch(device)
            .unwrap();
        assert_eq!(
            [keys, values].map(|t| t.download().unwrap()),
            [place(ROWS, None); 2],
            "{}",
            I::TYPE
        );
        let mut cache = device.zeros::<i16, 2>([6, 2]).unwrap();
        store_mla(&mut cache, &src, &src, &at).launch(device).unwrap();
        assert_eq!(
            cache.download().unwrap(),
            place([0; 6], None).map(|v| [v, v]).concat(),
            "{}",
            I::TYPE
        );
        let mut pages = fresh();
        zero_pages(&mut pages, &at).launch(device).unwrap();
        let zeroed: Vec<i16> = (0..6)
            .map(|r| if index.contains(&(r as i128)) { 0 } else { ROWS[r] })
            .collect();
        assert_eq!(pages.download().unwrap(), zeroed, "{}", I::TYPE);
        let mut out = fresh();
        permute_rows(&mut out, &src, &matrix::<I>(device, &index, 1))
            .launch(device)
            .unwrap();
        assert_eq!(out.download().unwrap(), place(ROWS, None), "{}", I::TYPE);
        let mut inverse = tensor::<I>(device, &[99; 6]);
        invert_permutation(&mut inverse, &at).launch(device).unwrap();
        let expected = place([100; 6], None).map(|v| i128::from(v) - 1);
        assert_eq!(read(&inverse), expected, "{}", I::TYPE);
    });
}

#[test]
fn rows_are_written_where_indices_of_any_type_say() {
    for_every_integer!(rows_are_written);
}

#[test]
fn more_numbers_than_a_type_has_are_refused() {
    for_each_device(|device| {
        let index = tensor::<i64>(device, &(0..257).collect::<Vec<_>>());
        let mut out = tensor::<u8>(device, &[0; 257]);
        let error = invert_permutation(&mut out, &index).launch(device).unwrap_err();
        assert!(matches!(error, LaunchError::Requirement(_)), "{error}");
        let mut ids = tensor::<i8>(device, &[0; 4]);
        let error = pad_ids(&mut ids, &tensor::<i8>(device, &[1]), Runtime(1), 128)
            .launch(device)
            .unwrap_err();
        let said = "kernel `pad_ids` requires `fill as i8 as i64 == fill`, and here the left side is -128 and the right side 128";
        assert!(error.to_string().starts_with(said), "{error}");
        pad_ids(&mut ids, &tensor::<i8>(device, &[1]), Runtime(1), -128)
            .launch(device)
            .unwrap();
        assert_eq!(read(&ids), [1, -128, -128, -128]);
    });
}

fn experts_are_counted<I: Integer>() {
    let ids = nearest::<I>(&[2, 0, 2, -1, FAR, -FAR, 3, 4, 2, 127]);
    let expected: Vec<i32> = (0..4)
        .map(|e| ids.iter().filter(|&&id| id == e).count() as i32)
        .collect();
    for_each_device(|device| {
        let mut counts = device.upload(&[9; 4], [4]).unwrap();
        count_experts(&mut counts, &tensor::<I>(device, &ids))
            .launch(device)
            .unwrap();
        assert_eq!(counts.download().unwrap(), expected, "{}", I::TYPE);
        // Slots of two experts that begin at 100 and 110, each claimed once.
        let ids = [1, 0, nowhere::<I>(), 1, 0, ends::<I>().1, 1, 1];
        let starts = [100, 110, 115];
        let mut cursor = device.zeros::<i32, 1>([2]).unwrap();
        let mut slots = matrix::<I>(device, &[77; 8], 2);
        claim_slots(
            &mut slots,
            &mut cursor,
            &matrix::<I>(device, &ids, 2),
            &tensor::<I>(device, &starts),
        )
        .launch(device)
        .unwrap();
        device.synchronize().unwrap();
        let mut found = read(&slots);
        found.sort_unstable();
        let mut expected = vec![100, 101, 110, 111, 112, 113, nowhere::<I>(), nowhere::<I>()];
        expected.sort_unstable();
        assert_eq!(found, expected, "{}", I::TYPE);
    });
}

#[test]
fn experts_are_counted_and_claimed_by_ids_of_any_type() {
    for_every_integer!(experts_are_counted);
}

/// Whether the device reports that a value does not fit, and nothing else.
fn is_reported(device: &Device) -> bool {
    match device.synchronize() {
        Ok(()) => false,
        Err(LaunchError::CheckFailed { message, .. }) => message.contains("holds"),
        Err(other) => panic!("{other}"),
    }
}

fn offsets_add_up<C: Integer>() {
    let counts = nearest::<C>(&[3, 0, -5, 100, FAR, 1 << 31]);
    for block in [0, 1, 16] {
        let padded = |count: i128| {
            let block = i128::max(block, 1);
            count.clamp(0, 1 << 40).div_euclid(block) * block
                + if count.clamp(0, 1 << 40) % block > 0 { block } else { 0 }
        };
        let mut starts = vec![0];
        for &count in &counts {
            starts.push(starts[starts.len() - 1] + padded(count));
        }
        offsets_in::<C, i64>(&counts, &starts, block as u64);
        offsets_in::<C, u64>(&counts, &starts, block as u64);
        offsets_in::<C, i32>(&counts, &starts, block as u64);
        offsets_in::<C, u32>(&counts, &starts, block as u64);
        offsets_in::<C, u8>(&counts, &starts, block as u64);
        offsets_in::<C, i16>(&counts, &starts, block as u64);
    }
}

fn offsets_in<C: Integer, S: Integer>(counts: &[i128], starts: &[i128], block: u64) {
    for_each_device(|device| {
        let mut found = tensor::<S>(device, &[7; 7]);
        expert_offsets(&mut found, &tensor::<C>(device, counts), Runtime(block))
            .launch(device)
            .unwrap();
        let fits = starts[starts.len() - 1] <= ends::<S>().1;
        assert_eq!(is_reported(device), !fits, "{} into {}", C::TYPE, S::TYPE);
        let expected = if fits { starts.to_vec() } else { vec![7; 7] };
        assert_eq!(read(&found), expected, "{} into {}", C::TYPE, S::TYPE);
    });
}

#[test]
fn offsets_add_up_or_are_reported_to_be_too_many() {
    for_every_integer!(offsets_add_up);
    // Beyond 2^31 into i32, by sums of counts that all fit.
    offsets_in::<i32, i32>(
        &[1 << 30; 6],
        &[0, 1 << 30, 2 << 30, 3 << 30, 4 << 30, 5 << 30, 6 << 30],
        1,
    );
}

#[test]
fn a_slot_that_is_too_large_for_its_type_is_reported() {
    for_each_device(|device| {
        let ids = matrix::<u8>(device, &[0; 4], 1);
        let mut cursor = device.upload(&[126], [1]).unwrap();
        let mut slots = matrix::<i8>(device, &[0; 4], 1);
        claim_slots(&mut slots, &mut cursor, &ids, &tensor::<i8>(device, &[0]))
            .launch(device)
            .unwrap();
        assert!(is_reported(device));
    });
}

fn padding_is_masked<C: Integer>() {
    padding_is_masked_in::<C, i32>();
    padding_is_masked_in::<C, u8>();
    padding_is_masked_in::<C, i64>();
}

fn padding_is_masked_in<C: Integer, I: Integer>() {
    let counts = nearest::<C>(&[1, 0, FAR, -FAR, 3]);
    for per_rank in [0u64, 1, 2, 3, 1 << 40] {
        let real = |row: u64| {
            let of = row.checked_div(per_rank).zip(row.checked_rem(per_rank));
            of.is_some_and(|(rank, position)| {
                counts
                    .get(rank as usize)
                    .is_some_and(|&count| i128::from(position) < count)
            })
        };
        let expected: Vec<i128> = (0..12).map(|row| if real(row) { 5 } else { nowhere::<I>() }).collect();
        for_each_device(|device| {
            for exact in [false, true] {
                let mut ids = matrix::<I>(device, &[5; 12], 1);
                let counts = tensor::<C>(device, &counts);
                let launched = match exact {
                    true => mask_padding_ids(&mut ids, &counts, Exact(per_rank)).launch(device),
                    false => mask_padding_ids(&mut ids, &counts, Runtime(per_rank)).launch(device),
                };
                launched.unwrap();
                assert_eq!(read(&ids), expected, "{per_rank} rows by {}", C::TYPE);
            }
        });
    }
    let starts = nearest::<C>(&[2, -3, FAR, -FAR, 9]);
    let rows = |s: usize| starts[s]..starts[s] + counts[s].max(0);
    let expected: Vec<i128> = (0..12i128)
        .map(|row| {
            if (0..5).any(|s| rows(s).contains(&row)) {
                5
            } else {
                nowhere::<I>()
            }
        })
        .collect();
    for_each_device(|device| {
        let mut ids = matrix::<I>(device, &[5; 12], 1);
        let (starts, counts) = (tensor::<C>(device, &starts), tensor::<C>(device, &counts));
        mask_rows_outside(&mut ids, &starts, &counts).launch(device).unwrap();
        assert_eq!(read(&ids), expected, "{}", C::TYPE);
    });
}

#[test]
fn padding_is_masked_by_counts_of_any_type_and_size() {
    for_every_integer!(padding_is_masked);
}

/// Where segments begin and end: inside, from before, up to behind, backwards, far on either side.
const SEGMENTS: [(i128, i128); 8] = [(3, 5), (4, 9), (0, 20), (-3, 2), (17, 100), (5, 2), (2, FAR), (-FAR, 4)];

fn ragged_layouts<I: Integer>() {
    for (start, end) in SEGMENTS {
        let layout = nearest::<I>(&[start, end]);
        // What is farther from all rows than 2^40 counts as that.
        let [start, end] = [layout[0], layout[1]].map(|place| place.clamp(-(1 << 40), 1 << 40));
        let expected = |of: &dyn Fn(i128) -> i128| -> Vec<i128> {
            (0..20)
                .map(|row| {
                    if (start..end).contains(&row) {
                        of(row - start)
                    } else {
                        -1
                    }
                })
                .collect()
        };
        let what = format!("{} {start}..{end}", I::TYPE);
        for_each_device(|device| {
            let layout = tensor::<I>(device, &layout);
            let fresh = || tensor::<i64>(device, &[-1; 20]);
            let mut positions = fresh();
            ragged_positions(&mut positions, &layout, &tensor::<i64>(device, &[1000]))
                .launch(device)
                .unwrap();
            assert_eq!(read(&positions), expected(&|i| 1000 + i), "{what}");

            let pool = device.upload(&(0..60).collect::<Vec<i32>>(), [3, 20]).unwrap();
            let (row, first) = (tensor::<I>(device, &[1]), tensor::<I>(device, &[2]));
            let mut slots = fresh();
            kv_indices(&mut slots, &layout, &row, &first, &pool)
                .launch(device)
                .unwrap();
            assert_eq!(read(&slots), expected(&|i| if i < 18 { 22 + i } else { 0 }), "{what}");

            let pages = [7, 3, 5, 6, 8, 9];
            let (had, last) = (tensor::<i64>(device, &[0]), tensor::<i64>(device, &[-1]));
            let (mut slots, mut used) = (fresh(), tensor::<i64>(device, &[-1]));
            alloc_extend(
                &mut slots,
                &mut used,
                &layout,
                &had,
                &last,
                &tensor::<i64>(device, &pages),
                Exact(4),
            )
            .launch(device)
            .unwrap();
            let page = |i: i128| pages.get(i as usize / 4).copied().unwrap_or(0);
            assert_eq!(read(&slots), expected(&|i| page(i) * 4 + i % 4), "{what}");
            assert_eq!(read(&used), [((end - start).max(0) + 3) / 4], "{what}");

            let packed: Vec<i32> = (0..20).collect();
            let packed = device.upload(&packed, [20, 1]).unwrap();
            let (mut padded, mut mask) = (
                device.upload(&[-1; 3], [1, 3, 1]).unwrap(),
                device.zeros::<bool, 2>([1, 3]).unwrap(),
            );
            pad_segments_with_mask(&mut padded, &mut mask, &packed, &layout)
                .launch(device)
                .unwrap();
            let from = [0, 1, 2].map(|i| start + i);
            let value = |row: i128| {
                if row < end && (0..20).contains(&row) {
                    row as i32
                } else {
                    0
                }
            };
            assert_eq!(padded.download().unwrap(), from.map(value), "{what}");
            assert_eq!(mask.download().unwrap(), from.map(|row| row < end), "{what}");

            let mut out = device.upload(&[-1; 20], [20, 1]).unwrap();
            let rows = device.upload(&[0, 1, 2], [1, 3, 1]).unwrap();
            pack_segments(&mut out, &rows, &layout).launch(device).unwrap();
            let out: Vec<i128> = out.download().unwrap().into_iter().map(i128::from).collect();
            assert_eq!(out, expected(&|i| if i < 3 { i } else { -1 }), "{what}");
        });
    }
}

#[test]
fn ragged_layouts_of_any_type_may_go_down_and_far_outside() {
    for_every_integer!(ragged_layouts);
}

fn slots_are_allocated<I: Integer>() {
    for_each_device(|device| {
        // The second segment goes down, so that it is empty; the third has two tokens in one new page.
        let starts = tensor::<I>(device, &[3, 2, 4]);
        let (prefix, last) = (tensor::<i64>(device, &[0, 0]), tensor::<i64>(device, &[-1, -1]));
        let pages = tensor::<i64>(device, &[1, 2]);
        let (mut slots, mut used) = (
            device.zeros::<i64, 1>([4]).unwrap(),
            device.zeros::<i64, 1>([1]).unwrap(),
        );
        alloc_extend(&mut slots, &mut used, &starts, &prefix, &last, &pages, Exact(4))
            .launch(device)
            .unwrap();
        assert_eq!(read(&slots), [0, 0, 4, 5], "{}", I::TYPE);
        assert_eq!(read(&used), [1], "{}", I::TYPE);
    });
}

#[test]
fn starts_of_any_type_are_converted_before_they_are_subtracted() {
    for_every_integer!(slots_are_allocated);
}

fn last_slots<R: Integer>() {
    let (rows, prefix) = (
        nearest::<R>(&[0, 1, 1, -1, FAR, 0, 2]),
        nearest::<R>(&[2, 1, 0, 1, 1, FAR, -FAR]),
    );
    let expected: Vec<i128> = (0..7)
        .map(|i| match (rows[i], prefix[i]) {
            (row @ 0..2, length @ 1..=2) => row * 2 + length - 1 + 10,
            _ => -1,
        })
        .collect();
    for_each_device(|device| {
        let pool = device.upload(&[10, 11, 12, 13], [2, 2]).unwrap();
        let mut out = tensor::<i64>(device, &[5; 7]);
        last_slot(
            &mut out,
            &tensor::<R>(device, &rows),
            &tensor::<R>(device, &prefix),
            &pool,
        )
        .launch(device)
        .unwrap();
        assert_eq!(read(&out), expected, "{}", R::TYPE);
        // A type that the pool's slots do not fit.
        let pool = device.upload(&[300; 4], [2, 2]).unwrap();
        let mut narrow = tensor::<i8>(device, &[5; 7]);
        let (rows, prefix) = (tensor::<R>(device, &rows), tensor::<R>(device, &prefix));
        last_slot(&mut narrow, &rows, &prefix, &pool).launch(device).unwrap();
        assert!(is_reported(device));
    });
}

#[test]
fn the_last_slot_is_found_by_lengths_of_any_type() {
    for_every_integer!(last_slots);
}

#[test]
fn a_position_that_is_too_large_for_its_type_is_reported() {
    for_each_device(|device| {
        let prefix = tensor::<i64>(device, &[125]);
        for (rows, reported) in [(4, true), (3, false)] {
            let layout = tensor::<i32>(device, &[0, rows]);
            let mut positions = tensor::<i8>(device, &[0; 4]);
            ragged_positions(&mut positions, &layout, &prefix)
                .launch(device)
                .unwrap();
            assert_eq!(is_reported(device), reported, "{rows} positions");
        }
    });
}
