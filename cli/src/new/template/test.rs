//! The kernel against the host, bit for bit.

use CRATE::scale_rows;
use tilewright::prelude::*;

/// The CPU device, which checks every access, and the first GPU if there is one.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    let best = Device::best();
    match best.is_cuda() {
        true => devices.push(best),
        false => println!("on the CPU device alone: {}", best.why().unwrap_or("there is no GPU")),
    }
    devices
}

#[test]
fn every_row_is_multiplied_by_its_factor() {
    for device in devices() {
        for rows in [0, 1, 2, 33] {
            // Rows of whole packets, and others.
            for columns in [1, 3, 64, 1000] {
                let src: Vec<f32> = (0..rows * columns).map(|i| i as f32 + 0.5).collect();
                let factors: Vec<f32> = (0..rows).map(|row| 1.0 / (row + 1) as f32).collect();
                let mut out = device.zeros::<f32, 2>([rows, columns]).unwrap();
                let of = |values: &[f32]| device.upload(values, [rows, columns]).unwrap();
                scale_rows(&mut out, &of(&src), &device.upload(&factors, [rows]).unwrap())
                    .launch(&device)
                    .unwrap();
                let expected: Vec<f32> = (0..rows * columns).map(|i| factors[i / columns] * src[i]).collect();
                assert_eq!(out.download().unwrap(), expected, "{rows} rows of {columns} on {device}");
            }
        }
    }
}

#[test]
fn rows_of_different_lengths_are_refused() {
    let device = Device::cpu();
    let zeros = |columns| device.zeros::<f32, 2>([2, columns]).unwrap();
    let factors = device.zeros::<f32, 1>([2]).unwrap();
    let error = scale_rows(&mut zeros(4), &zeros(5), &factors).launch(&device).unwrap_err();
    assert!(error.to_string().contains("out.extent(1) == src.extent(1)"), "{error}");
}
