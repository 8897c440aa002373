//! The IR of one thread's program: what is between a tile kernel with its schedule and a text.
//!
//! A [`Kernel`] says what *every thread* of a launch does: where it stands ([`Atom::Thread`], [`Atom::Block`]), what it
//! loads, computes and stores, and where it meets others. It knows no tiles. `lower` makes it, `passes` improves it,
//! and printers turn it into text without deciding anything.
//!
//! * [`index`]: integers about places, in normal form, held once: offsets, coordinates, trips, conditions on them;
//! * [`value`](Value): what a thread holds. [`Value`]s are computed once, a [`Register`] changes, a [`Variable`] is an
//!   index with a name; all are of an element or of a packet of several ([`Type`]), and are mentioned as [`Use`]s;
//! * [`operation`](Operation): what computes a value; [`Statement`]: what a thread does, structured;
//! * [`memory`](Buffer): arguments, buffers with their spaces, places in them, loads, stores, atomic operations,
//!   copies.
//!
//! # Lanes
//!
//! While a kernel is made, an access may be to *elements of a packet wherever they are*: its offset and predicate move
//! with [`Atom::Lane`]. Widening asks the indices which lanes are neighbours and makes accesses of 1 to 16 bytes of
//! them. A kernel that is verified has no lane left in it.
//!
//! # What holds of a kernel
//!
//! Index arithmetic wraps in 64 bits (see [`index`]); element operations mean what [`crate::arithmetic`] says, where
//! [`Operation`] does not say less. IndexArena, conditions and operations of values have no effect and may be computed
//! where they are mentioned, earlier, or not at all; loads, registers read, shuffles and votes happen where they stand.

mod barriers;
mod build;
mod elements;
mod functions;
pub mod index;
pub mod interpret;
mod kernel;
mod legal;
mod memory;
mod operation;
pub mod passes;
mod print;
mod statement;
#[cfg(test)]
pub(crate) mod testing;
mod value;
pub mod verify;

pub(crate) use barriers::WARP;
pub use build::{Builder, Mark};
pub use index::{Atom, Facts, Index, IndexArena, Predicate, Substitution, Sum, Term};
pub use kernel::Kernel;
pub use legal::{Features, legalize};
pub use memory::{
    Argument, ArgumentKind, AsyncCopy, Atomic, Buffer, BufferKind, Load, Order, Place, STATIC_SHARED_BYTES, Sharing,
    Space, Store, Table, Update,
};
pub use operation::{
    Operation, Rounding, Shuffle, Vote, accepts_binary, accepts_cast, accepts_unary, accepts_warp_reduce, is_computed,
};
pub use statement::{Block, FenceOrder, Label, Ptx, Report, Statement, Unroll};
pub use value::{MAX_LANES, Register, Type, Use, Value, Variable};
