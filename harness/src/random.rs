//! Random bits.

/// SplitMix64: enough for data, and the same on every machine. The number is its seed.
///
/// ```
/// use tilewright_harness::testing::Random;
///
/// let mut random = Random(1);
/// assert_ne!(random.next(), random.next());
/// assert_eq!(Random(7).next(), Random(7).next());
/// ```
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "there is always a next one")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// The numbers from 0 to `length - 1` in a random order: an index that has every row once.
    ///
    /// ```
    /// use tilewright_harness::testing::Random;
    ///
    /// let mut order = Random(1).permutation(100);
    /// assert_ne!(order, Vec::from_iter(0..100));
    /// order.sort_unstable();
    /// assert_eq!(order, Vec::from_iter(0..100));
    /// ```
    pub fn permutation(&mut self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            order.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
        order
    }
}

/// The bits of a number, mixed so that those of neighbours have nothing in common.
pub(crate) fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
