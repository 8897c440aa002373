//! Every row of a gather, of ranks that have some, many and none, with all its bits.

use std::sync::Mutex;

use half::bf16;
use tilewright_dp::collective::{Group, LocalGroup, PeerGroup};
use tilewright_dsl::element::Element;
use tilewright_runtime::Device;

use super::groups::{Part, SIZES, on_all};
use super::place::AMPLE;
use tilewright_harness::testing::*;

/// Rows of each rank: as many each, some none, all none, one alone.
fn parts_of(ranks: usize) -> Vec<Vec<u64>> {
    let of = |rows: fn(u64) -> u64| (0..ranks as u64).map(rows).collect();
    vec![
        of(|_| 4),
        of(|rank| [3, 0, 5, 1, 2][rank as usize % 5]),
        of(|_| 0),
        of(|rank| 7 * u64::from(rank == 1)),
        of(|rank| rank % 2),
    ]
}

/// A gather of one rank's rows among those of all, whose bits nobody else has; two rows belong to nobody.
pub fn gathers<T: Element>(
    group: &impl Group,
    device: &Device,
    parts: &[u64],
    columns: usize,
    placement: Placement,
) -> Rows {
    let rank = group.rank();
    let rows = parts.iter().sum::<u64>() as usize + 2;
    let start = parts[..rank].iter().sum::<u64>() as usize;
    let own = start..start + parts[rank] as usize;
    let mut expected = unique::<T>(rows, columns, 5);
    let nobodys = sentinels::<T>(rows, columns);
    expected[rows - 2..].clone_from_slice(&nobodys[rows - 2..]);
    let mut mine = nobodys;
    mine[own.clone()].clone_from_slice(&expected[own]);
    let mut buffer = Guarded::<T>::new(device, &mine, columns, placement);
    group.all_gather(&mut buffer.view_mut(), parts).unwrap();
    group.finish().unwrap();
    let found = buffer.read();
    assert_rows(&found, &expected, (rank, parts, T::TYPE));
    found
}

fn gather_as_one_group_of_all_ranks_does<W: Part, R: Part>() {
    for size in SIZES {
        let ranks = size[0] * size[1];
        let locals = LocalGroup::ranks(&Device::cpu(), ranks, AMPLE).unwrap();
        let locals: Vec<_> = locals.into_iter().map(|local| Mutex::new(Some(local))).collect();
        on_all::<W, R, _>(size, AMPLE, |group| {
            let local = locals[group.rank()].lock().unwrap().take().unwrap();
            let device = group.stream().device().clone();
            for parts in parts_of(ranks) {
                for (columns, placement) in [
                    (1, Placement::Misaligned),
                    (37, Placement::Misaligned),
                    (64, Placement::Contiguous),
                ] {
                    let found = gathers::<u8>(&group, &device, &parts, columns, placement);
                    assert_eq!(found, gathers::<u8>(&local, &device, &parts, columns, placement));
                    let found = gathers::<bf16>(&group, &device, &parts, columns, placement);
                    assert_eq!(found, gathers::<bf16>(&local, &device, &parts, columns, placement));
                    gathers::<f32>(&group, &device, &parts, columns, placement);
                    gathers::<u64>(&group, &device, &parts, columns, placement);
                }
            }
        });
    }
}

#[test]
fn threads_of_one_device_gather_as_one_group_of_all_ranks_does() {
    gather_as_one_group_of_all_ranks_does::<LocalGroup, LocalGroup>();
}

#[test]
fn peers_within_hosts_gather_as_one_group_of_all_ranks_does() {
    gather_as_one_group_of_all_ranks_does::<PeerGroup, LocalGroup>();
}

#[test]
fn peers_within_and_between_hosts_gather_as_one_group_of_all_ranks_does() {
    gather_as_one_group_of_all_ranks_does::<PeerGroup, PeerGroup>();
}

/// Rows with gaps between the parts, and parts that lie in another order than the ranks.
fn parts_anywhere<R: Part>() {
    let places = [[6..8, 0..0, 1..4], [0..2, 3..5, 9..10], [4..5, 2..4, 0..2]];
    let seats = R::seats(3, AMPLE);
    std::thread::scope(|scope| {
        for seat in seats {
            scope.spawn(|| {
                let group = R::join(seat);
                let (rank, device) = (group.rank(), group.stream().device().clone());
                for places in &places {
                    let own = places[rank].start as usize..places[rank].end as usize;
                    let all = unique::<u16>(10, 19, 3);
                    let mut mine = sentinels::<u16>(10, 19);
                    let mut expected = mine.clone();
                    mine[own.clone()].clone_from_slice(&all[own.clone()]);
                    for place in places {
                        let rows = place.start as usize..place.end as usize;
                        expected[rows.clone()].clone_from_slice(&all[rows]);
                    }
                    let mut buffer = Guarded::<u16>::new(&device, &mine, 19, Placement::Misaligned);
                    group.all_gather_at(&mut buffer.view_mut(), places).unwrap();
                    group.finish().unwrap();
                    assert_rows(&buffer.read(), &expected, (rank, places));

                    let ints: Vec<i32> = (0..190).map(|i| i + 1000 * rank as i32).collect();
                    let mut sums = device.upload(&ints, [10, 19]).unwrap();
                    group.reduce_scatter_at(&mut sums.view_mut(), places).unwrap();
                    group.finish().unwrap();
                    let found = sums.download().unwrap();
                    assert!(
                        (own.start * 19..own.end * 19).all(|i| found[i] == 3 * i as i32 + 3000),
                        "{places:?}"
                    );
                    let is_nobodys = |row: usize| !places.iter().any(|place| place.contains(&(row as u64)));
                    let kept = |row: usize| found[row * 19..(row + 1) * 19] == ints[row * 19..(row + 1) * 19];
                    assert!((0..10).filter(|&row| is_nobodys(row)).all(kept), "{places:?}");
                }
            });
        }
    });
}

#[test]
fn parts_that_lie_anywhere_are_gathered_and_summed_in_any_group() {
    parts_anywhere::<LocalGroup>();
    parts_anywhere::<PeerGroup>();
}
