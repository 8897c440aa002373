//! The tables and the plot of a reading that `benches/peers_gather.py` made: collectives between GPUs.

use std::fmt::Write;

use serde_json::Value;

use crate::report::{distinct, escaped};

/// How long one way of one collective takes, on the rank where it is the longest.
#[derive(Debug)]
pub struct Figure {
    collective: String,
    parts: String,
    rows: u64,
    who: String,
    us: f64,
    host_us: f64,
}

impl Figure {
    /// # Errors
    /// The field that is missing.
    pub fn of(value: &Value) -> Result<Self, &'static str> {
        let text = |field: &'static str| value[field].as_str().ok_or(field).map(str::to_owned);
        let number = |field: &'static str| value[field].as_f64().ok_or(field);
        Ok(Self {
            collective: text("collective")?,
            parts: text("parts")?,
            rows: value["rows"].as_u64().ok_or("rows")?,
            who: text("who")?,
            us: number("us")?,
            host_us: number("host_us")?,
        })
    }

    fn is_of(&self, case: &(&str, &str)) -> bool {
        (self.collective.as_str(), self.parts.as_str()) == *case
    }
}

/// What was measured, first come first.
fn cases(figures: &[Figure]) -> Vec<(&str, &str)> {
    distinct(
        figures
            .iter()
            .map(|figure| (figure.collective.as_str(), figure.parts.as_str())),
    )
}

/// A table for each collective: microseconds of the GPU, and of the host in brackets.
pub fn tables(out: &mut String, figures: &[Figure]) {
    for case in cases(figures) {
        let of_case: Vec<&Figure> = figures.iter().filter(|figure| figure.is_of(&case)).collect();
        let ways = distinct(of_case.iter().map(|figure| figure.who.as_str()));
        let _ = writeln!(out, "**{}, {}**, microseconds (host)\n", case.0, case.1);
        let _ = writeln!(out, "| rows of a rank | {} |", ways.join(" | "));
        let _ = writeln!(out, "|---:{}|", "|---:".repeat(ways.len()));
        for rows in distinct(of_case.iter().map(|figure| figure.rows)) {
            let cell = |who: &&str| {
                let found = of_case.iter().find(|figure| figure.rows == rows && figure.who == **who);
                found.map_or_else(
                    || "-".to_owned(),
                    |figure| match figure.host_us > 0.0 {
                        true => format!("{:.1} ({:.0})", figure.us, figure.host_us),
                        false => format!("{:.1}", figure.us),
                    },
                )
            };
            let cells: Vec<_> = ways.iter().map(cell).collect();
            let _ = writeln!(out, "| {rows} | {} |", cells.join(" | "));
        }
        out.push('\n');
    }
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 740.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 420.0;
/// A way each, the first one ours.
const COLOURS: [&str; 7] = [
    "#1769aa", "#111827", "#c2410c", "#15803d", "#7e22ce", "#64748b", "#be185d",
];

/// The gathers of equal ranks: microseconds over the rows of a rank, both scales logarithmic. `None` if there are none.
pub fn plot(machine: &str, figures: &[Figure]) -> Option<String> {
    let figures: Vec<&Figure> = figures
        .iter()
        .filter(|figure| figure.is_of(&("all_gather", "equal")) && figure.us > 0.0 && figure.rows > 0)
        .collect();
    let (first, last) = figures
        .iter()
        .map(|figure| figure.rows)
        .fold((u64::MAX, 0), |(least, most), rows| (least.min(rows), most.max(rows)));
    let (least, most) = figures
        .iter()
        .map(|figure| figure.us)
        .fold((f64::MAX, 0.0), |(least, most), us| {
            (f64::min(least, us), f64::max(most, us))
        });
    if last <= first || most <= least {
        return None;
    }
    let (floor, ceiling) = (least.log10().floor(), most.log10());
    let across = |rows: u64| {
        let part = (rows as f64 / first as f64).ln() / (last as f64 / first as f64).ln();
        LEFT + part * (RIGHT - LEFT)
    };
    let up = |us: f64| BOTTOM - (us.log10() - floor) / (ceiling - floor) * (BOTTOM - TOP);
    let (mut out, machine) = (String::new(), escaped(machine));
    let title = "Gathers between GPUs, rows of 7168 bf16";
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>{title}</title>\n<style>\n\
         text {{ font-family: ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; font-size: 13px; fill: #1f2430 }}\n\
         .title {{ font-size: 16px; font-weight: 600 }}\n.quiet {{ fill: #5b6474 }}\n.right {{ text-anchor: end }}\n\
         .middle {{ text-anchor: middle }}\n.grid {{ stroke: #dde2ea }}\n.way {{ fill: none; stroke-width: 2 }}\n\
         </style>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"26\">{title}</text>\n\
         <text class=\"quiet\" x=\"{LEFT}\" y=\"46\">{machine}</text>"
    );
    for power in floor as i32..=ceiling.floor() as i32 {
        let y = up(10f64.powi(power));
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\n\
             <text class=\"quiet right\" x=\"{:.1}\" y=\"{:.1}\">{} µs</text>",
            LEFT - 8.0,
            y + 4.0,
            10f64.powi(power)
        );
    }
    for rows in distinct(figures.iter().map(|figure| figure.rows)) {
        let _ = writeln!(
            out,
            "<text class=\"quiet middle\" x=\"{:.1}\" y=\"{:.1}\">{rows}</text>",
            across(rows),
            BOTTOM + 20.0
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"quiet middle\" x=\"{:.1}\" y=\"{:.1}\">rows of a rank</text>",
        (LEFT + RIGHT) / 2.0,
        BOTTOM + 42.0
    );
    for (at, who) in distinct(figures.iter().map(|figure| figure.who.as_str()))
        .into_iter()
        .enumerate()
    {
        let colour = COLOURS[at % COLOURS.len()];
        let points: Vec<String> = figures
            .iter()
            .filter(|figure| figure.who == who)
            .map(|figure| format!("{:.1},{:.1}", across(figure.rows), up(figure.us)))
            .collect();
        let y = TOP + 24.0 * at as f64;
        let _ = writeln!(
            out,
            "<polyline class=\"way\" stroke=\"{colour}\" points=\"{}\"/>\n\
             <line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{who}</text>",
            points.join(" "),
            RIGHT + 20.0,
            RIGHT + 44.0,
            RIGHT + 52.0,
            y + 4.0,
            who = escaped(who)
        );
    }
    out.push_str("</svg>\n");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Vec<Figure> {
        let line = |rows: u64, who: &str, us: f64| {
            format!(
                r#"{{"collective":"all_gather","parts":"equal","rows":{rows},"who":"{who}","us":{us},"host_us":4}}"#
            )
        };
        let lines = [
            line(1, "Tilewright push", 4.0),
            line(1, "NCCL", 8.0),
            line(100, "Tilewright push", 40.0),
        ];
        let parse = |line: &String| Figure::of(&serde_json::from_str(line).expect("JSON")).expect("a figure");
        lines.iter().map(parse).collect()
    }

    #[test]
    fn a_reading_between_gpus_is_a_table_for_each_collective() {
        let mut out = String::new();
        tables(&mut out, &figures());
        let expected = "**all_gather, equal**, microseconds (host)\n\n\
            | rows of a rank | Tilewright push | NCCL |\n\
            |---:|---:|---:|\n\
            | 1 | 4.0 (4) | 8.0 (4) |\n\
            | 100 | 40.0 (4) | - |\n\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_plot_has_a_line_for_each_way_from_the_first_rows_to_the_last() {
        let svg = plot("two GPUs", &figures()).expect("a plot");
        // 4 and 40 us between 1 and 100.
        let y = BOTTOM - 4f64.log10() / 40f64.log10() * (BOTTOM - TOP);
        let line = format!("points=\"{LEFT:.1},{y:.1} {RIGHT:.1},{TOP:.1}\"");
        assert!(svg.contains(&line), "{line}\n{svg}");
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.ends_with("</svg>\n"));
        assert!(plot("none", &[]).is_none());
    }
}
