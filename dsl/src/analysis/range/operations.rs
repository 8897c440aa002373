//! What an operation says about its result.

use super::Ranges;
use super::bounds::{Bounds, Facts, cross, element_range, products, push, push_front};
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
        let (low, high) = element_range(ty.element);
        let (l, h) = self.extremes(&facts);
        if l.is_none_or(|l| l < low) || h.is_none_or(|h| h > high) {
            facts = Facts::default();
            facts.lower.push(Linear::constant(low));
            facts.upper.push(Linear::constant(high));
        }
        if let Some(itself) = self.itself(value) {
            push_front(&mut facts.lower, itself.clone());
            push_front(&mut facts.upper, itself);
        }
        facts
    }

    /// The best numeric bounds among the alternatives.
    fn extremes(&self, facts: &Facts) -> (Option<i128>, Option<i128>) {
        let low = facts.lower.iter().filter_map(|b| self.minimum(b)).max();
        let high = facts.upper.iter().filter_map(|b| b.maximum(|u| self.unknown(u))).min();
        (low, high)
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
                Facts::between(ll.min(rl), lh.max(rh))
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
                Facts::between(al.min(rl), ah.max(rh))
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
            Combine::Operator(BinaryOp::Min | BinaryOp::Max) => Facts::between(low, high),
            Combine::Operator(BinaryOp::Add) => match (low.checked_mul(count), high.checked_mul(count)) {
                (Some(all_low), Some(all_high)) => Facts::between(low.min(all_low), high.max(all_high)),
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
            push(&mut facts.lower, Linear::constant(0));
            let last = self.symbol(Symbol::NumPrograms(axis)).offset(-1);
            last.into_iter().for_each(|last| push(&mut facts.upper, last));
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
                facts.lower = [Linear::constant(0)].into_iter().collect();
                facts
            }
            _ => Facts::between(-(MAX_COUNT as i128), MAX_COUNT as i128),
        }
    }

    fn of_unary(&self, op: UnaryOp, operand: Handle<Expression>) -> Facts {
        match op {
            UnaryOp::Negate => {
                let facts = self.facts(operand);
                let flip = |bounds: &Bounds| bounds.iter().filter_map(|b| b.scale(-1)).collect();
                Facts {
                    lower: flip(&facts.upper),
                    upper: flip(&facts.lower),
                }
            }
            UnaryOp::Abs => {
                let (low, high) = self.numeric(operand);
                Facts::between(if low > 0 { low } else { 0 }, high.max(-low))
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
        let (ln, rn) = (self.numeric(left), self.numeric(right));
        let constant = |(low, high): (i128, i128)| (low == high).then_some(low);
        match op {
            BinaryOp::Add => Facts {
                lower: cross(&l.lower, &r.lower, Linear::add, i128::max, ln.0 + rn.0),
                upper: cross(&l.upper, &r.upper, Linear::add, i128::min, ln.1 + rn.1),
            },
            BinaryOp::Subtract => Facts {
                lower: cross(&l.lower, &r.upper, Linear::subtract, i128::max, ln.0 - rn.1),
                upper: cross(&l.upper, &r.lower, Linear::subtract, i128::min, ln.1 - rn.0),
            },
            BinaryOp::MultiplyHigh => {
                let bits = self.kernel.ty(left).element.bits();
                match products(ln, rn) {
                    Some((low, high)) => Facts::between(low >> bits, high >> bits),
                    None => Facts::default(),
                }
            }
            BinaryOp::Multiply => {
                let scaled = |facts: &Facts, by: i128| {
                    let scale = |bounds: &Bounds| bounds.iter().filter_map(|b| b.scale(by)).collect();
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
                match (constant(ln), constant(rn)) {
                    (_, Some(by)) => scaled(&l, by),
                    (Some(by), _) => scaled(&r, by),
                    _ => match products(ln, rn) {
                        Some((low, high)) => Facts::between(low, high),
                        None => Facts::default(),
                    },
                }
            }
            // Where conditions contradict each other, nothing runs, and a range may end before it begins.
            BinaryOp::Divide if rn.0 > 0 && rn.1 >= rn.0 => {
                let low = if ln.0 >= 0 { ln.0 / rn.1 } else { ln.0 / rn.0 };
                let high = if ln.1 >= 0 { ln.1 / rn.0 } else { ln.1 / rn.1 };
                let mut facts = Facts::between(low, high);
                // A quotient of a value that is not negative is no larger than the value.
                if ln.0 >= 0 {
                    l.upper.iter().for_each(|bound| push(&mut facts.upper, bound.clone()));
                }
                facts
            }
            BinaryOp::Remainder if rn.0 > 0 => {
                let last = rn.1 - 1;
                let mut facts = Facts::between(if ln.0 >= 0 { 0 } else { -last }, last.min(ln.1.max(0)));
                for bound in &r.upper {
                    bound
                        .offset(-1)
                        .into_iter()
                        .for_each(|last| push(&mut facts.upper, last));
                }
                facts
            }
            BinaryOp::Min => {
                let mut upper = l.upper.clone();
                r.upper.iter().for_each(|bound| push(&mut upper, bound.clone()));
                let mut lower = Bounds::new();
                push(&mut lower, Linear::constant(ln.0.min(rn.0)));
                Facts { lower, upper }
            }
            BinaryOp::Max => {
                // Where one side is always the larger, its bounds are the result's.
                if rn.1 <= ln.0 {
                    return Facts::clone(&l);
                }
                if ln.1 <= rn.0 {
                    return Facts::clone(&r);
                }
                let mut lower = l.lower.clone();
                r.lower.iter().for_each(|bound| push(&mut lower, bound.clone()));
                let mut upper = Bounds::new();
                push(&mut upper, Linear::constant(ln.1.max(rn.1)));
                Facts { lower, upper }
            }
            BinaryOp::And if ln.0 >= 0 && rn.0 >= 0 => Facts::between(0, ln.1.min(rn.1)),
            BinaryOp::And if rn.0 >= 0 => Facts::between(0, rn.1),
            BinaryOp::And if ln.0 >= 0 => Facts::between(0, ln.1),
            BinaryOp::ShiftRight if ln.0 >= 0 && rn.0 == rn.1 => {
                let by = rn.0.rem_euclid(self.kernel.ty(left).element.bits().into());
                Facts::between(ln.0 >> by, ln.1 >> by)
            }
            // Anything else is bounded by its type.
            BinaryOp::Divide
            | BinaryOp::Remainder
            | BinaryOp::Minimum
            | BinaryOp::Maximum
            | BinaryOp::Power
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::ShiftLeft
            | BinaryOp::ShiftRight => Facts::default(),
        }
    }
}
