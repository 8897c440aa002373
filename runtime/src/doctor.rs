//! What of the machine is there, what is missing, and what to install.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tilewright_dsl::backend::ptx::{Target, print};
use tilewright_dsl::thread::Builder;

#[cfg(feature = "nccl")]
use crate::hardware::cuda::{Nccl, NcclError};
use crate::{
    cache::{CubinCache, DiskCache, DiskSurvey},
    compile::{
        Architecture, CompileError, CompileOptions, Compiler, Nvrtc, Searched, Settled, UnknownCompiler, compile,
    },
    error::DeviceError,
    hardware::cuda::{CudaDevice, CudaProperties, Reach, assemble, device_count, driver_version},
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
    /// How long the driver took to assemble a kernel of one line for the first GPU; `None` if there is none, or
    /// PTX is not printed for it.
    pub assembled: Option<Result<Duration, DeviceError>>,
    /// NVRTC.
    pub nvrtc: Result<FoundNvrtc, CompileError>,
    /// What the environment chooses.
    pub chosen: Result<Compiler, UnknownCompiler>,
    /// Who compiles for the first GPU; `None` if there is none, or no such choice.
    pub compiler: Option<Result<Settled, CompileError>>,
    /// The disk cache; `None` if it is off.
    pub cache: Option<DiskSurvey>,
    /// The library of collectives between GPUs.
    #[cfg(feature = "nccl")]
    pub nccl: Result<&'static Nccl, NcclError>,
}

/// The NVRTC that was found.
#[derive(Clone, Debug)]
pub struct FoundNvrtc {
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
    let chosen = Compiler::from_environment();
    let settle = |chosen: &Compiler| first.map(|first| chosen.settled(first));
    Report {
        driver: driver_version(),
        peers: Reach::matrix(),
        assembled: first.and_then(try_assembler),
        nvrtc: Nvrtc::load().map(|nvrtc| examine(nvrtc, first)),
        compiler: chosen.as_ref().ok().and_then(settle),
        chosen,
        gpus,
        cache: CubinCache::current().disk().map(DiskCache::survey),
        #[cfg(feature = "nccl")]
        nccl: Nccl::load(),
    }
}

/// Has the driver assemble a kernel that does nothing, for the first GPU, if PTX is printed for it.
fn try_assembler(gpu: Architecture) -> Option<Result<Duration, DeviceError>> {
    let target = Target::new(gpu.number()).ok()?;
    let ptx = print(&Builder::new("doctor", 32).finish(), target).ok()?;
    let assembled = CudaDevice::open(0).and_then(|device| {
        let started = Instant::now();
        assemble(&device, &ptx.text).map(|_| started.elapsed())
    });
    Some(assembled)
}

fn examine(nvrtc: &Nvrtc, gpu: Option<Architecture>) -> FoundNvrtc {
    let supported = nvrtc.supported().to_vec();
    // Without a GPU any architecture shows that the compiler works.
    let architecture = gpu.or(supported.last().copied()).unwrap_or(Architecture::new(9, 0));
    let started = Instant::now();
    let source = "extern \"C\" __global__ void doctor(int* out) { out[threadIdx.x] = 1; }";
    let trial =
        compile(source, "doctor", &CompileOptions::new(architecture)).map(|_| (architecture, started.elapsed()));
    FoundNvrtc {
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
        match &self.compiler {
            Some(Ok(settled)) => self.works(settled.compiler),
            _ => false,
        }
    }

    /// Whether kernels can be compiled here: by NVRTC, which needs no GPU, or by a GPU's driver.
    pub fn can_compile(&self) -> bool {
        self.works(Compiler::Nvrtc) || self.can_run_on_gpu()
    }

    fn works(&self, compiler: Compiler) -> bool {
        match compiler {
            Compiler::Ptx => self.assembled.as_ref().is_some_and(Result::is_ok),
            _ => self.nvrtc.as_ref().is_ok_and(|nvrtc| nvrtc.trial.is_ok()),
        }
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
        match &self.assembled {
            Some(Ok(elapsed)) => writeln!(
                f,
                "          its driver compiled one line of PTX in {:.1} ms",
                elapsed.as_secs_f64() * 1e3
            )?,
            Some(Err(error)) => writeln!(f, "          its driver compiles no PTX: {error}")?,
            None => {}
        }
        match &self.peers {
            Ok(peers) => show_peers(f, peers)?,
            // Said already.
            Err(error) if self.gpus.as_ref().err() == Some(error) => {}
            Err(error) => writeln!(f, "peers     unknown: {error}")?,
        }
        match &self.nvrtc {
            Ok(nvrtc) => write!(f, "{nvrtc}")?,
            Err(CompileError::NvrtcNotFound { .. }) if self.can_run_on_gpu() => {
                writeln!(f, "NVRTC     none, and none is needed: the driver compiles")?;
            }
            Err(error) => writeln!(f, "NVRTC     missing: {error}")?,
        }
        match (&self.chosen, &self.compiler) {
            (Err(error), _) => writeln!(f, "compiler  TILEWRIGHT_COMPILER: {error}")?,
            (Ok(_), Some(Ok(settled))) => writeln!(f, "compiler  {settled}")?,
            (Ok(chosen), Some(Err(_))) => writeln!(f, "compiler  missing: {chosen} was chosen, and there is no NVRTC")?,
            (Ok(_), None) => {}
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

impl fmt::Display for FoundNvrtc {
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
        assert_eq!(shown.contains("compiler  "), report.gpus.is_ok(), "{shown}");
        assert_eq!(shown.contains("NCCL      "), cfg!(feature = "nccl"), "{shown}");
        assert_eq!(
            report.can_compile(),
            report.nvrtc.is_ok() || matches!(report.compiler, Some(Ok(_)))
        );
    }

    #[test]
    fn a_machine_with_nothing_is_told_what_to_install() {
        let report = Report {
            driver: Err(DeviceError::MissingDriver),
            gpus: Err(DeviceError::MissingDriver),
            peers: Err(DeviceError::MissingDriver),
            assembled: None,
            nvrtc: Err(CompileError::NvrtcNotFound { searched: Vec::new() }),
            chosen: Ok(Compiler::Auto),
            compiler: None,
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

    /// A machine with a GPU and its driver, and nothing else.
    fn bare(chosen: Compiler, compiler: Result<Settled, CompileError>) -> Report {
        Report {
            driver: Ok((13, 0)),
            gpus: Ok(Vec::new()),
            peers: Ok(Vec::new()),
            assembled: Some(Ok(Duration::from_millis(3))),
            nvrtc: Err(CompileError::NvrtcNotFound { searched: Vec::new() }),
            chosen: Ok(chosen),
            compiler: Some(compiler),
            cache: None,
            #[cfg(feature = "nccl")]
            nccl: Err(NcclError::Missing { searched: Vec::new() }),
        }
    }

    #[test]
    fn a_machine_with_a_driver_alone_needs_nothing_unless_nvrtc_is_chosen() {
        let settled = Settled {
            compiler: Compiler::Ptx,
            why: "there is no NVRTC",
        };
        let report = bare(Compiler::Auto, Ok(settled));
        let shown = report.to_string();
        assert!(report.can_run_on_gpu() && report.can_compile(), "{shown}");
        assert!(
            shown.contains("NVRTC     none, and none is needed") && !shown.contains("nvidia-cuda-nvrtc"),
            "{shown}"
        );
        assert!(
            shown.contains("compiler  the driver, from PTX: there is no NVRTC"),
            "{shown}"
        );
        assert!(shown.ends_with("Kernels compile and run on the GPU."), "{shown}");

        let missing = CompileError::NvrtcNotFound { searched: Vec::new() };
        let report = bare(Compiler::Nvrtc, Err(missing));
        let shown = report.to_string();
        assert!(!report.can_run_on_gpu() && !report.can_compile(), "{shown}");
        assert!(
            shown.contains("pip install nvidia-cuda-nvrtc") && shown.contains("nvrtc was chosen"),
            "{shown}"
        );
    }

    #[test]
    fn a_choice_that_there_is_not_is_told() {
        let mut report = bare(
            Compiler::Auto,
            Err(CompileError::NvrtcNotFound { searched: Vec::new() }),
        );
        (report.chosen, report.compiler) = ("gcc".parse(), None);
        let shown = report.to_string();
        assert!(
            shown.contains("compiler  TILEWRIGHT_COMPILER: `gcc` names no compiler"),
            "{shown}"
        );
        assert!(!report.can_run_on_gpu());
    }
}
