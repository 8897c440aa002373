//! Random control flow and assignments.

use tilewright::dsl::element::ElementType;
use tilewright::dsl::ir::{BinaryOp, CompareOp, Expression, Literal, Statement, Type};

use super::Generator;

/// The most trips of a loop.
const TRIPS: i64 = 4;

/// How deep control flow nests.
const DEPTH: u32 = 3;

/// What surrounds a block.
#[derive(Clone, Copy, Default)]
pub struct Around {
    pub depth: u32,
    /// Loops, each of which multiplies the work.
    pub loops: u32,
    /// Whether `break` and `continue` mean something here.
    in_loop: bool,
}

impl Generator {
    /// A few statements.
    pub fn statements(&mut self, around: Around) {
        for _ in 0..self.rng.u8(1..=4) {
            if self.budget == 0 {
                return;
            }
            self.budget -= 1;
            let nested = around.depth < DEPTH;
            match self.rng.u8(..28) {
                0..=5 => self.store(around),
                20 | 21 => self.atomic(),
                22 | 23 => self.count_atomically(),
                24 | 25 => self.scatter(),
                26 => self.check(),
                27 => self.rare(around),
                6..=8 => {
                    let ty = self.any_type();
                    self.value(ty, 3);
                }
                9 | 10 => {
                    let ty = self.any_type();
                    let value = self.value(ty, 2);
                    self.b.variable(value);
                }
                11..=13 => self.assignment(),
                14..=16 if nested => self.conditional(around),
                17 | 18 if nested && around.loops < 2 => self.for_loop(around),
                19 if nested && around.loops < 2 => self.while_loop(around),
                _ => self.store(around),
            }
        }
    }

    pub fn any_type(&mut self) -> Type {
        let (elements, shapes) = (self.elements.clone(), self.shapes.clone());
        Type {
            element: self.rng.choice(elements).unwrap_or(ElementType::I64),
            shape: self.rng.choice(shapes).unwrap_or(Type::INDEX.shape),
        }
    }

    fn assignment(&mut self) {
        let locals = self.b.locals.clone();
        let Some(local) = self.rng.choice(locals) else { return };
        let ty = self.b.kernel.locals[local].ty;
        let value = self.value(ty, 3);
        self.b.assign(local, value);
    }

    fn conditional(&mut self, around: Around) {
        let condition = self.scalar(ElementType::Bool, 2);
        let inner = Around {
            depth: around.depth + 1,
            ..around
        };
        let branch = |g: &mut Self, empty: bool| {
            let scope = g.b.open();
            if !empty {
                g.statements(inner);
                g.leave(around);
            }
            let block = g.b.close();
            g.b.leave(scope);
            block
        };
        let accept = branch(self, false);
        let without = self.rng.bool();
        let reject = branch(self, without);
        self.b.push(Statement::If {
            condition,
            accept,
            reject,
        });
    }

    /// Sometimes ends a branch by leaving what is around it.
    fn leave(&mut self, around: Around) {
        match self.rng.u8(..10) {
            0 | 1 if around.in_loop => self.b.push(Statement::Break),
            2 | 3 if around.in_loop => self.b.push(Statement::Continue),
            4 => self.b.push(Statement::Return),
            _ => {}
        }
    }

    fn for_loop(&mut self, around: Around) {
        let integers: Vec<_> = ElementType::ALL.into_iter().filter(|e| e.is_integer()).collect();
        let element = self.rng.choice(integers).unwrap_or(ElementType::I64);
        let (low, high) = element.integer_range().unwrap_or((0, 0));
        let step = i128::from(self.rng.choice([1i64, 1, 1, 2, 3, -1, -2]).unwrap_or(1));
        let trips = i128::from(self.rng.i64(0..=TRIPS));
        // Near the ends of the type a further step would leave it.
        let start = match self.rng.u8(..4) {
            0 if step > 0 => high - trips * step + 1,
            0 => low - trips * step - 1,
            _ if element.is_signed() => i128::from(self.rng.i8(-5..=5)),
            _ => i128::from(self.rng.i8(0..=15)),
        };
        let (start, end) = (start.clamp(low, high), (start + trips * step).clamp(low, high));
        let first = self.b.literal(Literal::wrap(element, start));
        let mut end = self.b.literal(Literal::wrap(element, end));
        if self.rng.bool() {
            // An end that only the launch knows, and no further away.
            let any = self.scalar(element, 2);
            let nearer = if step > 0 { BinaryOp::Min } else { BinaryOp::Max };
            end = self.b.binary(nearer, any, end);
        }
        let induction = self.b.append(Expression::Induction(element), Type::scalar(element));
        let scope = self.b.open();
        self.b.values.push(induction);
        self.statements(around.looped());
        let body = self.b.close();
        self.b.leave(scope);
        self.b.push(Statement::For {
            induction,
            start: first,
            end,
            step,
            body,
        });
    }

    /// A loop that counts its own trips: in its condition, or in a branch that breaks.
    fn while_loop(&mut self, around: Around) {
        let zero = self.b.index(0);
        let trips = self.b.variable(zero);
        // Nothing else may assign it.
        self.b.locals.pop();
        let limit = self.b.index(self.rng.i64(0..=TRIPS));
        let one = self.b.index(1);
        let endless = self.rng.u8(..3) == 0;

        let scope = self.b.open();
        let condition = if endless {
            self.b.literal(Literal::new(true))
        } else {
            if self.rng.u8(..4) == 0 {
                self.statements(Around {
                    depth: DEPTH,
                    in_loop: false,
                    ..around.looped()
                });
            }
            let trip = self.b.read(trips);
            let more = self.b.compare(CompareOp::Less, trip, limit);
            let other = self.scalar(ElementType::Bool, 2);
            if self.rng.bool() {
                self.b.binary(BinaryOp::And, more, other)
            } else {
                more
            }
        };
        let header = self.b.close();

        self.b.open();
        let trip = self.b.read(trips);
        let next = self.b.binary(BinaryOp::Add, trip, one);
        self.b.assign(trips, next);
        if endless {
            let done = self.b.compare(CompareOp::GreaterEqual, trip, limit);
            self.b.open();
            self.b.push(Statement::Break);
            let accept = self.b.close();
            self.b.push(Statement::If {
                condition: done,
                accept,
                reject: Default::default(),
            });
        }
        self.statements(around.looped());
        let body = self.b.close();
        self.b.leave(scope);
        self.b.push(Statement::While {
            header,
            condition,
            body,
        });
    }
}

impl Around {
    fn looped(self) -> Self {
        Self {
            depth: self.depth + 1,
            loops: self.loops + 1,
            in_loop: true,
        }
    }
}
