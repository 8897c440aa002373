//! Removing the bounds checks that are proved to pass, and the conditions that are proved to hold or fail.

use std::collections::HashSet;
use std::fmt;

use super::bind;
use super::conditions::Conditions;
use crate::analysis::condition::ConditionBits;
use crate::analysis::range::Ranges;
use crate::ir::{Access, Arena, Block, Bounds, Expression, Handle, Kernel, Literal, Span, Statement};
use crate::stack::room;

/// What is known of one access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What it does.
    pub kind: AccessKind,
    /// The name of the tensor parameter.
    pub tensor: String,
    /// Where it was written.
    pub span: Span,
    /// For each axis, why its index is in range.
    pub axes: Vec<ProvedBy>,
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccessKind {
    /// It reads.
    Load,
    /// It writes.
    Store,
    /// It reads and changes in one step.
    Atomic,
}

/// Why an index is inside its axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProvedBy {
    /// It is in every launch.
    Proof,
    /// The host has found that it is in this launch.
    Host,
    /// The kernel checks it.
    Guard,
    /// The author has promised it.
    Author,
}

impl fmt::Display for AccessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Atomic => "atomic",
        })
    }
}

impl fmt::Display for ProvedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Proof => "proved",
            Self::Host => "host-checked",
            Self::Guard => "guarded",
            Self::Author => "unchecked",
        })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}[", self.kind, self.tensor)?;
        for (axis, by) in self.axes.iter().enumerate() {
            write!(f, "{}{by}", if axis == 0 { "" } else { ", " })?;
        }
        write!(f, "] at {}", self.span)
    }
}

/// `kernel` without the bounds checks that are proved to pass where those of its `conditions` hold that `holding` says, and
/// with the scalar comparisons folded that are decided there. Tells what became of each access, in the order of the text.
pub(crate) fn prove(kernel: &Kernel, conditions: &Conditions, holding: ConditionBits) -> (Kernel, Vec<Proof>) {
    let mut by_host = HashSet::new();
    let mut checks = conditions.checks();
    let mut proved = with_guards(kernel.clone(), |access, span| {
        let of_axes = checks.next().unwrap_or_default();
        for (axis, (guard, [lower, upper])) in access.guards.iter_mut().zip(of_axes).enumerate() {
            if (guard.lower && !lower.is_always()) || (guard.upper && !upper.is_always()) {
                by_host.insert((access.tensor, span, axis));
            }
            guard.lower &= !lower.holds(holding);
            guard.upper &= !upper.holds(holding);
        }
    });
    let mut folded = false;
    for (value, truth) in conditions.decided(holding) {
        proved.expressions[value] = Expression::Literal(Literal::new(truth));
        folded = true;
    }
    if folded {
        proved = bind(&proved, &proved.bindings);
        // Where a branch is taken always, more is known of what follows.
        let always = Conditions::of_every_launch(&proved);
        let mut checks = always.checks();
        proved = with_guards(proved, |access, _| {
            for (guard, [lower, upper]) in access.guards.iter_mut().zip(checks.next().unwrap_or_default()) {
                guard.lower &= !lower.is_always();
                guard.upper &= !upper.is_always();
            }
        });
    }
    let mut proofs = Vec::new();
    for_each_access(&proved, &mut |access, span, value| {
        let axes = (0..access.guards.len()).map(|axis| match access.bounds {
            Bounds::Unchecked => ProvedBy::Author,
            _ if access.guards[axis].any() => ProvedBy::Guard,
            _ if by_host.contains(&(access.tensor, span, axis)) => ProvedBy::Host,
            _ => ProvedBy::Proof,
        });
        proofs.push(Proof {
            kind: kind(&proved, value),
            tensor: proved.parameters[access.tensor as usize].name.clone(),
            span,
            axes: axes.collect(),
        });
    });
    (proved, proofs)
}

/// The first access, of those that every program comes to, that needs a check whatever the host knows: its index is an
/// unknown integer that may be negative.
pub fn hopeless(kernel: &Kernel) -> Option<Proof> {
    let mut conditional = HashSet::new();
    kernel.body.walk(&mut |statement, _| {
        if let Statement::If { accept, reject, .. } = statement {
            let mut note = |inner: &Statement, _: Span| {
                conditional.insert(std::ptr::from_ref(inner));
            };
            accept.walk(&mut note);
            reject.walk(&mut note);
        }
    });
    let mut found = None;
    let mut visit = |ranges: &Ranges<'_>, statement: &Statement, span: Span| {
        let value = match statement {
            Statement::Let(value) => Some(*value),
            _ => None,
        };
        let access = match statement {
            Statement::Store { access, .. } => Some(access),
            _ => value.and_then(|value| kernel.expressions[value].access()),
        };
        let Some(access) = access.filter(|_| found.is_none() && !conditional.contains(&std::ptr::from_ref(statement)))
        else {
            return;
        };
        let unknown = |axis: usize| access.guards[axis].lower && ranges.may_be_any_negative(access.indices[axis]);
        if (0..access.indices.len()).any(unknown) {
            let guarded = |axis| if unknown(axis) { ProvedBy::Guard } else { ProvedBy::Host };
            found = Some(Proof {
                kind: kind(kernel, value),
                tensor: kernel.parameters[access.tensor as usize].name.clone(),
                span,
                axes: (0..access.indices.len()).map(guarded).collect(),
            });
        }
    };
    Ranges::of_every_launch(kernel).walk(&kernel.body, &mut visit);
    found
}

/// What the access of a value is, or that of a store.
fn kind(kernel: &Kernel, value: Option<Handle<Expression>>) -> AccessKind {
    match value.map(|value| &kernel.expressions[value]) {
        None => AccessKind::Store,
        Some(Expression::Atomic(_)) => AccessKind::Atomic,
        Some(_) => AccessKind::Load,
    }
}

impl Kernel {
    /// What is known of every access in all launches: proved, or guarded. In one launch the host's checks turn many
    /// guarded accesses into checked ones.
    pub fn proofs(&self) -> Vec<Proof> {
        prove(self, &Conditions::of_every_launch(self), ConditionBits::NONE).1
    }
}

/// Calls `visit` with each access that may be guarded, where it was written, and the value that it is unless it is a store.
fn for_each_access(kernel: &Kernel, visit: &mut impl FnMut(&Access, Span, Option<Handle<Expression>>)) {
    kernel.body.walk(&mut |statement, span| {
        if let Some((access, value)) = access_of(kernel, statement) {
            visit(access, span, value);
        }
    });
}

/// The access that a statement makes and a guard can stand before.
pub(super) fn access_of<'a>(
    kernel: &'a Kernel,
    statement: &'a Statement,
) -> Option<(&'a Access, Option<Handle<Expression>>)> {
    match statement {
        Statement::Let(value) => kernel.expressions[*value].access().map(|access| (access, Some(*value))),
        Statement::Store { access, .. } => Some((access, None)),
        _ => None,
    }
}

/// `kernel` with the accesses that [`access_of`] finds changed, in the order of the text.
fn with_guards(mut kernel: Kernel, mut change: impl FnMut(&mut Access, Span)) -> Kernel {
    let mut body = std::mem::take(&mut kernel.body);
    change_accesses(&mut body, &mut kernel.expressions, &mut change);
    kernel.body = body;
    kernel
}

fn change_accesses(block: &mut Block, expressions: &mut Arena<Expression>, change: &mut impl FnMut(&mut Access, Span)) {
    for (statement, span) in block.iter_mut() {
        match statement {
            Statement::Let(value) => {
                let access = expressions[*value].access_mut();
                access.into_iter().for_each(|access| change(access, *span));
            }
            Statement::Store { access, .. } => change(access, *span),
            Statement::If { accept, reject, .. } => {
                room(|| change_accesses(accept, expressions, change));
                room(|| change_accesses(reject, expressions, change));
            }
            Statement::While { header, body, .. } => {
                room(|| change_accesses(header, expressions, change));
                room(|| change_accesses(body, expressions, change));
            }
            Statement::For { body, .. } => room(|| change_accesses(body, expressions, change)),
            Statement::Check { .. }
            | Statement::Prefetch(_)
            | Statement::GridDependency(_)
            | Statement::Print { .. }
            | Statement::Assign { .. }
            | Statement::Break
            | Statement::Continue
            | Statement::Return => {}
        }
    }
}
