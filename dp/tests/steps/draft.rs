//! Section 4.1 to 4.3: the draft's slot, counts of each phase, idle ranks.

use tilewright_dp::layout::PaddingMode;
use tilewright_dp::plan::{
    DraftChain, ForwardMode, GatherSlot, MixedStep, ModeReason, Phase, Plan, Profile, RankStep, Request, Speculation,
    Step, Topology, capture_sizes, model_counts, speculates,
};
use tilewright_dp::simulate::{Options, Simulation};
use tilewright_dp::trace::{self, Trace};

use crate::{all, mixed};

#[test]
fn section_4_1_the_drafts_slot() {
    let target = GatherSlot::attention(&Topology::new(4, 4).unwrap(), 2).unwrap();
    let list = [5, 0, 7, 1];
    assert_eq!(
        (target.of(&list).unwrap(), list[target.of(&list).unwrap()]),
        (2, 7),
        "D1"
    );
    assert_eq!(target.of(&[9]).unwrap(), 0, "D1");
    let stored = GatherSlot::new(4, 3).unwrap();
    let draft = GatherSlot::draft(stored);
    assert_eq!((draft.width(), draft.of(&list).unwrap()), (4, 3), "D2");
    let error = target.of(&[1, 2]).unwrap_err().to_string();
    assert!(error.contains("2 counts and the gather has 4 slots"), "D3: {error}");
    assert!(target.of(&[]).is_err());
    let world = GatherSlot::world(8, 1, 4).unwrap();
    assert_eq!((world.width(), world.of(&[0; 8]).unwrap()), (8, 5));
    assert!(world.can_reduce_scatter(16, 2) && !world.can_reduce_scatter(4, 1));
    assert!(GatherSlot::world(8, u64::MAX, 1).is_err() && GatherSlot::new(0, 0).is_err());
}

#[test]
fn section_4_2_counts_of_each_phase() {
    let plan = |request: &Request| Plan::new(request).unwrap();
    let raw = [4096, 32, 0, 512, 7, 1, 19, 0];
    let logprob = Some(vec![1, 32, 0, 2, 7, 1, 19, 0]);
    let phase = |phase| {
        let request = mixed(&raw, &[0, 3], [1, 4], phase);
        let raw_lp = logprob.clone();
        plan(&Request { raw_lp, ..request })
    };
    for target in [phase(Phase::Target), phase(Phase::DraftExtend)] {
        assert_eq!(target.layout().counts(), [4096, 128, 0, 512, 28, 4, 76, 0], "D4");
        assert_eq!(target.logits().counts(), [1, 128, 0, 2, 28, 4, 76, 0], "D4");
        assert_eq!(
            (target.mode(), target.reason()),
            (PaddingMode::Sum, ModeReason::Phases),
            "D4"
        );
        assert!(target.graph().is_none(), "D4");
    }
    let draft = phase(Phase::Draft);
    assert_eq!(draft.layout().counts(), [0, 32, 0, 0, 7, 1, 19, 0], "D4");
    assert_eq!(draft.logits().counts(), draft.layout().counts(), "D4");
    assert_eq!(draft.mode(), PaddingMode::Sum, "D4");

    let of = |phase, local| {
        let mut request = mixed(&[4096, 24], &[0], [10, 32], phase);
        request.raw_lp = Some(vec![1, 24]);
        if let Some(mixed) = &mut request.mixed {
            mixed.local = local;
        }
        let plan = plan(&request);
        (plan.layout().counts().to_vec(), plan.logits().counts().to_vec())
    };
    assert_eq!(of(Phase::Target, None), (vec![4096, 768], vec![1, 768]), "D5");
    assert_eq!(of(Phase::Draft, None).0, [0, 240], "D5");
    assert_eq!(of(Phase::Draft, Some(1)), (vec![240], vec![240]), "D7");
    assert_eq!(of(Phase::DraftExtend, Some(1)).0, [768], "D7");

    let alike = Request {
        graph_ok: true,
        graph_buckets: Some(capture_sizes(true, 32)),
        ..mixed(&[0, 24], &[0], [1, 4], Phase::Target)
    };
    let uniform = Request {
        coef: 4,
        mixed: None,
        ..alike.clone()
    };
    let (alike, uniform) = (plan(&alike), plan(&uniform));
    assert!(!alike.phase().unwrap().is_mixed(), "D6");
    assert_eq!(
        (alike.layout(), alike.execution()),
        (uniform.layout(), uniform.execution()),
        "D6"
    );

    let prefill = plan(&mixed(&[100, 0], &[0], [1, 4], Phase::Target));
    assert!(!prefill.phase().unwrap().is_mixed() && !prefill.explain().contains("per request"));
    assert_eq!(prefill.batch(0, ForwardMode::Extend, 100).unwrap().rows, 100);

    assert_eq!(model_counts(&[2, 0, 3], 0, true).unwrap(), [2], "D8");
    assert_eq!(model_counts(&[2, 0, 3], 0, false).unwrap(), [2, 0, 3], "D8");
    assert!(model_counts(&[2, 0, 3], 3, false).is_err() && model_counts(&[], usize::MAX, true).is_err());
}

#[test]
fn section_4_2_what_ranks_run_becomes_the_phase() {
    let step = |forward| Step {
        profile: Profile::Main202611,
        topology: Topology::new(3, 3).unwrap(),
        speculation: Some(Speculation::new(2, 3, 7).unwrap()),
        ranks: vec![RankStep::prefill(100, 2), RankStep::new(forward, 5), RankStep::idle()],
        graph_buckets: None,
    };
    let counts = |forward| {
        let plan = Plan::new(&step(forward).request().unwrap()).unwrap();
        (plan.layout().counts().to_vec(), plan.logits().counts().to_vec())
    };
    assert_eq!(counts(ForwardMode::DraftDecode), (vec![0, 10, 0], vec![0, 10, 0]));
    assert_eq!(counts(ForwardMode::TargetVerify), (vec![100, 35, 0], vec![2, 35, 0]));
    assert_eq!(counts(ForwardMode::DraftExtend), (vec![100, 35, 0], vec![2, 35, 0]));
    let older = Step {
        profile: Profile::Main202609,
        ..step(ForwardMode::TargetVerify)
    };
    assert!(
        older
            .request()
            .unwrap_err()
            .to_string()
            .contains("one step has one width")
    );
    // Each rank keeps what it runs, and requests their width.
    let plan = Plan::new(&step(ForwardMode::TargetVerify).request().unwrap()).unwrap();
    let batch = plan.batch(1, ForwardMode::TargetVerify, 5).unwrap();
    assert_eq!(
        (batch.forward, batch.rows, batch.requests),
        (ForwardMode::TargetVerify, 35, 5)
    );
    assert_eq!(plan.batch(0, ForwardMode::Extend, 2).unwrap().rows, 100);
    assert!(plan.batch(1, ForwardMode::TargetVerify, 6).is_err());
}

#[test]
fn mixed_steps_end_the_stall_of_ranks_that_decode() {
    let request = |milliseconds, context_tokens, generated_tokens| trace::Request {
        arrival: std::time::Duration::from_millis(milliseconds),
        context_tokens,
        generated_tokens,
    };
    // One rank decodes while the other prefills in chunks.
    let trace = Trace::new(vec![request(0, 1, 9), request(1, 80, 1)]).unwrap();
    let steps = |mixed, bound| {
        let options = Options {
            ranks: 2,
            chunk: 20,
            drafting: Some(tilewright_dp::simulate::Drafting {
                speculation: Speculation::new(1, 3, 4).unwrap(),
                accepted_percent: 0,
                seed: 0,
            }),
            mixed,
            bound,
            ..Options::default()
        };
        let steps = Simulation::new(&trace, options).unwrap();
        steps
            .map(|step| (step.counts().to_vec(), step.forwards.len()))
            .collect::<Vec<_>>()
    };
    let apart = steps(false, None);
    assert_eq!(
        apart[..5],
        [[1, 0], [0, 20], [0, 20], [0, 20], [0, 20]].map(|counts| (counts.to_vec(), 2))
    );
    assert_eq!(apart.len(), 1 + 4 + 8);
    let together = steps(true, None);
    assert_eq!(together[1..5], [[4, 20]; 4].map(|counts| (counts.to_vec(), 4)));
    assert_eq!(together.len(), 1 + 8);
    // Without an exchange the chain is as long in every step, and nobody has more rows than the bound.
    let bounded = steps(false, Some(8));
    assert!(
        bounded
            .iter()
            .all(|(counts, forwards)| *forwards == 4 && counts.iter().all(|&rows| rows <= 8))
    );
    assert_eq!(bounded.len(), 1 + 10);
}

#[test]
fn section_4_3_idle_ranks_and_the_draft_chain() {
    let chain = DraftChain::new(3, &[8, 0, 4], Some(&[2, 0, 1])).unwrap();
    assert_eq!(chain.forwards(), 3, "D9");
    let lists = [0, 1, 2].map(|forward| chain.counts(forward));
    assert_eq!(lists, [[8, 0, 4], [2, 0, 1], [2, 0, 1]], "D9");
    assert_eq!(DraftChain::new(2, &[8, 0], None).unwrap().counts(1), [8, 0], "D9");
    assert_eq!(speculates(&[true, false, true], &[2, 0, 1]), Ok(true), "D10");
    assert_eq!(speculates(&[true, false, true], &[2, 9, 1]), Ok(false), "D10");

    // An idle rank in a padded prefill holds a made-up request, which is masked unless states are computed from it.
    let batch = |profile, hybrid_idle| {
        let request = Request {
            profile,
            extend: true,
            hybrid_idle,
            force_max: true,
            ..all(&[512, 0])
        };
        Plan::new(&request).unwrap().batch(1, ForwardMode::Idle, 0).unwrap()
    };
    for (profile, hybrid, real) in [
        (Profile::Main202611, false, 0),
        (Profile::Main202611, true, 512),
        (Profile::Main202609, false, 512),
    ] {
        let batch = batch(profile, hybrid);
        assert!(batch.is_dummy && batch.forward == ForwardMode::Extend);
        assert_eq!(
            (batch.rows, batch.requests, batch.real_rows),
            (512, 1, real),
            "{profile} {hybrid}"
        );
    }
    // In a verification a hybrid's idle rank verifies as many requests as its rows hold.
    let verify = |hybrid_idle| {
        let request = Request {
            coef: 4,
            hybrid_idle,
            ..all(&[5, 0])
        };
        Plan::new(&request).unwrap().batch(1, ForwardMode::Idle, 0).unwrap()
    };
    let hybrid = verify(true);
    assert_eq!(
        (hybrid.forward, hybrid.requests, hybrid.real_rows),
        (ForwardMode::TargetVerify, 5, 20)
    );
    assert_eq!((verify(false).forward, verify(false).real_rows), (ForwardMode::Idle, 0));
    // The draft model's forwards of the same step have a width too, and verify nothing.
    for (phase, forward) in [
        (Phase::Target, ForwardMode::TargetVerify),
        (Phase::Draft, ForwardMode::Idle),
        (Phase::DraftExtend, ForwardMode::Idle),
    ] {
        let request = Request {
            mixed: Some(MixedStep {
                prefills: vec![false; 2],
                phase,
                draft_width: 4,
                verify_width: 4,
                local: None,
            }),
            hybrid_idle: true,
            ..all(&[5, 0])
        };
        let batch = Plan::new(&request).unwrap().batch(1, ForwardMode::Idle, 0).unwrap();
        assert_eq!(batch.forward, forward, "{phase}");
    }
}
