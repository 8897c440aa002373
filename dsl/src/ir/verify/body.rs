//! Scopes, control flow and the assignment of locals.

use super::assigned::Assigned;
use super::{Fault, VerifyError, access};
use crate::element::{ElementKind, ElementType};
use crate::ir::{Block, Expression, Handle, Kernel, Span, Statement, Type};
use crate::stack::room;

pub(super) fn check(kernel: &Kernel) -> Result<(), VerifyError> {
    let mut walk = Walk {
        kernel,
        defined: vec![false; kernel.expressions.len()],
        in_scope: kernel
            .expressions
            .iter()
            .map(|(_, expression)| expression.is_global())
            .collect(),
        loops: Vec::new(),
        assigned: Assigned::none(kernel.locals.len()),
    };
    walk.block(&kernel.body)
}

struct Walk<'k> {
    kernel: &'k Kernel,
    /// Whether a definition has been seen anywhere.
    defined: Vec<bool>,
    /// Whether a definition reaches the present place.
    in_scope: Vec<bool>,
    /// The loops around the present place. `None` stands for a `while` whose header it is in.
    loops: Vec<Option<Breaks>>,
    assigned: Assigned,
}

/// What is assigned wherever the loop is left by `break`.
struct Breaks(Assigned);

impl Walk<'_> {
    /// Checks a block and closes its scope.
    fn block(&mut self, block: &Block) -> Result<(), VerifyError> {
        let opened = self.statements(block)?;
        self.close(opened);
        Ok(())
    }

    /// Checks the statements of a block and returns what they define, still in scope.
    fn statements(&mut self, block: &Block) -> Result<Vec<Handle<Expression>>, VerifyError> {
        let mut opened = Vec::new();
        let mut left = None;
        for (statement, span) in block {
            if let Some(name) = left {
                return Err(Fault::Unreachable(name).at(*span));
            }
            let mut used = Ok(());
            statement.for_each_use(|value| {
                if used.is_ok() {
                    used = self.visible(value, *span);
                }
            });
            match statement {
                // The condition of a `while` is used after its header.
                Statement::While { .. } => {}
                _ => used?,
            }
            left = room(|| self.statement(statement, *span, &mut opened))?;
        }
        Ok(opened)
    }

    /// Checks one statement. Gives its name if it leaves the block.
    fn statement(
        &mut self,
        statement: &Statement,
        span: Span,
        opened: &mut Vec<Handle<Expression>>,
    ) -> Result<Option<&'static str>, VerifyError> {
        let kernel = self.kernel;
        match statement {
            Statement::Let(value) => {
                self.definition(*value, span)?;
                self.define(*value, span)?;
                opened.push(*value);
            }
            Statement::Store { access, value, .. } => {
                access::store(kernel, access, *value).map_err(|fault| fault.at(span))?;
            }
            Statement::Prefetch(access) => {
                access::infer(kernel, access).map_err(|fault| fault.at(span))?;
                access::cache(kernel, access, "prefetch", |_| false).map_err(|fault| fault.at(span))?;
            }
            Statement::GridDependency(_) => {}
            Statement::Print { format, values } => {
                let (places, count) = (format.matches("{}").count(), values.len());
                if places != count {
                    return Err(Fault::PrintValues { places, values: count }.at(span));
                }
                let printable = |ty: &Type| ty.is_scalar() && ty.element.kind() != ElementKind::Storage;
                if let Some(ty) = values.iter().map(|&value| kernel.ty(value)).find(|ty| !printable(ty)) {
                    return Err(Fault::PrintType(ty).at(span));
                }
            }
            Statement::Check { condition, .. } => {
                let found = kernel.ty(*condition);
                if found.element != ElementType::Bool {
                    return Err(Fault::CheckType(found).at(span));
                }
            }
            Statement::Assign { local, value } => {
                let found = kernel.ty(*value);
                match kernel.locals.get(*local) {
                    Some(to) if to.ty == found => self.assigned.assign(*local),
                    Some(to) => {
                        return Err(Fault::AssignType {
                            local: to.name.clone(),
                            expected: to.ty,
                            found,
                        }
                        .at(span));
                    }
                    None => return Err(Fault::UnknownLocal(local.index()).at(span)),
                }
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                self.condition(*condition, span)?;
                let before = self.assigned.clone();
                self.block(accept)?;
                let accepted = std::mem::replace(&mut self.assigned, before);
                self.block(reject)?;
                self.assigned.join(&accepted);
            }
            Statement::While {
                header,
                condition,
                body,
            } => self.while_loop(header, *condition, body, span)?,
            Statement::For {
                induction,
                start,
                end,
                step,
                body,
            } => {
                let Expression::Induction(element) = kernel.expressions[*induction] else {
                    return Err(Fault::NotAnInduction(induction.index()).at(span));
                };
                if *step == 0 {
                    return Err(Fault::ZeroStep.at(span));
                }
                if step.unsigned_abs() > u64::MAX.into() {
                    return Err(Fault::StepTooLarge.at(span));
                }
                let expected = Type::scalar(element);
                for bound in [start, end] {
                    let found = kernel.ty(*bound);
                    if found != expected {
                        return Err(Fault::LoopBound { expected, found }.at(span));
                    }
                }
                self.define(*induction, span)?;
                let before = self.assigned.clone();
                self.loops.push(Some(Breaks(Assigned::unreachable())));
                self.block(body)?;
                self.loops.pop();
                self.close([*induction]);
                // There may be no trip at all.
                self.assigned = before;
            }
            Statement::Break => {
                let Some(Some(Breaks(breaks))) = self.loops.last_mut() else {
                    return Err(Fault::OutsideLoop("break").at(span));
                };
                breaks.join(&self.assigned);
                self.assigned = Assigned::unreachable();
                return Ok(Some("break"));
            }
            Statement::Continue => {
                let Some(Some(_)) = self.loops.last() else {
                    return Err(Fault::OutsideLoop("continue").at(span));
                };
                self.assigned = Assigned::unreachable();
                return Ok(Some("continue"));
            }
            Statement::Return => {
                self.assigned = Assigned::unreachable();
                return Ok(Some("return"));
            }
        }
        Ok(None)
    }

    fn while_loop(
        &mut self,
        header: &Block,
        condition: Handle<Expression>,
        body: &Block,
        span: Span,
    ) -> Result<(), VerifyError> {
        self.loops.push(None);
        let opened = self.statements(header)?;
        self.loops.pop();
        self.visible(condition, span)?;
        self.condition(condition, span)?;
        // Later trips reach the header with at least what the first one does.
        let tested = self.assigned.clone();
        self.loops.push(Some(Breaks(Assigned::unreachable())));
        self.block(body)?;
        let breaks = self.loops.pop().flatten();
        self.close(opened);
        let forever = matches!(self.kernel.expressions[condition], Expression::Literal(literal) if literal.as_bool());
        self.assigned = match breaks {
            Some(Breaks(breaks)) if forever => breaks,
            _ => tested,
        };
        Ok(())
    }

    /// Checks what a `Let` may define, and the operands of the definition.
    fn definition(&self, value: Handle<Expression>, span: Span) -> Result<(), VerifyError> {
        let expression = &self.kernel.expressions[value];
        if expression.is_global() {
            return Err(Fault::LetOfGlobal(value.index()).at(span));
        }
        match expression {
            Expression::Induction(_) => return Err(Fault::LetOfInduction(value.index()).at(span)),
            Expression::Local(local) if !self.assigned.has(*local) => {
                let name = self
                    .kernel
                    .locals
                    .get(*local)
                    .map(|l| l.name.clone())
                    .unwrap_or_default();
                return Err(Fault::UnassignedLocal(name).at(span));
            }
            _ => {}
        }
        let mut used = Ok(());
        expression.for_each_operand(|operand| {
            if used.is_ok() {
                used = self.visible(operand, span);
            }
        });
        used
    }

    fn define(&mut self, value: Handle<Expression>, span: Span) -> Result<(), VerifyError> {
        if std::mem::replace(&mut self.defined[value.index()], true) {
            return Err(Fault::Redefinition(value.index()).at(span));
        }
        self.in_scope[value.index()] = true;
        Ok(())
    }

    fn close(&mut self, values: impl IntoIterator<Item = Handle<Expression>>) {
        for value in values {
            self.in_scope[value.index()] = false;
        }
    }

    fn visible(&self, value: Handle<Expression>, span: Span) -> Result<(), VerifyError> {
        if self.in_scope[value.index()] {
            Ok(())
        } else {
            Err(Fault::OutOfScope(value.index()).at(span))
        }
    }

    fn condition(&self, condition: Handle<Expression>, span: Span) -> Result<(), VerifyError> {
        let found = self.kernel.ty(condition);
        if found == Type::CONDITION {
            Ok(())
        } else {
            Err(Fault::ConditionType(found).at(span))
        }
    }
}
