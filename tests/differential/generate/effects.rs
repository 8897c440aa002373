//! What does something else than load, store and compute: atomic operations, scatters, claims, and hints.
//!
//! Every program may change a counter, always by the same operation, which gives the same sum in any order; nobody looks
//! at what was there before. What an atomic operation finds is used where only one program touches the place.

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{
    Atomic, AtomicOp, AtomicUpdate, BinaryOp, Bounds, CheckKind, CompareOp, Conflict, Expression, GridDependency,
    Literal, MemoryOrder, MemoryScope, Shape, Statement, Type,
};

use super::Generator;
use super::builder::Value;
use super::statements::Around;

const OPERATIONS: [AtomicOp; 7] = [
    AtomicOp::Add,
    AtomicOp::Min,
    AtomicOp::Max,
    AtomicOp::And,
    AtomicOp::Or,
    AtomicOp::Xor,
    AtomicOp::Exchange,
];

impl Generator {
    /// Tensors that all programs change.
    pub fn shared_destinations(&mut self, innermost: u64) {
        if self.rng.u8(..3) == 0 {
            let integers = [ElementType::I32, ElementType::U32, ElementType::I64, ElementType::U64];
            let element = self.rng.choice(integers).unwrap_or(ElementType::I32);
            let extents = self.few_extents(innermost);
            let tensor = self.tensor(element, &extents, true, None);
            // Which exchange is the last one is a matter of order.
            let op = self.rng.choice(&OPERATIONS[..6]).copied().unwrap_or(AtomicOp::Add);
            self.counters.push((tensor, op));
        }
        // Such kernels run in one block.
        if self.rng.u8(..6) == 0 {
            let element = self.element();
            let extents = self.few_extents(innermost);
            self.scattered = Some(self.tensor(element, &extents, true, None));
        }
    }

    /// Extents of a tensor that is so small that programs meet there.
    fn few_extents(&mut self, innermost: u64) -> Vec<u64> {
        let mut extents = vec![1 + self.rng.u64(..innermost.min(70))];
        for _ in 0..self.rng.u8(..2) {
            extents.insert(0, self.rng.u64(1..4));
        }
        extents
    }

    /// An atomic operation on what this program owns.
    pub fn atomic(&mut self) {
        let (access, ty) = self.own_access();
        let fitting: Vec<_> = OPERATIONS.into_iter().filter(|op| op.accepts(ty.element)).collect();
        let Some(op) = self.rng.choice(fitting) else { return };
        let mut update = AtomicUpdate::Combine {
            op,
            value: self.value(ty, 2),
        };
        if self.rng.u8(..4) == 0 {
            let (current, new) = (self.value(ty, 1), self.value(ty, 1));
            let exchange = AtomicUpdate::CompareExchange { current, new };
            if exchange.accepts(ty.element) {
                update = exchange;
            }
        }
        let scopes = [MemoryScope::Block, MemoryScope::Device, MemoryScope::System];
        let atomic = Atomic {
            access,
            update,
            order: MemoryOrder::AcquireRelease,
            scope: self.rng.choice(scopes).unwrap_or_default(),
        };
        self.b.emit(Expression::Atomic(atomic), ty);
    }

    pub fn count_atomically(&mut self) {
        let Some((tensor, op)) = self.rng.choice(self.counters.clone()) else {
            return;
        };
        let element = self.b.kernel.tensor(tensor).map_or(ElementType::I32, |t| t.element);
        let shape = self.rng.choice(self.shapes.clone()).unwrap_or(Shape::SCALAR);
        let ty = Type { element, shape };
        let value = self.value(ty, 2);
        let orders = [
            MemoryOrder::Relaxed,
            MemoryOrder::Acquire,
            MemoryOrder::Release,
            MemoryOrder::AcquireRelease,
        ];
        let atomic = Atomic {
            access: self.any_access(tensor, shape, 2),
            update: AtomicUpdate::Combine { op, value },
            order: self.rng.choice(orders).unwrap_or_default(),
            scope: self
                .rng
                .choice([MemoryScope::Device, MemoryScope::System])
                .unwrap_or_default(),
        };
        // What it finds is not in scope, as it depends on which program comes first.
        let value = self.b.append(Expression::Atomic(atomic), ty);
        self.b.push(Statement::Let(value));
    }

    /// A store that any element may meet.
    pub fn scatter(&mut self) {
        let Some(tensor) = self.scattered else { return };
        let element = self.b.kernel.tensor(tensor).map_or(ElementType::I32, |t| t.element);
        let shape = self.rng.choice(self.shapes.clone()).unwrap_or(Shape::SCALAR);
        let value = self.value(Type { element, shape }, 2);
        let access = self.any_access(tensor, shape, 2);
        self.b.push(Statement::Store {
            access,
            value,
            conflict: Some(Conflict::LastWins),
        });
    }

    /// A claim or demand that holds.
    pub fn check(&mut self) {
        let condition = match self.rng.u8(..3) {
            0 => self.launch_fact(),
            1 => {
                let shape = self.rng.choice(self.shapes.clone()).unwrap_or(Shape::SCALAR);
                let value = self.value(
                    Type {
                        element: ElementType::I64,
                        shape,
                    },
                    2,
                );
                let most = self.b.index(self.rng.i64(1..200));
                let rest = self.b.binary(BinaryOp::Remainder, value, most);
                self.b.compare(CompareOp::Less, rest, most)
            }
            _ => {
                let ty = self.any_type();
                let value = self.value(ty.with_element(ElementType::I32), 2);
                let other = self.value(ty.with_element(ElementType::I32), 1);
                let least = self.b.binary(BinaryOp::Min, value, other);
                self.b.compare(CompareOp::LessEqual, least, value)
            }
        };
        let kind = self
            .rng
            .choice([CheckKind::Assume, CheckKind::Assert])
            .unwrap_or(CheckKind::Assert);
        let message = "it holds".to_owned();
        self.b.push(Statement::Check {
            condition,
            kind,
            message,
        });
    }

    /// Something that is true of a symbol in this launch, and of its program.
    fn launch_fact(&mut self) -> Value {
        let symbol = self.launch_symbol();
        let value = self.b.symbol(symbol);
        let Some(known) = self.known(symbol) else {
            let zero = self.b.index(0);
            return self.b.compare(CompareOp::GreaterEqual, value, zero);
        };
        let (op, bound) = match self.rng.u8(..3) {
            0 => (CompareOp::LessEqual, known.saturating_add(self.rng.i64(0..4))),
            1 => (CompareOp::Greater, known.saturating_sub(self.rng.i64(1..4))),
            _ => (CompareOp::Equal, known),
        };
        let bound = self.b.index(bound);
        self.b.compare(op, value, bound)
    }

    /// What is rare in kernels and has no result.
    pub fn rare(&mut self, around: Around) {
        match self.rng.u8(..6) {
            0..=2 => {
                let Some(tensor) = self.rng.choice(self.sources.clone()) else {
                    return;
                };
                let shape = self.rng.choice(self.shapes.clone()).unwrap_or(Shape::SCALAR);
                let mut access = self.any_access(tensor, shape, 1);
                if access.bounds == Bounds::Trap {
                    access.bounds = Bounds::default();
                }
                self.b.push(Statement::Prefetch(access));
            }
            3 | 4 => self.print(),
            _ if around.depth == 0 => {
                let both = [GridDependency::Wait, GridDependency::Trigger];
                let dependency = self.rng.choice(both).unwrap_or(GridDependency::Wait);
                self.b.push(Statement::GridDependency(dependency));
            }
            _ => {}
        }
    }

    /// A line that is printed in no launch, as nobody would read it.
    fn print(&mut self) {
        let tensor = self.sources[0];
        let symbol = tilewright::dsl::ir::Symbol::Extent { tensor, axis: 0 };
        let (extent, none) = (self.b.symbol(symbol), self.b.literal(Literal::index(1 << 40)));
        let condition = self.b.compare(CompareOp::Greater, extent, none);
        let scope = self.b.open();
        let elements: Vec<_> = (0..self.rng.u8(..4)).map(|_| self.element()).collect();
        let printable = |element: &ElementType| element.kind() != tilewright::dsl::element::ElementKind::Storage;
        let values: Vec<_> = elements
            .into_iter()
            .filter(printable)
            .map(|element| self.scalar(element, 1))
            .collect();
        let format = format!("100 % {}", "{} ".repeat(values.len()));
        self.b.push(Statement::Print { format, values });
        let accept = self.b.close();
        self.b.leave(scope);
        self.b.push(Statement::If {
            condition,
            accept,
            reject: Default::default(),
        });
    }
}
