//! Kernels of the catalogue, called with tensors of the shapes that are asked for.

use clap::Args;
use tilewright::dp::catalogue::{ENTRIES, Entry, SOURCES, Shapes};
use tilewright::dsl::element::ElementType;
use tilewright::prelude::{Device, Inspect, InspectOptions};
use tilewright::runtime::compile::Architecture;
use tilewright::runtime::inspect::{Inspection, Section};
use tilewright::runtime::{Target, Tier};

use super::Arguments;
use crate::bundle::parser;
use crate::error::CommandError;
use crate::output;

/// Of the names that are like one that is not there, how many are shown.
const NEAR: usize = 3;

/// How like a name has to be.
const ALIKE: f64 = 0.8;

/// What the command line says of the launch.
#[derive(Args)]
#[command(next_help_heading = "The launch of a kernel of the catalogue")]
pub struct LaunchArguments {
    /// Elements of a hidden state
    #[arg(long, default_value_t = Shapes::default().hidden)]
    hidden: usize,
    /// Rows of a rank, padding included; slots, segments or requests, where the kernel is about these
    #[arg(long, default_value_t = Shapes::default().rows)]
    rows: usize,
    /// Rows that hold a token: the count that is passed [default: all]
    #[arg(long)]
    tokens: Option<usize>,
    /// The type of hidden states
    #[arg(long = "type", value_name = "TYPE", default_value = "bf16",
          value_parser = parser([ElementType::BF16, ElementType::F16, ElementType::F32], ElementType::name))]
    element: ElementType,
    /// The type of indices, ids and counts in tensors
    #[arg(long, value_name = "TYPE", default_value = "i32",
          value_parser = parser([ElementType::I32, ElementType::I64], ElementType::name))]
    index: ElementType,
    /// Data-parallel ranks
    #[arg(long, value_name = "RANKS", default_value_t = Shapes::default().ranks)]
    dp: usize,
    /// Which rank is meant, from 0 [default: 1, or the only one]
    #[arg(long)]
    rank: Option<usize>,
    /// Experts
    #[arg(long, default_value_t = Shapes::default().experts)]
    experts: usize,
    /// How many experts a token is routed to
    #[arg(long, value_name = "EXPERTS", default_value_t = Shapes::default().experts_per_token)]
    experts_per_token: usize,
    /// Which variant is shown: resident, proved, or literal, which kernels with counts have [default: the best]
    #[arg(long, value_parser = parser(Tier::ALL, Tier::name))]
    tier: Option<Tier>,
    /// Multiprocessors of the GPU [default: 108 for sm_80, 132 for sm_90, 148 for sm_100]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    multiprocessors: Option<u32>,
}

impl LaunchArguments {
    fn shapes(&self) -> Shapes {
        Shapes {
            element: self.element,
            index: self.index,
            rows: self.rows,
            tokens: self.tokens.unwrap_or(self.rows),
            hidden: self.hidden,
            ranks: self.dp,
            rank: self
                .rank
                .unwrap_or(Shapes::default().rank.min(self.dp.saturating_sub(1))),
            experts: self.experts,
            experts_per_token: self.experts_per_token,
        }
    }

    fn options(&self, architecture: Architecture) -> Result<InspectOptions, CommandError> {
        let given = self.multiprocessors.map(|count| Target::new(architecture, count));
        let target = given.or_else(|| Target::usual(architecture));
        let mut options = InspectOptions::new(target.ok_or(CommandError::UnknownMultiprocessors { architecture })?);
        options.tier = self.tier;
        let sources = SOURCES
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        options.sources = sources.collect();
        Ok(options)
    }
}

/// Shows a kernel.
pub fn show(arguments: &Arguments, name: &str) -> Result<String, CommandError> {
    let entry = find(name)?;
    let options = arguments
        .launch
        .options(arguments.arch.unwrap_or(Architecture::new(9, 0)))?;
    let inspect = |call: tilewright::prelude::Call<'_>| call.inspect(&options);
    let found = entry.call(&Device::cpu(), &arguments.launch.shapes(), inspect)??;
    if let Some(file) = &arguments.html {
        output::write(file, &found.to_html())?;
        return Ok(String::new());
    }
    match arguments.json {
        true => Ok(serde_json::to_string_pretty(&found)? + "\n"),
        false => Ok(text(&found, &arguments.section)),
    }
}

/// The sections that are asked for. Of a listing that is not there, why.
fn text(found: &Inspection, sections: &[Section]) -> String {
    if sections.is_empty() {
        return found.to_string();
    }
    let section = |section: &Section| match (found.section(*section), section) {
        (text, Section::Listing(name)) if text.is_empty() => {
            let why: Vec<&str> = found.missing.iter().map(|missing| missing.why.as_str()).collect();
            format!("{name}: none\n  {}\n", why.join("\n").trim_end().replace('\n', "\n  "))
        }
        (text, _) => text,
    };
    let texts: Vec<String> = sections.iter().map(section).collect();
    texts.join("\n")
}

fn find(name: &str) -> Result<&'static Entry, CommandError> {
    if let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    let likeness = |entry: &Entry| match entry.name.contains(name) {
        true => 1.0,
        false => strsim::jaro_winkler(entry.name, name),
    };
    let mut near: Vec<_> = ENTRIES.iter().map(|entry| (likeness(entry), entry.name)).collect();
    near.retain(|(alike, _)| *alike >= ALIKE && !name.is_empty());
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    Err(CommandError::UnknownKernel {
        name: name.to_owned(),
        near: near.into_iter().take(NEAR).map(|(_, name)| name).collect(),
    })
}
