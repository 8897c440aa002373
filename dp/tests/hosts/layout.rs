//! Which ranks are of one host, and what is refused on all of them.

use std::sync::Arc;

use tilewright_dp::collective::{CollectiveError, Group, Hosts, HostsError, HostsGroup, LocalGroup, Rail};
use tilewright_runtime::Device;

use super::groups::on_all;
use super::place::{AMPLE, on_exchanges};

fn found(hosts: &[u64]) -> Vec<Result<Hosts, CollectiveError>> {
    on_exchanges(hosts.len(), AMPLE, |rank, exchange| Hosts::of(&*exchange, hosts[rank]))
}

#[test]
fn ranks_numbered_host_by_host_are_found() {
    for (rank, hosts) in found(&[9, 9, 9, 4, 4, 4]).into_iter().enumerate() {
        let hosts = hosts.unwrap();
        let all = [hosts.hosts(), hosts.places(), hosts.host(), hosts.place()];
        assert_eq!(all, [2, 3, rank / 3, rank % 3]);
    }
}

#[test]
fn ranks_of_one_machine_are_of_one_host() {
    let found = on_exchanges(3, AMPLE, |_, exchange| Hosts::find(&*exchange).unwrap());
    assert!(found.iter().all(|hosts| (hosts.hosts(), hosts.places()) == (1, 3)));
}

#[test]
fn ranks_that_are_mixed_or_not_equally_many_are_refused_on_all() {
    for (hosts, message) in [
        (
            &[1, 2, 1, 2][..],
            "rank 2 is on the host of rank 0, and rank 1 between them is on another: number the ranks host by host, as \
             launchers do",
        ),
        (
            &[1, 1, 2],
            "the host of rank 0 has 2 ranks and that of rank 2 has 1: start as many on each host",
        ),
    ] {
        for error in found(hosts) {
            assert_eq!(error.unwrap_err().to_string(), message);
        }
        let rehearsed = on_exchanges(hosts.len(), AMPLE, |rank, exchange| {
            HostsGroup::rehearse(&Device::cpu().stream(), exchange, hosts[rank]).unwrap_err()
        });
        assert!(rehearsed.iter().all(|error| matches!(error, CollectiveError::Hosts(_))));
    }
}

#[test]
fn groups_whose_numbers_do_not_fit_are_refused_on_all() {
    let alone = || LocalGroup::ranks(&Device::cpu(), 1, AMPLE).unwrap().remove(0);
    let errors = on_exchanges(3, AMPLE, |_, exchange| {
        HostsGroup::new(alone(), alone(), exchange).unwrap_err()
    });
    for error in errors {
        assert!(
            matches!(
                error,
                CollectiveError::Hosts(HostsError::WrongNumber {
                    rank: 0,
                    ranks: 3,
                    hosts: 1,
                    places: 1,
                    ..
                })
            ),
            "{error}"
        );
    }
}

#[test]
fn parts_that_do_not_fit_are_refused_before_anything_is_asked_for() {
    on_all::<LocalGroup, LocalGroup, _>([2, 2], AMPLE, |group| {
        let mut buffer = group.stream().device().zeros::<f32, 2>([4, 2]).unwrap();
        let mut buffer = buffer.view_mut();
        let error = group.all_gather(&mut buffer, &[1, 1, 1]).unwrap_err();
        assert!(
            matches!(error, CollectiveError::WrongNumberOfParts { parts: 3, ranks: 4 }),
            "{error}"
        );
        let error = group.reduce_scatter(&mut buffer, &[2, 1, 1, 1]).unwrap_err();
        assert!(
            matches!(error, CollectiveError::PartsTooLarge { rows: 4, .. }),
            "{error}"
        );
        let error = group.rail().all_gather_at(&mut buffer, &[0..2, 1..3]).unwrap_err();
        assert!(matches!(error, CollectiveError::WrongPlaces { rows: 4, .. }), "{error}");
        // Nobody has waited for anybody.
        group.all_gather(&mut buffer, &[1, 1, 1, 1]).unwrap();
        group.finish().unwrap();
    });
}

#[test]
fn ranks_that_ask_for_different_things_are_told_by_their_numbers_among_all() {
    let errors = on_all::<LocalGroup, LocalGroup, _>([2, 2], AMPLE, |group| {
        let rows = 4 + usize::from(group.rank() == 2);
        let mut buffer = group.stream().device().zeros::<f32, 2>([rows, 2]).unwrap();
        group.all_gather(&mut buffer.view_mut(), &[1; 4]).unwrap_err()
    });
    for (rank, error) in errors.iter().enumerate() {
        let CollectiveError::Disagreement { rank: own, other, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((*own, *other), (rank, if rank == 2 { 0 } else { 2 }));
    }
}

#[test]
fn a_group_of_hosts_says_what_it_is() {
    let texts = on_all::<LocalGroup, LocalGroup, _>([2, 2], AMPLE, |group| format!("{:?}", Arc::new(group)));
    assert_eq!(texts[3], "HostsGroup(rank 3 of 4, host 1 of 2)");
}
