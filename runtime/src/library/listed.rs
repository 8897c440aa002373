//! What `ldconfig` has listed: the file that the loader reads before it looks into the system's folders.

use std::path::PathBuf;

use crate::elf::text_at;

/// How the list begins, and its version.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// How an older list begins that may stand in front of it.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";

/// `struct cache_file_new` of glibc, and an entry of it.
const HEAD: usize = 48;
const ENTRY: usize = 24;
/// An entry that is for some processors only is not for us.
const HARDWARE: usize = 16;

/// The names and files in it; none where it is not a list.
pub(super) fn read(list: &[u8]) -> Vec<(String, PathBuf)> {
    entries(list).unwrap_or_default()
}

fn entries(file: &[u8]) -> Option<Vec<(String, PathBuf)>> {
    let begin = match file.starts_with(OLD_MAGIC) {
        true => (16 + word(file, 12)?.checked_mul(12)?).checked_next_multiple_of(8)?,
        false => 0,
    };
    let list = file.get(begin..).filter(|list| list.starts_with(MAGIC))?;
    let count = word(list, MAGIC.len())?;
    let (entries, _) = list.get(HEAD..)?.as_chunks::<ENTRY>();
    let read = |entry: &[u8; ENTRY]| {
        let is_for_all = entry[HARDWARE..].iter().all(|byte| *byte == 0);
        let (name, file) = (text_at(list, word(entry, 4)?)?, text_at(list, word(entry, 8)?)?);
        (is_for_all && file.starts_with('/')).then(|| (name.to_owned(), file.into()))
    };
    Some(entries.iter().take(count).filter_map(read).collect())
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of names and files, with an older list in front if `is_old`.
    fn list(entries: &[(&str, &str, u64)], is_old: bool) -> Vec<u8> {
        let mut list = MAGIC.to_vec();
        list.extend((entries.len() as u32).to_ne_bytes());
        list.resize(HEAD, 0);
        let mut texts = HEAD + entries.len() * ENTRY;
        let mut place = |text: &str| {
            let place = texts as u32;
            texts += text.len() + 1;
            place.to_ne_bytes()
        };
        for &(name, file, hardware) in entries {
            list.extend(0x303u32.to_ne_bytes());
            list.extend(place(name));
            list.extend(place(file));
            list.extend([0; 4]);
            list.extend(hardware.to_ne_bytes());
        }
        for (name, file, _) in entries {
            list.extend([name.as_bytes(), b"\0", file.as_bytes(), b"\0"].concat());
        }
        let mut file = Vec::new();
        if is_old {
            file.extend(OLD_MAGIC);
            file.extend(1u32.to_ne_bytes());
            file.resize((16usize + 12).next_multiple_of(8), 0);
        }
        file.extend(list);
        file
    }

    #[test]
    fn names_are_listed_with_their_files() {
        for is_old in [false, true] {
            let listed = list(
                &[
                    ("libnvrtc.so.13", "/opt/cuda/lib/libnvrtc.so.13", 0),
                    ("libnvrtc.so.13", "/opt/fast/libnvrtc.so.13", 1 << 62),
                    ("libother.so", "relative.so", 0),
                ],
                is_old,
            );
            assert_eq!(
                read(&listed),
                [(
                    "libnvrtc.so.13".to_owned(),
                    PathBuf::from("/opt/cuda/lib/libnvrtc.so.13")
                )]
            );
        }
    }

    #[test]
    fn the_list_of_this_machine_can_be_read() {
        let Ok(list) = std::fs::read("/etc/ld.so.cache") else {
            println!("skipped: there is no /etc/ld.so.cache");
            return;
        };
        assert!(read(&list).iter().any(|(name, _)| name.starts_with("libc.so")));
    }

    #[test]
    fn a_list_that_is_cut_off_or_changed_is_read_as_far_as_it_goes() {
        let whole = list(
            &[("libone.so", "/lib/libone.so", 0), ("libtwo.so", "/lib/libtwo.so", 0)],
            true,
        );
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).len() <= 2);
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] = 0xff;
            assert!(read(&changed).len() <= 2);
        }
    }
}
