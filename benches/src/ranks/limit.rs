//! Kernels by hand: the limit of a gather between GPUs, and the gate at which all ranks begin together.

#![allow(unsafe_code)]

use std::error::Error;
use std::ffi::c_void;

use half::bf16;
use tilewright_dp::collective::Peers;
use tilewright_runtime::compile::{CompileOptions, compile};
use tilewright_runtime::device::cuda::{CudaFunction, CudaModule, CudaStream, launch};
use tilewright_runtime::tensor::Hold;
use tilewright_runtime::{Device, DeviceTensor, PeerBuffer};

const SOURCE: &str = include_str!("limit.cu");
/// The most blocks of a gather.
const MOST_BLOCKS: usize = 256;
/// How long the gate stays closed: in that time every rank has asked for what it measures.
const CLOSED_NS: u64 = 300_000;

/// Kernels by hand over memory of all ranks, of one of them.
pub struct Limit {
    gather: CudaFunction,
    gate: CudaFunction,
    rank: usize,
    /// Two halves of so many rows.
    rows: PeerBuffer,
    half: usize,
    columns: usize,
    /// Of gathers, and of the gate.
    flags: [PeerBuffer; 2],
    epochs: [DeviceTensor<u32, 1>; 2],
}

/// A pointer for each rank, as the kernels take them.
type Places = Vec<u64>;

fn places(buffer: &PeerBuffer) -> Places {
    buffer.hold().iter().map(Hold::address).collect()
}

impl Limit {
    pub fn new(peers: &Peers, rows: usize, columns: usize) -> Result<Self, Box<dyn Error>> {
        let (device, ranks) = (peers.device(), peers.size());
        let cuda = device.as_cuda().ok_or("the device is no GPU")?;
        let source = format!("#define RANKS {ranks}\n{SOURCE}");
        let cubin = compile(&source, "limit", &CompileOptions::new(cuda.properties().architecture))?;
        let module = CudaModule::load(cuda, &cubin.bytes)?;
        let flags = || peers.buffer(ranks * MOST_BLOCKS * size_of::<u32>());
        Ok(Self {
            gather: module.function("gather")?,
            gate: module.function("gate")?,
            rank: peers.rank(),
            rows: peers.buffer(2 * rows * columns * size_of::<bf16>())?,
            half: rows * columns,
            columns,
            flags: [flags()?, flags()?],
            epochs: [device.zeros([MOST_BLOCKS])?, device.zeros([MOST_BLOCKS])?],
        })
    }

    /// Begins anew, with another number of blocks: the flags of a place are another's then. All ranks do it, and meet.
    pub fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        let rank = self.rank;
        let words = self.flags[0].bytes() / size_of::<u32>();
        self.flags[0]
            .tensor_mut::<u32, 1>(rank, 0, [words])?
            .copy_from(&vec![0; words])?;
        self.epochs[0].copy_from(&[0; MOST_BLOCKS])?;
        Ok(())
    }

    /// Gathers rows, on so many blocks of so many threads, into the place of this rank behind `start` others.
    pub fn gather(
        &self,
        stream: &CudaStream,
        src: &DeviceTensor<bf16, 2>,
        rows: u64,
        start: u64,
        [blocks, threads]: [u32; 2],
    ) -> Result<(), Box<dyn Error>> {
        let units = |elements: u64| (elements * size_of::<bf16>() as u64 / 16) as i64;
        let columns = self.columns as u64;
        let (mut out, mut flags) = (places(&self.rows), places(&self.flags[0]));
        let [mut many, mut first, mut half] = [rows * columns, start * columns, self.half as u64].map(units);
        let (mut src, mut epochs, mut rank) = (src.address(), self.epochs[0].address(), self.rank as i32);
        let mut arguments = [
            out.as_mut_ptr().cast::<c_void>(),
            flags.as_mut_ptr().cast(),
            (&raw mut src).cast(),
            (&raw mut many).cast(),
            (&raw mut first).cast(),
            (&raw mut half).cast(),
            (&raw mut epochs).cast(),
            (&raw mut rank).cast(),
        ];
        // SAFETY: the types are those of the kernel; the rows are in `src` and in a half, and whoever measures keeps all of it.
        Ok(unsafe { launch(&self.gather, blocks, [threads, 1, 1], 0, &mut arguments, stream) }?)
    }

    /// Lets what comes behind it in the stream begin when it has on all ranks.
    pub fn gate(&self, stream: &CudaStream) -> Result<(), Box<dyn Error>> {
        let (mut flags, mut closed_ns) = (places(&self.flags[1]), CLOSED_NS);
        let (mut epochs, mut rank) = (self.epochs[1].address(), self.rank as i32);
        let mut arguments = [
            flags.as_mut_ptr().cast::<c_void>(),
            (&raw mut closed_ns).cast(),
            (&raw mut epochs).cast(),
            (&raw mut rank).cast(),
        ];
        // SAFETY: as above.
        Ok(unsafe { launch(&self.gate, 1, [32, 1, 1], 0, &mut arguments, stream) }?)
    }

    /// What lies in a half of this rank's rows.
    pub fn gathered(&self, device: &Device, half: usize, rows: u64) -> Result<Vec<bf16>, Box<dyn Error>> {
        device.synchronize()?;
        let start = half * self.half * size_of::<bf16>();
        Ok(self
            .rows
            .tensor::<bf16, 2>(self.rank, start, [rows as usize, self.columns])?
            .download()?)
    }
}
