//! Parameter types: what a kernel's signature may say, and what the body sees for it.

use super::list::TensorList;
use super::recorder;
use super::tensor::Tensor;
use super::tile::{Scalar, Tile};
use crate::argument::{Argument, ArgumentValue, Arguments, CountArgument, Exact, HostCount, Runtime};
use crate::element::{Element, ElementType};
use crate::ir::{Expression, ParameterKind, Shape, Span};

/// A count: tokens, rows, an offset. In the body it is a [`Scalar<i64>`] that is never negative; at each launch it is
/// bound as [`Exact`](crate::call::Exact), [`Runtime`](crate::call::Runtime) or
/// [device-resident](crate::call::CountArgument::Device).
#[derive(Debug, Clone, Copy)]
pub struct Count(());

/// A type that a kernel parameter can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a kernel parameter",
    note = "parameters are `&Tensor<T, R>`, `&mut Tensor<T, R>`, `&TensorList<T, R>`, `Count`, numbers, arrays of these, or `#[comptime]` values"
)]
pub trait Parameter<'p> {
    /// What the recording owns for the parameter.
    type Owned;
    /// What the body sees.
    type Staged;
    /// Declares the parameter, by the author's name.
    #[doc(hidden)]
    fn declare(name: String) -> Self::Owned;
    /// Lends it to the body.
    #[doc(hidden)]
    fn lend(owned: &'p mut Self::Owned) -> Self::Staged;
}

fn tensor<T: Element, const R: usize>(name: String, mutable: bool) -> Tensor<T, R> {
    Tensor::from_parameter(recorder::with(0, |r| r.declare_tensor(name, T::TYPE, R, mutable)))
}

#[diagnostic::do_not_recommend]
impl<'p, T: Element, const R: usize> Parameter<'p> for &'p Tensor<T, R> {
    type Owned = Tensor<T, R>;
    type Staged = &'p Tensor<T, R>;
    fn declare(name: String) -> Tensor<T, R> {
        tensor(name, false)
    }
    fn lend(owned: &'p mut Tensor<T, R>) -> &'p Tensor<T, R> {
        owned
    }
}

#[diagnostic::do_not_recommend]
impl<'p, T: Element, const R: usize> Parameter<'p> for &'p mut Tensor<T, R> {
    type Owned = Tensor<T, R>;
    type Staged = &'p mut Tensor<T, R>;
    fn declare(name: String) -> Tensor<T, R> {
        tensor(name, true)
    }
    fn lend(owned: &'p mut Tensor<T, R>) -> &'p mut Tensor<T, R> {
        owned
    }
}

fn list<T: Element, const R: usize>(name: String, mutable: bool) -> TensorList<T, R> {
    TensorList::from_parameter(recorder::with(0, |r| r.declare_list(name, T::TYPE, R, mutable, false)))
}

#[diagnostic::do_not_recommend]
impl<'p, T: Element, const R: usize> Parameter<'p> for &'p TensorList<T, R> {
    type Owned = TensorList<T, R>;
    type Staged = &'p TensorList<T, R>;
    fn declare(name: String) -> TensorList<T, R> {
        list(name, false)
    }
    fn lend(owned: &'p mut TensorList<T, R>) -> &'p TensorList<T, R> {
        owned
    }
}

#[diagnostic::do_not_recommend]
impl<'p, T: Element, const R: usize> Parameter<'p> for &'p mut TensorList<T, R> {
    type Owned = TensorList<T, R>;
    type Staged = &'p mut TensorList<T, R>;
    fn declare(name: String) -> TensorList<T, R> {
        list(name, true)
    }
    fn lend(owned: &'p mut TensorList<T, R>) -> &'p mut TensorList<T, R> {
        owned
    }
}

#[diagnostic::do_not_recommend]
impl<'p> Parameter<'p> for Count {
    type Owned = Scalar<i64>;
    type Staged = Scalar<i64>;
    fn declare(name: String) -> Scalar<i64> {
        let position = recorder::with(0, |r| r.declare_value(name, ParameterKind::Count));
        Tile::emit(
            Expression::Symbol(crate::ir::Symbol::Count(position)),
            Shape::SCALAR,
            Span::UNKNOWN,
        )
    }
    fn lend(owned: &'p mut Scalar<i64>) -> Scalar<i64> {
        *owned
    }
}

fn scalar<T: Element>(name: String, element: ElementType) -> Scalar<T> {
    let position = recorder::with(0, |r| r.declare_value(name, ParameterKind::Scalar(element)));
    Tile::emit(Expression::Argument(position), Shape::SCALAR, Span::UNKNOWN)
}

macro_rules! scalars {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<'p> Parameter<'p> for $ty {
            type Owned = Scalar<$ty>;
            type Staged = Scalar<$ty>;
            fn declare(name: String) -> Scalar<$ty> {
                scalar(name, <$ty as Element>::TYPE)
            }
            fn lend(owned: &'p mut Scalar<$ty>) -> Scalar<$ty> {
                *owned
            }
        }
    )*};
}
scalars!(
    bool,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    half::f16,
    half::bf16,
    f32,
    f64
);

#[diagnostic::do_not_recommend]
impl<'p, P: Parameter<'p>, const N: usize> Parameter<'p> for [P; N]
where
    P::Owned: 'p,
{
    type Owned = [P::Owned; N];
    type Staged = [P::Staged; N];
    fn declare(name: String) -> Self::Owned {
        std::array::from_fn(|i| P::declare(format!("{name}[{i}]")))
    }
    fn lend(owned: &'p mut Self::Owned) -> Self::Staged {
        owned.each_mut().map(P::lend)
    }
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<'a, Count> for Exact {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<Count>::pass(HostCount::Exact(self.0), arguments);
    }
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<'a, Count> for Runtime {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<Count>::pass(HostCount::Runtime(self.0), arguments);
    }
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<'a, Count> for CountArgument<'a> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        arguments.lend(ArgumentValue::Count(self));
    }
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<'a, Count> for HostCount {
    fn pass(self, arguments: &mut Arguments<'a>) {
        arguments.lend(ArgumentValue::Count(self.into()));
    }
}
