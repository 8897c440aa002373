//! The first GPU, with each compiler.

use tilewright::dsl::call::Specialize;
use tilewright::runtime::compile::{Compiler, Nvrtc};
use tilewright::runtime::{Device, DeviceError};
use tilewright_testing::Part;

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
