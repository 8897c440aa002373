//! Every kind of instruction, on every element type, for every target.

use tilewright_dsl::element::ElementType;
use tilewright_dsl::ir::{
    AtomicOp, BinaryOp, CacheHint, CompareOp, GridDependency, Handle, Literal, MemoryOrder, MemoryScope, UnaryOp,
};
use tilewright_dsl::thread::verify::{Rule, verify};
use tilewright_dsl::thread::{
    ArgumentKind, AsyncCopy, Atomic, Buffer, BufferKind, Builder, Facts, FenceOrder, Index, Kernel, Load, Operation,
    Order, Place, Rounding, Sharing, Shuffle, Statement, Store, Type, Update, Use, Vote, accepts_binary, accepts_cast,
    accepts_unary,
};

/// What the assembler reads is the same without optimisation, which takes most of the time of texts this long.
fn assembles(kernel: &Kernel) {
    super::assembles(kernel, &["-O0"]);
}

const SCOPES: [MemoryScope; 3] = [MemoryScope::Block, MemoryScope::Device, MemoryScope::System];
const ORDERS: [MemoryOrder; 4] = [
    MemoryOrder::Relaxed,
    MemoryOrder::Acquire,
    MemoryOrder::Release,
    MemoryOrder::AcquireRelease,
];

/// A kernel with memory of every kind.
struct Kit {
    b: Builder,
    source: Handle<Buffer>,
    target: Handle<Buffer>,
    listed: Handle<Buffer>,
    shared: Handle<Buffer>,
    local: Handle<Buffer>,
    table: Handle<Buffer>,
    parameter: Handle<Buffer>,
    pointer: Use,
}

fn kit(name: &str, threads: u32) -> Kit {
    let mut b = Builder::new(name, threads);
    let pointers = ["source", "target"].map(|name| b.argument(name, ArgumentKind::Pointer));
    let [source, target] = [("source", Sharing::ReadOnly), ("target", Sharing::Shared)].map(|(name, sharing)| {
        let argument = pointers[usize::from(name == "target")];
        b.buffer(name, 16, BufferKind::Global { argument, sharing })
    });
    let sharing = Sharing::Shared;
    let listed = b.buffer("listed", 16, BufferKind::Listed { sharing });
    let shared = b.buffer(
        "shared",
        16,
        BufferKind::Shared {
            offset: 16,
            bytes: 16 * threads,
        },
    );
    let local = b.buffer("local", 16, BufferKind::Local { bytes: 64 });
    let table = b.table(vec![1, u64::MAX]);
    let table = b.buffer("table", 8, BufferKind::Table { table });
    let bytes = ArgumentKind::Bytes {
        bytes: 48,
        alignment: 16,
    };
    let argument = b.argument("bytes", bytes);
    let parameter = b.buffer("parameter", 16, BufferKind::Parameter { argument });
    let pointer = b.argument("pointer", ArgumentKind::Scalar(ElementType::U64));
    let pointer = b.emit(Operation::Argument(pointer));
    Kit {
        b,
        source,
        target,
        listed,
        shared,
        local,
        table,
        parameter,
        pointer,
    }
}

impl Kit {
    fn finish(self) -> Kernel {
        self.b.finish()
    }

    fn own(&mut self, buffer: Handle<Buffer>) -> Place {
        let thread = self.b.thread();
        let offset = self.b.indices().scale(thread, 16);
        let pointer = match self.pointer {
            Use::Value(pointer) if buffer == self.listed => Some(pointer),
            _ => None,
        };
        Place {
            buffer,
            pointer,
            offset,
        }
    }

    fn load_of(&mut self, buffer: Handle<Buffer>, ty: Type) -> Load {
        Load {
            place: self.own(buffer),
            ty,
            order: Order::Weak,
            cache: None,
            read_only: false,
            predicate: None,
        }
    }

    /// A value of a type from memory.
    fn value(&mut self, ty: Type) -> Use {
        if ty.element == ElementType::Bool {
            let bytes = self.value(ty.with_element(ElementType::U8));
            return self.b.is_not_zero(bytes);
        }
        if matches!(ty.bytes(), 1 | 2 | 4 | 8 | 16) {
            let load = self.load_of(self.source, ty);
            return self.b.load(load);
        }
        let first = (16 / ty.element.size() as u8).min(1 << ty.lanes.ilog2());
        let first = if first == ty.lanes { first / 2 } else { first };
        let (low, high) = (
            self.value(ty.with_lanes(first)),
            self.value(ty.with_lanes(ty.lanes - first)),
        );
        self.b.join(vec![low, high])
    }

    /// Keeps a value: its lanes are written, one by one.
    fn keep(&mut self, value: Use) {
        let ty = self.b.kernel().ty(value);
        for lane in 0..ty.lanes {
            let one = self.b.part(value, lane, 1);
            let one = match ty.element {
                ElementType::Bool => self.cast(one, ElementType::U8, Rounding::NearestEven),
                _ => one,
            };
            let place = self.own(self.target);
            self.b.store(store(place, one));
        }
    }

    fn cast(&mut self, value: Use, to: ElementType, rounding: Rounding) -> Use {
        self.b.emit(Operation::Cast { value, to, rounding })
    }
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

fn literal(element: ElementType, bits: u64) -> Use {
    Literal { element, bits }.into()
}

#[test]
fn every_operation_on_every_element_type() {
    let comparisons = [
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::LessEqual,
        CompareOp::Greater,
        CompareOp::GreaterEqual,
    ];
    for element in ElementType::ALL {
        let mut kit = kit(&format!("operations_on_{element}"), 64);
        for lanes in [1, 2, 3, 8] {
            let ty = Type::packet(element, lanes);
            let (l, r) = (kit.value(ty), kit.value(ty));
            let one = kit.value(Type::scalar(element));
            for op in UnaryOp::ALL.into_iter().filter(|op| accepts_unary(*op, element)) {
                let result = kit.b.unary(op, l);
                kit.keep(result);
            }
            for op in BinaryOp::ALL.into_iter().filter(|op| accepts_binary(*op, element)) {
                for right in [r, one, literal(element, 0), literal(element, 1)] {
                    let result = kit.b.binary(op, l, right);
                    kit.keep(result);
                }
                let result = kit.b.binary(op, literal(element, 1), r);
                kit.keep(result);
            }
            for op in comparisons {
                let narrow = element.size() < 4 && !element.is_integer() && element != ElementType::Bool;
                let ordered = !matches!(op, CompareOp::Equal | CompareOp::NotEqual);
                if narrow || (ordered && element == ElementType::Bool) || element == ElementType::F8E5M2 {
                    continue;
                }
                for right in [r, one, literal(element, 1)] {
                    let result = kit.b.compare(op, l, right);
                    kit.keep(result);
                }
            }
            for condition in [lanes, 1] {
                let condition = kit.value(Type::packet(ElementType::Bool, condition));
                let chosen = kit.b.select(condition, l, r);
                kit.keep(chosen);
                let chosen = kit.b.select(condition, l, one);
                kit.keep(chosen);
            }
            if matches!(element, ElementType::F32 | ElementType::F64) {
                let fused = kit.b.emit(Operation::MulAdd {
                    left: l,
                    right: r,
                    addend: one,
                });
                kit.keep(fused);
                let canonical = kit.b.emit(Operation::Canonical(l));
                kit.keep(canonical);
            }
            if element == ElementType::U32 {
                let funnel = kit.b.emit(Operation::Funnel {
                    low: l,
                    high: r,
                    by: one,
                });
                kit.keep(funnel);
            }
        }
        assembles(&kit.finish());
    }
}

#[test]
fn every_cast_and_every_bitcast() {
    for from in ElementType::ALL {
        let mut kit = kit(&format!("casts_of_{from}"), 64);
        for lanes in [1, 2, 3, 4, 8] {
            let value = kit.value(Type::packet(from, lanes));
            for to in ElementType::ALL {
                for rounding in [Rounding::NearestEven, Rounding::Zero] {
                    if accepts_cast(from, to, rounding) {
                        let result = kit.cast(value, to, rounding);
                        kit.keep(result);
                    }
                }
                let bytes = from.size() as u32 * u32::from(lanes);
                let fits = bytes.is_multiple_of(to.size() as u32) && bytes / to.size() as u32 <= 32;
                if from != ElementType::Bool && to != ElementType::Bool && fits {
                    let result = kit.b.bitcast(value, Type::packet(to, (bytes / to.size() as u32) as u8));
                    kit.keep(result);
                }
            }
        }
        assembles(&kit.finish());
    }
}

#[test]
fn packets_of_every_type_are_put_together_and_taken_apart() {
    for element in ElementType::ALL {
        let mut kit = kit(&format!("packets_of_{element}"), 64);
        for lanes in [1, 2, 3, 4, 5, 8] {
            let value = kit.value(Type::packet(element, lanes));
            for first in 0..lanes.min(4) {
                for count in 1..=(lanes - first).min(4) {
                    let part = kit.b.part(value, first, count);
                    kit.keep(part);
                    let joined = kit.b.join(vec![part, value, part]);
                    kit.keep(joined);
                }
            }
            let one = kit.b.part(value, lanes - 1, 1);
            let repeated = kit.b.emit(Operation::Repeat { value: one, lanes });
            kit.keep(repeated);
            let register = kit.b.register("kept", Type::packet(element, lanes));
            kit.b.assign(register, repeated);
            let read = kit.b.read(register);
            kit.keep(read);
        }
        assembles(&kit.finish());
    }
}

#[test]
fn every_access_to_every_kind_of_memory() {
    for element in ElementType::ALL
        .into_iter()
        .filter(|element| *element != ElementType::Bool)
    {
        let mut kit = kit(&format!("accesses_to_{element}"), 32);
        let thread = kit.b.thread();
        let limit = kit.b.constant(7);
        let few = kit.b.indices().less(thread, limit);
        for lanes in [1, 2, 4, 8, 16] {
            let ty = Type::packet(element, lanes);
            if !matches!(ty.bytes(), 1 | 2 | 4 | 8 | 16) {
                continue;
            }
            let mut orders = vec![Order::Weak];
            for scope in SCOPES {
                orders.push(Order::Strong(MemoryOrder::Relaxed, scope));
                if lanes == 1 {
                    orders.push(Order::Strong(MemoryOrder::Acquire, scope));
                    orders.push(Order::Strong(MemoryOrder::Release, scope));
                }
            }
            for predicate in [None, Some(few)] {
                for buffer in [kit.source, kit.target, kit.listed, kit.shared] {
                    for order in &orders {
                        let load = kit.load_of(buffer, ty);
                        if !matches!(order, Order::Strong(MemoryOrder::Release, _)) {
                            let load = Load {
                                order: *order,
                                predicate,
                                ..load
                            };
                            let value = kit.b.load(load);
                            kit.keep(value);
                        }
                        if buffer != kit.source && !matches!(order, Order::Strong(MemoryOrder::Acquire, _)) {
                            let value = kit.value(ty);
                            kit.b.store(Store {
                                order: *order,
                                predicate,
                                ..store(load.place, value)
                            });
                        }
                    }
                }
                for hint in CacheHint::ALL {
                    let relaxed = Order::Strong(MemoryOrder::Relaxed, MemoryScope::Device);
                    let levels = [CacheHint::NoAllocate, CacheHint::EvictFirst, CacheHint::EvictLast];
                    let orders = if levels.contains(&hint) {
                        vec![Order::Weak, relaxed]
                    } else {
                        vec![Order::Weak]
                    };
                    for order in orders {
                        for read_only in [false, true] {
                            let buffer = if read_only { kit.source } else { kit.target };
                            let load = kit.load_of(buffer, ty);
                            if hint.is_for_loads() && !(read_only && order == relaxed) {
                                let value = kit.b.load(Load {
                                    order,
                                    cache: Some(hint),
                                    read_only,
                                    predicate,
                                    ..load
                                });
                                kit.keep(value);
                            }
                            if hint.is_for_stores() && !read_only {
                                let value = kit.value(ty);
                                kit.b.store(Store {
                                    order,
                                    cache: Some(hint),
                                    predicate,
                                    ..store(load.place, value)
                                });
                            }
                        }
                    }
                }
                let load = kit.load_of(kit.source, ty);
                let value = kit.b.load(Load {
                    read_only: true,
                    predicate,
                    ..load
                });
                kit.keep(value);
                for buffer in [kit.local, kit.table, kit.parameter] {
                    let lane = kit.b.indices().low(thread, 1);
                    for offset in [kit.b.constant(0), kit.b.indices().scale(lane, 16)] {
                        let place = kit.b.place(buffer, offset);
                        if buffer == kit.table && ty.bytes() == 16 {
                            continue;
                        }
                        let load = kit.load_of(buffer, ty);
                        let value = kit.b.load(Load {
                            place,
                            predicate,
                            ..load
                        });
                        kit.keep(value);
                        if buffer == kit.local {
                            kit.b.store(Store {
                                predicate,
                                ..store(place, value)
                            });
                        }
                    }
                }
            }
        }
        assembles(&kit.finish());
    }
}

#[test]
fn every_atomic_operation() {
    let ops = [
        AtomicOp::Add,
        AtomicOp::Min,
        AtomicOp::Max,
        AtomicOp::And,
        AtomicOp::Or,
        AtomicOp::Xor,
        AtomicOp::Exchange,
    ];
    for element in ElementType::ALL {
        let mut kit = kit(&format!("atomics_on_{element}"), 64);
        let thread = kit.b.thread();
        let limit = kit.b.constant(7);
        let few = kit.b.indices().less(thread, limit);
        if element == ElementType::Bool {
            continue;
        }
        let value = kit.value(Type::scalar(element));
        let combined = ops.into_iter().filter(|op| match op {
            AtomicOp::Min | AtomicOp::Max => element.is_integer() && element.size() >= 4,
            _ => op.accepts(element),
        });
        let mut updates: Vec<Update> = combined.map(|op| Update::Combine { op, value }).collect();
        if element.is_integer() && (element.size() >= 4 || element == ElementType::U16) {
            updates.push(Update::CompareExchange {
                current: literal(element, 1),
                new: value,
            });
        }
        for update in updates {
            for (order, scope) in ORDERS.into_iter().flat_map(|order| SCOPES.map(|scope| (order, scope))) {
                for (buffer, wanted, predicate) in [
                    (kit.target, false, None),
                    (kit.target, true, Some(few)),
                    (kit.shared, false, Some(few)),
                    (kit.shared, true, None),
                    (kit.listed, true, None),
                ] {
                    let atomic = Atomic {
                        place: kit.own(buffer),
                        element,
                        update,
                        order,
                        scope,
                        result: None,
                        predicate,
                    };
                    if let Some(before) = kit.b.atomic(atomic, wanted) {
                        kit.keep(before);
                    }
                }
            }
        }
        // Where they have met again after loops.
        kit.b.push(Statement::Barrier { group: 64 });
        assembles(&kit.finish());
    }
}

#[test]
fn every_way_for_threads_to_meet() {
    for threads in [1, 4, 24, 32, 96, 256, 1024] {
        let mut kit = kit(&format!("meeting_of_{threads}"), threads);
        let by = kit.value(Type::scalar(ElementType::U32));
        let condition = kit.value(Type::CONDITION);
        let groups = [1u32, 2, 4, 8, 16, 32]
            .into_iter()
            .filter(|group| threads.is_multiple_of(*group));
        for group in groups {
            for element in ElementType::ALL
                .into_iter()
                .filter(|element| *element != ElementType::Bool)
            {
                let value = kit.value(Type::scalar(element));
                for kind in [Shuffle::Up, Shuffle::Down, Shuffle::Exchange, Shuffle::From] {
                    let got = kit.b.emit(Operation::Shuffle { kind, value, by, group });
                    kit.keep(got);
                }
            }
            for kind in [Vote::All, Vote::Any, Vote::Ballot] {
                let found = kit.b.emit(Operation::Vote { kind, condition, group });
                kit.keep(found);
            }
            kit.b.push(Statement::Barrier { group });
        }
        for group in [threads, 64, 128]
            .into_iter()
            .filter(|group| threads.is_multiple_of(*group))
        {
            // A block has 16 barriers.
            if group != 64 || threads < 1024 {
                kit.b.push(Statement::Barrier { group });
            }
        }
        for (order, scope) in [FenceOrder::AcquireRelease, FenceOrder::Sequential]
            .into_iter()
            .flat_map(|order| SCOPES.map(|scope| (order, scope)))
        {
            kit.b.push(Statement::Fence { order, scope });
        }
        kit.b.push(Statement::GridDependency(GridDependency::Wait));
        kit.b.push(Statement::GridDependency(GridDependency::Trigger));
        assembles(&kit.finish());
    }
}

#[test]
fn what_a_block_loads_last_for_a_register_is_loaded_into_it() {
    for is_conditional in [false, true] {
        let mut kit = kit("loaded", 64);
        let register = kit.b.register("end", Type::scalar(ElementType::U32));
        kit.b.assign(register, Literal::new(7u32).into());
        // The condition is made of what the register held before.
        let before = kit.b.read(register);
        let before = kit.b.index(before);
        let (thread, eight) = (kit.b.thread(), kit.b.constant(8));
        let (first, holds) = (
            kit.b.indices().less(thread, eight),
            kit.b.indices().less(thread, before),
        );
        let load = Load {
            predicate: is_conditional.then_some(holds),
            ..kit.load_of(kit.source, Type::scalar(ElementType::U32))
        };
        kit.b.when(first, |b| {
            let loaded = b.load(load);
            b.assign(register, loaded);
        });
        let end = kit.b.read(register);
        kit.keep(end);
        let kernel = kit.finish();
        let text = super::printed(&kernel, super::targets()[1]).text.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let at = lines
            .iter()
            .position(|line| line.contains("ld.global.b32"))
            .expect("a load");
        let label = lines[at..]
            .iter()
            .position(|line| line.starts_with('$'))
            .expect("the end of the block");
        // Nothing in the block waits for it.
        assert_eq!(label, 1, "{text}");
        // Whether it is loaded was found out from a copy: the register is zero by then.
        let (_, register) = lines[at].split_once("b32").expect("a register");
        let register = register.trim().split(',').next().expect("a register");
        let zeroed = lines
            .iter()
            .rposition(|line| *line == format!("mov.b32\t{register}, 0;"));
        assert_eq!(zeroed.is_some(), is_conditional, "{text}");
        let names = |line: &&str| line.split([' ', ',', '\t', ';']).any(|word| word == register);
        let reads = lines[zeroed.unwrap_or(at)..at].iter().skip(1).any(names);
        assert!(!reads, "{text}");
        assembles(&kernel);
    }
}

#[test]
fn copies_prefetches_and_dynamic_shared_memory() {
    let mut kit = kit("copies", 64);
    let bytes = 200 << 10;
    let large = kit.b.buffer("large", 16, BufferKind::Shared { offset: 4096, bytes });
    let thread = kit.b.thread();
    let limit = kit.b.constant(7);
    let few = kit.b.indices().less(thread, limit);
    for predicate in [None, Some(few)] {
        for bytes in [4, 8, 16] {
            for to in [kit.shared, large] {
                for from in [kit.source, kit.listed] {
                    let (to, from) = (kit.own(to), kit.own(from));
                    kit.b.push(Statement::AsyncCopy(AsyncCopy {
                        to,
                        from,
                        bytes,
                        predicate,
                    }));
                }
            }
        }
        kit.b.push(Statement::AsyncCommit);
        kit.b.push(Statement::AsyncWait(3));
        let place = kit.own(kit.listed);
        kit.b.push(Statement::Prefetch { place, predicate });
    }
    // Places that are constants.
    let (far, near) = (kit.b.constant(4096), kit.b.constant(0));
    for offset in [far, near] {
        let place = kit.b.place(large, offset);
        let load = Load {
            place,
            ..kit.load_of(large, Type::packet(ElementType::BF16, 8))
        };
        let value = kit.b.load(load);
        kit.b.store(store(place, value));
    }
    let kernel = kit.finish();
    assert!(kernel.has_dynamic_shared());
    assembles(&kernel);
}

#[test]
fn indices_of_every_form_in_32_and_in_64_bits() {
    let mut kit = kit("indices", 128);
    let arguments: Vec<Handle<Index>> = ElementType::ALL
        .into_iter()
        .filter(|element| element.is_integer())
        .map(|element| {
            let argument = kit.b.argument(format!("of_{element}"), ArgumentKind::Scalar(element));
            kit.b.argument_index(argument, Facts::of_element(element))
        })
        .collect();
    let (thread, block) = (kit.b.thread(), kit.b.block());
    let base = kit.b.address(kit.source);
    let loaded = kit.value(Type::scalar(ElementType::U32));
    let loaded = kit.b.index(loaded);
    let constants = [0, 1, 2, -1, 7, -8, 1 << 40, i64::MIN].map(|constant| kit.b.constant(constant));
    let all: Vec<Handle<Index>> = [thread, block, base, loaded]
        .into_iter()
        .chain(arguments)
        .chain(constants)
        .collect();
    let mut made = Vec::new();
    for (at, &left) in all.iter().enumerate() {
        for &right in &all[at.saturating_sub(3)..] {
            let condition = kit.b.indices().less(left, right);
            let within = kit.b.indices().within(left, right);
            let indices = kit.b.indices();
            made.extend([
                indices.add(left, right),
                indices.subtract(left, right),
                indices.multiply(left, right),
                indices.quotient(left, right),
                indices.remainder(left, right),
                indices.minimum(left, right),
                indices.maximum(left, right),
                indices.select(condition, left, right),
                indices.select(within, right, left),
            ]);
        }
        for bits in [1, 16, 31, 32, 40, 62] {
            made.push(kit.b.indices().low(left, bits));
        }
        for by in [3, -3, 16, 1 << 33, i64::MIN] {
            made.push(kit.b.indices().scale(left, by));
        }
    }
    for index in made {
        let named = kit.b.name(index);
        kit.keep(named.into());
        let place = Place {
            offset: kit.b.indices().scale(index, 16),
            ..kit.own(kit.target)
        };
        kit.b.store(store(place, literal(ElementType::U8, 7)));
    }
    assembles(&kit.finish());
}

#[test]
fn names_that_are_words_of_ptx_are_names_all_the_same() {
    for name in ["add", "ld", "reg", "func", "entry", "param", "tid", "u32"] {
        let mut kit = kit(name, 32);
        let argument = kit.b.argument(name, ArgumentKind::Scalar(ElementType::U32));
        let local = kit.b.buffer(name, 4, BufferKind::Local { bytes: 4 });
        let value = kit.b.emit(Operation::Argument(argument));
        let zero = kit.b.constant(0);
        let place = kit.b.place(local, zero);
        kit.b.store(store(place, value));
        assembles(&kit.finish());
    }
}

#[test]
fn a_block_has_sixteen_barriers() {
    let meeting = |groups: &[u32]| {
        let mut kit = kit("barriers", 1024);
        for &group in groups {
            kit.b.push(Statement::Barrier { group });
        }
        kit.finish()
    };
    assembles(&meeting(&[1024, 128, 256]));
    assembles(&meeting(&[64, 32]));
    let fault = verify(&meeting(&[64, 1024])).expect_err("17 groups");
    assert_eq!(fault.rule, Rule::Group);
}
