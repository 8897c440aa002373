//! NVRTC itself: found, loaded, and its functions by name.
//!
//! cudarc's loader can be given no path and panics where the library is missing, so the few functions needed are bound
//! here.

#![allow(unsafe_code)]

use std::{
    env,
    error::Error,
    fs,
    os::raw::{c_char, c_int, c_void},
    path::{Path, PathBuf, absolute},
    sync::{OnceLock, atomic::AtomicBool},
};

use libloading::Library;
use parking_lot::Mutex;

use super::{Architecture, CompileError, Searched, elf, search};

/// NVRTC's `nvrtcProgram`.
pub(super) type Handle = *mut c_void;

/// Declares a struct of NVRTC's functions, and how a loaded library fills it.
macro_rules! entry_points {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions of NVRTC that are used, under their own names.
        #[allow(non_snake_case)]
        pub(super) struct EntryPoints {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl EntryPoints {
            /// # Safety
            /// The library must be NVRTC, and outlive the result.
            unsafe fn of(library: &Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    // SAFETY: the caller promises NVRTC, whose header declares this signature under this name.
                    $($name: unsafe { *library.get(stringify!($name).as_bytes())? },)*
                })
            }
        }
    };
}

entry_points! {
    nvrtcVersion(*mut c_int, *mut c_int) -> c_int;
    nvrtcGetErrorString(c_int) -> *const c_char;
    nvrtcGetNumSupportedArchs(*mut c_int) -> c_int;
    nvrtcGetSupportedArchs(*mut c_int) -> c_int;
    nvrtcCreateProgram(
        *mut Handle, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char
    ) -> c_int;
    nvrtcDestroyProgram(*mut Handle) -> c_int;
    nvrtcCompileProgram(Handle, c_int, *const *const c_char) -> c_int;
    nvrtcGetProgramLogSize(Handle, *mut usize) -> c_int;
    nvrtcGetProgramLog(Handle, *mut c_char) -> c_int;
    nvrtcGetCUBINSize(Handle, *mut usize) -> c_int;
    nvrtcGetCUBIN(Handle, *mut c_char) -> c_int;
    nvrtcGetPTXSize(Handle, *mut usize) -> c_int;
    nvrtcGetPTX(Handle, *mut c_char) -> c_int;
}

/// NVIDIA's run-time compiler, loaded once a process and never unloaded.
pub struct Nvrtc {
    pub(super) entry: EntryPoints,
    /// Whether this NVRTC has refused `--minimal`, as versions before 12 do.
    pub(super) without_minimal: AtomicBool,
    path: PathBuf,
    version: (u32, u32),
    supported: Vec<Architecture>,
    identity: String,
    /// Keeps the function pointers valid, and the builtins where NVRTC finds them.
    _libraries: Vec<Library>,
}

impl Nvrtc {
    /// NVRTC, found and loaded by the first call that succeeds: a failure is not remembered.
    ///
    /// It is looked for where `TILEWRIGHT_NVRTC` says, and nowhere else if that is set; else under the loader's names, in
    /// `CUDA_HOME` and `CUDA_PATH`, in installed CUDA toolkits, among Python packages (`nvidia-cuda-nvrtc`), and in
    /// `target/nvrtc` of the current folder and those above it.
    pub fn load() -> Result<&'static Self, CompileError> {
        static LOADED: OnceLock<Nvrtc> = OnceLock::new();
        static LOADING: Mutex<()> = Mutex::new(());
        if let Some(nvrtc) = LOADED.get() {
            return Ok(nvrtc);
        }
        let _turn = LOADING.lock();
        if let Some(nvrtc) = LOADED.get() {
            return Ok(nvrtc);
        }
        let found = match env::var_os("TILEWRIGHT_NVRTC") {
            Some(value) => Self::named(value.into())?,
            None => Self::search()?,
        };
        tracing::debug!(path = %found.path.display(), version = ?found.version, "loaded NVRTC");
        Ok(LOADED.get_or_init(|| found))
    }

    /// The file it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, which is that of the CUDA toolkit it belongs to: (13, 0).
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The architectures it compiles for, oldest first.
    pub fn supported(&self) -> &[Architecture] {
        &self.supported
    }

    /// What tells this build of NVRTC from every other: part of what a cached cubin is keyed by, since two patch releases
    /// share a version. Options that the environment adds to every compilation are part of it.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The library that the user named, or an error: no silent change to another one.
    fn named(value: PathBuf) -> Result<Self, CompileError> {
        let mut searched = Vec::new();
        let candidates = if value.is_dir() {
            search::libraries(&value)
        } else {
            vec![value.clone()]
        };
        if candidates.is_empty() {
            searched.push(nothing_in("TILEWRIGHT_NVRTC", value.clone()));
        } else if !value.exists() {
            let outcome = "no such file or folder".to_owned();
            searched.push(Searched {
                origin: "TILEWRIGHT_NVRTC",
                place: value.clone(),
                outcome,
            });
        } else if let Some(nvrtc) = first_of("TILEWRIGHT_NVRTC", candidates, &mut searched) {
            return Ok(nvrtc);
        }
        Err(CompileError::NamedNvrtc { value, searched })
    }

    fn search() -> Result<Self, CompileError> {
        let mut searched = Vec::new();
        let names = search::LOADER_NAMES.map(PathBuf::from).to_vec();
        if let Some(nvrtc) = first_of("the loader's path", names, &mut searched) {
            return Ok(nvrtc);
        }
        // Starting Python is the last thing to try: the iterator gets there only when all else has failed.
        let places = search::Surroundings::current().places();
        for place in places.into_iter().chain(std::iter::from_fn(search::ask_python).take(1)) {
            let candidates = search::libraries(&place.root);
            if candidates.is_empty() {
                searched.push(nothing_in(place.origin, place.root));
            } else if let Some(nvrtc) = first_of(place.origin, candidates, &mut searched) {
                return Ok(nvrtc);
            }
        }
        Err(CompileError::NvrtcNotFound { searched })
    }

    /// Loads the library at a path, or under a name that the loader resolves.
    fn open(library: &Path) -> Result<Self, String> {
        let mut libraries = Vec::new();
        if library.components().count() > 1 {
            // NVRTC asks the loader for its builtins by name alone. The loader hands out what is loaded under that name
            // already, so loading them first spares the user an LD_LIBRARY_PATH.
            for builtins in search::builtins_beside(library) {
                libraries.push(load_library(&builtins)?);
            }
        }
        let nvrtc = load_library(library)?;
        // SAFETY: a library of this name that has these symbols is NVRTC; it is kept in the same struct.
        let entry = unsafe { EntryPoints::of(&nvrtc) }.map_err(|error| error.to_string())?;
        libraries.push(nvrtc);
        let path = loaded_file(entry.nvrtcVersion as usize).unwrap_or_else(|| library.to_owned());
        let version = version_of(&entry)?;
        Ok(Self {
            supported: supported_by(&entry)?,
            identity: identity_of(&path, version),
            without_minimal: AtomicBool::new(false),
            entry,
            path,
            version,
            _libraries: libraries,
        })
    }
}

fn first_of(origin: &'static str, candidates: Vec<PathBuf>, searched: &mut Vec<Searched>) -> Option<Nvrtc> {
    for place in candidates {
        let place = if place.components().count() > 1 {
            absolute(&place).unwrap_or(place)
        } else {
            place
        };
        match Nvrtc::open(&place) {
            Ok(nvrtc) => return Some(nvrtc),
            Err(outcome) => searched.push(Searched { origin, place, outcome }),
        }
    }
    None
}

fn nothing_in(origin: &'static str, place: PathBuf) -> Searched {
    Searched {
        origin,
        place,
        outcome: "no libnvrtc.so in it".to_owned(),
    }
}

fn load_library(path: &Path) -> Result<Library, String> {
    // SAFETY: the initialisers of NVIDIA's libraries have no preconditions; a path is only ever one of theirs.
    let loaded = unsafe { Library::new(path) };
    // The loader's own words are behind the error.
    loaded.map_err(|error| error.source().map_or_else(|| error.to_string(), ToString::to_string))
}

fn version_of(entry: &EntryPoints) -> Result<(u32, u32), String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both point to a c_int.
    let code = unsafe { (entry.nvrtcVersion)(&mut major, &mut minor) };
    match code {
        0 => Ok((major.unsigned_abs(), minor.unsigned_abs())),
        code => Err(format!("nvrtcVersion failed with result {code}")),
    }
}

fn supported_by(entry: &EntryPoints) -> Result<Vec<Architecture>, String> {
    let mut count = 0;
    // SAFETY: it points to a c_int.
    let code = unsafe { (entry.nvrtcGetNumSupportedArchs)(&mut count) };
    if code != 0 {
        return Err(format!("nvrtcGetNumSupportedArchs failed with result {code}"));
    }
    let mut numbers = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for as many as the call before counted.
    let code = unsafe { (entry.nvrtcGetSupportedArchs)(numbers.as_mut_ptr()) };
    if code != 0 {
        return Err(format!("nvrtcGetSupportedArchs failed with result {code}"));
    }
    let mut supported: Vec<_> = numbers
        .into_iter()
        .map(|number| Architecture::from_number(number.unsigned_abs()))
        .collect();
    supported.sort_unstable();
    Ok(supported)
}

/// The file that an address was loaded from, where the system tells: the loader's names say nothing of the place.
fn loaded_file(address: usize) -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        range
            .contains(&address)
            .then(|| line.find('/').map(|at| PathBuf::from(&line[at..])))?
    })
}

fn identity_of(path: &Path, (major, minor): (u32, u32)) -> String {
    let build = elf::build_id(path).or_else(|| Some(format!("{} bytes", fs::metadata(path).ok()?.len())));
    let mut identity = format!("nvrtc {major}.{minor} {}", build.unwrap_or_default());
    for variable in ["NVRTC_PREPEND_FLAGS", "NVRTC_APPEND_FLAGS"] {
        if let Some(flags) = env::var_os(variable) {
            identity.push_str(&format!(" {variable}={}", flags.display()));
        }
    }
    identity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_that_is_not_there_is_an_error_and_not_another_library() {
        let value = PathBuf::from("/no/such/libnvrtc.so");
        let error = Nvrtc::named(value).err().expect("nothing to load").to_string();
        assert!(
            error.starts_with("TILEWRIGHT_NVRTC is set to `/no/such/libnvrtc.so`"),
            "{error}"
        );
        assert!(error.contains("no such file or folder"), "{error}");
    }

    #[test]
    fn a_named_folder_without_a_library_says_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = Nvrtc::named(folder.path().into())
            .err()
            .expect("nothing to load")
            .to_string();
        assert!(error.contains("no libnvrtc.so in it"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_library_is_reported_with_the_loaders_reason() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("libnvrtc.so.13");
        fs::write(&file, "not a library").expect("a file");
        let error = Nvrtc::named(folder.path().into())
            .err()
            .expect("nothing to load")
            .to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
    }
}
