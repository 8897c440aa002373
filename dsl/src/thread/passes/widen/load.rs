//! Loads.

use std::collections::BTreeMap;

use super::realign::packets_of;
use super::{WIDEST, Why, Widen, largest_power};
use crate::ir::{Handle, Literal};
use crate::thread::{Index, Load, MAX_LANES, Operation, Place, Predicate, Space, Statement, Type, Use, Value};

impl Widen {
    pub(super) fn load(&mut self, value: Handle<Value>, load: Load) {
        let moves = self.b.kernel().lanes_of(load.place.offset).is_some();
        let predicate = load.predicate.filter(|predicate| {
            let ty = self.b.kernel().ty(Use::Predicate(*predicate));
            ty.lanes > 1
        });
        if !moves && predicate.is_none() {
            return self.b.push(Statement::Let {
                value,
                operation: Operation::Load(load),
            });
        }
        let offsets = self.offsets(load.place, load.ty.lanes);
        let packet = match predicate {
            None => self.gather(&load, &offsets),
            Some(predicate) => self.gather_where(&load, &offsets, predicate),
        };
        self.values.insert(value, packet);
    }

    /// All lanes, each where its own condition holds.
    pub(super) fn gather_where(&mut self, load: &Load, offsets: &[Handle<Index>], predicate: Handle<Predicate>) -> Use {
        let lanes = load.ty.lanes;
        let own: Vec<_> = (0..lanes).map(|lane| self.condition_at(predicate, lane)).collect();
        let mut groups: Vec<(Handle<Predicate>, Vec<usize>)> = Vec::new();
        for (lane, &condition) in own.iter().enumerate() {
            match groups.iter_mut().find(|(known, _)| *known == condition) {
                Some((_, group)) => group.push(lane),
                None => groups.push((condition, vec![lane])),
            }
        }
        // What several lanes share is no matter of each.
        if groups.len() < own.len() {
            return self.in_groups(load, offsets, &groups);
        }
        let all = self.for_all(predicate, lanes);
        let whole = Load {
            predicate: None,
            ..*load
        };
        match self.b.kernel().indices.is_known(all) {
            Some(true) => self.gather(&whole, offsets),
            Some(false) => self.one_by_one(load, offsets, &own),
            None => {
                if self.distances(offsets).is_some() && !self.ends_once(predicate, lanes) {
                    self.note(load.place, false, load.ty.element.size() as i64, load.ty, Why::Masked);
                }
                let register = self.b.register("packet", load.ty);
                self.b.enter();
                let packet = self.gather(&whole, offsets);
                self.b.assign(register, packet);
                let accept = self.b.leave();
                self.b.enter();
                let packet = self.one_by_one(load, offsets, &own);
                self.b.assign(register, packet);
                let reject = self.b.leave();
                self.b.push(Statement::If {
                    condition: all,
                    accept,
                    reject,
                });
                self.b.read(register)
            }
        }
    }

    /// Lanes by their conditions, those of each together.
    pub(super) fn in_groups(
        &mut self,
        load: &Load,
        offsets: &[Handle<Index>],
        groups: &[(Handle<Predicate>, Vec<usize>)],
    ) -> Use {
        let mut parts: Vec<Use> = vec![Literal::zero(load.ty.element).into(); offsets.len()];
        for (condition, lanes) in groups {
            let known = self.b.kernel().indices.is_known(*condition);
            if known == Some(false) {
                continue;
            }
            let own: Vec<_> = lanes.iter().map(|lane| offsets[*lane]).collect();
            let group = Load {
                ty: load.ty.with_lanes(own.len() as u8),
                predicate: Some(*condition).filter(|_| known.is_none()),
                ..*load
            };
            let packet = self.gather(&group, &own);
            for (at, lane) in lanes.iter().enumerate() {
                parts[*lane] = self.lane_of(packet, at as u8);
            }
        }
        self.b.join(parts)
    }

    /// Every lane by itself, under its own condition.
    pub(super) fn one_by_one(
        &mut self,
        load: &Load,
        offsets: &[Handle<Index>],
        conditions: &[Handle<Predicate>],
    ) -> Use {
        let mut parts = Vec::with_capacity(offsets.len());
        for (&offset, &condition) in offsets.iter().zip(conditions) {
            let predicate = Some(condition);
            parts.push(self.one(&Load { predicate, ..*load }, offset));
        }
        self.b.join(parts)
    }

    pub(super) fn one(&mut self, load: &Load, offset: Handle<Index>) -> Use {
        let known = load
            .predicate
            .map(|predicate| self.b.kernel().indices.is_known(predicate));
        let element = load.ty.element;
        if known == Some(Some(false)) {
            return Literal::zero(element).into();
        }
        self.b.load(Load {
            place: Place { offset, ..load.place },
            ty: Type::scalar(element),
            predicate: load.predicate.filter(|_| known != Some(Some(true))),
            ..*load
        })
    }

    /// All lanes, whose condition is the same.
    pub(super) fn gather(&mut self, load: &Load, offsets: &[Handle<Index>]) -> Use {
        let Load { ty, .. } = *load;
        let size = ty.element.size() as i64;
        let Some(distances) = self.distances(offsets) else {
            // These may be some lanes of those that the offset moves with.
            let lanes = self.b.kernel().lanes_of(load.place.offset);
            if lanes.is_some_and(|lanes| self.is_mostly_still(load.place.offset, lanes)) {
                return self.still_or_not(load, offsets);
            }
            let why = self.why_unknown(load.place.offset);
            self.note(load.place, false, size, ty, why);
            let parts = offsets.iter().map(|offset| self.one(load, *offset)).collect();
            return self.b.join(parts);
        };
        let mut distinct = distances.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if let [_] = *distinct {
            return self.one_for_all(load, offsets[0]);
        }
        // Where each element is: which packet, and which lane of it.
        let mut found: BTreeMap<i64, (Use, u8)> = BTreeMap::new();
        let mut packets = Vec::new();
        for piece in self.pieces(load, offsets[0], &distinct) {
            let offset = self.b.indices().offset(offsets[0], piece.start);
            let place = Place { offset, ..load.place };
            let loaded = match piece.is_aligned {
                true => {
                    let ty = Type::packet(ty.element, (piece.bytes / size) as u8);
                    vec![self.b.load(Load { place, ty, ..*load })]
                }
                false => self.realigned(load, place, piece.bytes),
            };
            let mut at = piece.start;
            for packet in loaded {
                packets.push(packet);
                for lane in 0..self.b.kernel().ty(packet).lanes {
                    found.insert(at, (packet, lane));
                    at += size;
                }
            }
        }
        let lanes: u32 = packets
            .iter()
            .map(|packet| u32::from(self.b.kernel().ty(*packet).lanes))
            .sum();
        let in_order = distances.windows(2).all(|pair| pair[1] == pair[0] + size);
        if in_order && lanes == u32::from(ty.lanes) {
            return self.b.join(packets);
        }
        let places: Vec<(Use, u8)> = distances
            .iter()
            .filter_map(|distance| found.get(distance).copied())
            .collect();
        let mut parts = Vec::with_capacity(places.len());
        for (packet, lane) in places {
            parts.push(self.b.part(packet, lane, 1));
        }
        self.b.join(parts)
    }

    /// The element that all lanes have.
    fn one_for_all(&mut self, load: &Load, offset: Handle<Index>) -> Use {
        let (value, lanes) = (self.one(load, offset), load.ty.lanes);
        match lanes {
            1 => value,
            _ => self.b.emit(Operation::Repeat { value, lanes }),
        }
    }

    /// One element for all lanes if the first and the last one have the same, else one for each.
    fn still_or_not(&mut self, load: &Load, offsets: &[Handle<Index>]) -> Use {
        let condition = self.b.indices().equal(offsets[0], offsets[offsets.len() - 1]);
        let register = self.b.register("packet", load.ty);
        self.b.enter();
        let packet = self.one_for_all(load, offsets[0]);
        self.b.assign(register, packet);
        let accept = self.b.leave();
        self.b.enter();
        let parts = offsets.iter().map(|offset| self.one(load, *offset)).collect();
        let packet = self.b.join(parts);
        self.b.assign(register, packet);
        let reject = self.b.leave();
        self.b.push(Statement::If {
            condition,
            accept,
            reject,
        });
        self.b.read(register)
    }

    /// What to load so that it has the elements at these distances from an offset, which are in order.
    fn pieces(&mut self, load: &Load, offset: Handle<Index>, distances: &[i64]) -> Vec<Piece> {
        let size = load.ty.element.size() as i64;
        let is_global = self.b.kernel().buffers[load.place.buffer].space() == Space::Global;
        let (mut pieces, mut narrowest) = (Vec::new(), (WIDEST, None));
        for (start, count) in runs(distances, size) {
            let (mut at, end) = (start, start + count * size);
            while at < end {
                let divisor = self.divisor(load.place, offset, at);
                let rest = end - at;
                let bytes = largest_power(rest).min(divisor).max(size);
                // Neighbours at any address, where that takes fewer accesses.
                let shifted = rest >= WIDEST || packets_of(rest, divisor) < rest / bytes;
                let piece = if is_global && size <= divisor && divisor < WIDEST && shifted {
                    Piece {
                        start: at,
                        bytes: rest,
                        is_aligned: false,
                    }
                } else {
                    if bytes < narrowest.0 && bytes < rest {
                        narrowest = (bytes, Some(Why::Unaligned(divisor as u64)));
                    }
                    Piece {
                        start: at,
                        bytes,
                        is_aligned: true,
                    }
                };
                at += piece.bytes;
                pieces.push(piece);
            }
            if count * size < WIDEST && distances.len() as i64 > count && count * size < narrowest.0 {
                narrowest = (count * size, Some(Why::Apart(distances[count as usize] - distances[0])));
            }
        }
        if is_global && let Some(found) = self.with_gaps(load.place, offset, distances, size) {
            let accesses = |pieces: &[Piece]| {
                let of = |piece: &Piece| {
                    if piece.is_aligned {
                        1
                    } else {
                        packets_of(piece.bytes, size)
                    }
                };
                pieces.iter().map(of).sum::<i64>()
            };
            if accesses(&found) < accesses(&pieces) {
                let bytes = found[0].bytes.min(WIDEST);
                let is_narrow = found[0].is_aligned && bytes < WIDEST;
                narrowest = (bytes, is_narrow.then_some(Why::Unaligned(bytes as u64)));
                pieces = found;
            }
        }
        if let (bytes, Some(why)) = narrowest {
            self.note(load.place, false, bytes, load.ty, why);
        }
        pieces
    }

    /// Elements together with what lies between them: aligned packets, each of which has one of them. So no page is
    /// touched that is not the tensor's.
    fn with_gaps(&mut self, place: Place, offset: Handle<Index>, distances: &[i64], size: i64) -> Option<Vec<Piece>> {
        let (first, last) = (*distances.first()?, *distances.last()?);
        // How far before the first element an address is that more divides.
        let befores: Vec<i64> = (0..WIDEST / size).map(|count| count * size).collect();
        let (unit, before) = befores
            .into_iter()
            .map(|before| (self.divisor(place, offset, first - before), before))
            .filter(|(unit, before)| before < unit)
            .max_by_key(|(unit, before)| (*unit, -before))?;
        let mut starts: Vec<i64> = distances.iter().map(|at| at - (at - first + before) % unit).collect();
        starts.dedup();
        if unit > size && (unit == WIDEST || starts.len() < distances.len()) {
            let piece = |start| Piece {
                start,
                bytes: unit,
                is_aligned: true,
            };
            return Some(starts.into_iter().map(piece).collect());
        }
        let are_close = distances.windows(2).all(|pair| pair[1] - pair[0] - size < WIDEST);
        let whole = Piece {
            start: first,
            bytes: last - first + size,
            is_aligned: false,
        };
        (are_close && unit >= size).then(|| vec![whole])
    }

    /// What is known to divide the address so far behind an offset, up to 16.
    fn divisor(&mut self, place: Place, offset: Handle<Index>, behind: i64) -> i64 {
        let offset = self.b.indices().offset(offset, behind);
        self.b.kernel().divisor_of(Place { offset, ..place }).min(WIDEST as u64) as i64
    }
}

/// Bytes that are loaded at once.
struct Piece {
    /// How far they are behind the first element's.
    start: i64,
    /// How many.
    bytes: i64,
    /// Whether their address is a multiple of so many; else they are shifted together.
    is_aligned: bool,
}

/// Where neighbours begin, and how many there are, of places in order.
fn runs(places: &[i64], size: i64) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for &place in places {
        match runs.last_mut() {
            Some((start, count)) if *start + *count * size == place && *count < MAX_LANES.into() => *count += 1,
            _ => runs.push((place, 1)),
        }
    }
    runs
}
