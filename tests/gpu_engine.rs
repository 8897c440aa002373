//! Tensors in memory that others own: the host's, cudarc's on a GPU, and DLPack's on both.

#![allow(unsafe_code)] // Whoever says where memory is, promises what it is.

use std::error::Error;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tilewright::dp::kernels::{gather_rows, pad_rows, scatter_rows};
use tilewright::prelude::*;
use tilewright::runtime::device::cuda::cudarc::driver::CudaContext;
use tilewright::runtime::tensor::dlpack::{
    DLDataType, DLDevice, DLManagedTensorVersioned, DLPackVersion, DLTensor, DlpackTensor,
};
use tilewright::runtime::{BorrowedTensor, BorrowedTensorMut, DeviceError};
use tilewright_testing::{Part, turn};

type Outcome = Result<(), Box<dyn Error>>;

fn gpu() -> Option<(Device, MutexGuard<'static, ()>)> {
    Part::Gpu.or_skip(Device::cuda(0)).map(|gpu| (gpu, turn()))
}

fn value(row: usize, column: usize) -> u16 {
    (row * 1000 + column + 1) as u16
}

/// Rows of a matrix, and behind each as many elements as the pitch has room for.
fn matrix(rows: usize, columns: usize, pitch: usize) -> Vec<u16> {
    let at = |i: usize| match i % pitch < columns {
        true => value(i / pitch, i % pitch),
        false => 0xdead,
    };
    (0..rows * pitch).map(at).collect()
}

#[test]
fn rows_are_gathered_in_the_hosts_memory_at_any_address_and_stride() -> Outcome {
    const GUARD: u16 = 0xbeef;
    let stream = Device::cpu().stream();
    let index = [2i32, 0, 3, -1, 2];
    for (columns, pitch, skip) in [(1, 1, 0), (3, 3, 1), (5, 8, 2), (8, 8, 3), (37, 41, 1), (64, 64, 0)] {
        for upside_down in [false, true] {
            // Neither begins nor ends where a word does.
            let src = [vec![GUARD; skip], matrix(4, columns, pitch)].concat();
            let mut out = vec![GUARD; skip + 5 * pitch + 3];
            // The first row is the last one in memory where they are counted from there.
            let (first, step) = match upside_down {
                true => (3 * pitch, -(pitch as i64)),
                false => (0, pitch as i64),
            };
            let src_at = (&raw const src[skip + first]) as u64;
            let (out_at, ids_at) = ((&raw mut out[skip]) as u64, (&raw const index) as u64);
            // SAFETY: the vectors outlive the tensors, and nothing else uses them meanwhile.
            let (mut to, from, ids) = unsafe {
                (
                    BorrowedTensorMut::<u16, 2>::from_raw(&stream, out_at, [5, columns], [pitch as i64, 1])?,
                    BorrowedTensor::<u16, 2>::from_raw(&stream, src_at, [4, columns], [step, 1])?,
                    BorrowedTensor::<i32, 1>::from_raw(&stream, ids_at, [5], [1])?,
                )
            };
            gather_rows(&mut to, &from, &ids).launch_on(&stream)?;
            stream.device().synchronize()?;
            let found = to.view().download()?;
            drop((to, from, ids));
            let row_of = |from: i32| if upside_down { 3 - from as usize } else { from as usize };
            for (i, &from) in index.iter().enumerate() {
                for column in 0..columns {
                    let expected = if from < 0 { 0 } else { value(row_of(from), column) };
                    assert_eq!(out[skip + i * pitch + column], expected, "row {i} of {columns} columns");
                    assert_eq!(found[i * columns + column], expected);
                }
            }
            let is_element = |at: usize| at >= skip && (at - skip) % pitch < columns && (at - skip) / pitch < 5;
            let others = (0..out.len()).filter(|&at| !is_element(at));
            assert!(
                others.clone().all(|at| out[at] == GUARD),
                "{columns} columns of {pitch} at {skip}"
            );
        }
    }
    Ok(())
}

#[test]
fn what_can_be_no_tensor_is_refused() -> Outcome {
    let stream = Device::cpu().stream();
    let words = [0u64; 4];
    let at = (&raw const words) as u64;
    // SAFETY: what is not refused lies in `words`, and nothing is done with it.
    let refused = |pointer: u64, extents: [usize; 2], strides: [i64; 2]| unsafe {
        BorrowedTensor::<u32, 2>::from_raw(&stream, pointer, extents, strides)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    for (found, words) in [
        (refused(0, [2, 2], [2, 1]), "address 0"),
        (
            refused(at + 2, [1, 2], [2, 1]),
            "no multiple of its element size, 4 bytes",
        ),
        (refused(at, [1 << 41, 1], [1, 1]), "at most 2^40"),
        (refused(at, [2, 2], [i64::MAX, 1]), "too large for any memory"),
        (refused(at, [2, 2], [i64::MIN, 1]), "too large for any memory"),
        (refused(8, [2, 2], [-4, 1]), "not within its memory"),
        (refused(u64::MAX - 3, [2, 2], [2, 1]), "not within its memory"),
    ] {
        assert!(found.contains(words), "{found}");
    }
    // Of no elements the pointer means nothing, nor do strides.
    for pointer in [0, 1, u64::MAX] {
        assert_eq!(refused(pointer, [0, 2], [i64::MAX, 7]), "");
    }
    assert_eq!(refused(at, [1, 2], [i64::MIN, 1]), "");
    Ok(())
}

#[test]
fn tensors_over_one_buffer_are_seen_to_overlap_and_folded_ones_are_not_written() -> Outcome {
    let stream = Device::cpu().stream();
    let mut buffer = [1u16; 24];
    let at = (&raw mut buffer) as u64;
    // SAFETY: the buffer outlives the tensors, nothing else uses it, and overlapping ones are refused.
    let (mut out, near, mut folded) = unsafe {
        (
            BorrowedTensorMut::<u16, 2>::from_raw(&stream, at, [3, 4], [4, 1])?,
            BorrowedTensor::<u16, 2>::from_raw(&stream, at + 22, [3, 4], [4, 1])?,
            BorrowedTensorMut::<u16, 2>::from_raw(&stream, at, [3, 4], [0, 1])?,
        )
    };
    let error = pad_rows(&mut out, &near, Exact(2)).launch_on(&stream).unwrap_err();
    assert!(matches!(error, LaunchError::Overlap { .. }), "{error}");
    let src = stream.device().zeros::<u16, 2>([3, 4])?;
    let error = pad_rows(&mut folded, &src, Exact(2)).launch_on(&stream).unwrap_err();
    assert!(error.to_string().contains("has elements that share memory"), "{error}");
    drop((out, near, folded));
    assert_eq!(buffer, [1; 24]);
    Ok(())
}

#[test]
fn a_count_is_read_from_the_hosts_memory_when_the_kernel_runs() -> Outcome {
    let stream = Device::cpu().stream();
    let src = stream.device().upload(&matrix(3, 4, 4), [3, 4])?;
    for rows in [0i32, 2, 3, 77, -1] {
        let counts = [9i32, rows];
        // SAFETY: the counts outlive the tensor, and nothing writes them.
        let counts = unsafe { BorrowedTensor::<i32, 1>::from_raw(&stream, (&raw const counts) as u64, [2], [1]) }?;
        let mut out = stream.device().upload(&[7u16; 16], [4, 4])?;
        pad_rows(&mut out, &src, device_count(&counts, 1, 3)?).launch_on(&stream)?;
        let rows = rows.clamp(0, 3) as usize;
        let mut expected = matrix(3, 4, 4)[..4 * rows].to_vec();
        expected.resize(16, 0);
        assert_eq!(out.download()?, expected);
    }
    Ok(())
}

/// Gathers, scatters and pads in slices of cudarc, whose context tracks events or does not, on the slices' own stream or on
/// others.
fn slices_are_used_where_they_are(device: &Device, tracking: bool, columns: usize) -> Outcome {
    let context = CudaContext::new(0)?;
    if !tracking {
        // SAFETY: the slices are used on one stream of cudarc's, and what uses them on others is put in order with it.
        unsafe { context.disable_event_tracking() };
    }
    let theirs = context.new_stream()?;
    let host = matrix(4, columns, columns);
    let (ids, back_ids) = ([2i32, 0, -1, 3], [1i32, -1, 3, 0]);
    for ours in [
        Stream::from_cudarc(device, theirs.clone())?,
        Stream::from_cudarc(device, context.new_stream()?)?,
        device.new_stream()?,
        device.stream(),
    ] {
        let src = theirs.clone_htod(&host)?;
        let (index, back_index) = (theirs.clone_htod(&ids)?, theirs.clone_htod(&back_ids)?);
        let count = theirs.clone_htod(&[2i32])?;
        let mut gathered = theirs.clone_htod(&vec![7u16; 4 * columns])?;
        let mut scattered = theirs.clone_htod(&vec![7u16; 4 * columns])?;
        let mut padded = theirs.clone_htod(&vec![7u16; 5 * columns])?;
        {
            let source = BorrowedTensor::from_cudarc(device, src.as_view(), [4, columns])?;
            let index = BorrowedTensor::from_cudarc(device, index.as_view(), [4])?;
            let back_index = BorrowedTensor::from_cudarc(device, back_index.as_view(), [4])?;
            let count = BorrowedTensor::from_cudarc(device, count.as_view(), [1])?;
            let mut gathered = BorrowedTensorMut::from_cudarc(device, gathered.as_view_mut(), [4, columns])?;
            let mut scattered = BorrowedTensorMut::from_cudarc(device, scattered.as_view_mut(), [4, columns])?;
            let mut padded = BorrowedTensorMut::from_cudarc(device, padded.as_view_mut(), [5, columns])?;
            gather_rows(&mut gathered, &source, &index).launch_on(&ours)?;
            // On yet another stream.
            scatter_rows(&mut scattered, gathered.view(), &back_index).launch(device)?;
            pad_rows(&mut padded, gathered.view(), device_count(&count, 0, 4)?).launch_on(&ours)?;
        }
        // cudarc's own stream comes after all of it.
        let found = [
            theirs.clone_dtoh(&gathered)?,
            theirs.clone_dtoh(&scattered)?,
            theirs.clone_dtoh(&padded)?,
        ];
        theirs.synchronize()?;
        let row = |row: i32| match usize::try_from(row) {
            Ok(row) => host[row * columns..][..columns].to_vec(),
            Err(_) => vec![0; columns],
        };
        let kept = vec![7; columns];
        assert_eq!(found[0], [row(2), row(0), row(-1), row(3)].concat());
        assert_eq!(found[1], [row(3), row(2), kept, row(-1)].concat());
        assert_eq!(found[2], [row(2), row(0), row(-1), row(-1), row(-1)].concat());
        assert_eq!(context.is_event_tracking(), tracking);
    }
    device.synchronize()?;
    context.check_err()?;
    Ok(())
}

#[test]
fn kernels_work_in_slices_of_cudarc_on_any_stream_with_and_without_events() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    for tracking in [true, false] {
        for columns in [1, 37, 256] {
            slices_are_used_where_they_are(&device, tracking, columns)?;
        }
    }
    Ok(())
}

#[test]
fn a_slice_that_is_too_short_and_memory_of_another_place_are_refused() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    let context = CudaContext::new(0)?;
    let theirs = context.new_stream()?;
    let slice = theirs.clone_htod(&[1u32; 11])?;
    let ours = Stream::from_cudarc(&device, theirs.clone())?;
    let error = BorrowedTensor::from_cudarc(&device, slice.as_view(), [3, 4]).unwrap_err();
    assert!(error.to_string().contains("of 44 bytes"), "{error}");
    let word = Box::new(7u64);
    // SAFETY: it is refused.
    let error = unsafe { BorrowedTensor::<u64, 1>::from_raw(&ours, (&raw const *word) as u64, [1], [1]) }.unwrap_err();
    assert!(
        matches!(error, TensorError::Device(DeviceError::NotItsMemory { .. })),
        "{error}"
    );
    // A slice of cudarc is nothing that the CPU device has.
    let error = BorrowedTensor::from_cudarc(&Device::cpu(), slice.as_view(), [11]).unwrap_err();
    assert!(
        matches!(error, TensorError::Device(DeviceError::NotCuda { .. })),
        "{error}"
    );
    // The default stream of each thread is no stream.
    let error = Stream::from_cudarc(&device, context.per_thread_stream()).unwrap_err();
    assert_eq!(error, DeviceError::PerThreadStream);
    Ok(())
}

/// What a framework hands over: a tensor of `u16`, and how often it was given back.
struct Handed {
    managed: DLManagedTensorVersioned,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn give_back(managed: *mut DLManagedTensorVersioned) {
    GIVEN_BACK.fetch_add(1, SeqCst);
    // SAFETY: `Handed::new` put it there.
    drop(unsafe { Box::from_raw((*managed).manager_ctx.cast::<Handed>()) });
}

impl Handed {
    fn new(data: *mut c_void, byte_offset: u64, shape: &[i64], strides: Option<&[i64]>) -> *mut Self {
        let handed = Box::leak(Box::new(Self {
            managed: DLManagedTensorVersioned {
                version: DLPackVersion { major: 1, minor: 3 },
                manager_ctx: null_mut(),
                deleter: Some(give_back),
                flags: 0,
                dl_tensor: DLTensor {
                    data,
                    device: DLDevice {
                        device_type: 1,
                        device_id: 0,
                    },
                    ndim: shape.len() as i32,
                    dtype: DLDataType {
                        code: 1,
                        bits: 16,
                        lanes: 1,
                    },
                    shape: null_mut(),
                    strides: null_mut(),
                    byte_offset,
                },
            },
            shape: shape.to_vec(),
            strides: strides.unwrap_or_default().to_vec(),
        }));
        handed.managed.manager_ctx = (&raw mut *handed).cast();
        handed.managed.dl_tensor.shape = handed.shape.as_mut_ptr();
        if strides.is_some() {
            handed.managed.dl_tensor.strides = handed.strides.as_mut_ptr();
        }
        handed
    }
}

#[test]
fn a_dlpack_tensor_is_used_in_place_and_given_back_once() -> Outcome {
    let stream = Device::cpu().stream();
    let mut data = matrix(4, 5, 8);
    let at = data.as_mut_ptr().cast::<c_void>();
    let take = |handed: *mut Handed| {
        // SAFETY: `data` outlives the tensor, nothing else uses it, and a refused tensor stays where it is.
        unsafe { DlpackTensor::<u16, 2>::from_raw(&stream, &raw mut (*handed).managed) }
    };

    // What is no such tensor is not taken.
    let change = |change: fn(&mut Handed)| {
        let handed = Handed::new(at, 0, &[2, 2], None);
        // SAFETY: nobody else has it.
        change(unsafe { &mut *handed });
        let refused = take(handed).map(|_| ()).unwrap_err().to_string();
        // SAFETY: it was not taken.
        drop(unsafe { Box::from_raw(handed) });
        refused
    };
    for (found, words) in [
        (change(|handed| handed.managed.version.major = 2), "is of version 2.3"),
        (
            change(|handed| handed.managed.dl_tensor.dtype.bits = 32),
            "has elements of",
        ),
        (
            change(|handed| handed.managed.dl_tensor.dtype.lanes = 2),
            "has elements of",
        ),
        (change(|handed| handed.managed.dl_tensor.ndim = 3), "has 3 axes, and 2"),
        (
            change(|handed| handed.managed.dl_tensor.ndim = -1),
            "has -1 axes, and 2",
        ),
        (change(|handed| handed.shape[1] = -4), "has an extent of -4"),
        (
            change(|handed| handed.managed.dl_tensor.shape = null_mut()),
            "has no extents",
        ),
        (change(|handed| handed.managed.dl_tensor.data = null_mut()), "address 0"),
        (
            change(|handed| handed.managed.dl_tensor.byte_offset = 1),
            "no multiple of its element size",
        ),
        (
            change(|handed| handed.managed.dl_tensor.byte_offset = u64::MAX),
            "behind the address space",
        ),
        (
            change(|handed| handed.managed.dl_tensor.device.device_type = 2),
            "is on DLDevice",
        ),
    ] {
        assert!(found.contains(words), "{found}");
    }
    // SAFETY: it is refused.
    assert!(unsafe { DlpackTensor::<u16, 2>::from_raw(&stream, null_mut()) }.is_err());
    assert_eq!(GIVEN_BACK.load(SeqCst), 0);

    // From the second row and the third column on, transposed.
    let mut taken = take(Handed::new(at, 2 * (8 + 2), &[3, 3], Some(&[1, 8])))?;
    let expected: Vec<u16> = (2..5)
        .flat_map(|column| (1..4).map(move |row| value(row, column)))
        .collect();
    assert_eq!(taken.view().download()?, expected);
    let zeros = stream.device().zeros::<u16, 2>([3, 3])?;
    pad_rows(taken.view_mut()?, &zeros, Exact(1)).launch_on(&stream)?;
    drop(taken);
    assert_eq!(GIVEN_BACK.load(SeqCst), 1);
    for (i, &found) in data.iter().enumerate() {
        let (row, column) = (i / 8, i % 8);
        let inside = row >= 1 && (2..5).contains(&column);
        let expected = if inside { 0 } else { matrix(4, 5, 8)[i] };
        assert_eq!(found, expected, "row {row}, column {column}");
    }

    // Without strides there are no gaps, and what is read-only is not written.
    let handed = Handed::new(data.as_mut_ptr().cast(), 0, &[2, 8], None);
    // SAFETY: nobody else has it.
    unsafe { (*handed).managed.flags = 1 };
    let mut taken = take(handed)?;
    assert!(taken.is_read_only() && taken.view().is_contiguous());
    let error = taken.view_mut().map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("is read-only"), "{error}");
    assert_eq!(taken.view().download()?, data[..16]);
    drop(taken);
    assert_eq!(GIVEN_BACK.load(SeqCst), 2);
    Ok(())
}

fn comes_back_from_dlpack(device: &Device) -> Outcome {
    let values: Vec<bf16> = (0..12u8).map(bf16::from).collect();
    let consumer = device.new_stream()?;
    for read_only in [false, true] {
        let tensor = device.upload(&values, [3, 4])?;
        let handed = tensor.into_dlpack(&consumer)?;
        let handed = if read_only { handed.read_only() } else { handed };
        let raw = handed.into_raw();
        // SAFETY: nobody else has it.
        let tensor = unsafe { &(*raw).dl_tensor };
        assert_eq!((tensor.ndim, tensor.byte_offset), (2, 0));
        assert_eq!((tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes), (4, 16, 1));
        // SAFETY: nobody else has it.
        let back = unsafe { DlpackTensor::<bf16, 2>::from_raw(&consumer, raw) }?;
        assert_eq!(back.is_read_only(), read_only);
        let mut out = device.zeros::<bf16, 2>([3, 4])?;
        pad_rows(&mut out, back.view(), Exact(2)).launch_on(&consumer)?;
        let mut expected = values[..8].to_vec();
        expected.resize(12, bf16::ZERO);
        assert_eq!(out.download()?, expected);
        assert_eq!(back.view().download()?, values);
    }
    // What nobody takes is dropped.
    drop(device.upload(&values, [3, 4])?.into_dlpack(&consumer)?);
    drop(device.zeros::<f32, 1>([0])?.into_dlpack(&consumer)?);
    Ok(())
}

#[test]
fn a_tensor_that_was_handed_out_comes_back_as_it_was() -> Outcome {
    comes_back_from_dlpack(&Device::cpu())?;
    if let Some(device) = Part::Gpu.if_there(Device::cuda(0)) {
        let _turn = turn();
        comes_back_from_dlpack(&device)?;
    }
    Ok(())
}
