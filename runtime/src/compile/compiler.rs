//! Which compiler makes the code of a GPU's kernels.

use std::env;
use std::fmt;
use std::str::FromStr;

use tilewright_dsl::backend::ptx::Target;

use super::{Architecture, CompileError, Nvrtc};

/// The environment variable that chooses for devices that are not told.
const VARIABLE: &str = "TILEWRIGHT_COMPILER";

/// Which compiler makes the code of a device's kernels.
///
/// Both print the same thread IR and compute the same bits. NVRTC is a library of its own; a GPU's driver, which compiles
/// PTX, is always there.
///
/// ```
/// use tilewright_runtime::compile::Compiler;
///
/// assert_eq!("ptx".parse(), Ok(Compiler::Ptx));
/// assert_eq!(Compiler::default().to_string(), "auto");
/// assert!("gcc".parse::<Compiler>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Compiler {
    /// NVRTC where there is one that knows the GPU, and the driver elsewhere: where rows are moved, both compilers' code takes the same
    /// time within two hundredths at all points measured; where elements meet, NVRTC's has shorter quotients. The driver is ready in
    /// less than half the time (12 ms a kernel against 29 on one thread, 1.7 against 8.3 on sixteen; H200, CUDA 13.0, the readings
    /// `compilers-h200.jsonl` and `cold-h200.txt`). So a launch that has to wait is served by the driver's code until NVRTC's,
    /// compiled behind, takes its place ([`Variant::is_provisional`](crate::Variant::is_provisional)); one that is to be
    /// [`Exact`](tilewright_dsl::call::Specialize::Exact) waits for NVRTC, and so does a warm-up. What a bundle or the disk cache
    /// has of NVRTC's is used at once.
    #[default]
    Auto,
    /// NVRTC: without one, a kernel that is in no bundle and not on the disk is an error.
    Nvrtc,
    /// The driver. What PTX cannot say goes to NVRTC.
    Ptx,
}

/// A text that names no compiler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no compiler: it is `auto`, `nvrtc` or `ptx`")]
pub struct UnknownCompiler {
    /// What was read.
    pub text: String,
}

impl Compiler {
    /// What the environment variable `TILEWRIGHT_COMPILER` chooses: `auto`, `nvrtc` or `ptx`. [`Compiler::Auto`] if it is not
    /// set.
    ///
    /// # Errors
    /// It names none of them.
    pub fn from_environment() -> Result<Self, UnknownCompiler> {
        match env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
            Some(value) => value.to_string_lossy().parse(),
            None => Ok(Self::Auto),
        }
    }

    /// Who compiles for a GPU of an architecture on this machine, and why.
    ///
    /// # Errors
    /// It is NVRTC, and there is none.
    pub fn settled(self, architecture: Architecture) -> Result<Settled, CompileError> {
        self.settle(architecture, || Nvrtc::load().map(Nvrtc::supported))
    }

    /// The same, where NVRTC, if it is there, knows these architectures.
    fn settle<'n>(
        self,
        architecture: Architecture,
        nvrtc: impl FnOnce() -> Result<&'n [Architecture], CompileError>,
    ) -> Result<Settled, CompileError> {
        let settled = |compiler, why| Settled { compiler, why };
        let has_ptx = Target::new(architecture.number()).is_ok();
        match self {
            Self::Ptx if has_ptx => Ok(settled(self, "it was chosen")),
            Self::Ptx => nvrtc().map(|_| settled(Self::Nvrtc, "PTX is not printed for this GPU")),
            Self::Auto => match nvrtc() {
                Ok(known) if has_ptx && !known.contains(&architecture) => {
                    Ok(settled(Self::Ptx, "NVRTC does not know this GPU"))
                }
                Ok(_) => Ok(settled(Self::Nvrtc, "it was found")),
                Err(CompileError::NvrtcNotFound { .. }) if has_ptx => Ok(settled(Self::Ptx, "there is no NVRTC")),
                Err(error) => Err(error),
            },
            Self::Nvrtc => nvrtc().map(|_| settled(self, "it was chosen")),
        }
    }
}

/// Who compiles, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// NVRTC or the driver.
    pub compiler: Compiler,
    /// Why it is this one.
    pub why: &'static str,
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.compiler {
            Compiler::Ptx => "the driver, from PTX",
            _ => "NVRTC, from CUDA C++",
        };
        write!(f, "{who}: {}", self.why)
    }
}

impl fmt::Display for Compiler {
    /// The word of the environment variable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Nvrtc => "nvrtc",
            Self::Ptx => "ptx",
        })
    }
}

impl FromStr for Compiler {
    type Err = UnknownCompiler;

    fn from_str(text: &str) -> Result<Self, UnknownCompiler> {
        [Self::Auto, Self::Nvrtc, Self::Ptx]
            .into_iter()
            .find(|compiler| compiler.to_string() == text)
            .ok_or_else(|| UnknownCompiler { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOPPER: Architecture = Architecture::new(9, 0);

    fn settle(chosen: Compiler, gpu: Architecture, nvrtc: Option<&[Architecture]>) -> Option<(Compiler, &'static str)> {
        let missing = || CompileError::NvrtcNotFound { searched: Vec::new() };
        let settled = chosen.settle(gpu, || nvrtc.ok_or_else(missing));
        settled.ok().map(|Settled { compiler, why }| (compiler, why))
    }

    #[test]
    fn nvrtc_compiles_where_it_is_and_the_driver_elsewhere_unless_one_of_them_is_chosen() {
        let (known, old): (&[_], &[_]) = (&[HOPPER], &[Architecture::new(7, 0)]);
        let (nvrtc, ptx) = (Compiler::Nvrtc, Compiler::Ptx);
        let auto = |nvrtc| settle(Compiler::Auto, HOPPER, nvrtc);
        assert_eq!(auto(Some(known)), Some((nvrtc, "it was found")));
        assert_eq!(auto(Some(old)), Some((ptx, "NVRTC does not know this GPU")));
        assert_eq!(auto(None), Some((ptx, "there is no NVRTC")));
        assert_eq!(settle(nvrtc, HOPPER, Some(known)), Some((nvrtc, "it was chosen")));
        assert_eq!(settle(nvrtc, HOPPER, None), None);
        assert_eq!(settle(ptx, HOPPER, None), Some((ptx, "it was chosen")));
    }

    #[test]
    fn where_no_ptx_is_printed_nvrtc_is_needed() {
        let volta = Architecture::new(7, 0);
        let why = "PTX is not printed for this GPU";
        assert_eq!(
            settle(Compiler::Ptx, volta, Some(&[volta])),
            Some((Compiler::Nvrtc, why))
        );
        assert_eq!(
            settle(Compiler::Auto, volta, Some(&[])),
            Some((Compiler::Nvrtc, "it was found"))
        );
        for chosen in [Compiler::Auto, Compiler::Ptx] {
            assert_eq!(settle(chosen, volta, None), None);
        }
    }

    #[test]
    fn a_choice_reads_back_as_it_is_written() {
        for compiler in [Compiler::Auto, Compiler::Nvrtc, Compiler::Ptx] {
            assert_eq!(compiler.to_string().parse(), Ok(compiler));
        }
        let error = "NVRTC".parse::<Compiler>().expect_err("in small letters");
        assert_eq!(
            error.to_string(),
            "`NVRTC` names no compiler: it is `auto`, `nvrtc` or `ptx`"
        );
    }
}
