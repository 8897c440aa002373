//! Statements: scopes, types, labels, loops, groups.

use std::collections::HashSet;

use super::{Fault, MAX_GROUPS, Rule, fault, typing};
use crate::element::ElementType;
use crate::ir::{Handle, Span};
use crate::stack::room;
use crate::thread::barriers::WARP;
use crate::thread::statement::Mention;
use crate::thread::{Atom, Block, Facts, Kernel, Label, Operation, Ptx, Report, Statement, Type, Use, Value, Variable};

pub(super) fn verify(kernel: &Kernel) -> Result<(), Fault> {
    let mut body = Body {
        kernel,
        values: vec![State::Unknown; kernel.values.len()],
        variables: vec![State::Unknown; kernel.variables.len()],
        labels: HashSet::new(),
        around: Vec::new(),
    };
    body.block(&kernel.body)?;
    let groups: u32 = kernel.barriers().keys().map(|group| kernel.threads / group).sum();
    match groups <= MAX_GROUPS {
        true => Ok(()),
        false => fault(
            Rule::Group,
            Span::UNKNOWN,
            format!("{groups} groups meet at barriers of their own"),
        ),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    InScope,
    /// Defined in a block that has ended.
    Gone,
}

struct Body<'a> {
    kernel: &'a Kernel,
    values: Vec<State>,
    variables: Vec<State>,
    /// Every label so far.
    labels: HashSet<Label>,
    /// What can be left, and whether it is a loop.
    around: Vec<(Label, bool)>,
}

/// What a block has defined.
#[derive(Default)]
struct Defined {
    values: Vec<Handle<Value>>,
    variables: Vec<Handle<Variable>>,
}

impl Body<'_> {
    fn block(&mut self, block: &Block) -> Result<(), Fault> {
        let mut defined = Defined::default();
        self.inner(block, &mut defined)?;
        self.end(defined);
        Ok(())
    }

    fn inner(&mut self, block: &Block, defined: &mut Defined) -> Result<(), Fault> {
        for (at, (statement, span)) in block.iter().enumerate() {
            let leaves = matches!(statement, Statement::Leave(_) | Statement::Next(_) | Statement::Exit);
            if leaves && at + 1 < block.len() {
                return fault(Rule::Label, *span, "something stands behind what leaves the block");
            }
            room(|| self.statement(statement, *span, defined))?;
        }
        Ok(())
    }

    fn end(&mut self, defined: Defined) {
        defined
            .values
            .iter()
            .for_each(|value| self.values[value.index()] = State::Gone);
        let variables = defined.variables.iter();
        variables.for_each(|variable| self.variables[variable.index()] = State::Gone);
    }

    fn statement(&mut self, statement: &Statement, span: Span, defined: &mut Defined) -> Result<(), Fault> {
        let mut result = Ok(());
        // What a loop counts is in scope in its body only.
        let is_loop = matches!(statement, Statement::For { .. });
        let mut names = Defined::default();
        statement.for_each_mention(|mention| {
            if result.is_ok() {
                let defined = if is_loop { &mut names } else { &mut *defined };
                result = self.mention(mention, span, defined);
            }
        });
        result?;
        self.types(statement, span)?;
        match statement {
            Statement::If { accept, reject, .. } => {
                self.block(accept)?;
                self.block(reject)?;
            }
            Statement::For { label, body, .. } => {
                self.label(*label, true, span)?;
                self.inner(body, &mut names)?;
                self.end(names);
                self.around.pop();
            }
            Statement::Loop { label, body, .. } => {
                self.label(*label, true, span)?;
                self.block(body)?;
                self.around.pop();
            }
            Statement::Scope { label, body } => {
                self.label(*label, false, span)?;
                self.block(body)?;
                self.around.pop();
            }
            Statement::Leave(label) | Statement::Next(label) => {
                let is_next = matches!(statement, Statement::Next(_));
                let fits = |(around, is_loop): &(Label, bool)| around == label && (*is_loop || !is_next);
                if !self.around.iter().any(fits) {
                    return fault(Rule::Label, span, format!("nothing around it is {label:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn label(&mut self, label: Label, is_loop: bool, span: Span) -> Result<(), Fault> {
        if label.0 >= self.kernel.labels {
            return fault(Rule::Handle, span, format!("{label:?} of {}", self.kernel.labels));
        }
        if !self.labels.insert(label) {
            return fault(Rule::Once, span, format!("{label:?}"));
        }
        self.around.push((label, is_loop));
        Ok(())
    }

    fn mention(&mut self, mention: Mention, span: Span, defined: &mut Defined) -> Result<(), Fault> {
        match mention {
            Mention::Use(operand) => self.is_in_scope(operand, span),
            Mention::Place(place) => {
                if let Some(pointer) = place.pointer {
                    self.is_in_scope(pointer.into(), span)?;
                }
                self.is_in_scope(place.offset.into(), span)
            }
            Mention::Argument(_) | Mention::Register(_) => Ok(()),
            Mention::Defines(value) => {
                if self.values[value.index()] != State::Unknown {
                    return fault(Rule::Once, span, format!("value {value:?}"));
                }
                self.values[value.index()] = State::InScope;
                defined.values.push(value);
                Ok(())
            }
            Mention::Names(variable) => {
                if self.variables[variable.index()] != State::Unknown {
                    return fault(Rule::Once, span, format!("variable {variable:?}"));
                }
                self.variables[variable.index()] = State::InScope;
                defined.variables.push(variable);
                Ok(())
            }
        }
    }

    fn is_in_scope(&self, operand: Use, span: Span) -> Result<(), Fault> {
        let indices = &self.kernel.indices;
        let atoms = match operand {
            Use::Value(value) => return self.atom(Atom::Value(value), span),
            Use::Literal(_) => return Ok(()),
            Use::Index(index) => indices.atoms(index),
            Use::Predicate(condition) => indices.condition_atoms(condition),
        };
        atoms.iter().try_for_each(|atom| self.atom(*atom, span))
    }

    fn atom(&self, atom: Atom, span: Span) -> Result<(), Fault> {
        let state = match atom {
            Atom::Variable(variable) => self.variables[variable.index()],
            Atom::Value(value) => self.values[value.index()],
            Atom::Thread | Atom::Block | Atom::Lane(_) | Atom::Argument(_) | Atom::Address(_) => State::InScope,
        };
        if state != State::InScope {
            return fault(Rule::Scope, span, format!("{atom:?} is not defined here"));
        }
        let claimed = self.kernel.indices.facts_of_atom(atom);
        let holds = match atom {
            Atom::Thread => Some(Facts::between(0, i64::from(self.kernel.threads) - 1)),
            Atom::Block => Some(Facts::between(0, i64::from(i32::MAX) - 1)),
            Atom::Variable(variable) => Some(self.kernel.variables[variable].facts),
            Atom::Value(value) if self.kernel.values[value].ty.element.is_integer() => {
                Some(self.kernel.facts_of(value))
            }
            // What is known of arguments is for whoever launches to see to.
            Atom::Value(_) | Atom::Lane(_) | Atom::Argument(_) | Atom::Address(_) => None,
        };
        match (claimed, holds) {
            (Some(claimed), Some(holds)) if !holds.implies(&claimed) => fault(
                Rule::Atom,
                span,
                format!("{atom:?} is taken for {claimed:?}, and is {holds:?}"),
            ),
            _ => Ok(()),
        }
    }

    fn types(&self, statement: &Statement, span: Span) -> Result<(), Fault> {
        let kernel = self.kernel;
        match statement {
            Statement::Let { value, operation } => {
                let found = typing::type_of(kernel, operation).or_else(|what| fault(Rule::Type, span, what))?;
                self.same(found, kernel.values[*value].ty, span)?;
                match operation {
                    Operation::Load(load) => kernel.verify_load(load, span),
                    Operation::Shuffle { group, .. } | Operation::Vote { group, .. } => match group {
                        1 | 2 | 4 | 8 | 16 | 32 if kernel.threads.is_multiple_of(*group) => Ok(()),
                        _ => fault(Rule::Group, span, format!("{group} threads of {}", kernel.threads)),
                    },
                    Operation::WarpReduce { .. } if !kernel.threads.is_multiple_of(WARP) => {
                        fault(Rule::Group, span, format!("a warp of {} threads", kernel.threads))
                    }
                    _ => Ok(()),
                }
            }
            Statement::Name { variable, index } => {
                let (known, claimed) = (kernel.indices.facts(*index), kernel.variables[*variable].facts);
                match known.implies(&claimed) {
                    true => Ok(()),
                    false => fault(Rule::Loop, span, format!("{claimed:?} of what is {known:?}")),
                }
            }
            Statement::Assign { register, value } => self.same(kernel.ty(*value), kernel.registers[*register].ty, span),
            Statement::Store(store) => kernel.verify_store(store, span),
            Statement::Atomic(atomic) => kernel.verify_atomic(atomic, span),
            Statement::AsyncCopy(copy) => kernel.verify_copy(copy, span),
            Statement::Prefetch { place, .. } => kernel.verify_prefetch(*place, span),
            Statement::Barrier { group } => self.group(*group, span),
            Statement::Report(report) => self.report(report, span),
            Statement::Print { format, values } => {
                let printed = |operand: &Use| {
                    let ty = kernel.ty(*operand);
                    ty.lanes == 1 && crate::thread::is_computed(ty.element)
                };
                if let Some(value) = values.iter().find(|value| !printed(value)) {
                    return fault(Rule::Type, span, format!("printing {}", kernel.ty(*value)));
                }
                match format.split("{}").count() == values.len() + 1 {
                    true => Ok(()),
                    false => fault(Rule::Text, span, format!("{format:?} of {} values", values.len())),
                }
            }
            Statement::Ptx(ptx) => self.ptx(ptx, span),
            Statement::For {
                variable,
                start,
                end,
                step,
                ..
            } => {
                let (start, end) = (kernel.indices.facts(*start), kernel.indices.facts(*end));
                let last = end.high.saturating_sub(1);
                if *step < 1 || last.checked_add(*step).is_none() {
                    return fault(Rule::Loop, span, format!("{step} beyond {last}"));
                }
                let counted = Facts {
                    low: start.low,
                    high: last.max(start.low),
                    divisor: start.divisor.min(Facts::constant(*step).divisor),
                };
                let claimed = kernel.variables[*variable].facts;
                match counted.implies(&claimed) {
                    true => Ok(()),
                    false => fault(Rule::Loop, span, format!("{claimed:?} of what is {counted:?}")),
                }
            }
            Statement::AsyncCommit
            | Statement::AsyncWait(_)
            | Statement::Fence { .. }
            | Statement::GridDependency(_)
            | Statement::If { .. }
            | Statement::Loop { .. }
            | Statement::Scope { .. }
            | Statement::Leave(_)
            | Statement::Next(_)
            | Statement::Exit => Ok(()),
        }
    }

    fn same(&self, found: Type, wanted: Type, span: Span) -> Result<(), Fault> {
        match found == wanted {
            true => Ok(()),
            false => fault(Rule::Type, span, format!("{found} where {wanted} is expected")),
        }
    }

    fn group(&self, group: u32, span: Span) -> Result<(), Fault> {
        let threads = self.kernel.threads;
        let in_warp = group.is_power_of_two() && group <= 32;
        let of_warps = group > 0 && group.is_multiple_of(32);
        // A block of less than a warp meets as a whole.
        match group == threads
            || group == self.kernel.cluster_threads()
            || ((in_warp || of_warps) && threads.is_multiple_of(group))
        {
            true => Ok(()),
            false => fault(Rule::Group, span, format!("{group} threads of {threads}")),
        }
    }

    fn report(&self, report: &Report, span: Span) -> Result<(), Fault> {
        let kernel = self.kernel;
        if kernel.record.is_none() || report.site >= kernel.sites {
            return fault(Rule::Record, span, format!("site {} of {}", report.site, kernel.sites));
        }
        self.same(kernel.ty(report.value), Type::INDEX, span)?;
        self.same(kernel.ty(report.met), Type::scalar(ElementType::U64), span)
    }

    fn ptx(&self, ptx: &Ptx, span: Span) -> Result<(), Fault> {
        let kernel = self.kernel;
        let inputs = ptx.inputs.iter().map(|input| kernel.ty(*input));
        let mut types = ptx.outputs.iter().map(|output| kernel.values[*output].ty).chain(inputs);
        let carried = |ty: &Type| {
            let storage = matches!(ty.element, ElementType::F8E4M3 | ElementType::F8E5M2);
            ty.lanes == 1 && ty.element.size() >= 2 && !storage
        };
        if let Some(ty) = types.find(|ty| !carried(ty)) {
            return fault(Rule::Type, span, format!("instructions on {ty}"));
        }
        let operands = ptx.outputs.len() + ptx.inputs.len();
        match !ptx.outputs.is_empty() && placeholders(&ptx.text).all(|number| number < operands) {
            true => Ok(()),
            false => fault(Rule::Text, span, format!("{:?} has {operands} operands", ptx.text)),
        }
    }
}

/// The numbers behind each `%` of a text that is followed by one; `%%` is a percent sign.
fn placeholders(text: &str) -> impl Iterator<Item = usize> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, behind) = rest.split_once('%')?;
            if let Some(behind) = behind.strip_prefix('%') {
                rest = behind;
                continue;
            }
            let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            rest = &behind[digits..];
            if digits > 0 {
                return Some(behind[..digits].parse().unwrap_or(usize::MAX));
            }
        }
    })
}
