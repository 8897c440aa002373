//! Whether all ranks ask for the same.

mod asked;
mod shapes;
mod step;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{CollectiveError, Exchange, RequestedCollective};
use asked::Asked;
use shapes::Shapes;

pub use step::StepExchangeError;

/// What is shown, ahead of what a rank has asked for so far.
const REQUEST: u64 = 1;
const STEP: u64 = 2;
const HISTORY: u64 = 3;
const LEAVE: u64 = 4;
const LATE: u64 = 5;
const FINISH: u64 = 6;

/// How long a rank whose collective is late waits for the others to say why.
const EXPLAIN: Duration = Duration::from_secs(1);

/// Compares on the host what the ranks of a group ask for. A collective between GPUs whose sizes differ hangs, or mixes up
/// rows.
///
/// * Ranks that exchange what they plan a step from, by [`tell`](Self::tell) or [`exchange_step`](Self::exchange_step), have
///   agreed with it on all that follows: their collectives cost no exchange of their own, however many shapes there are.
/// * Before the first step, a shape is compared when it is first asked for, and costs one look-up afterwards. The latest
///   shapes are remembered, the same on every rank.
///
/// Every exchange also compares all that was asked for since the one before. So what a rank asks for against the others is an
/// error at the next exchange, if not at once, and the error names what differs; the collective itself may hang until the
/// group's time is over.
pub struct Agreement {
    exchange: Arc<dyn Exchange>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shapes: Shapes,
    asked: Asked,
    /// Whether what is asked for follows from what the ranks exchange.
    is_in_steps: bool,
}

impl Agreement {
    /// Nothing is agreed on yet.
    pub fn new(exchange: Arc<dyn Exchange>) -> Self {
        Self {
            exchange,
            state: Mutex::default(),
        }
    }

    /// The exchange that ranks compare through.
    pub fn exchange(&self) -> &dyn Exchange {
        &*self.exchange
    }

    /// Makes sure that all ranks ask for the same.
    ///
    /// ```
    /// use std::{sync::Arc, thread, time::Duration};
    /// use tilewright_dp::collective::{Agreement, CollectiveError, Operation, RequestedCollective, ThreadExchange};
    /// use tilewright_dsl::element::ElementType;
    ///
    /// let ask = |exchange, rows| {
    ///     Agreement::new(Arc::new(exchange)).on(&RequestedCollective {
    ///         operation: Operation::AllGather,
    ///         element: ElementType::BF16,
    ///         rows,
    ///         columns: 7168,
    ///         parts: vec![8, 8],
    ///         starts: Vec::new(),
    ///     })
    /// };
    /// let mut ranks = ThreadExchange::ranks(2, Duration::from_secs(10)).unwrap().into_iter();
    /// let (one, other) = (ranks.next().unwrap(), ranks.next().unwrap());
    /// let asked = thread::spawn(move || ask(other, 20));
    /// for error in [ask(one, 16).unwrap_err(), asked.join().unwrap().unwrap_err()] {
    ///     assert!(matches!(error, CollectiveError::Disagreement { .. }), "{error}");
    /// }
    /// ```
    ///
    /// # Errors
    /// A rank asks or has asked for something else, is gone or late.
    pub fn on(&self, request: &RequestedCollective) -> Result<(), CollectiveError> {
        let mut state = self.state.lock();
        if !state.is_in_steps && !state.shapes.contains(request) && self.exchange.size() > 1 {
            self.compare_with(&state.asked, request)?;
            state.shapes.insert(request.clone());
        }
        state.asked.push(request);
        Ok(())
    }

    /// Makes sure that all ranks are about to ask for this, whatever else is agreed on.
    ///
    /// # Errors
    /// As for [`on`](Self::on).
    pub(super) fn compare(&self, request: &RequestedCollective) -> Result<(), CollectiveError> {
        self.compare_with(&self.state.lock().asked, request)
    }

    fn compare_with(&self, asked: &Asked, request: &RequestedCollective) -> Result<(), CollectiveError> {
        let all = self.meet(asked, REQUEST, &request.words(), &[])?;
        let all = all.iter().map(|words| RequestedCollective::from_words(words));
        request.compare(self.exchange.rank(), all)
    }

    /// Shows all ranks what this one plans the step from, and returns what each shows: the one exchange of a step. All that
    /// is asked for from now on has to follow from that and from the configuration. What the exchange delivers for `dead`
    /// ranks is returned without a look; one that waits for them fails.
    ///
    /// # Errors
    /// A rank is gone or late, or has asked for something else than this one since the last exchange.
    pub fn exchange_step(&self, words: &[u64], dead: &[usize]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let mut state = self.state.lock();
        let all = self.meet(&state.asked, STEP, words, dead)?;
        state.is_in_steps = true;
        Ok(all)
    }

    /// Waits until all ranks leave.
    ///
    /// # Errors
    /// A rank is gone or late, or asks or has asked for something else.
    #[cfg(feature = "nccl")]
    pub(super) fn leave(&self) -> Result<(), CollectiveError> {
        self.meet(&self.state.lock().asked, LEAVE, &[], &[]).map(drop)
    }

    /// Why a collective has failed or did not come to its end, as far as the others know: what ranks asked for differently, or
    /// which one is gone. That is the end of the group.
    #[cfg(any(test, feature = "nccl"))]
    pub(super) fn explain(&self, error: CollectiveError) -> CollectiveError {
        self.explain_within(error, self.soon())
    }

    /// How long ranks wait for each other that have all waited already.
    pub(super) fn soon(&self) -> Duration {
        EXPLAIN.min(self.exchange.limit() / 8)
    }

    /// As [`explain`](Self::explain), where the others may come to this as late as that.
    pub(super) fn explain_within(&self, error: CollectiveError, limit: Duration) -> CollectiveError {
        let shown = self.show(&self.state.lock().asked, LATE, &[], &[], limit);
        shown.err().unwrap_or(error)
    }

    /// Ends what was asked for, well or with an error: well on all ranks or on none. What ranks of a part of the group found may
    /// have come of what went wrong in another.
    pub(super) fn conclude(&self, done: Result<(), CollectiveError>) -> Result<(), CollectiveError> {
        let Err(found) = done else {
            return self.meet(&self.state.lock().asked, FINISH, &[], &[]).map(drop);
        };
        // Others may be as late again as this rank was in its part of the group.
        let limit = self.soon().saturating_mul(2);
        Err(match self.explain_within(found.clone(), limit) {
            // Of who is merely late, the part has said more.
            CollectiveError::Late { .. } | CollectiveError::Failed { .. } => found,
            explained => explained,
        })
    }

    /// What is asked for from now on follows from the steps of a larger group, which this one's ranks are all of: the GPUs of
    /// one rank need no exchange beside that of all ranks. Every rank of the group has to say so at the same point.
    pub fn follow_steps(&self) {
        self.state.lock().is_in_steps = true;
    }

    /// Shows all ranks words of a kind, which all living ones show.
    fn meet(&self, asked: &Asked, kind: u64, words: &[u64], dead: &[usize]) -> Result<Vec<Vec<u64>>, CollectiveError> {
        let rank = self.exchange.rank();
        let alike = |(other, (theirs, shown)): (usize, (u64, Vec<u64>))| match theirs {
            theirs if theirs == kind || dead.contains(&other) => Ok(shown),
            theirs => Err(CollectiveError::Disagreement {
                rank,
                mine: name_of(kind, words),
                other,
                theirs: name_of(theirs, &shown),
            }),
        };
        let shown = self.show(asked, kind, words, dead, self.exchange.limit())?;
        shown.into_iter().enumerate().map(alike).collect()
    }

    /// Shows all ranks words of a kind, and compares what they have asked for so far.
    fn show(
        &self,
        asked: &Asked,
        kind: u64,
        words: &[u64],
        dead: &[usize],
        limit: Duration,
    ) -> Result<Vec<(u64, Vec<u64>)>, CollectiveError> {
        let sent: Vec<_> = [kind, asked.fingerprint()]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let all = self.exchange.all_gather_within(&sent, limit)?;
        let split = |words: &Vec<u64>| match words.split_first_chunk() {
            Some((&[kind, fingerprint], words)) => (kind, fingerprint, words.to_vec()),
            None => (0, 0, words.clone()),
        };
        let all: Vec<_> = all.iter().map(split).collect();
        let is_living = |rank: &usize| !dead.contains(rank);
        // All see the same, so all go on to look for it or none does.
        let differs =
            |(rank, shown): (usize, &(u64, u64, Vec<u64>))| is_living(&rank) && shown.1 != asked.fingerprint();
        if all.iter().enumerate().any(differs) {
            return Err(self.difference(asked, &is_living));
        }
        Ok(all.into_iter().map(|(kind, _, words)| (kind, words)).collect())
    }

    /// What ranks whose requests so far differ have first asked for differently.
    fn difference(&self, asked: &Asked, is_living: &dyn Fn(&usize) -> bool) -> CollectiveError {
        let rank = self.exchange.rank();
        let found = self.exchange.all_gather(&asked.marks()).and_then(|all| {
            let marks = all.iter().enumerate().filter(|(rank, _)| is_living(rank));
            let number = asked::first_difference(marks.map(|(_, marks)| marks.as_slice()));
            let mine = number.and_then(|number| asked.get(number));
            let words = mine.map_or(Vec::new(), RequestedCollective::words);
            let sent: Vec<_> = [HISTORY].into_iter().chain(words).collect();
            Ok((mine, self.exchange.all_gather(&sent)?))
        });
        let (mine, all) = match found {
            Ok(found) => found,
            Err(error) => return error,
        };
        let theirs = |words: &Vec<u64>| {
            words
                .split_first()
                .and_then(|(_, words)| RequestedCollective::from_words(words))
        };
        let all = all.iter().map(theirs).enumerate().filter(|(rank, _)| is_living(rank));
        let name = |request: Option<&RequestedCollective>| request.map_or("nothing".to_owned(), ToString::to_string);
        match all.into_iter().find(|(_, theirs)| theirs.as_ref() != mine) {
            Some((other, theirs)) => CollectiveError::Disagreement {
                rank,
                mine: name(mine),
                other,
                theirs: name(theirs.as_ref()),
            },
            None => CollectiveError::Diverged {
                rank,
                remembered: asked::REMEMBERED,
            },
        }
    }
}

/// What a rank that shows this asks for.
fn name_of(kind: u64, words: &[u64]) -> String {
    match (kind, RequestedCollective::from_words(words)) {
        (REQUEST, Some(request)) => request.to_string(),
        (STEP, _) => "the exchange of a step".to_owned(),
        (LEAVE, _) => "leaving".to_owned(),
        (FINISH, _) => "the end of what was asked for".to_owned(),
        (LATE, _) => "the end of a collective that is late".to_owned(),
        _ => "something else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use tilewright_dsl::element::ElementType;

    use super::super::{Operation, ThreadExchange};
    use super::*;

    fn shape(rows: u64) -> RequestedCollective {
        RequestedCollective {
            operation: Operation::AllGather,
            element: ElementType::BF16,
            rows,
            columns: 7168,
            parts: vec![rows],
            starts: Vec::new(),
        }
    }

    /// In mode SUM every step has another shape.
    #[test]
    fn steps_with_ever_new_shapes_leave_nothing_behind() {
        let exchange = ThreadExchange::ranks(1, Duration::ZERO).unwrap().remove(0);
        let agreement = Agreement::new(Arc::new(exchange));
        for step in 0..50_000 {
            agreement.exchange_step(&[step], &[]).unwrap();
            agreement.on(&shape(step)).unwrap();
        }
        let state = agreement.state.lock();
        assert!(!state.shapes.contains(&shape(49_999)));
        assert_eq!(state.asked.marks().len(), asked::REMEMBERED + 1);
    }

    const LIMIT: Duration = Duration::from_secs(8);

    fn on_two<R: Send>(run: impl Fn(usize, Agreement) -> R + Sync) -> Vec<R> {
        let run = &run;
        thread::scope(|scope| {
            let ranks = ThreadExchange::ranks(2, LIMIT).unwrap().into_iter().enumerate();
            let rank = |(rank, exchange)| scope.spawn(move || run(rank, Agreement::new(Arc::new(exchange))));
            let ranks: Vec<_> = ranks.map(rank).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    fn unfinished(rank: usize) -> CollectiveError {
        CollectiveError::Unfinished { rank, limit: LIMIT }
    }

    /// GPUs that were asked for different sizes hang; their ranks find out why.
    #[test]
    fn collectives_that_hang_because_they_differ_are_named() {
        let errors = on_two(|rank, agreement| {
            agreement.exchange_step(&[], &[]).unwrap();
            agreement.on(&shape(5)).unwrap();
            agreement.on(&shape(7 + rank as u64)).unwrap();
            agreement.explain(unfinished(rank)).to_string()
        });
        let expected = format!("rank 0 asks for {} and rank 1 for {}", shape(7), shape(8));
        assert!(errors[0].starts_with(&expected), "{errors:?}");
    }

    #[test]
    fn a_late_collective_is_an_error_for_ranks_that_go_on() {
        let errors = on_two(|rank, agreement| match rank {
            0 => agreement.explain(unfinished(rank)).to_string(),
            _ => agreement.exchange_step(&[], &[]).unwrap_err().to_string(),
        });
        assert_eq!(errors[0], unfinished(0).to_string());
        assert!(
            errors[1].contains("rank 0 for the end of a collective that is late"),
            "{errors:?}"
        );
    }

    #[test]
    fn a_rank_that_is_gone_or_hangs_is_named_soon() {
        let began = Instant::now();
        let errors = on_two(|rank, agreement| (rank == 0).then(|| agreement.explain(unfinished(rank))));
        assert!(
            matches!(errors[0], Some(CollectiveError::Gone { gone: 1 })),
            "{errors:?}"
        );
        let errors = on_two(|rank, agreement| match rank {
            0 => Some(agreement.explain(unfinished(rank))),
            _ => {
                thread::sleep(LIMIT / 4);
                None
            }
        });
        assert!(
            matches!(&errors[0], Some(CollectiveError::Late { missing, .. }) if missing == &[1]),
            "{errors:?}"
        );
        assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    }
}
