//! What processes do to one folder of the disk cache: many at once, some ended at any moment, some without the means.
//!
//! The test program starts itself again as those processes. `TILEWRIGHT_CACHE_ROUNDS` says how many rounds of killing there
//! are (2 by default) and `TILEWRIGHT_CACHE_PROCESSES` of how many processes each (8 by default):
//!
//! ```text
//! TILEWRIGHT_CACHE_ROUNDS=20 TILEWRIGHT_CACHE_PROCESSES=32 cargo test -p tilewright-runtime --test disk_cache -- --nocapture
//! ```

// A process that forks has to say so.
#![allow(unsafe_code)]

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tilewright_runtime::cache::{Bundle, BundleBuilder, CubinCache, CubinKey, DiskCache, Origin, StoredCubin};
use tilewright_runtime::compile::{Architecture, CompileOptions, Cubin, Nvrtc};
use tilewright_testing::{Part, process_of, skip};

/// How many cubins the processes ask for. A fifth of them has no room.
const CUBINS: u64 = 100;
const BOUND: u64 = 1 << 20;
const COMPILER: &str = "nvrtc of the tests";
const ARCHITECTURE: Architecture = Architecture::new(9, 0);

fn variable(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")),
        Err(_) => default,
    }
}

/// The cubin of a number: every process knows all of its bytes.
fn cubin(number: u64) -> StoredCubin {
    let mut rng = fastrand::Rng::with_seed(number);
    let length = rng.usize(1 << 10..24 << 10);
    StoredCubin {
        key: CubinKey::of(&number.to_string(), "some", &CompileOptions::new(ARCHITECTURE)),
        compiler: COMPILER.to_owned(),
        name: number.to_string(),
        cubin: Cubin {
            bytes: (0..length).map(|_| rng.u8(..)).collect(),
            architecture: ARCHITECTURE,
            log: String::new(),
        },
    }
}

/// This program, to run one of its ignored tests on a folder.
fn child(test: &str, folder: &Path) -> Command {
    let mut child = process_of(test);
    child
        .env("TILEWRIGHT_CACHE", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    child
}

/// What a process that ended well has printed.
#[track_caller]
fn text(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{:?}\n{text}",
        output.status
    );
    text
}

/// The number behind a word that a process has printed.
#[track_caller]
fn number(text: &str, word: &str) -> u64 {
    let behind = text
        .split_once(&format!("{word}: "))
        .unwrap_or_else(|| panic!("no {word} in\n{text}"))
        .1;
    let digits = behind.split(|digit: char| !digit.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).expect("a number")
}

/// The folder or file that this process was given.
fn given() -> PathBuf {
    env::var_os("TILEWRIGHT_CACHE").expect("a path").into()
}

/// A folder's files whose names end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("cubins-1")).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(end));
    files
}

/// The bytes of all cubins at a moment when nobody publishes one.
fn bytes(folder: &Path) -> u64 {
    let Ok(ledger) = File::open(folder.join("cubins-1/ledger")) else {
        return 0;
    };
    ledger.lock().expect("a turn");
    let cubins = files(folder, ".cubin");
    cubins
        .iter()
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum()
}

/// How long a process stores and loads.
const RUN: Duration = Duration::from_millis(600);

#[test]
fn processes_that_are_killed_at_any_moment_leave_whole_files_and_a_folder_within_its_bytes() {
    let rounds = variable("TILEWRIGHT_CACHE_ROUNDS", 2);
    let processes = variable("TILEWRIGHT_CACHE_PROCESSES", 8);
    let (mut killed, mut ended, mut read, mut left, mut largest) = (0, 0, 0, 0, 0);
    let (mut hits, mut stores, mut evictions, mut failures) = (0, 0, 0, 0);
    for round in 0..rounds {
        let mut rng = fastrand::Rng::with_seed(round);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let begin = Instant::now();
        let start = |process: u64| -> (Child, Option<Duration>) {
            let mut command = child("a_process_that_stores_and_loads", folder.path());
            command.env("TILEWRIGHT_CACHE_SEED", (round * processes + process).to_string());
            let end = rng.bool().then(|| RUN.mul_f64(rng.f64()));
            (
                command.spawn().expect("a process"),
                end.map(|end| begin.elapsed() + end),
            )
        };
        let mut running: Vec<_> = (0..processes).map(start).collect();
        while !running.is_empty() {
            let (now, before) = (begin.elapsed(), running.len());
            for (mut child, end) in std::mem::take(&mut running) {
                if end.is_some_and(|end| end <= now) {
                    child.kill().expect("killed");
                } else if child.try_wait().expect("a process").is_none() {
                    running.push((child, end));
                    continue;
                }
                let output = child.wait_with_output().expect("its output");
                if output.status.signal() == Some(9) {
                    killed += 1;
                    continue;
                }
                let text = text(output);
                assert_eq!(number(&text, "damaged"), 0, "{text}");
                hits += number(&text, "hits");
                stores += number(&text, "stores");
                evictions += number(&text, "evictions");
                failures += number(&text, "failures");
                ended += 1;
            }
            let bytes = bytes(folder.path());
            assert!(bytes <= BOUND, "{bytes} bytes in round {round}");
            largest = largest.max(bytes);
            read += check(folder.path());
            if before == running.len() {
                thread::sleep(Duration::from_millis(2));
            }
        }
        left += files(folder.path(), ".tmp").len();
        let last = cubin(CUBINS + round);
        let cache = DiskCache::at(folder.path()).bytes(BOUND);
        cache.put(&last);
        assert!(cache.get(&last.key, COMPILER) == Some(last));
        assert!(files(folder.path(), ".tmp").is_empty(), "what they left is removed");
        assert!(bytes(folder.path()) <= BOUND && check(folder.path()) > 0);
    }
    println!(
        "{rounds} rounds of {processes} processes: {killed} killed, {ended} ended by themselves after {hits} hits, \
         {stores} stores, {evictions} evictions, 0 damaged files and {failures} failures; {read} whole files seen \
         meanwhile, never over {largest} of {BOUND} bytes; {left} temporary files left behind and removed"
    );
}

/// Every file under a cubin's name holds that cubin, whenever it is read. Returns how many there are.
fn check(folder: &Path) -> u64 {
    let cache = DiskCache::at(folder).read_only();
    let found = cache.cubins();
    for stored in &found {
        assert!(*stored == cubin(stored.name.parse().expect("a number")));
    }
    let counters = cache.counters();
    assert_eq!((counters.damaged, counters.failures), (0, 0), "{counters:?}");
    found.len() as u64
}

#[test]
#[ignore = "run by other tests, in processes of its own"]
fn a_process_that_stores_and_loads() {
    let mut rng = fastrand::Rng::with_seed(variable("TILEWRIGHT_CACHE_SEED", 0));
    let cache = DiskCache::at(given()).bytes(BOUND);
    let begin = Instant::now();
    while begin.elapsed() < RUN {
        let wanted = cubin(rng.u64(..CUBINS));
        match cache.get(&wanted.key, COMPILER) {
            Some(found) => assert!(found == wanted),
            None => cache.put(&wanted),
        }
    }
    println!("{:?}", cache.counters());
}

#[test]
fn a_process_that_is_killed_while_it_stores_leaves_a_temporary_file_which_the_next_one_removes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut left = 0;
    while left == 0 {
        let mut storing = child("a_process_that_stores_large_ones", folder.path())
            .spawn()
            .expect("a process");
        while files(folder.path(), ".tmp").is_empty() {
            assert!(storing.try_wait().expect("a process").is_none(), "it goes on for ever");
        }
        storing.kill().expect("killed");
        storing.wait().expect("it has ended");
        // It may just have been published.
        left = files(folder.path(), ".tmp").len();
    }
    let cache = DiskCache::at(folder.path());
    // None that it may have published, with other bytes.
    let next = cubin(u64::MAX);
    cache.put(&next);
    assert!(cache.get(&next.key, COMPILER) == Some(next));
    assert!(files(folder.path(), ".tmp").is_empty());
    assert_eq!(cache.counters().failures, 0);
}

#[test]
#[ignore = "run by `a_process_that_is_killed_while_it_stores_leaves_a_temporary_file_which_the_next_one_removes`, to be killed"]
fn a_process_that_stores_large_ones() {
    let cache = DiskCache::at(given());
    for number in 0.. {
        let mut large = cubin(number);
        large.cubin.bytes = vec![7; 32 << 20].into();
        cache.put(&large);
    }
}

#[test]
fn a_cubin_that_many_processes_make_at_once_is_published_once() {
    const PROCESSES: usize = 8;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = |_| {
        child("a_process_that_stores_ten", folder.path())
            .spawn()
            .expect("a process")
    };
    let children: Vec<_> = (0..PROCESSES).map(start).collect();
    let texts = children
        .into_iter()
        .map(|child| text(child.wait_with_output().expect("its output")));
    let stores: u64 = texts.map(|text| number(&text, "stores")).sum();
    assert_eq!(
        (stores, files(folder.path(), "").len()),
        (10, 11),
        "ten cubins and the ledger"
    );
}

#[test]
#[ignore = "run by `a_cubin_that_many_processes_make_at_once_is_published_once`, in processes of its own"]
fn a_process_that_stores_ten() {
    let cache = DiskCache::at(given());
    (0..10).for_each(|number| cache.put(&cubin(number)));
    assert_eq!(cache.cubins().len(), 10);
    println!("{:?}", cache.counters());
}

const SOURCES: [(&str, &str); 3] = [
    (
        "one",
        "extern \"C\" __global__ void one(int* out) { out[threadIdx.x] = 1; }",
    ),
    (
        "two",
        "extern \"C\" __global__ void two(int* out) { out[threadIdx.x] = 2; }",
    ),
    (
        "three",
        "extern \"C\" __global__ void three(int* out) { out[threadIdx.x] = 3; }",
    ),
];

#[test]
fn processes_compile_the_same_and_the_next_ones_compile_nothing_and_load_no_nvrtc() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = |_| {
        child("a_process_that_compiles", folder.path())
            .spawn()
            .expect("a process")
    };
    let children: Vec<_> = (0..4).map(start).collect();
    let texts = children
        .into_iter()
        .map(|child| text(child.wait_with_output().expect("its output")));
    let cold: Vec<_> = texts.collect();
    // They end as soon as they have what they want, and what they store is there all the same.
    assert_eq!(files(folder.path(), "").len(), 4, "three cubins and the ledger");
    let warm = text(
        child("a_process_that_compiles", folder.path())
            .output()
            .expect("a process"),
    );
    assert_eq!((number(&warm, "compiled"), number(&warm, "hits")), (0, 3), "{warm}");
    assert!(warm.contains("NVRTC in this process: false"), "{warm}");
    for cold in &cold {
        assert_eq!(number(cold, "sum"), number(&warm, "sum"), "they have the same code");
    }
    println!(
        "{}",
        warm.lines().find(|line| line.contains("found 3")).unwrap_or_default()
    );
    // Where no compiler is installed any more, the cache still serves.
    let mut bare = child("a_process_that_compiles", folder.path());
    let bare = text(
        bare.env("TILEWRIGHT_NVRTC", "/no/such/file")
            .output()
            .expect("a process"),
    );
    assert_eq!(
        (number(&bare, "compiled"), number(&bare, "sum")),
        (0, number(&warm, "sum")),
        "{bare}"
    );
    // A bundle needs none at all, not even a look at one.
    let bundle = folder.path().join("kernels.bundle");
    let builder = BundleBuilder::new();
    DiskCache::at(folder.path())
        .cubins()
        .into_iter()
        .for_each(|stored| builder.add(stored));
    builder.write(&bundle).expect("written");
    let mut child = child("a_process_with_a_bundle", &bundle);
    let without = text(
        child
            .env("TILEWRIGHT_NVRTC", "/no/such/file")
            .output()
            .expect("a process"),
    );
    assert_eq!(number(&without, "sum"), number(&warm, "sum"));
}

/// Of all bytes of the code, in their order.
fn sum(cache: &CubinCache, origins: &[Origin]) -> u64 {
    let options = CompileOptions::new(ARCHITECTURE);
    let cubins = SOURCES.iter().map(|(name, source)| {
        let (cubin, origin) = cache.cubin(source, name, &options).expect("a cubin");
        assert!(origins.contains(&origin), "{origin:?}");
        let bytes = cubin.bytes.iter().zip(1..);
        bytes.map(|(byte, at)| u64::from(*byte) * at).sum::<u64>()
    });
    cubins.sum()
}

#[test]
#[ignore = "run by `processes_compile_the_same_and_the_next_ones_compile_nothing_and_load_no_nvrtc`, in processes of its own"]
fn a_process_that_compiles() {
    let begin = Instant::now();
    let cache = CubinCache::current();
    let sum = sum(&cache, &[Origin::Disk, Origin::Nvrtc]);
    let elapsed = begin.elapsed();
    let maps = fs::read_to_string("/proc/self/maps").expect("what is in this process");
    println!("sum: {sum}, NVRTC in this process: {}", maps.contains("libnvrtc"));
    println!("compiled: {}, {:?}", cache.counters().compiled, cache.counters().disk);
    println!("found 3 cubins in {elapsed:?}, the look for a compiler included");
}

#[test]
#[ignore = "run by `processes_compile_the_same_and_the_next_ones_compile_nothing_and_load_no_nvrtc`, in a process of its own"]
fn a_process_with_a_bundle() {
    let bundle = Bundle::open(given()).expect("a bundle");
    let cache = CubinCache::new().with_bundle(bundle).install();
    println!("sum: {}", sum(&cache, &[Origin::Bundle]));
    let error = CubinCache::current().cubin("", "other", &CompileOptions::new(ARCHITECTURE));
    let error = error.expect_err("there is no compiler").to_string();
    assert!(error.contains("/no/such/file"), "{error}");
}

#[test]
fn the_environment_moves_the_cache_and_turns_it_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let told = |variables: &[(&str, Option<&str>)]| {
        let mut command = child("a_process_that_tells_its_folder", folder.path());
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        text(command.output().expect("a process"))
    };
    let path = |below: &str| folder.path().join(below).to_string_lossy().into_owned();
    let (cache, users, home) = (path("cache"), path("cache/tilewright"), path(".cache/tilewright"));
    assert!(told(&[]).contains(&format!("cache at {}\n", folder.path().display())));
    for off in ["off", "0"] {
        assert!(
            told(&[("TILEWRIGHT_CACHE", Some(off))]).contains("no disk cache\n"),
            "{off}"
        );
    }
    for unset in [None, Some("")] {
        let told = told(&[("TILEWRIGHT_CACHE", unset), ("XDG_CACHE_HOME", Some(&cache))]);
        assert!(told.contains(&format!("cache at {users}\n")), "{told}");
    }
    for relative in [None, Some("a/relative/path")] {
        let told = told(&[
            ("TILEWRIGHT_CACHE", None),
            ("XDG_CACHE_HOME", relative),
            ("HOME", folder.path().to_str()),
        ]);
        assert!(told.contains(&format!("cache at {home}\n")), "{told}");
    }
    assert_eq!(
        fs::read_dir(folder.path()).expect("a folder").count(),
        0,
        "nothing is made before it is needed"
    );
}

#[test]
#[ignore = "run by `the_environment_moves_the_cache_and_turns_it_off`, in processes of its own"]
fn a_process_that_tells_its_folder() {
    match CubinCache::current().disk() {
        Some(disk) => println!("cache at {}", disk.folder().expect("a folder").display()),
        None => println!("no disk cache"),
    }
}

/// It finds nothing and stores nothing, and no harm is done.
#[test]
#[ignore = "run by other tests, in processes of its own"]
fn a_process_that_cannot_store() {
    let cache = match env::var_os("TILEWRIGHT_CACHE") {
        Some(folder) => DiskCache::at(folder),
        None => DiskCache::of_user(),
    };
    for stored in (0..4).map(cubin) {
        assert!(cache.get(&stored.key, COMPILER).is_none());
        cache.put(&stored);
        assert!(cache.get(&stored.key, COMPILER).is_none());
    }
    println!("{:?}", cache.counters());
}

#[test]
fn a_full_disk_is_a_miss_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let limited = child("a_process_that_cannot_store", folder.path());
    let mut shell = Command::new("sh");
    // Writing ends in the middle of the file.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]);
    shell.arg(limited.get_program()).args(limited.get_args());
    let told = text(
        shell
            .env("TILEWRIGHT_CACHE", folder.path())
            .output()
            .expect("a process"),
    );
    let found = ["failures", "stores", "misses"].map(|word| number(&told, word));
    assert_eq!(found, [4, 0, 8], "{told}");
    assert!(files(folder.path(), "").is_empty());
}

/// The same cubins in each round, so that every bundle has as many bytes.
fn bundle_of(round: u64) -> BundleBuilder {
    let builder = BundleBuilder::new();
    for number in 0..20 {
        let mut stored = cubin(number);
        stored.compiler = format!("nvrtc {}", round % 10);
        builder.add(stored);
    }
    builder
}

#[test]
#[ignore = "run by other tests, in processes of its own"]
fn a_process_that_writes_bundles() {
    for round in 0.. {
        match bundle_of(round).write(given()) {
            Ok(()) if round == 0 => println!("written"),
            Ok(()) => {}
            Err(error) => {
                println!("{error}");
                return;
            }
        }
    }
}

#[test]
fn a_bundle_for_which_there_is_no_room_leaves_the_one_before_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("kernels.bundle");
    bundle_of(3).write(&file).expect("written");
    let before = fs::read(&file).expect("a file");
    let limited = child("a_process_that_writes_bundles", &file);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]);
    shell.arg(limited.get_program()).args(limited.get_args());
    let told = text(shell.env("TILEWRIGHT_CACHE", &file).output().expect("a process"));
    let expected = format!("cannot write the bundle {}: ", file.display());
    assert!(told.contains(&expected) && !told.contains("written"), "{told}");
    assert_eq!(fs::read(&file).expect("a file"), before);
    assert_eq!(
        fs::read_dir(folder.path()).expect("a folder").count(),
        1,
        "nothing else is left"
    );
}

#[test]
fn a_bundle_that_is_written_again_is_whole_whenever_it_is_read_also_after_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("kernels.bundle");
    bundle_of(0).write(&file).expect("written");
    let mut rng = fastrand::Rng::with_seed(6);
    let mut read = 0;
    for _ in 0..8 {
        let mut writing = child("a_process_that_writes_bundles", &file)
            .spawn()
            .expect("a process");
        let (begin, until) = (Instant::now(), Duration::from_millis(rng.u64(50..300)));
        while begin.elapsed() < until {
            let bundle = Bundle::open(&file).expect("a bundle");
            assert_eq!(bundle.cubins().expect("whole").len(), 20);
            read += 1;
        }
        writing.kill().expect("killed");
        writing.wait().expect("it has ended");
        assert_eq!(
            Bundle::open(&file)
                .and_then(|bundle| bundle.cubins())
                .expect("whole")
                .len(),
            20
        );
    }
    println!("read {read} times");
}

#[test]
fn a_folder_without_permission_and_a_user_without_a_home_are_misses() {
    /// Nobody's.
    const USER: u32 = 54_321;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("closed");
    DiskCache::at(&path).put(&cubin(0));
    fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("its own");
    let run = |command: &mut Command| command.uid(USER).gid(USER).current_dir("/").output();
    let expected = |output: Output| {
        let told = text(output);
        let found = ["failures", "stores", "misses"].map(|word| number(&told, word));
        assert_eq!(found, [12, 0, 8], "{told}");
    };
    match run(&mut child("a_process_that_cannot_store", &path)) {
        Ok(output) => expected(output),
        Err(error) => return skip(format_args!("the program cannot be run as another user ({error})")),
    }
    let mut homeless = child("a_process_that_cannot_store", &path);
    for variable in ["TILEWRIGHT_CACHE", "HOME", "XDG_CACHE_HOME"] {
        homeless.env_remove(variable);
    }
    expected(run(&mut homeless).expect("a process"));
}

#[test]
fn a_cache_works_on_in_a_process_that_forks_and_in_its_child() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let told = text(
        child("a_process_that_forks", folder.path())
            .output()
            .expect("a process"),
    );
    assert_eq!(
        ["damaged", "failures"].map(|word| number(&told, word)),
        [0, 0],
        "{told}"
    );
    assert_eq!(check(folder.path()), CUBINS);
}

#[test]
#[ignore = "run by `a_cache_works_on_in_a_process_that_forks_and_in_its_child`, in a process of its own"]
fn a_process_that_forks() {
    let cache = DiskCache::at(given());
    let use_all = |cache: &DiskCache| {
        (0..CUBINS).all(|number| {
            let wanted = cubin(number);
            cache.put(&wanted);
            cache.get(&wanted.key, COMPILER) == Some(wanted)
        })
    };
    // Forks fall into the midst of what another thread stores.
    thread::scope(|scope| {
        let storing = scope.spawn(|| use_all(&cache));
        for _ in 0..8 {
            // SAFETY: the child uses the cache, which holds no lock of its own, and the allocator, which glibc makes usable
            // in it; and it ends without running anything that belongs to its parent.
            let child = unsafe { libc::fork() };
            assert!(child >= 0, "no process");
            if child == 0 {
                let code = i32::from(!(use_all(&cache) && cache.counters().failures == 0));
                // SAFETY: it ends the process at once.
                unsafe { libc::_exit(code) };
            }
            let mut status = -1;
            // SAFETY: the child is this process's own, and the status is written to a local.
            let waited = unsafe { libc::waitpid(child, &mut status, 0) };
            assert_eq!((waited, status), (child, 0));
        }
        assert!(storing.join().expect("it stores"));
    });
    println!("{:?}", cache.counters());
}

#[test]
fn a_cubin_is_found_in_far_less_time_than_it_is_compiled() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = DiskCache::at(folder.path());
    let all: Vec<_> = (0..200).map(cubin).collect();
    let times = |each: &dyn Fn(&StoredCubin)| {
        let mut times: Vec<_> = all
            .iter()
            .map(|stored| {
                let begin = Instant::now();
                each(stored);
                begin.elapsed()
            })
            .collect();
        times.sort_unstable();
        [50, 90, 99].map(|percent| times[times.len() * percent / 100])
    };
    let put = times(&|stored| cache.put(stored));
    let get = times(&|stored| assert!(DiskCache::at(folder.path()).get(&stored.key, COMPILER).is_some()));
    println!("p50, p90 and p99 of 200 cubins of 1 to 24 KiB: found in {get:?}, stored in {put:?}");
    // Unoptimised code is slower.
    assert!(
        get[0] < Duration::from_micros(if cfg!(debug_assertions) { 5000 } else { 300 }),
        "{get:?}"
    );
}
