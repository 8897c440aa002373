//! One malformed kernel per kind of fault.

mod accesses;
mod atomics;
mod bodies;
mod claims;
mod grids;
mod kinds;
mod lists;
mod promises;
mod references;
mod values;

use super::build::Builder;
use super::{Fault, verify};
use crate::element::ElementType;
use crate::ir::{Kernel, Shape, Span};

/// The fault of a kernel of one program.
fn fault(mut builder: Builder) -> Fault {
    let grid = builder.index(1);
    builder.verified(&[grid]).unwrap_err().fault
}

fn fault_of(kernel: &Kernel) -> Fault {
    verify(kernel).unwrap_err().fault
}

fn shape(extents: &[u32]) -> Shape {
    Shape::new(extents).unwrap()
}

fn too_many(shape: Shape) -> Fault {
    Fault::TooManyElements {
        shape,
        limit: super::MAX_ELEMENTS,
    }
}

/// A builder with the tensors `out: f32[.., ..]` and `index: i32[..]`.
fn builder() -> (Builder, u32, u32) {
    let mut b = Builder::new("kernel");
    let out = b.tensor("out", ElementType::F32, 2);
    let index = b.tensor("index", ElementType::I32, 1);
    (b, out, index)
}

#[test]
fn a_well_formed_kernel_is_accepted() {
    let (mut b, out, index) = builder();
    let row = b.program(0);
    let cols = b.arange(7);
    let from = b.load(index, &[row]);
    let value = b.load(out, &[from, cols]);
    let sum = b.variable("sum", value);
    let (low, high) = (b.index(0), b.index(3));
    b.for_loop(low, high, 1, |b, i| {
        let (before, more) = (b.read(sum), b.load(out, &[i, cols]));
        let after = b.add(before, more);
        b.assign(sum, after);
    });
    let total = b.read(sum);
    b.store(out, &[row, cols], total);
    let grid = b.extent(out, 0);
    assert_eq!(b.verified(&[grid]).map(|_| ()), Ok(()));
}

#[test]
fn an_error_has_the_place_and_says_what_is_wrong() {
    let (mut b, out, _) = builder();
    b.tensor_mut(out).mutable = false;
    let zero = b.index(0);
    let value = b.literal(1f32);
    b.store(out, &[zero, zero], value);
    let grid = b.index(1);
    let error = b.verified(&[grid]).unwrap_err();
    assert_eq!(
        error.span,
        Span {
            file: "kernel.rs",
            line: 2,
            column: 5
        }
    );
    assert_eq!(
        error.to_string(),
        "tensor `out` is written, and the kernel may only read it"
    );
}
