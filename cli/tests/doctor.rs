//! `tilewright doctor` among files that are no libraries, or not all of one, and programs that do not answer.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tilewright::runtime::cache::{CubinKey, DiskCache, StoredCubin};
use tilewright::runtime::compile::{Architecture, CompileOptions, Cubin, Nvrtc};
use tilewright_testing::Part;

/// Longer than anything takes on a machine that does other things too.
const AMPLE: Duration = Duration::from_secs(120);

/// A doctor that finds nothing but what it is told of.
struct Doctor {
    folder: tempfile::TempDir,
    command: Command,
}

impl Doctor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tilewright"));
        command.arg("doctor").env_clear().current_dir(folder.path());
        Self { folder, command }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it says. It ends well whatever it finds, and soon.
    fn report(&mut self) -> String {
        let begin = Instant::now();
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if begin.elapsed() < AMPLE => thread::sleep(Duration::from_millis(5)),
                None => {
                    child.kill().unwrap();
                    panic!("it does not end");
                }
            }
        };
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(status.success(), "{status}\n{text}");
        text
    }
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in\n{text}");
    }
}

/// NVRTC and its builtins, where there is one.
fn nvrtc() -> Option<[PathBuf; 2]> {
    let nvrtc = Part::Nvrtc.or_skip(Nvrtc::load())?;
    let (major, minor) = nvrtc.version();
    let builtins = nvrtc
        .path()
        .with_file_name(format!("libnvrtc-builtins.so.{major}.{minor}"));
    Some([nvrtc.path().to_owned(), builtins])
}

/// The first bytes of a file.
fn cut(from: &Path, length: u64, to: &Path) {
    let mut start = File::open(from).unwrap().take(length);
    std::io::copy(&mut start, &mut File::create(to).unwrap()).unwrap();
}

fn name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

/// A folder of the doctor's with copies of files.
fn copies(doctor: &Doctor, folder: &str, files: &[&Path]) -> PathBuf {
    let folder = doctor.at(folder);
    fs::create_dir_all(&folder).unwrap();
    for file in files {
        fs::copy(file, folder.join(name(file))).unwrap();
    }
    folder
}

#[test]
fn what_is_no_plain_file_is_refused_by_name() {
    let mut doctor = Doctor::new();
    let mkfifo = Command::new("mkfifo").arg(doctor.at("pipe")).status().unwrap();
    assert!(mkfifo.success());
    let _socket = UnixListener::bind(doctor.at("socket")).unwrap();
    symlink("loop", doctor.at("loop")).unwrap();
    symlink("nowhere", doctor.at("dangling")).unwrap();
    symlink("pipe", doctor.at("linked")).unwrap();
    fs::write(doctor.at("empty"), "").unwrap();
    fs::write(doctor.at("text"), "no library").unwrap();
    fs::create_dir(doctor.at("folder")).unwrap();
    symlink("../pipe", doctor.at("folder/libnvrtc.so.13")).unwrap();
    fs::create_dir(doctor.at("nothing here")).unwrap();
    for (file, reason) in [
        ("pipe", "it is a pipe and no plain file"),
        ("linked", "it is a pipe and no plain file"),
        ("folder", "folder/libnvrtc.so.13: it is a pipe and no plain file"),
        ("socket", "it is a socket and no plain file"),
        ("/dev/zero", "it is a device and no plain file"),
        ("loop", "it cannot be read"),
        ("dangling", "no such file or folder"),
        ("./nothing", "no such file or folder"),
        ("empty", "it is empty"),
        ("text", "it does not begin like a 64-bit little-endian ELF file"),
        ("nothing here", "no libnvrtc.so in it"),
        ("text/libnvrtc.so", "it cannot be read"),
        ("/proc/self/maps", "it is empty"),
        ("libnvrtc.so.77", "libnvrtc.so.77: not in its folders"),
    ] {
        doctor
            .command
            .env("TILEWRIGHT_NVRTC", file)
            .env("TILEWRIGHT_NCCL", file);
        let text = doctor.report();
        let named = format!("TILEWRIGHT_NVRTC is set to `{file}`, which gives no NVRTC.");
        says(&text, &["Kernels run on the CPU device only.", &named, reason]);
        if cfg!(feature = "nccl") {
            says(&text, &[&named.replace("NVRTC", "NCCL")]);
        }
    }
}

#[test]
fn a_library_of_any_length_but_its_own_is_told_to_be_cut_off() {
    let Some(files) = nvrtc() else { return };
    let mut doctor = Doctor::new();
    let folder = copies(&doctor, "both", &[&files[0], &files[1]]);
    doctor
        .command
        .env("TILEWRIGHT_NVRTC", &folder)
        .env("TILEWRIGHT_NCCL", folder.join(name(&files[0])));
    says(
        &doctor.report(),
        &["Kernels compile for GPUs", &folder.display().to_string()],
    );
    for file in &files {
        let (copy, length) = (folder.join(name(file)), fs::metadata(file).unwrap().len());
        let part = length / 7;
        let mut lengths: Vec<u64> = (1..7).map(|parts| parts * part + parts).collect();
        lengths.extend([length - 1, length - 4096, 5_000_000, 4096, 1000, 64, 63, 16, 4, 1, 0]);
        lengths.retain(|shorter| *shorter < length);
        lengths.sort_unstable();
        for shorter in lengths.into_iter().rev() {
            File::options()
                .write(true)
                .open(&copy)
                .unwrap()
                .set_len(shorter)
                .unwrap();
            let reason = match shorter {
                0 => "it is empty".to_owned(),
                _ => format!("it was cut off: it has {shorter} bytes, and "),
            };
            says(
                &doctor.report(),
                &[
                    "Kernels run on the CPU device only.",
                    &copy.display().to_string(),
                    &reason,
                ],
            );
        }
        // As long as it should be, and with nothing at the end.
        cut(file, length / 2, &copy);
        File::options()
            .write(true)
            .open(&copy)
            .unwrap()
            .set_len(length)
            .unwrap();
        says(&doctor.report(), &["it is damaged: its sections have no names"]);
        fs::copy(file, &copy).unwrap();
    }
}

#[test]
fn what_is_named_is_loaded_and_no_other() {
    let Some([nvrtc, builtins]) = nvrtc() else { return };
    let mut doctor = Doctor::new();
    let good = copies(&doctor, "good", &[&nvrtc, &builtins]);
    doctor.command.env("LD_LIBRARY_PATH", &good);
    let file = good.join(name(&nvrtc)).display().to_string();
    // By its name, from the loader's path.
    doctor.command.env("TILEWRIGHT_NVRTC", name(&nvrtc));
    says(&doctor.report(), &[&file, "Kernels compile for GPUs"]);
    // Another version is not it.
    doctor.command.env("TILEWRIGHT_NVRTC", "libnvrtc.so.11.2");
    says(
        &doctor.report(),
        &[
            "libnvrtc.so.11.2: not in its folders",
            "Kernels run on the CPU device only.",
        ],
    );
    // The current folder has a file of that name, which is the one that is named.
    let here = doctor.at(name(&nvrtc));
    cut(&nvrtc, 5_000_000, &here);
    doctor.command.env("TILEWRIGHT_NVRTC", name(&nvrtc));
    let text = doctor.report();
    says(
        &text,
        &[
            &here.display().to_string(),
            "it was cut off",
            "Kernels run on the CPU device only.",
        ],
    );
    assert!(!text.contains(&file), "{text}");
    // A folder, from within it.
    doctor
        .command
        .env("TILEWRIGHT_NVRTC", "good")
        .env_remove("LD_LIBRARY_PATH");
    says(&doctor.report(), &[&file, "Kernels compile for GPUs"]);
    // A library that is another, by the name of a function that it lacks.
    fs::copy(&builtins, &here).unwrap();
    doctor
        .command
        .env("TILEWRIGHT_NVRTC", &here)
        .env("TILEWRIGHT_NCCL", &here);
    let text = doctor.report();
    says(
        &text,
        &[&format!("{}: it has no function nvrtcVersion", here.display())],
    );
    if cfg!(feature = "nccl") {
        says(
            &text,
            &[&format!("{}: it has no function ncclGetVersion", here.display())],
        );
    }
    // Nothing is the same as no name.
    doctor.command.env("TILEWRIGHT_NVRTC", "").env("LD_LIBRARY_PATH", &good);
    says(&doctor.report(), &[&file, "Kernels compile for GPUs"]);
}

#[test]
fn what_is_not_whole_is_passed_over_for_what_is() {
    let Some([nvrtc, builtins]) = nvrtc() else { return };
    let mut doctor = Doctor::new();
    let good = copies(&doctor, "good/lib64", &[&nvrtc, &builtins]);
    let lone = copies(&doctor, "lone", &[&nvrtc]);
    let file = good.join(name(&nvrtc)).display().to_string();
    let over = format!(
        "passed over, the loader's path: {}: it lacks its {}: ",
        lone.join(name(&nvrtc)).display(),
        name(&builtins)
    );
    let home = doctor.at("good");
    doctor.command.env("LD_LIBRARY_PATH", &lone).env("CUDA_HOME", home);
    let nowhere = format!("{over}neither beside it nor on the loader's path");
    says(&doctor.report(), &[&file, &nowhere, "Kernels compile for GPUs"]);
    // Builtins of another version are nobody's business.
    let junk = [
        "libnvrtc-builtins.so.12.0",
        "libnvrtc-builtins.so",
        "libnvrtc-builtins.so.99.9",
    ];
    junk.iter().for_each(|junk| fs::write(good.join(junk), "junk").unwrap());
    says(&doctor.report(), &[&file, &nowhere, "Kernels compile for GPUs"]);
    // Builtins that are cut off, or those of another version under this name, do not count.
    let beside = lone.join(name(&builtins));
    cut(&builtins, 1_000_000, &beside);
    let reason = format!("{over}{}: it was cut off", beside.display());
    says(&doctor.report(), &[&file, &reason, "Kernels compile for GPUs"]);
    fs::remove_file(&beside).unwrap();
    fs::copy(&nvrtc, &beside).unwrap();
    let reason = format!("{over}{}: it is a library named ", beside.display());
    says(&doctor.report(), &[&file, &reason, "Kernels compile for GPUs"]);
    // One that is named is not passed over.
    doctor.command.env("TILEWRIGHT_NVRTC", &lone);
    says(
        &doctor.report(),
        &["it lacks its libnvrtc-builtins", "Kernels run on the CPU device only."],
    );
}

#[test]
fn a_driver_that_would_end_the_process_is_named() {
    let Some([nvrtc, _]) = nvrtc() else { return };
    let mut doctor = Doctor::new();
    let path = copies(&doctor, "driver", &[]);
    doctor.command.env("LD_LIBRARY_PATH", &path);
    for file in ["libcuda.so.1", "libcuda.so"] {
        cut(&nvrtc, 5_000_000, &path.join(file));
        let damaged = format!(
            "the CUDA driver library would be {}, which cannot be loaded: it was cut off",
            path.join(file).display()
        );
        says(&doctor.report(), &[&damaged]);
        fs::remove_file(path.join(file)).unwrap();
        assert!(Command::new("mkfifo").arg(path.join(file)).status().unwrap().success());
        says(&doctor.report(), &["it is a pipe and no plain file"]);
        fs::remove_file(path.join(file)).unwrap();
    }
    // What the loader refuses by itself is no driver, and no danger.
    fs::write(path.join("libcuda.so.1"), "no library").unwrap();
    let text = doctor.report();
    assert!(!text.contains("which cannot be loaded"), "{text}");
}

#[test]
fn a_python_that_does_not_answer_is_not_waited_for() {
    for script in [
        "while :; do echo x >> beat; sleep 0.1; done",
        "(while :; do echo x >> beat; sleep 0.1; done) & wait",
        "while :; do echo /no/such/folder; done",
        "exit 1",
        "echo",
        "printf '\\377\\376'",
    ] {
        let mut doctor = Doctor::new();
        let bin = copies(&doctor, "bin", &[]);
        fs::write(
            bin.join("python3"),
            format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n"),
        )
        .unwrap();
        fs::set_permissions(bin.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
        doctor
            .command
            .env("PATH", &bin)
            .env("TILEWRIGHT_NVRTC", "libnvrtc.so.77");
        let begin = Instant::now();
        says(&doctor.report(), &["Kernels run on the CPU device only."]);
        assert!(begin.elapsed() < AMPLE / 2, "{script}");
        // It is gone, and so is what it has started.
        let beats = || fs::metadata(doctor.at("beat")).map_or(0, |beat| beat.len());
        thread::sleep(Duration::from_millis(500));
        let before = beats();
        thread::sleep(Duration::from_millis(500));
        assert_eq!(beats(), before, "{script}");
    }
}

#[test]
fn the_disk_cache_is_shown_with_what_is_wrong_with_it() {
    let mut doctor = Doctor::new();
    let folder = doctor.at("cache");
    doctor.command.env("TILEWRIGHT_CACHE", &folder);
    let at = format!("cache     {}: ", folder.display());
    says(&doctor.report(), &[&format!("{at}0 kernels, 0.0 of at most 256.0 MiB")]);
    assert!(!folder.exists(), "looking at it makes nothing");

    let architecture = Architecture::new(9, 0);
    for name in ["one", "two", "three"] {
        DiskCache::at(&folder).put(&StoredCubin {
            key: CubinKey::of("source", name, &CompileOptions::new(architecture)),
            compiler: "nvrtc 1".to_owned(),
            name: name.to_owned(),
            cubin: Cubin {
                bytes: vec![0; 1 << 20].into(),
                architecture,
                log: String::new(),
            },
        });
    }
    let text = doctor.report();
    says(&text, &[&format!("{at}3 kernels, 3.0 of at most 256.0 MiB\n")]);
    assert!(!text.contains("damaged") && !text.contains("stored"), "{text}");

    let below = folder.join("cubins-1");
    let files = || fs::read_dir(&below).unwrap().map(|entry| entry.unwrap().path());
    let is_cubin = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cubin");
    let damaged = files().find(is_cubin).unwrap();
    fs::write(&damaged, "damaged").unwrap();
    let before = files().count();
    says(
        &doctor.report(),
        &[
            &format!("{at}2 kernels, 2.0 of at most 256.0 MiB\n"),
            "\n          1 of its files damaged, and compiled again\n",
        ],
    );
    assert!(damaged.exists() && files().count() == before, "nothing is changed");

    doctor.command.env("TILEWRIGHT_CACHE", "off");
    says(
        &doctor.report(),
        &["cache     off: every process compiles its kernels\n"],
    );
    doctor.command.env("TILEWRIGHT_CACHE", "/proc/none/such");
    says(&doctor.report(), &["cache     /proc/none/such: 0 kernels"]);
}

/// The kernel does not let the owner of everything fail, so another user looks.
#[test]
fn a_disk_cache_that_cannot_be_written_is_told() {
    const USER: u32 = 54_321;
    let mut doctor = Doctor::new();
    let folder = doctor.at("cache");
    fs::create_dir_all(folder.join("cubins-1")).unwrap();
    for path in [doctor.at(""), folder.clone(), folder.join("cubins-1")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = doctor.at("tilewright");
    fs::copy(env!("CARGO_BIN_EXE_tilewright"), &program).unwrap();
    let mut command = Command::new(program);
    command
        .arg("doctor")
        .env_clear()
        .env("TILEWRIGHT_CACHE", &folder)
        .current_dir("/")
        .uid(USER)
        .gid(USER);
    doctor.command = command;
    if let Some(error) = doctor.command.output().err() {
        return tilewright_testing::skip(format_args!("the program cannot be run as another user ({error})"));
    }
    says(
        &doctor.report(),
        &[
            "cache     ",
            "\n          nothing can be stored in it: Permission denied",
        ],
    );
}
