//! Prepared launches: the results, errors and tiers of ordinary ones, and what launches cost the host.

mod again;
mod borrowed;
mod cost;
mod raw;

use std::time::Duration;

use tilewright::prelude::*;
use tilewright::runtime::{LaunchError, Prepared};
use tilewright_testing::{Part, turn};
type Failure = Box<dyn std::error::Error>;

fn on_every_device(test: impl Fn(&Device) -> Result<(), Failure>) -> Result<(), Failure> {
    test(&Device::cpu())?;
    match Part::Gpu.if_there(Device::cuda(0)) {
        Some(gpu) => {
            let _turn = turn();
            test(&gpu)
        }
        None => Ok(()),
    }
}

/// The first `rows` rows of `src` times a number, from row `start` of `out` on, as far as there are any.
#[kernel(grid = [rows])]
fn place(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, start: Count, rows: Count, by: i32) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row + start, cols], src.load([row, cols]) * by);
}

/// The same of two matrices.
#[kernel(grid = [rows])]
fn place_both(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, start: Count, rows: Count, by: i32) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    out.store([row + start, cols], src.load([row, cols]) * by + 1);
}

const ROWS: usize = 12;
const COLUMNS: usize = 5;

fn placed(values: &[i32], start: u64, rows: u64, by: i32) -> Vec<i32> {
    let row = |at: usize| {
        let from = at.checked_sub(start as usize).filter(|from| *from < rows as usize);
        let of = move |column| {
            from.map_or(-1, |from| {
                values.get(from * COLUMNS + column).map_or(0, |value| value * by)
            })
        };
        (0..COLUMNS).map(of)
    };
    (0..ROWS).flat_map(row).collect()
}

#[test]
fn prepared_launches_do_what_ordinary_ones_do_whatever_they_are_given() -> Result<(), Failure> {
    on_every_device(|device| {
        let mut random = fastrand::Rng::with_seed(2);
        for specialize in [Specialize::Tiered, Specialize::Exact, Specialize::Resident] {
            for bind in [HostCount::Runtime, HostCount::Exact] {
                let values: Vec<Vec<i32>> = (1..4)
                    .map(|seed| (0..(ROWS * COLUMNS) as i32).map(|at| at * seed + 1).collect())
                    .collect();
                let upload = |values: &Vec<i32>| device.upload(values, [ROWS, COLUMNS]);
                let sources = values.iter().map(upload).collect::<Result<Vec<_>, _>>()?;
                let mut out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
                let first = place(&mut out, &sources[0], bind(0), bind(1), 1).specialize(specialize);
                let mut prepared = device.prepare(&first)?;
                for step in 0..60 {
                    let from = random.usize(..3);
                    let (start, rows) = (random.u64(..ROWS as u64 + 2), random.u64(..ROWS as u64 + 3));
                    let by = random.i32(-3..4);
                    // Some steps use the same tensors as the one before, some other ones.
                    if step % 4 == 0 {
                        out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
                    }
                    out.copy_from(&[-1; ROWS * COLUMNS])?;
                    let call = place(&mut out, &sources[from], bind(start), bind(rows), by).specialize(specialize);
                    let launched = prepared.launch(call)?;
                    device.synchronize()?;
                    assert_eq!(launched.programs(), rows);
                    assert_eq!(
                        out.download()?,
                        placed(&values[from], start, rows, by),
                        "{rows} rows at {start}"
                    );
                }
            }
        }
        Ok(())
    })
}

#[test]
fn bound_launches_do_what_ordinary_ones_do_whatever_their_counts() -> Result<(), Failure> {
    on_every_device(|device| {
        let mut random = fastrand::Rng::with_seed(3);
        let streams = [device.stream(), device.new_stream()?];
        for specialize in [Specialize::Tiered, Specialize::Exact, Specialize::Resident] {
            for bind in [HostCount::Runtime, HostCount::Exact] {
                let values: Vec<i32> = (1..=(ROWS * COLUMNS) as i32).collect();
                let src = device.upload(&values, [ROWS, COLUMNS])?;
                let mut out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
                let mut bound = device.bind(place(&mut out, &src, bind(7), bind(9), 3).specialize(specialize))?;
                assert!(out.download()?.iter().all(|value| *value == 0), "nothing is launched");
                for step in 0..60 {
                    let (start, rows) = (random.u64(..ROWS as u64 + 2), random.u64(..ROWS as u64 + 3));
                    // Now and then another stream has the memory between two launches.
                    let stream = &streams[usize::from(step % 7 == 6)];
                    out.copy_from(&[-1; ROWS * COLUMNS])?;
                    let launched = bound.launch_on(&[start, rows], stream)?;
                    assert_eq!(launched.programs(), rows);
                    assert_eq!(
                        out.download()?,
                        placed(&values, start, rows, 3),
                        "{rows} rows at {start}"
                    );
                }
            }
        }
        Ok(())
    })
}

#[test]
fn bound_launches_keep_their_tensors_and_refuse_what_is_not_theirs() -> Result<(), Failure> {
    on_every_device(|device| {
        let values: Vec<i32> = (1..=(ROWS * COLUMNS) as i32).collect();
        let src = device.upload(&values, [ROWS, COLUMNS])?;
        let mut out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
        let mut first = device.bind(place(&mut out, &src, Runtime(0), Runtime(1), 1))?;
        drop(src);
        // What is allocated now does not lie where the rows do.
        let _others: Vec<_> = (0..8)
            .map(|_| device.upload(&[7; ROWS * COLUMNS], [ROWS, COLUMNS]))
            .collect::<Result<_, _>>()?;
        for counts in [&[][..], &[1], &[1, 2, 3]] {
            match first.launch(counts) {
                Err(error @ LaunchError::WrongArguments { .. }) => {
                    let text = error.to_string();
                    assert!(text.contains("it has 2 counts that the host knows"), "{text}");
                }
                other => panic!("{other:?} of {counts:?}"),
            }
        }
        match first.launch(&[0, u64::MAX]) {
            Err(error @ LaunchError::CountOutOfRange { .. }) => {
                let text = error.to_string();
                assert!(text.contains("`rows` is 9223372036854775807 or more"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        let other = Device::cpu();
        let refused = first.launch_on(&[0, 1], &other.stream());
        assert!(matches!(refused, Err(LaunchError::OtherClass { .. })), "{refused:?}");
        first.launch(&[0, ROWS as u64])?;
        assert_eq!(out.download()?, values);
        Ok(())
    })
}

#[test]
fn what_is_of_another_class_or_device_is_refused_and_the_next_launch_works() -> Result<(), Failure> {
    on_every_device(|device| {
        let src = device.zeros::<i32, 2>([ROWS, 2 * COLUMNS])?;
        let narrow = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
        let mut wide = device.zeros::<i32, 2>([ROWS, 2 * COLUMNS])?;
        let mut out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
        let one = || Runtime(1);
        let mut prepared = device.prepare(&place(&mut out, &narrow, one(), one(), 1))?;
        let refused = |prepared: &mut Prepared, call: Call<'_>, reason: &str| match prepared.launch(call) {
            Err(error @ LaunchError::OtherClass { .. }) => {
                let text = error.to_string();
                assert!(text.contains(reason) && text.contains("`place`"), "{text}");
            }
            other => panic!("{other:?} where {reason} was expected"),
        };
        refused(
            &mut prepared,
            place_both(&mut out, &narrow, one(), one(), 1),
            "another kernel",
        );
        refused(
            &mut prepared,
            place(&mut out, src.columns(..COLUMNS)?, one(), one(), 1),
            "`src` is of another kind, layout or alignment",
        );
        refused(
            &mut prepared,
            place(&mut out, &narrow, one(), one(), 1).checked(),
            "another build",
        );
        refused(
            &mut prepared,
            place(&mut wide, &src, one(), one(), 1),
            "its code is made for `out.extent(1) = 5`",
        );
        let fused = Call::fuse([place(&mut out, &narrow, one(), one(), 1)]);
        refused(&mut prepared, fused, "another kernel");
        assert!(matches!(
            prepared.launch(place(&mut out, &narrow, one(), Runtime(u64::MAX), 1)),
            Err(LaunchError::CountOutOfRange { .. })
        ));
        let other = Device::cpu();
        assert!(matches!(
            prepared.launch_on(place(&mut out, &narrow, one(), one(), 1), &other.stream()),
            Err(LaunchError::OtherClass { .. })
        ));
        prepared.launch(place(&mut out, &narrow, one(), one(), 1))?;
        // Counts that shape no tile may be bound in any way.
        prepared.launch(place(&mut out, &narrow, Exact(1), one(), 1))?;
        prepared.launch_on(place(&mut out, &narrow, one(), one(), 1), &device.new_stream()?)?;
        device.synchronize()?;
        Ok(())
    })
}

/// A number in the first columns of some rows.
#[kernel(grid = [rows])]
fn fill(out: &mut Tensor<i32, 2>, rows: Count, columns: Count, by: i32) {
    out.store([program_id(0), arange(columns)], by);
}

#[test]
fn an_exact_count_that_shapes_a_tile_is_the_same_in_all_launches_of_a_place() -> Result<(), Failure> {
    on_every_device(|device| {
        for specialize in [Specialize::Tiered, Specialize::Exact, Specialize::Resident] {
            let mut out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
            let mut prepared = device.prepare(&fill(&mut out, Runtime(3), Exact(2), 1).specialize(specialize))?;
            let mut bound = device.bind(fill(&mut out, Runtime(3), Exact(2), 10).specialize(specialize))?;
            let is_refused = |result: Result<_, LaunchError>| match result {
                Err(error @ LaunchError::OtherClass { .. }) => {
                    assert!(error.to_string().contains("made for `columns = 2`"), "{error}");
                }
                other => panic!("{other:?} under {specialize:?}"),
            };
            for columns in [2, 4, 0, 2, 1] {
                out.copy_from(&[0; ROWS * COLUMNS])?;
                let call = fill(&mut out, Runtime(3), Exact(columns), 1).specialize(specialize);
                let results = [prepared.launch(call), bound.launch(&[3, columns])];
                for result in results {
                    match columns {
                        2 => drop(result?),
                        _ => is_refused(result),
                    }
                }
                let sum: i32 = out.download()?.iter().sum();
                assert_eq!(sum, if columns == 2 { 60 } else { 0 }, "{columns} columns");
            }
        }
        Ok(())
    })
}

#[test]
fn a_tensor_that_is_written_shares_no_memory_with_another_in_a_prepared_launch() -> Result<(), Failure> {
    let device = Device::cpu();
    // Aligned as the memory of a device is.
    let mut memory = vec![0u128; 2 * ROWS * COLUMNS / 4];
    let at = memory.as_mut_ptr().expose_provenance() as u64;
    let src = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
    let mut out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
    let mut prepared = device.prepare(&place(&mut out, &src, Runtime(0), Runtime(1), 1))?;
    borrowed::overlapping(&mut prepared, &device, at)
}

/// What takes some time to compute, in all places.
#[kernel(grid = [1])]
fn compute(out: &mut Tensor<i32, 2>, steps: Count) {
    let columns = arange(out.extent(1));
    let mut found = full([out.extent(1)], 1);
    for step in 0..steps {
        found = found * 1_664_525 + step as i32;
    }
    for row in 0..out.extent(0) {
        out.store([row, columns], found);
    }
}

#[test]
fn a_prepared_launch_is_ordered_with_the_stream_that_lends_its_memory() -> Result<(), Failure> {
    const STEPS: u64 = 20_000_000;
    let Some(gpu) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return Ok(());
    };
    let _turn = turn();
    let memory = gpu.zeros::<i32, 2>([ROWS, COLUMNS])?;
    let found = borrowed::lent_by_two_streams(&gpu, memory.address(), STEPS)?;
    let computed = (0..STEPS).fold(1i32, |found, step| {
        found.wrapping_mul(1_664_525).wrapping_add(step as i32)
    });
    assert_eq!(found, [computed; ROWS * COLUMNS]);
    Ok(())
}

#[test]
fn a_better_variant_serves_the_next_prepared_launch_and_a_sealed_device_refuses_the_first() -> Result<(), Failure> {
    let device = Device::cpu();
    device.set_specialize(Specialize::Tiered);
    let src = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
    let mut out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
    let mut prepared = device.prepare(&place(&mut out, &src, Runtime(0), Runtime(1), 1))?;
    assert_eq!(device.counters().variants, 0, "preparing builds nothing");
    device.seal();
    let refused = prepared.launch(place(&mut out, &src, Runtime(0), Runtime(1), 1));
    assert!(matches!(refused, Err(LaunchError::Sealed { .. })), "{refused:?}");
    device.unseal();
    let first = prepared.launch(place(&mut out, &src, Runtime(0), Runtime(2), 1))?;
    assert_eq!(first.tier(), Some(tilewright::runtime::Tier::Resident));
    assert!(Device::settle(Duration::from_secs(60)));
    device.seal();
    let next = prepared.launch(place(&mut out, &src, Runtime(0), Runtime(3), 1))?;
    assert_eq!(next.tier(), Some(tilewright::runtime::Tier::Proved));
    let counters = device.counters();
    assert_eq!(
        (counters.launches, counters.served_resident, counters.served_proved),
        (2, 1, 1)
    );
    Ok(())
}
