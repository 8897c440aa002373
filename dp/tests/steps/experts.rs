//! Sections 4.4 and 7.1: what back ends take, and how experts answer.

use tilewright_dp::layout::PaddingMode;
use tilewright_dp::plan::micro::{Micro, MicroPlan, TwoBatch, WhyWhole};
use tilewright_dp::plan::{
    AllToAll, AllToAllPlan, DispatchWorkspace, ExpertCombine, Plan, Profile, Request, Sizes, WireFormat,
};

use crate::all;

#[test]
fn section_4_4_what_back_ends_take() {
    let back_end = AllToAll::flash_infer(0);
    let counts = [100, 37, 0];
    let dispatch = |rows, capacity| AllToAllPlan::Dispatch { rows, capacity };
    assert_eq!(back_end.plan(&counts, 3, 2, false), Ok(dispatch(50, Some(4096))), "D11");
    let sizes = Sizes::new(vec![50, 50, 19, 18, 0, 0]).unwrap();
    assert_eq!(
        back_end.plan(&counts, 3, 2, true),
        Ok(AllToAllPlan::Gather { sizes }),
        "D11"
    );
    let small = AllToAll::FlashInfer { capacity: 40 };
    let error = small.plan(&counts, 3, 2, false).unwrap_err().to_string();
    assert!(
        error.contains("sends 50 rows and flash_infer was started for 40"),
        "D12: {error}"
    );
    assert_eq!(AllToAll::flash_infer(8192), AllToAll::FlashInfer { capacity: 8192 });

    let sent = [WireFormat::Bf16, WireFormat::Nvfp4, WireFormat::Mxfp8].map(|format| {
        let bytes = format.row(7168, 8).unwrap().bytes();
        (bytes, format.reserved_bytes(7168, 8).unwrap())
    });
    assert_eq!(sent, [(14_400, 14_400), (4_096, 14_400), (7_456, 14_400)], "D13");

    let pplx = |raw: &[u64], extend| {
        let request = Request {
            all_to_all: Some(AllToAll::Pplx {}),
            extend,
            ..all(raw)
        };
        let plan = Plan::new(&request).unwrap();
        (
            plan.layout().padded().to_vec(),
            plan.mode(),
            plan.all_to_all().first().cloned(),
        )
    };
    assert_eq!(
        pplx(&[5, 0], false),
        (vec![5, 5], PaddingMode::Max, Some(dispatch(5, None))),
        "D14"
    );
    assert_eq!(
        pplx(&[100, 3], true),
        (vec![100, 100], PaddingMode::Max, Some(dispatch(100, None))),
        "D14"
    );

    // The others of the table.
    let plan = |all_to_all, extend| {
        let request = Request {
            all_to_all: Some(all_to_all),
            extend,
            attn_tp: 2,
            ..all(&[100, 3])
        };
        Plan::new(&request).map(|plan| (plan.mode(), plan.all_to_all()[0].clone()))
    };
    let deep_ep = |force_max| AllToAll::DeepEp { force_max };
    assert_eq!(plan(deep_ep(true), true), Ok((PaddingMode::Max, dispatch(50, None))));
    assert_eq!(plan(deep_ep(false), true), Ok((PaddingMode::Sum, dispatch(50, None))));
    let low_latency = |capacity| AllToAll::DeepEpLowLatency { capacity };
    assert!(plan(low_latency(50), false).is_ok() && plan(low_latency(49), false).is_err());
    assert!(
        plan(low_latency(1025), false)
            .unwrap_err()
            .to_string()
            .contains("the most are 1024")
    );
    assert!(plan(low_latency(0), false).is_err());
    assert_eq!(plan(AllToAll::FlashInferVllm {}, true).unwrap().1, dispatch(50, None));
    assert_eq!(dispatch(50, None).received_rows(4), Ok(200));
    assert!(dispatch(u64::MAX, None).received_rows(4).is_err());
    // Each half of a step is dispatched for itself; a low-latency back end does not take halves of a prefill.
    let halves = |all_to_all, extend: bool| {
        let two = TwoBatch {
            prompts: extend.then(|| vec![vec![60, 40], vec![3]]),
            ..TwoBatch::default()
        };
        let request = Request {
            all_to_all: Some(all_to_all),
            extend,
            micro: Some(Micro::Tbo(two)),
            ..all(&[100, 3])
        };
        Plan::new(&request).unwrap()
    };
    let each = dispatch(50, Some(50));
    assert_eq!(halves(low_latency(50), false).all_to_all(), [each.clone(), each]);
    let whole = halves(low_latency(100), true);
    assert_eq!(whole.micro(), Some(&MicroPlan::Whole(WhyWhole::LowLatency)));
    assert_eq!(whole.all_to_all(), [dispatch(100, Some(100))]);
    assert_eq!(halves(back_end, true).all_to_all().len(), 2);
    // A prefill that is gathered is so in bfloat16.
    let gathered = Request {
        all_to_all: Some(back_end),
        wire: Some(WireFormat::Nvfp4),
        extend: true,
        ..all(&[100, 3])
    };
    assert_eq!(Plan::new(&gathered).unwrap().wire().unwrap().format, WireFormat::Bf16);
    // One count tells nothing of the largest.
    let local = Request {
        all_to_all: Some(back_end),
        ..Request::new(vec![5], 4)
    };
    let error = Plan::new(&local).unwrap_err().to_string();
    assert!(error.contains("needs the counts of all 4 ranks"), "{error}");
    let mut workspace = DispatchWorkspace::new(256, 8);
    assert_eq!(
        [10, 5, 20].map(|bytes| workspace.grow(256, 8, bytes)),
        [Ok(true), Ok(false), Ok(true)]
    );
    assert!(workspace.grow(256, 4, 1).is_err() && workspace.bytes() == 20);
}

#[test]
fn section_7_1_a_plan_tells_how_experts_answer() {
    let combine = |raw: &[u64], attn_tp, ep, profile| {
        let request = Request {
            profile,
            extend: true,
            attn_tp,
            ep: Some(ep),
            ..all(raw)
        };
        let plan = Plan::new(&request).unwrap();
        (plan.expert_combine().unwrap(), plan.sizes().unwrap().sizes().to_vec())
    };
    let (reduce_scatter, all_reduce) = (ExpertCombine::ReduceScatter, ExpertCombine::AllReduce);
    let newest = Profile::Main202611;
    assert_eq!(
        combine(&[100, 3, 0, 7], 1, 4, newest),
        (reduce_scatter, vec![100, 3, 0, 7]),
        "G3"
    );
    assert_eq!(combine(&[8, 6], 2, 2, newest), (all_reduce, vec![4, 4, 3, 3]), "G4");
    assert_eq!(combine(&[100, 3, 0, 7], 1, 4, Profile::Main202609).0, all_reduce);
    // The 4-bit path answers by itself, where it applies.
    let fp4 = |ep| {
        let request = Request {
            wire: Some(WireFormat::Nvfp4),
            ep: Some(ep),
            ..all(&[5, 0, 3])
        };
        Plan::new(&request).map(|plan| plan.expert_combine())
    };
    assert_eq!(fp4(3), Ok(Some(reduce_scatter)));
    assert!(fp4(1).unwrap_err().to_string().contains("3 ranks and 1 groups"));
}
