//! Tensors in memory that the devices of several ranks reach.

use std::fmt;
use std::os::fd::OwnedFd;

use tilewright_dsl::element::Element;

use super::geometry::Geometry;
use super::memory::TensorMemory;
use super::{Hold, TensorView, TensorViewMut};
use crate::device::Device;
use crate::error::{DeviceError, TensorError};
use crate::hardware::cuda::Reach;
use crate::hardware::memory::{SharedMemory, Storage};

/// Memory of one rank that its peers reach, of the rank's device: what ranks give each other before each makes a [`PeerBuffer`]
/// of all of it. Clones are the same memory.
///
/// Ranks of one process give each other clones. Another process imports the [file](Self::file), once it has received it over a
/// Unix socket. The memory lives until nobody uses it, in whatever process, so that a rank which leaves or dies takes nothing
/// from under its peers.
#[derive(Clone)]
pub struct PeerMemory(SharedMemory);

impl PeerMemory {
    /// At least `bytes` that hold zeros, rounded up to what the device shares memory by: 2 MiB as a rule on a GPU, pages of the
    /// host on the CPU device.
    ///
    /// # Errors
    /// The device has no room or cannot share its memory, or a graph is being captured.
    pub fn new(device: &Device, bytes: usize) -> Result<Self, DeviceError> {
        Ok(Self(SharedMemory::new(device.hardware(), bytes)?))
    }

    /// Memory of a rank in another process, for a device of this one, by its file and its [length](Self::bytes).
    ///
    /// # Errors
    /// The file is of no such memory, or of less; or the device does not reach it.
    pub fn import(device: &Device, file: OwnedFd, bytes: usize) -> Result<Self, DeviceError> {
        Ok(Self(SharedMemory::import(device.hardware(), file, bytes)?))
    }

    /// What another process imports the memory by: a new file, which closes when a program is executed.
    ///
    /// # Errors
    /// The driver gives out no such files here, or the process has too many.
    pub fn file(&self) -> Result<OwnedFd, DeviceError> {
        self.0.file()
    }

    /// Its length.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for PeerMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerMemory({} bytes)", self.bytes())
    }
}

/// One rank's mapping of the memory of all ranks: tensors in it are arguments of kernels on the rank's device like any other,
/// whichever rank's memory they are in.
///
/// What this rank's streams are asked to do with it is ordered as for any tensor. **What peers do is not**: neither streams nor
/// [`Device::synchronize`] wait for them, and an element may change while a kernel reads it. Kernels order what they exchange by
/// what they store and wait for, with the scope of the system, or the host does once all have synchronised. No order is needed
/// for the memory itself, which every graph that captured a launch over it and every rank's buffer keeps.
///
/// ```
/// use tilewright_runtime::{Device, PeerBuffer, PeerMemory};
///
/// // Two ranks of one process.
/// let devices = [Device::cpu(), Device::cpu()];
/// let memory = [PeerMemory::new(&devices[0], 64)?, PeerMemory::new(&devices[1], 64)?];
/// let mut first = PeerBuffer::new(&devices[0], 0, &memory)?;
/// let second = PeerBuffer::new(&devices[1], 1, &memory)?;
/// // The first stores into the memory of the second.
/// first.tensor_mut::<u32, 1>(1, 8, [2])?.copy_from(&[5, 6])?;
/// assert_eq!(second.tensor::<u32, 1>(1, 0, [5])?.download()?, [0, 0, 5, 6, 0]);
/// # Ok::<(), tilewright_runtime::TensorError>(())
/// ```
pub struct PeerBuffer {
    rank: usize,
    /// Of each rank.
    parts: Vec<TensorMemory>,
    /// Where this begins in each.
    start: usize,
    bytes: usize,
}

impl PeerBuffer {
    /// The mapping that rank `rank` has, whose device this is, of the memory of each rank, in their order. It is as long as the
    /// shortest.
    ///
    /// # Errors
    /// There is no such rank, or the device does not reach some of the memory.
    pub fn new(device: &Device, rank: usize, memory: &[PeerMemory]) -> Result<Self, TensorError> {
        check_rank(rank, memory.len())?;
        let part = |memory: &PeerMemory| {
            Ok(TensorMemory {
                storage: Storage::shared(device.hardware(), &memory.0)?,
                device: device.clone(),
            })
        };
        Ok(Self {
            rank,
            parts: memory.iter().map(part).collect::<Result<_, DeviceError>>()?,
            start: 0,
            bytes: memory.iter().map(PeerMemory::bytes).min().unwrap_or(0),
        })
    }

    /// Whose mapping it is, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of ranks.
    pub fn ranks(&self) -> usize {
        self.parts.len()
    }

    /// The bytes of each rank's memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The device that uses the mapping: this rank's.
    pub fn device(&self) -> &Device {
        &self.parts[self.rank].device
    }

    /// Divides it: the bytes of each rank from `at` on are another buffer, as rows are beside the flags that tell of them.
    ///
    /// # Errors
    /// There are fewer.
    pub fn split_off(&mut self, at: usize) -> Result<Self, TensorError> {
        let rest = self.bytes.checked_sub(at).ok_or_else(|| TensorError::NotWithin {
            extents: vec![at],
            strides: vec![1],
            bytes: self.bytes as u64,
        })?;
        self.bytes = at;
        Ok(Self {
            rank: self.rank,
            parts: self.parts.clone(),
            start: self.start + at,
            bytes: rest,
        })
    }

    /// A tensor without gaps in the memory of a rank, from byte `offset` of this buffer on.
    ///
    /// # Errors
    /// There is no such rank, the tensor is not within the buffer, or an element would not be at a multiple of its size.
    pub fn tensor<T: Element, const R: usize>(
        &self,
        rank: usize,
        offset: usize,
        extents: [usize; R],
    ) -> Result<TensorView<'_, T, R>, TensorError> {
        check_rank(rank, self.ranks())?;
        Ok(TensorView::new(
            &self.parts[rank],
            self.geometry::<T, R>(offset, extents)?,
        ))
    }

    /// As [`tensor`](Self::tensor), to be written.
    ///
    /// # Errors
    /// As there.
    pub fn tensor_mut<T: Element, const R: usize>(
        &mut self,
        rank: usize,
        offset: usize,
        extents: [usize; R],
    ) -> Result<TensorViewMut<'_, T, R>, TensorError> {
        check_rank(rank, self.ranks())?;
        let geometry = self.geometry::<T, R>(offset, extents)?;
        Ok(TensorViewMut::new(&self.parts[rank], geometry))
    }

    /// The same tensor in the memory of each rank, in their order: what a kernel takes as a list.
    ///
    /// # Errors
    /// As for [`tensor`](Self::tensor).
    pub fn tensors<T: Element, const R: usize>(
        &self,
        offset: usize,
        extents: [usize; R],
    ) -> Result<Vec<TensorView<'_, T, R>>, TensorError> {
        let geometry = self.geometry::<T, R>(offset, extents)?;
        let view = |memory| TensorView::new(memory, geometry);
        Ok(self.parts.iter().map(view).collect())
    }

    /// As [`tensors`](Self::tensors), to be written.
    ///
    /// # Errors
    /// As there.
    pub fn tensors_mut<T: Element, const R: usize>(
        &mut self,
        offset: usize,
        extents: [usize; R],
    ) -> Result<Vec<TensorViewMut<'_, T, R>>, TensorError> {
        let geometry = self.geometry::<T, R>(offset, extents)?;
        let view = |memory| TensorViewMut::new(memory, geometry);
        Ok(self.parts.iter().map(view).collect())
    }

    /// What keeps the mapping of each rank's memory when the buffer is dropped: for a captured graph that owns nothing of what its
    /// work uses.
    pub fn hold(&self) -> Vec<Hold> {
        self.parts.iter().map(Hold::of).collect()
    }

    fn geometry<T: Element, const R: usize>(
        &self,
        offset: usize,
        extents: [usize; R],
    ) -> Result<Geometry<R>, TensorError> {
        let size = T::TYPE.size();
        let geometry = Geometry::contiguous(extents, size)?;
        let bytes = geometry.len() * size;
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err(TensorError::NotWithin {
                extents: extents.to_vec(),
                strides: geometry.strides.to_vec(),
                bytes: self.bytes.saturating_sub(offset) as u64,
            });
        }
        let at = self.start + offset;
        if !at.is_multiple_of(size) {
            return Err(TensorError::Misaligned {
                address: at as u64,
                element_bytes: size,
            });
        }
        Ok(Geometry {
            offset: at / size,
            ..geometry
        })
    }
}

impl fmt::Debug for PeerBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, ranks) = (self.bytes, self.ranks());
        write!(
            f,
            "PeerBuffer({bytes} bytes of each of {ranks} ranks, on {} of rank {})",
            self.device(),
            self.rank
        )
    }
}

/// Whether every one of these devices reaches the memory of every other one, so that a [`PeerBuffer`] of them can be.
///
/// # Errors
/// One does not, and the error names the first pair; or some are GPUs and others are not.
pub fn peers_reach(devices: &[Device]) -> Result<(), DeviceError> {
    let pairs = devices.iter().flat_map(|from| devices.iter().map(move |to| (from, to)));
    for (from, to) in pairs {
        match (from.as_cuda(), to.as_cuda()) {
            (Some(from), Some(to)) => Reach::check(from.ordinal(), to.ordinal())?,
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => return Err(DeviceError::MixedPeers),
        }
    }
    Ok(())
}

fn check_rank(rank: usize, ranks: usize) -> Result<(), TensorError> {
    match rank < ranks {
        true => Ok(()),
        false => Err(TensorError::NoSuchRank { rank, ranks }),
    }
}
