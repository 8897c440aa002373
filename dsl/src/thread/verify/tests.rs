//! Every rule is broken by something that breaks no other.

use super::{Rule, verify};
use crate::element::ElementType;
use crate::ir::{
    AtomicOp, BinaryOp, CacheHint, CompareOp, GridDependency, Handle, Literal, MemoryOrder, MemoryScope, Span, UnaryOp,
};
use crate::thread::{
    ArgumentKind, AsyncCopy, Atom, Atomic, Buffer, BufferKind, Builder, Facts, FenceOrder, Kernel, Label, Load,
    Operand, Operation, Order, Place, Ptx, Report, Rounding, Sharing, Shuffle, Statement, Store, Type, Unroll, Update,
    Variable, Vote,
};

/// Two blocks of global memory, one of shared memory, and a thread's own.
pub(crate) struct Example {
    pub b: Builder,
    pub source: Handle<Buffer>,
    pub target: Handle<Buffer>,
    pub shared: Handle<Buffer>,
    pub local: Handle<Buffer>,
}

pub(crate) fn example() -> Example {
    let mut b = Builder::new("example", 128);
    let pointers = ["source", "target", "record"].map(|name| b.argument(name, ArgumentKind::Pointer));
    let [source, target] = [("source", Sharing::ReadOnly), ("target", Sharing::Shared)].map(|(name, sharing)| {
        let argument = pointers[usize::from(name == "target")];
        b.buffer(name, 16, BufferKind::Global { argument, sharing })
    });
    let shared = b.buffer("shared", 16, BufferKind::Shared { offset: 0, bytes: 2048 });
    let local = b.buffer("local", 16, BufferKind::Local { bytes: 64 });
    b.kernel_mut().record = Some(pointers[2]);
    Example {
        b,
        source,
        target,
        shared,
        local,
    }
}

impl Example {
    /// The place of the thread's `bytes` bytes.
    pub(crate) fn own(&mut self, buffer: Handle<Buffer>, bytes: i64) -> Place {
        let thread = self.b.thread();
        let offset = self.b.indices().scale(thread, bytes);
        self.b.place(buffer, offset)
    }

    pub(crate) fn load(&mut self, ty: Type) -> Load {
        Load {
            place: self.own(self.source, ty.bytes().into()),
            ty,
            order: Order::Weak,
            cache: None,
            read_only: false,
            predicate: None,
        }
    }

    pub(crate) fn store(&mut self, value: Operand) -> Store {
        let bytes = self.b.kernel().ty(value).bytes();
        Store {
            place: self.own(self.target, bytes.into()),
            value,
            order: Order::Weak,
            cache: None,
            predicate: None,
        }
    }

    pub(crate) fn first_warp(&mut self) -> Handle<crate::thread::Condition> {
        let (thread, limit) = (self.b.thread(), self.b.constant(32));
        self.b.indices().less(thread, limit)
    }
}

fn zero(element: ElementType) -> Operand {
    Literal::zero(element).into()
}

/// The rule that what `fill` adds to the example breaks.
fn broken(fill: impl FnOnce(&mut Example)) -> Option<Rule> {
    let mut e = example();
    fill(&mut e);
    verify(&e.b.finish()).err().map(|fault| fault.rule)
}

/// The rule that an example broken by `change` breaks.
fn changed(change: impl FnOnce(&mut Kernel)) -> Option<Rule> {
    let mut kernel = example().b.finish();
    assert_eq!(verify(&kernel), Ok(()));
    change(&mut kernel);
    verify(&kernel).err().map(|fault| fault.rule)
}

const F32: Type = Type::scalar(ElementType::F32);
const U32: Type = Type::scalar(ElementType::U32);

/// A kernel with every operation and statement that there is.
pub(crate) fn everything() -> Kernel {
    let mut e = example();
    e.b.kernel_mut().comment = "everything".to_owned();
    e.b.push(Statement::GridDependency(GridDependency::Wait));
    let line = Span {
        file: "example.rs",
        line: 7,
        column: 1,
    };
    e.b.at(line);
    let scale = e.b.argument("scale", ArgumentKind::Scalar(ElementType::F32));
    let count = e.b.argument("count", ArgumentKind::Scalar(ElementType::I64));
    let blob = ArgumentKind::Bytes {
        bytes: 32,
        alignment: 16,
    };
    let blob = e.b.argument("blob", blob);
    let parameter = e.b.buffer("parameter", 16, BufferKind::Parameter { argument: blob });
    let table = e.b.table(vec![1, 2]);
    let table = e.b.buffer("table", 8, BufferKind::Table { table });
    let listed = BufferKind::Listed {
        sharing: Sharing::Shared,
    };
    let listed = e.b.buffer("listed", 4, listed);
    let scale = e.b.emit(Operation::Argument(scale));
    let count = e.b.argument_index(count, Facts::between(0, 1 << 20));
    let four = e.load(F32.with_lanes(4));
    let x = e.b.load(Load {
        cache: Some(CacheHint::NoAllocate),
        read_only: true,
        ..four
    });
    let zero_index = e.b.constant(0);
    let word = Load {
        place: e.b.place(table, zero_index),
        ty: Type::scalar(ElementType::U64),
        ..four
    };
    let pointer = e.b.load(Load {
        place: e.b.place(parameter, zero_index),
        ..word
    });
    let word = e.b.load(word);
    let pointer = match pointer {
        Operand::Value(pointer) => Some(pointer),
        _ => None,
    };
    // Every operation.
    let negative = e.b.unary(UnaryOp::Negate, x);
    let sum = e.b.binary(BinaryOp::Add, negative, scale);
    let fused = e.b.emit(Operation::MulAdd {
        left: sum,
        right: x,
        addend: scale,
    });
    let less = e.b.compare(CompareOp::Less, fused, zero(ElementType::F32));
    let chosen = e.b.select(less, fused, scale);
    let chosen = e.b.emit(Operation::Canonical(chosen));
    let half = e.b.emit(Operation::Cast {
        value: chosen,
        to: ElementType::BF16,
        rounding: Rounding::NearestEven,
    });
    let words = e.b.bitcast(half, U32.with_lanes(2));
    let (low, high) = (e.b.part(words, 0, 1), e.b.part(words, 1, 1));
    let by = Literal::new(8u32).into();
    let funnel = e.b.emit(Operation::Funnel { low, high, by });
    let joined = e.b.join(vec![funnel, low]);
    let repeated = e.b.emit(Operation::Repeat { value: high, lanes: 2 });
    let both = e.b.binary(BinaryOp::Xor, joined, repeated);
    let store = e.store(both);
    let (thread, below) = (e.b.thread(), e.b.constant(100));
    let predicate = Some(e.b.indices().less(thread, below));
    e.b.store(Store {
        cache: Some(CacheHint::Streaming),
        predicate,
        ..store
    });
    let up = e.b.emit(Operation::Shuffle {
        kind: Shuffle::Up,
        value: funnel,
        by: Literal::new(1u32).into(),
        group: 16,
    });
    let is_set = e.b.is_not_zero(up);
    let all = e.b.emit(Operation::Vote {
        kind: Vote::All,
        condition: is_set,
        group: 32,
    });
    let all = e.b.condition(all);
    // Registers, loops, branches.
    let register = e.b.register("sum", U32);
    e.b.assign(register, Literal::new(0u32).into());
    let outer = e.b.name(count);
    let sum_of = e.b.indices().add(outer, thread);
    let named = e.b.name(sum_of);
    e.b.count(zero_index, named, 3, Unroll::Free, |b, i, label| {
        let before = b.read(register);
        let i = Operand::Index(i);
        let i = b.emit(Operation::Cast {
            value: i,
            to: ElementType::U32,
            rounding: Rounding::NearestEven,
        });
        let after = b.binary(BinaryOp::Add, before, i);
        b.assign(register, after);
        b.choose(
            all,
            |b| b.push(Statement::Leave(label)),
            |b| b.push(Statement::Next(label)),
        );
    });
    e.b.repeat(Unroll::Never, |b, label| b.push(Statement::Leave(label)));
    let own = e.own(e.shared, 4);
    let value = e.b.read(register);
    let store = e.store(value);
    e.b.store(Store { place: own, ..store });
    e.b.push(Statement::Barrier { group: 128 });
    let first_warp = e.first_warp();
    let (target, shared) = (e.own(e.target, 4), e.shared);
    e.b.scope(|b, label| {
        b.when(first_warp, |b| b.push(Statement::Barrier { group: 32 }));
        let atomic = Atomic {
            place: target,
            element: ElementType::U32,
            update: Update::Combine {
                op: AtomicOp::Add,
                value,
            },
            order: MemoryOrder::AcquireRelease,
            scope: MemoryScope::System,
            result: None,
            predicate,
        };
        let old = b.atomic(atomic, true);
        let update = Update::CompareExchange {
            current: old.unwrap_or(value),
            new: value,
        };
        b.atomic(Atomic { update, ..atomic }, false);
        let zero = b.constant(0);
        let copy = AsyncCopy {
            to: b.place(shared, zero),
            from: Place {
                buffer: listed,
                pointer,
                offset: zero,
            },
            bytes: 4,
            predicate: Some(first_warp),
        };
        b.push(Statement::AsyncCopy(copy));
        b.push(Statement::AsyncCommit);
        b.push(Statement::AsyncWait(0));
        b.push(Statement::Prefetch {
            place: target,
            predicate: None,
        });
        b.push(Statement::Leave(label));
    });
    e.b.push(Statement::Fence {
        order: FenceOrder::Sequential,
        scope: MemoryScope::System,
    });
    let site = e.b.site();
    e.b.push(Statement::Report(Report {
        site,
        program: thread,
        value: thread.into(),
        met: word,
        predicate,
    }));
    e.b.push(Statement::Print {
        format: "{} of {}".to_owned(),
        values: vec![thread.into(), first_warp.into()],
    });
    let output =
        e.b.kernel_mut()
            .values
            .append(crate::thread::Value { ty: U32, facts: None });
    e.b.push(Statement::Ptx(Ptx {
        text: "add.u32 %0, %1, 1;".to_owned(),
        outputs: vec![output],
        inputs: vec![value],
        meaning: None,
    }));
    e.b.push(Statement::Exit);
    e.b.finish()
}

#[test]
fn everything_that_can_be_said_is_accepted() {
    assert_eq!(verify(&everything()), Ok(()));
}

#[test]
fn the_text_form_says_everything_and_is_always_the_same() {
    let text = everything().to_string();
    assert_eq!(text, everything().to_string());
    let golden = include_str!("tests.txt");
    assert_eq!(text, golden, "{text}");
}

#[test]
fn what_is_declared_has_to_be_right() {
    assert_eq!(changed(|kernel| kernel.threads = 0), Some(Rule::Threads));
    assert_eq!(changed(|kernel| kernel.threads = 100), Some(Rule::Threads));
    assert_eq!(changed(|kernel| kernel.threads = 2048), Some(Rule::Threads));
    for name in ["a b", "1x", "_", ""] {
        assert_eq!(changed(|kernel| kernel.name = name.to_owned()), Some(Rule::Name));
    }
    assert_eq!(changed(|kernel| kernel.comment = "a\nb".to_owned()), Some(Rule::Name));
    let named = |fill: fn(&mut Builder)| broken(|e| fill(&mut e.b));
    assert_eq!(
        named(|b| {
            let _ = b.argument("source", ArgumentKind::Pointer);
        }),
        Some(Rule::Name)
    );
    let bytes = |bytes, alignment| ArgumentKind::Bytes { bytes, alignment };
    assert_eq!(
        broken(|e| {
            let _ = e.b.argument("x", bytes(0, 4));
        }),
        Some(Rule::Argument)
    );
    assert_eq!(
        broken(|e| {
            let _ = e.b.argument("x", bytes(24, 3));
        }),
        Some(Rule::Argument)
    );
    assert_eq!(
        broken(|e| {
            let _ = e.b.argument("x", bytes(4096, 16));
        }),
        Some(Rule::Argument)
    );
    let buffer = |alignment, kind| {
        broken(|e| {
            let _ = e.b.buffer("x", alignment, kind);
        })
    };
    let shared = |offset, bytes| BufferKind::Shared { offset, bytes };
    assert_eq!(buffer(3, shared(0, 4)), Some(Rule::Buffer));
    assert_eq!(buffer(4, shared(2, 4)), Some(Rule::Buffer));
    assert_eq!(buffer(4, shared(4, 0)), Some(Rule::Buffer));
    assert_eq!(buffer(4, shared(4, u32::MAX)), Some(Rule::Buffer));
    assert_eq!(buffer(16, BufferKind::Local { bytes: 0 }), Some(Rule::Buffer));
    assert_eq!(
        buffer(16, shared(16, super::MAX_SHARED_BYTES)),
        Some(Rule::SharedMemory)
    );
    assert_eq!(
        buffer(
            16,
            BufferKind::Parameter {
                argument: Handle::from_index(0)
            }
        ),
        Some(Rule::Buffer)
    );
    assert_eq!(
        changed(|kernel| kernel.record = Some(Handle::from_index(0))),
        Some(Rule::Record)
    );
    assert_eq!(
        changed(|kernel| {
            kernel.record = None;
            kernel.sites = 1;
        }),
        Some(Rule::Record)
    );
    let wide = Type::packet(ElementType::U8, 33);
    assert_eq!(
        broken(|e| {
            let _ = e.b.register("x", wide);
        }),
        Some(Rule::Type)
    );
}

#[test]
fn what_is_mentioned_has_to_be_there() {
    let mentions = |statement| broken(|e| e.b.push(statement));
    let nowhere = |place: usize| Operand::Value(Handle::from_index(place));
    let register = Handle::from_index(0);
    let assign = |value| Statement::Assign { register, value };
    assert_eq!(mentions(assign(nowhere(7))), Some(Rule::Handle));
    assert_eq!(
        mentions(assign(Operand::Index(Handle::from_index(99)))),
        Some(Rule::Handle)
    );
    assert_eq!(
        mentions(assign(Operand::Condition(Handle::from_index(99)))),
        Some(Rule::Handle)
    );
    assert_eq!(mentions(assign(zero(ElementType::U32))), Some(Rule::Handle));
    assert_eq!(
        changed(|kernel| kernel.record = Some(Handle::from_index(9))),
        Some(Rule::Handle)
    );
    // In an index as well.
    let inside = broken(|e| {
        let missing = e.b.indices().atom(Atom::Variable(Handle::from_index(4)), Facts::NONE);
        let named = e.b.indices().offset(missing, 1);
        e.b.name(named);
    });
    assert_eq!(inside, Some(Rule::Handle));
    assert_eq!(
        mentions(Statement::Loop {
            label: Label(3),
            unroll: Unroll::Free,
            body: Default::default()
        }),
        Some(Rule::Handle)
    );
}

#[test]
fn values_are_known_from_their_definition_to_the_end_of_the_block() {
    let escaped = broken(|e| {
        let (load, first) = (e.load(F32), e.first_warp());
        let mut inside = None;
        e.b.when(first, |b| inside = Some(b.load(load)));
        let store = e.store(inside.unwrap());
        e.b.store(store);
    });
    assert_eq!(escaped, Some(Rule::Scope));
    let counted = broken(|e| {
        let (zero, ten) = (e.b.constant(0), e.b.constant(10));
        let mut inside = zero;
        e.b.count(zero, ten, 1, Unroll::Free, |_, i, _| inside = i);
        let outside = e.b.indices().offset(inside, 1);
        e.b.name(outside);
    });
    assert_eq!(counted, Some(Rule::Scope));
    let twice = broken(|e| {
        let load = e.load(F32);
        if let Operand::Value(value) = e.b.load(load) {
            let operation = Operation::Load(load);
            e.b.push(Statement::Let { value, operation });
        }
    });
    assert_eq!(twice, Some(Rule::Once));
}

#[test]
fn registers_are_set_before_they_are_read_whichever_way_control_came() {
    let read_after = |fill: fn(&mut Example, Handle<crate::thread::Register>)| {
        broken(|e| {
            let register = e.b.register("x", U32);
            fill(e, register);
            e.b.read(register);
        })
    };
    let one = || Literal::new(1u32).into();
    assert_eq!(read_after(|_, _| {}), Some(Rule::Assigned));
    assert_eq!(
        read_after(|e, register| {
            let first = e.first_warp();
            e.b.when(first, |b| b.assign(register, Literal::new(1u32).into()));
        }),
        Some(Rule::Assigned)
    );
    assert_eq!(
        read_after(|e, register| {
            let first = e.first_warp();
            e.b.choose(
                first,
                |b| b.assign(register, Literal::new(1u32).into()),
                |b| b.push(Statement::Exit),
            );
        }),
        None
    );
    assert_eq!(
        read_after(|e, register| {
            let (zero, ten) = (e.b.constant(0), e.b.constant(10));
            e.b.count(zero, ten, 1, Unroll::Free, |b, _, _| {
                b.assign(register, Literal::new(1u32).into())
            });
        }),
        Some(Rule::Assigned)
    );
    assert_eq!(
        read_after(|e, register| {
            e.b.repeat(Unroll::Free, |b, label| {
                b.assign(register, Literal::new(1u32).into());
                b.push(Statement::Leave(label));
            });
        }),
        None
    );
    let early = broken(|e| {
        let (register, first) = (e.b.register("x", U32), e.first_warp());
        e.b.scope(|b, label| {
            b.when(first, |b| b.push(Statement::Leave(label)));
            b.assign(register, one());
        });
        e.b.read(register);
    });
    assert_eq!(early, Some(Rule::Assigned));
}

#[test]
fn operations_have_the_types_that_are_said() {
    let of = |operation: fn(&mut Example) -> Operation| {
        broken(|e| {
            let operation = operation(e);
            e.b.emit(operation);
        })
    };
    let pairs: [fn(&mut Example) -> Operation; 14] = [
        // Only approximated.
        |e| Operation::Unary {
            op: UnaryOp::Exp,
            value: value(e, F32),
        },
        |_| Operation::Unary {
            op: UnaryOp::Floor,
            value: zero(ElementType::I32),
        },
        // No arithmetic.
        |_| Operation::Binary {
            op: BinaryOp::Add,
            left: zero(ElementType::F16),
            right: zero(ElementType::F16),
        },
        |_| Operation::Binary {
            op: BinaryOp::Add,
            left: zero(ElementType::U32),
            right: zero(ElementType::I32),
        },
        |e| Operation::Binary {
            op: BinaryOp::Add,
            left: value(e, F32.with_lanes(2)),
            right: value(e, F32.with_lanes(4)),
        },
        |_| Operation::Compare {
            op: CompareOp::Less,
            left: zero(ElementType::Bool),
            right: zero(ElementType::Bool),
        },
        |_| Operation::Select {
            condition: zero(ElementType::U8),
            accept: zero(ElementType::U8),
            reject: zero(ElementType::U8),
        },
        |_| Operation::Cast {
            value: zero(ElementType::F64),
            to: ElementType::BF16,
            rounding: Rounding::NearestEven,
        },
        |_| Operation::Cast {
            value: zero(ElementType::F32),
            to: ElementType::F16,
            rounding: Rounding::Zero,
        },
        |e| Operation::Bitcast {
            value: value(e, F32),
            to: Type::scalar(ElementType::U64),
        },
        |_| Operation::Bitcast {
            value: zero(ElementType::Bool),
            to: Type::scalar(ElementType::U8),
        },
        |e| Operation::Part {
            value: value(e, F32.with_lanes(4)),
            first: 3,
            lanes: 2,
        },
        |e| Operation::Join(vec![value(e, F32), zero(ElementType::U32)]),
        |e| Operation::Shuffle {
            kind: Shuffle::Up,
            value: value(e, F32),
            by: zero(ElementType::I32),
            group: 32,
        },
    ];
    for (number, operation) in pairs.into_iter().enumerate() {
        assert_eq!(of(operation), Some(Rule::Type), "operation {number}");
    }
    fn value(e: &mut Example, ty: Type) -> Operand {
        let load = e.load(ty);
        e.b.load(load)
    }
    // And statements.
    let assigned = broken(|e| {
        let register = e.b.register("x", F32);
        e.b.assign(register, zero(ElementType::U32));
    });
    assert_eq!(assigned, Some(Rule::Type));
    let printed = broken(|e| {
        let values = vec![zero(ElementType::F16)];
        e.b.push(Statement::Print {
            format: "{}".to_owned(),
            values,
        });
    });
    assert_eq!(printed, Some(Rule::Type));
}

#[test]
fn indices_are_made_of_what_is_what_it_seems() {
    let lane = broken(|e| {
        let lane = e.b.lane(8);
        let named = e.b.indices().offset(lane, 1);
        e.b.name(named);
    });
    assert_eq!(lane, Some(Rule::Atom));
    let float = broken(|e| {
        let load = e.load(F32);
        if let Operand::Value(value) = e.b.load(load) {
            let index = e.b.indices().atom(Atom::Value(value), Facts::NONE);
            let named = e.b.indices().offset(index, 1);
            e.b.name(named);
        }
    });
    assert_eq!(float, Some(Rule::Atom));
    let fewer = broken(|e| {
        let thread = e.b.indices().atom(Atom::Thread, Facts::between(0, 31));
        let named = e.b.indices().offset(thread, 1);
        e.b.name(named);
    });
    assert_eq!(fewer, Some(Rule::Atom));
}

#[test]
fn accesses_are_as_wide_as_hardware_has_them_and_where_their_bytes_divide() {
    let loads = |change: fn(&mut Example, &mut Load)| {
        broken(|e| {
            let mut load = e.load(U32);
            change(e, &mut load);
            e.b.load(load);
        })
    };
    assert_eq!(loads(|_, load| load.ty = U32.with_lanes(3)), Some(Rule::Access));
    assert_eq!(loads(|_, load| load.ty = Type::CONDITION), Some(Rule::Access));
    assert_eq!(loads(|_, load| load.ty = U32.with_lanes(2)), Some(Rule::Alignment));
    assert_eq!(loads(|e, load| load.place.offset = e.b.thread()), Some(Rule::Alignment));
    let narrow = broken(|e| {
        let argument = Handle::from_index(1);
        let sharing = Sharing::Private;
        let buffer = e.b.buffer("narrow", 4, BufferKind::Global { argument, sharing });
        let load = e.load(U32.with_lanes(2));
        let place = Place { buffer, ..load.place };
        e.b.load(Load { place, ..load });
    });
    assert_eq!(narrow, Some(Rule::Alignment));
    let stores = |change: fn(&mut Example, &mut Store)| {
        broken(|e| {
            let mut store = e.store(zero(ElementType::U32));
            change(e, &mut store);
            e.b.store(store);
        })
    };
    assert_eq!(stores(|e, store| store.place.buffer = e.source), Some(Rule::Access));
    let pointed = broken(|e| {
        let load = e.load(Type::scalar(ElementType::U64));
        if let Operand::Value(pointer) = e.b.load(load) {
            let pointer = Some(pointer);
            e.b.load(Load {
                place: Place { pointer, ..load.place },
                ..load
            });
        }
    });
    assert_eq!(pointed, Some(Rule::Access));
    // A thread's own memory has no atomic operations.
    let atomic = |local: bool, element: ElementType, op: AtomicOp| {
        broken(|e| {
            let buffer = if local { e.local } else { e.target };
            let place = e.own(buffer, 16);
            let atomic = Atomic {
                place,
                element,
                update: Update::Combine {
                    op,
                    value: zero(element),
                },
                order: MemoryOrder::Relaxed,
                scope: MemoryScope::Device,
                result: None,
                predicate: None,
            };
            e.b.atomic(atomic, false);
        })
    };
    assert_eq!(atomic(true, ElementType::U32, AtomicOp::Add), Some(Rule::Access));
    assert_eq!(atomic(false, ElementType::F32, AtomicOp::Add), None);
    // A loop does that.
    assert_eq!(atomic(false, ElementType::F32, AtomicOp::Min), Some(Rule::Type));
    assert_eq!(atomic(false, ElementType::U8, AtomicOp::Add), Some(Rule::Type));
    let copied = |bytes, swapped: bool| {
        broken(|e| {
            let (to, from) = (e.own(e.shared, 16), e.own(e.source, 16));
            let (to, from) = if swapped { (from, to) } else { (to, from) };
            e.b.push(Statement::AsyncCopy(AsyncCopy {
                to,
                from,
                bytes,
                predicate: None,
            }));
        })
    };
    assert_eq!(copied(16, false), None);
    assert_eq!(copied(2, false), Some(Rule::Access));
    assert_eq!(copied(16, true), Some(Rule::Access));
}

#[test]
fn orders_and_hints_are_what_an_access_can_have() {
    let loads = |change: fn(&mut Example, &mut Load)| {
        broken(|e| {
            let mut load = e.load(U32.with_lanes(4));
            change(e, &mut load);
            e.b.load(load);
        })
    };
    const RELAXED: Order = Order::Strong(MemoryOrder::Relaxed, MemoryScope::Device);
    assert_eq!(loads(|_, load| load.order = RELAXED), None);
    let acquire = |load: &mut Load| load.order = Order::Strong(MemoryOrder::Acquire, MemoryScope::System);
    assert_eq!(
        loads(|_, load| load.order = Order::Strong(MemoryOrder::Acquire, MemoryScope::System)),
        Some(Rule::Order)
    );
    let one = broken(|e| {
        let mut load = e.load(U32);
        acquire(&mut load);
        e.b.load(load);
    });
    assert_eq!(one, None);
    let release = |load: &mut Load| load.order = Order::Strong(MemoryOrder::Release, MemoryScope::System);
    let released = broken(|e| {
        let mut load = e.load(U32);
        release(&mut load);
        e.b.load(load);
    });
    assert_eq!(released, Some(Rule::Order));
    assert_eq!(
        loads(|e, load| {
            load.read_only = true;
            load.place.buffer = e.target
        }),
        Some(Rule::Order)
    );
    assert_eq!(
        loads(|_, load| {
            load.read_only = true;
            load.order = RELAXED
        }),
        Some(Rule::Order)
    );
    assert_eq!(
        loads(|e, load| {
            load.order = RELAXED;
            load.place.buffer = e.local
        }),
        Some(Rule::Order)
    );
    assert_eq!(
        loads(|_, load| load.cache = Some(CacheHint::WriteThrough)),
        Some(Rule::Cache)
    );
    assert_eq!(
        loads(|e, load| {
            load.cache = Some(CacheHint::Streaming);
            load.place.buffer = e.shared
        }),
        Some(Rule::Cache)
    );
    assert_eq!(
        loads(|_, load| {
            load.cache = Some(CacheHint::NoAllocate);
            load.order = RELAXED
        }),
        None
    );
    assert_eq!(
        loads(|_, load| {
            load.cache = Some(CacheHint::Streaming);
            load.order = RELAXED
        }),
        Some(Rule::Cache)
    );
}

#[test]
fn labels_are_of_what_is_around() {
    let outside = broken(|e| {
        let label = e.b.label();
        e.b.push(Statement::Leave(label));
    });
    assert_eq!(outside, Some(Rule::Label));
    let no_loop = broken(|e| e.b.scope(|b, label| b.push(Statement::Next(label))));
    assert_eq!(no_loop, Some(Rule::Label));
    let behind = broken(|e| {
        e.b.push(Statement::Exit);
        e.b.push(Statement::AsyncCommit);
    });
    assert_eq!(behind, Some(Rule::Label));
    let twice = broken(|e| {
        let label = e.b.label();
        for _ in 0..2 {
            e.b.push(Statement::Scope {
                label,
                body: Default::default(),
            });
        }
    });
    assert_eq!(twice, Some(Rule::Once));
}

#[test]
fn loops_do_not_wrap_and_variables_are_what_is_known_of_them() {
    let counts = |step, end: i64, facts: Option<Facts>| {
        broken(|e| {
            let (start, end) = (e.b.constant(0), e.b.constant(end));
            let facts = facts.unwrap_or(Facts::NONE);
            let variable = e.b.kernel_mut().variables.append(Variable { facts });
            let label = e.b.label();
            let (unroll, body) = (Unroll::Free, Default::default());
            e.b.push(Statement::For {
                label,
                variable,
                start,
                end,
                step,
                unroll,
                body,
            });
        })
    };
    assert_eq!(counts(1, 10, None), None);
    assert_eq!(counts(0, 10, None), Some(Rule::Loop));
    assert_eq!(counts(2, i64::MAX, None), Some(Rule::Loop));
    assert_eq!(counts(8, 64, Some(Facts::between(0, 63).with_divisor(8))), None);
    assert_eq!(counts(8, 64, Some(Facts::between(0, 62))), Some(Rule::Loop));
    assert_eq!(counts(4, 64, Some(Facts::NONE.with_divisor(8))), Some(Rule::Loop));
    let named = broken(|e| {
        let thread = e.b.thread();
        let index = e.b.indices().offset(thread, 1);
        let variable = e.b.kernel_mut().variables.append(Variable {
            facts: Facts::between(0, 5),
        });
        e.b.push(Statement::Name { variable, index });
    });
    assert_eq!(named, Some(Rule::Loop));
}

#[test]
fn groups_are_such_as_hardware_has() {
    let meets = |group| broken(|e| e.b.push(Statement::Barrier { group }));
    for group in [1, 2, 16, 32, 64, 128] {
        assert_eq!(meets(group), None, "{group}");
    }
    for group in [0, 3, 48, 96, 256] {
        assert_eq!(meets(group), Some(Rule::Group), "{group}");
    }
    let vote = broken(|e| {
        let condition = zero(ElementType::Bool);
        e.b.emit(Operation::Vote {
            kind: Vote::Any,
            condition,
            group: 64,
        });
    });
    assert_eq!(vote, Some(Rule::Group));
    let many = changed(|kernel| {
        kernel.threads = 1024;
        kernel.body.push(Statement::Barrier { group: 64 }, Span::UNKNOWN);
    });
    assert_eq!(many, None);
}

#[test]
fn where_threads_meet_all_of_them_are() {
    let meets_if = |group: u32, condition: fn(&mut Example) -> Handle<crate::thread::Condition>| {
        broken(|e| {
            let condition = condition(e);
            e.b.when(condition, |b| b.push(Statement::Barrier { group }));
        })
    };
    // The first warp alone, and what every warp has to itself.
    assert_eq!(meets_if(32, |e| e.first_warp()), None);
    assert_eq!(meets_if(64, |e| e.first_warp()), Some(Rule::Uniform));
    let one_thread = |e: &mut Example| {
        let (thread, zero) = (e.b.thread(), e.b.constant(0));
        e.b.indices().equal(thread, zero)
    };
    assert_eq!(meets_if(32, one_thread), Some(Rule::Uniform));
    let odd_pair = |e: &mut Example| {
        let (thread, two) = (e.b.thread(), e.b.constant(2));
        let pair = e.b.indices().quotient(thread, two);
        let (pair, one) = (e.b.indices().low(pair, 1), e.b.constant(1));
        e.b.indices().equal(pair, one)
    };
    assert_eq!(meets_if(2, odd_pair), None);
    assert_eq!(meets_if(4, odd_pair), Some(Rule::Uniform));
    // What all threads load from one place is the same, and what each loads is not.
    let loaded = |e: &mut Example| {
        let (load, zero) = (e.load(U32), e.b.constant(0));
        let place = Place {
            offset: zero,
            ..load.place
        };
        let value = e.b.load(Load { place, ..load });
        let set = e.b.is_not_zero(value);
        e.b.condition(set)
    };
    assert_eq!(meets_if(128, loaded), None);
    let own = |e: &mut Example| {
        let load = e.load(U32);
        let value = e.b.load(load);
        let set = e.b.is_not_zero(value);
        e.b.condition(set)
    };
    assert_eq!(meets_if(128, own), Some(Rule::Uniform));
    // Through a register that a loop sets, after those that left are gone, and in the trip after.
    let through = broken(|e| {
        let register = e.b.register("x", U32);
        e.b.assign(register, zero(ElementType::U32));
        let load = e.load(U32);
        e.b.repeat(Unroll::Free, |b, label| {
            let x = b.read(register);
            let set = b.is_not_zero(x);
            let set = b.condition(set);
            b.when(set, |b| b.push(Statement::Barrier { group: 128 }));
            let own = b.load(load);
            b.assign(register, own);
            let _ = label;
        });
    });
    assert_eq!(through, Some(Rule::Uniform));
    let left = |behind: bool| {
        broken(|e| {
            let first = e.first_warp();
            e.b.scope(|b, label| {
                b.when(first, |b| b.push(Statement::Leave(label)));
                if !behind {
                    b.push(Statement::Barrier { group: 128 });
                }
            });
            if behind {
                e.b.push(Statement::Barrier { group: 128 });
            }
        })
    };
    assert_eq!(left(false), Some(Rule::Uniform));
    assert_eq!(left(true), None);
    let ended = broken(|e| {
        let first = e.first_warp();
        e.b.when(first, |b| b.push(Statement::Exit));
        e.b.push(Statement::Barrier { group: 128 });
    });
    assert_eq!(ended, Some(Rule::Uniform));
}

#[test]
fn texts_fit_what_they_are_about() {
    let printed = broken(|e| {
        let values = vec![zero(ElementType::U32)];
        e.b.push(Statement::Print {
            format: "{} {}".to_owned(),
            values,
        });
    });
    assert_eq!(printed, Some(Rule::Text));
    let instructions = |text: &str| {
        broken(|e| {
            let value = crate::thread::Value { ty: U32, facts: None };
            let outputs = vec![e.b.kernel_mut().values.append(value)];
            let inputs = vec![zero(ElementType::U32)];
            let (text, meaning) = (text.to_owned(), None);
            e.b.push(Statement::Ptx(Ptx {
                text,
                outputs,
                inputs,
                meaning,
            }));
        })
    };
    assert_eq!(instructions("mov.u32 %0, %1;"), None);
    assert_eq!(instructions("mov.u32 %0, %%laneid;"), None);
    assert_eq!(instructions("mov.u32 %0, %2;"), Some(Rule::Text));
    let site = broken(|e| {
        let thread = e.b.thread();
        let report = Report {
            site: 0,
            program: thread,
            value: thread.into(),
            met: zero(ElementType::U64),
            predicate: None,
        };
        e.b.push(Statement::Report(report));
    });
    assert_eq!(site, Some(Rule::Record));
}
