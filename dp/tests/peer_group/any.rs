//! Which group serves ranks whose devices reach each other, or do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tilewright_dp::collective::{AnyGroup, CollectiveError, Exchange, Group, PeersError};

use super::place::{AMPLE, Place, for_each_place, on_exchanges};

/// An exchange through which rank 1 says that its device does not reach that of rank 0.
struct Unreached {
    inner: Arc<dyn Exchange>,
    calls: AtomicUsize,
}

impl Exchange for Unreached {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn limit(&self) -> Duration {
        self.inner.limit()
    }

    fn all_gather(&self, words: &[u64]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        // First ranks say on which host they are, if NCCL could serve several, then where, and then whom they reach.
        let verdict = 1 + usize::from(cfg!(feature = "nccl"));
        let is_verdict = self.calls.fetch_add(1, Relaxed) == verdict;
        match is_verdict && self.rank() == 1 {
            true => self.inner.all_gather(&[3, 0]),
            false => self.inner.all_gather(words),
        }
    }
}

fn gathers(group: &AnyGroup) {
    let (rank, ranks) = (group.rank(), group.size());
    let device = group.stream().device();
    let mut mine = vec![0u32; ranks];
    mine[rank] = 10 + rank as u32;
    let mut buffer = device.upload(&mine, [ranks, 1]).unwrap();
    group.all_gather(&mut buffer.view_mut(), &vec![1; ranks]).unwrap();
    group.all_reduce(&mut buffer.view_mut()).unwrap();
    group.reduce_scatter(&mut buffer.view_mut(), &vec![1; ranks]).unwrap();
    group.finish().unwrap();
    let factor = (ranks * ranks) as u32;
    assert_eq!(buffer.download().unwrap()[rank], factor * (10 + rank as u32));
}

#[test]
fn ranks_whose_devices_reach_each_other_store_to_peers() {
    for_each_place(&[1, 2, 3], |place, ranks| {
        on_exchanges(ranks, AMPLE, |rank, exchange| {
            let stream = place.device(rank).stream();
            let group = AnyGroup::join(&stream, exchange).unwrap();
            assert!(group.why().is_none());
            gathers(&group);
            gathers(&group.on_stream(&stream).unwrap());
        });
    });
}

#[test]
fn ranks_whose_devices_do_not_have_nccl_and_are_told_why_or_have_the_same_error() {
    let has_nccl = cfg!(feature = "nccl");
    for_each_place(&[2], |place, ranks| {
        on_exchanges(ranks, AMPLE, |rank, inner| {
            let calls = AtomicUsize::new(0);
            let exchange = Arc::new(Unreached { inner, calls });
            let group = AnyGroup::join(&place.device(rank).stream(), exchange);
            let is_told = |error: &CollectiveError| {
                matches!(
                    error,
                    CollectiveError::Peers(PeersError::NoAccess { rank: 1, other: 0 })
                )
            };
            match group {
                Ok(group) => {
                    assert!(has_nccl && place == Place::Gpus && group.why().is_some_and(is_told));
                    gathers(&group);
                }
                #[cfg(feature = "nccl")]
                Err(CollectiveError::Nccl(error)) if place == Place::Gpus => println!("ran without NCCL: {error}"),
                Err(error) => assert!(is_told(&error) && !(has_nccl && place == Place::Gpus), "{error}"),
            }
        });
    });
}
