//! Launches in a graph that are given other arguments, on the CPU device and on a GPU where there is one.

#![allow(unsafe_code)] // Memory of others goes into a graph on the word of whoever puts it there.

use std::error::Error;

use tilewright::dp::kernels::{copy_kv_layers, copy_to_slot, pad_rows};
use tilewright::prelude::*;
use tilewright::runtime::{BorrowedTensor, BorrowedTensorMut, CapturedLaunch, DeviceError, Graph};
use tilewright_testing::{Part, turn};

type Outcome = Result<(), Box<dyn Error>>;

const COLUMNS: usize = 131;
const MOST: usize = 24;

fn on_every_device(test: impl Fn(&Device) -> Outcome) -> Outcome {
    test(&Device::cpu())?;
    let Some(device) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return Ok(());
    };
    let _turn = turn();
    test(&device)?;
    Ok(device.synchronize()?)
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

type Rows = DeviceTensor<u16, 2>;

fn zeros(device: &Device, rows: usize) -> Result<Rows, TensorError> {
    device.zeros([rows, COLUMNS])
}

/// A graph of `pad_rows`, and its launch in it.
fn padding(device: &Device, out: &mut Rows, src: &Rows, valid: u64) -> Result<(Graph, CapturedLaunch), LaunchError> {
    pad_rows(&mut *out, src, Runtime(valid)).launch(device)?;
    let mut launch = None;
    let graph = device.capture(|stream| {
        launch = pad_rows(out, src, Runtime(valid))
            .launch_on(stream)?
            .captured()
            .cloned();
        Ok::<_, LaunchError>(())
    })?;
    Ok((graph, launch.expect("it has programs")))
}

#[test]
fn launches_in_a_graph_follow_the_counts_that_they_are_given() -> Outcome {
    on_every_device(|device| {
        let src = device.upload(&rows(0, MOST), [MOST, COLUMNS])?;
        let (mut first, mut slot, mut last) = (zeros(device, MOST)?, zeros(device, MOST)?, zeros(device, MOST)?);
        let mut launches = Vec::new();
        let mut step = |stream: &Stream, launches: &mut Vec<_>| -> Result<(), LaunchError> {
            let mut launched = |launched: Launched| launches.push(launched.captured().cloned());
            launched(pad_rows(&mut first, &src, Runtime(3)).launch_on(stream)?);
            launched(copy_to_slot(&mut slot, &first, Runtime(1), Runtime(2)).launch_on(stream)?);
            launched(pad_rows(&mut last, &slot, Exact(3)).launch_on(stream)?);
            Ok(())
        };
        step(&device.stream(), &mut launches)?;
        assert!(
            launches.drain(..).all(|launch| launch.is_none()),
            "these are in no graph"
        );
        let mut graph = device.capture(|stream| step(stream, &mut launches))?;
        let launches: Vec<CapturedLaunch> = launches.into_iter().flatten().collect();
        let mut random = fastrand::Rng::with_seed(5);
        let mut counts = [3, 1, 2, 3usize];
        let most = MOST as u64;
        for round in 0..300 {
            // Only some are updated, and the others stay as they were; a copy of no rows has no programs.
            if round > 0 && random.bool() {
                counts[0] = random.usize(0..=MOST);
                graph.update(&launches[0], pad_rows(&mut first, &src, Runtime(counts[0] as u64)))?;
            }
            if round > 0 && random.bool() {
                counts[1] = random.usize(0..MOST);
                counts[2] = random.usize(0..=(MOST - counts[1]).min(2) * 2).min(MOST - counts[1]);
                let [offset, valid] = [counts[1], counts[2]].map(|count| count as u64);
                graph.update(
                    &launches[1],
                    copy_to_slot(&mut slot, &first, Runtime(offset), Runtime(valid)),
                )?;
            }
            if round > 0 && random.bool() {
                counts[3] = random.usize(0..=MOST);
                let bound = if random.bool() {
                    HostCount::Exact
                } else {
                    HostCount::Runtime
                };
                graph.update(&launches[2], pad_rows(&mut last, &slot, bound(counts[3] as u64)))?;
            }
            slot.copy_from(&vec![9; MOST * COLUMNS])?;
            graph.launch()?;
            let [valid, offset, copied, arrived] = counts;
            let what = format!("round {round}: {counts:?} of {most}");
            let expected = padded(0, valid, MOST);
            assert!(first.download()? == expected, "{what}");
            let mut in_slot = vec![9; MOST * COLUMNS];
            in_slot[offset * COLUMNS..(offset + copied) * COLUMNS].copy_from_slice(&expected[..copied * COLUMNS]);
            assert!(slot.download()? == in_slot, "{what}");
            in_slot[arrived * COLUMNS..].fill(0);
            assert!(last.download()? == in_slot, "{what}");
        }
        Ok(())
    })
}

#[test]
fn a_launch_in_a_graph_can_be_given_other_tensors_and_another_grid() -> Outcome {
    on_every_device(|device| {
        let src = device.upload(&rows(0, 4), [4, COLUMNS])?;
        let mut out = zeros(device, 4)?;
        let (mut graph, launch) = padding(device, &mut out, &src, 3)?;
        for all in [4, 1, 9, MOST] {
            let valid = all.min(6);
            let from = device.upload(&rows(all, valid), [valid, COLUMNS])?;
            let mut to = device.upload(&vec![5; all * COLUMNS], [all, COLUMNS])?;
            graph.update(&launch, pad_rows(&mut to, &from, Runtime(valid as u64)))?;
            drop(from);
            // What is allocated now would lie where the source was.
            let _others = [(); 8].map(|()| device.upload(&vec![0xffff; valid * COLUMNS], [valid, COLUMNS]));
            out.copy_from(&[7; 4 * COLUMNS])?;
            graph.launch()?;
            assert!(to.download()? == padded(all, valid, all), "{all} rows");
            assert!(out.download()? == [7; 4 * COLUMNS], "that is no longer written");
        }
        // Another class: columns of other tensors, narrower and not whole.
        let wide = device.upload(&rows(0, 6), [6, COLUMNS])?;
        let mut narrow = device.zeros::<u16, 2>([6, 5])?;
        pad_rows(&mut narrow, wide.columns(3..8)?, Runtime(2)).launch(device)?;
        let expected = narrow.download()?;
        narrow.copy_from(&[1; 30])?;
        graph.update(&launch, pad_rows(&mut narrow, wide.columns(3..8)?, Runtime(2)))?;
        graph.launch_on(&device.new_stream()?)?;
        assert_eq!(narrow.download()?, expected);
        Ok(())
    })
}

#[test]
fn launches_before_an_update_are_not_affected_and_those_after_it_are() -> Outcome {
    on_every_device(|device| {
        let src = device.upload(&rows(0, MOST), [MOST, COLUMNS])?;
        let mut outs = (0..MOST).map(|_| zeros(device, MOST)).collect::<Result<Vec<_>, _>>()?;
        let mut first = zeros(device, MOST)?;
        let (mut graph, launch) = padding(device, &mut first, &src, 1)?;
        let streams = [device.stream(), device.new_stream()?, device.new_stream()?];
        // Nobody waits in between.
        for (valid, out) in outs.iter_mut().enumerate() {
            graph.update(&launch, pad_rows(out, &src, Runtime(valid as u64)))?;
            graph.launch_on(&streams[valid % 3])?;
        }
        drop(graph);
        for (valid, out) in outs.iter().enumerate() {
            assert!(out.download()? == padded(0, valid, MOST), "{valid} rows");
        }
        Ok(())
    })
}

#[test]
fn a_launch_of_no_programs_does_nothing_until_it_is_updated_again() -> Outcome {
    on_every_device(|device| {
        let src = device.upload(&rows(0, 4), [4, COLUMNS])?;
        let mut out = zeros(device, 4)?;
        let none = |out| copy_to_slot(out, &src, Runtime(0), Runtime(0));
        let in_no_graph = device.capture(|stream| {
            let launched = none(&mut out).launch_on(stream)?;
            assert!(launched.captured().is_none(), "there is nothing to update");
            Ok::<_, LaunchError>(())
        })?;
        drop(in_no_graph);
        copy_to_slot(&mut out, &src, Runtime(0), Runtime(2)).launch(device)?;
        let mut launch = None;
        let mut graph = device.capture(|stream| {
            let launched = copy_to_slot(&mut out, &src, Runtime(0), Runtime(2)).launch_on(stream)?;
            launch = launched.captured().cloned();
            Ok::<_, LaunchError>(())
        })?;
        let launch = launch.ok_or("a launch")?;
        for valid in [0, 0, 3, 1, 0, 4u64] {
            out.copy_from(&[7; 4 * COLUMNS])?;
            graph.update(&launch, copy_to_slot(&mut out, &src, Runtime(0), Runtime(valid)))?;
            graph.launch()?;
            let mut expected = vec![7; 4 * COLUMNS];
            let end = valid as usize * COLUMNS;
            expected[..end].copy_from_slice(&rows(0, valid as usize));
            assert!(out.download()? == expected, "{valid} rows");
        }
        Ok(())
    })
}

#[test]
fn launches_are_told_from_other_work_of_the_graph() -> Outcome {
    use tilewright::runtime::device::cuda::cudarc::driver::result::memset_d8_async;

    let Some(device) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return Ok(());
    };
    let _turn = turn();
    let src = device.upload(&rows(0, 4), [4, COLUMNS])?;
    let (mut out, mut slot) = (zeros(&device, 4)?, zeros(&device, 4)?);
    pad_rows(&mut out, &src, Runtime(2)).launch(&device)?;
    copy_to_slot(&mut slot, &src, Runtime(1), Runtime(2)).launch(&device)?;
    let mut launches = Vec::new();
    let mut graph = device.capture(|stream| -> Result<(), Box<dyn Error>> {
        launches.push(pad_rows(&mut out, &src, Runtime(2)).launch_on(stream)?);
        let queue = stream.as_cuda().ok_or("a GPU")?.stream().cu_stream();
        for _ in 0..3 {
            // SAFETY: the bytes are the tensor's, which outlives the graph and is used by it alone meanwhile.
            unsafe { memset_d8_async(slot.address(), 9, 4 * COLUMNS * 2, queue) }?;
        }
        launches.push(copy_to_slot(&mut slot, &src, Runtime(1), Runtime(2)).launch_on(stream)?);
        Ok(())
    })?;
    let [first, second] = &launches[..] else {
        panic!("two launches")
    };
    let [first, second] = [first, second].map(|launched| launched.captured().expect("it was captured"));
    for (valid, offset) in [(2, 1), (0, 3), (3, 0), (4, 2)] {
        graph.update(second, copy_to_slot(&mut slot, &src, Runtime(offset), Runtime(1)))?;
        graph.update(first, pad_rows(&mut out, &src, Runtime(valid)))?;
        graph.launch()?;
        assert!(out.download()? == padded(0, valid as usize, 4), "{valid} rows");
        let mut expected = vec![0x0909; 4 * COLUMNS];
        expected[offset as usize * COLUMNS..][..COLUMNS].copy_from_slice(&rows(0, 1));
        assert!(slot.download()? == expected, "at {offset}");
    }
    Ok(device.synchronize()?)
}

#[test]
fn a_list_in_a_graph_can_become_another_one() -> Outcome {
    on_every_device(|device| {
        let slots = |at: [i32; 2]| device.upload(&at, [2]);
        let (to, from) = (slots([4, 5])?, slots([1, 0])?);
        let lists = |count: usize| {
            (0..count)
                .map(|at| device.upload(&rows(at, 6), [6, COLUMNS]))
                .collect::<Result<Vec<_>, _>>()
        };
        let mut layers = lists(2)?;
        copy_kv_layers(&mut layers, &to, &from).launch(device)?;
        let mut launch = None;
        let mut graph = device.capture(|stream| {
            launch = copy_kv_layers(&mut layers, &to, &from)
                .launch_on(stream)?
                .captured()
                .cloned();
            Ok::<_, LaunchError>(())
        })?;
        let launch = launch.ok_or("a launch")?;
        for count in [5, 1, 3] {
            let mut layers = lists(count)?;
            graph.update(&launch, copy_kv_layers(&mut layers, &to, &from))?;
            graph.launch()?;
            for (at, layer) in layers.iter().enumerate() {
                let mut expected = rows(at, 4);
                expected.extend(rows(at + 1, 1));
                expected.extend(rows(at, 1));
                assert!(layer.download()? == expected, "layer {at} of {count}");
            }
        }
        Ok(())
    })
}

#[test]
fn what_cannot_be_that_launch_is_refused_and_the_graph_stays_as_it_was() -> Outcome {
    #[kernel(grid = [out.extent(0)])]
    fn waiting(out: &mut Tensor<u16, 2>, src: &Tensor<u16, 2>) {
        wait_for_previous_launch();
        let cols = arange(out.extent(1));
        out.store([program_id(0), cols], src.load([program_id(0), cols]));
    }

    on_every_device(|device| {
        let src = device.upload(&rows(0, 4), [4, COLUMNS])?;
        let (mut out, mut other) = (zeros(device, 4)?, zeros(device, 4)?);
        let (mut graph, launch) = padding(device, &mut out, &src, 3)?;
        let (mut elsewhere, theirs) = padding(device, &mut other, &src, 2)?;
        let refused = |result: Result<(), LaunchError>, reason: &str| {
            let error = result.expect_err(reason);
            assert!(matches!(error, LaunchError::NotUpdated { .. }), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        };
        refused(
            graph.update(&theirs, pad_rows(&mut out, &src, Runtime(1))),
            "of another graph",
        );
        refused(
            elsewhere.update(&launch, pad_rows(&mut out, &src, Runtime(1))),
            "of another graph",
        );
        refused(
            graph.update(&launch, copy_to_slot(&mut out, &src, Runtime(0), Runtime(1))),
            "a launch of `pad_rows` was captured",
        );
        let single = device.upload(&[1.0f32; 4], [2, 2])?;
        let mut wrong = device.zeros::<f32, 2>([2, 2])?;
        refused(
            graph.update(&launch, pad_rows(&mut wrong, &single, Runtime(1))),
            "a launch of `pad_rows`",
        );

        waiting(&mut other, &src).overlapping().launch(device)?;
        let mut overlapping = None;
        let mut behind = device.capture(|stream| {
            overlapping = waiting(&mut other, &src)
                .overlapping()
                .launch_on(stream)?
                .captured()
                .cloned();
            Ok::<_, LaunchError>(())
        })?;
        let overlapping = overlapping.ok_or("a launch")?;
        refused(behind.update(&overlapping, waiting(&mut other, &src)), "may overlap");
        behind.update(&overlapping, waiting(&mut other, &src).overlapping())?;
        behind.launch()?;
        assert!(other.download()? == rows(0, 4));

        // What any launch would be refused for.
        let far = graph.update(&launch, pad_rows(&mut out, &src, Runtime(u64::MAX)));
        assert!(matches!(far, Err(LaunchError::CountOutOfRange { .. })), "{far:?}");
        let within = device.capture(|_| graph.update(&launch, pad_rows(&mut out, &src, Runtime(1))));
        assert!(
            matches!(within, Err(LaunchError::Device(DeviceError::Capturing { .. }))),
            "{within:?}"
        );
        device.seal();
        let mut bytes = device.zeros::<u16, 2>([4, 77])?;
        let wide = device.zeros::<u16, 2>([4, 77])?;
        let sealed = graph.update(&launch, pad_rows(&mut bytes, &wide, Runtime(1)));
        device.unseal();
        assert!(matches!(sealed, Err(LaunchError::Sealed { .. })), "{sealed:?}");

        out.copy_from(&[7; 4 * COLUMNS])?;
        graph.launch()?;
        assert!(out.download()? == padded(0, 3, 4), "it is as it was captured");
        Ok(())
    })
}

#[test]
fn borrowed_memory_comes_into_a_graph_by_an_update_only_on_somebodys_word() -> Outcome {
    on_every_device(|device| {
        let src = device.upload(&rows(0, 4), [4, COLUMNS])?;
        let mut out = zeros(device, 4)?;
        let (mut graph, launch) = padding(device, &mut out, &src, 3)?;
        // Aligned as a device's memory is.
        let mut host = vec![0u128; 4 * COLUMNS / 8 + 1];
        let theirs = zeros(device, 4)?;
        let (address, home) = match device.is_cuda() {
            true => (theirs.address(), device.stream()),
            false => (host.as_mut_ptr().expose_provenance() as u64, device.stream()),
        };
        let strides = [COLUMNS as i64, 1];
        // SAFETY: the memory outlives what borrows it and the graph, and nothing else uses it meanwhile.
        let mut to = unsafe { BorrowedTensorMut::<u16, 2>::from_raw(&home, address, [4, COLUMNS], strides)? };
        let refused = graph.update(&launch, pad_rows(&mut to, &src, Runtime(2)));
        assert!(
            matches!(refused, Err(LaunchError::Device(DeviceError::BorrowedInGraph))),
            "{refused:?}"
        );
        // SAFETY: as above.
        unsafe { graph.update_borrowing(&launch, pad_rows(&mut to, &src, Runtime(2))) }?;
        graph.launch()?;
        // SAFETY: the same memory, read when the graph is done with it.
        let from = unsafe { BorrowedTensor::<u16, 2>::from_raw(&home, address, [4, COLUMNS], strides)? };
        let mut copy = zeros(device, 4)?;
        pad_rows(&mut copy, &from, Runtime(4)).launch(device)?;
        assert!(copy.download()? == padded(0, 2, 4));
        drop(graph);
        device.synchronize()?;
        drop(host);
        Ok(())
    })
}
