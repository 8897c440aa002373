//! Launches that must not wait.

use tilewright_dsl::call::{Exact, HostCount, Runtime, Specialize};

use super::*;
use crate::{CodeLimits, CountPolicy, Progress};

/// As wide a tile as a count says.
#[kernel(grid = [1])]
fn wide(out: &mut Tensor<i32, 1>, width: Count) {
    out.store([arange(width)], 5);
}

/// So many counts that their mixes are too many to be tried.
#[kernel(grid = [counts[0]])]
fn many(out: &mut Tensor<i64, 1>, counts: [Count; 6]) {
    let mut sum = counts[0];
    for count in 1..6 {
        sum = sum * 10 + counts[count];
    }
    out.store([program_id(0)], sum);
}

#[test]
fn a_sealed_device_refuses_what_was_not_warmed_up_and_says_what_differs() {
    let device = tiered();
    let rows = Rows::on(&device);
    rows.place(&device, 0, 3, Runtime, as_it_is);
    settle();
    device.seal();
    for count in 0..ROWS as u64 {
        rows.place(&device, count, count, Runtime, as_it_is);
    }
    settle();
    let wider = device.zeros::<i32, 2>([ROWS, 7]).expect("memory");
    let mut out = device.zeros::<i32, 2>([ROWS, 7]).expect("memory");
    let launch = |out: &mut DeviceTensor<i32, 2>, rows| place(out, &wider, Runtime(0), Runtime(rows)).launch(&device);
    let Err(error) = launch(&mut out, 3) else {
        panic!("it is refused")
    };
    let LaunchError::Sealed { kernel, key, nearest } = &error else {
        panic!("{error}")
    };
    assert_eq!(*kernel, "place");
    assert!(key.contains("literal out.extent(1) = 7"), "{key}");
    let nearest = nearest.as_deref().expect("the class of other rows");
    assert!(
        nearest.contains("here literal out.extent(1) = 7") && nearest.contains("there literal out.extent(1) = 3"),
        "{nearest}"
    );
    assert!(error.to_string().contains("warm such a call up before `seal()`"));
    assert!(launch(&mut out, 0).is_ok(), "no programs, no variant");
    let error = fill(&mut out, Runtime(0), Runtime(1), 1)
        .launch(&device)
        .expect_err("another kernel");
    assert!(
        error.to_string().contains("nothing of this kernel was warmed up"),
        "{error}"
    );
    assert_eq!(device.counters().waits, 1);

    device.unseal();
    assert!(launch(&mut out, 3).is_ok_and(|launched| launched.compiled()));
}

#[test]
fn a_launch_into_a_graph_is_sealed_by_itself() {
    let device = tiered();
    let rows = Rows::on(&device);
    let mut out = Rows::out(&device);
    let call = place(&mut out, &rows.src, Runtime(0), Runtime(3));
    let plan = |is_capturing: bool| device.specializer().plan(&call, &move || Ok(is_capturing));
    assert!(matches!(plan(true), Err(LaunchError::Sealed { .. })));
    assert!(plan(false).is_ok() && plan(true).is_ok());
}

#[test]
fn what_is_built_already_under_another_name_is_no_reason_to_refuse() {
    #[kernel(grid = [rows])]
    fn labelled(out: &mut Tensor<i32, 2>, rows: Count, #[comptime] _label: usize) {
        out.store([program_id(0), arange(out.extent(1))], 1);
    }

    let device = tiered();
    let mut out = Rows::out(&device);
    labelled(&mut out, Runtime(3), 0).launch(&device).expect("a launch");
    device.seal();
    // A class of its own, with the same resident variant.
    labelled(&mut out, Runtime(3), 1).launch(&device).expect("it is there");
    assert_eq!(device.counters().traces, 2);
}

#[test]
fn random_batches_after_a_warm_up_wait_for_nothing_and_need_no_more_than_the_keys() {
    let policies = [
        CountPolicy::Runtime,
        CountPolicy::ExactUpTo(4),
        CountPolicy::Buckets(vec![8, 16, 24]),
        CountPolicy::MultipleOf(6),
        CountPolicy::Exact,
    ];
    for policy in &policies {
        let device = tiered();
        let rows = Rows::on(&device);
        let mut out = Rows::out(&device);
        let mut seen = Vec::new();
        let calls = [place(&mut out, &rows.src, policy.bind(0), policy.bind(1))];
        let warmed = device
            .warm_up(calls, policy, 0..=ROWS as u64, |progress: Progress| seen.push(progress))
            .expect("it is warmed up");
        assert_eq!(seen.len(), warmed.keys);
        assert!(
            seen.iter()
                .enumerate()
                .all(|(at, step)| step.done == at + 1 && step.all == warmed.keys)
        );
        let before = device.counters();
        assert_eq!((warmed.built, before.waits, before.launches), (before.variants, 0, 0));
        device.seal();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1000 {
            let (start, count) = (random.u64(0..ROWS as u64), random.u64(0..=ROWS as u64));
            place(&mut out, &rows.src, policy.bind(start), policy.bind(count))
                .launch(&device)
                .expect("nothing is missing");
        }
        settle();
        let after = device.counters();
        assert_eq!((after.waits, after.failures), (0, 0), "{policy:?}");
        // Of two counts one shapes the code: the other sizes the grid. Sets of conditions are at most four.
        let reachable = policy.key_count(0..=ROWS as u64);
        println!(
            "{policy:?}: {} binaries, {} of them warmed up, of {reachable} keys of each count; {} with sets of conditions",
            after.variants, warmed.built, warmed.keys
        );
        assert_eq!(after.variants, device.variants().len() as u64);
        assert!(
            warmed.built <= after.variants && warmed.keys as u64 <= 2 * reachable + 4,
            "{policy:?}"
        );
        assert!(after.variants <= 2 * reachable + 4, "{policy:?}: {after:?}");
    }
}

#[test]
fn exact_counts_are_warmed_up_without_their_literals() {
    let warmed = |bind: fn(u64) -> HostCount| {
        let device = tiered();
        let rows = Rows::on(&device);
        let mut out = Rows::out(&device);
        let calls = [place(&mut out, &rows.src, bind(0), bind(1))];
        device
            .warm_up(calls, &CountPolicy::Runtime, 0..=ROWS as u64, |_| {})
            .expect("it is warmed up");
        let built = device.variants().len();
        device.seal();
        for count in 0..=ROWS as u64 {
            for (start, count) in [(0, count), (count, 1)] {
                place(&mut out, &rows.src, bind(start), bind(count))
                    .launch(&device)
                    .expect("nothing is missing");
            }
        }
        settle();
        let counters = device.counters();
        assert_eq!((counters.waits, counters.failures, counters.promotions), (0, 0, 0));
        assert_eq!(device.variants().len(), built, "all that one count reaches was there");
        built
    };
    // The call itself has literals, as its launch might.
    assert_eq!(warmed(HostCount::Exact), warmed(HostCount::Runtime) + 1);
}

#[test]
fn no_mix_of_exact_counts_and_others_is_analysed_by_a_launch() {
    let device = tiered();
    let mut out = device.zeros::<i64, 1>([4]).expect("memory");
    let bind = |mix: u32| {
        std::array::from_fn(|at| {
            let count = 1 + at as u64 % 3;
            if mix >> at & 1 == 1 {
                HostCount::Exact(count)
            } else {
                HostCount::Runtime(count)
            }
        })
    };
    many(&mut out, bind(0)).launch(&device).expect("a launch");
    settle();
    device.seal();
    let classes = device.specializer().classes();
    for mix in 0..1 << 6 {
        let launched = many(&mut out, bind(mix)).launch(&device).expect("nothing is missing");
        assert!(!launched.compiled());
        assert_eq!(out.download().expect("a download"), [123_123, 0, 0, 0]);
    }
    settle();
    assert_eq!((device.specializer().classes(), device.counters().traces), (classes, 1));
}

#[test]
fn a_count_that_shapes_a_tile_has_to_be_exact_whatever_was_launched_before() {
    let device = tiered();
    let mut line = device.zeros::<i32, 1>([8]).expect("memory");
    for _ in 0..2 {
        let error = wide(&mut line, Runtime(4)).launch(&device).expect_err("no width");
        assert!(error.to_string().contains("does not bind as `Exact`"), "{error}");
        wide(&mut line, Exact(4)).launch(&device).expect("a width");
    }
    let mut prepared = device.prepare(&wide(&mut line, Exact(4))).expect("a class");
    let error = prepared.launch(wide(&mut line, Runtime(4))).expect_err("another class");
    assert!(matches!(error, LaunchError::OtherClass { .. }), "{error}");
    assert!(prepared.launch(wide(&mut line, Exact(4))).is_ok());
}

#[test]
fn a_warm_up_refuses_more_keys_than_are_kept() {
    let device = tiered();
    device.set_code_limits(CodeLimits {
        variants: 20,
        bytes: u64::MAX,
    });
    let rows = Rows::on(&device);
    let mut out = Rows::out(&device);
    let calls = [place(&mut out, &rows.src, Exact(0), Exact(1))];
    let error = device
        .warm_up(calls, &CountPolicy::Exact, 0..=u64::MAX, |_| {})
        .expect_err("too many");
    assert!(matches!(error, LaunchError::TooManyKeys { most: 20, .. }), "{error}");
    rows.place(&device, 0, 3, Runtime, as_it_is);
}

#[test]
fn each_width_of_a_tile_is_a_class_that_a_warm_up_can_list() {
    let device = tiered();
    let mut line = device.zeros::<i32, 1>([8]).expect("memory");
    device
        .warm_up([wide(&mut line, Exact(1))], &CountPolicy::Exact, 1..=8, |_| {})
        .expect("it is warmed up");
    device.seal();
    for width in 1..=8 {
        wide(&mut line, Exact(width)).launch(&device).expect("it is there");
    }
    let error = wide(&mut line, Exact(9))
        .launch(&device)
        .expect_err("beyond the range")
        .to_string();
    assert!(error.contains("here literal width = 9"), "{error}");
    let error = wide(&mut line, Exact(9))
        .specialize(Specialize::Exact)
        .launch(&device)
        .expect_err("the same")
        .to_string();
    assert!(error.contains("here literal width = 9"), "{error}");
}
