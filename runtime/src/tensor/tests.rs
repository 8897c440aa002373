use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use tilewright_testing::Part;

use crate::{Device, DeviceError, PeerBuffer, PeerMemory, TensorError, device_count};

#[test]
fn what_is_uploaded_is_downloaded() -> Result<(), TensorError> {
    let device = Device::cpu();
    let elements: Vec<half::bf16> = (0..12u8).map(half::bf16::from).collect();
    let tensor = device.upload(&elements, [3, 4])?;
    assert_eq!(tensor.download()?, elements);
    assert_eq!(
        (tensor.extents(), tensor.strides(), tensor.len(), tensor.bytes()),
        ([3, 4], [4, 1], 12, 24)
    );
    assert_eq!(format!("{tensor:?}"), "DeviceTensor<bf16>[3, 4] on the CPU device");
    Ok(())
}

#[test]
fn zeros_are_false_and_zero() -> Result<(), TensorError> {
    let device = Device::cpu();
    assert_eq!(device.zeros::<bool, 1>([3])?.download()?, [false; 3]);
    assert_eq!(device.zeros::<f64, 2>([0, 7])?.download()?, []);
    Ok(())
}

#[test]
fn the_number_of_elements_must_be_that_of_the_extents() -> Result<(), TensorError> {
    let device = Device::cpu();
    let error = device.upload(&[0u8; 5], [2, 3]).expect_err("one is missing");
    assert_eq!(
        error.to_string(),
        "5 elements were given for a tensor of extents [2, 3], which has 6"
    );
    let mut tensor = device.zeros::<u8, 2>([2, 3])?;
    let error = tensor.copy_from(&[0; 7]).expect_err("one is too many");
    assert!(matches!(
        error,
        TensorError::WrongLength {
            expected: 6,
            found: 7,
            ..
        }
    ));
    Ok(())
}

#[test]
fn memory_that_the_host_does_not_have_is_an_error() {
    let error = Device::cpu()
        .zeros::<u64, 2>([1 << 40, 1 << 19])
        .expect_err("2^62 bytes");
    assert_eq!(error.to_string(), "the host has no room for 4611686018427387904 bytes");
}

#[test]
fn views_see_their_part() -> Result<(), TensorError> {
    let tensor = Device::cpu().upload(&(0..12).collect::<Vec<i32>>(), [3, 4])?;
    assert_eq!(tensor.rows(1..)?.download()?, [4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(tensor.columns(1..3)?.download()?, [1, 2, 5, 6, 9, 10]);
    assert_eq!(tensor.rows(..=1)?.columns(3..)?.transpose(0, 1)?.download()?, [3, 7]);
    assert_eq!(tensor.slice(1, 2..2)?.download()?, []);
    assert_eq!(
        tensor.transpose(0, 1)?.download()?,
        [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    );
    let error = tensor.transpose(0, 2).expect_err("no third axis");
    assert_eq!(
        error.to_string(),
        "axis 2 of a tensor of rank 2: axes are numbered from 0, outermost first"
    );
    Ok(())
}

#[test]
fn a_part_is_written_through_a_mutable_view() -> Result<(), TensorError> {
    let mut tensor = Device::cpu().zeros::<i32, 2>([3, 2])?;
    let (mut front, mut back) = tensor.view_mut().split_at(0, 1)?;
    front.copy_from(&[1, 2])?;
    back.copy_from(&[3, 4, 5, 6])?;
    assert_eq!(back.view().download()?, [3, 4, 5, 6]);
    let error = back.columns(..1)?.copy_from(&[7, 7]).expect_err("a column has gaps");
    assert!(matches!(error, TensorError::NotContiguous { .. }), "{error}");
    assert_eq!(tensor.download()?, [1, 2, 3, 4, 5, 6]);
    Ok(())
}

#[test]
fn a_count_in_device_memory_has_an_index_and_a_maximum_in_range() -> Result<(), TensorError> {
    let counts = Device::cpu().upload(&[7i32, 8], [2])?;
    assert!(device_count(&counts, 1, 8).is_ok());
    assert!(matches!(
        device_count(&counts, 2, 8),
        Err(TensorError::OutOfRange { extent: 2, .. })
    ));
    assert!(matches!(
        device_count(&counts, usize::MAX, 8),
        Err(TensorError::OutOfRange { .. })
    ));
    assert!(matches!(
        device_count(&counts, 0, u64::MAX),
        Err(TensorError::MaximumTooLarge { .. })
    ));
    Ok(())
}

#[test]
fn a_view_is_a_matrix_along_each_axis_whose_others_have_no_gaps() -> Result<(), TensorError> {
    let mut tensor = Device::cpu().upload(&(0..24).collect::<Vec<i32>>(), [2, 3, 4])?;
    let first = tensor.view().matrix(0)?;
    assert_eq!((first.extents(), first.strides()), ([2, 12], [12, 1]));
    let last = tensor.view().matrix(2)?;
    assert_eq!((last.extents(), last.strides()), ([4, 6], [1, 4]));
    assert_eq!(last.rows(1..2)?.download()?, [1, 5, 9, 13, 17, 21]);
    let error = tensor.view().matrix(1).expect_err("rows of two planes have a gap");
    assert!(error.to_string().contains("rows along axis 1"), "{error}");
    // An axis of one element has no gap.
    assert_eq!(tensor.slice(0, 1..)?.matrix(1)?.extents(), [3, 4]);
    let list = tensor.view_mut().matrix(0)?.rows(1..)?.matrix(1)?;
    assert_eq!((list.extents(), list.strides()), ([12, 1], [1, 1]));
    assert_eq!(tensor.slice(1, 0..0)?.matrix(0)?.extents(), [2, 0]);
    let list = Device::cpu().zeros::<i32, 1>([5])?;
    assert_eq!(list.view().matrix(0)?.extents(), [5, 1]);
    assert_eq!(
        list.view().matrix(1).expect_err("a list has one axis"),
        TensorError::NoSuchAxis { axis: 1, rank: 1 }
    );
    Ok(())
}

#[test]
fn bits_are_seen_as_another_type_of_the_same_size() -> Result<(), TensorError> {
    let mut tensor = Device::cpu().upload(&[1.0f32, -0.0], [2])?;
    assert_eq!(tensor.view().bits::<u32>()?.download()?, [0x3f80_0000, 0x8000_0000]);
    tensor.view_mut().bits::<u32>()?.copy_from(&[0, 0x4000_0000])?;
    assert_eq!(tensor.download()?, [0.0, 2.0]);
    let error = tensor.view().bits::<u16>().expect_err("half of them would be missing");
    assert_eq!(
        error.to_string(),
        "f32 has elements of 4 bytes and u16 of 2: the bits of one are not one of the other"
    );
    Ok(())
}

#[test]
fn a_reshaped_view_has_the_same_elements_in_the_same_order() -> Result<(), TensorError> {
    let elements: Vec<i32> = (0..24).collect();
    let mut tensor = Device::cpu().upload(&elements, [2, 3, 4])?;
    assert_eq!(tensor.reshape([24])?.strides(), [1]);
    assert_eq!(tensor.reshape([4, 1, 6])?.download()?, elements);
    assert_eq!(tensor.reshape([2, 12, 1, 1])?.extents(), [2, 12, 1, 1]);
    // Rows with gaps between them are divided, and rows of one plane joined.
    let part = tensor.slice(2, 1..3)?;
    assert_eq!(part.reshape([6, 2, 1])?.download()?, part.download()?);
    assert_eq!(part.reshape([3, 2, 2])?.strides(), [8, 4, 1]);
    // What is transposed can still be divided.
    let turned = tensor.reshape([4, 6])?.transpose(0, 1)?;
    assert_eq!(turned.reshape([2, 3, 2, 2])?.download()?, turned.download()?);
    // A part begins where it did.
    assert_eq!(
        tensor.slice(0, 1..)?.reshape([2, 6])?.rows(1..)?.download()?,
        (18..24).collect::<Vec<_>>()
    );
    tensor.view_mut().rows(1..)?.reshape([12])?.copy_from(&[7; 12])?;
    assert_eq!(tensor.download()?[10..14], [10, 11, 7, 7]);
    // No elements have any shape of none.
    let none = tensor.slice(1, 0..0)?;
    assert_eq!(none.reshape([0, 5])?.extents(), [0, 5]);
    assert_eq!(
        tensor
            .slice(0, ..1)?
            .slice(1, ..1)?
            .slice(2, ..1)?
            .reshape([1])?
            .download()?,
        [0]
    );
    Ok(())
}

#[test]
fn a_shape_that_a_view_cannot_have_is_an_error_that_says_why() -> Result<(), TensorError> {
    let tensor = Device::cpu().zeros::<i32, 3>([2, 3, 4])?;
    let error = tensor.reshape([5, 5]).expect_err("25 elements are not 24");
    assert_eq!(
        error.to_string(),
        "a view of extents [2, 3, 4] cannot be reshaped to [5, 5]: the products of the extents must be equal"
    );
    let error = tensor
        .slice(2, 1..3)?
        .reshape([12])
        .expect_err("each row of two has a gap after it");
    assert_eq!(
        error.to_string(),
        "a view of extents [2, 3, 2] and strides [12, 4, 1] cannot be reshaped to [12]: an axis would go over a gap; \
         reshape before it is sliced or transposed, or copy its elements"
    );
    let turned = tensor.transpose(1, 2)?;
    assert!(matches!(turned.reshape([2, 12]), Err(TensorError::NoReshape { .. })));
    assert!(matches!(turned.reshape([2, 6, 2]), Err(TensorError::NoReshape { .. })));
    assert!(matches!(
        tensor.reshape([usize::MAX, 2]),
        Err(TensorError::TooLong { .. })
    ));
    assert!(matches!(tensor.reshape([0, 24]), Err(TensorError::OtherCount { .. })));
    Ok(())
}

#[test]
fn random_reshapes_agree_with_copies() {
    let mut random = 7u64;
    let mut next = move |below: usize| {
        random = random
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (random >> 33) as usize % below
    };
    let device = Device::cpu();
    let mut reshaped = 0;
    for _ in 0..2000 {
        let extents = [1 + next(4), 1 + next(4), 1 + next(4)];
        let elements: Vec<i32> = (0..extents.iter().product::<usize>() as i32).collect();
        let tensor = device.upload(&elements, extents).expect("small");
        let mut view = tensor.view().transpose(next(3), next(3)).expect("three axes");
        let axis = next(3);
        let start = next(view.extents()[axis]);
        view = view.slice(axis, start..).expect("in range");
        let len = view.len();
        let (a, b) = (1 + next(len), 1 + next(len));
        if len.is_multiple_of(a * b)
            && let Ok(shaped) = view.reshape([a, len / (a * b), b])
        {
            assert_eq!(shaped.download(), view.download());
            reshaped += 1;
        } else if view.is_contiguous() {
            assert_ne!(len % (a * b), 0, "what has no gaps has every shape");
        }
    }
    assert!(reshaped > 200, "{reshaped}");
}

#[test]
fn memory_of_peers_is_imported_by_its_file_and_by_nothing_else() -> Result<(), TensorError> {
    let (device, other) = (Device::cpu(), Device::cpu());
    let memory = PeerMemory::new(&device, 10)?;
    assert!(memory.bytes() >= 10 && memory.bytes() < 1 << 20);
    // As another process does.
    let imported = PeerMemory::import(&other, memory.file()?, memory.bytes())?;
    let mut mine = PeerBuffer::new(&device, 0, std::slice::from_ref(&memory))?;
    let theirs = PeerBuffer::new(&other, 0, &[imported])?;
    mine.tensor_mut::<u16, 1>(0, 4, [2])?.copy_from(&[3, 4])?;
    assert_eq!(theirs.tensor::<u16, 1>(0, 2, [4])?.download()?, [0, 3, 4, 0]);
    // It lives as long as somebody has it.
    let (bytes, file) = (memory.bytes(), memory.file()?);
    drop((mine, memory));
    assert_eq!(theirs.tensor::<u16, 1>(0, 4, [2])?.download()?, [3, 4]);

    let refused = |file: OwnedFd, bytes: usize, why: &str| {
        let error = PeerMemory::import(&Device::cpu(), file, bytes)
            .expect_err(why)
            .to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(file, bytes + 1, "shorter than was said");
    // A file of the disk, and one that can be cut off while it is used.
    refused(tempfile::tempfile().expect("a file").into(), 0, "");
    let flags = MemfdFlags::ALLOW_SEALING;
    let unsealed = memfd_create("unsealed", flags).expect("a file in memory");
    ftruncate(&unsealed, bytes as u64).expect("a length");
    refused(unsealed, bytes, "may become so");
    let (read, _write) = std::io::pipe().expect("a pipe");
    refused(read.into(), bytes, "no memory");
    Ok(())
}

#[test]
fn more_memory_than_peers_can_have_is_an_error() {
    for bytes in [usize::MAX, usize::MAX / 2, 1 << 60] {
        let error = PeerMemory::new(&Device::cpu(), bytes).expect_err("so many bytes");
        assert_eq!(error, DeviceError::OutOfHostMemory { asked: bytes });
    }
}

#[test]
fn a_rank_that_is_not_there_has_no_mapping() -> Result<(), TensorError> {
    let device = Device::cpu();
    let memory = [PeerMemory::new(&device, 1)?];
    let error = PeerBuffer::new(&device, 1, &memory).expect_err("one rank");
    assert_eq!(error, TensorError::NoSuchRank { rank: 1, ranks: 1 });
    assert!(PeerBuffer::new(&device, 0, &[]).is_err());
    let one = device.capture(|_| PeerMemory::new(&device, 1).map(drop));
    assert!(matches!(one, Err(DeviceError::Capturing { .. })));
    Ok(())
}

/// Memory of a GPU is known to the driver by its file, whatever is sent in its place.
#[test]
fn a_file_that_is_no_memory_of_a_gpu_is_an_error() -> Result<(), TensorError> {
    let Some(gpu) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return Ok(());
    };
    let host = PeerMemory::new(&Device::cpu(), 1 << 21)?;
    let error = PeerMemory::import(&gpu, host.file()?, 1 << 21).expect_err("memory of the host");
    assert!(matches!(error, DeviceError::Driver { .. }), "{error}");
    let memory = PeerMemory::new(&gpu, 1)?;
    let (file, more) = (memory.file()?, 2 * memory.bytes());
    let error = PeerMemory::import(&gpu, file, more).expect_err("more than there is");
    assert!(matches!(error, DeviceError::Driver { .. }), "{error}");
    for error in [
        PeerBuffer::new(&gpu, 0, std::slice::from_ref(&host)).expect_err("the host's"),
        PeerBuffer::new(&Device::cpu(), 0, std::slice::from_ref(&memory)).expect_err("the GPU's"),
    ] {
        assert_eq!(error, TensorError::Device(DeviceError::MixedPeers));
    }
    let error = PeerMemory::new(&gpu, 1 << 50).expect_err("2^50 bytes");
    assert!(matches!(error, DeviceError::OutOfMemory { .. }), "{error}");
    // The device is as it was.
    let mut whole = PeerBuffer::new(&gpu, 0, &[memory])?;
    whole.tensor_mut::<u8, 1>(0, 0, [2])?.copy_from(&[1, 2])?;
    assert_eq!(whole.tensor::<u8, 1>(0, 0, [3])?.download()?, [1, 2, 0]);
    Ok(())
}
