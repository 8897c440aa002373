//! Which values only what they are rounded to is seen of.

use std::collections::HashSet;

use crate::element::ElementType;
use crate::ir::Handle;
use crate::thread::statement::Mention;
use crate::thread::{Atom, Kernel, Operation, Statement, Use, Value};

/// The values of `kernel` that are f32 and become floats in which all that is less than 2⁻³⁰ is zero, and nothing else.
pub(crate) fn only_rounded(kernel: &Kernel) -> HashSet<Handle<Value>> {
    let (mut rounded, mut seen) = (HashSet::new(), HashSet::new());
    kernel.body.walk(&mut |statement, _| {
        if let Statement::Let {
            operation:
                Operation::Cast {
                    value: Use::Value(value),
                    to: ElementType::F16 | ElementType::F8E4M3 | ElementType::F8E5M2,
                    ..
                },
            ..
        } = statement
        {
            rounded.insert(*value);
            return;
        }
        statement.for_each_mention(|mention| {
            if !matches!(mention, Mention::Defines(_)) {
                mention.for_each_atom(&kernel.indices, |atom| {
                    if let Atom::Value(value) = atom {
                        seen.insert(value);
                    }
                });
            }
        });
    });
    rounded.retain(|value| kernel.values[*value].ty.element == ElementType::F32 && !seen.contains(value));
    rounded
}
