//! What is done for its effect: checks, prefetches, lines that are printed; and instructions of the author's.

use super::access::Placed;
use super::point::Point;
use super::{LINE_BYTES, Lower, LowerError, TrapFault};
use crate::analysis::contiguity::access_shape;
use crate::element::{ElementKind, ElementType};
use crate::ir::{Access, Bounds, CheckKind, Expression, Handle, Ptx, Shape};
use crate::schedule::{SECTOR_BYTES, StoreHint};
use crate::thread::{self, Type, Unroll, Use, Value, is_computed};

impl Lower<'_> {
    /// What `done` does with each of so many items, each by some thread, one after the other.
    pub(super) fn each(
        &mut self,
        items: u64,
        done: impl FnOnce(&mut Self, Handle<thread::Index>) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let (start, end) = (self.worker, self.b.constant(items as i64));
        if items <= self.workers() {
            let here = self.b.indices().less(start, end);
            let accept = self.inside(|lower| done(lower, start))?;
            self.b.push(thread::Statement::If {
                condition: here,
                accept,
                reject: thread::Block::new(),
            });
            return Ok(());
        }
        let step = self.workers() as i64;
        self.counted(start, end, step, Unroll::Never, done)
    }

    /// What `done` does, by the program's first thread.
    pub(super) fn once(&mut self, done: impl FnOnce(&mut Self) -> Result<(), LowerError>) -> Result<(), LowerError> {
        self.each(1, |lower, _| done(lower))
    }

    pub(super) fn check(
        &mut self,
        condition: Handle<Expression>,
        kind: CheckKind,
        message: &str,
    ) -> Result<(), LowerError> {
        if !self.kernel.tests(kind) {
            return Ok(());
        }
        let message = message.to_owned();
        let site = self.site(self.span, TrapFault::Check { kind, message });
        let shape = self.kernel.ty(condition).shape;
        if shape.rank() == 0 {
            let holds = self.scalar(condition)?;
            let holds = self.b.condition(holds);
            let fails = self.b.indices().not(holds);
            let accept = self.inside(|lower| {
                lower.once(|lower| {
                    let (zero, always) = (lower.b.constant(0), lower.b.indices().always(true));
                    let nothing = lower.nothing();
                    lower.report(site, zero.into(), nothing, always);
                    Ok(())
                })?;
                lower.end_program();
                Ok(())
            })?;
            self.b.push(thread::Statement::If {
                condition: fails,
                accept,
                reject: thread::Block::new(),
            });
            return Ok(());
        }
        self.end_if_found(|lower, over| {
            lower.with_others(&[condition], |lower| {
                lower.each(shape.elements(), |lower, e| {
                    let point = lower.at_position(e, shape);
                    let holds = lower.pull(condition, &point)?;
                    let holds = lower.b.condition(holds);
                    let fails = lower.b.indices().not(holds);
                    let accept = lower.inside(|lower| {
                        let (nothing, always) = (lower.nothing(), lower.b.indices().always(true));
                        lower.report(site, e.into(), nothing, always);
                        lower.say_over(over);
                        Ok(())
                    })?;
                    lower.b.push(thread::Statement::If {
                        condition: fails,
                        accept,
                        reject: thread::Block::new(),
                    });
                    Ok(())
                })
            })
        })
    }

    /// Asks for the elements of an access, one for each line of the cache where they lie side by side.
    pub(super) fn prefetch(&mut self, access: &Access) -> Result<(), LowerError> {
        let shape = access_shape(self.kernel, access).unwrap_or(Shape::SCALAR);
        let silent = silent(access);
        let quiet = std::mem::replace(&mut self.quiet, true);
        let operands: Vec<_> = silent.operands().collect();
        let result = self.with_others(&operands, |lower| lower.prefetch_lines(&silent, shape));
        self.quiet = quiet;
        result
    }

    fn prefetch_lines(&mut self, access: &Access, shape: Shape) -> Result<(), LowerError> {
        if shape.rank() == 0 {
            return self.once(|lower| lower.prefetch_element(access, &Point::new(), shape));
        }
        let size = self
            .kernel
            .tensor(access.tensor)
            .map_or(1, |tensor| tensor.element.size()) as u32;
        let beside = self.divisor_along(access, shape, 2)?.is_ok();
        let apart = if beside { LINE_BYTES / size } else { 1 };
        let columns = shape.innermost().div_ceil(apart);
        let rows = shape.elements() / u64::from(shape.innermost());
        let lines = shape.with_extent(shape.rank() - 1, columns).unwrap_or(shape);
        self.each(rows * u64::from(columns), |lower, line| {
            let mut point = lower.at_position(line, lines);
            if let Some(column) = point.last_mut() {
                *column = lower.b.indices().scale(*column, apart.into());
            }
            lower.prefetch_element(access, &point, shape)
        })
    }

    fn prefetch_element(&mut self, access: &Access, point: &Point, shape: Shape) -> Result<(), LowerError> {
        let placed = self.place(access, point, shape)?;
        self.prefetch_placed(placed);
        Ok(())
    }

    fn prefetch_placed(&mut self, Placed { place, condition }: Placed) {
        let predicate = match self.b.kernel().indices.is_known(condition) {
            Some(true) => None,
            Some(false) => return,
            None => Some(condition),
        };
        self.b.push(thread::Statement::Prefetch { place, predicate });
    }

    /// Whether the schedule wants L2 asked for what the ends of what is stored share with others: of one row, which is moved.
    pub(super) fn fetches_ends(&self, access: &Access, value: Handle<Expression>) -> bool {
        let shape = self.kernel.ty(value).shape;
        let is_row = shape.rank() > 0 && u64::from(shape.innermost()) == shape.elements();
        let is_moved = matches!(self.kernel.expressions[value], Expression::Load(_));
        let is_far = self.effects.of_peers.contains(&access.tensor);
        self.schedule.store == StoreHint::Fetched && is_row && is_moved && !is_far
    }

    /// Asks for the sectors of which a row that is about to be stored has a part, if its first and its last element are stored: those that
    /// these two are in. Two threads do that, or one.
    pub(super) fn prefetch_ends(&mut self, access: &Access, shape: Shape) -> Result<(), LowerError> {
        if self.workers() > 1 {
            return self.prefetch_end(access, shape, self.worker);
        }
        (0..2).try_for_each(|which| {
            let which = self.b.constant(which);
            self.prefetch_end(access, shape, which)
        })
    }

    /// Asks for the sector of which a row has a part where it begins, if `which` is 0, or where it ends, if it is 1; else for nothing.
    fn prefetch_end(&mut self, access: &Access, shape: Shape, which: Handle<thread::Index>) -> Result<(), LowerError> {
        let quiet = std::mem::replace(&mut self.quiet, true);
        let (zero, two) = (self.b.constant(0), self.b.constant(2));
        let is_end = self.b.indices().less(which, two);
        let end = self.b.indices().scale(which, shape.elements() as i64 - 1);
        let point = self.at_position(end, shape);
        let placed = self.where_needed(is_end, |lower| lower.place(&silent(access), &point, shape));
        self.quiet = quiet;
        let placed = placed?;
        // Where the row begins, and where what is behind it does.
        let at = self.b.address_of(placed.place);
        let size = self.size_of(access.tensor) as i64;
        let behind = self.b.indices().scale(which, size);
        let boundary = self.b.indices().add(at, behind);
        let in_sector = self.b.indices().low(boundary, SECTOR_BYTES.ilog2() as u8);
        let is_shared = self.b.indices().less(zero, in_sector);
        let condition = self.b.indices().all([placed.condition, is_shared]);
        self.prefetch_placed(Placed { condition, ..placed });
        Ok(())
    }

    /// Prints a line from the first thread of the program.
    pub(super) fn print(&mut self, format: &str, values: &[Handle<Expression>]) -> Result<(), LowerError> {
        self.once(|lower| {
            let mut printed = Vec::with_capacity(values.len());
            for &value in values {
                let value = lower.scalar(value)?;
                let element = lower.b.element(value);
                printed.push(match element.kind() {
                    ElementKind::Float | ElementKind::Storage if !is_computed(element) => {
                        lower.b.element_cast(value, ElementType::F32)
                    }
                    _ => value,
                });
            }
            lower.b.push(thread::Statement::Print {
                format: format.to_owned(),
                values: printed,
            });
            Ok(())
        })
    }

    /// Runs instructions of the author's on one element, or in each lane; returns the output that is wanted.
    pub(super) fn ptx(&mut self, code: &Ptx, point: &Point) -> Result<Use, LowerError> {
        let mut inputs = Vec::with_capacity(code.inputs.len());
        for &input in &code.inputs {
            inputs.push(self.pull(input, point)?);
        }
        let lanes = inputs
            .iter()
            .map(|input| self.b.kernel().ty(*input).lanes)
            .max()
            .unwrap_or(1);
        let mut outputs = Vec::with_capacity(code.outputs.len());
        for &element in &code.outputs {
            let ty = Type::packet(element, lanes);
            outputs.push(self.b.kernel_mut().values.append(Value::of(ty)));
        }
        let wanted = outputs.get(code.output).copied();
        self.b.push(thread::Statement::Ptx(thread::Ptx {
            text: code.text.clone(),
            outputs,
            inputs,
            meaning: code.meaning.clone(),
        }));
        match wanted {
            Some(wanted) => Ok(wanted.into()),
            None => self.defect("instructions without this output"),
        }
    }
}

/// The same access, of which out of bounds nothing happens, whatever its policy: nothing is reported, and nothing else is fetched.
fn silent(access: &Access) -> Access {
    Access {
        bounds: match access.bounds {
            Bounds::Unchecked => Bounds::Unchecked,
            _ => Bounds::ReadZeroSkipWrite,
        },
        ..access.clone()
    }
}
