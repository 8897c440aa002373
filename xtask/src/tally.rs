//! Adds up what the test runners print.

use std::{collections::BTreeMap, fmt};

/// The sum of many test runs.
///
/// A test that lacks what it needs (a GPU, NVRTC) prints a line `skipped: why` and returns, which its runner counts as
/// passed. One that ran on what there is, the CPU device say, prints `ran with no …`: it did pass. With `--show-output`
/// the runner prints such lines after the tests; they are taken out of what is shown and counted here for what they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that ran and passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests that were ignored, or said they skipped.
    pub skipped: usize,
    /// Those lines, and how many tests printed each.
    pub reasons: BTreeMap<String, usize>,
    part: Part,
    /// Skips of the run that is being read, which its own summary counts as passed.
    of_this_run: usize,
    /// Its tests that another one runs, in a process of their own, and that its summary counts as ignored.
    run_by_others: usize,
}

/// What the line of a test that did not run begins with.
const SKIPPED: &str = "skipped: ";

#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Tests,
    /// The output of tests that passed, with those lines of the test it belongs to.
    Successes { told: Vec<String> },
}

impl Tally {
    /// Takes a line of a runner's output. Returns whether it is to be shown.
    pub fn line(&mut self, line: &str) -> bool {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.part = Part::Tests;
            self.passed += count(counts, "passed").saturating_sub(self.of_this_run);
            self.failed += count(counts, "failed");
            self.skipped += count(counts, "ignored").saturating_sub(self.run_by_others) + self.of_this_run;
            (self.of_this_run, self.run_by_others) = (0, 0);
            return true;
        }
        match line {
            "successes:" => self.part = Part::Successes { told: Vec::new() },
            "failures:" => self.part = Part::Tests,
            _ if line.starts_with("---- ") && self.part != Part::Tests => {
                self.part = Part::Successes { told: Vec::new() }
            }
            _ => {}
        }
        let Part::Successes { told } = &mut self.part else {
            self.run_by_others += usize::from(line.contains(" ... ignored, run by "));
            return true;
        };
        let skipped = line.starts_with(SKIPPED);
        if (skipped || line.starts_with("ran with no ")) && !told.iter().any(|known| known == line) {
            self.of_this_run += usize::from(skipped && !told.iter().any(|known| known.starts_with(SKIPPED)));
            *self.reasons.entry(line.to_owned()).or_default() += 1;
            told.push(line.to_owned());
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
running 5 tests
test a ... ok
test b ... ok
test c ... ignored
test g ... ignored, run by `a`, in an environment of its own
test f ... ok

successes:

---- a stdout ----
skipped: no GPU
skipped: no GPU
skipped: no NCCL
---- b stdout ----
hello
---- f stdout ----
ran with no GPU (none)
ran with no GPU (none)
ran with no NVRTC (none)


successes:
    a
    b
    f

test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s

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
    fn runs_are_added_up_and_what_ran_on_the_cpu_device_or_by_another_test_is_not_skipped() {
        let mut tally = Tally::default();
        for line in TWO_RUNS.lines() {
            tally.line(line);
        }
        assert_eq!(tally.to_string(), "3 passed, 1 failed, 2 skipped");
        let reasons = [
            "ran with no GPU (none)",
            "ran with no NVRTC (none)",
            "skipped: no GPU",
            "skipped: no NCCL",
        ];
        assert_eq!(tally.reasons, reasons.map(|reason| (reason.to_owned(), 1)).into());
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
