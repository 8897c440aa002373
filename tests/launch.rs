//! From the author's function to checked results: kernels written with `#[kernel]`, launched on the CPU device, and on a
//! GPU where there is one.

use tilewright::dsl::backend::Module;
use tilewright::dsl::lower::lower;
use tilewright::dsl::schedule::{Machine, choose};
use tilewright::prelude::*;
use tilewright::runtime::Variant;
use tilewright::runtime::compile::{Architecture, CompileOptions, Nvrtc, compile_ptx};
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

/// One kernel as it stands in two versions of a program.
macro_rules! version {
    ($version:ident, $step:literal, $next:expr) => {
        mod $version {
            use tilewright::prelude::*;

            const STEP: i32 = $step;

            #[device]
            fn next(x: Scalar<i32>) -> Scalar<i32> {
                let next: fn(Scalar<i32>) -> Scalar<i32> = $next;
                next(x)
            }

            #[kernel(grid = [out.extent(0)])]
            pub fn step(out: &mut Tensor<i32, 1>) {
                let at = program_id(0);
                out.store([at], next(out.load([at])) + STEP);
            }
        }
    };
}

version!(first, 10, |x| x + 1);
version!(other_constant, 20, |x| x + 1);
version!(other_function, 10, |x| x * 2);

type Step = for<'a> fn(&'a mut DeviceTensor<i32, 1>) -> Call<'a>;

/// What a kernel is compiled from.
fn text(variant: &Variant) -> String {
    let schedule = choose(variant.kernel(), &Machine::H200, 4);
    let lowered = lower(variant.kernel(), &schedule).expect("it can be lowered");
    Module::cuda(&lowered).text.as_str().to_owned()
}

#[test]
fn a_constant_or_a_called_function_that_changed_is_other_code() -> Result<(), Failure> {
    on_each_device(|device| {
        let mut texts = Vec::new();
        let steps: [(Step, [i32; 2]); 4] = [
            (|out| first::step(out), [14, 15]),
            (|out| other_constant::step(out), [24, 25]),
            (|out| other_function::step(out), [16, 18]),
            (|out| first::step(out), [14, 15]),
        ];
        for (step, expected) in steps {
            let mut out = device.upload(&[3, 4], [2])?;
            let launched = step(&mut out).launch(device)?;
            assert_eq!(out.download()?, expected);
            texts.push(text(launched.variant().expect("there are programs")));
        }
        let [first, constant, function, again] = &texts[..] else {
            unreachable!()
        };
        assert!(first == again && first != constant && first != function && constant != function);
        Ok(())
    })
}

#[test]
fn lines_of_the_authors_function_are_in_the_compiled_text() -> Result<(), Failure> {
    let device = Device::cpu();
    let src = device.zeros::<f32, 2>([4, 8])?;
    let mut out = device.zeros::<f32, 2>([6, 8])?;
    let launched = pad_rows(&mut out, &src, Runtime(3), -1.0f32).launch(&device)?;
    let source = text(launched.variant().expect("there are programs"));
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return Ok(());
    }
    let mut options = CompileOptions::new(Architecture::new(9, 0));
    options.line_info = true;
    let ptx = compile_ptx(&source, "pad_rows", &options)?;
    let (_, line) = pad_rows::definition().location();
    let file = ptx
        .lines()
        .find(|text| text.trim_start().starts_with(".file") && text.contains("launch.rs"));
    let number = file
        .and_then(|file| file.split_whitespace().nth(1))
        .expect("the file of the kernel");
    // The store of what is copied is five lines below the attribute or the name.
    let of_body = |text: &&str| {
        let mut words = text.split_whitespace();
        words.next() == Some(".loc")
            && words.next() == Some(number)
            && words
                .next()
                .and_then(|at| at.parse::<u32>().ok())
                .is_some_and(|at| (line..line + 10).contains(&at))
    };
    assert!(ptx.lines().filter(of_body).count() > 1, "{ptx}");
    Ok(())
}
