//! Random kernels do the same as threads as they do as tiles.

use fastrand::Rng;

use super::run::{Argument, bind, check};
use crate::analysis::effects::Effects;
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{
    BinaryOp, Block, Bounds, Combine, CompareOp, Conflict, Expression, Kernel, Literal, Reduction, Shape, Statement,
    UnaryOp,
};
use crate::schedule::{LoadHint, Schedule, StoreHint};
use crate::transform::checked;

struct Generator<'r> {
    rng: &'r mut Rng,
    b: Builder,
    arguments: Vec<Argument>,
    /// Tensors to read: their number, element and extents.
    sources: Vec<(u32, ElementType, Vec<u64>)>,
    tiles: Vec<Value>,
    scalars: Vec<Value>,
    programs: u64,
    /// Whether elements meet, and tiles are kept in variables.
    meets: bool,
}

const EXTENTS: [u32; 9] = [1, 2, 4, 8, 12, 16, 24, 33, 40];
const LONG_EXTENTS: [u32; 5] = [64, 96, 256, 300, 512];

impl Generator<'_> {
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(0..of.len())]
    }

    fn tensor(&mut self, name: &str, element: ElementType, extents: &[u64], writes: bool) -> u32 {
        let tensor = self.b.tensor(name, element, extents.len() as u8);
        self.b.tensor_mut(tensor).mutable = writes;
        let offset = self.rng.u64(0..16) * element.size() as u64 * u64::from(self.rng.bool());
        let seed = self.rng.u64(..);
        let bits = |at: u64| {
            let random = (at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ seed;
            match element {
                ElementType::Bool => random & 1,
                // Places, most of them.
                ElementType::I64 if !random.is_multiple_of(4) => random % 40,
                ElementType::I32 if !random.is_multiple_of(4) => random % 40,
                _ => random,
            }
        };
        self.arguments.push(Argument::tensor(element, extents, offset, bits));
        tensor
    }

    fn sources(&mut self) {
        for (number, element) in [
            ElementType::I64,
            ElementType::I32,
            ElementType::F32,
            ElementType::BF16,
            ElementType::F16,
            ElementType::U8,
            ElementType::Bool,
        ]
        .into_iter()
        .enumerate()
        {
            let rank = self.rng.usize(1..3);
            let extents: Vec<u64> = (0..rank).map(|_| self.rng.u64(1..50)).collect();
            let tensor = self.tensor(&format!("source{number}"), element, &extents, false);
            self.sources.push((tensor, element, extents));
        }
    }

    fn element(&self, value: Value) -> ElementType {
        self.b.kernel.ty(value).element
    }

    fn extent(&mut self) -> u32 {
        // What meets is long enough for packets and warps.
        match self.meets && self.rng.u8(0..4) == 0 {
            true => self.pick(&LONG_EXTENTS),
            false => self.pick(&EXTENTS),
        }
    }

    /// A tile that there is, of an element type if that is said, or a new range.
    fn tile(&mut self, element: Option<ElementType>) -> Value {
        let fits: Vec<Value> = self
            .tiles
            .iter()
            .copied()
            .filter(|tile| element.is_none_or(|element| self.element(*tile) == element))
            .collect();
        if !fits.is_empty() && self.rng.u8(0..6) != 0 {
            return self.pick(&fits);
        }
        let extent = self.extent();
        let range = self.b.arange(extent);
        match element {
            None | Some(ElementType::I64) => range,
            Some(element) => self.b.cast(range, element),
        }
    }

    fn scalar(&mut self) -> Value {
        match self.rng.u8(0..3) {
            0 => {
                let value = self.rng.i64(-3..40);
                self.b.index(value)
            }
            _ => {
                let scalars = self.scalars.clone();
                self.pick(&scalars)
            }
        }
    }

    /// A tile of places: multiples and shifts of ranges, mostly.
    fn places(&mut self) -> Value {
        let tile = self.tile(Some(ElementType::I64));
        match self.rng.u8(0..6) {
            0..2 => tile,
            2 => {
                let by = self.scalar();
                self.b.add(tile, by)
            }
            3 => {
                let by = self.rng.i64(-2..5);
                let by = self.b.index(by);
                self.b.mul(tile, by)
            }
            4 => {
                let by = self.pick(&[1i64, 2, 3, 8, 16]);
                let by = self.b.index(by);
                let op = self.pick(&[BinaryOp::Divide, BinaryOp::Remainder]);
                self.b.binary(op, tile, by)
            }
            _ => {
                let extent = self.b.shape(tile).innermost();
                let program = self.b.program(0);
                let by = self.b.index(extent.into());
                let first = self.b.mul(program, by);
                self.b.add(tile, first)
            }
        }
    }

    fn load(&mut self) -> Value {
        let number = self.rng.usize(0..self.sources.len());
        let (tensor, _, extents) = self.sources[number].clone();
        self.b.bounds = self.pick(&[Bounds::ReadZeroSkipWrite, Bounds::ReadZeroSkipWrite, Bounds::Clamp]);
        let columns = self.places();
        let indices = match (extents.len(), self.b.shape(columns).rank()) {
            (1, _) => vec![columns],
            (_, 1) if self.rng.bool() => {
                let rows = self.pick(&[2u32, 3, 5]);
                let range = self.b.arange(rows);
                vec![self.b.reshape(range, &[rows, 1]), columns]
            }
            _ => vec![self.scalar(), columns],
        };
        let shape = indices.iter().fold(Shape::SCALAR, |shape, &index| {
            shape.broadcast(self.b.shape(index)).unwrap_or(shape)
        });
        let loaded = match self.rng.u8(0..4) {
            0 if shape == self.b.shape(columns) => {
                let limit = self.rng.i64(0..50);
                let limit = self.b.index(limit);
                let mask = self.b.compare(CompareOp::Less, columns, limit);
                self.b.load_where(tensor, &indices, mask)
            }
            _ => self.b.load(tensor, &indices),
        };
        self.b.bounds = Bounds::default();
        loaded
    }

    fn shaped(&mut self) -> Value {
        let value = self.tile(None);
        let shape = self.b.shape(value);
        let extents = shape.extents().to_vec();
        match self.rng.u8(0..5) {
            0 => {
                let axis = self.rng.usize(0..extents.len());
                let extent = extents[axis];
                let start = self.rng.u32(0..extent);
                let step = self.pick(&[1, 1, 1, 2, -1]);
                let most = match step {
                    -1 => start + 1,
                    step => (extent - start).div_ceil(step as u32),
                };
                let extent = self.rng.u32(1..=most);
                self.b.emit(Expression::Slice {
                    value,
                    axis: axis as u8,
                    start,
                    step,
                    extent,
                })
            }
            1 => {
                let axis = self.rng.usize(0..extents.len()) as u8;
                let alike: Vec<Value> = self
                    .tiles
                    .iter()
                    .copied()
                    .filter(|other| self.element(*other) == self.element(value) && self.b.shape(*other) == shape)
                    .collect();
                let right = if alike.is_empty() { value } else { self.pick(&alike) };
                self.b.emit(Expression::Concatenate {
                    left: value,
                    right,
                    axis,
                })
            }
            2 if extents.len() > 1 => {
                let axes = (0..extents.len() as u8).rev().collect();
                self.b.emit(Expression::Permute { value, axes })
            }
            3 => {
                let elements = shape.elements() as u32;
                let inner = self.pick(&[1u32, 2, 4, 8]);
                match elements % inner {
                    0 => self.b.reshape(value, &[elements / inner, inner]),
                    _ => self.b.reshape(value, &[elements]),
                }
            }
            _ => {
                let index = self.places();
                let alike = self.b.shape(index).rank() == 1 && extents.len() == 1;
                match alike {
                    true => self.b.emit(Expression::Take { value, index, axis: 0 }),
                    false => value,
                }
            }
        }
    }

    fn operation(&mut self) -> Value {
        let value = self.tile(None);
        let element = self.element(value);
        let shape = self.b.shape(value);
        let alike: Vec<Value> = self
            .tiles
            .iter()
            .copied()
            .filter(|other| self.element(*other) == element && self.b.shape(*other) == shape)
            .collect();
        let other = if alike.is_empty() { value } else { self.pick(&alike) };
        match self.rng.u8(0..6) {
            0 => {
                let all: Vec<UnaryOp> = UnaryOp::ALL.into_iter().filter(|op| op.accepts(element)).collect();
                match all.is_empty() {
                    true => value,
                    false => {
                        let op = self.pick(&all);
                        self.b.emit(Expression::Unary { op, value })
                    }
                }
            }
            1..3 => {
                let all: Vec<BinaryOp> = BinaryOp::ALL.into_iter().filter(|op| op.accepts(element)).collect();
                match all.is_empty() {
                    true => value,
                    false => {
                        let op = self.pick(&all);
                        self.b.binary(op, value, other)
                    }
                }
            }
            3 => {
                let all = [
                    CompareOp::Equal,
                    CompareOp::Less,
                    CompareOp::GreaterEqual,
                    CompareOp::NotEqual,
                ];
                let all: Vec<CompareOp> = all.into_iter().filter(|op| op.accepts(element)).collect();
                if all.is_empty() {
                    return value;
                }
                let op = self.pick(&all);
                let condition = self.b.compare(op, value, other);
                let (accept, reject) = (value, other);
                match self.rng.bool() {
                    true => condition,
                    false => self.b.emit(Expression::Select {
                        condition,
                        accept,
                        reject,
                    }),
                }
            }
            4 if element.is_float() => self.b.emit(Expression::MulAdd {
                left: value,
                right: other,
                addend: value,
            }),
            _ => {
                let to = self.pick(&ElementType::ALL);
                self.b.cast(value, to)
            }
        }
    }

    fn collective(&mut self) -> Value {
        let value = self.tile(None);
        let (element, shape) = (self.element(value), self.b.shape(value));
        let axis = self.rng.usize(0..shape.rank()) as u8;
        let all: Vec<BinaryOp> = BinaryOp::ALL
            .into_iter()
            .filter(|op| op.is_associative() && op.accepts(element))
            .collect();
        match self.rng.u8(0..6) {
            0..2 if !all.is_empty() => {
                let op = self.pick(&all);
                let reduction = Reduction::Combine(Combine::Operator(op));
                self.b.emit(Expression::Reduce { value, axis, reduction })
            }
            2 if !all.is_empty() => {
                let combine = Combine::Operator(self.pick(&all));
                self.b.emit(Expression::Scan { value, axis, combine })
            }
            3 if CompareOp::Less.accepts(element) => self.b.emit(Expression::ArgSort {
                value,
                axis,
                descending: self.rng.bool(),
            }),
            4 if CompareOp::Less.accepts(element) => {
                let reduction = match self.rng.bool() {
                    true => Reduction::ArgMin,
                    false => Reduction::ArgMax,
                };
                self.b.emit(Expression::Reduce { value, axis, reduction })
            }
            5 if element.is_integer() => {
                let bins = self.extent();
                let mask = None;
                self.b.emit(Expression::Histogram { value, mask, bins })
            }
            _ => value,
        }
    }

    /// What a variable holds that is set, sometimes again and again.
    fn variable(&mut self) -> Value {
        let value = self.tile(None);
        let (element, shape) = (self.element(value), self.b.shape(value));
        let local = self.b.variable("kept", value);
        let before = self.b.read(local);
        let alike: Vec<Value> = self
            .tiles
            .iter()
            .copied()
            .filter(|other| self.element(*other) == element && self.b.shape(*other) == shape)
            .collect();
        let other = if alike.is_empty() { value } else { self.pick(&alike) };
        match self.rng.u8(0..3) {
            0 => self.b.assign(local, other),
            1 => {
                let (zero, end) = (self.b.index(0), self.scalar());
                let three = self.b.index(3);
                let end = self.b.binary(BinaryOp::Min, end, three);
                let turn = (0..shape.rank() as u8).rev().collect();
                let op = BinaryOp::ALL.into_iter().find(|op| op.accepts(element));
                let square = shape.extents().windows(2).all(|two| two[0] == two[1]);
                self.b.for_loop(zero, end, 1, |b, _| {
                    let mut now = b.read(local);
                    if square {
                        now = b.emit(Expression::Permute { value: now, axes: turn });
                    }
                    if let Some(op) = op {
                        now = b.binary(op, now, other);
                    }
                    b.assign(local, now);
                });
            }
            _ => return before,
        }
        let after = self.b.read(local);
        if self.b.shape(before).rank() > 0 {
            self.tiles.push(before);
        }
        after
    }

    fn store(&mut self, number: usize) {
        let mut value = self.tile(None);
        if self.b.shape(value).rank() > 2 {
            let elements = self.b.shape(value).elements() as u32;
            value = self.b.reshape(value, &[elements]);
        }
        let (element, shape) = (self.element(value), self.b.shape(value));
        let extents: Vec<u64> = [self.programs]
            .into_iter()
            .chain(shape.extents().iter().map(|&extent| {
                // Sometimes shorter than the tile, and sometimes with room for another one.
                let shorter = u64::from(extent).saturating_sub(self.rng.u64(0..3)).max(1);
                shorter + u64::from(extent) * u64::from(self.rng.u8(0..3) == 0)
            }))
            .collect();
        let out = self.tensor(&format!("out{number}"), element, &extents, true);
        self.b.conflict = self.pick(&[None, None, None, Some(Conflict::Disjoint), Some(Conflict::LastWins)]);
        let in_order = self.b.conflict == Some(Conflict::LastWins);
        // Where the last one wins programs may meet.
        let row = match in_order && self.rng.bool() {
            true => self.scalar(),
            false => self.b.program(0),
        };
        let mut indices = vec![row];
        for (axis, &extent) in shape.extents().iter().enumerate() {
            let range = self.b.arange(extent);
            let behind = shape.rank() - axis - 1;
            let mut own = vec![extent];
            own.extend(std::iter::repeat_n(1, behind));
            indices.push(self.b.reshape(range, &own));
        }
        if in_order && let Some(last) = indices.last_mut() {
            let by = self.rng.i64(1..9);
            let by = self.b.index(by);
            *last = self.b.binary(BinaryOp::Remainder, *last, by);
        }
        if self.rng.u8(0..4) == 0 {
            let limit = self.scalar();
            let limit = self.b.stretch(limit, shape);
            let last = *indices.last().unwrap();
            let last = self.b.stretch(last, shape);
            let mask = self.b.compare(CompareOp::Less, last, limit);
            self.b.store_where(out, &indices, value, mask);
        } else {
            self.b.store(out, &indices, value);
        }
        // Once more, beside it or over it.
        if self.rng.u8(0..4) == 0 {
            let extent = i64::from(shape.innermost());
            let by = self.pick(&[0, 1, extent / 2, extent - 1, extent, -1]);
            let by = self.b.index(by);
            if let Some(last) = indices.last_mut() {
                *last = self.b.add(*last, by);
            }
            self.b.conflict = self.b.conflict.filter(|_| in_order);
            self.b.store(out, &indices, value);
        }
        self.b.conflict = None;
    }

    fn block(&mut self, fill: impl FnOnce(&mut Self)) -> Block {
        self.b.open();
        fill(self);
        self.b.close()
    }

    fn kernel(mut self) -> (Kernel, Vec<Argument>, u64) {
        self.sources();
        let program = self.b.program(0);
        self.scalars.push(program);
        let count = self.b.count("count");
        self.arguments.push(Argument::Count(self.rng.i64(0..30)));
        self.scalars.push(count);
        let number = self.b.scalar("number", ElementType::I64);
        self.arguments
            .push(Argument::Scalar(Literal::new(self.rng.i64(-5..30))));
        self.scalars.push(number);
        let float = self.b.scalar("float", ElementType::F32);
        self.arguments.push(Argument::Scalar(Literal::new(1.5f32)));
        let float = self.b.stretch(float, Shape::new(&[16]).unwrap());
        self.tiles.push(float);
        // A row that is named by what is loaded.
        let named = self
            .sources
            .iter()
            .find(|(_, element, extents)| element.is_integer() && extents.len() == 1);
        if let Some((tensor, ..)) = named.cloned() {
            let loaded = self.b.load(tensor, &[program]);
            let loaded = self.b.cast(loaded, ElementType::I64);
            self.scalars.push(loaded);
        }
        for _ in 0..self.rng.usize(1..10) {
            let kinds = if self.meets { 12 } else { 8 };
            let made = match self.rng.u8(0..kinds) {
                8..10 => self.collective(),
                10..12 => self.variable(),
                0..3 => self.load(),
                3..5 => self.shaped(),
                5 => self.places(),
                _ => self.operation(),
            };
            if self.b.shape(made).elements() <= 512 && self.b.shape(made).rank() > 0 {
                self.tiles.push(made);
            }
        }
        for number in 0..self.rng.usize(1..3) {
            if self.rng.u8(0..4) > 0 {
                self.store(number);
                continue;
            }
            // In a branch, or in a loop with a trip at most.
            let (limit, zero, one) = (self.scalar(), self.b.index(0), self.b.index(1));
            let condition = self.b.compare(CompareOp::Less, program, limit);
            let looped = self.rng.bool();
            let body = self.block(|generator| generator.store(number));
            let reject = Block::new();
            let statement = match looped {
                false => Statement::If {
                    condition,
                    accept: body,
                    reject,
                },
                true => Statement::For {
                    induction: self.b.append(Expression::Induction(ElementType::I64)),
                    start: zero,
                    end: one,
                    step: [1, 3, i128::from(i64::MAX)][number % 3],
                    body,
                },
            };
            self.b.push(statement);
        }
        let programs = self.programs;
        (self.b.launch(programs as i64), self.arguments, programs)
    }
}

fn any_schedule(rng: &mut Rng) -> Schedule {
    let threads = [1u32, 2, 8, 16, 32, 32, 64, 96][rng.usize(0..8)];
    let (programs_per_block, splits) = match rng.u8(0..4) {
        0 => (rng.u32(2..5), 1),
        1 => (1, rng.u32(2..4)),
        _ => (1, 1),
    };
    let block = threads * programs_per_block;
    let programs_per_block = if block > 32 && !block.is_multiple_of(32) {
        1
    } else {
        programs_per_block
    };
    Schedule {
        threads,
        programs_per_block,
        splits,
        unroll: rng.u32(1..5),
        load: LoadHint::ALL[rng.usize(0..4)],
        store: StoreHint::ALL[rng.usize(0..3)],
        wide: rng.u8(0..4) > 0,
    }
}

#[test]
fn random_kernels_do_the_same_as_threads_and_as_tiles() {
    run_random(false);
}

#[test]
fn random_kernels_in_which_elements_meet_do_the_same_as_threads_and_as_tiles() {
    run_random(true);
}

fn run_random(meets: bool) {
    let seeds = std::env::var("TILEWRIGHT_LOWER_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    let first = std::env::var("TILEWRIGHT_LOWER_FIRST")
        .ok()
        .and_then(|first| first.parse().ok());
    let first: u64 = first.unwrap_or(0);
    let mut done = 0;
    for seed in first..first + seeds.unwrap_or(600u64) {
        let mut rng = Rng::with_seed(seed);
        let programs = rng.u64(1..4);
        let mut by = any_schedule(&mut rng);
        if meets {
            by.threads = [8, 16, 32, 32, 64, 96, 128][rng.usize(0..7)];
            let warps = rng.u32(1..4);
            (by.programs_per_block, by.splits) = (warps * (32 / by.threads).max(1), 1);
        }
        let generator = Generator {
            rng: &mut rng,
            b: Builder::new("random"),
            arguments: Vec::new(),
            sources: Vec::new(),
            tiles: Vec::new(),
            scalars: Vec::new(),
            programs,
            meets,
        };
        let (mut kernel, arguments, _) = generator.kernel();
        let pinned = rng.bool();
        let tested = rng.u8(0..4) == 0;
        if tested {
            kernel = checked(kernel);
        }
        bind(&mut kernel, &arguments, pinned);
        let effects = Effects::of(&kernel);
        if effects.has_scans && by.threads < 32 {
            (by.threads, by.programs_per_block) = (32, 1);
        }
        if effects.in_order {
            by.programs_per_block = 1;
        }
        if !effects.threads_are_independent() {
            by.splits = 1;
        }
        let run = || check(&kernel, &by, &arguments);
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(_) => done += 1,
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(done > 0);
}
