//! The examples of section 1, one exchange between ranks, and what is refused.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tilewright_dsl::element::ElementType;

use super::*;
use crate::collective::{Agreement, CollectiveError, Exchange, Operation, RequestedCollective, ThreadExchange};

fn rows4(columns: [&[u64]; 4], dead: &[usize]) -> Vllm4Conclusion {
    let rank = |rank: usize| columns.map(|column| column[rank]).to_vec();
    let vectors: Vec<_> = (0..columns[0].len()).map(rank).collect();
    Table::<Vllm4>::decode(&vectors, dead).unwrap().conclude(2).unwrap()
}

#[test]
fn section_1_1_x1_to_x6() {
    use GraphMode::{Full, None, Piecewise};
    let concluded = |mode, split, counts: &[u64]| Vllm4Conclusion {
        mode,
        split,
        counts: counts.to_vec(),
    };
    let (tokens, padded): (&[u64], &[u64]) = (&[5, 3, 9, 1], &[8, 4, 16, 1]);
    for (columns, dead, expected) in [
        (
            [tokens, padded, &[0; 4], &[2, 2, 1, 2]],
            &[][..],
            concluded(Piecewise, false, &[16; 4]),
        ),
        (
            [tokens, padded, &[0; 4], &[2, 0, 2, 2]],
            &[],
            concluded(None, false, padded),
        ),
        (
            [&[600, 700], &[600, 704], &[1, 1], &[0, 0]],
            &[],
            concluded(None, true, &[704; 2]),
        ),
        (
            [&[40, 100], &[40, 104], &[1, 1], &[0, 0]],
            &[],
            concluded(None, false, &[40, 104]),
        ),
        (
            [&[600, 520], &[600, 520], &[1, 0], &[2, 2]],
            &[],
            concluded(Full, false, &[600; 2]),
        ),
        // What a dead rank left behind is not looked at.
        (
            [&[5, 3, 9], &[8, 4, 1], &[1, 1, 7], &[2, 1, 9]],
            &[2],
            concluded(Piecewise, false, &[8; 3]),
        ),
    ] {
        assert_eq!(rows4(columns, dead), expected);
    }
    // An edge: a dead rank has the padded count, or 0 where counts are true.
    assert_eq!(
        rows4([&[5, 3, 0], &[8, 4, 0], &[0; 3], &[0; 3]], &[2]).counts,
        [8, 4, 0]
    );
    assert_eq!(rows4([&[5], &[8], &[1], &[2]], &[]), concluded(Full, false, &[8]));
}

fn six(tokens: u64, mode: GraphMode, uniform: Option<u64>, split_allowed: bool) -> Vllm6 {
    Vllm6 {
        tokens,
        mode,
        uniform,
        longest_query: uniform,
        split_allowed,
        requests: tokens / uniform.unwrap_or(1),
    }
}

fn concluded6(ranks: &[Vllm6], dead: &[usize]) -> Option<Vllm6Conclusion> {
    let rules = Vllm6Rules {
        buckets: vec![1, 2, 4, 8, 16],
        ..Vllm6Rules::default()
    };
    Table::new(ranks, dead).unwrap().conclude(&rules).unwrap()
}

#[test]
fn section_1_2_x7_to_x12() {
    use GraphMode::{Full, None as Eager};
    let decodes = [6, 4, 3].map(|tokens| six(tokens, Full, Some(1), false));
    let x7 = concluded6(&decodes, &[]).unwrap();
    assert_eq!(
        (&x7.counts[..], x7.requests, x7.mode, x7.uniform),
        (&[8; 3][..], 8, Full, Some(1))
    );
    let mut one_eager = decodes;
    one_eager[1].mode = Eager;
    let x8 = concluded6(&one_eager, &[]).unwrap();
    assert_eq!((&x8.counts[..], x8.mode), (&[6, 4, 3][..], Eager));
    assert_eq!(concluded6(&[six(0, Full, None, true); 2], &[]), None);
    let x10 = concluded6(&[600, 520].map(|tokens| six(tokens, Full, None, true)), &[]).unwrap();
    assert_eq!((&x10.counts[..], x10.mode, x10.split), (&[600; 2][..], Eager, true));
    let x11 = concluded6(&[six(600, Full, None, true), six(500, Eager, None, true)], &[]).unwrap();
    assert_eq!((&x11.counts[..], x11.split), (&[600, 500][..], false));
    let x12 = x7.reuse(1, 8, Some(1), &[12, 16]).unwrap();
    assert_eq!(x12.counts, [12; 3]);
    // A uniform decode splits from fewer tokens on; a dead rank forbids it, and does not break the length.
    let decode = six(40, Eager, Some(1), true);
    assert!(concluded6(&[decode; 2], &[]).unwrap().split);
    let dead = concluded6(&[decode; 2], &[1]).unwrap();
    assert!(!dead.split && dead.uniform == Some(1) && dead.counts == [40, 0]);
    // No bucket holds 40 rows.
    let graph = concluded6(&[six(40, Full, Some(1), false), six(3, Full, Some(1), false)], &[]).unwrap();
    assert_eq!((&graph.counts[..], graph.mode), (&[40; 2][..], Eager));
}

#[test]
fn section_1_2_a_draft_of_another_shape_reuses_nothing() {
    let target = concluded6(&[6, 4].map(|tokens| six(tokens, GraphMode::Full, Some(2), false)), &[]).unwrap();
    assert_eq!(target.requests, 4);
    let refused = |rank, tokens, uniform| target.reuse(rank, tokens, uniform, &[16]).unwrap_err().to_string();
    assert_eq!(
        refused(0, 6, None),
        "the draft cannot reuse the agreement: the number of rows is 6 for the draft and 8 for the target"
    );
    assert!(refused(0, 8, Some(1)).contains("the length of requests is 1"));
    assert!(refused(2, 8, None).contains("rank 2"));
    assert_eq!(target.reuse(0, 8, None, &[4]).unwrap().mode, GraphMode::None);
    let eager = concluded6(&[six(6, GraphMode::None, None, false)], &[]).unwrap();
    assert_eq!(eager.reuse(0, 6, None, &[16]).unwrap(), eager);
}

const PREFILL: Sglang8 = Sglang8 {
    tokens: 100,
    logprob: 2,
    decode_graph: false,
    extend: true,
    two_batches: false,
    mode: SchedulerMode::Extend,
    prefill_graph: true,
    longest_prefix: 0,
};
const DECODE: Sglang8 = Sglang8 {
    tokens: 3,
    logprob: 3,
    decode_graph: true,
    extend: false,
    mode: SchedulerMode::Decode,
    ..PREFILL
};
const IDLE: Sglang8 = Sglang8 {
    tokens: 0,
    logprob: 0,
    mode: SchedulerMode::Idle,
    ..DECODE
};

#[test]
fn section_1_3_x13_to_x16() {
    let concluded = |ranks: &[Sglang8], dead: &[usize]| Table::new(ranks, dead).unwrap().conclude();
    let x13 = concluded(&[PREFILL, DECODE], &[]);
    assert_eq!((&x13.counts[..], &x13.logprob[..]), (&[100, 3][..], &[2, 3][..]));
    assert!(!x13.decode_graph && x13.extend && x13.prefill_graph && x13.decode_becomes_extend && !x13.two_batches);
    let x14 = concluded(&[PREFILL, DECODE, IDLE], &[]);
    assert!(x14.prefill_vote && !x14.prefill_graph && !x14.decode_becomes_extend);
    let x15 = concluded(&[PREFILL, DECODE, DECODE], &[2]);
    assert!(!x15.prefill_vote && !x15.prefill_graph && x15.counts == [100, 3, 0]);
    let x16 = concluded(&[IDLE; 2], &[]);
    assert!(!x16.runs && x16.counts == [0, 0]);
    // Idle ranks and those with prebuilt batches have no say in the mode.
    let split = |rank| Sglang8 {
        two_batches: true,
        ..rank
    };
    let prebuilt = Sglang8 {
        mode: SchedulerMode::Prebuilt,
        ..split(IDLE)
    };
    assert!(concluded(&[split(DECODE), split(IDLE), prebuilt], &[]).two_batches);
    assert!(!concluded(&[split(DECODE), split(PREFILL)], &[]).two_batches);
    assert!(!concluded(&[split(IDLE), prebuilt], &[]).two_batches);
}

#[test]
fn section_1_3_the_slots_of_an_elastic_world() {
    let slots = [PREFILL.words(), vec![0; 8], DECODE.words()];
    let conclusion = Table::<Sglang8>::of_slots(&slots, 3, 4).unwrap().conclude();
    assert!(conclusion.counts == [100, 0, 3] && !conclusion.prefill_vote);
    for (ep, world) in [(2, 4), (3, 2)] {
        let error = Table::<Sglang8>::of_slots(&slots, ep, world).unwrap_err();
        assert!(error.to_string().contains("one slot for each expert-parallel rank"));
    }
}

fn trt(batch: u64, decode_graph: bool, tokens: u64, context_requests: u64) -> TensorRt {
    TensorRt {
        active_requests: batch,
        active_tokens: tokens,
        batch,
        decode_graph,
        tokens,
        context_requests,
        prefill_graph: true,
    }
}

#[test]
fn section_1_4_x18_x19_and_x21() {
    let captured = Captured {
        decode: vec![1, 2, 4, 8, 16],
        prefill: vec![512, 1024],
        exact: false,
    };
    let concluded = |ranks: &[TensorRt]| Table::new(ranks, &[]).unwrap().conclude(&captured).unwrap();
    let decode = |batch, can| trt(batch, can, batch, 0);
    let x18 = [decode(5, true), decode(8, true), decode(3, true)];
    assert_eq!(concluded(&x18).graph, Some(8));
    let x19 = concluded(&[decode(5, true), decode(8, false), decode(3, true)]);
    assert!(x19.graph.is_none() && x19.runs && x19.counts == [5, 8, 3]);
    assert!(!concluded(&[decode(4, true), decode(0, true), decode(7, true)]).runs);
    let prompts = |tokens: [u64; 3]| concluded(&tokens.map(|tokens| trt(1, false, tokens, 1)));
    assert_eq!(prompts([900, 40, 0]).counts, [1024; 3]);
    assert_eq!(prompts([1500, 40, 0]).counts, [1500, 40, 0]);
    // Section 9: batches have to be equal; without padding they are only if they were.
    let exact = Captured {
        exact: true,
        ..captured.clone()
    };
    let graph = |ranks: &[TensorRt]| Table::new(ranks, &[]).unwrap().conclude(&exact).unwrap().graph;
    assert_eq!(
        (graph(&x18), graph(&[x18[1]; 2]), graph(&[x18[0]; 2])),
        (None, Some(8), None)
    );
}

#[test]
fn section_1_4_x20_routing() {
    let active = |requests| trt(requests, true, 10 * requests, 0);
    let table = Table::new(&[active(3), active(1)], &[]).unwrap();
    let new = [4, 3, 2, 1].map(|tokens| NewRequest { tokens, rank: None });
    let routed = route(&table, &new, 8).unwrap();
    let to = |rank| routed.iter().filter(|&&to| to == Some(rank)).count();
    assert_eq!((to(0), to(1)), (1, 3));
    // A fixed rank that is full waits.
    let fixed = [NewRequest {
        tokens: 1,
        rank: Some(0),
    }];
    assert_eq!(route(&table, &fixed, 3).unwrap(), [None]);
    assert!(matches!(
        route(&table, &new, 3),
        Err(ExchangeError::NoRoom { requests: 4, .. })
    ));
    let nobody = [NewRequest {
        tokens: 1,
        rank: Some(2),
    }];
    assert!(matches!(
        route(&table, &nobody, 8),
        Err(ExchangeError::NoSuchRank { rank: 2, ranks: 2 })
    ));
}

#[test]
fn contradictions_are_refused_in_words() {
    let refused = |vectors: &[&[u64]], dead: &[usize]| {
        let vectors: Vec<_> = vectors.iter().map(|words| words.to_vec()).collect();
        Table::<Vllm4>::decode(&vectors, dead).unwrap_err().to_string()
    };
    assert!(refused(&[&[1, 1, 0]], &[]).contains("rank 0 sent 3 words and this form has 4"));
    assert!(refused(&[&[2, 1, 0, 0]], &[]).contains("padding only adds"));
    assert!(refused(&[&[1, 1, 2, 0]], &[]).contains("`vote` of rank 0 is 2"));
    assert!(refused(&[&[1, 1, 0, 0], &[1, 1 << 32, 0, 0]], &[]).contains("`padded` of rank 1"));
    assert!(refused(&[&[1, 1, 0, 0]], &[0]).contains("dead"));
    assert!(refused(&[&[1, 1, 0, 0]], &[1]).contains("rank 1"));
    assert!(refused(&[], &[]).contains("0 ranks"));
    let too_many = vec![Vec::new(); 1 + crate::plan::MAX_RANKS as usize];
    assert!(matches!(
        Table::<Vllm4>::decode(&too_many, &[]),
        Err(ExchangeError::Ranks { .. })
    ));
    let table = Table::<Vllm4>::decode(&[vec![1, 1, 0, 0]], &[]).unwrap();
    for parts in [0, 1, u64::MAX] {
        assert!(table.conclude(parts).unwrap_err().to_string().contains("at least 2"));
    }
    let busy = Sglang8 { tokens: 1, ..IDLE };
    assert!(
        Table::new(&[busy], &[])
            .unwrap_err()
            .to_string()
            .contains("an idle rank has none")
    );
    let mut words = DECODE.words();
    words[5] = 0;
    assert!(
        Table::<Sglang8>::decode(&[words], &[])
            .unwrap_err()
            .to_string()
            .contains("stands for nothing")
    );
    let rules = |buckets| Vllm6Rules {
        buckets,
        ..Vllm6Rules::default()
    };
    let table = Table::new(&[six(1, GraphMode::Full, None, false)], &[]).unwrap();
    assert!(
        table
            .conclude(&rules(vec![0]))
            .unwrap_err()
            .to_string()
            .contains("`buckets` is 0")
    );
    assert!(
        table
            .conclude(&rules(vec![1; 1025]))
            .unwrap_err()
            .to_string()
            .contains("1025 captured sizes")
    );
}

/// Runs every rank on a thread of its own.
fn on_ranks<R: Send + 'static>(ranks: usize, run: impl Fn(Agreement) -> R + Clone + Send + 'static) -> Vec<R> {
    let exchanges = ThreadExchange::ranks(ranks, Duration::from_secs(10))
        .unwrap()
        .into_iter();
    let start = |exchange| {
        let run = run.clone();
        thread::spawn(move || run(Agreement::new(Arc::new(exchange))))
    };
    let threads: Vec<_> = exchanges.map(start).collect();
    threads.into_iter().map(|rank| rank.join().unwrap()).collect()
}

/// Counts the exchanges that pass through it.
struct Counting<E>(E, std::sync::atomic::AtomicUsize);

impl<E: Exchange> Exchange for Counting<E> {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn limit(&self) -> Duration {
        self.0.limit()
    }

    fn all_gather(&self, words: &[u64]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.all_gather(words)
    }
}

fn gather_of(parts: &[u64]) -> RequestedCollective {
    RequestedCollective {
        operation: Operation::AllGather,
        element: ElementType::BF16,
        rows: parts.iter().sum(),
        columns: 7168,
        parts: parts.to_vec(),
        starts: Vec::new(),
    }
}

#[test]
fn a_step_costs_one_exchange_and_its_sizes_none() {
    let exchanges = ThreadExchange::ranks(3, Duration::from_secs(10)).unwrap().into_iter();
    let run = |exchange: ThreadExchange| {
        let counting = Arc::new(Counting(exchange, 0.into()));
        let agreement = Agreement::new(counting.clone());
        let rank = counting.rank() as u64;
        for step in 0..5 {
            let mine = Sglang8 {
                tokens: 10 * step + rank,
                ..PREFILL
            };
            let conclusion = agreement.tell(&mine, &[]).unwrap().conclude();
            assert_eq!(conclusion.counts, [10 * step, 10 * step + 1, 10 * step + 2]);
            let gather = gather_of(&conclusion.counts);
            agreement.on(&gather).unwrap();
        }
        counting.1.load(std::sync::atomic::Ordering::Relaxed)
    };
    let threads: Vec<_> = exchanges.map(|exchange| thread::spawn(move || run(exchange))).collect();
    for rank in threads {
        assert_eq!(rank.join().unwrap(), 5);
    }
}

#[test]
fn sizes_that_ranks_concluded_differently_are_found_in_the_next_step() {
    let errors = on_ranks(2, |agreement| {
        let step = || agreement.tell(&PREFILL, &[]);
        let conclusion = step().unwrap().conclude();
        // One of them has another configuration.
        let rows = conclusion.counts[0] + agreement.exchange().rank() as u64;
        agreement.on(&gather_of(&[rows, rows])).unwrap();
        step().unwrap_err().to_string()
    });
    let [one, other] = [200, 202].map(|rows| gather_of(&[rows / 2, rows / 2]).to_string());
    assert!(
        errors[0].starts_with(&format!("rank 0 asks for {one} and rank 1 for {other}")),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with(&format!("rank 1 asks for {other} and rank 0 for {one}")),
        "{errors:?}"
    );
}

#[test]
fn ranks_of_different_forms_find_each_other_out() {
    let errors = on_ranks(2, |agreement| match agreement.exchange().rank() {
        0 => agreement.tell(&PREFILL, &[]).unwrap_err().to_string(),
        _ => agreement
            .tell(&six(1, GraphMode::Full, None, false), &[])
            .unwrap_err()
            .to_string(),
    });
    assert!(
        errors[0].contains("rank 1 exchanges in another form than `sglang8`"),
        "{errors:?}"
    );
    assert!(
        errors[1].contains("rank 0 exchanges in another form than `vllm6`"),
        "{errors:?}"
    );
}

#[test]
fn section_9_a_rank_alone_sends_nothing() {
    let exchange = ThreadExchange::ranks(1, Duration::from_secs(1)).unwrap().remove(0);
    let counting = Arc::new(Counting(exchange, 0.into()));
    let table = Agreement::new(counting.clone()).tell(&PREFILL, &[]).unwrap();
    assert_eq!(table.conclude().counts, [100]);
    assert_eq!(counting.1.load(std::sync::atomic::Ordering::Relaxed), 0);
}

proptest! {
    /// What one rank encodes is what all decode, and no count up to the largest of 32 bits wraps.
    #[test]
    fn words_survive_and_conclusions_stay_within_what_ranks_told(
        counts in prop::collection::vec(prop_oneof![0u64..600, Just(u64::from(u32::MAX))], 1..9),
        votes in any::<[bool; 2]>(), parts in 2u64..5,
    ) {
        let ranks: Vec<_> = counts.iter().map(|&tokens| Vllm4 {
            tokens,
            padded: tokens,
            vote: votes[0],
            mode: if votes[1] { GraphMode::Full } else { GraphMode::None },
        }).collect();
        let table = Table::new(&ranks, &[]).unwrap();
        for (rank, told) in ranks.iter().enumerate() {
            prop_assert_eq!(table.encode(rank).unwrap(), told.words());
        }
        let conclusion = table.conclude(parts).unwrap();
        let most = *counts.iter().max().unwrap();
        let equal = ranks.len() > 1 && (conclusion.split || conclusion.mode != GraphMode::None);
        prop_assert_eq!(conclusion.counts, if equal { vec![most; ranks.len()] } else { counts.clone() });
        // No part of a split is empty on the rank with the fewest tokens.
        prop_assert!(!conclusion.split || most / parts * (parts - 1) < *counts.iter().min().unwrap());

        let ranks: Vec<_> = counts.iter().map(|&tokens| six(tokens, GraphMode::Full, None, votes[0])).collect();
        if let Some(conclusion) = concluded6(&ranks, &[]) {
            prop_assert!(conclusion.counts.iter().zip(&counts).all(|(rows, tokens)| rows >= tokens));
        }
    }

    /// Every form reads back what was told, and every rank concludes the same, whatever is true of it.
    #[test]
    fn every_form_survives_and_all_ranks_conclude_the_same(
        counts in prop::collection::vec(prop_oneof![0u64..600, Just(u64::from(u32::MAX))], 1..7),
        votes in prop::collection::vec(any::<[bool; 4]>(), 7), modes in prop::collection::vec(0usize..9, 7),
        prefix in 0u64..=u64::from(u32::MAX), dead in prop::option::of(0usize..7),
    ) {
        const MODES: [SchedulerMode; 9] = [
            SchedulerMode::Extend, SchedulerMode::Decode, SchedulerMode::Mixed, SchedulerMode::Idle,
            SchedulerMode::TargetVerify, SchedulerMode::DraftExtend, SchedulerMode::Prebuilt,
            SchedulerMode::SplitPrefill, SchedulerMode::DiffusionExtend,
        ];
        let each = || counts.iter().copied().zip(&votes).zip(&modes);
        let sglang: Vec<_> = each().map(|((tokens, votes), &mode)| {
            let works = !matches!(MODES[mode], SchedulerMode::Idle | SchedulerMode::Prebuilt);
            Sglang8 {
                tokens: if works { tokens } else { 0 },
                logprob: tokens,
                decode_graph: votes[0],
                extend: votes[1],
                two_batches: votes[2],
                mode: MODES[mode],
                prefill_graph: votes[3],
                longest_prefix: prefix,
            }
        }).collect();
        let tensor_rt: Vec<_> = each().map(|((tokens, votes), &mode)| TensorRt {
            active_requests: tokens,
            active_tokens: prefix,
            batch: mode as u64,
            decode_graph: votes[0],
            tokens,
            context_requests: mode as u64 / 2,
            prefill_graph: votes[3],
        }).collect();
        let first: Vec<_> = each().map(|((tokens, votes), &mode)| Vllm4 {
            tokens,
            padded: tokens,
            vote: votes[0],
            mode: GraphMode::of(mode as u64 % 3),
        }).collect();
        let second: Vec<_> = each().map(|((tokens, votes), &mode)| {
            six(tokens, GraphMode::of(mode as u64 % 3), votes[1].then_some(1), votes[2])
        }).collect();
        let captured = Captured { decode: vec![4, 16], prefill: vec![512], exact: votes[0][0] };
        let rules = Vllm6Rules { buckets: vec![8, 1024], ..Vllm6Rules::default() };
        let dead: Vec<_> = dead.filter(|&rank| counts.len() > 1 && rank < counts.len()).into_iter().collect();
        all_conclude_the_same(&sglang, &dead, |table| table.conclude())?;
        all_conclude_the_same(&tensor_rt, &dead, |table| table.conclude(&captured).unwrap())?;
        all_conclude_the_same(&first, &dead, |table| table.conclude(2).unwrap())?;
        all_conclude_the_same(&second, &dead, |table| table.conclude(&rules).unwrap())?;
    }
}

/// Exchanges on a thread for each rank, of which dead ones come with nothing.
fn all_conclude_the_same<P, C>(
    told: &[P],
    dead: &[usize],
    conclude: impl Fn(&Table<P>) -> C + Sync,
) -> Result<(), TestCaseError>
where
    P: Packed + Sync,
    C: PartialEq + std::fmt::Debug + Send,
{
    let alone = Table::new(told, dead).unwrap();
    for (rank, told) in told.iter().enumerate().filter(|(rank, _)| !dead.contains(rank)) {
        prop_assert_eq!(alone.encode(rank).unwrap(), told.words());
    }
    let exchanges = ThreadExchange::ranks(told.len(), Duration::from_secs(10)).unwrap();
    let concluded: Vec<_> = thread::scope(|scope| {
        let ranks: Vec<_> = exchanges
            .into_iter()
            .zip(told)
            .map(|(exchange, mine)| {
                let conclude = &conclude;
                scope.spawn(move || {
                    let exchange = Losing(exchange, dead.to_vec());
                    conclude(&Agreement::new(Arc::new(exchange)).tell(mine, dead).unwrap())
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    let expected = conclude(&alone);
    prop_assert!(
        concluded.iter().all(|concluded| *concluded == expected),
        "{:?}, alone {:?}",
        concluded,
        expected
    );
    Ok(())
}

/// An exchange that delivers nothing for some ranks, as one over slots of memory does for those that died.
struct Losing(ThreadExchange, Vec<usize>);

impl Exchange for Losing {
    fn limit(&self) -> Duration {
        self.0.limit()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn all_gather(&self, words: &[u64]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let mut all = self.0.all_gather(words)?;
        self.1.iter().for_each(|&rank| all[rank].clear());
        Ok(all)
    }
}
