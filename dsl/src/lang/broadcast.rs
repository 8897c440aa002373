//! Ranks as types: which rank two broadcast operands have together.

use super::Tile;
use crate::element::Element;

/// The rank `R` as a type.
pub struct Dim<const R: usize>;

/// A rank, and the tile type that has it.
pub trait Rank {
    /// A tile of this rank.
    type Tile<T: Element>;
    /// Wraps a recorded value.
    #[doc(hidden)]
    fn tile<T: Element>(handle: crate::ir::Handle<crate::ir::Expression>) -> Self::Tile<T>;
}

/// The rank that operands of ranks `Self` and `Other` broadcast to: the larger.
pub trait Join<Other: Rank>: Rank {
    /// The larger rank.
    type Output: Rank;
}

/// A rank with an axis to give up.
#[diagnostic::on_unimplemented(
    message = "a scalar has no axis",
    note = "reduce or split a tile, not a single value"
)]
pub trait Below: Rank {
    /// One axis less.
    type Output: Rank;
}

/// A rank that can have another axis.
#[diagnostic::on_unimplemented(message = "a tile has at most three axes")]
pub trait Above: Rank {
    /// One axis more.
    type Output: Rank;
}

macro_rules! neighbours {
    ($($low:literal, $high:literal;)*) => {$(
        impl Below for Dim<$high> {
            type Output = Dim<$low>;
        }
        impl Above for Dim<$low> {
            type Output = Dim<$high>;
        }
    )*};
}
neighbours! { 0, 1; 1, 2; 2, 3; }

macro_rules! ranks {
    ($($rank:literal),*) => {$(
        impl Rank for Dim<$rank> {
            type Tile<T: Element> = Tile<T, $rank>;
            fn tile<T: Element>(handle: crate::ir::Handle<crate::ir::Expression>) -> Tile<T, $rank> {
                Tile::from_handle(handle)
            }
        }
    )*};
}
ranks!(0, 1, 2, 3);

/// Calls a macro with every pair of ranks and the rank they broadcast to.
macro_rules! for_each_rank_pair {
    ($macro:ident) => {
        $macro! {
            0, 0 => 0; 0, 1 => 1; 0, 2 => 2; 0, 3 => 3;
            1, 0 => 1; 1, 1 => 1; 1, 2 => 2; 1, 3 => 3;
            2, 0 => 2; 2, 1 => 2; 2, 2 => 2; 2, 3 => 3;
            3, 0 => 3; 3, 1 => 3; 3, 2 => 3; 3, 3 => 3;
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
