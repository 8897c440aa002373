use tilewright::dp::kernels::copy_to_slot;
use tilewright::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::cpu();
    let mut buffer = device.zeros::<f32, 2>([4, 8])?;
    let upper = buffer.view_mut().rows(..2)?;
    copy_to_slot(upper, buffer.rows(1..3)?, Exact(0), Exact(2)).launch(&device)?;
    Ok(())
}
