//! Waiting until others have come so far.

use crate::element::ElementType;
use crate::ir::{AtomicUpdate, Expression, Handle, Literal, MemoryScope, Span};
use crate::lang::index::Indices;
use crate::lang::recorder;
use crate::lang::tensor::{StoreValue, Tensor};
use crate::lang::tile::{IntoValue, Scalar};

/// How a program waits: how long at most, and for whom. By default [`WaitOptions::LIMIT_NS`]; and, as for
/// [`AtomicOptions`](super::AtomicOptions), for other programs of the device, and on the tensors of
/// [peers](crate::lang::PeerTensors) for other devices.
#[derive(Debug, Clone, Copy)]
#[must_use = "options do nothing until they are given to a wait"]
pub struct WaitOptions {
    limit: Option<Scalar<u64>>,
    scope: Option<MemoryScope>,
}

impl WaitOptions {
    /// Nanoseconds that a wait takes at most if it names no limit: ten seconds.
    pub const LIMIT_NS: u64 = 10_000_000_000;

    /// The defaults.
    #[allow(clippy::new_without_default)] // As for `AtomicOptions`.
    pub fn new() -> Self {
        Self {
            limit: None,
            scope: None,
        }
    }

    /// For so many nanoseconds at most: a number, or a scalar that a launch gives.
    pub fn limit_ns(self, limit: impl IntoValue<Scalar<u64>>) -> Self {
        Self {
            limit: Some(limit.into_value()),
            ..self
        }
    }

    /// For these: all programs of the device, or other devices too.
    pub fn scope(self, scope: MemoryScope) -> Self {
        Self {
            scope: Some(scope),
            ..self
        }
    }
}

/// Waiting for epochs. The elements are flags: each holds how far somebody has come, a number that only grows and wraps at
/// 2^32.
impl<const R: usize> Tensor<u32, R> {
    /// Waits until every flag at `indices` has reached `epoch`: is it, or up to 2^31 - 1 steps ahead of it. What the program
    /// does afterwards sees all that came before the releases by which the flags were raised
    /// ([`Tensor::atomic_store`], or any atomic operation that releases).
    ///
    /// A flag that has not reached it after the limit is reported, and the program ends there, as after a
    /// [`device_assert`](crate::lang::device_assert): the launch's report says for which flag it waited, and what it was. So
    /// no kernel hangs because somebody else does not come. The first index is taken to be the rank that raises the flag.
    ///
    /// A flag outside of the tensor is not waited for, unless the policy of the kernel says otherwise.
    ///
    /// A tile of a tensor that the kernel does not change, loaded before a wait and stored behind it, is on its way meanwhile, if it is
    /// little (32 bytes of a thread).
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    ///
    /// /// Program 0 computes what the others need.
    /// #[kernel(grid = [4])]
    /// fn hand_on(out: &mut Tensor<f32, 1>, kept: &mut Tensor<f32, 1>, flag: &mut Tensor<u32, 1>, step: u32) {
    ///     if program_id(0) == 0 {
    ///         kept.store([0], 2.0);
    ///         flag.atomic_store([0], step);
    ///     } else {
    ///         flag.wait_until([0], step);
    ///         out.store([program_id(0)], kept.load([0]));
    ///     }
    /// }
    /// ```
    #[track_caller]
    pub fn wait_until<I: Indices<R>, const V: usize>(&mut self, indices: I, epoch: impl StoreValue<u32, V>) {
        self.wait_until_with(indices, epoch, WaitOptions::new());
    }

    /// As [`Tensor::wait_until`], with a limit or scope.
    #[track_caller]
    pub fn wait_until_with<I: Indices<R>, const V: usize>(
        &mut self,
        indices: I,
        epoch: impl StoreValue<u32, V>,
        options: WaitOptions,
    ) {
        self.wait(indices.indices(), epoch.stored(), options, Span::here());
    }

    pub(in crate::lang) fn wait(
        &self,
        indices: [Handle<Expression>; R],
        epoch: Handle<Expression>,
        options: WaitOptions,
        span: Span,
    ) {
        let what = "`wait_until`";
        recorder::with((), |r| {
            let (access, shape) = self.access(r, indices, None, r.bounds(), what, span);
            let from = r.ty(epoch).shape;
            if from.broadcast(shape) != Some(shape) {
                let message = format!("{what} an epoch of shape {from} at indices of shape {shape}");
                return r.fail(
                    span,
                    message,
                    Some("the epoch must broadcast to the shape of the indices"),
                );
            }
            let epoch = r.stretch(epoch, shape, span);
            let limit = match options.limit {
                Some(limit) => limit.handle,
                None => r.literal(Literal::new(WaitOptions::LIMIT_NS)),
            };
            let update = AtomicUpdate::Wait { epoch, limit };
            r.atomic(access, update, None, options.scope, ElementType::U32, shape, what, span);
        });
    }
}
