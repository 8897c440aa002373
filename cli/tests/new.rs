//! `tilewright new` as a user runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tilewright"));
    command.arg("new").args(arguments).current_dir(folder);
    command.output().unwrap()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where this test was built: what others of the workspace have compiled there serves the crate too.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_owned()
}

#[test]
fn a_new_crate_passes_its_test_and_its_bench_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = workspace();
    let output = run(&["my-kernels", "--path", root.to_str().unwrap()], folder.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("cargo test"), "{text}");
    let made = folder.path().join("my-kernels");
    // The versions that are here, and the profile of most that is built already. Of tilewright's own crates none serves: what
    // the workspace's other members ask of `syn` is in all of them.
    fs::copy(root.join("Cargo.lock"), made.join("Cargo.lock")).unwrap();
    let profile = ["tilewright-dsl.opt-level=0", "\"*\".debug=false"].map(|key| format!("profile.dev.package.{key}"));
    for (what, needle) in [
        ("test", "test every_row_is_multiplied_by_its_factor ... ok"),
        ("bench", "scale_rows of "),
    ] {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo
            .arg(what)
            .arg("--offline")
            .current_dir(&made)
            .env("CARGO_TARGET_DIR", target());
        if what == "bench" {
            // Optimised builds of everything would take minutes.
            cargo.args(["--profile", "dev"]);
        }
        for line in &profile {
            cargo.args(["--config", line]);
        }
        let output = cargo.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains(needle), "cargo {what}: {said}");
    }
}

#[test]
fn a_crate_depends_on_the_released_version_if_no_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        run(&["kernels", "--folder", "elsewhere/kernels"], folder.path())
            .status
            .success()
    );
    let made = folder.path().join("elsewhere/kernels");
    let manifest = fs::read_to_string(made.join("Cargo.toml")).unwrap();
    let line = format!("\ntilewright = {{ version = {:?}, ", env!("CARGO_PKG_VERSION"));
    assert!(
        manifest.contains(&line) && manifest.contains("name = \"kernels\""),
        "{manifest}"
    );
    for file in [
        "src/lib.rs",
        "tests/scale_rows.rs",
        "benches/scale_rows.rs",
        ".gitignore",
    ] {
        let text = fs::read_to_string(made.join(file)).unwrap();
        assert!(!text.contains("CRATE"), "{file}: {text}");
    }
}

#[test]
fn what_cannot_be_made_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], words: &str| {
        let output = run(arguments, folder.path());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && error.contains(words),
            "{arguments:?}: {error}"
        );
    };
    refused(&["2d"], "`2d` is no name for a crate: it begins with a letter");
    refused(&["a/b"], "is no name for a crate");
    refused(&["fn"], "needs that name itself");
    refused(
        &["kernels", "--path", "/no/such/folder"],
        "is not the folder of tilewright",
    );
    refused(&["kernels", "--path", "/"], "is not the folder of tilewright");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    fs::create_dir(folder.path().join("kernels")).unwrap();
    refused(&["kernels"], "kernels is there already");
}
