//! Ranks that meet, and everybody else who comes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tilewright_runtime::Deadline;

use super::super::{CollectiveError, Exchange, Refusal, TcpExchange};
use super::greeting::{Greeting, VERSION};

/// Long enough for rank 0's word to be heard in time on a machine that stands still now and then.
const LIMIT: Duration = Duration::from_secs(2);
const AMPLE: Duration = Duration::from_secs(60);

type Joined = Result<TcpExchange, CollectiveError>;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The ranks of a group on threads of their own, but for some.
fn started(size: usize, limit: Duration, without: &[usize]) -> (SocketAddr, Vec<JoinHandle<Joined>>) {
    let (listener, address) = listener();
    let mut ranks = vec![thread::spawn(move || TcpExchange::host(listener, size, limit))];
    let others = (1..size).filter(|rank| !without.contains(rank));
    ranks.extend(others.map(|rank| thread::spawn(move || TcpExchange::join(address, rank, size, limit))));
    (address, ranks)
}

fn ended(ranks: Vec<JoinHandle<Joined>>) -> Vec<Joined> {
    ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
}

fn greeting(rank: usize, size: usize) -> Greeting {
    Greeting::new(rank, size, Deadline::after(AMPLE))
}

/// Someone who has connected and said this.
fn said(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Waits until ranks that were started are likely to have come.
fn settle() {
    thread::sleep(Duration::from_millis(100));
}

#[test]
fn strangers_neither_block_nor_fail_the_ranks() {
    let (address, ranks) = started(3, AMPLE, &[2]);
    let whole = greeting(2, 3).bytes();
    let silent: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    let speaking: Vec<_> = [
        &b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\0",
        &whole[..7],
        &whole[..39],
        &[0xff; 4096],
    ]
    .map(|bytes| said(address, bytes))
    .into();
    let half_open = said(address, &whole[..20]);
    half_open.shutdown(Shutdown::Write).unwrap();
    drop(TcpStream::connect(address).unwrap());
    // A slow writer, of what would be a greeting in the end.
    let slow = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let bytes = [b"TWranks\n".as_slice(), &[0; 32]].concat();
        bytes
            .iter()
            .take_while(|byte| {
                thread::sleep(Duration::from_millis(30));
                stream.write_all(&[**byte]).is_ok()
            })
            .count()
    });
    settle();
    let began = Instant::now();
    let last = TcpExchange::join(address, 2, 3, AMPLE).unwrap();
    assert!(began.elapsed() < AMPLE / 10, "{:?}", began.elapsed());
    let mut ranks: Vec<_> = ended(ranks).into_iter().map(Result::unwrap).collect();
    ranks.push(last);
    let all = thread::scope(|scope| {
        let ranks: Vec<_> = ranks
            .iter()
            .map(|rank| scope.spawn(|| rank.all_gather(&[rank.rank() as u64]).unwrap()))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(all.iter().all(|all| all == &[[0], [1], [2]]));
    slow.join().unwrap();
    drop((silent, speaking, half_open));
}

/// The one that has been silent for longest goes first, so that ranks come in however many there are.
#[test]
fn more_silent_strangers_than_there_is_room_for_keep_no_rank_out() {
    let (address, ranks) = started(2, AMPLE, &[1]);
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    settle();
    let last = TcpExchange::join(address, 1, 2, AMPLE).unwrap();
    assert!(ended(ranks).remove(0).is_ok());
    let mut first = &silent[0];
    first.set_read_timeout(Some(AMPLE)).unwrap();
    assert!(matches!(first.read(&mut [0]), Ok(0) | Err(_)));
    drop(last);
}

/// Strangers without end, and a rank that does not come.
#[test]
fn a_flood_of_strangers_takes_no_more_time_than_the_limit() {
    let (address, ranks) = started(3, LIMIT, &[2]);
    let began = Instant::now();
    let flood = thread::spawn(move || {
        while let Ok(mut stream) = TcpStream::connect(address) {
            let _ = stream.write_all(b"GET / HTTP/1.1");
        }
    });
    for error in ended(ranks).into_iter().map(Result::unwrap_err) {
        assert!(
            matches!(&error, CollectiveError::Late { missing, .. } if missing == &[2]),
            "{error}"
        );
    }
    assert!(began.elapsed() < 4 * LIMIT, "{:?}", began.elapsed());
    flood.join().unwrap();
}

/// A rank that finds no room among those that wait to be let in tries again before the system would: one second after the
/// first try and, where it doubles that, two more after the second.
#[test]
fn a_rank_comes_in_soon_after_there_is_room_for_it() {
    let (listener, address) = listener();
    rustix::net::listen(&listener, 0).unwrap();
    let stranger = |_| TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let strangers: Vec<_> = (0..100).map_while(stranger).collect();
    assert!(strangers.len() < 100, "there is room for everybody");
    let rank = thread::spawn(move || {
        let rank = TcpExchange::join(address, 1, 2, AMPLE);
        (rank, Instant::now())
    });
    thread::sleep(Duration::from_millis(1300));
    let has_room = Instant::now();
    let host = TcpExchange::host(listener, 2, AMPLE).unwrap();
    let (rank, came) = rank.join().unwrap();
    assert!(came - has_room < Duration::from_millis(1500), "{:?}", came - has_room);
    assert_eq!((host.rank(), rank.unwrap().rank()), (0, 1));
}

/// What a process that cannot be of the group does to it: all its ranks hear of that at once, and which one it was.
#[test]
fn a_process_that_cannot_be_of_the_group_is_named_on_all_ranks() {
    let other_version = Greeting {
        version: VERSION + (1 << 16),
        ..greeting(2, 3)
    };
    let huge = Greeting {
        rank: u64::MAX,
        ..greeting(1, 3)
    };
    let cases = [
        (greeting(1, 3), 1, Refusal::CameTwice),
        (greeting(0, 3), 0, Refusal::CameTwice),
        (greeting(2, 4), 2, Refusal::OtherSize { theirs: 4, ours: 3 }),
        (greeting(7, 3), 7, Refusal::NoSuchRank { ranks: 3 }),
        (huge, u64::MAX, Refusal::NoSuchRank { ranks: 3 }),
        (
            other_version,
            2,
            Refusal::OtherVersion {
                theirs: VERSION + (1 << 16),
                ours: VERSION,
            },
        ),
    ];
    for (wrong, named, expected) in cases {
        let (address, ranks) = started(3, AMPLE, &[2]);
        settle();
        let began = Instant::now();
        let refused = said(address, &wrong.bytes());
        for error in ended(ranks).into_iter().map(Result::unwrap_err) {
            match error {
                CollectiveError::Refused { rank, refusal } => assert_eq!((rank, refusal), (named, expected)),
                other => panic!("{other}"),
            }
        }
        assert!(began.elapsed() < AMPLE / 10, "{:?}", began.elapsed());
        drop(refused);
    }
    // And it hears of that itself.
    let (address, ranks) = started(2, AMPLE, &[1]);
    settle();
    let error = TcpExchange::join(address, 2, 3, AMPLE).unwrap_err().to_string();
    assert_eq!(
        error,
        "rank 2 cannot be of this group: it was started for 3 ranks and rank 0 for 2: start all with one size"
    );
    assert!(ended(ranks).remove(0).is_err());
}

#[test]
fn a_rank_that_dies_before_all_have_come_is_named_on_all_others() {
    let (address, ranks) = started(4, AMPLE, &[2, 3]);
    drop(said(address, &greeting(3, 4).bytes()));
    for error in ended(ranks).into_iter().map(Result::unwrap_err) {
        assert!(matches!(error, CollectiveError::Gone { gone: 3 }), "{error}");
    }
}

#[test]
fn a_rank_that_does_not_come_is_named_on_all_others_within_the_limit() {
    let began = Instant::now();
    let (_, ranks) = started(4, LIMIT, &[2]);
    for (rank, error) in ended(ranks).into_iter().map(Result::unwrap_err).enumerate() {
        assert!(
            matches!(&error, CollectiveError::Late { missing, .. } if missing == &[2]),
            "{rank}: {error}"
        );
    }
    assert!(began.elapsed() < 3 * LIMIT, "{:?}", began.elapsed());
}

/// One deadline for all: who came first with the least patience is answered in time.
#[test]
fn rank_0_waits_no_longer_than_the_least_patient_rank() {
    let (listener, address) = listener();
    let host = thread::spawn(move || TcpExchange::host(listener, 3, AMPLE));
    let began = Instant::now();
    let error = TcpExchange::join(address, 1, 3, LIMIT).unwrap_err();
    assert!(
        matches!(&error, CollectiveError::Late { missing, .. } if missing == &[2]),
        "{error}"
    );
    assert!(host.join().unwrap().is_err());
    assert!(began.elapsed() < 3 * LIMIT, "{:?}", began.elapsed());
}

fn met(size: usize, limit: Duration) -> Vec<TcpExchange> {
    ended(started(size, limit, &[]).1)
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

fn errors(ranks: &[TcpExchange], words: &[u64]) -> Vec<CollectiveError> {
    thread::scope(|scope| {
        let ranks: Vec<_> = ranks
            .iter()
            .map(|rank| scope.spawn(|| rank.all_gather(words).unwrap_err()))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn who_is_gone_or_late_later_is_named_on_all_others_and_stays_so() {
    let mut ranks = met(4, AMPLE);
    drop(ranks.remove(2));
    for _ in 0..2 {
        for error in errors(&ranks, &[1]) {
            assert!(matches!(error, CollectiveError::Gone { gone: 2 }), "{error}");
        }
    }
    let mut ranks = met(4, LIMIT);
    let hangs = [ranks.remove(3), ranks.remove(1)];
    let began = Instant::now();
    for error in errors(&ranks, &[1]) {
        assert!(
            matches!(&error, CollectiveError::Late { missing, .. } if missing == &[1, 3]),
            "{error}"
        );
    }
    assert!(began.elapsed() < 3 * LIMIT, "{:?}", began.elapsed());
    // Whoever comes after that is told.
    let error = errors(&hangs, &[1]).remove(0);
    assert!(
        matches!(error, CollectiveError::Late { .. } | CollectiveError::Gone { gone: 0 }),
        "{error}"
    );
}

#[test]
fn large_messages_arrive_and_larger_ones_are_refused_before_anything_is_sent() {
    let ranks = met(2, AMPLE);
    let most = super::MOST_WORDS;
    let all = thread::scope(|scope| {
        let run = |rank: &TcpExchange| {
            let error = rank.all_gather(&vec![0; most + 1]).unwrap_err();
            assert!(matches!(error, CollectiveError::TooManyWords { .. }), "{error}");
            rank.all_gather(&vec![rank.rank() as u64; most]).unwrap()
        };
        let ranks: Vec<_> = ranks.iter().map(|rank| scope.spawn(move || run(rank))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(all.iter().all(|all| all[0] == vec![0; most] && all[1] == vec![1; most]));
}

/// A rank that sends no message: rank 0 says so to all.
#[test]
fn what_is_no_message_is_an_error_that_names_the_rank() {
    for bytes in [
        u64::MAX.to_le_bytes(),
        [0; 8],
        (0x7477_0001u64 << 32 | 0xffff_ffff).to_le_bytes(),
    ] {
        let (address, ranks) = started(3, AMPLE, &[2]);
        let mut wrong = said(address, &greeting(2, 3).bytes());
        let ranks: Vec<_> = ended(ranks).into_iter().map(Result::unwrap).collect();
        wrong.write_all(&bytes).unwrap();
        for error in errors(&ranks, &[1]) {
            assert!(matches!(error, CollectiveError::Malformed { from: 2 }), "{error}");
        }
    }
}

/// A rank that sends a little now and then is not waited for longer than one that sends nothing.
#[test]
fn words_that_drip_are_late() {
    let (listener, address) = listener();
    let dripping = thread::spawn(move || {
        let mut peer = said(address, &greeting(1, 2).bytes());
        let head = (0x7477_0001u64 << 32 | 1000).to_le_bytes();
        let words = head.into_iter().chain(std::iter::repeat(0)).take(8008);
        let sent = words.take_while(|byte| {
            thread::sleep(Duration::from_millis(20));
            peer.write_all(&[*byte]).is_ok()
        });
        sent.count()
    });
    // It speaks before it is welcome, but that cannot be told from a rank that is quick.
    let host = TcpExchange::host(listener, 2, LIMIT).unwrap();
    let begin = Instant::now();
    let late = host.all_gather(&[1]).unwrap_err();
    assert!(
        matches!(&late, CollectiveError::Late { missing, .. } if missing == &[1]),
        "{late}"
    );
    assert!(begin.elapsed() < LIMIT * 4, "{:?}", begin.elapsed());
    assert!(dripping.join().unwrap() < 8008);
}

/// Somebody else may listen where rank 0 should.
#[test]
fn who_is_not_rank_0_is_found_out() {
    for (answer, is_right) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            (|error| matches!(error, CollectiveError::Malformed { from: 0 })) as fn(&CollectiveError) -> bool,
        ),
        (b"", |error| matches!(error, CollectiveError::Gone { gone: 0 })),
    ] {
        let (listener, address) = listener();
        let other = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; Greeting::BYTES]).unwrap();
            stream.write_all(answer).unwrap();
        });
        let error = TcpExchange::join(address, 1, 2, AMPLE).unwrap_err();
        assert!(is_right(&error), "{error}");
        other.join().unwrap();
    }
}

/// Greetings with damage, one after the other: no rank of the group is kept out by those that are none, none is let in that is
/// not of it, and rank 0 neither panics nor waits.
#[test]
fn damaged_greetings_are_answered_or_dropped_and_never_waited_for() {
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..60 {
        let (address, ranks) = started(2, AMPLE, &[1]);
        let mut kept = Vec::new();
        for _ in 0..random.usize(1..6) {
            let mut bytes = greeting(1, 2).bytes();
            for _ in 0..random.usize(1..4) {
                bytes[random.usize(..24)] ^= random.u8(1..);
            }
            bytes.truncate(random.usize(..=Greeting::BYTES));
            // Rank 0 may have ended because of one before.
            if let Ok(mut stream) = TcpStream::connect(address) {
                let _ = stream.write_all(&bytes);
                kept.push(stream);
            }
        }
        let began = Instant::now();
        let last = TcpExchange::join(address, 1, 2, Duration::from_secs(2));
        let host = ended(ranks).remove(0);
        assert_eq!(last.is_ok(), host.is_ok(), "{round}: {last:?} {host:?}");
        if let Err(error) = host {
            assert!(matches!(error, CollectiveError::Refused { .. }), "{round}: {error}");
        }
        assert!(began.elapsed() < AMPLE / 10);
    }
}
