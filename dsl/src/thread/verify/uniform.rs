//! Whether the threads that meet are all there.
//!
//! Everything has a *breadth*: a number of threads such that all threads whose number divided by it is the same have
//! the same value, or come by together. The thread's own number has breadth 1, `thread / 64` and `thread < 64` have 64,
//! and what does not depend on the thread has 0, which stands for all. What depends on several things has the greatest
//! common divisor of their breadths, and threads of a group come by together if the group divides the breadth. Those that have
//! ended are missed by barriers and shuffles, and by nobody else.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fault, Rule, fault};
use crate::ir::{Handle, Span};
use crate::stack::room;
use crate::thread::barriers::WARP;
use crate::thread::{Atom, Block, Index, Kernel, Label, Operation, Place, Predicate, Shuffle, Space, Statement, Use};

/// How many threads have one value, or come by together; 0 for all.
type Breadth = u64;

const ALL: Breadth = 0;

fn narrower(left: Breadth, right: Breadth) -> Breadth {
    let (mut left, mut right) = (left, right);
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

pub(super) fn verify(kernel: &Kernel) -> Result<(), Fault> {
    Flow::of(kernel)?.pass(true)
}

/// The sizes of groups of less than a warp that meet somewhere, and wherever they do, all threads of their warp come by together
/// that have not ended.
pub(in crate::thread) fn met_by_warps(kernel: &Kernel) -> BTreeSet<u32> {
    let warp = Breadth::from(WARP);
    let met = Flow::of(kernel).map(|mut flow| flow.pass(false).map(|()| flow.met));
    let met = met.and_then(|met| met).unwrap_or_default();
    let by_warps = |breadth: Breadth| breadth == ALL || breadth.is_multiple_of(warp);
    met.into_iter()
        .filter_map(|(group, breadth)| by_warps(breadth).then_some(group))
        .collect()
}

impl<'a> Flow<'a> {
    /// How broad everything in a kernel is.
    fn of(kernel: &'a Kernel) -> Result<Self, Fault> {
        let mut flow = Self {
            kernel,
            values: vec![ALL; kernel.values.len()],
            variables: vec![ALL; kernel.variables.len()],
            registers: vec![ALL; kernel.registers.len()],
            left: BTreeMap::new(),
            ended: BTreeMap::new(),
            around: Vec::new(),
            exited: ALL,
            changed: true,
            checks: false,
            met: BTreeMap::new(),
        };
        // Loops hand things on: until nothing gets narrower, of which there are few steps.
        while flow.changed {
            flow.changed = false;
            flow.pass(false)?;
        }
        Ok(flow)
    }

    fn pass(&mut self, checks: bool) -> Result<(), Fault> {
        (self.checks, self.exited) = (checks, ALL);
        self.met.clear();
        self.block(&self.kernel.body, ALL)
    }
}

struct Flow<'a> {
    kernel: &'a Kernel,
    values: Vec<Breadth>,
    variables: Vec<Breadth>,
    registers: Vec<Breadth>,
    /// How the threads are that leave or continue a loop or scope: until its end the others are without them, in a loop
    /// from its beginning on.
    left: BTreeMap<Label, Breadth>,
    /// The same of those that end in a loop.
    ended: BTreeMap<Label, Breadth>,
    /// The loops and scopes around, and whether each is a loop.
    around: Vec<(Label, bool)>,
    /// How those are that have ended before here, which the others are without for ever.
    exited: Breadth,
    changed: bool,
    checks: bool,
    /// Of each size of groups that meet in a warp, how all are that come by and have not ended.
    met: BTreeMap<u32, Breadth>,
}

/// How those are that come by.
#[derive(Clone, Copy)]
struct Here {
    /// Of all that have not ended.
    left: Breadth,
    /// Of all.
    all: Breadth,
}

impl Flow<'_> {
    fn block(&mut self, block: &Block, control: Breadth) -> Result<(), Fault> {
        block
            .iter()
            .try_for_each(|(statement, span)| room(|| self.statement(statement, *span, control)))
    }

    fn statement(&mut self, statement: &Statement, span: Span, control: Breadth) -> Result<(), Fault> {
        // All that have been left behind.
        let left = self.around.iter().filter_map(|(label, _)| self.left.get(label));
        let control = left.fold(control, |all, left| narrower(all, *left));
        let ended = self.around.iter().filter_map(|(label, _)| self.ended.get(label));
        let here = Here {
            left: control,
            all: ended.fold(narrower(control, self.exited), |all, ended| narrower(all, *ended)),
        };
        match statement {
            Statement::Let { value, operation } => {
                let breadth = self.operation(operation, here, span)?;
                narrow(&mut self.values[value.index()], breadth, &mut self.changed);
            }
            Statement::Name { variable, index } => {
                let breadth = self.index(*index);
                narrow(&mut self.variables[variable.index()], breadth, &mut self.changed);
            }
            Statement::Assign { register, value } => {
                let breadth = narrower(self.operand(*value), control);
                narrow(&mut self.registers[register.index()], breadth, &mut self.changed);
            }
            Statement::Atomic(atomic) => {
                // Each thread that does it finds something else.
                if let Some(result) = atomic.result {
                    narrow(&mut self.values[result.index()], 1, &mut self.changed);
                }
            }
            Statement::Ptx(ptx) => {
                let breadth = ptx
                    .inputs
                    .iter()
                    .fold(ALL, |all, input| narrower(all, self.operand(*input)));
                // Without inputs it may be the thread's own number that is asked for.
                let breadth = if ptx.inputs.is_empty() { 1 } else { breadth };
                for output in &ptx.outputs {
                    narrow(&mut self.values[output.index()], breadth, &mut self.changed);
                }
            }
            Statement::Barrier { group } => self.meet(*group, here, here.all, span)?,
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let inside = narrower(control, self.condition(*condition));
                self.block(accept, inside)?;
                self.block(reject, inside)?;
            }
            Statement::For {
                label,
                variable,
                start,
                end,
                body,
                ..
            } => {
                let (start, end) = (self.index(*start), self.index(*end));
                let inside = narrower(control, narrower(start, end));
                narrow(
                    &mut self.variables[variable.index()],
                    narrower(start, inside),
                    &mut self.changed,
                );
                self.labelled((*label, true), body, inside)?;
            }
            Statement::Loop { label, body, .. } => self.labelled((*label, true), body, control)?,
            Statement::Scope { label, body } => self.labelled((*label, false), body, control)?,
            Statement::Leave(label) | Statement::Next(label) => {
                let left = self.left.entry(*label).or_insert(ALL);
                narrow(left, control, &mut self.changed);
            }
            Statement::Exit => {
                self.exited = narrower(self.exited, control);
                // The next trips are without them from the beginning on.
                for (label, _) in self.around.iter().filter(|(_, is_loop)| *is_loop) {
                    narrow(self.ended.entry(*label).or_insert(ALL), control, &mut self.changed);
                }
            }
            Statement::Store(_)
            | Statement::AsyncCopy(_)
            | Statement::AsyncCommit
            | Statement::AsyncWait(_)
            | Statement::Prefetch { .. }
            | Statement::Fence { .. }
            | Statement::GridDependency(_)
            | Statement::Report(_)
            | Statement::Print { .. } => {}
        }
        Ok(())
    }

    /// The body of a loop or scope. Behind it those that have left it are there again.
    fn labelled(&mut self, label: (Label, bool), body: &Block, control: Breadth) -> Result<(), Fault> {
        self.around.push(label);
        let result = self.block(body, control);
        self.around.pop();
        result
    }

    /// Threads of a group meet, of which those have to be there that come by so.
    fn meet(&mut self, group: u32, here: Here, control: Breadth, span: Span) -> Result<(), Fault> {
        if group < WARP {
            let met = self.met.entry(group).or_insert(ALL);
            *met = narrower(*met, here.left);
        }
        let all = u64::from(group.max(self.kernel.threads));
        let together = control == ALL || control.is_multiple_of(group.into()) || control.is_multiple_of(all);
        match together || !self.checks || group == 1 {
            true => Ok(()),
            false => fault(
                Rule::Uniform,
                span,
                format!("{group} threads meet where only {control} are together"),
            ),
        }
    }

    fn operation(&mut self, operation: &Operation, here: Here, span: Span) -> Result<Breadth, Fault> {
        Ok(match operation {
            Operation::Argument(_) => ALL,
            Operation::Read(register) => self.registers[register.index()],
            // Each thread looks at it at another time.
            Operation::Timer => 1,
            Operation::Load(load) => {
                let predicate = load.predicate.map_or(ALL, |predicate| self.condition(predicate));
                narrower(self.place(load.place), predicate)
            }
            Operation::Shuffle { kind, by, group, .. } => {
                self.meet(*group, here, here.all, span)?;
                match kind {
                    // All of them ask for the same one.
                    Shuffle::From => narrower(self.operand(*by), (*group).into()),
                    Shuffle::Up | Shuffle::Down | Shuffle::Exchange => 1,
                }
            }
            Operation::Vote { group, .. } => {
                self.meet(*group, here, here.left, span)?;
                (*group).into()
            }
            Operation::WarpReduce { .. } => {
                self.meet(WARP, here, here.all, span)?;
                WARP.into()
            }
            operation => {
                let mut all = ALL;
                operation.for_each_operand(|operand| all = narrower(all, self.operand(operand)));
                all
            }
        })
    }

    fn place(&self, place: Place) -> Breadth {
        let buffer = &self.kernel.buffers[place.buffer];
        let own = match buffer.space() {
            Space::Local => 1,
            Space::Shared => self.of_block(ALL),
            _ => ALL,
        };
        let pointer = place.pointer.map_or(ALL, |pointer| self.values[pointer.index()]);
        narrower(narrower(own, pointer), self.index(place.offset))
    }

    fn operand(&self, operand: Use) -> Breadth {
        match operand {
            Use::Value(value) => self.values[value.index()],
            Use::Literal(_) => ALL,
            Use::Index(index) => self.index(index),
            Use::Predicate(condition) => self.condition(condition),
        }
    }

    /// The breadth of what is as broad in a block, and something else in every block of a cluster.
    fn of_block(&self, breadth: Breadth) -> Breadth {
        match self.kernel.cluster {
            1 => breadth,
            _ => narrower(breadth, self.kernel.threads.into()),
        }
    }

    /// Whether it is the number of the cluster, of which all of its blocks have the same.
    fn counts_clusters(&self, value: Handle<Index>, by: Handle<Index>) -> bool {
        let (indices, cluster) = (&self.kernel.indices, i64::from(self.kernel.cluster));
        matches!(indices.get(value), Index::Atom(Atom::Block))
            && indices.as_constant(by).is_some_and(|by| by > 0 && by % cluster == 0)
    }

    fn atom(&self, atom: Atom) -> Breadth {
        match atom {
            Atom::Thread | Atom::Lane(_) => 1,
            Atom::Block => self.of_block(ALL),
            Atom::Argument(_) | Atom::Address(_) => ALL,
            Atom::Variable(variable) => self.variables[variable.index()],
            Atom::Value(value) => self.values[value.index()],
        }
    }

    /// Whether it is the thread's number, or the low bits of it: then the number of bits that are left.
    fn counts_threads(&self, index: Handle<Index>) -> Option<u8> {
        match *self.kernel.indices.get(index) {
            Index::Atom(Atom::Thread) => Some(u8::MAX),
            Index::Low { value, bits } => self.counts_threads(value).map(|more| more.min(bits)),
            _ => None,
        }
    }

    fn index(&self, index: Handle<Index>) -> Breadth {
        let indices = &self.kernel.indices;
        // Most have nothing to do with the thread.
        let atoms = indices.atoms(index);
        let broad = atoms.iter().fold(ALL, |all, atom| narrower(all, self.atom(*atom)));
        if broad == ALL || (broad != 1 && self.kernel.cluster == 1) {
            return broad;
        }
        match indices.get(index) {
            Index::Atom(atom) => self.atom(*atom),
            Index::Quotient { value, by } if self.counts_clusters(*value, *by) => ALL,
            Index::Quotient { value, by } if self.counts_threads(*value).is_some() => match indices.as_constant(*by) {
                Some(by) if by > 0 => self.of_block(by.unsigned_abs()),
                _ => 1,
            },
            Index::Select { condition, .. } => {
                let mut all = self.condition(*condition);
                indices.for_each_operand(index, |operand| all = narrower(all, self.index(operand)));
                all
            }
            _ => {
                let mut all = ALL;
                indices.for_each_operand(index, |operand| all = narrower(all, room(|| self.index(operand))));
                all
            }
        }
    }

    fn condition(&self, condition: Handle<Predicate>) -> Breadth {
        let indices = &self.kernel.indices;
        match indices.condition(condition) {
            Predicate::Value(value) => self.values[value.index()],
            // The first ones of all, or of each group of a power of two.
            Predicate::Positive(index) => match self.threshold(*index) {
                Some(breadth) => breadth,
                None => self.index(*index),
            },
            _ => {
                let (mut all, mut inner) = (ALL, ALL);
                indices.for_each_operand_of(
                    condition,
                    |index| all = narrower(all, self.index(index)),
                    |condition| inner = narrower(inner, room(|| self.condition(condition))),
                );
                narrower(all, inner)
            }
        }
    }

    /// Of `limit - thread > 0` and `thread - limit > 0` the number of threads on one side, if nothing else is in it.
    fn threshold(&self, index: Handle<Index>) -> Option<Breadth> {
        let indices = &self.kernel.indices;
        let (constant, coefficient, factor) = match indices.get(index) {
            Index::Sum(sum) => match &*sum.terms {
                [term] if term.factors.len() == 1 => (sum.constant, term.coefficient, term.factors[0]),
                _ => return None,
            },
            _ => (0, 1, index),
        };
        let bits = self.counts_threads(factor)?;
        let limit = match coefficient {
            -1 => constant,
            1 => constant.checked_neg()?.checked_add(1)?,
            _ => return None,
        };
        let period: Breadth = if bits < 63 { 1 << bits } else { ALL };
        Some(self.of_block(narrower(u64::try_from(limit).ok()?, period)))
    }
}

fn narrow(breadth: &mut Breadth, to: Breadth, changed: &mut bool) {
    let narrowed = narrower(*breadth, to);
    *changed |= narrowed != *breadth;
    *breadth = narrowed;
}
