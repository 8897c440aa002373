//! Which recording of a kernel serves a launch.
//!
//! A recording depends on the facts about its parameters, and on the extents that shaped a tile, which it lists. Every
//! launch with the same facts that agrees on those extents is served by it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tilewright_dsl::call::{ArgumentValue, Call, TensorArgument, Traced};
use tilewright_dsl::ir::{Parameter, ParameterKind, TensorParameter};

use super::key::Key;
use crate::arguments::{differing, has_pinned, trace_request};
use crate::counters::Tally;
use crate::error::LaunchError;

/// How many recordings are kept: a count that shapes a tile has one for each of its values. When there are more, all are
/// forgotten; classes keep those that they were made of.
const MAX_RECORDINGS: usize = 1 << 12;

/// The recordings made for a device.
#[derive(Default)]
pub(super) struct Recordings(RwLock<HashMap<Key, Vec<Arc<Traced>>>>);

impl Recordings {
    /// The recording that serves a call; made now if there is none.
    pub(super) fn serve(&self, call: &Call<'_>, tally: &Tally) -> Result<Arc<Traced>, LaunchError> {
        let key = Key::of_facts(call);
        if let Some(traced) = self.0.read().get(&key).and_then(|made| find(made, call)) {
            check_shared(call, &traced.kernel.parameters)?;
            return Ok(traced);
        }
        // Two threads may both record it; the first one's is kept.
        let traced = Arc::new(call.definition().trace(&trace_request(call))?);
        check_parameters(call, &traced.kernel.parameters)?;
        check_shared(call, &traced.kernel.parameters)?;
        // A recording of this launch agrees with it; IR from elsewhere may not.
        if find(std::slice::from_ref(&traced), call).is_none() {
            let reason = "it was made for tensors of other extents, or exact counts of other values".to_owned();
            let kernel = call.definition().name();
            return Err(LaunchError::WrongArguments { kernel, reason });
        }
        let mut all = self.0.write();
        if all.values().map(Vec::len).sum::<usize>() >= MAX_RECORDINGS {
            all.clear();
        }
        let made = all.entry(key).or_default();
        if let Some(traced) = find(made, call) {
            return Ok(traced);
        }
        Tally::add(&tally.traces);
        made.push(traced.clone());
        Ok(traced)
    }
}

fn find(made: &[Arc<Traced>], call: &Call<'_>) -> Option<Arc<Traced>> {
    let serves = |traced: &&Arc<Traced>| traced.pinned.iter().all(|&pinned| has_pinned(call, pinned));
    made.iter().find(serves).cloned()
}

fn fits(argument: &TensorArgument<'_>, tensor: &TensorParameter, rank: usize) -> bool {
    argument.element == tensor.element
        && argument.extents.len() == rank
        && argument.strides.len() == rank
        && argument.mutable == tensor.mutable
}

/// Checks that tensors of lists agree where the kernel says that they do.
pub(super) fn check_shared(call: &Call<'_>, parameters: &[Parameter]) -> Result<(), LaunchError> {
    for (argument, parameter) in call.arguments().iter().zip(parameters) {
        let (ArgumentValue::List(list), ParameterKind::Tensor(TensorParameter { list: Some(facts), .. })) =
            (argument, &parameter.kind)
        else {
            continue;
        };
        for axis in (0..list.rank).filter(|axis| facts.shared.get(axis + 1) == Some(&true)) {
            if let Some(tensors) = differing(list, axis) {
                return Err(LaunchError::TensorsDiffer {
                    kernel: call.definition().name(),
                    parameter: parameter.name.clone(),
                    axis,
                    tensors,
                    extents: tensors.map(|tensor| list.tensors[tensor].extents[axis]),
                });
            }
        }
    }
    Ok(())
}

/// The expansion of `#[kernel]` makes arguments that fit; a call made by hand may not.
fn check_parameters(call: &Call<'_>, parameters: &[Parameter]) -> Result<(), LaunchError> {
    let kernel = call.definition().name();
    let arguments = call.arguments();
    if arguments.len() != parameters.len() {
        let reason = format!("{} arguments for {} parameters", arguments.len(), parameters.len());
        return Err(LaunchError::WrongArguments { kernel, reason });
    }
    for (argument, parameter) in arguments.iter().zip(parameters) {
        let fits = match (argument, &parameter.kind) {
            (ArgumentValue::Tensor(argument), ParameterKind::Tensor(tensor)) => {
                tensor.list.is_none() && fits(argument, tensor, usize::from(tensor.rank))
            }
            (ArgumentValue::List(argument), ParameterKind::Tensor(tensor)) => {
                tensor.list.is_some()
                    && argument.element == tensor.element
                    && argument.rank + 1 == usize::from(tensor.rank)
                    && argument.mutable == tensor.mutable
                    && argument.tensors.iter().all(|one| fits(one, tensor, argument.rank))
            }
            (ArgumentValue::Count(_), ParameterKind::Count) => true,
            (ArgumentValue::Scalar(literal), ParameterKind::Scalar(element)) => literal.element == *element,
            _ => false,
        };
        if !fits {
            let reason = format!("`{}` is of another type, rank or mutability", parameter.name);
            return Err(LaunchError::WrongArguments { kernel, reason });
        }
    }
    Ok(())
}
