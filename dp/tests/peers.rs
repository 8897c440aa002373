//! Memory that the devices of all ranks reach: threads on the CPU device, on one GPU that they share and on two, and processes
//! likewise.

use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use half::bf16;
use tilewright_dp::collective::{
    Apart, CollectiveError, Exchange, PeerArena, Peers, PeersError, Rendezvous, ThreadExchange,
};
use tilewright_dp::kernels::copy_to_slot;
use tilewright_dsl::call::Runtime;
use tilewright_dsl::element::Element;
use tilewright_dsl::{kernel, lang::*};
use tilewright_harness::testing::*;
use tilewright_runtime::device::cuda::{CudaEvent, Reach, device_count};
use tilewright_runtime::{
    Device, DeviceError, DeviceTensor, Launch, LaunchError, PeerBuffer, TensorError, peers_reach,
};
use tilewright_testing::{Part, ended, skip, start_ranks, turn};

const LIMIT: Duration = Duration::from_secs(60);
/// Rows before and after those that ranks store, which nobody writes.
const GUARDS: usize = 2;

/// The rows of `src` into the memory of every rank, from row `start` on.
#[kernel(grid = [src.extent(0), outs.len()])]
fn push_rows<T: Element>(outs: &mut TensorList<T, 2>, src: &Tensor<T, 2>, start: Count) {
    let cols = arange(src.extent(1));
    outs[program_id(1)].store([program_id(0) + start, cols], src.load([program_id(0), cols]));
}

/// Where ranks are: the CPU device, or GPUs by their numbers, which they take by turns.
#[derive(Clone, Copy, Debug)]
enum Place {
    Cpu,
    Gpus(u32),
}

impl Place {
    fn device(self, rank: usize) -> Device {
        match self {
            Self::Cpu => Device::cpu(),
            Self::Gpus(count) => Device::cuda(rank as u32 % count).unwrap(),
        }
    }

    /// As an argument of a process.
    fn word(self) -> String {
        match self {
            Self::Cpu => "0".to_owned(),
            Self::Gpus(count) => count.to_string(),
        }
    }

    fn of_word(word: &str) -> Self {
        match word.parse().unwrap() {
            0 => Self::Cpu,
            count => Self::Gpus(count),
        }
    }
}

/// The places that there are, for one test at a time.
fn places() -> (Vec<Place>, MutexGuard<'static, ()>) {
    let found = device_count().and_then(|count| {
        if count == 0 {
            Err(DeviceError::NoDevice)
        } else {
            Ok(count)
        }
    });
    let gpus = Part::Gpu.if_there(found).unwrap_or(0);
    let mut places = vec![Place::Cpu];
    if gpus > 0 {
        places.push(Place::Gpus(1));
    }
    match gpus > 1 && Reach::between(0, 1).unwrap() != Reach::None {
        true => places.push(Place::Gpus(2)),
        false => println!("ran with no two GPUs that reach each other ({gpus} are here)"),
    }
    (places, turn())
}

type Exchanged = Arc<dyn Exchange>;

/// Runs ranks as threads.
fn ranks<R: Send>(size: usize, limit: Duration, run: impl Fn(usize, Exchanged) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let run = &run;
        let exchanges = ThreadExchange::ranks(size, limit).unwrap().into_iter().enumerate();
        let start = |(rank, exchange)| scope.spawn(move || run(rank, Arc::new(exchange)));
        let ranks: Vec<_> = exchanges.map(start).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// Waits until all ranks are here, and what each has asked of its device is done.
fn meet(peers: &Peers, exchange: &Exchanged) {
    peers.device().synchronize().unwrap();
    exchange.all_gather(&[]).unwrap();
}

fn elements<T: Element>(rows: &Rows) -> Vec<T> {
    rows.iter().flatten().map(|&bits| T::from_bits64(bits)).collect()
}

fn bits<T: Element>(elements: &[T]) -> Vec<u64> {
    elements.iter().map(|element| element.to_bits64()).collect()
}

/// What an element holds that nobody has stored.
const SENTINEL: u64 = 0x5a;

/// Every rank stores its rows into the memory of each, one launch for each rank or one for all, and finds those of all.
fn exchange_rows<T: Element>(peers: &Peers, exchange: &Exchanged, rows: usize, columns: usize, as_list: bool) {
    let (rank, size, device) = (peers.rank(), peers.size(), peers.device());
    let all = [2 * GUARDS + size * rows, columns];
    let element = T::TYPE.size();
    // The memory begins somewhere in the buffer, and another part of it is not touched.
    let offset = 48 * element;
    let bytes = offset + all[0] * all[1] * element;
    let mut buffer = peers.buffer(bytes + 64).unwrap();
    assert!(buffer.bytes() >= bytes + 64 && buffer.ranks() == size && buffer.rank() == rank);
    for rank in 0..size {
        let found = buffer.tensor::<u8, 1>(rank, 0, [bytes]).unwrap().download().unwrap();
        assert!(found.iter().all(|&byte| byte == 0), "memory is zeros at first");
    }
    exchange.all_gather(&[]).unwrap();
    let sentinels = vec![T::from_bits64(SENTINEL); all[0] * all[1]];
    let mut own = buffer.tensor_mut::<T, 2>(rank, offset, all).unwrap();
    own.copy_from(&sentinels).unwrap();
    meet(peers, exchange);
    let source = |rank| unique::<T>(rows, columns, 3 * rank as u64 + 1);
    let src = device.upload(&elements::<T>(&source(rank)), [rows, columns]).unwrap();
    let start = (GUARDS + rank * rows) as u64;
    let mut outs = buffer.tensors_mut::<T, 2>(offset, all).unwrap();
    if as_list {
        push_rows(&mut outs[..], &src, Runtime(start)).launch(device).unwrap();
    } else {
        for out in &mut outs {
            let call = copy_to_slot(out, &src, Runtime(start), Runtime(rows as u64));
            call.launch(device).unwrap();
        }
    }
    meet(peers, exchange);
    let mut expected = vec![SENTINEL & (u64::MAX >> (64 - T::TYPE.bits())); all[0] * all[1]];
    for rank in 0..size {
        let at = (GUARDS + rank * rows) * columns;
        expected[at..at + rows * columns].copy_from_slice(&source(rank).concat());
    }
    // Each rank's memory, as its own device sees it and as the others do.
    for other in 0..size {
        let found = buffer.tensor::<T, 2>(other, offset, all).unwrap().download().unwrap();
        assert!(
            bits(&found) == expected,
            "memory of rank {other}, seen by rank {rank}: {rows} x {columns}"
        );
        let before = buffer.tensor::<u8, 1>(other, 0, [offset]).unwrap().download().unwrap();
        let after = buffer.tensor::<u8, 1>(other, bytes, [64]).unwrap().download().unwrap();
        assert!(before.iter().chain(&after).all(|&byte| byte == 0), "rank {other}");
    }
    exchange.all_gather(&[]).unwrap();
}

/// Rows of several types, sizes and alignments.
fn exchange_all_rows(place: Place, rank: usize, exchange: Exchanged) {
    let peers = Peers::join(&place.device(rank), exchange.clone()).unwrap();
    for as_list in [false, true] {
        exchange_rows::<bf16>(&peers, &exchange, 1, 7168, as_list);
        exchange_rows::<u8>(&peers, &exchange, 5, 13, as_list);
        exchange_rows::<f32>(&peers, &exchange, 33, 129, as_list);
        exchange_rows::<u64>(&peers, &exchange, 2, 1, as_list);
    }
    // More than one unit of what a GPU shares memory by.
    exchange_rows::<u64>(&peers, &exchange, 300, 512, true);
}

#[test]
fn threads_store_their_rows_into_the_memory_of_all() {
    let (places, _turn) = places();
    for place in places {
        for size in [1, 2, 3] {
            ranks(size, LIMIT, |rank, exchange| exchange_all_rows(place, rank, exchange));
        }
    }
}

/// What a rank that is a process of its own is to do, and where.
const ROLE: &str = "TILEWRIGHT_TEST_ROLE";
const PLACE: &str = "TILEWRIGHT_TEST_PLACE";

fn start(place: Place, roles: &[&str]) -> Vec<Child> {
    start_with(place, roles, |_, _| ())
}

/// Starts a rank for each role, of which `change` changes something.
fn start_with(place: Place, roles: &[&str], change: impl Fn(usize, &mut Command)) -> Vec<Child> {
    start_ranks("a_rank", roles.len(), |rank, command| {
        command.envs([(ROLE, roles[rank]), (PLACE, &place.word())]);
        change(rank, command);
    })
}

#[test]
#[ignore = "run by the tests of this file"]
fn a_rank() {
    let role = std::env::var(ROLE).unwrap();
    let place = Place::of_word(&std::env::var(PLACE).unwrap());
    let exchange: Exchanged = Arc::new(Rendezvous::from_env().unwrap().meet(LIMIT).unwrap());
    let rank = exchange.rank();
    match role.as_str() {
        "stores" => exchange_all_rows(place, rank, exchange),
        "transfers" => transfer(place, rank, exchange),
        "reaches or says so" => {
            let peers = Peers::join(&place.device(rank), exchange.clone());
            match peers.and_then(|peers| peers.buffer(64)) {
                Ok(_) => exchange_all_rows(place, rank, exchange),
                Err(CollectiveError::Peers(PeersError::NotThere { .. }) | CollectiveError::Device(_)) => {
                    eprintln!("GPUs that are hidden from each other's processes do not reach each other here");
                }
                Err(error) => panic!("{error}"),
            }
        }
        "dies after its stores" | "goes on" => stores_and_dies(place, rank, exchange, role == "goes on"),
        "dies before it gives" => {
            let _peers = Peers::join(&place.device(rank), exchange).unwrap();
            std::process::abort();
        }
        "waits for what it gets" => {
            let peers = Peers::join(&place.device(rank), exchange.clone()).unwrap();
            let error = peers.buffer(64).unwrap_err();
            assert!(matches!(error, CollectiveError::Gone { gone: 1 }), "{error}");
            // The device is usable.
            let device = peers.device();
            assert_eq!(device.upload(&[7u8], [1]).unwrap().download().unwrap(), [7]);
        }
        other => panic!("{other}"),
    }
}

/// Transfers to and from the memory of others, which the host asks for: each rank writes a word for each pair of it and another.
fn transfer(place: Place, rank: usize, exchange: Exchanged) {
    let peers = Peers::join(&place.device(rank), exchange.clone()).unwrap();
    let size = peers.size();
    let word = |from: usize, to: usize, round: usize| (100 * round + 10 * from + to) as u64;
    for round in 0..3 {
        let mut buffer = peers.buffer(round << 21).unwrap();
        for to in 0..size {
            let mut out = buffer.tensor_mut::<u64, 1>(to, 8 * rank, [1]).unwrap();
            out.copy_from(&[word(rank, to, round)]).unwrap();
        }
        exchange.all_gather(&[]).unwrap();
        for to in 0..size {
            let expected: Vec<_> = (0..size).map(|from| word(from, to, round)).collect();
            let found = buffer.tensor::<u64, 1>(to, 0, [size]).unwrap().download().unwrap();
            assert_eq!(found, expected, "memory of rank {to}, seen by rank {rank}");
        }
        exchange.all_gather(&[]).unwrap();
    }
}

#[test]
fn what_is_transferred_into_the_memory_of_a_peer_is_there() {
    let (places, _turn) = places();
    for place in places {
        for size in [1, 2, 4] {
            ranks(size, LIMIT, |rank, exchange| transfer(place, rank, exchange));
            assert!(
                ended(start(place, &vec!["transfers"; size]))
                    .iter()
                    .all(ExitStatus::success)
            );
        }
    }
}

#[test]
fn processes_store_their_rows_into_the_memory_of_all() {
    let (places, _turn) = places();
    for place in places {
        for size in [2, 3] {
            let ended = ended(start(place, &vec!["stores"; size]));
            assert!(
                ended.iter().all(ExitStatus::success),
                "{place:?}, {size} processes: {ended:?}"
            );
        }
    }
}

/// Each process sees its own GPU only, as number 0. Whether the driver maps memory of the other one, it says when it is asked: then
/// all ranks have it, or all have an error.
#[test]
fn processes_that_see_only_their_own_gpu_reach_each_other_or_are_told() {
    let (places, _turn) = places();
    if !places.iter().any(|place| matches!(place, Place::Gpus(2))) {
        return skip("two GPUs that reach each other are needed");
    }
    let seen = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_else(|_| "0,1".to_owned());
    let seen: Vec<&str> = seen.split(',').collect();
    let ranks = start_with(Place::Gpus(1), &["reaches or says so"; 2], |rank, command| {
        command.env("CUDA_VISIBLE_DEVICES", seen[rank]);
    });
    assert!(ended(ranks).iter().all(ExitStatus::success));
}

/// Rank 1 stores and dies without leaving; what it has stored is there, and so is its memory for who still stores into it.
fn stores_and_dies(place: Place, rank: usize, exchange: Exchanged, goes_on: bool) {
    let device = place.device(rank);
    let peers = Peers::join(&device, exchange.clone()).unwrap();
    let mut buffer = peers.buffer(1 << 20).unwrap();
    let row = |value: u32| device.upload(&vec![value; 1024], [1, 1024]).unwrap();
    let store = |buffer: &mut PeerBuffer, at: usize, value: u32| {
        let mut out = buffer.tensor_mut::<u32, 2>(at, 0, [4, 1024]).unwrap();
        copy_to_slot(&mut out, &row(value), Runtime(rank as u64), Runtime(1))
            .launch(&device)
            .unwrap();
        device.synchronize().unwrap();
    };
    (0..peers.size()).for_each(|at| store(&mut buffer, at, 10 + rank as u32));
    exchange.all_gather(&[]).unwrap();
    if !goes_on {
        std::process::abort();
    }
    let began = Instant::now();
    let error = exchange.all_gather(&[]).unwrap_err();
    assert!(matches!(error, CollectiveError::Gone { gone: 1 }), "{error}");
    // It is dead for certain, and its memory is not.
    thread::sleep(Duration::from_millis(200));
    for round in 0..20 {
        store(&mut buffer, 1, 100 + round);
        let found = buffer.tensor::<u32, 2>(1, 0, [4, 1024]).unwrap().download().unwrap();
        assert!(found[1024 * rank..][..1024].iter().all(|&value| value == 100 + round));
        assert!(found[1024..2048].iter().all(|&value| value == 11));
    }
    let own = buffer.tensor::<u32, 2>(rank, 0, [4, 1024]).unwrap().download().unwrap();
    for other in 0..peers.size() {
        assert!(
            own[1024 * other..][..1024]
                .iter()
                .all(|&value| value == 10 + other as u32),
            "{other}"
        );
    }
    // The group is over, and the device is not.
    assert!(peers.buffer(64).is_err());
    drop((buffer, peers));
    let (mut again, row) = (device.zeros::<u32, 2>([1, 1024]).unwrap(), row(3));
    copy_to_slot(&mut again, &row, Runtime(0), Runtime(1))
        .launch(&device)
        .unwrap();
    assert_eq!(again.download().unwrap(), [3; 1024]);
    assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
}

#[test]
fn what_a_process_stored_before_it_died_is_there_and_so_is_its_memory() {
    let (places, _turn) = places();
    for place in places {
        let ended = ended(start(place, &["goes on", "dies after its stores", "goes on"]));
        let succeeded: Vec<_> = ended.iter().map(ExitStatus::success).collect();
        assert_eq!(succeeded, [true, false, true], "{place:?}");
    }
}

#[test]
fn a_process_that_dies_before_it_gives_its_memory_is_named_on_the_others() {
    let (places, _turn) = places();
    for place in places {
        let began = Instant::now();
        let ended = ended(start(
            place,
            &[
                "waits for what it gets",
                "dies before it gives",
                "waits for what it gets",
            ],
        ));
        let succeeded: Vec<_> = ended.iter().map(ExitStatus::success).collect();
        assert_eq!(succeeded, [true, false, true], "{place:?}");
        assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
    }
}

/// Whoever leaves first, of threads: the last one stores into the memory of those that are gone.
#[test]
fn ranks_that_leave_in_any_order_take_nothing_from_those_that_stay() {
    let (places, _turn) = places();
    for place in places {
        for last in 0..3 {
            let gone = AtomicUsize::new(0);
            ranks(3, LIMIT, |rank, exchange| {
                let device = place.device(rank);
                let peers = Peers::join(&device, exchange.clone()).unwrap();
                let mut buffer = peers.buffer(4 << 20).unwrap();
                let src = device.upload(&vec![rank as u32; 1 << 20], [1024, 1024]).unwrap();
                let push = |buffer: &mut PeerBuffer| {
                    let mut outs = buffer.tensors_mut::<u32, 2>(0, [1024, 1024]).unwrap();
                    push_rows(&mut outs[..], &src, Runtime(0)).launch(&device).unwrap();
                };
                push(&mut buffer);
                exchange.all_gather(&[]).unwrap();
                if rank != last {
                    // With stores on their way, both its own and the others'.
                    push(&mut buffer);
                    drop((buffer, peers, exchange));
                    gone.fetch_add(1, SeqCst);
                    return;
                }
                while gone.load(SeqCst) < 2 {
                    push(&mut buffer);
                    thread::yield_now();
                }
                // Their devices are done with what they were asked.
                (0..3).for_each(|rank| place.device(rank).synchronize().unwrap());
                push(&mut buffer);
                for rank in 0..3 {
                    let found = buffer.tensor::<u32, 1>(rank, 0, [1 << 20]).unwrap().download().unwrap();
                    assert!(
                        found.iter().all(|&value| value == last as u32),
                        "{place:?}: {rank} of {last}"
                    );
                }
            });
        }
    }
}

/// One rank replays a graph over memory that all others have outgrown.
#[test]
fn a_graph_keeps_the_memory_of_all_ranks_that_it_stores_into_when_they_have_grown() {
    let (places, _turn) = places();
    for place in places {
        ranks(2, LIMIT, |rank, exchange| {
            let device = place.device(rank);
            let peers = Arc::new(Peers::join(&device, exchange.clone()).unwrap());
            let mut arena = PeerArena::new(peers.clone());
            let src = device.upload(&[rank as u32 + 1; 64], [1, 64]).unwrap();
            let old = arena.reserve(512).unwrap();
            let hold = old.hold();
            let mut outs = old.tensors_mut::<u32, 2>(0, [2, 64]).unwrap();
            // What the graph launches is built before.
            push_rows(&mut outs[..], &src, Runtime(rank as u64))
                .launch(&device)
                .unwrap();
            let mut graph = device
                .capture(|stream| {
                    push_rows(&mut outs[..], &src, Runtime(rank as u64))
                        .launch_on(stream)
                        .map(drop)
                })
                .unwrap();
            meet(&peers, &exchange);
            outs[rank].copy_from(&[0; 128]).unwrap();
            meet(&peers, &exchange);
            // What is in this rank's old memory.
            let own = old.tensor::<u32, 2>(rank, 0, [2, 64]).unwrap();
            let mut seen = device.zeros::<u32, 2>([2, 64]).unwrap();
            copy_to_slot(&mut seen, own, Runtime(0), Runtime(2))
                .launch(&device)
                .unwrap();
            let mut look = device
                .capture(|stream| {
                    copy_to_slot(&mut seen, own, Runtime(0), Runtime(2))
                        .launch_on(stream)
                        .map(drop)
                })
                .unwrap();
            let capacity = arena.capacity();
            assert!(arena.reserve(capacity).is_ok() && arena.growths() == 1);
            let new = arena.reserve(capacity + 1).unwrap();
            assert!(new.bytes() > capacity);
            meet(&peers, &exchange);
            if rank == 0 {
                graph.launch().unwrap();
            }
            meet(&peers, &exchange);
            look.launch().unwrap();
            let found = seen.download().unwrap();
            assert!(found[..64].iter().all(|&value| value == 1), "{place:?}");
            assert!(found[64..].iter().all(|&value| value == 0), "{place:?}");
            // To the new memory nothing was written.
            for rank in 0..2 {
                let found = new.tensor::<u32, 1>(rank, 0, [128]).unwrap().download().unwrap();
                assert_eq!(found, [0; 128], "{place:?}");
            }
            assert_eq!(arena.growths(), 2);
            // The graph is the last to have it.
            meet(&peers, &exchange);
            drop((hold, arena, peers));
            graph.launch().unwrap();
            device.synchronize().unwrap();
            drop(graph);
            device.synchronize().unwrap();
        });
    }
}

/// A rank that shares its GPU with another does not wait for it, and its own streams wait for each other.
#[test]
fn streams_of_one_rank_are_in_order_and_a_shared_place_is_prepared_for_by_rank() {
    let (places, _turn) = places();
    for place in places {
        let device = place.device(0);
        let made = ThreadExchange::ranks(2, LIMIT).unwrap();
        let join = |exchange: ThreadExchange| {
            let peers = Peers::join(&device, Arc::new(exchange)).unwrap();
            peers.buffer(1 << 16).unwrap()
        };
        let mut buffers: Vec<PeerBuffer> = thread::scope(|scope| {
            let threads: Vec<_> = made
                .into_iter()
                .map(|exchange| scope.spawn(|| join(exchange)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let streams = [device.stream(), device.new_stream().unwrap()];
        let src: Vec<DeviceTensor<u32, 2>> = (0..8)
            .map(|value| device.upload(&[value; 4096], [4, 1024]).unwrap())
            .collect();
        let mut out = buffers[0].tensor_mut::<u32, 2>(0, 0, [4, 1024]).unwrap();
        let mut prepared = device
            .prepare(&copy_to_slot(&mut out, &src[0], Runtime(0), Runtime(4)))
            .unwrap();
        for round in 0..64 {
            let (stream, value) = (&streams[round % 3 % 2], round % 8);
            // Both ranks have rank 0's memory at one address, and each an order of its own.
            let buffer = &mut buffers[round % 2];
            let mut out = buffer.tensor_mut::<u32, 2>(0, 0, [4, 1024]).unwrap();
            let call = copy_to_slot(&mut out, &src[value], Runtime(0), Runtime(4));
            prepared.launch_on(call, stream).unwrap();
            let found = buffer.tensor::<u32, 1>(0, 0, [4096]).unwrap().download().unwrap();
            assert!(found.iter().all(|&found| found as usize == value), "{place:?}, {round}");
        }
    }
}

/// Two ranks that share a GPU have one memory and each an order of its own: what one waits for, the other may have to store.
#[test]
fn a_rank_does_not_wait_for_what_another_was_asked_to_do_with_the_same_memory() {
    const ROWS: usize = 4096;
    let (places, _turn) = places();
    if !places.iter().any(|place| matches!(place, Place::Gpus(1))) {
        return skip("a GPU is needed");
    }
    let device = Device::cuda(0).unwrap();
    let buffers = ranks(2, LIMIT, |_, exchange| {
        let peers = Peers::join(&device, exchange).unwrap();
        peers.buffer(ROWS << 14).unwrap()
    });
    let [mut slow, mut quick] = <[PeerBuffer; 2]>::try_from(buffers).unwrap();
    let streams = [device.new_stream().unwrap(), device.new_stream().unwrap()];
    let src = device.zeros::<u32, 2>([ROWS, 4096]).unwrap();
    let row = device.upload(&[7u32; 4096], [1, 4096]).unwrap();
    let store = |buffer: &mut PeerBuffer, rows: &DeviceTensor<u32, 2>| {
        let count = rows.extents()[0];
        let mut out = buffer.tensor_mut::<u32, 2>(0, 0, [ROWS, 4096]).unwrap();
        let call = copy_to_slot(&mut out, rows, Runtime(0), Runtime(count as u64));
        call.launch_on(&streams[usize::from(count == 1)]).unwrap();
    };
    // Kernels are compiled here, and what moves from stream to stream has moved.
    store(&mut slow, &src);
    store(&mut quick, &row);
    device.synchronize().unwrap();
    for _ in 0..500 {
        store(&mut slow, &src);
    }
    let cuda = device.as_cuda().unwrap();
    let end = CudaEvent::new(cuda).unwrap();
    end.record(streams[0].as_cuda().unwrap()).unwrap();
    store(&mut quick, &row);
    streams[1].as_cuda().unwrap().synchronize().unwrap();
    assert!(!end.is_passed().unwrap(), "the quick rank waited for the slow one");
    device.synchronize().unwrap();
    assert!(end.is_passed().unwrap());
}

/// An exchange whose words are others at one call, if any.
struct Liar {
    inner: ThreadExchange,
    calls: AtomicUsize,
    at: Option<usize>,
    change: fn(&[u64]) -> Vec<u64>,
}

impl Exchange for Liar {
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
        match Some(self.calls.fetch_add(1, SeqCst)) == self.at {
            true => self.inner.all_gather(&(self.change)(words)),
            false => self.inner.all_gather(words),
        }
    }
}

/// What each of three ranks gets, of which rank 1 says something else at one of its exchanges.
fn with_a_liar(at: usize, change: fn(&[u64]) -> Vec<u64>) -> Vec<CollectiveError> {
    let began = Instant::now();
    let exchanges = ThreadExchange::ranks(3, LIMIT).unwrap();
    let run = |inner: ThreadExchange| {
        let at = (inner.rank() == 1).then_some(at);
        let exchange: Exchanged = Arc::new(Liar {
            inner,
            calls: AtomicUsize::new(0),
            at,
            change,
        });
        Peers::join(&Device::cpu(), exchange)
            .and_then(|peers| peers.buffer(64))
            .unwrap_err()
    };
    let errors = thread::scope(|scope| {
        let threads: Vec<_> = exchanges
            .into_iter()
            .map(|exchange| scope.spawn(move || run(exchange)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
    errors
}

fn flipped(words: &[u64], at: usize) -> Vec<u64> {
    let mut words = words.to_vec();
    words[at] ^= 1;
    words
}

#[test]
fn what_keeps_two_ranks_apart_is_the_same_error_on_all() {
    for error in with_a_liar(0, |words| flipped(words, 1)) {
        let CollectiveError::Peers(PeersError::Elsewhere {
            rank: 0,
            other: 1,
            apart: Apart::Host,
        }) = error
        else {
            panic!("{error}");
        };
    }
    for error in with_a_liar(0, |words| flipped(words, 3)) {
        assert!(
            error.to_string().contains("ranks 0 and 1") && error.to_string().contains("namespaces"),
            "{error}"
        );
    }
    for error in with_a_liar(0, |words| flipped(words, 6)) {
        assert!(
            matches!(error, CollectiveError::Peers(PeersError::Mixed { rank: 0, other: 1 })),
            "{error}"
        );
    }
    // The GPU of rank 1 does not reach that of rank 2.
    for error in with_a_liar(1, |_| vec![3, 2]) {
        assert!(
            matches!(
                error,
                CollectiveError::Peers(PeersError::NoAccess { rank: 1, other: 2 })
            ),
            "{error}"
        );
        assert!(
            error.to_string().contains("doctor") && error.to_string().contains("NCCL"),
            "{error}"
        );
    }
}

#[test]
fn a_rank_that_has_no_memory_or_reaches_none_is_named_on_all() {
    for at in [0, 3, 4] {
        for error in with_a_liar(at, |_| Vec::new()) {
            assert!(
                matches!(error, CollectiveError::Peers(PeersError::NotThere { rank: 1 })),
                "at {at}: {error}"
            );
        }
    }
    // What is no word of a rank.
    for at in [0, 1, 2] {
        for error in with_a_liar(at, |_| vec![99; 3]) {
            assert!(
                matches!(error, CollectiveError::Malformed { from: 1 }),
                "at {at}: {error}"
            );
        }
    }
    // More than any memory has: each rank says so itself.
    for error in with_a_liar(2, |words| vec![words[0], u64::MAX]) {
        assert!(
            matches!(error, CollectiveError::Device(DeviceError::OutOfHostMemory { .. })),
            "{error}"
        );
    }
}

#[test]
fn a_rank_that_is_late_or_leaves_is_an_error_on_the_others() {
    let limit = Duration::from_millis(300);
    let errors = ranks(3, limit, |rank, exchange| {
        let peers = Peers::join(&Device::cpu(), exchange.clone()).unwrap();
        if rank == 2 {
            thread::sleep(3 * limit);
        }
        peers.buffer(64).unwrap_err()
    });
    assert!(
        errors[..2]
            .iter()
            .any(|error| matches!(error, CollectiveError::Late { missing, .. } if missing == &[2]))
    );
    let errors = ranks(3, LIMIT, |rank, exchange| {
        let peers = Peers::join(&Device::cpu(), exchange.clone()).unwrap();
        (rank != 2).then(|| peers.buffer(64).unwrap_err())
    });
    for error in errors.into_iter().flatten() {
        assert!(matches!(error, CollectiveError::Gone { gone: 2 }), "{error}");
    }
}

#[test]
fn memory_is_divided_and_what_leaves_it_is_refused() {
    let exchange: Exchanged = Arc::new(ThreadExchange::ranks(1, LIMIT).unwrap().remove(0));
    let peers = Arc::new(Peers::join(&Device::cpu(), exchange).unwrap());
    let mut rows = peers.buffer(256).unwrap();
    let bytes = rows.bytes();
    let mut flags = rows.split_off(128).unwrap();
    assert_eq!((rows.bytes(), flags.bytes()), (128, bytes - 128));
    flags.tensor_mut::<u32, 1>(0, 4, [1]).unwrap().copy_from(&[7]).unwrap();
    rows.tensor_mut::<u32, 1>(0, 124, [1]).unwrap().copy_from(&[6]).unwrap();
    assert_eq!(flags.tensor::<u32, 1>(0, 0, [2]).unwrap().download().unwrap(), [0, 7]);
    let too_long = rows.tensor::<u32, 1>(0, 128, [1]).unwrap_err();
    assert!(
        matches!(too_long, TensorError::NotWithin { bytes: 0, .. }),
        "{too_long}"
    );
    assert!(rows.tensor::<u8, 1>(0, usize::MAX, [2]).is_err() && rows.split_off(129).is_err());
    let misaligned = rows.tensor::<u32, 1>(0, 2, [1]).unwrap_err();
    assert!(matches!(misaligned, TensorError::Misaligned { .. }), "{misaligned}");
    let nobody = rows.tensor_mut::<u8, 1>(1, 0, [1]).unwrap_err();
    assert_eq!(nobody, TensorError::NoSuchRank { rank: 1, ranks: 1 });
    // One launch may use both parts, and not one part twice.
    let (one, two) = (
        &mut rows.tensors_mut::<u32, 2>(0, [1, 2]).unwrap(),
        flags.tensor::<u32, 2>(0, 4, [1, 2]).unwrap(),
    );
    push_rows(&mut one[..], two, Runtime(0)).launch(peers.device()).unwrap();
    assert_eq!(rows.tensor::<u32, 1>(0, 0, [2]).unwrap().download().unwrap(), [7, 0]);
    let mut arena = PeerArena::new(peers);
    arena.reserve(64).unwrap();
    arena.seal();
    let capacity = arena.capacity();
    assert!(arena.reserve(capacity).is_ok());
    let sealed = arena.reserve(capacity + 1).unwrap_err();
    assert!(
        matches!(sealed, CollectiveError::Peers(PeersError::Sealed { .. })),
        "{sealed}"
    );
}

#[test]
fn a_launch_sees_that_two_ranks_have_one_memory() {
    let (places, _turn) = places();
    for place in places {
        let shown: Vec<PeerBuffer> = ranks(2, LIMIT, |rank, exchange| {
            let peers = Peers::join(&place.device(rank), exchange).unwrap();
            peers.buffer(64).unwrap()
        });
        let [mut one, two] = <[PeerBuffer; 2]>::try_from(shown).unwrap();
        if place.device(0).to_string() != place.device(1).to_string() {
            continue;
        }
        let mut outs = one.tensors_mut::<u32, 2>(0, [1, 2]).unwrap();
        let src = two.tensor::<u32, 2>(1, 0, [1, 2]).unwrap();
        let error = push_rows(&mut outs[..], src, Runtime(0))
            .launch(&place.device(0))
            .unwrap_err();
        assert!(matches!(error, LaunchError::Overlap { .. }), "{error}");
    }
}

#[test]
fn devices_say_whether_all_of_them_reach_each_other() {
    peers_reach(&[Device::cpu(), Device::cpu()]).unwrap();
    let (places, _turn) = places();
    for place in places {
        let devices = [place.device(0), place.device(1), place.device(0)];
        peers_reach(&devices).unwrap();
        if let Place::Gpus(_) = place {
            let mixed = peers_reach(&[Device::cpu(), place.device(0)]).unwrap_err();
            assert_eq!(mixed, DeviceError::MixedPeers);
            let exchange = |rank: usize, exchange: Exchanged| {
                let device = if rank == 0 { Device::cpu() } else { place.device(0) };
                Peers::join(&device, exchange).unwrap_err().to_string()
            };
            for error in ranks(2, LIMIT, exchange) {
                assert!(error.contains("one has a GPU"), "{error}");
            }
        }
    }
}
