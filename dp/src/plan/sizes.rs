//! The sizes of `all_gatherv` and `reduce_scatterv`, and which ranks are padded for them at all.

use super::topology::check_ranks;
use super::{MAX_ROWS, PlanError, Topology};

/// Rows that every rank of a communicator gives to a gather, and gets of a reduce-scatter.
///
/// ```
/// use tilewright_dp::plan::{Form, Sizes};
///
/// let sizes = Sizes::new(vec![5, 0, 3])?;
/// assert_eq!((sizes.rows(), sizes.starts()), (8, vec![0, 5, 5]));
/// assert_eq!(sizes.form(), Form::Broadcasts(3));
/// assert_eq!(Sizes::new(vec![4, 4])?.form(), Form::Plain);
/// # Ok::<(), tilewright_dp::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sizes {
    sizes: Vec<u64>,
    rows: u64,
}

impl serde::Serialize for Sizes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.sizes.serialize(serializer)
    }
}

/// How a gather is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Equal sizes: a plain all-gather.
    Plain,
    /// A broadcast from every rank, those with nothing too, inside one group call.
    Broadcasts(usize),
}

impl Sizes {
    /// These sizes.
    ///
    /// # Errors
    /// There are none or too many, or over [`MAX_ROWS`] rows.
    pub fn new(sizes: Vec<u64>) -> Result<Self, PlanError> {
        check_ranks("sizes", sizes.len() as u64)?;
        let rows = sizes.iter().try_fold(0u64, |sum, &size| sum.checked_add(size));
        match rows.filter(|&rows| rows <= MAX_ROWS) {
            Some(rows) => Ok(Self { sizes, rows }),
            None => Err(PlanError::TooManyRows {
                buffer: "gathered buffer",
                ranks: sizes.len(),
            }),
        }
    }

    /// The sizes of an eager step (TensorRT-LLM: `_get_padding_params`): the true ones, or with `pad` the largest for every
    /// rank, which is for transports that are slow or wrong with uneven ones.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn eager(counts: &[u64], pad: bool) -> Result<Self, PlanError> {
        let most = counts.iter().copied().max().unwrap_or(0);
        Self::new(match pad {
            true => vec![most; counts.len()],
            false => counts.to_vec(),
        })
    }

    /// The sizes of a step in a captured graph: the smallest captured that holds every rank. `None` if none does.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn captured(counts: &[u64], captured: &[u64]) -> Result<Option<Self>, PlanError> {
        let most = counts.iter().copied().max().unwrap_or(0);
        let bucket = captured.iter().copied().filter(|&size| size >= most).min();
        bucket.map(|bucket| Self::new(vec![bucket; counts.len()])).transpose()
    }

    /// The sizes where `parts` GPUs share each rank's rows in sequence (vLLM): equal, rounded up.
    ///
    /// # Errors
    /// No parts, or as for [`new`](Self::new).
    pub fn sequence_parallel(counts: &[u64], parts: u64) -> Result<Self, PlanError> {
        check_ranks("parts", parts)?;
        check_ranks("sizes", (counts.len() as u64).saturating_mul(parts))?;
        let of_rank = |&count: &u64| std::iter::repeat_n(count.div_ceil(parts), parts as usize);
        Self::new(counts.iter().flat_map(of_rank).collect())
    }

    /// The sizes of chunk `index` of `chunk` rows each (vLLM): what is left, and at least one row, so that ranks without any
    /// keep step with the others.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn chunk(&self, chunk: u64, index: u64) -> Result<Self, PlanError> {
        super::check_size("chunk", chunk)?;
        let before = chunk.saturating_mul(index);
        let left = |&size: &u64| chunk.min(size.saturating_sub(before).max(1));
        Self::new(self.sizes.iter().map(left).collect())
    }

    /// Rows of each rank.
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// Rows of all ranks: of the output of a gather, and of the input of a reduce-scatter.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The row at which each rank's begin.
    pub fn starts(&self) -> Vec<u64> {
        let start = |next: &mut u64, size: &u64| Some(std::mem::replace(next, *next + size));
        self.sizes.iter().scan(0, start).collect()
    }

    /// How they are gathered. Equal sizes count as none.
    pub fn form(&self) -> Form {
        match are_equal(&self.sizes) {
            true => Form::Plain,
            false => Form::Broadcasts(self.sizes.len()),
        }
    }
}

/// Whether all are one number.
pub(super) fn are_equal(sizes: &[u64]) -> bool {
    sizes.windows(2).all(|pair| pair[0] == pair[1])
}

/// How what the experts computed comes back to the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpertCombine {
    /// A `reduce_scatterv` with the padded counts; the all-reduce after the experts is skipped.
    ReduceScatter,
    /// An all-reduce, of which each rank keeps its own.
    AllReduce,
}

/// How SGLang combines (`should_use_dp_reduce_scatterv`): by reduce-scatter, without any switch, where `experts` groups of
/// experts are the data-parallel ranks, which fill the group, unless an all-to-all or the FP4 path does it.
pub fn expert_combine(topology: &Topology, experts: u64, all_to_all: bool, fp4: bool) -> ExpertCombine {
    let dp = topology.dp();
    match dp > 1 && experts == dp && topology.tp() == dp && !all_to_all && !fp4 {
        true => ExpertCombine::ReduceScatter,
        false => ExpertCombine::AllReduce,
    }
}
