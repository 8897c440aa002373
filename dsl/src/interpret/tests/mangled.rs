//! Kernels changed at random: the verifier answers, and what it accepts prints and runs.

use super::*;
use crate::ir::verify::verify;
use crate::ir::{Access, Block, Bounds, CompareOp, Expression, Guard, Handle, Shape, Statement, Symbol, Type, UnaryOp};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// A kernel with every kind of statement and most kinds of expression.
fn original() -> Kernel {
    let mut b = Builder::new("original");
    let out = b.tensor("out", ElementType::F32, 2);
    let src = b.tensor("src", ElementType::F32, 2);
    let index = b.tensor("index", ElementType::I32, 1);
    let n = b.count("n");
    let scale = b.scalar("scale", ElementType::F32);
    let (zero, one, row, cols) = (b.index(0), b.index(1), b.program(0), b.arange(4));
    let from = b.load(index, &[row]);
    let value = b.load(src, &[from, cols]);
    let scaled = b.mul(value, scale);
    let sum = b.variable("sum", scaled);
    b.for_loop(zero, n, 1, |b, i| {
        let small = b.compare(CompareOp::Less, i, one);
        b.if_else(small, |b| b.push(Statement::Continue), |_| {});
        let (before, more) = (b.read(sum), b.load(src, &[i, cols]));
        let after = b.add(before, more);
        b.assign(sum, after);
    });
    let count = b.variable("count", zero);
    b.while_loop(
        |b| {
            let now = b.read(count);
            b.compare(CompareOp::Less, now, n)
        },
        |b| {
            let now = b.read(count);
            let next = b.add(now, one);
            b.assign(count, next);
            let end = b.compare(CompareOp::Equal, next, one);
            b.if_else(end, |b| b.push(Statement::Break), |b| b.push(Statement::Return));
        },
    );
    let (total, mask) = (b.read(sum), b.compare(CompareOp::NotEqual, cols, row));
    let column = b.reshape(total, &[4, 1]);
    let back = b.reshape(column, &[4]);
    b.store_where(out, &[row, cols], back, mask);
    let extent = b.extent(out, 0);
    b.finish(&[extent])
}

fn element(dice: &mut Dice) -> ElementType {
    dice.one(&ElementType::ALL)
}

fn shape(dice: &mut Dice) -> Shape {
    let extents: Vec<u32> = (0..dice.below(4))
        .map(|_| dice.one(&[0, 1, 2, 4, 4, 1 << 20, u32::MAX]))
        .collect();
    Shape::new(&extents).unwrap()
}

fn value(dice: &mut Dice, kernel: &Kernel) -> Handle<Expression> {
    let index = if dice.below(20) == 0 {
        u32::MAX as usize
    } else {
        dice.below(kernel.expressions.len() + 1)
    };
    Handle::from_index(index)
}

fn change_access(dice: &mut Dice, kernel: &Kernel, access: &mut Access) {
    match dice.below(6) {
        0 => access.tensor = dice.below(6) as u32,
        1 => drop(access.indices.pop()),
        2 => drop(access.guards.try_push(Guard::NONE)),
        3 => {
            access.bounds = dice.one(&[
                Bounds::ReadZeroSkipWrite,
                Bounds::Clamp,
                Bounds::Trap,
                Bounds::Unchecked,
            ])
        }
        4 => access.mask = Some(value(dice, kernel)),
        _ => access
            .guards
            .iter_mut()
            .for_each(|guard| *guard = dice.one(&[Guard::FULL, Guard::NONE])),
    }
}

fn change_expression(dice: &mut Dice, kernel: &mut Kernel) {
    let at = Handle::from_index(dice.below(kernel.expressions.len()));
    let mut expression = kernel.expressions[at].clone();
    match dice.below(8) {
        0 => {
            kernel.types[at.index()] = Type {
                element: element(dice),
                shape: shape(dice),
            }
        }
        1 => {
            expression = Expression::Literal(Literal {
                element: element(dice),
                bits: dice.below(300) as u64,
            })
        }
        2 => {
            expression = Expression::Cast {
                value: value(dice, kernel),
                to: element(dice),
            }
        }
        3 => {
            expression = Expression::Unary {
                op: UnaryOp::Negate,
                value: value(dice, kernel),
            }
        }
        4 => {
            let (tensor, axis) = (dice.below(6) as u32, dice.below(4) as u8);
            expression = Expression::Symbol(dice.one(&[Symbol::Extent { tensor, axis }, Symbol::ProgramId(axis)]));
        }
        5 => {
            expression = Expression::Broadcast {
                value: value(dice, kernel),
                shape: shape(dice),
            }
        }
        6 => {
            if let Expression::Load(access) = &mut expression {
                change_access(dice, kernel, access);
            }
        }
        _ => {
            let other = value(dice, kernel);
            let which = dice.below(3);
            let mut seen = 0;
            expression.map_operands(|operand| {
                seen += 1;
                if seen > which { other } else { operand }
            });
        }
    }
    kernel.expressions[at] = expression;
}

fn change_block(dice: &mut Dice, kernel: &Kernel, block: &Block) -> Block {
    let target = dice.below(block.len() + 1);
    let mut changed = Block::new();
    for (i, (statement, span)) in block.iter().enumerate() {
        let mut statement = statement.clone();
        if i == target {
            match dice.below(6) {
                0 => continue,
                1 => changed.push(statement.clone(), *span),
                2 => statement = dice.one(&[Statement::Break, Statement::Continue, Statement::Return]),
                _ => match &mut statement {
                    Statement::Let(handle) => *handle = value(dice, kernel),
                    Statement::Store {
                        access, value: stored, ..
                    } => match dice.below(2) {
                        0 => change_access(dice, kernel, access),
                        _ => *stored = value(dice, kernel),
                    },
                    Statement::Assign { local, value: assigned } => match dice.below(2) {
                        0 => *local = Handle::from_index(dice.below(4)),
                        _ => *assigned = value(dice, kernel),
                    },
                    Statement::If {
                        condition,
                        accept,
                        reject,
                    } => match dice.below(3) {
                        0 => *condition = value(dice, kernel),
                        1 => *accept = change_block(dice, kernel, accept),
                        _ => std::mem::swap(accept, reject),
                    },
                    Statement::While {
                        header,
                        condition,
                        body,
                    } => match dice.below(3) {
                        0 => *condition = value(dice, kernel),
                        1 => *header = change_block(dice, kernel, header),
                        _ => *body = change_block(dice, kernel, body),
                    },
                    Statement::For {
                        induction,
                        start,
                        end,
                        step,
                        body,
                    } => match dice.below(4) {
                        0 => *induction = value(dice, kernel),
                        1 => (*start, *end) = (*end, *start),
                        2 => *step = dice.one(&[0, -1, 3, 1 << 63, -(1 << 64), i128::MIN]),
                        _ => *body = change_block(dice, kernel, body),
                    },
                    Statement::Prefetch(access) => change_access(dice, kernel, access),
                    Statement::GridDependency(_) => {}
                    Statement::Print { values, .. } => values.push(value(dice, kernel)),
                    Statement::Check { condition, .. } => *condition = value(dice, kernel),
                    Statement::Break | Statement::Continue | Statement::Return => {}
                },
            }
        }
        changed.push(statement, *span);
    }
    changed
}

#[test]
fn what_the_verifier_accepts_prints_and_runs_whatever_was_done_to_it() {
    let original = original();
    let (out, src) = (memory::<f32>(&[0.0; 12]), memory::<f32>(&[1.0; 12]));
    let index = memory::<i32>(&[2, -1, 1]);
    let arguments = [
        HostArgument::contiguous(&out, &[3, 4]),
        HostArgument::contiguous(&src, &[3, 4]),
        HostArgument::contiguous(&index, &[3]),
        HostArgument::Count(2),
        HostArgument::Scalar(Literal::new(0.5f32)),
    ];
    run_default(&original, &arguments).unwrap();
    let mut dice = Dice(7);
    let (mut accepted, mut completed) = (0, 0);
    for _ in 0..30_000 {
        let mut kernel = original.clone();
        for _ in 0..1 + dice.below(2) {
            match dice.below(6) {
                0..3 => change_expression(&mut dice, &mut kernel),
                3..5 => kernel.body = change_block(&mut dice, &kernel, &kernel.body),
                _ => kernel.grid = (0..dice.below(5)).map(|_| value(&mut dice, &kernel)).collect(),
            }
        }
        assert!(!kernel.to_string().is_empty());
        if verify(&kernel).is_ok() {
            accepted += 1;
            let result = run(
                &kernel,
                &arguments,
                &Options {
                    max_steps: 100,
                    ..Options::default()
                },
            );
            assert!(!matches!(result, Err(InterpretError::Malformed { .. })));
            completed += usize::from(result.is_ok());
        }
    }
    assert!(
        accepted > 500 && completed > 100,
        "{accepted} accepted, {completed} completed"
    );
}
