//! What classes that were never launched cost, beside NVRTC alone. Only `a_class_is_made_in_far_less_time_than_it_is_compiled`
//! decides anything; the others print what they measured.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use tilewright_dsl::call::Exact;
use tilewright_testing::Part;

use super::*;
use crate::cache::{BundleBuilder, CubinCache, DiskCache};
use crate::compile::{Architecture, CompileOptions, Compiler, Nvrtc, compile};
use crate::{LaunchError, Target};

const PLACED: usize = 64;
const H100: Target = Target::new(Architecture::new(9, 0), 132);

#[kernel(grid = [out.extent(0).min(index.extent(0))])]
fn gather(out: &mut Tensor<u16, 2>, src: &Tensor<u16, 2>, index: &Tensor<i32, 1>) {
    require(out.extent(1) == src.extent(1));
    let row = program_id(0);
    let from = index.load([row]);
    let cols = arange(out.extent(1));
    out.store([row, cols], src.load([from, cols]));
}

/// Does something with a call of a class of its own for each number: no other has rows as long. Which rows there are is
/// not known of the class, so that it has a resident variant and a better one.
fn placing(device: &Device, number: usize, act: impl FnOnce(Call<'_>) -> Result<(), LaunchError>) {
    let zeros = || device.zeros::<i32, 2>([PLACED, 3584 - 4 * number]).expect("memory");
    let (mut out, src) = (zeros(), zeros());
    act(place(&mut out, &src, Exact(3), Exact(7))).expect("it is served");
}

/// Serves a launch of a class as a GPU would, but for loading what serves it.
fn serve(device: &Device, number: usize) {
    placing(device, number, |call| device.specializer().serve(&call).map(drop));
}

fn offline(bundle: &BundleBuilder, specialize: Specialize) -> Device {
    let device = bundle.device(H100);
    device.set_specialize(specialize);
    device
}

/// From when all threads are there until all have done their numbers.
fn timed(threads: usize, classes: usize, act: &(dyn Fn(usize) + Sync)) -> Duration {
    let barrier = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let run = |thread: usize| {
            let barrier = &barrier;
            move || {
                barrier.wait();
                (0..classes).for_each(|class| act(thread * classes + class));
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(run(thread))).collect();
        barrier.wait();
        let begin = Instant::now();
        for thread in running {
            thread.join().expect("no panic");
        }
        begin.elapsed()
    })
}

#[test]
fn a_class_is_made_in_far_less_time_than_it_is_compiled() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let bundle = BundleBuilder::new();
    let zeros = || Device::cpu().zeros::<u16, 2>([PLACED, 7168]).expect("memory");
    let index = Device::cpu().zeros::<i32, 1>([PLACED]).expect("memory");
    let (mut out, src) = (zeros(), zeros());
    let mut launch = || {
        let device = offline(&bundle, Specialize::Tiered);
        let begin = Instant::now();
        gather(&mut out, &src, &index).launch(&device).expect("a launch");
        begin.elapsed()
    };
    launch();
    // All of it is in the bundle now: what is left is recording, proving, lowering and finding.
    let compiled = bundle.len();
    let mut times: Vec<_> = (0..50).map(|_| launch()).collect();
    times.sort_unstable();
    let (p50, p99) = (times[25], times[49]);
    println!("a gather recorded, proved and lowered: p50 {p50:?}, p99 {p99:?}");
    // Unoptimised code and a busy machine are slower.
    let most = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 1 });
    assert!(p50 < most, "{p50:?}");
    assert_eq!(bundle.len(), compiled);
}

/// One class after the other, each waited for with nothing else going on, beside NVRTC alone with the source that the class has.
/// * `nvrtc`, `ptx`: a launch on the GPU, if there is one, by each compiler, which loads what it compiles; `tiered` is the launch of
///   a device that nothing was said to.
#[test]
#[ignore = "a measurement: run it by itself, with --release, --ignored and --nocapture"]
fn one_cold_class_at_a_time_beside_nvrtc_alone() {
    const CLASSES: usize = 40;
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let Ok(gpu) = Device::cuda_with(0, Compiler::Nvrtc) else {
        println!("there is no GPU");
        return;
    };
    let architecture = gpu.as_cuda().expect("a GPU").properties().architecture;
    let options = CompileOptions::new(architecture);
    CubinCache::new().install();
    let mut columns = vec![("nvrtc", gpu)];
    let others = [("ptx", Compiler::Ptx), ("tiered", Compiler::default())];
    columns.extend(others.map(|(name, compiler)| (name, Device::cuda_with(0, compiler).expect("a GPU"))));
    for (_, device) in &columns[..2] {
        device.set_specialize(Specialize::Resident);
    }
    // What is made once in a process, and what a launch costs that is served.
    for (_, device) in &columns {
        placing(device, CLASSES, |call| call.launch(device).map(drop));
    }
    let mut alone = Vec::new();
    let mut times = vec![Vec::new(); columns.len()];
    for number in 0..CLASSES {
        let known = BundleBuilder::new();
        let offline = known.device(Target::new(architecture, 132));
        offline.set_specialize(Specialize::Resident);
        serve(&offline, number);
        let variants = offline.variants();
        let module = variants
            .iter()
            .find_map(|variant| variant.module())
            .expect("it was built");
        assert!(Device::settle(LONG), "nothing is left to be done");
        let begin = Instant::now();
        compile(module.text.as_str(), &module.entry, &options).expect("it compiles");
        alone.push(begin.elapsed());
        for ((_, device), times) in columns.iter().zip(&mut times) {
            placing(device, number, |call| {
                let begin = Instant::now();
                call.launch(device)?;
                times.push(begin.elapsed());
                Ok(())
            });
            assert!(Device::settle(LONG), "nothing is left to be done");
        }
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let quantiles = |mut values: Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        [0.5, 0.9].map(|share| values[(values.len() as f64 * share) as usize])
    };
    println!("ms for each of {CLASSES} classes that were never launched, one at a time");
    println!("              p50      p90  over NVRTC with the same class: p50");
    let [p50, p90] = quantiles(alone.iter().copied().map(ms).collect());
    println!("   alone {p50:>8.2} {p90:>8.2}");
    for ((name, _), times) in columns.iter().zip(&times) {
        let [p50, p90] = quantiles(times.iter().copied().map(ms).collect());
        let [over, _] = quantiles(
            times
                .iter()
                .zip(&alone)
                .map(|(time, alone)| ms(*time) - ms(*alone))
                .collect(),
        );
        println!("{name:>8} {p50:>8.2} {p90:>8.2} {over:>8.2}");
    }
}

/// Cold classes on threads, each of which waits for its own. `TILEWRIGHT_THREADS=1,4,16` says on how many.
///
/// * `alone`: NVRTC with the sources that the classes have. `resident`: the launch, down to NVRTC. `tiered`: what serves
///   better is compiled behind meanwhile. `disk`: and all of it is kept in a disk cache that was empty.
/// * `nvrtc` and `ptx`: launches on the GPU, if there is one, by each compiler, which load what they compile. `ptx` is compiled by
///   the driver, whose own cache `CUDA_CACHE_DISABLE=1` turns off.
#[test]
#[ignore = "a measurement: run it by itself, with --release, --ignored and --nocapture"]
fn cold_classes_on_threads_beside_nvrtc_alone() {
    const CLASSES: usize = 4;
    const ROUNDS: usize = 3;
    let Some(nvrtc) = Part::Nvrtc.or_skip(Nvrtc::load()) else {
        return;
    };
    let asked = std::env::var("TILEWRIGHT_THREADS").unwrap_or_else(|_| "1,2,4,8,16".to_owned());
    let threads: Vec<usize> = asked.split(',').map(|count| count.parse().expect("a number")).collect();
    let all = threads.iter().max().expect("a number") * CLASSES;
    let options = CompileOptions::new(H100.architecture);
    CubinCache::new().install();
    let known = BundleBuilder::new();
    let device = offline(&known, Specialize::Resident);
    (0..all).for_each(|number| serve(&device, number));
    let variants = device.variants();
    let sources: Vec<_> = variants.iter().filter_map(|variant| variant.module()).collect();

    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!(
        "NVRTC {:?}, {cores} cores; ms for each of {CLASSES} classes a thread, in wall time",
        nvrtc.version()
    );
    println!("threads    alone resident   tiered     disk    nvrtc      ptx");
    for threads in threads {
        let mut least = [Duration::MAX; 6];
        for _ in 0..ROUNDS {
            let mut measure = |at: usize, act: &(dyn Fn(usize) + Sync)| {
                least[at] = least[at].min(timed(threads, CLASSES, act));
                assert!(
                    Device::settle(LONG) && CubinCache::settle(LONG),
                    "nothing is left to be done"
                );
            };
            measure(0, &|number| {
                let module = sources[number];
                compile(module.text.as_str(), &module.entry, &options).expect("it compiles");
            });
            for (at, specialize) in [(1, Specialize::Resident), (2, Specialize::Tiered)] {
                let device = offline(&BundleBuilder::new(), specialize);
                measure(at, &|number| serve(&device, number));
            }
            let folder = tempfile::tempdir().expect("a folder");
            CubinCache::new().with_disk(DiskCache::at(folder.path())).install();
            let device = offline(&BundleBuilder::new(), Specialize::Tiered);
            measure(3, &|number| serve(&device, number));
            CubinCache::new().install();
            for (at, compiler) in [(4, Compiler::Nvrtc), (5, Compiler::Ptx)] {
                if let Ok(gpu) = Device::cuda_with(0, compiler) {
                    gpu.set_specialize(Specialize::Resident);
                    measure(at, &|number| placing(&gpu, number, |call| call.launch(&gpu).map(drop)));
                }
            }
        }
        let per_class = |wall: Duration| wall.as_secs_f64() * 1e3 / (threads * CLASSES) as f64;
        let shown = least.map(|wall| match wall {
            Duration::MAX => format!("{:>8}", "-"),
            wall => format!("{:>8.2}", per_class(wall)),
        });
        println!("{threads:>7} {}", shown.join(" "));
    }
}
