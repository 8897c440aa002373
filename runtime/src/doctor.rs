//! What of the machine is there, what is missing, and what to install.

use std::{
    fmt,
    time::{Duration, Instant},
};

#[cfg(feature = "nccl")]
use crate::hardware::cuda::{Nccl, NcclError};
use crate::{
    cache::{CubinCache, DiskCache, DiskSurvey},
    compile::{Architecture, CompileError, CompileOptions, Nvrtc, Searched, compile},
    error::DeviceError,
    hardware::cuda::{CudaProperties, Reach, device_count, driver_version},
};

/// What [`doctor`] found. Print it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The CUDA version that the driver supports.
    pub driver: Result<(u32, u32), DeviceError>,
    /// The GPUs, in the order of their numbers.
    pub gpus: Result<Vec<CudaProperties>, DeviceError>,
    /// How each GPU reaches the memory of each, by their numbers.
    pub peers: Result<Vec<Vec<Reach>>, DeviceError>,
    /// The compiler.
    pub compiler: Result<Compiler, CompileError>,
    /// The disk cache; `None` if it is off.
    pub cache: Option<DiskSurvey>,
    /// The library of collectives between GPUs.
    #[cfg(feature = "nccl")]
    pub nccl: Result<&'static Nccl, NcclError>,
}

/// The compiler that was found.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The file that it was loaded from.
    pub path: std::path::PathBuf,
    /// Its version.
    pub version: (u32, u32),
    /// The architectures that it compiles for, oldest first.
    pub supported: Vec<Architecture>,
    /// The files that would have come first but did not do, and why.
    pub passed_over: Vec<Searched>,
    /// For what a kernel of one line was compiled, and how long that took.
    pub trial: Result<(Architecture, Duration), CompileError>,
}

/// Looks at the driver, the GPUs, the compiler and every file of the disk cache. It never fails: what is missing is in the report.
pub fn doctor() -> Report {
    let gpus = device_count().and_then(|count| (0..count).map(CudaProperties::of).collect::<Result<Vec<_>, _>>());
    let first = gpus.iter().flatten().next().map(|gpu| gpu.architecture);
    Report {
        driver: driver_version(),
        compiler: Nvrtc::load().map(|nvrtc| examine(nvrtc, first)),
        peers: Reach::matrix(),
        gpus,
        cache: CubinCache::current().disk().map(DiskCache::survey),
        #[cfg(feature = "nccl")]
        nccl: Nccl::load(),
    }
}

fn examine(nvrtc: &Nvrtc, gpu: Option<Architecture>) -> Compiler {
    let supported = nvrtc.supported().to_vec();
    // Without a GPU any architecture shows that the compiler works.
    let architecture = gpu.or(supported.last().copied()).unwrap_or(Architecture::new(9, 0));
    let started = Instant::now();
    let source = "extern \"C\" __global__ void doctor(int* out) { out[threadIdx.x] = 1; }";
    let trial =
        compile(source, "doctor", &CompileOptions::new(architecture)).map(|_| (architecture, started.elapsed()));
    Compiler {
        path: nvrtc.path().to_owned(),
        version: nvrtc.version(),
        supported,
        passed_over: nvrtc.passed_over().to_vec(),
        trial,
    }
}

impl Report {
    /// Whether kernels can run on a GPU here.
    pub fn can_run_on_gpu(&self) -> bool {
        self.gpus.as_ref().is_ok_and(|gpus| !gpus.is_empty()) && self.can_compile()
    }

    /// Whether kernels can be compiled here, which needs no GPU.
    pub fn can_compile(&self) -> bool {
        self.compiler.as_ref().is_ok_and(|compiler| compiler.trial.is_ok())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.driver {
            Ok((major, minor)) => writeln!(f, "driver    CUDA {major}.{minor}")?,
            Err(error) => writeln!(f, "driver    missing: {error}")?,
        }
        match &self.gpus {
            Ok(gpus) if gpus.is_empty() => writeln!(f, "GPU       none: {}", DeviceError::NoDevice)?,
            Ok(gpus) => gpus.iter().enumerate().try_for_each(|(ordinal, gpu)| {
                let gib = gpu.memory_bytes as f64 / f64::from(1 << 30);
                let CudaProperties {
                    name,
                    architecture,
                    multiprocessors,
                    ..
                } = gpu;
                writeln!(
                    f,
                    "GPU {ordinal}     {name}, {architecture}, {multiprocessors} multiprocessors, {gib:.0} GiB"
                )
            })?,
            // Said already: without a driver nothing is known of GPUs.
            Err(error) if self.driver.as_ref().err() == Some(error) => {}
            Err(error) => writeln!(f, "GPU       none: {error}")?,
        }
        match &self.peers {
            Ok(peers) => show_peers(f, peers)?,
            // Said already.
            Err(error) if self.gpus.as_ref().err() == Some(error) => {}
            Err(error) => writeln!(f, "peers     unknown: {error}")?,
        }
        match &self.compiler {
            Ok(compiler) => write!(f, "{compiler}")?,
            Err(error) => writeln!(f, "NVRTC     missing: {error}")?,
        }
        match &self.cache {
            Some(cache) => writeln!(f, "cache     {cache}")?,
            None => writeln!(f, "cache     off: every process compiles its kernels")?,
        }
        #[cfg(feature = "nccl")]
        match &self.nccl {
            Ok(nccl) => {
                let (major, minor, patch) = nccl.version();
                writeln!(f, "NCCL      {major}.{minor}.{patch}, {}", nccl.path().display())?;
                passed_over(f, nccl.passed_over())?;
            }
            Err(error) => writeln!(f, "NCCL      missing: {error}")?,
        }
        f.write_str(match (self.can_run_on_gpu(), self.can_compile()) {
            (true, _) => "Kernels compile and run on the GPU.",
            (false, true) => "Kernels compile for GPUs and run on the CPU device.",
            (false, false) => "Kernels run on the CPU device only.",
        })
    }
}

/// Which GPUs reach the memory of which others, where there are others.
fn show_peers(f: &mut fmt::Formatter<'_>, peers: &[Vec<Reach>]) -> fmt::Result {
    if peers.len() < 2 {
        return Ok(());
    }
    for (from, reached) in peers.iter().enumerate() {
        let head = if from == 0 { "peers" } else { "" };
        write!(f, "{head:<10}GPU {from} reaches")?;
        for (to, reach) in reached.iter().enumerate().filter(|&(to, _)| to != from) {
            let comma = if to > usize::from(from == 0) { "," } else { "" };
            match reach {
                Reach::None => write!(f, "{comma} not {to}")?,
                reach => write!(f, "{comma} {to} ({reach})")?,
            }
        }
        writeln!(f)?;
    }
    match peers.iter().flatten().any(|reach| *reach == Reach::None) {
        true => writeln!(
            f,
            "          those that do not all reach each other gather through NCCL"
        ),
        false => Ok(()),
    }
}

/// What was found before the one that is used.
fn passed_over(f: &mut fmt::Formatter<'_>, files: &[Searched]) -> fmt::Result {
    files
        .iter()
        .try_for_each(|file| writeln!(f, "          passed over, {file}"))
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.version;
        writeln!(f, "NVRTC     {major}.{minor}, {}", self.path.display())?;
        let supported: Vec<_> = self.supported.iter().map(ToString::to_string).collect();
        passed_over(f, &self.passed_over)?;
        writeln!(f, "          compiles for {}", supported.join(" "))?;
        match &self.trial {
            Ok((architecture, elapsed)) => {
                writeln!(
                    f,
                    "          compiled one line for {architecture} in {:.1} ms",
                    elapsed.as_secs_f64() * 1e3
                )
            }
            Err(error) => writeln!(f, "          compiles nothing: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_each_piece_whether_or_not_it_is_there() {
        let report = doctor();
        let shown = report.to_string();
        println!("{shown}");
        for piece in ["driver    ", "NVRTC     ", "cache     "] {
            assert!(shown.contains(piece), "{shown}");
        }
        assert_eq!(shown.contains("NCCL      "), cfg!(feature = "nccl"), "{shown}");
        assert_eq!(report.can_compile(), report.compiler.is_ok());
    }

    #[test]
    fn a_machine_with_nothing_is_told_what_to_install() {
        let report = Report {
            driver: Err(DeviceError::MissingDriver),
            gpus: Err(DeviceError::MissingDriver),
            peers: Err(DeviceError::MissingDriver),
            compiler: Err(CompileError::NvrtcNotFound { searched: Vec::new() }),
            cache: None,
            #[cfg(feature = "nccl")]
            nccl: Err(NcclError::Missing { searched: Vec::new() }),
        };
        let shown = report.to_string();
        #[cfg(feature = "nccl")]
        assert!(shown.contains("pip install nvidia-nccl-cu13"), "{shown}");
        assert!(
            shown.contains("install NVIDIA's driver") && shown.contains("pip install nvidia-cuda-nvrtc"),
            "{shown}"
        );
        assert!(shown.ends_with("Kernels run on the CPU device only."), "{shown}");
        assert_eq!(shown.matches("libcuda.so.1").count(), 1, "{shown}");
        assert!(shown.contains("cache     off"), "{shown}");
    }

    #[test]
    fn the_matrix_of_peers_says_who_reaches_whom_and_what_follows() {
        struct Shown(Vec<Vec<Reach>>);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                show_peers(f, &self.0)
            }
        }
        let (own, nvlink, pcie, none) = (Reach::Own, Reach::Atomics, Reach::Plain, Reach::None);
        assert_eq!(Shown(vec![vec![own]]).to_string(), "");
        assert_eq!(
            Shown(vec![vec![own, nvlink], vec![nvlink, own]]).to_string(),
            "peers     GPU 0 reaches 1 (NVLink)\n          GPU 1 reaches 0 (NVLink)\n"
        );
        let mixed = vec![vec![own, nvlink, none], vec![nvlink, own, pcie], vec![none, pcie, own]];
        assert_eq!(
            Shown(mixed).to_string(),
            "peers     GPU 0 reaches 1 (NVLink), not 2\n          GPU 1 reaches 0 (NVLink), 2 (PCIe)\n          \
             GPU 2 reaches not 0, 1 (PCIe)\n          those that do not all reach each other gather through NCCL\n"
        );
    }
}
