//! `tilewright new`: a crate to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::CommandError;
use crate::output::{self, OutputError};

/// Files of the crate, by their places in it. `CRATE` is its name in Rust.
const FILES: [(&str, &str); 4] = [
    ("src/lib.rs", include_str!("template/lib.rs")),
    ("tests/scale_rows.rs", include_str!("template/test.rs")),
    ("benches/scale_rows.rs", include_str!("template/bench.rs")),
    (".gitignore", "/target\n"),
];

/// Its manifest.
const MANIFEST: &str = include_str!("template/Cargo.toml.txt");

/// The name of its bench.
const BENCH: &str = "scale_rows";

/// What the command line asks for.
#[derive(Args)]
pub struct Arguments {
    /// The name of the crate
    name: String,
    /// Where it is made [default: a folder of its name]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Depends on tilewright in this folder [default: on the released version of this command]
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let Arguments { name, folder, path } = arguments;
    check_name(name).map_err(|why| CommandError::CrateName {
        name: name.clone(),
        why,
    })?;
    let source = match path {
        Some(path) => of_folder(path)?,
        None => format!("version = {:?}", env!("CARGO_PKG_VERSION")),
    };
    let folder = folder.clone().unwrap_or_else(|| name.into());
    if folder.exists() {
        return Err(CommandError::FolderExists { folder });
    }
    let manifest = MANIFEST
        .replace("PACKAGE", name)
        .replace("SOURCE", &source)
        .replace("BENCH", BENCH);
    write(&folder, "Cargo.toml", &manifest)?;
    for (file, text) in FILES {
        write(&folder, file, &text.replace("CRATE", &name.replace('-', "_")))?;
    }
    let shown = folder.display();
    Ok(output::print(&format!(
        "{shown} has a kernel, its test and its bench:\n  cd {shown}\n  cargo test\n  cargo bench\n"
    ))?)
}

fn write(folder: &Path, file: &str, text: &str) -> Result<(), OutputError> {
    let file = folder.join(file);
    let failed = |source| OutputError::File {
        file: file.clone(),
        source,
    };
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(&file, text).map_err(failed)
}

/// Where a dependency finds tilewright that is in a folder.
fn of_folder(path: &Path) -> Result<String, CommandError> {
    let not_it = || CommandError::NotTilewright {
        folder: path.to_owned(),
    };
    let whole = path.canonicalize().map_err(|_| not_it())?;
    let manifest = fs::read_to_string(whole.join("Cargo.toml")).map_err(|_| not_it())?;
    match (
        manifest.lines().any(|line| line == "name = \"tilewright\""),
        whole.to_str(),
    ) {
        (true, Some(whole)) => Ok(format!("path = {whole:?}")),
        _ => Err(not_it()),
    }
}

/// Whether Cargo and rustc take the name.
fn check_name(name: &str) -> Result<(), &'static str> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if !name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return Err("it begins with a letter");
    }
    if !name.chars().all(is_letter) || name.len() > 64 {
        return Err("it has up to 64 letters of a to z, digits, `-` and `_`");
    }
    // Words that no crate is called by in Rust, and crates that are there already.
    let taken = [
        "abstract",
        "as",
        "async",
        "await",
        "become",
        "box",
        "break",
        "const",
        "continue",
        "crate",
        "do",
        "dyn",
        "else",
        "enum",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "gen",
        "if",
        "impl",
        "in",
        "let",
        "loop",
        "macro",
        "match",
        "mod",
        "move",
        "mut",
        "override",
        "priv",
        "pub",
        "ref",
        "return",
        "self",
        "static",
        "struct",
        "super",
        "trait",
        "true",
        "try",
        "type",
        "typeof",
        "unsafe",
        "unsized",
        "use",
        "virtual",
        "where",
        "while",
        "yield",
        "alloc",
        "core",
        "proc_macro",
        "std",
        "test",
        "tilewright",
    ];
    match taken.contains(&name.to_lowercase().replace('-', "_").as_str()) {
        true => Err("Rust or this crate needs that name itself"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_would_refuse_are_refused() {
        for name in ["moe-kernels", "a", "kernels_2", "Kernels"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let long = "a".repeat(65);
        for name in [
            "",
            "2d",
            "-a",
            "_a",
            "a b",
            "a/b",
            "../a",
            "für",
            "fn",
            "self",
            "test",
            "tilewright",
            &long,
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
