//! The little of the ELF format that cubins and libraries are asked for.

use std::{fs::File, io::Read, ops::Range, path::Path};

/// Bytes that should be a cubin are not, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no cubin: {reason}. Delete the file they came from and compile again")]
pub struct CubinError {
    /// What did not fit.
    pub reason: &'static str,
}

/// One section of an ELF file.
pub(super) struct Section<'a> {
    pub name: &'a str,
    /// Its bytes; empty for a section that only reserves memory.
    pub data: &'a [u8],
    /// Its length in memory.
    pub size: u64,
    /// The index of the section it refers to.
    pub link: usize,
}

const RESERVED_ONLY: u32 = 8;

/// The sections of a 64-bit little-endian ELF file, in their order.
pub(super) fn sections(file: &[u8]) -> Result<Vec<Section<'_>>, CubinError> {
    let malformed = |reason| CubinError { reason };
    if file.get(..6) != Some(b"\x7fELF\x02\x01".as_slice()) {
        return Err(malformed("it does not begin like a 64-bit ELF file"));
    }
    let cut = || malformed("a part that its header speaks of lies outside it");
    let segments = span(u64_at(file, 0x20), u16_at(file, 0x36), u16_at(file, 0x38)).ok_or_else(cut)?;
    file.get(segments).ok_or_else(cut)?;
    let table = u64_at(file, 0x28).ok_or_else(cut)?;
    let entry = u16_at(file, 0x3a).ok_or_else(cut)?;
    let count = u16_at(file, 0x3c).ok_or_else(cut)?;
    let names = u16_at(file, 0x3e).ok_or_else(cut)?;
    let header = |index: u16| {
        let start = usize::try_from(table)
            .ok()?
            .checked_add(usize::from(index) * usize::from(entry))?;
        let header = file.get(start..start.checked_add(0x40)?)?;
        let (offset, size) = (u64_at(header, 0x18)?, u64_at(header, 0x20)?);
        let data = match u32_at(header, 4)? {
            RESERVED_ONLY => &[][..],
            _ => file.get(usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(size)?).ok()?)?,
        };
        Some((u32_at(header, 0)?, data, size, u32_at(header, 0x28)?))
    };
    let (_, names, ..) = header(names).ok_or_else(cut)?;
    let section = |index| {
        let (name, data, size, link) = header(index)?;
        Some(Section {
            name: text_at(names, name as usize)?,
            data,
            size,
            link: link as usize,
        })
    };
    (0..count).map(|index| section(index).ok_or_else(cut)).collect()
}

/// Where a table of entries lies.
fn span(start: Option<u64>, entry: Option<u16>, count: Option<u16>) -> Option<Range<usize>> {
    let start = usize::try_from(start?).ok()?;
    Some(start..start.checked_add(usize::from(entry?) * usize::from(count?))?)
}

/// The identifier that the linker gave a library, in hexadecimal, where it has one.
pub(super) fn build_id(path: &Path) -> Option<String> {
    // The notes lie right behind the program headers, at the beginning.
    let mut start = Vec::new();
    File::open(path).ok()?.take(1 << 16).read_to_end(&mut start).ok()?;
    let (table, entry, count) = (u64_at(&start, 0x20)?, u16_at(&start, 0x36)?, u16_at(&start, 0x38)?);
    (0..count).find_map(|index| {
        const NOTE: u32 = 4;
        let at = usize::try_from(table)
            .ok()?
            .checked_add(usize::from(index) * usize::from(entry))?;
        let header = start.get(at..)?;
        let (offset, size) = (u64_at(header, 8)?, u64_at(header, 0x20)?);
        let is_note = u32_at(header, 0)? == NOTE;
        is_note.then(|| {
            gnu_build_id(
                start
                    .get(usize::try_from(offset).ok()?..)?
                    .get(..usize::try_from(size).ok()?)?,
            )
        })?
    })
}

fn gnu_build_id(mut notes: &[u8]) -> Option<String> {
    const BUILD_ID: u32 = 3;
    loop {
        let (name, size, kind) = (
            u32_at(notes, 0)? as usize,
            u32_at(notes, 4)? as usize,
            u32_at(notes, 8)?,
        );
        let data = 12 + name.next_multiple_of(4);
        if kind == BUILD_ID && notes.get(12..12 + name)? == b"GNU\0" {
            return Some(
                notes
                    .get(data..data + size)?
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            );
        }
        notes = notes.get(data + size.next_multiple_of(4)..)?;
    }
}

/// The text that begins at an offset and ends at a NUL.
pub(super) fn text_at(bytes: &[u8], at: usize) -> Option<&str> {
    std::str::from_utf8(bytes.get(at..)?.split(|byte| *byte == 0).next()?).ok()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_elf_file_are_an_error_and_never_a_panic() {
        let mut header = b"\x7fELF\x02\x01".to_vec();
        for file in [&b""[..], b"\x7fELF", b"cubin?", &header.clone()] {
            assert!(sections(file).is_err());
        }
        // A section table that claims to lie anywhere at all.
        header.resize(64, 0xff);
        assert!(sections(&header).is_err());
    }

    #[test]
    fn a_build_id_is_found_among_other_notes() {
        let mut notes = Vec::new();
        for (kind, name, data) in [
            (1u32, b"GNU\0", [9u8; 6].as_slice()),
            (3, b"GNU\0", &[0x65, 0xbe, 0x0d, 0xb3]),
        ] {
            for word in [4, data.len() as u32, kind] {
                notes.extend(word.to_le_bytes());
            }
            notes.extend(name);
            notes.extend(data);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(gnu_build_id(&notes).as_deref(), Some("65be0db3"));
        assert_eq!(gnu_build_id(&notes[..20]), None);
    }
}
