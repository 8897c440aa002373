//! Where a thread stands: its program, and its number among the threads that work on it.

use std::collections::HashMap;

use super::layout::choose_lanes;
use super::uses::Uses;
use super::{Lower, LowerError};
use crate::analysis::effects::Effects;
use crate::analysis::opening::opening;
use crate::analysis::races::Races;
use crate::ir::{GridDependency, Handle, Kernel, Span, Statement, Symbol};
use crate::schedule::{Schedule, most_loads};
use crate::thread::{self, Builder, Index, Unroll, passes::Why};

/// Loads of an element from which on a thread takes registers for all of them.
///
/// Measured on an H200 with L2 cold, eight rows are combined into one in 0.57 to 0.75 of the time where there are up to 8 results, 0.79
/// to 0.86 where there are 64, 0.98 to 1.01 from 256 to 2048, and 0.93 to 1.01 at 4096.
const MANY_LOADS: u64 = 4;

impl<'a> Lower<'a> {
    pub(super) fn new(kernel: &'a Kernel, schedule: &'a Schedule, shared_stride: u32) -> Self {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = kernel.name.chars().map(letter).collect();
        let threads = schedule.threads * schedule.programs_per_block;
        let mut b = Builder::new(name.clone(), threads);
        b.kernel_mut().comment = format!("{name}: {schedule}");
        let (zero, effects) = (b.constant(0), Effects::of(kernel));
        if effects.has_collectives {
            b.kernel_mut().cluster = schedule.splits;
        }
        // Blocks that wait for peers have to be there together.
        b.kernel_mut().many_registers = most_loads(kernel) >= MANY_LOADS && effects.of_peers.is_empty();
        Self {
            kernel,
            schedule,
            races: Races::of(kernel, &effects),
            effects,
            uses: Uses::of(kernel),
            stores: None,
            b,
            arguments: Vec::new(),
            buffers: HashMap::new(),
            registers: HashMap::new(),
            variables: HashMap::new(),
            held: HashMap::new(),
            kept: Vec::new(),
            brought: HashMap::new(),
            lanes: choose_lanes(kernel),
            wanted: None,
            shared_top: 0,
            shared_most: 0,
            shared_stride,
            scalars: HashMap::new(),
            pulled: vec![HashMap::new()],
            words: vec![HashMap::new()],
            quiet: false,
            over: None,
            access_span: Span::UNKNOWN,
            sites: Vec::new(),
            needed: None,
            hinted: false,
            worker: zero,
            beside: zero,
            program: zero,
            order: Default::default(),
            loops: Vec::new(),
            whole: None,
            span: Span::UNKNOWN,
            distributions: Vec::new(),
            alone: Some(Why::Held),
            narrow: Vec::new(),
        }
    }

    /// The whole kernel.
    pub(super) fn body(&mut self) -> Result<(), LowerError> {
        self.span = self.kernel.span;
        // Every thread waits, also one without a program, and before counts are read.
        let first = opening(self.kernel).unwrap_or_default();
        for &dependency in &first {
            self.b.push(thread::Statement::GridDependency(dependency));
        }
        if self.kernel.checked {
            self.count_stores();
        }
        match self.effects.in_order {
            true => self.programs_in_order(first.len()),
            false => {
                self.stand();
                self.statements(first.len())
            }
        }
    }

    /// The statements of a program, but for so many waits and triggers at the beginning.
    fn statements(&mut self, mut opening: usize) -> Result<(), LowerError> {
        self.declare()?;
        self.prepare_ending()?;
        let kernel = self.kernel;
        for (statement, span) in &kernel.body {
            match statement {
                Statement::GridDependency(GridDependency::Wait | GridDependency::Trigger) if opening > 0 => {
                    opening -= 1;
                }
                statement => self.statement(statement, *span)?,
            }
        }
        Ok(())
    }

    /// One block does all programs, one after the other: what one has stored, the next one finds.
    fn programs_in_order(&mut self, opening: usize) -> Result<(), LowerError> {
        self.worker = self.b.thread();
        let (start, end) = (self.b.constant(0), self.all_programs());
        let whole = self.b.label();
        self.whole = Some(whole);
        self.counted(start, end, 1, Unroll::Never, |lower, program| {
            lower.program = program;
            let body = lower.inside(|lower| lower.statements(opening))?;
            lower.b.push(thread::Statement::Scope { label: whole, body });
            lower.barrier();
            Ok(())
        })
    }

    /// Ends the program: nothing after this runs.
    pub(super) fn end_program(&mut self) {
        self.b.push(match self.whole {
            Some(label) => thread::Statement::Leave(label),
            None => thread::Statement::Exit,
        });
    }

    fn stand(&mut self) {
        let (thread, block) = (self.b.thread(), self.b.block());
        let Schedule {
            threads,
            splits,
            programs_per_block: shared,
            ..
        } = *self.schedule;
        let (width, splits) = (self.b.constant(threads.into()), self.b.constant(splits.into()));
        if shared > 1 {
            self.beside = self.b.indices().quotient(thread, width);
            self.worker = self.b.indices().remainder(thread, width);
            let first = self.b.indices().scale(block, shared.into());
            self.program = self.b.indices().add(first, self.beside);
            let all = self.all_programs();
            let here = self.b.indices().less(self.program, all);
            let beyond = self.b.indices().not(here);
            self.b.when(beyond, |b| b.push(thread::Statement::Exit));
        } else {
            self.program = self.b.indices().quotient(block, splits);
            let part = self.b.indices().remainder(block, splits);
            let first = self.b.indices().multiply(part, width);
            self.worker = self.b.indices().add(first, thread);
        }
    }

    fn all_programs(&mut self) -> Handle<Index> {
        let mut all = self.b.constant(1);
        for axis in 0..self.kernel.grid.len() as u8 {
            let programs = self.symbol(Symbol::NumPrograms(axis));
            all = self.b.indices().multiply(all, programs);
        }
        all
    }

    /// This program's coordinate on a grid axis.
    pub(super) fn program_id(&mut self, axis: u8) -> Handle<Index> {
        let axes = self.kernel.grid.len() as u8;
        if axis >= axes.max(1) {
            return self.b.constant(0);
        }
        let mut rest = self.program;
        for inner in 0..axis {
            let programs = self.symbol(Symbol::NumPrograms(inner));
            rest = self.b.indices().quotient(rest, programs);
        }
        if axis + 1 == axes {
            return rest;
        }
        let programs = self.symbol(Symbol::NumPrograms(axis));
        self.b.indices().remainder(rest, programs)
    }

    fn declare(&mut self) -> Result<(), LowerError> {
        let kernel = self.kernel;
        for (handle, local) in kernel.locals.iter() {
            if local.ty.is_scalar() {
                let ty = thread::Type::scalar(local.ty.element);
                let register = self.b.register(local.name.clone(), ty);
                self.registers.insert(handle, register);
            } else {
                self.declare_tile(handle, &local.name, local.ty)?;
            }
        }
        Ok(())
    }
}
