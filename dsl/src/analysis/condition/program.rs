//! Conditions as a flat program of integer operations.

use std::cell::RefCell;

use arrayvec::ArrayVec;

use crate::host::Known;
use crate::ir::Symbol;

/// How many conditions of a kernel are told apart: enough for as many fused calls as there can be, with a few each. Further ones
/// are taken not to hold, which is always right.
pub const MAX_CONDITIONS: usize = 1024;

/// How many operations a program has at most; conditions that would need more are taken not to hold.
pub(super) const MAX_OPERATIONS: usize = 4096;

/// A program of no more operations, or symbols, has its results where launches have their locals.
pub(super) const FEW: usize = 16;

thread_local! {
    /// The results of the program at hand, kept for their memory.
    static NARROW: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
    static WIDE: RefCell<Vec<i128>> = const { RefCell::new(Vec::new()) };
}

/// The numbers that a program computes with. Those of almost all launches have 64 bits; where one does not, the program
/// starts again with more.
pub(super) trait Word: Copy + Ord + From<bool> {
    /// What has no value. No number is so far from zero.
    const NO_VALUE: Self;
    const ZERO: Self;

    /// `None` for what is too large.
    fn of(value: i64) -> Option<Self>;
    fn of_wide(value: i128) -> Option<Self>;
    fn sum(self, other: Self) -> Option<Self>;
    fn product(self, other: Self) -> Option<Self>;
    /// Of a positive divisor.
    fn quotient(self, other: Self) -> Self;
    fn shifted(self, by: u32) -> Self;
    /// What an operation gives whose result is too large; nothing, to start again.
    fn overflow() -> Option<Self>;

    fn value(self) -> Option<Self> {
        (self != Self::NO_VALUE).then_some(self)
    }
}

/// Which conditions of a kernel hold in a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ConditionBits([u64; MAX_CONDITIONS / 64]);

impl ConditionBits {
    /// None holds, or none is relied on: what serves every launch of a class.
    pub const NONE: Self = Self([0; MAX_CONDITIONS / 64]);

    /// Whether condition `number` holds.
    pub fn holds(&self, number: usize) -> bool {
        self.0
            .get(number / 64)
            .is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    /// The same, with condition `number` holding. There are no more than [`MAX_CONDITIONS`].
    #[must_use]
    pub fn with(mut self, number: usize) -> Self {
        self.insert(number);
        self
    }

    fn insert(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether everything that holds here holds in `other` too: then a kernel made for these serves launches of `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(here, there)| here & !there == 0)
    }

    /// The bits as words, the first condition in the lowest bit of the first word.
    pub fn words(&self) -> &[u64; MAX_CONDITIONS / 64] {
        &self.0
    }
}

/// The place of an earlier result.
pub(super) type Place = u16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Instruction {
    /// No value.
    Nothing,
    Symbol(Symbol),
    /// `constant` and the terms at `first..first + terms`.
    Sum {
        constant: i128,
        first: u32,
        terms: u32,
    },
    Product(Place, Place),
    Quotient(Place, Place),
    Shifted(Place, u32),
    Smaller(Place, Place),
    Larger(Place, Place),
    Tightest(Place, Place),
    Under(Place, Place),
    NotNegative(Place),
    Both(Place, Place),
    Either(Place, Place),
}

/// A condition by its number: that `constant` and the multiples of symbols in `plain_terms` at `first..first + terms` are not negative together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    pub(super) number: u16,
    pub(super) constant: i64,
    pub(super) first: u32,
    pub(super) terms: u32,
}

/// A program that finds which conditions hold.
#[derive(Debug, Clone, Default)]
pub struct Program {
    pub(super) instructions: Vec<Instruction>,
    pub(super) terms: Vec<(Place, i64)>,
    /// Where the truth of conditions is, by their numbers.
    pub(super) results: Vec<(u16, Place)>,
    /// The conditions that need no instructions, as most do not.
    pub(super) plain: Vec<Plain>,
    /// Of what is at a place of `symbols`.
    pub(super) plain_terms: Vec<(Place, i64)>,
    /// What the plain conditions are about, each once.
    pub(super) symbols: Vec<Symbol>,
    /// Further conditions, each of which holds where another one does.
    pub(super) same: Vec<(u16, u16)>,
    /// The conditions that hold in any case.
    pub(super) settled: ConditionBits,
}

impl Program {
    /// How many conditions it evaluates.
    pub fn conditions(&self) -> usize {
        self.results.len() + self.plain.len() + self.same.len()
    }

    /// How many operations that takes.
    pub fn operations(&self) -> usize {
        self.instructions.len() + self.plain_terms.len() + self.plain.len()
    }

    /// The conditions that hold for what is `known` of a launch with this grid. Allocates nothing once a thread has
    /// evaluated a program as long.
    pub fn evaluate(&self, known: &impl Known, grid: [u64; 3]) -> ConditionBits {
        let mut holding = self.settled;
        if self.narrow(known, grid, &mut holding).is_none() {
            self.wide(known, grid, &mut holding);
        }
        self.with_same(holding)
    }

    /// The same by wide words alone.
    #[cfg(test)]
    pub(super) fn evaluate_wide(&self, known: &impl Known, grid: [u64; 3]) -> ConditionBits {
        let mut holding = self.settled;
        self.wide(known, grid, &mut holding);
        self.with_same(holding)
    }

    fn with_same(&self, mut holding: ConditionBits) -> ConditionBits {
        for &(number, other) in &self.same {
            if holding.holds(other.into()) {
                holding.insert(number.into());
            }
        }
        holding
    }

    /// Adds the conditions that hold. `None` if the words are too narrow for those that are left.
    #[inline]
    fn narrow(&self, known: &impl Known, grid: [u64; 3], holding: &mut ConditionBits) -> Option<()> {
        self.each_plain::<i64>(known, grid, holding)?;
        match self.instructions.len() {
            0 => Some(()),
            1..=FEW => self.run(&mut [0i64; FEW], known, grid, holding),
            _ => NARROW.with_borrow_mut(|results| self.run(self.room(results), known, grid, holding)),
        }
    }

    /// As [`narrow`](Program::narrow), with words that are never too narrow: an overflow of theirs has no value.
    #[cold]
    fn wide(&self, known: &impl Known, grid: [u64; 3], holding: &mut ConditionBits) {
        self.each_plain::<i128>(known, grid, holding);
        WIDE.with_borrow_mut(|results| self.run(self.room(results), known, grid, holding));
    }

    /// Adds those of the conditions without instructions that hold. `None` if the words are too narrow.
    #[inline]
    fn each_plain<W: Word>(&self, known: &impl Known, grid: [u64; 3], holding: &mut ConditionBits) -> Option<()> {
        // Most symbols stand in several conditions.
        let mut values = ArrayVec::<W, FEW>::new();
        for &symbol in self.symbols.iter().take(FEW) {
            values.push(value_of(symbol, known, grid)?);
        }
        let value = |place: Place| match values.get(usize::from(place)) {
            Some(value) => Some(*value),
            None => value_of(self.symbols[usize::from(place)], known, grid),
        };
        for plain in &self.plain {
            if holds(plain.constant, self.places_of(plain), value)? {
                holding.insert(plain.number.into());
            }
        }
        Some(())
    }

    #[inline]
    pub(super) fn places_of(&self, plain: &Plain) -> &[(Place, i64)] {
        &self.plain_terms[plain.first as usize..(plain.first + plain.terms) as usize]
    }

    /// The multiples of symbols that a plain condition is about.
    pub(super) fn terms_of(&self, plain: &Plain) -> impl Iterator<Item = (Symbol, i64)> {
        let places = self.places_of(plain).iter();
        places.map(|&(place, factor)| (self.symbols[usize::from(place)], factor))
    }

    /// The place of a symbol of plain conditions; `None` if there are too many.
    pub(super) fn place_of(&mut self, symbol: Symbol) -> Option<Place> {
        let known = self.symbols.iter().position(|other| *other == symbol);
        let place = Place::try_from(known.unwrap_or(self.symbols.len())).ok()?;
        if known.is_none() {
            self.symbols.push(symbol);
        }
        Some(place)
    }

    /// The same, with conditions that need no instructions apart.
    pub(super) fn with_plain(mut self) -> Self {
        let mut results = std::mem::take(&mut self.results);
        results.retain(|&(number, place)| self.add_plain(number, place).is_none());
        self.results = results;
        self.without_unused()
    }

    /// Takes a condition for one without instructions, if it is one.
    fn add_plain(&mut self, number: u16, place: Place) -> Option<()> {
        let Instruction::NotNegative(sum) = self.instructions[usize::from(place)] else {
            return None;
        };
        let (constant, of) = match self.instructions[usize::from(sum)] {
            Instruction::Symbol(_) => (0, vec![(sum, 1)]),
            Instruction::Sum { constant, first, terms } => {
                (constant, self.terms[first as usize..(first + terms) as usize].to_vec())
            }
            _ => return None,
        };
        let constant = i64::try_from(constant).ok()?;
        let symbol = |(place, factor): (Place, i64)| match self.instructions[usize::from(place)] {
            Instruction::Symbol(symbol) => Some((symbol, factor)),
            _ => None,
        };
        let of: Vec<_> = of.into_iter().map(symbol).collect::<Option<_>>()?;
        let of: Vec<_> = of
            .into_iter()
            .map(|(symbol, factor)| Some((self.place_of(symbol)?, factor)))
            .collect::<Option<_>>()?;
        self.plain.push(Plain {
            number,
            constant,
            first: self.plain_terms.len() as u32,
            terms: of.len() as u32,
        });
        self.plain_terms.extend(of);
        Some(())
    }

    /// A place for each result. What is in it is overwritten before it is read.
    fn room<'r, W: Word>(&self, results: &'r mut Vec<W>) -> &'r mut [W] {
        let operations = self.instructions.len();
        if results.len() < operations {
            results.resize(operations, W::ZERO);
        }
        &mut results[..operations]
    }

    /// Adds those of the conditions with instructions that hold. `None` if the words are too narrow.
    #[inline]
    fn run<W: Word>(
        &self,
        results: &mut [W],
        known: &impl Known,
        grid: [u64; 3],
        holding: &mut ConditionBits,
    ) -> Option<()> {
        let symbol = |symbol| symbol_of(symbol, known, grid);
        for (at, instruction) in self.instructions.iter().enumerate() {
            results[at] = self.value(*instruction, |place| results[usize::from(place)], symbol)?;
        }
        for &(number, place) in &self.results {
            if results[usize::from(place)] != W::ZERO {
                holding.insert(number.into());
            }
        }
        Some(())
    }

    /// The result of an instruction, of earlier ones; `None` if the words are too narrow.
    #[inline]
    pub(super) fn value<W: Word>(
        &self,
        instruction: Instruction,
        of: impl Fn(Place) -> W,
        symbol: impl Fn(Symbol) -> Option<i64>,
    ) -> Option<W> {
        let both = |left: Place, right: Place| of(left).value().zip(of(right).value());
        let value = match instruction {
            Instruction::Nothing => None,
            Instruction::Symbol(wanted) => match symbol(wanted) {
                Some(value) => Some(whole(W::of(value))?),
                None => None,
            },
            Instruction::Sum { constant, first, terms } => {
                let mut sum = whole(W::of_wide(constant))?;
                for &(place, factor) in &self.terms[first as usize..(first + terms) as usize] {
                    let (Some(so_far), Some(value)) = (sum.value(), of(place).value()) else {
                        return Some(W::NO_VALUE);
                    };
                    let value = match factor {
                        1 => Some(value),
                        _ => W::of(factor).and_then(|factor| value.product(factor)),
                    };
                    sum = whole(value.and_then(|value| so_far.sum(value)))?;
                }
                Some(sum)
            }
            Instruction::Product(left, right) => match both(left, right) {
                Some((left, right)) => Some(whole(left.product(right))?),
                None => None,
            },
            Instruction::Quotient(left, right) => both(left, right)
                .filter(|(_, r)| *r > W::ZERO)
                .map(|(l, r)| l.quotient(r)),
            Instruction::Shifted(place, by) => of(place).value().map(|value| value.shifted(by)),
            Instruction::Smaller(left, right) => both(left, right).map(|(l, r)| l.min(r)),
            Instruction::Larger(left, right) => both(left, right).map(|(l, r)| l.max(r)),
            Instruction::Tightest(left, right) => match (of(left).value(), of(right).value()) {
                (None, other) | (other, None) => other,
                (Some(l), Some(r)) => Some(l.min(r)),
            },
            Instruction::Under(place, condition) => (of(condition) != W::ZERO).then(|| of(place)),
            // What has no value is negative.
            Instruction::NotNegative(place) => Some((of(place) >= W::ZERO).into()),
            Instruction::Both(left, right) => Some(of(left).min(of(right))),
            Instruction::Either(left, right) => Some(of(left).max(of(right))),
        };
        Some(value.unwrap_or(W::NO_VALUE))
    }
}

/// A result, or what stands for one that is too large.
#[inline]
fn whole<W: Word>(value: Option<W>) -> Option<W> {
    value.map_or_else(W::overflow, Some)
}

#[inline]
fn symbol_of(symbol: Symbol, known: &impl Known, grid: [u64; 3]) -> Option<i64> {
    match symbol {
        Symbol::NumPrograms(axis) => grid.get(usize::from(axis)).and_then(|&n| i64::try_from(n).ok()),
        _ => known.symbol(symbol),
    }
}

/// The value of a symbol, where it has one; `None` if the words are too narrow.
#[inline]
fn value_of<W: Word>(symbol: Symbol, known: &impl Known, grid: [u64; 3]) -> Option<W> {
    match symbol_of(symbol, known, grid) {
        Some(value) => whole(W::of(value)),
        None => Some(W::NO_VALUE),
    }
}

/// Whether a constant and multiples of values are not negative together; `None` if the words are too narrow.
#[inline]
fn holds<W: Word>(constant: i64, terms: &[(Place, i64)], value: impl Fn(Place) -> Option<W>) -> Option<bool> {
    let mut sum = whole(W::of(constant))?;
    for &(place, factor) in terms {
        let Some(value) = value(place)?.value() else {
            return Some(false);
        };
        let value = match factor {
            1 => Some(value),
            _ => W::of(factor).and_then(|factor| value.product(factor)),
        };
        sum = whole(value.and_then(|value| sum.sum(value)))?;
        if sum.value().is_none() {
            return Some(false);
        }
    }
    Some(sum >= W::ZERO)
}

impl Instruction {
    /// The same of other operands; the terms of a sum are not here.
    pub(super) fn with_places(self, mut place: impl FnMut(Place) -> Place) -> Self {
        match self {
            Self::Nothing | Self::Symbol(_) | Self::Sum { .. } => self,
            Self::Product(left, right) => Self::Product(place(left), place(right)),
            Self::Quotient(left, right) => Self::Quotient(place(left), place(right)),
            Self::Shifted(of, by) => Self::Shifted(place(of), by),
            Self::Smaller(left, right) => Self::Smaller(place(left), place(right)),
            Self::Larger(left, right) => Self::Larger(place(left), place(right)),
            Self::Tightest(left, right) => Self::Tightest(place(left), place(right)),
            Self::Under(of, condition) => Self::Under(place(of), place(condition)),
            Self::NotNegative(of) => Self::NotNegative(place(of)),
            Self::Both(left, right) => Self::Both(place(left), place(right)),
            Self::Either(left, right) => Self::Either(place(left), place(right)),
        }
    }
}

impl Word for i64 {
    const NO_VALUE: Self = Self::MIN;
    const ZERO: Self = 0;

    fn of(value: i64) -> Option<Self> {
        value.value()
    }

    fn of_wide(value: i128) -> Option<Self> {
        Self::try_from(value).ok().and_then(Self::value)
    }

    fn sum(self, other: Self) -> Option<Self> {
        self.checked_add(other).and_then(Self::value)
    }

    fn product(self, other: Self) -> Option<Self> {
        self.checked_mul(other).and_then(Self::value)
    }

    fn quotient(self, other: Self) -> Self {
        self / other
    }

    fn shifted(self, by: u32) -> Self {
        self >> by.min(Self::BITS - 1)
    }

    fn overflow() -> Option<Self> {
        None
    }
}

impl Word for i128 {
    const NO_VALUE: Self = Self::MIN;
    const ZERO: Self = 0;

    fn of(value: i64) -> Option<Self> {
        Some(value.into())
    }

    fn of_wide(value: i128) -> Option<Self> {
        Some(value)
    }

    fn sum(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    #[inline]
    fn product(self, other: Self) -> Option<Self> {
        match narrow_both(self, other) {
            Some((one, other)) => Some(i128::from(one) * i128::from(other)),
            None => self.checked_mul(other),
        }
    }

    #[inline]
    fn quotient(self, other: Self) -> Self {
        match narrow_both(self, other) {
            // The divisor is positive.
            Some((one, by)) => (one / by).into(),
            None => self / other,
        }
    }

    fn shifted(self, by: u32) -> Self {
        self >> by
    }

    fn overflow() -> Option<Self> {
        Some(Self::NO_VALUE)
    }
}

/// Two numbers that 64 bits hold, as almost all are: what is wide takes a call to multiply and to divide.
#[inline]
fn narrow_both(one: i128, other: i128) -> Option<(i64, i64)> {
    i64::try_from(one).ok().zip(i64::try_from(other).ok())
}
