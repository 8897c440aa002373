//! Where a test runs, and how its counts are bound.

use std::fmt::Debug;

use tilewright_dsl::call::{CountArgument, Specialize};
use tilewright_runtime::compile::{Compiler, Nvrtc};
use tilewright_runtime::{Device, DeviceError};
use tilewright_testing::Part;

/// Runs a test on the CPU device, which checks every access, and on the first GPU if there is one, with the best variant for each
/// launch. A machine without a GPU leaves the line `ran with no GPU`; with `TILEWRIGHT_REQUIRE_GPU=1` that is a failure.
///
/// # Panics
/// If the test does, or returns something else on the GPU.
pub fn for_each_device<R: PartialEq + Debug>(test: impl Fn(&Device) -> R) {
    let on_cpu = test(&Device::cpu());
    if let Some(gpu) = Part::Gpu.if_there(Device::cuda(0).inspect(|gpu| gpu.set_specialize(Specialize::Exact))) {
        assert_eq!(test(&gpu), on_cpu, "{gpu} and the CPU device differ");
    }
}

/// The first GPU as a device of each compiler that there is, or of the one that the environment chooses; each launch is
/// served by the best variant.
///
/// # Errors
/// There is no GPU.
pub fn gpus() -> Result<Vec<Device>, DeviceError> {
    let compilers = match Compiler::from_environment()? {
        Compiler::Auto => {
            let nvrtc = Part::Nvrtc.if_there(Nvrtc::load()).map(|_| Compiler::Nvrtc);
            nvrtc.into_iter().chain([Compiler::Ptx]).collect()
        }
        chosen => vec![chosen],
    };
    let open = |compiler| Device::cuda_with(0, compiler).inspect(|gpu| gpu.set_specialize(Specialize::Exact));
    compilers.into_iter().map(open).collect()
}

/// Both bindings of a count that the host knows: as a literal, and as an argument.
pub const BINDINGS: [fn(u64) -> CountArgument<'static>; 2] = [
    |count| CountArgument::Exact(count as i64),
    |count| CountArgument::Runtime(count as i64),
];

/// The counts at which code that handles up to `most` changes what it does: none, one, all, and all but one.
///
/// ```
/// use tilewright_harness::testing::counts;
///
/// assert_eq!(counts(8), [0, 1, 7, 8]);
/// assert_eq!(counts(1), [0, 1]);
/// assert_eq!(counts(0), [0]);
/// ```
pub fn counts(most: usize) -> Vec<usize> {
    let mut counts = vec![0, 1, most.saturating_sub(1), most];
    counts.retain(|&count| count <= most);
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// Calls a function that is generic over the element type with every element type.
///
/// ```
/// use tilewright_dsl::element::Element;
///
/// fn keeps_its_bits<T: Element>(bits: u64) {
///     assert_eq!(T::from_bits64(bits).to_bits64(), bits);
/// }
/// tilewright_harness::for_every_element!(keeps_its_bits(1));
/// ```
#[macro_export]
macro_rules! for_every_element {
    ($function:ident($($argument:expr),*)) => {{
        $function::<bool>($($argument),*);
        $function::<i8>($($argument),*);
        $function::<i16>($($argument),*);
        $function::<i32>($($argument),*);
        $function::<i64>($($argument),*);
        $function::<u8>($($argument),*);
        $function::<u16>($($argument),*);
        $function::<u32>($($argument),*);
        $function::<u64>($($argument),*);
        $function::<$crate::__private::f16>($($argument),*);
        $function::<$crate::__private::bf16>($($argument),*);
        $function::<f32>($($argument),*);
        $function::<f64>($($argument),*);
        $function::<$crate::__private::F8E4M3>($($argument),*);
        $function::<$crate::__private::F8E5M2>($($argument),*);
    }};
}
