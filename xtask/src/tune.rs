//! `cargo xtask tune`: measures what suits the GPU at hand, and writes it where schedules are chosen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{At, TaskError};
use crate::process;
use crate::workspace::Workspace;

const FOLDER: &str = "dsl/src/schedule/tables";

/// A number is changed for no less: geometric means of a run come back within it.
const WORTH: f64 = 0.002;
/// The most that a case may take of its time before, whatever others gain.
const WORST: f64 = 1.05;

/// Fits the tables of architectures to readings of `benches/tune.py`; to one of the GPU at hand, made now, if there are none.
pub fn run(workspace: &Workspace, readings: &[PathBuf]) -> Result<(), TaskError> {
    let own = [workspace.path("target/tuning.jsonl")];
    let readings = match readings {
        [] => {
            measure(workspace, &own[0])?;
            &own
        }
        given => given,
    };
    let mut cases = BTreeMap::<u32, Vec<Case>>::new();
    for file in readings {
        let text = fs::read_to_string(file).at(file)?;
        for (line, case) in (1..).zip(text.lines().map(Case::parse)) {
            let wrong = |reason| TaskError::Reading {
                path: file.into(),
                line,
                reason,
            };
            if let Some(case) = case.map_err(wrong)? {
                cases.entry(case.architecture).or_default().push(case);
            }
        }
    }
    for (architecture, cases) in &cases {
        let (tuning, changes) = fit(cases);
        println!("sm_{architecture}: {} cases", cases.len());
        changes.iter().for_each(|change| println!("  {change}"));
        let file = workspace.path(FOLDER).join(format!("sm_{architecture}.rs"));
        fs::write(&file, table(*architecture, &tuning)).at(&file)?;
    }
    list(&workspace.path(FOLDER))
}

fn measure(workspace: &Workspace, out: &Path) -> Result<(), TaskError> {
    let build = ["build", "--release", "-p", "tilewright-benches"];
    process::run(&mut workspace.cargo(&build.map(str::to_owned)))?;
    let mut script = workspace.command(
        "python3",
        &["benches/tune.py", "--ours", "target/release/libmovement.so"],
    );
    process::run(script.arg("--out").arg(out))
}

/// What `benches/tune.py` says of a case.
#[derive(Debug, Deserialize)]
struct Case {
    op: String,
    columns: u64,
    rows: u64,
    architecture: u32,
    tuning: BTreeMap<String, Value>,
    us: f64,
    others: Vec<Other>,
}

/// What it takes with a tuning that differs in a number.
#[derive(Debug, Deserialize)]
struct Other {
    axis: String,
    value: Value,
    us: f64,
}

impl Case {
    /// `None` of lines about something else.
    fn parse(line: &str) -> Result<Option<Self>, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if value["kind"] != "tuning" {
            return Ok(None);
        }
        let case: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let times = case.others.iter().map(|other| other.us).chain([case.us]);
        match times.into_iter().all(|us| us.is_finite() && us > 0.0) {
            true => Ok(Some(case)),
            false => Err("a time is not above 0".to_owned()),
        }
    }
}

/// The tuning that cases were measured beside, with each number that another value suits better; and what was changed.
fn fit(cases: &[Case]) -> (BTreeMap<String, Value>, Vec<String>) {
    let mut tuning = cases.first().map(|case| case.tuning.clone()).unwrap_or_default();
    // By axis and value: the sum of the logarithms, and the worst case.
    let mut values = BTreeMap::<(&str, String), (&Value, f64, f64, &Case)>::new();
    for case in cases {
        for Other { axis, value, us } in &case.others {
            let ratio = us / case.us;
            let found = values
                .entry((axis, value.to_string()))
                .or_insert((value, 0.0, f64::MIN, case));
            found.1 += ratio.ln();
            if ratio > found.2 {
                (found.2, found.3) = (ratio, case);
            }
        }
    }
    let mut best = BTreeMap::<&str, (&Value, f64)>::new();
    let mut told = Vec::new();
    for ((axis, text), (value, logarithms, worst, case)) in &values {
        let mean = (logarithms / cases.len() as f64).exp();
        told.push(format!(
            "{axis} = {text}: {mean:.4} of the time, at worst {worst:.2} ({} of {} rows of {})",
            case.op, case.rows, case.columns
        ));
        let is_better = mean < 1.0 - WORTH && *worst <= WORST;
        if is_better && best.get(axis).is_none_or(|(_, least)| mean < *least) {
            best.insert(axis, (value, mean));
        }
    }
    for (axis, (value, mean)) in best {
        told.push(format!("{axis} becomes {value}, for {mean:.4} of the time"));
        tuning.insert(axis.to_owned(), value.clone());
    }
    (tuning, told)
}

/// The file of an architecture.
fn table(architecture: u32, tuning: &BTreeMap<String, Value>) -> String {
    let mut text = format!(
        "//! What was measured of `sm_{architecture}`. `cargo xtask tune` writes this file.\n\n\
         use crate::schedule::{{LoadHint, StoreHint, Tuning}};\n\n\
         pub(super) const TUNING: Tuning = Tuning {{\n"
    );
    for (name, value) in tuning {
        let value = match (name.as_str(), value) {
            ("load", Value::String(hint)) => format!("LoadHint::{hint}"),
            ("store", Value::String(hint)) => format!("StoreHint::{hint}"),
            (_, Value::String(number)) => number.clone(),
            (_, number) => number.to_string(),
        };
        let _ = writeln!(text, "    {name}: {value},");
    }
    text + "};\n"
}

/// Lists the files of a folder as what is known.
fn list(folder: &Path) -> Result<(), TaskError> {
    let mut known = Vec::new();
    for entry in fs::read_dir(folder).at(folder)? {
        let name = entry.at(folder)?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("sm_")?.strip_suffix(".rs"));
        known.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    known.sort_unstable();
    let modules: String = known.iter().map(|number| format!("mod sm_{number};\n")).collect();
    let entries: Vec<_> = known
        .iter()
        .map(|number| format!("({number}, sm_{number}::TUNING)"))
        .collect();
    let text = format!(
        "//! What was measured, by architecture. `cargo xtask tune` writes this file and those beside it.\n\n\
         {modules}\nuse super::Tuning;\n\n\
         pub(super) const TABLES: &[(u32, Tuning)] = &[{}];\n",
        entries.join(", ")
    );
    let file = folder.join("mod.rs");
    fs::write(&file, text).at(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(others: &str) -> Case {
        let text = format!(
            r#"{{"kind": "tuning", "op": "gather", "columns": 131, "rows": 8, "architecture": 90, "us": 2.0,
                "tuning": {{"brief": 248, "load": "Streaming"}}, "others": [{others}]}}"#
        );
        Case::parse(&text.replace('\n', " "))
            .expect("it is one")
            .expect("of a case")
    }

    #[test]
    fn a_number_is_changed_where_another_is_better_and_no_case_pays_for_it() {
        let cases = [
            case(r#"{"axis": "brief", "value": "124", "us": 1.0}, {"axis": "brief", "value": "496", "us": 1.8}"#),
            case(r#"{"axis": "brief", "value": "124", "us": 2.2}, {"axis": "load", "value": "Cached", "us": 1.999}"#),
        ];
        let (tuning, told) = fit(&cases);
        assert_eq!(tuning["brief"], "496", "124 costs the second case a tenth");
        assert_eq!(tuning["load"], "Streaming", "that is noise");
        assert_eq!(told.len(), 4);
        let text = table(90, &tuning);
        assert!(
            text.contains("    brief: 496,\n    load: LoadHint::Streaming,\n"),
            "{text}"
        );
    }

    #[test]
    fn lines_about_something_else_are_passed_over_and_broken_ones_are_not() {
        assert!(Case::parse(r#"{"kind": "machine"}"#).expect("it is fine").is_none());
        assert!(Case::parse(r#"{"kind": "tuning"}"#).is_err());
        assert!(Case::parse("{").is_err());
    }

    #[test]
    fn the_tables_that_stand_are_what_would_be_written() {
        let workspace = Workspace::find().expect("the project");
        let folder = workspace.path(FOLDER);
        let before = fs::read_to_string(folder.join("mod.rs")).expect("a file");
        let copy = tempfile::tempdir().expect("a folder");
        for entry in fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
        }
        list(copy.path()).expect("it is written");
        assert_eq!(fs::read_to_string(copy.path().join("mod.rs")).expect("a file"), before);
    }
}
