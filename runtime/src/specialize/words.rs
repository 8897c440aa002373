//! The arguments of a launch on a GPU as words, kept for the next one.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ops::Range;
use std::slice;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use tilewright_dsl::call::Call;
use tilewright_dsl::ir::Symbol;
use tilewright_dsl::lower::KernelArgument;

use super::Variant;
use crate::arguments::{list_of, word_of, words_of};
use crate::hardware::cuda::CudaStream;
use crate::hardware::memory::InOrder;
use crate::hardware::tables::Table;

/// A site has those of so many variants.
const MAX_VARIANTS: usize = 4;

/// The words of the arguments of a site's launches, for the next one that the same variant serves.
#[derive(Default)]
pub(crate) struct KeptWords {
    variants: [VariantWords; MAX_VARIANTS],
    /// Whose place is taken next.
    next: usize,
}

/// The words of a variant's last launch. Those that are others in the next one are refilled where they lie.
#[derive(Default)]
pub(crate) struct VariantWords {
    /// What they are the arguments of; it may make room.
    variant: Weak<Variant>,
    words: Vec<AtomicU64>,
    /// Where each argument's are.
    pointers: Vec<AtomicPtr<c_void>>,
    /// Those that differ from launch to launch, and those that the tensors say.
    changing: Vec<(usize, KernelArgument)>,
    of_tensors: Vec<(usize, KernelArgument)>,
    /// Which words are those of lists, and of which, by their positions.
    of_lists: Vec<(Range<usize>, u32)>,
    /// Whether the tensors are others than in that launch.
    have_moved: bool,
    /// What some of the words are the addresses of; a stream that reads them.
    tables: Vec<Arc<Table>>,
    reader: usize,
    order: InOrder,
}

impl KeptWords {
    /// The tensors are others now, or lie elsewhere; in the same memory or not.
    pub(super) fn moved(&mut self, is_same_memory: bool) {
        self.variants.iter_mut().for_each(|words| words.moved(is_same_memory));
    }

    /// Those of a variant's last launch, if they were kept.
    pub(crate) fn of(&mut self, variant: &Arc<Variant>) -> Option<&mut VariantWords> {
        self.variants.iter_mut().find(|words| words.are_of(variant))
    }

    /// A place for those of a variant's launch: its own, one that is free, or that of another.
    pub(crate) fn place_for(&mut self, variant: &Arc<Variant>) -> &mut VariantWords {
        let find = |may_be: &dyn Fn(&VariantWords) -> bool| self.variants.iter().position(may_be);
        let found = find(&|words| words.are_of(variant)).or_else(|| find(&|words| words.variant.strong_count() == 0));
        let at = found.unwrap_or_else(|| {
            self.next = (self.next + 1) % MAX_VARIANTS;
            self.next
        });
        &mut self.variants[at]
    }
}

impl VariantWords {
    fn are_of(&self, variant: &Arc<Variant>) -> bool {
        self.variant.as_ptr() == Arc::as_ptr(variant)
    }

    fn moved(&mut self, is_same_memory: bool) {
        self.have_moved = true;
        if !is_same_memory {
            self.order.clear();
        }
        // Tables are found by what they say.
        if !self.tables.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.variant = Weak::new();
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
        self.of_tensors.clear();
        self.of_lists.clear();
        self.have_moved = false;
        let starts = wanted.iter().scan(0, |next, argument| {
            let start = *next;
            *next += argument.words();
            Some(start)
        });
        for (at, &wanted) in starts.clone().zip(wanted) {
            match wanted {
                KernelArgument::Symbol(Symbol::Extent { .. } | Symbol::Stride { .. })
                | KernelArgument::Pointer(_)
                | KernelArgument::DeviceCount(_) => self.of_tensors.push((at, wanted)),
                KernelArgument::Symbol(_) | KernelArgument::Scalar(_) | KernelArgument::DeviceCountMaximum(_) => {
                    self.changing.push((at, wanted));
                }
                KernelArgument::Entries { list, .. } => self.of_lists.push((at..at + wanted.words(), list)),
                KernelArgument::Table(_) | KernelArgument::Trap => {}
                // New memory at each launch.
                KernelArgument::Marks { .. } => return,
            }
        }
        self.words.clear();
        self.words.extend(words.iter().copied().map(AtomicU64::new));
        self.pointers.clear();
        // Words stay where they are until they are kept anew.
        self.pointers
            .extend(starts.map(|start| AtomicPtr::new(self.words[start..].as_ptr().cast_mut().cast())));
        self.tables.extend(tables);
        self.reader = reader.identity();
        self.variant = Arc::downgrade(variant);
    }

    /// Pointers to the words of another launch that the variant serves. Tables have to know of each stream and graph that reads
    /// them.
    pub(crate) fn refilled(
        &mut self,
        call: &Call<'_>,
        grid: [u64; 3],
        stream: &CudaStream,
    ) -> Option<(&mut [*mut c_void], &mut InOrder)> {
        let is_reader = || self.reader == stream.identity() && !stream.is_lent() && stream.is_capturing() == Ok(false);
        if !self.tables.is_empty() && !is_reader() {
            return None;
        }
        let of_tensors = self.of_tensors.iter().filter(|_| self.have_moved);
        for &(at, wanted) in self.changing.iter().chain(of_tensors) {
            self.words[at].store(word_of(call, grid, wanted)?, Relaxed);
        }
        for (places, list) in self.of_lists.iter().filter(|_| self.have_moved) {
            let mut places = self.words[places.clone()].iter();
            words_of(list_of(call, *list)?, |word| {
                places.next().into_iter().for_each(|place| place.store(word, Relaxed));
            })?;
        }
        self.have_moved = false;
        // SAFETY: an `AtomicPtr` has the layout of a pointer, and nobody else has these while they are borrowed.
        let pointers = unsafe { slice::from_raw_parts_mut(self.pointers.as_mut_ptr().cast(), self.pointers.len()) };
        Some((pointers, &mut self.order))
    }
}
