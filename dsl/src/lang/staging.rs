//! The protocol between the macro's expansion and the recorder. Hidden from authors; documented for maintainers.
//!
//! The macro knows no types, so every construct of a body becomes calls whose traits decide whether it runs while
//! recording (compile-time values) or is recorded (tiles and scalars):
//!
//! ```text
//! let mut x = 0;           let mut x = Var::new("x", literal(0));
//! x = e;   x += e;         x.assign(e);   x.assign(x.read() + e);
//! ... x ...                ... x.read() ...
//! a < b    a && b          less(a, b)     Logic::and(a, || b)
//! a + 1                    { let left = a; let right = integer_beside(&left, IntegerLiteral::new(1i128)); left + right }
//! x.max(0.0)               { let own = x; own.max(float_beside(&own, FloatLiteral::new(0.0f64))) }
//! select(c, a, 0)          { let other = a; select(c, other, integer_beside(&other, IntegerLiteral::new(0i128))) }
//! let n: T = e             let n = declared::<T, _>(e)
//! match n {0 => A}         match matched(n) {0 => A}
//! e as T                   CastTo::<T>::cast_to(e)
//! if c {A} else {B}        { let mut branch = Condition::branch(c);
//!                            if branch.accept() {A}
//!                            if branch.reject() {B}
//!                            branch.end(); }
//! let y = if c {a} else {b}  { let mut branch = Condition::branch(c); let mut merge = Branches::new(&branch);
//!                            if branch.accept() { merge.accept(a) }
//!                            if branch.reject() { merge.reject(b) }
//!                            branch.end(); merged(merge.get()) }
//! let y = if c {a} else {continue}   as above, with Merge::new() and merge.set(a) in the one branch that has a value
//! while c {A}              { let mut trip = While::new();
//!                            loop { trip.header(); if !Condition::test(c, &mut trip) { break } {A} if !trip.again() { break } } }
//! loop {A}                 { let mut trip = While::new();
//!                            loop { trip.header(); if !Condition::test(forever(), &mut trip) { break } {A} if !trip.again() { break } } }
//! for i in a..b {A}        { let mut trips = trips(loop_range(a, b));
//!                            while let Some(i) = Trips::next(&mut trips) {A} }
//! break;  continue;        if trip.leave() { break }   if trip.skip() { continue }
//! return;                  if leave_program() { return }      with unreached() after it where a value is due
//! ```

pub use super::branches::{Branch, Branches, Undecided};
pub use super::cast::CastTo;
pub use super::compare::{Compare, Logic};
pub use super::index::One;
pub use super::literal::{FloatLiteral, IntegerLiteral, LiteralOf, float_beside, integer_beside, literal_scalar};
pub use super::loops::{IntoTrips, LoopBounds, Reverse, Trips, loop_range, reversed, trips};
pub use super::parameter::Parameter;
pub use super::variable::Value;
pub use crate::argument::{Comptime, ComptimeValue};
pub use crate::element::Element;
pub use crate::ir::Bounds;

use super::recorder;
use super::tile::{IntoValue, Scalar, Tile};
use crate::ir::{Block, CompareOp, Expression, Handle, Span, Statement};

/// A literal as a run-time scalar: the first value of a `let mut`.
pub fn literal<T: Element>(value: T) -> Scalar<T> {
    value.into_value()
}

/// The condition of `loop`.
pub fn forever() -> Scalar<bool> {
    literal(true)
}

/// Sets the kernel's grid: one to three numbers of programs.
pub fn set_grid<const N: usize>(grid: [Scalar<i64>; N]) {
    recorder::with((), |r| r.set_grid(grid.iter().map(|extent| extent.handle).collect()));
}

/// A grid extent: a scalar index or a plain integer.
pub fn grid_extent(extent: impl super::create::IntoIndex) -> Scalar<i64> {
    Tile::from_handle(extent.into_index())
}

/// Sets the kernel's policy for accesses that are out of bounds.
pub fn set_bounds(bounds: Bounds) {
    recorder::with((), |r| r.set_bounds(bounds));
}

/// Refuses launches in which a bounds check is left.
pub fn deny_guarded() {
    recorder::with((), |r| r.deny_guarded());
}

/// Refuses launches in which an access is narrow that does not say that it may be.
pub fn deny_narrow() {
    recorder::with((), |r| r.deny_narrow());
}

/// A mutable variable.
pub struct Var<V: Value> {
    slot: V::Slot,
    name: &'static str,
}

impl<V: Value> Var<V> {
    /// Declares a variable with its first value.
    #[track_caller]
    pub fn new(name: &'static str, value: V) -> Self {
        Self {
            slot: value.declare(name, Span::here()),
            name,
        }
    }

    /// The present value.
    #[track_caller]
    pub fn read(&self) -> V {
        V::read(&self.slot, Span::here())
    }

    /// Changes the value.
    #[track_caller]
    pub fn assign(&mut self, value: impl IntoValue<V>) {
        value.into_value().write(&mut self.slot, self.name, Span::here());
    }
}

macro_rules! known_into_value {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl IntoValue<$ty> for $ty {
            fn into_value(self) -> $ty {
                self
            }
        }
    )*};
}
known_into_value!((), usize, bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

// Written out, and with `O` instead of `A::Output`: so rustc reports operands that cannot be compared once, and shows
// no macro of ours.

/// `left == right`.
#[track_caller]
pub fn equal<A: Compare<B, Output = O>, B, O>(left: A, right: B) -> O {
    left.compare(CompareOp::Equal, right)
}

/// `left != right`.
#[track_caller]
pub fn not_equal<A: Compare<B, Output = O>, B, O>(left: A, right: B) -> O {
    left.compare(CompareOp::NotEqual, right)
}

/// `left < right`.
#[track_caller]
pub fn less<A: Compare<B, Output = O>, B, O>(left: A, right: B) -> O {
    left.compare(CompareOp::Less, right)
}

/// `left <= right`.
#[track_caller]
pub fn less_equal<A: Compare<B, Output = O>, B, O>(left: A, right: B) -> O {
    left.compare(CompareOp::LessEqual, right)
}

/// `left > right`.
#[track_caller]
pub fn greater<A: Compare<B, Output = O>, B, O>(left: A, right: B) -> O {
    left.compare(CompareOp::Greater, right)
}

/// `left >= right`.
#[track_caller]
pub fn greater_equal<A: Compare<B, Output = O>, B, O>(left: A, right: B) -> O {
    left.compare(CompareOp::GreaterEqual, right)
}

/// A condition of `if` or `while`.
#[diagnostic::on_unimplemented(
    message = "a condition must be a bool or a scalar of bool, and this is `{Self}`",
    note = "a tile has one truth value per element: choose between elements with `select(condition, a, b)`"
)]
pub trait Condition: Sized {
    #[doc(hidden)]
    fn decide(self) -> Decision;

    /// Begins a conditional.
    #[doc(hidden)]
    #[track_caller]
    fn branch(self) -> If<Self> {
        let condition = std::marker::PhantomData;
        If {
            decision: self.decide(),
            span: Span::here(),
            blocks: [None, None],
            open: None,
            condition,
        }
    }

    /// After a loop's condition is computed: whether to run the body.
    #[doc(hidden)]
    fn test(self, trip: &mut While) -> bool {
        trip.test(self.decide())
    }
}

/// What is known of a condition while recording.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub enum Decision {
    /// All of it.
    Known(bool),
    /// Nothing: it is recorded.
    Recorded(Handle<Expression>),
}

#[diagnostic::do_not_recommend]
impl Condition for bool {
    fn decide(self) -> Decision {
        Decision::Known(self)
    }
}

#[diagnostic::do_not_recommend]
impl Condition for Scalar<bool> {
    fn decide(self) -> Decision {
        Decision::Recorded(self.handle)
    }
}

/// A conditional being recorded or decided. `C` is the type of its condition.
pub struct If<C> {
    decision: Decision,
    span: Span,
    blocks: [Option<Block>; 2],
    open: Option<usize>,
    condition: std::marker::PhantomData<C>,
}

impl<C> If<C> {
    /// Whether to run the body of the first branch.
    pub fn accept(&mut self) -> bool {
        self.enter(0, |known| known)
    }

    /// Whether to run the body of the second branch.
    pub fn reject(&mut self) -> bool {
        self.enter(1, |known| !known)
    }

    fn enter(&mut self, side: usize, taken: impl Fn(bool) -> bool) -> bool {
        match self.decision {
            Decision::Known(known) => taken(known),
            Decision::Recorded(_) => {
                self.close();
                recorder::with((), |r| r.open(self.span));
                self.open = Some(side);
                true
            }
        }
    }

    fn close(&mut self) {
        if let Some(side) = self.open.take() {
            self.blocks[side] = recorder::with(None, |r| Some(r.close()));
        }
    }

    /// Ends the conditional.
    pub fn end(mut self) {
        self.close();
        if let Decision::Recorded(condition) = self.decision {
            let [accept, reject] = self.blocks.map(Option::unwrap_or_default);
            recorder::with((), |r| {
                r.push(
                    Statement::If {
                        condition,
                        accept,
                        reject,
                    },
                    self.span,
                )
            });
        }
    }
}

/// The value of a conditional, joined from its branches.
pub struct Merge<V: Value> {
    slot: Option<V::Slot>,
    span: Span,
}

impl<V: Value> Merge<V> {
    /// No branch has given a value yet.
    #[track_caller]
    #[allow(clippy::new_without_default)] // A default could not know the caller's span.
    pub fn new() -> Self {
        Self {
            slot: None,
            span: Span::here(),
        }
    }

    /// The value of the branch that is open.
    pub fn set(&mut self, value: V) {
        match &mut self.slot {
            Some(slot) => value.write(slot, "the result of this `if`", self.span),
            None => self.slot = Some(value.declare("if", self.span)),
        }
    }

    /// The joined value. Every `if` with a value has an `else`, so one branch has given it.
    pub fn get(self) -> Option<V> {
        self.slot.map(|slot| V::read(&slot, self.span))
    }
}

/// Whether `break` or `continue` happens now, in a loop that is unrolled, rather than being recorded.
pub(super) fn happens_now(recorded: bool, depth: usize, statement: Statement, span: Span) -> bool {
    recorder::with(true, |r| {
        if recorded {
            r.leave(statement, span);
            return false;
        }
        if r.depth() != depth {
            let message = "`break` or `continue` under a run-time condition in a loop that is unrolled";
            r.fail(
                span,
                message,
                Some("give the loop a run-time bound, so that it is recorded instead of unrolled"),
            );
        }
        true
    })
}

/// A `while` or `loop` being recorded or run.
pub struct While {
    span: Span,
    recorded: Option<(Handle<Expression>, Block)>,
    depth: usize,
}

impl While {
    /// Begins a loop.
    #[track_caller]
    #[allow(clippy::new_without_default)] // A default could not know the caller's span.
    pub fn new() -> Self {
        Self {
            span: Span::here(),
            recorded: None,
            depth: recorder::with(0, |r| r.depth()),
        }
    }

    /// Before the condition is computed.
    pub fn header(&mut self) {
        recorder::with((), |r| r.open(self.span));
    }

    fn test(&mut self, decision: Decision) -> bool {
        match decision {
            Decision::Known(known) => recorder::with(known, |r| {
                r.splice();
                known && r.trip(self.span)
            }),
            Decision::Recorded(condition) => {
                self.recorded = recorder::with(None, |r| {
                    let header = r.close();
                    r.open(self.span);
                    Some((condition, header))
                });
                self.recorded.is_some()
            }
        }
    }

    /// After the body: whether there may be another trip to run now.
    pub fn again(&mut self) -> bool {
        match self.recorded.take() {
            None => true,
            Some((condition, header)) => {
                recorder::with((), |r| {
                    let body = r.close();
                    r.push(
                        Statement::While {
                            header,
                            condition,
                            body,
                        },
                        self.span,
                    );
                });
                false
            }
        }
    }

    /// `break`: whether it happens now.
    #[track_caller]
    pub fn leave(&self) -> bool {
        happens_now(self.recorded.is_some(), self.depth, Statement::Break, Span::here())
    }

    /// `continue`: whether it happens now.
    #[track_caller]
    pub fn skip(&self) -> bool {
        happens_now(self.recorded.is_some(), self.depth, Statement::Continue, Span::here())
    }
}

/// `return`: ends the program. True if that is now, because no recorded control flow is open.
#[track_caller]
pub fn leave_program() -> bool {
    let span = Span::here();
    recorder::with(true, |r| {
        r.leave(Statement::Return, span);
        r.depth() == 1
    })
}

/// A value as the `V` that a variable's annotation says.
pub fn value<V>(value: impl IntoValue<V>) -> V {
    value.into_value()
}

/// The value of an `if`. No branch has given one if the branch that was decided on leaves: what follows never runs.
pub fn merged<V: Value>(value: Option<V>) -> V {
    value.unwrap_or_else(V::unreached)
}

/// The value of `break`, `continue` and `return` where one is due.
pub fn unreached<V: Value>() -> V {
    V::unreached()
}

/// A value that a `let` may declare as `T`. An element type also stands for its scalar.
#[diagnostic::on_unimplemented(
    message = "a variable of type `{T}` cannot be `{Self}`",
    note = "an extent as a compile-time number, `usize`, is `comptime(x.extent(1))`; what a kernel computes is none",
    note = "scalars are converted by `value as f32`"
)]
pub trait Declared<T, Value> {
    #[doc(hidden)]
    fn declared(self) -> Value;
}

#[diagnostic::do_not_recommend]
impl<T: Element> Declared<T, Self> for Scalar<T> {
    fn declared(self) -> Self {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<T: Element> Declared<T, T> for T {
    fn declared(self) -> T {
        self
    }
}

#[diagnostic::do_not_recommend]
impl Declared<usize, usize> for usize {
    fn declared(self) -> usize {
        self
    }
}

/// The value of a variable that is declared as `T`.
pub fn declared<T, V: Declared<T, O>, O>(value: V) -> O {
    value.declared()
}

/// A value that can be matched with numbers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be matched with numbers",
    label = "known only when the kernel runs",
    note = "write `if x == 0 {{ ... }} else {{ ... }}`; between the elements of tiles, choose with `select(x == 0, a, b)`"
)]
pub trait Matched<Value> {
    #[doc(hidden)]
    fn value(self) -> Value;
}

macro_rules! matched {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Matched<$ty> for $ty {
            fn value(self) -> $ty {
                self
            }
        }
    )*};
}
matched!(
    bool, char, usize, isize, i8, i16, i32, i64, i128, u8, u16, u32, u64, u128, f32, f64
);

#[diagnostic::do_not_recommend]
impl<M: Matched<M>> Matched<Self> for &M {
    fn value(self) -> Self {
        self
    }
}

#[diagnostic::do_not_recommend]
impl Matched<Self> for &str {
    fn value(self) -> Self {
        self
    }
}

/// The value of a `match` whose patterns are numbers.
pub fn matched<M: Matched<O>, O>(value: M) -> O {
    value.value()
}
