//! Kernels over memory of several ranks, called by one of them.

use float8::F8E4M3;
use tilewright_dsl::call::{Exact, OfRank};
use tilewright_dsl::element::{Element, Number};
use tilewright_runtime::{DeviceTensor, PeerBuffer, PeerMemory, TensorError};

use super::{Act, Done, Sample};
use crate::kernels;
use crate::kernels::collective::{self, HEAD};
use crate::kernels::peers::{self, Cut};
use crate::kernels::quantize::GROUP;

/// How long a rank is waited for.
const LIMIT_NS: u64 = 10_000_000_000;

/// The half of the memory that is filled.
const HALF: Exact = Exact(1);

/// Memory of all ranks, so much of each, as the sample's rank has it.
fn memory(sample: &Sample<'_>, extents: &[usize], bytes: usize) -> Result<PeerBuffer, TensorError> {
    let bytes = extents.iter().fold(bytes, |all, extent| all.saturating_mul(*extent));
    let memory = (0..sample.shapes.ranks).map(|_| PeerMemory::new(sample.device, bytes));
    let memory = memory.collect::<Result<Vec<_>, _>>()?;
    PeerBuffer::new(sample.device, sample.shapes.rank, &memory)
}

/// Rows of all ranks.
fn all_rows(sample: &Sample<'_>) -> usize {
    sample.shapes.rows.saturating_mul(sample.shapes.ranks)
}

/// Where what is padded ends.
fn end(sample: &Sample<'_>) -> Exact {
    Exact(all_rows(sample) as u64)
}

fn place(sample: &Sample<'_>) -> Exact {
    Exact(sample.shapes.rows as u64)
}

/// How the rows of a rank are cut.
fn cut<T: Element>(sample: &Sample<'_>) -> Cut {
    Cut::of(sample.shapes.rows as u64, sample.shapes.hidden, T::TYPE.size())
}

pub(super) fn push_gather<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (rank, ranks, cut) = (sample.shapes.rank, sample.shapes.ranks, cut::<T>(sample));
    let (extents, places) = ([2, all_rows(sample), sample.shapes.hidden], [ranks, 2 * peers::PLACES]);
    let mut buffers = memory(sample, &extents, T::TYPE.size())?;
    let mut flags = memory(sample, &places, size_of::<u32>())?;
    let (mut epoch, mut state, mut report) = (sample.list(1)?, sample.list(peers::PLACES)?, sample.list(2)?);
    act(kernels::push_gather::<T>(
        OfRank(rank, &mut buffers.tensors_mut::<T, 3>(0, extents)?),
        OfRank(rank, &mut flags.tensors_mut::<u32, 2>(0, places)?),
        &mut epoch,
        &mut state,
        &mut report,
        &sample.local()?,
        Exact(0),
        sample.start(),
        sample.tokens(),
        place(sample),
        end(sample),
        end(sample),
        HALF,
        Exact(cut.places),
        LIMIT_NS,
        cut.piece,
        true,
    ));
    Ok(())
}

pub(super) fn await_gather(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let places = [sample.shapes.ranks, 2 * peers::PLACES];
    let flags = memory(sample, &places, size_of::<u32>())?;
    let (epoch, mut state) = (sample.list(1)?, sample.list(peers::PLACES)?);
    act(kernels::await_gather(
        OfRank(sample.shapes.rank, &flags.tensors::<u32, 2>(0, places)?),
        &epoch,
        &mut state,
        HALF,
        Exact(1),
        LIMIT_NS,
    ));
    Ok(())
}

pub(super) fn push_own_rows<T: Element>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (rank, ranks, cut) = (sample.shapes.rank, sample.shapes.ranks, cut::<T>(sample));
    let (extents, places) = ([2, all_rows(sample), sample.shapes.hidden], [ranks, 2 * peers::PLACES]);
    let mut buffers = memory(sample, &extents, T::TYPE.size())?;
    let mut flags = memory(sample, &places, size_of::<u32>())?;
    let (mut epoch, mut state) = (sample.list(1)?, sample.list(peers::PLACES)?);
    act(kernels::push_own_rows::<T>(
        OfRank(rank, &mut buffers.tensors_mut::<T, 3>(0, extents)?),
        OfRank(rank, &mut flags.tensors_mut::<u32, 2>(0, places)?),
        &mut epoch,
        &mut state,
        sample.start(),
        place(sample),
        end(sample),
        end(sample),
        HALF,
        Exact(cut.places),
        LIMIT_NS,
        cut.piece,
    ));
    Ok(())
}

pub(super) fn push_quantized<T: Number>(sample: &Sample<'_>, act: Act<'_>) -> Done {
    let (rank, ranks, hidden) = (sample.shapes.rank, sample.shapes.ranks, sample.shapes.hidden);
    sample.check_groups(GROUP)?;
    let (rows, places) = (all_rows(sample), [ranks, 2 * peers::PLACES]);
    let (extents, groups) = ([2, rows, hidden], [2, rows, hidden / GROUP]);
    let mut payloads = memory(sample, &extents, size_of::<F8E4M3>())?;
    let mut scales = memory(sample, &groups, size_of::<f32>())?;
    let mut flags = memory(sample, &places, size_of::<u32>())?;
    let (mut epoch, mut state, mut report) = (sample.list(1)?, sample.list(peers::PLACES)?, sample.list(2)?);
    act(kernels::push_quantized(
        OfRank(rank, &mut payloads.tensors_mut::<F8E4M3, 3>(0, extents)?),
        OfRank(rank, &mut scales.tensors_mut::<f32, 3>(0, groups)?),
        OfRank(rank, &mut flags.tensors_mut::<u32, 2>(0, places)?),
        &mut epoch,
        &mut state,
        &mut report,
        &sample.local::<T>()?,
        Exact(0),
        sample.start(),
        sample.tokens(),
        place(sample),
        end(sample),
        end(sample),
        HALF,
        Exact(cut::<T>(sample).places),
        LIMIT_NS,
    ));
    Ok(())
}

/// What ranks meet by in collectives.
struct Meeting {
    staging: PeerBuffer,
    heads: PeerBuffer,
    flags: PeerBuffer,
    epoch: DeviceTensor<u64, 1>,
    done: DeviceTensor<u32, 1>,
}

/// The kernel of a collective, called with what it meets by, its rows, its places and its piece.
macro_rules! collective {
    ($name:ident, <$($parameter:ident: $bound:ident),*>, <$($given:ty),*>, $rows:expr, |$sample:ident| ($($counts:expr),*)) => {
        pub(super) fn $name<$($parameter: $bound),*>($sample: &Sample<'_>, act: Act<'_>) -> Done {
            let shapes = $sample.shapes;
            let (rank, ranks) = (shapes.rank, shapes.ranks);
            let pitch = kernels::pieces::pitch(shapes.hidden, T::TYPE.size());
            let rows = all_rows($sample).saturating_add(ranks);
            let staged = [2, rows, pitch];
            let (heads, flags) = ([2, ranks * collective::PLACES, HEAD], [ranks, 2 * collective::PLACES]);
            let mut meeting = Meeting {
                staging: memory($sample, &staged, T::TYPE.size())?,
                heads: memory($sample, &heads, size_of::<u64>())?,
                flags: memory($sample, &flags, size_of::<u32>())?,
                epoch: $sample.list(1)?,
                done: $sample.list(collective::PLACES)?,
            };
            let cut = Cut::of(shapes.rows as u64, shapes.hidden, T::TYPE.size());
            let places = Exact(cut.places.min(collective::PLACES as u64));
            let mut buffer = $sample.states::<T>($rows($sample))?;
            act(kernels::collective::$name::<$($given),*>(
                &mut buffer,
                OfRank(rank, &mut meeting.staging.tensors_mut::<T, 3>(0, staged)?),
                OfRank(rank, &mut meeting.heads.tensors_mut::<u64, 3>(0, heads)?),
                OfRank(rank, &mut meeting.flags.tensors_mut::<u32, 2>(0, flags)?),
                &mut meeting.epoch,
                &mut meeting.done,
                $($counts,)*
                places,
                1,
                LIMIT_NS,
                cut.piece,
            ));
            Ok(())
        }
    };
}

/// Rows of one rank.
fn own_rows(sample: &Sample<'_>) -> usize {
    sample.shapes.rows
}

collective!(gather_parts, <T: Element>, <T>, all_rows, |sample| (sample.start(), sample.tokens()));
collective!(sum_parts, <T: Number>, <T, f32>, all_rows, |sample| (sample.start(), sample.tokens(), end(sample)));
collective!(sum_all, <T: Number>, <T, f32>, own_rows, |sample| ());
collective!(sum_all_in_shares, <T: Number>, <T, f32>, own_rows, |sample| ());
