//! What ranks did to which bytes, as far as nothing has come behind it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Did;
use super::stamp::Stamp;

/// What is done to a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    AtomicRead,
    AtomicWrite,
    Write,
}

impl Kind {
    /// Whether two ranks may do this in any order.
    fn goes_with(self, other: Self) -> bool {
        use Kind::{AtomicRead, AtomicWrite, Read};
        match (self, other) {
            (Read | AtomicRead, Read | AtomicRead) => true,
            (AtomicRead | AtomicWrite, AtomicRead | AtomicWrite) => true,
            (_, Kind::Write) | (Kind::Write, _) | (Read, AtomicWrite) | (AtomicWrite, Read) => false,
        }
    }
}

/// Bytes that were touched alike.
#[derive(Debug, Clone, Default)]
struct Piece {
    end: usize,
    /// Of accesses of one kind, those that none of the others has seen.
    latest: Vec<Did>,
}

/// By the first byte.
#[derive(Debug, Default)]
pub(super) struct Shadow(BTreeMap<usize, Piece>);

impl Shadow {
    /// Notes an access by somebody who has seen so much; returns one before it that is not seen and does not go together with
    /// it, of another launch, and the first byte that both touch.
    pub fn touch(&mut self, bytes: Range<usize>, did: &Did, seen: &Stamp) -> Option<(usize, Did)> {
        self.split(bytes.start);
        self.split(bytes.end);
        let mut found = None;
        let mut at = bytes.start;
        let mut gaps = Vec::new();
        for (&start, piece) in self.0.range_mut(bytes.clone()) {
            if at < start {
                gaps.push(at..start);
            }
            at = piece.end;
            let clashes = |other: &&Did| {
                other.moment.launch != did.moment.launch && !other.kind.goes_with(did.kind) && !seen.sees(other.moment)
            };
            if found.is_none() {
                found = piece.latest.iter().find(clashes).map(|other| (start, other.clone()));
            }
            // What this one has seen, who sees this one has seen too.
            let is_behind = |other: &Did| match did.kind {
                Kind::Write => seen.sees(other.moment) || is_one(other, did),
                _ => other.kind == did.kind && (seen.sees(other.moment) || is_one(other, did)),
            };
            piece.latest.retain(|other| !is_behind(other));
            piece.latest.push(did.clone());
        }
        if at < bytes.end {
            gaps.push(at..bytes.end);
        }
        for gap in gaps {
            let latest = vec![did.clone()];
            self.0.insert(gap.start, Piece { end: gap.end, latest });
        }
        found
    }

    /// Forgets these bytes.
    pub fn forget(&mut self, bytes: Range<usize>) {
        self.split(bytes.start);
        self.split(bytes.end);
        self.0.retain(|start, _| !bytes.contains(start));
    }

    /// Lets a piece begin at a byte, if one goes over it.
    fn split(&mut self, at: usize) {
        if let Some((_, piece)) = self.0.range_mut(..at).next_back()
            && piece.end > at
        {
            let behind = piece.clone();
            piece.end = at;
            self.0.insert(at, behind);
        }
    }
}

/// Whether one program did both, in one of its epochs.
fn is_one(one: &Did, other: &Did) -> bool {
    one.moment == other.moment
}
