//! Whether a tensor that is written shares memory with another argument, or its elements with each other.

use arrayvec::ArrayVec;
use tilewright_dsl::call::TensorArgument;
use tilewright_dsl::element::ElementType;

/// The bytes of an argument in its device's address space.
pub(crate) struct Footprint<'c, 'a> {
    /// `None` for a count, whose bytes are adjacent.
    tensor: Option<&'c TensorArgument<'a>>,
    start: u64,
    end: u64,
}

impl<'c, 'a> Footprint<'c, 'a> {
    /// The bytes of a tensor whose first element is at `address`; `None` if it has no elements.
    pub(crate) fn new(tensor: &'c TensorArgument<'a>, address: u64) -> Option<Self> {
        if tensor.extents.contains(&0) {
            return None;
        }
        let (start, end) = Self::narrow(tensor, address).unwrap_or_else(|| Self::wide(tensor, address));
        Some(Self {
            tensor: Some(tensor),
            start,
            end,
        })
    }

    /// The bytes of a tensor with elements; `None` where 64 bits do not hold what is between them, as in no memory that there is.
    fn narrow(tensor: &TensorArgument<'_>, address: u64) -> Option<(u64, u64)> {
        let size = tensor.element.size() as u64;
        let (mut start, mut end) = (address, address.checked_add(size)?);
        for (extent, stride) in tensor.extents.iter().zip(&tensor.strides) {
            let reach = (extent - 1).checked_mul(stride.unsigned_abs())?.checked_mul(size)?;
            match *stride < 0 {
                true => start = start.checked_sub(reach)?,
                false => end = end.checked_add(reach)?,
            }
        }
        Some((start, end))
    }

    /// The same, saturated.
    fn wide(tensor: &TensorArgument<'_>, address: u64) -> (u64, u64) {
        let size = tensor.element.size() as i128;
        let (mut start, mut end) = (i128::from(address), i128::from(address) + size);
        for (extent, stride) in tensor.extents.iter().zip(&tensor.strides) {
            let reach = i128::from(extent - 1) * i128::from(*stride) * size;
            if reach < 0 { start += reach } else { end += reach }
        }
        let clamp = |bound: i128| bound.clamp(0, i128::from(u64::MAX)) as u64;
        (clamp(start), clamp(end))
    }

    /// The bytes of a count at `address`.
    pub(crate) fn of_count(address: u64, element: ElementType) -> Self {
        Self {
            tensor: None,
            start: address,
            end: address.saturating_add(element.size() as u64),
        }
    }

    /// Whether each axis steps over all that the axes of smaller strides reach, so that every element has a place of its own.
    /// So it is with all views of a tensor that has no gaps.
    pub(crate) fn is_one_to_one(&self) -> bool {
        let Some(tensor) = self.tensor else { return true };
        let pairs = tensor.extents.iter().zip(&tensor.strides);
        let axes = pairs
            .filter(|(extent, _)| **extent > 1)
            .map(|(&extent, stride)| (stride.unsigned_abs(), extent));
        // The innermost axis has the smallest stride, but in transposed tensors.
        if steps_over(axes.clone().rev()) {
            return true;
        }
        let mut axes: ArrayVec<(u64, u64), 4> = axes.collect();
        axes.sort_unstable();
        steps_over(axes.into_iter())
    }

    /// The address of the first byte, and the one after the last.
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.start, self.end)
    }

    /// Whether the tensors may share a byte. Columns of one matrix that have none in common do not.
    #[inline]
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end && !self.interleaves(other)
    }

    /// Whether the tensors keep to different residues modulo a common pitch, as disjoint columns of one matrix do.
    fn interleaves(&self, other: &Self) -> bool {
        let axes: ArrayVec<(u64, u64), 8> = self.axes().chain(other.axes()).collect();
        // Any pitch will do; one of the strides is the only one that can.
        axes.iter().any(|&(_, pitch)| {
            let residues = |tensor: &Self| {
                let mut width = tensor.element_bytes();
                for (extent, stride) in tensor.axes() {
                    if stride % pitch != 0 {
                        width = width.checked_add(stride.checked_mul(extent - 1)?)?;
                    }
                }
                (width <= pitch).then_some((tensor.start % pitch, width))
            };
            let (Some((one, one_width)), Some((two, two_width))) = (residues(self), residues(other)) else {
                return false;
            };
            let distance = (two + pitch - one) % pitch;
            distance >= one_width && pitch - distance >= two_width
        })
    }

    fn element_bytes(&self) -> u64 {
        self.tensor
            .map_or(self.end - self.start, |tensor| tensor.element.size() as u64)
    }

    /// Extent, and stride in bytes, of each axis with more than one element.
    fn axes(&self) -> impl Iterator<Item = (u64, u64)> {
        let size = self.element_bytes();
        let axes = self
            .tensor
            .into_iter()
            .flat_map(|tensor| tensor.extents.iter().zip(&tensor.strides));
        axes.filter(|(extent, stride)| **extent > 1 && **stride != 0)
            .map(move |(&extent, stride)| (extent, stride.unsigned_abs().saturating_mul(size)))
    }
}

/// Whether each axis, of a stride and an extent, steps over all that those before it reach.
fn steps_over(mut axes: impl Iterator<Item = (u64, u64)>) -> bool {
    let mut reach = 0u64;
    axes.all(|(stride, extent)| {
        let is_over = stride > reach;
        // Within the address space, as the whole is.
        reach = reach.saturating_add(stride.saturating_mul(extent - 1));
        is_over
    })
}

/// The bytes from the first to the last of an argument, and which argument it is.
#[derive(Clone, Copy)]
pub(crate) struct Span<P> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Whether the launch may write them.
    pub(crate) is_written: bool,
    pub(crate) place: P,
}

/// Of spans of arguments, the first two, in the order of their places, of which one is written and shares memory with the
/// other. The written one comes first. What shares bytes of whose spans meet, `overlaps` says.
pub(crate) fn clash<P: Copy + Ord>(spans: &mut [Span<P>], overlaps: impl Fn(P, P) -> bool) -> Option<(P, P)> {
    if !some_clash(spans, &overlaps) {
        return None;
    }
    spans.sort_unstable_by_key(|span| span.place);
    let clashes = |(one, other): &(&Span<P>, &Span<P>)| {
        let meet = one.start < other.end && other.start < one.end;
        (one.is_written || other.is_written) && meet && overlaps(one.place, other.place)
    };
    let mut pairs = (0..spans.len()).flat_map(|at| spans[..at].iter().map(move |other| (other, at)));
    pairs.find_map(|(other, at)| {
        let one = &spans[at];
        clashes(&(one, other)).then_some(match one.is_written {
            true => (one.place, other.place),
            false => (other.place, one.place),
        })
    })
}

/// Of no more spans that are written, each is compared with all; sorting costs more.
const FEW_WRITTEN: usize = 4;

/// Whether any two clash: in the order of addresses, a span meets one before it if that reaches as far. Where none does, as in
/// nearly all launches, no two are compared.
fn some_clash<P: Copy>(spans: &mut [Span<P>], overlaps: impl Fn(P, P) -> bool) -> bool {
    let written = |&at: &usize| spans[at].is_written;
    if (0..spans.len()).filter(written).take(FEW_WRITTEN + 1).count() <= FEW_WRITTEN {
        return (0..spans.len()).filter(written).any(|at| {
            let one = &spans[at];
            let clashes = |(_, other): (usize, &Span<P>)| {
                one.start < other.end && other.start < one.end && overlaps(one.place, other.place)
            };
            spans.iter().enumerate().filter(|(other, _)| *other != at).any(clashes)
        });
    }
    spans.sort_unstable_by_key(|span| span.start);
    let (mut reached, mut reached_by_written) = (0, 0);
    for (at, span) in spans.iter().enumerate() {
        let far = if span.is_written { reached } else { reached_by_written };
        let clashes = |before: &Span<P>| {
            before.end > span.start && (before.is_written || span.is_written) && overlaps(before.place, span.place)
        };
        if span.start < far && spans[..at].iter().any(clashes) {
            return true;
        }
        reached = span.end.max(reached);
        if span.is_written {
            reached_by_written = span.end.max(reached_by_written);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use tilewright_dsl::call::Memory;

    struct Nowhere;
    impl Memory for Nowhere {
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }

    fn tensor(extents: &[u64], strides: &[i64]) -> TensorArgument<'static> {
        TensorArgument {
            element: ElementType::F32,
            mutable: true,
            extents: extents.iter().copied().collect(),
            strides: strides.iter().copied().collect(),
            memory: &Nowhere,
            offset: 0,
        }
    }

    fn overlap(one: (&[u64], &[i64], u64), two: (&[u64], &[i64], u64)) -> bool {
        let (a, b) = (tensor(one.0, one.1), tensor(two.0, two.1));
        let (Some(a), Some(b)) = (Footprint::new(&a, one.2), Footprint::new(&b, two.2)) else {
            return false;
        };
        let (ab, ba) = (a.overlaps(&b), b.overlaps(&a));
        assert_eq!(ab, ba, "overlapping is mutual");
        ab
    }

    #[test]
    fn adjacent_rows_do_not_overlap_and_shared_rows_do() {
        assert!(!overlap((&[2, 8], &[8, 1], 0), (&[2, 8], &[8, 1], 64)));
        assert!(overlap((&[3, 8], &[8, 1], 0), (&[2, 8], &[8, 1], 64)));
    }

    #[test]
    fn disjoint_columns_of_one_matrix_do_not_overlap() {
        // Columns 0..3 and 3..8 of a matrix of 8 columns, and their transposes.
        assert!(!overlap((&[4, 3], &[8, 1], 0), (&[4, 5], &[8, 1], 12)));
        assert!(!overlap((&[3, 4], &[1, 8], 0), (&[4, 5], &[8, 1], 12)));
        assert!(overlap((&[4, 4], &[8, 1], 0), (&[4, 5], &[8, 1], 12)));
        assert!(
            overlap((&[4, 6], &[8, 1], 12), (&[4, 3], &[8, 1], 0)),
            "the second wraps around to column 1"
        );
    }

    #[test]
    fn even_and_odd_columns_do_not_overlap() {
        assert!(!overlap((&[4], &[2], 0), (&[4], &[2], 4)));
        assert!(overlap((&[4], &[2], 0), (&[4], &[3], 4)));
    }

    #[test]
    fn of_many_tensors_the_first_two_that_clash_are_found() {
        let span = |place: usize, start: u64, len: u64, is_written| Span {
            start,
            end: start + len,
            is_written,
            place,
        };
        let found = |spans: &[Span<usize>]| clash(&mut spans.to_vec(), |_, _| true);
        for count in [3usize, 100] {
            let mut all: Vec<_> = (0..count)
                .map(|at| span(at, (at * 37 % count * 32) as u64, 32, true))
                .collect();
            assert_eq!(found(&all), None);
            // The last byte of the second one.
            all.push(span(count, all[1].start + 31, 1, false));
            assert_eq!(found(&all), Some((1, count)));
            all.iter_mut().for_each(|span| span.is_written = false);
            assert_eq!(found(&all), None);
            all[count].is_written = true;
            assert_eq!(found(&all), Some((count, 1)));
            assert_eq!(clash(&mut all, |_, _| false), None, "their elements are apart");
        }
    }

    #[test]
    fn a_clash_is_found_where_comparing_all_pairs_finds_one() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let spans: Vec<_> = (0..random.usize(0..7))
                .map(|place| {
                    let start = random.u64(0..40);
                    Span {
                        start,
                        end: start + random.u64(1..9),
                        is_written: random.bool(),
                        place,
                    }
                })
                .collect();
            // Some that meet have their elements apart.
            let overlaps = |one: usize, other: usize| !(one + other).is_multiple_of(3);
            let clashes = |one: &Span<usize>, other: &Span<usize>| {
                one.start < other.end
                    && other.start < one.end
                    && (one.is_written || other.is_written)
                    && overlaps(one.place, other.place)
            };
            let mut pairs = (0..spans.len()).flat_map(|at| (0..at).map(move |other| (at, other)));
            let expected = pairs.find(|&(at, other)| clashes(&spans[at], &spans[other]));
            let expected = expected.map(|(at, other)| if spans[at].is_written { (at, other) } else { (other, at) });
            assert_eq!(clash(&mut spans.clone(), overlaps), expected);
        }
    }

    #[test]
    fn bytes_are_found_with_64_bits_as_with_more() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut few = 0;
        for _ in 0..20_000 {
            let axes = random.usize(0..=4);
            let bits = random.u32(1..40);
            let extents: Vec<_> = (0..axes).map(|_| random.u64(1..=1 << bits)).collect();
            let strides: Vec<_> = (0..axes).map(|_| random.i64(..) >> random.u32(0..63)).collect();
            let address = random.u64(..) >> random.u32(0..63);
            let tensor = tensor(&extents, &strides);
            if let Some(found) = Footprint::narrow(&tensor, address) {
                assert_eq!(
                    found,
                    Footprint::wide(&tensor, address),
                    "{extents:?} {strides:?} at {address}"
                );
                few += 1;
            }
        }
        assert!((2000..18_000).contains(&few), "{few} have 64 bits");
    }

    #[test]
    fn a_tensor_without_elements_overlaps_nothing() {
        assert!(!overlap((&[0, 8], &[8, 1], 0), (&[2, 8], &[8, 1], 0)));
    }

    #[test]
    fn a_count_overlaps_the_tensor_it_lies_in() {
        let owner = tensor(&[4, 3], &[8, 1]);
        let footprint = Footprint::new(&owner, 0).unwrap();
        for (address, overlaps) in [(0, true), (8, true), (12, false), (28, false), (32, true), (124, false)] {
            let count = Footprint::of_count(address, ElementType::I32);
            assert_eq!(footprint.overlaps(&count), overlaps, "{address}");
            assert_eq!(count.overlaps(&footprint), overlaps, "{address}");
        }
    }

    #[test]
    fn the_elements_of_a_view_are_apart_and_those_of_strides_by_hand_need_not_be() {
        for (extents, strides, apart) in [
            (&[4, 8][..], &[8, 1][..], true),
            (&[8, 4], &[1, 8], true),
            (&[4, 8], &[-9, 1], true),
            (&[4, 1], &[8, 0], true),
            (&[2, 3, 4, 5], &[5, 10, 30, 1], true),
            (&[4, 8], &[7, 1], false),
            (&[4, 8], &[0, 1], false),
            (&[4, 8], &[8, 0], false),
        ] {
            let tensor = tensor(extents, strides);
            assert_eq!(
                Footprint::new(&tensor, 1 << 20).unwrap().is_one_to_one(),
                apart,
                "{strides:?}"
            );
        }
    }
}
