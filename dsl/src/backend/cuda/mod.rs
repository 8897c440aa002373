//! Thread IR as CUDA C++ for NVRTC.
//!
//! The text needs no header, is the same for the same kernel, and says each thing once, in the IR's order:
//!
//! * an index, or the part of it that moves, becomes a constant where it is first mentioned, `int` if it is known to
//!   fit and `long long` otherwise, and is known to all that follows in its block (`index`);
//! * a value becomes a constant, a packet one for each lane, or for each word of narrow lanes that memory and registers
//!   hold side by side (`packet`); parts, joins and repetitions are but other names;
//! * global and shared memory are touched by instructions, which stay in order: the C++ compiler sees no object in them
//!   and rearranges nothing, so no pointer has to promise anything (`memory`, `atomic`). What a thread has of its own,
//!   tables and arguments are C++ objects;
//! * operations are C++ where that has them (`scalar`), and functions of the `prelude` elsewhere.
//!
//! Integer arithmetic is done unsigned, where it wraps. The text expects to be compiled with `--fmad=false`.

mod atomic;
mod index;
mod memory;
mod operation;
mod packet;
mod prelude;
mod quotients;
mod scalar;
mod statement;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::entry;
use crate::ir::{Handle, Span};
use crate::thread::passes::{only_rounded, seen_as_bits};
use crate::thread::{Argument, ArgumentKind, BufferKind, Kernel, Label, Value};
use index::{Key, Number};
use packet::Lane;
use prelude::Need;
use types::{c_type, in_comment, in_quotes};

/// The text of a kernel that the verifier accepts; [`entry`] is what the kernel is called in it.
///
/// # Panics
/// It may, if the verifier does not accept the kernel.
///
/// # Examples
/// ```
/// use tilewright_dsl::backend::{cuda, entry};
/// use tilewright_dsl::thread::{Builder, verify};
///
/// let kernel = Builder::new("nothing", 32).finish();
/// verify::verify(&kernel)?;
/// assert_eq!(entry(&kernel), "tilewright_nothing");
/// assert!(cuda::print(&kernel).contains("void __launch_bounds__(32) tilewright_nothing("));
/// # Ok::<_, verify::Fault>(())
/// ```
pub fn print(kernel: &Kernel) -> String {
    let mut writer = Writer::new(kernel);
    writer.declare();
    match super::parted_at_first_told(kernel) {
        Some([before, behind]) => {
            writer.simple("barrier.cluster.arrive;");
            writer.statements(before);
            writer.simple("barrier.cluster.wait;");
            writer.statements(behind);
        }
        None => writer.block(&kernel.body),
    }
    if super::meets_at_its_end(kernel) {
        writer.line("__syncwarp();");
    }
    writer.finish()
}

/// The text under construction.
struct Writer<'a> {
    kernel: &'a Kernel,
    body: String,
    depth: usize,
    /// Where what is written now comes from.
    line: Option<(&'static str, u32)>,
    /// Whether the compiler has been told that of the next line.
    is_told: bool,
    /// What numbers and conditions are called, innermost block last.
    named: Vec<HashMap<Key, Number>>,
    /// How many have been named.
    names: usize,
    /// The lanes of each value that has been computed.
    values: Vec<Vec<Lane>>,
    /// Which variables are an `int`.
    narrow: Vec<bool>,
    needs: BTreeSet<Need>,
    /// The loops around, innermost last.
    loops: Vec<Label>,
    /// What is left or continued from inside of another loop.
    jumps: HashSet<Jump>,
    /// The barrier of the first group of each size that meets.
    barriers: BTreeMap<u32, u32>,
    met_by_warps: BTreeSet<u32>,
    /// Whose NaN somebody sees the bits of.
    seen_as_bits: HashSet<Handle<Value>>,
    /// What only becomes narrower floats.
    only_rounded: HashSet<Handle<Value>>,
    /// Whose NaN are canonical as they are made.
    canonical: HashSet<Handle<Value>>,
}

/// A jump that C++ has no word for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Jump {
    Leave(Label),
    Next(Label),
}

impl<'a> Writer<'a> {
    fn new(kernel: &'a Kernel) -> Self {
        let mut jumps = HashSet::new();
        statement::find_jumps(&kernel.body, None, &mut jumps);
        Self {
            kernel,
            body: String::new(),
            depth: 1,
            line: None,
            is_told: false,
            named: vec![HashMap::new()],
            names: 0,
            values: vec![Vec::new(); kernel.values.len()],
            narrow: vec![false; kernel.variables.len()],
            needs: BTreeSet::new(),
            loops: Vec::new(),
            jumps,
            barriers: kernel.barriers(),
            met_by_warps: kernel.met_by_warps(),
            seen_as_bits: seen_as_bits(kernel),
            only_rounded: only_rounded(kernel),
            canonical: HashSet::new(),
        }
    }

    /// Writes one line.
    fn line(&mut self, text: impl AsRef<str>) {
        // Compilers count on from a line that they are told of.
        if let Some((_, line)) = self.line.filter(|_| !self.is_told) {
            self.body.push_str(&format!("#line {line}\n"));
        }
        self.is_told = false;
        for _ in 0..self.depth {
            self.body.push_str("  ");
        }
        self.body.push_str(text.as_ref());
        self.body.push('\n');
    }

    /// Writes a line that opens a block.
    fn open(&mut self, text: impl AsRef<str>) {
        self.line(text);
        self.depth += 1;
        self.named.push(HashMap::new());
    }

    /// Closes the innermost block, with a line.
    fn close(&mut self, text: impl AsRef<str>) {
        self.named.pop();
        self.depth -= 1;
        self.line(text);
    }

    /// Closes the innermost block and opens its `else`.
    fn otherwise(&mut self) {
        self.close("} else {");
        self.depth += 1;
        self.named.push(HashMap::new());
    }

    /// Tells the compiler which line of the author's source what follows belongs to.
    fn at(&mut self, span: Span) {
        if span.is_known() && self.line != Some((span.file, span.line)) {
            self.line = Some((span.file, span.line));
            let file = in_quotes(&span.file.replace('\\', "/"));
            self.body.push_str(&format!("#line {} \"{file}\"\n", span.line));
            self.is_told = true;
        }
    }

    fn need(&mut self, need: Need) {
        self.needs.extend(need.requires());
        self.needs.insert(need);
    }

    /// What every thread has from the beginning.
    fn declare(&mut self) {
        let kernel = self.kernel;
        self.line("const int thread = (int)threadIdx.x, block = (int)blockIdx.x;");
        let shared = kernel.shared_bytes();
        if shared > 0 {
            self.line(match kernel.has_dynamic_shared() {
                true => "extern __shared__ __align__(16) unsigned char tw_shared[];".to_owned(),
                false => format!("__shared__ __align__(16) unsigned char tw_shared[{shared}];"),
            });
            self.line("const unsigned int shared = (unsigned int)__cvta_generic_to_shared(tw_shared);");
        }
        for (_, buffer) in kernel.buffers.iter() {
            if let BufferKind::Local { bytes } = buffer.kind {
                self.line(format!(
                    "__align__({}) unsigned char b_{}[{bytes}];",
                    buffer.alignment, buffer.name
                ));
            }
        }
        for (register, _) in kernel.registers.iter() {
            self.declare_register(register);
        }
    }

    /// The whole text.
    fn finish(mut self) -> String {
        let kernel = self.kernel;
        let mut text = match kernel.comment.is_empty() {
            true => String::new(),
            false => format!("// {}\n", in_comment(&kernel.comment)),
        };
        // What nothing uses or reaches, and comparisons whose result is known, are for passes to see to.
        text.push_str("#pragma nv_diag_suppress 111, 128, 177, 186, 549, 550\n");
        let bytes = |argument: &Argument| matches!(argument.kind, ArgumentKind::Bytes { .. });
        if kernel.arguments.iter().any(|(_, argument)| bytes(argument)) {
            self.need(Need::Bytes);
        }
        self.needs.iter().for_each(|need| text.push_str(need.text()));
        for (handle, table) in kernel.tables.iter() {
            let words: Vec<String> = table.words.iter().map(|word| format!("0x{word:x}ULL")).collect();
            text.push_str(&format!(
                "static __device__ const unsigned long long tw_table{}[{}] = {{{}}};\n",
                handle.index(),
                words.len(),
                words.join(", ")
            ));
        }
        let arguments = kernel.arguments.iter();
        let arguments: Vec<String> = arguments.map(|(_, argument)| declaration(argument)).collect();
        text.push_str(&format!(
            "extern \"C\" __global__ void {}__launch_bounds__({}{}) {}({}) {{\n",
            match kernel.cluster {
                1 => String::new(),
                blocks => format!("__cluster_dims__({blocks}, 1, 1) "),
            },
            kernel.threads,
            if kernel.many_registers { ", 1" } else { "" },
            entry(kernel),
            arguments.join(", ")
        ));
        text.push_str(&self.body);
        text.push_str("}\n");
        text
    }

    /// What an argument is called.
    fn argument(&self, argument: Handle<Argument>) -> String {
        name_of(&self.kernel.arguments[argument])
    }
}

/// Every C++ keyword, builtin variable and name of this module lacks the prefix.
fn name_of(argument: &Argument) -> String {
    format!("p_{}", argument.name)
}

/// Pointers are integers: what is at them, instructions read and write.
fn declaration(argument: &Argument) -> String {
    let name = name_of(argument);
    match argument.kind {
        ArgumentKind::Scalar(element) => format!("const {} {name}", c_type(element)),
        ArgumentKind::Pointer => format!("const unsigned long long {name}"),
        ArgumentKind::Bytes { bytes, alignment } => {
            format!("const __grid_constant__ tw_bytes<{bytes}, {alignment}> {name}")
        }
    }
}
