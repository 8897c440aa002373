//! How long things took, step by step, as a scalable image.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::image::{Image, MARGIN, WIDTH};

const LEFT: f64 = 130.0;
const RIGHT: f64 = WIDTH - MARGIN;
const TOP: f64 = 64.0;
/// A panel of times, and what lies between two.
const PANEL: f64 = 132.0;
const GAP: f64 = 34.0;
/// The lane of one kind of marks.
const LANE: f64 = 22.0;
/// What a dot covers, and how many lie beside one another.
const DOT: f64 = 2.0;
const COLUMNS: usize = ((RIGHT - LEFT) / DOT) as usize;
/// How dark a dot is of one time, of some, and of many.
const SHADES: [(usize, f64); 3] = [(1, 0.35), (4, 0.65), (16, 1.0)];

/// One panel of [`times()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// What it is.
    pub name: String,
    /// What else to say of it.
    pub note: String,
    /// In which step, and how long it took.
    pub points: Vec<(u64, Duration)>,
}

/// One lane of marks below the panels of [`times()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// What happened.
    pub name: String,
    /// In which steps.
    pub steps: Vec<u64>,
}

/// Draws times over `steps` steps as an SVG document: panels one below the other with a common logarithmic axis, and
/// marks below them. Many times at one place are one darker dot, so that any number of them makes an image of bounded
/// size.
///
/// ```
/// use std::time::Duration;
/// use tilewright_dp::draw::{Marks, Times, times};
///
/// let points = (0..100).map(|step| (step, Duration::from_micros(3 + step % 5))).collect();
/// let launches = Times { name: "launches".into(), note: "p50 5.0 us".into(), points };
/// let marks = Marks { name: "compiles".into(), steps: vec![12] };
/// let image = times("A loop", 100, &[launches], &[marks]);
/// assert!(image.starts_with("<svg ") && image.contains("10 us") && image.contains("compiles"));
/// ```
pub fn times(title: &str, steps: u64, panels: &[Times], marks: &[Marks]) -> String {
    let axis = Axis::of(panels);
    let ground_of = |panel: usize| TOP + (PANEL + GAP) * panel as f64 + GAP / 2.0 + PANEL;
    let lanes_top = TOP + (PANEL + GAP) * panels.len() as f64 + GAP / 2.0;
    let height = lanes_top + LANE * marks.len() as f64 + 32.0;
    let mut image = Image::new(title, title, height);
    for (i, panel) in panels.iter().enumerate() {
        let ground = ground_of(i);
        image.label("name", LEFT, ground - PANEL - 8.0, &panel.name);
        image.label("quiet number right", RIGHT, ground - PANEL - 8.0, &panel.note);
        for decade in axis.first..=axis.last {
            let y = ground - axis.height(1e-9 * 10f64.powi(decade));
            image.label("quiet number right", LEFT - 10.0, y + 4.0, &time_of(decade));
            image.line(format_args!(
                r#"<line class="tick" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1}" y2="{y:.1}" opacity="0.4"/>"#
            ));
        }
        for (path, shade) in dots(panel, steps, &axis, ground) {
            image.line(format_args!(r#"<path class="real" opacity="{shade}" d="{path}"/>"#));
        }
    }
    for (i, lane) in marks.iter().enumerate() {
        let top = lanes_top + LANE * i as f64;
        let count = format!("{} {}", lane.steps.len(), lane.name);
        image.label("quiet number right", LEFT - 10.0, top + 12.0, &count);
        image.rectangle("outline", LEFT, top, RIGHT - LEFT, LANE - 6.0);
        let mut columns: Vec<_> = lane.steps.iter().map(|&step| column(step, steps)).collect();
        columns.dedup();
        for column in columns {
            image.rectangle("real", LEFT + column as f64 * DOT, top, DOT / 2.0, LANE - 6.0);
        }
    }
    image.label("quiet", LEFT, height - 12.0, "step 0");
    image.label("quiet right", RIGHT, height - 12.0, &format!("step {steps}"));
    image.finish()
}

/// The decades of nanoseconds that hold all times.
struct Axis {
    first: i32,
    last: i32,
}

impl Axis {
    fn of(panels: &[Times]) -> Self {
        let times = || panels.iter().flat_map(|panel| &panel.points).map(|(_, time)| *time);
        let decade = |time: Duration| (time.as_nanos().max(1) as f64).log10();
        let first = times().min().map_or(3, |least| decade(least).floor() as i32);
        let last = times().max().map_or(4, |most| decade(most).ceil() as i32);
        Self {
            first,
            last: last.max(first + 1),
        }
    }

    /// How high a time in seconds lies.
    fn height(&self, seconds: f64) -> f64 {
        let decade = (seconds.max(1e-9) * 1e9).log10();
        (decade - f64::from(self.first)) / f64::from(self.last - self.first) * PANEL
    }
}

/// `10 us` of 4, the decade in nanoseconds.
fn time_of(decade: i32) -> String {
    const UNITS: [&str; 4] = ["ns", "us", "ms", "s"];
    let unit = (decade / 3).clamp(0, 3);
    format!(
        "{} {}",
        10u128.pow((decade - 3 * unit).clamp(0, 30) as u32),
        UNITS[unit as usize]
    )
}

fn column(step: u64, steps: u64) -> usize {
    let at = step as f64 / steps.max(1) as f64;
    ((at * COLUMNS as f64) as usize).min(COLUMNS - 1)
}

/// A path of all dots of each shade.
fn dots(panel: &Times, steps: u64, axis: &Axis, ground: f64) -> Vec<(String, f64)> {
    let mut at: BTreeMap<(usize, u64), usize> = BTreeMap::new();
    for (step, time) in &panel.points {
        let row = (axis.height(time.as_secs_f64()) / DOT).max(0.0) as u64;
        *at.entry((column(*step, steps), row)).or_default() += 1;
    }
    let path = |(i, (least, shade)): (usize, (usize, f64))| {
        let beyond = SHADES.get(i + 1).map_or(usize::MAX, |(next, _)| *next);
        let mut path = String::new();
        for (&(column, row), _) in at.iter().filter(|(_, count)| (least..beyond).contains(count)) {
            let (x, y) = (LEFT + column as f64 * DOT, ground - row as f64 * DOT);
            let _ = write!(path, "M{x:.0} {y:.1}v-{DOT}h{DOT}v{DOT}z");
        }
        (!path.is_empty()).then_some((path, shade))
    };
    SHADES.into_iter().enumerate().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(points: &[(u64, u64)]) -> Times {
        Times {
            name: "some".to_owned(),
            note: String::new(),
            points: points
                .iter()
                .map(|&(step, nanos)| (step, Duration::from_nanos(nanos)))
                .collect(),
        }
    }

    #[test]
    fn a_decade_is_as_high_as_another_and_many_times_are_darker() {
        let axis = Axis::of(&[panel(&[(0, 1_000), (1, 90_000)])]);
        assert_eq!((axis.first, axis.last), (3, 5));
        assert_eq!(
            [1e-6, 1e-5, 1e-4].map(|time| axis.height(time)),
            [0.0, PANEL / 2.0, PANEL]
        );
        let mut points = vec![(3, 1_000); 40];
        points.push((8, 20_000));
        let image = times("t", 10, &[panel(&points)], &[]);
        let shades: Vec<_> = image.lines().filter(|line| line.contains("<path class")).collect();
        assert_eq!(shades.len(), 2, "{image}");
        assert!(
            shades[0].contains("0.35") && shades[1].contains("opacity=\"1\""),
            "{image}"
        );
    }

    #[test]
    fn axes_name_their_decades() {
        assert_eq!(
            [0, 2, 3, 5, 6, 9, 10].map(time_of),
            ["1 ns", "100 ns", "1 us", "100 us", "1 ms", "1 s", "10 s"]
        );
    }

    #[test]
    fn nothing_draws_too_and_nothing_runs_outside() {
        let far = Marks {
            name: "marks".to_owned(),
            steps: vec![0, 5, 700],
        };
        for panels in [vec![], vec![panel(&[])], vec![panel(&[(0, 0), (900, u64::MAX)])]] {
            let image = times("t", 10, &panels, std::slice::from_ref(&far));
            assert!(image.ends_with("</svg>\n"), "{image}");
            assert!(
                !image.contains("NaN") && !image.contains("inf") && !image.contains("=\"-"),
                "{image}"
            );
        }
    }
}
