//! Collectives between hosts, of parts that lie anywhere.

use std::ops::Range;

use tilewright_dsl::element::Element;
use tilewright_runtime::TensorViewMut;

use crate::collective::{CollectiveError, Group, Summand};

/// A group whose ranks' parts may begin anywhere in the buffer, as those of one rank of each host do: what goes between the hosts of
/// a [`HostsGroup`](super::HostsGroup).
///
/// ```
/// use std::time::Duration;
/// use tilewright_dp::collective::{CollectiveError, Group, LocalGroup, Rail};
/// use tilewright_runtime::Device;
///
/// let device = Device::cpu();
/// let ranks = LocalGroup::ranks(&device, 2, Duration::from_secs(10))?;
/// let found: Vec<Vec<u32>> = std::thread::scope(|scope| {
///     let run = |group: LocalGroup| {
///         // Row 1 is of rank 0, and row 3 of rank 1.
///         let mine = [[1, 10, 3, 4], [5, 6, 7, 20]][group.rank()];
///         let mut buffer = group.stream().device().upload(&mine, [4, 1])?;
///         group.all_gather_at(&mut buffer.view_mut(), &[1..2, 3..4])?;
///         group.finish()?;
///         Ok(buffer.download()?)
///     };
///     let threads: Vec<_> = ranks.into_iter().map(|group| scope.spawn(move || run(group))).collect();
///     threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<_, CollectiveError>>()
/// })?;
/// assert_eq!(found, [[1, 10, 3, 20], [5, 10, 7, 20]]);
/// # Ok::<(), CollectiveError>(())
/// ```
pub trait Rail: Group {
    /// Every rank's part becomes what that rank has in it. `places` are the rows of each rank, of which no two overlap; rows of no
    /// rank keep their values. Where they follow each other from row 0 on, it is an [`all_gather`](Group::all_gather).
    ///
    /// # Errors
    /// There are more or fewer parts than ranks, two overlap or one is not in the buffer; or as for
    /// [`all_reduce`](Group::all_reduce).
    fn all_gather_at<T: Element>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), CollectiveError>;

    /// This rank's part becomes the sum of it on all ranks. The other parts hold anything afterwards, and rows of no rank keep their
    /// values. Where they follow each other from row 0 on, it is a [`reduce_scatter`](Group::reduce_scatter).
    ///
    /// # Errors
    /// As for [`all_gather_at`](Self::all_gather_at).
    fn reduce_scatter_at<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        places: &[Range<u64>],
    ) -> Result<(), CollectiveError>;
}
