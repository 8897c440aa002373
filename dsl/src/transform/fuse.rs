//! Several kernels as one: each does its part of one grid.

use std::ops::Range;

use super::renumber::Renumber;
use crate::analysis::opening::opening;
use crate::analysis::range::Ranges;
use crate::element::ElementType;
use crate::ir::{
    BinaryOp, Block, CompareOp, Expression, GridDependency, Handle, Kernel, Literal, Parameter, Span, Statement,
    Symbol, Type,
};
use crate::trace::Traced;

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
    // The program's number among those of the group at hand and of all behind it.
    let mut number = fusion.append(Expression::Symbol(Symbol::ProgramId(0)), Type::INDEX);
    let mut total: Option<Handle<Expression>> = None;
    let mut searched = Vec::new();
    let groups = parts.chunks(GROUP).zip(firsts.chunks(GROUP));
    let last = groups.len().saturating_sub(1);
    for (index, (parts, firsts)) in groups.enumerate() {
        let group = fusion.group(parts, firsts);
        let Some(programs) = group.ends.last().copied() else {
            continue;
        };
        total = Some(match total {
            Some(before) => fusion.undefined(BinaryOp::Add, before, programs),
            None => programs,
        });
        // The grid ends with the last group.
        let condition = (index < last).then(|| fusion.less(number, programs));
        let outer = std::mem::take(&mut fusion.output);
        fusion.search(&group, number, 0..parts.len());
        searched.push((outer, condition, std::mem::take(&mut fusion.output)));
        number = fusion.binary(BinaryOp::Subtract, number, programs);
    }
    // What follows the last group is not needed.
    fusion.output = Block::new();
    let total = total.unwrap_or_else(|| fusion.index(0));
    fusion.kernel.grid = vec![total];
    let span = fusion.kernel.span;
    let mut body = Block::new();
    for (mut block, condition, accept) in searched.into_iter().rev() {
        let reject = std::mem::take(&mut body);
        match condition {
            Some(condition) => {
                let branch = Statement::If {
                    condition,
                    accept,
                    reject,
                };
                block.push(branch, span);
            }
            None => block.append(accept),
        }
        body = block;
    }
    // Waiting twice is waiting once.
    if !parts.is_empty() && parts.iter().all(|part| opening(&part.kernel).is_ok()) {
        let wait = (Statement::GridDependency(GridDependency::Wait), fusion.kernel.span);
        body = std::iter::once(wait).chain(body).collect();
    }
    fusion.kernel.body = body;
    let mut lengths: Vec<i64> = parts.iter().flat_map(|part| part.lengths.iter().copied()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    Traced {
        kernel: fusion.kernel,
        pinned: fusion.pinned,
        lengths,
    }
}

/// How many parts a program looks among at once. Where they end is computed, and kept in registers, for so many; for
/// more, one such group after the other. So the registers do not grow with the number of parts.
const GROUP: usize = 16;

/// Parts that a program looks among.
struct Group<'a> {
    parts: &'a [Traced],
    /// Where the parameters of each part begin.
    firsts: &'a [u32],
    /// The grid of each.
    grids: Vec<Vec<Handle<Expression>>>,
    /// How many programs all parts up to each have.
    ends: Vec<Handle<Expression>>,
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

    /// An operation of the grid alone.
    fn undefined(&mut self, op: BinaryOp, left: Handle<Expression>, right: Handle<Expression>) -> Handle<Expression> {
        let span = self.span;
        self.kernel
            .append(Expression::Binary { op, left, right }, Type::INDEX, span)
    }

    fn less(&mut self, left: Handle<Expression>, right: Handle<Expression>) -> Handle<Expression> {
        let op = CompareOp::Less;
        self.append(Expression::Compare { op, left, right }, Type::scalar(ElementType::Bool))
    }

    fn group<'a>(&mut self, parts: &'a [Traced], firsts: &'a [u32]) -> Group<'a> {
        let mut group = Group {
            parts,
            firsts,
            grids: Vec::new(),
            ends: Vec::new(),
        };
        for (part, &first) in parts.iter().zip(firsts) {
            let grid = self.grid(&part.kernel, first);
            let axes = grid.iter().copied();
            let programs = axes.reduce(|all, axis| self.binary(BinaryOp::Multiply, all, axis));
            let programs = programs.unwrap_or_else(|| self.index(0));
            group.ends.push(match group.ends.last() {
                Some(&before) => self.binary(BinaryOp::Add, before, programs),
                None => programs,
            });
            group.grids.push(grid);
        }
        group
    }

    /// Finds the part that program `number` of a group belongs to, among those in `range`, by halves; and does it.
    fn search(&mut self, group: &Group<'_>, number: Handle<Expression>, range: Range<usize>) {
        let (first, middle) = (range.start, range.start.midpoint(range.end));
        if middle == first {
            let part = &group.parts[first].kernel;
            self.span = part.span;
            let local = match first.checked_sub(1) {
                Some(before) => self.binary(BinaryOp::Subtract, number, group.ends[before]),
                None => number,
            };
            return self.part(part, local, &group.grids[first], group.firsts[first]);
        }
        let condition = self.less(number, group.ends[middle - 1]);
        let outer = std::mem::take(&mut self.output);
        self.search(group, number, first..middle);
        let accept = std::mem::replace(&mut self.output, Block::new());
        self.search(group, number, middle..range.end);
        let reject = std::mem::replace(&mut self.output, outer);
        let branch = Statement::If {
            condition,
            accept,
            reject,
        };
        self.output.push(branch, self.span);
    }

    /// The extents of a part's grid.
    fn grid(&mut self, part: &Kernel, first_parameter: u32) -> Vec<Handle<Expression>> {
        self.span = part.span;
        let mut map = Renumber::new(part, first_parameter);
        for value in part.grid_values() {
            let node = map.node(part.expressions[value].clone());
            map.expressions[value.index()] = Some(self.append(node, part.ty(value)));
        }
        let ranges = Ranges::of_every_launch(part);
        let mut extents = Vec::new();
        for &extent in &part.grid {
            let value = map.expression(extent);
            // A part with a negative extent has no programs, rather than taking those of the next.
            extents.push(match ranges.is_non_negative(extent).is_always() {
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
