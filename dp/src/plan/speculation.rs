//! The widths of speculative decoding.

use super::PlanError;

/// The largest width of speculative decoding: branches, draft steps or draft tokens. A step runs a forward for every draft
/// step, so this also bounds the forwards of a step.
pub const MAX_SPECULATION: u64 = 256;

/// The widths of speculative decoding, per request. Those that contradict one another cannot be made.
///
/// A verification checks the last token that is certain and what was drafted after it. One branch drafts a token in every
/// step, so there the draft tokens are the steps and one more: SGLang sets them so whatever was asked for
/// (`_handle_eagle_family` of its server arguments), and here others are refused. Several branches draft a tree, `topk`
/// tokens in the first step and `topk` × `topk` in every other, of which the likeliest are verified
/// (`organize_draft_results`): any number up to all of them, so also fewer than steps.
///
/// ```
/// use tilewright_dp::plan::Speculation;
///
/// let chain = Speculation::new(1, 3, 4)?;
/// assert_eq!((chain.topk(), chain.steps(), chain.draft_tokens(), chain.accepted_at_most()), (1, 3, 4, 3));
/// assert_eq!(
///     Speculation::new(1, 4, 4).unwrap_err().to_string(),
///     "1 branch of 4 draft steps has 5 draft tokens, not 4: one from each step, after the one that is certain"
/// );
/// // Of a tree of five levels three tokens are verified: the one that is certain and two drafted ones.
/// assert_eq!(Speculation::new(4, 5, 3)?.accepted_at_most(), 2);
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Speculation {
    topk: u64,
    steps: u64,
    draft_tokens: u64,
}

impl Speculation {
    /// Speculation with `topk` branches of a draft step (`speculative_eagle_topk`), so many draft `steps`
    /// (`speculative_num_steps`), and so many `draft_tokens` that a verification checks
    /// (`speculative_num_draft_tokens`).
    ///
    /// # Errors
    /// A width is 0 or over [`MAX_SPECULATION`], or they contradict one another.
    pub fn new(topk: u64, steps: u64, draft_tokens: u64) -> Result<Self, PlanError> {
        for (field, value) in [("topk", topk), ("steps", steps), ("draft_tokens", draft_tokens)] {
            match value {
                0 => return Err(PlanError::Zero { field }),
                1..=MAX_SPECULATION => {}
                _ => return Err(PlanError::WidthTooLarge { field, value }),
            }
        }
        // The widths are small, so nothing here overflows.
        let drafted = topk + (steps - 1) * topk * topk;
        if topk == 1 && draft_tokens != steps + 1 {
            return Err(PlanError::ChainWidths { steps, draft_tokens });
        }
        if draft_tokens > drafted + 1 {
            return Err(PlanError::TreeWidths {
                topk,
                steps,
                draft_tokens,
                drafted,
            });
        }
        Ok(Self {
            topk,
            steps,
            draft_tokens,
        })
    }

    /// Branches of a draft step.
    pub const fn topk(self) -> u64 {
        self.topk
    }

    /// Draft steps.
    pub const fn steps(self) -> u64 {
        self.steps
    }

    /// Tokens that a verification checks, the one that is certain among them.
    pub const fn draft_tokens(self) -> u64 {
        self.draft_tokens
    }

    /// The most drafted tokens that a verification can accept. They lie on one path, which has at most one of each step,
    /// and are among those that were verified.
    pub const fn accepted_at_most(self) -> u64 {
        let drafts = self.draft_tokens - 1;
        if drafts < self.steps { drafts } else { self.steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_branch_has_a_draft_token_for_each_step_and_one_more() {
        for steps in 1..MAX_SPECULATION {
            let chain = Speculation::new(1, steps, steps + 1).unwrap();
            assert_eq!(chain.accepted_at_most(), steps);
            for draft_tokens in [1, steps, steps + 2] {
                assert!(
                    Speculation::new(1, steps, draft_tokens).is_err(),
                    "{steps} {draft_tokens}"
                );
            }
        }
    }

    #[test]
    fn a_tree_has_no_more_tokens_than_were_drafted() {
        assert!(Speculation::new(2, 1, 3).is_ok());
        assert_eq!(
            Speculation::new(2, 1, 4).unwrap_err().to_string(),
            "2 branches draft 2 tokens in 1 step, so with the one that is certain at most 3 can be verified, not 4"
        );
        assert!(Speculation::new(2, 3, 11).is_ok());
        assert!(Speculation::new(2, 3, 12).is_err());
    }

    #[test]
    fn a_width_is_at_least_one_and_not_huge() {
        for (widths, field) in [([0, 1, 2], "topk"), ([1, 0, 1], "steps"), ([2, 1, 0], "draft_tokens")] {
            let [topk, steps, draft_tokens] = widths;
            assert_eq!(
                Speculation::new(topk, steps, draft_tokens),
                Err(PlanError::Zero { field })
            );
        }
        for (widths, field) in [
            ([u64::MAX, 3, 4], "topk"),
            ([1, u64::MAX, 4], "steps"),
            ([1, 3, MAX_SPECULATION + 1], "draft_tokens"),
        ] {
            let [topk, steps, draft_tokens] = widths;
            let error = Speculation::new(topk, steps, draft_tokens).unwrap_err();
            assert!(
                matches!(error, PlanError::WidthTooLarge { field: found, .. } if found == field),
                "{error}"
            );
        }
        let most = MAX_SPECULATION;
        assert_eq!(Speculation::new(most, most, most).unwrap().accepted_at_most(), most - 1);
    }
}
