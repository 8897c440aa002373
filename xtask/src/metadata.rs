//! What cargo knows of packages.

use serde_json::Value;

use crate::{
    error::TaskError,
    process::{read_lines, shown, succeeded},
    workspace::Workspace,
};

/// The packages of the workspace.
pub fn members(workspace: &Workspace) -> Result<Vec<Value>, TaskError> {
    packages(workspace, &["--no-deps"])
}

/// The packages of the workspace, with all that they depend on.
#[cfg(test)]
pub fn closure(workspace: &Workspace) -> Result<Vec<Value>, TaskError> {
    // What this machine is: packages for others are neither built nor fetched here.
    packages(workspace, &["--filter-platform", "x86_64-unknown-linux-gnu"])
}

fn packages(workspace: &Workspace, arguments: &[&str]) -> Result<Vec<Value>, TaskError> {
    let mut cargo = workspace.cargo(&["metadata", "--locked", "--format-version=1"].map(str::to_owned));
    cargo.args(arguments);
    let mut text = String::new();
    let status = read_lines(&mut cargo, |line| text += line)?;
    succeeded(&cargo, status)?;
    let unreadable = |source: serde_json::Error| TaskError::Output {
        command: shown(&cargo),
        source: source.into(),
    };
    let mut metadata: Value = serde_json::from_str(&text).map_err(unreadable)?;
    Ok(match metadata["packages"].take() {
        Value::Array(packages) => packages,
        _ => Vec::new(),
    })
}

/// Whether a package of the workspace is for others.
pub fn is_published(package: &Value) -> bool {
    package["publish"].is_null()
}
