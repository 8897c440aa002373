//! The memory accesses of a binary, read from its machine code or its PTX.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection};
use tilewright_runtime::compile::Architecture;

/// The bytes of one access at full width.
const WIDE: u32 = 16;

/// Memory accesses in the text of a kernel's machine code, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accesses {
    /// Loads from global memory.
    pub loads: Widths,
    /// Stores to global memory.
    pub stores: Widths,
    /// Loads behind a condition that stands behind another load, or behind a store; in PTX they are not counted.
    pub late_loads: usize,
    /// Loads and stores of local memory.
    pub local: usize,
    /// Functions that were not inlined: in machine code their returns, in PTX their calls.
    pub functions: usize,
}

/// Accesses by their bytes, and how many of each stand in the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Widths(BTreeMap<u32, usize>);

impl fmt::Display for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.0.iter().rev().map(|(bytes, count)| format!("{count}x{bytes}"));
        f.write_str(&widths.collect::<Vec<_>>().join("+"))
    }
}

impl Widths {
    fn add(&mut self, bytes: u32) {
        *self.0.entry(bytes).or_default() += 1;
    }

    /// Those of 16 bytes.
    pub fn wide(&self) -> usize {
        self.0.get(&WIDE).copied().unwrap_or(0)
    }

    /// All others.
    pub fn narrow(&self) -> usize {
        self.0.values().sum::<usize>() - self.wide()
    }

    /// The bytes that an access may have.
    pub fn bytes(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }
}

/// The disassembler, if there is one.
pub fn nvdisasm() -> Option<&'static OsString> {
    static FOUND: OnceLock<Option<OsString>> = OnceLock::new();
    let works = |program: &OsString| {
        let status = Command::new(program).arg("--version").output();
        status.is_ok_and(|output| output.status.success())
    };
    let find = || {
        let named = env::var_os("TILEWRIGHT_NVDISASM").filter(|value| !value.is_empty());
        if let Some(named) = named {
            assert!(works(&named), "TILEWRIGHT_NVDISASM names {named:?}, which does not run");
            return Some(named);
        }
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda-tools/nvidia/cu13/bin/nvdisasm");
        [OsString::from("nvdisasm"), unpacked.into()].into_iter().find(works)
    };
    FOUND.get_or_init(find).as_ref()
}

impl Accesses {
    /// Those in the machine code of each cubin of an architecture. One run of `nvdisasm` reads them all: it takes half a
    /// second to begin.
    pub fn of_code<'a>(
        program: &OsString,
        architecture: Architecture,
        cubins: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<Self> {
        let (mut code, mut ends) = (Vec::new(), Vec::new());
        for cubin in cubins {
            code.extend_from_slice(machine_code(cubin));
            ends.push(code.len());
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("code");
        fs::write(&file, code).expect("a temporary file");
        let raw = format!("--binary=SM{}", architecture.number());
        let output = Command::new(program)
            .arg(raw)
            .arg(&file)
            .output()
            .expect("nvdisasm runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::of_listing(&String::from_utf8_lossy(&output.stdout), &ends)
    }

    /// Those of every piece of a listing of machine code, whose pieces end at these addresses.
    fn of_listing(text: &str, ends: &[usize]) -> Vec<Self> {
        let mut found = vec![Self::default(); ends.len()];
        // The piece in which a load was followed by a condition.
        let mut late = None;
        for line in text.lines() {
            // `/*0070*/  @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;`
            let mut words = line.split_whitespace();
            let address = words
                .next()
                .and_then(|word| word.strip_prefix("/*")?.strip_suffix("*/"));
            let Some(address) = address else { continue };
            let address = usize::from_str_radix(address, 16).expect("an address");
            let number = ends.partition_point(|end| *end <= address);
            let accesses = &mut found[number];
            let mut words = words.peekable();
            let is_conditional = words.peek().is_some_and(|word| word.starts_with('@'));
            let operation = words
                .find(|word| word.starts_with(char::is_uppercase))
                .expect("an operation");
            let is_late = late == Some(number) || accesses.stores != Widths::default();
            match operation.split(['.', ';']).next().unwrap_or_default() {
                "LDG" | "LD" => {
                    accesses.loads.add(bytes_of_code(operation));
                    accesses.late_loads += usize::from(is_late);
                }
                "STG" | "ST" => accesses.stores.add(bytes_of_code(operation)),
                "BRA" | "EXIT" if is_conditional && accesses.loads != Widths::default() => late = Some(number),
                "LDL" | "STL" => accesses.local += 1,
                // Not `CALL`, by which code for sm_80 also jumps to its end.
                "RET" => accesses.functions += 1,
                _ => {}
            }
        }
        found
    }

    /// Those in PTX.
    pub fn of_ptx(ptx: &str) -> Self {
        let mut found = Self::default();
        // A line may have several instructions, some of them in a block of its own.
        for instruction in ptx.lines().flat_map(|line| line.split([';', '{', '}'])) {
            let mut words = instruction.split_whitespace().skip_while(|word| word.starts_with('@'));
            let Some(operation) = words.next() else { continue };
            match operation {
                _ if operation.starts_with("ld.") && operation.contains(".global") => {
                    found.loads.add(bytes_of_ptx(operation));
                }
                _ if operation.starts_with("st.global") => found.stores.add(bytes_of_ptx(operation)),
                ".local" => found.local += 1,
                _ if operation.starts_with("ld.local") || operation.starts_with("st.local") => found.local += 1,
                _ if operation.starts_with("call") => found.functions += 1,
                _ => {}
            }
        }
        found
    }
}

/// The instructions of a cubin's only function.
fn machine_code(cubin: &[u8]) -> &[u8] {
    let file = ElfFile64::<LittleEndian>::parse(cubin).expect("a cubin");
    let mut texts = file
        .sections()
        .filter(|section| section.name().is_ok_and(|name| name.starts_with(".text.")));
    let code = texts.next().expect("a function").data().expect("instructions");
    assert!(texts.next().is_none(), "several functions");
    code
}

/// The bytes of an access in machine code: those of `LDG.E.U8.CONSTANT` are 1, and 4 where nothing is said.
fn bytes_of_code(operation: &str) -> u32 {
    let bytes = |part| match part {
        "U8" | "S8" => Some(1),
        "U16" | "S16" => Some(2),
        "64" => Some(8),
        "128" => Some(16),
        "256" => Some(32),
        _ => None,
    };
    operation.split('.').find_map(bytes).unwrap_or(4)
}

/// The bytes of an access in PTX: those of `ld.global.nc.v4.u32` are 16.
fn bytes_of_ptx(operation: &str) -> u32 {
    let number = |part: &str, kinds: &[char]| part.strip_prefix(kinds).and_then(|number| number.parse::<u32>().ok());
    let lanes = operation.split('.').find_map(|part| number(part, &['v']));
    let bits = operation
        .split('.')
        .filter_map(|part| number(part, &['b', 'u', 's', 'f']))
        .next_back();
    lanes.unwrap_or(1) * bits.unwrap_or_else(|| panic!("an access of no type: {operation}")) / 8
}

#[test]
fn the_bytes_of_accesses_are_read_from_machine_code_and_ptx() {
    let code = [
        ("LDG.E.128.CONSTANT", 16),
        ("STG.E.64", 8),
        ("LDG.E", 4),
        ("STG.E.U16.STRONG.GPU", 2),
        ("LDG.E.S8", 1),
    ];
    for (operation, bytes) in code {
        assert_eq!(bytes_of_code(operation), bytes, "{operation}");
    }
    let ptx = [
        ("ld.global.nc.L1::no_allocate.v4.u32", 16),
        ("st.global.cs.v2.b64", 16),
        ("ld.relaxed.gpu.global.s8", 1),
    ];
    for (operation, bytes) in ptx {
        assert_eq!(bytes_of_ptx(operation), bytes, "{operation}");
    }
}

#[test]
fn a_listing_of_several_functions_is_read_as_each_of_them() {
    let listing = "\t.headerflags @\"EF_CUDA_SM90\"
        /*0000*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0010*/              @!P0 STG.E desc[UR4][R2.64], R5 ;
        /*0020*/                   EXIT ;
        /*0030*/                   STL [R1], R0 ;
        /*0040*/                   RET.REL.NODEC R2 0x0 ;
";
    let [first, second] = Accesses::of_listing(listing, &[0x30, 0x50]).try_into().expect("two");
    assert_eq!((first.loads.bytes(), first.stores.bytes()), (vec![16], vec![4]));
    assert_eq!(
        (first.local, first.functions, second.local, second.functions),
        (0, 0, 1, 1)
    );
}
