//! Shapes of tiles.

use super::*;
use crate::ir::{Expression, Shape, UnaryOp};

type Handle = crate::ir::Handle<Expression>;

/// The elements of the i64 tile that `make` records, written through a 3-axis store.
fn tile(make: impl FnOnce(&mut Builder) -> Handle) -> Vec<i64> {
    let mut b = Builder::new("tile");
    let out = b.tensor("out", ElementType::I64, 1);
    let value = make(&mut b);
    let count = b.shape(value).elements() as u32;
    let (lanes, flat) = (b.arange(count), b.reshape(value, &[count]));
    b.store(out, &[lanes], flat);
    let out = memory(&vec![-1i64; count as usize]);
    run_default(&b.launch(1), &[whole::<i64>(&out)]).unwrap();
    values(&out)
}

/// `0, 1, …` as a tile whose elements are in memory.
fn dense(b: &mut Builder, extent: u32) -> Handle {
    let lanes = b.arange(extent);
    let inverted = b.emit(Expression::Unary {
        op: UnaryOp::Not,
        value: lanes,
    });
    b.emit(Expression::Unary {
        op: UnaryOp::Not,
        value: inverted,
    })
}

#[test]
fn a_tile_broadcasts_along_any_axis() {
    let sources: [fn(&mut Builder, u32) -> Handle; 2] = [|b, n| b.arange(n), dense];
    for source in sources {
        let rows = tile(|b| {
            let column = source(b, 2);
            let column = b.reshape(column, &[2, 1]);
            b.stretch(column, Shape::new(&[2, 3]).unwrap())
        });
        assert_eq!(rows, [0, 0, 0, 1, 1, 1]);
        let columns = tile(|b| {
            let row = source(b, 3);
            b.stretch(row, Shape::new(&[2, 1, 3]).unwrap())
        });
        assert_eq!(columns, [0, 1, 2, 0, 1, 2]);
        let sum = tile(|b| {
            let (planes, lines, lanes) = (source(b, 2), source(b, 2), source(b, 3));
            let (planes, lines) = (b.reshape(planes, &[2, 1, 1]), b.reshape(lines, &[2, 1]));
            let (hundred, ten) = (b.index(100), b.index(10));
            let (planes, lines) = (b.mul(planes, hundred), b.mul(ten, lines));
            let sum = b.add(planes, lines);
            b.add(sum, lanes)
        });
        assert_eq!(sum, [0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112]);
    }
}

#[test]
fn a_reshape_keeps_the_row_major_order() {
    let sources: [fn(&mut Builder, u32) -> Handle; 2] = [|b, n| b.arange(n), dense];
    for source in sources {
        for extents in [&[6u32] as &[u32], &[2, 3], &[3, 2], &[1, 6], &[6, 1, 1], &[3, 1, 2]] {
            let elements = tile(|b| {
                let lanes = source(b, 6);
                b.reshape(lanes, extents)
            });
            assert_eq!(elements, [0, 1, 2, 3, 4, 5], "{extents:?}");
        }
        // A stretched tile has no elements of its own to put in order.
        let elements = tile(|b| {
            let column = source(b, 2);
            let column = b.reshape(column, &[2, 1]);
            let square = b.stretch(column, Shape::new(&[2, 2]).unwrap());
            let line = b.reshape(square, &[4, 1]);
            b.stretch(line, Shape::new(&[4, 2]).unwrap())
        });
        assert_eq!(elements, [0, 0, 0, 0, 1, 1, 1, 1]);
    }
}

#[test]
fn tiles_of_one_element_stay_tiles() {
    let elements = tile(|b| {
        let (one, seven) = (b.arange(1), b.index(7));
        let sum = b.add(one, seven);
        b.stretch(sum, Shape::new(&[3, 1]).unwrap())
    });
    assert_eq!(elements, [7, 7, 7]);
}

#[test]
fn a_selection_chooses_per_element() {
    let elements = tile(|b| {
        let (lanes, two) = (b.arange(4), b.index(2));
        let condition = b.compare(crate::ir::CompareOp::Less, lanes, two);
        let reject = b.emit(Expression::Unary {
            op: UnaryOp::Negate,
            value: lanes,
        });
        let accept = b.stretch(two, b.shape(lanes));
        b.emit(Expression::Select {
            condition,
            accept,
            reject,
        })
    });
    assert_eq!(elements, [2, 2, -2, -3]);
}

#[test]
fn index_tiles_wrap_like_any_integer() {
    let elements = tile(|b| {
        let (lanes, big) = (b.arange(3), b.index(i64::MAX));
        b.add(lanes, big)
    });
    assert_eq!(elements, [i64::MAX, i64::MIN, i64::MIN + 1]);
}

#[test]
fn a_tile_of_three_axes_moves_through_a_tensor_of_four() {
    let mut b = Builder::new("four");
    let out = b.tensor("out", ElementType::I16, 1);
    let src = b.tensor("src", ElementType::I16, 4);
    let (one, planes, rows, columns) = (b.index(1), b.arange(2), b.arange(2), b.arange(2));
    let (planes, rows) = (b.reshape(planes, &[2, 1, 1]), b.reshape(rows, &[2, 1]));
    let value = b.load(src, &[planes, one, columns, rows]);
    let (lanes, flat) = (b.arange(8), b.reshape(value, &[8]));
    b.store(out, &[lanes], flat);
    let kernel = b.launch(1);
    let (out, src) = (memory::<i16>(&[-1; 8]), memory(&(0..16).collect::<Vec<i16>>()));
    run_default(
        &kernel,
        &[whole::<i16>(&out), HostArgument::contiguous(&src, &[2, 2, 2, 2])],
    )
    .unwrap();
    assert_eq!(values::<i16>(&out), [4, 6, 5, 7, 12, 14, 13, 15]);
}
