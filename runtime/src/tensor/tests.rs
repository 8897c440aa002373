use crate::{Device, TensorError, device_count};

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
