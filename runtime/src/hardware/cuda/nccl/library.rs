//! NCCL itself: loaded, and its functions.

use std::{
    ffi::{c_char, c_int, c_void},
    fmt,
    path::{Path, PathBuf},
};

use cudarc::nccl::sys::{
    self, cudaStream_t, ncclComm_t, ncclConfig_t, ncclDataType_t, ncclRedOp_t, ncclResult_t, ncclUniqueId,
};

use super::NcclError;
use crate::library::{self, Absent, Found, Loaded, Once, Searched, Wanted, entry_points};

const NCCL: Wanted = Wanted {
    variable: "TILEWRIGHT_NCCL",
    loader_names: &["libnccl.so.2", "libnccl.so"],
    file: "libnccl.so",
    package: "nccl",
    project: "nccl",
};

/// NCCL's `ncclResult_t`: a number, because later versions have more of them.
pub(super) type Code = c_int;
pub(super) const SUCCESS: Code = ncclResult_t::ncclSuccess as Code;
/// The call goes on; `ncclCommGetAsyncError` tells when it is done.
pub(super) const IN_PROGRESS: Code = ncclResult_t::ncclInProgress as Code;

entry_points! { "NCCL", ncclResult_t as Code where {
    ncclGetVersion(*mut c_int);
    ncclGetUniqueId(*mut ncclUniqueId);
    ncclCommInitRankConfig(*mut ncclComm_t, c_int, ncclUniqueId, c_int, *mut ncclConfig_t);
    ncclCommSplit(ncclComm_t, c_int, c_int, *mut ncclComm_t, *mut ncclConfig_t);
    ncclCommFinalize(ncclComm_t);
    ncclCommDestroy(ncclComm_t);
    ncclCommAbort(ncclComm_t);
    ncclGroupStart();
    ncclGroupEnd();
    ncclAllReduce(
        *const c_void, *mut c_void, usize, ncclDataType_t, ncclRedOp_t, ncclComm_t, cudaStream_t
    );
    ncclAllGather(*const c_void, *mut c_void, usize, ncclDataType_t, ncclComm_t, cudaStream_t);
    ncclReduceScatter(
        *const c_void, *mut c_void, usize, ncclDataType_t, ncclRedOp_t, ncclComm_t, cudaStream_t
    );
    ncclBroadcast(*const c_void, *mut c_void, usize, ncclDataType_t, c_int, ncclComm_t, cudaStream_t);
    ncclReduce(
        *const c_void, *mut c_void, usize, ncclDataType_t, ncclRedOp_t, c_int, ncclComm_t, cudaStream_t
    );
    ncclSend(*const c_void, usize, ncclDataType_t, c_int, ncclComm_t, cudaStream_t);
    ncclRecv(*mut c_void, usize, ncclDataType_t, c_int, ncclComm_t, cudaStream_t);
} else {
    ncclGetErrorString(Code) -> *const c_char;
    ncclCommGetAsyncError(ncclComm_t, *mut Code) -> Code;
    ncclGetLastError(ncclComm_t) -> *const c_char;
} }

/// NVIDIA's library of collectives, loaded once a process and never unloaded.
pub struct Nccl {
    pub(super) entry: EntryPoints,
    path: PathBuf,
    version: (u32, u32, u32),
    passed_over: Vec<Searched>,
    /// Keeps the function pointers valid.
    _library: Loaded,
}

impl Nccl {
    /// NCCL, found and loaded by the first call that succeeds: a failure is not remembered.
    ///
    /// It is looked for as NVRTC is, by `TILEWRIGHT_NCCL`, and among Python packages in those of `nvidia-nccl-cu13` or
    /// `nvidia-nccl-cu12`, which PyTorch brings along. A process that has loaded it already, for PyTorch say, gets the same
    /// one, unless the variable names another.
    ///
    /// # Errors
    /// There is none, with the places that were searched and what was wrong with each.
    pub fn load() -> Result<&'static Self, NcclError> {
        static LOADED: Once<Nccl> = Once::new();
        LOADED.get_or_load(|| {
            let Found { library, passed_over } = NCCL.find(Self::open).map_err(|absent| match absent {
                Absent::Named { value, searched } => NcclError::Named { value, searched },
                Absent::NotFound { searched } => NcclError::Missing { searched },
            })?;
            tracing::debug!(path = %library.path.display(), version = ?library.version, ?passed_over, "loaded NCCL");
            Ok(Self { passed_over, ..library })
        })
    }

    /// The file it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version: (2, 27, 3).
    pub fn version(&self) -> (u32, u32, u32) {
        self.version
    }

    /// The files that would have come first but did not do, and why.
    pub fn passed_over(&self) -> &[Searched] {
        &self.passed_over
    }

    /// Loads the library at a path.
    fn open(path: &Path) -> Result<Self, String> {
        let nccl = library::load(path, None).map_err(|error| error.to_string())?;
        // SAFETY: a library of this name that has these symbols is NCCL; it is kept in the same struct.
        let entry = unsafe { EntryPoints::of(&nccl) }?;
        let mut version = 0;
        // SAFETY: it points to a c_int.
        match unsafe { (entry.ncclGetVersion)(&mut version) } {
            SUCCESS => {}
            error => return Err(format!("ncclGetVersion failed with result {error}")),
        }
        Ok(Self {
            path: nccl.file.clone(),
            version: parts(version.unsigned_abs()),
            passed_over: Vec::new(),
            entry,
            _library: nccl,
        })
    }
}

impl fmt::Debug for Nccl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, version, .. } = self;
        f.debug_struct("Nccl")
            .field("path", path)
            .field("version", version)
            .finish_non_exhaustive()
    }
}

/// A version as nccl.h writes it: 22703 is 2.27.3.
fn parts(version: u32) -> (u32, u32, u32) {
    (version / 10000, version / 100 % 100, version % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_three_parts() {
        assert_eq!(parts(23003), (2, 30, 3));
    }

    /// NCCL needs no GPU to be loaded.
    #[test]
    fn the_library_is_found_or_the_error_says_what_to_install() {
        match Nccl::load() {
            Ok(nccl) => {
                println!("{} {:?}", nccl.path().display(), nccl.version());
                assert!(nccl.path().is_file());
                assert!(
                    nccl.version() >= (2, 18, 0),
                    "communicators of older ones cannot be split"
                );
            }
            Err(error) => assert!(error.to_string().contains("libnccl.so.2"), "{error}"),
        }
    }
}
