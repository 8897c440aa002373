//! `tilewright plan` for speculative steps, experts' back ends, bounds, symmetric memory and padding, as a user runs
//! it.

mod support;

use serde_json::{Value, json};

use support::{fail, run, succeed};

fn plan(request: &Value) -> Value {
    let plans: Value = serde_json::from_str(&succeed(&["--json"], &request.to_string())).unwrap();
    plans[0].clone()
}

#[test]
fn every_decision_is_explained_in_words() {
    for (flags, line) in [
        (
            "--raw=4096,24 --prefills=0 --draft-width=10 --verify-width=32",
            "phase: target; ranks that decode: 1, with 32 tokens per request; that prefill: 1; nobody waits for the others",
        ),
        (
            "--raw=4096,24 --prefills=0 --draft-width=10 --verify-width=32",
            "mode: SUM, because some ranks prefill and others draft, so counts are each rank's own",
        ),
        (
            "--raw=4096,24 --prefills=0 --phase=draft --draft-width=10",
            "phase: draft; ranks that decode: 1, with 10 tokens per request; that prefill: 1, with none in it",
        ),
        (
            "--raw=0,24 --prefills=0 --verify-width=4",
            "phase: target; all ranks with tokens run the same, so one width serves",
        ),
        (
            "--raw=100,37,0 --attn-tp=2 --all-to-all=flash_infer",
            "experts: an all-to-all of up to 50 rows a GPU, which fit the 4096 that it was started for",
        ),
        (
            "--raw=100,37,0 --attn-tp=2 --all-to-all=flash_infer --extend",
            "experts: the step prefills, so no all-to-all; 138 rows are gathered in bf16, with a size for each of 6 GPUs",
        ),
        (
            "--raw=100,3 --extend --all-to-all=pplx",
            "mode: MAX, because the all-to-all back end needs equal ranks",
        ),
        (
            "--raw=9,5 --ep=2",
            "combine: a reduce-scatter with every rank's rows as sizes",
        ),
        (
            "--raw=9,5 --ep=1",
            "combine: an all-reduce, of which every rank keeps its rows",
        ),
        (
            "--raw=5 --dp=8 --bound=96",
            "bound: ranks exchange nothing; each knows its own 5 rows, and of all no more than 768 rows",
        ),
        (
            "--raw=5 --dp=8 --bound=96",
            "mode: MAX, because ranks exchange nothing, and a bound of 96 rows is the one size that all know",
        ),
        (
            "--raw=5 --dp=8 --bound=96 --bound-experts=8,32,128",
            "bound of the experts: at most 8160 rows to multiply, in a buffer of 10240 rows; masked, 768 rows an expert",
        ),
        (
            "--raw=5 --dp=8 --bound=96 --graph-ok --graph-buckets=8,128",
            "run: eager, because no graph was captured of exactly the bound's 96 rows",
        ),
        (
            "--raw=5 --dp=8 --bound=96 --graph-ok --graph-buckets=8,96",
            "run: the graph of 96 requests, which has exactly the bound's rows",
        ),
        (
            "--raw=5 --dp=8 --bound=96",
            "counts: 5 tokens of the local rank, and 8 ranks with at most 768 tokens",
        ),
        (
            "--raw=5 --dp=8 --bound=96",
            "exchange: none, because every rank knows a bound of the others",
        ),
        (
            "--raw=5,3 --exchange=vllm4 --told=5,8,0,2;3,4,0,1",
            "exchange: 4 numbers from each GPU, 64 B of all GPUs before the step\ntold: as vllm4; all conclude that every \
             rank has 8 rows, a graph runs, and it runs as one step\nrun: the graph of 8 rows on every rank, on which all agreed",
        ),
        (
            "--raw=5,3 --exchange=vllm4 --told=5,8,0,2;3,4,0,0",
            "mode: SUM, because no graph was agreed on and the collectives take sizes",
        ),
        (
            "--raw=6,4,3 --exchange=vllm6 --told=6,2,1,2,0,6;4,2,1,2,0,4;3,2,1,2,0,3 --graph-buckets=4,8",
            "mode: MAX, because ranks agreed on 8 rows each",
        ),
        (
            "--raw=5,0 --exchange=vllm4 --told=5,8,0,2; --dead=1",
            "told: as vllm4 of those alive, without 1 dead rank; all conclude",
        ),
        (
            "--raw=100,3 --exchange=sglang8 --told=100,2,0,1,0,1,1,0;3,3,1,0,0,2,1,0 --prefill-buckets=128",
            "told: as sglang8; all conclude that a rank prefills, no decode graph may run, two batches may not, and ranks that \
             decode run as prompts of one token",
        ),
        (
            "--raw=5,8 --exchange=trt --told=5,5,5,1,5,0,0;8,8,8,1,8,0,0",
            "run: the graph of 8 rows on every rank, on which all agreed",
        ),
        (
            "--raw=9,0 --extend --prefill-buckets=16",
            "prefill graph: none, because rank 1 has no token and would replay nothing",
        ),
        (
            "--raw=9,5 --extend --prefill-buckets=19,64",
            "prefill graph: none, because the next size has 19 rows, over twice the 9 of the longest rank",
        ),
        (
            "--raw=9,5 --extend --prefill-buckets=4,8",
            "prefill graph: none, because the longest rank has 9 rows, more than the 8 captured",
        ),
        (
            "--raw=9,5 --extend --prefill-buckets=16",
            "prefill graph: that of 16 rows, the smallest that holds the longest rank",
        ),
        (
            "--raw=9,0 --extend --prefill-buckets=16 --all-to-all=mega_moe",
            "prefill graph: that of 16 rows, or of what each rank needs, since the back end's graph holds no collective",
        ),
        ("--raw=0,0 --bound=96", "all are idle, and run nothing but padding"),
        (
            "--raw=64,64 --extend --symmetric",
            "symmetric memory: the step's buffers may not come from it, what a gather of sizes fills may, gathered logits may",
        ),
        (
            "--raw=900,40,0 --padding=when_needed",
            "mode: SUM, because no graph was agreed on and the collectives take sizes, so nobody is padded",
        ),
        (
            "--raw=64,64 --extend --padding=when_needed",
            "mode: MAX, because ranks are equal without padding",
        ),
        (
            "--raw=900,40,0 --padding=always",
            "mode: MAX, because the transport is slow or wrong with uneven sizes",
        ),
    ] {
        let mut arguments: Vec<&str> = flags.split(' ').collect();
        arguments.push("--explain");
        let text = succeed(&arguments, "");
        assert!(text.contains(line), "{flags}\n{text}");
    }
}

#[test]
fn requests_in_json_have_the_same_fields() {
    let mixed = plan(&json!({
        "raw": [4096, 32, 0, 512, 7, 1, 19, 0], "dp": 8, "raw_lp": [1, 32, 0, 2, 7, 1, 19, 0],
        "mixed": {"prefills": [true, false, false, true, false, false, false, false], "phase": "target", "verify_width": 4},
    }));
    assert_eq!(mixed["scaled"], json!([4096, 128, 0, 512, 28, 4, 76, 0]));
    assert_eq!(mixed["logprob"], json!([1, 128, 0, 2, 28, 4, 76, 0]));
    assert_eq!(
        mixed["phase"],
        json!({"phase": "target", "prefilling": 2, "decoding": 4, "width": 4})
    );
    let bound = plan(&json!({
        "raw": [5], "dp": 8, "bound": {"rows": 96, "experts": {"per_token": 8, "local": 32, "dispatch": 128}},
    }));
    assert_eq!(bound["buffer_bytes"], json!(11_010_048));
    assert_eq!(
        (&bound["own_rows"], &bound["received_at_most"]),
        (&json!(5), &json!(768))
    );
    assert_eq!(
        bound["expert_rows_at_most"],
        json!({"worst": 10_240, "gemm": 8_160, "masked": 768})
    );
    let gathered = plan(&json!({
        "raw": [100, 37, 0], "dp": 3, "attn_tp": 2, "extend": true, "all_to_all": {"kind": "flash_infer"},
    }));
    assert_eq!(gathered["all_to_all"], json!([{"sizes": [50, 50, 19, 19, 0, 0]}]));
    let sent = plan(&json!({
        "raw": [100, 37, 0], "dp": 3, "all_to_all": {"kind": "deep_ep_low_latency"}, "symmetric": true,
    }));
    assert_eq!(sent["all_to_all"], json!([{"rows": 100, "capacity": 128}]));
    assert_eq!(
        sent["symmetric"],
        json!({"step": false, "gather": false, "logits": false})
    );
    let combined = plan(&json!({"raw": [900, 40, 0], "dp": 3, "ep": 3, "padding": "when_needed"}));
    assert_eq!(combined["expert_combine"], json!("reduce_scatter"));
    assert_eq!(combined["padded"], json!([900, 40, 0]));
}

#[test]
fn contradictions_are_told() {
    for (flags, rule) in [
        ("--raw=9,5 --prefills=2", "there is no rank 2; there are 2"),
        ("--raw=9,5 --prefills=a", "ranks are needed, separated by commas"),
        ("--raw=9,5 --prefills=0 --coef=4", "cannot be used with"),
        ("--raw=9,5 --phase=draft", "--prefills"),
        ("--raw=9,5 --prefills=0 --phase=none", "draft_extend"),
        ("--raw=9,5 --prefills=0 --profile=pr-8277", "never share a step"),
        ("--raw=9,5 --prefills=0 --verify-width=0", "`verify_width` is 0"),
        ("--raw=9,5 --prefills=0 --local=2", "there is no rank 2"),
        ("--raw=97 --bound=96", "rank 0 has 97 rows and the bound is 96"),
        ("--raw=5 --bound=96 --micro=dbo", "`micro` is agreed on in an exchange"),
        (
            "--raw=5 --bound=96 --bound-experts=8,32",
            "three whole numbers are needed",
        ),
        ("--raw=5 --bound-experts=8,32,128", "--bound"),
        (
            "--raw=5 --bound=96 --bound-experts=8,32,95",
            "does not take the 96 of the bound",
        ),
        (
            "--raw=100,37 --all-to-all=flash_infer --capacity=40",
            "sends 100 rows and flash_infer was started for 40",
        ),
        ("--raw=5 --capacity=40", "--all-to-all"),
        ("--raw=5 --all-to-all=deepep", "deep_ep_low_latency"),
        ("--raw=5 --padding=never", "when_needed"),
        ("--raw=5,4 --wire=nvfp4 --ep=1", "2 ranks and 1 groups"),
    ] {
        let arguments: Vec<&str> = flags.split(' ').collect();
        let error = fail(&arguments, "");
        assert!(error.contains(rule), "{flags}: {error}");
    }
}

#[test]
fn a_comparison_of_a_mixed_step_has_the_versions_that_know_it() {
    let table = succeed(&["--compare", "--raw=9,5", "--prefills=0", "--verify-width=4"], "");
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(
        table
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("main-2026-11  eager   SUM           29"),
        "{table}"
    );
    let alike = succeed(&["--compare", "--raw=9,5", "--prefills=0,1"], "");
    assert!(
        alike.contains("base-8277") && alike.contains("before pull request 8277"),
        "{alike}"
    );
}

#[test]
fn numbers_of_any_size_give_a_plan_or_an_error() {
    let numbers = [
        "0",
        "1",
        "2147483647",
        "2147483648",
        "4294967295",
        "18446744073709551615",
    ];
    for flags in [
        "--prefills=0 --draft-width=1 --verify-width=",
        "--prefills=0 --phase=draft --draft-width=",
        "--prefills=0 --local=",
        "--all-to-all=flash_infer --capacity=",
        "--all-to-all=deep_ep_low_latency --capacity=",
        "--ep=",
        "--bound=",
        "--dp=2 --bound=2147483647 --bound-experts=1,1,",
    ] {
        for number in numbers {
            for raw in ["--raw=0,7", "--raw=2147483647,4294967295"] {
                let flags = format!("{raw} --explain {flags}{number}");
                let output = run(&flags.split(' ').collect::<Vec<_>>(), "");
                let error = String::from_utf8(output.stderr).unwrap();
                assert!(matches!(output.status.code(), Some(0 | 1)), "{flags}: {error}");
                assert!(error.is_empty() || error.starts_with("error: "), "{flags}: {error}");
            }
        }
    }
}

#[test]
fn what_ranks_told_is_in_a_plan_and_is_refused_where_it_contradicts_the_request() {
    let request = json!({
        "raw": [5, 3, 0],
        "dp": 3,
        "exchange": { "form": "vllm4", "words": [[5, 8, 1, 2], [3, 4, 1, 1], []], "dead": [2] },
    });
    let json = plan(&request);
    assert_eq!(json["exchanged_bytes"], json!(3 * 48));
    let expected = json!({
        "form": "vllm4",
        "dead": [2],
        "concluded": { "mode": "piecewise", "split": false, "counts": [8, 8, 8] },
    });
    assert_eq!((&json["exchange"], &json["graph_rows"]), (&expected, &json!(24)));
    assert_eq!(plan(&json!({ "raw": [4, 4], "dp": 2 }))["exchanged_bytes"], json!(128));

    for (flags, message) in [
        ("--raw=5,3 --exchange=vllm4", "--told"),
        ("--raw=5,3 --told=5,8,0,2;3,4,0,2", "--exchange"),
        (
            "--raw=5,3 --exchange=vllm5 --told=5;3",
            "possible values: vllm4, vllm6, sglang8, trt",
        ),
        (
            "--raw=5,3 --exchange=vllm4 --told=5,8,0,2",
            "`exchange` has the words of 1 ranks",
        ),
        (
            "--raw=5,3 --exchange=vllm4 --told=5,8,0,2;3,4,0",
            "rank 1 sent 3 words and this form has 4",
        ),
        (
            "--raw=5,3 --exchange=vllm4 --told=5,8,0,2;4,4,0,2",
            "rank 1 told `tokens` 4 and `raw` says 3",
        ),
        (
            "--raw=5,3 --exchange=vllm4 --told=5,8,0,2;3,4,0,2 --dead=2",
            "there is no rank 2",
        ),
        (
            "--raw=5,3 --exchange=vllm4 --told=5,8,0,2;3,4,0,2 --padding=always",
            "`padding` is set",
        ),
        ("--raw=5 --dp=2 --exchange=vllm4 --told=5,8,0,2 --bound=9", "--bound"),
    ] {
        let flags: Vec<_> = flags.split(' ').collect();
        let error = fail(&flags, "");
        assert!(error.contains(message), "{flags:?}: {error}");
    }
}
