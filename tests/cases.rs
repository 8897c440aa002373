//! The table of cases in `README.md` names tests that exist, and that of `ARCHITECTURE.md` every part of the crates.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The cases of the table. Numbers between them were never given, or are shown elsewhere.
const CASES: [u32; 69] = [
    17, 18, 19, 20, 21, 22, 23, 24, 27, 28, 29, 31, 32, 35, 36, 37, 38, 40, 41, 43, 45, 46, 47, 49, 50, 51, 52, 53, 54,
    55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83,
    84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 95,
];

/// The numbers that a cell of the table lists: `17, 18` or `51 to 53`.
fn numbers(cell: &str) -> Vec<u32> {
    let parse = |number: &str| number.trim().parse::<u32>().expect("a number");
    match cell.split_once(" to ") {
        Some((first, last)) => (parse(first)..=parse(last)).collect(),
        None => cell.split(',').map(parse).collect(),
    }
}

#[test]
fn every_case_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("tests/README.md")).expect("the table");
    let mut files = BTreeMap::new();
    let mut cases = Vec::new();
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| case"));
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [case, _, tests] = cells[..] else {
            panic!("not three cells: {row}");
        };
        cases.extend(numbers(case));
        // A file in backticks, then the tests in it.
        let (mut text, mut found) = (None, 0);
        for name in tests.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                let read = || fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
                text = Some(&*files.entry(name).or_insert_with(read));
                continue;
            }
            let text = text.unwrap_or_else(|| panic!("{name} stands in no file: {row}"));
            // A function, or what a macro makes one of.
            let exists = [format!("fn {name}("), format!("    {name}: ")]
                .iter()
                .any(|form| text.contains(form));
            assert!(exists, "there is no test {name}: {row}");
            found += 1;
        }
        assert!(found > 0, "no test: {row}");
    }
    cases.dedup();
    assert_eq!(cases, CASES);
}

/// The crates whose parts the table of `ARCHITECTURE.md` lists.
const CRATES: [&str; 3] = ["dsl", "runtime", "dp"];

#[test]
fn the_architecture_names_what_exists_and_leaves_no_part_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the text");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let place = |row: &str| row.split('|').nth(1).expect("a first cell").trim().to_owned();
    for row in &rows {
        // `dp/src/plan`, or several folders of which the first says where the others are.
        let mut folder = root.to_owned();
        for name in place(row).split('`').skip(1).step_by(2) {
            let path = [root.join(name), folder.join(name)]
                .into_iter()
                .find(|path| path.exists());
            let path = path.unwrap_or_else(|| panic!("there is no {name}: {row}"));
            folder = path.parent().expect("a folder").to_owned();
        }
    }
    for name in CRATES {
        let of_crate = |row: &&&str| place(row).starts_with(&format!("`{name}/"));
        let told: String = rows.iter().filter(of_crate).copied().collect();
        for entry in fs::read_dir(root.join(name).join("src")).expect("the sources") {
            let part = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            let told = [format!("/{part}`"), format!("`{part}`"), format!("`{part}/`")]
                .iter()
                .any(|form| told.contains(form));
            assert!(told || part == "lib.rs", "{name}/src/{part} is in no row");
        }
    }
}
