//! The errors that an author of kernels meets, with the whole text that the compiler shows.
//!
//! `TRYBUILD=overwrite cargo test -p tilewright-dsl --test compile_fail` writes the texts anew; read each of them as a
//! newcomer would.

use std::path::Path;

#[test]
fn mistakes_are_reported_on_the_authors_tokens() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

/// What only maintainers know: none of it helps an author.
const INTERNAL: [&str; 13] = [
    "Handle<",
    "Expression",
    "Recorder",
    "recorder",
    "DETACHED",
    "__private",
    "staging::",
    "Slot",
    "Dim<",
    "into_value",
    "into_operand",
    "Arena",
    "from_handle",
];

#[test]
fn messages_speak_of_nothing_internal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut messages = 0;
    for folder in [root.join("tests/ui"), root.join("../tests/compile_fail")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "stderr") {
                continue;
            }
            messages += 1;
            let text = std::fs::read_to_string(&file).unwrap();
            // Where a bound stands in the library's source is rustc's to say.
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("--> "));
            for line in lines {
                let leaked = INTERNAL.iter().find(|internal| line.contains(**internal));
                assert_eq!(leaked, None, "{}: {line}", file.display());
            }
        }
    }
    assert!(messages >= 50, "{messages} messages");
}
