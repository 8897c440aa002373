//! Which kernels are moved element by element where programs are few.

use super::run::{Argument, bind};
use crate::call::{Definition, ParameterFacts, TensorFacts, TraceRequest};
use crate::element::ElementType::{self, BF16, F32, I64, U8};
use crate::ir::verify::build::Builder;
use crate::ir::*;
use crate::kernel;
use crate::lang::{PeerTensors, Tensor, arange, program_id};
use crate::schedule::{Machine, choose};
use crate::transform::bind as pin;

type Value = Handle<Expression>;

/// A kernel of an output and a source of rows of so many elements, which are bound, and of what `made` of both does with a row.
fn of_rows([to, from]: [ElementType; 2], columns: u32, made: impl Fn(&mut Builder, [u32; 2], [Value; 2])) -> Kernel {
    let mut b = Builder::new("rows");
    let (out, src) = (b.tensor("out", to, 2), b.tensor("src", from, 2));
    b.tensor_mut(src).mutable = false;
    let place = [b.program(0), b.arange(columns)];
    made(&mut b, [out, src], place);
    let mut kernel = b.launch(4);
    let bound = [to, from].map(|element| Argument::tensor(element, &[4, columns.into()], 0, |_| 0));
    bind(&mut kernel, &bound, true);
    kernel
}

fn copied(b: &mut Builder, [out, src]: [u32; 2], place: [Value; 2]) {
    let value = b.load(src, &place);
    b.store(out, &place, value);
}

/// One row, cast.
fn cast(to: ElementType, from: ElementType, columns: u32) -> Kernel {
    of_rows([to, from], columns, |b, [out, src], place| {
        let value = b.load(src, &place);
        let value = if to == from { value } else { b.cast(value, to) };
        b.store(out, &place, value);
    })
}

#[kernel(grid = [out.extent(0)])]
fn from_peer(out: &mut Tensor<u8, 2>, buffers: &mut PeerTensors<u8, 2>) {
    let (row, cols) = (program_id(0), arange(buffers.extent(1)));
    out.store([row, cols], buffers.own().load([row, cols]));
}

#[kernel(grid = [src.extent(0)])]
fn to_peer(buffers: &mut PeerTensors<u8, 2>, src: &Tensor<u8, 2>) {
    let (row, cols) = (program_id(0), arange(src.extent(1)));
    let value = src.load([row, cols]);
    for peer in 0..buffers.len() {
        buffers[peer].store([row, cols], value);
    }
}

fn traced(definition: Definition, parameters: Vec<ParameterFacts>) -> Kernel {
    let request = TraceRequest { parameters };
    let traced = definition.trace(&request).expect("a kernel");
    let exact = traced.literal_extents(&request);
    pin(
        &traced.kernel,
        &Bindings {
            exact,
            device: Vec::new(),
        },
    )
}

fn is_narrow(kernel: &Kernel) -> bool {
    !choose(kernel, &Machine::H200, 300).wide
}

#[test]
fn what_moves_one_row_of_small_elements_is_moved_element_by_element() {
    for (element, columns) in [(BF16, 128), (BF16, 515), (U8, 515), (U8, 1024)] {
        assert!(is_narrow(&cast(element, element, columns)), "{element} {columns}");
    }
    // Or zeros in its place.
    let padded = of_rows([BF16, BF16], 512, |b, [out, src], place| {
        let (zero, end) = (b.index(0), b.index(2));
        let below = b.compare(CompareOp::Less, place[0], end);
        let nothing = b.cast(zero, BF16);
        let nothing = b.stretch(nothing, Shape::new(&[512]).expect("a shape"));
        b.if_else(
            below,
            |b| copied(b, [out, src], place),
            |b| b.store(out, &place, nothing),
        );
    });
    assert!(is_narrow(&padded));
}

#[test]
fn what_is_large_or_apart_or_several_rows_or_of_peers_is_moved_by_packets() {
    for (to, from, columns) in [
        (BF16, F32, 512),
        (U8, I64, 512),
        (F32, BF16, 512),
        (F32, F32, 512),
        (F32, F32, 1001),
        (I64, I64, 1001),
    ] {
        assert!(!is_narrow(&cast(to, from, columns)), "{from} as {to} {columns}");
    }
    let both = [BF16, BF16];
    let apart = of_rows(both, 512, |b, [out, src], [row, columns]| {
        let two = b.index(2);
        let value = b.load(src, &[row, columns]);
        let columns = b.mul(columns, two);
        b.store(out, &[row, columns], value);
    });
    let filled = of_rows(both, 512, |b, [out, _], place| {
        let value = b.cast(place[1], BF16);
        b.store(out, &place, value);
    });
    let looped = of_rows(both, 512, |b, tensors, [row, columns]| {
        let (zero, end) = (b.index(0), b.index(1000));
        let first = b.mul(row, end);
        b.for_loop(zero, end, 1, |b, i| {
            let row = b.add(first, i);
            copied(b, tensors, [row, columns]);
        });
    });
    let several = of_rows(both, 512, |b, tensors, [row, columns]| {
        for i in 0..8 {
            let i = b.index(i);
            let row = b.add(row, i);
            copied(b, tensors, [row, columns]);
        }
    });
    let counted = {
        let mut b = Builder::new("counted");
        let [out, src] = ["out", "src"].map(|name| b.tensor(name, BF16, 2));
        let counter = b.tensor("counter", I64, 1);
        b.tensor_mut(src).mutable = false;
        let (place, zero, one) = ([b.program(0), b.arange(512)], b.index(0), b.index(1));
        b.atomic_add(counter, &[zero], one, MemoryScope::Device);
        copied(&mut b, [out, src], place);
        let mut kernel = b.launch(4);
        let row = Argument::tensor(BF16, &[4, 512], 0, |_| 0);
        bind(
            &mut kernel,
            &[row.clone(), row, Argument::tensor(I64, &[1], 0, |_| 0)],
            true,
        );
        kernel
    };
    let strided = [0, 1].map(|parameter| {
        let mut kernel = of_rows(both, 512, copied);
        if let ParameterKind::Tensor(tensor) = &mut kernel.parameters[parameter].kind {
            tensor.layout = Layout::Strided;
        }
        kernel
    });
    for kernel in [apart, filled, looped, several, counted].iter().chain(&strided) {
        assert!(!is_narrow(kernel), "{kernel}");
    }
    for columns in [64, 67] {
        let two_axes = of_rows(both, columns, |b, tensors, [row, all]| {
            let eight = b.index(8);
            let first = b.mul(row, eight);
            let rows = b.arange(8);
            let rows = b.add(rows, first);
            let rows = b.reshape(rows, &[8, 1]);
            let all = b.reshape(all, &[1, columns]);
            copied(b, tensors, [rows, all]);
        });
        assert!(!is_narrow(&two_axes), "{two_axes}");
    }
    let tensor = |extents: &[u64]| ParameterFacts::Tensor(TensorFacts::contiguous(extents));
    let list = |extents: &[u64]| ParameterFacts::List(TensorFacts::contiguous(extents));
    for columns in [512, 515] {
        let (row, of_each) = (tensor(&[4, columns]), list(&[3, 4, columns]));
        let loaded = vec![row.clone(), of_each.clone(), ParameterFacts::Value];
        let stored = vec![of_each, ParameterFacts::Value, row];
        for kernel in [
            traced(from_peer::definition(), loaded),
            traced(to_peer::definition(), stored),
        ] {
            assert!(!is_narrow(&kernel), "{kernel}");
        }
    }
}
