//! What an author claims about values, or demands of them.

use super::recorder::{self, DETACHED};
use super::staging::{Condition, Decision};
use super::tile::Tile;
use crate::element::{Element, Integer};
use crate::ir::{BinaryOp, CheckKind, CompareOp, Expression, Literal, Span, Statement, Type};

/// Claims that `condition` holds, for every element if it is a tile. What follows from it is used to remove bounds checks.
///
/// The CPU device tests it, and so does a checked build on a GPU ([`Call::checked`](crate::call::Call::checked)); both
/// report it if it does not hold. Any other build for a GPU believes it. To have it tested everywhere, use
/// [`device_assert`]: of a scalar it removes the same checks.
///
/// # Safety
/// The condition must hold wherever control comes, in every program of every launch: an access whose check was removed
/// because of it would otherwise be out of bounds.
///
/// ```
/// use tilewright_dsl::{kernel, lang::*};
///
/// #[kernel(grid = [index.extent(0)])]
/// fn gather(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, index: &Tensor<i32, 1>) {
///     let row = program_id(0);
///     let from = index.load([row]) as i64;
///     // SAFETY: the host fills `index` with rows of `src`.
///     unsafe { assume(from >= 0 && from < src.extent(0)) };
///     out.store([row], src.load([from]));
/// }
/// # use tilewright_dsl::call::*;
/// # let facts = |n| ParameterFacts::Tensor(TensorFacts::contiguous(&[n]));
/// # let request = TraceRequest { parameters: vec![facts(4), facts(9), facts(4)] };
/// let proofs = gather::definition().trace(&request)?.kernel.proofs();
/// assert!(proofs[1].to_string().starts_with("load src[proved]"));
/// # Ok::<(), TraceError>(())
/// ```
#[track_caller]
#[allow(unsafe_code)] // Declares a duty of the kernel's author; recording itself does nothing unsafe.
pub unsafe fn assume<const R: usize>(condition: Tile<bool, R>) {
    check(condition, CheckKind::Assume, "what the kernel assumes", Span::here());
}

/// Demands that `condition` holds, for every element if it is a tile. If it does not, the launch reports an error with the
/// kernel, this place and `message`, as an access under the policy *trap* does, and the program ends there: nothing that comes
/// after it is done by any of its threads. Other programs go on. Tested on every device and in every build. The threads of a
/// program meet for a tile, so that a program is not spread over several blocks of a GPU.
///
/// ```
/// use tilewright_dsl::{kernel, lang::*};
///
/// #[kernel(grid = [lengths.extent(0)])]
/// fn check_lengths(lengths: &Tensor<i32, 1>, most: i32) {
///     device_assert(lengths.load([program_id(0)]) <= most, "a sequence is too long");
/// }
/// ```
#[track_caller]
pub fn device_assert<const R: usize>(condition: Tile<bool, R>, message: &str) {
    check(condition, CheckKind::Assert, message, Span::here());
}

/// Demands that `condition` holds of the arguments of every launch: the host tests it before each, on every device and in
/// every build, and refuses a launch for which it does not hold, naming the condition and the values of its two sides. What
/// follows from it is used to remove bounds checks.
///
/// It is made of what the host knows: extents, strides, counts, scalar arguments, and arithmetic and comparisons of them,
/// joined by `&&`. It stands outside of recorded control flow, since it is tested whatever the kernel does. A launch whose count
/// in device memory appears in it is refused; [`device_assert`] tests what only the device knows, and [`static_assert`] what
/// is known when the kernel is recorded.
///
/// ```
/// use tilewright_dsl::{kernel, lang::*};
///
/// #[kernel(grid = [out.extent(0)])]
/// fn copy_rows(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
///     require(out.extent(0) <= src.extent(0) && out.extent(1) == src.extent(1));
///     let (row, cols) = (program_id(0), arange(src.extent(1)));
///     out.store([row, cols], src.load([row, cols]));
/// }
/// # use tilewright_dsl::call::*;
/// # use tilewright_dsl::interpret::{HostArgument, HostMemory, Options, run};
/// # let facts = |extents: &[u64]| ParameterFacts::Tensor(TensorFacts::contiguous(extents));
/// # let request = TraceRequest { parameters: vec![facts(&[2, 4]), facts(&[3, 4])] };
/// # let Traced { kernel, pinned, .. } = copy_rows::definition().trace(&request)?;
/// # let literals = tilewright_dsl::ir::Bindings { exact: pinned, device: vec![] };
/// # let bound = tilewright_dsl::transform::bind(&kernel, &literals);
/// // No access is left with a check, whatever tensors a launch has.
/// assert!(bound.proofs().iter().all(|proof| proof.to_string().contains("[proved, proved]")));
/// # let [out, src] = [32, 60].map(|bytes| HostMemory::from_bytes(&vec![0; bytes]).unwrap());
/// # let arguments = [HostArgument::contiguous(&out, &[2, 4]), HostArgument::contiguous(&src, &[3, 5])];
/// # let error = run(&kernel, &arguments, &Options::default()).unwrap_err();
/// // A launch of tensors of 4 and 5 columns says:
/// assert!(error.to_string().starts_with(
///     "kernel `copy_rows` requires `out.extent(1) == src.extent(1)`, and here the left side is 4 and the right side 5"
/// ));
/// # Ok::<(), TraceError>(())
/// ```
#[track_caller]
pub fn require(condition: impl Condition) {
    let span = Span::here();
    match condition.decide() {
        Decision::Known(true) => {}
        Decision::Known(false) => recorder::with((), |r| {
            r.fail(span, "a requirement does not hold, whatever the arguments are", None)
        }),
        Decision::Recorded(condition) => recorder::with((), |r| r.require(condition, span)),
    }
}

/// Demands that a compile-time condition holds: if it does not, the kernel cannot be recorded, and the error says `message`.
///
/// ```
/// use tilewright_dsl::{kernel, lang::*};
///
/// #[kernel(grid = [1])]
/// fn fill<const BLOCK: usize>(out: &mut Tensor<f32, 1>) {
///     static_assert(BLOCK % 32 == 0, "blocks are whole warps");
///     out.store([arange(BLOCK)], 1.0);
/// }
/// # use tilewright_dsl::call::*;
/// # let request = TraceRequest { parameters: vec![ParameterFacts::Tensor(TensorFacts::contiguous(&[100]))] };
/// assert!(fill::<64>::definition().trace(&request).is_ok());
/// let error = fill::<48>::definition().trace(&request).unwrap_err();
/// assert!(error.to_string().contains("blocks are whole warps"));
/// ```
#[track_caller]
pub fn static_assert(condition: bool, message: &str) {
    if !condition {
        let span = Span::here();
        recorder::with((), |r| {
            r.fail(span, format!("static assertion failed: {message}"), None)
        });
    }
}

fn check<const R: usize>(condition: Tile<bool, R>, kind: CheckKind, message: &str, span: Span) {
    recorder::with((), |r| {
        let condition = condition.handle;
        let message = message.to_owned();
        r.push(
            Statement::Check {
                condition,
                kind,
                message,
            },
            span,
        );
    });
}

impl<T: Integer, const R: usize> Tile<T, R> {
    /// The same value, of which the author claims that every element is a multiple of `by`: an offset, say, from which rows
    /// then are known to begin at a multiple of 16 bytes. Like [`assume`], it is tested by the CPU device and in checked
    /// builds, and otherwise relied on.
    ///
    /// `by` is at least 1, and a number that the element type holds. Only the power of two in it is of use.
    ///
    /// # Safety
    /// Every element must be such a multiple, in every program of every launch: accesses of several elements at once
    /// are checked and made as if it was.
    #[track_caller]
    #[allow(unsafe_code)] // Declares a duty of the kernel's author; recording itself does nothing unsafe.
    pub unsafe fn multiple_of(self, by: u32) -> Self {
        let span = Span::here();
        let handle = recorder::with(DETACHED, |r| {
            let ty = r.ty(self.handle);
            if by == 0 || T::TYPE.integer_range().is_none_or(|(_, most)| i128::from(by) > most) {
                let advice = "the number is at least 1 and a value of the element type";
                r.fail(span, format!("`multiple_of({by})` of {}", T::TYPE), Some(advice));
                return self.handle;
            }
            let divisor = r.literal(Literal::wrap(T::TYPE, by.into()));
            let divisor = r.stretch(divisor, ty.shape, span);
            let zero = r.literal(Literal::zero(T::TYPE));
            let zero = r.stretch(zero, ty.shape, span);
            let remainder = Expression::Binary {
                op: BinaryOp::Remainder,
                left: self.handle,
                right: divisor,
            };
            let left = r.emit(remainder, ty, span);
            let compare = Expression::Compare {
                op: CompareOp::Equal,
                left,
                right: zero,
            };
            let bool = Type {
                element: bool::TYPE,
                ..ty
            };
            let condition = r.emit(compare, bool, span);
            r.push(
                Statement::Check {
                    condition,
                    kind: CheckKind::Assume,
                    message: format!("a value is a multiple of {by}"),
                },
                span,
            );
            let value = self.handle;
            r.emit(Expression::MultipleOf { value, by }, ty, span)
        });
        Tile::from_handle(handle)
    }
}
