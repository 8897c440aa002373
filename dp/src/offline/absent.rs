//! Groups whose other ranks are not there.

use tilewright_dsl::element::Element;
use tilewright_runtime::{Stream, TensorViewMut};

use crate::collective::{CollectiveError, Group, Summand};
use crate::movement::Groups;
use crate::plan::{PlanError, Topology};

/// One rank of a group of which no other exists: nothing is to be brought together where nothing runs.
pub(super) struct Absent {
    stream: Stream,
    rank: usize,
    size: usize,
}

/// The groups of a GPU.
pub(super) fn groups(stream: &Stream, topology: &Topology, gpu: u64) -> Result<Groups<Absent>, PlanError> {
    let group = |rank: u64, size: u64| Absent {
        stream: stream.clone(),
        rank: rank as usize,
        size: size as usize,
    };
    let attention = group(topology.attention_tp_rank(gpu)?, topology.attention_tp());
    Ok(Groups::new(group(gpu, topology.tp()), attention))
}

impl Group for Absent {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn stream(&self) -> &Stream {
        &self.stream
    }

    fn all_reduce<T: Summand>(&self, _: &mut TensorViewMut<'_, T, 2>) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn all_gather<T: Element>(&self, _: &mut TensorViewMut<'_, T, 2>, _: &[u64]) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn reduce_scatter<T: Summand>(&self, _: &mut TensorViewMut<'_, T, 2>, _: &[u64]) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), CollectiveError> {
        Ok(())
    }
}
