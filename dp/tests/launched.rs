//! Ranks as processes, started as launchers start them.

use std::net::TcpListener;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tilewright_dp::collective::{Agreement, CollectiveError, Rendezvous};
use tilewright_testing::{ended, silent_process_of};

const LIMIT: Duration = Duration::from_secs(60);
/// What a rank that is a process of its own is to do.
const ROLE: &str = "TILEWRIGHT_TEST_ROLE";

/// The variables of a launcher.
#[derive(Clone, Copy)]
enum Launcher {
    Torch,
    Mpi,
}

impl Launcher {
    fn names(self) -> [&'static str; 3] {
        match self {
            Self::Torch => ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
            Self::Mpi => [
                "OMPI_COMM_WORLD_RANK",
                "OMPI_COMM_WORLD_SIZE",
                "OMPI_COMM_WORLD_LOCAL_RANK",
            ],
        }
    }

    /// Starts a rank for each role.
    fn start(self, roles: &[&str]) -> Vec<Child> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let rank = |(rank, role): (usize, &&str)| {
            let mut command = silent_process_of("a_rank");
            command.env(ROLE, role);
            for name in [Self::Torch, Self::Mpi].into_iter().flat_map(Self::names) {
                command.env_remove(name);
            }
            let numbers = [rank, roles.len(), rank].map(|number| number.to_string());
            command.envs(self.names().into_iter().zip(numbers));
            command
                .env("MASTER_ADDR", "127.0.0.1")
                .env("MASTER_PORT", port.to_string());
            command.spawn().unwrap()
        };
        roles.iter().enumerate().map(rank).collect()
    }
}

fn all_succeed(ranks: Vec<Child>) {
    for (rank, status) in ended(ranks).into_iter().enumerate() {
        assert!(status.success(), "rank {rank}");
    }
}

#[test]
#[ignore = "run by the tests of this file"]
fn a_rank() {
    let role = std::env::var(ROLE).unwrap();
    let rendezvous = Rendezvous::from_env().unwrap();
    if role == "never comes" {
        return;
    }
    let limit = if role == "waits in vain" { LIMIT / 60 } else { LIMIT };
    let met = rendezvous.meet(limit);
    if role == "waits in vain" {
        let error = met.unwrap_err();
        assert!(
            matches!(&error, CollectiveError::Late { missing, .. } if missing == &[2]),
            "{error}"
        );
        return;
    }
    let agreement = Agreement::new(Arc::new(met.unwrap()));
    let rank = agreement.exchange().rank() as u64;
    assert_eq!(rendezvous.local_rank as u64, rank);
    let all = agreement.exchange_step(&[10 * rank], &[]).unwrap();
    assert_eq!(
        all,
        (0..rendezvous.size as u64).map(|rank| [10 * rank]).collect::<Vec<_>>()
    );
    match role.as_str() {
        "dies" => std::process::abort(),
        "survives" => {
            let error = agreement.exchange_step(&[], &[]).unwrap_err();
            assert!(matches!(error, CollectiveError::Gone { gone: 1 }), "{error}");
        }
        _ => drop(agreement.exchange_step(&[], &[]).unwrap()),
    }
}

#[test]
fn processes_meet_by_the_variables_of_either_launcher() {
    for launcher in [Launcher::Torch, Launcher::Mpi] {
        all_succeed(launcher.start(&["works"; 4]));
    }
}

#[test]
fn a_process_that_dies_is_named_on_all_others_at_once() {
    let began = Instant::now();
    let mut ranks = Launcher::Torch.start(&["survives", "dies", "survives", "survives"]);
    assert!(!ranks.remove(1).wait().unwrap().success());
    all_succeed(ranks);
    assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
}

#[test]
fn a_process_that_never_comes_is_named_on_all_others_within_the_limit() {
    let began = Instant::now();
    all_succeed(Launcher::Mpi.start(&["waits in vain", "waits in vain", "never comes"]));
    assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
}
