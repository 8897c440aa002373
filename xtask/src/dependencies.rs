//! What the packages bring with them: whose, under which licences, and not more than they say.

use std::collections::BTreeSet;

use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};

use crate::{
    metadata::{closure, is_published, members},
    process::{read_lines, succeeded},
    workspace::Workspace,
};

/// The strings of a list in `deny.toml`, which holds one of each name.
fn list(text: &str, name: &str) -> Vec<String> {
    let (_, rest) = text.split_once(&format!("\n{name} = [")).expect("the list");
    let (items, _) = rest.split_once(']').expect("its end");
    items.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether a licence expression is met by licences that are allowed. Lax: `/` is how `OR` was written once.
fn is_met(expression: &str, allowed: &[Licensee]) -> bool {
    Expression::parse_mode(expression, ParseMode::LAX)
        .is_ok_and(|expression| expression.evaluate(|wanted| allowed.iter().any(|licensee| licensee.satisfies(wanted))))
}

#[test]
fn every_dependency_is_of_the_registry_and_under_a_licence_that_is_allowed() {
    let workspace = Workspace::find().expect("the workspace");
    let rules = std::fs::read_to_string(workspace.path("deny.toml")).expect("deny.toml");
    let allowed: Vec<_> = list(&rules, "allow")
        .iter()
        .map(|licence| Licensee::parse(licence).expect("a licence"))
        .collect();
    assert!(!is_met("GPL-3.0-only", &allowed) && is_met("GPL-3.0-only/MIT", &allowed));
    let packages = closure(&workspace).expect("its packages");
    assert!(packages.len() > 100, "only {} packages", packages.len());
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let mut faults = Vec::new();
    for package in &packages {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        if !is_met(&licence, &allowed) {
            faults.push(format!("{name} is under `{licence}`"));
        }
        // What lies in the project has no source.
        if !(package["source"].is_null() || text(package, "source").starts_with("registry+")) {
            faults.push(format!("{name} comes from {}", text(package, "source")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_package_for_others_says_what_it_is() {
    let workspace = Workspace::find().expect("the workspace");
    let members = members(&workspace).expect("its packages");
    let published: Vec<_> = members.iter().filter(|package| is_published(package)).collect();
    assert!(published.iter().any(|package| package["name"] == "tilewright"));
    for package in published {
        for key in ["description", "license", "readme", "rust_version"] {
            assert!(package[key].is_string(), "{}: no {key}", package["name"]);
        }
        for key in ["keywords", "categories"] {
            assert_ne!(
                package[key].as_array().map_or(0, Vec::len),
                0,
                "{}: no {key}",
                package["name"]
            );
        }
        let folder = std::path::Path::new(package["manifest_path"].as_str().expect("its manifest")).parent();
        for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let path = folder.expect("its folder").join(file);
            assert!(path.is_file(), "{} is not there", path.display());
        }
    }
}

/// The packages that a dependent on the facade gets with some features.
fn brought(features: &[&str]) -> BTreeSet<String> {
    let workspace = Workspace::find().expect("the workspace");
    let mut cargo = workspace.cargo(
        &[
            "tree",
            "--locked",
            "--package=tilewright",
            "--edges=normal",
            "--prefix=none",
        ]
        .map(str::to_owned),
    );
    cargo.args(features);
    let mut names = BTreeSet::new();
    let status = read_lines(&mut cargo, |line| {
        names.extend(line.split(' ').next().map(str::to_owned))
    })
    .expect("its output");
    succeeded(&cargo, status).expect("cargo tree");
    names
}

#[test]
fn the_language_and_the_runtime_alone_bring_no_planner() {
    let alone = brought(&["--no-default-features", "--features=cuda-13000"]);
    let planner = [
        "tilewright-dp",
        "csv",
        "clap",
        "tilewright-harness",
        "tilewright-testing",
    ];
    for package in planner {
        assert!(!alone.contains(package), "{package} is among {alone:?}");
    }
    let usual = brought(&[]);
    assert!(
        usual.contains("tilewright-dp") && usual.contains("csv") && !usual.contains("clap"),
        "{usual:?}"
    );
    assert!(alone.is_subset(&usual));
}
