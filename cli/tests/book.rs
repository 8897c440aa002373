//! What the book says the command prints is what it prints.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tilewright::dp::draw;
use tilewright::dp::layout::{GatheredLayout, HiddenState, PaddingMode};

/// A command of the book, and what stands below it.
struct Shown {
    page: String,
    arguments: Vec<String>,
    lines: Vec<String>,
}

fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The commands in blocks of consoles that have lines below them. Those without are for the reader's machine.
fn shown() -> Vec<Shown> {
    let mut found = Vec::<Shown>::new();
    for entry in fs::read_dir(repository().join("book/src")).expect("the book") {
        let page = entry.expect("an entry").path();
        if page.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&page).expect("a page");
        for block in text.split("```console\n").skip(1) {
            let block = block.split("\n```").next().expect("a block");
            let mut is_ours = false;
            for line in block.lines() {
                if let Some(command) = line.strip_prefix("$ ") {
                    let arguments = command.strip_prefix("tilewright ");
                    is_ours = arguments.is_some();
                    found.extend(arguments.map(|arguments| Shown {
                        page: page.display().to_string(),
                        arguments: arguments.split_whitespace().map(str::to_owned).collect(),
                        lines: Vec::new(),
                    }));
                } else if is_ours {
                    found
                        .last_mut()
                        .expect("a command")
                        .lines
                        .push(line.trim_end().to_owned());
                }
            }
        }
    }
    found.retain(|shown| !shown.lines.is_empty());
    found
}

/// Whether lines are those expected, where `…` stands for any number of lines.
fn fits(expected: &[String], lines: &[&str]) -> bool {
    match expected {
        [] => lines.is_empty(),
        [first, rest @ ..] if first == "…" => (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..])),
        [first, rest @ ..] => lines.first() == Some(&first.as_str()) && fits(rest, &lines[1..]),
    }
}

#[test]
fn what_the_book_shows_is_what_the_command_prints() {
    let all = shown();
    assert!(all.len() > 3, "the book shows {} commands", all.len());
    for Shown { page, arguments, lines } in all {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tilewright"));
        command.args(&arguments).current_dir(repository());
        // The same on every machine: no compiler.
        command.env("TILEWRIGHT_NVRTC", "/no/such/library");
        let output = command.output().expect("the command");
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).expect("text");
        let found: Vec<_> = printed.lines().map(str::trim_end).collect();
        assert!(
            fits(&lines, &found),
            "{page}: `tilewright {}` prints\n{printed}\nand the book has\n{}",
            arguments.join(" "),
            lines.join("\n")
        );
    }
}

#[test]
fn the_pictures_are_what_is_drawn() {
    let picture = |name: &str| fs::read_to_string(repository().join("docs").join(name)).expect("a picture");
    for (mode, name) in [
        (PaddingMode::Max, "buffer-max.svg"),
        (PaddingMode::Sum, "buffer-sum.svg"),
    ] {
        let layout = GatheredLayout::new(mode, &[20, 0, 7, 31], 1, HiddenState::bf16(7168)).expect("a layout");
        assert!(draw::svg(&layout) == picture(name), "docs/{name} is another picture");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("split-step.svg");
    let split = [
        "--raw",
        "196,124,0,9",
        "--attn-tp",
        "4",
        "--extend",
        "--micro",
        "tbo",
        "--prompts",
        "100,96;64,60;;9",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_tilewright"));
    let output = command
        .arg("plan")
        .args(split)
        .arg("--svg")
        .arg(&file)
        .output()
        .expect("the command");
    assert!(output.status.success(), "{output:?}");
    let drawn = fs::read_to_string(file).expect("a picture");
    assert!(
        drawn == picture("split-step.svg"),
        "docs/split-step.svg is another picture"
    );
}

#[test]
fn an_ellipsis_stands_for_any_number_of_lines() {
    let expected = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let lines = ["a", "b", "c"];
    assert!(fits(&expected(&["…", "c"]), &lines) && fits(&expected(&["a", "b", "c", "…"]), &lines));
    assert!(!fits(&expected(&["…", "b"]), &lines) && !fits(&expected(&["a", "c"]), &lines));
}
