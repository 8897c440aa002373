//! One step under the rules of every version.

use std::fmt;

use super::{Plan, PlanError, Profile, Request, WireFormat};
use crate::table::{self, grouped};

/// The plans of one request under every profile that knows such steps, oldest first. It prints as a table.
///
/// ```
/// use tilewright_dp::plan::{Comparison, Profile, Request, capture_sizes};
///
/// let decode = Request {
///     graph_ok: true,
///     graph_buckets: Some(capture_sizes(false, 160)),
///     ..Request::new(vec![20; 8], 8)
/// };
/// let comparison = Comparison::new(&decode)?;
/// assert_eq!(comparison.plans().len(), Profile::ALL.len());
/// assert!(comparison.to_string().ends_with("before pull request 8277: 2,293,760 bytes a step; after it: 0 bytes\n"));
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Comparison {
    plans: Vec<Plan>,
}

impl Comparison {
    /// Plans a request under every profile, whatever its own is; those without an alignment to context parallelism leave
    /// it out. A step that prefills and drafts is known to the newest alone.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn new(request: &Request) -> Result<Self, PlanError> {
        let mut copy = request.clone();
        let is_mixed = match &request.mixed {
            Some(mixed) => mixed.is_mixed(&request.raw),
            None => false,
        };
        let profiles = Profile::ALL
            .into_iter()
            .filter(|&profile| !is_mixed || profile >= Profile::Main202611);
        let plan = |profile: Profile| {
            copy.profile = profile;
            copy.cp_align = profile.context_alignment(request.cp_align);
            Plan::new(&copy)
        };
        let plans = profiles.map(plan).collect::<Result<_, _>>()?;
        Ok(Self { plans })
    }

    /// The plans, oldest profile first.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    fn allocated_bytes(&self, profile: Profile) -> Option<u64> {
        let plan = self.plans.iter().find(|plan| plan.profile() == profile);
        plan.map(Plan::allocated_bytes)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A wire whose blocks do not divide the row has no bytes.
        let wire = |plan: &Plan, format| plan.wire_bytes(format).map_or_else(|_| "-".to_owned(), grouped);
        let row = |plan: &Plan| {
            [
                plan.profile().to_string(),
                plan.execution().to_string(),
                plan.mode().to_string(),
                grouped(plan.layout().rows()),
                grouped(plan.layout().bytes()),
                grouped(plan.allocated_bytes()),
                grouped(plan.logits().bytes()),
                grouped(plan.exchanged_bytes()),
                wire(plan, WireFormat::Bf16),
                wire(plan, WireFormat::Fp8),
                wire(plan, WireFormat::Nvfp4),
            ]
        };
        let header = [
            "profile",
            "run",
            "mode",
            "buffer rows",
            "buffer bytes",
            "bytes allocated",
            "logits bytes",
            "exchanged",
            "wire bf16",
            "wire fp8",
            "wire nvfp4",
        ];
        let rows: Vec<_> = self.plans.iter().map(row).collect();
        table::write(f, header, &rows)?;
        let [before, after] = [Profile::Base8277, Profile::Pr8277].map(|profile| self.allocated_bytes(profile));
        let (Some(before), Some(after)) = (before, after) else {
            return Ok(());
        };
        writeln!(
            f,
            "before pull request 8277: {} bytes a step; after it: {} bytes",
            grouped(before),
            grouped(after),
        )
    }
}
