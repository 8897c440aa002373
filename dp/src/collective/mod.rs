//! Collectives: how ranks bring their rows together.
//!
//! A [`Group`] is one rank's end of a group of ranks. Every operation works in place on a buffer whose rows are divided into
//! one part for each rank, equal or not: before an all-gather a rank has filled its own part, after a reduce-scatter its
//! own part holds the sum. So no operation needs a second buffer, and none can be given one that overlaps the first.
//!
//! * [`LocalGroup`]: ranks that are threads of one process and share a device, the CPU device or a GPU. Rows really move, and
//!   every sum is compared with the host's.
//! * [`PeerGroup`]: one device for each rank, in threads or processes of one host, whose kernels store into each other's memory.
//! * `NcclGroup`, with the feature `nccl`: one GPU for each rank, through NCCL.
//! * [`HostsGroup`]: ranks of several hosts, by one of these within each host and by another between them, each row crossing once.
//!
//! [`AnyGroup`] is the one that devices and hosts allow: peers on one host, peers and NCCL on several, or NCCL alone.
//!
//! All ranks of a group have to ask for the same things in the same order. A rank that asks for something else, or nothing,
//! is an error on every rank, after the group's time limit at the latest: what is asked is compared on the host, through an
//! [`Exchange`], as [`Agreement`] says, and by a [`PeerGroup`] on the devices.
//!
//! [`Peers`] gives ranks memory that all of them reach, threads and processes alike, where the devices do.
//!
//! Ranks that are processes meet over TCP ([`TcpExchange`]), where their launcher says ([`Rendezvous`]).

mod agreement;
mod any_group;
mod error;
mod exchange;
mod hosts;
mod local;
#[cfg(feature = "nccl")]
mod nccl;
mod peer_group;
mod peers;
mod rendezvous;
mod request;
mod tcp;

pub use agreement::{Agreement, StepExchangeError};
pub use any_group::AnyGroup;
pub use error::{CollectiveError, Refusal};
pub use exchange::{Exchange, ThreadExchange};
pub use hosts::{Hosts, HostsError, HostsGroup, Rail};
pub use local::LocalGroup;
#[cfg(feature = "nccl")]
pub use nccl::NcclGroup;
pub use peer_group::{PeerGroup, Reduction};
pub use peers::{Apart, PeerArena, Peers, PeersError};
pub use rendezvous::{Rendezvous, RendezvousError};
pub use request::{Operation, RequestedCollective};
pub use tcp::TcpExchange;

use tilewright_dsl::element::{Element, Number};
use tilewright_runtime::{Stream, TensorViewMut};

use crate::plan::MAX_RANKS;

/// One rank's end of a group of ranks.
///
/// ```
/// use std::time::Duration;
/// use tilewright_dp::collective::{CollectiveError, Group, LocalGroup};
/// use tilewright_runtime::Device;
///
/// let device = Device::cpu();
/// let ranks = LocalGroup::ranks(&device, 2, Duration::from_secs(10))?;
/// let sums: Vec<Vec<f32>> = std::thread::scope(|scope| {
///     let run = |group: LocalGroup| {
///         let mine = 1.0 + group.rank() as f32;
///         let mut buffer = group.stream().device().upload(&[mine, 10.0 * mine], [2, 1])?;
///         group.all_reduce(&mut buffer.view_mut())?;
///         group.finish()?;
///         Ok(buffer.download()?)
///     };
///     let threads: Vec<_> = ranks.into_iter().map(|group| scope.spawn(move || run(group))).collect();
///     threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<_, CollectiveError>>()
/// })?;
/// assert_eq!(sums, [[3.0, 30.0], [3.0, 30.0]]);
/// # Ok::<(), CollectiveError>(())
/// ```
pub trait Group {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// The stream that the rows move on, and the device.
    fn stream(&self) -> &Stream;

    /// Every row becomes the sum of that row on all ranks. Floats below 32 bits are summed in f32, in rank order, by
    /// [`LocalGroup`] and [`PeerGroup`], and as NCCL does it by `NcclGroup`; a [`HostsGroup`] sums within hosts first, and rounds
    /// there too. A sum of floats keeps neither the sign of a zero nor the payload of a NaN.
    ///
    /// # Errors
    /// Ranks disagree, one of them is gone or late, or the device fails.
    fn all_reduce<T: Summand>(&self, buffer: &mut TensorViewMut<'_, T, 2>) -> Result<(), CollectiveError>;

    /// Every rank's part becomes what that rank has in it. `parts` are the rows of each rank, one after the other from row 0;
    /// rows after the last part keep their values.
    ///
    /// # Errors
    /// There are more or fewer parts than ranks, or more rows in them than in the buffer; or as for
    /// [`all_reduce`](Self::all_reduce).
    fn all_gather<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError>;

    /// This rank's part becomes the sum of it on all ranks. The other parts hold anything afterwards.
    ///
    /// # Errors
    /// As for [`all_gather`](Self::all_gather).
    fn reduce_scatter<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        parts: &[u64],
    ) -> Result<(), CollectiveError>;

    /// Waits until this rank has what it asked for. Of a [`HostsGroup`] all ranks have to call it.
    ///
    /// # Errors
    /// A rank is gone, the group's time is over, or the device failed.
    fn finish(&self) -> Result<(), CollectiveError>;
}

/// A number that ranks can sum.
pub trait Summand: Number {
    /// The type that sums are computed in.
    type Sum: Number;
}

macro_rules! summands {
    ($($element:ty => $sum:ty),*) => {$(
        impl Summand for $element {
            type Sum = $sum;
        }
    )*};
}
summands!(half::f16 => f32, half::bf16 => f32, f32 => f32, f64 => f64);
summands!(i8 => i8, i16 => i16, i32 => i32, i64 => i64, u8 => u8, u16 => u16, u32 => u32, u64 => u64);

/// Refuses a group of no ranks, or of more than a [plan](crate::plan) can be of.
fn check_ranks(ranks: usize) -> Result<(), CollectiveError> {
    match (1..=MAX_RANKS).contains(&(ranks as u64)) {
        true => Ok(()),
        false => Err(CollectiveError::WrongNumberOfRanks { ranks }),
    }
}

/// Rows divided among ranks as equally as can be, larger and smaller parts mixed.
pub(crate) fn even_parts(rows: u64, ranks: usize) -> impl Iterator<Item = u64> {
    let ranks = ranks as u64;
    (0..ranks).map(move |rank| rows * (rank + 1) / ranks - rows * rank / ranks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_equal_as_can_be() {
        assert!(even_parts(10, 4).eq([2, 3, 2, 3]));
        assert!(even_parts(0, 3).eq([0, 0, 0]));
        assert_eq!(even_parts(2, 5).sum::<u64>(), 2);
    }
}
