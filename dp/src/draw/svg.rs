//! A gathered buffer as a scalable image.

use super::image::{Image, MARGIN, WIDTH};
use super::{alignment, bytes, quantity, summary};
use crate::layout::GatheredLayout;

/// Where the bars begin and end, left of them rank and start row, right of them the rows.
const BAR_LEFT: f64 = 170.0;
const BAR_RIGHT: f64 = 800.0;
const BAR_HEIGHT: f64 = 18.0;
const LINE: f64 = 26.0;
const HEADER: f64 = 104.0;
const STRIP_HEIGHT: f64 = 22.0;
/// Start rows are written under the strip unless they would run into each other.
const LABEL_WIDTH: f64 = 52.0;

/// Draws a layout as an SVG document: one labelled bar per rank, to a common scale, and the whole buffer as one strip
/// with the row at which each rank starts.
///
/// ```
/// use tilewright_dp::{draw, layout::{GatheredLayout, HiddenState, PaddingMode}};
///
/// let layout = GatheredLayout::new(PaddingMode::Max, &[20, 3, 0, 10], 1, HiddenState::bf16(7168))?;
/// assert!(draw::svg(&layout).starts_with("<svg "));
/// # Ok::<(), tilewright_dp::layout::LayoutError>(())
/// ```
pub fn svg(layout: &GatheredLayout) -> String {
    let heading = format!("Gathered buffer, {} layout", layout.mode());
    let mut image = Image::new(
        &format!("Gathered buffer, {}", summary(layout)),
        &heading,
        height(layout),
    );
    buffer(&mut image, layout, 0.0);
    image.finish()
}

/// What one buffer takes of an image, below its heading.
fn height(layout: &GatheredLayout) -> f64 {
    HEADER + layout.ranks() as f64 * LINE + 112.0
}

/// One buffer, so far below the top.
fn buffer(image: &mut Image, layout: &GatheredLayout, top: f64) {
    header(image, layout, top);
    bars(image, layout, top);
    strip(image, layout, top + HEADER + layout.ranks() as f64 * LINE + 40.0);
}

/// Draws a step that runs in micro-batches as an SVG document: the buffers of its parts, one below the other. `None` of no
/// parts: the step runs as one.
///
/// ```
/// use tilewright_dp::draw;
/// use tilewright_dp::plan::micro::{Micro, TwoBatch};
/// use tilewright_dp::plan::{Plan, Request};
///
/// let request = Request::new(vec![9, 5], 2);
/// let split = Plan::new(&Request { micro: Some(Micro::Tbo(TwoBatch::default())), ..request })?;
/// let parts: Vec<_> = split.parts().iter().map(|part| part.layout()).collect();
/// assert!(draw::svg_parts(&parts).unwrap().contains("Micro-batch 1 of 2"));
/// assert_eq!(draw::svg_parts(&[]), None);
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
pub fn svg_parts(parts: &[&GatheredLayout]) -> Option<String> {
    let whole: f64 = parts.iter().map(|part| height(part)).sum();
    let title = |index: usize| format!("Micro-batch {} of {}", index + 1, parts.len());
    let mut image = Image::new("A step in micro-batches", &title(0), whole);
    let mut top = 0.0;
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            image.label("title", MARGIN, top + 36.0, &title(index));
        }
        buffer(&mut image, part, top);
        top += height(part);
    }
    (!parts.is_empty()).then(|| image.finish())
}

/// What the numbers add up to, and what the columns are.
fn header(image: &mut Image, layout: &GatheredLayout, top: f64) {
    let totals = format!(
        "{} = {} × {} B, of them {} of tokens and {} of padding{}",
        bytes(layout.bytes()),
        quantity(layout.rows(), "row"),
        layout.row_bytes(),
        quantity(layout.real_rows(), "row"),
        quantity(layout.rows() - layout.real_rows(), "row"),
        alignment(layout, "; "),
    );
    image.label("quiet number", MARGIN, top + 58.0, &totals);
    let y = top + HEADER - 14.0;
    image.label("quiet", MARGIN, y, "rank");
    image.label("quiet right", BAR_LEFT - 16.0, y, "start row");
    image.label("quiet right", WIDTH - MARGIN, y, "tokens of rows");
    let mut x = BAR_LEFT;
    for (class, name) in [("real", "tokens"), ("padding", "padding")] {
        image.rectangle(class, x, y - 10.0, 12.0, 12.0);
        image.label("quiet", x + 18.0, y, name);
        x += 84.0;
    }
}

/// One bar per rank, its length proportional to its rows.
fn bars(image: &mut Image, layout: &GatheredLayout, above: f64) {
    let longest = layout.padded().iter().copied().max().unwrap_or(0).max(1);
    let scale = (BAR_RIGHT - BAR_LEFT) / longest as f64;
    for rank in 0..layout.ranks() {
        let (count, padded) = (layout.counts()[rank], layout.padded()[rank]);
        let top = above + HEADER + rank as f64 * LINE;
        let baseline = top + BAR_HEIGHT - 4.5;
        let real = count as f64 * scale;
        let whole = padded as f64 * scale;
        image.label("number", MARGIN, baseline, &rank.to_string());
        image.label(
            "number right",
            BAR_LEFT - 16.0,
            baseline,
            &layout.starts()[rank].to_string(),
        );
        image.rectangle("padding", BAR_LEFT + real, top, whole - real, BAR_HEIGHT);
        image.rectangle("real", BAR_LEFT, top, real, BAR_HEIGHT);
        image.rectangle("outline", BAR_LEFT, top, whole, BAR_HEIGHT);
        image.label(
            "number right",
            WIDTH - MARGIN,
            baseline,
            &format!("{count} of {padded}"),
        );
    }
}

/// The whole buffer, row 0 on the left.
fn strip(image: &mut Image, layout: &GatheredLayout, top: f64) {
    let (left, width) = (MARGIN, WIDTH - 2.0 * MARGIN);
    image.label(
        "quiet",
        left,
        top - 8.0,
        "the buffer in memory, and the rows at which ranks start",
    );
    let scale = width / layout.rows().max(1) as f64;
    let at = |row: u64| left + row as f64 * scale;
    let bottom = top + STRIP_HEIGHT;
    let mut labelled = f64::NEG_INFINITY;
    let mut ticks = Vec::new();
    for rank in 0..layout.ranks() {
        let (start, count, padded) = (layout.starts()[rank], layout.counts()[rank], layout.padded()[rank]);
        image.rectangle("real", at(start), top, count as f64 * scale, STRIP_HEIGHT);
        image.rectangle(
            "padding",
            at(start + count),
            top,
            (padded - count) as f64 * scale,
            STRIP_HEIGHT,
        );
        if padded > 0 {
            ticks.push(start);
        }
    }
    image.rectangle("outline", left, top, width, STRIP_HEIGHT);
    for row in ticks.into_iter().chain([layout.rows()]) {
        let x = at(row);
        image.line(format_args!(
            r#"<line class="tick" x1="{x:.2}" x2="{x:.2}" y1="{top:.1}" y2="{:.1}"/>"#,
            bottom + 5.0
        ));
        // The end is always labelled, so nothing may come close to it.
        let is_end = row == layout.rows();
        if is_end || (x - labelled >= LABEL_WIDTH && left + width - x >= LABEL_WIDTH) {
            let class = if is_end {
                "quiet number right"
            } else if row == 0 {
                "quiet number"
            } else {
                "quiet number middle"
            };
            image.label(class, x, bottom + 20.0, &row.to_string());
            labelled = x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{HiddenState, PaddingMode};

    fn draw(mode: PaddingMode, counts: &[u64]) -> String {
        svg(&GatheredLayout::new(mode, counts, 1, HiddenState::bf16(7168)).unwrap())
    }

    /// The widths of all rectangles of a class.
    fn widths(svg: &str, class: &str) -> Vec<f64> {
        let of_class = svg
            .lines()
            .filter(|line| line.starts_with(&format!(r#"<rect class="{class}""#)));
        let width = |line: &str| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok();
        of_class.filter_map(width).collect()
    }

    #[test]
    fn bars_are_to_scale() {
        let image = draw(PaddingMode::Max, &[20, 5, 0, 10]);
        // The legend, the ranks, the strip.
        assert_eq!(widths(&image, "real"), [12.0, 630.0, 157.5, 315.0, 228.0, 57.0, 114.0]);
        assert_eq!(
            widths(&image, "padding"),
            [12.0, 472.5, 630.0, 315.0, 171.0, 228.0, 114.0]
        );
        for text in [
            ">20 of 20<",
            ">5 of 20<",
            ">0 of 20<",
            ">60<",
            ">80<",
            "80 rows × 14336 B",
        ] {
            assert!(image.contains(text), "{text}\n{image}");
        }
    }

    #[test]
    fn one_layout_has_one_picture_and_nothing_runs_outside() {
        let counts: Vec<u64> = (0..64).map(|rank| rank * 37 % 101).collect();
        for mode in [PaddingMode::Max, PaddingMode::Sum] {
            let image = draw(mode, &counts);
            assert_eq!(image, draw(mode, &counts));
            assert!(!image.contains("NaN") && !image.contains("inf") && !image.contains("=\"-"));
            assert_eq!(image.matches("<svg").count(), image.matches("</svg>").count());
        }
    }

    #[test]
    fn an_empty_buffer_draws() {
        let image = draw(PaddingMode::Sum, &[0, 0]);
        assert!(image.contains(">0 of 0<") && !image.contains("NaN"));
    }
}
