//! Gathers that are bound to the tensor that the rows are in.

use half::bf16;
use tilewright_dp::collective::Group;
use tilewright_dp::kernels::copy_to_slot;
use tilewright_dp::movement::{BoundGather, GatheredHalves, Moved, Movement, MovementError, OnMismatch};
use tilewright_dp::plan::{Profile, Topology};
use tilewright_dsl::call::Runtime;
use tilewright_harness::testing::*;
use tilewright_runtime::Launch;
use tilewright_testing::turn;

use crate::devices::{gpus, on_all, on_devices, read, upload};
use crate::ranks::{plan, rows_of_rank};

/// Steps out of one tensor into a buffer that grows, cut into pieces of every length, and a graph of one of them.
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
