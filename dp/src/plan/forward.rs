//! What a rank runs in a step, and how many tokens each of its requests has then.

use std::fmt;

use super::{Profile, Speculation};

/// What a rank runs in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardMode {
    /// Nothing of its own; it takes part in what the others do.
    Idle,
    /// One token for every running request.
    Decode,
    /// Prompts, or what their prefix does not hold.
    Extend,
    /// Prompts, and a token for every running request.
    Mixed,
    /// One step of the draft model, for every branch of every request.
    DraftDecode,
    /// The target model over all drafted tokens.
    TargetVerify,
    /// The draft model over what was accepted.
    DraftExtend,
}

/// Rows per request of one forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Width {
    /// Tokens: [`Request::coef`](super::Request::coef).
    pub tokens: u64,
    /// Rows at the logits stage: [`Request::coef_lp`](super::Request::coef_lp).
    pub logprob: u64,
}

impl ForwardMode {
    /// Whether it computes prompts, whose counts are tokens and not requests.
    pub const fn is_extend(self) -> bool {
        matches!(self, Self::Extend | Self::Mixed)
    }

    /// Whether a rank that runs it votes for a graph.
    pub const fn votes_for_graph(self) -> bool {
        !self.is_extend()
    }

    /// The widths of this forward (SGLang: `get_spec_adjust_token_coefficient`). `None` if it is speculative and there is no
    /// speculation.
    ///
    /// Pull request 8277 gave draft-extend one row of logits per request; after 9136 it has as many tokens and rows as a
    /// verification.
    ///
    /// ```
    /// use tilewright_dp::plan::{ForwardMode, Profile, Speculation, Width};
    ///
    /// let eagle = Some(Speculation::new(1, 3, 4)?);
    /// let width = |profile| ForwardMode::DraftExtend.width(profile, eagle);
    /// assert_eq!(width(Profile::Base8277), Some(Width { tokens: 4, logprob: 4 }));
    /// assert_eq!(width(Profile::Pr8277), Some(Width { tokens: 4, logprob: 1 }));
    /// # Ok::<(), tilewright_dp::plan::PlanError>(())
    /// ```
    pub fn width(self, profile: Profile, speculation: Option<Speculation>) -> Option<Width> {
        let equal = |tokens| Width {
            tokens,
            logprob: tokens,
        };
        Some(match self {
            Self::Idle | Self::Decode | Self::Extend | Self::Mixed => equal(1),
            Self::DraftDecode => equal(speculation?.topk()),
            Self::TargetVerify => equal(speculation?.draft_tokens()),
            Self::DraftExtend => {
                let speculation = speculation?;
                let accepted_at_most = speculation.steps() + 1;
                match profile {
                    Profile::Base8277 => equal(accepted_at_most),
                    Profile::Pr8277 | Profile::Pr8280 | Profile::Pr9136 => Width {
                        tokens: accepted_at_most,
                        logprob: 1,
                    },
                    Profile::Pr10414 | Profile::Pr20406 | Profile::Main202609 | Profile::Main202611 => {
                        equal(speculation.draft_tokens())
                    }
                }
            }
        })
    }
}

impl fmt::Display for ForwardMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Decode => "decode",
            Self::Extend => "extend",
            Self::Mixed => "mixed",
            Self::DraftDecode => "draft decode",
            Self::TargetVerify => "target verify",
            Self::DraftExtend => "draft extend",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_speculative_forwards_have_widths_over_one() {
        let eagle = Speculation::new(2, 3, 8).unwrap();
        let width = |tokens, logprob| Some(Width { tokens, logprob });
        for profile in Profile::ALL {
            for forward in [
                ForwardMode::Idle,
                ForwardMode::Decode,
                ForwardMode::Extend,
                ForwardMode::Mixed,
            ] {
                assert_eq!(forward.width(profile, None), width(1, 1));
                assert_eq!(forward.width(profile, Some(eagle)), width(1, 1));
            }
            assert_eq!(ForwardMode::DraftDecode.width(profile, Some(eagle)), width(2, 2));
            assert_eq!(ForwardMode::TargetVerify.width(profile, Some(eagle)), width(8, 8));
            assert_eq!(ForwardMode::TargetVerify.width(profile, None), None);
        }
        let draft_extend = Profile::ALL.map(|profile| ForwardMode::DraftExtend.width(profile, Some(eagle)));
        let expected = [(4, 4), (4, 1), (4, 1), (4, 1), (8, 8), (8, 8), (8, 8), (8, 8)];
        assert_eq!(draft_extend, expected.map(|(tokens, logprob)| width(tokens, logprob)));
    }
}
