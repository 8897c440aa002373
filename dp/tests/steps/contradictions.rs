//! What is refused, and that it says why.

use tilewright_dp::plan::{
    AllToAll, Bound, DraftChain, ExpertBound, OwnStep, Padding, Phase, Plan, Profile, Request, WireFormat, speculates,
};

use crate::{all, mixed};

#[test]
fn contradictions_name_their_rule() {
    let error = |request: Request| Plan::new(&request).unwrap_err().to_string();
    let base = || mixed(&[9, 5], &[0], [1, 4], Phase::Target);
    let flags = |prefills: Vec<bool>| {
        let mut request = base();
        if let Some(mixed) = &mut request.mixed {
            mixed.prefills = prefills;
        }
        request
    };
    let bound = |rows| Some(Bound::of_rows(rows));
    let experts = |dispatch| Bound {
        rows: 96,
        experts: Some(ExpertBound::new(8, 32, dispatch)),
    };
    let bounded = |request: Request| Request {
        bound: bound(96),
        ..request
    };
    for (request, rule) in [
        (flags(vec![true]), "`prefills` has 1 flags and `raw` has 2 counts"),
        (Request { coef: 4, ..base() }, "`coef` is given too"),
        (
            Request {
                coef_lp: Some(1),
                ..base()
            },
            "`coef_lp` is given too",
        ),
        (
            Request {
                extend: true,
                ..flags(vec![false; 2])
            },
            "none with tokens does",
        ),
        (
            Request {
                graph_ok: true,
                ..base()
            },
            "voted for a decode graph",
        ),
        (
            Request {
                profile: Profile::Main202609,
                ..base()
            },
            "never share a step",
        ),
        (mixed(&[9, 5], &[0], [0, 4], Phase::Target), "`draft_width` is 0"),
        (
            mixed(&[9, 5], &[0], [1, u64::MAX], Phase::Target),
            "`verify_width` is 18446744073709551615",
        ),
        (
            mixed(&[9, 1 << 30], &[0], [1, 4], Phase::Target),
            "`raw` of rank 1 is 1073741824, at 4 rows each",
        ),
        (bounded(all(&[5, 97])), "rank 1 has 97 rows and the bound is 96"),
        (
            bounded(Request {
                coef: 4,
                ..Request::new(vec![25], 8)
            }),
            "rank 0 has 100 rows",
        ),
        (
            bounded(Request {
                attn_tp: 5,
                ..all(&[1])
            }),
            "do not divide among the 5 GPUs",
        ),
        (
            bounded(Request {
                elastic_join: true,
                ..all(&[1])
            }),
            "`elastic_join` is agreed on in an exchange",
        ),
        (
            bounded(Request {
                padding: Padding::WhenNeeded,
                ..all(&[1])
            }),
            "`padding` is agreed on",
        ),
        (bounded(base()), "`mixed` is agreed on"),
        (
            Request {
                bound: bound(0),
                ..all(&[1])
            },
            "`bound.rows` is 0",
        ),
        (
            Request {
                bound: bound(u64::MAX),
                ..all(&[1])
            },
            "`bound.rows` is 18446744073709551615",
        ),
        (
            Request {
                bound: bound(1 << 30),
                ..Request::new(vec![1], 8)
            },
            "over 2147483647 rows",
        ),
        (
            Request {
                bound: Some(experts(95)),
                ..all(&[1])
            },
            "started for 95 rows of a rank does not take the 96",
        ),
        (
            Request {
                bound: Some(experts(1 << 30)),
                ..Request::new(vec![1], 8)
            },
            "the experts' buffer would have over",
        ),
        (
            Request {
                ep: Some(0),
                ..all(&[1])
            },
            "`ep` is 0",
        ),
        (
            Request {
                all_to_all: Some(AllToAll::flash_infer(0)),
                wire: Some(WireFormat::Fp8),
                ..all(&[1])
            },
            "sends bf16, mxfp8 or nvfp4, not fp8_128",
        ),
    ] {
        let error = error(request);
        assert!(error.contains(rule), "{rule}: {error}");
    }
    let own = |wants: &[u64], bound, buckets: &[u64]| OwnStep::new(wants, bound, buckets).unwrap_err().to_string();
    assert!(own(&[1; 97], 96, &[96]).contains("97 slots want rows and the bound is 96"));
    assert!(own(&[50], 96, &[8, 16]).contains("50 rows are wanted and the largest captured size is 16"));
    assert!(own(&[], 96, &[]).contains("the largest captured size is 0"));
    assert!(own(&[1], 0, &[1]).contains("`bound.rows` is 0"));
    assert!(own(&[u64::MAX, u64::MAX], 1, &[1]).contains("2 slots"));
    assert!(DraftChain::new(1, &[1, 0], Some(&[1])).is_err() && DraftChain::new(1, &[1], Some(&[2])).is_err());
    assert!(DraftChain::new(0, &[1], None).is_err() && speculates(&[true], &[]).is_err());
    for (json, rule) in [
        (
            r#"{"raw": [1], "dp": 1, "all_to_all": "pplx"}"#,
            "expected an all-to-all, an object",
        ),
        (
            r#"{"raw": [1], "dp": 1, "all_to_all": {"kind": "pplex"}}"#,
            "`flash_infer`",
        ),
        (
            r#"{"raw": [1], "dp": 1, "all_to_all": {"kind": "flash_infer", "cap": 3}}"#,
            "unknown field `cap`",
        ),
        (
            r#"{"raw": [1], "dp": 1, "all_to_all": {"kind": "pplx", "capacity": 3}}"#,
            "unknown field `capacity`",
        ),
        (r#"{"raw": [1], "dp": 1, "bound": 96}"#, "expected a bound, an object"),
        (
            r#"{"raw": [1], "dp": 1, "bound": [96, null]}"#,
            "expected a bound, an object",
        ),
        (
            r#"{"raw": [1], "dp": 1, "mixed": [[true], "draft", 1, 1, null]}"#,
            "expected a speculative step, an object",
        ),
        (r#"{"raw": [1], "dp": 1, "padding": "never"}"#, "`when_needed`"),
    ] {
        let error = serde_json::from_str::<Request>(json).unwrap_err().to_string();
        assert!(error.contains(rule), "{json}: {error}");
    }
}
