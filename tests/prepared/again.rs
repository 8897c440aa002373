//! Launches that come again: over other rows, values and tensors.

use std::time::Duration;

use tilewright::prelude::*;

use super::{COLUMNS, Failure, ROWS, on_every_device, place, placed};

/// What a launch that came often is given next: the same, other tensors, other counts, what is refused, another class.
#[test]
fn ordinary_launches_that_come_again_and_again_do_what_the_first_did() -> Result<(), Failure> {
    on_every_device(|device| {
        let mut random = fastrand::Rng::with_seed(6);
        for specialize in [Specialize::Tiered, Specialize::Exact, Specialize::Resident] {
            let wide: Vec<i32> = (0..(ROWS * 2 * COLUMNS) as i32).collect();
            let narrow: Vec<i32> = wide
                .chunks(2 * COLUMNS)
                .flat_map(|row| row[..COLUMNS].to_vec())
                .collect();
            let wide = device.upload(&wide, [ROWS, 2 * COLUMNS])?;
            let zeros = vec![0; ROWS * COLUMNS];
            // With what is in it.
            let source = |values: Vec<i32>| Ok::<_, Failure>((device.upload(&values, [ROWS, COLUMNS])?, values));
            let mut sources = [source(narrow.clone())?, source(zeros)?];
            let mut out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
            for step in 0..200 {
                let (start, rows) = (random.u64(..ROWS as u64 + 2), random.u64(..ROWS as u64 + 3));
                let bind = if random.bool() {
                    HostCount::Runtime
                } else {
                    HostCount::Exact
                };
                let by = random.i32(-3..4);
                out.copy_from(&[-1; ROWS * COLUMNS])?;
                // The same most of the time, so that it is what came often.
                let (call, values) = match random.u8(..16) {
                    0 => {
                        sources.swap(0, 1);
                        continue;
                    }
                    1 => (
                        place(&mut out, &sources[1].0, bind(start), bind(rows), by),
                        &sources[1].1,
                    ),
                    2 => (
                        place(&mut out, wide.columns(..COLUMNS)?, bind(start), bind(rows), by),
                        &narrow,
                    ),
                    3 => {
                        let call = place(&mut out, &sources[0].0, bind(start), bind(u64::MAX), by);
                        let refused = call.specialize(specialize).launch(device);
                        assert!(
                            matches!(refused, Err(LaunchError::CountOutOfRange { .. })),
                            "{refused:?}"
                        );
                        continue;
                    }
                    4 => {
                        out = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
                        out.copy_from(&[-1; ROWS * COLUMNS])?;
                        (
                            place(&mut out, &sources[0].0, bind(start), bind(rows), by).checked(),
                            &sources[0].1,
                        )
                    }
                    _ => (
                        place(&mut out, &sources[0].0, bind(start), bind(rows), by),
                        &sources[0].1,
                    ),
                };
                let call = call.specialize(specialize);
                let launched = call.launch(device)?;
                assert_eq!(launched.programs(), rows);
                assert_eq!(
                    out.download()?,
                    placed(values, start, rows, by),
                    "step {step}: {rows} rows at {start}"
                );
            }
        }
        Ok(())
    })
}

/// What an engine does: slots and rows of the same buffers, of which each step has other ones or the same again.
#[test]
fn launches_over_other_rows_of_the_same_buffers_move_those() -> Result<(), Failure> {
    on_every_device(|device| {
        const BUFFER: usize = 40;
        let mut random = fastrand::Rng::with_seed(11);
        let streams = [device.stream(), device.new_stream()?];
        // One row of a wider buffer is contiguous, several are not.
        let tiers = [Specialize::Tiered, Specialize::Resident].map(|tier| [(tier, COLUMNS), (tier, COLUMNS + 4)]);
        for (specialize, width) in tiers.into_iter().flatten() {
            let values: Vec<Vec<i32>> = (1..3)
                .map(|seed| (0..(BUFFER * width) as i32).map(|at| at * 2 + seed).collect())
                .collect();
            let upload = |values: &Vec<i32>| device.upload(values, [BUFFER, width]);
            let sources = values.iter().map(upload).collect::<Result<Vec<_>, _>>()?;
            let mut buffer = device.zeros::<i32, 2>([BUFFER, COLUMNS])?;
            let mut expected = vec![0; BUFFER * COLUMNS];
            let (mut from, mut slot, mut rows_of_source, mut count) = (0, 0..6, 0..6, 6);
            for step in 0..400 {
                // Most steps change one thing.
                match random.u8(..8) {
                    0 => from = 1 - from,
                    1 => {
                        let first = random.usize(..BUFFER);
                        slot = first..random.usize(first..=BUFFER.min(first + 8));
                    }
                    2 | 3 => {
                        let first = random.usize(..BUFFER - rows_of_source.len());
                        rows_of_source = first..first + rows_of_source.len();
                    }
                    4 => rows_of_source.end = random.usize(rows_of_source.start..=BUFFER.min(rows_of_source.start + 8)),
                    5 | 6 => count = random.usize(..10),
                    _ => {}
                }
                let by = random.i32(1..4);
                let (out, src) = (
                    buffer.view_mut().rows(slot.clone())?,
                    sources[from].columns(..COLUMNS)?.rows(rows_of_source.clone())?,
                );
                let bind = if step < 200 {
                    HostCount::Exact
                } else {
                    HostCount::Runtime
                };
                let call = place(out, src, bind(0), bind(count as u64), by).specialize(specialize);
                call.launch_on(&streams[random.usize(..8) / 7])?;
                for row in 0..count.min(slot.len()) {
                    let source = rows_of_source.start + row;
                    let (to, is_there) = (slot.start + row, row < rows_of_source.len());
                    for column in 0..COLUMNS {
                        let value = values[from][(source % BUFFER) * width + column] * by;
                        expected[to * COLUMNS + column] = if is_there { value } else { 0 };
                    }
                }
                if step % 8 == 0 {
                    assert_eq!(buffer.download()?, expected, "step {step}");
                }
            }
            assert_eq!(buffer.download()?, expected);
        }
        Ok(())
    })
}

/// As `place`, of all tensors of a list, which have as many rows; times as many.
#[kernel(grid = [rows, outs.len()])]
fn place_each(outs: &mut TensorList<i32, 2>, src: &Tensor<i32, 2>, start: Count, rows: Count) {
    let (row, cols) = (program_id(0), arange(outs.extent(1)));
    let by = outs.extent(0).cast::<i32>();
    outs[program_id(1)].store([row + start, cols], src.load([row, cols]) * by);
}

#[test]
fn launches_over_lists_of_other_rows_write_to_no_others() -> Result<(), Failure> {
    on_every_device(|device| {
        const BUFFER: usize = 40;
        let mut random = fastrand::Rng::with_seed(12);
        let values: Vec<i32> = (1..=(BUFFER * COLUMNS) as i32).collect();
        let src = device.upload(&values, [BUFFER, COLUMNS])?;
        let mut buffers = [(); 2].map(|()| device.zeros::<i32, 2>([BUFFER, COLUMNS]).expect("memory"));
        let mut expected = vec![0; BUFFER * COLUMNS];
        // So often in a row that what a place knows of them is made use of, and then fewer rows of the same.
        for rows in [16, 8, 12, 4, 16, 2] {
            for step in 0..40 {
                let (start, count) = (random.usize(..3), if step < 30 { 10 } else { random.usize(..18) });
                {
                    let mut outs = Vec::new();
                    for buffer in &mut buffers {
                        outs.push(buffer.view_mut().rows(..rows)?);
                    }
                    let call = place_each(&mut outs, &src, Exact(start as u64), Runtime(count as u64));
                    call.specialize(Specialize::Tiered).launch(device)?;
                }
                for row in 0..count.min(rows.saturating_sub(start)) {
                    for column in 0..COLUMNS {
                        expected[(row + start) * COLUMNS + column] = values[row * COLUMNS + column] * rows as i32;
                    }
                }
            }
            Device::settle(Duration::from_secs(60));
            for buffer in &buffers {
                assert_eq!(buffer.download()?, expected, "after launches over {rows} rows");
            }
        }
        Ok(())
    })
}

/// As `place`, into each tensor of a list whose number is a constant of the kernel; times its place in the list.
#[kernel(grid = [rows])]
fn place_in_all(outs: &mut TensorList<i32, 2>, src: &Tensor<i32, 2>, start: Count, rows: Count) {
    let (row, cols) = (program_id(0), arange(outs.extent(1)));
    for which in 0..comptime(outs.len()) {
        outs[which].store([row + start, cols], src.load([row, cols]) * (which as i32 + 1));
    }
}

#[test]
fn launches_of_short_lists_find_their_tensors_wherever_they_are() -> Result<(), Failure> {
    on_every_device(|device| {
        const BUFFER: usize = 12;
        let mut random = fastrand::Rng::with_seed(31);
        let values: Vec<i32> = (1..=(BUFFER * COLUMNS) as i32).collect();
        let src = device.upload(&values, [BUFFER, COLUMNS])?;
        let mut buffers = [(); 4].map(|()| device.zeros::<i32, 2>([BUFFER, COLUMNS]).expect("memory"));
        let mut expected = [(); 4].map(|()| vec![0; BUFFER * COLUMNS]);
        for step in 0..160 {
            // Often the same tensors, now and then others, other rows of theirs, fewer or in another order.
            let mut order: Vec<usize> = (0..4).collect();
            if step % 3 == 2 {
                random.shuffle(&mut order);
            }
            order.truncate(if step % 20 < 12 { 3 } else { random.usize(1..4) });
            let first = if step % 4 == 3 { random.usize(..6) } else { 0 };
            let (start, count) = (random.usize(..3), random.usize(..8));
            {
                let mut views = Vec::new();
                for (number, buffer) in buffers.iter_mut().enumerate() {
                    if let Some(which) = order.iter().position(|at| *at == number) {
                        views.push((which, buffer.view_mut().rows(first..BUFFER)?));
                    }
                }
                views.sort_by_key(|(which, _)| *which);
                let mut outs: Vec<_> = views.into_iter().map(|(_, view)| view).collect();
                let call = place_in_all(&mut outs, &src, Runtime(start as u64), Runtime(count as u64));
                call.launch(device)?;
            }
            for (which, number) in order.iter().enumerate() {
                for row in 0..count.min(BUFFER - first - start) {
                    for column in 0..COLUMNS {
                        expected[*number][(first + start + row) * COLUMNS + column] =
                            values[row * COLUMNS + column] * (which as i32 + 1);
                    }
                }
            }
            if step % 8 == 7 {
                for (buffer, expected) in buffers.iter().zip(&expected) {
                    assert_eq!(&buffer.download()?, expected, "step {step}");
                }
            }
        }
        Ok(())
    })
}
