//! Bytes at any address.

use super::{WIDEST, Widen};
use crate::element::ElementType;
use crate::ir::Literal;
use crate::thread::{Load, Operation, Place, Rounding, Type, Use};

/// How many aligned packets may hold so many bytes whose address is a multiple of `divisor`.
pub(super) fn packets_of(bytes: i64, divisor: i64) -> i64 {
    (WIDEST - divisor + bytes - 1) / WIDEST + 1
}

impl Widen {
    /// So many bytes at any address, from the aligned packets that hold them, shifted together: packets of 16 bytes, of
    /// the last of which only the beginning is what was asked for.
    pub(super) fn realigned(&mut self, load: &Load, place: Place, bytes: i64) -> Vec<Use> {
        let address = self.b.address_of(place);
        let behind = self.b.indices().low(address, 4);
        let first = self.b.indices().subtract(place.offset, behind);
        let end = self.b.indices().offset(behind, bytes);
        let mut words = Vec::new();
        for packet in 0..packets_of(bytes, 1) {
            // Of what lies in it something is asked for.
            let limit = self.b.constant(packet * WIDEST);
            let needed = self.b.indices().less(limit, end);
            if self.b.kernel().indices.is_known(needed) == Some(false) {
                break;
            }
            let all = self.b.indices().all(load.predicate.into_iter().chain([needed]));
            let is_known = self.b.kernel().indices.is_known(all) == Some(true);
            let offset = self.b.indices().offset(first, packet * WIDEST);
            let packet = self.b.load(Load {
                place: Place { offset, ..place },
                ty: Type::packet(ElementType::U32, 4),
                predicate: Some(all).filter(|_| !is_known),
                ..*load
            });
            for lane in 0..4 {
                words.push(self.b.part(packet, lane, 1));
            }
        }
        let wanted = (bytes as usize).div_ceil(4);
        // By two words, by one, and by the bytes that are left.
        let zero = Use::Literal(Literal::zero(ElementType::U32));
        let word = |words: &[Use], at: usize| words.get(at).copied().unwrap_or(zero);
        for (bits, by) in [(4, 2), (3, 1)] {
            let low = self.b.indices().low(behind, bits);
            let limit = self.b.constant(4 * by as i64);
            let moves = self.b.indices().at_most(limit, low);
            let is_known = self.b.kernel().indices.is_known(moves);
            if is_known != Some(false) {
                // One more than is left to do.
                let count = wanted + by;
                let moved = (0..count).map(|at| (word(&words, at + by), word(&words, at)));
                let moved: Vec<_> = moved.collect();
                words = moved
                    .into_iter()
                    .map(|(accept, reject)| match is_known {
                        Some(_) => accept,
                        None => self.b.select(moves.into(), accept, reject),
                    })
                    .collect();
            }
        }
        let rest = self.b.indices().low(behind, 2);
        if self.b.kernel().indices.as_constant(rest) != Some(0) {
            let bits = self.b.indices().scale(rest, 8);
            let by = self.b.emit(Operation::Cast {
                value: bits.into(),
                to: ElementType::U32,
                rounding: Rounding::NearestEven,
            });
            let pairs: Vec<_> = (0..wanted).map(|at| (word(&words, at), word(&words, at + 1))).collect();
            words = pairs
                .into_iter()
                .map(|(low, high)| self.b.emit(Operation::Funnel { low, high, by }))
                .collect();
        }
        words.resize(wanted.next_multiple_of(4), zero);
        words.iter_mut().skip(wanted).for_each(|word| *word = zero);
        let element = load.ty.element;
        let ty = Type::packet(element, (WIDEST / element.size() as i64) as u8);
        words
            .chunks(4)
            .map(|packet| {
                let packet = self.b.join(packet.to_vec());
                self.b.bitcast(packet, ty)
            })
            .collect()
    }
}
