//! The steps of a served trace, planned.

use std::error::Error;

use tilewright::dp::draw;
use tilewright::dp::plan::{Plan, Profile, Request, Step, Topology};
use tilewright::dp::simulate::{Options, Simulation};
use tilewright::dp::trace::Trace;

use crate::arguments::Arguments;

/// Bytes of an element.
const ELEMENT: u64 = 2;
/// The largest buffer; ranks, results and the host's copies take several times as much.
const MAX_BYTES: u64 = 4 << 30;

/// Where the rows of one rank lie in a step, and how its batch is padded.
#[derive(Clone, Copy)]
pub struct RankPlan {
    /// Its first row in the gathered buffer.
    pub start: u64,
    /// Its rows there.
    pub rows: u64,
    /// Those of them that are tokens.
    pub tokens: u64,
    /// The rows that its batch is padded to.
    pub batch_rows: u64,
    /// The requests that it runs.
    pub requests: u64,
    /// Those that they are padded to.
    pub batch_requests: u64,
}

/// All steps, and what is the most in them.
pub struct Steps {
    /// For each step, its ranks.
    pub steps: Vec<Vec<RankPlan>>,
    /// Rows of the gathered buffer.
    pub most_rows: u64,
    /// Rows or requests of a rank.
    pub most_of_rank: u64,
}

impl Steps {
    /// Serves the trace and plans what it runs.
    pub fn plan(trace: &Trace, arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let options = Options {
            ranks: arguments.dp as usize,
            chunk: arguments.chunk,
            ..Options::default()
        };
        let topology = Topology::new(arguments.dp, arguments.dp)?;
        let mut planned = Self {
            steps: Vec::new(),
            most_rows: 0,
            most_of_rank: 0,
        };
        for step in Simulation::new(trace, options)?.take(arguments.steps as usize) {
            for forward in step.forwards {
                let requests: Vec<u64> = match forward.prompts.is_empty() {
                    true => forward.ranks.iter().map(|rank| rank.count).collect(),
                    false => forward.prompts.iter().map(|prompts| prompts.len() as u64).collect(),
                };
                let ranks = forward.ranks;
                let step = Step {
                    profile: Profile::default(),
                    topology,
                    speculation: None,
                    ranks: ranks.clone(),
                    graph_buckets: None,
                };
                let plan = Plan::new(&Request {
                    row_bytes: arguments.hidden * ELEMENT,
                    ..step.request()?
                })?;
                check_size(&plan)?;
                let mut of_step = Vec::with_capacity(ranks.len());
                for (rank, (step, requests)) in (0..).zip(ranks.iter().zip(requests)) {
                    let slot = plan.slot(rank)?;
                    let batch = plan.batch(rank, step.forward, requests)?;
                    of_step.push(RankPlan {
                        start: slot.start,
                        rows: slot.rows,
                        tokens: slot.tokens,
                        batch_rows: batch.rows,
                        requests,
                        batch_requests: batch.requests,
                    });
                    let most = slot.rows.max(batch.rows).max(batch.requests);
                    planned.most_of_rank = planned.most_of_rank.max(most);
                }
                planned.most_rows = planned.most_rows.max(plan.layout().rows());
                planned.steps.push(of_step);
            }
        }
        match planned.steps.is_empty() {
            true => Err("the trace has no request with a token to compute, so there is no step to run".into()),
            false => Ok(planned),
        }
    }
}

fn check_size(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let bytes = plan.layout().bytes();
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let (size, limit) = (draw::bytes(bytes), draw::bytes(MAX_BYTES));
    let advice = "take fewer ranks, a smaller `--chunk` or a smaller `--hidden`";
    Err(format!("the gathered buffer of a step is {size}, and this program stops at {limit}; {advice}").into())
}
