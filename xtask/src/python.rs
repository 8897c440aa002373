//! `cargo xtask python`: the Python package, built as a wheel, installed where nothing else is, and tested.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{At, TaskError},
    process,
    wheel::entries,
    workspace::Workspace,
};

/// What builds, checks and tests it.
const TOOLS: [&str; 3] = ["maturin>=1.16,<2", "numpy", "twine"];

/// Builds and tests the package. Where there is no Python that can, it says why; `require` makes that an error.
pub fn run(workspace: &Workspace, require: bool) -> Result<(), TaskError> {
    let folder = workspace.path("target/python");
    let python = folder.join("venv/bin/python");
    match environment(workspace, &folder, &python) {
        Err(reason) if !require => {
            println!("the Python package was neither built nor tested: {reason}");
            return Ok(());
        }
        made => made?,
    }
    let wheels = build(workspace, &folder, &python, "python")?;
    process::run(module(workspace, &python, ["twine", "check", "--strict"]).args(&wheels))?;
    let mut tests = module(workspace, &python, ["unittest", "discover"]);
    process::run(tests.arg("--start-directory").arg(workspace.path("python/tests")))?;
    build(workspace, &folder, &python, EXAMPLE)?;
    let mut example = Command::new(&python);
    process::run(example.arg(workspace.path(EXAMPLE).join("test.py")))
}

/// An author's own module, made as this one is.
const EXAMPLE: &str = "examples/python_extension";

/// Builds the wheels of a package and installs them.
fn build(workspace: &Workspace, folder: &Path, python: &Path, package: &str) -> Result<Vec<PathBuf>, TaskError> {
    let dist = folder.join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).at(&dist)?;
    }
    let mut maturin = module(workspace, python, ["maturin", "build", "--quiet", "--profile", "dev"]);
    maturin
        .arg("--manifest-path")
        .arg(workspace.path(package).join("Cargo.toml"));
    process::run(maturin.arg("--out").arg(&dist).arg("--interpreter").arg(python))?;
    let wheels = entries(&dist)?;
    let quiet = ["pip", "install", "--quiet", "--disable-pip-version-check"];
    let mut install = module(workspace, python, quiet);
    process::run(install.args(["--force-reinstall", "--no-deps"]).args(&wheels))?;
    Ok(wheels)
}

/// A Python with the tools and nothing else.
fn environment(workspace: &Workspace, folder: &Path, python: &Path) -> Result<(), TaskError> {
    fs::create_dir_all(folder).at(folder)?;
    if !python.is_file() {
        let mut venv = module(workspace, "python3", ["venv"]);
        process::run(venv.arg(folder.join("venv")))?;
    }
    let quiet = ["pip", "install", "--quiet", "--disable-pip-version-check"];
    process::run(module(workspace, python, quiet).args(TOOLS))
}

/// A module of Python's, run in the project.
fn module<const N: usize>(workspace: &Workspace, python: impl AsRef<OsStr>, arguments: [&str; N]) -> Command {
    let mut command = Command::new(python);
    command.current_dir(workspace.path("")).arg("-m").args(arguments);
    command
}
