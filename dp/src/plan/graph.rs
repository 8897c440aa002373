//! Whether a captured graph runs the step, and which.
//!
//! Up to pull request 8277 a graph is found by the requests of all ranks together, and every rank computes that many;
//! from 8280 on by the requests of the longest rank, and its buffer has a slot of that size for every rank.

use std::fmt;

use super::exchange::Rows;
use super::{PlanError, Profile, Request, mode::too_many_rows};

/// How a step is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Execution {
    /// Kernel by kernel, in a buffer allocated for this step.
    Eager(WhyEager),
    /// As a captured graph, in the graph's own buffer.
    Graph(Graph),
}

/// Why no graph runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhyEager {
    /// Not every rank voted for a decode graph; one that prefills never does.
    NotVoted,
    /// No graph was captured that this topology can use.
    NotCaptured,
    /// The batch is larger than any captured.
    TooLarge {
        /// Requests of the batch, as the profile counts them.
        key: u64,
        /// Requests of the largest graph.
        largest: u64,
    },
    /// Ranks told each other which graphs they could run, and agreed on none.
    NotAgreed,
    /// The step runs in micro-batches, which the engine captures no graph for.
    Split,
    /// Ranks exchange nothing, and no graph has exactly the rows that all know of each other.
    NotOfBound {
        /// The bound.
        rows: u64,
    },
}

/// The graph that runs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Graph {
    /// Requests that it was looked up with: of all ranks together up to pull request 8277, of the longest rank later.
    pub key: u64,
    /// Requests that it was captured with.
    pub bucket: u64,
    /// Rows of every rank's attention.
    pub attention_rows: u64,
    /// Rows of its gathered buffer.
    pub rows: u64,
    /// Rows that are allocated and zeroed for this step all the same, and never read: before pull request 8277.
    pub transient_rows: u64,
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eager(_) => f.write_str("eager"),
            Self::Graph(graph) => write!(f, "graph {}", graph.bucket),
        }
    }
}

impl fmt::Display for WhyEager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOfBound { rows } => write!(
                f,
                "no graph was captured of exactly the bound's {rows} rows, and ranks without one would send others"
            ),
            Self::NotAgreed => f.write_str("not every rank told that it could run a graph, or none is large enough"),
            Self::Split => f.write_str("micro-batches run without a graph"),
            Self::NotVoted => f.write_str("not every rank voted for a decode graph"),
            Self::NotCaptured => f.write_str("no usable decode graph was captured"),
            Self::TooLarge { key, largest } => {
                write!(f, "the batch of {key} is larger than the largest graph, {largest}")
            }
        }
    }
}

/// The batch sizes that SGLang captures by default, in requests, up to `largest`: 160 on most GPUs, 256 on those with over
/// 90 GiB, 512 on those with over 160 GB. `speculative` is for models that draft, whose batches are smaller. The list ends
/// at 8192 at the latest, where it is well within [`MAX_SIZES`](super::MAX_SIZES).
///
/// ```
/// use tilewright_dp::plan::capture_sizes;
///
/// assert_eq!(capture_sizes(false, 40), [1, 2, 4, 8, 16, 24, 32, 40]);
/// assert_eq!(capture_sizes(true, 12), [1, 2, 3, 4, 5, 6, 7, 8, 10, 12]);
/// ```
pub fn capture_sizes(speculative: bool, largest: u64) -> Vec<u64> {
    let small: &[u64] = if speculative {
        &[
            1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 40, 48, 56, 80, 96, 112, 128, 144,
            160,
        ]
    } else {
        &[
            1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136, 144, 152, 160,
        ]
    };
    let medium = (168..=256).step_by(8);
    let large = (272..=8192).step_by(16);
    let sizes = small.iter().copied().chain(medium).chain(large);
    sizes.take_while(|&size| size <= largest).collect()
}

/// The graph of the rows that an exchange agreed on.
pub(super) fn agreed(rows: &Rows, request: &Request, scaled: &[u64]) -> Execution {
    let Rows::Equal { rows, is_graph: true } = *rows else {
        return Execution::Eager(WhyEager::NotAgreed);
    };
    Execution::Graph(Graph {
        key: request.raw.iter().copied().max().unwrap_or(0),
        bucket: rows.div_ceil(request.coef),
        attention_rows: rows,
        rows: rows.saturating_mul(scaled.len() as u64),
        transient_rows: 0,
    })
}

/// Looks for the graph that runs a request's step.
pub(super) fn choose(request: &Request, scaled: &[u64]) -> Result<Execution, PlanError> {
    let eager = |why| Ok(Execution::Eager(why));
    if !request.graph_ok {
        return eager(WhyEager::NotVoted);
    }
    let equal_ranks = request.profile >= Profile::Pr8280;
    let key = if equal_ranks {
        request.raw.iter().copied().max().unwrap_or(0)
    } else {
        request.raw.iter().fold(0, |sum: u64, &count| sum.saturating_add(count))
    };
    // Equal ranks are reduce-scattered over attention TP, so only sizes that it divides are captured.
    let usable = || {
        let buckets = request.graph_buckets.iter().flatten().copied();
        buckets.filter(|bucket| !equal_ranks || bucket.is_multiple_of(request.attn_tp))
    };
    let Some(largest) = usable().max() else {
        return eager(WhyEager::NotCaptured);
    };
    if let Some(bound) = request.bound {
        // Ranks choose alone, so a graph has to send what an eager forward would.
        let is_bound = |bucket: &u64| bucket.checked_mul(request.coef) == Some(bound.rows);
        return match usable().find(is_bound) {
            None => eager(WhyEager::NotOfBound { rows: bound.rows }),
            Some(bucket) => Ok(Execution::Graph(Graph {
                key,
                bucket,
                attention_rows: bound.rows,
                rows: bound.rows * request.dp,
                transient_rows: 0,
            })),
        };
    }
    let Some(bucket) = usable().filter(|&bucket| bucket >= key).min() else {
        return eager(WhyEager::TooLarge { key, largest });
    };
    let slots = if equal_ranks { scaled.len() as u64 } else { 1 };
    let attention_rows = bucket * request.coef;
    let rows = attention_rows.checked_mul(slots);
    Ok(Execution::Graph(Graph {
        key,
        bucket,
        attention_rows,
        rows: rows.ok_or_else(|| too_many_rows(scaled.len()))?,
        transient_rows: match request.profile {
            Profile::Base8277 => scaled.iter().sum(),
            _ => 0,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::super::MAX_ROWS;
    use super::*;

    fn run(request: &Request) -> Execution {
        choose(request, &request.scaled().unwrap()).unwrap()
    }

    fn graph(profile: Profile, raw: &[u64]) -> Request {
        Request {
            profile,
            graph_ok: true,
            graph_buckets: Some(capture_sizes(false, 256)),
            ..Request::new(raw.to_vec(), raw.len() as u64)
        }
    }

    fn bucket(request: &Request) -> Option<u64> {
        match run(request) {
            Execution::Graph(graph) => Some(graph.bucket),
            Execution::Eager(_) => None,
        }
    }

    #[test]
    fn the_key_was_the_sum_and_became_the_longest() {
        let request = |profile| graph(profile, &[20, 3, 0, 18]);
        let buckets = Profile::ALL.map(|profile| bucket(&request(profile)));
        assert_eq!(
            buckets,
            [
                Some(48),
                Some(48),
                Some(24),
                Some(24),
                Some(24),
                Some(24),
                Some(24),
                Some(24)
            ]
        );
    }

    #[test]
    fn a_batch_of_exactly_the_largest_size_runs_and_one_more_does_not() {
        for profile in Profile::ALL {
            assert_eq!(bucket(&graph(profile, &[256])), Some(256));
            assert_eq!(
                run(&graph(profile, &[257])),
                Execution::Eager(WhyEager::TooLarge { key: 257, largest: 256 })
            );
        }
    }

    #[test]
    fn ranks_without_tokens_take_the_smallest_graph() {
        for profile in Profile::ALL {
            assert_eq!(bucket(&graph(profile, &[0, 0])), Some(1));
        }
    }

    #[test]
    fn without_every_vote_or_any_graph_the_step_is_eager() {
        for profile in Profile::ALL {
            let request = graph(profile, &[4, 4]);
            let not_voted = Request {
                graph_ok: false,
                ..request.clone()
            };
            assert_eq!(run(&not_voted), Execution::Eager(WhyEager::NotVoted));
            for graph_buckets in [None, Some(vec![])] {
                let not_captured = Request {
                    graph_buckets,
                    ..request.clone()
                };
                assert_eq!(run(&not_captured), Execution::Eager(WhyEager::NotCaptured));
            }
        }
    }

    #[test]
    fn equal_ranks_use_only_sizes_that_attention_tp_divides() {
        let request = |profile| Request {
            attn_tp: 16,
            ..graph(profile, &[3, 5])
        };
        assert_eq!(bucket(&request(Profile::Pr8277)), Some(8));
        assert_eq!(bucket(&request(Profile::Pr8280)), Some(16));
        let none = Request {
            graph_buckets: Some(vec![1, 2, 8]),
            ..request(Profile::Pr8280)
        };
        assert_eq!(run(&none), Execution::Eager(WhyEager::NotCaptured));
    }

    #[test]
    fn the_order_of_the_sizes_does_not_matter() {
        let request = Request {
            graph_buckets: Some(vec![64, 8, 32, 16]),
            ..graph(Profile::Main202609, &[9, 2])
        };
        assert_eq!(bucket(&request), Some(16));
    }

    #[test]
    fn the_largest_sizes_do_not_wrap() {
        let request = Request {
            graph_buckets: Some(vec![MAX_ROWS]),
            coef: MAX_ROWS,
            ..graph(Profile::Main202609, &[1; 8])
        };
        assert!(matches!(
            super::super::Plan::new(&request),
            Err(PlanError::TooManyRows { ranks: 8, .. })
        ));
    }

    #[test]
    fn captured_sizes_grow_by_memory() {
        assert_eq!(capture_sizes(false, 160).len(), 23);
        assert_eq!(capture_sizes(false, 256).len(), 35);
        assert_eq!(capture_sizes(true, 256).len(), 41);
        let all = capture_sizes(false, 512);
        assert_eq!(all[34..37], [256, 272, 288]);
        assert_eq!(all.last(), Some(&512));
        assert!(all.is_sorted() && capture_sizes(true, 512).is_sorted());
        assert!(capture_sizes(false, 0).is_empty());
        for speculative in [false, true] {
            let longest = capture_sizes(speculative, u64::MAX);
            assert_eq!(longest.last(), Some(&8192));
            assert!(longest.len() <= super::super::MAX_SIZES);
        }
    }
}
