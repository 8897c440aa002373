//! Compiled kernels that are kept, so that none is compiled twice: not by this process, and not by the next.
//!
//! ```text
//! a missing variant -> Variants (this process, by what decides the code)
//!                   -> Bundle   (a file of cubins made elsewhere; needs no NVRTC)
//!                   -> DiskCache (a folder that processes share)
//!                   -> NVRTC, whose cubin is kept on the disk
//! ```
//!
//! [`CubinCache`] asks them in this order. Everything here is bytes by [`CubinKey`]: what a device or a launch is, is not
//! known. Files are believed only as far as their checksums go, and whatever goes wrong with one is a miss.

mod bundle;
mod disk;
mod file;
#[cfg(test)]
mod fuzz;
mod key;
mod ledger;
mod lookup;
mod survey;
mod temporary;
#[cfg(test)]
mod tests;

pub use bundle::{Bundle, BundleBuilder, BundleError, MAX_BUNDLE_BYTES};
pub use disk::{DiskCache, DiskCounters};
pub use file::{Damage, MAX_CUBIN_BYTES, StoredCubin};
pub use key::CubinKey;
pub use lookup::{CacheCounters, CubinCache, Origin};
pub use survey::DiskSurvey;
