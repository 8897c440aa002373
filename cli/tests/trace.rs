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
    assert_eq!(lines.len(), 2 + 8);
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
        &["--micro", "tbo"],
    ] {
        assert_ne!(files.succeed(flags), plain, "{flags:?}");
    }
}

#[test]
fn prompts_wait_as_long_as_they_are_told() {
    // Both ranks decode when a prompt comes to one of them, and a step later one to the other: they wait, and share a step.
    let files =
        Files::new(&format!("{TRACE}2023-11-16 18:15:46.03,7,1\n2023-11-16 18:15:46.06,7,1\n").replace(",5\n", ",9\n"));
    let (now, later) = (
        files.succeed(&["--dp", "2"]),
        files.succeed(&["--dp", "2", "--hold", "2,1"]),
    );
    assert_ne!(now, later);
    assert_eq!(now, files.succeed(&["--dp", "2", "--hold", "0,0"]));
    for wrong in ["5", "5,-1", "1,2,3", "a,b"] {
        assert!(
            files.fail(&["--hold", wrong]).contains("two whole numbers are needed"),
            "{wrong}"
        );
    }
    assert!(files.fail(&["--prompts", "1;2"]).contains("cannot be used with"));
}

/// What the newest version has in a column of the table.
fn newest(table: &str, column: &str) -> String {
    let split = |line: &str| {
        line.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let lines: Vec<Vec<String>> = table.lines().map(split).collect();
    let at = lines[1].iter().position(|name| name == column).unwrap();
    lines.last().unwrap()[at].clone()
}

#[test]
fn mixed_steps_and_bounds_and_padding_tell_what_they_need() {
    // One rank decodes while a long prompt comes to the other.
    let files = Files::new(&TRACE.replace("10,3", "1,9").replace("2,5", "80,1"));
    let flags = ["--dp=2", "--chunk=20", "--speculate=1,3,4", "--accept=0"];
    let with = |more: &[&str]| files.succeed(&[&flags, more].concat());
    let (apart, together, bounded) = (with(&[]), with(&["--mixed"]), with(&["--bound=16"]));
    let steps = [&apart, &together, &bounded].map(|table| newest(table, "steps").parse::<u64>().unwrap());
    assert!(steps[1] < steps[0], "{apart}\n{together}");
    // Older versions cannot, and need as many steps as before.
    let older = |table: &str| {
        table
            .lines()
            .find(|line| line.starts_with("main-2026-09"))
            .unwrap()
            .trim_end()
            .to_owned()
    };
    assert_eq!(
        older(&apart).split_whitespace().last(),
        older(&together).split_whitespace().last()
    );
    assert_eq!(newest(&bounded, "exchanged"), "0");
    assert_ne!(newest(&together, "exchanged"), "0");
    // Every buffer has the bound's rows for both ranks.
    assert_eq!(newest(&bounded, "peak bytes"), "458,752");
    // It stays, so it is allocated once.
    assert_eq!(
        [newest(&bounded, "total bytes"), newest(&bounded, "kept bytes")],
        ["458,752", "458,752"]
    );

    let padding = |padding| files.succeed(&["--dp=2", "--graph-buckets=64", "--chunk=20", "--padding", padding]);
    let padded = ["when_needed", "rules", "always"].map(|name| newest(&padding(name), "total bytes").replace(',', ""));
    let padded = padded.map(|bytes| bytes.parse::<u64>().unwrap());
    assert!(
        padded[0] <= padded[1] && padded[1] <= padded[2] && padded[0] < padded[2],
        "{padded:?}"
    );
    for (flags, rule) in [
        (
            &["--bound=3", "--speculate=1,3,4"][..],
            "a request that decodes has 4 rows in a forward and the bound is 3",
        ),
        (&["--bound=16", "--hold=2,1"], "`hold` is agreed on in an exchange"),
        (&["--mixed"], "--speculate"),
        (&["--bound=16", "--micro=dbo"], "`micro` is agreed on in an exchange"),
        (&["--all-to-all=flash_infer", "--capacity=0"], "`capacity` is 0"),
        (&["--symmetric"], "cannot be used with"),
    ] {
        let error = files.fail(flags);
        assert!(error.contains(rule), "{flags:?}: {error}");
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
fn widths_that_contradict_one_another_are_refused() {
    let files = Files::new(TRACE);
    for (widths, rule) in [
        ("1,4,4", "1 branch of 4 draft steps has 5 draft tokens, not 4"),
        ("1,4,6", "1 branch of 4 draft steps has 5 draft tokens, not 6"),
        (
            "2,1,4",
            "2 branches draft 2 tokens in 1 step, so with the one that is certain at most 3 can be verified, not 4",
        ),
        (
            "1,18446744073709551615,4",
            "`steps` is 18446744073709551615; the largest width is 256",
        ),
        ("1,18446744073709551616,4", "three whole numbers up to 256 are needed"),
        ("1,-3,4", "three whole numbers up to 256 are needed"),
    ] {
        for ranks in ["1", "8"] {
            let error = files.fail(&["--dp", ranks, "--speculate", widths]);
            assert!(error.contains(rule), "{widths}: {error}");
        }
    }
    // Three of a tree's tokens are verified, so a step brings three at most: the answers of 3 and 5 take one and two steps.
    let text = files.succeed(&["--dp", "1", "--speculate", "4,5,3", "--accept", "100"]);
    assert!(text.starts_with("2 requests, 3 steps, 14 forwards\n"), "{text}");
}

#[test]
fn what_would_take_hours_is_refused_at_once() {
    let files = Files::new(TRACE);
    for ranks in ["16385", "1000000000", "18446744073709551615"] {
        let error = files.fail(&["--dp", ranks]);
        assert_eq!(
            error,
            format!("error: `dp` is {ranks}; the most ranks of a group are 16384\n")
        );
    }
    let error = files.fail(&["--dp", "16384", "--attn-tp", "2"]);
    assert!(error.starts_with("error: `tp` is 32768"), "{error}");
    assert!(files.succeed(&["--dp", "16384"]).starts_with("2 requests, 5 steps"));
    let row = |tokens: &str| Files::new(&format!("{TRACE}2023-11-16 18:15:46.0,{tokens}\n"));
    for tokens in ["4294967296,1", "1,4294967296", "16777217,1"] {
        let error = row(tokens).fail(&[]);
        assert!(
            error.contains("trace.csv:4") && error.contains("up to 16777216"),
            "{error}"
        );
    }
    for flags in [&["--chunk", "1"][..], &["--chunk", "3", "--dp", "1"]] {
        let error = row("16777216,1").fail(flags);
        assert!(
            error.starts_with("error: serving the trace takes over 4,194,304 steps"),
            "{error}"
        );
    }
    let error = row("1,16777216").fail(&[]);
    assert!(
        error.starts_with("error: serving the trace takes over 4,194,304 steps"),
        "{error}"
    );
    let error = row("1,4000000").fail(&["--dp", "1024"]);
    assert!(error.starts_with("error: serving the trace takes too long"), "{error}");
    for flag in ["--chunk", "--row-bytes", "--graph-buckets"] {
        assert!(
            files
                .fail(&[flag, "18446744073709551615"])
                .contains("18446744073709551615")
        );
    }
    files.succeed(&["--step-ms", "18446744073709551615"]);
}

#[test]
fn a_column_that_is_there_twice_is_refused() {
    let files = Files::new("TIMESTAMP,ContextTokens,GeneratedTokens,ContextTokens\n2023-11-16 18:15:46.0,1,3,2\n");
    let error = files.fail(&[]);
    assert!(
        error.contains("trace.csv:1: the trace has two columns `ContextTokens`; leave out one"),
        "{error}"
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
    assert_eq!(files.fail(&["--dp", "0"]), "error: `dp` is 0; it is at least 1\n");
    assert_eq!(
        files.fail(&["--attn-tp", "0"]),
        "error: `attn_tp` is 0; it is at least 1\n"
    );
    assert_eq!(
        files.fail(&["--svg", files.trace.to_str().unwrap()]),
        "error: --svg names the file of --trace; draw into another\n"
    );
    for flag in ["--extend", "--graph-ok", "--json", "--profile=pr-8277"] {
        assert!(files.fail(&[flag]).contains("cannot be used with"), "{flag}");
    }
}
