//! Rows to experts and back, counts and offsets of experts, quantised rows.

use float8::F8E4M3;
use half::bf16;
use tilewright_dp::kernels::{
    claim_slots, combine_rows, count_experts, dequantize_rows, expert_offsets, gather_four, invert_permutation,
    permute_rows, quantize_rows,
};
use tilewright_dsl::call::{Exact, Runtime};
use tilewright_dsl::element::{Element, Integer};
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, DeviceTensor, Launch};

/// The same numbers in every run.
fn noise(count: usize) -> Vec<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..count).map(next).collect()
}

fn ids<I: Integer>(device: &Device, values: &[i64], extents: [usize; 2]) -> DeviceTensor<I, 2> {
    let values: Vec<I> = values.iter().map(|&v| I::from_bits64(v as u64)).collect();
    device.upload(&values, extents).unwrap()
}

/// The ids of a batch's tokens: different experts for each token, or -1 for some.
fn routing(tokens: usize, k: usize, experts: usize) -> Vec<i64> {
    let noise = noise(tokens * k);
    let id = |i: usize| {
        let (token, j) = (i / k, i % k);
        let first = noise[token * k] as usize;
        match noise[i] % 7 {
            0 => -1,
            _ => ((first + j * (experts / k).max(1)) % experts) as i64,
        }
    };
    (0..tokens * k).map(id).collect()
}

/// Where each choice goes when experts' rows follow each other, and the rows of every expert.
fn positions(ids: &[i64], experts: usize, block: usize) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let mut counts = vec![0i64; experts];
    ids.iter()
        .filter(|&&id| id >= 0)
        .for_each(|&id| counts[id as usize] += 1);
    let mut starts = vec![0i64];
    for &count in &counts {
        let padded = (count as usize).div_ceil(block) * block;
        starts.push(starts[starts.len() - 1] + padded as i64);
    }
    let mut next = starts.clone();
    let place = |&id: &i64| match usize::try_from(id) {
        Ok(expert) => {
            next[expert] += 1;
            next[expert] - 1
        }
        Err(_) => -1,
    };
    (ids.iter().map(place).collect(), counts, starts)
}

#[test]
fn every_row_goes_to_its_experts_and_comes_back_weighted() {
    for (k, all, ranks) in [
        (2, 16, 1),
        (6, 64, 1),
        (8, 256, 1),
        (2, 16, 16),
        (6, 64, 4),
        (8, 256, 4),
        (8, 256, 16),
    ] {
        for (tokens, columns) in [(0, 64), (1, 64), (33, 131), (20, 576)] {
            // The experts of the last rank: tokens of all others are none of its business.
            let experts = all / ranks;
            let first = (all - experts) as i64;
            let own = |id: i64| if id >= first { id - first } else { -1 };
            let ids_of: Vec<i64> = routing(tokens, k, all).into_iter().map(own).collect();
            let (places, counts, starts) = positions(&ids_of, experts, 4);
            let rows = starts[experts] as usize;
            for_each_device(|device| {
                let mut counted = device.zeros::<i32, 1>([experts]).unwrap();
                let flat = device.upload(&ids_of, [tokens * k]).unwrap();
                count_experts(&mut counted, &flat).launch(device).unwrap();
                let counted = counted.download().unwrap();
                assert_eq!(counted.iter().map(|&v| i64::from(v)).collect::<Vec<_>>(), counts);

                let on_device = device.upload(&counted, [experts]).unwrap();
                let mut offsets = device.zeros::<i64, 1>([experts + 1]).unwrap();
                expert_offsets(&mut offsets, &on_device, Runtime(4))
                    .launch(device)
                    .unwrap();
                assert_eq!(offsets.download().unwrap(), starts);

                let matrix = unique::<bf16>(tokens, columns, 1);
                let src = Guarded::<bf16>::new(device, &matrix, columns, Placement::Misaligned);
                let mut permuted = Guarded::<bf16>::untouched(device, rows, columns, Placement::Contiguous);
                let to = ids::<i32>(device, &places, [tokens, k]);
                permute_rows(permuted.view_mut(), src.view(), &to)
                    .launch(device)
                    .unwrap();
                let mut expected = sentinels::<bf16>(rows, columns);
                for (i, &place) in places.iter().enumerate().filter(|(_, place)| **place >= 0) {
                    expected[place as usize] = matrix[i / k].clone();
                }
                assert_rows(&permuted.read(), &expected, (k, experts, tokens, columns));

                // Rows that make exact sums: the combination can be told to the bit.
                let x: Vec<bf16> = noise(rows * columns)
                    .iter()
                    .map(|v| bf16::from_f32((v % 13) as f32))
                    .collect();
                let weights: Vec<f32> = noise(tokens * k).iter().map(|v| (v % 5) as f32 * 0.5).collect();
                let (x_on, weights_on) = (
                    device.upload(&x, [rows, columns]).unwrap(),
                    device.upload(&weights, [tokens, k]).unwrap(),
                );
                let mut out = Guarded::<bf16>::untouched(device, tokens, columns, Placement::Misaligned);
                combine_rows(out.view_mut(), &x_on, &to, &weights_on)
                    .launch(device)
                    .unwrap();
                let sum = |token: usize, column: usize| {
                    let term = |j: usize| match usize::try_from(places[token * k + j]) {
                        Ok(place) => x[place * columns + column].to_f32() * weights[token * k + j],
                        Err(_) => 0.0,
                    };
                    bf16::from_f32((0..k).map(term).sum()).to_bits64()
                };
                let expected: Rows = (0..tokens).map(|t| (0..columns).map(|c| sum(t, c)).collect()).collect();
                assert_rows(&out.read(), &expected, (k, experts, tokens, columns));
            });
        }
    }
}

#[test]
fn every_choice_claims_a_slot_of_its_own_in_the_segment_of_its_expert() {
    for (k, experts) in [(1, 1), (2, 16), (8, 256)] {
        for tokens in [0, 1, 255, 257, 700] {
            let mut ids_of = routing(tokens, k, experts);
            // Ids of no expert at all are padding too.
            ids_of
                .iter_mut()
                .skip(3)
                .step_by(41)
                .for_each(|id| *id = experts as i64);
            let real: Vec<i64> = ids_of
                .iter()
                .map(|&id| if id < experts as i64 { id } else { -1 })
                .collect();
            let (_, counts, starts_of) = positions(&real, experts, 4);
            // Two batches share the cursor: the second one goes on where the first one ends.
            let (first, second) = ids_of.split_at(tokens / 2 * k);
            for_each_device(|device| {
                let starts = device.upload(&starts_of, [experts + 1]).unwrap();
                let mut cursor = device.zeros::<i32, 1>([experts]).unwrap();
                let mut slots = Vec::new();
                for batch in [first, second] {
                    let ids = ids::<i32>(device, batch, [batch.len() / k, k]);
                    let mut claimed = device.upload(&vec![-9i64; batch.len()], [batch.len() / k, k]).unwrap();
                    claim_slots(&mut claimed, &mut cursor, &ids, &starts)
                        .launch(device)
                        .unwrap();
                    slots.extend(claimed.download().unwrap());
                }
                let mut claimed = vec![Vec::new(); experts];
                for (&id, &slot) in real.iter().zip(&slots) {
                    match usize::try_from(id) {
                        Ok(expert) => claimed[expert].push(slot),
                        Err(_) => assert_eq!(slot, -1),
                    }
                }
                for (expert, slots) in claimed.iter_mut().enumerate() {
                    slots.sort_unstable();
                    let all = starts_of[expert]..starts_of[expert] + counts[expert];
                    assert!(slots.iter().copied().eq(all), "expert {expert} of {experts}: {slots:?}");
                }
                let counted: Vec<i64> = cursor.download().unwrap().into_iter().map(i64::from).collect();
                assert_eq!(counted, counts);
                // Nothing here depends on the order in which the devices claimed.
                claimed
            });
        }
    }
}

#[test]
fn a_combination_is_summed_in_f32_in_order_and_rounded_once() {
    for_each_device(|device| {
        let (tokens, k, columns) = (5, 8, 300);
        let number = |v: &u64| (*v % 100_000) as f32 / 777.0 - 60.0;
        let x: Vec<bf16> = noise(40 * columns).iter().map(|v| bf16::from_f32(number(v))).collect();
        let weights: Vec<f32> = noise(tokens * k).iter().map(number).collect();
        let places: Vec<i64> = (0..tokens * k)
            .map(|i| if i % 9 == 4 { -1 } else { i as i64 })
            .collect();
        let (x_on, w_on) = (
            device.upload(&x, [40, columns]).unwrap(),
            device.upload(&weights, [tokens, k]).unwrap(),
        );
        let mut out = device.zeros::<bf16, 2>([tokens, columns]).unwrap();
        combine_rows(&mut out, &x_on, &ids::<i64>(device, &places, [tokens, k]), &w_on)
            .launch(device)
            .unwrap();
        for (i, value) in out.download().unwrap().into_iter().enumerate() {
            let (token, column) = (i / columns, i % columns);
            let mut sum = 0.0f32;
            for j in 0..k {
                if let Ok(place) = usize::try_from(places[token * k + j]) {
                    sum += x[place * columns + column].to_f32() * weights[token * k + j];
                }
            }
            assert_eq!(value, bf16::from_f32(sum), "token {token}, column {column}");
        }
    });
}

#[test]
fn a_sorted_order_is_inverted() {
    for n in [0usize, 1, 1023, 1024, 3001] {
        for_each_device(|device| {
            let mut order: Vec<i64> = (0..n as i64).collect();
            order.sort_by_key(|&i| (i * 7919) % 1009);
            let on_device = device.upload(&order, [n]).unwrap();
            let mut place = device.upload(&vec![-7i32; n + 1], [n + 1]).unwrap();
            invert_permutation(&mut place, &on_device).launch(device).unwrap();
            let place = place.download().unwrap();
            order
                .iter()
                .enumerate()
                .for_each(|(i, &at)| assert_eq!(place[at as usize], i as i32));
            assert_eq!(place[n], -7);
        });
    }
}

#[test]
fn offsets_of_experts_are_whole_blocks_and_empty_experts_take_none() {
    for experts in [1usize, 16, 64, 256, 257] {
        let counts: Vec<i32> = noise(experts)
            .iter()
            .map(|v| (v % 300) as i32 * ((v / 300) % 3 != 0) as i32)
            .collect();
        for block in [1u64, 128] {
            for_each_device(|device| {
                let on_device = device.upload(&counts, [experts]).unwrap();
                let mut starts = device.zeros::<i32, 1>([experts + 1]).unwrap();
                expert_offsets(&mut starts, &on_device, Exact(block))
                    .launch(device)
                    .unwrap();
                let mut sum = 0;
                let starts = starts.download().unwrap();
                for (expert, &count) in counts.iter().enumerate() {
                    assert_eq!(starts[expert], sum);
                    sum += (count as u64).div_ceil(block) as i32 * block as i32;
                }
                assert_eq!(starts[experts], sum);
                starts
            });
        }
    }
}

#[test]
fn rows_are_quantised_with_the_largest_of_each_128_columns() {
    for columns in [128usize, 576 / 128 * 128, 7168] {
        for_each_device(|device| {
            let rows = 4;
            let groups = columns / 128;
            let mut values: Vec<bf16> = noise(rows * columns)
                .iter()
                .map(|v| bf16::from_f32(((*v % 20_001) as f32 - 10_000.0) / 333.0))
                .collect();
            // A row of zeros, and one with a NaN and the largest in the last column.
            values[columns..2 * columns].fill(bf16::ZERO);
            values[2 * columns + 5] = bf16::NAN;
            values[3 * columns - 1] = bf16::from_f32(30_000.0);
            let src = device.upload(&values, [rows, columns]).unwrap();
            let mut out = device.zeros::<F8E4M3, 2>([rows, columns]).unwrap();
            let mut scales = device.zeros::<f32, 2>([rows, groups]).unwrap();
            quantize_rows(&mut out, &mut scales, &src).launch(device).unwrap();
            let mut back = device.zeros::<bf16, 2>([rows, columns]).unwrap();
            dequantize_rows(&mut back, &out, &scales).launch(device).unwrap();
            let (out, scales, back) = (
                out.download().unwrap(),
                scales.download().unwrap(),
                back.download().unwrap(),
            );
            for (i, value) in values.iter().enumerate() {
                let (row, column) = (i / columns, i % columns);
                let group = &values[row * columns + column / 128 * 128..][..128];
                let largest = group.iter().map(|v| v.to_f32().abs()).fold(0.0, f32::max);
                let scale = scales[row * groups + column / 128];
                assert_eq!(scale, largest.max(1e-10) / 448.0);
                if value.is_nan() {
                    assert!(out[i].to_f32().is_nan() && back[i].is_nan());
                    continue;
                }
                assert_eq!(back[i], bf16::from_f32(out[i].to_f32() * scale));
                // e4m3 has 4 significant bits; the smallest it tells apart is 2^-9.
                let error = (out[i].to_f32() * scale - value.to_f32()).abs();
                assert!(
                    error <= (value.to_f32().abs() / 16.0).max(scale / 1000.0),
                    "{value} {error} {scale}"
                );
            }
            assert!(out[columns..2 * columns].iter().all(|v| v.to_bits() == 0));
            (
                out.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
                scales,
                back.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            )
        });
    }
}

#[test]
fn a_row_its_scales_and_its_ids_are_shuffled_by_one_index() {
    for_each_device(|device| {
        let (rows, index) = (9, [8i32, 0, -1, 3, 3]);
        let [bytes, scales, narrow, wide] = [
            unique::<F8E4M3>(rows, 384, 1),
            unique::<f32>(rows, 3, 2),
            unique::<i32>(rows, 1, 3),
            unique::<i64>(rows, 2, 4),
        ];
        let at = device.upload(&index, [5]).unwrap();
        let a = Guarded::<F8E4M3>::new(device, &bytes, 384, Placement::Misaligned);
        let b = Guarded::<f32>::new(device, &scales, 3, Placement::Contiguous);
        let c = Guarded::<i32>::new(device, &narrow, 1, Placement::Misaligned);
        let d = Guarded::<i64>::new(device, &wide, 2, Placement::Contiguous);
        let mut a_out = Guarded::<F8E4M3>::untouched(device, 5, 384, Placement::Contiguous);
        let mut b_out = Guarded::<f32>::untouched(device, 5, 3, Placement::Misaligned);
        let mut c_out = Guarded::<i32>::untouched(device, 5, 1, Placement::Misaligned);
        let mut d_out = Guarded::<i64>::untouched(device, 5, 2, Placement::Contiguous);
        gather_four(
            a_out.view_mut(),
            b_out.view_mut(),
            c_out.view_mut(),
            d_out.view_mut(),
            a.view(),
            b.view(),
            c.view(),
            d.view(),
            &at,
        )
        .launch(device)
        .unwrap();
        let taken = |matrix: &Rows| -> Rows {
            let row = |&at: &i32| usize::try_from(at).map_or(vec![0; matrix[0].len()], |at| matrix[at].clone());
            index.iter().map(row).collect()
        };
        assert_rows(&a_out.read(), &taken(&bytes), "bytes");
        assert_rows(&b_out.read(), &taken(&scales), "scales");
        assert_rows(&c_out.read(), &taken(&narrow), "narrow");
        assert_rows(&d_out.read(), &taken(&wide), "wide");
    });
}
