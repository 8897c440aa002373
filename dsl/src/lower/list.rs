//! Which tensor an access is to: a parameter, or one of a list, which is looked up in the list's table.

use super::argument::{EXTENT, MAX_ARGUMENT_WORDS};
use super::point::Point;
use super::{KernelArgument, Lower, LowerError, TABLE_EXTENTS};
use crate::element::ElementType;
use crate::ir::{Access, Handle, Layout, Parameter, ParameterKind, Shape, Symbol};
use crate::thread::{Buffer, BufferKind, Facts, Index, Load, Operation, Order, Place, Predicate, Sharing, Type, Use};

/// The tensor of an access.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    tensor: u32,
    /// Of one of a list, where its entry begins in the table, in bytes.
    entry: Option<Handle<Index>>,
}

impl Subject {
    /// Which axes of the access are the tensor's: the first index of one of a list says which it is.
    pub(super) fn axes(&self, access: &Access) -> std::ops::Range<usize> {
        usize::from(self.entry.is_some())..access.indices.len()
    }
}

impl Lower<'_> {
    /// The tensor of an element of an access. Of a list, `conditions` get what must hold for it to be there, and where it is not
    /// there, its entry is the first one, which there always is.
    pub(super) fn subject(
        &mut self,
        access: &Access,
        (point, shape): (&Point, Shape),
        mask: Handle<Predicate>,
        conditions: &mut Vec<Handle<Predicate>>,
    ) -> Result<Subject, LowerError> {
        let tensor = access.tensor;
        let list = self.kernel.tensor(tensor).filter(|parameter| parameter.list.is_some());
        let Some(rank) = list.map(|parameter| usize::from(parameter.rank)) else {
            return Ok(Subject { tensor, entry: None });
        };
        let which = self.index_at(access, 0, point, shape)?;
        let index = self.checked(access, None, 0, which, mask, conditions);
        let index = match access.guards[0].any() {
            true => {
                let length = self.symbol(Symbol::Extent { tensor, axis: 0 });
                let zero = self.b.constant(0);
                let there = self.b.indices().within(index, length);
                self.b.indices().select(there, index, zero)
            }
            false => index,
        };
        let bytes = 8 * KernelArgument::table_words(rank - 1) as i64;
        let entry = self.b.indices().scale(index, bytes);
        let entry = Some(entry);
        Ok(Subject { tensor, entry })
    }

    /// The extent of an axis, as the access counts axes.
    pub(super) fn extent(&mut self, subject: Subject, axis: usize) -> Handle<Index> {
        let (tensor, number) = (subject.tensor, axis as u8);
        match subject.entry {
            Some(entry) if self.kernel.differs(tensor, number) => {
                let word = self.word(tensor, entry, TABLE_EXTENTS + axis - 1, ElementType::I64, Some(EXTENT));
                self.b.index(word)
            }
            _ => self.symbol(Symbol::Extent { tensor, axis: number }),
        }
    }

    /// From one element to the next on an axis, as the access counts axes; a factor of an index.
    pub(super) fn stride_of(&mut self, subject: Subject, axis: usize) -> Handle<Index> {
        let (tensor, number) = (subject.tensor, axis as u8);
        let Some(entry) = subject.entry else {
            return self.symbol(Symbol::Stride { tensor, axis: number });
        };
        let parameter = self.kernel.tensor(tensor);
        let (layout, rank) = parameter.map_or((Layout::Strided, 1), |parameter| {
            (parameter.layout, usize::from(parameter.rank))
        });
        match layout {
            Layout::Contiguous | Layout::Rows { .. } if axis + 1 == rank => self.b.constant(1),
            Layout::Contiguous => {
                let mut stride = self.b.constant(1);
                for axis in axis + 1..rank {
                    let extent = self.extent(subject, axis);
                    stride = self.b.indices().multiply(stride, extent);
                }
                stride
            }
            _ => {
                let multiple = match layout {
                    Layout::Rows { multiple } => multiple.into(),
                    _ => 1,
                };
                let facts = Facts::NONE.with_divisor(multiple);
                let word = TABLE_EXTENTS + rank - 1 + axis - 1;
                let word = self.word(tensor, entry, word, ElementType::I64, Some(facts));
                self.b.index(word)
            }
        }
    }

    /// How many elements the tensors before it in its list have together.
    pub(super) fn elements_before(&mut self, subject: Subject) -> Handle<Index> {
        match subject.entry {
            Some(entry) => {
                let word = self.word(subject.tensor, entry, 1, ElementType::I64, Some(EXTENT));
                self.b.index(word)
            }
            None => self.b.constant(0),
        }
    }

    /// The memory of the tensor, at an offset.
    pub(super) fn place_in(&mut self, subject: Subject, offset: Handle<Index>) -> Place {
        let tensor = subject.tensor;
        let Some(entry) = subject.entry else {
            let buffer = self.buffer(tensor);
            return self.b.place(buffer, offset);
        };
        let alignment = self.kernel.tensor(tensor).map_or(1, |tensor| tensor.alignment);
        let facts = Facts::NONE.with_divisor(alignment.into());
        let pointer = match self.word(tensor, entry, 0, ElementType::U64, Some(facts)) {
            Use::Value(pointer) => Some(pointer),
            _ => None,
        };
        Place {
            buffer: self.listed(tensor, alignment),
            pointer,
            offset,
        }
    }

    fn listed(&mut self, tensor: u32, alignment: u32) -> Handle<Buffer> {
        if let Some(known) = self.buffers.get(&tensor) {
            return *known;
        }
        let sharing = self.sharing(tensor);
        let name = self.parameter_name(tensor);
        let buffer = self.b.buffer(name, alignment, BufferKind::Listed { sharing });
        self.buffers.insert(tensor, buffer);
        buffer
    }

    /// How the words of a list are passed: as an argument if it is known to be short, and that leaves room for all others.
    fn table(&self, tensor: u32) -> KernelArgument {
        let of = |argument: KernelArgument, tensor: u32| match argument {
            KernelArgument::Table(list) | KernelArgument::Entries { list, .. } => list == tensor,
            _ => false,
        };
        let known = self.arguments.iter().map(|(argument, _)| *argument);
        if let Some(known) = known.clone().find(|argument| of(*argument, tensor)) {
            return known;
        }
        let entries = known.filter(|argument| matches!(argument, KernelArgument::Entries { .. }));
        let taken: usize = entries.map(KernelArgument::words).sum();
        let room = MAX_ARGUMENT_WORDS.saturating_sub(self.most_other_words() + taken);
        match self.entry_words(tensor) {
            Some(words) if words <= room => KernelArgument::Entries {
                list: tensor,
                words: words as u32,
            },
            _ => KernelArgument::Table(tensor),
        }
    }

    /// The words of a list that is known to be short.
    fn entry_words(&self, tensor: u32) -> Option<usize> {
        let rank = usize::from(self.kernel.tensor(tensor)?.rank) - 1;
        Some(KernelArgument::list_words(self.kernel.short_list(tensor)?, rank))
    }

    /// At least as many words as the arguments take that are no entries of lists.
    fn most_other_words(&self) -> usize {
        let most = |parameter: &Parameter| match &parameter.kind {
            // Where it is, its extents, its strides and its marks.
            ParameterKind::Tensor(tensor) => 2 + 2 * usize::from(tensor.rank),
            ParameterKind::Count => 2,
            ParameterKind::Scalar(_) => 1,
        };
        // Besides, the programs on each axis, and the record.
        self.kernel.parameters.iter().map(most).sum::<usize>() + 3 + 1
    }

    /// A word of an entry of a list's table, which nothing writes while a kernel runs that has it.
    fn word(
        &mut self,
        tensor: u32,
        entry: Handle<Index>,
        word: usize,
        element: ElementType,
        facts: Option<Facts>,
    ) -> Use {
        let key = (tensor, entry, word);
        if let Some(known) = self.words.iter().rev().find_map(|scope| scope.get(&key)) {
            return *known;
        }
        let table = self.table(tensor);
        let argument = self.argument(table);
        let name = self.name_of(table);
        let known = self.b.kernel().buffers.iter().find(|(_, buffer)| buffer.name == name);
        let kind = match table {
            KernelArgument::Entries { .. } => BufferKind::Parameter { argument },
            _ => BufferKind::Global {
                argument,
                sharing: Sharing::ReadOnly,
            },
        };
        let buffer = match known.map(|(buffer, _)| buffer) {
            Some(buffer) => buffer,
            None => self.b.buffer(name, 8, kind),
        };
        let offset = self.b.indices().offset(entry, 8 * word as i64);
        let load = Load {
            place: self.b.place(buffer, offset),
            ty: Type::scalar(element),
            order: Order::Weak,
            cache: None,
            read_only: matches!(kind, BufferKind::Global { .. }),
            predicate: None,
        };
        let value = self.b.known(Operation::Load(load), facts);
        if let Some(scope) = self.words.last_mut() {
            scope.insert(key, value);
        }
        value
    }

    /// The extent or stride of one tensor of a list.
    pub(super) fn member(&mut self, symbol: Symbol, access: &Access) -> Result<Use, LowerError> {
        let mut conditions = Vec::new();
        let always = self.b.indices().always(true);
        let subject = self.subject(access, (&Point::new(), Shape::SCALAR), always, &mut conditions)?;
        let value = match symbol {
            Symbol::Stride { axis, .. } => self.stride_of(subject, usize::from(axis)),
            Symbol::Extent { axis, .. } => self.extent(subject, usize::from(axis)),
            // The verifier has seen one of both.
            _ => self.b.constant(0),
        };
        let zero = self.b.constant(0);
        let there = self.b.indices().all(conditions);
        Ok(self.b.indices().select(there, value, zero).into())
    }
}
