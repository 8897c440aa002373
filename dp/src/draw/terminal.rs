//! A gathered buffer in block characters.

use std::fmt::Write;

use super::{quantity, summary};
use crate::layout::GatheredLayout;

const REAL: char = '█';
const PADDING: char = '░';

/// Bars shorter than this say nothing; a narrower terminal wraps.
const MIN_BAR: usize = 10;

/// The most columns that are drawn; a wider terminal is left empty on the right.
pub const MAX_COLUMNS: usize = 1 << 10;

/// Draws a layout for a terminal of `columns` columns, of which it takes at most [`MAX_COLUMNS`]. Each rank has one line:
/// where it starts, its real and padded rows, and a bar whose length is proportional to its rows.
///
/// ```
/// use tilewright_dp::{draw, layout::{GatheredLayout, HiddenState, PaddingMode}};
///
/// let layout = GatheredLayout::new(PaddingMode::Max, &[20, 3, 0, 10], 1, HiddenState::bf16(7168))?;
/// assert_eq!(draw::terminal(&layout, 80), "\
/// MAX: 80 rows (47 padding) × 14336 B = 1.09 MiB, 4 ranks
/// rank  start  real  rows
///    0      0    20    20  ████████████████████
///    1     20     3    20  ███░░░░░░░░░░░░░░░░░
///    2     40     0    20  ░░░░░░░░░░░░░░░░░░░░
///    3     60    10    20  ██████████░░░░░░░░░░
/// █ tokens   ░ padding   one block = 1 row
/// ");
/// # Ok::<(), tilewright_dp::layout::LayoutError>(())
/// ```
pub fn terminal(layout: &GatheredLayout, columns: usize) -> String {
    let width = |numbers: &[u64], title: &str| {
        let digits = numbers.iter().max().map_or(1, |number| number.to_string().len());
        digits.max(title.len())
    };
    let rank = width(&[layout.ranks().saturating_sub(1) as u64], "rank");
    let start = width(layout.starts(), "start");
    let real = width(layout.counts(), "real");
    let rows = width(layout.padded(), "rows");
    let labels = rank + start + real + rows + 4 * 2;
    let bar = columns.min(MAX_COLUMNS).saturating_sub(labels).max(MIN_BAR) as u64;
    let longest = layout.padded().iter().copied().max().unwrap_or(0);
    let scale = longest.div_ceil(bar).max(1);

    let mut text = summary(layout);
    text.push('\n');
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:>rank$}  {:>start$}  {:>real$}  {:>rows$}",
        "rank", "start", "real", "rows"
    );
    for r in 0..layout.ranks() {
        let (count, padded) = (layout.counts()[r], layout.padded()[r]);
        let line = format!(
            "{r:>rank$}  {:>start$}  {count:>real$}  {padded:>rows$}",
            layout.starts()[r]
        );
        let _ = writeln!(
            text,
            "{}",
            format!("{line}  {}", blocks(count, padded, scale)).trim_end()
        );
    }
    let _ = writeln!(
        text,
        "{REAL} tokens   {PADDING} padding   one block = {}",
        quantity(scale, "row")
    );
    text
}

/// A rank's bar. Whatever there is of each kind shows as at least one block, if two blocks fit.
fn blocks(count: u64, padded: u64, scale: u64) -> String {
    let length = padded.div_ceil(scale);
    let mut real = ((2 * count + scale) / (2 * scale)).min(length);
    if count > 0 {
        real = real.max(1);
    }
    if count < padded && length > 1 {
        real = real.min(length - 1);
    }
    let repeat = |block: char, times: u64| std::iter::repeat_n(block, times as usize);
    repeat(REAL, real).chain(repeat(PADDING, length - real)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{HiddenState, PaddingMode};

    fn draw(mode: PaddingMode, counts: &[u64], columns: usize) -> String {
        terminal(
            &GatheredLayout::new(mode, counts, 1, HiddenState::bf16(7168)).unwrap(),
            columns,
        )
    }

    #[test]
    fn a_long_rank_is_scaled_to_the_columns() {
        let text = draw(PaddingMode::Sum, &[32768, 64, 0], 80);
        let expected = "\
SUM: 32832 rows (0 padding) × 14336 B = 449 MiB, 3 ranks
rank  start   real   rows
   0      0  32768  32768  █████████████████████████████████████████████████████
   1  32768     64     64  █
   2  32832      0      0
█ tokens   ░ padding   one block = 619 rows
";
        assert_eq!(text, expected);
    }

    #[test]
    fn lines_keep_to_the_columns() {
        for columns in [60, 80, 100, 120] {
            for mode in [PaddingMode::Max, PaddingMode::Sum] {
                let text = draw(mode, &[100, 37, 2048, 999, 0, 1], columns);
                let longest = text.lines().skip(1).map(|line| line.chars().count()).max().unwrap();
                assert!(
                    (columns - 10..=columns).contains(&longest),
                    "{columns}: {longest}\n{text}"
                );
            }
        }
    }

    #[test]
    fn a_single_row_of_either_kind_shows() {
        assert_eq!(
            blocks(1, 10_000, 100),
            format!("{REAL}{}", PADDING.to_string().repeat(99))
        );
        assert_eq!(
            blocks(9_999, 10_000, 100),
            format!("{}{PADDING}", REAL.to_string().repeat(99))
        );
        assert_eq!(blocks(1, 2, 2), "█");
        assert_eq!(blocks(0, 0, 1), "");
    }

    #[test]
    fn the_widest_terminal_draws() {
        let text = draw(PaddingMode::Max, &[1 << 30, 1], usize::MAX);
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!((MAX_COLUMNS - 10..=MAX_COLUMNS).contains(&longest), "{longest}");
    }

    #[test]
    fn an_empty_buffer_and_a_narrow_terminal_draw() {
        assert!(draw(PaddingMode::Max, &[0, 0], 80).contains("   1      0     0     0\n"));
        assert!(draw(PaddingMode::Max, &[20], 0).contains("██████████\n"));
    }
}
