//! Readings as a page that stands alone: a plot for each operation and width, the time of everyone over that of a copy, or over
//! the best peer's where nothing was copied, against rows.

use std::fmt::Write;

use super::bars::Unmet;
use super::{Figure, Role, best, distinct, escaped};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 260.0;
/// Left, right, above and below the plot.
const MARGINS: [f64; 4] = [44.0, 28.0, 12.0, 34.0];
/// The least and the most that is shown of a time over another: what is more or less is drawn at the edge.
const SHOWN: [f64; 2] = [0.25, 8.0];

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:24px;max-width:1440px;color:#1a1a1a;background:#fff}\
figure{display:inline-block;margin:0 16px 24px 0;vertical-align:top}figcaption{font-weight:600}\
svg text{font-size:11px;fill:#555}.grid{stroke:#ddd}.one{stroke:#888;stroke-dasharray:4 3}\
.line{fill:none;stroke-width:1.5}.legend{font-size:12px}.legend span{margin-right:12px;white-space:nowrap}\
table{border-collapse:collapse}td,th{padding:2px 10px;text-align:left;border-bottom:1px solid #ddd}";

/// Of ours, and of others in turn; a copy is grey.
const OURS: [&str; 3] = ["#c2410c", "#ea580c", "#fb923c"];
const PEERS: [&str; 3] = ["#1d4ed8", "#0d9488", "#7c3aed"];

/// The page.
pub fn html(machines: &[String], figures: &[Figure], unmet: &[Unmet]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Measured</title><style>{STYLE}</style><h1>Measured</h1>"
    );
    for machine in machines {
        let _ = write!(out, "<p>{}</p>", escaped(machine));
    }
    if !unmet.is_empty() {
        let _ = write!(
            out,
            "<details><summary>{} cases do not meet their bar</summary>",
            unmet.len()
        );
        out += "<table><tr><th>case</th><th>takes</th><th>at most</th><th>of</th></tr>";
        for Unmet { case, is, most, over } in unmet {
            let case = escaped(case);
            let _ = write!(
                out,
                "<tr><td>{case}</td><td>{is:.2}</td><td>{most:.2}</td><td>{over}</td></tr>"
            );
        }
        out += "</table></details>";
    }
    for operation in distinct(figures.iter().map(|figure| &figure.case.operation)) {
        let _ = write!(out, "<h2>{}</h2>", escaped(operation));
        let of_it = || figures.iter().filter(|figure| figure.case.operation == *operation);
        for case in distinct(of_it().map(|figure| &figure.case)) {
            let figures: Vec<_> = of_it().filter(|figure| figure.case == *case).collect();
            plot(&mut out, &case.to_string(), &figures);
        }
    }
    out + "</html>\n"
}

/// What everyone takes over a copy or the best peer.
fn plot(out: &mut String, title: &str, figures: &[&Figure]) {
    let all: Vec<Figure> = figures.iter().map(|figure| (*figure).clone()).collect();
    let has = |role| all.iter().any(|figure| figure.role == role);
    let over = if has(Role::Floor) { Role::Floor } else { Role::Peer };
    let mut rows: Vec<u64> = distinct(all.iter().map(|figure| figure.rows));
    rows.sort_unstable();
    let (first, last) = (rows.first().copied().unwrap_or(1), rows.last().copied().unwrap_or(1));
    let [left, right, above, below] = MARGINS;
    let along = |value: f64, [from, to]: [f64; 2]| match from < to {
        true => (value.clamp(from, to) / from).ln() / (to / from).ln(),
        false => 0.5,
    };
    let x = |rows: u64| left + along(rows.max(1) as f64, [first.max(1) as f64, last as f64]) * (WIDTH - left - right);
    let y = |ratio: f64| HEIGHT - below - along(ratio, SHOWN) * (HEIGHT - above - below);
    let _ = write!(
        out,
        "<figure><figcaption>{}</figcaption><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-label=\"{} over {} against rows\">",
        escaped(title),
        escaped(title),
        over.name()
    );
    for ratio in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0] {
        let class = if ratio == 1.0 { "one" } else { "grid" };
        let at = y(ratio);
        let _ = write!(
            out,
            "<line class=\"{class}\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"4\" y=\"{:.1}\">{ratio} x</text>",
            WIDTH - right,
            at + 4.0
        );
    }
    for &rows in &rows {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{rows}</text>",
            x(rows),
            HEIGHT - below + 16.0
        );
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">rows</text>",
        WIDTH / 2.0,
        HEIGHT - 4.0
    );
    let mut legend = String::new();
    let mut drawn = [0; 3];
    for (who, role) in distinct(all.iter().map(|figure| (&figure.who, figure.role))) {
        let number = &mut drawn[role as usize];
        let color = match role {
            Role::Floor => "#999",
            Role::Peer => PEERS[*number % PEERS.len()],
            Role::Ours => OURS[*number % OURS.len()],
        };
        *number += 1;
        let mut points: Vec<(u64, f64)> = all
            .iter()
            .filter(|figure| figure.who == *who)
            .filter_map(|figure| {
                let other = best(&all, &figure.case, figure.rows, over)?;
                Some((figure.rows, figure.microseconds / other))
            })
            .collect();
        points.sort_unstable_by_key(|point| point.0);
        let line: Vec<_> = points
            .iter()
            .map(|&(rows, ratio)| format!("{:.1},{:.1}", x(rows), y(ratio)))
            .collect();
        let _ = write!(
            out,
            "<polyline class=\"line\" stroke=\"{color}\" points=\"{}\"/>",
            line.join(" ")
        );
        for &(rows, ratio) in &points {
            let _ = write!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{color}\"><title>{}, {rows} rows: {ratio:.2} x</title></circle>",
                x(rows),
                y(ratio),
                escaped(who)
            );
        }
        let _ = write!(
            legend,
            "<span><b style=\"color:{color}\">&#9679;</b> {}</span>",
            escaped(who)
        );
    }
    let _ = write!(
        out,
        "</svg><div class=\"legend\">{legend}<br>over {}</div></figure>",
        over.name()
    );
}
