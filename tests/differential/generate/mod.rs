//! Random kernels with launches of them, from a seed.
//!
//! * `table` lists the operations; a new operation of the language is a row there;
//! * `values`, `tiles` and `collectives` make expressions;
//! * `accesses`, `effects` and `statements` make loads and stores, what else does something, and control flow;
//! * `tensors` makes arguments; `plant` makes accesses that may be races;
//! * `builder` puts it together.

mod accesses;
mod builder;
mod collectives;
mod effects;
mod lists;
pub mod plant;
mod requirements;
mod statements;
mod table;
mod tensors;
mod tiles;
mod values;

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{
    Access, AtomicOp, BinaryOp, Bounds, Expression, Guard, Kernel, Layout, ParameterKind, Shape, Statement, Symbol,
    TensorParameter, Type,
};

use self::builder::{Builder, Value};
use self::statements::Around;
pub use self::values::literal;
use crate::case::{Argument, Case, Count};

/// Extents of tiles: most are no powers of two.
const EXTENTS: [u32; 20] = [
    1, 2, 3, 5, 8, 16, 31, 32, 33, 64, 100, 127, 129, 255, 576, 1000, 1024, 2048, 4097, 5000,
];

/// Elements that all programs of a kernel compute in one operation, at most.
const WORK: u64 = 12_000;

/// A tensor that is written.
#[derive(Clone)]
pub struct Destination {
    tensor: u32,
    /// What each program owns of the outermost axis.
    block: u64,
    /// Whether the tensor holds what every program owns.
    is_whole: bool,
}

pub struct Generator {
    rng: fastrand::Rng,
    b: Builder,
    arguments: Vec<Argument>,
    /// The shapes of this kernel's tiles, which broadcast and reshape to each other.
    shapes: Vec<Shape>,
    /// The element types of this kernel.
    elements: Vec<ElementType>,
    destinations: Vec<Destination>,
    sources: Vec<u32>,
    /// Where the last store went.
    last: Option<(Access, Type)>,
    /// Parameters that are lists.
    lists: Vec<u32>,
    /// Destinations with a store that promises to meet no other.
    disjoint: Vec<u32>,
    /// A tensor to which all programs scatter, the last of which wins.
    scattered: Option<u32>,
    /// Tensors that all programs change atomically, each in one way whose order does not matter.
    counters: Vec<(u32, AtomicOp)>,
    /// Elements of the largest tile.
    room: u64,
    /// A source of indices, some of which are out of range.
    indices: u32,
    /// A source of indices that all differ.
    permutation: u32,
    /// The most programs on each axis of the grid.
    bounds: Vec<u64>,
    /// The number of the program.
    program: Value,
    grid_on_device: bool,
    /// Whether accesses may have the policy to trap.
    traps: bool,
    /// Statements that may still be made.
    budget: u32,
    ulps: u64,
}

/// How large kernels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A few statements over small tiles.
    Small,
    Full,
}

/// The case of this seed.
pub fn case(seed: u64, size: Size) -> Case {
    let mut generator = Generator::new(seed, size);
    generator.signature(size);
    generator.body();
    generator.requirements(&mut fastrand::Rng::with_seed(seed ^ 0x4e9));
    let Generator {
        mut rng,
        b,
        arguments,
        ulps,
        ..
    } = generator;
    let mut kernel = b.finish();
    kernel.reports = rng.u8(..12) == 0;
    let mut pinned = Vec::new();
    for (tensor, argument) in (0u32..).zip(&arguments) {
        let Argument::Tensor(argument) = argument else { continue };
        let axes = (0..argument.extents.len() as u8).filter(|_| rng.u8(..4) == 0);
        pinned.extend(axes.map(|axis| Symbol::Extent { tensor, axis }));
    }
    Case {
        kernel,
        pinned,
        arguments,
        exact_extents: rng.u8(..4) == 0,
        checked: rng.u8(..4) == 0,
        ulps,
    }
}

impl Generator {
    fn new(seed: u64, size: Size) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut b = Builder::new(&format!("fuzz_{seed}"));
        let program = b.index(0);
        let mut elements = vec![ElementType::Bool, ElementType::I64];
        elements.extend(rng.choose_multiple(ElementType::ALL, 3));
        elements.sort_unstable();
        elements.dedup();
        let traps = rng.u8(..3) == 0;
        let budget = if size == Size::Small { 4 } else { rng.u32(4..24) };
        Self {
            rng,
            b,
            arguments: Vec::new(),
            shapes: Vec::new(),
            elements,
            destinations: Vec::new(),
            sources: Vec::new(),
            last: None,
            lists: Vec::new(),
            disjoint: Vec::new(),
            scattered: None,
            counters: Vec::new(),
            room: 1,
            indices: u32::MAX,
            permutation: u32::MAX,
            bounds: Vec::new(),
            program,
            grid_on_device: false,
            traps,
            budget,
            ulps: 0,
        }
    }

    /// Shapes, grid and parameters.
    fn signature(&mut self, size: Size) {
        let work = if size == Size::Small { 256 } else { WORK };
        self.tile_shapes(work);
        let largest = self.shapes.iter().map(Shape::elements).max().unwrap_or(1);
        self.grid((work / largest).clamp(1, 24));
        let programs = self.bounds.iter().product::<u64>();
        self.room = (work / programs).max(largest);
        let innermost = self
            .shapes
            .iter()
            .map(|shape| u64::from(shape.innermost()))
            .max()
            .unwrap_or(1);

        let (any, nearby) = (self.rng.u64(..), self.rng.u64(1..=largest + 4));
        let element = self.index_element();
        self.indices = self.tensor(
            element,
            &[largest],
            false,
            Some(&|i| {
                let near = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ any) % (nearby + 4);
                if i % 7 == 6 { !near } else { near }
            }),
        );
        let element = self.index_element();
        let key = self.rng.u64(..16);
        self.permutation = self.tensor(element, &[largest + 3], false, Some(&|i| i ^ key));
        for _ in 0..self.rng.u8(1..=3) {
            let element = self.element();
            let rank = self.rng.usize(1..=4);
            let extents = self.source_extents(rank, innermost, largest);
            let source = self.tensor(element, &extents, false, None);
            self.sources.push(source);
        }
        if self.rng.u8(..3) == 0 {
            let (element, rank) = (self.element(), self.rng.usize(1..=3));
            let first = self.source_extents(rank, innermost, largest);
            let mut extents = vec![first.clone(); self.rng.usize(..=4)];
            for extents in extents.iter_mut().skip(1) {
                let other = self.source_extents(rank, innermost, largest);
                // Often rows of one length.
                let kept = rank - self.rng.usize(..=1);
                extents[..kept].copy_from_slice(&other[..kept]);
            }
            let list = self.list(element, &extents, rank, false);
            self.sources.push(list);
        }
        self.sources.extend([self.indices, self.permutation]);
        for _ in 0..self.rng.u8(1..=2) {
            self.destination(programs, innermost, largest);
        }
        self.shared_destinations(innermost);
        for _ in 0..self.rng.u8(0..=2) {
            let element = self.rng.choice(self.elements.clone()).unwrap_or(ElementType::F32);
            if element.kind() != tilewright::dsl::element::ElementKind::Storage {
                let literal = values::literal(&mut self.rng, element);
                self.b.parameter(ParameterKind::Scalar(element));
                self.arguments.push(Argument::Scalar(literal));
            }
        }
        if self.rng.bool() {
            let count = self.rng.i64(0..=largest as i64 + 2);
            self.count(count);
        }
    }

    /// A shape and others that it has something to do with.
    fn tile_shapes(&mut self, work: u64) {
        let rank = self.rng.usize(1..=3);
        let mut extents = vec![1u32; rank];
        let mut room = (work.min(8192)) as u32;
        for axis in (0..rank).rev() {
            let fitting: Vec<_> = EXTENTS.into_iter().filter(|&e| e <= room).collect();
            extents[axis] = self.rng.choice(fitting).unwrap_or(1);
            room /= extents[axis];
        }
        let mut shapes = vec![Vec::new(), extents.clone(), extents.clone(), extents[1..].to_vec()];
        for axis in 0..rank {
            let mut flat = extents.clone();
            flat[axis] = 1;
            shapes.push(flat);
        }
        shapes.push(vec![extents.iter().product()]);
        if rank < 3 {
            let mut more = extents.clone();
            more.insert(self.rng.usize(..=rank), 1);
            shapes.push(more);
        }
        self.shapes = shapes.iter().filter_map(|extents| Shape::new(extents)).collect();
    }

    /// The grid, of at most `most` programs.
    fn grid(&mut self, most: u64) {
        let mut room = most;
        for _ in 0..self.rng.usize(1..=3) {
            let bound = self.rng.u64(1..=room.min(12));
            room /= bound;
            self.bounds.push(bound);
            let extent = match self.rng.u8(..6) {
                0 | 1 => self.count(bound as i64),
                2 => {
                    let block = self.rng.i64(2..=130);
                    let count = bound as i64 * block - self.rng.i64(0..block);
                    let count = self.count(count);
                    let (less, block) = (self.b.index(block - 1), self.b.index(block));
                    let (op, left, right) = (BinaryOp::Add, count, less);
                    let left = self.b.append(Expression::Binary { op, left, right }, Type::INDEX);
                    let (op, right) = (BinaryOp::Divide, block);
                    self.b.append(Expression::Binary { op, left, right }, Type::INDEX)
                }
                _ => self.b.index(bound as i64),
            };
            self.b.kernel.grid.push(extent);
        }
        self.grid_on_device = self
            .arguments
            .iter()
            .any(|argument| matches!(argument, Argument::Count(Count::Device { .. })));
    }

    /// A count parameter of this value, or, in device memory, of at most this.
    fn count(&mut self, value: i64) -> Value {
        let position = self.b.parameter(ParameterKind::Count);
        let count = match self.rng.u8(..3) {
            0 => Count::Exact(value),
            1 => Count::Runtime(value),
            _ => Count::Device {
                stored: match self.rng.u8(..4) {
                    0 => self.rng.i64(-3..=value + 3),
                    1 => self.rng.i64(0..=value),
                    _ => value,
                },
                element: self
                    .rng
                    .choice([ElementType::I32, ElementType::I64])
                    .unwrap_or(ElementType::I64),
                maximum: value,
            },
        };
        self.arguments.push(Argument::Count(count));
        self.b.symbol(Symbol::Count(position))
    }

    fn element(&mut self) -> ElementType {
        let elements = self.elements.clone();
        self.rng.choice(elements).unwrap_or(ElementType::F32)
    }

    fn index_element(&mut self) -> ElementType {
        self.rng
            .choice([ElementType::I32, ElementType::I64])
            .unwrap_or(ElementType::I64)
    }

    fn source_extents(&mut self, rank: usize, innermost: u64, largest: u64) -> Vec<u64> {
        let mut room = 4 * largest + 64;
        let mut extents = vec![1; rank];
        for axis in (0..rank).rev() {
            let near = if axis + 1 == rank {
                innermost
            } else {
                self.rng.u64(1..=6)
            };
            let extent = match self.rng.u8(..24) {
                0 => 0,
                1 => largest,
                2..=4 => near + self.rng.u64(1..=8),
                5..=7 => near.saturating_sub(self.rng.u64(1..=3)).max(1),
                _ => near,
            };
            extents[axis] = extent.min(room);
            room = (room / extents[axis].max(1)).max(1);
        }
        extents
    }

    fn destination(&mut self, programs: u64, innermost: u64, largest: u64) {
        let element = self.element();
        let rank = self.rng.usize(1..=3);
        let block = if rank == 1 {
            largest + self.rng.u64(..3)
        } else {
            self.rng.u64(1..=3)
        };
        let missing = if self.rng.u8(..4) == 0 {
            self.rng.u64(0..=block)
        } else {
            0
        };
        let mut extents = vec![programs * block - missing.min(programs * block - 1)];
        for axis in 1..rank {
            let extent = if axis + 1 == rank {
                innermost + self.rng.u64(..4)
            } else {
                self.rng.u64(1..=4)
            };
            extents.push(extent - u64::from(extent > 2 && self.rng.u8(..4) == 0));
        }
        if self.rng.u8(..4) == 0 {
            let mut all = vec![extents; self.rng.usize(..=3)];
            for extents in &mut all {
                // What programs own may be missing from any of them.
                extents[0] -= self.rng.u64(..=extents[0].min(2));
            }
            let tensor = self.list(element, &all, rank, true);
            let is_whole = false;
            return self.destinations.push(Destination {
                tensor,
                block,
                is_whole,
            });
        }
        let tensor = self.tensor(element, &extents, true, None);
        self.destinations.push(Destination {
            tensor,
            block,
            is_whole: extents[0] >= programs * block,
        });
    }

    fn body(&mut self) {
        let bounds = self.bounds.clone();
        let mut number = self.b.symbol(Symbol::ProgramId(0));
        let mut before = 1;
        for (axis, pair) in (1u8..).zip(bounds.windows(2)) {
            before *= pair[0] as i64;
            let (id, step) = (self.b.symbol(Symbol::ProgramId(axis)), self.b.index(before));
            let part = self.b.binary(BinaryOp::Multiply, id, step);
            number = self.b.binary(BinaryOp::Add, number, part);
        }
        self.program = number;
        for _ in 0..self.rng.u8(..4) {
            let element = self.element();
            let shape = self.rng.choice(self.shapes.clone()).unwrap_or(Shape::SCALAR);
            let value = self.value(Type { element, shape }, 2);
            self.b.variable(value);
        }
        while self.budget > 0 {
            self.statements(Around::default());
        }
        self.store(Around::default());
    }
}

/// The names of all operations.
pub fn operation_names() -> Vec<String> {
    table::OPERATIONS
        .iter()
        .map(|operation| operation.name().to_owned())
        .collect()
}

/// A kernel that adds a value to itself `depth` times over, and uses the result as number of programs, index and value.
pub fn chain(depth: usize, tile: bool) -> Kernel {
    let mut b = Builder::new("chain");
    let layout = Layout::Strided;
    let parameter = TensorParameter {
        element: ElementType::I64,
        rank: 1,
        list: None,
        mutable: true,
        layout,
        alignment: 8,
    };
    let tensor = b.parameter(ParameterKind::Tensor(parameter));
    let first = b.symbol(Symbol::Extent { tensor, axis: 0 });
    let mut extent = first;
    for _ in 0..depth {
        let (op, left, right) = (BinaryOp::Add, extent, extent);
        extent = b.append(Expression::Binary { op, left, right }, Type::INDEX);
    }
    b.kernel.grid.push(extent);
    let mut value = if tile {
        b.arange(64)
    } else {
        b.symbol(Symbol::ProgramId(0))
    };
    for _ in 0..depth {
        value = b.binary(BinaryOp::Add, value, value);
    }
    let access = Access {
        tensor,
        indices: [value].into_iter().collect(),
        bounds: Bounds::default(),
        guards: [Guard::FULL].into_iter().collect(),
        mask: None,
        cache: None,
        must_be_wide: false,
    };
    b.push(Statement::Store {
        access,
        value,
        conflict: None,
    });
    b.finish()
}
