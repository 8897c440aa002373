//! What gathers and sums take over hosts: a measurement, not a test.

use std::time::Instant;

use half::bf16;
use tilewright_dp::collective::{CollectiveError, Exchange, Group};
use tilewright_runtime::Device;

/// Runs that are not counted, and those that are.
const RUNS: [usize; 2] = [4, 25];

/// The medians of an all-gather, a reduce-scatter and an all-reduce of so many rows of each rank, in microseconds on the rank where a
/// run takes longest. `arrived` waits for this rank's rows.
pub fn medians<G: Group>(
    device: &Device,
    exchange: &dyn Exchange,
    group: &G,
    arrived: impl Fn(&G) -> Result<(), CollectiveError>,
    rows: u64,
    columns: usize,
) -> [f64; 3] {
    let parts = vec![rows; group.size()];
    let all = rows as usize * group.size();
    let mut buffer = device.zeros::<bf16, 2>([all, columns]).unwrap();
    [0, 1, 2].map(|collective| {
        let mut times: Vec<u64> = (0..RUNS[0] + RUNS[1])
            .map(|_| {
                exchange.all_gather(&[]).unwrap();
                let began = Instant::now();
                let mut rows = buffer.view_mut();
                let asked = match collective {
                    0 => group.all_gather(&mut rows, &parts),
                    1 => group.reduce_scatter(&mut rows, &parts),
                    _ => group.all_reduce(&mut rows),
                };
                asked.and_then(|()| arrived(group)).unwrap();
                let own = began.elapsed().as_nanos() as u64;
                let ranks = exchange.all_gather(&[own]).unwrap();
                ranks.into_iter().flatten().max().unwrap()
            })
            .skip(RUNS[0])
            .collect();
        group.finish().unwrap();
        times.sort_unstable();
        times[RUNS[1] / 2] as f64 / 1e3
    })
}

/// Prints a line for each collective.
pub fn print(rows: u64, columns: usize, who: &str, medians: [f64; 3]) {
    for (collective, median) in ["all-gather", "reduce-scatter", "all-reduce"].into_iter().zip(medians) {
        eprintln!("{rows:>6} rows of {columns} each, {collective:<14} {who:<28} {median:>10.1} us");
    }
}
