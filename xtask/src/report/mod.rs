//! `cargo xtask bench-report`: readings that the scripts in `benches/` made, as tables and as a page, and whether they meet the
//! bars.

mod bars;
mod page;

use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{At, TaskError};
use crate::gathers::{self, Figure as Gather};
use bars::{Bar, Unmet, judge};

/// Prints the tables of files, writes them as a page and draws the last of them if that is wanted, and says whether all bars
/// of a file are met.
pub fn run(files: &[PathBuf], page: Option<&Path>, plot: Option<&Path>, bars: &Path) -> Result<bool, TaskError> {
    let mut all = Reading::default();
    for file in files {
        let text = fs::read_to_string(file).at(file)?;
        let reading = Reading::parse(&text).map_err(|(line, reason)| TaskError::Reading {
            path: file.into(),
            line,
            reason,
        })?;
        if reading.is_empty() {
            return Err(TaskError::NoReading { path: file.into() });
        }
        print!("{}", reading.markdown());
        let drawn = || {
            let machines = reading.machines.join(" ");
            gathers::plot(&machines, &reading.gathers).or_else(|| page::sheet(&machines, &reading.figures))
        };
        if let Some((plot, svg)) = plot.and_then(|plot| Some((plot, drawn()?))) {
            fs::write(plot, svg).at(plot)?;
        }
        reading.machines.into_iter().for_each(|machine| all.made_on(machine));
        all.figures.extend(reading.figures);
    }
    let text = fs::read_to_string(bars).at(bars)?;
    let wanted = Bar::parse(&text).map_err(|reason| TaskError::Bars {
        path: bars.into(),
        reason,
    })?;
    let (judged, unmet) = judge(&wanted, &all.figures);
    for Unmet { case, is, most, over } in &unmet {
        println!("not met: {case} takes {is:.3} of {over}, and may take {most:.3}");
    }
    println!(
        "{} of {judged} cases that bars are about meet them",
        judged - unmet.len()
    );
    if let Some(page) = page {
        fs::write(page, page::html(&all.machines, &all.figures, &unmet)).at(page)?;
    }
    Ok(unmet.is_empty())
}

/// A text that is no markup.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Runs of the comparison.
#[derive(Debug, Default)]
struct Reading {
    /// What they were made on and when, each once.
    machines: Vec<String>,
    /// In the order of the file.
    figures: Vec<Figure>,
    batches: Vec<BatchFigure>,
    gathers: Vec<Gather>,
}

/// How long one way of padding a whole batch takes, in microseconds.
#[derive(Debug)]
struct BatchFigure {
    who: String,
    role: Role,
    /// Until the host can go on, until it is done, and of a GPU's in a graph.
    times: [f64; 3],
}

/// How long one way of doing one thing takes.
#[derive(Clone, Debug)]
struct Figure {
    case: Case,
    rows: u64,
    who: String,
    role: Role,
    microseconds: f64,
    bytes: f64,
}

/// What is done, but for the number of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Case {
    operation: String,
    columns: u64,
    element: String,
    misaligned: String,
    /// Whether L2 holds what is moved: `cold` or `warm`.
    l2: String,
    /// Elements that are found of each row, if some are.
    found: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Shown only: a contiguous copy of as many bytes, which no movement of rows is quicker than.
    Floor,
    /// Shown, too: what somebody has written for just this.
    Hand,
    Peer,
    Ours,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Floor => "a copy",
            Self::Hand => "CUDA C++ by hand",
            Self::Peer => "the best peer",
            Self::Ours => "ours",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        if self.found > 0 {
            write!(f, " {}", self.found)?;
        }
        if self.columns > 0 {
            write!(f, " of {}", self.columns)?;
        }
        if !self.element.is_empty() {
            write!(f, " {}", self.element)?;
        }
        match self.misaligned.as_str() {
            "none" => {}
            which => write!(f, ", {which} misaligned")?,
        }
        match self.l2.as_str() {
            "cold" => Ok(()),
            which => write!(f, ", L2 {which}"),
        }
    }
}

/// The least time of a role on a case.
fn best(figures: &[Figure], case: &Case, rows: u64, role: Role) -> Option<f64> {
    let of_it = |figure: &&Figure| figure.role == role && figure.rows == rows && figure.case == *case;
    let times = figures.iter().filter(of_it).map(|figure| figure.microseconds);
    times.min_by(f64::total_cmp)
}

impl Reading {
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut reading = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let at = |reason: String| (number + 1, reason);
            let value: Value = serde_json::from_str(line).map_err(|error| at(format!("no JSON: {error}")))?;
            match value["kind"].as_str() {
                Some("machine") => reading.made_on(machine(&value)),
                Some("reading") => reading
                    .figures
                    .push(figure(&value).map_err(|field| at(format!("no `{field}`")))?),
                Some("batch") => reading
                    .batches
                    .push(batch_figure(&value).map_err(|field| at(format!("no `{field}`")))?),
                Some("peers") => reading
                    .gathers
                    .push(Gather::of(&value).map_err(|field| at(format!("no `{field}`")))?),
                // Later versions may say more.
                _ => {}
            }
        }
        Ok(reading)
    }

    fn is_empty(&self) -> bool {
        self.figures.is_empty() && self.batches.is_empty() && self.gathers.is_empty()
    }

    fn made_on(&mut self, machine: String) {
        if !self.machines.contains(&machine) {
            self.machines.push(machine);
        }
    }

    fn markdown(&self) -> String {
        let mut out = String::new();
        if !self.machines.is_empty() {
            let _ = writeln!(out, "{}\n", self.machines.join(" "));
        }
        for case in distinct(self.figures.iter().map(|figure| &figure.case)) {
            let figures: Vec<_> = self.figures.iter().filter(|figure| figure.case == *case).collect();
            table(&mut out, &case.to_string(), &figures);
        }
        if !self.batches.is_empty() {
            batch_table(&mut out, &self.batches);
        }
        gathers::tables(&mut out, &self.gathers);
        out
    }
}

fn table(out: &mut String, case: &str, figures: &[&Figure]) {
    let mut columns = distinct(figures.iter().map(|figure| figure.who.as_str()));
    let role = |who: &str| {
        figures
            .iter()
            .find(|figure| figure.who == who)
            .map_or(Role::Peer, |figure| figure.role)
    };
    columns.sort_by_key(|who| role(who) as u8);
    let _ = writeln!(out, "**{case}**, microseconds\n");
    let _ = writeln!(out, "| rows | {} | ours / best peer | GB/s |", columns.join(" | "));
    let _ = writeln!(out, "|---:{}|---:|---:|", "|---:".repeat(columns.len()));
    for rows in distinct(figures.iter().map(|figure| figure.rows)) {
        let on_rows: Vec<_> = figures.iter().filter(|figure| figure.rows == rows).collect();
        let cell = |who: &&str| {
            let found = on_rows.iter().find(|figure| figure.who == **who);
            found.map_or_else(|| "-".to_owned(), |figure| format!("{:.2}", figure.microseconds))
        };
        let cells: Vec<_> = columns.iter().map(cell).collect();
        let best = |role: Role| {
            let times = on_rows.iter().filter(|figure| figure.role == role);
            times.min_by(|one, other| one.microseconds.total_cmp(&other.microseconds))
        };
        let ours = best(Role::Ours);
        let ratio = ours
            .zip(best(Role::Peer))
            .map(|(ours, peer)| ours.microseconds / peer.microseconds);
        let rate = ours.map(|ours| ours.bytes / ours.microseconds / 1e3);
        let shown =
            |value: Option<f64>, digits| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
        let _ = writeln!(
            out,
            "| {rows} | {} | {} | {} |",
            cells.join(" | "),
            shown(ratio, 3),
            shown(rate, 0)
        );
    }
    out.push('\n');
}

/// One line for each way, and for ours how many times longer the best peer takes.
fn batch_table(out: &mut String, figures: &[BatchFigure]) {
    let _ = writeln!(out, "**whole batch padded**, microseconds (best peer / this)\n");
    let _ = writeln!(
        out,
        "| | host | host and device | device, in a graph |\n|---|---:|---:|---:|"
    );
    for figure in figures {
        let cells = figure.times.iter().enumerate().map(|(column, &time)| {
            let peers = figures.iter().filter(|other| other.role == Role::Peer);
            let best = peers.map(|other| other.times[column]).min_by(f64::total_cmp);
            match (figure.role, best) {
                (Role::Ours, Some(best)) => format!("{time:.2} ({:.1} x)", best / time),
                _ => format!("{time:.2}"),
            }
        });
        let _ = writeln!(out, "| {} | {} |", figure.who, cells.collect::<Vec<_>>().join(" | "));
    }
    out.push('\n');
}

fn batch_figure(value: &Value) -> Result<BatchFigure, &'static str> {
    let time = |field: &'static str| value[field].as_f64().ok_or(field);
    Ok(BatchFigure {
        who: value["who"].as_str().ok_or("who")?.to_owned(),
        role: role(value)?,
        times: [time("host_us")?, time("total_us")?, time("graph_us")?],
    })
}

fn role(value: &Value) -> Result<Role, &'static str> {
    match value["role"].as_str().ok_or("role")? {
        "floor" => Ok(Role::Floor),
        "hand" => Ok(Role::Hand),
        "peer" => Ok(Role::Peer),
        "ours" => Ok(Role::Ours),
        _ => Err("role that is floor, hand, peer or ours"),
    }
}

fn machine(value: &Value) -> String {
    let text = |field: &str| value[field].as_str().unwrap_or("?").to_owned();
    if let Some(gpus) = value["gpus"].as_u64() {
        let [name, torch, nccl, date] = ["name", "torch", "nccl", "date"].map(text);
        return format!("{gpus} x {name}, torch {torch}, NCCL {nccl}, {date}.");
    }
    format!(
        "{}, torch {}, Triton {}, {}.",
        text("name"),
        text("torch"),
        text("triton"),
        text("date")
    )
}

fn figure(value: &Value) -> Result<Figure, &'static str> {
    let text = |field: &str, otherwise: &str| value[field].as_str().unwrap_or(otherwise).to_owned();
    Ok(Figure {
        case: Case {
            operation: value["op"].as_str().ok_or("op")?.to_owned(),
            columns: value["columns"].as_u64().unwrap_or(0),
            element: text("dtype", ""),
            misaligned: text("misaligned", "none"),
            l2: text("l2", "cold"),
            found: value["k"].as_u64().unwrap_or(0),
        },
        rows: value["rows"].as_u64().ok_or("rows")?,
        who: value["who"].as_str().ok_or("who")?.to_owned(),
        role: role(value)?,
        microseconds: value["us"].as_f64().filter(|us| *us > 0.0).ok_or("us")?,
        bytes: value["bytes"].as_f64().ok_or("bytes")?,
    })
}

/// Each value once, where it comes first.
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"
{"kind":"machine","name":"a GPU","torch":"2.11","triton":"3.6","date":"2026-11-24"}
{"kind":"reading","op":"gather","rows":8,"who":"tilewright","role":"ours","us":2.0,"bytes":8000000}
{"kind":"reading","op":"gather","rows":8,"who":"Triton","role":"peer","us":2.5,"bytes":8000000}
{"kind":"reading","op":"gather","rows":8,"who":"copy","role":"floor","us":1.5,"bytes":8000000}
{"kind":"reading","op":"gather","rows":64,"who":"Triton","role":"peer","us":3.0,"bytes":8000000}
"#;

    #[test]
    fn a_reading_becomes_a_table_of_floor_peers_and_ours() {
        let expected = "a GPU, torch 2.11, Triton 3.6, 2026-11-24.\n\n\
            **gather**, microseconds\n\n\
            | rows | copy | Triton | tilewright | ours / best peer | GB/s |\n\
            |---:|---:|---:|---:|---:|---:|\n\
            | 8 | 1.50 | 2.50 | 2.00 | 0.800 | 4000 |\n\
            | 64 | - | 3.00 | - | - | - |\n\n";
        assert_eq!(Reading::parse(LINES).expect("a reading").markdown(), expected);
    }

    #[test]
    fn a_reading_of_several_runs_says_when_each_of_them_was() {
        let later = LINES.replace("11-24", "11-25");
        let text = Reading::parse(&format!("{LINES}{later}{LINES}"))
            .expect("a reading")
            .markdown();
        let told = "a GPU, torch 2.11, Triton 3.6, 2026-11-24. a GPU, torch 2.11, Triton 3.6, 2026-11-25.\n";
        assert!(text.starts_with(told), "{text}");
    }

    #[test]
    fn a_bar_is_about_the_cases_that_it_names_and_says_which_of_them_are_slower() {
        let reading = Reading::parse(LINES).expect("a reading");
        let judged = |bars: &str| judge(&Bar::parse(bars).expect("bars"), &reading.figures);
        let (cases, unmet) = judged(r#"[{"operations": ["gather"], "over": "copy", "most": 1.3}]"#);
        assert_eq!((cases, unmet.len()), (1, 1));
        assert_eq!((unmet[0].case.as_str(), unmet[0].over), ("gather on 8 rows", "a copy"));
        assert!((unmet[0].is - 2.0 / 1.5).abs() < 1e-9);
        let others = r#"[{"operations": ["gather"], "over": "best peer", "most": 0.8},
                {"operations": ["gather"], "rows": [9, null], "over": "copy", "most": 0.1},
                {"operations": ["gather"], "misaligned": ["both"], "over": "copy", "most": 0.1},
                {"operations": ["scatter"], "over": "copy", "most": 0.1}]"#;
        assert_eq!(judged(others), (1, Vec::new()));
        // Of several the strictest, once.
        let several = r#"[{"operations": ["gather"], "over": "copy", "most": 1.4},
                {"operations": ["gather"], "rows": [1, 8], "over": "copy", "most": 1.2},
                {"operations": ["gather"], "over": "copy", "most": 1.3},
                {"operations": ["gather"], "over": "best peer", "most": 1}]"#;
        let (cases, unmet) = judged(several);
        assert_eq!((cases, unmet.len(), unmet[0].most), (2, 1, 1.2));
        assert_eq!(
            Bar::parse(r#"[{"operations": ["gather"], "over": "all", "most": 1}]"#).expect_err("no such peer"),
            "bar 0 has no `over`"
        );
    }

    #[test]
    fn what_l2_holds_is_a_case_of_its_own_and_what_is_written_by_hand_is_no_peer() {
        let by_hand = LINES.replace("\"Triton\",\"role\":\"peer\"", "\"by hand\",\"role\":\"hand\"");
        let warm = LINES.replace("\"rows\"", "\"l2\":\"warm\",\"rows\"");
        let reading = Reading::parse(&format!("{by_hand}{warm}")).expect("a reading");
        let judged = |bar: &str| judge(&Bar::parse(bar).expect("bars"), &reading.figures);
        let (cases, unmet) = judged(r#"[{"operations": ["gather"], "over": "by hand", "most": 0.7}]"#);
        assert_eq!((cases, unmet.len(), unmet[0].over), (1, 1, "CUDA C++ by hand"));
        let (cases, _) = judged(r#"[{"operations": ["gather"], "over": "best peer", "most": 0.7}]"#);
        assert_eq!(cases, 0, "the cold one has no peer, and bars are about cold ones");
        let (cases, unmet) =
            judged(r#"[{"operations": ["gather"], "l2": ["warm"], "over": "best peer", "most": 0.7}]"#);
        assert_eq!((cases, unmet[0].case.as_str()), (1, "gather, L2 warm on 8 rows"));
        assert!(reading.markdown().contains("| rows | copy | by hand | tilewright |"));
    }

    #[test]
    fn a_page_has_a_plot_for_each_operation_and_width_and_needs_nothing_else() {
        let wide = LINES.replace("\"rows\"", "\"columns\":7168,\"dtype\":\"bf16\",\"rows\"");
        let narrow = wide.replace("7168", "131");
        let figures = [wide, narrow].map(|lines| Reading::parse(&lines).expect("a reading").figures);
        let html = page::html(&["a <GPU>".to_owned()], &figures.concat(), &[]);
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(
            html.contains("gather of 131 bf16") && html.contains("a &lt;GPU&gt;"),
            "{html}"
        );
        assert!(
            html.contains("tilewright, 8 rows: 1.33<") && html.contains("over a copy"),
            "{html}"
        );
        assert!(!html.contains("src=") && !html.contains("href="), "{html}");
    }

    #[test]
    fn a_batch_is_one_table_with_ratios_to_the_best_peer() {
        let lines = [("torch cat", "peer", 8.0), ("torch pad", "peer", 6.0), ("Tilewright", "ours", 2.0)].map(
            |(who, role, us)| {
                format!(
                    "{{\"kind\":\"batch\",\"who\":\"{who}\",\"role\":\"{role}\",\"host_us\":{us},\"total_us\":{},\"graph_us\":1}}",
                    us + 1.0
                )
            },
        );
        let text = Reading::parse(&lines.join("\n")).expect("a reading").markdown();
        assert!(text.contains("| torch cat | 8.00 | 9.00 | 1.00 |"), "{text}");
        assert!(
            text.contains("| Tilewright | 2.00 (3.0 x) | 3.00 (2.3 x) | 1.00 (1.0 x) |"),
            "{text}"
        );
        let damaged = lines.join("\n").replacen("host_us", "host", 1);
        assert_eq!(
            Reading::parse(&damaged).expect_err("damaged"),
            (1, "no `host_us`".to_owned())
        );
    }

    #[test]
    fn a_line_that_is_no_reading_is_named() {
        let damaged = LINES.replace("\"us\":2.5,", "");
        assert_eq!(
            Reading::parse(&damaged).expect_err("damaged"),
            (4, "no `us`".to_owned())
        );
        assert_eq!(Reading::parse("\n{").expect_err("damaged").0, 2);
        let never = LINES.replace("\"us\":2.5", "\"us\":0");
        assert_eq!(Reading::parse(&never).expect_err("no time").0, 4);
        for nothing in ["", "{}", "[]", "null"] {
            assert!(Reading::parse(nothing).expect("lines of something else").is_empty());
        }
    }
}
