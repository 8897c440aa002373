//! Facts about a cubin, read without a GPU.

use std::collections::{BTreeMap, HashMap};

use object::LittleEndian;
use object::elf::Sym64;
use object::pod::slice_from_bytes;
use object::read::elf::{FileHeader, SectionHeader, Sym};

use crate::elf::{ENDIAN, Elf, ElfError, Section, text_at};

/// Bytes that should be a cubin are not, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no cubin: {reason}. Delete the file they came from and compile again")]
pub struct CubinError {
    /// What did not fit.
    #[from]
    pub reason: ElfError,
}

/// What one kernel takes of a multiprocessor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Registers per thread.
    pub registers: u32,
    /// Bytes of local memory per thread: spilled registers, and arrays that are indexed at run time.
    pub stack_bytes: u32,
    /// Bytes of shared memory per block that the kernel declares, without what a launch adds.
    pub shared_bytes: u32,
}

/// Whether the bytes are an ELF file with every part that its header speaks of: a driver would read beyond the end of one
/// that was cut off.
pub fn check_cubin(bytes: &[u8]) -> Result<(), CubinError> {
    Ok(Elf::read(bytes).map(|_| ())?)
}

/// The resources of every kernel of a cubin, in the order of their names.
pub fn resources(cubin: &[u8]) -> Result<Vec<(String, Resources)>, CubinError> {
    let cubin = Cubin::read(cubin)?;
    let reserved = cubin.reserved();
    let mut kernels: BTreeMap<&str, Resources> = BTreeMap::new();
    for name in cubin.sections.keys() {
        let Some(kernel) = name.strip_prefix(".nv.info.") else {
            continue;
        };
        let shared = cubin.sections.get(format!(".nv.shared.{kernel}").as_str());
        let shared = shared.map_or(0, |section| section.sh_size(ENDIAN).saturating_sub(reserved));
        let found = Resources {
            shared_bytes: u32::try_from(shared).unwrap_or(u32::MAX),
            ..Default::default()
        };
        kernels.insert(kernel, found);
    }
    if let Some(facts) = cubin.sections.get(".nv.info") {
        for attribute in Attributes(cubin.data(facts)) {
            let Attribute { kind, payload } = attribute?;
            let (Some(symbol), Some(value)) = (word_at(payload, 0), word_at(payload, 4)) else {
                continue;
            };
            let kernel = cubin.symbol_name(facts, symbol);
            let Some(found) = kernel.and_then(|kernel| kernels.get_mut(kernel)) else {
                continue;
            };
            match kind {
                REGISTER_COUNT => found.registers = value,
                // The smallest stack includes the functions that the kernel calls, the frame is its own.
                FRAME_SIZE | MIN_STACK_SIZE => found.stack_bytes = found.stack_bytes.max(value),
                _ => {}
            }
        }
    }
    Ok(kernels
        .into_iter()
        .map(|(kernel, found)| (kernel.to_owned(), found))
        .collect())
}

/// The most threads of a block that each kernel of a cubin was compiled for, of those that say so, in the order of their
/// names. Tilewright's kernels are launched with so many.
pub fn block_threads(cubin: &[u8]) -> Result<Vec<(String, u32)>, CubinError> {
    let cubin = Cubin::read(cubin)?;
    let mut kernels = BTreeMap::new();
    for (name, facts) in &cubin.sections {
        let Some(kernel) = name.strip_prefix(".nv.info.") else {
            continue;
        };
        for attribute in Attributes(cubin.data(facts)) {
            let Attribute { kind, payload } = attribute?;
            if matches!(kind, MAX_THREADS | REQUIRED_THREADS) {
                let axes = [0, 4, 8].map(|at| word_at(payload, at).unwrap_or(1));
                kernels.insert(kernel.to_owned(), axes.into_iter().fold(1, u32::saturating_mul));
            }
        }
    }
    Ok(kernels.into_iter().collect())
}

/// A cubin, and its sections by their names.
struct Cubin<'a> {
    elf: Elf<'a, &'a [u8]>,
    sections: HashMap<&'a str, &'a Section>,
}

impl<'a> Cubin<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ElfError> {
        let elf = Elf::read(bytes)?;
        let mut sections = HashMap::new();
        if !elf.sections.is_empty() {
            let names = elf
                .header
                .section_strings_index(ENDIAN, bytes)
                .map_err(ElfError::damaged)?;
            let names = elf.sections[names.0].data(ENDIAN, bytes).map_err(ElfError::damaged)?;
            for section in elf.sections {
                let name = text_at(names, section.sh_name(ENDIAN) as usize);
                let name = name.ok_or_else(|| ElfError::damaged("a section has no name"))?;
                sections.entry(name).or_insert(section);
            }
        }
        Ok(Self { elf, sections })
    }

    /// The bytes of a section; none if it only reserves memory.
    fn data(&self, section: &Section) -> &'a [u8] {
        section.data(ENDIAN, self.elf.data).unwrap_or_default()
    }

    /// The bytes of shared memory at the beginning that CUDA keeps for itself, from sm_90 on. They count for how many blocks
    /// fit, and the driver leaves them out of what the kernel has.
    fn reserved(&self) -> u64 {
        match self.sections.contains_key(".nv.shared.reserved.0") {
            true => 1024,
            false => 0,
        }
    }

    /// The name of a symbol in the table that a section refers to.
    fn symbol_name(&self, section: &Section, symbol: u32) -> Option<&'a str> {
        let table = self.elf.sections.get(section.sh_link(ENDIAN) as usize)?;
        let bytes = self.data(table);
        let (symbols, _) =
            slice_from_bytes::<Sym64<LittleEndian>>(bytes, bytes.len() / size_of::<Sym64<LittleEndian>>()).ok()?;
        let names = self.elf.sections.get(table.sh_link(ENDIAN) as usize)?;
        text_at(self.data(names), symbols.get(symbol as usize)?.st_name(ENDIAN) as usize)
    }
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

const MAX_THREADS: u8 = 0x05;
const REQUIRED_THREADS: u8 = 0x10;
const FRAME_SIZE: u8 = 0x11;
const MIN_STACK_SIZE: u8 = 0x12;
const REGISTER_COUNT: u8 = 0x2f;

/// An entry of a `.nv.info` section; `payload` is empty unless it has a size of its own.
struct Attribute<'a> {
    kind: u8,
    payload: &'a [u8],
}

/// The entries of a `.nv.info` section, one after another.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, CubinError>;

    fn next(&mut self) -> Option<Self::Item> {
        const SIZED: u8 = 4;
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let [format, kind, low, high] = *head;
        let size = if format == SIZED {
            usize::from(u16::from_le_bytes([low, high]))
        } else {
            0
        };
        let Some((payload, rest)) = rest.split_at_checked(size) else {
            self.0 = &[];
            return Some(Err(ElfError::damaged("an entry of .nv.info runs past its end").into()));
        };
        self.0 = rest;
        Some(Ok(Attribute { kind, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Architecture, CompileOptions, compile, tests::nvrtc};

    const SOURCE: &str = r#"
        extern "C" __global__ void __launch_bounds__(96) plain(float* out) { out[threadIdx.x] = 1.0f; }
        extern "C" __global__ void sharing(float* out, int i) {
            __shared__ float tile[256];
            tile[threadIdx.x] = out[threadIdx.x];
            __syncthreads();
            out[threadIdx.x] = tile[i];
        }
        __device__ __noinline__ float indexed(float* out, int i) {
            float kept[16];
            for (int k = 0; k < 16; ++k) kept[k] = out[k * 3];
            kept[i & 15] = 3.0f;
            return kept[(i * 7) & 15];
        }
        extern "C" __global__ void calling(float* out, int i) { out[1] = indexed(out, i); }
    "#;

    #[test]
    fn registers_local_memory_and_shared_memory_are_read_from_the_cubin() {
        let Some(nvrtc) = nvrtc() else { return };
        // Of the last, no compiler before 12.8 knows.
        let known = [(8, 0), (9, 0), (10, 0)].map(|(major, minor)| Architecture::new(major, minor));
        let (all, supported) = (known.len(), nvrtc.supported());
        let known: Vec<_> = known.into_iter().filter(|known| supported.contains(known)).collect();
        assert!(known.len() >= all - 1, "only {known:?} of {supported:?}");
        for architecture in known {
            let cubin = compile(SOURCE, "three", &CompileOptions::new(architecture)).expect("it compiles");
            let found = resources(&cubin.bytes).expect("a cubin");
            let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["calling", "plain", "sharing"]);
            assert!(
                found.iter().all(|(_, kernel)| (4..=64).contains(&kernel.registers)),
                "{found:?}"
            );
            assert_eq!([0, 1, 2].map(|index: usize| found[index].1.stack_bytes), [64, 0, 0]);
            assert_eq!([0, 1, 2].map(|index: usize| found[index].1.shared_bytes), [0, 0, 1024]);
            let bounded = block_threads(&cubin.bytes).expect("a cubin");
            assert_eq!(bounded, [("plain".to_owned(), 96)]);
        }
    }

    #[test]
    fn a_damaged_cubin_is_an_error_and_never_a_panic() {
        if nvrtc().is_none() {
            return;
        }
        let cubin = compile(SOURCE, "three", &CompileOptions::new(Architecture::new(9, 0))).expect("it compiles");
        for cut in 0..cubin.bytes.len() {
            assert!(resources(&cubin.bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..cubin.bytes.len() {
            let mut damaged = cubin.bytes.to_vec();
            damaged[at] ^= 0xff;
            let _ = resources(&damaged);
            let _ = block_threads(&damaged);
        }
    }
}
