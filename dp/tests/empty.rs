//! No columns, no rows, no experts, no choices, no requests: there is nothing to do for them, and everything else is done.

mod catalogue;
use catalogue::{Binding, Place, lowered, movers};
use half::bf16;
use tilewright_dp::batch::Padding;
use tilewright_dp::buffer::{Arena, Role};
use tilewright_dp::kernels::*;
use tilewright_dsl::call::{Exact, Runtime};
use tilewright_harness::testing::for_each_device;
use tilewright_runtime::{Device, DeviceTensor, Launch};

fn ones<const R: usize>(device: &Device, extents: [usize; R]) -> DeviceTensor<i32, R> {
    device.upload(&vec![1; extents.iter().product()], extents).unwrap()
}

#[test]
fn rows_without_columns_are_moved_by_every_kernel() {
    for binding in [Binding::Exact, Binding::Runtime, Binding::Device] {
        for place in [Place::Whole, Place::Shifted] {
            for mover in movers::<bf16>(0, place, place, binding) {
                lowered(mover.variant.kernel(), 100);
            }
        }
    }
}

#[test]
fn a_mask_is_written_for_rows_without_columns() {
    for_each_device(|device| {
        let packed = ones(device, [3, 0]);
        let starts = device.upload(&[0i64, 2, 3], [3]).unwrap();
        let mut out = ones(device, [2, 2, 0]);
        let mut mask = device.upload(&[false, true, false, true], [2, 2]).unwrap();
        pad_segments_with_mask(&mut out, &mut mask, &packed, &starts)
            .launch(device)
            .unwrap();
        assert_eq!(mask.download().unwrap(), [true, true, true, false]);
    });
}

#[test]
fn what_did_not_fit_is_told_of_tensors_without_rows_or_columns() {
    for_each_device(|device| {
        for [rows, columns] in [[0, 128], [2, 0], [0, 0]] {
            let src = device.zeros::<f32, 2>([3, columns]).unwrap();
            let mut out = device.zeros::<f32, 2>([rows, columns]).unwrap();
            let mut report = device.upload(&[-1i64; 2], [2]).unwrap();
            place_rows_with_report(&mut out, &mut report, &src, Exact(0), Exact(0), Runtime(3))
                .launch(device)
                .unwrap();
            assert_eq!(report.download().unwrap(), [3, rows as i64]);
            let mut report = device.upload(&[-1i64; 2], [2]).unwrap();
            take_rows_with_report(&mut out, &mut report, &src, Runtime(1), Runtime(2))
                .launch(device)
                .unwrap();
            assert_eq!(report.download().unwrap(), [2, rows as i64]);
            let mut payload = device.zeros::<float8::F8E4M3, 2>([rows, columns]).unwrap();
            let mut scales = device.zeros::<f32, 2>([rows, columns / 128]).unwrap();
            let mut report = device.upload(&[-1i64; 2], [2]).unwrap();
            quantize_to_slot_with_report(
                &mut payload,
                &mut scales,
                &mut report,
                &src,
                Exact(0),
                Exact(0),
                Runtime(3),
            )
            .launch(device)
            .unwrap();
            assert_eq!(report.download().unwrap(), [3, rows as i64]);
            quantize_rows(&mut payload, &mut scales, &src).launch(device).unwrap();
            dequantize_rows(&mut out, &payload, &scales).launch(device).unwrap();
            convert_rows(&mut out, &src).launch(device).unwrap();
            add_rows(&mut out, &src).launch(device).unwrap();
            pad_rows_with(&mut out, &src, Runtime(1), 2.0).launch(device).unwrap();
        }
    });
}

#[test]
fn no_experts_and_no_choices_are_counted_claimed_and_combined() {
    for_each_device(|device| {
        let ids = device.upload(&[2i32, 0], [2]).unwrap();
        let mut counts = ones(device, [0]);
        count_experts(&mut counts, &ids).launch(device).unwrap();
        let mut starts = ones(device, [1]);
        expert_offsets(&mut starts, &counts, Runtime(4)).launch(device).unwrap();
        assert_eq!(starts.download().unwrap(), [0]);
        // No ids of three experts.
        let mut counts = ones(device, [3]);
        count_experts(&mut counts, &ones(device, [0])).launch(device).unwrap();
        assert_eq!(counts.download().unwrap(), [0; 3]);
        // Two tokens without a choice, and no expert for two tokens of one.
        let (none, mut cursor) = (ones(device, [2, 0]), ones(device, [0]));
        claim_slots(
            &mut ones(device, [2, 0]),
            &mut ones(device, [3]),
            &none,
            &ones(device, [4]),
        )
        .launch(device)
        .unwrap();
        let mut slots = ones(device, [2, 1]);
        claim_slots(&mut slots, &mut cursor, &ones(device, [2, 1]), &starts)
            .launch(device)
            .unwrap();
        assert_eq!(slots.download().unwrap(), [-1; 2]);
        let x = device.upload(&[3.0f32; 4], [2, 2]).unwrap();
        permute_rows(&mut device.zeros::<f32, 2>([4, 2]).unwrap(), &x, &none)
            .launch(device)
            .unwrap();
        let mut out = device.upload(&[9.0f32; 4], [2, 2]).unwrap();
        combine_rows(&mut out, &x, &none, &device.zeros::<f32, 2>([2, 0]).unwrap())
            .launch(device)
            .unwrap();
        assert_eq!(out.download().unwrap(), [0.0; 4]);
        mask_padding_ids(&mut ones(device, [5, 0]), &ones(device, [2]), Runtime(2))
            .launch(device)
            .unwrap();
        // All rows are outside of no segment.
        let mut ids = ones(device, [2, 2]);
        mask_rows_outside(&mut ids, &ones(device, [0]), &ones(device, [0]))
            .launch(device)
            .unwrap();
        assert_eq!(ids.download().unwrap(), [-1; 4]);
    });
}

#[test]
fn no_requests_use_no_pages_and_write_no_slots() {
    for_each_device(|device| {
        for starts in [vec![-7i64], vec![-7, 30]] {
            let starts = device.upload(&starts, [starts.len()]).unwrap();
            let none = device.zeros::<i64, 1>([0]).unwrap();
            let (mut slots, mut used) = (
                device.upload(&[5i64; 2], [2]).unwrap(),
                device.upload(&[9i64], [1]).unwrap(),
            );
            alloc_extend(&mut slots, &mut used, &starts, &none, &none, &none, Runtime(4))
                .launch(device)
                .unwrap();
            assert_eq!(
                (slots.download().unwrap(), used.download().unwrap()),
                (vec![5; 2], vec![0])
            );
            let (rows, pool) = (ones(device, [0]), ones(device, [0, 4]));
            ragged_positions(&mut slots, &starts, &none).launch(device).unwrap();
            kv_indices(&mut slots, &starts, &rows, &rows, &pool)
                .launch(device)
                .unwrap();
            last_slot(&mut ones(device, [0]), &rows, &rows, &pool)
                .launch(device)
                .unwrap();
            translate_ids(&mut ones(device, [0]), &rows, &rows, Runtime(3))
                .launch(device)
                .unwrap();
            assert_eq!(slots.download().unwrap(), [5; 2]);
        }
        let (mut cache, none) = (ones(device, [3, 0]), ones(device, [0]));
        zero_pages(&mut cache, &ones(device, [1])).launch(device).unwrap();
        store_mla(&mut ones(device, [3, 0]), &cache, &cache, &ones(device, [1]))
            .launch(device)
            .unwrap();
        invert_permutation(&mut ones(device, [2]), &none)
            .launch(device)
            .unwrap();
        pad_ids(&mut ones(device, [0]), &none, Runtime(2), 0)
            .launch(device)
            .unwrap();
        let (mut keys, mut values) = (ones(device, [3, 0]), ones(device, [3, 2]));
        let v = device.upload(&[4, 5], [1, 2]).unwrap();
        store_kv(&mut keys, &mut values, &ones(device, [1, 0]), &v, &ones(device, [1]))
            .launch(device)
            .unwrap();
        assert_eq!(values.download().unwrap(), [1, 1, 4, 5, 1, 1]);
    });
}

#[test]
fn a_tensor_without_elements_does_not_keep_others_from_being_padded() {
    for_each_device(|device| {
        for empty in [[3, 0], [0, 4], [0, 0]] {
            for axis in [0, 1] {
                let src = ones(device, empty);
                let mut longer = empty;
                longer[axis] += 2;
                let (mut same, mut more, mut filled) = (ones(device, empty), ones(device, longer), ones(device, empty));
                let (ids, mut padded) = (
                    device.upload(&[7i64, 8], [2]).unwrap(),
                    device.zeros::<i64, 1>([3]).unwrap(),
                );
                let mut padding = Padding::new();
                padding.pad(&mut same, &src, axis, Runtime(9), 5).unwrap();
                padding.pad(&mut more, &src, axis, Runtime(9), 5).unwrap();
                padding.fill(&mut filled, axis, Runtime(0), 5).unwrap();
                padding.pad(&mut padded, &ids, 0, Runtime(2), -1).unwrap();
                padding.launch_on(&device.stream()).unwrap();
                assert_eq!(padded.download().unwrap(), [7, 8, -1]);
                let fill: usize = longer.iter().product();
                assert_eq!(more.download().unwrap(), vec![5; fill], "{empty:?} on axis {axis}");
            }
        }
    });
}

#[test]
fn a_buffer_may_have_no_columns() {
    for_each_device(|device| {
        let mut arena = Arena::<bf16>::new(device, Role::Gathered, 0);
        for rows in [3, 0, 7] {
            assert_eq!(arena.rows(rows).unwrap().extents(), [rows as usize, 0]);
        }
    });
}
