//! What an operation says about its result.

use super::Ranges;
use super::bounds::{Bound, Bounds, Facts, MAX_BOUNDS, cross, element_range, push, push_front};
use crate::analysis::condition::LaunchCondition;
use crate::analysis::linear::Linear;
use crate::element::ElementType;
use crate::ir::{BinaryOp, Combine, Expression, Handle, Reduction, Symbol, UnaryOp};
use crate::limits::MAX_COUNT;

impl Ranges<'_> {
    /// Bounds of `value` from what it is.
    pub(super) fn derive(&self, value: Handle<Expression>) -> Facts {
        let ty = self.kernel.ty(value);
        if !ty.element.is_integer() && ty.element != ElementType::Bool {
            return Facts::default();
        }
        let mut facts = self.structural(value);
        // A bound outside the type means that the operation may wrap: then only the type bounds the result.
        let fits = self.fits(&facts, ty.element);
        if !fits.is_always() {
            facts = self.facts_under(facts, fits);
            let (low, high) = element_range(ty.element);
            for (bounds, bound) in [(&mut facts.lower, low), (&mut facts.upper, high)] {
                bounds.retain(|bound| bound.under != LaunchCondition::NEVER);
                // The value itself is another one.
                bounds.truncate(MAX_BOUNDS - 2);
                bounds.push(Linear::constant(bound).into());
            }
        }
        if let Some(itself) = self.itself(value) {
            push_front(&mut facts.lower, itself.clone().into());
            push_front(&mut facts.upper, itself.into());
        }
        facts
    }

    pub(super) fn structural(&self, value: Handle<Expression>) -> Facts {
        match &self.kernel.expressions[value] {
            Expression::Literal(literal) => match literal.as_integer() {
                Some(v) => Facts::both(Linear::constant(v)),
                None => Facts::default(),
            },
            Expression::Symbol(symbol) => self.of_symbol(*symbol),
            Expression::Member { symbol, .. } => self.of_member(*symbol),
            Expression::Arange(extent) => Facts::between(0, *extent as i128 - 1),
            Expression::Broadcast { value, .. }
            | Expression::Reshape { value, .. }
            | Expression::Permute { value, .. }
            | Expression::Slice { value, .. }
            | Expression::Take { value, .. }
            | Expression::MultipleOf { value, .. } => Facts::clone(&self.facts(*value)),
            Expression::Concatenate { left, right, .. } => {
                let ((ll, lh), (rl, rh)) = (self.numeric(*left), self.numeric(*right));
                Facts::of(self.smaller(&ll, &rl), self.larger(&lh, &rh))
            }
            Expression::Reduce {
                value: operand,
                axis,
                reduction,
            } => match reduction {
                Reduction::ArgMin | Reduction::ArgMax => Facts::between(0, self.extent(*operand, *axis) - 1),
                Reduction::Combine(combine) => self.of_combined(combine, *operand, *axis, value),
            },
            Expression::Scan {
                value: operand,
                axis,
                combine,
            } => self.of_combined(combine, *operand, *axis, value),
            Expression::ArgSort {
                value: operand, axis, ..
            } => Facts::between(0, self.extent(*operand, *axis) - 1),
            Expression::Histogram { value: operand, .. } => {
                Facts::between(0, self.kernel.ty(*operand).shape.elements().into())
            }
            Expression::Binary { op, left, right } => self.of_binary(*op, *left, *right),
            Expression::Unary { op, value: operand } => self.of_unary(*op, *operand),
            Expression::Select { accept, reject, .. } => {
                let ((al, ah), (rl, rh)) = (self.numeric(*accept), self.numeric(*reject));
                Facts::of(self.smaller(&al, &rl), self.larger(&ah, &rh))
            }
            Expression::Cast { value: operand, .. } => {
                let from = self.kernel.ty(*operand).element;
                if from.is_integer() || from == ElementType::Bool {
                    Facts::clone(&self.facts(*operand))
                } else {
                    self.of_type(value)
                }
            }
            Expression::Local(local) => match self.locals[local.index()] {
                Some(held) => Facts::clone(&self.facts(held)),
                None => self.of_type(value),
            },
            Expression::MulAdd { .. }
            | Expression::Bitcast { .. }
            | Expression::Compare { .. }
            | Expression::Argument(_)
            | Expression::Induction(_)
            | Expression::Load(_)
            | Expression::Ptx(_)
            | Expression::Atomic(_) => self.of_type(value),
        }
    }

    fn extent(&self, value: Handle<Expression>, axis: u8) -> i128 {
        self.kernel.ty(value).shape.extents()[axis as usize].into()
    }

    /// What up to all elements of an axis give together.
    fn of_combined(
        &self,
        combine: &Combine,
        operand: Handle<Expression>,
        axis: u8,
        value: Handle<Expression>,
    ) -> Facts {
        let (low, high) = self.numeric(operand);
        let count = self.extent(operand, axis);
        match combine {
            Combine::Operator(BinaryOp::Min | BinaryOp::Max) => Facts::of(Some(low), Some(high)),
            Combine::Operator(BinaryOp::Add) => match (low.scale(count), high.scale(count)) {
                (Some(all_low), Some(all_high)) => {
                    Facts::of(self.smaller(&low, &all_low), self.larger(&high, &all_high))
                }
                _ => self.of_type(value),
            },
            Combine::Operator(_) | Combine::Function(_) => self.of_type(value),
        }
    }

    fn of_type(&self, value: Handle<Expression>) -> Facts {
        let (low, high) = element_range(self.kernel.ty(value).element);
        Facts::between(low, high)
    }

    pub(super) fn of_symbol(&self, symbol: Symbol) -> Facts {
        let mut facts = Facts::both(self.symbol(symbol));
        if let Some(required) = self.required.get(&symbol) {
            required
                .lower
                .iter()
                .for_each(|bound| push(&mut facts.lower, bound.clone()));
            required
                .upper
                .iter()
                .for_each(|bound| push(&mut facts.upper, bound.clone()));
        }
        if let Symbol::ProgramId(axis) = symbol {
            push(&mut facts.lower, Linear::constant(0).into());
            let last = self.symbol(Symbol::NumPrograms(axis)).offset(-1);
            last.into_iter().for_each(|last| push(&mut facts.upper, last.into()));
            // There are as many programs as the grid says, and this is one of them.
            if let Some(&extent) = self.kernel.grid.get(axis as usize) {
                for bound in &self.facts(extent).upper {
                    bound
                        .offset(-1)
                        .into_iter()
                        .for_each(|last| push(&mut facts.upper, last));
                }
            }
        }
        facts
    }

    /// Bounds of an extent or stride of any tensor of a list: strides are bounded as those of one tensor are.
    fn of_member(&self, symbol: Symbol) -> Facts {
        match symbol {
            Symbol::Extent { .. } => {
                let mut facts = Facts::both(self.symbol(symbol));
                facts.lower = [Linear::constant(0).into()].into_iter().collect();
                facts
            }
            _ => Facts::between(-(MAX_COUNT as i128), MAX_COUNT as i128),
        }
    }

    fn of_unary(&self, op: UnaryOp, operand: Handle<Expression>) -> Facts {
        match op {
            UnaryOp::Negate => {
                let facts = self.facts(operand);
                let flip = |bounds: &Bounds| bounds.iter().filter_map(|b| b.map(|form| form.scale(-1))).collect();
                Facts {
                    lower: flip(&facts.upper),
                    upper: flip(&facts.lower),
                }
            }
            UnaryOp::Abs => {
                let (low, high) = self.numeric(operand);
                let most = low.scale(-1).and_then(|negated| self.larger(&high, &negated));
                Facts::of(self.larger(&low, &Linear::constant(0)), most)
            }
            UnaryOp::CountOnes | UnaryOp::LeadingZeros | UnaryOp::TrailingZeros => {
                Facts::between(0, self.kernel.ty(operand).element.bits().into())
            }
            // Bounded by its type, if it is an integer at all.
            UnaryOp::Not
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Trunc
            | UnaryOp::Sqrt
            | UnaryOp::Rsqrt
            | UnaryOp::Exp
            | UnaryOp::Exp2
            | UnaryOp::Ln
            | UnaryOp::Log2
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tanh => Facts::default(),
        }
    }

    fn of_binary(&self, op: BinaryOp, left: Handle<Expression>, right: Handle<Expression>) -> Facts {
        let (l, r) = (self.facts(left), self.facts(right));
        let numeric = || (self.numeric(left), self.numeric(right));
        let number = Linear::constant;
        match op {
            BinaryOp::Add => {
                let sum = self.combined(Linear::add);
                self.of_sum(Facts {
                    lower: cross(&l.lower, &r.lower, &sum, i128::max, || {
                        let (l, r) = numeric();
                        l.0.add(&r.0)
                    }),
                    upper: cross(&l.upper, &r.upper, &sum, i128::min, || {
                        let (l, r) = numeric();
                        l.1.add(&r.1)
                    }),
                })
            }
            BinaryOp::Subtract => {
                let difference = self.combined(Linear::subtract);
                Facts {
                    lower: cross(&l.lower, &r.upper, &difference, i128::max, || {
                        let (l, r) = numeric();
                        l.0.subtract(&r.1)
                    }),
                    upper: cross(&l.upper, &r.lower, &difference, i128::min, || {
                        let (l, r) = numeric();
                        l.1.subtract(&r.0)
                    }),
                }
            }
            BinaryOp::MultiplyHigh => {
                let bits = self.kernel.ty(left).element.bits();
                let (ln, rn) = numeric();
                match self.products(&ln, &rn) {
                    Some((low, high)) => Facts::of(self.shifted(&low, bits), self.shifted(&high, bits)),
                    None => Facts::default(),
                }
            }
            BinaryOp::Multiply => {
                let scaled = |facts: &Facts, by: i128| {
                    let scale = |bounds: &Bounds| {
                        let scaled = bounds.iter().filter_map(|b| b.map(|form| form.scale(by)));
                        scaled.collect()
                    };
                    let (lower, upper) = (scale(&facts.lower), scale(&facts.upper));
                    if by >= 0 {
                        Facts { lower, upper }
                    } else {
                        Facts {
                            lower: upper,
                            upper: lower,
                        }
                    }
                };
                let (ln, rn) = numeric();
                let constant = |(low, high): &(Linear, Linear)| low.as_constant().filter(|_| low == high);
                match (constant(&ln), constant(&rn)) {
                    (_, Some(by)) => scaled(&l, by),
                    (Some(by), _) => scaled(&r, by),
                    _ => match self.products(&ln, &rn) {
                        Some((low, high)) => Facts::of(Some(low), Some(high)),
                        None => Facts::default(),
                    },
                }
            }
            // Where conditions contradict each other, nothing runs, and a range may end before it begins.
            BinaryOp::Divide => {
                let (ln, rn) = numeric();
                let low = if self.extremes(&ln.0).is_at_least(0) {
                    self.quotient(&ln.0, &rn.1)
                } else {
                    self.two(Self::smaller, self.quotient(&ln.0, &rn.0), self.quotient(&ln.0, &rn.1))
                };
                let high = if self.extremes(&ln.1).is_at_least(0) {
                    self.quotient(&ln.1, &rn.0)
                } else {
                    self.two(Self::larger, self.quotient(&ln.1, &rn.0), self.quotient(&ln.1, &rn.1))
                };
                let mut facts = Facts::of(low, high);
                // A quotient of a value that is not negative is no larger than the value.
                let smaller = self.not_negative(&ln.0);
                for bound in &l.upper {
                    let under = self.both(bound.under, smaller);
                    push(&mut facts.upper, Bound { under, ..bound.clone() });
                }
                self.facts_under(facts, self.is_positive(&rn.0))
            }
            BinaryOp::Remainder => {
                let (ln, rn) = numeric();
                let last = rn.1.offset(-1);
                let zero = number(0);
                let low = if self.extremes(&ln.0).is_at_least(0) {
                    Some(zero.clone())
                } else {
                    last.as_ref().and_then(|last| last.scale(-1))
                };
                let high = self.two(Self::smaller, last, self.larger(&ln.1, &zero));
                let mut facts = Facts::of(low, high);
                push(
                    &mut facts.lower,
                    Bound {
                        form: zero,
                        under: self.not_negative(&ln.0),
                    },
                );
                for bound in &r.upper {
                    bound
                        .offset(-1)
                        .into_iter()
                        .for_each(|last| push(&mut facts.upper, last));
                }
                self.facts_under(facts, self.is_positive(&rn.0))
            }
            BinaryOp::Min => {
                let (ln, rn) = numeric();
                let mut upper = l.upper.clone();
                r.upper.iter().for_each(|bound| push(&mut upper, bound.clone()));
                let lower = self.smaller(&ln.0, &rn.0).map(Bound::from).into_iter().collect();
                Facts { lower, upper }
            }
            BinaryOp::Max => {
                let (ln, rn) = numeric();
                // Where one side is always the larger, its bounds are the result's.
                let larger = |one: &Linear, other: &Linear| match one.subtract(other) {
                    Some(slack) => self.not_negative(&slack),
                    None => LaunchCondition::NEVER,
                };
                let (left_is, right_is) = (larger(&ln.0, &rn.1), larger(&rn.0, &ln.1));
                if left_is.is_always() {
                    return Facts::clone(&l);
                }
                if right_is.is_always() {
                    return Facts::clone(&r);
                }
                let mut lower = l.lower.clone();
                r.lower.iter().for_each(|bound| push(&mut lower, bound.clone()));
                let mut upper: Bounds = self.larger(&ln.1, &rn.1).map(Bound::from).into_iter().collect();
                for (bounds, is) in [(&l.upper, left_is), (&r.upper, right_is)] {
                    for bound in bounds {
                        let under = self.both(bound.under, is);
                        push(&mut upper, Bound { under, ..bound.clone() });
                    }
                }
                upper.retain(|bound| bound.under != LaunchCondition::NEVER);
                Facts { lower, upper }
            }
            BinaryOp::And => {
                let (ln, rn) = numeric();
                let (l, r) = (self.not_negative(&ln.0), self.not_negative(&rn.0));
                let under = |form: Linear, under: LaunchCondition| Bound { form, under };
                Facts {
                    lower: [under(number(0), self.either(l, r))].into_iter().collect(),
                    upper: [under(ln.1, l), under(rn.1, r)].into_iter().collect(),
                }
            }
            BinaryOp::ShiftRight => {
                let (ln, rn) = numeric();
                match rn.0.as_constant().filter(|_| rn.0 == rn.1) {
                    Some(by) => {
                        let by = by.rem_euclid(self.kernel.ty(left).element.bits().into()) as u32;
                        let facts = Facts::of(self.shifted(&ln.0, by), self.shifted(&ln.1, by));
                        self.facts_under(facts, self.not_negative(&ln.0))
                    }
                    None => Facts::default(),
                }
            }
            // Anything else is bounded by its type.
            BinaryOp::Minimum
            | BinaryOp::Maximum
            | BinaryOp::Power
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::ShiftLeft => Facts::default(),
        }
    }

    fn is_positive(&self, number: &Linear) -> LaunchCondition {
        number
            .offset(-1)
            .map_or(LaunchCondition::NEVER, |less| self.not_negative(&less))
    }

    /// What becomes of two numbers, if there are both.
    fn two(
        &self,
        of: fn(&Self, &Linear, &Linear) -> Option<Linear>,
        left: Option<Linear>,
        right: Option<Linear>,
    ) -> Option<Linear> {
        of(self, &left?, &right?)
    }
}
