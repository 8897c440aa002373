//! What serves launches before, during and after something is built behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;
use tilewright_dsl::call::{Exact, Runtime, Specialize};

use super::super::literals::ENOUGH;
use super::*;
use crate::{Event, Tier};

#[test]
fn literals_are_tried_for_tiles_of_every_width() {
    let device = tiered();
    for columns in [COLUMNS, COLUMNS + 3, 2 * COLUMNS] {
        let src = device
            .upload(&vec![1; ROWS * columns], [ROWS, columns])
            .expect("an upload");
        let mut out = device.zeros::<i32, 2>([ROWS, columns]).expect("memory");
        let is_tried = (0..4 * ENOUGH).any(|_| {
            let launched = place(&mut out, &src, Exact(2), Exact(5))
                .launch(&device)
                .expect("a launch");
            settle();
            launched.tier() == Some(Tier::Literal)
        });
        assert!(is_tried, "{columns} columns");
    }
}

#[test]
fn the_resident_variant_serves_at_once_and_better_ones_take_over() {
    let device = tiered();
    let rows = Rows::on(&device);
    let first = rows.place(&device, 2, 5, Exact, as_it_is);
    assert_eq!((first.compiled(), first.tier()), (true, Some(Tier::Resident)));
    settle();
    let second = rows.place(&device, 2, 5, Exact, as_it_is);
    assert_eq!((second.compiled(), second.tier()), (false, Some(Tier::Proved)));
    assert_ne!(second.variant_id(), first.variant_id());
    // The counts come again and again: a class is made, then a variant, then they are measured.
    for _ in 0..2 * ENOUGH {
        rows.place(&device, 2, 5, Exact, as_it_is);
        settle();
    }
    for _ in 0..4 * super::super::trial::SAMPLES {
        rows.place(&device, 2, 5, Exact, as_it_is);
    }
    settle();
    let [measured] = &device.measured()[..] else {
        panic!("{:?}", device.measured())
    };
    assert!(
        measured.kept.is_some() && measured.medians.iter().all(Option::is_some),
        "{measured}"
    );
    assert_eq!(
        measured
            .literals
            .iter()
            .filter(|literal| ["start = 2", "rows = 5"].contains(&&literal[..]))
            .count(),
        2
    );
    let counters = device.counters();
    assert_eq!((counters.waits, counters.failures), (1, 0));
    assert_eq!(
        counters.launches,
        counters.served_resident + counters.served_proved + counters.served_literal
    );
    let kept = u64::from(measured.kept == Some(true));
    assert_eq!((counters.promotions, counters.rejections), (1 + kept, 1 - kept));
    // Unless they are faster, the literals are dropped.
    assert_eq!(counters.variants, 2 + kept);
    assert_eq!(device.variants().len() as u64, counters.variants);
}

#[test]
fn counts_that_come_once_are_no_literals() {
    let device = tiered();
    let rows = Rows::on(&device);
    for start in 0..ROWS as u64 {
        for count in 0..ROWS as u64 {
            rows.place(&device, start, count, Exact, as_it_is);
        }
    }
    settle();
    let counters = device.counters();
    assert_eq!((counters.traces, counters.waits, counters.served_literal), (1, 1, 0));
    assert!(counters.variants <= 4, "{counters:?}");
    assert!(device.measured().is_empty());
}

#[test]
fn launches_go_on_while_something_is_built_and_it_is_built_once() {
    let device = tiered();
    let gate = Gate::before(&device);
    let rows = Rows::on(&device);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for count in 1..50 {
                    let launched = rows.place(&device, 0, count % ROWS as u64, Runtime, as_it_is);
                    assert_eq!(launched.tier().unwrap_or(Tier::Resident), Tier::Resident);
                }
            });
        }
    });
    assert_eq!(gate.waited.load(SeqCst), 1, "the resident one");
    gate.open();
    settle();
    assert_eq!(gate.behind.load(SeqCst), 1, "that for counts which fit");
    assert_eq!(rows.place(&device, 0, 4, Runtime, as_it_is).tier(), Some(Tier::Proved));
}

#[test]
fn two_hundred_threads_launch_one_cold_kernel_and_it_is_built_once() {
    for specialize in [Specialize::Tiered, Specialize::Exact, Specialize::Resident] {
        let device = Device::cpu();
        device.set_specialize(specialize);
        let gate = Gate::before(&device);
        gate.open();
        let rows = Rows::on(&device);
        rows.place_from_two_hundred_threads(&device, Exact);
        settle();
        assert_eq!(gate.waited.load(SeqCst), 1, "{specialize:?}");
        assert!(gate.behind.load(SeqCst) <= 2, "{specialize:?}");
        let counters = device.counters();
        assert_eq!((counters.launches, counters.traces), (200, 1));
        assert!(counters.waits >= 1 && counters.waits <= 200);
    }
}

#[test]
fn threads_launch_different_cold_kernels_at_once_and_each_is_built_once() {
    const THREADS: usize = 16;
    const WIDTHS: usize = 6;
    for specialize in [Specialize::Tiered, Specialize::Exact] {
        let device = tiered();
        device.set_specialize(specialize);
        let gate = Gate::before(&device);
        gate.open();
        let start = std::sync::Barrier::new(THREADS);
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (device, start) = (&device, &start);
                scope.spawn(move || {
                    let tensor = |width| device.zeros::<i32, 2>([ROWS, width]).expect("memory");
                    start.wait();
                    // Every thread in another order, so that each waits for others at some time.
                    for step in 0..2 * WIDTHS {
                        let kind = (step + number) % (2 * WIDTHS);
                        let (width, mut out) = (1 + kind / 2, tensor(1 + kind / 2));
                        let launched = match kind % 2 {
                            0 => fill(&mut out, Runtime(0), Runtime(2), 7).launch(device),
                            _ => place(&mut out, &tensor(width), Runtime(0), Runtime(2)).launch(device),
                        };
                        launched.expect("a launch");
                    }
                });
            }
        });
        settle();
        assert_eq!(gate.waited.load(SeqCst), 2 * WIDTHS, "{specialize:?}");
        let counters = device.counters();
        assert_eq!(
            (counters.launches, counters.failures),
            ((THREADS * 2 * WIDTHS) as u64, 0)
        );
        assert_eq!(
            counters.compiles, counters.variants,
            "{specialize:?}: none is built twice"
        );
    }
}

#[test]
fn results_are_the_same_while_variants_are_swapped_under_load() {
    let device = tiered();
    let rows = Rows::on(&device);
    let is_over = AtomicBool::new(false);
    let launches = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..4 {
            let (rows, device, is_over, launches) = (&rows, &device, &is_over, &launches);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                while !is_over.load(SeqCst) {
                    // Few counts, so that they repeat.
                    rows.place(device, random.u64(0..4), random.u64(0..3) * 10, Exact, as_it_is);
                    launches.fetch_add(1, SeqCst);
                }
            });
        }
        let started = Instant::now();
        for limit in [1, 3, 2, 64, 1, 5].into_iter().cycle() {
            device.set_code_limits(crate::CodeLimits {
                variants: limit,
                bytes: u64::MAX,
            });
            thread::sleep(Duration::from_millis(50));
            let counters = device.counters();
            let all_seen = counters.evictions > 3 && counters.served_proved > 0 && counters.served_literal > 0;
            if all_seen && started.elapsed() > Duration::from_millis(500) || started.elapsed() > LONG {
                break;
            }
        }
        is_over.store(true, SeqCst);
    });
    settle();
    let counters = device.counters();
    assert_eq!(counters.launches, launches.load(SeqCst), "none is lost");
    assert!(counters.evictions > 0 && counters.served_proved > 0, "{counters:?}");
    assert!(
        (1..=4).contains(&counters.waits) && counters.failures == 0,
        "{counters:?}"
    );
}

#[test]
fn what_cannot_be_built_behind_is_reported_and_not_tried_for_ever() {
    for panics in [false, true] {
        let device = tiered();
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = attempts.clone();
        device.specializer().inject(Arc::new(move |kernel, is_behind| {
            if !is_behind {
                return Ok(());
            }
            counted.fetch_add(1, SeqCst);
            assert!(!panics, "a panic that the test wants");
            let reason = "a failure that the test wants".to_owned();
            assert_eq!(kernel, "place");
            Err(LaunchError::WrongArguments {
                kernel: "place",
                reason,
            })
        }));
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = told.clone();
        device.on_event(move |event| {
            if let Event::Failed { kernel, error } = event {
                telling.lock().push(format!("{kernel}: {error}"));
            }
        });
        let rows = Rows::on(&device);
        for _ in 0..20 {
            assert_eq!(
                rows.place(&device, 0, 5, Runtime, as_it_is).tier(),
                Some(Tier::Resident)
            );
            settle();
        }
        assert_eq!(attempts.load(SeqCst), 2);
        let counters = device.counters();
        assert_eq!((counters.failures, counters.waits, counters.variants), (2, 1, 1));
        let told = told.lock();
        assert!(told.len() == 2 && told[0].contains("that the test wants"), "{told:?}");
    }
}

#[test]
fn a_launch_can_say_itself_what_it_waits_for_and_a_kernel_too() {
    let device = tiered();
    let rows = Rows::on(&device);
    let exact = rows.place(&device, 0, 5, Exact, |call| call.specialize(Specialize::Exact));
    assert_eq!((exact.tier(), exact.compiled()), (Some(Tier::Literal), true));
    let resident = rows.place(&device, 0, 5, Exact, |call| call.specialize(Specialize::Resident));
    assert_eq!((resident.tier(), resident.compiled()), (Some(Tier::Resident), true));
    assert_ne!(exact.variant_id(), resident.variant_id());
    settle();
    assert_eq!(device.counters().variants, 2, "nothing was asked for behind");

    device.set_specialize_for(&place::definition(), Specialize::Resident);
    for _ in 0..3 {
        assert_eq!(
            rows.place(&device, 0, 5, Runtime, as_it_is).tier(),
            Some(Tier::Resident)
        );
        settle();
    }
    assert_eq!(device.counters().promotions, 0);
    let mut out = Rows::out(&device);
    for expected in [Tier::Resident, Tier::Proved] {
        let launched = fill(&mut out, Runtime(1), Runtime(2), 7)
            .launch(&device)
            .expect("a launch");
        assert_eq!(launched.tier(), Some(expected), "another kernel");
        settle();
    }
    device.set_specialize_for(&place::definition(), Specialize::Exact);
    assert_eq!(rows.place(&device, 0, 5, Exact, as_it_is).tier(), Some(Tier::Literal));
}

#[test]
fn what_a_kernels_author_wrote_comes_before_what_the_device_does_for_all() {
    #[kernel(grid = [rows], specialize = "resident")]
    fn settled(out: &mut Tensor<i32, 2>, rows: Count) {
        out.store([program_id(0), arange(out.extent(1))], 1);
    }

    let device = tiered();
    let mut out = Rows::out(&device);
    let mut served = |with: fn(Call<'_>) -> Call<'_>| {
        let tiers: Vec<_> = (0..2)
            .map(|_| {
                let launched = with(settled(&mut out, Exact(5))).launch(&device).expect("a launch");
                settle();
                launched.tier().expect("programs")
            })
            .collect();
        tiers[1]
    };
    assert_eq!(served(as_it_is), Tier::Resident);
    assert_eq!(served(|call| call.specialize(Specialize::Exact)), Tier::Literal);
    let beside: fn(Call<'_>) -> Call<'_> = |call| Call::fuse([call]);
    assert_eq!(served(beside), Tier::Resident, "fused ones ask for what they agree on");
    device.set_specialize(Specialize::Exact);
    assert_eq!(served(as_it_is), Tier::Resident);
    device.set_specialize_for(&settled::definition(), Specialize::Tiered);
    assert_eq!(served(as_it_is), Tier::Proved, "the device was told for this kernel");
    assert_eq!(served(beside), Tier::Proved);
    assert_eq!(served(|call| call.specialize(Specialize::Resident)), Tier::Resident);
}

#[test]
fn fused_kernels_that_want_different_things_get_what_the_device_does_for_all() {
    #[kernel(grid = [1], specialize = "exact")]
    fn one(out: &mut Tensor<i32, 1>) {
        out.store([0], 1);
    }
    #[kernel(grid = [1], specialize = "resident")]
    fn other(out: &mut Tensor<i32, 1>) {
        out.store([0], 2);
    }
    let device = tiered();
    let line = || device.zeros::<i32, 1>([1]).expect("memory");
    let [mut a, mut b] = [line(), line()];
    let specialize = |call: &Call<'_>| device.specializer().specialize(call);
    assert_eq!(
        specialize(&Call::fuse([one(&mut a), other(&mut b)])),
        Specialize::Tiered
    );
    assert_eq!(specialize(&Call::fuse([one(&mut a), one(&mut b)])), Specialize::Exact);
    device.set_specialize_for(&other::definition(), Specialize::Exact);
    assert_eq!(specialize(&Call::fuse([one(&mut a), other(&mut b)])), Specialize::Exact);
}

#[test]
fn a_device_that_is_gone_wants_nothing_that_was_asked_for() {
    let device = tiered();
    let gate = Gate::before(&device);
    let rows = Rows::on(&device);
    rows.place(&device, 0, 5, Runtime, as_it_is);
    drop((rows, device));
    gate.open();
    settle();
}

#[test]
fn hooks_are_told_once_of_each_thing_and_in_order() {
    let device = tiered();
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = told.clone();
    device.on_event(move |event| {
        let (what, id) = match event {
            Event::Built {
                variant,
                waited,
                origin: None,
            } => (format!("built, waited {waited}"), Some(variant.id())),
            Event::Launched { variant, tier, .. } => (
                format!(
                    "launched, {}",
                    tier.map_or("nothing".to_owned(), |tier| tier.to_string())
                ),
                variant.map(|variant| variant.id()),
            ),
            Event::Promoted { variant, tier } => (format!("promoted, {tier}"), Some(variant.id())),
            other => panic!("{other:?}"),
        };
        telling.lock().push((what, id));
    });
    let rows = Rows::on(&device);
    let first = rows.place(&device, 0, 5, Runtime, as_it_is);
    settle();
    let second = rows.place(&device, 0, 5, Runtime, as_it_is);
    rows.place(&device, 0, 0, Runtime, as_it_is);
    let [first, second] = [first, second].map(|launched| launched.variant_id());
    let mut told = told.lock().clone();
    // The launch and what is built behind it are in two threads.
    let launch = told
        .iter()
        .position(|(what, _)| what == "launched, resident")
        .expect("a launch");
    let launch = told.remove(launch);
    assert_eq!(launch.1, first);
    let expected = [
        ("built, waited true", first),
        ("built, waited false", second),
        ("promoted, proved", second),
        ("launched, proved", second),
        ("launched, nothing", None),
    ];
    assert_eq!(told, expected.map(|(what, id)| (what.to_owned(), id)));
}

#[test]
fn what_is_built_behind_gives_way_to_launches_that_wait() {
    let device = tiered();
    let rows = Rows::on(&device);
    rows.place(&device, 2, 5, Exact, |call| call.specialize(Specialize::Resident));
    let [waiting, behind, may_go] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
    let injected = {
        let (waiting, behind, may_go) = (waiting.clone(), behind.clone(), may_go.clone());
        move |kernel: &str, is_behind: bool| {
            match is_behind {
                true => behind.store(true, SeqCst),
                false if kernel == "fill" => {
                    waiting.store(true, SeqCst);
                    let begin = Instant::now();
                    while !may_go.load(SeqCst) && begin.elapsed() < LONG {
                        thread::yield_now();
                    }
                }
                false => {}
            }
            Ok(())
        }
    };
    device.specializer().inject(Arc::new(injected));
    thread::scope(|scope| {
        let launch = scope.spawn(|| {
            let mut out = Rows::out(&device);
            fill(&mut out, Exact(0), Exact(3), 7).launch(&device).map(drop)
        });
        while !waiting.load(SeqCst) {
            thread::yield_now();
        }
        rows.place(&device, 2, 5, Exact, as_it_is);
        thread::sleep(Duration::from_millis(100));
        assert!(!behind.load(SeqCst), "a launch waits");
        may_go.store(true, SeqCst);
        launch.join().expect("no panic").expect("a launch");
    });
    settle();
    assert!(behind.load(SeqCst), "none waits any more");
    assert_eq!(rows.place(&device, 2, 5, Exact, as_it_is).tier(), Some(Tier::Proved));
}
