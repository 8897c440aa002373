//! The intermediate representation of a kernel: typed arenas of locals and expressions, structured statements.
//!
//! A [`Kernel`] describes what *one program* does. Expressions are values: each is defined once, by a
//! [`Statement::Let`] (or a loop's induction value), and can be used wherever that definition is in scope; literals,
//! launch symbols and scalar arguments are in scope everywhere. Everything that changes is a [`Local`], read by
//! [`Expression::Local`] and written by [`Statement::Assign`]. Scalars (rank 0) are uniform over a program, so control
//! flow, which only ever depends on scalars, is too.
//!
//! [`verify::verify`] states and checks the rules; every later stage relies on them.

mod arena;
mod atomic;
mod cache;
mod collective;
mod expression;
mod kernel;
mod literal;
mod operator;
pub mod print;
mod ptx;
mod span;
mod statement;
mod strides;
mod types;
pub mod verify;

pub use arena::{Arena, Handle};
pub use atomic::{Atomic, AtomicOp, AtomicUpdate, MemoryOrder, MemoryScope, reached};
pub use cache::{CacheHint, GridDependency};
pub use collective::{Combine, Function, Reduction};
pub use expression::{Access, Bounds, Expression, Guard, Symbol};
pub use kernel::{Bindings, Kernel, Layout, List, Local, Parameter, ParameterKind, Requirement, TensorParameter};
pub use literal::Literal;
pub use operator::{BinaryOp, CompareOp, UnaryOp};
pub use ptx::{Meaning, Ptx};
pub use span::Span;
pub use statement::{Block, CheckKind, Conflict, Statement};
pub use strides::canonical_strides;
pub use types::{MAX_RANK, Shape, Type};
