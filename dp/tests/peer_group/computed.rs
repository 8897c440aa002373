//! What collectives compute, bit by bit, beside what another group does.

use half::{bf16, f16};
use tilewright_dp::collective::{Group, LocalGroup, PeerGroup, Reduction, Summand};
use tilewright_dsl::element::Element;
use tilewright_runtime::Device;

use super::place::{AMPLE, Place, for_each_place, on_all};
use tilewright_harness::for_every_element;
use tilewright_harness::testing::*;

/// A rank's rows before a gather: its own, and sentinels where the others' come and behind.
fn before<T: Element>(all: &Rows, parts: &[u64], rank: usize, columns: usize) -> Rows {
    let mut mine = sentinels::<T>(all.len(), columns);
    let start = parts[..rank].iter().sum::<u64>() as usize;
    let own = start..start + parts[rank] as usize;
    mine[own.clone()].clone_from_slice(&all[own]);
    mine
}

fn gather<T: Element>(group: &PeerGroup, parts: &[u64], columns: usize, placement: Placement, salt: u64) {
    let spare = 2;
    let rows = parts.iter().sum::<u64>() as usize;
    let mut expected = unique::<T>(rows, columns, salt);
    expected.extend(sentinels::<T>(spare, columns));
    let mine = before::<T>(&expected, parts, group.rank(), columns);
    let device = group.stream().device();
    let mut buffer = Guarded::<T>::new(device, &mine, columns, placement);
    group.all_gather(&mut buffer.view_mut(), parts).unwrap();
    group.finish().unwrap();
    assert_rows(
        &buffer.read(),
        &expected,
        (parts, T::TYPE, columns, placement, group.rank()),
    );
}

/// Parts of so many ranks that are equal, uneven, of one rank alone, and none.
fn all_parts(ranks: usize) -> Vec<Vec<u64>> {
    let ranks = ranks as u64;
    vec![
        vec![2; ranks as usize],
        (0..ranks).map(|rank| 3 * rank % 5).collect(),
        (0..ranks).map(|rank| 9 * u64::from(rank + 1 == ranks)).collect(),
        vec![0; ranks as usize],
        (0..ranks).map(|rank| 1 + rank % 2).collect(),
    ]
}

#[test]
fn parts_of_any_length_are_gathered_with_all_their_bits() {
    for_each_place(&[1, 2, 3, 4], |place, ranks| {
        on_all(place, ranks, AMPLE, |_, group| {
            let (group, parts) = (&group, &all_parts(ranks));
            for (salt, parts) in (1..).zip(parts) {
                for placement in PLACEMENTS {
                    for columns in [0, 1, 7, 64, 1500] {
                        gather::<bf16>(group, parts, columns, placement, salt);
                    }
                }
            }
            let placement = Placement::Misaligned;
            for_every_element!(gather(group, &parts[1], 21, placement, 5));
            for_every_element!(gather(group, &parts[4], 32, placement, 6));
        });
    });
}

/// Terms of which the order of summing decides the result, NaNs and infinities left out.
fn terms<T: Summand>(rows: usize, columns: usize, rank: usize, salt: u64, of: fn(f64) -> T) -> Vec<T> {
    let mut rng = fastrand::Rng::with_seed(salt * 100 + rank as u64);
    let mut term = || {
        let size = 2f64.powi(rng.i32(-6..6));
        of((rng.f64() - 0.5) * size * 8.0)
    };
    (0..rows * columns).map(|_| term()).collect()
}

fn bits<T: Element>(rows: &[T]) -> Vec<u64> {
    rows.iter().map(|x| x.to_bits64()).collect()
}

/// The sums of [`terms`] as a group of threads on the CPU device has them, which compares them with the host's.
fn expected<T: Summand>(ranks: usize, rows: usize, columns: usize, salt: u64, of: fn(f64) -> T) -> Vec<u64> {
    let device = Device::cpu();
    let groups = LocalGroup::ranks(&device, ranks, AMPLE).unwrap();
    let sum = |group: LocalGroup| {
        let mine = terms::<T>(rows, columns, group.rank(), salt, of);
        let mut buffer = device.upload(&mine, [rows, columns]).unwrap();
        group.all_reduce(&mut buffer.view_mut()).unwrap();
        bits(&buffer.download().unwrap())
    };
    let sum = &sum;
    std::thread::scope(|scope| {
        let threads: Vec<_> = groups
            .into_iter()
            .map(|group| scope.spawn(move || sum(group)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .next_back()
            .unwrap()
    })
}

/// Rows and columns of sums: none, one, aligned ones, and what a row's pieces and shares do not divide.
const SHAPES: [(usize, usize); 4] = [(0, 3), (1, 1), (5, 24), (11, 1030)];

fn summed<T: Summand>(place: Place, ranks: usize, shapes: &[(usize, usize)], of: fn(f64) -> T) {
    for (salt, &(rows, columns)) in shapes.iter().enumerate() {
        let expected = expected(ranks, rows, columns, salt as u64, of);
        on_all(place, ranks, AMPLE, |rank, group| {
            let mine = terms::<T>(rows, columns, rank, salt as u64, of);
            let mine: Rows = mine.chunks(columns).map(bits).collect();
            let device = group.stream().device();
            for placement in PLACEMENTS {
                for reduction in [None, Some(Reduction::OneShot), Some(Reduction::TwoShot)] {
                    let mut buffer = Guarded::<T>::new(device, &mine, columns, placement);
                    match reduction {
                        None => group.all_reduce(&mut buffer.view_mut()).unwrap(),
                        Some(reduction) => group.all_reduce_by(&mut buffer.view_mut(), reduction).unwrap(),
                    }
                    group.finish().unwrap();
                    assert_eq!(
                        buffer.read().concat(),
                        expected,
                        "{reduction:?}, {}, rank {rank}",
                        T::TYPE
                    );
                }
                // Uneven parts, and rows behind them that stay.
                for parts in all_parts(ranks) {
                    if parts.iter().sum::<u64>() > rows as u64 {
                        continue;
                    }
                    let mut buffer = Guarded::<T>::new(device, &mine, columns, placement);
                    group.reduce_scatter(&mut buffer.view_mut(), &parts).unwrap();
                    group.finish().unwrap();
                    let found = buffer.read();
                    let start = parts[..rank].iter().sum::<u64>() as usize;
                    let own = start..start + parts[rank] as usize;
                    let sums: Vec<&[u64]> = expected.chunks(columns).collect();
                    assert_eq!(found[own.clone()], sums[own], "{parts:?}, {}, rank {rank}", T::TYPE);
                    let total = parts.iter().sum::<u64>() as usize;
                    assert_eq!(found[total..], mine[total..], "{parts:?}, {}, rank {rank}", T::TYPE);
                }
            }
        });
    }
}

#[test]
fn sums_have_the_bits_of_sums_in_rank_order_in_one_shot_or_two() {
    for_each_place(&[1, 2, 3, 4], |place, ranks| {
        summed::<bf16>(place, ranks, &SHAPES, bf16::from_f64);
        summed::<f32>(place, ranks, &SHAPES[2..], |x| x as f32);
    });
    let last = &SHAPES[3..];
    for_each_place(&[2, 3], |place, ranks| {
        summed::<f16>(place, ranks, last, f16::from_f64);
        summed::<f64>(place, ranks, last, |x| x);
        summed::<i8>(place, ranks, last, |x| (x * 64.0) as i8);
        summed::<u16>(place, ranks, last, |x| (x * 4096.0) as i64 as u16);
        summed::<i64>(place, ranks, last, |x| (x * 1e15) as i64);
    });
}

/// Collectives of all kinds one after the other, with rows that change, and ranks that are late by turns.
#[test]
fn ranks_delayed_at_random_find_every_row_right() {
    for_each_place(&[2, 4], |place, ranks| {
        on_all(place, ranks, AMPLE, |rank, group| {
            let mut own = fastrand::Rng::with_seed(rank as u64);
            let mut common = fastrand::Rng::with_seed(7);
            let device = group.stream().device();
            for step in 0..200 {
                if own.u8(..4) == 0 {
                    std::thread::sleep(std::time::Duration::from_micros(own.u64(..1000)));
                }
                let parts: Vec<u64> = (0..ranks).map(|_| common.u64(..4)).collect();
                if common.bool() {
                    gather::<u32>(&group, &parts, 40, Placement::Contiguous, step);
                    continue;
                }
                let rows = 1 + common.usize(..6);
                let mine = |rank: usize| (0..rows * 40).map(move |i| (i + rank * 1000 + step as usize) as u64);
                let all: Vec<u64> = mine(rank).collect();
                let mut buffer = device.upload(&all, [rows, 40]).unwrap();
                let reduction = [Reduction::OneShot, Reduction::TwoShot][common.usize(..2)];
                group.all_reduce_by(&mut buffer.view_mut(), reduction).unwrap();
                let sums: Vec<u64> = (0..rows * 40)
                    .map(|i| (0..ranks).filter_map(|rank| mine(rank).nth(i)).sum())
                    .collect();
                assert_eq!(buffer.download().unwrap(), sums, "step {step}, rank {rank}");
            }
            group.finish().unwrap();
        });
    });
}

/// Rows of one length fill a half of staging to its end while rows of another length begin the other half.
#[test]
fn halves_of_staging_lie_apart_whatever_the_length_of_rows() {
    for_each_place(&[2, 3], |place, ranks| {
        on_all(place, ranks, AMPLE, |rank, group| {
            gather::<u8>(&group, &vec![1; ranks], 16, Placement::Contiguous, 0);
            let full = (group.staging() / 2 / 16) as u64;
            let parts = |total: u64| -> Vec<u64> {
                let ranks = ranks as u64;
                (0..ranks)
                    .map(|rank| total * (rank + 1) / ranks - total * rank / ranks)
                    .collect()
            };
            let device = group.stream().device();
            let mut buffer = device
                .upload(&vec![rank as u8; full as usize * 16], [full as usize, 16])
                .unwrap();
            for step in 0..6 {
                group.all_gather(&mut buffer.view_mut(), &parts(full)).unwrap();
                gather::<u8>(&group, &parts(5), 48, Placement::Contiguous, step);
            }
            let owner = |row: usize| (0..ranks).find(|&rank| (row as u64) < parts(full)[..=rank].iter().sum());
            let found = buffer.download().unwrap();
            for (row, bytes) in found.chunks(16).enumerate() {
                assert!(
                    bytes.iter().all(|&byte| Some(byte as usize) == owner(row)),
                    "row {row}, rank {rank}"
                );
            }
            group.finish().unwrap();
        });
    });
}
