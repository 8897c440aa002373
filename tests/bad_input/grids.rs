//! No rows, and too many.

use tilewright::dsl::call::MAX_COUNT;
use tilewright::prelude::*;

use crate::kernels::{add_rows, copy_rows, nothing};
use crate::support::{COLUMNS, Outcome, ROWS, Tensors, fails, on_each_device};

#[test]
fn no_rows_are_no_launch_and_no_error() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let none = device.zeros::<i32, 2>([0, COLUMNS])?;
        let mut no_columns = device.zeros::<i32, 2>([ROWS, 0])?;
        let count = device.upload(&[0i64], [1])?;
        for launched in [
            copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(0)).launch(device)?,
            copy_rows(&mut tensors.out, &tensors.src, Runtime(3), Runtime(0)).launch(device)?,
            copy_rows(&mut tensors.out, &none, Exact(0), device_count(&count, 0, 0)?).launch(device)?,
            add_rows(&mut device.zeros([0, COLUMNS])?, &none, &none).launch(device)?,
        ] {
            assert_eq!((launched.programs(), launched.compiled()), (0, false));
            assert!(launched.variant().is_none(), "nothing is compiled for nothing");
        }
        // Programs that find nothing to do are another matter.
        copy_rows(&mut tensors.out, &tensors.src, Exact(0), device_count(&count, 0, 4)?).launch(device)?;
        copy_rows(&mut tensors.out, &none, Exact(ROWS as u64), Exact(4)).launch(device)?;
        copy_rows(&mut no_columns, &tensors.src, Exact(0), Exact(4)).launch(device)?;
        assert!(no_columns.download()?.is_empty());
        tensors.are_untouched_and_usable()
    })
}

#[test]
fn a_grid_beyond_what_a_launch_can_have_is_refused() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        for rows in [1 << 31, MAX_COUNT] {
            let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Runtime(rows));
            let words = [
                "`copy_rows`",
                &rows.to_string(),
                "more than 2147483647 programs",
                "launch a part at a time",
            ];
            let error = fails(call.launch(device), &words);
            assert!(matches!(error, LaunchError::Grid(_)));
        }
        fails(
            nothing(Exact(1 << 16), Runtime(1 << 15)).launch(device),
            &["`nothing`", "65536, 32768", "programs"],
        );
        fails(
            nothing(Exact(MAX_COUNT), Exact(MAX_COUNT)).launch(device),
            &["`nothing`", "launch a part at a time"],
        );
        tensors.are_untouched_and_usable()
    })
}
