//! Ranks as types: which rank two broadcast operands have together.

use super::Tile;
use crate::element::Element;
use crate::ir::{Expression, Handle};

/// The rank `R` as a type.
pub struct Dim<const R: usize>;

/// A rank, and the tile type that has it.
pub trait Rank {
    /// A tile of this rank.
    type Tile<T: Element>;
    /// Wraps a recorded value.
    #[doc(hidden)]
    fn tile<T: Element>(handle: Handle<Expression>) -> Self::Tile<T>;
}

/// The rank that operands of ranks `Self` and `Other` broadcast to: the larger.
pub trait Join<Other: Rank>: Rank {
    /// The larger rank.
    type Output: Rank;
}

/// A tile with an axis to give up: a reduction or [`Tile::split`] leaves one axis less.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no axis",
    label = "this is a single value",
    note = "reduce or split a tile: `tensor.load([arange(8)])` has one axis"
)]
pub trait WithAxis {
    /// A tile of `U` of one axis less.
    type Without<U: Element>;
    #[doc(hidden)]
    fn without<U: Element>(handle: Handle<Expression>) -> Self::Without<U>;
}

/// A tile that can have another axis.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot have another axis",
    label = "this has three axes",
    note = "a tile has at most three axes: `reshape` it first, or join parts of it"
)]
pub trait WithRoom {
    /// The tile of one axis more.
    type With;
    #[doc(hidden)]
    fn with(handle: Handle<Expression>) -> Self::With;
}

macro_rules! neighbours {
    ($($low:literal, $high:literal;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<T: Element> WithAxis for Tile<T, $high> {
            type Without<U: Element> = Tile<U, $low>;
            fn without<U: Element>(handle: Handle<Expression>) -> Tile<U, $low> {
                Tile::from_handle(handle)
            }
        }
        #[diagnostic::do_not_recommend]
        impl<T: Element> WithRoom for Tile<T, $low> {
            type With = Tile<T, $high>;
            fn with(handle: Handle<Expression>) -> Tile<T, $high> {
                Tile::from_handle(handle)
            }
        }
    )*};
}
neighbours! { 0, 1; 1, 2; 2, 3; }

macro_rules! ranks {
    ($($rank:literal),*) => {$(
        impl Rank for Dim<$rank> {
            type Tile<T: Element> = Tile<T, $rank>;
            fn tile<T: Element>(handle: Handle<Expression>) -> Tile<T, $rank> {
                Tile::from_handle(handle)
            }
        }
    )*};
}
ranks!(0, 1, 2, 3);

/// Calls a macro with every pair of ranks and the rank they broadcast to. Without those whose second is 0: a scalar, and
/// so a literal, stands beside a tile of any rank, also of one that a function is generic over.
macro_rules! for_each_rank_pair {
    ($macro:ident) => {
        $macro! {
            0, 1 => 1; 0, 2 => 2; 0, 3 => 3;
            1, 1 => 1; 1, 2 => 2; 1, 3 => 3;
            2, 1 => 2; 2, 2 => 2; 2, 3 => 3;
            3, 1 => 3; 3, 2 => 3; 3, 3 => 3;
        }
    };
}
pub(crate) use for_each_rank_pair;

macro_rules! joins {
    ($($a:literal, $b:literal => $out:literal;)*) => {$(
        impl Join<Dim<$b>> for Dim<$a> {
            type Output = Dim<$out>;
        }
    )*};
}
for_each_rank_pair!(joins);

impl<const R: usize> Join<Dim<0>> for Dim<R>
where
    Self: Rank,
{
    type Output = Self;
}
