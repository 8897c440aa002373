//! Where the project lies.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::error::TaskError;

/// The project's folder.
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The one this program belongs to.
    pub fn find() -> Result<Self, TaskError> {
        // Cargo sets the variable when it runs a program; without it, the folder that the program was built in.
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = manifest.parent().map_or_else(|| manifest.clone(), Path::to_owned);
        if root.join("Cargo.toml").is_file() {
            Ok(Self { root })
        } else {
            Err(TaskError::NoWorkspace(root))
        }
    }

    /// A path inside it.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.root.join(inside)
    }

    /// A command run in it.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// The cargo that runs this task.
    pub fn cargo(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).args(arguments);
        command
    }
}

/// Whether this is continuous integration, where nothing is skipped for want of something.
pub fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}
