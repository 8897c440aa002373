//! Every kernel of this package, and kernels in which elements meet, as threads, under many schedules, plain and checked, in both languages.

use half::bf16;
use tilewright_dsl::backend::{cuda, entry, ptx};
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::lower::{Lowered, lower};
use tilewright_dsl::schedule::{Machine, Schedule, choose};
use tilewright_dsl::thread::legalize;
use tilewright_dsl::thread::verify::verify;
use tilewright_dsl::transform::checked;
use tilewright_runtime::compile::{CompileOptions, Nvrtc, compile};
use tilewright_testing::{Part, Ptxas};

use crate::catalogue::{Binding, Place, movers, others};
use crate::meeting::meeting;
use crate::{ARCHITECTURES, PROGRAMS};

/// The kernels as a launch has them, and their checked builds.
fn kernels() -> Vec<Kernel> {
    let rows = [
        movers::<bf16>(7168, Place::Whole, Place::Whole, Binding::Runtime),
        movers::<bf16>(7167, Place::Whole, Place::Shifted, Binding::Device),
        movers::<i64>(131, Place::Shifted, Place::Whole, Binding::Exact),
    ];
    let movers = rows.iter().flatten().map(|mover| mover.variant.kernel().clone());
    let others = others();
    let others = others.iter().map(|other| other.variant.kernel().clone());
    let meeting = meeting(512);
    let meeting = meeting.iter().map(|variant| variant.kernel().clone());
    let plain: Vec<Kernel> = movers.chain(others).chain(meeting).collect();
    plain
        .iter()
        .cloned()
        .chain(plain.iter().cloned().map(checked))
        .collect()
}

/// Those that are chosen for few and many programs, and others that the kernel can have.
fn schedules(kernel: &Kernel) -> Vec<Schedule> {
    let chosen = PROGRAMS.map(|programs| choose(kernel, &Machine::H200, programs));
    let others = [(7, 1, 1), (64, 1, 3), (32, 4, 1), (1024, 1, 1)];
    let others = others.map(|(threads, programs_per_block, splits)| Schedule {
        threads,
        programs_per_block,
        splits,
        ..chosen[0]
    });
    let fits = others.into_iter().filter(|schedule| schedule.fits(kernel).is_ok());
    chosen.into_iter().chain(fits).collect()
}

fn lowered(kernel: &Kernel, schedule: &Schedule) -> Lowered {
    let lowered = lower(kernel, schedule).unwrap_or_else(|error| panic!("{schedule}: {error}\n{kernel}"));
    verify(&lowered.kernel).unwrap_or_else(|fault| panic!("{schedule}: {fault}\n{}", lowered.kernel));
    lowered
}

fn printed(lowered: &Lowered, target: ptx::Target) -> String {
    let legal = legalize(lowered.kernel.clone(), target.features());
    let module = ptx::print(&legal, target);
    module.unwrap_or_else(|error| panic!("{error}\n{legal}")).text
}

#[test]
fn every_kernel_is_made_of_threads_under_every_schedule_plain_and_checked() {
    for kernel in kernels() {
        for schedule in schedules(&kernel) {
            let lowered = lowered(&kernel, &schedule);
            cuda::print(&lowered.kernel);
            for architecture in ARCHITECTURES {
                let target = ptx::Target::new(10 * architecture.major + architecture.minor).expect("a target");
                // Clusters are of 9.0 and later.
                if lowered.kernel.cluster == 1 || target.capability() >= 90 {
                    printed(&lowered, target);
                }
            }
        }
    }
}

#[test]
fn every_kernel_is_compiled_as_threads_plain_and_checked() {
    let has_nvrtc = Part::Nvrtc.or_skip(Nvrtc::load()).is_some();
    let ptxas = Part::Ptxas.or_skip(Ptxas::find());
    for (number, kernel) in kernels().iter().enumerate() {
        let architecture = ARCHITECTURES[number % ARCHITECTURES.len()];
        let lowered = lowered(kernel, &choose(kernel, &Machine::H200, PROGRAMS[1]));
        if has_nvrtc {
            let (source, options) = (cuda::print(&lowered.kernel), CompileOptions::new(architecture));
            let cubin = compile(&source, &entry(&lowered.kernel), &options);
            let cubin = cubin.unwrap_or_else(|error| panic!("{error}\n{source}"));
            assert_eq!(cubin.log, "", "{source}");
        }
        if let Some(ptxas) = &ptxas {
            let target = ptx::Target::new(10 * architecture.major + architecture.minor).expect("a target");
            let text = printed(&lowered, target);
            let said = ptxas.assemble(&text, &target.to_string(), &[]);
            said.unwrap_or_else(|error| panic!("{error}\n{text}"));
        }
    }
}
