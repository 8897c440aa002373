//! Loops that are unrolled: what they record, how much of it there may be, and that no stage takes long for it.

use std::time::{Duration, Instant};

use tilewright_dsl::call::{Definition, ParameterFacts, TensorFacts, TraceRequest};
use tilewright_dsl::cuda::lower;
use tilewright_dsl::ir::Bindings;
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;
use tilewright_dsl::schedule::{Machine, choose};
use tilewright_dsl::transform::{bind, canonical, prove};

fn request(extent: u64) -> TraceRequest {
    let tensor = ParameterFacts::Tensor(TensorFacts::contiguous(&[extent]));
    TraceRequest { parameters: vec![tensor.clone(), tensor] }
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
    let proved = prove(bound, &[]).0;
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

#[test]
fn measure() {
    for (name, definition) in all() {
        for extent in [1024, 2048, 4096, 8192] {
            println!("{name} {extent}: {:?}", stages(&definition, extent));
        }
    }
}

fn all() -> [(&'static str, Definition); 7] {
    [
        ("plain", plain::definition()),
        ("summed", summed::definition()),
        ("branched", branched::definition()),
        ("chosen", chosen::definition()),
        ("carried", carried::definition()),
        ("looped", looped::definition()),
        ("in_place", in_place::definition()),
    ]
}
