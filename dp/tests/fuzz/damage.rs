//! Damage to bytes.

use fastrand::Rng;

/// Numbers at which something may wrap, be too many to keep, or be no integer.
pub const NUMBERS: [&str; 24] = [
    "0",
    "-0",
    "1",
    "-1",
    "255",
    "256",
    "257",
    "1024",
    "16384",
    "16385",
    "65536",
    "16777216",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "1099511627776",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "1e400",
    "0.5",
];

/// What means something in JSON, in CSV, or to a decoder.
const PIECES: [&[u8]; 26] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\n",
    b"\r",
    b" ",
    b"-",
    b".",
    b"T",
    b"Z",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"null",
    b"true",
    b"\\u0000",
    b"\\ud800",
    b"NaN",
    b",,,,,,,,",
];

/// Damages a text in a few places.
pub fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(0..=bytes.len());
        match rng.u8(0..10) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => insert(bytes, at, PIECES[rng.usize(0..PIECES.len())]),
            3 => bytes.truncate(at),
            4 => {
                let part = bytes[at..bytes.len().min(at + rng.usize(1..40))].to_vec();
                let to = rng.usize(0..=bytes.len());
                for _ in 0..[1, 2, 50][rng.usize(0..3)] {
                    insert(bytes, to, &part);
                }
            }
            5 => drop(bytes.drain(at..bytes.len().min(at + rng.usize(1..40)))),
            6 => insert(bytes, at, &[rng.u8(..)]),
            _ => replace_number(rng, bytes, at),
        }
    }
}

/// Writes a number in the place of the next one.
fn replace_number(rng: &mut Rng, bytes: &mut Vec<u8>, from: usize) {
    let Some(begin) = (from..bytes.len()).find(|&at| bytes[at].is_ascii_digit()) else {
        return;
    };
    let end = (begin..bytes.len()).find(|&at| !bytes[at].is_ascii_digit());
    let end = end.unwrap_or(bytes.len());
    match rng.u8(0..8) {
        0 => drop(bytes.splice(begin..end, "9".repeat(rng.usize(1..400)).into_bytes())),
        _ => drop(bytes.splice(begin..end, NUMBERS[rng.usize(0..NUMBERS.len())].bytes())),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}
