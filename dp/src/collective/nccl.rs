//! Ranks that have a GPU each.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tilewright_dsl::element::Element;
use tilewright_runtime::communicator::Communicator;
use tilewright_runtime::device::cuda::{NcclError, NcclId, UnequalGather};
use tilewright_runtime::{Stream, TensorViewMut};

use super::{
    Agreement, CollectiveError, Exchange, Group, Operation, Rail, RequestedCollective, Summand, ThreadExchange,
};

/// One rank of a group of GPUs that NCCL connects. Collectives are put into a stream, and captured if it is; a graph keeps
/// what it needs of the group.
///
/// What ranks ask for is compared through the [`Exchange`] as [`Agreement`] says: with the exchange of each step, or before the
/// first collective of each shape. A rank that dies later is found by [`finish`](Group::finish) within the exchange's limit,
/// which asks the others then what went wrong, and the group is over.
///
/// Ranks [leave](Self::leave) together; what dropping one waits for, [`Communicator`] says.
pub struct NcclGroup {
    communicator: Communicator,
    agreement: Arc<Agreement>,
}

impl NcclGroup {
    /// Joins the group of all ranks of an exchange. `stream` is one of this rank's GPU.
    ///
    /// # Errors
    /// NCCL is missing or fails, or not all ranks come.
    pub fn join(stream: &Stream, exchange: Arc<dyn Exchange>) -> Result<Self, CollectiveError> {
        // Rank 0 names the group. If it cannot, the others must hear of that too.
        let named = (exchange.rank() == 0).then(new_name).transpose();
        let words = named
            .as_ref()
            .map_or(&[][..], |words| words.as_deref().unwrap_or_default());
        let all = exchange.all_gather(words)?;
        named?;
        let id = id_of(all.first().map_or(&[], Vec::as_slice))?;
        let (rank, size, limit) = (exchange.rank(), exchange.size(), exchange.limit());
        Ok(Self {
            communicator: Communicator::join(stream, &id, rank, size, limit)?,
            agreement: Arc::new(Agreement::new(exchange)),
        })
    }

    /// A group within a larger one, which compares what is asked for and explains what goes wrong: it exchanges nothing.
    pub(super) fn join_within(
        stream: &Stream,
        name: &[u64],
        rank: usize,
        size: usize,
        limit: Duration,
    ) -> Result<Self, CollectiveError> {
        let alone = ThreadExchange::ranks(1, limit)?.remove(0);
        Ok(Self {
            communicator: Communicator::join(stream, &id_of(name)?, rank, size, limit)?,
            agreement: Arc::new(Agreement::new(Arc::new(alone))),
        })
    }

    /// The same rank with another stream of its GPU, such as the one that
    /// [`Device::capture`](tilewright_runtime::Device::capture) captures. What is asked for on both is compared as one;
    /// [`finish`](Group::finish) waits for its own stream, such as that which a graph is launched into.
    ///
    /// # Errors
    /// The stream is not of the GPU that joined.
    pub fn on_stream(&self, stream: &Stream) -> Result<Self, CollectiveError> {
        Ok(Self {
            communicator: self.communicator.on_stream(stream)?,
            agreement: self.agreement.clone(),
        })
    }

    /// As [`all_gather`](Group::all_gather), and says how parts that are not equal are gathered: to measure which way is the
    /// faster one. All ranks have to say the same.
    ///
    /// # Errors
    /// As for [`all_gather`](Group::all_gather).
    pub fn all_gather_by<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
        unequal: UnequalGather,
    ) -> Result<(), CollectiveError> {
        self.agree(Operation::AllGather, buffer, parts)?;
        Ok(self.communicator.all_gather_by(buffer, parts, unequal)?)
    }

    /// Waits until all ranks have what they asked for, and leaves with them: whatever a rank drops or frees afterwards, no
    /// other needs any more. All ranks have to call it. Graphs and handles on other streams keep what they need of the group.
    ///
    /// # Errors
    /// As for [`finish`](Group::finish); or a rank did not come to leave within the limit, or asked for something else. This
    /// rank has left in any case.
    pub fn leave(self) -> Result<(), CollectiveError> {
        self.finish()?;
        self.agreement.leave()
    }

    /// What the ranks agreed on. A step's exchange goes through it, so that the collectives that follow from it need none of
    /// their own.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    fn agree<T: Element>(
        &self,
        operation: Operation,
        buffer: &TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::new(operation, buffer, parts, self.size())?;
        self.agreement.on(&request)
    }
}

/// A new group's name, as words that its ranks are told.
pub(super) fn new_name() -> Result<Vec<u64>, NcclError> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    Ok(Communicator::new_id()?.chunks_exact(8).map(word).collect())
}

fn id_of(name: &[u64]) -> Result<NcclId, CollectiveError> {
    let bytes: Vec<u8> = name.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.try_into().map_err(|_| CollectiveError::Failed {
        reason: "rank 0 could not name the group; its error says why".to_owned(),
    })
}

impl fmt::Debug for NcclGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NcclGroup(rank {} of {})", self.rank(), self.size())
    }
}

impl Group for NcclGroup {
    fn rank(&self) -> usize {
        self.communicator.rank()
    }

    fn size(&self) -> usize {
        self.communicator.size()
    }

    fn stream(&self) -> &Stream {
        self.communicator.stream()
    }

    fn all_reduce<T: Summand>(&self, buffer: &mut TensorViewMut<'_, T, 2>) -> Result<(), CollectiveError> {
        self.agree(Operation::AllReduce, buffer, &[])?;
        Ok(self.communicator.all_reduce(buffer)?)
    }

    fn all_gather<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        self.agree(Operation::AllGather, buffer, parts)?;
        Ok(self.communicator.all_gather(buffer, parts)?)
    }

    fn reduce_scatter<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError> {
        self.agree(Operation::ReduceScatter, buffer, parts)?;
        Ok(self.communicator.reduce_scatter(buffer, parts)?)
    }

    fn finish(&self) -> Result<(), CollectiveError> {
        self.communicator.finish().map_err(|error| match error {
            NcclError::Late { limit, .. } => {
                let rank = self.rank();
                self.agreement.explain(CollectiveError::Unfinished { rank, limit })
            }
            NcclError::Failed { .. } => self.agreement.explain(error.into()),
            other => other.into(),
        })
    }
}

impl Rail for NcclGroup {
    fn all_gather_at<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::at(Operation::AllGather, buffer, places, self.size())?;
        self.agreement.on(&request)?;
        Ok(self.communicator.all_gather_at(buffer, places)?)
    }

    fn reduce_scatter_at<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), CollectiveError> {
        let request = RequestedCollective::at(Operation::ReduceScatter, buffer, places, self.size())?;
        self.agreement.on(&request)?;
        Ok(self.communicator.reduce_scatter_at(buffer, places)?)
    }
}
