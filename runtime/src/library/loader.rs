//! The system's loader: where it looks, what it has loaded, and loading a file that was looked at before.

use std::ffi::CStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use object::read::ReadCache;

use super::shared_object::SharedObject;
use crate::elf::{Elf, ElfError};

/// A library in this process, which is the file that was found.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub library: Library,
    pub file: PathBuf,
    /// The words by which it calls `__cxa_atexit`, as far as they are known: addresses that may be written.
    pub registers: Vec<usize>,
}

/// Why a file is not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("no such file or folder")]
    NotFound,
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("it is a folder")]
    Folder,
    #[error("it is {0} and no plain file")]
    NotPlain(&'static str),
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The loader's own words.
    #[error("{0}")]
    Refused(String),
    #[error("it is a library named {}, and was asked for as {asked}", found.as_deref().unwrap_or("nothing"))]
    OtherName { found: Option<String>, asked: String },
    #[error("the loader has taken {} for it, or it has changed meanwhile", .0.display())]
    Other(PathBuf),
}

impl LoadError {
    /// Whether the loader would not get over it.
    pub fn is_deadly(&self) -> bool {
        matches!(
            self,
            Self::NotPlain(_) | Self::Elf(ElfError::Cut { .. } | ElfError::Damaged { .. })
        )
    }
}

/// Loads a library from its place, after a look at it. One that names itself must do so by `soname`, if that is given.
///
/// The loader maps the file, so one that somebody cuts short between the look and the loading, or while it is in use, ends the
/// process, as it does any program whose libraries are written over in place: an open descriptor keeps a file from being
/// removed, not from being cut, and a copy of our own would cost the hundred megabytes of NVRTC at every start. Package
/// managers replace files whole and cut none.
pub(crate) fn load(path: &Path, soname: Option<&str>) -> Result<Loaded, LoadError> {
    let (object, before) = look(path)?;
    if let Some(asked) = soname.filter(|asked| object.soname.as_deref() != Some(asked)) {
        let asked = asked.to_owned();
        return Err(LoadError::OtherName {
            found: object.soname,
            asked,
        });
    }
    // With all its symbols resolved now: one that is missing would end the process when it is called.
    // SAFETY: the initialisers of NVIDIA's libraries have no preconditions; a path is only ever one of theirs.
    let loaded = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let library = loaded.map_err(|error| {
        let reason = std::error::Error::source(&error).map(ToString::to_string);
        LoadError::Refused(reason.unwrap_or_else(|| error.to_string()))
    })?;
    let (library, place) = system::place_of(library);
    let (start, file) = place.unzip();
    let file = file.unwrap_or_else(|| path.to_owned());
    if fs::metadata(&file)
        .ok()
        .is_none_or(|after| stamp(&after) != stamp(&before))
    {
        return Err(LoadError::Other(file));
    }
    let registers = start.map(|start| object.registers.iter().map(|at| start + *at as usize).collect());
    Ok(Loaded {
        library,
        file: path.to_owned(),
        registers: registers.unwrap_or_default(),
    })
}

/// Reads what a file says of itself, and follows what the loader would.
pub(crate) fn look(path: &Path) -> Result<(SharedObject, Metadata), LoadError> {
    let (file, metadata) = open(path)?;
    Ok((SharedObject::read(&ReadCache::<File>::new(file))?, metadata))
}

/// What tells this build of a library from others: what its linker says, or else its length. It reads the headers alone: the
/// file is not one to be loaded yet.
pub(crate) fn build(path: &Path) -> Result<String, LoadError> {
    let (file, metadata) = open(path)?;
    let build_id = Elf::read(&ReadCache::<File>::new(file))?.build_id();
    Ok(build_id.unwrap_or_else(|| format!("{} bytes", metadata.len())))
}

/// Opens a library. Nothing is waited for, and nothing but a plain file is opened.
fn open(path: &Path) -> Result<(File, Metadata), LoadError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => LoadError::NotFound,
        _ => LoadError::Unreadable(error),
    };
    plain(&fs::metadata(path).map_err(failed)?)?;
    // It may be another by now.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    plain(&metadata)?;
    if metadata.len() == 0 {
        return Err(ElfError::Empty.into());
    }
    Ok((file, metadata))
}

fn plain(metadata: &Metadata) -> Result<(), LoadError> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => return Err(LoadError::Folder),
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(LoadError::NotPlain(what))
}

/// What tells whether a file is the same.
fn stamp(metadata: &Metadata) -> (u64, u64, u64, i64, i64) {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    )
}

/// Where the loader finds a library by its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loader {
    /// The files of the libraries that are in this process.
    pub loaded: Vec<PathBuf>,
    /// The folders of the environment and of this program.
    pub folders: Vec<PathBuf>,
    /// Names and files that `ldconfig` has listed.
    pub listed: Vec<(String, PathBuf)>,
    /// The folders of the system.
    pub system: Vec<PathBuf>,
}

impl Loader {
    /// That of this process.
    pub fn current() -> Self {
        let listed = fs::read("/etc/ld.so.cache").unwrap_or_default();
        let (folders, system) = system::folders();
        Self {
            loaded: system::loaded(),
            folders,
            listed: super::listed::read(&listed),
            system,
        }
    }

    /// Where a file of this name would be looked for, in order. Not all of them are there.
    pub fn places(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let folders = self.folders.iter().map(move |folder| folder.join(name));
        let listed = self
            .listed
            .iter()
            .filter(move |entry| entry.0 == name)
            .map(|entry| entry.1.clone());
        folders
            .chain(listed)
            .chain(self.system.iter().map(move |folder| folder.join(name)))
    }
}

/// What glibc tells.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod system {
    use std::ffi::{OsStr, c_char, c_int, c_uint, c_void};
    use std::os::unix::ffi::OsStrExt;
    use std::ptr;

    use super::*;

    /// `Dl_serpath` of dlfcn.h.
    #[repr(C)]
    struct Folder {
        name: *const c_char,
        flags: c_uint,
    }

    /// `Dl_serinfo` of dlfcn.h, of which the folders follow.
    #[repr(C)]
    struct Folders {
        size: usize,
        count: c_uint,
        first: [Folder; 0],
    }

    /// The beginning of `link_map` of link.h.
    #[repr(C)]
    struct LinkMap {
        address: usize,
        name: *const c_char,
    }

    /// The folders of the environment and of this program, and those of the system.
    pub fn folders() -> (Vec<PathBuf>, Vec<PathBuf>) {
        let program = Library::this().into_raw();
        let mut head = Folders {
            size: 0,
            count: 0,
            first: [],
        };
        let none = (Vec::new(), Vec::new());
        // SAFETY: the handle is that of the program, and the pointer to what this request fills in.
        if unsafe { libc::dlinfo(program, libc::RTLD_DI_SERINFOSIZE, ptr::from_mut(&mut head).cast()) } != 0 {
            return none;
        }
        // Words, so that it is aligned; the loader writes its texts behind the folders, within the size that it told.
        let mut memory = vec![0u64; head.size.div_ceil(size_of::<u64>())];
        let list: *mut Folders = memory.as_mut_ptr().cast();
        // SAFETY: the memory is aligned and larger than the head, which says how large it is.
        unsafe { list.write(head) };
        // SAFETY: as the request wants it: the head of the answer says how much room there is.
        if unsafe { libc::dlinfo(program, libc::RTLD_DI_SERINFO, list.cast()) } != 0 {
            return none;
        }
        // SAFETY: the loader has filled in as many folders as the head says, behind it.
        let folders = unsafe {
            let first = ptr::addr_of!((*list).first).cast::<Folder>();
            std::slice::from_raw_parts(first, (*list).count as usize)
        };
        // SAFETY: the loader's texts end in NUL and lie in the memory.
        let mut folders: Vec<_> = folders
            .iter()
            .map(|folder| path(unsafe { CStr::from_ptr(folder.name) }))
            .collect();
        // They come last, and nothing else tells them.
        let others = folders
            .iter()
            .rposition(|folder| !is_of_system(folder))
            .map_or(0, |last| last + 1);
        let system = folders.split_off(others);
        (folders, system)
    }

    /// Whether it is `/lib`, `/usr/lib64`, `/lib/x86_64-linux-gnu` or the like.
    fn is_of_system(folder: &Path) -> bool {
        let rest = folder
            .strip_prefix("/usr")
            .or_else(|_| folder.strip_prefix("/"))
            .unwrap_or(folder);
        let names: Vec<_> = rest.iter().map(|name| name.to_string_lossy()).collect();
        match &names[..] {
            [lib] => lib.starts_with("lib"),
            [lib, architecture] => lib == "lib" && architecture.contains("-linux-"),
            _ => false,
        }
    }

    /// The files of the libraries that are in this process.
    pub fn loaded() -> Vec<PathBuf> {
        unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, files: *mut c_void) -> c_int {
            // SAFETY: the loader gives an info whose name ends in NUL, and the pointer that it was given.
            let (name, files) = unsafe { (CStr::from_ptr((*info).dlpi_name), &mut *files.cast::<Vec<PathBuf>>()) };
            files.push(path(name));
            0
        }
        let mut files: Vec<PathBuf> = Vec::new();
        // SAFETY: the function gets a pointer to the files, which live until the call returns, and does not unwind.
        unsafe { libc::dl_iterate_phdr(Some(add), ptr::from_mut(&mut files).cast()) };
        files.retain(|file| file.is_absolute());
        files
    }

    /// Where in memory a library begins, and its file as the loader knows it.
    pub fn place_of(library: Library) -> (Library, Option<(usize, PathBuf)>) {
        let handle = library.into_raw();
        let mut map: *const LinkMap = ptr::null();
        // SAFETY: the handle is that of a library that is loaded, and the pointer to a pointer.
        let result = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, ptr::from_mut(&mut map).cast()) };
        // SAFETY: if the call succeeds, the map is that of the library, and its name ends in NUL.
        let place = (result == 0).then(|| unsafe { ((*map).address, path(CStr::from_ptr((*map).name))) });
        // SAFETY: the handle comes from a library, which is gone.
        (unsafe { Library::from_raw(handle) }, place)
    }

    fn path(text: &CStr) -> PathBuf {
        OsStr::from_bytes(text.to_bytes()).into()
    }
}

/// Other loaders tell nothing: a library is found in the folders that the environment names.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod system {
    use super::*;

    pub fn folders() -> (Vec<PathBuf>, Vec<PathBuf>) {
        let set = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        (std::env::split_paths(&set).collect(), Vec::new())
    }

    pub fn loaded() -> Vec<PathBuf> {
        Vec::new()
    }

    pub fn place_of(library: Library) -> (Library, Option<(usize, PathBuf)>) {
        (library, None)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tilewright_testing::process_of;

    use super::*;
    use crate::elf::image;
    use crate::fuzz::variable;

    fn reason(path: &Path) -> String {
        load(path, None).expect_err("no library").to_string()
    }

    #[test]
    fn a_library_is_loaded_from_its_place_and_has_its_functions() {
        let folder = tempfile::tempdir().expect("a folder");
        for has_gnu_hash in [false, true] {
            let file = folder.path().join(format!("libsome{has_gnu_hash}.so"));
            fs::write(&file, image::library("libsome.so.1", has_gnu_hash).bytes).expect("a file");
            let loaded = load(&file, Some("libsome.so.1")).expect("a library");
            assert_eq!(loaded.file, file);
            assert_eq!(build(&file).expect("a library"), image::BUILD_ID);
            // SAFETY: both functions take nothing and return nothing.
            unsafe {
                loaded.function::<extern "C" fn()>("one").expect("a function")();
                loaded.function::<extern "C" fn()>("two").expect("a function")();
            }
            // SAFETY: it is not called.
            let missing = unsafe { loaded.function::<extern "C" fn()>("three") };
            assert_eq!(missing.expect_err("no function"), "it has no function three");
            let other = load(&file, Some("libother.so")).expect_err("another name").to_string();
            assert_eq!(
                other,
                "it is a library named libsome.so.1, and was asked for as libother.so"
            );
        }
    }

    #[test]
    fn what_is_no_plain_file_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        assert_eq!(reason(folder.path()), "it is a folder");
        assert_eq!(reason(&at("nothing")), "no such file or folder");
        let pipe = Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo");
        assert!(pipe.success());
        assert_eq!(reason(&at("pipe")), "it is a pipe and no plain file");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        assert_eq!(reason(&at("socket")), "it is a socket and no plain file");
        assert_eq!(reason(Path::new("/dev/zero")), "it is a device and no plain file");
        std::os::unix::fs::symlink(at("loop"), at("loop")).expect("a link");
        assert!(
            reason(&at("loop")).starts_with("it cannot be read: "),
            "{}",
            reason(&at("loop"))
        );
        fs::write(at("empty"), "").expect("a file");
        assert_eq!(reason(&at("empty")), "it is empty");
        fs::write(at("text"), "INPUT(libother.so)").expect("a file");
        assert_eq!(
            reason(&at("text")),
            "it does not begin like a 64-bit little-endian ELF file"
        );
        if Path::new("/proc/kmsg").exists() {
            assert_ne!(reason(Path::new("/proc/kmsg")), "");
        }
    }

    #[test]
    fn the_loader_tells_where_it_looks() {
        let loader = Loader::current();
        assert!(
            !loader.system.is_empty() && loader.system.iter().all(|folder| folder.is_absolute()),
            "{loader:?}"
        );
        assert!(
            loader.loaded.iter().any(|file| file.ends_with("libc.so.6")),
            "{:?}",
            loader.loaded
        );
        assert!(loader.places("libc.so.6").any(|place| look(&place).is_ok()));
    }

    #[test]
    fn every_library_of_this_machine_is_let_through() {
        let mut looked = 0;
        for (name, file) in Loader::current().listed {
            match look(&file) {
                Ok(_) => looked += 1,
                Err(error) => assert!(!error.is_deadly(), "{name}: {}: {error}", file.display()),
            }
        }
        println!("{looked} libraries");
    }

    /// It takes another process, which runs the ignored test below.
    #[test]
    fn what_is_let_through_does_not_end_the_process() {
        let child = process_of("library::loader::tests::damaged_libraries_are_loaded")
            .output()
            .expect("a process");
        let text = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
        let last = text.lines().rev().find(|line| line.starts_with("seed"));
        assert!(
            child.status.success() && text.contains("1 passed"),
            "{:?} after {last:?}",
            child.status
        );
    }

    #[test]
    #[ignore = "run by `what_is_let_through_does_not_end_the_process`, in a process of its own"]
    fn damaged_libraries_are_loaded() {
        let inputs = variable("TILEWRIGHT_FUZZ_INPUTS").unwrap_or(10_000);
        let first = variable("TILEWRIGHT_FUZZ_FIRST").unwrap_or(0);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("libsome.so");
        let (mut passed, mut loaded) = (0, 0);
        for seed in first..first + inputs {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut image = image::library("libsome.so.1", rng.bool());
            image.damage(&mut rng, true);
            if SharedObject::read(&image.bytes[..]).is_err() || runs_code(&image) {
                continue;
            }
            passed += 1;
            fs::write(&file, &image.bytes).expect("a file");
            println!("seed {seed}");
            loaded += u32::from(load(&file, None).is_ok());
        }
        println!("{passed} of {inputs} were let through, and {loaded} loaded");
        assert!(passed * 20 > inputs && loaded > 0);
    }

    /// Whether the loader is told to call something, which may be anything.
    fn runs_code(image: &image::Image) -> bool {
        let list = image.bytes.get(image.headers[3].clone()).unwrap_or_default();
        let calls = [12, 13, 25, 26, 32];
        list.chunks(16)
            .any(|entry| calls.contains(&entry[0]) && entry[1..8] == [0; 7])
    }
}
