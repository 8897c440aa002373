//! ELF files, cubins and libraries, read without trusting them: each part that a header speaks of is looked for first.

#[cfg(test)]
pub(crate) mod image;

use object::elf::{FileHeader64, PT_NULL, ProgramHeader64, SHT_NULL, SHT_STRTAB, SectionHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{LittleEndian, ReadRef};

pub(crate) const ENDIAN: LittleEndian = LittleEndian;
pub(crate) type Header = FileHeader64<LittleEndian>;
pub(crate) type Segment = ProgramHeader64<LittleEndian>;
pub(crate) type Section = SectionHeader64<LittleEndian>;

/// What is wrong with bytes that should be an ELF file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// There are none.
    #[error("it is empty")]
    Empty,
    /// They are something else.
    #[error("it does not begin like a 64-bit little-endian ELF file")]
    Foreign,
    /// The end is missing.
    #[error("it was cut off: it has {length} bytes, and {part} ends at byte {end}")]
    Cut {
        /// What lies behind the end.
        part: &'static str,
        /// Where that should end.
        end: u64,
        /// The bytes that are there.
        length: u64,
    },
    /// They contradict each other.
    #[error("it is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// It is made for another processor.
    #[error("it is made for another processor")]
    OtherMachine,
}

impl ElfError {
    pub(crate) fn damaged(what: impl ToString) -> Self {
        Self::Damaged { what: what.to_string() }
    }
}

/// A file with everything that its headers speak of.
pub(crate) struct Elf<'data, R> {
    pub data: R,
    pub header: &'data Header,
    pub segments: &'data [Segment],
    pub sections: &'data [Section],
}

impl<'data, R: ReadRef<'data>> Elf<'data, R> {
    /// Reads the headers, and checks that what they speak of is there.
    pub fn read(data: R) -> Result<Self, ElfError> {
        let length = data.len().map_err(|()| ElfError::damaged("it cannot be read"))?;
        let file = Extent { length };
        let start = data.read_bytes_at(0, length.min(4)).unwrap_or_default();
        match start {
            [] => return Err(ElfError::Empty),
            start if !b"\x7fELF".starts_with(start) => return Err(ElfError::Foreign),
            _ => file.holds("its header", 0, size_of::<Header>() as u64)?,
        }
        let header = Header::parse(data).map_err(|_| ElfError::Foreign)?;
        header.endian().map_err(|_| ElfError::Foreign)?;
        let table = |part, start, count, entry: usize| match start {
            0 => Ok(()),
            start => file.holds(part, start, u64::from(count) * entry as u64),
        };
        let count = header.shnum(ENDIAN, data).map_err(ElfError::damaged)?;
        table(
            "its list of sections",
            header.e_shoff(ENDIAN),
            count,
            size_of::<Section>(),
        )?;
        let count = header.phnum(ENDIAN, data).map_err(ElfError::damaged)?;
        table(
            "its list of segments",
            header.e_phoff(ENDIAN),
            count,
            size_of::<Segment>(),
        )?;
        let elf = Self {
            data,
            header,
            segments: header.program_headers(ENDIAN, data).map_err(ElfError::damaged)?,
            sections: header.section_headers(ENDIAN, data).map_err(ElfError::damaged)?,
        };
        for segment in elf.segments.iter().filter(|segment| segment.p_type(ENDIAN) != PT_NULL) {
            let (start, size) = segment.file_range(ENDIAN);
            file.holds("a segment", start, size)?;
        }
        for section in elf
            .sections
            .iter()
            .filter(|section| section.sh_type(ENDIAN) != SHT_NULL)
        {
            if let Some((start, size)) = section.file_range(ENDIAN) {
                file.holds("a section", start, size)?;
            }
        }
        elf.check_names()?;
        Ok(elf)
    }

    /// Where there are sections, one holds their names: not so in a file that is as long as it should be, but whose end was
    /// never written.
    fn check_names(&self) -> Result<(), ElfError> {
        if self.sections.is_empty() {
            return Ok(());
        }
        let names = self.header.shstrndx(ENDIAN, self.data).map_err(ElfError::damaged)?;
        let is_text = |section: &Section| section.sh_type(ENDIAN) == SHT_STRTAB;
        if !self.sections.get(names as usize).is_some_and(is_text) {
            return Err(ElfError::damaged("its sections have no names"));
        }
        Ok(())
    }

    /// The identifier that the linker gave it, in hexadecimal, where it has one.
    pub fn build_id(&self) -> Option<String> {
        let notes = self
            .segments
            .iter()
            .filter_map(|segment| segment.notes(ENDIAN, self.data).ok()?);
        let id = notes.flatten().flatten().find(|note| {
            note.name() == object::elf::ELF_NOTE_GNU && note.n_type(ENDIAN) == object::elf::NT_GNU_BUILD_ID
        })?;
        Some(id.desc().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// How far a file goes.
struct Extent {
    length: u64,
}

impl Extent {
    fn holds(&self, part: &'static str, start: u64, size: u64) -> Result<(), ElfError> {
        let length = self.length;
        match start.saturating_add(size) {
            end if end > length => Err(ElfError::Cut { part, end, length }),
            _ => Ok(()),
        }
    }
}

/// The text that begins at an offset and ends at a NUL. Names that go on for long are none: a search for their ends, again
/// and again, would take for ever.
pub(crate) fn text_at(bytes: &[u8], at: usize) -> Option<&str> {
    const LONGEST: usize = 1 << 14;
    let bytes = bytes.get(at..)?;
    let end = bytes.iter().take(LONGEST).position(|byte| *byte == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_elf_file_are_told_from_those_that_were_cut_off() {
        assert_eq!(Elf::read(&b""[..]).err(), Some(ElfError::Empty));
        for file in [&b"cubin?"[..], b"\x7fELG", b"\x7fELF\x01\x01\x01", b"\0"] {
            let file = [file, &[0; 100]].concat();
            assert_eq!(Elf::read(&file[..]).err(), Some(ElfError::Foreign));
        }
        let library = image::library("libsome.so", true).bytes;
        let length = library.len() as u64;
        assert!(Elf::read(&library[..]).is_ok());
        for cut in 1..library.len() {
            let error = Elf::read(&library[..cut]).err().expect("it was cut off");
            assert!(
                matches!(error, ElfError::Cut { end, length, .. } if length == cut as u64 && end > length),
                "{error}"
            );
        }
        let error = Elf::read(&library[..100]).err().expect("it was cut off").to_string();
        assert_eq!(
            error,
            format!("it was cut off: it has 100 bytes, and its list of sections ends at byte {length}")
        );
    }

    #[test]
    fn a_file_whose_end_was_never_written_is_damaged() {
        let mut library = image::library("libsome.so", true).bytes;
        let begin = library.len() - 128;
        library[begin..].fill(0);
        let error = Elf::read(&library[..]).err().expect("it is damaged").to_string();
        assert_eq!(error, "it is damaged: its sections have no names");
    }

    #[test]
    fn a_build_id_is_found_among_the_notes() {
        let library = image::library("libsome.so", false).bytes;
        let elf = Elf::read(&library[..]).expect("a library");
        assert_eq!(elf.build_id().as_deref(), Some(image::BUILD_ID));
        let cubin = image::cubin().bytes;
        assert_eq!(Elf::read(&cubin[..]).expect("a cubin").build_id(), None);
    }

    #[test]
    fn a_text_ends() {
        assert_eq!(text_at(b"one\0two\0", 4), Some("two"));
        assert_eq!(text_at(b"one\0two", 4), None);
        assert_eq!(text_at(b"one\0", 9), None);
        assert_eq!(text_at(&[b'x'; 1 << 20], 0), None);
    }
}
