//! The versions of SGLang whose rules the planner follows.

use std::fmt;
use std::str::FromStr;

use super::exchange::{Packed, Sglang8};
use super::{PlanError, Topology};

/// A version's set of rules, in the order of time: a rule that came with a version holds from it on, so rules compare
/// profiles with `<` and `>=`.
///
/// ```
/// use tilewright_dp::plan::Profile;
///
/// assert_eq!("pr-8277".parse(), Ok(Profile::Pr8277));
/// assert_eq!(Profile::default().to_string(), "main-2026-11");
/// assert!(Profile::Pr8277 < Profile::Pr8280);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum Profile {
    /// What pull request 8277 started from: every forward allocates a packed buffer, graph or not.
    #[serde(rename = "base-8277")]
    Base8277,
    /// Pull request 8277, "Reduce the memory usage of gathered buffer in DP attention": a graph allocates none, and
    /// draft-extend computes logits for one row per request.
    #[serde(rename = "pr-8277")]
    Pr8277,
    /// Pull request 8280, which merged 8276 to 8279: `MAX` by cost, alignment to attention TP, every batch padded, graph
    /// buckets by the longest rank.
    #[serde(rename = "pr-8280")]
    Pr8280,
    /// Pull request 9136 with 8343 and 8723: reduce-scatter, the logits stage sized by its own rows, decode requests
    /// padded with their tokens. Buffers as before.
    #[serde(rename = "pr-9136")]
    Pr9136,
    /// Pull request 10414 with 12115: a step in which any rank prefills is `SUM`.
    #[serde(rename = "pr-10414")]
    Pr10414,
    /// Pull request 20406: a single rank that prefills may be `MAX`, and a tie is `MAX`.
    #[serde(rename = "pr-20406")]
    Pr20406,
    /// The main branch of September 2026: alignment to context parallelism, exceptions for hybrid models, all-to-all
    /// back ends, elastic ranks and prefill graphs.
    #[serde(rename = "main-2026-09")]
    Main202609,
    /// The main branch of November 2026: alignment to attention TP alone, an all-reduce only where an elastic world's
    /// counts are uneven, prefill graphs refused where a rank is idle.
    #[default]
    #[serde(rename = "main-2026-11")]
    Main202611,
}

impl Profile {
    /// Every profile, oldest first.
    pub const ALL: [Self; 8] = [
        Self::Base8277,
        Self::Pr8277,
        Self::Pr8280,
        Self::Pr9136,
        Self::Pr10414,
        Self::Pr20406,
        Self::Main202609,
        Self::Main202611,
    ];

    /// The name in requests, in plans and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base8277 => "base-8277",
            Self::Pr8277 => "pr-8277",
            Self::Pr8280 => "pr-8280",
            Self::Pr9136 => "pr-9136",
            Self::Pr10414 => "pr-10414",
            Self::Pr20406 => "pr-20406",
            Self::Main202609 => "main-2026-09",
            Self::Main202611 => "main-2026-11",
        }
    }

    /// Whether context parallelism changes what every rank's rows are a multiple of. Later it is the part that is aligned.
    pub(super) fn aligns_to_context(self) -> bool {
        self == Self::Main202609
    }

    /// What of an alignment to context parallelism the profile has.
    pub(super) fn context_alignment(self, multiple: u64) -> u64 {
        if self.aligns_to_context() { multiple } else { 1 }
    }

    /// Bytes that the schedulers of all GPUs exchange before a step: six 64-bit numbers each, eight from `main-2026-11` on,
    /// where a single data-parallel rank exchanges nothing.
    pub fn exchanged_bytes(self, topology: &Topology) -> u64 {
        self.exchanged_by(topology.tp(), topology.dp())
    }

    /// The same of so many GPUs in `dp` ranks.
    pub(super) fn exchanged_by(self, gpus: u64, dp: u64) -> u64 {
        match self {
            Self::Main202611 if dp == 1 => 0,
            _ => gpus.saturating_mul(self.exchanged_numbers() * 8),
        }
    }

    /// Numbers of 64 bits that a GPU sends.
    pub(super) fn exchanged_numbers(self) -> u64 {
        if self < Self::Main202611 {
            6
        } else {
            Sglang8::COLUMNS.len() as u64
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = PlanError;

    fn from_str(name: &str) -> Result<Self, PlanError> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| PlanError::UnknownProfile { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_one_name_everywhere() {
        for profile in Profile::ALL {
            let json = format!("\"{profile}\"");
            assert_eq!(profile.name().parse(), Ok(profile));
            assert_eq!(serde_json::to_string(&profile).unwrap(), json);
            assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
        }
        assert!(Profile::ALL.is_sorted());
    }

    #[test]
    fn section_9_eight_numbers_are_exchanged_and_none_by_a_rank_alone() {
        let (two, one) = (Topology::new(4, 2).unwrap(), Topology::new(4, 1).unwrap());
        for profile in Profile::ALL {
            let newest = profile == Profile::Main202611;
            assert_eq!(profile.exchanged_bytes(&two), if newest { 256 } else { 192 });
            assert_eq!(profile.exchanged_bytes(&one), if newest { 0 } else { 192 });
        }
    }

    #[test]
    fn an_unknown_profile_is_told_the_valid_ones() {
        let error = "pr-1".parse::<Profile>().unwrap_err().to_string();
        let json = serde_json::from_str::<Profile>("\"pr-1\"").unwrap_err().to_string();
        for profile in Profile::ALL {
            assert!(
                error.contains(profile.name()) && json.contains(profile.name()),
                "{error}\n{json}"
            );
        }
    }
}
