//! What the proofs want of a launch.

use arrayvec::ArrayVec;

use super::prove::access_of;
use crate::analysis::condition::{Compiler, ConditionBits, LaunchCondition, Program};
use crate::analysis::range::Ranges;
use crate::ir::{Expression, Handle, Kernel, Span, Statement};

/// When something is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Never,
    Always,
    /// When the condition of this number holds.
    Holding(usize),
}

impl When {
    pub fn is_always(self) -> bool {
        self == Self::Always
    }

    pub fn holds(self, holding: ConditionBits) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Holding(number) => holding.holds(number),
        }
    }
}

/// Of each axis of an access: when its index is not negative, and when it is below the extent.
type Checks<T> = ArrayVec<[T; 2], 4>;

/// When the checks of a kernel are needless and its comparisons decided: what its conditions are, and what each is for.
///
/// Each axis of an access asks for at most two conditions and each scalar comparison for at most two; equal ones are one.
#[derive(Debug, Clone)]
pub(crate) struct Conditions {
    program: Program,
    /// By access, in the order of the text.
    accesses: Vec<Checks<When>>,
    /// When each scalar comparison holds, and when it fails.
    comparisons: Vec<(Handle<Expression>, [When; 2])>,
}

impl Conditions {
    /// What the proofs of `kernel` want of a launch.
    pub fn of(kernel: &Kernel) -> Self {
        Self::found(kernel, Ranges::of_a_launch(kernel))
    }

    /// What is proved of `kernel` in every launch; there are no conditions.
    pub fn of_every_launch(kernel: &Kernel) -> Self {
        Self::found(kernel, Ranges::of_every_launch(kernel))
    }

    fn found(kernel: &Kernel, mut ranges: Ranges<'_>) -> Self {
        let mut accesses: Vec<Checks<LaunchCondition>> = Vec::new();
        let mut comparisons = Vec::new();
        ranges.walk(&kernel.body, &mut |ranges: &Ranges<'_>,
                                        statement: &Statement,
                                        _: Span| {
            if let Statement::Let(value) = statement
                && let Expression::Compare { op, left, right } = kernel.expressions[*value]
                && kernel.ty(left).is_scalar()
                && kernel.ty(left).element.is_integer()
            {
                comparisons.push((*value, ranges.decide(op, left, right)));
            }
            let Some((access, _)) = access_of(kernel, statement) else {
                return;
            };
            let checks = (0..access.indices.len()).map(|axis| {
                let guard = access.guards[axis];
                let lower = guard.lower.then(|| ranges.is_non_negative(access.indices[axis]));
                let upper = guard.upper.then(|| ranges.is_below_extent(access, axis));
                // What has no check needs no proof.
                [lower, upper].map(|condition| condition.unwrap_or(LaunchCondition::NEVER))
            });
            accesses.push(checks.collect());
        });
        let terms = ranges.into_terms();
        let mut compiler = Compiler::new(&terms);
        let mut when = |condition| match condition {
            LaunchCondition::NEVER => When::Never,
            LaunchCondition::ALWAYS => When::Always,
            condition => compiler.choose(condition).map_or(When::Never, When::Holding),
        };
        // Checks first: where there is no room for all, comparisons cost less.
        let checks = accesses
            .into_iter()
            .map(|axes| axes.into_iter().map(|sides| sides.map(&mut when)).collect());
        let accesses = checks.collect();
        let comparisons = comparisons
            .into_iter()
            .map(|(value, decided)| (value, decided.map(&mut when)))
            .filter(|(_, decided)| *decided != [When::Never; 2])
            .collect();
        Self {
            program: compiler.finish(),
            accesses,
            comparisons,
        }
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// When the checks of each access are needless, in the order of the text.
    pub fn checks(&self) -> impl Iterator<Item = Checks<When>> + '_ {
        self.accesses.iter().cloned()
    }

    /// The comparisons that are decided.
    pub fn decided(&self, holding: ConditionBits) -> impl Iterator<Item = (Handle<Expression>, bool)> + '_ {
        self.comparisons.iter().filter_map(move |&(value, [holds, fails])| {
            if holds.holds(holding) {
                Some((value, true))
            } else {
                fails.holds(holding).then_some((value, false))
            }
        })
    }
}
