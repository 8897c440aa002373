//! Compiling, with NVRTC where it is installed.

use tilewright_testing::Part;

use super::*;

/// NVRTC.
pub(super) fn nvrtc() -> Option<&'static Nvrtc> {
    Part::Nvrtc.or_skip(Nvrtc::load())
}

fn hopper() -> CompileOptions {
    CompileOptions::new(Architecture::new(9, 0))
}

const COPY: &str =
    r#"extern "C" __global__ void copy(uint4* out, const uint4* in) { out[threadIdx.x] = in[threadIdx.x]; }"#;

#[test]
fn a_source_becomes_a_cubin_of_the_architecture_asked_for() {
    let Some(nvrtc) = nvrtc() else { return };
    assert!(nvrtc.version().0 >= 12, "{:?}", nvrtc.version());
    assert!(nvrtc.path().is_absolute(), "{}", nvrtc.path().display());
    let cubin = compile(COPY, "copy", &hopper()).expect("it compiles");
    assert!(cubin.bytes.starts_with(b"\x7fELF"));
    assert_eq!((cubin.architecture, cubin.log.as_str()), (Architecture::new(9, 0), ""));
    assert_eq!(
        compile(COPY, "copy", &hopper()).expect("it compiles again"),
        cubin,
        "the same bytes every time"
    );
}

#[test]
fn a_compilation_that_takes_longer_than_it_may_is_given_up_and_can_be_tried_again_when_it_has_ended() {
    if nvrtc().is_none() {
        return;
    }
    let source = COPY.replace("copy", "slow");
    let mut options = hopper();
    options.limit = std::time::Duration::ZERO;
    let error = compile(&source, "slow", &options).expect_err("there is no time");
    assert!(
        matches!(&error, CompileError::Unended { kernel, .. } if kernel == "slow"),
        "{error}"
    );
    let deadline = crate::Deadline::after(std::time::Duration::from_secs(60));
    options.limit = CompileOptions::LIMIT;
    while let Err(error) = compile(&source, "slow", &options) {
        assert!(
            matches!(error, CompileError::Unended { .. }) && !deadline.is_past(),
            "{error}"
        );
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn builtin_declarations_are_found_without_a_loader_path() {
    let Some(nvrtc) = nvrtc() else { return };
    let task = Task {
        kernel: "math",
        architecture: Architecture::new(9, 0),
        source: MATH,
    };
    const MATH: &str = r#"extern "C" __global__ void math(float* x) { x[0] = __expf(x[1]) + atomicAdd(x, 1.0f); }"#;
    // Without --minimal NVRTC reads its builtins, which it asks the loader for by their bare name.
    let arguments = vec!["--gpu-architecture=sm_90".to_owned()];
    nvrtc::run(nvrtc, &task, arguments, Output::Cubin).expect("it compiles");
}

#[test]
fn ptx_is_text_that_can_be_searched() {
    if nvrtc().is_none() {
        return;
    }
    let ptx = compile_ptx(COPY, "copy", &hopper()).expect("it compiles");
    assert!(
        ptx.contains(".entry copy(") && ptx.contains(".target sm_90") && ptx.contains(".v4."),
        "{ptx}"
    );
    assert!(ptx.ends_with('\n') || ptx.ends_with('}'), "no NUL at the end");
}

#[test]
fn an_error_points_at_the_line_directive_and_not_at_the_generated_source() {
    if nvrtc().is_none() {
        return;
    }
    let source = "extern \"C\" __global__ void bad(int* out) {\n#line 41 \"src/my kernel.rs\"\n  out[0] = nope;\n}\n";
    let error = compile(source, "bad", &hopper()).expect_err("it does not compile");
    let CompileError::Rejected {
        kernel, diagnostics, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((kernel.as_str(), diagnostics.len()), ("bad", 1));
    assert_eq!(
        (diagnostics[0].file.as_str(), diagnostics[0].line),
        ("src/my kernel.rs", 41)
    );
    let shown = error.to_string();
    assert!(
        shown.contains("error: identifier \"nope\" is undefined\n  --> src/my kernel.rs:41"),
        "{shown}"
    );
    assert!(!shown.contains("\\n"), "{shown}");
}

#[test]
fn a_warning_does_not_stop_a_compilation_and_is_kept() {
    if nvrtc().is_none() {
        return;
    }
    let source = "extern \"C\" __global__ void idle() { int unused; }";
    let cubin = compile(source, "idle", &hopper()).expect("it compiles");
    let found = parse_log(&cubin.log);
    assert!(
        found
            .iter()
            .any(|finding| finding.severity == Severity::Warning && finding.file == "idle.cu"),
        "{found:?}"
    );
}

#[test]
fn an_architecture_that_nvrtc_does_not_know_is_named_beside_those_it_does() {
    if nvrtc().is_none() {
        return;
    }
    let error = compile(COPY, "copy", &CompileOptions::new(Architecture::new(3, 5)))
        .expect_err("too old")
        .to_string();
    assert!(
        error.contains("kernel `copy` for sm_35") && error.contains("sm_90"),
        "{error}"
    );
}

#[test]
fn an_unknown_extra_option_is_a_rejection_with_its_reason() {
    if nvrtc().is_none() {
        return;
    }
    let mut options = hopper();
    options.extra.push("--no-such-option".to_owned());
    let error = compile(COPY, "copy", &options).expect_err("no such option").to_string();
    assert!(error.contains("no-such-option"), "{error}");
}

#[test]
fn a_nul_byte_in_the_source_is_an_error_that_says_where() {
    if nvrtc().is_none() {
        return;
    }
    let error = compile("ab\0c", "copy", &hopper()).expect_err("no C text").to_string();
    assert_eq!(
        error,
        "the source of kernel `copy` holds a NUL byte at offset 2: remove it"
    );
}

#[test]
fn threads_compile_at_once_and_agree_with_one_alone() {
    if nvrtc().is_none() {
        return;
    }
    let alone = compile(COPY, "copy", &hopper()).expect("it compiles");
    std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(|| compile(COPY, "copy", &hopper())));
        for thread in threads {
            assert_eq!(thread.join().expect("no panic").expect("it compiles"), alone);
        }
    });
}

#[test]
fn line_information_is_in_the_cubin_only_when_asked_for() {
    if nvrtc().is_none() {
        return;
    }
    let mut options = hopper();
    let plain = compile(COPY, "copy", &options).expect("it compiles");
    options.line_info = true;
    let with_lines = compile(COPY, "copy", &options).expect("it compiles");
    let has_lines = |cubin: &Cubin| cubin.bytes.windows(11).any(|bytes| bytes == b".debug_line");
    assert!(has_lines(&with_lines) && !has_lines(&plain));
}
