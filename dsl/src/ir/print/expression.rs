//! Expressions, and what they refer to.

use super::{Detail, Printer, name, quoted};
use crate::ir::{Access, Atomic, Expression, Guard, Handle, Local, Symbol};

impl<'k> Printer<'k, '_> {
    pub(super) fn define(&mut self, value: Handle<Expression>) -> String {
        let name = format!("%{}", self.values.len());
        self.values.insert(value, name.clone());
        name
    }

    pub(super) fn ty(&self, value: Handle<Expression>) -> String {
        self.kernel
            .types
            .get(value.index())
            .map(|ty| format!(" : {ty}"))
            .unwrap_or_default()
    }

    pub(super) fn expression(&mut self, expression: &Expression) -> String {
        match expression {
            Expression::Literal(_) | Expression::Symbol(_) | Expression::Argument(_) => self.global(expression),
            Expression::Induction(_) => "induction".to_owned(),
            // The type says the extents.
            Expression::Arange(_) => "arange".to_owned(),
            Expression::Broadcast { value, .. } => format!("broadcast {}", self.value(*value)),
            Expression::Reshape { value, .. } => format!("reshape {}", self.value(*value)),
            Expression::Permute { value, axes } => {
                let axes: Vec<String> = axes.iter().map(u8::to_string).collect();
                format!("permute [{}] {}", axes.join(", "), self.value(*value))
            }
            Expression::Slice {
                value,
                axis,
                start,
                step,
                ..
            } => format!("slice axis {axis} from {start} step {step} {}", self.value(*value)),
            Expression::Concatenate { left, right, axis } => {
                format!("concatenate axis {axis} {}", self.list(&[*left, *right]))
            }
            Expression::Take { value, index, axis } => format!("take axis {axis} {}", self.list(&[*value, *index])),
            Expression::Reduce { value, axis, reduction } => {
                format!("reduce axis {axis} {reduction} {}", self.value(*value))
            }
            Expression::Scan { value, axis, combine } => format!("scan axis {axis} {combine} {}", self.value(*value)),
            Expression::ArgSort {
                value,
                axis,
                descending,
            } => {
                let order = if *descending { "descending" } else { "ascending" };
                format!("argsort axis {axis} {order} {}", self.value(*value))
            }
            Expression::Histogram { value, mask, .. } => match mask {
                Some(mask) => format!("histogram {} where {}", self.value(*value), self.value(*mask)),
                None => format!("histogram {}", self.value(*value)),
            },
            Expression::Unary { op, value } => format!("{} {}", op.name(), self.value(*value)),
            Expression::Binary { op, left, right } => format!("{} {}", op.name(), self.list(&[*left, *right])),
            Expression::Compare { op, left, right } => format!("{} {}", op.name(), self.list(&[*left, *right])),
            Expression::MulAdd { left, right, addend } => format!("fma {}", self.list(&[*left, *right, *addend])),
            Expression::Select {
                condition,
                accept,
                reject,
            } => {
                format!("select {}", self.list(&[*condition, *accept, *reject]))
            }
            Expression::Cast { value, .. } => format!("cast {}", self.value(*value)),
            Expression::Bitcast { value, .. } => format!("bitcast {}", self.value(*value)),
            Expression::MultipleOf { value, by } => format!("multiple_of {by} {}", self.value(*value)),
            Expression::Member { symbol, access } => format!("{} of {}", self.symbol(*symbol), self.access(access)),
            Expression::Local(local) => format!("read {}", self.local(*local)),
            Expression::Load(access) => format!("load {}", self.access(access)),
            Expression::Atomic(atomic) => self.atomic(atomic),
            Expression::Ptx(ptx) => {
                let outputs: Vec<&str> = ptx.outputs.iter().map(|element| element.name()).collect();
                let (outputs, inputs) = (outputs.join(", "), self.list(&ptx.inputs));
                let meaning = match (&ptx.meaning, self.detail) {
                    (Some(meaning), Detail::All) => format!(" meaning {}", meaning.identity()),
                    _ => String::new(),
                };
                let text = quoted(&ptx.text);
                format!("ptx {text} [{outputs}] {} ({inputs}){meaning}", ptx.output)
            }
        }
    }

    fn atomic(&self, atomic: &Atomic) -> String {
        let (access, order, scope) = (self.access(&atomic.access), atomic.order.name(), atomic.scope.name());
        let values: Vec<_> = atomic.update.operands().collect();
        format!(
            "atomic {} {order} {scope} {access} by {}",
            atomic.update.name(),
            self.list(&values)
        )
    }

    pub(super) fn value(&self, value: Handle<Expression>) -> String {
        match (self.values.get(&value), self.kernel.expressions.get(value)) {
            (Some(name), _) => name.clone(),
            (None, Some(expression)) => self.global(expression),
            (None, None) => "?".to_owned(),
        }
    }

    /// A value that is in scope everywhere.
    fn global(&self, expression: &Expression) -> String {
        match expression {
            Expression::Literal(literal) => literal.to_string(),
            Expression::Symbol(symbol) => self.symbol(*symbol),
            Expression::Argument(position) => format!("argument({})", self.parameter(*position)),
            // Used without a definition, which the verifier refuses.
            _ => "?".to_owned(),
        }
    }

    pub(super) fn list(&self, values: &[Handle<Expression>]) -> String {
        values
            .iter()
            .map(|&value| self.value(value))
            .collect::<Vec<_>>()
            .join(", ")
    }

    pub(super) fn symbol(&self, symbol: Symbol) -> String {
        match symbol {
            Symbol::ProgramId(axis) => format!("program({axis})"),
            Symbol::NumPrograms(axis) => format!("programs({axis})"),
            Symbol::Extent { tensor, axis } => format!("extent({}, {axis})", self.parameter(tensor)),
            Symbol::Stride { tensor, axis } => format!("stride({}, {axis})", self.parameter(tensor)),
            Symbol::Count(position) => format!("count({})", self.parameter(position)),
        }
    }

    fn parameter(&self, position: u32) -> String {
        self.kernel
            .parameters
            .get(position as usize)
            .map_or_else(|| "?".to_owned(), |parameter| name(&parameter.name))
    }

    /// The name of a local: the author's, with a number where another local has it.
    pub(super) fn local(&mut self, local: Handle<Local>) -> String {
        if let Some(name) = self.locals.get(&local) {
            return name.clone();
        }
        let own = self.kernel.locals.get(local).map_or("?", |local| &local.name);
        let (base, taken) = (name(own), self.taken.entry(own).or_default());
        let text = match *taken {
            0 => base,
            number => format!("{base}.{number}"),
        };
        *taken += 1;
        self.locals.insert(local, text.clone());
        text
    }

    pub(super) fn access(&self, access: &Access) -> String {
        let mut text = format!("{}[{}]", self.parameter(access.tensor), self.list(&access.indices));
        if let Some(mask) = access.mask {
            text += &format!(" where {}", self.value(mask));
        }
        if let Some(hint) = access.cache {
            text += &format!(" cache {}", hint.qualifier());
        }
        if access.must_be_wide && self.detail == Detail::All {
            text += " wide";
        }
        let sides = |guard: &Guard| match (guard.lower, guard.upper) {
            (true, true) => Some("lower upper"),
            (true, false) => Some("lower"),
            (false, true) => Some("upper"),
            (false, false) => None,
        };
        let guards: Vec<String> = access
            .guards
            .iter()
            .enumerate()
            .filter_map(|(axis, guard)| sides(guard).map(|sides| format!("{axis}: {sides}")))
            .collect();
        // Without a check left, the policy decides nothing but what the CPU device reports.
        if !guards.is_empty() || self.detail == Detail::All {
            text += &format!(" guard {}({})", access.bounds, guards.join(", "));
        }
        text
    }
}
