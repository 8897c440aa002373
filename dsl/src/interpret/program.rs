//! One program, statement by statement.

use super::Known;
use super::launch::Launch;
use super::ranks::Sight;
use super::touch::Log;
use super::value::{Extents, Value, padded};
use super::{BadAccess, FailedCheck, InterpretError, collective, elementwise, tiles};
use crate::analysis::races::Touch;
use crate::element::ElementType;
use crate::ir::{Block, CheckKind, Expression, Handle, Literal, MAX_RANK, Span, Statement, Symbol, Type};
use crate::stack::room;

/// Runs programs, one after the other.
pub(super) struct Machine<'l> {
    pub launch: &'l Launch<'l, 'l>,
    /// The present value of each expression.
    pub values: Vec<Value>,
    locals: Vec<Value>,
    /// The expressions that are this program's coordinate on an axis.
    ids: Vec<(Handle<Expression>, u8)>,
    pub number: u64,
    steps: u64,
    pub log: Log,
    /// Where the elements of the present store lie.
    pub places: Vec<(i64, i64)>,
    /// What the present program has seen of other ranks.
    pub sight: Sight,
    /// The first access of it that does not go together with another rank's.
    pub among_ranks: Option<InterpretError>,
    /// Whether it ends here: it waited in vain.
    pub is_over: bool,
    /// Lets another thread begin with the next program, before this one waits.
    pub replace: Option<&'l dyn Fn()>,
    /// The first access that trapped, check that failed or wait that ended.
    pub trapped: Option<InterpretError>,
    /// The first access that was outside and did not trap.
    pub outside: Option<BadAccess>,
}

/// Where a program goes on after a block.
enum Flow {
    Next,
    Break,
    Continue,
    Return,
}

impl<'l> Machine<'l> {
    pub fn new(launch: &'l Launch<'l, 'l>, replace: Option<&'l dyn Fn()>) -> Self {
        let kernel = launch.kernel;
        let mut ids = Vec::new();
        let mut global = |handle, expression: &Expression| match expression {
            Expression::Literal(literal) => literal.bits,
            Expression::Symbol(Symbol::ProgramId(axis)) => {
                ids.push((handle, *axis));
                0
            }
            Expression::Symbol(Symbol::NumPrograms(axis)) => launch.grid.get(*axis as usize).copied().unwrap_or(1),
            Expression::Symbol(symbol) => launch.arguments.symbol(*symbol).unwrap_or(0) as u64,
            Expression::Argument(position) => launch.arguments.scalar(*position).map_or(0, |literal| literal.bits),
            // Evaluated where they are defined.
            _ => 0,
        };
        let values = kernel
            .expressions
            .iter()
            .map(|(handle, e)| Value::Uniform(global(handle, e)))
            .collect();
        Self {
            launch,
            values,
            locals: vec![Value::Uniform(0); kernel.locals.len()],
            ids,
            number: 0,
            steps: 0,
            log: Log::default(),
            places: Vec::new(),
            sight: Sight::default(),
            among_ranks: None,
            is_over: false,
            replace,
            trapped: None,
            outside: None,
        }
    }

    /// Runs the program with this number.
    pub fn run(&mut self, number: u64) -> Result<(), InterpretError> {
        let coordinates = self.launch.coordinates(number);
        for (id, axis) in &self.ids {
            self.values[id.index()] = Value::Uniform(coordinates.get(*axis as usize).copied().unwrap_or(0));
        }
        (self.number, self.steps) = (number, 0);
        if let Some(ranks) = &self.launch.ranks {
            self.sight = ranks.sight();
        }
        self.block(&self.launch.kernel.body)?;
        self.log.finish(number as u32);
        if let Some(ranks) = &self.launch.ranks {
            ranks.finish(&self.sight);
        }
        Ok(())
    }

    fn block(&mut self, block: &Block) -> Result<Flow, InterpretError> {
        for (statement, span) in block {
            match room(|| self.statement(statement, *span))? {
                Flow::Next => {}
                left => return Ok(left),
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, statement: &Statement, span: Span) -> Result<Flow, InterpretError> {
        self.step(span)?;
        match statement {
            Statement::Let(value) => {
                self.values[value.index()] = self.evaluate(*value, span)?;
                match std::mem::take(&mut self.is_over) {
                    true => Ok(Flow::Return),
                    false => Ok(Flow::Next),
                }
            }
            Statement::Store {
                access,
                value,
                conflict,
            } => self
                .store(access, *value, Touch::of_store(*conflict), span)
                .map(|()| Flow::Next),
            Statement::Print { format, values } => {
                let mut values = values.iter().map(|&value| text(self.scalar(value)));
                let mut line = String::new();
                for (number, part) in format.split("{}").enumerate() {
                    if number > 0 {
                        line += &values.next().unwrap_or_default();
                    }
                    line += part;
                }
                (self.launch.print)(&line);
                Ok(Flow::Next)
            }
            // Programs run after all launches before, and there is no cache to fill.
            Statement::Prefetch(_) | Statement::GridDependency(_) => Ok(Flow::Next),
            Statement::Check {
                condition,
                kind,
                message,
            } => Ok(self.check(*condition, *kind, message, span)),
            Statement::Assign { local, value } => {
                self.locals[local.index()] = self.values[value.index()].clone();
                Ok(Flow::Next)
            }
            Statement::If {
                condition,
                accept,
                reject,
            } => self.block(if self.holds(*condition) { accept } else { reject }),
            Statement::While {
                header,
                condition,
                body,
            } => loop {
                self.step(span)?;
                match self.block(header)? {
                    Flow::Next => {}
                    left => return Ok(left),
                }
                if !self.holds(*condition) {
                    return Ok(Flow::Next);
                }
                match self.block(body)? {
                    Flow::Next | Flow::Continue => {}
                    Flow::Break => return Ok(Flow::Next),
                    Flow::Return => return Ok(Flow::Return),
                }
            },
            Statement::For {
                induction,
                start,
                end,
                step,
                body,
            } => {
                let element = self.launch.kernel.ty(*induction).element;
                let (end, step) = (self.integer(*end), *step);
                let mut value = self.integer(*start);
                while if step > 0 { value < end } else { value > end } {
                    self.step(span)?;
                    self.values[induction.index()] = Value::Uniform(Literal::wrap(element, value).bits);
                    match self.block(body)? {
                        Flow::Next | Flow::Continue => {}
                        Flow::Break => break,
                        Flow::Return => return Ok(Flow::Return),
                    }
                    // Before the end there is no value outside of the type's range, so a step past it ends the loop.
                    value += step;
                }
                Ok(Flow::Next)
            }
            Statement::Break => Ok(Flow::Break),
            Statement::Continue => Ok(Flow::Continue),
            Statement::Return => Ok(Flow::Return),
        }
    }

    fn step(&mut self, span: Span) -> Result<(), InterpretError> {
        self.steps += 1;
        if self.steps <= self.launch.max_steps {
            return Ok(());
        }
        Err(InterpretError::StepLimit {
            kernel: self.launch.kernel.name.clone(),
            span,
            program: self.launch.coordinates(self.number),
            limit: self.launch.max_steps,
        })
    }

    /// The bits of a scalar.
    pub fn scalar(&self, value: Handle<Expression>) -> Literal {
        self.element(value, [0; MAX_RANK])
    }

    /// The bits of an element.
    pub fn element(&self, value: Handle<Expression>, at: Extents) -> Literal {
        let element = self.launch.kernel.ty(value).element;
        Literal {
            element,
            bits: self.values[value.index()].bits(element.size(), at),
        }
    }

    fn holds(&self, condition: Handle<Expression>) -> bool {
        self.scalar(condition).as_bool()
    }

    fn evaluate(&mut self, handle: Handle<Expression>, span: Span) -> Result<Value, InterpretError> {
        let kernel = self.launch.kernel;
        let Type { element, shape } = kernel.ty(handle);
        let extents = padded(shape);
        let value = |operand: Handle<Expression>| &self.values[operand.index()];
        Ok(match &kernel.expressions[handle] {
            // In scope everywhere, or set by their loop.
            Expression::Literal(_) | Expression::Symbol(_) | Expression::Argument(_) | Expression::Induction(_) => {
                value(handle).clone()
            }
            Expression::Arange(extent) => Value::arange(*extent),
            Expression::Broadcast { value: from, .. } => value(*from).clone(),
            Expression::Reshape { value: from, .. } => {
                value(*from).reshaped(element.size(), padded(kernel.ty(*from).shape), extents)
            }
            Expression::Permute { .. }
            | Expression::Slice { .. }
            | Expression::Concatenate { .. }
            | Expression::Take { .. } => tiles::rearrange(kernel, handle, value),
            Expression::Reduce { .. }
            | Expression::Scan { .. }
            | Expression::ArgSort { .. }
            | Expression::Histogram { .. } => collective::evaluate(kernel, handle, value),
            Expression::Unary { op, value: from } => elementwise::unary(*op, element, extents, value(*from)),
            Expression::Binary { op, left, right } => {
                elementwise::binary(*op, element, extents, value(*left), value(*right))
            }
            Expression::MulAdd { left, right, addend } => {
                elementwise::mul_add(element, extents, [value(*left), value(*right), value(*addend)])
            }
            Expression::Compare { op, left, right } => {
                elementwise::compare(*op, kernel.ty(*left).element, extents, value(*left), value(*right))
            }
            Expression::Select {
                condition,
                accept,
                reject,
            } => elementwise::select(element, extents, value(*condition), value(*accept), value(*reject)),
            Expression::MultipleOf { value: from, .. } => value(*from).clone(),
            Expression::Ptx(code) => {
                let Some(meaning) = &code.meaning else {
                    return Err(InterpretError::NoMeaning {
                        kernel: kernel.name.clone(),
                        span,
                        text: code.text.clone(),
                    });
                };
                let inputs: Vec<_> = code.inputs.iter().map(|&i| (value(i), kernel.ty(i).element)).collect();
                elementwise::ptx(code, meaning, element, extents, &inputs)
            }
            Expression::Cast { value: from, to } => {
                elementwise::cast(kernel.ty(*from).element, *to, extents, value(*from))
            }
            Expression::Bitcast { value: from, to } => {
                elementwise::bitcast(kernel.ty(*from).element, *to, extents, value(*from))
            }
            Expression::Local(local) => self.locals[local.index()].clone(),
            Expression::Member { symbol, access } => self.of_member(*symbol, access, span)?,
            Expression::Load(access) => self.load(access, handle, span)?,
            Expression::Atomic(atomic) => self.atomic(atomic, handle, span)?,
        })
    }

    /// Ends the program if not every element of `condition` holds.
    fn check(&mut self, condition: Handle<Expression>, kind: CheckKind, message: &str, span: Span) -> Flow {
        let extents = padded(self.launch.kernel.ty(condition).shape);
        let holds = match &self.values[condition.index()] {
            Value::Uniform(bits) => *bits != 0,
            value => value.elements(1, extents).iter().all(|&byte| byte != 0),
        };
        if holds {
            return Flow::Next;
        }
        let failed = FailedCheck {
            kernel: self.launch.kernel.name.clone(),
            span,
            kind,
            message: message.to_owned(),
            program: self.launch.coordinates(self.number),
        };
        self.trapped
            .get_or_insert_with(|| InterpretError::CheckFailed(Box::new(failed)));
        Flow::Return
    }
}

/// A scalar as a printed line shows it.
fn text(value: Literal) -> String {
    match (value.element, value.as_integer()) {
        (ElementType::Bool, _) => value.as_bool().to_string(),
        (ElementType::F64, _) => f64::from_bits(value.bits).to_string(),
        (_, Some(integer)) => integer.to_string(),
        (_, None) => crate::arithmetic::to_f32(value).unwrap_or(f32::NAN).to_string(),
    }
}
