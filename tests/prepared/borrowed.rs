//! Prepared launches over memory of others.

#![allow(unsafe_code)] // Two tensors in one place, which no safe code can make.

use tilewright::prelude::*;
use tilewright::runtime::{BorrowedTensor, BorrowedTensorMut, LaunchError, Prepared};

use super::{COLUMNS, Failure, ROWS, compute, place};

/// What is read of memory that was lent by the device's stream in the launches before, and is lent by one that writes
/// to it in the last.
pub fn lent_by_two_streams(device: &Device, at: u64, steps: u64) -> Result<Vec<i32>, Failure> {
    let (extents, strides) = ([ROWS, COLUMNS], [COLUMNS as i64, 1]);
    let (here, there) = (device.stream(), device.new_stream()?);
    // SAFETY: the memory outlives the tensors, and nothing else uses it. What one stream does is asked for after that of
    // the other is done, or over what the other has lent.
    let (early, late, mut written) = unsafe {
        (
            BorrowedTensor::<i32, 2>::from_raw(&here, at, extents, strides)?,
            BorrowedTensor::<i32, 2>::from_raw(&there, at, extents, strides)?,
            BorrowedTensorMut::<i32, 2>::from_raw(&there, at, extents, strides)?,
        )
    };
    let mut out = device.zeros::<i32, 2>(extents)?;
    // Compiled and loaded before it is to be slow.
    compute(&mut written, Runtime(1)).launch_on(&there)?;
    there.synchronize()?;
    let rows = || Runtime(ROWS as u64);
    let mut prepared = device.prepare(&place(&mut out, &early, Runtime(0), rows(), 1))?;
    for _ in 0..3 {
        prepared.launch(place(&mut out, &early, Runtime(0), rows(), 1))?;
    }
    device.synchronize()?;
    compute(&mut written, Runtime(steps)).launch_on(&there)?;
    prepared.launch(place(&mut out, &late, Runtime(0), rows(), 1))?;
    Ok(out.download()?)
}

pub fn overlapping(prepared: &mut Prepared, device: &Device, at: u64) -> Result<(), Failure> {
    let bytes = (ROWS * COLUMNS * 4) as u64;
    let stream = device.stream();
    // SAFETY: as below.
    let (mut out, src) = unsafe {
        (
            BorrowedTensorMut::<i32, 2>::from_raw(&stream, at, [ROWS, COLUMNS], [COLUMNS as i64, 1])?,
            BorrowedTensor::<i32, 2>::from_raw(&stream, at + bytes, [ROWS, COLUMNS], [COLUMNS as i64, 1])?,
        )
    };
    match device.bind(place(&mut out, &src, Runtime(0), Runtime(2), 1)) {
        Err(error @ LaunchError::BorrowedMemory { .. }) => assert!(error.to_string().contains("`out`"), "{error}"),
        other => panic!("{:?} though the memory is borrowed", other.map(drop)),
    }
    // SAFETY: the memory outlives what is bound.
    let mut bound = unsafe { device.bind_borrowing(place(&mut out, &src, Runtime(0), Runtime(2), 1)) }?;
    bound.launch(&[0, 1])?;
    for (shift, clashes) in [(0, true), (bytes, false), (bytes - 16, true), (bytes, false)] {
        let (extents, strides) = ([ROWS, COLUMNS], [COLUMNS as i64, 1]);
        // SAFETY: the vector outlives the tensors; whether they overlap is what the launch is to find out.
        let (mut out, src) = unsafe {
            (
                BorrowedTensorMut::<i32, 2>::from_raw(&stream, at, extents, strides)?,
                BorrowedTensor::<i32, 2>::from_raw(&stream, at + shift, extents, strides)?,
            )
        };
        let result = prepared.launch(place(&mut out, &src, Runtime(0), Runtime(2), 1));
        match result {
            Err(LaunchError::Overlap { .. }) if clashes => {}
            Ok(_) if !clashes => {}
            other => panic!("{other:?} at {shift}"),
        }
    }
    Ok(())
}
