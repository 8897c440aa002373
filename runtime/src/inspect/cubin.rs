//! What a kernel of a bundle or of the disk cache tells of itself: its text is not there any more.

use serde::Serialize;

use super::assembly::{disassemble, resources_of};
use super::listing::{self, Sources};
use super::occupancy::Block;
use super::{Listing, Missing, Occupancy};
use crate::cache::StoredCubin;
use crate::compile::{CubinError, block_threads};

/// What is known of a compiled kernel.
///
/// As text ([`Display`](std::fmt::Display)) it is for terminals; it serialises for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CubinInspection {
    /// Its name in the text that it was compiled from.
    pub name: String,
    /// The key that it is found by.
    pub key: String,
    /// Who compiled it.
    pub compiler: String,
    /// The architecture that it runs on, such as `sm_90`.
    pub architecture: String,
    /// Bytes of the cubin.
    pub cubin_bytes: usize,
    /// Threads of a block; `None` if it does not say.
    pub threads: Option<u32>,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory of a block, without what a launch adds.
    pub shared_bytes: u32,
    /// Bytes of local memory of a thread.
    pub local_bytes: u32,
    /// How many blocks a multiprocessor holds; `None` where threads or the limits of the architecture are not known.
    pub occupancy: Option<Occupancy>,
    /// Its instructions, if there is a disassembler.
    pub sass: Option<Listing>,
    /// What is not here, and why.
    pub missing: Vec<Missing>,
}

impl CubinInspection {
    /// Looks at a kernel of a [bundle](crate::cache::Bundle::cubins) or of the [disk cache](crate::cache::DiskCache).
    ///
    /// # Errors
    /// It is no cubin.
    pub fn of(stored: &StoredCubin) -> Result<Self, CubinError> {
        let cubin = &stored.cubin;
        let found = resources_of(cubin)?;
        let threads = block_threads(&cubin.bytes)?.first().map(|(_, threads)| *threads);
        let (mut missing, mut sass) = (Vec::new(), None);
        match disassemble(&cubin.bytes) {
            Ok(text) => {
                sass = Some(Listing {
                    name: "sass",
                    title: "SASS",
                    lines: listing::sass(&text, &mut Sources::default()),
                });
            }
            Err(why) => missing.push(Missing { what: "SASS", why }),
        }
        let block = threads.map(|threads| Block {
            threads,
            registers: found.registers,
            shared_bytes: found.shared_bytes,
        });
        Ok(Self {
            name: stored.name.clone(),
            key: stored.key.to_string(),
            compiler: stored.compiler.clone(),
            architecture: cubin.architecture.to_string(),
            cubin_bytes: cubin.bytes.len(),
            threads,
            registers: found.registers,
            shared_bytes: found.shared_bytes,
            local_bytes: found.stack_bytes,
            occupancy: block.and_then(|block| Occupancy::of(block, cubin.architecture)),
            sass,
            missing,
        })
    }
}
