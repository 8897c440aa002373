//! Loads and stores: elements from memory to values and back, and what is noted of them.

use super::access::{Index, Outside, Run, Touched, Unguarded, Walk};
use super::argument::Tensor;
use super::program::Machine;
use super::ranks::{Kind, Sight};
use super::touch;
use super::value::{Extents, Value, padded, put};
use super::{BadAccess, InterpretError, RankAccess, RankConflict};
use crate::analysis::races::Touch;
use crate::element::ElementType;
use crate::ir::{Access, Bounds, Expression, Handle, MAX_RANK, Span, Type};

impl Machine<'_> {
    /// What `access` reads.
    pub(super) fn load(
        &mut self,
        access: &Access,
        handle: Handle<Expression>,
        span: Span,
    ) -> Result<Value, InterpretError> {
        let Type { element, shape } = self.launch.kernel.ty(handle);
        let (size, extents) = (element.size(), padded(shape));
        let Some((place, tensor)) = self.target(access, extents, span)? else {
            return Ok(Value::Uniform(0));
        };
        let mut out = vec![0u8; extents.iter().product::<usize>() * size];
        let noted = self.launch.noted(self.launch.races.of_load(access.tensor));
        let mut log = std::mem::take(&mut self.log);
        let mut met = None;
        let mut note = |start: i64, count: usize| {
            if let Some(touch) = noted {
                log.push(self.touched(place, start, count * size, touch, span));
            }
            self.among_ranks(place, start, count * size, Kind::Read, span, &mut met);
        };
        let visit = |run: Run| {
            note_run(&run, size, &mut note);
            let read = if run.count == 1 || run.step == size as i64 {
                tensor
                    .memory
                    .read(run.address as u64, &mut out[run.element * size..][..run.count * size])
            } else {
                (0..run.count).try_for_each(|k| {
                    let bits = tensor.memory.get((run.address + k as i64 * run.step) as u64, size)?;
                    put(&mut out, size, run.element + k, bits);
                    Ok(())
                })
            };
            debug_assert!(read.is_ok(), "tensors are inside their memory");
        };
        let touched = self.walk(access, tensor, extents, visit);
        self.log = log;
        self.meet(met);
        self.judge(touched, access, place, span)?;
        if element == ElementType::Bool {
            // Any other byte than 0 counts as true.
            out.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        Ok(if out.len() == size {
            Value::Uniform(super::value::get(&out, size, 0))
        } else {
            Value::dense(out, extents)
        })
    }

    /// Writes `value` where `access` says, and notes it as `touch`; as nothing where the last of several writes is to stay.
    pub(super) fn store(
        &mut self,
        access: &Access,
        value: Handle<Expression>,
        touch: Option<Touch>,
        span: Span,
    ) -> Result<(), InterpretError> {
        let Type { element, shape } = self.launch.kernel.ty(value);
        let (size, extents) = (element.size(), padded(shape));
        let Some((place, tensor)) = self.target(access, extents, span)? else {
            return Ok(());
        };
        // A uniform value needs one row, from which every run takes its part.
        let (source, uniform) = match &self.values[value.index()] {
            Value::Uniform(bits) => {
                let row = bits.to_le_bytes()[..size].repeat(extents[MAX_RANK - 1]);
                (std::borrow::Cow::Owned(row), true)
            }
            value => (value.elements(size, extents), false),
        };
        let noted = self.launch.noted(touch);
        // Of a store whose order means nothing, every element has to have a place of its own.
        let apart = touch.filter(|_| self.launch.check_conflicts && !self.is_one_to_one(access, tensor, extents, size));
        let (mut log, mut places) = (std::mem::take(&mut self.log), std::mem::take(&mut self.places));
        places.clear();
        let mut met = None;
        let mut note = |start: i64, count: usize| {
            if let Some(touch) = noted {
                log.push(self.touched(place, start, count * size, touch, span));
            }
            if apart.is_some() {
                places.push((start, start + (count * size) as i64));
            }
            self.among_ranks(place, start, count * size, Kind::Write, span, &mut met);
        };
        let visit = |run: Run| {
            note_run(&run, size, &mut note);
            let source = &source[if uniform { 0 } else { run.element * size }..][..run.count * size];
            let written = if run.count == 1 || run.step == size as i64 {
                tensor.memory.write(run.address as u64, source)
            } else {
                source.chunks_exact(size).enumerate().try_for_each(|(k, element)| {
                    let address = run.address + k as i64 * run.step;
                    tensor.memory.write(address as u64, element)
                })
            };
            debug_assert!(written.is_ok(), "tensors are inside their memory");
        };
        let touched = self.walk(access, tensor, extents, visit);
        drop(source);
        if let Some(touch) = apart
            && let Some(address) = common(&mut places)
        {
            log.repeat(self.touched(place, address, size, touch, span), address);
        }
        (self.log, self.places) = (log, places);
        self.meet(met);
        self.judge(touched, access, place, span)
    }

    /// What this program does to `bytes` adjacent bytes.
    pub(super) fn touched(&self, tensor: u32, start: i64, bytes: usize, touch: Touch, span: Span) -> touch::Touched {
        touch::Touched {
            tensor,
            program: self.number as u32,
            start,
            end: start + bytes as i64,
            span,
            touch,
            epoch: 0,
        }
    }

    /// Notes what this program does to `bytes` adjacent bytes, if ranks share them, and keeps the first access that does not go
    /// together with it. Whoever waits for this launch is to find it done, so it is noted ahead of being done.
    pub(super) fn among_ranks(
        &self,
        place: u32,
        start: i64,
        bytes: usize,
        kind: Kind,
        span: Span,
        met: &mut Option<InterpretError>,
    ) {
        self.note_among_ranks(&self.sight, place, start, bytes, kind, span, met);
    }

    /// As [`Machine::among_ranks`], of a program that has seen so much.
    #[allow(clippy::too_many_arguments)] // They are what is noted.
    pub(super) fn note_among_ranks(
        &self,
        sight: &Sight,
        place: u32,
        start: i64,
        bytes: usize,
        kind: Kind,
        span: Span,
        met: &mut Option<InterpretError>,
    ) {
        let Some(ranks) = &self.launch.ranks else { return };
        let Some(base) = ranks.base(place) else { return };
        let from = base + start as usize;
        let program = (self.number as u32, self.launch.coordinates(self.number));
        let found = ranks.touch(sight, program, from..from + bytes, kind, span);
        if let (Some((at, accesses)), None) = (found, &met) {
            let tensor = self.launch.arguments.tensor(place);
            let conflict = RankConflict {
                tensor: self.launch.arguments.name(place),
                element: tensor
                    .map(|tensor| tensor.element((at - base) as i64))
                    .unwrap_or_default(),
                accesses: accesses.map(|did| RankAccess {
                    rank: did.rank,
                    kernel: did.kernel.to_string(),
                    program: did.program,
                    span: did.span,
                    touch: did.kind.as_touch(),
                }),
            };
            *met = Some(InterpretError::RankConflict(Box::new(conflict)));
        }
    }

    /// Keeps the first conflict between ranks.
    pub(super) fn meet(&mut self, met: Option<InterpretError>) {
        self.among_ranks = self.among_ranks.take().or(met);
    }

    /// Whether every element of `access` is known to be in a place of its own: the indices are affine, and each axis of the
    /// tile steps over what the axes of smaller steps reach.
    fn is_one_to_one(&self, access: &Access, tensor: &Tensor<'_>, extents: Extents, size: usize) -> bool {
        if extents.iter().product::<usize>() == 1 {
            return true;
        }
        // Elements outside would be moved to one place.
        if access.bounds == Bounds::Clamp {
            return false;
        }
        let mut bytes = [0i128; MAX_RANK];
        for (&index, &stride) in self.within(access, tensor).iter().zip(&tensor.strides) {
            let element = self.launch.kernel.ty(index).element;
            let Index::Affine { start, steps } = Index::new(&self.values[index.index()], element) else {
                return false;
            };
            let (mut least, mut most) = (i128::from(start), i128::from(start));
            for axis in 0..MAX_RANK {
                let reach = i128::from(steps[axis]) * (extents[axis] as i128 - 1);
                (least, most) = (least + reach.min(0), most + reach.max(0));
                bytes[axis] += i128::from(steps[axis]) * i128::from(stride);
            }
            // An index that wraps is not affine.
            if least < i64::MIN.into() || most > i64::MAX.into() {
                return false;
            }
        }
        let mut axes: [(i128, usize); MAX_RANK] = std::array::from_fn(|axis| (bytes[axis].abs(), extents[axis]));
        axes.sort_unstable();
        let mut reach = size as i128;
        axes.into_iter()
            .filter(|(_, extent)| *extent > 1)
            .all(|(step, extent)| {
                let is_over = step >= reach;
                reach += step * (extent as i128 - 1);
                is_over
            })
    }

    /// The indices of `access` into `tensor`: which tensor of a list it is has been seen to.
    fn within<'k>(&self, access: &'k Access, tensor: &Tensor<'_>) -> &'k [Handle<Expression>] {
        &access.indices[access.indices.len() - tensor.extents.len()..]
    }

    /// Calls `visit` with what `access` touches of `tensor`.
    pub fn walk(
        &self,
        access: &Access,
        tensor: &Tensor<'_>,
        extents: [usize; MAX_RANK],
        visit: impl FnMut(Run),
    ) -> Result<Touched, Unguarded> {
        let mask = access.mask.map(|mask| &self.values[mask.index()]);
        self.walk_where(access, mask, tensor, extents, visit)
    }

    /// As [`Machine::walk`], where another mask holds.
    pub fn walk_where(
        &self,
        access: &Access,
        mask: Option<&Value>,
        tensor: &Tensor<'_>,
        extents: [usize; MAX_RANK],
        visit: impl FnMut(Run),
    ) -> Result<Touched, Unguarded> {
        let launch = self.launch;
        let indices = self.within(access, tensor);
        let value = |handle: Handle<Expression>| (&self.values[handle.index()], launch.kernel.ty(handle).element);
        Walk {
            tensor,
            bounds: access.bounds,
            guards: &access.guards[access.guards.len() - indices.len()..],
            indices: Index::all(indices, value),
            mask,
            extents,
            touched: Touched::default(),
            visit,
        }
        .run()
    }

    /// Reports or refuses what was outside of the tensor at `place`, as the policy of the access says.
    pub fn judge(
        &mut self,
        touched: Result<Touched, Unguarded>,
        access: &Access,
        place: u32,
        span: Span,
    ) -> Result<(), InterpretError> {
        match (touched, access.bounds) {
            (Ok(Touched { outside: None }), _) => Ok(()),
            (Ok(Touched { outside: Some(outside) }), _) => {
                let reports = self.launch.kernel.reports(access);
                if reports && self.trapped.is_none() {
                    let bad = self.bad(outside, place, span);
                    self.trapped = Some(InterpretError::OutOfBounds(Box::new(bad)));
                } else if !reports && self.outside.is_none() {
                    self.outside = Some(self.bad(outside, place, span));
                }
                Ok(())
            }
            (Err(Unguarded(outside)), Bounds::Unchecked) => {
                Err(InterpretError::OutOfBounds(Box::new(self.bad(outside, place, span))))
            }
            (Err(Unguarded(outside)), Bounds::ReadZeroSkipWrite | Bounds::Clamp | Bounds::Trap) => {
                Err(InterpretError::UnsoundProof(Box::new(self.bad(outside, place, span))))
            }
        }
    }

    fn bad(&self, outside: Outside, place: u32, span: Span) -> BadAccess {
        BadAccess {
            kernel: self.launch.kernel.name.clone(),
            span,
            tensor: self.launch.arguments.name(place),
            axis: outside.axis,
            index: outside.index,
            extent: outside.extent as u64,
            program: self.launch.coordinates(self.number),
        }
    }
}

/// Calls `note` with the address and the number of neighbours, of all elements of a run.
fn note_run(run: &Run, size: usize, note: &mut impl FnMut(i64, usize)) {
    if run.count == 1 || run.step == size as i64 {
        note(run.address, run.count);
    } else {
        (0..run.count).for_each(|k| note(run.address + k as i64 * run.step, 1));
    }
}

/// The first byte that is in two of `places`, which are from one byte to another.
fn common(places: &mut [(i64, i64)]) -> Option<i64> {
    if places.is_sorted_by(|one, next| one.1 <= next.0) {
        return None;
    }
    places.sort_unstable();
    let mut pairs = places.windows(2);
    pairs.find_map(|pair| (pair[1].0 < pair[0].1).then_some(pair[1].0))
}
