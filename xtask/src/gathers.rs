//! The tables and the plot of a reading that `benches/peers_gather.py` made: collectives between GPUs.

use std::fmt::Write;

use serde_json::Value;

use crate::plot::{self, Plot, Way};
use crate::report::distinct;

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

/// A way each, the first one ours.
const COLOURS: [&str; 7] = [
    "#1769aa", "#111827", "#c2410c", "#15803d", "#7e22ce", "#64748b", "#be185d",
];

/// The gathers of equal ranks: microseconds over the rows of a rank. `None` if there are none.
pub fn plot(machine: &str, figures: &[Figure]) -> Option<String> {
    let figures: Vec<&Figure> = figures
        .iter()
        .filter(|figure| figure.is_of(&("all_gather", "equal")) && figure.us > 0.0 && figure.rows > 0)
        .collect();
    let times = || figures.iter().map(|figure| figure.us);
    let (least, most) = (times().reduce(f64::min)?, times().reduce(f64::max)?);
    let floor = least.log10().floor();
    let marks = (floor as i32..=most.log10().floor() as i32).map(|power| 10f64.powi(power));
    let ways = distinct(figures.iter().map(|figure| figure.who.as_str()));
    let way = |(at, who): (usize, &str)| Way {
        who: who.to_owned(),
        colour: COLOURS[at % COLOURS.len()],
        points: figures
            .iter()
            .filter(|figure| figure.who == who)
            .map(|figure| (figure.rows, figure.us))
            .collect(),
    };
    let plot = Plot {
        title: String::new(),
        rows: "rows of a rank",
        marks: marks.map(|mark| (mark, format!("{mark} µs"))).collect(),
        base: None,
        shown: [10f64.powf(floor), most],
        ways: ways.into_iter().enumerate().map(way).collect(),
        width: 800.0,
        height: 440.0,
    };
    Some(plot::sheet(
        "Gathers between GPUs, rows of 7168 bf16",
        machine,
        &[plot],
        1,
    ))
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
    fn a_plot_has_a_line_for_each_way() {
        let svg = plot("two GPUs", &figures()).expect("a plot");
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains(">10 µs<") && svg.contains(">NCCL<"), "{svg}");
        assert!(svg.ends_with("</svg>\n"));
        assert!(plot("none", &[]).is_none());
    }
}
