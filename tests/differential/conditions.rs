//! Conditions of launches: whatever holds, the kernel made for it does what the kernel as generated does, and no check is
//! left that goes if all values are literals.

use std::collections::BTreeMap;

use tilewright::dsl::analysis::condition::ConditionBits;
use tilewright::dsl::class::Class;
use tilewright::dsl::ir::{Access, Expression, Kernel, Statement, Symbol, verify::verify};
use tilewright::dsl::transform::bind;

use crate::case::{Argument, Case, Count};
use crate::cases::{STEPS, chosen, in_parallel, panic_of};
use crate::generate::{self, Size};
use crate::oracle::{self, Trapped};

/// Launches of each kernel.
const LAUNCHES: usize = 4;

/// Checks of one kernel, by the place of their access.
type Checks = BTreeMap<(u32, u32, u32), usize>;

fn checks(kernel: &Kernel) -> Checks {
    let mut found = Checks::new();
    let mut add = |access: &Access, span: tilewright::dsl::ir::Span| {
        let sides = access
            .guards
            .iter()
            .map(|guard| usize::from(guard.lower) + usize::from(guard.upper));
        *found.entry((access.tensor, span.line, span.column)).or_default() += sides.sum::<usize>();
    };
    kernel.body.walk(&mut |statement, span| match statement {
        Statement::Let(value) => match &kernel.expressions[*value] {
            Expression::Load(access) => add(access, span),
            Expression::Atomic(atomic) => add(&atomic.access, span),
            _ => {}
        },
        Statement::Store { access, .. } => add(access, span),
        _ => {}
    });
    found
}

/// The same launch with other counts.
fn with_other_counts(case: &mut Case, rng: &mut fastrand::Rng) {
    let some: Vec<i64> = case
        .tensor_symbols()
        .iter()
        .map(|(_, value)| (*value).clamp(0, 64))
        .collect();
    for argument in &mut case.arguments {
        if let Argument::Count(Count::Runtime(value)) = argument {
            *value = match some.as_slice() {
                // Where a count meets an extent, the answer changes.
                [_, ..] if rng.bool() => (some[rng.usize(..some.len())] + rng.i64(-1..=1)).max(0),
                _ => rng.i64(0..9),
            };
        }
    }
}

/// What is counted over all launches.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    launches: usize,
    /// Checks of the kernels as bound, and of those made for no condition, for those that hold, and for literals.
    bound: usize,
    resident: usize,
    left: usize,
    literal: usize,
    /// Checks that only literals remove.
    lost: usize,
    conditions: usize,
    operations: usize,
}

fn check(seed: u64) -> Tally {
    let mut tally = Tally::default();
    let mut case = generate::case(seed, Size::Full);
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xc09d);
    let bindings = oracle::bindings(&case);
    let class = Class::new(bind(&case.kernel, &bindings));
    tally.conditions = class.program().conditions();
    tally.operations = class.program().operations();
    for launch in 0..LAUNCHES {
        if launch > 0 {
            with_other_counts(&mut case, &mut rng);
        }
        let known = |symbol| oracle::host_value(&case, symbol);
        let at_most = |symbol| oracle::most_value(&case, symbol);
        let Ok(grid) = class.grid(&at_most) else { continue };
        // A launch with other counts may break what the kernel requires or claims, or be too large.
        if class.check_requirements(&known).is_err() || grid.iter().product::<u64>() > 512 {
            continue;
        }
        let Ok(expected) = oracle::run(&case.kernel, &case, None, STEPS) else {
            assert!(launch > 0, "the case as generated runs");
            continue;
        };
        tally.launches += 1;
        let holding = class.conditions(&known, grid);
        let some = (0..class.program().conditions()).filter(|&number| holding.holds(number) && rng.bool());
        let some = some.fold(ConditionBits::NONE, ConditionBits::with);
        assert!(some.is_subset(&holding));
        let mut left = Vec::new();
        for (name, holding) in [
            ("none", ConditionBits::NONE),
            ("some", some),
            ("all that hold", holding),
        ] {
            let (kernel, _) = class.kernel(holding);
            verify(&kernel).unwrap_or_else(|error| panic!("for {name}: {error}\n{kernel}"));
            let outcome = oracle::run(&kernel, &case, Some(grid), STEPS)
                .unwrap_or_else(|error| panic!("for {name}: {error}\n{kernel}"));
            assert_eq!(outcome.memories, expected.memories, "for {name}:\n{kernel}");
            let trapped = outcome.trapped == expected.trapped || expected.trapped == Trapped::Load;
            assert!(trapped, "for {name}: {:?} and {:?}", outcome.trapped, expected.trapped);
            left.push(checks(&class.proved(holding).0));
        }
        let all = |checks: &Checks| checks.values().sum::<usize>();
        assert!(
            all(&left[1]) <= all(&left[0]) && all(&left[2]) <= all(&left[1]),
            "more conditions, more checks"
        );

        let mut literal = bindings.clone();
        let axes = (0u8..).zip(grid).take(case.kernel.grid.len());
        let programs = axes.map(|(axis, extent)| (Symbol::NumPrograms(axis), extent as i64));
        let counts = (0u32..case.arguments.len() as u32).map(Symbol::Count);
        let counts = counts.filter_map(|count| Some((count, known(count)?)));
        literal
            .exact
            .extend(case.tensor_symbols().into_iter().chain(counts).chain(programs));
        let (exact, _) = Class::new(bind(&case.kernel, &literal)).proved(ConditionBits::NONE);
        let exact = checks(&exact);
        tally.bound += all(&checks(class.source()));
        tally.resident += all(&left[0]);
        tally.left += all(&left[2]);
        tally.literal += all(&exact);
        tally.lost += left[2]
            .iter()
            .map(|(place, &n)| n.saturating_sub(exact.get(place).copied().unwrap_or(0)))
            .sum::<usize>();
    }
    tally
}

#[test]
fn kernels_made_for_conditions_do_the_same_in_every_launch_in_which_they_hold() {
    let (first, count) = chosen();
    let seeds: Vec<u64> = (first..first + count).collect();
    let results = in_parallel(&seeds, |seed| {
        let mut tally = Tally::default();
        let panic = panic_of(|| tally = check(seed));
        (
            tally,
            panic.map(|panic| format!("TILEWRIGHT_FUZZ_SEED={seed}\n{panic}")),
        )
    });
    let failures: Vec<_> = results.iter().filter_map(|(_, failure)| failure.clone()).collect();
    let sum = |of: fn(&Tally) -> usize| results.iter().map(|(tally, _)| of(tally)).sum::<usize>();
    let most = |of: fn(&Tally) -> usize| results.iter().map(|(tally, _)| of(tally)).max().unwrap_or(0);
    let (launches, left, lost) = (sum(|t| t.launches), sum(|t| t.left), sum(|t| t.lost));
    println!(
        "{launches} launches of {count} kernels: {} checks, {} in every launch, {left} where what holds is known, {} with \
         literals, {lost} lost; at most {} conditions and {} operations",
        sum(|t| t.bound),
        sum(|t| t.resident),
        sum(|t| t.literal),
        most(|t| t.conditions),
        most(|t| t.operations),
    );
    let shown = failures.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {count} fail\n{shown}", failures.len());
    assert!(
        count < 100 || (launches > 0 && lost * 50 <= left),
        "{lost} of {left} checks that are left are lost"
    );
}
