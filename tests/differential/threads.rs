//! What a case computes as threads: the kernel lowered to the thread IR, on the CPU.

use std::collections::HashMap;

use tilewright::dsl::backend::Module;
use tilewright::dsl::backend::ptx::Target;
use tilewright::dsl::ir::{Kernel, Symbol};
use tilewright::dsl::lower::{KernelArgument, LowerError, Lowered, lower};
use tilewright::dsl::schedule::Schedule;
use tilewright::dsl::thread::interpret::{self, Fault, Memory, Passed, Reported};
use tilewright::dsl::thread::verify::verify;
use tilewright::runtime::compile::{Architecture, CompileOptions, Nvrtc, compile};
use tilewright_testing::Ptxas;

use crate::case::{Argument, Case, Count, Tensor};
use crate::oracle::{Outcome, Trapped, launch_grid};

/// What a launch leaves behind, and what it reports; where it does what no GPU gives one result for, what it reported
/// before.
pub struct Ran {
    pub outcome: Result<Outcome, Fault>,
    pub reports: Vec<Reported>,
}

/// A kernel that was lowered, and its texts: CUDA C++, and PTX for sm_90.
pub struct Texts {
    pub lowered: Lowered,
    pub texts: [Module; 2],
}

/// Lowers a kernel, if its threads need not exchange more than they can; what becomes of it is verified and printed.
pub fn lowered(kernel: &Kernel, schedule: &Schedule) -> Option<Texts> {
    let lowered = match lower(kernel, schedule) {
        Ok(lowered) => lowered,
        Err(LowerError::SharedMemory { .. }) => return None,
        Err(error) => panic!("as threads, {schedule}: {error}\n{kernel}"),
    };
    verify(&lowered.kernel).unwrap_or_else(|fault| panic!("{fault}\n{}", lowered.kernel));
    let target = Target::new(90).expect("a target");
    let ptx = Module::ptx(&lowered, target).unwrap_or_else(|error| panic!("{error}\n{}", lowered.kernel));
    let texts = [Module::cuda(&lowered), ptx];
    Some(Texts { lowered, texts })
}

impl Texts {
    /// Has the compilers that are there compile both.
    pub fn compile(&self) {
        let [cuda, ptx] = &self.texts;
        if Nvrtc::load().is_ok() {
            let options = CompileOptions::new(Architecture::new(9, 0));
            compile(cuda.text.as_str(), &cuda.entry, &options)
                .unwrap_or_else(|error| panic!("{error}\n{}", cuda.text.as_str()));
        }
        if let Ok(ptxas) = Ptxas::find() {
            ptxas
                .assemble(ptx.text.as_str(), "sm_90", &[])
                .unwrap_or_else(|error| panic!("{error}\n{}", ptx.text.as_str()));
        }
    }
}

/// Runs what the kernel of `case` was lowered to on its arguments.
pub fn run(lowered: &Lowered, case: &Case) -> Ran {
    let grid = launch_grid(&case.kernel, case);
    let mut memory = Memory::new();
    let mut addresses = HashMap::new();
    for (position, argument) in (0u32..).zip(&case.arguments) {
        let bytes = match argument {
            Argument::Tensor(tensor) => tensor.bytes.clone(),
            Argument::Count(Count::Device { stored, .. }) => stored.to_le_bytes().to_vec(),
            Argument::Count(_) | Argument::Scalar(_) => continue,
        };
        addresses.insert(position, memory.allocate(bytes, 0));
    }
    let record = memory.allocate(vec![0; 48], 0);
    let mut passed = Vec::new();
    for argument in &lowered.arguments {
        passed.push(match *argument {
            KernelArgument::Pointer(position) => Passed::Pointer(addresses[&position] + tensor(case, position).offset),
            KernelArgument::Table(position) => {
                Passed::Pointer(memory.allocate(table(tensor(case, position), addresses[&position]), 0))
            }
            KernelArgument::Entries { list, .. } => Passed::Bytes(table(tensor(case, list), addresses[&list])),
            KernelArgument::DeviceCount(position) => Passed::Pointer(addresses[&position]),
            KernelArgument::DeviceCountMaximum(position) => Passed::Scalar(count(case, position).maximum() as u64),
            KernelArgument::Symbol(Symbol::NumPrograms(axis)) => Passed::Scalar(grid[axis as usize]),
            KernelArgument::Symbol(symbol) => Passed::Scalar(case.value(symbol).expect("the case knows it") as u64),
            KernelArgument::Scalar(position) => match &case.arguments[position as usize] {
                Argument::Scalar(literal) => Passed::Scalar(literal.bits),
                other => panic!("{other:?} is no scalar"),
            },
            KernelArgument::Trap => Passed::Pointer(record),
            KernelArgument::Marks { tensor: of, words } => {
                let elements: u64 = members(tensor(case, of)).iter().map(elements).sum();
                Passed::Pointer(memory.allocate(vec![0; 8 * elements as usize * words as usize], 0))
            }
        });
    }
    let blocks = lowered.blocks(grid.iter().product()).expect("few programs");
    let (outcome, reports) = match interpret::run(&lowered.kernel, blocks, &passed, &mut memory) {
        Err(fault) => {
            let reports = fault.reports.clone();
            (Err(fault), reports)
        }
        Ok(outcome) => {
            let tensors = (0u32..).zip(&case.arguments);
            let tensors = tensors.filter(|(_, argument)| matches!(argument, Argument::Tensor(_)));
            let memories = tensors.map(|(position, _)| memory.bytes(addresses[&position]).to_vec());
            let trapped = if outcome.reports.is_empty() {
                Trapped::No
            } else {
                Trapped::Yes
            };
            let memories = memories.collect();
            (Ok(Outcome { memories, trapped }), outcome.reports)
        }
    };
    Ran { outcome, reports }
}

fn tensor(case: &Case, position: u32) -> &Tensor {
    match &case.arguments[position as usize] {
        Argument::Tensor(tensor) => tensor,
        other => panic!("{other:?} is no tensor"),
    }
}

fn count(case: &Case, position: u32) -> Count {
    match case.arguments[position as usize] {
        Argument::Count(count) => count,
        ref other => panic!("{other:?} is no count"),
    }
}

fn members(tensor: &Tensor) -> &[Tensor] {
    tensor.members.as_deref().unwrap_or(std::slice::from_ref(tensor))
}

fn elements(tensor: &Tensor) -> u64 {
    tensor.extents.iter().product()
}

/// A list's table: an entry for each of its tensors, and one of a tensor without elements if there is none.
fn table(list: &Tensor, address: u64) -> Vec<u8> {
    let (mut words, mut before) = (Vec::new(), 0);
    for member in members(list) {
        words.extend([address + member.offset, before]);
        words.extend(&member.extents);
        words.extend(member.strides.iter().map(|stride| *stride as u64));
        before += elements(member);
    }
    if words.is_empty() {
        words = vec![0; KernelArgument::table_words(list.extents.len() - 1)];
    }
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}
