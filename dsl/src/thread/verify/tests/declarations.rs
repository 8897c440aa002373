//! Declarations, and whether what is mentioned is there.

use super::*;

#[test]
fn what_is_declared_has_to_be_right() {
    assert_eq!(changed(|kernel| kernel.threads = 0), Some(Rule::Threads));
    assert_eq!(changed(|kernel| kernel.threads = 100), Some(Rule::Threads));
    assert_eq!(changed(|kernel| kernel.threads = 2048), Some(Rule::Threads));
    assert_eq!(changed(|kernel| kernel.name = "a b".to_owned()), Some(Rule::Name));
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
        buffer(16, shared(16, crate::thread::verify::MAX_SHARED_BYTES)),
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
    let nowhere = |place: usize| Use::Value(Handle::from_index(place));
    let register = Handle::from_index(0);
    let assign = |value| Statement::Assign { register, value };
    assert_eq!(mentions(assign(nowhere(7))), Some(Rule::Handle));
    assert_eq!(mentions(assign(Use::Index(Handle::from_index(99)))), Some(Rule::Handle));
    assert_eq!(
        mentions(assign(Use::Predicate(Handle::from_index(99)))),
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
