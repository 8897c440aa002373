//! What holds for every speculative step, all-to-all, bound, and choice of padding.

use proptest::prelude::*;
use tilewright_dp::layout::PaddingMode;
use tilewright_dp::plan::{
    AllToAll, AllToAllPlan, Bound, Execution, ExpertBound, Form, ForwardMode, MixedStep, OwnStep, Padding, Phase, Plan,
    Profile, Request, Symmetric, capture_sizes,
};
use tilewright_dp::simulate::{Drafting, Options, Simulation};
use tilewright_dp::trace::{self, Trace};

const PHASES: [Phase; 3] = [Phase::Target, Phase::Draft, Phase::DraftExtend];

/// Counts, who prefills, and the widths of a speculative step.
fn steps() -> impl Strategy<Value = (Vec<(u64, bool)>, [u64; 2], usize)> {
    let rank = (prop_oneof![1 => Just(0u64), 3 => 1u64..400], any::<bool>());
    (prop::collection::vec(rank, 1..17), [1u64..9, 1u64..9], 0..PHASES.len())
}

fn mixed_ranks(
    ranks: &[(u64, bool)],
    [draft_width, verify_width]: [u64; 2],
    phase: Phase,
    local: Option<u64>,
) -> Request {
    let raw: Vec<u64> = ranks.iter().map(|&(count, _)| count).collect();
    Request {
        mixed: Some(MixedStep {
            prefills: ranks.iter().map(|&(_, prefills)| prefills).collect(),
            phase,
            draft_width,
            verify_width,
            local,
        }),
        ..Request::new(raw.clone(), raw.len() as u64)
    }
}

fn counts() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![1 => Just(0u64), 3 => 1u64..300], 1..33)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_rank_has_the_width_of_what_it_runs((ranks, widths, phase) in steps()) {
        let phase = PHASES[phase];
        let plan = Plan::new(&mixed_ranks(&ranks, widths, phase, None)).unwrap();
        let width = if phase == Phase::Draft { widths[0] } else { widths[1] };
        for (&(count, prefills), &tokens) in ranks.iter().zip(plan.layout().counts()) {
            let expected = match (prefills, phase) {
                (true, Phase::Draft) => 0,
                (true, _) => count,
                (false, _) => count * width,
            };
            prop_assert_eq!(tokens, expected);
        }
        let busy = |flag| ranks.iter().any(|&(count, prefills)| count > 0 && prefills == flag);
        let is_mixed = busy(true) && busy(false);
        prop_assert_eq!(plan.phase().unwrap().is_mixed(), is_mixed);
        if is_mixed {
            prop_assert_eq!(plan.mode(), PaddingMode::Sum);
            prop_assert!(matches!(plan.execution(), Execution::Eager(_)));
            prop_assert_eq!(plan.layout().padded(), plan.layout().counts());
        }
        for rank in 0..ranks.len() {
            let own = Plan::new(&mixed_ranks(&ranks, widths, phase, Some(rank as u64))).unwrap();
            prop_assert_eq!(own.layout().counts(), &plan.layout().counts()[rank..=rank]);
            let (count, prefills) = ranks[rank];
            if !prefills {
                let batch = plan.batch(rank as u64, ForwardMode::TargetVerify, count).unwrap();
                prop_assert!(batch.requests >= count && batch.requests * width <= batch.rows);
            }
        }
    }

    #[test]
    fn idle_ranks_change_nobodys_rows((mut ranks, widths, phase) in steps(), idle in 0usize..16) {
        let phase = PHASES[phase];
        let before = Plan::new(&mixed_ranks(&ranks, widths, phase, None)).unwrap();
        let at = idle.min(ranks.len());
        ranks.insert(at, (0, idle % 2 == 0));
        let after = Plan::new(&mixed_ranks(&ranks, widths, phase, None)).unwrap();
        prop_assert_eq!(before.phase(), after.phase());
        let mut counts = after.layout().counts().to_vec();
        prop_assert_eq!(counts.remove(at), 0);
        prop_assert_eq!(counts, before.layout().counts());
    }

    #[test]
    fn capacities_are_never_overrun(
        counts in counts(),
        attn_tp in 1u64..9,
        (capacity, kind, extend) in (1u64..300, 0usize..2, any::<bool>()),
    ) {
        let back_end = [AllToAll::FlashInfer { capacity }, AllToAll::DeepEpLowLatency { capacity }][kind];
        let request = Request {
            all_to_all: Some(back_end),
            attn_tp,
            extend,
            ..Request::new(counts.clone(), counts.len() as u64)
        };
        let bare = Plan::new(&Request { all_to_all: None, ..request.clone() }).unwrap();
        let longest = bare.layout().padded().iter().max().unwrap().div_ceil(attn_tp);
        match Plan::new(&request).map(|plan| plan.all_to_all()[0].clone()) {
            Ok(AllToAllPlan::Dispatch { rows, capacity: most }) => {
                prop_assert_eq!((rows, most), (longest, Some(capacity)));
                prop_assert!(rows <= capacity);
            }
            Ok(AllToAllPlan::Gather { sizes }) => {
                prop_assert!(extend && kind == 0);
                prop_assert_eq!(sizes.rows(), bare.layout().padded().iter().sum::<u64>());
                prop_assert_eq!(sizes.sizes().len() as u64, attn_tp * counts.len() as u64);
                for (of_rank, rows) in sizes.sizes().chunks(attn_tp as usize).zip(bare.layout().padded()) {
                    prop_assert_eq!(of_rank.iter().sum::<u64>(), *rows);
                    prop_assert!(of_rank[0] - of_rank[of_rank.len() - 1] <= 1);
                }
            }
            Err(_) => prop_assert!(longest > capacity || counts.len() == 1),
        }
    }

    #[test]
    fn a_bound_holds_for_every_count_below_it(
        counts in counts(),
        (bound, coef, attn_tp) in (1u64..300, 1u64..5, 1u64..4),
        (profile, graph_ok) in (prop::sample::select(Profile::ALL.to_vec()), any::<bool>()),
    ) {
        let bound = bound * attn_tp;
        let request = |raw: Vec<u64>, dp| Request {
            profile,
            bound: Some(Bound::of_rows(bound)),
            coef,
            attn_tp,
            graph_ok,
            graph_buckets: Some(capture_sizes(false, 256)),
            ..Request::new(raw, dp)
        };
        let dp = counts.len() as u64;
        let plan = match Plan::new(&request(counts.clone(), dp)) {
            Ok(plan) => plan,
            Err(_) => {
                prop_assert!(counts.iter().any(|count| count * coef > bound));
                return Ok(());
            }
        };
        let received = plan.bound().unwrap().received;
        prop_assert!(counts.iter().all(|count| count * coef <= bound));
        prop_assert!(received.admits(plan.layout().real_rows()));
        prop_assert_eq!((plan.layout().rows(), plan.mode()), (received.capacity(), PaddingMode::Max));
        // Each rank, which knows itself alone, lays out the same buffer, whether a graph runs or not.
        for &own in &counts {
            let alone = Plan::new(&request(vec![own], dp)).unwrap();
            prop_assert_eq!(alone.layout().padded(), plan.layout().padded());
            prop_assert_eq!(alone.layout().starts(), plan.layout().starts());
            prop_assert_eq!(alone.logits().buffer_rows(), plan.logits().buffer_rows());
            let eager = Plan::new(&Request { graph_ok: false, ..request(vec![own], dp) }).unwrap();
            prop_assert_eq!(eager.layout(), alone.layout());
        }
    }

    #[test]
    fn experts_have_room_for_whatever_comes(
        pairs in prop::collection::vec(0u64..40, 1..9),
        (ranks, bound, per_token, alignment) in (1u64..9, 1u64..33, 1u64..5, 1u64..65),
    ) {
        let local = pairs.len() as u64;
        let experts = ExpertBound { alignment, ..ExpertBound::new(per_token, local, bound) };
        let received = Bound::of_rows(bound).received(ranks).unwrap();
        let rows = experts.rows(ranks, received, bound).unwrap();
        prop_assert!(rows.gemm <= rows.worst);
        // A row goes to an expert once, and to at most so many of this GPU's.
        let most = ranks * bound;
        let possible = pairs.iter().all(|&rows| rows <= most)
            && pairs.iter().sum::<u64>() <= most * per_token.min(local);
        if possible {
            let aligned: u64 = pairs.iter().map(|rows| rows.next_multiple_of(alignment)).sum();
            prop_assert!(rows.worst.admits(aligned) && rows.gemm.admits(aligned), "{aligned} {rows:?}");
            prop_assert!(pairs.iter().all(|&pairs| rows.masked.admits(pairs)));
        }
    }

    #[test]
    fn slots_share_a_ranks_rows_evenly(wants in prop::collection::vec(0u64..60, 0..32), bound in 1u64..97) {
        let sizes = [1, 2, 4, 8, 16, 32, 48, 64, 96];
        let step = match OwnStep::new(&wants, bound, &sizes) {
            Ok(step) => step,
            Err(_) => {
                prop_assert!(wants.iter().filter(|&&want| want > 0).count() as u64 > bound);
                return Ok(());
            }
        };
        let (spans, wanted) = (step.spans(), wants.iter().sum::<u64>());
        prop_assert_eq!(spans.iter().sum::<u64>(), wanted.min(bound));
        prop_assert_eq!(step.active().get() + step.padding(), step.bucket().get());
        // As they come when rows are handed out one by one.
        let mut expected = vec![0; wants.len()];
        let mut left = wanted.min(bound);
        while left > 0 {
            for (span, want) in expected.iter_mut().zip(&wants) {
                if *span < *want && left > 0 {
                    *span += 1;
                    left -= 1;
                }
            }
        }
        prop_assert_eq!(spans, expected);
    }

    #[test]
    fn nobody_is_padded_where_nothing_needs_it(
        counts in counts(),
        attn_tp in 1u64..5,
        (extend, profile) in (any::<bool>(), prop::sample::select(Profile::ALL.to_vec())),
    ) {
        let plan = |padding| {
            Plan::new(&Request { profile, attn_tp, extend, padding, ..Request::new(counts.clone(), counts.len() as u64) })
                .unwrap()
        };
        let [rules, needed, always] = Padding::ALL.map(plan);
        let aligned: Vec<u64> = needed.layout().aligned().collect();
        prop_assert_eq!(needed.layout().padded(), &aligned);
        let longest = always.layout().padded()[0];
        prop_assert!(always.layout().padded().iter().all(|&rows| rows == longest));
        prop_assert!(needed.layout().rows() <= rules.layout().rows());
        prop_assert!(rules.layout().rows() <= always.layout().rows());
        let equal = aligned.iter().all(|&rows| rows == aligned[0]);
        prop_assert_eq!(needed.mode() == PaddingMode::Max, equal);
        prop_assert!(!equal || needed.sizes().unwrap().form() == Form::Plain);
    }

    #[test]
    fn symmetric_memory_is_for_what_all_allocate_alike(counts in counts(), extend in any::<bool>()) {
        let request = Request { extend, symmetric: true, ..Request::new(counts.clone(), counts.len() as u64) };
        let plan = Plan::new(&request).unwrap();
        let Symmetric { step, gather, .. } = plan.symmetric().unwrap();
        let rows = plan.layout().padded();
        let equal = rows.iter().all(|&own| own == rows[0]);
        prop_assert_eq!(gather, equal && counts.len() > 1);
        prop_assert!(!step || equal);
    }

    #[test]
    fn a_bounded_simulation_stays_below_its_bound(
        mut requests in prop::collection::vec((0u64..300, 0u64..50, 0u64..30), 1..20),
        (ranks, bound) in (1usize..5, 4u64..20),
        (mixed, drafts) in (any::<bool>(), any::<bool>()),
    ) {
        requests.sort();
        let request = |&(milliseconds, context_tokens, generated_tokens): &(u64, u64, u64)| trace::Request {
            arrival: std::time::Duration::from_millis(milliseconds),
            context_tokens,
            generated_tokens,
        };
        let trace = Trace::new(requests.iter().map(request).collect()).unwrap();
        let drafting = drafts.then(|| Drafting {
            speculation: tilewright_dp::plan::Speculation::new(1, 3, 4).unwrap(),
            accepted_percent: 50,
            seed: 7,
        });
        let run = |bound| {
            let options = Options { ranks, chunk: 16, drafting, mixed, bound, ..Options::default() };
            Simulation::new(&trace, options).unwrap().flat_map(|step| step.forwards).collect::<Vec<_>>()
        };
        let prompts = |forwards: &[tilewright_dp::simulate::Forward]| {
            let target = forwards.iter().filter(|forward| !forward.is_draft);
            target.flat_map(|forward| forward.prompts.iter().flatten()).sum::<u64>()
        };
        let bounded = run(Some(bound));
        for forward in &bounded {
            prop_assert!(forward.tokens.iter().all(|&tokens| tokens <= bound));
        }
        let expected: u64 = requests.iter().map(|&(_, context, _)| context).sum();
        prop_assert_eq!(prompts(&bounded), expected);
        prop_assert_eq!(prompts(&run(None)), expected);
    }
}
