//! NVRTC itself: loaded, and asked who it is.

#![allow(unsafe_code)]

use std::{
    env,
    os::raw::{c_char, c_int},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use cudarc::nvrtc::sys::{self, nvrtcProgram, nvrtcResult};

use super::{Architecture, CompileError, Searched};
use crate::behind::{let_wait, registering};
use crate::library::{self, Absent, Found, Loaded, Once, Wanted, entry_points};

const NVRTC: Wanted = Wanted {
    variable: "TILEWRIGHT_NVRTC",
    loader_names: &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"],
    file: "libnvrtc.so",
    package: "cu",
    project: "nvrtc",
};

/// A result of NVRTC's.
pub(super) type Code = c_int;
pub(super) const SUCCESS: Code = nvrtcResult::NVRTC_SUCCESS as Code;

entry_points! { "NVRTC", nvrtcResult as Code where {
    nvrtcVersion(*mut c_int, *mut c_int);
    nvrtcGetNumSupportedArchs(*mut c_int);
    nvrtcGetSupportedArchs(*mut c_int);
    nvrtcCreateProgram(
        *mut nvrtcProgram, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char
    );
    nvrtcDestroyProgram(*mut nvrtcProgram);
    nvrtcCompileProgram(nvrtcProgram, c_int, *const *const c_char);
    nvrtcGetProgramLogSize(nvrtcProgram, *mut usize);
    nvrtcGetProgramLog(nvrtcProgram, *mut c_char);
    nvrtcGetCUBINSize(nvrtcProgram, *mut usize);
    nvrtcGetCUBIN(nvrtcProgram, *mut c_char);
    nvrtcGetPTXSize(nvrtcProgram, *mut usize);
    nvrtcGetPTX(nvrtcProgram, *mut c_char);
} else {
    nvrtcGetErrorString(Code) -> *const c_char;
} }

/// NVIDIA's run-time compiler, loaded once a process and never unloaded.
pub struct Nvrtc {
    pub(super) entry: EntryPoints,
    /// Whether this NVRTC has refused `--minimal`, as versions before 12 do.
    pub(super) without_minimal: AtomicBool,
    path: PathBuf,
    version: (u32, u32),
    supported: Vec<Architecture>,
    identity: String,
    passed_over: Vec<Searched>,
    /// Keeps the function pointers valid, and the builtins where NVRTC finds them.
    _libraries: [Loaded; 2],
}

static LOADED: Once<Nvrtc> = Once::new();

impl Nvrtc {
    /// NVRTC, found and loaded by the first call that succeeds: a failure is not remembered.
    ///
    /// It is the one that `TILEWRIGHT_NVRTC` names, or none: a file, a folder, or the name of a file that is searched for. If
    /// that is not set, it is one that is in this process already, or on the loader's path, in `CUDA_HOME` and `CUDA_PATH`, in
    /// installed CUDA toolkits, among Python packages (`nvidia-cuda-nvrtc`), or in `target/nvrtc` of the current folder and
    /// those above it. One that is not whole, such as one without its builtins, is [passed over](Self::passed_over).
    ///
    /// # Errors
    /// There is none, with the places that were searched and what was wrong with each.
    pub fn load() -> Result<&'static Self, CompileError> {
        LOADED.get_or_load(|| {
            let found = registering(|| NVRTC.find(Self::open));
            let Found { library, passed_over } = found.map_err(absent)?;
            tracing::debug!(path = %library.path.display(), version = ?library.version, ?passed_over, "loaded NVRTC");
            Ok(Self { passed_over, ..library })
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

    /// What tells this build of NVRTC from every other, wherever it lies: its linker's identifier and that of its builtins,
    /// since two patch releases share a version. Options that the environment adds to every compilation are part of it. It
    /// is part of what a cached cubin is found by.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The [identity](Self::identity) of the NVRTC that is loaded or, if none is, of the one that would be, as far as its
    /// headers tell: the search is that of [`load`](Self::load), and nothing is loaded. It is made once a process, if it
    /// finds one.
    ///
    /// # Errors
    /// There is none.
    pub fn identity_at_hand() -> Result<&'static str, CompileError> {
        // Of threads that all begin with this, one searches.
        static FOUND: Once<String> = Once::new();
        if let Some(loaded) = LOADED.get() {
            return Ok(loaded.identity());
        }
        let find = || NVRTC.find(identity_of).map(|found| found.library).map_err(absent);
        FOUND.get_or_load(find).map(String::as_str)
    }

    /// The files that would have come first but did not do, and why.
    pub fn passed_over(&self) -> &[Searched] {
        &self.passed_over
    }

    /// Loads the library at a path, and its builtins.
    fn open(path: &Path) -> Result<Self, String> {
        let nvrtc = library::load(path, None).map_err(|error| error.to_string())?;
        // SAFETY: a library of this name that has these symbols is NVRTC; it is kept in the same struct.
        let entry = unsafe { EntryPoints::of(&nvrtc) }?;
        // It registers more when it compiles for the first time.
        // SAFETY: they are words of this library, which is never unloaded, and by which it calls that function.
        unsafe { let_wait(&nvrtc.registers) };
        let version = version_of(&entry)?;
        // NVRTC asks the loader for these by name alone when it compiles. Loading them first spares the user an
        // LD_LIBRARY_PATH, and tells now whether they are there.
        let builtins = format!("libnvrtc-builtins.so.{}.{}", version.0, version.1);
        let builtins = library::load_companion(path, &builtins)?;
        Ok(Self {
            supported: supported_by(&entry)?,
            identity: identity_of(path)?,
            without_minimal: AtomicBool::new(false),
            entry,
            path: nvrtc.file.clone(),
            version,
            passed_over: Vec::new(),
            _libraries: [nvrtc, builtins],
        })
    }
}

fn version_of(entry: &EntryPoints) -> Result<(u32, u32), String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both point to a c_int.
    let code = unsafe { (entry.nvrtcVersion)(&mut major, &mut minor) };
    match code {
        SUCCESS => Ok((major.unsigned_abs(), minor.unsigned_abs())),
        code => Err(format!("nvrtcVersion failed with result {code}")),
    }
}

fn supported_by(entry: &EntryPoints) -> Result<Vec<Architecture>, String> {
    let mut count = 0;
    // SAFETY: it points to a c_int.
    let code = unsafe { (entry.nvrtcGetNumSupportedArchs)(&mut count) };
    if code != SUCCESS {
        return Err(format!("nvrtcGetNumSupportedArchs failed with result {code}"));
    }
    let mut numbers = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for as many as the call before counted.
    let code = unsafe { (entry.nvrtcGetSupportedArchs)(numbers.as_mut_ptr()) };
    if code != SUCCESS {
        return Err(format!("nvrtcGetSupportedArchs failed with result {code}"));
    }
    let mut supported: Vec<_> = numbers
        .into_iter()
        .map(|number| Architecture::from_number(number.unsigned_abs()))
        .collect();
    supported.sort_unstable();
    Ok(supported)
}

fn absent(absent: Absent) -> CompileError {
    match absent {
        Absent::Named { value, searched } => CompileError::NamedNvrtc { value, searched },
        Absent::NotFound { searched } => CompileError::NvrtcNotFound { searched },
    }
}

/// What the headers of the library at a path, of its builtins beside it, and the environment say.
fn identity_of(path: &Path) -> Result<String, String> {
    let build = library::build(path).map_err(|error| error.to_string())?;
    let builtins = library::builds_beside(path, "libnvrtc-builtins.so");
    let mut identity = format!("nvrtc {build} builtins {}", builtins.join(","));
    for variable in ["NVRTC_PREPEND_FLAGS", "NVRTC_APPEND_FLAGS"] {
        if let Some(flags) = env::var_os(variable) {
            identity.push_str(&format!(" {variable}={}", flags.display()));
        }
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tilewright_testing::Part;

    use super::*;
    use crate::elf::image::{BUILD_ID, library};

    /// The identity of an NVRTC in a new folder, with builtins under some names.
    fn identity(builtins: &[(&str, &[u8])]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("libnvrtc.so.13"), library("libnvrtc.so.13", true).bytes).expect("a file");
        for (name, bytes) in builtins {
            fs::write(at(name), bytes).expect("a file");
        }
        identity_of(&at("libnvrtc.so.13")).expect("a library")
    }

    #[test]
    fn what_nvrtc_registers_waits_for_its_compilations() {
        if let Some(nvrtc) = Part::Nvrtc.or_skip(Nvrtc::load()) {
            assert_ne!(
                nvrtc._libraries[0].registers,
                [],
                "the word by which it registers was not found"
            );
        }
    }

    #[test]
    fn the_identity_is_that_of_library_and_builtins_wherever_they_lie() {
        let builtins = library("libnvrtc-builtins.so.13.0", true).bytes;
        let mut other = builtins.clone();
        let id = other.windows(BUILD_ID.len() / 2).position(|part| {
            let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            hex == BUILD_ID
        });
        other[id.expect("its identifier")] ^= 1;
        let one = identity(&[("libnvrtc-builtins.so.13.0", &builtins)]);
        assert!(
            one.starts_with(&format!("nvrtc {BUILD_ID} builtins {BUILD_ID}")),
            "{one}"
        );
        let linked = [
            ("libnvrtc-builtins.so", &builtins[..]),
            ("libnvrtc-builtins.so.13.0", &builtins),
        ];
        assert_eq!(identity(&linked), one, "the same in another folder, under two names");
        assert_ne!(identity(&[("libnvrtc-builtins.so.13.0", &other)]), one);
        assert_ne!(identity(&[]), one);
        assert!(identity_of(Path::new("/no/such/file")).is_err());
    }
}
