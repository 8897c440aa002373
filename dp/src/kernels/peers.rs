//! Rows into the memory of every rank, told by flags.
//!
//! What all of these take:
//!
//! * `flags` `[ranks, 2 * PLACES]`, one of each rank, all zero at first; `epoch` is this rank's own count of launches, and `state`
//!   `[PLACES]` is how far its programs have come, zero at first. All ranks launch the same kernels in the same order, each on as
//!   many programs, `places` of them, which all have to run at the same time.
//! * Buffers of two halves, `[2, rows, hidden]`, one of each rank; `half` says which one a launch fills. Who fills them by turns
//!   stores at once; who fills the same one again waits first until all ranks are there, so that nobody writes what a slower rank
//!   still reads. What is in a half may be read until this rank fills the next one. So a captured graph may be replayed
//!   whatever was launched before.
//! * Counts may be in device memory, so that one captured graph serves every step. `places` and `piece` are for the largest.
//! * A rank that does not come within `limit_ns` nanoseconds is reported by
//!   [`Device::synchronize`](tilewright_runtime::Device::synchronize), with its number; and launches behind it report at once that
//!   they are out of step.
//!
//! [`Movement::push`](crate::movement::Movement::push) launches these, and [`GatheredHalves`](crate::movement::GatheredHalves) has
//! the memory.

use float8::F8E4M3;
use tilewright_dsl::{device, kernel, lang::*};

use super::pieces::{each_piece, each_piece_from, piece, place_of};
use super::place::report_rows;
use super::quantize::{GROUP, quantized};

/// The most programs of a launch: two for each place of [collectives in staging](super::collective), since those that quantise
/// wait for what they load while others store.
pub const PLACES: usize = 2 * super::collective::PLACES;

/// How rows are cut for the programs of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The programs.
    pub places: u64,
    /// The elements that a program moves at once.
    pub piece: usize,
}

impl Cut {
    /// For `rows` rows at most of `columns` elements: few are spread over many programs, and of many each program has several
    /// accesses in flight. All ranks have to take the same.
    ///
    /// ```
    /// use tilewright_dp::kernels::peers::Cut;
    ///
    /// assert_eq!(Cut::of(1, 7168, 2), Cut { places: 7, piece: 1024 });
    /// assert_eq!(Cut::of(32, 7168, 2), Cut { places: 128, piece: 1792 });
    /// assert_eq!(Cut::of(8192, 7168, 2), Cut { places: 128, piece: 7168 });
    /// ```
    pub fn of(rows: u64, columns: usize, element_bytes: usize) -> Self {
        Self::in_pieces(rows, columns, element_bytes, super::collective::PLACES as u64)
    }

    /// The same with at most so many programs.
    pub(crate) fn in_pieces(rows: u64, columns: usize, element_bytes: usize, most: u64) -> Self {
        let cut = |bytes| {
            let piece = piece(columns, element_bytes, bytes);
            (rows.saturating_mul(columns.div_ceil(piece) as u64), piece)
        };
        let short = [2 << 10, 4 << 10, 8 << 10].map(cut);
        let (units, piece) = short
            .into_iter()
            .find(|&(units, _)| units <= most)
            .unwrap_or_else(|| cut(16 << 10));
        Self {
            places: units.clamp(1, most),
            piece,
        }
    }
}

/// Whether there is a place for each program.
#[device]
fn check(flags: &PeerTensors<u32, 2>, state: &Tensor<u64, 1>, places: Scalar<i64>) {
    require(flags.extent(0) == flags.len() && flags.extent(1) == 2 * PLACES && state.extent(0) == PLACES);
    require(places <= PLACES);
}

/// Begins to fill a half: at once if the one before was the other one.
#[device]
fn begin(
    flags: &mut PeerTensors<u32, 2>,
    epoch: &Epoch,
    state: &Tensor<u64, 1>,
    half: Scalar<i64>,
    limit_ns: Scalar<u64>,
) {
    let last = state.load([program_id(0)]);
    device_assert(
        (last >> 1u64).cast::<u32>() + 1 == epoch.now(),
        "an earlier gather of this rank did not come to its end, or was not waited for",
    );
    if (last & 1u64).cast::<i64>() == half {
        let place = program_id(0) + PLACES;
        flags.raise(place, epoch.now());
        flags.wait_with(place, epoch.now(), WaitOptions::new().limit_ns(limit_ns));
    }
}

/// Waits for all ranks' rows, and notes it for the place of this program; of places without a program the first one does.
#[device]
fn finish(
    flags: &PeerTensors<u32, 2>,
    epoch: &Epoch,
    state: &mut Tensor<u64, 1>,
    half: Scalar<i64>,
    limit_ns: Scalar<u64>,
) {
    flags.wait_with(program_id(0), epoch.now(), WaitOptions::new().limit_ns(limit_ns));
    let come = epoch.now().cast::<u64>() << 1u64 | half.cast::<u64>();
    state.store([program_id(0)], come);
    if program_id(0) == 0 {
        let place = arange(PLACES);
        state.store_where([place], come, place >= num_programs(0));
    }
}

/// Gathers: stores a rank's rows into its place of every rank's buffer, zeroes the rest of the place, and tells every rank.
///
/// * `buffers` `[2, n, hidden]` of any type, one of each rank; `src` `[m, hidden]`. Rows `start..start + place` of the half, in
///   every buffer, become the rows of `src` from `first` on, those below `count` that it has, and +0 behind them. In this rank's
///   own buffer the rows `end..rows` become +0 too, which are no rank's. What is beyond a buffer is left out. `report` `[2]` gets the
///   rows planned from `first` on, and those of them that there were in `src` and room for in the place.
/// * What ranks pass for the counts need not agree, so that each has rows of its own number and place, in `piece`s of a row.
/// * With `waits`, the launch is over once all ranks' rows are in this rank's buffer, and launches behind it find them there.
///   Without, it ends earlier, and [`await_gather()`] has to wait, before the next gather.
/// * See [here](self) for the rest. Specialised for the type, `hidden`, `piece` and the number of ranks.
///
/// ```
/// use tilewright_dp::kernels::{peers::PLACES, push_gather};
/// use tilewright_dsl::call::{OfRank, Runtime};
/// use tilewright_runtime::{Device, Launch, PeerBuffer, PeerMemory};
///
/// // Two ranks, each a thread with a device of its own.
/// let (rows, flags) = (2 * 4 * 2 * 4, 2 * 2 * PLACES * 4);
/// let memory = [(); 2].map(|()| PeerMemory::new(&Device::cpu(), rows + flags).unwrap());
/// let gathered = |rank: usize| -> Result<Vec<f32>, Box<dyn std::error::Error + Send + Sync>> {
///     let device = Device::cpu();
///     let mut buffer = PeerBuffer::new(&device, rank, &memory)?;
///     let mut raised = buffer.split_off(rows)?;
///     let (mut epoch, mut state) = (device.zeros::<u64, 1>([1])?, device.zeros::<u64, 1>([PLACES])?);
///     let mut report = device.zeros::<i64, 1>([2])?;
///     let src = device.upload(&[[1.0f32, 2.0], [3.0, 4.0]][rank], [1, 2])?;
///     let [first, start, count, place] = [0, 2 * rank as u64, 1, 2].map(Runtime);
///     let [end, rows, half, places] = [4, 4, 1, 1].map(Runtime);
///     let buffers = OfRank(rank, &mut buffer.tensors_mut::<f32, 3>(0, [2, 4, 2])?);
///     let flags = OfRank(rank, &mut raised.tensors_mut::<u32, 2>(0, [2, 2 * PLACES])?);
///     let (limit_ns, piece, waits) = (1_000_000_000, 2, true);
///     push_gather::<f32>(
///         buffers, flags, &mut epoch, &mut state, &mut report, &src, first, start, count, place, end, rows, half, places,
///         limit_ns, piece, waits,
///     )
///     .launch(&device)?;
///     Ok(buffer.tensor::<f32, 3>(rank, 0, [2, 4, 2])?.download()?.split_off(8))
/// };
/// std::thread::scope(|scope| {
///     for rank in [0, 1].map(|rank| scope.spawn(move || gathered(rank))) {
///         assert_eq!(rank.join().unwrap().unwrap(), [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
///     }
/// });
/// ```
#[kernel(grid = [places])]
pub fn push_gather<T: Element>(
    buffers: &mut PeerTensors<T, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    state: &mut Tensor<u64, 1>,
    report: &mut Tensor<i64, 1>,
    src: &Tensor<T, 2>,
    first: Count,
    start: Count,
    count: Count,
    place: Count,
    end: Count,
    rows: Count,
    half: Count,
    places: Count,
    limit_ns: u64,
    #[comptime] piece: usize,
    #[comptime] waits: bool,
) {
    check(flags, state, places);
    require(buffers.extent(0) == 2 && buffers.extent(2) == src.extent(1) && buffers.len() == flags.len());
    let (rank, ranks) = (buffers.rank(), comptime(buffers.len()));
    let columns = comptime(src.extent(1));
    // The first piece is on its way while the program looks how far the others are.
    let (row, cols) = place_of(program_id(0), columns, piece);
    let value = src.load_where([first + row, cols], first + row < count.min(first + place));
    begin(flags, epoch, state, half, limit_ns);
    // Each begins with itself, so that no rank is everybody's first.
    for next in 0..ranks {
        let peer = (rank + next) % ranks;
        buffers[peer].scatter_where([half, start + row, cols], value, row < place, Conflict::Disjoint);
    }
    let others = program_id(0) + num_programs(0);
    each_piece_from(others, place, columns, piece, &mut |row, cols| {
        let from = first + row;
        let value = src.load_where([from, cols], from < count);
        for next in 0..ranks {
            let peer = (rank + next) % ranks;
            buffers[peer].scatter([half, start + row, cols], value, Conflict::Disjoint);
        }
    });
    zero_rows(buffers.own_mut(), half, end, rows, columns, piece);
    flags.raise(program_id(0), epoch.now());
    if program_id(0) == 0 {
        report_rows(report, count - first, (src.extent(0) - first).min(place));
    }
    if waits {
        finish(flags, epoch, state, half, limit_ns);
    }
}

/// Zeroes rows of this rank's own buffer that are no rank's.
#[device]
fn zero_rows<T: Element>(
    own: &mut Tensor<T, 3>,
    half: Scalar<i64>,
    first: Scalar<i64>,
    end: Scalar<i64>,
    columns: usize,
    piece: usize,
) {
    each_piece(end - first, columns, piece, &mut |row, cols| {
        own.scatter([half, first + row, cols], zero::<T>(), Conflict::Disjoint);
    });
}

/// Waits until the rows of all ranks are there that the last [`push_gather()`] has begun to gather: launches behind it find them.
///
/// * The arguments are those of that launch; the epoch is read.
#[kernel(grid = [places])]
pub fn await_gather(
    flags: &PeerTensors<u32, 2>,
    epoch: &Epoch,
    state: &mut Tensor<u64, 1>,
    half: Count,
    places: Count,
    limit_ns: u64,
) {
    check(flags, state, places);
    finish(flags, epoch, state, half, limit_ns);
}

/// Gathers rows that are in this rank's own buffer already, such as sums: stores rows `start..start + place` of the half into
/// the same rows of its peers' buffers.
///
/// * Otherwise as [`push_gather()`], which waits.
#[kernel(grid = [places])]
pub fn push_own_rows<T: Element>(
    buffers: &mut PeerTensors<T, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    state: &mut Tensor<u64, 1>,
    start: Count,
    place: Count,
    end: Count,
    rows: Count,
    half: Count,
    places: Count,
    limit_ns: u64,
    #[comptime] piece: usize,
) {
    check(flags, state, places);
    require(buffers.extent(0) == 2 && buffers.len() == flags.len());
    begin(flags, epoch, state, half, limit_ns);
    let (rank, ranks) = (buffers.rank(), comptime(buffers.len()));
    let columns = comptime(buffers.extent(2));
    each_piece(place, columns, piece, &mut |row, cols| {
        let row = start + row;
        let value = buffers.own().load([half, row, cols]);
        for next in 1..ranks {
            let peer = (rank + next) % ranks;
            buffers[peer].scatter([half, row, cols], value, Conflict::Disjoint);
        }
    });
    zero_rows(buffers.own_mut(), half, end, rows, columns, piece);
    flags.raise(program_id(0), epoch.now());
    finish(flags, epoch, state, half, limit_ns);
}

/// Gathers in 8 bits: [`push_gather()`] of rows that are quantised on their way, as by
/// [`quantize_to_slot()`](super::quantize_to_slot()), into payloads and scales, in one launch.
///
/// * `payloads` `[2, n, hidden]` and `scales` `[2, n, hidden / 128]`, one of each rank. Rows without a token are zeros with scales of
///   zero.
/// * A program moves whole rows. It waits. What reads the rows dequantises them, or
///   [`dequantize_rows()`](super::dequantize_rows()) does.
#[kernel(grid = [places])]
pub fn push_quantized<T: Number>(
    payloads: &mut PeerTensors<F8E4M3, 3>,
    scales: &mut PeerTensors<f32, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    state: &mut Tensor<u64, 1>,
    report: &mut Tensor<i64, 1>,
    src: &Tensor<T, 2>,
    first: Count,
    start: Count,
    count: Count,
    place: Count,
    end: Count,
    rows: Count,
    half: Count,
    places: Count,
    limit_ns: u64,
) {
    check(flags, state, places);
    require(payloads.extent(0) == 2 && payloads.extent(2) == src.extent(1) && payloads.len() == flags.len());
    require(scales.extent(0) == 2 && scales.extent(2) * GROUP == src.extent(1));
    let (rank, ranks) = (payloads.rank(), comptime(payloads.len()));
    // As it is known, they are an argument of the launch, and no table in memory.
    require(comptime(scales.len()) == ranks);
    let groups = arange(scales.extent(2));
    let cols = groups.expand_dims(1) * GROUP + arange(GROUP).expand_dims(0);
    // Each row is on its way while the one before is stored, and the first one while the program looks how far the others are.
    let last = count.min(first + place);
    let mut row = program_id(0);
    let mut x = src.load_where([first + row, cols], first + row < last);
    begin(flags, epoch, state, half, limit_ns);
    for _ in 0..cdiv(place - program_id(0), num_programs(0)) {
        let (to, now) = (start + row, x);
        row += num_programs(0);
        x = src.load_where([first + row, cols], first + row < last);
        let (payload, scale) = quantized(now.cast::<f32>());
        for next in 0..ranks {
            let peer = (rank + next) % ranks;
            payloads[peer].scatter([half, to, cols], payload, Conflict::Disjoint);
        }
        for next in 0..ranks {
            let peer = (rank + next) % ranks;
            scales[peer].scatter([half, to, groups], scale, Conflict::Disjoint);
        }
    }
    let columns = comptime(src.extent(1));
    zero_rows(payloads.own_mut(), half, end, rows, columns, columns);
    zero_rows(scales.own_mut(), half, end, rows, columns / GROUP, columns / GROUP);
    flags.raise(program_id(0), epoch.now());
    if program_id(0) == 0 {
        report_rows(report, count - first, (src.extent(0) - first).min(place));
    }
    finish(flags, epoch, state, half, limit_ns);
}
