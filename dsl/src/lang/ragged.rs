//! Ragged layouts: segments of different lengths, one behind the other.

use super::index::{One, ScalarIndex};
use super::parameter::Parameter;
use super::recorder;
use super::tensor::Tensor;
use super::tile::Scalar;
use crate::argument::{Argument, Arguments};
use crate::device;
use crate::element::Integer;
use crate::limits::MAX_COUNT;

/// Segments of different lengths packed one behind the other: requests and their tokens, experts and their rows.
///
/// As a kernel parameter it is written `&Ragged<I>` and takes, at a launch, a tensor of `I` with one entry more than
/// there are segments: the exclusive prefix sums of their rows, as engines keep them (`cu_seqlens`, `kv_indptr`,
/// `expert_offsets`). Segment `s` is rows `starts[s]..starts[s + 1]`; where the entries decrease it is empty, and entries beyond
/// 2^40 on either side count as that.
///
/// ```
/// # use tilewright_dsl::{kernel, lang::*};
/// /// The position of each packed token in its request.
/// #[kernel(grid = [positions.extent(0)])]
/// fn positions<I: Integer>(positions: &mut Tensor<i64, 1>, requests: &Ragged<I>) {
///     let row = program_id(0);
///     let request = requests.segment_of(row);
///     positions.store([row], row - requests.start(request));
/// }
/// ```
pub struct Ragged<I: Integer> {
    starts: Tensor<I, 1>,
}

impl<I: Integer> Ragged<I> {
    /// The number of segments.
    #[track_caller]
    pub fn segments(&self) -> Scalar<i64> {
        self.starts.extent(0) - 1i64
    }

    /// The tensor of starts, for tiles of them.
    pub fn starts(&self) -> &Tensor<I, 1> {
        &self.starts
    }

    /// The first row of a segment.
    #[track_caller]
    pub fn start(&self, segment: impl ScalarIndex) -> Scalar<i64> {
        self.entry(segment.scalar_index())
    }

    /// The rows of a segment; 0 for one behind the last.
    #[track_caller]
    pub fn rows(&self, segment: impl ScalarIndex) -> Scalar<i64> {
        self.span(segment).1
    }

    /// The first row and the rows of a segment.
    #[track_caller]
    pub fn span(&self, segment: impl ScalarIndex) -> (Scalar<i64>, Scalar<i64>) {
        let segment = segment.scalar_index();
        let (start, end) = (self.entry(segment), self.entry(segment + 1i64));
        (start, (end - start).max(0i64))
    }

    /// The row behind the last segment.
    #[track_caller]
    pub fn total(&self) -> Scalar<i64> {
        self.entry(self.segments())
    }

    #[track_caller]
    fn entry(&self, segment: Scalar<i64>) -> Scalar<i64> {
        as_row(self.starts.load(One(segment)))
    }

    /// The segment that a packed row belongs to, found by halving. Of a row before the first or behind the last segment it
    /// is the first or the last one.
    #[track_caller]
    pub fn segment_of(&self, row: impl ScalarIndex) -> Scalar<i64> {
        last_at_most(&self.starts, row.scalar_index())
    }
}

/// A start as a row: limited to where rows can be, so that no difference of two wraps.
#[track_caller]
fn as_row<I: Integer>(start: Scalar<I>) -> Scalar<i64> {
    const MOST: i64 = MAX_COUNT as i64;
    let row = start.saturating_cast::<i64>();
    match I::TYPE.size() {
        8 => row.max(-MOST).min(MOST),
        _ => row,
    }
}

/// The last entry but one that is at most `row`, or 0.
#[device]
fn last_at_most<I: Integer>(starts: &Tensor<I, 1>, row: Scalar<i64>) -> Scalar<i64> {
    let mut low = 0i64;
    let mut high = starts.extent(0) - 1;
    while high - low > 1 {
        let middle = (low + high) / 2;
        if starts.load([middle]).saturating_cast::<i64>() <= row {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[diagnostic::do_not_recommend]
impl<'p, I: Integer> Parameter<'p> for &'p Ragged<I> {
    type Owned = Ragged<I>;
    type Staged = &'p Ragged<I>;
    fn declare(name: String) -> Ragged<I> {
        let position = recorder::with(0, |r| r.declare_tensor(name, I::TYPE, 1, false));
        Ragged {
            starts: Tensor::from_parameter(position),
        }
    }
    fn lend(owned: &'p mut Ragged<I>) -> &'p Ragged<I> {
        owned
    }
}

/// What can be passed for the tensor of starts can be passed for the layout.
#[diagnostic::do_not_recommend]
impl<'a, 'p, I: Integer, A: Argument<'a, &'p Tensor<I, 1>>> Argument<'a, &'p Ragged<I>> for A {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<&'p Tensor<I, 1>>::pass(self, arguments);
    }
}
