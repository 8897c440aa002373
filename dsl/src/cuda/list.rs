//! Which tensor an access is to: a parameter, or one of a list, which is looked up in the list's table.

use std::ops::Range;

use super::KernelArgument;
use super::types::memory_type;
use super::writer::{ArgumentOrder, Writer};
use crate::ir::{Access, Expression, Handle, Layout, Span, Symbol};
use crate::lower::TABLE_EXTENTS;

/// The tensor of an access.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    tensor: u32,
    /// Of one of a list, its index and the name of its entry in the table.
    entry: Option<(Handle<Expression>, String)>,
}

impl Subject {
    /// The axes of the tensor, as the access counts them: the first index of one of a list says which it is.
    pub(super) fn axes(&self, access: &Access) -> Range<usize> {
        usize::from(self.entry.is_some())..access.indices.len()
    }
}

impl Writer<'_> {
    /// The tensor of an access. Of a list, `conditions` get what must hold for it to be there, and its entry of the table is
    /// found; where it is not there, that is the first entry, which there always is.
    pub(super) fn subject(
        &mut self,
        access: &Access,
        span: Span,
        mask: Option<&str>,
        conditions: &mut Vec<String>,
    ) -> Subject {
        let tensor = access.tensor;
        if self.list(tensor).is_none() {
            return Subject { tensor, entry: None };
        }
        let index = self.scalar(access.indices[0]);
        let index = self.checked(access, None, 0, index, span, mask, conditions);
        let key = (
            access.indices[0],
            vec![format!("entry {tensor} {} {:?}", access.bounds, access.guards[0])],
        );
        let known = self.pulled.iter().rev().find_map(|scope| scope.get(&key)).cloned();
        let entry = known.unwrap_or_else(|| {
            let inside = if access.guards[0].any() {
                let length = self.symbol(Symbol::Extent { tensor, axis: 0 });
                format!("((unsigned long long){index} < (unsigned long long){length} ? (long long){index} : 0LL)")
            } else {
                format!("(long long){index}")
            };
            self.arguments.insert(ArgumentOrder::Table(tensor));
            let table = self.table_name(tensor);
            let entry = format!("{table} + {inside} * {}", self.entry_words(tensor));
            self.define("entry", "unsigned long long*", &entry)
        });
        if let Some(scope) = self.pulled.last_mut() {
            scope.insert(key, entry.clone());
        }
        Subject {
            tensor,
            entry: Some((access.indices[0], entry)),
        }
    }

    /// The extent of an axis, as the access counts axes.
    pub(super) fn extent(&mut self, subject: &Subject, axis: usize) -> String {
        let (tensor, number) = (subject.tensor, axis as u8);
        match &subject.entry {
            Some(entry) if self.kernel.differs(tensor, number) => {
                self.entry_word(entry, TABLE_EXTENTS + axis - 1, "long long")
            }
            _ => self.symbol(Symbol::Extent { tensor, axis: number }),
        }
    }

    /// The stride of an axis, as the access counts axes.
    pub(super) fn stride(&mut self, subject: &Subject, axis: usize) -> String {
        let (tensor, number) = (subject.tensor, axis as u8);
        let Some(entry) = &subject.entry else {
            return self.symbol(Symbol::Stride { tensor, axis: number });
        };
        let (layout, rank) = self.list(tensor).unwrap_or((Layout::Strided, 1));
        match layout {
            Layout::Contiguous | Layout::Rows { .. } if axis + 1 == rank => "1LL".to_owned(),
            Layout::Contiguous => {
                let inner: Vec<String> = (axis + 1..rank).map(|axis| self.extent(subject, axis)).collect();
                format!("({})", inner.join(" * "))
            }
            _ => self.entry_word(entry, TABLE_EXTENTS + rank - 1 + axis - 1, "long long"),
        }
    }

    /// The pointer to the first element.
    pub(super) fn pointer(&mut self, subject: &Subject) -> String {
        let tensor = subject.tensor;
        let Some(entry) = &subject.entry else {
            self.arguments.insert(ArgumentOrder::Pointer(tensor));
            return self.parameters[tensor as usize].clone();
        };
        let constant = if self.effects.is_changing(tensor) { "" } else { "const " };
        let ty = format!("{constant}{}*", memory_type(self.element(tensor)));
        self.entry_word(entry, 0, &ty)
    }

    /// How many elements the tensors before this one have; 0 of a tensor that is in no list.
    pub(super) fn elements_before(&mut self, subject: &Subject) -> String {
        match &subject.entry {
            Some(entry) => self.entry_word(entry, 1, "long long"),
            None => "0LL".to_owned(),
        }
    }

    /// The extent or stride of one tensor of a list.
    pub(super) fn of_member(&mut self, symbol: Symbol, access: &Access, span: Span) -> String {
        let mut conditions = Vec::new();
        let subject = self.subject(access, span, None, &mut conditions);
        let value = match symbol {
            Symbol::Stride { axis, .. } => self.stride(&subject, usize::from(axis)),
            Symbol::Extent { axis, .. } => self.extent(&subject, usize::from(axis)),
            // The verifier has seen one of both.
            _ => "0LL".to_owned(),
        };
        match super::access::join(conditions) {
            Some(condition) => format!("({condition} ? {value} : 0LL)"),
            None => value,
        }
    }

    /// A word of an entry.
    fn entry_word(&mut self, (member, entry): &(Handle<Expression>, String), word: usize, ty: &str) -> String {
        let place = format!("{entry}[{word}]");
        let key = (*member, vec![place.clone()]);
        if let Some(known) = self.pulled.iter().rev().find_map(|scope| scope.get(&key)) {
            return known.clone();
        }
        let name = self.fresh("member");
        // That the address is one of global memory the compiler cannot see.
        let value = match word {
            0 => format!("__cvta_global_to_generic({place})"),
            _ => place.clone(),
        };
        self.line(format!("{ty} const {name} = ({ty}){value};"));
        if let Some(scope) = self.pulled.last_mut() {
            scope.insert(key, name.clone());
        }
        name
    }

    /// The layout of a list, and its axes with its own.
    fn list(&self, tensor: u32) -> Option<(Layout, usize)> {
        let parameter = self.kernel.tensor(tensor)?;
        parameter.list.map(|_| (parameter.layout, usize::from(parameter.rank)))
    }

    fn entry_words(&self, tensor: u32) -> usize {
        let rank = self.list(tensor).map_or(1, |(_, rank)| rank);
        KernelArgument::table_words(rank - 1)
    }

    pub(super) fn table_name(&self, tensor: u32) -> String {
        format!("table_{}", self.parameters[tensor as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::{Module, lower};
    use crate::element::ElementType;
    use crate::ir::verify::build::Builder;
    use crate::schedule::{Machine, choose};

    fn lowered(b: Builder) -> Module {
        let kernel = b.launch(4);
        lower(&kernel, &choose(&kernel, &Machine::H200, 4)).unwrap()
    }

    #[test]
    fn where_a_list_lacks_a_tensor_the_first_entry_is_read_and_nothing_else() {
        let mut b = Builder::new("listed");
        let (list, out) = (
            b.list("list", ElementType::F32, 2),
            b.tensor("out", ElementType::F32, 1),
        );
        let (which, row) = (b.scalar("which", ElementType::I64), b.index(1));
        let value = b.load(list, &[which, row, row]);
        b.store(out, &[row], value);
        let Module { text, arguments, .. } = lowered(b);
        let source = text.as_str();
        assert!(
            arguments.contains(&KernelArgument::Table(list)) && !arguments.contains(&KernelArgument::Pointer(list))
        );
        let entry = "table_p_list + ((unsigned long long)p_which < (unsigned long long)extent_p_list_0 ? (long long)p_which : 0LL) * 6;";
        assert_eq!(source.matches(entry).count(), 1, "{source}");
    }

    #[test]
    fn an_entry_is_found_once_for_all_that_is_asked_of_it() {
        let mut b = Builder::new("listed");
        let (list, out) = (
            b.list("list", ElementType::I64, 2),
            b.tensor("out", ElementType::I64, 1),
        );
        let (which, row) = (b.program(0), b.index(1));
        let rows = b.of_member(Symbol::Extent { tensor: list, axis: 1 }, list, which);
        let columns = b.of_member(Symbol::Extent { tensor: list, axis: 2 }, list, which);
        let value = b.load(list, &[which, row, row]);
        let sum = b.add(rows, columns);
        let sum = b.add(sum, value);
        b.store(out, &[row], sum);
        let source = lowered(b).text.as_str().to_owned();
        assert_eq!(source.matches("table_p_list + ").count(), 1, "{source}");
        // Both extents, both strides and the address.
        assert_eq!(source.matches("const member").count(), 5, "{source}");
    }
}
