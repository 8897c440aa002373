//! Where the kernels of this suite run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use parking_lot::{Mutex, RwLock};
use tilewright::dsl::backend::{Module, ptx::Target};
use tilewright::dsl::lower::{Lowered, lower};
use tilewright::dsl::schedule::{Machine, choose};
use tilewright::runtime::compile::{Architecture, CompileOptions, Nvrtc, compile, compile_ptx};
use tilewright::runtime::{Device, Variant};
use tilewright_harness::testing::gpus;
use tilewright_testing::{Part, Ptxas};

/// Of each kernel's variants, in all tests together, so many are compiled: more of them differ in little but numbers.
/// `TILEWRIGHT_COMPILED_VARIANTS` is another number. A GPU compiles them all.
fn compiled() -> usize {
    let asked = std::env::var("TILEWRIGHT_COMPILED_VARIANTS").ok();
    asked.map_or(6, |asked| asked.parse().expect("a number of variants"))
}

/// The oldest comes first.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90", "sm_100"];

/// Held for reading while a test uses a GPU, and for writing by those whose kernels report: whoever synchronises the device is told.
static REPORTS: RwLock<()> = RwLock::new(());

/// Runs `test` on the CPU device and, if there is one, on a GPU, with each compiler: all must return the same.
pub fn on_every_device<R: PartialEq + Debug>(test: impl Fn(&Device) -> R) -> R {
    run(test, || REPORTS.read())
}

/// The same, and no other test uses a GPU meanwhile.
pub fn where_kernels_report<R: PartialEq + Debug>(test: impl Fn(&Device) -> R) -> R {
    run(test, || REPORTS.write())
}

fn run<R: PartialEq + Debug, G>(test: impl Fn(&Device) -> R, turn: impl Fn() -> G) -> R {
    let cpu = Device::cpu();
    let expected = test(&cpu);
    for variant in cpu.variants() {
        // Which instructions a kernel has depends little on its numbers.
        match seen_before(&variant) {
            0 => compile_texts(&variant, &ARCHITECTURES),
            seen if seen < compiled() => compile_texts(&variant, &ARCHITECTURES[..1]),
            _ => {}
        }
    }
    for gpu in Part::Gpu.if_there(gpus()).into_iter().flatten() {
        let compiler = gpu.compiler();
        let _turn = turn();
        assert_eq!(test(&gpu), expected, "{gpu} with {compiler} and the CPU device differ");
    }
    expected
}

/// Whether blocks can share a program in which elements meet.
pub fn has_clusters(device: &Device) -> bool {
    let architecture = device.as_cuda().map(|cuda| cuda.properties().architecture);
    architecture.is_none_or(|architecture| architecture.number() >= 90)
}

/// How many variants of the same kernel, over elements of the same types, were asked for before.
fn seen_before(variant: &Variant) -> usize {
    static SEEN: Mutex<BTreeMap<(String, BTreeSet<&str>), usize>> = Mutex::new(BTreeMap::new());
    let kernel = variant.kernel();
    let elements = kernel.types.iter().map(|ty| ty.element.name()).collect();
    let mut seen = SEEN.lock();
    let count = seen.entry((kernel.name.clone(), elements)).or_default();
    *count += 1;
    *count - 1
}

/// The texts of a variant for few programs or many.
pub struct Texts {
    variant: String,
    lowered: Lowered,
}

impl Texts {
    pub fn new(variant: &Variant, programs: u64, architecture: Architecture) -> Self {
        let machine = Machine::new(architecture.number(), Machine::H200.multiprocessors);
        let schedule = choose(variant.kernel(), &machine, programs);
        let lowered = lower(variant.kernel(), &schedule).unwrap_or_else(|e| panic!("{e}\n{}", variant.kernel()));
        let variant = variant.kernel().to_string();
        Self { variant, lowered }
    }

    /// CUDA C++, of every architecture.
    pub fn cuda(&self) -> Module {
        Module::cuda(&self.lowered)
    }

    /// PTX of an architecture.
    pub fn ptx(&self, architecture: Architecture) -> Module {
        let target = Target::new(architecture.number()).expect("a target");
        Module::ptx(&self.lowered, target).unwrap_or_else(|error| panic!("{error}\n{}", self.variant))
    }
}

/// The PTX of a variant for an architecture, as NVRTC makes it where there is one, and as it is printed: an instruction a
/// line, without its predicate.
pub fn ptx(variant: &Variant, architecture: &str) -> Vec<String> {
    let architecture: Architecture = architecture.parse().unwrap();
    let texts = Texts::new(variant, 1, architecture);
    let mut found = vec![texts.ptx(architecture).text.as_str().to_owned()];
    if has_nvrtc() {
        let (module, options) = (texts.cuda(), CompileOptions::new(architecture));
        let text = compile_ptx(module.text.as_str(), &module.entry, &options);
        found.push(text.unwrap_or_else(|error| panic!("{error}\n{}", module.text.as_str())));
    }
    found.iter().map(|text| instructions(text)).collect()
}

fn instructions(text: &str) -> String {
    let instructions = text.lines().flat_map(|line| line.split([';', '{', '}']));
    let instructions = instructions.map(|instruction| {
        let instruction = instruction.trim_start();
        match instruction.strip_prefix('@') {
            Some(predicated) => predicated.split_once(' ').map_or("", |(_, rest)| rest.trim_start()),
            None => instruction,
        }
    });
    instructions.collect::<Vec<_>>().join("\n")
}

fn has_nvrtc() -> bool {
    Part::Nvrtc.if_there(Nvrtc::load()).is_some()
}

/// Prints a variant for few programs and for many, and compiles both texts for the architectures.
fn compile_texts(variant: &Variant, architectures: &[&str]) {
    let ptxas = Part::Ptxas.if_there(Ptxas::find());
    for programs in [1, 100_000] {
        for architecture in architectures {
            let architecture: Architecture = architecture.parse().unwrap();
            let texts = Texts::new(variant, programs, architecture);
            if has_nvrtc() {
                let module = texts.cuda();
                compile(module.text.as_str(), &module.entry, &CompileOptions::new(architecture))
                    .unwrap_or_else(|error| panic!("{error}\n{}", module.text.as_str()));
            }
            if let Some(ptxas) = &ptxas {
                let module = texts.ptx(architecture);
                ptxas
                    .assemble(module.text.as_str(), &architecture.to_string(), &[])
                    .unwrap_or_else(|error| panic!("{error}\n{}", module.text.as_str()));
            }
            // One text for all of them: the first says whether it compiles, the rest that the instructions exist.
            if programs != 1 {
                break;
            }
        }
    }
}
