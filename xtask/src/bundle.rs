//! `cargo xtask gpu-bundle`: programs for a GPU host that has no Rust.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{At, TaskError},
    messages::{Program, build},
    process,
    wheel::entries,
    workspace::Workspace,
};

/// The most the bundle may weigh.
const LIMIT_MIB: u64 = 64;

/// Tests that read the source tree or run rustc or cargo, none of which is on the GPU host, or that have no use for a GPU.
const LEFT_OUT_TESTS: [&str; 9] = [
    "cases",
    "compile_fail",
    "examples",
    "golden",
    "codegen",
    "fuzz",
    "plan_properties",
    "plan_speed",
    "plan_vectors",
];

/// Packages with nothing for a GPU in them, or whose tests run the package's own program.
const LEFT_OUT_PACKAGES: [&str; 6] = [
    "xtask",
    "tilewright-book",
    "tilewright-macros",
    "tilewright-dsl",
    "tilewright-cli",
    "tilewright-testing",
];

/// Builds the bundle anew.
pub fn run(workspace: &Workspace) -> Result<(), TaskError> {
    let folder = workspace.path("gpu-bundle");
    if folder.exists() {
        fs::remove_dir_all(&folder).at(&folder)?;
    }
    let tests = compiled(workspace, &["test", "--no-run", "--lib", "--bins", "--tests"])?;
    let others = compiled(workspace, &["build", "--examples", "--lib"])?;
    for program in tests.iter().chain(&others) {
        if let Some(place) = place(program) {
            copy(&program.file, &folder.join(place))?;
        }
    }
    let benches = workspace.path("benches");
    for script in entries(&benches)?
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
    {
        copy(
            script,
            &folder.join("bench").join(script.file_name().unwrap_or_default()),
        )?;
    }
    // What reports on a race, and what it is to be.
    let this = std::env::current_exe().at("xtask")?;
    copy(&this, &folder.join("bench/xtask"))?;
    copy(
        &workspace.path("benches/readings/bars.json"),
        &folder.join("bench/bars.json"),
    )?;
    copy(&workspace.path("xtask/src/run.sh"), &folder.join("run.sh"))?;
    let programs = pack(&folder)?;
    weigh(&folder, &programs)
}

/// Builds with the release profile, stripped: names of symbols are half of the weight, and a panic says its line without.
fn compiled(workspace: &Workspace, arguments: &[&str]) -> Result<Vec<Program>, TaskError> {
    let common = [
        "--workspace",
        "--release",
        "--features=tilewright/nccl,tilewright-dp/nccl,tilewright-benches/nccl",
        "--message-format=json-render-diagnostics",
    ];
    let excluded = LEFT_OUT_PACKAGES.iter().flat_map(|package| ["--exclude", package]);
    let arguments: Vec<_> = arguments
        .iter()
        .copied()
        .chain(common)
        .chain(excluded)
        .map(str::to_owned)
        .collect();
    build(
        workspace
            .cargo(&arguments)
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    )
}

/// Where in the bundle a program goes; nothing for one that stays here.
fn place(program: &Program) -> Option<PathBuf> {
    let Program {
        package,
        target,
        kind,
        is_test,
        ..
    } = program;
    match (kind.as_str(), is_test) {
        ("test", true) if LEFT_OUT_TESTS.contains(&target.as_str()) => None,
        ("test", true) if package == "tilewright" => Some(Path::new("tests").join(target)),
        ("test", true) => Some(Path::new("tests").join(format!("{package}.{target}"))),
        // Of the unit tests, those of the run time alone use a GPU.
        ("lib", true) if package == "tilewright-runtime" => Some(Path::new("tests").join(format!("{package}.unit"))),
        ("example", false) => Some(Path::new("examples").join(target)),
        ("cdylib", false) => Some(Path::new("bench").join(program.file.file_name()?)),
        _ => None,
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), TaskError> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder).at(folder)?;
    fs::copy(from, to).map(|_| ()).at(from)
}

/// How the programs are compressed. All of them are linked with the same crates, which a window that holds several of them stores
/// once: a fifteenth of their weight, where a small window leaves two fifths.
const COMPRESSED_BY: &str = "xz --lzma2=preset=1,dict=192MiB";

/// Puts the folders of the bundle into one compressed file, which `run.sh` unpacks. Returns their files and sizes.
fn pack(folder: &Path) -> Result<Vec<(u64, PathBuf)>, TaskError> {
    let mut files = Vec::new();
    let mut tar = Command::new("tar");
    tar.arg("-C")
        .arg(folder)
        .args(["-I", COMPRESSED_BY, "-cf"])
        .arg(folder.join("programs.tar.xz"));
    let folders: Vec<_> = entries(folder)?.into_iter().filter(|part| part.is_dir()).collect();
    for part in &folders {
        tar.args(part.file_name());
        for file in entries(part)? {
            files.push((fs::metadata(&file).at(&file)?.len(), file));
        }
    }
    process::run(&mut tar)?;
    for part in &folders {
        fs::remove_dir_all(part).at(part)?;
    }
    Ok(files)
}

/// Says how heavy the bundle is, and refuses one that is too heavy.
fn weigh(folder: &Path, programs: &[(u64, PathBuf)]) -> Result<(), TaskError> {
    let mut size = 0;
    for file in entries(folder)? {
        size += fs::metadata(&file).at(&file)?.len();
    }
    if size > LIMIT_MIB << 20 {
        let mut programs: Vec<_> = programs.iter().collect();
        programs.sort_by(|one, other| other.cmp(one));
        let lines = programs
            .iter()
            .take(8)
            .map(|(size, file)| format!("  {:>4} MiB {}", size.div_ceil(1 << 20), file.display()));
        return Err(TaskError::TooLarge {
            size,
            limit_mib: LIMIT_MIB,
            largest: lines.collect::<Vec<_>>().join("\n"),
        });
    }
    println!(
        "{}: {} files of {} MiB in {} MiB. On the GPU host: {0}/run.sh",
        folder.display(),
        programs.len(),
        programs.iter().map(|(size, _)| size).sum::<u64>().div_ceil(1 << 20),
        size.div_ceil(1 << 20)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(package: &str, target: &str, kind: &str, is_test: bool) -> Option<String> {
        let (package, target, kind) = (package.to_owned(), target.to_owned(), kind.to_owned());
        place(&Program {
            file: format!("target/release/lib{target}.so").into(),
            package,
            target,
            kind,
            is_test,
        })
        .map(|path| path.display().to_string())
    }

    #[test]
    fn programs_have_their_places_and_those_that_need_the_sources_stay() {
        assert_eq!(
            placed("tilewright", "gpu_movement", "test", true).as_deref(),
            Some("tests/gpu_movement")
        );
        assert_eq!(
            placed("tilewright-dp", "rows", "test", true).as_deref(),
            Some("tests/tilewright-dp.rows")
        );
        assert_eq!(
            placed("tilewright-runtime", "tilewright_runtime", "lib", true).as_deref(),
            Some("tests/tilewright-runtime.unit")
        );
        assert_eq!(
            placed("tilewright", "gather", "example", false).as_deref(),
            Some("examples/gather")
        );
        assert_eq!(
            placed("tilewright-benches", "movement", "cdylib", false).as_deref(),
            Some("bench/libmovement.so")
        );
        assert_eq!(placed("tilewright-dp", "tilewright_dp", "lib", true), None);
        assert_eq!(placed("tilewright", "golden", "test", true), None);
        assert_eq!(placed("tilewright", "some", "bin", false), None);
    }

    #[test]
    fn programs_are_packed_and_their_folders_are_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("tests")).expect("a folder");
        fs::write(at("tests/some"), "text").expect("a file");
        fs::write(at("run.sh"), "").expect("a file");
        assert_eq!(pack(folder.path()).expect("packed"), [(4, at("tests/some"))]);
        assert!(!at("tests").exists() && at("run.sh").exists());
        process::run(
            Command::new("tar")
                .current_dir(&folder)
                .args(["-xJf", "programs.tar.xz"]),
        )
        .expect("unpacked");
        assert_eq!(fs::read_to_string(at("tests/some")).expect("a file"), "text");
    }

    #[test]
    fn a_bundle_over_the_limit_is_refused_with_its_largest_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A sparse file: it weighs without taking room.
        fs::File::create(folder.path().join("programs.tar.xz"))
            .and_then(|file| file.set_len((LIMIT_MIB << 20) + 1))
            .expect("a file");
        let programs = [(1, "tests/small".into()), (90 << 20, "tests/large".into())];
        let error = weigh(folder.path(), &programs).expect_err("too heavy").to_string();
        assert!(error.contains("65 MiB, more than 64 MiB"), "{error}");
        assert!(error.find("tests/large") < error.find("tests/small"), "{error}");
    }
}
