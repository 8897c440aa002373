//! Padding of batches, ids and sequences.

use half::{bf16, f16};
use tilewright_dp::kernels::{
    mask_padding_ids, pack_segments, pad_ids, pad_rows, pad_rows_with, pad_segments, pad_segments_with_mask,
};
use tilewright_dsl::call::Exact;
use tilewright_dsl::element::{Element, Integer};
use tilewright_harness::for_every_element;
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, Launch, device_count};

fn pad<T: Element>(device: &Device, rows: usize, bucket: usize, columns: usize) {
    let matrix = unique::<T>(rows, columns, 5);
    let src = Guarded::<T>::new(device, &matrix, columns, Placement::Misaligned);
    let mut expected = matrix.clone();
    expected.resize(bucket, vec![0; columns]);
    for bind in BINDINGS {
        let mut out = Guarded::<T>::untouched(device, bucket, columns, Placement::Contiguous);
        pad_rows(out.view_mut(), src.view(), bind(rows as u64))
            .launch(device)
            .unwrap();
        assert_rows(&out.read(), &expected, (T::TYPE, rows, bucket));
    }
}

#[test]
fn batches_are_padded_to_every_bucket() {
    for_each_device(|device| {
        for bucket in [1, 2, 4, 8, 16, 24, 160, 512] {
            for rows in counts(bucket).into_iter().chain([bucket / 2]) {
                pad::<bf16>(device, rows, bucket, 11);
            }
        }
        pad::<bf16>(device, 19, 20, 7168);
        for_every_element!(pad(device, 3, 5, 37));
    });
}

#[test]
fn padding_takes_a_value() {
    for_each_device(|device| {
        let src = device.upload(&[f16::from_f32(2.0); 6], [2, 3]).unwrap();
        let mut out = device.zeros::<f16, 2>([4, 3]).unwrap();
        // More rows than the source has are filled too.
        pad_rows_with(&mut out, &src, Exact(9), -1.5f32).launch(device).unwrap();
        let found: Vec<f32> = out.download().unwrap().into_iter().map(f16::to_f32).collect();
        assert_eq!(
            found,
            [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5]
        );
    });
}

fn pad_list<I: Integer + From<u8>>(device: &Device, fill: i64) {
    for (have, count, bucket) in [
        (5, 5, 8),
        (5, 3, 8),
        (0, 0, 3),
        (5, 9, 8),
        (2000, 1999, 2049),
        (1024, 1024, 1024),
        (9, 9, 4),
    ] {
        let ids: Vec<I> = (0..have).map(|i| I::from_bits64(i as u64 * 77 + 1)).collect();
        let src = device.upload(&ids, [have]).unwrap();
        let mut out = device.zeros::<I, 1>([bucket]).unwrap();
        pad_ids(&mut out, &src, Exact(count as u64), fill)
            .launch(device)
            .unwrap();
        let expected = |i: usize| {
            if i < count.min(have) {
                ids[i].to_bits64()
            } else {
                I::from_bits64(fill as u64).to_bits64()
            }
        };
        let found = out.download().unwrap();
        assert!(
            (0..bucket).all(|i| found[i].to_bits64() == expected(i)),
            "{have} {count} {bucket}"
        );
    }
}

#[test]
fn lists_of_ids_are_padded() {
    for_each_device(|device| {
        pad_list::<i64>(device, 0);
        pad_list::<i64>(device, -1);
        pad_list::<u8>(device, 1);
    });
}

/// Hidden states, ids and positions of a batch, padded by a count that the host does not know.
#[test]
fn what_is_behind_a_count_in_device_memory_gets_its_value() {
    for_each_device(|device| {
        let (have, bucket, columns) = (9, 16, 37);
        let hidden = unique::<f32>(have, columns, 1);
        let src = Guarded::<f32>::new(device, &hidden, columns, Placement::Misaligned);
        let ids: Vec<i32> = (0..have as i32).map(|i| i * 7 + 1).collect();
        let positions: Vec<i64> = (0..have as i64).map(|i| i << 33).collect();
        let ids_on = device.upload(&ids, [have]).unwrap();
        let positions_on = device.upload(&positions, [have]).unwrap();
        for rows in [0i64, 1, 5, 9, 12, -3, 1 << 40] {
            let count = device.upload(&[rows], [1]).unwrap();
            let count = || device_count(&count, 0, bucket as u64).unwrap();
            let kept = rows.clamp(0, have as i64) as usize;
            let mut out = Guarded::<f32>::untouched(device, bucket, columns, Placement::Contiguous);
            pad_rows_with(out.view_mut(), src.view(), count(), -0.5f32)
                .launch(device)
                .unwrap();
            let mut expected = hidden[..kept].to_vec();
            expected.resize(bucket, vec![(-0.5f32).to_bits64(); columns]);
            assert_rows(&out.read(), &expected, rows);

            let mut padded_ids = device.zeros::<i32, 1>([bucket]).unwrap();
            pad_ids(&mut padded_ids, &ids_on, count(), -1i64)
                .launch(device)
                .unwrap();
            let mut expected = ids[..kept].to_vec();
            expected.resize(bucket, -1);
            assert_eq!(padded_ids.download().unwrap(), expected, "{rows} rows");

            let mut padded_positions = device.upload(&vec![3i64; bucket], [bucket]).unwrap();
            pad_ids(&mut padded_positions, &positions_on, count(), 0i64)
                .launch(device)
                .unwrap();
            let mut expected = positions[..kept].to_vec();
            expected.resize(bucket, 0);
            assert_eq!(padded_positions.download().unwrap(), expected, "{rows} rows");
        }
    });
}

fn mask<I: Integer, C: Integer>(device: &Device, k: usize, counts: &[u64], rows_per_rank: u64) {
    let rows = counts.len() * rows_per_rank as usize;
    let ids: Rows = (0..rows)
        .map(|row| (0..k).map(|j| (row * k + j) as u64).collect())
        .collect();
    let on_device: Vec<C> = counts.iter().map(|&count| C::from_bits64(count)).collect();
    let on_device = device.upload(&on_device, [counts.len()]).unwrap();
    let minus_one = I::from_bits64(u64::MAX).to_bits64();
    let is_real = |row: usize| (row as u64 % rows_per_rank) < counts[row / rows_per_rank as usize];
    let expected: Rows = ids
        .iter()
        .enumerate()
        .map(|(row, ids)| if is_real(row) { ids.clone() } else { vec![minus_one; k] })
        .collect();
    for bind in BINDINGS {
        let mut out = Guarded::<I>::new(device, &ids, k, Placement::Contiguous);
        mask_padding_ids(out.view_mut(), &on_device, bind(rows_per_rank))
            .launch(device)
            .unwrap();
        assert_rows(&out.read(), &expected, (I::TYPE, k, counts, rows_per_rank));
    }
}

#[test]
fn padding_tokens_choose_no_expert() {
    for_each_device(|device| {
        mask::<i32, i64>(device, 2, &[3, 1], 4);
        for k in [1, 2, 6, 8] {
            mask::<i32, i32>(device, k, &[20, 0, 7, 19, 1], 20);
            mask::<i64, i64>(device, k, &[0, 0, 300], 300);
        }
    });
}

/// Packs and pads sequences of these lengths.
fn sequences<T: Element, I: Integer>(device: &Device, lengths: &[usize], length: usize, columns: usize) {
    let batch = lengths.len();
    let mut starts = vec![0];
    starts.extend(lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    }));
    let total = starts[batch];
    let matrix = unique::<T>(total, columns, 9);
    let mut expected = zeros(batch * length, columns);
    let mut real = vec![false; batch * length];
    for sequence in 0..batch {
        for i in 0..lengths[sequence].min(length) {
            expected[sequence * length + i] = matrix[starts[sequence] + i].clone();
            real[sequence * length + i] = true;
        }
    }
    let elements = |rows: &Rows| -> Vec<T> { rows.iter().flatten().map(|&bits| T::from_bits64(bits)).collect() };
    let bits = |found: Vec<T>| -> Vec<u64> { found.into_iter().map(Element::to_bits64).collect() };
    let packed = Guarded::<T>::new(device, &matrix, columns, Placement::Contiguous);
    let on_device: Vec<I> = starts.iter().map(|&start| I::from_bits64(start as u64)).collect();
    let on_device = device.upload(&on_device, [batch + 1]).unwrap();

    let dirty = elements(&sentinels::<T>(batch * length, columns));
    let mut padded = device.upload(&dirty, [batch, length, columns]).unwrap();
    pad_segments(&mut padded, packed.view(), &on_device)
        .launch(device)
        .unwrap();
    assert_eq!(bits(padded.download().unwrap()), expected.concat());

    let mut masked = device.upload(&dirty, [batch, length, columns]).unwrap();
    let mut mask = device.upload(&vec![true; batch * length], [batch, length]).unwrap();
    pad_segments_with_mask(&mut masked, &mut mask, packed.view(), &on_device)
        .launch(device)
        .unwrap();
    assert_eq!(bits(masked.download().unwrap()), expected.concat());
    assert_eq!(mask.download().unwrap(), real);

    let mut back = Guarded::<T>::untouched(device, total, columns, Placement::Contiguous);
    pack_segments(back.view_mut(), &padded, &on_device)
        .launch(device)
        .unwrap();
    let mut expected = matrix;
    for sequence in 0..batch {
        // What padding cut off does not come back.
        let cut = starts[sequence] + lengths[sequence].min(length)..starts[sequence + 1];
        expected[cut].fill(sentinels::<T>(1, columns).remove(0));
    }
    assert_rows(&back.read(), &expected, (lengths, length, columns));
}

#[test]
fn sequences_are_padded_and_packed_again() {
    for_each_device(|device| {
        for columns in [1, 8, 131] {
            sequences::<bf16, i32>(device, &[3, 0, 4, 1], 4, columns);
            sequences::<bf16, i64>(device, &[2, 2], 2, columns);
            sequences::<bf16, i64>(device, &[0, 0], 3, columns);
            sequences::<bf16, i32>(device, &[5, 1, 9], 4, columns);
            sequences::<f32, i64>(device, &[1], 1, columns);
        }
        sequences::<bf16, i64>(device, &(0..33).map(|i| i * 5 % 17).collect::<Vec<_>>(), 16, 48);
    });
}
