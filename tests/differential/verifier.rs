//! The verifier's promise under random damage: it refuses or accepts any kernel without panicking, and what it accepts no
//! later stage panics on, nor makes a malformed kernel of.
//!
//! `TILEWRIGHT_FUZZ_INPUTS` says how many kernels are tried (20,000 by default):
//!
//! ```text
//! TILEWRIGHT_FUZZ_INPUTS=10000000 cargo test --release --test differential verifier
//! ```

use tilewright::dsl::analysis::condition::ConditionBits;
use tilewright::dsl::class::Class;
use tilewright::dsl::interpret::GridError;
use tilewright::dsl::ir::{Arena, Bindings, Kernel, verify::verify};
use tilewright::dsl::schedule::{Machine, choose};
use tilewright::dsl::transform::{bind, canonical};

use crate::case::Case;
use crate::cases::{in_parallel, panic_of, variable};
use crate::generate::{self, Size};
use crate::mutate::Mutator;
use crate::{oracle, schedules, threads};

/// Damaged kernels made of one that is well-formed, and as many of random parts.
const DAMAGED: u64 = 50;
const GARBAGE: u64 = 14;

/// The most elements of a tile, and programs, of a kernel that is run.
const ELEMENTS: u64 = 1 << 12;
const PROGRAMS: u64 = 64;

#[test]
fn what_the_verifier_accepts_no_later_stage_panics_on() {
    let inputs = variable("TILEWRIGHT_FUZZ_INPUTS").unwrap_or(20_000);
    let first = variable("TILEWRIGHT_FUZZ_FIRST").unwrap_or(0);
    let seeds: Vec<u64> = (first..first + inputs.div_ceil(DAMAGED + GARBAGE)).collect();
    let results = in_parallel(&seeds, |seed| {
        let mut failures = Vec::new();
        (family(seed, &mut failures), failures)
    });
    let accepted: u64 = results.iter().map(|(accepted, _)| accepted).sum();
    let failures: Vec<String> = results.into_iter().flat_map(|(_, failures)| failures).collect();
    println!("{inputs} kernels, of which {accepted} are well-formed");
    let shown = failures.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} kernels\n{shown}", failures.len());
    // Damage that always shows tests nothing of what comes later, and damage that never shows nothing of the verifier.
    assert!(
        accepted * 50 > inputs && accepted * 2 < inputs,
        "{accepted} of {inputs} are well-formed"
    );
}

/// Tries the kernels of one seed. Returns how many were accepted.
fn family(seed: u64, failures: &mut Vec<String>) -> u64 {
    let case = generate::case(seed, Size::Small);
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xda3a6e);
    let mut accepted = 0;
    for number in 0..DAMAGED + GARBAGE {
        let mut kernel = case.kernel.clone();
        if number < DAMAGED {
            let mut mutator = Mutator::new(&mut rng, &kernel);
            for _ in 0..mutator.rng.u8(1..=3) {
                mutator.mutate(&mut kernel);
            }
        } else {
            kernel = Kernel {
                parameters: Vec::new(),
                expressions: Arena::new(),
                types: Vec::new(),
                spans: Vec::new(),
                locals: Arena::new(),
                grid: Vec::new(),
                requirements: Vec::new(),
                body: Default::default(),
                bindings: Bindings::default(),
                ..kernel
            };
            Mutator::new(&mut rng, &kernel.clone()).garbage(&mut kernel);
        }
        let panic = panic_of(|| {
            if verify(&kernel).is_ok() {
                accepted += 1;
                later_stages(&kernel, &case, &mut rng);
            }
        });
        if let Some(panic) = panic {
            let text = panic_of(|| drop(kernel.to_string())).unwrap_or_else(|| kernel.to_string());
            failures.push(format!(
                "TILEWRIGHT_FUZZ_FIRST={seed}, kernel {number} of it: {panic}\n{text}"
            ));
        }
    }
    accepted
}

/// Takes a well-formed kernel through everything.
fn later_stages(kernel: &Kernel, case: &Case, rng: &mut fastrand::Rng) {
    let well_formed = |name: &str, kernel: &Kernel| {
        verify(kernel).unwrap_or_else(|error| panic!("{name}, the kernel is malformed: {error}\n{kernel}"));
    };
    run(kernel, case);
    let bound = bind(kernel, &kernel.bindings);
    well_formed("bound", &bound);
    let class = Class::new(bound);
    let holding = class.conditions(&|symbol| case.value(symbol), [1; 3]);
    let (proved, _) = class.proved(holding);
    well_formed("proved", &proved);
    let canonical = canonical(proved);
    well_formed("canonical", &canonical);
    run(&canonical, case);
    for kernel in [kernel, &canonical] {
        for schedule in [choose(kernel, &Machine::H200, 100), schedules::random(rng, kernel)] {
            threads::lowered(kernel, &schedule);
        }
    }
}

/// Runs a kernel that is not too large, for a while. Arguments that do not fit it are an error, and so is what it does.
fn run(kernel: &Kernel, case: &Case) {
    let grid = match tilewright::dsl::interpret::grid(kernel, &|symbol| case.value(symbol)) {
        Ok(grid) => grid,
        Err(GridError::Unknown { .. } | GridError::Overflow { .. } | GridError::TooLarge { .. }) => [1; 3],
        Err(error @ GridError::Malformed { .. }) => panic!("{error}"),
    };
    let small = kernel.types.iter().all(|ty| ty.shape.elements() <= ELEMENTS);
    if small && grid.iter().fold(1u64, |all, &n| all.saturating_mul(n)) <= PROGRAMS {
        let _ = oracle::run(kernel, case, Some(grid), 200);
    }
}

/// Chains as long as they may be, and values that are used twice over and over: recursion must not run out
/// of stack, nor visit every path.
#[test]
fn long_chains_and_shared_values_take_no_longer_than_they_must() {
    for (depth, tile) in [(60, false), (60, true), (900, false), (900, true)] {
        let kernel = generate::chain(depth, tile);
        verify(&kernel).expect("a chain is well-formed");
        let bound = bind(&kernel, &Bindings::default());
        let (proved, _) = Class::new(bound).proved(ConditionBits::NONE);
        let canonical = canonical(proved);
        verify(&canonical).expect("a chain stays well-formed");
        let schedule = choose(&canonical, &Machine::H200, 1);
        threads::lowered(&canonical, &schedule).expect("a chain takes no shared memory");
    }
}
