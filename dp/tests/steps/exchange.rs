//! Plans that follow from what ranks told each other (section 1).

use proptest::prelude::*;
use serde_json::{Value, json};
use tilewright_dp::layout::PaddingMode;
use tilewright_dp::plan::exchange::{Conclusion, ExchangeForm, Told};
use tilewright_dp::plan::micro::{DualBatch, Micro, Runner, TwoBatch};
use tilewright_dp::plan::{AllToAll, ModeReason, Plan, PlanError, Request};

fn told(form: ExchangeForm, words: &[&[u64]], dead: &[usize], raw: &[u64]) -> Request {
    Request {
        exchange: Some(Told {
            form,
            words: words.iter().map(|words| words.to_vec()).collect(),
            dead: dead.to_vec(),
        }),
        ..Request::new(raw.to_vec(), raw.len() as u64)
    }
}

fn planned(request: &Request) -> Plan {
    Plan::new(request).unwrap()
}

fn rows(plan: &Plan) -> (PaddingMode, &[u64], bool) {
    (plan.mode(), plan.layout().padded(), plan.graph().is_some())
}

const X1: [&[u64]; 4] = [&[5, 8, 0, 2], &[3, 4, 0, 2], &[9, 16, 0, 1], &[1, 1, 0, 2]];

#[test]
fn x1_to_x6_ranks_are_padded_where_a_graph_or_a_split_was_agreed_on() {
    use ExchangeForm::Vllm4;
    use PaddingMode::{Max, Sum};
    let plan = planned(&told(Vllm4, &X1, &[], &[5, 3, 9, 1]));
    assert_eq!(rows(&plan), (Max, &[16; 4][..], true));
    assert_eq!(plan.layout().counts(), [5, 3, 9, 1]);
    // Four GPUs add up tables of four 32-bit numbers for every rank.
    assert_eq!((plan.exchanged_bytes(), plan.allocated_bytes()), (4 * 64, 0));
    assert!(plan.told().unwrap().runs());

    let mut eager = X1;
    eager[1] = &[3, 4, 0, 0];
    let plan = planned(&told(Vllm4, &eager, &[], &[5, 3, 9, 1]));
    assert_eq!(rows(&plan), (Sum, &[8, 4, 16, 1][..], false));
    assert_eq!(
        (plan.layout().counts(), plan.layout().starts()),
        (&[5, 3, 9, 1][..], &[0, 8, 12, 28][..])
    );
    assert_eq!(plan.reason(), ModeReason::TrueSizes);

    let plan = planned(&told(Vllm4, &[&[600, 600, 1, 0], &[700, 704, 1, 0]], &[], &[600, 700]));
    let parts: Vec<_> = plan.parts().iter().map(|part| part.layout()).collect();
    assert_eq!(parts.len(), 2);
    assert!(parts.iter().all(|part| part.padded() == [352; 2]));
    assert_eq!([parts[0].counts(), parts[1].counts()], [[352, 352], [248, 348]]);

    let plan = planned(&told(Vllm4, &[&[40, 40, 1, 0], &[100, 104, 1, 0]], &[], &[40, 100]));
    assert_eq!((rows(&plan), plan.parts().len()), ((Sum, &[40, 104][..], false), 0));
    let plan = planned(&told(Vllm4, &[&[600, 600, 1, 2], &[520, 520, 0, 2]], &[], &[600, 520]));
    assert_eq!((rows(&plan), plan.parts().len()), ((Max, &[600; 2][..], true), 0));

    // Votes of ranks without tokens run nothing.
    let plan = planned(&told(Vllm4, &[&[0, 0, 1, 2][..]; 2], &[], &[0, 0]));
    assert_eq!(
        (rows(&plan), plan.told().unwrap().runs()),
        ((Max, &[0; 2][..], false), false)
    );

    let plan = planned(&told(Vllm4, &[&[5, 8, 1, 2], &[3, 4, 1, 1], &[]], &[2], &[5, 3, 0]));
    assert_eq!((rows(&plan), plan.parts().len()), ((Max, &[8; 3][..], true), 0));
}

#[test]
fn x7_to_x11_the_second_runner_takes_buckets_from_the_request() {
    use ExchangeForm::Vllm6;
    use PaddingMode::{Max, Sum};
    let buckets = |request: Request| Request {
        graph_buckets: Some(vec![1, 2, 4, 8, 16]),
        ..request
    };
    let ranks = |modes: [u64; 3]| {
        [6, 4, 3]
            .into_iter()
            .zip(modes)
            .map(|(tokens, mode)| [tokens, mode, 1, 2, 0, tokens])
    };
    let three = |modes: [u64; 3]| {
        let words: Vec<_> = ranks(modes).collect();
        let words: Vec<_> = words.iter().map(|words| &words[..]).collect();
        planned(&buckets(told(Vllm6, &words, &[], &[6, 4, 3])))
    };
    assert_eq!(rows(&three([2; 3])), (Max, &[8; 3][..], true));
    assert_eq!(rows(&three([2, 0, 2])), (Sum, &[6, 4, 3][..], false));
    let nothing: &[u64] = &[0, 2, 0, 0, 1, 0];
    let idle = planned(&told(Vllm6, &[nothing; 2], &[], &[0, 0]));
    assert!(!idle.told().unwrap().runs() && idle.layout().rows() == 0);
    assert!(
        idle.explain()
            .contains("all conclude that nobody runs, because no rank has a token")
    );

    let two = |tokens: u64, mode| {
        let words: [&[u64]; 2] = [&[600, 2, 0, 0, 1, 3], &[tokens, mode, 0, 0, 1, 3]];
        planned(&buckets(told(Vllm6, &words, &[], &[600, tokens])))
    };
    let split = two(520, 2);
    assert_eq!((rows(&split), split.parts().len()), ((Max, &[600; 2][..], false), 2));
    assert_eq!(
        (rows(&two(500, 0)), two(500, 0).parts().len()),
        ((Sum, &[600, 500][..], false), 0)
    );
}

#[test]
fn x13_to_x16_votes_of_sglang_become_the_request() {
    let (prefill, decode): (&[u64], &[u64]) = (&[100, 2, 0, 1, 0, 1, 1, 0], &[3, 3, 1, 0, 0, 2, 1, 0]);
    let request = Request {
        prefill_buckets: Some(vec![128]),
        ..told(ExchangeForm::Sglang8, &[prefill, decode], &[], &[100, 3])
    };
    let plan = planned(&request);
    assert_eq!(rows(&plan), (PaddingMode::Max, &[100; 2][..], false));
    assert_eq!((plan.logits().counts(), plan.exchanged_bytes()), (&[2, 3][..], 128));
    let Conclusion::Sglang8(concluded) = &plan.told().unwrap().concluded else {
        panic!()
    };
    assert!(concluded.decode_becomes_extend && plan.prefill_graph().is_some());
    assert!(
        plan.explain().contains("ranks that decode run as prompts of one token"),
        "{}",
        plan.explain()
    );

    // An idle rank refuses the graph, a dead one takes its vote away.
    let idle: &[u64] = &[0, 0, 1, 0, 0, 4, 1, 0];
    for (words, dead, why) in [
        ([prefill, decode, idle], &[][..], Some("rank 2 has no token")),
        ([prefill, decode, &[]], &[2], None),
    ] {
        let request = Request {
            prefill_buckets: Some(vec![128]),
            ..told(ExchangeForm::Sglang8, &words, dead, &[100, 3, 0])
        };
        let plan = planned(&request);
        assert_eq!(rows(&plan), (PaddingMode::Sum, &[100, 3, 0][..], false));
        let explained = plan.explain();
        assert_eq!(
            why.map(|why| explained.contains(why)),
            plan.prefill_graph().map(|_| true),
            "{explained}"
        );
    }
    // Context-parallel parts are gathered within the graph, also of a back end that gathers nothing else.
    let parts = |shards| Request {
        prefill_buckets: Some(vec![128]),
        all_to_all: Some(AllToAll::MegaMoe {}),
        shards,
        ..told(ExchangeForm::Sglang8, &[prefill, decode], &[], &[100, 3])
    };
    assert_eq!(planned(&parts(None)).mode(), PaddingMode::Sum);
    let shards = Some(vec![vec![50, 50], vec![2, 1]]);
    assert_eq!(planned(&parts(shards)).mode(), PaddingMode::Max);

    let voted: &[u64] = &[8, 8, 1, 0, 1, 2, 0, 0];
    let graph = Request {
        graph_buckets: Some(vec![8, 16]),
        micro: Some(Micro::Tbo(TwoBatch::default())),
        ..told(ExchangeForm::Sglang8, &[voted; 2], &[], &[8, 8])
    };
    assert_eq!(rows(&planned(&graph)), (PaddingMode::Max, &[8; 2][..], true));
    assert_eq!(planned(&graph).parts().len(), 2);
    let unlike: &[u64] = &[8, 8, 1, 0, 0, 2, 0, 0];
    let whole = Request {
        exchange: told(ExchangeForm::Sglang8, &[voted, unlike], &[], &[8, 8]).exchange,
        ..graph
    };
    assert!(
        planned(&whole)
            .explain()
            .contains("micro-batches: none, because not every rank told that it wants them")
    );
}

#[test]
fn x18_to_x21_and_section_8_2_tensorrt_pads_for_graphs_alone() {
    use PaddingMode::{Max, Sum};
    let rank = |batch: u64, can: u64, tokens, context, prefill| [batch, tokens, batch, can, tokens, context, prefill];
    let plan = |ranks: &[[u64; 7]], extend| {
        let words: Vec<_> = ranks.iter().map(|words| &words[..]).collect();
        let raw: Vec<_> = ranks.iter().map(|words| words[4]).collect();
        planned(&Request {
            extend,
            graph_buckets: Some(vec![1, 2, 4, 8, 16]),
            prefill_buckets: Some(vec![512, 1024]),
            ..told(ExchangeForm::Trt, &words, &[], &raw)
        })
    };
    let x18 = plan(&[rank(5, 1, 5, 0, 0), rank(8, 1, 8, 0, 0), rank(3, 1, 3, 0, 0)], false);
    assert_eq!(rows(&x18), (Max, &[8; 3][..], true));
    let x19 = plan(&[rank(4, 1, 4, 0, 0), rank(0, 1, 0, 0, 0), rank(7, 1, 7, 0, 0)], false);
    assert_eq!(
        (rows(&x19), x19.told().unwrap().runs()),
        ((Sum, &[4, 0, 7][..], false), false)
    );
    assert!(x19.explain().contains("nobody runs, because some rank has no request"));
    let x21 = |first| {
        plan(
            &[rank(3, 0, first, 2, 1), rank(1, 0, 40, 0, 1), rank(1, 0, 0, 0, 1)],
            true,
        )
    };
    assert_eq!(rows(&x21(900)), (Max, &[1024; 3][..], true));
    assert_eq!(rows(&x21(1500)), (Sum, &[1500, 40, 0][..], false));
}

#[test]
fn a_back_end_that_needs_equal_ranks_has_them_whatever_was_agreed_on() {
    let mut eager = X1;
    eager[1] = &[3, 4, 0, 0];
    let request = Request {
        all_to_all: Some(AllToAll::Pplx {}),
        ..told(ExchangeForm::Vllm4, &eager, &[], &[5, 3, 9, 1])
    };
    assert_eq!(rows(&planned(&request)), (PaddingMode::Max, &[16; 4][..], false));
}

fn refused(request: &Request) -> String {
    match Plan::new(request).unwrap_err() {
        error @ (PlanError::Exchange(_) | PlanError::CountTooLarge { .. } | PlanError::TooManyRows { .. }) => {
            error.to_string()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_ranks_told_and_the_request_has_to_be_the_same() {
    use ExchangeForm::{Sglang8, Trt, Vllm4};
    let x1 = || told(Vllm4, &X1, &[], &[5, 3, 9, 1]);
    let decode: &[u64] = &[3, 3, 1, 0, 0, 2, 1, 0];
    let big = u64::from(u32::MAX);
    let most = [big, big, 0, 2];
    let most = [&most[..]; 2];
    let other_runner = DualBatch {
        runner: Runner::V2,
        ..DualBatch::default()
    };
    for (request, message) in [
        (
            told(Vllm4, &X1, &[], &[5, 3, 9, 2]),
            "rank 3 told `tokens` 1 and `raw` says 2",
        ),
        (
            told(Vllm4, &X1, &[], &[5, 3, 9]),
            "the words of 4 ranks, `raw` has 3 counts",
        ),
        (
            Request {
                dp: 2,
                ..told(Vllm4, &X1[..1], &[], &[5])
            },
            "1 ranks, `raw` has 1 counts and `dp` is 2",
        ),
        (
            told(Vllm4, &X1, &[4], &[5, 3, 9, 1]),
            "rank 4 is said to be dead and there are 4",
        ),
        (told(Vllm4, &X1, &[0, 1, 2, 3], &[5, 3, 9, 1]), "all 4 ranks are dead"),
        (
            told(Vllm4, &X1, &[0], &[5, 3, 9, 1]),
            "rank 0 told `tokens` 0 and `raw` says 5",
        ),
        (
            told(Sglang8, &X1, &[], &[5, 3, 9, 1]),
            "rank 0 sent 4 words and this form has 8",
        ),
        (
            told(Vllm4, &[&[5, 4, 0, 2]], &[], &[5]),
            "has 5 tokens and pads them to 4",
        ),
        (
            told(Vllm4, &[&[5, 8, 2, 2]], &[], &[5]),
            "`vote` of rank 0 is 2; the largest is 1",
        ),
        (
            told(Vllm4, &[&[big + 1, big + 1, 0, 2]], &[], &[5]),
            "the largest is 4294967295",
        ),
        (told(Vllm4, &most, &[], &[big, big]), "`raw` of rank 0 is 4294967295"),
        (
            told(Vllm4, &[&[1, big, 0, 2], &[1, big, 0, 0]], &[], &[1, 1]),
            "would have over 2147483647 rows",
        ),
        (
            told(Vllm4, &[&[1, 1 << 30, 0, 2][..]; 3], &[], &[1, 1, 1]),
            "would have over 2147483647 rows",
        ),
        (Request { graph_ok: true, ..x1() }, "`graph_ok` is set"),
        (
            Request {
                force_max: true,
                ..x1()
            },
            "`force_max` is set",
        ),
        (
            Request {
                micro: Some(Micro::Dbo(other_runner)),
                ..x1()
            },
            "`micro` is set, and with an exchange of the form `vllm4`",
        ),
        (
            Request {
                micro: Some(Micro::Tbo(TwoBatch::default())),
                ..told(Trt, &[&[1; 7]], &[], &[1])
            },
            "`micro` is set, and with an exchange of the form `trt`",
        ),
        (
            Request {
                extend: true,
                ..told(Sglang8, &[decode], &[], &[3])
            },
            "`extend` says that a rank prefills and none told so",
        ),
        (
            Request {
                raw_lp: Some(vec![3]),
                ..told(Sglang8, &[decode], &[], &[3])
            },
            "`raw_lp` is set",
        ),
        (told(Trt, &[&[1, 9, 2, 1, 9, 0, 0]], &[], &[9]), "told `batch`"),
    ] {
        let request = Request {
            graph_buckets: Some(vec![16]),
            ..request
        };
        let error = refused(&request);
        assert!(error.contains(message), "{error}\n{message}");
    }
    let bound = Request {
        bound: Some(tilewright_dp::plan::Bound::of_rows(96)),
        ..x1()
    };
    assert!(Plan::new(&bound).unwrap_err().to_string().contains("`exchange`"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_ranks_tell_a_plan_holds_their_tokens_or_says_why_there_is_none(
        form in 0usize..4, ranks in 1usize..6, coef in 1u64..4, extend in any::<bool>(),
        words in prop::collection::vec(prop_oneof![4 => 0u64..9, 3 => 0u64..2000, 1 => Just(u64::from(u32::MAX))], 40),
        buckets in prop::collection::vec(1u64..2000, 0..4), split in any::<bool>(),
    ) {
        let form = ExchangeForm::ALL[form];
        let columns = form.numbers() as usize;
        let words: Vec<_> = words.chunks(columns).take(ranks).map(|words| words.to_vec()).collect();
        prop_assume!(words.iter().all(|words| words.len() == columns));
        let tokens = if form == ExchangeForm::Trt { 4 } else { 0 };
        let raw: Vec<_> = words.iter().map(|words| words[tokens]).collect();
        let micro = match form {
            ExchangeForm::Vllm4 => Some(Micro::Dbo(DualBatch::default())),
            ExchangeForm::Vllm6 => Some(Micro::Dbo(DualBatch { runner: Runner::V2, ..DualBatch::default() })),
            _ => None,
        };
        let request = Request {
            exchange: Some(Told { form, words, dead: Vec::new() }),
            coef,
            extend,
            graph_buckets: Some(buckets.clone()),
            prefill_buckets: Some(buckets),
            micro: micro.filter(|_| split),
            ..Request::new(raw.clone(), raw.len() as u64)
        };
        let json = serde_json::to_string(&request).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Request>(&json).unwrap(), &request);
        let Ok(plan) = Plan::new(&request) else { return Ok(()) };
        let layout = plan.layout();
        prop_assert!(layout.padded().iter().zip(layout.counts()).all(|(rows, tokens)| rows >= tokens));
        prop_assert_eq!(layout.padded().iter().sum::<u64>(), layout.rows());
        for part in plan.parts() {
            prop_assert!(part.layout().padded().iter().zip(part.layout().counts()).all(|(rows, tokens)| rows >= tokens));
        }
        prop_assert!(plan.explain().contains("told: as "));
        let json: Value = serde_json::to_value(&plan).unwrap();
        prop_assert_eq!(&json["exchange"]["form"], &json!(form.name()));
        prop_assert_eq!(&json["exchanged_bytes"], &json!(plan.exchanged_bytes()));
    }
}
