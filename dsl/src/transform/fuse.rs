//! Several kernels as one: each does its part of one grid.

use super::renumber::Renumber;
use crate::analysis::opening::opening;
use crate::analysis::range::Ranges;
use crate::call::Traced;
use crate::element::ElementType;
use crate::ir::{
    BinaryOp, Block, CompareOp, Expression, GridDependency, Handle, Kernel, Literal, Parameter, Span, Statement,
    Symbol, Type,
};

/// A kernel that does what all `parts` do, side by side. Its parameters are those of the first part, then those of the
/// second, and so on; its grid has one axis, with the programs of the first part first, in their order.
///
/// A part whose grid depends on a count in device memory has as many programs as the count says when the kernel runs.
pub fn fuse(parts: &[Traced]) -> Traced {
    let firsts: Vec<u32> = parts
        .iter()
        .scan(0, |next, part| {
            let first = *next;
            *next += part.kernel.parameters.len() as u32;
            Some(first)
        })
        .collect();
    let mut fusion = Fusion::new(parts, &firsts);
    // Where each part's programs begin, known to all of them.
    let mut starts = vec![fusion.index(0)];
    let mut grids = Vec::new();
    for (part, &first) in parts.iter().zip(&firsts) {
        let grid = fusion.grid(&part.kernel, first);
        let programs = grid
            .iter()
            .copied()
            .reduce(|all, axis| fusion.binary(BinaryOp::Multiply, all, axis));
        let end = match programs {
            Some(programs) => fusion.binary(BinaryOp::Add, starts[starts.len() - 1], programs),
            None => starts[starts.len() - 1],
        };
        starts.push(end);
        grids.push(grid);
    }
    fusion.kernel.grid = vec![starts[parts.len()]];
    let program = fusion.append(Expression::Symbol(Symbol::ProgramId(0)), Type::INDEX);
    let mut branches = Vec::new();
    let mut body = std::mem::take(&mut fusion.output);
    for (index, (part, grid)) in parts.iter().zip(&grids).enumerate() {
        fusion.span = part.kernel.span;
        let test = Expression::Compare {
            op: CompareOp::Less,
            left: program,
            right: starts[index + 1],
        };
        let condition = fusion.append(test, Type::scalar(ElementType::Bool));
        let outer = std::mem::take(&mut fusion.output);
        let local = fusion.binary(BinaryOp::Subtract, program, starts[index]);
        fusion.part(&part.kernel, local, grid, firsts[index]);
        branches.push((outer, condition, std::mem::take(&mut fusion.output)));
    }
    // A program that is not of one part is of one behind it.
    let rest = branches
        .into_iter()
        .rev()
        .fold(Block::new(), |reject, (mut block, condition, accept)| {
            let branch = Statement::If {
                condition,
                accept,
                reject,
            };
            block.push(branch, fusion.kernel.span);
            block
        });
    body.append(rest);
    // Waiting twice is waiting once.
    if !parts.is_empty() && parts.iter().all(|part| opening(&part.kernel).is_ok()) {
        let wait = (Statement::GridDependency(GridDependency::Wait), fusion.kernel.span);
        body = std::iter::once(wait).chain(body).collect();
    }
    fusion.kernel.body = body;
    Traced {
        kernel: fusion.kernel,
        pinned: fusion.pinned,
    }
}

struct Fusion {
    kernel: Kernel,
    pinned: Vec<(Symbol, i64)>,
    /// The block being built.
    output: Block,
    /// Of the part at hand.
    span: Span,
}

impl Fusion {
    /// No body yet. `firsts` is where each part's parameters begin.
    fn new(parts: &[Traced], firsts: &[u32]) -> Self {
        let kernels = || parts.iter().map(|part| &part.kernel);
        let mut name = String::from("fused");
        let mut named = Vec::new();
        for kernel in kernels() {
            if !named.contains(&&kernel.name) {
                named.push(&kernel.name);
                name = format!("{name}_{}", kernel.name);
            }
        }
        let span = kernels().next().map_or(Span::UNKNOWN, |kernel| kernel.span);
        // Parts of one kernel have parameters of one name.
        let parameters = kernels().enumerate().flat_map(|(index, kernel)| {
            kernel.parameters.iter().map(move |parameter| Parameter {
                name: format!("{}#{index}.{}", kernel.name, parameter.name),
                kind: parameter.kind.clone(),
            })
        });
        let kernel = Kernel {
            name,
            span,
            parameters: parameters.collect(),
            expressions: Default::default(),
            types: Vec::new(),
            spans: Vec::new(),
            locals: Default::default(),
            grid: Vec::new(),
            requirements: Vec::new(),
            body: Block::new(),
            bindings: Default::default(),
            checked: false,
            reports: false,
            denies_guards: kernels().any(|kernel| kernel.denies_guards),
        };
        let pinned = parts.iter().zip(firsts).flat_map(|(part, &first)| {
            let map = Renumber::new(&part.kernel, first);
            part.pinned
                .iter()
                .map(move |&(symbol, value)| (map.symbol(symbol), value))
        });
        Self {
            kernel,
            pinned: pinned.collect(),
            output: Block::new(),
            span,
        }
    }

    fn append(&mut self, node: Expression, ty: Type) -> Handle<Expression> {
        let is_global = node.is_global();
        let value = self.kernel.append(node, ty, self.span);
        if !is_global {
            self.output.push(Statement::Let(value), self.span);
        }
        value
    }

    fn index(&mut self, value: i64) -> Handle<Expression> {
        self.append(Expression::Literal(Literal::index(value)), Type::INDEX)
    }

    fn binary(&mut self, op: BinaryOp, left: Handle<Expression>, right: Handle<Expression>) -> Handle<Expression> {
        self.append(Expression::Binary { op, left, right }, Type::INDEX)
    }

    /// The extents of a part's grid.
    fn grid(&mut self, part: &Kernel, first_parameter: u32) -> Vec<Handle<Expression>> {
        self.span = part.span;
        let mut map = Renumber::new(part, first_parameter);
        for value in part.grid_values() {
            let node = map.node(part.expressions[value].clone());
            map.expressions[value.index()] = Some(self.append(node, part.ty(value)));
        }
        let ranges = Ranges::new(part, &[]);
        let mut extents = Vec::new();
        for &extent in &part.grid {
            let value = map.expression(extent);
            // A part with a negative extent has no programs, rather than taking those of the next.
            extents.push(match ranges.is_non_negative(extent) {
                true => value,
                false => {
                    let zero = self.index(0);
                    self.binary(BinaryOp::Max, value, zero)
                }
            });
        }
        extents
    }

    /// Appends the body of a part, for its program number `local` of a grid.
    fn part(&mut self, part: &Kernel, local: Handle<Expression>, grid: &[Handle<Expression>], first_parameter: u32) {
        let mut ids = Vec::new();
        let mut rest = local;
        for (axis, &extent) in grid.iter().enumerate() {
            // The outermost axis has what is left.
            if axis + 1 == grid.len() {
                ids.push(rest);
            } else {
                ids.push(self.binary(BinaryOp::Remainder, rest, extent));
                rest = self.binary(BinaryOp::Divide, rest, extent);
            }
        }
        let mut map = Renumber::new(part, first_parameter);
        for (handle, local) in part.locals.iter() {
            map.locals[handle.index()] = Some(self.kernel.locals.append(local.clone()));
        }
        for (value, expression) in part.expressions.iter() {
            let place = match expression {
                Expression::Symbol(Symbol::ProgramId(axis)) => ids.get(usize::from(*axis)).copied(),
                Expression::Symbol(Symbol::NumPrograms(axis)) => grid.get(usize::from(*axis)).copied(),
                _ => None,
            };
            let span = part.spans[value.index()];
            map.expressions[value.index()] = Some(match place {
                Some(place) => place,
                // An axis that the part's grid does not have.
                None if matches!(expression, Expression::Symbol(Symbol::ProgramId(_))) => self.index(0),
                None if matches!(expression, Expression::Symbol(Symbol::NumPrograms(_))) => self.index(1),
                None => self.kernel.append(map.node(expression.clone()), part.ty(value), span),
            });
        }
        self.kernel.requirements.extend(map.requirements(&part.requirements));
        self.output.append(map.block(part.body.clone()));
    }
}
