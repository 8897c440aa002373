//! Variables: `let`, patterns and assignment.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Expr, ExprAssign, Ident, Lit, Local, Pat, Stmt, Type, UnOp};

use super::literal::widen_long;
use super::scope::take_mutable;
use super::{Lowering, Place};

/// Element types under the names that Rust and the `half` crate give them.
const ELEMENTS: [&str; 13] = [
    "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "bool", "bf16", "f16",
];

/// What is known of a variable's type from its declaration.
enum Annotation<'a> {
    /// Nothing.
    None,
    /// It is the scalar of an element type.
    Element(&'a Type),
    /// It is this type, and a plain number can stand for it.
    Named(&'a Type),
    /// It is this type.
    Other(&'a Type),
}

impl Lowering<'_> {
    /// Lowers a declaration; one with several mutable names becomes several.
    pub fn local(&mut self, mut local: Local, lowered: &mut Vec<Stmt>) {
        let Some(init) = &mut local.init else {
            self.scopes.bind(&local.pat);
            return lowered.push(Stmt::Local(local));
        };
        if let Some((_, diverge)) = &mut init.diverge {
            self.expression(diverge, Place::Value);
        }
        let (pattern, annotation) = match &local.pat {
            Pat::Type(typed) => (&*typed.pat, Some(&*typed.ty)),
            pattern => (pattern, None),
        };
        if let Pat::Ident(name) = pattern
            && name.mutability.is_some()
            && name.by_ref.is_none()
            && name.subpat.is_none()
        {
            let ident = name.ident.clone();
            let value = self.first_value(&ident, annotation.cloned().as_ref(), &mut init.expr);
            *init.expr = Expr::Verbatim(value);
            local.pat = Pat::Ident(name.clone());
            self.scopes.declare(&ident);
            return lowered.push(Stmt::Local(local));
        }
        if let Pat::Ident(name) = &local.pat
            && let Some(number) = self.number(&init.expr)
        {
            widen_long(&mut init.expr);
            self.scopes.bind_number(&name.ident, number);
            return lowered.push(Stmt::Local(local));
        }
        if let Pat::Type(typed) = &local.pat
            && let Pat::Ident(name) = &*typed.pat
            && let Some(value) = self.declared(&typed.ty, &mut init.expr)
        {
            *init.expr = Expr::Verbatim(value);
            self.scopes.bind(&typed.pat);
            local.pat = Pat::Ident(name.clone());
            return lowered.push(Stmt::Local(local));
        }
        self.stage_literals(pattern, &mut init.expr);
        self.expression(&mut init.expr, Place::Value);
        let redeclared = self.pattern(&mut local.pat);
        lowered.push(Stmt::Local(local));
        lowered.extend(
            redeclared
                .into_iter()
                .map(|tokens| Stmt::Expr(Expr::Verbatim(tokens), None)),
        );
    }

    /// Brings a pattern's names into scope. Its mutable names become plain ones, which the returned statements make
    /// variables.
    pub fn pattern(&mut self, pattern: &mut Pat) -> Vec<TokenStream> {
        let mutable = take_mutable(pattern);
        self.scopes.bind(pattern);
        mutable.iter().map(|name| self.redeclare(name)).collect()
    }

    /// As [`Lowering::pattern`], of a function's parameter.
    pub fn parameter(&mut self, pattern: &mut Pat) -> Vec<TokenStream> {
        self.pattern(pattern)
    }

    /// The statement that makes the plain value `name` a variable of that name.
    pub fn redeclare(&mut self, name: &Ident) -> TokenStream {
        self.scopes.declare(name);
        let (variable, text) = (self.at(name.span(), "Var"), name.unraw().to_string());
        quote_spanned!(name.span()=> let mut #name = #variable::new(#text, #name);)
    }

    /// The variable's first value. A literal without a type is one that the program computes with, not a compile-time
    /// value: it is what changes that makes a variable interesting.
    fn first_value(&mut self, name: &Ident, annotation: Option<&Type>, value: &mut Expr) -> TokenStream {
        let literal = is_literal(value);
        let number = self.number(value);
        let annotation = self.annotation(annotation);
        if number.is_some() && matches!(annotation, Annotation::Element(_) | Annotation::Named(_)) {
            self.make_literal(value);
        } else {
            self.expression(value, Place::Value);
        }
        let span = name.span();
        let (variable, text) = (self.at(span, "Var"), name.unraw().to_string());
        match annotation {
            Annotation::None if literal => {
                let function = self.at(first(value), "literal");
                quote_spanned!(span=> #variable::new(#text, #function(#value)))
            }
            Annotation::None => quote_spanned!(span=> #variable::new(#text, #value)),
            Annotation::Element(ty) => {
                let scalar = self.at(ty.span(), "Scalar");
                let value = if literal && number.is_none() {
                    let function = self.at(first(value), "literal");
                    quote_spanned!(span=> #function::<#ty>(#value))
                } else {
                    let function = self.at(first(value), "value");
                    quote_spanned!(span=> #function::<#scalar<#ty>>(#value))
                };
                quote_spanned!(span=> #variable::<#scalar<#ty>>::new(#text, #value))
            }
            Annotation::Named(ty) => {
                let function = self.at(first(value), "value");
                quote_spanned!(span=> #variable::<#ty>::new(#text, #function::<#ty>(#value)))
            }
            Annotation::Other(ty) => quote_spanned!(span=> #variable::<#ty>::new(#text, #value)),
        }
    }

    /// The value of `let name: ty`, which may be recorded: a variable of element type is then a scalar. `None` if the
    /// declaration can stay as it is.
    fn declared(&mut self, ty: &Type, value: &mut Expr) -> Option<TokenStream> {
        let Type::Path(path) = ty else { return None };
        let name = path.path.get_ident()?.to_string();
        let generic = self.elements.contains(&name) || matches!(name.as_str(), "bf16" | "f16");
        if !(generic || name == "usize" || ELEMENTS.contains(&name.as_str())) {
            return None;
        }
        if let Some(number) = self.number(value) {
            // A plain number of a type that Rust knows.
            let literal = self.literal(number, value);
            let [scalar, function] = ["Scalar", "value"].map(|name| self.at(ty.span(), name));
            return generic.then(|| quote_spanned!(ty.span()=> #function::<#scalar<#ty>>(#literal)));
        }
        self.expression(value, Place::Value);
        let function = self.at(first(value), "declared");
        Some(quote_spanned!(first(value)=> #function::<#ty, _, _>(#value)))
    }

    fn annotation<'t>(&self, annotation: Option<&'t Type>) -> Annotation<'t> {
        match annotation {
            None | Some(Type::Infer(_)) => Annotation::None,
            Some(ty @ Type::Path(path)) => match path.path.get_ident().map(Ident::to_string) {
                Some(name) if ELEMENTS.contains(&name.as_str()) || self.elements.contains(&name) => {
                    Annotation::Element(ty)
                }
                Some(name) if name == "usize" => Annotation::Other(ty),
                _ => Annotation::Named(ty),
            },
            Some(ty) => Annotation::Other(ty),
        }
    }

    /// In `let (mut a, b) = (0, 1)`, makes `0` what it is in `let mut a = 0`.
    fn stage_literals(&mut self, pattern: &Pat, value: &mut Expr) {
        let (Pat::Tuple(names), Expr::Tuple(values)) = (pattern, value) else {
            return;
        };
        if names.elems.len() != values.elems.len() {
            return;
        }
        for (name, value) in names.elems.iter().zip(&mut values.elems) {
            match name {
                Pat::Ident(name) if name.mutability.is_some() && is_literal(value) => {
                    let function = self.at(first(value), "literal");
                    *value = Expr::Verbatim(quote_spanned!(value.span()=> #function(#value)));
                }
                name => self.stage_literals(name, value),
            }
        }
    }

    /// Assignment to variables; any other is rustc's to judge.
    pub fn assign(&mut self, assign: &mut ExprAssign) -> Option<TokenStream> {
        let span = assign.eq_token.span;
        if let Some(name) = self.named_variable(&assign.left) {
            self.make_literal(&mut assign.right);
            self.expression(&mut assign.right, Place::Value);
            let value = &assign.right;
            return Some(quote_spanned!(span=> #name.assign(#value)));
        }
        self.field_of_variable(&assign.left);
        if let (Expr::Tuple(targets), Expr::Tuple(values)) = (&*assign.left, &mut *assign.right) {
            for (target, value) in targets.elems.iter().zip(&mut values.elems) {
                if self.named_variable(target).is_some() {
                    self.make_literal(value);
                }
            }
        }
        self.expression(&mut assign.right, Place::Value);
        if let Expr::Tuple(targets) = &*assign.left
            && targets.elems.iter().any(|target| self.named_variable(target).is_some())
        {
            return Some(self.assign_all(targets, &assign.right, span));
        }
        self.expression(&mut assign.left, Place::Value);
        None
    }

    /// `(a, b) = value`.
    fn assign_all(&mut self, targets: &syn::ExprTuple, value: &Expr, span: proc_macro2::Span) -> TokenStream {
        let mut patterns = Vec::new();
        let mut assignments = Vec::new();
        for (index, target) in targets.elems.iter().enumerate() {
            let part = crate::span::fresh(&format!("part{index}"), self.depth, target.span());
            match self.named_variable(target) {
                Some(name) => {
                    assignments.push(quote_spanned!(span=> #name.assign(#part);));
                    patterns.push(part.to_token_stream());
                }
                None if matches!(target, Expr::Infer(_)) => patterns.push(quote!(_)),
                None => {
                    let message = "every part of this assignment must be a mutable variable of the kernel, or `_`";
                    self.errors.push(target, message);
                }
            }
        }
        quote_spanned!(span=> { let (#(#patterns,)*) = #value; #(#assignments)* })
    }

    /// Reports an assignment to a part of a variable: it would change a copy.
    pub fn field_of_variable(&mut self, target: &Expr) {
        let mut base = target;
        while let Expr::Field(field) = base {
            base = &field.base;
        }
        if let Some(name) = self.named_variable(base).filter(|_| matches!(target, Expr::Field(_))) {
            let advice = format!("assign the whole value, `{name} = (...)`, or use two variables");
            self.errors.push(
                target,
                format!("a part of the variable `{name}` cannot be assigned: {advice}"),
            );
        }
    }
}

fn first(value: &Expr) -> proc_macro2::Span {
    crate::span::first(value)
}

/// A number or bool, possibly negated, whose type the context decides. `0usize` is a compile-time value.
fn is_literal(value: &Expr) -> bool {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => !matches!(number.suffix(), "usize" | "isize"),
            Lit::Float(_) | Lit::Bool(_) => true,
            _ => false,
        },
        Expr::Unary(unary) => matches!(unary.op, UnOp::Neg(_)) && is_literal(&unary.expr),
        Expr::Paren(paren) => is_literal(&paren.expr),
        _ => false,
    }
}
