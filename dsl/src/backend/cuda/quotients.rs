//! Packets of floats that are divided by one number each.

use super::Writer;
use super::prelude::Need;
use crate::ir::{Handle, Span};
use crate::thread::{Operation, Statement, Use, Value};

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quotients {
    value: Handle<Value>,
    of: Use,
    by: Use,
}

impl Writer<'_> {
    /// The packets that are divided by one number each, from the first of some statements on, none of them made of another.
    pub(super) fn divided_at_once(&self, statements: &[(Statement, Span)]) -> Vec<Quotients> {
        let mut run: Vec<Quotients> = Vec::new();
        for (statement, _) in statements {
            let Statement::Let { value, operation } = statement else {
                break;
            };
            let Operation::Binary { left, right, .. } = *operation else {
                break;
            };
            let is_of_run = |operand| run.iter().any(|before| operand == Use::Value(before.value));
            if !self.kernel.divides_several(*value, operation) || is_of_run(left) || is_of_run(right) {
                break;
            }
            run.push(Quotients {
                value: *value,
                of: left,
                by: right,
            });
        }
        run
    }

    /// Packets divided by one number each, the short way if all of them can go it.
    pub(super) fn quotients(&mut self, run: &[Quotients]) {
        self.need(Need::Quotients);
        let (mut near, mut short, mut long) = (Vec::new(), Vec::new(), Vec::new());
        for &Quotients { value, of, by } in run {
            self.canonical.insert(value);
            let (number, lanes) = (value.index(), usize::from(self.kernel.values[value].ty.lanes));
            let dividends: Vec<_> = (0..lanes).map(|lane| self.lane(of, lane)).collect();
            let divisor = self.lane(by, 0);
            let dividends = dividends.join(", ");
            self.line(format!("const float dividends{number}[] = {{{dividends}}};"));
            self.line(format!("float quotients{number}[{lanes}];"));
            let exact_if_tiny = !self.only_rounded.contains(&value);
            let are_fractions = matches!(of, Use::Value(of) if self.kernel.values[of].is_fraction);
            near.push(format!(
                "tw_is_near<{exact_if_tiny}, {are_fractions}>(dividends{number}, {divisor})"
            ));
            short.push(format!(
                "tw_near_quotients(dividends{number}, {divisor}, quotients{number});"
            ));
            long.push(format!(
                "tw_far_quotients(dividends{number}, {divisor}, quotients{number});"
            ));
        }
        self.open(format!("if (__builtin_expect({}, 1)) {{", near.join(" & ")));
        short.iter().for_each(|line| self.line(line));
        self.otherwise();
        long.iter().for_each(|line| self.line(line));
        self.close("}");
        for quotients in run {
            let (number, lanes) = (quotients.value.index(), self.kernel.values[quotients.value].ty.lanes);
            let texts: Vec<_> = (0..lanes).map(|lane| format!("quotients{number}[{lane}]")).collect();
            self.define(quotients.value, &texts);
        }
    }
}
