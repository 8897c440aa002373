//! How long it takes until a kernel that was never seen can be launched, with each compiler: every kernel of the catalogue
//! by itself, and sixteen of them on as many threads. Nothing is taken from a cache.
//!
//! ```text
//! CUDA_CACHE_DISABLE=1 cargo run --release -p tilewright-dp --example compile_time
//! ```

use std::error::Error;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use tilewright_dp::catalogue::{ENTRIES, Entry, Shapes};
use tilewright_dsl::call::Specialize;
use tilewright_runtime::cache::CubinCache;
use tilewright_runtime::compile::Compiler;
use tilewright_runtime::{Device, Launch};

const COMPILERS: [Compiler; 2] = [Compiler::Nvrtc, Compiler::Ptx];
const ROUNDS: usize = 5;
const THREADS: usize = 16;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let gpu = match Device::cuda(0) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("nothing to measure: {error}");
            return Ok(());
        }
    };
    let (kernels, refused): (Vec<&Entry>, Vec<&Entry>) =
        ENTRIES.iter().partition(|entry| first_launch(entry, &gpu).is_ok());
    for entry in refused {
        println!("{} needs more than one GPU", entry.name);
    }
    println!("{gpu}, medians of {ROUNDS} rounds, milliseconds");
    alone(&kernels)?;
    together(&kernels[..THREADS.min(kernels.len())])
}

/// How long the first launch of a kernel takes on a device.
fn first_launch(entry: &Entry, device: &Device) -> Result<Duration> {
    let launched = entry.call(device, &Shapes::default(), |call| {
        let started = Instant::now();
        call.specialize(Specialize::Exact)
            .launch(device)
            .map(|_| started.elapsed())
    })?;
    let taken = launched?;
    device.synchronize()?;
    Ok(taken)
}

/// A device that has nothing yet.
fn cold(compiler: Compiler) -> Result<Device> {
    CubinCache::new().install();
    Ok(Device::cuda_with(0, compiler)?)
}

fn alone(kernels: &[&Entry]) -> Result<()> {
    let mut times = vec![COMPILERS.map(|_| Vec::new()); kernels.len()];
    for _ in 0..ROUNDS {
        for (which, compiler) in COMPILERS.into_iter().enumerate() {
            let device = cold(compiler)?;
            for (entry, times) in kernels.iter().zip(&mut times) {
                times[which].push(first_launch(entry, &device)?);
            }
        }
    }
    println!("{:<28} {:>8} {:>8} {:>6}", "kernel", "NVRTC", "PTX", "ratio");
    let mut ratios = Vec::new();
    for (entry, times) in kernels.iter().zip(times) {
        let [nvrtc, ptx] = times.map(|times| millis(median(times)));
        println!("{:<28} {nvrtc:>8.2} {ptx:>8.2} {:>6.2}", entry.name, ptx / nvrtc);
        ratios.push(ptx / nvrtc);
    }
    println!("median ratio of {} kernels: {:.2}", ratios.len(), median(ratios));
    Ok(())
}

fn together(kernels: &[&Entry]) -> Result<()> {
    for compiler in COMPILERS {
        let (mut walls, mut sums) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let device = cold(compiler)?;
            let begin = Barrier::new(kernels.len() + 1);
            let (wall, taken) = thread::scope(|scope| {
                let launches: Vec<_> = kernels
                    .iter()
                    .map(|entry| {
                        scope.spawn(|| {
                            begin.wait();
                            first_launch(entry, &device).map_err(|error| error.to_string())
                        })
                    })
                    .collect();
                begin.wait();
                let started = Instant::now();
                let taken: Vec<_> = launches
                    .into_iter()
                    .map(|launch| launch.join().expect("no thread panics"))
                    .collect();
                (started.elapsed(), taken)
            });
            walls.push(wall);
            sums.push(taken.into_iter().sum::<std::result::Result<Duration, String>>()?);
        }
        println!(
            "{} kernels on as many threads, {compiler}: {:.1} in all, {:.1} if their times are added",
            kernels.len(),
            millis(median(walls)),
            millis(median(sums))
        );
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).expect("these are numbers"));
    values[values.len() / 2]
}
