//! Conditions as people read them.

use super::program::{Instruction, Place, Program};
use crate::ir::Symbol;

/// What is longer is cut.
const MAX_LENGTH: usize = 160;

impl Program {
    /// Each condition as a text, by its number, of symbols by their names: `rows <= out.extent(0)`. For people: what is long
    /// is cut.
    ///
    /// ```
    /// use tilewright_dsl::call::{ParameterFacts, TensorFacts, TraceRequest};
    /// use tilewright_dsl::class::Class;
    /// use tilewright_dsl::lang::*;
    ///
    /// #[tilewright_dsl::kernel(grid = [n])]
    /// fn double(out: &mut Tensor<f32, 1>, n: Count) {
    ///     out.store([program_id(0)], 2.0);
    /// }
    ///
    /// let parameters = vec![ParameterFacts::Tensor(TensorFacts::contiguous(&[100])), ParameterFacts::Value];
    /// let class = Class::new(double::definition().trace(&TraceRequest { parameters })?.kernel);
    /// let texts = class.program().texts(&|symbol| class.source().text_of_symbol(symbol));
    /// assert_eq!(texts, [(0, "n <= out.extent(0)".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn texts(&self, name: &dyn Fn(Symbol) -> String) -> Vec<(usize, String)> {
        let mut values: Vec<String> = Vec::with_capacity(self.instructions.len());
        for &instruction in &self.instructions {
            let of = |place: Place| values[usize::from(place)].as_str();
            let text = match instruction {
                Instruction::Nothing => "nothing".to_owned(),
                Instruction::Symbol(symbol) => name(symbol),
                Instruction::Sum { constant, first, terms } => {
                    let terms = &self.terms[first as usize..(first + terms) as usize];
                    let terms = terms.iter().map(|&(place, factor)| (grouped(of(place)), factor.into()));
                    sum(terms.chain([(String::new(), constant)]))
                }
                Instruction::Product(left, right) => format!("{} * {}", grouped(of(left)), grouped(of(right))),
                Instruction::Quotient(left, right) => format!("{} / {}", grouped(of(left)), grouped(of(right))),
                Instruction::Shifted(value, by) => format!("{} >> {by}", grouped(of(value))),
                Instruction::Smaller(left, right) | Instruction::Tightest(left, right) => {
                    format!("min({}, {})", of(left), of(right))
                }
                Instruction::Larger(left, right) => format!("max({}, {})", of(left), of(right)),
                Instruction::Under(value, condition) => format!("({} if {})", of(value), of(condition)),
                Instruction::NotNegative(value) => match self.instructions[usize::from(value)] {
                    Instruction::Sum { constant, first, terms } => {
                        let terms = &self.terms[first as usize..(first + terms) as usize];
                        let terms = terms.iter().map(|&(place, factor)| (grouped(of(place)), factor.into()));
                        not_negative(constant, terms)
                    }
                    _ => format!("0 <= {}", of(value)),
                },
                Instruction::Both(left, right) => format!("({} && {})", of(left), of(right)),
                Instruction::Either(left, right) => format!("({} || {})", of(left), of(right)),
            };
            values.push(cut(text));
        }
        let computed = self.results.iter();
        let computed = computed.map(|&(number, place)| (usize::from(number), values[usize::from(place)].clone()));
        let plain = self.plain.iter().map(|plain| {
            let terms = self.terms_of(plain);
            let terms = terms.map(|(symbol, factor)| (name(symbol), factor.into()));
            (plain.number.into(), cut(not_negative(plain.constant.into(), terms)))
        });
        let mut texts: Vec<_> = computed.chain(plain).collect();
        for &(number, other) in &self.same {
            let found = texts.iter().find(|(known, _)| *known == usize::from(other));
            if let Some((_, text)) = found {
                texts.push((number.into(), text.clone()));
            }
        }
        texts.sort_unstable();
        texts
    }
}

/// A text as an operand.
fn grouped(text: &str) -> String {
    let is_one = !text.contains(' ') || text.starts_with("min(") || text.starts_with("max(");
    match is_one {
        true => text.to_owned(),
        false => format!("({text})"),
    }
}

/// Multiples of texts, the constant under none, as a sum.
fn sum(terms: impl Iterator<Item = (String, i128)>) -> String {
    let mut text = String::new();
    for (of, factor) in terms.filter(|(_, factor)| *factor != 0) {
        text += match (text.is_empty(), factor < 0) {
            (true, true) => "-",
            (true, false) => "",
            (false, true) => " - ",
            (false, false) => " + ",
        };
        text += &match (of.as_str(), factor.unsigned_abs()) {
            ("", size) => size.to_string(),
            (of, 1) => of.to_owned(),
            (of, size) => format!("{size} * {of}"),
        };
    }
    match text.is_empty() {
        true => "0".to_owned(),
        false => text,
    }
}

/// That a sum is not negative: what is taken from it on one side, what is added on the other.
fn not_negative(constant: i128, terms: impl Iterator<Item = (String, i128)>) -> String {
    let terms = terms.chain([(String::new(), constant)]);
    let (taken, added): (Vec<_>, Vec<_>) = terms.partition(|(_, factor)| *factor < 0);
    // A bound of integers: `a + 1 <= b` is `a < b`.
    match taken.split_last() {
        Some(((of, -1), others)) if of.is_empty() && !others.is_empty() => {
            let others = others.iter().map(|(of, factor)| (of.clone(), -factor));
            format!("{} < {}", sum(others), sum(added.into_iter()))
        }
        _ => {
            let taken = taken.into_iter().map(|(of, factor)| (of, factor.saturating_neg()));
            format!("{} <= {}", sum(taken), sum(added.into_iter()))
        }
    }
}

/// What there is room for.
fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
