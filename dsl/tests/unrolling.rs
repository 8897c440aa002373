//! Loops that are unrolled: what they record, how much of it there may be, and that no stage takes long for it.

use std::time::{Duration, Instant};

use tilewright_dsl::analysis::condition::ConditionBits;
use tilewright_dsl::call::{Definition, ParameterFacts, TensorFacts, TraceRequest};
use tilewright_dsl::class::Class;
use tilewright_dsl::ir::Bindings;
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;
use tilewright_dsl::lower::lower;
use tilewright_dsl::schedule::{Machine, choose};
use tilewright_dsl::transform::{bind, canonical};

fn request(extent: u64) -> TraceRequest {
    let tensor = ParameterFacts::Tensor(TensorFacts::contiguous(&[extent]));
    TraceRequest {
        parameters: vec![tensor.clone(), tensor],
    }
}

#[kernel(grid = [1])]
fn plain(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    for i in 0..comptime(x.extent(0)) {
        out.store([i], x.load([i]) + 1.0);
    }
}

#[kernel(grid = [1])]
fn summed(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let mut sum = 0.0f32;
    for i in 0..comptime(x.extent(0)) {
        sum += x.load([i]);
    }
    out.store([0], sum);
}

#[kernel(grid = [1])]
fn branched(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    for i in 0..comptime(x.extent(0)) {
        let value = x.load([i]);
        if value > 0.0 {
            out.store([i], value);
        }
    }
}

#[kernel(grid = [1])]
fn chosen(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    for i in 0..comptime(x.extent(0)) {
        let value = x.load([i]);
        let chosen = if value > 0.0 { value } else { -value };
        out.store([i], chosen);
    }
}

#[kernel(grid = [1])]
fn carried(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let mut most = x.load([0]);
    for i in 0..comptime(x.extent(0)) {
        let value = x.load([i]);
        if value > most {
            most = value;
        }
    }
    out.store([0], most);
}

#[kernel(grid = [1])]
fn looped(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    for i in 0..comptime(x.extent(0)) {
        for j in 0..x.extent(0) {
            out.store([j], x.load([i]));
        }
    }
}

#[kernel(grid = [1])]
fn in_place(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    for i in 0..comptime(x.extent(0)) {
        let cols = arange(8);
        out.store([cols], out.load([cols]) + x.load([i]));
    }
}

#[kernel(grid = [1])]
fn kept(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    for i in 0..comptime(x.extent(0)) {
        let mut value = x.load([i]);
        if value > 0.0 {
            out.store([i], value);
        }
    }
}

/// How long all stages take, up to the text.
fn stages(definition: &Definition, extent: u64) -> Vec<(&'static str, Duration)> {
    let mut times = Vec::new();
    let mut started = Instant::now();
    let mut lap = |what| {
        times.push((what, started.elapsed()));
        started = Instant::now();
    };
    let traced = definition.trace(&request(extent)).expect("it is within the limits");
    lap("trace");
    let bound = bind(&traced.kernel, &Bindings::default());
    lap("bind");
    let proved = Class::new(bound).proved(ConditionBits::NONE).0;
    lap("prove");
    let kernel = canonical(proved);
    lap("canonical");
    let _ = kernel.identity();
    lap("identity");
    let schedule = choose(&kernel, &Machine::H200, 1);
    lap("choose");
    lower(&kernel, &schedule).expect("it can be lowered");
    lap("lower");
    times
}

/// A loop of a few thousand trips takes all stages a second. What takes the square of the time is 64 times as long for
/// eight times the trips.
#[test]
fn every_stage_is_near_linear_up_to_the_limit() {
    const LIMIT: u64 = 1 << 13;
    for (name, definition) in all() {
        let [few, many] = [LIMIT / 8, LIMIT].map(|extent| {
            // The faster of two, as other tests run beside this one.
            let [one, other] = [(); 2].map(|()| stages(&definition, extent));
            let faster = |(one, other): ((&'static str, Duration), (_, Duration))| (one.0, one.1.min(other.1));
            one.into_iter().zip(other).map(faster).collect::<Vec<_>>()
        });
        let total = |stages: &[(_, Duration)]| stages.iter().map(|(_, time)| *time).sum::<Duration>();
        let most = total(&few) * 32 + Duration::from_millis(500);
        assert!(total(&many) < most, "{name}: {few:?}, and for 8 times as much {many:?}");
    }
}

#[test]
fn a_loop_beyond_the_limit_is_refused_on_its_token() {
    for extent in [(1 << 13) + 1, 1 << 22, 1 << 24] {
        for (_, definition) in all() {
            let error = definition.trace(&request(extent)).unwrap_err();
            let text = "a loop over values known while recording is unrolled, and all such loops of a kernel have at most 8192 trips together";
            assert_eq!(error.message, text);
            assert!(error.advice.unwrap().starts_with("loop at run time"));
            assert!(error.span.file.ends_with("unrolling.rs") && error.span.column == 5);
        }
    }
}

#[kernel(grid = [1])]
fn nested(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    for _ in 0..comptime(x.extent(0)) {
        for _ in 0..comptime(x.extent(0)) {}
    }
    out.store([0], 1.0);
}

#[kernel(grid = [1])]
fn while_known(out: &mut Tensor<f32, 1>, _x: &Tensor<f32, 1>) {
    let forever = true;
    while forever {}
    out.store([0], 1.0);
}

#[kernel(grid = [1])]
fn iterator(out: &mut Tensor<f32, 1>, _x: &Tensor<f32, 1>) {
    for i in std::iter::repeat(1.0f32) {
        out.store([0], i);
    }
}

#[test]
fn every_kind_of_loop_that_runs_while_recording_has_an_end() {
    for definition in [nested::definition(), while_known::definition(), iterator::definition()] {
        let error = definition.trace(&request(1 << 20)).unwrap_err();
        assert!(error.message.contains("at most 8192 trips"), "{error}");
    }
    assert!(nested::definition().trace(&request(90)).is_ok());
    assert!(nested::definition().trace(&request(91)).is_err());
}

/// No loop of the kernel's: what Rust repeats is counted where it is recorded.
#[kernel(grid = [1])]
fn folded(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    let all = (0..comptime(x.extent(0)))
        .map(|i| x.load([i]))
        .fold(x.load([0]), |sum, value| sum.max(value));
    out.store([0], all);
}

#[kernel(grid = [1])]
fn long_trips(out: &mut Tensor<f32, 1>, x: &Tensor<f32, 1>) {
    for i in 0..comptime(x.extent(0)) {
        let a = x.load([i]) + 1.0;
        let b = a * a + 2.0;
        let c = b * b - a * 3.0;
        out.store([i], (a + b) * (b + c) * (c + a));
    }
}

#[test]
fn a_kernel_has_at_most_so_many_operations() {
    let error = folded::definition().trace(&request(1 << 20)).unwrap_err();
    assert_eq!(
        error.message,
        "a kernel has at most 65536 operations, those of unrolled loops among them"
    );
    let error = long_trips::definition().trace(&request(8000)).unwrap_err();
    assert_eq!(
        error.message,
        "a kernel has at most 65536 operations, those of unrolled loops among them"
    );
}

fn all() -> [(&'static str, Definition); 8] {
    [
        ("plain", plain::definition()),
        ("summed", summed::definition()),
        ("branched", branched::definition()),
        ("chosen", chosen::definition()),
        ("carried", carried::definition()),
        ("looped", looped::definition()),
        ("in_place", in_place::definition()),
        ("kept", kept::definition()),
    ]
}
