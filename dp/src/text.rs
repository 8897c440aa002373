//! What a user wrote, in messages.

use std::fmt::Write;

/// The most characters of a user's value that a message repeats.
pub const VALUE: usize = 80;

/// The most characters of a message that is others' and may repeat a user's value.
pub const MESSAGE: usize = 600;

/// A text for a message: at most about `most` characters of it, from both ends, with its length in bytes if some are left
/// out. Control characters are escaped, so that a value cannot break a line or steer a terminal.
///
/// ```
/// use tilewright_dp::text::shortened;
///
/// assert_eq!(shortened("20,20,x", 80), "20,20,x");
/// assert_eq!(shortened("two\nlines", 80), "two\\nlines");
/// assert_eq!(shortened(&"0123456789".repeat(1000), 10), "01234…56789 (10000 bytes)");
/// ```
pub fn shortened(text: &str, most: usize) -> String {
    let mut short = String::new();
    let mut push = |part: &str| {
        for character in part.chars() {
            match character.is_control() {
                // Writing to a string cannot fail.
                true => drop(write!(short, "{}", character.escape_default())),
                false => short.push(character),
            }
        }
    };
    if text.char_indices().nth(most).is_none() {
        push(text);
        return short;
    }
    let half = most / 2;
    let head: usize = text.chars().take(half).map(char::len_utf8).sum();
    let tail: usize = text.chars().rev().take(half).map(char::len_utf8).sum();
    push(&text[..head]);
    push("…");
    push(&text[text.len() - tail..]);
    let _ = write!(short, " ({} bytes)", text.len());
    short
}

/// A user's value for a message: [`shortened`] to [`VALUE`] characters.
pub(crate) fn value(text: &str) -> String {
    shortened(text, VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_most_characters_is_whole_and_one_more_is_not() {
        assert_eq!(value(&"é".repeat(VALUE)), "é".repeat(VALUE));
        let short = value(&"é".repeat(VALUE + 1));
        assert_eq!(short, format!("{0}…{0} (162 bytes)", "é".repeat(VALUE / 2)));
    }

    #[test]
    fn megabytes_are_short_whatever_they_are_made_of() {
        for part in ["x", "\u{1b}[31m", "\n", "\u{10ffff}", "…"] {
            let text = part.repeat(1 << 20);
            assert!(value(&text).len() < 1000, "{part:?}");
            assert!(!value(&text).contains(char::is_control));
        }
        assert_eq!(shortened("abc", 0), "… (3 bytes)");
        assert_eq!(shortened("", 0), "");
    }
}
