//! Every kind of fault in one table, so that none can be lost or share another's message.

use std::collections::{BTreeMap, HashSet};
use std::mem::discriminant;

use super::super::build::Value;
use super::*;
use crate::ir::verify::{MAX_DEPTH, MAX_NESTING};
use crate::ir::{
    BinaryOp, Block, Bounds, Combine, CompareOp, Expression, Function, Guard, Handle, Layout, Literal, ParameterKind,
    Reduction, Statement, Symbol, Type, UnaryOp,
};

/// What is wrong, and how to make it so in a kernel with the tensors `out: f32[.., ..]` and `index: i32[..]`. A row may
/// give the grid; it is one program otherwise.
type Row = (&'static str, fn(&mut Builder) -> Option<Vec<Value>>);

/// A row about the body.
macro_rules! rows {
    ($($what:literal: |$b:ident| $make:expr;)*) => {
        [$(($what, (|$b: &mut Builder| { let _ = $make; None }) as fn(&mut Builder) -> Option<Vec<Value>>)),*]
    };
}

const MISSING: Handle<Expression> = Handle::from_index(999);

fn exact(b: &mut Builder, symbol: Symbol, value: i64) {
    b.kernel.bindings.exact.push((symbol, value));
}

fn unary(b: &mut Builder, op: UnaryOp, value: Value) -> Value {
    b.emit(Expression::Unary { op, value })
}

fn binary(b: &mut Builder, op: BinaryOp, left: Value, right: Value) -> Value {
    b.emit(Expression::Binary { op, left, right })
}

fn for_loop(b: &mut Builder, induction: Value, start: Value, end: Value, step: i128) {
    let body = Block::new();
    b.push(Statement::For {
        induction,
        start,
        end,
        step,
        body,
    });
}

fn scan(b: &mut Builder, combine: Combine) -> Value {
    let value = b.arange(4);
    b.emit(Expression::Scan {
        value,
        axis: 0,
        combine,
    })
}

/// The function that gives its first operand, damaged by `change`.
fn function(element: ElementType, change: impl FnOnce(&mut Function)) -> Combine {
    let mut function = Function {
        element,
        expressions: Default::default(),
        types: vec![Type::scalar(element); 2],
        result: Handle::from_index(0),
    };
    for operand in 0..2 {
        function.expressions.append(Expression::Argument(operand));
    }
    change(&mut function);
    Combine::Function(function)
}

/// A load from `out` that `change` has damaged.
fn load(b: &mut Builder, change: impl FnOnce(&mut Builder, &mut crate::ir::Access)) {
    let (row, columns) = (b.index(0), b.arange(4));
    let mut access = b.access(0, &[row, columns]);
    change(b, &mut access);
    b.emit(Expression::Load(access));
}

fn nested(b: &mut Builder, depth: usize) {
    let condition = b.literal(true);
    let mut block = Block::new();
    for _ in 0..depth {
        let accept = std::mem::take(&mut block);
        let reject = Block::new();
        block.push(
            Statement::If {
                condition,
                accept,
                reject,
            },
            Span::UNKNOWN,
        );
    }
    block.into_iter().for_each(|(statement, _)| b.push(statement));
}

fn expressions() -> Vec<Row> {
    rows! {
        "fewer types than expressions": |b| { b.index(3); b.kernel.types.pop() };
        "more spans than expressions": |b| b.kernel.spans.push(Span::UNKNOWN);
        "an operand that comes later": |b| {
            let one = b.index(1);
            b.kernel.expressions[one] = Expression::Unary { op: UnaryOp::Negate, value: one };
        };
        "a sum of too many in a row": |b| {
            let mut sum = b.index(1);
            for _ in 0..=MAX_DEPTH {
                sum = b.add(sum, sum);
            }
        };
        "a definition of nothing": |b| b.push(Statement::Let(MISSING));
        "a variable that does not exist": |b| b.append(Expression::Local(Handle::from_index(2)));
        "a tile without elements": |b| b.append(Expression::Arange(0));
        "a tile with too many elements": |b| b.arange((1 << 24) + 1);
        "a variable without elements": |b| {
            b.declare("x", Type { shape: shape(&[4, 0]), ..Type::INDEX })
        };
        "a bool that is 2": |b| b.append(Expression::Literal(Literal { element: ElementType::Bool, bits: 2 }));
        "an i8 of 9 bits": |b| b.append(Expression::Literal(Literal { element: ElementType::I8, bits: 256 }));
        "the extent of no tensor": |b| b.append(Expression::Symbol(Symbol::Extent { tensor: 7, axis: 0 }));
        "a count that is a tensor": |b| b.append(Expression::Symbol(Symbol::Count(0)));
        "a scalar that is a tensor": |b| b.append(Expression::Argument(0));
        "an axis that a tensor does not have": |b| b.append(Expression::Symbol(Symbol::Stride { tensor: 0, axis: 2 }));
        "the fourth axis of a grid": |b| b.append(Expression::Symbol(Symbol::ProgramId(3)));
        "a loop that counts with floats": |b| b.append(Expression::Induction(ElementType::F32));
        "a value recorded as another type": |b| {
            b.index(1);
            b.kernel.types[0] = Type::scalar(ElementType::I32);
        };
        "a broadcast that shrinks": |b| {
            let value = b.arange(4);
            b.append(Expression::Broadcast { value, shape: shape(&[1]) })
        };
        "a reshape to fewer elements": |b| { let tile = b.arange(4); b.reshape(tile, &[2, 1]) };
        "a negative u8": |b| { let one = b.literal(1u8); unary(b, UnaryOp::Negate, one) };
        "exclusive or of floats": |b| { let one = b.literal(1f32); binary(b, BinaryOp::Xor, one, one) };
        "an order of bools": |b| { let yes = b.literal(true); b.compare(CompareOp::Less, yes, yes) };
        "a sum of two types": |b| {
            let (left, right) = (b.index(1), b.literal(1i32));
            binary(b, BinaryOp::Add, left, right)
        };
        "a choice between two types": |b| {
            let (condition, accept, reject) = (b.literal(true), b.index(1), b.literal(1i32));
            b.append(Expression::Select { condition, accept, reject })
        };
        "one condition for a choice of tiles": |b| {
            let (condition, tile) = (b.literal(true), b.arange(4));
            b.append(Expression::Select { condition, accept: tile, reject: tile })
        };
        "a permutation of an axis that is not there": |b| {
            let value = b.arange(4);
            b.emit(Expression::Permute { value, axes: [1].into_iter().collect() })
        };
        "a slice that leaves its axis": |b| {
            let value = b.arange(4);
            b.emit(Expression::Slice { value, axis: 0, start: 2, step: 2, extent: 2 })
        };
        "a concatenation of two types": |b| {
            let left = b.arange(4);
            let right = b.cast(left, ElementType::F32);
            b.emit(Expression::Concatenate { left, right, axis: 0 })
        };
        "elements taken by a narrow index": |b| {
            let value = b.arange(4);
            let index = b.cast(value, ElementType::I32);
            b.emit(Expression::Take { value, index, axis: 0 })
        };
        "a reduction along an axis that is not there": |b| {
            let value = b.arange(4);
            b.emit(Expression::Reduce { value, axis: 1, reduction: Reduction::ArgMax })
        };
        "a scan by a difference": |b| scan(b, Combine::Operator(BinaryOp::Subtract));
        "a scan by a function of another type": |b| scan(b, function(ElementType::F32, |_| {}));
        "a scan by an endless function": |b| scan(b, function(ElementType::I64, |f| {
            (0..Function::MAX_EXPRESSIONS).for_each(|_| {
                f.expressions.append(Expression::Literal(Literal::index(0)));
                f.types.push(Type::INDEX);
            });
        }));
        "a scan by a function without a type": |b| scan(b, function(ElementType::I64, |f| f.types.truncate(1)));
        "a scan by a function of the program": |b| scan(b, function(ElementType::I64, |f| {
            f.expressions.append(Expression::Symbol(Symbol::ProgramId(0)));
            f.types.push(Type::INDEX);
        }));
        "a scan by a function that compares": |b| scan(b, function(ElementType::I64, |f| {
            let [left, right] = [0, 1].map(Handle::from_index);
            f.result = f.expressions.append(Expression::Compare { op: CompareOp::Less, left, right });
            f.types.push(Type::CONDITION);
        }));
        "a histogram of floats": |b| {
            let value = b.arange(4);
            let value = b.cast(value, ElementType::F32);
            b.emit(Expression::Histogram { value, mask: None, bins: 4 })
        };
        "a histogram with a short mask": |b| {
            let (value, short) = (b.arange(4), b.arange(3));
            let mask = Some(b.compare(CompareOp::Less, short, short));
            b.emit(Expression::Histogram { value, mask, bins: 4 })
        };
        "fewer indices than axes": |b| load(b, |_, access| access.indices.truncate(1));
        "more guards than axes": |b| load(b, |_, access| access.guards.push(Guard::FULL));
        "an index that is a float": |b| load(b, |b, access| access.indices[0] = b.literal(1f32));
        "indices that do not broadcast": |b| load(b, |b, access| access.indices[0] = b.arange(3));
        "a mask that is a scalar": |b| load(b, |b, access| access.mask = Some(b.literal(true)));
        "a checked access without checks": |b| load(b, |_, access| access.bounds = Bounds::Unchecked);
        "a load from no tensor": |b| load(b, |_, access| access.tensor = 5);
    }
    .to_vec()
}

fn signatures() -> Vec<Row> {
    let mut all = rows! {
        "two parameters of one name": |b| b.parameter("out", ParameterKind::Count);
        "a tensor of rank 0": |b| b.tensor("odd", ElementType::I8, 0);
        "a tensor of rank 5": |b| b.tensor("odd", ElementType::I8, 5);
        "an alignment of 12": |b| b.tensor_mut(0).alignment = 12;
        "rows that are multiples of nothing": |b| b.tensor_mut(0).layout = Layout::Rows { multiple: 0 };
        "a program's id that is bound": |b| exact(b, Symbol::ProgramId(0), 0);
        "an extent bound to -1": |b| exact(b, Symbol::Extent { tensor: 0, axis: 1 }, -1);
        "an extent that is bound and used": |b| {
            exact(b, Symbol::Extent { tensor: 0, axis: 0 }, 4);
            b.extent(0, 0)
        };
        "a count in memory that is a float": |b| {
            let position = b.parameter("n", ParameterKind::Count);
            b.kernel.bindings.device.push((position, ElementType::F32));
        };
    }
    .to_vec();
    all.extend([
        (
            "a grid without axes",
            (|_| Some(vec![])) as fn(&mut Builder) -> Option<Vec<Value>>,
        ),
        ("a grid of four axes", |b| Some(vec![b.index(1); 4])),
        ("a grid extent of i32", |b| Some(vec![b.literal(1i32)])),
        ("a grid that depends on the program", |b| Some(vec![b.program(0)])),
    ]);
    all
}

fn statements() -> Vec<Row> {
    rows! {
        "blocks that nest too deep": |b| nested(b, MAX_NESTING + 1);
        "a store to what is only read": |b| {
            b.tensor_mut(0).mutable = false;
            let (zero, value) = (b.index(0), b.literal(0f32));
            b.store(0, &[zero, zero], value);
        };
        "a store of another type": |b| {
            let (zero, value) = (b.index(0), b.literal(0i32));
            b.store(0, &[zero, zero], value);
        };
        "a definition of a literal": |b| { let one = b.index(1); b.push(Statement::Let(one)) };
        "a definition of a loop's value": |b| {
            let i = b.append(Expression::Induction(ElementType::I64));
            b.push(Statement::Let(i));
        };
        "a second definition": |b| { let tile = b.arange(3); b.push(Statement::Let(tile)) };
        "a use before the definition": |b| {
            let x = b.scalar("x", ElementType::I64);
            let later = b.append(Expression::Unary { op: UnaryOp::Negate, value: x });
            unary(b, UnaryOp::Not, later)
        };
        "a loop over a literal": |b| { let zero = b.index(0); for_loop(b, zero, zero, zero, 1) };
        "a loop that stands still": |b| { let zero = b.index(0); b.for_loop(zero, zero, 0, |_, _| {}) };
        "a loop in steps of 2^64": |b| { let zero = b.index(0); b.for_loop(zero, zero, 1 << 64, |_, _| {}) };
        "a loop to an end of another type": |b| {
            let (start, end) = (b.index(0), b.literal(4i32));
            b.for_loop(start, end, 1, |_, _| {});
        };
        "a condition that is an integer": |b| { let one = b.index(1); b.if_else(one, |_| {}, |_| {}) };
        "a loop's condition that is a tile": |b| b.while_loop(|b| b.arange(3), |_| {});
        "a variable of two types": |b| {
            let (one, other) = (b.index(1), b.literal(1f32));
            let x = b.variable("x", one);
            b.assign(x, other);
        };
        "a variable read before it is assigned": |b| { let x = b.declare("x", Type::INDEX); b.read(x) };
        "a break outside of a loop": |b| b.push(Statement::Break);
        "a continue outside of a loop": |b| b.push(Statement::Continue);
        "a statement after a return": |b| { b.push(Statement::Return); b.arange(2) };
        "a statement after a break": |b| {
            let condition = b.literal(true);
            b.while_loop(|_| condition, |b| { b.push(Statement::Break); b.arange(2); });
        };
    }
    .to_vec()
}

#[test]
fn at_least_fifty_kinds_of_fault_have_a_message_of_their_own() {
    let mut kinds = HashSet::new();
    let mut messages = BTreeMap::new();
    for (what, make) in [expressions(), signatures(), statements()].concat() {
        let (mut b, ..) = builder();
        let grid = match make(&mut b) {
            Some(grid) => grid,
            None => vec![b.index(1)],
        };
        let error = match b.verified(&grid) {
            Ok(kernel) => panic!("{what} is accepted:\n{kernel}"),
            Err(error) => error,
        };
        kinds.insert(discriminant(&error.fault));
        if let Some(other) = messages.insert(error.to_string(), what) {
            panic!("{what}, and {other}: {error}");
        }
    }
    assert!(kinds.len() >= 50, "{} kinds:\n{messages:#?}", kinds.len());
}
