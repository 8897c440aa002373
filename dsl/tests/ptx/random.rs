//! Random kernels of the thread IR that the verifier accepts, and whose results are those of one thread after the other.
//!
//! Each thread of a block reads its own bytes of `source`, writes its own of `target`, and exchanges values with others where all
//! of them are. Where a NaN comes from an operation it is made canonical, so that all bits that are written are decided.

use fastrand::Rng;
use tilewright_dsl::element::ElementType;
use tilewright_dsl::ir::{AtomicOp, BinaryOp, CompareOp, Handle, Literal, MemoryOrder, MemoryScope, Span, UnaryOp};
use tilewright_dsl::thread::interpret::{Memory, Passed, run};
use tilewright_dsl::thread::{
    ArgumentKind, Atomic, Buffer, BufferKind, Builder, Facts, Index, Kernel, Load, MAX_LANES, Operation, Order, Place,
    Predicate, Report, Rounding, Sharing, Shuffle, Statement, Store, Type, Unroll, Update, Use, Vote, accepts_binary,
    accepts_cast, accepts_unary,
};

/// Bytes of `source` for each thread of the grid.
pub const READ_BYTES: i64 = 64;
/// Bytes of `target` for each thread of the grid.
pub const WRITTEN_BYTES: i64 = 512;
/// What `count` is at most.
pub const MOST: i64 = 100;

/// Blocks of a launch.
pub const BLOCKS: u32 = 3;

const SHARED_BYTES: i64 = 16;
const LOCAL_BYTES: i64 = 32;
const TABLE: [u64; 4] = [0x0123_4567_89ab_cdef, u64::MAX, 0, 0x7ff0_0000_3f80_8080];

/// What kernels may do beside what is the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Report, print, run instructions of the author's.
    pub special: bool,
    /// Statements, about.
    pub statements: usize,
}

/// The kernel of a seed.
pub fn kernel(seed: u64, extent: Extent) -> Kernel {
    let mut rng = Rng::with_seed(seed);
    let threads = [8, 32, 64, 128, 192][rng.usize(..5)];
    let mut b = Builder::new(format!("random_{seed}"), threads);
    let [source, target, record] = ["source", "target", "record"].map(|name| b.argument(name, ArgumentKind::Pointer));
    let count = b.argument("count", ArgumentKind::Scalar(ElementType::I64));
    let small = b.argument("small", ArgumentKind::Scalar(ElementType::I16));
    let flag = b.argument("flag", ArgumentKind::Scalar(ElementType::Bool));
    let global = |argument, sharing| BufferKind::Global { argument, sharing };
    let source = b.buffer("source", 16, global(source, Sharing::ReadOnly));
    let target = b.buffer("target", 16, global(target, Sharing::Private));
    let bytes = threads * SHARED_BYTES as u32;
    let shared = b.buffer("shared", 16, BufferKind::Shared { offset: 32, bytes });
    let local = b.buffer(
        "local",
        16,
        BufferKind::Local {
            bytes: LOCAL_BYTES as u32,
        },
    );
    let table = b.table(TABLE.to_vec());
    let table = b.buffer("table", 8, BufferKind::Table { table });
    b.kernel_mut().record = Some(record);
    let (thread, block) = (b.thread(), b.block());
    let blocks = b.indices().scale(block, threads.into());
    let number = b.indices().add(blocks, thread);
    let count = b.argument_index(count, Facts::between(0, MOST));
    let small = b.argument_index(small, Facts::of_element(ElementType::I16));
    let mut random = Random {
        rng,
        b,
        known: Vec::new(),
        indices: vec![thread, block, count, small],
        source,
        target,
        shared,
        local,
        table,
        number,
        written: 0,
        threads,
        extent,
        left: extent.statements,
    };
    let flag = random.b.emit(Operation::Argument(flag));
    random.known.push(flag);
    let local = random.place(local, None, 0);
    for half in [0, 16] {
        let word = random.own_source(Type::packet(ElementType::U32, 4));
        let offset = random.b.indices().offset(local.offset, half);
        random.b.store(store(Place { offset, ..local }, word));
    }
    while random.left > 0 {
        random.statement(0);
    }
    random.write_all();
    random.b.finish()
}

/// What a kernel of [`kernel`] takes, and what is in the buffers.
pub fn launch(seed: u64, kernel: &Kernel) -> (Vec<Passed>, Vec<Vec<u8>>) {
    let mut rng = Rng::with_seed(seed);
    let threads = (BLOCKS * kernel.threads) as usize;
    let memory = vec![
        bytes(&mut rng, threads * READ_BYTES as usize),
        bytes(&mut rng, threads * WRITTEN_BYTES as usize),
        vec![0; 64],
    ];
    let arguments = vec![
        Passed::Pointer(0),
        Passed::Pointer(1),
        Passed::Pointer(2),
        Passed::Scalar(rng.u64(..=MOST as u64)),
        Passed::Scalar(rng.u16(..).into()),
        Passed::Scalar(rng.u64(..2)),
    ];
    (arguments, memory)
}

/// What buffers hold after the kernel is interpreted; a pointer is the number of one of them.
pub fn interpreted(kernel: &Kernel, arguments: &[Passed], memory: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all = Memory::new();
    let places: Vec<u64> = memory.iter().map(|bytes| all.allocate(bytes.clone(), 0)).collect();
    let passed: Vec<Passed> = arguments
        .iter()
        .map(|argument| match argument {
            Passed::Pointer(number) => Passed::Pointer(places[*number as usize]),
            other => other.clone(),
        })
        .collect();
    run(kernel, BLOCKS, &passed, &mut all).unwrap_or_else(|fault| panic!("{fault}\n{kernel}"));
    places.iter().map(|place| all.bytes(*place).to_vec()).collect()
}

/// Bytes among which are small numbers, NaN and infinities of every type.
pub fn bytes(rng: &mut Rng, count: usize) -> Vec<u8> {
    let special = [
        0x7f80_0001u32,
        0xff80_0000,
        0x7fc0_7fff,
        0x7c00_7c01,
        0x7f7f_ffff,
        0x8000_0000,
        1,
        0x3f80_bf80,
    ];
    let word = |rng: &mut Rng| match rng.u8(..4) {
        0 => special[rng.usize(..special.len())],
        1 => rng.f32().to_bits(),
        _ => rng.u32(..),
    };
    (0..count.div_ceil(4))
        .flat_map(|_| word(rng).to_le_bytes())
        .take(count)
        .collect()
}

fn store(place: Place, value: Use) -> Store {
    Store {
        place,
        block: None,
        value,
        order: Order::Weak,
        cache: None,
        predicate: None,
    }
}

struct Random {
    rng: Rng,
    b: Builder,
    /// The values in scope.
    known: Vec<Use>,
    /// The indices in scope.
    indices: Vec<Handle<Index>>,
    source: Handle<Buffer>,
    target: Handle<Buffer>,
    shared: Handle<Buffer>,
    local: Handle<Buffer>,
    table: Handle<Buffer>,
    /// The thread's number in the grid.
    number: Handle<Index>,
    /// Bytes of the thread's own that have been written.
    written: i64,
    threads: u32,
    extent: Extent,
    left: usize,
}

impl Random {
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())]
    }

    fn element(&mut self) -> ElementType {
        self.pick(&ElementType::ALL)
    }

    fn ty(&mut self) -> Type {
        let lanes = self.pick(&[1, 1, 1, 1, 2, 2, 3, 4, 5, 8, 16]);
        Type::packet(self.element(), lanes)
    }

    fn type_of(&self, operand: Use) -> Type {
        self.b.kernel().ty(operand)
    }

    /// Bytes from a place of a buffer on: the thread's own where threads have some.
    fn place(&mut self, buffer: Handle<Buffer>, step: Option<i64>, at: i64) -> Place {
        let start = match step {
            Some(bytes) => self.b.indices().scale(self.number, bytes),
            None => self.b.constant(0),
        };
        let offset = self.b.indices().offset(start, at);
        self.b.place(buffer, offset)
    }

    fn own_source(&mut self, ty: Type) -> Use {
        let bytes = i64::from(ty.bytes());
        let at = self.rng.i64(0..READ_BYTES / bytes) * bytes;
        let place = self.place(self.source, Some(READ_BYTES), at);
        let predicate = self.rng.u8(..6) == 0;
        let load = Load {
            place,
            ty,
            order: Order::Weak,
            cache: None,
            read_only: self.rng.bool(),
            predicate: predicate.then(|| self.condition()),
        };
        self.b.load(load)
    }

    // Values.

    fn literal(&mut self, element: ElementType) -> Use {
        let bits = match element {
            ElementType::Bool => self.rng.u64(..2),
            _ => match self.rng.u8(..4) {
                0 => self.pick(&[0, 1, u64::MAX, 1 << 63, 0x8000_0000, 0x7fff]),
                _ => self.rng.u64(..) >> self.rng.u32(..64),
            },
        };
        let bits = if element.bits() == 64 {
            bits
        } else {
            bits & ((1 << element.bits()) - 1)
        };
        Literal { element, bits }.into()
    }

    /// A value of a type.
    fn value(&mut self, ty: Type) -> Use {
        let known: Vec<Use> = self
            .known
            .iter()
            .copied()
            .filter(|known| self.type_of(*known) == ty)
            .collect();
        if !known.is_empty() && self.rng.u8(..8) != 0 {
            return self.pick(&known);
        }
        if ty == Type::CONDITION && self.rng.bool() {
            return self.condition().into();
        }
        if ty == Type::INDEX && self.rng.bool() {
            return self.index(2).into();
        }
        if ty.element != ElementType::Bool && matches!(ty.bytes(), 1 | 2 | 4 | 8 | 16) && self.rng.u8(..4) != 0 {
            return self.load(ty);
        }
        if ty.lanes == 1 {
            return self.literal(ty.element);
        }
        if ty.element == ElementType::Bool {
            let of = self.value(Type::packet(ElementType::U8, ty.lanes));
            return self.b.is_not_zero(of);
        }
        match self.rng.bool() {
            true => {
                let value = self.value(Type::scalar(ty.element));
                self.b.emit(Operation::Repeat { value, lanes: ty.lanes })
            }
            false => {
                let first = self.rng.u8(1..ty.lanes);
                let (low, high) = (
                    self.value(ty.with_lanes(first)),
                    self.value(ty.with_lanes(ty.lanes - first)),
                );
                self.b.join(vec![low, high])
            }
        }
    }

    fn load(&mut self, ty: Type) -> Use {
        let bytes = i64::from(ty.bytes());
        let (buffer, room, step) = match self.rng.u8(..6) {
            0 => (self.local, LOCAL_BYTES, None),
            1 if bytes <= 8 => (self.table, 32, None),
            _ => return self.own_source(ty),
        };
        let at = self.rng.i64(0..room / bytes) * bytes;
        // Somewhere in the table that the thread's number says.
        let mut place = self.place(buffer, step, at);
        if buffer == self.table && self.rng.bool() {
            let index = self.index(1);
            let low = self.b.indices().low(index, 5 - bytes.trailing_zeros() as u8);
            place.offset = self.b.indices().scale(low, bytes);
        }
        self.b.load(Load {
            place,
            ty,
            order: Order::Weak,
            cache: None,
            read_only: false,
            predicate: None,
        })
    }

    /// A value of a type, or one lane that stands for each of its lanes.
    fn operand(&mut self, ty: Type) -> Use {
        match self.rng.u8(..4) {
            0 => self.value(Type::scalar(ty.element)),
            _ => self.value(ty),
        }
    }

    /// What decides all bits of a result.
    fn decided(&mut self, value: Use) -> Use {
        match self.type_of(value).element {
            ElementType::F32 | ElementType::F64 => self.b.emit(Operation::Canonical(value)),
            _ => value,
        }
    }

    /// Computes something.
    fn compute(&mut self) {
        let ty = self.ty();
        let element = ty.element;
        let result = match self.rng.u8(..13) {
            0 | 1 => {
                let op = self.pick(&UnaryOp::ALL);
                if !accepts_unary(op, element) {
                    return;
                }
                let value = self.value(ty);
                self.b.unary(op, value)
            }
            2..=5 => {
                let op = self.pick(&BinaryOp::ALL);
                if !accepts_binary(op, element) {
                    return;
                }
                let (left, right) = (self.value(ty), self.operand(ty));
                match self.rng.bool() {
                    true => self.b.binary(op, left, right),
                    false => self.b.binary(op, right, left),
                }
            }
            6 => {
                let ty = ty.with_element(self.pick(&[ElementType::F32, ElementType::F64]));
                let [left, right, addend] = [(); 3].map(|()| self.operand(ty));
                self.b.emit(Operation::MulAdd { left, right, addend })
            }
            7 => {
                let op = self.pick(&[
                    CompareOp::Equal,
                    CompareOp::NotEqual,
                    CompareOp::Less,
                    CompareOp::LessEqual,
                    CompareOp::Greater,
                    CompareOp::GreaterEqual,
                ]);
                let narrow = matches!(
                    element,
                    ElementType::F16 | ElementType::BF16 | ElementType::F8E4M3 | ElementType::F8E5M2
                );
                let equality = matches!(op, CompareOp::Equal | CompareOp::NotEqual);
                if narrow || (element == ElementType::Bool && !equality) {
                    return;
                }
                let (left, right) = (self.value(ty), self.operand(ty));
                self.b.compare(op, left, right)
            }
            8 => {
                let condition = self.operand(ty.with_element(ElementType::Bool));
                let (accept, reject) = (self.value(ty), self.operand(ty));
                self.b.select(condition, accept, reject)
            }
            9 | 10 => {
                let to = self.element();
                let rounding = if self.rng.u8(..4) == 0 {
                    Rounding::Zero
                } else {
                    Rounding::NearestEven
                };
                if !accepts_cast(element, to, rounding) {
                    return;
                }
                let value = self.value(ty);
                self.b.emit(Operation::Cast { value, to, rounding })
            }
            11 => {
                let to = self.element();
                let lanes = ty.bytes() / to.size() as u32;
                let fits = lanes >= 1 && lanes <= MAX_LANES.into() && ty.bytes().is_multiple_of(to.size() as u32);
                if element == ElementType::Bool || to == ElementType::Bool || !fits {
                    return;
                }
                let value = self.value(ty);
                self.b.bitcast(value, Type::packet(to, lanes as u8))
            }
            _ => match self.rng.u8(..3) {
                0 => {
                    let [low, high, by] = [(); 3].map(|()| self.operand(ty.with_element(ElementType::U32)));
                    self.b.emit(Operation::Funnel { low, high, by })
                }
                1 => {
                    let value = self.value(ty);
                    let first = self.rng.u8(..ty.lanes);
                    let lanes = self.rng.u8(1..=ty.lanes - first);
                    self.b.part(value, first, lanes)
                }
                _ => {
                    let all = [(); 3].map(|()| self.value(ty));
                    let parts = if ty.lanes > 8 { &all[..2] } else { &all[..] };
                    self.b.join(parts.to_vec())
                }
            },
        };
        let result = self.decided(result);
        self.know(result);
    }

    fn know(&mut self, value: Use) {
        self.known.push(value);
        let ty = self.type_of(value);
        if ty.lanes == 1 && ty.element.is_integer() && matches!(value, Use::Value(_)) && self.rng.bool() {
            let index = self.b.index(value);
            self.indices.push(index);
        }
    }

    // IndexArena.

    fn index(&mut self, depth: u32) -> Handle<Index> {
        if depth == 0 || self.rng.u8(..5) == 0 {
            return match self.rng.u8(..4) {
                0 => {
                    let constant = self.pick(&[0, 1, 2, 3, 8, 24, 1000, -1, -7, i64::MAX, i64::MIN, 1 << 33]);
                    self.b.constant(constant)
                }
                _ => self.pick(&self.indices.clone()),
            };
        }
        let (left, right) = (self.index(depth - 1), self.index(depth - 1));
        let scale = self.pick(&[1, -1, 2, 4, 12, 4096, -3, 1 << 40]);
        let bits = self.rng.u8(..63);
        let condition = self.index_condition(depth - 1);
        let kind = self.rng.u8(..10);
        let indices = self.b.indices();
        match kind {
            0 | 1 => indices.add(left, right),
            2 => indices.subtract(left, right),
            3 => indices.scale(left, scale),
            4 => indices.multiply(left, right),
            5 => indices.quotient(left, right),
            6 => indices.remainder(left, right),
            7 => indices.low(left, bits),
            8 if bits > 30 => indices.minimum(left, right),
            8 => indices.maximum(left, right),
            _ => indices.select(condition, left, right),
        }
    }

    fn index_condition(&mut self, depth: u32) -> Handle<Predicate> {
        let depth = depth.min(1);
        let (left, right) = (self.index(depth), self.index(depth));
        let kind = self.rng.u8(..4);
        let indices = self.b.indices();
        match kind {
            0 => indices.less(left, right),
            1 => indices.equal(left, right),
            2 => indices.within(left, right),
            _ => indices.at_most(left, right),
        }
    }

    fn condition(&mut self) -> Handle<Predicate> {
        let one = match self.rng.bool() {
            true => self.index_condition(2),
            false => {
                let value = self.value_or_literal();
                self.b.condition(value)
            }
        };
        let other = self.index_condition(1);
        let kind = self.rng.u8(..5);
        let indices = self.b.indices();
        match kind {
            0 => indices.not(one),
            1 => indices.all([one, other]),
            2 => indices.any([one, other]),
            _ => one,
        }
    }

    fn value_or_literal(&mut self) -> Use {
        let bools: Vec<Use> = self
            .known
            .iter()
            .copied()
            .filter(|known| self.type_of(*known) == Type::CONDITION)
            .collect();
        match bools.is_empty() {
            true => self.literal(ElementType::Bool),
            false => self.pick(&bools),
        }
    }

    // Statements.

    fn inside<R>(&mut self, depth: usize, fill: impl FnOnce(&mut Self) -> R) -> R {
        let (known, indices) = (self.known.len(), self.indices.len());
        let result = fill(self);
        for _ in 0..self.rng.usize(1..4) {
            self.statement(depth + 1);
        }
        self.known.truncate(known);
        self.indices.truncate(indices);
        result
    }

    /// Statements in a block of their own.
    fn block(&mut self, depth: usize, fill: impl FnOnce(&mut Self)) -> tilewright_dsl::thread::Block {
        let mut own = Builder::new("", 1);
        std::mem::swap(own.kernel_mut(), self.b.kernel_mut());
        // Whatever is built now goes into a builder that has no block open but this one.
        std::mem::swap(&mut own, &mut self.b);
        self.inside(depth, fill);
        std::mem::swap(&mut own, &mut self.b);
        let mut kernel = own.finish();
        let block = std::mem::take(&mut kernel.body);
        *self.b.kernel_mut() = kernel;
        block
    }

    fn statement(&mut self, depth: usize) {
        self.left = self.left.saturating_sub(1);
        let line = 1 + self.rng.u32(..40);
        self.b.at(Span {
            file: if line < 30 { "random.rs" } else { "other \"random\".rs" },
            line,
            column: 1 + line / 2,
        });
        match self.rng.u8(..26) {
            0 if depth < 3 => {
                let condition = self.condition();
                let accept = self.block(depth, |_| {});
                let reject = if self.rng.bool() {
                    self.block(depth, |_| {})
                } else {
                    Default::default()
                };
                self.b.push(Statement::If {
                    condition,
                    accept,
                    reject,
                });
            }
            1 if depth < 2 => self.counted(depth),
            2 if depth < 2 => self.repeated(depth),
            3 if depth < 3 => {
                let label = self.b.label();
                let body = self.block(depth, |random| {
                    let condition = random.condition();
                    random.away(condition, Statement::Leave(label));
                });
                self.b.push(Statement::Scope { label, body });
            }
            4 if depth == 0 => self.exchange(),
            5 if depth == 0 => self.gather_in_warp(),
            6 => self.write(),
            // ptxas 13.0 crashes for 8.0 on atomic operations in a loop that two conditions together keep from being reached.
            7 if depth == 0 => self.update(),
            8 => {
                let index = self.index(2);
                let named = self.b.name(index);
                self.indices.push(named);
            }
            9 => {
                let index = self.index(3);
                self.know(index.into());
            }
            10 => self.through_register(depth),
            11 if self.extent.special => self.special(),
            _ => self.compute(),
        }
    }

    /// Goes away where a condition holds, which is not known.
    fn away(&mut self, condition: Handle<Predicate>, away: Statement) {
        if self.b.kernel().indices.is_known(condition).is_none() {
            self.b.when(condition, |b| b.push(away));
        }
    }

    fn counted(&mut self, depth: usize) {
        let (start, trips, step) = (self.rng.i64(-20..20), self.rng.i64(0..6), self.rng.i64(1..9));
        let below = self.b.constant(4);
        let first = self.b.constant(start);
        let own = self.pick(&self.indices.clone());
        // As many trips as the thread says, up to four more.
        let more = self.b.indices().remainder(own, below);
        let last = self.b.indices().offset(more, start + trips * step);
        let unroll = if self.rng.bool() { Unroll::Free } else { Unroll::Never };
        let mut counted = None;
        self.b
            .count(first, last, step, unroll, |_, at, label| counted = Some((at, label)));
        let Some((at, label)) = counted else { return };
        let body = self.block(depth, |random| {
            random.indices.push(at);
            if random.rng.bool() {
                let condition = random.condition();
                let leaves = random.rng.bool();
                let away = if leaves {
                    Statement::Leave(label)
                } else {
                    Statement::Next(label)
                };
                random.away(condition, away);
            }
        });
        self.fill_last(body);
    }

    /// Puts a body into the loop that was made last.
    fn fill_last(&mut self, filled: tilewright_dsl::thread::Block) {
        let mut rest = Builder::new("", 1);
        std::mem::swap(rest.kernel_mut(), self.b.kernel_mut());
        std::mem::swap(&mut rest, &mut self.b);
        let mut statements = rest.finish().body;
        if let Some((Statement::For { body, .. }, _)) = statements.iter_mut().next_back() {
            *body = filled;
        }
        for (statement, span) in statements {
            self.b.at(span);
            self.b.push(statement);
        }
    }

    /// A loop that is left after a few trips.
    fn repeated(&mut self, depth: usize) {
        let u32 = Type::scalar(ElementType::U32);
        let register = self.b.register("trips", u32);
        self.b.assign(register, Literal::new(0u32).into());
        let label = self.b.label();
        let most = self.rng.u32(1..5);
        let body = self.block(depth, |random| {
            let trips = random.b.read(register);
            let one = Literal::new(1u32).into();
            let next = random.b.binary(BinaryOp::Add, trips, one);
            random.b.assign(register, next);
            let enough = random
                .b
                .compare(CompareOp::GreaterEqual, trips, Literal::new(most).into());
            let enough = random.b.condition(enough);
            random.b.when(enough, |b| b.push(Statement::Leave(label)));
            random.know(trips);
        });
        let unroll = if self.rng.bool() { Unroll::Free } else { Unroll::Never };
        self.b.push(Statement::Loop { label, unroll, body });
    }

    fn through_register(&mut self, depth: usize) {
        let ty = self.ty();
        let value = self.value(ty);
        let register = self.b.register("through", ty);
        self.b.assign(register, value);
        if depth < 3 {
            let condition = self.condition();
            let accept = self.block(depth, |random| {
                let before = random.b.read(register);
                random.known.push(before);
                let other = random.value(ty);
                random.b.assign(register, other);
            });
            self.b.push(Statement::If {
                condition,
                accept,
                reject: Default::default(),
            });
        }
        let after = self.b.read(register);
        self.know(after);
    }

    /// A value of the thread before or after, through shared memory.
    fn exchange(&mut self) {
        let element = self.element();
        let lanes = self.pick(&[1, 2, 4, 8, 16]);
        let ty = Type::packet(element, lanes);
        if element == ElementType::Bool || !matches!(ty.bytes(), 1 | 2 | 4 | 8 | 16) {
            return;
        }
        let groups: Vec<u32> = [8, 32, 64, 128, 192]
            .into_iter()
            .filter(|group| self.threads.is_multiple_of(*group))
            .collect();
        let group = self.pick(&groups);
        let thread = self.b.thread();
        let own = self.b.indices().scale(thread, SHARED_BYTES);
        let value = self.value(ty);
        let shared = self.shared;
        let place = self.b.place(shared, own);
        self.b.store(store(place, value));
        self.b.push(Statement::Barrier { group });
        // Within the group.
        let size = self.b.constant(group.into());
        let next = self.b.indices().offset(thread, 1);
        let next = self.b.indices().remainder(next, size);
        let before = self.b.indices().remainder(thread, size);
        let first = self.b.indices().subtract(thread, before);
        let other = self.b.indices().add(first, next);
        let offset = self.b.indices().scale(other, SHARED_BYTES);
        let place = self.b.place(shared, offset);
        let got = self.b.load(Load {
            place,
            ty,
            order: Order::Weak,
            cache: None,
            read_only: false,
            predicate: None,
        });
        self.b.push(Statement::Barrier { group });
        self.know(got);
    }

    fn gather_in_warp(&mut self) {
        let groups: Vec<u32> = [1, 2, 4, 8, 16, 32]
            .into_iter()
            .filter(|group| self.threads.is_multiple_of(*group))
            .collect();
        let group = self.pick(&groups);
        if self.rng.u8(..3) == 0 {
            let condition = self.value(Type::CONDITION);
            let kind = self.pick(&[Vote::All, Vote::Any, Vote::Ballot]);
            let found = self.b.emit(Operation::Vote { kind, condition, group });
            return self.know(found);
        }
        let element = self.element();
        if element == ElementType::Bool {
            return;
        }
        let value = self.value(Type::scalar(element));
        let kind = self.pick(&[Shuffle::Up, Shuffle::Down, Shuffle::Exchange, Shuffle::From]);
        let by = Literal::new(self.rng.u32(..group)).into();
        let got = self.b.emit(Operation::Shuffle { kind, value, by, group });
        self.know(got);
    }

    /// The next bytes of the thread's own, if there are so many.
    fn own_target(&mut self, bytes: i64) -> Option<Place> {
        let at = (self.written + bytes - 1) / bytes * bytes;
        if at + bytes > WRITTEN_BYTES {
            return None;
        }
        self.written = at + bytes;
        Some(self.place(self.target, Some(WRITTEN_BYTES), at))
    }

    fn write(&mut self) {
        let ty = self.ty();
        if ty.element == ElementType::Bool || !matches!(ty.bytes(), 1 | 2 | 4 | 8 | 16) {
            return;
        }
        let value = self.value(ty);
        let predicate = (self.rng.u8(..3) == 0).then(|| self.condition());
        if let Some(place) = self.own_target(ty.bytes().into()) {
            self.b.store(Store {
                predicate,
                ..store(place, value)
            });
        }
    }

    /// An atomic operation on integers of the thread's own.
    fn update(&mut self) {
        let element = self.pick(&[ElementType::I32, ElementType::U32, ElementType::I64, ElementType::U64]);
        let ty = Type::scalar(element);
        let ops = [
            AtomicOp::Add,
            AtomicOp::Min,
            AtomicOp::Max,
            AtomicOp::And,
            AtomicOp::Or,
            AtomicOp::Xor,
            AtomicOp::Exchange,
        ];
        let op = self.pick(&ops);
        let value = self.value(ty);
        let update = match self.rng.u8(..4) {
            0 => Update::CompareExchange {
                current: Literal::zero(element).into(),
                new: value,
            },
            _ => Update::Combine { op, value },
        };
        let predicate = (self.rng.u8(..3) == 0).then(|| self.condition());
        let Some(place) = self.own_target(element.size() as i64) else {
            return;
        };
        let orders = [
            MemoryOrder::Relaxed,
            MemoryOrder::Acquire,
            MemoryOrder::Release,
            MemoryOrder::AcquireRelease,
        ];
        let scopes = [MemoryScope::Block, MemoryScope::Device, MemoryScope::System];
        let atomic = Atomic {
            place,
            element,
            update,
            order: self.pick(&orders),
            scope: self.pick(&scopes),
            result: None,
            predicate,
        };
        let wanted = self.rng.bool();
        if let Some(before) = self.b.atomic(atomic, wanted) {
            self.know(before);
        }
    }

    fn special(&mut self) {
        match self.rng.u8(..3) {
            0 => {
                let site = self.b.site();
                let program = self.index(2);
                let value = self.value(Type::INDEX);
                let met = self.value(Type::scalar(ElementType::U64));
                let predicate = self.rng.bool().then(|| self.condition());
                self.b.push(Statement::Report(Report {
                    site,
                    program,
                    value,
                    met,
                    predicate,
                }));
            }
            1 => {
                let elements = [
                    ElementType::Bool,
                    ElementType::I8,
                    ElementType::U64,
                    ElementType::F32,
                    ElementType::F64,
                    ElementType::U16,
                ];
                let element = self.pick(&elements);
                let values = vec![self.value(Type::scalar(element)), self.value(Type::CONDITION)];
                let format = "50% \"{}\" \\ of {}".to_owned();
                self.b.push(Statement::Print { format, values });
            }
            _ => {
                let u32 = Type::scalar(ElementType::U32);
                let inputs = vec![self.value(u32), self.value(Type::scalar(ElementType::I16))];
                let value = tilewright_dsl::thread::Value::of(u32);
                let output = self.b.kernel_mut().values.append(value);
                self.b.push(Statement::Ptx(tilewright_dsl::thread::Ptx {
                    text: ".reg .b32 %%r1;\ncvt.s32.s16 %%r1, %2;\nadd.u32 %0, %1, %%r1;".to_owned(),
                    outputs: vec![output],
                    inputs,
                    meaning: None,
                }));
                self.know(output.into());
            }
        }
    }

    /// Writes what is known at the end.
    fn write_all(&mut self) {
        for value in self.known.clone().into_iter().rev() {
            let ty = self.type_of(value);
            let value = match ty.element {
                ElementType::Bool => self.b.emit(Operation::Cast {
                    value,
                    to: ElementType::U8,
                    rounding: Rounding::NearestEven,
                }),
                _ => value,
            };
            let ty = self.type_of(value);
            // In parts that memory takes.
            let mut first = 0;
            while first < ty.lanes {
                let most = (16 / ty.element.size() as u8).min(ty.lanes - first);
                let lanes = 1 << most.ilog2();
                let part = self.b.part(value, first, lanes);
                let Some(place) = self.own_target(self.type_of(part).bytes().into()) else {
                    return;
                };
                self.b.store(store(place, part));
                first += lanes;
            }
        }
    }
}
