//! How many bytes a program's tiles ask for.

use super::AccessKind;
use crate::ir::{Block, Expression, Handle, Kernel, Statement};
use crate::stack::room;

/// What the tiles of a program ask for of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The position of the parameter.
    pub tensor: u32,
    /// What is done.
    pub kind: AccessKind,
    /// Bytes, where nothing is masked and of two branches the longer one is taken; `None` if a loop's trips are not known.
    pub bytes: Option<u64>,
}

/// What the tiles of a program ask for: each element as often as a tile has it.
///
/// ```
/// use tilewright_dsl::call::{ParameterFacts, TensorFacts, TraceRequest};
/// use tilewright_dsl::lower::asked;
/// use tilewright_dsl::{kernel, lang::*};
///
/// #[kernel(grid = [out.extent(0)])]
/// fn copy(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>) {
///     let (row, cols) = (program_id(0), arange(out.extent(1)));
///     out.store([row, cols], src.load([row, cols]));
/// }
///
/// let tensor = || ParameterFacts::Tensor(TensorFacts::contiguous(&[3, 100]));
/// let parameters = vec![tensor(), tensor()];
/// let kernel = copy::definition().trace(&TraceRequest { parameters })?.kernel;
/// let bytes: Vec<_> = asked(&kernel).iter().map(|one| one.bytes).collect();
/// assert_eq!(bytes, [Some(400), Some(400)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn asked(kernel: &Kernel) -> Vec<Asked> {
    let mut asked = Vec::new();
    ask(kernel, &kernel.body, Some(1), &mut asked);
    asked
}

/// Adds what is asked for to what is known of the same tensor.
fn merge(asked: &mut Vec<Asked>, one: Asked, join: fn(u64, u64) -> u64) {
    let key = |one: &Asked| (one.tensor, one.kind);
    match asked.iter_mut().find(|known| key(known) == key(&one)) {
        Some(known) => known.bytes = known.bytes.zip(one.bytes).map(|(known, more)| join(known, more)),
        None => asked.push(one),
    }
}

/// What a block that runs so often asks for, at most.
fn ask(kernel: &Kernel, block: &Block, times: Option<u64>, asked: &mut Vec<Asked>) {
    for (statement, _) in block {
        room(|| ask_one(kernel, statement, times, asked));
    }
}

fn ask_one(kernel: &Kernel, statement: &Statement, times: Option<u64>, asked: &mut Vec<Asked>) {
    let mut add = |tensor: u32, kind, value: Handle<Expression>| {
        let elements = kernel.ty(value).shape.elements();
        let size = kernel.tensor(tensor).map_or(0, |tensor| tensor.element.size() as u64);
        let bytes = times.map(|times| elements.saturating_mul(size).saturating_mul(times));
        merge(asked, Asked { tensor, kind, bytes }, u64::saturating_add);
    };
    match statement {
        Statement::Let(value) => match &kernel.expressions[*value] {
            Expression::Load(access) => add(access.tensor, AccessKind::Load, *value),
            Expression::Atomic(atomic) => add(atomic.access.tensor, AccessKind::Atomic, *value),
            _ => {}
        },
        Statement::Store { access, value, .. } => add(access.tensor, AccessKind::Store, *value),
        // A program does one of the two.
        Statement::If { accept, reject, .. } => {
            let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
            ask(kernel, accept, times, &mut accepted);
            ask(kernel, reject, times, &mut rejected);
            rejected.into_iter().for_each(|one| merge(&mut accepted, one, u64::max));
            accepted
                .into_iter()
                .for_each(|one| merge(asked, one, u64::saturating_add));
        }
        Statement::While { header, body, .. } => {
            ask(kernel, header, None, asked);
            ask(kernel, body, None, asked);
        }
        Statement::For {
            start, end, step, body, ..
        } => {
            let trips = trips(kernel, *start, *end, *step);
            let times = times.zip(trips).map(|(times, trips)| times.saturating_mul(trips));
            ask(kernel, body, times, asked);
        }
        _ => {}
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
