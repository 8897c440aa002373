//! Kernels as deep as they may be: no stage runs out of stack, in a build without optimisation and on a thread of two
//! megabytes as well.
//!
//! `cargo test -p tilewright-dsl --test deep --config 'profile.dev.package.tilewright-dsl.opt-level=0'` is such a
//! build.

use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::call::Traced;
use tilewright_dsl::class::Class;
use tilewright_dsl::element::ElementType;
use tilewright_dsl::interpret::{self, HostArgument, HostMemory, Options};
use tilewright_dsl::ir::verify::{MAX_DEPTH, MAX_NESTING, verify};
use tilewright_dsl::ir::{
    Access, BinaryOp, Bindings, Block, Bounds, Expression, Guard, Handle, Kernel, Layout, Literal, Parameter,
    ParameterKind, Shape, Span, Statement, Symbol, TensorParameter, Type,
};
use tilewright_dsl::lower::lower;
use tilewright_dsl::schedule::{Machine, choose};
use tilewright_dsl::transform::{bind, canonical, checked, fuse};

fn empty() -> Kernel {
    Kernel {
        name: "deep".to_owned(),
        span: Span::UNKNOWN,
        parameters: vec![Parameter {
            name: "out".to_owned(),
            kind: ParameterKind::Tensor(TensorParameter {
                element: ElementType::I64,
                rank: 1,
                mutable: true,
                layout: Layout::Contiguous,
                alignment: 16,
                list: None,
            }),
        }],
        expressions: Default::default(),
        types: Vec::new(),
        spans: Vec::new(),
        locals: Default::default(),
        grid: Vec::new(),
        requirements: Vec::new(),
        body: Block::new(),
        bindings: Bindings::default(),
        checked: false,
        reports: false,
        denies_guards: false,
    }
}

fn add(kernel: &mut Kernel, block: &mut Block, expression: Expression, ty: Type) -> Handle<Expression> {
    let global = expression.is_global();
    let value = kernel.append(expression, ty, Span::UNKNOWN);
    if !global {
        block.push(Statement::Let(value), Span::UNKNOWN);
    }
    value
}

fn access(index: Handle<Expression>) -> Access {
    Access {
        tensor: 0,
        indices: [index].into_iter().collect(),
        bounds: Bounds::default(),
        guards: [Guard::FULL].into_iter().collect(),
        mask: None,
        cache: None,
        must_be_wide: false,
    }
}

/// `depth` operations on each other, of scalars or of tiles, stored.
fn chain(depth: u32, tile: bool) -> Kernel {
    let (mut kernel, mut body) = (empty(), Block::new());
    let shape = Shape::new(if tile { &[8] } else { &[] }).unwrap();
    let ty = Type::INDEX.with_shape(shape);
    let at = match tile {
        true => add(&mut kernel, &mut body, Expression::Arange(8), ty),
        false => add(&mut kernel, &mut body, Expression::Literal(Literal::index(0)), ty),
    };
    let mut value = add(&mut kernel, &mut body, Expression::Load(access(at)), ty);
    for step in 0..depth - 1 {
        // Nothing that folds.
        let op = if step % 2 == 0 {
            BinaryOp::Multiply
        } else {
            BinaryOp::Xor
        };
        value = add(
            &mut kernel,
            &mut body,
            Expression::Binary {
                op,
                left: value,
                right: value,
            },
            ty,
        );
    }
    let store = Statement::Store {
        access: access(at),
        value,
        conflict: None,
    };
    body.push(store, Span::UNKNOWN);
    let one = kernel.append(Expression::Literal(Literal::index(1)), Type::INDEX, Span::UNKNOWN);
    (kernel.grid, kernel.body) = (vec![one], body);
    kernel
}

/// Blocks of every kind in each other, with a store in the innermost.
fn nest(depth: usize) -> Kernel {
    let mut kernel = empty();
    let symbol = Expression::Symbol(Symbol::ProgramId(0));
    let program = kernel.append(symbol, Type::INDEX, Span::UNKNOWN);
    let zero = kernel.append(Expression::Literal(Literal::index(0)), Type::INDEX, Span::UNKNOWN);
    let one = kernel.append(Expression::Literal(Literal::index(1)), Type::INDEX, Span::UNKNOWN);
    let mut block = Block::new();
    let store = Statement::Store {
        access: access(zero),
        value: one,
        conflict: None,
    };
    block.push(store, Span::UNKNOWN);
    for level in 0..depth {
        let inner = std::mem::take(&mut block);
        let condition = Expression::Compare {
            op: tilewright_dsl::ir::CompareOp::Less,
            left: program,
            right: one,
        };
        match level % 4 {
            0 => {
                let mut body = inner;
                body.push(Statement::Break, Span::UNKNOWN);
                let ty = Type::scalar(ElementType::Bool);
                let mut header = Block::new();
                let condition = add(&mut kernel, &mut header, condition, ty);
                block.push(
                    Statement::While {
                        header,
                        condition,
                        body,
                    },
                    Span::UNKNOWN,
                );
            }
            1 => {
                let induction = kernel.append(Expression::Induction(ElementType::I64), Type::INDEX, Span::UNKNOWN);
                let (start, end) = (program, one);
                let (step, body) = (1, inner);
                block.push(
                    Statement::For {
                        induction,
                        start,
                        end,
                        step,
                        body,
                    },
                    Span::UNKNOWN,
                );
            }
            side => {
                let condition = add(&mut kernel, &mut block, condition, Type::scalar(ElementType::Bool));
                let (accept, reject) = match side {
                    2 => (inner, Block::new()),
                    _ => (Block::new(), inner),
                };
                block.push(
                    Statement::If {
                        condition,
                        accept,
                        reject,
                    },
                    Span::UNKNOWN,
                );
            }
        }
    }
    (kernel.grid, kernel.body) = (vec![one], block);
    kernel
}

fn all_stages(kernel: &Kernel) {
    verify(kernel).expect("it is well-formed");
    let _ = (
        kernel.to_string(),
        kernel.identity(),
        kernel.to_string_with_spans(),
        kernel.proofs(),
    );
    let memory = HostMemory::from_bytes(&[0; 64]).unwrap();
    interpret::run(kernel, &[HostArgument::contiguous(&memory, &[8])], &Options::default()).expect("it runs");
    let bound = bind(kernel, &Bindings::default());
    for bound in [checked(bound.clone()), bound] {
        let kernel = canonical(Class::new(bound).proved(ConditionBits::NONE).0);
        verify(&kernel).expect("it stays well-formed");
        lower(&kernel, &choose(&kernel, &Machine::H200, 1)).expect("it can be lowered");
        interpret::run(
            &kernel,
            &[HostArgument::contiguous(&memory, &[8])],
            &Options {
                grid: Some([1; 3]),
                ..Options::default()
            },
        )
        .expect("it runs");
    }
}

/// As every thread that Rust starts, unless it is told otherwise.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn the_longest_chain_of_operations_passes_every_stage() {
    on_a_small_stack(|| all_stages(&chain(MAX_DEPTH, false)));
    on_a_small_stack(|| all_stages(&chain(MAX_DEPTH, true)));
    assert!(verify(&chain(MAX_DEPTH + 2, false)).is_err());
}

/// Indices that are neighbours, each of them made of the one before three times.
#[test]
fn a_value_that_is_used_again_and_again_is_looked_at_once() {
    let (mut kernel, mut body) = (empty(), Block::new());
    let ty = Type::INDEX.with_shape(Shape::new(&[8]).unwrap());
    let mut at = add(&mut kernel, &mut body, Expression::Arange(8), ty);
    for _ in 0..MAX_DEPTH / 2 {
        let twice = Expression::Binary {
            op: BinaryOp::Add,
            left: at,
            right: at,
        };
        let left = add(&mut kernel, &mut body, twice, ty);
        at = add(
            &mut kernel,
            &mut body,
            Expression::Binary {
                op: BinaryOp::Subtract,
                left,
                right: at,
            },
            ty,
        );
    }
    let store = Statement::Store {
        access: access(at),
        value: at,
        conflict: None,
    };
    body.push(store, Span::UNKNOWN);
    let one = kernel.append(Expression::Literal(Literal::index(1)), Type::INDEX, Span::UNKNOWN);
    (kernel.grid, kernel.body) = (vec![one], body);
    on_a_small_stack(move || all_stages(&kernel));
}

#[test]
fn the_deepest_nest_of_blocks_passes_every_stage() {
    on_a_small_stack(|| all_stages(&nest(MAX_NESTING)));
    assert!(verify(&nest(MAX_NESTING + 1)).is_err());
}

#[test]
fn as_many_calls_as_are_fused_pass_every_stage() {
    on_a_small_stack(|| {
        let part = Traced {
            kernel: chain(2, true),
            pinned: Vec::new(),
            lengths: Vec::new(),
        };
        let fused = fuse(&vec![part; 256]);
        verify(&fused.kernel).expect("it is well-formed");
        let kernel = canonical(
            Class::new(bind(&fused.kernel, &Bindings::default()))
                .proved(ConditionBits::NONE)
                .0,
        );
        lower(&kernel, &choose(&kernel, &Machine::H200, 256)).expect("it can be lowered");
    });
}
