//! How far somebody has seen what ranks do.

use std::collections::BTreeMap;

use super::super::clock::Clock;
use super::Moment;

/// A vector clock over the launches of ranks, and over the programs of those that are seen in part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stamp {
    /// By rank, the last launch that is seen as a whole, with all before.
    whole: BTreeMap<u32, u64>,
    /// By rank and launch, for each program how many of its epochs are seen.
    parts: BTreeMap<(u32, u64), Clock>,
}

impl Stamp {
    /// Whether this is seen.
    pub fn sees(&self, moment: Moment) -> bool {
        let key = (moment.agent, moment.launch);
        self.sees_all_of(key)
            || self
                .parts
                .get(&key)
                .is_some_and(|clock| clock.get(moment.program) > moment.epoch)
    }

    fn sees_all_of(&self, (agent, launch): (u32, u64)) -> bool {
        self.whole.get(&agent).is_some_and(|last| *last >= launch)
    }

    /// So many epochs of a program are seen.
    pub fn set(&mut self, agent: u32, launch: u64, program: u32, epochs: u32) {
        self.parts.entry((agent, launch)).or_default().set(program, epochs);
    }

    /// A launch is seen as a whole.
    pub fn finish(&mut self, agent: u32, launch: u64) {
        let last = self.whole.entry(agent).or_default();
        *last = launch.max(*last);
        self.tidy();
    }

    /// Also sees what `other` does.
    pub fn join(&mut self, other: &Self) {
        for (&agent, &launch) in &other.whole {
            let last = self.whole.entry(agent).or_default();
            *last = launch.max(*last);
        }
        for (key, clock) in &other.parts {
            if !self.sees_all_of(*key) {
                self.parts.entry(*key).or_default().join(clock);
            }
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        let whole = &self.whole;
        self.parts
            .retain(|(agent, launch), _| whole.get(agent).is_none_or(|last| last < launch));
    }
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
}
