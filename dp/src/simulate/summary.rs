//! What serving a trace needs under the rules of each version.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use super::{Forward, MAX_STEPS, MAX_WORK, Options, Simulation, SimulationError};
use crate::draw::{Lane, bytes, timeline};
use crate::plan::micro::{Micro, TwoBatch};
use crate::plan::{AllToAll, Bound, Padding, Plan, PlanError, Profile, RankStep, Request, Step, Topology, WireFormat};
use crate::table::{self, grouped};
use crate::trace::Trace;

/// The wires that a summary adds up.
const WIRES: [WireFormat; 3] = [WireFormat::Bf16, WireFormat::Fp8, WireFormat::Nvfp4];

/// Who serves a trace, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// How the GPUs are split; each data-parallel rank is one of the simulation.
    pub topology: Topology,
    /// Batch sizes for which a graph was captured, if any.
    pub graph_buckets: Option<Vec<u64>>,
    /// Bytes of one hidden state.
    pub row_bytes: u64,
    /// How steps are split into micro-batches, if they are; the prompts are those of each step.
    pub micro: Option<Micro>,
    /// When eager forwards pad their ranks.
    pub padding: Padding,
    /// The back end of the experts, if any. Where a step has more rows than it takes, there is no summary.
    pub all_to_all: Option<AllToAll>,
    /// How requests are served; its number of ranks is the topology's.
    pub options: Options,
}

impl Serving {
    /// The micro-batches asked of a forward. A draft model's are never split.
    fn micro(&self, forward: &mut Forward) -> Option<Micro> {
        match self.micro.as_ref().filter(|_| !forward.is_draft)? {
            Micro::Dbo(dual) => Some(Micro::Dbo(*dual)),
            Micro::Tbo(two) => {
                let prompts = std::mem::take(&mut forward.prompts);
                Some(Micro::Tbo(TwoBatch {
                    prompts: (!prompts.is_empty()).then_some(prompts),
                    two_chunk_percent: two.two_chunk_percent,
                }))
            }
        }
    }

    fn plan(&self, profile: Profile, mut forward: Forward) -> Result<Plan, PlanError> {
        let micro = self.micro(&mut forward);
        let bound = self.options.bound.map(Bound::of_rows);
        let step = Step {
            // Ranks that exchange nothing have widths of their own by any version's rules.
            profile: if bound.is_some() { Profile::Main202611 } else { profile },
            topology: self.topology,
            speculation: self.options.drafting.map(|drafting| drafting.speculation),
            ranks: forward.ranks,
            graph_buckets: self.graph_buckets.clone(),
        };
        let request = match bound {
            Some(_) => step.request()?.of_one_width()?,
            None => step.request()?,
        };
        Plan::new(&Request {
            profile,
            row_bytes: self.row_bytes,
            micro,
            padding: self.padding,
            all_to_all: self.all_to_all,
            bound,
            ..request
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
    /// Forwards that ran in micro-batches.
    pub split_forwards: u64,
    /// Bytes of the buffers that stay: of micro-batches, which grow to the largest of them, and of a bound, which are
    /// of one size.
    pub kept_bytes: u64,
    /// Bytes that schedulers exchanged before the steps, all GPUs together.
    pub exchanged_bytes: u128,
    /// Bytes of the rows of all forwards, gathered once, as bf16, fp8 and nvfp4; none where blocks do not divide a row.
    pub wire_bytes: [Option<u128>; 3],
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
            mixed: serving.options.mixed && profile >= Profile::Main202611,
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
            split_forwards: 0,
            kept_bytes: 0,
            exchanged_bytes: 0,
            wire_bytes: [Some(0); 3],
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
        let mut kept = Vec::new();
        let exchanged = match options.bound {
            Some(_) => 0,
            None => profile.exchanged_bytes(&serving.topology),
        };
        for step in simulation {
            let mut most = 0;
            for forward in step.forwards {
                work += serving.work(&forward);
                limits.check(summary.steps + 1, work)?;
                let tokens = forward.tokens.iter().sum();
                let plan = serving.plan(profile, forward)?;
                most = most.max(summary.add(&plan, tokens, &mut kept));
                plans.insert(fingerprint.hash_one(&plan));
            }
            summary.steps += 1;
            summary.exchanged_bytes += u128::from(exchanged);
            summary.timeline.push((step.begin, most));
        }
        summary.distinct_plans = plans.len() as u64;
        Ok(summary)
    }

    /// Adds a forward, and returns the bytes that were allocated for it. `kept` has the rows of the buffers that stay.
    fn add(&mut self, plan: &Plan, tokens: u64, kept: &mut Vec<u64>) -> u64 {
        let layout = plan.layout();
        let mut allocated = plan.allocated_bytes();
        if !plan.parts().is_empty() {
            self.split_forwards += 1;
        }
        let stays = !plan.parts().is_empty() || plan.bound().is_some();
        if stays && plan.graph().is_none() {
            let mut grown = 0;
            for (index, buffer) in plan.gathered().enumerate() {
                kept.resize(kept.len().max(index + 1), 0);
                let (capacity, rows) = (&mut kept[index], buffer.rows());
                if rows > *capacity {
                    (*capacity, grown) = (rows, grown + rows);
                }
            }
            self.kept_bytes = kept.iter().sum::<u64>() * layout.row_bytes();
            allocated = grown * layout.row_bytes();
        }
        for (format, sum) in WIRES.into_iter().zip(&mut self.wire_bytes) {
            let bytes = plan.wire_bytes(format).ok();
            *sum = sum.and_then(|sum| Some(sum + u128::from(bytes?)));
        }
        let rows = plan.gathered_rows();
        self.forwards += 1;
        if plan.graph().is_some() {
            self.graph_forwards += 1;
            self.graph_bytes = self.graph_bytes.max(layout.bytes());
        }
        self.peak_bytes = self.peak_bytes.max(allocated);
        self.total_bytes += u128::from(allocated);
        self.rows += rows;
        // No rank has more tokens than were planned for it: of a draft-extend, at most those that were verified.
        self.padding_rows += rows - tokens;
        self.logits_peak_bytes = self.logits_peak_bytes.max(plan.logits().bytes());
        allocated
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
    /// use tilewright_dp::plan::{Padding, Topology, capture_sizes};
    /// use tilewright_dp::simulate::{Options, Serving, TraceComparison};
    /// use tilewright_dp::trace::Trace;
    ///
    /// let csv = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,5,3\n";
    /// let serving = Serving {
    ///     topology: Topology::new(2, 2)?,
    ///     graph_buckets: Some(capture_sizes(false, 8)),
    ///     row_bytes: 14336,
    ///     micro: None,
    ///     padding: Padding::Rules,
    ///     all_to_all: None,
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
            "split",
            "kept bytes",
            "exchanged",
            "wire bf16",
            "wire fp8",
            "wire nvfp4",
            "steps",
        ];
        let row = |summary: &Summary| {
            let [bf16, fp8, nvfp4] = summary
                .wire_bytes
                .map(|bytes| bytes.map_or_else(|| "-".to_owned(), grouped));
            [
                summary.profile.to_string(),
                grouped(summary.distinct_plans),
                grouped(summary.graph_forwards),
                grouped(summary.peak_bytes),
                grouped(summary.total_bytes),
                grouped(summary.graph_bytes),
                format!("{:.1} %", summary.padding_percent()),
                grouped(summary.logits_peak_bytes),
                grouped(summary.split_forwards),
                grouped(summary.kept_bytes),
                grouped(summary.exchanged_bytes),
                bf16,
                fp8,
                nvfp4,
                grouped(summary.steps),
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
