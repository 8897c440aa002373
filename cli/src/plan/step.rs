//! Flags of a step beyond its counts: phases, experts, bounds, memory.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use tilewright::dp::plan::exchange::{ExchangeForm, Told};
use tilewright::dp::plan::{AllToAll, Bound, ExpertBound, MixedStep, Padding, Phase, PlanError, Request};

use super::Lists;

/// What of them is of one step, and no matter of a trace.
pub const OF_ONE_STEP: [&str; 11] = [
    "prefills",
    "phase",
    "draft_width",
    "verify_width",
    "local",
    "ep",
    "bound_experts",
    "symmetric",
    "exchange",
    "told",
    "dead",
];

/// The flags, with the names of a request's JSON fields.
#[derive(Args)]
pub struct StepArguments {
    /// Ranks that prefill while the others decode speculatively, separated by commas: 0,3
    #[arg(long, value_name = "RANKS", requires = "raw", conflicts_with_all = ["coef", "coef_lp"])]
    prefills: Option<Ranks>,
    /// Which forward of such a step
    #[arg(long, value_enum, requires = "prefills", default_value = "target")]
    phase: PhaseName,
    /// Tokens per request of its draft forwards [default: 1]
    #[arg(long, requires = "prefills")]
    draft_width: Option<u64>,
    /// Tokens per request of its verification and of the draft model's forward after it [default: 1]
    #[arg(long, requires = "prefills")]
    verify_width: Option<u64>,
    /// The rank that plans this forward with its own count alone
    #[arg(long, value_name = "RANK", requires = "prefills")]
    local: Option<u64>,
    /// The experts' back end
    #[arg(long, value_enum, requires = "given")]
    all_to_all: Option<BackEnd>,
    /// Rows of a GPU for which deep-ep-low-latency [default: 128] or flash-infer [default: 4096] was started
    #[arg(long, value_name = "ROWS", requires = "all_to_all")]
    capacity: Option<u64>,
    /// Groups that the experts are split over; says how what they computed comes back
    #[arg(long, requires = "raw")]
    ep: Option<u64>,
    /// The most rows of a rank: ranks exchange nothing, and --raw is best the local rank's count, with --dp
    #[arg(long, value_name = "ROWS", requires = "given")]
    bound: Option<u64>,
    /// Experts of every row, experts of a GPU and rows that the dispatch was started for: bounds the experts' rows
    #[arg(long, value_name = "NUMBERS", requires = "bound")]
    bound_experts: Option<Experts>,
    /// What ranks told each other before the step decides: the form of it
    #[arg(long, value_name = "FORM", requires = "told", value_parser = form_parser())]
    #[arg(conflicts_with_all = ["graph_ok", "bound"])]
    exchange: Option<ExchangeForm>,
    /// The numbers of each rank, ranks separated by semicolons, a dead one's left empty: 5,8,0,2;3,4,0,2
    #[arg(long, value_name = "LISTS", allow_hyphen_values = true, requires_all = ["exchange", "raw"])]
    told: Option<Lists>,
    /// Ranks that are dead, separated by commas
    #[arg(long, value_name = "RANKS", requires = "told")]
    dead: Option<Ranks>,
    /// Says which buffers may come from symmetric memory
    #[arg(long, requires = "raw")]
    symmetric: bool,
    /// When eager forwards pad their ranks: by the version's rules, when something needs it, or always
    #[arg(long, requires = "given", value_parser = padding_parser(), default_value = Padding::default().name())]
    padding: Padding,
}

fn padding_parser() -> impl TypedValueParser<Value = Padding> {
    let named = |name: String| Padding::ALL.into_iter().find(|padding| padding.name() == name);
    PossibleValuesParser::new(Padding::ALL.map(Padding::name))
        .try_map(move |name| named(name).ok_or("there is no such padding"))
}

fn form_parser() -> impl TypedValueParser<Value = ExchangeForm> {
    let named = |name: String| ExchangeForm::ALL.into_iter().find(|form| form.name() == name);
    PossibleValuesParser::new(ExchangeForm::ALL.map(ExchangeForm::name))
        .try_map(move |name| named(name).ok_or("there is no such form"))
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum PhaseName {
    Target,
    Draft,
    DraftExtend,
}

/// The back ends by name.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum BackEnd {
    Pplx,
    DeepEp,
    DeepEpLowLatency,
    FlashInfer,
    FlashInferVllm,
    MegaMoe,
}

/// Ranks as one argument.
#[derive(Clone)]
struct Ranks(Vec<u64>);

/// Experts' numbers as one argument.
#[derive(Clone)]
struct Experts([u64; 3]);

/// A list that is none.
#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error("ranks are needed, separated by commas, as in 0,3")]
    Ranks,
    #[error("three whole numbers are needed: experts of a row, experts of a GPU, rows of the dispatch, as in 8,32,128")]
    Experts,
}

fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split(',').map(|number| number.trim().parse().ok()).collect()
}

impl FromStr for Ranks {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        numbers(text).map(Self).ok_or(ListError::Ranks)
    }
}

impl FromStr for Experts {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        let three = numbers(text).and_then(|numbers| numbers.try_into().ok());
        three.map(Self).ok_or(ListError::Experts)
    }
}

impl StepArguments {
    /// The request with what these flags say.
    pub fn apply(&self, request: Request) -> Result<Request, PlanError> {
        Ok(Request {
            mixed: self.mixed(request.raw.len())?,
            all_to_all: self.all_to_all(request.force_max),
            ep: self.ep,
            bound: self.bound(),
            exchange: self.exchange()?,
            symmetric: self.symmetric,
            padding: self.padding,
            ..request
        })
    }

    /// Whether the request has what ranks told.
    pub fn tells(&self) -> bool {
        self.exchange.is_some()
    }

    /// When eager forwards pad their ranks.
    pub fn padding(&self) -> Padding {
        self.padding
    }

    /// The back end of the experts; DeepEP may be told to run equal ranks.
    pub fn all_to_all(&self, force_max: bool) -> Option<AllToAll> {
        Some(match self.all_to_all? {
            BackEnd::Pplx => AllToAll::Pplx {},
            BackEnd::DeepEp => AllToAll::DeepEp { force_max },
            BackEnd::DeepEpLowLatency => AllToAll::DeepEpLowLatency {
                capacity: self.capacity.unwrap_or(128),
            },
            BackEnd::FlashInfer => AllToAll::FlashInfer {
                capacity: self.capacity.unwrap_or(4096),
            },
            BackEnd::FlashInferVllm => AllToAll::FlashInferVllm {},
            BackEnd::MegaMoe => AllToAll::MegaMoe {},
        })
    }

    /// The most rows of a rank.
    pub fn bound(&self) -> Option<Bound> {
        let experts = |&Experts([per_token, local, dispatch]): &Experts| ExpertBound::new(per_token, local, dispatch);
        Some(Bound {
            rows: self.bound?,
            experts: self.bound_experts.as_ref().map(experts),
        })
    }

    fn exchange(&self) -> Result<Option<Told>, PlanError> {
        let (Some(form), Some(Lists(words))) = (self.exchange, &self.told) else {
            return Ok(None);
        };
        let ranks = words.len();
        let index = |&rank: &u64| {
            let index = usize::try_from(rank).ok().filter(|&rank| rank < ranks);
            let ranks = ranks as u64;
            index.ok_or(PlanError::NoSuchRank { rank, ranks })
        };
        let dead = self.dead.iter().flat_map(|Ranks(ranks)| ranks).map(index);
        Ok(Some(Told {
            form,
            words: words.clone(),
            dead: dead.collect::<Result<_, _>>()?,
        }))
    }

    fn mixed(&self, ranks: usize) -> Result<Option<MixedStep>, PlanError> {
        let Some(Ranks(prefilling)) = &self.prefills else {
            return Ok(None);
        };
        if let Some(&rank) = prefilling.iter().find(|&&rank| rank >= ranks as u64) {
            let ranks = ranks as u64;
            return Err(PlanError::NoSuchRank { rank, ranks });
        }
        Ok(Some(MixedStep {
            prefills: (0..ranks as u64).map(|rank| prefilling.contains(&rank)).collect(),
            phase: match self.phase {
                PhaseName::Target => Phase::Target,
                PhaseName::Draft => Phase::Draft,
                PhaseName::DraftExtend => Phase::DraftExtend,
            },
            draft_width: self.draft_width.unwrap_or(1),
            verify_width: self.verify_width.unwrap_or(1),
            local: self.local,
        }))
    }
}
