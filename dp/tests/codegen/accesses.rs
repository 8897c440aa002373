//! The memory accesses of a binary, read from its machine code or its PTX.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// The bytes of one access at full width.
const WIDE: u32 = 16;

/// Memory accesses in the text of a kernel's machine code, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accesses {
    /// Loads from global memory.
    pub loads: Widths,
    /// Stores to global memory.
    pub stores: Widths,
    /// Loads and stores of local memory.
    pub local: usize,
    /// Calls of functions that were not inlined.
    pub calls: usize,
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
    /// Those in machine code, as `nvdisasm` prints it.
    pub fn of_code(program: &OsString, cubin: &[u8]) -> Self {
        Code::read(program, cubin).accesses
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
                _ if operation.starts_with("call") => found.calls += 1,
                _ => {}
            }
        }
        found
    }
}

/// What stands in the text of a kernel's machine code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Code {
    pub accesses: Accesses,
    /// Loads and stores of shared memory.
    pub shared: [usize; 2],
    /// Barriers of blocks.
    pub barriers: usize,
    /// Exchanges between the lanes of a warp.
    pub shuffles: usize,
    /// Calls and reciprocals: what divisions are made of.
    pub divisions: usize,
    pub instructions: usize,
    /// Those between a jump back and where it leads.
    pub in_loops: usize,
}

impl Code {
    /// What `nvdisasm` prints of a cubin.
    pub fn read(program: &OsString, cubin: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("kernel.cubin");
        fs::write(&file, cubin).expect("a temporary file");
        let output = Command::new(program)
            .arg("-c")
            .arg(&file)
            .output()
            .expect("nvdisasm runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::of_text(&String::from_utf8_lossy(&output.stdout))
    }

    fn of_text(text: &str) -> Self {
        let mut found = Self::default();
        let mut labels = HashMap::new();
        let mut repeated: Vec<bool> = Vec::new();
        for line in text.lines() {
            if let Some(label) = line.trim().strip_suffix(':') {
                labels.insert(label, repeated.len());
                continue;
            }
            // `/*0070*/  @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;`
            let words = line.split_whitespace().skip_while(|word| !word.starts_with("/*"));
            let mut words = words.skip(1).skip_while(|word| word.starts_with('@'));
            let Some(operation) = words.next().filter(|word| word.starts_with(char::is_uppercase)) else {
                continue;
            };
            let at = repeated.len();
            repeated.push(false);
            let accesses = &mut found.accesses;
            match operation.split('.').next().unwrap_or_default() {
                "LDG" | "LD" => accesses.loads.add(bytes_of_code(operation)),
                "STG" | "ST" => accesses.stores.add(bytes_of_code(operation)),
                "LDL" | "STL" => accesses.local += 1,
                "CALL" => {
                    accesses.calls += 1;
                    found.divisions += 1;
                }
                "MUFU" => found.divisions += usize::from(operation.contains("RCP")),
                "LDS" => found.shared[0] += 1,
                "STS" => found.shared[1] += 1,
                "BAR" => found.barriers += 1,
                "SHFL" => found.shuffles += 1,
                "BRA" => {
                    let label = line.split_once("`(").and_then(|(_, rest)| rest.split_once(')'));
                    // Code ends in a jump to itself, which nobody reaches.
                    if let Some(&start) = label.and_then(|(label, _)| labels.get(label))
                        && start < at
                    {
                        repeated[start..=at].fill(true);
                    }
                }
                _ => {}
            }
        }
        found.instructions = repeated.len();
        found.in_loops = repeated.iter().filter(|repeated| **repeated).count();
        found
    }
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
