//! `cargo xtask test`.

use std::{
    ffi::OsString,
    panic::resume_unwind,
    process::{Command, ExitStatus},
    thread,
};

use crate::{
    error::TaskError,
    process::{read_all_lines, read_lines, shown},
    tally::Tally,
    toolkit::{CUOBJDUMP, NCCL, NVDISASM, NVRTC, PTXAS},
    workspace::{Workspace, is_ci},
};

/// Every test of the workspace, with what `arguments` add for cargo and, after `--`, for the tests. Returns whether all
/// passed.
pub fn run(workspace: &Workspace, require_libraries: bool, arguments: &[String]) -> Result<bool, TaskError> {
    let require = require_libraries || is_ci();
    let variables = toolkit(workspace, require)?;
    let mut commands: Vec<_> = runs(arguments).iter().map(|run| workspace.cargo(run)).collect();
    for cargo in &mut commands {
        cargo.envs(variables.iter().map(|(name, value)| (name, value)));
    }
    let mut tally = Tally::default();
    let ended = together(&mut commands, |line| {
        if tally.line(line) {
            println!("{line}");
        }
    })?;
    let failed = commands.iter().zip(ended).filter(|(_, status)| !status.success());
    let failed: Vec<_> = failed.map(|(command, _)| shown(command)).collect();
    for (reason, tests) in &tally.reasons {
        println!("{tests} {reason}");
    }
    for command in &failed {
        println!("failed: {command}");
    }
    // Alone on the last line, where a reader and a machine look first.
    println!("{tally}");
    Ok(failed.is_empty())
}

/// Runs commands at once, and hands over the lines of each after those of the one before: while tests of one wait, those of
/// another compute or are compiled.
///
/// What the first reports of itself goes where this program's own errors go, as it comes; that of others stands among their
/// lines, or headings would be with the results of another.
fn together(commands: &mut [Command], mut line: impl FnMut(&str)) -> Result<Vec<ExitStatus>, TaskError> {
    let Some((first, others)) = commands.split_first_mut() else {
        return Ok(Vec::new());
    };
    thread::scope(|scope| {
        let collected = |command| {
            let mut lines = Vec::new();
            let ended = read_all_lines(command, |line| lines.push(line.to_owned()));
            ended.map(|status| (lines, status))
        };
        let others: Vec<_> = others
            .iter_mut()
            .map(|command| scope.spawn(move || collected(command)))
            .collect();
        let mut ended = vec![read_lines(first, &mut line)?];
        for other in others {
            let (lines, status) = other.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            lines.iter().for_each(|text| line(text));
            ended.push(status);
        }
        Ok(ended)
    })
}

/// The environment that tells the tests where the toolkit's parts are.
fn toolkit(workspace: &Workspace, require: bool) -> Result<Vec<(&'static str, OsString)>, TaskError> {
    let mut variables = Vec::new();
    let mut parts = vec![NVRTC, PTXAS, CUOBJDUMP, NVDISASM];
    // NCCL is 300 MB, for few tests that need no GPU: it is fetched where nothing may be missing, and used where it is.
    if require || NCCL.find(workspace).is_some() {
        parts.push(NCCL);
    }
    for part in parts {
        match part.provide(workspace) {
            Ok(file) => {
                println!("{}: {}", part.name, file.display());
                variables.push((part.variable, file.into_os_string()));
            }
            Err(reason) if require => return Err(part.required(reason)),
            Err(reason) => println!(
                "{}: none, so the tests that need it will be skipped. {reason}",
                part.name
            ),
        }
    }
    if require {
        let required = [
            "TILEWRIGHT_REQUIRE_NVRTC",
            "TILEWRIGHT_REQUIRE_NCCL",
            "TILEWRIGHT_REQUIRE_PTXAS",
        ];
        variables.extend(required.map(|name| (name, "1".into())));
    }
    Ok(variables)
}

/// What compiles without what it needs when it runs.
const FEATURES: &str = "--features=nccl";

/// The integration tests by their first letters, in two parts that take about as long: the first computes from beginning to
/// end, in the second suites of several processes wait for one another.
const PARTS: [&str; 2] = ["--test=[a-g]*", "--test=[!a-g]*"];

/// The cargo commands: tests in two parts, and those in the documentation. All features are on: they only add.
///
/// Arguments that choose packages or kinds of tests take the place of that choice.
fn runs(arguments: &[String]) -> Vec<Vec<String>> {
    let split = arguments
        .iter()
        .position(|argument| argument == "--")
        .unwrap_or(arguments.len());
    let (cargo, tests) = arguments.split_at(split);
    let chosen = |names: &[&str]| {
        cargo
            .iter()
            .any(|argument| names.contains(&argument.split('=').next().unwrap_or(argument)))
    };
    let packages: &[&str] = if chosen(&["-p", "--package", "--workspace"]) {
        &[]
    } else {
        &["--workspace"]
    };
    let named = [
        "--lib",
        "--bins",
        "--bin",
        "--tests",
        "--test",
        "--examples",
        "--example",
        "--benches",
        "--bench",
    ];
    let kinds: &[&[&str]] = if chosen(&named) || chosen(&["--all-targets", "--doc"]) {
        &[&[]]
    } else if chosen(&["-p", "--package"]) {
        // A package without a library has no documentation tests, and cargo refuses `--lib` and `--doc` for it.
        &[&["--no-fail-fast"]]
    } else {
        &[
            &["--no-fail-fast", FEATURES, PARTS[0]],
            &["--no-fail-fast", FEATURES, "--lib", "--bins", "--examples", PARTS[1]],
            &["--no-fail-fast", FEATURES, "--doc"],
        ]
    };
    kinds
        .iter()
        .map(|kinds| {
            let own = ["test"]
                .iter()
                .chain(packages)
                .chain(*kinds)
                .map(|argument| (*argument).to_owned());
            let harness = ["--".to_owned(), "--show-output".to_owned()];
            own.chain(cargo.iter().cloned())
                .chain(harness)
                .chain(tests.iter().skip(1).cloned())
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_commands_that_run_together_come_one_command_after_the_other() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let mut lines = Vec::new();
        let mut commands = [
            shell("sleep 0.2; echo a; echo b"),
            shell("echo heading >&2; echo c; exit 3"),
        ];
        let ended = together(&mut commands, |line| lines.push(line.to_owned())).expect("they run");
        assert_eq!(lines, ["a", "b", "heading", "c"]);
        assert_eq!(
            ended.iter().map(ExitStatus::code).collect::<Vec<_>>(),
            [Some(0), Some(3)]
        );
    }

    fn lines(arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        runs(&arguments).iter().map(|run| run.join(" ")).collect()
    }

    #[test]
    fn without_arguments_everything_is_tested() {
        let expected = [
            "test --workspace --no-fail-fast --features=nccl --test=[a-g]* -- --show-output",
            "test --workspace --no-fail-fast --features=nccl --lib --bins --examples --test=[!a-g]* -- --show-output",
            "test --workspace --no-fail-fast --features=nccl --doc -- --show-output",
        ];
        assert_eq!(lines(&[]), expected);
    }

    #[test]
    fn a_choice_takes_the_place_of_everything() {
        assert_eq!(lines(&["-p", "x"]), ["test --no-fail-fast -p x -- --show-output"]);
        assert_eq!(
            lines(&["--test=golden"]),
            ["test --workspace --test=golden -- --show-output"]
        );
        assert_eq!(lines(&["-p", "x", "--lib"]), ["test -p x --lib -- --show-output"]);
    }

    #[test]
    fn arguments_after_the_second_dashes_go_to_the_tests() {
        assert_eq!(
            lines(&["--release", "--", "a_name"])[2],
            "test --workspace --no-fail-fast --features=nccl --doc --release -- --show-output a_name"
        );
    }
}
