//! Steps in which some ranks prefill and others decode speculatively, and what the draft model is told.
//!
//! One width for all ranks cannot express such a step: a prompt's tokens are its rows, a decoding request has a row for
//! every drafted token. So the ranks exchange raw counts and who prefills, and every forward of the step has counts of
//! its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::by_name::by_name;
use super::request::scale_one;
use super::{PlanError, Profile, Request, check_size};

/// A forward of a speculative step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The target model: prompts, and verifications of what was drafted.
    Target,
    /// A step of the draft model, in which ranks that prefill are idle.
    Draft,
    /// The draft model over what the target computed.
    DraftExtend,
}

impl Phase {
    /// The name in requests, in plans and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Draft => "draft",
            Self::DraftExtend => "draft_extend",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who prefills in a speculative step, and which of its forwards is planned. In JSON
/// `{"prefills": [true, false], "phase": "target", "draft_width": 1, "verify_width": 4}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct MixedStep {
    /// For every count, whether its rank prefills: tokens if so, requests otherwise.
    pub prefills: Vec<bool>,
    /// The forward.
    pub phase: Phase,
    /// Tokens per request of a draft step; 1 by default.
    #[serde(default = "one")]
    pub draft_width: u64,
    /// Tokens per request of a verification, and of the draft model's forward after it; 1 by default.
    #[serde(default = "one")]
    pub verify_width: u64,
    /// The rank that plans this forward for itself, if its model's all-to-all or attention needs no counts of others.
    #[serde(default)]
    pub local: Option<u64>,
}

fn one() -> u64 {
    1
}

by_name!(
    MixedStep,
    "a speculative step, an object such as {\"prefills\": [true, false], \"phase\": \"target\"}"
);

/// What a plan has of a [`MixedStep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct PhasePlan {
    /// The forward.
    pub phase: Phase,
    /// Ranks that prefill and have tokens.
    pub prefilling: u64,
    /// Ranks that decode and have requests.
    pub decoding: u64,
    /// Tokens per request of those that decode.
    pub width: u64,
}

impl PhasePlan {
    /// Whether some ranks prefill while others decode, so that counts are the phase's own.
    pub const fn is_mixed(&self) -> bool {
        self.prefilling > 0 && self.decoding > 0
    }
}

/// What is wrong with a speculative step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Flags for another number of ranks.
    #[error("`prefills` has {flags} flags and `raw` has {counts} counts; every rank says whether it prefills")]
    WrongNumberOfFlags {
        /// The flags.
        flags: usize,
        /// The counts.
        counts: usize,
    },
    /// One width for a step that has its own.
    #[error(
        "`mixed` has the widths of every phase and `{field}` is given too, which would scale the counts again; leave it out"
    )]
    ScaledTwice {
        /// The other width.
        field: &'static str,
    },
    /// A step that prefills, in which no rank does.
    #[error(
        "`extend` says that a rank prefills and `mixed` that none with tokens does; leave out `extend`, which follows"
    )]
    NobodyPrefills,
    /// A version whose prefill and decode never share a step.
    #[error(
        "by the rules of {profile} prefill and speculative decode never share a step, since one width serves all ranks; \
         plan by those of {}, or let one of them wait",
        Profile::Main202611
    )]
    OneWidth {
        /// The version.
        profile: Profile,
    },
    /// A list that holds neither all ranks nor one.
    #[error(
        "the list has {counts} counts and the gather has {width} slots; a list has one count per slot, or the local rank's alone"
    )]
    OtherWidth {
        /// Counts of the list.
        counts: usize,
        /// Slots of the gather.
        width: u64,
    },
    /// Lists of unlike length.
    #[error("there are {tokens} counts of tokens and {others} of {what}; give one of each per rank")]
    UnlikeLists {
        /// Counts of tokens.
        tokens: usize,
        /// The other list.
        what: &'static str,
        /// Its counts.
        others: usize,
    },
    /// More requests than tokens.
    #[error(
        "rank {rank} has {requests} requests and {tokens} tokens in the first draft forward; each request has one at least"
    )]
    MoreRequestsThanTokens {
        /// The rank, counted from 0.
        rank: usize,
        /// Its requests.
        requests: u64,
        /// Its tokens.
        tokens: u64,
    },
}

impl MixedStep {
    /// Tokens per count of a rank.
    const fn width(&self, prefills: bool) -> u64 {
        match (self.phase, prefills) {
            (Phase::Draft, true) => 0,
            (Phase::Target | Phase::DraftExtend, true) => 1,
            (phase, false) => self.decode_width(phase),
        }
    }

    const fn decode_width(&self, phase: Phase) -> u64 {
        match phase {
            Phase::Draft => self.draft_width,
            Phase::Target | Phase::DraftExtend => self.verify_width,
        }
    }

    /// Whether some rank of these counts prefills while another decodes.
    pub(super) fn is_mixed(&self, raw: &[u64]) -> bool {
        self.count(raw, true) > 0 && self.count(raw, false) > 0
    }

    fn count(&self, raw: &[u64], prefills: bool) -> u64 {
        let ranks = raw.iter().zip(&self.prefills);
        ranks.filter(|&(&count, &flag)| count > 0 && flag == prefills).count() as u64
    }

    fn scale(&self, field: &'static str, counts: &[u64]) -> Result<Vec<u64>, PlanError> {
        let ranks = counts.iter().zip(&self.prefills).enumerate();
        let rank =
            |(rank, (&count, &prefills)): (usize, (&u64, &bool))| scale_one(field, rank, count, self.width(prefills));
        ranks.map(rank).collect()
    }

    /// The request of this forward, without `mixed` and `shards`: where ranks do not differ, one width; where they do,
    /// counts that are tokens already.
    pub(super) fn resolve(&self, request: &Request) -> Result<(Request, PhasePlan), PlanError> {
        let counts = request.raw.len();
        if self.prefills.len() != counts {
            let flags = self.prefills.len();
            return Err(DraftError::WrongNumberOfFlags { flags, counts }.into());
        }
        check_size("draft_width", self.draft_width)?;
        check_size("verify_width", self.verify_width)?;
        if request.coef != 1 || request.coef_lp.is_some() {
            let field = if request.coef != 1 { "coef" } else { "coef_lp" };
            return Err(DraftError::ScaledTwice { field }.into());
        }
        let plan = PhasePlan {
            phase: self.phase,
            prefilling: self.count(&request.raw, true),
            decoding: self.count(&request.raw, false),
            width: self.decode_width(self.phase),
        };
        if request.extend && plan.prefilling == 0 {
            return Err(DraftError::NobodyPrefills.into());
        }
        if plan.is_mixed() && request.profile < Profile::Main202611 {
            let profile = request.profile;
            return Err(DraftError::OneWidth { profile }.into());
        }
        // With a draft forward the logits have the tokens' counts.
        let raw_lp = request.raw_lp.as_deref().filter(|_| self.phase != Phase::Draft);
        let (mut raw, mut raw_lp) = match plan.prefilling {
            0 => (request.raw.clone(), raw_lp.map(<[u64]>::to_vec)),
            _ => {
                let logprob = raw_lp.map(|counts| self.scale("raw_lp", counts)).transpose()?;
                (self.scale("raw", &request.raw)?, logprob)
            }
        };
        if let Some(rank) = self.local {
            let ranks = counts as u64;
            let only = |list: &[u64]| {
                let own = usize::try_from(rank).ok().and_then(|rank| list.get(rank).copied());
                own.map(|count| vec![count])
                    .ok_or(PlanError::NoSuchRank { rank, ranks })
            };
            raw_lp = raw_lp.as_deref().map(only).transpose()?;
            raw = only(&raw)?;
        }
        let own = Request {
            extend: plan.prefilling > 0,
            coef: if plan.prefilling == 0 { plan.width } else { 1 },
            ..request.with_counts(raw, raw_lp)
        };
        Ok((own, plan))
    }
}

/// The forwards of the draft model in one step. An idle rank runs as many as a busy one, with no rows.
///
/// ```
/// use tilewright_dp::plan::DraftChain;
///
/// let chain = DraftChain::new(3, &[8, 0, 4], Some(&[2, 0, 1]))?;
/// let lists: Vec<_> = (0..chain.forwards()).map(|forward| chain.counts(forward)).collect();
/// assert_eq!(lists, [[8, 0, 4], [2, 0, 1], [2, 0, 1]]);
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DraftChain {
    forwards: u64,
    first: Vec<u64>,
    later: Option<Vec<u64>>,
}

impl DraftChain {
    /// So many `forwards`: the first over the step's tokens, each later one over one row a request. If nobody told the
    /// requests, later ones have the tokens' list too.
    ///
    /// # Errors
    /// No forward, or lists that contradict each other.
    pub fn new(forwards: u64, tokens: &[u64], requests: Option<&[u64]>) -> Result<Self, PlanError> {
        check_size("forwards", forwards)?;
        if let Some(requests) = requests {
            check_lists(tokens, "requests", requests.len())?;
            for (rank, (&requests, &tokens)) in requests.iter().zip(tokens).enumerate() {
                if requests > tokens {
                    return Err(DraftError::MoreRequestsThanTokens { rank, requests, tokens }.into());
                }
            }
        }
        Ok(Self {
            forwards,
            first: tokens.to_vec(),
            later: requests.map(<[u64]>::to_vec),
        })
    }

    /// Forwards that every rank runs.
    pub fn forwards(&self) -> u64 {
        self.forwards
    }

    /// The counts of a forward, counted from 0.
    pub fn counts(&self, forward: u64) -> &[u64] {
        match &self.later {
            Some(later) if forward > 0 => later,
            _ => &self.first,
        }
    }
}

/// Whether a step speculates: every rank that has tokens is for it. An idle rank has no say.
///
/// ```
/// use tilewright_dp::plan::speculates;
///
/// assert_eq!(speculates(&[true, false, true], &[2, 0, 1]), Ok(true));
/// assert_eq!(speculates(&[true, false, true], &[2, 9, 1]), Ok(false));
/// ```
///
/// # Errors
/// The lists are of unlike length.
pub fn speculates(flags: &[bool], tokens: &[u64]) -> Result<bool, PlanError> {
    check_lists(tokens, "flags", flags.len())?;
    Ok(flags.iter().zip(tokens).all(|(&flag, &tokens)| flag || tokens == 0))
}

/// The counts that one model plans with: all, or with an all-to-all of its own, which takes counts on the device, the
/// local rank's. Target and draft each ask for themselves.
///
/// ```
/// use tilewright_dp::plan::model_counts;
///
/// assert_eq!(model_counts(&[2, 0, 3], 0, true)?, [2]);
/// assert_eq!(model_counts(&[2, 0, 3], 0, false)?, [2, 0, 3]);
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
///
/// # Errors
/// There is no such rank.
pub fn model_counts(counts: &[u64], rank: usize, all_to_all: bool) -> Result<&[u64], PlanError> {
    let own = counts
        .get(rank..)
        .and_then(|counts| counts.get(..1))
        .ok_or(PlanError::NoSuchRank {
            rank: rank as u64,
            ranks: counts.len() as u64,
        })?;
    Ok(if all_to_all { own } else { counts })
}

fn check_lists(tokens: &[u64], what: &'static str, others: usize) -> Result<(), DraftError> {
    match tokens.len() == others {
        true => Ok(()),
        false => Err(DraftError::UnlikeLists {
            tokens: tokens.len(),
            what,
            others,
        }),
    }
}
