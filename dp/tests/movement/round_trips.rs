//! Every topology, way of gathering and type there and back.

use std::time::Duration;

use half::bf16;
use tilewright_dp::collective::Group;
use tilewright_dp::movement::{Contribution, Counts, Movement};
use tilewright_dp::plan::{Bound, Plan, Profile, Request, Topology};
use tilewright_dsl::call::Specialize;
use tilewright_runtime::Device;

use crate::ranks::*;
use tilewright_harness::testing::*;

/// Both modes, with ranks that have none, one and the most.
#[test]
fn every_topology_makes_the_round_trip_bit_for_bit() {
    for_each_device(|device| {
        for dp in [1, 2, 4, 8, 16] {
            for attention_tp in [1, 2, 4] {
                let topology = Topology::new(dp * attention_tp, dp).unwrap();
                let uneven: Vec<u64> = (0..dp).map(|rank| [5, 0, 1, 3][rank as usize % 4]).collect();
                let full = vec![4; dp as usize];
                for (counts, extend) in [(&uneven, false), (&uneven, true), (&full, false)] {
                    let plan = plan(counts, attention_tp, Profile::Main202609, extend);
                    let contribution = if extend {
                        Contribution::Partial
                    } else {
                        Contribution::Replicate
                    };
                    round_trip::<bf16>(device, &plan, &topology, How::Gather, contribution, false, 5);
                }
            }
        }
    });
}

/// The rows of a step lie elsewhere at each step, and each count may become a literal. A few steps warm up all that the launches
/// of any step wait for.
#[test]
fn steps_of_any_counts_wait_for_nothing_after_a_few() {
    let device = &Device::cpu();
    device.set_specialize(Specialize::Tiered);
    let topology = Topology::new(6, 3).unwrap();
    let step = |counts: &[u64], extend: bool| {
        let plan = plan(counts, 2, Profile::Main202609, extend);
        let contribution = if extend {
            Contribution::Partial
        } else {
            Contribution::Replicate
        };
        round_trip::<bf16>(device, &plan, &topology, How::Gather, contribution, true, 8);
    };
    for extend in [false, true] {
        for counts in [[3, 5, 2], [0, 4, 1], [4, 4, 4], [1, 0, 0]] {
            step(&counts, extend);
        }
    }
    let before = device.counters();
    device.seal();
    // What is built behind gives way to launches of other tests that wait; so it is waited for, and the same steps come again.
    for _ in 0..2 {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..60 {
            let counts = [(); 3].map(|()| random.u64(0..12));
            step(&counts, random.bool());
        }
        assert!(Device::settle(Duration::from_secs(120)));
    }
    device.unseal();
    let after = device.counters();
    assert_eq!((after.waits, after.failures), (before.waits, before.failures));
    assert!(after.served_proved > before.served_proved, "{after:?}");
}

#[test]
fn every_way_of_gathering_makes_the_round_trip() {
    for_each_device(|device| {
        let topology = Topology::new(6, 3).unwrap();
        for profile in [Profile::Pr8277, Profile::Pr8280, Profile::Main202609] {
            for (counts, extend) in [([7, 0, 2], true), ([3, 4, 4], false), ([0, 0, 0], false)] {
                let plan = plan(&counts, 2, profile, extend);
                for how in [How::Gather, How::Variable] {
                    for contribution in [Contribution::Partial, Contribution::Replicate] {
                        for padded in [false, true] {
                            round_trip::<bf16>(device, &plan, &topology, how, contribution, padded, 9);
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn rows_without_columns_make_the_round_trip_in_every_way() {
    for_each_device(|device| {
        let topology = Topology::new(4, 2).unwrap();
        for counts in [[3, 1], [0, 0]] {
            let plan = plan(&counts, 2, Profile::Main202609, true);
            for how in [How::Gather, How::Variable, How::Quantized, How::Nvfp4] {
                for contribution in [Contribution::Partial, Contribution::Replicate] {
                    round_trip::<bf16>(device, &plan, &topology, how, contribution, true, 0);
                }
            }
        }
    });
}

/// Each rank plans with its own count alone, and all the same buffer.
#[test]
fn ranks_that_exchange_nothing_make_the_round_trip() {
    for_each_device(|device| {
        let topology = Topology::new(6, 3).unwrap();
        let counts = [4, 0, 1];
        let plan = |raw: &[u64]| {
            let bound = Some(Bound::of_rows(6));
            let request = Request {
                bound,
                attn_tp: 2,
                ..Request::new(raw.to_vec(), 3)
            };
            Plan::new(&request).unwrap()
        };
        let expected = expected_buffer::<bf16>(&plan(&counts), How::Gather, 5);
        on_all(device, &topology, |groups| {
            let rank = topology.dp_rank(groups.world().rank() as u64).unwrap() as usize;
            let (own, tokens) = (plan(&[counts[rank]]), counts[rank] as usize);
            let movement = Movement::new(&own, &topology, groups).unwrap();
            let mine = rows_of_rank::<bf16>(rank, tokens, 5);
            let local = Guarded::<bf16>::new(device, &mine, 5, Placement::Contiguous);
            let mut buffer = Guarded::<bf16>::untouched(device, 18, 5, Placement::Contiguous);
            let contribution = Contribution::Replicate;
            gather(
                &movement,
                How::Gather,
                &mut buffer,
                &local,
                contribution,
                Counts::Planned,
            )
            .unwrap();
            groups.world().finish().unwrap();
            assert_rows(&buffer.read(), &expected, counts);
            let mut back = Guarded::<bf16>::untouched(device, 6, 5, Placement::Contiguous);
            movement
                .scatter(&mut back.view_mut(), buffer.view(), Counts::Planned)
                .unwrap();
            let mut rows = mine;
            rows.resize(6, vec![0; 5]);
            assert_rows(&back.read(), &rows, rank);
        });
    });
}

#[test]
fn every_type_of_a_sum_makes_the_round_trip() {
    for_each_device(|device| {
        let topology = Topology::new(4, 2).unwrap();
        let plan = plan(&[3, 1], 2, Profile::Main202609, true);
        for contribution in [Contribution::Partial, Contribution::Replicate] {
            round_trip::<i8>(device, &plan, &topology, How::Gather, contribution, true, 3);
            round_trip::<i64>(device, &plan, &topology, How::Gather, contribution, true, 3);
            round_trip::<f32>(device, &plan, &topology, How::Gather, contribution, true, 3);
            round_trip::<half::f16>(device, &plan, &topology, How::Gather, contribution, true, 3);
            round_trip::<f64>(device, &plan, &topology, How::Gather, contribution, true, 3);
        }
    });
}

/// A graph's buffer has more rows than its ranks.
#[test]
fn the_rows_of_a_graph_behind_the_last_rank_are_zero() {
    for_each_device(|device| {
        let request = Request {
            profile: Profile::Pr8277,
            graph_ok: true,
            graph_buckets: Some(vec![16]),
            ..Request::new(vec![3, 0, 4], 3)
        };
        let plan = Plan::new(&request).unwrap();
        assert_eq!(plan.layout().rows(), 16);
        let topology = Topology::new(3, 3).unwrap();
        for how in [How::Gather, How::Variable] {
            round_trip::<bf16>(device, &plan, &topology, how, Contribution::Replicate, false, 6);
        }
        for how in [How::Quantized, How::Nvfp4] {
            round_trip::<bf16>(device, &plan, &topology, how, Contribution::Replicate, false, 128);
        }
    });
}

/// Where only the rank's GPUs gather, the plan has the local rank's count alone.
#[test]
fn a_ranks_gpus_gather_by_themselves() {
    for_each_device(|device| {
        for topology in with_context(2, 1, 2).chain(with_context(2, 2, 2)) {
            let plan = plan_of(Profile::Main202611, &[5], &topology, false);
            on_all(device, &topology, |groups| {
                let movement = Movement::new(&plan, &topology, groups).unwrap();
                let rank = topology.dp_rank(groups.world().rank() as u64).unwrap() as usize;
                let rows = rows_of_rank::<bf16>(rank, 5, 4);
                let local = Guarded::<bf16>::new(device, &rows, 4, Placement::Contiguous);
                let mut buffer =
                    Guarded::<bf16>::untouched(device, plan.layout().rows() as usize, 4, Placement::Contiguous);
                movement
                    .gather(
                        &mut buffer.view_mut(),
                        local.view(),
                        Contribution::Replicate,
                        Counts::Planned,
                    )
                    .unwrap();
                let mut expected = rows;
                expected.resize(plan.layout().rows() as usize, vec![0; 4]);
                assert_rows(&buffer.read(), &expected, (topology, rank));
            });
        }
    });
}

#[test]
fn a_reduce_scatter_sums_the_buffers_of_all_gpus() {
    for_each_device(|device| {
        for (counts, attention_tp, extend) in [([3u64, 5], 2, false), ([6, 1], 1, true), ([4, 0], 4, true)] {
            let topology = Topology::new(2 * attention_tp, 2).unwrap();
            let plan = plan(&counts, attention_tp, Profile::Main202609, extend);
            let rows = plan.layout().rows() as usize;
            let gpus = topology.tp() as i32;
            on_all(device, &topology, |groups| {
                let movement = Movement::new(&plan, &topology, groups).unwrap();
                let (gpu, slot) = (groups.world().rank() as i32, movement.slot());
                let part: Vec<i32> = (0..rows as i32 * 3).map(|i| 1000 * gpu + i).collect();
                let mut buffer = device.upload(&part, [rows, 3]).unwrap();
                let mut local = Guarded::<i32>::untouched(device, slot.rows as usize, 3, Placement::Contiguous);
                movement
                    .reduce_scatter(&mut local.view_mut(), &mut buffer.view_mut(), Counts::Planned)
                    .unwrap();
                let sum = |i: i32| (1000 * gpus * (gpus - 1) / 2 + gpus * i) as u32 as u64;
                let mut expected: Rows = (slot.start..slot.start + slot.tokens)
                    .map(|row| (0..3).map(|column| sum(row as i32 * 3 + column)).collect())
                    .collect();
                expected.resize(slot.rows as usize, vec![0; 3]);
                assert_rows(&local.read(), &expected, (counts, attention_tp, gpu));
            });
        }
    });
}

#[test]
fn experts_of_padding_are_masked_in_both_modes() {
    for_each_device(|device| {
        for (topology, extend) in with_context(3, 1, 2)
            .chain(with_context(3, 2, 1))
            .flat_map(|topology| [false, true].map(|extend| (topology, extend)))
        {
            let plan = plan_of(Profile::Main202611, &[3, 4, 5], &topology, extend);
            let rows = plan.layout().rows() as usize;
            on_all(device, &topology, |groups| {
                let movement = Movement::new(&plan, &topology, groups).unwrap();
                let ids: Rows = (0..rows).map(|row| vec![row as u64 * 2, row as u64 * 2 + 1]).collect();
                let mut tensor = Guarded::<i32>::new(device, &ids, 2, Placement::Contiguous);
                let upload = |counts: &[u64]| {
                    let counts: Vec<i32> = counts.iter().map(|&count| count as i32).collect();
                    device.upload(&counts, [counts.len()]).unwrap()
                };
                let (starts, counts) = (upload(plan.layout().starts()), upload(plan.layout().counts()));
                movement
                    .mask_expert_ids(&mut tensor.view_mut(), starts.view(), counts.view())
                    .unwrap();
                let mut expected = vec![vec![u64::from(u32::MAX); 2]; rows];
                for (&start, &tokens) in plan.layout().starts().iter().zip(plan.layout().counts()) {
                    let real = start as usize..(start + tokens) as usize;
                    expected[real.clone()].clone_from_slice(&ids[real]);
                }
                assert_rows(&tensor.read(), &expected, plan.mode());
            });
        }
    });
}
