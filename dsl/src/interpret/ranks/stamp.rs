//! How far somebody has seen what ranks do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::clock::Clock;
use super::Moment;

/// A vector clock over the launches of ranks, and over the programs of those that are seen in part.
///
/// A copy shares both: every release has one, and most tell nothing new.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stamp {
    /// By rank, the last launch that is seen as a whole, with all before.
    whole: Arc<BTreeMap<u32, u64>>,
    /// By rank and launch, for each program how many of its epochs are seen.
    parts: Arc<BTreeMap<(u32, u64), Clock>>,
}

impl Stamp {
    /// Whether this is seen.
    pub fn sees(&self, moment: Moment) -> bool {
        let key = (moment.agent, moment.launch);
        sees(&self.whole, key)
            || self
                .parts
                .get(&key)
                .is_some_and(|clock| clock.get(moment.program) > moment.epoch)
    }

    /// So many epochs of a program are seen.
    pub fn set(&mut self, agent: u32, launch: u64, program: u32, epochs: u32) {
        let parts = Arc::make_mut(&mut self.parts);
        parts.entry((agent, launch)).or_default().set(program, epochs);
    }

    /// A launch is seen as a whole.
    pub fn finish(&mut self, agent: u32, launch: u64) {
        self.see_all_of([(agent, launch)]);
    }

    /// Also sees what `other` does.
    pub fn join(&mut self, other: &Self) {
        if !Arc::ptr_eq(&self.whole, &other.whole) {
            self.see_all_of(other.whole.iter().map(|(agent, launch)| (*agent, *launch)));
        }
        if Arc::ptr_eq(&self.parts, &other.parts) {
            return;
        }
        let whole = &self.whole;
        for (key, clock) in other.parts.iter().filter(|(key, _)| !sees(whole, **key)) {
            let parts = Arc::make_mut(&mut self.parts);
            parts.entry(*key).or_default().join(clock);
        }
    }

    /// Launches are seen as a whole, and no longer in part.
    fn see_all_of(&mut self, launches: impl IntoIterator<Item = (u32, u64)>) {
        let news = launches.into_iter().filter(|launch| !sees(&self.whole, *launch));
        let news: Vec<_> = news.collect();
        if news.is_empty() {
            return;
        }
        Arc::make_mut(&mut self.whole).extend(news);
        if self.parts.keys().any(|key| sees(&self.whole, *key)) {
            Arc::make_mut(&mut self.parts).retain(|key, _| !sees(&self.whole, *key));
        }
    }
}

/// Whether a launch is among those that are seen as a whole.
fn sees(whole: &BTreeMap<u32, u64>, (agent, launch): (u32, u64)) -> bool {
    whole.get(&agent).is_some_and(|last| *last >= launch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(agent: u32, launch: u64, program: u32, epoch: u32) -> Moment {
        Moment {
            agent,
            launch,
            program,
            epoch,
        }
    }

    #[test]
    fn a_launch_is_seen_program_by_program_until_it_is_seen_as_a_whole() {
        let mut stamp = Stamp::default();
        stamp.set(1, 7, 3, 2);
        assert!(stamp.sees(moment(1, 7, 3, 1)) && !stamp.sees(moment(1, 7, 3, 2)));
        assert!(!stamp.sees(moment(1, 7, 2, 0)) && !stamp.sees(moment(0, 7, 3, 0)) && !stamp.sees(moment(1, 6, 3, 0)));
        let mut later = Stamp::default();
        later.finish(1, 8);
        later.join(&stamp);
        assert!(later.sees(moment(1, 7, 2, 9)) && later.sees(moment(1, 8, 0, 0)) && !later.sees(moment(1, 9, 0, 0)));
        assert!(later.parts.is_empty());
    }

    #[test]
    fn a_copy_sees_no_more_than_it_was_made_with_and_a_join_of_what_is_known_shares_all() {
        let mut first = Stamp::default();
        first.set(1, 7, 3, 2);
        first.finish(0, 2);
        let copy = first.clone();
        first.join(&copy);
        assert!(Arc::ptr_eq(&first.whole, &copy.whole) && Arc::ptr_eq(&first.parts, &copy.parts));
        first.set(1, 7, 3, 9);
        first.finish(0, 5);
        assert!(first.sees(moment(1, 7, 3, 8)) && first.sees(moment(0, 5, 0, 0)));
        assert!(copy.sees(moment(1, 7, 3, 1)) && !copy.sees(moment(1, 7, 3, 2)));
        assert!(copy.sees(moment(0, 2, 0, 0)) && !copy.sees(moment(0, 3, 0, 0)));
    }
}
