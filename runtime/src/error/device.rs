//! What can go wrong on a device.

use std::{fmt, path::PathBuf};

/// Why a device did not do what it was asked.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// There is no CUDA driver on this machine, or the loader does not find it.
    #[error(
        "the CUDA driver library (libcuda.so.1) was not found: install NVIDIA's driver for this GPU. In a container, start \
         it with the NVIDIA container runtime. Without a GPU, use the CPU device."
    )]
    MissingDriver,
    /// The loader would take a file for the CUDA driver that ends the process.
    #[error(
        "the CUDA driver library would be {}, which cannot be loaded: {reason}. Remove it from the loader's path, or install \
         NVIDIA's driver again",
        file.display()
    )]
    DamagedDriver {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The driver is older than the calls made of it.
    #[error(
        "the CUDA driver is of CUDA {}.{}, and at least {}.{} is needed: update NVIDIA's driver",
        found.0, found.1, needed.0, needed.1
    )]
    OldDriver {
        /// The CUDA version of the driver.
        found: (u32, u32),
        /// The least that will do.
        needed: (u32, u32),
    },
    /// The driver is there and sees no GPU.
    #[error(
        "the CUDA driver finds no GPU: check that `nvidia-smi` lists one, that CUDA_VISIBLE_DEVICES does not hide it, and \
         that this process may open /dev/nvidia*"
    )]
    NoDevice,
    /// There are fewer GPUs than that.
    #[error(
        "there is no CUDA device {ordinal}: this process sees {count}, numbered from 0 (CUDA_VISIBLE_DEVICES chooses)"
    )]
    NoSuchDevice {
        /// The device asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// Something of CUDA was given to the CPU device.
    #[error("{what} was given to the CPU device: use the GPU that it belongs to")]
    NotCuda {
        /// What was given.
        what: &'static str,
    },
    /// A graph of the CPU device was launched on a GPU's stream.
    #[error("a graph of the CPU device was launched on a stream of a GPU: launch it on a stream of the CPU device")]
    HostGraph,
    /// The device's memory does not hold as much. The device stays usable.
    #[error(
        "out of device memory: {asked} bytes asked for, {free} of {total} free: drop tensors that are no longer needed, or \
         work on fewer rows at a time"
    )]
    OutOfMemory {
        /// The bytes asked for.
        asked: usize,
        /// The bytes free when it failed.
        free: usize,
        /// The bytes of the device.
        total: usize,
    },
    /// The host's memory does not hold as much.
    #[error("the host has no room for {asked} bytes")]
    OutOfHostMemory {
        /// The bytes asked for.
        asked: usize,
    },
    /// A transfer that would leave the allocation. Nothing was transferred.
    #[error("{what} of {bytes} bytes at offset {offset} leaves an allocation of {length} bytes")]
    OutOfRange {
        /// The transfer.
        what: &'static str,
        /// Where it would begin.
        offset: usize,
        /// How long it would be.
        bytes: usize,
        /// How long the allocation is.
        length: usize,
    },
    /// A copy between two overlapping parts of one allocation.
    #[error("a copy of {bytes} bytes from offset {from} to offset {to} of the same allocation overlaps itself")]
    Overlap {
        /// Where it would read.
        from: usize,
        /// Where it would write.
        to: usize,
        /// How long it would be.
        bytes: usize,
    },
    /// Two things that must belong to one device belong to two.
    #[error("{what} belongs to CUDA device {found}, not to device {expected}: move it, or use that device's stream")]
    OtherDevice {
        /// The thing.
        what: &'static str,
        /// The device it belongs to.
        found: u32,
        /// The device it is used with.
        expected: u32,
    },
    /// Something that a graph cannot hold was asked for while its stream was captured.
    #[error("{what} was asked for while a graph is captured on the stream: do it before the capture")]
    Capturing {
        /// What was asked for.
        what: &'static str,
    },
    /// A context is not the one that is used here.
    #[error(
        "the context is not the primary one of CUDA device {ordinal}, which torch, candle and cudarc use as well: use that one"
    )]
    OtherContext {
        /// Its device.
        ordinal: u32,
    },
    /// The default stream of each thread was given as one stream.
    #[error(
        "the default stream of each thread (CU_STREAM_PER_THREAD) is another stream on every thread, so nothing can be ordered \
         by it: use a stream that was created (in candle, `Device::new_cuda_with_stream`)"
    )]
    PerThreadStream,
    /// A graph that owns what it uses would use memory that others own.
    #[error(
        "memory that is only borrowed was used in a capture: a graph cannot keep it. Capture a tensor that owns its memory, or \
         use `capture_borrowing`, which is unsafe, and keep the memory as long as the graph"
    )]
    BorrowedInGraph,
    /// Memory was given as a device's and is not.
    #[error("the bytes at {address:#x} ({bytes} of them) are no memory of {device}: {reason}")]
    NotItsMemory {
        /// Where they begin.
        address: u64,
        /// How many there are.
        bytes: usize,
        /// The device.
        device: String,
        /// What they are instead.
        reason: String,
    },
    /// A GPU does not reach the memory of another.
    #[error(
        "CUDA device {device} does not reach the memory of {of}: there is no NVLink or PCIe path between them that the driver \
         allows (`tilewright doctor` shows which GPUs reach each other; in a virtual machine or behind an IOMMU it may be turned \
         off). Gather these through NCCL"
    )]
    NoPeerAccess {
        /// The GPU, by number.
        device: u32,
        /// The one whose memory it is.
        of: String,
    },
    /// Memory of a device cannot be mapped by others.
    #[error("memory of CUDA device {device} cannot be shared with peers: {reason}. Gather through NCCL")]
    NotShareable {
        /// The GPU, by number.
        device: u32,
        /// Why not.
        reason: String,
    },
    /// The CPU device and a GPU were to be peers.
    #[error("the CPU device and a GPU cannot reach each other's memory: give all ranks GPUs, or none")]
    MixedPeers,
    /// The system did not share memory of the host.
    #[error("{call} failed, for memory that peers reach: {reason}")]
    SharedMemory {
        /// The call.
        call: &'static str,
        /// What the system says.
        reason: String,
    },
    /// The module has no kernel of that name.
    #[error("the module has no kernel named `{name}`: is it declared `extern \"C\" __global__`?")]
    NoSuchFunction {
        /// The name asked for.
        name: String,
    },
    /// The environment chooses a compiler that there is not.
    #[error("TILEWRIGHT_COMPILER: {0}")]
    Compiler(#[from] crate::compile::UnknownCompiler),
    /// A module's bytes are no whole cubin.
    #[error(transparent)]
    Cubin(#[from] crate::compile::CubinError),
    /// The driver did not assemble a text of PTX.
    #[error("the driver refused a kernel's PTX ({name})\n{log}")]
    RejectedPtx {
        /// What it calls the failure.
        name: String,
        /// What it says; [`parse_ptx_log`](crate::compile::parse_ptx_log) reads it.
        log: String,
    },
    /// A text of PTX holds a NUL byte, where C would end it.
    #[error("a kernel's PTX holds a NUL byte at offset {offset}: remove it")]
    PtxWithNul {
        /// Where the NUL is.
        offset: usize,
    },
    /// A call to the driver failed.
    #[error("{call} failed: {message} ({name}, {code}){}", advice(*code))]
    Driver {
        /// The driver function.
        call: &'static str,
        /// Its result.
        code: u32,
        /// The driver's name for that result.
        name: String,
        /// What the driver says about it.
        message: String,
    },
}

/// The same text as [`Display`](fmt::Display): what a failed `unwrap` or `main` prints is meant for people too.
impl fmt::Debug for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What to do about the failures that people meet.
fn advice(code: u32) -> &'static str {
    match code {
        34 => ". This libcuda is a toolkit's stub for linking: remove it from LD_LIBRARY_PATH",
        200 | 209 | 300 => {
            ". The cubin is for another architecture or a newer CUDA than this driver's: compile it again"
        }
        // The driver refuses every later call of the process.
        700 | 702 | 710 | 714..=719 => ". The CUDA context is lost: the process must be started again",
        802 | 803 => ". Driver and libraries do not match, or the fabric manager is not running",
        900..=908 => ". The capture of a graph is over or broken: nothing but stream-ordered work may happen in it",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_failure_says_which_call_failed_and_what_to_do() {
        let error = DeviceError::Driver {
            call: "cuStreamSynchronize",
            code: 700,
            name: "CUDA_ERROR_ILLEGAL_ADDRESS".to_owned(),
            message: "an illegal memory access was encountered".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "cuStreamSynchronize failed: an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS, 700). \
             The CUDA context is lost: the process must be started again"
        );
    }
}
