//! A whole text.

use std::fmt::Write;

use super::memory::SHARED;
use super::number::bit_type;
use super::register::Class;
use super::special::{PRINT, PRINTED, REPORT};
use super::target::{Target, Unsupported};
use super::writer::Writer;
use crate::backend::{entry, meets_at_its_end, parted_at_first_told};
use crate::ir::Span;
use crate::thread::{ArgumentKind, BufferKind, Features, Kernel, legalize, passes::name_invariants};

/// A text with one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// What it is for.
    pub target: Target,
    /// Where each line comes from.
    spans: Vec<Span>,
}

impl Text {
    /// The place in the author's text that a line of this one comes from, counted from 1 as assemblers do.
    pub fn span(&self, line: u32) -> Option<Span> {
        let at = usize::try_from(line).ok()?.checked_sub(1)?;
        self.spans.get(at).copied().filter(Span::is_known)
    }
}

/// A kernel as it is to be printed for a target with these features: [legal](crate::thread::legalize), with ahead of loops what
/// the assembler would not take out of them. What it computes stays the same, and so does whether it is verified.
pub fn prepare(kernel: Kernel, features: Features) -> Kernel {
    name_invariants(legalize(kernel, features))
}

/// Prints a kernel that is verified, and [legal](crate::thread::legalize) for the target's
/// [features](Target::features); [`prepare`] makes it so.
///
/// # Errors
/// What PTX for this target cannot say, and where it is wanted.
///
/// ```
/// use tilewright_dsl::backend::ptx::{Target, print};
/// use tilewright_dsl::thread::{Builder, verify::verify};
///
/// let kernel = Builder::new("nothing", 32).finish();
/// verify(&kernel).unwrap();
/// let ptx = print(&kernel, Target::new(90).unwrap()).unwrap();
/// assert!(ptx.text.contains(".target sm_90"));
/// ```
pub fn print(kernel: &Kernel, target: Target) -> Result<Text, Unsupported> {
    let mut writer = Writer::new(kernel, target);
    if kernel.cluster > 1 && target.capability() < 90 {
        writer.refuse("clusters of blocks");
    }
    match parted_at_first_told(kernel) {
        Some([before, behind]) => {
            writer.line("barrier.cluster.arrive;");
            writer.statements(before);
            writer.line("barrier.cluster.wait;");
            writer.statements(behind);
        }
        None => writer.block(&kernel.body),
    }
    if meets_at_its_end(kernel) {
        writer.line("bar.warp.sync\t0xffffffff;");
    }
    writer.check()?;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writer.head(&mut text, &entry(kernel));
    let mut spans = vec![Span::UNKNOWN; text.lines().count()];
    for (line, span) in writer.opening.lines.iter().chain(&writer.body.lines) {
        text += line;
        text.push('\n');
        spans.push(*span);
    }
    text += "\tret;\n}\n";
    Ok(Text { text, target, spans })
}

impl Writer<'_> {
    /// Everything ahead of the first instruction.
    fn head(&self, out: &mut String, entry: &str) -> std::fmt::Result {
        let kernel = self.kernel;
        if !kernel.comment.is_empty() {
            writeln!(out, "// {}", ascii(&kernel.comment))?;
        }
        let (major, minor) = self.target.version();
        writeln!(
            out,
            ".version {major}.{minor}\n.target {}\n.address_size 64",
            self.target
        )?;
        for (number, file) in self.files.iter().enumerate() {
            writeln!(out, ".file {} \"{}\"", number + 1, file_name(file))?;
        }
        self.data(out)?;
        if self.reports {
            out.push_str(REPORT);
        }
        if self.printed.is_some() {
            out.push_str(PRINT);
        }
        writeln!(out, ".visible .entry {entry}(")?;
        let count = kernel.arguments.len();
        for (number, (handle, argument)) in kernel.arguments.iter().enumerate() {
            let name = self.argument_name(handle);
            let comma = if number + 1 < count { "," } else { "" };
            match argument.kind {
                ArgumentKind::Scalar(element) => {
                    let bits = element.bits();
                    writeln!(out, "\t.param .b{bits} {name}{comma}")?;
                }
                ArgumentKind::Pointer => writeln!(out, "\t.param .b64 {name}{comma}")?,
                ArgumentKind::Bytes { bytes, alignment } => {
                    writeln!(out, "\t.param .align {alignment} .b8 {name}[{bytes}]{comma}")?;
                }
            }
        }
        writeln!(out, ")\n.reqntid {}, 1, 1", kernel.threads)?;
        if kernel.cluster > 1 {
            writeln!(out, ".explicitcluster\n.reqnctapercluster {}, 1, 1", kernel.cluster)?;
        }
        if kernel.many_registers {
            writeln!(out, ".minnctapersm 1")?;
        }
        writeln!(out, "{{")?;
        for class in Class::ALL {
            let count = self.registers[class as usize];
            if count > 0 {
                writeln!(out, "\t.reg .{} {}<{count}>;", class.ty(), class.prefix())?;
            }
        }
        for (_, buffer) in kernel.buffers.iter() {
            if let BufferKind::Local { bytes } = buffer.kind {
                let (name, alignment) = (&buffer.name, buffer.alignment);
                writeln!(out, "\t.local .align {alignment} .b8 local_{name}[{bytes}];")?;
            }
        }
        if let Some(values) = self.printed.filter(|values| *values > 0) {
            writeln!(out, "\t.local .align 8 .b8 {PRINTED}[{}];", 8 * values)?;
        }
        Ok(())
    }

    /// Memory that the module has: tables, texts, what blocks share.
    fn data(&self, out: &mut String) -> std::fmt::Result {
        let kernel = self.kernel;
        for (_, buffer) in kernel.buffers.iter() {
            if let BufferKind::Table { table } = buffer.kind {
                let words = &kernel.tables[table].words;
                let numbers: Vec<String> = words.iter().map(|word| format!("{word:#x}")).collect();
                let (name, count, numbers) = (&buffer.name, words.len(), numbers.join(", "));
                let ty = bit_type(crate::element::ElementType::U64);
                writeln!(out, ".global .align 8 .{ty} table_{name}[{count}] = {{{numbers}}};")?;
            }
        }
        for (number, text) in self.strings.texts.iter().enumerate() {
            let bytes: Vec<String> = text.bytes().chain([0]).map(|byte| byte.to_string()).collect();
            let (count, bytes) = (bytes.len(), bytes.join(", "));
            writeln!(out, ".global .align 1 .b8 text_{number}[{count}] = {{{bytes}}};")?;
        }
        match (kernel.shared_bytes(), kernel.has_dynamic_shared()) {
            (0, _) => Ok(()),
            (_, true) => writeln!(out, ".extern .shared .align 16 .b8 {SHARED}[];"),
            (bytes, false) => writeln!(out, ".shared .align 16 .b8 {SHARED}[{bytes}];"),
        }
    }
}

/// A comment in the characters that assemblers take.
fn ascii(text: &str) -> String {
    let shown = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(shown).collect()
}

/// The name of a file between quotes.
fn file_name(file: &str) -> String {
    ascii(&file.replace('\\', "/").replace('"', "?"))
}
