//! Running a kernel both ways: as tiles, and as threads.

use crate::element::ElementType;
use crate::interpret::{self, HostArgument, HostMemory, HostTensor, Options};
use crate::ir::{Kernel, Layout, Literal, ParameterKind, Symbol, canonical_strides};
use crate::lower::{KernelArgument, Lowered, lower};
use crate::schedule::{LoadHint, Schedule, StoreHint};
use crate::thread::interpret::{self as thread_interpret, Fault, Memory, Outcome, Passed};
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
    /// Tensors of one element type.
    List(Vec<Argument>),
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
        wide: true,
    }
}

/// Binds the innermost extents of tensors and says how they lie: as a launch of contiguous tensors at such addresses
/// does.
pub(super) fn bind(kernel: &mut Kernel, arguments: &[Argument], pinned: bool) {
    for (position, argument) in arguments.iter().enumerate() {
        let kind = kernel.parameters.get_mut(position).map(|parameter| &mut parameter.kind);
        let Some(ParameterKind::Tensor(parameter)) = kind else {
            continue;
        };
        parameter.layout = Layout::Contiguous;
        // Of a list the elements are all that is known.
        let Argument::Tensor { extents, offset, .. } = argument else {
            continue;
        };
        let tensor = position as u32;
        let power = 1u32 << offset.trailing_zeros().min(8);
        parameter.alignment = power.min(16).max(parameter.element.size() as u32);
        let axis = extents.len() as u8 - 1;
        if pinned && axis > 0 {
            let extent = extents[axis as usize] as i64;
            kernel.bindings.exact.push((Symbol::Extent { tensor, axis }, extent));
        }
    }
    kernel.bindings.exact.sort();
}

impl Argument {
    fn axes(&self) -> (&[u64], &[i64]) {
        match self {
            Self::Tensor { extents, strides, .. } => (extents, strides),
            other => panic!("{other:?} is no tensor"),
        }
    }

    fn elements(&self) -> u64 {
        self.axes().0.iter().product()
    }

    fn value_of(&self, symbol: Symbol) -> i64 {
        match (self, symbol) {
            (Self::List(tensors), Symbol::Extent { axis: 0, .. }) => tensors.len() as i64,
            (Self::List(tensors), Symbol::Extent { axis, .. }) => {
                let extents = tensors.iter().map(|tensor| tensor.axes().0[axis as usize - 1]);
                extents.max().unwrap_or(0) as i64
            }
            (Self::Count(count), Symbol::Count(_)) => *count,
            (tensor, Symbol::Extent { axis, .. }) => tensor.axes().0[axis as usize] as i64,
            (tensor, Symbol::Stride { axis, .. }) => tensor.axes().1[axis as usize],
            other => panic!("{other:?}"),
        }
    }

    /// The tensors in it.
    fn tensors(&self) -> &[Argument] {
        match self {
            Self::Tensor { .. } => std::slice::from_ref(self),
            Self::List(tensors) => tensors,
            Self::Count(_) | Self::Scalar(_) => &[],
        }
    }

    fn bytes(&self) -> (&[u8], u64) {
        match self {
            Self::Tensor { bytes, offset, .. } => (bytes, *offset),
            other => panic!("{other:?} is no tensor"),
        }
    }
}

/// The grid, and the bytes of every tensor afterwards, as the tile interpreter has them.
fn as_tiles(kernel: &Kernel, arguments: &[Argument]) -> ([u64; 3], Vec<Vec<u8>>) {
    let (grid, bytes) = run_as_tiles(kernel, arguments);
    (grid.unwrap(), bytes)
}

/// The grid, or what was reported, and the bytes of every tensor afterwards, as the tile interpreter has them.
pub(super) fn run_as_tiles(
    kernel: &Kernel,
    arguments: &[Argument],
) -> (Result<[u64; 3], interpret::InterpretError>, Vec<Vec<u8>>) {
    let tensors = arguments.iter().flat_map(|argument| argument.tensors());
    let memories: Vec<HostMemory> = tensors
        .map(|tensor| HostMemory::from_bytes(tensor.bytes().0).unwrap())
        .collect();
    let mut left = memories.iter();
    let mut tensor = |argument: &Argument| {
        let (extents, strides) = argument.axes();
        HostTensor {
            memory: left.next().unwrap(),
            offset: 0,
            extents: extents.iter().copied().collect(),
            strides: strides.iter().copied().collect(),
        }
    };
    let passed: Vec<HostArgument<'_>> = arguments
        .iter()
        .map(|argument| match argument {
            Argument::Tensor { .. } => HostArgument::Tensor(tensor(argument)),
            Argument::List(tensors) => HostArgument::List(tensors.iter().map(&mut tensor).collect()),
            Argument::Count(count) => HostArgument::Count(*count),
            Argument::Scalar(literal) => HostArgument::Scalar(*literal),
        })
        .collect();
    let outcome = interpret::run(kernel, &passed, &Options::default());
    let all = |memory: &HostMemory| (0..memory.len()).map(|at| memory.get(at, 1).unwrap() as u8).collect();
    (outcome.map(|outcome| outcome.grid), memories.iter().map(all).collect())
}

/// Lowers a kernel; what becomes of it is verified and printed.
pub(super) fn lowered(kernel: &Kernel, schedule: &Schedule) -> Lowered {
    let lowered = lower(kernel, schedule).unwrap_or_else(|error| panic!("{error}"));
    if let Err(fault) = verify(&lowered.kernel) {
        panic!("{fault}\n{}", lowered.kernel);
    }
    super::ptx::check(&lowered.kernel);
    lowered
}

/// Lowers a kernel and runs it; returns it, what it had to say, and the bytes of every tensor afterwards.
pub(super) fn lowered_and_run(
    kernel: &Kernel,
    schedule: &Schedule,
    arguments: &[Argument],
    grid: [u64; 3],
) -> (Lowered, Outcome, Vec<Vec<u8>>) {
    let lowered = self::lowered(kernel, schedule);
    let (outcome, bytes) = launched(&lowered, arguments, grid);
    let outcome = outcome.unwrap_or_else(|fault| panic!("{fault}\n{}", lowered.kernel));
    (lowered, outcome, bytes)
}

/// Runs a lowered kernel; returns what it had to say, and the bytes of every tensor afterwards.
pub(super) fn launched(
    lowered: &Lowered,
    arguments: &[Argument],
    grid: [u64; 3],
) -> (Result<Outcome, Fault>, Vec<Vec<u8>>) {
    let mut memory = Memory::new();
    let place = |memory: &mut Memory, tensor: &Argument| {
        let (bytes, offset) = tensor.bytes();
        memory.allocate(bytes.to_vec(), offset)
    };
    let mut addresses: Vec<Vec<u64>> = Vec::new();
    for argument in arguments {
        addresses.push(
            argument
                .tensors()
                .iter()
                .map(|tensor| place(&mut memory, tensor))
                .collect(),
        );
    }
    let record = memory.allocate(vec![0; 48], 0);
    let mut passed = Vec::new();
    for argument in &lowered.arguments {
        passed.push(match *argument {
            KernelArgument::Pointer(position) => Passed::Pointer(addresses[position as usize][0]),
            KernelArgument::Table(position) => {
                let table = table(&arguments[position as usize], &addresses[position as usize]);
                Passed::Pointer(memory.allocate(table, 0))
            }
            KernelArgument::Entries { list, .. } => {
                Passed::Bytes(table(&arguments[list as usize], &addresses[list as usize]))
            }
            KernelArgument::Symbol(Symbol::NumPrograms(axis)) => Passed::Scalar(grid[axis as usize]),
            KernelArgument::Symbol(symbol) => {
                let position = match symbol {
                    Symbol::Extent { tensor, .. } | Symbol::Stride { tensor, .. } => tensor,
                    Symbol::Count(position) => position,
                    Symbol::ProgramId(_) | Symbol::NumPrograms(_) => panic!("{symbol:?}"),
                };
                Passed::Scalar(arguments[position as usize].value_of(symbol) as u64)
            }
            KernelArgument::Scalar(position) => match &arguments[position as usize] {
                Argument::Scalar(literal) => Passed::Scalar(literal.bits),
                other => panic!("{other:?} is no scalar"),
            },
            KernelArgument::Trap => Passed::Pointer(record),
            KernelArgument::Marks { tensor, words } => {
                let tensors = arguments[tensor as usize].tensors().iter();
                let elements: u64 = tensors.map(Argument::elements).sum();
                Passed::Pointer(memory.allocate(vec![0; (elements * 8) as usize * words as usize], 0))
            }
            other => panic!("{other:?}"),
        });
    }
    let blocks = lowered.blocks(grid.iter().product()).unwrap();
    let outcome = thread_interpret::run(&lowered.kernel, blocks, &passed, &mut memory);
    let bytes = addresses
        .iter()
        .flatten()
        .map(|address| memory.bytes(*address).to_vec())
        .collect();
    (outcome, bytes)
}

/// A list's table: an entry for each of its tensors.
fn table(list: &Argument, addresses: &[u64]) -> Vec<u8> {
    let (mut words, mut before) = (Vec::new(), 0);
    for (tensor, address) in list.tensors().iter().zip(addresses) {
        let (extents, strides) = tensor.axes();
        words.extend([*address, before]);
        words.extend(extents);
        words.extend(strides.iter().map(|stride| *stride as u64));
        before += tensor.elements();
    }
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// Lowers a kernel that reports nothing, and runs it both ways; returns it as threads have it.
pub(super) fn check(kernel: &Kernel, schedule: &Schedule, arguments: &[Argument]) -> Lowered {
    checked(kernel, schedule, arguments).0
}

/// The same, and what it had to say.
pub(super) fn checked(kernel: &Kernel, schedule: &Schedule, arguments: &[Argument]) -> (Lowered, Outcome) {
    let (grid, tiles) = as_tiles(kernel, arguments);
    let (lowered, outcome, threads) = lowered_and_run(kernel, schedule, arguments, grid);
    for (position, (tiles, threads)) in tiles.iter().zip(&threads).enumerate() {
        let first = tiles.iter().zip(threads).position(|(one, other)| one != other);
        assert_eq!(first, None, "tensor {position}, {schedule}\n{}", lowered.kernel);
    }
    assert_eq!(outcome.reports, [], "{schedule}\n{}", lowered.kernel);
    (lowered, outcome)
}
