//! Groups of hosts that are threads, made of whatever groups.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tilewright_dp::collective::{CollectiveError, Group, HostsGroup, LocalGroup, PeerGroup, Rail, ThreadExchange};
use tilewright_runtime::Device;

/// Hosts, and ranks of each.
pub const SIZES: [[usize; 2]; 5] = [[2, 2], [3, 2], [2, 3], [1, 3], [3, 1]];

/// A group that is one of the two that a rank of several hosts is in. Each rank takes its seat in a thread of its own.
pub trait Part: Rail + Sized {
    type Seat: Send;
    fn seats(size: usize, limit: Duration) -> Vec<Self::Seat>;
    fn join(seat: Self::Seat) -> Self;
}

impl Part for LocalGroup {
    type Seat = Self;

    fn seats(size: usize, limit: Duration) -> Vec<Self> {
        Self::ranks(&Device::cpu(), size, limit).unwrap()
    }

    fn join(seat: Self) -> Self {
        seat
    }
}

impl Part for PeerGroup {
    type Seat = ThreadExchange;

    fn seats(size: usize, limit: Duration) -> Vec<ThreadExchange> {
        ThreadExchange::ranks(size, limit).unwrap()
    }

    fn join(seat: ThreadExchange) -> Self {
        Self::join(&Device::cpu().stream(), Arc::new(seat)).unwrap()
    }
}

/// The seats of one rank.
pub struct Seats<W: Part, R: Part> {
    pub within: W::Seat,
    pub rail: R::Seat,
    pub exchange: ThreadExchange,
}

impl<W: Part, R: Part> Seats<W, R> {
    /// Those of all ranks, in their order.
    pub fn all([hosts, places]: [usize; 2], limit: Duration) -> Vec<Self> {
        let within = (0..hosts).flat_map(|_| W::seats(places, limit));
        let mut rails: Vec<_> = (0..places).map(|_| R::seats(hosts, limit).into_iter()).collect();
        let exchanges = ThreadExchange::ranks(hosts * places, limit).unwrap();
        let ranks = within.zip(exchanges).enumerate();
        let seats = ranks.map(|(rank, (within, exchange))| Self {
            within,
            rail: rails[rank % places].next().unwrap(),
            exchange,
        });
        seats.collect()
    }

    pub fn join(self) -> Result<HostsGroup<W, R>, CollectiveError> {
        HostsGroup::new(W::join(self.within), R::join(self.rail), Arc::new(self.exchange))
    }
}

/// Runs every rank in a thread, with its end of a group.
pub fn on_all<W: Part, R: Part, A: Send>(
    size: [usize; 2],
    limit: Duration,
    run: impl Fn(HostsGroup<W, R>) -> A + Sync,
) -> Vec<A> {
    let run = &run;
    thread::scope(|scope| {
        let seats = Seats::<W, R>::all(size, limit).into_iter().enumerate();
        let rank = |(rank, seats): (usize, Seats<W, R>)| {
            scope.spawn(move || {
                let group = seats.join().unwrap();
                assert_eq!((group.rank(), group.size()), (rank, size[0] * size[1]));
                run(group)
            })
        };
        let ranks: Vec<_> = seats.map(rank).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}
