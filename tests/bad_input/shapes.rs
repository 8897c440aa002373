//! Destinations and sources whose extents do not go together.

use tilewright::prelude::*;

use crate::kernels::{add_rows, copy_all_rows, copy_rows, place_of};
use crate::support::{COLUMNS, Outcome, ROWS, SENTINEL, Tensors, fails, on_each_device};

/// The policy `zero`, which is the default: what lies outside is not written. The guards lie in the same memory.
#[test]
fn a_destination_smaller_than_the_tile_takes_what_fits() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let part = tensors.out.view_mut().rows(1..3)?.columns(2..7)?;
        copy_rows(part, &tensors.src, Exact(0), Exact(ROWS as u64)).launch(device)?;
        let found = tensors.out.download()?;
        for (i, found) in found.into_iter().enumerate() {
            let (row, column) = (i / COLUMNS, i % COLUMNS);
            let inside = (1..3).contains(&row) && (2..7).contains(&column);
            // Row 1, column 2 of the buffer took the source's first element, which is 1.
            let expected = if inside {
                ((row - 1) * COLUMNS + column - 1) as i32
            } else {
                SENTINEL
            };
            assert_eq!(found, expected, "row {row}, column {column}");
        }
        Ok(())
    })
}

/// The policy `trap`: as above, and the device reports it.
#[test]
fn a_destination_smaller_than_the_tile_is_reported_if_the_kernel_asks_for_it() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let mut narrow = device.upload(&[SENTINEL; ROWS * 5], [ROWS, 5])?;
        let launched = copy_all_rows(&mut narrow, &tensors.src).launch(device).map(|_| ());
        let reported = launched.and_then(|()| device.synchronize());
        let place = place_of("out.store([row, cols], src.load([row, cols])); //");
        let error = fails(
            reported,
            &["`copy_all_rows`", "is out of range on axis 1 of `out`", &place],
        );
        let LaunchError::Trapped { index, .. } = error else {
            panic!("{error}")
        };
        assert!((5..8).contains(&index), "{index}");
        assert_eq!(narrow.rows(1..2)?.download()?, [9, 10, 11, 12, 13]);
        tensors.are_untouched_and_usable()
    })
}

#[test]
fn shapes_that_do_not_broadcast_name_the_kernel_and_the_line() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let narrow = device.zeros::<i32, 2>([ROWS, 5])?;
        let refused = add_rows(&mut tensors.out, &tensors.src, &narrow).launch(device);
        let place = place_of("// The line that the error names.");
        let error = fails(refused, &["`add_rows`", &place, "8", "5"]);
        assert!(matches!(error, LaunchError::Trace(_)), "{error}");
        tensors.are_untouched_and_usable()?;
        let zeros = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
        add_rows(&mut tensors.out, &tensors.src, &zeros).launch(device)?;
        assert_eq!(tensors.out.download()?, tensors.src.download()?);
        Ok(())
    })
}
