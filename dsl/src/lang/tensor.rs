//! Tensor parameters: extents, loads and stores.

use std::marker::PhantomData;

use arrayvec::ArrayVec;

use super::broadcast::Rank;
use super::cache::AccessOptions;
use super::index::Indices;
use super::recorder::{self, DETACHED};
use super::tile::{IntoValue, Scalar, Tile};
use crate::element::Element;
use crate::ir::{Access, Bounds, Conflict, Expression, Guard, Handle, Shape, Span, Statement, Symbol, Type};

/// A tensor of `R` axes (1 to 4) in device memory, as a kernel sees it.
///
/// `&Tensor` can be loaded from, `&mut Tensor` also stored to. A mutable tensor shares no memory with any other tensor
/// of a launch, so what is loaded from a `&Tensor` does not change while the kernel runs.
pub struct Tensor<T: Element, const R: usize> {
    pub(crate) parameter: u32,
    /// Which tensor of the parameter, if that is a list.
    member: Option<Handle<Expression>>,
    marker: PhantomData<*const T>,
}

impl<T: Element, const R: usize> Tensor<T, R> {
    pub(crate) fn from_parameter(parameter: u32) -> Self {
        Self {
            parameter,
            member: None,
            marker: PhantomData,
        }
    }

    pub(super) fn of_list(parameter: u32, member: Handle<Expression>) -> Self {
        Self {
            member: Some(member),
            ..Self::from_parameter(parameter)
        }
    }

    /// The number of elements on `axis`. Where it shapes a tile it is a literal of the variant, else a count.
    #[track_caller]
    pub fn extent(&self, axis: usize) -> Scalar<i64> {
        self.symbol(axis, "extent", |tensor, axis| Symbol::Extent { tensor, axis })
    }

    /// The distance in elements between neighbours on `axis`. Where there are no neighbours it is
    /// [as in a tensor without gaps](crate::ir::canonical_strides).
    #[track_caller]
    pub fn stride(&self, axis: usize) -> Scalar<i64> {
        self.symbol(axis, "stride", |tensor, axis| Symbol::Stride { tensor, axis })
    }

    #[track_caller]
    fn symbol(&self, axis: usize, name: &str, symbol: fn(u32, u8) -> Symbol) -> Scalar<i64> {
        let span = Span::here();
        if axis >= R {
            let message = format!("`{name}({axis})` of a tensor of rank {R}");
            recorder::with((), |r| {
                r.fail(span, message, Some("axes are numbered from 0, outermost first"))
            });
        }
        let axis = axis.min(R.saturating_sub(1)) as u8;
        let expression = match self.member {
            None => Expression::Symbol(symbol(self.parameter, axis)),
            Some(member) => Expression::Member {
                symbol: symbol(self.parameter, axis + 1),
                access: Access {
                    tensor: self.parameter,
                    indices: [member].into_iter().collect(),
                    bounds: recorder::with(Bounds::default(), |r| r.bounds()),
                    guards: [Guard::FULL].into_iter().collect(),
                    mask: None,
                    cache: None,
                    must_be_wide: false,
                },
            },
        };
        Tile::emit(expression, Shape::SCALAR, span)
    }

    /// Reads the elements at `indices`, written `[i, j]` with one index per axis. The indices broadcast, and the result has
    /// their shape. An index outside its axis follows the kernel's policy: by default it reads zero.
    #[track_caller]
    pub fn load<I: Indices<R>>(&self, indices: I) -> <I::Rank as Rank>::Tile<T> {
        self.read::<I>(indices.indices(), None, None, Span::here())
    }

    /// Reads the elements at `indices` where `mask` holds, zero elsewhere.
    #[track_caller]
    pub fn load_where<I: Indices<R>, const M: usize>(
        &self,
        indices: I,
        mask: Tile<bool, M>,
    ) -> <I::Rank as Rank>::Tile<T> {
        self.read::<I>(indices.indices(), Some(mask.handle), None, Span::here())
    }

    /// Reads the elements at `indices` without any check.
    ///
    /// # Safety
    /// Every index must be inside its axis in every program of every launch.
    #[track_caller]
    #[allow(unsafe_code)] // Declares a duty of the kernel's author; recording itself does nothing unsafe.
    pub unsafe fn load_unchecked<I: Indices<R>>(&self, indices: I) -> <I::Rank as Rank>::Tile<T> {
        self.read::<I>(indices.indices(), None, Some(Bounds::Unchecked), Span::here())
    }

    fn read<I: Indices<R>>(
        &self,
        indices: [Handle<Expression>; R],
        mask: Option<Handle<Expression>>,
        bounds: Option<Bounds>,
        span: Span,
    ) -> <I::Rank as Rank>::Tile<T> {
        let handle = recorder::with(DETACHED, |r| {
            let bounds = bounds.unwrap_or(r.bounds());
            let (mut access, shape) = self.access(r, indices, mask, bounds, "`load`", span);
            AccessOptions::new().apply(r, &mut access);
            r.emit(
                Expression::Load(access),
                Type {
                    element: T::TYPE,
                    shape,
                },
                span,
            )
        });
        <I::Rank as Rank>::tile(handle)
    }

    /// Writes `value` to the elements at `indices`, written `[i, j]` with one index per axis. The value broadcasts to the
    /// indices' shape. An index outside its axis follows the kernel's policy: by default nothing is written there.
    ///
    /// Two programs must not write one element, unless both hold a [lock](Tensor::atomic_compare_exchange_with);
    /// the CPU device reports it if they do. Where they may, say what holds then with [`Tensor::scatter`].
    #[track_caller]
    pub fn store<I: Indices<R>, const V: usize>(&mut self, indices: I, value: impl StoreValue<T, V>) {
        let options = AccessOptions::new();
        self.write(indices.indices(), value.stored(), options, None, None, Span::here());
    }

    /// Writes `value` to the elements at `indices` where `mask` holds.
    #[track_caller]
    pub fn store_where<I: Indices<R>, const V: usize, const M: usize>(
        &mut self,
        indices: I,
        value: impl StoreValue<T, V>,
        mask: Tile<bool, M>,
    ) {
        let options = AccessOptions::new().mask(mask);
        self.write(indices.indices(), value.stored(), options, None, None, Span::here());
    }

    /// Writes `value` to the elements at `indices` without any check.
    ///
    /// # Safety
    /// Every index must be inside its axis in every program of every launch.
    #[track_caller]
    #[allow(unsafe_code)] // Declares a duty of the kernel's author; recording itself does nothing unsafe.
    pub unsafe fn store_unchecked<I: Indices<R>, const V: usize>(&mut self, indices: I, value: impl StoreValue<T, V>) {
        let (options, bounds) = (AccessOptions::new(), Some(Bounds::Unchecked));
        self.write(indices.indices(), value.stored(), options, bounds, None, Span::here());
    }

    pub(super) fn write<const M: usize>(
        &self,
        indices: [Handle<Expression>; R],
        value: Handle<Expression>,
        options: AccessOptions<M>,
        bounds: Option<Bounds>,
        conflict: Option<Conflict>,
        span: Span,
    ) {
        recorder::with((), |r| {
            let bounds = bounds.unwrap_or(r.bounds());
            let (mut access, shape) = self.access(r, indices, options.mask_handle(), bounds, "`store`", span);
            options.apply(r, &mut access);
            let from = r.ty(value).shape;
            if from.broadcast(shape) != Some(shape) {
                let message = format!("`store` of a tile of shape {from} to indices of shape {shape}");
                r.fail(
                    span,
                    message,
                    Some("the value must broadcast to the shape of the indices"),
                );
                return;
            }
            let value = r.stretch(value, shape, span);
            r.push(
                Statement::Store {
                    access,
                    value,
                    conflict,
                },
                span,
            );
        });
    }

    pub(super) fn access(
        &self,
        r: &mut recorder::Recorder,
        indices: [Handle<Expression>; R],
        mask: Option<Handle<Expression>>,
        bounds: Bounds,
        what: &str,
        span: Span,
    ) -> (Access, Shape) {
        let indices: ArrayVec<_, 4> = self.member.into_iter().chain(indices).collect();
        let shape = r.common_shape(&indices, what, span);
        let mask = mask.map(|mask| {
            let from = r.ty(mask).shape;
            if from.broadcast(shape) != Some(shape) {
                r.fail(
                    span,
                    format!("{what} with a mask of shape {from} and indices of shape {shape}"),
                    None,
                );
                return mask;
            }
            r.stretch(mask, shape, span)
        });
        let guard = if bounds == Bounds::Unchecked {
            Guard::NONE
        } else {
            Guard::FULL
        };
        let access = Access {
            tensor: self.parameter,
            guards: indices.iter().map(|_| guard).collect(),
            indices,
            bounds,
            mask,
            cache: None,
            must_be_wide: false,
        };
        (access, shape)
    }
}

/// What can be stored to a tensor of `T`: a tile or scalar of `T`, or a plain value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored to a tensor of `{T}`",
    note = "the element types must be equal; cast the value: `value as T`, `.cast::<T>()`",
    note = "a literal with a point is stored to tensors of floats, others to tensors of numbers: `T: Float`, `T: Number`"
)]
pub trait StoreValue<T: Element, const V: usize> {
    #[doc(hidden)]
    fn stored(self) -> Handle<Expression>;
}

#[diagnostic::do_not_recommend]
impl<T: Element, const V: usize> StoreValue<T, V> for Tile<T, V> {
    fn stored(self) -> Handle<Expression> {
        self.handle
    }
}

#[diagnostic::do_not_recommend]
impl<T: Element> StoreValue<T, 0> for T {
    fn stored(self) -> Handle<Expression> {
        let value: Scalar<T> = self.into_value();
        value.handle
    }
}
