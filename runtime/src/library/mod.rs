//! Libraries of NVIDIA's: found, loaded, and their functions by name.
//!
//! cudarc's loader can be given no path and panics where a library is missing, so the few functions needed are bound here.

#![allow(unsafe_code)]

mod search;

use std::{
    env,
    error::Error,
    fmt, fs,
    path::{Path, PathBuf, absolute},
    sync::OnceLock,
};

use libloading::Library;
use parking_lot::Mutex;

pub(crate) use search::beside;

/// Declares a struct of a library's functions, and how the loaded library fills it.
macro_rules! entry_points {
    ($library:literal: $($name:ident($($argument:ty),* $(,)?) -> $result:ty;)*) => {
        #[doc = concat!("The functions of ", $library, " that are used, under their own names.")]
        #[allow(non_snake_case)]
        pub(super) struct EntryPoints {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl EntryPoints {
            /// # Safety
            #[doc = concat!("The library must be ", $library, ", and outlive the result.")]
            unsafe fn of(library: &libloading::Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    // SAFETY: the caller promises the library, whose header declares this signature under this name.
                    $($name: unsafe { *library.get(stringify!($name).as_bytes())? },)*
                })
            }
        }
    };
}
pub(crate) use entry_points;

/// What a library is called, and where it may lie.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The variable that names the file or its folder. Nothing else is tried if it is set.
    pub variable: &'static str,
    /// What the system's loader is asked for, in order.
    pub loader_names: &'static [&'static str],
    /// How the names of its files begin.
    pub file: &'static str,
    /// How the folders of its Python packages begin, below `nvidia`.
    pub package: &'static str,
    /// Its folder below a project's `target`.
    pub project: &'static str,
}

/// Why no library was loaded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The variable is set, and what it names does not load.
    Named { value: PathBuf, searched: Vec<Searched> },
    /// No place that could hold it holds one that loads.
    NotFound { searched: Vec<Searched> },
}

/// One place where a library was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched {
    /// Why this place: a variable's name, or what usually lies there.
    pub origin: &'static str,
    /// The folder, the file, or the name given to the loader.
    pub place: PathBuf,
    /// What was wrong with it.
    pub outcome: String,
}

/// The places, a line each.
pub(crate) struct Looked<'a>(pub &'a [Searched]);

impl fmt::Display for Looked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Searched { origin, place, outcome } in self.0 {
            writeln!(f, "  {origin}: {}: {outcome}", place.display())?;
        }
        Ok(())
    }
}

impl Wanted {
    /// The first library that opens: where the variable says, or else under the loader's names, in `CUDA_HOME` and
    /// `CUDA_PATH`, in installed CUDA toolkits, among Python packages, and in `target` of the current folder and those above.
    pub fn find<L>(&self, open: impl Fn(&Path) -> Result<L, String>) -> Result<L, Absent> {
        match env::var_os(self.variable) {
            Some(value) => self.named(value.into(), open),
            None => self.search(open),
        }
    }

    /// The library that the user named, or an error: no silent change to another one.
    fn named<L>(&self, value: PathBuf, open: impl Fn(&Path) -> Result<L, String>) -> Result<L, Absent> {
        let mut searched = Vec::new();
        let candidates = if value.is_dir() {
            search::libraries(self, &value)
        } else {
            vec![value.clone()]
        };
        if candidates.is_empty() {
            searched.push(self.nothing_in(self.variable, value.clone()));
        } else if !value.exists() {
            searched.push(Searched {
                origin: self.variable,
                place: value.clone(),
                outcome: "no such file or folder".to_owned(),
            });
        } else if let Some(library) = first_of(self.variable, candidates, &open, &mut searched) {
            return Ok(library);
        }
        Err(Absent::Named { value, searched })
    }

    fn search<L>(&self, open: impl Fn(&Path) -> Result<L, String>) -> Result<L, Absent> {
        let mut searched = Vec::new();
        let names = self.loader_names.iter().map(PathBuf::from).collect();
        if let Some(library) = first_of("the loader's path", names, &open, &mut searched) {
            return Ok(library);
        }
        // Starting Python is the last thing to try: the iterator gets there only when all else has failed.
        let places = search::Surroundings::current().places(self);
        for place in places.into_iter().chain(std::iter::from_fn(search::ask_python).take(1)) {
            let candidates = search::libraries(self, &place.root);
            if candidates.is_empty() {
                searched.push(self.nothing_in(place.origin, place.root));
            } else if let Some(library) = first_of(place.origin, candidates, &open, &mut searched) {
                return Ok(library);
            }
        }
        Err(Absent::NotFound { searched })
    }

    fn nothing_in(&self, origin: &'static str, place: PathBuf) -> Searched {
        Searched {
            origin,
            place,
            outcome: format!("no {} in it", self.file),
        }
    }
}

fn first_of<L>(
    origin: &'static str,
    candidates: Vec<PathBuf>,
    open: impl Fn(&Path) -> Result<L, String>,
    searched: &mut Vec<Searched>,
) -> Option<L> {
    for place in candidates {
        let place = if is_path(&place) {
            absolute(&place).unwrap_or(place)
        } else {
            place
        };
        match open(&place) {
            Ok(library) => return Some(library),
            Err(outcome) => searched.push(Searched { origin, place, outcome }),
        }
    }
    None
}

/// Whether a library is named by its place, and not by a name that the loader resolves.
pub(crate) fn is_path(library: &Path) -> bool {
    library.components().count() > 1
}

/// Loads the library at a path, or under a name that the loader resolves.
pub(crate) fn load(path: &Path) -> Result<Library, String> {
    // SAFETY: the initialisers of NVIDIA's libraries have no preconditions; a path is only ever one of theirs.
    let loaded = unsafe { Library::new(path) };
    // The loader's own words are behind the error.
    loaded.map_err(|error| error.source().map_or_else(|| error.to_string(), ToString::to_string))
}

/// The file that an address was loaded from, where the system tells: the loader's names say nothing of the place.
pub(crate) fn loaded_file(address: usize) -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        range
            .contains(&address)
            .then(|| line.find('/').map(|at| PathBuf::from(&line[at..])))?
    })
}

/// What is loaded once a process, by the first attempt that succeeds: a failure is not remembered.
pub(crate) struct Once<T> {
    loaded: OnceLock<T>,
    turn: Mutex<()>,
}

impl<T> Once<T> {
    pub const fn new() -> Self {
        Self {
            loaded: OnceLock::new(),
            turn: Mutex::new(()),
        }
    }

    pub fn get_or_load<E>(&self, load: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let _turn = self.turn.lock();
        match self.loaded.get() {
            Some(loaded) => Ok(loaded),
            None => load().map(|loaded| self.loaded.get_or_init(|| loaded)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        variable: "SOME_LIBRARY",
        loader_names: &["libnowhere.so.1"],
        file: "libnowhere.so",
        package: "nowhere",
        project: "nowhere",
    };

    fn named(value: &Path) -> String {
        match WANTED.named(value.into(), load) {
            Err(Absent::Named { searched, .. }) => Looked(&searched).to_string(),
            other => panic!("{:?}", other.err()),
        }
    }

    #[test]
    fn a_named_library_that_is_not_there_is_an_error_and_not_another_library() {
        let text = named(Path::new("/no/such/libnowhere.so"));
        assert_eq!(text, "  SOME_LIBRARY: /no/such/libnowhere.so: no such file or folder\n");
    }

    #[test]
    fn a_named_folder_without_a_library_says_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = named(folder.path());
        assert!(text.contains("no libnowhere.so in it"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_library_is_reported_with_the_loaders_reason() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("libnowhere.so.13");
        fs::write(&file, "not a library").expect("a file");
        let text = named(folder.path());
        assert!(text.contains(&file.display().to_string()), "{text}");
    }

    #[test]
    fn a_failure_to_load_is_not_remembered() {
        let once = Once::new();
        assert_eq!(once.get_or_load(|| Err("missing")), Err("missing"));
        assert_eq!(once.get_or_load(|| Ok::<_, &str>(3)), Ok(&3));
        assert_eq!(once.get_or_load(|| Err("missing")), Ok(&3));
    }
}
