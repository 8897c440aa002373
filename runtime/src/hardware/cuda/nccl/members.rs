//! The ranks of a group that live in one process. NCCL lets them use each other's memory, so their communicators end when all
//! of them are done, whichever is dropped first.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::NcclId;
use crate::deadline::Deadline;

/// The groups that this process has ranks of.
static GROUPS: Mutex<Vec<(NcclId, Arc<Group>)>> = Mutex::new(Vec::new());

#[derive(Default)]
struct Group {
    count: Mutex<Count>,
    changed: Condvar,
}

#[derive(Default)]
struct Count {
    joined: usize,
    done: usize,
}

/// One rank's place among those of its process.
pub(super) struct Member {
    id: NcclId,
    group: Arc<Group>,
    is_done: bool,
}

impl Member {
    /// A rank of this process joins a group, before it waits for any other.
    pub(super) fn of(id: &NcclId) -> Self {
        let mut groups = GROUPS.lock();
        let group = match groups.iter().find(|(known, _)| known == id) {
            Some((_, group)) => group.clone(),
            None => {
                let group = Arc::<Group>::default();
                groups.push((*id, group.clone()));
                group
            }
        };
        group.count.lock().joined += 1;
        Self {
            id: *id,
            group,
            is_done: false,
        }
    }

    /// Whether this process has other ranks of the group.
    pub(super) fn is_one_of_several(&self) -> bool {
        self.group.count.lock().joined > 1
    }

    /// Nothing is left of this rank's work. Returns whether nothing is of any other either.
    pub(super) fn done(&mut self) -> bool {
        let mut count = self.group.count.lock();
        if !self.is_done {
            self.is_done = true;
            count.done += 1;
        }
        self.group.changed.notify_all();
        let all = count.done == count.joined;
        drop(count);
        if all {
            GROUPS.lock().retain(|(id, _)| *id != self.id);
        }
        all
    }

    /// Waits until nothing is left of the work of any.
    pub(super) fn wait_for_all(&self, limit: Duration) -> bool {
        let deadline = Deadline::after(limit);
        let mut count = self.group.count.lock();
        while count.done < count.joined {
            match deadline.instant() {
                Some(instant) if self.group.changed.wait_until(&mut count, instant).timed_out() => break,
                Some(_) => {}
                None => self.group.changed.wait(&mut count),
            }
        }
        count.done >= count.joined
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.done();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const AMPLE: Duration = Duration::from_secs(60);

    fn id(number: u8) -> NcclId {
        let mut id = [number; 128];
        id[0] = 0xee;
        id
    }

    fn is_known(number: u8) -> bool {
        GROUPS.lock().iter().any(|(known, _)| *known == id(number))
    }

    #[test]
    fn the_first_waits_for_the_last_and_nothing_is_remembered() {
        let [mut one, mut two, other] = [1, 1, 2].map(|number| Member::of(&id(number)));
        assert!(one.is_one_of_several() && !other.is_one_of_several());
        assert!(!one.done());
        assert!(!one.done(), "a rank is done once");
        assert!(!one.wait_for_all(Duration::ZERO));
        let waits = thread::spawn(move || one.wait_for_all(AMPLE));
        assert!(two.done());
        assert!(waits.join().unwrap());
        assert!(!is_known(1) && is_known(2));
        drop(other);
        assert!(!is_known(2));
    }

    #[test]
    fn a_rank_that_did_not_get_in_is_not_waited_for() {
        let mut one = Member::of(&id(3));
        drop(Member::of(&id(3)));
        assert!(one.done() && one.wait_for_all(Duration::ZERO));
    }
}
