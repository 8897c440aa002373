//! Stores.

use super::{WIDEST, Why, Widen, largest_power};
use crate::ir::Handle;
use crate::thread::{Index, Operation, Place, Predicate, Statement, Store, Use};

impl Widen {
    pub(super) fn store(&mut self, store: Store) {
        let value = self.packet(store.value);
        let store = Store { value, ..store };
        let kernel = self.b.kernel();
        let of_predicate = store
            .predicate
            .map_or(1, |predicate| kernel.ty(Use::Predicate(predicate)).lanes);
        let lanes = kernel.lanes_of(store.place.offset).unwrap_or(1).max(of_predicate);
        if lanes == 1 {
            return self.b.push(Statement::Store(store));
        }
        let offsets = self.offsets(store.place, lanes);
        let Some(predicate) = store.predicate.filter(|_| of_predicate > 1) else {
            return self.scatter(&store, &offsets);
        };
        let condition = self.for_all(predicate, lanes);
        if self.distances(&offsets).is_some() && !self.ends_once(predicate, lanes) {
            let ty = self.b.kernel().ty(store.value).with_lanes(lanes);
            self.note(store.place, true, ty.element.size() as i64, ty, Why::Masked);
        }
        let whole = Store {
            predicate: None,
            ..store
        };
        self.b.enter();
        self.scatter(&whole, &offsets);
        let accept = self.b.leave();
        self.b.enter();
        for (lane, &offset) in offsets.iter().enumerate() {
            let predicate = self.condition_at(predicate, lane as u8);
            let value = self.lane_of(store.value, lane as u8);
            self.store_one(&Store { value, ..store }, offset, Some(predicate));
        }
        let reject = self.b.leave();
        self.b.push(Statement::If {
            condition,
            accept,
            reject,
        });
    }

    pub(super) fn store_one(&mut self, store: &Store, offset: Handle<Index>, predicate: Option<Handle<Predicate>>) {
        let known = predicate.map(|predicate| self.b.kernel().indices.is_known(predicate));
        if known == Some(Some(false)) {
            return;
        }
        self.b.store(Store {
            place: Place { offset, ..store.place },
            predicate: predicate.filter(|_| known != Some(Some(true))),
            ..*store
        });
    }

    /// All lanes, whose condition is the same.
    pub(super) fn scatter(&mut self, store: &Store, offsets: &[Handle<Index>]) {
        let ty = self.b.kernel().ty(store.value).with_lanes(offsets.len() as u8);
        let size = ty.element.size() as i64;
        let distances = self.distances(offsets);
        let order = distances.as_ref().and_then(|distances| in_order(distances, size));
        let Some(order) = order else {
            let why = match &distances {
                Some(distances) => Why::Apart(distances.get(1).copied().unwrap_or(0)),
                None => self.why_unknown(store.place.offset),
            };
            self.note(store.place, true, size, ty, why);
            // In the order of the lanes: the last one stays.
            for (lane, &offset) in offsets.iter().enumerate() {
                let value = self.lane_of(store.value, lane as u8);
                self.store_one(&Store { value, ..*store }, offset, store.predicate);
            }
            return;
        };
        let is_packet = self.b.kernel().ty(store.value).lanes > 1;
        let value = match order.iter().enumerate().all(|(at, lane)| at == *lane) || !is_packet {
            true => store.value,
            false => {
                let parts = order
                    .iter()
                    .map(|lane| self.b.part(store.value, *lane as u8, 1))
                    .collect();
                self.b.join(parts)
            }
        };
        let start = offsets[order[0]];
        let (mut at, end) = (0, ty.lanes.into());
        let mut narrowest = None;
        while at < end {
            let offset = self.b.indices().offset(start, at * size);
            let place = Place { offset, ..store.place };
            let divisor = self.b.kernel().divisor_of(place).min(WIDEST as u64) as i64;
            let bytes = largest_power((end - at) * size).min(divisor).max(size);
            if bytes < WIDEST && bytes < (end - at) * size {
                narrowest = Some((bytes, divisor));
            }
            let count = (bytes / size) as u8;
            let value = match is_packet {
                true => self.b.part(value, at as u8, count),
                false if count == 1 => value,
                false => self.b.emit(Operation::Repeat { value, lanes: count }),
            };
            self.b.store(Store { place, value, ..*store });
            at += i64::from(count);
        }
        if let Some((bytes, divisor)) = narrowest {
            self.note(store.place, true, bytes, ty, Why::Unaligned(divisor as u64));
        }
    }
}

/// The lanes in the order of where they are, if they are neighbours and each is somewhere else.
fn in_order(distances: &[i64], size: i64) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..distances.len()).collect();
    order.sort_by_key(|lane| distances[*lane]);
    let neighbours = order
        .windows(2)
        .all(|pair| distances[pair[1]] == distances[pair[0]] + size);
    neighbours.then_some(order)
}
