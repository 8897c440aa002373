//! `cargo xtask book`: the book as pages for a browser, in `target/book`.

#[cfg(test)]
mod tests;

use std::process::Command;

use crate::{error::TaskError, process, toolkit::MDBOOK, workspace::Workspace};

/// Builds it. Where mdBook can neither be found nor fetched, it says so; `require` makes that an error.
pub fn run(workspace: &Workspace, require: bool) -> Result<(), TaskError> {
    match MDBOOK.provide(workspace) {
        Ok(mdbook) => process::run(Command::new(mdbook).arg("build").arg(workspace.path("book"))),
        Err(reason) if require => Err(MDBOOK.required(reason)),
        Err(reason) => {
            println!("the book was not built: {reason}");
            Ok(())
        }
    }
}
