//! Plots of what was measured against rows, both scales logarithmic: as SVG for a page, or as a sheet that stands alone.

use std::fmt::Write;

use crate::report::{distinct, escaped};

/// Left, right, above and below what is drawn.
const MARGINS: [f64; 4] = [60.0, 28.0, 30.0, 44.0];
/// Above the plots of a sheet.
const HEAD: f64 = 60.0;
/// A line of a sheet's legend.
const ENTRY: f64 = 22.0;

/// What is common to all plots; a page has it in its own style too.
pub const STYLE: &str = "text{font:12px ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2430}\
.title{font-size:16px;font-weight:600}.name{font-weight:600}.quiet{fill:#5b6474}.right{text-anchor:end}.middle{text-anchor:middle}\
.grid{stroke:#dde2ea}.base{stroke:#888;stroke-dasharray:4 3}.way{fill:none;stroke-width:2}";

/// What several did of one thing.
#[derive(Debug)]
pub struct Plot {
    pub title: String,
    /// What the rows are.
    pub rows: &'static str,
    /// Values at the side, and what is written there.
    pub marks: Vec<(f64, String)>,
    /// Which of them is what the others are compared with.
    pub base: Option<f64>,
    /// The least and the most that is shown: what is less or more is drawn at the edge.
    pub shown: [f64; 2],
    pub ways: Vec<Way>,
    pub width: f64,
    pub height: f64,
}

/// What one did, by rows.
#[derive(Debug)]
pub struct Way {
    pub who: String,
    pub colour: &'static str,
    pub points: Vec<(u64, f64)>,
}

impl Plot {
    /// As an element of an SVG, from its upper left corner on.
    pub fn draw(&self, out: &mut String) {
        let Self { width, height, .. } = *self;
        let [left, right, above, below] = MARGINS;
        let (right, bottom) = (width - right, height - below);
        let mut rows = distinct(self.ways.iter().flat_map(|way| &way.points).map(|point| point.0));
        rows.sort_unstable();
        let span = [
            rows.first().copied().unwrap_or(1).max(1) as f64,
            rows.last().copied().unwrap_or(1) as f64,
        ];
        let across = |rows: u64| left + part(rows.max(1) as f64, span) * (right - left);
        let up = |value: f64| bottom - part(value, self.shown) * (bottom - above);
        let title = escaped(&self.title);
        let _ = writeln!(out, "<text class=\"name\" x=\"{left}\" y=\"18\">{title}</text>");
        for (value, text) in &self.marks {
            let class = if self.base == Some(*value) { "base" } else { "grid" };
            let y = up(*value);
            let _ = writeln!(
                out,
                "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"quiet right\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                left - 8.0,
                y + 4.0
            );
        }
        for &rows in &rows {
            let _ = writeln!(
                out,
                "<text class=\"quiet middle\" x=\"{:.1}\" y=\"{:.1}\">{rows}</text>",
                across(rows),
                bottom + 18.0
            );
        }
        let (middle, under) = ((left + right) / 2.0, bottom + 36.0);
        let what = self.rows;
        let _ = writeln!(
            out,
            "<text class=\"quiet middle\" x=\"{middle:.1}\" y=\"{under:.1}\">{what}</text>"
        );
        for Way { who, colour, points } in &self.ways {
            let mut points = points.clone();
            points.sort_unstable_by_key(|point| point.0);
            let line: Vec<_> = points
                .iter()
                .map(|&(rows, value)| format!("{:.1},{:.1}", across(rows), up(value)))
                .collect();
            let _ = writeln!(
                out,
                "<polyline class=\"way\" stroke=\"{colour}\" points=\"{}\"/>",
                line.join(" ")
            );
            for (rows, value) in points {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"{colour}\"><title>{}, {rows} rows: {value:.2}</title></circle>",
                    across(rows),
                    up(value),
                    escaped(who)
                );
            }
        }
    }
}

/// How far a value is along a logarithmic scale, from 0 to 1.
fn part(value: f64, [from, to]: [f64; 2]) -> f64 {
    match from < to {
        true => (value.clamp(from, to) / from).ln() / (to / from).ln(),
        false => 0.5,
    }
}

/// Plots of one size side by side, so many in a row, with what everyone is drawn in under them.
pub fn sheet(title: &str, machine: &str, plots: &[Plot], beside: usize) -> String {
    let (width, height) = plots.first().map_or((0.0, 0.0), |plot| (plot.width, plot.height));
    let lines = plots.len().div_ceil(beside) as f64;
    let ways = distinct(
        plots
            .iter()
            .flat_map(|plot| &plot.ways)
            .map(|way| (&way.who, way.colour)),
    );
    let (across, under) = (width * beside.min(plots.len()) as f64, HEAD + height * lines);
    let entries = ways.len().div_ceil(3) as f64;
    let (title, machine, all) = (escaped(title), escaped(machine), under + ENTRY * entries + 12.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {across} {all}\" width=\"{across}\" height=\"{all}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text class=\"title\" x=\"20\" y=\"26\">{title}</text>\n<text class=\"quiet\" x=\"20\" y=\"46\">{machine}</text>\n"
    );
    for (number, plot) in plots.iter().enumerate() {
        let (x, y) = (
            (number % beside) as f64 * width,
            HEAD + (number / beside) as f64 * height,
        );
        let _ = writeln!(out, "<g transform=\"translate({x} {y})\">");
        plot.draw(&mut out);
        out.push_str("</g>\n");
    }
    for (number, (who, colour)) in ways.into_iter().enumerate() {
        let x = MARGINS[0] + (number % 3) as f64 * (across - MARGINS[0]) / 3.0;
        let y = under + (number / 3) as f64 * ENTRY + 8.0;
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 24.0,
            x + 32.0,
            y + 4.0,
            escaped(who)
        );
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        let way = |who: &str, colour, points: &[(u64, f64)]| Way {
            who: who.to_owned(),
            colour,
            points: points.to_vec(),
        };
        Plot {
            title: "a <plot>".to_owned(),
            rows: "rows",
            marks: vec![(1.0, "1 x".to_owned()), (4.0, "4 x".to_owned())],
            base: Some(1.0),
            shown: [1.0, 4.0],
            ways: vec![
                way("ours", "#000", &[(100, 64.0), (1, 2.0), (10, 1.0)]),
                way("theirs", "#111", &[(1, 4.0)]),
            ],
            width: 188.0,
            height: 174.0,
        }
    }

    #[test]
    fn a_line_goes_from_the_first_rows_to_the_last_and_what_is_beyond_is_at_the_edge() {
        let mut out = String::new();
        plot().draw(&mut out);
        assert!(out.contains("points=\"60.0,80.0 110.0,130.0 160.0,30.0\""), "{out}");
        assert!(out.contains("a &lt;plot&gt;") && out.matches("class=\"base\"").count() == 1);
    }

    #[test]
    fn a_sheet_has_every_plot_and_names_everyone_once() {
        let svg = sheet("a sheet", "a GPU", &[plot(), plot(), plot()], 2);
        assert_eq!(svg.matches("<polyline").count(), 6);
        assert!(
            svg.contains("translate(188 60)") && svg.contains("translate(0 234)"),
            "{svg}"
        );
        assert_eq!(svg.matches(">theirs<").count(), 1);
        assert!(svg.ends_with("</svg>\n"));
    }
}
