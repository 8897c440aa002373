//! `for` loops: ranges whose bounds may be known only at launch, and whatever Rust can iterate over while recording.

use super::list::TensorList;
use super::literal::IntegerLiteral;
use super::recorder;
use super::staging::{happens_now, literal};
use super::tensor::Tensor;
use super::tile::{IntoValue, Scalar, Tile};
use crate::element::{Element, Integer};
use crate::ir::{Expression, Handle, Span, Statement, Type};

/// The bounds of a `for` loop, `start..end`.
pub struct Range<T> {
    start: T,
    end: T,
    /// At least 1.
    step: u64,
    backwards: bool,
}

impl<T> Range<T> {
    fn new(start: T, end: T) -> Self {
        Self {
            start,
            end,
            step: 1,
            backwards: false,
        }
    }

    /// Every `step`-th value.
    #[track_caller]
    pub fn step_by(mut self, step: usize) -> Self {
        if step == 0 {
            let span = Span::here();
            recorder::with((), |r| r.fail(span, "`step_by(0)` never ends", None));
        }
        // No two integers are further apart than the largest step.
        self.step = self.step.saturating_mul(step.max(1) as u64);
        self
    }
}

impl<T: Integer> Range<Scalar<T>> {
    /// From the last value to the first.
    #[track_caller]
    pub fn rev(mut self) -> Self {
        let span = Span::here();
        if self.step != 1 || self.backwards {
            let advice = "reverse once, and first: `(a..b).rev().step_by(n)`, whose first value is `b - 1`; \
                          for the values of `(a..b).step_by(n)` from the last to the first, count trips: \
                          `for t in (0..cdiv(b - a, n)).rev()` with the value `a + t * n`";
            recorder::with((), |r| r.fail(span, "`rev` after `step_by` or `rev`", Some(advice)));
        }
        self.backwards = true;
        self
    }

    /// The value of a trip, given the one that a loop over `start..end` has. Counting up and mirroring cannot step past
    /// the ends of the type.
    fn value(&self, forwards: Scalar<T>) -> Scalar<T> {
        if !self.backwards {
            return forwards;
        }
        let one = literal(T::from_bits64(1));
        (self.end - one) - (forwards - self.start)
    }
}

impl Range<usize> {
    /// From the last value to the first.
    pub fn rev(mut self) -> Self {
        if self.start < self.end {
            // What is left beyond the last value is not come to from the other side either.
            let rest = ((self.end - 1 - self.start) as u64 % self.step) as usize;
            match self.backwards {
                false => self.end -= rest,
                true => self.start += rest,
            }
        }
        self.backwards = !self.backwards;
        self
    }
}

/// The values of a range that is known while recording.
pub struct Values {
    forwards: std::iter::StepBy<std::ops::Range<usize>>,
    /// The bounds, if they are gone through from the end.
    mirrored: Option<std::ops::Range<usize>>,
}

impl Iterator for Values {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let value = self.forwards.next()?;
        Some(match &self.mirrored {
            Some(std::ops::Range { start, end }) => end - 1 - (value - start),
            None => value,
        })
    }
}

/// Two bounds of one range.
#[diagnostic::on_unimplemented(
    message = "a range cannot go from `{Self}` to `{End}`",
    note = "bounds are integers, or scalars of one integer type; cast one of them: `.cast::<i64>()`"
)]
pub trait LoopBounds<End> {
    /// What the range counts with.
    type Value;
    #[doc(hidden)]
    fn range(self, end: End) -> Range<Self::Value>;
}

/// `start..end` at the head of a `for`. (`O` instead of `A::Value`: see [`equal`](super::staging::equal).)
pub fn loop_range<A: LoopBounds<B, Value = O>, B, O>(start: A, end: B) -> Range<O> {
    start.range(end)
}

#[diagnostic::do_not_recommend]
impl<T: Integer> LoopBounds<Scalar<T>> for Scalar<T> {
    type Value = Scalar<T>;
    fn range(self, end: Scalar<T>) -> Range<Scalar<T>> {
        Range::new(self, end)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Integer> LoopBounds<T> for Scalar<T> {
    type Value = Scalar<T>;
    fn range(self, end: T) -> Range<Scalar<T>> {
        Range::new(self, end.into_value())
    }
}

/// Compile-time bounds beside run-time ones; a literal's type falls back to i32.
macro_rules! beside_index {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl LoopBounds<$ty> for Scalar<i64> {
            type Value = Scalar<i64>;
            fn range(self, end: $ty) -> Range<Scalar<i64>> {
                Range::new(self, literal(end as i64))
            }
        }
        #[diagnostic::do_not_recommend]
        impl LoopBounds<Scalar<i64>> for $ty {
            type Value = Scalar<i64>;
            fn range(self, end: Scalar<i64>) -> Range<Scalar<i64>> {
                Range::new(literal(self as i64), end)
            }
        }
    )*};
}
beside_index!(usize, i32);

#[diagnostic::do_not_recommend]
impl<T: Integer> LoopBounds<IntegerLiteral> for Scalar<T> {
    type Value = Self;
    fn range(self, end: IntegerLiteral) -> Range<Self> {
        Range::new(self, end.into_value())
    }
}

#[diagnostic::do_not_recommend]
impl<T: Integer> LoopBounds<Scalar<T>> for IntegerLiteral {
    type Value = Scalar<T>;
    fn range(self, end: Scalar<T>) -> Range<Scalar<T>> {
        Range::new(self.into_value(), end)
    }
}

#[diagnostic::do_not_recommend]
impl LoopBounds<IntegerLiteral> for usize {
    type Value = usize;
    fn range(self, end: IntegerLiteral) -> Range<usize> {
        Range::new(self, end.into_value())
    }
}

#[diagnostic::do_not_recommend]
impl LoopBounds<usize> for IntegerLiteral {
    type Value = usize;
    fn range(self, end: usize) -> Range<usize> {
        Range::new(self.into_value(), end)
    }
}

#[diagnostic::do_not_recommend]
impl LoopBounds<usize> for usize {
    type Value = usize;
    fn range(self, end: usize) -> Range<usize> {
        Range::new(self, end)
    }
}

macro_rules! typed_literals {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl LoopBounds<Scalar<$ty>> for $ty {
            type Value = Scalar<$ty>;
            fn range(self, end: Scalar<$ty>) -> Range<Scalar<$ty>> {
                Range::new(literal(self), end)
            }
        }
        #[diagnostic::do_not_recommend]
        impl LoopBounds<$ty> for $ty {
            type Value = Scalar<$ty>;
            fn range(self, end: $ty) -> Range<Scalar<$ty>> {
                Range::new(literal(self), literal(end))
            }
        }
        #[diagnostic::do_not_recommend]
        impl LoopBounds<IntegerLiteral> for $ty {
            type Value = Scalar<$ty>;
            fn range(self, end: IntegerLiteral) -> Range<Scalar<$ty>> {
                Range::new(literal(self), end.into_value())
            }
        }
        #[diagnostic::do_not_recommend]
        impl LoopBounds<$ty> for IntegerLiteral {
            type Value = Scalar<$ty>;
            fn range(self, end: $ty) -> Range<Scalar<$ty>> {
                Range::new(self.into_value(), literal(end))
            }
        }
    )*};
}
typed_literals!(i8, i16, i32, i64, u8, u16, u32, u64);

/// The trips of a `for` loop: recorded as one, or run one by one.
pub trait Trips {
    /// The loop variable.
    type Item;
    #[doc(hidden)]
    fn next(&mut self) -> Option<Self::Item>;
    #[doc(hidden)]
    fn leave(&self) -> bool;
    #[doc(hidden)]
    fn skip(&self) -> bool;
}

/// What a `for` loop can go over: ranges, and anything Rust can iterate over while recording.
#[diagnostic::on_unimplemented(
    message = "a `for` loop cannot go over `{Self}`",
    label = "neither a range nor something to iterate over while the kernel is compiled",
    note = "to visit a tensor, loop over indices and load: `for i in 0..tensor.extent(0)`; to visit a list, `for i in 0..list.len()`"
)]
pub trait IntoTrips {
    #[doc(hidden)]
    type Trips: Trips;
    /// Begins a `for` loop.
    #[doc(hidden)]
    #[track_caller]
    fn trips(self) -> Self::Trips;
}

/// Begins a `for` loop. (`O` instead of `I::Trips`: see [`equal`](super::staging::equal).)
#[track_caller]
pub fn trips<I: IntoTrips<Trips = O>, O>(iterable: I) -> O {
    iterable.trips()
}

/// A recorded `for` loop.
pub struct RecordedTrips<T: Integer> {
    range: Range<Scalar<T>>,
    induction: Option<Handle<Expression>>,
    span: Span,
}

#[diagnostic::do_not_recommend]
impl<T: Integer> IntoTrips for Range<Scalar<T>> {
    type Trips = RecordedTrips<T>;
    #[track_caller]
    fn trips(self) -> RecordedTrips<T> {
        RecordedTrips {
            range: self,
            induction: None,
            span: Span::here(),
        }
    }
}

impl<T: Integer> Trips for RecordedTrips<T> {
    type Item = Scalar<T>;

    fn next(&mut self) -> Option<Scalar<T>> {
        match self.induction {
            None => {
                self.induction = recorder::with(None, |r| {
                    r.open(self.span);
                    Some(r.emit_undefined(Expression::Induction(T::TYPE), Type::scalar(T::TYPE), self.span))
                });
                self.induction
                    .map(|induction| self.range.value(Tile::from_handle(induction)))
            }
            Some(induction) => {
                let Range { start, end, step, .. } = &self.range;
                recorder::with((), |r| {
                    let body = r.close();
                    let (start, end) = (start.handle, end.handle);
                    r.push(
                        Statement::For {
                            induction,
                            start,
                            end,
                            step: i128::from(*step),
                            body,
                        },
                        self.span,
                    );
                });
                None
            }
        }
    }

    #[track_caller]
    fn leave(&self) -> bool {
        happens_now(true, 0, Statement::Break, Span::here())
    }

    #[track_caller]
    fn skip(&self) -> bool {
        happens_now(true, 0, Statement::Continue, Span::here())
    }
}

/// An unrolled `for` loop.
pub struct UnrolledTrips<I> {
    iterator: I,
    depth: usize,
    span: Span,
}

impl<I> UnrolledTrips<I> {
    fn new(iterator: I, span: Span) -> Self {
        let depth = recorder::with(0, |r| r.depth());
        Self { iterator, depth, span }
    }
}

impl<I: Iterator> Trips for UnrolledTrips<I> {
    type Item = I::Item;
    fn next(&mut self) -> Option<I::Item> {
        // Not before there is another trip.
        let item = self.iterator.next()?;
        recorder::with(true, |r| r.trip(self.span)).then_some(item)
    }
    #[track_caller]
    fn leave(&self) -> bool {
        happens_now(false, self.depth, Statement::Break, Span::here())
    }
    #[track_caller]
    fn skip(&self) -> bool {
        happens_now(false, self.depth, Statement::Continue, Span::here())
    }
}

#[diagnostic::do_not_recommend]
impl IntoTrips for Range<usize> {
    type Trips = UnrolledTrips<Values>;
    #[track_caller]
    fn trips(self) -> Self::Trips {
        let bounds = self.start..self.end;
        let values = Values {
            forwards: bounds.clone().step_by(usize::try_from(self.step).unwrap_or(usize::MAX)),
            mirrored: self.backwards.then_some(bounds),
        };
        UnrolledTrips::new(values, Span::here())
    }
}

#[diagnostic::do_not_recommend]
impl<I: IntoIterator> IntoTrips for I {
    type Trips = UnrolledTrips<I::IntoIter>;
    #[track_caller]
    fn trips(self) -> Self::Trips {
        UnrolledTrips::new(self.into_iter(), Span::here())
    }
}

/// What a tensor or list would need to be looped over. None has it: the implementations below only keep rustc from explaining
/// that it is no iterator.
pub trait Looped {}

macro_rules! never_looped {
    ($($tensor:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<'p, T: Element, const R: usize> IntoTrips for $tensor
        where
            Tensor<T, R>: Looped,
        {
            type Trips = UnrolledTrips<std::iter::Empty<Scalar<T>>>;
            fn trips(self) -> Self::Trips {
                UnrolledTrips::new(std::iter::empty(), Span::UNKNOWN)
            }
        }
    )*};
}
never_looped!(
    &'p Tensor<T, R>,
    &'p mut Tensor<T, R>,
    &'p TensorList<T, R>,
    &'p mut TensorList<T, R>
);

/// `range.rev()`.
#[track_caller]
pub fn reversed<R: Reverse>(range: R) -> R::Reversed {
    range.reversed()
}

/// A range that can run from its end to its start.
pub trait Reverse {
    /// The range in the other direction.
    type Reversed;
    #[doc(hidden)]
    #[track_caller]
    fn reversed(self) -> Self::Reversed;
}

#[diagnostic::do_not_recommend]
impl<T: Integer> Reverse for Range<Scalar<T>> {
    type Reversed = Self;
    #[track_caller]
    fn reversed(self) -> Self {
        self.rev()
    }
}

#[diagnostic::do_not_recommend]
impl Reverse for Range<usize> {
    type Reversed = Self;
    fn reversed(self) -> Self {
        self.rev()
    }
}
