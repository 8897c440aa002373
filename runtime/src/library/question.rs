//! Questions to other programs, which may not answer.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::deadline::Deadline;

/// How long to leave a program alone that has said everything and has yet to end.
const PAUSE: Duration = Duration::from_millis(1);

/// What a program prints, if it succeeds before the time is over and prints no more than so many bytes. Otherwise it is
/// ended, with all that it has started.
pub(super) fn ask(program: &mut Command, limit: Duration, longest: u64) -> Option<Vec<u8>> {
    let deadline = Deadline::after(limit);
    program
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = program.spawn().ok()?;
    let answer = listen(&mut child, deadline, longest);
    let status = answer.as_ref().and_then(|_| status(&mut child, deadline));
    match status {
        Some(status) => answer.filter(|_| status.success()),
        None => {
            end(child);
            None
        }
    }
}

fn listen(child: &mut Child, deadline: Deadline, longest: u64) -> Option<Vec<u8>> {
    let mut output = child.stdout.take()?.take(longest + 1);
    let (told, answer) = mpsc::channel();
    // It ends when the last that holds the other end of the pipe has ended.
    let read = move || {
        let mut text = Vec::new();
        if output.read_to_end(&mut text).is_ok() {
            let _ = told.send(text);
        }
    };
    thread::Builder::new().spawn(read).ok()?;
    let answer = match deadline.left() {
        Some(left) => answer.recv_timeout(left).ok(),
        None => answer.recv().ok(),
    };
    answer.filter(|answer| answer.len() as u64 <= longest)
}

fn status(child: &mut Child, deadline: Deadline) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(None) if !deadline.is_past() => thread::sleep(PAUSE),
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
}

fn end(mut child: Child) {
    if let Ok(group) = libc::pid_t::try_from(child.id()) {
        // SAFETY: it sends a signal to the group of a child that nobody has waited for, so that the number is still its own.
        unsafe { libc::killpg(group, libc::SIGKILL) };
    }
    // The system may take its time over that.
    let _ = thread::Builder::new().spawn(move || child.wait());
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// More than this is no answer.
    const LONGEST: u64 = 1 << 16;

    fn shell(script: &str, limit: Duration) -> Option<Vec<u8>> {
        ask(Command::new("sh").args(["-c", script]), limit, LONGEST)
    }

    #[test]
    fn an_answer_is_what_a_program_prints_if_it_succeeds() {
        let limit = Duration::from_secs(20);
        assert_eq!(shell("echo here", limit).as_deref(), Some(b"here\n".as_slice()));
        assert_eq!(shell("echo here", Duration::MAX).as_deref(), Some(b"here\n".as_slice()));
        assert_eq!(shell("echo here; exit 1", limit), None);
        assert_eq!(shell("cat", limit).as_deref(), Some(b"".as_slice()), "it reads nothing");
        assert_eq!(ask(&mut Command::new("/no/such/program"), limit, LONGEST), None);
    }

    #[test]
    fn a_program_that_does_not_answer_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let alive = folder.path().join("alive");
        let limit = Duration::from_millis(300);
        for script in [
            "sleep 60",
            "echo here; exec >&-; sleep 60",
            "sleep 60 & echo here",
            "trap '' TERM INT HUP; while :; do sleep 0.1; done",
            &format!("(while :; do echo x >> {}; sleep 0.05; done) & wait", alive.display()),
        ] {
            let begin = Instant::now();
            assert_eq!(shell(script, limit), None, "{script}");
            assert!(begin.elapsed() < Duration::from_secs(10), "{script}");
        }
        let length = || std::fs::metadata(&alive).map_or(0, |file| file.len());
        thread::sleep(Duration::from_millis(300));
        let before = length();
        thread::sleep(Duration::from_millis(300));
        assert_eq!(length(), before, "what it started still runs");
    }

    #[test]
    fn a_program_without_an_end_of_words_is_ended() {
        let begin = Instant::now();
        assert_eq!(shell("yes", Duration::from_secs(60)), None);
        assert_eq!(shell("yes", Duration::ZERO), None);
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}
