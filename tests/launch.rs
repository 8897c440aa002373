//! From the author's function to checked results: kernels written with `#[kernel]`, launched on the CPU device, and on a
//! GPU where there is one.

use tilewright::prelude::*;
use tilewright_testing::Part;

type Failure = Box<dyn std::error::Error>;

fn on_each_device(test: impl Fn(&Device) -> Result<(), Failure>) -> Result<(), Failure> {
    test(&Device::cpu())?;
    Part::Gpu
        .if_there(Device::cuda(0).inspect(|gpu| gpu.set_specialize(Specialize::Exact)))
        .map_or(Ok(()), |gpu| test(&gpu))
}

/// `out[i] = src[index[i]]`; a row whose index is out of range is zero.
#[kernel(grid = [out.extent(0)])]
fn gather_rows<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, index: &Tensor<i32, 1>) {
    let row = program_id(0);
    let from = index.load([row]);
    let cols = arange(src.extent(1));
    out.store([row, cols], src.load([from, cols]));
}

/// The first `rows` rows of `src`, padded with `fill` to the rows of `out`.
#[kernel(grid = [out.extent(0)])]
fn pad_rows(out: &mut Tensor<f32, 2>, src: &Tensor<f32, 2>, rows: Count, fill: f32) {
    let row = program_id(0);
    let cols = arange(out.extent(1));
    if row < rows {
        out.store([row, cols], src.load([row, cols]));
    } else {
        out.store([row, cols], fill);
    }
}

/// `out[i] = sum of parts[k][i]`
#[kernel(grid = [out.extent(0)])]
fn sum_parts<const N: usize>(out: &mut Tensor<f32, 2>, parts: [&Tensor<f32, 2>; N]) {
    let row = program_id(0);
    let cols = arange(out.extent(1));
    let mut sum = full([out.extent(1)], 0.0f32);
    for part in parts {
        sum += part.load([row, cols]);
    }
    out.store([row, cols], sum);
}

#[test]
fn rows_of_any_element_type_are_gathered() -> Result<(), Failure> {
    on_each_device(|device| {
        let src: Vec<u16> = (0..5 * 7).collect();
        let (on_device, index) = (device.upload(&src, [5, 7])?, device.upload(&[4, 0, 5, -1, 2], [5])?);
        let mut out = device.upload(&[9u16; 35], [5, 7])?;
        let launched = gather_rows::<u16>(&mut out, &on_device, &index).launch(device)?;
        assert_eq!(launched.programs(), 5);
        let expected = [Some(4), Some(0), None, None, Some(2)];
        let rows = expected.map(|row| row.map_or([0; 7], |row: usize| std::array::from_fn(|col| src[row * 7 + col])));
        assert_eq!(out.download()?, rows.concat());
        Ok(())
    })
}

#[test]
fn a_count_gives_the_same_result_however_it_is_bound() -> Result<(), Failure> {
    on_each_device(|device| {
        let src = device.upload(&(0..32).map(|i| i as f32).collect::<Vec<_>>(), [4, 8])?;
        let count = device.upload(&[3i64], [1])?;
        let mut results = Vec::new();
        for bound in 0..3 {
            let mut out = device.zeros([6, 8])?;
            match bound {
                0 => pad_rows(&mut out, &src, Exact(3), -1.0f32).launch(device)?,
                1 => pad_rows(&mut out, &src, Runtime(3), -1.0f32).launch(device)?,
                _ => pad_rows(&mut out, &src, device_count(&count, 0, 4)?, -1.0f32).launch(device)?,
            };
            results.push(out.download()?);
        }
        let expected: Vec<f32> = (0..48).map(|i| if i < 24 { i as f32 } else { -1.0 }).collect();
        assert!(results.iter().all(|result| *result == expected), "{results:?}");
        Ok(())
    })
}

#[test]
fn another_value_of_a_scalar_needs_no_other_variant() -> Result<(), Failure> {
    on_each_device(|device| {
        let src = device.zeros([1, 8])?;
        let mut out = device.zeros([2, 8])?;
        let first = pad_rows(&mut out, &src, Runtime(0), 1.0f32).launch(device)?;
        let second = pad_rows(&mut out, &src, Runtime(0), 2.0f32).launch(device)?;
        assert_eq!(first.variant_id(), second.variant_id());
        assert!(!second.compiled());
        assert_eq!(out.download()?, [2.0; 16]);
        Ok(())
    })
}

#[test]
fn parts_of_tensors_are_arguments_too() -> Result<(), Failure> {
    on_each_device(|device| {
        let src = device.upload(&(0..24).map(|i| i as f32).collect::<Vec<_>>(), [4, 6])?;
        let index = device.upload(&[3, 1], [2])?;
        let mut out = device.zeros([3, 5])?;
        let part = out.view_mut().rows(1..)?.columns(1..4)?;
        gather_rows::<f32>(part, src.columns(2..5)?, &index).launch(device)?;
        let expected = [[0.0; 5], [0.0, 20.0, 21.0, 22.0, 0.0], [0.0, 8.0, 9.0, 10.0, 0.0]];
        assert_eq!(out.download()?, expected.concat());
        Ok(())
    })
}

#[test]
fn an_array_of_tensors_is_one_argument() -> Result<(), Failure> {
    on_each_device(|device| {
        let parts = [
            device.upload(&[1.0f32; 8], [2, 4])?,
            device.upload(&[2.0f32; 8], [2, 4])?,
        ];
        let mut out = device.zeros([2, 4])?;
        sum_parts::<2>(&mut out, parts.each_ref()).launch(device)?;
        assert_eq!(out.download()?, [3.0; 8]);
        Ok(())
    })
}

#[test]
fn a_tensor_of_another_device_is_refused_by_name() -> Result<(), Failure> {
    let Some(gpu) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return Ok(());
    };
    let cpu = Device::cpu();
    let (src, index) = (cpu.zeros([2, 4])?, gpu.zeros([2])?);
    let mut out = gpu.zeros::<f32, 2>([2, 4])?;
    let error = gather_rows::<f32>(&mut out, &src, &index)
        .launch(&gpu)
        .expect_err("two devices");
    assert!(
        error
            .to_string()
            .contains("`src` is on the CPU device, and the launch is on CUDA device 0"),
        "{error}"
    );
    Ok(())
}
