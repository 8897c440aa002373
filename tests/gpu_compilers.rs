//! Who compiles: NVRTC, or the driver, which is all that a machine with a GPU needs.

#![allow(unsafe_code)] // Instructions are the author's to answer for: these are refused.

use std::time::Duration;

use tilewright::prelude::*;
use tilewright::runtime::cache::CubinCache;
use tilewright::runtime::compile::{CompileError, Compiler};
use tilewright::runtime::device::DeviceError;
use tilewright::runtime::{Device, LaunchError};
use tilewright_harness::testing::gpus;
use tilewright_testing::{Part, process_of, turn};

#[kernel(grid = [out.extent(0)])]
fn scaled(out: &mut Tensor<f32, 2>, src: &Tensor<f16, 2>, rows: &Tensor<i32, 1>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    let x = src.load([rows.load([row]), cols]).cast::<f32>();
    out.store([row, cols], (x - x.max_axis(0)).exp() / x.abs().sum_axis(0));
}

#[kernel(grid = [cdiv(src.extent(0), 64)])]
fn counted(counts: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>) {
    let i = program_id(0) * 64 + arange(64);
    counts.atomic_add([src.load([i])], 1);
}

/// Some launches: movement, elements that meet, functions, atomic operations, more shared memory than a block has unasked.
fn launches(device: &Device) -> Result<(Vec<u32>, Vec<i32>), Box<dyn std::error::Error>> {
    let mut bits = Vec::new();
    for columns in [64, 131, 7167] {
        let values: Vec<f16> = (0..4 * columns).map(|i| f16::from_f32((i % 97) as f32 / 8.0)).collect();
        let src = device.upload(&values, [4, columns])?;
        let rows = device.upload(&[3, 1, 1, 0, 2], [5])?;
        let mut out = device.zeros::<f32, 2>([5, columns])?;
        scaled(&mut out, &src, &rows).launch(device)?;
        bits.extend(out.download()?.into_iter().map(f32::to_bits));
    }
    let src = device.upload(&(0..1000).map(|i| i * i % 13).collect::<Vec<i32>>(), [1000])?;
    let mut counts = device.zeros::<i32, 1>([13])?;
    counted(&mut counts, &src).launch(device)?;
    Ok((bits, counts.download()?))
}

#[test]
fn each_compiler_makes_code_that_leaves_the_same_bits() {
    let expected = launches(&Device::cpu()).expect("the CPU device");
    let Some(gpus) = Part::Gpu.or_skip(gpus()) else { return };
    let _turn = turn();
    for gpu in gpus {
        assert_eq!(launches(&gpu).expect("a GPU"), expected, "{}", gpu.compiler());
        let wanted = match gpu.compiler() {
            Compiler::Ptx => "PTX",
            _ => "CUDA C++",
        };
        for variant in gpu.variants() {
            let module = variant.module().expect("it is on a GPU");
            assert_eq!(module.text.language(), wanted, "{variant:?}");
        }
    }
}

#[kernel(grid = [1])]
fn mistaken(out: &mut Tensor<u32, 1>) {
    // SAFETY: it is refused.
    let sum = unsafe { inline_ptx_on_gpu::<_, (u32,), 1>("add.q32 %0, %1, 1;", (arange(32).cast::<u32>(),)) };
    out.store([arange(32)], sum.0);
}

#[test]
fn an_instruction_that_there_is_not_is_told_at_its_line_whoever_compiles() {
    let Some(gpus) = Part::Gpu.or_skip(gpus()) else { return };
    let _turn = turn();
    for gpu in gpus {
        let mut out = gpu.zeros::<u32, 1>([32]).expect("memory");
        let error = mistaken(&mut out)
            .launch(&gpu)
            .expect_err("no such instruction")
            .to_string();
        assert!(
            error.contains("`tilewright_mistaken`") && error.contains("q32"),
            "{}: {error}",
            gpu.compiler()
        );
        if gpu.compiler() == Compiler::Ptx {
            assert!(error.contains("gpu_compilers.rs:"), "{error}");
        }
    }
}

#[test]
fn a_compiler_that_takes_longer_than_it_may_is_given_up_whoever_it_is() {
    let Some(gpus) = Part::Gpu.or_skip(gpus()) else { return };
    let _turn = turn();
    for gpu in gpus {
        gpu.set_compile_limit(Duration::ZERO);
        let mut counts = gpu.zeros::<i32, 1>([7]).expect("memory");
        let src = gpu.zeros::<i32, 1>([77]).expect("memory");
        // Shapes that no other test has, so that nothing is found.
        let refused = counted(&mut counts, &src).exact_extents().launch(&gpu);
        gpu.set_compile_limit(Duration::from_secs(120));
        assert!(
            matches!(refused, Err(LaunchError::Compile(CompileError::Unended { .. })) | Ok(_)),
            "{}: {refused:?}",
            gpu.compiler()
        );
    }
}

/// A test of this file in a process of its own, where NVRTC is named as one that there is not.
fn child(test: &str, compiler: &str, cache: &str) -> (bool, String) {
    let output = process_of(test)
        .env("TILEWRIGHT_NVRTC", "/no/such/file")
        .env("TILEWRIGHT_COMPILER", compiler)
        .env("TILEWRIGHT_CACHE", cache)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

#[test]
fn a_driver_alone_runs_everything_and_what_it_compiled_is_kept() {
    if Part::Gpu.or_skip(Device::cuda(0)).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().display().to_string();
    for said in ["compiled some: true", "compiled some: false"] {
        let (passed, text) = child("with_a_driver_alone", "ptx", &cache);
        assert!(passed && text.contains(said), "{text}");
        assert!(text.contains("NVRTC in this process: false"), "{text}");
    }
    let (passed, text) = child("with_a_driver_alone", "nvrtc", "off");
    assert!(!passed && text.contains("/no/such/file"), "{text}");
}

#[test]
#[ignore = "run by `a_driver_alone_runs_everything_and_what_it_compiled_is_kept`, in a process of its own"]
fn with_a_driver_alone() {
    let expected = launches(&Device::cpu()).expect("the CPU device");
    let gpu = Device::best();
    assert!(gpu.is_cuda(), "{:?}", gpu.why());
    assert_eq!(launches(&gpu).expect("a GPU"), expected);
    assert!(CubinCache::settle(Duration::from_secs(60)), "it is stored");
    println!("compiled some: {}", CubinCache::current().counters().compiled > 0);
    let maps = std::fs::read_to_string("/proc/self/maps").expect("what is in this process");
    println!("NVRTC in this process: {}", maps.contains("libnvrtc"));
}

#[test]
fn an_environment_that_chooses_no_compiler_is_told() {
    let (passed, text) = child("with_a_compiler_that_there_is_not", "gcc", "off");
    assert!(passed, "{text}");
}

#[test]
#[ignore = "run by `an_environment_that_chooses_no_compiler_is_told`, in an environment of its own"]
fn with_a_compiler_that_there_is_not() {
    let error = Device::cuda(0).expect_err("no such compiler");
    assert!(matches!(error, DeviceError::Compiler(_)), "{error}");
    let why = Device::best().why().expect("it is the CPU device").to_owned();
    assert_eq!(
        why,
        "TILEWRIGHT_COMPILER: `gcc` names no compiler: it is `auto`, `nvrtc` or `ptx`"
    );
}
