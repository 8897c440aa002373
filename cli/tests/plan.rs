//! `tilewright plan` as a user runs it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const EIGHT_TIMES_TWENTY: &str = "20,20,20,20,20,20,20,20";

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tilewright"))
        .arg("plan")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn succeed(arguments: &[&str], input: &str) -> String {
    let output = run(arguments, input);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn fail(arguments: &[&str], input: &str) -> String {
    let output = run(arguments, input);
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn plans(requests: &Value) -> Vec<Value> {
    serde_json::from_str(&succeed(&["--json"], &requests.to_string())).unwrap()
}

#[test]
fn an_array_of_requests_gives_their_plans_in_order() {
    let vectors: Value = serde_json::from_str(include_str!("../../dp/tests/data/dp_plan_vectors.json")).unwrap();
    let (mut requests, mut expected) = (Vec::new(), Vec::new());
    for case in vectors["cases"].as_array().unwrap() {
        for plan in case["plans"].as_array().unwrap() {
            let mut request = case["args"].clone();
            for field in ["raw", "dp", "attn_tp"] {
                request[field] = case[field].clone();
            }
            request["profile"] = plan["profile"].clone();
            request["graph_buckets"] = vectors["graph_buckets"]
                .get(case["graph_buckets"].as_str().unwrap())
                .cloned()
                .unwrap_or(Value::Null);
            requests.push(request);
            expected.push(plan.clone());
        }
    }
    assert!(expected.len() > 80);
    assert_eq!(plans(&json!(requests)), expected);
}

#[test]
fn one_request_gives_an_array_of_one_plan() {
    let plans = plans(&json!({"raw": [10, 3, 0, 7], "dp": 4}));
    let expected = json!([{
        "profile": "main-2026-09",
        "scaled": [10, 3, 0, 7],
        "logprob": [10, 3, 0, 7],
        "graph": false,
        "aligned": [10, 3, 0, 7],
        "mode": "max",
        "padded": [10, 10, 10, 10],
        "buffer_rows": 40,
        "buffer_bytes": 573_440,
        "local_start": [0, 10, 20, 30],
    }]);
    assert_eq!(json!(plans), expected);
    assert_eq!(succeed(&["--json"], "[]"), "[\n\n]\n");
}

#[test]
fn bad_requests_say_which_and_what_is_valid() {
    let error = fail(&["--json"], r#"{"raw": [1], "dp": 1, "rank": 0}"#);
    assert!(
        error.contains("unknown field `rank`") && error.contains("`graph_buckets`"),
        "{error}"
    );
    let error = fail(&["--json"], r#"[{"profile": "pr-1", "raw": [1], "dp": 1}]"#);
    assert!(
        error.contains("unknown variant `pr-1`") && error.contains("`pr-8277`"),
        "{error}"
    );
    let error = fail(&["--json"], r#"[{"raw": [1], "dp": 1}, {"raw": [1, 2], "dp": 3}]"#);
    assert!(
        error.starts_with("error: request 1, counted from 0: `raw` has 2 counts and `dp` is 3"),
        "{error}"
    );
    let error = fail(&["--json"], r#"{"raw": [4294967295], "dp": 1}"#);
    assert!(error.contains("4294967295"), "{error}");
    for input in ["", "7", "{", r#"{"raw": [-1], "dp": 1}"#, r#"{"raw": [1]}"#, "[1]"] {
        let error = fail(&["--json"], input);
        assert!(
            error.starts_with("error: standard input is neither"),
            "{input}: {error}"
        );
    }
}

#[test]
fn flags_give_a_table() {
    let table = succeed(&["--raw", "1,9", "--attn-tp", "4"], "");
    let expected = "\
main-2026-09, eager, MAX: 24 rows (14 padding) × 14336 B = 336 KiB, 2 ranks, aligned to 4 rows
rank  tokens  aligned  rows  start  logprob rows
0          1        4    12      0             1
1          9       12    12     12             9
allocated for this step: 344,064 bytes
";
    assert_eq!(table, expected);
    let explained = succeed(&["--raw", "1,9", "--attn-tp", "4", "--explain"], "");
    assert!(
        explained.starts_with(expected) && explained.contains("\nmode: MAX, because"),
        "{explained}"
    );
}

#[test]
fn every_flag_reaches_the_plan() {
    let base = ["--raw", "9,0"];
    let with = |flags: &[&str]| succeed(&[&base, flags].concat(), "");
    let plain = with(&[]);
    for flags in [
        &["--profile", "pr-8277", "--attn-tp", "2"][..],
        &["--dp", "2", "--coef", "3"],
        &["--coef-lp", "2"],
        &["--raw-lp", "4,0"],
        &["--cp-align", "4"],
        &["--graph-ok"],
        &["--graph-ok", "--graph-buckets", "spec"],
        &["--graph-ok", "--graph-buckets", "64,12"],
        &["--row-bytes", "4096"],
    ] {
        assert_ne!(with(flags), plain, "{flags:?}");
    }
    assert!(with(&["--graph-ok", "--graph-buckets", "64,12"]).contains("graph 12"));
    assert!(with(&["--extend"]).contains("SUM"));
    for flags in [
        ["--hybrid-idle"].as_slice(),
        &["--force-max"],
        &["--prefill-buckets", "4,16"],
    ] {
        assert!(with(&[&["--extend"], flags].concat()).contains("MAX"), "{flags:?}");
    }
    assert!(with(&["--elastic-join"]).contains("SUM"));
}

#[test]
fn a_comparison_shows_what_8277_saves() {
    let table = succeed(&["--compare", "--raw", EIGHT_TIMES_TWENTY, "--graph-ok"], "");
    let expected = "\
profile             run  mode  buffer rows  buffer bytes  bytes allocated  logits bytes
base-8277     graph 160   SUM          160     2,293,760        2,293,760     2,293,760
pr-8277       graph 160   SUM          160     2,293,760                0     2,293,760
pr-8280        graph 24   MAX          192     2,752,512                0     2,752,512
pr-9136        graph 24   MAX          192     2,752,512                0     2,752,512
pr-10414       graph 24   MAX          192     2,752,512                0     2,752,512
pr-20406       graph 24   MAX          192     2,752,512                0     2,752,512
main-2026-09   graph 24   MAX          192     2,752,512                0     2,752,512
before pull request 8277: 2,293,760 bytes a step; after it: 0 bytes
";
    assert_eq!(table, expected);
}

#[test]
fn the_buffer_is_drawn_as_svg() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("buffer.svg");
    succeed(&["--raw", "10,3,0,7", "--svg", file.to_str().unwrap()], "");
    let image = std::fs::read_to_string(&file).unwrap();
    assert!(image.starts_with("<svg ") && image.contains(">7 of 10<"), "{image}");
    let nowhere = folder.path().join("nowhere/buffer.svg");
    let error = fail(&["--raw", "1", "--svg", nowhere.to_str().unwrap()], "");
    assert!(
        error.contains("cannot write") && error.contains("nowhere/buffer.svg"),
        "{error}"
    );
}

#[test]
fn bad_flags_are_told_what_is_wrong() {
    assert!(fail(&[], "").contains("--raw"));
    assert!(fail(&["--raw", "20,-1"], "").contains("the token count of rank 1 is -1; a count cannot be negative"));
    let error = fail(&["--raw", "1", "--profile", "pr-1"], "");
    assert!(error.contains("pr-8277") && error.contains("main-2026-09"), "{error}");
    assert!(fail(&["--json", "--raw", "1"], "{}").contains("cannot be used with"));
    assert!(fail(&["--raw", "1", "--graph-buckets", "8"], "").contains("--graph-ok"));
    assert!(fail(&["--raw", "1,2", "--dp", "3"], "").contains("`raw` has 2 counts and `dp` is 3"));
    assert!(fail(&["--raw", "4294967295"], "").contains("the most rows are 2147483647"));
}
