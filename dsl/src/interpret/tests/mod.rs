//! Kernels built by hand and what running them does.

mod arguments;
mod bounds;
mod conflicts;
mod control;
mod lists;
mod mangled;
mod movement;
mod numbers;
mod tiles;

use super::*;
use crate::element::{Element, ElementType};
use crate::ir::verify::build::Builder;
use crate::ir::{Kernel, Literal, Shape, Span};

/// Memory that holds `values`.
fn memory<T: Element>(values: &[T]) -> HostMemory {
    let size = T::TYPE.size();
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_bits64().to_le_bytes()[..size].to_vec())
        .collect();
    HostMemory::from_bytes(&bytes).unwrap()
}

/// All elements of a memory.
fn values<T: Element>(memory: &HostMemory) -> Vec<T> {
    let size = T::TYPE.size();
    (0..memory.len() / size as u64)
        .map(|i| T::from_bits64(memory.get(i * size as u64, size).unwrap()))
        .collect()
}

/// A tensor that is the whole of a memory of `T`, of rank 1.
fn whole<T: Element>(memory: &HostMemory) -> HostArgument<'_> {
    HostArgument::contiguous(memory, &[memory.len() / T::TYPE.size() as u64])
}

fn strided<'a>(memory: &'a HostMemory, offset: u64, extents: &[u64], strides: &[i64]) -> HostArgument<'a> {
    HostArgument::Tensor(HostTensor {
        memory,
        offset,
        extents: extents.iter().copied().collect(),
        strides: strides.iter().copied().collect(),
    })
}

fn run_default(kernel: &Kernel, arguments: &[HostArgument<'_>]) -> Result<Outcome, InterpretError> {
    run(kernel, arguments, &Options::default())
}

/// The place of line `line` of the imagined source.
fn line(line: u32) -> Span {
    Span {
        file: "kernel.rs",
        line,
        column: 5,
    }
}
