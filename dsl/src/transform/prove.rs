//! Removing the bounds checks that are proved to pass, and the conditions that are proved to hold or fail.

use std::collections::HashSet;
use std::fmt;

use super::bind;
use crate::analysis::range::Ranges;
use crate::ir::{Access, Block, Bounds, Expression, Guard, Handle, Kernel, Literal, Span, Statement, Symbol};
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
    /// The host has checked that it is in this launch.
    Host,
    /// The kernel checks it.
    Guard,
    /// The author has promised it.
    Author,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            AccessKind::Load => "load",
            AccessKind::Store => "store",
            AccessKind::Atomic => "atomic",
        };
        write!(f, "{kind} {}[", self.tensor)?;
        for (axis, by) in self.axes.iter().enumerate() {
            let word = match by {
                ProvedBy::Proof => "proved",
                ProvedBy::Host => "host-checked",
                ProvedBy::Guard => "guarded",
                ProvedBy::Author => "unchecked",
            };
            write!(f, "{}{word}", if axis == 0 { "" } else { ", " })?;
        }
        write!(f, "] at {}", self.span)
    }
}

/// Removes every bounds check that holds for all launches, or for one whose symbols have the values `known`, and tells
/// what became of each access, in the order of the text. Comparisons that extents and exact counts decide are folded.
pub fn prove(kernel: Kernel, known: &[(Symbol, i64)]) -> (Kernel, Vec<Proof>) {
    let kernel = decide(kernel, known);
    let always = guards(&kernel, &[]);
    let here = if known.is_empty() {
        always.clone()
    } else {
        guards(&kernel, known)
    };
    let proofs = always
        .iter()
        .zip(&here)
        .map(|(always, here)| {
            let access = &here.access;
            let axes = (0..access.guards.len()).map(|axis| match access.bounds {
                Bounds::Unchecked => ProvedBy::Author,
                _ if !always.access.guards[axis].any() => ProvedBy::Proof,
                _ if !access.guards[axis].any() => ProvedBy::Host,
                _ => ProvedBy::Guard,
            });
            Proof {
                kind: kind(&kernel, here.value),
                tensor: kernel.parameters[access.tensor as usize].name.clone(),
                span: here.span,
                axes: axes.collect(),
            }
        })
        .collect();
    (apply(kernel, here), proofs)
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
    Ranges::new(kernel, &[]).walk(&kernel.body, &mut visit);
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
        prove(self.clone(), &[]).1
    }
}

/// Folds the scalar comparisons with only one possible result. Of counts bound at run time, and of grids that follow from
/// them, nothing is used: a variant made for one of their values would not serve the next.
fn decide(mut kernel: Kernel, known: &[(Symbol, i64)]) -> Kernel {
    let lasting = |(symbol, _): &&(Symbol, i64)| matches!(symbol, Symbol::Extent { .. } | Symbol::Stride { .. });
    let lasting: Vec<_> = known.iter().filter(lasting).copied().collect();
    let mut decided = Vec::new();
    let mut visit = |ranges: &Ranges<'_>, statement: &Statement, _: Span| {
        if let Statement::Let(value) = statement
            && let Expression::Compare { op, left, right } = kernel.expressions[*value]
            && kernel.ty(left).is_scalar()
            && kernel.ty(left).element.is_integer()
            && let Some(truth) = ranges.decide(op, left, right)
        {
            decided.push((*value, truth));
        }
    };
    Ranges::new(&kernel, &lasting).walk(&kernel.body, &mut visit);
    if decided.is_empty() {
        return kernel;
    }
    for (value, truth) in decided {
        kernel.expressions[value] = Expression::Literal(Literal::new(truth));
    }
    bind(&kernel, &kernel.bindings)
}

/// An access with the checks that it still needs.
#[derive(Clone)]
struct Guarded {
    access: Access,
    span: Span,
    /// The load or atomic operation, or none for a store.
    value: Option<Handle<Expression>>,
}

fn guards(kernel: &Kernel, known: &[(Symbol, i64)]) -> Vec<Guarded> {
    let mut found = Vec::new();
    let mut visit = |ranges: &Ranges<'_>, statement: &Statement, span: Span| {
        let (access, value) = match statement {
            Statement::Let(value) => match kernel.expressions[*value].access() {
                Some(access) => (access, Some(*value)),
                None => return,
            },
            Statement::Store { access, .. } => (access, None),
            _ => return,
        };
        let mut access = access.clone();
        for axis in 0..access.indices.len() {
            let guard = access.guards[axis];
            access.guards[axis] = Guard {
                lower: guard.lower && !ranges.is_non_negative(access.indices[axis]),
                upper: guard.upper && !ranges.is_below_extent(&access, axis),
            };
        }
        found.push(Guarded { access, span, value });
    };
    Ranges::new(kernel, known).walk(&kernel.body, &mut visit);
    found
}

fn apply(mut kernel: Kernel, found: Vec<Guarded>) -> Kernel {
    let mut stores = Vec::new();
    for guarded in found {
        match guarded.value {
            Some(value) => {
                let node = &mut kernel.expressions[value];
                node.access_mut()
                    .into_iter()
                    .for_each(|access| *access = guarded.access.clone());
            }
            None => stores.push(guarded.access),
        }
    }
    let mut body = std::mem::take(&mut kernel.body);
    replace_stores(&mut body, &mut stores.into_iter());
    kernel.body = body;
    kernel
}

fn replace_stores(block: &mut Block, stores: &mut impl Iterator<Item = Access>) {
    for (statement, _) in block.iter_mut() {
        match statement {
            Statement::Store { access, .. } => {
                if let Some(proved) = stores.next() {
                    *access = proved;
                }
            }
            Statement::If { accept, reject, .. } => {
                room(|| replace_stores(accept, stores));
                room(|| replace_stores(reject, stores));
            }
            Statement::While { header, body, .. } => {
                room(|| replace_stores(header, stores));
                room(|| replace_stores(body, stores));
            }
            Statement::For { body, .. } => room(|| replace_stores(body, stores)),
            Statement::Let(_)
            | Statement::Check { .. }
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
