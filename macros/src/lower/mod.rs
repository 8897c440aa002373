//! Bodies: Rust's operators and control flow become calls that run or record, as their operands' types say.
//!
//! The table of what becomes what is in `tilewright_dsl::lang::staging`.

mod control;
mod literal;
mod scope;
#[cfg(test)]
mod tests;
mod variable;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{BinOp, Block, Expr, Ident, Macro, Stmt};

use crate::span::{self, Errors, Root, identifiers};
use control::Loop;
use literal::Number;
use scope::Scopes;

/// How many links of a chain of operators are one expression: rustc takes the square of the time for what an expression
/// holds until its end.
const LINKS: usize = 16;

/// What becomes of an expression's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is used.
    Value,
    /// It is `()`, or dropped.
    Statement,
}

/// The lowering of one body.
pub struct Lowering<'a> {
    root: &'a Root,
    errors: &'a mut Errors,
    /// The function's type parameters, which are element types.
    elements: Vec<String>,
    scopes: Scopes,
    /// The loops around the expression, innermost last.
    loops: Vec<Loop>,
    /// How many constructs with variables of their own are around the expression.
    depth: usize,
}

/// Whether the method takes a list with one entry per axis as its first argument.
pub fn takes_list(method: &str) -> bool {
    takes_indices(method) || matches!(method, "reshape" | "broadcast_to")
}

/// Whether the entries of that list are indices.
fn takes_indices(method: &str) -> bool {
    ["load", "store", "atomic_", "wait_until", "scatter", "prefetch"]
        .iter()
        .any(|prefix| method.starts_with(prefix))
}

/// Whether the function is `full`, which takes such a list too.
pub fn is_full(function: &Expr) -> bool {
    matches!(function, Expr::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "full"))
}

/// The operator of a compound assignment.
pub fn compound(op: &BinOp) -> Option<TokenStream> {
    let span = op.span();
    Some(match op {
        BinOp::AddAssign(_) => quote_spanned!(span=> +),
        BinOp::SubAssign(_) => quote_spanned!(span=> -),
        BinOp::MulAssign(_) => quote_spanned!(span=> *),
        BinOp::DivAssign(_) => quote_spanned!(span=> /),
        BinOp::RemAssign(_) => quote_spanned!(span=> %),
        BinOp::BitXorAssign(_) => quote_spanned!(span=> ^),
        BinOp::BitAndAssign(_) => quote_spanned!(span=> &),
        BinOp::BitOrAssign(_) => quote_spanned!(span=> |),
        BinOp::ShlAssign(_) => quote_spanned!(span=> <<),
        BinOp::ShrAssign(_) => quote_spanned!(span=> >>),
        _ => return None,
    })
}

fn comparison(op: &BinOp) -> Option<&'static str> {
    Some(match op {
        BinOp::Eq(_) => "equal",
        BinOp::Ne(_) => "not_equal",
        BinOp::Lt(_) => "less",
        BinOp::Le(_) => "less_equal",
        BinOp::Gt(_) => "greater",
        BinOp::Ge(_) => "greater_equal",
        _ => return None,
    })
}

impl<'a> Lowering<'a> {
    /// A lowering in whose scope are no variables.
    pub fn new(root: &'a Root, errors: &'a mut Errors, elements: Vec<String>) -> Self {
        Self {
            root,
            errors,
            elements,
            scopes: Scopes::default(),
            loops: Vec::new(),
            depth: 0,
        }
    }

    fn at(&self, span: Span, name: &str) -> TokenStream {
        self.root.at(span, name)
    }

    /// Lowers a block and the scope it is.
    pub fn block(&mut self, block: &mut Block, place: Place) {
        let mark = self.scopes.enter();
        let count = block.stmts.len();
        let mut lowered = Vec::with_capacity(count);
        for (index, statement) in std::mem::take(&mut block.stmts).into_iter().enumerate() {
            let last = index + 1 == count;
            match statement {
                Stmt::Local(local) => self.local(local, &mut lowered),
                Stmt::Item(item) => lowered.push(Stmt::Item(item)),
                Stmt::Macro(statement) => {
                    self.macro_call(&statement.mac);
                    lowered.push(Stmt::Macro(statement));
                }
                Stmt::Expr(mut expression, semicolon) => {
                    let span = expression.span();
                    let leaves = semicolon.is_some() && control::leaves(&expression);
                    let is_tail = last && semicolon.is_none();
                    self.expression(&mut expression, if is_tail { place } else { Place::Statement });
                    lowered.push(Stmt::Expr(expression, semicolon));
                    if last && leaves && place == Place::Value {
                        lowered.push(Stmt::Expr(self.unreached(span), None));
                    }
                }
            }
        }
        block.stmts = lowered;
        self.scopes.leave(mark);
    }

    /// Lowers an expression in place.
    pub fn expression(&mut self, expression: &mut Expr, place: Place) {
        let lowered = match expression {
            Expr::Path(path) => match self.variable(path) {
                Some(name) => quote_spanned!(name.span()=> #name.read()),
                None => return,
            },
            Expr::Paren(paren) => return self.expression(&mut paren.expr, place),
            Expr::Group(group) => return self.expression(&mut group.expr, place),
            Expr::Block(block) => return self.block(&mut block.block, place),
            Expr::Unsafe(block) => return self.block(&mut block.block, place),
            Expr::Binary(binary) if compound(&binary.op).is_none() => {
                *expression = self.chain(binary);
                return;
            }
            Expr::Binary(binary) => match self.compound_assignment(binary) {
                Some(lowered) => lowered,
                None => return,
            },
            Expr::Cast(cast) => {
                self.expression(&mut cast.expr, Place::Value);
                let (trait_, value, ty) = (self.at(cast.as_token.span, "CastTo"), &cast.expr, &cast.ty);
                quote_spanned!(cast.as_token.span=> #trait_::<#ty>::cast_to(#value))
            }
            Expr::Assign(assign) => match self.assign(assign) {
                Some(lowered) => lowered,
                None => return,
            },
            Expr::If(conditional) => match self.conditional(conditional, place) {
                Some(lowered) => lowered,
                None => return,
            },
            Expr::Match(it) => return self.match_arms(it, place),
            Expr::Let(it) => {
                self.expression(&mut it.expr, Place::Value);
                self.known_if_matched(&mut it.expr, std::iter::once(&*it.pat));
                return self.scopes.bind(&it.pat);
            }
            Expr::While(it) => self.while_loop(it),
            Expr::Loop(it) => self.endless_loop(it),
            Expr::ForLoop(it) => self.for_loop(it),
            Expr::Break(it) => self.leave_loop(it.break_token.span, "leave", quote!(break), place),
            Expr::Continue(it) => self.leave_loop(it.continue_token.span, "skip", quote!(continue), place),
            Expr::Return(it) => self.leave_program(it.return_token.span, place),
            Expr::Closure(closure) => return self.closure(closure),
            Expr::Reference(reference) if reference.mutability.is_some() => {
                self.borrowed(&reference.expr);
                return self.expression(&mut reference.expr, Place::Value);
            }
            Expr::MethodCall(call) => {
                let method = call.method.to_string();
                if takes_indices(&method) {
                    type_indices(call.args.first_mut());
                    call.args.iter_mut().skip(1).for_each(|value| self.make_literal(value));
                }
                if takes_list(&method) {
                    self.list_to_tuple(call.args.first_mut());
                }
                match self.operand_method(call) {
                    Some(lowered) => lowered,
                    None => return visit_mut::visit_expr_method_call_mut(self, call),
                }
            }
            Expr::Call(call) => {
                if is_full(&call.func) {
                    self.list_to_tuple(call.args.first_mut());
                }
                match self.call_with_number(call) {
                    Some(lowered) => lowered,
                    None => return visit_mut::visit_expr_call_mut(self, call),
                }
            }
            Expr::Repeat(repeat) => return self.expression(&mut repeat.expr, Place::Value),
            Expr::Macro(it) => return self.macro_call(&it.mac),
            Expr::Const(_) | Expr::Async(_) => return,
            _ => return visit_mut::visit_expr_mut(self, expression),
        };
        *expression = Expr::Verbatim(lowered);
    }

    /// The mutable variable that a path names.
    fn variable(&self, path: &syn::ExprPath) -> Option<Ident> {
        let name = path.path.get_ident().filter(|_| path.qself.is_none())?;
        self.scopes.is_variable(name).then(|| name.clone())
    }

    fn named_variable(&self, expression: &Expr) -> Option<Ident> {
        match expression {
            Expr::Path(path) => self.variable(path),
            Expr::Paren(paren) => self.named_variable(&paren.expr),
            _ => None,
        }
    }

    /// Compound assignment to a variable; any other stays, with lowered operands.
    fn compound_assignment(&mut self, binary: &mut syn::ExprBinary) -> Option<TokenStream> {
        let (span, op) = (binary.op.span(), compound(&binary.op)?);
        let Some(name) = self.named_variable(&binary.left) else {
            self.field_of_variable(&binary.left);
            self.expression(&mut binary.left, Place::Value);
            self.expression(&mut binary.right, Place::Value);
            return None;
        };
        let [before, left, right] = self.operands(&mut binary.left, &mut binary.right);
        // The right side may bind less tightly than the operator.
        let right = if is_operand(&binary.right) || !before.is_empty() {
            right
        } else {
            quote!((#right))
        };
        let assign = quote_spanned!(span=> #name.assign(#left #op #right));
        Some(if before.is_empty() {
            assign
        } else {
            quote_spanned!(span=> { #before #assign })
        })
    }

    /// A chain of operators, `a + b - c` or `a && b && c`: comparisons and logic become calls, other operators stay. It
    /// is lowered link by link, so that what comes out is as deep with many terms as with two. Numbers stay as they are
    /// until they stand beside something that decides their type.
    fn chain(&mut self, last: &mut syn::ExprBinary) -> Expr {
        let take = |place: &mut Expr| std::mem::replace(place, Expr::PLACEHOLDER);
        let mut links = vec![(last.op, take(&mut last.right))];
        let mut value = take(&mut last.left);
        while let Expr::Binary(mut link) = value {
            links.push((link.op, take(&mut link.right)));
            value = *link.left;
        }
        let (mut number, mut is_logic) = (self.number(&value), false);
        if number.is_none() {
            self.expression(&mut value, Place::Value);
        }
        let at_first = span::first(&value);
        // What has to be in variables before `value` can be computed.
        let mut before = TokenStream::new();
        for (count, (op, mut right)) in links.into_iter().rev().enumerate() {
            let span = op.span();
            let is_long = count > 0 && count.is_multiple_of(LINKS) && number.is_none();
            let is_and_or = matches!(op, BinOp::And(_) | BinOp::Or(_));
            if is_long || (is_and_or && is_logic) {
                let name = span::fresh("left", self.depth, at_first);
                before.extend(quote_spanned!(span=> let #name = #value;));
                value = Expr::Verbatim(name.into_token_stream());
            }
            is_logic = is_and_or;
            let numbers = [number, self.number(&right)];
            number = numbers[0].filter(|_| is_arithmetic(&op) && numbers[0] == numbers[1]);
            if is_and_or {
                self.expression(&mut right, Place::Value);
                value = self.logic(op, &value, &right);
                continue;
            }
            if let Some(declared) = self.numbers_beside(numbers, &mut value, &mut right, at_first) {
                before.extend(declared);
            }
            value = match comparison(&op) {
                Some(name) => {
                    let function = self.at(span, name);
                    Expr::Verbatim(quote_spanned!(span=> #function(#value, #right)))
                }
                None => Expr::Binary(syn::ExprBinary {
                    attrs: Vec::new(),
                    left: Box::new(value),
                    op,
                    right: Box::new(right),
                }),
            };
        }
        match before.is_empty() {
            true => value,
            false => Expr::Verbatim(quote_spanned!(last.op.span()=> { #before #value })),
        }
    }

    /// `&&` or `||`.
    fn logic(&self, op: BinOp, left: &Expr, right: &Expr) -> Expr {
        let (span, is_and) = (op.span(), matches!(op, BinOp::And(_)));
        let (logic, method) = (
            self.at(span, "Logic"),
            Ident::new(if is_and { "and" } else { "or" }, span),
        );
        Expr::Verbatim(quote_spanned!(span=> #logic::#method(#left, || #right)))
    }

    /// Lowers two operands; the first tokens of the result declare what the others need.
    fn operands(&mut self, left: &mut Expr, right: &mut Expr) -> [TokenStream; 3] {
        let numbers = [self.number(left), self.number(right)];
        let at_left = span::first(left);
        if numbers[0].is_none() {
            self.expression(left, Place::Value);
        }
        let mut operands = [left.clone(), right.clone()];
        let [own_left, own_right] = &mut operands;
        let before = self.numbers_beside(numbers, own_left, own_right, at_left);
        let [left, right] = operands.map(ToTokens::into_token_stream);
        [before.unwrap_or_default(), left, right]
    }

    /// Lowers the right one of two operands, of which the left one is lowered if it is no number. A number takes its type
    /// from what it stands beside: both then stand in variables, which the tokens of the result declare.
    fn numbers_beside(
        &mut self,
        numbers: [Option<Number>; 2],
        left: &mut Expr,
        right: &mut Expr,
        at_left: Span,
    ) -> Option<TokenStream> {
        let [left_name, right_name] =
            [("left", at_left), ("right", span::first(right))].map(|(name, at)| span::fresh(name, self.depth, at));
        let before = match numbers {
            [None, Some(number)] => {
                let literal = self.beside(&left_name, number, right);
                quote_spanned!(at_left=> let #left_name = #left; let #right_name = #literal;)
            }
            [Some(number), None] => {
                let literal = self.beside(&right_name, number, left);
                self.expression(right, Place::Value);
                quote_spanned!(span::first(right)=> let #right_name = #right; let #left_name = #literal;)
            }
            [None, None] => {
                self.expression(right, Place::Value);
                return None;
            }
            [Some(_), Some(_)] => return None,
        };
        *left = Expr::Verbatim(left_name.into_token_stream());
        *right = Expr::Verbatim(right_name.into_token_stream());
        Some(before)
    }

    /// A list of indices or extents becomes a tuple, because its entries have different types.
    fn list_to_tuple(&self, argument: Option<&mut Expr>) {
        let Some(argument) = argument else { return };
        let Expr::Array(array) = argument else { return };
        let span = array.bracket_token.span.join();
        let elems = std::mem::take(&mut array.elems);
        let (attrs, paren_token) = (Vec::new(), syn::token::Paren(span));
        *argument = if elems.len() == 1 {
            let one = self.at(span, "One");
            Expr::Call(syn::ExprCall {
                attrs,
                func: Box::new(Expr::Verbatim(one)),
                paren_token,
                args: elems,
            })
        } else {
            Expr::Tuple(syn::ExprTuple {
                attrs,
                paren_token,
                elems,
            })
        };
    }

    fn closure(&mut self, closure: &mut syn::ExprClosure) {
        let mark = self.scopes.enter();
        let mut redeclared = Vec::new();
        for input in &mut closure.inputs {
            redeclared.extend(self.pattern(input));
        }
        let loops = std::mem::take(&mut self.loops);
        self.expression(&mut closure.body, Place::Value);
        self.loops = loops;
        if !redeclared.is_empty() {
            let body = &closure.body;
            *closure.body = Expr::Verbatim(quote!({ #(#redeclared)* #body }));
        }
        self.scopes.leave(mark);
    }

    /// A value that is never reached, of whatever type the context needs.
    fn unreached(&self, span: Span) -> Expr {
        let function = self.at(span, "unreached");
        Expr::Verbatim(quote_spanned!(span=> #function()))
    }

    /// A macro's arguments are not Rust to us: variables in them would go unnoticed.
    fn macro_call(&mut self, call: &Macro) {
        let (scopes, errors) = (&self.scopes, &mut *self.errors);
        identifiers(call.tokens.clone(), &mut |name| {
            if scopes.is_variable(name) {
                let advice = format!("bind its value first: `let value = {name};`");
                errors.push(
                    name,
                    format!("a macro cannot read the mutable variable `{name}` of a kernel: {advice}"),
                );
            }
        });
    }

    fn borrowed(&mut self, target: &Expr) {
        if let Some(name) = self.named_variable(target) {
            let advice = format!("let the function return the new value: `{name} = f({name});`");
            self.errors.push(
                target,
                format!("`{name}` is a variable of the kernel and cannot be borrowed mutably: {advice}"),
            );
        }
    }
}

fn is_arithmetic(op: &BinOp) -> bool {
    compound(op).is_none() && comparison(op).is_none() && !matches!(op, BinOp::And(_) | BinOp::Or(_))
}

/// Indices that are bare literals are `i64`. Any integer is an index, so nothing else would decide their type before the
/// result of a load needs its rank.
fn type_indices(argument: Option<&mut Expr>) {
    fn type_index(index: &mut Expr) {
        match index {
            Expr::Lit(literal) => match &literal.lit {
                syn::Lit::Int(number) if number.suffix().is_empty() => {
                    literal.lit = syn::Lit::Int(with_type(number, "i64"));
                }
                _ => {}
            },
            Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Neg(_)) => type_index(&mut unary.expr),
            Expr::Paren(paren) => type_index(&mut paren.expr),
            _ => {}
        }
    }
    if let Some(Expr::Array(list)) = argument {
        list.elems.iter_mut().for_each(type_index);
    }
}

/// An integer literal with a suffix, on the author's token.
fn with_type(number: &syn::LitInt, ty: &str) -> syn::LitInt {
    syn::LitInt::new(&format!("{}{ty}", number.base10_digits()), number.span())
}

/// Whether an expression can stand beside any operator without parentheses.
fn is_operand(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::Lit(_)
            | Expr::Path(_)
            | Expr::Paren(_)
            | Expr::Call(_)
            | Expr::MethodCall(_)
            | Expr::Field(_)
            | Expr::Index(_)
            | Expr::Verbatim(_)
    )
}

impl VisitMut for Lowering<'_> {
    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        self.expression(expression, Place::Value);
    }
    fn visit_block_mut(&mut self, block: &mut Block) {
        self.block(block, Place::Value);
    }
    // Types, patterns and items are plain Rust, constants in them included.
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
    fn visit_generic_argument_mut(&mut self, _: &mut syn::GenericArgument) {}
    fn visit_pat_mut(&mut self, _: &mut syn::Pat) {}
    fn visit_path_mut(&mut self, _: &mut syn::Path) {}
    fn visit_item_mut(&mut self, _: &mut syn::Item) {}
    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}
}
