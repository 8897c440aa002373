//! `tilewright plan` as a user runs it.

mod support;

use serde_json::{Value, json};

use support::{fail, run, run_with, succeed};

const EIGHT_TIMES_TWENTY: &str = "20,20,20,20,20,20,20,20";

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
        "profile": "main-2026-11",
        "scaled": [10, 3, 0, 7],
        "logprob": [10, 3, 0, 7],
        "graph": false,
        "aligned": [10, 3, 0, 7],
        "mode": "max",
        "padded": [10, 10, 10, 10],
        "buffer_rows": 40,
        "buffer_bytes": 573_440,
        "local_start": [0, 10, 20, 30],
        "exchanged_bytes": 256,
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
    for input in [
        "",
        " \n",
        "7",
        "{",
        r#"{"raw": [-1], "dp": 1}"#,
        r#"{"raw": [1]}"#,
        "[1]",
    ] {
        let error = fail(&["--json"], input);
        assert!(
            error.starts_with("error: standard input is neither"),
            "{input}: {error}"
        );
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let request = r#"{"raw": [1], "dp": 1}"#;
    let plan = succeed(&["--json"], request);
    assert_eq!(succeed(&["--json"], &format!("\u{feff}{request}")), plan);
    assert_eq!(succeed(&["--json"], &format!("\u{feff} [{request}]")), plan);
    let of_utf_16 = |first: u16| {
        let units = [first].into_iter().chain(request.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    for first in [0xfeff, 0xfffe] {
        let error = String::from_utf8(run_with(&["--json"], &of_utf_16(first)).stderr).unwrap();
        assert_eq!(error, "error: standard input is UTF-16; write it as UTF-8\n");
    }
    let error = String::from_utf8(run_with(&["--json"], b"{\"raw\xff").stderr).unwrap();
    assert!(error.starts_with("error: standard input is neither"), "{error}");
}

#[test]
fn a_request_is_an_object_and_no_list_of_its_fields() {
    for input in [
        r#"["main-2026-09", [1], 1]"#,
        r#"[["main-2026-09", [1], 1]]"#,
        r#"[["main-2026-09", [1], 1, 1, 1, null, null, false, 1, null, false, false, false, false, null, 2]]"#,
    ] {
        let error = fail(&["--json"], input);
        assert!(error.contains("expected a request, an object such as"), "{error}");
    }
    let error = fail(&["--json"], r#"{"raw": [1], "raw": [2], "dp": 1}"#);
    assert!(error.contains("duplicate field `raw`"), "{error}");
}

#[test]
fn what_is_huge_is_refused_in_time_and_not_repeated_whole() {
    let huge = "x".repeat(1 << 20);
    for input in [
        format!(r#"{{"{huge}": 1}}"#),
        format!(r#"{{"profile": "{huge}", "raw": [1], "dp": 1}}"#),
        format!(r#"{{"raw": "{huge}", "dp": 1}}"#),
        format!(r#""{huge}""#),
        huge.clone(),
        "[".repeat(1 << 20),
        r#"{"raw":"#.repeat(1 << 18),
        "9".repeat(1 << 20),
        format!(r#"{{"raw": [{}1], "dp": 1}}"#, "1,".repeat(1 << 20)),
        format!(
            r#"{{"raw": [1], "dp": 1, "graph_buckets": [{}1]}}"#,
            "1,".repeat(1 << 20)
        ),
    ] {
        let error = fail(&["--json"], &input);
        assert!(error.len() < 1200, "{} bytes: {}", error.len(), &error[..1200]);
    }
    let error = fail(&["--json"], &" ".repeat((16 << 20) + 1));
    assert!(error.contains("over 16777216 bytes"), "{error}");

    // The longest argument that Linux takes has 128 KiB.
    let huge = &huge[..100_000];
    for arguments in [
        ["--raw", huge],
        ["--raw", &"9".repeat(100_000)],
        ["--raw=1", &format!("--profile={huge}")],
        ["--raw=1", &format!("--dp={huge}")],
        ["--raw=1", &format!("--dp={}", "9".repeat(100_000))],
        ["--raw=1", &format!("--raw-lp={huge}")],
        ["--raw=1", &format!("--svg=/{huge}")],
        ["--raw=1", &format!("--{huge}")],
        ["--raw=1", huge],
        ["--compare", &format!("--trace=/{huge}")],
        ["--compare", &format!("--speculate={huge}")],
        ["--graph-ok", &format!("--graph-buckets={huge}")],
        ["--extend", &format!("--prefill-buckets={huge}")],
        [&format!("--raw=\u{1b}[2J{huge}"), "--json"],
    ] {
        let error = fail(&arguments, "");
        assert!(error.len() < 1000, "{} bytes: {}", error.len(), &error[..1000]);
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}

#[test]
fn numbers_of_any_size_give_a_plan_or_an_error() {
    let numbers = [
        "0",
        "1",
        "2147483647",
        "2147483648",
        "4294967296",
        "18446744073709551615",
    ];
    for flag in ["dp", "attn-tp", "coef", "coef-lp", "cp-align", "row-bytes"] {
        for number in numbers {
            for raw in ["--raw=0,7", "--raw=2147483647"] {
                let output = run(&[raw, "--explain", &format!("--{flag}={number}")], "");
                let error = String::from_utf8(output.stderr).unwrap();
                assert!(
                    matches!(output.status.code(), Some(0 | 1)),
                    "--{flag}={number}: {error}"
                );
                assert!(
                    error.is_empty() || error.starts_with("error: "),
                    "--{flag}={number}: {error}"
                );
            }
        }
    }
    assert_eq!(
        fail(&["--raw=1", "--dp=1000000000"], ""),
        "error: `dp` is 1000000000; the most ranks of a group are 16384\n"
    );
}

#[test]
fn contradictions_are_refused() {
    let error = fail(&["--raw=20,3", "--coef=4", "--coef-lp=5"], "");
    assert!(error.starts_with("error: `coef_lp` is 5 and `coef` is 4"), "{error}");
    assert!(fail(&["--raw=20,3", "--extend", "--graph-ok"], "").contains("cannot be used with"));
    let both = r#"{"raw": [20, 3], "dp": 2, "extend": true, "graph_ok": true}"#;
    assert!(fail(&["--json"], both).contains("never votes for it"));
}

#[test]
fn a_prefill_graph_is_no_decode_graph() {
    let flags = ["--raw=20,3", "--attn-tp=8", "--extend", "--prefill-buckets=4,12,20,28"];
    let text = succeed(&[&flags[..], &["--explain"]].concat(), "");
    // Attention TP divides none of the sizes, and all of them serve.
    for line in [
        "run: eager, because not every rank voted for a decode graph\n",
        "mode: MAX, because all ranks voted for a prefill graph, and the longest rank's 24 rows fit the 28 captured\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn flags_give_a_table() {
    let table = succeed(&["--raw", "1,9", "--attn-tp", "4"], "");
    let expected = "\
main-2026-11, eager, MAX: 24 rows (14 padding) × 14336 B = 336 KiB, 2 ranks, aligned to 4 rows
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
        &["--attn-tp", "2"][..],
        &["--profile", "pr-8277"],
        &["--dp", "2", "--coef", "3"],
        &["--coef", "3", "--coef-lp", "2"],
        &["--raw-lp", "4,0"],
        &["--graph-ok"],
        &["--graph-ok", "--graph-buckets", "spec"],
        &["--graph-ok", "--graph-buckets", "64,12"],
        &["--row-bytes", "4096"],
    ] {
        assert_ne!(with(flags), plain, "{flags:?}");
    }
    let aligned = ["--profile", "main-2026-09", "--cp-align", "4"];
    assert_ne!(with(&aligned), with(&aligned[..2]));
    assert!(fail(&[&base[..], &aligned[2..]].concat(), "").contains("`cp_align` is 4 and `main-2026-11` aligns"));
    // Beside the others only the version that has it is aligned.
    let compare = ["--compare", "--cp-align", "4"];
    assert_ne!(with(&compare), with(&compare[..1]));
    assert!(with(&["--graph-ok", "--graph-buckets", "64,12"]).contains("graph 12"));
    assert!(with(&["--extend"]).contains("SUM"));
    for flags in [
        ["--hybrid-idle"].as_slice(),
        &["--force-max"],
        &["--profile", "main-2026-09", "--prefill-buckets", "4,16"],
    ] {
        assert!(with(&[&["--extend"], flags].concat()).contains("MAX"), "{flags:?}");
    }
    // The newest version refuses a prefill graph where a rank is idle, and where it has over twice the rows.
    for (counts, buckets, mode) in [("9,0", "16", "SUM"), ("9,5", "16", "MAX"), ("9,5", "19", "SUM")] {
        let text = succeed(&["--raw", counts, "--extend", "--prefill-buckets", buckets], "");
        assert!(text.contains(mode), "{text}");
    }
    assert!(with(&["--elastic-join"]).contains("SUM"));
}

#[test]
fn a_comparison_shows_what_8277_saves() {
    let table = succeed(&["--compare", "--raw", EIGHT_TIMES_TWENTY, "--graph-ok"], "");
    let expected = "\
profile             run  mode  buffer rows  buffer bytes  bytes allocated  logits bytes  exchanged  wire bf16   wire fp8  wire nvfp4
base-8277     graph 160   SUM          160     2,293,760        2,293,760     2,293,760        384  2,293,760  1,182,720     645,120
pr-8277       graph 160   SUM          160     2,293,760                0     2,293,760        384  2,293,760  1,182,720     645,120
pr-8280        graph 24   MAX          192     2,752,512                0     2,752,512        384  2,752,512  1,419,264     774,144
pr-9136        graph 24   MAX          192     2,752,512                0     2,752,512        384  2,752,512  1,419,264     774,144
pr-10414       graph 24   MAX          192     2,752,512                0     2,752,512        384  2,752,512  1,419,264     774,144
pr-20406       graph 24   MAX          192     2,752,512                0     2,752,512        384  2,752,512  1,419,264     774,144
main-2026-09   graph 24   MAX          192     2,752,512                0     2,752,512        384  2,752,512  1,419,264     774,144
main-2026-11   graph 24   MAX          192     2,752,512                0     2,752,512        512  2,752,512  1,419,264     774,144
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
    for (sizes, words) in [
        ("5,", "entry 2 of the list of sizes is missing; leave out the comma"),
        (
            "5,0",
            "entry 2 of the list of sizes is `0`, which is not a whole number from 1",
        ),
        (
            "-5",
            "entry 1 of the list of sizes is `-5`, which is not a whole number from 1",
        ),
        ("", "the list of sizes is empty"),
    ] {
        for flags in [["--graph-ok", "--graph-buckets"], ["--extend", "--prefill-buckets"]] {
            let error = fail(&[&["--raw", "1"], &flags[..], &[sizes]].concat(), "");
            assert!(error.contains(words), "{flags:?} {sizes}: {error}");
        }
    }
    assert!(fail(&["--raw", "1,2", "--dp", "3"], "").contains("`raw` has 2 counts and `dp` is 3"));
    assert!(fail(&["--raw", "4294967295"], "").contains("the most rows are 2147483647"));
}

#[test]
fn micro_batches_shards_and_wires_are_planned_explained_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.svg");
    let flags = [
        "--raw=180,90,0,40",
        "--extend",
        "--micro=tbo",
        "--prompts=100,50,30;90;;20,20",
        "--shards=90,90;40,40;0,0;20,20",
        "--wire=nvfp4",
        "--experts-per-token=8",
        "--explain",
        "--svg",
        file.to_str().unwrap(),
    ];
    let text = succeed(&flags, "");
    for line in [
        "micro-batches: 2, each with a buffer that stays and only grows: 155 tokens in 155 rows, 2.12 MiB, 155 tokens in 155 rows",
        "shards: 2 context-parallel parts of every rank write 300 rows, one after the other in its slot; 10 rows stay zero",
        "wire: nvfp4, 4096 B a row (3584 of payload, 448 of scales, 64 of expert weights and numbers), so 1.21 MiB are gathered",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let image = std::fs::read_to_string(&file).unwrap();
    assert!(
        image.contains("Micro-batch 1 of 2") && image.contains("Micro-batch 2 of 2"),
        "{image}"
    );

    let request = json!({
        "raw": [600, 700], "dp": 2, "extend": true, "micro": {"kind": "dbo"}, "wire": "fp8_128",
        "shards": [[300, 300], [350, 0]],
    });
    let plan = &plans(&request)[0];
    assert_eq!(plan["micro_batches"][1]["tokens"], json!([250, 350]));
    assert_eq!(plan["micro_batches"][1]["padded"], json!([350, 350]));
    assert_eq!(plan["wire_gathered_bytes"], json!(1400 * (7168 + 56 * 4)));
    assert_eq!(plan["shard_rows"][1][0], json!({"start": 600, "end": 950}));
    let whole = json!({"raw": [31, 40], "dp": 2, "micro": {"kind": "dbo"}});
    let why = "rank 0 has 31 tokens, fewer than the 32 from which a split pays";
    assert_eq!(plans(&whole)[0]["whole_because"], json!(why));
}

#[test]
fn contradictions_of_micro_batches_are_told() {
    for (flags, rule) in [
        (&["--raw=5", "--extend", "--micro=tbo"][..], "has no `prompts`"),
        (
            &["--raw=5", "--extend", "--micro=tbo", "--prompts=2,2"],
            "4 tokens together and its count is 5",
        ),
        (&["--raw=5", "--shards=3,3"], "shards are parts of the slot"),
        (&["--raw=5", "--wire=fp4"], "nvfp4"),
        (
            &["--raw=5", "--wire=nvfp4", "--row-bytes=34"],
            "17 elements is not blocks of 16",
        ),
        (&["--raw=5", "--experts-per-token=8"], "--wire"),
        (&["--raw=5", "--micro=none"], "tbo"),
    ] {
        let error = fail(flags, "");
        assert!(error.contains(rule), "{flags:?}: {error}");
    }
    let error = fail(
        &["--json"],
        r#"{"raw": [5], "dp": 1, "micro": {"kind": "dbo", "threads": 2}}"#,
    );
    assert!(error.contains("unknown field `threads`"), "{error}");
}
