//! All tensors of a rank's batch, padded to what was planned in one launch.
//!
//! The ids, positions, cache locations, sequence lengths and hidden states of a batch are padded to the rows and requests of
//! its [`BatchPlan`](crate::plan::BatchPlan). Engines do that tensor by tensor: some dozen small launches, each of which
//! costs the host more than the GPU. [`Padding`] collects them, whatever their types, row sizes and fill values, and
//! [fuses](tilewright_dsl::call::Call::fuse) them into one kernel.
//!
//! ```
//! use tilewright_dp::plan::{ForwardMode, Plan, Request};
//! use tilewright_dsl::call::Runtime;
//! use tilewright_runtime::Device;
//!
//! let plan = Plan::new(&Request::new(vec![5, 3], 2))?;
//! // Rank 1 runs 3 requests in 5 rows.
//! let batch = plan.batch(1, ForwardMode::Decode, 3)?;
//! let device = Device::cpu();
//! let ids = device.upload(&[11i64, 12, 13], [3])?;
//! let lengths = device.upload(&[70i32, 80, 90], [3])?;
//! let mut padded_ids = device.zeros::<i64, 1>([5])?;
//! let mut padded_lengths = device.zeros::<i32, 1>([5])?;
//!
//! let mut padding = batch.padding();
//! padding.pad("input_ids", &mut padded_ids, &ids, Runtime(3))?;
//! padding.pad("seq_lens", &mut padded_lengths, &lengths, Runtime(3))?;
//! padding.launch_on(&device.stream())?;
//! assert_eq!(padded_ids.download()?, [11, 12, 13, 0, 0]);
//! assert_eq!(padded_lengths.download()?, [70, 80, 90, 1, 1]);
//!
//! // After the forward, what it leaves is cut to the rows of requests, which takes no launch.
//! let logits = device.zeros::<f32, 2>([5, 100])?;
//! assert_eq!(logits.rows(..batch.kept as usize)?.extents(), [3, 100]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod planned;

pub use error::PaddingError;
pub use planned::PlannedPadding;

use tilewright_dsl::call::{Argument, Call, MAX_PARAMETERS};
use tilewright_dsl::element::Element;
use tilewright_dsl::lang::{Count, Integer};
use tilewright_runtime::{Launch, LaunchError, Launched, Stream, TensorView, TensorViewMut};

use crate::kernels::{fill_bits, pad_bits};

/// Elements that a program pads, if its rows are not longer.
const BLOCK: usize = 1024;

/// How many tensors one launch pads: each takes up to four of the [`MAX_PARAMETERS`] arguments that a launch has.
pub const MAX_TENSORS: usize = MAX_PARAMETERS / 4;

/// Tensors to be padded, cut or filled by one launch, at most [`MAX_TENSORS`].
///
/// ```
/// use tilewright_dp::batch::Padding;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::Device;
///
/// let device = Device::cpu();
/// let positions = device.upload(&[1i64, 2, 3, 4, 5, 6], [3, 2])?;
/// let mut padded = device.zeros::<i64, 2>([3, 4])?;
/// let mut weights = device.upload(&[0.5f32, 0.25, 0.125], [3])?;
/// let mut padding = Padding::new();
/// padding.pad(&mut padded, &positions, 1, Exact(2), -1)?;
/// padding.fill(&mut weights, 0, Exact(2), 0.0)?;
/// padding.launch_on(&device.stream())?;
/// assert_eq!(padded.download()?, [1, 2, -1, -1, 3, 4, -1, -1, 5, 6, -1, -1]);
/// assert_eq!(weights.download()?, [0.5, 0.25, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Padding<'a> {
    call: Call<'a>,
    tensors: usize,
}

/// Tensors that there is room for at first: a batch has about as many.
const ROOM: usize = 16;

impl Default for Padding<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Padding<'a> {
    /// Nothing to be padded.
    #[track_caller]
    pub fn new() -> Self {
        Self {
            call: Call::nothing(ROOM),
            tensors: 0,
        }
    }

    /// Makes `out` the first `count` elements of `src` on `axis`, and `fill` behind them.
    ///
    /// * `out` and `src` of any rank, with the same extents on all axes but `axis`; what is not in `src` is filled.
    /// * An `out` that is shorter than `src` takes its first elements: so a padded tensor is cut again.
    ///
    /// # Errors
    /// There is no such axis, the others have gaps between them or differ, or there are [`MAX_TENSORS`] tensors
    /// already.
    pub fn pad<T: Element, const R: usize>(
        &mut self,
        out: impl Into<TensorViewMut<'a, T, R>>,
        src: impl Into<TensorView<'a, T, R>>,
        axis: usize,
        count: impl Argument<'a, Count>,
        fill: T,
    ) -> Result<&mut Self, PaddingError> {
        self.copy(out.into(), src.into(), axis, count, Some(fill))
    }

    /// Makes the first elements of `out` on `axis` the first `count` of `src`; what is behind them stays.
    ///
    /// # Errors
    /// As for [`pad`](Self::pad).
    pub fn keep<T: Element, const R: usize>(
        &mut self,
        out: impl Into<TensorViewMut<'a, T, R>>,
        src: impl Into<TensorView<'a, T, R>>,
        axis: usize,
        count: impl Argument<'a, Count>,
    ) -> Result<&mut Self, PaddingError> {
        self.copy(out.into(), src.into(), axis, count, None)
    }

    /// Fills `out` from element `count` on `axis` on, in place.
    ///
    /// # Errors
    /// There is no such axis, the others have gaps between them, or there are [`MAX_TENSORS`] tensors already.
    pub fn fill<T: Element, const R: usize>(
        &mut self,
        out: impl Into<TensorViewMut<'a, T, R>>,
        axis: usize,
        count: impl Argument<'a, Count>,
        fill: T,
    ) -> Result<&mut Self, PaddingError> {
        let out = out.into().matrix(axis)?;
        let fill = fill.to_bits64();
        self.join(match T::TYPE.size() {
            1 => fill_words::<T, u8>(out, count, fill)?,
            2 => fill_words::<T, u16>(out, count, fill)?,
            4 => fill_words::<T, u32>(out, count, fill)?,
            _ => fill_words::<T, u64>(out, count, fill)?,
        })
    }

    fn copy<T: Element, const R: usize>(
        &mut self,
        out: TensorViewMut<'a, T, R>,
        src: TensorView<'a, T, R>,
        axis: usize,
        count: impl Argument<'a, Count>,
        fill: Option<T>,
    ) -> Result<&mut Self, PaddingError> {
        let (out, src) = (out.matrix(axis)?, src.matrix(axis)?);
        let fill = fill.map(T::to_bits64);
        self.join(match T::TYPE.size() {
            1 => copy_words::<T, u8>(out, src, count, fill)?,
            2 => copy_words::<T, u16>(out, src, count, fill)?,
            4 => copy_words::<T, u32>(out, src, count, fill)?,
            _ => copy_words::<T, u64>(out, src, count, fill)?,
        })
    }

    fn join(&mut self, call: Call<'a>) -> Result<&mut Self, PaddingError> {
        if self.tensors == MAX_TENSORS {
            return Err(PaddingError::TooManyTensors);
        }
        self.call.join(call);
        self.tensors += 1;
        Ok(self)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors
    }

    /// Whether there is nothing to be padded.
    pub fn is_empty(&self) -> bool {
        self.tensors == 0
    }

    /// The one call that does all of it, for options of a launch or to be fused with others.
    pub fn into_call(self) -> Call<'a> {
        self.call
    }

    /// Pads all of them in one launch.
    ///
    /// # Errors
    /// A tensor that is written shares memory with another one, is on another device, or the launch failed.
    pub fn launch_on(self, stream: &Stream) -> Result<Launched, LaunchError> {
        self.into_call().launch_on(stream)
    }
}

/// Elements are moved as raw bits, so that there is one kernel for each of the four widths.
fn copy_words<'a, T: Element, W: Integer>(
    out: TensorViewMut<'a, T, 2>,
    src: TensorView<'a, T, 2>,
    count: impl Argument<'a, Count>,
    fill: Option<u64>,
) -> Result<Call<'a>, PaddingError> {
    let ([_, columns], [_, found]) = (out.extents(), src.extents());
    if columns != found {
        return Err(PaddingError::WrongColumns {
            out: columns,
            src: found,
        });
    }
    let (out, src) = (out.bits::<W>()?, src.bits::<W>()?);
    let (block, fills) = (rows_per_program(columns), fill.is_some());
    Ok(pad_bits::<W>(out, src, count, fill.unwrap_or(0), block, fills))
}

fn fill_words<'a, T: Element, W: Integer>(
    out: TensorViewMut<'a, T, 2>,
    count: impl Argument<'a, Count>,
    fill: u64,
) -> Result<Call<'a>, PaddingError> {
    let block = rows_per_program(out.extents()[1]);
    Ok(fill_bits::<W>(out.bits::<W>()?, count, fill, block))
}

fn rows_per_program(columns: usize) -> usize {
    (BLOCK / columns.clamp(1, BLOCK)).next_power_of_two()
}
