//! The attributes of Tilewright: `#[kernel]` and `#[device]`.
//!
//! ```text
//!  #[kernel(...)] fn        attr    the attribute's keys
//!        │                  model   the function, with its parameters sorted by kind
//!        ├── check ──┐      check   every rule of the language that needs no types; each error on the author's token
//!        ├── lower ──┤      lower   bodies: Rust's operators and control flow become staged ones
//!        │           │
//!     expand     fallback           the items, or harmless ones of the same names beside the errors
//! ```
//!
//! What the expansion refers to, and what it means, is documented in `tilewright_dsl::lang::staging`.

mod attr;
mod check;
mod expand;
mod fallback;
mod lower;
mod model;
mod span;

use proc_macro::TokenStream;

/// The stack of an expansion, of which only what is used becomes memory: it recurses as deep as an author nests, and
/// rustc should be the one to say what is too deep.
const STACK: usize = 256 << 20;

/// Makes a function a kernel.
///
/// ```text
/// #[kernel(grid = [out.extent(0)])]
/// pub fn copy_rows<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>) {
///     let row = program_id(0);
///     let cols = arange(src.extent(1));
///     out.store([row, cols], src.load([row, cols]));
/// }
/// ```
///
/// * `grid = [...]`: the number of programs on one to three axes, innermost first, made of what the host knows: extents, strides,
///   counts, scalar arguments. Required. An extent below 1 is no programs.
/// * `bounds = "zero"`, `"clamp"` or `"trap"`: what an index outside its axis does. By default, a load gives zero and a
///   store writes nothing.
/// * `specialize = "tiered"`, `"exact"` or `"resident"`: which variant serves launches that do not say so themselves, unless
///   the device was told otherwise for this kernel. By default, it is what the device does for all.
/// * `deny_guarded`: a launch is refused if a bounds check is left in it, with the access that needs the check. For kernels
///   whose speed depends on every check being proved away.
/// * `deny_narrow`: a launch is refused in which a thread does not load or store as many neighbours at once as it might, 16
///   bytes, with the lines and why. An access that is meant to be narrow says so: `AccessOptions::new().allow_narrow()`.
///   Single elements at the ends of rows, and atomic operations, are not meant.
/// * `crate = path`: where Tilewright is found, if it is re-exported by another crate.
///
/// The function then takes what a runtime lends for its parameters and returns a call to launch. Parameters marked
/// `#[comptime]` are plain values, known while the kernel is compiled. A type of the function's name has
/// `definition()`, the kernel without arguments.
#[proc_macro_attribute]
pub fn kernel(arguments: TokenStream, item: TokenStream) -> TokenStream {
    stacker::grow(STACK, || expand::kernel(arguments.into(), item.into()).into())
}

/// Makes a function a helper that kernels can call: its body is written in the language of kernels.
///
/// ```text
/// #[device]
/// fn relu(x: Scalar<f32>) -> Scalar<f32> {
///     if x < 0.0 { zero() } else { x }
/// }
/// ```
///
/// `crate = path` says where Tilewright is found, if it is re-exported by another crate.
#[proc_macro_attribute]
pub fn device(arguments: TokenStream, item: TokenStream) -> TokenStream {
    stacker::grow(STACK, || expand::device(arguments.into(), item.into()).into())
}
