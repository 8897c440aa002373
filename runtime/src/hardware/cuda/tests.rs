//! The layer on a real GPU, where there is one.

#![allow(unsafe_code)]

mod ptx;

use crate::inspect::{Block, Occupancy};
use std::ffi::c_void;

use tilewright_testing::{Part, skip};

use super::*;
use crate::{
    compile::{CompileOptions, compile},
    error::DeviceError,
};

/// The first GPU.
fn gpu() -> Option<CudaDevice> {
    Part::Gpu.or_skip(CudaDevice::open(0))
}

const SOURCE: &str = r#"
    extern "C" __global__ void add(unsigned* out, const unsigned* in, unsigned amount, unsigned count) {
        unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < count) out[i] = in[i] + amount;
    }
    extern "C" __global__ void slow(unsigned* out, long long cycles) {
        long long start = clock64();
        while (clock64() - start < cycles) {}
        out[0] = 7;
    }
    extern "C" __global__ void shared_memory(unsigned* out) {
        extern __shared__ unsigned words[];
        words[threadIdx.x * 1024] = threadIdx.x + 1;
        __syncthreads();
        out[threadIdx.x] = words[threadIdx.x * 1024];
    }
"#;

fn module(device: &CudaDevice) -> CudaModule {
    let options = CompileOptions::new(device.properties().architecture);
    let cubin = compile(SOURCE, "tests", &options).expect("it compiles");
    CudaModule::load(device, &cubin.bytes).expect("it loads")
}

fn add(function: &CudaFunction, stream: &CudaStream, out: &CudaMemory, input: &CudaMemory, amount: u32) {
    let count = out.len() as u32 / 4;
    let (mut to, mut from, mut amount, mut items) = (out.address(), input.address(), amount, count);
    let mut args = [
        pointer(&mut to),
        pointer(&mut from),
        pointer(&mut amount),
        pointer(&mut items),
    ];
    // SAFETY: the types are those of the kernel, which stays within `count` elements; the callers wait before they drop.
    unsafe { launch(function, count.div_ceil(128), [128, 1, 1], 0, &mut args, stream) }.expect("a launch");
}

fn pointer<T>(value: &mut T) -> *mut c_void {
    std::ptr::from_mut(value).cast()
}

fn download(memory: &CudaMemory) -> Vec<u32> {
    let mut values = vec![0u32; memory.len() / 4];
    memory
        .download(0, bytemuck::cast_slice_mut(&mut values))
        .expect("a download");
    values
}

fn upload(device: &CudaDevice, values: &[u32]) -> CudaMemory {
    CudaMemory::from_bytes(device, bytemuck::cast_slice(values)).expect("an upload")
}

fn numbers(count: u32) -> Vec<u32> {
    (0..count).map(|index| index.wrapping_mul(2_654_435_761)).collect()
}

#[test]
fn a_machine_without_a_driver_gets_an_error_that_says_what_to_install() {
    match driver_version() {
        Ok(version) => skip(format_args!("there is a driver, of CUDA {}.{}", version.0, version.1)),
        Err(error) => {
            assert_eq!(error, DeviceError::MissingDriver);
            assert!(matches!(CudaDevice::open(0), Err(DeviceError::MissingDriver)));
            assert!(error.to_string().contains("install NVIDIA's driver"), "{error}");
        }
    }
}

#[test]
fn a_device_that_is_not_there_is_named_beside_how_many_are() {
    if gpu().is_none() {
        return;
    }
    let error = CudaDevice::open(77).expect_err("no such device").to_string();
    assert!(error.starts_with("there is no CUDA device 77"), "{error}");
}

#[test]
fn what_is_uploaded_is_what_is_downloaded() {
    let Some(device) = gpu() else { return };
    let values = numbers(1003);
    let memory = upload(&device, &values);
    assert_eq!(memory.address() % 16, 0);
    assert_eq!(download(&memory), values);
    let other = CudaMemory::zeroed(&device, memory.len()).expect("memory");
    other.copy_from(8, &memory, 4, 400).expect("a copy");
    let copied = download(&other);
    assert_eq!(copied[..2], [0, 0]);
    assert_eq!(copied[2..102], values[1..101]);
    assert!(copied[102..].iter().all(|value| *value == 0));
}

/// Calls `with` with two GPUs, by turns as one and the other.
fn with_two_gpus(with: impl Fn(&CudaDevice, &CudaDevice)) {
    let Some(one) = gpu() else { return };
    let two = match CudaDevice::open(1) {
        Ok(two) => two,
        Err(error) => return skip(format_args!("a second GPU is needed ({error})")),
    };
    with(&one, &two);
    with(&two, &one);
}

#[test]
fn memory_is_used_by_its_own_device_whichever_one_the_thread_has_used_last() {
    with_two_gpus(|device, other| {
        let last_used = |device: &CudaDevice| drop(upload(device, &[1]));
        last_used(other);
        let memory = upload(device, &[1, 2, 3, 4]);
        last_used(other);
        memory.upload(4, bytemuck::cast_slice(&[7u32, 8])).expect("an upload");
        last_used(other);
        assert_eq!(download(&memory), [1, 7, 8, 4]);
        last_used(other);
        let copy = CudaMemory::zeroed(device, 16).expect("memory");
        last_used(other);
        copy.copy_from(4, &memory, 0, 12).expect("a copy");
        last_used(other);
        memory.zero().expect("zeros");
        last_used(other);
        drop(memory);
        last_used(other);
        assert_eq!(download(&copy), [0, 1, 7, 8]);
    });
}

#[test]
fn memory_that_two_devices_reach_is_transferred_by_either() {
    with_two_gpus(|device, other| {
        if !matches!(
            Reach::between(other.ordinal(), device.ordinal()),
            Ok(Reach::Atomics | Reach::Plain)
        ) {
            return skip("two GPUs that reach each other are needed");
        }
        let shared = CudaShared::new(device, 4096).expect("memory");
        let here = CudaMemory::shared(device, shared.clone()).expect("its own");
        let there = CudaMemory::shared(other, shared).expect("the other's");
        for (writes, reads, base) in [(&here, &there, 10), (&there, &here, 20)] {
            let values = [base, base + 1, base + 2, base + 3];
            writes.upload(8, bytemuck::cast_slice(&values)).expect("an upload");
            writes.copy_from(64, writes, 12, 8).expect("a copy");
            // What it was copied from is memory of the reader's device alone.
            let plain = upload(reads.device(), &values);
            writes.stream().synchronize().expect("it is done");
            reads.copy_from(128, &plain, 0, 16).expect("a copy");
            let found = download(reads);
            assert_eq!(found[2..6], values);
            assert_eq!(found[16..18], [base + 1, base + 2]);
            assert_eq!(found[32..36], values);
        }
        there.zero().expect("zeros");
        there.stream().synchronize().expect("it is done");
        assert!(download(&here).iter().all(|&word| word == 0));
        // What is left of the other device's use is let go by this one's next allocation.
        drop(there);
        assert_eq!(download(&upload(device, &[5])), [5]);
    });
}

#[test]
fn memory_of_no_bytes_is_memory_like_any_other() {
    let Some(device) = gpu() else { return };
    let (one, other) = (CudaMemory::zeroed(&device, 0), CudaMemory::from_bytes(&device, &[]));
    let (one, other) = (one.expect("memory"), other.expect("memory"));
    assert!(one.is_empty() && one.address() != 0 && one.address() != other.address());
    one.copy_from(0, &other, 0, 0).expect("nothing to copy");
    one.download(0, &mut []).expect("nothing to download");
    let error = one.upload(0, &[1]).expect_err("one byte too many");
    assert_eq!(
        error,
        DeviceError::OutOfRange {
            what: "an upload",
            offset: 0,
            bytes: 1,
            length: 0
        }
    );
}

#[test]
fn transfers_out_of_range_are_errors_and_transfer_nothing() {
    let Some(device) = gpu() else { return };
    let memory = upload(&device, &[1, 2, 3, 4]);
    assert!(matches!(
        memory.upload(13, &[0; 4]),
        Err(DeviceError::OutOfRange { .. })
    ));
    assert!(matches!(
        memory.download(usize::MAX, &mut [0; 4]),
        Err(DeviceError::OutOfRange { .. })
    ));
    assert!(matches!(
        memory.copy_from(0, &memory, 4, 8),
        Err(DeviceError::Overlap { .. })
    ));
    memory.copy_from(0, &memory, 8, 8).expect("no overlap");
    assert_eq!(download(&memory), [3, 4, 3, 4]);
}

#[test]
fn running_out_of_memory_is_an_error_that_leaves_the_device_usable() {
    let Some(device) = gpu() else { return };
    for asked in [1 << 50, usize::MAX] {
        let error = CudaMemory::new(&device, asked).expect_err("no device has that much");
        assert!(
            matches!(error, DeviceError::OutOfMemory { asked: told, free, .. } if told == asked && free > 0),
            "{error}"
        );
    }
    let values = numbers(10);
    assert_eq!(download(&upload(&device, &values)), values);
}

#[test]
fn a_kernel_runs_with_its_arguments_on_any_stream_and_thread() {
    let Some(device) = gpu() else { return };
    let module = module(&device);
    let function = module.function("add").expect("the kernel");
    let values = numbers(1000);
    let input = upload(&device, &values);
    std::thread::scope(|scope| {
        for amount in 1..=4 {
            let (device, function, input, values) = (&device, &function, &input, &values);
            scope.spawn(move || {
                let out = CudaMemory::zeroed(device, input.len()).expect("memory");
                let stream = device.new_stream().expect("a stream");
                stream.follow(device, device.stream()).expect("a wait");
                add(function, &stream, &out, input, amount);
                stream.synchronize().expect("it ran");
                let expected: Vec<_> = values.iter().map(|value| value.wrapping_add(amount)).collect();
                assert_eq!(download(&out), expected);
            });
        }
    });
}

#[test]
fn a_grid_of_no_blocks_does_nothing() {
    let Some(device) = gpu() else { return };
    let function = module(&device).function("add").expect("the kernel");
    let empty = CudaMemory::new(&device, 0).expect("memory");
    add(&function, device.stream(), &empty, &empty, 1);
    device.stream().synchronize().expect("nothing ran");
}

#[test]
fn a_function_that_is_not_in_the_module_is_an_error_that_names_it() {
    let Some(device) = gpu() else { return };
    for name in ["nope", "no\0pe"] {
        let error = module(&device).function(name).expect_err("no such kernel");
        assert_eq!(error, DeviceError::NoSuchFunction { name: name.to_owned() });
    }
}

#[test]
fn bytes_that_are_no_cubin_never_reach_the_driver() {
    let Some(device) = gpu() else { return };
    for bytes in [&b""[..], b"PTX?", b"\x7fELF\x02\x01"] {
        assert!(matches!(CudaModule::load(&device, bytes), Err(DeviceError::Cubin(_))));
    }
}

#[test]
fn a_cubin_of_another_architecture_is_refused_with_advice() {
    let Some(device) = gpu() else { return };
    let mut options = CompileOptions::new(device.properties().architecture);
    options.arch = if options.arch.major == 8 { "sm_90" } else { "sm_80" }
        .parse()
        .expect("an architecture");
    let cubin = compile(SOURCE, "tests", &options).expect("it compiles");
    let error = CudaModule::load(&device, &cubin.bytes)
        .expect_err("another architecture")
        .to_string();
    assert!(error.contains("compile it again"), "{error}");
}

#[test]
fn a_misaligned_cubin_loads_like_an_aligned_one() {
    let Some(device) = gpu() else { return };
    let options = CompileOptions::new(device.properties().architecture);
    let mut bytes = vec![0];
    bytes.extend_from_slice(&compile(SOURCE, "tests", &options).expect("it compiles").bytes);
    CudaModule::load(&device, &bytes[1..])
        .expect("it loads")
        .function("slow")
        .expect("the kernel");
}

#[test]
fn a_module_dropped_while_its_kernel_runs_lets_it_finish() {
    let Some(device) = gpu() else { return };
    let out = CudaMemory::zeroed(&device, 4).expect("memory");
    let function = module(&device).function("slow").expect("the kernel");
    let (mut address, mut cycles) = (out.address(), 200_000_000i64);
    let mut args = [pointer(&mut address), pointer(&mut cycles)];
    // SAFETY: the types are those of the kernel; it has run before `out` is read and dropped.
    unsafe { launch(&function, 1, [1, 1, 1], 0, &mut args, device.stream()) }.expect("a launch");
    drop(function);
    assert_eq!(download(&out), [7]);
}

#[test]
fn the_driver_and_the_cubin_agree_on_resources() {
    let Some(device) = gpu() else { return };
    let options = CompileOptions::new(device.properties().architecture);
    let cubin = compile(SOURCE, "tests", &options).expect("it compiles");
    let module = CudaModule::load(&device, &cubin.bytes).expect("it loads");
    for (name, read) in crate::compile::resources(&cubin.bytes).expect("a cubin") {
        let told = module
            .function(&name)
            .expect("the kernel")
            .resources()
            .expect("its resources");
        assert_eq!(told, read, "{name}");
    }
}

#[test]
fn the_driver_and_the_limits_of_the_architecture_agree_on_how_many_blocks_there_are_at_once() {
    let Some(device) = gpu() else { return };
    let architecture = device.properties().architecture;
    let options = CompileOptions::new(architecture);
    // From few registers to many.
    let busy = |count: usize| {
        let kept: String = (0..count).map(|i| format!("float v{i} = in[{i} * n];")).collect();
        let used: String = (0..count)
            .map(|i| format!("out[{i} * n] = v{i} * v{};", (i + 1) % count))
            .collect();
        format!(
            "extern \"C\" __global__ void busy(const float* in, float* out, int n) {{ {kept} __syncthreads(); {used} }}"
        )
    };
    for count in [1, 10, 20, 33, 47, 64, 90, 120] {
        let cubin = compile(&busy(count), "busy", &options).expect("it compiles");
        let function = CudaModule::load(&device, &cubin.bytes)
            .expect("it loads")
            .function("busy")
            .expect("the kernel");
        function.allow_shared(96 << 10).expect("there is as much");
        let registers = function.resources().expect("its resources").registers;
        for threads in [32, 64, 96, 128, 224, 256, 512, 1024] {
            for shared_bytes in [0, 1, 1000, 4 << 10, 16 << 10, 40 << 10, 96 << 10] {
                let block = Block {
                    threads,
                    registers,
                    shared_bytes,
                };
                let Some(found) = Occupancy::of(block, architecture) else {
                    println!("the limits of {architecture} are not known");
                    return;
                };
                let told = function.blocks_at_once(threads, shared_bytes).expect("it is told");
                assert_eq!(found.blocks, told, "{block:?} on {architecture}");
            }
        }
    }
}

#[test]
fn a_kernel_may_be_allowed_more_shared_memory_than_every_block_has() {
    let Some(device) = gpu() else { return };
    let bytes = 16 * 1024 * 4;
    assert!(bytes > device.properties().shared_bytes_per_block);
    let function = module(&device).function("shared_memory").expect("the kernel");
    let out = CudaMemory::zeroed(&device, 16 * 4).expect("memory");
    let run = || {
        let mut address = out.address();
        // SAFETY: the types are those of the kernel, which writes one element a thread; `out` is read afterwards.
        unsafe {
            launch(
                &function,
                1,
                [16, 1, 1],
                bytes,
                &mut [pointer(&mut address)],
                device.stream(),
            )
        }
    };
    assert!(matches!(
        run(),
        Err(DeviceError::Driver {
            call: "cuLaunchKernel",
            ..
        })
    ));
    function.allow_shared(bytes).expect("it is within the limit");
    run().expect("a launch");
    assert_eq!(download(&out), (1..=16).collect::<Vec<_>>());
}

#[test]
fn a_graph_replays_what_was_captured_with_the_values_of_the_moment() {
    let Some(device) = gpu() else { return };
    let function = module(&device).function("add").expect("the kernel");
    let (input, out) = (upload(&device, &[1, 2, 3]), upload(&device, &[0, 0, 0]));
    let stream = device.new_stream().expect("a stream");
    let body = || {
        add(&function, &stream, &out, &input, 10);
        add(&function, &stream, &out, &out, 100);
        Ok::<(), DeviceError>(())
    };
    // SAFETY: nobody else has the stream.
    let mut graph = unsafe { stream.capture(body) }.expect("a graph");
    assert_eq!(download(&out), [0, 0, 0], "a capture runs nothing");
    for values in [[1, 2, 3], [7, 8, 9]] {
        input.upload(0, bytemuck::cast_slice(&values)).expect("an upload");
        // SAFETY: all that the graph uses is alive until it has been waited for.
        unsafe { graph.launch() }.expect("a replay");
        stream.synchronize().expect("it ran");
        assert_eq!(download(&out), values.map(|value| value + 110));
    }
}

/// What the bindings of older versions of CUDA cannot ask for.
#[cfg(feature = "cuda-13000")]
#[test]
fn an_overlapping_launch_is_joined_to_the_one_before_it_by_a_programmatic_edge() {
    use cudarc::driver::sys;
    let Some(device) = gpu() else { return };
    if !device.properties().overlapping_launches {
        skip("launches do not overlap here");
        return;
    }
    let function = module(&device).function("add").expect("the kernel");
    let out = upload(&device, &[0]);
    let stream = device.new_stream().expect("a stream");
    let (mut to, mut amount, mut count) = (out.address(), 1u32, 1u32);
    let mut from = to;
    let mut args = [
        pointer(&mut to),
        pointer(&mut from),
        pointer(&mut amount),
        pointer(&mut count),
    ];
    let captured = stream.stream();
    captured
        .begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .expect("a capture");
    // SAFETY: the types are those of the kernel; nothing of it is ever run.
    unsafe {
        launch(&function, 1, [32, 1, 1], 0, &mut args, &stream).expect("a launch");
        launch_overlapping(&function, 1, [32, 1, 1], 0, &mut args, &stream).expect("a launch");
        launch(&function, 1, [32, 1, 1], 0, &mut args, &stream).expect("a launch");
    }
    let graph = captured
        .end_capture(sys::CUgraphInstantiate_flags(0))
        .expect("a graph")
        .expect("something was captured");
    let mut edges = 2;
    let mut from = [std::ptr::null_mut(); 2];
    let mut to = [std::ptr::null_mut(); 2];
    let mut data = [sys::CUgraphEdgeData {
        from_port: 0,
        to_port: 0,
        type_: 0,
        reserved: [0; 5],
    }; 2];
    // SAFETY: the arrays are as long as `edges` says.
    unsafe {
        sys::cuGraphGetEdges_v2(
            graph.cu_graph(),
            from.as_mut_ptr(),
            to.as_mut_ptr(),
            data.as_mut_ptr(),
            &mut edges,
        )
    }
    .result()
    .expect("edges");
    assert_eq!(edges, 2);
    let programmatic = sys::CUgraphDependencyType::CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC as u8;
    // Edges come in no order: the one whose end is where the other begins is the first.
    let first = usize::from(to[0] != from[1]);
    assert_eq!([data[first].type_, data[1 - first].type_], [programmatic, 0]);
}

#[test]
fn a_capture_refuses_what_a_graph_cannot_hold_and_goes_on() {
    let Some(device) = gpu() else { return };
    let function = module(&device).function("add").expect("the kernel");
    let out = upload(&device, &[5]);
    let mut dropped = Some(upload(&device, &[6]));
    let capturing = |result: Result<(), DeviceError>| assert!(matches!(result, Err(DeviceError::Capturing { .. })));
    let options = CompileOptions::new(device.properties().architecture);
    let cubin = compile(SOURCE, "tests", &options).expect("it compiles");
    let body = || {
        capturing(CudaMemory::new(&device, 4).map(|_| ()));
        capturing(out.upload(0, &[0; 4]));
        capturing(out.download(0, &mut [0; 4]));
        capturing(device.stream().synchronize());
        capturing(CudaModule::load(&device, &cubin.bytes).map(|_| ()));
        dropped.take();
        // What a background compile does meanwhile.
        std::thread::scope(|scope| drop(scope.spawn(|| self::module(&device)).join().expect("it loads")));
        add(&function, device.stream(), &out, &out, 1);
        Ok::<(), DeviceError>(())
    };
    // SAFETY: nobody else has the device.
    let mut graph = unsafe { device.stream().capture(body) }.expect("a graph");
    // SAFETY: all that the graph uses is alive until it has been waited for.
    unsafe { graph.launch() }.expect("a replay");
    assert_eq!(download(&out), [6]);
    assert_eq!(device.unfreed().lock().len(), 1);
    drop(upload(&device, &[1]));
    assert!(
        device.unfreed().lock().is_empty(),
        "the next allocation frees what a capture kept"
    );
}

#[test]
fn an_error_or_a_panic_in_a_capture_ends_it() {
    let Some(device) = gpu() else { return };
    let stream = device.new_stream().expect("a stream");
    // SAFETY: nobody else has the stream.
    let failed = unsafe { stream.capture(|| Err(DeviceError::MissingDriver)) };
    assert_eq!(failed.err(), Some(DeviceError::MissingDriver));
    assert_eq!(stream.is_capturing(), Ok(false));
    // SAFETY: as above.
    let panicked = std::panic::AssertUnwindSafe(|| unsafe {
        stream.capture(|| -> Result<(), DeviceError> { panic!("in a capture") })
    });
    assert!(std::panic::catch_unwind(panicked).is_err());
    // What is refused in a capture is not refused behind one.
    drop(upload(&device, &[1]));
    assert_eq!(stream.is_capturing(), Ok(false));
}

#[test]
fn events_measure_what_lies_between_them() {
    let Some(device) = gpu() else { return };
    let function = module(&device).function("slow").expect("the kernel");
    let out = CudaMemory::zeroed(&device, 4).expect("memory");
    let (start, end) = (
        CudaEvent::timed(&device).expect("an event"),
        CudaEvent::timed(&device).expect("an event"),
    );
    start.record(device.stream()).expect("recorded");
    let (mut address, mut cycles) = (out.address(), 3_000_000i64);
    let mut args = [pointer(&mut address), pointer(&mut cycles)];
    // SAFETY: the types are those of the kernel; it has run before `out` is dropped.
    unsafe { launch(&function, 1, [1, 1, 1], 0, &mut args, device.stream()) }.expect("a launch");
    end.record(device.stream()).expect("recorded");
    let elapsed = start.elapsed_us(&end).expect("a time");
    assert!(
        (500.0..100_000.0).contains(&elapsed),
        "3 million cycles took {elapsed} us"
    );
}

#[test]
fn a_cudarc_context_and_stream_can_be_used_as_they_are() {
    let Some(device) = gpu() else { return };
    let context = cudarc::driver::CudaContext::new(0).expect("a context");
    let same = CudaDevice::of(&context).expect("a device");
    let copy = CudaMemory::zeroed(&device, 4096).expect("memory");
    copy.copy_from(0, &upload(&same, &numbers(1024)), 0, 4096)
        .expect("a copy between two handles of one device");
    assert_eq!(download(&copy), numbers(1024));
    let stream = CudaStream::of(&device, context.new_stream().expect("a stream")).expect("the same context");
    let function = module(&same).function("add").expect("the kernel");
    let out = upload(&same, &[1]);
    add(&function, &stream, &out, &out, 1);
    stream.synchronize().expect("it ran");
    assert_eq!(download(&out), [2]);
}

#[test]
fn nothing_of_a_callers_context_is_changed() {
    let Some(device) = gpu() else { return };
    for tracking in [true, false] {
        let context = cudarc::driver::CudaContext::new(0).expect("a context");
        if !tracking {
            // SAFETY: no slice is made of this context.
            unsafe { context.disable_event_tracking() };
        }
        let theirs = context.new_stream().expect("a stream");
        let same = CudaDevice::of(&context).expect("a device");
        let beside = same.new_stream().expect("a stream");
        let stream = CudaStream::of(&same, theirs.clone()).expect("the same context");
        stream.follow(&same, &beside).expect("a wait");
        assert_eq!(context.is_event_tracking(), tracking);
        let function = module(&device).function("add").expect("the kernel");
        let out = upload(&same, &[1]);
        add(&function, &stream, &out, &out, 1);
        stream.synchronize().expect("it ran");
        assert_eq!(download(&out), [2]);
        assert_eq!(context.is_event_tracking(), tracking);
    }
    // One stream of its owner is one stream: with it, events of slices need not be waited for.
    let context = cudarc::driver::CudaContext::new(0).expect("a context");
    let same = CudaDevice::of(&context).expect("a device");
    drop((same.new_stream().expect("a stream"), upload(&same, &[1])));
    assert!(!context.is_in_multi_stream_mode());
    context.check_err().expect("no error of ours is left there");
}

#[test]
fn the_default_stream_of_each_thread_is_refused_and_the_legacy_one_has_one_name() {
    let Some(device) = gpu() else { return };
    let of_each_thread = device.context().per_thread_stream();
    let refused = CudaStream::of(&device, of_each_thread);
    assert_eq!(refused.err(), Some(DeviceError::PerThreadStream));
    // SAFETY: the handles 0 and 1 are the default stream of every context, and 2 is refused.
    let by_handle = |handle: usize| unsafe { CudaStream::from_raw(&device, handle as *mut _) };
    assert!(matches!(by_handle(2), Err(DeviceError::PerThreadStream)));
    let [default, legacy] = [0, 1].map(|handle| by_handle(handle).expect("the default stream"));
    assert_eq!(default.identity(), legacy.identity());
    assert_ne!(default.identity(), device.stream().identity());
}

#[test]
fn memory_that_cannot_be_freed_does_not_keep_other_memory_from_it() {
    let Some(device) = gpu() else { return };
    let kept: Vec<u64> = [upload(&device, &[1]), upload(&device, &[2])]
        .into_iter()
        .map(|memory| std::mem::ManuallyDrop::new(memory).address())
        .collect();
    // The second is no allocation.
    device.unfreed().lock().extend([kept[0], 8, kept[1]]);
    drop(upload(&device, &[3]));
    assert_eq!(*device.unfreed().lock(), [8]);
    device.unfreed().lock().clear();
}

#[test]
fn only_memory_of_the_device_is_taken_for_it() {
    let Some(device) = gpu() else { return };
    let memory = upload(&device, &[1, 2, 3, 4]);
    device.check_memory(memory.address(), memory.len()).expect("its memory");
    let word = Box::new(7u64);
    let error = device
        .check_memory(std::ptr::from_ref(&*word) as u64, 8)
        .expect_err("the host's")
        .to_string();
    assert!(error.contains("no memory of CUDA device 0"), "{error}");
}

/// Not a claim, a look: `cargo test -- --ignored --nocapture the_cost`.
#[test]
#[ignore = "a measurement"]
fn the_cost_of_a_launch_to_the_host() {
    let Some(device) = gpu() else { return };
    let function = module(&device).function("add").expect("the kernel");
    let out = upload(&device, &[1]);
    for round in 0..3 {
        device.stream().synchronize().expect("it ran");
        let started = std::time::Instant::now();
        (0..1000).for_each(|_| add(&function, device.stream(), &out, &out, 1));
        println!("round {round}: {:?} a launch", started.elapsed() / 1000);
    }
    device.stream().synchronize().expect("it ran");
}
