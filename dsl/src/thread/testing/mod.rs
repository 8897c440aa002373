//! Kernels of the thread IR for the tests of whoever takes them: each operation and statement on each type that it is
//! for, and random ones.
//!
//! `runtime/tests/thread_ir.rs` has these files too. A feature of this crate would have it compiled once with them and once
//! without.

mod every;
mod random;

pub use every::every;
pub use random::random;

use crate::element::ElementType;
use crate::ir::{Handle, Literal};
use crate::thread::{
    Argument, ArgumentKind, Buffer, BufferKind, Builder, Operation, Order, Rounding, Sharing, Store, Type, Use,
};

/// The memory of a kernel of each kind.
#[derive(Clone, Copy)]
struct Memory {
    read_only: Handle<Buffer>,
    private: Handle<Buffer>,
    common: Handle<Buffer>,
    listed: Handle<Buffer>,
    shared: Handle<Buffer>,
    local: Handle<Buffer>,
    table: Handle<Buffer>,
    parameter: Handle<Buffer>,
}

/// Bytes of each buffer that has so many.
const BYTES: u32 = 256;

/// A kernel that does nothing yet, with memory of each kind, arguments of each type and a record.
fn beginning(name: &str, threads: u32) -> (Builder, Memory, Vec<Handle<Argument>>) {
    let mut b = Builder::new(name, threads);
    b.kernel_mut().comment = format!("{name}: threads \\");
    let mut pointer = |name: &str, sharing| {
        let argument = b.argument(name, ArgumentKind::Pointer);
        b.buffer(name, 16, BufferKind::Global { argument, sharing })
    };
    let read_only = pointer("int", Sharing::ReadOnly);
    let private = pointer("private", Sharing::Private);
    let common = pointer("common", Sharing::Shared);
    let record = b.argument("record", ArgumentKind::Pointer);
    b.kernel_mut().record = Some(record);
    let scalars = ElementType::ALL.map(|element| b.argument(element.name(), ArgumentKind::Scalar(element)));
    let argument = b.argument(
        "bytes",
        ArgumentKind::Bytes {
            bytes: BYTES,
            alignment: 16,
        },
    );
    let words = (0..u64::from(BYTES / 8)).map(|word| word << 60 | word).collect();
    let table = b.table(words);
    let memory = Memory {
        read_only,
        private,
        common,
        listed: b.buffer(
            "listed",
            16,
            BufferKind::Listed {
                sharing: Sharing::Shared,
            },
        ),
        shared: b.buffer(
            "shared",
            16,
            BufferKind::Shared {
                offset: 16,
                bytes: BYTES,
            },
        ),
        local: b.buffer("local", 16, BufferKind::Local { bytes: BYTES }),
        table: b.buffer("table", 8, BufferKind::Table { table }),
        parameter: b.buffer("parameter", 16, BufferKind::Parameter { argument }),
    };
    (b, memory, scalars.into())
}

/// A value of a type, made of an argument.
fn value(b: &mut Builder, scalars: &[Handle<Argument>], ty: Type) -> Use {
    let at = ElementType::ALL.iter().position(|element| *element == ty.element);
    let scalar = b.emit(Operation::Argument(scalars[at.unwrap_or_default()]));
    match ty.lanes {
        1 => scalar,
        lanes => b.emit(Operation::Repeat { value: scalar, lanes }),
    }
}

/// Stores a value where every thread may see it, so that it has to be computed.
fn keep(b: &mut Builder, common: Handle<Buffer>, value: Use) {
    let ty = b.kernel().ty(value);
    if ty.element == ElementType::Bool {
        let bytes = b.emit(Operation::Cast {
            value,
            to: ElementType::U8,
            rounding: Rounding::NearestEven,
        });
        return keep(b, common, bytes);
    }
    if !matches!(ty.bytes(), 1 | 2 | 4 | 8 | 16) {
        (0..ty.lanes).for_each(|lane| {
            let part = b.part(value, lane, 1);
            keep(b, common, part);
        });
        return;
    }
    let thread = b.thread();
    let offset = b.indices().scale(thread, 16);
    let place = b.place(common, offset);
    b.store(Store {
        place,
        block: None,
        value,
        order: Order::Weak,
        cache: None,
        predicate: None,
    });
}

/// Lanes that make a value of an element type as wide as an access can be, or just several.
fn many(element: ElementType) -> u8 {
    match element {
        ElementType::Bool => 3,
        _ => (16 / element.size()) as u8,
    }
}

fn zero(element: ElementType) -> Use {
    Literal::zero(element).into()
}
