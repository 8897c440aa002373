//! What a launch allocates whose counts were never seen.

use tilewright_dsl::call::{Exact, HostCount, Runtime};
use tilewright_testing::{CountingAllocator, allocations};

use super::*;

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

#[test]
fn planning_a_launch_allocates_nothing_whatever_its_counts() {
    for bind in [|count| HostCount::Runtime(count), HostCount::Exact] {
        let device = tiered();
        let rows = Rows::on(&device);
        let mut out = Rows::out(&device);
        let range = 0..=2 * ROWS as u64;
        let call = place(&mut out, &rows.src, bind(0), bind(1));
        let mut random = fastrand::Rng::with_seed(9);
        let mut site = device.specializer().site(&call).expect("a class");
        let mut plan = |call: Call<'_>| {
            let call = call.with_count(2, bind(random.u64(range.clone())));
            let call = call.with_count(3, bind(random.u64(range.clone())));
            let before = allocations();
            crate::launch::check(&call, &device).expect("right arguments");
            let plan = device.specializer().plan(&call, &|| Ok(false)).expect("a plan");
            let check = || crate::launch::check(&call, &device);
            assert!(site.admits(&call, device.hardware(), check).expect("right arguments"));
            let prepared = device
                .specializer()
                .plan_at(&mut site, &call, &|| Ok(false))
                .expect("a plan");
            assert_eq!(plan.grid, prepared.grid);
            drop((plan, prepared));
            allocations() - before
        };
        // Every set of conditions comes up.
        for _ in 0..200 {
            plan(call.clone());
        }
        settle();
        plan(call.clone());
        let allocations: u64 = (0..10_000).map(|_| plan(call.clone())).sum();
        // A pair of counts that comes often enough has its literals tried, which is what allocates; few do here.
        match bind(1) {
            HostCount::Runtime(_) => assert_eq!(allocations, 0),
            HostCount::Exact(_) => assert!(allocations < 1000, "{allocations}"),
        }
    }
}

#[test]
fn planning_a_launch_of_one_tier_allocates_nothing() {
    let device = tiered();
    let rows = Rows::on(&device);
    let mut out = Rows::out(&device);
    for specialize in [
        tilewright_dsl::call::Specialize::Resident,
        tilewright_dsl::call::Specialize::Exact,
    ] {
        let call = place(&mut out, &rows.src, Exact(1), Runtime(2)).specialize(specialize);
        let plan = || {
            device
                .specializer()
                .plan(&call, &|| Ok(false))
                .map(drop)
                .expect("a plan")
        };
        plan();
        let before = allocations();
        (0..100).for_each(|_| plan());
        assert_eq!(allocations(), before, "{specialize:?}");
    }
}
