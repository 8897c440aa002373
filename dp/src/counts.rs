//! Lists of numbers as people write them, and token counts as engines exchange them.

use tilewright_dsl::call::MAX_COUNT;

use crate::text::value;

/// A list of token counts that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountsError {
    /// There is no entry at all.
    #[error("the list of token counts is empty; write one count per rank, separated by commas: `20,20,0,7`")]
    Empty,
    /// Two commas with nothing between them, or a comma at an end.
    #[error("the token count of rank {rank} is missing; write 0 for a rank without tokens")]
    Missing {
        /// The rank, counted from 0.
        rank: usize,
    },
    /// An entry that is no whole number.
    #[error("the token count of rank {rank} is `{}`, which is not a whole number", value(text))]
    NotANumber {
        /// The rank, counted from 0.
        rank: usize,
        /// The entry as it was written.
        text: String,
    },
    /// An entry below zero.
    #[error("the token count of rank {rank} is {}; a count cannot be negative", value(text))]
    Negative {
        /// The rank, counted from 0.
        rank: usize,
        /// The entry as it was written.
        text: String,
    },
    /// An entry over [`MAX_COUNT`].
    #[error(
        "the token count of rank {rank} is {}; the largest count is {MAX_COUNT}",
        value(text)
    )]
    TooLarge {
        /// The rank, counted from 0.
        rank: usize,
        /// The entry as it was written.
        text: String,
    },
}

/// A list of captured sizes that cannot be used. Entries are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizesError {
    /// There is no entry at all.
    #[error("the list of sizes is empty; write those that were captured, separated by commas: `8,16,32`")]
    Empty,
    /// Two commas with nothing between them, or a comma at an end.
    #[error("entry {entry} of the list of sizes is missing; leave out the comma")]
    Missing {
        /// Which entry.
        entry: usize,
    },
    /// An entry that is no size.
    #[error(
        "entry {entry} of the list of sizes is `{}`, which is not a whole number from 1 to {MAX_COUNT}",
        value(text)
    )]
    NotASize {
        /// Which entry.
        entry: usize,
        /// It as it was written.
        text: String,
    },
}

/// What is wrong with one entry.
enum Mistake {
    Missing,
    NotANumber,
    Negative,
    TooLarge,
}

/// Reads counts written as `20,20,0,7`, one per rank. Spaces around an entry do not matter.
///
/// # Errors
/// Says which rank's entry is wrong and why.
///
/// ```
/// use tilewright_dp::counts;
///
/// assert_eq!(counts::parse("20, 0,7")?, [20, 0, 7]);
/// let error = counts::parse("20,-1").unwrap_err();
/// assert_eq!(error.to_string(), "the token count of rank 1 is -1; a count cannot be negative");
/// # Ok::<(), counts::CountsError>(())
/// ```
pub fn parse(text: &str) -> Result<Vec<u64>, CountsError> {
    let entry = |(rank, entry): (usize, &str)| {
        let text = || entry.trim().to_owned();
        number(entry).map_err(|mistake| match mistake {
            Mistake::Missing => CountsError::Missing { rank },
            Mistake::NotANumber => CountsError::NotANumber { rank, text: text() },
            Mistake::Negative => CountsError::Negative { rank, text: text() },
            Mistake::TooLarge => CountsError::TooLarge { rank, text: text() },
        })
    };
    match text.trim() {
        "" => Err(CountsError::Empty),
        text => text.split(',').enumerate().map(entry).collect(),
    }
}

/// Reads the sizes of captured graphs written as `8,16,32`. Spaces around an entry do not matter.
///
/// # Errors
/// Says which entry is wrong and why.
///
/// ```
/// use tilewright_dp::counts;
///
/// assert_eq!(counts::parse_sizes("8, 16,32")?, [8, 16, 32]);
/// let error = counts::parse_sizes("8,").unwrap_err();
/// assert_eq!(error.to_string(), "entry 2 of the list of sizes is missing; leave out the comma");
/// # Ok::<(), counts::SizesError>(())
/// ```
pub fn parse_sizes(text: &str) -> Result<Vec<u64>, SizesError> {
    let entry = |(before, text): (usize, &str)| match (number(text), text.trim().to_owned()) {
        (Ok(size), _) if size > 0 => Ok(size),
        (Err(Mistake::Missing), _) => Err(SizesError::Missing { entry: before + 1 }),
        (_, text) => Err(SizesError::NotASize {
            entry: before + 1,
            text,
        }),
    };
    match text.trim() {
        "" => Err(SizesError::Empty),
        text => text.split(',').enumerate().map(entry).collect(),
    }
}

/// A whole number up to [`MAX_COUNT`].
fn number(entry: &str) -> Result<u64, Mistake> {
    let entry = entry.trim();
    if entry.is_empty() {
        return Err(Mistake::Missing);
    }
    let (negative, digits) = match entry.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, entry.strip_prefix('+').unwrap_or(entry)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Mistake::NotANumber);
    }
    // Only digits are left, so what fails to parse is too large.
    match digits.parse::<u64>() {
        Ok(0) => Ok(0),
        _ if negative => Err(Mistake::Negative),
        Ok(count) if count <= MAX_COUNT => Ok(count),
        Ok(_) | Err(_) => Err(Mistake::TooLarge),
    }
}

/// Takes over counts that ranks exchanged as signed integers.
///
/// # Errors
/// A count is negative or too large, or there is none.
pub fn from_signed(counts: &[i64]) -> Result<Vec<u64>, CountsError> {
    if counts.is_empty() {
        return Err(CountsError::Empty);
    }
    let checked = |(rank, &count): (usize, &i64)| match u64::try_from(count) {
        Ok(count) if count <= MAX_COUNT => Ok(count),
        Ok(_) => Err(CountsError::TooLarge {
            rank,
            text: count.to_string(),
        }),
        Err(_) => Err(CountsError::Negative {
            rank,
            text: count.to_string(),
        }),
    };
    counts.iter().enumerate().map(checked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_order() {
        assert_eq!(parse("20"), Ok(vec![20]));
        assert_eq!(parse(" 1 , 0,+3,-0 "), Ok(vec![1, 0, 3, 0]));
        assert_eq!(parse(&MAX_COUNT.to_string()), Ok(vec![MAX_COUNT]));
    }

    #[test]
    fn every_mistake_names_its_rank() {
        let text = |t: &str| t.to_owned();
        assert_eq!(parse("  "), Err(CountsError::Empty));
        assert_eq!(parse("1,,2"), Err(CountsError::Missing { rank: 1 }));
        assert_eq!(parse("1,2,"), Err(CountsError::Missing { rank: 2 }));
        assert_eq!(
            parse("1,two"),
            Err(CountsError::NotANumber {
                rank: 1,
                text: text("two")
            })
        );
        assert_eq!(
            parse("1.5"),
            Err(CountsError::NotANumber {
                rank: 0,
                text: text("1.5")
            })
        );
        assert_eq!(
            parse("--3"),
            Err(CountsError::NotANumber {
                rank: 0,
                text: text("--3")
            })
        );
        assert_eq!(
            parse("-"),
            Err(CountsError::NotANumber {
                rank: 0,
                text: text("-")
            })
        );
        assert_eq!(
            parse("3,-4"),
            Err(CountsError::Negative {
                rank: 1,
                text: text("-4")
            })
        );
        for large in ["99999999999999999999999", "1099511627777"] {
            assert_eq!(
                parse(large),
                Err(CountsError::TooLarge {
                    rank: 0,
                    text: text(large)
                })
            );
        }
    }

    #[test]
    fn sizes_have_messages_of_their_own() {
        assert_eq!(parse_sizes(" 5, +8 "), Ok(vec![5, 8]));
        assert_eq!(parse_sizes(" "), Err(SizesError::Empty));
        for (text, missing) in [("5,", 2), (",5", 1), ("1,,2", 2), (",", 1)] {
            assert_eq!(parse_sizes(text), Err(SizesError::Missing { entry: missing }));
        }
        for wrong in ["0", "-1", "x", "1.5", "99999999999999999999999", "1099511627777"] {
            let text = wrong.to_owned();
            assert_eq!(
                parse_sizes(&format!("4,{wrong}")),
                Err(SizesError::NotASize { entry: 2, text })
            );
        }
    }

    #[test]
    fn a_huge_entry_is_not_repeated_whole() {
        for entry in [
            "x".repeat(1 << 20),
            "9".repeat(1 << 20),
            format!("-{}", "9".repeat(1 << 20)),
        ] {
            assert!(parse(&entry).unwrap_err().to_string().len() < 300);
            assert!(parse_sizes(&entry).unwrap_err().to_string().len() < 300);
        }
    }

    #[test]
    fn signed_counts_are_checked() {
        assert_eq!(from_signed(&[0, 7]), Ok(vec![0, 7]));
        assert_eq!(from_signed(&[]), Err(CountsError::Empty));
        assert_eq!(
            from_signed(&[1, -1]),
            Err(CountsError::Negative {
                rank: 1,
                text: "-1".into()
            })
        );
        assert_eq!(
            from_signed(&[i64::MAX]),
            Err(CountsError::TooLarge {
                rank: 0,
                text: i64::MAX.to_string()
            })
        );
    }
}
