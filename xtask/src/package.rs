//! `cargo xtask package`: the archives that a registry would be given, and whether the oldest Rust takes what is in them.

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    error::{At, TaskError},
    metadata::{is_published, members},
    process,
    workspace::Workspace,
};

/// What is checked of the packages unpacked: all that a dependent may turn on, and the language and runtime alone.
const CHECKS: [&[&str]; 2] = [
    &["--workspace", "--features", "tilewright/nccl,tilewright/harness"],
    &[
        "--package=tilewright",
        "--no-default-features",
        "--features=cuda-13000,nccl",
    ],
];

/// Packs every package that is for others, unpacks the archives beside one another and checks them there, where nothing else of
/// the project is. Building what they hold, which `cargo package` would do, says no more and takes minutes.
pub fn run(workspace: &Workspace) -> Result<(), TaskError> {
    let members = members(workspace)?;
    let published: Vec<_> = members.iter().filter(|package| is_published(package)).collect();
    let mut pack =
        workspace.cargo(&["package", "--quiet", "--locked", "--no-verify", "--allow-dirty"].map(str::to_owned));
    for package in &published {
        pack.args(["--package", text(package, "name")]);
    }
    process::run(&mut pack)?;
    let archives = workspace.path("target/package");
    let unpacked = archives.join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).at(&unpacked)?;
    }
    fs::create_dir_all(&unpacked).at(&unpacked)?;
    let folders: Vec<_> = published.iter().map(|package| folder(package)).collect();
    for folder in &folders {
        let archive = archives.join(format!("{folder}.crate"));
        // As new: in archives all files are of one old time, by which cargo would not see that they have changed.
        process::run(Command::new("tar").arg("-xmzf").arg(archive).arg("-C").arg(&unpacked))?;
    }
    write(&unpacked.join("Cargo.toml"), &manifest(&published, &folders))?;
    let lock = unpacked.join("Cargo.lock");
    fs::copy(workspace.path("Cargo.lock"), &lock).at(&lock)?;

    let oldest = published
        .first()
        .map_or_else(String::new, |package| text(package, "rust_version").to_owned());
    let missing = provide(&oldest).err();
    for check in CHECKS {
        let mut cargo = match missing {
            None => Command::new("rustup"),
            Some(_) => workspace.cargo(&[]),
        };
        if missing.is_none() {
            cargo.args(["run", &oldest, "cargo"]);
        }
        cargo.args(["check", "--quiet"]).args(check).current_dir(&unpacked);
        process::run(cargo.env("CARGO_TARGET_DIR", workspace.path("target/oldest")))?;
    }
    match missing {
        None => println!("{} packages are whole, and Rust {oldest} takes them", published.len()),
        Some(reason) => println!(
            "{} packages are whole; Rust {oldest}, the oldest that should take them, is not here: {reason}",
            published.len()
        ),
    }
    Ok(())
}

/// A workspace of the packages, each of which finds the others in it.
fn manifest(published: &[&Value], folders: &[String]) -> String {
    let mut manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {folders:?}\n\n[patch.crates-io]\n");
    for (package, folder) in published.iter().zip(folders) {
        // Writing to a string does not fail.
        let _ = writeln!(manifest, "{} = {{ path = {folder:?} }}", text(package, "name"));
    }
    manifest
}

/// Brings a Rust of that version, if rustup has not got it.
fn provide(version: &str) -> Result<(), TaskError> {
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", version, "--profile=minimal", "--no-self-update"]);
    process::run(rustup.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// What a package's archive is called, and the folder in it.
fn folder(package: &Value) -> String {
    format!("{}-{}", text(package, "name"), text(package, "version"))
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

fn write(file: &Path, text: &str) -> Result<(), TaskError> {
    fs::write(file, text).at(file)
}
