//! What communicators do, of addresses and counts.

#![allow(unsafe_code)]

use std::ops::Range;
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
    pub fn of(bytes: impl IntoIterator<Item = u64>) -> Self {
        match bytes.into_iter().fold(0, u64::saturating_add) {
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

    /// Brings the bytes of each rank's part to all ranks, in place: `parts` are where they lie from `address` on. `unequal` is how,
    /// if they are not equal or do not follow each other.
    ///
    /// # Safety
    /// As for [`all_reduce`](Self::all_reduce); there are as many parts as ranks, no two share a byte, and every rank says the same
    /// way.
    pub unsafe fn all_gather(
        self: &Arc<Self>,
        stream: &CudaStream,
        address: u64,
        parts: &[Range<u64>],
        unequal: UnequalGather,
    ) -> Result<(), NcclError> {
        let places = places(address, parts, 1);
        let ty = ncclDataType_t::ncclUint8;
        let queue = stream.raw().cast();
        let Some(&(mine, own)) = places.get(self.rank) else {
            return Ok(());
        };
        if are_equal_in_a_row(parts) {
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

    /// Adds up each rank's part on that rank, in place; `parts` are the elements of each, from `address` on.
    ///
    /// # Safety
    /// As for [`all_reduce`](Self::all_reduce); there are as many parts as ranks, and no two share an element.
    pub unsafe fn reduce_scatter(
        self: &Arc<Self>,
        stream: &CudaStream,
        address: u64,
        parts: &[Range<u64>],
        element: ElementType,
    ) -> Result<(), NcclError> {
        let places = places(address, parts, element.size() as u64);
        let (ty, sum) = (sum_type(element)?, ncclRedOp_t::ncclSum);
        let queue = stream.raw().cast();
        let Some(&(mine, own)) = places.get(self.rank) else {
            return Ok(());
        };
        if are_equal_in_a_row(parts) {
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

/// The address of each part, and its elements.
fn places(address: u64, parts: &[Range<u64>], element_bytes: u64) -> Vec<(u64, usize)> {
    let place = |part: &Range<u64>| (address + part.start * element_bytes, (part.end - part.start) as usize);
    parts.iter().map(place).collect()
}

/// Whether parts are as NCCL's own collectives have them: as long as each other, one after the other from the first element on.
fn are_equal_in_a_row(parts: &[Range<u64>]) -> bool {
    let length = parts.first().map_or(0, |part| part.end - part.start);
    let in_a_row = (0..).map(|rank| rank * length..(rank + 1) * length);
    parts.iter().zip(in_a_row).all(|(part, expected)| *part == expected)
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
    fn parts_lie_where_they_begin() {
        assert_eq!(places(100, &[0..3, 3..3, 7..12], 4), [(100, 3), (112, 0), (128, 5)]);
        assert_eq!(places(100, &[], 4), []);
    }

    #[test]
    fn only_equal_parts_in_a_row_are_for_nccls_own_collectives() {
        for parts in [&[][..], &[0..3, 3..6, 6..9], &[0..0, 0..0]] {
            assert!(are_equal_in_a_row(parts), "{parts:?}");
        }
        for parts in [&[1..4, 4..7][..], &[0..3, 4..7], &[0..3, 3..5], &[3..6, 0..3]] {
            assert!(!are_equal_in_a_row(parts), "{parts:?}");
        }
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
            assert_eq!(UnequalGather::of(bytes.iter().copied()), way, "{bytes:?}");
        }
    }
}
