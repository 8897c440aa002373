//! The forms of the exchange: which words a rank sends, and how all ranks' words become one.

use super::super::{MAX_RANKS, MAX_ROWS};
use super::ExchangeError;
use crate::collective::Exchange;

/// How one word of every rank becomes what all conclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Every rank's own is kept.
    List,
    /// The smallest: a vote that every rank has to give.
    Smallest,
    /// The largest: a vote that one rank can give.
    Largest,
}

/// One word of the vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// How it is reduced.
    pub reduction: Reduction,
    /// What stands for a rank that is dead.
    pub dead: u64,
    /// The largest value that a living rank sends.
    pub largest: u64,
}

const fn column(name: &'static str, reduction: Reduction, dead: u64, largest: u64) -> Column {
    Column {
        name,
        reduction,
        dead,
        largest,
    }
}

const COUNT: u64 = u32::MAX as u64;
/// Stands for a dead rank where the smallest decides.
const NEUTRAL: u64 = i32::MAX as u64;

/// Whose exchange it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Form {
    /// vLLM, first runner: four words.
    #[serde(rename = "vllm4")]
    Vllm4,
    /// SGLang from `main-2026-11` on: eight words.
    #[serde(rename = "sglang8")]
    Sglang8,
}

impl Form {
    /// The name in requests and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm4 => "vllm4",
            Self::Sglang8 => "sglang8",
        }
    }

    /// What a rank sends, in order.
    pub const fn columns(self) -> &'static [Column] {
        use Reduction::{Largest, List, Smallest};
        const VLLM4: &[Column] = &[
            column("tokens", List, NEUTRAL, COUNT),
            column("padded", List, 0, COUNT),
            column("vote", Smallest, 1, 1),
            column("mode", Smallest, NEUTRAL, 2),
        ];
        const SGLANG8: &[Column] = &[
            column("num_tokens", List, 0, COUNT),
            column("num_tokens_for_logprob", List, 0, COUNT),
            column("can_run_decode_cuda_graph", Smallest, 1, 1),
            column("is_extend_in_batch", Largest, 0, 1),
            column("local_can_run_tbo", Smallest, 1, 1),
            column("local_forward_mode", List, IDLE, COUNT),
            column("can_run_prefill_cuda_graph", Smallest, 0, 1),
            column("prefill_cuda_graph_max_prefix_len", Largest, 0, COUNT),
        ];
        match self {
            Self::Vllm4 => VLLM4,
            Self::Sglang8 => SGLANG8,
        }
    }

    /// A rank's words, checked: as many as the form has, none over its column's largest.
    ///
    /// # Errors
    /// The vector is of another form, or a value is too large.
    pub fn encode(self, rank: usize, words: &[u64]) -> Result<Vec<u64>, ExchangeError> {
        self.check(rank, words)?;
        Ok(words.to_vec())
    }

    /// Shows this rank's words to all and reads everybody's: the one exchange of the step.
    ///
    /// # Errors
    /// A rank is gone or late, or sent what this form has not.
    pub fn exchange(self, exchange: &dyn Exchange, words: &[u64]) -> Result<Table, ExchangeError> {
        let own = self.encode(exchange.rank(), words)?;
        Table::decode(self, &exchange.all_gather(&own)?, &[])
    }

    fn check(self, rank: usize, words: &[u64]) -> Result<(), ExchangeError> {
        let columns = self.columns();
        if words.len() != columns.len() {
            return Err(ExchangeError::WrongLength {
                rank,
                words: words.len(),
                columns: columns.len(),
            });
        }
        for (column, &value) in columns.iter().zip(words) {
            if value > column.largest {
                let (name, largest) = (column.name, column.largest);
                return Err(ExchangeError::TooLarge {
                    column: name,
                    rank,
                    value,
                    largest,
                });
            }
        }
        if self == Self::Vllm4 && words[1] < words[0] {
            return Err(ExchangeError::PaddedBelowTokens {
                rank,
                tokens: words[0],
                padded: words[1],
            });
        }
        Ok(())
    }
}

/// How SGLang numbers the forward mode of a rank without tokens.
pub(super) const IDLE: u64 = 4;

/// Everybody's words, one column after the other; the same on every rank.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    form: Form,
    ranks: usize,
    words: Vec<u64>,
}

impl Table {
    /// Reads what every rank sent. The words of dead ranks are not looked at.
    ///
    /// # Errors
    /// A vector is of another form, a value is too large, all ranks are dead or one that is dead does not exist.
    pub fn decode(form: Form, vectors: &[Vec<u64>], dead: &[usize]) -> Result<Self, ExchangeError> {
        let ranks = vectors.len();
        if ranks == 0 || ranks as u64 > MAX_RANKS {
            return Err(ExchangeError::Ranks { ranks });
        }
        if let Some(&rank) = dead.iter().find(|&&rank| rank >= ranks) {
            return Err(ExchangeError::NoSuchRank { rank, ranks });
        }
        let living = (0..ranks).filter(|rank| !dead.contains(rank));
        if living.clone().next().is_none() {
            return Err(ExchangeError::AllDead { ranks });
        }
        living.clone().try_for_each(|rank| form.check(rank, &vectors[rank]))?;
        let columns = form.columns();
        let mut words: Vec<_> = columns
            .iter()
            .flat_map(|column| std::iter::repeat_n(column.dead, ranks))
            .collect();
        for rank in living {
            for (at, &word) in vectors[rank].iter().enumerate() {
                words[at * ranks + rank] = word;
            }
        }
        Ok(Self { form, ranks, words })
    }

    /// Whose exchange it was.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The number of ranks, dead ones too.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// What every rank sent in a column.
    ///
    /// # Errors
    /// The form has no such column.
    pub fn list(&self, name: &'static str) -> Result<&[u64], ExchangeError> {
        let at = self.form.columns().iter().position(|column| column.name == name);
        let at = at.ok_or(ExchangeError::NoSuchColumn {
            form: self.form.name(),
            column: name,
        })?;
        Ok(&self.words[at * self.ranks..][..self.ranks])
    }

    /// The smallest value of a column.
    ///
    /// # Errors
    /// The form has no such column.
    pub fn smallest(&self, name: &'static str) -> Result<u64, ExchangeError> {
        Ok(self.list(name)?.iter().copied().min().unwrap_or(0))
    }

    /// The largest value of a column.
    ///
    /// # Errors
    /// The form has no such column.
    pub fn largest(&self, name: &'static str) -> Result<u64, ExchangeError> {
        Ok(self.list(name)?.iter().copied().max().unwrap_or(0))
    }

    pub(super) fn micro_batches(micro_batches: u64) -> Result<u64, ExchangeError> {
        match micro_batches {
            2..=MAX_ROWS => Ok(micro_batches),
            _ => Err(ExchangeError::MicroBatches { micro_batches }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::collective::ThreadExchange;

    #[test]
    fn every_rank_reads_the_same_table_from_one_exchange() {
        let ranks = ThreadExchange::ranks(3, Duration::from_secs(10)).into_iter();
        let asked: Vec<_> = ranks
            .map(|exchange| {
                thread::spawn(move || {
                    let tokens = [600, 700, 650][exchange.rank()];
                    Form::Vllm4.exchange(&exchange, &[tokens, tokens, 1, 2]).unwrap()
                })
            })
            .collect();
        let tables: Vec<_> = asked.into_iter().map(|rank| rank.join().unwrap()).collect();
        assert!(tables.iter().all(|table| *table == tables[0]));
        assert_eq!(tables[0].list("tokens").unwrap(), [600, 700, 650]);
        assert!(tables[0].agree_sglang8().is_err());
    }
}
