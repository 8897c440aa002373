//! One program, statement by statement.

use super::Known;
use super::access::{Index, Outside, Run, Touched, Unguarded, Walk};
use super::argument::Tensor;
use super::conflict::{self, Log, Touch};
use super::launch::Launch;
use super::value::{Value, padded, put};
use super::{BadAccess, FailedCheck, InterpretError, collective, elementwise, tiles};
use crate::element::ElementType;
use crate::ir::{
    Access, Block, Bounds, CheckKind, Conflict, Expression, Handle, Literal, MAX_RANK, Span, Statement, Symbol, Type,
};
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
    /// The first access that trapped or check that failed.
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
    pub fn new(launch: &'l Launch<'l, 'l>) -> Self {
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
        self.block(&self.launch.kernel.body)?;
        self.log.finish(number as u32);
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
                Ok(Flow::Next)
            }
            Statement::Store {
                access,
                value,
                conflict,
            } => {
                let touch = match conflict {
                    None => Touch::Write,
                    Some(Conflict::Disjoint) => Touch::Disjoint,
                    Some(Conflict::LastWins) => Touch::LastWins,
                };
                self.store(access, *value, touch, span).map(|()| Flow::Next)
            }
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
        let element = self.launch.kernel.ty(value).element;
        Literal {
            element,
            bits: self.values[value.index()].bits(element.size(), [0; MAX_RANK]),
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

    fn load(&mut self, access: &Access, handle: Handle<Expression>, span: Span) -> Result<Value, InterpretError> {
        let Type { element, shape } = self.launch.kernel.ty(handle);
        let (size, extents) = (element.size(), padded(shape));
        let Some((place, tensor)) = self.target(access, extents, span)? else {
            return Ok(Value::Uniform(0));
        };
        let mut out = vec![0u8; extents.iter().product::<usize>() * size];
        // Loads only matter where another program may change the element atomically.
        let noted = self.launch.log && self.launch.is_mixed(access.tensor);
        let mut log = std::mem::take(&mut self.log);
        let mut note = |start: i64, count: usize| {
            log.push(conflict::Touched {
                tensor: place,
                program: self.number as u32,
                start,
                end: start + (count * size) as i64,
                span,
                touch: Touch::Read,
                epoch: 0,
            });
        };
        let visit = |run: Run| {
            if noted && (run.count == 1 || run.step == size as i64) {
                note(run.address, run.count);
            } else if noted {
                (0..run.count).for_each(|k| note(run.address + k as i64 * run.step, 1));
            }
            let read = if run.count == 1 || run.step == size as i64 {
                tensor
                    .memory
                    .read(run.address as u64, &mut out[run.element * size..][..run.count * size])
            } else {
                (0..run.count).try_for_each(|k| {
                    let bits = tensor.memory.get((run.address + k as i64 * run.step) as u64, size)?;
                    put(&mut out, size, run.element + k, bits);
                    Ok(())
                })
            };
            debug_assert!(read.is_ok(), "tensors are inside their memory");
        };
        let touched = self.walk(access, tensor, extents, visit);
        self.log = log;
        self.judge(touched, access, place, span)?;
        if element == ElementType::Bool {
            // Any other byte than 0 counts as true.
            out.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        Ok(if out.len() == size {
            Value::Uniform(super::value::get(&out, size, 0))
        } else {
            Value::dense(out, extents)
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

    fn store(
        &mut self,
        access: &Access,
        value: Handle<Expression>,
        touch: Touch,
        span: Span,
    ) -> Result<(), InterpretError> {
        let Type { element, shape } = self.launch.kernel.ty(value);
        let (size, extents) = (element.size(), padded(shape));
        let Some((place, tensor)) = self.target(access, extents, span)? else {
            return Ok(());
        };
        // A uniform value needs one row, from which every run takes its part.
        let (source, uniform) = match &self.values[value.index()] {
            Value::Uniform(bits) => {
                let row = bits.to_le_bytes()[..size].repeat(extents[MAX_RANK - 1]);
                (std::borrow::Cow::Owned(row), true)
            }
            value => (value.elements(size, extents), false),
        };
        let mut log = std::mem::take(&mut self.log);
        let mut note = |start: i64, count: usize| {
            if self.launch.log {
                let end = start + (count * size) as i64;
                log.push(conflict::Touched {
                    tensor: place,
                    program: self.number as u32,
                    start,
                    end,
                    span,
                    touch,
                    epoch: 0,
                });
            }
        };
        let visit = |run: Run| {
            let source = &source[if uniform { 0 } else { run.element * size }..][..run.count * size];
            let written = if run.count == 1 || run.step == size as i64 {
                note(run.address, run.count);
                tensor.memory.write(run.address as u64, source)
            } else {
                source.chunks_exact(size).enumerate().try_for_each(|(k, element)| {
                    let address = run.address + k as i64 * run.step;
                    note(address, 1);
                    tensor.memory.write(address as u64, element)
                })
            };
            debug_assert!(written.is_ok(), "tensors are inside their memory");
        };
        let touched = self.walk(access, tensor, extents, visit);
        drop(source);
        self.log = log;
        self.judge(touched, access, place, span)
    }

    /// Calls `visit` with what `access` touches of `tensor`.
    pub fn walk(
        &self,
        access: &Access,
        tensor: &Tensor<'_>,
        extents: [usize; MAX_RANK],
        visit: impl FnMut(Run),
    ) -> Result<Touched, Unguarded> {
        let launch = self.launch;
        // Which tensor of a list it is has been seen to.
        let first = access.indices.len() - tensor.extents.len();
        let value = |handle: Handle<Expression>| (&self.values[handle.index()], launch.kernel.ty(handle).element);
        Walk {
            tensor,
            bounds: access.bounds,
            guards: &access.guards[first..],
            indices: Index::all(&access.indices[first..], value),
            mask: access.mask.map(|mask| &self.values[mask.index()]),
            extents,
            touched: Touched::default(),
            visit,
        }
        .run()
    }

    /// Reports or refuses what was outside of the tensor at `place`, as the policy of the access says.
    pub fn judge(
        &mut self,
        touched: Result<Touched, Unguarded>,
        access: &Access,
        place: u32,
        span: Span,
    ) -> Result<(), InterpretError> {
        match (touched, access.bounds) {
            (Ok(Touched { outside: None }), _) => Ok(()),
            (Ok(Touched { outside: Some(outside) }), _) => {
                let reports = self.launch.kernel.reports(access);
                if reports && self.trapped.is_none() {
                    let bad = self.bad(outside, place, span);
                    self.trapped = Some(InterpretError::OutOfBounds(Box::new(bad)));
                } else if !reports && self.outside.is_none() {
                    self.outside = Some(self.bad(outside, place, span));
                }
                Ok(())
            }
            (Err(Unguarded(outside)), Bounds::Unchecked) => {
                Err(InterpretError::OutOfBounds(Box::new(self.bad(outside, place, span))))
            }
            (Err(Unguarded(outside)), Bounds::ReadZeroSkipWrite | Bounds::Clamp | Bounds::Trap) => {
                Err(InterpretError::UnsoundProof(Box::new(self.bad(outside, place, span))))
            }
        }
    }

    fn bad(&self, outside: Outside, place: u32, span: Span) -> BadAccess {
        BadAccess {
            kernel: self.launch.kernel.name.clone(),
            span,
            tensor: self.launch.arguments.name(place),
            axis: outside.axis,
            index: outside.index,
            extent: outside.extent as u64,
            program: self.launch.coordinates(self.number),
        }
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
