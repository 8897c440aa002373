//! Memory, and who touched what.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::{Fault, Machine, Passed};
use crate::element::ElementType;
use crate::thread::{BufferKind, Place, Sharing, Space};

/// The memory of a GPU: allocations by their addresses. Each is rounded up to whole 16 bytes, as those of the GPU are:
/// what is beside its own bytes can be read together with one of them, and not written.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// By the multiple of 16 at which they begin.
    allocations: BTreeMap<u64, Allocation>,
}

#[derive(Debug, Clone)]
struct Allocation {
    bytes: Vec<u8>,
    /// The own ones.
    own: Range<usize>,
}

impl Memory {
    /// No memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts bytes where their address is `offset` more than a multiple of 256, far from everything else; returns the
    /// address.
    pub fn allocate(&mut self, own: Vec<u8>, offset: u64) -> u64 {
        let end = |(start, allocation): (&u64, &Allocation)| start + allocation.bytes.len() as u64;
        let end = self.allocations.last_key_value().map_or(0x1000, end);
        let at = (end + 0x1000).next_multiple_of(256) + offset;
        let before = (at % 16) as usize;
        let mut bytes = vec![0x5a; before];
        bytes.extend(&own);
        bytes.resize(bytes.len().next_multiple_of(16), 0x5a);
        let own = before..before + own.len();
        self.allocations.insert(at - before as u64, Allocation { bytes, own });
        at
    }

    /// The bytes of the allocation at an address.
    pub fn bytes(&self, at: u64) -> &[u8] {
        let found = self.allocations.range(..=at).next_back();
        found.map_or(&[], |(_, allocation)| &allocation.bytes[allocation.own.clone()])
    }

    fn find(&mut self, at: u64, count: usize, writes: bool) -> Option<&mut [u8]> {
        let (start, allocation) = self.allocations.range_mut(..=at).next_back()?;
        let from = usize::try_from(at - start).ok()?;
        let range = from..from.checked_add(count)?;
        let own = allocation.own.start <= range.start && range.end <= allocation.own.end;
        match own || !writes {
            true => allocation.bytes.get_mut(range),
            false => None,
        }
    }

    /// Whether one of so many bytes is an allocation's own.
    fn has_some(&self, at: u64, count: u64) -> bool {
        self.allocations
            .range(..at + count)
            .next_back()
            .is_some_and(|(start, allocation)| {
                let (first, last) = (start + allocation.own.start as u64, start + allocation.own.end as u64);
                at < last && first < at + count
            })
    }
}

/// A byte: of shared memory by its position, of global memory by its address.
type Byte = (Space, u64);

/// Who touched bytes that threads share, and when threads met.
#[derive(Default)]
pub(super) struct Touched {
    written: HashMap<Byte, (u32, u64)>,
    read: HashMap<Byte, Vec<(u32, u64)>>,
    /// When the threads of a group met last, by their number and the group's.
    met: HashMap<(u32, u32), u64>,
    now: u64,
}

impl Touched {
    pub(super) fn meet(&mut self, threads: &[u32], group: u32) {
        self.now += 1;
        for thread in threads {
            self.met.insert((group, thread / group), self.now);
        }
    }

    /// Whether two threads have met since then.
    fn have_met(&self, one: u32, other: u32, since: u64) -> bool {
        let together = |((group, number), when): (&(u32, u32), &u64)| {
            one / group == *number && other / group == *number && *when > since
        };
        self.met.iter().any(together)
    }

    /// Whether a thread may touch a byte; `meets` if it may once the others have been met that did.
    fn is_apart(&mut self, byte: Byte, thread: u32, writes: bool, meets: bool) -> bool {
        self.now += 1;
        let now = self.now;
        if let Some(&(other, when)) = self.written.get(&byte)
            && other != thread
            && !(meets && self.have_met(thread, other, when))
        {
            return false;
        }
        if writes {
            let readers = self.read.remove(&byte).unwrap_or_default();
            self.written.insert(byte, (thread, now));
            let mut readers = readers.iter().filter(|(other, _)| *other != thread);
            return readers.all(|&(other, when)| meets && self.have_met(thread, other, when));
        }
        let readers = self.read.entry(byte).or_default();
        readers.retain(|(other, _)| *other != thread);
        readers.push((thread, now));
        true
    }
}

/// How bytes are touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    Read,
    Write,
    /// In one step that others may take too.
    Atomic,
}

impl Machine<'_> {
    /// Reads one lane.
    pub(super) fn read(
        &mut self,
        place: Place,
        element: ElementType,
        thread: u32,
        lane: usize,
        touch: Touch,
    ) -> Result<u64, Fault> {
        let size = element.size();
        let bytes = self.bytes((place, None), size, thread, lane, touch, false)?;
        let mut word = [0; 8];
        word[..size].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(word))
    }

    /// Writes one lane, of shared memory that of the thread's own block unless another one of the cluster is said.
    pub(super) fn write(
        &mut self,
        (place, block): (Place, Option<u32>),
        element: ElementType,
        bits: u64,
        thread: u32,
        lane: usize,
        touch: Touch,
    ) -> Result<(), Fault> {
        let size = element.size();
        let bytes = self.bytes((place, block), size, thread, lane, touch, true)?;
        bytes.copy_from_slice(&bits.to_le_bytes()[..size]);
        Ok(())
    }

    /// The offset and the bytes before this lane: what moves with the lane is where it is, else lanes lie side by side.
    fn offset(&self, place: Place, size: usize, thread: u32, lane: usize) -> i64 {
        let own = self.index(place.offset, thread, lane);
        match self.kernel.lanes_of(place.offset) {
            None => own.wrapping_add((lane * size) as i64),
            Some(_) => own,
        }
    }

    fn bytes(
        &mut self,
        (place, block): (Place, Option<u32>),
        size: usize,
        thread: u32,
        lane: usize,
        touch: Touch,
        writes: bool,
    ) -> Result<&mut [u8], Fault> {
        let buffer = &self.kernel.buffers[place.buffer];
        let offset = self.offset(place, size, thread, lane);
        let lacks = |machine: &Self| {
            let what = format!("{size} bytes of `{}` at {offset}, which it does not have", buffer.name);
            machine.fault(thread, what)
        };
        let from = usize::try_from(offset);
        match buffer.kind {
            BufferKind::Global { .. } | BufferKind::Listed { .. } => {
                let base = match place.pointer {
                    Some(pointer) => self.scalar(pointer.into(), thread),
                    None => self.address_of(buffer.kind),
                };
                let at = base.wrapping_add(offset as u64);
                if !at.is_multiple_of(size as u64) {
                    return self.fault(thread, format!("{size} bytes of `{}` at {at:#x}", buffer.name));
                }
                self.touch(Space::Global, at, size, buffer.sharing(), thread, touch, &buffer.name)?;
                if self.memory.find(at, size, writes).is_none() {
                    return lacks(self);
                }
                Ok(self.memory.find(at, size, writes).unwrap_or_default())
            }
            BufferKind::Shared { offset: start, bytes } => {
                let Ok(from) = from else { return lacks(self) };
                if from + size > bytes as usize {
                    return lacks(self);
                }
                let block = block.unwrap_or(thread / self.kernel.threads);
                let from = (block * self.kernel.shared_bytes() + start) as usize + from;
                self.touch(
                    Space::Shared,
                    from as u64,
                    size,
                    Sharing::Shared,
                    thread,
                    touch,
                    &buffer.name,
                )?;
                Ok(&mut self.shared[from..from + size])
            }
            BufferKind::Local { bytes } => {
                let Ok(from) = from else { return lacks(self) };
                if from + size > bytes as usize {
                    return lacks(self);
                }
                let own = self.local.entry((place.buffer.index(), thread));
                let own = own.or_insert_with(|| vec![0xa5; bytes as usize]);
                Ok(&mut own[from..from + size])
            }
            BufferKind::Table { .. } | BufferKind::Parameter { .. } => {
                let known: Vec<u8> = match buffer.kind {
                    BufferKind::Table { table } => {
                        let words = &self.kernel.tables[table].words;
                        words.iter().flat_map(|word| word.to_le_bytes()).collect()
                    }
                    BufferKind::Parameter { argument } => match &self.arguments[argument.index()] {
                        Passed::Bytes(bytes) => bytes.clone(),
                        Passed::Scalar(_) | Passed::Pointer(_) => Vec::new(),
                    },
                    _ => Vec::new(),
                };
                // A copy of the thread's: nobody writes it.
                let Some(found) = from
                    .ok()
                    .and_then(|from| known.get(from..from + size).map(<[u8]>::to_vec))
                else {
                    return lacks(self);
                };
                let own = self.local.entry((place.buffer.index(), thread)).or_default();
                *own = found;
                Ok(own)
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // They are what a touch is.
    fn touch(
        &mut self,
        space: Space,
        at: u64,
        size: usize,
        sharing: Sharing,
        thread: u32,
        touch: Touch,
        name: &str,
    ) -> Result<(), Fault> {
        let shares = match (sharing, touch) {
            (_, Touch::Atomic) | (Sharing::ReadOnly, Touch::Read) => return Ok(()),
            (Sharing::ReadOnly, Touch::Write) => return self.fault(thread, format!("`{name}` is written")),
            (Sharing::Private, _) => false,
            (Sharing::Shared, _) => true,
        };
        for byte in at..at + size as u64 {
            let writes = touch == Touch::Write;
            let apart = self.touched.is_apart((space, byte), thread, writes, shares);
            if !apart {
                let what = match shares {
                    true => "with no barrier in between",
                    false => "which is each thread's own",
                };
                return self.fault(
                    thread,
                    format!("another thread touched byte {byte} of `{name}`, {what}"),
                );
            }
        }
        Ok(())
    }

    /// Whether the bytes of a whole access divide its address, and one of them at least is there.
    pub(super) fn is_aligned(&self, place: Place, bytes: u32, thread: u32) -> bool {
        let at = self.address_in(place, thread);
        let is_global = self.kernel.buffers[place.buffer].space() == Space::Global;
        let is_there = !is_global || self.memory.has_some(at, bytes.into());
        self.kernel.lanes_of(place.offset).is_some() || (at.is_multiple_of(bytes.into()) && is_there)
    }

    /// Asks L2 for what is at a place, which has to be a tensor's.
    pub(super) fn prefetch(&mut self, place: Place, thread: u32) -> Result<(), Fault> {
        let at = self.address_in(place, thread);
        if !self.memory.has_some(at, 1) {
            return self.fault(thread, "what is no tensor's is asked for");
        }
        self.outcome.prefetched.push(at);
        Ok(())
    }

    /// The address of a place, of its first lane; of shared memory its position.
    fn address_in(&self, place: Place, thread: u32) -> u64 {
        let base = match (self.kernel.buffers[place.buffer].kind, place.pointer) {
            (_, Some(pointer)) => self.scalar(pointer.into(), thread),
            (BufferKind::Shared { offset, .. }, _) => offset.into(),
            (kind, None) => self.address_of(kind),
        };
        base.wrapping_add(self.index(place.offset, thread, 0) as u64)
    }
}
