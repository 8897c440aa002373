//! Rows in 8 bits, and in 4, on their way.

use float8::F8E4M3;
use half::bf16;
use tilewright_dp::collective::Group;
use tilewright_dp::kernels::nvfp4::{swizzle_scales, swizzled_extents};
use tilewright_dp::movement::{Counts, Movement, MovementError};
use tilewright_dp::plan::{Plan, Profile, Request, Topology, WireFormat};
use tilewright_runtime::{Device, Launch};

use crate::ranks::*;
use crate::reference;
use tilewright_harness::testing::*;

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

/// The example of the specification: ranks of 5, 0 and 3 rows of 7168 send 32,256 bytes, and 57,344 bytes of scales are read.
#[test]
fn four_bits_on_the_way_are_those_of_each_row_and_are_swizzled_behind_it() {
    for_each_device(|device| {
        let (columns, global) = (7168, 2688.0 / 20.0);
        // A graph's buffer has rows behind the last rank's.
        let of_graph = Request {
            profile: Profile::Pr8277,
            graph_ok: true,
            graph_buckets: Some(vec![16]),
            ..Request::new(vec![3, 0, 4], 3)
        };
        let plans = [
            (1, plan(&[5, 0, 3], 1, Profile::Main202609, false)),
            (2, plan(&[5, 0, 3], 2, Profile::Main202609, true)),
            (1, plan(&[1, 0, 0], 1, Profile::Main202609, true)),
            (1, Plan::new(&of_graph).unwrap()),
        ];
        for (attention_tp, plan) in plans {
            let topology = Topology::new(3 * attention_tp, 3).unwrap();
            let (counts, rows) = (plan.layout().counts(), plan.layout().rows() as usize);
            let value = |rank: usize, i: usize| bf16::from_f32(((rank * 5003 + i * 37) % 1009) as f32 / 26.0 - 19.0);
            let mine = |rank: usize| (0..counts[rank] as usize * columns).map(move |i| value(rank, i));
            let found = on_all(device, &topology, |groups| {
                let movement = Movement::new(&plan, &topology, groups).unwrap();
                let rank = topology.dp_rank(groups.world().rank() as u64).unwrap() as usize;
                let local: Vec<bf16> = mine(rank).collect();
                let local = device.upload(&local, [counts[rank] as usize, columns]).unwrap();
                let mut payload = Guarded::<u8>::untouched(device, rows, columns / 2, Placement::Contiguous);
                let mut scales = Guarded::<F8E4M3>::untouched(device, rows, columns / 16, Placement::Contiguous);
                let (mut bytes, mut sizes) = (payload.view_mut(), scales.view_mut());
                let moved = movement.gather_nvfp4(&mut bytes, &mut sizes, local.view(), global, Counts::Planned);
                assert!(moved.unwrap().is_all());
                let mut out = device.zeros(swizzled_extents(rows, columns / 16)).unwrap();
                swizzle_scales(&mut out, scales.view()).launch(device).unwrap();
                groups.world().finish().unwrap();
                let swizzled: Vec<u8> = out.download().unwrap().iter().map(|scale| scale.to_bits()).collect();
                (payload.read(), scales.read(), swizzled)
            });
            let (mut payload, mut scales) = (zeros(rows, columns / 2), zeros(rows, columns / 16));
            for (rank, &start) in plan.layout().starts().iter().enumerate() {
                let wide: Vec<f32> = mine(rank).map(bf16::to_f32).collect();
                let wide: Vec<_> = wide.chunks(columns).map(<[f32]>::to_vec).collect();
                let (bytes, sizes) = reference::quantized_rows(&wide, global);
                let at = start as usize..start as usize + bytes.len();
                payload[at.clone()].clone_from_slice(&bytes);
                scales[at].clone_from_slice(&sizes);
            }
            let mut swizzled = vec![0; WireFormat::swizzled_scale_bytes(rows as u64, columns as u64) as usize];
            for (row, sizes) in scales.iter().enumerate() {
                for (column, &bits) in sizes.iter().enumerate() {
                    swizzled[reference::swizzled(row, column, columns / 16)] = bits as u8;
                }
            }
            for (bytes, sizes, read) in &found {
                assert_rows(bytes, &payload, (counts, "payload"));
                assert_rows(sizes, &scales, (counts, "scales"));
                assert_eq!(read, &swizzled, "{counts:?}");
            }
        }
    });
}

#[test]
fn wires_that_rows_do_not_fit_are_refused_before_anything_is_launched() {
    let (device, topology) = (Device::cpu(), Topology::new(1, 1).unwrap());
    let plan = plan(&[2], 1, Profile::Main202609, false);
    on_all(&device, &topology, |groups| {
        let movement = Movement::new(&plan, &topology, groups).unwrap();
        let gather = |payload: [usize; 2], scales: [usize; 2], local: [usize; 2], global: f32| {
            let mut bytes = Guarded::<u8>::untouched(&device, payload[0], payload[1], Placement::Contiguous);
            let mut sizes = Guarded::<F8E4M3>::untouched(&device, scales[0], scales[1], Placement::Contiguous);
            let local = device.zeros::<bf16, 2>(local).unwrap();
            let (mut to, mut beside) = (bytes.view_mut(), sizes.view_mut());
            let moved = movement.gather_nvfp4(&mut to, &mut beside, local.view(), global, Counts::Planned);
            if moved.is_err() {
                assert_rows(&bytes.read(), &sentinels::<u8>(payload[0], payload[1]), "the payload");
                assert_rows(&sizes.read(), &sentinels::<F8E4M3>(scales[0], scales[1]), "the scales");
            }
            moved
        };
        assert!(gather([2, 16], [2, 2], [2, 32], 1.0).unwrap().is_all());
        let error = gather([2, 12], [2, 1], [2, 24], 1.0).unwrap_err();
        let is_of_groups = matches!(error, MovementError::NoGroups { columns: 24, group: 16 });
        assert!(is_of_groups, "{error}");
        for (payload, scales, local, text) in [
            (
                [3, 16],
                [2, 2],
                [2, 32],
                "the payload has 3 rows and the plan's buffer has 2",
            ),
            (
                [2, 16],
                [1, 2],
                [2, 32],
                "the tensor of scales has 1 rows and the plan's buffer has 2",
            ),
            (
                [2, 32],
                [2, 2],
                [2, 32],
                "the payload has rows of 32 elements where 16 are needed",
            ),
            (
                [2, 16],
                [2, 4],
                [2, 32],
                "the tensor of scales has rows of 4 elements where 2 are needed",
            ),
            (
                [2, 16],
                [2, 2],
                [1, 32],
                "rank 0 was planned 2 rows, 2 of them tokens, and its tensor has 1",
            ),
        ] {
            let error = gather(payload, scales, local, 1.0).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
        for global in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = gather([2, 16], [2, 2], [2, 32], global).unwrap_err();
            assert!(matches!(error, MovementError::GlobalScale { .. }), "{error}");
        }
    });
}
