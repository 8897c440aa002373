//! The arguments of a launch on a GPU as words, kept for the next one.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use tilewright_dsl::call::Call;
use tilewright_dsl::ir::Symbol;
use tilewright_dsl::lower::KernelArgument;

use super::Variant;
use crate::arguments::word_of;
use crate::hardware::cuda::CudaStream;
use crate::hardware::memory::InOrder;
use crate::hardware::tables::Table;

/// The words of the arguments of a site's last launch, for the next one over the same tensors. It is refilled where it lies.
#[derive(Default)]
pub(crate) struct KeptWords {
    /// What they are the arguments of, if they are kept.
    variant: Option<Arc<Variant>>,
    words: Vec<AtomicU64>,
    /// Where each of them is.
    pointers: Vec<AtomicPtr<c_void>>,
    /// Those that differ from launch to launch.
    changing: Vec<(usize, KernelArgument)>,
    /// What some of the words are the addresses of; a stream that reads them.
    tables: Vec<Arc<Table>>,
    reader: usize,
    order: InOrder,
}

impl KeptWords {
    /// The tensors are others now, or the variant is to be let go.
    pub(super) fn clear(&mut self) {
        self.variant = None;
        self.tables.clear();
        self.order.clear();
    }

    /// Keeps the words of a launch that a variant serves.
    pub(crate) fn keep(
        &mut self,
        variant: &Arc<Variant>,
        wanted: &[KernelArgument],
        words: &[u64],
        tables: impl IntoIterator<Item = Arc<Table>>,
        reader: &CudaStream,
    ) {
        self.clear();
        self.changing.clear();
        for (at, &wanted) in wanted.iter().enumerate() {
            let is_changing = match wanted {
                KernelArgument::Symbol(Symbol::Extent { .. } | Symbol::Stride { .. }) => false,
                KernelArgument::Symbol(_) | KernelArgument::Scalar(_) | KernelArgument::DeviceCountMaximum(_) => true,
                KernelArgument::Pointer(_)
                | KernelArgument::DeviceCount(_)
                | KernelArgument::Table(_)
                | KernelArgument::Trap => false,
                // New memory at each launch.
                KernelArgument::Marks { .. } => return,
            };
            if is_changing {
                self.changing.push((at, wanted));
            }
        }
        self.words.clear();
        self.words.extend(words.iter().copied().map(AtomicU64::new));
        self.pointers.clear();
        // Words stay where they are until they are kept anew.
        self.pointers
            .extend(self.words.iter().map(|word| AtomicPtr::new(word.as_ptr().cast())));
        self.tables.extend(tables);
        self.reader = reader.identity();
        self.variant = Some(variant.clone());
    }

    /// Pointers to the words of a launch that a variant serves, if they were kept of another one that it served. Tables have
    /// to know of each
    /// stream and graph that reads them.
    pub(crate) fn of(
        &mut self,
        call: &Call<'_>,
        grid: [u64; 3],
        variant: &Arc<Variant>,
        stream: &CudaStream,
    ) -> Option<(&mut [*mut c_void], &mut InOrder)> {
        let is_kept = self.variant.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, variant));
        let is_reader = || self.reader == stream.identity() && !stream.is_lent() && stream.is_capturing() == Ok(false);
        if !is_kept || !self.tables.is_empty() && !is_reader() {
            return None;
        }
        for &(at, wanted) in &self.changing {
            self.words[at].store(word_of(call, grid, wanted)?, Relaxed);
        }
        // SAFETY: an `AtomicPtr` has the layout of a pointer, and nobody else has these while they are borrowed.
        let pointers = unsafe { slice::from_raw_parts_mut(self.pointers.as_mut_ptr().cast(), self.pointers.len()) };
        Some((pointers, &mut self.order))
    }
}
