//! Accesses, their orders and hints.

use super::*;

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
        if let Use::Value(pointer) = e.b.load(load) {
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
