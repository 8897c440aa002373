//! What fusing many calls costs: the registers of a kernel do not grow with the number of its parts, and nothing
//! overflows.

use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::backend::Module;
use tilewright_dsl::call::{Definition, ParameterFacts, TensorFacts, TraceRequest, Traced};
use tilewright_dsl::class::Class;
use tilewright_dsl::ir::Bindings;
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;
use tilewright_dsl::lower::lower;
use tilewright_dsl::schedule::{Machine, choose};
use tilewright_dsl::transform::{bind, canonical, fuse};
use tilewright_runtime::compile::{Architecture, CompileOptions, Nvrtc, Resources, compile, resources};
use tilewright_testing::Part;

#[kernel(grid = [cdiv(out.extent(0), 256)])]
fn double(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let i = program_id(0) * 256 + arange(256);
    out.store([i], x.load([i]) * 2.0);
}

#[kernel(grid = [cdiv(out.extent(0), 256)])]
fn clear(out: &mut Tensor<f32, 1>) {
    let i = program_id(0) * 256 + arange(256);
    out.store([i], 0.0);
}

fn traced(definition: &Definition, tensors: usize) -> Traced {
    let parameters = vec![ParameterFacts::Tensor(TensorFacts::contiguous(&[1000])); tensors];
    definition
        .trace(&TraceRequest { parameters })
        .expect("it is well-formed")
}

fn resources_of(parts: &[Traced]) -> Resources {
    let fused = fuse(parts);
    let bound = bind(&fused.kernel, &Bindings::default());
    let kernel = canonical(Class::new(bound).proved(ConditionBits::NONE).0);
    let module = Module::cuda(&lower(&kernel, &choose(&kernel, &Machine::H200, 64)).expect("it can be lowered"));
    let options = CompileOptions::new(Architecture::new(9, 0));
    let cubin = compile(module.text.as_str(), &module.entry, &options).expect("it compiles");
    let found = resources(&cubin.bytes).expect("a cubin").pop().expect("a kernel").1;
    println!("{} parts, {} arguments: {found:?}", parts.len(), module.arguments.len());
    found
}

#[test]
fn registers_do_not_grow_with_the_number_of_calls() {
    let Some(_) = Part::Nvrtc.or_skip(Nvrtc::load()) else {
        return;
    };
    let (double, clear) = (traced(&double::definition(), 2), traced(&clear::definition(), 1));
    for (part, counts) in [(double, [8, 64, 128]), (clear, [120, 200, 256])] {
        for count in counts {
            let found = resources_of(&vec![part.clone(); count]);
            assert!(
                found.registers <= 64 && found.stack_bytes == 0,
                "{count} calls: {found:?}"
            );
        }
    }
}
