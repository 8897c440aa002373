use tilewright_dsl::{device, kernel};
use tilewright_dsl::lang::*;

#[kernel(grid = [1], specialize = "always")]
fn unknown(out: &mut Tensor<f32, 1>) {
    out.store([0], 1.0);
}

#[kernel(grid = [1], specialize = Exact)]
fn no_string(out: &mut Tensor<f32, 1>) {
    out.store([0], 1.0);
}

#[kernel(grid = [1], specialize = "exact", specialize = "tiered")]
fn twice(out: &mut Tensor<f32, 1>) {
    out.store([0], 1.0);
}

#[device(specialize = "exact")]
fn helper() {}

fn main() {}
