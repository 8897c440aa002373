//! Memory of a GPU that other GPUs and other processes map as well.
//!
//! It is allocated and mapped as two things (`cuMemCreate`, `cuMemMap`). The memory itself is counted by the driver, across
//! processes: it lives until the last mapping of it is gone, whoever made it and whether that process lives. So nobody frees
//! what another one writes, and nobody has to be asked. Memory of `cuMemAlloc`, with `cuIpcGetMemHandle` for other processes,
//! belongs to the one who allocated it, and is undefined for all others once that one frees it or dies.
//!
//! A process has one mapping of what it made, at one address for all its GPUs: a GPU sees what is stored through one address
//! while it runs only through the same one, unless it is told by a fence of its own.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fmt;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use cudarc::driver::{
    DriverError, result,
    sys::{
        self, CUdevice_attribute_enum as Attribute, CUmemAccess_flags, CUmemAccessDesc,
        CUmemAllocationGranularity_flags, CUmemAllocationHandleType, CUmemAllocationProp, CUmemAllocationType,
        CUmemLocation, CUmemLocationType, CUresult,
    },
};
use parking_lot::Mutex;

use super::super::capture;
use super::{
    CudaDevice, CudaEvent, Reach,
    driver::{self, During},
};
use crate::error::DeviceError;

const FILE: CUmemAllocationHandleType = CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
const NO_FILE: CUmemAllocationHandleType = CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE;

/// Memory of a GPU, mapped into this process.
pub struct CudaShared {
    mapping: Mapping,
    /// The GPU that it is memory of; of another process's the one that imported it.
    device: CudaDevice,
    is_imported: bool,
    has_file: bool,
    /// The GPUs that use the mapping, by number.
    reached_by: Mutex<Vec<u32>>,
}

impl CudaShared {
    /// Memory that holds zeros, which other GPUs may map: at least `bytes`, rounded up to what the driver allocates by. What it
    /// holds is there when this returns.
    ///
    /// # Errors
    /// The device has no room, or its memory cannot be mapped; a graph is being captured.
    pub fn new(device: &CudaDevice, bytes: usize) -> Result<Arc<Self>, DeviceError> {
        const WHAT: &str = "memory that peers reach";
        capture::refuse_within(WHAT)?;
        release_left();
        device.stream().refuse_capture(WHAT)?;
        driver::beside_captures(|| Self::allocate(device, bytes))
    }

    fn allocate(device: &CudaDevice, bytes: usize) -> Result<Arc<Self>, DeviceError> {
        if attribute(
            device,
            Attribute::CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED,
        )? == 0
        {
            return Err(DeviceError::NotShareable {
                device: device.ordinal(),
                reason: "its memory cannot be mapped by other GPUs".to_owned(),
            });
        }
        let (physical, len, has_file) = create(device, bytes)?;
        let mapping = Mapping::new(physical, len)?;
        let shared = Self::of(device, mapping, false, has_file);
        shared.reach(device)?;
        let stream = device.stream();
        // SAFETY: the mapping is as long, and the device may write it.
        unsafe { result::memset_d8_async(shared.address(), 0, len, stream.raw()) }.during("cuMemsetD8Async")?;
        // Peers may write as soon as they know of it.
        stream.synchronize()?;
        Ok(Arc::new(shared))
    }

    /// Memory of another process, of which it has sent the [file](Self::file), with its [length](Self::len). This device is to
    /// use it.
    ///
    /// # Errors
    /// The file is of no memory of a GPU, or of less; or this device does not reach it.
    pub fn import(device: &CudaDevice, file: &OwnedFd, len: usize) -> Result<Arc<Self>, DeviceError> {
        capture::refuse_within("memory of a peer")?;
        release_left();
        driver::beside_captures(|| Self::map(device, file, len))
    }

    fn map(device: &CudaDevice, file: &OwnedFd, len: usize) -> Result<Arc<Self>, DeviceError> {
        device.bind()?;
        let mut handle = 0;
        // The driver takes the number in place of a pointer.
        let number = file.as_raw_fd() as usize as *mut c_void;
        // SAFETY: the first points to a handle, and the file is open.
        unsafe { sys::cuMemImportFromShareableHandle(&mut handle, number, FILE) }
            .result()
            .during("cuMemImportFromShareableHandle")?;
        let mapping = Mapping::new(Physical(handle), len)?;
        let shared = Self::of(device, mapping, true, true);
        shared.reach(device)?;
        Ok(Arc::new(shared))
    }

    fn of(device: &CudaDevice, mapping: Mapping, is_imported: bool, has_file: bool) -> Self {
        Self {
            mapping,
            device: device.clone(),
            is_imported,
            has_file,
            reached_by: Mutex::default(),
        }
    }

    /// Where it begins in this process, for every GPU.
    pub fn address(&self) -> u64 {
        self.mapping.range.address
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.mapping.range.len
    }

    /// Whether there are no bytes: never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Something by which another process can import the memory, once it has received it over a socket.
    ///
    /// # Errors
    /// The driver gives out none here, or no file is left to this process.
    pub fn file(&self) -> Result<OwnedFd, DeviceError> {
        let refused = |reason: &str| DeviceError::NotShareable {
            device: self.device.ordinal(),
            reason: reason.to_owned(),
        };
        if !self.has_file {
            return Err(refused(
                "the driver gives out no handles of its memory to other processes here",
            ));
        }
        self.device.bind()?;
        let mut number: c_int = -1;
        let handle = self.mapping.physical.0;
        // SAFETY: the first points to a number, which this kind of handle is.
        unsafe { sys::cuMemExportToShareableHandle((&raw mut number).cast(), handle, FILE, 0) }
            .result()
            .during("cuMemExportToShareableHandle")?;
        if number < 0 {
            return Err(refused("the driver gave no file"));
        }
        // SAFETY: the driver has opened it for the caller.
        let file = unsafe { OwnedFd::from_raw_fd(number) };
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC).map_err(|error| DeviceError::SharedMemory {
            call: "fcntl",
            reason: error.to_string(),
        })?;
        Ok(file)
    }

    /// Lets a device of this process use it. What it uses already is left as it is.
    ///
    /// # Errors
    /// The device does not reach it, or the driver refuses.
    pub fn reach(&self, device: &CudaDevice) -> Result<(), DeviceError> {
        let mut reached_by = self.reached_by.lock();
        if reached_by.contains(&device.ordinal()) {
            return Ok(());
        }
        if !self.is_imported {
            Reach::check(device.ordinal(), self.device.ordinal())?;
        }
        device.bind()?;
        let mut access: CUmemAccessDesc = zeroed_access();
        access.location = location_of(device)?;
        access.flags = CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
        // SAFETY: the range is mapped, all of it, and the description is one.
        let set = unsafe { sys::cuMemSetAccess(self.address(), self.len(), &access, 1) }.result();
        match set {
            Err(DriverError(CUresult::CUDA_ERROR_INVALID_DEVICE | CUresult::CUDA_ERROR_NOT_SUPPORTED)) => {
                return Err(DeviceError::NoPeerAccess {
                    device: device.ordinal(),
                    of: if self.is_imported {
                        "another process".to_owned()
                    } else {
                        format!("CUDA device {}", self.device.ordinal())
                    },
                });
            }
            other => other.during("cuMemSetAccess")?,
        }
        reached_by.push(device.ordinal());
        Ok(())
    }
}

impl fmt::Debug for CudaShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, len) = (self.address(), self.len());
        write!(f, "CudaShared({len} bytes at {address:#x}, {:?})", self.device)
    }
}

/// A handle of memory that is allocated.
struct Physical(u64);

impl Drop for Physical {
    fn drop(&mut self) {
        // SAFETY: the handle is owned, and not used again. Mappings and other processes keep the memory.
        let _ = unsafe { sys::cuMemRelease(self.0) };
    }
}

/// Addresses that nothing else is given.
struct Range {
    address: u64,
    len: usize,
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: the range is owned, and nothing is mapped there any more.
        let _ = unsafe { sys::cuMemAddressFree(self.address, self.len) };
    }
}

/// Memory at addresses. It is unmapped once nobody uses it: see [`leave`].
struct Mapping {
    physical: Physical,
    range: Range,
}

impl Mapping {
    /// The device's context is current.
    fn new(physical: Physical, len: usize) -> Result<Self, DeviceError> {
        let mut address = 0;
        // SAFETY: the first points to an address.
        unsafe { sys::cuMemAddressReserve(&mut address, len, 0, 0, 0) }
            .result()
            .during("cuMemAddressReserve")?;
        let range = Range { address, len };
        // SAFETY: the range is reserved and empty, and the handle one of memory. The driver refuses one of less.
        unsafe { sys::cuMemMap(address, len, 0, physical.0, 0) }
            .result()
            .during("cuMemMap")?;
        Ok(Self { physical, range })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is mapped. Who used it has left, and what they asked of their devices is done.
        let unmapped = unsafe { sys::cuMemUnmap(self.range.address, self.range.len) }.result();
        if let Err(error) = unmapped.during("cuMemUnmap") {
            // The context is lost, or the process is ending: the driver takes the memory back itself.
            tracing::debug!(%error, "memory that peers reach was not unmapped");
        }
    }
}

/// A device's use of shared memory that is over on the host: the device may be at it yet.
struct Left {
    _memory: Arc<CudaShared>,
    device: CudaDevice,
    /// Behind all that the device was asked to do with it; `None` while its stream is captured.
    event: Option<CudaEvent>,
}

/// What was left, and may not be done.
static LEFT: Mutex<Vec<Left>> = Mutex::new(Vec::new());

/// Gives up a use of shared memory, all of which the device's own stream comes after. The mapping goes with its last use, once
/// that is done; nobody waits for it.
pub(super) fn leave(memory: Arc<CudaShared>, device: &CudaDevice) {
    let device = device.clone();
    let left = Left {
        _memory: memory,
        device,
        event: None,
    };
    LEFT.lock().push(left);
    release_left();
}

/// Lets go of what is done with since it was left.
pub(crate) fn release_left() {
    let mut left = mem::take(&mut *LEFT.lock());
    if left.is_empty() {
        return;
    }
    let released = driver::beside_captures(|| {
        left.retain_mut(|left| !left.is_done());
        Ok(())
    });
    if let Err(error) = released {
        tracing::debug!(%error, "memory that peers reach was not unmapped");
    }
    LEFT.lock().append(&mut left);
}

impl Left {
    fn is_done(&mut self) -> bool {
        if self.event.is_none() {
            self.event = marked(&self.device).ok();
        }
        let passed = self.event.as_ref().map(CudaEvent::is_passed);
        match passed {
            Some(Ok(is_passed)) => is_passed,
            // Of a lost context nothing more is known: its memory is left to the driver.
            Some(Err(_)) | None => false,
        }
    }
}

fn marked(device: &CudaDevice) -> Result<CudaEvent, DeviceError> {
    let stream = device.stream();
    stream.refuse_capture("the end of a use of memory that peers reach")?;
    let event = CudaEvent::new(device)?;
    event.record(stream)?;
    Ok(event)
}

/// Allocates at least so many bytes: the memory, its length, and whether other processes can have it.
fn create(device: &CudaDevice, bytes: usize) -> Result<(Physical, usize, bool), DeviceError> {
    device.bind()?;
    let files = attribute(
        device,
        Attribute::CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED,
    )? != 0;
    let try_with = |kind| -> Result<(Physical, usize), DriverError> {
        let properties = properties_of(device, kind).map_err(|_| DriverError(CUresult::CUDA_ERROR_INVALID_DEVICE))?;
        let mut unit = 0;
        let wanted = CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_RECOMMENDED;
        // SAFETY: the first points to a number, the second to properties.
        unsafe { sys::cuMemGetAllocationGranularity(&mut unit, &properties, wanted) }.result()?;
        let len = bytes.max(1).checked_next_multiple_of(unit.max(1));
        let len = len.ok_or(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY))?;
        let mut handle = 0;
        // SAFETY: the first points to a handle, the third to properties.
        unsafe { sys::cuMemCreate(&mut handle, len, &properties, 0) }.result()?;
        Ok((Physical(handle), len))
    };
    let created = match try_with(if files { FILE } else { NO_FILE }) {
        // Some containers forbid handles for others.
        Err(DriverError(CUresult::CUDA_ERROR_NOT_PERMITTED | CUresult::CUDA_ERROR_NOT_SUPPORTED)) if files => {
            try_with(NO_FILE).map(|(physical, len)| (physical, len, false))
        }
        other => other.map(|(physical, len)| (physical, len, files)),
    };
    let is_too_much = match &created {
        Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => true,
        // Of more than any has, drivers say this or that.
        Err(_) => bytes > device.properties().memory_bytes,
        Ok(_) => false,
    };
    if is_too_much {
        let (free, total) = device.memory()?;
        return Err(DeviceError::OutOfMemory {
            asked: bytes,
            free,
            total,
        });
    }
    created.during("cuMemCreate")
}

fn properties_of(device: &CudaDevice, kind: CUmemAllocationHandleType) -> Result<CUmemAllocationProp, DeviceError> {
    // SAFETY: 0 is a value of every field, and means none or the default.
    let mut properties: CUmemAllocationProp = unsafe { mem::zeroed() };
    properties.type_ = CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.requestedHandleTypes = kind;
    properties.location = location_of(device)?;
    Ok(properties)
}

fn zeroed_access() -> CUmemAccessDesc {
    // SAFETY: 0 is a value of every field.
    unsafe { mem::zeroed() }
}

/// A device as a place of memory. Its number is a field or part of a union, by the version of CUDA that cudarc is built for.
fn location_of(device: &CudaDevice) -> Result<CUmemLocation, DeviceError> {
    const { assert!(size_of::<CUmemLocation>() == 2 * size_of::<c_int>()) };
    let number = result::device::get(device.ordinal().cast_signed()).during("cuDeviceGet")?;
    // SAFETY: 0 is a value of every field.
    let mut location: CUmemLocation = unsafe { mem::zeroed() };
    location.type_ = CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
    // SAFETY: the number is the second of the two words.
    unsafe { (&raw mut location).cast::<c_int>().add(1).write(number) };
    Ok(location)
}

fn attribute(device: &CudaDevice, attribute: Attribute) -> Result<c_int, DeviceError> {
    let number = result::device::get(device.ordinal().cast_signed()).during("cuDeviceGet")?;
    // SAFETY: the device comes from the driver.
    unsafe { result::device::get_attribute(number, attribute) }.during("cuDeviceGetAttribute")
}
