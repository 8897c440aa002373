//! Whatever is lowered is printed, and the assembler takes its PTX.

use tilewright_testing::{Part, Ptxas};

use super::movement::moved;
use super::run::schedule;
use crate::backend::cuda;
use crate::backend::ptx::{Target, prepare, print};
use crate::element::ElementType;
use crate::thread::Kernel;

const CAPABILITIES: [u32; 3] = [80, 90, 100];

fn printed(kernel: &Kernel, target: Target) -> String {
    let legal = prepare(kernel.clone(), target.features());
    let module = print(&legal, target).unwrap_or_else(|error| panic!("{error}\n{legal}"));
    module.text
}

/// Assembles a text; returns what the assembler says of it.
fn assembled(ptxas: &Ptxas, text: &str, target: Target) -> String {
    let said = ptxas.assemble(text, &target.to_string(), &[]);
    said.unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Prints a kernel both ways, and assembles one of many: which ones, their texts say.
pub(super) fn check(kernel: &Kernel) {
    assert!(cuda::print(kernel).contains("__global__"));
    for target in CAPABILITIES.map(|capability| Target::new(capability).expect("a target")) {
        if kernel.cluster > 1 && target.capability() < 90 {
            assert!(print(&prepare(kernel.clone(), target.features()), target).is_err());
            continue;
        }
        let text = printed(kernel, target);
        if text.len() % 64 == 7
            && let Some(ptxas) = Part::Ptxas.if_there(Ptxas::find())
        {
            assembled(&ptxas, &text, target);
        }
    }
}

#[test]
fn movement_takes_no_local_memory() {
    let Some(ptxas) = Part::Ptxas.or_skip(Ptxas::find()) else {
        return;
    };
    for (scatters, columns) in [(false, 7168), (false, 7167), (true, 7168), (true, 7167)] {
        let lowered = moved(ElementType::BF16, columns, scatters, [0, 0], &schedule(256, 4));
        for target in CAPABILITIES.map(|capability| Target::new(capability).expect("a target")) {
            let text = printed(&lowered.kernel, target);
            let said = assembled(&ptxas, &text, target);
            let none = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads";
            assert!(said.contains(none), "{said}\n{text}");
            assert!(text.contains(".v4.b32"), "{text}");
        }
    }
}
