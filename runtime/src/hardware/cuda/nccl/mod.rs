//! Collectives between GPUs, through NCCL: a thin layer that knows addresses and counts.
//!
//! Ranks join without blocking: NCCL does it on threads of its own, and is asked again and again until all have come or the time is
//! over. Of the communicator that comes of it one is split off that blocks: NCCL takes its calls on the thread that makes them,
//! where one that does not block begins a thread for each. Both share a flag, by which another thread breaks off what takes too long:
//! a call that waits comes back, and then the communicator is given up, so that a rank that died is an error and no hang.

#![allow(unsafe_code)]

mod calls;
mod collectives;
mod error;
mod handle;
mod library;
mod members;
mod wait;
mod watch;

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicPtr,
    Ordering::{Acquire, Relaxed},
};
use std::time::Duration;

use cudarc::nccl::sys::{ncclComm, ncclComm_t, ncclConfig_t, ncclUniqueId};

use super::{CudaDevice, CudaEvent, CudaStream, graph};
use crate::deadline::Deadline;
use crate::error::DeviceError;
use calls::Calls;
use collectives::as_int;
use handle::Handle;
use library::{Code, EntryPoints, IN_PROGRESS, SUCCESS};
use members::Member;

pub use collectives::UnequalGather;
pub use error::NcclError;
pub use library::Nccl;

/// What tells NCCL that a configuration is one, and that a field of it was not set (nccl.h).
const MAGIC: u32 = 0xcafe_beef;
const UNSET: i32 = i32::MIN;
/// The version of the header that cudarc's bindings are of: 2.30.
const HEADER: u32 = 23000;

/// From this version on, ranks of one process leave each other's tensors alone unless they are told otherwise.
const KEEPS_TENSORS_APART: (u32, u32, u32) = (2, 19, 0);

/// What all ranks of a communicator have in common: made by one, told to the others.
pub type NcclId = [u8; 128];

/// One rank of a group of GPUs.
pub struct CudaCommunicator {
    /// What outlives NCCL's work: the context, and the stream that was asked last, which comes after all that were asked
    /// before, as NCCL keeps its work in order.
    calls: Calls<(CudaDevice, CudaStream)>,
    device: CudaDevice,
    /// Whether a graph that does not keep it was given work of it, and may be there still.
    outlived: AtomicBool,
    /// Given away when it ends.
    member: Option<Member>,
    rank: usize,
    size: usize,
}

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

    /// Joins a group of `size` ranks, and waits until all have joined or `limit` is over. NCCL makes a communicator of all, and
    /// another one of that, which is used.
    pub fn join(
        device: &CudaDevice,
        id: &NcclId,
        rank: usize,
        size: usize,
        limit: Duration,
    ) -> Result<Self, NcclError> {
        let nccl = &Nccl::load()?.entry;
        device.bind()?;
        let deadline = Deadline::after(limit);
        let member = Member::of(id);
        let id = ncclUniqueId {
            internal: id.map(|byte| byte as std::ffi::c_char),
        };
        let (ranks, number) = (as_int(size), as_int(rank));
        let used = (device.clone(), device.stream().clone());
        let mut config = configuration(false);
        let place = new_place();
        // SAFETY: the pointers are to a communicator, for ever, and to a configuration, which NCCL has copied when the call returns.
        let asked = unsafe { (nccl.ncclCommInitRankConfig)(place.as_ptr(), ranks, id, number, &mut config) };
        let handle = own(nccl, "ncclCommInitRankConfig", asked, place)?;
        let all = Calls::new(nccl, handle, used.clone(), limit)?;
        all.taken("ncclCommInitRankConfig", asked)?;
        let all = all.within(deadline.left().unwrap_or(Duration::MAX));
        let mut config = configuration(true);
        let place = new_place();
        let split = all.ask(
            "ncclCommSplit",
            |_| (),
            // It is said to be done when it has only begun.
            // SAFETY: as above; the communicator is alive, and all ranks are of one colour.
            |nccl, comm| match unsafe { (nccl.ncclCommSplit)(comm, 0, number, place.as_ptr(), &mut config) } {
                SUCCESS => IN_PROGRESS,
                code => code,
            },
        );
        split.map_err(|error| match error {
            NcclError::Late { call, .. } => NcclError::Late { call, limit },
            other => other,
        })?;
        let origin = all.into_handle().ok_or(NcclError::GivenUp)?;
        let handle = match own(nccl, "ncclCommSplit", SUCCESS, place) {
            Ok(handle) => handle.split_off(origin),
            Err(error) => {
                origin.abort();
                return Err(error);
            }
        };
        let joined = Self {
            calls: Calls::new(nccl, handle, used, limit)?,
            device: device.clone(),
            outlived: AtomicBool::new(false),
            member: Some(member),
            rank,
            size,
        };
        // Every rank of this process comes to the same, and they end together.
        match joined.member.as_ref().is_some_and(Member::is_one_of_several) && tensors_are_shared() {
            true => Err(NcclError::TensorsAreShared),
            false => Ok(joined),
        }
    }

    /// This rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Waits until a stream has done what was asked of it, or the limit is over.
    pub fn finish(&self, stream: &CudaStream) -> Result<(), NcclError> {
        let event = CudaEvent::new(&self.device)?;
        event.record(stream)?;
        self.calls.wait("a collective", || {
            let is_done = event.is_passed()?;
            if !is_done {
                // It may have failed.
                self.calls.has_taken("a collective")?;
            }
            Ok(is_done)
        })
    }

    /// Makes a call, and waits until NCCL has taken it: what comes into the stream afterwards comes after it.
    fn call(
        self: &Arc<Self>,
        call: &'static str,
        stream: &CudaStream,
        ask: impl FnOnce(&EntryPoints, ncclComm_t) -> Code,
    ) -> Result<(), NcclError> {
        // This makes the context current, too.
        let is_captured = stream.is_capturing()?;
        if is_captured {
            self.calls.capture();
            if !graph::keep_within(self.clone()) {
                self.outlived.store(true, Relaxed);
            }
        } else if crate::hardware::capture::is_within() {
            let what = "a collective on another stream than the captured one";
            return Err(DeviceError::Capturing { what }.into());
        }
        let using = |(_, last): &mut (CudaDevice, CudaStream)| {
            if !is_captured {
                *last = stream.clone();
            }
        };
        self.calls.ask(call, using, ask)
    }
}

impl Drop for CudaCommunicator {
    fn drop(&mut self) {
        // What the stream was asked may be going on.
        let (_, last) = self.calls.used();
        if let Err(error) = self.finish(&last) {
            tracing::debug!(%error, "a communicator was dropped before its work was done");
        }
        let Some(mut member) = self.member.take() else { return };
        let limit = self.calls.limit();
        let are_all_done = member.done();
        let leave = move |handle: Handle| {
            member.wait_for_all(Duration::MAX);
            handle.leave(limit)
        };
        // Nobody waits for what a graph of others keeps: NCCL ends nothing before the graph is destroyed.
        self.calls.end(leave, are_all_done && !self.outlived.load(Relaxed));
    }
}

/// Whether NCCL lets ranks of one process write into each other's tensors, at places that each works out from the sizes it was
/// asked for itself.
fn tensors_are_shared() -> bool {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|set| set == value);
    let is_old = Nccl::load().is_ok_and(|nccl| nccl.version() < KEEPS_TENSORS_APART);
    (is_old || is("NCCL_CUMEM_ENABLE", "0")) && !is("NCCL_P2P_DIRECT_DISABLE", "1") && !is("NCCL_P2P_DISABLE", "1")
}

/// Where NCCL puts a communicator. It writes there again when all ranks have come, which may be after this one has given up: it is
/// never freed.
fn new_place() -> &'static AtomicPtr<ncclComm> {
    Box::leak(Box::default())
}

/// The communicator that a call has put there.
fn own(
    nccl: &'static EntryPoints,
    call: &'static str,
    asked: Code,
    place: &AtomicPtr<ncclComm>,
) -> Result<Handle, NcclError> {
    let comm: ncclComm_t = place.load(Acquire);
    if !matches!(asked, SUCCESS | IN_PROGRESS) || comm.is_null() {
        return Err(failed(nccl, call, asked));
    }
    // SAFETY: NCCL has made it just now.
    Ok(unsafe { Handle::own(nccl, comm) })
}

/// Everything as NCCL likes it, but that calls return at once; those of one that is split off block. It has the flag and the memory
/// of what it is split off, which is for that one to allow.
fn configuration(split_off: bool) -> ncclConfig_t {
    ncclConfig_t {
        size: size_of::<ncclConfig_t>(),
        magic: MAGIC,
        version: HEADER,
        blocking: split_off.into(),
        cgaClusterSize: UNSET,
        minCTAs: UNSET,
        maxCTAs: UNSET,
        netName: std::ptr::null(),
        splitShare: 1,
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
