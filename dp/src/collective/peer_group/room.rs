//! The memory in which ranks meet, as the kernels of [`collective`](crate::kernels::collective) take it.

use std::sync::Arc;

use tilewright_dsl::element::Element;
use tilewright_runtime::{DeviceTensor, PeerBuffer, TensorError, TensorViewMut};

use crate::collective::{CollectiveError, PeerArena, Peers};
use crate::kernels::collective::{HEAD, PLACES};
use crate::kernels::pieces::pitch;

/// Staging, which grows, and what never changes its place: heads, flags, and the counts of this rank's launches. So a graph
/// that captured a launch goes on counting whatever has grown since.
pub(super) struct Room {
    staging: PeerArena,
    heads: PeerBuffer,
    flags: PeerBuffer,
    epoch: DeviceTensor<u64, 1>,
    done: DeviceTensor<u32, 1>,
}

/// What a launch takes of it.
pub(super) struct Lent<'r, T: Element> {
    pub(super) staging: Vec<TensorViewMut<'r, T, 3>>,
    pub(super) heads: Vec<TensorViewMut<'r, u64, 3>>,
    pub(super) flags: Vec<TensorViewMut<'r, u32, 2>>,
    pub(super) epoch: &'r mut DeviceTensor<u64, 1>,
    pub(super) done: &'r mut DeviceTensor<u32, 1>,
}

impl Room {
    /// Without staging. All ranks have to call it.
    pub(super) fn new(peers: Arc<Peers>) -> Result<Self, CollectiveError> {
        let ranks = peers.size();
        let heads_bytes = 2 * ranks * PLACES * HEAD * size_of::<u64>();
        let flags_bytes = ranks * 2 * PLACES * size_of::<u32>();
        let device = peers.device();
        let counts = || Ok((device.zeros([1])?, device.zeros([PLACES])?));
        let (epoch, done) = peers.all_have(counts())?;
        let mut heads = peers.buffer(heads_bytes + flags_bytes)?;
        let flags = heads.split_off(heads_bytes)?;
        Ok(Self {
            staging: PeerArena::new(peers),
            heads,
            flags,
            epoch,
            done,
        })
    }

    /// Whether each half of staging has so many bytes.
    pub(super) fn holds(&self, half_bytes: usize) -> bool {
        self.staging.capacity() / 2 >= half_bytes.max(1)
    }

    /// Makes it so. All ranks have to call it.
    pub(super) fn reserve(&mut self, half_bytes: usize) -> Result<(), CollectiveError> {
        self.staging.reserve(half_bytes.max(1).saturating_mul(2)).map(drop)
    }

    pub(super) fn seal(&mut self) {
        self.staging.seal();
    }

    pub(super) fn capacity(&self) -> usize {
        self.staging.capacity()
    }

    /// For rows of so many columns.
    pub(super) fn lend<'r, T: Element>(&'r mut self, columns: u64) -> Result<Lent<'r, T>, CollectiveError> {
        let ranks = self.heads.ranks();
        let staging = self.staging.reserve(0)?;
        let (pitch, half) = (
            pitch(columns as usize, T::TYPE.size()),
            staging.bytes() / 2 / T::TYPE.size(),
        );
        // As many as there is memory for, whatever the rows of a launch, so that a list for rows of one length is always the same;
        // and the second half begins at one place for rows of any length: others may still be in the first.
        let rows = half / pitch.max(1);
        let cut = |halves: TensorViewMut<'r, T, 2>| halves.slice(1, ..rows * pitch)?.reshape([2, rows, pitch]);
        let halves = staging.tensors_mut::<T, 2>(0, [2, half])?;
        Ok(Lent {
            staging: halves.into_iter().map(cut).collect::<Result<_, _>>()?,
            heads: self.heads.tensors_mut(0, [2, ranks * PLACES, HEAD])?,
            flags: self.flags.tensors_mut(0, [ranks, 2 * PLACES])?,
            epoch: &mut self.epoch,
            done: &mut self.done,
        })
    }

    /// Whether every launch so far came to its end, of those that the device has been waited for.
    pub(super) fn is_whole(&self) -> Result<bool, TensorError> {
        let begun = self.epoch.download()?[0] >> u32::BITS;
        Ok(self.done.download()?.iter().all(|&done| u64::from(done) == begun))
    }

    /// As if there had been so many launches, on all ranks.
    #[cfg(test)]
    pub(super) fn set_epoch(&mut self, epoch: u32) -> Result<(), TensorError> {
        let (rank, ranks) = (self.flags.rank(), self.flags.ranks());
        let mut flags = self.flags.tensor_mut::<u32, 1>(rank, 0, [ranks * 2 * PLACES])?;
        flags.copy_from(&vec![epoch; ranks * 2 * PLACES])?;
        self.done.copy_from(&[epoch; PLACES])?;
        self.epoch.copy_from(&[u64::from(epoch) << u32::BITS])
    }

    #[cfg(test)]
    pub(super) fn epoch(&self) -> Result<u64, TensorError> {
        Ok(self.epoch.download()?[0] >> u32::BITS)
    }
}
