//! Whether the system's loader survives a file.
//!
//! The loader maps what the headers of a library speak of and believes them: a segment that ends behind the end of the file
//! is a bus error later, and a table outside of the segments a crash. So everything that it follows is followed here first,
//! within the bytes of the file. What code and data are in there cannot be known.

use object::elf::{self, DynamicTag};
use object::pod::Pod;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Rela, Sym};
use object::{LittleEndian, ReadRef};

use super::mapped::{Mapped, Memory};
use crate::elf::{ENDIAN, Elf, ElfError, Segment, text_at};

/// What a library says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedObject {
    /// The name under which others ask for it.
    pub soname: Option<String>,
    /// Where it holds the address of `__cxa_atexit`, by which it registers what is done at the end of the process: words that stay
    /// writable, after its own start.
    pub registers: Vec<u64>,
}

impl SharedObject {
    /// Reads a library for this machine.
    pub fn read<'data, R: ReadRef<'data>>(data: R) -> Result<Self, ElfError> {
        let elf = Elf::read(data)?;
        if elf.header.e_type(ENDIAN) != elf::ET_DYN {
            return Err(ElfError::damaged("it is no shared library"));
        }
        let machine = elf.header.e_machine(ENDIAN);
        if (cfg!(target_arch = "x86_64") && machine != elf::EM_X86_64)
            || (cfg!(target_arch = "aarch64") && machine != elf::EM_AARCH64)
        {
            return Err(ElfError::OtherMachine);
        }
        let memory = Memory::of(elf.segments)?;
        for segment in elf.segments {
            memory.check_segment(segment)?;
        }
        let dynamic = Dynamic::of(&elf, memory)?;
        dynamic.check_tables()?;
        dynamic.check_hashes()?;
        dynamic.check_relocations()?;
        dynamic.check_names()?;
        Ok(Self {
            soname: dynamic.value(elf::DT_SONAME).and_then(|offset| dynamic.text(offset)),
            registers: dynamic.calls_of("__cxa_atexit", elf.segments),
        })
    }
}

/// The list that tells the loader where everything else is.
struct Dynamic<R> {
    data: R,
    memory: Memory,
    entries: Vec<(DynamicTag, u64)>,
}

/// Tables: where one begins, and how long it is.
const TABLES: [(DynamicTag, DynamicTag); 6] = [
    (elf::DT_STRTAB, elf::DT_STRSZ),
    (elf::DT_RELA, elf::DT_RELASZ),
    (elf::DT_JMPREL, elf::DT_PLTRELSZ),
    (elf::DT_RELR, elf::DT_RELRSZ),
    (elf::DT_INIT_ARRAY, elf::DT_INIT_ARRAYSZ),
    (elf::DT_FINI_ARRAY, elf::DT_FINI_ARRAYSZ),
];

/// What else is at an address, and how much of it at least.
const PLACES: [(DynamicTag, u64); 7] = [
    (elf::DT_SYMTAB, SYMBOL),
    (elf::DT_INIT, 1),
    (elf::DT_FINI, 1),
    (elf::DT_VERSYM, 2),
    (elf::DT_VERNEED, 16),
    (elf::DT_VERDEF, 20),
    (elf::DT_PLTGOT, WORD),
];

/// Kinds and sizes of the entries of tables, which the loader takes for granted.
const CONSTANTS: [(DynamicTag, DynamicTag, u64); 4] = [
    (elf::DT_JMPREL, elf::DT_PLTREL, elf::DT_RELA.0 as u64),
    (elf::DT_RELA, elf::DT_RELAENT, RELOCATION),
    (elf::DT_RELR, elf::DT_RELRENT, WORD),
    (elf::DT_SYMTAB, elf::DT_SYMENT, SYMBOL),
];

const WORD: u64 = 8;
const SYMBOL: u64 = size_of::<elf::Sym64<LittleEndian>>() as u64;
const RELOCATION: u64 = size_of::<elf::Rela64<LittleEndian>>() as u64;

/// The number of a version, without the bit that hides it.
const VERSION: u16 = 0x7fff;

/// The next of a list whose last says zero.
fn behind(address: u64, distance: u32) -> Option<u64> {
    (distance > 0).then(|| address.saturating_add(distance.into()))
}

impl<'data, R: ReadRef<'data>> Dynamic<R> {
    fn of(elf: &Elf<'data, R>, memory: Memory) -> Result<Self, ElfError> {
        let mut lists = elf
            .segments
            .iter()
            .filter(|segment| segment.p_type(ENDIAN) == elf::PT_DYNAMIC);
        let (Some(segment), None) = (lists.next(), lists.next()) else {
            return Err(ElfError::damaged("it has not one dynamic section"));
        };
        let (offset, size) = segment.file_range(ENDIAN);
        let start = segment.p_vaddr(ENDIAN);
        // The loader writes there if this segment says that it may.
        let is_writable = !segment.p_flags(ENDIAN).contains(elf::PF_W) || memory.is_writable_at(start);
        if memory.in_file(start, size) != Some(offset) || !is_writable {
            return Err(ElfError::damaged("its dynamic section is not in memory"));
        }
        let list = segment
            .dynamic(ENDIAN, elf.data)
            .map_err(ElfError::damaged)?
            .unwrap_or_default();
        let mut entries: Vec<_> = list
            .iter()
            .map(|entry| (entry.d_tag(ENDIAN), entry.d_val(ENDIAN)))
            .collect();
        let Some(end) = entries.iter().position(|(tag, _)| *tag == elf::DT_NULL) else {
            return Err(ElfError::damaged("its dynamic section has no end"));
        };
        entries.truncate(end);
        Ok(Self {
            data: elf.data,
            memory,
            entries,
        })
    }

    /// The loader takes the last of several.
    fn value(&self, tag: DynamicTag) -> Option<u64> {
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.0 == tag)
            .map(|entry| entry.1)
    }

    fn bytes(&self, address: u64, size: u64) -> Option<&'data [u8]> {
        self.data.read_bytes_at(self.memory.in_file(address, size)?, size).ok()
    }

    fn at<T: Pod>(&self, address: u64) -> Option<&'data T> {
        self.data
            .read_at(self.memory.in_file(address, size_of::<T>() as u64)?)
            .ok()
    }

    fn check_tables(&self) -> Result<(), ElfError> {
        let missing =
            |tag: DynamicTag| ElfError::damaged(format!("the table of dynamic entry {:#x} is not there", tag.0));
        for (table, size) in TABLES {
            let (start, size) = (self.value(table), self.value(size));
            match (start, size) {
                (Some(start), Some(size)) if self.memory.in_file(start, size).is_some() => {}
                (None, None | Some(0)) if table != elf::DT_STRTAB => {}
                _ => return Err(missing(table)),
            }
        }
        for (place, size) in PLACES {
            let is_there = match self.value(place) {
                // The table of calls is filled by the loader; a library may have none but zeros.
                Some(start) if place == elf::DT_PLTGOT => self.memory.holds(start, size),
                Some(start) => self.memory.in_file(start, size).is_some(),
                None => place != elf::DT_SYMTAB,
            };
            if !is_there {
                return Err(missing(place));
            }
        }
        for (table, tag, expected) in CONSTANTS {
            let is_there = self.value(table).is_some() || self.value(tag).is_some();
            if is_there && self.value(tag) != Some(expected) {
                return Err(ElfError::damaged(format!(
                    "dynamic entry {:#x} has no valid value",
                    tag.0
                )));
            }
        }
        Ok(())
    }

    /// The loader divides by the number of buckets.
    fn check_hashes(&self) -> Result<(), ElfError> {
        let damaged = || ElfError::damaged("its table of symbols cannot be searched");
        let words = |address| {
            let word = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
            Some(
                self.bytes(address, 16)?
                    .as_chunks()
                    .0
                    .iter()
                    .map(word)
                    .collect::<Vec<_>>(),
            )
        };
        if let Some(address) = self.value(elf::DT_GNU_HASH) {
            let head = words(address).ok_or_else(damaged)?;
            let (buckets, filter, shift) = (head[0], head[2], head[3]);
            let size = 16 + filter * 8 + buckets * 4;
            if buckets == 0 || !filter.is_power_of_two() || shift >= 64 || self.bytes(address, size).is_none() {
                return Err(damaged());
            }
        } else if let Some(address) = self.value(elf::DT_HASH) {
            let head = words(address).ok_or_else(damaged)?;
            if head[0] == 0 || self.bytes(address, 8 + (head[0] + head[1]) * 4).is_none() {
                return Err(damaged());
            }
        }
        Ok(())
    }

    /// Relocations write where they say, and read the symbols that they name.
    fn check_relocations(&self) -> Result<(), ElfError> {
        let damaged = || ElfError::damaged("a relocation lies outside of it");
        let is_code_too = self.value(elf::DT_TEXTREL).is_some()
            || self
                .value(elf::DT_FLAGS)
                .is_some_and(|flags| flags & elf::DF_TEXTREL.0 != 0);
        let written: Vec<&Mapped> = self
            .memory
            .iter()
            .filter(|mapped| mapped.is_writable || is_code_too)
            .collect();
        let is_written = |address: u64| {
            let is_in = |mapped: &&&Mapped| mapped.start <= address && address <= mapped.end.saturating_sub(WORD);
            written.iter().any(|mapped| is_in(&mapped))
        };
        let mut symbols = 0;
        for (table, size) in [(elf::DT_RELA, elf::DT_RELASZ), (elf::DT_JMPREL, elf::DT_PLTRELSZ)] {
            for relocation in self
                .table::<elf::Rela64<LittleEndian>>(table, size)
                .ok_or_else(damaged)?
            {
                if relocation.r_type(ENDIAN, false).0 != 0 && !is_written(relocation.r_offset(ENDIAN)) {
                    return Err(damaged());
                }
                symbols = symbols.max(u64::from(relocation.r_sym(ENDIAN, false)));
            }
        }
        // An even word is an address; an odd one has a bit for each of the 63 words that follow the last.
        let mut next = 0u64;
        for word in self
            .table::<elf::Relr64<LittleEndian>>(elf::DT_RELR, elf::DT_RELRSZ)
            .ok_or_else(damaged)?
        {
            let word = word.0.get(ENDIAN);
            let is_address = word & 1 == 0;
            let (first, bits) = if is_address { (word, 1) } else { (next, word >> 1) };
            let mut words = (0..63).filter(|bit| bits >> bit & 1 != 0);
            if words.any(|bit| !first.checked_add(bit * WORD).is_some_and(is_written)) {
                return Err(damaged());
            }
            next = first.saturating_add(if is_address { WORD } else { 63 * WORD });
        }
        self.check_symbols(symbols + 1)
    }

    /// Where it holds the address of a function that it calls, in words that stay writable.
    fn calls_of(&self, function: &str, segments: &[Segment]) -> Vec<u64> {
        let kind = match cfg!(target_arch = "aarch64") {
            true => elf::R_AARCH64_JUMP_SLOT,
            false => elf::R_X86_64_JUMP_SLOT,
        };
        let names = self.value(elf::DT_STRTAB).zip(self.value(elf::DT_STRSZ));
        let names = names
            .and_then(|(start, size)| self.bytes(start, size))
            .unwrap_or_default();
        let is_it = |symbol: u32| {
            let at = self.value(elf::DT_SYMTAB)?.checked_add(u64::from(symbol) * SYMBOL)?;
            let name = self.at::<elf::Sym64<LittleEndian>>(at)?.st_name(ENDIAN);
            let rest = names.get(name as usize..)?.strip_prefix(function.as_bytes())?;
            (rest.first() == Some(&0)).then_some(())
        };
        let is_sealed = |address: u64| {
            let mut sealed = segments
                .iter()
                .filter(|segment| segment.p_type(ENDIAN) == elf::PT_GNU_RELRO);
            sealed.any(|segment| address.wrapping_sub(segment.p_vaddr(ENDIAN)) < segment.p_memsz(ENDIAN))
        };
        let calls = self.table::<elf::Rela64<LittleEndian>>(elf::DT_JMPREL, elf::DT_PLTRELSZ);
        let its = calls.unwrap_or_default().iter().filter(|call| {
            call.r_type(ENDIAN, false) == kind
                && is_it(call.r_sym(ENDIAN, false)).is_some()
                && !is_sealed(call.r_offset(ENDIAN))
        });
        its.map(|call| call.r_offset(ENDIAN)).collect()
    }

    /// The entries of a table; none if there is no table, and `None` if it is not in the file or ends within an entry, which the
    /// loader would read whole.
    fn table<T: Pod>(&self, table: DynamicTag, size: DynamicTag) -> Option<&'data [T]> {
        let (Some(start), Some(size)) = (self.value(table), self.value(size)) else {
            return Some(&[]);
        };
        let entry = size_of::<T>() as u64;
        let offset = self
            .memory
            .in_file(start, size)
            .filter(|_| size.is_multiple_of(entry))?;
        self.data.read_slice_at(offset, (size / entry) as usize).ok()
    }

    /// The names of symbols, and their versions, up to a number.
    fn check_symbols(&self, count: u64) -> Result<(), ElfError> {
        let damaged = || ElfError::damaged("a relocation names no symbol");
        let table = self.value(elf::DT_SYMTAB).unwrap_or_default();
        let offset = self.memory.in_file(table, count * SYMBOL).ok_or_else(damaged)?;
        let symbols = self
            .data
            .read_slice_at::<elf::Sym64<LittleEndian>>(offset, count as usize);
        let names = self.value(elf::DT_STRSZ).unwrap_or_default();
        let mut symbols = symbols.map_err(|()| damaged())?.iter();
        if symbols.any(|symbol| u64::from(symbol.st_name(ENDIAN)) >= names) {
            return Err(damaged());
        }
        self.check_versions(count)
    }

    /// The versions of symbols up to a number are numbers in lists, which name their libraries.
    fn check_versions(&self, count: u64) -> Result<(), ElfError> {
        let damaged = || ElfError::damaged("its versions of symbols cannot be read");
        let last = self.last_version().ok_or_else(damaged)?;
        let Some(versions) = self.value(elf::DT_VERSYM) else {
            return Ok(());
        };
        let versions = self.bytes(versions, count * 2).ok_or_else(damaged)?.as_chunks().0;
        match versions
            .iter()
            .all(|version| u16::from_le_bytes(*version) & VERSION <= last)
        {
            true => Ok(()),
            false => Err(damaged()),
        }
    }

    /// The highest number of a version that is defined or needed, if the lists can be followed. What is needed is needed of
    /// a library that is needed.
    fn last_version(&self) -> Option<u16> {
        let is_needed = |name: &str| {
            let mut needed = self.entries.iter().filter(|entry| entry.0 == elf::DT_NEEDED);
            needed.any(|&(_, offset)| self.text(offset).as_deref() == Some(name))
        };
        let mut last = 0;
        let mut steps = 0..1u32 << 16;
        let mut next = self.value(elf::DT_VERNEED);
        while let Some(address) = next {
            steps.next()?;
            let need: &elf::Verneed<LittleEndian> = self.at(address)?;
            self.text(need.vn_file.get(ENDIAN).into())
                .filter(|name| is_needed(name))?;
            let mut next_of_it = Some(address.checked_add(need.vn_aux.get(ENDIAN).into())?);
            while let Some(address) = next_of_it {
                steps.next()?;
                let version: &elf::Vernaux<LittleEndian> = self.at(address)?;
                self.text(version.vna_name.get(ENDIAN).into())?;
                last = last.max(version.vna_other.get(ENDIAN).0 & VERSION);
                next_of_it = behind(address, version.vna_next.get(ENDIAN));
            }
            next = behind(address, need.vn_next.get(ENDIAN));
        }
        let mut next = self.value(elf::DT_VERDEF);
        while let Some(address) = next {
            steps.next()?;
            let definition: &elf::Verdef<LittleEndian> = self.at(address)?;
            let name: &elf::Verdaux<LittleEndian> =
                self.at(address.checked_add(definition.vd_aux.get(ENDIAN).into())?)?;
            self.text(name.vda_name.get(ENDIAN).into())?;
            last = last.max(definition.vd_ndx.get(ENDIAN).0 & VERSION);
            next = behind(address, definition.vd_next.get(ENDIAN));
        }
        Some(last)
    }

    /// Names of libraries and folders lie in the table of names, which ends with an end.
    fn check_names(&self) -> Result<(), ElfError> {
        let damaged = || ElfError::damaged("a name in it has no end");
        let (start, size) = (self.value(elf::DT_STRTAB), self.value(elf::DT_STRSZ));
        let end = start
            .zip(size)
            .and_then(|(start, size)| start.checked_add(size.checked_sub(1)?));
        if end.and_then(|end| self.bytes(end, 1)) != Some(&[0]) {
            return Err(damaged());
        }
        let is_name = |tag| {
            matches!(
                tag,
                elf::DT_NEEDED | elf::DT_SONAME | elf::DT_RPATH | elf::DT_RUNPATH | elf::DT_AUXILIARY | elf::DT_FILTER
            )
        };
        let mut names = self.entries.iter().filter(|entry| is_name(entry.0));
        match names.all(|&(_, offset)| self.text(offset).is_some()) {
            true => Ok(()),
            false => Err(damaged()),
        }
    }

    /// A text in the table of names.
    fn text(&self, offset: u64) -> Option<String> {
        let names = self.bytes(self.value(elf::DT_STRTAB)?, self.value(elf::DT_STRSZ)?)?;
        Some(text_at(names, usize::try_from(offset).ok()?)?.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use object::read::ReadCache;

    use super::*;
    use crate::elf::image::{Image, cubin, library};
    use crate::fuzz::fuzz;
    use crate::library::loader::Loader;

    fn read(bytes: &[u8]) -> Result<SharedObject, ElfError> {
        SharedObject::read(bytes)
    }

    #[test]
    fn a_library_tells_its_name() {
        for has_gnu_hash in [false, true] {
            let found = read(&library("libsome.so.1", has_gnu_hash).bytes).expect("a library");
            assert_eq!(found.soname.as_deref(), Some("libsome.so.1"));
        }
    }

    #[test]
    fn what_is_no_library_for_this_machine_is_refused() {
        assert_eq!(
            read(&cubin().bytes).expect_err("a cubin").to_string(),
            "it is damaged: it is no shared library"
        );
        let mut other = library("libsome.so", true).bytes;
        other[18] = 8;
        assert_eq!(read(&other), Err(ElfError::OtherMachine));
    }

    #[test]
    fn tables_that_lie_elsewhere_are_found_out() {
        let Image { bytes, headers } = library("libsome.so", true);
        let dynamic = headers[3].clone();
        for entry in dynamic.step_by(16) {
            let mut damaged = bytes.clone();
            damaged[entry + 8..entry + 16].fill(0xff);
            let is_end = bytes[entry..entry + 16] == [0; 16];
            assert_eq!(read(&damaged).is_ok(), is_end, "the entry at {entry:#x}");
        }
    }

    #[test]
    fn a_table_that_ends_within_an_entry_is_refused() {
        let Image { bytes, headers } = library("libsome.so", true);
        let size = headers[3]
            .clone()
            .step_by(16)
            .find(|at| bytes[*at] == 8)
            .expect("a size");
        assert_eq!(bytes[size + 8], 48);
        for (bytes_of_it, is_whole) in [
            (48, true),
            (24, true),
            (0, true),
            (47, false),
            (25, false),
            (13, false),
            (1, false),
        ] {
            let mut changed = bytes.clone();
            changed[size + 8] = bytes_of_it;
            assert_eq!(read(&changed).is_ok(), is_whole, "{bytes_of_it} bytes");
        }
    }

    /// Where segments end by what the headers say, read by hand.
    fn ends(bytes: &[u8]) -> Vec<u64> {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let count = usize::from(u16::from_le_bytes([bytes[56], bytes[57]]));
        let begin = word(32) as usize;
        let headers = (0..count).map(|index| begin + index * 56);
        let loaded = headers.filter(|at| bytes[*at..at + 4] == [1, 0, 0, 0]);
        loaded.map(|at| word(at + 8).saturating_add(word(at + 32))).collect()
    }

    fn image_of(bytes: Vec<u8>) -> Image {
        let elf = Elf::read(&bytes[..]).expect("a library");
        let dynamic = elf
            .segments
            .iter()
            .find(|segment| segment.p_type(ENDIAN) == elf::PT_DYNAMIC);
        let (start, size) = dynamic.expect("a dynamic section").file_range(ENDIAN);
        let dynamic = start as usize..(start + size) as usize;
        let headers = vec![0..64, 64..64 + elf.segments.len() * 56, dynamic.clone(), dynamic];
        Image { bytes, headers }
    }

    #[test]
    fn fuzz_the_reader_of_elf_files() {
        let mut images = vec![library("libsome.so.1", true), library("libsome.so.1", false), cubin()];
        // Of this machine, a few with all that linkers put into them.
        let listed = Loader::current()
            .listed
            .into_iter()
            .filter_map(|(_, file)| std::fs::read(file).ok());
        images.extend(
            listed
                .filter(|bytes| bytes.len() < 1 << 16 && read(bytes).is_ok())
                .map(image_of)
                .take(3),
        );
        let (inputs, accepted) = fuzz(|rng| {
            let mut image = images[rng.usize(..images.len())].clone();
            image.damage(rng, false);
            let bytes = &image.bytes[..];
            let found = read(bytes);
            let cached = SharedObject::read(&ReadCache::new(Cursor::new(bytes)));
            assert_eq!(cached, found, "from a file");
            let facts = crate::compile::resources(bytes);
            let is_cubin = crate::compile::check_cubin(bytes);
            assert!(found.is_err() || is_cubin.is_ok());
            assert!(facts.is_err() || is_cubin.is_ok());
            if found.is_ok() {
                assert!(ends(bytes).iter().all(|end| *end <= bytes.len() as u64));
            }
            found.is_ok() || facts.is_ok()
        });
        assert!(
            accepted * 10 > inputs && accepted * 10 < inputs * 9,
            "{accepted} of {inputs}"
        );
    }
}
