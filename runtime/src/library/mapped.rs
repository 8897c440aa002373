//! What the loader maps of a library.

use object::elf;
use object::read::elf::ProgramHeader;

use crate::elf::{ENDIAN, ElfError, Segment};

/// What the loader maps: addresses, and where in the file their bytes are.
pub(super) struct Memory(Vec<Mapped>);

pub(super) struct Mapped {
    pub start: u64,
    /// Where the bytes of the file end, and zeros begin.
    file_end: u64,
    pub end: u64,
    offset: u64,
    is_readable: bool,
    pub is_writable: bool,
}

impl Memory {
    pub fn of(segments: &[Segment]) -> Result<Self, ElfError> {
        let mut mapped: Vec<Mapped> = Vec::new();
        for segment in segments.iter().filter(|segment| segment.p_type(ENDIAN) == elf::PT_LOAD) {
            let (start, size) = (segment.p_vaddr(ENDIAN), segment.p_memsz(ENDIAN));
            let (offset, file_size) = segment.file_range(ENDIAN);
            let end = start.checked_add(size).filter(|_| file_size <= size);
            let follows = mapped.last().is_none_or(|last| last.end <= start);
            let Some(end) = end.filter(|_| follows) else {
                return Err(ElfError::damaged("its segments overlap"));
            };
            mapped.push(Mapped {
                start,
                file_end: start + file_size,
                end,
                offset,
                is_readable: segment.p_flags(ENDIAN).contains(elf::PF_R),
                is_writable: segment.p_flags(ENDIAN).contains(elf::PF_W),
            });
        }
        if mapped.is_empty() {
            return Err(ElfError::damaged("it has nothing to load"));
        }
        Ok(Self(mapped))
    }

    /// What is mapped, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Mapped> {
        self.0.iter()
    }

    /// The place in the file of addresses whose bytes are all there, to be read.
    pub fn in_file(&self, start: u64, size: u64) -> Option<u64> {
        let end = start.checked_add(size)?;
        let mapped = self
            .0
            .iter()
            .find(|mapped| mapped.is_readable && mapped.start <= start && end <= mapped.file_end)?;
        Some(start - mapped.start + mapped.offset)
    }

    pub fn is_writable_at(&self, address: u64) -> bool {
        let mut mapped = self.0.iter();
        mapped.any(|mapped| mapped.is_writable && mapped.start <= address && address < mapped.end)
    }

    /// Whether addresses belong to a segment; pages are mapped as a whole.
    pub fn holds(&self, start: u64, size: u64) -> bool {
        const PAGE: u64 = 1 << 16;
        let end = start.checked_add(size);
        let within = |mapped: &Mapped| {
            let rounded = mapped.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
            mapped.start <= start && end.is_some_and(|end| end <= rounded)
        };
        self.0.iter().any(within)
    }

    /// Segments that speak of what others map.
    pub fn check_segment(&self, segment: &Segment) -> Result<(), ElfError> {
        let (start, size) = (segment.p_vaddr(ENDIAN), segment.p_memsz(ENDIAN));
        let file_size = segment.p_filesz(ENDIAN);
        let is_there = match segment.p_type(ENDIAN) {
            elf::PT_DYNAMIC | elf::PT_NOTE | elf::PT_GNU_PROPERTY | elf::PT_GNU_EH_FRAME | elf::PT_PHDR => {
                size == 0 || (size <= file_size && self.in_file(start, size).is_some())
            }
            elf::PT_GNU_RELRO => size == 0 || self.holds(start, size),
            // Every thread gets a copy.
            elf::PT_TLS => {
                let align = segment.p_align(ENDIAN);
                file_size <= size
                    && size < 1 << 30
                    && (align == 0 || align.is_power_of_two() && align < 1 << 20)
                    && (file_size == 0 || self.in_file(start, file_size).is_some())
            }
            _ => true,
        };
        match is_there {
            true => Ok(()),
            false => Err(ElfError::damaged("a segment speaks of memory that it does not have")),
        }
    }
}
