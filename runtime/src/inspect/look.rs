//! A launch that is looked at, and what is found.

use tilewright_dsl::backend::ptx::{Target as PtxTarget, Unsupported};
use tilewright_dsl::backend::{Module, Text};
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument};
use tilewright_dsl::lower::{Lowered, Repeats, lower};
use tilewright_dsl::transform::ProvedBy;

use super::assembly::{VERBOSE, disassemble, resources_of, spills};
use super::listing::{self, Line, Sources};
use super::occupancy::Block;
use super::report::{Access, Class, Code, Condition, Distribution, Launch, Listing, Missing, Proof, Schedule, Variant};
use super::{InspectError, InspectOptions, Inspection, Occupancy, Traffic};
use crate::compile::{CompileError, CompileOptions, Cubin, Nvrtc, compile, compile_ptx};
use crate::error::LaunchError;
use crate::launch::check_on;
use crate::specialize::{Candidate, Specimen, Target, Tier};

/// The items of a store whose threads are told.
const MOST_OWNERS: u64 = 4096;

/// A launch, and the variant that is shown of it.
pub(super) struct Look<'c, 'a> {
    call: &'c Call<'a>,
    target: Target,
    specimen: Specimen,
    variants: Vec<Variant>,
    shown: Candidate,
    lowered: Lowered,
}

impl<'c, 'a> Look<'c, 'a> {
    /// Of a tier, or of the best one.
    pub fn at(call: &'c Call<'a>, target: Target, tier: Option<Tier>) -> Result<Self, InspectError> {
        check_on(call, None)?;
        let mut specimen = Specimen::of(call, target)?;
        let best = specimen.candidates.last().map(|(tier, _)| *tier);
        let shown = tier.or(best);
        let variants = specimen.candidates.iter();
        let variants = variants.map(|(tier, candidate)| variant(*tier, candidate, Some(*tier) == shown));
        let variants = variants.collect();
        let at = specimen.candidates.iter().position(|(tier, _)| Some(*tier) == shown);
        let at = at.ok_or_else(|| InspectError::NoLiterals {
            kernel: call.definition().name().to_owned(),
        })?;
        let (_, shown) = specimen.candidates.swap_remove(at);
        let shown = shown?;
        let lowered = lower(&shown.kernel, &shown.schedule).map_err(LaunchError::from)?;
        Ok(Self {
            call,
            target,
            specimen,
            variants,
            shown,
            lowered,
        })
    }

    /// The text for NVRTC.
    pub fn cuda(&self) -> Module {
        Module::cuda(&self.lowered)
    }

    /// The text for the driver.
    pub fn ptx(&self) -> Result<Module, Unsupported> {
        Module::ptx(&self.lowered, PtxTarget::new(self.target.architecture.number())?)
    }

    /// All that is found out.
    pub fn inspection(self, options: &InspectOptions) -> Result<Inspection, InspectError> {
        let Self {
            call,
            target,
            specimen,
            shown,
            lowered,
            ..
        } = &self;
        let mut sources = Sources::default();
        let mut missing = Vec::new();
        let mut listings = Vec::new();
        let mut list = |name, title, lines: Vec<Line>| listings.push(Listing { name, title, lines });
        // The first two say which lines there are.
        let tile_ir = shown.kernel.to_string_with_spans();
        list("tile-ir", "tile IR", listing::tile_ir(&tile_ir, &mut sources));
        let thread_ir = lowered.kernel.to_string();
        list("thread-ir", "thread IR", listing::thread_ir(&thread_ir, &mut sources));
        let cuda = self.cuda();
        list("cuda", "CUDA C++", listing::cuda(cuda.text.as_str(), &mut sources));
        match self.ptx().map(|module| module.text) {
            Ok(Text::Ptx(text)) => list("ptx", "PTX", listing::own_ptx(&text, &mut sources)),
            Ok(Text::Cuda(_)) => {}
            Err(unsupported) => missing.push(Missing {
                what: "PTX",
                why: unsupported.to_string(),
            }),
        }
        let blocks = lowered.blocks(specimen.programs);
        let compiled = match self.compiled(&cuda)? {
            Ok(compiled) => Some(compiled),
            Err(why) => {
                let what = "registers, shared memory, occupancy and SASS";
                missing.push(Missing { what, why });
                None
            }
        };
        let code = compiled.as_ref().map(|(cubin, ptx)| {
            list("nvrtc-ptx", "PTX by NVRTC", listing::other_ptx(ptx, &mut sources));
            match disassemble(&cubin.bytes) {
                Ok(text) => list("sass", "SASS", listing::sass(&text, &mut sources)),
                Err(why) => missing.push(Missing { what: "SASS", why }),
            }
            self.code(cubin, &cuda, blocks)
        });
        let code = code.transpose()?;
        let threads = blocks.map(|blocks| u64::from(blocks) * u64::from(lowered.kernel.threads));
        let traffic = Traffic::of(call, &shown.kernel, &lowered.accesses, specimen.programs, threads);
        Ok(Inspection {
            kernel: call.definition().name().to_owned(),
            architecture: target.architecture.to_string(),
            multiprocessors: target.multiprocessors,
            launch: Launch {
                grid: specimen.grid,
                programs: specimen.programs,
                blocks,
                threads: lowered.kernel.threads,
                arguments: self.arguments(),
            },
            schedule: self.schedule(),
            proofs: self.proofs(&mut sources),
            distributions: self.distributions(&mut sources),
            accesses: self.accesses(&mut sources),
            sources: sources.read(&options.sources),
            class: Class {
                facts: self.specimen.facts,
                conditions: conditions(self.specimen.conditions),
                variants: self.variants,
            },
            traffic,
            code,
            listings,
            missing,
        })
    }

    /// What NVRTC makes of the text, and its PTX; or why there is no NVRTC for it.
    fn compiled(&self, module: &Module) -> Result<Result<(Cubin, String), String>, CompileError> {
        let mut options = CompileOptions::new(self.target.architecture);
        options.line_info = true;
        let (text, entry) = (module.text.as_str(), &module.entry);
        let compiled = compile_ptx(text, entry, &options).and_then(|ptx| {
            options.extra.push(VERBOSE.to_owned());
            Ok((compile(text, entry, &options)?, ptx))
        });
        match compiled {
            Ok(compiled) => Ok(Ok(compiled)),
            Err(
                error @ (CompileError::NvrtcNotFound { .. }
                | CompileError::NamedNvrtc { .. }
                | CompileError::UnsupportedArchitecture { .. }),
            ) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }

    fn code(&self, cubin: &Cubin, module: &Module, blocks: Option<u32>) -> Result<Code, InspectError> {
        let found = resources_of(cubin)?;
        let spills = spills(&cubin.log);
        let shared_bytes = found.shared_bytes + module.dynamic_shared;
        let block = Block {
            threads: self.lowered.kernel.threads,
            registers: found.registers,
            shared_bytes,
        };
        let nvrtc = Nvrtc::load()?.version();
        Ok(Code {
            compiler: format!("NVRTC {}.{}", nvrtc.0, nvrtc.1),
            cubin_bytes: cubin.bytes.len(),
            registers: found.registers,
            shared_bytes,
            local_bytes: found.stack_bytes,
            spill_store_bytes: spills.map(|[stores, _]| stores),
            spill_load_bytes: spills.map(|[_, loads]| loads),
            occupancy: Occupancy::of(block, self.target.architecture)
                .map(|found| found.of_launch(blocks, self.target.multiprocessors)),
        })
    }

    fn arguments(&self) -> Vec<String> {
        let parameters = self.specimen.traced.kernel.parameters.iter();
        let shape = |extents: &[u64]| {
            let extents: Vec<String> = extents.iter().map(u64::to_string).collect();
            format!("[{}]", extents.join(", "))
        };
        let argument = |argument: &ArgumentValue<'_>| match argument {
            ArgumentValue::Tensor(tensor) => format!("{} {}", tensor.element, shape(&tensor.extents)),
            ArgumentValue::List(list) => {
                let first = list
                    .tensors
                    .first()
                    .map_or_else(String::new, |tensor| shape(&tensor.extents));
                format!("{} tensors of {}, the first {first}", list.tensors.len(), list.element)
            }
            ArgumentValue::Count(CountArgument::Exact(value)) => format!("{value}, exact"),
            ArgumentValue::Count(CountArgument::Runtime(value)) => format!("{value}, at run time"),
            ArgumentValue::Count(CountArgument::Device { element, maximum, .. }) => {
                format!("{element} in device memory, at most {maximum}")
            }
            ArgumentValue::Scalar(literal) => literal.to_string(),
        };
        let named = parameters.zip(self.call.arguments());
        named
            .map(|(parameter, value)| format!("{}: {}", parameter.name, argument(value)))
            .collect()
    }

    fn schedule(&self) -> Schedule {
        let schedule = &self.shown.schedule;
        Schedule {
            threads: schedule.threads,
            programs_per_block: schedule.programs_per_block,
            splits: schedule.splits,
            unroll: schedule.unroll,
            load: schedule.load.name(),
            store: schedule.store.name(),
            wide: schedule.wide,
            in_order: self.lowered.in_order,
            reason: match self.shown.reason {
                Some(reason) => reason.to_string(),
                None => "the launch asks for it".to_owned(),
            },
            from_programs: *self.shown.regime.start(),
            to_programs: *self.shown.regime.end(),
        }
    }

    fn proofs(&self, sources: &mut Sources) -> Vec<Proof> {
        let proof = |proof: &tilewright_dsl::transform::Proof| Proof {
            at: sources.place(proof.span),
            kind: proof.kind.to_string(),
            tensor: proof.tensor.clone(),
            axes: proof.axes.iter().map(ProvedBy::to_string).collect(),
        };
        self.shown.proofs.iter().map(proof).collect()
    }

    fn distributions(&self, sources: &mut Sources) -> Vec<Distribution> {
        let all = self.lowered.distributions.iter();
        all.map(|(span, found)| Distribution {
            at: sources.place(*span),
            text: found.to_string(),
            shape: found.shape.extents().to_vec(),
            workers: found.workers,
            items: found.items(),
            lanes: found.lanes(),
            owners: (0..found.items().min(MOST_OWNERS))
                .map(|item| found.worker_of(item))
                .collect(),
            in_flight: found.in_flight,
            rounds: found.rounds,
        })
        .collect()
    }

    fn accesses(&self, sources: &mut Sources) -> Vec<Access> {
        let all = self.lowered.accesses.iter();
        all.map(|access| Access {
            at: sources.place(access.span),
            kind: access.kind.to_string(),
            tensor: access.tensor.clone(),
            element: access.element.to_string(),
            bytes: access.bytes,
            repeats: match access.repeats {
                Repeats::AtMost(count) | Repeats::EachTrip(count) => count,
            },
            each_trip: matches!(access.repeats, Repeats::EachTrip(_)),
            narrow: access.narrow.as_ref().map(ToString::to_string),
        })
        .collect()
    }
}

fn conditions(conditions: Vec<(String, bool)>) -> Vec<Condition> {
    let all = conditions.into_iter();
    all.map(|(text, holds)| Condition { text, holds }).collect()
}

fn variant(tier: Tier, candidate: &Result<Candidate, LaunchError>, is_shown: bool) -> Variant {
    let name = tier.name();
    match candidate {
        Ok(candidate) => {
            let axes = candidate.proofs.iter().flat_map(|proof| &proof.axes);
            Variant {
                tier: name,
                is_shown,
                literals: candidate.literals.clone(),
                checks: axes.filter(|by| **by == ProvedBy::Guard).count(),
                schedule: candidate.schedule.to_string(),
                refused: None,
            }
        }
        Err(error) => Variant {
            tier: name,
            is_shown,
            literals: Vec::new(),
            checks: 0,
            schedule: String::new(),
            refused: Some(error.to_string()),
        },
    }
}
