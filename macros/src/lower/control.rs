//! Control flow: conditionals, loops, and what leaves them.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{
    BinOp, Block, Expr, ExprForLoop, ExprIf, ExprLoop, ExprMatch, ExprRange, ExprWhile, Ident, Lit, Pat, RangeLimits,
    Stmt,
};

use super::literal::{Number, is_literal_pattern};
use super::{Lowering, Place};
use crate::span::{first, fresh};

/// A loop around an expression: the variable that says whether leaving it happens now, and the trait or type to ask.
pub struct Loop {
    state: Ident,
    asked: &'static str,
}

impl Lowering<'_> {
    /// Runs `lower` one construct deeper.
    fn deeper<R>(&mut self, lower: impl FnOnce(&mut Self, usize) -> R) -> R {
        let depth = self.depth;
        self.depth += 1;
        let result = lower(self, depth);
        self.depth = depth;
        result
    }

    /// An `if` over a value that may be staged; `None`, with its parts lowered, for an `if let`, which stays.
    pub fn conditional(&mut self, it: &mut ExprIf, place: Place) -> Option<TokenStream> {
        if has_let(&it.cond) {
            self.if_let(it, place);
            return None;
        }
        Some(self.deeper(|this, depth| this.staged_if(it, place, depth)))
    }

    fn if_let(&mut self, it: &mut ExprIf, place: Place) {
        let mark = self.scopes.enter();
        self.let_chain(&mut it.cond);
        self.block(&mut it.then_branch, place);
        self.scopes.leave(mark);
        if let Some((_, otherwise)) = &mut it.else_branch {
            // What follows `else` must stay a block or an `if`.
            let mut lowered = std::mem::replace(&mut **otherwise, Expr::Verbatim(TokenStream::new()));
            self.expression(&mut lowered, place);
            **otherwise = lowered;
        }
    }

    /// The `&&` of a chain of `let`s is syntax, not an operator.
    fn let_chain(&mut self, condition: &mut Expr) {
        match condition {
            Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
                self.let_chain(&mut binary.left);
                self.let_chain(&mut binary.right);
            }
            condition => self.expression(condition, Place::Value),
        }
    }

    fn staged_if(&mut self, it: &mut ExprIf, place: Place, depth: usize) -> TokenStream {
        let span = it.if_token.span;
        self.expression(&mut it.cond, Place::Value);
        let (branch, merge) = (fresh("branch", depth, span), fresh("merge", depth, span));
        let (trait_, condition) = (self.at(span, "Condition"), &it.cond);
        let begin = quote_spanned!(span=> let mut #branch = #trait_::branch(#condition););
        let Some((else_token, otherwise)) = &mut it.else_branch else {
            self.block(&mut it.then_branch, Place::Statement);
            let accept = &it.then_branch;
            return quote_spanned!(span=> { #begin if #branch.accept() #accept #branch.end(); });
        };
        let values = [gives_value(&it.then_branch), expression_gives_value(otherwise)];
        let leaves = [block_leaves(&it.then_branch), leaves(otherwise)];
        let place = if values == [false, false] {
            Place::Statement
        } else {
            place
        };
        // A branch that leaves gives no value.
        let [accepted, rejected] = leaves.map(|leaves| {
            if leaves && place == Place::Value {
                Place::Statement
            } else {
                place
            }
        });
        if place == Place::Value && leaves == [false, false] {
            self.number_branches(&mut it.then_branch, otherwise);
        }
        self.block(&mut it.then_branch, accepted);
        self.expression(otherwise, rejected);
        let (accept, reject) = (&it.then_branch, &**otherwise);
        let reject = match reject {
            Expr::Block(_) => reject.to_token_stream(),
            // An `else if`.
            other => quote_spanned!(span=> { #other }),
        };
        if place == Place::Statement || leaves == [true, true] {
            return quote_spanned!(span=> {
                #begin
                if #branch.accept() #accept
                if #branch.reject() #reject
                #branch.end();
            });
        }
        let (new, accept, reject) = match leaves {
            [false, false] => {
                // What the branches' types have to do with each other is rustc's to say, at the `else`.
                let join = self.at(else_token.span, "Branches");
                (
                    quote_spanned!(else_token.span=> #join::new({ &#branch })),
                    quote_spanned!(span=> { #join::accept(&mut #merge, #accept) }),
                    quote_spanned!(span=> { #join::reject(&mut #merge, #reject) }),
                )
            }
            [accept_leaves, _] => {
                let one = self.at(span, "Merge");
                let new = quote_spanned!(span=> #one::new());
                let set = |tokens: TokenStream| quote_spanned!(span=> { #one::set(&mut #merge, #tokens) });
                if accept_leaves {
                    (new, accept.to_token_stream(), set(reject))
                } else {
                    (new, set(accept.to_token_stream()), reject)
                }
            }
        };
        let merged = self.at(span, "merged");
        quote_spanned!(span=> {
            #begin
            let mut #merge = #new;
            if #branch.accept() #accept
            if #branch.reject() #reject
            #branch.end();
            #merged(#merge.get())
        })
    }

    /// A `match` stays; its arms are lowered.
    pub fn match_arms(&mut self, it: &mut ExprMatch, place: Place) {
        self.expression(&mut it.expr, Place::Value);
        self.known_if_matched(&mut it.expr, it.arms.iter().map(|arm| &arm.pat));
        for arm in &mut it.arms {
            let mark = self.scopes.enter();
            let redeclared = self.pattern(&mut arm.pat);
            if let Some((_, guard)) = &mut arm.guard {
                self.let_chain(guard);
            }
            self.expression(&mut arm.body, place);
            if !redeclared.is_empty() {
                let body = &arm.body;
                *arm.body = Expr::Verbatim(quote!({ #(#redeclared)* #body }));
            }
            self.scopes.leave(mark);
        }
    }

    /// What is matched with numbers has to be known while recording.
    pub fn known_if_matched<'p>(&self, value: &mut Expr, mut patterns: impl Iterator<Item = &'p Pat>) {
        if patterns.any(is_literal_pattern) {
            let span = first(value);
            let matched = self.at(span, "matched");
            *value = Expr::Verbatim(quote_spanned!(span=> #matched(#value)));
        }
    }

    /// Lowers a loop's body, with the state that `break` and `continue` in it ask.
    fn trip(&mut self, body: &mut Block, state: &Ident, asked: &'static str) {
        self.loops.push(Loop {
            state: state.clone(),
            asked,
        });
        self.block(body, Place::Statement);
        self.loops.pop();
    }

    /// A `while`.
    pub fn while_loop(&mut self, it: &mut ExprWhile) -> TokenStream {
        let span = it.while_token.span;
        self.deeper(|this, depth| {
            let trip = fresh("trip", depth, span);
            if has_let(&it.cond) {
                let mark = this.scopes.enter();
                this.let_chain(&mut it.cond);
                this.trip(&mut it.body, &trip, "While");
                this.scopes.leave(mark);
                let while_type = this.at(span, "While");
                return quote_spanned!(span=> { let #trip = #while_type::new(); #it });
            }
            this.expression(&mut it.cond, Place::Value);
            this.trip(&mut it.body, &trip, "While");
            this.recorded_loop(span, &trip, &it.cond.to_token_stream(), &it.body)
        })
    }

    /// A `loop`.
    pub fn endless_loop(&mut self, it: &mut ExprLoop) -> TokenStream {
        let span = it.loop_token.span;
        self.deeper(|this, depth| {
            let trip = fresh("trip", depth, span);
            let forever = this.at(span, "forever");
            this.trip(&mut it.body, &trip, "While");
            this.recorded_loop(span, &trip, &quote_spanned!(span=> #forever()), &it.body)
        })
    }

    fn recorded_loop(&self, span: Span, trip: &Ident, condition: &TokenStream, body: &Block) -> TokenStream {
        let [while_type, trait_] = ["While", "Condition"].map(|name| self.at(span, name));
        quote_spanned!(span=> {
            let mut #trip = #while_type::new();
            loop {
                #trip.header();
                if !#trait_::test(#condition, &mut #trip) { break; }
                #body
                if !#trip.again() { break; }
            }
        })
    }

    /// A `for`.
    pub fn for_loop(&mut self, it: &mut ExprForLoop) -> TokenStream {
        let span = it.for_token.span;
        self.deeper(|this, depth| {
            this.head(&mut it.expr);
            let trips = fresh("trips", depth, span);
            let item = fresh("item", depth, span);
            let mark = this.scopes.enter();
            let redeclared = this.pattern(&mut it.pat);
            this.trip(&mut it.body, &trips, "Trips");
            this.scopes.leave(mark);
            // What cannot be looped over is the fault of the head.
            let (begin, next) = (this.at(first(&it.expr), "trips"), this.at(span, "Trips"));
            let (head, pattern, body) = (&it.expr, &it.pat, &it.body);
            quote_spanned!(span=> {
                let mut #trips = #begin(#head);
                while let ::core::option::Option::Some(#item) = #next::next(&mut #trips) {
                    let #pattern = #item;
                    #(#redeclared)*
                    #body
                }
            })
        })
    }

    /// What a `for` goes over: a range may have staged bounds, anything else is iterated over while recording.
    fn head(&mut self, head: &mut Expr) {
        match self.range(head) {
            Some(range) => *head = Expr::Verbatim(range),
            None => self.expression(head, Place::Value),
        }
    }

    /// A range, perhaps reversed or with a step. These are functions, because methods would need a type that a literal
    /// bound leaves open.
    fn range(&mut self, head: &mut Expr) -> Option<TokenStream> {
        match head {
            Expr::Paren(paren) => self.range(&mut paren.expr),
            Expr::MethodCall(call) if call.method == "rev" && call.args.is_empty() => {
                let range = self.range(&mut call.receiver)?;
                let reversed = self.at(call.method.span(), "reversed");
                Some(quote_spanned!(call.method.span()=> #reversed(#range)))
            }
            Expr::MethodCall(call) if call.method == "step_by" => {
                let range = self.range(&mut call.receiver)?;
                for argument in &mut call.args {
                    self.expression(argument, Place::Value);
                }
                let (method, arguments) = (&call.method, &call.args);
                Some(quote_spanned!(call.method.span()=> #range.#method(#arguments)))
            }
            Expr::Range(ExprRange {
                start: Some(start),
                end: Some(end),
                limits: RangeLimits::HalfOpen(dots),
                ..
            }) => {
                let span = dots.spans.first().copied().unwrap_or_else(Span::call_site);
                let range = self.at(span, "loop_range");
                let integers = [&**start, &**end].map(|bound| self.number(bound) == Some(Number::Integer));
                if integers == [true, true] {
                    // Nothing else would decide the type of `0..4`, and such a loop unrolls.
                    [&mut **start, &mut **end].into_iter().for_each(make_usize);
                    return Some(quote_spanned!(span=> #range(#start, #end)));
                }
                for (bound, is_integer) in [&mut **start, &mut **end].into_iter().zip(integers) {
                    if is_integer {
                        self.make_literal(bound);
                    }
                    self.expression(bound, Place::Value);
                }
                Some(quote_spanned!(span=> #range(#start, #end)))
            }
            _ => None,
        }
    }

    /// `break` or `continue`.
    pub fn leave_loop(&mut self, span: Span, question: &str, keyword: TokenStream, place: Place) -> TokenStream {
        let Some(Loop { state, asked }) = self.loops.last() else {
            // Outside a loop; rustc says so.
            return respan(keyword, span);
        };
        let (asked, question) = (self.at(span, asked), Ident::new(question, span));
        let keyword = respan(keyword, span);
        let leave = quote_spanned!(span=> if #asked::#question(&#state) { #keyword; });
        self.maybe_valued(leave, span, place)
    }

    /// `return`.
    pub fn leave_program(&mut self, span: Span, place: Place) -> TokenStream {
        let function = self.at(span, "leave_program");
        self.maybe_valued(quote_spanned!(span=> if #function() { return; }), span, place)
    }

    fn maybe_valued(&self, leave: TokenStream, span: Span, place: Place) -> TokenStream {
        match place {
            Place::Statement => quote_spanned!(span=> { #leave }),
            Place::Value => {
                let value = self.unreached(span);
                quote_spanned!(span=> { #leave #value })
            }
        }
    }
}

fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect()
}

/// Whether a condition has a `let` in it.
fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// Whether nothing after an expression runs, by its syntax.
pub fn leaves(expression: &Expr) -> bool {
    match expression {
        Expr::Break(_) | Expr::Continue(_) | Expr::Return(_) => true,
        Expr::Paren(paren) => leaves(&paren.expr),
        Expr::Block(block) => block_leaves(&block.block),
        Expr::Unsafe(block) => block_leaves(&block.block),
        Expr::If(it) => {
            block_leaves(&it.then_branch) && it.else_branch.as_ref().is_some_and(|(_, otherwise)| leaves(otherwise))
        }
        _ => false,
    }
}

fn block_leaves(block: &Block) -> bool {
    matches!(block.stmts.last(), Some(Stmt::Expr(expression, _)) if leaves(expression))
}

/// Whether a block has a value other than `()`, by its syntax.
fn gives_value(block: &Block) -> bool {
    matches!(block.stmts.last(), Some(Stmt::Expr(expression, None)) if expression_gives_value(expression))
        || matches!(block.stmts.last(), Some(Stmt::Macro(statement)) if statement.semi_token.is_none())
}

fn expression_gives_value(expression: &Expr) -> bool {
    match expression {
        Expr::Assign(_) | Expr::While(_) | Expr::ForLoop(_) | Expr::Loop(_) => false,
        Expr::Binary(binary) => super::compound(&binary.op).is_none(),
        Expr::Block(block) => gives_value(&block.block),
        Expr::Unsafe(block) => gives_value(&block.block),
        Expr::If(it) => match &it.else_branch {
            None => false,
            Some((_, otherwise)) => gives_value(&it.then_branch) || expression_gives_value(otherwise),
        },
        expression => !leaves(expression),
    }
}

fn make_usize(expression: &mut Expr) {
    match expression {
        Expr::Lit(literal) => {
            if let Lit::Int(number) = &literal.lit {
                literal.lit = Lit::Int(super::with_type(number, "usize"));
            }
        }
        Expr::Paren(paren) => make_usize(&mut paren.expr),
        Expr::Binary(binary) => {
            make_usize(&mut binary.left);
            make_usize(&mut binary.right);
        }
        _ => {}
    }
}
