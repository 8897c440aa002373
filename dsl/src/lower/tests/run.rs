//! Running a kernel both ways: as tiles, and as threads.

use crate::element::ElementType;
use crate::interpret::{self, HostArgument, HostMemory, HostTensor, Options};
use crate::ir::{Kernel, Layout, Literal, Symbol, canonical_strides};
use crate::lower::{KernelArgument, Lowered, lower};
use crate::schedule::{LoadHint, Schedule, StoreHint};
use crate::thread::interpret::{Memory, Passed};
use crate::thread::verify::verify;

/// What is passed for a parameter.
#[derive(Debug, Clone)]
pub(super) enum Argument {
    /// A tensor of these bytes, as many bytes behind a multiple of 256.
    Tensor {
        extents: Vec<u64>,
        strides: Vec<i64>,
        bytes: Vec<u8>,
        offset: u64,
    },
    Count(i64),
    Scalar(Literal),
}

impl Argument {
    /// A row-major tensor without gaps whose bytes count up, or are what `of` gives for each element.
    pub(super) fn tensor(element: ElementType, extents: &[u64], offset: u64, of: impl Fn(u64) -> u64) -> Self {
        let count: u64 = extents.iter().product();
        let size = element.size();
        let bytes = (0..count)
            .flat_map(|at| of(at).to_le_bytes()[..size].to_vec())
            .collect();
        let mut strides = vec![1; extents.len()];
        for axis in (1..extents.len()).rev() {
            strides[axis - 1] = strides[axis] * extents[axis] as i64;
        }
        canonical_strides(extents, &mut strides);
        Self::Tensor {
            extents: extents.to_vec(),
            strides,
            bytes,
            offset,
        }
    }
}

/// A schedule of so many threads.
pub(super) fn schedule(threads: u32, unroll: u32) -> Schedule {
    Schedule {
        threads,
        programs_per_block: 1,
        splits: 1,
        unroll,
        load: LoadHint::Streaming,
        store: StoreHint::Streaming,
    }
}

/// Binds the innermost extents of tensors and says how they lie: as a launch of contiguous tensors at such addresses does.
pub(super) fn bind(kernel: &mut Kernel, arguments: &[Argument], pinned: bool) {
    for (position, argument) in arguments.iter().enumerate() {
        let Argument::Tensor { extents, offset, .. } = argument else {
            continue;
        };
        let tensor = position as u32;
        let Some(crate::ir::ParameterKind::Tensor(parameter)) =
            kernel.parameters.get_mut(position).map(|parameter| &mut parameter.kind)
        else {
            continue;
        };
        parameter.layout = Layout::Contiguous;
        parameter.alignment = (1u32 << offset.trailing_zeros().min(8))
            .min(16)
            .max(parameter.element.size() as u32);
        let axis = extents.len() as u8 - 1;
        if pinned && axis > 0 {
            kernel
                .bindings
                .exact
                .push((Symbol::Extent { tensor, axis }, extents[axis as usize] as i64));
        }
    }
    kernel.bindings.exact.sort();
}

fn value_of(arguments: &[Argument], grid: [u64; 3], symbol: Symbol) -> i64 {
    let tensor = |position: u32| match &arguments[position as usize] {
        Argument::Tensor { extents, strides, .. } => (extents.clone(), strides.clone()),
        other => panic!("{other:?} is no tensor"),
    };
    match symbol {
        Symbol::ProgramId(_) => panic!("no argument"),
        Symbol::NumPrograms(axis) => grid[axis as usize] as i64,
        Symbol::Extent { tensor: position, axis } => tensor(position).0[axis as usize] as i64,
        Symbol::Stride { tensor: position, axis } => tensor(position).1[axis as usize],
        Symbol::Count(position) => match &arguments[position as usize] {
            Argument::Count(count) => *count,
            other => panic!("{other:?} is no count"),
        },
    }
}

/// The bytes of every tensor afterwards, as the tile interpreter has them.
fn as_tiles(kernel: &Kernel, arguments: &[Argument]) -> ([u64; 3], Vec<Vec<u8>>) {
    let memories: Vec<HostMemory> = arguments
        .iter()
        .map(|argument| match argument {
            Argument::Tensor { bytes, .. } => HostMemory::from_bytes(bytes).unwrap(),
            _ => HostMemory::from_bytes(&[]).unwrap(),
        })
        .collect();
    let passed: Vec<HostArgument<'_>> = arguments
        .iter()
        .zip(&memories)
        .map(|(argument, memory)| match argument {
            Argument::Tensor { extents, strides, .. } => HostArgument::Tensor(HostTensor {
                memory,
                offset: 0,
                extents: extents.iter().copied().collect(),
                strides: strides.iter().copied().collect(),
            }),
            Argument::Count(count) => HostArgument::Count(*count),
            Argument::Scalar(literal) => HostArgument::Scalar(*literal),
        })
        .collect();
    let outcome = interpret::run(kernel, &passed, &Options::default()).unwrap();
    let bytes = memories
        .iter()
        .map(|memory| (0..memory.len()).map(|at| memory.get(at, 1).unwrap() as u8).collect());
    (outcome.grid, bytes.collect())
}

/// The bytes of every tensor afterwards, as the threads leave them.
fn as_threads(lowered: &Lowered, schedule: &Schedule, arguments: &[Argument], grid: [u64; 3]) -> Vec<Vec<u8>> {
    let mut memory = Memory::new();
    let addresses: Vec<u64> = arguments
        .iter()
        .map(|argument| match argument {
            Argument::Tensor { bytes, offset, .. } => memory.allocate(bytes.clone(), *offset),
            _ => 0,
        })
        .collect();
    let passed: Vec<Passed> = lowered
        .arguments
        .iter()
        .map(|argument| match argument {
            KernelArgument::Pointer(position) => Passed::Pointer(addresses[*position as usize]),
            KernelArgument::Symbol(symbol) => Passed::Scalar(value_of(arguments, grid, *symbol) as u64),
            KernelArgument::Scalar(position) => match &arguments[*position as usize] {
                Argument::Scalar(literal) => Passed::Scalar(literal.bits),
                other => panic!("{other:?} is no scalar"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    let blocks = schedule.blocks(grid.iter().product()).unwrap();
    let outcome = crate::thread::interpret::run(&lowered.kernel, blocks, &passed, &mut memory);
    outcome.unwrap_or_else(|fault| panic!("{fault}\n{}", lowered.kernel));
    addresses
        .iter()
        .map(|address| memory.bytes(*address).to_vec())
        .collect()
}

/// Lowers a kernel and runs it both ways; returns it as threads have it.
pub(super) fn check(kernel: &Kernel, schedule: &Schedule, arguments: &[Argument]) -> Lowered {
    let lowered = lower(kernel, schedule).unwrap_or_else(|error| panic!("{error}"));
    if let Err(fault) = verify(&lowered.kernel) {
        panic!("{fault}\n{}", lowered.kernel);
    }
    super::ptx::check(&lowered.kernel);
    let (grid, tiles) = as_tiles(kernel, arguments);
    let threads = as_threads(&lowered, schedule, arguments, grid);
    for (position, (tiles, threads)) in tiles.iter().zip(&threads).enumerate() {
        let first = tiles.iter().zip(threads).position(|(one, other)| one != other);
        assert_eq!(first, None, "argument {position}, {schedule}\n{}", lowered.kernel);
    }
    lowered
}
