//! Errors as words: rank 0 tells the others why there is no group any more.

use std::time::Duration;

use super::super::{CollectiveError, Refusal};

const TEXT: u64 = 0;
const LATE: u64 = 1;
const GONE: u64 = 2;
const MALFORMED: u64 = 3;
const OTHER_VERSION: u64 = 4;
const OTHER_SIZE: u64 = 5;
const CAME_TWICE: u64 = 6;
const NO_SUCH_RANK: u64 = 7;

/// The most of a text that is told.
const TEXT_BYTES: usize = 1 << 12;

/// An error as the others are told it.
pub(super) fn to_words(error: &CollectiveError) -> Vec<u64> {
    match error {
        CollectiveError::Late { missing, .. } => std::iter::once(LATE)
            .chain(missing.iter().map(|&rank| rank as u64))
            .collect(),
        CollectiveError::Gone { gone } => vec![GONE, *gone as u64],
        CollectiveError::Malformed { from } => vec![MALFORMED, *from as u64],
        &CollectiveError::Refused { rank, refusal } => match refusal {
            Refusal::OtherVersion { theirs, ours } => vec![OTHER_VERSION, rank, theirs, ours],
            Refusal::OtherSize { theirs, ours } => vec![OTHER_SIZE, rank, theirs, ours],
            Refusal::CameTwice => vec![CAME_TWICE, rank],
            Refusal::NoSuchRank { ranks } => vec![NO_SUCH_RANK, rank, ranks],
        },
        other => {
            let text = other.to_string();
            let ends = text.char_indices().map(|(at, letter)| at + letter.len_utf8());
            let bytes = &text.as_bytes()[..ends.take_while(|&end| end <= TEXT_BYTES).last().unwrap_or(0)];
            let words = bytes.chunks(8).map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            });
            std::iter::once(TEXT).chain(words).collect()
        }
    }
}

/// What `rank` was told, which waited for `limit`.
pub(super) fn from_words(words: &[u64], rank: usize, limit: Duration) -> CollectiveError {
    let of = |word: u64| usize::try_from(word).unwrap_or(usize::MAX);
    match *words {
        [LATE, ref missing @ ..] => CollectiveError::Late {
            rank,
            limit,
            missing: missing.iter().copied().map(of).collect(),
        },
        [GONE, gone] => CollectiveError::Gone { gone: of(gone) },
        [MALFORMED, from] => CollectiveError::Malformed { from: of(from) },
        [OTHER_VERSION, rank, theirs, ours] => CollectiveError::Refused {
            rank,
            refusal: Refusal::OtherVersion { theirs, ours },
        },
        [OTHER_SIZE, rank, theirs, ours] => CollectiveError::Refused {
            rank,
            refusal: Refusal::OtherSize { theirs, ours },
        },
        [CAME_TWICE, rank] => CollectiveError::Refused {
            rank,
            refusal: Refusal::CameTwice,
        },
        [NO_SUCH_RANK, rank, ranks] => CollectiveError::Refused {
            rank,
            refusal: Refusal::NoSuchRank { ranks },
        },
        [TEXT, ref text @ ..] => {
            let bytes: Vec<u8> = text.iter().flat_map(|word| word.to_le_bytes()).collect();
            let reason = String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned();
            CollectiveError::Failed { reason }
        }
        _ => CollectiveError::Malformed { from: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_told_with_the_ranks_that_it_names() {
        let limit = Duration::from_secs(3);
        let refused = |refusal| CollectiveError::Refused { rank: 5, refusal };
        let errors = [
            CollectiveError::Late {
                rank: 4,
                limit,
                missing: vec![1, 9],
            },
            CollectiveError::Gone { gone: 7 },
            CollectiveError::Malformed { from: 3 },
            refused(Refusal::OtherVersion { theirs: 1, ours: 2 }),
            refused(Refusal::OtherSize { theirs: 8, ours: 4 }),
            refused(Refusal::CameTwice),
            refused(Refusal::NoSuchRank { ranks: 4 }),
        ];
        for error in errors {
            let told = from_words(&to_words(&error), 4, limit);
            assert_eq!(told.to_string(), error.to_string());
        }
        let other = CollectiveError::TooManyWords { words: 9, most: 4 };
        let told = from_words(&to_words(&other), 4, limit).to_string();
        assert!(told.contains(&other.to_string()), "{told}");
    }

    #[test]
    fn damaged_words_are_an_error_all_the_same() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let words: Vec<u64> = (0..random.usize(0..6))
                .map(|_| random.u64(..) >> random.u32(0..64))
                .collect();
            let _ = from_words(&words, 1, Duration::ZERO).to_string();
        }
    }
}
