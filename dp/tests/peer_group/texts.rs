//! What the kernels become for GPUs.

use half::bf16;
use tilewright_dp::kernels::collective::{HEAD, PLACES, gather_parts, sum_all, sum_all_in_shares, sum_parts};
use tilewright_dsl::backend::Module;
use tilewright_dsl::backend::ptx::Target;
use tilewright_dsl::call::{OfRank, Runtime};
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::lower::lower;
use tilewright_dsl::schedule::{Machine, choose};
use tilewright_runtime::compile::{Architecture, CompileOptions, Nvrtc, compile};
use tilewright_runtime::{Device, DeviceTensor, Launch, PeerBuffer, PeerMemory, TensorViewMut};
use tilewright_testing::{Part, Ptxas};

const RANKS: usize = 4;
const COLUMNS: usize = 7168;
const LIMIT_NS: u64 = 1_000;

/// Launches one kernel as rank 0 of four, of which the others do not come, and returns it.
fn launched<T: tilewright_dsl::element::Element>(
    call: impl Fn(
        TensorViewMut<'_, T, 2>,
        (
            &mut [TensorViewMut<'_, T, 3>],
            &mut [TensorViewMut<'_, u64, 3>],
            &mut [TensorViewMut<'_, u32, 2>],
        ),
        (&mut DeviceTensor<u64, 1>, &mut DeviceTensor<u32, 1>),
        &Device,
    ) -> Kernel,
) -> Kernel {
    let device = Device::cpu();
    let memory = [(); RANKS].map(|()| PeerMemory::new(&device, 4 << 20).unwrap());
    let mut staging = PeerBuffer::new(&device, 0, &memory).unwrap();
    let mut words = staging.split_off(2 << 20).unwrap();
    let mut heads = words.tensors_mut(0, [2, RANKS * PLACES, HEAD]).unwrap();
    let memory = [(); RANKS].map(|()| PeerMemory::new(&device, 1 << 20).unwrap());
    let mut flags = PeerBuffer::new(&device, 0, &memory).unwrap();
    let mut flags = flags.tensors_mut(0, [RANKS, 2 * PLACES]).unwrap();
    // The second half begins behind more than the rows of the first, as a group has it.
    let halves = staging.tensors_mut::<T, 2>(0, [2, 33 * COLUMNS]).unwrap().into_iter();
    let mut staging: Vec<_> = halves
        .map(|halves| {
            halves
                .slice(1, ..32 * COLUMNS)
                .unwrap()
                .reshape([2, 32, COLUMNS])
                .unwrap()
        })
        .collect();
    let (mut epoch, mut done) = (device.zeros([1]).unwrap(), device.zeros([PLACES]).unwrap());
    let mut buffer = device.zeros::<T, 2>([4, COLUMNS]).unwrap();
    let lists = (&mut staging[..], &mut heads[..], &mut flags[..]);
    call(buffer.view_mut(), lists, (&mut epoch, &mut done), &device)
}

fn kernels(piece: usize) -> Vec<Kernel> {
    let [zero, one, four] = [0, 1, 4].map(Runtime);
    let gather = launched::<u16>(|buffer, (staging, heads, flags), (epoch, done), device| {
        let (staging, heads, flags) = (OfRank(0, staging), OfRank(0, heads), OfRank(0, flags));
        let call = gather_parts::<u16>(
            buffer, staging, heads, flags, epoch, done, zero, one, four, 7, LIMIT_NS, piece,
        );
        call.launch(device).unwrap().variant().unwrap().kernel().clone()
    });
    let parts = launched::<bf16>(|buffer, (staging, heads, flags), (epoch, done), device| {
        let (staging, heads, flags) = (OfRank(0, staging), OfRank(0, heads), OfRank(0, flags));
        let call = sum_parts::<bf16, f32>(
            buffer, staging, heads, flags, epoch, done, zero, one, four, four, 7, LIMIT_NS, piece,
        );
        call.launch(device).unwrap().variant().unwrap().kernel().clone()
    });
    let one_shot = launched::<bf16>(|buffer, (staging, heads, flags), (epoch, done), device| {
        let (staging, heads, flags) = (OfRank(0, staging), OfRank(0, heads), OfRank(0, flags));
        let call = sum_all::<bf16, f32>(buffer, staging, heads, flags, epoch, done, four, 7, LIMIT_NS, piece);
        call.launch(device).unwrap().variant().unwrap().kernel().clone()
    });
    let two_shot = launched::<bf16>(|buffer, (staging, heads, flags), (epoch, done), device| {
        let (staging, heads, flags) = (OfRank(0, staging), OfRank(0, heads), OfRank(0, flags));
        let call = sum_all_in_shares::<bf16, f32>(buffer, staging, heads, flags, epoch, done, four, 7, LIMIT_NS, piece);
        call.launch(device).unwrap().variant().unwrap().kernel().clone()
    });
    vec![gather, parts, one_shot, two_shot]
}

#[test]
fn rows_move_in_whole_vectors_and_flags_with_the_orders_of_the_system_in_both_texts() {
    let nvrtc = Part::Nvrtc.or_skip(Nvrtc::load());
    let ptxas = Part::Ptxas.or_skip(Ptxas::find());
    for (piece, programs) in [(1024, 4), (COLUMNS, PLACES as u64)] {
        for kernel in kernels(piece) {
            let lowered = lower(&kernel, &choose(&kernel, &Machine::H200, programs)).unwrap();
            for (capability, major) in [(80, 8), (90, 9), (100, 10)] {
                let target = Target::new(capability).unwrap();
                let module = Module::ptx(&lowered, target).unwrap();
                let text = module.text.as_str();
                let narrow = |line: &str| {
                    let is_row = line.contains("ld.global") || line.contains("st.global");
                    is_row && line.contains(".b16")
                };
                assert!(!text.lines().any(narrow), "{text}");
                assert!(
                    text.contains("ld.acquire.sys.global") && text.contains("st.release.sys.global"),
                    "{text}"
                );
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
}
