//! How a kernel is made: statement by statement.

use super::verify::typing::type_of;
use super::{
    Argument, ArgumentKind, Atom, Atomic, Block, Buffer, BufferKind, Facts, Index, IndexArena, Kernel, Label, Load,
    Operation, Place, Predicate, Register, Statement, Store, Table, Type, Unroll, Use, Value, Variable,
};
use crate::element::ElementType;
use crate::ir::{BinaryOp, CompareOp, Handle, Literal, Span, UnaryOp};

/// A kernel under construction. Statements go to the innermost block that is open.
#[derive(Debug)]
pub struct Builder {
    kernel: Kernel,
    open: Vec<Block>,
    span: Span,
}

/// How much of everything there was.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    values: usize,
    variables: usize,
    registers: usize,
    labels: u32,
    sites: u32,
}

impl Builder {
    /// A kernel of blocks of so many threads, which does nothing yet.
    pub fn new(name: impl Into<String>, threads: u32) -> Self {
        let kernel = Kernel {
            name: name.into(),
            threads,
            cluster: 1,
            ..Kernel::default()
        };
        Self {
            kernel,
            open: vec![Block::new()],
            span: Span::UNKNOWN,
        }
    }

    /// A kernel whose body is made anew, with all that it has declared. Returns its body as it was.
    pub fn over(mut kernel: Kernel) -> (Self, Block) {
        let body = std::mem::take(&mut kernel.body);
        let builder = Self {
            kernel,
            open: vec![Block::new()],
            span: Span::UNKNOWN,
        };
        (builder, body)
    }

    /// The kernel. Blocks that are still open are left out.
    pub fn finish(mut self) -> Kernel {
        self.kernel.body = self.open.swap_remove(0);
        self.kernel
    }

    /// What has been declared so far; it has no body yet.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What has been declared so far, to be added to.
    pub fn kernel_mut(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// The index expressions.
    pub fn indices(&mut self) -> &mut IndexArena {
        &mut self.kernel.indices
    }

    /// From here on statements come from this place of the author's text. Returns from where they came before.
    pub fn at(&mut self, span: Span) -> Span {
        std::mem::replace(&mut self.span, span)
    }

    /// Appends a statement. Behind one that leaves the block it would never run, and is left out.
    pub fn push(&mut self, statement: Statement) {
        let span = self.span;
        if let Some(block) = self.open.last_mut().filter(|block| !block.is_left()) {
            block.push(statement, span);
        }
    }

    /// How much there is now, for [`Builder::forget`].
    pub fn mark(&self) -> Mark {
        Mark {
            values: self.kernel.values.len(),
            variables: self.kernel.variables.len(),
            registers: self.kernel.registers.len(),
            labels: self.kernel.labels,
            sites: self.kernel.sites,
        }
    }

    /// Forgets values, variables, registers, labels and sites from a mark on. No statement that stays may mention one.
    pub fn forget(&mut self, mark: Mark) {
        self.kernel.values.truncate(mark.values);
        self.kernel.variables.truncate(mark.variables);
        self.kernel.registers.truncate(mark.registers);
        self.kernel.labels = mark.labels;
        self.kernel.sites = mark.sites;
        self.kernel.indices.forget(mark.values, mark.variables);
    }

    // What is declared.

    /// Takes another argument.
    pub fn argument(&mut self, name: impl Into<String>, kind: ArgumentKind) -> Handle<Argument> {
        let name = name.into();
        self.kernel.arguments.append(Argument { name, kind })
    }

    /// Names memory.
    pub fn buffer(&mut self, name: impl Into<String>, alignment: u32, kind: BufferKind) -> Handle<Buffer> {
        let name = name.into();
        self.kernel.buffers.append(Buffer { name, alignment, kind })
    }

    /// Brings numbers along; an equal table is the same one.
    pub fn table(&mut self, words: Vec<u64>) -> Handle<Table> {
        let table = Table { words };
        let known = self.kernel.tables.iter().find(|(_, known)| **known == table);
        match known.map(|(handle, _)| handle) {
            Some(known) => known,
            None => self.kernel.tables.append(table),
        }
    }

    /// A register.
    pub fn register(&mut self, name: impl Into<String>, ty: Type) -> Handle<Register> {
        let name = name.into();
        self.kernel.registers.append(Register { name, ty })
    }

    /// A label.
    pub fn label(&mut self) -> Label {
        self.kernel.labels += 1;
        Label(self.kernel.labels - 1)
    }

    /// Another place that reports.
    pub fn site(&mut self) -> u32 {
        self.kernel.sites += 1;
        self.kernel.sites - 1
    }

    // IndexArena.

    /// A number.
    pub fn constant(&mut self, value: i64) -> Handle<Index> {
        self.indices().constant(value)
    }

    /// The thread's number in its block.
    pub fn thread(&mut self) -> Handle<Index> {
        let facts = Facts::between(0, i64::from(self.kernel.threads.max(1)) - 1);
        self.indices().atom(Atom::Thread, facts)
    }

    /// The block's number in the grid.
    pub fn block(&mut self) -> Handle<Index> {
        self.indices()
            .atom(Atom::Block, Facts::between(0, i64::from(i32::MAX) - 1))
    }

    /// The lane of a packet of `lanes`.
    pub fn lane(&mut self, lanes: u8) -> Handle<Index> {
        let facts = Facts::between(0, i64::from(lanes.max(1)) - 1);
        self.indices().atom(Atom::Lane(lanes), facts)
    }

    /// An integer argument, of which `facts` are known.
    pub fn argument_index(&mut self, argument: Handle<Argument>, facts: Facts) -> Handle<Index> {
        self.indices().atom(Atom::Argument(argument), facts)
    }

    /// The address of a buffer in global memory.
    pub fn address(&mut self, buffer: Handle<Buffer>) -> Handle<Index> {
        let facts = Facts::between(0, i64::MAX).with_divisor(self.kernel.buffers[buffer].alignment.into());
        self.indices().atom(Atom::Address(buffer), facts)
    }

    /// The address of a place in global memory.
    pub(crate) fn address_of(&mut self, place: Place) -> Handle<Index> {
        let base = match place.pointer {
            Some(pointer) => self.index(pointer.into()),
            None => self.address(place.buffer),
        };
        self.indices().add(base, place.offset)
    }

    /// An integer operand as an index: a value is extended to 64 bits by its sign.
    pub fn index(&mut self, operand: Use) -> Handle<Index> {
        match operand {
            Use::Index(index) => index,
            Use::Value(value) => {
                let facts = self.kernel.facts_of(value);
                self.indices().atom(Atom::Value(value), facts)
            }
            Use::Literal(literal) => {
                let value = literal.as_integer().unwrap_or_default();
                self.constant(value as i64)
            }
            Use::Predicate(_) => match self.index_of_condition(operand) {
                Use::Index(index) => index,
                _ => self.constant(0),
            },
        }
    }

    /// A bool as an index: 1 or 0.
    pub fn index_of_condition(&mut self, operand: Use) -> Use {
        let condition = self.condition(operand);
        let (one, zero) = (self.constant(1), self.constant(0));
        self.indices().select(condition, one, zero).into()
    }

    /// A bool operand of one lane as a condition.
    pub fn condition(&mut self, operand: Use) -> Handle<Predicate> {
        match operand {
            Use::Predicate(condition) => condition,
            Use::Value(value) => self.indices().holds(value),
            Use::Literal(literal) => self.indices().always(literal.as_bool()),
            // No index is a bool; what is not 0 counts as true.
            Use::Index(index) => {
                let zero = self.constant(0);
                let equal = self.indices().equal(index, zero);
                self.indices().not(equal)
            }
        }
    }

    /// Computes an index here and gives it a name; a constant or atom has none.
    pub fn name(&mut self, index: Handle<Index>) -> Handle<Index> {
        if self.kernel.indices.as_constant(index).is_some() || matches!(self.kernel.indices.get(index), Index::Atom(_))
        {
            return index;
        }
        let facts = self.kernel.indices.facts(index);
        let variable = self.kernel.variables.append(Variable { facts });
        self.push(Statement::Name { variable, index });
        self.indices().atom(Atom::Variable(variable), facts)
    }

    // Values.

    /// Computes a value of which `facts` are known beside its type.
    pub fn known(&mut self, operation: Operation, facts: Option<Facts>) -> Use {
        // What is wrong with it the verifier says.
        let ty = type_of(&self.kernel, &operation).unwrap_or(Type::INDEX);
        let value = self.kernel.values.append(Value { facts, ..Value::of(ty) });
        self.push(Statement::Let { value, operation });
        Use::Value(value)
    }

    /// Computes a value.
    pub fn emit(&mut self, operation: Operation) -> Use {
        self.known(operation, None)
    }

    /// An operation of one operand.
    pub fn unary(&mut self, op: UnaryOp, value: Use) -> Use {
        self.emit(Operation::Unary { op, value })
    }

    /// An operation of two operands.
    pub fn binary(&mut self, op: BinaryOp, left: Use, right: Use) -> Use {
        self.emit(Operation::Binary { op, left, right })
    }

    /// A comparison.
    pub fn compare(&mut self, op: CompareOp, left: Use, right: Use) -> Use {
        self.emit(Operation::Compare { op, left, right })
    }

    /// One of two.
    pub fn select(&mut self, condition: Use, accept: Use, reject: Use) -> Use {
        self.emit(Operation::Select {
            condition,
            accept,
            reject,
        })
    }

    /// The same bytes as another type.
    pub fn bitcast(&mut self, value: Use, to: Type) -> Use {
        if self.kernel.ty(value) == to {
            return value;
        }
        self.emit(Operation::Bitcast { value, to })
    }

    /// Neighbouring lanes of a packet.
    pub fn part(&mut self, value: Use, first: u8, lanes: u8) -> Use {
        if first == 0 && self.kernel.ty(value).lanes == lanes {
            return value;
        }
        self.emit(Operation::Part { value, first, lanes })
    }

    /// One packet of several.
    pub fn join(&mut self, parts: Vec<Use>) -> Use {
        match *parts {
            [one] => one,
            _ => self.emit(Operation::Join(parts)),
        }
    }

    /// Reads a register.
    pub fn read(&mut self, register: Handle<Register>) -> Use {
        self.emit(Operation::Read(register))
    }

    /// Reads memory.
    pub fn load(&mut self, load: Load) -> Use {
        self.emit(Operation::Load(load))
    }

    // What is done.

    /// Sets a register.
    pub fn assign(&mut self, register: Handle<Register>, value: Use) {
        self.push(Statement::Assign { register, value });
    }

    /// Writes memory.
    pub fn store(&mut self, store: Store) {
        self.push(Statement::Store(store));
    }

    /// Reads and changes memory; returns what was there before, if the element's type is one that is wanted.
    pub fn atomic(&mut self, atomic: Atomic, wanted: bool) -> Option<Use> {
        let ty = Type::scalar(atomic.element);
        let result = wanted.then(|| self.kernel.values.append(Value::of(ty)));
        self.push(Statement::Atomic(Atomic { result, ..atomic }));
        result.map(Use::Value)
    }

    /// Bytes of a buffer that has a pointer of its own, or needs none.
    pub fn place(&self, buffer: Handle<Buffer>, offset: Handle<Index>) -> Place {
        Place {
            buffer,
            pointer: None,
            offset,
        }
    }

    // What is done inside of something.

    /// What `fill` does, as a block.
    pub fn inside(&mut self, fill: impl FnOnce(&mut Self)) -> Block {
        let span = self.span;
        self.enter();
        fill(self);
        self.span = span;
        self.leave()
    }

    /// Opens a block: statements go there until [`Builder::leave`].
    pub fn enter(&mut self) {
        self.open.push(Block::new());
    }

    /// Closes the innermost block that [`Builder::enter`] has opened, and returns it.
    pub fn leave(&mut self) -> Block {
        match self.open.len() {
            0 | 1 => Block::new(),
            _ => self.open.pop().unwrap_or_default(),
        }
    }

    /// The variable of a loop from `start` to before `end`, as an index too.
    pub fn counter(
        &mut self,
        start: Handle<Index>,
        end: Handle<Index>,
        step: i64,
    ) -> (Handle<Index>, Handle<Variable>) {
        let (first, last) = (self.kernel.indices.facts(start), self.kernel.indices.facts(end));
        let facts = Facts {
            low: first.low,
            high: last.high.saturating_sub(1).max(first.low),
            divisor: first.divisor.min(Facts::constant(step).divisor),
        };
        let variable = self.kernel.variables.append(Variable { facts });
        (self.indices().atom(Atom::Variable(variable), facts), variable)
    }

    /// Does one thing where a condition holds; where it is known to, it stands here.
    pub fn when(&mut self, condition: Handle<Predicate>, accept: impl FnOnce(&mut Self)) {
        self.choose(condition, accept, |_| {});
    }

    /// Does one thing where a condition holds, another one elsewhere; what is known to be done stands here.
    pub fn choose(
        &mut self,
        condition: Handle<Predicate>,
        accept: impl FnOnce(&mut Self),
        reject: impl FnOnce(&mut Self),
    ) {
        match self.kernel.indices.is_known(condition) {
            Some(true) => accept(self),
            Some(false) => reject(self),
            None => {
                let (accept, reject) = (self.inside(accept), self.inside(reject));
                self.push(Statement::If {
                    condition,
                    accept,
                    reject,
                });
            }
        }
    }

    /// Counts from `start` to before `end`; `body` gets the number and the loop's label.
    pub fn count(
        &mut self,
        start: Handle<Index>,
        end: Handle<Index>,
        step: i64,
        unroll: Unroll,
        body: impl FnOnce(&mut Self, Handle<Index>, Label),
    ) {
        let (at, variable) = self.counter(start, end, step);
        let label = self.label();
        let body = self.inside(|b| body(b, at, label));
        self.push(Statement::For {
            label,
            variable,
            start,
            end,
            step,
            unroll,
            body,
        });
    }

    /// Does `body` again and again, until something leaves the label.
    pub fn repeat(&mut self, unroll: Unroll, body: impl FnOnce(&mut Self, Label)) {
        let label = self.label();
        let body = self.inside(|b| body(b, label));
        self.push(Statement::Loop { label, unroll, body });
    }

    /// Does `body` once; its label can be left.
    pub fn scope(&mut self, body: impl FnOnce(&mut Self, Label)) {
        let label = self.label();
        let body = self.inside(|b| body(b, label));
        self.push(Statement::Scope { label, body });
    }

    /// What is not zero of an integer, or true of a byte that may hold anything, as a bool.
    pub fn is_not_zero(&mut self, value: Use) -> Use {
        let element = self.kernel.ty(value).element;
        self.compare(CompareOp::NotEqual, value, Literal::zero(element).into())
    }

    /// The element type of an operand.
    pub fn element(&self, operand: Use) -> ElementType {
        self.kernel.ty(operand).element
    }
}
