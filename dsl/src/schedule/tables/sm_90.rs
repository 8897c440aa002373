//! What was measured of `sm_90`. `cargo xtask tune` writes this file.

use crate::schedule::{LoadHint, StoreHint, Tuning};

pub(super) const TUNING: Tuning = Tuning {
    alone: 992,
    at_once: 32,
    block: 256,
    brief: 248,
    fetched_from: 7,
    fetched_long: 3700,
    in_flight: 4,
    kept_from: 4000,
    kept_until: 8000,
    load: LoadHint::Streaming,
    long: 15888,
    paired: 1500,
    share: 2,
    shared_block: 256,
    short_row: 1024,
    shortest_row: 256,
    store: StoreHint::Streaming,
    written_until: 15888,
};
