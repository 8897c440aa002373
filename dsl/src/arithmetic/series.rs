//! The coefficients of power series, and of a polynomial that is made for an interval and needs fewer terms.

/// 1/k! for k = 0, 1, …
pub(super) const INVERSE_FACTORIALS: [f64; 18] = {
    let mut table = [1.0; 18];
    let mut factorial = 1u64;
    let mut k = 1;
    while k < 18 {
        factorial *= k as u64;
        table[k] = 1.0 / factorial as f64;
        k += 1;
    }
    table
};

/// The first terms of the power series of e^x.
pub(super) const EXP_SERIES: [f64; 14] = match INVERSE_FACTORIALS.first_chunk() {
    Some(first) => *first,
    None => panic!("there are more"),
};

/// Of all polynomials that begin with `1 + x` the one of degree 6 that is nearest to e^x for |x| up to ln(2)/2, by the ratio of the
/// two: as good as the power series up to degree 7.
pub(super) const NEAR_EXP: [f64; 7] = [
    1.0,
    1.0,
    0.499_999_934_514_62,
    0.166_665_206_875_574_8,
    0.041_668_387_411_273_13,
    0.008_368_710_035_842_351,
    0.001_381_461_084_344_291,
];

/// For 2^x, of those for e^x.
pub(super) const fn of_base_2<const N: usize>(mut coefficients: [f64; N]) -> [f64; N] {
    let (mut power, mut k) = (1.0, 0);
    while k < N {
        coefficients[k] *= power;
        power *= std::f64::consts::LN_2;
        k += 1;
    }
    coefficients
}
