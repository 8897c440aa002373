use tilewright::prelude::*;

#[kernel(grid = [n])]
fn example(out: &mut Tensor<f32, 1>, n: Count) {
    out.store([program_id(0)], 1.0);
}

fn main() {
    let device = Device::cpu();
    let mut out = device.zeros::<f32, 1>([5]).unwrap();
    let _ = example(&mut out, 5);
    let _ = example(&mut out, 5u64);
}
