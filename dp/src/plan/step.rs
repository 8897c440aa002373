//! From what ranks are about to run to the request that plans it.

use super::{ForwardMode, MixedStep, Phase, PlanError, Profile, Request, Speculation, Topology, Width};

/// One step of all ranks as their schedulers have it.
///
/// What a step does not say is set on the request: `Request { force_max: true, ..step.request()? }`.
///
/// ```
/// use tilewright_dp::plan::{ForwardMode, Plan, Profile, RankStep, Speculation, Step, Topology};
///
/// let step = Step {
///     profile: Profile::Pr8277,
///     topology: Topology::new(4, 4)?,
///     speculation: Some(Speculation::new(1, 3, 4)?),
///     ranks: vec![RankStep::new(ForwardMode::DraftExtend, 5); 4],
///     graph_buckets: None,
/// };
/// let plan = Plan::new(&step.request()?)?;
/// assert_eq!((plan.layout().rows(), plan.logits().buffer_rows()), (80, 20));
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// Whose rules to follow.
    pub profile: Profile,
    /// How the GPUs are split.
    pub topology: Topology,
    /// The widths of speculative decoding, if there is any.
    pub speculation: Option<Speculation>,
    /// What every data-parallel rank told the others; the local rank alone where only the attention TP group gathers.
    pub ranks: Vec<RankStep>,
    /// Batch sizes, in requests, for which a graph was captured.
    pub graph_buckets: Option<Vec<u64>>,
}

/// What one rank tells the others before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RankStep {
    /// What it runs.
    pub forward: ForwardMode,
    /// Tokens if it prefills, requests otherwise.
    pub count: u64,
    /// Counts for the logits stage: [`logprob_rows`](super::logprob_rows) if it prefills, requests otherwise.
    pub logprob: u64,
    /// Whether it runs without graphs. Ranks tell so from `main-2026-09` on.
    pub graphs_disabled: bool,
}

impl RankStep {
    /// A rank whose counts are the same for the logits stage.
    pub const fn new(forward: ForwardMode, count: u64) -> Self {
        Self {
            forward,
            count,
            logprob: count,
            graphs_disabled: false,
        }
    }

    /// A rank with nothing to do.
    pub const fn idle() -> Self {
        Self::new(ForwardMode::Idle, 0)
    }

    /// A rank that prefills.
    pub const fn prefill(tokens: u64, logprob: u64) -> Self {
        Self {
            logprob,
            ..Self::new(ForwardMode::Extend, tokens)
        }
    }

    fn votes_for_graph(&self, profile: Profile) -> bool {
        let disabled = self.graphs_disabled && profile >= Profile::Main202609;
        self.forward.votes_for_graph() && !disabled
    }
}

impl Step {
    /// The request that plans this step. From `main-2026-11` on, ranks that prefill may share it with ranks that draft,
    /// verify or draft-extend: each phase then has counts of its own, and in a draft forward those that prefill are
    /// idle.
    ///
    /// # Errors
    /// Ranks need different widths, a rank drafts without speculation, or an idle rank has tokens.
    pub fn request(&self) -> Result<Request, PlanError> {
        let mixed = self.mixed()?;
        // Its phases have the widths.
        let width = match mixed {
            Some(_) => Width { tokens: 1, logprob: 1 },
            None => self.width()?,
        };
        let logprob = mixed.is_none().then_some(width.logprob);
        Ok(Request {
            mixed,
            profile: self.profile,
            attn_tp: self.topology.attention_tp(),
            coef: width.tokens,
            coef_lp: logprob,
            raw_lp: Some(self.ranks.iter().map(|rank| rank.logprob).collect()),
            extend: self.ranks.iter().any(|rank| rank.forward.is_extend()),
            cp_align: self.profile.context_alignment(self.topology.context().alignment()),
            graph_buckets: self.graph_buckets.clone(),
            graph_ok: self.ranks.iter().all(|rank| rank.votes_for_graph(self.profile)),
            ..Request::new(self.ranks.iter().map(|rank| rank.count).collect(), self.topology.dp())
        })
    }

    /// The phases, if some ranks prefill and all others that are busy run one speculative forward.
    fn mixed(&self) -> Result<Option<MixedStep>, PlanError> {
        let busy = || self.ranks.iter().enumerate().filter(|(_, rank)| rank.count > 0);
        let prefills = |rank: &RankStep| rank.forward.is_extend();
        let mut others = busy().filter(|(_, rank)| !prefills(rank));
        let Some((rank, first)) = others.next() else {
            return Ok(None);
        };
        let forward = first.forward;
        let phase = match forward {
            ForwardMode::DraftDecode => Phase::Draft,
            ForwardMode::TargetVerify => Phase::Target,
            ForwardMode::DraftExtend => Phase::DraftExtend,
            _ => return Ok(None),
        };
        let is_known = self.profile >= Profile::Main202611;
        if !is_known || !busy().any(|(_, rank)| prefills(rank)) || others.any(|(_, rank)| rank.forward != forward) {
            return Ok(None);
        }
        let speculation = self.speculation.ok_or(PlanError::NoSpeculation { rank, forward })?;
        Ok(Some(MixedStep {
            prefills: self.ranks.iter().map(prefills).collect(),
            phase,
            draft_width: speculation.topk(),
            verify_width: speculation.draft_tokens(),
            local: None,
        }))
    }

    /// The one width of all ranks that have something to do.
    fn width(&self) -> Result<Width, PlanError> {
        let mut first: Option<(usize, ForwardMode, Width)> = None;
        for (rank, RankStep { forward, count, .. }) in self.ranks.iter().copied().enumerate() {
            let width = forward
                .width(self.profile, self.speculation)
                .ok_or(PlanError::NoSpeculation { rank, forward })?;
            match first {
                _ if forward == ForwardMode::Idle && count > 0 => {
                    return Err(PlanError::IdleWithTokens { rank, tokens: count });
                }
                _ if forward == ForwardMode::Idle => {}
                Some((one, other, of_first)) if of_first != width => {
                    return Err(PlanError::MixedWidths {
                        one: (one, other),
                        other: (rank, forward),
                    });
                }
                Some(_) => {}
                None => first = Some((rank, forward, width)),
            }
        }
        Ok(first.map_or(Width { tokens: 1, logprob: 1 }, |(_, _, width)| width))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ContextParallel, Prompt, logprob_rows};
    use super::*;

    fn step(profile: Profile, ranks: &[RankStep]) -> Step {
        Step {
            profile,
            topology: Topology::new(8, ranks.len() as u64).unwrap(),
            speculation: Some(Speculation::new(2, 3, 8).unwrap()),
            ranks: ranks.to_vec(),
            graph_buckets: Some(vec![8]),
        }
    }

    #[test]
    fn prefill_decode_and_idle_ranks_share_a_step() {
        let prompt = |tokens, logprob_start| Prompt { tokens, logprob_start };
        for profile in Profile::ALL {
            let two = logprob_rows(profile, &[prompt(100, 99), prompt(50, 49)], false);
            let ten = logprob_rows(profile, &[prompt(10, 0)], true);
            let request = step(
                profile,
                &[
                    RankStep::prefill(150, two),
                    RankStep::new(ForwardMode::Decode, 3),
                    RankStep::idle(),
                    RankStep::prefill(10, ten),
                ],
            )
            .request()
            .unwrap();
            assert_eq!(request.raw, [150, 3, 0, 10]);
            assert_eq!(request.raw_lp, Some(vec![2, 3, 0, 10]));
            assert!(request.extend && !request.graph_ok);
            assert_eq!((request.attn_tp, request.dp, request.coef), (2, 4, 1));
        }
    }

    #[test]
    fn the_width_comes_from_ranks_that_work() {
        let ranks = [RankStep::idle(), RankStep::new(ForwardMode::TargetVerify, 6)];
        let request = step(Profile::Main202609, &ranks).request().unwrap();
        assert_eq!((request.coef, request.coef_lp), (8, Some(8)));
        assert!(request.graph_ok && !request.extend);
        let request = step(Profile::Main202609, &[RankStep::idle(); 2]).request().unwrap();
        assert_eq!((request.coef, request.raw), (1, vec![0, 0]));
    }

    #[test]
    fn a_rank_without_graphs_votes_against_them_in_the_newest_version_only() {
        let mut ranks = [RankStep::new(ForwardMode::Decode, 6); 2];
        ranks[1].graphs_disabled = true;
        for profile in Profile::ALL {
            let request = step(profile, &ranks).request().unwrap();
            assert_eq!(request.graph_ok, profile < Profile::Main202609);
        }
    }

    #[test]
    fn context_parallelism_reaches_the_request() {
        let step = Step {
            topology: Topology::with_context(8, 2, ContextParallel::ZigZag(2)).unwrap(),
            ..step(Profile::Main202609, &[RankStep::new(ForwardMode::Decode, 7); 2])
        };
        let request = step.request().unwrap();
        assert_eq!((request.attn_tp, request.cp_align), (2, 4));
    }

    #[test]
    fn contradictions_are_errors() {
        let prefill_and_verify = [
            RankStep::prefill(9, 1),
            RankStep::idle(),
            RankStep::new(ForwardMode::TargetVerify, 1),
            RankStep::idle(),
        ];
        let error = step(Profile::Main202609, &prefill_and_verify).request().unwrap_err();
        assert_eq!(
            error.to_string(),
            "rank 0 runs extend and rank 2 runs target verify, whose tokens per request differ; one step has one width, \
             so let one of them wait"
        );
        // The newest version has a width for those that prefill and one for all others.
        let mut three = prefill_and_verify;
        assert!(step(Profile::Main202611, &three).request().is_ok());
        for other in [ForwardMode::DraftExtend, ForwardMode::Decode] {
            three[1] = RankStep::new(other, 1);
            let error = step(Profile::Main202611, &three).request().unwrap_err();
            assert!(matches!(error, PlanError::MixedWidths { .. }), "{error}");
        }
        let idle = [RankStep::new(ForwardMode::Idle, 3)];
        assert_eq!(
            step(Profile::default(), &idle).request(),
            Err(PlanError::IdleWithTokens { rank: 0, tokens: 3 })
        );
        let step = Step {
            speculation: None,
            ..step(Profile::default(), &[RankStep::new(ForwardMode::DraftDecode, 3)])
        };
        assert_eq!(
            step.request(),
            Err(PlanError::NoSpeculation {
                rank: 0,
                forward: ForwardMode::DraftDecode
            })
        );
    }
}
