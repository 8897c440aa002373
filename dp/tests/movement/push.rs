//! Rows pushed into every rank's gathered buffer, by ranks with a device each.

use std::thread;
use std::time::Duration;

use float8::F8E4M3;
use half::bf16;
use tilewright_dp::collective::{CollectiveError, Group, PeerGroup};
use tilewright_dp::kernels::{copy_to_slot, dequantize_rows};
use tilewright_dp::movement::{
    Contribution, Counts, GatheredHalves, Groups, Moved, Movement, MovementError, QuantizedHalves,
};
use tilewright_dp::plan::{Plan, Profile, Topology};
use tilewright_dsl::call::{Call, Runtime};
use tilewright_dsl::element::Element;
use tilewright_runtime::{Device, DeviceTensor, Launch, TensorView, device_count};
use tilewright_testing::turn;

use crate::devices::{Gpu, gpus, on_all, on_all_within, on_devices, read, upload};
use crate::ranks::How;
use crate::ranks::{WITH_CONTEXT, expected_buffer, plan, plan_of, rows_for, rows_of_rank, with_context};
use tilewright_harness::testing::*;

const CONTRIBUTIONS: [Contribution; 3] = [
    Contribution::Partial,
    Contribution::PartialOverContext,
    Contribution::Replicate,
];

/// Rows behind those of a plan that nobody writes.
const GUARDS: u64 = 2;

/// A buffer for the largest of some plans, full of sentinels.
fn halves<T: Element>(gpu: &Gpu, plans: &[Plan], columns: usize) -> GatheredHalves<T> {
    let most = plans.iter().map(|plan| plan.layout().rows()).max().unwrap();
    let mut buffer = GatheredHalves::<T>::new(gpu.groups.world(), columns).unwrap();
    buffer.reserve(most + GUARDS).unwrap();
    let sentinels: Vec<T> = sentinels::<T>((most + GUARDS) as usize, columns)
        .iter()
        .flatten()
        .map(|&bits| T::from_bits64(bits))
        .collect();
    for half in [0, 1] {
        buffer
            .rows_of_half_mut(half, most + GUARDS)
            .unwrap()
            .copy_from(&sentinels)
            .unwrap();
    }
    gpu.meet();
    buffer
}

/// What a GPU has of its rank's rows: of partial sums some, and zeros for the others, so that sums are exact in every type.
fn contributed(gpu: &Gpu, contribution: Contribution, mut rows: Rows) -> Rows {
    let groups = &gpu.groups;
    let (summing, own) = match contribution {
        Contribution::Partial => (groups.attention().size(), groups.attention().rank()),
        Contribution::PartialOverContext => (groups.rank().size(), groups.rank().rank()),
        Contribution::Replicate => (1, 0),
    };
    for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| i % summing != own) {
        row.fill(0);
    }
    rows
}

/// Pushes the steps of some plans one after the other, from tensors of the ranks' rows, and back.
fn push_steps<T: tilewright_dp::collective::Summand>(
    gpu: &Gpu,
    topology: &Topology,
    plans: &[Plan],
    contribution: Contribution,
    columns: usize,
) {
    let mut buffer = halves::<T>(gpu, plans, columns);
    for (step, plan) in plans.iter().enumerate() {
        let what = (
            gpu.number,
            step,
            plan.mode(),
            plan.layout().counts(),
            topology,
            contribution,
        );
        let movement = Movement::new(plan, topology, &gpu.groups).unwrap();
        let (slot, total) = (movement.slot(), plan.layout().rows());
        let rank = topology.dp_rank(gpu.number as u64).unwrap() as usize;
        let own = rows_for::<T>(How::Variable, rank, slot.tokens as usize, columns);
        let mut mine = contributed(gpu, contribution, own.clone());
        // What an engine's padding holds must not get into the buffer.
        mine.resize(slot.rows as usize, sentinels::<T>(1, columns).remove(0));
        let local = upload::<T>(&gpu.device, &mine, columns);
        let moved = movement
            .push(&mut buffer, local.view(), contribution, Counts::Planned)
            .unwrap();
        assert!(moved.is_all());
        let found = read(&gpu.device, buffer.rows(total + GUARDS).unwrap());
        let mut expected = expected_buffer::<T>(plan, How::Variable, columns);
        assert_rows(&found[..total as usize].to_vec(), &expected, what);
        let mut back = gpu.device.zeros::<T, 2>([slot.rows as usize, columns]).unwrap();
        movement
            .scatter(&mut back.view_mut(), buffer.rows(total).unwrap(), Counts::Planned)
            .unwrap();
        expected = own;
        expected.resize(slot.rows as usize, vec![0; columns]);
        assert_rows(&read(&gpu.device, back.view()), &expected, what);
    }
    // No step wrote behind the largest.
    let most = plans.iter().map(|plan| plan.layout().rows()).max().unwrap() as usize;
    for half in [0, 1] {
        let rows = buffer.rows_of_half_mut(half, most as u64 + GUARDS).unwrap();
        let found = read(&gpu.device, rows.view());
        assert_rows(
            &found[most..].to_vec(),
            &sentinels::<T>(GUARDS as usize, columns),
            "rows of no plan",
        );
    }
    gpu.groups.world().finish().unwrap();
    gpu.meet();
}

#[test]
fn every_topology_pushes_every_contribution_bit_for_bit() {
    let (_turn, gpus) = (turn(), gpus());
    for (dp, attention_tp) in [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 4), (3, 2)] {
        let topology = Topology::new(dp * attention_tp, dp).unwrap();
        let uneven: Vec<u64> = (0..dp).map(|rank| [5, 0, 1, 3][rank as usize % 4]).collect();
        let steps = [
            (&uneven, false),
            (&uneven, true),
            (&vec![4; dp as usize], false),
            (&vec![0; dp as usize], true),
        ];
        let plans: Vec<Plan> = [Profile::Pr8277, Profile::Main202609]
            .into_iter()
            .flat_map(|profile| steps.map(|(counts, extend)| plan(counts, attention_tp, profile, extend)))
            .collect();
        on_devices(gpus, &topology, |gpu| {
            for contribution in CONTRIBUTIONS {
                push_steps::<bf16>(gpu, &topology, &plans, contribution, 24);
                push_steps::<f32>(gpu, &topology, &plans[..3], contribution, 5);
            }
            push_steps::<i8>(gpu, &topology, &plans[..3], Contribution::Replicate, 1500);
            push_steps::<u64>(gpu, &topology, &plans[..3], Contribution::Replicate, 1);
        });
    }
}

#[test]
fn context_parallel_parts_push_bit_for_bit() {
    let (_turn, gpus) = (turn(), gpus());
    for (dp, cp, attention_tp) in [(2, 2, 1), (1, 2, 2), (1, 4, 1)] {
        for topology in with_context(dp, cp, attention_tp) {
            let counts: Vec<u64> = (0..dp).map(|rank| [5, 3][rank as usize % 2]).collect();
            let plans: Vec<Plan> = WITH_CONTEXT
                .into_iter()
                .flat_map(|profile| [false, true].map(|extend| plan_of(profile, &counts, &topology, extend)))
                .collect();
            on_devices(gpus, &topology, |gpu| {
                for contribution in CONTRIBUTIONS {
                    push_steps::<bf16>(gpu, &topology, &plans, contribution, 5);
                }
            });
        }
    }
}

/// Raw bits, NaNs included, are those that the group of threads on one device gathers.
#[test]
fn whatever_bits_rows_have_arrive_as_in_another_group() {
    let (_turn, gpus) = (turn(), gpus());
    for ranks in [2, 4] {
        let topology = Topology::new(ranks, ranks).unwrap();
        let counts: Vec<u64> = (0..ranks).map(|rank| [3, 0, 5, 1][rank as usize]).collect();
        for extend in [false, true] {
            let plan = plan(&counts, 1, Profile::Main202609, extend);
            let total = plan.layout().rows();
            let gathered = crate::ranks::on_all(&Device::cpu(), &topology, |groups| {
                let movement = Movement::new(&plan, &topology, groups).unwrap();
                let (rank, device) = (groups.world().rank(), Device::cpu());
                let mine = unique::<bf16>(counts[rank] as usize, 72, rank as u64);
                let local = upload::<bf16>(&device, &mine, 72);
                let mut buffer = device.zeros::<bf16, 2>([total as usize, 72]).unwrap();
                movement
                    .gather_variable(
                        &mut buffer.view_mut(),
                        local.view(),
                        Contribution::Replicate,
                        Counts::Planned,
                    )
                    .unwrap();
                groups.world().finish().unwrap();
                read(&device, buffer.view())
            });
            on_devices(gpus, &topology, |gpu| {
                let movement = Movement::new(&plan, &topology, &gpu.groups).unwrap();
                let mine = unique::<bf16>(counts[gpu.number] as usize, 72, gpu.number as u64);
                let local = upload::<bf16>(&gpu.device, &mine, 72);
                let mut buffer = GatheredHalves::<bf16>::new(gpu.groups.world(), 72).unwrap();
                movement
                    .push(&mut buffer, local.view(), Contribution::Replicate, Counts::Planned)
                    .unwrap();
                let found = read(&gpu.device, buffer.rows(total).unwrap());
                assert_rows(&found, &gathered[gpu.number], (gpu.number, extend));
                gpu.meet();
            });
        }
    }
}

/// Ranks that are late by turns, and rows that are read late.
#[test]
fn random_steps_with_ranks_delayed_at_random_are_right() {
    let (_turn, gpus) = (turn(), gpus());
    for ranks in [2, 4] {
        let topology = Topology::new(ranks, ranks).unwrap();
        on_devices(gpus, &topology, |gpu| {
            let mut common = fastrand::Rng::with_seed(17);
            let mut own = fastrand::Rng::with_seed(gpu.number as u64);
            let mut buffer = GatheredHalves::<bf16>::new(gpu.groups.world(), 40).unwrap();
            let mut before: Option<(Rows, u64)> = None;
            for step in 0..200 {
                let counts: Vec<u64> = (0..ranks).map(|_| common.u64(..6)).collect();
                let plan = plan(&counts, 1, Profile::Main202609, common.bool());
                let movement = Movement::new(&plan, &topology, &gpu.groups).unwrap();
                let mine = rows_of_rank::<bf16>(gpu.number + 4 * step, counts[gpu.number] as usize, 40);
                let local = upload::<bf16>(&gpu.device, &mine, 40);
                if own.u8(..4) == 0 {
                    thread::sleep(Duration::from_micros(own.u64(..1000)));
                }
                let total = plan.layout().rows();
                // Behind the last rank's step, and before this one's.
                if let Some((expected, total)) = before.take() {
                    assert_rows(
                        &read(&gpu.device, buffer.rows(total).unwrap()),
                        &expected,
                        (gpu.number, step),
                    );
                }
                movement
                    .push(&mut buffer, local.view(), Contribution::Replicate, Counts::Planned)
                    .unwrap();
                let mut expected = zeros(total as usize, 40);
                for (rank, &start) in plan.layout().starts().iter().enumerate() {
                    let rows = rows_of_rank::<bf16>(rank + 4 * step, counts[rank] as usize, 40);
                    let start = start as usize;
                    expected[start..start + rows.len()].clone_from_slice(&rows);
                }
                before = Some((expected, total));
            }
            gpu.groups.world().finish().unwrap();
            gpu.device.synchronize().unwrap();
            gpu.meet();
        });
    }
}

/// The most tokens of a rank in a captured step.
const MOST: u64 = 5;

/// With tokens that the device counts.
fn push_counted(
    movement: &Movement<'_, PeerGroup>,
    buffer: &mut GatheredHalves<bf16>,
    local: &DeviceTensor<bf16, 2>,
    tokens: &DeviceTensor<i32, 1>,
    report: &mut DeviceTensor<i64, 1>,
) -> Result<Moved, MovementError> {
    let counts = Counts::OnDevice {
        start: device_count(tokens, 0, 0)?,
        tokens: device_count(tokens, 0, MOST)?,
        report: report.view_mut(),
    };
    movement.push(buffer, local.view(), Contribution::Replicate, counts)
}

/// One captured graph serves every step of up to its plan's rows: counts are in device memory, and change. The graph has one
/// gather, which always fills the same half, or two; and other gathers go between its replays. GPUs are quick enough for all of
/// the steps, with every buffer read.
#[test]
fn a_captured_graph_serves_ten_thousand_steps_with_counts_in_device_memory() {
    let (_turn, gpus) = (turn(), gpus());
    for (ranks, gathers) in [(2, 1), (2, 2), (4, 1)] {
        let topology = Topology::new(ranks, ranks).unwrap();
        let plan = plan(&vec![MOST; ranks as usize], 1, Profile::Main202609, false);
        let total = plan.layout().rows();
        on_devices(gpus, &topology, |gpu| {
            let device = &gpu.device;
            let rows = rows_of_rank::<bf16>(gpu.number, MOST as usize, 40);
            let local = upload::<bf16>(device, &rows, 40);
            let mut tokens = device.zeros::<i32, 1>([1]).unwrap();
            let mut report = device.zeros::<i64, 1>([2]).unwrap();
            let mut copies = [(); 2].map(|()| device.zeros::<bf16, 2>([total as usize, 40]).unwrap());
            let mut buffer = GatheredHalves::<bf16>::new(gpu.groups.world(), 40).unwrap();
            buffer.reserve(total).unwrap();
            buffer.seal();
            let mut graph = {
                // All that a capture needs is there after an eager step.
                let movement = Movement::new(&plan, &topology, &gpu.groups).unwrap();
                push_counted(&movement, &mut buffer, &local, &tokens, &mut report).unwrap();
                copy_to_slot(&mut copies[0], buffer.rows(total).unwrap(), Runtime(0), Runtime(total))
                    .launch(device)
                    .unwrap();
                gpu.meet();
                let captured = device.capture(|stream| -> Result<(), MovementError> {
                    let on = |group: &PeerGroup| group.on_stream(stream);
                    let groups = Groups::with_context(
                        on(gpu.groups.world())?,
                        on(gpu.groups.rank())?,
                        on(gpu.groups.attention())?,
                    );
                    let movement = Movement::new(&plan, &topology, &groups)?;
                    for copy in &mut copies[..gathers] {
                        push_counted(&movement, &mut buffer, &local, &tokens, &mut report)?;
                        let rows = buffer.rows(total)?;
                        copy_to_slot(copy, rows, Runtime(0), Runtime(total)).launch_on(stream)?;
                    }
                    Ok(())
                });
                captured.unwrap()
            };
            let mut common = fastrand::Rng::with_seed(23);
            let mut own = fastrand::Rng::with_seed(gpu.number as u64);
            let steps = if device.is_cuda() { 10_000 } else { 1_000 };
            for step in 0..steps {
                // Some ask for more than there are.
                let counts: Vec<i32> = (0..ranks).map(|_| common.i32(-1..8)).collect();
                tokens.copy_from(&[counts[gpu.number]]).unwrap();
                if own.u8(..32) == 0 {
                    thread::sleep(Duration::from_micros(own.u64(..1000)));
                }
                graph.launch().unwrap();
                let mut expected = zeros(total as usize, 40);
                for (rank, &count) in counts.iter().enumerate() {
                    let there = count.clamp(0, MOST as i32) as usize;
                    let start = rank * MOST as usize;
                    expected[start..start + there]
                        .clone_from_slice(&rows_of_rank::<bf16>(rank, MOST as usize, 40)[..there]);
                }
                if device.is_cuda() || step % 7 == 0 || step + 10 > steps {
                    for copy in &copies[..gathers] {
                        assert_rows(&read(device, copy.view()), &expected, (gpu.number, step));
                    }
                    let there = counts[gpu.number].clamp(0, MOST as i32) as u64;
                    let moved = Moved::read(&report).unwrap();
                    assert_eq!((moved.planned, moved.moved), (there, there));
                }
                if common.u8(..16) == 0 {
                    let movement = Movement::new(&plan, &topology, &gpu.groups).unwrap();
                    push_counted(&movement, &mut buffer, &local, &tokens, &mut report).unwrap();
                    let found = read(device, buffer.rows(total).unwrap());
                    assert_rows(&found, &expected, (gpu.number, step, "eager"));
                }
            }
            device.synchronize().unwrap();
            gpu.meet();
        });
    }
}

/// Payloads and scales in one launch, as the gather that stages them has them.
#[test]
fn rows_in_8_bits_are_pushed_as_they_are_gathered() {
    let (_turn, gpus) = (turn(), gpus());
    let columns = 256;
    for (dp, attention_tp) in [(2, 1), (4, 1), (2, 2)] {
        let topology = Topology::new(dp * attention_tp, dp).unwrap();
        let counts: Vec<u64> = (0..dp).map(|rank| [5, 0, 1, 3][rank as usize]).collect();
        for extend in [false, true] {
            let plan = plan(&counts, attention_tp, Profile::Main202609, extend);
            let total = plan.layout().rows();
            let value = |rank: usize, i: usize| {
                let (row, column) = (i / columns, i % columns);
                let x = ((rank * 7 + row * 3 + column) % 29) as f32 - 14.0;
                // The second group of every row is zeros.
                bf16::from_f32(if column < 128 { x * 0.37 } else { 0.0 })
            };
            let mine =
                |rank: usize| -> Vec<bf16> { (0..counts[rank] as usize * columns).map(|i| value(rank, i)).collect() };
            let gathered = crate::ranks::on_all(&Device::cpu(), &topology, |groups| {
                let movement = Movement::new(&plan, &topology, groups).unwrap();
                let rank = topology.dp_rank(groups.world().rank() as u64).unwrap() as usize;
                let device = Device::cpu();
                let local = device.upload(&mine(rank), [counts[rank] as usize, columns]).unwrap();
                let mut buffer = device.zeros::<bf16, 2>([total as usize, columns]).unwrap();
                let mut payload = device.zeros::<F8E4M3, 2>([total as usize, columns]).unwrap();
                let mut scales = device.zeros::<f32, 2>([total as usize, columns / 128]).unwrap();
                let (mut all, mut bits, mut sizes) = (buffer.view_mut(), payload.view_mut(), scales.view_mut());
                movement
                    .gather_quantized(&mut all, &mut bits, &mut sizes, local.view(), Counts::Planned)
                    .unwrap();
                groups.world().finish().unwrap();
                (
                    read(&device, buffer.view()),
                    read(&device, payload.view()),
                    read(&device, scales.view()),
                )
            });
            on_devices(gpus, &topology, |gpu| {
                let movement = Movement::new(&plan, &topology, &gpu.groups).unwrap();
                let rank = topology.dp_rank(gpu.number as u64).unwrap() as usize;
                let device = &gpu.device;
                let local = device.upload(&mine(rank), [counts[rank] as usize, columns]).unwrap();
                let mut buffer = QuantizedHalves::new(gpu.groups.world(), columns).unwrap();
                for _ in 0..3 {
                    movement
                        .push_quantized(&mut buffer, local.view(), Counts::Planned)
                        .unwrap();
                    let (payload, scales) = buffer.rows(total).unwrap();
                    let mut wide = device.zeros::<bf16, 2>([total as usize, columns]).unwrap();
                    dequantize_rows(&mut wide, payload, scales).launch(device).unwrap();
                    let (rows, bits, sizes) = &gathered[gpu.number];
                    // The rows behind the last rank's are on nobody's way.
                    let end = plan.layout().padded().iter().sum::<u64>() as usize;
                    assert_rows(
                        &read(device, payload)[..end].to_vec(),
                        &bits[..end].to_vec(),
                        gpu.number,
                    );
                    assert_rows(
                        &read(device, scales)[..end].to_vec(),
                        &sizes[..end].to_vec(),
                        gpu.number,
                    );
                    assert_rows(&read(device, wide.view()), rows, gpu.number);
                }
                gpu.groups.world().finish().unwrap();
                gpu.meet();
            });
        }
    }
}

#[test]
fn a_buffer_of_another_group_is_refused_and_so_are_tensors_that_do_not_fit() {
    let topology = Topology::new(2, 2).unwrap();
    let plan = plan(&[2, 1], 1, Profile::Main202609, true);
    on_all(false, &topology, |gpu| {
        let movement = Movement::new(&plan, &topology, &gpu.groups).unwrap();
        let local = gpu.device.zeros::<bf16, 2>([2, 24]).unwrap();
        let mut others = GatheredHalves::<bf16>::new(gpu.groups.rank(), 24).unwrap();
        let push = |buffer: &mut GatheredHalves<bf16>, local: TensorView<'_, bf16, 2>| {
            movement
                .push(buffer, local, Contribution::Replicate, Counts::Planned)
                .unwrap_err()
        };
        assert!(matches!(push(&mut others, local.view()), MovementError::OtherGroup));
        let mut narrow = GatheredHalves::<bf16>::new(gpu.groups.world(), 23).unwrap();
        let error = push(&mut narrow, local.view());
        assert!(
            matches!(
                error,
                MovementError::WrongColumns {
                    found: 24,
                    expected: 23,
                    ..
                }
            ),
            "{error}"
        );
        let mut buffer = QuantizedHalves::new(gpu.groups.world(), 24).unwrap();
        let error = movement
            .push_quantized(&mut buffer, local.view(), Counts::Planned)
            .unwrap_err();
        assert!(
            matches!(
                error,
                MovementError::NoGroups {
                    columns: 24,
                    group: 128
                }
            ),
            "{error}"
        );
        gpu.meet();
    });
}

/// Rows, ids of experts, their weights, and rows in 8 bits: one launch.
#[test]
fn several_tensors_are_pushed_in_one_launch() {
    let (_turn, gpus) = (turn(), gpus());
    for ranks in [2, 4] {
        let topology = Topology::new(ranks, ranks).unwrap();
        on_devices(gpus, &topology, |gpu| {
            let (device, world) = (&gpu.device, gpu.groups.world());
            let mut rows = GatheredHalves::<bf16>::new(world, 256).unwrap();
            let mut ids = GatheredHalves::<i32>::new(world, 8).unwrap();
            let mut weights = GatheredHalves::<f32>::new(world, 8).unwrap();
            let mut narrow = QuantizedHalves::new(world, 256).unwrap();
            for step in 0..5 {
                let counts: Vec<u64> = (0..ranks).map(|rank| (rank * 3 + step) % 6).collect();
                let plan = plan(&counts, 1, Profile::Main202609, step % 2 == 0);
                let total = plan.layout().rows();
                let movement = Movement::new(&plan, &topology, &gpu.groups).unwrap();
                let tokens = counts[gpu.number] as usize;
                let own_rows = upload::<bf16>(device, &rows_of_rank::<bf16>(gpu.number, tokens, 256), 256);
                let own_ids = upload::<i32>(device, &rows_of_rank::<i32>(gpu.number, tokens, 8), 8);
                let own_weights = upload::<f32>(device, &rows_of_rank::<f32>(gpu.number, tokens, 8), 8);
                let flat = rows_for::<bf16>(How::Quantized, gpu.number, tokens, 256);
                let flat = upload::<bf16>(device, &flat, 256);
                let calls = [
                    movement
                        .push_call(&mut rows, own_rows.view(), Counts::Planned)
                        .unwrap()
                        .0,
                    movement.push_call(&mut ids, own_ids.view(), Counts::Planned).unwrap().0,
                    movement
                        .push_call(&mut weights, own_weights.view(), Counts::Planned)
                        .unwrap()
                        .0,
                    movement
                        .push_quantized_call(&mut narrow, flat.view(), Counts::Planned)
                        .unwrap()
                        .0,
                ];
                Call::fuse(calls).launch(device).unwrap();
                let what = (gpu.number, step);
                let found = read(device, rows.rows(total).unwrap());
                assert_rows(&found, &expected_buffer::<bf16>(&plan, How::Variable, 256), what);
                let found = read(device, ids.rows(total).unwrap());
                assert_rows(&found, &expected_buffer::<i32>(&plan, How::Variable, 8), what);
                let found = read(device, weights.rows(total).unwrap());
                assert_rows(&found, &expected_buffer::<f32>(&plan, How::Variable, 8), what);
                let (payload, scales) = narrow.rows(total).unwrap();
                let mut wide = device.zeros::<bf16, 2>([total as usize, 256]).unwrap();
                dequantize_rows(&mut wide, payload, scales).launch(device).unwrap();
                let found = read(device, wide.view());
                assert_rows(&found, &expected_buffer::<bf16>(&plan, How::Quantized, 256), what);
            }
            world.finish().unwrap();
            gpu.meet();
        });
    }
}

/// A rank that pushes nothing is named by the group's `finish`, and that is the end of the group, not of the device.
#[test]
fn a_rank_that_does_not_push_is_named_by_the_others() {
    let _turn = turn();
    let topology = Topology::new(3, 3).unwrap();
    let plan = plan(&[2, 1, 1], 1, Profile::Main202609, true);
    on_all_within(Duration::from_secs(1), false, &topology, |gpu| {
        let movement = Movement::new(&plan, &topology, &gpu.groups).unwrap();
        let tokens = movement.slot().tokens as usize;
        let local = gpu.device.zeros::<bf16, 2>([tokens, 24]).unwrap();
        let mut buffer = GatheredHalves::<bf16>::new(gpu.groups.world(), 24).unwrap();
        buffer.reserve(plan.layout().rows()).unwrap();
        let mut push = || movement.push(&mut buffer, local.view(), Contribution::Replicate, Counts::Planned);
        push().unwrap();
        gpu.groups.world().finish().unwrap();
        if gpu.number != 1 {
            push().unwrap();
            let error = gpu.groups.world().finish().unwrap_err();
            // It has left, or not yet.
            let is_named = match &error {
                CollectiveError::Late { missing, .. } => missing == &[1],
                CollectiveError::Gone { gone } => *gone == 1,
                _ => false,
            };
            assert!(is_named, "{error}");
            assert!(matches!(push(), Err(MovementError::Collective(_))));
        }
        gpu.device.synchronize().unwrap();
    });
}
