//! What a compilation is asked for, besides the source.

use std::time::Duration;

use super::Architecture;

/// How a source is compiled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompileOptions {
    /// The architecture that the code runs on.
    pub arch: Architecture,
    /// Whether the cubin maps its instructions to source lines, for profilers and sanitizers.
    pub line_info: bool,
    /// Further NVRTC options, passed on as they are, after our own.
    pub extra: Vec<String>,
    /// How long NVRTC may take. It is no part of what a cubin is kept by.
    pub limit: Duration,
}

/// Drops the declarations that generated code never uses: a third less time in the front end.
pub(super) const MINIMAL: &str = "--minimal";

impl CompileOptions {
    /// Far more than any kernel takes that is compiled at all.
    pub const LIMIT: Duration = Duration::from_secs(120);

    /// The options for an architecture: no line information, nothing extra, [two minutes](Self::LIMIT) at most.
    pub fn new(arch: Architecture) -> Self {
        Self {
            arch,
            line_info: false,
            extra: Vec::new(),
            limit: Self::LIMIT,
        }
    }

    /// Every argument given to NVRTC for a cubin, in order. Part of what a cached cubin is keyed by.
    pub fn arguments(&self) -> Vec<String> {
        self.arguments_for(&self.arch.to_string())
    }

    /// The same for PTX, which NVRTC makes when the target is a virtual architecture.
    pub(super) fn ptx_arguments(&self) -> Vec<String> {
        self.arguments_for(&format!("compute_{}{}", self.arch.major, self.arch.minor))
    }

    fn arguments_for(&self, target: &str) -> Vec<String> {
        let mut arguments = vec![
            format!("--gpu-architecture={target}"),
            "--std=c++17".to_owned(),
            MINIMAL.to_owned(),
            // Contracted arithmetic would differ from the CPU device in the last bit.
            "--fmad=false".to_owned(),
            // The default raises the stack limit of the whole process.
            "--modify-stack-limit=false".to_owned(),
        ];
        if self.line_info {
            arguments.push("-lineinfo".to_owned());
        }
        arguments.extend(self.extra.iter().cloned());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_information_and_extras_come_after_our_own_arguments() {
        let mut options = CompileOptions::new(Architecture::new(9, 0));
        let plain = options.arguments();
        assert_eq!(plain[0], "--gpu-architecture=sm_90");
        options.line_info = true;
        options.extra.push("--maxrregcount=32".to_owned());
        let more = options.arguments();
        assert_eq!(more[..plain.len()], plain[..]);
        assert_eq!(more[plain.len()..], ["-lineinfo", "--maxrregcount=32"]);
        assert_eq!(options.ptx_arguments()[0], "--gpu-architecture=compute_90");
    }
}
