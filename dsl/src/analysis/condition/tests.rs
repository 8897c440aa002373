//! What a program of conditions gives, where numbers have a value and where they have none.

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
