use tilewright::prelude::*;

#[kernel(grid = [1])]
fn store(out: &mut Tensor<i64, 1>, value: i64) {
    out.store([0], value);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::cpu();
    let mut out = device.zeros::<i64, 1>([1])?;
    store(&mut out, u64::MAX).launch(&device)?;
    Ok(())
}
