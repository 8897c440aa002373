//! Every rule is broken by something that breaks no other.

mod accesses;
mod control;
mod declarations;
mod values;

use super::{Rule, verify};
use crate::element::ElementType;
use crate::ir::{
    AtomicOp, BinaryOp, CacheHint, CompareOp, GridDependency, Handle, Literal, MemoryOrder, MemoryScope, Span, UnaryOp,
};
use crate::thread::{
    ArgumentKind, AsyncCopy, Atom, Atomic, Buffer, BufferKind, Builder, Facts, FenceOrder, Kernel, Label, Load,
    Operation, Order, Place, Ptx, Report, Rounding, Sharing, Shuffle, Statement, Store, Type, Unroll, Update, Use,
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

    pub(crate) fn store(&mut self, value: Use) -> Store {
        let bytes = self.b.kernel().ty(value).bytes();
        Store {
            place: self.own(self.target, bytes.into()),
            block: None,
            value,
            order: Order::Weak,
            cache: None,
            predicate: None,
        }
    }

    pub(crate) fn first_warp(&mut self) -> Handle<crate::thread::Predicate> {
        let (thread, limit) = (self.b.thread(), self.b.constant(32));
        self.b.indices().less(thread, limit)
    }
}

fn zero(element: ElementType) -> Use {
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

pub(super) const F32: Type = Type::scalar(ElementType::F32);
pub(super) const U32: Type = Type::scalar(ElementType::U32);

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
        Use::Value(pointer) => Some(pointer),
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
        let i = Use::Index(i);
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
    let output = e.b.kernel_mut().values.append(crate::thread::Value::of(U32));
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
    let golden = include_str!("everything.txt");
    assert_eq!(text, golden, "{text}");
}
