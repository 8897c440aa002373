//! The steps of every topology, there and back, between devices.

use std::sync::{Arc, Mutex};
use std::thread;

use half::bf16;
use tilewright_dp::collective::{Exchange, PeerGroup, ThreadExchange};
use tilewright_dp::movement::{Contribution, Groups};
use tilewright_dp::plan::{Profile, Topology};

use super::place::{AMPLE, Place, for_each_place};
use super::ranks::{How, plan_of, round_trip_of, with_context};

/// Runs every GPU of a topology, with its three groups.
fn on_all(place: Place, topology: &Topology, run: impl Fn(&Groups<PeerGroup>) + Sync) {
    // GPUs are numbered by rank, then part, then attention: so many groups, one after the other.
    let exchanges = |count: u64| {
        let groups = (0..count).flat_map(|_| ThreadExchange::ranks((topology.tp() / count) as usize, AMPLE).unwrap());
        groups.map(|exchange| Mutex::new(Some(exchange))).collect::<Vec<_>>()
    };
    let (world, rank) = (exchanges(1), exchanges(topology.dp()));
    let attention = exchanges(topology.dp() * topology.context().size());
    thread::scope(|scope| {
        for gpu in 0..topology.tp() as usize {
            let (world, rank, attention, run) = (&world, &rank, &attention, &run);
            scope.spawn(move || {
                let stream = place.device(gpu).stream();
                let join = |exchanges: &[Mutex<Option<ThreadExchange>>]| {
                    let exchange: Arc<dyn Exchange> = Arc::new(exchanges[gpu].lock().unwrap().take().unwrap());
                    PeerGroup::join(&stream, exchange).unwrap()
                };
                run(&Groups::with_context(join(world), join(rank), join(attention)));
            });
        }
    });
}

#[test]
fn every_mode_contribution_wire_and_topology_makes_the_round_trip() {
    for_each_place(&[2, 4], |place, gpus| {
        let topologies = match gpus {
            2 => vec![Topology::new(2, 2).unwrap(), Topology::new(2, 1).unwrap()],
            _ => [Topology::new(4, 4).unwrap(), Topology::new(4, 2).unwrap()]
                .into_iter()
                .chain(with_context(2, 2, 1))
                .collect(),
        };
        for topology in topologies {
            let counts: Vec<u64> = [5, 0, 1, 3][..topology.dp() as usize].to_vec();
            on_all(place, &topology, |groups| {
                for extend in [false, true] {
                    let plan = plan_of(Profile::Main202611, &counts, &topology, extend);
                    for contribution in [
                        Contribution::Partial,
                        Contribution::PartialOverContext,
                        Contribution::Replicate,
                    ] {
                        for (how, columns) in [(How::Gather, 20), (How::Variable, 20)] {
                            round_trip_of::<bf16, _>(groups, &plan, &topology, how, contribution, extend, columns);
                            round_trip_of::<f32, _>(groups, &plan, &topology, how, contribution, !extend, columns);
                        }
                    }
                    for how in [How::Quantized, How::Nvfp4] {
                        let contribution = Contribution::Replicate;
                        round_trip_of::<bf16, _>(groups, &plan, &topology, how, contribution, true, 256);
                    }
                }
            });
        }
    });
}
