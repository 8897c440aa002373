//! Groups of ranks: what they compute, and that no rank waits for ever.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use half::bf16;
use tilewright_dp::collective::{
    Agreement, CollectiveError, Exchange, Group, LocalGroup, Operation, RequestedCollective, Summand, TcpExchange,
    ThreadExchange,
};
use tilewright_dp::plan::MAX_RANKS;
use tilewright_dsl::element::Element;
use tilewright_harness::for_every_element;
use tilewright_harness::testing::*;
use tilewright_runtime::Device;

/// Long enough for every rank that comes, short enough to wait for one that does not.
const LIMIT: Duration = Duration::from_millis(400);
const AMPLE: Duration = Duration::from_secs(60);

fn on_all<G: Send, R: Send>(ranks: Vec<G>, run: impl Fn(G) -> R + Sync) -> Vec<R> {
    let run = &run;
    thread::scope(|scope| {
        let threads: Vec<_> = ranks.into_iter().map(|rank| scope.spawn(move || run(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Every element type is gathered with all its bits, NaNs among them, in parts of any length.
fn gathered<T: Element>(device: &Device, parts: &[u64], placement: Placement) {
    let (columns, spare) = (7, 2);
    let rows = parts.iter().sum::<u64>() as usize;
    let mut expected = unique::<T>(rows, columns, 1);
    expected.extend(sentinels::<T>(spare, columns));
    on_all(LocalGroup::ranks(device, parts.len(), AMPLE).unwrap(), |group| {
        let mut mine = sentinels::<T>(rows + spare, columns);
        let start = parts[..group.rank()].iter().sum::<u64>() as usize;
        let own = start..start + parts[group.rank()] as usize;
        mine[own.clone()].clone_from_slice(&expected[own]);
        let mut buffer = Guarded::<T>::new(device, &mine, columns, placement);
        group.all_gather(&mut buffer.view_mut(), parts).unwrap();
        group.finish().unwrap();
        assert_rows(&buffer.read(), &expected, (parts, T::TYPE));
    });
}

#[test]
fn parts_of_any_length_are_gathered_with_all_their_bits() {
    for_each_device(|device| {
        for parts in [&[3, 0, 5][..], &[0, 0], &[1], &[2, 2, 2, 2], &[0, 9]] {
            for placement in PLACEMENTS {
                gathered::<bf16>(device, parts, placement);
            }
        }
        let parts = [2u64, 1];
        let placement = Placement::Contiguous;
        for_every_element!(gathered(device, &parts, placement));
    });
}

/// Terms of which a sum in the narrow type would lose the small ones.
fn summed<T: Summand>(device: &Device, ranks: usize, rows: usize, of: fn(f64) -> T, expected: fn(usize) -> T) {
    let groups = LocalGroup::ranks(device, ranks, AMPLE).unwrap();
    let all = on_all(groups, |group| {
        let x = if group.rank() == 0 { 1.0 } else { 1.0 / 256.0 };
        let mut buffer = device.upload(&vec![of(x); rows * 3], [rows, 3]).unwrap();
        group.all_reduce(&mut buffer.view_mut()).unwrap();
        buffer
            .download()
            .unwrap()
            .into_iter()
            .map(Element::to_bits64)
            .collect::<Vec<_>>()
    });
    for found in all {
        assert!(
            found.iter().all(|&bits| bits == expected(ranks).to_bits64()),
            "{} ranks",
            ranks
        );
    }
}

#[test]
fn narrow_sums_are_rounded_once() {
    for_each_device(|device| {
        for ranks in [1, 2, 3, 8] {
            for rows in [0, 1, 2, 11] {
                summed::<bf16>(device, ranks, rows, bf16::from_f64, |ranks| {
                    bf16::from_f32(1.0 + (ranks - 1) as f32 / 256.0)
                });
                summed::<f64>(device, ranks, rows, |x| x, |ranks| 1.0 + (ranks - 1) as f64 / 256.0);
                summed::<i32>(device, ranks, rows, |x| (x * 256.0) as i32, |ranks| 255 + ranks as i32);
            }
        }
    });
}

#[test]
fn a_reduce_scatter_leaves_each_rank_its_part() {
    for_each_device(|device| {
        let parts = [2u64, 0, 3];
        on_all(LocalGroup::ranks(device, 3, AMPLE).unwrap(), |group| {
            let mine: Vec<i64> = (0..12).map(|i| i + 100 * group.rank() as i64).collect();
            let mut buffer = device.upload(&mine, [6, 2]).unwrap();
            group.reduce_scatter(&mut buffer.view_mut(), &parts).unwrap();
            let found = buffer.download().unwrap();
            let start = parts[..group.rank()].iter().sum::<u64>() as i64 * 2;
            for i in start..start + parts[group.rank()] as i64 * 2 {
                assert_eq!(found[i as usize], 300 + 3 * i);
            }
        });
    });
}

#[test]
fn parts_that_do_not_fit_are_refused_by_the_rank_alone() {
    let device = Device::cpu();
    let group = LocalGroup::ranks(&device, 2, LIMIT).unwrap().remove(0);
    let mut buffer = device.zeros::<f32, 2>([4, 2]).unwrap();
    let mut refused = |parts: &[u64]| group.all_gather(&mut buffer.view_mut(), parts).unwrap_err().to_string();
    assert!(refused(&[4]).starts_with("1 parts were given for a group of 2 ranks"));
    assert_eq!(refused(&[3, 2]), "parts of [3, 2] rows do not fit in a buffer of 4");
    assert_eq!(
        refused(&[u64::MAX, 2]),
        format!("parts of [{}, 2] rows do not fit in a buffer of 4", u64::MAX)
    );
}

#[test]
fn ranks_that_disagree_on_sizes_all_get_an_error_and_their_rows_are_untouched() {
    let device = Device::cpu();
    let errors = on_all(LocalGroup::ranks(&device, 3, AMPLE).unwrap(), |group| {
        let rows = if group.rank() == 2 { 5 } else { 4 };
        let mut buffer = device.upload(&vec![group.rank() as f32; rows * 2], [rows, 2]).unwrap();
        let error = group.all_reduce(&mut buffer.view_mut()).unwrap_err();
        assert!(buffer.download().unwrap().iter().all(|&x| x == group.rank() as f32));
        // The group is over.
        assert!(group.all_reduce(&mut buffer.view_mut()).is_err());
        error
    });
    for error in &errors {
        assert!(
            matches!(
                error,
                CollectiveError::Disagreement { .. } | CollectiveError::Failed { .. }
            ),
            "{error}"
        );
    }
    let disagreements = errors
        .iter()
        .filter(|error| matches!(error, CollectiveError::Disagreement { .. }));
    assert_eq!(disagreements.count(), 3);
    let text = errors[0].to_string();
    assert!(
        text.starts_with("rank 0 asks for all-reduce of 4 x 2 f32 and rank 2 for all-reduce of 5 x 2 f32"),
        "{text}"
    );
}

#[test]
fn different_collectives_are_a_disagreement() {
    let device = Device::cpu();
    let errors = on_all(LocalGroup::ranks(&device, 2, AMPLE).unwrap(), |group| {
        let mut buffer = device.zeros::<f32, 2>([4, 2]).unwrap();
        match group.rank() {
            0 => group.all_gather(&mut buffer.view_mut(), &[2, 2]),
            _ => group.all_gather(&mut buffer.view_mut(), &[1, 3]),
        }
        .unwrap_err()
    });
    let text = errors[1].to_string();
    assert!(
        text.contains("in parts of [1, 3] rows") && text.contains("in parts of [2, 2] rows"),
        "{text}"
    );
}

#[test]
fn a_rank_that_does_not_come_is_an_error_within_the_limit() {
    let device = Device::cpu();
    let mut ranks = LocalGroup::ranks(&device, 3, LIMIT).unwrap();
    let sleeper = ranks.pop().unwrap();
    let began = Instant::now();
    let errors = on_all(ranks, |group| {
        let mut buffer = device.zeros::<f32, 2>([4, 2]).unwrap();
        group.all_reduce(&mut buffer.view_mut()).unwrap_err()
    });
    assert!((LIMIT..20 * LIMIT).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(
        errors
            .iter()
            .any(|error| matches!(error, CollectiveError::Late { missing, .. } if missing == &[2]))
    );
    // Whoever comes later is told.
    let mut buffer = device.zeros::<f32, 2>([4, 2]).unwrap();
    let error = sleeper.all_reduce(&mut buffer.view_mut()).unwrap_err().to_string();
    assert!(error.starts_with("the group failed before"), "{error}");
}

#[test]
fn a_rank_that_dies_is_an_error_at_once() {
    let device = Device::cpu();
    let mut ranks = LocalGroup::ranks(&device, 3, AMPLE).unwrap();
    let dead = ranks.pop().unwrap();
    let began = Instant::now();
    let errors = thread::scope(|scope| {
        let panics = scope.spawn(move || {
            let _dead = dead;
            // As quietly as a panic can be.
            std::panic::resume_unwind(Box::new("gone"));
        });
        let errors = on_all(ranks, |group| {
            let mut buffer = device.zeros::<f32, 2>([4, 2]).unwrap();
            group.all_reduce(&mut buffer.view_mut()).unwrap_err()
        });
        assert!(panics.join().is_err());
        errors
    });
    assert!(began.elapsed() < AMPLE / 2);
    for error in errors {
        assert!(matches!(error, CollectiveError::Gone { gone: 2 }), "{error}");
    }
}

fn request(rows: u64) -> RequestedCollective {
    RequestedCollective {
        operation: Operation::ReduceScatter,
        element: bf16::TYPE,
        rows,
        columns: 7168,
        parts: vec![4, 0, 5],
        starts: Vec::new(),
    }
}

/// A group of processes, or as good as: every rank has its own connection.
fn over_tcp(size: usize, limit: Duration) -> Vec<thread::JoinHandle<Result<TcpExchange, CollectiveError>>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut ranks = vec![thread::spawn(move || TcpExchange::host(listener, size, limit))];
    ranks.extend((1..size).map(|rank| thread::spawn(move || TcpExchange::join(address, rank, size, limit))));
    ranks
}

fn joined(ranks: Vec<thread::JoinHandle<Result<TcpExchange, CollectiveError>>>) -> Vec<TcpExchange> {
    ranks.into_iter().map(|rank| rank.join().unwrap().unwrap()).collect()
}

fn agree_and_disagree<E: Exchange + 'static>(ranks: Vec<E>) {
    on_all(ranks, |exchange| {
        let rank = exchange.rank();
        let agreement = Agreement::new(Arc::new(exchange));
        for rows in [9, 12, 9, 9] {
            agreement.on(&request(rows)).unwrap();
        }
        let error = agreement.on(&request(20 + rank as u64)).unwrap_err();
        assert!(matches!(error, CollectiveError::Disagreement { .. }), "{error}");
    });
}

#[test]
fn shapes_are_agreed_on_between_threads_and_over_tcp() {
    agree_and_disagree(ThreadExchange::ranks(3, AMPLE).unwrap());
    agree_and_disagree(joined(over_tcp(3, AMPLE)));
}

/// What was agreed on before is not exchanged again, so it works without the others.
#[test]
fn an_agreed_shape_costs_no_exchange() {
    let agreements: Vec<_> = on_all(ThreadExchange::ranks(2, AMPLE).unwrap(), |exchange| {
        let agreement = Agreement::new(Arc::new(exchange));
        agreement.on(&request(9)).unwrap();
        agreement
    });
    agreements[0].on(&request(9)).unwrap();
}

/// Both shapes were agreed on before, so neither rank is stopped; the next exchange says what they were.
fn found_at_the_next_exchange<E: Exchange + 'static>(ranks: Vec<E>) {
    let errors = on_all(ranks, |exchange| {
        let rank = exchange.rank();
        let agreement = Agreement::new(Arc::new(exchange));
        agreement.on(&request(9)).unwrap();
        agreement.on(&request(12)).unwrap();
        agreement.on(&request([9, 12, 9][rank])).unwrap();
        agreement.on(&request(9)).unwrap();
        agreement.on(&request(20)).unwrap_err().to_string()
    });
    for (rank, error) in errors.iter().enumerate() {
        let [mine, theirs] = match rank {
            1 => [12, 9],
            _ => [9, 12],
        };
        let other = usize::from(rank != 1);
        let expected = format!(
            "rank {rank} asks for {} and rank {other} for {}",
            request(mine),
            request(theirs)
        );
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn shapes_that_ranks_mixed_up_are_named_at_the_next_exchange() {
    found_at_the_next_exchange(ThreadExchange::ranks(3, AMPLE).unwrap());
    found_at_the_next_exchange(joined(over_tcp(3, AMPLE)));
}

/// One rank leaves something out: it is named as nothing, by the step's exchange.
#[test]
fn a_collective_that_a_rank_left_out_is_named_by_the_next_step() {
    let errors = on_all(joined(over_tcp(2, AMPLE)), |exchange| {
        let rank = exchange.rank();
        let agreement = Agreement::new(Arc::new(exchange));
        agreement.exchange_step(&[1], &[]).unwrap();
        agreement.on(&request(9)).unwrap();
        if rank == 0 {
            agreement.on(&request(10)).unwrap();
        }
        agreement.exchange_step(&[2], &[]).unwrap_err().to_string()
    });
    assert!(
        errors[0].starts_with(&format!("rank 0 asks for {} and rank 1 for nothing", request(10))),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with(&format!("rank 1 asks for nothing and rank 0 for {}", request(10))),
        "{errors:?}"
    );
}

#[test]
fn differences_older_than_what_is_remembered_are_errors_all_the_same() {
    for error in on_all(ThreadExchange::ranks(2, AMPLE).unwrap(), |exchange| {
        let rank = exchange.rank() as u64;
        let agreement = Agreement::new(Arc::new(exchange));
        agreement.exchange_step(&[], &[]).unwrap();
        agreement.on(&request(20 + rank)).unwrap();
        (0..40).for_each(|rows| agreement.on(&request(rows)).unwrap());
        agreement.exchange_step(&[], &[]).unwrap_err()
    }) {
        assert!(matches!(error, CollectiveError::Diverged { .. }), "{error}");
    }
}

/// A rank that makes a step while another asks for a collective.
#[test]
fn a_step_and_a_collective_at_once_are_a_disagreement() {
    let errors = on_all(ThreadExchange::ranks(2, AMPLE).unwrap(), |exchange| {
        let rank = exchange.rank();
        let agreement = Agreement::new(Arc::new(exchange));
        match rank {
            0 => agreement.exchange_step(&[1, 2], &[]).map(drop),
            _ => agreement.on(&request(9)),
        }
        .unwrap_err()
    });
    for error in errors {
        assert!(matches!(error, CollectiveError::Disagreement { .. }), "{error}");
    }
}

/// The GPUs of one rank follow the steps of all ranks: they exchange nothing themselves.
#[test]
fn a_group_within_another_follows_its_steps() {
    let exchange = ThreadExchange::ranks(2, LIMIT).unwrap().remove(0);
    let agreement = Agreement::new(Arc::new(exchange));
    agreement.follow_steps();
    (0..100).for_each(|rows| agreement.on(&request(rows)).unwrap());
}

#[test]
fn words_travel_over_tcp_in_rank_order() {
    let all = on_all(joined(over_tcp(4, AMPLE)), |exchange| {
        assert_eq!((exchange.size(), exchange.limit()), (4, AMPLE));
        let mine = vec![exchange.rank() as u64; exchange.rank()];
        exchange.all_gather(&mine).unwrap();
        exchange.all_gather(&mine).unwrap()
    });
    assert!(
        all.iter()
            .all(|all| all == &[vec![], vec![1], vec![2, 2], vec![3, 3, 3]])
    );
}

#[test]
fn a_process_that_ends_is_an_error_on_all_others() {
    let mut ranks = joined(over_tcp(3, AMPLE));
    ranks.remove(1);
    let began = Instant::now();
    for error in on_all(ranks, |exchange| exchange.all_gather(&[1]).unwrap_err()) {
        assert!(matches!(error, CollectiveError::Gone { .. }), "{error}");
    }
    assert!(began.elapsed() < AMPLE / 2);
}

#[test]
fn a_process_that_hangs_is_an_error_on_all_others_within_the_limit() {
    let mut ranks = joined(over_tcp(3, LIMIT));
    let hangs = ranks.pop().unwrap();
    let began = Instant::now();
    for error in on_all(ranks, |exchange| exchange.all_gather(&[1]).unwrap_err()) {
        assert!(
            matches!(error, CollectiveError::Late { .. } | CollectiveError::Gone { .. }),
            "{error}"
        );
    }
    assert!(
        (LIMIT / 2..20 * LIMIT).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    drop(hangs);
}

#[test]
fn a_group_that_is_not_complete_is_an_error_within_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = TcpExchange::host(listener, 3, LIMIT).unwrap_err();
    assert!(
        matches!(&error, CollectiveError::Late { missing, .. } if missing == &[1, 2]),
        "{error}"
    );
    // Nobody listens there any more.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(TcpExchange::join(nowhere, 1, 2, LIMIT).is_err());
}

#[test]
fn a_group_of_no_or_too_many_ranks_is_refused_at_once() {
    let begin = Instant::now();
    let address = "127.0.0.1:1".parse().unwrap();
    let most = MAX_RANKS as usize;
    for size in [0, most + 1, 1 << 40, usize::MAX] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let errors = [
            LocalGroup::ranks(&Device::cpu(), size, AMPLE).map(drop),
            ThreadExchange::ranks(size, AMPLE).map(drop),
            TcpExchange::host(listener, size, AMPLE).map(drop),
            TcpExchange::join(address, 1, size, AMPLE).map(drop),
        ]
        .map(Result::unwrap_err);
        for error in errors {
            assert!(
                matches!(error, CollectiveError::WrongNumberOfRanks { ranks } if ranks == size),
                "{error}"
            );
            assert!(error.to_string().ends_with("groups have 1 to 16384 ranks"), "{error}");
        }
    }
    for (rank, size) in [(0, 2), (2, 2), (usize::MAX, 3), (1, 1), (0, 1)] {
        let error = TcpExchange::join(address, rank, size, AMPLE).unwrap_err();
        assert!(matches!(error, CollectiveError::WrongRank { .. }), "{error}");
    }
    assert_eq!(ThreadExchange::ranks(most, AMPLE).unwrap().len(), most);
    assert_eq!(LocalGroup::ranks(&Device::cpu(), most, AMPLE).unwrap().len(), most);
    assert!(begin.elapsed() < AMPLE / 2);
}

/// What is no time at all for one rank is none for the others; the one that comes last waits for nobody.
#[test]
fn a_limit_of_nothing_is_late_and_one_of_everything_is_not() {
    for limit in [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_secs(1 << 62),
        AMPLE,
    ] {
        let groups = LocalGroup::ranks(&Device::cpu(), 2, limit).unwrap();
        on_all(groups, |group| {
            let mut buffer = Device::cpu().upload(&[1.0f32], [1, 1]).unwrap();
            group.all_reduce(&mut buffer.view_mut()).unwrap();
            group.finish().unwrap();
            assert_eq!(buffer.download().unwrap(), [2.0]);
        });
        let all = on_all(ThreadExchange::ranks(2, limit).unwrap(), |rank| {
            rank.all_gather(&[7]).unwrap()
        });
        assert_eq!(all, [[[7], [7]], [[7], [7]]]);
        let all = on_all(joined(over_tcp(3, limit)), |rank| rank.all_gather(&[8]).unwrap());
        assert_eq!(all[2], [[8], [8], [8]]);
    }
    let begin = Instant::now();
    let mut ranks = ThreadExchange::ranks(2, Duration::ZERO).unwrap();
    let late = ranks[0].all_gather(&[1]).unwrap_err();
    assert!(
        matches!(&late, CollectiveError::Late { missing, .. } if missing == &[1]),
        "{late}"
    );
    drop(ranks.pop());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let late = TcpExchange::host(listener, 2, Duration::ZERO).unwrap_err();
    assert!(
        matches!(&late, CollectiveError::Late { missing, .. } if missing == &[1]),
        "{late}"
    );
    let nobody = TcpExchange::join(address, 1, 2, Duration::ZERO).unwrap_err();
    assert!(matches!(nobody, CollectiveError::Connection { .. }), "{nobody}");
    assert!(begin.elapsed() < LIMIT * 4);
}
