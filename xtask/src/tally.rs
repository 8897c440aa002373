//! Adds up what the test runners print.

use std::{collections::BTreeMap, fmt};

/// The sum of many test runs.
///
/// A test that lacks what it needs (a GPU, NVRTC) prints a line `skipped: why` and returns, which its runner counts as
/// passed. With `--show-output` the runner prints such lines after the tests; they are taken out of what is shown and
/// counted here for what they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that ran and passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests that were ignored, or said they skipped.
    pub skipped: usize,
    /// Why tests skipped, and how many.
    pub reasons: BTreeMap<String, usize>,
    part: Part,
    /// Skips of the run that is being read, which its own summary counts as passed.
    of_this_run: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Tests,
    /// The output of tests that passed. `counted`: the test it belongs to is known as skipped.
    Successes { counted: bool },
}

impl Tally {
    /// Takes a line of a runner's output. Returns whether it is to be shown.
    pub fn line(&mut self, line: &str) -> bool {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.part = Part::Tests;
            self.passed += count(counts, "passed").saturating_sub(self.of_this_run);
            self.failed += count(counts, "failed");
            self.skipped += count(counts, "ignored") + self.of_this_run;
            self.of_this_run = 0;
            return true;
        }
        match line {
            "successes:" => self.part = Part::Successes { counted: false },
            "failures:" => self.part = Part::Tests,
            _ if line.starts_with("---- ") && self.part != Part::Tests => {
                self.part = Part::Successes { counted: false }
            }
            _ => {}
        }
        let Part::Successes { counted } = &mut self.part else {
            return true;
        };
        if let Some(reason) = line.strip_prefix("skipped: ").filter(|_| !*counted) {
            *counted = true;
            self.of_this_run += 1;
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
        }
        false
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The number before a word: of `ok. 3 passed; 0 failed` and `passed`, 3.
pub fn count(counts: &str, word: &str) -> usize {
    let words: Vec<_> = counts.split_whitespace().collect();
    let pair = words.windows(2).find(|pair| pair[1].trim_end_matches(';') == word);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_RUNS: &str = "
running 4 tests
test a ... ok
test b ... ok
test c ... ignored

successes:

---- a stdout ----
skipped: no GPU
skipped: no GPU
---- b stdout ----
hello


successes:
    a
    b

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

running 2 tests
test d ... ok
test e ... FAILED

successes:

successes:
    d

failures:

---- e stdout ----
skipped: not by this one

failures:
    e

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s";

    #[test]
    fn runs_are_added_up_and_a_skip_is_not_a_pass() {
        let mut tally = Tally::default();
        for line in TWO_RUNS.lines() {
            tally.line(line);
        }
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 2 skipped");
        assert_eq!(tally.reasons, BTreeMap::from([("no GPU".to_owned(), 1)]));
    }

    #[test]
    fn what_passing_tests_print_is_hidden_and_what_failing_tests_print_is_shown() {
        let mut tally = Tally::default();
        let shown: Vec<_> = TWO_RUNS.lines().filter(|line| tally.line(line)).collect();
        assert!(
            !shown.contains(&"hello") && !shown.contains(&"skipped: no GPU"),
            "{shown:?}"
        );
        assert!(
            shown.contains(&"---- e stdout ----") && shown.contains(&"skipped: not by this one"),
            "{shown:?}"
        );
    }
}
