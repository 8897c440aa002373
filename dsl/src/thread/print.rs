//! The text form: deterministic, complete but for facts that follow from others, and what goldens are made of.
//!
//! ```text
//! kernel copy, 128 threads of a block
//!   argument src: pointer
//!   buffer src: global read_only, aligned 16, at src
//!   @ copy.rs:7
//!     v0 = load src[16 * thread]: u32x4
//! ```

use std::fmt::{self, Display, Write};

use super::{
    ArgumentKind, Atom, Atomic, Block, BufferKind, FenceOrder, Index, Kernel, Load, Operation, Order, Place, Predicate,
    Report, Statement, Store, Term, Unroll, Update, Use, Value,
};
use crate::ir::{CacheHint, Handle, MemoryOrder, MemoryScope, Span};
use crate::stack::room;

impl Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printer = Printer {
            kernel: self,
            out: f,
            depth: 1,
            line: None,
        };
        printer.kernel()
    }
}

struct Printer<'a, W> {
    kernel: &'a Kernel,
    out: W,
    depth: usize,
    line: Option<(&'static str, u32)>,
}

impl Kernel {
    /// The text of an index.
    pub fn index_text(&self, index: Handle<Index>) -> String {
        let indices = &self.indices;
        let inner = |index: &Handle<Index>| room(|| self.index_text(*index));
        match indices.get(index) {
            Index::Atom(atom) => self.atom_text(*atom),
            Index::Sum(sum) => {
                let mut text = String::new();
                for Term { coefficient, factors } in &sum.terms {
                    let factors: Vec<String> = factors
                        .iter()
                        .map(|factor| match indices.get(*factor) {
                            Index::Sum(_) => format!("({})", inner(factor)),
                            _ => inner(factor),
                        })
                        .collect();
                    let (sign, size) = (*coefficient < 0, coefficient.unsigned_abs());
                    text += match (text.is_empty(), sign) {
                        (true, true) => "-",
                        (true, false) => "",
                        (false, true) => " - ",
                        (false, false) => " + ",
                    };
                    if size != 1 {
                        text += &format!("{size} * ");
                    }
                    text += &factors.join(" * ");
                }
                match (sum.constant, text.is_empty()) {
                    (constant, true) => constant.to_string(),
                    (0, false) => text,
                    (constant, false) if constant < 0 => format!("{text} - {}", constant.unsigned_abs()),
                    (constant, false) => format!("{text} + {constant}"),
                }
            }
            Index::Quotient { value, by } => format!("div({}, {})", inner(value), inner(by)),
            Index::Remainder { value, by } => format!("rem({}, {})", inner(value), inner(by)),
            Index::Low { value, bits } => format!("low({}, {bits})", inner(value)),
            Index::Minimum(left, right) => format!("min({}, {})", inner(left), inner(right)),
            Index::Maximum(left, right) => format!("max({}, {})", inner(left), inner(right)),
            Index::Select {
                condition,
                accept,
                reject,
            } => format!(
                "select({}, {}, {})",
                self.condition_text(*condition),
                inner(accept),
                inner(reject)
            ),
        }
    }

    /// The text of a condition.
    pub fn condition_text(&self, condition: Handle<Predicate>) -> String {
        let index = |index: &Handle<Index>| self.index_text(*index);
        let inner = |condition: &Handle<Predicate>| room(|| self.condition_text(*condition));
        let joined = |all: &[Handle<Predicate>], by: &str| {
            let all: Vec<String> = all.iter().map(inner).collect();
            format!("({})", all.join(by))
        };
        match self.indices.condition(condition) {
            Predicate::Constant(holds) => holds.to_string(),
            Predicate::Value(value) => format!("v{}", value.index()),
            Predicate::Positive(value) => format!("{} > 0", index(value)),
            Predicate::Zero(value) => format!("{} == 0", index(value)),
            Predicate::Less(left, right) => format!("{} < {}", index(left), index(right)),
            Predicate::Within(value, limit) => format!("0 <= {} < {}", index(value), index(limit)),
            Predicate::Not(other) => format!("!({})", inner(other)),
            Predicate::All(all) => joined(all, " && "),
            Predicate::Any(any) => joined(any, " || "),
        }
    }

    /// The text of an operand.
    pub fn operand_text(&self, operand: Use) -> String {
        match operand {
            Use::Value(value) => format!("v{}", value.index()),
            Use::Literal(literal) => literal.to_string(),
            Use::Index(index) => format!("[{}]", self.index_text(index)),
            Use::Predicate(condition) => format!("[{}]", self.condition_text(condition)),
        }
    }

    fn atom_text(&self, atom: Atom) -> String {
        match atom {
            Atom::Thread => "thread".to_owned(),
            Atom::Block => "block".to_owned(),
            Atom::Lane(lanes) => format!("lane{lanes}"),
            Atom::Argument(argument) => self.arguments.get(argument).map_or("?", |known| &known.name).to_owned(),
            Atom::Address(buffer) => format!("&{}", self.buffers.get(buffer).map_or("?", |known| &known.name)),
            Atom::Variable(variable) => format!("i{}", variable.index()),
            Atom::Value(value) => format!("v{}", value.index()),
        }
    }

    fn place_text(&self, place: Place) -> String {
        let buffer = self.buffers.get(place.buffer).map_or("?", |known| &known.name);
        let offset = self.index_text(place.offset);
        match place.pointer {
            None => format!("{buffer}[{offset}]"),
            Some(pointer) => format!("{buffer}@v{}[{offset}]", pointer.index()),
        }
    }

    fn when_text(&self, predicate: Option<Handle<Predicate>>) -> String {
        predicate.map_or_else(String::new, |predicate| {
            format!(" if {}", self.condition_text(predicate))
        })
    }

    fn operation_text(&self, operation: &Operation) -> String {
        let of = |operand: &Use| self.operand_text(*operand);
        match operation {
            Operation::Argument(argument) => format!("argument {}", self.atom_text(Atom::Argument(*argument))),
            Operation::Read(register) => format!("read r{}", register.index()),
            Operation::Timer => "timer".to_owned(),
            Operation::Load(load) => self.load_text(load),
            Operation::Unary { op, value } => format!("{} {}", op.name(), of(value)),
            Operation::Binary { op, left, right } => format!("{} {}, {}", op.name(), of(left), of(right)),
            Operation::MulAdd { left, right, addend } => format!("fma {}, {}, {}", of(left), of(right), of(addend)),
            Operation::Compare { op, left, right } => format!("{} {}, {}", op.name(), of(left), of(right)),
            Operation::Select {
                condition,
                accept,
                reject,
            } => format!("select {}, {}, {}", of(condition), of(accept), of(reject)),
            Operation::Cast { value, to, rounding } => match rounding {
                super::Rounding::NearestEven => format!("cast {} to {to}", of(value)),
                super::Rounding::Zero => format!("cast {} to {to}, toward zero", of(value)),
            },
            Operation::Bitcast { value, to } => format!("bits {} as {to}", of(value)),
            Operation::Canonical(value) => format!("canonical {}", of(value)),
            Operation::Funnel { low, high, by } => format!("funnel {}, {} by {}", of(low), of(high), of(by)),
            Operation::Join(parts) => format!("join {}", parts.iter().map(of).collect::<Vec<_>>().join(", ")),
            Operation::Part { value, first, lanes } => {
                format!(
                    "part {}, lanes {first}..{}",
                    of(value),
                    u32::from(*first) + u32::from(*lanes)
                )
            }
            Operation::Repeat { value, lanes } => format!("repeat {}, {lanes} lanes", of(value)),
            Operation::Shuffle { kind, value, by, group } => {
                format!("shuffle {} {}, {} of {group}", kind.name(), of(value), of(by))
            }
            Operation::Vote { kind, condition, group } => format!("vote {} {} of {group}", kind.name(), of(condition)),
            Operation::WarpReduce { op, value } => format!("warp reduce {} {}", op.name(), of(value)),
        }
    }

    fn load_text(&self, load: &Load) -> String {
        let read_only = if load.read_only { " read_only" } else { "" };
        format!(
            "load{}{}{read_only} {}{}",
            order_text(load.order),
            cache_text(load.cache),
            self.place_text(load.place),
            self.when_text(load.predicate)
        )
    }

    fn store_text(&self, store: &Store) -> String {
        let of_block = store
            .block
            .map_or_else(String::new, |block| format!(" of block {}", self.index_text(block)));
        format!(
            "store{}{} {} = {}{}",
            order_text(store.order),
            cache_text(store.cache),
            self.place_text(store.place) + &of_block,
            self.operand_text(store.value),
            self.when_text(store.predicate)
        )
    }

    fn atomic_text(&self, atomic: &Atomic) -> String {
        let result = atomic
            .result
            .map_or_else(String::new, |result| format!("v{} = ", result.index()));
        let update = match atomic.update {
            Update::Combine { op, value } => format!("{} {}", op.name(), self.operand_text(value)),
            Update::CompareExchange { current, new } => format!(
                "compare_exchange {}, {}",
                self.operand_text(current),
                self.operand_text(new)
            ),
        };
        format!(
            "{result}atomic{} {} {}, {update}{}",
            strong_text(atomic.order, atomic.scope),
            atomic.element,
            self.place_text(atomic.place),
            self.when_text(atomic.predicate)
        )
    }

    fn report_text(&self, report: &Report) -> String {
        format!(
            "report {} of program [{}], {}, {}{}",
            report.site,
            self.index_text(report.program),
            self.operand_text(report.value),
            self.operand_text(report.met),
            self.when_text(report.predicate)
        )
    }
}

fn order_text(order: Order) -> String {
    match order {
        Order::Weak => String::new(),
        Order::Strong(order, scope) => strong_text(order, scope),
    }
}

fn strong_text(order: MemoryOrder, scope: MemoryScope) -> String {
    format!(" {}.{}", order.name(), scope.name())
}

fn cache_text(cache: Option<CacheHint>) -> String {
    cache.map_or_else(String::new, |hint| format!(" {}", hint.qualifier()))
}

fn unroll_text(unroll: Unroll) -> &'static str {
    match unroll {
        Unroll::Free => "",
        Unroll::Never => ", rolled",
    }
}

impl<W: Write> Printer<'_, W> {
    fn kernel(&mut self) -> fmt::Result {
        let kernel = self.kernel;
        writeln!(
            self.out,
            "kernel {}, {} threads of a block{}",
            kernel.name,
            kernel.threads,
            if kernel.many_registers {
                " with many registers"
            } else {
                ""
            }
        )?;
        if !kernel.comment.is_empty() {
            self.text(format_args!("// {}", kernel.comment))?;
        }
        for (handle, argument) in kernel.arguments.iter() {
            let record = if kernel.record == Some(handle) {
                ", for reports"
            } else {
                ""
            };
            match argument.kind {
                ArgumentKind::Scalar(element) => self.text(format_args!("argument {}: {element}", argument.name))?,
                ArgumentKind::Pointer => self.text(format_args!("argument {}: pointer{record}", argument.name))?,
                ArgumentKind::Bytes { bytes, alignment } => self.text(format_args!(
                    "argument {}: {bytes} bytes, aligned {alignment}",
                    argument.name
                ))?,
            }
        }
        for (_, buffer) in kernel.buffers.iter() {
            let (name, space, alignment) = (&buffer.name, buffer.space().name(), buffer.alignment);
            let argument = |argument| kernel.atom_text(Atom::Argument(argument));
            let rest = match buffer.kind {
                BufferKind::Global { argument: at, sharing } => format!(" {}, at {}", sharing.name(), argument(at)),
                BufferKind::Listed { sharing } => format!(" {}, listed", sharing.name()),
                BufferKind::Shared { offset, bytes } => format!(" {offset}..{}", offset.saturating_add(bytes)),
                BufferKind::Local { bytes } => format!(" 0..{bytes}"),
                BufferKind::Table { table } => {
                    let words = kernel.tables.get(table).map_or(&[][..], |table| &table.words);
                    let words: Vec<String> = words.iter().map(|word| format!("{word:#x}")).collect();
                    format!(" {}", words.join(", "))
                }
                BufferKind::Parameter { argument: at } => format!(", in {}", argument(at)),
            };
            self.text(format_args!("buffer {name}: {space}{rest}, aligned {alignment}"))?;
        }
        for (handle, register) in kernel.registers.iter() {
            self.text(format_args!(
                "register r{}: {} // {}",
                handle.index(),
                register.ty,
                register.name
            ))?;
        }
        self.block(&kernel.body)
    }

    fn text(&mut self, text: impl Display) -> fmt::Result {
        for _ in 0..self.depth {
            self.out.write_str("  ")?;
        }
        writeln!(self.out, "{text}")
    }

    fn at(&mut self, span: Span) -> fmt::Result {
        if !span.is_known() || self.line == Some((span.file, span.line)) {
            return Ok(());
        }
        self.line = Some((span.file, span.line));
        writeln!(self.out, "@ {}:{}", span.file.replace('\\', "/"), span.line)
    }

    fn block(&mut self, block: &Block) -> fmt::Result {
        for (statement, span) in block {
            self.at(*span)?;
            room(|| self.statement(statement))?;
        }
        Ok(())
    }

    fn inner(&mut self, block: &Block) -> fmt::Result {
        self.depth += 1;
        self.block(block)?;
        self.depth -= 1;
        Ok(())
    }

    fn statement(&mut self, statement: &Statement) -> fmt::Result {
        let kernel = self.kernel;
        let operand = |operand: &Use| kernel.operand_text(*operand);
        let index = |index: Handle<Index>| kernel.index_text(index);
        match statement {
            Statement::Let { value, operation } => {
                let Value { ty, is_fraction, .. } = kernel.values[*value];
                let known = if is_fraction { " of 0 to 1" } else { "" };
                self.text(format_args!(
                    "v{}: {ty}{known} = {}",
                    value.index(),
                    kernel.operation_text(operation)
                ))
            }
            Statement::Name { variable, index: of } => {
                self.text(format_args!("i{} = {}", variable.index(), index(*of)))
            }
            Statement::Assign { register, value } => {
                self.text(format_args!("r{} = {}", register.index(), operand(value)))
            }
            Statement::Store(store) => self.text(kernel.store_text(store)),
            Statement::Atomic(atomic) => self.text(kernel.atomic_text(atomic)),
            Statement::AsyncCopy(copy) => self.text(format_args!(
                "copy {} bytes to {} from {}{}",
                copy.bytes,
                kernel.place_text(copy.to),
                kernel.place_text(copy.from),
                kernel.when_text(copy.predicate)
            )),
            Statement::AsyncCommit => self.text("commit copies"),
            Statement::AsyncWait(pending) => self.text(format_args!("wait for all but {pending} copies")),
            Statement::Prefetch { place, predicate } => self.text(format_args!(
                "prefetch {}{}",
                kernel.place_text(*place),
                kernel.when_text(*predicate)
            )),
            Statement::Barrier { group } => self.text(format_args!("barrier of {group}")),
            Statement::Fence { order, scope } => {
                let order = match order {
                    FenceOrder::AcquireRelease => "acq_rel",
                    FenceOrder::Sequential => "sc",
                };
                self.text(format_args!("fence {order}.{}", scope.name()))
            }
            Statement::GridDependency(dependency) => self.text(format_args!("grid {}", dependency.name())),
            Statement::Report(report) => self.text(kernel.report_text(report)),
            Statement::Print { format, values } => {
                let values: Vec<String> = values.iter().map(|value| format!(", {}", operand(value))).collect();
                self.text(format_args!("print {format:?}{}", values.concat()))
            }
            Statement::Ptx(ptx) => {
                let outputs: Vec<String> = ptx
                    .outputs
                    .iter()
                    .map(|output| format!("v{}", output.index()))
                    .collect();
                let inputs: Vec<String> = ptx.inputs.iter().map(|input| format!(", {}", operand(input))).collect();
                self.text(format_args!(
                    "{} = ptx {:?}{}",
                    outputs.join(", "),
                    ptx.text,
                    inputs.concat()
                ))
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                self.text(format_args!("if {} {{", kernel.condition_text(*condition)))?;
                self.inner(accept)?;
                if !reject.is_empty() {
                    self.text("} else {")?;
                    self.inner(reject)?;
                }
                self.text("}")
            }
            Statement::For {
                label,
                variable,
                start,
                end,
                step,
                unroll,
                body,
            } => {
                self.text(format_args!(
                    "L{}: for i{} = {} to before {} by {step}{} {{",
                    label.0,
                    variable.index(),
                    index(*start),
                    index(*end),
                    unroll_text(*unroll)
                ))?;
                self.inner(body)?;
                self.text("}")
            }
            Statement::Loop { label, unroll, body } => {
                self.text(format_args!("L{}: loop{} {{", label.0, unroll_text(*unroll)))?;
                self.inner(body)?;
                self.text("}")
            }
            Statement::Scope { label, body } => {
                self.text(format_args!("L{}: scope {{", label.0))?;
                self.inner(body)?;
                self.text("}")
            }
            Statement::Leave(label) => self.text(format_args!("leave L{}", label.0)),
            Statement::Next(label) => self.text(format_args!("next L{}", label.0)),
            Statement::Exit => self.text("exit"),
        }
    }
}
