//! Accesses that may be races, and what they are in terms that need no kernel to evaluate: whether a race was planted is
//! counted from these.
//!
//! All go to a tensor of their own, in a random kernel that has no races itself.

use std::ops::RangeInclusive;

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{
    Access, Atomic, AtomicOp, AtomicUpdate, BinaryOp, Block, Bounds, CompareOp, Conflict, Expression, Guard, Literal,
    MemoryOrder, MemoryScope, Shape, Statement, Symbol, Type,
};

use super::builder::Value;
use super::{Generator, Size};
use crate::case::{Argument, Case};

/// Elements of a table of indices.
const TABLE: i64 = 64;

/// What was planted.
pub struct Plant {
    /// The position of the tensor that all of it touches, whose elements are i32.
    pub tensor: u32,
    /// What an index is looked up in.
    pub table: Vec<i64>,
    pub accesses: Vec<Planted>,
    /// The most programs on each axis of the grid, by which they are numbered.
    pub grid: Vec<u64>,
}

/// The positions of the tensors that planted accesses use.
#[derive(Clone, Copy)]
struct Tensors {
    tensor: u32,
    look_up: u32,
    kept: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Load,
    Store,
    Disjoint,
    LastWins,
    Atomic,
    AtomicInBlock,
}

/// An access that every program makes in every trip of a loop.
#[derive(Debug)]
pub struct Planted {
    pub action: Action,
    /// Where it is written.
    pub lines: RangeInclusive<u32>,
    /// The extents of its tile, with axes of extent 1 in front up to two.
    pub extents: [u32; 2],
    /// The index on each axis of the tensor.
    pub indices: Vec<Index>,
    /// Which elements of the tile.
    pub mask: Option<Test>,
    /// Which programs and trips.
    pub only: Option<Test>,
    /// Whether elements outside are moved to the nearest inside.
    pub clamps: bool,
    pub trips: i64,
}

/// A sum of multiples of the program's number, the trip and the two coordinates, and a constant.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    by: [i64; 4],
    plus: i64,
}

impl Linear {
    pub fn at(&self, unknowns: [i64; 4]) -> i64 {
        self.by.iter().zip(unknowns).map(|(by, at)| by * at).sum::<i64>() + self.plus
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Index {
    Linear(Linear),
    Divided(Linear, i64),
    Remainder(Linear, i64),
    /// Looked up; 0 outside of the table.
    Table(Linear),
}

/// Whether a remainder is small.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    pub of: Linear,
    pub by: i64,
    pub below: i64,
}

/// A random kernel with accesses planted in it.
pub fn planted(seed: u64) -> (Case, Plant) {
    let size = if seed.is_multiple_of(4) {
        Size::Full
    } else {
        Size::Small
    };
    let mut generator = Generator::new(seed, size);
    // Nothing else is to be reported, and what orders nothing is to be seen too.
    generator.traps = false;
    if seed % 3 == 1 {
        generator.budget = 0;
    }
    generator.signature(size);
    generator.body();
    let plant = generator.plant();
    let Generator { b, arguments, ulps, .. } = generator;
    let (kernel, pinned) = (b.finish(), Vec::new());
    let case = Case {
        kernel,
        pinned,
        arguments,
        exact_extents: seed % 5 == 2,
        checked: true,
        ulps,
    };
    (case, plant)
}

impl Generator {
    fn plant(&mut self) -> Plant {
        let programs = self.bounds.iter().product::<u64>() as i64;
        let extents = match self.rng.bool() {
            true => vec![self.rng.u64(1..40)],
            false => vec![self.rng.u64(1..10), self.rng.u64(1..6)],
        };
        let tensor = self.tensor(ElementType::I32, &extents, true, None);
        let held: Vec<i64> = match self.rng.bool() {
            true => (0..TABLE).map(|_| self.rng.i64(-1..=extents[0] as i64)).collect(),
            false => (0..TABLE).map(|i| i ^ 5).collect(),
        };
        let fill = |i: u64| held[i as usize % TABLE as usize] as u64;
        let look_up = self.tensor(ElementType::I64, &[TABLE as u64], false, Some(&fill));
        // The table may have gaps.
        let step = match &self.arguments[look_up as usize] {
            Argument::Tensor(tensor) => tensor.strides[0] as u64,
            Argument::Count(_) | Argument::Scalar(_) => 1,
        };
        let table = (0..TABLE as u64).map(|i| fill(i * step) as i64).collect();
        // What is loaded is kept, each program's in a row of its own, or nobody would load it.
        let kept = self.tensor(ElementType::I32, &[programs as u64, 16], true, None);
        let tensors = Tensors { tensor, look_up, kept };
        let shape = [
            [1, 1],
            [1, self.rng.u32(2..9)],
            [self.rng.u32(2..4), self.rng.u32(1..5)],
        ];
        let shape = self.rng.choice(shape).unwrap_or([1, 1]);
        // Where all accesses are alike, programs may keep to elements of their own; else that is a matter of chance.
        let alike: Option<Vec<Index>> = (self.rng.u8(..3) == 0).then(|| self.own_indices(&extents, shape, programs));
        let mut accesses = Vec::new();
        let mut block = Block::new();
        for _ in 0..self.rng.u8(1..=4) {
            let actions = [
                Action::Load,
                Action::Load,
                Action::Store,
                Action::Store,
                Action::Store,
                Action::Disjoint,
                Action::Atomic,
                Action::AtomicInBlock,
            ];
            let action = match self.rng.u8(..40) {
                0 => Action::LastWins,
                _ => self.rng.choice(actions).unwrap_or(Action::Store),
            };
            let indices = match &alike {
                Some(indices) => indices.clone(),
                None => extents.iter().map(|&extent| self.index(extent as i64)).collect(),
            };
            let mut access = Planted {
                action,
                lines: 0..=0,
                extents: shape,
                indices,
                mask: (self.rng.u8(..6) == 0).then(|| self.test(true)),
                only: (self.rng.u8(..6) == 0).then(|| self.test(false)),
                clamps: alike.is_none() && self.rng.u8(..4) == 0,
                trips: if self.rng.u8(..4) == 0 { self.rng.i64(0..4) } else { 1 },
            };
            for (statement, span) in self.planted(&mut access, tensors).iter() {
                block.push(statement.clone(), *span);
            }
            accesses.push(access);
        }
        self.insert(&block);
        Plant {
            tensor,
            table,
            accesses,
            grid: self.bounds.clone(),
        }
    }

    /// Puts statements between those of the kernel, where every program comes by.
    fn insert(&mut self, planted: &Block) {
        let body = self.b.close();
        let returns = |statement: &Statement| {
            let mut found = matches!(statement, Statement::Return);
            statement.for_each_block(|block| {
                block.walk(&mut |inner, _| found |= matches!(inner, Statement::Return));
            });
            found
        };
        let until = body.iter().position(|(statement, _)| returns(statement));
        let at = self.rng.usize(0..=until.unwrap_or(body.iter().count()));
        let mut all = Block::new();
        let own = body.iter().take(at).chain(planted.iter()).chain(body.iter().skip(at));
        own.for_each(|(statement, span)| all.push(statement.clone(), *span));
        self.b.reopen(all);
    }

    fn linear(&mut self, most: i64) -> Linear {
        let mut by = || match self.rng.u8(..8) {
            0..=2 => 0,
            3..=5 => 1,
            _ => self.rng.i64(-most..=most),
        };
        let by = [by(), by(), by(), by()];
        let plus = self.rng.i64(-2..4);
        Linear { by, plus }
    }

    fn index(&mut self, extent: i64) -> Index {
        let linear = self.linear(extent);
        match self.rng.u8(..6) {
            0 => Index::Divided(linear, self.rng.i64(1..4)),
            1 => Index::Remainder(linear, self.rng.i64(1..=extent)),
            2 => Index::Table(linear),
            _ => Index::Linear(linear),
        }
    }

    /// Indices that are all different, those outside of the tensor included.
    fn own_indices(&mut self, extents: &[u64], [rows, cols]: [u32; 2], programs: i64) -> Vec<Index> {
        let (rows, cols, offset) = (i64::from(rows), i64::from(cols), self.rng.i64(-3..3));
        // Either the program's elements follow each other, or those of all programs take turns; every trip is the same.
        let by = match self.rng.bool() {
            true => [rows * cols, 0, cols, 1],
            false => [1, 0, programs * cols, programs],
        };
        let mut indices = vec![Index::Linear(Linear { by, plus: offset })];
        if extents.len() > 1 {
            // Any column does, as the rows are apart.
            let column = self.index(extents[1] as i64);
            indices.push(match column {
                Index::Linear(Linear { plus, .. }) => Index::Linear(Linear { by: [0; 4], plus }),
                other => other,
            });
        }
        indices
    }

    fn test(&mut self, of_elements: bool) -> Test {
        let mut of = self.linear(3);
        if !of_elements {
            (of.by[2], of.by[3]) = (0, 0);
        }
        let by = self.rng.i64(1..5);
        Test {
            of,
            by,
            below: self.rng.i64(0..=by),
        }
    }

    /// The statements of an access, whose place in the text is filled in.
    fn planted(&mut self, access: &mut Planted, tensors: Tensors) -> Block {
        self.b.open();
        let mut number = self.b.symbol(Symbol::ProgramId(0));
        let mut before = 1;
        for (axis, &extent) in (1u8..).zip(&self.bounds.clone()[..self.bounds.len() - 1]) {
            before *= extent as i64;
            let (id, step) = (self.b.symbol(Symbol::ProgramId(axis)), self.b.index(before));
            let part = self.b.binary(BinaryOp::Multiply, id, step);
            number = self.b.binary(BinaryOp::Add, number, part);
        }
        let trip = match access.trips {
            1 => self.b.index(0),
            _ => self.b.append(Expression::Induction(ElementType::I64), Type::INDEX),
        };
        if access.trips != 1 {
            self.b.open();
        }
        let [rows, cols] = access.extents;
        let shape = match access.extents {
            [1, 1] => Shape::SCALAR,
            [1, _] => Shape::new(&[cols]).unwrap_or(Shape::SCALAR),
            _ => Shape::new(&[rows, cols]).unwrap_or(Shape::SCALAR),
        };
        let (row, col) = match shape.rank() {
            0 => (self.b.index(0), self.b.index(0)),
            1 => (self.b.index(0), self.b.arange(cols)),
            _ => {
                let row = self.b.arange(rows);
                let row = self.b.reshape(row, Shape::new(&[rows, 1]).unwrap_or(Shape::SCALAR));
                (row, self.b.arange(cols))
            }
        };
        let unknowns = [number, trip, row, col];
        if let Some(only) = access.only {
            let condition = self.tested(&only, [number, trip, row, col]);
            self.b.open();
            self.touch(access, tensors, shape, unknowns);
            let accept = self.b.close();
            let reject = Block::new();
            self.b.push(Statement::If {
                condition,
                accept,
                reject,
            });
        } else {
            self.touch(access, tensors, shape, unknowns);
        }
        if access.trips != 1 {
            let body = self.b.close();
            let (start, end) = (self.b.index(0), self.b.index(access.trips));
            self.b.push(Statement::For {
                induction: trip,
                start,
                end,
                step: 1,
                body,
            });
        }
        self.b.close()
    }

    fn touch(&mut self, planted: &mut Planted, tensors: Tensors, shape: Shape, unknowns: [Value; 4]) {
        let Tensors { tensor, look_up, kept } = tensors;
        let indices = planted.indices.iter();
        let mut indices: Vec<Value> = indices.map(|index| self.looked_up(index, look_up, unknowns)).collect();
        indices[0] = self.b.broadcast(indices[0], shape);
        let mask = planted.mask.map(|mask| {
            let mask = self.tested(&mask, unknowns);
            self.b.broadcast(mask, shape)
        });
        let access = Access {
            tensor,
            guards: indices.iter().map(|_| Guard::FULL).collect(),
            indices: indices.into_iter().collect(),
            bounds: if planted.clamps {
                Bounds::Clamp
            } else {
                Bounds::default()
            },
            mask,
            cache: None,
            must_be_wide: false,
        };
        let element = ElementType::I32;
        let value = self.b.literal(Literal::new(7i32));
        let value = self.b.broadcast(value, shape);
        let first = self.b.line() + 1;
        let store = |access, conflict| Statement::Store {
            access,
            value,
            conflict,
        };
        let mut loaded = None;
        match planted.action {
            Action::Load => loaded = Some(self.b.emit(Expression::Load(access), Type { element, shape })),
            Action::Store => self.b.push(store(access, None)),
            Action::Disjoint => self.b.push(store(access, Some(Conflict::Disjoint))),
            Action::LastWins => self.b.push(store(access, Some(Conflict::LastWins))),
            Action::Atomic | Action::AtomicInBlock => {
                let op = AtomicOp::Add;
                let atomic = Atomic {
                    access,
                    update: AtomicUpdate::Combine { op, value },
                    order: MemoryOrder::Relaxed,
                    scope: match planted.action {
                        Action::Atomic => MemoryScope::Device,
                        _ => MemoryScope::Block,
                    },
                };
                self.b.emit(Expression::Atomic(atomic), Type { element, shape });
            }
        }
        planted.lines = first..=self.b.line();
        if let Some(value) = loaded {
            let [number, _, row, col] = unknowns;
            let columns = self.b.index(planted.extents[1].into());
            let line = self.b.binary(BinaryOp::Multiply, row, columns);
            let at = self.b.binary(BinaryOp::Add, line, col);
            let number = self.b.broadcast(number, shape);
            let access = Access {
                tensor: kept,
                guards: [Guard::FULL; 2].into_iter().collect(),
                indices: [number, at].into_iter().collect(),
                bounds: Bounds::default(),
                mask: None,
                cache: None,
                must_be_wide: false,
            };
            let conflict = None;
            self.b.push(Statement::Store {
                access,
                value,
                conflict,
            });
        }
    }

    fn summed(&mut self, linear: &Linear, unknowns: [Value; 4]) -> Value {
        let mut sum = self.b.index(linear.plus);
        for (&by, unknown) in linear.by.iter().zip(unknowns) {
            let term = match by {
                0 => continue,
                1 => unknown,
                _ => {
                    let by = self.b.index(by);
                    self.b.binary(BinaryOp::Multiply, unknown, by)
                }
            };
            sum = self.b.binary(BinaryOp::Add, sum, term);
        }
        sum
    }

    fn looked_up(&mut self, index: &Index, table: u32, unknowns: [Value; 4]) -> Value {
        match *index {
            Index::Linear(linear) => self.summed(&linear, unknowns),
            Index::Divided(linear, by) => {
                let (sum, by) = (self.summed(&linear, unknowns), self.b.index(by));
                self.b.binary(BinaryOp::Divide, sum, by)
            }
            Index::Remainder(linear, by) => {
                let (sum, by) = (self.summed(&linear, unknowns), self.b.index(by));
                self.b.binary(BinaryOp::Remainder, sum, by)
            }
            Index::Table(linear) => {
                let sum = self.summed(&linear, unknowns);
                let shape = self.b.ty(sum).shape;
                let access = Access {
                    tensor: table,
                    guards: [Guard::FULL].into_iter().collect(),
                    indices: [sum].into_iter().collect(),
                    bounds: Bounds::default(),
                    mask: None,
                    cache: None,
                    must_be_wide: false,
                };
                let element = ElementType::I64;
                self.b.emit(Expression::Load(access), Type { element, shape })
            }
        }
    }

    fn tested(&mut self, test: &Test, unknowns: [Value; 4]) -> Value {
        let (sum, by, below) = (
            self.summed(&test.of, unknowns),
            self.b.index(test.by),
            self.b.index(test.below),
        );
        let rest = self.b.binary(BinaryOp::Remainder, sum, by);
        self.b.compare(CompareOp::Less, rest, below)
    }
}

impl Plant {
    /// The extents and strides of the tensor.
    pub fn layout<'c>(&self, case: &'c Case) -> (&'c [u64], &'c [i64]) {
        match &case.arguments[self.tensor as usize] {
            Argument::Tensor(tensor) => (&tensor.extents, &tensor.strides),
            Argument::Count(_) | Argument::Scalar(_) => (&[], &[]),
        }
    }
}
