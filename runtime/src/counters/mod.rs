//! What happened on a device, counted. A launch adds to it without a lock, and reading takes none.

mod histogram;
mod prometheus;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use histogram::Histogram;

use histogram::TallyOfTimes;

/// How often what happened on a device since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Launches, those of no programs included.
    pub launches: u64,
    /// Launches for which no variant had to be built.
    pub hits: u64,
    /// Launches that the resident variant of their class served.
    pub served_resident: u64,
    /// Launches that a variant served which leaves out needless checks.
    pub served_proved: u64,
    /// Launches that a variant with counts as literals served.
    pub served_literal: u64,
    /// Kernels recorded: one for each class of extents, layouts and alignments.
    pub traces: u64,
    /// Variants there are.
    pub variants: u64,
    /// Variants compiled by NVRTC; on the CPU device, where nothing is compiled, variants built.
    pub compiles: u64,
    /// Launches that waited until a variant was built.
    pub waits: u64,
    /// How long they waited, in nanoseconds, all together.
    pub wait_nanos: u64,
    /// Variants that were built behind, and serve launches in place of others: those without needless checks as soon as they
    /// are there, those with literals when they have measured as faster.
    pub promotions: u64,
    /// Variants with literals that measured as no faster, and are not used.
    pub rejections: u64,
    /// Variants that were dropped to make room.
    pub evictions: u64,
    /// Launches that wanted a variant which had made room shortly before, and is not built again yet.
    pub held_back: u64,
    /// Attempts to build a variant behind that failed.
    pub failures: u64,
    /// Variants loaded behind while the device had work, as its [patience](crate::Device::set_patience) was over: launches may have
    /// been held up.
    pub busy_loads: u64,
    /// Bytes of the cubins that are loaded.
    pub code_bytes: u64,
    /// How long launches took on the host, those that waited included: of one in thirteen, and the first, or of all on a device
    /// with [hooks](crate::Device::on_event).
    pub host_time: Histogram,
}

impl Counters {
    /// The counters in the text format of Prometheus. `labels` are put into the braces of each line as they are, for example
    /// `device="0"`; they may be empty.
    ///
    /// ```
    /// let text = tilewright_runtime::Device::cpu().counters().prometheus("device=\"cpu\"");
    /// assert!(text.contains("# TYPE tilewright_compiles_total counter\ntilewright_compiles_total{device=\"cpu\"} 0\n"));
    /// assert!(text.contains("tilewright_launch_seconds_bucket{device=\"cpu\",le=\"+Inf\"} 0\n"));
    /// ```
    pub fn prometheus(&self, labels: &str) -> String {
        prometheus::text(self, labels)
    }
}

macro_rules! tally {
    ($($counter:ident),*) => {
        /// The counters as they run. A launch changes as few as can be: threads that launch at once share them.
        #[derive(Default)]
        pub(crate) struct Tally {
            $(pub(crate) $counter: AtomicU64,)*
            /// Launches of no programs.
            pub(crate) served_none: AtomicU64,
            /// Launches that had to build a variant.
            pub(crate) built: AtomicU64,
            /// Launches that were measured where they ran.
            pub(crate) measured: AtomicU64,
            host_time: TallyOfTimes,
        }

        impl Tally {
            pub(crate) fn read(&self) -> Counters {
                let launches = self.launches();
                Counters {
                    launches,
                    hits: launches.saturating_sub(self.built.load(Relaxed)),
                    $($counter: self.$counter.load(Relaxed),)*
                    host_time: self.host_time.read(),
                }
            }
        }
    };
}

tally!(
    served_resident,
    served_proved,
    served_literal,
    traces,
    variants,
    compiles,
    waits,
    wait_nanos,
    promotions,
    rejections,
    evictions,
    held_back,
    failures,
    busy_loads,
    code_bytes
);

impl Tally {
    /// How many launches there were.
    pub(crate) fn launches(&self) -> u64 {
        let tiers = [
            &self.served_none,
            &self.served_resident,
            &self.served_proved,
            &self.served_literal,
        ];
        tiers.into_iter().map(|tier| tier.load(Relaxed)).sum()
    }

    /// Adds one. No other memory access is ordered by it.
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// A launch that had to wait.
    pub(crate) fn waited(&self, time: Duration) {
        Self::add(&self.waits);
        self.wait_nanos
            .fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// A launch that took so long on the host.
    pub(crate) fn took(&self, time: Duration) {
        self.host_time.add(time);
    }
}
