//! What the verifier of the thread IR accepts, printers print, and compilers compile.

use tilewright_dsl::backend::{cuda, entry, ptx};
use tilewright_dsl::thread::verify::verify;
use tilewright_dsl::{element, ir, thread};
use tilewright_runtime::compile::{Architecture, CompileOptions, Nvrtc, compile};
use tilewright_testing::{Part, Ptxas};

#[path = "../../dsl/src/thread/testing/mod.rs"]
mod testing;

use testing::{every, random};
use thread::Kernel;

const ARCHITECTURES: [Architecture; 3] = [
    Architecture::new(8, 0),
    Architecture::new(9, 0),
    Architecture::new(10, 0),
];

/// Compiles the CUDA C++ of a kernel, without a word from the compiler.
fn compile_cuda(kernel: &Kernel, architecture: Architecture) {
    let source = cuda::print(kernel);
    let options = CompileOptions::new(architecture);
    let cubin = compile(&source, &entry(kernel), &options)
        .unwrap_or_else(|error| panic!("{architecture}: {error}\n{kernel}\n{source}"));
    assert_eq!(cubin.log, "", "{architecture}: {}\n{source}", kernel.name);
}

/// Assembles the PTX of a kernel.
fn assemble_ptx(kernel: &Kernel, architecture: Architecture, ptxas: &Ptxas) {
    let target = ptx::Target::new(10 * architecture.major + architecture.minor).expect("a target");
    let legal = ptx::prepare(kernel.clone(), target.features());
    let module = ptx::print(&legal, target).unwrap_or_else(|error| panic!("{architecture}: {error}\n{legal}"));
    if let Err(error) = ptxas.assemble(&module.text, &target.to_string(), &[]) {
        panic!("{architecture}: {error}\n{}", module.text);
    }
}

#[test]
fn every_operation_on_every_type_is_assembled_for_every_architecture() {
    let Some(ptxas) = Part::Ptxas.or_skip(Ptxas::find()) else {
        return;
    };
    for kernel in every() {
        for architecture in ARCHITECTURES {
            assemble_ptx(&kernel, architecture, &ptxas);
        }
    }
}

#[test]
fn random_kernels_that_are_accepted_are_assembled() {
    let Some(ptxas) = Part::Ptxas.or_skip(Ptxas::find()) else {
        return;
    };
    for seed in 0..100 {
        let kernel = random(&mut fastrand::Rng::with_seed(seed), 60);
        assert_eq!(verify(&kernel), Ok(()), "{seed}");
        assemble_ptx(&kernel, ARCHITECTURES[seed as usize % ARCHITECTURES.len()], &ptxas);
    }
}

#[test]
fn every_operation_on_every_type_is_compiled_for_every_architecture() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    for kernel in every() {
        for architecture in ARCHITECTURES {
            compile_cuda(&kernel, architecture);
        }
    }
}

#[test]
fn random_kernels_that_are_accepted_are_compiled() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    for seed in 0..200 {
        let kernel = random(&mut fastrand::Rng::with_seed(seed), 60);
        assert_eq!(verify(&kernel), Ok(()), "{seed}");
        compile_cuda(&kernel, ARCHITECTURES[seed as usize % ARCHITECTURES.len()]);
    }
}
