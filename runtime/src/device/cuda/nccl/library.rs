//! NCCL itself: loaded, and its functions.

use std::{
    ffi::{c_char, c_int, c_void},
    fmt,
    path::{Path, PathBuf},
};

use cudarc::nccl::sys::{ncclComm_t, ncclConfig_t, ncclDataType_t, ncclRedOp_t, ncclUniqueId};
use libloading::Library;

use super::NcclError;
use crate::library::{self, Absent, Once, Wanted, entry_points};

const NCCL: Wanted = Wanted {
    variable: "TILEWRIGHT_NCCL",
    loader_names: &["libnccl.so.2", "libnccl.so"],
    file: "libnccl.so",
    package: "nccl",
    project: "nccl",
};

/// NCCL's `ncclResult_t`: a number, because later versions have more of them.
pub(super) type Code = c_int;
pub(super) const SUCCESS: Code = 0;
/// The call goes on; `ncclCommGetAsyncError` tells when it is done.
pub(super) const IN_PROGRESS: Code = 7;

/// A stream, as the driver has it.
type Stream = *mut c_void;

entry_points! { "NCCL":
    ncclGetVersion(*mut c_int) -> Code;
    ncclGetErrorString(Code) -> *const c_char;
    ncclGetLastError(ncclComm_t) -> *const c_char;
    ncclGetUniqueId(*mut ncclUniqueId) -> Code;
    ncclCommInitRankConfig(*mut ncclComm_t, c_int, ncclUniqueId, c_int, *mut ncclConfig_t) -> Code;
    ncclCommGetAsyncError(ncclComm_t, *mut Code) -> Code;
    ncclCommFinalize(ncclComm_t) -> Code;
    ncclCommDestroy(ncclComm_t) -> Code;
    ncclCommAbort(ncclComm_t) -> Code;
    ncclGroupStart() -> Code;
    ncclGroupEnd() -> Code;
    ncclAllReduce(
        *const c_void, *mut c_void, usize, ncclDataType_t, ncclRedOp_t, ncclComm_t, Stream
    ) -> Code;
    ncclAllGather(*const c_void, *mut c_void, usize, ncclDataType_t, ncclComm_t, Stream) -> Code;
    ncclReduceScatter(
        *const c_void, *mut c_void, usize, ncclDataType_t, ncclRedOp_t, ncclComm_t, Stream
    ) -> Code;
    ncclReduce(
        *const c_void, *mut c_void, usize, ncclDataType_t, ncclRedOp_t, c_int, ncclComm_t, Stream
    ) -> Code;
    ncclSend(*const c_void, usize, ncclDataType_t, c_int, ncclComm_t, Stream) -> Code;
    ncclRecv(*mut c_void, usize, ncclDataType_t, c_int, ncclComm_t, Stream) -> Code;
}

/// NVIDIA's library of collectives, loaded once a process and never unloaded.
pub struct Nccl {
    pub(super) entry: EntryPoints,
    path: PathBuf,
    version: (u32, u32, u32),
    /// Keeps the function pointers valid.
    _library: Library,
}

impl Nccl {
    /// NCCL, found and loaded by the first call that succeeds: a failure is not remembered.
    ///
    /// It is looked for where `TILEWRIGHT_NCCL` says, and nowhere else if that is set; else as NVRTC is, among Python
    /// packages in those of `nvidia-nccl-cu13` or `nvidia-nccl-cu12`, which PyTorch brings along. A process that has loaded
    /// it already, for PyTorch say, gets the same one.
    ///
    /// # Errors
    /// There is none, with the places that were searched.
    pub fn load() -> Result<&'static Self, NcclError> {
        static LOADED: Once<Nccl> = Once::new();
        LOADED.get_or_load(|| {
            let found = NCCL.find(Self::open).map_err(|absent| match absent {
                Absent::Named { value, searched } => NcclError::Named { value, searched },
                Absent::NotFound { searched } => NcclError::Missing { searched },
            })?;
            tracing::debug!(path = %found.path.display(), version = ?found.version, "loaded NCCL");
            Ok(found)
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

    /// Loads the library at a path, or under a name that the loader resolves.
    fn open(path: &Path) -> Result<Self, String> {
        let nccl = library::load(path)?;
        // SAFETY: a library of this name that has these symbols is NCCL; it is kept in the same struct.
        let entry = unsafe { EntryPoints::of(&nccl) }.map_err(|error| error.to_string())?;
        let mut version = 0;
        // SAFETY: it points to a c_int.
        match unsafe { (entry.ncclGetVersion)(&mut version) } {
            SUCCESS => {}
            error => return Err(format!("ncclGetVersion failed with result {error}")),
        }
        Ok(Self {
            path: library::loaded_file(entry.ncclGetVersion as usize).unwrap_or_else(|| path.to_owned()),
            version: parts(version.unsigned_abs()),
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
                    nccl.version() >= (2, 14, 0),
                    "older ones cannot be asked without blocking"
                );
            }
            Err(error) => assert!(error.to_string().contains("libnccl.so.2"), "{error}"),
        }
    }
}
