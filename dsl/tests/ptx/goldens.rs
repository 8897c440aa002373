//! Texts of whole kernels. `TILEWRIGHT_BLESS=1 cargo test -p tilewright-dsl --test ptx goldens` writes the files anew.

use tilewright_dsl::backend::ptx::Target;
use tilewright_dsl::element::ElementType;
use tilewright_dsl::ir::{BinaryOp, CacheHint, Literal, Span};
use tilewright_dsl::thread::{
    ArgumentKind, BufferKind, Builder, Facts, Kernel, Load, Operation, Order, Report, Rounding, Sharing, Shuffle,
    Statement, Store, Type, Unroll,
};

use super::{assembles, printed};

fn line(line: u32) -> Span {
    Span {
        file: "kernels/rows.rs",
        line,
        column: 5,
    }
}

/// Rows of 128 vectors, gathered: what a wide copy is.
fn gather_rows() -> Kernel {
    let mut b = Builder::new("gather_rows", 128);
    b.kernel_mut().comment = "a row of src for each index".to_owned();
    let [dst, src, index] = ["dst", "src", "index"].map(|name| b.argument(name, ArgumentKind::Pointer));
    let rows = b.argument("rows", ArgumentKind::Scalar(ElementType::I64));
    let buffer = |b: &mut Builder, name: &str, argument, sharing, alignment| {
        b.buffer(name, alignment, BufferKind::Global { argument, sharing })
    };
    let dst = buffer(&mut b, "dst", dst, Sharing::Private, 16);
    let src = buffer(&mut b, "src", src, Sharing::ReadOnly, 16);
    let index = buffer(&mut b, "index", index, Sharing::ReadOnly, 8);
    let record = b.argument("record", ArgumentKind::Pointer);
    b.kernel_mut().record = Some(record);
    let rows = b.argument_index(rows, Facts::between(0, 1 << 40));
    let (thread, block) = (b.thread(), b.block());
    b.at(line(7));
    let at = b.indices().scale(block, 8);
    let place = b.place(index, at);
    let load = Load {
        place,
        ty: Type::scalar(ElementType::I64),
        order: Order::Weak,
        cache: None,
        read_only: true,
        predicate: None,
    };
    let row = b.load(load);
    let row = b.index(row);
    let within = b.indices().within(row, rows);
    b.at(line(8));
    let outside = b.indices().not(within);
    let site = b.site();
    let zero = Literal::new(0u64).into();
    b.push(Statement::Report(Report {
        site,
        program: block,
        value: row.into(),
        met: zero,
        predicate: Some(outside),
    }));
    let (zero, end) = (b.constant(0), b.constant(2));
    b.count(zero, end, 1, Unroll::Never, |b, part, _| {
        b.at(line(9));
        let column = b.indices().scale(thread, 16);
        let part = b.indices().scale(part, 2048);
        let column = b.indices().add(column, part);
        let [from, to] = [row, block].map(|row| {
            let row = b.indices().scale(row, 4096);
            b.indices().add(row, column)
        });
        let words = b.load(Load {
            place: b.place(src, from),
            ty: Type::packet(ElementType::BF16, 8),
            cache: Some(CacheHint::NoAllocate),
            predicate: Some(within),
            ..load
        });
        b.store(Store {
            place: b.place(dst, to),
            block: None,
            value: words,
            order: Order::Weak,
            cache: Some(CacheHint::Streaming),
            predicate: None,
        });
    });
    b.finish()
}

/// The sum of a row of bf16, by all threads of a warp.
fn sum_rows() -> Kernel {
    let mut b = Builder::new("sum_rows", 32);
    let [dst, src] = ["dst", "src"].map(|name| b.argument(name, ArgumentKind::Pointer));
    let global = |argument, sharing| BufferKind::Global { argument, sharing };
    let dst = b.buffer("dst", 4, global(dst, Sharing::Private));
    let src = b.buffer("src", 16, global(src, Sharing::ReadOnly));
    let (thread, block) = (b.thread(), b.block());
    b.at(line(20));
    let own = b.indices().scale(thread, 8);
    let row = b.indices().scale(block, 256);
    let from = b.indices().add(row, own);
    let four = b.load(Load {
        place: b.place(src, from),
        ty: Type::packet(ElementType::BF16, 4),
        order: Order::Weak,
        cache: None,
        read_only: true,
        predicate: None,
    });
    let floats = b.emit(Operation::Cast {
        value: four,
        to: ElementType::F32,
        rounding: Rounding::NearestEven,
    });
    let parts = [0, 1, 2, 3].map(|lane| b.part(floats, lane, 1));
    let low = b.binary(BinaryOp::Add, parts[0], parts[1]);
    let high = b.binary(BinaryOp::Add, parts[2], parts[3]);
    let mut sum = b.binary(BinaryOp::Add, low, high);
    for by in [16u32, 8, 4, 2, 1] {
        let other = b.emit(Operation::Shuffle {
            kind: Shuffle::Exchange,
            value: sum,
            by: Literal::new(by).into(),
            group: 32,
        });
        sum = b.binary(BinaryOp::Add, sum, other);
    }
    b.at(line(21));
    let sum = b.emit(Operation::Canonical(sum));
    let zero = b.constant(0);
    let first = b.indices().equal(thread, zero);
    let to = b.indices().scale(block, 4);
    b.store(Store {
        place: b.place(dst, to),
        block: None,
        value: sum,
        order: Order::Weak,
        cache: None,
        predicate: Some(first),
    });
    b.finish()
}

/// f32 to 8-bit floats, for a target that cannot and for one that can.
fn quantize() -> Kernel {
    let mut b = Builder::new("quantize", 64);
    let [dst, src] = ["dst", "src"].map(|name| b.argument(name, ArgumentKind::Pointer));
    let scale = b.argument("scale", ArgumentKind::Scalar(ElementType::F32));
    let global = |argument, sharing| BufferKind::Global { argument, sharing };
    let dst = b.buffer("dst", 4, global(dst, Sharing::Private));
    let src = b.buffer("src", 16, global(src, Sharing::ReadOnly));
    let thread = b.thread();
    b.at(line(30));
    let (from, to) = (b.indices().scale(thread, 16), b.indices().scale(thread, 4));
    let four = b.load(Load {
        place: b.place(src, from),
        ty: Type::packet(ElementType::F32, 4),
        order: Order::Weak,
        cache: None,
        read_only: false,
        predicate: None,
    });
    let scale = b.emit(Operation::Argument(scale));
    let scaled = b.binary(BinaryOp::Multiply, four, scale);
    let bytes = b.emit(Operation::Cast {
        value: scaled,
        to: ElementType::F8E4M3,
        rounding: Rounding::NearestEven,
    });
    b.store(Store {
        place: b.place(dst, to),
        block: None,
        value: bytes,
        order: Order::Weak,
        cache: None,
        predicate: None,
    });
    b.finish()
}

fn golden(kernel: &Kernel, capability: u32, expected: &str, file: &str) {
    assembles(kernel, &[]);
    let target = Target::new(capability).expect("a target");
    let text = printed(kernel, target).text;
    assert_eq!(text, printed(kernel, target).text, "the same text every time");
    if std::env::var("TILEWRIGHT_BLESS").is_ok_and(|value| value == "1") {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/ptx")
            .join(file);
        std::fs::write(path, &text).expect("the golden text");
        return;
    }
    assert_eq!(text, expected, "{text}");
}

#[test]
fn a_gather_of_rows() {
    golden(&gather_rows(), 90, include_str!("gather_rows.ptx"), "gather_rows.ptx");
}

#[test]
fn a_sum_of_rows_by_a_warp() {
    golden(&sum_rows(), 80, include_str!("sum_rows.ptx"), "sum_rows.ptx");
}

#[test]
fn a_conversion_to_8_bit_floats() {
    golden(&quantize(), 100, include_str!("quantize.ptx"), "quantize.ptx");
}

#[test]
fn a_target_without_an_instruction_is_named_with_the_line() {
    let target = Target::new(80).expect("a target");
    let error = tilewright_dsl::backend::ptx::print(&quantize(), target).expect_err("8.0 has none");
    assert_eq!(error.span, line(30));
    assert_eq!(
        error.to_string(),
        "PTX for sm_80 has no conversion of f32 to f8e4m3\n  --> kernels/rows.rs:30:5"
    );
    assert_eq!(
        Target::new(75).expect_err("too old").to_string(),
        "PTX for sm_75 has no instructions that are printed"
    );
}

#[test]
fn lines_of_the_text_are_lines_of_rust() {
    let module = printed(&gather_rows(), Target::new(90).expect("a target"));
    let at = |what: &str| {
        let found = (1..).zip(module.text.lines()).find(|(_, line)| line.contains(what));
        found.and_then(|(number, _)| module.span(number))
    };
    assert_eq!(at("st.global.cs"), Some(line(9)));
    assert_eq!(at("call"), Some(line(8)));
    assert_eq!(at(".version"), None);
    assert_eq!(module.span(0), None);
    assert_eq!(module.span(u32::MAX), None);
}
