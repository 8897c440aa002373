//! Counting launches on the device.

use super::atomic::AtomicOptions;
use super::create::{num_programs, program_id, select};
use super::index::One;
use super::parameter::Parameter;
use super::recorder;
use super::tensor::Tensor;
use super::tile::Scalar;
use crate::argument::{Argument, Arguments};
use crate::element::Element;
use crate::ir::MemoryOrder;

/// How many launches there were: a number that lives on the device and counts by itself, so that the replay of a captured
/// graph goes on counting. It wraps at 2^32, as the flags of [`PeerTensors`](super::PeerTensors) do.
///
/// As a kernel parameter it takes a `&mut` tensor of one u64 that holds zero at first, of which each rank has one of its own for
/// each thing that it counts, beside the flags. Written `&mut Epoch`, every launch counts as one, whatever its grid and whatever way its programs go; written
/// `&Epoch`, it takes a `&` tensor, and is the epoch of the last launch that counted. All ranks count alike if all launch the
/// same kernels in the same order, with at least one program each.
///
/// ```
/// # use tilewright_dsl::{kernel, lang::*};
/// /// The half of a buffer that the last launch that counted has filled.
/// #[kernel(grid = [out.extent(0)])]
/// fn take(out: &mut Tensor<f32, 1>, buffers: &PeerTensors<f32, 2>, epoch: &Epoch) {
///     let i = program_id(0);
///     out.store([i], buffers.own().load([epoch.half(), i]));
/// }
/// ```
///
/// A kernel that counts does not [overlap](crate::call::Call::overlapping) the launch before it, which it counts on.
// The word is the epoch in its upper half and, in its lower one, which of the present launch's programs have begun: each adds one
// when it has read the epoch, and the first program what is missing to 2^32, so that the last one to read still reads the same.
pub struct Epoch {
    word: Tensor<u64, 1>,
    now: Option<Scalar<u32>>,
}

impl Epoch {
    /// The epoch of this launch, from 1; of `&Epoch`, that of the last launch that counted, and 0 before there was one.
    pub fn now(&self) -> Scalar<u32> {
        self.now.unwrap_or_else(super::zero)
    }

    /// Which half of a buffer of two it is for: 0 or 1, by turns.
    #[track_caller]
    pub fn half(&self) -> Scalar<i64> {
        (self.now() & 1u32).cast()
    }

    fn declare(name: String, mutable: bool) -> Self {
        let position = recorder::with(0, |r| r.declare_tensor(name, u64::TYPE, 1, mutable));
        Self {
            word: Tensor::from_parameter(position),
            now: None,
        }
    }
}

const ONE: u64 = 1 << u32::BITS;

fn upper_half(word: Scalar<u64>) -> Scalar<u32> {
    let upper: Scalar<u64> = word >> u64::from(u32::BITS);
    upper.cast()
}

#[diagnostic::do_not_recommend]
impl<'p> Parameter<'p> for &'p mut Epoch {
    type Owned = Epoch;
    type Staged = &'p mut Epoch;
    fn declare(name: String) -> Epoch {
        Epoch::declare(name, true)
    }
    fn lend(epoch: &'p mut Epoch) -> &'p mut Epoch {
        let relaxed = AtomicOptions::new().order(MemoryOrder::Relaxed);
        let word = epoch.word.atomic_load_with(One(0), relaxed);
        epoch.now = Some(upper_half(word) + 1u32);
        let programs = [0, 1, 2].map(num_programs).into_iter().reduce(|all, axis| all * axis);
        let number = [0, 1, 2].map(program_id).into_iter().reduce(|all, axis| all + axis);
        if let (Some(programs), Some(number)) = (programs, number) {
            let others = (programs - 1i64).cast::<u64>();
            // With more programs than that the first one adds all.
            let few = super::staging::less(others, full_of(ONE));
            let rest = full_of(ONE) - select(few, others, full_of(0));
            let share = select(super::staging::equal(number, 0i64), rest, few.cast::<u64>());
            epoch.word.atomic_add_with(One(0), share, relaxed);
        }
        epoch
    }
}

fn full_of(value: u64) -> Scalar<u64> {
    super::staging::literal(value)
}

#[diagnostic::do_not_recommend]
impl<'p> Parameter<'p> for &'p Epoch {
    type Owned = Epoch;
    type Staged = &'p Epoch;
    fn declare(name: String) -> Epoch {
        Epoch::declare(name, false)
    }
    fn lend(epoch: &'p mut Epoch) -> &'p Epoch {
        epoch.now = Some(upper_half(epoch.word.load(One(0))));
        epoch
    }
}

/// What can be passed for the tensor can be passed for the epoch.
#[diagnostic::do_not_recommend]
impl<'a, 'p, A: Argument<'a, &'p mut Tensor<u64, 1>>> Argument<'a, &'p mut Epoch> for A {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<&'p mut Tensor<u64, 1>>::pass(self, arguments);
    }
}

#[diagnostic::do_not_recommend]
impl<'a, 'p, A: Argument<'a, &'p Tensor<u64, 1>>> Argument<'a, &'p Epoch> for A {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<&'p Tensor<u64, 1>>::pass(self, arguments);
    }
}
