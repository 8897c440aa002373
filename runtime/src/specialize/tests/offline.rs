//! Devices whose GPU is not here.
//!
//! What a launch asks a compiler for is found out by serving it as a GPU would, into a bundle of its own.

use tilewright_dsl::call::{Argument, Exact, HostCount, Runtime};
use tilewright_testing::Part;

use super::*;
use crate::cache::{Bundle, BundleBuilder, CubinKey};
use crate::compile::{Architecture, Nvrtc};
use crate::{CountPolicy, Target};

/// More than the programs of every schedule.
const MOST: u64 = 2500;
const TARGETS: [Target; 2] = [
    Target::new(Architecture::new(9, 0), 132),
    Target::new(Architecture::new(8, 0), 108),
];

/// Tensors of an offline device, of rows that begin at a multiple of some elements.
struct Stand {
    device: Device,
    bundle: BundleBuilder,
    out: DeviceTensor<i32, 2>,
    src: DeviceTensor<i32, 2>,
}

impl Stand {
    fn new(target: Target, columns: usize) -> Self {
        let bundle = BundleBuilder::new();
        let device = bundle.device(target);
        let zeros = || device.zeros([MOST as usize, columns]).expect("memory");
        let (out, src) = (zeros(), zeros());
        Self {
            device,
            bundle,
            out,
            src,
        }
    }

    fn place<C>(&mut self, start: C, rows: C, with: fn(Call<'_>) -> Call<'_>) -> (Call<'_>, &Device)
    where
        C: for<'a> Argument<'a, Count>,
    {
        (with(place(&mut self.out, &self.src, start, rows)), &self.device)
    }

    /// What serves these launches is built, as on a GPU.
    fn serve<C>(&mut self, starts: &[u64], rows: &[u64], bind: fn(u64) -> C, with: fn(Call<'_>) -> Call<'_>)
    where
        C: for<'a> Argument<'a, Count>,
    {
        // What is asked for while something else for the same conditions is under way is asked for by a later launch.
        for _ in 0..2 {
            for &start in starts {
                for &rows in rows {
                    let (call, device) = self.place(bind(start), bind(rows), with);
                    device.specializer().serve(&call).expect("it is served");
                }
            }
            settle();
        }
    }

    fn keys(&self) -> Vec<CubinKey> {
        self.bundle.keys()
    }
}

fn has_nvrtc() -> bool {
    Part::Nvrtc.or_skip(Nvrtc::load()).is_some()
}

#[test]
fn a_warm_up_compiles_exactly_what_launches_of_the_range_ask_for() {
    if !has_nvrtc() {
        return;
    }
    let all: Vec<u64> = (1..=MOST).collect();
    for (target, columns) in TARGETS.into_iter().zip([3, 64]) {
        let mut warm = Stand::new(target, columns);
        let (call, device) = warm.place(Runtime(7), Runtime(20), |call| call);
        device
            .warm_up([call], &CountPolicy::Runtime, 1..=MOST, |_| {})
            .expect("a warm-up");
        let mut served = Stand::new(target, columns);
        served.serve(&[7], &all, Runtime, |call| call);
        served.serve(&all, &[20], Runtime, |call| call);
        // The first launch of a server makes the resident variant of its class, for however many programs it has.
        for rows in all.iter().take(40).chain(all.iter().step_by(11)) {
            served.device = served.bundle.device(target);
            served.serve(&[7], &[*rows], Runtime, |call| call.specialize(Specialize::Resident));
        }
        assert_eq!(warm.keys(), served.keys(), "{target:?}");
        assert!(warm.keys().len() > 2, "launches of many programs have other schedules");
    }
}

#[test]
fn a_launch_compiles_exactly_what_serves_it_and_runs_nothing() {
    if !has_nvrtc() {
        return;
    }
    let sizes = [1, 20, 133, 700, MOST];
    let asks: [fn(Call<'_>) -> Call<'_>; 3] = [
        |call| call,
        |call| call.specialize(Specialize::Exact),
        |call| call.specialize(Specialize::Resident),
    ];
    for with in asks {
        let [mut launched, mut served] = [3, 3].map(|columns| Stand::new(TARGETS[0], columns));
        for rows in sizes {
            let (call, device) = launched.place(Exact(0), Exact(rows), with);
            let launch = call.launch(device).expect("a launch");
            assert!(launch.variant().is_none() && launch.programs() == 0, "nothing runs");
        }
        // Each as a server's first launch, whose resident variant is its own.
        for rows in sizes {
            served.device = served.bundle.device(TARGETS[0]);
            served.serve(&[0], &[rows], Exact, with);
        }
        assert_eq!(launched.keys(), served.keys());
        let bundle = Bundle::from_bytes(launched.bundle.to_bytes().expect("bytes")).expect("a bundle");
        for stored in bundle.cubins().expect("whole") {
            assert_eq!(stored.cubin.architecture, TARGETS[0].architecture);
        }
    }
}

#[test]
fn launches_by_a_place_that_knows_its_class_are_compiled_too() {
    if !has_nvrtc() {
        return;
    }
    let [mut plain, mut prepared, mut bound] = [(); 3].map(|()| Stand::new(TARGETS[0], 64));
    let (call, device) = bound.place(Runtime(0), Runtime(1), |call| call);
    let mut by_counts = device.bind(call).expect("bound");
    let (call, device) = prepared.place(Runtime(0), Runtime(1), |call| call);
    let mut by_class = device.prepare(&call).expect("prepared");
    for rows in [1, 133, 700, MOST] {
        let (call, device) = plain.place(Runtime(0), Runtime(rows), |call| call);
        call.launch(device).expect("a launch");
        let (call, _) = prepared.place(Runtime(0), Runtime(rows), |call| call);
        by_class.launch(call).expect("a launch");
        by_counts.launch(&[0, rows]).expect("a launch");
    }
    assert!(plain.keys().len() > 2);
    assert_eq!(plain.keys(), prepared.keys());
    assert_eq!(plain.keys(), bound.keys());
}

#[test]
fn the_literals_of_a_policy_are_in_the_bundle_and_no_others() {
    if !has_nvrtc() {
        return;
    }
    let policy = CountPolicy::Buckets(vec![16, 32]);
    let keys = |policy: &CountPolicy| {
        let mut stand = Stand::new(TARGETS[0], 3);
        let (call, device) = stand.place(HostCount::Runtime(0), HostCount::Runtime(7), |call| call);
        device.warm_up([call], policy, 1..=40, |_| {}).expect("a warm-up");
        stand.keys()
    };
    let (none, some) = (keys(&CountPolicy::Runtime), keys(&policy));
    let mut exact = Stand::new(TARGETS[0], 3);
    for bucket in [16, 32] {
        for (start, rows) in [
            (HostCount::Runtime(0), HostCount::Exact(bucket)),
            (HostCount::Exact(bucket), HostCount::Runtime(7)),
        ] {
            let (call, device) = exact.place(start, rows, |call| call.specialize(Specialize::Exact));
            call.launch(device).expect("a launch");
        }
    }
    let mut expected = [none, exact.keys()].concat();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(some, expected);
}

#[test]
fn what_cannot_be_launched_or_compiled_is_an_error_of_the_launch() {
    let mut stand = Stand::new(Target::new(Architecture::new(1, 0), 1), 3);
    let cpu = Device::cpu();
    let (call, device) = stand.place(Exact(0), Exact(1), |call| call);
    assert_eq!(device.to_string(), "an offline sm_10 of 1 multiprocessors");
    let error = call.launch(device).expect_err("no such GPU").to_string();
    assert!(error.contains("sm_10"), "{error}");
    assert!(stand.bundle.is_empty());
    assert!(cpu.target().is_none() && cpu.name() == "CPU");
}
