use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::wheel::entries;

const SUMMARY: &str = "SUMMARY.md";

/// A page, and the summary.
struct Page {
    name: String,
    text: String,
}

/// A fenced block: what stands behind its fence, and its lines.
struct Block<'a> {
    language: &'a str,
    lines: Vec<&'a str>,
}

fn folder() -> PathBuf {
    Workspace::find().expect("the workspace").path("book/src")
}

fn pages() -> Vec<Page> {
    let files = entries(&folder()).expect("the book").into_iter();
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    let page = |file: PathBuf| Page {
        name: file.file_name().expect("a name").to_string_lossy().into_owned(),
        text: fs::read_to_string(&file).expect("a page"),
    };
    files.map(page).collect()
}

impl Page {
    /// The lines outside of fenced blocks, and the blocks.
    fn parts(&self) -> (Vec<&str>, Vec<Block<'_>>) {
        let (mut lines, mut blocks) = (Vec::new(), Vec::<Block>::new());
        let mut is_open = false;
        for line in self.text.lines() {
            match line.strip_prefix("```") {
                Some(language) if !is_open => blocks.push(Block {
                    language,
                    lines: Vec::new(),
                }),
                None if is_open => blocks.last_mut().expect("a block").lines.push(line),
                None => lines.push(line),
                Some(_) => {}
            }
            is_open ^= line.starts_with("```");
        }
        assert!(!is_open, "{}: a block without an end", self.name);
        (lines, blocks)
    }

    /// What links that are not addresses lead to.
    fn links(&self) -> Vec<&str> {
        let (lines, _) = self.parts();
        // Every second piece between backticks is code.
        let words = lines.into_iter().flat_map(|line| line.split('`').step_by(2));
        let links = words.flat_map(|words| words.split("](").skip(1));
        let targets = links.filter_map(|link| link.split(')').next());
        targets.filter(|target| !target.contains("://")).collect()
    }

    /// The names that links to its headings have.
    fn anchors(&self) -> BTreeSet<String> {
        let (lines, _) = self.parts();
        let headings = lines.into_iter().filter(|line| line.starts_with('#'));
        headings
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect()
    }

    /// What `{{#include …}}` names: a file, and its part if one is named.
    fn includes(&self) -> Vec<(&str, Option<&str>)> {
        let named = self.text.split("{{#include ").skip(1);
        let named = named.map(|rest| rest.split("}}").next().expect("a name").trim());
        let parts = named.map(|name| match name.split_once(':') {
            Some((file, part)) => (file, Some(part)),
            None => (name, None),
        });
        parts.collect()
    }
}

/// As mdBook names a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|letter| match letter {
        _ if letter.is_alphanumeric() => Some(letter.to_ascii_lowercase()),
        '_' | '-' => Some(letter),
        _ if letter.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

#[test]
fn every_page_is_in_the_summary_and_its_listings_are_run() {
    let pages = pages();
    let summary = pages.iter().find(|page| page.name == SUMMARY).expect("a summary");
    let listed: Vec<_> = summary.links();
    let there: BTreeSet<_> = pages
        .iter()
        .map(|page| page.name.as_str())
        .filter(|name| *name != SUMMARY)
        .collect();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), there);
    assert_eq!(listed.len(), there.len(), "a page is listed twice");
    let run = fs::read_to_string(folder().join("../listings.rs")).expect("the listings");
    for page in there {
        assert!(
            run.contains(&format!("\"src/{page}\"")),
            "book/listings.rs does not run {page}"
        );
    }
}

#[test]
fn every_link_leads_to_a_page_and_to_a_heading_of_it() {
    let pages = pages();
    let anchors: BTreeMap<_, _> = pages.iter().map(|page| (page.name.as_str(), page.anchors())).collect();
    for page in &pages {
        for link in page.links() {
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { page.name.as_str() } else { target };
            let Some(there) = anchors.get(target) else {
                panic!("{}: there is no page {target}", page.name);
            };
            assert!(
                heading.is_empty() || there.contains(heading),
                "{}: {target} has no heading #{heading}, but {there:?}",
                page.name
            );
        }
    }
}

#[test]
fn every_link_of_the_readme_leads_to_a_file() {
    let workspace = Workspace::find().expect("the workspace");
    let page = Page {
        name: "README.md".to_owned(),
        text: fs::read_to_string(workspace.path("README.md")).expect("the page"),
    };
    let links = page.links();
    assert!(links.len() > 20);
    for link in links {
        assert!(workspace.path(link).exists(), "there is no {link}");
    }
}

#[test]
fn every_included_part_is_there_and_has_an_end() {
    for page in pages() {
        for (file, part) in page.includes() {
            let path = folder().join(file);
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {file}: {error}", page.name));
            let Some(part) = part else { continue };
            for mark in ["ANCHOR", "ANCHOR_END"] {
                let of_line =
                    |line: &str| Some(line.split_once(&format!("{mark}: "))?.1.split_whitespace().next()? == part);
                let marks = text.lines().filter(|line| of_line(line) == Some(true)).count();
                assert_eq!(marks, 1, "{}: `{mark}: {part}` in {file}", page.name);
            }
        }
    }
}

/// `rust` blocks are run as they stand, `rs` blocks are parts of files that are.
#[test]
fn every_rust_listing_is_run() {
    // Which of the workspace's files are compiled and run by its tests: examples, tests, and what crates are made of.
    let is_run = |file: &str| {
        let file = Path::new(file.trim_start_matches("../"));
        let first = file
            .components()
            .next()
            .map(|part| part.as_os_str().to_string_lossy().into_owned());
        first.is_some_and(|first| ["examples", "tests", "dp", "cli"].contains(&first.as_str()))
    };
    for page in pages() {
        for Block { language, lines } in page.parts().1 {
            let name = &page.name;
            match language {
                "rust" | "rust,should_panic" | "rust,compile_fail" => assert!(
                    lines.iter().all(|line| !line.contains("{{#")),
                    "{name}: a listing that is run cannot include files"
                ),
                "rs" => {
                    let [line] = lines[..] else {
                        panic!("{name}: an `rs` listing is one include: {lines:?}")
                    };
                    let file = line
                        .strip_prefix("{{#include ")
                        .and_then(|rest| rest.split([':', '}']).next());
                    assert!(
                        file.is_some_and(is_run),
                        "{name}: {line} is no part of a file that is run"
                    );
                }
                "console" | "json" | "python" | "text" | "toml" => {}
                _ => panic!("{name}: a block of `{language}`: Rust is `rust`, or `rs` where it is included"),
            }
        }
    }
}

/// The tables of the errors begin each line with what a message says; `…` stands for what differs. It is in the text of a
/// message, or a listing that is run compares it.
#[test]
fn every_message_that_is_explained_is_one() {
    let mut sources = String::new();
    for crate_folder in ["macros", "dsl", "runtime", "dp"] {
        let root = Workspace::find().expect("the workspace").path(crate_folder).join("src");
        read_all(&root, &mut sources);
    }
    for page in pages() {
        let listings = page.parts().1.into_iter().filter(|block| block.language == "rust");
        listings
            .flat_map(|block| block.lines)
            .for_each(|line| sources.push_str(line));
    }
    let errors = fs::read_to_string(folder().join("errors.md")).expect("the page");
    let rows = errors
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let mut explained = 0;
    for message in rows.filter(|message| *message != "it says") {
        let parts = message
            .split('…')
            .map(|part| part.trim_matches(|letter| " `,".contains(letter)));
        for part in parts.filter(|part| part.len() > 3) {
            assert!(
                sources.contains(part),
                "no message of the project has `{part}`, of `{message}`"
            );
            explained += 1;
        }
    }
    assert!(explained > 20);
}

/// Appends all Rust below a folder, strings over several lines as one.
fn read_all(folder: &Path, sources: &mut String) {
    for entry in entries(folder).expect("a folder") {
        if entry.is_dir() {
            read_all(&entry, sources);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&entry).expect("a file");
            let mut pieces = text.split("\\\n");
            sources.push_str(pieces.next().unwrap_or_default());
            pieces.for_each(|piece| sources.push_str(piece.trim_start()));
        }
    }
}

#[test]
fn headings_are_named_as_mdbook_does() {
    assert_eq!(
        anchor("What `Exact` buys, and what not"),
        "what-exact-buys-and-what-not"
    );
}
