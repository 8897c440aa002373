//! Small ELF files for tests, and damage to them.

use std::ops::Range;

/// A file, and where in it the parts lie that are damaged on purpose.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub bytes: Vec<u8>,
    /// Its header, and the lists of segments, sections and dynamic entries.
    pub headers: Vec<Range<usize>>,
}

/// The identifier that the linker gave every library.
pub(crate) const BUILD_ID: &str = "65be0db3";

const PAGE: usize = 0x1000;
const SEGMENTS: usize = 5;

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn halves(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn gnu_hash(name: &str) -> u32 {
    name.bytes()
        .fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

fn header(ty: u16, machine: u16, segments: u16, list: u64, sections: u16, names: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend([ty, machine].map(u16::to_le_bytes).concat());
    header.extend(1u32.to_le_bytes());
    header.extend(words(&[0, if segments > 0 { 64 } else { 0 }, list]));
    header.extend(0u32.to_le_bytes());
    header.extend([64, 56, segments, 64, sections, names].map(u16::to_le_bytes).concat());
    header
}

fn segment(ty: u32, flags: u32, place: Range<usize>, memory: usize, align: u64) -> Vec<u8> {
    let (start, size) = (place.start as u64, place.len() as u64);
    [
        halves(&[ty, flags]),
        words(&[start, start, start, size, memory as u64, align]),
    ]
    .concat()
}

fn section(name: u32, ty: u32, place: Range<usize>, link: u32, entry: u64) -> Vec<u8> {
    let place = words(&[0, 0, place.start as u64, place.len() as u64]);
    [halves(&[name, ty]), place, halves(&[link, 0]), words(&[1, entry])].concat()
}

/// A library that can be loaded here: two functions that return at once, relocations, and a table for the search of symbols
/// of the new kind or the old.
pub(crate) fn library(soname: &str, has_gnu_hash: bool) -> Image {
    let machine = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let relative = if cfg!(target_arch = "aarch64") { 1027 } else { 8 };
    let mut body = vec![0; 64 + SEGMENTS * 56];
    let mut place = |bytes: Vec<u8>| {
        body.resize(body.len().next_multiple_of(8), 0);
        let start = body.len();
        body.extend(bytes);
        start..body.len()
    };
    let note = place([halves(&[4, 4, 3]), b"GNU\0".to_vec(), vec![0x65, 0xbe, 0x0d, 0xb3]].concat());
    let names = format!("\0one\0two\0{soname}\0libc.so.6\0");
    let offset = |name: &str| names.find(name).expect("a name") as u64;
    let (needed, named) = (offset("libc.so.6"), offset(soname));
    let strings = place(names.into_bytes());
    let code = place(vec![0xc3; 8]);
    let symbol = |name: u32| [halves(&[name, 0x0001_0012]), words(&[code.start as u64, 8])].concat();
    let symbols = place([vec![0; 24], symbol(1), symbol(5)].concat());
    let hash = match has_gnu_hash {
        // One bucket; a filter that lets all pass.
        true => place(
            [
                halves(&[1, 1, 1, 6]),
                words(&[u64::MAX]),
                halves(&[1, gnu_hash("one") & !1, gnu_hash("two") | 1]),
            ]
            .concat(),
        ),
        false => place(halves(&[1, 3, 1, 0, 2, 0])),
    };
    let data = PAGE..PAGE + 32;
    let relocation = |at: u64| words(&[at, relative, code.start as u64]);
    let relocations = place([relocation(data.start as u64), relocation(data.start as u64 + 8)].concat());
    let mut entries = vec![[1, needed], [14, named]];
    entries.push([if has_gnu_hash { 0x6fff_fef5 } else { 4 }, hash.start as u64]);
    entries.extend([[5, strings.start as u64], [10, strings.len() as u64]]);
    entries.extend([[6, symbols.start as u64], [11, 24]]);
    entries.extend([[7, relocations.start as u64], [8, relocations.len() as u64], [9, 24]]);
    entries.push([0, 0]);
    let first = 0..body.len();
    body.resize(data.end, 0);
    let dynamic = body.len()..body.len() + entries.len() * 16;
    body.extend(words(&entries.concat()));
    let second = data.start..dynamic.end;
    let names = body.len()..body.len() + 11;
    body.extend(b"\0.shstrtab\0");
    body.resize(body.len().next_multiple_of(8), 0);
    let list = body.len();
    body.extend(vec![0; 64]);
    body.extend(section(1, 3, names, 0, 0));
    let segments = [
        segment(1, 5, first.clone(), first.len(), PAGE as u64),
        segment(1, 6, second.clone(), second.len() + 100, PAGE as u64),
        segment(2, 6, dynamic.clone(), dynamic.len(), 8),
        segment(4, 4, note.clone(), note.len(), 4),
        segment(0x6474_e551, 6, 0..0, 0, 16),
    ];
    body[..64].copy_from_slice(&header(3, machine, SEGMENTS as u16, list as u64, 2, 1));
    body[64..64 + SEGMENTS * 56].copy_from_slice(&segments.concat());
    let sections = list..body.len();
    Image {
        bytes: body,
        headers: vec![0..64, 64..64 + SEGMENTS * 56, sections, dynamic],
    }
}

/// A cubin of one kernel, with all that is read of one and no code.
pub(crate) fn cubin() -> Image {
    const NAMES: &str = "\0.shstrtab\0.strtab\0.symtab\0.nv.info\0.nv.info.copy\0.nv.shared.copy\0";
    let name = |name: &str| NAMES.find(&format!("\0{name}\0")).expect("a name") as u32 + 1;
    let mut body = vec![0; 64];
    let mut place = |bytes: Vec<u8>| {
        body.resize(body.len().next_multiple_of(8), 0);
        let start = body.len();
        body.extend(bytes);
        start..body.len()
    };
    let names = place(NAMES.as_bytes().to_vec());
    let strings = place(b"\0copy\0".to_vec());
    let symbols = place([vec![0; 24], halves(&[1, 0x12]), vec![0; 16]].concat());
    let attribute = |kind: u8, value: u32| [vec![4, kind, 8, 0], halves(&[1, value])].concat();
    let facts = place([attribute(0x2f, 24), attribute(0x11, 64), vec![3, 0x1b, 0xff, 0]].concat());
    let own = place(vec![4, 0x37, 4, 0, 1, 2, 3, 4]);
    let list = body.len().next_multiple_of(8);
    body.resize(list, 0);
    body.extend(vec![0; 64]);
    body.extend(section(name(".shstrtab"), 3, names, 0, 0));
    body.extend(section(name(".strtab"), 3, strings, 0, 0));
    body.extend(section(name(".symtab"), 2, symbols, 2, 24));
    body.extend(section(name(".nv.info"), 0x7000_0000, facts, 3, 0));
    body.extend(section(name(".nv.info.copy"), 0x7000_0000, own, 3, 0));
    body.extend(section(name(".nv.shared.copy"), 8, 0..512, 0, 0));
    body[..64].copy_from_slice(&header(2, 190, 0, list as u64, 7, 1));
    let sections = list..body.len();
    Image {
        bytes: body,
        headers: vec![0..64, sections],
    }
}

impl Image {
    /// Damages the file a little: what its headers say, and its length; other bytes too, unless `only_headers`.
    pub fn damage(&mut self, rng: &mut fastrand::Rng, only_headers: bool) {
        for _ in 0..rng.u8(1..=3) {
            let length = self.bytes.len();
            match rng.u8(..if only_headers { 8 } else { 12 }) {
                0 => self.bytes.truncate(rng.usize(..=length)),
                // The end was never written.
                1 => {
                    let begin = if only_headers { length.saturating_sub(200) } else { 0 };
                    let begin = rng.usize(begin..=length);
                    self.bytes[begin..].fill(0);
                }
                2..8 => {
                    let header = rng.choice(&self.headers).cloned().unwrap_or_default();
                    let width = 1 << rng.u32(1..=3);
                    let at = header.start + rng.usize(..header.len() / width) * width;
                    let value = value(rng, length as u64).to_le_bytes();
                    if let Some(field) = self.bytes.get_mut(at..at + width) {
                        field.copy_from_slice(&value[..width]);
                    }
                }
                8 => self.bytes.extend(vec![0; rng.usize(..100)]),
                9 if length > 0 => {
                    let (from, to) = (rng.usize(..length), rng.usize(..length));
                    let size = rng.usize(..=(length - from.max(to)).min(200));
                    self.bytes.copy_within(from..from + size, to);
                }
                _ if length > 0 => self.bytes[rng.usize(..length)] = rng.u8(..),
                _ => {}
            }
        }
    }
}

/// A number that a field might not be made for.
fn value(rng: &mut fastrand::Rng, length: u64) -> u64 {
    match rng.u8(..8) {
        0 => rng.u64(..16),
        1 => rng.u64(..2 * length + 2),
        2 => (length + 2).saturating_sub(rng.u64(..5)),
        3 => u64::MAX - rng.u64(..3),
        4 => 1 << rng.u32(..64),
        5 => (1 << rng.u32(..64)) - 1,
        6 => rng.u64(..8) * PAGE as u64,
        _ => rng.u64(..),
    }
}
