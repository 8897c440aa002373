//! Libraries of NVIDIA's: found, looked at, loaded, and their functions by name.
//!
//! cudarc's loader can be given no path, panics where a library is missing and believes every file, so the few functions
//! needed are bound here. [`find`] decides which file is taken, [`loader`] and [`shared_object`] whether it can be.

#![allow(unsafe_code)]

mod disk;
mod find;
mod listed;
mod loader;
mod mapped;
mod places;
mod program;
mod question;
mod shared_object;

#[cfg(test)]
mod fuzz;

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use parking_lot::Mutex;

pub(crate) use loader::{Loaded, build, load};
pub use places::add_packages;
pub(crate) use program::Tool;

use disk::Machine;
use find::Search;
use loader::{LoadError, Loader, look};
use places::Surroundings;

/// Declares a struct of a library's functions, and how the loaded library fills it.
///
/// What returns a result is declared as cudarc's bindings have it in `sys`, which the compiler compares. Results are numbers
/// here: a library that is newer than the bindings has more of them than their enums. What takes results, or returns something else, stands
/// under `else`.
macro_rules! entry_points {
    (
        $library:literal, $result:ty as $code:ty
        where { $($name:ident($($argument:ty),* $(,)?);)* }
        else { $($other:ident($($taken:ty),* $(,)?) -> $returned:ty;)* }
    ) => {
        #[doc = concat!("The functions of ", $library, " that are used, under their own names.")]
        #[allow(non_snake_case)]
        pub(super) struct EntryPoints {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> $code,)*
            $(pub $other: unsafe extern "C" fn($($taken),*) -> $returned,)*
        }

        $(const _: unsafe fn($($argument),*) -> $result = sys::$name;)*

        impl EntryPoints {
            /// # Safety
            #[doc = concat!("The library must be ", $library, ", and outlive the result.")]
            unsafe fn of(library: &$crate::library::Loaded) -> Result<Self, String> {
                // SAFETY: the caller promises the library, whose header declares this signature under this name.
                Ok(Self {
                    $($name: unsafe { library.function(stringify!($name))? },)*
                    $($other: unsafe { library.function(stringify!($other))? },)*
                })
            }

            /// Functions that no test may come to, for those that put others in their places.
            #[cfg(test)]
            #[allow(dead_code)]
            pub(super) fn none() -> Self {
                Self {
                    $($name: {
                        unsafe extern "C" fn none($(_: $argument),*) -> $code {
                            panic!(stringify!($name))
                        }
                        none
                    },)*
                    $($other: {
                        unsafe extern "C" fn none($(_: $taken),*) -> $returned {
                            panic!(stringify!($other))
                        }
                        none
                    },)*
                }
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
    /// The names that the system's loader has it under, in order.
    pub loader_names: &'static [&'static str],
    /// Its file without a version.
    pub file: &'static str,
    /// How the folders of its Python packages begin, below `nvidia`.
    pub package: &'static str,
    /// Its folder below a project's `target`.
    pub project: &'static str,
}

/// A library, and what would have come first but did not do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<L> {
    pub library: L,
    pub passed_over: Vec<Searched>,
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
    /// The folder, the file, or the name that the loader knows.
    pub place: PathBuf,
    /// What was wrong with it.
    pub outcome: String,
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, place, outcome } = self;
        write!(f, "{origin}: {}: {outcome}", place.display())
    }
}

/// The places, a line each.
pub(crate) struct Looked<'a>(pub &'a [Searched]);

impl fmt::Display for Looked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|searched| writeln!(f, "  {searched}"))
    }
}

impl Wanted {
    /// The first library that opens: where the variable says, or else among the libraries of this process, on the loader's
    /// path, in `CUDA_HOME` and `CUDA_PATH`, in installed CUDA toolkits, among Python packages, and in `target` of the
    /// current folder and those above.
    pub fn find<L>(&self, open: impl FnMut(&Path) -> Result<L, String>) -> Result<Found<L>, Absent> {
        let search = Search {
            wanted: self,
            around: &Surroundings::current(self.variable),
            disk: &Machine,
        };
        search.run(open, ask_python)
    }
}

/// Asks `python3` itself where its packages are: for installations whose layout tells nothing. It costs a process, once.
fn ask_python() -> Option<PathBuf> {
    /// Longer than it takes from a cold disk.
    const LIMIT: Duration = Duration::from_secs(5);
    /// No path is as long.
    const LONGEST: u64 = 1 << 16;
    static TOLD: OnceLock<Option<PathBuf>> = OnceLock::new();
    let ask = || {
        let script = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
        let told = question::ask(Command::new("python3").args(["-c", script]), LIMIT, LONGEST)?;
        let root = String::from_utf8(told).ok()?.trim().to_owned();
        (!root.is_empty()).then(|| root.into())
    };
    TOLD.get_or_init(ask).clone()
}

impl Loaded {
    /// A function, by its name.
    ///
    /// # Safety
    /// It must have this type under this name.
    pub unsafe fn function<F: Copy>(&self, name: &str) -> Result<F, String> {
        // SAFETY: as the caller promises.
        let found = unsafe { self.library.get::<F>(name) };
        found
            .map(|function| *function)
            .map_err(|_| format!("it has no function {name}"))
    }
}

/// Loads the library that another one asks the loader for by name alone, from beside that one or from the loader's path. The
/// loader hands out what is loaded under a name already, so this one is what the other gets.
pub(crate) fn load_companion(library: &Path, name: &str) -> Result<Loaded, String> {
    let beside = places::beside(&Machine, library, name);
    let mut reasons = Vec::new();
    for place in beside.into_iter().chain(Loader::current().places(name)) {
        match load(&place, Some(name)) {
            Ok(loaded) => return Ok(loaded),
            Err(LoadError::NotFound) => {}
            Err(error) => reasons.push(format!("{}: {error}", place.display())),
        }
    }
    if reasons.is_empty() {
        reasons.push("neither beside it nor on the loader's path".to_owned());
    }
    Err(format!("it lacks its {name}: {}", reasons.join("; ")))
}

/// The builds of the libraries of a name, with or without a version, that lie beside another one; each once, in order.
pub(crate) fn builds_beside(library: &Path, name: &str) -> Vec<String> {
    let files = places::versions_beside(&Machine, library, name);
    let mut builds: Vec<_> = files.iter().filter_map(|file| build(file).ok()).collect();
    builds.sort_unstable();
    builds.dedup();
    builds
}

/// The build of the library in this process whose file's name begins so.
pub(crate) fn build_of_loaded(name: &str) -> Option<String> {
    let files = Loader::current().loaded.into_iter();
    let is_it = |file: &PathBuf| {
        file.file_name()
            .is_some_and(|found| found.to_string_lossy().starts_with(name))
    };
    files.filter(is_it).find_map(|file| build(&file).ok())
}

/// A file that the loader would take for one of these names and that would end this process: for libraries that others load.
pub(crate) fn deadly(names: &[String]) -> Option<(PathBuf, String)> {
    let loader = Loader::current();
    names.iter().find_map(|name| {
        // What it cannot use at all it leaves alone, and goes on to the next folder.
        let mut looks = loader.places(name).map(|place| (look(&place), place));
        let taken = looks.find(|(look, _)| look.as_ref().map_or_else(LoadError::is_deadly, |_| true));
        taken.and_then(|(look, place)| Some((place, look.err()?.to_string())))
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

    /// What is loaded already.
    pub fn get(&self) -> Option<&T> {
        self.loaded.get()
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
