//! What the kernel takes, and what it is called.

use std::collections::BTreeSet;

use super::Lower;
use crate::analysis::effects::Effects;
use crate::element::ElementType;
use crate::ir::{Handle, Layout, ParameterKind, Symbol};
use crate::thread::{
    self, Argument, ArgumentKind, Block, Buffer, BufferKind, Facts, Index, Load, Operation, Order, Sharing, Statement,
    Type, Use,
};

/// One argument of a kernel as it is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KernelArgument {
    /// The address of the first element of the tensor parameter at this position.
    Pointer(u32),
    /// The address of the table of the list parameter at this position: [`KernelArgument::table_words`] words of 8
    /// bytes for each tensor, and one entry, of a tensor without elements, if there is none. An entry is the address of
    /// the tensor's first element, the number of elements that the tensors before it have together, its extents, and
    /// its strides in elements.
    Table(u32),
    /// The same words as [`Table`](KernelArgument::Table) is the address of, themselves, so many of them: of a list whose length
    /// is known when its kernel is compiled, if they are few. Nobody waits for them.
    Entries {
        /// The position of the parameter.
        list: u32,
        /// How many words there are.
        words: u32,
    },
    /// The value of a launch symbol, as i64.
    Symbol(Symbol),
    /// The scalar parameter at this position, in its element type (bool as one byte).
    Scalar(u32),
    /// The address of the device-resident count at this position, and
    DeviceCount(u32),
    /// the largest value that this count may have, as i64.
    DeviceCountMaximum(u32),
    /// The address of so many u64 for each element of a tensor parameter, or of all tensors of a list, all zero.
    Marks {
        /// The position of the parameter.
        tensor: u32,
        /// 1, or 2 where loads are marked too.
        words: u32,
    },
    /// The address of the error record, six u64: the number of the report that is wanted, from 1, which whoever reads
    /// reports sets; the number of the [`TrapSite`](super::TrapSite), the program, a value and the
    /// [mark](super::MarkedBy) that was met; and the first number again, once all of them are there.
    Trap,
}

/// Where the extents begin in an entry of a [table](KernelArgument::Table).
pub(crate) const TABLE_EXTENTS: usize = 2;

impl KernelArgument {
    /// How many words a [table](KernelArgument::Table) has for each tensor of this rank.
    pub const fn table_words(rank: usize) -> usize {
        TABLE_EXTENTS + 2 * rank
    }

    /// How many words a list of so many tensors of this rank has: those of one entry there always are.
    pub const fn list_words(length: usize, rank: usize) -> usize {
        let entries = if length == 0 { 1 } else { length };
        entries * Self::table_words(rank)
    }

    /// How many words of 8 bytes it takes among the arguments of a launch.
    pub const fn words(self) -> usize {
        match self {
            Self::Entries { words, .. } => words as usize,
            _ => 1,
        }
    }
}

/// Words that CUDA passes to a kernel on every architecture and driver: 4 KiB.
pub const MAX_ARGUMENT_WORDS: usize = 512;

/// What is known of extents and counts: they are not negative.
pub(super) const EXTENT: Facts = Facts::between(0, i64::MAX);

/// What is known of how many programs a launch has on an axis: one at least, and no more than blocks and threads.
const PROGRAMS: Facts = Facts::between(1, 1 << 41);

impl Lower<'_> {
    /// The argument that passes this, which is taken if it has not been.
    pub(super) fn argument(&mut self, argument: KernelArgument) -> Handle<Argument> {
        if let Some((_, known)) = self.arguments.iter().find(|(known, _)| *known == argument) {
            return *known;
        }
        let kind = match argument {
            KernelArgument::Pointer(_)
            | KernelArgument::Table(_)
            | KernelArgument::DeviceCount(_)
            | KernelArgument::Marks { .. }
            | KernelArgument::Trap => ArgumentKind::Pointer,
            KernelArgument::Entries { words, .. } => ArgumentKind::Bytes {
                bytes: 8 * words,
                alignment: 8,
            },
            KernelArgument::Symbol(_) | KernelArgument::DeviceCountMaximum(_) => ArgumentKind::Scalar(ElementType::I64),
            KernelArgument::Scalar(position) => match self.kernel.parameters[position as usize].kind {
                ParameterKind::Scalar(element) => ArgumentKind::Scalar(element),
                ParameterKind::Tensor(_) | ParameterKind::Count => ArgumentKind::Scalar(ElementType::I64),
            },
        };
        let name = self.name_of(argument);
        let handle = self.b.argument(name, kind);
        self.arguments.push((argument, handle));
        handle
    }

    /// The author's name for a parameter, as texts can have it, and different from those of all others.
    pub(super) fn parameter_name(&self, position: u32) -> String {
        let plain = |name: &str| -> String {
            let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            name.chars().map(letter).collect()
        };
        let parameters = &self.kernel.parameters;
        let own = plain(&parameters[position as usize].name);
        let before = parameters.iter().take(position as usize);
        match before.filter(|other| plain(&other.name) == own).count() {
            0 => own,
            // Numbers of parameters are no part of the others' names.
            _ => format!("{own}__{position}"),
        }
    }

    pub(super) fn name_of(&self, argument: KernelArgument) -> String {
        let name = |position| self.parameter_name(position);
        match argument {
            KernelArgument::Pointer(position) => name(position),
            KernelArgument::Table(position) => format!("table_{}", name(position)),
            KernelArgument::Entries { list, .. } => format!("entries_{}", name(list)),
            KernelArgument::Marks { tensor, .. } => format!("marks_{}", name(tensor)),
            KernelArgument::Trap => "record".to_owned(),
            KernelArgument::DeviceCount(position) => format!("at_{}", name(position)),
            KernelArgument::DeviceCountMaximum(position) => format!("most_{}", name(position)),
            KernelArgument::Scalar(position) => format!("value_{}", name(position)),
            KernelArgument::Symbol(symbol) => match symbol {
                Symbol::ProgramId(axis) => format!("program_{axis}"),
                Symbol::NumPrograms(axis) => format!("programs_{axis}"),
                Symbol::Extent { tensor, axis } => format!("extent_{}_{axis}", name(tensor)),
                Symbol::Stride { tensor, axis } => format!("stride_{}_{axis}", name(tensor)),
                Symbol::Count(count) => format!("count_{}", name(count)),
            },
        }
    }

    /// The memory of a tensor parameter.
    pub(super) fn buffer(&mut self, tensor: u32) -> Handle<Buffer> {
        if let Some(known) = self.buffers.get(&tensor) {
            return *known;
        }
        let sharing = self.sharing(tensor);
        let argument = self.argument(KernelArgument::Pointer(tensor));
        let name = self.parameter_name(tensor);
        let alignment = self.kernel.tensor(tensor).map_or(1, |tensor| tensor.alignment);
        let kind = BufferKind::Global { argument, sharing };
        let buffer = self.b.buffer(name, alignment, kind);
        self.buffers.insert(tensor, buffer);
        buffer
    }

    /// Who writes a tensor while the kernel runs.
    pub(super) fn sharing(&self, tensor: u32) -> Sharing {
        match () {
            // A wait lets other kernels finish what they write.
            () if self.effects.waits || self.effects.is_shared(tensor) => Sharing::Shared,
            () if self.effects.is_changing(tensor) => Sharing::Private,
            () => Sharing::ReadOnly,
        }
    }

    /// A launch symbol.
    pub(super) fn symbol(&mut self, symbol: Symbol) -> Handle<Index> {
        if let Some(value) = self.kernel.bindings.exact(symbol) {
            return self.b.constant(value);
        }
        match symbol {
            Symbol::ProgramId(axis) => self.program_id(axis),
            Symbol::Count(count) => match self.kernel.bindings.device(count) {
                Some(element) => self.device_count(count, element),
                None => self.passed(symbol, EXTENT),
            },
            Symbol::Extent { .. } => self.passed(symbol, EXTENT),
            Symbol::NumPrograms(_) => self.passed(symbol, PROGRAMS),
            Symbol::Stride { tensor, axis } => self.stride(tensor, axis),
        }
    }

    fn passed(&mut self, symbol: Symbol, facts: Facts) -> Handle<Index> {
        let argument = self.argument(KernelArgument::Symbol(symbol));
        self.b.argument_index(argument, facts)
    }

    /// From one element to the next on an axis, as a factor of an index.
    fn stride(&mut self, tensor: u32, axis: u8) -> Handle<Index> {
        let symbol = Symbol::Stride { tensor, axis };
        match self.kernel.tensor(tensor).map(|tensor| (tensor.layout, tensor.rank)) {
            Some((Layout::Contiguous | Layout::Rows { .. }, rank)) if axis + 1 == rank => self.b.constant(1),
            Some((Layout::Contiguous, rank)) => {
                let mut stride = self.b.constant(1);
                for axis in axis + 1..rank {
                    let extent = self.symbol(Symbol::Extent { tensor, axis });
                    stride = self.b.indices().multiply(stride, extent);
                }
                stride
            }
            Some((Layout::Rows { multiple }, _)) => self.passed(symbol, Facts::NONE.with_divisor(multiple.into())),
            _ => self.passed(symbol, Facts::NONE),
        }
    }

    /// A count that is read from device memory, within its bounds.
    fn device_count(&mut self, count: u32, element: ElementType) -> Handle<Index> {
        let pointer = KernelArgument::DeviceCount(count);
        let argument = self.argument(pointer);
        let name = self.name_of(pointer);
        let known = self.b.kernel().buffers.iter().find(|(_, buffer)| buffer.name == name);
        let sharing = match self.effects.waits {
            true => Sharing::Shared,
            false => Sharing::ReadOnly,
        };
        let buffer = match known.map(|(buffer, _)| buffer) {
            Some(buffer) => buffer,
            None => {
                let kind = BufferKind::Global { argument, sharing };
                self.b.buffer(name, element.size() as u32, kind)
            }
        };
        let start = self.b.constant(0);
        let loaded = self.b.load(Load {
            place: self.b.place(buffer, start),
            ty: Type::scalar(element),
            order: Order::Weak,
            cache: None,
            read_only: sharing == Sharing::ReadOnly,
            predicate: None,
        });
        let most = self.argument(KernelArgument::DeviceCountMaximum(count));
        let most = self.b.argument_index(most, EXTENT);
        let loaded = self.b.index(loaded);
        let zero = self.b.constant(0);
        let within = self.b.indices().maximum(loaded, zero);
        self.b.indices().minimum(within, most)
    }

    /// A scalar parameter.
    pub(super) fn scalar_argument(&mut self, position: u32) -> Use {
        let argument = self.argument(KernelArgument::Scalar(position));
        match self.b.kernel().arguments[argument].kind {
            ArgumentKind::Scalar(ElementType::I64) => self.b.argument_index(argument, Facts::NONE).into(),
            _ => self.b.emit(crate::thread::Operation::Argument(argument)),
        }
    }
}

/// Loads counts of device memory together, where the first of them is loaded: they are there whatever a program finds out, and where one
/// waits for another, it takes a program as many times as long to know where its rows lie.
///
/// Not in a kernel that waits: what others write until then is loaded behind that.
pub(super) fn load_counts_together(
    thread: &mut thread::Kernel,
    arguments: &[(KernelArgument, Handle<Argument>)],
    effects: &Effects,
) {
    if effects.waits || effects.atomics.waits {
        return;
    }
    let is_count = |argument| {
        let of = arguments.iter().find(|(_, handle)| *handle == argument);
        matches!(of, Some((KernelArgument::DeviceCount(_), _)))
    };
    let buffers = thread.buffers.iter();
    let counts: Vec<_> = buffers
        .filter(|(_, buffer)| matches!(buffer.kind, BufferKind::Global { argument, .. } if is_count(argument)))
        .map(|(handle, _)| handle)
        .collect();
    if counts.len() > 1 {
        thread.body = together(std::mem::take(&mut thread.body), &counts);
    }
}

/// How many counts wait in registers at most: a fused call has those of every part.
const MOST_COUNTS: usize = 4;

/// A block with what it loads of these buffers behind the first such load that is not in a block within it.
fn together(block: Block, counts: &[Handle<Buffer>]) -> Block {
    let block: Block = block
        .into_iter()
        .map(|(statement, span)| (statement.map_blocks(|inner| together(inner, counts)), span))
        .collect();
    let Some(first) = block
        .iter()
        .position(|(statement, _)| loaded(statement, counts).is_some())
    else {
        return block;
    };
    let mut found = BTreeSet::new();
    block.walk(&mut |statement, _| found.extend(loaded(statement, counts)));
    if found.len() > MOST_COUNTS {
        return block;
    }
    let mut statements = block.into_iter();
    let before: Vec<_> = statements.by_ref().take(first).collect();
    let mut loads = Block::new();
    let rest = without_loads(statements.collect(), counts, &mut loads);
    before.into_iter().chain(loads).chain(rest).collect()
}

/// The buffer among these that a statement loads from.
fn loaded(statement: &Statement, buffers: &[Handle<Buffer>]) -> Option<Handle<Buffer>> {
    match statement {
        Statement::Let {
            operation: Operation::Load(load),
            ..
        } => Some(load.place.buffer).filter(|buffer| buffers.contains(buffer)),
        _ => None,
    }
}

/// A block without the loads from these buffers, which are appended to `loads`.
fn without_loads(block: Block, buffers: &[Handle<Buffer>], loads: &mut Block) -> Block {
    let mut rest = Block::new();
    for (statement, span) in block {
        match loaded(&statement, buffers) {
            Some(_) => loads.push(statement, span),
            None => rest.push(statement.map_blocks(|block| without_loads(block, buffers, loads)), span),
        }
    }
    rest
}
