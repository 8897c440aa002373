//! Which code atomic operations become, and what they ask of a schedule.

use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::backend::Module;
use tilewright_dsl::call::{Definition, ParameterFacts, TensorFacts, TraceRequest};
use tilewright_dsl::class::Class;
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;
use tilewright_dsl::lower::lower;
use tilewright_dsl::schedule::{Machine, Schedule, choose};
use tilewright_dsl::transform::canonical;

/// The kernel for row-major tensors of these extents, proved and ready to be printed.
fn staged(definition: Definition, tensors: &[&[u64]]) -> Kernel {
    let facts = |extents: &&[u64]| ParameterFacts::Tensor(TensorFacts::contiguous(extents));
    let parameters = tensors.iter().map(facts).collect();
    let traced = definition.trace(&TraceRequest { parameters }).unwrap();
    canonical(Class::new(traced.kernel).proved(ConditionBits::NONE).0)
}

/// The CUDA C++ for few programs, without the prelude.
fn code(kernel: &Kernel) -> String {
    let module = Module::cuda(&lower(kernel, &choose(kernel, &Machine::H200, 4)).unwrap());
    let start = module.text.as_str().find("extern \"C\"").unwrap();
    module.text.as_str()[start..].to_owned()
}

fn is_split(kernel: &Kernel) -> bool {
    let split = Schedule {
        splits: 2,
        programs_per_block: 1,
        ..choose(kernel, &Machine::H200, 4)
    };
    split.fits(kernel).is_ok()
}

#[kernel(grid = [4])]
fn counting(counts: &mut Tensor<i32, 1>, values: &Tensor<i64, 1>) {
    let i = program_id(0) * 64 + arange(64);
    counts.atomic_add([values.load([i])], 1);
}

#[test]
fn an_operation_whose_value_nothing_uses_is_a_reduction_that_any_thread_may_do() {
    let kernel = staged(counting::definition(), &[&[10], &[256]]);
    let text = code(&kernel);
    // Nothing else on the device could tell the order.
    assert!(text.contains("red.relaxed.gpu.global.add.u32"), "{text}");
    assert!(!text.contains("__barrier_sync") && !text.contains("atom."), "{text}");
    assert!(is_split(&kernel));
}

#[kernel(grid = [4])]
fn unused(counts: &mut Tensor<i32, 1>) {
    let old = counts.atomic_exchange([0], 5);
    let _ = old + 1;
}

#[test]
fn an_operation_is_not_dead_when_its_value_is() {
    let kernel = staged(unused::definition(), &[&[10]]);
    assert!(kernel.to_string().contains("atomic exchange"), "{kernel}");
    let text = code(&kernel);
    assert_eq!(text.matches("atom.relaxed.gpu.global.exch.b32").count(), 1, "{text}");
    // By one thread of a program: here each of a block's threads has one of its own.
    assert!(
        text.contains("block * 32") && !text.contains("__barrier_sync"),
        "{text}"
    );
}

#[kernel(grid = [4])]
fn twice(counts: &mut Tensor<i32, 1>, out: &mut Tensor<i32, 1>) {
    let first = counts.atomic_add([0], 1);
    let second = counts.atomic_add([0], 1);
    out.store([program_id(0)], first + second);
}

#[test]
fn equal_operations_are_all_done_and_their_values_reach_every_thread() {
    let kernel = staged(twice::definition(), &[&[10], &[4]]);
    let text = code(&kernel);
    assert_eq!(text.matches("atom.acq_rel.gpu.global.add.u32").count(), 2, "{text}");
    assert_eq!(text.matches("st.shared.u32").count(), 2, "{text}");
    assert_eq!(text.matches("ld.shared.u32").count(), 2, "{text}");
    assert!(!is_split(&kernel));
}

#[kernel(grid = [4])]
fn publishing(data: &mut Tensor<f32, 2>, flags: &mut Tensor<i32, 1>, src: &Tensor<f32, 2>) {
    let (program, cols) = (program_id(0), arange(src.extent(1)));
    data.store([program, cols], src.load([program, cols]));
    flags.atomic_exchange_with([program], 1, AtomicOptions::new().order(MemoryOrder::Release));
    if flags.atomic_add_with([program + 1], 0, AtomicOptions::new().order(MemoryOrder::Acquire)) == 1 {
        data.store([program, cols], data.load([program + 1, cols]));
    }
}

#[test]
fn what_threads_stored_before_a_release_is_waited_for() {
    let kernel = staged(publishing::definition(), &[&[8, 512], &[8], &[8, 512]]);
    let text = code(&kernel);
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in {text}"));
    let release = at("atom.release.gpu.global.exch.b32");
    let stored = at("st.global");
    assert!(
        stored < release && text[stored..release].contains("__barrier_sync(0);"),
        "{text}"
    );
    // Nothing may be taken for constant that programs write.
    let loads: Vec<&str> = text.lines().filter(|line| line.contains("ld.global")).collect();
    let [constant, changing] = [true, false].map(|is_constant| {
        let of_kind = loads.iter().filter(|load| load.contains(".nc.") == is_constant);
        of_kind.copied().collect::<Vec<_>>()
    });
    assert!(
        !constant.is_empty() && constant.iter().all(|load| load.contains("p_src")),
        "{text}"
    );
    assert!(
        !changing.is_empty() && changing.iter().all(|load| load.contains("p_data")),
        "{text}"
    );
    assert!(!is_split(&kernel));
}

#[kernel(grid = [4])]
fn relaxed(counts: &mut Tensor<f32, 1>, values: &Tensor<f32, 1>) {
    let relaxed = AtomicOptions::new().order(MemoryOrder::Relaxed);
    for i in 0..4 {
        let at = arange(64) + i * 64;
        counts.atomic_add_with([at], values.load([at]), relaxed);
        counts.atomic_max_with([at], values.load([at]), relaxed);
    }
}

#[test]
fn relaxed_operations_need_no_barrier_in_a_loop_either() {
    let kernel = staged(relaxed::definition(), &[&[256], &[256]]);
    let text = code(&kernel);
    assert!(!text.contains("__barrier_sync"), "{text}");
    assert!(text.contains("red.relaxed.gpu.global.add.f32"), "{text}");
    // There is no instruction for the maximum of floats.
    assert!(text.contains("atom.relaxed.gpu.global.cas.b32"), "{text}");
    assert!(is_split(&kernel));
}

#[kernel(grid = [4])]
fn plain_after(counts: &mut Tensor<i32, 1>, out: &mut Tensor<i32, 1>) {
    let i = program_id(0) * 64 + arange(64);
    let relaxed = AtomicOptions::new().order(MemoryOrder::Relaxed);
    counts.atomic_add_with([i], 1, relaxed);
    counts.atomic_add_with([i + 1], 1, relaxed);
    out.store([i], counts.load([i]));
}

#[test]
fn a_plain_load_after_atomic_operations_waits_for_them() {
    let kernel = staged(plain_after::definition(), &[&[300], &[256]]);
    let text = code(&kernel);
    assert_eq!(text.matches("__barrier_sync(0);").count(), 1, "{text}");
    let at = |part: &str| text.rfind(part).unwrap_or_else(|| panic!("no {part} in {text}"));
    assert!(at("red.relaxed") < at("__barrier_sync(0);"), "{text}");
    assert!(!is_split(&kernel));
}

#[kernel(grid = [out.extent(0)])]
fn checked(out: &mut Tensor<i32, 1>, index: &Tensor<i32, 1>) {
    out.atomic_add([program_id(0)], 1);
    out.atomic_add([index.load([program_id(0)])], 1);
}

#[test]
fn proofs_tell_of_atomic_operations_too() {
    let facts = |n| ParameterFacts::Tensor(TensorFacts::contiguous(&[n]));
    let request = TraceRequest {
        parameters: vec![facts(4), facts(4)],
    };
    let proofs = checked::definition().trace(&request).unwrap().kernel.proofs();
    let texts: Vec<String> = proofs.iter().map(ToString::to_string).collect();
    assert!(texts[0].starts_with("atomic out[proved] at "), "{texts:?}");
    assert!(texts[2].starts_with("atomic out[guarded] at "), "{texts:?}");
}
