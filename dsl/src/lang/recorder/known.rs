//! What is known while a kernel is recorded.

use std::collections::{BTreeSet, HashMap};

use super::Recorder;
use crate::arithmetic;
use crate::ir::{Expression, Handle, Literal, Span, Symbol};
use crate::trace::ParameterFacts;

impl Recorder {
    /// The value of `expression` while recording; an extent it depends on becomes part of the variant's class.
    pub(crate) fn constant(&mut self, expression: Handle<Expression>, span: Span) -> Option<i64> {
        let advice =
            "a tile's extents are literals, tensor extents, exact counts, const generics, or `#[comptime]` parameters";
        let pinned = self.pinned.len();
        let value = self.evaluate(expression).and_then(|value| {
            let integer = value.as_integer().and_then(|v| i64::try_from(v).ok());
            integer.ok_or_else(|| "a float".into())
        });
        match value {
            Ok(value) => {
                self.lengths.extend((self.pinned.len() > pinned).then_some(value));
                Some(value)
            }
            Err(what) => {
                self.fail(
                    span,
                    format!("a compile-time integer is needed here, but this depends on {what}"),
                    Some(advice),
                );
                None
            }
        }
    }

    fn evaluate(&mut self, expression: Handle<Expression>) -> Result<Literal, String> {
        let mut needed = BTreeSet::new();
        let mut open = vec![expression];
        while let Some(value) = open.pop() {
            if !needed.insert(value) {
                continue;
            }
            match self.kernel.expressions.get(value) {
                Some(
                    node @ (Expression::Literal(_)
                    | Expression::Symbol(_)
                    | Expression::Binary { .. }
                    | Expression::Unary { .. }
                    | Expression::Cast { .. }
                    | Expression::MultipleOf { .. }),
                ) => node.for_each_operand(|operand| open.push(operand)),
                Some(Expression::Argument(_)) => return Err("a run-time argument".into()),
                Some(Expression::Local(_)) => return Err("a mutable variable".into()),
                Some(Expression::Load(_) | Expression::Atomic(_)) => return Err("a value loaded from memory".into()),
                Some(Expression::Member { .. }) => {
                    return Err(
                        "the extent of one tensor of a list, which may differ from the others': say `list.extent(axis)` \
                         of what all of them share, or `list.max_extent(axis)`"
                            .into(),
                    );
                }
                Some(_) => return Err("a run-time value".into()),
                None => return Err("a value from outside the kernel".into()),
            }
        }
        // Operands come before their users.
        let mut values = HashMap::new();
        for value in needed {
            let found = match self.kernel.expressions[value].clone() {
                Expression::Symbol(symbol) => Some(Literal::index(self.pin(symbol)?)),
                node => arithmetic::evaluate(&node, |operand| values.get(&operand).copied()),
            };
            values.insert(value, found.ok_or("a run-time value")?);
        }
        values
            .get(&expression)
            .copied()
            .ok_or_else(|| "a run-time value".into())
    }

    /// The value of a launch symbol, which becomes part of the variant's class.
    fn pin(&mut self, symbol: Symbol) -> Result<i64, String> {
        let facts = |position: u32| self.request.parameters.get(position as usize);
        let value = match symbol {
            Symbol::Extent { tensor, axis } => match facts(tensor) {
                Some(ParameterFacts::Tensor(facts) | ParameterFacts::List(facts)) => {
                    match facts.extents.get(axis as usize) {
                        Some(&extent) => extent.min(i64::MAX as u64) as i64,
                        None => return Err("the extent of an axis that the tensor does not have".into()),
                    }
                }
                _ => return Err("the extent of an undescribed tensor".into()),
            },
            Symbol::Count(position) => match facts(position) {
                Some(ParameterFacts::Exact(count)) => *count,
                _ => {
                    let name = self.kernel.parameters.get(position as usize).map_or("", |p| &p.name);
                    return Err(format!(
                        "the count `{name}`, which this launch does not bind as `Exact`"
                    ));
                }
            },
            Symbol::ProgramId(_) => return Err("the program's id".into()),
            Symbol::NumPrograms(_) => return Err("the number of programs".into()),
            Symbol::Stride { .. } => return Err("a stride".into()),
        };
        self.pinned.push((symbol, value));
        Ok(value)
    }
}
