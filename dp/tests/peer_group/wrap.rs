//! Epochs that wrap at 2^32, of kernels and memory as a group has them.

use tilewright_dp::collective::Peers;
use tilewright_dp::kernels::collective::{HEAD, PLACES, gather_parts};
use tilewright_dsl::call::{OfRank, Runtime};
use tilewright_runtime::Launch;

use super::place::{AMPLE, for_each_place, on_exchanges};

#[test]
fn gathers_go_on_where_epochs_wrap() {
    const FIRST: u32 = u32::MAX - 4;
    for_each_place(&[2, 3], |place, ranks| {
        on_exchanges(ranks, AMPLE, |rank, exchange| {
            let device = place.device(rank);
            let peers = Peers::join(&device, exchange.clone()).unwrap();
            let heads_bytes = 2 * ranks * PLACES * HEAD * 8;
            let mut staging = peers.buffer((1 << 16) + heads_bytes + ranks * 2 * PLACES * 4).unwrap();
            let mut heads = staging.split_off(1 << 16).unwrap();
            let mut flags = heads.split_off(heads_bytes).unwrap();
            let mut staging = staging.tensors_mut::<u32, 3>(0, [2, 16, 8]).unwrap();
            let mut heads = heads.tensors_mut(0, [2, ranks * PLACES, HEAD]).unwrap();
            let mut flags = flags.tensors_mut::<u32, 2>(0, [ranks, 2 * PLACES]).unwrap();
            // As if there had been so many launches.
            flags[rank].copy_from(&vec![FIRST; ranks * 2 * PLACES]).unwrap();
            let mut epoch = device.upload(&[u64::from(FIRST) << 32], [1]).unwrap();
            let mut done = device.upload(&[FIRST; PLACES], [PLACES]).unwrap();
            device.synchronize().unwrap();
            exchange.all_gather(&[]).unwrap();
            for step in 0..12u32 {
                let of = |rank: usize, row: u32| 100 * step + 10 * rank as u32 + row;
                let mut rows = vec![0; ranks * 2 * 8];
                let own = rank * 16;
                (0..16).for_each(|i| rows[own + i] = of(rank, i as u32 / 8));
                let mut buffer = device.upload(&rows, [2 * ranks, 8]).unwrap();
                let (s, h) = (OfRank(rank, &mut staging), OfRank(rank, &mut heads));
                let f = OfRank(rank, &mut flags);
                let (start, count, places) = (Runtime(2 * rank as u64), Runtime(2), Runtime(2));
                let limit = AMPLE.as_nanos() as u64;
                let (e, d) = (&mut epoch, &mut done);
                gather_parts::<u32>(&mut buffer, s, h, f, e, d, start, count, places, 7, limit, 8)
                    .launch(&device)
                    .unwrap();
                let expected: Vec<u32> = (0..ranks * 16).map(|i| of(i / 16, i as u32 / 8 % 2)).collect();
                assert_eq!(buffer.download().unwrap(), expected, "step {step}, rank {rank}");
            }
            device.synchronize().unwrap();
            assert_eq!(epoch.download().unwrap(), [u64::from(FIRST.wrapping_add(12)) << 32]);
            exchange.all_gather(&[]).unwrap();
        });
    });
}
