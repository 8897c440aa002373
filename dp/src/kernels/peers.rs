//! Rows into the memory of every rank, told by flags.

use tilewright_dsl::{kernel, lang::*};

/// Elements of a row that a program moves at once.
const PIECE: usize = 1024;

/// Gathers: stores a rank's rows into its place of every rank's buffer, zeroes the rest of the place, and tells every rank.
///
/// * `buffers` `[2, rows, hidden]` of any type, one of each rank: two halves, used by turns, of which [`Epoch::half`] says which
///   one this launch fills. `flags` `[ranks, places]`, one of each rank, all zero at first; each program is a place. `epoch` is
///   this rank's own count of launches. `src` `[n, hidden]`.
/// * The first `count` rows of `src` become rows `start..start + count` of that half in every buffer, and the rows up to
///   `start + place` become +0. What is beyond `src` is +0 too, and what is beyond the buffer is left out. All ranks launch it in
///   the same order; what they pass need not agree, so that each has rows of its own number and place.
/// * With `waits`, the launch is over once all ranks' rows are in this rank's buffer, and launches behind it find them there.
///   Without, it ends earlier, and [`await_gather()`] waits.
/// * As many programs as there are places, so that one captured graph serves every count. Specialised for the type, `hidden` and
///   the number of ranks.
/// * A rank that does not come within ten seconds is reported by
///   [`Device::synchronize`](tilewright_runtime::Device::synchronize), with its number.
///
/// ```
/// use tilewright_dp::kernels::push_gather;
/// use tilewright_dsl::call::{OfRank, Runtime};
/// use tilewright_runtime::{Device, Launch, PeerBuffer, PeerMemory};
///
/// // Two ranks, each a thread with a device of its own.
/// let (rows, flags) = (2 * 4 * 2 * 4, 2 * 4);
/// let memory = [(); 2].map(|()| PeerMemory::new(&Device::cpu(), rows + flags).unwrap());
/// let gathered = |rank: usize| -> Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>> {
///     let device = Device::cpu();
///     let mut buffer = PeerBuffer::new(&device, rank, &memory)?;
///     let mut raised = buffer.split_off(rows)?;
///     let mut epoch = device.zeros::<u64, 1>([1])?;
///     let src = device.upload(&[[1.0f32, 2.0], [3.0, 4.0]][rank], [1, 2])?;
///     let (start, count, place) = (Runtime(2 * rank as u64), Runtime(1), Runtime(2));
///     let buffers = OfRank(rank, &mut buffer.tensors_mut::<f32, 3>(0, [2, 4, 2])?);
///     let flags = OfRank(rank, &mut raised.tensors_mut::<u32, 2>(0, [2, 1])?);
///     push_gather::<f32>(buffers, flags, &mut epoch, &src, start, count, place, true).launch(&device)?;
///     // The first epoch is in the second half.
///     Ok(buffer.tensor::<f32, 3>(rank, 0, [2, 4, 2])?.download()?.split_off(8))
/// };
/// std::thread::scope(|scope| {
///     for rank in [0, 1].map(|rank| scope.spawn(move || gathered(rank))) {
///         assert_eq!(rank.join().unwrap().unwrap(), [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
///     }
/// });
/// ```
#[kernel(grid = [flags.extent(1)])]
pub fn push_gather<T: Element>(
    buffers: &mut PeerTensors<T, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    src: &Tensor<T, 2>,
    start: Count,
    count: Count,
    place: Count,
    #[comptime] waits: bool,
) {
    require(buffers.extent(0) == 2 && buffers.extent(2) == src.extent(1));
    require(flags.len() == buffers.len() && flags.extent(0) == buffers.len());
    let (program, programs) = (program_id(0), num_programs(0));
    let (rank, half, ranks) = (buffers.rank(), epoch.half(), comptime(buffers.len()));
    let piece = comptime(src.extent(1)).min(PIECE);
    let pieces = cdiv(src.extent(1), piece);
    for trip in 0..cdiv(place * pieces - program, programs) {
        let unit = program + trip * programs;
        let (row, first) = (unit / pieces, unit % pieces * piece);
        let cols = arange(piece) + first;
        let value = src.load_where([row, cols], row < count);
        // Each begins with itself, so that no rank is everybody's first.
        for next in 0..ranks {
            let peer = (rank + next) % ranks;
            buffers[peer].store([half, start + row, cols], value);
        }
    }
    flags.raise(program, epoch.now());
    if waits {
        flags.wait(program, epoch.now());
    }
}

/// Waits until the rows of all ranks are there that the last [`push_gather()`] has begun to gather: launches behind it find them.
///
/// * `flags` and `epoch` as there, the latter to be read.
/// * As many programs as there are places.
#[kernel(grid = [flags.extent(1)])]
pub fn await_gather(flags: &PeerTensors<u32, 2>, epoch: &Epoch) {
    require(flags.extent(0) == flags.len());
    flags.wait(program_id(0), epoch.now());
}
