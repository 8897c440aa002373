//! What a kernel does with its values and tensors, found once for the whole of it.

use std::collections::{HashMap, HashSet};

use crate::ir::{Expression, Handle, Kernel, Statement};

/// What is known of the whole kernel.
pub(super) struct Uses {
    /// Values on which it depends which way the threads of the program go.
    deciding: HashSet<Handle<Expression>>,
    /// How many stores there are into a tensor.
    stores: HashMap<u32, usize>,
}

impl Uses {
    pub(super) fn of(kernel: &Kernel) -> Self {
        let (mut open, mut stores) = (Vec::new(), HashMap::new());
        kernel.body.walk(&mut |statement, _| match statement {
            Statement::Store { access, .. } => *stores.entry(access.tensor).or_default() += 1,
            Statement::Let(_) | Statement::Prefetch(_) => {}
            other => other.for_each_use(|value| open.push(value)),
        });
        let mut deciding = HashSet::new();
        while let Some(value) = open.pop() {
            if deciding.insert(value) {
                kernel.expressions[value].for_each_operand(|operand| open.push(operand));
            }
        }
        Self { deciding, stores }
    }

    /// Whether it depends on a value which way the threads of the program go.
    pub(super) fn decides(&self, value: Handle<Expression>) -> bool {
        self.deciding.contains(&value)
    }

    /// How many stores there are into a tensor.
    pub(super) fn stores_into(&self, tensor: u32) -> usize {
        self.stores.get(&tensor).copied().unwrap_or(0)
    }
}
