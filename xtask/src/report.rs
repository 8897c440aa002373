//! `cargo xtask bench-report`: the tables of a reading that `benches/compare.py` made.

use std::{fmt::Write, fs, path::Path};

use serde_json::Value;

use crate::error::{At, TaskError};
use crate::gathers::{self, Figure as Gather};

/// Prints the tables of a file, and draws its gathers between GPUs into another.
pub fn run(file: &Path, plot: Option<&Path>) -> Result<(), TaskError> {
    let text = fs::read_to_string(file).at(file)?;
    let reading = Reading::parse(&text).map_err(|(line, reason)| TaskError::Reading {
        path: file.into(),
        line,
        reason,
    })?;
    print!("{}", reading.markdown());
    if let Some((plot, svg)) = plot.zip(gathers::plot(&reading.machine, &reading.gathers)) {
        fs::write(plot, svg).at(plot)?;
    }
    Ok(())
}

/// A run of the comparison.
#[derive(Debug, Default)]
struct Reading {
    machine: String,
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
#[derive(Debug)]
struct Figure {
    operation: String,
    rows: u64,
    who: String,
    role: Role,
    microseconds: f64,
    bytes: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Shown only: a contiguous copy of as many bytes, which no movement of rows is quicker than.
    Floor,
    Peer,
    Ours,
}

impl Reading {
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut reading = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let at = |reason: String| (number + 1, reason);
            let value: Value = serde_json::from_str(line).map_err(|error| at(format!("no JSON: {error}")))?;
            match value["kind"].as_str() {
                Some("machine") => reading.machine = machine(&value),
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

    fn markdown(&self) -> String {
        let mut out = String::new();
        if !self.machine.is_empty() {
            let _ = writeln!(out, "{}\n", self.machine);
        }
        for operation in distinct(self.figures.iter().map(|figure| figure.operation.as_str())) {
            let figures: Vec<_> = self
                .figures
                .iter()
                .filter(|figure| figure.operation == operation)
                .collect();
            table(&mut out, operation, &figures);
        }
        if !self.batches.is_empty() {
            batch_table(&mut out, &self.batches);
        }
        gathers::tables(&mut out, &self.gathers);
        out
    }
}

fn table(out: &mut String, operation: &str, figures: &[&Figure]) {
    let mut columns = distinct(figures.iter().map(|figure| figure.who.as_str()));
    let role = |who: &str| {
        figures
            .iter()
            .find(|figure| figure.who == who)
            .map_or(Role::Peer, |figure| figure.role)
    };
    columns.sort_by_key(|who| role(who) as u8);
    let _ = writeln!(out, "**{operation}**, microseconds\n");
    let _ = writeln!(out, "| rows | {} | ours / best peer | GB/s |", columns.join(" | "));
    let _ = writeln!(out, "|---:{}|---:|---:|", "|---:".repeat(columns.len()));
    for rows in distinct(figures.iter().map(|figure| figure.rows)) {
        let case: Vec<_> = figures.iter().filter(|figure| figure.rows == rows).collect();
        let cell = |who: &&str| {
            let found = case.iter().find(|figure| figure.who == **who);
            found.map_or_else(|| "-".to_owned(), |figure| format!("{:.2}", figure.microseconds))
        };
        let cells: Vec<_> = columns.iter().map(cell).collect();
        let best = |role: Role| {
            let times = case.iter().filter(|figure| figure.role == role);
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
        "peer" => Ok(Role::Peer),
        "ours" => Ok(Role::Ours),
        _ => Err("role that is floor, peer or ours"),
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
    Ok(Figure {
        operation: value["op"].as_str().ok_or("op")?.to_owned(),
        rows: value["rows"].as_u64().ok_or("rows")?,
        who: value["who"].as_str().ok_or("who")?.to_owned(),
        role: role(value)?,
        microseconds: value["us"].as_f64().ok_or("us")?,
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
    }
}
