//! Waiting for what takes microseconds as a rule, and may take for ever.

use std::hint::spin_loop;
use std::thread;
use std::time::{Duration, Instant};

use crate::deadline::Deadline;

/// So long it is looked for without a pause: short work is done in less. Asleep, a thread would find out after a multiple of it.
const SPIN: Duration = Duration::from_micros(50);
/// So long others may have the processor in between,
const YIELD: Duration = Duration::from_millis(2);
/// and after that there are pauses of so long.
const PAUSE: Duration = Duration::from_micros(50);

/// Waits until something is so. Returns whether it was in time; it is looked for once in any case.
pub(super) fn until<E>(deadline: Deadline, mut is_so: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
    let began = Instant::now();
    while !is_so()? {
        if deadline.is_past() {
            return Ok(false);
        }
        match began.elapsed() {
            waited if waited < SPIN => spin_loop(),
            waited if waited < YIELD => thread::yield_now(),
            _ => thread::sleep(PAUSE),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn looks_until(limit: Duration, is_so: impl Fn(u64) -> bool) -> (bool, u64) {
        let mut looks = 0;
        let found = until(Deadline::after(limit), || {
            looks += 1;
            Ok::<_, Infallible>(is_so(looks))
        });
        (found.unwrap_or_else(|never| match never {}), looks)
    }

    #[test]
    fn what_is_so_at_once_is_found_by_one_look_whatever_the_limit() {
        assert_eq!(looks_until(Duration::ZERO, |_| true), (true, 1));
        assert_eq!(looks_until(Duration::MAX, |_| true), (true, 1));
        assert_eq!(looks_until(Duration::ZERO, |_| false), (false, 1));
    }

    /// What comes within microseconds is not slept for.
    #[test]
    fn the_first_looks_follow_each_other_without_a_pause() {
        let fastest = (0..50).map(|_| {
            let began = Instant::now();
            assert_eq!(looks_until(Duration::MAX, |looks| looks == 20), (true, 20));
            began.elapsed()
        });
        assert!(fastest.min().is_some_and(|fastest| fastest < PAUSE));
    }

    #[test]
    fn what_never_comes_ends_with_the_limit_and_keeps_no_processor() {
        let limit = Duration::from_millis(50);
        let began = Instant::now();
        let (found, _) = looks_until(limit, |_| false);
        assert!(!found && began.elapsed() >= limit);
        assert!(began.elapsed() < 20 * limit);
    }

    #[test]
    fn an_error_ends_the_wait() {
        assert_eq!(until(Deadline::after(Duration::MAX), || Err("broken")), Err("broken"));
    }
}
