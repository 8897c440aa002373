//! Collectives between GPUs, through NCCL: a thin layer that knows addresses and counts.
//!
//! Communicators do not block: a call that waits for other ranks is asked again and again until it is done or its time is
//! over, and then the communicator is given up, so that a rank that died is an error and no hang.

#![allow(unsafe_code)]

mod error;
mod library;

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use std::{sync::mpsc, thread};

use cudarc::nccl::sys::{ncclComm_t, ncclConfig_t, ncclDataType_t, ncclRedOp_t, ncclUniqueId};
use parking_lot::Mutex;
use tilewright_dsl::element::ElementType;

use super::{CudaDevice, CudaEvent, CudaStream};
use crate::behind::ENDINGS;
use crate::deadline::Deadline;
use library::{Code, EntryPoints, IN_PROGRESS, SUCCESS};

pub use error::NcclError;
pub use library::Nccl;

/// How long to leave NCCL alone before asking again.
const PAUSE: Duration = Duration::from_micros(50);

/// What tells NCCL that a configuration is one, and that a field of it was not set (nccl.h).
const MAGIC: u32 = 0xcafe_beef;
const UNSET: i32 = i32::MIN;
/// The version of the header that cudarc's bindings are of: 2.30.
const HEADER: u32 = 23000;

/// What all ranks of a communicator have in common: made by one, told to the others.
pub type NcclId = [u8; 128];

/// One rank of a group of GPUs.
pub struct CudaCommunicator {
    nccl: &'static EntryPoints,
    /// `None` once it was given up.
    handle: Mutex<Option<Handle>>,
    /// Whether a graph was given work of it, and may be there still.
    is_captured: AtomicBool,
    device: CudaDevice,
    stream: CudaStream,
    rank: usize,
    size: usize,
    limit: Duration,
}

struct Handle(ncclComm_t);

// SAFETY: a communicator may be used from any thread, one at a time, which the mutex around it sees to.
unsafe impl Send for Handle {}

impl CudaCommunicator {
    /// A new group's name.
    pub fn new_id() -> Result<NcclId, NcclError> {
        let nccl = &Nccl::load()?.entry;
        let mut id = MaybeUninit::uninit();
        // SAFETY: it points to an id, which is written if the call succeeds.
        let id = unsafe {
            done(nccl, "ncclGetUniqueId", (nccl.ncclGetUniqueId)(id.as_mut_ptr()))?;
            id.assume_init()
        };
        Ok(id.internal.map(|byte| byte as u8))
    }

    /// Joins a group of `size` ranks, and waits until all have joined or `limit` is over. Its work goes into `stream`.
    pub fn join(
        device: &CudaDevice,
        stream: &CudaStream,
        id: &NcclId,
        rank: usize,
        size: usize,
        limit: Duration,
    ) -> Result<Self, NcclError> {
        let nccl = &Nccl::load()?.entry;
        device.bind()?;
        let id = ncclUniqueId {
            internal: id.map(|byte| byte as std::ffi::c_char),
        };
        let (ranks, number) = (as_int(size), as_int(rank));
        let mut config = configuration();
        let mut comm = std::ptr::null_mut();
        // SAFETY: the pointers are to a communicator and a configuration, which NCCL has copied when the call returns.
        let asked = unsafe { (nccl.ncclCommInitRankConfig)(&mut comm, ranks, id, number, &mut config) };
        if !matches!(asked, SUCCESS | IN_PROGRESS) {
            return Err(failed(nccl, "ncclCommInitRankConfig", asked));
        }
        let joined = Self {
            nccl,
            handle: Mutex::new(Some(Handle(comm))),
            is_captured: AtomicBool::new(false),
            device: device.clone(),
            stream: stream.clone(),
            rank,
            size,
            limit,
        };
        joined.call("ncclCommInitRankConfig", |_| asked)?;
        Ok(joined)
    }

    /// This rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The stream that the work goes into.
    pub fn stream(&self) -> &CudaStream {
        &self.stream
    }

    /// Adds up `count` elements of all ranks, in place.
    ///
    /// # Safety
    /// The elements lie at `address` in an allocation of the device that is alive until the stream has done it, and every
    /// rank asks for as many of the same type.
    pub unsafe fn all_reduce(&self, address: u64, count: u64, element: ElementType) -> Result<(), NcclError> {
        let ty = sum_type(element)?;
        self.call("ncclAllReduce", |comm| {
            let (at, sum, count) = (address as *mut _, ncclRedOp_t::ncclSum, count as usize);
            // SAFETY: as the caller promises; the communicator and the stream are alive.
            unsafe { (self.nccl.ncclAllReduce)(at, at, count, ty, sum, comm, self.stream.raw().cast()) }
        })
    }

    /// Brings the bytes of each rank's part to all ranks, in place: parts lie one after the other from `address` on.
    ///
    /// # Safety
    /// As for [`all_reduce`](Self::all_reduce); there are as many parts as ranks.
    pub unsafe fn all_gather(&self, address: u64, bytes: &[u64]) -> Result<(), NcclError> {
        let places = places(address, bytes, 1);
        let ty = ncclDataType_t::ncclUint8;
        let stream = self.stream.raw().cast();
        let Some(&(mine, own)) = places.get(self.rank) else {
            return Ok(());
        };
        if bytes.iter().all(|&other| other == bytes[0]) {
            return self.call("ncclAllGather", |comm| {
                // SAFETY: as the caller promises; a rank's own part is where an all-gather in place wants it.
                unsafe { (self.nccl.ncclAllGather)(mine as *const _, address as *mut _, own, ty, comm, stream) }
            });
        }
        self.group("ncclSend and ncclRecv", |comm| {
            for (peer, &(at, bytes)) in places.iter().enumerate().filter(|&(peer, _)| peer != self.rank) {
                let peer = as_int(peer);
                if own > 0 {
                    // SAFETY: as the caller promises.
                    accepted(unsafe { (self.nccl.ncclSend)(mine as *const _, own, ty, peer, comm, stream) })?;
                }
                if bytes > 0 {
                    // SAFETY: as the caller promises; the parts of other ranks are not this rank's.
                    accepted(unsafe { (self.nccl.ncclRecv)(at as *mut _, bytes, ty, peer, comm, stream) })?;
                }
            }
            Ok(())
        })
    }

    /// Adds up each rank's part on that rank, in place; `counts` are the elements of each part.
    ///
    /// # Safety
    /// As for [`all_gather`](Self::all_gather).
    pub unsafe fn reduce_scatter(&self, address: u64, counts: &[u64], element: ElementType) -> Result<(), NcclError> {
        let places = places(address, counts, element.size() as u64);
        let (ty, sum) = (sum_type(element)?, ncclRedOp_t::ncclSum);
        let stream = self.stream.raw().cast();
        let Some(&(mine, own)) = places.get(self.rank) else {
            return Ok(());
        };
        if counts.iter().all(|&other| other == counts[0]) {
            return self.call("ncclReduceScatter", |comm| {
                // SAFETY: as the caller promises; a rank's own part is where a reduce-scatter in place wants it.
                unsafe {
                    (self.nccl.ncclReduceScatter)(address as *const _, mine as *mut _, own, ty, sum, comm, stream)
                }
            });
        }
        self.group("ncclReduce", |comm| {
            for (root, &(at, count)) in places.iter().enumerate().filter(|(_, place)| place.1 > 0) {
                let (at, root) = (at as *mut _, as_int(root));
                // SAFETY: as the caller promises.
                accepted(unsafe { (self.nccl.ncclReduce)(at, at, count, ty, sum, root, comm, stream) })?;
            }
            Ok(())
        })
    }

    /// Waits until the stream has done what was asked of it, or the limit is over.
    pub fn finish(&self) -> Result<(), NcclError> {
        let event = CudaEvent::new(&self.device)?;
        event.record(&self.stream)?;
        self.wait("a collective", || {
            let is_done = event.is_passed()?;
            if !is_done {
                // It may have failed.
                self.has_taken("a collective")?;
            }
            Ok(is_done)
        })
    }

    /// Asks for several things at once.
    fn group(&self, call: &'static str, ask: impl FnOnce(ncclComm_t) -> Result<(), Code>) -> Result<(), NcclError> {
        self.call(call, |comm| {
            // SAFETY: a group has no precondition, and is ended whatever happens within.
            let begun = accepted(unsafe { (self.nccl.ncclGroupStart)() });
            let asked = begun.and_then(|()| ask(comm));
            // SAFETY: as above.
            let ended = unsafe { (self.nccl.ncclGroupEnd)() };
            asked.err().unwrap_or(ended)
        })
    }

    /// Makes a call, and waits until NCCL has taken it.
    fn call(&self, call: &'static str, ask: impl FnOnce(ncclComm_t) -> Code) -> Result<(), NcclError> {
        // This makes the context current, too.
        if self.stream.is_capturing()? {
            self.is_captured.store(true, Relaxed);
        }
        let asked = {
            let handle = self.handle.lock();
            ask(handle.as_ref().ok_or(NcclError::GivenUp)?.0)
        };
        match asked {
            SUCCESS => Ok(()),
            IN_PROGRESS => self.wait(call, || self.has_taken(call)),
            error => {
                self.give_up();
                Err(failed(self.nccl, call, error))
            }
        }
    }

    /// Waits until something is so. Where that takes too long, it ends the communicator.
    fn wait(&self, call: &'static str, mut is_so: impl FnMut() -> Result<bool, NcclError>) -> Result<(), NcclError> {
        let deadline = Deadline::after(self.limit);
        while !is_so()? {
            if deadline.is_past() {
                self.give_up();
                let limit = self.limit;
                return Err(NcclError::Late { call, limit });
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Whether NCCL has taken all calls. An error ends the communicator.
    fn has_taken(&self, call: &'static str) -> Result<bool, NcclError> {
        let state = {
            let handle = self.handle.lock();
            let comm = handle.as_ref().ok_or(NcclError::GivenUp)?.0;
            // SAFETY: nobody takes the communicator away while it is locked.
            unsafe { state_of(self.nccl, comm) }?
        };
        match state {
            SUCCESS | IN_PROGRESS => Ok(state == SUCCESS),
            error => {
                self.give_up();
                Err(failed(self.nccl, call, error))
            }
        }
    }

    /// Breaks off whatever goes on, on this rank.
    fn give_up(&self) {
        self.end(|nccl, comm, _| {
            // SAFETY: the communicator is alive, and nobody else has it any more.
            unsafe { (nccl.ncclCommAbort)(comm) }
        });
    }

    /// Ends the communicator, if it was not before, and waits for that as long as the limit. Where a graph has work of it
    /// nobody waits: NCCL ends nothing before the graph is destroyed.
    fn end(&self, how: fn(&EntryPoints, ncclComm_t, Duration) -> Code) {
        let Some(handle) = self.handle.lock().take() else {
            return;
        };
        let (nccl, limit) = (self.nccl, self.limit);
        let (ended, has_ended) = mpsc::channel();
        // The context and the stream outlive what NCCL has in them.
        let used = (self.device.clone(), self.stream.clone());
        let end = move || {
            let handle = handle;
            let result = how(nccl, handle.0, limit);
            drop(used);
            tracing::debug!(result, "a communicator has ended");
            // Nobody may be waiting any more.
            let _ = ended.send(());
        };
        match ENDINGS.spawn(end) {
            Ok(_) if self.is_captured.load(Relaxed) => {}
            Ok(_) if has_ended.recv_timeout(limit).is_ok() => {}
            Ok(_) => tracing::warn!(
                ?limit,
                "a communicator has not ended in time: other ranks may be missing"
            ),
            Err(error) => tracing::warn!(%error, "a communicator was not ended"),
        }
    }
}

impl Drop for CudaCommunicator {
    fn drop(&mut self) {
        // What the stream was asked may be going on.
        if let Err(error) = self.finish() {
            tracing::debug!(%error, "a communicator was dropped before its work was done");
        }
        self.end(leave);
    }
}

/// Ends a communicator of whose work nothing is left on this rank: NCCL passes on what other ranks have not read yet.
fn leave(nccl: &EntryPoints, comm: ncclComm_t, limit: Duration) -> Code {
    let deadline = Deadline::after(limit);
    // SAFETY: the communicator is alive, and nobody else has it any more.
    let mut state = Ok(unsafe { (nccl.ncclCommFinalize)(comm) });
    while state == Ok(IN_PROGRESS) && !deadline.is_past() {
        thread::sleep(PAUSE);
        // SAFETY: as above.
        state = unsafe { state_of(nccl, comm) };
    }
    match state {
        // SAFETY: as above. Unlike breaking off it waits for what others still have to be sent.
        Ok(SUCCESS) => unsafe { (nccl.ncclCommDestroy)(comm) },
        // SAFETY: as above.
        _ => unsafe { (nccl.ncclCommAbort)(comm) },
    }
}

/// How far what was asked of a communicator is.
///
/// # Safety
/// The communicator is alive until the call returns.
unsafe fn state_of(nccl: &EntryPoints, comm: ncclComm_t) -> Result<Code, NcclError> {
    let mut state = SUCCESS;
    // SAFETY: as the caller promises, and the pointer is to a result.
    done(nccl, "ncclCommGetAsyncError", unsafe {
        (nccl.ncclCommGetAsyncError)(comm, &mut state)
    })?;
    Ok(state)
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

/// Everything as NCCL likes it, but that calls return at once.
fn configuration() -> ncclConfig_t {
    ncclConfig_t {
        size: size_of::<ncclConfig_t>(),
        magic: MAGIC,
        version: HEADER,
        blocking: 0,
        cgaClusterSize: UNSET,
        minCTAs: UNSET,
        maxCTAs: UNSET,
        netName: std::ptr::null(),
        splitShare: UNSET,
        trafficClass: UNSET,
        commName: std::ptr::null(),
        collnetEnable: UNSET,
        CTAPolicy: UNSET,
        shrinkShare: UNSET,
        nvlsCTAs: UNSET,
        nChannelsPerNetPeer: UNSET,
        nvlinkCentricSched: UNSET,
        graphUsageMode: UNSET,
        numRmaCtx: UNSET,
        maxP2pPeers: UNSET,
    }
}

fn as_int(number: usize) -> std::ffi::c_int {
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

fn done(nccl: &EntryPoints, call: &'static str, result: Code) -> Result<(), NcclError> {
    match result {
        SUCCESS => Ok(()),
        error => Err(failed(nccl, call, error)),
    }
}

#[cold]
fn failed(nccl: &EntryPoints, call: &'static str, result: Code) -> NcclError {
    // SAFETY: NCCL returns a constant string for every result, or none.
    let what = unsafe { text((nccl.ncclGetErrorString)(result)) };
    // SAFETY: it takes no communicator as any, and returns what this thread did last, which nobody changes meanwhile.
    let last = unsafe { text((nccl.ncclGetLastError)(std::ptr::null_mut())) };
    let reasons = [what.or_else(|| Some(format!("result {result}"))), last];
    NcclError::Failed {
        call,
        reason: reasons.into_iter().flatten().collect::<Vec<_>>().join(": "),
    }
}

/// # Safety
/// It is null, or a string that lives until the call returns.
unsafe fn text(of_nccl: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    let text = unsafe { (!of_nccl.is_null()).then(|| CStr::from_ptr(of_nccl)) }?.to_string_lossy();
    (!text.is_empty()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use tilewright_testing::Part;

    use super::*;

    /// Needs no GPU, but NCCL.
    #[test]
    fn every_group_has_a_name_of_its_own() {
        if Part::Nccl.or_skip(Nccl::load()).is_some() {
            let [one, other] = [(); 2].map(|()| CudaCommunicator::new_id().expect("a name"));
            assert_ne!(one, other);
        }
    }
}
