//! The exchange of a step.

use super::super::CollectiveError;
use super::Agreement;
use crate::plan::exchange::{ExchangeError, Packed, Table};

/// The exchange of a step has no result.
#[derive(Debug, thiserror::Error)]
pub enum StepExchangeError {
    /// What ranks told contradicts itself.
    #[error(transparent)]
    Told(#[from] ExchangeError),
    /// Ranks did not hear of each other.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
}

impl Agreement {
    /// Shows what this rank tells to all and reads what they tell: the one exchange of the step. One rank alone sends
    /// nothing. What the exchange delivers for `dead` ranks is not looked at, and one that waits for them fails; all ranks
    /// have to know the same ones dead. [`exchange`](crate::plan::exchange) has an example.
    ///
    /// # Errors
    /// A rank is gone or late, uses another form, or tells what contradicts itself.
    pub fn tell<P: Packed>(&self, mine: &P, dead: &[usize]) -> Result<Table<P>, StepExchangeError> {
        let words = mine.words();
        if self.exchange().size() == 1 {
            return Ok(Table::decode(&[words], dead)?);
        }
        // What is wrong is sent nevertheless: every rank refuses it then, and none is left waiting.
        let sent: Vec<_> = [P::NUMBER].into_iter().chain(words).collect();
        let all = self.exchange_step(&sent, dead)?;
        let untagged = |(rank, words): (usize, Vec<u64>)| match words.split_first() {
            Some((&number, words)) if number == P::NUMBER => Ok(words.to_vec()),
            _ if dead.contains(&rank) => Ok(Vec::new()),
            _ => Err(ExchangeError::OtherForm { rank, form: P::NAME }),
        };
        let vectors = all
            .into_iter()
            .enumerate()
            .map(untagged)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Table::decode(&vectors, dead)?)
    }
}
