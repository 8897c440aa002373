use tilewright::dp::kernels::copy_to_slot;
use tilewright::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::cpu();
    let local = device.zeros::<f64, 2>([1, 8])?;
    let mut buffer = device.zeros::<f32, 2>([4, 8])?;
    copy_to_slot::<f32>(&mut buffer, &local, Exact(0), Exact(1)).launch(&device)?;
    Ok(())
}
