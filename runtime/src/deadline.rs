//! How long to wait, whatever the limit.

use std::time::{Duration, Instant};

/// When a wait is over: some time after it began, or never, if the limit is longer than time can be told.
///
/// ```
/// use std::time::Duration;
/// use tilewright_runtime::Deadline;
///
/// assert!(Deadline::after(Duration::ZERO).is_past());
/// assert!(Deadline::after(Duration::from_secs(60)).left().is_some_and(|left| left > Duration::from_secs(50)));
/// assert_eq!(Deadline::after(Duration::MAX).left(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// The end of a wait that begins now.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now().checked_add(limit))
    }

    /// The point in time; `None` if there is no end.
    pub fn instant(self) -> Option<Instant> {
        self.0
    }

    /// Whether the time is over.
    pub fn is_past(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// How much time is left, zero if none; `None` if there is no end.
    pub fn left(self) -> Option<Duration> {
        Some(self.0?.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_makes_a_deadline() {
        let mut seconds = 1u64;
        while let Some(next) = seconds.checked_mul(3) {
            let deadline = Deadline::after(Duration::new(seconds, 999_999_999));
            assert!(!deadline.is_past(), "{seconds}");
            assert!(
                deadline.left().is_none_or(|left| left.as_secs() >= seconds),
                "{seconds}"
            );
            seconds = next;
        }
        assert_eq!(Deadline::after(Duration::MAX).instant(), None);
        let short = Deadline::after(Duration::from_nanos(1));
        std::thread::sleep(Duration::from_millis(1));
        assert!(short.is_past() && short.left() == Some(Duration::ZERO));
    }
}
