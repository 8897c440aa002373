//! What a program of conditions gives, where numbers have a value and where they have none.

use super::program::FEW;
use super::{Compiler, ConditionBits, LaunchCondition, Terms};
use crate::analysis::linear::{Linear, Unknown};
use crate::ir::Symbol;

const MOST: i128 = 1 << 40;

fn known(_: Unknown) -> (i128, i128) {
    (0, MOST)
}

fn count(position: u32) -> Linear {
    Linear::unknown(Unknown::Symbol(Symbol::Count(position)))
}

/// Whether `condition` holds if count `i` is `values[i]`.
fn holds(terms: &Terms, condition: LaunchCondition, values: &[i64]) -> bool {
    let mut compiler = Compiler::new(terms);
    let number = compiler.choose(condition).expect("there is room");
    let value = |symbol| match symbol {
        Symbol::Count(position) => values.get(position as usize).copied(),
        _ => None,
    };
    compiler.finish().evaluate(&value, [1; 3]).holds(number)
}

#[test]
fn what_always_or_never_holds_is_no_condition() {
    let mut terms = Terms::default();
    assert_eq!(terms.not_negative(&count(0), &known), LaunchCondition::ALWAYS);
    let negative = count(0).scale(-1).and_then(|n| n.offset(-1)).unwrap();
    assert_eq!(terms.not_negative(&negative, &known), LaunchCondition::NEVER);
    let either = count(0).subtract(&count(1)).unwrap();
    let condition = terms.not_negative(&either, &known);
    assert_eq!(condition, terms.not_negative(&either, &known), "each one is kept once");
    assert!(holds(&terms, condition, &[3, 3]) && !holds(&terms, condition, &[2, 3]));
}

#[test]
fn an_overflow_an_unknown_value_and_a_divisor_of_zero_fail_their_conditions() {
    let mut terms = Terms::default();
    let mut power = count(0);
    for _ in 0..3 {
        power = terms.product(&power, &power.clone(), &known).unwrap();
    }
    let large = terms.not_negative(&power.offset(-1).unwrap(), &known);
    assert!(holds(&terms, large, &[2]));
    assert!(!holds(&terms, large, &[i64::MAX]), "the eighth power is no i128");
    assert!(!holds(&terms, large, &[]), "the host does not know the count");

    let quotient = terms.quotient(&count(0), &count(1), &known).unwrap();
    let three = terms.not_negative(&quotient.offset(-3).unwrap(), &known);
    assert!(holds(&terms, three, &[13, 4]) && !holds(&terms, three, &[11, 4]) && !holds(&terms, three, &[11, 0]));
}

#[test]
fn what_is_never_negative_is_asked_only_whether_it_has_a_value() {
    let mut terms = Terms::default();
    let one_at_least = terms.not_negative(&count(1).offset(-1).unwrap(), &known);
    let quotient = terms.quotient(&count(0), &count(1), &known).unwrap();
    assert_eq!(terms.not_negative(&quotient, &known), one_at_least);
    let sum = terms
        .named(&quotient.add(&count(2)).unwrap(), &known)
        .and_then(|sum| terms.larger(&sum, &quotient, &known));
    // No 64 bits hold the constant.
    let below = Linear::constant(1 << 63).subtract(&sum.unwrap()).unwrap();
    assert_eq!(terms.not_negative(&below, &known), one_at_least);
    // Of two bounds one is enough.
    let other = terms.quotient(&count(0), &count(3), &known).unwrap();
    let tightest = terms.tightest(&quotient, &other, &known).unwrap();
    let either = terms.not_negative(&tightest, &known);
    assert!(holds(&terms, either, &[5, 0, 0, 1]) && !holds(&terms, either, &[5, 0, 0, 0]));
    // A power may be too large.
    let mut power = count(0);
    for _ in 0..3 {
        power = terms.product(&power, &power.clone(), &known).unwrap();
    }
    let larger = terms.larger(&power, &Linear::constant(0), &known).unwrap();
    let condition = terms.not_negative(&larger, &known);
    assert!(holds(&terms, condition, &[2]) && !holds(&terms, condition, &[i64::MAX]));
    // A bound that always has a value is enough, whatever the other one may be.
    let tightest = terms.tightest(&power, &count(1), &known).unwrap();
    assert!(terms.extremes(&tightest, &known).total);
    // Neither factor is too far from zero, nor their product, but eight times that.
    let large = |_: Unknown| (0, 1 << 59);
    let eight = terms
        .product(&count(4), &count(5), &large)
        .and_then(|product| product.scale(8));
    let shifted = terms.shifted(&eight.unwrap(), 80, &large).unwrap();
    assert!(!terms.extremes(&shifted, &large).total);
}

#[test]
fn a_bound_counts_where_its_condition_holds_and_the_tightest_of_those_that_do() {
    let mut terms = Terms::default();
    let first_is_less = terms.not_negative(&count(1).subtract(&count(0)).unwrap(), &known);
    let bound = terms.under(&Linear::constant(5), first_is_less, &known).unwrap();
    let tightest = terms.tightest(&Linear::constant(9), &bound, &known).unwrap();
    let below_seven = terms.not_negative(&Linear::constant(6).subtract(&tightest).unwrap(), &known);
    assert!(holds(&terms, below_seven, &[1, 2]) && !holds(&terms, below_seven, &[2, 1]));
    // The other bound is always there.
    let below_ten = terms.not_negative(&Linear::constant(9).subtract(&tightest).unwrap(), &known);
    assert_eq!(below_ten, LaunchCondition::ALWAYS);
    // This one is not.
    let sometimes = terms.not_negative(&Linear::constant(9).subtract(&bound).unwrap(), &known);
    assert!(holds(&terms, sometimes, &[1, 2]) && !holds(&terms, sometimes, &[2, 1]));
}

#[test]
fn conditions_beyond_the_most_are_not_chosen() {
    let mut terms = Terms::default();
    let conditions: Vec<_> = (1..=super::MAX_CONDITIONS as i128 + 1)
        .map(|least| terms.not_negative(&count(0).offset(-least).unwrap(), &known))
        .collect();
    let mut compiler = Compiler::new(&terms);
    let chosen: Vec<_> = conditions
        .iter()
        .filter_map(|condition| compiler.choose(*condition))
        .collect();
    assert_eq!(chosen.len(), super::MAX_CONDITIONS);
    let program = compiler.finish();
    let some = program.evaluate(&|_| Some(100), [1; 3]);
    assert!((0..100).all(|number| some.holds(number)) && !some.holds(100));
    assert!(ConditionBits::NONE.is_subset(&some) && !some.is_subset(&ConditionBits::NONE));
    assert!(!some.holds(super::MAX_CONDITIONS), "there is no such condition");
}

/// More than a program has places for whose values are at hand.
const COUNTS: usize = 24;

/// Random numbers and conditions of so many counts, all of which a program is made of.
fn random_program(random: &mut fastrand::Rng) -> super::Program {
    let wide = |_: Unknown| (i64::MIN.into(), i64::MAX.into());
    let mut terms = Terms::default();
    let mut numbers: Vec<_> = (0..COUNTS as u32).map(count).collect();
    numbers.push(Linear::unknown(Unknown::Symbol(Symbol::NumPrograms(0))));
    let mut conditions = Vec::new();
    for _ in 0..random.usize(1..60) {
        let one = numbers[random.usize(..numbers.len())].clone();
        let other = numbers[random.usize(..=COUNTS)].clone();
        let number = match random.u32(..9) {
            0 => terms.product(&one, &other, &wide),
            1 => terms.quotient(&one, &other, &wide),
            2 => terms.shifted(&one, random.u32(..5), &wide),
            3 => terms.smaller(&one, &other, &wide),
            4 => terms.larger(&one, &other, &wide),
            5 => terms.tightest(&one, &other, &wide),
            6 if !conditions.is_empty() => terms.under(&one, conditions[random.usize(..conditions.len())], &wide),
            _ => one.scale(random.i64(-3..4).into()).and_then(|one| one.subtract(&other)),
        };
        if let Some(number) = number.and_then(|number| number.offset(random.i64(-20..20).into())) {
            conditions.push(terms.not_negative(&number, &wide));
            numbers.push(number);
        }
        if conditions.len() > 1 {
            let [left, right] = [(); 2].map(|()| conditions[random.usize(..conditions.len())]);
            conditions.push(match random.bool() {
                true => terms.both(left, right),
                false => terms.either(left, right),
            });
        }
    }
    let mut compiler = Compiler::new(&terms);
    for condition in conditions {
        if condition != LaunchCondition::NEVER && !condition.is_always() {
            let _ = compiler.choose(condition);
        }
    }
    compiler.finish()
}

#[test]
fn a_program_of_which_some_symbols_are_known_finds_the_same_conditions() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut shorter, mut with_many) = (0, 0);
    for _ in 0..4000 {
        let program = random_program(&mut random);
        with_many += usize::from(program.symbols.len() > FEW);
        let kinds: [u32; COUNTS] = [(); COUNTS].map(|()| random.u32(..3));
        let mut number = |is_small: bool| match is_small {
            true => random.i64(-30..30),
            false => random.i64(..),
        };
        // What is known, what differs from launch to launch, and what the host does not know.
        let known = kinds.map(|kind| (kind == 0).then(|| number(true)));
        let of = |values: [Option<i64>; COUNTS]| {
            move |symbol| match symbol {
                Symbol::Count(position) => values[position as usize],
                _ => None,
            }
        };
        let given = program.given(&of(known)).expect("the numbers are small");
        assert!(given.operations() <= program.operations() + kinds.len());
        shorter += usize::from(given.operations() < program.operations());
        for launch in 0..20 {
            let mut values = known;
            for (value, kind) in values.iter_mut().zip(kinds) {
                if kind == 1 {
                    *value = Some(number(launch % 4 != 0));
                }
            }
            let grid = [number(true).unsigned_abs(), 1, 1];
            assert_eq!(
                given.evaluate(&of(values), grid),
                program.evaluate(&of(values), grid),
                "{program:?}\nwith {known:?} is\n{given:?}\nof {values:?}"
            );
        }
    }
    assert!(shorter > 2000, "{shorter} were shorter");
    assert!(with_many > 10, "{with_many} had many symbols");
}

#[test]
fn numbers_that_64_bits_do_not_hold_are_compared_as_they_are() {
    let mut random = fastrand::Rng::with_seed(12);
    let edges = [
        0,
        1,
        -1,
        i64::MIN,
        i64::MIN + 1,
        i64::MAX,
        i64::MAX - 1,
        1 << 32,
        -(1 << 62),
    ];
    for _ in 0..4000 {
        let program = random_program(&mut random);
        let values = [(); COUNTS].map(|()| match random.bool() {
            true => edges[random.usize(..edges.len())],
            false => random.i64(..),
        });
        let known = |symbol| match symbol {
            Symbol::Count(position) => Some(values[position as usize]),
            _ => None,
        };
        let grid = [random.u64(..1 << 31), 1, 1];
        assert_eq!(
            program.evaluate(&known, grid),
            program.evaluate_wide(&known, grid),
            "{program:?} of {values:?}"
        );
    }
}
