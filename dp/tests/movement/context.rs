//! Ranks of several context-parallel parts.

use half::bf16;
use tilewright_dp::collective::Group;
use tilewright_dp::layout::PaddingMode;
use tilewright_dp::movement::{Contribution, Counts, Movement};
use tilewright_dp::plan::Combine;

use crate::ranks::*;
use tilewright_harness::testing::*;

/// In both modes, with contributions of every kind.
#[test]
fn context_parallel_parts_make_the_round_trip_bit_for_bit() {
    for_each_device(|device| {
        let sizes = [1, 2, 4].map(|dp| [1, 2, 4].map(|cp| with_context(dp, cp, 1).chain(with_context(dp, cp, 2))));
        let mut modes = [0, 0];
        for topology in sizes.into_iter().flatten().flatten() {
            let counts: Vec<u64> = (0..topology.dp()).map(|rank| [5, 0, 1, 3][rank as usize % 4]).collect();
            for (profile, extend) in WITH_CONTEXT
                .into_iter()
                .flat_map(|profile| [(profile, false), (profile, true)])
            {
                let plan = plan_of(profile, &counts, &topology, extend);
                modes[plan.mode() as usize] += 1;
                for contribution in [
                    Contribution::Partial,
                    Contribution::PartialOverContext,
                    Contribution::Replicate,
                ] {
                    for how in [How::Gather, How::Variable] {
                        round_trip::<bf16>(device, &plan, &topology, how, contribution, true, 5);
                    }
                }
                let replicate = Contribution::Replicate;
                for how in [How::Quantized, How::Nvfp4] {
                    round_trip::<bf16>(device, &plan, &topology, how, replicate, false, 128);
                }
            }
        }
        assert!(modes.iter().all(|&plans| plans > 20), "{modes:?}");
    });
}

/// Where parts leave rows that the GPUs do not divide, engines sum whole buffers and cut. The newest version does not align
/// ranks to their parts, so that this is common.
#[test]
fn a_reduce_scatter_between_contexts_is_an_all_reduce_and_a_slice() {
    for_each_device(|device| {
        let mut uneven = [0; 2];
        for topology in with_context(2, 2, 2)
            .chain(with_context(1, 4, 1))
            .chain(with_context(2, 3, 1))
        {
            for (version, extend) in [(0, false), (0, true), (1, false), (1, true)] {
                let counts = [7, 2];
                let plan = plan_of(
                    WITH_CONTEXT[version],
                    &counts[..topology.dp() as usize],
                    &topology,
                    extend,
                );
                let rows = plan.layout().rows() as usize;
                let divides = (rows as u64).is_multiple_of(topology.tp());
                uneven[version] += usize::from(!divides);
                if plan.mode() == PaddingMode::Max {
                    let longest = plan.layout().padded()[0];
                    let combine = topology.combine(longest).unwrap();
                    assert_eq!(combine == Combine::Narrow(longest), !divides, "{topology:?}");
                }
                on_all(device, &topology, |groups| {
                    let movement = Movement::new(&plan, &topology, groups).unwrap();
                    let (gpu, slot) = (groups.world().rank(), movement.slot());
                    let element = |i: usize| bf16::from_f32(((i * 37 + gpu * 101) % 211) as f32 / 64.0 - 1.5);
                    let part: Vec<bf16> = (0..rows * 3).map(element).collect();
                    let mut buffer = device.upload(&part, [rows, 3]).unwrap();
                    let mut whole = device.upload(&part, [rows, 3]).unwrap();
                    let [mut local, mut sliced] =
                        [(); 2].map(|()| Guarded::untouched(device, slot.rows as usize, 3, Placement::Contiguous));
                    movement
                        .reduce_scatter(&mut local.view_mut(), &mut buffer.view_mut(), Counts::Planned)
                        .unwrap();
                    groups.world().all_reduce(&mut whole.view_mut()).unwrap();
                    movement
                        .scatter(&mut sliced.view_mut(), whole.view(), Counts::Planned)
                        .unwrap();
                    groups.world().finish().unwrap();
                    assert_rows(&local.read(), &sliced.read(), (topology, gpu));
                });
            }
        }
        assert!(uneven.iter().all(|&plans| plans > 0), "every buffer was divided evenly");
    });
}
