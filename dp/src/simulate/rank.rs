//! What one rank has to do.

use std::collections::VecDeque;

use crate::plan::{ForwardMode, RankStep};
use crate::trace::Request;

/// The requests of one rank. Each method that runs something returns what the rank tells the others, and its token rows.
#[derive(Debug, Clone)]
pub(super) struct Rank {
    prompts: VecDeque<Prompt>,
    /// For every running request, the tokens still to decode: at least one.
    running: Vec<u64>,
    /// The most running requests.
    limit: usize,
}

#[derive(Debug, Clone)]
struct Prompt {
    context: u64,
    generated: u64,
}

impl Rank {
    /// A rank that decodes at most so many requests at once.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            prompts: VecDeque::new(),
            running: Vec::new(),
            limit,
        }
    }

    fn has_room(&self) -> bool {
        self.running.len() < self.limit
    }

    pub(super) fn is_idle(&self) -> bool {
        self.prompts.is_empty() && self.running.is_empty()
    }

    pub(super) fn prefills(&self) -> bool {
        !self.prompts.is_empty() && self.has_room()
    }

    /// Whether it has requests that decode, and no prompt that comes first.
    pub(super) fn only_decodes(&self) -> bool {
        !self.running.is_empty() && !self.prefills()
    }

    /// Prompts that are not wholly prefilled.
    pub(super) fn waiting(&self) -> usize {
        self.prompts.len()
    }

    /// Requests that decode.
    pub(super) fn decoding(&self) -> usize {
        self.running.len()
    }

    pub(super) fn admit(&mut self, request: &Request) {
        match (request.context_tokens, request.generated_tokens) {
            (0, 0) => {}
            (0, generated) if self.has_room() => self.running.push(generated),
            (context, generated) => self.prompts.push_back(Prompt { context, generated }),
        }
    }

    /// Lets requests without a prompt decode that had no room so far.
    pub(super) fn promote(&mut self) {
        while self.has_room() && self.prompts.front().is_some_and(|first| first.context == 0) {
            self.running
                .extend(self.prompts.pop_front().map(|first| first.generated));
        }
    }

    /// Prefills up to `chunk` tokens; idle if there are no prompts. Each prompt has one row at the logits stage. The
    /// tokens of each are added to `lengths`.
    pub(super) fn prefill(&mut self, chunk: u64, lengths: &mut Vec<u64>) -> (RankStep, u64) {
        let mut room = chunk;
        while self.running.len() < self.limit {
            let has_tokens = |first: &&mut Prompt| room > 0 && first.context > 0;
            let Some(first) = self.prompts.front_mut().filter(has_tokens) else {
                break;
            };
            let tokens = first.context.min(room);
            first.context -= tokens;
            room -= tokens;
            lengths.push(tokens);
            if first.context == 0 {
                let left = first.generated.saturating_sub(1);
                self.prompts.pop_front();
                self.running.extend((left > 0).then_some(left));
            }
        }
        match chunk - room {
            0 => (RankStep::idle(), 0),
            tokens => (RankStep::prefill(tokens, lengths.len() as u64), tokens),
        }
    }

    /// Decodes one token for each running request.
    pub(super) fn decode(&mut self) -> (RankStep, u64) {
        let step = self.running(ForwardMode::Decode, 1);
        self.running.retain_mut(|left| {
            *left -= 1;
            *left > 0
        });
        step
    }

    /// A forward of `width` tokens for each running request.
    pub(super) fn running(&self, forward: ForwardMode, width: u64) -> (RankStep, u64) {
        match self.running.len() as u64 {
            0 => (RankStep::idle(), 0),
            requests => (RankStep::new(forward, requests), requests.saturating_mul(width)),
        }
    }

    /// The draft-extend after a verification that `accept`s so many drafts of each request, and gives one token more. It
    /// was planned for all requests, and has the tokens of those that are not finished.
    pub(super) fn accept(&mut self, accept: &mut impl FnMut() -> u64) -> (RankStep, u64) {
        let (step, _) = self.running(ForwardMode::DraftExtend, 1);
        let mut tokens = 0;
        self.running.retain_mut(|left| {
            let new = accept() + 1;
            let is_running = new < *left;
            if is_running {
                *left -= new;
                tokens += new;
            }
            is_running
        });
        (step, tokens)
    }
}
