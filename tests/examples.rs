//! What becomes of an example's output when nobody reads it, or nowhere takes it.

use std::fs::File;
use std::io::pipe;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

/// A shell's status of a program that SIGPIPE ended.
const CLOSED_PIPE: i32 = 128 + 13;

/// Every example, with arguments that make it short.
const EXAMPLES: [&[&str]; 12] = [
    &["quickstart"],
    &["kv_cache"],
    &["moe_permute"],
    &["quantize"],
    &["dp_attention", "--counts", "2,1", "--hidden", "8"],
    &[
        "dp_attention",
        "--counts",
        "2,1",
        "--hidden",
        "8",
        "--gpus",
        "2",
        "--device",
        "cpu",
    ],
    &[
        "dp_attention",
        "--counts",
        "2,1",
        "--hidden",
        "8",
        "--processes",
        "2",
        "--device",
        "cpu",
    ],
    &[
        "dp_attention",
        "--counts",
        "2,1,0,3",
        "--hidden",
        "8",
        "--processes",
        "4",
        "--hosts",
        "2",
        "--device",
        "cpu",
    ],
    &["bundle"],
    &["engine_memory"],
    &["exactness", "--device", "cpu"],
    &["serving_loop", "--device", "cpu", "--steps", "20"],
];

/// The folder with all examples, which are there already where every test is run: these packages and features are then the
/// same, and with them those of all dependencies.
fn examples() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let features: &[&str] = if cfg!(feature = "nccl") {
            &["--features=nccl"]
        } else {
            &[]
        };
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--examples"])
            .args(features)
            .args((!cfg!(debug_assertions)).then_some("--release"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(status.expect("cargo").success(), "the examples do not build");
        let test = std::env::current_exe().expect("this program");
        test.ancestors().nth(2).expect("a folder").join("examples")
    });
    &BUILT
}

fn run(example: &[&str], stdout: impl Into<Stdio>) -> Output {
    let (name, arguments) = example.split_first().expect("an example");
    Command::new(examples().join(name))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(stdout)
        .output()
        .expect("the example")
}

fn error_of(output: &Output) -> (Option<i32>, String) {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), error)
}

#[test]
fn every_example_is_tried() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).expect("the examples");
    let names = folder.map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_owned());
    // `cargo xtask python` and `cargo xtask candle` try those that are packages of their own.
    let is_tried =
        |name: &std::ffi::OsString| !["support", "python_extension", "candle"].map(Into::into).contains(name);
    let mut names: Vec<_> = names.filter(is_tried).collect();
    names.sort_unstable();
    let mut tried = EXAMPLES.map(|example| example[0]).to_vec();
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(names, tried);
}

#[test]
fn a_closed_pipe_ends_an_example_quietly() {
    for example in EXAMPLES {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let (status, error) = error_of(&run(example, writer));
        assert_eq!((status, error.as_str()), (Some(CLOSED_PIPE), ""), "{example:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_an_example_fails() {
    for example in EXAMPLES {
        let full = File::options().write(true).open("/dev/full").expect("the device");
        let (status, error) = error_of(&run(example, full));
        assert_eq!(status, Some(1), "{example:?}: {error}");
        assert!(
            error.starts_with("error: No space left") && error.lines().count() == 1,
            "{example:?}: {error}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_drawing_goes_to_any_file_but_a_named_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let draw = |file: &str| {
        let arguments = ["--mode", "sum", "--svg", file];
        run(&[EXAMPLES[4], &arguments].concat(), Stdio::piped())
    };
    let file = folder.path().join("drawing.svg");
    let output = draw(file.to_str().expect("a name"));
    assert!(output.status.success(), "{output:?}");
    assert!(std::fs::read_to_string(&file).expect("a drawing").starts_with("<svg"));
    let output = draw("/dev/stdout");
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("<svg"),
        "{output:?}"
    );
    assert!(draw("/dev/null").status.success());

    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let (status, error) = error_of(&draw(pipe.to_str().expect("a name")));
    assert!(status == Some(1) && error.contains("named pipe"), "{error}");
}

#[test]
fn a_serving_loop_waits_for_no_compiler_once_it_is_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("launches.svg");
    let serve = ["serving_loop", "--device", "cpu", "--steps", "300", "--svg"];
    let output = run(
        &[&serve[..], &[file.to_str().expect("a name")]].concat(),
        Stdio::piped(),
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for verdict in [
        "holds: 0 launches waited for a compiler",
        "holds: 0 compiles behind failed",
        "holds: all bits of 300 of 300 steps are the host's",
    ] {
        assert!(text.contains(verdict), "{verdict}\n{text}");
    }
    let counters = text
        .lines()
        .find(|line| line.starts_with("since the device was sealed"));
    let compiles = counters.and_then(|line| line.split(" compiles").next()?.rsplit(' ').next()?.parse().ok());
    assert!(
        compiles.is_some_and(|compiles: u64| compiles > 0),
        "nothing came behind: {text}"
    );
    let drawing = std::fs::read_to_string(&file).expect("a drawing");
    assert!(drawing.starts_with("<svg") && drawing.contains(&format!("{} compiles", compiles.unwrap_or(0))));
}

#[test]
fn a_serving_loop_says_what_is_wrong_with_what_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{text}")).expect("a file");
        file.to_str().expect("a name").to_owned()
    };
    let nothing = trace("nothing.csv", "2023-11-16 18:15:46,0,0\n");
    let words = trace("words.csv", "2023-11-16 18:15:46,many,1\n");
    let large = trace("large.csv", "2023-11-16 18:15:46,1000000,1\n");
    let cases: [(&[&str], &str); 7] = [
        (&["--hidden", "12"], "multiple of 8"),
        (&["--steps", "0"], "--steps"),
        (&["--dp", "0"], "--dp"),
        (&["--trace", "/no/such/trace.csv"], "/no/such/trace.csv"),
        (&["--trace", &nothing], "no step to run"),
        (&["--trace", &words], "many"),
        (
            &["--trace", &large, "--chunk", "1000000", "--hidden", "1048576"],
            "a smaller `--hidden`",
        ),
    ];
    for (arguments, expected) in cases {
        let serve = ["serving_loop", "--device", "cpu", "--steps", "2"];
        let serve: &[&str] = if arguments[0] == "--steps" { &serve[..3] } else { &serve };
        let (status, error) = error_of(&run(&[serve, arguments].concat(), Stdio::piped()));
        assert!(status.is_some_and(|status| status > 0), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}
