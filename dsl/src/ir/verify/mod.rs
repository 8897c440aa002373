//! The rules of the IR, and the check that a kernel keeps them.
//!
//! The promise: **what [`verify`] accepts, no later stage panics on.** It accepts or refuses any [`Kernel`] value
//! without panicking itself. The rules, by the module that checks them:
//!
//! * `handles`: there is one type and one span per expression. An expression refers only to earlier ones, so a walk in
//!   order sees operands first and there are no cycles, and at most [`MAX_DEPTH`] stand in a row. Statements, grid and accesses refer to expressions and locals that
//!   exist. Blocks nest at most [`MAX_NESTING`] deep.
//! * `signature`: parameter names differ. Tensors have rank 1 to 4, a power-of-two alignment of at least the element
//!   size, and rows whose stride multiple is not zero. A list has an axis of its own before those of its tensors, and shares
//!   extents on the latter only; behind one of peers comes a count. A symbol is bound once, an extent or count not to a negative
//!   value; counts in memory are i32 or i64; no expression refers to a symbol that is bound to a literal.
//! * `shapes`: no tile or local has an extent of 0 or more than [`MAX_ELEMENTS`] elements.
//! * `values`: the recorded type of every expression is the one its typing rule gives; operators are defined on their
//!   operands' element type; literals have no bits beyond their width; symbols and arguments name parameters of the
//!   right kind and axes that exist; of a list there are no strides, and of one of its tensors, named by a scalar i64, extents
//!   and strides on the tensor's axes.
//! * `tiles`: axes exist; slices stay inside, concatenated and taken tiles agree on the other axes; what elements are
//!   combined with is associative and defined on them, and a combining function has at most
//!   [`Function::MAX_EXPRESSIONS`](super::Function::MAX_EXPRESSIONS) scalar operations on its operands.
//! * `access`: one integer index and one guard per axis, which broadcast to one shape, the first of a list being a scalar, but for atomic operations; the mask is a bool of that shape;
//!   unchecked accesses have no guards; stores go to mutable tensors and have the tensor's element type; a cache hint is
//!   one of loads or stores, and atomic operations and prefetches have none.
//! * `atomic`: an atomic operation is defined on its tensor's element type, and on a mutable tensor unless it only reads; its
//!   values have that type and the access's shape, but the limit of a wait is a scalar u64. What only reads releases nothing,
//!   what only writes acquires nothing, and a wait acquires, from others than its block.
//! * `grid`: one to three scalar i64 values made of literals, extents, strides, counts, scalar arguments and scalar operations
//!   on them; or the number of programs on that very axis, where the grid is left to the host. Requirements are scalar bools
//!   made of the same.
//! * claims, in `values` and `body`: what a check tests is a bool or a tile of bool; only an integer is claimed to be a
//!   multiple, of a number that its type holds.
//! * instructions of the author's own, in `values`: inputs of one shape, registers of 16, 32 or 64 bits, an output that
//!   exists; a text that names no operand beyond the last, and every output.
//! * printing, in `body`: a line has as many places as values, which are scalars but no 8-bit floats.
//! * `body`: a value is defined once and used only where its definition is in scope. Scope is from the
//!   [`Statement::Let`](super::Statement::Let) to the end of its block; what the header of a `while` defines is also in
//!   scope in its body; an induction value is in scope in its loop's body. Conditions are scalar bools. Loop bounds
//!   have the induction's type and the step is not 0, nor 2^64 or more. `break` and `continue` are inside a loop's
//!   body, and nothing follows them, or `return`, in a block. A local is read only where every path has assigned it,
//!   and holds one type.
//!
//! A well-formed kernel may still promise what does not hold, that an unchecked access is inside its tensor, say.
//! [`without_promises`] is for kernels from those whose word is not to be taken.

mod access;
mod assigned;
mod atomic;
mod body;
#[cfg(test)]
pub(crate) mod build;
mod fault;
mod grid;
mod handles;
mod promises;
mod shapes;
mod signature;
#[cfg(test)]
mod tests;
mod tiles;
mod values;

pub use fault::Fault;
pub(crate) use grid::unknown_to_host;
pub use promises::without_promises;
pub use shapes::MAX_ELEMENTS;

use super::{Expression, Handle, Kernel, Span};

/// How deep blocks nest at most, so that passes may recurse over them.
pub const MAX_NESTING: usize = 128;

/// How many expressions in a row are made of each other at most, so that passes may recurse over them.
pub const MAX_DEPTH: u32 = 1000;

/// A kernel that breaks a rule of the IR.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{fault}")]
pub struct VerifyError {
    /// The rule and how it is broken.
    pub fault: Fault,
    /// Where the offending part was written.
    pub span: Span,
}

/// Checks every rule of the module's documentation.
///
/// # Errors
/// The first rule found broken, with the place it was written.
pub fn verify(kernel: &Kernel) -> Result<(), VerifyError> {
    // Everything after this may follow handles freely.
    handles::check(kernel)?;
    signature::check(kernel)?;
    shapes::check(kernel)?;
    values::check(kernel)?;
    grid::check(kernel)?;
    body::check(kernel)
}

impl Fault {
    fn at(self, span: Span) -> VerifyError {
        VerifyError { fault: self, span }
    }

    fn of(self, kernel: &Kernel, expression: Handle<Expression>) -> VerifyError {
        let span = kernel.spans.get(expression.index()).copied();
        self.at(span.filter(Span::is_known).unwrap_or(kernel.span))
    }
}
