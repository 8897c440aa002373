//! Literals, whose type is decided by what they stand beside.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote_spanned};
use syn::visit_mut::VisitMut;
use syn::{BinOp, Expr, ExprCall, ExprMethodCall, Ident, Lit, Pat, Stmt, UnOp};

use super::{Lowering, is_arithmetic, with_type};
use crate::span::{self, first};

/// A number whose type only its use decides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Without a point.
    Integer,
    /// With a point or an exponent.
    Float,
}

/// Methods of tiles whose arguments may be numbers. Plain numbers have some of them too.
const OPERAND_METHODS: [&str; 9] = [
    "min", "max", "minimum", "maximum", "clamp", "mul_high", "div_ceil", "mul_add", "powf",
];

impl Lowering<'_> {
    /// What number an expression is, as far as its syntax and the names in scope tell: a literal, a name for one, or
    /// arithmetic of these.
    pub fn number(&self, expression: &Expr) -> Option<Number> {
        match expression {
            Expr::Path(path) => path.path.get_ident().and_then(|name| self.scopes.number(name)),
            Expr::Paren(paren) => self.number(&paren.expr),
            Expr::Group(group) => self.number(&group.expr),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => self.number(&unary.expr),
            Expr::Binary(binary) if is_arithmetic(&binary.op) => {
                let left = self.number(&binary.left)?;
                (self.number(&binary.right)? == left).then_some(left)
            }
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(number) if number.suffix().is_empty() => Some(Number::Integer),
                Lit::Float(number) if number.suffix().is_empty() => Some(Number::Float),
                _ => None,
            },
            _ => None,
        }
    }

    /// The literal that stands for a number.
    pub fn literal(&self, number: Number, expression: &Expr) -> TokenStream {
        let (name, widest) = match number {
            Number::Integer => ("IntegerLiteral", "i128"),
            Number::Float => ("FloatLiteral", "f64"),
        };
        let span = first(expression);
        let literal = self.at(span, name);
        let mut value = expression.clone();
        if !has_names(&value) {
            widen(&mut value, widest);
        }
        let new = if number == Number::Integer && divides(expression) {
            Ident::new("quotient", span)
        } else {
            Ident::new("new", span)
        };
        quote_spanned!(span=> #literal::#new(#value))
    }

    /// Makes a literal of an expression that is a number.
    pub fn make_literal(&self, expression: &mut Expr) {
        if let Some(number) = self.number(expression) {
            *expression = Expr::Verbatim(self.literal(number, expression));
        }
    }

    /// Lowers `receiver.method(0)`, where the receiver decides what the number is; `None` if there is no number.
    pub fn operand_method(&mut self, call: &mut ExprMethodCall) -> Option<TokenStream> {
        let numbers: Vec<_> = call.args.iter().map(|argument| self.number(argument)).collect();
        let known = OPERAND_METHODS.iter().any(|method| call.method == method);
        if !known || numbers.iter().all(Option::is_none) || self.number(&call.receiver).is_some() {
            return None;
        }
        self.visit_expr_mut(&mut call.receiver);
        let own = span::fresh("own", self.depth, first(&call.receiver));
        for (argument, number) in call.args.iter_mut().zip(numbers) {
            match number {
                Some(number) => *argument = self.beside(&own, number, argument),
                None => self.visit_expr_mut(argument),
            }
        }
        let (receiver, method, arguments) = (&call.receiver, &call.method, &call.args);
        let span = method.span();
        Some(quote_spanned!(span=> { let #own = #receiver; #own.#method(#arguments) }))
    }

    /// The number as what it is beside the variable `other`.
    pub fn beside(&self, other: &Ident, number: Number, expression: &Expr) -> Expr {
        let span = first(expression);
        let function = match number {
            Number::Integer => "integer_beside",
            Number::Float => "float_beside",
        };
        let (function, literal) = (self.at(span, function), self.literal(number, expression));
        Expr::Verbatim(quote_spanned!(span=> #function({ &#other }, #literal)))
    }

    /// Lowers a call of `full`, `select` or `cdiv` with a number among its values; `None` if there is none.
    pub fn call_with_number(&mut self, call: &mut ExprCall) -> Option<TokenStream> {
        let Expr::Path(path) = &*call.func else { return None };
        let name = path.path.segments.last()?.ident.to_string();
        match (name.as_str(), call.args.len()) {
            ("full", 2) => {
                self.make_literal(&mut call.args[1]);
                None
            }
            ("select", 3) => {
                let (mut accept, mut reject) = (call.args[1].clone(), call.args[2].clone());
                if let (Some(first_number), Some(second)) = (self.number(&accept), self.number(&reject)) {
                    for (argument, number) in call.args.iter_mut().skip(1).zip([first_number, second]) {
                        let (scalar, literal) = (
                            self.at(first(argument), "literal_scalar"),
                            self.literal(number, argument),
                        );
                        *argument = Expr::Verbatim(quote_spanned!(first(argument)=> #scalar(#literal)));
                    }
                    return None;
                }
                let span = first(&call.func);
                let [before, accept, reject] = self.operands(&mut accept, &mut reject);
                if before.is_empty() {
                    return None;
                }
                self.visit_expr_mut(&mut call.args[0]);
                let (function, condition) = (&call.func, &call.args[0]);
                let name = span::fresh("condition", self.depth, first(condition));
                Some(quote_spanned!(span=> {
                    let #name = #condition;
                    #before
                    #function(#name, #accept, #reject)
                }))
            }
            ("cdiv", 2) => {
                let (mut value, mut divisor) = (call.args[0].clone(), call.args[1].clone());
                let span = first(&call.func);
                let [before, value, divisor] = self.operands(&mut value, &mut divisor);
                let function = &call.func;
                (!before.is_empty()).then(|| quote_spanned!(span=> { #before #function(#value, #divisor) }))
            }
            _ => None,
        }
    }

    /// The values of an `if`'s two branches, where they are numbers: beside each other their type is the context's to
    /// decide, and beside something else it decides.
    pub fn number_branches(&self, accept: &mut syn::Block, reject: &mut Expr) {
        let numbers = [
            only_value(accept).and_then(|value| self.number(value)),
            self.branch_number(reject),
        ];
        let undecided = match numbers {
            [Some(first_number), Some(second)] if first_number != second => return,
            numbers => numbers.iter().all(Option::is_some),
        };
        let lower = |value: &mut Expr| {
            let Some(number) = self.number(value) else { return };
            *value = Expr::Verbatim(if undecided {
                let (span, undecided) = (first(value), self.at(first(value), "Undecided"));
                quote_spanned!(span=> #undecided(#value))
            } else {
                self.literal(number, value)
            });
        };
        only_value_mut(accept).map(lower);
        if let Expr::Block(block) = reject {
            only_value_mut(&mut block.block).map(lower);
        }
    }

    /// The number that both branches of an `else` are.
    fn branch_number(&self, branch: &Expr) -> Option<Number> {
        match branch {
            Expr::Block(block) => only_value(&block.block).and_then(|value| self.number(value)),
            Expr::If(it) => {
                let accept = only_value(&it.then_branch).and_then(|value| self.number(value))?;
                let (_, reject) = it.else_branch.as_ref()?;
                (self.branch_number(reject)? == accept).then_some(accept)
            }
            _ => None,
        }
    }
}

/// The value of a block that is nothing else.
fn only_value(block: &syn::Block) -> Option<&Expr> {
    match block.stmts.as_slice() {
        [Stmt::Expr(value, None)] => Some(value),
        _ => None,
    }
}

fn only_value_mut(block: &mut syn::Block) -> Option<&mut Expr> {
    match block.stmts.as_mut_slice() {
        [Stmt::Expr(value, None)] => Some(value),
        _ => None,
    }
}

/// Whether a pattern is a number, a range of numbers or a bool, which only values that are known while recording match.
pub fn is_literal_pattern(pattern: &Pat) -> bool {
    match pattern {
        Pat::Lit(_) | Pat::Range(_) => true,
        Pat::Or(or) => or.cases.iter().any(is_literal_pattern),
        Pat::Paren(paren) => is_literal_pattern(&paren.pat),
        Pat::Ident(name) => name
            .subpat
            .as_ref()
            .is_some_and(|(_, pattern)| is_literal_pattern(pattern)),
        _ => false,
    }
}

/// Whether integers are divided, which beside a float nobody means.
fn divides(expression: &Expr) -> bool {
    match expression {
        Expr::Paren(paren) => divides(&paren.expr),
        Expr::Group(group) => divides(&group.expr),
        Expr::Unary(unary) => divides(&unary.expr),
        Expr::Binary(binary) => matches!(binary.op, BinOp::Div(_)) || divides(&binary.left) || divides(&binary.right),
        _ => false,
    }
}

fn has_names(expression: &Expr) -> bool {
    let mut any = false;
    span::identifiers(expression.to_token_stream(), &mut |_| any = true);
    any
}

/// Gives every literal of an expression the type `ty`.
fn widen(expression: &mut Expr, ty: &str) {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => literal.lit = Lit::Int(with_type(number, ty)),
            Lit::Float(number) => {
                let text = format!("{}{ty}", number.base10_digits());
                literal.lit = Lit::Float(syn::LitFloat::new(&text, number.span()));
            }
            _ => {}
        },
        Expr::Paren(paren) => widen(&mut paren.expr, ty),
        Expr::Group(group) => widen(&mut group.expr, ty),
        Expr::Unary(unary) => widen(&mut unary.expr, ty),
        Expr::Binary(binary) => {
            widen(&mut binary.left, ty);
            widen(&mut binary.right, ty);
        }
        _ => {}
    }
}

/// Makes an integer that i32 does not hold an i64, if a name is all that stands for it.
pub fn widen_long(value: &mut Expr) {
    if let Expr::Lit(literal) = value
        && let Lit::Int(number) = &literal.lit
        && number
            .base10_parse::<i64>()
            .is_ok_and(|value| i32::try_from(value).is_err())
    {
        literal.lit = Lit::Int(with_type(number, "i64"));
    }
}
