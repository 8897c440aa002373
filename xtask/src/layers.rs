//! That the folders of a crate import one another in one direction only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules of each crate from the lowest up: one may import those before it.
const LAYERS: [(&str, &[&str]); 4] = [
    (
        "dsl/src",
        &[
            "stack",
            "panic",
            "element",
            "limits",
            "ir",
            "arithmetic",
            "host",
            "trace",
            "argument",
            "analysis",
            "transform",
            "schedule",
            "thread",
            "lower",
            "backend",
            "interpret",
            "class",
            "lang",
            "call",
        ],
    ),
    (
        "runtime/src",
        &[
            "deadline",
            "behind",
            "fuzz",
            "elf",
            "library",
            "compile",
            "cache",
            "error",
            "counters",
            "hardware",
            "arguments",
            "policy",
            "specialize",
            "device",
            "tensor",
            "launch",
            "warm_up",
            "inspect",
            "offline",
            "communicator",
            "doctor",
        ],
    ),
    ("harness/src", &["random", "testing", "bench"]),
    (
        "dp/src",
        &[
            "text",
            "table",
            "file",
            "counts",
            "layout",
            "draw",
            "trace",
            "plan",
            "simulate",
            "kernels",
            "catalogue",
            "buffer",
            "collective",
            "batch",
            "movement",
            "offline",
        ],
    ),
];

/// A file without its tests, which may import anything, and without comments.
fn code_of(source: &str) -> String {
    let mut code = String::new();
    let mut in_tests = false;
    for line in source.lines() {
        in_tests |= line.starts_with("mod tests {");
        if !in_tests {
            code += line.split("//").next().unwrap_or_default();
            code.push('\n');
        }
        in_tests &= line != "}";
    }
    code
}

/// What is imported from the crate's root, in code: names of modules, and of what the root re-exports.
fn imports(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => names.extend(first_word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, letter) in group.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        _ if start && !letter.is_whitespace() => {
                            names.extend(first_word(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

/// The sources below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    let files = entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    files
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text
        .chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect();
    (!word.is_empty()).then_some(word)
}

/// The imports that point upwards, and the modules that the list does not know.
fn faults(root: &Path, folder: &str, layers: &[&str]) -> Vec<String> {
    let mut faults = BTreeSet::new();
    let source = root.join(folder);
    for file in rust_files(&source) {
        let inner = file.strip_prefix(&source).expect("it is below the folder");
        let module = inner.iter().next().unwrap_or_default().to_string_lossy();
        let module = module.trim_end_matches(".rs");
        let tests = inner.iter().any(|part| part == "tests" || part == "tests.rs");
        if module == "lib" || module == "main" || tests {
            continue;
        }
        let Some(level) = layers.iter().position(|layer| *layer == module) else {
            faults.insert(format!("{folder}/{module} has no place among the layers"));
            continue;
        };
        let text = std::fs::read_to_string(&file).expect("a source file");
        let code = code_of(&text);
        for name in imports(&code) {
            if layers
                .iter()
                .position(|layer| *layer == name)
                .is_some_and(|other| other > level)
            {
                faults.insert(format!("{folder}/{} imports {name}", inner.display()));
            }
            // What the root re-exports may be of any module.
            if name.starts_with(char::is_uppercase) {
                faults.insert(format!(
                    "{folder}/{} imports {name} without its module",
                    inner.display()
                ));
            }
        }
    }
    faults.into_iter().collect()
}

#[test]
fn modules_import_only_what_is_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let faults: Vec<_> = LAYERS
        .iter()
        .flat_map(|(folder, layers)| faults(root, folder, layers))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn an_import_is_found_however_it_is_written() {
    let source = "use crate::ir::{Kernel, print};\nuse crate::{\n    analysis::range::{self, Range},\n    call,\n};\n\
                  fn f() -> crate::lang::Tile {} // crate::never\nfn g(_: crate::Tile) {}";
    let found: Vec<_> = imports(&code_of(source)).into_iter().collect();
    assert_eq!(found, ["Tile", "analysis", "call", "ir", "lang"]);
}

#[test]
fn only_the_tests_of_a_file_are_left_out() {
    let source = "#[cfg(test)]\nmod tests;\nuse crate::ir;\n#[cfg(test)]\nmod tests {\n    use crate::never;\n}\n\
                  use crate::call;\n";
    let found: Vec<_> = imports(&code_of(source)).into_iter().collect();
    assert_eq!(found, ["call", "ir"]);
}
