//! Programs that end because of what one of their threads has found: the others learn it from a word that they share.

use super::{Lower, LowerError};
use crate::element::ElementType;
use crate::ir::{CompareOp, Literal, MemoryOrder, MemoryScope};
use crate::thread::{self, Order, Place, Store};

impl Lower<'_> {
    /// Before anything can end the program: nothing has.
    pub(super) fn prepare_ending(&mut self) -> Result<(), LowerError> {
        if !self.effects.atomics.waits && !self.effects.checks_tiles {
            return Ok(());
        }
        // The program's, until it ends.
        let buffer = self.shared(ElementType::U32, 1)?;
        let start = self.b.constant(0);
        let over = self.element_place(buffer, start, ElementType::U32);
        self.once(|lower| {
            lower.put(over, Literal::new(0u32).into());
            Ok(())
        })?;
        self.order.over = true;
        self.over = Some(over);
        Ok(())
    }

    /// The program ends, if some of its threads find that it does as `find` is lowered, by [saying so](Self::say_over) in the word
    /// that it is given. Behind it everybody has met.
    pub(super) fn end_if_found(
        &mut self,
        find: impl FnOnce(&mut Self, Place) -> Result<(), LowerError>,
    ) -> Result<(), LowerError> {
        let Some(over) = self.over else {
            return self.defect("an end that was not foreseen");
        };
        if self.order.over {
            self.barrier();
        }
        find(self, over)?;
        self.barrier();
        let is_over = self.fetch(over, ElementType::U32, ElementType::U32);
        self.order.over = true;
        let is_over = self.b.compare(CompareOp::NotEqual, is_over, Literal::new(0u32).into());
        let condition = self.b.condition(is_over);
        let accept = self.inside(|lower| {
            lower.end_program();
            Ok(())
        })?;
        self.b.push(thread::Statement::If {
            condition,
            accept,
            reject: thread::Block::new(),
        });
        Ok(())
    }

    /// Says that the program ends, as several threads may.
    pub(super) fn say_over(&mut self, over: Place) {
        self.b.store(Store {
            place: over,
            block: None,
            value: Literal::new(1u32).into(),
            order: Order::Strong(MemoryOrder::Relaxed, MemoryScope::Block),
            cache: None,
            predicate: self.needed,
        });
    }
}
