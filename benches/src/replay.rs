//! How a launch is timed.

use std::error::Error;

use tilewright_runtime::Device;
use tilewright_runtime::device::cuda::{CudaEvent, CudaGraph};

/// A captured graph of launches.
pub struct Replay {
    graph: CudaGraph,
    launches: usize,
    begin: CudaEvent,
    end: CudaEvent,
    /// Whose kernels are in the graph: they are unloaded with the last handle of it.
    _device: Device,
}

impl Replay {
    /// Captures so many launches, by their number.
    pub fn capture(
        device: &Device,
        launches: usize,
        mut launch: impl FnMut(usize) -> Result<(), Box<dyn Error>>,
    ) -> Result<Self, Box<dyn Error>> {
        let cuda = device.as_cuda().ok_or("the device is no GPU")?;
        // SAFETY: the caller alone uses the device while its launches are captured.
        #[allow(unsafe_code)]
        let graph = unsafe { cuda.stream().capture(|| (0..launches).try_for_each(&mut launch)) }?;
        Ok(Self {
            graph,
            launches,
            begin: CudaEvent::timed(cuda)?,
            end: CudaEvent::timed(cuda)?,
            _device: device.clone(),
        })
    }

    /// Device microseconds of one launch, one figure per replay. The first replays are not counted.
    pub fn measure(&mut self, replays: usize, warm_up: usize) -> Result<Vec<f64>, Box<dyn Error>> {
        let mut times = Vec::with_capacity(warm_up + replays);
        for _ in 0..warm_up + replays {
            self.begin.record(self.graph.stream())?;
            self.launch()?;
            self.end.record(self.graph.stream())?;
            times.push(self.begin.elapsed_us(&self.end)? / self.launches as f64);
        }
        Ok(times.split_off(warm_up))
    }

    #[allow(unsafe_code)]
    fn launch(&mut self) -> Result<(), Box<dyn Error>> {
        // SAFETY: who has a replay drops it before the memory that it uses; the kernels are kept by their device.
        Ok(unsafe { self.graph.launch() }?)
    }
}
