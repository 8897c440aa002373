//! The bytes of a launch against those that it cannot do without.

use serde::Serialize;
use tilewright_dsl::call::{ArgumentValue, Call};
use tilewright_dsl::ir::{Block, Expression, Handle, Kernel, Statement};
use tilewright_dsl::lower::{self, Accesses, Repeats};
use tilewright_dsl::transform::AccessKind;

/// The bytes of a launch, where nothing is masked or left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Traffic {
    /// By tensor and what is done with it, in the order of the parameters.
    pub tensors: Vec<TensorTraffic>,
    /// The sum of the floors: what a launch moves that asks for no element twice.
    pub floor_bytes: u64,
    /// The sum of what tiles ask for; `None` if a loop's trips are not known.
    pub asked_bytes: Option<u64>,
    /// The sum of what threads issue, at most; `None` if a loop's trips are not known.
    pub issued_bytes: Option<u64>,
}

/// The bytes of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TensorTraffic {
    /// The tensor.
    pub tensor: String,
    /// `load`, `store` or `atomic`.
    pub kind: String,
    /// What it holds, or less if tiles ask for less.
    pub floor_bytes: u64,
    /// What the tiles of all programs ask for; `None` if a loop's trips are not known.
    pub asked_bytes: Option<u64>,
    /// What the instructions of all threads ask for, at most: caches serve what threads of a warp ask for together. `None` if a
    /// loop's trips are not known.
    pub issued_bytes: Option<u64>,
}

/// What tiles ask for of a tensor, by its position.
type Asked = (u32, AccessKind, Option<u64>);

impl Traffic {
    /// That of a launch of so many programs, in blocks with so many threads in all.
    pub(super) fn of(
        call: &Call<'_>,
        kernel: &Kernel,
        accesses: &Accesses,
        programs: u64,
        threads: Option<u64>,
    ) -> Self {
        let mut asked: Vec<Asked> = Vec::new();
        ask(kernel, &kernel.body, Some(programs), &mut asked);
        asked.sort_by_key(|(tensor, kind, _)| (*tensor, *kind));
        let tensors = asked.into_iter().map(|(position, kind, asked_bytes)| {
            let name = kernel.parameters.get(position as usize);
            let name = name.map_or_else(String::new, |parameter| parameter.name.clone());
            let held = held(call, position);
            let of_it = accesses
                .iter()
                .filter(|one| one.tensor == name && is_same(one.kind, kind));
            let issued = of_it.map(|one| match one.repeats {
                Repeats::AtMost(count) => Some(count.saturating_mul(one.bytes.into()).saturating_mul(threads?)),
                Repeats::EachTrip(_) => None,
            });
            TensorTraffic {
                floor_bytes: asked_bytes.unwrap_or(u64::MAX).min(held),
                kind: kind.to_string(),
                asked_bytes,
                issued_bytes: issued.fold(Some(0), |sum: Option<u64>, one| Some(sum?.saturating_add(one?))),
                tensor: name,
            }
        });
        let tensors: Vec<_> = tensors.collect();
        let sum = |of: fn(&TensorTraffic) -> Option<u64>| {
            let each = tensors.iter().map(of);
            each.fold(Some(0u64), |sum, one| Some(sum?.saturating_add(one?)))
        };
        Self {
            floor_bytes: sum(|one| Some(one.floor_bytes)).unwrap_or(0),
            asked_bytes: sum(|one| one.asked_bytes),
            issued_bytes: sum(|one| one.issued_bytes),
            tensors,
        }
    }
}

fn is_same(thread: lower::AccessKind, tile: AccessKind) -> bool {
    matches!(
        (thread, tile),
        (lower::AccessKind::Load, AccessKind::Load)
            | (lower::AccessKind::Store, AccessKind::Store)
            | (lower::AccessKind::Atomic, AccessKind::Atomic)
    )
}

/// Bytes that an argument holds.
fn held(call: &Call<'_>, position: u32) -> u64 {
    let of = |extents: &[u64], size: usize| {
        let elements = extents.iter().fold(1u64, |all, extent| all.saturating_mul(*extent));
        elements.saturating_mul(size as u64)
    };
    match call.arguments().get(position as usize) {
        Some(ArgumentValue::Tensor(tensor)) => of(&tensor.extents, tensor.element.size()),
        Some(ArgumentValue::List(list)) => {
            let each = list
                .tensors
                .iter()
                .map(|tensor| of(&tensor.extents, tensor.element.size()));
            each.fold(0, u64::saturating_add)
        }
        Some(ArgumentValue::Count(_) | ArgumentValue::Scalar(_)) | None => 0,
    }
}

/// What a block that runs so often asks for.
fn ask(kernel: &Kernel, block: &Block, times: Option<u64>, asked: &mut Vec<Asked>) {
    let mut add = |tensor: u32, kind, value: Handle<Expression>| {
        let elements = kernel.ty(value).shape.elements();
        let size = kernel.tensor(tensor).map_or(0, |tensor| tensor.element.size() as u64);
        let bytes = times.map(|times| elements.saturating_mul(size).saturating_mul(times));
        match asked.iter_mut().find(|(known, of, _)| (*known, *of) == (tensor, kind)) {
            Some((_, _, sum)) => *sum = sum.zip(bytes).map(|(sum, bytes)| sum.saturating_add(bytes)),
            None => asked.push((tensor, kind, bytes)),
        }
    };
    for (statement, _) in block {
        match statement {
            Statement::Let(value) => match &kernel.expressions[*value] {
                Expression::Load(access) => add(access.tensor, AccessKind::Load, *value),
                Expression::Atomic(atomic) => add(atomic.access.tensor, AccessKind::Atomic, *value),
                _ => {}
            },
            Statement::Store { access, value, .. } => add(access.tensor, AccessKind::Store, *value),
            _ => {}
        }
    }
    for (statement, _) in block {
        match statement {
            Statement::If { accept, reject, .. } => {
                ask(kernel, accept, times, asked);
                ask(kernel, reject, times, asked);
            }
            Statement::While { header, body, .. } => {
                ask(kernel, header, None, asked);
                ask(kernel, body, None, asked);
            }
            Statement::For {
                start, end, step, body, ..
            } => {
                let trips = trips(kernel, *start, *end, *step);
                ask(
                    kernel,
                    body,
                    times.zip(trips).map(|(times, trips)| times.saturating_mul(trips)),
                    asked,
                );
            }
            _ => {}
        }
    }
}

/// How often a loop runs, if that is known.
fn trips(kernel: &Kernel, start: Handle<Expression>, end: Handle<Expression>, step: i128) -> Option<u64> {
    let literal = |value: Handle<Expression>| match &kernel.expressions[value] {
        Expression::Literal(literal) => literal.as_integer(),
        _ => None,
    };
    let distance = literal(end)?.checked_sub(literal(start)?)?;
    let distance = if step < 0 { -distance } else { distance };
    u64::try_from(distance.max(0).unsigned_abs().div_ceil(step.unsigned_abs().max(1))).ok()
}
