use half::bf16;
use tilewright_dsl::kernel;
use tilewright_dsl::lang::*;

#[kernel(grid = [1])]
fn added(out: &mut Tensor<bf16, 1>, x: &Tensor<bf16, 1>, n: Count) {
    let mut sum = 0.0;
    for i in 0..n {
        sum = sum + x.load([i]);
    }
    out.store([0], sum);
}

#[kernel(grid = [1])]
fn generic<T: Float>(out: &mut Tensor<T, 1>, x: &Tensor<T, 1>, n: Count) {
    let mut sum = 0.0;
    for i in 0..n {
        sum += x.load([i]);
    }
    out.store([0], sum);
}

#[kernel(grid = [1])]
fn assigned(out: &mut Tensor<bf16, 1>, x: &Tensor<bf16, 1>) {
    let mut last = 0.0;
    last = x.load([0]);
    out.store([0], last);
}

#[kernel(grid = [1])]
fn compared(out: &mut Tensor<bf16, 1>, x: &Tensor<bf16, 1>, n: Count) {
    let mut most = 0.0;
    for i in 0..n {
        most = x.load([i]).max(most);
    }
    out.store([0], most);
}

fn main() {}
