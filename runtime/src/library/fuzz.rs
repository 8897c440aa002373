//! The search on random file systems.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::disk::Disk;
use super::find::Search;
use super::loader::Loader;
use super::places::Surroundings;
use super::{Absent, Found, Wanted};
use crate::fuzz::fuzz;

const WANTED: Wanted = Wanted {
    variable: "TILEWRIGHT_NVRTC",
    loader_names: &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"],
    file: "libnvrtc.so",
    package: "cu",
    project: "nvrtc",
};

const ROOTS: [&str; 16] = [
    "/",
    "/usr/local/cuda",
    "/usr/local/cuda-12.4",
    "/usr/local/cuda-13.0",
    "/usr/local/cuda-99999999999999999999",
    "/opt/cuda",
    "/venv/lib/python3.12/site-packages",
    "/home/u/.local/lib/python3.11/site-packages",
    "/usr/lib/python3.10/dist-packages",
    "/usr/bin",
    "/home/project/target/nvrtc",
    "/home/project",
    "/loader/one",
    "/loader/two",
    "/loader/two/three/..",
    "relative",
];
const FOLDERS: [&str; 7] = [
    "",
    "lib64",
    "lib",
    "targets/x86_64-linux/lib",
    "nvidia/cu13/lib",
    "nvidia/cuda_nvrtc/lib",
    "nvidia",
];
const NAMES: [&[u8]; 13] = [
    b"libnvrtc.so.13",
    b"libnvrtc.so.12",
    b"libnvrtc.so",
    b"libnvrtc.so.13.0.88",
    b"libnvrtc.so.9",
    b"libnvrtc.so.340282366920938463463374607431768211456",
    b"libnvrtc.so.13.bak",
    b"libnvrtc-builtins.so.13.0",
    b"libnvrtc.alt.so.13",
    b"libnvrtc.so.\xff",
    b"python3",
    b"pyvenv.cfg",
    b"lib",
];

/// A file system in memory.
#[derive(Debug, Default)]
struct Tree(BTreeMap<PathBuf, Node>);

#[derive(Debug)]
enum Node {
    Folder,
    File,
    Link(PathBuf),
}

impl Tree {
    fn random(rng: &mut fastrand::Rng) -> Self {
        let mut tree = Self::default();
        tree.0.insert("/".into(), Node::Folder);
        for _ in 0..rng.usize(..40) {
            let (path, target) = (random_path(rng), random_path(rng));
            let node = match rng.u8(..10) {
                0 => Node::Folder,
                1 => Node::Link(target.parent().unwrap_or(Path::new("/")).to_owned()),
                2 => Node::Link(target),
                _ => Node::File,
            };
            let path = Path::new("/").join(path);
            if !path.components().any(|component| component == Component::ParentDir) {
                tree.add(path, node);
            }
        }
        tree
    }

    fn add(&mut self, path: PathBuf, node: Node) {
        for folder in path.ancestors().skip(1) {
            self.0.entry(folder.to_owned()).or_insert(Node::Folder);
        }
        self.0.entry(path).or_insert(node);
    }

    /// The path without links, and those that it may still take.
    fn resolve(&self, path: &Path, links: &mut u8, follows_last: bool) -> Option<PathBuf> {
        let mut at = PathBuf::from("/");
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            match component {
                Component::ParentDir => drop(at.pop()),
                Component::Normal(name) => at.push(name),
                _ => continue,
            }
            let is_last = components.peek().is_none();
            match self.0.get(&at)? {
                Node::Link(target) if !is_last || follows_last => {
                    *links = links.checked_sub(1)?;
                    let target = at.parent()?.join(target);
                    at = self.resolve(&target, links, true)?;
                }
                Node::Folder | Node::Link(_) => {}
                Node::File => return is_last.then_some(at),
            }
        }
        Some(at)
    }

    fn node(&self, path: &Path) -> Option<&Node> {
        self.0.get(&self.canonical(path)?)
    }
}

impl Disk for Tree {
    fn exists(&self, path: &Path) -> bool {
        self.resolve(path, &mut 40, false).is_some()
    }

    fn is_folder(&self, path: &Path) -> bool {
        matches!(self.node(path), Some(Node::Folder))
    }

    fn names(&self, folder: &Path) -> Vec<OsString> {
        let Some(folder) = self.canonical(folder).filter(|folder| self.is_folder(folder)) else {
            return Vec::new();
        };
        let inside = self.0.keys().filter(|path| path.parent() == Some(&folder));
        inside.filter_map(|path| Some(path.file_name()?.to_owned())).collect()
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        self.resolve(path, &mut 40, true)
    }
}

fn pick<T: Copy>(rng: &mut fastrand::Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

fn random_path(rng: &mut fastrand::Rng) -> PathBuf {
    let name = OsStr::from_bytes(pick(rng, &NAMES));
    Path::new(pick(rng, &ROOTS)).join(pick(rng, &FOLDERS)).join(name)
}

fn random_surroundings(rng: &mut fastrand::Rng) -> Surroundings {
    let roots = |rng: &mut fastrand::Rng| (0..rng.usize(..3)).map(|_| pick(rng, &ROOTS).into()).collect();
    let maybe = |rng: &mut fastrand::Rng, root: &str| rng.bool().then(|| PathBuf::from(root));
    let listed = |rng: &mut fastrand::Rng| (pick(rng, WANTED.loader_names).to_owned(), random_path(rng));
    let named = match rng.u8(..6) {
        0 => Some(random_path(rng)),
        1 => Some(OsStr::from_bytes(pick(rng, &NAMES)).into()),
        2 => Some(pick(rng, &ROOTS).into()),
        _ => None,
    };
    Surroundings {
        named,
        loader: Loader {
            loaded: (0..rng.usize(..3)).map(|_| random_path(rng)).collect(),
            folders: roots(rng),
            listed: (0..rng.usize(..3)).map(|_| listed(rng)).collect(),
            system: roots(rng),
        },
        cuda_home: rng.bool().then(|| pick(rng, &ROOTS).into()),
        cuda_path: rng.bool().then(|| pick(rng, &ROOTS).into()),
        packages: roots(rng),
        virtual_env: maybe(rng, "/venv"),
        home: maybe(rng, "/home/u"),
        path: roots(rng),
        current_dir: maybe(rng, "/home/project"),
        toolkits: "/usr/local".into(),
    }
}

#[test]
fn fuzz_the_search_for_libraries() {
    let (inputs, found) = fuzz(|rng| {
        let tree = Tree::random(rng);
        let around = random_surroundings(rng);
        let python = pick(rng, &ROOTS);
        let (salt, share) = (rng.u64(..), rng.u64(1..5));
        let hash = |file: &Path| {
            let mut hasher = DefaultHasher::new();
            (salt, file).hash(&mut hasher);
            hasher.finish()
        };
        // A file opens or not, whatever it is called.
        let opens = |path: &Path| {
            let file = tree.canonical(path)?;
            let is_good = matches!(tree.node(path), Some(Node::File)) && hash(&file).is_multiple_of(share);
            is_good.then_some(file)
        };
        let mut opened: Vec<PathBuf> = Vec::new();
        let search = Search {
            wanted: &WANTED,
            around: &around,
            disk: &tree,
        };
        let result = search.run(
            |path| {
                opened.push(path.to_owned());
                opens(path).ok_or_else(|| "no library".to_owned())
            },
            || Some(python.into()),
        );
        check(&tree, &around, python, &opened, &opens, &result);
        result.is_ok()
    });
    assert!(
        found * 10 > inputs && found * 10 < inputs * 9,
        "{found} of {inputs} searches succeed"
    );
}

fn check(
    tree: &Tree,
    around: &Surroundings,
    python: &str,
    opened: &[PathBuf],
    opens: &dyn Fn(&Path) -> Option<PathBuf>,
    result: &Result<Found<PathBuf>, Absent>,
) {
    let context = || format!("opened {opened:?}\n{result:?}\n{around:?}\n{tree:?}");
    // Nothing twice, nothing that the loader would search for, and nothing behind the first that opens.
    let mut files: Vec<_> = opened
        .iter()
        .map(|path| tree.canonical(path).unwrap_or(path.clone()))
        .collect();
    files.sort();
    files.dedup();
    assert_eq!(files.len(), opened.len(), "{}", context());
    assert!(opened.iter().all(|path| path.components().count() > 1), "{}", context());
    let good: Vec<bool> = opened.iter().map(|path| opens(path).is_some()).collect();
    let first = good.iter().position(|good| *good);
    assert!(first.is_none_or(|first| first + 1 == opened.len()), "{}", context());
    match result {
        Ok(Found { library, passed_over }) => {
            assert_eq!(
                Some(library),
                opened.last().and_then(|path| opens(path)).as_ref(),
                "{}",
                context()
            );
            let passed_over = passed_over.iter().map(|searched| &searched.place);
            assert!(passed_over.eq(&opened[..opened.len() - 1]), "{}", context());
        }
        Err(Absent::Named { value, .. }) => assert_eq!(Some(value), around.named.as_ref()),
        Err(Absent::NotFound { searched }) => assert!(around.named.is_none() && !searched.is_empty(), "{}", context()),
    }
    match &around.named {
        Some(value) => {
            let path = around.absolute(value);
            let is_bare = value.to_str().is_some_and(|value| !value.contains('/')) && !tree.exists(&path);
            // The loader may know another file by that name.
            let is_listed = |opened: &Path| {
                let mut listed = around.loader.listed.iter();
                listed.any(|(name, file)| Path::new(name) == value && around.absolute(file) == opened)
            };
            let is_named = |opened: &PathBuf| match is_bare {
                true => opened.file_name() == Some(value.as_os_str()) || is_listed(opened),
                false => opened == &path || (tree.is_folder(&path) && opened.starts_with(&path)),
            };
            assert!(opened.iter().all(is_named), "{}", context());
            assert!(opens(&path).is_none() || result.is_ok(), "{}", context());
        }
        // Wherever a whole one lies, one is found.
        None => {
            let mut places: Vec<PathBuf> = around
                .loader
                .folders
                .iter()
                .map(|folder| folder.join("libnvrtc.so.13"))
                .collect();
            let roots = around
                .cuda_home
                .iter()
                .chain(&around.cuda_path)
                .cloned()
                .chain([python.into()]);
            places.extend(
                roots.flat_map(|root| ["lib", "nvidia/cu13/lib"].map(|lib| root.join(lib).join("libnvrtc.so.12"))),
            );
            let is_there = places.iter().any(|place| opens(&around.absolute(place)).is_some());
            assert!(!is_there || result.is_ok(), "{}", context());
        }
    }
}
