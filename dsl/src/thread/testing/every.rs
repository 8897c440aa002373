//! Each operation and statement on each type, in each way.

use super::{Memory, beginning, keep, many, value, zero};
use crate::element::ElementType;
use crate::ir::{
    AtomicOp, BinaryOp, CacheHint, CompareOp, GridDependency, Handle, Literal, MemoryOrder, MemoryScope, Span, UnaryOp,
};
use crate::thread::{
    Argument, AsyncCopy, Atomic, Buffer, Builder, FenceOrder, Kernel, Load, Operation, Order, Place, Predicate, Ptx,
    Report, Rounding, Shuffle, Statement, Store, Type, Unroll, Update, Use, Vote, accepts_binary, accepts_cast,
    accepts_unary, accepts_warp_reduce, is_computed,
};

const SCOPES: [MemoryScope; 3] = [MemoryScope::Block, MemoryScope::Device, MemoryScope::System];
const ORDERS: [MemoryOrder; 4] = [
    MemoryOrder::Relaxed,
    MemoryOrder::Acquire,
    MemoryOrder::Release,
    MemoryOrder::AcquireRelease,
];

/// Kernels that have every operation on every type, all accesses that the verifier accepts, and every statement.
pub fn every() -> Vec<Kernel> {
    type Fill = fn(&mut Every);
    let all: [(&str, Fill); 15] = [
        ("unary", unary),
        ("binary", binary),
        ("compare", compare),
        ("select", select),
        ("casts", casts),
        ("bits", bits),
        ("packets", packets),
        ("times", times),
        ("meetings", meetings),
        ("loads", loads),
        ("strong", strong),
        ("stores", stores),
        ("atomics", atomics),
        ("sums", sums),
        ("statements", statements),
    ];
    all.map(|(name, fill)| {
        let (b, memory, scalars) = beginning(name, 64);
        let mut every = Every { b, memory, scalars };
        fill(&mut every);
        every.b.finish()
    })
    .into()
}

struct Every {
    b: Builder,
    memory: Memory,
    scalars: Vec<Handle<Argument>>,
}

impl Every {
    fn value(&mut self, ty: Type) -> Use {
        value(&mut self.b, &self.scalars, ty)
    }

    fn keep(&mut self, operation: Operation) {
        let value = self.b.emit(operation);
        keep(&mut self.b, self.memory.common, value);
    }

    /// The place of the thread's bytes; of a listed buffer at an address that is loaded.
    fn own(&mut self, buffer: Handle<Buffer>, bytes: u32) -> Place {
        let thread = self.b.thread();
        let within = self.b.indices().low(thread, 3);
        let offset = self.b.indices().scale(within, bytes.into());
        let mut place = self.b.place(buffer, offset);
        if buffer == self.memory.listed {
            let address = self.value(Type::scalar(ElementType::U64));
            if let Use::Value(pointer) = address {
                place.pointer = Some(pointer);
            }
        }
        place
    }

    fn some_threads(&mut self) -> Handle<Predicate> {
        let (thread, limit) = (self.b.thread(), self.b.constant(7));
        self.b.indices().less(thread, limit)
    }

    fn buffers(&self) -> [Handle<Buffer>; 8] {
        let m = self.memory;
        [
            m.read_only,
            m.private,
            m.common,
            m.listed,
            m.shared,
            m.local,
            m.table,
            m.parameter,
        ]
    }

    // What the kernel is not accepted with is left out.

    fn load(&mut self, load: Load) {
        if self.b.kernel().verify_load(&load, Span::UNKNOWN).is_ok() {
            self.keep(Operation::Load(load));
        }
    }

    fn store(&mut self, store: Store) {
        if self.b.kernel().verify_store(&store, Span::UNKNOWN).is_ok() {
            self.b.store(store);
        }
    }

    fn atomic(&mut self, atomic: Atomic, wanted: bool) {
        if self.b.kernel().verify_atomic(&atomic, Span::UNKNOWN).is_ok()
            && let Some(before) = self.b.atomic(atomic, wanted)
        {
            keep(&mut self.b, self.memory.common, before);
        }
    }
}

/// One lane, and many.
fn lanes(element: ElementType) -> [Type; 2] {
    [Type::scalar(element), Type::packet(element, many(element))]
}

fn unary(e: &mut Every) {
    for ty in ElementType::ALL.into_iter().flat_map(lanes) {
        for op in UnaryOp::ALL.into_iter().filter(|op| accepts_unary(*op, ty.element)) {
            let value = e.value(ty);
            e.keep(Operation::Unary { op, value });
        }
    }
}

fn binary(e: &mut Every) {
    for ty in ElementType::ALL.into_iter().flat_map(lanes) {
        for op in BinaryOp::ALL.into_iter().filter(|op| accepts_binary(*op, ty.element)) {
            let (left, right) = (e.value(ty), e.value(Type::scalar(ty.element)));
            e.keep(Operation::Binary { op, left, right });
            let right = zero(ty.element);
            e.keep(Operation::Binary { op, left, right });
        }
    }
}

fn compare(e: &mut Every) {
    let all = [
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::LessEqual,
        CompareOp::Greater,
        CompareOp::GreaterEqual,
    ];
    for ty in ElementType::ALL.into_iter().flat_map(lanes) {
        let ordered = |op: &CompareOp| ty.element != ElementType::Bool || op.accepts(ElementType::Bool);
        for op in all.into_iter().filter(ordered).filter(|_| is_computed(ty.element)) {
            let (left, right) = (e.value(ty), zero(ty.element));
            e.keep(Operation::Compare { op, left, right });
        }
    }
}

fn select(e: &mut Every) {
    for ty in ElementType::ALL.into_iter().flat_map(lanes) {
        let condition = e.some_threads();
        let several = e.value(Type::packet(ElementType::Bool, ty.lanes));
        for condition in [Use::Predicate(condition), several] {
            let (accept, reject) = (e.value(ty), zero(ty.element));
            e.keep(Operation::Select {
                condition,
                accept,
                reject,
            });
            e.keep(Operation::Select {
                condition,
                accept,
                reject: accept,
            });
        }
        if matches!(ty.element, ElementType::F32 | ElementType::F64) {
            let (left, right) = (e.value(ty), e.value(Type::scalar(ty.element)));
            e.keep(Operation::MulAdd {
                left,
                right,
                addend: left,
            });
            e.keep(Operation::Canonical(left));
        }
        if ty.element == ElementType::U32 {
            let (low, high) = (e.value(ty), zero(ty.element));
            e.keep(Operation::Funnel { low, high, by: low });
        }
    }
}

fn casts(e: &mut Every) {
    for ty in ElementType::ALL.into_iter().flat_map(lanes) {
        for to in ElementType::ALL {
            for rounding in [Rounding::NearestEven, Rounding::Zero] {
                if accepts_cast(ty.element, to, rounding) {
                    let value = e.value(ty);
                    e.keep(Operation::Cast { value, to, rounding });
                }
            }
        }
    }
}

fn bits(e: &mut Every) {
    let of_bytes = |bytes: u32| {
        let all = ElementType::ALL
            .into_iter()
            .filter(|element| *element != ElementType::Bool);
        all.filter(move |element| bytes.is_multiple_of(element.size() as u32))
            .map(move |element| Type::packet(element, (bytes / element.size() as u32) as u8))
    };
    for bytes in [1, 2, 3, 4, 6, 8, 16] {
        for from in of_bytes(bytes) {
            for to in of_bytes(bytes) {
                let value = e.value(from);
                e.keep(Operation::Bitcast { value, to });
            }
        }
    }
}

fn packets(e: &mut Every) {
    for element in ElementType::ALL {
        let (one, all) = (
            e.value(Type::scalar(element)),
            e.value(Type::packet(element, many(element))),
        );
        e.keep(Operation::Join(vec![one, all, zero(element), one]));
        for lanes in 1..=many(element) {
            for first in 0..=many(element) - lanes {
                e.keep(Operation::Part {
                    value: all,
                    first,
                    lanes,
                });
            }
            e.keep(Operation::Repeat { value: one, lanes });
        }
        // Through a register, of what memory gives.
        for lanes in [1, 3, many(element)] {
            let register = e.b.register("held", Type::packet(element, lanes));
            let value = e.value(Type::packet(element, lanes));
            e.b.assign(register, value);
            e.keep(Operation::Read(register));
        }
    }
}

fn times(e: &mut Every) {
    let (left, right) = (e.b.emit(Operation::Timer), e.b.emit(Operation::Timer));
    let op = CompareOp::LessEqual;
    e.keep(Operation::Compare { op, left, right });
}

fn meetings(e: &mut Every) {
    for group in [1, 2, 4, 8, 16, 32] {
        for element in ElementType::ALL
            .into_iter()
            .filter(|element| *element != ElementType::Bool)
        {
            for kind in [Shuffle::Up, Shuffle::Down, Shuffle::Exchange, Shuffle::From] {
                let value = e.value(Type::scalar(element));
                let by = Literal::new(group / 2).into();
                e.keep(Operation::Shuffle { kind, value, by, group });
            }
        }
        for kind in [Vote::All, Vote::Any, Vote::Ballot] {
            let condition = e.some_threads().into();
            e.keep(Operation::Vote { kind, condition, group });
        }
        e.b.push(Statement::Barrier { group });
    }
    for op in BinaryOp::ALL {
        for element in ElementType::ALL {
            if accepts_warp_reduce(op, element) {
                let value = e.value(Type::scalar(element));
                e.keep(Operation::WarpReduce { op, value });
            }
        }
    }
    e.b.push(Statement::Barrier { group: 64 });
}

fn loads(e: &mut Every) {
    let hints = [None].into_iter().chain(CacheHint::ALL.map(Some));
    let hints: Vec<Option<CacheHint>> = hints.collect();
    for buffer in e.buffers() {
        for element in ElementType::ALL {
            for lanes in [1, 2, 4, 8, 16] {
                let ty = Type::packet(element, lanes);
                if lanes > many(element) {
                    continue;
                }
                let when = e.some_threads();
                for (cache, read_only) in hints.iter().flat_map(|hint| [(*hint, false), (*hint, true)]) {
                    for predicate in [None, Some(when)] {
                        // Of hints one type of each width is enough.
                        if cache.is_some() && !matches!(element, ElementType::U8 | ElementType::F32 | ElementType::I64)
                        {
                            continue;
                        }
                        let place = e.own(buffer, ty.bytes());
                        e.load(Load {
                            place,
                            ty,
                            order: Order::Weak,
                            cache,
                            read_only,
                            predicate,
                        });
                    }
                }
            }
        }
    }
}

/// Loads and stores that others see as one step.
fn strong(e: &mut Every) {
    let hints = [None].into_iter().chain(CacheHint::ALL.map(Some));
    let hints: Vec<Option<CacheHint>> = hints.collect();
    let elements = [ElementType::U8, ElementType::BF16, ElementType::F32, ElementType::I64];
    for buffer in e.buffers() {
        for ty in elements.into_iter().flat_map(lanes) {
            for (order, scope) in ORDERS.into_iter().flat_map(|order| SCOPES.map(|scope| (order, scope))) {
                for &cache in &hints {
                    let (order, place) = (Order::Strong(order, scope), e.own(buffer, ty.bytes()));
                    e.load(Load {
                        place,
                        ty,
                        order,
                        cache,
                        read_only: false,
                        predicate: None,
                    });
                    let value = e.value(ty);
                    e.store(Store {
                        place,
                        block: None,
                        value,
                        order,
                        cache,
                        predicate: None,
                    });
                }
            }
        }
    }
}

fn stores(e: &mut Every) {
    let hints = [None].into_iter().chain(CacheHint::ALL.map(Some));
    let hints: Vec<Option<CacheHint>> = hints.collect();
    for buffer in e.buffers() {
        for element in ElementType::ALL {
            for lanes in [1, 2, 4, 8, 16] {
                let ty = Type::packet(element, lanes);
                if lanes > many(element) {
                    continue;
                }
                let when = e.some_threads();
                for (&cache, predicate) in hints.iter().flat_map(|hint| [(hint, None), (hint, Some(when))]) {
                    let (place, value) = (e.own(buffer, ty.bytes()), e.value(ty));
                    e.store(Store {
                        place,
                        block: None,
                        value,
                        order: Order::Weak,
                        cache,
                        predicate,
                    });
                }
            }
        }
    }
}

const COMBINED: [AtomicOp; 7] = [
    AtomicOp::Add,
    AtomicOp::Min,
    AtomicOp::Max,
    AtomicOp::And,
    AtomicOp::Or,
    AtomicOp::Xor,
    AtomicOp::Exchange,
];

fn atomics(e: &mut Every) {
    for element in ElementType::ALL {
        let value = e.value(Type::scalar(element));
        let combine = COMBINED.map(|op| Update::Combine { op, value });
        let exchange = Update::CompareExchange {
            current: zero(element),
            new: value,
        };
        for update in combine.into_iter().chain([exchange]) {
            for buffer in e.buffers() {
                atomic(e, buffer, element, update, MemoryOrder::Relaxed, MemoryScope::Device);
            }
        }
    }
}

/// One update in all orders and scopes.
fn sums(e: &mut Every) {
    for element in [ElementType::U32, ElementType::F32, ElementType::BF16, ElementType::F64] {
        let value = e.value(Type::scalar(element));
        for op in [AtomicOp::Add, AtomicOp::Exchange] {
            for (order, scope) in ORDERS.into_iter().flat_map(|order| SCOPES.map(|scope| (order, scope))) {
                for buffer in [e.memory.common, e.memory.shared] {
                    atomic(e, buffer, element, Update::Combine { op, value }, order, scope);
                }
            }
        }
    }
}

fn atomic(
    e: &mut Every,
    buffer: Handle<Buffer>,
    element: ElementType,
    update: Update,
    order: MemoryOrder,
    scope: MemoryScope,
) {
    let when = e.some_threads();
    for (wanted, predicate) in [(false, None), (true, None), (false, Some(when)), (true, Some(when))] {
        let place = e.own(buffer, element.size() as u32);
        let atomic = Atomic {
            place,
            element,
            update,
            order,
            scope,
            result: None,
            predicate,
        };
        e.atomic(atomic, wanted);
    }
}

fn statements(e: &mut Every) {
    let when = e.some_threads();
    e.b.push(Statement::GridDependency(GridDependency::Wait));
    for (bytes, predicate) in [4, 8, 16]
        .into_iter()
        .flat_map(|bytes| [(bytes, None), (bytes, Some(when))])
    {
        let (to, from) = (e.own(e.memory.shared, bytes), e.own(e.memory.listed, bytes));
        e.b.push(Statement::AsyncCopy(AsyncCopy {
            to,
            from,
            bytes: bytes as u8,
            predicate,
        }));
        e.b.push(Statement::AsyncCommit);
    }
    e.b.push(Statement::AsyncWait(0));
    e.b.push(Statement::AsyncWait(u8::MAX));
    for predicate in [None, Some(when)] {
        let place = e.own(e.memory.common, 1);
        e.b.push(Statement::Prefetch { place, predicate });
        let (site, program) = (e.b.site(), e.b.block());
        e.b.push(Statement::Report(Report {
            site,
            program,
            value: program.into(),
            met: zero(ElementType::U64),
            predicate,
        }));
    }
    for (order, scope) in [FenceOrder::AcquireRelease, FenceOrder::Sequential]
        .into_iter()
        .flat_map(|order| SCOPES.map(|scope| (order, scope)))
    {
        e.b.push(Statement::Fence { order, scope });
    }
    let values: Vec<Use> = ElementType::ALL
        .into_iter()
        .filter(|element| is_computed(*element))
        .map(|element| e.value(Type::scalar(element)))
        .collect();
    e.b.push(Statement::Print {
        format: format!("100% \"{{\\?}}\" of \u{e9}{}", " {}".repeat(values.len())),
        values,
    });
    e.b.push(Statement::Print {
        format: "nothing".to_owned(),
        values: Vec::new(),
    });
    instructions(e);
    control(e);
    e.b.push(Statement::GridDependency(GridDependency::Trigger));
    e.b.push(Statement::Exit);
}

/// The author's.
fn instructions(e: &mut Every) {
    for element in ElementType::ALL.into_iter().filter(|element| element.size() >= 2) {
        for outputs in [1, 2] {
            let value = e.value(Type::scalar(element));
            let width = element.bits();
            let text = match outputs {
                1 => format!("mov.b{width} %0, %1;"),
                _ => format!("mov.b{width} %0, %2;\n mov.b{width} %1, %0;"),
            };
            let ty = Type::scalar(element);
            let outputs: Vec<_> = (0..outputs)
                .map(|_| e.b.kernel_mut().values.append(crate::thread::Value::of(ty)))
                .collect();
            e.b.push(Statement::Ptx(Ptx {
                text,
                outputs: outputs.clone(),
                inputs: vec![value],
                meaning: None,
            }));
            outputs
                .into_iter()
                .for_each(|output| keep(&mut e.b, e.memory.common, output.into()));
        }
    }
}

/// Every way out of every loop.
fn control(e: &mut Every) {
    let when = e.some_threads();
    let common = e.memory.common;
    let (start, end) = (e.b.constant(0), e.b.constant(100));
    e.b.scope(|b, out| {
        b.count(start, end, 3, Unroll::Never, |b, at, counted| {
            keep(b, common, at.into());
            b.repeat(Unroll::Free, |b, inner| {
                b.when(when, |b| b.push(Statement::Leave(inner)));
                let limit = b.constant(50);
                let early = b.indices().less(at, limit);
                b.when(early, |b| b.push(Statement::Next(counted)));
                let twice = b.indices().scale(at, 2);
                let named = b.name(twice);
                keep(b, common, named.into());
                let seven = b.indices().remainder(at, end);
                let odd = b.indices().low(seven, 1);
                let zero = b.constant(0);
                let odd = b.indices().equal(odd, zero);
                b.choose(
                    odd,
                    |b| b.push(Statement::Next(inner)),
                    |b| b.push(Statement::Leave(out)),
                );
            });
            // Behind what may go on with the next trip.
            let square = b.indices().multiply(at, at);
            keep(b, common, square.into());
            b.scope(|b, skipped| {
                b.when(when, |b| b.push(Statement::Leave(skipped)));
                b.when(when, |b| b.push(Statement::Leave(counted)));
                b.push(Statement::Leave(out));
            });
        });
    });
}
