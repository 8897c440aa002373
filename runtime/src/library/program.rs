//! Programs of NVIDIA's: found where libraries are, and run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::disk::{Disk, Machine};
use super::places::{Surroundings, children};
use super::{Wanted, ask_python, question};

/// Longer than a program takes that looks at a cubin.
const LIMIT: Duration = Duration::from_secs(60);

/// What a program may print.
const LONGEST: u64 = 1 << 28;

/// A program, and where it may lie.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Its name.
    pub name: &'static str,
    /// The variable that names its file. Nothing else is tried if it is set.
    pub variable: &'static str,
    /// Its folder below a project's `target`.
    pub project: &'static str,
}

impl Tool {
    /// The file that the variable names; or the first of those in `PATH`, in `CUDA_HOME` and `CUDA_PATH`, in installed CUDA
    /// toolkits, among Python packages, and in `target` of the current folder and those above.
    pub fn find(&self) -> Option<PathBuf> {
        let around = Surroundings::current(self.variable);
        self.find_in(&around, &Machine, ask_python)
    }

    /// What it prints; `None` if it fails.
    pub fn run(program: &Path, arguments: &[&OsStr]) -> Option<Vec<u8>> {
        question::ask(Command::new(program).args(arguments), LIMIT, LONGEST)
    }

    fn find_in(
        &self,
        around: &Surroundings,
        disk: &impl Disk,
        python: impl FnOnce() -> Option<PathBuf>,
    ) -> Option<PathBuf> {
        let is_there = |file: &PathBuf| disk.exists(file) && !disk.is_folder(file);
        if let Some(named) = &around.named {
            return Some(around.absolute(named)).filter(is_there);
        }
        let wanted = Wanted {
            variable: self.variable,
            loader_names: &[],
            file: self.name,
            package: "cu",
            project: self.project,
        };
        let in_path = around.path.iter().map(|folder| folder.join(self.name));
        if let Some(found) = in_path.map(|file| around.absolute(&file)).find(is_there) {
            return Some(found);
        }
        let of = |root: PathBuf| {
            let packages = children(disk, &root.join("nvidia"), wanted.package);
            let mut folders = packages.into_iter().chain([root]).map(|folder| folder.join("bin"));
            folders.find_map(|folder| Some(around.absolute(&folder.join(self.name))).filter(is_there))
        };
        let places = around.places(&wanted, disk);
        places
            .into_iter()
            .find_map(|place| of(place.root))
            .or_else(|| of(python()?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NVDISASM: Tool = Tool {
        name: "nvdisasm",
        variable: "TILEWRIGHT_NVDISASM",
        project: "cuda-tools",
    };

    #[test]
    fn a_program_is_found_in_the_path_in_toolkits_wheels_and_the_project_in_this_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |path: &str| folder.path().join(path);
        let around = Surroundings {
            path: vec![at("nowhere"), at("usr/bin")],
            cuda_home: Some(at("toolkit")),
            virtual_env: Some(at("venv")),
            current_dir: Some(at("project/member")),
            toolkits: at("local"),
            ..Default::default()
        };
        let find = |around: &Surroundings| NVDISASM.find_in(around, &Machine, || None);
        assert_eq!(find(&around), None);
        // The last place first: each that is added comes before it.
        for file in [
            "project/target/cuda-tools/nvidia/cu13/bin/nvdisasm",
            "venv/lib/python3.12/site-packages/nvidia/cuda_nvcc/bin/nvdisasm",
            "toolkit/bin/nvdisasm",
            "usr/bin/nvdisasm",
        ] {
            fs::create_dir_all(at(file).parent().expect("a parent")).expect("a folder");
            fs::write(at(file), "").expect("a file");
            assert_eq!(find(&around), Some(at(file)));
        }
        let named = |path| Surroundings {
            named: Some(at(path)),
            ..around.clone()
        };
        assert_eq!(find(&named("toolkit/bin/nvdisasm")), Some(at("toolkit/bin/nvdisasm")));
        assert_eq!(find(&named("no/such")), None, "what is named, or nothing");
    }
}
