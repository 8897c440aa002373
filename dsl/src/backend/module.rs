//! A kernel as a text, with all that it takes to launch it.

use super::{cuda, entry, ptx};
use crate::ir::Span;
use crate::lower::{KernelArgument, Lowered, TrapSite};
use crate::schedule::Schedule;

/// A text of one kernel, in the language of one compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// CUDA C++, for NVRTC. It says by itself which line of Rust a line of it comes from.
    Cuda(String),
    /// PTX, for the driver.
    Ptx(ptx::Text),
}

impl Text {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cuda(text) => text,
            Self::Ptx(ptx) => &ptx.text,
        }
    }

    /// The name of its language.
    pub const fn language(&self) -> &'static str {
        match self {
            Self::Cuda(_) => "CUDA C++",
            Self::Ptx(_) => "PTX",
        }
    }

    /// The place in the author's text that a line comes from, counted from 1, where the compiler is not told by the text.
    pub fn span(&self, line: u32) -> Option<Span> {
        match self {
            Self::Cuda(_) => None,
            Self::Ptx(ptx) => ptx.span(line),
        }
    }
}

/// A kernel as a text, and how to launch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The text.
    pub text: Text,
    /// The name of the kernel in it.
    pub entry: String,
    /// What the kernel takes, in order.
    pub arguments: Vec<KernelArgument>,
    /// How it is spread over threads and blocks.
    pub schedule: Schedule,
    /// Threads of a block on each axis.
    pub threads: [u32; 3],
    /// The places that report errors, by the number they report.
    pub traps: Vec<TrapSite>,
    /// Whether one block runs all programs, one after the other.
    pub in_order: bool,
    /// Bytes of shared memory that a launch has to ask for, more than every block has; 0 where it need not ask.
    pub dynamic_shared: u32,
}

impl Module {
    /// A lowered kernel as CUDA C++.
    ///
    /// ```
    /// use tilewright_dsl::backend::Module;
    /// use tilewright_dsl::call::{ParameterFacts, TensorFacts, TraceRequest};
    /// use tilewright_dsl::schedule::{Machine, choose};
    /// use tilewright_dsl::{kernel, lang::*, lower::lower};
    ///
    /// #[kernel(grid = [1])]
    /// fn ones(out: &mut Tensor<f32, 1>) {
    ///     out.store([arange(1024)], full([1024], 1.0f32));
    /// }
    ///
    /// let parameters = vec![ParameterFacts::Tensor(TensorFacts::contiguous(&[1024]))];
    /// let kernel = ones::definition().trace(&TraceRequest { parameters })?.kernel;
    /// let module = Module::cuda(&lower(&kernel, &choose(&kernel, &Machine::H200, 1))?);
    /// assert_eq!((module.entry.as_str(), module.text.language()), ("tilewright_ones", "CUDA C++"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cuda(lowered: &Lowered) -> Self {
        Self::of(lowered, Text::Cuda(cuda::print(&lowered.kernel)))
    }

    /// A lowered kernel as PTX for a target.
    ///
    /// # Errors
    /// What PTX for this target cannot say, and where it is wanted.
    pub fn ptx(lowered: &Lowered, target: ptx::Target) -> Result<Self, ptx::Unsupported> {
        let legal = ptx::prepare(lowered.kernel.clone(), target.features());
        Ok(Self::of(lowered, Text::Ptx(ptx::print(&legal, target)?)))
    }

    fn of(lowered: &Lowered, text: Text) -> Self {
        let kernel = &lowered.kernel;
        Self {
            text,
            entry: entry(kernel),
            arguments: lowered.arguments.clone(),
            schedule: lowered.schedule,
            threads: [kernel.threads, 1, 1],
            traps: lowered.sites.clone(),
            in_order: lowered.in_order,
            dynamic_shared: if kernel.has_dynamic_shared() {
                kernel.shared_bytes()
            } else {
                0
            },
        }
    }

    /// Blocks on the x axis of the CUDA grid for `programs` programs; `None` beyond what a grid can have.
    pub fn blocks(&self, programs: u64) -> Option<u32> {
        match self.in_order {
            true => Some(1),
            false => self.schedule.blocks(programs),
        }
    }
}
