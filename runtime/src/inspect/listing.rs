//! Texts of a kernel, with the lines of the author's that theirs come from.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::{env, fs};

use serde::Serialize;
use tilewright_dsl::backend::ptx;
use tilewright_dsl::ir::Span;

/// Lines of the author's around those that something comes from.
const AROUND: usize = 2;

/// A longer file is not looked at.
const MOST_BYTES: u64 = 8 << 20;

/// A line of one of the author's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The position of its file among the [sources](super::Inspection::sources).
    pub source: usize,
    /// The line, from 1.
    pub line: u32,
}

/// A line of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The line itself.
    pub text: String,
    /// The line of the author's that it comes from.
    pub at: Option<Place>,
}

/// A part of a file of the author's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The file as rustc names it.
    pub file: String,
    /// The number of the first line, from 1.
    pub first: u32,
    /// The lines; none if the file was not found.
    pub lines: Vec<String>,
}

/// The author's files, by their names, and the lines that something comes from.
#[derive(Default)]
pub(super) struct Sources {
    files: Vec<String>,
    by_name: HashMap<String, usize>,
    used: BTreeSet<Place>,
}

impl Sources {
    /// The place of a span.
    pub fn place(&mut self, span: Span) -> Option<Place> {
        span.is_known().then(|| self.line(span.file, span.line))
    }

    fn line(&mut self, file: &str, line: u32) -> Place {
        let name = file.replace('\\', "/");
        let files = &mut self.files;
        let source = *self.by_name.entry(name.clone()).or_insert_with(|| {
            files.push(name);
            files.len() - 1
        });
        let place = Place { source, line };
        self.used.insert(place);
        place
    }

    /// The place of a line in a file that a tool names: with folders before it, perhaps. Files of nobody here have none.
    fn told(&mut self, file: &str, line: u32) -> Option<Place> {
        let file = file.replace('\\', "/");
        let is_it = |known: &&String| {
            file.strip_suffix(known.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        let known = self.files.iter().filter(is_it).max_by_key(|known| known.len())?.clone();
        // No tool knows lines that the author's kernel is not in.
        let place = Place {
            source: self.by_name[&known],
            line,
        };
        self.used.contains(&place).then_some(place)
    }

    /// What the author wrote, from the texts that are given by name or from files below the current folder or those above it.
    pub fn read(&self, given: &[(String, String)]) -> Vec<Source> {
        let read = |(source, file): (usize, &String)| {
            let of_file = || self.used.iter().filter(move |place| place.source == source);
            let given = given.iter().find(|(name, _)| Path::new(file).ends_with(name));
            let text = given.map(|(_, text)| text.clone()).or_else(|| find(file));
            let first = of_file().map(|place| place.line).min().unwrap_or(1);
            let last = of_file().map(|place| place.line).max().unwrap_or(1);
            let (first, lines) = text.map_or((first, Vec::new()), |text| part(&text, first, last));
            Source {
                file: file.clone(),
                first,
                lines,
            }
        };
        self.files.iter().enumerate().map(read).collect()
    }
}

/// The text of a file as rustc names it: from where it was called, which was the current folder or one above it.
fn find(file: &str) -> Option<String> {
    let here = env::current_dir().ok()?;
    let mut files = here.ancestors().map(|folder| folder.join(file));
    let found = files.find(|file| file.is_file())?;
    read(&found)
}

fn read(file: &Path) -> Option<String> {
    let length = fs::metadata(file).ok()?.len();
    (length <= MOST_BYTES).then(|| fs::read_to_string(file).ok()).flatten()
}

/// The functions around some lines: from the attributes before them to the brace that closes the last.
fn part(text: &str, first: u32, last: u32) -> (u32, Vec<String>) {
    let lines: Vec<&str> = text.lines().collect();
    let (mut first, mut last) = (first.saturating_sub(1) as usize, last as usize);
    if first >= lines.len() {
        return (1, Vec::new());
    }
    let is_head = |line: &str| line.trim_start().starts_with("#[");
    // From within a function to its first line.
    let begins = |line: &str| line.split_whitespace().any(|word| word == "fn");
    if let Some(own) = lines[..=first].iter().rposition(|line| begins(line)) {
        first = own;
    }
    while first > 0 && is_head(lines[first - 1]) {
        first -= 1;
    }
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(lines[first]);
    let closes = |line: &&str| line.trim() == "}" && indent(line) <= own;
    last = last.clamp(first + 1, lines.len());
    if !closes(&lines[last - 1]) {
        let close = lines[last..].iter().position(closes);
        last = close.map_or(last + AROUND, |close| last + close + 1).min(lines.len());
    }
    let lines = lines[first..last].iter().map(|line| (*line).to_owned()).collect();
    (first as u32 + 1, lines)
}

/// A text that says of each line where it comes from behind it: `// src/gather.rs:7:20`.
pub(super) fn tile_ir(text: &str, sources: &mut Sources) -> Vec<Line> {
    let line = |line: &str| {
        let told = line.rsplit_once("  // ").and_then(|(code, told)| {
            let (file, line) = told.rsplit_once(':')?.0.rsplit_once(':')?;
            Some((code.to_owned(), sources.line(file, line.parse().ok()?)))
        });
        match told {
            Some((text, place)) => Line { text, at: Some(place) },
            None => Line {
                text: line.trim_end_matches("  // <unknown>").to_owned(),
                at: None,
            },
        }
    };
    text.lines().map(line).collect()
}

/// A text in which lines of their own say where what follows comes from.
fn marked(text: &str, mut mark: impl FnMut(&str) -> Option<Option<Place>>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut at = None;
    for line in text.lines() {
        match mark(line) {
            Some(place) => at = place,
            None => lines.push(Line {
                text: line.to_owned(),
                at,
            }),
        }
    }
    lines
}

/// A text with lines such as `@ src/gather.rs:7`.
pub(super) fn thread_ir(text: &str, sources: &mut Sources) -> Vec<Line> {
    marked(text, |line| {
        let (file, line) = line.strip_prefix("@ ")?.rsplit_once(':')?;
        Some(Some(sources.line(file, line.parse().ok()?)))
    })
}

/// CUDA C++, with `#line`.
pub(super) fn cuda(text: &str, sources: &mut Sources) -> Vec<Line> {
    let mut at = None;
    marked(text, |line| {
        // A line without a file is the same again, for the compiler to count from.
        if let Some((line, file)) = line.strip_prefix("#line ")?.split_once(' ') {
            at = sources.told(file.trim_matches('"'), line.parse().ok()?);
        }
        Some(at)
    })
}

/// The PTX of this project.
pub(super) fn own_ptx(text: &ptx::Text, sources: &mut Sources) -> Vec<Line> {
    let numbered = (1..).zip(text.text.lines());
    let own = numbered.filter(|(_, line)| !line.starts_with("\t.loc\t"));
    own.map(|(number, line)| Line {
        text: line.to_owned(),
        at: text.span(number).and_then(|span| sources.place(span)),
    })
    .collect()
}

/// PTX of other compilers, with `.loc`, and `.file` behind all of them.
pub(super) fn other_ptx(text: &str, sources: &mut Sources) -> Vec<Line> {
    let file = |line: &str| {
        let (number, file) = line
            .trim()
            .strip_prefix(".file")?
            .trim()
            .split_once(char::is_whitespace)?;
        let file = file.trim().split('"').nth(1)?;
        Some((number.parse::<u32>().ok()?, file.to_owned()))
    };
    let files: HashMap<u32, String> = text.lines().filter_map(file).collect();
    marked(text, |line| {
        let mut words = line.trim().strip_prefix(".loc")?.split_whitespace();
        let (file, line) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(files.get(&file).and_then(|file| sources.told(file, line)))
    })
}

/// What `nvdisasm` prints of a cubin with lines.
pub(super) fn sass(text: &str, sources: &mut Sources) -> Vec<Line> {
    let code = text.lines().skip_while(|line| !line.trim_start().starts_with(".text."));
    let code = code.take_while(|line| !line.starts_with("//-----"));
    // What the section is filled up with is never run.
    let code: Vec<&str> = code.collect();
    let used = code
        .iter()
        .rposition(|line| line.contains("/*") && !line.contains(" NOP"));
    let code = code[..used.map_or(code.len(), |last| last + 1)].join("\n");
    marked(&code, |line| {
        let told = line.trim().strip_prefix("//## File \"")?;
        let (file, line) = told.split_once("\", line ")?;
        let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
        Some(sources.told(file, digits.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Sources {
        let mut sources = Sources::default();
        for line in [3, 4] {
            sources.line("src/gather.rs", line);
        }
        sources
    }

    #[test]
    fn a_line_is_known_by_whatever_folders_a_tool_puts_before_its_file() {
        let mut sources = sources();
        let place = Some(Place { source: 0, line: 3 });
        assert_eq!(sources.told("src/gather.rs", 3), place);
        assert_eq!(sources.told("/home/a/src/gather.rs", 3), place);
        assert_eq!(sources.told("C:\\a\\src\\gather.rs", 3), place);
        assert_eq!(sources.told("other_src/gather.rs", 3), None);
        assert_eq!(sources.told("src/gather.rs", 9), None, "nothing of the kernel is there");
    }

    #[test]
    fn marks_are_taken_out_of_texts_and_kept_beside_them() {
        let at = |line| Some(Place { source: 0, line });
        let line = |text: &str, at| Line {
            text: text.to_owned(),
            at,
        };
        let mut all = sources();
        let text = "kernel k(\n    %0 = 1  // src/gather.rs:3:7\n    %1 = 2  // <unknown>\n";
        let expected = [
            line("kernel k(", None),
            line("    %0 = 1", at(3)),
            line("    %1 = 2", None),
        ];
        assert_eq!(tile_ir(text, &mut all), expected);
        let expected = [line("a", None), line("b", at(3)), line("c", at(4))];
        assert_eq!(
            thread_ir("a\n@ src/gather.rs:3\nb\n@ src/gather.rs:4\nc", &mut all),
            expected
        );
        let text = "a\n#line 3 \"src/gather.rs\"\nb\n#line 4 \"src/gather.rs\"\nc";
        assert_eq!(cuda(text, &mut all), expected);
        let text = text.replace("\nb", "\nb\n#line 3\nb");
        let twice = [&expected[..2], &expected[1..]].concat();
        assert_eq!(cuda(&text, &mut all), twice);
        let text = "a\n\t.loc\t2 3 5\nb\n\t.loc 2 4 1\nc\n\t.file\t2 \"/x/src/gather.rs\"";
        let found = other_ptx(text, &mut all);
        assert_eq!(found[..3], expected);
        let text = "head\n.text.k:\n\t//## File \"/x/src/gather.rs\", line 3\n/*0*/ b ;\n/*1*/ NOP;\n//-----\ntail";
        let found = sass(text, &mut all);
        assert_eq!(found, [line(".text.k:", None), line("/*0*/ b ;", at(3))]);
    }

    #[test]
    fn of_a_file_the_whole_function_is_shown_that_lines_are_of() {
        let text =
            "use x;\n\n/// Doc.\n#[kernel]\npub fn k() {\n    a;\n    if b {\n        c;\n    }\n}\n\nfn other() {}\n";
        for (first, last) in [(5, 8), (5, 5), (4, 9)] {
            let (at, lines) = part(text, first, last);
            assert_eq!((at, lines.len()), (4, 7), "{lines:?}");
        }
        assert_eq!(part("one", 1, 9), (1, vec!["one".to_owned()]));
        assert_eq!(part("one", 7, 9), (1, Vec::new()));
    }
}
