//! What is compiled behind is loaded when the GPU has nothing to do: the driver holds up launches until a kernel is loaded, which
//! waits for all that is queued.

#![allow(unsafe_code)] // Whoever lends a stream promises that it lives.

use std::sync::MutexGuard;
use std::thread;
use std::time::{Duration, Instant};

use tilewright::dp::kernels::copy_to_slot;
use tilewright::prelude::*;
use tilewright::runtime::Tier;
use tilewright::runtime::cache::CubinCache;
use tilewright::runtime::device::cuda::CudaEvent;
use tilewright::runtime::device::cuda::cudarc::driver::{CudaContext, sys};
use tilewright_testing::{Part, turn};

const LONG: Duration = Duration::from_secs(120);
const ROWS: usize = 64;

/// Numbers of a generator, one after the other: so many rounds of a few nanoseconds each, of which no compiler makes fewer.
#[kernel(grid = [1])]
fn busy(out: &mut Tensor<u32, 1>, rounds: Count) {
    let (mut state, mut round) = (out.load([0]), 0i64);
    while round < rounds {
        state = (state ^ (state >> 15)) * 1_664_525 + 1_013_904_223;
        round += 1;
    }
    out.store([0], state);
}

/// The GPU for one test at a time, and how many rounds keep it busy for about two seconds. No cubin comes from a disk.
fn gpu() -> Option<(Device, u64, MutexGuard<'static, ()>)> {
    let turn = turn();
    let gpu = Part::Gpu.or_skip(Device::cuda(0))?;
    CubinCache::new().install();
    let rounds = rounds_of_two_seconds(&gpu);
    Some((gpu, rounds, turn))
}

struct Rows {
    columns: usize,
    values: Vec<u16>,
    src: DeviceTensor<u16, 2>,
    out: DeviceTensor<u16, 2>,
}

impl Rows {
    fn on(device: &Device, columns: usize) -> Self {
        let values: Vec<u16> = (0..ROWS * columns).map(|at| (at * 31 + 7) as u16).collect();
        let src = device.upload(&values, [ROWS, columns]).expect("an upload");
        let out = device.zeros([ROWS, columns]).expect("memory");
        Self {
            columns,
            values,
            src,
            out,
        }
    }

    fn step(&mut self, stream: &Stream, start: u64) -> Option<Tier> {
        let call = copy_to_slot(&mut self.out, &self.src, Runtime(start), Runtime(5));
        call.launch_on(stream).expect("a launch").tier()
    }

    fn check(&self, start: usize) {
        let found = self.out.download().expect("rows");
        let part = |values: &[u16], from: usize| values[from * self.columns..][..5 * self.columns].to_vec();
        assert!(part(&found, start) == part(&self.values, 0), "{} columns", self.columns);
    }
}

/// What launches saw of a variant that was made behind a queue of work.
struct Seen {
    /// The longest on the host.
    longest: Duration,
    /// Whether it served any of them.
    is_promoted: bool,
    took: Duration,
}

/// Launches on a stream rows of a width that is new, behind work that takes its time, until that is done.
fn launch_behind_work(device: &Device, stream: &Stream, rounds: u64, columns: usize) -> (Rows, Seen) {
    let mut rows = Rows::on(device, columns);
    let mut state = device.upload(&[1u32], [1]).expect("an upload");
    busy(&mut state, Runtime(1)).launch_on(stream).expect("a launch");
    stream.synchronize().expect("it is done");
    assert!(Device::settle(LONG));
    // Compiled for this launch: better ones are asked for now.
    assert_eq!(rows.step(stream, 1), Some(Tier::Resident));
    let began = Instant::now();
    busy(&mut state, Runtime(rounds)).launch_on(stream).expect("a launch");
    let (mut longest, mut is_promoted) = (Duration::ZERO, false);
    let over = CudaEvent::new(device.as_cuda().expect("a GPU")).expect("an event");
    over.record(stream.as_cuda().expect("a GPU's")).expect("recorded");
    while !over.is_passed().expect("it is known") {
        let launched = Instant::now();
        is_promoted |= rows.step(stream, 2) == Some(Tier::Proved);
        longest = longest.max(launched.elapsed());
        // Fewer than a stream holds.
        thread::sleep(Duration::from_millis(3));
    }
    let took = began.elapsed();
    rows.step(stream, 2);
    (
        rows,
        Seen {
            longest,
            is_promoted,
            took,
        },
    )
}

/// So many rounds that they take about two seconds.
fn rounds_of_two_seconds(device: &Device) -> u64 {
    const FEW: u64 = 20_000_000;
    let mut state = device.upload(&[1u32], [1]).expect("an upload");
    let mut time = || {
        let began = Instant::now();
        busy(&mut state, Runtime(FEW)).launch(device).expect("a launch");
        device.synchronize().expect("it is done");
        began.elapsed()
    };
    time();
    // The variant that is to serve from now on.
    assert!(Device::settle(LONG));
    let seconds = time().as_secs_f64();
    (2.0 / seconds * FEW as f64) as u64
}

#[test]
fn what_is_compiled_behind_holds_up_no_launch_however_much_is_queued() {
    let Some((gpu, rounds, _turn)) = gpu() else { return };
    let context = gpu.as_cuda().expect("a GPU").context().clone();
    let theirs = context.new_stream().expect("a stream");
    // SAFETY: the stream lives until the end of the test, after all that uses it.
    let lent = unsafe { Stream::from_raw(&gpu, theirs.cu_stream() as usize) }.expect("a stream");
    let streams = [gpu.stream(), gpu.new_stream().expect("a stream"), lent];
    for (stream, columns) in streams.iter().zip([1003usize, 1004, 1005]) {
        let before = gpu.counters();
        let (mut rows, seen) = launch_behind_work(&gpu, stream, rounds, columns);
        let Seen {
            longest,
            is_promoted,
            took,
        } = seen;
        println!("{columns} columns: the longest of the launches took {longest:?} of {took:?}");
        assert!(took > Duration::from_secs(1), "{took:?}");
        assert!(longest < took / 8, "{longest:?} of {took:?}");
        assert!(!is_promoted, "there was no moment for it");
        assert!(Device::settle(LONG), "now there is");
        assert_eq!(rows.step(stream, 3), Some(Tier::Proved));
        rows.check(3);
        let after = gpu.counters();
        assert!(after.promotions > before.promotions);
        assert_eq!((after.busy_loads, after.failures), (before.busy_loads, before.failures));
    }
    // The lent one before its owner's.
    drop(streams);
}

#[test]
fn who_has_no_patience_has_it_loaded_while_there_is_work() {
    let Some((gpu, rounds, _turn)) = gpu() else { return };
    let before = gpu.counters();
    gpu.set_patience(Duration::from_millis(50));
    let (rows, seen) = launch_behind_work(&gpu, &gpu.stream(), rounds, 1006);
    gpu.set_patience(Duration::MAX);
    assert!(Device::settle(LONG));
    rows.check(2);
    let after = gpu.counters();
    println!("the longest of the launches took {:?} of {:?}", seen.longest, seen.took);
    assert!(after.busy_loads > before.busy_loads, "{after:?}");
}

#[test]
fn a_capture_goes_on_while_something_waits_to_be_loaded() {
    let Some((gpu, rounds, _turn)) = gpu() else { return };
    let stream = gpu.new_stream().expect("a stream");
    let mut state = gpu.upload(&[1u32], [1]).expect("an upload");
    let mut rows = Rows::on(&gpu, 1007);
    let mut other = Rows::on(&gpu, 1008);
    // An engine's own, which forbids all threads what may break it off.
    let theirs = CudaContext::new(0).expect("a context");
    // SAFETY: there are no slices of this handle but one, on one stream.
    unsafe { theirs.disable_event_tracking() };
    let theirs = theirs.new_stream().expect("a stream");
    let mut slice = theirs.alloc_zeros::<u8>(64).expect("memory");
    other.step(&stream, 1);
    assert!(Device::settle(LONG));
    rows.step(&stream, 1);
    busy(&mut state, Runtime(rounds)).launch_on(&stream).expect("a launch");
    // The better variant is compiled meanwhile, and waits.
    let began = Instant::now();
    let mut graphs = 0;
    while began.elapsed() < Duration::from_millis(1500) {
        let graph = gpu.capture(|stream| {
            other.step(stream, 4);
            thread::sleep(Duration::from_millis(20));
            Ok::<_, LaunchError>(())
        });
        let mut graph = graph.expect("nothing breaks it off");
        graph.launch_on(&stream).expect("a launch");
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
        theirs.begin_capture(mode).expect("a capture");
        theirs.memset_zeros(&mut slice).expect("captured");
        thread::sleep(Duration::from_millis(20));
        // Nothing better is there yet.
        assert_eq!(rows.step(&stream, 2), Some(Tier::Resident));
        let graph = theirs.end_capture(sys::CUgraphInstantiate_flags(0));
        assert!(graph.expect("nothing breaks it off").is_some());
        graphs += 1;
    }
    assert!(graphs > 5, "{graphs}");
    gpu.synchronize().expect("all is done");
    assert!(Device::settle(LONG));
    assert_eq!(rows.step(&stream, 3), Some(Tier::Proved));
    rows.check(3);
    other.check(4);
}
