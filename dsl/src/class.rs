//! Classes of launches: a kernel, what is proved of it in all of them, and by what they are told apart.

use crate::analysis::condition::{ConditionBits, Program};
use crate::host::{GridError, HostProgram, Known, RequirementError};
use crate::ir::Kernel;
use crate::transform::{Conditions, Proof, canonical, prove};

/// A kernel with all that can be found out about its launches before there is one.
///
/// A launch evaluates what the kernel requires, the grid and the conditions: some integer operations each, no analysis,
/// and no allocation. The conditions that hold name the variant of the kernel that may serve the launch: one made for some
/// conditions serves every launch in which these hold, and that for [`ConditionBits::NONE`] every launch of the class.
///
/// ```
/// use tilewright_dsl::analysis::condition::ConditionBits;
/// use tilewright_dsl::call::{ParameterFacts, TensorFacts, TraceRequest};
/// use tilewright_dsl::class::Class;
/// use tilewright_dsl::ir::Symbol;
/// use tilewright_dsl::lang::*;
///
/// #[tilewright_dsl::kernel(grid = [n])]
/// fn double(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>, n: Count) {
///     let i = program_id(0);
///     out.store([i], x.load([i]) * 2.0);
/// }
///
/// let tensor = || ParameterFacts::Tensor(TensorFacts::contiguous(&[100]));
/// let parameters = vec![tensor(), tensor(), ParameterFacts::Value];
/// let traced = double::definition().trace(&TraceRequest { parameters })?;
/// let class = Class::new(traced.kernel);
///
/// let launch = |n: i64| {
///     move |symbol| match symbol {
///         Symbol::Count(_) => Some(n),
///         Symbol::Extent { .. } => Some(100),
///         _ => None,
///     }
/// };
/// let grid = class.grid(&launch(60))?;
/// assert_eq!(grid, [60, 1, 1]);
/// let inside = class.conditions(&launch(60), grid);
/// assert_eq!(inside, class.conditions(&launch(100), [100, 1, 1]));
/// assert!(!class.kernel(inside).0.to_string().contains("guard"));
///
/// let outside = class.conditions(&launch(200), [200, 1, 1]);
/// assert!(outside != inside && outside.is_subset(&inside));
/// assert!(class.kernel(ConditionBits::NONE).0.to_string().contains("guard"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Class {
    kernel: Kernel,
    conditions: Conditions,
    host: HostProgram,
}

impl Class {
    /// The class of a kernel as it was recorded, or [bound](crate::transform::bind) to literals and to counts in device
    /// memory, whose values no condition is about.
    pub fn new(kernel: Kernel) -> Self {
        Self {
            conditions: Conditions::of(&kernel),
            host: HostProgram::new(&kernel),
            kernel,
        }
    }

    /// The kernel that it was made of.
    pub fn source(&self) -> &Kernel {
        &self.kernel
    }

    /// Whether the arguments of a launch are what the kernel [requires](crate::lang::require). What the proofs rely on is
    /// tested here alone: only a launch that is accepted may run a variant.
    ///
    /// # Errors
    /// The first condition that does not hold, or that depends on what the host does not know.
    pub fn check_requirements(&self, known: &impl Known) -> Result<(), RequirementError> {
        self.host.check_requirements(&self.kernel, known)
    }

    /// The extents of the grid, innermost first. Of a count in device memory `known` tells the maximum here.
    ///
    /// # Errors
    /// If a symbol has no value, an operation overflows or there are more than [`MAX_PROGRAMS`](crate::interpret::MAX_PROGRAMS) programs.
    pub fn grid(&self, known: &impl Known) -> Result<[u64; 3], GridError> {
        self.host.grid(&self.kernel, known)
    }

    /// The conditions that hold in a launch with this grid. Of what is not `known` none holds; a stride that follows from
    /// the layout need not be.
    pub fn conditions(&self, known: &impl Known, grid: [u64; 3]) -> ConditionBits {
        self.program().evaluate(known, grid)
    }

    /// The conditions as what is evaluated.
    pub fn program(&self) -> &Program {
        self.conditions.program()
    }

    /// The kernel for launches in which at least these conditions hold: without the checks that always pass there, without
    /// the branches that are never taken there, and with what is known of each access. The more hold, the fewer checks.
    pub fn proved(&self, holding: ConditionBits) -> (Kernel, Vec<Proof>) {
        prove(&self.kernel, &self.conditions, holding)
    }

    /// The same in its [canonical](canonical()) form: kernels that are equal share a binary.
    pub fn kernel(&self, holding: ConditionBits) -> (Kernel, Vec<Proof>) {
        let (proved, proofs) = self.proved(holding);
        (canonical(proved), proofs)
    }
}
