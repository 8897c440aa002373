//! Devices whose GPU is not here: what is launched on one goes into a bundle.

use crate::cache::BundleBuilder;
use crate::device::Device;
use crate::specialize::Target;

impl BundleBuilder {
    /// A device for a GPU that is not here. A launch on it is checked as any other, and runs nothing: what may serve it on that
    /// GPU is compiled into this bundle, the variants that its [`Specialize`](tilewright_dsl::call::Specialize) asks for,
    /// tiered unless it says otherwise. So a bundle is made by launching: a kernel is in it if it was launched, whether by
    /// its author's program or by what an engine does in a step; and [`Device::warm_up`] reaches all counts of a range.
    ///
    /// * Tensors lie in the host's memory and keep what is in them; of those that nobody writes to, nothing is ever
    ///   touched, so that they may be large. Only their types, extents, strides and alignments count.
    /// * A resident variant serves every count of its class, for launches of about as many programs: launch each size that
    ///   the servers have. What is not in the bundle is what a server finds out as it runs: conditions that no launch had
    ///   here, and literals that the servers' own launches repeat. They are compiled there behind the launches, or not at
    ///   all where there is no NVRTC; no launch waits for them.
    ///
    /// NVRTC is needed, a GPU is not. `examples/bundle.rs` makes a bundle of a kernel of its own so, and launches from it.
    ///
    /// ```
    /// use tilewright_dsl::{kernel, lang::*};
    /// use tilewright_runtime::cache::BundleBuilder;
    /// use tilewright_runtime::compile::{Architecture, Nvrtc};
    /// use tilewright_runtime::{CountPolicy, Launch, Target};
    ///
    /// #[kernel(grid = [rows])]
    /// fn double(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>, rows: Count) {
    ///     out.store([program_id(0)], src.load([program_id(0)]) * 2.0);
    /// }
    ///
    /// let bundle = BundleBuilder::new();
    /// let h100 = bundle.device(Target::new(Architecture::new(9, 0), 132));
    /// let src = h100.zeros::<f32, 1>([1 << 20])?;
    /// let mut out = h100.zeros::<f32, 1>([1 << 20])?;
    /// let policy = CountPolicy::Runtime;
    /// if Nvrtc::load().is_ok() {
    ///     h100.warm_up([double(&mut out, &src, policy.bind(1))], &policy, 1..=1 << 20, |_| {})?;
    ///     assert!(!bundle.is_empty());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn device(&self, target: Target) -> Device {
        Device::offline(target, self)
    }
}
