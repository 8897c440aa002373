//! Tiers on a GPU: launches that wait for nothing while variants are compiled behind, and the same bits before, during and after
//! each swap (acceptance cases 72 to 74, 79, 87, 88).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use tilewright::dp::kernels::{copy_to_slot, pad_rows, place_rows};
use tilewright::prelude::*;
use tilewright::runtime::cache::CubinCache;
use tilewright::runtime::compile::{CompileError, CompileOptions, Compiler, Nvrtc, unended};
use tilewright::runtime::{CodeLimits, Event, Tier};
use tilewright_testing::{Part, turn};

const LONG: Duration = Duration::from_secs(120);
const ROWS: usize = 64;

/// The GPU for one test at a time, which counts what all do. No cubin comes from a disk.
fn gpu() -> Option<(Device, MutexGuard<'static, ()>)> {
    let turn = turn();
    let gpu = Part::Gpu.or_skip(Device::cuda(0))?;
    CubinCache::new().install();
    gpu.unseal();
    gpu.set_specialize(Specialize::Tiered);
    Some((gpu, turn))
}

fn settle() {
    assert!(Device::settle(LONG), "what is compiled behind is done");
}

/// Three kernels over rows, and what they have to leave.
struct Rows {
    columns: usize,
    values: Vec<u16>,
    src: DeviceTensor<u16, 2>,
}

impl Rows {
    fn on(device: &Device, columns: usize) -> Self {
        let values: Vec<u16> = (0..ROWS * columns).map(|at| (at * 31 + 7) as u16).collect();
        let src = device.upload(&values, [ROWS, columns]).expect("an upload");
        Self { columns, values, src }
    }

    /// Launches each on a stream and checks every bit. Returns the tiers that served them.
    fn step(&self, stream: &Stream, start: u64, rows: u64) -> Vec<Tier> {
        let device = stream.device();
        let sentinels = vec![0xbeefu16; ROWS * self.columns];
        let out = || device.upload(&sentinels, [ROWS, self.columns]).expect("an upload");
        let [mut copied, mut placed, mut padded] = [out(), out(), out()];
        let launched = [
            copy_to_slot(&mut copied, &self.src, Exact(start), Exact(rows)).launch_on(stream),
            place_rows(&mut placed, &self.src, Exact(start), Exact(0), Exact(rows)).launch_on(stream),
            pad_rows(&mut padded, &self.src, Exact(rows)).launch_on(stream),
        ];
        let tiers = launched.map(|launched| launched.expect("a launch").tier());
        let row = |from: usize| self.values[from * self.columns..][..self.columns].to_vec();
        let in_slot =
            |at: usize, otherwise: u16| match at.checked_sub(start as usize).filter(|from| *from < rows as usize) {
                Some(from) => row(from),
                None => vec![otherwise; self.columns],
            };
        let expected = |row: &dyn Fn(usize) -> Vec<u16>| (0..ROWS).flat_map(row).collect::<Vec<_>>();
        let what = format!("{rows} rows at {start}");
        assert!(
            copied.download().expect("rows") == expected(&|at| in_slot(at, 0xbeef)),
            "copied: {what}"
        );
        assert!(
            placed.download().expect("rows") == expected(&|at| in_slot(at, 0)),
            "placed: {what}"
        );
        let in_front = |at: usize| {
            if at < rows as usize {
                row(at)
            } else {
                vec![0; self.columns]
            }
        };
        assert!(
            padded.download().expect("rows") == expected(&in_front),
            "padded: {what}"
        );
        tiers.into_iter().flatten().collect()
    }
}

#[test]
fn the_bits_are_the_same_before_during_and_after_every_swap_and_no_launch_waits() {
    let Some((gpu, _turn)) = gpu() else { return };
    // Rows of whole vectors, and rows that need ends.
    for columns in [1024, 1001] {
        let rows = Rows::on(&gpu, columns);
        let stream = gpu.stream();
        rows.step(&stream, 3, 8);
        let before = gpu.counters();
        gpu.seal();
        let is_over = AtomicBool::new(false);
        let launches = AtomicU64::new(0);
        let mut served = Vec::new();
        thread::scope(|scope| {
            for seed in 0..3 {
                let (rows, gpu, is_over, launches) = (&rows, &gpu, &is_over, &launches);
                scope.spawn(move || {
                    let stream = gpu.new_stream().expect("a stream");
                    let mut random = fastrand::Rng::with_seed(seed);
                    while !is_over.load(SeqCst) {
                        let (start, count) = (random.u64(0..ROWS as u64), random.u64(1..=ROWS as u64));
                        launches.fetch_add(rows.step(&stream, start, count).len() as u64, SeqCst);
                    }
                });
            }
            // One that repeats, so that its literals are tried; and after they were.
            let started = Instant::now();
            while !served.contains(&Tier::Literal) && started.elapsed() < LONG {
                served.extend(rows.step(&stream, 3, 8));
            }
            for _ in 0..100 {
                served.extend(rows.step(&stream, 3, 8));
            }
            is_over.store(true, SeqCst);
        });
        settle();
        served.extend(rows.step(&stream, 3, 8));
        gpu.unseal();
        let after = gpu.counters();
        assert_eq!(
            (after.waits, after.failures),
            (before.waits, before.failures),
            "{columns} columns"
        );
        assert!(after.promotions > before.promotions, "{columns} columns: {after:?}");
        for tier in [Tier::Resident, Tier::Literal] {
            assert!(
                served.contains(&tier),
                "{columns} columns: {tier} served none of {} launches: {after:?}",
                served.len()
            );
        }
        let measured = gpu.measured();
        assert!(!measured.is_empty());
        for measured in measured {
            println!("{measured}");
        }
    }
}

#[test]
fn a_thousand_random_batches_after_a_warm_up_compile_nothing_that_a_launch_waits_for() {
    let Some((gpu, _turn)) = gpu() else { return };
    let rows = Rows::on(&gpu, 512);
    let mut out = gpu.zeros::<u16, 2>([ROWS, 512]).expect("memory");
    let range = 0..=ROWS as u64;
    for policy in [
        CountPolicy::Runtime,
        CountPolicy::Buckets(vec![16, 32, 48, 64]),
        CountPolicy::ExactUpTo(8),
    ] {
        let before = gpu.counters();
        let call = copy_to_slot(&mut out, &rows.src, policy.bind(0), policy.bind(1));
        let warmed = gpu
            .warm_up([call], &policy, range.clone(), |_| {})
            .expect("it is warmed up");
        gpu.seal();
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..1000 {
            let (start, count) = (random.u64(range.clone()), random.u64(range.clone()));
            let call = copy_to_slot(&mut out, &rows.src, policy.bind(start), policy.bind(count));
            call.launch(&gpu).expect("nothing is missing");
        }
        gpu.unseal();
        settle();
        let after = gpu.counters();
        assert_eq!(
            (after.waits, after.failures),
            (before.waits, before.failures),
            "{policy:?}"
        );
        let built = after.variants - before.variants;
        let reachable = policy.key_count(range.clone());
        println!(
            "{policy:?}: {built} binaries, {} of them warmed up, of {reachable} keys of each count; {} with sets of \
             conditions and schedules",
            warmed.built, warmed.keys
        );
        // Each is served by the resident variant, that for its conditions, and that with its literals.
        assert!(built <= warmed.keys as u64 * 3, "{policy:?}: {after:?}");
    }
    gpu.synchronize().expect("nothing is wrong");
}

#[test]
fn two_hundred_threads_launch_one_cold_kernel_which_is_compiled_once() {
    let Some((gpu, _turn)) = gpu() else { return };
    // A width that no other test has.
    let rows = Rows::on(&gpu, 333);
    let told = Arc::new(Mutex::new(0));
    let telling = told.clone();
    gpu.on_event(move |event| {
        if let Event::Built { waited: true, .. } = event {
            *telling.lock().expect("no panic") += 1;
        }
    });
    let before = gpu.counters();
    let start = std::sync::Barrier::new(200);
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let mut out = gpu.zeros::<u16, 2>([ROWS, 333]).expect("memory");
                start.wait();
                copy_to_slot(&mut out, &rows.src, Exact(1), Exact(5))
                    .launch(&gpu)
                    .expect("a launch");
                let found = out.download().expect("rows");
                assert!(found[333..6 * 333] == rows.values[..5 * 333] && found[..333].iter().all(|value| *value == 0));
            });
        }
    });
    settle();
    let after = gpu.counters();
    assert_eq!(*told.lock().expect("no panic"), 1);
    assert!(after.waits - before.waits <= 200);
    // The resident one, in haste and well, and that for counts which fit.
    assert!(after.compiles - before.compiles <= 3, "{after:?}");
}

#[test]
fn a_launch_that_waits_is_served_by_the_drivers_code_until_nvrtcs_takes_its_place() {
    let Some((gpu, _turn)) = gpu() else { return };
    if gpu.compiler() != Compiler::Auto || Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        println!("skipped: who compiles is chosen");
        return;
    }
    // A width that no other test has.
    let rows = Rows::on(&gpu, 347);
    let mut out = gpu.zeros::<u16, 2>([ROWS, 347]).expect("memory");
    let mut languages = Vec::new();
    for rows_now in [5, 5, 9] {
        let call = copy_to_slot(&mut out, &rows.src, Runtime(1), Runtime(rows_now));
        let launched = call.specialize(Specialize::Resident).launch(&gpu).expect("a launch");
        let variant = launched.variant().expect("a variant");
        languages.push((
            variant.module().expect("it is on a GPU").text.language(),
            variant.is_provisional(),
        ));
        drop(launched);
        let found = out.download().expect("rows");
        let copied = rows_now as usize * 347;
        assert!(found[347..347 + copied] == rows.values[..copied], "{rows_now} rows");
        settle();
    }
    assert_eq!(languages, [("PTX", true), ("CUDA C++", false), ("CUDA C++", false)]);
    assert!(!gpu.variants().iter().any(|variant| variant.is_provisional()));
}

#[test]
fn a_launch_whose_compilation_takes_longer_than_it_may_fails_and_works_when_it_may() {
    let Some((gpu, _turn)) = gpu() else { return };
    // A width that no other test has.
    let rows = Rows::on(&gpu, 419);
    let mut out = gpu.zeros::<u16, 2>([ROWS, 419]).expect("memory");
    let mut launch = || copy_to_slot(&mut out, &rows.src, Runtime(1), Runtime(5)).launch(&gpu);
    gpu.set_compile_limit(Duration::ZERO);
    let error = launch().expect_err("there is no time");
    assert!(
        matches!(error, LaunchError::Compile(CompileError::Unended { .. })),
        "{error}"
    );
    gpu.set_compile_limit(CompileOptions::LIMIT);
    let started = Instant::now();
    while unended() > 0 && started.elapsed() < LONG {
        thread::sleep(Duration::from_millis(1));
    }
    launch().expect("it has the time");
    let found = out.download().expect("rows");
    assert!(found[419..6 * 419] == rows.values[..5 * 419]);
}

#[test]
fn loaded_code_stays_within_its_bytes() {
    let Some((gpu, _turn)) = gpu() else { return };
    let rows = Rows::on(&gpu, 256);
    let mut out = gpu.zeros::<u16, 2>([ROWS, 256]).expect("memory");
    let mut place = |start: u64| {
        let call = place_rows(&mut out, &rows.src, Exact(start), Exact(0), Exact(3));
        let launched = call.specialize(Specialize::Exact).launch(&gpu).expect("a launch");
        launched.variant().expect("there are programs").code_bytes()
    };
    let bytes = 4 * place(1);
    gpu.set_code_limits(CodeLimits {
        variants: u64::MAX,
        bytes: gpu.counters().code_bytes + bytes,
    });
    let most = gpu.counters().code_bytes + bytes;
    for start in 2..20 {
        place(start);
        settle();
        assert!(gpu.counters().code_bytes <= most, "{:?}", gpu.counters());
    }
    let counters = gpu.counters();
    assert!(counters.evictions > 10, "{counters:?}");
    assert_eq!(
        counters.code_bytes,
        gpu.variants().iter().map(|variant| variant.code_bytes()).sum::<u64>()
    );
    gpu.set_code_limits(CodeLimits::default());
    gpu.synchronize().expect("nothing is wrong");
}
