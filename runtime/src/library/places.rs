//! Where a library may lie.

use std::env;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::disk::Disk;
use super::loader::Loader;
use super::{Searched, Wanted};

/// A folder in or below which a library may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Why this folder.
    pub origin: &'static str,
    /// The folder.
    pub root: PathBuf,
}

/// What of the process's surroundings decides where to look.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// What the library's own variable holds.
    pub named: Option<PathBuf>,
    pub loader: Loader,
    pub cuda_home: Option<PathBuf>,
    pub cuda_path: Option<PathBuf>,
    /// Folders of Python packages that the process has [named](add_packages).
    pub packages: Vec<PathBuf>,
    pub virtual_env: Option<PathBuf>,
    pub home: Option<PathBuf>,
    /// The folders of `PATH`.
    pub path: Vec<PathBuf>,
    pub current_dir: Option<PathBuf>,
    /// Where CUDA toolkits are installed: `/usr/local`.
    pub toolkits: PathBuf,
}

/// Folders that the process has named.
static PACKAGES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Has libraries looked for in a folder of Python packages (`site-packages`) too, from the next search on. A process that is a
/// Python knows its own; others are looked for by the environment.
///
/// ```
/// tilewright_runtime::compile::add_packages("/opt/engine/lib/python3.12/site-packages".into());
/// ```
pub fn add_packages(folder: PathBuf) {
    let mut packages = PACKAGES.lock();
    if !packages.contains(&folder) {
        packages.push(folder);
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn current(variable: &str) -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            named: set(variable),
            loader: Loader::current(),
            cuda_home: set("CUDA_HOME"),
            cuda_path: set("CUDA_PATH"),
            packages: PACKAGES.lock().clone(),
            virtual_env: set("VIRTUAL_ENV"),
            home: set("HOME"),
            path: env::var_os("PATH")
                .map(|path| env::split_paths(&path).collect())
                .unwrap_or_default(),
            current_dir: env::current_dir().ok(),
            toolkits: PathBuf::from("/usr/local"),
        }
    }

    /// The places to look in, in order.
    pub fn places(&self, wanted: &Wanted, disk: &impl Disk) -> Vec<Place> {
        let mut places = Vec::new();
        let mut add = |origin, root| places.push(Place { origin, root });
        for (origin, root) in [("CUDA_HOME", &self.cuda_home), ("CUDA_PATH", &self.cuda_path)] {
            root.iter().for_each(|root| add(origin, root.clone()));
        }
        for toolkit in children(disk, &self.toolkits, "cuda") {
            add("an installed CUDA toolkit", toolkit);
        }
        for root in &self.packages {
            add("the packages of this process", root.clone());
        }
        for root in self.virtual_env.iter().flat_map(|prefix| site_packages(disk, prefix)) {
            add("the packages of VIRTUAL_ENV", root);
        }
        for root in self
            .home
            .iter()
            .flat_map(|home| site_packages(disk, &home.join(".local")))
        {
            add("the user's Python packages", root);
        }
        for root in self.python(disk).iter().flat_map(|prefix| site_packages(disk, prefix)) {
            add("the packages of python3", root);
        }
        for folder in self.current_dir.iter().flat_map(|folder| folder.ancestors()) {
            let root = folder.join("target").join(wanted.project);
            if disk.is_folder(&root) {
                add("the project", root);
            }
        }
        places
    }

    /// The prefix that the `python3` on the path is installed under.
    fn python(&self, disk: &impl Disk) -> Option<PathBuf> {
        let mut programs = self.path.iter().map(|folder| folder.join("python3"));
        let found = programs.find(|file| disk.exists(file) && !disk.is_folder(file))?;
        let named = found.parent()?.parent()?.to_owned();
        // A virtual environment links to the interpreter elsewhere but holds the packages itself.
        if disk.exists(&named.join("pyvenv.cfg")) {
            return Some(named);
        }
        Some(disk.canonical(&found)?.parent()?.parent()?.to_owned())
    }

    /// A path that the loader does not take for a name to search.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.current_dir.as_deref().unwrap_or(Path::new(".")).join(path)
    }
}

/// Which files are wanted of a folder.
#[derive(Clone, Copy, Debug)]
pub(super) enum Names<'a> {
    /// That of the library, with or without a version.
    Usual,
    /// One name.
    Exactly(&'a str),
}

/// The libraries in a folder or where toolkits and wheels keep them below it, the newest first.
pub(super) fn libraries(disk: &impl Disk, wanted: &Wanted, names: Names<'_>, root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned(), root.join("lib64"), root.join("lib")];
    let targets = children(disk, &root.join("targets"), "");
    folders.extend(targets.into_iter().map(|target| target.join("lib")));
    let packages = children(disk, &root.join("nvidia"), wanted.package);
    folders.extend(packages.into_iter().map(|package| package.join("lib")));
    let files = folders.iter().flat_map(|folder| match names {
        Names::Usual => versions(disk, folder, wanted.file),
        Names::Exactly(name) => Some(folder.join(name))
            .filter(|file| disk.exists(file))
            .into_iter()
            .collect(),
    });
    files.collect()
}

/// The files of one name that lie next to a library, or next to the file that it links to.
pub(super) fn beside(disk: &impl Disk, library: &Path, name: &str) -> Vec<PathBuf> {
    let files = folders_of(disk, library).into_iter().map(|folder| folder.join(name));
    files.filter(|file| disk.exists(file)).collect()
}

/// The same for files whose names may have a version behind.
pub(super) fn versions_beside(disk: &impl Disk, library: &Path, name: &str) -> Vec<PathBuf> {
    let folders = folders_of(disk, library);
    folders.iter().flat_map(|folder| versions(disk, folder, name)).collect()
}

/// The folder of a library, and first that of the file that it links to.
fn folders_of(disk: &impl Disk, library: &Path) -> Vec<PathBuf> {
    let files = disk.canonical(library).into_iter().chain([library.to_owned()]);
    let mut folders: Vec<_> = files.filter_map(|file| Some(file.parent()?.to_owned())).collect();
    folders.dedup();
    folders
}

fn site_packages(disk: &impl Disk, prefix: &Path) -> Vec<PathBuf> {
    let versions = children(disk, &prefix.join("lib"), "python3");
    let folders = |python: &PathBuf| [python.join("site-packages"), python.join("dist-packages")];
    versions.iter().flat_map(folders).collect()
}

/// What a folder holds under a name, or that name with a version behind it.
fn versions(disk: &impl Disk, folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut files = children(disk, folder, name);
    files.retain(|file| {
        let rest = file.file_name().and_then(|file| file.to_str()?.strip_prefix(name));
        let is_version = |rest: &str| rest.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') && is_version(rest))
    });
    files
}

/// What a folder holds under names with the given beginning, the higher versions first; nothing if there is no folder.
pub(super) fn children(disk: &impl Disk, folder: &Path, beginning: &str) -> Vec<PathBuf> {
    let names = disk
        .names(folder)
        .into_iter()
        .filter_map(|name| name.into_string().ok());
    let mut names: Vec<_> = names
        .filter(|name| name.starts_with(beginning))
        .map(|name| (version(&name), name))
        .collect();
    names.sort_by(|one, other| other.cmp(one));
    names.into_iter().map(|(_, name)| folder.join(name)).collect()
}

/// The numbers in a name: `libnvrtc.so.13` is 13, `cuda-12.4` is 12, 4.
fn version(name: &str) -> Vec<u32> {
    name.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

impl Wanted {
    /// What is said of a place that holds none.
    pub(super) fn nothing_in(&self, names: Names<'_>, origin: &'static str, place: PathBuf) -> Searched {
        let name = match names {
            Names::Usual => self.file,
            Names::Exactly(name) => name,
        };
        Searched {
            origin,
            place,
            outcome: format!("no {name} in it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::disk::Machine;
    use super::*;

    const NVRTC: Wanted = Wanted {
        variable: "TILEWRIGHT_NVRTC",
        loader_names: &[],
        file: "libnvrtc.so",
        package: "cu",
        project: "nvrtc",
    };

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        folder
    }

    fn usual(root: &Path) -> Vec<PathBuf> {
        libraries(&Machine, &NVRTC, Names::Usual, root)
    }

    #[test]
    fn a_toolkit_and_a_wheel_are_searched_where_they_keep_libraries() {
        for file in [
            "libnvrtc.so.13",
            "lib64/libnvrtc.so.12",
            "targets/x86_64-linux/lib/libnvrtc.so",
            "nvidia/cu13/lib/libnvrtc.so.13",
            "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
        ] {
            let folder = tree(&[
                file,
                "nvidia/cu13/lib/libnvrtc.alt.so.13",
                "lib/libnvrtc-builtins.so.13.0",
                "lib/libnvrtc.so.13.sha256",
                "lib/libnvrtc.sound",
            ]);
            assert_eq!(usual(folder.path()), [folder.path().join(file)]);
        }
    }

    #[test]
    fn the_newest_library_of_a_folder_comes_first() {
        let folder = tree(&["libnvrtc.so.9.2", "libnvrtc.so.13", "libnvrtc.so.12"]);
        let names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.9.2"];
        assert_eq!(usual(folder.path()), names.map(|name| folder.path().join(name)));
        assert!(usual(&folder.path().join("nothing here")).is_empty());
        let exactly = libraries(&Machine, &NVRTC, Names::Exactly("libnvrtc.so.12"), folder.path());
        assert_eq!(exactly, [folder.path().join("libnvrtc.so.12")]);
    }

    #[test]
    fn what_lies_beside_a_library_is_found_by_its_name() {
        let folder = tree(&[
            "lib/libnvrtc.so.13",
            "lib/libnvrtc-builtins.so.13.0",
            "lib/libnvrtc-builtins.so.12.0",
            "libnvrtc-builtins.so.13.0",
        ]);
        let library = folder.path().join("lib/libnvrtc.so.13");
        assert_eq!(
            beside(&Machine, &library, "libnvrtc-builtins.so.13.0"),
            [folder.path().join("lib/libnvrtc-builtins.so.13.0")]
        );
    }

    #[test]
    fn places_are_searched_in_the_promised_order() {
        let folder = tree(&[
            "local/cuda-12.4/version.json",
            "local/cuda-13.0/version.json",
            "venv/lib/python3.12/site-packages/x.py",
            "home/.local/lib/python3.11/site-packages/x.py",
            "usr/bin/python3",
            "usr/lib/python3.10/site-packages/x.py",
            "project/target/nvrtc/x",
            "project/member/x",
        ]);
        let at = |path: &str| folder.path().join(path);
        let surroundings = Surroundings {
            cuda_home: Some(at("toolkit")),
            packages: vec![at("process/site-packages")],
            virtual_env: Some(at("venv")),
            home: Some(at("home")),
            path: vec![at("nowhere"), at("usr/bin")],
            current_dir: Some(at("project/member")),
            toolkits: at("local"),
            ..Default::default()
        };
        let places = surroundings.places(&NVRTC, &Machine);
        let mut roots: Vec<_> = places.into_iter().map(|place| place.root).collect();
        roots.retain(|root| !root.ends_with("dist-packages"));
        let expected = [
            "toolkit",
            "local/cuda-13.0",
            "local/cuda-12.4",
            "process/site-packages",
            "venv/lib/python3.12/site-packages",
            "home/.local/lib/python3.11/site-packages",
            "usr/lib/python3.10/site-packages",
            "project/target/nvrtc",
        ];
        assert_eq!(roots, expected.map(at));
    }
}
