//! Caches of more than 2³² elements (acceptance case 37): slots at both ends and around the elements 2³¹ and 2³², where an
//! index or a product of 32 bits would begin to be another one.
//!
//! A GPU has the memory for it. The CPU device touches what it allocates, which takes gigabytes and seconds, so there it is
//! one test with 2³¹ elements, which is run when it is asked for: `cargo test --test large -- --ignored`.

use std::collections::BTreeMap;

use half::bf16;
use tilewright_dp::kernels::{copy_from_slot, copy_to_slot, gather_rows, scatter_rows, store_kv};
use tilewright_dsl::call::Exact;
use tilewright_dsl::element::Element as Elements;
use tilewright_dsl::{kernel, lang::*};
use tilewright_runtime::{Device, DeviceTensor, Launch, device_count};
use tilewright_testing::Part;

/// `count` grows by the elements of `cache` that are not zero.
#[kernel(grid = [cache.extent(0)])]
fn count_written<T: Number>(count: &mut Tensor<i64, 1>, cache: &Tensor<T, 2>) {
    let row = cache.load([program_id(0), arange(cache.extent(1))]);
    count.atomic_add([0], (row != zero::<T>()).cast::<i64>().sum_axis(0));
}

/// A row that differs from its neighbours and has no zeros.
fn row<T: Elements>(number: usize, width: usize) -> Vec<T> {
    let bits = |column: usize| (number * 7919 + column * 31) % 101 + 1;
    (0..width).map(|column| T::from_bits64(bits(column) as u64)).collect()
}

/// A cache of which it is known what each slot holds; nothing, at first.
struct Cache<T: Elements> {
    device: Device,
    tensor: DeviceTensor<T, 2>,
    width: usize,
    written: BTreeMap<usize, Vec<T>>,
}

impl<T: Number + PartialEq + std::fmt::Debug> Cache<T> {
    /// Compares the written slots and their neighbours, and on a GPU counts what is written anywhere.
    #[track_caller]
    fn assert(&self, what: &str) {
        let slots = self.tensor.extents()[0];
        let nothing = vec![T::from_bits64(0); self.width];
        for &slot in self.written.keys() {
            for near in slot.saturating_sub(1)..(slot + 2).min(slots) {
                let found = self.tensor.rows(near..near + 1).unwrap().download().unwrap();
                let expected = self.written.get(&near).unwrap_or(&nothing);
                assert!(found == *expected, "{what}: slot {near} of {slots}");
            }
        }
        if self.device.is_cuda() {
            let mut count = self.device.zeros::<i64, 1>([1]).unwrap();
            count_written(&mut count, &self.tensor).launch(&self.device).unwrap();
            let expected = self.written.len() * self.width;
            assert_eq!(count.download().unwrap(), [expected as i64], "{what}: elements written");
        }
    }
}

/// Every kernel that finds slots by an index, in a cache that reaches behind the last of these elements.
fn check<T: Number + PartialEq + std::fmt::Debug>(device: &Device, width: usize, borders: &[usize]) {
    let slots = borders.iter().max().unwrap() / width + 5;
    let around = |border: &usize| border / width - 1..border / width + 2;
    let chosen: Vec<usize> = [0, 1]
        .into_iter()
        .chain(borders.iter().flat_map(around))
        .chain([slots - 1])
        .collect();
    let index: Vec<i32> = chosen.iter().map(|&slot| slot as i32).collect();
    let on_device = device.upload(&index, [index.len()]).unwrap();
    let rows = |first: usize| -> Vec<T> { (0..chosen.len()).flat_map(|i| row(first + i, width)).collect() };
    let upload = |rows: &[T]| device.upload(rows, [rows.len() / width, width]).unwrap();
    let mut cache = Cache::<T> {
        device: device.clone(),
        tensor: device.zeros([slots, width]).unwrap(),
        width,
        written: BTreeMap::new(),
    };
    let write = |cache: &mut Cache<T>, first: usize| {
        for (i, &slot) in chosen.iter().enumerate() {
            cache.written.insert(slot, row(first + i, width));
        }
    };

    // The other cache is small, so that its rows show which slot a token has.
    let mut values = device.zeros::<T, 2>([slots, 1]).unwrap();
    let v: Vec<T> = (0..chosen.len()).map(|i| T::from_bits64(i as u64 + 1)).collect();
    let v = device.upload(&v, [chosen.len(), 1]).unwrap();
    store_kv(&mut cache.tensor, &mut values, &upload(&rows(0)), &v, &on_device)
        .launch(device)
        .unwrap();
    write(&mut cache, 0);
    cache.assert("store_kv");
    for (i, &slot) in chosen.iter().enumerate() {
        let found = values.rows(slot..slot + 1).unwrap().download().unwrap();
        assert!(
            found == [T::from_bits64(i as u64 + 1)],
            "store_kv: slot {slot} of the values"
        );
    }

    scatter_rows(&mut cache.tensor, &upload(&rows(50)), &on_device)
        .launch(device)
        .unwrap();
    write(&mut cache, 50);
    cache.assert("scatter_rows");

    // Backwards, with slots that there are not.
    let backwards: Vec<i32> = [-1]
        .into_iter()
        .chain(index.iter().rev().copied())
        .chain([slots as i32])
        .collect();
    let from = device.upload(&backwards, [backwards.len()]).unwrap();
    let mut out = device.zeros::<T, 2>([backwards.len(), width]).unwrap();
    gather_rows(&mut out, &cache.tensor, &from).launch(device).unwrap();
    let nothing = vec![T::from_bits64(0); width];
    let expected: Vec<T> = backwards
        .iter()
        .flat_map(|&slot| cache.written.get(&(slot as usize)).unwrap_or(&nothing).clone())
        .collect();
    assert!(out.download().unwrap() == expected, "gather_rows");

    for (number, border) in borders.iter().enumerate() {
        // Four slots, with the border in one of them, however the offset is bound.
        let (first, salt) = (border / width - 2, 200 + 10 * number);
        let four: Vec<T> = (0..4).flat_map(|i| row(salt + i, width)).collect();
        let src = upload(&four);
        let offset = device.upload(&[first as i64], [1]).unwrap();
        let offset = device_count(&offset, 0, slots as u64).unwrap();
        copy_to_slot(&mut cache.tensor, &src, offset, Exact(4))
            .launch(device)
            .unwrap();
        for i in 0..4 {
            cache.written.insert(first + i, row(salt + i, width));
        }
        cache.assert("copy_to_slot");
        let mut back = device.zeros::<T, 2>([4, width]).unwrap();
        copy_from_slot(&mut back, &cache.tensor, Exact(first as u64), Exact(4))
            .launch(device)
            .unwrap();
        assert!(back.download().unwrap() == four, "copy_from_slot");
    }
}

#[test]
fn slots_behind_the_element_2_to_the_32_are_exact() {
    let Some(gpu) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return;
    };
    // Rows in whole vectors, and rows that begin anywhere; 4 GiB and 8 GiB.
    for width in [1024, 1000 + 1] {
        check::<u8>(&gpu, width, &[1 << 31, 1 << 32]);
        check::<bf16>(&gpu, width, &[1 << 31, 1 << 32]);
    }
}

#[test]
#[ignore = "takes 2 GiB of the host's memory"]
fn slots_behind_the_element_2_to_the_31_are_exact_on_the_cpu_device() {
    check::<u8>(&Device::cpu(), 1001, &[1 << 31]);
}

/// The same on a small cache, so that the test itself is tested everywhere.
#[test]
fn slots_around_any_element_are_exact() {
    for device in [Device::cpu()].into_iter().chain(Part::Gpu.if_there(Device::cuda(0))) {
        check::<u8>(&device, 33, &[1000, 2000]);
        check::<bf16>(&device, 64, &[1000, 2000]);
    }
}
