//! A copy, to compare with.

use tilewright_dsl::call::Specialize;
use tilewright_dsl::{kernel, lang::*};
use tilewright_runtime::{Device, DeviceError, Launch, LaunchError, TensorError};

use super::{Replay, Times, sets};

/// Elements that a program copies.
const BLOCK: usize = 4096;
/// Replays that are looked at, behind those that are not.
const REPLAYS: usize = 20;
const WARM_UP: usize = 2;

/// Why there is no copy to compare with.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is no memory for its buffers.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// It could not be launched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Elements that lie together, copied to where they lie together again.
#[kernel(grid = [out.extent(0).div_ceil(BLOCK as i64)])]
pub(super) fn copy_blocks(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 1>) {
    let elements = program_id(0) * BLOCK + arange(BLOCK);
    out.store([elements], src.load([elements]));
}

/// The times of a copy that reads and writes `bytes` bytes in all, half of them each, from tensors that lie together to tensors
/// that lie together: over as many sets of them as [`sets`] says, with all else as for any [`Replay`].
///
/// # Errors
/// There is no memory for the buffers, or the device failed.
pub fn copy(device: &Device, bytes: usize) -> Result<Times, CopyError> {
    let elements = (bytes / 2).div_ceil(size_of::<f32>()).max(1);
    let mut buffers = Vec::new();
    for _ in 0..sets(device, bytes) {
        buffers.push((device.zeros::<f32, 1>([elements])?, device.zeros::<f32, 1>([elements])?));
    }
    let mut replay = Replay::rotating::<CopyError>(device, buffers.len(), |stream, set| {
        let (out, src) = &mut buffers[set];
        Ok(copy_blocks(out, &*src)
            .specialize(Specialize::Exact)
            .launch_on(stream)?)
    })?;
    Ok(replay.measure(REPLAYS, WARM_UP)?)
}
