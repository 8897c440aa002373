//! Rows through the gathered buffer and back, between ranks that are threads.

mod support;

use std::thread;
use std::time::Duration;

use float8::F8E4M3;
use half::bf16;
use support::*;
use tilewright_dp::collective::{Group, LocalGroup, Summand};
use tilewright_dp::kernels::place_rows;
use tilewright_dp::movement::{Contribution, Counts, Groups, Moved, Movement, MovementError, OnMismatch};
use tilewright_dp::plan::{Plan, Profile, Request, Topology};
use tilewright_dsl::call::{ArgumentValue, Arguments, Call, CountArgument, Exact, TensorArgument};
use tilewright_dsl::element::Element;
use tilewright_runtime::{Device, Launch, LaunchError, device_count};

const LIMIT: Duration = Duration::from_secs(120);

/// Runs every GPU of a topology as a thread of its own and returns what each returns, in their order.
fn on_all<R: Send>(device: &Device, topology: &Topology, run: impl Fn(&Groups<LocalGroup>) -> R + Sync) -> Vec<R> {
    let groups = Groups::local(device, topology, LIMIT).unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = groups
            .into_iter()
            .map(|groups| {
                scope.spawn(|| {
                    let groups = groups;
                    run(&groups)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Rows of one rank that no other has. Neither NaN nor a negative zero, whose bits a sum does not keep.
fn rows_of_rank<T: Element>(rank: usize, rows: usize, columns: usize) -> Rows {
    let element = |row: usize, column: usize| {
        let i = (rank * 1009 + row * 31 + column) as u64;
        match T::TYPE.size() {
            1 => 1 + i % 120,
            2 => 0x3c00 + i % 0x400,
            4 => 0x3f80_0000 + i,
            _ => i + 1,
        }
    };
    (0..rows)
        .map(|row| (0..columns).map(|column| element(row, column)).collect())
        .collect()
}

/// What the buffer holds.
fn expected_buffer<T: Element>(plan: &Plan, columns: usize) -> Rows {
    let layout = plan.layout();
    let mut expected = zeros(layout.rows() as usize, columns);
    for (rank, (&start, &tokens)) in layout.starts().iter().zip(layout.counts()).enumerate() {
        let rows = rows_of_rank::<T>(rank, tokens as usize, columns);
        expected[start as usize..(start + tokens) as usize].clone_from_slice(&rows);
    }
    expected
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Gather,
    Variable,
    Quantized,
}

/// Gathers in one of the ways.
fn gather<T: Summand>(
    movement: &Movement<'_, LocalGroup>,
    how: How,
    buffer: &mut Guarded<T>,
    local: &Guarded<T>,
    contribution: Contribution,
    counts: Counts<'_>,
) -> Result<Moved, MovementError> {
    let (mut buffer, local) = (buffer.view_mut(), local.view());
    match how {
        How::Gather => movement.gather(&mut buffer, local, contribution, counts),
        How::Variable => movement.gather_variable(&mut buffer, local, contribution, counts),
        How::Quantized => {
            let [rows, columns] = buffer.extents();
            let device = buffer.device().clone();
            let mut payload = Guarded::<F8E4M3>::untouched(&device, rows, columns, Placement::Contiguous);
            let mut scales = Guarded::<f32>::untouched(&device, rows, columns / 128, Placement::Contiguous);
            let (mut bits, mut sizes) = (payload.view_mut(), scales.view_mut());
            let moved = movement.gather_quantized(&mut buffer, &mut bits, &mut sizes, local, counts);
            payload.read();
            scales.read();
            moved
        }
    }
}

/// Gathers and scatters on every GPU, from tensors of the rank's tokens or, `padded`, of all its rows.
fn round_trip<T: Summand>(
    device: &Device,
    plan: &Plan,
    topology: &Topology,
    how: How,
    contribution: Contribution,
    padded: bool,
    columns: usize,
) {
    let what = (
        plan.mode(),
        plan.layout().counts(),
        topology.attention_tp(),
        how,
        contribution,
    );
    let expected = expected_buffer::<T>(plan, columns);
    on_all(device, topology, |groups| {
        let movement = Movement::new(plan, topology, groups).unwrap();
        let slot = movement.slot();
        let rank = topology.dp_rank(groups.world().rank() as u64).unwrap() as usize;
        let is_first = groups.attention().rank() == 0;
        let tokens = slot.tokens as usize;
        let mut mine = match contribution {
            // Of partial sums the first GPU has all and the others zeros: sums are then exact in every type.
            Contribution::Partial if !is_first => zeros(tokens, columns),
            _ => rows_of_rank::<T>(rank, tokens, columns),
        };
        if padded {
            // What an engine's padding holds must not get into the buffer.
            mine.resize(slot.rows as usize, sentinels::<T>(1, columns).remove(0));
        }
        let local = Guarded::<T>::new(device, &mine, columns, Placement::Contiguous);
        let rows = plan.layout().rows() as usize;
        let mut buffer = Guarded::<T>::untouched(device, rows, columns, Placement::Contiguous);
        let gathered = gather(&movement, how, &mut buffer, &local, contribution, Counts::Planned);
        assert!(gathered.unwrap().is_all());
        groups.world().finish().unwrap();
        assert_rows(&buffer.read(), &expected, what);
        assert_rows(&local.read(), &mine, what);

        let mut back = Guarded::<T>::untouched(device, slot.rows as usize, columns, Placement::Contiguous);
        movement
            .scatter(&mut back.view_mut(), buffer.view(), Counts::Planned)
            .unwrap();
        let mut tokens_then_zeros = rows_of_rank::<T>(rank, tokens, columns);
        tokens_then_zeros.resize(slot.rows as usize, vec![0; columns]);
        assert_rows(&back.read(), &tokens_then_zeros, what);
    });
}

fn plan(counts: &[u64], attention_tp: u64, profile: Profile, extend: bool) -> Plan {
    Plan::new(&Request {
        profile,
        attn_tp: attention_tp,
        extend,
        ..Request::new(counts.to_vec(), counts.len() as u64)
    })
    .unwrap()
}

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
    });
}

/// Where only the attention group gathers, the plan has the local rank's count alone.
#[test]
fn an_attention_group_gathers_by_itself() {
    for_each_device(|device| {
        let topology = Topology::new(4, 2).unwrap();
        let request = Request {
            attn_tp: 2,
            ..Request::new(vec![5], 2)
        };
        let plan = Plan::new(&request).unwrap();
        on_all(device, &topology, |groups| {
            let movement = Movement::new(&plan, &topology, groups).unwrap();
            let rank = groups.world().rank() / 2;
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
            assert_rows(&buffer.read(), &expected, rank);
        });
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

/// The steps after a verification in which most requests have finished: 5 requests of 4 tokens are planned, 7 rows are
/// left. Engines' unclamped copies read 7168 elements past such a tensor, and write as many past its destination.
#[test]
fn a_draft_extend_of_finished_requests_moves_what_there_is() {
    for_each_device(|device| {
        let columns = 7168;
        let request = Request {
            profile: Profile::Pr8277,
            coef: 4,
            coef_lp: Some(1),
            ..Request::new(vec![5], 1)
        };
        let (plan, topology) = (Plan::new(&request).unwrap(), Topology::new(1, 1).unwrap());
        let rows = unique::<bf16>(7, columns, 3);
        on_all(device, &topology, |groups| {
            let local = Guarded::<bf16>::new(device, &rows, columns, Placement::Contiguous);
            let mut buffer = Guarded::<bf16>::untouched(device, 20, columns, Placement::Contiguous);
            let movement = Movement::new(&plan, &topology, groups).unwrap();
            let replicate = Contribution::Replicate;
            let refused = movement
                .gather(&mut buffer.view_mut(), local.view(), replicate, Counts::Planned)
                .unwrap_err();
            assert!(
                matches!(
                    refused,
                    MovementError::Uncovered {
                        tokens: 20,
                        found: 7,
                        ..
                    }
                ),
                "{refused}"
            );
            assert_rows(
                &buffer.read(),
                &sentinels::<bf16>(20, columns),
                "refused before anything was launched",
            );

            let movement = movement.on_mismatch(OnMismatch::Clamp);
            let moved = movement
                .gather(&mut buffer.view_mut(), local.view(), replicate, Counts::Planned)
                .unwrap();
            assert_eq!(moved, Moved { planned: 20, moved: 7 });
            let mut expected = rows.clone();
            expected.resize(20, vec![0; columns]);
            assert_rows(&buffer.read(), &expected, "gathered");

            let mut back = Guarded::<bf16>::untouched(device, 7, columns, Placement::Contiguous);
            let moved = movement
                .scatter(&mut back.view_mut(), buffer.view(), Counts::Planned)
                .unwrap();
            assert_eq!(moved, Moved { planned: 20, moved: 7 });
            assert_rows(&back.read(), &rows, "scattered");
        });
    });
}

/// Rows of one magnitude each, which 8 bits and a scale keep exactly.
fn even_rows(rank: usize, rows: usize, columns: usize) -> Rows {
    let each = rows_of_rank::<bf16>(rank, rows, 1).into_iter();
    each.map(|row| vec![row[0]; columns]).collect()
}

#[test]
fn counts_in_device_memory_are_clamped_and_reported() {
    for_each_device(|device| {
        let (topology, columns) = (Topology::new(4, 2).unwrap(), 128);
        for (extend, how) in [
            (false, How::Variable),
            (true, How::Variable),
            (false, How::Quantized),
            (true, How::Quantized),
        ] {
            let plan = plan(&[4, 4], 2, Profile::Main202609, extend);
            // Tokens that the device counts, and rows that the tensor has.
            for (tokens, there) in [(4i64, 4usize), (0, 4), (3, 4), (4, 2), (9, 4), (-1, 4), (4, 0)] {
                on_all(device, &topology, |groups| {
                    let movement = Movement::new(&plan, &topology, groups).unwrap();
                    let rank = groups.world().rank() / 2;
                    let slot = movement.slot();
                    let rows = even_rows(rank, there, columns);
                    let local = Guarded::<bf16>::new(device, &rows, columns, Placement::Contiguous);
                    let counts = device.upload(&[slot.start as i64, tokens], [2]).unwrap();
                    let (start, on_device) = (
                        device_count(&counts, 0, 8).unwrap(),
                        device_count(&counts, 1, 64).unwrap(),
                    );
                    let mut report = device.upload(&[77i64, 77], [2]).unwrap();
                    let mut buffer = Guarded::<bf16>::untouched(device, 8, columns, Placement::Contiguous);
                    let from_device = Counts::OnDevice {
                        start,
                        tokens: on_device,
                        report: report.view_mut(),
                    };
                    gather(
                        &movement,
                        how,
                        &mut buffer,
                        &local,
                        Contribution::Replicate,
                        from_device,
                    )
                    .unwrap();
                    let real = (tokens.max(0) as usize).min(there).min(4);
                    let mut expected = zeros(8, columns);
                    for (rank, slot) in expected.chunks_mut(4).enumerate() {
                        slot[..real].clone_from_slice(&even_rows(rank, real, columns));
                    }
                    assert_rows(&buffer.read(), &expected, (tokens, there, extend, how));
                    let gpu = groups.attention().rank() as i64;
                    let share = |tokens: i64| (tokens - 2 * gpu).clamp(0, 2) as u64;
                    let planned = if gpu == 1 {
                        (tokens - 2).max(0) as u64
                    } else {
                        share(tokens)
                    };
                    let moved = Moved::read(&report).unwrap();
                    assert_eq!(
                        moved,
                        Moved {
                            planned,
                            moved: share(tokens.min(there as i64))
                        },
                        "{tokens} {there} {gpu} {how:?}"
                    );

                    let mut back = Guarded::<bf16>::untouched(device, 4, columns, Placement::Contiguous);
                    let from_device = Counts::OnDevice {
                        start,
                        tokens: on_device,
                        report: report.view_mut(),
                    };
                    movement
                        .scatter(&mut back.view_mut(), buffer.view(), from_device)
                        .unwrap();
                    let mut expected = even_rows(rank, real, columns);
                    expected.resize(4, vec![0; columns]);
                    assert_rows(&back.read(), &expected, (tokens, there, extend, how));
                    groups.world().finish().unwrap();
                });
            }
        }
    });
}

#[test]
fn tensors_of_other_sizes_are_refused() {
    let (device, topology) = (Device::cpu(), Topology::new(1, 1).unwrap());
    let plan = plan(&[4], 1, Profile::Main202609, false);
    on_all(&device, &topology, |groups| {
        let movement = Movement::new(&plan, &topology, groups).unwrap();
        let gather = |buffer: [usize; 2], local: [usize; 2]| {
            let (mut buffer, local) = (device.zeros::<f32, 2>(buffer).unwrap(), device.zeros(local).unwrap());
            movement
                .gather(
                    &mut buffer.view_mut(),
                    local.view(),
                    Contribution::Partial,
                    Counts::Planned,
                )
                .map_err(|error| error.to_string())
        };
        assert!(gather([4, 2], [4, 2]).unwrap().is_all());
        for (buffer, local, text) in [
            (
                [5, 2],
                [4, 2],
                "the gathered buffer has 5 rows and the plan's buffer has 4",
            ),
            (
                [4, 2],
                [4, 3],
                "the rank's tensor has rows of 3 elements where 2 are needed",
            ),
            (
                [4, 2],
                [5, 2],
                "rank 0 was planned 4 rows, 4 of them tokens, and its tensor has 5",
            ),
            (
                [4, 2],
                [3, 2],
                "rank 0 was planned 4 rows, 4 of them tokens, and its tensor has 3",
            ),
        ] {
            let error = gather(buffer, local).unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
    });
    let other = Topology::new(2, 2).unwrap();
    on_all(&device, &other, |groups| {
        let error = Movement::new(&plan, &topology, groups).err().unwrap().to_string();
        assert_eq!(error, "the world group has 2 ranks and the topology says 1");
    });
}

/// Safe code cannot even say it; by hand, a launch whose buffer is its own source is refused by address.
#[test]
fn a_source_within_the_buffer_is_refused_before_the_launch() {
    for_each_device(|device| {
        let mut buffer = device.upload(&[5i32; 24], [8, 3]).unwrap();
        let other = device.zeros::<i32, 2>([2, 3]).unwrap();
        let call = place_rows(buffer.view_mut(), &other, Exact(1), Exact(0), Exact(2));
        let ArgumentValue::Tensor(out) = call.arguments()[0].clone() else {
            panic!("the buffer comes first")
        };
        let definition = call.definition().clone();
        // Its last two rows, and the two behind it, which are another's.
        for (first, refused) in [(6u64, true), (0, true), (8, false)] {
            let mut arguments = Arguments::new();
            arguments.push(ArgumentValue::Tensor(out.clone()));
            arguments.push(ArgumentValue::Tensor(TensorArgument {
                mutable: false,
                extents: [2, 3].into_iter().collect(),
                offset: out.offset + first * 12,
                ..out.clone()
            }));
            for count in [1, 0, 2] {
                arguments.push(ArgumentValue::Count(CountArgument::Exact(count)));
            }
            let error = Call::new(definition.clone(), arguments).launch(device).unwrap_err();
            assert_eq!(matches!(error, LaunchError::Overlap { .. }), refused, "{error}");
        }
        drop(out);
        assert_eq!(buffer.download().unwrap(), [5; 24]);
    });
}

#[test]
fn eight_bits_on_the_way_keep_zeros_and_most_of_a_value() {
    for_each_device(|device| {
        let columns = 256;
        for (counts, attention_tp, extend) in [([3u64, 0, 4], 2, true), ([2, 1, 3], 1, false)] {
            let topology = Topology::new(3 * attention_tp, 3).unwrap();
            let plan = plan(&counts, attention_tp, Profile::Main202609, extend);
            let rows = plan.layout().rows() as usize;
            let value = |rank: usize, row: usize, column: usize| {
                // The second group of every row is zeros.
                let x = ((rank * 7 + row * 3 + column) % 29) as f32 - 14.0;
                if column < 128 { x * 0.37 } else { 0.0 }
            };
            let found = on_all(device, &topology, |groups| {
                let movement = Movement::new(&plan, &topology, groups).unwrap();
                let rank = topology.dp_rank(groups.world().rank() as u64).unwrap() as usize;
                let tokens = movement.slot().tokens as usize;
                let element = |i: usize| bf16::from_f32(value(rank, i / columns, i % columns));
                let mine: Vec<bf16> = (0..tokens * columns).map(element).collect();
                let local = device.upload(&mine, [tokens, columns]).unwrap();
                let mut buffer = Guarded::<bf16>::untouched(device, rows, columns, Placement::Contiguous);
                let mut payload = Guarded::<F8E4M3>::untouched(device, rows, columns, Placement::Contiguous);
                let mut scales = Guarded::<f32>::untouched(device, rows, 2, Placement::Contiguous);
                movement
                    .gather_quantized(
                        &mut buffer.view_mut(),
                        &mut payload.view_mut(),
                        &mut scales.view_mut(),
                        local.view(),
                        Counts::Planned,
                    )
                    .unwrap();
                groups.world().finish().unwrap();
                payload.read();
                scales.read();
                buffer.read()
            });
            assert!(
                found.iter().all(|buffer| buffer == &found[0]),
                "all GPUs have the same bits"
            );
            let mut real = vec![false; rows];
            for (rank, (&start, &tokens)) in plan.layout().starts().iter().zip(&counts).enumerate() {
                for row in 0..tokens as usize {
                    real[start as usize + row] = true;
                    for (column, &bits) in found[0][start as usize + row].iter().enumerate() {
                        let (is, was) = (bf16::from_bits(bits as u16).to_f32(), value(rank, row, column));
                        // 3 bits of mantissa, and the smallest step of the scale 14 * 0.37 / 448.
                        assert!((is - was).abs() <= was.abs() / 16.0 + 0.012, "{is} {was}");
                        assert!(was != 0.0 || is == 0.0);
                    }
                }
            }
            let padding = found[0].iter().zip(&real).filter(|(_, real)| !**real);
            assert!(padding.flat_map(|(row, _)| row).all(|&bits| bits == 0));
        }
    });
}

#[test]
fn experts_of_padding_are_masked_in_both_modes() {
    for_each_device(|device| {
        let topology = Topology::new(6, 3).unwrap();
        for extend in [false, true] {
            let plan = plan(&[3, 4, 5], 2, Profile::Main202609, extend);
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
