//! Where a library may lie on this machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Wanted;

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
    pub cuda_home: Option<PathBuf>,
    pub cuda_path: Option<PathBuf>,
    pub virtual_env: Option<PathBuf>,
    pub home: Option<PathBuf>,
    /// The folders of `PATH`.
    pub path: Vec<PathBuf>,
    pub current_dir: Option<PathBuf>,
    /// Where CUDA toolkits are installed: `/usr/local`.
    pub toolkits: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub(super) fn current() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            cuda_home: set("CUDA_HOME"),
            cuda_path: set("CUDA_PATH"),
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
    pub(super) fn places(&self, wanted: &Wanted) -> Vec<Place> {
        let mut places = Vec::new();
        let mut add = |origin, root| places.push(Place { origin, root });
        for (origin, root) in [("CUDA_HOME", &self.cuda_home), ("CUDA_PATH", &self.cuda_path)] {
            root.iter().for_each(|root| add(origin, root.clone()));
        }
        for toolkit in children(&self.toolkits, "cuda") {
            add("an installed CUDA toolkit", toolkit);
        }
        for root in self.virtual_env.iter().flat_map(|prefix| site_packages(prefix)) {
            add("the packages of VIRTUAL_ENV", root);
        }
        for root in self.home.iter().flat_map(|home| site_packages(&home.join(".local"))) {
            add("the user's Python packages", root);
        }
        for root in self.python().iter().flat_map(|prefix| site_packages(prefix)) {
            add("the packages of python3", root);
        }
        for folder in self.current_dir.iter().flat_map(|folder| folder.ancestors()) {
            let root = folder.join("target").join(wanted.project);
            if root.is_dir() {
                add("the project", root);
            }
        }
        places
    }

    /// The prefix that the `python3` on the path is installed under.
    fn python(&self) -> Option<PathBuf> {
        let found = self
            .path
            .iter()
            .map(|folder| folder.join("python3"))
            .find(|file| file.is_file())?;
        let named = found.parent()?.parent()?.to_owned();
        // A virtual environment links to the interpreter elsewhere but holds the packages itself.
        if named.join("pyvenv.cfg").is_file() {
            return Some(named);
        }
        Some(fs::canonicalize(&found).ok()?.parent()?.parent()?.to_owned())
    }
}

/// Asks `python3` itself where its packages are: for installations whose layout tells nothing. It costs a process.
pub(super) fn ask_python() -> Option<Place> {
    let script = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
    let output = Command::new("python3")
        .args(["-c", script])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let root = String::from_utf8(output.stdout).ok()?.trim().into();
    Some(Place {
        origin: "the packages python3 reports",
        root,
    })
}

/// The libraries in a folder or where toolkits and wheels keep them below it, the newest first.
pub(super) fn libraries(wanted: &Wanted, root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned(), root.join("lib64"), root.join("lib")];
    folders.extend(
        children(&root.join("targets"), "")
            .into_iter()
            .map(|target| target.join("lib")),
    );
    folders.extend(
        children(&root.join("nvidia"), wanted.package)
            .into_iter()
            .map(|package| package.join("lib")),
    );
    let mut found = Vec::new();
    for folder in folders {
        for library in children(&folder, wanted.file) {
            // A folder is often linked under several names, and a library under several versions.
            let seen = |known: &PathBuf| fs::canonicalize(known).ok() == fs::canonicalize(&library).ok();
            if !found.iter().any(seen) {
                found.push(library);
            }
        }
    }
    found
}

/// The libraries whose names begin so and that lie next to a library, or next to the file that it links to.
pub(crate) fn beside(library: &Path, beginning: &str) -> Vec<PathBuf> {
    let named = library.to_owned();
    let files = fs::canonicalize(library).into_iter().chain([named]);
    let mut folders: Vec<_> = files.filter_map(|file| Some(file.parent()?.to_owned())).collect();
    folders.dedup();
    folders.iter().flat_map(|folder| children(folder, beginning)).collect()
}

fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let versions = children(&prefix.join("lib"), "python3");
    versions
        .iter()
        .flat_map(|python| [python.join("site-packages"), python.join("dist-packages")])
        .collect()
}

/// What a folder holds under names with the given beginning, the higher versions first; nothing if there is no folder.
fn children(folder: &Path, beginning: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
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

#[cfg(test)]
mod tests {
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
            ]);
            assert_eq!(libraries(&NVRTC, folder.path()), [folder.path().join(file)]);
        }
    }

    #[test]
    fn the_newest_library_of_a_folder_comes_first() {
        let folder = tree(&["libnvrtc.so.9.2", "libnvrtc.so.13", "libnvrtc.so.12"]);
        let names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.9.2"];
        assert_eq!(
            libraries(&NVRTC, folder.path()),
            names.map(|name| folder.path().join(name))
        );
        assert!(libraries(&NVRTC, &folder.path().join("nothing here")).is_empty());
    }

    #[test]
    fn what_lies_beside_a_library_is_found_by_its_beginning() {
        let folder = tree(&[
            "lib/libnvrtc.so.13",
            "lib/libnvrtc-builtins.so.13.0",
            "libnvrtc-builtins.so.12.4",
        ]);
        let library = folder.path().join("lib/libnvrtc.so.13");
        assert_eq!(
            beside(&library, "libnvrtc-builtins.so"),
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
            cuda_path: None,
            virtual_env: Some(at("venv")),
            home: Some(at("home")),
            path: vec![at("nowhere"), at("usr/bin")],
            current_dir: Some(at("project/member")),
            toolkits: at("local"),
        };
        let mut roots: Vec<_> = surroundings
            .places(&NVRTC)
            .into_iter()
            .map(|place| place.root)
            .collect();
        roots.retain(|root| !root.ends_with("dist-packages"));
        let expected = [
            "toolkit",
            "local/cuda-13.0",
            "local/cuda-12.4",
            "venv/lib/python3.12/site-packages",
            "home/.local/lib/python3.11/site-packages",
            "usr/lib/python3.10/site-packages",
            "project/target/nvrtc",
        ];
        assert_eq!(roots, expected.map(at));
    }
}
