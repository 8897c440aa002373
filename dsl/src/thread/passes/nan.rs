//! Whose NaN somebody sees the bits of: of any other value it does not matter which NaN it is.

use std::collections::{HashMap, HashSet};

use crate::ir::{Handle, UnaryOp};
use crate::thread::statement::Mention;
use crate::thread::{Kernel, Operation, Register, Statement, Use, Value};

/// Values and registers that are seen as bits, and what becomes what as it is.
#[derive(Default)]
struct Seen {
    values: HashSet<Handle<Value>>,
    open: Vec<Handle<Value>>,
    /// What a value is, if that is one of others as they were.
    made_of: HashMap<Handle<Value>, Vec<Use>>,
    read: HashMap<Handle<Value>, Handle<Register>>,
    assigned: HashMap<Handle<Register>, Vec<Use>>,
}

/// The values of `kernel` of which the bits of a NaN are seen: they are stored, or looked at as an integer, or are made
/// what is. Arithmetic, comparisons and casts tell no NaN from another.
pub(crate) fn seen_as_bits(kernel: &Kernel) -> HashSet<Handle<Value>> {
    let mut seen = Seen::default();
    kernel.body.walk(&mut |statement, _| seen.statement(statement));
    let mut registers = HashSet::new();
    while let Some(value) = seen.open.pop() {
        let mut operands = seen.made_of.remove(&value).unwrap_or_default();
        if let Some(register) = seen.read.get(&value).filter(|register| registers.insert(**register)) {
            operands.extend(seen.assigned.remove(register).unwrap_or_default());
        }
        operands.into_iter().for_each(|operand| seen.see(operand));
    }
    seen.values
}

impl Seen {
    fn see(&mut self, operand: Use) {
        if let Use::Value(value) = operand
            && self.values.insert(value)
        {
            self.open.push(value);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Let { value, operation } => self.operation(*value, operation),
            Statement::Assign { register, value } => self.assigned.entry(*register).or_default().push(*value),
            other => other.for_each_mention(|mention| {
                if let Mention::Use(operand) = mention {
                    self.see(operand);
                }
            }),
        }
    }

    fn operation(&mut self, value: Handle<Value>, operation: &Operation) {
        let passes = match operation {
            Operation::Unary { op, .. } => matches!(op, UnaryOp::Negate | UnaryOp::Abs),
            Operation::Binary { .. }
            | Operation::MulAdd { .. }
            | Operation::Compare { .. }
            | Operation::Cast { .. }
            | Operation::Canonical(_) => false,
            Operation::Select { .. }
            | Operation::Shuffle { .. }
            | Operation::Join(_)
            | Operation::Part { .. }
            | Operation::Repeat { .. } => true,
            Operation::Read(register) => {
                self.read.insert(value, *register);
                return;
            }
            _ => return operation.for_each_operand(|operand| self.see(operand)),
        };
        if passes {
            let made_of = self.made_of.entry(value).or_default();
            operation.for_each_operand(|operand| made_of.push(operand));
        }
    }
}
