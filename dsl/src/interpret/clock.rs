//! How far every program has come, as one of them knows it.

use std::sync::Arc;

const BITS: u32 = 4;
const FANOUT: usize = 1 << BITS;

/// A vector clock: a number for each program, 0 unless it was set.
///
/// A copy shares its parts with what it was copied from, and so does a join. So the clocks of programs that hear of each
/// other one by one, of which each knows all before it, take little room together.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    root: Option<Arc<Node>>,
    /// The levels below the root.
    height: u32,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf([u32; FANOUT]),
    Inner([Option<Arc<Node>>; FANOUT]),
}

impl Node {
    fn empty(height: u32) -> Self {
        match height {
            0 => Self::Leaf([0; FANOUT]),
            _ => Self::Inner(Default::default()),
        }
    }

    fn set(&mut self, height: u32, program: u32, to: u32) {
        let slot = (program >> (height * BITS)) as usize % FANOUT;
        match self {
            Self::Leaf(numbers) => numbers[slot] = to,
            Self::Inner(children) => {
                let child = children[slot].get_or_insert_with(|| Arc::new(Self::empty(height - 1)));
                Arc::make_mut(child).set(height - 1, program, to);
            }
        }
    }
}

/// The larger number of each program.
fn join(one: &Arc<Node>, other: &Arc<Node>) -> Arc<Node> {
    if Arc::ptr_eq(one, other) {
        return one.clone();
    }
    let (joined, of_one, of_other) = match (&**one, &**other) {
        (Node::Leaf(a), Node::Leaf(b)) => {
            let joined: [u32; FANOUT] = std::array::from_fn(|i| a[i].max(b[i]));
            (Node::Leaf(joined), joined == *a, joined == *b)
        }
        (Node::Inner(a), Node::Inner(b)) => {
            let joined: [Option<Arc<Node>>; FANOUT] = std::array::from_fn(|i| match (&a[i], &b[i]) {
                (Some(a), Some(b)) => Some(join(a, b)),
                (a, b) => a.as_ref().or(b.as_ref()).cloned(),
            });
            let same = |with: &[Option<Arc<Node>>; FANOUT]| {
                let mut pairs = joined.iter().zip(with);
                pairs.all(|(a, b)| a.as_ref().map(Arc::as_ptr) == b.as_ref().map(Arc::as_ptr))
            };
            let (of_one, of_other) = (same(a), same(b));
            (Node::Inner(joined), of_one, of_other)
        }
        // Both have the same height.
        _ => return one.clone(),
    };
    match (of_one, of_other) {
        (true, _) => one.clone(),
        (_, true) => other.clone(),
        _ => Arc::new(joined),
    }
}

impl Clock {
    /// The number of a program.
    pub fn get(&self, program: u32) -> u32 {
        let mut height = self.height;
        let Some(mut node) = self.root.as_ref().filter(|_| self.holds(program)) else {
            return 0;
        };
        loop {
            let slot = (program >> (height * BITS)) as usize % FANOUT;
            match &**node {
                Node::Leaf(numbers) => return numbers[slot],
                Node::Inner(children) => match &children[slot] {
                    Some(child) => (node, height) = (child, height - 1),
                    None => return 0,
                },
            }
        }
    }

    /// Sets the number of a program.
    pub fn set(&mut self, program: u32, to: u32) {
        while !self.holds(program) {
            self.raise();
        }
        let height = self.height;
        let root = self.root.get_or_insert_with(|| Arc::new(Node::empty(height)));
        Arc::make_mut(root).set(height, program, to);
    }

    /// Also knows what `other` does.
    pub fn join(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.height < other.height {
            self.raise();
        }
        while other.height < self.height {
            other.raise();
        }
        self.root = match (&self.root, &other.root) {
            (Some(own), Some(other)) => Some(join(own, other)),
            (own, other) => own.as_ref().or(other.as_ref()).cloned(),
        };
    }

    fn holds(&self, program: u32) -> bool {
        u64::from(program) >> ((self.height + 1) * BITS) == 0
    }

    /// Makes room for programs of larger numbers.
    fn raise(&mut self) {
        self.height += 1;
        self.root = self.root.take().map(|root| {
            let mut children: [Option<Arc<Node>>; FANOUT] = Default::default();
            children[0] = Some(root);
            Arc::new(Node::Inner(children))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(numbers: &[(u32, u32)]) -> Clock {
        let mut clock = Clock::default();
        numbers.iter().for_each(|&(program, to)| clock.set(program, to));
        clock
    }

    #[test]
    fn a_join_is_the_larger_number_of_every_program() {
        let one = [(0, 5), (3, 1), (17, 2), (70_000, 9)];
        let other = [(0, 4), (3, 2), (16, 8), (u32::MAX, 1)];
        for (a, b) in [(one, other), (other, one)] {
            let mut joined = clock(&a);
            joined.join(&clock(&b));
            let numbers = [0, 3, 16, 17, 18, 70_000, u32::MAX].map(|program| joined.get(program));
            assert_eq!(numbers, [5, 2, 8, 2, 0, 9, 1]);
        }
        let mut small = clock(&[(1, 1)]);
        small.join(&Clock::default());
        assert_eq!((small.get(1), small.get(u32::MAX)), (1, 0));
    }

    #[test]
    fn a_copy_keeps_its_numbers() {
        let mut first = clock(&[(1, 1), (100, 2)]);
        let copy = first.clone();
        first.set(1, 7);
        first.set(5000, 3);
        assert_eq!([1, 100, 5000].map(|program| copy.get(program)), [1, 2, 0]);
        assert_eq!([1, 100, 5000].map(|program| first.get(program)), [7, 2, 3]);
    }

    #[test]
    fn clocks_that_are_handed_on_share_what_they_have_in_common() {
        let mut last = Clock::default();
        let all: Vec<_> = (0..4096u32)
            .map(|program| {
                let mut own = clock(&[(program, 1)]);
                own.join(&last);
                last = own.clone();
                own
            })
            .collect();
        let mut nodes = std::collections::BTreeSet::new();
        fn count(node: &Arc<Node>, nodes: &mut std::collections::BTreeSet<*const Node>) {
            if nodes.insert(Arc::as_ptr(node))
                && let Node::Inner(children) = &**node
            {
                children.iter().flatten().for_each(|child| count(child, nodes));
            }
        }
        all.iter()
            .filter_map(|clock| clock.root.as_ref())
            .for_each(|root| count(root, &mut nodes));
        assert!(nodes.len() < 4 * all.len(), "{}", nodes.len());
        assert!((0..4096).all(|program| last.get(program) == 1 && all[program as usize].get(program + 1) == 0));
    }
}
