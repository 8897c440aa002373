//! Token counts per rank, as people write them and as engines exchange them.

use tilewright_dsl::call::MAX_COUNT;

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
    #[error("the token count of rank {rank} is `{text}`, which is not a whole number")]
    NotANumber {
        /// The rank, counted from 0.
        rank: usize,
        /// The entry as it was written.
        text: String,
    },
    /// An entry below zero.
    #[error("the token count of rank {rank} is {text}; a count cannot be negative")]
    Negative {
        /// The rank, counted from 0.
        rank: usize,
        /// The entry as it was written.
        text: String,
    },
    /// An entry over [`MAX_COUNT`].
    #[error("the token count of rank {rank} is {text}; the largest count is {MAX_COUNT}")]
    TooLarge {
        /// The rank, counted from 0.
        rank: usize,
        /// The entry as it was written.
        text: String,
    },
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
    if text.trim().is_empty() {
        return Err(CountsError::Empty);
    }
    text.split(',')
        .enumerate()
        .map(|(rank, entry)| parse_entry(rank, entry.trim()))
        .collect()
}

fn parse_entry(rank: usize, entry: &str) -> Result<u64, CountsError> {
    if entry.is_empty() {
        return Err(CountsError::Missing { rank });
    }
    let text = entry.to_owned();
    let (negative, digits) = match entry.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, entry.strip_prefix('+').unwrap_or(entry)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CountsError::NotANumber { rank, text });
    }
    // Only digits are left, so what fails to parse is too large.
    match digits.parse::<u64>() {
        Ok(0) => Ok(0),
        _ if negative => Err(CountsError::Negative { rank, text }),
        Ok(count) if count <= MAX_COUNT => Ok(count),
        Ok(_) | Err(_) => Err(CountsError::TooLarge { rank, text }),
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
