//! What ranks told before a step, as a part of its request, and what follows from it for the plan.

use serde::{Deserialize, Serialize};

use super::super::by_name::by_name;
use super::super::micro::{DualBatch, Micro, Runner};
use super::super::request::scale_one;
use super::super::{Padding, PlanError, Request};
use super::{
    Captured, ExchangeError, GraphMode, Packed, Sglang8, Sglang8Conclusion, Table, TensorRt, TensorRtConclusion, Vllm4,
    Vllm4Conclusion, Vllm6, Vllm6Conclusion, Vllm6Rules,
};

/// A form of the exchange, with the name that it has in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeForm {
    /// vLLM's first runner: [`Vllm4`].
    Vllm4,
    /// Its second: [`Vllm6`].
    Vllm6,
    /// SGLang's: [`Sglang8`].
    Sglang8,
    /// TensorRT-LLM's: [`TensorRt`].
    Trt,
}

impl ExchangeForm {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Vllm4, Self::Vllm6, Self::Sglang8, Self::Trt];

    /// The name in requests and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm4 => Vllm4::NAME,
            Self::Vllm6 => Vllm6::NAME,
            Self::Sglang8 => Sglang8::NAME,
            Self::Trt => TensorRt::NAME,
        }
    }

    /// Numbers that a rank tells.
    pub const fn numbers(self) -> u64 {
        let columns = match self {
            Self::Vllm4 => Vllm4::COLUMNS.len(),
            Self::Vllm6 => Vllm6::COLUMNS.len(),
            Self::Sglang8 => Sglang8::COLUMNS.len(),
            Self::Trt => TensorRt::COLUMNS.len(),
        };
        columns as u64
    }

    /// Bytes that all GPUs send: vLLM's add up tables of 32-bit numbers with a column for every rank, the others gather
    /// their own numbers of 64 bits. A rank alone sends nothing.
    pub const fn exchanged_bytes(self, gpus: u64, dp: u64) -> u64 {
        let of_gpu = match self {
            _ if dp == 1 => 0,
            Self::Vllm4 | Self::Vllm6 => (self.numbers() * 4).saturating_mul(dp),
            Self::Sglang8 | Self::Trt => self.numbers() * 8,
        };
        gpus.saturating_mul(of_gpu)
    }
}

/// What the ranks of a step told each other. In JSON, for vLLM's first runner,
/// `{"form": "vllm4", "words": [[5, 8, 0, 2], [3, 4, 0, 2]]}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Told {
    /// The form.
    pub form: ExchangeForm,
    /// For every rank, one number for each of the form's [columns](Packed::COLUMNS), as it is sent.
    pub words: Vec<Vec<u64>>,
    /// Ranks that are dead, whose words are not looked at.
    #[serde(default)]
    pub dead: Vec<usize>,
}

by_name!(
    Told,
    "what ranks told, an object such as {\"form\": \"vllm4\", \"words\": [[5, 8, 0, 2], [3, 4, 0, 2]]}"
);

/// What all ranks conclude from what they told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum Conclusion {
    /// In vLLM's first runner.
    Vllm4(Vllm4Conclusion),
    /// In its second; nothing if no rank has tokens.
    Vllm6(Option<Vllm6Conclusion>),
    /// In SGLang.
    Sglang8(Sglang8Conclusion),
    /// In TensorRT-LLM.
    Trt(TensorRtConclusion),
}

/// What a plan has of what its ranks told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ToldPlan {
    /// The form.
    pub form: ExchangeForm,
    /// Ranks that are dead.
    pub dead: Vec<usize>,
    /// What all conclude.
    pub concluded: Conclusion,
    /// Rows of every rank, where the exchange agrees on them. SGLang's rows follow from the profile's rules.
    #[serde(skip)]
    pub(in super::super) rows: Option<Rows>,
}

/// Rows that an exchange agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) enum Rows {
    /// So many on every rank, in a graph or not.
    Equal { rows: u64, is_graph: bool },
    /// Each rank's own.
    True(Vec<u64>),
}

impl ToldPlan {
    /// Whether any rank runs.
    pub fn runs(&self) -> bool {
        match &self.concluded {
            Conclusion::Vllm4(concluded) => concluded.counts.iter().any(|&rows| rows > 0),
            Conclusion::Vllm6(concluded) => concluded.is_some(),
            Conclusion::Sglang8(concluded) => concluded.runs,
            Conclusion::Trt(concluded) => concluded.runs,
        }
    }

    /// Whether all agreed to run in micro-batches; nothing in an engine that does not ask.
    pub fn split(&self) -> Option<bool> {
        match &self.concluded {
            Conclusion::Vllm4(concluded) => Some(concluded.split),
            Conclusion::Vllm6(concluded) => Some(concluded.as_ref().is_some_and(|concluded| concluded.split)),
            Conclusion::Sglang8(concluded) => Some(concluded.two_batches),
            Conclusion::Trt(_) => None,
        }
    }
}

impl Told {
    /// The request of the step without the exchange, and what all conclude from it. What the request says and the ranks
    /// told has to be the same.
    pub(in super::super) fn resolve(&self, request: &Request) -> Result<(Request, ToldPlan), PlanError> {
        let ranks = self.words.len();
        if request.raw.len() != ranks || request.dp != ranks as u64 {
            let counts = request.raw.len();
            let dp = request.dp;
            return Err(ExchangeError::OtherRanks { ranks, counts, dp }.into());
        }
        let agrees_on_rows = self.form != ExchangeForm::Sglang8;
        let others_split = match (&request.micro, self.form) {
            (None, _) | (Some(Micro::Tbo(_)), ExchangeForm::Sglang8) => false,
            (Some(Micro::Dbo(dual)), ExchangeForm::Vllm4) => dual.runner != Runner::V1,
            (Some(Micro::Dbo(dual)), ExchangeForm::Vllm6) => dual.runner != Runner::V2,
            _ => true,
        };
        let decided = [
            ("mixed", agrees_on_rows && request.mixed.is_some()),
            ("padding", agrees_on_rows && request.padding != Padding::Rules),
            ("elastic_join", agrees_on_rows && request.elastic_join),
            ("force_max", agrees_on_rows && request.force_max),
            ("graph_ok", request.graph_ok),
            ("raw_lp", !agrees_on_rows && request.raw_lp.is_some()),
            ("micro", others_split),
        ];
        if let Some((field, _)) = decided.into_iter().find(|&(_, is_set)| is_set) {
            let form = self.form.name();
            return Err(ExchangeError::Decided { field, form }.into());
        }
        let (concluded, rows) = self.conclude(request)?;
        let mut dead = self.dead.clone();
        dead.sort_unstable();
        dead.dedup();
        let plan = ToldPlan {
            form: self.form,
            dead,
            concluded,
            rows,
        };
        let raw_lp = match &plan.concluded {
            Conclusion::Sglang8(concluded) => Some(concluded.logprob.clone()),
            _ => request.raw_lp.clone(),
        };
        let mut own = request.with_counts(request.raw.clone(), raw_lp);
        own.mixed.clone_from(&request.mixed);
        match &plan.concluded {
            Conclusion::Sglang8(concluded) => {
                if request.extend && !concluded.extend {
                    return Err(ExchangeError::NobodyPrefills.into());
                }
                own.extend = concluded.extend;
                own.graph_ok = concluded.decode_graph && !concluded.extend;
                own.prefill_buckets = own.prefill_buckets.filter(|_| concluded.prefill_vote);
            }
            // Their graphs are agreed on, and no prefill graph of SGLang's rules is looked for.
            _ => own.prefill_buckets = None,
        }
        if plan.split() == Some(true) && own.micro.is_none() && agrees_on_rows {
            own.micro = Some(Micro::Dbo(self.dual_batch(request)));
        }
        Ok((own, plan))
    }

    /// The micro-batches of the runner, by default or as asked.
    fn dual_batch(&self, request: &Request) -> DualBatch {
        let default = DualBatch {
            runner: match self.form {
                ExchangeForm::Vllm6 => Runner::V2,
                _ => Runner::V1,
            },
            ..DualBatch::default()
        };
        match request.micro {
            Some(Micro::Dbo(dual)) => dual,
            _ => default,
        }
    }

    fn conclude(&self, request: &Request) -> Result<(Conclusion, Option<Rows>), PlanError> {
        let buckets = || request.graph_buckets.clone().unwrap_or_default();
        // One whose experts need equal ranks pads them whatever was agreed on.
        let forces_max = request.all_to_all.is_some_and(|back_end| back_end.forces_max());
        let rows = |counts: &[u64], mode| {
            let longest = counts.iter().copied().max().unwrap_or(0);
            match forces_max || counts.iter().all(|&rows| rows == longest) {
                true => Rows::Equal {
                    rows: longest,
                    // Ranks without tokens replay nothing, whatever they voted.
                    is_graph: mode != GraphMode::None && longest > 0,
                },
                false => Rows::True(counts.to_vec()),
            }
        };
        Ok(match self.form {
            ExchangeForm::Vllm4 => {
                let table = self.table::<Vllm4>(request, Vllm4::TOKENS, request.coef)?;
                let concluded = table.conclude(self.dual_batch(request).batches)?;
                let rows = rows(&concluded.counts, concluded.mode);
                (Conclusion::Vllm4(concluded), Some(rows))
            }
            ExchangeForm::Vllm6 => {
                let table = self.table::<Vllm6>(request, Vllm6::TOKENS, request.coef)?;
                let dual = self.dual_batch(request);
                let concluded = table.conclude(&Vllm6Rules {
                    buckets: buckets(),
                    decode_length: request.coef,
                    decode_threshold: dual.decode_threshold,
                    threshold: dual.prefill_threshold,
                })?;
                let rows = match &concluded {
                    None => rows(&request.raw, GraphMode::None),
                    Some(concluded) => rows(&concluded.counts, concluded.mode),
                };
                (Conclusion::Vllm6(concluded), Some(rows))
            }
            ExchangeForm::Sglang8 => {
                let table = self.table::<Sglang8>(request, Sglang8::TOKENS, 1)?;
                (Conclusion::Sglang8(table.conclude()), None)
            }
            ExchangeForm::Trt => {
                let table = self.table::<TensorRt>(request, TensorRt::TOKENS, request.coef)?;
                let concluded = table.conclude(&Captured {
                    decode: buckets(),
                    prefill: request.prefill_buckets.clone().unwrap_or_default(),
                    exact: false,
                })?;
                let rows = match concluded.graph {
                    Some(batch) => {
                        self.check_counts(&table, TensorRt::BATCH, &request.raw, 1)?;
                        let equal = vec![batch.saturating_mul(request.coef); self.words.len()];
                        rows(&equal, GraphMode::Full)
                    }
                    None if concluded.prefill_graph.is_some() => rows(&concluded.counts, GraphMode::Full),
                    None => rows(&concluded.counts, GraphMode::None),
                };
                (Conclusion::Trt(concluded), Some(rows))
            }
        })
    }

    /// What ranks told, if their tokens, in this column, are those of the request.
    fn table<P: Packed>(&self, request: &Request, tokens: usize, width: u64) -> Result<Table<P>, PlanError> {
        let table = Table::<P>::decode(&self.words, &self.dead)?;
        self.check_counts(&table, tokens, &request.raw, width)?;
        Ok(table)
    }

    /// Makes sure that a column has what the request says. A dead rank has nothing.
    fn check_counts<P: Packed>(
        &self,
        table: &Table<P>,
        column: usize,
        raw: &[u64],
        width: u64,
    ) -> Result<(), PlanError> {
        let mut told = table.list(column).to_vec();
        self.dead.iter().for_each(|&rank| told[rank] = 0);
        for (rank, (told, &count)) in told.into_iter().zip(raw).enumerate() {
            let asked = scale_one("raw", rank, count, width)?;
            if told != asked {
                let column = P::COLUMNS[column].name;
                return Err(ExchangeError::OtherCount {
                    column,
                    rank,
                    told,
                    asked,
                }
                .into());
            }
        }
        Ok(())
    }
}
