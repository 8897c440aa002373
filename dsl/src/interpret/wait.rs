//! Waiting for flags, for a limited time.

use std::sync::PoisonError;
use std::sync::atomic::{Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};

use super::access::Run;
use super::argument::Tensor;
use super::elementwise::Operand;
use super::program::Machine;
use super::ranks::Kind;
use super::value::{Value, padded};
use super::{EndedWait, InterpretError};
use crate::ir::{Atomic, Expression, Handle, MemoryScope, Span, reached};

/// How often a program looks before it lets others work.
const SPINS: u32 = 32;

/// How long it sleeps between two looks, from then on.
const PAUSE: Duration = Duration::from_micros(20);

/// A flag that a program waits for.
struct Flag {
    /// The byte where it is.
    address: i64,
    epoch: u32,
}

impl Machine<'_> {
    /// Waits until every flag has reached its epoch. After the limit the program is over.
    pub(super) fn wait(
        &mut self,
        atomic: &Atomic,
        handle: Handle<Expression>,
        epoch: Handle<Expression>,
        limit: Handle<Expression>,
        span: Span,
    ) -> Result<Value, InterpretError> {
        let ty = self.launch.kernel.ty(handle);
        let extents = padded(ty.shape);
        let access = &atomic.access;
        let deadline = Instant::now().checked_add(Duration::from_nanos(self.scalar(limit).bits));
        for (place, tensor, mask) in self.targets(access, extents, span)? {
            let mut flags = Vec::new();
            let epochs = Operand::new(&self.values[epoch.index()], ty.element, extents);
            let visit = |run: Run| {
                flags.extend((0..run.count).map(|k| Flag {
                    address: run.address + k as i64 * run.step,
                    epoch: epochs.bits(run.element + k) as u32,
                }));
            };
            let outside = self.walk_where(access, mask.as_ref(), tensor, extents, visit);
            drop(epochs);
            self.judge(outside, access, place, span)?;
            for flag in flags {
                self.wait_for(&flag, atomic, (place, tensor), deadline, span);
                if self.is_over {
                    return Ok(Value::Uniform(0));
                }
            }
        }
        Ok(Value::Uniform(0))
    }

    fn wait_for(
        &mut self,
        flag: &Flag,
        atomic: &Atomic,
        (place, tensor): (u32, &Tensor<'_>),
        deadline: Option<Instant>,
        span: Span,
    ) {
        let size = size_of::<u32>();
        let look = || tensor.memory.get(flag.address as u64, size).unwrap_or(0) as u32;
        let mut looks = 0;
        loop {
            let seen = look();
            if reached(seen, flag.epoch) {
                break;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.is_over = true;
                self.give_up(flag, (place, tensor), seen, span);
                return;
            }
            if looks == 0
                && let Some(replace) = self.replace
            {
                replace();
            }
            looks += 1;
            match looks < SPINS {
                true => thread::yield_now(),
                false => thread::sleep(PAUSE),
            }
        }
        fence(Ordering::Acquire);
        let mut met = None;
        let kind = match atomic.scope {
            MemoryScope::System => Kind::AtomicRead,
            MemoryScope::Device | MemoryScope::Block => Kind::Read,
        };
        self.among_ranks(place, flag.address, size, kind, span, &mut met);
        self.meet(met);
        if let Some(ranks) = &self.launch.ranks
            && let Some(base) = ranks.base(place)
        {
            ranks.acquire(&mut self.sight, base + flag.address as usize, flag.epoch);
        }
        let touch = self.launch.noted(self.launch.races.of_atomic(atomic));
        if let Some(touch) = touch {
            self.log.push(self.touched(place, flag.address, size, touch, span));
        }
        if let Some(turns) = &self.launch.turns {
            let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
            self.log
                .take_turn(self.number as u32, &mut turns, (place, flag.address), true, false);
        }
    }

    fn give_up(&mut self, flag: &Flag, (place, tensor): (u32, &Tensor<'_>), seen: u32, span: Span) {
        let launch = self.launch;
        let ended = EndedWait {
            kernel: launch.kernel.name.clone(),
            span,
            tensor: launch.arguments.name(place),
            rank: tensor.element(flag.address).first().copied().unwrap_or(0),
            epoch: flag.epoch,
            seen,
            program: launch.coordinates(self.number),
        };
        self.trapped
            .get_or_insert_with(|| InterpretError::WaitEnded(Box::new(ended)));
    }
}
