//! Launches on the CPU device. The kernels are recorded by hand: the attribute macro is tested above this crate.

mod handmade;

use tilewright_dsl::call::{
    Argument, ArgumentValue, Arguments, Call, ComptimeValue, CountArgument, Definition, Exact, MAX_COUNT, Memory,
    Runtime, Specialize, TensorArgument,
};
use tilewright_dsl::element::ElementType;
use tilewright_dsl::ir::Bounds;
use tilewright_dsl::lang::staging::{One, set_bounds, set_grid};
use tilewright_dsl::lang::{Count, Parameter, Tensor, arange, program_id};
use tilewright_testing::Part;

use crate::{Device, Launch, LaunchError, TensorError, device_count};

type Matrix = Tensor<f32, 2>;

/// Pushes an argument for a parameter of type `P`.
fn push<'a, P>(arguments: &mut Arguments<'a>, argument: impl Argument<'a, P>) {
    argument.pass(arguments);
}

macro_rules! definition {
    ($name:literal, $record:expr) => {{
        struct Marker;
        Definition::new::<Marker>($name, file!(), line!(), &[], $record)
    }};
}

/// `out[i] = src[index[i]]`
fn gather<'a>(
    out: impl Argument<'a, &'a mut Matrix>,
    src: impl Argument<'a, &'a Matrix>,
    index: impl Argument<'a, &'a Tensor<i32, 1>>,
) -> Call<'a> {
    fn record(_: &[ComptimeValue]) {
        let mut out = <&mut Matrix as Parameter>::declare("out".into());
        let src = <&Matrix as Parameter>::declare("src".into());
        let index = <&Tensor<i32, 1> as Parameter>::declare("index".into());
        set_grid([out.extent(0)]);
        let row = program_id(0);
        let from = index.load(One(row));
        let columns = arange(src.extent(1));
        out.store((row, columns), src.load((from, columns)));
    }
    let mut arguments = Arguments::new();
    push::<&mut Matrix>(&mut arguments, out);
    push::<&Matrix>(&mut arguments, src);
    push::<&Tensor<i32, 1>>(&mut arguments, index);
    Call::new(definition!("gather", record), arguments)
}

/// `out[i] = 1` for `i` below `count`: the count is in the grid only.
fn ones<'a>(out: impl Argument<'a, &'a mut Tensor<i64, 1>>, count: impl Argument<'a, Count>) -> Call<'a> {
    fn record(_: &[ComptimeValue]) {
        let mut out = <&mut Tensor<i64, 1> as Parameter>::declare("out".into());
        let count = <Count as Parameter>::declare("count".into());
        set_grid([count]);
        out.store(One(program_id(0)), 1i64);
    }
    let mut arguments = Arguments::new();
    push::<&mut Tensor<i64, 1>>(&mut arguments, out);
    push::<Count>(&mut arguments, count);
    Call::new(definition!("ones", record), arguments)
}

/// `out[i] = count`: the count is in the code.
fn fill<'a>(out: impl Argument<'a, &'a mut Tensor<i64, 1>>, count: impl Argument<'a, Count>) -> Call<'a> {
    fn record(_: &[ComptimeValue]) {
        let mut out = <&mut Tensor<i64, 1> as Parameter>::declare("out".into());
        let count = <Count as Parameter>::declare("count".into());
        set_grid([out.extent(0)]);
        out.store(One(program_id(0)), count);
    }
    let mut arguments = Arguments::new();
    push::<&mut Tensor<i64, 1>>(&mut arguments, out);
    push::<Count>(&mut arguments, count);
    Call::new(definition!("fill", record), arguments)
}

/// `out[index[i]] = count`, where an index that is out of range is reported.
fn put<'a>(
    out: impl Argument<'a, &'a mut Tensor<i64, 1>>,
    index: impl Argument<'a, &'a Tensor<i32, 1>>,
    count: impl Argument<'a, Count>,
) -> Call<'a> {
    fn record(_: &[ComptimeValue]) {
        let mut out = <&mut Tensor<i64, 1> as Parameter>::declare("out".into());
        let index = <&Tensor<i32, 1> as Parameter>::declare("index".into());
        let count = <Count as Parameter>::declare("count".into());
        set_bounds(Bounds::Trap);
        set_grid([index.extent(0)]);
        out.store(One(index.load(One(program_id(0)))), count);
    }
    let mut arguments = Arguments::new();
    push::<&mut Tensor<i64, 1>>(&mut arguments, out);
    push::<&Tensor<i32, 1>>(&mut arguments, index);
    push::<Count>(&mut arguments, count);
    Call::new(definition!("put", record), arguments)
}

/// Nothing, on a grid of `count` by `count` programs.
fn square(count: u64) -> Call<'static> {
    fn record(_: &[ComptimeValue]) {
        let count = <Count as Parameter>::declare("count".into());
        set_grid([count, count]);
    }
    let mut arguments = Arguments::new();
    push::<Count>(&mut arguments, Runtime(count));
    Call::new(definition!("square", record), arguments)
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Device(#[from] crate::DeviceError),
}

type Outcome = Result<(), Failure>;

/// The CPU device, and the GPU if there is one, with counters of their own. Both wait for the best variant.
fn on_each_device(test: impl Fn(&Device) -> Outcome) -> Outcome {
    test(&Device::cpu())?;
    Part::Gpu
        .if_there(Device::fresh_cuda().inspect(|gpu| gpu.set_specialize(Specialize::Exact)))
        .map_or(Ok(()), |gpu| test(&gpu))
}

#[test]
fn a_gather_reads_rows_and_zeros_for_indices_out_of_range() -> Outcome {
    on_each_device(|device| {
        let src = device.upload(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2])?;
        let index = device.upload(&[2, -1, 0, 3], [4])?;
        let mut out = device.upload(&[9.0f32; 8], [4, 2])?;
        let launched = gather(&mut out, &src, &index).launch(device)?;
        assert_eq!(out.download()?, [5.0, 6.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0]);
        assert_eq!((launched.programs(), launched.compiled()), (4, true));
        assert!(launched.compile_time().is_some());
        Ok(())
    })
}

#[test]
fn a_repeated_launch_records_and_builds_nothing() -> Outcome {
    on_each_device(|device| {
        let (src, index) = (device.zeros([5, 8])?, device.zeros([3])?);
        let mut out = device.zeros([3, 8])?;
        let first = gather(&mut out, &src, &index).launch(device)?;
        let second = gather(&mut out, &src, &index).launch(device)?;
        assert_eq!((first.compiled(), second.compiled()), (true, false));
        assert_eq!(first.variant_id(), second.variant_id());
        let counters = device.counters();
        assert_eq!(
            (counters.launches, counters.hits, counters.traces, counters.variants),
            (2, 1, 1, 1)
        );
        Ok(())
    })
}

#[test]
fn other_row_counts_share_a_variant_and_another_row_length_does_not() -> Outcome {
    on_each_device(|device| {
        for (rows, length) in [(3, 8), (5, 8), (3, 12)] {
            let (src, index) = (device.zeros([7, length])?, device.zeros([rows])?);
            gather(&mut device.zeros([rows, length])?, &src, &index).launch(device)?;
        }
        let counters = device.counters();
        assert_eq!((counters.traces, counters.variants, counters.hits), (2, 2, 1));
        Ok(())
    })
}

#[test]
fn a_launch_of_no_rows_does_nothing() -> Outcome {
    on_each_device(|device| {
        let (src, index) = (device.zeros([5, 8])?, device.zeros([0])?);
        let launched = gather(&mut device.zeros([0, 8])?, &src, &index).launch(device)?;
        assert_eq!(
            (launched.programs(), launched.variant_id(), launched.compiled()),
            (0, None, false)
        );
        assert_eq!(device.counters().variants, 0);
        Ok(())
    })
}

#[test]
fn a_launch_that_comes_again_and_again_has_the_programs_of_its_own_count_and_tensor() -> Outcome {
    on_each_device(|device| {
        let (mut out, mut shorter) = (device.zeros::<i64, 1>([9])?, device.zeros::<i64, 1>([4])?);
        // Often enough that the place of the launch knows it, and then with others in between.
        for count in [5u64, 5, 5, 5, 5, 5, 5, 5, 5, 5, 3, 5, 0, 5, 5, 9, 9, 5] {
            assert_eq!(ones(&mut out, Runtime(count)).launch(device)?.programs(), count);
            assert_eq!(
                ones(&mut shorter, Runtime(count % 4)).launch(device)?.programs(),
                count % 4
            );
        }
        Ok(())
    })
}

#[test]
fn exact_counts_that_only_size_the_grid_share_a_variant() -> Outcome {
    on_each_device(|device| {
        let mut out = device.zeros([8])?;
        let first = ones(&mut out, Exact(3)).launch(device)?;
        let second = ones(&mut out, Exact(5)).launch(device)?;
        assert_eq!(out.download()?, [1, 1, 1, 1, 1, 0, 0, 0]);
        assert_eq!(first.variant_id(), second.variant_id());
        assert_eq!(device.counters().variants, 1);
        Ok(())
    })
}

#[test]
fn a_count_in_the_code_has_a_variant_per_exact_value_and_one_for_all_others() -> Outcome {
    on_each_device(|device| {
        let mut out = device.zeros([2])?;
        for (value, variants) in [(3, 1), (4, 2), (3, 2)] {
            fill(&mut out, Exact(value)).launch(device)?;
            assert_eq!(out.download()?, [value as i64; 2]);
            assert_eq!(device.counters().variants, variants);
        }
        for value in [3, 4, 5] {
            fill(&mut out, Runtime(value)).launch(device)?;
            assert_eq!(out.download()?, [value as i64; 2]);
            assert_eq!(device.counters().variants, 3);
        }
        Ok(())
    })
}

#[test]
fn a_count_in_device_memory_is_read_at_each_launch_and_clamped() -> Outcome {
    on_each_device(|device| {
        let mut count = device.upload(&[0i32, 0], [2])?;
        let mut out = device.zeros([2])?;
        for (written, read) in [(3, 3), (100, 7), (-5, 0)] {
            count.copy_from(&[0, written])?;
            fill(&mut out, device_count(&count, 1, 7)?).launch(device)?;
            assert_eq!(out.download()?, [read; 2]);
        }
        assert_eq!(device.counters().variants, 1);
        Ok(())
    })
}

#[test]
fn a_grid_that_depends_on_a_count_in_device_memory_follows_it() -> Outcome {
    on_each_device(|device| {
        let count = device.upload(&[2i64], [1])?;
        let mut out = device.zeros([4])?;
        let launched = ones(&mut out, device_count(&count, 0, 4)?).launch(device)?;
        assert_eq!(launched.programs(), 4, "the maximum sizes the grid");
        assert_eq!(out.download()?, [1, 1, 0, 0]);
        Ok(())
    })
}

#[test]
fn an_index_out_of_range_under_the_policy_trap_is_reported_once_and_the_device_stays_usable() -> Outcome {
    on_each_device(|device| {
        let mut out = device.zeros([4])?;
        let index = device.upload(&[1, 3, 7, 0], [4])?;
        put(&mut out, &index, Runtime(5)).launch(device)?;
        assert_eq!(out.download()?, [5, 5, 0, 5]);
        let Err(LaunchError::Trapped {
            kernel,
            parameter,
            axis,
            span,
            program,
            index: value,
        }) = device.synchronize()
        else {
            panic!("the index 7 is out of range");
        };
        assert_eq!(
            (kernel.as_str(), parameter.as_str(), axis, program, value),
            ("put", "out", 0, 2, 7)
        );
        assert!(span.file.ends_with("launch/tests.rs"), "{span}");
        assert!(device.synchronize().is_ok(), "what was reported is not reported again");
        put(&mut out, &index, Runtime(5)).launch(device)?;
        // A stream can be waited for without the device's being synchronised, and then a report is there to be read.
        device.stream().synchronize()?;
        assert!(matches!(device.reported(), Err(LaunchError::Trapped { index: 7, .. })));
        assert!(device.reported().is_ok(), "what was reported is not reported again");
        let index = device.upload(&[1, 3, 2, 0], [4])?;
        put(&mut out, &index, Runtime(6)).launch(device)?;
        device.synchronize()?;
        assert_eq!(out.download()?, [6; 4]);
        Ok(())
    })
}

#[test]
fn streams_pass_memory_on_in_the_order_of_the_calls() -> Outcome {
    on_each_device(|device| {
        const ROWS: usize = 1 << 12;
        let (one, other) = (device.new_stream()?, device.new_stream()?);
        let next: Vec<i32> = (0..ROWS as i32).map(|row| (row + 1) % ROWS as i32).collect();
        let index = device.upload(&next, [ROWS])?;
        let start: Vec<f32> = (0..ROWS).flat_map(|row| [row as f32; 64]).collect();
        let mut here = device.upload(&start, [ROWS, 64])?;
        let mut there = device.zeros([ROWS, 64])?;
        // Every launch reads what the one before has written, on another stream.
        for _ in 0..8 {
            gather(&mut there, &here, &index).launch_on(&one)?;
            gather(&mut here, &there, &index).launch_on(&other)?;
        }
        // Freed while its last use may be running.
        drop(there);
        let rows: Vec<f32> = here.download()?.chunks(64).map(|row| row[0]).collect();
        let expected: Vec<f32> = (0..ROWS).map(|row| ((row + 16) % ROWS) as f32).collect();
        assert_eq!(rows, expected);
        Ok(())
    })
}

#[test]
fn columns_of_one_tensor_are_gathered_into_others() -> Outcome {
    on_each_device(|device| {
        let mut tensor = device.upload(&[0.0f32, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0], [2, 4])?;
        let index = device.upload(&[1, 0], [2])?;
        let (left, right) = tensor.view_mut().split_at(1, 2)?;
        gather(left, right.view(), &index).launch(device)?;
        assert_eq!(tensor.download()?, [3.0, 4.0, 1.0, 2.0, 1.0, 2.0, 3.0, 4.0]);
        Ok(())
    })
}

#[test]
fn a_written_tensor_that_shares_memory_with_another_is_refused() -> Outcome {
    on_each_device(|device| {
        let mut tensor = device.zeros::<f32, 2>([4, 8])?;
        let index = device.zeros::<i32, 1>([4])?;
        let mut arguments = Arguments::new();
        push::<&mut Matrix>(&mut arguments, &mut tensor);
        let ArgumentValue::Tensor(out) = arguments.values()[0].clone() else {
            panic!("a tensor was pushed")
        };
        #[allow(unsafe_code)] // The launch is refused.
        unsafe {
            arguments.push(ArgumentValue::Tensor(TensorArgument { mutable: false, ..out }))
        };
        push::<&Tensor<i32, 1>>(&mut arguments, &index);
        let definition = gather(&mut device.zeros([4, 8])?, &device.zeros([4, 8])?, &index)
            .definition()
            .clone();
        let error = Call::new(definition, arguments)
            .launch(device)
            .expect_err("one buffer for both");
        assert_eq!(
            error.to_string(),
            "kernel `gather`: `out`, which it may write, shares memory with `src`: give it memory of its own, or views that \
         do not overlap"
        );
        assert_eq!(device.counters().launches, 0);
        Ok(())
    })
}

#[test]
fn a_count_beyond_the_largest_is_refused() -> Outcome {
    on_each_device(|device| {
        let mut out = device.zeros([2])?;
        let error = fill(&mut out, Runtime(MAX_COUNT + 1))
            .launch(device)
            .expect_err("too large");
        let text = "kernel `fill`: `count` is 1099511627777, and a count is 0 to 2^40 (1099511627776)";
        assert_eq!(error.to_string(), text);
        let error = fill(&mut out, CountArgument::Exact(-1))
            .launch(device)
            .expect_err("negative");
        assert!(
            matches!(error, LaunchError::CountOutOfRange { value: -1, .. }),
            "{error}"
        );
        assert!(fill(&mut out, Runtime(MAX_COUNT)).launch(device).is_ok());
        Ok(())
    })
}

#[test]
fn a_grid_beyond_any_launch_is_refused() {
    let error = square(MAX_COUNT).launch(&Device::cpu()).expect_err("2^80 programs");
    assert!(
        matches!(error, LaunchError::Grid(_)) && error.to_string().contains("`square`"),
        "{error}"
    );
}

#[test]
fn more_arguments_than_a_kernel_may_have_are_refused() {
    let mut arguments = Arguments::new();
    push::<[f32; 257]>(&mut arguments, [0.0f32; 257]);
    let error = Call::new(square(1).definition().clone(), arguments)
        .launch(&Device::cpu())
        .expect_err("one too many");
    assert!(
        matches!(error, LaunchError::TooManyParameters { found: 257, .. }),
        "{error}"
    );
}

#[test]
fn arguments_that_do_not_fit_the_parameters_are_refused() -> Outcome {
    on_each_device(|device| {
        let call = |value: u64, second: bool| {
            let mut arguments = Arguments::new();
            if second {
                push::<Count>(&mut arguments, Runtime(value));
            } else {
                push::<u64>(&mut arguments, value);
            }
            push::<Count>(&mut arguments, Runtime(value));
            Call::new(square(1).definition().clone(), arguments)
        };
        let error = call(1, true).launch(device).expect_err("two for one");
        assert!(error.to_string().ends_with("2 arguments for 1 parameters"), "{error}");
        let tensor = device.zeros::<f32, 1>([2])?;
        let mut arguments = Arguments::new();
        push::<&Tensor<f32, 1>>(&mut arguments, &tensor);
        let error = Call::new(square(1).definition().clone(), arguments)
            .launch(device)
            .expect_err("no count");
        assert!(
            error
                .to_string()
                .ends_with("`count` is of another type, rank or mutability"),
            "{error}"
        );
        Ok(())
    })
}

#[test]
fn memory_of_another_runtime_is_refused() {
    struct Elsewhere;
    impl Memory for Elsewhere {
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }
    let count = CountArgument::Device {
        memory: &Elsewhere,
        offset: 0,
        element: ElementType::I32,
        maximum: 1,
    };
    let mut arguments = Arguments::new();
    push::<Count>(&mut arguments, count);
    let error = Call::new(square(1).definition().clone(), arguments)
        .launch(&Device::cpu())
        .expect_err("not ours");
    let text = "kernel `square`: `count` is memory of another runtime: copy it to a tensor of the CPU device";
    assert_eq!(error.to_string(), text);
}

#[test]
fn arguments_beyond_their_memory_are_refused() -> Outcome {
    on_each_device(|device| {
        let tensor = device.zeros::<i32, 1>([4])?;
        let mut arguments = Arguments::new();
        push::<&Tensor<i32, 1>>(&mut arguments, &tensor);
        let ArgumentValue::Tensor(view) = arguments.values()[0].clone() else {
            panic!("a tensor was pushed")
        };
        for (offset, extent) in [(4, 4), (0, 5), (u64::MAX, 1)] {
            let mut beyond = TensorArgument { offset, ..view.clone() };
            beyond.extents[0] = extent;
            let mut arguments = Arguments::new();
            #[allow(unsafe_code)] // The launch is refused.
            unsafe {
                arguments.push(ArgumentValue::Tensor(beyond))
            };
            let error = Call::new(square(1).definition().clone(), arguments)
                .launch(device)
                .expect_err("beyond");
            assert!(error.to_string().contains("is not within its memory"), "{error}");
        }
        Ok(())
    })
}

#[test]
fn a_kernel_that_cannot_be_recorded_says_where_it_was_written() {
    fn record(_: &[ComptimeValue]) {
        let count = <Count as Parameter>::declare("count".into());
        set_grid([count]);
        arange(count);
    }
    let mut arguments = Arguments::new();
    push::<Count>(&mut arguments, Runtime(2));
    let error = Call::new(definition!("unknown", record), arguments)
        .launch(&Device::cpu())
        .expect_err("no literal");
    assert!(
        matches!(error, LaunchError::Trace(_)) && error.to_string().contains("launch/tests.rs"),
        "{error}"
    );
}

#[test]
fn threads_that_want_the_same_variant_build_it_once() -> Outcome {
    on_each_device(|device| {
        std::thread::scope(|scope| {
            let launches: Vec<_> = (1..=8u64)
                .map(|count| {
                    let device = &device;
                    scope.spawn(move || -> Outcome {
                        let mut out = device.zeros([8])?;
                        ones(&mut out, Exact(count)).launch(device)?;
                        assert_eq!(out.download()?.iter().sum::<i64>(), count as i64);
                        Ok(())
                    })
                })
                .collect();
            launches
                .into_iter()
                .try_for_each(|launch| launch.join().expect("no panic"))
        })?;
        let counters = device.counters();
        assert_eq!((counters.launches, counters.compiles, counters.hits), (8, 1, 7));
        Ok(())
    })
}

#[test]
#[ignore = "a measurement"]
fn the_cost_of_a_repeated_launch_to_the_host() -> Outcome {
    let Some(device) = Part::Gpu.or_skip(Device::fresh_cuda()) else {
        return Ok(());
    };
    let (src, index) = (device.zeros([64, 1024])?, device.zeros([16])?);
    let mut out = device.zeros([16, 1024])?;
    let stream = device.stream();
    for _ in 0..3 {
        const LAUNCHES: u32 = 1000;
        let started = std::time::Instant::now();
        for _ in 0..LAUNCHES {
            gather(&mut out, &src, &index).launch_on(&stream)?;
        }
        println!(
            "{:?} per launch, the driver's part included",
            started.elapsed() / LAUNCHES
        );
        device.synchronize()?;
    }
    Ok(())
}
