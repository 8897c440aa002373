//! What becomes of an example's output when nobody reads it, or nowhere takes it.

use std::fs::File;
use std::io::pipe;
use std::process::{Command, Output, Stdio};

/// A shell's status of a program that SIGPIPE ended.
const CLOSED_PIPE: i32 = 128 + 13;

/// Every example, with arguments that make it short.
const EXAMPLES: [&[&str]; 7] = [
    &["quickstart"],
    &["kv_cache"],
    &["moe_permute"],
    &["quantize"],
    &["dp_attention", "--counts", "2,1", "--hidden", "8"],
    &["bundle"],
    &["engine_memory"],
];

fn run(example: &[&str], stdout: impl Into<Stdio>) -> Output {
    let (name, arguments) = example.split_first().expect("an example");
    Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--example", name, "--"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(stdout)
        .output()
        .expect("cargo")
}

fn error_of(output: &Output) -> (Option<i32>, String) {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), error)
}

#[test]
fn every_example_is_tried() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).expect("the examples");
    let names = folder.map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_owned());
    let mut names: Vec<_> = names.filter(|name| name != "support").collect();
    names.sort_unstable();
    let mut tried = EXAMPLES.map(|example| example[0]);
    tried.sort_unstable();
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
