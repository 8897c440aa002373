//! Sums over hosts: exact of integers, and of floats within each host first, rounded there and once more.

use half::bf16;
use tilewright_dp::collective::{Group, LocalGroup, PeerGroup, Summand};
use tilewright_dsl::arithmetic;
use tilewright_dsl::element::Element;
use tilewright_dsl::ir::{BinaryOp, Literal};
use tilewright_runtime::Device;

use super::groups::{Part, SIZES, on_all};
use super::place::AMPLE;

/// The elements of a rank: numbers whose sum depends on its order, unless they are integers.
fn element<T: Element>(rank: usize, i: usize) -> T {
    let value = [0.1, -3.3, 1e4, 7e-3, 65.7, -9.9e3][(5 * rank + 3 * i) % 6] * (1.0 + i as f64 / 37.0);
    let literal = match T::TYPE.is_float() {
        true => arithmetic::cast(Literal::new(value), T::TYPE).unwrap(),
        false => arithmetic::cast(Literal::new((rank * 131 + i * 17) as u64), T::TYPE).unwrap(),
    };
    T::from_bits64(literal.bits)
}

/// A sum in the order of the elements, computed in the type of sums and rounded once.
fn sum<T: Summand>(elements: impl IntoIterator<Item = T>) -> T {
    let in_sum = |element: T| arithmetic::cast(Literal::new(element), T::Sum::TYPE).unwrap();
    let sum = elements
        .into_iter()
        .map(in_sum)
        .reduce(|sum, element| arithmetic::binary(BinaryOp::Add, sum, element).unwrap());
    T::from_bits64(arithmetic::cast(sum.unwrap(), T::TYPE).unwrap().bits)
}

/// Sums within hosts, and of these.
fn expected<T: Summand>([hosts, places]: [usize; 2], i: usize) -> u64 {
    let of_host = |host: usize| sum((0..places).map(|place| element::<T>(host * places + place, i)));
    sum((0..hosts).map(of_host)).to_bits64()
}

/// Both kinds of sum of one rank, compared bit by bit with what the host computes.
pub fn sums<T: Summand>(group: &impl Group, device: &Device, size: [usize; 2], parts: &[u64], columns: usize) {
    let rank = group.rank();
    let rows = parts.iter().sum::<u64>() as usize + 1;
    let mine: Vec<T> = (0..rows * columns).map(|i| element(rank, i)).collect();
    let mut scattered = device.upload(&mine, [rows, columns]).unwrap();
    group.reduce_scatter(&mut scattered.view_mut(), parts).unwrap();
    let mut reduced = device.upload(&mine, [rows, columns]).unwrap();
    group.all_reduce(&mut reduced.view_mut()).unwrap();
    group.finish().unwrap();
    let start = parts[..rank].iter().sum::<u64>() as usize;
    let own = start * columns..(start + parts[rank] as usize) * columns;
    let found = scattered.download().unwrap();
    for i in own {
        assert_eq!(
            found[i].to_bits64(),
            expected::<T>(size, i),
            "{} {size:?} {parts:?} {i}",
            T::TYPE
        );
    }
    for (i, found) in reduced.download().unwrap().into_iter().enumerate() {
        assert_eq!(found.to_bits64(), expected::<T>(size, i), "{} {size:?} {i}", T::TYPE);
    }
}

fn are_computed_within_hosts_and_between_them<W: Part, R: Part>() {
    for size in SIZES {
        let ranks = size[0] * size[1];
        on_all::<W, R, _>(size, AMPLE, |group| {
            let device = group.stream().device().clone();
            for parts in [[2, 0, 3, 1, 1, 0], [0; 6], [2; 6], [0, 9, 0, 0, 0, 0]] {
                let parts = &parts[..ranks];
                for columns in [1, 21] {
                    sums::<bf16>(&group, &device, size, parts, columns);
                    sums::<f32>(&group, &device, size, parts, columns);
                    sums::<f64>(&group, &device, size, parts, columns);
                    sums::<i8>(&group, &device, size, parts, columns);
                    sums::<u64>(&group, &device, size, parts, columns);
                }
            }
            // More rows than one share, and none.
            sums::<bf16>(&group, &device, size, &vec![0; ranks], 3);
            let mut none = device.zeros::<f32, 2>([0, 5]).unwrap();
            group.all_reduce(&mut none.view_mut()).unwrap();
            group.finish().unwrap();
        });
    }
}

#[test]
fn sums_of_threads_of_one_device_are_computed_within_hosts_and_between_them() {
    are_computed_within_hosts_and_between_them::<LocalGroup, LocalGroup>();
}

#[test]
fn sums_of_peers_within_hosts_are_computed_within_hosts_and_between_them() {
    are_computed_within_hosts_and_between_them::<PeerGroup, LocalGroup>();
}

#[test]
fn sums_of_peers_within_and_between_hosts_are_computed_within_hosts_and_between_them() {
    are_computed_within_hosts_and_between_them::<PeerGroup, PeerGroup>();
}
