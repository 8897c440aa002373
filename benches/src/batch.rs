//! The tensors of a decode batch, padded by one launch.

use std::error::Error;
use std::time::Instant;

use half::bf16;
use serde::Deserialize;
use tilewright_dp::batch::{Padding, PaddingError};
use tilewright_dsl::call::{Argument, Exact, Runtime};
use tilewright_dsl::element::Element;
use tilewright_dsl::lang::Count;
use tilewright_harness::bench::Replay;
use tilewright_runtime::{Device, DeviceTensor, Launch, Launched, Stream, TensorError, TensorView, device_count};

use crate::case::Binding;

/// A batch of `real` requests that is padded to `length`.
#[derive(Clone, Debug, Deserialize)]
pub struct BatchCase {
    real: usize,
    length: usize,
    /// Elements of a hidden state.
    columns: usize,
    /// Batches to rotate over.
    sets: usize,
    binding: Binding,
}

/// The batches, a graph that pads each once, and the count in device memory.
pub struct Batch {
    replay: Option<Replay>,
    case: BatchCase,
    sets: Vec<Tensors>,
    count: DeviceTensor<i64, 1>,
}

/// Eleven tensors of five types: token ids, positions and cache locations; indices and lengths of requests; positions of
/// three axes; the draft's probabilities and tokens; hidden states.
struct Tensors {
    tokens: [Field<i64, 1>; 3],
    requests: [Field<i32, 1>; 4],
    axes: Field<i64, 2>,
    probabilities: Field<f32, 2>,
    drafts: Field<i64, 2>,
    hidden: Field<bf16, 2>,
}

/// A tensor and what it is padded to.
struct Field<T: Element, const R: usize> {
    src: DeviceTensor<T, R>,
    out: DeviceTensor<T, R>,
    axis: usize,
}

impl<T: Element, const R: usize> Field<T, R> {
    fn new(device: &Device, case: &BatchCase, axis: usize, other: usize, salt: u64) -> Result<Self, TensorError> {
        let extents = |along| std::array::from_fn(|i| if i == axis { along } else { other });
        let elements = extents(case.real).iter().product::<usize>() as u64;
        let bits = |i: u64| T::from_bits64((i + salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Ok(Self {
            src: device.upload(&(0..elements).map(bits).collect::<Vec<_>>(), extents(case.real))?,
            out: device.zeros(extents(case.length))?,
            axis,
        })
    }

    fn pad<'a>(&'a mut self, padding: &mut Padding<'a>, count: impl Argument<'a, Count>) -> Result<(), PaddingError> {
        padding.pad(&mut self.out, &self.src, self.axis, count, T::from_bits64(0))?;
        Ok(())
    }

    fn poison(&mut self) -> Result<(), TensorError> {
        let poison = vec![T::from_bits64(0x5555_5555_5555_5555); self.out.len()];
        self.out.copy_from(&poison)
    }

    fn is_right(&self) -> Result<bool, TensorError> {
        // With the padded axis outermost, both are lists of equal rows.
        let rows = |view: TensorView<'_, T, R>| -> Result<Vec<u64>, TensorError> {
            let all = view.matrix(self.axis)?.download()?;
            Ok(all.into_iter().map(Element::to_bits64).collect())
        };
        let (src, out) = (rows(self.src.view())?, rows(self.out.view())?);
        Ok(out[..src.len()] == src && out[src.len()..].iter().all(|&bits| bits == 0))
    }
}

impl Tensors {
    fn new(device: &Device, case: &BatchCase, set: usize) -> Result<Self, TensorError> {
        let salt = |tensor: u64| (set as u64) << 40 | tensor << 32;
        let tokens = |i| Field::new(device, case, 0, 1, salt(i));
        let requests = |i| Field::new(device, case, 0, 1, salt(i));
        Ok(Self {
            tokens: [tokens(0)?, tokens(1)?, tokens(2)?],
            requests: [requests(3)?, requests(4)?, requests(5)?, requests(6)?],
            axes: Field::new(device, case, 1, 3, salt(7))?,
            probabilities: Field::new(device, case, 0, 4, salt(8))?,
            drafts: Field::new(device, case, 0, 4, salt(9))?,
            hidden: Field::new(device, case, 0, case.columns, salt(10))?,
        })
    }

    fn pad<'a>(
        &'a mut self,
        padding: &mut Padding<'a>,
        count: impl Argument<'a, Count> + Copy,
    ) -> Result<(), PaddingError> {
        for field in &mut self.tokens {
            field.pad(padding, count)?;
        }
        for field in &mut self.requests {
            field.pad(padding, count)?;
        }
        self.axes.pad(padding, count)?;
        self.probabilities.pad(padding, count)?;
        self.drafts.pad(padding, count)?;
        self.hidden.pad(padding, count)
    }

    fn poison(&mut self) -> Result<(), TensorError> {
        self.tokens.iter_mut().try_for_each(Field::poison)?;
        self.requests.iter_mut().try_for_each(Field::poison)?;
        self.axes.poison()?;
        self.probabilities.poison()?;
        self.drafts.poison()?;
        self.hidden.poison()
    }

    fn is_right(&self) -> Result<bool, TensorError> {
        let mut right = self.axes.is_right()? && self.probabilities.is_right()? && self.drafts.is_right()?;
        for field in &self.tokens {
            right &= field.is_right()?;
        }
        for field in &self.requests {
            right &= field.is_right()?;
        }
        Ok(right && self.hidden.is_right()?)
    }
}

/// Microseconds of launches that are waited for one by one.
#[derive(Default)]
pub struct Launches {
    /// Until the call is made that is then launched.
    pub call_us: Vec<f64>,
    /// Until the host can go on.
    pub host_us: Vec<f64>,
    /// Until the batch is padded.
    pub total_us: Vec<f64>,
}

impl Batch {
    /// Allocates, compiles, captures a graph of one launch for each set, and compares what it leaves.
    pub fn new(device: &Device, case: BatchCase) -> Result<Self, Box<dyn Error>> {
        let sets = (0..case.sets).map(|set| Tensors::new(device, &case, set));
        let mut batch = Self {
            replay: None,
            sets: sets.collect::<Result<_, _>>()?,
            count: device.upload(&[case.real as i64], [1])?,
            case,
        };
        let sets = batch.case.sets;
        let mut replay = Replay::capture(device, sets, sets, |stream, set| batch.launch(stream, set))?;
        batch.sets.iter_mut().try_for_each(Tensors::poison)?;
        replay.measure(1, 0)?;
        device.synchronize()?;
        for tensors in &batch.sets {
            if !tensors.is_right()? {
                return Err("a padded tensor is wrong".into());
            }
        }
        batch.replay = Some(replay);
        Ok(batch)
    }

    fn launch(&mut self, stream: &Stream, set: usize) -> Result<Launched, Box<dyn Error>> {
        Ok(self.padding(set)?.launch_on(stream)?)
    }

    fn padding(&mut self, set: usize) -> Result<Padding<'_>, Box<dyn Error>> {
        let mut padding = Padding::new();
        let (real, tensors) = (self.case.real as u64, &mut self.sets[set]);
        match self.case.binding {
            Binding::Exact => tensors.pad(&mut padding, Exact(real))?,
            Binding::Runtime => tensors.pad(&mut padding, Runtime(real))?,
            Binding::Device => tensors.pad(&mut padding, device_count(&self.count, 0, real)?)?,
        }
        Ok(padding)
    }

    /// Times launches from the host, the first of which are not counted.
    pub fn measure_launches(
        &mut self,
        device: &Device,
        launches: usize,
        warm_up: usize,
    ) -> Result<Launches, Box<dyn Error>> {
        let mut timed = Launches::default();
        let stream = device.stream();
        for launch in 0..warm_up + launches {
            let begin = Instant::now();
            let us = || begin.elapsed().as_secs_f64() * 1e6;
            let call = self.padding(launch % self.case.sets)?.into_call();
            let made = us();
            call.launch_on(&stream)?;
            let launched = us();
            device.synchronize()?;
            if launch >= warm_up {
                timed.call_us.push(made);
                timed.host_us.push(launched);
                timed.total_us.push(us());
            }
        }
        Ok(timed)
    }

    /// Device microseconds of one launch in the graph, one figure per replay.
    pub fn measure_graph(&mut self, replays: usize, warm_up: usize) -> Result<Vec<f64>, Box<dyn Error>> {
        let replay = self.replay.as_mut().ok_or("there is no graph")?;
        Ok(replay.measure(replays, warm_up)?.us().to_vec())
    }
}
