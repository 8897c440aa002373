//! A graph of launches that is replayed.

use tilewright_runtime::device::Graph;
use tilewright_runtime::{Device, DeviceError, LaunchError, Launched, Stream};

use super::Times;

/// Launches in a graph, at least: the cost of launching the graph is shared by them.
const LEAST_LAUNCHES: usize = 8;
/// Sets of buffers, at most.
const MOST_SETS: usize = 4096;
/// How many times the cache is touched by a replay.
const CACHES: usize = 4;
/// Sets on the CPU device, whose times say nothing about any cache.
const HOST_SETS: usize = 2;

/// How many sets of buffers, of `bytes` bytes each, have to take turns so that none is in the GPU's cache when its turn comes
/// again: four times the cache in all.
pub fn sets(device: &Device, bytes: usize) -> usize {
    let enough = |cache: usize| (CACHES * cache).div_ceil(bytes.max(1)).clamp(1, MOST_SETS);
    device
        .as_cuda()
        .map_or(HOST_SETS, |cuda| enough(cuda.properties().l2_bytes))
}

/// A captured graph of launches.
pub struct Replay {
    graph: Graph,
    launches: usize,
}

impl Replay {
    /// A graph that holds so many launches.
    pub fn of(graph: Graph, launches: usize) -> Self {
        Self { graph, launches }
    }

    /// Launches every set once, so that all is compiled and loaded, and captures launches that go round the sets, each equally
    /// often. What is captured has to go into the stream that `launch` is given.
    ///
    /// # Errors
    /// What a launch returns, and what its kernel reports.
    pub fn rotating<E: From<DeviceError> + From<LaunchError>>(
        device: &Device,
        sets: usize,
        mut launch: impl FnMut(&Stream, usize) -> Result<Launched, E>,
    ) -> Result<Self, E> {
        let launches = sets * LEAST_LAUNCHES.div_ceil(sets.max(1));
        Self::capture(device, sets, launches, &mut launch)
    }

    /// As [`rotating`](Self::rotating), with so many launches in the graph.
    ///
    /// # Errors
    /// As for [`rotating`](Self::rotating).
    pub fn capture<E: From<DeviceError> + From<LaunchError>>(
        device: &Device,
        sets: usize,
        launches: usize,
        mut launch: impl FnMut(&Stream, usize) -> Result<Launched, E>,
    ) -> Result<Self, E> {
        for set in 0..sets {
            launch(&device.stream(), set)?;
        }
        device.synchronize()?;
        let graph = device
            .capture(|stream| (0..launches).try_for_each(|number| launch(stream, number % sets.max(1)).map(drop)))?;
        Ok(Self::of(graph, launches))
    }

    /// The device's time of one launch, as each of `replays` has it. `warm_up` replays before are not counted. On the CPU device
    /// it is the host's time, which says nothing about GPUs.
    ///
    /// # Errors
    /// The device failed, or is being captured.
    ///
    /// # Panics
    /// If no replay is asked for.
    pub fn measure(&mut self, replays: usize, warm_up: usize) -> Result<Times, DeviceError> {
        assert!(replays > 0, "no replay is to be measured");
        for _ in 0..warm_up {
            self.graph.launch_timed()?;
        }
        let mut us = Vec::with_capacity(replays);
        for _ in 0..replays {
            us.push(self.graph.launch_timed()?.as_secs_f64() * 1e6 / self.launches as f64);
        }
        Ok(Times::new(us).expect("there is a replay"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::copy::{copy, copy_blocks};
    use crate::testing::for_each_device;
    use tilewright_runtime::Launch;
    use tilewright_testing::Part;

    #[test]
    fn launches_go_round_the_sets_and_each_replay_does_them_again() {
        for_each_device(|device| {
            let src = device.upload(&[1.0f32, 2.0, 3.0, 4.0], [4]).unwrap();
            let mut outs: Vec<_> = (0..3).map(|_| device.zeros::<f32, 1>([4]).unwrap()).collect();
            let mut turns = Vec::new();
            let mut replay = Replay::rotating::<LaunchError>(device, 3, |stream, set| {
                turns.push(set);
                copy_blocks(&mut outs[set], &src).launch_on(stream)
            })
            .unwrap();
            assert_eq!(turns, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
            for out in &mut outs {
                out.copy_from(&[0.0; 4]).unwrap();
            }
            let times = replay.measure(4, 1).unwrap();
            assert_eq!(times.us().len(), 4);
            // A microsecond or so on a GPU; a thousand leave room for a machine that does something else too.
            assert!(times.least_us() > 0.0 && times.least_us() < 1000.0, "{times}");
            for out in &outs {
                assert_eq!(out.download().unwrap(), src.download().unwrap());
            }
        });
    }

    #[test]
    fn buffers_that_take_turns_are_several_times_the_cache_and_a_copy_is_no_faster_than_memory() {
        assert_eq!(sets(&Device::cpu(), 1), HOST_SETS);
        let Some(gpu) = Part::Gpu.or_skip(Device::cuda(0)) else {
            return;
        };
        let (cache, bytes) = (gpu.as_cuda().unwrap().properties().l2_bytes, 64 << 20);
        assert!(sets(&gpu, bytes) * bytes >= 4 * cache && sets(&gpu, usize::MAX) == 1);
        assert_eq!(sets(&gpu, 0), MOST_SETS);
        // From 0.1 to 10 terabytes a second: what is slower or faster was not timed as it should be.
        let copied = copy(&gpu, bytes).unwrap().gigabytes_per_second(bytes);
        assert!((100.0..10_000.0).contains(&copied), "{copied} GB/s");
    }

    #[test]
    fn what_a_launch_returns_ends_the_capture() {
        let device = Device::cpu();
        let refused = Replay::rotating(&device, 1, |_, _| Err(LaunchError::from(DeviceError::HostGraph)));
        assert!(matches!(refused, Err(LaunchError::Device(DeviceError::HostGraph))));
    }
}
