//! The recording of one kernel: where every operation of the language ends up.
//!
//! The recorder is found through a thread-local, so that tiles are plain `Copy` values and operators work on them.
//! The first mistake is kept and recording goes on, so that a body needs no `?`.

mod declare;
mod known;

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::TraceError;
use crate::element::ElementType;
use crate::ir::{
    Arena, Bindings, Block, Bounds, Expression, Function, Handle, Kernel, Literal, Local, Shape, Span, Statement,
    Symbol, Type, verify,
};
use crate::panic;
use crate::trace::{TraceRequest, Traced};
use crate::transform::{hopeless, without_empty_tiles};

/// The most trips of all loops of a kernel that are unrolled.
pub const MAX_TRIPS: usize = 1 << 13;

/// The most operations of a kernel, those of unrolled trips among them.
pub const MAX_OPERATIONS: usize = 1 << 16;

const AT_RUN_TIME: &str =
    "loop at run time: give the loop a bound of the launch, `0..x.extent(0)`, instead of `0..comptime(x.extent(0))`";

thread_local! {
    static CURRENT: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// The kernel being recorded on this thread.
pub(crate) struct Recorder {
    kernel: Kernel,
    request: TraceRequest,
    /// The block being recorded, inside those it is nested in.
    blocks: Vec<OpenBlock>,
    /// Symbols whose value shaped the recording.
    pinned: Vec<(Symbol, i64)>,
    /// What was computed of them.
    lengths: Vec<i64>,
    bounds: Bounds,
    /// Whether accesses must be wide that do not say that they need not.
    denies_narrow: bool,
    /// The trips of loops that are unrolled, so far.
    trips: usize,
    error: Option<TraceError>,
}

#[derive(Default)]
struct OpenBlock {
    block: Block,
    /// Set after `break`, `continue` or `return`: what follows never runs.
    dead: bool,
}

/// Runs `body` with a fresh recorder and returns what it recorded.
pub(crate) fn record(
    name: &str,
    file: &'static str,
    line: u32,
    request: &TraceRequest,
    body: impl FnOnce(),
) -> Result<Traced, TraceError> {
    let span = Span { file, line, column: 1 };
    let kernel = Kernel {
        name: name.to_owned(),
        span,
        parameters: Vec::new(),
        expressions: Arena::new(),
        types: Vec::new(),
        spans: Vec::new(),
        locals: Arena::new(),
        grid: Vec::new(),
        requirements: Vec::new(),
        body: Block::new(),
        bindings: Bindings::default(),
        checked: false,
        reports: false,
        denies_guards: false,
    };
    let fresh = Recorder {
        kernel,
        request: request.clone(),
        blocks: vec![OpenBlock::default()],
        pinned: Vec::new(),
        lengths: Vec::new(),
        bounds: Bounds::default(),
        denies_narrow: false,
        trips: 0,
        error: None,
    };
    let outer = CURRENT.replace(Some(fresh));
    // Whatever the body leaves half done is dropped with the recorder.
    let result = catch_unwind(AssertUnwindSafe(body));
    let done = CURRENT.replace(outer);
    let failed = |message| TraceError {
        kernel: name.to_owned(),
        message,
        span,
        advice: None,
    };
    let told = |panic: Box<dyn Any + Send>| {
        failed(format!(
            "it panicked while it was recorded: {}",
            panic::message(&*panic)
        ))
    };
    result.map_err(told)?;
    let mut done = done.ok_or_else(|| failed("the recording was lost".into()))?;
    if let Some(error) = done.error {
        return Err(error);
    }
    done.kernel.body = done.blocks.pop().map(|open| open.block).unwrap_or_default();
    done.kernel = without_empty_tiles(done.kernel);
    done.pinned.sort_unstable();
    done.pinned.dedup();
    done.lengths.sort_unstable();
    done.lengths.dedup();
    verify::verify(&done.kernel).map_err(|e| TraceError {
        kernel: name.to_owned(),
        message: e.to_string(),
        span: e.span,
        advice: None,
    })?;
    if done.kernel.denies_guards
        && let Some(proof) = hopeless(&done.kernel)
    {
        return Err(TraceError {
            kernel: name.to_owned(),
            message: format!("the kernel denies bounds checks, and no launch can do without one: {proof}"),
            span: proof.span,
            advice: Some("bound the index with an `if` or `assume`, or leave out `deny_guarded`".to_owned()),
        });
    }
    Ok(Traced {
        kernel: done.kernel,
        pinned: done.pinned,
        lengths: done.lengths,
    })
}

/// Calls `f` with the recorder of this thread; gives `fallback` outside a recording, where a language operation means
/// nothing.
pub(crate) fn with<R>(fallback: R, f: impl FnOnce(&mut Recorder) -> R) -> R {
    CURRENT.with_borrow_mut(|current| match current {
        Some(recorder) => f(recorder),
        None => fallback,
    })
}

/// Records what `combine` does with two scalars of type `element` as a function of its own.
pub(crate) fn function(
    element: ElementType,
    span: Span,
    combine: impl FnOnce(Handle<Expression>, Handle<Expression>) -> Handle<Expression>,
) -> Option<Function> {
    let (mark, left, right) = with(None, |r| {
        let mark = r.kernel.expressions.len();
        r.open(span);
        // Positions that no parameter has.
        let mut operand = |position| r.emit(Expression::Argument(position), Type::scalar(element), span);
        Some((mark, operand(u32::MAX - 1), operand(u32::MAX)))
    })?;
    let result = combine(left, right);
    with(None, |r| {
        let block = r.close();
        let computes = |statement: &Statement| match statement {
            Statement::Let(value) => r.kernel.expressions.get(*value).is_some_and(Function::allows),
            _ => false,
        };
        let pure = block.iter().all(|(statement, _)| computes(statement));
        let function = match pure {
            true => r.function(mark, [left, right, result], span),
            false => r.no_function(span),
        };
        r.kernel.truncate(mark);
        function
    })
}

/// The handle an operation gives outside a recording.
pub(crate) const DETACHED: Handle<Expression> = Handle::from_index(u32::MAX as usize);

impl Recorder {
    /// Keeps the first mistake.
    pub(crate) fn fail(&mut self, span: Span, message: impl Into<String>, advice: Option<&str>) {
        if self.error.is_none() {
            self.error = Some(TraceError {
                kernel: self.kernel.name.clone(),
                message: message.into(),
                span,
                advice: advice.map(str::to_owned),
            });
        }
    }

    /// The type of a value; a scalar i64 for a value from outside this recording.
    pub(crate) fn ty(&self, value: Handle<Expression>) -> Type {
        self.kernel.types.get(value.index()).copied().unwrap_or(Type::INDEX)
    }

    /// Appends an expression and, unless it is in scope everywhere, defines it here.
    pub(crate) fn emit(&mut self, expression: Expression, ty: Type, span: Span) -> Handle<Expression> {
        if self.is_too_large(span) {
            return DETACHED;
        }
        let global = expression.is_global();
        let handle = self.kernel.append(expression, ty, span);
        if !global {
            self.push(Statement::Let(handle), span);
        }
        handle
    }

    /// Appends an expression that a statement other than `Let` defines.
    pub(crate) fn emit_undefined(&mut self, expression: Expression, ty: Type, span: Span) -> Handle<Expression> {
        self.kernel.append(expression, ty, span)
    }

    /// A constant.
    pub(crate) fn literal(&mut self, literal: Literal) -> Handle<Expression> {
        self.emit(
            Expression::Literal(literal),
            Type::scalar(literal.element),
            Span::UNKNOWN,
        )
    }

    /// Stretches `value` to `shape`; the shapes are known to broadcast.
    pub(crate) fn stretch(&mut self, value: Handle<Expression>, shape: Shape, span: Span) -> Handle<Expression> {
        let ty = self.ty(value);
        if ty.shape == shape {
            value
        } else {
            self.emit(Expression::Broadcast { value, shape }, Type { shape, ..ty }, span)
        }
    }

    /// The shape that all values broadcast to; on a mismatch, the first one's, and the mistake is kept.
    pub(crate) fn common_shape(&mut self, values: &[Handle<Expression>], what: &str, span: Span) -> Shape {
        let mut shape = Shape::SCALAR;
        for &value in values {
            let other = self.ty(value).shape;
            match shape.broadcast(other) {
                Some(common) => shape = common,
                None => {
                    let message = format!("{what} has tiles of shapes {shape} and {other}, which do not broadcast");
                    self.fail(
                        span,
                        message,
                        Some("axes are aligned from the innermost; extents must be equal, or 1"),
                    );
                    return shape;
                }
            }
        }
        shape
    }

    /// Stretches all values to their common shape.
    pub(crate) fn unify<const N: usize>(
        &mut self,
        values: [Handle<Expression>; N],
        what: &str,
        span: Span,
    ) -> ([Handle<Expression>; N], Shape) {
        let shape = self.common_shape(&values, what, span);
        if self.error.is_some() {
            return (values, shape);
        }
        (values.map(|value| self.stretch(value, shape, span)), shape)
    }

    /// Appends a statement to the open block, unless it can never run or nothing is made of the recording.
    pub(crate) fn push(&mut self, statement: Statement, span: Span) {
        if let Some(open) = self.blocks.last_mut()
            && !open.dead
            && self.error.is_none()
        {
            open.block.push(statement, span);
        }
    }

    /// Appends a statement that leaves the open block.
    pub(crate) fn leave(&mut self, statement: Statement, span: Span) {
        self.push(statement, span);
        if let Some(open) = self.blocks.last_mut() {
            open.dead = true;
        }
    }

    /// Whether a loop that is unrolled may have another trip. After a mistake nothing needs to be recorded any more.
    pub(crate) fn trip(&mut self, span: Span) -> bool {
        self.trips += 1;
        if self.trips > MAX_TRIPS {
            let what = "a loop over values known while recording is unrolled";
            let message = format!("{what}, and all such loops of a kernel have at most {MAX_TRIPS} trips together");
            self.fail(span, message, Some(AT_RUN_TIME));
        }
        self.error.is_none() && !self.is_too_large(span)
    }

    /// Whether there is no room for another operation.
    fn is_too_large(&mut self, span: Span) -> bool {
        let is_too_large = self.kernel.expressions.len() >= MAX_OPERATIONS;
        if is_too_large {
            let message =
                format!("a kernel has at most {MAX_OPERATIONS} operations, those of unrolled loops among them");
            self.fail(span, message, Some(AT_RUN_TIME));
        }
        is_too_large
    }

    /// The axis as the IR counts it, of a tile of this rank; 0, with the mistake kept, if there is no such axis.
    pub(crate) fn axis(&mut self, axis: usize, rank: usize, what: &str, span: Span) -> u8 {
        if axis < rank {
            return axis as u8;
        }
        let (message, advice) = match rank {
            0 => (
                format!("`{what}` of a scalar, which has no axis"),
                "use it on a tile: `tensor.load([arange(8)])` has one axis",
            ),
            _ => (
                format!("`{what}` along axis {axis} of a tile of rank {rank}"),
                "axes are counted from 0, outermost first",
            ),
        };
        self.fail(span, message, Some(advice));
        0
    }

    /// What `result` computes from the two arguments `left` and `right`, as a function of its own; what has been recorded
    /// since the arena had `mark` expressions is forgotten. `None`, with the mistake kept, if it depends on anything else.
    fn function(
        &mut self,
        mark: usize,
        [left, right, result]: [Handle<Expression>; 3],
        span: Span,
    ) -> Option<Function> {
        let element = self.ty(left).element;
        let mut function = Function {
            element,
            expressions: Arena::new(),
            types: Vec::new(),
            result: Handle::from_index(0),
        };
        let mut copied: HashMap<Handle<Expression>, Handle<Expression>> = HashMap::new();
        let append = |function: &mut Function, node, ty| {
            function.types.push(ty);
            function.expressions.append(node)
        };
        for (position, operand) in [(0, left), (1, right)] {
            let own = append(&mut function, Expression::Argument(position), Type::scalar(element));
            copied.insert(operand, own);
        }
        // Operands come before their users.
        let mut needed: Vec<Handle<Expression>> = vec![result];
        let mut all = BTreeSet::new();
        while let Some(next) = needed.pop() {
            if copied.contains_key(&next) || !all.insert(next) {
                continue;
            }
            match self.kernel.expressions.get(next) {
                Some(node) => node.for_each_operand(|operand| needed.push(operand)),
                None => return self.no_function(span),
            }
        }
        for handle in all {
            let mut node = self.kernel.expressions[handle].clone();
            let literal = matches!(node, Expression::Literal(_));
            if !Function::allows(&node)
                || matches!(node, Expression::Argument(_))
                || (handle.index() < mark && !literal)
            {
                return self.no_function(span);
            }
            node.map_operands(|operand| copied.get(&operand).copied().unwrap_or(operand));
            let own = append(&mut function, node, self.ty(handle));
            copied.insert(handle, own);
        }
        function.result = *copied.get(&result)?;
        if function.expressions.len() > Function::MAX_EXPRESSIONS {
            let message = format!(
                "a combining function of {} operations; it may have {}",
                function.expressions.len(),
                Function::MAX_EXPRESSIONS
            );
            self.fail(span, message, None);
            return None;
        }
        Some(function)
    }

    fn no_function(&mut self, span: Span) -> Option<Function> {
        let advice = "compute with its two arguments and constants only, and choose with `select`";
        self.fail(
            span,
            "the combining function uses a variable, memory or control flow",
            Some(advice),
        );
        None
    }

    /// Opens a nested block.
    pub(crate) fn open(&mut self, span: Span) {
        // The verifier would say so too, of a body that nothing can walk.
        if self.depth() > verify::MAX_NESTING {
            self.fail(span, verify::Fault::NestingTooDeep.to_string(), None);
        }
        self.blocks.push(OpenBlock::default());
    }

    /// Closes the innermost block and returns it.
    pub(crate) fn close(&mut self) -> Block {
        if self.blocks.len() > 1 {
            self.blocks.pop().map(|open| open.block).unwrap_or_default()
        } else {
            Block::new()
        }
    }

    /// Closes the innermost block and continues the one around it with its statements.
    pub(crate) fn splice(&mut self) {
        let block = self.close();
        for (statement, span) in block {
            self.push(statement, span);
        }
    }

    /// How many blocks are open: 1 in straight-line code.
    pub(crate) fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// Declares a variable.
    pub(crate) fn declare(&mut self, name: &str, ty: Type) -> Handle<Local> {
        self.kernel.locals.append(Local {
            name: name.to_owned(),
            ty,
        })
    }

    /// The type of a variable.
    pub(crate) fn local_type(&self, local: Handle<Local>) -> Type {
        self.kernel.locals.get(local).map_or(Type::INDEX, |l| l.ty)
    }

    /// The policy of accesses that name none.
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Sets the policy of accesses that name none.
    pub(crate) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Refuses launches in which a bounds check is left.
    pub(crate) fn deny_guarded(&mut self) {
        self.kernel.denies_guards = true;
    }

    /// Whether accesses must be wide that do not say that they need not.
    pub(crate) fn denies_narrow(&self) -> bool {
        self.denies_narrow
    }

    /// Refuses launches in which an access is narrow that does not say that it may be.
    pub(crate) fn deny_narrow(&mut self) {
        self.denies_narrow = true;
    }
}
