//! Collectives through memory that peers reach, each one launch, in place on any buffer.
//!
//! They meet in *staging*: memory of every rank that all of them reach, of two halves used by turns, of which
//! [`Epoch::half`] says which one a launch fills. Who comes past a wait of this epoch knows that all ranks are done with the
//! one before, so nobody stores where a slower rank still reads.
//!
//! What all of them take:
//!
//! * `buffer` `[rows, hidden]`, the rank's own, which only this rank reads and writes. A row is moved in pieces, and the
//!   programs, `places` of them, take the pieces by turns, on every rank alike: so a program waits for the programs of its own
//!   number alone. All ranks pass the same number.
//! * `staging` `[2, n, pitch]`, `heads` `[2, ranks * PLACES, 4]` and `flags` `[ranks, 2 * PLACES]`, one of each rank; `pitch` is
//!   `hidden` rounded up to whole 16 bytes. The flags are zero at first.
//! * `epoch` counts this rank's launches, and `done` `[PLACES]` those that came to their end; both are zero at first. A launch
//!   whose rank has not come to the end of an earlier one reports that at once, since it is out of step with its peers.
//! * `request` is a number for what is asked for. Ranks that ask for different things report that, before anything is stored into
//!   `buffer`. What is beyond staging or a buffer is left out.
//! * `piece` is the elements of a piece: whole units of 16 bytes, the fewer the more programs share a row.
//! * A rank that does not come within `limit_ns` nanoseconds is reported with its number.
//!
//! Reports are those of [`Device::synchronize`](tilewright_runtime::Device::synchronize).
//! [`PeerGroup`](crate::collective::PeerGroup) launches these, and has the memory.
//!
//! ```
//! use tilewright_dp::kernels::collective::*;
//! use tilewright_dsl::call::{OfRank, Runtime};
//! use tilewright_runtime::{Device, Launch, PeerBuffer, PeerMemory};
//!
//! // Two ranks, each a thread with a device of its own, whose buffers have three rows.
//! let memory = [(); 2].map(|()| PeerMemory::new(&Device::cpu(), 1 << 16).unwrap());
//! let collectives = |rank: usize| -> Result<Vec<Vec<i32>>, Box<dyn std::error::Error + Send + Sync>> {
//!     let device = Device::cpu();
//!     let mut staging = PeerBuffer::new(&device, rank, &memory)?;
//!     let mut heads = staging.split_off(4096)?;
//!     let mut flags = heads.split_off(2 * 2 * PLACES * HEAD * 8)?;
//!     let mut staging = staging.tensors_mut::<i32, 3>(0, [2, 8, 4])?;
//!     let mut heads = heads.tensors_mut(0, [2, 2 * PLACES, HEAD])?;
//!     let mut flags = flags.tensors_mut(0, [2, 2 * PLACES])?;
//!     let (mut epoch, mut done) = (device.zeros([1])?, device.zeros([PLACES])?);
//!     // Rank 0 has two rows of them, rank 1 has one. A piece of a row is of four elements.
//!     let [start, count] = [[0, 2], [2, 1]][rank].map(Runtime);
//!     let (total, places, piece, limit_ns) = (Runtime(3), Runtime(1), 4, 10_000_000_000);
//!     let mut all = Vec::new();
//!     for request in 0..4 {
//!         let mut buffer = device.upload(&[[1, 2, 3], [10, 20, 30]][rank], [3, 1])?;
//!         let (s, h) = (OfRank(rank, &mut staging), OfRank(rank, &mut heads));
//!         let (f, e, d) = (OfRank(rank, &mut flags), &mut epoch, &mut done);
//!         let call = match request {
//!             0 => gather_parts::<i32>(&mut buffer, s, h, f, e, d, start, count, places, request, limit_ns, piece),
//!             1 => sum_parts::<i32, i32>(
//!                 &mut buffer, s, h, f, e, d, start, count, total, places, request, limit_ns, piece,
//!             ),
//!             2 => sum_all::<i32, i32>(&mut buffer, s, h, f, e, d, places, request, limit_ns, piece),
//!             _ => sum_all_in_shares::<i32, i32>(&mut buffer, s, h, f, e, d, places, request, limit_ns, piece),
//!         };
//!         call.launch(&device)?;
//!         all.push(buffer.download()?);
//!     }
//!     Ok(all)
//! };
//! let found = std::thread::scope(|scope| {
//!     let ranks = [0, 1].map(|rank| scope.spawn(move || collectives(rank)));
//!     ranks.map(|rank| rank.join().unwrap().unwrap())
//! });
//! assert_eq!(found[0], [[1, 2, 30], [11, 22, 3], [11, 22, 33], [11, 22, 33]]);
//! assert_eq!(found[1], [[1, 2, 30], [10, 20, 33], [11, 22, 33], [11, 22, 33]]);
//! ```

use tilewright_dsl::{device, kernel, lang::*};

use super::pieces::{each_piece, pitch};

/// The most programs of a launch: all of them have to run at the same time, since those of one rank wait for those of others.
pub const PLACES: usize = 128;

/// Words of a head: what is asked for, where the rank's rows begin, how many they are, and one that makes it whole.
pub const HEAD: usize = 4;

/// Begins a launch, unless an earlier one did not come to its end; there has to be a place for each program, and staging for
/// the rows of `buffer`.
#[device]
fn begin<T: Element>(
    buffer: &Tensor<T, 2>,
    staging: &PeerTensors<T, 3>,
    heads: &PeerTensors<u64, 3>,
    flags: &PeerTensors<u32, 2>,
    epoch: &Epoch,
    done: &Tensor<u32, 1>,
    places: Scalar<i64>,
) {
    let ranks = comptime(staging.len());
    require(
        heads.len() == ranks && heads.extent(0) == 2 && heads.extent(1) == ranks * PLACES && heads.extent(2) == HEAD,
    );
    require(flags.len() == ranks && flags.extent(0) == ranks && flags.extent(1) == 2 * PLACES);
    require(places <= PLACES);
    require(staging.extent(0) == 2 && staging.extent(2) == pitch(comptime(buffer.extent(1)), T::TYPE.size()));
    let ended = done.load([program_id(0)]);
    device_assert(
        ended + 1 == epoch.now(),
        "an earlier collective of this rank's group did not come to its end",
    );
}

/// Ends it, for the places of this program and those beyond the programs that are its by turns.
#[device]
fn end(done: &mut Tensor<u32, 1>, epoch: &Epoch) {
    let place = arange(PLACES);
    done.store_where([place], epoch.now(), place % num_programs(0) == program_id(0));
}

/// Tells all ranks what this one asks for and which rows it has stored, and waits until all have told it.
#[device]
fn meet(
    heads: &mut PeerTensors<u64, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &Epoch,
    [request, start, count]: [Scalar<u64>; 3],
    limit_ns: Scalar<u64>,
) {
    let (program, rank, half, ranks) = (program_id(0), heads.rank(), epoch.half(), comptime(heads.len()));
    let word = arange(HEAD);
    let head = select(word == 0, request, select(word == 1, start, count));
    for next in 0..ranks {
        heads[(rank + next) % ranks].store([half, rank * PLACES + program, word], head);
    }
    flags.raise(program, epoch.now());
    flags.wait_with(program, epoch.now(), WaitOptions::new().limit_ns(limit_ns));
    let asked = heads.own().load([half, arange(ranks) * PLACES + program, 0]);
    device_assert(asked == request, "ranks ask for different collectives");
}

/// The sum of what ranks have, in their order.
#[device]
fn in_rank_order<S: Number>(ranks: usize, of_rank: impl Fn(usize) -> Tile<S, 1>) -> Tile<S, 1> {
    (1..ranks).fold(of_rank(0), |sum, rank| sum + of_rank(rank))
}

/// Gathers: every rank's rows `start..start + count` of its buffer become the same rows of all buffers.
///
/// * `start` and `count` are this rank's, and no two ranks' rows overlap; rows of no rank keep their values. Elements are moved as
///   raw bits. See [here](self) for the rest.
/// * The rank stores its rows into the staging of its peers, waits for theirs, and copies these out of its own.
/// * Specialised for the type, `hidden` and the number of ranks.
#[kernel(grid = [places])]
pub fn gather_parts<T: Element>(
    buffer: &mut Tensor<T, 2>,
    staging: &mut PeerTensors<T, 3>,
    heads: &mut PeerTensors<u64, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    done: &mut Tensor<u32, 1>,
    start: Count,
    count: Count,
    places: Count,
    request: u64,
    limit_ns: u64,
    #[comptime] piece: usize,
) {
    begin(buffer, staging, heads, flags, epoch, done, places);
    let (rank, half, ranks) = (staging.rank(), epoch.half(), comptime(staging.len()));
    let (columns, pitch) = (comptime(buffer.extent(1)), comptime(staging.extent(2)));
    each_piece(count, columns, piece, &mut |row, cols| {
        let value = buffer.load([start + row, cols]);
        // Each begins with its neighbour, so that no rank is everybody's first.
        for next in 1..ranks {
            let peer = (rank + next) % ranks;
            staging[peer].store_where([half, start + row, cols], value, cols < pitch);
        }
    });
    meet(
        heads,
        flags,
        epoch,
        [request, start.cast::<u64>(), count.cast::<u64>()],
        limit_ns,
    );
    for next in 1..ranks {
        let head = (rank + next) % ranks * PLACES + program_id(0);
        let start = heads.own().load([half, head, 1]).cast::<i64>();
        let count = heads.own().load([half, head, 2]).cast::<i64>();
        each_piece(count, columns, piece, &mut |row, cols| {
            let value = staging.own().load_where([half, start + row, cols], cols < pitch);
            buffer.store([start + row, cols], value);
        });
    }
    end(done, epoch);
}

/// Sums parts: rows `start..start + count` become the sum of these rows over all ranks' buffers; other rows keep their values.
///
/// * `start` and `count` are this rank's, and `total` is the rows of all ranks' parts, from row 0 on, the same on all. See
///   [here](self) for the rest.
/// * The rank lays its rows down in its own staging, and its peers come for theirs. Sums are computed in rank order in `S`,
///   and rounded once.
/// * Specialised for the types, `hidden` and the number of ranks.
#[kernel(grid = [places])]
pub fn sum_parts<T: Number, S: Number>(
    buffer: &mut Tensor<T, 2>,
    staging: &mut PeerTensors<T, 3>,
    heads: &mut PeerTensors<u64, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    done: &mut Tensor<u32, 1>,
    start: Count,
    count: Count,
    total: Count,
    places: Count,
    request: u64,
    limit_ns: u64,
    #[comptime] piece: usize,
) {
    begin(buffer, staging, heads, flags, epoch, done, places);
    let (program, programs, half, ranks) = (program_id(0), num_programs(0), epoch.half(), comptime(staging.len()));
    let (columns, pitch) = (comptime(buffer.extent(1)), comptime(staging.extent(2)));
    each_piece(total, columns, piece, &mut |row, cols| {
        let value = buffer.load([row, cols]);
        staging.own_mut().store_where([half, row, cols], value, cols < pitch);
    });
    meet(
        heads,
        flags,
        epoch,
        [request, start.cast::<u64>(), count.cast::<u64>()],
        limit_ns,
    );
    // The pieces of the part whose turn is this program's, as all ranks count them.
    let pieces = columns.div_ceil(piece);
    let first = start * pieces;
    let skipped = (program + programs - first % programs) % programs;
    for trip in 0..cdiv(count * pieces - skipped, programs) {
        let unit = first + skipped + trip * programs;
        let (row, cols) = (unit / pieces, arange(piece) + unit % pieces * piece);
        let sum = in_rank_order(ranks, |rank| {
            staging[rank].load_where([half, row, cols], cols < pitch).cast::<S>()
        });
        buffer.store([row, cols], sum.cast::<T>());
    }
    end(done, epoch);
}

/// Sums all rows over all ranks' buffers, in one shot: every rank stores its rows to every other one, and sums all.
///
/// * All ranks' buffers have the same extents. See [here](self) for the rest.
/// * Sums are computed in rank order in `S`, and rounded once. A half of staging holds the rows of all ranks.
/// * Specialised for the types, `hidden` and the number of ranks.
#[kernel(grid = [places])]
pub fn sum_all<T: Number, S: Number>(
    buffer: &mut Tensor<T, 2>,
    staging: &mut PeerTensors<T, 3>,
    heads: &mut PeerTensors<u64, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    done: &mut Tensor<u32, 1>,
    places: Count,
    request: u64,
    limit_ns: u64,
    #[comptime] piece: usize,
) {
    begin(buffer, staging, heads, flags, epoch, done, places);
    let (rank, half, ranks) = (staging.rank(), epoch.half(), comptime(staging.len()));
    let (rows, columns, pitch) = (
        buffer.extent(0),
        comptime(buffer.extent(1)),
        comptime(staging.extent(2)),
    );
    each_piece(rows, columns, piece, &mut |row, cols| {
        let value = buffer.load([row, cols]);
        for next in 0..ranks {
            let peer = (rank + next) % ranks;
            staging[peer].store_where([half, rank * rows + row, cols], value, cols < pitch);
        }
    });
    meet(heads, flags, epoch, [request, zero::<u64>(), zero::<u64>()], limit_ns);
    each_piece(rows, columns, piece, &mut |row, cols| {
        let sum = in_rank_order(ranks, |rank| {
            let from = rows * rank + row;
            staging.own().load_where([half, from, cols], cols < pitch).cast::<S>()
        });
        buffer.store([row, cols], sum.cast::<T>());
    });
    end(done, epoch);
}

/// Sums all rows over all ranks' buffers, in two shots: every rank sums a share of the rows, and stores it to every other one.
///
/// * As [`sum_all()`], with the same bits; a half of staging holds the rows of the shares twice. A share is the rows over the
///   ranks, rounded up, so that the last ranks may have less.
#[kernel(grid = [places])]
pub fn sum_all_in_shares<T: Number, S: Number>(
    buffer: &mut Tensor<T, 2>,
    staging: &mut PeerTensors<T, 3>,
    heads: &mut PeerTensors<u64, 3>,
    flags: &mut PeerTensors<u32, 2>,
    epoch: &mut Epoch,
    done: &mut Tensor<u32, 1>,
    places: Count,
    request: u64,
    limit_ns: u64,
    #[comptime] piece: usize,
) {
    begin(buffer, staging, heads, flags, epoch, done, places);
    let (rank, half, ranks) = (staging.rank(), epoch.half(), comptime(staging.len()));
    let (rows, columns, pitch) = (
        buffer.extent(0),
        comptime(buffer.extent(1)),
        comptime(staging.extent(2)),
    );
    let share = cdiv(rows, ranks);
    let of_share = |rank: Scalar<i64>| share.min(rows - rank * share);
    // In staging, what each rank has of this one's share, and then the sums of all shares.
    let sums = share * ranks;
    for next in 0..ranks {
        let peer = (rank + next) % ranks;
        each_piece(of_share(peer), columns, piece, &mut |row, cols| {
            let value = buffer.load([peer * share + row, cols]);
            staging[peer].store_where([half, rank * share + row, cols], value, cols < pitch);
        });
    }
    meet(heads, flags, epoch, [request, zero::<u64>(), zero::<u64>()], limit_ns);
    each_piece(of_share(rank), columns, piece, &mut |row, cols| {
        let sum = in_rank_order(ranks, |rank| {
            let from = share * rank + row;
            staging.own().load_where([half, from, cols], cols < pitch).cast::<S>()
        });
        let (sum, to) = (sum.cast::<T>(), rank * share + row);
        buffer.store([to, cols], sum);
        for next in 1..ranks {
            let peer = (rank + next) % ranks;
            staging[peer].store_where([half, sums + to, cols], sum, cols < pitch);
        }
    });
    let place = program_id(0) + PLACES;
    flags.raise(place, epoch.now());
    flags.wait_with(place, epoch.now(), WaitOptions::new().limit_ns(limit_ns));
    for next in 1..ranks {
        let peer = (rank + next) % ranks;
        each_piece(of_share(peer), columns, piece, &mut |row, cols| {
            let row = peer * share + row;
            let value = staging.own().load_where([half, sums + row, cols], cols < pitch);
            buffer.store([row, cols], value);
        });
    }
    end(done, epoch);
}
