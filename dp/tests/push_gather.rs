//! Gathers that store straight into every rank's buffer, launched by hand: in two launches, with late ranks, and what the kernels
//! become for GPUs.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use half::bf16;
use tilewright_dp::collective::{Exchange, Peers, ThreadExchange};
use tilewright_dp::kernels::peers::{Cut, PLACES};
use tilewright_dp::kernels::{await_gather, copy_to_slot, push_gather, push_own_rows, push_quantized};
use tilewright_dsl::backend::Module;
use tilewright_dsl::backend::ptx::Target;
use tilewright_dsl::call::{OfRank, Runtime};
use tilewright_dsl::element::Element;
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::lower::{Lowered, lower};
use tilewright_dsl::schedule::{Machine, choose};
use tilewright_harness::testing::*;
use tilewright_runtime::compile::{Architecture, CompileOptions, Nvrtc, compile};
use tilewright_runtime::device::cuda::{Reach, device_count};
use tilewright_runtime::{Device, DeviceTensor, Launch, LaunchError, Launched, PeerBuffer, PeerMemory};
use tilewright_testing::{Part, Ptxas, turn};

const LIMIT: Duration = Duration::from_secs(60);
const LIMIT_NS: u64 = 1_000_000_000;
const HIDDEN: usize = 24;

/// What a rank has for its gathers.
struct Seat {
    device: Device,
    rank: usize,
    ranks: usize,
    rows: usize,
    buffer: PeerBuffer,
    flags: PeerBuffer,
    epoch: DeviceTensor<u64, 1>,
    state: DeviceTensor<u64, 1>,
    report: DeviceTensor<i64, 1>,
}

impl Seat {
    fn new(device: Device, exchange: Arc<dyn Exchange>, rows: usize) -> Self {
        let peers = Peers::join(&device, exchange).unwrap();
        let (rank, ranks) = (peers.rank(), peers.size());
        let bytes = 2 * rows * HIDDEN * 2;
        let mut buffer = peers.buffer(bytes + ranks * 2 * PLACES * 4).unwrap();
        let flags = buffer.split_off(bytes).unwrap();
        Self {
            epoch: device.zeros([1]).unwrap(),
            state: device.zeros([PLACES]).unwrap(),
            report: device.zeros([2]).unwrap(),
            device,
            rank,
            ranks,
            rows,
            buffer,
            flags,
        }
    }

    /// Begins to gather `src` into a half on so many programs, or, if it waits, gathers it.
    fn push(
        &mut self,
        src: &DeviceTensor<bf16, 2>,
        [start, count, place]: [u64; 3],
        [half, places]: [u64; 2],
        waits: bool,
    ) -> Result<(), LaunchError> {
        let mut buffers = self.buffer.tensors_mut(0, [2, self.rows, HIDDEN]).unwrap();
        let mut flags = self.flags.tensors_mut(0, [self.ranks, 2 * PLACES]).unwrap();
        let [first, start, count, place] = [0, start, count, place].map(Runtime);
        let [end, rows, half, places] = [0, 0, half, places].map(Runtime);
        let (buffers, flags) = (OfRank(self.rank, &mut buffers), OfRank(self.rank, &mut flags));
        let (epoch, state, report) = (&mut self.epoch, &mut self.state, &mut self.report);
        push_gather::<bf16>(
            buffers, flags, epoch, state, report, src, first, start, count, place, end, rows, half, places, LIMIT_NS,
            16, waits,
        )
        .launch(&self.device)
        .map(drop)
    }

    fn wait(&mut self, [half, places]: [u64; 2]) -> Result<(), LaunchError> {
        let flags = self.flags.tensors::<u32, 2>(0, [self.ranks, 2 * PLACES]).unwrap();
        let (half, places) = (Runtime(half), Runtime(places));
        await_gather(
            OfRank(self.rank, &flags),
            &self.epoch,
            &mut self.state,
            half,
            places,
            LIMIT_NS,
        )
        .launch(&self.device)
        .map(drop)
    }

    /// The rows of a half, by a launch.
    fn half(&self, half: u64) -> Vec<bf16> {
        let start = half as usize * self.rows * HIDDEN * 2;
        let view = self
            .buffer
            .tensor::<bf16, 2>(self.rank, start, [self.rows, HIDDEN])
            .unwrap();
        let mut copy = self.device.zeros::<bf16, 2>([self.rows, HIDDEN]).unwrap();
        copy_to_slot(&mut copy, view, Runtime(0), Runtime(self.rows as u64))
            .launch(&self.device)
            .unwrap();
        copy.download().unwrap()
    }
}

fn on_all<R: Send>(ranks: usize, run: impl Fn(usize, Arc<dyn Exchange>) -> R + Sync) -> Vec<R> {
    let run = &run;
    thread::scope(|scope| {
        let exchanges = ThreadExchange::ranks(ranks, LIMIT).unwrap().into_iter().enumerate();
        let threads: Vec<_> = exchanges
            .map(|(rank, exchange)| scope.spawn(move || run(rank, Arc::new(exchange))))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// In one launch or in two, into the same half again or by turns, on one program or several.
#[test]
fn a_gather_is_one_launch_or_two_into_whatever_half() {
    const MOST: usize = 4;
    let _turn = turn();
    let test = |ranks: usize, device: &(dyn Fn(usize) -> Device + Sync)| {
        on_all(ranks, |rank, exchange| {
            let mut seat = Seat::new(device(rank), exchange.clone(), MOST * ranks);
            let mut common = fastrand::Rng::with_seed(3);
            let mut own = fastrand::Rng::with_seed(rank as u64);
            for step in 0..300 {
                let rows_of = |rank: usize| -> Vec<bf16> {
                    let rows = unique::<bf16>(MOST, HIDDEN, step * 8 + rank as u64);
                    rows.iter().flatten().map(|&bits| bf16::from_bits64(bits)).collect()
                };
                let src = seat.device.upload(&rows_of(rank), [MOST, HIDDEN]).unwrap();
                let counts: Vec<u64> = (0..ranks).map(|_| common.u64(..=MOST as u64)).collect();
                let turn = [common.u64(..2), common.u64(1..5)];
                if own.u8(..8) == 0 {
                    thread::sleep(Duration::from_micros(own.u64(..1000)));
                }
                let place = [(rank * MOST) as u64, counts[rank], MOST as u64];
                match own.bool() {
                    true => seat.push(&src, place, turn, true).unwrap(),
                    false => {
                        seat.push(&src, place, turn, false).unwrap();
                        seat.wait(turn).unwrap();
                    }
                }
                let found = seat.half(turn[0]);
                for (rank, rows) in found.chunks(MOST * HIDDEN).enumerate() {
                    let count = counts[rank] as usize * HIDDEN;
                    let bits = |rows: &[bf16]| rows.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&rows[..count]), bits(&rows_of(rank)[..count]), "step {step}");
                    assert!(bits(&rows[count..]).iter().all(|&bits| bits == 0), "step {step}");
                }
            }
            seat.device.synchronize().unwrap();
            exchange.all_gather(&[]).unwrap();
        });
    };
    for ranks in [2, 4, 8] {
        test(ranks, &|_| Device::cpu());
    }
    let gpus = device_count().unwrap_or(0) as usize;
    match gpus > 1 && Reach::between(0, 1).is_ok_and(|reach| reach != Reach::None) {
        true => test(2, &|rank| Device::cuda(rank as u32).unwrap()),
        false => println!("ran with no two GPUs that reach each other ({gpus} are here)"),
    }
}

/// The rows of a rank that the kernels are cut for.
const ROWS: [u64; 4] = [1, 8, 128, 8192];
const COLUMNS: usize = 7168;

/// The kernels of one of four ranks, as the CPU device has them, for launches of so many rows.
fn kernels(ranks: usize, rows: u64) -> Vec<Kernel> {
    let device = Device::cpu();
    let memory = || [(); 4].map(|()| PeerMemory::new(&device, 1 << 20).unwrap());
    let buffer = || PeerBuffer::new(&device, 0, &memory()[..ranks]).unwrap();
    let (mut buffers, mut payloads, mut scales, mut flags) = (buffer(), buffer(), buffer(), buffer());
    let (mut epoch, mut state) = (device.zeros([1]).unwrap(), device.zeros([PLACES]).unwrap());
    let mut report = device.zeros([2]).unwrap();
    let src = device.zeros::<bf16, 2>([2, COLUMNS]).unwrap();
    let cut = Cut::of(rows, COLUMNS, 2);
    let [none, one, places] = [0, 1, 1].map(Runtime);
    let mut buffers = buffers.tensors_mut::<bf16, 3>(0, [2, 4, COLUMNS]).unwrap();
    let mut flags = flags.tensors_mut::<u32, 2>(0, [ranks, 2 * PLACES]).unwrap();
    let kernel = |launched: Launched| launched.variant().unwrap().kernel().clone();
    let (piece, limit) = (cut.piece, 1);
    let push = push_gather::<bf16>(
        OfRank(0, &mut buffers[..]),
        OfRank(0, &mut flags[..]),
        &mut epoch,
        &mut state,
        &mut report,
        &src,
        none,
        none,
        one,
        one,
        one,
        one,
        one,
        places,
        limit,
        piece,
        true,
    )
    .launch(&device)
    .unwrap();
    let own = push_own_rows::<bf16>(
        OfRank(0, &mut buffers[..]),
        OfRank(0, &mut flags[..]),
        &mut epoch,
        &mut state,
        none,
        one,
        one,
        one,
        none,
        places,
        limit,
        piece,
    )
    .launch(&device)
    .unwrap();
    let quantized = push_quantized::<bf16>(
        OfRank(0, &mut payloads.tensors_mut(0, [2, 4, COLUMNS]).unwrap()[..]),
        OfRank(0, &mut scales.tensors_mut(0, [2, 4, COLUMNS / 128]).unwrap()[..]),
        OfRank(0, &mut flags[..]),
        &mut epoch,
        &mut state,
        &mut report,
        &src,
        none,
        none,
        one,
        one,
        one,
        one,
        one,
        places,
        limit,
    )
    .launch(&device)
    .unwrap();
    let wait = {
        let flags: Vec<_> = flags.iter().map(|flags| flags.view()).collect();
        await_gather(OfRank(0, &flags[..]), &epoch, &mut state, one, places, limit)
            .launch(&device)
            .unwrap()
    };
    [push, own, quantized, wait].map(kernel).into()
}

fn lowered(kernel: &Kernel, rows: u64) -> Lowered {
    let programs = Cut::of(rows, COLUMNS, 2).places;
    lower(kernel, &choose(kernel, &Machine::H200, programs)).unwrap()
}

/// What a thread does of rows of the rank: the first loop around stores to peers.
fn pushing(text: &str) -> Vec<&str> {
    let mut loops = text.split(": for ").skip(1);
    let pushing = loops.find(|body| body.contains("store buffers@")).unwrap();
    let end = pushing.find("\n  }").unwrap();
    pushing[..end].lines().map(str::trim).collect()
}

#[test]
fn rows_are_loaded_once_and_stored_to_every_rank_in_whole_vectors_without_barriers() {
    for ranks in [2, 4] {
        for rows in ROWS {
            let [push, ..] = &kernels(ranks, rows)[..] else {
                panic!("a kernel is missing")
            };
            let lowered = lowered(push, rows);
            let text = lowered.kernel.to_string();
            if std::env::var_os("SHOW").is_some() {
                println!("{text}");
            }
            let lines = pushing(&text);
            let loads = lines
                .iter()
                .filter(|line| line.contains("load") && line.contains("src["));
            let (loads, wide) = loads.fold((0, 0), |(all, wide), line| {
                (all + 1, wide + usize::from(line.contains("bf16x8")))
            });
            let stores = lines.iter().filter(|line| line.starts_with("store buffers@")).count();
            // Of a whole row each of 256 threads has four vectors, the last one not in all of them.
            let in_flight = if Cut::of(rows, COLUMNS, 2).piece == COLUMNS {
                4
            } else {
                1
            };
            assert_eq!((loads, wide), (in_flight, in_flight), "{text}");
            assert_eq!(stores, in_flight * ranks, "{text}");
            assert!(!lines.iter().any(|line| line.contains("barrier")), "{text}");
        }
    }
}

#[test]
fn a_row_is_quantised_once_for_all_ranks() {
    let [two, four] = [2, 4].map(|ranks| {
        let [_, _, quantized, _] = &kernels(ranks, 8)[..] else {
            panic!("a kernel is missing")
        };
        let text = lowered(quantized, 8).kernel.to_string();
        let count = |part: &str| text.matches(part).count();
        let stores = count("store payloads@");
        assert!(!text.contains("table_"), "no pointer comes from memory: {text}");
        (count(" to f8e4m3"), stores)
    });
    assert!(two.0 > 0 && two.0 == four.0, "{two:?}, {four:?}");
    assert!(two.1 < four.1, "{two:?}, {four:?}");
}

#[test]
fn both_texts_of_the_kernels_have_the_orders_of_the_system_and_whole_vectors() {
    let nvrtc = Part::Nvrtc.or_skip(Nvrtc::load());
    let ptxas = Part::Ptxas.or_skip(Ptxas::find());
    let all = ROWS
        .into_iter()
        .flat_map(|rows| kernels(4, rows).into_iter().map(move |kernel| (kernel, rows)));
    for (kernel, rows) in all {
        let lowered = lowered(&kernel, rows);
        for (capability, major) in [(80, 8), (90, 9), (100, 10)] {
            let target = Target::new(capability).unwrap();
            let module = Module::ptx(&lowered, target).unwrap();
            let text = module.text.as_str();
            let has = |part: &str| text.contains(part);
            assert!(has("ld.acquire.sys.global") && has("%globaltimer"), "{text}");
            if kernel.name != "await_gather" {
                assert!(has("st.release.sys.global") && has("ld.relaxed.gpu.global"), "{text}");
                // No row goes element by element.
                let narrow = |line: &str| {
                    let is_row = line.contains("ld.global") || line.contains("st.global");
                    is_row && (line.contains(".b16") || line.contains(".b8"))
                };
                assert!(!text.lines().any(narrow), "{text}");
            }
            if let Some(ptxas) = &ptxas {
                let said = ptxas
                    .assemble(text, &target.to_string(), &[])
                    .unwrap_or_else(|error| panic!("{error}\n{text}"));
                assert!(said.contains("0 bytes spill stores"), "{said}");
            }
            if nvrtc.is_some() {
                let module = Module::cuda(&lowered);
                let options = CompileOptions::new(Architecture::new(major, 0));
                let compiled = compile(module.text.as_str(), &module.entry, &options);
                compiled.unwrap_or_else(|error| panic!("{error}\n{}", module.text.as_str()));
            }
        }
    }
}

#[test]
fn a_rank_that_does_not_come_is_named_by_the_others_and_so_is_what_follows() {
    let _turn = turn();
    on_all(3, |rank, exchange| {
        let mut seat = Seat::new(Device::cpu(), exchange.clone(), 3);
        let src = seat.device.zeros::<bf16, 2>([1, HIDDEN]).unwrap();
        let own = [rank as u64, 1, 1];
        seat.push(&src, own, [1, 2], true).unwrap();
        exchange.all_gather(&[]).unwrap();
        if rank != 1 {
            seat.push(&src, own, [0, 2], true).unwrap();
            let error = seat.device.synchronize().unwrap_err().to_string();
            assert!(
                error.contains("waited in `flags[") && error.contains("for rank 1 to reach epoch 2, and it is at 1"),
                "{error}"
            );
            seat.push(&src, own, [1, 2], true).unwrap();
            let error = seat.device.synchronize().unwrap_err().to_string();
            assert!(error.contains("did not come to its end"), "{error}");
        }
        exchange.all_gather(&[]).unwrap();
    });
}

#[test]
fn a_gather_that_was_not_waited_for_is_reported_by_the_next_one() {
    let _turn = turn();
    on_all(2, |rank, exchange| {
        let mut seat = Seat::new(Device::cpu(), exchange.clone(), 2);
        let src = seat.device.zeros::<bf16, 2>([1, HIDDEN]).unwrap();
        let own = [rank as u64, 1, 1];
        seat.push(&src, own, [1, 1], false).unwrap();
        seat.push(&src, own, [0, 1], true).unwrap();
        let error = seat.device.synchronize().unwrap_err().to_string();
        assert!(error.contains("was not waited for"), "{error}");
        exchange.all_gather(&[]).unwrap();
    });
}

/// Who fills the half that it filled before, and says that it was the other one, does not wait for slower readers.
#[test]
fn one_half_used_again_without_a_meeting_is_reported_on_the_cpu_device() {
    let _turn = turn();
    let reported = on_all(2, |rank, exchange| {
        let mut seat = Seat::new(Device::cpu(), exchange.clone(), 2);
        let src = seat.device.zeros::<bf16, 2>([1, HIDDEN]).unwrap();
        let own = [rank as u64, 1, 1];
        seat.push(&src, own, [1, 1], true).unwrap();
        // Epoch 1, and half 0.
        seat.state.copy_from(&[1 << 1; PLACES]).unwrap();
        // Whoever is first, the read of one and the store of the other have nothing between them.
        let start = seat.rows * HIDDEN * 2;
        let mut copy = seat.device.zeros::<bf16, 2>([2, HIDDEN]).unwrap();
        let view = seat.buffer.tensor::<bf16, 2>(rank, start, [2, HIDDEN]).unwrap();
        let read = copy_to_slot(&mut copy, view, Runtime(0), Runtime(2)).launch(&seat.device);
        let read = read.map(drop);
        let pushed = seat.push(&src, own, [1, 1], false);
        exchange.all_gather(&[]).unwrap();
        [read, pushed]
            .into_iter()
            .filter_map(Result::err)
            .map(|error| error.to_string())
            .collect::<Vec<_>>()
    });
    let reported = reported.concat();
    assert!(
        reported
            .iter()
            .any(|error| error.contains("push_gather") && error.contains("copy_to_slot")),
        "{reported:?}"
    );
}
