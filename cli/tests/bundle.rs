//! `tilewright bundle` as a user runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tilewright::runtime::cache::{Bundle, CubinKey, DiskCache, StoredCubin};
use tilewright::runtime::compile::{Architecture, CompileOptions, Cubin};

fn run(arguments: &[&str], cache: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tilewright"));
    command.arg("bundle").args(arguments).env("TILEWRIGHT_CACHE", cache);
    command.output().unwrap()
}

fn succeed(arguments: &[&str], cache: &Path) -> String {
    let output = run(arguments, cache);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn fail(arguments: &[&str], cache: &Path) -> String {
    let output = run(arguments, cache);
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn stored(name: &str, major: u32, bytes: usize) -> StoredCubin {
    let architecture = Architecture::new(major, 0);
    StoredCubin {
        key: CubinKey::of("source", name, &CompileOptions::new(architecture)),
        compiler: "nvrtc 1".to_owned(),
        name: name.to_owned(),
        cubin: Cubin {
            bytes: vec![0; bytes].into(),
            architecture,
            log: String::new(),
        },
    }
}

#[test]
fn the_kernels_of_a_cache_become_a_bundle_that_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let file = folder.path().join("kernels.bundle");
    let path = file.to_str().unwrap();
    let all = [
        stored("scatter", 9, 2000),
        stored("gather\u{1b}[31m", 9, 100),
        stored("gather", 10, 50),
    ];
    let disk = DiskCache::at(&cache);
    all.iter().for_each(|stored| disk.put(stored));
    let [scatter, gather, newer] = all.each_ref().map(|stored| stored.key);
    let expected = format!(
        "{path}: 3 kernels, 2150 bytes of code\n\nby nvrtc 1\n  \
         sm_90         100  {gather}  gather\\u{{1b}}[31m\n  \
         sm_90        2000  {scatter}  scatter\n  \
         sm_100         50  {newer}  gather\n"
    );
    assert_eq!(succeed(&["--out", path], &cache), expected);
    assert_eq!(succeed(&["--list", path], &cache), expected);
    assert_eq!(Bundle::open(&file).unwrap().len(), 3);
    let some = succeed(&["--list", path, "--arch", "10.0"], &cache);
    assert_eq!(
        some,
        format!("{path}: 1 kernel, 50 bytes of code\n\nby nvrtc 1\n  sm_100         50  {newer}  gather\n")
    );
    // One architecture, from a folder that is named, while the cache is off.
    let from = ["--from", cache.to_str().unwrap(), "--out", path, "--arch", "sm_90"];
    assert!(succeed(&from, Path::new("off")).starts_with(&format!("{path}: 2 kernels, 2100 bytes of code\n")));
    assert!(Bundle::open(&file).unwrap().get(&newer).unwrap().is_none());
}

#[test]
fn a_damaged_file_of_the_cache_is_left_out_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let file = folder.path().join("kernels.bundle");
    let path = file.to_str().unwrap();
    let disk = DiskCache::at(&cache);
    disk.put(&stored("one", 9, 100));
    let mut files = fs::read_dir(cache.join("cubins-1"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let first = files
        .find(|path| path.extension().is_some_and(|extension| extension == "cubin"))
        .unwrap();
    fs::write(first, "damaged").unwrap();
    let error = fail(&["--out", path], &cache);
    assert!(
        error.contains("holds no such kernels, but 1 file that cannot be used"),
        "{error}"
    );
    assert!(!file.exists());
    disk.put(&stored("two", 9, 100));
    let text = succeed(&["--out", path], &cache);
    assert!(
        text.contains(": 1 kernel,") && text.ends_with("\nleft out: 1 file of the cache, damaged or not to be read\n"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_done_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let file = folder.path().join("kernels.bundle");
    let path = file.to_str().unwrap();
    for (arguments, words) in [
        (&["--list", path][..], "cannot read the bundle"),
        (
            &["--list", "/dev/zero"],
            "the bundle /dev/zero cannot be used: it is none of Tilewright's",
        ),
        (
            &["--out", path],
            "holds no such kernels: run a program that launches them",
        ),
        (
            &["--out", path, "--arch", "hopper"],
            "`hopper` names no GPU architecture",
        ),
        (&["--out", path, "--list", path], "cannot be used with"),
        (&["--arch", "sm_90"], "required arguments were not provided"),
        (&[], "required arguments were not provided"),
    ] {
        let error = fail(arguments, &cache);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    let error = fail(&["--out", path], Path::new("off"));
    assert!(error.contains("TILEWRIGHT_CACHE turns it off"), "{error}");
    DiskCache::at(&cache).put(&stored("one", 9, 100));
    let error = fail(&["--out", "/dev/full"], &cache);
    assert!(
        error.contains("cannot write the bundle /dev/full: it is there and no plain file"),
        "{error}"
    );
}
