//! Compilations that never end, in front of launches and behind them.

use std::sync::mpsc::{Sender, channel};

use tilewright_dsl::call::Runtime;

use super::*;
use crate::compile::{Compilation, CompileError, Unended};
use crate::{Event, Tier};

const LIMIT: Duration = Duration::from_millis(30);

#[kernel(grid = [rows])]
fn other(out: &mut Tensor<i32, 2>, rows: Count) {
    out.store([program_id(0), arange(out.extent(1))], 4);
}

/// A compiler that hangs for `place`, as long as what is returned is kept.
fn hanging(device: &Device, unended: &'static Unended, hangs: fn(&str, bool) -> bool) -> Arc<Mutex<Vec<Sender<()>>>> {
    let holds = Arc::new(Mutex::new(Vec::new()));
    let held = holds.clone();
    device.specializer().inject(Arc::new(move |kernel, is_behind| {
        let (hold, wait) = channel::<()>();
        if hangs(kernel, is_behind) {
            held.lock().push(hold);
        } else {
            drop(hold);
        }
        let compilation = Compilation {
            kernel: kernel.to_owned(),
            source: format!("{kernel}, {is_behind}"),
            arguments: Vec::new(),
        };
        let limit = if hangs(kernel, is_behind) { LIMIT } else { LONG };
        unended.within(compilation, limit, move || wait.recv().is_err())?;
        Ok(())
    }));
    holds
}

#[test]
fn a_launch_that_waits_for_one_fails_after_the_limit_and_others_go_on() {
    static UNENDED: Unended = Unended::new();
    let device = tiered();
    let holds = hanging(&device, &UNENDED, |kernel, _| kernel == "place");
    let rows = Rows::on(&device);
    let mut out = Rows::out(&device);
    for _ in 0..3 {
        let error = place(&mut out, &rows.src, Runtime(0), Runtime(3)).launch(&device);
        let error = error.map(drop).expect_err("it is given up");
        assert!(
            matches!(&error, LaunchError::Compile(CompileError::Unended { kernel, .. }) if kernel == "place"),
            "{error}"
        );
        assert!(other(&mut out, Runtime(2)).launch(&device).is_ok());
        settle();
    }
    assert_eq!(UNENDED.count(), 1, "it was begun once");
    // It has ended after all.
    holds.lock().clear();
    let ended = crate::Deadline::after(LONG);
    while UNENDED.count() > 0 && !ended.is_past() {
        std::thread::sleep(Duration::from_millis(1));
    }
    device.specializer().inject(Arc::new(|_, _| Ok(())));
    rows.place(&device, 0, 3, Runtime, as_it_is);
}

#[test]
fn one_behind_is_a_failure_that_is_counted_and_holds_up_no_other() {
    static UNENDED: Unended = Unended::new();
    let device = tiered();
    let holds = hanging(&device, &UNENDED, |kernel, is_behind| kernel == "place" && is_behind);
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = told.clone();
    device.on_event(move |event| {
        if let Event::Failed { error, .. } = event {
            telling.lock().push(error.to_string());
        }
    });
    let rows = Rows::on(&device);
    let mut out = Rows::out(&device);
    for _ in 0..20 {
        let launched = rows.place(&device, 0, 3, Runtime, as_it_is);
        assert_eq!(launched.tier(), Some(Tier::Resident));
        other(&mut out, Runtime(2)).launch(&device).expect("a launch");
        settle();
    }
    let launched = other(&mut out, Runtime(2)).launch(&device).expect("a launch");
    assert_eq!(launched.tier(), Some(Tier::Proved), "the pool goes on");
    let counters = device.counters();
    assert_eq!((counters.failures, counters.waits, UNENDED.count()), (2, 2, 1));
    let told = told.lock();
    assert!(
        told.len() == 2 && told.iter().all(|error| error.contains("does not end")),
        "{told:?}"
    );
    drop(holds);
}

#[test]
fn with_too_many_that_do_not_end_nothing_is_compiled_and_what_is_there_is_launched() {
    static UNENDED: Unended = Unended::new();
    let device = tiered();
    let rows = Rows::on(&device);
    let mut out = Rows::out(&device);
    other(&mut out, Runtime(2)).launch(&device).expect("a launch");
    settle();
    let holds: Vec<_> = (0..4)
        .map(|number| {
            let (hold, wait) = channel::<()>();
            let compilation = Compilation {
                kernel: format!("slow{number}"),
                source: String::new(),
                arguments: Vec::new(),
            };
            assert!(
                UNENDED
                    .within(compilation, LIMIT, move || wait.recv().is_err())
                    .is_err()
            );
            hold
        })
        .collect();
    let _none = hanging(&device, &UNENDED, |_, _| false);
    let error = place(&mut out, &rows.src, Runtime(0), Runtime(3)).launch(&device);
    let error = error.map(drop).expect_err("nothing is compiled");
    assert!(
        matches!(&error, LaunchError::Compile(CompileError::TooManyUnended { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("slow0, slow1, slow2, slow3"), "{error}");
    assert!(
        other(&mut out, Runtime(2))
            .launch(&device)
            .is_ok_and(|launched| !launched.compiled())
    );
    drop(holds);
}
