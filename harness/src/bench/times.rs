//! What was measured.

use std::fmt;

/// Microseconds of one launch, as so many replays had them. There is one at least.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    sorted: Vec<f64>,
    us: Vec<f64>,
}

impl Times {
    /// Of the times of replays, in their order; `None` if there are none.
    pub fn new(us: Vec<f64>) -> Option<Self> {
        let mut sorted = us.clone();
        sorted.sort_by(f64::total_cmp);
        (!us.is_empty()).then_some(Self { sorted, us })
    }

    /// Each replay's, in the order of the replays.
    pub fn us(&self) -> &[f64] {
        &self.us
    }

    /// The middle one; of an even number, between the two in the middle.
    ///
    /// ```
    /// use tilewright_harness::bench::Times;
    ///
    /// let times = Times::new(vec![3.0, 9.0, 1.0, 2.0]).unwrap();
    /// assert_eq!((times.median_us(), times.least_us()), (2.5, 1.0));
    /// assert_eq!(times.us(), [3.0, 9.0, 1.0, 2.0]);
    /// ```
    pub fn median_us(&self) -> f64 {
        let most = self.sorted.len() - 1;
        f64::midpoint(self.sorted[most / 2], self.sorted[most.div_ceil(2)])
    }

    /// The least one.
    pub fn least_us(&self) -> f64 {
        self.sorted[0]
    }

    /// Gigabytes in a second, if a launch moves so many bytes.
    ///
    /// ```
    /// use tilewright_harness::bench::Times;
    ///
    /// assert_eq!(Times::new(vec![2.0]).unwrap().gigabytes_per_second(8000), 4.0);
    /// ```
    pub fn gigabytes_per_second(&self, bytes: usize) -> f64 {
        bytes as f64 / self.median_us() / 1e3
    }

    /// What part these are of the bandwidth of a launch that moves as many bytes, a [`copy`](super::copy) as a rule.
    ///
    /// ```
    /// use tilewright_harness::bench::Times;
    ///
    /// let (times, copy) = (Times::new(vec![5.0]).unwrap(), Times::new(vec![4.0]).unwrap());
    /// assert_eq!(times.share_of(&copy), 0.8);
    /// ```
    pub fn share_of(&self, copy: &Times) -> f64 {
        copy.median_us() / self.median_us()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, least) = (self.median_us(), self.least_us());
        write!(f, "{median:.2} us (the least of {} is {least:.2})", self.us.len())
    }
}
