//! What a compiler made of a text: its own figures, and its instructions.

use std::ffi::OsStr;
use std::io::Write;

use crate::compile::{Cubin, CubinError, Resources, resources};
use crate::library::Tool;

/// NVIDIA's disassembler.
const NVDISASM: Tool = Tool {
    name: "nvdisasm",
    variable: "TILEWRIGHT_NVDISASM",
    project: "cuda-tools",
};

/// Asks the assembler that a compiler has for its figures.
pub(super) const VERBOSE: &str = "--ptxas-options=-v";

/// The instructions of a cubin, each below the line that it comes from.
///
/// # Errors
/// There is no disassembler, or it fails; in words.
pub(super) fn disassemble(cubin: &[u8]) -> Result<String, String> {
    let program = NVDISASM.find().ok_or(
        "there is no nvdisasm in PATH, CUDA toolkits or Python packages: `pip install nvidia-cuda-nvdisasm`, or name its \
         file in TILEWRIGHT_NVDISASM",
    )?;
    let file = || -> std::io::Result<_> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(cubin)?;
        file.flush()?;
        Ok(file)
    };
    let file = file().map_err(|error| format!("the cubin cannot be written for nvdisasm: {error}"))?;
    let options = ["--print-code", "--print-line-info"].map(OsStr::new);
    let arguments = [options[0], options[1], file.path().as_os_str()];
    let text = Tool::run(&program, &arguments).ok_or_else(|| format!("{} does not read it", program.display()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What the only kernel of a cubin takes of a multiprocessor.
pub(super) fn resources_of(cubin: &Cubin) -> Result<Resources, CubinError> {
    let all = resources(&cubin.bytes)?;
    Ok(all.first().map(|(_, found)| *found).unwrap_or_default())
}

/// The bytes that a thread stores and loads because registers do not suffice, from what the assembler says.
pub(super) fn spills(log: &str) -> Option<[u32; 2]> {
    let before = |words: &str| {
        let (before, _) = log.split_once(words)?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    Some([before(" bytes spill stores")?, before(" bytes spill loads")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spills_are_what_the_assembler_says() {
        let log = "ptxas info    : Function properties for k\nptxas         .     8 bytes stack frame, 16 bytes spill stores, \
                   24 bytes spill loads\nptxas info    : Used 12 registers\n";
        assert_eq!(spills(log), Some([16, 24]));
        assert_eq!(spills("nothing"), None);
    }
}
