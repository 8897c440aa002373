//! What a case computes on the CPU: as generated, and after every transformation.

use tilewright::dsl::analysis::condition::ConditionBits;
use tilewright::dsl::class::Class;
use tilewright::dsl::interpret::{self, HostArgument, HostMemory, HostTensor, InterpretError, Options};
use tilewright::dsl::ir::{Bindings, Expression, Kernel, Span, Statement, Symbol};
use tilewright::dsl::transform::{bind, canonical, checked};

use crate::case::{Argument, Case, Count, Tensor};

/// What a launch leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The bytes of each tensor's memory, guards included.
    pub memories: Vec<Vec<u8>>,
    /// Whether an access whose policy is to trap was out of bounds.
    pub trapped: Trapped,
}

impl Outcome {
    /// What launches that have nothing to do with each other leave behind together.
    pub fn of_all(outcomes: impl IntoIterator<Item = Self>) -> Self {
        let nothing = Self {
            memories: Vec::new(),
            trapped: Trapped::No,
        };
        outcomes.into_iter().fold(nothing, |mut all, one| {
            all.memories.extend(one.memories);
            all.trapped = all.trapped.max(one.trapped);
            all
        })
    }
}

/// What is known of accesses that trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trapped {
    No,
    /// A load did: one whose value nothing needs may be left out, so another run may not report it.
    Load,
    Yes,
}

/// Runs a kernel on the arguments of `case`. `steps` bounds what one program may do.
pub fn run(kernel: &Kernel, case: &Case, grid: Option<[u64; 3]>, steps: u64) -> Result<Outcome, Box<InterpretError>> {
    let memory = |argument: &Argument| match argument {
        Argument::Tensor(tensor) => HostMemory::from_bytes(&tensor.bytes).ok(),
        Argument::Count(_) | Argument::Scalar(_) => None,
    };
    let memories: Vec<_> = case.arguments.iter().map(memory).collect();
    let binding = |(argument, memory)| match (argument, memory) {
        (&Argument::Count(count), _) => HostArgument::Count(Count::value(count)),
        (&Argument::Scalar(literal), _) => HostArgument::Scalar(literal),
        (Argument::Tensor(tensor), Some(memory)) => match &tensor.members {
            None => HostArgument::Tensor(binding_of(tensor, memory)),
            Some(members) => HostArgument::List(members.iter().map(|member| binding_of(member, memory)).collect()),
        },
        (Argument::Tensor(_), None) => panic!("no memory"),
    };
    let bindings: Vec<_> = case
        .arguments
        .iter()
        .zip(memories.iter().map(Option::as_ref))
        .map(binding)
        .collect();
    let options = Options {
        max_steps: steps,
        grid,
        ..Options::default()
    };
    let trapped = match interpret::run(kernel, &bindings, &options) {
        Ok(_) => Trapped::No,
        // The other accesses have run.
        Err(InterpretError::OutOfBounds(access)) => match trap_at(kernel, access.span) {
            Some(trapped) => trapped,
            None => return Err(Box::new(InterpretError::OutOfBounds(access))),
        },
        Err(error) => return Err(Box::new(error)),
    };
    let bytes = |memory: &HostMemory| {
        let mut bytes = vec![0; memory.len() as usize];
        memory.read(0, &mut bytes).map(|()| bytes)
    };
    let memories = memories.iter().flatten().map(bytes).collect::<Result<_, _>>();
    Ok(Outcome {
        memories: memories.expect("all of a memory can be read"),
        trapped,
    })
}

fn binding_of<'a>(tensor: &Tensor, memory: &'a HostMemory) -> HostTensor<'a> {
    HostTensor {
        memory,
        offset: tensor.offset,
        extents: tensor.extents.iter().copied().collect(),
        strides: tensor.strides.iter().copied().collect(),
    }
}

/// What the access at `place` does where it is out of bounds, if it traps.
fn trap_at(kernel: &Kernel, place: Span) -> Option<Trapped> {
    let mut found = None;
    kernel.body.walk(&mut |statement, span| {
        let (access, kind) = match statement {
            Statement::Let(value) => match &kernel.expressions[*value] {
                Expression::Load(access) | Expression::Member { access, .. } => (access, Trapped::Load),
                Expression::Atomic(atomic) => (&atomic.access, Trapped::Yes),
                _ => return,
            },
            Statement::Store { access, .. } => (access, Trapped::Yes),
            _ => return,
        };
        if span == place && kernel.reports(access) {
            found = Some(kind);
        }
    });
    found
}

/// What sizes the grid: of a count in device memory, the maximum.
pub fn most_value(case: &Case, symbol: Symbol) -> Option<i64> {
    match (symbol, &case.arguments) {
        (Symbol::Count(position), arguments) => match arguments.get(position as usize) {
            Some(Argument::Count(count)) => Some(count.maximum()),
            _ => None,
        },
        _ => case.value(symbol),
    }
}

/// The grid of a launch: counts in device memory at their maximum.
pub fn launch_grid(kernel: &Kernel, case: &Case) -> [u64; 3] {
    interpret::grid(kernel, &|symbol| most_value(case, symbol)).expect("the grid is made of what the host knows")
}

/// What the host knows of a symbol: of a count in device memory, nothing.
pub fn host_value(case: &Case, symbol: Symbol) -> Option<i64> {
    match (symbol, &case.arguments) {
        (Symbol::Count(position), arguments) => match arguments.get(position as usize) {
            Some(Argument::Count(Count::Exact(value) | Count::Runtime(value))) => Some(*value),
            _ => None,
        },
        _ => case.value(symbol),
    }
}

/// A kernel after one of the transformations, and how it is launched.
pub struct Stage {
    pub name: &'static str,
    pub kernel: Kernel,
    pub grid: Option<[u64; 3]>,
}

/// How the symbols of a case are bound.
pub fn bindings(case: &Case) -> Bindings {
    let pinned = case.pinned.iter();
    let mut exact: Vec<_> = pinned
        .filter_map(|&symbol| Some((symbol, case.value(symbol)?)))
        .collect();
    if case.exact_extents {
        exact.extend(case.tensor_symbols());
    }
    let mut device = Vec::new();
    for (position, argument) in (0u32..).zip(&case.arguments) {
        match argument {
            Argument::Count(Count::Exact(value)) => exact.push((Symbol::Count(position), *value)),
            Argument::Count(Count::Device { element, .. }) => device.push((position, *element)),
            _ => {}
        }
    }
    Bindings { exact, device }
}

/// `case.kernel` after each transformation that a launch makes.
pub fn stages(case: &Case) -> Vec<Stage> {
    let grid = launch_grid(&case.kernel, case);

    let folded = bind(&case.kernel, &Bindings::default());
    let bound = bind(&case.kernel, &bindings(case));
    let tested = checked(bound.clone());
    let class = Class::new(bound.clone());
    let holding = class.conditions(&|symbol| host_value(case, symbol), grid);
    let (always, _) = class.proved(ConditionBits::NONE);
    let (proved, _) = class.proved(holding);
    let canonical = canonical(proved.clone());
    let stage = |name, kernel, grid| Stage { name, kernel, grid };
    vec![
        stage("folded", folded, None),
        stage("bound", bound, None),
        stage("checked", tested, None),
        stage("proved for every launch", always, None),
        stage("proved", proved, None),
        stage("canonical", canonical, Some(grid)),
    ]
}
