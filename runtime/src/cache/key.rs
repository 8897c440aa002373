//! What a cubin is found by.

use std::fmt;

use crate::compile::{Architecture, CompileOptions};

/// A hash of everything that a cubin is compiled from: the source, the name that its messages and line information carry, the
/// architecture and every other option. Nothing of the program that asks is in it, nor of the machine.
///
/// ```
/// use tilewright_runtime::cache::CubinKey;
/// use tilewright_runtime::compile::{Architecture, CompileOptions};
///
/// let hopper = CompileOptions::new(Architecture::new(9, 0));
/// let blackwell = CompileOptions::new(Architecture::new(10, 0));
/// let source = "extern \"C\" __global__ void idle() {}";
/// assert_eq!(CubinKey::of(source, "idle", &hopper), CubinKey::of(source, "idle", &hopper));
/// assert_ne!(CubinKey::of(source, "idle", &hopper), CubinKey::of(source, "idle", &blackwell));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CubinKey([u8; 32]);

impl CubinKey {
    /// The key of a compilation, as [`compile`](crate::compile::compile) is asked for it.
    pub fn of(source: &str, name: &str, options: &CompileOptions) -> Self {
        let mut hash = Texts::new("tilewright: key of a cubin, layout 1");
        hash.add(source);
        hash.add(name);
        options.arguments().iter().for_each(|argument| hash.add(argument));
        Self(hash.finish())
    }

    /// The key of a text of PTX for an architecture, whichever driver assembles it.
    pub fn of_ptx(text: &str, name: &str, architecture: Architecture) -> Self {
        let mut hash = Texts::new("tilewright: key of a cubin of PTX, layout 1");
        hash.add(text);
        hash.add(name);
        hash.add(&architecture.to_string());
        Self(hash.finish())
    }

    /// The key whose bytes these are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// All of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All of the hash, in hexadecimal digits.
    pub(super) fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl fmt::Display for CubinKey {
    /// The first 12 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CubinKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CubinKey({self})")
    }
}

/// A hash of texts, which tells where one ends and the next begins.
struct Texts(blake3::Hasher);

impl Texts {
    fn new(purpose: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(purpose))
    }

    fn add(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_decides_the_code_is_in_the_key() {
        let options = CompileOptions::new(Architecture::new(9, 0));
        let key = CubinKey::of("source", "name", &options);
        let mut lines = options.clone();
        lines.line_info = true;
        let mut extra = options.clone();
        extra.extra.push("--maxrregcount=32".to_owned());
        let mut split = options.clone();
        split.extra.extend(["--maxrregcount".to_owned(), "=32".to_owned()]);
        let others = [
            CubinKey::of("source2", "name", &options),
            CubinKey::of("source", "name2", &options),
            CubinKey::of("sourcen", "ame", &options),
            CubinKey::of("source", "name", &CompileOptions::new(Architecture::new(9, 1))),
            CubinKey::of("source", "name", &lines),
            CubinKey::of("source", "name", &extra),
            CubinKey::of("source", "name", &split),
            CubinKey::of_ptx("source", "name", options.arch),
            CubinKey::of_ptx("source2", "name", options.arch),
            CubinKey::of_ptx("source", "name2", options.arch),
            CubinKey::of_ptx("source", "name", Architecture::new(9, 1)),
        ];
        let all: std::collections::HashSet<_> = others.iter().chain([&key]).collect();
        assert_eq!(all.len(), others.len() + 1);
        assert_eq!(CubinKey::from_bytes(*key.as_bytes()), key);
        assert!(key.to_hex().starts_with(&key.to_string()) && key.to_hex().len() == 64);
    }
}
