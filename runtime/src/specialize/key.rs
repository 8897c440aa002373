//! What tells launches apart, as keys of tables.

use std::any::TypeId;

use tilewright_dsl::call::{ArgumentValue, Call, ComptimeValue, CountArgument, ExtentBinding};
use tilewright_dsl::element::ElementType;
use tilewright_dsl::ir::Layout;
use tilewright_dsl::schedule::Schedule;

use crate::arguments::{alignment_of, alignment_of_list, layout_of, layout_of_list, list_extents};

/// Which values of a launch are literals, besides those that shape tiles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Literals {
    /// None.
    None,
    /// The exact counts and, if they are to be exact, extents and strides.
    AllThatMay,
}

/// A kernel and words about its arguments.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// One, or several that are fused.
    kernels: Vec<TypeId>,
    /// Of all kernels; each has as many as its type says.
    comptime: Vec<ComptimeValue>,
    words: Vec<u64>,
    /// The schedule that the launch asks for.
    schedule: Option<Schedule>,
}

impl Key {
    /// A key to be refilled.
    pub(super) fn empty() -> Self {
        Self {
            kernels: Vec::new(),
            comptime: Vec::new(),
            words: Vec::new(),
            schedule: None,
        }
    }

    /// What tells the classes of launches apart, but the extents that are literals: facts, what is asked of the launch, and,
    /// with literals, the values that may be some.
    pub(super) fn refill_for_launch(&mut self, call: &Call<'_>, literals: Literals) {
        self.refill(call);
        self.schedule = call.schedule().copied();
        let with_literals = literals == Literals::AllThatMay;
        let exact = with_literals && call.extents() == ExtentBinding::Exact;
        self.words.extend(asked(call, literals));
        for argument in call.arguments() {
            match argument {
                ArgumentValue::Tensor(tensor) if exact => {
                    self.words.extend(&tensor.extents);
                    self.words.extend(tensor.strides.iter().map(|&stride| stride as u64));
                }
                ArgumentValue::List(list) if exact => self.words.extend(list_extents(list)),
                ArgumentValue::Count(CountArgument::Exact(value)) if with_literals => {
                    self.words.extend([1, value.cast_unsigned()]);
                }
                ArgumentValue::Count(CountArgument::Device { element, .. }) => self.words.push(2 + code(*element)),
                ArgumentValue::Count(CountArgument::Exact(_) | CountArgument::Runtime(_)) => self.words.push(0),
                ArgumentValue::Tensor(_) | ArgumentValue::List(_) | ArgumentValue::Scalar(_) => {}
            }
        }
    }

    /// Whether a call is of the same kernel, and asks for the same without literals.
    pub(super) fn asks_as(&self, call: &Call<'_>) -> bool {
        self.schedule.as_ref() == call.schedule()
            && self.words.get(call.arguments().len()..).is_some_and(|words| {
                let asked = asked(call, Literals::None);
                words.starts_with(&asked)
            })
            && self.is_of(call)
    }

    /// Whether it is one of a call's kernel.
    pub(super) fn is_of(&self, call: &Call<'_>) -> bool {
        let (mut kernels, mut comptime) = (self.kernels.iter(), &self.comptime[..]);
        let mut same = |(kernel, values): (TypeId, &[ComptimeValue])| {
            let rest = comptime.strip_prefix(values);
            comptime = rest.unwrap_or_default();
            kernels.next() == Some(&kernel) && rest.is_some()
        };
        call.definition().identity().all(&mut same) && comptime.is_empty() && kernels.next().is_none()
    }

    /// The first parameter of which two keys of one kernel know different facts.
    pub(super) fn differing(&self, other: &Self, parameters: usize) -> Option<usize> {
        (0..parameters).find(|&at| self.words.get(at) != other.words.get(at))
    }

    /// What a recording may rely on, but the extents.
    pub(super) fn of_facts(call: &Call<'_>) -> Self {
        let mut key = Self::empty();
        key.refill(call);
        key
    }

    fn refill(&mut self, call: &Call<'_>) {
        self.kernels.clear();
        self.comptime.clear();
        for (kernel, comptime) in call.definition().identity() {
            self.kernels.push(kernel);
            self.comptime.extend(comptime);
        }
        self.words.clear();
        self.schedule = None;
        self.words.extend(call.arguments().iter().map(facts));
    }
}

/// What is asked of a launch. Whether it may overlap changes no code, but not every kernel may.
fn asked(call: &Call<'_>, literals: Literals) -> [u64; 5] {
    let with_literals = literals == Literals::AllThatMay;
    [
        with_literals && call.extents() == ExtentBinding::Exact,
        with_literals && call.may_have_literals(),
        call.is_checked(),
        call.reports_out_of_bounds(),
        call.is_overlapping(),
    ]
    .map(u64::from)
}

/// Kind, type, rank, mutability, alignment and layout in one word.
fn facts(argument: &ArgumentValue<'_>) -> u64 {
    match argument {
        ArgumentValue::Tensor(tensor) => {
            let shape = 1 | code(tensor.element) << 8 | (tensor.extents.len() as u64) << 16;
            shape | u64::from(tensor.mutable) << 24 | place(alignment_of(tensor), layout_of(tensor))
        }
        ArgumentValue::List(list) => {
            let shape = 4 | code(list.element) << 8 | (list.rank as u64) << 16;
            shape | u64::from(list.mutable) << 24 | place(alignment_of_list(list), layout_of_list(list))
        }
        // That a count is exact matters where it shapes a tile, which the recording says.
        ArgumentValue::Count(_) => 2,
        ArgumentValue::Scalar(literal) => 3 | code(literal.element) << 8,
    }
}

fn place(alignment: u32, layout: Layout) -> u64 {
    let layout = match layout {
        Layout::Contiguous => 0,
        Layout::Rows { multiple } => u64::from(multiple),
        Layout::Strided => 0xff,
    };
    u64::from(alignment) << 32 | layout << 40
}

fn code(element: ElementType) -> u64 {
    element as u64
}

#[cfg(test)]
mod tests {
    use tilewright_dsl::call::Exact;
    use tilewright_dsl::kernel;
    use tilewright_dsl::lang::*;

    use super::*;
    use crate::arguments::{Alike, SeenArguments};
    use crate::{Device, TensorError};

    #[kernel(grid = [rows])]
    fn copy(out: &mut TensorList<u16, 2>, src: &Tensor<u16, 2>, rows: Count) {
        let (row, cols) = (program_id(0), arange(src.extent(1)));
        out[0].store([row, cols], src.load([row, cols]));
    }

    #[test]
    fn launches_whose_facts_are_alike_have_one_key() -> Result<(), TensorError> {
        const ROWS: usize = 12;
        let device = Device::cpu();
        let mut random = fastrand::Rng::with_seed(5);
        let mut alike = 0;
        for columns in [5, 8, 12, 16] {
            let mut outs = [(); 2].map(|()| device.zeros::<u16, 2>([ROWS, columns]).expect("memory"));
            let src = device.zeros::<u16, 2>([ROWS, columns])?;
            let mut seen = (SeenArguments::default(), Key::empty());
            for step in 0..4000 {
                let mut some = |most: usize| {
                    let first = random.usize(..=most);
                    first..random.usize(first..=most.min(first + 4))
                };
                let (rows, of_outs, part) = (some(ROWS), some(ROWS), some(columns));
                let part = if step % 8 < 6 { 0..columns / 2 } else { part };
                let src = src.columns(part)?.rows(rows)?;
                let outs: Vec<_> = outs
                    .iter_mut()
                    .map(|out| out.view_mut().rows(of_outs.clone()))
                    .collect::<Result<_, _>>()?;
                let call = copy(outs, src, Exact(1));
                let found = seen.0.alike(&call, device.hardware());
                let mut key = Key::empty();
                key.refill_for_launch(&call, Literals::None);
                if found.facts {
                    assert!(seen.1 == key, "step {step} of {columns} columns");
                    alike += usize::from(!found.shapes);
                }
                seen.0.see_next(&call, found);
                assert!(seen.0.alike(&call, device.hardware()) == Alike::ALL);
                seen.1 = key;
            }
        }
        assert!(alike > 100, "{alike} of other rows");
        Ok(())
    }
}
