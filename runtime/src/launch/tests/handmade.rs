//! Calls that no macro made: what safe code can put together by hand keeps within its tensors, or is refused.

use tilewright_dsl::call::{ParameterFacts, TensorFacts, TraceRequest, Traced};
use tilewright_dsl::ir::Symbol;
use tilewright_dsl::schedule::{LoadHint, MAX_UNROLL, Schedule, StoreHint};

use super::*;
use crate::DeviceTensor;

/// The recording of `gather` for tensors of these extents, as IR from somewhere.
fn recorded(rows: u64) -> Traced {
    let facts = |extents: &[u64]| ParameterFacts::Tensor(TensorFacts::contiguous(extents));
    let parameters = vec![facts(&[rows, 8]), facts(&[4, 8]), facts(&[rows])];
    let device = Device::cpu();
    let (mut out, src, index) = (
        device.zeros([1, 8]).expect("small"),
        device.zeros([1, 8]).expect("small"),
        device.zeros([1]).expect("small"),
    );
    let call = gather(&mut out, &src, &index);
    call.definition()
        .trace(&TraceRequest { parameters })
        .expect("it is well-formed")
}

#[test]
fn ir_that_says_other_extents_than_those_of_the_launch_is_refused() -> Outcome {
    on_each_device(|device| {
        let mut traced = recorded(3);
        let extent = Symbol::Extent { tensor: 1, axis: 0 };
        traced.pinned.push((extent, 1 << 30));
        let definition = Definition::of_ir("gather", traced).expect("it promises nothing");
        let (mut out, src) = (device.zeros([3, 8])?, device.zeros([4, 8])?);
        let index = device.zeros([3])?;
        let arguments = arguments_of(&mut out, &src, &index);
        let error = Call::new(definition, arguments)
            .launch(device)
            .expect_err("4 rows are not 2^30");
        assert!(
            error
                .to_string()
                .ends_with("it was made for tensors of other extents, or exact counts of other values"),
            "{error}"
        );
        let definition = Definition::of_ir("gather", recorded(3)).expect("it promises nothing");
        Call::new(definition, arguments_of(&mut out, &src, &index)).launch(device)?;
        Ok(())
    })
}

fn arguments_of<'a>(
    out: &'a mut DeviceTensor<f32, 2>,
    src: &'a DeviceTensor<f32, 2>,
    index: &'a DeviceTensor<i32, 1>,
) -> Arguments<'a> {
    let mut arguments = Arguments::new();
    push::<&mut Tensor<f32, 2>>(&mut arguments, out);
    push::<&Tensor<f32, 2>>(&mut arguments, src);
    push::<&Tensor<i32, 1>>(&mut arguments, index);
    arguments
}

#[test]
fn a_fused_call_with_arguments_of_its_neighbour_is_refused() -> Outcome {
    on_each_device(|device| {
        let call = |arguments: &[u64]| {
            let mut all = Arguments::new();
            arguments
                .iter()
                .for_each(|&value| push::<Count>(&mut all, Runtime(value)));
            Call::new(square(1).definition().clone(), all)
        };
        let error = Call::fuse([call(&[]), call(&[1, 2])])
            .launch(device)
            .expect_err("one each");
        assert!(error.to_string().contains("0 arguments for 1 parameters"), "{error}");
        Ok(())
    })
}

#[test]
fn a_schedule_of_more_threads_than_there_is_work_is_refused() -> Outcome {
    on_each_device(|device| {
        let mut out = device.zeros([2])?;
        let schedule = Schedule {
            threads: 1024,
            programs_per_block: 1,
            splits: 1,
            unroll: 1,
            load: LoadHint::Cached,
            store: StoreHint::Cached,
            wide: true,
        };
        for (schedule, text) in [
            (
                Schedule {
                    splits: 1 << 22,
                    ..schedule
                },
                "it has at most 16777216 threads",
            ),
            (
                Schedule {
                    splits: u32::MAX,
                    ..schedule
                },
                "it has at most 16777216 threads",
            ),
            (
                Schedule {
                    unroll: MAX_UNROLL + 1,
                    ..schedule
                },
                "65 accesses in flight: a thread has at most 64",
            ),
        ] {
            // That it was launched without one is no reason to take any.
            fill(&mut out, Exact(2)).launch(device)?;
            let call = fill(&mut out, Exact(2)).with_schedule(schedule);
            let error = call.launch(device).expect_err("too much");
            assert!(error.to_string().contains(text), "{error}");
        }
        Ok(())
    })
}

#[test]
fn a_tensor_of_nothing_beyond_all_memory_is_refused() -> Outcome {
    on_each_device(|device| {
        let tensor = device.zeros::<i32, 1>([4])?;
        let mut arguments = Arguments::new();
        push::<&Tensor<i32, 1>>(&mut arguments, &tensor);
        let ArgumentValue::Tensor(view) = arguments.values()[0].clone() else {
            panic!("a tensor was pushed")
        };
        let mut nowhere = TensorArgument {
            offset: u64::MAX - 3,
            ..view
        };
        nowhere.extents[0] = 0;
        let mut arguments = Arguments::new();
        #[allow(unsafe_code)] // The launch is refused.
        unsafe {
            arguments.push(ArgumentValue::Tensor(nowhere))
        };
        let error = Call::new(square(1).definition().clone(), arguments)
            .launch(device)
            .expect_err("beyond");
        assert!(error.to_string().contains("is not within its memory"), "{error}");
        Ok(())
    })
}
