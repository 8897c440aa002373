//! Tiles rearranged: permuted, sliced, flipped, concatenated, joined, split, taken from.

use tilewright::prelude::*;

use crate::devices::on_every_device;

#[kernel(grid = [1])]
fn rearrange(
    permuted: &mut Tensor<u16, 3>,
    middle: &mut Tensor<u16, 3>,
    flipped: &mut Tensor<u16, 3>,
    both: &mut Tensor<u16, 3>,
    src: &Tensor<u16, 3>,
) {
    let (i, j, k) = (arange(src.extent(0)), arange(src.extent(1)), arange(src.extent(2)));
    let x = src.load([i.expand_dims(1).expand_dims(2), j.expand_dims(1), k]);
    permuted.store(
        [k.expand_dims(1).expand_dims(2), i.expand_dims(1), j],
        x.permute([2, 0, 1]),
    );
    let (half, start) = (comptime(middle.extent(2)), 1);
    middle.store(
        [
            i.expand_dims(1).expand_dims(2),
            j.expand_dims(1),
            arange(middle.extent(2)),
        ],
        x.slice(2, start, half),
    );
    flipped.store([i.expand_dims(1).expand_dims(2), j.expand_dims(1), k], x.flip(1));
    both.store(
        [
            arange(both.extent(0)).expand_dims(1).expand_dims(2),
            j.expand_dims(1),
            k,
        ],
        x.concatenate(x + 1000, 0),
    );
}

#[test]
fn elements_are_found_at_their_new_places() {
    for [a, b, c] in [[2, 3, 5], [3, 16, 64], [1, 7, 131]] {
        let values: Vec<u16> = (0..a * b * c).map(|v| v as u16).collect();
        let at = |i: usize, j: usize, k: usize| values[(i * b + j) * c + k];
        let (permuted, middle, flipped, both) = on_every_device(|device| {
            let src = device.upload(&values, [a, b, c]).unwrap();
            let mut permuted = device.zeros::<u16, 3>([c, a, b]).unwrap();
            let mut middle = device.zeros::<u16, 3>([a, b, c - 2]).unwrap();
            let mut flipped = device.zeros::<u16, 3>([a, b, c]).unwrap();
            let mut both = device.zeros::<u16, 3>([2 * a, b, c]).unwrap();
            rearrange(&mut permuted, &mut middle, &mut flipped, &mut both, &src)
                .launch(device)
                .unwrap();
            (
                permuted.download().unwrap(),
                middle.download().unwrap(),
                flipped.download().unwrap(),
                both.download().unwrap(),
            )
        });
        for i in 0..a {
            for j in 0..b {
                for k in 0..c {
                    assert_eq!(permuted[(k * a + i) * b + j], at(i, j, k));
                    assert_eq!(flipped[(i * b + j) * c + k], at(i, b - 1 - j, k));
                    assert_eq!(both[(i * b + j) * c + k], at(i, j, k));
                    assert_eq!(both[((a + i) * b + j) * c + k], at(i, j, k) + 1000);
                }
                for k in 0..c - 2 {
                    assert_eq!(middle[(i * b + j) * (c - 2) + k], at(i, j, k + 1));
                }
            }
        }
    }
}

#[kernel(grid = [out.extent(0)])]
fn rotate_pairs(out: &mut Tensor<f32, 2>, x: &Tensor<f32, 2>, angle: &Tensor<f32, 2>) {
    let row = program_id(0);
    let (cols, pairs) = (arange(out.extent(1)), arange(angle.extent(1)));
    let turned = x.load([row, cols]).reshape([angle.extent(1), 2]);
    let (even, odd) = turned.split();
    let by = angle.load([row, pairs]);
    let joined = (even - odd * by).join(odd + even * by);
    out.store([row, cols], joined.reshape([out.extent(1)]));
}

#[test]
fn pairs_of_neighbours_are_split_and_joined() {
    let (rows, columns) = (3, 128);
    let x: Vec<f32> = (0..rows * columns).map(|v| v as f32).collect();
    let angle: Vec<f32> = (0..rows * columns / 2).map(|v| (v % 7) as f32).collect();
    let out = on_every_device(|device| {
        let (x, angle) = (
            device.upload(&x, [rows, columns]).unwrap(),
            device.upload(&angle, [rows, columns / 2]).unwrap(),
        );
        let mut out = device.zeros::<f32, 2>([rows, columns]).unwrap();
        rotate_pairs(&mut out, &x, &angle).launch(device).unwrap();
        out.download().unwrap()
    });
    for pair in 0..rows * columns / 2 {
        let (even, odd, by) = (x[2 * pair], x[2 * pair + 1], angle[pair]);
        assert_eq!(out[2 * pair..][..2], [even - odd * by, odd + even * by]);
    }
}

#[kernel(grid = [1])]
fn take_twice(out: &mut Tensor<i32, 1>, kept: &mut Tensor<i32, 1>, x: &mut Tensor<i32, 1>, index: &Tensor<i64, 1>) {
    let (i, n) = (arange(index.extent(0)), arange(x.extent(0)));
    let index = index.load([i]);
    let before = x.load([n]);
    // `before` is in registers from here on: threads take each other's elements.
    x.store([n], before * 10);
    out.store([i], before.take(0, index));
    let mut variable = before + 1;
    variable += 1;
    kept.store([i], variable.flip(0).take(0, index));
}

#[test]
fn elements_are_taken_by_index_and_the_nearest_where_there_is_none() {
    let n = 300;
    let x: Vec<i32> = (0..n).map(|v| v * 3).collect();
    let index: Vec<i64> = (0..500i64)
        .map(|i| (i * 37) % 340 - 20)
        .chain([i64::MIN, i64::MAX])
        .collect();
    let (out, kept) = on_every_device(|device| {
        let mut x = device.upload(&x, [n as usize]).unwrap();
        let at = device.upload(&index, [index.len()]).unwrap();
        let [mut out, mut kept] = [0; 2].map(|_| device.zeros::<i32, 1>([index.len()]).unwrap());
        take_twice(&mut out, &mut kept, &mut x, &at).launch(device).unwrap();
        (out.download().unwrap(), kept.download().unwrap())
    });
    for (i, &index) in index.iter().enumerate() {
        let nearest = index.clamp(0, i64::from(n) - 1) as usize;
        assert_eq!(out[i], x[nearest]);
        assert_eq!(kept[i], x[n as usize - 1 - nearest] + 2);
    }
}

#[kernel(grid = [1])]
fn take_by<I: Integer>(out: &mut Tensor<i32, 1>, x: &Tensor<i32, 1>, index: &Tensor<I, 1>) {
    let i = arange(index.extent(0));
    out.store([i], x.load([arange(x.extent(0))]).take(0, index.load([i])));
}

#[test]
fn elements_are_taken_by_integers_of_every_type() {
    fn check<I: Integer>(index: &[I], expected: &[i32]) {
        on_every_device(|device| {
            let x = device.upload(&[10, 20, 30, 40], [4]).unwrap();
            let index = device.upload(index, [index.len()]).unwrap();
            let mut out = device.zeros::<i32, 1>([expected.len()]).unwrap();
            take_by(&mut out, &x, &index).launch(device).unwrap();
            assert_eq!(out.download().unwrap(), expected, "{}", I::TYPE);
        });
    }
    check::<i8>(&[2, -1, i8::MAX, i8::MIN], &[30, 10, 40, 10]);
    check::<u8>(&[2, u8::MAX], &[30, 40]);
    check::<i16>(&[1, i16::MAX, i16::MIN], &[20, 40, 10]);
    check::<u16>(&[1, u16::MAX], &[20, 40]);
    check::<i32>(&[3, i32::MAX, i32::MIN], &[40, 40, 10]);
    check::<u32>(&[3, u32::MAX], &[40, 40]);
    check::<i64>(&[0, i64::MAX, i64::MIN], &[10, 40, 10]);
    check::<u64>(&[0, u64::MAX, 1 << 63], &[10, 40, 40]);
}
