//! The cache in one process. What several do to it is in `tests/disk_cache.rs`.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::bundle::{Bundle, BundleBuilder, BundleError};
use super::file::{Damage, MAX_CUBIN_BYTES};
use super::{CubinCache, CubinKey, DiskCache, DiskCounters, Origin, StoredCubin};
use crate::compile::{Architecture, CompileOptions, Cubin, Nvrtc};
use tilewright_testing::Part;

const COMPILER: &str = "nvrtc of the tests";

/// A cubin that is like no other.
pub(super) fn stored(seed: u64, length: usize) -> StoredCubin {
    let mut rng = fastrand::Rng::with_seed(seed);
    let architecture = Architecture::new(rng.u32(5..13), rng.u32(..10));
    let bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
    StoredCubin {
        key: CubinKey::of(&seed.to_string(), "some", &CompileOptions::new(architecture)),
        compiler: COMPILER.to_owned(),
        name: format!("kernel_{seed}"),
        cubin: Cubin {
            bytes: bytes.into(),
            architecture,
            log: ["", "some.cu(1): warning: größer"][rng.usize(..2)].to_owned(),
        },
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn cache(&self) -> DiskCache {
        DiskCache::at(self.0.path())
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path().join("cubins-1")).into_iter().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }

    fn cubins(&self) -> Vec<PathBuf> {
        let mut files = self.files();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "cubin"));
        files
    }

    fn bytes(&self) -> u64 {
        self.cubins()
            .iter()
            .map(|file| file.metadata().expect("a file").len())
            .sum()
    }
}

fn get(cache: &DiskCache, stored: &StoredCubin) -> Option<StoredCubin> {
    cache.get(&stored.key, &stored.compiler)
}

#[test]
fn what_is_put_is_found_by_others_too_and_published_once() {
    let folder = Folder::new();
    let (one, other) = (folder.cache(), folder.cache());
    let some = stored(1, 5000);
    assert_eq!(get(&one, &some), None);
    one.put(&some);
    other.put(&some);
    assert_eq!(get(&one, &some).as_ref(), Some(&some));
    assert_eq!(get(&other, &some).as_ref(), Some(&some));
    assert_eq!(one.cubins(), std::slice::from_ref(&some));
    let length = some.encode().expect("bytes").len() as u64;
    let expected = DiskCounters {
        hits: 1,
        misses: 1,
        stores: 1,
        bytes: length,
        ..Default::default()
    };
    assert_eq!(one.counters(), expected);
    assert_eq!(other.counters().stores, 0);
    let names: Vec<_> = folder
        .files()
        .iter()
        .map(|file| file.file_name().map(ToOwned::to_owned))
        .collect();
    assert_eq!(names.len(), 2, "the cubin and the ledger: {names:?}");
}

#[test]
fn a_file_that_was_cut_changed_or_made_longer_anywhere_is_a_miss_and_is_gone() {
    let folder = Folder::new();
    let cache = folder.cache();
    let some = stored(1, 60);
    cache.put(&some);
    let file = folder.cubins().remove(0);
    let whole = fs::read(&file).expect("a file");
    let mut damages = Vec::new();
    for at in 0..whole.len() {
        damages.push(whole[..at].to_vec());
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        damages.push(changed);
    }
    damages.push([&whole[..], b"\0"].concat());
    let count = damages.len() as u64;
    for damaged in damages {
        fs::write(&file, damaged).expect("a file");
        assert_eq!(get(&cache, &some), None);
        assert!(!file.exists(), "it is removed");
    }
    let counters = cache.counters();
    assert_eq!(
        (counters.damaged, counters.misses, counters.failures),
        (count, count, 0)
    );
    cache.put(&some);
    assert_eq!(get(&cache, &some), Some(some), "it is made again");
}

#[test]
fn a_file_in_the_place_of_another_is_a_miss() {
    let folder = Folder::new();
    let cache = folder.cache();
    let [one, two] = [stored(1, 60), stored(2, 60)];
    cache.put(&one);
    let first = folder.cubins().remove(0);
    let content = fs::read(&first).expect("a file");
    cache.put(&two);
    let second = folder
        .cubins()
        .into_iter()
        .find(|file| *file != first)
        .expect("two files");
    fs::write(&second, &content).expect("swapped");
    assert_eq!(get(&cache, &two), None);
    assert_eq!((cache.counters().damaged, second.exists()), (1, false));
    // The same request of another compiler, under the name of this one.
    let mut newer = one.clone();
    newer.compiler.push('2');
    assert_eq!(cache.get(&one.key, &newer.compiler), None);
    fs::write(&first, newer.encode().expect("bytes")).expect("swapped");
    assert_eq!(get(&cache, &one), None);
    // Any compiler's will do where none is asked for, and nobody else's.
    cache.put(&two);
    assert_eq!(cache.get_of_any_compiler(&two.key), Some(two.clone()));
    assert_eq!(cache.get_of_any_compiler(&stored(3, 60).key), None);
    fs::remove_file(&second).expect("removed");
    // A file that is copied under another name is not listed as what it holds.
    cache.put(&one);
    fs::copy(&first, first.with_file_name("copy.cubin")).expect("copied");
    assert_eq!(cache.cubins(), [one]);
}

#[test]
fn another_version_of_the_layout_is_told_from_damage() {
    let mut bytes = stored(1, 60).encode().expect("bytes");
    bytes[8] = 9;
    let reason = StoredCubin::decode(&bytes).expect_err("another version").to_string();
    assert_eq!(reason, "it has layout 9, and this version reads layout 1");
    assert_eq!(StoredCubin::decode(b"\x7fELF and more"), Err(Damage::Foreign));
    assert_eq!(StoredCubin::decode(b""), Err(Damage::Foreign));
}

/// What may stand where a cubin should, each with what it takes to stand there.
type Stand = (&'static str, fn(&Path));

#[test]
fn what_is_no_plain_file_is_a_miss_and_holds_nobody_up() {
    let stands: [Stand; 8] = [
        ("a folder", |at| fs::create_dir(at).expect("a folder")),
        ("a full folder", |at| {
            fs::create_dir_all(at.join("more")).expect("folders")
        }),
        ("a pipe", |at| {
            let made = std::process::Command::new("mkfifo").arg(at).status();
            assert!(made.expect("mkfifo").success());
        }),
        ("a link to nothing", |at| symlink("/no/such/file", at).expect("a link")),
        ("a link to itself", |at| symlink(at, at).expect("a link")),
        ("a link to a device without an end", |at| {
            symlink("/dev/zero", at).expect("a link")
        }),
        ("a link to a full device", |at| {
            symlink("/dev/full", at).expect("a link")
        }),
        ("a huge file", |at| {
            let file = File::create(at).expect("a file");
            file.set_len(1 << 40)
                .or_else(|_| file.set_len(MAX_CUBIN_BYTES + 1))
                .expect("a sparse file");
        }),
    ];
    for (what, stand) in stands {
        let folder = Folder::new();
        let cache = folder.cache();
        let some = stored(1, 60);
        cache.put(&some);
        let file = folder.cubins().remove(0);
        fs::remove_file(&file).expect("removed");
        stand(&file);
        let begin = Instant::now();
        assert_eq!(get(&cache, &some), None, "{what}");
        assert_eq!(cache.counters().damaged, 1, "{what}");
        cache.put(&some);
        let is_folder = file.is_dir();
        assert_eq!(
            get(&cache, &some).is_some(),
            !is_folder,
            "{what} is removed, unless it is a folder"
        );
        assert_eq!(cache.counters().failures > 0, is_folder, "{what}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{what}");
        assert!(
            !folder
                .files()
                .iter()
                .any(|file| super::temporary::Temporary::is_named(file)),
            "{what}"
        );
    }
}

#[test]
fn a_folder_that_is_none_or_cannot_be_made_is_a_miss_and_counted() {
    let folder = Folder::new();
    let file = folder.0.path().join("file");
    fs::write(&file, "").expect("a file");
    let link = folder.0.path().join("loop");
    symlink(&link, &link).expect("a link");
    let some = stored(1, 60);
    for path in [
        PathBuf::new(),
        file.clone(),
        file.join("below"),
        link,
        "/dev/full".into(),
        "/dev/full/below".into(),
        "/proc/below".into(),
        "with a \0 in it".into(),
        folder.0.path().join("x".repeat(300)),
    ] {
        let cache = DiskCache::at(&path);
        assert_eq!(get(&cache, &some), None, "{path:?}");
        cache.put(&some);
        assert_eq!(get(&cache, &some), None, "{path:?}");
        assert!(cache.cubins().is_empty(), "{path:?}");
        let counters = cache.counters();
        assert!(
            counters.failures > 0 && counters.misses == 2 && counters.hits == 0,
            "{path:?}: {counters:?}"
        );
    }
}

#[test]
fn paths_of_all_languages_and_links_to_folders_work() {
    let folder = Folder::new();
    let unicode = folder.0.path().join("Кэш\u{301} 缓存 \u{1f4be}\n\"'");
    let link = folder.0.path().join("link");
    fs::create_dir(&unicode).expect("a folder");
    symlink(&unicode, &link).expect("a link");
    let some = stored(1, 60);
    DiskCache::at(&unicode).put(&some);
    assert_eq!(get(&DiskCache::at(&link), &some), Some(some));
}

#[test]
fn the_folder_stays_within_its_bytes_and_what_was_used_last_stays() {
    let folder = Folder::new();
    let all: Vec<_> = (0..40).map(|seed| stored(seed, 1000)).collect();
    let one = all[0].encode().expect("bytes").len() as u64 + 64;
    let cache = folder.cache().bytes(10 * one);
    for some in &all {
        cache.put(some);
        assert!(get(&cache, &all[0]).is_some(), "it was used last each time");
        assert!(folder.bytes() <= 10 * one);
        assert!(cache.counters().bytes >= folder.bytes());
    }
    let counters = cache.counters();
    assert_eq!(counters.stores, 40);
    assert_eq!(counters.evictions, 40 - folder.cubins().len() as u64);
    assert!(folder.cubins().len() >= 7, "no more is removed than an eighth");
    assert!(get(&cache, &all[39]).is_some() && get(&cache, &all[5]).is_none());
    // A smaller bound counts from the next one on; others are no reason to fail.
    let smaller = folder.cache().bytes(2 * one);
    smaller.put(&stored(100, 1000));
    assert!(folder.bytes() <= 2 * one);
    // What is larger than all of it is not kept.
    let large = stored(101, 4000);
    smaller.put(&large);
    assert_eq!(get(&smaller, &large), None);
    assert_eq!(smaller.counters().failures, 1);
}

#[test]
fn a_clock_that_is_set_back_does_not_change_what_goes_first() {
    let folder = Folder::new();
    let some: Vec<_> = (0..10).map(|seed| stored(seed, 1000)).collect();
    let one = some[0].encode().expect("bytes").len() as u64 + 64;
    let cache = folder.cache().bytes(8 * one);
    some[..6].iter().for_each(|some| cache.put(some));
    // Until now clocks were years ahead.
    let ahead = SystemTime::now() + Duration::from_secs(10 * 365 * 86400);
    for (order, file) in (0..).zip(folder.cubins()) {
        let file = File::open(file).expect("a file");
        file.set_modified(ahead + Duration::from_nanos(order))
            .expect("its time");
    }
    let ledger = folder.0.path().join("cubins-1/ledger");
    File::open(&ledger)
        .and_then(|file| file.set_modified(ahead + Duration::from_secs(1)))
        .expect("its time");
    some[6..].iter().for_each(|some| cache.put(some));
    assert!(
        some[6..].iter().all(|some| get(&cache, some).is_some()),
        "the new ones stay"
    );
    assert!(folder.bytes() <= 8 * one);
}

#[test]
fn a_ledger_that_is_damaged_or_gone_is_made_again() {
    let folder = Folder::new();
    let one = stored(0, 1000).encode().expect("bytes").len() as u64 + 64;
    let cache = folder.cache().bytes(4 * one);
    let ledger = folder.0.path().join("cubins-1/ledger");
    for (seed, content) in (0..).zip(
        [&b""[..], b"x", &[0; 16], &[0xff; 16], &[7; 4096]]
            .iter()
            .cycle()
            .take(20),
    ) {
        cache.put(&stored(seed, 1000));
        assert!(folder.bytes() <= 4 * one, "{seed}");
        fs::write(&ledger, content).expect("a file");
    }
    fs::remove_file(&ledger).expect("removed");
    cache.put(&stored(100, 1000));
    assert!(folder.bytes() <= 4 * one && cache.counters().failures == 0);
    // A folder in its place leaves a cache that can be read.
    fs::remove_file(&ledger).expect("removed");
    fs::create_dir(&ledger).expect("a folder");
    cache.put(&stored(101, 1000));
    assert_eq!(cache.counters().failures, 1);
    assert!(get(&cache, &stored(100, 1000)).is_some());
}

#[test]
fn a_cache_to_be_read_only_changes_nothing() {
    let folder = Folder::new();
    let [some, other] = [stored(1, 60), stored(2, 60)];
    let reader = folder.cache().read_only();
    assert_eq!(get(&reader, &some), None);
    reader.put(&some);
    assert!(folder.files().is_empty() && !folder.0.path().join("cubins-1").exists());
    folder.cache().put(&some);
    let times = || {
        folder
            .files()
            .iter()
            .map(|file| file.metadata().and_then(|file| file.modified()).expect("a time"))
            .collect::<Vec<_>>()
    };
    let before = times();
    assert_eq!(get(&reader, &some).as_ref(), Some(&some));
    reader.put(&other);
    assert_eq!(times(), before);
    let file = folder.cubins().remove(0);
    fs::write(&file, "damaged").expect("a file");
    assert_eq!(get(&reader, &some), None);
    assert!(file.exists() && reader.counters().damaged == 1 && reader.counters().failures == 0);
    let survey = reader.survey();
    assert!(
        survey
            .to_string()
            .contains(": 0 kernels, 0.0 of at most 256.0 MiB, read-only\n"),
        "{survey}"
    );
    assert_eq!(
        (survey.damaged, reader.counters().damaged),
        (1, 1),
        "looking counts nothing"
    );
    assert_eq!(times().len(), before.len());
}

#[test]
fn what_ended_writers_have_left_is_removed_and_what_others_are_writing_is_not() {
    let folder = Folder::new();
    let cache = folder.cache();
    cache.put(&stored(1, 60));
    let below = folder.0.path().join("cubins-1");
    let left = below.join(".tilewright-abc.tmp");
    fs::write(&left, "half a cub").expect("a file");
    let foreign = below.join("notes.txt");
    fs::write(&foreign, "of the user").expect("a file");
    let written = below.join(".tilewright-def.tmp");
    let writer = File::create(&written).expect("a file");
    writer.lock().expect("locked");
    // A process looks through the folder when it stores something first.
    folder.cache().put(&stored(2, 60));
    assert!(!left.exists() && written.exists() && foreign.exists());
    // A child process of another test may hold the file too.
    writer.unlock().expect("given back");
    folder.cache().put(&stored(3, 60));
    assert!(!written.exists());
}

#[test]
fn one_that_never_ends_its_turn_is_waited_for_once_and_readers_do_not_wait() {
    let folder = Folder::new();
    let cache = folder.cache();
    let [one, two, three] = [1, 2, 3].map(|seed| stored(seed, 60));
    cache.put(&one);
    let ledger = File::open(folder.0.path().join("cubins-1/ledger")).expect("a file");
    ledger.lock().expect("a turn");
    let begin = Instant::now();
    cache.put(&two);
    assert_eq!(cache.counters().failures, 1);
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    let begin = Instant::now();
    (0..20).for_each(|_| cache.put(&three));
    assert!(
        get(&cache, &one).is_some() && begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    // A child process of another test may hold the file too.
    ledger.unlock().expect("given back");
    cache.put(&three);
    assert!(get(&cache, &three).is_some() && get(&cache, &two).is_none());
    assert_eq!(
        (folder.cubins().len(), folder.files().len()),
        (2, 3),
        "nothing is left behind"
    );
}

#[test]
fn counters_are_those_of_all_threads() {
    let folder = Folder::new();
    let cache = folder.cache();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for seed in 0..20 {
                    let some = stored(seed, 200);
                    if get(&cache, &some).is_none() {
                        cache.put(&some);
                    }
                    assert_eq!(get(&cache, &some), Some(some));
                }
            });
        }
    });
    let counters = cache.counters();
    assert_eq!((counters.stores, folder.cubins().len()), (20, 20));
    assert_eq!(counters.hits + counters.misses, 8 * 20 * 2);
    assert_eq!((counters.damaged, counters.failures), (0, 0));
}

#[test]
fn a_bundle_gives_back_what_was_put_in() {
    let folder = Folder::new();
    let path = folder.0.path().join("kernels.bundle");
    let all: Vec<_> = (0..50).map(|seed| stored(seed, seed as usize * 7)).collect();
    let [forwards, backwards] = [BundleBuilder::new(), BundleBuilder::new()];
    all.iter().for_each(|stored| forwards.add(stored.clone()));
    all.iter().rev().for_each(|stored| backwards.add(stored.clone()));
    assert_eq!(
        forwards.to_bytes().expect("bytes"),
        backwards.to_bytes().expect("bytes")
    );
    forwards.write(&path).expect("written");
    let bundle = Bundle::open(&path).expect("a bundle");
    assert_eq!((bundle.len(), bundle.keys().count()), (50, 50));
    for some in &all {
        assert_eq!(bundle.get(&some.key).expect("whole").as_ref(), Some(some));
    }
    assert_eq!(bundle.get(&stored(99, 1).key).expect("whole"), None);
    let mut sorted = all;
    sorted.sort_by_key(|stored| stored.key);
    assert_eq!(bundle.cubins().expect("whole"), sorted);
    let none = Bundle::from_bytes(BundleBuilder::new().to_bytes().expect("bytes")).expect("a bundle");
    assert!(none.is_empty() && none.cubins().expect("whole").is_empty());
}

#[test]
fn damage_to_one_cubin_of_a_bundle_leaves_the_others() {
    let builder = BundleBuilder::new();
    let all: Vec<_> = (0..3).map(|seed| stored(seed, 500)).collect();
    all.iter().for_each(|stored| builder.add(stored.clone()));
    let mut bytes = builder.to_bytes().expect("bytes");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let bundle = Bundle::from_bytes(bytes).expect("a bundle");
    let broken: Vec<_> = all.iter().filter_map(|stored| bundle.get(&stored.key).err()).collect();
    assert_eq!(broken.len(), 1);
    let message = "the bundle in memory cannot be used: its checksum is wrong. Build it again";
    assert_eq!(broken[0].to_string(), message);
    assert!(bundle.cubins().is_err());
    let cache = CubinCache::new().with_bundle(bundle);
    let found = all.iter().filter(|stored| cache.in_bundles(&stored.key).is_some());
    assert_eq!(found.count(), 2);
    let counters = cache.counters();
    assert_eq!((counters.bundle_hits, counters.bundle_damaged), (2, 1));
}

#[test]
fn what_is_no_bundle_is_refused_with_a_reason() {
    let folder = Folder::new();
    let at = |name: &str| folder.0.path().join(name);
    let reason = |path: &Path| Bundle::open(path).expect_err("no bundle").to_string();
    assert!(
        reason(&at("none")).starts_with("cannot read the bundle "),
        "{}",
        reason(&at("none"))
    );
    assert!(matches!(
        Bundle::open(folder.0.path()),
        Err(BundleError::Damaged {
            reason: Damage::Foreign,
            ..
        })
    ));
    assert!(matches!(
        Bundle::open("/dev/zero"),
        Err(BundleError::Damaged {
            reason: Damage::Foreign,
            ..
        })
    ));
    let made = std::process::Command::new("mkfifo").arg(at("pipe")).status();
    assert!(made.expect("mkfifo").success());
    assert!(reason(&at("pipe")).contains("it is none of Tilewright's"));
    fs::write(at("text"), "some text that is long enough to be one").expect("a file");
    assert!(reason(&at("text")).contains("it is none of Tilewright's"));
    let builder = BundleBuilder::new();
    builder.add(stored(1, 500));
    let mut bytes = builder.to_bytes().expect("bytes");
    bytes[8] = 2;
    fs::write(at("newer"), &bytes).expect("a file");
    assert!(reason(&at("newer")).contains("it has layout 2, and this version reads layout 1"));
    bytes[8] = 1;
    fs::write(at("cut"), &bytes[..100]).expect("a file");
    assert!(
        reason(&at("cut")).contains("it has 100 bytes and should have "),
        "{}",
        reason(&at("cut"))
    );
    for place in ["/dev/full", "/no/such/folder/bundle"] {
        let error = builder.write(place).expect_err("not written").to_string();
        assert!(
            error.starts_with(&format!("cannot write the bundle {place}: ")),
            "{error}"
        );
    }
    assert!(!fs::metadata("/dev/full").expect("it is still there").is_file());
    let readable = |path: &Path| path.metadata().expect("a file").permissions().mode() & 0o400 != 0;
    builder.write(at("some")).expect("written");
    assert!(readable(&at("some")));
}

#[test]
fn cubins_come_from_bundles_then_the_disk_and_then_nvrtc() {
    const SOURCE: &str = "extern \"C\" __global__ void idle() {}";
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    let folder = Folder::new();
    let options = CompileOptions::new(Architecture::new(9, 0));
    let cold = CubinCache::new().with_disk(folder.cache());
    let (cubin, origin) = cold.cubin(SOURCE, "idle", &options).expect("it compiles");
    assert!(CubinCache::settle(Duration::from_secs(60)));
    assert_eq!(
        (origin, cold.counters().compiled, cold.counters().disk.stores),
        (Origin::Nvrtc, 1, 1)
    );
    let warm = CubinCache::new().with_disk(folder.cache());
    assert_eq!(
        warm.cubin(SOURCE, "idle", &options).expect("found"),
        (cubin.clone(), Origin::Disk)
    );
    assert_eq!((warm.counters().compiled, warm.counters().disk.hits), (0, 1));
    let builder = BundleBuilder::new();
    folder
        .cache()
        .cubins()
        .into_iter()
        .for_each(|stored| builder.add(stored));
    let bundle = Bundle::from_bytes(builder.to_bytes().expect("bytes")).expect("a bundle");
    let bundled = CubinCache::new().with_disk(folder.cache()).with_bundle(bundle);
    assert_eq!(
        bundled.cubin(SOURCE, "idle", &options).expect("found"),
        (cubin, Origin::Bundle)
    );
    assert_eq!(bundled.counters().disk, DiskCounters::default());
    // Another architecture is in neither.
    let other = CompileOptions::new(Architecture::new(8, 0));
    assert_eq!(
        bundled.cubin(SOURCE, "idle", &other).expect("it compiles").1,
        Origin::Nvrtc
    );
    assert!(
        bundled.cubin("no source", "idle", &other).is_err(),
        "errors are not kept"
    );
    assert!(CubinCache::settle(Duration::from_secs(60)));
    assert_eq!(bundled.counters().disk.stores, 1);
}

#[test]
fn cubins_of_a_bundle_in_the_places_of_others_are_not_given_out() {
    const HEAD: usize = 48;
    let builder = BundleBuilder::new();
    let all: Vec<_> = (0..2).map(|seed| stored(seed, 500)).collect();
    all.iter().for_each(|stored| builder.add(stored.clone()));
    let mut bytes = builder.to_bytes().expect("bytes");
    // The index says that each begins where the other does, and its checksum is right.
    let [one, other] = [HEAD + 32, HEAD + 48 + 32];
    let places: [[u8; 16]; 2] = [one, other].map(|at| bytes[at..at + 16].try_into().expect("16 bytes"));
    bytes[one..one + 16].copy_from_slice(&places[1]);
    bytes[other..other + 16].copy_from_slice(&places[0]);
    super::fuzz::seal(&mut bytes, 16, HEAD + 2 * 48);
    let bundle = Bundle::from_bytes(bytes).expect("a bundle");
    for stored in &all {
        let error = bundle.get(&stored.key).expect_err("it is another").to_string();
        assert!(error.contains("Build it again"), "{error}");
    }
    let cache = CubinCache::new().with_bundle(bundle);
    assert!(all.iter().all(|stored| cache.in_bundles(&stored.key).is_none()));
    assert_eq!(cache.counters().bundle_damaged, 2);
}

#[test]
fn a_bundle_of_other_gpus_or_versions_serves_no_launch_and_harms_none() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    const SOURCE: &str = "extern \"C\" __global__ void idle() {}";
    let [ampere, hopper] = [8, 9].map(|major| CompileOptions::new(Architecture::new(major, 0)));
    let builder = BundleBuilder::new();
    builder.compile(SOURCE, "idle", &ampere).expect("it compiles");
    let bytes = builder.to_bytes().expect("bytes");
    let mut newer = bytes.clone();
    newer[8] = 2;
    let error = Bundle::from_bytes(newer).expect_err("of another version").to_string();
    assert!(
        error.contains("it has layout 2, and this version reads layout 1"),
        "{error}"
    );
    let cache = CubinCache::new().with_bundle(Bundle::from_bytes(bytes).expect("a bundle"));
    let (cubin, origin) = cache.cubin(SOURCE, "idle", &hopper).expect("it compiles");
    assert_eq!((cubin.architecture, origin), (hopper.arch, Origin::Nvrtc));
    let (cubin, origin) = cache.cubin(SOURCE, "idle", &ampere).expect("found");
    assert_eq!((cubin.architecture, origin), (ampere.arch, Origin::Bundle));
    assert_eq!(cache.counters().bundle_damaged, 0);
}
