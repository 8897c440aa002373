//! The lanes of values: what they are called, and how they lie side by side in words.

use super::Writer;
use super::types::{bits_of, c_type, literal, of_bits, unsigned_type};
use crate::element::ElementType;
use crate::ir::Handle;
use crate::thread::{Register, Type, Use, Value};

/// Bytes of a word.
const WORD: usize = 4;

/// One lane of a value, as an expression that is short enough to be repeated.
#[derive(Debug, Clone)]
pub(super) enum Lane {
    /// The lane itself.
    Whole(String),
    /// A lane of 1 or 2 bytes of a word, in which it is the `at`-th of its size.
    Slice { word: String, at: usize },
}

/// Whether lanes lie side by side in words: more than one, of less bytes than a word.
pub(super) fn is_packed(ty: Type) -> bool {
    ty.lanes > 1 && shares_words(ty.element)
}

/// Whether several elements make a word. A bool has no bytes.
pub(super) fn shares_words(element: ElementType) -> bool {
    element.size() < WORD && element != ElementType::Bool
}

/// The lanes that words hold.
pub(super) fn in_words(words: &[String], ty: Type) -> Vec<Lane> {
    let in_word = WORD / ty.element.size();
    let lanes = 0..usize::from(ty.lanes);
    let slice = |lane: usize| Lane::Slice {
        word: words[lane / in_word].clone(),
        at: lane % in_word,
    };
    lanes.map(slice).collect()
}

/// One lane of this type.
fn lane_text(lane: &Lane, element: ElementType) -> String {
    match lane {
        Lane::Whole(text) => text.clone(),
        Lane::Slice { word, at: 0 } => format!("({}){word}", c_type(element)),
        Lane::Slice { word, at } => format!("({})({word} >> {})", c_type(element), *at as u32 * element.bits()),
    }
}

impl Writer<'_> {
    /// All lanes of an operand.
    pub(super) fn lanes(&mut self, operand: Use) -> Vec<Lane> {
        match operand {
            Use::Value(value) => self.values[value.index()].clone(),
            Use::Literal(of) => vec![Lane::Whole(literal(of))],
            Use::Index(index) => vec![Lane::Whole(self.index(index).wide())],
            Use::Predicate(condition) => vec![Lane::Whole(self.condition(condition))],
        }
    }

    /// One lane of an operand; one of one lane stands for each.
    pub(super) fn lane(&mut self, operand: Use, lane: usize) -> String {
        let element = self.kernel.ty(operand).element;
        if let Use::Value(value) = operand {
            let lanes = &self.values[value.index()];
            return lane_text(&lanes[lane.min(lanes.len() - 1)], element);
        }
        lane_text(&self.lanes(operand)[0], element)
    }

    /// The elements of an operand as `unsigned int`s that hold them side by side, the first one in the low bits. An
    /// element of 8 bytes takes two; what an unfinished word has above its elements nothing looks at.
    pub(super) fn words(&mut self, operand: Use) -> Vec<String> {
        let element = self.kernel.ty(operand).element;
        let lanes = self.lanes(operand);
        match element.size() {
            8 => {
                let bits = lanes.iter().map(|lane| bits_of(element, &lane_text(lane, element)));
                bits.flat_map(|bits| {
                    [
                        format!("(unsigned int)({bits})"),
                        format!("(unsigned int)(({bits}) >> 32)"),
                    ]
                })
                .collect()
            }
            WORD => {
                let bits = |lane: &Lane| bits_of(element, &lane_text(lane, element));
                lanes.iter().map(bits).collect()
            }
            size => lanes.chunks(WORD / size).map(|chunk| packed(chunk, element)).collect(),
        }
    }

    /// Says what a value's lanes are, without computing anything.
    pub(super) fn alias(&mut self, value: Handle<Value>, lanes: Vec<Lane>) {
        self.values[value.index()] = lanes;
    }

    /// Computes each lane of a value.
    pub(super) fn define(&mut self, value: Handle<Value>, texts: &[String]) {
        let ty = c_type(self.kernel.values[value].ty.element);
        let names = self.constants(value, ty, texts);
        self.alias(value, names.into_iter().map(Lane::Whole).collect());
    }

    /// Computes the words that hold a value's lanes.
    pub(super) fn define_words(&mut self, value: Handle<Value>, texts: &[String]) {
        let words = self.constants(value, "unsigned int", texts);
        self.alias(value, in_words(&words, self.kernel.values[value].ty));
    }

    fn constants(&mut self, value: Handle<Value>, ty: &str, texts: &[String]) -> Vec<String> {
        let names = names("v", value.index(), texts.len());
        for (name, text) in names.iter().zip(texts) {
            self.line(format!("const {ty} {name} = {text};"));
        }
        names
    }

    /// Computes a value from its words.
    pub(super) fn define_from_words(&mut self, value: Handle<Value>, words: Vec<String>) {
        let ty = self.kernel.values[value].ty;
        let element = ty.element;
        match element.size() {
            8 => {
                let joined = |pair: &[String]| {
                    let bits = format!(
                        "(unsigned long long){} | (unsigned long long){} << 32",
                        pair[0], pair[1]
                    );
                    of_bits(element, &bits)
                };
                let texts: Vec<String> = words.chunks(2).map(joined).collect();
                self.define(value, &texts);
            }
            WORD => {
                let texts: Vec<String> = words.iter().map(|word| of_bits(element, word)).collect();
                self.define(value, &texts);
            }
            _ => self.define_words(value, &words),
        }
    }

    pub(super) fn declare_register(&mut self, register: Handle<Register>) {
        let (ty, names) = self.register(register);
        self.line(format!("{ty} {};", names.join(", ")));
    }

    /// The C++ type of the variables that are a register, and what they are called.
    fn register(&self, register: Handle<Register>) -> (&'static str, Vec<String>) {
        let ty = self.kernel.registers[register].ty;
        match is_packed(ty) {
            true => {
                let words = (ty.bytes() as usize).div_ceil(WORD);
                ("unsigned int", names("r", register.index(), words))
            }
            false => (c_type(ty.element), names("r", register.index(), ty.lanes.into())),
        }
    }

    pub(super) fn read_register(&mut self, value: Handle<Value>, register: Handle<Register>) {
        let (_, names) = self.register(register);
        match is_packed(self.kernel.registers[register].ty) {
            true => self.define_words(value, &names),
            false => self.define(value, &names),
        }
    }

    pub(super) fn assign(&mut self, register: Handle<Register>, value: Use) {
        let (_, names) = self.register(register);
        let texts = match is_packed(self.kernel.registers[register].ty) {
            true => self.words(value),
            false => (0..names.len()).map(|lane| self.lane(value, lane)).collect(),
        };
        for (name, text) in names.iter().zip(texts) {
            self.line(format!("{name} = {text};"));
        }
    }
}

/// Names of so many variables.
pub(super) fn names(prefix: &str, number: usize, count: usize) -> Vec<String> {
    match count {
        1 => vec![format!("{prefix}{number}")],
        _ => (0..count).map(|part| format!("{prefix}{number}_{part}")).collect(),
    }
}

/// Up to a word of lanes side by side.
fn packed(lanes: &[Lane], element: ElementType) -> String {
    let of_word = |lane: &Lane| match lane {
        Lane::Slice { word, at } => Some((word.clone(), *at)),
        Lane::Whole(_) => None,
    };
    // They may lie so already.
    if let Some((word, 0)) = of_word(&lanes[0])
        && (0..lanes.len()).all(|at| of_word(&lanes[at]) == Some((word.clone(), at)))
    {
        return word;
    }
    let unsigned = unsigned_type(element.size());
    let shifted = |(at, lane): (usize, &Lane)| {
        let bits = format!("(unsigned int)({unsigned}){}", lane_text(lane, element));
        match at {
            0 => bits,
            _ => format!("{bits} << {}", at as u32 * element.bits()),
        }
    };
    let all: Vec<String> = lanes.iter().enumerate().map(shifted).collect();
    format!("({})", all.join(" | "))
}
