//! Lists of tensors.

use super::*;
use crate::ir::{Bounds, Layout, Symbol};

/// list[program, program / 2] = program.
fn each(divisor: i64) -> Kernel {
    let mut b = Builder::new("each");
    let list = b.list("list", ElementType::I64, 1);
    let (program, by) = (b.program(0), b.index(divisor));
    let element = b.binary(crate::ir::BinaryOp::Divide, program, by);
    let one = b.binary(crate::ir::BinaryOp::Remainder, program, by);
    b.store(list, &[one, element], program);
    b.launch(6)
}

fn tensors<'a>(memories: &'a [HostMemory]) -> HostArgument<'a> {
    let one = |memory: &'a HostMemory| HostTensor::contiguous(memory, &[memory.len() / 8]);
    HostArgument::List(memories.iter().map(one).collect())
}

#[test]
fn programs_may_write_one_place_of_several_tensors_and_not_of_one() {
    let memories = [0; 3].map(|_| memory::<i64>(&[-1; 4]));
    run_default(&each(3), &[tensors(&memories)]).unwrap();
    assert_eq!(values::<i64>(&memories[2]), [2, 5, -1, -1]);
    let mut b = Builder::new("same");
    let list = b.list("list", ElementType::I64, 1);
    let (one, three, program) = (b.index(1), b.index(3), b.program(0));
    b.store(list, &[one, three], program);
    let error = run_default(&b.launch(2), &[tensors(&memories)]).unwrap_err();
    let InterpretError::Conflict(conflict) = error else {
        panic!("{error}")
    };
    assert_eq!((conflict.tensor.as_str(), &conflict.element[..]), ("list[1]", &[3][..]));
}

#[test]
fn a_removed_check_of_the_index_into_a_list_is_found() {
    for side in [-1i64, 2] {
        let mut b = Builder::new("unsound");
        let list = b.list("list", ElementType::I64, 1);
        let (at, zero) = (b.index(side), b.index(0));
        let mut access = b.access(list, &[at, zero]);
        access.guards[0] = crate::ir::Guard::NONE;
        let value = b.emit(crate::ir::Expression::Load(access));
        b.store(list, &[zero, zero], value);
        let memories = [0; 2].map(|_| memory::<i64>(&[7]));
        let error = run_default(&b.launch(1), &[tensors(&memories)]).unwrap_err();
        let InterpretError::UnsoundProof(access) = error else {
            panic!("{error}")
        };
        assert_eq!(
            (access.tensor.as_str(), access.axis, access.index, access.extent),
            ("list", 0, side, 2)
        );
    }
}

#[test]
fn extents_and_strides_are_those_of_the_tensor() {
    let strides = |layout: Layout| {
        let mut b = Builder::new("extents");
        let list = b.list("list", ElementType::I64, 2);
        let out = b.tensor("out", ElementType::I64, 2);
        b.tensor_mut(list).layout = layout;
        b.bounds = Bounds::Clamp;
        let (program, zero, one) = (b.program(0), b.index(0), b.index(1));
        let rows = b.of_member(Symbol::Extent { tensor: list, axis: 1 }, list, program);
        let stride = b.of_member(Symbol::Stride { tensor: list, axis: 1 }, list, program);
        b.store(out, &[program, zero], rows);
        b.store(out, &[program, one], stride);
        let (out, memories) = (
            memory::<i64>(&[-1; 6]),
            [memory::<i64>(&[0; 6]), memory::<i64>(&[0; 20])],
        );
        let list = [([2u64, 3], 0), ([5, 4], 1)].map(|(extents, at)| HostTensor::contiguous(&memories[at], &extents));
        let arguments = [
            HostArgument::List(list.to_vec()),
            HostArgument::contiguous(&out, &[3, 2]),
        ];
        run_default(&b.launch(3), &arguments).unwrap();
        values::<i64>(&out)
    };
    // The third is the nearest there is.
    for layout in [Layout::Contiguous, Layout::Rows { multiple: 1 }, Layout::Strided] {
        assert_eq!(strides(layout), [2, 3, 5, 4, 5, 4], "{layout}");
    }
}

#[test]
fn arguments_are_lists_whose_tensors_share_what_the_kernel_needs() {
    let mut b = Builder::new("shares");
    let list = b.list("list", ElementType::I64, 1);
    b.tensor_mut(list).list = Some(crate::ir::List {
        shared: [false, true, false, false],
        peers: false,
    });
    let kernel = b.launch(1);
    let memories = [memory::<i64>(&[0; 3]), memory::<i64>(&[0; 3]), memory::<i64>(&[0; 4])];
    run_default(&kernel, &[tensors(&memories[..2])]).unwrap();
    run_default(&kernel, &[tensors(&[])]).unwrap();
    let fault = |argument: HostArgument<'_>| match run_default(&kernel, &[argument]) {
        Err(InterpretError::Argument { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    let (one, other) = (3, 4);
    assert_eq!(fault(tensors(&memories)), ArgumentFault::Shared { axis: 0, one, other });
    assert_eq!(
        fault(whole::<i64>(&memories[0])),
        ArgumentFault::Kind("list of tensors")
    );
}
