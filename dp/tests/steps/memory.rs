//! Sections 6 and 8.2: symmetric memory, and padding only where it is needed.

use tilewright_dp::plan::micro::{Micro, TwoBatch};
use tilewright_dp::plan::{AllToAll, Form, ModeReason, Padding, Plan, Profile, ReduceWorkspace, Request};

use crate::all;

#[test]
fn section_6_what_may_come_from_symmetric_memory() {
    let symmetric = |request: Request| {
        let request = Request {
            symmetric: true,
            ..request
        };
        Plan::new(&request).unwrap().symmetric().unwrap()
    };
    assert!(symmetric(all(&[8, 8])).step, "S1");
    let packed = symmetric(Request {
        extend: true,
        ..all(&[100, 3])
    });
    assert!(!packed.step && !packed.gather && !packed.logits, "S2");
    let equal = symmetric(Request {
        extend: true,
        ..all(&[64, 64])
    });
    assert_eq!((equal.step, equal.gather), (false, true), "S3");
    let alone = symmetric(Request {
        attn_tp: 8,
        ..all(&[5])
    });
    assert!(alone.step, "S4");
    assert!(!symmetric(all(&[5])).step, "nobody to share with");
    // Halves that each rank cuts where it likes are packed.
    let halves = symmetric(Request {
        micro: Some(Micro::Tbo(TwoBatch::default())),
        ..all(&[9, 8])
    });
    assert!(!halves.step && !halves.gather && !halves.logits);
    assert_eq!(
        Plan::new(&all(&[8, 8])).unwrap().symmetric(),
        None,
        "the feature is off"
    );

    let mut made = ReduceWorkspace::of_elements(2);
    assert_eq!((made.grow(10 << 20), made.bytes()), (Ok(false), 48 << 20), "S5");
    assert_eq!((made.grow(20 << 20), made.bytes()), (Ok(true), 72 << 20), "S5");
    let mut of_need = ReduceWorkspace::of_need(10).unwrap();
    assert_eq!(
        (of_need.bytes(), of_need.grow(11), of_need.bytes()),
        (30, Ok(true), 24 << 20)
    );
    assert!(of_need.grow(u64::MAX).is_err() && ReduceWorkspace::of_need(u64::MAX).is_err());
}

#[test]
fn section_8_2_plans_pad_where_something_needs_it() {
    let plan = |request: Request, padding| {
        let plan = Plan::new(&Request { padding, ..request }).unwrap();
        let sizes = plan.sizes().unwrap();
        (plan.layout().rows(), sizes.form(), plan.reason())
    };
    let prefill = |raw: &[u64]| Request {
        extend: true,
        ..all(raw)
    };
    for profile in Profile::ALL {
        let of = |request| Request { profile, ..request };
        let p1 = plan(of(prefill(&[900, 40, 0])), Padding::WhenNeeded);
        assert_eq!(p1, (940, Form::Broadcasts(3), ModeReason::TrueSizes), "P1 {profile}");
        let p1 = plan(of(prefill(&[900, 40, 0])), Padding::Always);
        assert_eq!(p1, (2700, Form::Plain, ModeReason::AlwaysPadded), "P1 {profile}");
        let p3 = plan(of(prefill(&[64, 64])), Padding::WhenNeeded);
        assert_eq!(p3, (128, Form::Plain, ModeReason::Equal), "P3 {profile}");
    }
    let graph = Request {
        graph_ok: true,
        graph_buckets: Some(vec![8, 16]),
        ..all(&[5, 8, 3])
    };
    assert_eq!(
        plan(graph, Padding::WhenNeeded),
        (24, Form::Plain, ModeReason::Captured),
        "P2"
    );
    // Decode pads too where nothing is agreed on, by the rules and not when it need not.
    assert_eq!(plan(all(&[5, 8, 3]), Padding::Rules).0, 24);
    assert_eq!(plan(all(&[5, 8, 3]), Padding::WhenNeeded).0, 16);
    let forced = Request {
        all_to_all: Some(AllToAll::Pplx {}),
        ..prefill(&[9, 1])
    };
    assert_eq!(plan(forced, Padding::WhenNeeded), (18, Form::Plain, ModeReason::Forced));
}
