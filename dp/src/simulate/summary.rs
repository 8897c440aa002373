//! What serving a trace needs under the rules of each version.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use super::{Forward, MAX_STEPS, MAX_WORK, Options, Simulation, SimulationError};
use crate::draw::{Lane, bytes, timeline};
use crate::plan::{Plan, PlanError, Profile, RankStep, Request, Step, Topology};
use crate::table::{self, grouped};
use crate::trace::Trace;

/// Who serves a trace, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// How the GPUs are split; each data-parallel rank is one of the simulation.
    pub topology: Topology,
    /// Batch sizes for which a graph was captured, if any.
    pub graph_buckets: Option<Vec<u64>>,
    /// Bytes of one hidden state.
    pub row_bytes: u64,
    /// How requests are served; its number of ranks is the topology's.
    pub options: Options,
}

impl Serving {
    fn plan(&self, profile: Profile, forward: Forward) -> Result<Plan, PlanError> {
        let step = Step {
            profile,
            topology: self.topology,
            speculation: self.options.drafting.map(|drafting| drafting.speculation),
            ranks: forward.ranks,
            graph_buckets: self.graph_buckets.clone(),
        };
        Plan::new(&Request {
            row_bytes: self.row_bytes,
            ..step.request()?
        })
    }

    /// What a forward takes, in the units of [`MAX_WORK`].
    fn work(&self, forward: &Forward) -> u64 {
        let sizes = self.graph_buckets.as_ref().map_or(0, Vec::len);
        let running = |rank: &RankStep| if rank.forward.is_extend() { 0 } else { rank.count };
        let running: u64 = forward.ranks.iter().map(running).sum();
        (sizes + forward.ranks.len()) as u64 + running
    }
}

/// Where a summary stops.
pub(super) struct Limits {
    pub steps: u64,
    pub work: u64,
}

impl Limits {
    const MOST: Self = Self {
        steps: MAX_STEPS,
        work: MAX_WORK,
    };

    fn check(&self, steps: u64, work: u64) -> Result<(), SimulationError> {
        if steps > self.steps {
            return Err(SimulationError::TooManySteps);
        }
        match work > self.work {
            true => Err(SimulationError::TooMuchWork),
            false => Ok(()),
        }
    }
}

/// What one version needs for a whole trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Whose rules were followed.
    pub profile: Profile,
    /// Steps.
    pub steps: u64,
    /// Forwards: as many as steps, or more with speculative decoding.
    pub forwards: u64,
    /// Forwards that a graph served.
    pub graph_forwards: u64,
    /// Plans that differ from each other.
    pub distinct_plans: u64,
    /// Bytes of the largest gathered buffer that was allocated for a forward.
    pub peak_bytes: u64,
    /// Bytes of all gathered buffers that were allocated for forwards, one after the other.
    pub total_bytes: u128,
    /// Bytes of the largest buffer of a graph that ran.
    pub graph_bytes: u64,
    /// Rows of the gathered buffers that forwards ran in.
    pub rows: u64,
    /// Those of them that held no token.
    pub padding_rows: u64,
    /// Bytes that the largest logits stage allocated.
    pub logits_peak_bytes: u64,
    /// When each step began, and the bytes of its largest allocation.
    pub timeline: Vec<(Duration, u64)>,
}

impl Summary {
    /// Serves a trace and plans every forward.
    ///
    /// # Errors
    /// An option is out of its range, a forward has no plan, because of its sizes, or the trace takes over [`MAX_STEPS`] or
    /// [`MAX_WORK`].
    pub fn new(trace: &Trace, profile: Profile, serving: &Serving) -> Result<Self, SimulationError> {
        Self::within(&Limits::MOST, trace, profile, serving)
    }

    pub(super) fn within(
        limits: &Limits,
        trace: &Trace,
        profile: Profile,
        serving: &Serving,
    ) -> Result<Self, SimulationError> {
        let options = Options {
            ranks: serving.topology.dp() as usize,
            ..serving.options
        };
        let mut summary = Self {
            profile,
            steps: 0,
            forwards: 0,
            graph_forwards: 0,
            distinct_plans: 0,
            peak_bytes: 0,
            total_bytes: 0,
            graph_bytes: 0,
            rows: 0,
            padding_rows: 0,
            logits_peak_bytes: 0,
            timeline: Vec::new(),
        };
        // Plans of many ranks are large, and what is asked is only how many there are. Of a million that differ, two share
        // their 64 bits less than once in a million traces.
        let fingerprint = BuildHasherDefault::<DefaultHasher>::default();
        let mut plans = HashSet::new();
        let simulation = Simulation::new(trace, options)?;
        // Most of what never ends shows before it begins.
        let fewest = options.fewest_steps(trace);
        limits.check(fewest, fewest.saturating_mul(options.ranks as u64))?;
        let mut work = 0;
        for step in simulation {
            let mut most = 0;
            for forward in step.forwards {
                work += serving.work(&forward);
                limits.check(summary.steps + 1, work)?;
                let tokens = forward.tokens.iter().sum();
                let plan = serving.plan(profile, forward)?;
                summary.add(&plan, tokens);
                most = most.max(plan.allocated_bytes());
                plans.insert(fingerprint.hash_one(&plan));
            }
            summary.steps += 1;
            summary.timeline.push((step.begin, most));
        }
        summary.distinct_plans = plans.len() as u64;
        Ok(summary)
    }

    fn add(&mut self, plan: &Plan, tokens: u64) {
        let layout = plan.layout();
        self.forwards += 1;
        if plan.graph().is_some() {
            self.graph_forwards += 1;
            self.graph_bytes = self.graph_bytes.max(layout.bytes());
        }
        self.peak_bytes = self.peak_bytes.max(plan.allocated_bytes());
        self.total_bytes += u128::from(plan.allocated_bytes());
        self.rows += layout.rows();
        // No rank has more tokens than were planned for it: of a draft-extend, at most those that were verified.
        self.padding_rows += layout.rows() - tokens;
        self.logits_peak_bytes = self.logits_peak_bytes.max(plan.logits().bytes());
    }

    /// The part of all buffer rows that held no token, in per cent.
    pub fn padding_percent(&self) -> f64 {
        100.0 * self.padding_rows as f64 / self.rows.max(1) as f64
    }
}

/// The summaries of one trace under every profile, oldest first. It prints as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceComparison {
    summaries: Vec<Summary>,
}

impl TraceComparison {
    /// Serves a trace once for every profile.
    ///
    /// ```
    /// use tilewright_dp::plan::{Topology, capture_sizes};
    /// use tilewright_dp::simulate::{Options, Serving, TraceComparison};
    /// use tilewright_dp::trace::Trace;
    ///
    /// let csv = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,5,3\n";
    /// let serving = Serving {
    ///     topology: Topology::new(2, 2)?,
    ///     graph_buckets: Some(capture_sizes(false, 8)),
    ///     row_bytes: 14336,
    ///     options: Options::default(),
    /// };
    /// let comparison = TraceComparison::new(&Trace::parse(csv.as_bytes(), "example.csv")?, &serving)?;
    /// // One prefill of 5 tokens, and two steps of a graph, for which one version allocates a row each.
    /// assert_eq!(comparison.summaries()[0].total_bytes, 7 * 14336);
    /// assert_eq!(comparison.summaries()[1].total_bytes, 5 * 14336);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Summary::new`].
    pub fn new(trace: &Trace, serving: &Serving) -> Result<Self, SimulationError> {
        let summary = |profile| Summary::new(trace, profile, serving);
        let summaries = Profile::ALL.into_iter().map(summary).collect::<Result<_, _>>()?;
        Ok(Self { summaries })
    }

    /// The summaries, oldest profile first.
    pub fn summaries(&self) -> &[Summary] {
        &self.summaries
    }

    /// Draws the bytes that each version allocates over time as an SVG document.
    pub fn svg(&self) -> String {
        let lane = |summary: &Summary| Lane {
            name: summary.profile.to_string(),
            note: format!("peak {}", bytes(summary.peak_bytes)),
            points: summary.timeline.clone(),
        };
        let lanes: Vec<_> = self.summaries.iter().map(lane).collect();
        timeline("Gathered buffer allocated per step", &lanes)
    }
}

impl fmt::Display for TraceComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = [
            "profile",
            "plans",
            "in graphs",
            "peak bytes",
            "total bytes",
            "graph bytes",
            "padding",
            "logits peak",
        ];
        let row = |summary: &Summary| {
            [
                summary.profile.to_string(),
                grouped(summary.distinct_plans),
                grouped(summary.graph_forwards),
                grouped(summary.peak_bytes),
                grouped(summary.total_bytes),
                grouped(summary.graph_bytes),
                format!("{:.1} %", summary.padding_percent()),
                grouped(summary.logits_peak_bytes),
            ]
        };
        let rows: Vec<_> = self.summaries.iter().map(row).collect();
        if let Some(first) = self.summaries.first() {
            writeln!(
                f,
                "{} steps, {} forwards",
                grouped(first.steps),
                grouped(first.forwards)
            )?;
        }
        table::write(f, header, &rows)
    }
}
