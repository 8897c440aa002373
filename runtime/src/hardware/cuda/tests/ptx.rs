//! Texts of PTX that the driver assembles: they compute what the interpreter of the thread IR does.

use fastrand::Rng;
use tilewright_dsl::backend::entry;
use tilewright_dsl::backend::ptx::{Target, prepare, print};
use tilewright_dsl::element::ElementType;
use tilewright_dsl::ir::{AtomicOp, Literal, MemoryOrder, MemoryScope};
use tilewright_dsl::thread::interpret::Passed;
use tilewright_dsl::thread::{
    ArgumentKind, Atomic, BufferKind, Builder, Features, Kernel, Load, Operation, Order, Report, Rounding, Sharing,
    Statement, Store, Type, Update,
};

use super::{CudaDevice, CudaMemory, CudaModule, gpu, launch, pointer};
use crate::error::DeviceError;

#[path = "../../../../../dsl/tests/ptx/random.rs"]
mod random;

use random::{BLOCKS, bytes, interpreted};

fn target(device: &CudaDevice) -> Target {
    let architecture = device.properties().architecture;
    Target::new(architecture.major * 10 + architecture.minor).expect("a target")
}

/// The kernel's bytes after a launch, of a target with these features.
fn launched(
    device: &CudaDevice,
    kernel: &Kernel,
    features: Features,
    arguments: &[Passed],
    memory: &[Vec<u8>],
) -> Vec<Vec<u8>> {
    let legal = prepare(kernel.clone(), features);
    let ptx = print(&legal, target(device)).unwrap_or_else(|error| panic!("{error}\n{legal}"));
    let loaded = CudaModule::load_ptx(device, &ptx.text).unwrap_or_else(|error| panic!("{error}\n{}", ptx.text));
    let function = loaded.function(&entry(&legal)).expect("the kernel");
    let shared = if legal.has_dynamic_shared() {
        legal.shared_bytes()
    } else {
        0
    };
    if shared > 0 {
        function.allow_shared(shared).expect("shared memory");
    }
    let buffers: Vec<CudaMemory> = memory
        .iter()
        .map(|bytes| CudaMemory::from_bytes(device, bytes).expect("memory"))
        .collect();
    // A pointer is the number of a buffer here.
    let mut words: Vec<u64> = arguments
        .iter()
        .map(|argument| match argument {
            Passed::Scalar(bits) => *bits,
            Passed::Pointer(number) => buffers[*number as usize].address(),
            Passed::Bytes(_) => panic!("no bytes are passed here"),
        })
        .collect();
    let mut args: Vec<_> = words.iter_mut().map(pointer).collect();
    // SAFETY: the arguments are those of the kernel, which stays within its own bytes of each buffer; they are read after it.
    unsafe {
        launch(
            &function,
            BLOCKS,
            [legal.threads, 1, 1],
            shared,
            &mut args,
            device.stream(),
        )
    }
    .expect("a launch");
    let read = |buffer: &CudaMemory| {
        let mut bytes = vec![0; buffer.len()];
        buffer
            .download(0, &mut bytes)
            .unwrap_or_else(|error| panic!("{error}\n{}", ptx.text));
        bytes
    };
    buffers.iter().map(read).collect()
}

/// Every set of features that a target may have, on a GPU that has them all: what a pass puts in their place is tried as well.
const FEATURES: [Features; 2] = [Features::of_compute_capability(80), Features::of_compute_capability(90)];

fn same_as_interpreted(device: &CudaDevice, kernel: &Kernel, arguments: &[Passed], memory: &[Vec<u8>]) {
    let expected = interpreted(kernel, arguments, memory);
    for features in FEATURES {
        if !has(device, features) {
            continue;
        }
        let found = launched(device, kernel, features, arguments, memory);
        for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let at = found
                .iter()
                .zip(expected)
                .position(|(found, expected)| found != expected);
            if let Some(at) = at {
                let target = target(device);
                let text = print(&prepare(kernel.clone(), features), target)
                    .expect("it prints")
                    .text;
                panic!(
                    "buffer {number} at {at}: {:02x?} instead of {:02x?}, {features:?}\n{kernel}\n{text}",
                    &found[at / 16 * 16..][..16],
                    &expected[at / 16 * 16..][..16]
                );
            }
        }
    }
}

fn has(device: &CudaDevice, features: Features) -> bool {
    let own = target(device).features();
    (own.f8_casts || !features.f8_casts) && (own.bf16_sums || !features.bf16_sums)
}

#[test]
fn random_kernels_compute_on_a_gpu_what_they_are_interpreted_to() {
    let Some(device) = gpu() else { return };
    let extent = random::Extent {
        special: false,
        statements: 50,
    };
    for seed in 0..400 {
        let kernel = random::kernel(seed, extent);
        let (arguments, memory) = random::launch(seed, &kernel);
        println!("seed {seed}");
        same_as_interpreted(&device, &kernel, &arguments, &memory);
    }
}

/// A kernel of one block's worth of threads that converts each element of `source`.
fn converts(from: ElementType, to: ElementType, rounding: Rounding) -> Kernel {
    let mut b = Builder::new("converts", 256);
    let arguments = ["source", "target"].map(|name| b.argument(name, ArgumentKind::Pointer));
    let [source, target] = [("source", Sharing::ReadOnly), ("target", Sharing::Private)].map(|(name, sharing)| {
        let argument = arguments[usize::from(name == "target")];
        b.buffer(name, 16, BufferKind::Global { argument, sharing })
    });
    let (thread, block) = (b.thread(), b.block());
    let blocks = b.indices().scale(block, 256);
    let number = b.indices().add(blocks, thread);
    let lanes = 2;
    let at = b.indices().scale(number, i64::from(lanes) * from.size() as i64);
    let value = b.load(Load {
        place: b.place(source, at),
        ty: Type::packet(from, lanes),
        order: Order::Weak,
        cache: None,
        read_only: true,
        predicate: None,
    });
    let mut value = b.emit(Operation::Cast { value, to, rounding });
    // Wide floats may have any NaN.
    if [ElementType::F32, ElementType::F64].contains(&to) {
        value = b.emit(Operation::Canonical(value));
    }
    let at = b.indices().scale(number, i64::from(lanes) * to.size() as i64);
    b.store(Store {
        place: b.place(target, at),
        block: None,
        value,
        order: Order::Weak,
        cache: None,
        predicate: None,
    });
    b.finish()
}

#[test]
fn conversions_on_a_gpu_are_exact_and_know_one_nan() {
    let Some(device) = gpu() else { return };
    let all = || {
        ElementType::ALL
            .into_iter()
            .filter(|element| *element != ElementType::Bool)
    };
    for (from, to) in all().flat_map(|from| all().map(move |to| (from, to))) {
        for rounding in [Rounding::NearestEven, Rounding::Zero] {
            if !tilewright_dsl::thread::accepts_cast(from, to, rounding) {
                continue;
            }
            let mut rng = Rng::with_seed(7);
            let elements = (BLOCKS * 256 * 2) as usize;
            let mut source = bytes(&mut rng, elements * from.size());
            // Every bit pattern of the small ones is among them.
            if from.size() == 1 {
                source.iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
            }
            let memory = [source, vec![0; elements * to.size()]];
            let kernel = converts(from, to, rounding);
            same_as_interpreted(&device, &kernel, &[Passed::Pointer(0), Passed::Pointer(1)], &memory);
        }
    }
}

#[test]
fn sums_of_bf16_from_many_threads_lose_nothing() {
    let Some(device) = gpu() else { return };
    let mut b = Builder::new("counts", 128);
    let argument = b.argument("target", ArgumentKind::Pointer);
    let sharing = Sharing::Shared;
    let target = b.buffer("target", 16, BufferKind::Global { argument, sharing });
    let thread = b.thread();
    let four = b.indices().low(thread, 2);
    let offset = b.indices().scale(four, 2);
    // One.
    let value = Literal {
        element: ElementType::BF16,
        bits: 0x3f80,
    };
    let atomic = Atomic {
        place: b.place(target, offset),
        element: ElementType::BF16,
        update: Update::Combine {
            op: AtomicOp::Add,
            value: value.into(),
        },
        order: MemoryOrder::Relaxed,
        scope: MemoryScope::Device,
        result: None,
        predicate: None,
    };
    b.atomic(atomic, false);
    let kernel = b.finish();
    for features in FEATURES.into_iter().filter(|features| has(&device, *features)) {
        let found = launched(&device, &kernel, features, &[Passed::Pointer(0)], &[vec![0; 8]]);
        // 96 of each of the four.
        assert_eq!(found[0], [0xc0, 0x42].repeat(4), "{features:?}");
    }
}

#[test]
fn a_report_is_whole_and_the_first_one_stays() {
    let Some(device) = gpu() else { return };
    let mut b = Builder::new("reports", 64);
    let record = b.argument("record", ArgumentKind::Pointer);
    b.kernel_mut().record = Some(record);
    let site = b.site();
    let (thread, block) = (b.thread(), b.block());
    let forty = b.constant(40);
    let predicate = Some(b.indices().equal(thread, forty));
    b.push(Statement::Report(Report {
        site,
        program: block,
        value: thread.into(),
        met: Literal::new(9u64).into(),
        predicate,
    }));
    let wanted: Vec<u8> = [5u64, 0, 0, 0, 0, 0].into_iter().flat_map(u64::to_le_bytes).collect();
    let found = launched(&device, &b.finish(), FEATURES[0], &[Passed::Pointer(0)], &[wanted]);
    let words: Vec<u64> = found[0]
        .chunks(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
        .collect();
    assert!(
        u32::try_from(words[2]).is_ok_and(|program| program < BLOCKS),
        "{words:?}"
    );
    assert_eq!([words[0], words[1], words[3], words[4], words[5]], [5, 0, 40, 9, 5]);
}

#[test]
fn what_the_driver_says_of_a_text_is_in_the_error() {
    let Some(device) = gpu() else { return };
    let text = ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n\tadd.q32\t%r1, %r2;\n}\n";
    match CudaModule::load_ptx(&device, text) {
        Err(DeviceError::RejectedPtx { log, .. }) => assert!(log.contains("line 6") && log.contains(".q32"), "{log}"),
        other => panic!("{other:?}"),
    }
    let error = CudaModule::load_ptx(&device, "a\0b").expect_err("a NUL");
    assert_eq!(error, DeviceError::PtxWithNul { offset: 1 });
}
