//! Where the kernels of this suite run.

use std::fmt::Debug;

use tilewright::dsl::call::Specialize;
use tilewright::dsl::{cuda, schedule};
use tilewright::runtime::compile::{Architecture, CompileOptions, Nvrtc, compile, compile_ptx};
use tilewright::runtime::{Device, Variant};
use tilewright_testing::Part;

/// Runs `test` on the CPU device and, if there is one, on a GPU: both must return the same.
pub fn on_every_device<R: PartialEq + Debug>(test: impl Fn(&Device) -> R) -> R {
    let cpu = Device::cpu();
    let expected = test(&cpu);
    for variant in cpu.variants() {
        compile_everywhere(&variant);
    }
    if let Some(gpu) = Part::Gpu.if_there(Device::cuda(0).inspect(|gpu| gpu.set_specialize(Specialize::Exact))) {
        assert_eq!(test(&gpu), expected, "{gpu} and the CPU device differ");
    }
    expected
}

/// The PTX of a variant for an architecture; nothing, with the reason printed, where there is no NVRTC.
pub fn ptx(variant: &Variant, architecture: &str) -> Option<String> {
    if !has_nvrtc() {
        return None;
    }
    let schedule = schedule::choose(variant.kernel(), &schedule::Machine::H200, 1);
    let module = cuda::lower(variant.kernel(), &schedule).unwrap_or_else(|e| panic!("{e}\n{}", variant.kernel()));
    let options = CompileOptions::new(architecture.parse().unwrap());
    let text = compile_ptx(module.text.as_str(), &module.entry, &options);
    Some(text.unwrap_or_else(|error| panic!("{error}\n{}", module.text.as_str())))
}

fn has_nvrtc() -> bool {
    Part::Nvrtc.if_there(Nvrtc::load()).is_some()
}

/// Prints a variant for few programs and for many, and compiles both texts for every architecture.
fn compile_everywhere(variant: &Variant) {
    if !has_nvrtc() {
        return;
    }
    for programs in [1, 100_000] {
        let schedule = schedule::choose(variant.kernel(), &schedule::Machine::H200, programs);
        let module = cuda::lower(variant.kernel(), &schedule).unwrap_or_else(|e| panic!("{e}\n{}", variant.kernel()));
        for architecture in ["sm_80", "sm_90", "sm_100"] {
            let architecture: Architecture = architecture.parse().unwrap();
            compile(module.text.as_str(), &module.entry, &CompileOptions::new(architecture))
                .unwrap_or_else(|error| panic!("{error}\n{}", module.text.as_str()));
            // One text for all of them: the first says whether it compiles, the rest that the instructions exist.
            if programs != 1 {
                break;
            }
        }
    }
}
