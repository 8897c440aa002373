//! NVRTC itself: loaded, and asked who it is.

#![allow(unsafe_code)]

use std::{
    env, fs,
    os::raw::{c_char, c_int, c_void},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use libloading::Library;

use super::{Architecture, CompileError, elf};
use crate::library::{self, Absent, Once, Wanted, entry_points};

/// NVRTC's `nvrtcProgram`.
pub(super) type Handle = *mut c_void;

const NVRTC: Wanted = Wanted {
    variable: "TILEWRIGHT_NVRTC",
    loader_names: &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"],
    file: "libnvrtc.so",
    package: "cu",
    project: "nvrtc",
};

entry_points! { "NVRTC":
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
        static LOADED: Once<Nvrtc> = Once::new();
        LOADED.get_or_load(|| {
            let found = NVRTC.find(Self::open).map_err(|absent| match absent {
                Absent::Named { value, searched } => CompileError::NamedNvrtc { value, searched },
                Absent::NotFound { searched } => CompileError::NvrtcNotFound { searched },
            })?;
            tracing::debug!(path = %found.path.display(), version = ?found.version, "loaded NVRTC");
            Ok(found)
        })
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

    /// Loads the library at a path, or under a name that the loader resolves.
    fn open(path: &Path) -> Result<Self, String> {
        let mut libraries = Vec::new();
        if library::is_path(path) {
            // NVRTC asks the loader for its builtins by name alone. The loader hands out what is loaded under that name
            // already, so loading them first spares the user an LD_LIBRARY_PATH.
            for builtins in library::beside(path, "libnvrtc-builtins.so") {
                libraries.push(library::load(&builtins)?);
            }
        }
        let nvrtc = library::load(path)?;
        // SAFETY: a library of this name that has these symbols is NVRTC; it is kept in the same struct.
        let entry = unsafe { EntryPoints::of(&nvrtc) }.map_err(|error| error.to_string())?;
        libraries.push(nvrtc);
        let path = library::loaded_file(entry.nvrtcVersion as usize).unwrap_or_else(|| path.to_owned());
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
