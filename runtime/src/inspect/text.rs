//! What was found, for terminals.

use std::fmt::{self, Write};
use std::str::FromStr;

use super::{CubinInspection, Inspection, Occupancy, Place, Source};

/// A part of what is found out about a launch.
///
/// ```
/// use tilewright_runtime::inspect::Section;
///
/// assert_eq!("sass".parse(), Ok(Section::Listing("sass")));
/// assert!("machine code".parse::<Section>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// The launch: its arguments, grid and blocks.
    Launch,
    /// Its class, conditions and variants.
    Class,
    /// How it is spread over threads and blocks, and why.
    Schedule,
    /// What was proved, and what is checked.
    Proofs,
    /// What a thread reads and writes, and why not wider.
    Accesses,
    /// The bytes against the floor.
    Traffic,
    /// What the compiler made.
    Code,
    /// The author's lines.
    Source,
    /// A [listing](super::Listing), by its name.
    Listing(&'static str),
}

/// A text that names no section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no section: there are {}", all_names())]
pub struct UnknownSection {
    /// What was read.
    pub text: String,
}

fn all_names() -> String {
    let names: Vec<&str> = Section::ALL.iter().map(|section| section.name()).collect();
    names.join(", ")
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Launch,
        Self::Class,
        Self::Schedule,
        Self::Proofs,
        Self::Accesses,
        Self::Traffic,
        Self::Code,
        Self::Source,
        Self::Listing("tile-ir"),
        Self::Listing("thread-ir"),
        Self::Listing("cuda"),
        Self::Listing("ptx"),
        Self::Listing("nvrtc-ptx"),
        Self::Listing("sass"),
    ];

    /// Those that a terminal has room for.
    pub const SHORT: &'static [Self] = &[
        Self::Launch,
        Self::Class,
        Self::Schedule,
        Self::Proofs,
        Self::Accesses,
        Self::Traffic,
        Self::Code,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Class => "class",
            Self::Schedule => "schedule",
            Self::Proofs => "proofs",
            Self::Accesses => "accesses",
            Self::Traffic => "traffic",
            Self::Code => "code",
            Self::Source => "source",
            Self::Listing(name) => name,
        }
    }
}

impl FromStr for Section {
    type Err = UnknownSection;

    fn from_str(text: &str) -> Result<Self, UnknownSection> {
        let found = Self::ALL.into_iter().find(|section| section.name() == text);
        found.ok_or_else(|| UnknownSection { text: text.to_owned() })
    }
}

/// Bytes as people say them.
pub(super) fn bytes(count: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} bytes"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

/// A number, or what stands for one that is not known.
pub(super) fn known_bytes(count: Option<u64>) -> String {
    count.map_or_else(|| "a trip's, so often".to_owned(), bytes)
}

/// Rows in columns as wide as they need to be.
fn table(out: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A place as its file and line.
pub(super) fn place(at: Option<Place>, sources: &[Source]) -> String {
    let named = at.and_then(|at| Some(format!("{}:{}", sources.get(at.source)?.file, at.line)));
    named.unwrap_or_default()
}

impl Occupancy {
    /// In one line.
    pub(super) fn line(&self) -> String {
        let Self {
            blocks,
            warps,
            most_warps,
            limited_by,
            waves,
        } = self;
        let share = 100.0 * f64::from(*warps) / f64::from(*most_warps);
        let mut line = format!(
            "{share:.0} %: {blocks} blocks of a multiprocessor, {warps} of {most_warps} warps, limited by {}",
            limited_by.join(" and ")
        );
        if let Some(waves) = waves {
            let _ = write!(line, "; {waves:.2} waves");
        }
        line
    }
}

impl Inspection {
    /// The text of a section, with its heading; empty where there is nothing to say.
    pub fn section(&self, section: Section) -> String {
        let mut out = String::new();
        match section {
            Section::Launch => self.launch_text(&mut out),
            Section::Class => self.class_text(&mut out),
            Section::Schedule => self.schedule_text(&mut out),
            Section::Proofs => self.proofs_text(&mut out),
            Section::Accesses => self.accesses_text(&mut out),
            Section::Traffic => self.traffic_text(&mut out),
            Section::Code => self.code_text(&mut out),
            Section::Source => self.source_text(&mut out),
            Section::Listing(name) => {
                if let Some(listing) = self.listing(name) {
                    out = format!("{}\n{}", listing.title, listing.text());
                }
            }
        }
        out
    }

    fn launch_text(&self, out: &mut String) {
        let Self {
            kernel,
            architecture,
            multiprocessors,
            launch,
            ..
        } = self;
        let [x, y, z] = launch.grid;
        let blocks = launch.blocks.map_or("too many".to_owned(), |blocks| blocks.to_string());
        let _ = writeln!(
            out,
            "{kernel} on {architecture} with {multiprocessors} multiprocessors\n  {} programs ({x} x {y} x {z}), {blocks} \
             blocks of {} threads",
            launch.programs, launch.threads
        );
        launch
            .arguments
            .iter()
            .for_each(|argument| *out += &format!("  {argument}\n"));
    }

    fn class_text(&self, out: &mut String) {
        out.push_str("class of launches\n");
        self.class.facts.iter().for_each(|fact| *out += &format!("  {fact}\n"));
        if !self.class.conditions.is_empty() {
            out.push_str("conditions of its proofs\n");
        }
        for condition in &self.class.conditions {
            let word = if condition.holds { "holds" } else { "fails" };
            let _ = writeln!(out, "  {word}  {}", condition.text);
        }
        out.push_str("variants\n");
        for variant in &self.class.variants {
            let shown = if variant.is_shown { ", shown here" } else { "" };
            let _ = match &variant.refused {
                Some(why) => writeln!(out, "  {}: none, since {why}", variant.tier),
                None => writeln!(
                    out,
                    "  {}{shown}: {} checks; literals: {}\n    {}",
                    variant.tier,
                    variant.checks,
                    if variant.literals.is_empty() {
                        "none".to_owned()
                    } else {
                        variant.literals.join(", ")
                    },
                    variant.schedule
                ),
            };
        }
    }

    fn schedule_text(&self, out: &mut String) {
        let schedule = &self.schedule;
        let _ = writeln!(
            out,
            "schedule\n  {} threads of a program, {} programs of a block, {} blocks of a program, {} accesses in flight{}, {} \
             loads, {} stores",
            schedule.threads,
            schedule.programs_per_block,
            schedule.splits,
            schedule.unroll,
            if schedule.wide { "" } else { ", one element each" },
            schedule.load,
            schedule.store
        );
        if schedule.in_order {
            out.push_str("  one block runs all programs, one after the other\n");
        }
        let _ = writeln!(out, "  because {}", schedule.reason);
        let _ = match schedule.to_programs {
            u64::MAX => writeln!(out, "  the same from {} programs on", schedule.from_programs),
            most => writeln!(out, "  the same for {} to {most} programs", schedule.from_programs),
        };
        for spread in &self.distributions {
            let _ = writeln!(out, "  {}  {}", place(spread.at, &self.sources), spread.text);
        }
    }

    fn proofs_text(&self, out: &mut String) {
        out.push_str("accesses, and why each index is in range\n");
        let rows = self.proofs.iter().map(|proof| {
            let of = format!("{} {}", proof.kind, proof.tensor);
            vec![place(proof.at, &self.sources), of, proof.axes.join(", ")]
        });
        table(out, &rows.collect::<Vec<_>>());
    }

    fn accesses_text(&self, out: &mut String) {
        out.push_str("what a thread reads and writes\n");
        let heads = row([
            "",
            "access",
            "tensor",
            "element",
            "bytes",
            "per thread",
            "narrow because",
        ]);
        let rows = self.accesses.iter().map(|access| {
            let each = if access.each_trip { " a trip" } else { "" };
            vec![
                place(access.at, &self.sources),
                access.kind.clone(),
                access.tensor.clone(),
                access.element.clone(),
                access.bytes.to_string(),
                format!("{}{each}", access.repeats),
                access.narrow.clone().unwrap_or_default(),
            ]
        });
        table(out, &[heads].into_iter().chain(rows).collect::<Vec<_>>());
    }

    fn traffic_text(&self, out: &mut String) {
        out.push_str("bytes\n");
        let heads = row(["", "tensor", "floor", "tiles ask for", "threads issue at most"]);
        let rows = self.traffic.tensors.iter().map(|one| {
            vec![
                one.kind.clone(),
                one.tensor.clone(),
                bytes(one.floor_bytes),
                known_bytes(one.asked_bytes),
                known_bytes(one.issued_bytes),
            ]
        });
        let all = vec![
            "all".to_owned(),
            String::new(),
            bytes(self.traffic.floor_bytes),
            known_bytes(self.traffic.asked_bytes),
            known_bytes(self.traffic.issued_bytes),
        ];
        table(out, &[heads].into_iter().chain(rows).chain([all]).collect::<Vec<_>>());
    }

    fn code_text(&self, out: &mut String) {
        if let Some(code) = &self.code {
            let spills = code.spill_store_bytes.zip(code.spill_load_bytes);
            let spills = spills.map_or_else(String::new, |(stores, loads)| {
                format!(", spills of {stores} bytes stored and {loads} loaded")
            });
            let _ = writeln!(
                out,
                "code by {}\n  {} registers, {} bytes of shared memory, {} bytes of local memory{spills}, a cubin of {} bytes",
                code.compiler, code.registers, code.shared_bytes, code.local_bytes, code.cubin_bytes
            );
            if let Some(occupancy) = &code.occupancy {
                let _ = writeln!(out, "  occupancy {}", occupancy.line());
            }
        }
        for missing in &self.missing {
            let _ = writeln!(
                out,
                "not here: {}\n  {}",
                missing.what,
                missing.why.trim_end().replace('\n', "\n  ")
            );
        }
    }

    fn source_text(&self, out: &mut String) {
        for source in &self.sources {
            let _ = writeln!(out, "{}", source.file);
            for (number, line) in (source.first..).zip(&source.lines) {
                let _ = writeln!(out, "{number:5}  {line}");
            }
        }
    }
}

/// The [short](Section::SHORT) sections.
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = Section::SHORT.iter().map(|section| self.section(*section));
        let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl fmt::Display for CubinInspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} for {} by {}, {}",
            self.name, self.architecture, self.compiler, self.key
        )?;
        let threads = self
            .threads
            .map_or_else(String::new, |threads| format!("{threads} threads of a block, "));
        writeln!(
            f,
            "  {threads}{} registers, {} bytes of shared memory, {} bytes of local memory, a cubin of {} bytes",
            self.registers, self.shared_bytes, self.local_bytes, self.cubin_bytes
        )?;
        if let Some(occupancy) = &self.occupancy {
            writeln!(f, "  occupancy {}", occupancy.line())?;
        }
        for missing in &self.missing {
            writeln!(f, "not here: {}\n  {}", missing.what, missing.why)?;
        }
        Ok(())
    }
}
