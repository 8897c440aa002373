//! Instructions of the author's own: one or several outputs, every width, and what the CPU device makes of them.

#![allow(unsafe_code)] // Instructions are the author's to answer for: these only compute, and what their closures do.

use half::bf16;
use tilewright::prelude::*;

use crate::devices::on_every_device;

fn multiply((a, b): (u32, u32)) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

#[kernel(grid = [cdiv(high.extent(0), 128)])]
fn products(high: &mut Tensor<u32, 1>, low: &mut Tensor<u32, 1>, a: &Tensor<u32, 1>, b: &Tensor<u32, 1>) {
    let i = program_id(0) * 128 + arange(128);
    let text = "mul.hi.u32 %0, %2, %3;\n mul.lo.u32 %1, %2, %3;";
    // The second operand is one value for all.
    let (h, l) = unsafe { inline_ptx(text, (a.load([i]), b.load([arange(1)])), multiply) };
    high.store([i], h);
    low.store([i], l);
}

#[test]
fn instructions_can_have_several_outputs_and_inputs_that_broadcast() {
    let a: Vec<u32> = (0..300u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
    let (high, low) = on_every_device(|device| {
        let there = device.upload(&a, [300]).unwrap();
        let b = device.upload(&[0xdead_beefu32], [1]).unwrap();
        let mut high = device.zeros::<u32, 1>([300]).unwrap();
        let mut low = device.zeros::<u32, 1>([300]).unwrap();
        products(&mut high, &mut low, &there, &b).launch(device).unwrap();
        (high.download().unwrap(), low.download().unwrap())
    });
    let expected: Vec<(u32, u32)> = a.iter().map(|&a| multiply((a, 0xdead_beef))).collect();
    assert_eq!(high.into_iter().zip(low).collect::<Vec<_>>(), expected);
}

#[kernel(grid = [1])]
fn every_width(out: &mut Tensor<f64, 1>, shorts: &Tensor<bf16, 1>, floats: &Tensor<f32, 1>, scale: f64, by: i64) {
    let i = arange(33);
    // A sign bit flipped in 16 bits, a float rounded down, a scalar of 64 bits.
    let (negated,) = unsafe { inline_ptx("xor.b16 %0, %1, 0x8000;", (shorts.load([i]),), |(v,): (bf16,)| (-v,)) };
    let (floor,) = unsafe {
        inline_ptx("cvt.rmi.f32.f32 %0, %1;", (floats.load([i]),), |(v,): (f32,)| {
            (v.floor(),)
        })
    };
    let (scaled, shifted) = unsafe {
        inline_ptx(
            "mul.rn.f64 %0, %2, 0d4000000000000000;\n shl.b64 %1, %3, 4;",
            (scale, by),
            |(scale, by): (f64, i64)| (scale * 2.0, by << 4),
        )
    };
    let sum = negated.cast::<f64>() + floor.cast::<f64>();
    out.store([i], sum * scaled + shifted as f64);
}

#[test]
fn registers_of_every_width_hold_their_types() {
    let shorts: Vec<bf16> = (0..33).map(|i| bf16::from_f32(i as f32 - 9.0)).collect();
    let floats: Vec<f32> = (0..33).map(|i| i as f32 * 0.75 - 8.0).collect();
    let out = on_every_device(|device| {
        let (there, floats) = (
            device.upload(&shorts, [33]).unwrap(),
            device.upload(&floats, [33]).unwrap(),
        );
        let mut out = device.zeros::<f64, 1>([33]).unwrap();
        every_width(&mut out, &there, &floats, 1.25f64, -3i64)
            .launch(device)
            .unwrap();
        out.download().unwrap()
    });
    for (i, value) in out.into_iter().enumerate() {
        let expected = (f64::from(-shorts[i].to_f32()) + f64::from(floats[i].floor())) * 2.5 - 48.0;
        assert_eq!(value, expected, "{i}");
    }
}

/// Four bytes in one register: the sum of their products with those of `b`, and the bytes of `a` turned around.
fn dot_and_turn((a, b): (u32, u32)) -> (u32, u32) {
    let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
    let dot = products.map(|(a, b)| u32::from(a) * u32::from(b)).sum();
    (dot, a.swap_bytes())
}

#[kernel(grid = [dot.extent(0)])]
fn packed_bytes(dot: &mut Tensor<u32, 2>, turned: &mut Tensor<u8, 2>, a: &Tensor<u8, 2>, b: &Tensor<u8, 2>) {
    let row = program_id(0);
    let words = arange(dot.extent(1));
    let mut packed_a = full([dot.extent(1)], 0u32);
    let mut packed_b = full([dot.extent(1)], 0u32);
    for byte in 0..4usize {
        let at = words * 4 + byte as i64;
        packed_a = packed_a | (a.load([row, at]).cast::<u32>() << (8 * byte) as u32);
        packed_b = packed_b | (b.load([row, at]).cast::<u32>() << (8 * byte) as u32);
    }
    let text = "dp4a.u32.u32 %0, %2, %3, 0;\n prmt.b32 %1, %2, 0, 0x0123;";
    let (sums, backwards) = unsafe { inline_ptx(text, (packed_a, packed_b), dot_and_turn) };
    dot.store([row, words], sums);
    for byte in 0..4usize {
        turned.store(
            [row, words * 4 + byte as i64],
            (backwards >> (8 * byte) as u32).cast::<u8>(),
        );
    }
}

#[test]
fn a_register_can_hold_four_packed_bytes() {
    let (rows, columns) = (3, 256);
    let a: Vec<u8> = (0..rows * columns).map(|i| (i * 37 + 11) as u8).collect();
    let b: Vec<u8> = (0..rows * columns).map(|i| (i * 101 + i / 256) as u8).collect();
    let (dot, turned) = on_every_device(|device| {
        let [a, b] = [&a, &b].map(|bytes| device.upload(bytes, [rows, columns]).unwrap());
        let mut dot = device.zeros::<u32, 2>([rows, columns / 4]).unwrap();
        let mut turned = device.zeros::<u8, 2>([rows, columns]).unwrap();
        packed_bytes(&mut dot, &mut turned, &a, &b).launch(device).unwrap();
        (dot.download().unwrap(), turned.download().unwrap())
    });
    for (word, &dot) in dot.iter().enumerate() {
        let bytes = 4 * word..4 * word + 4;
        assert_eq!(
            dot,
            bytes.clone().map(|i| u32::from(a[i]) * u32::from(b[i])).sum::<u32>()
        );
        assert!(turned[bytes.clone()].iter().eq(a[bytes].iter().rev()));
    }
}

#[kernel(grid = [1])]
fn clock(out: &mut Tensor<u32, 1>) {
    let zero = (program_id(0) as u32,);
    let text = "mov.u32 %0, %%laneid; add.u32 %0, %0, %1;";
    let (lane,) = unsafe { inline_ptx_on_gpu::<_, (u32,), 0>(text, zero) };
    out.store([0], lane);
}

#[test]
fn the_cpu_device_refuses_instructions_without_a_meaning() {
    let device = Device::cpu();
    let mut out = device.zeros::<u32, 1>([1]).unwrap();
    let error = clock(&mut out).launch(&device).unwrap_err().to_string();
    for part in ["clock", "laneid", "inline_ptx", "closure", "inline_ptx.rs"] {
        assert!(error.contains(part), "{error}");
    }
}

/// Two kernels of one name and one text that mean different things.
mod doubled {
    use super::*;

    #[kernel(grid = [1])]
    pub fn meant(out: &mut Tensor<u32, 1>, x: &Tensor<u32, 1>) {
        let (value,) = unsafe { inline_ptx("add.u32 %0, %1, %1;", (x.load([0]),), |(v,): (u32,)| (v + v,)) };
        out.store([0], value);
    }
}

mod tripled {
    use super::*;

    #[kernel(grid = [1])]
    pub fn meant(out: &mut Tensor<u32, 1>, x: &Tensor<u32, 1>) {
        let (value,) = unsafe { inline_ptx("add.u32 %0, %1, %1;", (x.load([0]),), |(v,): (u32,)| (3 * v,)) };
        out.store([0], value);
    }
}

/// Closures of one type, in one place, that capture different values.
#[kernel(grid = [1])]
fn scaled<const BY: usize>(out: &mut Tensor<u32, 1>, x: &Tensor<u32, 1>) {
    let by = BY as u32;
    let scale = move |(v,): (u32,)| (v * by,);
    let (value,) = unsafe { inline_ptx("add.u32 %0, %1, 0;", (x.load([0]),), scale) };
    out.store([0], value);
}

#[test]
fn kernels_whose_instructions_mean_different_things_share_no_variant() {
    let device = Device::cpu();
    let x = device.upload(&[7u32], [1]).unwrap();
    let mut out = device.zeros::<u32, 1>([1]).unwrap();
    let mut run = |kernel: usize| {
        let launched = match kernel {
            2 => doubled::meant(&mut out, &x).launch(&device),
            3 => tripled::meant(&mut out, &x).launch(&device),
            4 => scaled::<4>(&mut out, &x).launch(&device),
            _ => scaled::<5>(&mut out, &x).launch(&device),
        };
        let variant = launched.unwrap().variant_id().unwrap();
        assert_eq!(out.download().unwrap(), [7 * kernel as u32]);
        variant
    };
    let variants = [2, 3, 4, 5].map(&mut run);
    let different: std::collections::BTreeSet<_> = variants.iter().collect();
    assert_eq!(different.len(), 4);
    assert_eq!([2, 3, 4, 5].map(run), variants);
}

#[kernel(grid = [1])]
fn misspelt(out: &mut Tensor<u32, 1>) {
    let (lane,) = unsafe { inline_ptx_on_gpu::<_, (u32,), 0>("mov.u32 %0, %laneid;", (program_id(0) as u32,)) };
    out.store([0], lane);
}

#[test]
fn an_operand_that_there_is_not_is_refused_before_anything_is_compiled() {
    let device = Device::cpu();
    let mut out = device.zeros::<u32, 1>([1]).unwrap();
    let error = misspelt(&mut out).launch(&device).unwrap_err().to_string();
    let text = "`%laneid` in instructions is none of their 2 operands, which are counted from `%0`, outputs first; a register of \
                the machine is written with two signs, `%%laneid`";
    assert!(error.contains(text), "{error}");
}

fn in_order((a, b): (u32, u32)) -> (u32, u32) {
    (a.min(b), a.max(b))
}

/// A loop that decides by one of two outputs: over such a one a compiler took for ever.
#[kernel(grid = [1])]
fn decide_by_an_output(out: &mut Tensor<u8, 1>, lists: &mut TensorList<u8, 1>, at: &Tensor<i64, 1>, pivot: u32) {
    lists[0].store([program_id(0)], 3);
    let mut step = 0i64;
    let first = zero::<u32>() + 0x8000_0000u32;
    loop {
        let text = "min.u32 %0, %2, %3;\n max.u32 %1, %2, %3;";
        let (least, _) = unsafe { inline_ptx(text, (first, pivot), in_order) };
        let is_first = least == first;
        if step >= 4 {
            break;
        }
        step += 1;
        let place = at.load([0]) % out.extent(0);
        if out.load_where([place], is_first) != 0 {
            out.store([place], out.load([place]) - 1);
        }
    }
}

#[test]
fn a_loop_can_decide_by_one_of_several_outputs() {
    for (pivot, expected) in [(0x8000_0001u32, [7, 5, 7]), (3, [7, 9, 7])] {
        let out = on_every_device(|device| {
            let mut out = device.upload(&[7u8, 9, 7], [3]).unwrap();
            let mut member = device.zeros::<u8, 1>([1]).unwrap();
            let at = device.upload(&[4i64], [1]).unwrap();
            let mut lists = [member.view_mut()];
            decide_by_an_output(&mut out, &mut lists, &at, pivot)
                .launch(device)
                .unwrap();
            assert_eq!(member.download().unwrap(), [3]);
            out.download().unwrap()
        });
        assert_eq!(out, expected);
    }
}
