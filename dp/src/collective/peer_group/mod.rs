//! Ranks that store into each other's memory.

mod reduction;
mod room;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tilewright_dsl::call::{OfRank, Runtime};
use tilewright_dsl::element::Element;
use tilewright_runtime::{DeviceError, Launch, LaunchError, Stream, TensorViewMut};

use super::exchange::repeated;
use super::{Agreement, CollectiveError, Exchange, Group, Operation, Peers, Rail, RequestedCollective, Summand};
use crate::kernels::collective::{PLACES, gather_parts, sum_all, sum_all_in_shares, sum_parts};
use crate::kernels::peers::Cut;
use crate::kernels::pieces::pitch;
pub use reduction::Reduction;
use reduction::{bytes_of, most_half_bytes};
use room::Room;

/// The most programs of a launch on the CPU device, where each takes a thread of the host.
const HOST_PLACES: u64 = 8;

/// One rank of a group whose devices reach each other's memory, with a device of its own: GPUs of one host, or CPU devices of one
/// host, in threads or processes. Each collective is one launch, of a kernel in
/// [`kernels::collective`](crate::kernels::collective), on whatever buffer, and is captured if its stream is.
///
/// Ranks meet in [staging](Self::reserve), memory that all of them reach. It grows with what is asked for, on all ranks together;
/// a graph needs it beforehand.
///
/// What ranks ask for is compared on the devices, before anything is stored into a buffer: it costs no exchange on the host.
/// A rank that does not come within the exchange's limit, or asks for something else, is an error of
/// [`finish`](Group::finish), which names it. That is the end of the group, not of its devices: what is asked for later ends at
/// once. Sums are computed in rank order, in f32 for floats below 32 bits, and rounded once: they are equal on all ranks, and
/// on every device.
///
/// A launch that waits for other ranks runs until they come. The driver loads a kernel when nothing runs on its device any more, and
/// launches there wait until it has (`benches/readings/loading-h200.txt`). What is compiled behind waits for such a moment; what a
/// launch needs itself cannot. So where several threads ask several groups of the same devices, in no order that all ranks keep, load
/// first what they launch: ask each group once for each kind of what it will be asked for (element type, columns, rows), call
/// [`Device::settle`], and begin when all ranks have. Otherwise two groups may wait for each other until the limit, which is an error.
///
/// [`Device::settle`]: tilewright_runtime::Device::settle
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tilewright_dp::collective::{CollectiveError, Exchange, Group, PeerGroup, ThreadExchange};
/// use tilewright_runtime::Device;
///
/// let exchanges = ThreadExchange::ranks(2, Duration::from_secs(10))?;
/// let rank = |exchange: ThreadExchange| -> Result<Vec<u32>, CollectiveError> {
///     let (rank, device) = (exchange.rank(), Device::cpu());
///     let group = PeerGroup::join(&device.stream(), Arc::new(exchange))?;
///     // Rank 0 has two rows, rank 1 has one.
///     let mine = [[10, 11, 0], [0, 0, 20]][rank];
///     let mut buffer = device.upload(&mine, [3, 1])?;
///     group.all_gather(&mut buffer.view_mut(), &[2, 1])?;
///     group.finish()?;
///     Ok(buffer.download()?)
/// };
/// let found: Vec<_> = std::thread::scope(|scope| {
///     let ranks: Vec<_> = exchanges.into_iter().map(|exchange| scope.spawn(move || rank(exchange))).collect();
///     ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect::<Result<_, _>>()
/// })?;
/// assert_eq!(found, [[10, 11, 20], [10, 11, 20]]);
/// # Ok::<(), CollectiveError>(())
/// ```
pub struct PeerGroup {
    shared: Arc<Shared>,
    stream: Stream,
}

struct Shared {
    peers: Arc<Peers>,
    agreement: Agreement,
    limit: Duration,
    state: Mutex<State>,
}

struct State {
    room: Room,
    /// What happened first.
    failure: Option<CollectiveError>,
}

impl PeerGroup {
    /// Joins the group of all ranks of an exchange. `stream` is one of this rank's device, which no other rank has. Waits are as
    /// long as the exchange's limit at most.
    ///
    /// # Errors
    /// The devices of two ranks do not reach each other ([`CollectiveError::Peers`]), which is an error on all ranks, or not all
    /// ranks come.
    pub fn join(stream: &Stream, exchange: Arc<dyn Exchange>) -> Result<Self, CollectiveError> {
        let limit = exchange.limit();
        let peers = Arc::new(Peers::join(stream.device(), exchange.clone())?);
        let room = Room::new(peers.clone())?;
        let agreement = Agreement::new(exchange);
        // The devices compare what is asked for.
        agreement.follow_steps();
        Ok(Self {
            shared: Arc::new(Shared {
                peers,
                agreement,
                limit,
                state: Mutex::new(State { room, failure: None }),
            }),
            stream: stream.clone(),
        })
    }

    /// The same rank with another stream of its device, such as the one that
    /// [`Device::capture`](tilewright_runtime::Device::capture) captures. What is asked for on both is in one order, which all
    /// ranks have to keep; [`finish`](Group::finish) waits for its own stream.
    ///
    /// # Errors
    /// The stream is not of the device that joined.
    pub fn on_stream(&self, stream: &Stream) -> Result<Self, CollectiveError> {
        let (own, theirs) = (self.stream.device(), stream.device());
        let ordinal = |device: &tilewright_runtime::Device| device.as_cuda().map(|cuda| cuda.ordinal());
        match (ordinal(own), ordinal(theirs)) {
            (Some(expected), Some(found)) if expected != found => Err(DeviceError::OtherDevice {
                what: "a stream",
                found,
                expected,
            }
            .into()),
            (Some(_), None) | (None, Some(_)) => Err(DeviceError::MixedPeers.into()),
            _ => Ok(Self {
                shared: self.shared.clone(),
                stream: stream.clone(),
            }),
        }
    }

    /// Room in staging for every collective of up to so many rows, after which none of these grows it: a graph cannot. What a graph
    /// launches has to be built too, as by asking for it once before. All ranks have to call it, with the same numbers.
    ///
    /// # Errors
    /// As for [`Peers::buffer`], or staging is [sealed](Self::seal).
    pub fn reserve<T: Element>(&self, rows: u64, columns: u64) -> Result<(), CollectiveError> {
        let half = most_half_bytes(self.size(), rows, row_bytes::<T>(columns))?;
        let mut state = self.shared.alive()?;
        match state.room.holds(half) {
            true => Ok(()),
            false => state.room.reserve(half),
        }
    }

    /// Refuses to grow staging from now on.
    pub fn seal(&self) {
        self.shared.state.lock().room.seal();
    }

    /// The bytes of staging that each rank has.
    pub fn staging(&self) -> usize {
        self.shared.state.lock().room.capacity()
    }

    /// What the ranks agree on. A step's exchange can go through it, which then also compares what was asked for so far.
    pub fn agreement(&self) -> &Agreement {
        &self.shared.agreement
    }

    /// As [`all_reduce`](Group::all_reduce), summed in a way that is asked for: to measure which is the faster one. All ranks have
    /// to ask for the same. The sums have the same bits.
    ///
    /// # Errors
    /// As for [`all_reduce`](Group::all_reduce).
    pub fn all_reduce_by<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        reduction: Reduction,
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::new(Operation::AllReduce, buffer, &[], self.size())?;
        if self.size() == 1 {
            return Ok(());
        }
        let row = row_bytes::<T>(request.columns);
        let half = reduction.half_bytes(self.size(), request.rows, row)?;
        let mut state = self.shared.begin(&request, half)?;
        let asked = request.fingerprint() ^ reduction as u64;
        let mut lent = state.room.lend::<T>(request.columns)?;
        let (rank, limit) = (self.rank(), self.shared.limit_ns());
        let (staging, heads) = (OfRank(rank, &mut lent.staging), OfRank(rank, &mut lent.heads));
        let (flags, epoch, done) = (OfRank(rank, &mut lent.flags), lent.epoch, lent.done);
        let buffer = buffer.reborrow();
        match reduction {
            Reduction::OneShot => {
                let (places, piece) = self.places::<T>(request.rows, request.columns);
                sum_all::<T, T::Sum>(buffer, staging, heads, flags, epoch, done, places, asked, limit, piece)
                    .launch_on(&self.stream)?
            }
            Reduction::TwoShot => {
                let share = request.rows.div_ceil(self.size() as u64);
                let (places, piece) = self.places::<T>(share, request.columns);
                sum_all_in_shares::<T, T::Sum>(buffer, staging, heads, flags, epoch, done, places, asked, limit, piece)
                    .launch_on(&self.stream)?
            }
        };
        Ok(())
    }

    /// Gathers elements by their bits.
    fn gather_bits<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        request: &RequestedCollective,
    ) -> Result<(), CollectiveError> {
        if self.size() == 1 {
            return Ok(());
        }
        let buffer = buffer.reborrow();
        match T::TYPE.size() {
            1 => self.gather::<u8>(buffer.bits()?, request),
            2 => self.gather::<u16>(buffer.bits()?, request),
            4 => self.gather::<u32>(buffer.bits()?, request),
            _ => self.gather::<u64>(buffer.bits()?, request),
        }
    }

    /// Gathers elements of a type.
    fn gather<T: Element>(
        &self,
        buffer: TensorViewMut<'_, T, 2>,
        request: &RequestedCollective,
    ) -> Result<(), CollectiveError> {
        let half = bytes_of(request.end(), row_bytes::<T>(request.columns))?;
        let mut state = self.shared.begin(request, half)?;
        let mut lent = state.room.lend::<T>(request.columns)?;
        let (rank, limit) = (self.rank(), self.shared.limit_ns());
        let (start, count) = (Runtime(request.start(rank)), Runtime(request.parts[rank]));
        let largest = request.parts.iter().copied().max().unwrap_or(0);
        let (places, piece) = self.places::<T>(largest, request.columns);
        let asked = request.fingerprint();
        let (staging, heads) = (OfRank(rank, &mut lent.staging), OfRank(rank, &mut lent.heads));
        let (flags, epoch, done) = (OfRank(rank, &mut lent.flags), lent.epoch, lent.done);
        gather_parts::<T>(
            buffer, staging, heads, flags, epoch, done, start, count, places, asked, limit, piece,
        )
        .launch_on(&self.stream)?;
        Ok(())
    }

    /// Sums this rank's part.
    fn sum_own<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        request: &RequestedCollective,
    ) -> Result<(), CollectiveError> {
        if self.size() == 1 {
            return Ok(());
        }
        let end = request.end();
        let half = bytes_of(end, row_bytes::<T>(request.columns))?;
        let mut state = self.shared.begin(request, half)?;
        let mut lent = state.room.lend::<T>(request.columns)?;
        let (rank, limit) = (self.rank(), self.shared.limit_ns());
        let (start, count) = (Runtime(request.start(rank)), Runtime(request.parts[rank]));
        let (places, piece) = self.places::<T>(end, request.columns);
        let (staging, heads) = (OfRank(rank, &mut lent.staging), OfRank(rank, &mut lent.heads));
        let (flags, epoch, done) = (OfRank(rank, &mut lent.flags), lent.epoch, lent.done);
        let (end, asked) = (Runtime(end), request.fingerprint());
        sum_parts::<T, T::Sum>(
            buffer.reborrow(),
            staging,
            heads,
            flags,
            epoch,
            done,
            start,
            count,
            end,
            places,
            asked,
            limit,
            piece,
        )
        .launch_on(&self.stream)?;
        Ok(())
    }

    /// What gives ranks their memory.
    pub(crate) fn peers(&self) -> &Arc<Peers> {
        &self.shared.peers
    }

    /// How long a launch waits.
    pub(crate) fn limit_ns(&self) -> u64 {
        self.shared.limit_ns()
    }

    /// Notes a gather without staging, unless the group is over.
    pub(crate) fn note(&self, request: &RequestedCollective) -> Result<(), CollectiveError> {
        let _state = self.shared.alive()?;
        self.shared.agreement.on(request)
    }

    /// The most programs of a launch.
    pub(crate) fn programs(&self) -> u64 {
        match self.stream.device().is_cuda() {
            true => PLACES as u64,
            false => HOST_PLACES,
        }
    }

    /// How many programs move so many rows, and the elements of the pieces they move: on every rank alike.
    fn places<T: Element>(&self, rows: u64, columns: u64) -> (Runtime, usize) {
        let cut = Cut::in_pieces(rows, columns as usize, T::TYPE.size(), self.programs());
        (Runtime(cut.places), cut.piece)
    }
}

/// The bytes of a row of staging.
fn row_bytes<T: Element>(columns: u64) -> usize {
    let columns = usize::try_from(columns).unwrap_or(usize::MAX / 16);
    pitch(columns, T::TYPE.size()).saturating_mul(T::TYPE.size())
}

impl Shared {
    /// The state, unless the group is over.
    fn alive(&self) -> Result<MutexGuard<'_, State>, CollectiveError> {
        let state = self.state.lock();
        match &state.failure {
            Some(failure) => Err(repeated(failure)),
            None => Ok(state),
        }
    }

    /// Notes what is asked for and makes sure that there is staging for it, so many bytes in each half.
    fn begin(&self, request: &RequestedCollective, half: usize) -> Result<MutexGuard<'_, State>, CollectiveError> {
        let mut state = self.alive()?;
        if !state.room.holds(half) {
            // Nobody grows alone.
            if let Err(error) = self.agreement.compare(request) {
                state.failure = Some(error.clone());
                return Err(error);
            }
            state.room.reserve(half)?;
        }
        self.agreement.on(request)?;
        Ok(state)
    }

    fn limit_ns(&self) -> u64 {
        u64::try_from(self.limit.as_nanos()).unwrap_or(u64::MAX)
    }

    /// What a launch that did not come to its end has reported, which is the end of the group.
    fn fail(&self, state: &mut State, reported: Result<(), LaunchError>) -> CollectiveError {
        let (rank, limit, soon) = (self.peers.rank(), self.limit, self.agreement.soon());
        let (found, others_wait) = match reported {
            Err(LaunchError::WaitEnded { rank: late, .. }) => {
                let missing = vec![late as usize];
                (CollectiveError::Late { rank, limit, missing }, soon)
            }
            // Who asks for something else may wait for programs that this rank has not launched.
            Err(error) => {
                let reason = error.to_string();
                (CollectiveError::Failed { reason }, limit.saturating_add(soon))
            }
            // Somebody else has taken the report.
            Ok(()) => (CollectiveError::Unfinished { rank, limit }, soon),
        };
        // The others may know better; of who is merely late, the device has said more.
        let error = match self.agreement.explain_within(found.clone(), others_wait) {
            CollectiveError::Late { .. } | CollectiveError::Failed { .. } => found,
            explained => explained,
        };
        state.failure = Some(error.clone());
        error
    }
}

impl Group for PeerGroup {
    fn rank(&self) -> usize {
        self.shared.peers.rank()
    }

    fn size(&self) -> usize {
        self.shared.peers.size()
    }

    fn stream(&self) -> &Stream {
        &self.stream
    }

    /// In one shot or two, as [`Reduction::of`] says.
    fn all_reduce<T: Summand>(&self, buffer: &mut TensorViewMut<'_, T, 2>) -> Result<(), CollectiveError> {
        let [rows, columns] = buffer.extents();
        let bytes = rows.saturating_mul(row_bytes::<T>(columns as u64));
        self.all_reduce_by(buffer, Reduction::of(self.size(), bytes))
    }

    fn all_gather<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::new(Operation::AllGather, buffer, parts, self.size())?;
        self.gather_bits(buffer, &request)
    }

    fn reduce_scatter<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::new(Operation::ReduceScatter, buffer, parts, self.size())?;
        self.sum_own(buffer, &request)
    }

    /// Waits until this rank has what it asked for.
    ///
    /// # Errors
    /// A rank did not come within the limit, is gone, or asked for something else; or the device failed.
    fn finish(&self) -> Result<(), CollectiveError> {
        self.stream.synchronize()?;
        let mut state = self.shared.alive()?;
        let is_whole = state.room.is_whole()?;
        // Gathers without staging tell of it by their reports alone.
        match (is_whole, self.stream.device().reported()) {
            (true, Ok(())) => Ok(()),
            (_, reported) => Err(self.shared.fail(&mut state, reported)),
        }
    }
}

/// Staging has room for all rows up to the end of the last part, those between parts among them.
impl Rail for PeerGroup {
    fn all_gather_at<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::at(Operation::AllGather, buffer, places, self.size())?;
        self.gather_bits(buffer, &request)
    }

    fn reduce_scatter_at<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::at(Operation::ReduceScatter, buffer, places, self.size())?;
        self.sum_own(buffer, &request)
    }
}

impl fmt::Debug for PeerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerGroup({:?})", self.shared.peers)
    }
}
