//! Lists of tensors whose number a launch decides.

use std::ops;

use typed_arena::Arena;

use super::index::ScalarIndex;
use super::recorder;
use super::tensor::Tensor;
use super::tile::{Scalar, Tile};
use crate::argument::{Argument, ArgumentValue, Arguments};
use crate::element::Element;
use crate::ir::{Expression, Shape, Span, Symbol};

/// Tensors of one element type and rank `R` (1 to 3), as many as a launch has: a cache's layers, pieces to be joined.
///
/// As a kernel parameter it is written `&TensorList<T, R>` or `&mut TensorList<T, R>`, and takes slices, arrays and vectors
/// of tensors or views at a launch. One variant of the kernel serves every number of them; the most unfavourable alignment
/// and strides among them decide the code. Of a kernel that asks for their number as a constant (`comptime(list.len())`) there
/// is one for each number, and where each of up to 16 tensors is, is passed with the launch itself. The tensors of a mutable
/// list share no memory, with each other or with anything else; each is checked like any argument, and an error names it, as
/// in `layers[3]`.
///
/// `list[i]` is one of them: a [`Tensor`] for loads, stores and all else, with an extent and a stride of its own. `i` is any
/// integer or scalar; no tensor of that number is an index out of bounds, as any other: by default its elements are zero,
/// nothing is stored to it, and its extents are 0. A list of no tensors is a list like any other.
///
/// ```
/// # use tilewright_dsl::{kernel, lang::*};
/// /// Pieces of different lengths, one behind the other: piece `p` begins at `starts[p]`.
/// #[kernel(grid = [pieces.len()])]
/// fn join<T: Element>(out: &mut Tensor<T, 2>, pieces: &TensorList<T, 2>, starts: &Tensor<i64, 1>) {
///     let (piece, start) = (&pieces[program_id(0)], starts.load([program_id(0)]));
///     let cols = arange(pieces.extent(1));
///     for row in 0..piece.extent(0) {
///         out.store([start + row, cols], piece.load([row, cols]));
///     }
/// }
/// ```
pub struct TensorList<T: Element, const R: usize> {
    parameter: u32,
    /// What indexing lends.
    members: Arena<Tensor<T, R>>,
}

impl<T: Element, const R: usize> TensorList<T, R> {
    pub(super) fn from_parameter(parameter: u32) -> Self {
        Self {
            parameter,
            members: Arena::new(),
        }
    }

    pub(super) fn parameter(&self) -> u32 {
        self.parameter
    }

    /// How many tensors there are. It may size the grid.
    #[track_caller]
    pub fn len(&self) -> Scalar<i64> {
        self.symbol(0, Span::here())
    }

    /// The extent of every tensor on `axis`: a launch whose tensors differ there is refused. 0 for no tensors. Where it shapes
    /// a tile it is a literal of the variant, so say it of rows of one length: addresses and alignment are known then.
    #[track_caller]
    pub fn extent(&self, axis: usize) -> Scalar<i64> {
        let span = Span::here();
        let axis = self.axis(axis, "extent", span);
        recorder::with((), |r| r.share(self.parameter, axis));
        self.symbol(axis, span)
    }

    /// The largest extent of any tensor on `axis`, 0 for no tensors: what a grid or a tile has to cover.
    #[track_caller]
    pub fn max_extent(&self, axis: usize) -> Scalar<i64> {
        let span = Span::here();
        let axis = self.axis(axis, "max_extent", span);
        self.symbol(axis, span)
    }

    fn symbol(&self, axis: u8, span: Span) -> Scalar<i64> {
        let tensor = self.parameter;
        Tile::emit(Expression::Symbol(Symbol::Extent { tensor, axis }), Shape::SCALAR, span)
    }

    /// The axis of the list that is `axis` of its tensors.
    fn axis(&self, axis: usize, name: &str, span: Span) -> u8 {
        if axis >= R {
            let message = format!("`{name}({axis})` of a list of tensors of rank {R}");
            let advice = "axes are numbered from 0, outermost first; `len()` is the number of tensors";
            recorder::with((), |r| r.fail(span, message, Some(advice)));
        }
        axis.min(R.saturating_sub(1)) as u8 + 1
    }

    #[track_caller]
    fn member(&self, index: impl ScalarIndex) -> &mut Tensor<T, R> {
        self.members
            .alloc(Tensor::of_list(self.parameter, index.scalar_index().handle))
    }
}

impl<T: Element, const R: usize, I: ScalarIndex> ops::Index<I> for TensorList<T, R> {
    type Output = Tensor<T, R>;
    #[track_caller]
    fn index(&self, index: I) -> &Tensor<T, R> {
        self.member(index)
    }
}

impl<T: Element, const R: usize, I: ScalarIndex> ops::IndexMut<I> for TensorList<T, R> {
    #[track_caller]
    fn index_mut(&mut self, index: I) -> &mut Tensor<T, R> {
        self.member(index)
    }
}

/// The arguments that `members` push, as one list.
fn push<'a, T: Element, const R: usize, P, A: Argument<'a, P>>(
    members: impl IntoIterator<Item = A>,
    mutable: bool,
    arguments: &mut Arguments<'a>,
) {
    let mut list = Arguments::new();
    members.into_iter().for_each(|member| member.pass(&mut list));
    arguments.lend(ArgumentValue::List(list.into_list(T::TYPE, R, mutable)));
}

/// What lends arguments one by one can be passed for a list, borrowed: slices, arrays and vectors. So can an array of
/// arguments.
macro_rules! lists {
    ($([$($generics:tt)*] $collection:ty;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<'a, 'p, T: Element, const R: usize, A, $($generics)*> Argument<'a, &'p TensorList<T, R>> for &'a $collection
        where
            &'a A: Argument<'a, &'p Tensor<T, R>>,
        {
            fn pass(self, arguments: &mut Arguments<'a>) {
                push::<T, R, &'p Tensor<T, R>, _>(self, false, arguments);
            }
        }

        #[diagnostic::do_not_recommend]
        impl<'a, 'p, T: Element, const R: usize, A, $($generics)*> Argument<'a, &'p mut TensorList<T, R>>
            for &'a mut $collection
        where
            &'a mut A: Argument<'a, &'p mut Tensor<T, R>>,
        {
            fn pass(self, arguments: &mut Arguments<'a>) {
                push::<T, R, &'p mut Tensor<T, R>, _>(self, true, arguments);
            }
        }
    )*};
}
lists! {
    [] [A];
    [] Vec<A>;
    [const N: usize] [A; N];
}

macro_rules! owned_lists {
    ($([$($generics:tt)*] $collection:ty;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<'a, 'p, T: Element, const R: usize, A, $($generics)*> Argument<'a, &'p TensorList<T, R>> for $collection
        where
            A: Argument<'a, &'p Tensor<T, R>>,
        {
            fn pass(self, arguments: &mut Arguments<'a>) {
                push::<T, R, &'p Tensor<T, R>, _>(self, false, arguments);
            }
        }

        #[diagnostic::do_not_recommend]
        impl<'a, 'p, T: Element, const R: usize, A, $($generics)*> Argument<'a, &'p mut TensorList<T, R>>
            for $collection
        where
            A: Argument<'a, &'p mut Tensor<T, R>>,
        {
            fn pass(self, arguments: &mut Arguments<'a>) {
                push::<T, R, &'p mut Tensor<T, R>, _>(self, true, arguments);
            }
        }
    )*};
}
owned_lists! {
    [const N: usize] [A; N];
    [] Vec<A>;
}
