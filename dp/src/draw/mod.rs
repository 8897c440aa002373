//! Pictures of a gathered buffer: one bar per rank, its real rows and its padding.
//!
//! [`terminal`] draws with block characters for a given number of columns, [`svg`] as a scalable image, [`svg_parts`]
//! one buffer for each micro-batch. Both are deterministic: one layout has one picture. [`timeline()`] draws what steps
//! allocate over time, [`times()`] how long things take in them.

mod image;
mod svg;
mod terminal;
mod timeline;
mod times;

pub use svg::{svg, svg_parts};
pub use terminal::{MAX_COLUMNS, terminal};
pub use timeline::{Lane, timeline};
pub use times::{Marks, Times, times};

use crate::layout::GatheredLayout;

/// One line that says what a layout is: `MAX: 160 rows (30 padding) × 14336 B = 2.19 MiB, 8 ranks`, followed by the
/// alignment if there is one.
pub fn summary(layout: &GatheredLayout) -> String {
    format!(
        "{}: {} ({} padding) × {} B = {}, {}{}",
        layout.mode(),
        quantity(layout.rows(), "row"),
        layout.rows() - layout.real_rows(),
        layout.row_bytes(),
        bytes(layout.bytes()),
        quantity(layout.ranks() as u64, "rank"),
        alignment(layout, ", "),
    )
}

/// `aligned to 4 rows` after a separator; nothing where rows are not aligned.
fn alignment(layout: &GatheredLayout, separator: &str) -> String {
    match layout.alignment() {
        1 => String::new(),
        alignment => format!("{separator}aligned to {alignment} rows"),
    }
}

/// `1 row`, `2 rows`.
pub(crate) fn quantity(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A size in the largest binary unit that keeps it at 1 or more, with three digits: `14.0 KiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Rounding may carry into the next unit: 1023.9 KiB is 1.00 MiB with three digits.
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{HiddenState, PaddingMode};

    #[test]
    fn sizes_have_three_digits() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (14336, "14.0 KiB"),
            (160 * 14336, "2.19 MiB"),
            (1 << 30, "1.00 GiB"),
            (3584 << 20, "3.50 GiB"),
            (700 << 20, "700 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn the_summary_counts_in_words() {
        let summary = |alignment| {
            summary(&GatheredLayout::new(PaddingMode::Max, &[1, 0], alignment, HiddenState::bf16(7168)).unwrap())
        };
        assert_eq!(summary(1), "MAX: 2 rows (1 padding) × 14336 B = 28.0 KiB, 2 ranks");
        assert_eq!(
            summary(2),
            "MAX: 4 rows (3 padding) × 14336 B = 56.0 KiB, 2 ranks, aligned to 2 rows"
        );
    }
}
