//! How long launches took, and what was built, promoted and dropped meanwhile.

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tilewright::prelude::*;
use tilewright::runtime::Event;

/// What a launch is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Gather,
    Scatter,
    Pad,
    /// An empty kernel, by the driver alone.
    Driver,
}

impl Operation {
    /// Those of ours.
    pub const ALL: [Self; 3] = [Self::Gather, Self::Scatter, Self::Pad];

    pub fn name(self) -> &'static str {
        match self {
            Self::Gather => "gather",
            Self::Scatter => "scatter",
            Self::Pad => "pad a batch",
            Self::Driver => "driver alone",
        }
    }
}

/// One launch.
pub struct Sample {
    pub step: u64,
    pub operation: Operation,
    /// Bits of its number of tokens: what is launched for many is another kernel, or runs longer, than for few.
    pub size: u32,
    /// How long it took on the host, the making of its call included.
    pub time: Duration,
    /// Whether no launch before had its counts and rows.
    pub is_first: bool,
    /// Whether something was being compiled behind when it began.
    pub is_busy: bool,
}

/// What happens beside the launches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    Built,
    Promoted,
    Rejected,
}

/// Watches the launches of a loop.
pub struct Watch {
    step: Arc<AtomicU64>,
    seen: HashSet<(Operation, [u64; 4])>,
    pub samples: Vec<Sample>,
    happenings: Arc<Mutex<Vec<(u64, Happening)>>>,
}

impl Watch {
    pub fn new(device: &Device) -> Self {
        let (step, happenings) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (now, all) = (step.clone(), happenings.clone());
        device.on_event(move |event| {
            let happening = match event {
                Event::Built { .. } => Happening::Built,
                Event::Promoted { .. } => Happening::Promoted,
                Event::Rejected { .. } => Happening::Rejected,
                _ => return,
            };
            all.lock().push((now.load(Relaxed), happening));
        });
        Self {
            step,
            seen: HashSet::new(),
            samples: Vec::new(),
            happenings,
        }
    }

    /// All launches from now on are a step's.
    pub fn begin(&self, step: u64) {
        self.step.store(step, Relaxed);
    }

    /// Does a launch and notes how long it took. `values` are its counts and rows, its tokens first.
    pub fn time(
        &mut self,
        operation: Operation,
        values: [u64; 4],
        launch: impl FnOnce() -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let is_first = self.seen.insert((operation, values));
        let is_busy = !Device::settle(Duration::ZERO);
        let started = Instant::now();
        launch()?;
        let time = started.elapsed();
        self.samples.push(Sample {
            step: self.step.load(Relaxed),
            operation,
            size: u64::BITS - values[0].leading_zeros(),
            time,
            is_first,
            is_busy,
        });
        Ok(())
    }

    /// The steps in which something happened, in order.
    pub fn steps_of(&self, happening: Happening) -> Vec<u64> {
        let all = self.happenings.lock();
        let mut steps: Vec<_> = all
            .iter()
            .filter(|(_, what)| *what == happening)
            .map(|(step, _)| *step)
            .collect();
        steps.sort_unstable();
        steps
    }
}

/// What a list of times comes to.
#[derive(Clone, Copy)]
pub struct Quantiles {
    pub count: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub p999: Duration,
    pub most: Duration,
}

impl Quantiles {
    /// `None` of no times.
    pub fn of(times: impl Iterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        // The time that this share of all does not exceed.
        let at = |share: f64| {
            times[((times.len() as f64 * share).ceil() as usize)
                .saturating_sub(1)
                .min(last)]
        };
        Some(Self {
            count: times.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            most: times[last],
        })
    }
}
