//! The indices of a load or store: in a kernel written as an array, `[row, cols]`.

use super::broadcast::{Dim, Join, Rank};
use super::recorder::{self, DETACHED};
use super::tile::{Scalar, Tile};
use crate::element::{ElementType, Integer};
use crate::ir::{Expression, Handle, Literal};

/// One index: an integer scalar or tile, or a plain integer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an index",
    note = "an index is an integer, or a scalar or tile of integers"
)]
pub trait Index {
    /// The rank of the index.
    type Rank: Rank;
    #[doc(hidden)]
    fn index(self) -> Handle<Expression>;
}

#[diagnostic::do_not_recommend]
impl<T: Integer, const R: usize> Index for Tile<T, R>
where
    Dim<R>: Rank,
{
    type Rank = Dim<R>;
    fn index(self) -> Handle<Expression> {
        self.handle
    }
}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl Index for $ty {
            type Rank = Dim<0>;
            fn index(self) -> Handle<Expression> {
                recorder::with(DETACHED, |r| r.literal(Literal::wrap(ElementType::I64, self as i128)))
            }
        }
        #[diagnostic::do_not_recommend]
        impl ScalarIndex for $ty {
            fn scalar_index(self) -> Scalar<i64> {
                Tile::from_handle(self.index())
            }
        }
    )*};
}
plain!(usize, i32, i64, u32);

/// Which one of several: a tensor of a list, a segment, a row. An integer or a scalar of integers; a u64 beyond i64 counts as
/// the largest i64.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name one tensor of a list, or one segment",
    label = "neither an integer nor a scalar of integers",
    note = "`list[i]` is one tensor, and `requests.rows(i)` the rows of one segment: `i` is an integer or a scalar of \
            integers, and no tile of them"
)]
pub trait ScalarIndex {
    #[doc(hidden)]
    #[track_caller]
    fn scalar_index(self) -> Scalar<i64>;
}

#[diagnostic::do_not_recommend]
impl<I: Integer> ScalarIndex for Scalar<I> {
    #[track_caller]
    fn scalar_index(self) -> Scalar<i64> {
        self.saturating_cast()
    }
}

/// The indices of a tensor of rank `N`, one per axis. They broadcast; their common rank is the rank of the access.
#[diagnostic::on_unimplemented(
    message = "these are not the indices of a tensor of rank {N}",
    label = "one index per axis, written as a list: `[i]`, `[i, j]`",
    note = "an index is an integer, or a scalar or tile of integers; for a part of an axis, `arange(n) + start`"
)]
pub trait Indices<const N: usize> {
    /// The rank of the access.
    type Rank: Rank;
    #[doc(hidden)]
    fn indices(self) -> [Handle<Expression>; N];
}

/// The list `[a]`: what the macro makes of it. Not a tuple of one, because rustc would propose to write that.
pub struct One<A>(pub A);

#[diagnostic::do_not_recommend]
impl<A: Index> Indices<1> for One<A> {
    type Rank = A::Rank;
    fn indices(self) -> [Handle<Expression>; 1] {
        [self.0.index()]
    }
}

type Joined<A, B> = <A as Join<B>>::Output;

#[diagnostic::do_not_recommend]
impl<A: Index, B: Index> Indices<2> for (A, B)
where
    A::Rank: Join<B::Rank>,
{
    type Rank = Joined<A::Rank, B::Rank>;
    fn indices(self) -> [Handle<Expression>; 2] {
        [self.0.index(), self.1.index()]
    }
}

#[diagnostic::do_not_recommend]
impl<A: Index, B: Index, C: Index> Indices<3> for (A, B, C)
where
    A::Rank: Join<B::Rank>,
    Joined<A::Rank, B::Rank>: Join<C::Rank>,
{
    type Rank = Joined<Joined<A::Rank, B::Rank>, C::Rank>;
    fn indices(self) -> [Handle<Expression>; 3] {
        [self.0.index(), self.1.index(), self.2.index()]
    }
}

#[diagnostic::do_not_recommend]
impl<A: Index, B: Index, C: Index, D: Index> Indices<4> for (A, B, C, D)
where
    A::Rank: Join<B::Rank>,
    Joined<A::Rank, B::Rank>: Join<C::Rank>,
    Joined<Joined<A::Rank, B::Rank>, C::Rank>: Join<D::Rank>,
{
    type Rank = Joined<Joined<Joined<A::Rank, B::Rank>, C::Rank>, D::Rank>;
    fn indices(self) -> [Handle<Expression>; 4] {
        [self.0.index(), self.1.index(), self.2.index(), self.3.index()]
    }
}
