//! Scales where tensor cores read them.

use float8::F8E4M3;
use tilewright_dp::kernels::nvfp4::{swizzle_scales, swizzled_extents};
use tilewright_dp::plan::WireFormat;
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, Launch};

use crate::reference::swizzled;

#[test]
fn every_scale_is_where_tensor_cores_read_it_and_all_else_is_zero() {
    for_each_device(|device| {
        for rows in [0, 1, 31, 127, 128, 129, 300] {
            for groups in [1, 3, 4, 5, 7, 13, 448] {
                let byte = |row: usize, column: usize| 1 + ((row * 31 + column * 7 + row / 5) % 255) as u8;
                let all: Rows = (0..rows)
                    .map(|row| (0..groups).map(|column| byte(row, column).into()).collect())
                    .collect();
                let extents = swizzled_extents(rows, groups);
                let bytes: usize = extents.iter().product();
                let planned = WireFormat::swizzled_scale_bytes(rows as u64, groups as u64 * 16);
                assert_eq!(bytes as u128, planned);
                let mut expected = vec![0; bytes];
                for (row, bits) in all.iter().enumerate() {
                    for (column, &bits) in bits.iter().enumerate() {
                        expected[swizzled(row, column, groups)] = bits as u8;
                    }
                }
                // As they travel, and as views of something else.
                for placement in [Placement::Contiguous, Placement::Misaligned, Placement::Offset(4)] {
                    let src = Guarded::<F8E4M3>::new(device, &all, groups, placement);
                    // A block of rows on each side is somebody else's.
                    let [blocks, columns, lanes, width] = extents;
                    let guarded = [blocks + 2, columns, lanes, width];
                    let size = columns * lanes * width;
                    let guard = vec![F8E4M3::from_bits(0x5a); (blocks + 2) * size];
                    let mut out = device.upload(&guard, guarded).unwrap();
                    swizzle_scales(out.view_mut().rows(1..1 + blocks).unwrap(), src.view())
                        .launch(device)
                        .unwrap();
                    let found: Vec<u8> = out.download().unwrap().iter().map(|scale| scale.to_bits()).collect();
                    assert!(found[..size].iter().all(|&bits| bits == 0x5a), "before {rows} {groups}");
                    assert_eq!(found[size..size + bytes], expected, "{rows} {groups} {placement:?}");
                    assert!(
                        found[size + bytes..].iter().all(|&bits| bits == 0x5a),
                        "behind {rows} {groups}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_tensor_of_other_blocks_is_refused() {
    let device = Device::cpu();
    let src = device.zeros::<F8E4M3, 2>([129, 5]).unwrap();
    for extents in [[1, 2, 32, 16], [3, 2, 32, 16], [2, 1, 32, 16], [2, 2, 16, 32]] {
        let mut out = device.zeros::<F8E4M3, 4>(extents).unwrap();
        let error = swizzle_scales(&mut out, &src).launch(&device).unwrap_err().to_string();
        assert!(error.contains("requires"), "{error}");
    }
    let mut out = device.zeros(swizzled_extents(129, 5)).unwrap();
    swizzle_scales(&mut out, &src).launch(&device).unwrap();
}
