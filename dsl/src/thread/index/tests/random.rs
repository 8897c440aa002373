//! Normal forms and facts agree with plain evaluation, whatever is built and whatever the atoms are.

use fastrand::Rng;

use super::super::{Assignment, Atom, Facts, Index, IndexArena, Predicate};
use crate::ir::Handle;
use crate::thread::Value;

/// An index as it was written.
#[derive(Debug, Clone)]
enum Tree {
    Atom(usize),
    Constant(i64),
    Add(Box<Tree>, Box<Tree>),
    Subtract(Box<Tree>, Box<Tree>),
    Multiply(Box<Tree>, Box<Tree>),
    Quotient(Box<Tree>, Box<Tree>),
    Remainder(Box<Tree>, Box<Tree>),
    Low(Box<Tree>, u8),
    Minimum(Box<Tree>, Box<Tree>),
    Maximum(Box<Tree>, Box<Tree>),
    Select(Box<Test>, Box<Tree>, Box<Tree>),
}

#[derive(Debug, Clone)]
enum Test {
    Holds(usize),
    Less(Tree, Tree),
    AtMost(Tree, Tree),
    Equal(Tree, Tree),
    /// The limit is taken without its sign.
    Within(Tree, i64),
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
}

const ATOMS: usize = 5;

struct Moment {
    atoms: [i64; ATOMS],
    holds: [bool; 2],
}

fn atom(number: usize) -> Atom {
    match number {
        0 => Atom::Thread,
        1 => Atom::Block,
        2 => Atom::Lane(8),
        _ => Atom::Variable(Handle::from_index(number)),
    }
}

impl Assignment for Moment {
    fn atom(&self, wanted: Atom) -> i64 {
        let number = (0..ATOMS).find(|number| atom(*number) == wanted);
        number.map_or(0, |number| self.atoms[number])
    }

    fn holds(&self, value: Handle<Value>) -> bool {
        self.holds[value.index()]
    }
}

impl Tree {
    fn value(&self, moment: &Moment) -> i64 {
        match self {
            Self::Atom(number) => moment.atoms[*number],
            Self::Constant(value) => *value,
            Self::Add(l, r) => l.value(moment).wrapping_add(r.value(moment)),
            Self::Subtract(l, r) => l.value(moment).wrapping_sub(r.value(moment)),
            Self::Multiply(l, r) => l.value(moment).wrapping_mul(r.value(moment)),
            Self::Quotient(l, r) => match r.value(moment) {
                0 => 0,
                by => l.value(moment).wrapping_div(by),
            },
            Self::Remainder(l, r) => match r.value(moment) {
                0 => 0,
                by => l.value(moment).wrapping_rem(by),
            },
            Self::Low(value, bits) => value.value(moment).rem_euclid(1 << bits),
            Self::Minimum(l, r) => l.value(moment).min(r.value(moment)),
            Self::Maximum(l, r) => l.value(moment).max(r.value(moment)),
            Self::Select(test, accept, reject) => match test.holds(moment) {
                true => accept.value(moment),
                false => reject.value(moment),
            },
        }
    }

    fn build(&self, indices: &mut IndexArena, facts: &[Facts; ATOMS]) -> Handle<Index> {
        let mut of = |tree: &Tree| tree.build(indices, facts);
        match self {
            Self::Atom(number) => indices.atom(atom(*number), facts[*number]),
            Self::Constant(value) => indices.constant(*value),
            Self::Add(l, r) => {
                let (l, r) = (of(l), of(r));
                indices.add(l, r)
            }
            Self::Subtract(l, r) => {
                let (l, r) = (of(l), of(r));
                indices.subtract(l, r)
            }
            Self::Multiply(l, r) => {
                let (l, r) = (of(l), of(r));
                indices.multiply(l, r)
            }
            Self::Quotient(l, r) => {
                let (l, r) = (of(l), of(r));
                indices.quotient(l, r)
            }
            Self::Remainder(l, r) => {
                let (l, r) = (of(l), of(r));
                indices.remainder(l, r)
            }
            Self::Low(value, bits) => {
                let value = of(value);
                indices.low(value, *bits)
            }
            Self::Minimum(l, r) => {
                let (l, r) = (of(l), of(r));
                indices.minimum(l, r)
            }
            Self::Maximum(l, r) => {
                let (l, r) = (of(l), of(r));
                indices.maximum(l, r)
            }
            Self::Select(test, accept, reject) => {
                let (accept, reject) = (of(accept), of(reject));
                let test = test.build(indices, facts);
                indices.select(test, accept, reject)
            }
        }
    }
}

impl Test {
    fn holds(&self, moment: &Moment) -> bool {
        match self {
            Self::Holds(number) => moment.holds[*number],
            Self::Less(l, r) => l.value(moment) < r.value(moment),
            Self::AtMost(l, r) => l.value(moment) <= r.value(moment),
            Self::Equal(l, r) => l.value(moment) == r.value(moment),
            Self::Within(value, limit) => (0..*limit).contains(&value.value(moment)),
            Self::Not(other) => !other.holds(moment),
            Self::All(all) => all.iter().all(|one| one.holds(moment)),
            Self::Any(any) => any.iter().any(|one| one.holds(moment)),
        }
    }

    fn build(&self, indices: &mut IndexArena, facts: &[Facts; ATOMS]) -> Handle<Predicate> {
        match self {
            Self::Holds(number) => indices.holds(Handle::from_index(*number)),
            Self::Less(l, r) => {
                let (l, r) = (l.build(indices, facts), r.build(indices, facts));
                indices.less(l, r)
            }
            Self::AtMost(l, r) => {
                let (l, r) = (l.build(indices, facts), r.build(indices, facts));
                indices.at_most(l, r)
            }
            Self::Equal(l, r) => {
                let (l, r) = (l.build(indices, facts), r.build(indices, facts));
                indices.equal(l, r)
            }
            Self::Within(value, limit) => {
                let (value, limit) = (value.build(indices, facts), indices.constant(*limit));
                indices.within(value, limit)
            }
            Self::Not(other) => {
                let other = other.build(indices, facts);
                indices.not(other)
            }
            Self::All(all) => {
                let all: Vec<_> = all.iter().map(|one| one.build(indices, facts)).collect();
                indices.all(all)
            }
            Self::Any(any) => {
                let any: Vec<_> = any.iter().map(|one| one.build(indices, facts)).collect();
                indices.any(any)
            }
        }
    }
}

/// A number of any size: mostly small ones, powers of two and their multiples, and sometimes the ends.
fn number(rng: &mut Rng) -> i64 {
    match rng.u8(0..12) {
        0..4 => rng.i64(-9..10),
        4..7 => 1 << rng.u8(0..8),
        7..9 => rng.i64(-200..8000),
        9 => rng.i64(-64..64) << rng.u8(0..40),
        10 => rng.i64(..),
        _ => [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX][rng.usize(0..5)],
    }
}

fn tree(rng: &mut Rng, depth: u8) -> Tree {
    if depth == 0 || rng.u8(0..8) == 0 {
        return match rng.u8(0..5) {
            0 => Tree::Constant(number(rng)),
            _ => Tree::Atom(rng.usize(0..ATOMS)),
        };
    }
    let inner = |rng: &mut Rng| Box::new(tree(rng, depth - 1));
    // Mostly by constants, as coordinates are.
    let by = |rng: &mut Rng, other: Box<Tree>| match rng.u8(0..4) {
        0 => other,
        _ => Box::new(Tree::Constant(number(rng))),
    };
    match rng.u8(0..16) {
        0..4 => Tree::Add(inner(rng), inner(rng)),
        4..6 => Tree::Subtract(inner(rng), inner(rng)),
        6..9 => {
            let (left, right) = (inner(rng), inner(rng));
            Tree::Multiply(left, by(rng, right))
        }
        9..11 => {
            let (left, right) = (inner(rng), inner(rng));
            Tree::Quotient(left, by(rng, right))
        }
        11..13 => {
            let (left, right) = (inner(rng), inner(rng));
            Tree::Remainder(left, by(rng, right))
        }
        13 => Tree::Low(inner(rng), rng.u8(0..63)),
        14 => match rng.bool() {
            true => Tree::Minimum(inner(rng), inner(rng)),
            false => Tree::Maximum(inner(rng), inner(rng)),
        },
        _ => {
            let (accept, reject) = (inner(rng), inner(rng));
            Tree::Select(Box::new(test(rng, depth - 1)), accept, reject)
        }
    }
}

fn test(rng: &mut Rng, depth: u8) -> Test {
    match rng.u8(0..9) {
        0 => Test::Holds(rng.usize(0..2)),
        1..3 => Test::Less(tree(rng, depth), tree(rng, depth)),
        3 => Test::AtMost(tree(rng, depth), tree(rng, depth)),
        4 => Test::Equal(tree(rng, depth), tree(rng, depth)),
        5 => Test::Within(tree(rng, depth), number(rng).max(0)),
        6 if depth > 0 => Test::Not(Box::new(test(rng, depth - 1))),
        7 if depth > 0 => Test::All((0..rng.usize(0..4)).map(|_| test(rng, depth - 1)).collect()),
        8 if depth > 0 => Test::Any((0..rng.usize(0..4)).map(|_| test(rng, depth - 1)).collect()),
        _ => Test::Less(tree(rng, depth), Tree::Constant(number(rng))),
    }
}

/// A range, of multiples of something.
fn facts(rng: &mut Rng) -> Facts {
    let (one, other) = (number(rng), number(rng));
    let range = match rng.u8(0..8) {
        0 => Facts::NONE,
        1..4 => Facts::between(0, one.saturating_abs()),
        _ => Facts::between(one.min(other), one.max(other)),
    };
    let by = 1u64 << rng.u8(0..5);
    // As long as there is a multiple in it.
    let multiple = |value: i64| value.div_euclid(by as i64).checked_mul(by as i64);
    match multiple(range.high) {
        Some(high) if rng.bool() && high >= range.low => range.with_divisor(by),
        _ => range,
    }
}

fn value_of(rng: &mut Rng, facts: Facts) -> i64 {
    let by = facts.divisor as i64;
    let near = |value: i64| {
        let multiple = value.div_euclid(by) * by;
        (facts.low <= multiple && multiple <= facts.high).then_some(multiple)
    };
    let highest = facts.high.div_euclid(by) * by;
    let wanted = match rng.u8(0..4) {
        0 => return highest,
        1 => facts.low.saturating_add(by - 1),
        _ => rng.i64(facts.low..=facts.high),
    };
    near(wanted).unwrap_or(highest)
}

#[test]
fn normal_forms_and_facts_agree_with_plain_evaluation() {
    for seed in 0..40_000 {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let facts: [Facts; ATOMS] = std::array::from_fn(|_| facts(rng));
        let mut indices = IndexArena::new();
        let depth = rng.u8(1..6);
        let (tree, test) = (tree(rng, depth), test(rng, depth.min(3)));
        let (index, condition) = (tree.build(&mut indices, &facts), test.build(&mut indices, &facts));
        let replaced = rng.usize(0..ATOMS);
        let mut moments = Vec::new();
        for _ in 0..12 {
            let atoms = std::array::from_fn(|number| value_of(rng, facts[number]));
            let holds = std::array::from_fn(|_| rng.bool());
            moments.push(Moment { atoms, holds });
        }
        for moment in &moments {
            let (expected, found) = (tree.value(moment), indices.evaluate(index, moment));
            let at = || {
                format!(
                    "seed {seed}: {tree:?}\n{:?} {:?}\n{facts:?}",
                    moment.atoms,
                    indices.get(index)
                )
            };
            assert_eq!(found, expected, "{}", at());
            assert!(
                indices.facts(index).holds_of(expected),
                "{:?} {}",
                indices.facts(index),
                at()
            );
            let (expected, found) = (test.holds(moment), indices.evaluate_condition(condition, moment));
            assert_eq!(found, expected, "seed {seed}: {test:?} {:?}\n{facts:?}", moment.atoms);
            // With one of the atoms known, everything is the same where it has that value.
            let by = indices.constant(moment.atoms[replaced]);
            let one = indices.substitute(index, atom(replaced), by);
            let other = indices.substitute_condition(condition, atom(replaced), by);
            assert_eq!(
                indices.evaluate(one, moment),
                tree.value(moment),
                "seed {seed}: {tree:?}"
            );
            assert_eq!(
                indices.evaluate_condition(other, moment),
                test.holds(moment),
                "seed {seed}: {test:?}"
            );
        }
        // What does not move with an atom is the same wherever it is, and steps are what they say.
        let step = indices.step(index, atom(replaced));
        for moment in &moments {
            let mut other = Moment { ..*moment };
            other.atoms[replaced] = value_of(rng, facts[replaced]);
            let moved = other.atoms[replaced].wrapping_sub(moment.atoms[replaced]);
            if let Some(step) = step {
                let grown = tree.value(&other).wrapping_sub(tree.value(moment));
                assert_eq!(grown, step.wrapping_mul(moved), "seed {seed}: {tree:?}");
            }
            if !indices.condition_moves(condition, atom(replaced)) {
                assert_eq!(test.holds(moment), test.holds(&other), "seed {seed}: {test:?}");
            }
        }
    }
}
