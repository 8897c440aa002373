//! What launches cost the host.

use std::time::{Duration, Instant};

use tilewright::prelude::*;
use tilewright_testing::{Part, turn};

use super::{Failure, on_every_device, raw};

/// Nothing.
#[kernel(grid = [1])]
fn of_none() {}

/// The sum of some rows' first elements.
#[kernel(grid = [rows])]
fn of_some<const N: usize>(out: &mut Tensor<i32, 1>, srcs: [&Tensor<i32, 1>; N], rows: Count) {
    let row = program_id(0);
    let mut sum = srcs[0].load([row]);
    for src in &srcs[1..] {
        sum = sum + src.load([row]);
    }
    out.store([row], sum);
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The middle of the times of each of some things, done by turns.
fn by_turns<const N: usize>(device: &Device, steps: u64, mut each: [&mut dyn FnMut(u64); N]) -> [Duration; N] {
    let mut random = fastrand::Rng::with_seed(4);
    let mut times = [(); N].map(|()| Vec::with_capacity(steps as usize));
    for step in 0..steps {
        let count = random.u64(1..=LENGTH as u64);
        for (launch, times) in each.iter_mut().zip(&mut times) {
            let started = Instant::now();
            launch(count);
            times.push(started.elapsed());
        }
        // A stream that is full would let the host wait.
        if step % 32 == 0 {
            device.synchronize().expect("all is done");
        }
    }
    times.map(|mut times| middle(&mut times))
}

const LENGTH: usize = 8;

struct Tensors {
    out: DeviceTensor<i32, 1>,
    srcs: Vec<DeviceTensor<i32, 1>>,
}

impl Tensors {
    fn on(device: &Device) -> Self {
        let one = || device.zeros::<i32, 1>([LENGTH]).expect("memory");
        Self {
            out: one(),
            srcs: (0..18).map(|_| one()).collect(),
        }
    }

    /// A call of `N + 2` arguments.
    fn call<const N: usize>(&mut self, rows: u64) -> Call<'_> {
        let srcs = std::array::from_fn::<_, N, _>(|at| &self.srcs[at]);
        of_some(&mut self.out, srcs, Runtime(rows))
    }
}

/// Generous: a machine may be busy, and unoptimised code is slower.
#[test]
fn what_a_launch_costs_the_host_grows_little_with_its_arguments() -> Result<(), Failure> {
    on_every_device(|device| {
        device.set_specialize(Specialize::Tiered);
        let mut tensors = [(); 2].map(|()| Tensors::on(device));
        let [few, many] = &mut tensors;
        // On the CPU device launches of no programs, as interpreting them is not what is measured.
        let rows = |count: u64| if device.is_cuda() { count } else { 0 };
        let launch = |call: Call<'_>| drop(call.launch(device).expect("a launch"));
        let mut measure = |steps| {
            by_turns(
                device,
                steps,
                [
                    &mut |_| launch(of_none()),
                    &mut |count| launch(few.call::<3>(rows(count))),
                    &mut |count| launch(many.call::<17>(rows(count))),
                ],
            )
        };
        measure(50);
        assert!(Device::settle(Duration::from_secs(60)));
        let [none, five, nineteen] = measure(1000);
        println!("{device}: {none:?} with no arguments, {five:?} with 5, {nineteen:?} with 19");
        let each = Duration::from_nanos(if cfg!(debug_assertions) { 5000 } else { 300 });
        assert!(five <= none + 5 * each, "{five:?} with 5 arguments, {none:?} with none");
        assert!(
            nineteen <= none + 19 * each,
            "{nineteen:?} with 19 arguments, {none:?} with none"
        );
        Ok(())
    })
}

/// Copies.
#[kernel(grid = [rows])]
fn copy(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, rows: Count) {
    out.store([program_id(0)], src.load([program_id(0)]));
}

/// Host times of a launch by the driver alone, by cudarc's builder, bound, prepared, and ordinary, for a reading.
#[test]
#[ignore = "a measurement: run it on a GPU with --release, --ignored and --nocapture"]
fn bound_and_prepared_launches_beside_the_driver_alone_and_ordinary_ones() -> Result<(), Failure> {
    const STEPS: u64 = 10_000;
    const FUSED: usize = 11;
    let Some(device) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return Ok(());
    };
    let _turn = turn();
    device.set_specialize(Specialize::Tiered);

    /// What is done with a call.
    type Then<'t> = dyn FnMut(Call<'_>) + 't;

    /// One line: the middle of the times in microseconds.
    fn line(device: &Device, what: &str, counts: usize, call: &mut dyn FnMut(u64, &mut Then<'_>)) {
        let mut launched = None;
        let mut keep = |call: Call<'_>| launched = Some(call.launch(device).expect("a launch"));
        call(1, &mut keep);
        assert!(Device::settle(Duration::from_secs(120)));
        call(1, &mut keep);
        let arguments = launched.as_ref().and_then(|launched| launched.variant()?.module());
        let words = arguments.expect("a kernel").arguments.len();
        let mut kernel = raw::RawKernel::new(device, words);
        let mut cudarc = raw::CudarcKernel::new(device, words);
        let mut prepared = None;
        call(1, &mut |call| {
            prepared = Some(device.prepare(&call).expect("it can be prepared"))
        });
        let mut prepared = prepared.expect("it was prepared");
        let mut bound = None;
        call(1, &mut |call| bound = Some(device.bind(call).expect("it can be bound")));
        let mut bound = bound.expect("it was bound");
        let call = std::cell::RefCell::new(call);
        let mut measure = |steps| {
            by_turns(
                device,
                steps,
                [
                    &mut |count| kernel.launch(count),
                    &mut |count| cudarc.launch(count),
                    &mut |count| drop(bound.launch(&[count; FUSED][..counts]).expect("a launch")),
                    &mut |count| {
                        (call.borrow_mut())(count, &mut |call| drop(prepared.launch(call).expect("a launch")));
                    },
                    &mut |count| {
                        (call.borrow_mut())(count, &mut |call| drop(call.launch(device).expect("a launch")));
                    },
                ],
            )
        };
        measure(500);
        assert!(Device::settle(Duration::from_secs(120)));
        let micros = measure(STEPS).map(|time| time.as_secs_f64() * 1e6);
        let [driver, cudarc, bound, prepared, ordinary] = micros;
        println!(
            "{what:<24} {words:>5} {driver:>9.2} {cudarc:>9.2} {bound:>9.2} {prepared:>9.2} {ordinary:>9.2} {:>7.2} x {:>7.2} x {:>+8.2}",
            bound / driver,
            prepared / driver,
            ordinary - prepared
        );
    }

    println!("{device}, host time of a launch in us, p50 of {STEPS}, by turns");
    println!(
        "{:<24} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "words", "driver", "cudarc", "bound", "prepared", "ordinary", "bound/", "prepared/", "ord.-prep"
    );
    let mut tensors = Tensors::on(&device);
    line(&device, "3 arguments", 1, &mut |count, then| {
        then(tensors.call::<1>(count))
    });
    line(&device, "8 arguments", 1, &mut |count, then| {
        then(tensors.call::<6>(count))
    });
    line(&device, "20 arguments", 1, &mut |count, then| {
        then(tensors.call::<18>(count))
    });
    let mut outs = Tensors::on(&device).srcs;
    line(&device, "11 tensors, fused", FUSED, &mut |count, then| {
        let each = outs.iter_mut().zip(&tensors.srcs).take(FUSED);
        then(Call::fuse(each.map(|(out, src)| copy(out, src, Runtime(count)))));
    });
    Ok(())
}
