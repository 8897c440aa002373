//! Shapes that ranks have compared, as many as there is room for.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::super::RequestedCollective;

/// So many shapes are remembered in any case,
const LEAST: usize = 64;
/// and more as long as they have no more words than this. A shape has one for each rank.
const MOST_WORDS: usize = 1 << 16;

/// The latest shapes that were compared. Which they are depends on the comparisons alone, so that it is the same on all ranks.
#[derive(Default)]
pub(super) struct Shapes {
    known: HashSet<Arc<RequestedCollective>>,
    order: VecDeque<Arc<RequestedCollective>>,
    words: usize,
}

impl Shapes {
    pub(super) fn contains(&self, shape: &RequestedCollective) -> bool {
        self.known.contains(shape)
    }

    pub(super) fn insert(&mut self, shape: RequestedCollective) {
        let shape = Arc::new(shape);
        if !self.known.insert(shape.clone()) {
            return;
        }
        self.words += words(&shape);
        self.order.push_back(shape);
        while self.words > MOST_WORDS && self.order.len() > LEAST {
            let Some(oldest) = self.order.pop_front() else { break };
            self.words -= words(&oldest);
            self.known.remove(&oldest);
        }
    }
}

/// The room that a shape takes, in both places.
fn words(shape: &RequestedCollective) -> usize {
    size_of::<RequestedCollective>() / 8 + 4 + shape.parts.len() + shape.starts.len()
}

#[cfg(test)]
mod tests {
    use tilewright_dsl::element::ElementType;

    use super::super::super::Operation;
    use super::*;

    fn shape(rows: u64, ranks: usize) -> RequestedCollective {
        RequestedCollective {
            operation: Operation::AllGather,
            element: ElementType::BF16,
            rows,
            columns: 7168,
            parts: vec![rows; ranks],
            starts: Vec::new(),
        }
    }

    #[test]
    fn memory_is_bounded_and_the_latest_are_known() {
        for (ranks, remembered) in [(0, 1000), (8, 1000), (16384, LEAST as u64)] {
            let mut shapes = Shapes::default();
            let last = if ranks > 1000 { 200 } else { 100_000 };
            for rows in 0..last {
                shapes.insert(shape(rows, ranks));
                shapes.insert(shape(rows, ranks));
                assert!(shapes.words <= MOST_WORDS || shapes.order.len() <= LEAST);
                assert_eq!(shapes.order.len(), shapes.known.len());
            }
            let known = |rows: u64| shapes.contains(&shape(rows, ranks));
            assert!((last - remembered..last).all(known), "{ranks}");
            assert!(!known(0), "{ranks}");
        }
    }
}
