//! What the compiler makes of the kernels' texts: facts about registers, local memory and the width of accesses.
//!
//! Both texts of a kernel, CUDA C++ and PTX, are compiled for three architectures without a GPU, by NVRTC and `ptxas`, as
//! far as they are there. Registers and local memory are read from every cubin. Accesses are counted in the machine code, if
//! `nvdisasm` is there (where `TILEWRIGHT_NVDISASM` says, in `PATH`, or unpacked below `target`), and else in the PTX.

mod accesses;
#[path = "../catalogue/mod.rs"]
mod catalogue;
mod meeting;
mod threads;

use std::collections::HashSet;

use accesses::{Accesses, nvdisasm};
use catalogue::{Binding, Mover, Place, lowered, movers, others, variant};
use float8::F8E4M3;
use half::bf16;
use tilewright_dp::kernels::{copy_from_slot, copy_to_slot, fill_and_place, gather_rows, pad_rows, scatter_rows};
use tilewright_dsl::analysis::effects::Effects;
use tilewright_dsl::backend::Module;
use tilewright_dsl::backend::ptx::Target;
use tilewright_dsl::call::{Call, Exact};
use tilewright_dsl::element::Element;
use tilewright_dsl::ir::{BinaryOp, Expression, Kernel};
use tilewright_dsl::lower::Lowered;
use tilewright_runtime::compile::{Architecture, CompileOptions, Nvrtc, Resources, compile, compile_ptx, resources};
use tilewright_runtime::{Device, DeviceTensor, VariantId};
use tilewright_testing::{Part, Ptxas};

const ARCHITECTURES: [Architecture; 3] = [
    Architecture::new(8, 0),
    Architecture::new(9, 0),
    Architecture::new(10, 0),
];

/// Few programs, some, and many: each has its own schedule.
const PROGRAMS: [u64; 3] = [1, 1024, 65_536];

/// Local memory that a compiler takes at most for a thread where ragged rows of several tensors are in flight; others take none.
const SPILLED_BYTES: u32 = 16;

/// One compiled text.
#[derive(Debug)]
struct Binary {
    #[expect(dead_code, reason = "what failed assertions print")]
    what: String,
    resources: Resources,
    accesses: Accesses,
}

/// Whether there is NVRTC; a test that needs it returns if not.
fn has_nvrtc() -> bool {
    Part::Nvrtc.or_skip(Nvrtc::load()).is_some()
}

/// What a compiler made of a text.
struct Compiled {
    what: String,
    resources: Resources,
    cubin: Vec<u8>,
    ptx: String,
}

/// What NVRTC makes of the CUDA C++, and the assembler of the PTX. The PTX of the former is asked for where accesses are
/// counted in it.
fn compiled(lowered: &Lowered, architecture: Architecture, needs_ptx: bool, what: &str) -> Vec<Compiled> {
    let (options, cuda) = (CompileOptions::new(architecture), Module::cuda(lowered));
    let failed = |error| panic!("{what}: {error}\n{}", cuda.text.as_str());
    let cubin = compile(cuda.text.as_str(), &cuda.entry, &options).unwrap_or_else(failed);
    assert_eq!(cubin.log, "", "{what}: the compiler has something to say");
    let text = || compile_ptx(cuda.text.as_str(), &cuda.entry, &options).expect("it compiled before");
    let text = needs_ptx.then(text).unwrap_or_default();
    let mut all = vec![Compiled::new(&cuda, cubin.bytes, text, what)];
    if let Some(ptxas) = Part::Ptxas.if_there(Ptxas::find()) {
        let target = Target::new(architecture.number()).expect("a target");
        let ptx = Module::ptx(lowered, target).unwrap_or_else(|error| panic!("{what}: {error}"));
        let cubin = ptxas.cubin(ptx.text.as_str(), &architecture.to_string());
        let cubin = cubin.unwrap_or_else(|error| panic!("{what}: {error}\n{}", ptx.text.as_str()));
        all.push(Compiled::new(&ptx, cubin, ptx.text.as_str().to_owned(), what));
    }
    all
}

impl Compiled {
    fn new(module: &Module, cubin: impl AsRef<[u8]>, ptx: String, what: &str) -> Self {
        let cubin = cubin.as_ref().to_vec();
        let what = format!("{what} in {}", module.text.language());
        let kernels = resources(&cubin).expect("a cubin");
        let [(name, resources)] = kernels.as_slice() else {
            panic!("{what}: one kernel and no other function: {kernels:?}")
        };
        assert_eq!(*name, module.entry);
        Self {
            what,
            resources: *resources,
            cubin,
            ptx,
        }
    }
}

/// Kernels compiled for every architecture, for few programs and for many; the number of its kernel is with each binary.
/// What holds for every kernel is asserted here.
fn binaries(kernels: &[&Kernel], about: &str) -> Vec<(usize, Binary)> {
    let mut all: Vec<(usize, Lowered, Vec<u64>)> = Vec::new();
    for (number, kernel) in kernels.iter().enumerate() {
        for programs in PROGRAMS {
            let lowered = lowered(kernel, programs);
            let same = |other: &&mut (usize, Lowered, _)| other.0 == number && other.1.schedule == lowered.schedule;
            match all.iter_mut().find(same) {
                Some((.., numbers)) => numbers.push(programs),
                None => all.push((number, lowered, vec![programs])),
            }
        }
    }
    let mut binaries = Vec::new();
    for architecture in ARCHITECTURES {
        let (mut numbers, mut built) = (Vec::new(), Vec::new());
        for (number, lowered, programs) in &all {
            let name = &kernels[*number].name;
            let what = format!("{name} of {about} for {programs:?} programs on {architecture}");
            let compiled = compiled(lowered, architecture, nvdisasm().is_none(), &what);
            // What loads much for an element has it in registers.
            let most = if lowered.kernel.many_registers { 96 } else { 64 };
            for Compiled { what, resources, .. } in &compiled {
                assert!(resources.registers <= most, "many registers: {what} {resources:?}");
            }
            numbers.extend(compiled.iter().map(|_| *number));
            built.extend(compiled);
        }
        let accesses = match nvdisasm() {
            Some(program) => Accesses::of_code(
                program,
                architecture,
                built.iter().map(|compiled| compiled.cubin.as_slice()),
            ),
            None => built.iter().map(|compiled| Accesses::of_ptx(&compiled.ptx)).collect(),
        };
        for ((number, compiled), accesses) in numbers.into_iter().zip(built).zip(accesses) {
            let Compiled { what, resources, .. } = compiled;
            let binary = Binary {
                what,
                resources,
                accesses,
            };
            assert_as_any(kernels[number], &binary);
            binaries.push((number, binary));
        }
    }
    binaries
}

/// What holds for every kernel.
fn assert_as_any(kernel: &Kernel, binary: &Binary) {
    assert!(
        binary.resources.stack_bytes <= SPILLED_BYTES,
        "local memory: {binary:?}"
    );
    // Threads that do not depend on one another exchange nothing.
    let alone = Effects::of(kernel).threads_are_independent();
    assert!(
        !alone || binary.resources.shared_bytes == 0,
        "shared memory: {binary:?}"
    );
    // The compiler calls functions of its own for 64-bit division and for the rare cases of division of floats.
    let divides = kernel.expressions.iter().any(|(_, node)| {
        matches!(
            node,
            Expression::Binary {
                op: BinaryOp::Divide | BinaryOp::Remainder,
                ..
            }
        )
    });
    assert!(
        divides || binary.accesses.functions == 0,
        "a function is not inlined: {binary:?}"
    );
}

fn for_each_binary(movers: &[Mover], about: &str, check: impl Fn(&Mover, &Binary)) {
    let kernels: Vec<_> = movers.iter().map(|mover| mover.variant.kernel()).collect();
    for (number, binary) in binaries(&kernels, about) {
        check(&movers[number], &binary);
    }
}

fn assert_no_local_memory(binary: &Binary) {
    assert_eq!(binary.resources.stack_bytes, 0, "local memory: {binary:?}");
    assert_eq!(binary.accesses.local, 0, "local memory: {binary:?}");
}

/// Rows are moved in accesses of 16 bytes and in no other.
fn assert_wide(mover: &Mover, binary: &Binary) {
    assert_no_local_memory(binary);
    let (loads, stores) = (&binary.accesses.loads, &binary.accesses.stores);
    assert_eq!(loads.narrow(), mover.single_loads, "element-wise loads: {binary:?}");
    assert_eq!(stores.narrow(), mover.single_stores, "element-wise stores: {binary:?}");
    assert!(loads.wide() > 0, "no wide loads: {binary:?}");
    assert!(stores.wide() > 0, "no wide stores: {binary:?}");
}

/// Rows are moved in accesses of 16 bytes, but for their ends: each store of rows has a loop that moves single elements,
/// which the compiler may make twice, for rows that are read and for rows that are zero.
fn assert_peeled(mover: &Mover, binary: &Binary) {
    let (loads, stores) = (&binary.accesses.loads, &binary.accesses.stores);
    println!("{} {binary:?}", mover.stores);
    let single_loads = loads.narrow().saturating_sub(mover.single_loads);
    let single_stores = stores.narrow().saturating_sub(mover.single_stores);
    assert!(
        (1..=mover.stores).contains(&single_loads),
        "element-wise loads: {binary:?}"
    );
    assert!(
        (1..=2 * mover.stores).contains(&single_stores),
        "element-wise stores: {binary:?}"
    );
    assert!(loads.wide() > 0, "no wide loads: {binary:?}");
    assert!(stores.wide() > 0, "no wide stores: {binary:?}");
}

fn whole_rows_are_wide<T: Element>(columns: usize) {
    if has_nvrtc() {
        let movers = movers::<T>(columns, Place::Whole, Place::Whole, Binding::Runtime);
        let about = format!("rows of {columns} {}", T::TYPE);
        for_each_binary(&movers, &about, assert_wide);
    }
}

#[test]
fn rows_of_7168_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<bf16>(7168);
}

#[test]
fn rows_of_4096_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<bf16>(4096);
}

#[test]
fn rows_of_2880_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<bf16>(2880);
}

#[test]
fn rows_of_576_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<bf16>(576);
}

/// A thread of few programs has all that it moves in flight at once: nothing of it waits for where it goes, which is loaded too.
#[test]
fn rows_are_loaded_before_it_is_known_where_they_are_stored() {
    if !has_nvrtc() {
        return;
    }
    let Some(disassembler) = nvdisasm() else {
        println!("there is no nvdisasm, which says in which order a GPU does what it is told");
        return;
    };
    let device = Device::cpu();
    for columns in [128, 131, 576, 4096, 7168] {
        let src = device.zeros::<bf16, 2>([4, columns]).expect("host memory");
        let mut dst = device.zeros::<bf16, 2>([8, columns]).expect("host memory");
        let narrow = device.upload(&[3i32, 0, 1, 2], [4]).expect("host memory");
        let wide = device.upload(&[3i64, 0, 1, 2], [4]).expect("host memory");
        let mut variants = Vec::new();
        for exactly in [false, true] {
            let mut add = |call: Call<'_>| {
                variants.push(variant(&device, if exactly { call.exact_extents() } else { call }));
            };
            add(scatter_rows(&mut dst, &src, &narrow));
            add(scatter_rows(&mut dst, &src, &wide));
        }
        for (variant, programs) in variants.iter().flat_map(|variant| [1, 8, 64].map(|few| (variant, few))) {
            let lowered = lowered(variant.kernel(), programs);
            // Ends of rows are moved by themselves.
            if columns == 131 && lowered.schedule.wide {
                continue;
            }
            let what = format!("rows of {columns} in {programs} programs");
            let built = compiled(&lowered, ARCHITECTURES[1], false, &what);
            let cubins = built.iter().map(|compiled| compiled.cubin.as_slice());
            for (accesses, compiled) in Accesses::of_code(disassembler, ARCHITECTURES[1], cubins)
                .iter()
                .zip(&built)
            {
                let cuda = Module::cuda(&lowered);
                let text = cuda.text.as_str();
                assert_eq!(accesses.late_loads, 0, "{}: {accesses:?}\n{text}", compiled.what);
            }
        }
    }
}

/// Eight packets that are combined into one are under way together, in registers of their own, however many programs there are.
#[test]
fn what_loads_much_for_an_element_takes_registers_for_all_of_it() {
    if !has_nvrtc() {
        return;
    }
    let combine = others()
        .into_iter()
        .find(|other| other.variant.kernel().name == "combine_rows");
    let kernel = combine.expect("it is one of them").variant;
    for programs in PROGRAMS {
        let lowered = lowered(kernel.kernel(), programs);
        for compiled in compiled(&lowered, ARCHITECTURES[1], false, &format!("{programs} programs")) {
            assert!(
                compiled.resources.registers > 8 * 4 + 8,
                "{} {:?}",
                compiled.what,
                compiled.resources
            );
        }
    }
}

#[test]
fn elements_of_1_2_4_and_8_bytes_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<F8E4M3>(1152);
    whole_rows_are_wide::<i16>(1152);
    whole_rows_are_wide::<f32>(1152);
    whole_rows_are_wide::<i64>(1152);
}

#[test]
fn the_binding_of_counts_does_not_change_how_rows_are_moved() {
    if has_nvrtc() {
        for binding in [Binding::Exact, Binding::Device] {
            let mut movers = movers::<bf16>(7168, Place::Whole, Place::Whole, binding);
            let counted = [
                "copy_to_slot",
                "copy_from_slot",
                "copy_from_slot_padded",
                "pad_rows",
                "fill_and_place",
            ];
            movers.retain(|mover| counted.contains(&mover.name));
            for_each_binary(&movers, &format!("{binding:?} counts"), assert_wide);
        }
    }
}

#[test]
fn rows_of_7167_are_moved_in_accesses_of_16_bytes_but_for_their_ends() {
    if has_nvrtc() {
        let movers = movers::<bf16>(7167, Place::Whole, Place::Whole, Binding::Runtime);
        for_each_binary(&movers, "rows of 7167", assert_peeled);
    }
}

#[test]
fn rows_that_are_written_2_bytes_off_are_peeled() {
    if has_nvrtc() {
        for from in [Place::Whole, Place::Shifted] {
            let movers = movers::<bf16>(7168, Place::Shifted, from, Binding::Runtime);
            for_each_binary(&movers, &format!("rows off by 2, from {from:?}"), assert_peeled);
        }
    }
}

#[test]
fn rows_that_are_read_2_bytes_off_are_realigned_and_not_peeled() {
    if has_nvrtc() {
        let movers = movers::<bf16>(7168, Place::Whole, Place::Shifted, Binding::Runtime);
        for_each_binary(&movers, "rows from off by 2", assert_wide);
    }
}

#[test]
fn kernels_that_compute_what_they_move_use_no_local_memory_and_accesses_of_known_widths() {
    if has_nvrtc() {
        let mut different = Vec::new();
        let others = others();
        let kernels: Vec<_> = others.iter().map(|other| other.variant.kernel()).collect();
        for (number, binary) in binaries(&kernels, "bf16 or ids") {
            let other = &others[number];
            assert_no_local_memory(&binary);
            let Accesses { loads, stores, .. } = &binary.accesses;
            // The compiler joins and splits narrower ones as it likes.
            let is_known = |found: Vec<u32>, known: &[u32]| {
                found.last() == known.last() && found.iter().all(|bytes| known.contains(bytes))
            };
            let stores_are_known =
                is_known(stores.bytes(), other.stores) || is_known(stores.bytes(), other.stores_of_finders);
            if !is_known(loads.bytes(), other.loads) || !stores_are_known {
                different.push(format!("{:?} and {:?}: {binary:?}", other.loads, other.stores));
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
    }
}

#[test]
fn eight_segments_with_exact_counts_are_placed_by_one_function_without_local_memory() {
    if !has_nvrtc() {
        return;
    }
    let device = Device::cpu();
    let segment = device.zeros::<bf16, 2>([4, 7168]).expect("host memory");
    let mut out = device.zeros::<bf16, 2>([32, 7168]).expect("host memory");
    let starts = [0, 4, 8, 12, 16, 20, 24, 28].map(Exact);
    let rows = [4, 1, 0, 3, 4, 2, 4, 1].map(Exact);
    let variant = variant(&device, fill_and_place(&mut out, [&segment; 8], starts, rows));
    for (_, binary) in binaries(&[variant.kernel()], "eight segments") {
        assert_no_local_memory(&binary);
        let (loads, stores) = (&binary.accesses.loads, &binary.accesses.stores);
        assert_eq!((loads.narrow(), stores.narrow()), (0, 0), "{binary:?}");
        assert_eq!(binary.accesses.functions, 0, "{binary:?}");
        // A copy for each segment, and the zeros; the segment without rows may be left out.
        assert!((7..=8).contains(&loads.wide()), "{binary:?}");
        assert!((1..=9).contains(&stores.wide()), "{binary:?}");
    }
}

/// The number of variants that serve launches with these exact counts.
fn variants(counts: &[u64], launch: impl Fn(&Device, u64) -> VariantId) -> usize {
    let device = Device::cpu();
    let variants: HashSet<VariantId> = counts.iter().map(|&count| launch(&device, count)).collect();
    variants.len()
}

fn rows_of(device: &Device, rows: u64) -> DeviceTensor<bf16, 2> {
    device.zeros([rows as usize, 64]).expect("host memory")
}

#[test]
fn exact_counts_that_only_size_the_grid_share_a_variant() {
    let gather = variants(&[20, 24], |device, rows| {
        let (mut out, src) = (rows_of(device, rows), rows_of(device, 32));
        let index = device.zeros::<i32, 1>([rows as usize]).expect("host memory");
        variant(device, gather_rows(&mut out, &src, &index)).id()
    });
    let to = variants(&[20, 24], |device, rows| {
        let (mut out, src) = (rows_of(device, 64), rows_of(device, 32));
        variant(device, copy_to_slot(&mut out, &src, Exact(3), Exact(rows))).id()
    });
    let from = variants(&[20, 24], |device, rows| {
        let (mut out, src) = (rows_of(device, 32), rows_of(device, 64));
        variant(device, copy_from_slot(&mut out, &src, Exact(3), Exact(rows))).id()
    });
    assert_eq!([gather, to, from], [1; 3]);
}

#[test]
fn an_exact_count_that_decides_what_is_zero_is_a_literal() {
    let pad = variants(&[20, 24], |device, rows| {
        let (mut out, src) = (rows_of(device, 32), rows_of(device, 32));
        variant(device, pad_rows(&mut out, &src, Exact(rows))).id()
    });
    assert_eq!(pad, 2);
}
