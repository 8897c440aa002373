//! Which of a block's barriers the groups of its threads meet at.

use std::collections::{BTreeMap, BTreeSet};

use super::verify::met_by_warps;
use super::{Kernel, Statement};

/// Threads of a warp.
pub(crate) const WARP: u32 = 32;

impl Kernel {
    /// The sizes of groups of less than a warp that meet only where all threads of their warp come by that have not ended. Those
    /// may all be named where some of them meet; where only the group is, a GPU first finds out which groups are there.
    pub fn met_by_warps(&self) -> BTreeSet<u32> {
        met_by_warps(self)
    }

    /// For each size of groups of more than a warp that meet somewhere, the number of the barrier of the first group; the
    /// others have the numbers after it. Two sizes have none in common, since threads may wait at both at a time.
    pub fn barriers(&self) -> BTreeMap<u32, u32> {
        let mut first = BTreeMap::new();
        self.body.walk(&mut |statement, _| {
            if let Statement::Barrier { group } = statement
                && *group > WARP
                && *group <= self.threads
            {
                first.insert(*group, 0);
            }
        });
        let mut next = 0;
        // The whole block, which is the largest group, has the first one.
        for (group, number) in first.iter_mut().rev() {
            *number = next;
            next += self.threads / group;
        }
        first
    }
}
