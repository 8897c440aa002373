//! Gathers that are bound to the tensor that the rows are in.

use half::bf16;
use tilewright_dp::collective::{Group, PeerGroup};
use tilewright_dp::kernels::copy_to_slot;
use tilewright_dp::movement::{BoundGather, GatheredHalves, Groups, Moved, Movement, MovementError, OnMismatch};
use tilewright_dp::plan::{Profile, Topology};
use tilewright_dsl::call::Runtime;
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, Launch, Stream};
use tilewright_testing::turn;

use crate::devices::{gpus, on_all, on_devices, read, upload};
use crate::ranks::{plan, rows_of_rank};

/// Steps out of one tensor into a buffer that grows, cut into pieces of every length.
#[test]
fn bound_gathers_move_what_each_step_has_of_their_tensor() {
    let (_turn, gpus) = (turn(), gpus());
    let columns = 5000;
    for (dp, attention_tp) in [(1, 1), (2, 1), (4, 1), (2, 2)] {
        let topology = Topology::new(dp * attention_tp, dp).unwrap();
        on_devices(gpus, &topology, |gpu| {
            let rank = topology.dp_rank(gpu.number as u64).unwrap() as usize;
            let local = gpu.device.zeros::<bf16, 2>([41, columns]).unwrap();
            let buffer = GatheredHalves::<bf16>::new(gpu.groups.world(), columns).unwrap();
            let mut gather = BoundGather::new(buffer, local);
            for (step, tokens) in [3, 1, 0, 40, 2, 17, 41, 41, 1].into_iter().enumerate() {
                let count = |of: u64| (tokens + 2 * of) * u64::from(tokens > 0) % 42;
                let counts: Vec<u64> = (0..dp).map(count).collect();
                let plan = plan(&counts, attention_tp, Profile::Main202609, step % 3 > 0);
                let movement = Movement::new(&plan, &topology, &gpu.groups).unwrap();
                // Of the rows behind them nothing is moved.
                let rows_of = |rank: usize| unique::<bf16>(41, columns, (rank + 4 * step) as u64);
                let mine = upload::<bf16>(&gpu.device, &rows_of(rank), columns);
                copy_to_slot(gather.local_mut(), &mine, Runtime(0), Runtime(41))
                    .launch(&gpu.device)
                    .unwrap();
                let moved = movement.push_bound(&mut gather).unwrap();
                assert!(moved.is_all());
                let mut expected = zeros(plan.layout().rows() as usize, columns);
                for (rank, (&start, &count)) in plan.layout().starts().iter().zip(&counts).enumerate() {
                    let (start, count) = (start as usize, count as usize);
                    expected[start..start + count].clone_from_slice(&rows_of(rank)[..count]);
                }
                let found = read(&gpu.device, gather.rows(plan.layout().rows()).unwrap());
                assert_rows(&found, &expected, (gpu.number, step, &counts));
            }
            gpu.groups.world().finish().unwrap();
            gpu.meet();
        });
    }
}

/// A graph moves what is in the tensor when it is replayed, between steps outside of it; and streams of the same device that was made once
/// more are no others.
#[test]
fn a_bound_gather_is_captured_and_goes_on_by_whatever_handle_of_its_device() {
    let (_turn, gpus) = (turn(), gpus());
    let topology = Topology::new(2, 2).unwrap();
    on_devices(gpus, &topology, |gpu| {
        let plan = plan(&[3, 2], 1, Profile::Main202609, true);
        let mut gather = BoundGather::new(
            GatheredHalves::<f32>::new(gpu.groups.world(), 6).unwrap(),
            gpu.device.zeros::<f32, 2>([4, 6]).unwrap(),
        );
        gather.reserve(9).unwrap();
        let fill = |gather: &mut BoundGather<f32>, step: usize| {
            let mine = upload::<f32>(&gpu.device, &unique::<f32>(4, 6, (gpu.number + 2 * step) as u64), 6);
            copy_to_slot(gather.local_mut(), &mine, Runtime(0), Runtime(4))
                .launch(&gpu.device)
                .unwrap();
        };
        let check = |gather: &mut BoundGather<f32>, step: usize| {
            let rows_of = |rank: usize, rows: usize| unique::<f32>(4, 6, (rank + 2 * step) as u64)[..rows].to_vec();
            let expected = [rows_of(0, 3), rows_of(1, 2)].concat();
            assert_rows(
                &read(&gpu.device, gather.rows(5).unwrap()),
                &expected,
                (gpu.number, step),
            );
        };
        let push = |stream: &Stream, gather: &mut BoundGather<f32>| -> Result<(), MovementError> {
            let on = |group: &PeerGroup| group.on_stream(stream);
            let groups = Groups::new(on(gpu.groups.world())?, on(gpu.groups.rank())?);
            Movement::new(&plan, &topology, &groups)?.push_bound(gather).map(drop)
        };
        fill(&mut gather, 0);
        push(&gpu.device.stream(), &mut gather).unwrap();
        check(&mut gather, 0);
        gpu.meet();
        let mut graph = gpu.device.capture(|stream| push(stream, &mut gather)).unwrap();
        for step in 1..4 {
            fill(&mut gather, step);
            graph.launch().unwrap();
            check(&mut gather, step);
        }
        // As an engine has it that makes a device of the same GPU once more.
        let again = if gpu.device.is_cuda() {
            gpu.device.clone()
        } else {
            Device::cpu()
        };
        for (step, device) in [&again, &gpu.device, &again].into_iter().enumerate() {
            fill(&mut gather, 4 + step);
            gpu.device.synchronize().unwrap();
            push(&device.stream(), &mut gather).unwrap();
            device.synchronize().unwrap();
            check(&mut gather, 4 + step);
        }
        gpu.groups.world().finish().unwrap();
        gpu.meet();
    });
}

/// Everybody is told at once, and the next step finds both halves as they were.
#[test]
fn a_bound_gather_of_a_tensor_that_a_plan_does_not_fit_is_refused() {
    let topology = Topology::new(2, 2).unwrap();
    on_all(false, &topology, |gpu| {
        let halves = |columns| GatheredHalves::<f32>::new(gpu.groups.world(), columns).unwrap();
        let rows = rows_of_rank::<f32>(gpu.number, 4, 3);
        let mut gather = BoundGather::new(halves(3), upload::<f32>(&gpu.device, &rows, 3));
        let plan_of = |tokens| plan(&[tokens; 2], 1, Profile::Main202609, true);
        let push = |tokens, gather: &mut BoundGather<f32>| {
            Movement::new(&plan_of(tokens), &topology, &gpu.groups)
                .unwrap()
                .push_bound(gather)
        };
        assert!(push(4, &mut gather).unwrap().is_all());
        let error = push(5, &mut gather).unwrap_err();
        assert!(
            matches!(
                error,
                MovementError::Uncovered {
                    tokens: 5,
                    found: 4,
                    ..
                }
            ),
            "{error}"
        );
        let plan = plan_of(5);
        let clamped = Movement::new(&plan, &topology, &gpu.groups).unwrap();
        let moved = clamped.on_mismatch(OnMismatch::Clamp).push_bound(&mut gather).unwrap();
        assert_eq!(moved, Moved { planned: 5, moved: 4 });
        let found = read(&gpu.device, gather.rows(10).unwrap());
        let expected: Rows = [0, 1]
            .map(|rank| [rows_of_rank::<f32>(rank, 4, 3), zeros(1, 3)].concat())
            .concat();
        assert_rows(&found, &expected, gpu.number);
        let (_, local) = gather.into_parts();
        let mut wide = BoundGather::new(halves(4), local);
        let error = push(4, &mut wide).unwrap_err();
        assert!(
            matches!(
                error,
                MovementError::WrongColumns {
                    found: 3,
                    expected: 4,
                    ..
                }
            ),
            "{error}"
        );
        gpu.groups.world().finish().unwrap();
        gpu.meet();
    });
}
