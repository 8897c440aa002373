use tilewright::dp::kernels::copy_to_slot;
use tilewright::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::cpu();
    let mut buffer = device.zeros::<f32, 2>([4, 8])?;
    copy_to_slot(&mut buffer, &buffer, Exact(0), Exact(2)).launch(&device)?;
    Ok(())
}
