//! Damaged files and bundles: `TILEWRIGHT_FUZZ_INPUTS=1000000 cargo test --release -p tilewright-runtime --lib cache::fuzz`.

use super::StoredCubin;
use super::bundle::{Bundle, BundleBuilder};
use super::tests::stored;
use crate::fuzz::fuzz;

/// One to four changes, of which each may undo another.
fn damage(bytes: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    for _ in 0..rng.usize(1..=4) {
        let at = |rng: &mut fastrand::Rng, length: usize| rng.usize(..=length);
        match (rng.u8(..8), bytes.len()) {
            (_, 0) => bytes.push(rng.u8(..)),
            (0, length) => bytes.truncate(at(rng, length)),
            (1, length) => {
                let at = at(rng, length);
                bytes.splice(at..at, (0..rng.usize(1..40)).map(|_| 0x5a));
            }
            (2, length) => {
                let (from, to) = (at(rng, length), at(rng, length));
                bytes.drain(from.min(to)..from.max(to).min(from.min(to) + 64));
            }
            (3, length) => {
                let from = at(rng, length);
                let part = bytes[from..length.min(from + 64)].to_vec();
                let at = at(rng, length);
                bytes.splice(at..at, part);
            }
            (4, length) => {
                let from = rng.usize(..length);
                let end = length.min(from + rng.usize(1..64));
                bytes[from..end].fill([0, 0xff][rng.usize(..2)]);
            }
            // Mostly in the head, where everything counts.
            (5, length) => {
                let at = rng.usize(..length.min(160));
                bytes[at] = rng.u8(..);
            }
            (6, length) => {
                let at = rng.usize(..length);
                bytes[at] ^= 1 << rng.u8(..8);
            }
            (_, length) => {
                let at = rng.usize(..length.min(160));
                let word = [0, 1, u32::MAX, 1 << 31, length as u32, rng.u32(..)][rng.usize(..6)].to_le_bytes();
                let end = length.min(at + 4);
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
        }
    }
}

/// Makes a checksum right: of the bytes in front of it, and of those behind it up to an end.
pub(super) fn seal(bytes: &mut [u8], at: usize, end: usize) {
    if at + 32 <= end && end <= bytes.len() {
        let mut hash = blake3::Hasher::new();
        hash.update(&bytes[..at]).update(&bytes[at + 32..end]);
        let checksum = hash.finalize();
        bytes[at..at + 32].copy_from_slice(checksum.as_bytes());
    }
}

#[test]
fn a_damaged_file_is_no_cubin() {
    fuzz(|rng| {
        let whole = stored(rng.u64(..1000), rng.usize(..300));
        let original = whole.encode().expect("bytes");
        let mut bytes = original.clone();
        damage(&mut bytes, rng);
        let sealed = rng.bool();
        if sealed {
            let end = bytes.len();
            seal(&mut bytes, 56, end);
        }
        match StoredCubin::decode(&bytes) {
            Ok(read) => {
                assert!(sealed || bytes == original, "damage was not seen");
                assert_eq!(read.encode().expect("bytes"), bytes, "something of it was not read");
                true
            }
            Err(_) => false,
        }
    });
}

#[test]
fn a_damaged_bundle_gives_whole_cubins_or_none() {
    fuzz(|rng| {
        let builder = BundleBuilder::new();
        let wanted: Vec<_> = (0..rng.u64(..5)).map(|seed| stored(seed, rng.usize(..100))).collect();
        wanted.iter().for_each(|stored| builder.add(stored.clone()));
        let mut bytes = builder.to_bytes().expect("a bundle");
        damage(&mut bytes, rng);
        if rng.bool() {
            let count = bytes
                .get(12..16)
                .map_or(0, |count| u32::from_le_bytes([count[0], count[1], count[2], count[3]]));
            let end = 48usize.saturating_add((count as usize).saturating_mul(48));
            seal(&mut bytes, 16, end);
        }
        let Ok(bundle) = Bundle::from_bytes(bytes) else {
            return false;
        };
        for key in bundle.keys() {
            if let Ok(Some(read)) = bundle.get(&key) {
                // Each has a checksum that nothing here makes right again.
                assert!(wanted.contains(&read), "a cubin that was never put in: {read:?}");
            }
        }
        wanted.iter().for_each(|stored| drop(bundle.get(&stored.key)));
        true
    });
}
