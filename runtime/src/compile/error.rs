//! What can go wrong between a source and its cubin.

use std::{fmt, path::PathBuf, time::Duration};

use tilewright_dsl::backend::ptx::Unsupported;

use super::{Architecture, Diagnostic};
use crate::library::{Looked, Searched};

/// Why a source did not become a cubin.
#[derive(Clone, thiserror::Error)]
pub enum CompileError {
    /// No place that could hold NVRTC holds one that loads.
    #[error("NVRTC, NVIDIA's run-time compiler, was not found.\n{}{INSTALL}", Looked(searched))]
    NvrtcNotFound {
        /// Where it was looked for, in order, and why each place did not do.
        searched: Vec<Searched>,
    },
    /// `TILEWRIGHT_NVRTC` is set, and what it names does not load. Nothing else is tried then.
    #[error(
        "TILEWRIGHT_NVRTC is set to `{}`, which gives no NVRTC.\n{}\
         Set it to libnvrtc.so or to the folder that holds it, or unset it to search the usual places.",
        value.display(),
        Looked(searched)
    )]
    NamedNvrtc {
        /// What the variable holds.
        value: PathBuf,
        /// What was tried there.
        searched: Vec<Searched>,
    },
    /// The NVRTC at hand does not know the architecture.
    #[error(
        "NVRTC {}.{} cannot compile kernel `{kernel}` for {architecture}: it supports {}. \
         Use an NVRTC of the CUDA version that knows this GPU.",
        version.0, version.1, list(supported)
    )]
    UnsupportedArchitecture {
        /// The kernel asked for.
        kernel: String,
        /// The architecture asked for.
        architecture: Architecture,
        /// What this NVRTC supports, oldest first.
        supported: Vec<Architecture>,
        /// The version of this NVRTC.
        version: (u32, u32),
    },
    /// The compiler refused the source.
    #[error(
        "{compiler} rejected kernel `{kernel}` for {architecture}\n{}",
        Findings(diagnostics, log)
    )]
    Rejected {
        /// NVRTC or the driver.
        compiler: &'static str,
        /// The kernel.
        kernel: String,
        /// What it was compiled for.
        architecture: Architecture,
        /// The errors and warnings, each with its file and line.
        diagnostics: Vec<Diagnostic>,
        /// The log as the compiler wrote it.
        log: String,
    },
    /// A text that goes to NVRTC holds a NUL byte, where C would end it.
    #[error("the {what} of kernel `{kernel}` holds a NUL byte at offset {offset}: remove it")]
    InteriorNul {
        /// The kernel.
        kernel: String,
        /// Which text.
        what: &'static str,
        /// Where the NUL is.
        offset: usize,
    },
    /// NVRTC failed for a reason of its own: it is out of memory, or has met an internal error.
    #[error(
        "{call} failed for kernel `{kernel}`: {message} (NVRTC result {code}){}",
        LogTail(log)
    )]
    Nvrtc {
        /// The kernel.
        kernel: String,
        /// The NVRTC function that failed.
        call: &'static str,
        /// Its result code.
        code: i32,
        /// NVRTC's name for that code.
        message: String,
        /// The log, where there is one.
        log: String,
    },
    /// The compiler has taken longer than the limit, now or when the same was last asked for, and has not ended yet.
    #[error(
        "the compiler does not end with kernel `{kernel}`, {limit:?} were allowed; its thread is left to itself. Where it only \
         is slow, allow more with `Device::set_compile_limit` or `CompileOptions::limit`; else simplify the kernel, instructions \
         of its author's (`inline_ptx`) first"
    )]
    Unended {
        /// The kernel.
        kernel: String,
        /// How long it was to take at most.
        limit: Duration,
    },
    /// So many compilations do not end that none is begun any more.
    #[error(
        "kernel `{kernel}` is not compiled: the compiler has not ended with {}, and each keeps a core busy. What is loaded or \
         cached can still be launched; compile again in a new process, without these kernels",
        unended.join(", ")
    )]
    TooManyUnended {
        /// The kernel.
        kernel: String,
        /// Those that do not end.
        unended: Vec<String>,
    },
    /// PTX cannot say what the kernel does, and there is no NVRTC.
    #[error("kernel `{kernel}` needs NVRTC, as {reason}\n{missing}")]
    NeedsNvrtc {
        /// The kernel.
        kernel: String,
        /// What PTX cannot say.
        reason: Unsupported,
        /// Why there is no NVRTC.
        missing: Box<CompileError>,
    },
    /// The process ends: it takes its libraries down, the compiler among them.
    #[error("kernel `{kernel}` is not compiled: the process is ending. Let its threads end before it does")]
    Ending {
        /// The kernel.
        kernel: String,
    },
    /// The system gives no thread to compile on.
    #[error("there is no thread to compile kernel `{kernel}` on: {reason}")]
    NoThread {
        /// The kernel.
        kernel: String,
        /// What the system says.
        reason: String,
    },
}

/// The same text as [`Display`](fmt::Display): what a failed `unwrap` or `main` prints is meant for people too.
impl fmt::Debug for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const INSTALL: &str = "To install it: `pip install nvidia-cuda-nvrtc` (it needs no GPU), or install a CUDA toolkit, \
                       version 12 or 13. To name one: set TILEWRIGHT_NVRTC to libnvrtc.so or to its folder.";

/// The findings, or the log itself where nothing could be read out of it.
struct Findings<'a>(&'a [Diagnostic], &'a str);

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(self.1.trim_end());
        }
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

struct LogTail<'a>(&'a str);

impl fmt::Display for LogTail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim_end() {
            "" => Ok(()),
            log => write!(f, "\n{log}"),
        }
    }
}

fn list(architectures: &[Architecture]) -> String {
    architectures
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use tilewright_dsl::backend::ptx::Target;

    use super::*;

    #[test]
    fn a_missing_library_says_where_it_looked_and_what_to_install() {
        let error = CompileError::NvrtcNotFound {
            searched: vec![Searched {
                origin: "CUDA_HOME",
                place: "/opt/cuda".into(),
                outcome: "no libnvrtc.so".to_owned(),
            }],
        };
        assert_eq!(
            error.to_string(),
            "NVRTC, NVIDIA's run-time compiler, was not found.\n  CUDA_HOME: /opt/cuda: no libnvrtc.so\n\
             To install it: `pip install nvidia-cuda-nvrtc` (it needs no GPU), or install a CUDA toolkit, version 12 or \
             13. To name one: set TILEWRIGHT_NVRTC to libnvrtc.so or to its folder."
        );
    }

    #[test]
    fn what_ptx_cannot_say_says_so_and_why_there_is_no_nvrtc() {
        let reason = Target::new(70).expect_err("too old");
        let error = CompileError::NeedsNvrtc {
            kernel: "copy".to_owned(),
            reason,
            missing: Box::new(CompileError::NvrtcNotFound { searched: Vec::new() }),
        };
        let shown = error.to_string();
        assert!(
            shown.starts_with("kernel `copy` needs NVRTC, as PTX for sm_70 has no ")
                && shown.contains("pip install nvidia-cuda-nvrtc"),
            "{shown}"
        );
    }

    #[test]
    fn a_rejection_without_findings_shows_the_log() {
        let error = CompileError::Rejected {
            compiler: "NVRTC",
            kernel: "copy".to_owned(),
            architecture: Architecture::new(9, 0),
            diagnostics: Vec::new(),
            log: "something\nelse\n".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "NVRTC rejected kernel `copy` for sm_90\nsomething\nelse"
        );
    }
}
