//! Memory that programs on several threads read and write.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::ranks;

const WORD: usize = 8;

/// Memory of a fixed size, shared by reference and written without locks.
///
/// Bytes written by different threads are never mixed up, even inside one word. What a thread reads where another one is
/// writing is either value, byte by byte; there is no undefined behaviour.
pub struct HostMemory {
    /// Little-endian.
    words: Words,
    length: u64,
    /// What is before and after the words, of memory that others own.
    edges: Option<Box<Edges>>,
    /// Whether it is remembered what ranks do to it.
    is_shared: AtomicBool,
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        if *self.is_shared.get_mut() {
            let start = self.as_ptr().addr();
            ranks::forget(start..start + self.length as usize);
        }
    }
}

enum Words {
    Owned(Box<[AtomicU64]>),
    Borrowed(&'static [AtomicU64]),
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        match self {
            Self::Owned(words) => words,
            Self::Borrowed(words) => words,
        }
    }
}

/// The words that these bytes are in may hold bytes of others, so they are used one by one. Elements of several bytes are kept
/// whole by the lock.
struct Edges {
    head: &'static [AtomicU8],
    tail: &'static [AtomicU8],
    turn: Mutex<()>,
}

/// A request that a [`HostMemory`] cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The bytes are not all inside the memory.
    #[error("bytes {offset} to {offset} + {length} are not inside a memory of {available} bytes")]
    OutOfRange {
        /// Where the access starts.
        offset: u64,
        /// How many bytes it is for.
        length: u64,
        /// The size of the memory.
        available: u64,
    },
    /// The host has not this much memory.
    #[error("cannot allocate {0} bytes of host memory")]
    Exhausted(u64),
}

impl HostMemory {
    /// `length` bytes of zeros.
    ///
    /// # Errors
    /// If the host cannot allocate them.
    pub fn zeroed(length: u64) -> Result<Self, MemoryError> {
        let exhausted = || MemoryError::Exhausted(length);
        let count = usize::try_from(length.div_ceil(WORD as u64)).map_err(|_| exhausted())?;
        // The system has zeros ready, and gives them when they are looked at: stand-ins for large tensors cost nothing.
        let words = bytemuck::allocation::try_zeroed_slice_box(count).map_err(|()| exhausted())?;
        Ok(Self {
            words: Words::Owned(words),
            length,
            edges: None,
            is_shared: AtomicBool::new(false),
        })
    }

    /// Memory that is there already: bytes, whole little-endian words behind them, and bytes behind those. The first word, or
    /// where it would be, is at a multiple of 8 in the address space, so that no element goes over an edge.
    pub fn over(head: &'static [AtomicU8], words: &'static [AtomicU64], tail: &'static [AtomicU8]) -> Self {
        let edges = || Edges {
            head,
            tail,
            turn: Mutex::new(()),
        };
        let has_edges = !head.is_empty() || !tail.is_empty();
        Self {
            words: Words::Borrowed(words),
            length: (head.len() + size_of_val(words) + tail.len()) as u64,
            edges: has_edges.then(|| Box::new(edges())),
            is_shared: AtomicBool::new(false),
        }
    }

    /// A copy of `bytes`.
    ///
    /// # Errors
    /// If the host cannot allocate as many.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MemoryError> {
        let memory = Self::zeroed(bytes.len() as u64)?;
        memory.write(0, bytes)?;
        Ok(memory)
    }

    /// Has it remembered, as long as there is this memory, what ranks do to it.
    pub(super) fn share_among_ranks(&self) {
        self.is_shared.store(true, Relaxed);
    }

    /// The number of bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Where the bytes are.
    pub fn as_ptr(&self) -> *const u8 {
        match &self.edges {
            Some(edges) if !edges.head.is_empty() => edges.head.as_ptr().cast(),
            Some(edges) if self.words.is_empty() => edges.tail.as_ptr().cast(),
            _ => self.words.as_ptr().cast(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Fills `target` with the bytes from `offset` on.
    ///
    /// # Errors
    /// If they are not all inside the memory; nothing is read then.
    pub fn read(&self, offset: u64, target: &mut [u8]) -> Result<(), MemoryError> {
        let range = self.range(offset, target.len() as u64)?;
        match &self.edges {
            None => self.read_words(range, target),
            Some(edges) => {
                let [head, words, tail] = self.pieces(edges, range);
                let (to_head, rest) = target.split_at_mut(head.len());
                let (to_words, to_tail) = rest.split_at_mut(words.len());
                edges.read(edges.head, head, to_head);
                self.read_words(words, to_words);
                edges.read(edges.tail, tail, to_tail);
            }
        }
        Ok(())
    }

    fn read_words(&self, range: Range<usize>, target: &mut [u8]) {
        let (head, body) = target.split_at_mut(self.head(&range));
        if !head.is_empty() {
            let bytes = self.words[range.start / WORD].load(Relaxed).to_le_bytes();
            head.copy_from_slice(&bytes[range.start % WORD..][..head.len()]);
        }
        let mut word = range.start.div_ceil(WORD);
        let mut chunks = body.chunks_exact_mut(WORD);
        for (chunk, from) in chunks.by_ref().zip(&self.words[word.min(self.words.len())..]) {
            chunk.copy_from_slice(&from.load(Relaxed).to_le_bytes());
            word += 1;
        }
        let tail = chunks.into_remainder();
        if !tail.is_empty() {
            let bytes = self.words[word].load(Relaxed).to_le_bytes();
            tail.copy_from_slice(&bytes[..tail.len()]);
        }
    }

    /// Replaces the bytes from `offset` on by `source`.
    ///
    /// # Errors
    /// If they are not all inside the memory; nothing is written then.
    pub fn write(&self, offset: u64, source: &[u8]) -> Result<(), MemoryError> {
        let range = self.range(offset, source.len() as u64)?;
        match &self.edges {
            None => self.write_words(range, source),
            Some(edges) => {
                let [head, words, tail] = self.pieces(edges, range);
                let (of_head, rest) = source.split_at(head.len());
                let (of_words, of_tail) = rest.split_at(words.len());
                edges.write(edges.head, head, of_head);
                self.write_words(words, of_words);
                edges.write(edges.tail, tail, of_tail);
            }
        }
        Ok(())
    }

    fn write_words(&self, range: Range<usize>, source: &[u8]) {
        let (head, body) = source.split_at(self.head(&range));
        self.write_part(range.start, head);
        let mut word = range.start.div_ceil(WORD);
        let mut chunks = body.chunks_exact(WORD);
        for (chunk, to) in chunks.by_ref().zip(&self.words[word.min(self.words.len())..]) {
            let mut bytes = [0; WORD];
            bytes.copy_from_slice(chunk);
            to.store(u64::from_le_bytes(bytes), Relaxed);
            word += 1;
        }
        self.write_part(word * WORD, chunks.remainder());
    }

    /// Sets `length` bytes from `offset` on to zero.
    ///
    /// # Errors
    /// If they are not all inside the memory; nothing is written then.
    pub fn fill_zero(&self, offset: u64, length: u64) -> Result<(), MemoryError> {
        let range = self.range(offset, length)?;
        match &self.edges {
            None => self.zero_words(range),
            Some(edges) => {
                let [head, words, tail] = self.pieces(edges, range);
                edges.write(edges.head, head, &[0; WORD]);
                self.zero_words(words);
                edges.write(edges.tail, tail, &[0; WORD]);
            }
        }
        Ok(())
    }

    fn zero_words(&self, range: Range<usize>) {
        let zeros = [0; WORD];
        let head = self.head(&range);
        self.write_part(range.start, &zeros[..head]);
        let (first, last) = ((range.start + head).div_ceil(WORD), range.end / WORD);
        if let Some(words) = self.words.get(first..last.max(first)) {
            words.iter().for_each(|word| word.store(0, Relaxed));
        }
        let tail = (range.start + head).max(last * WORD);
        self.write_part(tail, &zeros[..range.end.saturating_sub(tail)]);
    }

    /// The bits of the naturally aligned element of `size` bytes (1, 2, 4 or 8) at `offset`, zero-extended.
    ///
    /// # Errors
    /// If it is not inside the memory.
    pub fn get(&self, offset: u64, size: usize) -> Result<u64, MemoryError> {
        let mut bytes = [0; WORD];
        self.read(offset, &mut bytes[..size.min(WORD)])?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Replaces the naturally aligned element of `size` bytes (1, 2, 4 or 8) at `offset` by the low bits of `bits`.
    ///
    /// # Errors
    /// If it is not inside the memory.
    pub fn set(&self, offset: u64, size: usize, bits: u64) -> Result<(), MemoryError> {
        self.write(offset, &bits.to_le_bytes()[..size.min(WORD)])
    }

    /// Replaces the naturally aligned element of `size` bytes (1, 2, 4 or 8) at `offset` by what `change` makes of it, in one
    /// step, and returns what it was. `change` may be called again if another thread came between.
    ///
    /// # Errors
    /// If it is not inside the memory; nothing is changed then.
    pub fn update(
        &self,
        offset: u64,
        size: usize,
        order: Ordering,
        mut change: impl FnMut(u64) -> u64,
    ) -> Result<u64, MemoryError> {
        let range = self.range(offset, size as u64)?;
        let range = match &self.edges {
            None => range,
            Some(edges) => match self.pieces(edges, range) {
                [head, words, _] if !head.is_empty() && words.is_empty() => {
                    return Ok(edges.update(edges.head, head, change));
                }
                [_, words, tail] if words.is_empty() => return Ok(edges.update(edges.tail, tail, change)),
                [_, words, _] => words,
            },
        };
        let Some(word) = self.words.get(range.start / WORD) else {
            return Ok(0);
        };
        let from = range.start % WORD;
        let element = from..(from + size).min(WORD);
        let bits = |word: u64| {
            let mut bytes = [0; WORD];
            bytes[..element.len()].copy_from_slice(&word.to_le_bytes()[element.clone()]);
            u64::from_le_bytes(bytes)
        };
        let changed = |old: u64| {
            let mut bytes = old.to_le_bytes();
            let new = change(bits(old)).to_le_bytes();
            bytes[element.clone()].copy_from_slice(&new[..element.len()]);
            Some(u64::from_le_bytes(bytes))
        };
        let read = match order {
            Ordering::Acquire | Ordering::AcqRel | Ordering::SeqCst => Ordering::Acquire,
            _ => Relaxed,
        };
        // The closure always gives a value, so the update always succeeds.
        let (Ok(old) | Err(old)) = word.fetch_update(order, read, changed);
        Ok(bits(old))
    }

    /// A copy of all bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length as usize];
        // They are all inside.
        let _ = self.read(0, &mut bytes);
        bytes
    }

    /// The parts of a range that are in the head, in the words and in the tail, each counted from the start of its part.
    fn pieces(&self, edges: &Edges, range: Range<usize>) -> [Range<usize>; 3] {
        let words = edges.head.len();
        let tail = words + self.words.len() * WORD;
        let part = |from: usize, to: usize| {
            let clamp = |at: usize| at.clamp(from, to) - from;
            clamp(range.start)..clamp(range.end)
        };
        [part(0, words), part(words, tail), part(tail, tail + edges.tail.len())]
    }

    fn range(&self, offset: u64, length: u64) -> Result<Range<usize>, MemoryError> {
        match offset.checked_add(length) {
            // The memory was allocated, so every offset inside it is a usize.
            Some(end) if end <= self.length => Ok(offset as usize..end as usize),
            _ => Err(MemoryError::OutOfRange {
                offset,
                length,
                available: self.length,
            }),
        }
    }

    /// How many bytes of a range come before the first word boundary in it.
    fn head(&self, range: &Range<usize>) -> usize {
        ((WORD - range.start % WORD) % WORD).min(range.len())
    }

    /// Writes bytes inside one word. Its other bytes may be written by other threads at the same time.
    fn write_part(&self, offset: usize, source: &[u8]) {
        let Some(word) = self.words.get(offset / WORD).filter(|_| !source.is_empty()) else {
            return;
        };
        let from = offset % WORD;
        let to = (from + source.len()).min(WORD);
        let change = |old: u64| {
            let mut bytes = old.to_le_bytes();
            bytes[from..to].copy_from_slice(&source[..to - from]);
            Some(u64::from_le_bytes(bytes))
        };
        // The closure always gives a value, so the update always succeeds.
        let _ = word.fetch_update(Relaxed, Relaxed, change);
    }
}

impl Edges {
    fn read(&self, bytes: &[AtomicU8], range: Range<usize>, target: &mut [u8]) {
        if !range.is_empty() {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            for (to, from) in target.iter_mut().zip(&bytes[range]) {
                *to = from.load(Relaxed);
            }
        }
    }

    fn write(&self, bytes: &[AtomicU8], range: Range<usize>, source: &[u8]) {
        if !range.is_empty() {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            for (to, from) in bytes[range].iter().zip(source) {
                to.store(*from, Relaxed);
            }
        }
    }

    fn update(&self, bytes: &[AtomicU8], range: Range<usize>, mut change: impl FnMut(u64) -> u64) -> u64 {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = &bytes[range];
        let mut old = [0; WORD];
        for (to, from) in old.iter_mut().zip(bytes) {
            *to = from.load(Relaxed);
        }
        let old = u64::from_le_bytes(old);
        for (to, from) in bytes.iter().zip(change(old).to_le_bytes()) {
            to.store(from, Relaxed);
        }
        old
    }
}

impl fmt::Debug for HostMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostMemory({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    #[test]
    fn every_range_reads_back_as_written() {
        for offset in 0..20u64 {
            for length in 0..30usize {
                let memory = HostMemory::zeroed(50).unwrap();
                let bytes: Vec<u8> = (1..=length as u8).collect();
                memory.write(offset, &bytes).unwrap();
                let mut back = vec![0; length];
                memory.read(offset, &mut back).unwrap();
                assert_eq!(back, bytes);
                let mut expected = vec![0; 50];
                expected[offset as usize..][..length].copy_from_slice(&bytes);
                assert_eq!(memory.to_vec(), expected);
                memory.write(0, &[7; 50]).unwrap();
                memory.fill_zero(offset, length as u64).unwrap();
                let mut expected = vec![7; 50];
                expected[offset as usize..][..length].fill(0);
                assert_eq!(memory.to_vec(), expected, "{offset} {length}");
            }
        }
    }

    /// So many bytes of each part, for as long as the tests run.
    fn borrowed(head: usize, words: usize, tail: usize) -> HostMemory {
        let bytes = |count| Vec::leak((0..count).map(|_| AtomicU8::new(0)).collect());
        let words = Vec::leak((0..words).map(|_| AtomicU64::new(0)).collect());
        HostMemory::over(bytes(head), words, bytes(tail))
    }

    #[test]
    fn memory_of_others_is_read_and_written_across_its_edges() {
        for (head, words, tail) in [(0, 4, 0), (3, 2, 5), (7, 0, 0), (0, 0, 7), (4, 1, 4), (0, 0, 0)] {
            let length = head + 8 * words + tail;
            for (from, to) in (0..=length).flat_map(|from| (from..=length).map(move |to| (from, to))) {
                let memory = borrowed(head, words, tail);
                let bytes: Vec<u8> = (1..=(to - from) as u8).collect();
                memory.write(from as u64, &bytes).unwrap();
                let mut expected = vec![0; length];
                expected[from..to].copy_from_slice(&bytes);
                assert_eq!(memory.to_vec(), expected, "{head} {words} {tail}");
                let mut back = vec![0; to - from];
                memory.read(from as u64, &mut back).unwrap();
                assert_eq!(back, bytes);
                memory.write(0, &vec![7; length]).unwrap();
                memory.fill_zero(from as u64, (to - from) as u64).unwrap();
                let mut expected = vec![7; length];
                expected[from..to].fill(0);
                assert_eq!(memory.to_vec(), expected, "{head} {words} {tail}, {from} to {to}");
            }
            assert!(borrowed(head, words, tail).write(length as u64, &[1]).is_err());
        }
    }

    #[test]
    fn updates_at_the_edges_of_memory_of_others_are_one_step_each() {
        for size in [1usize, 2, 4] {
            let memory = borrowed(4, 2, 4);
            let elements = 24 / size as u64;
            (0..2400u64).into_par_iter().for_each(|i| {
                memory
                    .update(i % elements * size as u64, size, Ordering::AcqRel, |old| old + 1)
                    .unwrap();
            });
            for element in 0..elements {
                let found = memory.get(element * size as u64, size).unwrap();
                // A byte overflows into nothing else.
                assert_eq!(found, 2400 / elements, "{size} bytes");
            }
        }
    }

    #[test]
    fn what_is_outside_is_refused() {
        let memory = HostMemory::zeroed(13).unwrap();
        assert!(memory.write(13, &[]).is_ok());
        let error = MemoryError::OutOfRange {
            offset: 10,
            length: 4,
            available: 13,
        };
        assert_eq!(memory.write(10, &[1; 4]), Err(error.clone()));
        assert_eq!(memory.read(10, &mut [0; 4]), Err(error.clone()));
        assert_eq!(memory.fill_zero(10, 4), Err(error));
        assert!(memory.get(u64::MAX, 8).is_err());
        assert_eq!(memory.to_vec(), vec![0; 13]);
        assert!(HostMemory::zeroed(u64::MAX).is_err());
    }

    #[test]
    fn updates_of_neighbours_by_several_threads_are_one_step_each() {
        for size in [1usize, 2, 4, 8] {
            let memory = HostMemory::zeroed(16).unwrap();
            let elements = 16 / size as u64;
            (0..2000u64).into_par_iter().for_each(|i| {
                memory
                    .update(i % elements * size as u64, size, Ordering::AcqRel, |old| old + 1)
                    .unwrap();
            });
            let total: u64 = (0..elements).map(|i| memory.get(i * size as u64, size).unwrap()).sum();
            assert_eq!(total, 2000, "{size} bytes");
        }
        assert!(HostMemory::zeroed(4).unwrap().update(4, 4, Relaxed, |old| old).is_err());
    }

    #[test]
    fn neighbouring_bytes_written_by_several_threads_all_arrive() {
        let memory = HostMemory::zeroed(4096).unwrap();
        (0..4096u64)
            .into_par_iter()
            .for_each(|i| memory.set(i, 1, i % 251).unwrap());
        assert!(
            memory
                .to_vec()
                .iter()
                .enumerate()
                .all(|(i, &byte)| byte as usize == i % 251)
        );
    }
}
