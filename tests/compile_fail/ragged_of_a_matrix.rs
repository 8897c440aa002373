use tilewright::dp::kernels::pack_segments;
use tilewright::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::cpu();
    let padded = device.zeros::<f32, 3>([2, 3, 4])?;
    let mut packed = device.zeros::<f32, 2>([6, 4])?;
    let starts = device.zeros::<i32, 2>([1, 3])?;
    pack_segments(&mut packed, &padded, &starts).launch(&device)?;
    Ok(())
}
