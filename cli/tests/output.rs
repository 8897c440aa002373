//! What becomes of the output when nobody reads it, or nowhere takes it.

use std::fs::File;
use std::io::{Write, pipe};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tilewright::runtime::cache::BundleBuilder;

/// A shell's status of a program that SIGPIPE ended.
const CLOSED_PIPE: i32 = 128 + 13;

const REQUESTS: &str = r#"[{"raw": [20, 3], "dp": 2}, {"raw": [1], "dp": 1}]"#;

/// Every way to print something, and what it reads.
fn commands(folder: &TempDir) -> Vec<(Vec<String>, &'static str)> {
    let trace = folder.path().join("trace.csv");
    let rows = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.0,10,3\n";
    std::fs::write(&trace, rows).unwrap();
    let trace = trace.to_str().unwrap();
    let bundle = folder.path().join("kernels.bundle");
    BundleBuilder::new().write(&bundle).unwrap();
    let bundle = bundle.to_str().unwrap();
    let place = |word: &str| word.replace("TRACE", trace).replace("BUNDLE", bundle);
    let command = |words: &str| words.split(' ').map(place).collect();
    [
        ("doctor", ""),
        ("--help", ""),
        ("--version", ""),
        ("help plan", ""),
        ("plan --json", REQUESTS),
        ("plan --raw 20,3", ""),
        ("plan --raw 20,3 --explain", ""),
        ("plan --raw 20,3 --compare", ""),
        ("plan --raw 20,3 --svg /dev/stdout", ""),
        ("plan --compare --trace TRACE", ""),
        ("bundle --list BUNDLE", ""),
        ("plan --compare --trace TRACE --svg /dev/stdout", ""),
    ]
    .map(|(words, input)| (command(words), input))
    .to_vec()
}

fn run(arguments: &[String], input: &str, stdout: impl Into<Stdio>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tilewright"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Most do not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, input) in commands(&folder) {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = run(&arguments, input, writer);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), error.as_str()),
            (Some(CLOSED_PIPE), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_full_disk_is_told_and_the_command_fails() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, input) in commands(&folder) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = run(&arguments, input, full);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(
            error.starts_with("error: cannot write ") && error.contains("No space left") && error.lines().count() == 1,
            "{arguments:?}: {error}"
        );
    }
    let arguments = ["plan", "--raw", "1", "--svg", "/dev/full"].map(str::to_owned);
    let output = run(&arguments, "", Stdio::piped());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.starts_with("error: cannot write /dev/full: No space left"),
        "{error}"
    );
}

/// Runs the command by a shell, which closes and redirects. Returns its status and both outputs.
fn by_shell(arguments: &str) -> (Option<i32>, String) {
    let line = format!("exec \"$0\" {arguments}");
    let output = Command::new("sh")
        .args(["-c", &line, env!("CARGO_BIN_EXE_tilewright")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text)
}

#[test]
fn closed_and_full_streams_change_no_status() {
    for streams in ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-"] {
        let (status, text) = by_shell(&format!("plan --raw 20,3 {streams}"));
        assert!(
            status == Some(0) && text.starts_with("main-2026-11"),
            "{streams}: {text}"
        );
        // A mistake in the arguments, in a request, and in what is read.
        for (arguments, code) in [("plan --raw x", 2), ("plan --raw 1,2 --dp 3", 1)] {
            let (status, text) = by_shell(&format!("{arguments} {streams}"));
            assert_eq!(status, Some(code), "{arguments} {streams}: {text}");
            assert!(!text.contains("panicked"), "{arguments} {streams}: {text}");
        }
    }
    let (status, text) = by_shell("plan --json <&-");
    assert_eq!(
        (status, text.as_str()),
        (
            Some(1),
            "error: standard input is neither a request nor an array of requests: it is empty\n"
        )
    );
    // A closed standard output takes everything.
    assert_eq!(by_shell("plan --raw 1 >&-"), (Some(0), String::new()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_named_pipe_that_nobody_reads_or_writes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    for arguments in [
        ["plan", "--raw", "1", "--svg", pipe],
        ["plan", "--compare", "--trace", pipe, "--dp=1"],
    ] {
        let output = run(&arguments.map(str::to_owned), "", Stdio::piped());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && error.contains("named pipe"),
            "{error}"
        );
    }
}

#[test]
fn a_trace_can_come_from_standard_input() {
    let rows = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.0,10,3\n";
    let arguments = ["plan", "--compare", "--trace", "/dev/stdin"].map(str::to_owned);
    let output = run(&arguments, rows, Stdio::piped());
    assert!(output.stdout.starts_with(b"1 requests, 3 steps"), "{output:?}");
}
