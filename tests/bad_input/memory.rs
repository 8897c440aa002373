//! Memory of another device, and not enough of it; a device that is not there.

use std::any::Any;

use tilewright::dsl::call::{ArgumentValue, CountArgument, Memory};
use tilewright::dsl::element::ElementType;
use tilewright::prelude::*;
use tilewright::runtime::DeviceError;
use tilewright_testing::Part;

use crate::kernels::copy_rows;
use crate::support::{COLUMNS, Outcome, ROWS, Tensors, arguments_of, call_of, changed, fails, on_each_device};

#[test]
fn memory_of_another_runtime_is_refused() -> Outcome {
    struct Foreign;
    impl Memory for Foreign {
        fn as_any(&self) -> &dyn Any {
            self
        }
    }
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(1));
        let mut values = arguments_of(&call);
        values[1] = changed(&values[1], |src| src.memory = &Foreign);
        let words = [
            "`copy_rows`",
            "`src` is memory of another runtime",
            "copy it to a tensor of",
            &device.to_string(),
        ];
        fails(call_of(&call, values).launch(device), &words);
        tensors.are_untouched_and_usable()
    })
}

#[test]
fn a_destination_whose_elements_share_memory_is_refused() -> Outcome {
    let width = COLUMNS as i64;
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        for strides in [[0, 1], [width - 1, 1], [width, 0]] {
            let stretched = |position: usize, out: &mut DeviceTensor<i32, 2>, src: &DeviceTensor<i32, 2>| {
                let call = copy_rows(out, src, Exact(0), Exact(1));
                let mut values = arguments_of(&call);
                values[position] = changed(&values[position], |tensor| {
                    tensor.strides = strides.into_iter().collect()
                });
                call_of(&call, values).launch(device)
            };
            let words = [
                "`copy_rows`",
                "`out`, which it may write, has elements that share memory",
                "strides",
            ];
            fails(stretched(0, &mut tensors.out, &tensors.src), &words);
            tensors.are_untouched_and_usable()?;
            // A source may be stretched.
            stretched(1, &mut tensors.out, &tensors.src)?;
            tensors = Tensors::new(device)?;
        }
        Ok(())
    })
}

#[test]
fn a_destination_that_a_count_lies_in_is_refused() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(1));
        let mut values = arguments_of(&call);
        let ArgumentValue::Tensor(out) = values[0].clone() else {
            panic!("no tensor")
        };
        values[3] = ArgumentValue::Count(CountArgument::Device {
            memory: out.memory,
            offset: 4,
            element: ElementType::I32,
            maximum: ROWS as i64,
        });
        let words = ["`copy_rows`", "`out`, which it may write, shares memory with `rows`"];
        fails(call_of(&call, values).launch(device), &words);
        tensors.are_untouched_and_usable()
    })
}

#[test]
fn memory_of_another_device_is_refused() -> Outcome {
    let Some(gpu) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return Ok(());
    };
    let (mut there, mut here) = (Tensors::new(&gpu)?, Tensors::new(&Device::cpu())?);
    let count = here.device.upload(&[1i64], [1])?;
    let on_gpu = [
        "`copy_rows`",
        "is on the CPU device, and the launch is on CUDA device 0",
        "move one to the other",
    ];
    let error = fails(
        copy_rows(&mut there.out, &here.src, Exact(0), Exact(1)).launch(&gpu),
        &on_gpu,
    );
    assert!(matches!(error, LaunchError::OtherDevice { .. }));
    fails(
        copy_rows(&mut here.out, &there.src, Exact(0), Exact(1)).launch(&gpu),
        &on_gpu,
    );
    let call = copy_rows(&mut there.out, &there.src, Exact(0), device_count(&count, 0, 1)?);
    fails(call.launch(&gpu), &["`rows` is on the CPU device"]);
    let call = copy_rows(&mut here.out, &there.src, Exact(0), Exact(1));
    fails(
        call.launch(&here.device),
        &["`src` is on CUDA device 0", "the launch is on the CPU device"],
    );
    there.are_untouched_and_usable()?;
    here.are_untouched_and_usable()
}

#[test]
fn more_memory_than_there_is_is_refused_and_less_works_afterwards() -> Outcome {
    // No host has 2^62 bytes, whatever it promises.
    let huge = Device::cpu().zeros::<u64, 2>([1 << 40, 1 << 19]).map(|_| ());
    fails(huge, &["the host has no room for 4611686018427387904 bytes"]);
    Tensors::new(&Device::cpu())?.are_untouched_and_usable()?;

    let Some(gpu) = Part::Gpu.if_there(Device::cuda(0)) else {
        return Ok(());
    };
    let mut tensors = Tensors::new(&gpu)?;
    for extents in [[1 << 20, 1 << 22], [1 << 20, 1 << 30], [1 << 20, 1 << 40]] {
        let asked = (extents[0] * extents[1]).to_string();
        let words = [
            "out of device memory",
            &asked,
            "bytes asked for",
            "free",
            "fewer rows at a time",
        ];
        let error = fails(gpu.zeros::<u8, 2>(extents).map(|_| ()), &words);
        assert!(matches!(error, TensorError::Device(DeviceError::OutOfMemory { .. })));
        tensors.are_untouched_and_usable()?;
    }
    // Almost all of it, twice: the first must be given back before the second.
    let (free, _) = gpu.as_cuda().ok_or("a GPU")?.memory()?;
    for _ in 0..2 {
        drop(gpu.zeros::<u8, 2>([free / 10 * 6 / 4096, 4096])?);
    }
    tensors.are_untouched_and_usable()
}

#[test]
fn a_gpu_that_is_not_there_says_why_and_what_to_do() {
    let error = fails(Device::cuda(4096).map(|_| ()), &[]);
    let text = error.to_string();
    match error {
        DeviceError::NoSuchDevice { .. } => assert!(text.contains("there is no CUDA device 4096"), "{text}"),
        // The machines that this was written on: no driver at all, or a driver without a GPU.
        DeviceError::MissingDriver => assert!(text.contains("install NVIDIA's driver"), "{text}"),
        DeviceError::NoDevice => assert!(text.contains("nvidia-smi"), "{text}"),
        error => panic!("{error}"),
    }
}
