//! Instructions of the author's own, on each element.

use super::recorder::{self, DETACHED};
use super::tile::Tile;
use crate::element::Element;
use crate::ir::{Expression, Handle, Meaning, Ptx, Shape, Span, Type};

/// An element type that a register of PTX can hold: 16, 32 or 64 bits, f16 and bf16 as their bits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in a register of PTX",
    note = "registers hold i16 to i64, u16 to u64, f16, bf16, f32 and f64: cast first, `.cast::<u32>()`"
)]
pub trait Register: Element {}

impl Register for i16 {}
impl Register for i32 {}
impl Register for i64 {}
impl Register for u16 {}
impl Register for u32 {}
impl Register for u64 {}
impl Register for half::f16 {}
impl Register for half::bf16 {}
impl Register for f32 {}
impl Register for f64 {}

/// The inputs of instructions: a tuple of one to four tiles of rank `R`, or of scalars.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the inputs of `inline_ptx`",
    note = "write a tuple of one to four tiles of one rank: `(a,)`, `(a, b)`; registers hold i16 to i64, u16 to u64, f16, bf16, f32 and f64"
)]
pub trait PtxInputs<const R: usize> {
    /// One element of each.
    type Values;
    #[doc(hidden)]
    fn handles(self) -> Vec<Handle<Expression>>;
    #[doc(hidden)]
    fn values(bits: &[u64]) -> Option<Self::Values>;
}

/// The outputs of instructions: a tuple of one to four element types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the outputs of `inline_ptx`",
    note = "the closure returns a tuple of one to four numbers: `(x,)`, `(x, y)`"
)]
pub trait PtxOutputs<const R: usize> {
    /// A tile of each.
    type Tiles;
    #[doc(hidden)]
    fn types() -> Vec<crate::element::ElementType>;
    #[doc(hidden)]
    fn tiles(handles: &[Handle<Expression>]) -> Self::Tiles;
    #[doc(hidden)]
    fn bits(self) -> Vec<u64>;
}

macro_rules! tuples {
    ($($count:literal: $($name:ident $at:tt)*;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<const R: usize, $($name: Register),*> PtxInputs<R> for ($(Tile<$name, R>,)*) {
            type Values = ($($name,)*);
            fn handles(self) -> Vec<Handle<Expression>> {
                vec![$(self.$at.handle),*]
            }
            fn values(bits: &[u64]) -> Option<Self::Values> {
                Some(($($name::from_bits64(*bits.get($at)?),)*))
            }
        }
        #[diagnostic::do_not_recommend]
        impl<const R: usize, $($name: Register),*> PtxOutputs<R> for ($($name,)*) {
            type Tiles = ($(Tile<$name, R>,)*);
            fn types() -> Vec<crate::element::ElementType> {
                vec![$($name::TYPE),*]
            }
            fn tiles(handles: &[Handle<Expression>]) -> Self::Tiles {
                let handle = |at: usize| handles.get(at).copied().unwrap_or(DETACHED);
                ($(Tile::<$name, R>::from_handle(handle($at)),)*)
            }
            fn bits(self) -> Vec<u64> {
                vec![$(self.$at.to_bits64()),*]
            }
        }
    )*};
}
tuples! {
    1: A 0;
    2: A 0 B 1;
    3: A 0 B 1 C 2;
    4: A 0 B 1 C 2 D 3;
}

/// Runs instructions of PTX on each element of `inputs`, which broadcast, and returns a tuple of what they compute.
///
/// In `text`, `%0`, `%1`, … are the outputs, whose types are those that `meaning` returns, and after them the inputs; a
/// register of the machine is written with two signs, `%%laneid`. Every output must stand in the text, and no number
/// beyond the last input: that is refused when the kernel is recorded. Any other mistake shows when the kernel is
/// compiled.
///
/// The CPU device runs `meaning` instead.
///
/// # Safety
/// As for [`core::arch::asm!`]: the text is put into the generated code as it is. The instructions must compute all of
/// their outputs from their inputs and do nothing else (no memory, no barrier, no branch out of the text), and give
/// what `meaning` gives.
///
/// ```
/// use tilewright_dsl::{kernel, lang::*};
///
/// #[kernel(grid = [1])]
/// fn products(high: &mut Tensor<u32, 1>, low: &mut Tensor<u32, 1>, a: &Tensor<u32, 1>, b: &Tensor<u32, 1>) {
///     let i = arange(64);
///     let text = "mul.hi.u32 %0, %2, %3; mul.lo.u32 %1, %2, %3;";
///     // SAFETY: two multiplications of registers, and `multiply` gives the same.
///     let (h, l) = unsafe { inline_ptx(text, (a.load([i]), b.load([i])), multiply) };
///     high.store([i], h);
///     low.store([i], l);
/// }
///
/// fn multiply((a, b): (u32, u32)) -> (u32, u32) {
///     let product = u64::from(a) * u64::from(b);
///     ((product >> 32) as u32, product as u32)
/// }
/// ```
// `V` is named so that inputs that cannot be are reported where they stand.
#[track_caller]
#[allow(unsafe_code)] // Declares a duty of the kernel's author; recording itself does nothing unsafe.
pub unsafe fn inline_ptx<I: PtxInputs<R, Values = V>, O: PtxOutputs<R>, V, const R: usize>(
    text: &str,
    inputs: I,
    meaning: impl Fn(V) -> O + Send + Sync + 'static,
) -> O::Tiles {
    let function = move |bits: &[u64], outputs: &mut [u64]| {
        if let Some(values) = I::values(bits) {
            let results = meaning(values).bits();
            outputs.iter_mut().zip(results).for_each(|(to, bits)| *to = bits);
        }
    };
    record::<I, O, R>(text, inputs, Some(Meaning::new(function)), Span::here())
}

/// As [`inline_ptx`], for instructions that only a GPU can run: the CPU device refuses to. The types of the outputs are
/// written out, `inline_ptx_on_gpu::<_, (u32,), 1>(...)`.
///
/// # Safety
/// As for [`inline_ptx`], without a meaning.
#[track_caller]
#[allow(unsafe_code)] // Declares a duty of the kernel's author; recording itself does nothing unsafe.
pub unsafe fn inline_ptx_on_gpu<I: PtxInputs<R>, O: PtxOutputs<R>, const R: usize>(text: &str, inputs: I) -> O::Tiles {
    record::<I, O, R>(text, inputs, None, Span::here())
}

fn record<I: PtxInputs<R>, O: PtxOutputs<R>, const R: usize>(
    text: &str,
    inputs: I,
    meaning: Option<Meaning>,
    span: Span,
) -> O::Tiles {
    let (inputs, outputs) = (inputs.handles(), O::types());
    let handles = recorder::with(Vec::new(), |r| {
        let shape = r.common_shape(&inputs, "`inline_ptx`", span);
        // Where the shapes do not go together, the mistake is kept and nothing is recorded.
        if inputs
            .iter()
            .any(|&input| r.ty(input).shape.broadcast(shape) != Some(shape))
        {
            return Vec::new();
        }
        let inputs: Vec<_> = inputs.iter().map(|&input| r.stretch(input, shape, span)).collect();
        emit(r, text, &inputs, &outputs, meaning.as_ref(), shape, span)
    });
    O::tiles(&handles)
}

/// One value for each output.
fn emit(
    r: &mut recorder::Recorder,
    text: &str,
    inputs: &[Handle<Expression>],
    outputs: &[crate::element::ElementType],
    meaning: Option<&Meaning>,
    shape: Shape,
    span: Span,
) -> Vec<Handle<Expression>> {
    let value = |(output, &element)| {
        let code = Ptx {
            text: text.to_owned(),
            outputs: outputs.to_vec(),
            inputs: inputs.to_vec(),
            output,
            meaning: meaning.cloned(),
        };
        r.emit(Expression::Ptx(Box::new(code)), Type { element, shape }, span)
    };
    outputs.iter().enumerate().map(value).collect()
}
