//! Mistakes that people make. Each of them is a typed error that says what is wrong, where, and what to do; nothing has
//! been written by then, and the next launch is right.
//!
//! | mistake | tests |
//! |---|---|
//! | counts that are negative, no numbers, or too large | `counts_*`, `a_count_*` |
//! | a trace that is missing, empty or malformed | `a_trace_*` |
//! | tensors of the wrong type or rank | `compile_fail.rs`, `arguments_*` |
//! | tensors of the wrong extents | `a_destination_*`, `shapes_*`, `elements_*` |
//! | source and destination overlap (acceptance case 16) | `rustc_refuses_*`, `a_destination_that_*` |
//! | no rows, too many rows | `no_rows_*`, `a_grid_*` |
//! | memory of another device, or not enough of it (case 65) | `memory_*`, `more_memory_*` |
//! | a device that is not there | `a_gpu_*` |
//! | a kernel that NVRTC refuses, an NVRTC that is none | `cuda_text_*`, `an_nvrtc_*` |

use std::any::Any;
use std::error::Error;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use tilewright::dp::counts::{self, CountsError};
use tilewright::dp::trace::Trace;
use tilewright::dsl::call::{
    Argument, ArgumentValue, Arguments, Call, CountArgument, MAX_COUNT, Memory, TensorArgument,
};
use tilewright::prelude::*;
use tilewright::runtime::compile::{Architecture, CompileError, CompileOptions, Nvrtc, compile};
use tilewright::runtime::{DeviceCount, DeviceError};

type Outcome = Result<(), Box<dyn Error>>;

/// `out[offset + i] = src[i]` for `i < rows`. A row of `src` is the tile.
#[kernel(grid = [rows])]
fn copy_rows<T: Element>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, offset: Count, rows: Count) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    out.store([offset + row, cols], src.load([row, cols]));
}

/// `out[i] = a[i] + b[i]`, rows as wide as those of `a` and of `b`.
#[kernel(grid = [out.extent(0)])]
fn add_rows(out: &mut Tensor<i32, 2>, a: &Tensor<i32, 2>, b: &Tensor<i32, 2>) {
    let row = program_id(0);
    let (cols_a, cols_b) = (arange(a.extent(1)), arange(b.extent(1)));
    let sum = a.load([row, cols_a]) + b.load([row, cols_b]); // The line that the error names.
    out.store([row, cols_a], sum);
}

/// [`copy_rows`] with a report of what does not fit.
#[kernel(grid = [src.extent(0)], bounds = "trap")]
fn copy_all_rows(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    out.store([row, cols], src.load([row, cols])); // The line that the error names.
}

/// Nothing, on a grid of `x` by `y` programs.
#[kernel(grid = [x, y])]
fn nothing(x: Count, y: Count) {}

/// Runs a test on the CPU device and, if there is one, on the GPU. With `TILEWRIGHT_REQUIRE_GPU=1` it is a failure that
/// there is none.
fn on_each_device(test: impl Fn(&Device) -> Outcome) -> Outcome {
    test(&Device::cpu())?;
    match gpu() {
        Some(gpu) => {
            // What a device reports is taken by whoever synchronises first.
            static TURN: Mutex<()> = Mutex::new(());
            let _turn = TURN.lock();
            test(&gpu)
        }
        None => Ok(()),
    }
}

/// The GPU, or a printed reason.
fn gpu() -> Option<Device> {
    match Device::cuda(0) {
        Ok(gpu) => Some(gpu),
        Err(error) if required("TILEWRIGHT_REQUIRE_GPU") => panic!("TILEWRIGHT_REQUIRE_GPU=1: {error}"),
        Err(error) => {
            println!("skipped: no GPU ({error})");
            None
        }
    }
}

fn required(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "1")
}

/// The error of what must fail, if it has all of these words.
#[track_caller]
fn fails<T, E: Display>(result: Result<T, E>, words: &[&str]) -> E {
    let Err(error) = result else {
        panic!("no error, and it should say {words:?}")
    };
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    error
}

const ROWS: usize = 4;
const COLUMNS: usize = 8;
const SENTINEL: i32 = -77;

/// A source, and a destination full of sentinels, between which every mistake is made.
struct Tensors {
    device: Device,
    src: DeviceTensor<i32, 2>,
    out: DeviceTensor<i32, 2>,
}

impl Tensors {
    fn new(device: &Device) -> Result<Self, TensorError> {
        let src: Vec<i32> = (1..=(ROWS * COLUMNS) as i32).collect();
        Ok(Self {
            device: device.clone(),
            src: device.upload(&src, [ROWS, COLUMNS])?,
            out: device.upload(&[SENTINEL; ROWS * COLUMNS], [ROWS, COLUMNS])?,
        })
    }

    /// Nothing was written by the mistake, nothing is reported later, and the next launch is right.
    #[track_caller]
    fn are_untouched_and_usable(&mut self) -> Outcome {
        assert_eq!(self.out.download()?, [SENTINEL; ROWS * COLUMNS], "written by a mistake");
        self.device.synchronize()?;
        copy_rows(&mut self.out, &self.src, Exact(0), Runtime(ROWS as u64)).launch(&self.device)?;
        self.device.synchronize()?;
        assert_eq!(self.out.download()?, self.src.download()?, "the launch after a mistake");
        self.out.copy_from(&[SENTINEL; ROWS * COLUMNS])?;
        Ok(())
    }
}

/// The arguments of a call, to be changed.
fn arguments_of<'a>(call: &Call<'a>) -> Vec<ArgumentValue<'a>> {
    call.arguments().to_vec()
}

/// A call with other arguments than the compiler would let through.
fn call_of<'a>(call: &Call<'_>, values: impl IntoIterator<Item = ArgumentValue<'a>>) -> Call<'a> {
    let mut arguments = Arguments::new();
    values.into_iter().for_each(|value| arguments.push(value));
    Call::new(call.definition().clone(), arguments)
}

/// A tensor argument, changed.
fn changed<'a>(value: &ArgumentValue<'a>, change: impl FnOnce(&mut TensorArgument<'a>)) -> ArgumentValue<'a> {
    let ArgumentValue::Tensor(mut tensor) = value.clone() else {
        panic!("no tensor")
    };
    change(&mut tensor);
    ArgumentValue::Tensor(tensor)
}

#[test]
fn counts_in_words_name_the_rank_and_what_is_wrong() {
    let cases: [(&str, &[&str]); 8] = [
        ("", &["empty", "one count per rank", "20,20,0,7"]),
        ("20,-3", &["rank 1 is -3", "cannot be negative"]),
        ("20,x,1", &["rank 1 is `x`", "not a whole number"]),
        ("1e3", &["rank 0 is `1e3`", "not a whole number"]),
        ("NaN,1", &["rank 0 is `NaN`", "not a whole number"]),
        ("1,,2", &["rank 1 is missing", "write 0"]),
        (
            "1,2,1099511627777",
            &["rank 2 is 1099511627777", "largest count is 1099511627776"],
        ),
        (
            "99999999999999999999999999",
            &["rank 0", "largest count is 1099511627776"],
        ),
    ];
    for (text, words) in cases {
        fails(counts::parse(text), words);
    }
    let error = fails(counts::from_signed(&[4, i64::MIN]), &["rank 1", "cannot be negative"]);
    assert!(matches!(error, CountsError::Negative { rank: 1, .. }));
    fails(counts::from_signed(&[4, i64::MAX]), &["rank 1", "largest count"]);
}

#[test]
fn a_count_out_of_range_is_refused_however_it_is_bound() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        for count in [
            CountArgument::Exact(-1),
            CountArgument::Runtime(-1),
            CountArgument::Runtime(i64::MIN),
            CountArgument::Exact(MAX_COUNT as i64 + 1),
            CountArgument::Runtime(i64::MAX),
        ] {
            let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), count.clone());
            fails(call.launch(device), &["`copy_rows`", "`rows`", "a count is 0 to 2^40"]);
            let call = copy_rows(&mut tensors.out, &tensors.src, count, Exact(1));
            fails(
                call.launch(device),
                &["`copy_rows`", "`offset`", "a count is 0 to 2^40"],
            );
        }
        for rows in [MAX_COUNT + 1, u64::MAX] {
            let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(rows));
            fails(call.launch(device), &["`rows`", "a count is 0 to 2^40"]);
            let call = copy_rows(&mut tensors.out, &tensors.src, Runtime(rows), Exact(1));
            let error = fails(call.launch(device), &["`offset`", "a count is 0 to 2^40"]);
            assert!(matches!(error, LaunchError::CountOutOfRange { .. }));
        }
        tensors.are_untouched_and_usable()
    })
}

/// What lies in device memory is known to nobody before the kernel runs: it is clamped.
#[test]
fn a_count_in_device_memory_is_clamped_and_its_index_and_maximum_are_checked() -> Outcome {
    fn rows_written(device: &Device, count: DeviceCount<'_>) -> Result<usize, Box<dyn Error>> {
        let mut tensors = Tensors::new(device)?;
        copy_rows(&mut tensors.out, &tensors.src, Exact(0), count).launch(device)?;
        let found = tensors.out.download()?;
        let rows = found.iter().position(|&x| x == SENTINEL).unwrap_or(found.len()) / COLUMNS;
        assert_eq!(found[..rows * COLUMNS], tensors.src.download()?[..rows * COLUMNS]);
        assert!(found[rows * COLUMNS..].iter().all(|&x| x == SENTINEL));
        Ok(rows)
    }
    on_each_device(|device| {
        let wide = [i64::MIN, -1, 0, 2, 3, 4, 1 << 33, i64::MAX];
        let narrow = [i32::MIN, -1, 0, 2, 3, 4, 1 << 20, i32::MAX];
        let expected = [0, 0, 0, 2, 3, 3, 3, 3];
        let (wide, narrow) = (device.upload(&wide, [8])?, device.upload(&narrow, [8])?);
        for (i, expected) in expected.into_iter().enumerate() {
            assert_eq!(rows_written(device, device_count(&wide, i, 3)?)?, expected, "i64 {i}");
            assert_eq!(rows_written(device, device_count(&narrow, i, 3)?)?, expected, "i32 {i}");
        }
        fails(
            device_count(&wide, 8, 3).map(|_| ()),
            &["8..9", "axis 0", "extent of 8"],
        );
        let maximum = device_count(&wide, 0, MAX_COUNT + 1).map(|_| ());
        fails(maximum, &["1099511627777", "at most 2^40"]);
        Tensors::new(device)?.are_untouched_and_usable()
    })
}

#[test]
fn a_trace_that_is_missing_empty_or_malformed_names_the_file_and_the_line() -> Outcome {
    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let scratch = tempfile::tempdir()?;
    let folder = scratch.path();
    fails(
        Trace::read(folder.join("no such trace.csv")),
        &["cannot open the trace", "no such trace.csv", "No such file"],
    );
    fails(
        Trace::read(folder),
        &[&folder.display().to_string(), "cannot read the trace"],
    );

    let file = folder.join("trace.csv");
    let read = |text: &[u8]| -> Result<Trace, Box<dyn Error>> {
        std::fs::write(&file, text)?;
        Ok(Trace::read(&file)?)
    };
    let line = "2023-11-16 18:15:46.6805900,374,44\n";
    fails(
        read(b""),
        &["trace.csv", "no request", "a header line and one line per request"],
    );
    fails(read(HEADER.as_bytes()), &["trace.csv", "no request"]);
    fails(
        read(b"TIMESTAMP,Tokens\n1,2\n"),
        &["trace.csv:1", "no column `ContextTokens`", "GeneratedTokens"],
    );
    let bad: [(&str, &[&str]); 7] = [
        (
            "2023-11-16 18:15:47,many,44",
            &["`ContextTokens` is `many`", "a whole number up to"],
        ),
        (
            "2023-11-16 18:15:47,374,-1",
            &["`GeneratedTokens` is -1", "cannot be negative"],
        ),
        (
            "2023-11-16 18:15:47,99999999999999999999,1",
            &["`ContextTokens`", "a whole number up to"],
        ),
        ("2023-11-16 18:15:47,NaN,1", &["`ContextTokens` is `NaN`"]),
        ("2023-11-16 18:15:47,374", &["`GeneratedTokens` is missing"]),
        ("noon,374,44", &["`TIMESTAMP` is `noon`", "2023-11-16 18:15:46"]),
        ("2023-02-30 18:15:47,374,44", &["`TIMESTAMP` is `2023-02-30 18:15:47`"]),
    ];
    for (bad, words) in bad {
        let error = fails(read(format!("{HEADER}{line}{bad}\n{line}").as_bytes()), words);
        assert!(error.to_string().contains("trace.csv:3: "), "{error}");
    }
    let mut bytes = format!("{HEADER}{line}").into_bytes();
    bytes.extend(b"2023-11-16 18:15:47,\xff,44\n");
    fails(read(&bytes), &["trace.csv:3", "cannot read the trace"]);
    assert_eq!(read(format!("{HEADER}{line}").as_bytes())?.requests().len(), 1);
    Ok(())
}

#[test]
fn elements_and_slices_that_do_not_fit_their_tensor_are_refused() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let words = ["31 elements", "extents [4, 8]", "which has 32"];
        fails(device.upload(&[0; 31], [ROWS, COLUMNS]).map(|_| ()), &words);
        fails(tensors.out.copy_from(&[0; 31]), &words);
        fails(tensors.out.rows(2..5).map(|_| ()), &["2..5", "axis 0", "extent of 4"]);
        fails(tensors.out.columns(9..).map(|_| ()), &["9..8", "axis 1", "extent of 8"]);
        fails(
            tensors.out.slice(2, ..).map(|_| ()),
            &["axis 2", "rank 2", "numbered from 0"],
        );
        let part = tensors.out.view_mut().columns(..2)?.copy_from(&[0; 8]);
        fails(part, &["do not follow each other", "write its rows"]);
        let longer = device.zeros::<u8, 2>([1, 1 << 41]).map(|_| ());
        fails(longer, &["axis 1", "too long", "at most 2^40"]);
        let larger = device.zeros::<u64, 2>([1 << 40, 1 << 40]).map(|_| ());
        fails(larger, &["too large for any memory", "8 bytes"]);
        tensors.are_untouched_and_usable()
    })
}

/// What rustc refuses (`compile_fail.rs`) can be put together by hand.
#[test]
fn arguments_of_another_type_rank_or_number_are_refused() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let (floats, flat) = (
            device.zeros::<f32, 2>([ROWS, COLUMNS])?,
            device.zeros::<i32, 1>([ROWS])?,
        );
        let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(1));
        let good = arguments_of(&call);
        let mut others = Arguments::new();
        Argument::<&Tensor<f32, 2>>::push(&floats, &mut others);
        Argument::<&Tensor<i32, 1>>::push(&flat, &mut others);
        Argument::<i64>::push(1, &mut others);
        for other in others.values() {
            let values = [good[0].clone(), other.clone(), good[2].clone(), good[3].clone()];
            let error = fails(call_of(&call, values).launch(device), &["`copy_rows`", "`src`", "rank"]);
            assert!(matches!(
                error,
                LaunchError::WrongArguments { .. } | LaunchError::Trace(_)
            ));
        }
        let read_only = changed(&good[0], |out| out.mutable = false);
        let values = [read_only, good[1].clone(), good[2].clone(), good[3].clone()];
        fails(
            call_of(&call, values).launch(device),
            &["`copy_rows`", "`out`", "mutability"],
        );
        fails(
            call_of(&call, good[..3].to_vec()).launch(device),
            &["`copy_rows`", "3 arguments for 4 parameters"],
        );
        let outside = changed(&good[1], |src| src.extents[0] = 5);
        let values = [good[0].clone(), outside, good[2].clone(), good[3].clone()];
        fails(
            call_of(&call, values).launch(device),
            &["`copy_rows`", "`src` is not within its memory"],
        );
        let crooked = changed(&good[1], |src| {
            src.offset = 2;
            src.extents[0] = 1;
        });
        let values = [good[0].clone(), crooked, good[2].clone(), good[3].clone()];
        fails(
            call_of(&call, values).launch(device),
            &["`copy_rows`", "`src`", "no multiple of its element size, 4 bytes"],
        );
        tensors.are_untouched_and_usable()
    })
}

/// The policy `zero`, which is the default: what lies outside is not written. The guards lie in the same memory.
#[test]
fn a_destination_smaller_than_the_tile_takes_what_fits() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let part = tensors.out.view_mut().rows(1..3)?.columns(2..7)?;
        copy_rows(part, &tensors.src, Exact(0), Exact(ROWS as u64)).launch(device)?;
        let found = tensors.out.download()?;
        for (i, found) in found.into_iter().enumerate() {
            let (row, column) = (i / COLUMNS, i % COLUMNS);
            let inside = (1..3).contains(&row) && (2..7).contains(&column);
            // Row 1, column 2 of the buffer took the source's first element, which is 1.
            let expected = if inside {
                ((row - 1) * COLUMNS + column - 1) as i32
            } else {
                SENTINEL
            };
            assert_eq!(found, expected, "row {row}, column {column}");
        }
        Ok(())
    })
}

/// The policy `trap`: as above, and the device reports it.
#[test]
fn a_destination_smaller_than_the_tile_is_reported_if_the_kernel_asks_for_it() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let mut narrow = device.upload(&[SENTINEL; ROWS * 5], [ROWS, 5])?;
        let launched = copy_all_rows(&mut narrow, &tensors.src).launch(device).map(|_| ());
        let reported = launched.and_then(|()| device.synchronize());
        let place = format!(
            "bad_input.rs:{}:",
            line_of("out.store([row, cols], src.load([row, cols])); //")
        );
        let error = fails(
            reported,
            &["`copy_all_rows`", "is out of range on axis 1 of `out`", &place],
        );
        let LaunchError::Trapped { index, .. } = error else {
            panic!("{error}")
        };
        assert!((5..8).contains(&index), "{index}");
        assert_eq!(narrow.rows(1..2)?.download()?, [9, 10, 11, 12, 13]);
        tensors.are_untouched_and_usable()
    })
}

#[test]
fn shapes_that_do_not_broadcast_name_the_kernel_and_the_line() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let narrow = device.zeros::<i32, 2>([ROWS, 5])?;
        let refused = add_rows(&mut tensors.out, &tensors.src, &narrow).launch(device);
        let place = format!("bad_input.rs:{}:", line_of("// The line that the error names."));
        let error = fails(refused, &["`add_rows`", &place, "8", "5"]);
        assert!(matches!(error, LaunchError::Trace(_)), "{error}");
        tensors.are_untouched_and_usable()?;
        let zeros = device.zeros::<i32, 2>([ROWS, COLUMNS])?;
        add_rows(&mut tensors.out, &tensors.src, &zeros).launch(device)?;
        assert_eq!(tensors.out.download()?, tensors.src.download()?);
        Ok(())
    })
}

/// The first line of this file with a text, behind the helper's own.
fn line_of(text: &str) -> usize {
    let lines = include_str!("bad_input.rs").lines();
    1 + lines.take_while(|line| !line.contains(text)).count()
}

/// By addresses: parts of one allocation may be source and destination if they share no byte.
#[test]
fn a_destination_that_shares_memory_with_a_source_is_refused() -> Outcome {
    on_each_device(|device| {
        let before: Vec<i32> = (0..64).collect();
        let mut buffer = device.upload(&before, [8, COLUMNS])?;
        let empty = device.zeros::<i32, 2>([1, 1])?;
        let call = copy_rows(&mut buffer, &empty, Exact(0), Exact(2));
        let whole = arguments_of(&call);
        let part = |mutable: bool, rows: std::ops::Range<u64>, columns: std::ops::Range<u64>| {
            changed(&whole[0], |tensor| {
                tensor.mutable = mutable;
                tensor.offset = (rows.start * COLUMNS as u64 + columns.start) * 4;
                tensor.extents[0] = rows.end - rows.start;
                tensor.extents[1] = columns.end - columns.start;
            })
        };
        for (to, from) in [
            ((0..8, 0..8), (0..8, 0..8)),
            ((0..2, 0..8), (1..3, 0..8)),
            ((4..6, 0..8), (0..5, 0..8)),
            ((0..2, 0..5), (0..2, 4..8)),
            ((0..8, 7..8), (3..4, 0..8)),
        ] {
            let values = [
                part(true, to.0, to.1),
                part(false, from.0, from.1),
                whole[2].clone(),
                whole[3].clone(),
            ];
            let words = [
                "`copy_rows`",
                "`out`, which it may write, shares memory with `src`",
                "memory of its own",
            ];
            let error = fails(call_of(&call, values).launch(device), &words);
            assert!(matches!(error, LaunchError::Overlap { .. }));
        }
        // Rows that only touch, and columns that lie between each other.
        let touching = [
            part(true, 0..2, 0..8),
            part(false, 2..4, 0..8),
            whole[2].clone(),
            whole[3].clone(),
        ];
        let columns = [
            part(true, 4..6, 0..4),
            part(false, 4..6, 4..8),
            whole[2].clone(),
            whole[3].clone(),
        ];
        let (touching, columns) = (call_of(&call, touching), call_of(&call, columns));
        touching.launch(device)?;
        columns.launch(device)?;
        let mut expected = before;
        expected.copy_within(16..32, 0);
        expected.copy_within(36..40, 32);
        expected.copy_within(44..48, 40);
        assert_eq!(buffer.download()?, expected);
        Ok(())
    })
}

#[test]
fn no_rows_are_no_launch_and_no_error() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let none = device.zeros::<i32, 2>([0, COLUMNS])?;
        let mut no_columns = device.zeros::<i32, 2>([ROWS, 0])?;
        let count = device.upload(&[0i64], [1])?;
        for launched in [
            copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(0)).launch(device)?,
            copy_rows(&mut tensors.out, &tensors.src, Runtime(3), Runtime(0)).launch(device)?,
            copy_rows(&mut tensors.out, &none, Exact(0), device_count(&count, 0, 0)?).launch(device)?,
            add_rows(&mut device.zeros([0, COLUMNS])?, &none, &none).launch(device)?,
        ] {
            assert_eq!((launched.programs(), launched.compiled()), (0, false));
            assert!(launched.variant().is_none(), "nothing is compiled for nothing");
        }
        // Programs that find nothing to do are another matter.
        copy_rows(&mut tensors.out, &tensors.src, Exact(0), device_count(&count, 0, 4)?).launch(device)?;
        copy_rows(&mut tensors.out, &none, Exact(ROWS as u64), Exact(4)).launch(device)?;
        copy_rows(&mut no_columns, &tensors.src, Exact(0), Exact(4)).launch(device)?;
        assert!(no_columns.download()?.is_empty());
        tensors.are_untouched_and_usable()
    })
}

#[test]
fn a_grid_beyond_what_a_launch_can_have_is_refused() -> Outcome {
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        for rows in [1 << 31, MAX_COUNT] {
            let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Runtime(rows));
            let words = [
                "`copy_rows`",
                &rows.to_string(),
                "more than 2147483647 programs",
                "launch a part at a time",
            ];
            let error = fails(call.launch(device), &words);
            assert!(matches!(error, LaunchError::Grid(_)));
        }
        fails(
            nothing(Exact(1 << 16), Runtime(1 << 15)).launch(device),
            &["`nothing`", "65536, 32768", "programs"],
        );
        fails(
            nothing(Exact(MAX_COUNT), Exact(MAX_COUNT)).launch(device),
            &["`nothing`", "launch a part at a time"],
        );
        tensors.are_untouched_and_usable()
    })
}

#[test]
fn memory_of_another_runtime_is_refused() -> Outcome {
    struct Foreign;
    impl Memory for Foreign {
        fn as_any(&self) -> &dyn Any {
            self
        }
    }
    on_each_device(|device| {
        let mut tensors = Tensors::new(device)?;
        let call = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(1));
        let mut values = arguments_of(&call);
        values[1] = changed(&values[1], |src| src.memory = &Foreign);
        let words = [
            "`copy_rows`",
            "`src` is memory of another runtime",
            "copy it to a tensor of",
            &device.to_string(),
        ];
        fails(call_of(&call, values).launch(device), &words);
        tensors.are_untouched_and_usable()
    })
}

#[test]
fn memory_of_another_device_is_refused() -> Outcome {
    let Some(gpu) = gpu() else { return Ok(()) };
    let (mut there, mut here) = (Tensors::new(&gpu)?, Tensors::new(&Device::cpu())?);
    let count = here.device.upload(&[1i64], [1])?;
    let on_gpu = [
        "`copy_rows`",
        "is on the CPU device, and the launch is on CUDA device 0",
        "move one to the other",
    ];
    let error = fails(
        copy_rows(&mut there.out, &here.src, Exact(0), Exact(1)).launch(&gpu),
        &on_gpu,
    );
    assert!(matches!(error, LaunchError::OtherDevice { .. }));
    fails(
        copy_rows(&mut here.out, &there.src, Exact(0), Exact(1)).launch(&gpu),
        &on_gpu,
    );
    let call = copy_rows(&mut there.out, &there.src, Exact(0), device_count(&count, 0, 1)?);
    fails(call.launch(&gpu), &["`rows` is on the CPU device"]);
    let call = copy_rows(&mut here.out, &there.src, Exact(0), Exact(1));
    fails(
        call.launch(&here.device),
        &["`src` is on CUDA device 0", "the launch is on the CPU device"],
    );
    there.are_untouched_and_usable()?;
    here.are_untouched_and_usable()
}

#[test]
fn more_memory_than_there_is_is_refused_and_less_works_afterwards() -> Outcome {
    // No host has 2^62 bytes, whatever it promises.
    let huge = Device::cpu().zeros::<u64, 2>([1 << 40, 1 << 19]).map(|_| ());
    fails(huge, &["the host has no room for 4611686018427387904 bytes"]);
    Tensors::new(&Device::cpu())?.are_untouched_and_usable()?;

    let Some(gpu) = gpu() else { return Ok(()) };
    let mut tensors = Tensors::new(&gpu)?;
    for extents in [[1 << 20, 1 << 22], [1 << 20, 1 << 30], [1 << 20, 1 << 40]] {
        let asked = (extents[0] * extents[1]).to_string();
        let words = [
            "out of device memory",
            &asked,
            "bytes asked for",
            "free",
            "fewer rows at a time",
        ];
        let error = fails(gpu.zeros::<u8, 2>(extents).map(|_| ()), &words);
        assert!(matches!(error, TensorError::Device(DeviceError::OutOfMemory { .. })));
        tensors.are_untouched_and_usable()?;
    }
    // Almost all of it, twice: the first must be given back before the second.
    let (free, _) = gpu.as_cuda().ok_or("a GPU")?.memory()?;
    for _ in 0..2 {
        drop(gpu.zeros::<u8, 2>([free / 10 * 6 / 4096, 4096])?);
    }
    tensors.are_untouched_and_usable()
}

#[test]
fn a_gpu_that_is_not_there_says_why_and_what_to_do() {
    let error = fails(Device::cuda(4096).map(|_| ()), &[]);
    let text = error.to_string();
    match error {
        DeviceError::NoSuchDevice { .. } => assert!(text.contains("there is no CUDA device 4096"), "{text}"),
        // The machines that this was written on: no driver at all, or a driver without a GPU.
        DeviceError::MissingDriver => assert!(text.contains("install NVIDIA's driver"), "{text}"),
        DeviceError::NoDevice => assert!(text.contains("nvidia-smi"), "{text}"),
        error => panic!("{error}"),
    }
}

/// Whoever writes CUDA C++ with `#line` directives, as the code generator does, sees the lines of the Rust source.
#[test]
fn cuda_text_that_nvrtc_refuses_is_reported_at_the_line_of_the_rust_source() -> Outcome {
    if let Err(error) = Nvrtc::load() {
        assert!(
            !required("TILEWRIGHT_REQUIRE_NVRTC") && !required("TILEWRIGHT_REQUIRE_GPU"),
            "{error}"
        );
        println!("skipped: no NVRTC ({error})");
        return Ok(());
    }
    let source = "extern \"C\" __global__ void broken(int* out) {\n#line 7 \"src/kernels.rs\"\n  out[0] = row;\n}\n";
    let options = CompileOptions::new(Architecture::new(9, 0));
    let words = [
        "NVRTC rejected kernel `broken` for sm_90",
        "src/kernels.rs:7",
        "\"row\" is undefined",
    ];
    let error = fails(compile(source, "broken", &options), &words);
    let CompileError::Rejected { diagnostics, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (diagnostics[0].file.as_str(), diagnostics[0].line),
        ("src/kernels.rs", 7)
    );
    let old = CompileOptions::new(Architecture::new(2, 0));
    fails(
        compile(source, "broken", &old),
        &["`broken`", "sm_20", "it supports", "sm_90"],
    );
    fails(
        compile("\0", "broken", &options),
        &["`broken`", "NUL byte at offset 0", "remove it"],
    );
    assert!(
        compile(&source.replace("row", "1"), "broken", &options).is_ok(),
        "the next one compiles"
    );
    Ok(())
}

/// NVRTC is loaded once a process, so this takes another one, which runs the ignored test below.
#[test]
fn an_nvrtc_that_is_none_is_named() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("libnvrtc.so.13");
    std::fs::write(&file, "no library")?;
    for named in [file, PathBuf::from("/no/such/libnvrtc.so")] {
        let child = Command::new(std::env::current_exe()?)
            .args([
                "--exact",
                "with_an_nvrtc_that_is_none",
                "--include-ignored",
                "--nocapture",
            ])
            .env("TILEWRIGHT_NVRTC", &named)
            .output()?;
        let text = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success() && text.contains("1 passed"), "{text}");
    }
    Ok(())
}

#[test]
#[ignore = "run by `an_nvrtc_that_is_none_is_named`, in an environment of its own"]
fn with_an_nvrtc_that_is_none() -> Outcome {
    let named = std::env::var("TILEWRIGHT_NVRTC")?;
    let words = [
        "TILEWRIGHT_NVRTC is set to",
        &named,
        "gives no NVRTC",
        "Set it to libnvrtc.so",
        "or unset it",
    ];
    fails(Nvrtc::load().map(|_| ()), &words);
    fails(Nvrtc::load().map(|_| ()), &words);
    // The CPU device needs none, and a GPU says at the first launch that it has none.
    Tensors::new(&Device::cpu())?.are_untouched_and_usable()?;
    let Ok(gpu) = Device::cuda(0) else { return Ok(()) };
    assert!(Device::best().why().is_some_and(|why| why.contains(&named)));
    let mut tensors = Tensors::new(&gpu)?;
    let launched = copy_rows(&mut tensors.out, &tensors.src, Exact(0), Exact(1)).launch(&gpu);
    let error = fails(launched, &words);
    assert!(matches!(error, LaunchError::Compile(_)));
    assert_eq!(tensors.out.download()?, [SENTINEL; ROWS * COLUMNS]);
    Ok(())
}
