//! Kernels that NVRTC refuses, and an NVRTC that is none.

use std::path::PathBuf;

use tilewright::prelude::*;
use tilewright::runtime::compile::{Architecture, CompileError, CompileOptions, Nvrtc, compile};
use tilewright_testing::{Part, process_of};

use crate::kernels::copy_rows;
use crate::support::{COLUMNS, Outcome, ROWS, SENTINEL, Tensors, fails};

/// Whoever writes CUDA C++ with `#line` directives, as the code generator does, sees the lines of the Rust source.
#[test]
fn cuda_text_that_nvrtc_refuses_is_reported_at_the_line_of_the_rust_source() -> Outcome {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return Ok(());
    }
    let source = "extern \"C\" __global__ void broken(int* out) {\n#line 7 \"src/kernels.rs\"\n  out[0] = row;\n}\n";
    let options = CompileOptions::new(Architecture::new(9, 0));
    let words = [
        "NVRTC rejected kernel `broken` for sm_90",
        "src/kernels.rs:7",
        "\"row\" is undefined",
    ];
    let error = fails(compile(source, "broken", &options), &words);
    let CompileError::Rejected { diagnostics, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (diagnostics[0].file.as_str(), diagnostics[0].line),
        ("src/kernels.rs", 7)
    );
    let old = CompileOptions::new(Architecture::new(2, 0));
    fails(
        compile(source, "broken", &old),
        &["`broken`", "sm_20", "it supports", "sm_90"],
    );
    fails(
        compile("\0", "broken", &options),
        &["`broken`", "NUL byte at offset 0", "remove it"],
    );
    assert!(
        compile(&source.replace("row", "1"), "broken", &options).is_ok(),
        "the next one compiles"
    );
    Ok(())
}

/// NVRTC is loaded once a process, so this takes another one, which runs the ignored test below.
#[test]
fn an_nvrtc_that_is_none_is_named() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("libnvrtc.so.13");
    std::fs::write(&file, "no library")?;
    for named in [file, PathBuf::from("/no/such/libnvrtc.so")] {
        let child = process_of("nvrtc::with_an_nvrtc_that_is_none")
            .env("TILEWRIGHT_NVRTC", &named)
            .output()?;
        let text = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success() && text.contains("1 passed"), "{text}");
    }
    Ok(())
}

#[test]
#[ignore = "run by `an_nvrtc_that_is_none_is_named`, in an environment of its own"]
fn with_an_nvrtc_that_is_none() -> Outcome {
    let named = std::env::var("TILEWRIGHT_NVRTC")?;
    let words = [
        "TILEWRIGHT_NVRTC is set to",
        &named,
        "gives no NVRTC",
        "Set it to libnvrtc.so",
        "or unset it",
    ];
    fails(Nvrtc::load().map(|_| ()), &words);
    fails(Nvrtc::load().map(|_| ()), &words);
    // The CPU device needs none, and a GPU says at the first launch that it has none.
    Tensors::new(&Device::cpu())?.are_untouched_and_usable()?;
    let Some(gpu) = Part::Gpu.if_there(Device::cuda(0)) else {
        return Ok(());
    };
    assert!(Device::best().why().is_some_and(|why| why.contains(&named)));
    let mut tensors = Tensors::new(&gpu)?;
    let launched = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(1)).launch(&gpu);
    let error = fails(launched, &words);
    assert!(matches!(error, LaunchError::Compile(_)));
    assert_eq!(tensors.out.download()?, [SENTINEL; ROWS * COLUMNS]);
    Ok(())
}
