//! What is left of a program where some of its symbols are known.

use std::collections::HashMap;

use super::program::{Instruction, Place, Plain, Program, Word};
use crate::host::Known;
use crate::ir::Symbol;

/// What an instruction of the whole program has become.
#[derive(Clone, Copy)]
enum Left {
    /// It has this value, or none, in every launch.
    Settled(i128),
    At(Place),
}

/// The program under construction, each instruction once.
#[derive(Default)]
struct Rest {
    program: Program,
    places: HashMap<(Instruction, Vec<(Place, i64)>), Place>,
}

impl Program {
    /// The program for launches in which the symbols that are `known` have these values: it finds the same conditions, by
    /// less work. The extents of a grid are not asked for. `None` if a number that comes of them is too large.
    pub fn given(&self, known: &impl Known) -> Option<Self> {
        let mut rest = Rest::default();
        let mut left = Vec::with_capacity(self.instructions.len());
        for &instruction in &self.instructions {
            let folded = rest.fold(self, instruction, known, |place: Place| left[usize::from(place)])?;
            left.push(folded);
        }
        let mut program = rest.program;
        program.settled = self.settled;
        for &(number, place) in &self.results {
            match left[usize::from(place)] {
                Left::At(place) => program.results.push((number, place)),
                Left::Settled(0) => {}
                Left::Settled(_) => program.settled = program.settled.with(number.into()),
            }
        }
        let mut program = program.with_plain();
        for plain in &self.plain {
            program.add_plain_given(plain, self.terms_of(plain), known)?;
        }
        program.find_same();
        for &(number, other) in &self.same {
            let is_evaluated = |other| {
                let mut results = program.results.iter().map(|(number, _)| *number);
                results.any(|number| number == other) || program.plain.iter().any(|plain| plain.number == other)
            };
            let first = program.same.iter().find(|(number, _)| *number == other);
            match first
                .map(|(_, first)| *first)
                .or_else(|| Some(other).filter(|other| is_evaluated(*other)))
            {
                Some(first) => program.same.push((number, first)),
                None if program.settled.holds(other.into()) => program.settled = program.settled.with(number.into()),
                None => {}
            }
        }
        Some(program)
    }

    /// Adds a condition without instructions, of which some symbols are known. `None` if a number is too large.
    fn add_plain_given(
        &mut self,
        plain: &Plain,
        terms: impl Iterator<Item = (Symbol, i64)>,
        known: &impl Known,
    ) -> Option<()> {
        let first = self.plain_terms.len();
        let mut constant = i128::from(plain.constant);
        for (symbol, factor) in terms {
            let value = (!is_of_grid(symbol)).then(|| known.symbol(symbol)).flatten();
            match value {
                Some(value) => constant = constant.checked_add(i128::from(value) * i128::from(factor))?,
                None => {
                    let place = self.place_of(symbol)?;
                    self.plain_terms.push((place, factor));
                }
            }
        }
        let terms = self.plain_terms.len() - first;
        match terms {
            0 if constant >= 0 => self.settled = self.settled.with(plain.number.into()),
            0 => {}
            _ => self.plain.push(Plain {
                constant: i64::try_from(constant).ok()?,
                first: first as u32,
                terms: terms as u32,
                ..*plain
            }),
        }
        Some(())
    }

    /// Evaluates equal conditions once.
    fn find_same(&mut self) {
        let Self {
            results,
            plain,
            plain_terms,
            same,
            ..
        } = self;
        let mut first_at = HashMap::new();
        let mut is_first = |number: u16, first: u16| {
            if first != number {
                same.push((number, first));
            }
            first == number
        };
        results.retain(|&(number, place)| is_first(number, *first_at.entry(place).or_insert(number)));
        let mut first_of = HashMap::new();
        plain.retain(|plain| {
            let terms = &plain_terms[plain.first as usize..(plain.first + plain.terms) as usize];
            is_first(
                plain.number,
                *first_of.entry((plain.constant, terms)).or_insert(plain.number),
            )
        });
    }

    pub(super) fn without_unused(mut self) -> Self {
        let mut used = vec![false; self.instructions.len()];
        self.results
            .iter()
            .for_each(|(_, place)| used[usize::from(*place)] = true);
        for (at, &instruction) in self.instructions.iter().enumerate().rev() {
            if used[at] {
                self.operands(instruction, |place| used[usize::from(place)] = true);
            }
        }
        let mut places = Vec::with_capacity(used.len());
        let mut instructions = Vec::new();
        for (instruction, is_used) in self.instructions.iter().zip(&used) {
            places.push(instructions.len() as Place);
            if *is_used {
                instructions.push(instruction.with_places(|place| places[usize::from(place)]));
            }
        }
        self.terms
            .iter_mut()
            .for_each(|(place, _)| *place = places[usize::from(*place)]);
        self.results
            .iter_mut()
            .for_each(|(_, place)| *place = places[usize::from(*place)]);
        self.instructions = instructions;
        self
    }

    fn operands(&self, instruction: Instruction, mut each: impl FnMut(Place)) {
        if let Instruction::Sum { first, terms, .. } = instruction {
            let terms = &self.terms[first as usize..(first + terms) as usize];
            terms.iter().for_each(|(place, _)| each(*place));
        }
        instruction.with_places(|place| {
            each(place);
            place
        });
    }
}

impl Rest {
    /// `None` for a number that is too large.
    fn fold(
        &mut self,
        whole: &Program,
        instruction: Instruction,
        known: &impl Known,
        left: impl Fn(Place) -> Left,
    ) -> Option<Left> {
        let settled = |place: Place| match left(place) {
            Left::Settled(value) => Some(value),
            Left::At(_) => None,
        };
        let is_known = |symbol: Symbol| !is_of_grid(symbol) && known.symbol(symbol).is_some();
        let mut is_settled = match instruction {
            Instruction::Symbol(symbol) => is_known(symbol),
            _ => true,
        };
        whole.operands(instruction, |place| is_settled &= settled(place).is_some());
        if is_settled {
            let of = |place| settled(place).unwrap_or(Word::NO_VALUE);
            let value = whole.value::<i128>(instruction, of, |symbol| known.symbol(symbol))?;
            return Some(Left::Settled(value));
        }
        Some(match instruction {
            Instruction::Sum { constant, first, terms } => {
                let mut sum = constant;
                let mut rest = Vec::new();
                for &(place, factor) in &whole.terms[first as usize..(first + terms) as usize] {
                    match left(place) {
                        Left::At(place) => rest.push((place, factor)),
                        Left::Settled(value) if value == Word::NO_VALUE => return Some(left(place)),
                        Left::Settled(value) => {
                            sum = sum.checked_add(value.checked_mul(factor.into())?)?;
                        }
                    }
                }
                match (rest.as_slice(), sum) {
                    (&[(place, 1)], 0) => Left::At(place),
                    _ => self.push(sum_of(sum, &rest), rest)?,
                }
            }
            Instruction::Under(place, condition) => match settled(condition) {
                Some(0) => Left::Settled(Word::NO_VALUE),
                Some(_) => left(place),
                None => self.operation(instruction, left)?,
            },
            Instruction::Both(one, other) => match settled(one).or(settled(other)) {
                Some(0) => Left::Settled(0),
                Some(_) if settled(one).is_some() => left(other),
                Some(_) => left(one),
                None => self.operation(instruction, left)?,
            },
            Instruction::Either(one, other) => match settled(one).or(settled(other)) {
                Some(0) if settled(one).is_some() => left(other),
                Some(0) => left(one),
                Some(_) => Left::Settled(1),
                None => self.operation(instruction, left)?,
            },
            _ => self.operation(instruction, left)?,
        })
    }

    fn operation(&mut self, instruction: Instruction, left: impl Fn(Place) -> Left) -> Option<Left> {
        let mut is_whole = true;
        let placed = instruction.with_places(|place| {
            let place = match left(place) {
                Left::At(place) => Some(place),
                Left::Settled(value) => self.constant(value),
            };
            is_whole &= place.is_some();
            place.unwrap_or_default()
        });
        match is_whole {
            true => self.push(placed, Vec::new()),
            false => None,
        }
    }

    fn constant(&mut self, value: i128) -> Option<Place> {
        let left = match value == Word::NO_VALUE {
            true => self.push(Instruction::Nothing, Vec::new()),
            false => self.push(sum_of(value, &[]), Vec::new()),
        };
        match left? {
            Left::At(place) => Some(place),
            Left::Settled(_) => None,
        }
    }

    /// `first` of a sum is where its terms are put.
    fn push(&mut self, mut instruction: Instruction, terms: Vec<(Place, i64)>) -> Option<Left> {
        let key = (instruction, terms);
        if let Some(place) = self.places.get(&key) {
            return Some(Left::At(*place));
        }
        if let Instruction::Sum { first, .. } = &mut instruction {
            *first = self.program.terms.len() as u32;
            self.program.terms.extend(&key.1);
        }
        let place = Place::try_from(self.program.instructions.len()).ok()?;
        self.program.instructions.push(instruction);
        self.places.insert(key, place);
        Some(Left::At(place))
    }
}

fn is_of_grid(symbol: Symbol) -> bool {
    matches!(symbol, Symbol::NumPrograms(_))
}

/// A sum whose terms are not yet anywhere.
fn sum_of(constant: i128, terms: &[(Place, i64)]) -> Instruction {
    Instruction::Sum {
        constant,
        first: 0,
        terms: terms.len() as u32,
    }
}
