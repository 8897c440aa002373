//! The steps of every topology over hosts, there and back.

use std::sync::Mutex;
use std::thread;

use half::bf16;
use tilewright_dp::collective::{Group, HostsGroup, LocalGroup, PeerGroup};
use tilewright_dp::movement::{Contribution, Groups};
use tilewright_dp::plan::{Plan, Profile, Topology};

use super::groups::{Part, Seats};
use super::place::AMPLE;
use super::ranks::{How, plan_of, round_trip_of, with_context};

/// Hosts, and ranks of each, of GPUs that follow each other; where hosts have different numbers of them, each is a host.
fn size_of(gpus: std::ops::Range<usize>, places: usize) -> [usize; 2] {
    let hosts: Vec<usize> = gpus.map(|gpu| gpu / places).collect();
    let runs: Vec<usize> = hosts.chunk_by(|one, next| one == next).map(<[usize]>::len).collect();
    match runs.iter().all(|&run| run == runs[0]) {
        true => [runs.len(), runs[0]],
        false => [hosts.len(), 1],
    }
}

/// Runs every GPU of a topology, with its three groups.
fn on_all<W: Part, R: Part>(places: usize, topology: &Topology, run: impl Fn(&Groups<HostsGroup<W, R>>) + Sync) {
    let seats = |groups: u64| {
        let size = (topology.tp() / groups) as usize;
        let of_group = |first| Seats::<W, R>::all(size_of(first..first + size, places), AMPLE);
        let seats = (0..topology.tp() as usize).step_by(size).flat_map(of_group);
        seats.map(|seats| Mutex::new(Some(seats))).collect::<Vec<_>>()
    };
    let (world, rank) = (seats(1), seats(topology.dp()));
    let attention = seats(topology.dp() * topology.context().size());
    thread::scope(|scope| {
        for gpu in 0..topology.tp() as usize {
            let (world, rank, attention, run) = (&world, &rank, &attention, &run);
            scope.spawn(move || {
                let join = |seats: &[Mutex<Option<Seats<W, R>>>]| {
                    let seats = seats[gpu].lock().unwrap().take().unwrap();
                    seats.join().unwrap()
                };
                run(&Groups::with_context(join(world), join(rank), join(attention)));
            });
        }
    });
}

/// Topologies of so many GPUs: a rank for each, ranks within hosts, over two, and over all.
pub fn topologies(gpus: u64) -> Vec<Topology> {
    let ranks = (1..=gpus).filter(|dp| gpus.is_multiple_of(*dp));
    let without = ranks.map(|dp| Topology::new(gpus, dp).unwrap());
    let with = with_context(gpus / 2, 2, 1).chain(with_context(1, 2, gpus / 2));
    without.chain(with).collect()
}

/// Every contribution and way of gathering, in both modes.
pub fn round_trips(groups: &Groups<impl Group>, topology: &Topology) {
    let counts = &[5, 0, 1, 3, 2, 4][..topology.dp() as usize];
    for extend in [false, true] {
        let plan: Plan = plan_of(Profile::Main202611, counts, topology, extend);
        for contribution in [
            Contribution::Partial,
            Contribution::PartialOverContext,
            Contribution::Replicate,
        ] {
            for how in [How::Gather, How::Variable] {
                round_trip_of::<bf16, _>(groups, &plan, topology, how, contribution, extend, 20);
                round_trip_of::<f32, _>(groups, &plan, topology, how, contribution, !extend, 20);
            }
        }
        let (how, contribution) = (How::Quantized, Contribution::Replicate);
        round_trip_of::<bf16, _>(groups, &plan, topology, how, contribution, true, 256);
    }
}

fn make_the_round_trip<W: Part, R: Part>() {
    for [hosts, places] in [[2, 2], [3, 2], [2, 3]] {
        for topology in topologies((hosts * places) as u64) {
            on_all::<W, R>(places, &topology, |groups| round_trips(groups, &topology));
        }
    }
}

#[test]
fn every_mode_contribution_wire_and_topology_makes_the_round_trip_on_one_device() {
    make_the_round_trip::<LocalGroup, LocalGroup>();
}

#[test]
fn every_mode_contribution_wire_and_topology_makes_the_round_trip_between_peers() {
    make_the_round_trip::<PeerGroup, LocalGroup>();
}
