//! Prepared launches: the results, errors and tiers of ordinary ones, and what launches cost the host.

use std::time::{Duration, Instant};

use tilewright::prelude::*;
use tilewright::runtime::{LaunchError, Prepared};
use tilewright_testing::{Part, turn};

mod raw {
    //! A kernel without anything of ours around it.

    #![allow(unsafe_code)] // The driver's own calls.

    use std::cell::Cell;
    use std::ffi::{CString, c_void};
    use std::ptr::null_mut;

    use std::sync::Arc;

    use tilewright::prelude::*;
    use tilewright::runtime::compile::{CompileOptions, compile};
    use tilewright::runtime::device::cuda::cudarc::driver::{
        CudaFunction, CudaSlice, CudaStream, LaunchConfig, PushKernelArg, result, sys,
    };
    use tilewright::runtime::device::cuda::cudarc::nvrtc::Ptx;

    /// An empty kernel of so many words as arguments.
    pub struct RawKernel {
        function: sys::CUfunction,
        /// None of the device: of a stream whose handle others have, its launches ask whether it is captured.
        stream: Arc<CudaStream>,
        words: Vec<Cell<u64>>,
        /// To each of them.
        pointers: Vec<*mut c_void>,
    }

    fn cubin(device: &Device, words: usize) -> Vec<u8> {
        let gpu = device.as_cuda().expect("a GPU");
        let parameters: Vec<_> = (0..words).map(|at| format!("unsigned long long a{at}")).collect();
        let source = format!("extern \"C\" __global__ void empty({}) {{}}", parameters.join(", "));
        let options = CompileOptions::new(gpu.properties().architecture);
        compile(&source, "empty", &options).expect("a cubin").bytes.to_vec()
    }

    /// The same by the launch builder of cudarc: slices, and a count behind them.
    pub struct CudarcKernel {
        stream: Arc<CudaStream>,
        function: CudaFunction,
        slices: Vec<CudaSlice<i32>>,
    }

    impl CudarcKernel {
        pub fn new(device: &Device, words: usize) -> Self {
            let gpu = device.as_cuda().expect("a GPU");
            let context = gpu.context();
            let module = context
                .load_module(Ptx::from_binary(cubin(device, words)))
                .expect("a module");
            let stream = context.new_stream().expect("a stream");
            Self {
                function: module.load_function("empty").expect("a function"),
                slices: (1..words).map(|_| stream.alloc_zeros(8).expect("memory")).collect(),
                stream,
            }
        }

        pub fn launch(&mut self, count: u64) {
            let config = LaunchConfig {
                grid_dim: (1, 1, 1),
                block_dim: (128, 1, 1),
                shared_mem_bytes: 0,
            };
            let mut builder = self.stream.launch_builder(&self.function);
            self.slices.iter().for_each(|slice| {
                builder.arg(slice);
            });
            builder.arg(&count);
            // SAFETY: there is an argument for each parameter, of its size, and the kernel touches no memory.
            unsafe { builder.launch(config) }.expect("a launch");
        }
    }

    impl RawKernel {
        pub fn new(device: &Device, words: usize) -> Self {
            let cubin = cubin(device, words);
            // The driver reads an image that is aligned.
            let mut image = vec![0u64; cubin.len().div_ceil(8)];
            let bytes = image.iter_mut().zip(cubin.chunks(8));
            bytes.for_each(|(word, bytes)| {
                let mut eight = [0; 8];
                eight[..bytes.len()].copy_from_slice(bytes);
                *word = u64::from_ne_bytes(eight);
            });
            device.synchronize().expect("the context is current");
            // SAFETY: the image is a whole cubin for this GPU. The module is never unloaded.
            let function = unsafe {
                let module = result::module::load_data(image.as_ptr().cast()).expect("a module");
                result::module::get_function(module, CString::new("empty").expect("a name")).expect("a function")
            };
            let words = vec![Cell::new(0); words];
            Self {
                function,
                stream: device
                    .as_cuda()
                    .expect("a GPU")
                    .context()
                    .new_stream()
                    .expect("a stream"),
                pointers: words.iter().map(|word| word.as_ptr().cast()).collect(),
                words,
            }
        }

        pub fn launch(&mut self, count: u64) {
            if let Some(last) = self.words.last() {
                last.set(count);
            }
            // SAFETY: there is a pointer for each parameter, to a word of its size, and the kernel touches no memory.
            let status = unsafe {
                sys::cuLaunchKernel(
                    self.function,
                    1,
                    1,
                    1,
                    128,
                    1,
                    1,
                    0,
                    self.stream.cu_stream(),
                    self.pointers.as_mut_ptr(),
                    null_mut(),
                )
            };
            status.result().expect("a launch");
        }
    }
}

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

mod borrowed {
    #![allow(unsafe_code)] // Two tensors in one place, which no safe code can make.

    use tilewright::prelude::*;
    use tilewright::runtime::{BorrowedTensor, BorrowedTensorMut, LaunchError, Prepared};

    use super::{COLUMNS, Failure, ROWS, compute, place};

    /// What is read of memory that was lent by the device's stream in the launches before, and is lent by one that writes
    /// to it in the last.
    pub fn lent_by_two_streams(device: &Device, at: u64, steps: u64) -> Result<Vec<i32>, Failure> {
        let (extents, strides) = ([ROWS, COLUMNS], [COLUMNS as i64, 1]);
        let (here, there) = (device.stream(), device.new_stream()?);
        // SAFETY: the memory outlives the tensors, and nothing else uses it. What one stream does is asked for after that of
        // the other is done, or over what the other has lent.
        let (early, late, mut written) = unsafe {
            (
                BorrowedTensor::<i32, 2>::from_raw(&here, at, extents, strides)?,
                BorrowedTensor::<i32, 2>::from_raw(&there, at, extents, strides)?,
                BorrowedTensorMut::<i32, 2>::from_raw(&there, at, extents, strides)?,
            )
        };
        let mut out = device.zeros::<i32, 2>(extents)?;
        // Compiled and loaded before it is to be slow.
        compute(&mut written, Runtime(1)).launch_on(&there)?;
        there.synchronize()?;
        let rows = || Runtime(ROWS as u64);
        let mut prepared = device.prepare(&place(&mut out, &early, Runtime(0), rows(), 1))?;
        for _ in 0..3 {
            prepared.launch(place(&mut out, &early, Runtime(0), rows(), 1))?;
        }
        device.synchronize()?;
        compute(&mut written, Runtime(steps)).launch_on(&there)?;
        prepared.launch(place(&mut out, &late, Runtime(0), rows(), 1))?;
        Ok(out.download()?)
    }

    pub fn overlapping(prepared: &mut Prepared, device: &Device, at: u64) -> Result<(), Failure> {
        let bytes = (ROWS * COLUMNS * 4) as u64;
        let stream = device.stream();
        // SAFETY: as below.
        let (mut out, src) = unsafe {
            (
                BorrowedTensorMut::<i32, 2>::from_raw(&stream, at, [ROWS, COLUMNS], [COLUMNS as i64, 1])?,
                BorrowedTensor::<i32, 2>::from_raw(&stream, at + bytes, [ROWS, COLUMNS], [COLUMNS as i64, 1])?,
            )
        };
        match device.bind(place(&mut out, &src, Runtime(0), Runtime(2), 1)) {
            Err(error @ LaunchError::BorrowedMemory { .. }) => assert!(error.to_string().contains("`out`"), "{error}"),
            other => panic!("{:?} though the memory is borrowed", other.map(drop)),
        }
        // SAFETY: the memory outlives what is bound.
        let mut bound = unsafe { device.bind_borrowing(place(&mut out, &src, Runtime(0), Runtime(2), 1)) }?;
        bound.launch(&[0, 1])?;
        for (shift, clashes) in [(0, true), (bytes, false), (bytes - 16, true), (bytes, false)] {
            let (extents, strides) = ([ROWS, COLUMNS], [COLUMNS as i64, 1]);
            // SAFETY: the vector outlives the tensors; whether they overlap is what the launch is to find out.
            let (mut out, src) = unsafe {
                (
                    BorrowedTensorMut::<i32, 2>::from_raw(&stream, at, extents, strides)?,
                    BorrowedTensor::<i32, 2>::from_raw(&stream, at + shift, extents, strides)?,
                )
            };
            let result = prepared.launch(place(&mut out, &src, Runtime(0), Runtime(2), 1));
            match result {
                Err(LaunchError::Overlap { .. }) if clashes => {}
                Ok(_) if !clashes => {}
                other => panic!("{other:?} at {shift}"),
            }
        }
        Ok(())
    }
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

/// Nothing.
#[kernel(grid = [1])]
fn of_none() {}

/// The sum of some rows' first elements.
#[kernel(grid = [rows])]
fn of_some<const N: usize>(out: &mut Tensor<i32, 1>, srcs: [&Tensor<i32, 1>; N], rows: Count) {
    let row = program_id(0);
    let mut sum = srcs[0].load([row]);
    for src in &srcs[1..] {
        sum = sum + src.load([row]);
    }
    out.store([row], sum);
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The middle of the times of each of some things, done by turns.
fn by_turns<const N: usize>(device: &Device, steps: u64, mut each: [&mut dyn FnMut(u64); N]) -> [Duration; N] {
    let mut random = fastrand::Rng::with_seed(4);
    let mut times = [(); N].map(|()| Vec::with_capacity(steps as usize));
    for step in 0..steps {
        let count = random.u64(1..=LENGTH as u64);
        for (launch, times) in each.iter_mut().zip(&mut times) {
            let started = Instant::now();
            launch(count);
            times.push(started.elapsed());
        }
        // A stream that is full would let the host wait.
        if step % 32 == 0 {
            device.synchronize().expect("all is done");
        }
    }
    times.map(|mut times| middle(&mut times))
}

const LENGTH: usize = 8;

struct Tensors {
    out: DeviceTensor<i32, 1>,
    srcs: Vec<DeviceTensor<i32, 1>>,
}

impl Tensors {
    fn on(device: &Device) -> Self {
        let one = || device.zeros::<i32, 1>([LENGTH]).expect("memory");
        Self {
            out: one(),
            srcs: (0..18).map(|_| one()).collect(),
        }
    }

    /// A call of `N + 2` arguments.
    fn call<const N: usize>(&mut self, rows: u64) -> Call<'_> {
        let srcs = std::array::from_fn::<_, N, _>(|at| &self.srcs[at]);
        of_some(&mut self.out, srcs, Runtime(rows))
    }
}

/// Generous: a machine may be busy, and unoptimised code is slower.
#[test]
fn what_a_launch_costs_the_host_grows_little_with_its_arguments() -> Result<(), Failure> {
    on_every_device(|device| {
        device.set_specialize(Specialize::Tiered);
        let mut tensors = [(); 2].map(|()| Tensors::on(device));
        let [few, many] = &mut tensors;
        // On the CPU device launches of no programs, as interpreting them is not what is measured.
        let rows = |count: u64| if device.is_cuda() { count } else { 0 };
        let launch = |call: Call<'_>| drop(call.launch(device).expect("a launch"));
        let mut measure = |steps| {
            by_turns(
                device,
                steps,
                [
                    &mut |_| launch(of_none()),
                    &mut |count| launch(few.call::<3>(rows(count))),
                    &mut |count| launch(many.call::<17>(rows(count))),
                ],
            )
        };
        measure(50);
        assert!(Device::settle(Duration::from_secs(60)));
        let [none, five, nineteen] = measure(1000);
        println!("{device}: {none:?} with no arguments, {five:?} with 5, {nineteen:?} with 19");
        let each = Duration::from_nanos(if cfg!(debug_assertions) { 5000 } else { 300 });
        assert!(five <= none + 5 * each, "{five:?} with 5 arguments, {none:?} with none");
        assert!(
            nineteen <= none + 19 * each,
            "{nineteen:?} with 19 arguments, {none:?} with none"
        );
        Ok(())
    })
}

/// Copies.
#[kernel(grid = [rows])]
fn copy(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, rows: Count) {
    out.store([program_id(0)], src.load([program_id(0)]));
}

/// Host times of a launch by the driver alone, by cudarc's builder, bound, prepared, and ordinary, for a reading.
#[test]
#[ignore = "a measurement: run it on a GPU with --release, --ignored and --nocapture"]
fn bound_and_prepared_launches_beside_the_driver_alone_and_ordinary_ones() -> Result<(), Failure> {
    const STEPS: u64 = 10_000;
    const FUSED: usize = 11;
    let Some(device) = Part::Gpu.or_skip(Device::cuda(0)) else {
        return Ok(());
    };
    let _turn = turn();
    device.set_specialize(Specialize::Tiered);

    /// What is done with a call.
    type Then<'t> = dyn FnMut(Call<'_>) + 't;

    /// One line: the middle of the times in microseconds.
    fn line(device: &Device, what: &str, counts: usize, call: &mut dyn FnMut(u64, &mut Then<'_>)) {
        let mut launched = None;
        let mut keep = |call: Call<'_>| launched = Some(call.launch(device).expect("a launch"));
        call(1, &mut keep);
        assert!(Device::settle(Duration::from_secs(120)));
        call(1, &mut keep);
        let arguments = launched.as_ref().and_then(|launched| launched.variant()?.module());
        let words = arguments.expect("a kernel").arguments.len();
        let mut kernel = raw::RawKernel::new(device, words);
        let mut cudarc = raw::CudarcKernel::new(device, words);
        let mut prepared = None;
        call(1, &mut |call| {
            prepared = Some(device.prepare(&call).expect("it can be prepared"))
        });
        let mut prepared = prepared.expect("it was prepared");
        let mut bound = None;
        call(1, &mut |call| bound = Some(device.bind(call).expect("it can be bound")));
        let mut bound = bound.expect("it was bound");
        let call = std::cell::RefCell::new(call);
        let mut measure = |steps| {
            by_turns(
                device,
                steps,
                [
                    &mut |count| kernel.launch(count),
                    &mut |count| cudarc.launch(count),
                    &mut |count| drop(bound.launch(&[count; FUSED][..counts]).expect("a launch")),
                    &mut |count| {
                        (call.borrow_mut())(count, &mut |call| drop(prepared.launch(call).expect("a launch")));
                    },
                    &mut |count| {
                        (call.borrow_mut())(count, &mut |call| drop(call.launch(device).expect("a launch")));
                    },
                ],
            )
        };
        measure(500);
        assert!(Device::settle(Duration::from_secs(120)));
        let micros = measure(STEPS).map(|time| time.as_secs_f64() * 1e6);
        let [driver, cudarc, bound, prepared, ordinary] = micros;
        println!(
            "{what:<24} {words:>5} {driver:>9.2} {cudarc:>9.2} {bound:>9.2} {prepared:>9.2} {ordinary:>9.2} {:>7.2} x {:>7.2} x {:>+8.2}",
            bound / driver,
            prepared / driver,
            ordinary - prepared
        );
    }

    println!("{device}, host time of a launch in us, p50 of {STEPS}, by turns");
    println!(
        "{:<24} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "words", "driver", "cudarc", "bound", "prepared", "ordinary", "bound/", "prepared/", "ord.-prep"
    );
    let mut tensors = Tensors::on(&device);
    line(&device, "3 arguments", 1, &mut |count, then| {
        then(tensors.call::<1>(count))
    });
    line(&device, "8 arguments", 1, &mut |count, then| {
        then(tensors.call::<6>(count))
    });
    line(&device, "20 arguments", 1, &mut |count, then| {
        then(tensors.call::<18>(count))
    });
    let mut outs = Tensors::on(&device).srcs;
    line(&device, "11 tensors, fused", FUSED, &mut |count, then| {
        let each = outs.iter_mut().zip(&tensors.srcs).take(FUSED);
        then(Call::fuse(each.map(|(out, src)| copy(out, src, Runtime(count)))));
    });
    Ok(())
}
