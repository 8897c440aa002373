//! Graphs that own what they use, captured on a stream that nobody else has: of the CPU device, and of a GPU where there is one.

#![allow(unsafe_code)] // A graph over memory of others is captured on the word of whoever captures.

use std::collections::HashSet;
use std::error::Error;
use std::sync::MutexGuard;
use std::time::Duration;

use tilewright::dp::kernels::{copy_to_slot, gather_rows, pad_rows};
use tilewright::prelude::*;
use tilewright::runtime::{BorrowedTensor, BorrowedTensorMut, Counters, DeviceError, Graph};
use tilewright_testing::{Part, turn};

type Outcome = Result<(), Box<dyn Error>>;

const COLUMNS: usize = 131;

fn gpu() -> Option<(Device, MutexGuard<'static, ()>)> {
    Part::Gpu.or_skip(Device::cuda(0)).map(|gpu| (gpu, turn()))
}

fn on_every_device(test: impl Fn(&Device) -> Outcome) -> Outcome {
    test(&Device::cpu())?;
    gpu().map_or(Ok(()), |(device, _turn)| test(&device))
}

fn rows(first: usize, rows: usize) -> Vec<u16> {
    (first * COLUMNS..(first + rows) * COLUMNS)
        .map(|i| (i as u16).wrapping_mul(40503) | 1)
        .collect()
}

fn padded(first: usize, valid: usize, all: usize) -> Vec<u16> {
    let mut expected = rows(first, valid);
    expected.resize(all * COLUMNS, 0);
    expected
}

/// Captures launches that were made before: none of them may record or build anything.
fn captured<E: From<DeviceError>>(device: &Device, body: impl FnOnce(&Stream) -> Result<(), E>) -> Result<Graph, E> {
    let before = device.counters();
    let graph = device.capture(body)?;
    let after = device.counters();
    assert_eq!(
        (after.traces, after.variants, after.compiles),
        (before.traces, before.variants, before.compiles),
        "a kernel was built during the capture"
    );
    Ok(graph)
}

#[test]
fn a_graph_follows_a_thousand_counts_in_device_memory() -> Outcome {
    on_every_device(|device| {
        const MOST: usize = 40;
        let src = device.upload(&rows(0, MOST), [MOST, COLUMNS])?;
        let mut counts = device.zeros::<i32, 1>([2])?;
        let (mut out, mut slot) = (
            device.zeros::<u16, 2>([MOST, COLUMNS])?,
            device.zeros::<u16, 2>([MOST, COLUMNS])?,
        );
        let mut step = |stream: &Stream| -> Result<(), Box<dyn Error>> {
            pad_rows(&mut out, &src, device_count(&counts, 0, MOST as u64)?).launch_on(stream)?;
            let (offset, valid) = (
                device_count(&counts, 1, MOST as u64)?,
                device_count(&counts, 0, MOST as u64)?,
            );
            copy_to_slot(&mut slot, &src, offset, valid).launch_on(stream)?;
            Ok(())
        };
        step(&device.stream())?;
        let mut graph = captured(device, step)?;
        // What other launches have asked for is built behind.
        assert!(Device::settle(Duration::from_secs(120)));
        let before = device.counters();
        let mut seen = HashSet::new();
        for round in 0..1000usize {
            // Every pair of them is another one.
            let (valid, offset) = (round * 7 % (MOST + 1), round / (MOST + 1) * 5 % (MOST + 1));
            assert!(seen.insert((valid, offset)));
            counts.copy_from(&[valid as i32, offset as i32])?;
            slot.copy_from(&[9; MOST * COLUMNS])?;
            graph.launch()?;
            assert!(out.download()? == padded(0, valid, MOST), "{valid} rows");
            let mut expected = vec![9; MOST * COLUMNS];
            let placed = valid.min(MOST - offset);
            expected[offset * COLUMNS..(offset + placed) * COLUMNS].copy_from_slice(&rows(0, placed));
            assert!(slot.download()? == expected, "{valid} rows at {offset}");
        }
        let after = device.counters();
        let counted = |counters: Counters| (counters.launches, counters.traces, counters.compiles, counters.waits);
        assert_eq!(
            counted(after),
            counted(before),
            "it is captured once, and nothing is compiled for it"
        );
        println!(
            "{} replays of one graph, each with other counts, and all are right",
            seen.len()
        );
        Ok(())
    })
}

#[test]
fn a_graph_keeps_the_memory_that_it_uses() -> Outcome {
    on_every_device(|device| {
        let mut out = device.zeros::<u16, 2>([8, COLUMNS])?;
        let src = device.upload(&rows(3, 5), [5, COLUMNS])?;
        let index = device.upload(&[4i32, 1, -1, 0, 2, 2, 3, 9], [8])?;
        gather_rows(&mut out, &src, &index).launch(device)?;
        let mut graph = captured(device, |stream| {
            gather_rows(&mut out, &src, &index).launch_on(stream).map(|_| ())
        })?;
        let expected = out.download()?;
        drop((src, index));
        // What is allocated now would lie where the others were.
        let others: Vec<_> = (0..64)
            .map(|_| device.upload(&[0xffffu16; 5 * COLUMNS], [5, COLUMNS]))
            .collect::<Result<_, _>>()?;
        for _ in 0..3 {
            out.copy_from(&[7; 8 * COLUMNS])?;
            graph.launch()?;
            assert!(out.download()? == expected);
        }
        // A launch may still run when its graph goes, and its memory with it.
        out.copy_from(&[7; 8 * COLUMNS])?;
        graph.launch()?;
        drop(graph);
        drop(others);
        assert!(out.download()? == expected);
        device.synchronize()?;
        Ok(())
    })
}

#[test]
fn what_other_threads_ask_meanwhile_is_in_no_graph() -> Outcome {
    on_every_device(|device| {
        let src = device.upload(&rows(0, 4), [4, COLUMNS])?;
        let (mut out, mut theirs) = (
            device.zeros::<u16, 2>([4, COLUMNS])?,
            device.zeros::<u16, 2>([4, COLUMNS])?,
        );
        pad_rows(&mut out, &src, Runtime(3)).launch(device)?;
        let mut graph = device.capture(|stream| {
            pad_rows(&mut out, &src, Runtime(3)).launch_on(stream)?;
            std::thread::scope(|scope| {
                let beside = scope.spawn(|| -> Result<(), LaunchError> {
                    // On the device's own stream: an allocation, a transfer, a launch and a wait.
                    let tensor = device.upload(&rows(9, 4), [4, COLUMNS]).expect("an upload");
                    pad_rows(&mut theirs, &tensor, Runtime(2)).launch(device)?;
                    assert!(theirs.download().expect("a download") == padded(9, 2, 4));
                    Ok(())
                });
                beside.join().expect("it ran")
            })
        })?;
        theirs.copy_from(&[5; 4 * COLUMNS])?;
        out.copy_from(&[5; 4 * COLUMNS])?;
        graph.launch()?;
        assert!(out.download()? == padded(0, 3, 4));
        assert!(
            theirs.download()? == [5; 4 * COLUMNS],
            "another thread's launch is in the graph"
        );
        Ok(())
    })
}

#[test]
fn what_a_graph_cannot_hold_is_refused_with_what_to_do_before() -> Outcome {
    on_every_device(|device| {
        let mut tensor = device.upload(&[1u64, 2, 3, 4], [2, 2])?;
        let mut out = device.zeros::<u64, 2>([3, 2])?;
        let other = device.new_stream()?;
        // No launch of this test program has these types.
        let index = device.upload(&[1i64, 0, 5], [3])?;
        let cold = device.capture(|stream| gather_rows(&mut out, &tensor, &index).launch_on(stream).map(|_| ()));
        let error = cold.unwrap_err();
        assert!(
            matches!(
                error,
                LaunchError::Sealed {
                    kernel: "gather_rows",
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("before the capture"), "{error}");

        gather_rows(&mut out, &tensor, &index).launch(device)?;
        let mut graph = device.capture(|stream| -> Result<(), Box<dyn Error>> {
            let capturing = |refused: Result<(), TensorError>| {
                let error = refused.expect_err("a graph cannot hold it");
                assert!(
                    matches!(error, TensorError::Device(DeviceError::Capturing { .. })),
                    "{error}"
                );
                assert!(error.to_string().contains("do it before the capture"), "{error}");
            };
            capturing(device.zeros::<u8, 1>([1]).map(|_| ()));
            capturing(device.upload(&[1u8], [1]).map(|_| ()));
            capturing(tensor.download().map(|_| ()));
            capturing(tensor.copy_from(&[9; 4]));
            capturing(stream.synchronize().map_err(TensorError::from));
            capturing(other.wait_for(stream).map_err(TensorError::from));
            capturing(stream.wait_for(&other).map_err(TensorError::from));
            capturing(
                device
                    .capture(|_| Ok::<(), DeviceError>(()))
                    .map(|_| ())
                    .map_err(TensorError::from),
            );
            gather_rows(&mut out, &tensor, &index).launch_on(stream)?;
            Ok(())
        })?;
        out.copy_from(&[7; 6])?;
        graph.launch_on(&other)?;
        assert_eq!(out.download()?, [3, 4, 1, 2, 0, 0]);
        Ok(())
    })
}

#[test]
fn what_a_launch_in_a_graph_reports_comes_when_the_device_is_waited_for() -> Outcome {
    #[kernel(grid = [at.extent(0)], bounds = "trap")]
    fn pick(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, at: &Tensor<i64, 1>) {
        out.store([program_id(0)], src.load([at.load([program_id(0)])]));
    }

    on_every_device(|device| {
        let src = device.upload(&[1, 2, 3], [3])?;
        let (mut at, mut out) = (device.upload(&[0i64, 2], [2])?, device.zeros::<i32, 1>([2])?);
        pick(&mut out, &src, &at).launch(device)?;
        let mut graph = captured(device, |stream| pick(&mut out, &src, &at).launch_on(stream).map(|_| ()))?;
        for (index, is_there) in [(1, true), (7, false), (2, true), (-1, false)] {
            at.copy_from(&[0, index])?;
            graph.launch()?;
            match device.synchronize() {
                Ok(()) => assert!(is_there, "{index}"),
                Err(LaunchError::Trapped { index: found, .. }) => assert_eq!((found, is_there), (index, false)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
}

#[test]
fn launches_of_a_graph_are_in_order_with_every_stream() -> Outcome {
    on_every_device(|device| {
        let mut counts = device.zeros::<i64, 1>([1])?;
        let src = device.upload(&rows(0, 6), [6, COLUMNS])?;
        let (mut middle, mut out) = (
            device.zeros::<u16, 2>([6, COLUMNS])?,
            device.zeros::<u16, 2>([6, COLUMNS])?,
        );
        pad_rows(&mut middle, &src, device_count(&counts, 0, 6)?).launch(device)?;
        pad_rows(&mut out, &middle, Runtime(6)).launch(device)?;
        let mut graph = captured(device, |stream| -> Result<(), Box<dyn Error>> {
            pad_rows(&mut middle, &src, device_count(&counts, 0, 6)?).launch_on(stream)?;
            Ok(())
        })?;
        let streams = [device.stream(), device.new_stream()?, device.new_stream()?];
        for round in 0..200usize {
            counts.copy_from(&[(round % 7) as i64])?;
            graph.launch_on(&streams[round % 3])?;
            pad_rows(&mut out, &middle, Runtime(6)).launch_on(&streams[(round / 3) % 3])?;
            assert!(out.download()? == padded(0, round % 7, 6), "round {round}");
        }
        Ok(())
    })
}

#[test]
fn a_stream_that_outlives_its_capture_is_a_stream_like_any_other() -> Outcome {
    on_every_device(|device| {
        let src = device.upload(&rows(0, 4), [4, COLUMNS])?;
        let mut out = device.zeros::<u16, 2>([4, COLUMNS])?;
        pad_rows(&mut out, &src, Runtime(3)).launch(device)?;
        let mut escaped = None;
        let mut graph = device.capture(|stream| {
            escaped = Some(stream.clone());
            pad_rows(&mut out, &src, Runtime(3)).launch_on(stream).map(|_| ())
        })?;
        let escaped = escaped.ok_or("a stream")?;
        pad_rows(&mut out, &src, Runtime(1)).launch_on(&escaped)?;
        assert!(out.download()? == padded(0, 1, 4));
        graph.launch_on(&escaped)?;
        assert!(out.download()? == padded(0, 3, 4));
        escaped.synchronize()?;
        // A failed capture leaves nothing behind either.
        let failed = device.capture(|_| Err::<(), _>(DeviceError::NoDevice));
        assert!(matches!(failed, Err(DeviceError::NoDevice)));
        assert!(device.zeros::<u8, 1>([1]).is_ok());
        Ok(())
    })
}

#[test]
fn borrowed_memory_is_in_a_graph_only_on_the_word_of_who_captures() -> Outcome {
    let Some((device, _turn)) = gpu() else { return Ok(()) };
    let (src, mut out) = (
        device.upload(&rows(0, 4), [4, COLUMNS])?,
        device.zeros::<u16, 2>([4, COLUMNS])?,
    );
    pad_rows(&mut out, &src, Runtime(2)).launch(&device)?;
    let home = device.stream();
    let strides = [COLUMNS as i64, 1];
    // SAFETY: both tensors outlive what borrows from them, and are used on the device's own stream only.
    let (from, mut to) = unsafe {
        (
            BorrowedTensor::<u16, 2>::from_raw(&home, src.address(), [4, COLUMNS], strides)?,
            BorrowedTensorMut::<u16, 2>::from_raw(&home, out.address(), [4, COLUMNS], strides)?,
        )
    };
    let refused = device.capture(|stream| pad_rows(&mut to, &from, Runtime(2)).launch_on(stream).map(|_| ()));
    let error = refused.unwrap_err();
    assert!(
        matches!(error, LaunchError::Device(DeviceError::BorrowedInGraph)),
        "{error}"
    );
    // SAFETY: both tensors outlive the graph.
    let mut graph = unsafe {
        device.capture_borrowing(|stream| pad_rows(&mut to, &from, Runtime(2)).launch_on(stream).map(|_| ()))
    }?;
    out.copy_from(&[7; 4 * COLUMNS])?;
    // On another stream than the memory's own, which is waited for and waits.
    graph.launch_on(&device.new_stream()?)?;
    assert!(out.download()? == padded(0, 2, 4));
    Ok(())
}
