//! What communicators do, of addresses and counts.

#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::nccl::sys::{ncclComm_t, ncclDataType_t, ncclRedOp_t};
use tilewright_dsl::element::ElementType;

use super::super::CudaStream;
use super::library::{Code, EntryPoints, IN_PROGRESS, SUCCESS};
use super::{CudaCommunicator, NcclError};

/// From so many bytes of all parts together on, unequal parts are broadcast.
const BROADCAST_FROM: u64 = 4 << 20;

/// How parts that are not equal are gathered. NCCL has no collective for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnequalGather {
    /// Every rank sends its part to each other, all at once: the fewest steps.
    Sends,
    /// Every rank's part goes around, all at once: the most bytes a second.
    Broadcasts,
}

impl UnequalGather {
    /// The way for parts of so many bytes: that depends on nothing but their sum, so all ranks take the same.
    pub fn of(bytes: &[u64]) -> Self {
        match bytes.iter().fold(0u64, |sum, &part| sum.saturating_add(part)) {
            BROADCAST_FROM.. => Self::Broadcasts,
            _ => Self::Sends,
        }
    }
}

impl CudaCommunicator {
    /// Adds up `count` elements of all ranks, in place.
    ///
    /// # Safety
    /// The elements lie at `address` in an allocation of the device that is alive until the stream has done it, and every
    /// rank asks for as many of the same type.
    pub unsafe fn all_reduce(
        self: &Arc<Self>,
        stream: &CudaStream,
        address: u64,
        count: u64,
        element: ElementType,
    ) -> Result<(), NcclError> {
        let ty = sum_type(element)?;
        self.call("ncclAllReduce", stream, |nccl, comm| {
            let (at, sum, count) = (address as *mut _, ncclRedOp_t::ncclSum, count as usize);
            // SAFETY: as the caller promises; the communicator and the stream are alive.
            unsafe { (nccl.ncclAllReduce)(at, at, count, ty, sum, comm, stream.raw().cast()) }
        })
    }

    /// Brings the bytes of each rank's part to all ranks, in place: parts lie one after the other from `address` on. `unequal`
    /// is how, if they are not equal.
    ///
    /// # Safety
    /// As for [`all_reduce`](Self::all_reduce); there are as many parts as ranks, and every rank says the same way.
    pub unsafe fn all_gather(
        self: &Arc<Self>,
        stream: &CudaStream,
        address: u64,
        bytes: &[u64],
        unequal: UnequalGather,
    ) -> Result<(), NcclError> {
        let places = places(address, bytes, 1);
        let ty = ncclDataType_t::ncclUint8;
        let queue = stream.raw().cast();
        let Some(&(mine, own)) = places.get(self.rank) else {
            return Ok(());
        };
        if bytes.iter().all(|&other| other == bytes[0]) {
            return self.call("ncclAllGather", stream, |nccl, comm| {
                // SAFETY: as the caller promises; a rank's own part is where an all-gather in place wants it.
                unsafe { (nccl.ncclAllGather)(mine as *const _, address as *mut _, own, ty, comm, queue) }
            });
        }
        let parts = || places.iter().enumerate().filter(|(_, place)| place.1 > 0);
        match unequal {
            UnequalGather::Broadcasts => self.group("ncclBroadcast", stream, |nccl, comm| {
                for (root, &(at, bytes)) in parts() {
                    let (at, root) = (at as *mut _, as_int(root));
                    // SAFETY: as the caller promises; the root sends from where it would receive.
                    accepted(unsafe { (nccl.ncclBroadcast)(at, at, bytes, ty, root, comm, queue) })?;
                }
                Ok(())
            }),
            UnequalGather::Sends => self.group("ncclSend and ncclRecv", stream, |nccl, comm| {
                for peer in (0..places.len()).filter(|&peer| own > 0 && peer != self.rank) {
                    // SAFETY: as the caller promises.
                    accepted(unsafe { (nccl.ncclSend)(mine as *const _, own, ty, as_int(peer), comm, queue) })?;
                }
                for (peer, &(at, bytes)) in parts().filter(|&(peer, _)| peer != self.rank) {
                    // SAFETY: as the caller promises; the parts of other ranks are not this rank's.
                    accepted(unsafe { (nccl.ncclRecv)(at as *mut _, bytes, ty, as_int(peer), comm, queue) })?;
                }
                Ok(())
            }),
        }
    }

    /// Adds up each rank's part on that rank, in place; `counts` are the elements of each part.
    ///
    /// # Safety
    /// As for [`all_reduce`](Self::all_reduce); there are as many parts as ranks.
    pub unsafe fn reduce_scatter(
        self: &Arc<Self>,
        stream: &CudaStream,
        address: u64,
        counts: &[u64],
        element: ElementType,
    ) -> Result<(), NcclError> {
        let places = places(address, counts, element.size() as u64);
        let (ty, sum) = (sum_type(element)?, ncclRedOp_t::ncclSum);
        let queue = stream.raw().cast();
        let Some(&(mine, own)) = places.get(self.rank) else {
            return Ok(());
        };
        if counts.iter().all(|&other| other == counts[0]) {
            return self.call("ncclReduceScatter", stream, |nccl, comm| {
                // SAFETY: as the caller promises; a rank's own part is where a reduce-scatter in place wants it.
                unsafe { (nccl.ncclReduceScatter)(address as *const _, mine as *mut _, own, ty, sum, comm, queue) }
            });
        }
        self.group("ncclReduce", stream, |nccl, comm| {
            for (root, &(at, count)) in places.iter().enumerate().filter(|(_, place)| place.1 > 0) {
                let (at, root) = (at as *mut _, as_int(root));
                // SAFETY: as the caller promises.
                accepted(unsafe { (nccl.ncclReduce)(at, at, count, ty, sum, root, comm, queue) })?;
            }
            Ok(())
        })
    }

    /// Asks for several things at once.
    fn group(
        self: &Arc<Self>,
        call: &'static str,
        stream: &CudaStream,
        ask: impl FnOnce(&EntryPoints, ncclComm_t) -> Result<(), Code>,
    ) -> Result<(), NcclError> {
        self.call(call, stream, |nccl, comm| {
            // SAFETY: a group has no precondition, and is ended whatever happens within.
            let begun = accepted(unsafe { (nccl.ncclGroupStart)() });
            let asked = begun.and_then(|()| ask(nccl, comm));
            // SAFETY: as above.
            let ended = unsafe { (nccl.ncclGroupEnd)() };
            asked.err().unwrap_or(ended)
        })
    }
}

/// Where each part begins, and its elements.
fn places(address: u64, counts: &[u64], element_bytes: u64) -> Vec<(u64, usize)> {
    let begin = |at: &mut u64, &count: &u64| {
        let place = (*at, count as usize);
        *at += count * element_bytes;
        Some(place)
    };
    counts.iter().scan(address, begin).collect()
}

pub(super) fn as_int(number: usize) -> std::ffi::c_int {
    std::ffi::c_int::try_from(number).unwrap_or(std::ffi::c_int::MAX)
}

fn sum_type(element: ElementType) -> Result<ncclDataType_t, NcclError> {
    Ok(match element {
        ElementType::I8 => ncclDataType_t::ncclInt8,
        ElementType::U8 => ncclDataType_t::ncclUint8,
        ElementType::I32 => ncclDataType_t::ncclInt32,
        ElementType::U32 => ncclDataType_t::ncclUint32,
        ElementType::I64 => ncclDataType_t::ncclInt64,
        ElementType::U64 => ncclDataType_t::ncclUint64,
        ElementType::F16 => ncclDataType_t::ncclFloat16,
        ElementType::BF16 => ncclDataType_t::ncclBfloat16,
        ElementType::F32 => ncclDataType_t::ncclFloat32,
        ElementType::F64 => ncclDataType_t::ncclFloat64,
        _ => return Err(NcclError::NoSum { element }),
    })
}

/// A call within a group, which is taken when the group ends.
fn accepted(result: Code) -> Result<(), Code> {
    match result {
        SUCCESS | IN_PROGRESS => Ok(()),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_one_after_the_other() {
        assert_eq!(places(100, &[3, 0, 5], 4), [(100, 3), (112, 0), (112, 5)]);
        assert_eq!(places(100, &[], 4), []);
    }

    #[test]
    fn large_parts_are_broadcast_whatever_their_sum_is_made_of() {
        let most = BROADCAST_FROM;
        for (bytes, way) in [
            (&[][..], UnequalGather::Sends),
            (&[most - 1, 0], UnequalGather::Sends),
            (&[0, most], UnequalGather::Broadcasts),
            (&[most / 2, most / 2 + 1], UnequalGather::Broadcasts),
            (&[u64::MAX, u64::MAX], UnequalGather::Broadcasts),
        ] {
            assert_eq!(UnequalGather::of(bytes), way, "{bytes:?}");
        }
    }
}
