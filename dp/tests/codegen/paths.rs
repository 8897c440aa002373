//! Two ways to make a kernel's text, side by side: that of `cuda` and that of `lower` and `backend`.
//!
//! The test prints a table and asserts nothing. `ONLY` in the environment says what the name of a row has to contain.

use std::collections::HashMap;
use std::env;
use std::fmt;

use half::bf16;
use tilewright_dsl::backend;
use tilewright_dsl::cuda;
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::lower::lower;
use tilewright_dsl::schedule::{Machine, Schedule, choose};
use tilewright_runtime::compile::{Architecture, CompileOptions, compile, resources};

use crate::accesses::{Code, nvdisasm};
use crate::catalogue::{Binding, Place, movers, others};
use crate::has_nvrtc;
use crate::meeting::meeting;

/// What the compiler makes of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    registers: u32,
    stack: u32,
    shared: u32,
    code: Code,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            registers,
            stack,
            shared,
            code,
        } = self;
        let Code {
            accesses,
            shared: [loads, stores],
            barriers,
            shuffles,
            divisions,
            instructions,
            in_loops,
        } = code;
        write!(
            f,
            "{registers:>3} r {stack:>4} st {shared:>6} sh {barriers:>3} bar {shuffles:>3} shfl {divisions:>2} div {loads:>3} lds {stores:>3} sts {instructions:>5} i {in_loops:>5} il  ld {} st {}",
            accesses.loads, accesses.stores
        )
    }
}

/// What is compiled is remembered by its text.
#[derive(Default)]
struct Compiler(HashMap<String, Result<Made, String>>);

impl Compiler {
    fn make(&mut self, source: &str, entry: &str) -> Result<Made, String> {
        if let Some(made) = self.0.get(source) {
            return made.clone();
        }
        let options = CompileOptions::new(Architecture::new(9, 0));
        let made = compile(source, entry, &options)
            .map(|cubin| {
                let kernels = resources(&cubin.bytes).expect("a cubin");
                let taken = &kernels[0].1;
                let code = Code::read(nvdisasm().expect("nvdisasm"), &cubin.bytes);
                Made {
                    registers: taken.registers,
                    stack: taken.stack_bytes,
                    shared: taken.shared_bytes,
                    code,
                }
            })
            .map_err(|error| error.to_string().lines().take(4).collect::<Vec<_>>().join(" | "));
        self.0.insert(source.to_owned(), made.clone());
        made
    }

    /// Both texts of a kernel.
    fn row(&mut self, name: &str, kernel: &Kernel, schedule: &Schedule) {
        let old = cuda::lower(kernel, schedule)
            .map_err(|error| error.to_string())
            .map(|module| (module.text.as_str().to_owned(), module.entry));
        let new = lower(kernel, schedule)
            .map_err(|error| error.to_string())
            .map(|lowered| (backend::cuda::print(&lowered.kernel), backend::entry(&lowered.kernel)));
        if let Some(folder) = env::var_os("TEXTS") {
            let file = name.replace([' ', '/'], "_");
            for (which, text) in [("old", &old), ("new", &new)] {
                if let Ok((text, _)) = text {
                    let path = std::path::Path::new(&folder).join(format!("{file}.{which}.cu"));
                    std::fs::write(path, text).expect("a folder to write to");
                }
            }
        }
        println!("{name}: {schedule}");
        for (which, text) in [("old", old), ("new", new)] {
            let made = text.and_then(|(source, entry)| self.make(&source, &entry));
            match made {
                Ok(made) => println!("  {which} {made}"),
                Err(error) => println!("  {which} {error}"),
            }
        }
    }
}

/// A kernel for few programs, some and many, unless the schedule is the same.
fn rows(compiler: &mut Compiler, name: &str, kernel: &Kernel) {
    let only = env::var("ONLY").unwrap_or_default();
    let mut seen: Vec<Schedule> = Vec::new();
    for programs in [64, 4096, 32_768] {
        let schedule = choose(kernel, &Machine::H200, programs);
        let name = format!("{} {name} {programs}", kernel.name);
        if seen.contains(&schedule) || !only.split(' ').all(|word| name.contains(word)) {
            continue;
        }
        seen.push(schedule);
        compiler.row(&name, kernel, &schedule);
    }
}

#[test]
#[ignore = "it prints a table, and takes minutes"]
fn both_texts_of_every_kernel() {
    if !has_nvrtc() || nvdisasm().is_none() {
        return;
    }
    let mut compiler = Compiler::default();
    for other in others() {
        rows(&mut compiler, "catalogue", other.variant.kernel());
    }
    for columns in [8, 64, 131, 256, 512, 2048, 7167, 7168] {
        for variant in meeting(columns) {
            rows(&mut compiler, &format!("{columns}"), variant.kernel());
        }
    }
    for columns in [7168, 7167, 576, 131] {
        for (to, from, about) in [
            (Place::Whole, Place::Whole, "whole"),
            (Place::Shifted, Place::Whole, "to-shifted"),
            (Place::Whole, Place::Shifted, "from-shifted"),
        ] {
            if columns != 7168 && about != "whole" {
                continue;
            }
            for mover in movers::<bf16>(columns, to, from, Binding::Runtime) {
                rows(&mut compiler, &format!("{columns} {about}"), mover.variant.kernel());
            }
        }
    }
}
