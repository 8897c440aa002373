//! Section 5: plans without an exchange.

use tilewright_dp::layout::{HiddenState, PaddingMode};
use tilewright_dp::plan::{Answer, Bound, ExpertBound, Fill, ForwardMode, ModeReason, OwnStep, Plan, Request, SizeUse};

use crate::all;

#[test]
fn section_5_plans_without_an_exchange() {
    let sizes = [1, 2, 4, 8, 16, 32, 48, 64, 96];
    let own = |wants: &[u64]| {
        let step = OwnStep::new(wants, 96, &sizes).unwrap();
        (
            step.active().get(),
            step.bucket().get(),
            step.spans().to_vec(),
            step.padding(),
        )
    };
    assert_eq!(own(&[3, 1, 1]), (5, 8, vec![3, 1, 1], 3), "B1");
    assert_eq!(own(&[]), (0, 1, vec![], 1), "B1");
    assert_eq!(own(&[0, 0]), (0, 1, vec![0, 0], 1), "B1");
    assert_eq!(own(&[1, 50, 50]), (96, 96, vec![1, 48, 47], 0), "B2");
    let bound = Bound::of_rows(96);
    let received = bound.received(8).unwrap();
    assert_eq!(received.capacity(), 768, "B3");
    let experts = ExpertBound::new(8, 32, 128);
    let rows = experts.rows(8, received, 96).unwrap();
    let [worst, gemm, masked] = [rows.worst, rows.gemm, rows.masked].map(|rows| rows.capacity());
    assert_eq!((worst, gemm, masked), (10_240, 8_160, 768), "B3");
    let exact = Bound::of_rows(1).received(8).unwrap();
    assert_eq!(experts.rows(8, exact, 96).unwrap().gemm.capacity(), 2_080, "B4");

    let request = Request {
        bound: Some(bound),
        ..Request::new(vec![5], 8)
    };
    let plan = Plan::new(&request).unwrap();
    assert_eq!(
        (plan.mode(), plan.reason()),
        (PaddingMode::Max, ModeReason::Bound { rows: 96 }),
        "B5"
    );
    assert_eq!((plan.layout().rows(), plan.layout().bytes()), (768, 11_010_048), "B5");
    assert_eq!(plan.exchanged_bytes(), 0, "B5");
    let slot = plan.slot(7).unwrap();
    assert_eq!((slot.start, slot.rows), (672, 96), "B5");
    let known = plan.bound().unwrap();
    assert_eq!(
        (known.own.map(|own| own.get()), known.received),
        (Some(5), received),
        "B5"
    );
    assert_eq!(
        plan.layout().rows(),
        bound.layout(&[5], 8, HiddenState::bf16(7168)).unwrap().rows()
    );

    let batch = plan.batch(0, ForwardMode::Decode, 5).unwrap();
    assert_eq!((batch.rows, batch.requests, batch.real_rows), (96, 96, 5));
    // An idle rank sends as many bytes: padding is part of the protocol.
    let idle = plan.batch(0, ForwardMode::Idle, 0).unwrap();
    assert_eq!((idle.rows, idle.requests), (96, 96));
    let lengths = idle
        .tensors
        .iter()
        .find(|padding| padding.tensor == "seq_lens")
        .unwrap();
    assert_eq!((lengths.length, lengths.fill), (96, Fill::Value(1)));

    // Whatever others have, the plan is the same: nobody has to tell.
    for others in [[0; 8], [96; 8], [1, 2, 3, 4, 5, 6, 7, 8]] {
        let plan = Plan::new(&Request {
            bound: Some(bound),
            ..all(&others)
        });
        let plan = plan.unwrap();
        assert_eq!(
            (plan.layout().padded(), plan.layout().starts()),
            ([96; 8].as_slice(), &starts(8, 96)[..])
        );
        assert_eq!(plan.logits().starts(), &starts(8, 96)[..]);
    }
}

fn starts(ranks: u64, rows: u64) -> Vec<u64> {
    (0..ranks).map(|rank| rank * rows).collect()
}

#[test]
fn section_5_which_numbers_may_be_bounds() {
    let bound = Bound::of_rows(96);
    let answer = |used| bound.answer(used, 3, 8);
    for used in SizeUse::ALL {
        match used {
            SizeUse::DeviceCounts => {
                assert!(
                    matches!(answer(used), Ok(Answer::OnDevice(rows)) if rows.capacity() == 768 && rows.admits(768))
                );
            }
            SizeUse::LocalShape | SizeUse::LocalGraph => {
                assert!(matches!(answer(used), Ok(Answer::Own(own)) if own.get() == 3));
            }
            SizeUse::EqualParts | SizeUse::EqualGraph => assert_eq!(answer(used), Ok(Answer::Fixed(96))),
            SizeUse::UnevenSizes | SizeUse::PackedStarts => {
                let error = answer(used).unwrap_err().to_string();
                assert!(error.contains("depends on what every rank has"), "{error}");
            }
        }
    }
    assert!(bound.answer(SizeUse::LocalShape, 97, 8).is_err());
    // A graph has a collective of equal parts inside, so it is of the bound's size or there is none.
    let graph = |buckets: &[u64]| {
        let request = Request {
            bound: Some(bound),
            coef: 4,
            graph_ok: true,
            graph_buckets: Some(buckets.to_vec()),
            ..Request::new(vec![3], 8)
        };
        let plan = Plan::new(&request).unwrap();
        (
            plan.graph().map(|graph| (graph.bucket, graph.rows)),
            plan.layout().rows(),
        )
    };
    assert_eq!(graph(&[4, 24, 32]), (Some((24, 768)), 768));
    assert_eq!(graph(&[4, 32]), (None, 768));
}
