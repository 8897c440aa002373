//! What threads of a GPU would do, on the CPU: for machines without one.

use float8::F8E4M3;
use half::bf16;
use tilewright_dp::kernels::nvfp4::{dequantize_nvfp4, quantize_nvfp4_to_slot, swizzle_scales, swizzled_extents};
use tilewright_dsl::call::{Call, Exact};
use tilewright_dsl::element::Element;
use tilewright_dsl::ir::Symbol;
use tilewright_dsl::lower::{KernelArgument, lower};
use tilewright_dsl::schedule::{Machine, Schedule, choose};
use tilewright_dsl::thread::interpret::{Memory, Passed, run};
use tilewright_runtime::{Device, DeviceTensor, Launch};

/// Launches of few programs and of many, whose threads have other shares of a row.
const PROGRAMS: [u64; 3] = [4, 300, 5000];

/// A tensor's extents and bytes.
type Bytes = (Vec<u64>, Vec<u8>);

fn bytes_of<T: Element, const R: usize>(tensor: &DeviceTensor<T, R>) -> Bytes {
    let bits = tensor.download().unwrap().into_iter().map(Element::to_bits64);
    let bytes = bits.flat_map(|bits| bits.to_le_bytes()[..size_of::<T>()].to_vec());
    (tensor.extents().map(|extent| extent as u64).to_vec(), bytes.collect())
}

/// The bytes of a call's tensors after its threads have done so many programs of it, under every schedule of interest.
fn threads(call: Call<'_>, programs: u64, tensors: &[Bytes], global: f32) -> Vec<Vec<Vec<u8>>> {
    let launched = call.launch(&Device::cpu()).unwrap();
    let kernel = launched.variant().expect("there are programs").kernel();
    let chosen = PROGRAMS.map(|programs| choose(kernel, &Machine::H200, programs));
    let few = Schedule {
        threads: 32,
        splits: 1,
        programs_per_block: 1,
        ..chosen[0]
    };
    let done = |schedule: Schedule| {
        let lowered = lower(kernel, &schedule).unwrap_or_else(|error| panic!("{schedule}: {error}"));
        let mut memory = Memory::new();
        let addresses: Vec<u64> = tensors
            .iter()
            .map(|(_, bytes)| memory.allocate(bytes.clone(), 0))
            .collect();
        let record = memory.allocate(vec![0; 48], 0);
        let pass = |argument: &KernelArgument| match *argument {
            KernelArgument::Pointer(position) => Passed::Pointer(addresses[position as usize]),
            KernelArgument::Scalar(_) => Passed::Scalar(global.to_bits().into()),
            KernelArgument::Symbol(Symbol::Extent { tensor, axis }) => {
                Passed::Scalar(tensors[tensor as usize].0[usize::from(axis)])
            }
            KernelArgument::Symbol(Symbol::NumPrograms(0)) => Passed::Scalar(programs),
            KernelArgument::Trap => Passed::Pointer(record),
            ref other => panic!("{other:?}"),
        };
        let passed: Vec<Passed> = lowered.arguments.iter().map(pass).collect();
        let blocks = lowered.blocks(programs).expect("few programs");
        run(&lowered.kernel, blocks, &passed, &mut memory).unwrap_or_else(|fault| panic!("{schedule}: {fault}"));
        addresses
            .iter()
            .map(|&address| memory.bytes(address).to_vec())
            .collect()
    };
    chosen.into_iter().chain([few]).map(done).collect()
}

#[test]
fn threads_compute_what_the_cpu_device_does_bit_for_bit() {
    let device = Device::cpu();
    let (rows, global) = (3, 70.0);
    for columns in [16, 208, 7168] {
        let groups = columns / 16;
        // Every other pattern of a bf16, NaN, infinities and subnormals among them, and groups of like magnitudes.
        let pattern = |i: usize| match i / 64 % 2 {
            0 => bf16::from_bits((i * 40_503) as u16),
            _ => bf16::from_f32((i * 37 % 1009) as f32 / 26.0 - 19.0),
        };
        let values: Vec<bf16> = (0..rows * columns).map(pattern).collect();
        let src = device.upload(&values, [rows, columns]).unwrap();
        let mut payload = device
            .upload(&vec![0x5au8; (rows + 1) * columns / 2], [rows + 1, columns / 2])
            .unwrap();
        let mut scales = device.zeros::<F8E4M3, 2>([rows + 1, groups]).unwrap();
        let before = [bytes_of(&payload), bytes_of(&scales), bytes_of(&src)];
        let (start, first, count) = (Exact(1), Exact(0), Exact(rows as u64));
        let call = quantize_nvfp4_to_slot(&mut payload, &mut scales, &src, global, start, first, count);
        let found = threads(call, rows as u64 + 1, &before, global);
        let expected = [bytes_of(&payload).1, bytes_of(&scales).1];
        for found in found {
            assert_eq!(found[..2], expected, "{columns}");
        }

        let mut wide = device.zeros::<bf16, 2>([rows + 1, columns]).unwrap();
        let before = [bytes_of(&wide), bytes_of(&payload), bytes_of(&scales)];
        let call = dequantize_nvfp4(&mut wide, &payload, &scales, global);
        let found = threads(call, rows as u64 + 1, &before, global);
        let expected = bytes_of(&wide).1;
        assert!(found.iter().all(|found| found[0] == expected), "{columns}");

        let extents = swizzled_extents(rows + 1, groups);
        let mut blocks = device.zeros::<F8E4M3, 4>(extents).unwrap();
        let before = [bytes_of(&blocks), bytes_of(&scales)];
        let found = threads(swizzle_scales(&mut blocks, &scales), 8, &before, global);
        let expected = bytes_of(&blocks).1;
        assert!(found.iter().all(|found| found[0] == expected), "{columns}");
    }
}
