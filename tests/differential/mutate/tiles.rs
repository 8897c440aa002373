//! Damage to operations on tiles, atomic operations, claims and instructions; and random ones, combining functions among
//! them, most of which are malformed somewhere.

use tilewright::dsl::ir::{
    Arena, Atomic, AtomicOp, AtomicUpdate, Combine, Expression, Function, Handle, Meaning, MemoryOrder, MemoryScope,
    Ptx, Reduction, Type,
};

use super::Mutator;
use crate::generate::literal;

const EXTENTS: [u32; 10] = [0, 1, 1, 2, 3, 4, 7, 33, 1 << 12, u32::MAX];

impl Mutator<'_> {
    pub fn mutate_tiles(&mut self, expression: &mut Expression) {
        match expression {
            Expression::Permute { axes, .. } => match self.rng.u8(..3) {
                0 => drop(axes.pop()),
                1 => axes.reverse(),
                _ => {
                    if let Some(axis) = axes.first_mut() {
                        *axis = self.rng.u8(..5);
                    }
                }
            },
            Expression::Slice {
                axis,
                start,
                step,
                extent,
                ..
            } => match self.rng.u8(..4) {
                0 => *axis = self.axis(),
                1 => *start = self.rng.u32(..50),
                2 => *step = self.step(),
                _ => *extent = self.extent(),
            },
            Expression::Concatenate { axis, .. } | Expression::Take { axis, .. } => *axis = self.axis(),
            Expression::ArgSort { axis, descending, .. } => match self.rng.bool() {
                true => *axis = self.axis(),
                false => *descending = !*descending,
            },
            Expression::Reduce { axis, reduction, .. } => match reduction {
                Reduction::Combine(combine) if self.rng.u8(..3) > 0 => self.mutate_combine(combine),
                _ if self.rng.bool() => *reduction = self.reduction(),
                _ => *axis = self.axis(),
            },
            Expression::Scan { axis, combine, .. } => match self.rng.u8(..3) {
                0 => *axis = self.axis(),
                _ => self.mutate_combine(combine),
            },
            Expression::Histogram { bins, mask, .. } => match self.rng.bool() {
                true => *bins = self.extent(),
                false => *mask = self.rng.bool().then(|| self.value()),
            },
            Expression::Bitcast { to, .. } => *to = self.element(),
            Expression::MultipleOf { by, .. } => *by = self.divisor(),
            Expression::Atomic(atomic) => self.mutate_atomic(atomic),
            Expression::Ptx(code) => match self.rng.u8(..7) {
                5 => code
                    .text
                    .push_str([" ", "\n", "\"", "\\n", "%%", "%0"][self.rng.usize(..6)]),
                6 => code.meaning = Some(Meaning::new(|_, outputs| outputs.fill(0))),
                0 => code.output = self.rng.usize(..4),
                1 => code.outputs.push(self.element()),
                2 => code.inputs.push(self.value()),
                3 => code.meaning = None,
                _ => drop(code.inputs.pop()),
            },
            _ => {}
        }
    }

    /// A random operation of these kinds.
    pub fn tiles(&mut self) -> Expression {
        let (value, axis) = (self.value(), self.axis());
        match self.rng.u8(..14) {
            0 => Expression::Permute {
                value,
                axes: (0..self.rng.usize(..4)).map(|_| self.rng.u8(..4)).collect(),
            },
            1 => Expression::Slice {
                value,
                axis,
                start: self.rng.u32(..9),
                step: self.step(),
                extent: self.extent(),
            },
            2 => Expression::Concatenate {
                left: value,
                right: self.value(),
                axis,
            },
            3 => Expression::Take {
                value,
                index: self.value(),
                axis,
            },
            4 | 5 => Expression::Reduce {
                value,
                axis,
                reduction: self.reduction(),
            },
            6 => Expression::Scan {
                value,
                axis,
                combine: self.combine(),
            },
            7 => Expression::ArgSort {
                value,
                axis,
                descending: self.rng.bool(),
            },
            8 => Expression::Histogram {
                value,
                mask: self.rng.bool().then(|| self.value()),
                bins: self.extent(),
            },
            9 => Expression::MulAdd {
                left: value,
                right: self.value(),
                addend: self.value(),
            },
            10 => Expression::Bitcast {
                value,
                to: self.element(),
            },
            11 => Expression::MultipleOf {
                value,
                by: self.divisor(),
            },
            12 => Expression::Ptx(Box::new(self.ptx())),
            _ => Expression::Atomic(Atomic {
                access: self.access(),
                update: self.update(),
                order: self.order(),
                scope: self.scope(),
            }),
        }
    }

    fn mutate_atomic(&mut self, atomic: &mut Atomic) {
        match self.rng.u8(..6) {
            0 => atomic.update = self.update(),
            1 => atomic.order = self.order(),
            2 => atomic.scope = self.scope(),
            _ => self.mutate_access(&mut atomic.access),
        }
    }

    fn mutate_combine(&mut self, combine: &mut Combine) {
        let Combine::Function(function) = combine else {
            *combine = self.combine();
            return;
        };
        let length = function.expressions.len();
        match self.rng.u8(..8) {
            0 => function.element = self.element(),
            1 => drop(function.types.pop()),
            2 => function.types.push(Type::scalar(function.element)),
            3 => function.result = Handle::from_index(self.rng.usize(..=length)),
            4 => {
                let ty = Type::scalar(self.element());
                self.step_of(function, ty);
            }
            5 => {
                for _ in 0..Function::MAX_EXPRESSIONS {
                    function.expressions.append(Expression::Argument(0));
                    function.types.push(Type::scalar(function.element));
                }
            }
            _ => {
                let Some(chosen) = self.position(length) else { return };
                let handle = Handle::from_index(chosen);
                match self.rng.bool() {
                    true => function.expressions[handle] = self.operation(length, Type::scalar(function.element)),
                    false => {
                        let other = Handle::from_index(self.rng.usize(..=chosen));
                        function.expressions[handle].map_operands(|_| other);
                    }
                }
            }
        }
    }

    fn reduction(&mut self) -> Reduction {
        match self.rng.u8(..5) {
            0 => Reduction::ArgMin,
            1 => Reduction::ArgMax,
            _ => Reduction::Combine(self.combine()),
        }
    }

    fn combine(&mut self) -> Combine {
        if self.rng.bool() {
            return Combine::Operator(self.binary());
        }
        let element = self.element();
        let ty = Type::scalar(element);
        let mut function = Function {
            element,
            expressions: Arena::new(),
            types: vec![ty; 2],
            result: Handle::from_index(0),
        };
        for position in 0..2 {
            function.expressions.append(Expression::Argument(position));
        }
        for _ in 0..self.rng.u8(..5) {
            self.step_of(&mut function, ty);
        }
        function.result = Handle::from_index(self.rng.usize(..function.types.len()));
        Combine::Function(function)
    }

    fn step_of(&mut self, function: &mut Function, ty: Type) {
        let operation = self.operation(function.expressions.len(), ty);
        function.expressions.append(operation);
        function.types.push(ty);
    }

    /// An operation on some of `length` values of a combining function, or something that none may have.
    fn operation(&mut self, length: usize, ty: Type) -> Expression {
        if self.rng.u8(..16) == 0 {
            return self.expression();
        }
        let mut any = || Handle::from_index(self.rng.usize(..length.max(1)));
        let (value, right, addend) = (any(), any(), any());
        let left = value;
        match self.rng.u8(..9) {
            0 => Expression::Literal(literal(self.rng, ty.element)),
            1 => Expression::Argument(self.rng.u32(..3)),
            2 => Expression::Unary {
                op: self.unary(),
                value,
            },
            3 => Expression::MulAdd { left, right, addend },
            4 => Expression::Cast { value, to: ty.element },
            5 => Expression::Bitcast { value, to: ty.element },
            6 => Expression::Compare {
                op: self.compare(),
                left,
                right,
            },
            7 => Expression::Select {
                condition: addend,
                accept: left,
                reject: right,
            },
            _ => Expression::Binary {
                op: self.binary(),
                left,
                right,
            },
        }
    }

    fn ptx(&mut self) -> Ptx {
        let outputs = (0..self.rng.usize(..3)).map(|_| self.element()).collect();
        Ptx {
            text: "mov.b32 %0, %1; // \"\\".to_owned(),
            outputs,
            inputs: (0..self.rng.usize(..3)).map(|_| self.value()).collect(),
            output: self.rng.usize(..3),
            // One that computes too little, as an author's may.
            meaning: self.rng.bool().then(|| Meaning::new(|_, _| {})),
        }
    }

    fn update(&mut self) -> AtomicUpdate {
        let all = [
            AtomicOp::Add,
            AtomicOp::Min,
            AtomicOp::Max,
            AtomicOp::And,
            AtomicOp::Or,
            AtomicOp::Xor,
            AtomicOp::Exchange,
        ];
        match self.rng.choice(all).filter(|_| self.rng.u8(..5) > 0) {
            Some(op) => AtomicUpdate::Combine {
                op,
                value: self.value(),
            },
            None => AtomicUpdate::CompareExchange {
                current: self.value(),
                new: self.value(),
            },
        }
    }

    fn order(&mut self) -> MemoryOrder {
        let all = [
            MemoryOrder::Relaxed,
            MemoryOrder::Acquire,
            MemoryOrder::Release,
            MemoryOrder::AcquireRelease,
        ];
        self.rng.choice(all).unwrap_or_default()
    }

    fn scope(&mut self) -> MemoryScope {
        let all = [MemoryScope::Block, MemoryScope::Device, MemoryScope::System];
        self.rng.choice(all).unwrap_or_default()
    }

    fn axis(&mut self) -> u8 {
        self.rng.choice([0, 0, 0, 1, 1, 2, 3, 255]).unwrap_or(0)
    }

    fn extent(&mut self) -> u32 {
        self.rng.choice(EXTENTS).unwrap_or(1)
    }

    fn step(&mut self) -> i32 {
        self.rng.choice([0, 1, 1, -1, 2, i32::MIN, i32::MAX]).unwrap_or(1)
    }

    fn divisor(&mut self) -> u32 {
        self.rng.choice([0, 1, 2, 4, 3, 128, u32::MAX, 1 << 31]).unwrap_or(1)
    }
}
