//! Memory that programs on several threads read and write.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering, Ordering::Relaxed};

const WORD: usize = 8;

/// Zero-initialised memory of a fixed size, shared by reference and written without locks.
///
/// Bytes written by different threads are never mixed up, even inside one word. What a thread reads where another one is
/// writing is either value, byte by byte; there is no undefined behaviour.
pub struct HostMemory {
    /// Little-endian.
    words: Box<[AtomicU64]>,
    length: u64,
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
        let mut words = Vec::new();
        words.try_reserve_exact(count).map_err(|_| exhausted())?;
        words.resize_with(count, AtomicU64::default);
        Ok(Self {
            words: words.into_boxed_slice(),
            length,
        })
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

    /// The number of bytes.
    pub fn len(&self) -> u64 {
        self.length
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
        Ok(())
    }

    /// Replaces the bytes from `offset` on by `source`.
    ///
    /// # Errors
    /// If they are not all inside the memory; nothing is written then.
    pub fn write(&self, offset: u64, source: &[u8]) -> Result<(), MemoryError> {
        let range = self.range(offset, source.len() as u64)?;
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
        Ok(())
    }

    /// Sets `length` bytes from `offset` on to zero.
    ///
    /// # Errors
    /// If they are not all inside the memory; nothing is written then.
    pub fn fill_zero(&self, offset: u64, length: u64) -> Result<(), MemoryError> {
        let range = self.range(offset, length)?;
        let zeros = [0; WORD];
        let head = self.head(&range);
        self.write_part(range.start, &zeros[..head]);
        let (first, last) = ((range.start + head).div_ceil(WORD), range.end / WORD);
        if let Some(words) = self.words.get(first..last.max(first)) {
            words.iter().for_each(|word| word.store(0, Relaxed));
        }
        let tail = (range.start + head).max(last * WORD);
        self.write_part(tail, &zeros[..range.end - tail]);
        Ok(())
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
        let mut bytes: Vec<u8> = self
            .words
            .iter()
            .flat_map(|word| word.load(Relaxed).to_le_bytes())
            .collect();
        bytes.truncate(self.length as usize);
        bytes
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
