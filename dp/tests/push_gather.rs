//! Gathers that store straight into every rank's buffer: with counts that change, late ranks, and beside another group.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use half::bf16;
use support::*;
use tilewright_dp::collective::{Exchange, Group, LocalGroup, Peers, ThreadExchange};
use tilewright_dp::kernels::{await_gather, copy_to_slot, push_gather};
use tilewright_dsl::backend::Module;
use tilewright_dsl::backend::ptx::Target;
use tilewright_dsl::call::{OfRank, Runtime};
use tilewright_dsl::element::Element;
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::lower::lower;
use tilewright_dsl::schedule::{Machine, choose};
use tilewright_runtime::compile::{Architecture, CompileOptions, Nvrtc, compile};
use tilewright_runtime::device::cuda::{Reach, device_count};
use tilewright_runtime::{Device, DeviceTensor, Launch, LaunchError, Launched, PeerBuffer, PeerMemory};
use tilewright_testing::{Part, Ptxas, turn};

const LIMIT: Duration = Duration::from_secs(60);
const HIDDEN: usize = 24;
const PLACES: usize = 3;
/// Rows before and after those of the ranks, which nobody writes.
const GUARDS: usize = 1;

/// What a rank has for its gathers.
struct Seat {
    device: Device,
    rank: usize,
    ranks: usize,
    rows: usize,
    buffer: PeerBuffer,
    flags: PeerBuffer,
    epoch: DeviceTensor<u64, 1>,
}

impl Seat {
    fn new(device: Device, exchange: Arc<dyn Exchange>, rows: usize) -> Self {
        let peers = Peers::join(&device, exchange).unwrap();
        let (rank, ranks) = (peers.rank(), peers.size());
        let bytes = 2 * (rows + 2 * GUARDS) * HIDDEN * 2;
        let mut buffer = peers.buffer(bytes + ranks * PLACES * 4).unwrap();
        let flags = buffer.split_off(bytes).unwrap();
        Self {
            epoch: device.zeros([1]).unwrap(),
            device,
            rank,
            ranks,
            rows: rows + 2 * GUARDS,
            buffer,
            flags,
        }
    }

    /// Begins to gather `src`, or, if it waits, gathers it.
    fn push(
        &mut self,
        src: &DeviceTensor<bf16, 2>,
        [start, count, place]: [u64; 3],
        waits: bool,
    ) -> Result<(), LaunchError> {
        let extents = [2, self.rows, HIDDEN];
        let mut buffers = self.buffer.tensors_mut::<bf16, 3>(0, extents).unwrap();
        let mut flags = self.flags.tensors_mut::<u32, 2>(0, [self.ranks, PLACES]).unwrap();
        let [start, count, place] = [start, count, place].map(Runtime);
        let (buffers, flags) = (OfRank(self.rank, &mut buffers), OfRank(self.rank, &mut flags));
        let call = push_gather::<bf16>(buffers, flags, &mut self.epoch, src, start, count, place, waits);
        call.launch(&self.device).map(|_| ())
    }

    fn wait(&mut self) -> Result<(), LaunchError> {
        let flags = self.flags.tensors::<u32, 2>(0, [self.ranks, PLACES]).unwrap();
        await_gather(OfRank(self.rank, &flags), &self.epoch)
            .launch(&self.device)
            .map(|_| ())
    }

    /// The rows of a half, guards included, by a launch.
    fn half(&self, half: usize) -> Vec<bf16> {
        let view = self
            .buffer
            .tensor::<bf16, 2>(self.rank, half * self.rows * HIDDEN * 2, [self.rows, HIDDEN])
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

/// What each rank has in a step: rows, and the rows of its place.
fn counts(ranks: usize, step: u64) -> Vec<(u64, u64)> {
    let mut rng = fastrand::Rng::with_seed(step);
    let most = rng.u64(1..4);
    let count = |rng: &mut fastrand::Rng| rng.u64(0..=most);
    let counts: Vec<u64> = (0..ranks).map(|_| count(&mut rng)).collect();
    // Padded to the largest, or ragged.
    let padded = rng.bool();
    let largest = counts.iter().copied().max().unwrap_or(0);
    counts
        .into_iter()
        .map(|count| (count, if padded { largest } else { count }))
        .collect()
}

const MOST: usize = 4;

fn random_steps(ranks: usize, steps: u64, device: impl Fn(usize) -> Device + Sync) {
    let groups = LocalGroup::ranks(&Device::cpu(), ranks, LIMIT).unwrap();
    let groups: Vec<_> = groups
        .into_iter()
        .map(|group| std::sync::Mutex::new(Some(group)))
        .collect();
    on_all(ranks, |rank, exchange| {
        let group = groups[rank].lock().unwrap().take().unwrap();
        let mut seat = Seat::new(device(rank), exchange, MOST * ranks);
        let mut rng = fastrand::Rng::with_seed(rank as u64);
        for step in 0..steps {
            let counts = counts(ranks, step);
            let start = |rank: usize| counts[..rank].iter().map(|(_, place)| place).sum::<u64>();
            let rows = unique::<bf16>(MOST, HIDDEN, step * 8 + rank as u64);
            let rows: Vec<bf16> = rows.iter().flatten().map(|&bits| bf16::from_bits64(bits)).collect();
            let src = seat.device.upload(&rows, [MOST, HIDDEN]).unwrap();
            let (count, place) = counts[rank];
            if rng.u8(..8) == 0 {
                thread::sleep(Duration::from_micros(rng.u64(..1000)));
            }
            let own = [GUARDS as u64 + start(rank), count, place];
            match rng.bool() {
                true => seat.push(&src, own, true).unwrap(),
                false => {
                    seat.push(&src, own, false).unwrap();
                    seat.wait().unwrap();
                }
            }
            let found = seat.half(((step + 1) % 2) as usize);
            // What the other group gathers.
            let total = start(ranks) as usize;
            let mut expected = Device::cpu().zeros::<bf16, 2>([total.max(1), HIDDEN]).unwrap();
            let mine = rows[..count as usize * HIDDEN].to_vec();
            let at = start(rank) as usize;
            if count > 0 {
                let mut part = expected.view_mut().rows(at..at + count as usize).unwrap();
                part.copy_from(&mine).unwrap();
            }
            let parts: Vec<u64> = counts.iter().map(|(_, place)| *place).collect();
            group.all_gather(&mut expected.view_mut(), &parts).unwrap();
            group.finish().unwrap();
            let bits = |rows: &[bf16]| rows.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let expected = &expected.download().unwrap()[..total * HIDDEN];
            let from = GUARDS * HIDDEN;
            assert_eq!(
                bits(&found[from..from + total * HIDDEN]),
                bits(expected),
                "rank {rank}, step {step}"
            );
            assert!(
                bits(&found[..from]).iter().all(|&bits| bits == 0),
                "rank {rank}, step {step}"
            );
            assert!(bits(&found[found.len() - from..]).iter().all(|&bits| bits == 0));
        }
        seat.device.synchronize().unwrap();
    });
}

#[test]
fn ranks_gather_a_thousand_steps_with_changing_counts_as_another_group_does() {
    let _turn = turn();
    for ranks in [2, 4, 8] {
        random_steps(ranks, 1000, |_| Device::cpu());
    }
    let gpus = device_count().unwrap_or(0) as usize;
    match gpus > 1 && Reach::between(0, 1).is_ok_and(|reach| reach != Reach::None) {
        true => random_steps(2, 1000, |rank| Device::cuda(rank as u32).unwrap()),
        false => println!("ran with no two GPUs that reach each other ({gpus} are here)"),
    }
}

/// The kernels of one launch of a group of one rank, as the CPU device has them.
fn kernels() -> Vec<Kernel> {
    let memory = [PeerMemory::new(&Device::cpu(), 1 << 20).unwrap()];
    let device = Device::cpu();
    let mut buffer = PeerBuffer::new(&device, 0, &memory).unwrap();
    let mut flags = buffer.split_off(1 << 19).unwrap();
    let mut epoch = device.zeros::<u64, 1>([1]).unwrap();
    let src = device.zeros::<bf16, 2>([2, 7168]).unwrap();
    let mut buffers = buffer.tensors_mut::<bf16, 3>(0, [2, 4, 7168]).unwrap();
    let mut raised = flags.tensors_mut::<u32, 2>(0, [1, 4]).unwrap();
    let [start, count, place] = [0, 1, 2].map(Runtime);
    let (buffers, raised) = (OfRank(0, &mut buffers), OfRank(0, &mut raised));
    let call = push_gather::<bf16>(buffers, raised, &mut epoch, &src, start, count, place, true);
    let push = call.launch(&device).unwrap();
    let raised = flags.tensors::<u32, 2>(0, [1, 4]).unwrap();
    let wait = await_gather(OfRank(0, &raised), &epoch).launch(&device).unwrap();
    let kernel = |launched: &Launched| launched.variant().unwrap().kernel().clone();
    vec![kernel(&push), kernel(&wait)]
}

#[test]
fn both_texts_of_the_kernels_have_the_orders_of_the_system_and_whole_vectors() {
    let nvrtc = Part::Nvrtc.or_skip(Nvrtc::load());
    let ptxas = Part::Ptxas.or_skip(Ptxas::find());
    for kernel in kernels() {
        let pushes = kernel.name == "push_gather";
        let lowered = lower(&kernel, &choose(&kernel, &Machine::H200, 4)).unwrap();
        for (capability, major) in [(80, 8), (90, 9), (100, 10)] {
            let target = Target::new(capability).unwrap();
            let module = Module::ptx(&lowered, target).unwrap();
            let text = module.text.as_str();
            let has = |part: &str| text.contains(part);
            assert!(has("ld.acquire.sys.global") && has("%globaltimer"), "{text}");
            if pushes {
                assert!(has("st.release.sys.global") && has("ld.relaxed.gpu.global"), "{text}");
                assert!(
                    text.lines()
                        .any(|line| line.contains("st.") && line.contains(".v4.b32")),
                    "{text}"
                );
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
fn a_rank_that_does_not_come_is_named_by_the_others() {
    let _turn = turn();
    on_all(3, |rank, exchange| {
        let mut seat = Seat::new(Device::cpu(), exchange.clone(), 3 * MOST);
        let src = seat.device.zeros::<bf16, 2>([MOST, HIDDEN]).unwrap();
        let own = [rank as u64, 1, 1];
        seat.push(&src, own, true).unwrap();
        exchange.all_gather(&[]).unwrap();
        if rank != 1 {
            seat.push(&src, own, true).unwrap();
            let error = seat.device.synchronize().unwrap_err().to_string();
            assert!(
                error.contains("waited in `flags[") && error.contains("for rank 1 to reach epoch 2, and it is at 1"),
                "{error}"
            );
        }
        exchange.all_gather(&[]).unwrap();
    });
}
