//! Random kernels with accesses planted in them that may be races: the CPU device and, where there is one, a GPU in checked
//! builds report one where there is one, and none where there is none.
//!
//! The variables that say how many and which are those of the differential test.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tilewright::dsl::analysis::effects::Effects;
use tilewright::dsl::analysis::races::{Races, Sequence};
use tilewright::dsl::interpret::{self, Conflict, InterpretError};
use tilewright::dsl::ir::{Kernel, verify::verify};
use tilewright::dsl::lower::{MarkedBy, TrapFault, TrapSite};
use tilewright::dsl::schedule::{Machine, choose};
use tilewright::runtime::compile::Nvrtc;
use tilewright::runtime::{Device, LaunchError, Variant};
use tilewright_harness::testing::gpus;
use tilewright_testing::{Part, turn};

use crate::case::Case;
use crate::cases::{THREADS, chosen, in_parallel, panic_of};
use crate::generate::plant::{Action, Index, Plant, Test, planted};
use crate::{launch, oracle, schedules, threads};

/// Of so many cases, the text of one is compiled where no GPU compiles all of them.
const COMPILED: u64 = 10;

/// A planted access to one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Touch {
    /// Elements of the tensor's memory after its first.
    place: i64,
    program: u64,
    /// The number of the planted access.
    access: usize,
    trip: i64,
    lane: u32,
}

/// Two accesses that do not go together.
type Pair = (Touch, Touch);

/// All that the planted accesses touch.
fn touches(case: &Case, plant: &Plant) -> Vec<Touch> {
    let (extents, strides) = plant.layout(case);
    let holds = |test: &Option<Test>, at| test.is_none_or(|test| test.of.at(at) % test.by < test.below);
    let looked_up = |at: i64| {
        usize::try_from(at)
            .ok()
            .and_then(|at| plant.table.get(at))
            .copied()
            .unwrap_or(0)
    };
    let mut all = Vec::new();
    // Counts in device memory end programs early.
    let runs = interpret::grid(&case.kernel, &|symbol| case.value(symbol)).expect("the case knows its counts");
    for program in 0..plant.grid.iter().product::<u64>() {
        let mut rest = program;
        let is_run = plant.grid.iter().zip(runs).all(|(extent, runs)| {
            let at = rest % extent;
            rest /= extent;
            at < runs
        });
        if !is_run {
            continue;
        }
        for (access, planted) in plant.accesses.iter().enumerate() {
            for trip in 0..planted.trips {
                if !holds(&planted.only, [program as i64, trip, 0, 0]) {
                    continue;
                }
                let [rows, cols] = planted.extents;
                for lane in 0..rows * cols {
                    let at = [program as i64, trip, i64::from(lane / cols), i64::from(lane % cols)];
                    let index = |index: &Index| match *index {
                        Index::Linear(linear) => linear.at(at),
                        Index::Divided(linear, by) => linear.at(at) / by,
                        Index::Remainder(linear, by) => linear.at(at) % by,
                        Index::Table(linear) => looked_up(linear.at(at)),
                    };
                    let place = planted
                        .indices
                        .iter()
                        .zip(extents)
                        .zip(strides)
                        .map(|((of, &extent), stride)| {
                            let (index, last) = (index(of), extent as i64 - 1);
                            let inside = if planted.clamps { index.clamp(0, last) } else { index };
                            (0..=last).contains(&inside).then_some(inside * stride)
                        });
                    if let Some(place) = place.sum::<Option<i64>>().filter(|_| holds(&planted.mask, at)) {
                        all.push(Touch {
                            place,
                            program,
                            access,
                            trip,
                            lane,
                        });
                    }
                }
            }
        }
    }
    all.sort_unstable();
    all
}

/// All pairs that do not go together, where programs run in this sequence.
fn races(plant: &Plant, touches: &[Touch], sequence: Sequence) -> BTreeSet<Pair> {
    let action = |touch: &Touch| plant.accesses[touch.access].action;
    let clash = |one: &Touch, other: &Touch| match (action(one), action(other)) {
        (Action::Disjoint, Action::Disjoint) => true,
        (a, b) if one.program != other.program => {
            sequence != Sequence::InOrder && !(a == b && matches!(a, Action::Load | Action::Atomic))
        }
        (a, _) => a == Action::Store && (one.access, one.trip) == (other.access, other.trip),
    };
    let same_place = touches.chunk_by(|one, other| one.place == other.place);
    let pairs = same_place.flat_map(|of_place| {
        let others = (0..of_place.len()).flat_map(move |n| of_place[..n].iter().map(move |one| (one, &of_place[n])));
        others.map(|(one, other)| (*one, *other))
    });
    pairs.filter(|(one, other)| clash(one, other)).collect()
}

/// Where an access was reported: the program and the line, as far as they are known.
type Reported = (Option<u64>, Option<u32>);

/// Panics if what was reported at `place` is not among `races`.
fn is_true(plant: &Plant, races: &BTreeSet<Pair>, place: i64, reported: [Reported; 2]) {
    let is = |touch: &Touch, (program, line): Reported| {
        let lines = &plant.accesses[touch.access].lines;
        program.is_none_or(|program| program == touch.program) && line.is_none_or(|line| lines.contains(&line))
    };
    let [first, second] = reported;
    let fits = |(a, b): &Pair| a.place == place && ((is(a, first) && is(b, second)) || (is(b, first) && is(a, second)));
    assert!(
        races.iter().any(fits),
        "what was reported at {place} is none: {reported:?}"
    );
}

fn check(seed: u64, gpus: &[Mutex<Device>], compiled: bool) -> Tally {
    let (case, plant) = planted(seed);
    verify(&case.kernel).unwrap_or_else(|error| panic!("the generator made a malformed kernel: {error}"));
    let touches = touches(&case, &plant);
    let expected = races(&plant, &touches, sequence(&case.kernel));
    let place = |element: &[u64]| -> i64 {
        let (_, strides) = plant.layout(&case);
        element
            .iter()
            .zip(strides)
            .map(|(&at, stride)| at as i64 * stride)
            .sum()
    };
    let of_cpu = |conflict: &Conflict, expected: &BTreeSet<Pair>| {
        let reported = conflict.accesses.map(|access| {
            let mut number = 0;
            for (&extent, &at) in plant.grid.iter().zip(&access.program).rev() {
                number = number * extent + at;
            }
            (Some(number), Some(access.span.line))
        });
        assert_eq!(conflict.tensor, format!("p{}", plant.tensor));
        is_true(&plant, expected, place(&conflict.element), reported);
    };

    match oracle::run(&case.kernel, &case, None, 1 << 13).map_err(|error| *error) {
        Ok(_) => assert!(expected.is_empty(), "not reported: {:?}", expected.first()),
        Err(InterpretError::Conflict(conflict)) => of_cpu(&conflict, &expected),
        Err(error) => panic!("{error}"),
    }
    // Branches that nothing takes are gone from a variant, and with them what may order programs.
    let of_variant = |variant: &Option<Arc<Variant>>| match variant {
        Some(variant) => races(&plant, &touches, sequence(variant.kernel())),
        None => BTreeSet::new(),
    };
    let (variant, found) = launch::report(&Device::cpu(), &case);
    let seen = of_variant(&variant);
    match found {
        Ok(()) => assert!(seen.is_empty(), "not reported by the CPU device: {:?}", seen.first()),
        Err(LaunchError::Interpret(error)) => match *error {
            InterpretError::Conflict(conflict) => of_cpu(&conflict, &seen),
            error => panic!("CPU device: {error}"),
        },
        Err(error) => panic!("CPU device: {error}"),
    }
    if let Some(variant) = variant.as_ref().filter(|_| compiled) {
        compile_text(variant.kernel());
    }

    let mut tally = Tally::of(&plant, &expected);
    // Where something may order programs, marks are compared within a store, and with promises.
    let marked = |variant: &Option<Arc<Variant>>| match variant {
        Some(variant) if sequence(variant.kernel()) != Sequence::Free => races(&plant, &touches, Sequence::InOrder),
        _ => of_variant(variant),
    };
    let place_of = |element: i64| {
        let (extents, _) = plant.layout(&case);
        let mut rest = element as u64;
        let mut index: Vec<u64> = Vec::new();
        for &extent in extents.iter().rev() {
            index.insert(0, rest % extent);
            rest /= extent;
        }
        place(&index)
    };
    if let Some(variant) = &variant {
        let seen = marked(&Some(variant.clone()));
        match as_threads(&case, &plant, variant.kernel(), seed) {
            Some(reports) if reports.is_empty() => {
                assert!(seen.is_empty(), "not reported by threads: {:?}", seen.first())
            }
            Some(reports) => {
                for (element, accesses) in reports {
                    is_true(&plant, &seen, place_of(element), accesses);
                }
                tally.as_threads += 1;
            }
            None => {}
        }
    }
    for gpu in gpus {
        let (variant, found) = launch::report(&gpu.lock().expect("panics come later"), &case);
        let seen = marked(&variant);
        match found {
            Ok(()) => assert!(seen.is_empty(), "not reported by the GPU: {:?}", seen.first()),
            Err(LaunchError::Conflict {
                element,
                accesses,
                parameter,
                ..
            }) => {
                assert_eq!(parameter, format!("p{}", plant.tensor));
                let reported = accesses.map(|a| (a.program, a.place.map(|(span, _)| span.line)));
                is_true(&plant, &seen, place_of(element), reported);
                tally.on_gpu += 1;
                tally.writes_on_gpu += usize::from(tally.writes > 0);
            }
            Err(error) if error.to_string().contains("bytes of shared memory up to here") => {}
            Err(error) => panic!("GPU: {error}"),
        }
    }
    tally
}

/// What a checked build reports as threads: elements, and who met there; `None` if it is not run.
fn as_threads(case: &Case, plant: &Plant, kernel: &Kernel, seed: u64) -> Option<Vec<(i64, [Reported; 2])>> {
    assert!(kernel.checked);
    let schedule = schedules::random(&mut fastrand::Rng::with_seed(seed), kernel);
    let lowered = threads::lowered(kernel, &schedule)?.lowered;
    let blocks: u64 = oracle::launch_grid(&case.kernel, case).iter().product();
    if u64::from(lowered.kernel.threads) * blocks > THREADS {
        return None;
    }
    let ran = threads::run(&lowered, case);
    if let (Err(fault), true) = (&ran.outcome, ran.reports.is_empty()) {
        panic!("threads, {schedule}: {fault}\n{}", lowered.kernel);
    }
    let line = |site: usize| match lowered.sites[site] {
        TrapSite {
            span,
            fault: TrapFault::Conflict { tensor, .. },
        } => {
            assert_eq!(tensor, plant.tensor);
            span.line
        }
        ref other => panic!("{other:?}"),
    };
    let reports = ran.reports.iter().map(|report| {
        let met = MarkedBy::of(report.met);
        let own = (Some(report.program as u64), Some(line(report.site as usize)));
        (report.value, [own, (met.program, met.site.map(line))])
    });
    Some(reports.collect())
}

fn sequence(kernel: &Kernel) -> Sequence {
    Races::of(kernel, &Effects::of(kernel)).sequence
}

fn compile_text(kernel: &Kernel) {
    if let Some(texts) = threads::lowered(kernel, &choose(kernel, &Machine::H200, 1000)) {
        texts.compile();
    }
}

/// What was found.
#[derive(Debug, Default)]
struct Tally {
    /// Kernels without a race.
    free: usize,
    /// With accesses of two programs that do not go together.
    between: usize,
    /// Among these, two that both change the element.
    writes: usize,
    /// With elements of one program that meet.
    within: usize,
    /// Reported by threads on the CPU.
    as_threads: usize,
    on_gpu: usize,
    writes_on_gpu: usize,
}

impl Tally {
    fn of(plant: &Plant, races: &BTreeSet<Pair>) -> Self {
        let between = |(one, other): &Pair| one.program != other.program;
        let loads = |touch: &Touch| plant.accesses[touch.access].action == Action::Load;
        let writes = |pair: &Pair| !loads(&pair.0) && !loads(&pair.1);
        Self {
            free: usize::from(races.is_empty()),
            between: usize::from(races.iter().any(between)),
            writes: usize::from(races.iter().any(writes)),
            within: usize::from(races.iter().any(|pair| !between(pair))),
            ..Self::default()
        }
    }

    fn add(&mut self, other: Self) {
        self.free += other.free;
        self.between += other.between;
        self.writes += other.writes;
        self.within += other.within;
        self.as_threads += other.as_threads;
        self.on_gpu += other.on_gpu;
        self.writes_on_gpu += other.writes_on_gpu;
    }
}

#[test]
fn planted_races_are_reported_and_nothing_else_is() {
    let (first, count) = chosen();
    // A GPU does not say whose launch a report is of.
    let gpus = Part::Gpu.if_there(gpus()).into_iter().flatten();
    let gpus: Vec<_> = gpus.map(Mutex::new).collect();
    let _turn = (!gpus.is_empty()).then(turn);
    let has_nvrtc = Part::Nvrtc.if_there(Nvrtc::load()).is_some();
    let mut failures = Vec::new();
    let mut tally = Tally::default();
    let results = in_parallel(&(first..first + count).collect::<Vec<_>>(), |seed| {
        let compiled = has_nvrtc && gpus.is_empty() && (count == 1 || seed % COMPILED == 0);
        let mut tally = Tally::default();
        let panic = panic_of(|| tally = check(seed, &gpus, compiled));
        let text = || panic_of(|| drop(planted(seed))).unwrap_or_else(|| planted(seed).0.kernel.to_string());
        (
            tally,
            panic.map(|panic| format!("TILEWRIGHT_FUZZ_SEED={seed}\n{panic}\n{}", text())),
        )
    });
    for (part, failure) in results {
        tally.add(part);
        failures.extend(failure);
    }
    println!("{count} kernels with planted accesses from seed {first}: {tally:?}");
    let shown = failures.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {count} cases fail\n{shown}", failures.len());
    // Some of each, or the rest says little.
    let fewest = tally.free.min(tally.between).min(tally.writes).min(tally.within);
    assert!(count < 100 || fewest * 10 >= count as usize, "{tally:?}");
}
