//! Packets that are divided by one number each are divided one after the other.
//!
//! A printer asks of all of them at once whether they can go the short way: each question parts what is behind it from what is ahead.

use std::collections::{BTreeSet, HashMap};

use super::hoist::may_end;
use crate::element::ElementType;
use crate::ir::{BinaryOp, Handle, Span};
use crate::stack::room;
use crate::thread::{Atom, Block, Kernel, Operation, Statement, Value};

/// Quotients that are found at once, at most: a thread has them in registers.
const MOST_LANES: u32 = 32;

impl Kernel {
    /// Whether a value is a packet of quotients by one number, of f32.
    pub(crate) fn divides_several(&self, value: Handle<Value>, operation: &Operation) -> bool {
        let ty = self.values[value].ty;
        let by_one = |by| self.ty(by).lanes == 1;
        ty.element == ElementType::F32
            && ty.lanes > 1
            && matches!(operation, Operation::Binary { op: BinaryOp::Divide, right, .. } if by_one(*right))
    }
}

pub(super) fn run(kernel: &mut Kernel) {
    let body = std::mem::take(&mut kernel.body);
    kernel.body = block(kernel, body);
}

fn block(kernel: &Kernel, block: Block) -> Block {
    let (mut done, mut part) = (Block::new(), Vec::new());
    for (statement, span) in block {
        if parts(&statement) {
            together(kernel, std::mem::take(&mut part), &mut done);
            let statement = statement.map_blocks(|inner| room(|| self::block(kernel, inner)));
            done.push(statement, span);
        } else {
            part.push((statement, span));
        }
    }
    together(kernel, part, &mut done);
    done
}

/// Whether nothing is done earlier than a statement that stands behind it.
fn parts(statement: &Statement) -> bool {
    let mut has_block = false;
    statement.for_each_block(|_| has_block = true);
    has_block || statement.meets() || statement.orders() || may_end(statement)
}

/// Statements with quotients behind the first ones, as far as these need nothing of them.
fn together(kernel: &Kernel, mut rest: Vec<(Statement, Span)>, done: &mut Block) {
    while let Some(first) = rest.iter().position(|(statement, _)| divides(kernel, statement)) {
        let mut run = Run::new(kernel, &rest, first);
        for at in first + 1..rest.len() {
            run.consider(at);
        }
        let Run { quotients, needed, .. } = run;
        let mut behind = Vec::new();
        let mut found = Vec::new();
        for (at, (statement, span)) in rest.into_iter().enumerate() {
            if quotients.contains(&at) {
                found.push((statement, span));
            } else if at < first || needed.contains(&at) {
                done.push(statement, span);
            } else {
                behind.push((statement, span));
            }
        }
        found
            .into_iter()
            .for_each(|(statement, span)| done.push(statement, span));
        rest = behind;
    }
    rest.into_iter()
        .for_each(|(statement, span)| done.push(statement, span));
}

fn divides(kernel: &Kernel, statement: &Statement) -> bool {
    matches!(statement, Statement::Let { value, operation } if kernel.divides_several(*value, operation))
}

/// Quotients that are found together.
struct Run<'a> {
    kernel: &'a Kernel,
    statements: &'a [(Statement, Span)],
    /// Which statement defines a value, of the first quotients and those behind.
    defined: HashMap<Handle<Value>, usize>,
    quotients: BTreeSet<usize>,
    lanes: u32,
    /// What they take that stands behind the first ones.
    needed: BTreeSet<usize>,
}

impl<'a> Run<'a> {
    fn new(kernel: &'a Kernel, statements: &'a [(Statement, Span)], first: usize) -> Self {
        let mut defined = HashMap::new();
        for (at, (statement, _)) in statements.iter().enumerate().skip(first) {
            if let Statement::Let { value, .. } = statement {
                defined.insert(*value, at);
            }
        }
        let mut run = Self {
            kernel,
            statements,
            defined,
            quotients: BTreeSet::from([first]),
            lanes: 0,
            needed: BTreeSet::new(),
        };
        run.lanes = run.lanes_of(first);
        run
    }

    fn lanes_of(&self, at: usize) -> u32 {
        match &self.statements[at].0 {
            Statement::Let { value, .. } => self.kernel.values[*value].ty.lanes.into(),
            _ => 0,
        }
    }

    /// Takes quotients along, if they are no more than registers hold.
    fn consider(&mut self, at: usize) {
        let lanes = self.lanes + self.lanes_of(at);
        if divides(self.kernel, &self.statements[at].0)
            && lanes <= MOST_LANES
            && let Some(needed) = self.needed_by(at)
        {
            self.quotients.insert(at);
            self.needed.extend(needed);
            self.lanes = lanes;
        }
    }

    /// What a statement takes of those behind the first quotients, if that may be computed ahead of them.
    fn needed_by(&self, at: usize) -> Option<BTreeSet<usize>> {
        let (mut needed, mut open) = (BTreeSet::new(), vec![at]);
        while let Some(next) = open.pop() {
            let (statement, _) = &self.statements[next];
            let Statement::Let { operation, .. } = statement else {
                return None;
            };
            let is_fixed = operation.depends_on_its_place() || matches!(operation, Operation::Load(_));
            if next != at && (is_fixed || divides(self.kernel, statement)) {
                return None;
            }
            let mut is_named = false;
            statement.for_each_atom(&self.kernel.indices, |atom| match atom {
                Atom::Value(value) => open.extend(self.defined.get(&value).filter(|at| needed.insert(**at))),
                // It may be named behind the first ones.
                Atom::Variable(_) => is_named = true,
                _ => {}
            });
            if is_named {
                return None;
            }
        }
        Some(needed)
    }
}
