//! The IRs of the movement kernels, compared with files that are reviewed as diffs.
//!
//! `TILEWRIGHT_BLESS=1 cargo test -p tilewright-dp --test golden` writes the files anew. Each kernel has two: `.ir` with
//! the canonical kernel and the proofs of its accesses, `.thread` with what each thread of an H200 does. `accesses.txt`
//! says how wide the accesses of all kernels are, for rows of several lengths and places. `meeting.txt` says of kernels in
//! which elements of a row meet who does a row, how often threads meet and exchange, and what they access.

mod catalogue;
#[path = "codegen/meeting.rs"]
mod meeting;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use catalogue::{Binding, Place, lowered, movers, others};
use half::bf16;
use similar::TextDiff;
use tilewright_dsl::lower::Lowered;
use tilewright_dsl::schedule::{Schedule, WARP};
use tilewright_dsl::thread::{Operation, Statement};
use tilewright_runtime::Variant;

/// The programs of the launches whose texts are kept.
const PROGRAMS: u64 = 1024;

/// A name for the files, the kernel, the length of its rows, where they are written and read, and how counts are bound.
type Case = (&'static str, &'static str, usize, Place, Place, Binding);

const CASES: [Case; 11] = {
    use Binding::{Device, Exact, Runtime};
    use Place::{Shifted, Whole};
    [
        ("gather_rows", "gather_rows", 7168, Whole, Whole, Runtime),
        ("scatter_rows", "scatter_rows", 7168, Whole, Whole, Runtime),
        ("copy_to_slot", "copy_to_slot", 7168, Whole, Whole, Runtime),
        ("copy_from_slot_exact", "copy_from_slot", 7168, Whole, Whole, Exact),
        (
            "copy_from_slot_padded_device",
            "copy_from_slot_padded",
            7168,
            Whole,
            Whole,
            Device,
        ),
        ("pad_rows", "pad_rows", 7168, Whole, Whole, Runtime),
        ("fill_and_place", "fill_and_place", 7168, Whole, Whole, Runtime),
        ("fill_and_place_exact", "fill_and_place", 7168, Whole, Whole, Exact),
        ("place_rows_exact", "place_rows", 7168, Whole, Whole, Exact),
        ("gather_rows_7167", "gather_rows", 7167, Whole, Whole, Runtime),
        ("copy_to_slot_misaligned", "copy_to_slot", 7168, Shifted, Whole, Runtime),
    ]
};

fn variant_of((_, kernel, columns, to, from, binding): &Case) -> std::sync::Arc<Variant> {
    let found = movers::<bf16>(*columns, *to, *from, *binding);
    let mover = found.into_iter().find(|mover| mover.name == *kernel);
    mover.expect("the kernel is in the catalogue").variant
}

/// The kernel and what is known of its accesses.
fn ir_text(variant: &Variant) -> String {
    let mut text = variant.kernel().to_string();
    for proof in variant.proofs() {
        writeln!(text, "{proof}").expect("a string grows");
    }
    text
}

/// The accesses of a kernel in a line: bytes of each, and how many a thread does.
fn accesses_text(about: &str, variant: &Variant) -> String {
    let mut text = format!("{} {about}:", variant.name());
    write_accesses(&mut text, &lowered(variant.kernel(), PROGRAMS));
    text + "\n"
}

fn write_accesses(text: &mut String, lowered: &Lowered) {
    let mut before = None;
    for access in &lowered.accesses {
        let key = (access.span, access.kind, access.tensor.clone());
        if before.as_ref() != Some(&key) {
            write!(text, " {} {}", access.kind, access.tensor).expect("a string grows");
            before = Some(key);
        }
        write!(text, " {}x{}", access.bytes, access.repeats).expect("a string grows");
        if let Some(why) = access.narrow {
            write!(text, " ({why})").expect("a string grows");
        }
    }
}

/// How elements of a row meet, in a line: who does a row, and what stands in the text.
fn meeting_text(about: &str, programs: u64, variant: &Variant) -> String {
    let lowered = lowered(variant.kernel(), programs);
    let (mut barriers, mut warps, mut exchanges) = (0, 0, 0);
    lowered.kernel.body.walk(&mut |statement, _| match statement {
        Statement::Barrier { group } if *group > WARP => barriers += 1,
        Statement::Barrier { .. } => warps += 1,
        Statement::Let {
            operation: Operation::Shuffle { .. } | Operation::Vote { .. },
            ..
        } => exchanges += 1,
        _ => {}
    });
    let Schedule {
        threads,
        programs_per_block,
        ..
    } = lowered.schedule;
    let shared = lowered.kernel.shared_bytes();
    let mut text = format!(
        "{} of {about}, {programs} programs: {threads} threads, {programs_per_block} programs of a block; {barriers} barriers, {warps} of warps, {exchanges} exchanges, {shared} bytes shared;",
        variant.name()
    );
    write_accesses(&mut text, &lowered);
    text + "\n"
}

/// What each thread of an H200 does, with the kernel's arguments.
fn thread_text(variant: &Variant) -> String {
    let lowered = lowered(variant.kernel(), PROGRAMS);
    let mut text = format!("// {PROGRAMS} programs.\n");
    for (_, spread) in &lowered.distributions {
        writeln!(text, "// {spread}.").expect("a string grows");
    }
    for (position, slot) in lowered.arguments.iter().enumerate() {
        writeln!(text, "// Argument {position}: {slot:?}.").expect("a string grows");
    }
    text + &lowered.kernel.to_string()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Compares with the file, or writes it; returns the difference as people read it.
fn difference(file: &str, found: &str) -> Option<String> {
    let path = folder().join(file);
    if std::env::var("TILEWRIGHT_BLESS").is_ok_and(|value| value == "1") {
        fs::write(&path, found).expect("the folder is there");
        return None;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    if expected == found {
        return None;
    }
    let diff = TextDiff::from_lines(expected.as_str(), found);
    let new = format!("{file} as generated now");
    Some(diff.unified_diff().context_radius(4).header(file, &new).to_string())
}

fn assert_same(files: &[(String, String)]) {
    let differences: Vec<String> = files.iter().filter_map(|(file, text)| difference(file, text)).collect();
    assert!(
        differences.is_empty(),
        "{}\nIf this is meant, TILEWRIGHT_BLESS=1 writes the files anew; review them with git diff.",
        differences.join("\n")
    );
}

#[test]
fn the_ir_of_every_movement_kernel_is_as_reviewed() {
    let files = CASES.map(|case| (format!("{}.ir", case.0), ir_text(&variant_of(&case))));
    assert_same(&files);
}

#[test]
fn the_thread_ir_of_every_movement_kernel_is_as_reviewed() {
    let files = CASES.map(|case| (format!("{}.thread", case.0), thread_text(&variant_of(&case))));
    assert_same(&files);
}

#[test]
fn the_accesses_of_every_kernel_are_as_wide_as_reviewed() {
    use Place::{Shifted, Whole};
    let mut text = String::new();
    let places = [
        (131, Whole, Whole, "131"),
        (576, Whole, Whole, "576"),
        (7167, Whole, Whole, "7167"),
        (7168, Whole, Whole, "7168"),
        (7168, Shifted, Whole, "7168, written one element behind"),
        (7168, Whole, Shifted, "7168, read one element behind"),
    ];
    for (columns, to, from, about) in places {
        for mover in movers::<bf16>(columns, to, from, Binding::Runtime) {
            text += &accesses_text(about, &mover.variant);
        }
    }
    for other in others() {
        text += &accesses_text("of the catalogue", &other.variant);
    }
    let files = [("accesses.txt".to_owned(), text)];
    assert_same(&files);
}

#[test]
fn elements_meet_as_reviewed() {
    let mut text = String::new();
    for columns in [8, 64, 131, 256, 512, 2048, 7168] {
        for variant in meeting::meeting(columns) {
            for programs in [64, 4096] {
                text += &meeting_text(&columns.to_string(), programs, &variant);
            }
        }
    }
    assert_same(&[("meeting.txt".to_owned(), text)]);
}

#[test]
fn counts_in_device_memory_are_loaded_together() {
    let mut together = 0;
    for mover in movers::<bf16>(7168, Place::Whole, Place::Whole, Binding::Device) {
        let kernel = lowered(mover.variant.kernel(), PROGRAMS).kernel;
        let is_count = |statement: &Statement| match statement {
            Statement::Let {
                operation: Operation::Load(load),
                ..
            } => kernel.buffers[load.place.buffer].name.starts_with("at_"),
            _ => false,
        };
        let mut counts = 0;
        kernel
            .body
            .walk(&mut |statement, _| counts += usize::from(is_count(statement)));
        let of_body = kernel.body.iter().map(|(statement, _)| is_count(statement));
        let first = of_body
            .skip_while(|is_count| !is_count)
            .take_while(|is_count| *is_count);
        // What many counts are for is looked for first.
        if (2..=4).contains(&counts) {
            assert_eq!(first.count(), counts, "{kernel}");
            together += 1;
        }
    }
    assert!(together > 2, "slots and places have two and three");
}

#[test]
fn no_golden_file_is_left_over_or_names_a_machine() {
    let expected = |name: &str| {
        let stem = name.strip_suffix(".ir").or(name.strip_suffix(".thread"));
        ["accesses.txt", "meeting.txt"].contains(&name)
            || stem.is_some_and(|stem| CASES.iter().any(|case| case.0 == stem))
    };
    for entry in fs::read_dir(folder()).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(expected(&name), "{name} belongs to no case");
        let text = fs::read_to_string(entry.path()).expect("text");
        assert!(!text.contains(" at /"), "{name}: paths are relative to the workspace");
    }
}
