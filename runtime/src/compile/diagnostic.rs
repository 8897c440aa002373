//! The compiler's log, read back into findings.
//!
//! Generated source carries `#line` directives, so the files and lines in the log are those of the Rust source.

use std::fmt;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The compiler mentions it.
    Remark,
    /// The compiler went on.
    Warning,
    /// The compiler made no code.
    Error,
}

impl Severity {
    /// The words a log uses, the longer first where one begins with another.
    const WORDS: [(&'static str, Severity); 6] = [
        ("catastrophic error", Severity::Error),
        ("fatal error", Severity::Error),
        ("fatal", Severity::Error),
        ("error", Severity::Error),
        ("warning", Severity::Warning),
        ("remark", Severity::Remark),
    ];

    /// Reads `error: …`, `fatal   : …` or `warning #177-D: …` into the severity and the message.
    pub(super) fn split(text: &str) -> Option<(Self, &str)> {
        Self::WORDS.iter().find_map(|(word, severity)| {
            let rest = text.strip_prefix(word)?.trim_start();
            let message = match rest.strip_prefix('#') {
                Some(numbered) => numbered.split_once(':')?.1,
                None => rest.strip_prefix(':')?,
            };
            Some((*severity, message.trim()))
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Remark => "remark",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One finding of the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The source file, as the `#line` directive names it; empty where the finding is about no place in a source.
    pub file: String,
    /// The line in that file, from 1; 0 where the finding is about no place in a source.
    pub line: u32,
    /// How grave it is.
    pub severity: Severity,
    /// What the compiler says.
    pub message: String,
    /// The generated line that it is about, with the compiler's caret below it; may be empty.
    pub excerpt: Vec<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        if self.line > 0 {
            write!(f, "\n  --> {}:{}", self.file, self.line)?;
        }
        for line in &self.excerpt {
            write!(f, "\n   | {line}")?;
        }
        Ok(())
    }
}

/// Reads every finding of a log, in its order. Lines that belong to no finding are left out.
pub fn parse(log: &str) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    // Whether the lines that follow belong to the last finding: a blank line ends it.
    let mut open = false;
    for line in log.lines() {
        if let Some(diagnostic) = heading(line) {
            found.push(diagnostic);
            open = true;
        } else if line.trim().is_empty() {
            open = false;
        } else if let Some(diagnostic) = found.last_mut().filter(|_| open && line.starts_with(' ')) {
            diagnostic.excerpt.push(line.trim_end().to_owned());
        }
    }
    found.iter_mut().for_each(|diagnostic| outdent(&mut diagnostic.excerpt));
    found
}

/// Reads `src/kernel.rs(12): error: message`, or the same without a place.
fn heading(line: &str) -> Option<Diagnostic> {
    let new = |file: &str, line, (severity, message): (Severity, &str)| Diagnostic {
        file: file.to_owned(),
        line,
        severity,
        message: message.to_owned(),
        excerpt: Vec::new(),
    };
    // A path may hold `): ` itself, so each is tried until a line number stands before it and a severity after it.
    for (at, _) in line.match_indices("): ") {
        let Some((file, number)) = line[..at].rsplit_once('(') else {
            continue;
        };
        let (Ok(number), Some(rest)) = (number.parse(), Severity::split(&line[at + 3..])) else {
            continue;
        };
        return Some(new(file, number, rest));
    }
    // Of an assembler's line only the author of generated text could make anything.
    if let Some((_, severity, message)) = assembler(line) {
        return Some(new("", 0, (severity, message)));
    }
    ["nvrtc: ", ""]
        .iter()
        .find_map(|tool| Some(new("", 0, Severity::split(line.strip_prefix(tool)?)?)))
}

/// Reads `ptxas application ptx input, line 37; error   : message`, or the same without a place, whose line is 0.
pub(super) fn assembler(line: &str) -> Option<(u32, Severity, &str)> {
    let said = line.strip_prefix("ptxas ")?;
    let placed = said.match_indices(", line ").find_map(|(at, words)| {
        let (number, rest) = said[at + words.len()..].split_once(';')?;
        Some((number.parse::<u32>().ok()?, rest.trim_start()))
    });
    let (number, rest) = placed.unwrap_or((0, said));
    let (severity, message) = Severity::split(rest)?;
    Some((number, severity, message))
}

/// Removes the indentation that all lines share.
fn outdent(lines: &mut [String]) {
    let indent = |line: &String| line.len() - line.trim_start_matches(' ').len();
    let shared = lines.iter().map(indent).min().unwrap_or(0);
    lines.iter_mut().for_each(|line| {
        line.drain(..shared);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "src/my kernel.rs(12): error: identifier \"nope\" is undefined\n    out[i] = nope;\n             ^\n\n\
                       gather.cu(3): warning #177-D: variable \"x\" was declared but never referenced\n      int x;\n          ^\n\n\
                       Remark: The warnings can be suppressed with \"-diag-suppress <warning-number>\"\n\n\
                       1 error detected in the compilation of \"gather.cu\".\n";

    #[test]
    fn findings_carry_the_file_and_line_of_the_rust_source() {
        let found = parse(LOG);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert_eq!((found[0].file.as_str(), found[0].line), ("src/my kernel.rs", 12));
        assert_eq!((found[1].file.as_str(), found[1].line), ("gather.cu", 3));
        assert_eq!(
            (found[0].severity, found[1].severity),
            (Severity::Error, Severity::Warning)
        );
        assert_eq!(found[1].message, "variable \"x\" was declared but never referenced");
    }

    #[test]
    fn a_finding_reads_like_one_of_rustc() {
        assert_eq!(
            parse(LOG)[0].to_string(),
            "error: identifier \"nope\" is undefined\n  --> src/my kernel.rs:12\n   | out[i] = nope;\n   |          ^"
        );
    }

    #[test]
    fn a_file_name_with_parentheses_is_read_whole() {
        let found = parse("src/a (1): b(2).rs(7): catastrophic error: too deep\n");
        assert_eq!((found[0].file.as_str(), found[0].line), ("src/a (1): b(2).rs", 7));
        assert_eq!(found[0].to_string(), "error: too deep\n  --> src/a (1): b(2).rs:7");
    }

    #[test]
    fn what_an_assembler_says_of_a_line_of_generated_text_is_kept() {
        let found = parse("ptxas application ptx input, line 37; error   : Unknown modifier '.q32'\n");
        assert_eq!(found[0].to_string(), "error: Unknown modifier '.q32'");
    }

    #[test]
    fn a_finding_without_a_place_has_no_arrow() {
        for log in [
            "nvrtc: error: invalid value for --gpu-architecture (-arch)\n",
            "ptxas fatal   : invalid value for --gpu-architecture (-arch)\n",
            "ptxas error   : invalid value for --gpu-architecture (-arch)\n",
        ] {
            let found = parse(log);
            assert_eq!(found.len(), 1, "{log}");
            assert_eq!(
                found[0].to_string(),
                "error: invalid value for --gpu-architecture (-arch)",
                "{log}"
            );
        }
    }

    #[test]
    fn a_log_of_no_findings_gives_none() {
        assert!(parse("").is_empty());
        assert!(parse("1 error detected in the compilation of \"x.cu\".\n    indented\n").is_empty());
    }
}
