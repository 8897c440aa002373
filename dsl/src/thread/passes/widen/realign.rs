//! Loads of 16 bytes at any address.

use super::{WIDEST, Widen};
use crate::element::ElementType;
use crate::thread::{Load, Operation, Place, Rounding, Type, Use};

impl Widen {
    /// Sixteen bytes at any address, from the one or two aligned packets that hold them.
    pub(super) fn realigned(&mut self, load: &Load, place: Place) -> Use {
        let base = match place.pointer {
            Some(pointer) => self.b.index(pointer.into()),
            None => self.b.address(place.buffer),
        };
        let address = self.b.indices().add(base, place.offset);
        let behind = self.b.indices().low(address, 4);
        let words = Type::packet(ElementType::U32, 4);
        let first = self.b.indices().subtract(place.offset, behind);
        let second = self.b.indices().offset(first, WIDEST);
        let zero = self.b.constant(0);
        let aligned = self.b.indices().equal(behind, zero);
        let both = self.b.indices().not(aligned);
        let both = self.b.indices().all(load.predicate.into_iter().chain([both]));
        let at = |offset, predicate| Load {
            place: Place { offset, ..place },
            ty: words,
            predicate,
            ..*load
        };
        let (low, high) = (
            self.b.load(at(first, load.predicate)),
            self.b.load(at(second, Some(both))),
        );
        let mut parts = Vec::with_capacity(8);
        for packet in [low, high] {
            for lane in 0..4 {
                parts.push(self.b.part(packet, lane, 1));
            }
        }
        // By two words, by one, and by the bytes that are left.
        for (bits, by) in [(4, 2), (3, 1)] {
            let low = self.b.indices().low(behind, bits);
            let limit = self.b.constant(4 * by as i64);
            let moves = self.b.indices().at_most(limit, low);
            match self.b.kernel().indices.is_known(moves) {
                Some(false) => {}
                _ => {
                    let moved = |widen: &mut Self, word: usize| {
                        let (accept, reject) = (parts[word + by], parts[word]);
                        widen.b.select(moves.into(), accept, reject)
                    };
                    let count = parts.len() - by;
                    parts = (0..count).map(|word| moved(self, word)).collect();
                }
            }
        }
        let bytes = self.b.indices().low(behind, 2);
        let shifted: Vec<Use> = match self.b.kernel().indices.as_constant(bytes) {
            Some(0) => parts.into_iter().take(4).collect(),
            _ => {
                let bits = self.b.indices().scale(bytes, 8);
                let by = self.b.emit(Operation::Cast {
                    value: bits.into(),
                    to: ElementType::U32,
                    rounding: Rounding::NearestEven,
                });
                let funnel = |widen: &mut Self, word: usize| {
                    let (low, high) = (parts[word], parts[word + 1]);
                    widen.b.emit(Operation::Funnel { low, high, by })
                };
                (0..4).map(|word| funnel(self, word)).collect()
            }
        };
        let words = self.b.join(shifted);
        let element = load.ty.element;
        self.b
            .bitcast(words, Type::packet(element, (WIDEST / element.size() as i64) as u8))
    }
}
