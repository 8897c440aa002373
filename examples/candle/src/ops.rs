//! The operations: what their tensors have to be, and which kernel does it.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Error, InplaceOp3, Layout, Result, Shape, bail};
use tilewright::dp::kernels::{gather_rows, pad_rows, pad_segments, scatter_rows};
use tilewright::dsl::element::{Element, Integer};
use tilewright::prelude::*;

use crate::storage::{Storage, operand, result};

/// A storage and the tensor that is looked at in it.
type Operand<'a, S> = (&'a S, &'a Layout);

/// Does something for elements as wide as those of a type.
macro_rules! by_width {
    ($dtype:expr, $T:ident => $do:expr) => {
        match $dtype.size_in_bytes() {
            1 => by_width!(@u8, $T => $do),
            2 => by_width!(@u16, $T => $do),
            4 => by_width!(@u32, $T => $do),
            8 => by_width!(@u64, $T => $do),
            _ => bail!("elements of {:?} are no whole bytes", $dtype),
        }
    };
    (@$width:ident, $T:ident => $do:expr) => {{
        type $T = $width;
        $do
    }};
}

/// Does something for indices of a type.
macro_rules! by_index {
    ($dtype:expr, $I:ident => $do:expr) => {
        match $dtype {
            DType::U32 => by_width!(@u32, $I => $do),
            DType::I32 => by_width!(@i32, $I => $do),
            DType::I64 => by_width!(@i64, $I => $do),
            other => bail!("an index of {other:?}, which is none of u32, i32 and i64"),
        }
    };
}

/// `out[i] = src[index[i]]`, with rows of zeros where an index names none.
///
/// `src` `[rows, columns]` of any type of whole bytes, `index` `[n]` of u32, i32 or i64; the result is `[n, columns]`.
pub struct Gather;

fn gather<S: Storage>(src: Operand<S>, index: Operand<S>) -> Result<(S, Shape)> {
    let shape = Shape::from((index.1.shape().dims1()?, src.1.shape().dims2()?.1));
    let mut out = src.0.output(&shape)?;
    by_width!(src.0.dtype(), T => by_index!(index.0.dtype(), I => gather_into::<S, T, I>(&mut out, &shape, src, index)))?;
    Ok((out, shape))
}

fn gather_into<S: Storage, T: Element, I: Integer>(
    out: &mut S,
    shape: &Shape,
    src: Operand<S>,
    index: Operand<S>,
) -> Result<()> {
    let stream = out.stream()?;
    let (from, _from) = src.0.address(&stream)?;
    let (at, _at) = index.0.address(&stream)?;
    let (to, _to) = out.address_mut(&stream)?;
    // SAFETY: the storages are borrowed until the launch is in candle's stream, which orders all of their uses.
    let (mut out, src, index) = unsafe {
        (
            result::<T, 2>(&stream, to, &Layout::contiguous(shape))?,
            operand::<T, 2>(&stream, from, src.1)?,
            operand::<I, 1>(&stream, at, index.1)?,
        )
    };
    launch(gather_rows(&mut out, &src, &index), &stream)
}

/// `dst[index[i]] = src[i]` in place; a row whose index names none goes nowhere. Of several rows that go to one place, any is there
/// then.
///
/// `dst` `[rows, columns]` and `src` `[n, columns]` of one type of whole bytes, `index` `[n]` of u32, i32 or i64. candle refuses
/// a source in the storage that is written.
pub struct Scatter;

fn scatter<S: Storage>(dst: (&mut S, &Layout), src: Operand<S>, index: Operand<S>) -> Result<()> {
    if dst.0.dtype() != src.0.dtype() {
        bail!(
            "rows of {:?} do not go into a tensor of {:?}",
            src.0.dtype(),
            dst.0.dtype()
        );
    }
    by_width!(src.0.dtype(), T => by_index!(index.0.dtype(), I => scatter_into::<S, T, I>(dst, src, index)))
}

fn scatter_into<S: Storage, T: Element, I: Integer>(
    dst: (&mut S, &Layout),
    src: Operand<S>,
    index: Operand<S>,
) -> Result<()> {
    let stream = dst.0.stream()?;
    let (from, _from) = src.0.address(&stream)?;
    let (at, _at) = index.0.address(&stream)?;
    let (to, _to) = dst.0.address_mut(&stream)?;
    // SAFETY: the storages are borrowed until the launch is in candle's stream, which orders all of their uses.
    let (mut dst, src, index) = unsafe {
        (
            result::<T, 2>(&stream, to, dst.1)?,
            operand::<T, 2>(&stream, from, src.1)?,
            operand::<I, 1>(&stream, at, index.1)?,
        )
    };
    launch(scatter_rows(&mut dst, &src, &index), &stream)
}

/// The first `rows` rows of a tensor, and zeros behind them up to `to` rows: a batch as a captured graph wants it.
///
/// `src` `[n, columns]` of any type of whole bytes, with `rows` of at most `n`; the result is `[to, columns]`.
pub struct PadRows {
    /// How many rows are kept.
    pub rows: usize,
    /// How many rows there are then.
    pub to: usize,
}

fn pad<S: Storage>(op: &PadRows, src: Operand<S>) -> Result<(S, Shape)> {
    let (rows, columns) = src.1.shape().dims2()?;
    if op.rows > rows || op.rows > op.to {
        bail!("{} rows of {rows} are to be padded to {}", op.rows, op.to);
    }
    let shape = Shape::from((op.to, columns));
    let mut out = src.0.output(&shape)?;
    by_width!(src.0.dtype(), T => pad_into::<S, T>(&mut out, &shape, src, op.rows as u64))?;
    Ok((out, shape))
}

fn pad_into<S: Storage, T: Element>(out: &mut S, shape: &Shape, src: Operand<S>, rows: u64) -> Result<()> {
    let stream = out.stream()?;
    let (from, _from) = src.0.address(&stream)?;
    let (to, _to) = out.address_mut(&stream)?;
    // SAFETY: the storages are borrowed until the launch is in candle's stream, which orders all of their uses.
    let (mut out, src) = unsafe {
        (
            result::<T, 2>(&stream, to, &Layout::contiguous(shape))?,
            operand::<T, 2>(&stream, from, src.1)?,
        )
    };
    launch(pad_rows(&mut out, &src, Runtime(rows)), &stream)
}

/// Sequences of different lengths as a batch: `out[b][i] = packed[starts[b] + i]`, and zeros behind each sequence. It is what
/// mistral.rs makes of the prompts of a batch, a tensor for each of which it pads on the host, concatenates and stacks.
///
/// `packed` `[tokens, columns]` of any type of whole bytes, `starts` `[batch + 1]` of u32, i32 or i64; the result is
/// `[batch, length, columns]`. A sequence that is longer than `length` is cut.
pub struct PadSequences {
    /// How many rows every sequence has then.
    pub length: usize,
}

fn pad_sequences<S: Storage>(length: usize, packed: Operand<S>, starts: Operand<S>) -> Result<(S, Shape)> {
    let Some(batch) = starts.1.shape().dims1()?.checked_sub(1) else {
        bail!("there are no starts: they are one more than the sequences");
    };
    let shape = Shape::from((batch, length, packed.1.shape().dims2()?.1));
    let mut out = packed.0.output(&shape)?;
    by_width!(packed.0.dtype(), T => by_index!(starts.0.dtype(), I => pad_sequences_into::<S, T, I>(&mut out, &shape, packed, starts)))?;
    Ok((out, shape))
}

fn pad_sequences_into<S: Storage, T: Element, I: Integer>(
    out: &mut S,
    shape: &Shape,
    packed: Operand<S>,
    starts: Operand<S>,
) -> Result<()> {
    let stream = out.stream()?;
    let (from, _from) = packed.0.address(&stream)?;
    let (at, _at) = starts.0.address(&stream)?;
    let (to, _to) = out.address_mut(&stream)?;
    // SAFETY: the storages are borrowed until the launch is in candle's stream, which orders all of their uses.
    let (mut out, packed, starts) = unsafe {
        (
            result::<T, 3>(&stream, to, &Layout::contiguous(shape))?,
            operand::<T, 2>(&stream, from, packed.1)?,
            operand::<I, 1>(&stream, at, starts.1)?,
        )
    };
    launch(pad_segments(&mut out, &packed, &starts), &stream)
}

/// Asks the stream for a call. Nothing is waited for but, once for each kind of launch, a compiler.
fn launch(call: Call<'_>, stream: &Stream) -> Result<()> {
    call.launch_on(stream).map(drop).map_err(Error::wrap)
}

impl CustomOp2 for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn cpu_fwd(
        &self,
        src: &CpuStorage,
        at: &Layout,
        index: &CpuStorage,
        index_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        gather((src, at), (index, index_at))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        src: &CudaStorage,
        at: &Layout,
        index: &CudaStorage,
        index_at: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        gather((src, at), (index, index_at))
    }
}

impl InplaceOp3 for Scatter {
    fn name(&self) -> &'static str {
        "scatter"
    }

    fn cpu_fwd(
        &self,
        dst: &mut CpuStorage,
        to: &Layout,
        src: &CpuStorage,
        at: &Layout,
        index: &CpuStorage,
        index_at: &Layout,
    ) -> Result<()> {
        scatter((dst, to), (src, at), (index, index_at))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        dst: &mut CudaStorage,
        to: &Layout,
        src: &CudaStorage,
        at: &Layout,
        index: &CudaStorage,
        index_at: &Layout,
    ) -> Result<()> {
        scatter((dst, to), (src, at), (index, index_at))
    }
}

impl CustomOp1 for PadRows {
    fn name(&self) -> &'static str {
        "pad_rows"
    }

    fn cpu_fwd(&self, src: &CpuStorage, at: &Layout) -> Result<(CpuStorage, Shape)> {
        pad(self, (src, at))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, src: &CudaStorage, at: &Layout) -> Result<(CudaStorage, Shape)> {
        pad(self, (src, at))
    }
}

impl CustomOp2 for PadSequences {
    fn name(&self) -> &'static str {
        "pad_sequences"
    }

    fn cpu_fwd(
        &self,
        packed: &CpuStorage,
        at: &Layout,
        starts: &CpuStorage,
        starts_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        pad_sequences(self.length, (packed, at), (starts, starts_at))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        packed: &CudaStorage,
        at: &Layout,
        starts: &CudaStorage,
        starts_at: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        pad_sequences(self.length, (packed, at), (starts, starts_at))
    }
}
