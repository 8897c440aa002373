//! Rows that are moved by an index.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::run::{Argument, bind, check, checked, schedule};
use crate::element::ElementType;
use crate::ir::verify::build::Builder;
use crate::ir::{BinaryOp, Handle, Kernel};
use crate::lower::{Form, Lowered};
use crate::schedule::{LoadHint, Schedule, StoreHint, Work};
use crate::thread::index::Assignment;
use crate::thread::interpret::Memory;
use crate::thread::{Atom, Statement, Value, Variable};

/// out[i] = src[index[i]], or out[index[i]] = src[i].
fn moves(element: ElementType, columns: u32, scatters: bool) -> Kernel {
    let mut b = Builder::new(if scatters { "scatter_rows" } else { "gather_rows" });
    let out = b.tensor("out", element, 2);
    let src = b.tensor("src", element, 2);
    let index = b.tensor("index", ElementType::I32, 1);
    b.tensor_mut(src).mutable = false;
    b.tensor_mut(index).mutable = false;
    let row = b.program(0);
    let named = b.load(index, &[row]);
    let cols = b.arange(columns);
    let (to, from) = if scatters { (named, row) } else { (row, named) };
    let value = b.load(src, &[from, cols]);
    b.store(out, &[to, cols], value);
    let grid = b.extent(index, 0);
    let mut kernel = b.finish(&[grid]);
    // What the range analysis proves of the columns and the program.
    prove(&mut kernel, scatters);
    kernel
}

fn prove(kernel: &mut Kernel, scatters: bool) {
    use crate::ir::{Expression, Guard, Statement};
    let row = if scatters { 0 } else { 1 };
    let unguarded = |access: &mut crate::ir::Access, keeps: bool| {
        for (axis, guard) in access.guards.iter_mut().enumerate() {
            if !(keeps && axis == 0) {
                *guard = Guard::NONE;
            }
        }
    };
    let loads: Vec<_> = kernel.expressions.iter().map(|(handle, _)| handle).collect();
    for handle in loads {
        if let Expression::Load(access) = &mut kernel.expressions[handle] {
            unguarded(access, row == 1 && access.tensor == 1);
        }
    }
    for (statement, _) in kernel.body.iter_mut() {
        if let Statement::Store { access, .. } = statement {
            unguarded(access, row == 0);
        }
    }
}

fn arguments(element: ElementType, columns: u64, offsets: [u64; 2]) -> Vec<Argument> {
    // Distinct, with rows that there are not.
    let rows = [3i32, -1, 0, 4, i32::MAX, 1];
    let limit = if element == ElementType::Bool { 2 } else { u64::MAX };
    let bits = move |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) % limit;
    vec![
        Argument::tensor(element, &[6, columns], offsets[0], |at| (at % 2) & limit),
        Argument::tensor(element, &[6, columns], offsets[1], bits),
        Argument::tensor(ElementType::I32, &[6], 0, |at| u64::from(rows[at as usize] as u32)),
    ]
}

pub(super) fn moved(element: ElementType, columns: u64, scatters: bool, offsets: [u64; 2], by: &Schedule) -> Lowered {
    let arguments = arguments(element, columns, offsets);
    let mut kernel = moves(element, columns as u32, scatters);
    bind(&mut kernel, &arguments, true);
    check(&kernel, by, &arguments)
}

fn forms(lowered: &Lowered) -> Vec<Form> {
    lowered.distributions.iter().map(|(_, spread)| spread.form).collect()
}

#[test]
fn rows_of_7168_are_moved_in_packets_of_16_bytes() {
    for scatters in [false, true] {
        let lowered = moved(ElementType::BF16, 7168, scatters, [0, 0], &schedule(256, 4));
        let forms = forms(&lowered);
        assert_eq!(forms, [Form::Packets { lanes: 8, packets: 896 }]);
        assert_eq!(lowered.narrow, []);
    }
}

#[test]
fn the_texts_of_the_movement_kernels_are_those_that_are_kept() {
    for (scatters, columns, name) in [
        (false, 7168, "gather_rows"),
        (false, 7167, "gather_rows_7167"),
        (true, 7168, "scatter_rows"),
        (true, 7167, "scatter_rows_7167"),
    ] {
        let lowered = moved(ElementType::BF16, columns, scatters, [0, 0], &schedule(256, 4));
        let mut text = String::new();
        for (_, spread) in &lowered.distributions {
            text += &format!("{spread}\n");
        }
        text += &lowered.kernel.to_string();
        super::golden(&format!("{name}.txt"), &text);
    }
}

#[test]
fn every_element_type_is_moved_at_every_width_and_offset() {
    for element in ElementType::ALL {
        let size = element.size() as u64;
        for columns in [1, 7, 16, 33, 131, 256] {
            for offsets in [[0, 0], [size, 0], [0, 3 * size], [5 * size, 2 * size]] {
                for scatters in [false, true] {
                    moved(element, columns, scatters, offsets, &schedule(32, 2));
                }
            }
        }
    }
}

#[test]
fn where_rows_go_is_looked_up_for_those_that_there_are() {
    for (rows, columns, threads) in [(3, 5, 384), (3, 40, 64), (5, 131, 96), (3, 33, 1024), (1, 33, 96)] {
        for scatters in [false, true] {
            let mut b = Builder::new("rows");
            let (out, src) = (b.tensor("out", ElementType::U8, 2), b.tensor("src", ElementType::U8, 2));
            let index = b.tensor("index", ElementType::I32, 1);
            for tensor in [src, index] {
                b.tensor_mut(tensor).mutable = false;
            }
            let [row, cols] = [b.arange(rows), b.arange(columns)];
            let named = b.load(index, &[row]);
            let [row, named] = [row, named].map(|value| b.reshape(value, &[rows, 1]));
            let cols = b.reshape(cols, &[1, columns]);
            let (to, from) = if scatters { (named, row) } else { (row, named) };
            let value = b.load(src, &[from, cols]);
            b.store(out, &[to, cols], value);
            let mut kernel = b.launch(1);
            prove(&mut kernel, scatters);
            let bytes = |at| at % 251 + 1;
            let arguments = [
                Argument::tensor(ElementType::U8, &[8, columns.into()], 3, |_| 0),
                Argument::tensor(ElementType::U8, &[8, columns.into()], 5, bytes),
                Argument::tensor(ElementType::I32, &[rows.into()], 0, |at| 6 - at),
            ];
            bind(&mut kernel, &arguments, true);
            check(&kernel, &schedule(threads, 2), &arguments);
        }
    }
}

#[test]
fn every_schedule_moves_the_same() {
    for (threads, programs_per_block, splits, unroll) in [
        (1, 1, 1, 1),
        (2, 16, 1, 1),
        (8, 4, 1, 3),
        (16, 4, 1, 2),
        (32, 8, 1, 64),
        (96, 1, 1, 2),
        (64, 1, 3, 1),
        (1024, 1, 2, 1),
    ] {
        for load in LoadHint::ALL {
            let by = Schedule {
                programs_per_block,
                splits,
                load,
                ..schedule(threads, unroll)
            };
            for columns in [64, 67] {
                moved(ElementType::F16, columns, false, [2, 4], &by);
                moved(ElementType::F16, columns, true, [0, 2], &by);
            }
        }
    }
}

/// A thread of a block, in a kernel that looks up one row.
struct Moment {
    thread: i64,
    block: i64,
    row: i64,
    /// Where buffers begin, behind a line.
    address: i64,
    named: HashMap<Handle<Variable>, i64>,
}

impl Assignment for Moment {
    fn atom(&self, atom: Atom) -> i64 {
        match atom {
            Atom::Thread => self.thread,
            Atom::Block => self.block,
            Atom::Address(_) => self.address,
            Atom::Variable(variable) => self.named[&variable],
            Atom::Value(_) => self.row,
            Atom::Argument(_) => i64::from(u32::MAX),
            Atom::Lane(_) => panic!("a lane is left in {atom:?}"),
        }
    }

    fn holds(&self, _: Handle<Value>) -> bool {
        true
    }
}

/// Where each thread of a block stores packets of 16 bytes: a list of addresses for each such store.
fn stores(lowered: &Lowered, moment: &mut Moment, threads: i64) -> Vec<Vec<i64>> {
    let (kernel, mut stores) = (&lowered.kernel, Vec::new());
    for thread in 0..threads {
        moment.thread = thread;
        let mut nth = 0;
        for (statement, _) in &kernel.body {
            match statement {
                Statement::Name { variable, index } => {
                    let value = kernel.indices.evaluate(*index, moment);
                    moment.named.insert(*variable, value);
                }
                Statement::Store(store) if kernel.ty(store.value).bytes() == 16 => {
                    stores.resize(stores.len().max(nth + 1), Vec::new());
                    let is_here = |condition| kernel.indices.evaluate_condition(condition, moment);
                    if store.predicate.is_none_or(is_here) {
                        let offset = kernel.indices.evaluate(store.place.offset, moment);
                        stores[nth].push(moment.address + offset);
                    }
                    nth += 1;
                }
                _ => {}
            }
        }
    }
    stores
}

/// Rows of bf16 that begin in many ways: where each begins and ends, and where a block of so many threads stores packets of it.
fn stored_rows(lowered: &Lowered, columns: i64, threads: i64) -> impl Iterator<Item = (i64, i64, Vec<Vec<i64>>)> {
    let all = (0..8).flat_map(|row| [2, 14, 16, 18, 126].map(|behind| (row, behind)));
    all.map(move |(row, behind)| {
        let mut moment = Moment {
            thread: 0,
            block: row,
            row,
            address: 512 + behind,
            named: HashMap::new(),
        };
        let first = moment.address + row * columns * 2;
        (first, first + columns * 2, stores(lowered, &mut moment, threads))
    })
}

/// Whether each of the packets, which are numbered by their addresses, is stored once, and nothing else.
fn store_once(stores: &[Vec<i64>], packets: Range<i64>) -> bool {
    let mut all: Vec<_> = stores.iter().flatten().copied().collect();
    all.sort_unstable();
    all.into_iter().eq(packets.map(|packet| packet * 16))
}

#[test]
fn warps_store_whole_lines_of_long_rows_that_begin_anywhere() {
    const LINE: i64 = 128;
    let (columns, threads) = (1100, 96);
    for scatters in [false, true] {
        let lowered = moved(ElementType::BF16, columns, scatters, [2, 0], &schedule(threads, 2));
        let forms = forms(&lowered);
        assert!(matches!(forms[..], [Form::Rows { by_lines: true, .. }]), "{forms:?}");
        for (first, end, stores) in stored_rows(&lowered, columns as i64, threads.into()) {
            assert!(store_once(&stores, (first + 15) / 16..end / 16), "{first}: {stores:?}");
            // Whoever has none in the first line has the last ones.
            let [ref one, ref other] = stores[..] else {
                panic!("{} stores", stores.len());
            };
            let last = one.iter().take_while(|address| **address > first + LINE).count();
            assert_eq!(last as i64, (first + 15) / 16 * 16 % LINE / 16);
            assert!(
                one[..last]
                    .iter()
                    .copied()
                    .eq((1..=last as i64).rev().map(|nth| end / 16 * 16 - 16 * nth))
            );
            for warp in one.chunks(32).skip(1).chain(other.chunks(32)) {
                assert_eq!(warp[0] % LINE, 0, "{first}: {warp:?}");
                assert!(warp.windows(2).all(|pair| pair[1] == pair[0] + 16), "{warp:?}");
            }
        }
    }
}

#[test]
fn long_rows_are_moved_by_lines_from_every_offset_to_every_offset() {
    for (element, columns) in [
        (ElementType::U8, 2081),
        (ElementType::BF16, 1049),
        (ElementType::F32, 523),
        (ElementType::I64, 263),
    ] {
        let size = element.size() as u64;
        for offset in (0..128).step_by(size as usize) {
            let other = offset * 5 % 32 / size * size;
            for scatters in [false, true] {
                let by = schedule(if scatters { 64 } else { 96 }, 2);
                let lowered = moved(element, columns, scatters, [offset, other], &by);
                let forms = forms(&lowered);
                assert!(
                    matches!(forms[..], [Form::Rows { by_lines: true, .. }]),
                    "{offset}: {forms:?}"
                );
            }
        }
    }
}

#[test]
fn rows_whose_ends_are_asked_for_are_moved_by_sectors_from_every_offset_to_every_offset() {
    for (element, columns, threads) in [
        (ElementType::U8, 1041, 64),
        (ElementType::BF16, 199, 32),
        (ElementType::BF16, 1049, 96),
        (ElementType::F32, 131, 32),
        (ElementType::I64, 67, 16),
    ] {
        let size = element.size() as u64;
        for offset in (0..64).step_by(size as usize) {
            let other = offset * 5 % 32 / size * size;
            for (scatters, unroll) in [(false, 2), (true, 1), (true, 2), (true, 4)] {
                let lowered = moved(element, columns, scatters, [offset, other], &fetching(threads, unroll));
                let forms = forms(&lowered);
                assert!(
                    matches!(forms[..], [Form::Rows { by_sectors: true, .. }]),
                    "{offset}: {forms:?}"
                );
                let text = lowered.kernel.to_string();
                assert_eq!(text.matches("prefetch out").count(), 1, "{text}");
            }
        }
    }
    // Ends of which a thread would have several stay as short as they can be.
    let lowered = moved(ElementType::BF16, 131, true, [2, 0], &fetching(16, 1));
    assert!(matches!(forms(&lowered)[..], [Form::Rows { by_sectors: false, .. }]));
}

fn fetching(threads: u32, unroll: u32) -> Schedule {
    Schedule {
        store: StoreHint::Fetched,
        ..schedule(threads, unroll)
    }
}

#[test]
fn whole_sectors_of_a_row_are_stored_by_one_warp_at_once_and_its_ends_by_themselves() {
    // By lines, and of what is short enough to be chosen.
    for (columns, threads) in [(1100, 96), (767, 64), (321, 32)] {
        let lowered = moved(ElementType::BF16, columns, true, [2, 0], &fetching(threads, 2));
        for (first, end, stores) in stored_rows(&lowered, columns as i64, threads.into()) {
            assert!(
                store_once(&stores, (first + 31) / 32 * 2..end / 32 * 2),
                "{first}: {stores:?}"
            );
            for warp in stores.iter().flat_map(|store| store.chunks(32)) {
                let sectors: Vec<_> = warp.iter().map(|address| address / 32).collect();
                for sector in &sectors {
                    assert_eq!(sectors.iter().filter(|other| *other == sector).count(), 2, "{warp:?}");
                }
            }
        }
    }
}

/// The sectors of which rows that are scattered have a part, by their numbers.
fn shared_sectors(size: u64, columns: u64, offset: u64) -> BTreeSet<u64> {
    // The first tensor is where it would be if it were the only one.
    let out = Memory::new().allocate(vec![0; 6 * (size * columns) as usize], offset);
    // Where rows go, as `arguments` says, if there is such a one.
    let starts = [3, 0, 4, 1].map(|row| out + row * columns * size);
    let ends = starts.iter().flat_map(|start| [*start, start + columns * size]);
    ends.filter(|end| !end.is_multiple_of(32)).map(|end| end / 32).collect()
}

#[test]
fn l2_is_asked_for_the_sectors_that_ends_share_behind_what_is_loaded_and_ahead_of_what_is_stored() {
    let single = |threads, unroll| Schedule {
        wide: false,
        ..fetching(threads, unroll)
    };
    let split = Schedule {
        splits: 3,
        ..fetching(32, 1)
    };
    let beside = Schedule {
        programs_per_block: 4,
        ..fetching(16, 1)
    };
    for (element, columns, by) in [
        (ElementType::U8, 656, fetching(64, 1)),
        (ElementType::U8, 640, fetching(64, 1)),
        (ElementType::U8, 3, fetching(4, 1)),
        (ElementType::F32, 6, fetching(8, 1)),
        (ElementType::F32, 2, fetching(1, 1)),
        (ElementType::I64, 67, beside),
        (ElementType::BF16, 131, beside),
        (ElementType::BF16, 767, fetching(64, 2)),
        (ElementType::BF16, 1100, split),
        (ElementType::BF16, 131, single(64, 3)),
        (ElementType::BF16, 3000, single(64, 3)),
    ] {
        let size = element.size() as u64;
        for late in (0..32).step_by(size as usize) {
            let arguments = arguments(element, columns, [late, 0]);
            let mut kernel = moves(element, columns as u32, true);
            bind(&mut kernel, &arguments, true);
            let (lowered, outcome) = checked(&kernel, &by, &arguments);
            let text = lowered.kernel.to_string();
            let asked: BTreeSet<_> = outcome.prefetched.iter().map(|at| at / 32).collect();
            assert_eq!(asked, shared_sectors(size, columns, late), "{late}\n{text}");
            let at = |what: &str| {
                let lines = text.lines().enumerate().filter(|(_, line)| line.contains(what));
                lines.map(|(at, _)| at).collect::<Vec<_>>()
            };
            let (loads, asked, stores) = (at("load src"), at("prefetch out"), at("store out"));
            assert!(
                asked.iter().all(|asked| stores.iter().all(|store| store > asked)),
                "{text}"
            );
            // A loop of loads and stores has all of them ahead.
            let is_behind = asked.iter().all(|asked| loads.iter().all(|load| load < asked));
            assert!(is_behind || text.contains("for "), "{text}");
        }
    }
}

#[test]
fn rows_scatter_ends_if_they_are_moved_to_where_an_index_says_and_are_no_whole_sectors() {
    for (element, columns, shares) in [
        (ElementType::U8, 656, true),
        (ElementType::U8, 640, false),
        (ElementType::BF16, 131, true),
        (ElementType::BF16, 48, false),
        (ElementType::F32, 6, true),
        (ElementType::F32, 8, false),
    ] {
        for (scatters, late) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut kernel = moves(element, columns, scatters);
            let late = if late { element.size() as u64 } else { 0 };
            bind(&mut kernel, &arguments(element, columns.into(), [late, 0]), true);
            let found = Work::of(&kernel).scatters_ends;
            assert_eq!(found, scatters && (shares || late > 0), "{element} {columns} {late}");
        }
    }
    // What is computed, and rows one after the other beside something else that an index says the place of.
    for computes in [true, false] {
        let mut b = Builder::new("others");
        let tensor = |b: &mut Builder, name: &str| b.tensor(name, ElementType::F32, 2);
        let (out, src, other) = (tensor(&mut b, "out"), tensor(&mut b, "src"), tensor(&mut b, "other"));
        let index = b.tensor("index", ElementType::I32, 1);
        let (row, cols, zero) = (b.program(0), b.arange(6), b.index(0));
        let named = b.load(index, &[row]);
        let value = b.load(src, &[row, cols]);
        match computes {
            true => {
                let twice = b.binary(BinaryOp::Add, value, value);
                b.store(out, &[named, cols], twice);
            }
            false => {
                b.store(out, &[row, cols], value);
                let first = b.load(src, &[row, zero]);
                b.store(other, &[named, zero], first);
            }
        }
        let work = Work::of(&b.launch(1));
        assert!(work.indirect_store && !work.scatters_ends, "{computes}");
    }
}

#[test]
fn tiles_of_several_long_rows_are_moved_by_lines() {
    // Of so many rows of a tensor whose rows are longer, one after the other, also in a loop.
    for (rows, columns, threads, splits) in [(2, 1049, 64, 1), (3, 1040, 32, 2), (6, 1101, 128, 1)] {
        for offset in [0, 1, 7, 8, 9, 63] {
            let mut b = Builder::new("tiles");
            let (out, src) = (
                b.tensor("out", ElementType::BF16, 2),
                b.tensor("src", ElementType::BF16, 2),
            );
            b.tensor_mut(src).mutable = false;
            let (row, cols) = (b.arange(rows), b.arange(columns));
            let (row, cols) = (b.reshape(row, &[rows, 1]), b.reshape(cols, &[1, columns]));
            let value = b.load(src, &[row, cols]);
            b.store(out, &[row, cols], value);
            let mut kernel = b.launch(1);
            let extents = [u64::from(rows), u64::from(columns) + 2];
            let arguments = [
                Argument::tensor(ElementType::BF16, &extents, 2 * offset, |_| 0),
                Argument::tensor(ElementType::BF16, &extents, 6, |at| at + 1),
            ];
            bind(&mut kernel, &arguments, true);
            let by = Schedule {
                splits,
                ..schedule(threads, 2)
            };
            let lowered = check(&kernel, &by, &arguments);
            let forms = forms(&lowered);
            assert!(matches!(forms[..], [Form::Rows { by_lines: true, .. }]), "{forms:?}");
        }
    }
}
