//! What is asked to be compiled behind, each once.

use parking_lot::Mutex;
use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::schedule::Schedule;

/// How often building a variant behind is tried.
pub(super) const MAX_ATTEMPTS: u8 = 2;
/// How many variants of a class may be asked for, or have failed.
const MAX_REQUESTS: usize = 256;

/// What a variant of a class is made for. A schedule is not known before the kernel for the conditions is.
pub(crate) type Wanted = (ConditionBits, Option<Schedule>);

/// What a class has asked for and does not have yet. The lock is held for looking only.
#[derive(Default)]
pub(super) struct Requests(Mutex<Vec<Request>>);

struct Request {
    wanted: Wanted,
    attempts: u8,
    is_under_way: bool,
}

impl Requests {
    /// Whether it is to be asked for now: nobody has, or the last attempt failed and was not the last one. If so, it counts as
    /// under way until it has [ended](Self::end).
    pub(super) fn begin(&self, wanted: Wanted) -> bool {
        let mut all = self.0.lock();
        if let Some(request) = all.iter_mut().find(|request| request.wanted == wanted) {
            let is_to_be = !request.is_under_way && request.attempts < MAX_ATTEMPTS;
            request.is_under_way |= is_to_be;
            return is_to_be;
        }
        let has_room = all.len() < MAX_REQUESTS;
        if has_room {
            all.push(Request {
                wanted,
                attempts: 0,
                is_under_way: true,
            });
        }
        has_room
    }

    /// It is there, or an attempt has failed, or it was not tried at all. Returns whether it is given up.
    pub(super) fn end(&self, wanted: Wanted, how: End) -> bool {
        let mut all = self.0.lock();
        let Some(at) = all.iter().position(|request| request.wanted == wanted) else {
            return false;
        };
        match how {
            End::Failed => {
                all[at].attempts += 1;
                all[at].is_under_way = false;
                return all[at].attempts >= MAX_ATTEMPTS;
            }
            End::NotTried if all[at].attempts > 0 => all[at].is_under_way = false,
            End::Built | End::NotTried => {
                all.swap_remove(at);
            }
        }
        false
    }
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Built,
    Failed,
    NotTried,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_not_asked_for_again_and_what_failed_not_for_ever() {
        let requests = Requests::default();
        let one = (ConditionBits::NONE, None);
        let other = (ConditionBits::NONE.with(3), None);
        assert!(requests.begin(one) && !requests.begin(one) && requests.begin(other));
        requests.end(one, End::NotTried);
        assert!(requests.begin(one), "there was no room, which is no attempt");
        for _ in 1..MAX_ATTEMPTS {
            assert!(!requests.end(one, End::Failed) && requests.begin(one));
        }
        assert!(requests.end(one, End::Failed));
        assert!(!requests.begin(one), "it has been tried often enough");
        requests.end(other, End::Built);
        assert!(requests.begin(other), "it may have been dropped since");
    }
}
