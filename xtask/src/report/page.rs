//! Readings as a page that stands alone: a plot for each operation and width, the time of everyone over that of a copy, or over
//! the best peer's where nothing was copied, against rows.

use std::fmt::Write;

use super::bars::Unmet;
use super::{Case, Figure, Role, best, distinct, escaped};
use crate::plot::{self, Plot, Way};

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:24px;max-width:1440px;color:#1a1a1a;background:#fff}\
figure{display:inline-block;margin:0 16px 24px 0;vertical-align:top}.legend{font-size:12px}\
.legend span{margin-right:12px;white-space:nowrap}table{border-collapse:collapse}td,th{padding:2px 10px;text-align:left;\
border-bottom:1px solid #ddd}";

/// Times over another that are marked. What is less or more is drawn at the edge.
const MARKS: [f64; 6] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0];

/// Of ours, and of others in turn; a copy is grey.
const OURS: [&str; 3] = ["#c2410c", "#ea580c", "#fb923c"];
const PEERS: [&str; 3] = ["#1d4ed8", "#0d9488", "#7c3aed"];

/// The page.
pub fn html(machines: &[String], figures: &[Figure], unmet: &[Unmet]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Measured</title><style>{STYLE}{}</style><h1>Measured</h1>",
        plot::STYLE
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
                "<tr><td>{case}</td><td>{is:.3}</td><td>{most:.3}</td><td>{over}</td></tr>"
            );
        }
        out += "</table></details>";
    }
    for operation in distinct(figures.iter().map(|figure| &figure.case.operation)) {
        let _ = write!(out, "<h2>{}</h2>", escaped(operation));
        let of_it = || figures.iter().filter(|figure| figure.case.operation == *operation);
        for case in distinct(of_it().map(|figure| &figure.case)) {
            let figures: Vec<_> = of_it().filter(|figure| figure.case == *case).collect();
            figure(&mut out, &drawn(&figures));
        }
    }
    out + "</html>\n"
}

/// A plot, and what everyone is drawn in.
fn figure(out: &mut String, plot: &Plot) {
    let Plot { width, height, .. } = plot;
    let title = escaped(&plot.title);
    let _ = write!(
        out,
        "<figure><svg width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">"
    );
    plot.draw(out);
    out.push_str("</svg><div class=\"legend\">");
    for Way { who, colour, .. } in &plot.ways {
        let who = escaped(who);
        let _ = write!(out, "<span><b style=\"color:{colour}\">&#9679;</b> {who}</span>");
    }
    out.push_str("</div></figure>");
}

/// A plot of each operation and width, three side by side. `None` if there is nothing.
pub fn sheet(machine: &str, figures: &[Figure]) -> Option<String> {
    let mut cases = distinct(figures.iter().map(|figure| &figure.case));
    // Those of one operation stay together, from narrow to wide.
    let operations = distinct(figures.iter().map(|figure| &figure.case.operation));
    cases.sort_by_key(|case| {
        (
            operations.iter().position(|&other| *other == case.operation),
            case.columns,
        )
    });
    let of = |case: &Case| figures.iter().filter(|figure| figure.case == *case).collect::<Vec<_>>();
    let plots: Vec<Plot> = cases.into_iter().map(|case| drawn(&of(case))).collect();
    (!plots.is_empty()).then(|| plot::sheet("Time over a copy, or over the best peer", machine, &plots, 3))
}

/// What everyone takes of one case over a copy, or the best peer.
fn drawn(figures: &[&Figure]) -> Plot {
    let all: Vec<Figure> = figures.iter().map(|figure| (*figure).clone()).collect();
    let has = |role| all.iter().any(|figure| figure.role == role);
    let over = if has(Role::Floor) { Role::Floor } else { Role::Peer };
    let mut drawn = [0; 4];
    let way = |(who, role): (&String, Role)| {
        let number = &mut drawn[role as usize];
        *number += 1;
        let ratio = |figure: &Figure| {
            let other = best(&all, &figure.case, figure.rows, over)?;
            Some((figure.rows, figure.microseconds / other))
        };
        Way {
            who: who.clone(),
            colour: match role {
                Role::Floor => "#999",
                Role::Hand => "#333",
                Role::Peer => PEERS[(*number - 1) % PEERS.len()],
                Role::Ours => OURS[(*number - 1) % OURS.len()],
            },
            points: all
                .iter()
                .filter(|figure| figure.who == *who)
                .filter_map(ratio)
                .collect(),
        }
    };
    let case = all.first().map(|figure| figure.case.to_string()).unwrap_or_default();
    let ways: Vec<Way> = distinct(all.iter().map(|figure| (&figure.who, figure.role)))
        .into_iter()
        .map(way)
        .collect();
    let ratios = || ways.iter().flat_map(|way| &way.points).map(|point| point.1);
    // From the last mark that nothing is below to the first that nothing is above.
    let least = MARKS
        .into_iter()
        .rev()
        .find(|&mark| mark < 1.0 && ratios().all(|ratio| ratio >= mark));
    let most = MARKS
        .into_iter()
        .find(|&mark| mark > 1.0 && ratios().all(|ratio| ratio <= mark));
    let shown = [least.unwrap_or(MARKS[0]), most.unwrap_or(MARKS[MARKS.len() - 1])];
    let marks = MARKS.into_iter().filter(|mark| (shown[0]..=shown[1]).contains(mark));
    Plot {
        title: format!("{case}, over {}", over.name()),
        rows: "rows",
        marks: marks.map(|mark| (mark, format!("{mark} x"))).collect(),
        base: Some(1.0),
        shown,
        ways,
        width: 440.0,
        height: 280.0,
    }
}
