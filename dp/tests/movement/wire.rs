//! Rows in 8 bits on their way.

use float8::F8E4M3;
use half::bf16;
use tilewright_dp::collective::Group;
use tilewright_dp::movement::{Counts, Movement};
use tilewright_dp::plan::{Profile, Topology};

use crate::ranks::*;
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
