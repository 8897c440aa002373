//! What the verifier of the thread IR accepts, printers print, and compilers compile.

use tilewright_dsl::backend::{cuda, entry};
use tilewright_dsl::thread::testing::{every, random};
use tilewright_dsl::thread::{Kernel, verify};
use tilewright_runtime::compile::{Architecture, CompileOptions, Nvrtc, compile};
use tilewright_testing::Part;

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

#[test]
fn every_operation_on_every_type_compiles_for_every_architecture() {
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
fn random_kernels_that_are_accepted_compile() {
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    for seed in 0..200 {
        let kernel = random(&mut fastrand::Rng::with_seed(seed), 60);
        if verify::verify(&kernel).is_ok() {
            compile_cuda(&kernel, ARCHITECTURES[seed as usize % ARCHITECTURES.len()]);
        }
    }
}
