//! What cargo says it built.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    error::TaskError,
    process::{read_lines, succeeded},
};

/// A program that cargo built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The package it belongs to.
    pub package: String,
    /// The target in that package.
    pub target: String,
    /// The kind of target, as cargo names it: `lib`, `bin`, `test`, `example`, `cdylib`.
    pub kind: String,
    /// Whether it is a test harness.
    pub is_test: bool,
    /// The file.
    pub file: PathBuf,
}

/// Runs a cargo command that prints its messages as JSON, and returns the programs it built.
pub fn build(cargo: &mut Command) -> Result<Vec<Program>, TaskError> {
    let mut programs = Vec::new();
    let status = read_lines(cargo, |line| programs.extend(program(line)))?;
    succeeded(cargo, status)?;
    Ok(programs)
}

fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let target = &message["target"];
    // A library that C can load is a file of its own, as programs are.
    let is_cdylib = target["kind"][0] == "cdylib" && message["profile"]["test"] == false;
    let file = if is_cdylib {
        &message["filenames"][0]
    } else {
        &message["executable"]
    };
    Some(Program {
        package: package_name(message["package_id"].as_str()?).to_owned(),
        target: target["name"].as_str()?.to_owned(),
        kind: target["kind"][0].as_str()?.to_owned(),
        is_test: message["profile"]["test"].as_bool()?,
        file: file.as_str()?.into(),
    })
}

/// The name in a package id: `path+file:///home/me/dsl#tilewright-dsl@0.1.0`, or `path+file:///home/me/dsl#0.1.0` where the
/// folder is called like the package.
fn package_name(id: &str) -> &str {
    let (source, fragment) = id.rsplit_once('#').unwrap_or(("", id));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => source.rsplit('/').next().unwrap_or(fragment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_about_a_program_is_read_and_others_are_passed_over() {
        let line = r#"{"reason":"compiler-artifact","package_id":"path+file:///p/dsl#tilewright-dsl@0.1.0",
            "target":{"kind":["test"],"name":"golden"},"profile":{"test":true},"executable":"/t/golden-1"}"#;
        let found = program(line).expect("a program");
        assert_eq!(
            (found.package.as_str(), found.target.as_str(), found.kind.as_str()),
            ("tilewright-dsl", "golden", "test")
        );
        assert!(found.is_test && found.file == *"/t/golden-1");
        assert_eq!(program(&line.replace("\"/t/golden-1\"", "null")), None);
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(program("plain text"), None);
    }

    #[test]
    fn the_package_is_named_by_either_form_of_id() {
        assert_eq!(
            package_name("path+file:///p/dsl#tilewright-dsl@0.1.0"),
            "tilewright-dsl"
        );
        assert_eq!(package_name("path+file:///p/xtask#0.1.0"), "xtask");
    }
}
