//! `tilewright bundle` as a user runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tilewright::runtime::cache::{Bundle, CubinKey, DiskCache, StoredCubin};
use tilewright::runtime::compile::{Architecture, CompileOptions, Cubin, Nvrtc};
use tilewright_testing::Part;

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
    assert_eq!(succeed(&["--from", "--out", path], &cache), expected);
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
    let error = fail(&["--from", "--out", path], &cache);
    assert!(
        error.contains("holds no such kernels, but 1 file that cannot be used"),
        "{error}"
    );
    assert!(!file.exists());
    disk.put(&stored("two", 9, 100));
    let text = succeed(&["--from", "--out", path], &cache);
    assert!(
        text.contains(": 1 kernel,") && text.ends_with("\nleft out: 1 file of the cache, damaged or not to be read\n"),
        "{text}"
    );
}

#[test]
fn the_kernels_of_an_engine_are_compiled_for_gpus_that_are_not_here() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.bundle");
    let path = file.to_str().unwrap();
    let engine = ["--out", path, "--hidden", "64", "--rows", "6"];
    let compile = |more: &[&str]| succeed(&[&engine, more].concat(), Path::new("off"));
    let text = compile(&["--arch", "sm_90", "--kernels", "movement"]);
    for words in [
        "by nvrtc ",
        "  sm_90 ",
        "  tilewright_place_rows\n",
        "  tilewright_copy_from_slot_padded\n",
        "not in it: literals that a server tries as it runs",
    ] {
        assert!(text.contains(words), "`{words}` is missing in\n{text}");
    }
    let kernels = || Bundle::open(&file).unwrap().len();
    let padding = ["--kernels", "padding", "--arch"];
    let compile = |more: &[&str]| compile(&[&padding, more].concat());
    compile(&["sm_90"]);
    let few = kernels();
    // Each architecture and each number of multiprocessors has its own code or schedules.
    let text = compile(&["sm_90,sm_100", "--arch", "sm_80"]);
    assert_eq!(kernels(), 3 * few);
    assert!(text.contains("  sm_100 ") && text.contains("  sm_80 "), "{text}");
    let listed = succeed(&["--list", path, "--arch", "sm_80"], Path::new("off"));
    assert!(listed.contains("  sm_80 ") && !listed.contains("  sm_90 "), "{listed}");
    compile(&["sm_90", "--literals", "captured"]);
    assert!(kernels() > few);
    let rows = |counts| {
        let arguments = ["--kernels", "rows", "--arch", "sm_90", "--multiprocessors", counts];
        succeed(&[&engine[..], &arguments].concat(), Path::new("off"));
        kernels()
    };
    assert!(rows("132,1") > rows("132"));
    // Where there is no compiler, that is said, and the bundle stays what it is.
    let before = fs::read(&file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tilewright"));
    command.arg("bundle").args(engine).args(padding).arg("sm_90");
    let output = command
        .env("TILEWRIGHT_CACHE", "off")
        .env("TILEWRIGHT_NVRTC", "/no/such/file")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("/no/such/file"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), before);
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
            &["--from", "--out", path],
            "holds no such kernels: run a program that launches them",
        ),
        (
            &["--out", path, "--arch", "hopper"],
            "`hopper` names no GPU architecture",
        ),
        (&["--out", path, "--list", path], "cannot be used with"),
        (&["--arch", "sm_90"], "required arguments were not provided"),
        (&["--out", path], "required arguments were not provided"),
        (&["--out", path, "--arch", "sm_90"], "--hidden <SIZES>"),
        (&["--out", path, "--hidden", "64"], "--arch <ARCHITECTURE>"),
        (
            &["--out", path, "--arch", "sm_87", "--hidden", "64"],
            "how many multiprocessors a GPU of sm_87 has is not known: say it with --multiprocessors",
        ),
        (
            &["--out", path, "--arch", "sm_90", "--hidden", "0"],
            "0 elements of a hidden state: there are 1 to 1048576",
        ),
        (
            &["--out", path, "--arch", "sm_90", "--hidden", "64", "--rows", "99999999"],
            "99999999 rows of a rank: there are 1 to 131072",
        ),
        (
            &[
                "--out",
                path,
                "--arch",
                "sm_90",
                "--hidden",
                "64",
                "--rows",
                "9000",
                "--literals",
                "all",
            ],
            "the policy allows 9000 counts as literals, and 1024 are compiled at most",
        ),
        (
            &["--out", path, "--arch", "sm_90", "--hidden", "64", "--literals", "8,x"],
            "`x` is no count: write none, all, captured, up-to=64",
        ),
        (
            &["--out", path, "--arch", "sm_90", "--hidden", "64", "--element", "i64"],
            "[possible values: bf16, f16, f32]",
        ),
        (
            &["--out", path, "--arch", "sm_90", "--hidden", "64", "--kernels", "moves"],
            "[possible values: movement, padding, rows, experts]",
        ),
        (&["--list", path, "--hidden", "64"], "cannot be used with"),
        (&["--out", path, "--from", path, "--rows", "64"], "cannot be used with"),
        (&[], "required arguments were not provided"),
    ] {
        let error = fail(arguments, &cache);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    let error = fail(&["--from", "--out", path], Path::new("off"));
    assert!(error.contains("TILEWRIGHT_CACHE turns it off"), "{error}");
    DiskCache::at(&cache).put(&stored("one", 9, 100));
    let error = fail(&["--from", "--out", "/dev/full"], &cache);
    assert!(
        error.contains("cannot write the bundle /dev/full: it is there and no plain file"),
        "{error}"
    );
}
