//! What is said about indices out of bounds: reports under every policy, read without waiting, and kernels without checks.

use tilewright::dsl::transform::ProvedBy;
use tilewright::prelude::*;

use crate::devices::{on_every_device, where_kernels_report};

#[kernel(grid = [index.extent(0)])]
fn skipping(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, index: &Tensor<i32, 1>) {
    let cols = arange(out.extent(1));
    out.store([program_id(0), cols], src.load([index.load([program_id(0)]), cols]));
}

#[kernel(grid = [1], bounds = "clamp")]
fn clamping(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, first: i64) {
    let i = arange(40);
    out.store([i], src.load([i + first]));
}

#[test]
fn a_launch_can_ask_for_reports_of_skipped_and_clamped_accesses() {
    let results = where_kernels_report(|device| {
        let src = device.upload(&(0..4 * 33).collect::<Vec<i32>>(), [4, 33]).unwrap();
        let index = device.upload(&[3, 9, 0], [3]).unwrap();
        let mut out = device.upload(&[-1; 99], [3, 33]).unwrap();
        skipping(&mut out, &src, &index).launch(device).unwrap();
        device.synchronize().unwrap();
        skipping(&mut out, &src, &index)
            .report_out_of_bounds()
            .launch(device)
            .unwrap();
        let LaunchError::Trapped {
            parameter,
            axis,
            index,
            program,
            span,
            ..
        } = device.synchronize().unwrap_err()
        else {
            panic!("row 9 does not exist");
        };
        assert_eq!((parameter.as_str(), axis, index, program), ("src", 0, 9, 1));
        assert!(span.file.ends_with("policies.rs"));
        let row = device.upload(&(0..40).collect::<Vec<i32>>(), [40]).unwrap();
        let mut clamped = device.zeros::<i32, 1>([40]).unwrap();
        clamping(&mut clamped, &row, 0)
            .report_out_of_bounds()
            .launch(device)
            .unwrap();
        device.synchronize().unwrap();
        clamping(&mut clamped, &row, 3)
            .report_out_of_bounds()
            .launch(device)
            .unwrap();
        let error = device.synchronize().unwrap_err().to_string();
        assert!(error.contains("`src`") && error.contains("axis 0"), "{error}");
        (out.download().unwrap(), clamped.download().unwrap())
    });
    let rows: Vec<i32> = (99..132).chain([0; 33]).chain(0..33).collect();
    let clamped: Vec<i32> = (3..40).chain([39; 3]).collect();
    assert_eq!(results, (rows, clamped));
}

#[kernel(grid = [1], bounds = "trap")]
fn trapping(out: &mut Tensor<i32, 1>, index: &Tensor<i64, 1>) {
    out.store([index.load([0])], 1);
}

#[test]
fn a_report_is_read_without_synchronising_the_device() {
    where_kernels_report(|device| {
        let mut out = device.zeros::<i32, 1>([8]).unwrap();
        for bad in [8i64, -3] {
            let index = device.upload(&[bad], [1]).unwrap();
            trapping(&mut out, &index).launch(device).unwrap();
            // The report comes by itself, some time after the kernel has run.
            let waited = std::time::Instant::now();
            let error = loop {
                match device.reported() {
                    Err(error) => break error,
                    Ok(()) => assert!(waited.elapsed().as_secs() < 20, "nothing is reported"),
                }
            };
            assert!(
                matches!(error, LaunchError::Trapped { index, axis: 0, .. } if index == bad),
                "{error}"
            );
            assert!(device.reported().is_ok() && device.synchronize().is_ok());
        }
        let index = device.upload(&[7i64], [1]).unwrap();
        trapping(&mut out, &index).launch(device).unwrap();
        device.synchronize().unwrap();
        assert_eq!(out.download().unwrap(), [0, 0, 0, 0, 0, 0, 0, 1]);
    });
}

#[kernel(grid = [out.extent(0)], deny_guarded)]
fn copy_rows(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, first: Count) {
    let cols = arange(out.extent(1));
    out.store([program_id(0), cols], src.load([program_id(0) + first, cols]));
}

#[kernel(grid = [out.extent(0)], deny_guarded)]
fn gather_anything(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, index: &Tensor<i32, 1>) {
    let row = program_id(0);
    if row < index.extent(0) {
        out.store([row], 1);
    }
    out.store([row], src.load([index.load([row])]));
}

#[kernel(grid = [index.extent(0)], deny_guarded)]
fn gather_tested(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, index: &Tensor<i64, 1>) {
    let row = program_id(0);
    let from = index.load([row]);
    if row < out.extent(0) && from >= 0 && from < src.extent(0) {
        out.store([row], src.load([from]));
    }
}

#[test]
fn a_kernel_that_denies_checks_is_refused_where_one_is_left() {
    on_every_device(|device| {
        let src = device.upload(&(0..50).collect::<Vec<i32>>(), [5, 10]).unwrap();
        let mut out = device.zeros::<i32, 2>([3, 10]).unwrap();
        copy_rows(&mut out, &src, Runtime(2)).launch(device).unwrap();
        assert_eq!(out.download().unwrap(), (20..50).collect::<Vec<i32>>());
        // Here the last program would leave `src`.
        let LaunchError::Guarded { kernel, proof } = copy_rows(&mut out, &src, Runtime(3)).launch(device).unwrap_err()
        else {
            panic!("a check is needed");
        };
        assert_eq!((kernel.as_str(), proof.tensor.as_str()), ("copy_rows", "src"));
        assert_eq!(proof.axes, [ProvedBy::Guard, ProvedBy::Proof]);
        assert!(proof.span.file.ends_with("policies.rs"));

        let (src, index) = (
            device.zeros::<i32, 1>([5]).unwrap(),
            device.zeros::<i32, 1>([3]).unwrap(),
        );
        let mut out = device.zeros::<i32, 1>([3]).unwrap();
        // An index from memory needs a check in every launch, which shows before anything is known of this one.
        let error = gather_anything(&mut out, &src, &index).launch(device).unwrap_err();
        assert!(matches!(error, LaunchError::Trace(_)), "{error}");
        assert!(error.to_string().contains("load src[guarded]"), "{error}");
        let index = device.upload(&[4i64, -1, 7], [3]).unwrap();
        gather_tested(&mut out, &src, &index).launch(device).unwrap();
    });
}

#[kernel(grid = [cdiv(out.extent(0), 1024)], deny_narrow)]
fn elements(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, index: &Tensor<i32, 1>) {
    let i = arange(1024) + program_id(0) * 1024;
    out.store([i], src.load([index.load([i])]));
}

#[kernel(grid = [cdiv(out.extent(0), 1024)], deny_narrow)]
fn elements_on_purpose(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, index: &Tensor<i32, 1>) {
    let i = arange(1024) + program_id(0) * 1024;
    let anywhere = AccessOptions::new().allow_narrow();
    out.store([i], src.load_with([index.load([i])], anywhere));
}

#[kernel(grid = [out.extent(0)], deny_narrow)]
fn rows(out: &mut Tensor<bf16, 2>, src: &Tensor<bf16, 2>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row, cols], src.load([row, cols]));
}

#[test]
fn a_kernel_that_denies_narrow_accesses_is_refused_where_one_is_left() {
    on_every_device(|device| {
        let src = device
            .upload(&(0..5000).map(|at| at as f32).collect::<Vec<_>>(), [5000])
            .unwrap();
        let index = device
            .upload(&(0..1500).map(|at| at * 3 % 1501).collect::<Vec<i32>>(), [1500])
            .unwrap();
        let mut out = device.zeros::<f32, 1>([1500]).unwrap();
        let error = elements(&mut out, &src, &index).launch(device).unwrap_err();
        let LaunchError::Narrow(narrow) = &error else {
            panic!("{error}");
        };
        let [access] = &narrow.accesses[..] else {
            panic!("{error}");
        };
        assert_eq!((access.tensor.as_str(), access.bytes), ("src", 4));
        assert!(access.span.file.ends_with("policies.rs"));
        let text = error.to_string();
        for part in [
            "kernel `elements` denies narrow accesses, and 1 access of this launch is narrow:",
            "load of src, f32, 4 bytes at once: the index comes from a loaded value",
            "allow_narrow()",
        ] {
            assert!(text.contains(part), "{text}");
        }
        // What is meant to be narrow is listed, and launched.
        let call = elements_on_purpose(&mut out, &src, &index);
        let listed = call.accesses(device).unwrap();
        assert_eq!(
            listed.narrow().map(|access| access.must_be_wide).collect::<Vec<_>>(),
            [false]
        );
        call.launch(device).unwrap();
        assert_eq!(out.download().unwrap()[..4], [0.0, 3.0, 6.0, 9.0]);
    });
}

#[test]
fn rows_that_lie_anywhere_are_not_narrow_but_columns_are() {
    on_every_device(|device| {
        let all = device.upload(&vec![bf16::ONE; 40 * 131], [40, 131]).unwrap();
        // Rows of 100 elements from the third on, 131 apart: no two begin at equal distances from a multiple of 16 bytes.
        let mut out = device.zeros::<bf16, 2>([40, 100]).unwrap();
        rows(&mut out, all.columns(3..103).unwrap()).launch(device).unwrap();
        assert_eq!(out.download().unwrap(), vec![bf16::ONE; 4000]);

        let mut turned = device.zeros::<bf16, 2>([131, 40]).unwrap();
        let error = rows(&mut turned, all.transpose(0, 1).unwrap())
            .launch(device)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("pass a tensor whose innermost axis is contiguous"),
            "{error}"
        );
    });
}
