//! Plans, counts and tensors that do not fit each other.

use half::bf16;
use tilewright_dp::collective::{Group, LocalGroup};
use tilewright_dp::kernels::place_rows;
use tilewright_dp::movement::{Contribution, Counts, Groups, Moved, Movement, MovementError, OnMismatch};
use tilewright_dp::plan::{Plan, Profile, Request, Topology};
use tilewright_dsl::call::{ArgumentValue, Arguments, Call, CountArgument, Exact, TensorArgument};
use tilewright_runtime::{Device, Launch, LaunchError, device_count};

use crate::ranks::*;
use tilewright_harness::testing::*;

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

#[test]
fn counts_in_device_memory_are_clamped_and_reported() {
    for_each_device(|device| {
        let columns = 128;
        // Two GPUs a rank: of one attention, or of two contexts.
        let topologies = [(1, 2), (2, 1)].map(|(cp, attention_tp)| with_context(2, cp, attention_tp));
        for topology in topologies.into_iter().flatten() {
            for (extend, how) in [
                (false, How::Variable),
                (true, How::Variable),
                (false, How::Quantized),
                (true, How::Quantized),
                (false, How::Nvfp4),
                (true, How::Nvfp4),
            ] {
                let plan = plan_of(Profile::Main202611, &[4, 4], &topology, extend);
                // Tokens that the device counts, and rows that the tensor has.
                for (tokens, there) in [(4i64, 4usize), (0, 4), (3, 4), (4, 2), (9, 4), (-1, 4), (4, 0)] {
                    on_all(device, &topology, |groups| {
                        let movement = Movement::new(&plan, &topology, groups).unwrap();
                        let rank = groups.world().rank() / 2;
                        let slot = movement.slot();
                        let rows = rows_for::<bf16>(how, rank, there, columns);
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
                            slot[..real].clone_from_slice(&rows_for::<bf16>(how, rank, real, columns));
                        }
                        assert_rows(&buffer.read(), &expected, (tokens, there, extend, how));
                        let gpu = groups.rank().rank() as i64;
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
                        let mut expected = rows_for::<bf16>(how, rank, real, columns);
                        expected.resize(4, vec![0; columns]);
                        assert_rows(&back.read(), &expected, (tokens, there, extend, how));
                        groups.world().finish().unwrap();
                    });
                }
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
    let pair = || LocalGroup::ranks(&device, 2, LIMIT).unwrap().into_iter();
    for (world, attention) in pair().zip(pair().rev()) {
        let groups = Groups::new(world, attention);
        let error = Movement::new(&plan, &Topology::new(2, 1).unwrap(), &groups).err();
        assert!(matches!(error, Some(MovementError::WrongNumber { .. })), "{error:?}");
    }
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
            #[allow(unsafe_code)] // The launch is refused.
            unsafe {
                arguments.push(ArgumentValue::Tensor(out.clone()))
            };
            #[allow(unsafe_code)] // The launch is refused.
            unsafe {
                arguments.push(ArgumentValue::Tensor(TensorArgument {
                    mutable: false,
                    extents: [2, 3].into_iter().collect(),
                    offset: out.offset + first * 12,
                    ..out.clone()
                }))
            };
            for count in [1, 0, 2] {
                #[allow(unsafe_code)] // The launch is refused.
                unsafe {
                    arguments.push(ArgumentValue::Count(CountArgument::Exact(count)))
                };
            }
            let error = Call::new(definition.clone(), arguments).launch(device).unwrap_err();
            assert_eq!(matches!(error, LaunchError::Overlap { .. }), refused, "{error}");
        }
        drop(out);
        assert_eq!(buffer.download().unwrap(), [5; 24]);
    });
}
