//! `tilewright plan --compare --trace` as a user runs it.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A prompt longer than a chunk, and two answers.
const TRACE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                     2023-11-16 18:15:46.0,10,3\n\
                     2023-11-16 18:15:46.0,2,5\n";

struct Files {
    folder: TempDir,
    trace: PathBuf,
}

impl Files {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace.csv");
        std::fs::write(&trace, text).unwrap();
        Self { folder, trace }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tilewright"));
        command.args(["plan", "--compare", "--trace"]).arg(&self.trace);
        command.args(arguments).output().unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fail(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn a_trace_is_served_by_the_rules_of_every_version() {
    // Steps of [8, 2], [2, 1], then graphs of [1, 1], [1, 1], [0, 1]. Rows are 14336 bytes: 13 of them, and 5 under graphs
    // that only the first version allocates.
    let table = Files::new(TRACE).succeed(&["--dp", "2", "--chunk", "8"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "2 requests, 5 steps, 5 forwards");
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let base = ["base-8277", "4", "3", "143,360", "258,048", "28,672"];
    assert_eq!(cells(lines[2])[..6], base);
    let after = ["pr-8277", "4", "3", "143,360", "186,368", "28,672"];
    assert_eq!(cells(lines[3])[..6], after);
    assert_eq!(lines.len(), 2 + 7);
}

#[test]
fn drafts_make_several_forwards_of_a_step() {
    let files = Files::new(TRACE);
    let all = files.succeed(&["--speculate", "1,3,4", "--accept", "100"]);
    let none = files.succeed(&["--speculate", "1,3,4", "--accept", "0"]);
    // A prefill of both models, and one step of four forwards; without luck four steps.
    assert!(all.starts_with("2 requests, 2 steps, 6 forwards\n"), "{all}");
    assert!(none.starts_with("2 requests, 5 steps, 18 forwards\n"), "{none}");
}

#[test]
fn every_flag_reaches_the_simulation() {
    let files = Files::new(TRACE);
    let plain = files.succeed(&[]);
    for flags in [
        &["--dp", "1"][..],
        &["--attn-tp", "4"],
        &["--chunk", "3"],
        &["--row-bytes", "4096"],
        &["--graph-buckets", "64"],
    ] {
        assert_ne!(files.succeed(flags), plain, "{flags:?}");
    }
}

#[test]
fn what_is_allocated_over_time_is_drawn() {
    let files = Files::new(TRACE);
    let image = files.folder.path().join("steps.svg");
    files.succeed(&["--svg", image.to_str().unwrap()]);
    let image = std::fs::read_to_string(&image).unwrap();
    assert!(
        image.starts_with("<svg ") && image.contains(">pr-8277<") && image.contains("peak 168 KiB"),
        "{image}"
    );
}

#[test]
fn mistakes_are_told() {
    let files = Files::new("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.0,ten,3\n");
    assert!(files.fail(&[]).contains("trace.csv:2"), "{}", files.fail(&[]));
    let files = Files::new(TRACE);
    assert!(files.fail(&["--raw", "1"]).contains("cannot be used with"));
    assert!(
        files
            .fail(&["--speculate", "1,3"])
            .contains("branches, draft steps, draft tokens")
    );
    assert!(files.fail(&["--speculate", "1,0,4"]).contains("at least 1"));
    assert!(files.fail(&["--accept", "50"]).contains("--speculate"));
    assert!(files.fail(&["--dp", "0"]).contains("is 0; it is at least 1"));
    for flag in ["--extend", "--graph-ok", "--json", "--profile=pr-8277"] {
        assert!(files.fail(&[flag]).contains("cannot be used with"), "{flag}");
    }
}
