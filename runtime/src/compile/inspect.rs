//! Facts about a cubin, read without a GPU.

use super::elf::{self, CubinError, Section};

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
    elf::sections(bytes).map(|_| ())
}

/// The resources of every kernel of a cubin, in the order of their names.
pub fn resources(cubin: &[u8]) -> Result<Vec<(String, Resources)>, CubinError> {
    let sections = elf::sections(cubin)?;
    let mut kernels: Vec<(String, Resources)> = sections
        .iter()
        .filter_map(|section| section.name.strip_prefix(".nv.info."))
        .map(|kernel| {
            (
                kernel.to_owned(),
                Resources {
                    shared_bytes: shared(&sections, kernel),
                    ..Default::default()
                },
            )
        })
        .collect();
    for section in sections.iter().filter(|section| section.name == ".nv.info") {
        for attribute in Attributes(section.data) {
            let Attribute { kind, payload } = attribute?;
            let (Some(symbol), Some(value)) = (elf::u32_at(payload, 0), elf::u32_at(payload, 4)) else {
                continue;
            };
            let name = symbol_name(&sections, section.link, symbol);
            let Some((_, found)) = kernels.iter_mut().find(|(kernel, _)| Some(kernel.as_str()) == name) else {
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
    kernels.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(kernels)
}

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
            return Some(Err(CubinError {
                reason: "an entry of .nv.info runs past its end",
            }));
        };
        self.0 = rest;
        Some(Ok(Attribute { kind, payload }))
    }
}

fn shared(sections: &[Section<'_>], kernel: &str) -> u32 {
    // From sm_90 on, CUDA keeps the beginning for itself. That counts for how many blocks fit, and the driver leaves it out
    // of what the kernel has.
    const RESERVED: u64 = 1024;
    let reserved = if sections.iter().any(|section| section.name == ".nv.shared.reserved.0") {
        RESERVED
    } else {
        0
    };
    let own = sections
        .iter()
        .find(|section| section.name.strip_prefix(".nv.shared.") == Some(kernel));
    own.map_or(0, |section| {
        u32::try_from(section.size.saturating_sub(reserved)).unwrap_or(u32::MAX)
    })
}

/// The name of a symbol in the table that a section refers to.
fn symbol_name<'a>(sections: &[Section<'a>], table: usize, symbol: u32) -> Option<&'a str> {
    const ENTRY: usize = 24;
    let table = sections.get(table)?;
    let name = elf::u32_at(table.data, (symbol as usize).checked_mul(ENTRY)?)?;
    elf::text_at(sections.get(table.link)?.data, name as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Architecture, CompileOptions, compile, tests::nvrtc};

    const SOURCE: &str = r#"
        extern "C" __global__ void plain(float* out) { out[threadIdx.x] = 1.0f; }
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
        for architecture in [(8, 0), (9, 0), (10, 0)].map(|(major, minor)| Architecture::new(major, minor)) {
            if !nvrtc.supported().contains(&architecture) {
                continue;
            }
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
        }
    }
}
