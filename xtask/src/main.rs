//! `cargo xtask …`: the project's tasks.

mod book;
mod bundle;
#[cfg(test)]
mod dependencies;
mod error;
mod gathers;
#[cfg(test)]
mod layers;
mod messages;
mod metadata;
mod package;
mod plot;
mod process;
mod python;
mod report;
mod tally;
mod test;
mod toolkit;
mod tune;
mod wheel;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use error::TaskError;
use workspace::Workspace;

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs every test of the workspace, fetching NVRTC and the disassemblers where the machine has none.
    Test(TestArguments),
    /// Builds tests, examples and benches into `gpu-bundle/`, which runs on a GPU host without Rust.
    GpuBundle,
    /// Prints the Markdown tables of readings that the scripts in `benches/` made, and fails where they do not meet a bar.
    BenchReport {
        /// The readings: JSON lines.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Writes plots of them into this file too, a page that needs nothing else.
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
        /// What they have to be [default: benches/readings/bars.json]
        #[arg(long, value_name = "FILE")]
        bars: Option<PathBuf>,
        /// Draws the last of them into an SVG file: gathers between GPUs, or the times of everyone over a copy.
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
    },
    /// Builds the Python package in `python/`, installs it in an environment of its own and tests it there. Without a Python
    /// that has `venv` and reaches pip's packages it says so; with CI=true that is an error.
    Python,
    /// Makes the book in `book/` pages in `target/book`, with mdBook, which is fetched where the machine has none.
    Book,
    /// Looks at and tests the example that is a package of candle's operations, on the CPU. Building candle takes two minutes.
    Candle,
    /// Packs every package that is for others and checks what is in the archives with the oldest Rust that they name, where
    /// rustup has it or fetches it, and with this one elsewhere.
    Package,
    /// Measures what suits the GPU at hand and writes it into the table of its architecture, which schedules are chosen by. Takes
    /// Python with torch and Triton.
    Tune {
        /// Readings that `benches/tune.py` made, instead of one made now: of several GPUs, if they are to share a table.
        readings: Vec<PathBuf>,
    },
    /// Runs what continuous integration runs.
    Ci,
}

#[derive(Args)]
struct TestArguments {
    /// Fail where NVRTC, the disassemblers or NCCL can neither be found nor fetched, instead of skipping the tests that
    /// need them. CI=true asks for the same.
    #[arg(long)]
    require_libraries: bool,
    /// For `cargo test`, and after another `--` for the tests themselves: `cargo xtask test -- -p tilewright-dsl -- proofs`.
    #[arg(last = true)]
    cargo: Vec<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does the task. Returns whether what it checks is well.
fn run(task: Task) -> Result<bool, TaskError> {
    // A bundle has this program for its reports, and not the project.
    let workspace = Workspace::find;
    match task {
        Task::Test(arguments) => return test::run(&workspace()?, arguments.require_libraries, &arguments.cargo),
        Task::GpuBundle => bundle::run(&workspace()?)?,
        Task::BenchReport {
            files,
            page,
            plot,
            bars,
        } => {
            let committed = || workspace().map(|workspace| workspace.path("benches/readings/bars.json"));
            let bars = bars.map_or_else(committed, Ok)?;
            return report::run(&files, page.as_deref(), plot.as_deref(), &bars);
        }
        Task::Python => python::run(&workspace()?, workspace::is_ci())?,
        Task::Book => book::run(&workspace()?, workspace::is_ci())?,
        Task::Candle => candle(&workspace()?)?,
        Task::Package => package::run(&workspace()?)?,
        Task::Tune { readings } => tune::run(&workspace()?, &readings)?,
        Task::Ci => process::run(&mut workspace()?.command("bash", &[".ci/run"]))?,
    }
    Ok(true)
}

/// Looks at and tests `examples/candle`, which is no member of the workspace. It is built in a folder of its own, so that it waits
/// for no other build.
fn candle(workspace: &Workspace) -> Result<(), TaskError> {
    let test = [
        "test",
        "--locked",
        "--target-dir",
        "target/candle",
        "--manifest-path",
        "examples/candle/Cargo.toml",
    ];
    let mut cargo = workspace.cargo(&test.map(str::to_owned));
    // Clippy compiles it, and looks at it as it does: `cargo clippy` would check all of candle anew, in a minute.
    cargo.envs([
        ("RUSTC_WORKSPACE_WRAPPER", "clippy-driver"),
        ("RUSTFLAGS", "-Dwarnings"),
    ]);
    process::run(&mut cargo)
}
