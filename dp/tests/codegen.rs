//! What the compiler makes of the kernels' texts: facts about registers, local memory and the width of accesses.
//!
//! Texts are compiled for three architectures without a GPU. Registers and local memory are read from every cubin.
//! Accesses are counted in the PTX, and where it says so in the machine code, if `nvdisasm` is there (where
//! `TILEWRIGHT_NVDISASM` says, in `PATH`, or unpacked below `target`): it takes ten times as long as the compiler.

mod catalogue;

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use catalogue::{Binding, Mover, Place, module, movers, others, variant};
use float8::F8E4M3;
use half::bf16;
use tilewright_dp::kernels::{copy_from_slot, copy_to_slot, fill_and_place, gather_rows, pad_rows};
use tilewright_dsl::analysis::effects::Effects;
use tilewright_dsl::call::Exact;
use tilewright_dsl::cuda::Module;
use tilewright_dsl::element::Element;
use tilewright_dsl::ir::{BinaryOp, Expression, Kernel};
use tilewright_runtime::compile::{Architecture, CompileOptions, Nvrtc, Resources, compile, compile_ptx, resources};
use tilewright_runtime::{Device, DeviceTensor, VariantId};
use tilewright_testing::Part;

const ARCHITECTURES: [Architecture; 3] = [
    Architecture::new(8, 0),
    Architecture::new(9, 0),
    Architecture::new(10, 0),
];

/// Few programs, some, and many: each has its own schedule.
const PROGRAMS: [u64; 3] = [1, 1024, 65_536];

/// Memory accesses in the text of a kernel's machine code, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Accesses {
    /// Loads from global memory of 16 bytes.
    wide_loads: usize,
    /// Narrower ones.
    narrow_loads: usize,
    /// Stores to global memory of 16 bytes.
    wide_stores: usize,
    /// Narrower ones.
    narrow_stores: usize,
    /// Loads and stores of local memory.
    local: usize,
    /// Calls of functions that were not inlined.
    calls: usize,
}

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

/// The disassembler, if there is one.
fn nvdisasm() -> Option<&'static OsString> {
    static FOUND: OnceLock<Option<OsString>> = OnceLock::new();
    let works = |program: &OsString| {
        let status = Command::new(program).arg("--version").output();
        status.is_ok_and(|output| output.status.success())
    };
    let find = || {
        let named = env::var_os("TILEWRIGHT_NVDISASM").filter(|value| !value.is_empty());
        if let Some(named) = named {
            assert!(works(&named), "TILEWRIGHT_NVDISASM names {named:?}, which does not run");
            return Some(named);
        }
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda-tools/nvidia/cu13/bin/nvdisasm");
        [OsString::from("nvdisasm"), unpacked.into()].into_iter().find(works)
    };
    FOUND.get_or_init(find).as_ref()
}

/// The accesses in machine code as `nvdisasm` prints it.
fn accesses_of_code(program: &OsString, cubin: &[u8]) -> Accesses {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("kernel.cubin");
    fs::write(&file, cubin).expect("a temporary file");
    let output = Command::new(program)
        .arg("-c")
        .arg(&file)
        .output()
        .expect("nvdisasm runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = Accesses::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // `/*0070*/  @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;`
        let words = line.split_whitespace().skip_while(|word| !word.starts_with("/*"));
        let mut words = words.skip(1).skip_while(|word| word.starts_with('@'));
        let Some(operation) = words.next() else { continue };
        let wide = operation.contains(".128");
        match operation.split('.').next().unwrap_or_default() {
            "LDG" | "LD" if wide => found.wide_loads += 1,
            "LDG" | "LD" => found.narrow_loads += 1,
            "STG" | "ST" if wide => found.wide_stores += 1,
            "STG" | "ST" => found.narrow_stores += 1,
            "LDL" | "STL" => found.local += 1,
            "CALL" => found.calls += 1,
            _ => {}
        }
    }
    found
}

/// The accesses in PTX.
fn accesses_of_ptx(ptx: &str) -> Accesses {
    let mut found = Accesses::default();
    for line in ptx.lines() {
        let mut words = line.split_whitespace().skip_while(|word| word.starts_with('@'));
        let Some(operation) = words.next() else { continue };
        let wide = operation.contains(".v4.") || operation.contains(".v2.u64") || operation.contains(".v2.b64");
        let global_load = operation.starts_with("ld.") && operation.contains(".global");
        match operation {
            _ if global_load && wide => found.wide_loads += 1,
            _ if global_load => found.narrow_loads += 1,
            _ if operation.starts_with("st.global") && wide => found.wide_stores += 1,
            _ if operation.starts_with("st.global") => found.narrow_stores += 1,
            ".local" => found.local += 1,
            _ if operation.starts_with("ld.local") || operation.starts_with("st.local") => found.local += 1,
            _ if operation.starts_with("call") => found.calls += 1,
            _ => {}
        }
    }
    found
}

/// What accesses are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Ptx,
    /// The machine code for 1024 programs on an H200, and the PTX of what else there is.
    Some,
    /// All machine code.
    Code,
}

fn build(module: &Module, architecture: Architecture, disassemble: bool, what: String) -> Binary {
    let options = CompileOptions::new(architecture);
    let failed = |error| panic!("{what}: {error}\n{}", module.source);
    let cubin = compile(&module.source, &module.entry, &options).unwrap_or_else(failed);
    assert_eq!(cubin.log, "", "{what}: the compiler has something to say");
    let kernels = resources(&cubin.bytes).expect("a cubin");
    let [(name, resources)] = kernels.as_slice() else {
        panic!("{what}: one kernel and no other function: {kernels:?}")
    };
    assert_eq!(*name, module.entry);
    let accesses = match nvdisasm().filter(|_| disassemble) {
        Some(program) => accesses_of_code(program, &cubin.bytes),
        None => accesses_of_ptx(&compile_ptx(&module.source, &module.entry, &options).expect("it compiled before")),
    };
    Binary {
        what,
        resources: *resources,
        accesses,
    }
}

/// A kernel compiled for every architecture, for few programs and for many. What holds for every kernel is asserted here.
fn binaries(kernel: &Kernel, reading: Reading, about: &str) -> Vec<Binary> {
    let mut modules: Vec<(Module, Vec<u64>)> = Vec::new();
    for programs in PROGRAMS {
        let module = module(kernel, programs);
        match modules.iter_mut().find(|(other, _)| *other == module) {
            Some((_, all)) => all.push(programs),
            None => modules.push((module, vec![programs])),
        }
    }
    let mut binaries = Vec::new();
    for (module, programs) in &modules {
        for architecture in ARCHITECTURES {
            let usual = programs.contains(&1024) && architecture == Architecture::new(9, 0);
            let disassemble = reading == Reading::Code || (reading == Reading::Some && usual);
            let what = format!("{} of {about} for {programs:?} programs on {architecture}", kernel.name);
            let binary = build(module, architecture, disassemble, what);
            assert_eq!(binary.resources.stack_bytes, 0, "local memory: {binary:?}");
            assert_eq!(binary.accesses.local, 0, "local memory: {binary:?}");
            // Threads that do not depend on one another exchange nothing.
            let alone = Effects::of(kernel).threads_are_independent();
            assert!(
                !alone || binary.resources.shared_bytes == 0,
                "shared memory: {binary:?}"
            );
            assert!(binary.resources.registers <= 64, "many registers: {binary:?}");
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
                divides || binary.accesses.calls == 0,
                "a function is not inlined: {binary:?}"
            );
            binaries.push(binary);
        }
    }
    binaries
}

fn for_each_binary(movers: &[Mover], reading: Reading, about: &str, check: impl Fn(&Mover, &Binary)) {
    for mover in movers {
        for binary in binaries(mover.variant.kernel(), reading, about) {
            check(mover, &binary);
        }
    }
}

/// Rows are moved in accesses of 16 bytes and in no other.
fn assert_wide(mover: &Mover, binary: &Binary) {
    let found = binary.accesses;
    assert_eq!(found.narrow_loads, mover.single_loads, "element-wise loads: {binary:?}");
    assert_eq!(
        found.narrow_stores, mover.single_stores,
        "element-wise stores: {binary:?}"
    );
    assert!(found.wide_loads > 0, "no wide loads: {binary:?}");
    assert!(found.wide_stores > 0, "no wide stores: {binary:?}");
}

/// Rows are moved in accesses of 16 bytes, but for their ends: each store of rows has a loop that moves single elements,
/// which the compiler may make twice, for rows that are read and for rows that are zero.
fn assert_peeled(mover: &Mover, binary: &Binary) {
    let found = binary.accesses;
    println!("{} {binary:?}", mover.stores);
    let loads = found.narrow_loads.saturating_sub(mover.single_loads);
    let stores = found.narrow_stores.saturating_sub(mover.single_stores);
    assert!((1..=mover.stores).contains(&loads), "element-wise loads: {binary:?}");
    assert!(
        (1..=2 * mover.stores).contains(&stores),
        "element-wise stores: {binary:?}"
    );
    assert!(found.wide_loads > 0, "no wide loads: {binary:?}");
    assert!(found.wide_stores > 0, "no wide stores: {binary:?}");
}

fn whole_rows_are_wide<T: Element>(columns: usize, reading: Reading) {
    if has_nvrtc() {
        let movers = movers::<T>(columns, Place::Whole, Place::Whole, Binding::Runtime);
        let about = format!("rows of {columns} {}", T::TYPE);
        for_each_binary(&movers, reading, &about, assert_wide);
    }
}

#[test]
fn rows_of_7168_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<bf16>(7168, Reading::Some);
}

#[test]
fn rows_of_4096_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<bf16>(4096, Reading::Some);
}

#[test]
fn rows_of_2880_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<bf16>(2880, Reading::Some);
}

#[test]
fn rows_of_576_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<bf16>(576, Reading::Some);
}

#[test]
fn elements_of_1_2_4_and_8_bytes_are_moved_in_accesses_of_16_bytes() {
    whole_rows_are_wide::<F8E4M3>(1152, Reading::Ptx);
    whole_rows_are_wide::<i16>(1152, Reading::Ptx);
    whole_rows_are_wide::<f32>(1152, Reading::Ptx);
    whole_rows_are_wide::<i64>(1152, Reading::Ptx);
}

#[test]
fn every_architecture_has_the_same_accesses_in_its_machine_code() {
    if !has_nvrtc() {
        return;
    }
    let gather = |columns| {
        let mut movers = movers::<bf16>(columns, Place::Whole, Place::Whole, Binding::Runtime);
        movers.retain(|mover| mover.name == "gather_rows");
        movers
    };
    for_each_binary(&gather(7168), Reading::Code, "rows of 7168", assert_wide);
    for_each_binary(&gather(7167), Reading::Code, "rows of 7167", assert_peeled);
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
            for_each_binary(&movers, Reading::Some, &format!("{binding:?} counts"), assert_wide);
        }
    }
}

#[test]
fn rows_of_7167_are_moved_in_accesses_of_16_bytes_but_for_their_ends() {
    if has_nvrtc() {
        let movers = movers::<bf16>(7167, Place::Whole, Place::Whole, Binding::Runtime);
        for_each_binary(&movers, Reading::Some, "rows of 7167", assert_peeled);
    }
}

#[test]
fn rows_that_are_written_2_bytes_off_are_peeled() {
    if has_nvrtc() {
        for from in [Place::Whole, Place::Shifted] {
            let movers = movers::<bf16>(7168, Place::Shifted, from, Binding::Runtime);
            for_each_binary(
                &movers,
                Reading::Some,
                &format!("rows off by 2, from {from:?}"),
                assert_peeled,
            );
        }
    }
}

#[test]
fn rows_that_are_read_2_bytes_off_are_realigned_and_not_peeled() {
    if has_nvrtc() {
        let movers = movers::<bf16>(7168, Place::Whole, Place::Shifted, Binding::Runtime);
        for_each_binary(&movers, Reading::Some, "rows from off by 2", assert_wide);
    }
}

#[test]
fn kernels_that_compute_what_they_move_use_no_local_memory() {
    if has_nvrtc() {
        for variant in others() {
            for binary in binaries(variant.kernel(), Reading::Some, "bf16 or ids") {
                println!("{binary:?}");
            }
        }
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
    for binary in binaries(variant.kernel(), Reading::Code, "eight segments") {
        assert_eq!(
            (binary.accesses.narrow_loads, binary.accesses.narrow_stores),
            (0, 0),
            "{binary:?}"
        );
        assert_eq!(binary.accesses.calls, 0, "{binary:?}");
        // A copy for each segment, and the zeros; the segment without rows may be left out.
        assert!((7..=8).contains(&binary.accesses.wide_loads), "{binary:?}");
        assert!((1..=9).contains(&binary.accesses.wide_stores), "{binary:?}");
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
