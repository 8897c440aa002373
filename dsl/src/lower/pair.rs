//! Packets of 32 bytes that threads hold, stored in the order of the memory: of two neighbours' packets, both threads store
//! a half of the first, and then of the second, so that what a warp stores at once leaves no gaps.

use super::group::Group;
use super::point::Point;
use super::{Lower, LowerError};
use crate::ir::Handle;
use crate::schedule::VECTOR_BYTES;
use crate::thread::{Index, Shuffle, Use};

impl Lower<'_> {
    /// Whether what threads hold of a tile is stored by pairs of threads.
    pub(super) fn stores_by_pairs(&self, group: &Group<'_>, lanes: u8) -> bool {
        let bytes = u64::from(lanes) * self.size_of(group.access.tensor);
        let twice = bytes == 2 * u64::from(VECTOR_BYTES);
        let is_row = group.shape.elements() == u64::from(group.shape.innermost());
        twice && is_row && self.schedule.threads.is_multiple_of(2)
    }

    /// Stores packet `q` of `packets` together with the neighbour's.
    pub(super) fn store_pair(
        &mut self,
        group: &Group<'_>,
        q: Handle<Index>,
        packets: Handle<Index>,
        value: Use,
        lanes: u8,
    ) -> Result<(), LowerError> {
        let (half, two) = (lanes / 2, self.b.constant(2));
        let odd = self.b.indices().remainder(self.worker, two);
        let one = self.b.constant(1);
        let is_odd = self.b.indices().equal(odd, one);
        let together = self.together_in_warp();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for lane in 0..half {
            let (low, high) = (self.lane_of(value, lane), self.lane_of(value, half + lane));
            let sent = self.chosen(is_odd.into(), low, high)?;
            let got = self.shuffled(Shuffle::Exchange, sent, 1, together);
            first.push(self.chosen(is_odd.into(), got, low)?);
            second.push(self.chosen(is_odd.into(), high, got)?);
        }
        let even = self.b.indices().subtract(q, odd);
        let lane = self.b.lane(half);
        for (packet, halves) in [(0, first), (1, second)] {
            let packet = self.b.indices().offset(even, packet);
            let here = self.b.indices().less(packet, packets);
            let start = self.b.indices().scale(packet, lanes.into());
            let behind = self.b.indices().scale(odd, half.into());
            let start = self.b.indices().add(start, behind);
            let e = self.b.indices().add(start, lane);
            let point: Point = self.at_position(e, group.shape);
            let value = self.b.join(halves);
            self.store_at(group, &point, value, here)?;
        }
        Ok(())
    }
}
