//! The planner against worked examples of every profile.

use serde_json::{Value, json};
use tilewright_dp::plan::{Plan, Profile, Request, capture_sizes};

/// For every case the raw counts and the topology, and what each profile answers.
fn vectors() -> Value {
    serde_json::from_str(include_str!("data/dp_plan_vectors.json")).unwrap()
}

/// A case as a request. Its graph buckets are the name of a list.
fn request(vectors: &Value, case: &Value, profile: &Value) -> Request {
    let mut request = case["args"].clone();
    request["profile"] = profile.clone();
    for field in ["raw", "dp", "attn_tp"] {
        request[field] = case[field].clone();
    }
    request["row_bytes"] = vectors["row_bytes"].clone();
    request["graph_buckets"] = match case["graph_buckets"].as_str() {
        Some("none") => Value::Null,
        Some(name) => vectors["graph_buckets"][name].clone(),
        None => panic!("{case}"),
    };
    serde_json::from_value(request).unwrap()
}

fn plan(request: &Request) -> Value {
    serde_json::to_value(Plan::new(request).unwrap()).unwrap()
}

#[test]
fn every_vector_holds_under_every_profile() {
    let vectors = vectors();
    let mut checked = 0;
    for case in vectors["cases"].as_array().unwrap() {
        for expected in case["plans"].as_array().unwrap() {
            let found = plan(&request(&vectors, case, &expected["profile"]));
            assert_eq!(&found, expected, "{}", case["name"]);
            checked += 1;
        }
    }
    assert_eq!(checked, 14 * 6 - 1);
}

/// Pull request 9136 changed how rows move and how requests are padded, not the numbers of the vectors.
#[test]
fn pr_9136_has_the_numbers_of_pr_8280() {
    let vectors = vectors();
    for case in vectors["cases"].as_array().unwrap() {
        let mut of_8280 = plan(&request(&vectors, case, &json!("pr-8280")));
        of_8280["profile"] = json!("pr-9136");
        assert_eq!(
            plan(&request(&vectors, case, &json!("pr-9136"))),
            of_8280,
            "{}",
            case["name"]
        );
    }
}

#[test]
fn the_vectors_captured_the_default_sizes() {
    let buckets = &vectors()["graph_buckets"];
    assert_eq!(buckets["decode"], json!(capture_sizes(false, 256)));
    assert_eq!(buckets["spec"], json!(capture_sizes(true, 256)));
}

#[test]
fn eight_ranks_of_twenty_requests_waste_two_megabytes_a_step_before_8277() {
    let allocated = Profile::ALL.map(|profile| {
        let request = Request {
            profile,
            graph_ok: true,
            graph_buckets: Some(capture_sizes(false, 256)),
            ..Request::new(vec![20; 8], 8)
        };
        Plan::new(&request).unwrap().allocated_bytes()
    });
    assert_eq!(allocated, [2_293_760, 0, 0, 0, 0, 0, 0, 0]);
}
