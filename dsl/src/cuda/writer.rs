//! The text under construction: lines, names, what each value has become, and what the kernel takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::cache::grid_dependency;
use super::prelude::Need;
use super::print::in_quotes;
use super::scalar::Text;
use super::types::{c_type, literal, memory_type};
use super::{KernelArgument, TrapSite};
use crate::analysis::effects::Effects;
use crate::analysis::opening::opening;
use crate::analysis::races::Races;
use crate::element::ElementType;
use crate::ir::{Expression, Handle, Kernel, Layout, Local, ParameterKind, Span, Symbol};
use crate::schedule::Schedule;

/// Where the elements of a tile are, if they are anywhere.
#[derive(Debug, Clone)]
pub(super) enum Placed {
    /// A scalar: a variable that every thread has.
    Scalar(String),
    /// Registers of the program's threads, in the layout of its element count.
    Registers(String),
    /// Shared memory, row-major.
    Shared(String),
    /// A tile of one element: a variable that every thread has.
    Repeated(String),
    /// Computed from coordinates where it is used.
    Lazy,
}

/// A value at a coordinate, for look-up.
pub(super) type PullKey = (Handle<Expression>, Vec<String>);

/// All threads of a block meet; those of a warp first, since barriers go wrong in warps that have diverged (NVRTC 13.0): where a
/// thread was long at stores in order, `__syncthreads()` in a branch let the others pass on an H200, and without the first
/// part this one in a loop let some threads of a warp pass on an H100, after which the kernel never ended.
const SYNCHRONIZE: &str = "__syncwarp(); __barrier_sync(0);";

pub(super) struct Writer<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) schedule: &'a Schedule,
    pub(super) effects: Effects,
    pub(super) races: Races,
    /// Whether any store marks what it writes, and so has a number.
    pub(super) marks_stores: bool,
    /// Elements that a thread holds side by side, by the element count of a tile in registers.
    pub(super) lanes: BTreeMap<u64, u32>,
    pub(super) placed: HashMap<Handle<Expression>, Placed>,
    pub(super) locals: HashMap<Handle<Local>, String>,
    pub(super) arguments: BTreeSet<ArgumentOrder>,
    pub(super) traps: Vec<TrapSite>,
    pub(super) needs: BTreeSet<Need>,
    /// Values already computed at a coordinate, innermost scope last.
    pub(super) pulled: Vec<HashMap<PullKey, String>>,
    /// What stands for a load in the lane of a vector.
    pub(super) substitutes: BTreeMap<Handle<Expression>, String>,
    pub(super) parameters: Vec<String>,
    /// How many loops what is written now is in.
    pub(super) loops: usize,
    /// Bytes of shared memory declared so far.
    pub(super) shared_bytes: u64,
    body: String,
    indent: usize,
    next: usize,
    line: Option<(&'static str, u32)>,
    /// The waits and triggers to come that [`Writer::finish`] prints.
    pub(super) opening: usize,
}

/// Slots in the order of the argument list: pointers, then integers, then scalars, then what the runtime adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ArgumentOrder {
    Pointer(u32),
    Table(u32),
    DeviceCount(u32),
    DeviceCountMaximum(u32),
    Symbol(Symbol),
    Scalar(u32),
    Marks { tensor: u32, words: u32 },
    Trap,
}

impl From<ArgumentOrder> for KernelArgument {
    fn from(order: ArgumentOrder) -> KernelArgument {
        match order {
            ArgumentOrder::Pointer(p) => KernelArgument::Pointer(p),
            ArgumentOrder::Table(p) => KernelArgument::Table(p),
            ArgumentOrder::DeviceCount(p) => KernelArgument::DeviceCount(p),
            ArgumentOrder::DeviceCountMaximum(p) => KernelArgument::DeviceCountMaximum(p),
            ArgumentOrder::Symbol(s) => KernelArgument::Symbol(s),
            ArgumentOrder::Scalar(p) => KernelArgument::Scalar(p),
            ArgumentOrder::Marks { tensor, words } => KernelArgument::Marks { tensor, words },
            ArgumentOrder::Trap => KernelArgument::Trap,
        }
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(kernel: &'a Kernel, schedule: &'a Schedule) -> Self {
        let mut used = BTreeMap::new();
        let parameters = kernel
            .parameters
            .iter()
            .map(|p| unique(&identifier(&p.name), &mut used))
            .collect();
        let locals = kernel
            .locals
            .iter()
            .map(|(handle, l)| (handle, unique(&format!("{}_", identifier(&l.name)), &mut used)));
        let effects = Effects::of(kernel);
        // Programs that run in order are trips of a loop.
        let loops = usize::from(effects.in_order);
        Self {
            kernel,
            schedule,
            races: Races::of(kernel, &effects),
            effects,
            marks_stores: false,
            lanes: BTreeMap::new(),
            placed: HashMap::new(),
            locals: locals.collect(),
            arguments: BTreeSet::new(),
            traps: Vec::new(),
            needs: BTreeSet::new(),
            pulled: vec![HashMap::new()],
            substitutes: BTreeMap::new(),
            parameters,
            loops,
            shared_bytes: 0,
            body: String::new(),
            indent: 1,
            next: 0,
            line: None,
            opening: opening(kernel).map_or(0, |dependencies| dependencies.len()),
        }
    }

    /// Lets the threads of the block meet: what each has stored before, all see after.
    pub(super) fn synchronize(&mut self) {
        self.line(SYNCHRONIZE);
    }

    /// Writes one line.
    pub(super) fn line(&mut self, text: impl AsRef<str>) {
        for _ in 0..self.indent {
            self.body.push_str("  ");
        }
        self.body.push_str(text.as_ref());
        self.body.push('\n');
    }

    /// Writes a line that opens a block.
    pub(super) fn open(&mut self, text: impl AsRef<str>) {
        self.line(text);
        self.indent += 1;
        self.pulled.push(HashMap::new());
    }

    /// Lets no compiler unroll the loop that is opened next, which has been unrolled here as far as that is of use. NVVM 13.0
    /// gets what it unrolls wrong where a body reads an element of shared memory again after a store that depends on it: the
    /// second time it reads another element.
    pub(super) fn keep_rolled(&mut self) {
        self.line("#pragma unroll 1");
    }

    /// Closes the innermost block.
    pub(super) fn close(&mut self) {
        self.pulled.pop();
        self.indent = self.indent.saturating_sub(1).max(1);
        self.line("}");
    }

    /// Closes the innermost block and opens its `else`.
    pub(super) fn otherwise(&mut self) {
        self.pulled.pop();
        self.indent -= 1;
        self.line("} else {");
        self.indent += 1;
        self.pulled.push(HashMap::new());
    }

    /// Tells the compiler which line of the author's source what follows belongs to.
    pub(super) fn at(&mut self, span: Span) {
        if span.is_known() && self.line != Some((span.file, span.line)) {
            self.line = Some((span.file, span.line));
            let file = in_quotes(&span.file.replace('\\', "/"));
            self.body.push_str(&format!("#line {} \"{file}\"\n", span.line));
        }
    }

    /// A name that is not used yet.
    pub(super) fn fresh(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    /// The text of an operation; what it calls is printed.
    pub(super) fn text(&mut self, text: Text) -> String {
        text.needs.into_iter().for_each(|need| self.need(need));
        text.text
    }

    pub(super) fn need(&mut self, need: Need) {
        need.requires().iter().for_each(|&need| self.need(need));
        self.needs.insert(need);
    }

    /// Declares an array in shared memory.
    pub(super) fn declare_shared(&mut self, ty: &str, bytes: usize, name: &str, count: u64) {
        // Whatever stands before it, no array needs more to be aligned.
        self.shared_bytes += (count * bytes as u64).next_multiple_of(8);
        self.line(format!("__shared__ {ty} {name}[{count}];"));
    }

    /// Stores `text` in a new constant of type `ty` and returns its name.
    pub(super) fn define(&mut self, prefix: &str, ty: &str, text: &str) -> String {
        let name = self.fresh(prefix);
        self.line(format!("const {ty} {name} = {text};"));
        name
    }

    /// A launch symbol as an `long long` expression.
    pub(super) fn symbol(&mut self, symbol: Symbol) -> String {
        if let Some(value) = self.kernel.bindings.exact(symbol) {
            return literal(crate::ir::Literal::index(value));
        }
        match symbol {
            Symbol::ProgramId(axis) => self.program_id(axis),
            Symbol::Count(count) if self.kernel.bindings.device(count).is_some() => {
                self.arguments.insert(ArgumentOrder::DeviceCount(count));
                self.arguments.insert(ArgumentOrder::DeviceCountMaximum(count));
                format!("count_{}", self.parameters[count as usize])
            }
            Symbol::Stride { tensor, axis } => match self.kernel.tensor(tensor).map(|t| (t.layout, t.rank)) {
                Some((Layout::Contiguous | Layout::Rows { .. }, rank)) if axis + 1 == rank => "1LL".to_owned(),
                Some((Layout::Contiguous, rank)) => {
                    let inner: Vec<String> = (axis + 1..rank)
                        .map(|axis| self.symbol(Symbol::Extent { tensor, axis }))
                        .collect();
                    format!("({})", inner.join(" * "))
                }
                _ => self.symbol_argument(symbol),
            },
            _ => self.symbol_argument(symbol),
        }
    }

    fn symbol_argument(&mut self, symbol: Symbol) -> String {
        self.arguments.insert(ArgumentOrder::Symbol(symbol));
        self.symbol_name(symbol)
    }

    fn symbol_name(&self, symbol: Symbol) -> String {
        let parameter = |p: u32| self.parameters[p as usize].as_str();
        match symbol {
            Symbol::ProgramId(axis) => format!("program_{axis}"),
            Symbol::NumPrograms(axis) => format!("programs_{axis}"),
            Symbol::Extent { tensor, axis } => format!("extent_{}_{axis}", parameter(tensor)),
            Symbol::Stride { tensor, axis } => format!("stride_{}_{axis}", parameter(tensor)),
            Symbol::Count(count) => format!("count_{}", parameter(count)),
        }
    }

    fn program_id(&mut self, axis: u8) -> String {
        if self.kernel.grid.len() <= 1 {
            return if axis == 0 {
                "program".to_owned()
            } else {
                "0LL".to_owned()
            };
        }
        let n0 = self.symbol(Symbol::NumPrograms(0));
        match (axis, self.kernel.grid.len()) {
            (0, _) => format!("(program % {n0})"),
            (1, 2) => format!("(program / {n0})"),
            (1, _) => {
                let n1 = self.symbol(Symbol::NumPrograms(1));
                format!("(program / {n0} % {n1})")
            }
            (2, 3) => {
                let n1 = self.symbol(Symbol::NumPrograms(1));
                format!("(program / ({n0} * {n1}))")
            }
            _ => "0LL".to_owned(),
        }
    }

    /// The element type of a tensor.
    pub(super) fn element(&self, tensor: u32) -> ElementType {
        self.kernel.tensor(tensor).map_or(ElementType::U8, |t| t.element)
    }

    /// How a load from `tensor` treats the caches: 0 for memory that this kernel, or one that it waits for, writes.
    pub(super) fn load_hint(&self, tensor: u32) -> u32 {
        match self.schedule.load {
            _ if self.effects.waits || self.effects.is_changing(tensor) => 0,
            crate::schedule::LoadHint::Cached => 1,
            crate::schedule::LoadHint::Streaming => 2,
            crate::schedule::LoadHint::Early => 3,
        }
    }

    pub(super) fn store_hint(&self) -> u32 {
        match self.schedule.store {
            crate::schedule::StoreHint::Cached => 0,
            crate::schedule::StoreHint::Streaming => 1,
        }
    }

    /// The whole text.
    pub(super) fn finish(mut self, entry: &str) -> (String, Vec<KernelArgument>, Vec<TrapSite>) {
        let schedule = self.schedule;
        let mut head = Vec::new();
        // A thread's place among those that work on its program, and the program's among all.
        let (threads, splits, shared) = (schedule.threads, schedule.splits, schedule.programs_per_block);
        let in_order = self.effects.in_order;
        // Every thread waits, also one without a program, and before counts are read.
        for dependency in opening(self.kernel).unwrap_or_default() {
            head.extend(grid_dependency(dependency));
        }
        if in_order {
            head.push("const int worker = (int)threadIdx.x;".to_owned());
            let all = self.all_programs();
            head.push(format!("const long long programs = {all};"));
        } else if shared > 1 {
            head.push(format!(
                "const long long program = (long long)blockIdx.x * {shared}LL + threadIdx.y;"
            ));
            let all = self.all_programs();
            head.push(format!("if (program >= {all}) return;"));
            head.push("const int worker = (int)threadIdx.x;".to_owned());
        } else if splits > 1 {
            head.push(format!(
                "const long long program = (long long)(blockIdx.x / {splits}U);"
            ));
            head.push(format!(
                "const int worker = (int)(threadIdx.x + blockIdx.x % {splits}U * {threads}U);"
            ));
        } else {
            head.push("const long long program = (long long)blockIdx.x;".to_owned());
            head.push("const int worker = (int)threadIdx.x;".to_owned());
        }
        if self.marks_stores {
            head.push("unsigned int stores = 0U;".to_owned());
        }
        for argument in &self.arguments {
            if let ArgumentOrder::DeviceCount(count) = *argument {
                let name = &self.parameters[count as usize];
                head.push(format!(
                    "const long long count_{name} = tw_clamp_count((long long)*at_{name}, most_{name});"
                ));
            }
        }
        let mut text = String::new();
        let kernel = self.kernel;
        text.push_str(&format!("// {}: {schedule}\n", plain(&kernel.name)));
        // Not every coordinate of a loop is used by what it computes.
        text.push_str("#pragma nv_diag_suppress 177, 550\n");
        for need in &self.needs {
            text.push_str(need.text());
            text.push_str(&need.cached().unwrap_or_default());
        }
        if self
            .arguments
            .iter()
            .any(|argument| matches!(argument, ArgumentOrder::DeviceCount(_)))
        {
            text.push_str(
                "static __device__ __forceinline__ long long tw_clamp_count(long long count, long long most) {\n  return count < 0 ? 0 : count > most ? most : count;\n}\n",
            );
        }
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|argument| self.declaration(*argument))
            .collect();
        let block = threads * shared;
        text.push_str(&format!(
            "extern \"C\" __global__ void __launch_bounds__({block}) {entry}(\n    "
        ));
        text.push_str(&arguments.join(",\n    "));
        text.push_str(") {\n");
        for line in head {
            text.push_str(&format!("  {line}\n"));
        }
        if in_order {
            // A program that returns ends itself and not the block.
            text.push_str("  for (long long program = 0; program < programs; ++program) {\n  [&] {\n");
            text.push_str(&self.body);
            text.push_str(&format!("  }}();\n  {SYNCHRONIZE}\n  }}\n"));
        } else {
            text.push_str(&self.body);
        }
        text.push_str("}\n");
        (
            text,
            self.arguments.iter().map(|&argument| argument.into()).collect(),
            self.traps,
        )
    }

    /// The number of programs.
    fn all_programs(&mut self) -> String {
        let axes = 0..self.kernel.grid.len() as u8;
        let all: Vec<String> = axes.map(|axis| self.symbol(Symbol::NumPrograms(axis))).collect();
        all.join(" * ")
    }

    fn declaration(&self, argument: ArgumentOrder) -> String {
        let name = |p: u32| self.parameters[p as usize].as_str();
        match argument {
            ArgumentOrder::Pointer(p) => {
                // A mutable tensor overlaps nothing, and read-only ones may overlap each other: all are restrict. But of
                // a restrict pointer the compiler takes it that no other thread writes there, barrier or not.
                // Nor does it know that a wait lets another launch finish.
                let waits = self.effects.waits;
                let constant = if waits || self.effects.is_changing(p) {
                    ""
                } else {
                    "const "
                };
                let restrict = if waits || self.effects.is_shared(p) {
                    ""
                } else {
                    " __restrict__"
                };
                format!("{constant}{}*{restrict} {}", memory_type(self.element(p)), name(p))
            }
            // Nothing writes a table while a kernel runs that has it.
            ArgumentOrder::Table(p) => format!("const unsigned long long* __restrict__ {}", self.table_name(p)),
            ArgumentOrder::DeviceCount(p) => {
                let element = self.kernel.bindings.device(p).unwrap_or(ElementType::I64);
                let restrict = if self.effects.waits { "" } else { " __restrict__" };
                format!("const {}*{restrict} at_{}", c_type(element), name(p))
            }
            ArgumentOrder::DeviceCountMaximum(p) => format!("const long long most_{}", name(p)),
            ArgumentOrder::Symbol(symbol) => format!("const long long {}", self.symbol_name(symbol)),
            ArgumentOrder::Scalar(p) => {
                let element = match self.kernel.parameters[p as usize].kind {
                    ParameterKind::Scalar(element) => element,
                    ParameterKind::Tensor(_) | ParameterKind::Count => ElementType::I64,
                };
                format!("const {} {}", c_type(element), name(p))
            }
            ArgumentOrder::Marks { tensor, .. } => format!("unsigned long long* marks_{}", name(tensor)),
            ArgumentOrder::Trap => "unsigned long long* trap_record".to_owned(),
        }
    }
}

/// `name` with nothing in it that an identifier has not.
pub(super) fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).collect()
}

/// `name` as a C++ identifier that is no keyword and no name of ours.
fn identifier(name: &str) -> String {
    let mut text = plain(name);
    while text.ends_with('_') {
        text.pop();
    }
    // Every C++ keyword, builtin variable and name of this module lacks the prefix.
    format!("p_{text}")
}

/// `name`, with a number where it is used already. `used` holds the last number that each name got.
fn unique(name: &str, used: &mut BTreeMap<String, usize>) -> String {
    let mut candidate = name.to_owned();
    while used.contains_key(&candidate) {
        let number = used.entry(name.to_owned()).or_default();
        *number += 1;
        candidate = format!("{name}{number}");
    }
    used.insert(candidate.clone(), 1);
    candidate
}
