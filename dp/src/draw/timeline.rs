//! Bytes over time as a scalable image.

use std::fmt::Write;
use std::time::Duration;

use super::bytes;
use super::image::{Image, MARGIN, WIDTH};

const LEFT: f64 = 130.0;
const RIGHT: f64 = WIDTH - MARGIN;
const TOP: f64 = 64.0;
const LANE: f64 = 64.0;
/// The part of a lane that its curve may fill.
const CURVE: f64 = 48.0;
/// Columns of a curve; each shows the most of the time that it stands for.
const COLUMNS: usize = 806;

/// One curve of a [`timeline()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// What it is.
    pub name: String,
    /// What else to say of it.
    pub note: String,
    /// When, and how many bytes, in order of time.
    pub points: Vec<(Duration, u64)>,
}

/// Draws bytes over time as an SVG document: lanes one below the other, to a common scale.
///
/// ```
/// use std::time::Duration;
/// use tilewright_dp::draw::{Lane, timeline};
///
/// let points = vec![(Duration::ZERO, 1024), (Duration::from_secs(1), 0), (Duration::from_secs(2), 2048)];
/// let image = timeline("Buffers", &[Lane { name: "ours".into(), note: "peak 2.00 KiB".into(), points }]);
/// assert!(image.starts_with("<svg ") && image.contains("2.00 KiB"));
/// ```
pub fn timeline(title: &str, lanes: &[Lane]) -> String {
    let points = || lanes.iter().flat_map(|lane| &lane.points);
    let end = points().map(|(time, _)| *time).max().unwrap_or_default();
    let most = points().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let height = TOP + LANE * lanes.len() as f64 + 32.0;
    let mut image = Image::new(title, title, height);
    let scale = format!("a lane is {} high", bytes(most));
    image.label("quiet right", RIGHT, 36.0, &scale);
    for (i, lane) in lanes.iter().enumerate() {
        let ground = TOP + LANE * (i + 1) as f64 - 8.0;
        image.label("name", MARGIN, ground - 18.0, &lane.name);
        image.label("quiet", MARGIN, ground - 2.0, &lane.note);
        image.line(format_args!(
            r#"<path class="real" d="{}"/>"#,
            curve(lane, end, most, ground)
        ));
        image.line(format_args!(
            r#"<line class="tick" x1="{LEFT}" x2="{RIGHT}" y1="{ground}" y2="{ground}"/>"#
        ));
    }
    let below = height - 12.0;
    image.label("quiet", LEFT, below, "0 s");
    image.label("quiet right", RIGHT, below, &format!("{:.0} s", end.as_secs_f64()));
    image.finish()
}

/// One bar for each column that is not empty.
fn curve(lane: &Lane, end: Duration, most: u64, ground: f64) -> String {
    let mut columns = [0u64; COLUMNS];
    for (time, bytes) in &lane.points {
        let at = time.as_secs_f64() / end.as_secs_f64().max(f64::MIN_POSITIVE);
        let column = &mut columns[((at * COLUMNS as f64) as usize).min(COLUMNS - 1)];
        *column = (*column).max(*bytes);
    }
    let width = (RIGHT - LEFT) / COLUMNS as f64;
    let mut path = String::new();
    for (column, &bytes) in columns.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
        let x = LEFT + column as f64 * width;
        let height = bytes as f64 / most.max(1) as f64 * CURVE;
        let _ = write!(path, "M{x:.1} {ground:.1}v-{height:.2}h{width:.1}v{height:.2}z");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(points: &[(u64, u64)]) -> Lane {
        Lane {
            name: "lane".to_owned(),
            note: String::new(),
            points: points
                .iter()
                .map(|&(time, bytes)| (Duration::from_secs(time), bytes))
                .collect(),
        }
    }

    #[test]
    fn lanes_have_one_scale_and_a_column_shows_the_most() {
        let image = timeline("t", &[lane(&[(0, 50), (0, 100), (9, 25)]), lane(&[(0, 1)])]);
        let heights: Vec<_> = image.lines().filter(|line| line.contains("<path")).collect();
        assert_eq!(heights.len(), 2);
        assert!(
            heights[0].contains("v-48.00") && heights[0].contains("v-12.00"),
            "{image}"
        );
        assert!(
            !heights[0].contains("v-24.00") && heights[1].contains("v-0.48"),
            "{image}"
        );
    }

    #[test]
    fn nothing_draws_too() {
        for lanes in [vec![], vec![lane(&[])], vec![lane(&[(0, 0)])]] {
            let image = timeline("t", &lanes);
            assert!(image.ends_with("</svg>\n") && !image.contains("NaN"), "{image}");
        }
    }
}
