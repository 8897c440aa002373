//! Devices, and tensors between which every mistake is made.

use std::error::Error;
use std::fmt::Display;

use tilewright::dsl::call::{ArgumentValue, Arguments, Call, TensorArgument};
use tilewright::prelude::*;
use tilewright_testing::{Part, turn};

use crate::kernels::copy_rows;

pub type Outcome = Result<(), Box<dyn Error>>;

/// Runs a test on the CPU device and, if there is one, on the GPU.
pub fn on_each_device(test: impl Fn(&Device) -> Outcome) -> Outcome {
    test(&Device::cpu())?;
    let Some(gpu) = Part::Gpu.if_there(Device::cuda(0).inspect(|gpu| gpu.set_specialize(Specialize::Exact))) else {
        return Ok(());
    };
    let _turn = turn();
    test(&gpu)
}

/// The error of what must fail, if it has all of these words.
#[track_caller]
pub fn fails<T, E: Display>(result: Result<T, E>, words: &[&str]) -> E {
    let Err(error) = result else {
        panic!("no error, and it should say {words:?}")
    };
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    error
}

pub const ROWS: usize = 4;
pub const COLUMNS: usize = 8;
pub const SENTINEL: i32 = -77;

/// A source, and a destination full of sentinels, between which every mistake is made.
pub struct Tensors {
    pub device: Device,
    pub src: DeviceTensor<i32, 2>,
    pub out: DeviceTensor<i32, 2>,
}

impl Tensors {
    pub fn new(device: &Device) -> Result<Self, TensorError> {
        let src: Vec<i32> = (1..=(ROWS * COLUMNS) as i32).collect();
        Ok(Self {
            device: device.clone(),
            src: device.upload(&src, [ROWS, COLUMNS])?,
            out: device.upload(&[SENTINEL; ROWS * COLUMNS], [ROWS, COLUMNS])?,
        })
    }

    /// Nothing was written by the mistake, nothing is reported later, and the next launch is right.
    #[track_caller]
    pub fn are_untouched_and_usable(&mut self) -> Outcome {
        assert_eq!(self.out.download()?, [SENTINEL; ROWS * COLUMNS], "written by a mistake");
        self.device.synchronize()?;
        copy_rows(&mut self.out, &self.src, Exact(0), Runtime(ROWS as u64)).launch(&self.device)?;
        self.device.synchronize()?;
        assert_eq!(self.out.download()?, self.src.download()?, "the launch after a mistake");
        self.out.copy_from(&[SENTINEL; ROWS * COLUMNS])?;
        Ok(())
    }
}

/// The arguments of a call, to be changed.
pub fn arguments_of<'a>(call: &Call<'a>) -> Vec<ArgumentValue<'a>> {
    call.arguments().to_vec()
}

/// A call with other arguments than the compiler would let through.
pub fn call_of<'a>(call: &Call<'_>, values: impl IntoIterator<Item = ArgumentValue<'a>>) -> Call<'a> {
    let mut arguments = Arguments::new();
    for value in values {
        #[allow(unsafe_code)] // Tests look at how such a launch is refused, or use the memory for nothing else.
        unsafe {
            arguments.push(value)
        };
    }
    Call::new(call.definition().clone(), arguments)
}

/// A tensor argument, changed.
pub fn changed<'a>(value: &ArgumentValue<'a>, change: impl FnOnce(&mut TensorArgument<'a>)) -> ArgumentValue<'a> {
    let ArgumentValue::Tensor(mut tensor) = value.clone() else {
        panic!("no tensor")
    };
    change(&mut tensor);
    ArgumentValue::Tensor(tensor)
}
