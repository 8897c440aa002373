//! The assembler of PTX, which checks texts on machines without a GPU.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// An assembler that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ptxas {
    program: OsString,
}

impl Ptxas {
    /// The one that `TILEWRIGHT_PTXAS` names, that is in `PATH`, or that was unpacked below `target`.
    ///
    /// # Errors
    /// None of them runs.
    ///
    /// # Panics
    /// If the environment names one that does not run.
    pub fn find() -> Result<Self, &'static str> {
        static FOUND: OnceLock<Option<Ptxas>> = OnceLock::new();
        let works = |program: &OsString| {
            let output = Command::new(program).arg("--version").output();
            output.is_ok_and(|output| output.status.success())
        };
        let find = || {
            let named = std::env::var_os("TILEWRIGHT_PTXAS").filter(|value| !value.is_empty());
            if let Some(program) = named {
                assert!(
                    works(&program),
                    "TILEWRIGHT_PTXAS names {program:?}, which does not run"
                );
                return Some(Self { program });
            }
            let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda-tools/nvidia/cu13/bin/ptxas");
            let places = [OsString::from("ptxas"), unpacked.into()];
            places.into_iter().find(works).map(|program| Self { program })
        };
        FOUND.get_or_init(find).clone().ok_or("no ptxas runs")
    }

    /// Assembles a text for an architecture such as `sm_90`, with options such as `-O0`; returns what the assembler says of
    /// registers and memory.
    ///
    /// # Errors
    /// What it complains about.
    pub fn assemble(&self, text: &str, architecture: &str, options: &[&str]) -> Result<String, String> {
        self.run(text, architecture, options, Path::new("/dev/null"))
    }

    /// The cubin of a text for an architecture.
    ///
    /// # Errors
    /// What the assembler complains about.
    pub fn cubin(&self, text: &str, architecture: &str) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let file = folder.path().join("kernel.cubin");
        self.run(text, architecture, &[], &file)?;
        std::fs::read(file).map_err(|error| error.to_string())
    }

    fn run(&self, text: &str, architecture: &str, options: &[&str], file: &Path) -> Result<String, String> {
        let run = || -> std::io::Result<std::process::Output> {
            let mut child = Command::new(&self.program)
                .args(["-v", "-arch", architecture, "-o"])
                .arg(file)
                .args(options)
                .arg("-")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(text.as_bytes())?;
            }
            child.wait_with_output()
        };
        let output = run().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok(said),
            false => Err(format!("{}\n{said}", output.status)),
        }
    }
}
