//! Whole gathered buffers: every rank's rows at their places and zeros between, written in one pass.

use half::bf16;
use tilewright_dp::kernels::{copy_from_slot_padded, fill_and_place};
use tilewright_dp::layout::{GatheredLayout, HiddenState, PaddingMode};
use tilewright_dsl::call::Exact;
use tilewright_dsl::element::Element;
use tilewright_harness::for_every_element;
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, Launch};

/// Places `N` ranks and takes their rows back.
fn round_trip<T: Element, const N: usize>(device: &Device, counts: &[u64; N], attention_tp: u64, columns: usize) {
    let hidden = HiddenState {
        size: columns as u64,
        element_bytes: T::TYPE.size() as u64,
    };
    let ranks: [Rows; N] = std::array::from_fn(|r| unique::<T>(counts[r] as usize, columns, r as u64));
    let segments: [_; N] =
        std::array::from_fn(|r| Guarded::<T>::new(device, &ranks[r], columns, Placement::Contiguous));
    for mode in [PaddingMode::Max, PaddingMode::Sum] {
        let layout = GatheredLayout::new(mode, counts, attention_tp, hidden).unwrap();
        let mut expected = zeros(layout.rows() as usize, columns);
        for (rank, rows) in ranks.iter().enumerate() {
            let start = layout.starts()[rank] as usize;
            expected[start..start + rows.len()].clone_from_slice(rows);
        }
        for bind in BINDINGS {
            let mut buffer = Guarded::<T>::untouched(device, layout.rows() as usize, columns, Placement::Contiguous);
            let views: [_; N] = std::array::from_fn(|r| segments[r].view());
            let starts: [_; N] = std::array::from_fn(|r| bind(layout.starts()[r]));
            let rows: [_; N] = std::array::from_fn(|r| bind(layout.counts()[r]));
            fill_and_place(buffer.view_mut(), views, starts, rows)
                .launch(device)
                .unwrap();
            assert_rows(&buffer.read(), &expected, (mode, counts, T::TYPE));

            for (rank, tokens) in ranks.iter().enumerate() {
                let padded = layout.padded()[rank] as usize;
                let mut local = Guarded::<T>::untouched(device, padded, columns, Placement::Contiguous);
                let (start, count) = (bind(layout.starts()[rank]), bind(layout.counts()[rank]));
                copy_from_slot_padded(local.view_mut(), buffer.view(), start, count)
                    .launch(device)
                    .unwrap();
                let mut expected = tokens.clone();
                expected.resize(padded, vec![0; columns]);
                assert_rows(&local.read(), &expected, (mode, counts, rank));
            }
        }
    }
}

#[test]
fn one_two_and_eight_ranks_make_the_round_trip() {
    for_each_device(|device| {
        for columns in [16, 131] {
            round_trip::<bf16, 1>(device, &[5], 1, columns);
            round_trip::<bf16, 1>(device, &[0], 1, columns);
            round_trip::<bf16, 2>(device, &[3, 7], 1, columns);
            round_trip::<bf16, 2>(device, &[0, 1], 4, columns);
            round_trip::<bf16, 8>(device, &[20; 8], 1, columns);
            round_trip::<bf16, 8>(device, &[0, 0, 0, 9, 0, 0, 0, 0], 1, columns);
            round_trip::<bf16, 8>(device, &[4, 0, 11, 1, 0, 3, 2, 0], 1, columns);
            round_trip::<bf16, 8>(device, &[4, 0, 11, 1, 0, 3, 2, 0], 4, columns);
        }
    });
}

#[test]
fn sixty_four_ranks_make_the_round_trip() {
    let counts: [u64; 64] = std::array::from_fn(|rank| (rank as u64 * 7) % 5);
    for_each_device(|device| round_trip::<bf16, 64>(device, &counts, 1, 12));
}

fn three_ranks<T: Element>(device: &Device) {
    round_trip::<T, 3>(device, &[2, 0, 5], 2, 37);
}

#[test]
fn every_element_type_makes_the_round_trip() {
    for_each_device(|device| for_every_element!(three_ranks(device)));
}

/// One rank's rows at their place in a large buffer, zeros around them.
#[test]
fn a_large_buffer_is_zero_outside_the_slot() {
    for_each_device(|device| {
        // The CPU device interprets; narrower rows tell it as much.
        let columns = if device.is_cuda() { 7168 } else { 64 };
        let (rows, offset, count) = (8192, 2048, 1024);
        let src: Vec<u16> = (0..count * columns)
            .map(|i| (i as u16).wrapping_mul(40503) | 1)
            .collect();
        let local = device.upload(&src, [count, columns]).unwrap();
        let mut buffer = device
            .upload(&vec![0xa5a5u16; rows * columns], [rows, columns])
            .unwrap();
        let (start, all) = (Exact(offset as u64), Exact(count as u64));
        fill_and_place(&mut buffer, [&local], [start], [all])
            .launch(device)
            .unwrap();
        let found = buffer.download().unwrap();
        let (before, rest) = found.split_at(offset * columns);
        let (slot, after) = rest.split_at(count * columns);
        assert!(before.iter().chain(after).all(|&bits| bits == 0));
        assert!(slot == src);
    });
}

/// A plan that is larger than a rank's tensor gives zeros, not what lies behind the tensor.
#[test]
fn rows_that_a_segment_lacks_are_zero() {
    for_each_device(|device| {
        let rows = unique::<bf16>(2, 33, 1);
        let segment = Guarded::<bf16>::new(device, &rows, 33, Placement::Misaligned);
        let mut buffer = Guarded::<bf16>::untouched(device, 6, 33, Placement::Misaligned);
        fill_and_place(buffer.view_mut(), [segment.view()], [Exact(1)], [Exact(40)])
            .launch(device)
            .unwrap();
        let mut expected = zeros(6, 33);
        expected[1..3].clone_from_slice(&rows);
        assert_rows(&buffer.read(), &expected, "");
    });
}
