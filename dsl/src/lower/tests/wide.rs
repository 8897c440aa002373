//! Which accesses become wide: the shapes that a reader of printed text does not see through.

use super::run::{Argument, bind, check, schedule};
use crate::element::ElementType;
use crate::ir::verify::build::{Builder, Value};
use crate::ir::{BinaryOp, CompareOp, Expression, Guard, Kernel, Statement};
use crate::lower::Lowered;
use crate::schedule::Schedule;
use crate::thread::{Operation, passes::Why};

const BF16: ElementType = ElementType::BF16;

/// A kernel over tensors of these elements and extents, the first of which is written, without checks that a proof
/// takes away.
pub(super) struct Case {
    pub(super) b: Builder,
    tensors: Vec<u32>,
    arguments: Vec<Argument>,
}

impl Case {
    pub(super) fn new(tensors: &[(ElementType, &[u64])]) -> Self {
        let mut case = Self {
            b: Builder::new("wide"),
            tensors: Vec::new(),
            arguments: Vec::new(),
        };
        for (number, (element, extents)) in tensors.iter().enumerate() {
            let tensor = case.b.tensor(&format!("t{number}"), *element, extents.len() as u8);
            case.b.tensor_mut(tensor).mutable = number == 0;
            case.tensors.push(tensor);
            let bits = |at: u64| at.wrapping_mul(0x9e37_79b9) % 0x3f00;
            case.arguments.push(Argument::tensor(*element, extents, 0, bits));
        }
        case
    }

    fn lowered(self, programs: i64, guarded: bool) -> Lowered {
        self.lowered_by(programs, guarded, &schedule(128, 2))
    }

    pub(super) fn lowered_by(self, programs: i64, guarded: bool, schedule: &Schedule) -> Lowered {
        let mut kernel = self.b.launch(programs);
        if !guarded {
            unguard(&mut kernel);
        }
        bind(&mut kernel, &self.arguments, true);
        check(&kernel, schedule, &self.arguments)
    }
}

fn unguard(kernel: &mut Kernel) {
    let all: Vec<_> = kernel.expressions.iter().map(|(handle, _)| handle).collect();
    for handle in all {
        if let Expression::Load(access) = &mut kernel.expressions[handle] {
            access.guards.iter_mut().for_each(|guard| *guard = Guard::NONE);
        }
    }
    for (statement, _) in kernel.body.iter_mut() {
        if let Statement::Store { access, .. } = statement {
            access.guards.iter_mut().for_each(|guard| *guard = Guard::NONE);
        }
    }
}

/// Loads of so many bytes, over the whole kernel.
pub(super) fn loads(lowered: &Lowered, bytes: u32) -> usize {
    let mut count = 0;
    lowered.kernel.body.walk(&mut |statement, _| {
        if let crate::thread::Statement::Let {
            operation: Operation::Load(load),
            ..
        } = statement
        {
            count += usize::from(load.ty.bytes() == bytes);
        }
    });
    count
}

pub(super) fn stores(lowered: &Lowered, bytes: u32) -> usize {
    let mut count = 0;
    lowered.kernel.body.walk(&mut |statement, _| {
        if let crate::thread::Statement::Store(store) = statement {
            count += usize::from(lowered.kernel.ty(store.value).bytes() == bytes);
        }
    });
    count
}

pub(super) fn is_wide(lowered: &Lowered) {
    assert_eq!(lowered.narrow, [], "{}", lowered.kernel);
    assert_eq!(loads(lowered, 2) + stores(lowered, 2), 0, "{}", lowered.kernel);
}

fn slice(b: &mut Builder, value: Value, start: u32, step: i32, extent: u32) -> Value {
    b.emit(Expression::Slice {
        value,
        axis: 0,
        start,
        step,
        extent,
    })
}

#[test]
fn a_slice_is_loaded_in_packets() {
    for start in [0, 64] {
        let mut case = Case::new(&[(BF16, &[4, 512]), (BF16, &[4, 1024])]);
        let b = &mut case.b;
        let (row, all, cols) = (b.program(0), b.arange(1024), b.arange(512));
        let value = b.load(1, &[row, all]);
        let part = slice(b, value, start, 1, 512);
        b.store(0, &[row, cols], part);
        is_wide(&case.lowered(4, false));
    }
}

#[test]
fn a_slice_that_begins_between_packets_is_shifted_together() {
    let mut case = Case::new(&[(BF16, &[4, 512]), (BF16, &[4, 1024])]);
    let b = &mut case.b;
    let (row, all, cols) = (b.program(0), b.arange(1024), b.arange(512));
    let value = b.load(1, &[row, all]);
    let part = slice(b, value, 3, 1, 512);
    b.store(0, &[row, cols], part);
    let lowered = case.lowered(4, false);
    is_wide(&lowered);
    // Two aligned packets for each.
    assert_eq!(loads(&lowered, 16), 2 * stores(&lowered, 16));
}

#[test]
fn every_second_element_and_a_reversed_row_take_whole_packets_apart() {
    for (start, step) in [(0, 2), (1, 2), (511, -1)] {
        let mut case = Case::new(&[(BF16, &[4, 256]), (BF16, &[4, 512])]);
        let b = &mut case.b;
        let (row, all, cols) = (b.program(0), b.arange(512), b.arange(256));
        let value = b.load(1, &[row, all]);
        let part = slice(b, value, start, step, 256);
        b.store(0, &[row, cols], part);
        let lowered = case.lowered(4, false);
        assert!(
            stores(&lowered, 16) > 0 && stores(&lowered, 2) == 0,
            "{}",
            lowered.kernel
        );
        if step == -1 {
            is_wide(&lowered);
        }
    }
}

#[test]
fn a_concatenation_reads_each_side_where_it_is_its_own() {
    // A latent and a rotated part, whose row is their sum.
    let mut case = Case::new(&[(BF16, &[4, 576]), (BF16, &[4, 512]), (BF16, &[4, 64])]);
    let b = &mut case.b;
    let (row, first, second, cols) = (b.program(0), b.arange(512), b.arange(64), b.arange(576));
    let (left, right) = (b.load(1, &[row, first]), b.load(2, &[row, second]));
    let both = b.emit(Expression::Concatenate { left, right, axis: 0 });
    b.store(0, &[row, cols], both);
    let lowered = case.lowered(4, false);
    is_wide(&lowered);
    // One packet of each side for each that is stored at most.
    assert!(loads(&lowered, 16) <= 2 * stores(&lowered, 16), "{}", lowered.kernel);
}

#[test]
fn a_row_is_changed_in_place_in_packets_wherever_it_begins() {
    for columns in [7168u64, 7167] {
        let mut case = Case::new(&[(BF16, &[3, columns])]);
        let b = &mut case.b;
        let (row, cols) = (b.program(0), b.arange(columns as u32));
        let value = b.load(0, &[row, cols]);
        let twice = b.add(value, value);
        b.store(0, &[row, cols], twice);
        let lowered = case.lowered(3, false);
        assert_eq!(lowered.narrow, [], "{}", lowered.kernel);
        assert!(
            loads(&lowered, 16) > 0 && stores(&lowered, 16) > 0,
            "{}",
            lowered.kernel
        );
        if columns == 7168 {
            is_wide(&lowered);
        }
    }
}

#[test]
fn blocks_of_a_long_row_are_changed_in_place_in_packets_with_a_tail() {
    for (length, guarded) in [(4096u64, false), (4000, true), (4090, true)] {
        let mut case = Case::new(&[(BF16, &[length])]);
        let b = &mut case.b;
        let (block, width, range) = (b.program(0), b.index(1024), b.arange(1024));
        let first = b.mul(block, width);
        let at = b.add(range, first);
        let value = b.load(0, &[at]);
        let twice = b.add(value, value);
        b.store(0, &[at], twice);
        let lowered = case.lowered(4, guarded);
        assert_eq!(lowered.narrow, [], "{}", lowered.kernel);
        assert!(stores(&lowered, 16) > 0, "{}", lowered.kernel);
        if !guarded {
            is_wide(&lowered);
        }
    }
}

#[test]
fn what_is_the_same_along_a_packet_is_loaded_once() {
    // A scale for 128 columns.
    let mut case = Case::new(&[
        (ElementType::F32, &[4, 1024]),
        (ElementType::F32, &[4, 8]),
        (ElementType::F32, &[4, 1024]),
    ]);
    let b = &mut case.b;
    let (row, cols, by) = (b.program(0), b.arange(1024), b.index(128));
    let group = b.binary(BinaryOp::Divide, cols, by);
    let (scale, value) = (b.load(1, &[row, group]), b.load(2, &[row, cols]));
    let scaled = b.binary(BinaryOp::Multiply, value, scale);
    b.store(0, &[row, cols], scaled);
    let lowered = case.lowered(4, false);
    assert_eq!(lowered.narrow, [], "{}", lowered.kernel);
    assert_eq!(loads(&lowered, 4), stores(&lowered, 16), "{}", lowered.kernel);
}

#[test]
fn a_permuted_tile_whose_inner_axis_stays_is_moved_in_packets() {
    let mut case = Case::new(&[(BF16, &[8, 4, 64]), (BF16, &[4, 8, 64])]);
    let b = &mut case.b;
    let axis = |b: &mut Builder, extent: u32, behind: &[u32]| {
        let range = b.arange(extent);
        let mut extents = vec![extent];
        extents.extend(behind);
        b.reshape(range, &extents)
    };
    let source = [axis(b, 4, &[1, 1]), axis(b, 8, &[1]), axis(b, 64, &[])];
    let value = b.load(1, &source);
    let value = b.emit(Expression::Permute {
        value,
        axes: [1u8, 0, 2].into_iter().collect(),
    });
    let target = [axis(b, 8, &[1, 1]), axis(b, 4, &[1]), axis(b, 64, &[])];
    b.store(0, &target, value);
    is_wide(&case.lowered(1, false));
}

#[test]
fn a_mask_that_is_the_same_along_a_packet_leaves_it_whole() {
    let mut case = Case::new(&[(BF16, &[4, 512]), (BF16, &[4, 512])]);
    let b = &mut case.b;
    let (row, cols, limit) = (b.program(0), b.arange(512), b.index(256));
    let mask = b.compare(CompareOp::Less, cols, limit);
    let value = b.load_where(1, &[row, cols], mask);
    b.store_where(0, &[row, cols], value, mask);
    is_wide(&case.lowered(4, false));
}

#[test]
fn two_rows_that_are_joined_are_each_loaded_in_packets() {
    // Element 2 * i is of the one, and 2 * i + 1 of the other.
    let mut case = Case::new(&[(BF16, &[4, 512]), (BF16, &[4, 256]), (BF16, &[4, 256])]);
    let b = &mut case.b;
    let (row, half, cols) = (b.program(0), b.arange(256), b.arange(512));
    let (one, other) = (b.load(1, &[row, half]), b.load(2, &[row, half]));
    let (left, right) = (b.reshape(one, &[256, 1]), b.reshape(other, &[256, 1]));
    let joined = b.emit(Expression::Concatenate { left, right, axis: 1 });
    let flat = b.reshape(joined, &[512]);
    b.store(0, &[row, cols], flat);
    let lowered = case.lowered(4, false);
    assert!(
        stores(&lowered, 16) > 0 && stores(&lowered, 2) == 0,
        "{}",
        lowered.kernel
    );
    assert_eq!(loads(&lowered, 2), 0, "{}", lowered.kernel);
}

#[test]
fn what_is_scattered_says_why() {
    let mut case = Case::new(&[(BF16, &[4, 64]), (BF16, &[64]), (ElementType::I32, &[64])]);
    let b = &mut case.b;
    let (row, cols) = (b.program(0), b.arange(64));
    let at = b.load(2, &[cols]);
    let value = b.load(1, &[at]);
    b.store(0, &[row, cols], value);
    let lowered = case.lowered(4, true);
    let narrow: Vec<_> = lowered
        .narrow
        .iter()
        .map(|narrow| (narrow.buffer.as_str(), narrow.why))
        .collect();
    assert_eq!(narrow, [("t1", Why::Loaded)]);
}
