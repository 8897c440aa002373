//! Copies into and out of the slots of a gathered buffer.

use half::bf16;
use tilewright_dp::kernels::{copy_from_slot, copy_from_slot_padded, copy_to_slot};
use tilewright_dsl::element::Element;
use tilewright_harness::for_every_element;
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, Launch, device_count};

/// Rows of source and destination, offset, and rows to copy.
type Case = (usize, usize, u64, u64);

/// From the acceptance list, then: all of it, offset 0, up to the end, nothing, an offset at and behind the end, and counts
/// that no tensor has.
const TO_SLOT: [Case; 11] = [
    (5, 20, 3, 5),
    (2, 64, 10, 40),
    (2, 64, 30, 34),
    (3, 6, 2, 3),
    (8, 8, 0, 8),
    (5, 9, 0, 4),
    (5, 9, 4, 5),
    (5, 9, 2, 0),
    (5, 9, 9, 5),
    (5, 9, 7, 5),
    (5, 9, 1 << 40, 1 << 40),
];

const FROM_SLOT: [Case; 11] = [
    (20, 5, 3, 5),
    (64, 2, 10, 40),
    (64, 2, 30, 34),
    (6, 2, 4, 2),
    (8, 8, 0, 8),
    (9, 5, 0, 4),
    (9, 5, 4, 5),
    (9, 5, 2, 0),
    (9, 5, 9, 5),
    (9, 5, 7, 5),
    (9, 5, 1 << 40, 1 << 40),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kernel {
    To,
    From,
    FromPadded,
}

/// What a copy leaves in the destination.
fn expected<T: Element>(kernel: Kernel, (src_rows, dst_rows, offset, rows): Case, src: &Rows, columns: usize) -> Rows {
    let mut dst = match kernel {
        Kernel::FromPadded => zeros(dst_rows, columns),
        Kernel::To | Kernel::From => sentinels::<T>(dst_rows, columns),
    };
    for row in 0..rows.min(1 << 20) {
        let (from, to) = if kernel == Kernel::To {
            (row, offset + row)
        } else {
            (offset + row, row)
        };
        if from < src_rows as u64 && to < dst_rows as u64 {
            dst[to as usize] = src[from as usize].clone();
        }
    }
    dst
}

fn copy<T: Element>(device: &Device, kernel: Kernel, case: Case, columns: usize, placement: Placement) {
    let (src_rows, dst_rows, offset, rows) = case;
    let matrix = unique::<T>(src_rows, columns, 1);
    let src = Guarded::<T>::new(device, &matrix, columns, placement);
    for bind in BINDINGS {
        let mut dst = Guarded::<T>::untouched(device, dst_rows, columns, placement);
        let call = match kernel {
            Kernel::To => copy_to_slot(dst.view_mut(), src.view(), bind(offset), bind(rows)),
            Kernel::From => copy_from_slot(dst.view_mut(), src.view(), bind(offset), bind(rows)),
            Kernel::FromPadded => copy_from_slot_padded(dst.view_mut(), src.view(), bind(offset), bind(rows)),
        };
        call.launch(device).unwrap();
        let what = (kernel, case, columns, placement, T::TYPE);
        assert_rows(&dst.read(), &expected::<T>(kernel, case, &matrix, columns), what);
    }
}

fn every_case(kernel: Kernel, cases: &[Case]) {
    for_each_device(|device| {
        for &case in cases {
            for columns in [1, 4, 131, 512] {
                for placement in PLACEMENTS {
                    copy::<bf16>(device, kernel, case, columns, placement);
                }
            }
        }
    });
}

#[test]
fn a_copy_to_a_slot_is_clamped_to_both_tensors() {
    every_case(Kernel::To, &TO_SLOT);
}

#[test]
fn a_copy_from_a_slot_is_clamped_to_both_tensors() {
    every_case(Kernel::From, &FROM_SLOT);
}

#[test]
fn a_padded_copy_from_a_slot_writes_every_row_once() {
    every_case(Kernel::FromPadded, &FROM_SLOT);
}

#[test]
fn every_element_type_keeps_its_bits() {
    for_each_device(|device| {
        for placement in PLACEMENTS {
            for_every_element!(copy(device, Kernel::To, (5, 12, 4, 4), 37, placement));
            for_every_element!(copy(device, Kernel::FromPadded, (12, 5, 4, 4), 37, placement));
        }
    });
}

#[test]
fn long_and_odd_rows_keep_their_tails() {
    for_each_device(|device| {
        for columns in [7167, 7168] {
            for placement in PLACEMENTS {
                copy::<bf16>(device, Kernel::To, (3, 6, 2, 3), columns, placement);
                copy::<f32>(device, Kernel::From, (6, 3, 2, 3), columns, placement);
                copy::<u8>(device, Kernel::FromPadded, (6, 3, 2, 1), columns, placement);
            }
        }
        copy::<bf16>(device, Kernel::To, (999, 1010, 7, 999), 131, Placement::Contiguous);
    });
}

/// Offset and rows are read by the kernel, so one variant follows them as they change in memory.
#[test]
fn counts_in_device_memory_are_read_by_every_launch() {
    for_each_device(|device| {
        let (columns, rows_of_both) = (40, 8);
        let matrix = unique::<bf16>(rows_of_both, columns, 2);
        let src = Guarded::<bf16>::new(device, &matrix, columns, Placement::Contiguous);
        let mut wide = device.zeros::<i64, 1>([2]).unwrap();
        let mut narrow = device.zeros::<i32, 1>([2]).unwrap();
        // The last two are clamped to 0 and to the maximum.
        for (offset, rows, clamped) in [(2, 3, 3), (0, 1, 1), (3, 0, 0), (1, -7, 0), (1, 1 << 20, 5)] {
            wide.copy_from(&[offset, rows]).unwrap();
            narrow.copy_from(&[offset as i32, rows as i32]).unwrap();
            let wide = [device_count(&wide, 0, 8).unwrap(), device_count(&wide, 1, 5).unwrap()];
            let narrow = [
                device_count(&narrow, 0, 8).unwrap(),
                device_count(&narrow, 1, 5).unwrap(),
            ];
            for [offset_of, rows_of] in [wide, narrow] {
                for kernel in [Kernel::To, Kernel::From, Kernel::FromPadded] {
                    let mut dst = Guarded::<bf16>::untouched(device, rows_of_both, columns, Placement::Contiguous);
                    let (to, from) = (dst.view_mut(), src.view());
                    let call = match kernel {
                        Kernel::To => copy_to_slot(to, from, offset_of, rows_of),
                        Kernel::From => copy_from_slot(to, from, offset_of, rows_of),
                        Kernel::FromPadded => copy_from_slot_padded(to, from, offset_of, rows_of),
                    };
                    call.launch(device).unwrap();
                    let case = (rows_of_both, rows_of_both, offset as u64, clamped);
                    let expected = expected::<bf16>(kernel, case, &matrix, columns);
                    assert_rows(&dst.read(), &expected, (kernel, case));
                }
            }
        }
    });
}
