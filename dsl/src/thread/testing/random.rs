//! Random kernels that the verifier accepts.

use fastrand::Rng;

use super::{BYTES, Memory, beginning, keep, many, value};
use crate::element::ElementType;
use crate::ir::{
    AtomicOp, BinaryOp, CacheHint, CompareOp, GridDependency, Handle, Literal, MemoryOrder, MemoryScope, Span, UnaryOp,
};
use crate::thread::{
    Argument, AsyncCopy, Atomic, Buffer, BufferKind, Builder, Facts, FenceOrder, Index, Kernel, Label, Load, Operation,
    Order, Place, Predicate, Register, Report, Rounding, Shuffle, Space, Statement, Store, Type, Unroll, Update, Use,
    Vote, accepts_binary, accepts_cast, accepts_unary, accepts_warp_reduce, is_computed,
};

/// A kernel of about `statements` statements. The same for the same numbers.
pub fn random(rng: &mut Rng, statements: usize) -> Kernel {
    let threads = [1, 7, 16, 32, 64, 96, 256, 1024][rng.usize(..8)];
    let (b, memory, scalars) = beginning("random", threads);
    let mut random = Random {
        rng,
        b,
        memory,
        scalars,
        values: Vec::new(),
        indices: Vec::new(),
        registers: Vec::new(),
        around: Vec::new(),
        together: true,
        left: statements,
    };
    random.atoms();
    random.statements();
    random.b.finish()
}

struct Random<'a> {
    rng: &'a mut Rng,
    b: Builder,
    memory: Memory,
    scalars: Vec<Handle<Argument>>,
    /// What is in scope.
    values: Vec<Use>,
    indices: Vec<Handle<Index>>,
    /// What has been set.
    registers: Vec<Handle<Register>>,
    /// What can be left, and whether it is a loop.
    around: Vec<(Label, bool)>,
    /// Whether all threads are here.
    together: bool,
    /// How many statements are to come.
    left: usize,
}

fn pick<T: Copy>(rng: &mut Rng, all: &[T]) -> T {
    all[rng.usize(..all.len())]
}

impl Random<'_> {
    fn element(&mut self) -> ElementType {
        pick(self.rng, &ElementType::ALL)
    }

    fn computed(&mut self) -> ElementType {
        loop {
            let element = self.element();
            if is_computed(element) {
                return element;
            }
        }
    }

    /// A type that memory has.
    fn stored(&mut self) -> Type {
        loop {
            let element = self.element();
            if element != ElementType::Bool {
                let most = many(element).ilog2();
                return Type::packet(element, 1 << self.rng.u32(..=most));
            }
        }
    }

    fn lanes(&mut self) -> u8 {
        pick(self.rng, &[1, 1, 1, 2, 3, 4, 8])
    }

    fn atoms(&mut self) {
        let (thread, block) = (self.b.thread(), self.b.block());
        self.indices.extend([thread, block]);
        let integers = ElementType::ALL.iter().zip(self.scalars.clone());
        for (element, argument) in integers.filter(|(element, _)| element.is_integer()) {
            let facts = match self.rng.bool() {
                true => Facts::of_element(*element),
                false => Facts::between(0, 100).with_divisor(4),
            };
            let index = self.b.argument_index(argument, facts);
            self.indices.push(index);
        }
        let address = self.b.address(self.memory.common);
        self.indices.push(address);
    }

    fn index(&mut self) -> Handle<Index> {
        if self.rng.u32(..3) == 0 {
            let value = pick(self.rng, &[0, 1, -1, 2, 7, 16, -64, 4096, i64::MAX, i64::MIN, 1 << 33]);
            return self.b.constant(value);
        }
        let known = self.indices[self.rng.usize(..self.indices.len())];
        let depth = self.rng.u32(..4);
        (0..depth).fold(known, |index, _| self.grown(index))
    }

    fn grown(&mut self, index: Handle<Index>) -> Handle<Index> {
        let other = pick(self.rng, &self.indices);
        let number = pick(self.rng, &[1, -1, 2, 3, 8, 100, -7, 1 << 20]);
        let number = self.b.constant(number);
        let condition = match self.rng.u32(..12) {
            0 => Some(self.condition()),
            _ => None,
        };
        let bits = self.rng.u8(..=62);
        let which = self.rng.u32(..11);
        let indices = self.b.indices();
        match (which, condition) {
            (_, Some(condition)) => indices.select(condition, index, other),
            (0, _) => indices.add(index, other),
            (1, _) => indices.subtract(index, other),
            (2, _) => indices.multiply(index, other),
            (3, _) => indices.multiply(index, number),
            (4, _) => indices.add(index, number),
            (5, _) => indices.quotient(index, number),
            (6, _) => indices.quotient(index, other),
            (7, _) => indices.remainder(index, number),
            (8, _) => indices.low(index, bits),
            (9, _) => indices.minimum(index, other),
            (_, _) => indices.maximum(index, other),
        }
    }

    fn condition(&mut self) -> Handle<Predicate> {
        let which = self.rng.u32(..9);
        if which > 5 {
            let (one, other) = (self.condition(), self.condition());
            let indices = self.b.indices();
            return match which {
                6 => indices.not(one),
                7 => indices.all([one, other]),
                _ => indices.any([one, other]),
            };
        }
        if which == 5 {
            let operand = self.operand(Type::CONDITION);
            return self.b.condition(operand);
        }
        let known = |of: &mut Self| of.indices[of.rng.usize(..of.indices.len())];
        let (left, right) = (known(self), if self.rng.bool() { self.index() } else { known(self) });
        let indices = self.b.indices();
        match which {
            0 | 1 => indices.less(left, right),
            2 => indices.at_most(left, right),
            3 => indices.equal(left, right),
            _ => {
                let limit = indices.low(right, 40);
                indices.within(left, limit)
            }
        }
    }

    /// Something of this type.
    fn operand(&mut self, ty: Type) -> Use {
        let fits: Vec<Use> = self
            .values
            .iter()
            .copied()
            .filter(|value| self.b.kernel().ty(*value) == ty)
            .collect();
        if !fits.is_empty() && self.rng.u32(..4) > 0 {
            return pick(self.rng, &fits);
        }
        match (ty, self.rng.u32(..3)) {
            (Type::INDEX, 0) => self.index().into(),
            (Type { lanes: 1, element }, 1) => {
                let bits = self.rng.u64(..) >> (64 - element.bits());
                let bits = if element == ElementType::Bool { bits & 1 } else { bits };
                Use::Literal(Literal { element, bits })
            }
            _ => value(&mut self.b, &self.scalars, ty),
        }
    }

    /// Something of this type, or one lane of it.
    fn lane_by_lane(&mut self, ty: Type) -> Use {
        match self.rng.u32(..4) {
            0 => self.operand(ty.with_lanes(1)),
            _ => self.operand(ty),
        }
    }

    fn place(&mut self, buffer: Handle<Buffer>, bytes: u32) -> Place {
        let index = self.index();
        let limited = !matches!(self.b.kernel().buffers[buffer].space(), Space::Global);
        let indices = self.b.indices();
        let index = match limited {
            true => indices.low(index, (BYTES / bytes).ilog2() as u8),
            false => index,
        };
        let offset = indices.scale(index, bytes.into());
        let mut place = self.b.place(buffer, offset);
        if matches!(self.b.kernel().buffers[buffer].kind, BufferKind::Listed { .. }) {
            while place.pointer.is_none() {
                if let Use::Value(pointer) = self.operand(Type::scalar(ElementType::U64)) {
                    place.pointer = Some(pointer);
                }
            }
        }
        place
    }

    fn buffer(&mut self) -> Handle<Buffer> {
        let Memory {
            read_only,
            private,
            common,
            listed,
            shared,
            local,
            table,
            parameter,
        } = self.memory;
        pick(
            self.rng,
            &[read_only, private, common, listed, shared, local, table, parameter],
        )
    }

    fn order(&mut self) -> Order {
        match self.rng.bool() {
            true => Order::Weak,
            false => Order::Strong(self.memory_order(), self.scope()),
        }
    }

    fn memory_order(&mut self) -> MemoryOrder {
        let all = [
            MemoryOrder::Relaxed,
            MemoryOrder::Relaxed,
            MemoryOrder::Acquire,
            MemoryOrder::Release,
            MemoryOrder::AcquireRelease,
        ];
        pick(self.rng, &all)
    }

    fn scope(&mut self) -> MemoryScope {
        pick(
            self.rng,
            &[MemoryScope::Block, MemoryScope::Device, MemoryScope::System],
        )
    }

    fn cache(&mut self) -> Option<CacheHint> {
        self.rng.bool().then(|| pick(self.rng, &CacheHint::ALL))
    }

    fn predicate(&mut self) -> Option<Handle<Predicate>> {
        self.rng.bool().then(|| self.condition())
    }

    /// A group of threads that is here as a whole.
    fn group(&mut self) -> Option<u32> {
        let threads = self.b.kernel().threads;
        let group = pick(self.rng, &[1, 2, 4, 8, 16, 32]);
        (self.together && threads.is_multiple_of(group)).then_some(group)
    }

    fn load(&mut self) -> Option<Operation> {
        let ty = self.stored();
        let buffer = self.buffer();
        let load = Load {
            place: self.place(buffer, ty.bytes()),
            ty,
            order: self.order(),
            cache: self.cache(),
            read_only: self.rng.bool(),
            predicate: self.predicate(),
        };
        let accepted = self.b.kernel().verify_load(&load, Span::UNKNOWN).is_ok();
        accepted.then_some(Operation::Load(load))
    }

    fn operation(&mut self) -> Option<Operation> {
        let lanes = self.lanes();
        Some(match self.rng.u32(..17) {
            0 => self.load()?,
            1 => {
                let (op, ty) = (pick(self.rng, &UnaryOp::ALL), self.computed());
                let value = self.operand(Type::packet(ty, lanes));
                accepts_unary(op, ty).then_some(Operation::Unary { op, value })?
            }
            2..=4 => {
                let (op, ty) = (pick(self.rng, &BinaryOp::ALL), Type::packet(self.computed(), lanes));
                let (left, right) = (self.lane_by_lane(ty), self.lane_by_lane(ty));
                accepts_binary(op, ty.element).then_some(Operation::Binary { op, left, right })?
            }
            5 => {
                let ty = Type::packet(pick(self.rng, &[ElementType::F32, ElementType::F64]), lanes);
                let [left, right, addend] = [(); 3].map(|()| self.lane_by_lane(ty));
                match self.rng.bool() {
                    true => Operation::MulAdd { left, right, addend },
                    false => Operation::Canonical(left),
                }
            }
            6 => {
                let ty = Type::packet(self.computed(), lanes);
                let (left, right) = (self.lane_by_lane(ty), self.lane_by_lane(ty));
                let op = match ty.element {
                    ElementType::Bool => CompareOp::NotEqual,
                    _ => pick(self.rng, &[CompareOp::Equal, CompareOp::Less, CompareOp::GreaterEqual]),
                };
                Operation::Compare { op, left, right }
            }
            7 => {
                let ty = Type::packet(self.element(), lanes);
                Operation::Select {
                    condition: self.lane_by_lane(ty.with_element(ElementType::Bool)),
                    accept: self.lane_by_lane(ty),
                    reject: self.lane_by_lane(ty),
                }
            }
            8 | 9 => {
                let (from, to) = (self.element(), self.element());
                let rounding = pick(
                    self.rng,
                    &[Rounding::NearestEven, Rounding::NearestEven, Rounding::Zero],
                );
                let value = self.operand(Type::packet(from, lanes));
                accepts_cast(from, to, rounding).then_some(Operation::Cast { value, to, rounding })?
            }
            10 => {
                let (from, to) = (self.stored(), self.element());
                let fits = to != ElementType::Bool && from.bytes().is_multiple_of(to.size() as u32);
                let to = fits.then(|| Type::packet(to, (from.bytes() / to.size() as u32) as u8))?;
                let value = self.operand(from);
                Operation::Bitcast { value, to }
            }
            11 => {
                let element = self.element();
                let parts = (0..self.rng.usize(1..4)).map(|_| {
                    let lanes = self.lanes();
                    self.operand(Type::packet(element, lanes))
                });
                Operation::Join(parts.collect())
            }
            12 => {
                let ty = Type::packet(self.element(), 8);
                let (value, first) = (self.operand(ty), self.rng.u8(..8));
                let lanes = self.rng.u8(1..=8 - first);
                Operation::Part { value, first, lanes }
            }
            13 => {
                let ty = Type::scalar(self.element());
                let value = self.operand(ty);
                Operation::Repeat { value, lanes }
            }
            14 => {
                let group = self.group()?;
                let value = self.stored().with_lanes(1);
                let value = self.operand(value);
                let by = Literal::new(self.rng.u32(..group)).into();
                let kind = pick(
                    self.rng,
                    &[Shuffle::Up, Shuffle::Down, Shuffle::Exchange, Shuffle::From],
                );
                Operation::Shuffle { kind, value, by, group }
            }
            15 => {
                let element = pick(self.rng, &[ElementType::I32, ElementType::U32]);
                let op = pick(self.rng, &BinaryOp::ALL);
                let is_possible = self.group()? == 32 && accepts_warp_reduce(op, element);
                let value = self.operand(Type::scalar(element));
                is_possible.then_some(Operation::WarpReduce { op, value })?
            }
            _ => {
                let group = self.group()?;
                let condition = self.operand(Type::CONDITION);
                let kind = pick(self.rng, &[Vote::All, Vote::Any, Vote::Ballot]);
                Operation::Vote { kind, condition, group }
            }
        })
    }

    fn statements(&mut self) {
        while self.left > 0 {
            self.left -= 1;
            self.statement();
        }
    }

    /// What some block does: a part of what is left.
    fn inside(&mut self, before: impl FnOnce(&mut Self)) -> crate::thread::Block {
        let (values, indices, registers) = (self.values.len(), self.indices.len(), self.registers.len());
        let share = self.rng.usize(..=self.left.min(8));
        let rest = self.left - share;
        self.left = share;
        // Statements go to the innermost block, which the builder gives out by a closure.
        let mut b = std::mem::replace(&mut self.b, Builder::new("", 1));
        let block = b.inside(|b| {
            std::mem::swap(b, &mut self.b);
            before(self);
            self.statements();
            self.end();
            std::mem::swap(b, &mut self.b);
        });
        self.b = b;
        self.left = rest;
        self.values.truncate(values);
        self.indices.truncate(indices);
        self.registers.truncate(registers);
        block
    }

    /// A way out at the end of a block, now and then.
    fn end(&mut self) {
        if self.rng.u32(..3) > 0 {
            return;
        }
        if self.around.is_empty() || self.rng.u32(..8) == 0 {
            return self.b.push(Statement::Exit);
        }
        let (label, is_loop) = pick(self.rng, &self.around);
        self.b.push(match is_loop && self.rng.bool() {
            true => Statement::Next(label),
            false => Statement::Leave(label),
        });
    }

    fn nested(&mut self) {
        // Threads may go different ways inside, and leave for good.
        self.together = false;
        let kind = self.rng.u32(..5);
        if kind < 2 {
            let condition = self.condition();
            let accept = self.inside(|_| {});
            let reject = match self.rng.bool() {
                true => self.inside(|_| {}),
                false => crate::thread::Block::new(),
            };
            return self.b.push(Statement::If {
                condition,
                accept,
                reject,
            });
        }
        let label = self.b.label();
        let unroll = pick(self.rng, &[Unroll::Free, Unroll::Never]);
        self.around.push((label, kind != 2));
        let statement = match kind {
            2 => Statement::Scope {
                label,
                body: self.inside(|_| {}),
            },
            3 => Statement::Loop {
                label,
                unroll,
                body: self.inside(|_| {}),
            },
            _ => self.counted(label, unroll),
        };
        self.around.pop();
        self.b.push(statement);
    }

    fn counted(&mut self, label: Label, unroll: Unroll) -> Statement {
        let (start, end) = (self.index(), self.index());
        let end = match self.rng.bool() {
            true => self.b.indices().low(end, 40),
            false => self.b.indices().low(end, 9),
        };
        let step = pick(self.rng, &[1, 2, 32, 1 << 31]);
        let kernel = self.b.kernel();
        let (first, last) = (kernel.indices.facts(start), kernel.indices.facts(end));
        let facts = Facts {
            low: first.low,
            high: last.high.saturating_sub(1).max(first.low),
            divisor: first.divisor.min(Facts::constant(step).divisor),
        };
        let variable = self.b.kernel_mut().variables.append(crate::thread::Variable { facts });
        let body = self.inside(|of| {
            let at = of.b.indices().atom(crate::thread::Atom::Variable(variable), facts);
            of.indices.push(at);
        });
        Statement::For {
            label,
            variable,
            start,
            end,
            step,
            unroll,
            body,
        }
    }

    fn statement(&mut self) {
        match self.rng.u32(..24) {
            0 | 1 => self.nested(),
            2 => {
                let index = self.index();
                let named = self.b.name(index);
                self.indices.push(named);
            }
            3 => {
                let ty = Type::packet(self.element(), self.lanes());
                let value = self.operand(ty);
                let register = self.b.register("any thing", ty);
                self.b.assign(register, value);
                self.registers.push(register);
            }
            4 => {
                if !self.registers.is_empty() {
                    let register = pick(self.rng, &self.registers);
                    let value = self.operand(self.b.kernel().registers[register].ty);
                    self.b.assign(register, value);
                    let read = self.b.read(register);
                    self.values.push(read);
                }
            }
            5 | 6 => self.store(),
            7 => self.atomic(),
            8 => self.effect(),
            _ => {
                if let Some(operation) = self.operation() {
                    let value = self.b.emit(operation);
                    let ty = self.b.kernel().ty(value);
                    if ty.lanes == 1 && ty.element.is_integer() {
                        let index = self.b.index(value);
                        self.indices.push(index);
                    }
                    self.values.push(value);
                    if self.rng.u32(..4) == 0 {
                        keep(&mut self.b, self.memory.common, value);
                    }
                }
            }
        }
    }

    fn store(&mut self) {
        let (ty, buffer) = (self.stored(), self.buffer());
        let store = Store {
            place: self.place(buffer, ty.bytes()),
            block: None,
            value: self.operand(ty),
            order: self.order(),
            cache: self.cache(),
            predicate: self.predicate(),
        };
        if self.b.kernel().verify_store(&store, Span::UNKNOWN).is_ok() {
            self.b.store(store);
        }
    }

    fn atomic(&mut self) {
        let (element, buffer) = (self.element(), self.buffer());
        let [value, current] = [(); 2].map(|()| self.operand(Type::scalar(element)));
        let all = [AtomicOp::Add, AtomicOp::Max, AtomicOp::Xor, AtomicOp::Exchange];
        let update = match self.rng.u32(..3) {
            0 => Update::CompareExchange { current, new: value },
            _ => Update::Combine {
                op: pick(self.rng, &all),
                value,
            },
        };
        let atomic = Atomic {
            place: self.place(buffer, element.size() as u32),
            element,
            update,
            order: self.memory_order(),
            scope: self.scope(),
            result: None,
            predicate: self.predicate(),
        };
        if self.b.kernel().verify_atomic(&atomic, Span::UNKNOWN).is_ok() {
            let wanted = self.rng.bool();
            self.values.extend(self.b.atomic(atomic, wanted));
        }
    }

    /// Whatever else is done.
    fn effect(&mut self) {
        let statement = match self.rng.u32(..9) {
            0 => Statement::AsyncCommit,
            1 => Statement::AsyncWait(self.rng.u8(..4)),
            2 => Statement::Fence {
                order: pick(self.rng, &[FenceOrder::AcquireRelease, FenceOrder::Sequential]),
                scope: self.scope(),
            },
            3 => Statement::GridDependency(pick(self.rng, &[GridDependency::Wait, GridDependency::Trigger])),
            4 => Statement::Prefetch {
                place: self.place(self.memory.listed, 1),
                predicate: self.predicate(),
            },
            5 => {
                let ty = Type::scalar(self.computed());
                Statement::Print {
                    format: "it is {}".to_owned(),
                    values: vec![self.operand(ty)],
                }
            }
            6 => Statement::Report(Report {
                site: self.b.site(),
                program: self.index(),
                value: self.operand(Type::INDEX),
                met: self.operand(Type::scalar(ElementType::U64)),
                predicate: self.predicate(),
            }),
            7 => {
                let bytes = pick(self.rng, &[4, 8, 16]);
                Statement::AsyncCopy(AsyncCopy {
                    to: self.place(self.memory.shared, bytes),
                    from: self.place(self.memory.common, bytes),
                    bytes: bytes as u8,
                    predicate: self.predicate(),
                })
            }
            _ => {
                let threads = self.b.kernel().threads;
                let group = match (self.group(), self.rng.bool()) {
                    (Some(group), false) => group,
                    _ if self.together => threads,
                    _ => return,
                };
                Statement::Barrier { group }
            }
        };
        self.b.push(statement);
    }
}
