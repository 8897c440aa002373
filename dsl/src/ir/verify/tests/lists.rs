//! Lists of tensors.

use super::*;
use crate::ir::{Access, Expression, List, Symbol, Type};

/// A builder with the list `list: f32[.., ..]`.
fn listed() -> (Builder, u32) {
    let (mut b, ..) = builder();
    let list = b.list("list", ElementType::F32, 2);
    (b, list)
}

fn extent(tensor: u32, axis: u8) -> Symbol {
    Symbol::Extent { tensor, axis }
}

#[test]
fn a_tensor_of_a_list_is_loaded_from_and_says_its_extents() {
    let (mut b, list) = listed();
    let (one, row, cols) = (b.program(0), b.index(3), b.arange(7));
    let value = b.load(list, &[one, row, cols]);
    b.store(list, &[one, row, cols], value);
    for symbol in [
        extent(list, 1),
        extent(list, 2),
        Symbol::Stride { tensor: list, axis: 1 },
    ] {
        b.of_member(symbol, list, one);
    }
    let (length, most) = (b.extent(list, 0), b.extent(list, 2));
    b.verified(&[length, most]).unwrap();
}

#[test]
fn a_list_has_an_axis_of_its_own_and_shares_those_of_its_tensors() {
    let faulty = |rank: u8, shared: [bool; 4]| {
        let (mut b, ..) = builder();
        let list = b.tensor("list", ElementType::F32, rank);
        b.tensor_mut(list).list = Some(List { shared, peers: false });
        (
            fault(b),
            Fault::List {
                name: "list".into(),
                rank,
                shared,
            },
        )
    };
    for (rank, shared) in [
        (1, [false; 4]),
        (3, [true, false, false, false]),
        (3, [false, false, false, true]),
    ] {
        let (found, expected) = faulty(rank, shared);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_scalar_says_which_tensor_it_is() {
    let (mut b, list) = listed();
    let (tile, row) = (b.arange(7), b.index(0));
    let access = b.access(list, &[tile, row, row]);
    b.emit(Expression::Load(access));
    let tensor = "list".into();
    assert_eq!(
        fault(b),
        Fault::ListIndex {
            tensor,
            shape: shape(&[7])
        }
    );
}

#[test]
fn an_extent_is_one_of_one_tensor_named_by_one_index() {
    type Change = fn(&mut Builder, u32, &mut Symbol, &mut Access);
    let cases: [(Change, Fault); 6] = [
        (
            |_, list, symbol, _| *symbol = extent(list, 0),
            Fault::MemberSymbol(extent(2, 0)),
        ),
        (
            |_, _, symbol, _| *symbol = extent(0, 1),
            Fault::MemberSymbol(extent(0, 1)),
        ),
        (
            |_, _, symbol, _| *symbol = Symbol::ProgramId(0),
            Fault::MemberSymbol(Symbol::ProgramId(0)),
        ),
        (
            |b, _, _, access| access.indices[0] = b.literal(1i32),
            Fault::MemberIndex(Type::scalar(ElementType::I32)),
        ),
        (
            |_, _, _, access| access.indices.push(access.indices[0]),
            Fault::MemberAccess {
                tensor: "list".into(),
                found: 2,
            },
        ),
        (
            |b, _, _, access| access.mask = Some(b.literal(true)),
            Fault::MemberAccess {
                tensor: "list".into(),
                found: 1,
            },
        ),
    ];
    for (change, expected) in cases {
        let (mut b, list) = listed();
        let one = b.index(0);
        let (mut symbol, mut access) = (extent(list, 1), b.access(list, &[one]));
        change(&mut b, list, &mut symbol, &mut access);
        b.emit(Expression::Member { symbol, access });
        assert_eq!(fault(b), expected);
    }
    let (mut b, list) = listed();
    let stride = Symbol::Stride { tensor: list, axis: 1 };
    b.emit(Expression::Symbol(stride));
    assert_eq!(fault(b), Fault::ListStride(stride));
}

#[test]
fn a_grid_cannot_depend_on_one_tensor_of_a_list() {
    let (mut b, list) = listed();
    let one = b.index(0);
    let rows = b.of_member(extent(list, 1), list, one);
    let error = b.verified(&[rows]).unwrap_err().fault;
    let what = "the extent of one tensor of a list";
    assert_eq!(error, Fault::GridValue { axis: 0, what });
}

#[test]
fn behind_a_list_of_peers_tensors_comes_the_rank() {
    let verified = |counts: bool| {
        let mut b = Builder::new("peers");
        let list = b.list("buffers", ElementType::F32, 1);
        b.tensor_mut(list).list = Some(List {
            shared: [false; 4],
            peers: true,
        });
        match counts {
            true => drop(b.count("rank")),
            false => drop(b.scalar("rank", ElementType::I64)),
        }
        let grid = b.index(1);
        b.verified(&[grid]).map(|_| ()).map_err(|error| error.fault)
    };
    assert_eq!(verified(true), Ok(()));
    let fault = verified(false).unwrap_err();
    assert_eq!(fault, Fault::PeersWithoutRank("buffers".into()));
}

#[test]
fn an_atomic_operation_may_be_on_several_tensors_of_a_list() {
    let verified = |atomically: bool| {
        let mut b = Builder::new("several");
        let list = b.list("flags", ElementType::U32, 1);
        let (all, zero) = (b.emit(Expression::Arange(4)), b.index(0));
        let access = b.access(list, &[all, zero]);
        match atomically {
            true => b.emit(Expression::Atomic(crate::ir::Atomic {
                access,
                update: crate::ir::AtomicUpdate::Load,
                order: crate::ir::MemoryOrder::Relaxed,
                scope: crate::ir::MemoryScope::System,
            })),
            false => b.emit(Expression::Load(access)),
        };
        let grid = b.index(1);
        b.verified(&[grid]).map(|_| ()).map_err(|error| error.fault)
    };
    assert_eq!(verified(true), Ok(()));
    assert!(matches!(verified(false), Err(Fault::ListIndex { .. })));
}
