//! The key-value cache, and the indices of requests.

use half::bf16;
use tilewright_dp::kernels::{
    alloc_extend, copy_fields, copy_kv_layers, kv_indices, last_slot, ragged_positions, store_kv, store_mla,
    translate_ids, zero_pages,
};
use tilewright_dsl::call::{Exact, Runtime};
use tilewright_dsl::element::{Element, Integer};
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, DeviceTensor, Launch, device_count};

fn index<I: Integer>(device: &Device, values: &[i64]) -> DeviceTensor<I, 1> {
    let values: Vec<I> = values.iter().map(|&v| I::from_bits64(v as u64)).collect();
    device.upload(&values, [values.len()]).unwrap()
}

/// Slots of a cache of 40: none twice, some skipped.
const SLOTS: [i64; 9] = [39, 0, 7, -1, 12, 40, 3, i32::MIN as i64, 20];

/// `old` with the rows of `new` at their slots.
fn stored(old: &Rows, new: &Rows, slots: &[i64]) -> Rows {
    let mut rows = old.clone();
    for (row, &slot) in new.iter().zip(slots) {
        if let Some(to) = usize::try_from(slot).ok().and_then(|slot| rows.get_mut(slot)) {
            to.clone_from(row);
        }
    }
    rows
}

fn store<T: Element, I: Integer>(device: &Device, widths: [usize; 2], placement: Placement) {
    let [k, v] = [0, 1].map(|i| unique::<T>(SLOTS.len(), widths[i], 1 + i as u64));
    let [old_keys, old_values] = [0, 1].map(|i| unique::<T>(40, widths[i], 3 + i as u64));
    let (k_on, v_on) = (
        Guarded::<T>::new(device, &k, widths[0], placement),
        Guarded::<T>::new(device, &v, widths[1], placement),
    );
    let mut keys = Guarded::<T>::new(device, &old_keys, widths[0], placement);
    let mut values = Guarded::<T>::new(device, &old_values, widths[1], placement);
    let slots = index::<I>(device, &SLOTS);
    store_kv(keys.view_mut(), values.view_mut(), k_on.view(), v_on.view(), &slots)
        .launch(device)
        .unwrap();
    assert_rows(&keys.read(), &stored(&old_keys, &k, &SLOTS), (T::TYPE, I::TYPE, widths));
    assert_rows(
        &values.read(),
        &stored(&old_values, &v, &SLOTS),
        (T::TYPE, I::TYPE, widths),
    );
}

#[test]
fn keys_and_values_go_to_their_slots_and_no_other_changes() {
    for_each_device(|device| {
        for placement in PLACEMENTS {
            for bytes in [128, 256, 1024] {
                store::<bf16, i32>(device, [bytes / 2, bytes / 4], placement);
                store::<u8, i64>(device, [bytes, bytes + 1], placement);
            }
            store::<f32, i64>(device, [1, 131], placement);
            store::<u64, i32>(device, [7, 2], placement);
        }
    });
}

#[test]
fn both_parts_of_a_latent_go_to_one_row() {
    for_each_device(|device| {
        for placement in PLACEMENTS {
            for [latent, rope_width] in [[512, 64], [16, 8], [5, 3], [1, 1]] {
                let width = latent + rope_width;
                let (nope, rope) = (
                    unique::<bf16>(SLOTS.len(), latent, 1),
                    unique::<bf16>(SLOTS.len(), rope_width, 2),
                );
                let old = unique::<bf16>(40, width, 3);
                let (n_on, r_on) = (
                    Guarded::<bf16>::new(device, &nope, latent, placement),
                    Guarded::<bf16>::new(device, &rope, rope_width, placement),
                );
                let mut cache = Guarded::<bf16>::new(device, &old, width, placement);
                store_mla(
                    cache.view_mut(),
                    n_on.view(),
                    r_on.view(),
                    &index::<i64>(device, &SLOTS),
                )
                .launch(device)
                .unwrap();
                let both: Rows = nope
                    .iter()
                    .zip(&rope)
                    .map(|(n, r)| [n.clone(), r.clone()].concat())
                    .collect();
                assert_rows(
                    &cache.read(),
                    &stored(&old, &both, &SLOTS),
                    (latent, rope_width, placement),
                );
            }
        }
    });
}

#[test]
fn slots_are_copied_in_every_layer_at_once() {
    for_each_device(|device| {
        let (to, from) = ([3i64, 9, -1, 4, 40], [1i64, 2, 5, -3, 6]);
        let old = [1, 2, 3].map(|layer| unique::<bf16>(10, 96, layer));
        let [mut a, mut b, mut c] = [0, 1, 2].map(|l| Guarded::<bf16>::new(device, &old[l], 96, Placement::Contiguous));
        copy_kv_layers(
            [a.view_mut(), b.view_mut(), c.view_mut()],
            &index::<i32>(device, &to),
            &index::<i32>(device, &from),
        )
        .launch(device)
        .unwrap();
        for (layer, after) in [a, b, c].iter().enumerate() {
            let mut expected = old[layer].clone();
            expected[3] = old[layer][1].clone();
            expected[9] = old[layer][2].clone();
            assert_rows(&after.read(), &expected, layer);
        }
    });
}

#[test]
fn the_listed_pages_become_zero() {
    for_each_device(|device| {
        let old = unique::<u16>(12, 64 * 9, 1);
        let mut cache = Guarded::<u16>::new(device, &old, 64 * 9, Placement::Contiguous);
        zero_pages(cache.view_mut(), &index::<i64>(device, &[11, 2, -1, 12]))
            .launch(device)
            .unwrap();
        let mut expected = old;
        expected[11].fill(0);
        expected[2].fill(0);
        assert_rows(&cache.read(), &expected, "pages");
    });
}

/// Requests of these lengths: their starts.
fn starts(lengths: &[i64]) -> Vec<i64> {
    let mut starts = vec![0];
    lengths
        .iter()
        .for_each(|length| starts.push(starts[starts.len() - 1] + length));
    starts
}

const LENGTHS: [&[i64]; 5] = [&[3, 0, 1, 700, 256, 257, 0], &[1], &[0, 0], &[], &[513]];

#[test]
fn tokens_are_numbered_from_the_prefix_of_their_request() {
    for lengths in LENGTHS {
        let prefix: Vec<i64> = (0..lengths.len() as i64).map(|b| b * b * 100).collect();
        let total = lengths.iter().sum::<i64>() as usize;
        for_each_device(|device| {
            let mut positions = device.upload(&vec![-5i64; total + 2], [total + 2]).unwrap();
            ragged_positions(
                &mut positions,
                &index::<i32>(device, &starts(lengths)),
                &index::<i32>(device, &prefix),
            )
            .launch(device)
            .unwrap();
            let mut expected: Vec<i64> = Vec::new();
            for (b, &length) in lengths.iter().enumerate() {
                expected.extend((0..length).map(|i| prefix[b] + i));
            }
            expected.extend([-5, -5]);
            assert_eq!(positions.download().unwrap(), expected);
        });
    }
}

#[test]
fn slots_of_requests_are_packed_and_the_last_of_a_prefix_is_found() {
    for lengths in LENGTHS {
        let (requests, length) = (20usize, 900usize);
        let pool: Vec<i32> = (0..requests * length).map(|i| i as i32 * 3 + 1).collect();
        let rows: Vec<i64> = (0..lengths.len() as i64).map(|b| (b * 7 + 2) % 20).collect();
        let first: Vec<i64> = (0..lengths.len() as i64).map(|b| b * 5).collect();
        let total = lengths.iter().sum::<i64>() as usize;
        for_each_device(|device| {
            let pool_on = device.upload(&pool, [requests, length]).unwrap();
            let mut out = device.zeros::<i32, 1>([total]).unwrap();
            let rows_on = index::<i64>(device, &rows);
            kv_indices(
                &mut out,
                &index::<i32>(device, &starts(lengths)),
                &rows_on,
                &index::<i64>(device, &first),
                &pool_on,
            )
            .launch(device)
            .unwrap();
            let mut expected = Vec::new();
            for (b, &count) in lengths.iter().enumerate() {
                let at = rows[b] as usize * length + first[b] as usize;
                expected.extend_from_slice(&pool[at..][..count as usize]);
            }
            assert_eq!(out.download().unwrap(), expected);

            let mut last = device.zeros::<i64, 1>([lengths.len()]).unwrap();
            last_slot(&mut last, &rows_on, &index::<i64>(device, lengths), &pool_on)
                .launch(device)
                .unwrap();
            let slot = |b: usize| match lengths[b] {
                0 => -1,
                prefix => i64::from(pool[rows[b] as usize * length + prefix as usize - 1]),
            };
            assert_eq!(
                last.download().unwrap(),
                (0..lengths.len()).map(slot).collect::<Vec<_>>()
            );
        });
    }
}

#[test]
fn new_tokens_fill_the_last_page_and_then_take_new_ones() {
    for page in [1i64, 16, 64] {
        for batch in [1usize, 7, 300] {
            let prefix: Vec<i64> = (0..batch as i64).map(|b| (b * 37) % 150).collect();
            let new: Vec<i64> = (0..batch as i64)
                .map(|b| (b * 53 + 5) % 400 * i64::from(b % 5 != 3))
                .collect();
            let last: Vec<i64> = (0..batch as i64)
                .map(|b| 1_000_000 + b * page + (prefix[b as usize] - 1).rem_euclid(page))
                .collect();
            let (mut expected, mut used) = (Vec::new(), 0usize);
            let free = |i: usize| (i as i64 * 7919) % 100_003 + 1;
            for b in 0..batch {
                let mut at = last[b];
                for position in prefix[b]..prefix[b] + new[b] {
                    at = if position % page == 0 {
                        used += 1;
                        free(used - 1) * page
                    } else {
                        at + 1
                    };
                    expected.push(at);
                }
            }
            let pages: Vec<i64> = (0..used + 3).map(free).collect();
            for_each_device(|device| {
                let mut slots = device.zeros::<i64, 1>([expected.len()]).unwrap();
                let mut taken = device.zeros::<i64, 1>([1]).unwrap();
                alloc_extend(
                    &mut slots,
                    &mut taken,
                    &index::<i64>(device, &starts(&new)),
                    &index::<i64>(device, &prefix),
                    &index::<i64>(device, &last),
                    &index::<i64>(device, &pages),
                    Exact(page as u64),
                )
                .launch(device)
                .unwrap();
                assert_eq!(taken.download().unwrap(), [used as i64]);
                assert_eq!(slots.download().unwrap(), expected, "page {page}, batch {batch}");
            });
        }
    }
}

#[test]
fn no_slot_wraps_however_absurd_pages_and_slots_are() {
    let most = 1i64 << 40;
    for page in [1i64, 3, 64, most] {
        let pages = [i64::MAX, i64::MIN, most, -most, 5];
        let first = |id: i64| id.clamp(-(most / page), most / page) * page;
        for_each_device(|device| {
            // One token to a page that is begun, and one each to new pages, for one page each.
            let starts = index::<i64>(device, &[0, 1, 2, 3, 4, 5, 6, 7]);
            let prefix = index::<i64>(device, &[1, 1, 0, 0, 0, 0, 0]);
            let last = index::<i64>(device, &[i64::MAX, i64::MIN, 0, 0, 0, 0, 0]);
            let mut slots = device.zeros::<i64, 1>([7]).unwrap();
            let mut taken = device.zeros::<i64, 1>([1]).unwrap();
            let pages = index::<i64>(device, &pages);
            alloc_extend(
                &mut slots,
                &mut taken,
                &starts,
                &prefix,
                &last,
                &pages,
                Runtime(page as u64),
            )
            .launch(device)
            .unwrap();
            let free = [i64::MAX, i64::MIN, most, -most, 5, 0, 0].map(first);
            let expected = match page {
                // Both requests begin a page too.
                1 => free,
                _ => [most + 1, -most + 1, free[0], free[1], free[2], free[3], free[4]],
            };
            assert_eq!(slots.download().unwrap(), expected, "pages of {page}");
        });
    }
}

#[test]
fn ids_are_translated_and_what_is_behind_the_count_is_zero() {
    for_each_device(|device| {
        let table: Vec<i64> = (0..100).map(|v| v * 11 + 3).collect();
        let ids: Vec<i64> = (0..600).map(|i| (i * 29) % 110 - 5).collect();
        let mut out = device.upload(&[9i64; 600], [600]).unwrap();
        translate_ids(
            &mut out,
            &index::<i32>(device, &ids),
            &index::<i64>(device, &table),
            Runtime(523),
        )
        .launch(device)
        .unwrap();
        let expected = |(i, &id): (usize, &i64)| match usize::try_from(id) {
            Ok(id) if i < 523 => table.get(id).copied().unwrap_or(0),
            _ => 0,
        };
        assert_eq!(
            out.download().unwrap(),
            ids.iter().enumerate().map(expected).collect::<Vec<_>>()
        );
    });
}

#[test]
fn fields_of_two_types_and_any_strides_are_copied_in_one_launch() {
    const HAVE: usize = 300;
    for rows in [0usize, 1, 256, 257, 300, 310] {
        for_each_device(|device| {
            let narrow = [1, 1, 3].map(|width| unique::<i32>(HAVE, width, width as u64));
            let wide = [1, 2].map(|width| unique::<i64>(HAVE + width, width, 10 + width as u64));
            // A list, a column of a table, and columns of a wider one; of 64 bits a column, and one row more than the others.
            let a = Guarded::<i32>::new(device, &narrow[0], 1, Placement::Contiguous);
            let b = Guarded::<i32>::new(device, &narrow[1], 1, Placement::Misaligned);
            let c = Guarded::<i32>::new(device, &narrow[2], 3, Placement::Misaligned);
            let d = Guarded::<i64>::new(device, &wide[0], 1, Placement::Misaligned);
            let e = Guarded::<i64>::new(device, &wide[1], 2, Placement::Contiguous);
            let count = device.upload(&[rows as i64], [1]).unwrap();
            for bound in 0..3 {
                let mut a_out = Guarded::<i32>::untouched(device, 305, 1, Placement::Misaligned);
                let mut b_out = Guarded::<i32>::untouched(device, 100, 1, Placement::Contiguous);
                let mut c_out = Guarded::<i32>::untouched(device, 305, 3, Placement::Contiguous);
                let mut d_out = Guarded::<i64>::untouched(device, 305, 1, Placement::Contiguous);
                let mut e_out = Guarded::<i64>::untouched(device, 305, 2, Placement::Misaligned);
                let outs = [a_out.view_mut(), b_out.view_mut(), c_out.view_mut()];
                let wide_outs = [d_out.view_mut(), e_out.view_mut()];
                let (fields, wide_fields) = ([a.view(), b.view(), c.view()], [d.view(), e.view()]);
                let call = match BINDINGS.get(bound) {
                    Some(bind) => copy_fields(outs, wide_outs, fields, wide_fields, bind(rows as u64)),
                    None => copy_fields(
                        outs,
                        wide_outs,
                        fields,
                        wide_fields,
                        device_count(&count, 0, 1000).unwrap(),
                    ),
                };
                call.launch(device).unwrap();
                let copied = |mut out: Rows, field: &Rows| {
                    let n = rows.min(out.len()).min(field.len());
                    out[..n].clone_from_slice(&field[..n]);
                    out
                };
                let narrow_rows = |n, width| sentinels::<i32>(n, width);
                let wide_rows = |width| sentinels::<i64>(305, width);
                assert_rows(&a_out.read(), &copied(narrow_rows(305, 1), &narrow[0]), ("a", rows));
                assert_rows(&b_out.read(), &copied(narrow_rows(100, 1), &narrow[1]), ("b", rows));
                assert_rows(&c_out.read(), &copied(narrow_rows(305, 3), &narrow[2]), ("c", rows));
                assert_rows(&d_out.read(), &copied(wide_rows(1), &wide[0]), ("d", rows));
                assert_rows(&e_out.read(), &copied(wide_rows(2), &wide[1]), ("e", rows));
            }
        });
    }
}
