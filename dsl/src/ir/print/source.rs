//! Values that the host computes, as their author may have written them.

use crate::element::ElementType;
use crate::ir::{BinaryOp, Expression, Handle, Kernel, Symbol, UnaryOp};
use crate::stack::room;

/// The longest text; what is beyond it is left out.
const MAX_LENGTH: usize = 400;

/// How tightly operators bind, as in Rust.
mod precedence {
    pub const LOWEST: u8 = 0;
    pub const EITHER: u8 = 1;
    pub const BOTH: u8 = 2;
    pub const COMPARE: u8 = 3;
    pub const OR: u8 = 4;
    pub const XOR: u8 = 5;
    pub const AND: u8 = 6;
    pub const SHIFT: u8 = 7;
    pub const SUM: u8 = 8;
    pub const PRODUCT: u8 = 9;
    pub const CAST: u8 = 10;
    pub const UNARY: u8 = 11;
    pub const METHOD: u8 = 12;
}

impl Kernel {
    /// What a value that the host computes is made of, as Rust: `out.extent(1) == src.extent(1)`. For people: constants and
    /// names are the recording's, and what is very long is cut.
    pub fn text_of(&self, value: Handle<Expression>) -> String {
        let mut text = String::new();
        self.write(&mut text, value, precedence::LOWEST);
        text
    }

    fn write(&self, text: &mut String, value: Handle<Expression>, outer: u8) {
        if text.len() > MAX_LENGTH {
            if !text.ends_with('…') {
                text.push('…');
            }
            return;
        }
        let Some(expression) = self.expressions.get(value) else {
            return;
        };
        let element = self.types.get(value.index()).map(|ty| ty.element);
        let is_condition = element == Some(ElementType::Bool);
        let own = binding(expression, is_condition);
        if own < outer {
            text.push('(');
        }
        room(|| self.write_node(text, expression, is_condition, own));
        if own < outer {
            text.push(')');
        }
    }

    fn write_node(&self, text: &mut String, expression: &Expression, is_condition: bool, own: u8) {
        match expression {
            Expression::Literal(literal) => match literal.as_integer() {
                Some(_) if literal.element == ElementType::Bool => text.push_str(&literal.to_string()),
                Some(value) => text.push_str(&value.to_string()),
                None => text.push_str(&literal.to_string()),
            },
            Expression::Symbol(symbol) => text.push_str(&self.text_of_symbol(*symbol)),
            Expression::Argument(position) => text.push_str(self.parameter_name(*position)),
            Expression::Unary { op, value } => match op {
                UnaryOp::Negate | UnaryOp::Not => {
                    text.push(if *op == UnaryOp::Not { '!' } else { '-' });
                    self.write(text, *value, own);
                }
                _ => self.method(text, *value, op.name(), &[]),
            },
            Expression::Binary { op, left, right } => match infix(*op, is_condition) {
                Some((symbol, _)) => self.between(text, *left, symbol, *right, own),
                None => self.method(text, *left, op.name(), &[*right]),
            },
            Expression::Compare { op, left, right } => self.between(text, *left, op.symbol(), *right, own),
            Expression::MulAdd { left, right, addend } => self.method(text, *left, "mul_add", &[*right, *addend]),
            Expression::Select {
                condition,
                accept,
                reject,
            } => {
                text.push_str("select");
                self.arguments(text, &[*condition, *accept, *reject]);
            }
            Expression::Cast { value, to } => {
                self.write(text, *value, own);
                text.push_str(&format!(" as {to}"));
            }
            Expression::MultipleOf { value, .. } => self.write(text, *value, own),
            // No host computes these.
            _ => text.push('?'),
        }
    }

    fn between(&self, text: &mut String, left: Handle<Expression>, symbol: &str, right: Handle<Expression>, own: u8) {
        self.write(text, left, own);
        text.push_str(&format!(" {symbol} "));
        // Operators of one kind are read from the left.
        self.write(text, right, own + 1);
    }

    fn method(&self, text: &mut String, value: Handle<Expression>, name: &str, arguments: &[Handle<Expression>]) {
        self.write(text, value, precedence::METHOD);
        text.push_str(&format!(".{name}"));
        self.arguments(text, arguments);
    }

    fn arguments(&self, text: &mut String, arguments: &[Handle<Expression>]) {
        text.push('(');
        for (index, &argument) in arguments.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { ", " });
            self.write(text, argument, precedence::LOWEST);
        }
        text.push(')');
    }

    /// A launch symbol as its author writes it: `out.extent(1)`.
    pub fn text_of_symbol(&self, symbol: Symbol) -> String {
        match symbol {
            Symbol::ProgramId(axis) => format!("program_id({axis})"),
            Symbol::NumPrograms(axis) => format!("num_programs({axis})"),
            Symbol::Extent { tensor, axis } => format!("{}.extent({axis})", self.parameter_name(tensor)),
            Symbol::Stride { tensor, axis } => format!("{}.stride({axis})", self.parameter_name(tensor)),
            Symbol::Count(position) => self.parameter_name(position).to_owned(),
        }
    }

    fn parameter_name(&self, position: u32) -> &str {
        self.parameters
            .get(position as usize)
            .map_or("?", |parameter| &parameter.name)
    }
}

fn binding(expression: &Expression, is_condition: bool) -> u8 {
    match expression {
        Expression::Compare { .. } => precedence::COMPARE,
        Expression::Binary { op, .. } => {
            infix(*op, is_condition).map_or(precedence::METHOD, |(_, precedence)| precedence)
        }
        Expression::Unary {
            op: UnaryOp::Negate | UnaryOp::Not,
            ..
        } => precedence::UNARY,
        Expression::Cast { .. } => precedence::CAST,
        Expression::Literal(literal) if literal.as_integer().is_some_and(|value| value < 0) => precedence::UNARY,
        _ => precedence::METHOD,
    }
}

fn infix(op: BinaryOp, is_condition: bool) -> Option<(&'static str, u8)> {
    Some(match op {
        BinaryOp::And if is_condition => ("&&", precedence::BOTH),
        BinaryOp::Or if is_condition => ("||", precedence::EITHER),
        BinaryOp::Add => ("+", precedence::SUM),
        BinaryOp::Subtract => ("-", precedence::SUM),
        BinaryOp::Multiply => ("*", precedence::PRODUCT),
        BinaryOp::Divide => ("/", precedence::PRODUCT),
        BinaryOp::Remainder => ("%", precedence::PRODUCT),
        BinaryOp::And => ("&", precedence::AND),
        BinaryOp::Or => ("|", precedence::OR),
        BinaryOp::Xor => ("^", precedence::XOR),
        BinaryOp::ShiftLeft => ("<<", precedence::SHIFT),
        BinaryOp::ShiftRight => (">>", precedence::SHIFT),
        BinaryOp::MultiplyHigh
        | BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::Minimum
        | BinaryOp::Maximum
        | BinaryOp::Power => return None,
    })
}
