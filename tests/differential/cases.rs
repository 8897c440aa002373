//! The differential test: what is done with each case.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use tilewright::dsl::call::Specialize;
use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{CacheHint, Kernel, verify::verify};
use tilewright::dsl::schedule::{Machine, choose};
use tilewright::runtime::Device;
use tilewright::runtime::compile::Nvrtc;
use tilewright_harness::testing::gpus;
use tilewright_testing::{Part, turn};

use crate::case::Case;
use crate::generate::{self, Size};
use crate::launch::{Shared, difference};
use crate::oracle::{self, Outcome, launch_grid};
use crate::schedules;
use crate::statistics::Statistics;
use crate::threads;

/// Of so many cases, the text of one is compiled where no GPU compiles all of them.
const COMPILED: u64 = 10;
/// Of so many schedules more than a share of all, texts may be refused: those of a few kernels.
const FEW_REFUSED: usize = 4 * 6;

/// Of so many cases, one is launched on a GPU fused with others too.
const FUSED: u64 = 4;

/// More than any program takes, so that a loop that has lost its end is found.
pub const STEPS: u64 = 1 << 13;

/// The most threads of a launch that is done as threads on the CPU.
pub const THREADS: u64 = 1 << 10;

/// Cases that share a device object, and with it the memory of the variants.
const BATCH: u64 = 512;

/// The number in an environment variable.
pub fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// The first seed to run, and how many from there on.
pub fn chosen() -> (u64, u64) {
    match variable("TILEWRIGHT_FUZZ_SEED") {
        Some(seed) => (seed, 1),
        None => (
            variable("TILEWRIGHT_FUZZ_FIRST").unwrap_or(0),
            variable("TILEWRIGHT_FUZZ_CASES").unwrap_or(300),
        ),
    }
}

/// What `run` panicked with.
pub fn panic_of(run: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default(),
    )
}

/// What `run` gives for each seed, in any order. The threads are not rayon's: a thread of those that waits for the
/// interpreter would begin another case inside of the present one, and so on down its stack.
pub fn in_parallel<R: Send>(seeds: &[u64], run: impl Fn(u64) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut results = Vec::new();
        while let Some(&seed) = seeds.get(next.fetch_add(1, Relaxed)) {
            results.push(run(seed));
        }
        results
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = workers
            .into_iter()
            .map(|worker| worker.join().expect("panics are caught"));
        results.flatten().collect()
    })
}

#[test]
fn random_kernels_leave_the_same_bits_in_every_way() {
    let (first, count) = chosen();
    let has_nvrtc = Part::Nvrtc.if_there(Nvrtc::load()).is_some();
    let mut failures = Vec::new();
    let mut tally = Tally::default();
    for batch in (first..first + count).collect::<Vec<_>>().chunks(BATCH as usize) {
        let gpus = Part::Gpu.if_there(gpus()).into_iter().flatten();
        let gpus: Vec<_> = gpus.map(Shared::new).collect();
        let _turn = (!gpus.is_empty()).then(turn);
        let results = in_parallel(batch, |seed| {
            let mut tally = Tally::default();
            let compiled = has_nvrtc && gpus.is_empty() && (count == 1 || seed % COMPILED == 0);
            let panic = panic_of(|| check(seed, &gpus, compiled, &mut tally));
            (tally, panic.map(|panic| describe(seed, &panic)))
        });
        for (part, failure) in results {
            tally.add(part);
            failures.extend(failure);
        }
    }
    println!("{count} cases from seed {first}: {tally:?}");
    let shown = failures
        .iter()
        .take(variable("TILEWRIGHT_FUZZ_SHOWN").unwrap_or(3) as usize)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(failures.is_empty(), "{} of {count} cases fail\n{shown}", failures.len());
    // Few may be too large to lower, or the rest says little. Some are under all of their schedules, also of a few cases.
    assert!(tally.refused <= tally.lowered / 20 + FEW_REFUSED, "{tally:?}");
}

fn describe(seed: u64, panic: &str) -> String {
    let kernel = panic_of(|| drop(generate::case(seed, Size::Full)));
    let text = match kernel {
        Some(panic) => format!("the generator: {panic}"),
        None => generate::case(seed, Size::Full).kernel.to_string(),
    };
    format!("TILEWRIGHT_FUZZ_SEED={seed}\n{panic}\n{text}")
}

/// What was done.
#[derive(Debug, Default)]
struct Tally {
    /// Texts generated.
    lowered: usize,
    /// Texts refused, because threads would have to exchange more than they can.
    refused: usize,
    compiled: usize,
    /// Launches as threads, on the CPU.
    as_threads: usize,
    /// Launches on a GPU.
    launched: usize,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.lowered += other.lowered;
        self.refused += other.refused;
        self.compiled += other.compiled;
        self.as_threads += other.as_threads;
        self.launched += other.launched;
    }
}

/// Panics if anything about the case of this seed is not as it should be.
fn check(seed: u64, gpus: &[Shared], compiled: bool, tally: &mut Tally) {
    let case = generate::case(seed, Size::Full);
    let expected = alone(&case);
    in_every_way(&[&case], &case, &expected, seed, gpus, compiled, tally);

    let mut rng = fastrand::Rng::with_seed(seed ^ 0xf05e);
    let mut others = [0; 2].map(|_| generate::case(rng.u64(..), Size::Small));
    // A fused call reports what any of its parts does.
    others
        .iter_mut()
        .for_each(|other| other.kernel.reports = case.kernel.reports);
    let [one, two] = &others;
    let mut parts = match rng.u8(..4) {
        0 => vec![&case, &case],
        1 => vec![&case, one, two],
        _ => vec![&case, one],
    };
    rng.shuffle(&mut parts);
    let expected = Outcome::of_all(parts.iter().map(|part| alone(part)));
    let gpus = if seed.is_multiple_of(FUSED) { gpus } else { &[] };
    in_every_way(&parts, &Case::fused(&parts), &expected, seed, gpus, compiled, tally);
}

/// What a case leaves as it was generated.
fn alone(case: &Case) -> Outcome {
    verify(&case.kernel).unwrap_or_else(|error| panic!("the generator made a malformed kernel: {error}"));
    oracle::run(&case.kernel, case, None, STEPS).unwrap_or_else(|error| panic!("oracle: {error}"))
}

/// Runs `case`, which is that of all `parts`, transformed and on every device, and the parts as one call.
fn in_every_way(
    parts: &[&Case],
    case: &Case,
    expected: &Outcome,
    seed: u64,
    gpus: &[Shared],
    compiled: bool,
    tally: &mut Tally,
) {
    let same = |way: &str, found: &Outcome, kernel: &Kernel| {
        if let Some(difference) = difference(case, expected, found) {
            panic!("{way}: {difference}\n{kernel}");
        }
    };
    for stage in oracle::stages(case) {
        let (name, kernel) = (stage.name, &stage.kernel);
        verify(kernel).unwrap_or_else(|error| panic!("{name}, the kernel is malformed: {error}\n{kernel}"));
        let found = oracle::run(kernel, case, stage.grid, STEPS);
        same(
            name,
            &found.unwrap_or_else(|error| panic!("{name}: {error}\n{kernel}")),
            kernel,
        );
    }
    let parts: Vec<_> = parts.iter().map(|part| (*part, part.definition())).collect();
    let cpu = Shared::new(Device::cpu());
    let on_cpu = |specialize| {
        cpu.run(&parts, None, specialize)
            .unwrap_or_else(|error| panic!("CPU device, {specialize:?}: {error}"))
    };
    let (found, variant) = on_cpu(Specialize::Exact);
    let Some(variant) = variant else {
        return same("CPU device", &found, &case.kernel);
    };
    let kernel = variant.kernel();
    same("CPU device", &found, kernel);
    if let (found, Some(resident)) = on_cpu(Specialize::Resident) {
        same("CPU device, resident", &found, resident.kernel());
    }

    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut schedules: Vec<_> = [1, 1000, 1_000_000]
        .map(|programs| choose(kernel, &Machine::H200, programs))
        .to_vec();
    schedules.extend((0..3).map(|_| schedules::random(&mut rng, kernel)));
    for (number, schedule) in schedules.iter().enumerate() {
        let Some(texts) = threads::lowered(kernel, schedule) else {
            tally.refused += 1;
            continue;
        };
        tally.lowered += 1;
        if compiled && number % 3 == 0 {
            texts.compile();
            tally.compiled += 1;
        }
        let lowered = texts.lowered;
        let blocks: u64 = launch_grid(&case.kernel, case).iter().product();
        if number >= 3 && u64::from(lowered.kernel.threads) * blocks <= THREADS {
            let found = threads::run(&lowered, case).outcome;
            let found = found.unwrap_or_else(|fault| panic!("threads, {schedule}: {fault}\n{}", lowered.kernel));
            if let Some(difference) = difference(case, expected, &found) {
                panic!("threads, {schedule}: {difference}\n{kernel}\n{}", lowered.kernel);
            }
            tally.as_threads += 1;
        }
    }
    let ways = [
        (None, Specialize::Exact),
        (schedules.last().copied(), Specialize::Exact),
        (None, Specialize::Resident),
    ];
    for (gpu, (schedule, specialize)) in gpus.iter().flat_map(|gpu| ways.map(|way| (gpu, way))) {
        let compiler = gpu.device.compiler();
        match gpu.run(&parts, schedule, specialize) {
            Ok((found, variant)) => {
                let text = variant.and_then(|v| v.module().map(|m| format!("{}\n{}", m.schedule, m.text.as_str())));
                if let Some(difference) = difference(case, expected, &found) {
                    panic!(
                        "GPU with {compiler}: {difference}\n{kernel}\n{}",
                        text.unwrap_or_default()
                    );
                }
                tally.launched += 1;
            }
            Err(error) if error.to_string().contains("bytes of shared memory up to here") => {}
            Err(error) => panic!("GPU with {compiler}: {error}\n{kernel}"),
        }
    }
}

#[test]
fn random_kernels_are_varied() {
    let mut statistics = Statistics::default();
    (0..300).for_each(|seed| statistics.note(&generate::case(seed, Size::Full)));
    let mut everything: Vec<String> = crate::generate::operation_names();
    for element in ElementType::ALL {
        everything.extend(["tensor of", "value of", "cast to"].map(|what| format!("{what} {element}")));
    }
    for what in [
        "reduce argmin",
        "reduce axis 0",
        "reduce axis 1",
        "reduce axis 2",
        "scan axis 0",
        "scan axis 1",
        "scan axis 2",
        "argsort axis 0",
        "argsort axis 1",
        "argsort axis 2",
        "ascending",
        "descending",
        "masked histogram",
        "collective in a loop",
        "collective of a variable",
        "collective of a destination",
        "combine add",
        "combine mul",
        "combine min",
        "combine max",
        "combine minimum",
        "combine maximum",
        "combine and",
        "combine or",
        "combine xor",
        "combine by a function",
        "atomic add",
        "atomic min",
        "atomic max",
        "atomic and",
        "atomic or",
        "atomic xor",
        "atomic exchange",
        "atomic compare_exchange",
        "atomic of relaxed",
        "atomic of acquire",
        "atomic of release",
        "atomic of acq_rel",
        "atomic in block",
        "atomic in device",
        "atomic in system",
        "masked atomic",
        "disjoint",
        "last_wins",
        "assume",
        "assert",
        "prefetch",
        "grid dependency",
        "print",
        "checked",
        "reports",
        "store zero",
        "store clamp",
        "store unchecked",
        "rank 0",
        "rank 1",
        "rank 2",
        "empty tensor",
    ] {
        everything.push(what.to_owned());
    }
    for hint in CacheHint::ALL {
        for (kind, fits) in [("load", hint.is_for_loads()), ("store", hint.is_for_stores())] {
            if fits {
                everything.push(format!("{kind} {}", hint.qualifier()));
            }
        }
    }
    for extent in [1, 2, 31, 32, 33, 127, 129, 255, 576, 1000, 1024, 4097, 5000] {
        everything.push(format!("extent {extent}"));
    }
    statistics.check(&everything);
}

/// A case is made of its seed and nothing else.
#[test]
fn a_seed_gives_the_same_case_every_time() {
    let text = |case: Case| format!("{}{:?}{:?}", case.kernel, case.arguments, case.pinned);
    for seed in 0..20 {
        assert_eq!(
            text(generate::case(seed, Size::Full)),
            text(generate::case(seed, Size::Full))
        );
    }
}
