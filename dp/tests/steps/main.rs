//! The worked examples of the specification's second part about draft models, idle ranks, all-to-all back ends, bounds,
//! symmetric memory, and padding only where it is needed, and what holds for all such steps. Every test of an example
//! names its section, every case its row.

mod bounds;
mod contradictions;
mod draft;
mod exchange;
mod experts;
mod memory;
mod properties;

use tilewright_dp::plan::{AllToAll, Bound, ExpertBound, MixedStep, Padding, Phase, Request};

fn all(raw: &[u64]) -> Request {
    Request::new(raw.to_vec(), raw.len() as u64)
}

fn mixed(raw: &[u64], prefilling: &[usize], [draft_width, verify_width]: [u64; 2], phase: Phase) -> Request {
    Request {
        mixed: Some(MixedStep {
            prefills: (0..raw.len()).map(|rank| prefilling.contains(&rank)).collect(),
            phase,
            draft_width,
            verify_width,
            local: None,
        }),
        ..all(raw)
    }
}

#[test]
fn requests_are_the_same_after_json() {
    let request = Request {
        all_to_all: Some(AllToAll::DeepEp { force_max: true }),
        ep: Some(2),
        bound: Some(Bound {
            rows: 96,
            experts: Some(ExpertBound {
                alignment: 16,
                ..ExpertBound::new(8, 32, 128)
            }),
        }),
        symmetric: true,
        padding: Padding::Always,
        ..mixed(&[9, 5], &[1], [2, 4], Phase::DraftExtend)
    };
    let json = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
}
