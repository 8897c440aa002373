//! Strides that nothing depends on.

/// Gives the strides that no two elements are apart by the values that views and kernels have for them: the stride of an axis of
/// one element is the extent times the stride of the axis inside it, and 1 of the innermost; a tensor without elements has the
/// strides of a row-major one without gaps.
///
/// ```
/// use tilewright_dsl::ir::canonical_strides;
///
/// let mut strides = [8, 1];
/// canonical_strides(&[1, 4], &mut strides);
/// assert_eq!(strides, [4, 1]);
/// ```
pub fn canonical_strides(extents: &[u64], strides: &mut [i64]) {
    let empty = extents.contains(&0);
    let mut inner = 1i64;
    for (&extent, stride) in extents.iter().zip(strides).rev() {
        if empty || extent == 1 {
            *stride = inner;
        }
        inner = stride.saturating_mul(i64::try_from(extent).unwrap_or(i64::MAX));
    }
}
