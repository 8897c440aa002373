//! From CUDA C++ to a cubin, with NVIDIA's run-time compiler.
//!
//! NVRTC needs no GPU and no CUDA toolkit: its one library is found by [`Nvrtc::load`]. It is asked for a cubin rather
//! than for PTX, because the driver would have to compile PTX again, and refuses that of a newer NVRTC.

mod architecture;
mod compiler;
mod diagnostic;
mod error;
mod inspect;
mod library;
mod nvrtc;
mod options;
mod ptx;
mod unended;

use std::{sync::Arc, time::Instant};

pub use architecture::{Architecture, ArchitectureError};
pub use compiler::{Compiler, Settled, UnknownCompiler};
pub use diagnostic::{Diagnostic, Severity, parse as parse_log};
pub use error::CompileError;
pub use inspect::{CubinError, Resources, block_threads, check_cubin, resources};
pub use library::Nvrtc;
pub use options::CompileOptions;
pub(crate) use ptx::assemble;
pub use ptx::parse_ptx_log;

pub use crate::elf::ElfError;
pub use crate::library::{Searched, add_packages};

use nvrtc::{Output, Task};
#[cfg(test)]
pub(crate) use unended::{Compilation, Unended};

/// Machine code for one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cubin {
    /// The ELF file that a device loads.
    pub bytes: Arc<[u8]>,
    /// The architecture that it runs on.
    pub architecture: Architecture,
    /// What the compiler said: empty, or warnings that [`parse_log`] reads.
    pub log: String,
}

/// Compiles a source to a cubin. The kernel's name is for the messages; a place without a `#line` is in `<name>.cu`.
///
/// It takes tens of milliseconds and blocks; any number of threads may compile at once. What takes longer than the
/// options' [limit](CompileOptions::limit) is an error, and its thread is left to itself: see [`unended`].
pub fn compile(source: &str, name: &str, options: &CompileOptions) -> Result<Cubin, CompileError> {
    let (bytes, log) = run(source, name, options, options.arguments(), Output::Cubin)?;
    Ok(Cubin {
        bytes: bytes.into(),
        architecture: options.arch,
        log,
    })
}

/// Compiles a source to PTX, the assembly that people read. Nothing loads it.
pub fn compile_ptx(source: &str, name: &str, options: &CompileOptions) -> Result<String, CompileError> {
    let (mut text, _) = run(source, name, options, options.ptx_arguments(), Output::Ptx)?;
    while text.pop_if(|last| *last == 0).is_some() {}
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// How many compilations of this process have been given up, because they took longer than their limit, and have not ended:
/// each keeps a core busy. With four, no other is begun ([`CompileError::TooManyUnended`]).
pub fn unended() -> usize {
    unended::UNENDED.count()
}

fn run(
    source: &str,
    kernel: &str,
    options: &CompileOptions,
    arguments: Vec<String>,
    output: Output,
) -> Result<(Vec<u8>, String), CompileError> {
    let nvrtc = Nvrtc::load()?;
    let started = Instant::now();
    let architecture = options.arch;
    let compilation = unended::Compilation {
        kernel: kernel.to_owned(),
        source: source.to_owned(),
        arguments,
    };
    let compile = {
        let compilation = compilation.clone();
        move || {
            let unended::Compilation {
                kernel,
                source,
                arguments,
            } = compilation;
            let task = Task {
                kernel: &kernel,
                source: &source,
                architecture,
            };
            nvrtc::run(nvrtc, &task, arguments, output)
        }
    };
    let result = unended::UNENDED.within(compilation, options.limit, compile)??;
    tracing::debug!(kernel, architecture = %options.arch, elapsed = ?started.elapsed(), bytes = result.0.len(), "compiled");
    Ok(result)
}

#[cfg(test)]
mod tests;
