//! Counts that are negative, no numbers, or too large.

use std::error::Error;

use tilewright::dp::counts::{self, CountsError};
use tilewright::dsl::call::{CountArgument, MAX_COUNT};
use tilewright::prelude::*;
use tilewright::runtime::DeviceCount;

use crate::kernels::copy_rows;
use crate::support::{COLUMNS, Outcome, SENTINEL, Tensors, fails, on_each_device};

#[test]
fn counts_in_words_name_the_rank_and_what_is_wrong() {
    let cases: [(&str, &[&str]); 8] = [
        ("", &["empty", "one count per rank", "20,20,0,7"]),
        ("20,-3", &["rank 1 is -3", "cannot be negative"]),
        ("20,x,1", &["rank 1 is `x`", "not a whole number"]),
        ("1e3", &["rank 0 is `1e3`", "not a whole number"]),
        ("NaN,1", &["rank 0 is `NaN`", "not a whole number"]),
        ("1,,2", &["rank 1 is missing", "write 0"]),
        (
            "1,2,1099511627777",
            &["rank 2 is 1099511627777", "largest count is 1099511627776"],
        ),
        (
            "99999999999999999999999999",
            &["rank 0", "largest count is 1099511627776"],
        ),
    ];
    for (text, words) in cases {
        fails(counts::parse(text), words);
    }
    let error = fails(counts::from_signed(&[4, i64::MIN]), &["rank 1", "cannot be negative"]);
    assert!(matches!(error, CountsError::Negative { rank: 1, .. }));
    fails(counts::from_signed(&[4, i64::MAX]), &["rank 1", "largest count"]);
}

#[test]
fn a_count_out_of_range_is_refused_however_it_is_bound() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        for count in [
            CountArgument::Exact(-1),
            CountArgument::Runtime(-1),
            CountArgument::Runtime(i64::MIN),
            CountArgument::Exact(MAX_COUNT as i64 + 1),
            CountArgument::Runtime(i64::MAX),
        ] {
            let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), count.clone());
            fails(call.launch(device), &["`copy_rows`", "`rows`", "a count is 0 to 2^40"]);
            let call = copy_rows(&mut tensors.out, &tensors.src, count, Exact(1));
            fails(
                call.launch(device),
                &["`copy_rows`", "`offset`", "a count is 0 to 2^40"],
            );
        }
        for rows in [MAX_COUNT + 1, u64::MAX] {
            let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(rows));
            fails(call.launch(device), &["`rows`", "a count is 0 to 2^40"]);
            let call = copy_rows(&mut tensors.out, &tensors.src, Runtime(rows), Exact(1));
            let error = fails(call.launch(device), &["`offset`", "a count is 0 to 2^40"]);
            assert!(matches!(error, LaunchError::CountOutOfRange { .. }));
        }
        tensors.are_untouched_and_usable()
    })
}

/// What lies in device memory is known to nobody before the kernel runs: it is clamped.
#[test]
fn a_count_in_device_memory_is_clamped_and_its_index_and_maximum_are_checked() -> Outcome {
    fn rows_written(device: &Device, count: DeviceCount<'_>) -> Result<usize, Box<dyn Error>> {
        let mut tensors = Tensors::new(device)?;
        copy_rows(&mut tensors.out, &tensors.src, Exact(0), count).launch(device)?;
        let found = tensors.out.download()?;
        let rows = found.iter().position(|&x| x == SENTINEL).unwrap_or(found.len()) / COLUMNS;
        assert_eq!(found[..rows * COLUMNS], tensors.src.download()?[..rows * COLUMNS]);
        assert!(found[rows * COLUMNS..].iter().all(|&x| x == SENTINEL));
        Ok(rows)
    }
    on_each_device(|device| {
        let wide = [i64::MIN, -1, 0, 2, 3, 4, 1 << 33, i64::MAX];
        let narrow = [i32::MIN, -1, 0, 2, 3, 4, 1 << 20, i32::MAX];
        let expected = [0, 0, 0, 2, 3, 3, 3, 3];
        let (wide, narrow) = (device.upload(&wide, [8])?, device.upload(&narrow, [8])?);
        for (i, expected) in expected.into_iter().enumerate() {
            assert_eq!(rows_written(device, device_count(&wide, i, 3)?)?, expected, "i64 {i}");
            assert_eq!(rows_written(device, device_count(&narrow, i, 3)?)?, expected, "i32 {i}");
        }
        fails(
            device_count(&wide, 8, 3).map(|_| ()),
            &["8..9", "axis 0", "extent of 8"],
        );
        let maximum = device_count(&wide, 0, MAX_COUNT + 1).map(|_| ());
        fails(maximum, &["1099511627777", "at most 2^40"]);
        Tensors::new(device)?.are_untouched_and_usable()
    })
}
