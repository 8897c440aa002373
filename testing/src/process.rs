//! Tests that run in processes of their own.

use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};

/// This program, to run one of its tests alone: an ignored one, which ends the process, needs its own environment, or is one of
/// several ranks.
pub fn process_of(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--include-ignored", "--nocapture"]);
    command
}

/// The same beside a test of this process: what its runner sums up would be taken for results of this one. It tells of things by
/// its errors.
pub fn silent_process_of(test: &str) -> Command {
    let mut command = process_of(test);
    command.stdout(Stdio::null());
    command
}

/// Starts a test in so many processes, the ranks of a group, as `torchrun` would on this machine. `change` is what else one is told.
pub fn start_ranks(test: &str, ranks: usize, change: impl Fn(usize, &mut Command)) -> Vec<Child> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    drop(listener);
    let start = |rank: usize| {
        let mut command = silent_process_of(test);
        command.envs([("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", &port.to_string())]);
        for (name, number) in [("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", ranks)] {
            command.env(name, number.to_string());
        }
        change(rank, &mut command);
        command.spawn().expect("a process")
    };
    (0..ranks).map(start).collect()
}

/// How processes end, once all have.
pub fn ended(processes: Vec<Child>) -> Vec<ExitStatus> {
    let end = |mut process: Child| process.wait().expect("it ends");
    processes.into_iter().map(end).collect()
}
