//! The bytes of a launch against those that it cannot do without.

use serde::Serialize;
use tilewright_dsl::call::{ArgumentValue, Call};
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::lower::{Accesses, Asked, Repeats, asked};

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

impl Traffic {
    /// That of a launch of so many programs, in blocks with so many threads in all.
    pub(super) fn of(
        call: &Call<'_>,
        kernel: &Kernel,
        accesses: &Accesses,
        programs: u64,
        threads: Option<u64>,
    ) -> Self {
        let mut asked = asked(kernel);
        asked.sort_by_key(|one| (one.tensor, one.kind));
        let tensors = asked.into_iter().map(
            |Asked {
                 tensor: position,
                 kind,
                 bytes,
             }| {
                let name = kernel.parameters.get(position as usize);
                let name = name.map_or_else(String::new, |parameter| parameter.name.clone());
                let asked_bytes = bytes.map(|bytes| bytes.saturating_mul(programs));
                let held = held(call, position);
                let of_it = accesses.iter().filter(|one| one.tensor == name && one.kind == kind);
                let issued = of_it.map(|one| match one.repeats {
                    Repeats::AtMost(count) => Some(count.saturating_mul(one.bytes.into()).saturating_mul(threads?)),
                    Repeats::EachTrip(_) => None,
                });
                TensorTraffic {
                    floor_bytes: asked_bytes.unwrap_or(u64::MAX).min(held),
                    kind: kind.to_string(),
                    asked_bytes,
                    issued_bytes: sum(issued),
                    tensor: name,
                }
            },
        );
        let tensors: Vec<_> = tensors.collect();
        let each = |of: fn(&TensorTraffic) -> Option<u64>| sum(tensors.iter().map(of));
        Self {
            floor_bytes: each(|one| Some(one.floor_bytes)).unwrap_or(0),
            asked_bytes: each(|one| one.asked_bytes),
            issued_bytes: each(|one| one.issued_bytes),
            tensors,
        }
    }
}

/// The sum, if all are known.
fn sum(mut bytes: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    bytes.try_fold(0u64, |sum, one| Some(sum.saturating_add(one?)))
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
