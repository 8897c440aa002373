//! Requests as JSON.

use fastrand::Rng;
use serde_json::{Map, Value, json};
use tilewright_dp::draw;
use tilewright_dp::plan::micro::Micro;
use tilewright_dp::plan::{AllToAllPlan, Comparison, ForwardMode, Padding, Plan, Profile, Request, WireFormat};

use crate::damage::{NUMBERS, damage};
use crate::{Read, try_all};

#[test]
fn no_request_panics_or_takes_long() {
    try_all("requests", |rng| {
        let mut document = match rng.u8(0..4) {
            0 => Value::Array((0..rng.usize(0..4)).map(|_| request(rng)).collect()),
            _ => request(rng),
        };
        if rng.u8(0..3) == 0 {
            change(rng, &mut document);
        }
        let mut bytes = serde_json::to_vec(&document).unwrap();
        if rng.u8(0..3) > 0 {
            damage(rng, &mut bytes);
        }
        let requests: Vec<Request> = match serde_json::from_slice(&bytes) {
            Ok(request) => vec![request],
            Err(_) => serde_json::from_slice(&bytes).unwrap_or_default(),
        };
        let mut read = Read::Refused;
        // Of thousands of copies a few do.
        for request in requests.iter().take(8) {
            if plan(rng, request) {
                read = Read::Accepted;
            }
        }
        read
    });
}

/// A well-formed request, whose values are now and then extreme.
fn request(rng: &mut Rng) -> Value {
    let ranks = rng.usize(1..9);
    let counts = |rng: &mut Rng| (0..ranks).map(|_| number(rng, 300)).collect::<Value>();
    let mut request = json!({ "raw": counts(rng), "dp": ranks });
    let mut set = |rng: &mut Rng, field: &str, value: &dyn Fn(&mut Rng) -> Value| {
        if rng.u8(0..4) == 0 {
            request[field] = value(rng);
        }
    };
    set(rng, "profile", &|rng| {
        json!(Profile::ALL[rng.usize(0..Profile::ALL.len())])
    });
    set(rng, "raw_lp", &counts);
    for field in ["attn_tp", "coef", "coef_lp", "cp_align"] {
        set(rng, field, &|rng| number(rng, 9));
    }
    set(rng, "row_bytes", &|rng| number(rng, 20_000));
    for field in [
        "extend",
        "graph_ok",
        "hybrid_idle",
        "force_max",
        "elastic_join",
        "symmetric",
    ] {
        set(rng, field, &|rng| json!(rng.bool()));
    }
    for field in ["graph_buckets", "prefill_buckets"] {
        set(rng, field, &|rng| {
            (0..rng.usize(0..9)).map(|_| number(rng, 600)).collect()
        });
    }
    set(rng, "wire", &|rng| json!(WireFormat::ALL[rng.usize(0..4)]));
    set(rng, "experts_per_token", &|rng| number(rng, 9));
    set(rng, "shards", &|rng| {
        let parts = rng.usize(1..4);
        let shards = |rng: &mut Rng| (0..parts).map(|_| number(rng, 9)).collect::<Value>();
        (0..ranks).map(|_| shards(rng)).collect()
    });
    set(rng, "micro", &|rng| match rng.bool() {
        true => json!({
            "kind": "dbo",
            "batches": number(rng, 5),
            "decode_threshold": number(rng, 40),
            "prefill_threshold": number(rng, 40),
            "runner": (["v1", "v2"][rng.usize(0..2)]),
        }),
        false => json!({ "kind": "tbo", "two_chunk_percent": rng.u64(0..51) }),
    });
    set(rng, "ep", &|rng| number(rng, 9));
    set(rng, "padding", &|rng| json!(Padding::ALL[rng.usize(0..3)]));
    set(rng, "all_to_all", &|rng| {
        let name = [
            "pplx",
            "deep_ep",
            "deep_ep_low_latency",
            "flash_infer",
            "flash_infer_vllm",
            "mega_moe",
        ][rng.usize(0..6)];
        match name {
            "deep_ep" => json!({ "kind": name, "force_max": rng.bool() }),
            "deep_ep_low_latency" | "flash_infer" if rng.bool() => {
                json!({ "kind": name, "capacity": number(rng, 400) })
            }
            _ => json!({ "kind": name }),
        }
    });
    set(rng, "bound", &|rng| match rng.bool() {
        true => json!({ "rows": number(rng, 400) }),
        false => json!({
            "rows": number(rng, 400),
            "experts": {
                "per_token": number(rng, 9),
                "local": number(rng, 33),
                "dispatch": number(rng, 900),
                "alignment": number(rng, 65),
                "masked_alignment": number(rng, 129),
            },
        }),
    });
    let raw = request["raw"].clone();
    let mut set = |rng: &mut Rng, field: &str, value: &dyn Fn(&mut Rng) -> Value| {
        if rng.u8(0..4) == 0 {
            request[field] = value(rng);
        }
    };
    set(rng, "exchange", &|rng| {
        let (form, columns, tokens) =
            [("vllm4", 4, 0), ("vllm6", 6, 0), ("sglang8", 8, 0), ("trt", 7, 4)][rng.usize(0..4)];
        let word = |rng: &mut Rng, column: usize, count: &Value| match (form, column) {
            _ if column == tokens => count.clone(),
            ("vllm4", 1) => count.clone(),
            ("sglang8", 5) => json!(rng.u64(1..4)),
            ("trt", 2) if rng.bool() => count.clone(),
            _ => number(rng, 3),
        };
        let rank = |count: &Value| (0..columns).map(|column| word(rng, column, count)).collect::<Value>();
        let words: Value = raw.as_array().unwrap().iter().map(rank).collect();
        let dead: Value = (0..rng.usize(0..2)).map(|_| json!(rng.usize(0..=ranks))).collect();
        json!({ "form": form, "words": words, "dead": dead })
    });
    set(rng, "mixed", &|rng| {
        json!({
            "prefills": (0..ranks).map(|_| json!(rng.bool())).collect::<Value>(),
            "phase": (["target", "draft", "draft_extend"][rng.usize(0..3)]),
            "draft_width": number(rng, 9),
            "verify_width": number(rng, 9),
            "local": (rng.bool().then(|| rng.usize(0..=ranks))),
        })
    });
    if request.get("mixed").is_some() && rng.u8(0..4) > 0 {
        let fields = [
            "coef",
            "coef_lp",
            "graph_ok",
            "extend",
            "bound",
            "shards",
            "micro",
            "all_to_all",
        ];
        request
            .as_object_mut()
            .unwrap()
            .retain(|field, _| !fields.contains(&field.as_str()));
    }
    if request.get("exchange").is_some() && rng.u8(0..8) > 0 {
        let decided = [
            "coef",
            "coef_lp",
            "graph_ok",
            "extend",
            "force_max",
            "elastic_join",
            "padding",
            "micro",
            "mixed",
            "raw_lp",
            "bound",
            "shards",
            "cp_align",
        ];
        request
            .as_object_mut()
            .unwrap()
            .retain(|field, _| !decided.contains(&field.as_str()));
    }
    if request.get("bound").is_some() && rng.u8(0..4) > 0 {
        let agreed = [
            "micro",
            "mixed",
            "prefill_buckets",
            "elastic_join",
            "padding",
            "shards",
            "attn_tp",
        ];
        request
            .as_object_mut()
            .unwrap()
            .retain(|field, _| !agreed.contains(&field.as_str()));
    }
    // Of a prefill, the prompts are what the ranks count.
    if request["extend"] == json!(true) && request["micro"]["kind"] == json!("tbo") && rng.u8(0..4) > 0 {
        let prompts = |count: &Value| match count.as_u64() {
            Some(tokens) if tokens < 1000 => {
                let first = rng.u64(0..=tokens);
                json!([first, tokens - first])
            }
            _ => json!([count]),
        };
        let prompts: Value = request["raw"].as_array().unwrap().iter().map(prompts).collect();
        request["micro"]["prompts"] = prompts;
        if let Some(fields) = request.as_object_mut() {
            fields.remove("coef");
        }
    }
    request
}

fn number(rng: &mut Rng, most: u64) -> Value {
    match rng.u8(0..40) {
        0 => serde_json::from_str(NUMBERS[rng.usize(0..NUMBERS.len() - 2)]).unwrap(),
        _ => json!(rng.u64(1..most)),
    }
}

/// Changes the structure: another kind of value, a field less or more, lists in lists.
fn change(rng: &mut Rng, value: &mut Value) {
    match value {
        Value::Array(values) if !values.is_empty() && rng.bool() => {
            let at = rng.usize(0..values.len());
            change(rng, &mut values[at]);
        }
        Value::Object(fields) if !fields.is_empty() && rng.u8(0..4) > 0 => change_field(rng, fields),
        Value::Array(values) if rng.bool() => {
            let copies = [2, 100, 5000, 20_000][rng.usize(0..4)];
            let value = values.first().cloned().unwrap_or(json!(1));
            values.resize(copies, value);
        }
        _ => {
            *value = match rng.u8(0..8) {
                0 => Value::Null,
                1 => json!(rng.bool()),
                2 => json!(rng.u64(..)),
                3 => json!(-rng.i64(0..)),
                4 => json!(rng.f64() * 1e30),
                5 => json!("x".repeat(rng.usize(0..200))),
                6 => json!([value.take()]),
                _ => json!({ "raw": value.take() }),
            }
        }
    }
}

fn change_field(rng: &mut Rng, fields: &mut Map<String, Value>) {
    let names: Vec<String> = fields.keys().cloned().collect();
    let name = &names[rng.usize(0..names.len())];
    match rng.u8(0..6) {
        0 => drop(fields.remove(name)),
        1 => drop(fields.insert("x".repeat(rng.usize(0..200)), json!(1))),
        _ => change(rng, &mut fields[name]),
    }
}

/// Takes a request through everything that is made of it. Returns whether it has a plan.
fn plan(rng: &mut Rng, request: &Request) -> bool {
    if let Ok(comparison) = Comparison::new(request) {
        // Only the newest version knows steps that prefill and draft.
        let plans = comparison.plans();
        let is_mixed = plans
            .iter()
            .any(|plan| plan.phase().is_some_and(|phase| phase.is_mixed()));
        assert!(plans.len() == Profile::ALL.len() || (is_mixed && plans.len() == 1));
        assert!(comparison.to_string().lines().count() > plans.len());
    }
    let plan = match Plan::new(request) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(error.to_string().len() < 1000);
            return false;
        }
    };
    assert!(plan.explain().starts_with("rules: "));
    assert!(plan.to_string().ends_with("bytes\n"));
    assert!(serde_json::to_string(&plan).unwrap().starts_with('{'));
    assert!(draw::svg(plan.layout()).ends_with("</svg>\n"));
    assert!(draw::terminal(plan.layout(), rng.usize(..)).contains("rank"));
    assert!(plan.allocated_rows() * request.row_bytes == plan.allocated_bytes());
    for part in plan.parts() {
        let (sent, rows) = (part.sizes().iter().sum::<u64>(), part.layout().rows());
        let is_equal = matches!(request.micro, Some(Micro::Tbo(_)));
        assert!(
            sent == rows || (!is_equal && sent > rows && sent - rows < request.attn_tp * part.layout().ranks() as u64)
        );
    }
    if !plan.parts().is_empty() {
        let parts: Vec<_> = plan.parts().iter().map(|part| part.layout()).collect();
        assert!(draw::svg_parts(&parts).unwrap().ends_with("</svg>\n"));
        let tokens: u64 = plan.parts().iter().map(|part| part.layout().real_rows()).sum();
        assert_eq!(tokens, plan.layout().real_rows());
    }
    if let Some(wire) = plan.wire() {
        assert_eq!(wire.rows, plan.gathered_rows());
        assert!(wire.gathered_bytes() >= wire.rows);
    }
    if let Some(bound) = plan.bound() {
        assert!(plan.layout().padded().iter().all(|&rows| rows == bound.bound.rows));
        assert!(bound.received.admits(plan.layout().real_rows()) && bound.received.capacity() == plan.layout().rows());
        assert!(bound.experts.is_none_or(|rows| rows.gemm <= rows.worst));
    }
    for dispatch in plan.all_to_all() {
        match dispatch {
            AllToAllPlan::Dispatch { rows, capacity } => assert!(capacity.is_none_or(|capacity| *rows <= capacity)),
            AllToAllPlan::Gather { sizes } => assert!(sizes.rows() <= plan.gathered_rows()),
        }
    }
    if let Ok(sizes) = plan.sizes() {
        assert!(sizes.rows() >= plan.layout().padded().iter().sum());
    }
    for _ in 0..4 {
        let forward = [
            ForwardMode::Idle,
            ForwardMode::Decode,
            ForwardMode::Extend,
            ForwardMode::Mixed,
            ForwardMode::DraftDecode,
            ForwardMode::TargetVerify,
            ForwardMode::DraftExtend,
        ][rng.usize(0..7)];
        let requests = [0, 1, rng.u64(0..300), u64::MAX][rng.usize(0..4)];
        let rank = rng.u64(0..=request.dp);
        if let Ok(batch) = plan.batch(rank, forward, requests) {
            assert!(batch.requests >= requests && batch.rows >= batch.requests && batch.kept <= batch.rows);
        }
    }
    true
}
