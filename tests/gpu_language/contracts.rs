//! What kernels say about their stores and values: contracts, assumptions, assertions, and builds that test them.

use tilewright::prelude::*;

use crate::devices::{on_every_device, ptx, where_kernels_report};

#[kernel(grid = [slots.extent(0)])]
fn assign(owner: &mut Tensor<i32, 1>, slots: &Tensor<i32, 1>) {
    let request = program_id(0);
    if request % 3 == 2 {
        return;
    }
    owner.scatter([slots.load([request])], request as i32, Conflict::LastWins);
}

#[test]
fn the_last_program_that_writes_a_slot_wins() {
    let slots: Vec<i32> = (0..700).map(|i| (i * i) % 41 - 2).collect();
    let owners = on_every_device(|device| {
        let slots = device.upload(&slots, [700]).unwrap();
        let mut owner = device.upload(&[-1; 39], [39]).unwrap();
        assign(&mut owner, &slots).launch(device).unwrap();
        owner.download().unwrap()
    });
    let mut expected = [-1; 39];
    for (request, &slot) in slots.iter().enumerate().filter(|(i, _)| i % 3 != 2) {
        if slot >= 0 && (slot as usize) < expected.len() {
            expected[slot as usize] = request as i32;
        }
    }
    assert_eq!(owners, expected);
}

#[kernel(grid = [slots.extent(0), 3])]
fn rows_and_tiles(
    rows: &mut Tensor<i32, 2>,
    tile: &mut Tensor<i32, 1>,
    sums: &mut Tensor<i32, 1>,
    slots: &Tensor<i32, 1>,
    index: &Tensor<i32, 2>,
) {
    let (program, layer) = (program_id(0), program_id(1));
    let cols = arange(rows.extent(1));
    let value = (program + layer * 100) as i32;
    rows.scatter([slots.load([program]), cols], cols as i32 + value, Conflict::LastWins);
    // Many elements of one tile are in one place.
    let i = arange(50);
    let at = index.load([program, i]);
    let mut held = i as i32 * 1000;
    held += value;
    tile.scatter_where([at], held, i % 5 != 0, Conflict::LastWins);
    // What earlier programs have written is there.
    sums.store([program + layer * slots.extent(0)], tile.load([3]));
}

#[test]
fn within_a_program_the_last_element_in_row_major_order_wins() {
    let slots = [2, 0, 2, 5, 0, 2];
    let index: Vec<i32> = (0..6 * 50).map(|i| (i * 7) % 11).collect();
    let (rows, tile, sums) = on_every_device(|device| {
        let there = device.upload(&slots, [6]).unwrap();
        let index = device.upload(&index, [6, 50]).unwrap();
        let mut rows = device.zeros::<i32, 2>([6, 37]).unwrap();
        let mut tile = device.zeros::<i32, 1>([11]).unwrap();
        let mut sums = device.zeros::<i32, 1>([18]).unwrap();
        rows_and_tiles(&mut rows, &mut tile, &mut sums, &there, &index)
            .launch(device)
            .unwrap();
        (
            rows.download().unwrap(),
            tile.download().unwrap(),
            sums.download().unwrap(),
        )
    });
    let (mut expected_rows, mut expected_tile, mut expected_sums) = (vec![0; 6 * 37], [0; 11], vec![0; 18]);
    for layer in 0..3 {
        for program in 0..6 {
            let value = (program + layer * 100) as i32;
            for column in 0..37 {
                expected_rows[slots[program] as usize * 37 + column] = column as i32 + value;
            }
            for i in (0..50).filter(|i| i % 5 != 0) {
                expected_tile[index[program * 50 + i] as usize] = i as i32 * 1000 + value;
            }
            expected_sums[program + layer * 6] = expected_tile[3];
        }
    }
    assert_eq!((rows, tile), (expected_rows, expected_tile.to_vec()));
    assert_eq!(sums, expected_sums);
}

#[kernel(grid = [1])]
fn permute(out: &mut Tensor<i32, 1>, index: &Tensor<i32, 1>) {
    for block in 0..4 {
        let i = arange(64) + block * 64;
        out.scatter([index.load([i])], i as i32, Conflict::Disjoint);
    }
}

/// Launches `permute`, checked or not; the error of the launch or of what it reports.
fn permuted(device: &Device, index: &[i32], checked: bool) -> Result<Vec<i32>, LaunchError> {
    let index = device.upload(index, [index.len()]).unwrap();
    let mut out = device.upload(&[-1; 300], [300]).unwrap();
    let call = permute(&mut out, &index);
    let call = if checked { call.checked() } else { call };
    call.launch(device)?;
    device.synchronize()?;
    Ok(out.download().unwrap())
}

#[test]
fn a_disjoint_scatter_is_tested_by_the_cpu_device_and_in_checked_builds() {
    let permutation: Vec<i32> = (0..256).map(|i| (i * 77) % 256 + 20).collect();
    for checked in [false, true] {
        let out = where_kernels_report(|device| permuted(device, &permutation, checked).unwrap());
        for (i, &at) in permutation.iter().enumerate() {
            assert_eq!(out[at as usize], i as i32);
        }
    }
    // In one tile, and in two trips.
    for (one, other) in [(3, 60), (10, 200)] {
        let mut index = permutation.clone();
        index[other] = index[one];
        let element = index[one];
        where_kernels_report(|device| {
            let error = permuted(device, &index, true).unwrap_err().to_string();
            for part in ["permute", "`out`", &element.to_string(), "disjoint", "contracts.rs"] {
                assert!(error.contains(part), "{error}");
            }
            assert!(permuted(device, &permutation, true).is_ok());
        });
        let error = permuted(&Device::cpu(), &index, false).unwrap_err().to_string();
        assert!(
            error.contains("written twice by program [0, 0, 0]") && error.contains("`out`"),
            "{error}"
        );
    }
}

#[kernel(grid = [4])]
fn meeting(out: &mut Tensor<i32, 1>) {
    out.scatter([program_id(0) / 2], 1, Conflict::Disjoint);
}

#[test]
fn two_programs_that_break_the_promise_are_named() {
    let device = Device::cpu();
    let mut out = device.zeros::<i32, 1>([4]).unwrap();
    let error = meeting(&mut out).launch(&device).unwrap_err().to_string();
    assert!(
        error.contains("`out`[0] is written in a scatter that is declared disjoint by program [0, 0, 0]")
            && error.contains("by program [1, 0, 0]"),
        "{error}"
    );
}

#[kernel(grid = [1])]
#[allow(unsafe_code)]
fn unchecked(out: &mut Tensor<i32, 1>, index: &Tensor<i32, 1>, src: &Tensor<i32, 1>) {
    let i = arange(40);
    // Sound as long as what the test passes is: it passes something else only to checked builds.
    let value = unsafe { src.load_unchecked([index.load([i])]) };
    out.store([i], value);
}

#[test]
fn an_unchecked_access_is_checked_in_a_checked_build() {
    where_kernels_report(|device| {
        let src = device.upload(&(100..140).collect::<Vec<i32>>(), [40]).unwrap();
        let mut out = device.zeros::<i32, 1>([40]).unwrap();
        let mut run = |bad: i32| {
            let mut index: Vec<i32> = (0..40).rev().collect();
            index[17] = bad;
            let index = device.upload(&index, [40]).unwrap();
            unchecked(&mut out, &index, &src).checked().launch(device)?;
            device.synchronize()?;
            Ok::<_, LaunchError>(out.download().unwrap()[17])
        };
        let LaunchError::Trapped { parameter, index, .. } = run(4000).unwrap_err() else {
            panic!("it is out of bounds");
        };
        assert_eq!((parameter.as_str(), index), ("src", 4000));
        assert_eq!(run(8).unwrap(), 108);
    });
}

#[test]
fn an_unchecked_access_is_not_checked_in_any_other_build() {
    let index: Vec<i32> = (0..40).map(|i| (i * 27 + 5) % 40).collect();
    let out = on_every_device(|device| {
        let src = device.upload(&(100..140).collect::<Vec<i32>>(), [40]).unwrap();
        let mut out = device.zeros::<i32, 1>([40]).unwrap();
        let index = device.upload(&index, [40]).unwrap();
        let launched = unchecked(&mut out, &index, &src).launch(device).unwrap();
        let proofs: Vec<String> = launched
            .variant()
            .unwrap()
            .proofs()
            .iter()
            .map(ToString::to_string)
            .collect();
        let load = proofs.iter().find(|proof| proof.starts_with("load src")).unwrap();
        assert!(!load.contains("guarded"), "{load}");
        out.download().unwrap()
    });
    assert_eq!(out, index.iter().map(|&at| 100 + at).collect::<Vec<_>>());
}

#[kernel(grid = [index.extent(0)])]
#[allow(unsafe_code)]
fn assuming(out: &mut Tensor<i32, 2>, src: &Tensor<i32, 2>, index: &Tensor<i32, 1>) {
    let row = program_id(0);
    let from = index.load([row]) as i64;
    // Sound as long as what the test passes is: it passes something else only to builds that test it.
    unsafe { assume(from >= 0 && from < src.extent(0)) };
    let cols = arange(out.extent(1));
    out.store([row, cols], src.load([from, cols]));
}

#[kernel(grid = [1])]
#[allow(unsafe_code)]
fn aligned(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>, start: i64) {
    let cols = arange(64);
    // As above.
    let start = unsafe { start.multiple_of(4) };
    out.store([cols], src.load([start + cols]));
}

/// The error that a launch reports, now or when the device is synchronised.
fn failure(device: &Device, call: impl Launch) -> LaunchError {
    match call.launch(device) {
        Err(error) => error,
        Ok(_) => device.synchronize().unwrap_err(),
    }
}

#[test]
fn assumptions_are_used_and_tested() {
    where_kernels_report(|device| {
        let src = device.upload(&(0..6 * 40).collect::<Vec<i32>>(), [6, 40]).unwrap();
        let mut out = device.zeros::<i32, 2>([3, 40]).unwrap();
        let index = device.upload(&[5, 0, 3], [3]).unwrap();
        let launched = assuming(&mut out, &src, &index).launch(device).unwrap();
        let proofs = launched.variant().unwrap().proofs().iter().map(ToString::to_string);
        assert!(proofs.into_iter().any(|p| p.starts_with("load src[proved")));
        assuming(&mut out, &src, &index).checked().launch(device).unwrap();
        device.synchronize().unwrap();
        assert_eq!(out.download().unwrap()[40..42], [0, 1]);

        let index = device.upload(&[5, 0, 6], [3]).unwrap();
        let LaunchError::CheckFailed { program, span, .. } =
            failure(device, assuming(&mut out, &src, &index).checked())
        else {
            panic!("it does not hold");
        };
        assert_eq!((program, span.file.ends_with("contracts.rs")), (2, true));
        assert!(device.synchronize().is_ok());
    });
    // The CPU device needs no checked build for it.
    let device = Device::cpu();
    let src = device.zeros::<i32, 2>([6, 40]).unwrap();
    let mut out = device.zeros::<i32, 2>([1, 40]).unwrap();
    let index = device.upload(&[-1], [1]).unwrap();
    let error = failure(&device, assuming(&mut out, &src, &index)).to_string();
    assert!(error.contains("assumption failed"), "{error}");
}

#[test]
fn a_claimed_multiple_makes_rows_aligned_and_is_tested() {
    let out = where_kernels_report(|device| {
        let src = device.upload(&(0..200).collect::<Vec<i32>>(), [200]).unwrap();
        let mut out = device.zeros::<i32, 1>([64]).unwrap();
        aligned(&mut out, &src, 12).launch(device).unwrap();
        let error = failure(device, aligned(&mut out, &src, 14).checked()).to_string();
        assert!(error.contains("a value is a multiple of 4"), "{error}");
        out.download().unwrap()
    });
    assert_eq!(out, (12..76).collect::<Vec<i32>>());
    let device = Device::cpu();
    let src = device.zeros::<i32, 1>([200]).unwrap();
    let mut out = device.zeros::<i32, 1>([64]).unwrap();
    let launched = aligned(&mut out, &src, 12).launch(&device).unwrap();
    for text in ptx(launched.variant().unwrap(), "sm_90") {
        let loads = text.lines().filter(|line| line.starts_with("ld.global"));
        let (wide, single): (Vec<_>, Vec<_>) = loads.partition(|load| load.contains(".v4."));
        // Two would be put together to one; single elements are for where a packet is out of bounds in parts.
        assert_eq!((wide.len(), single.len()), (1, 4), "{text}");
    }
}

#[kernel(grid = [lengths.extent(0)])]
fn asserting(out: &mut Tensor<i32, 1>, lengths: &Tensor<i32, 1>, tiles: &Tensor<i32, 2>) {
    let row = program_id(0);
    let length = lengths.load([row]);
    device_assert(length <= 100, "a sequence is too long");
    device_assert(tiles.load([row, arange(33)]) != -7, "no tile holds -7");
    out.store([row], length);
}

#[test]
fn an_assertion_names_the_kernel_the_line_and_the_message() {
    where_kernels_report(|device| {
        let mut out = device.upload(&[0; 5], [5]).unwrap();
        let mut run = |lengths: &[i32; 5], tile: i32| {
            let lengths = device.upload(lengths, [5]).unwrap();
            // Of the last program the last element.
            let mut tiles = vec![0; 5 * 33];
            tiles[5 * 33 - 1] = tile;
            let tiles = device.upload(&tiles, [5, 33]).unwrap();
            asserting(&mut out, &lengths, &tiles).launch(device).unwrap();
            let reported = device.synchronize().map_err(|error| error.to_string());
            (reported, out.download().unwrap())
        };
        let (reported, out) = run(&[1, 2, 101, 3, 100], 0);
        let error = reported.unwrap_err();
        for part in ["asserting", "a sequence is too long", "program 2", "contracts.rs"] {
            assert!(error.contains(part), "{error}");
        }
        // The program ended there.
        assert_eq!(out, [1, 2, 0, 3, 100]);
        let (reported, out) = run(&[5; 5], -7);
        let error = reported.unwrap_err();
        for part in ["no tile holds -7", "program 4"] {
            assert!(error.contains(part), "{error}");
        }
        // Of the program that has it no thread has stored.
        assert_eq!(out, [5, 5, 5, 5, 100]);
        assert_eq!(run(&[9; 5], 0), (Ok(()), vec![9; 5]));
    });
}

/// Adds one to rows as long as all of their elements are below a limit.
#[kernel(grid = [rows.extent(0)])]
fn count_up(rows: &mut Tensor<i32, 2>, limit: i32, trips: Count) {
    let (row, cols) = (program_id(0), arange(rows.extent(1)));
    for _ in 0..trips {
        let found = rows.load([row, cols]);
        device_assert(found < limit, "an element has come to the limit");
        rows.store([row, cols], found + 1);
    }
}

#[test]
fn a_program_in_which_one_element_of_a_tile_fails_ends_whole() {
    // A row in one thread's hands, in those of a part of a warp, of a warp, and of a block that takes several trips over it.
    for columns in [1usize, 9, 70, 3000] {
        let out = where_kernels_report(|device| {
            let mut rows = vec![0; 6 * columns];
            // One element of each row is ahead of the others.
            (0..6).for_each(|row| rows[row * columns + row * 97 % columns] = row as i32);
            let mut rows = device.upload(&rows, [6, columns]).unwrap();
            for _ in 0..3 {
                let error = failure(device, count_up(&mut rows, 8, Runtime(6))).to_string();
                assert!(error.contains("an element has come to the limit"), "{error}");
            }
            rows.download().unwrap()
        });
        let rows = (0..6).flat_map(|row| {
            let ahead = row * 97 % columns;
            (0..columns).map(move |column| if column == ahead { 8 } else { 8 - row as i32 })
        });
        assert_eq!(out, rows.collect::<Vec<i32>>(), "{columns} columns");
    }
}

/// One thread is long at work, storing in order and reporting, when the others have come to a barrier in a branch.
#[kernel(grid = [2], bounds = "trap")]
fn wait_for_the_slow(out: &mut Tensor<i64, 2>, slow: &mut Tensor<u8, 1>, index: &Tensor<i64, 1>) {
    let (row, cols) = (program_id(0), arange(out.extent(1)));
    slow.scatter([cols * 3], 1, Conflict::LastWins);
    // Others' elements, and then one's own.
    out.store([row, index.load([cols])], zero::<i64>());
    if row > 0 {
        slow.scatter([cols * 0], 2, Conflict::LastWins);
    } else {
        slow.scatter([cols * 0], 3, Conflict::LastWins);
    }
    out.store([row, cols], cols);
}

#[test]
fn a_barrier_waits_for_a_thread_that_reports_again_and_again() {
    const COLUMNS: usize = 2112;
    // Another warp's column.
    let index: Vec<i64> = (0..COLUMNS as i64).map(|column| column ^ 64).collect();
    let out = where_kernels_report(|device| {
        let index = device.upload(&index, [COLUMNS]).unwrap();
        let mut out = device.zeros::<i64, 2>([2, COLUMNS]).unwrap();
        let mut slow = device.zeros::<u8, 1>([3]).unwrap();
        wait_for_the_slow(&mut out, &mut slow, &index).launch(device).unwrap();
        device.synchronize().unwrap_err();
        out.download().unwrap()
    });
    let row = 0..COLUMNS as i64;
    assert_eq!(out, row.clone().chain(row).collect::<Vec<_>>());
}

/// The same in a loop, in a build whose other stores are marked, by a block that runs several programs.
#[kernel(grid = [4], bounds = "trap")]
fn wait_in_a_loop(bytes: &mut Tensor<u8, 1>, slow: &mut Tensor<u8, 1>, index: &Tensor<i64, 1>, from: &Tensor<u8, 1>) {
    let first = program_id(0) * 1905;
    let (few, many) = (arange(381), arange(1905));
    bytes.store([first + few * 3], 1);
    let shift = arange(32).sum_axis(0) - 495;
    bytes.store([first + few * 3 + shift], 2);
    for _ in -5i64..-2 {
        let i = arange(635);
        slow.scatter([i], from.load([index.load([i])]), Conflict::LastWins);
    }
    for round in 0i64..3 {
        bytes.store([first + many], (many + round) as u8);
    }
    bytes.store([first + 1807], 7);
}

#[test]
fn a_barrier_in_a_loop_waits_for_a_thread_that_reports_again_and_again() {
    let index: Vec<i64> = (0..635).map(|i| if i % 3 == 0 { i % 9 } else { 1000 + i }).collect();
    let bytes = where_kernels_report(|device| {
        let index = device.upload(&index, [635]).unwrap();
        let from = device.upload(&[1, 2, 3, 4, 5, 6, 7], [7]).unwrap();
        let mut bytes = device.zeros::<u8, 1>([4 * 1905]).unwrap();
        let mut slow = device.zeros::<u8, 1>([635]).unwrap();
        let call = wait_in_a_loop(&mut bytes, &mut slow, &index, &from);
        call.checked().launch(device).unwrap();
        device.synchronize().unwrap_err();
        bytes.download().unwrap()
    });
    let row = |i: usize| if i == 1807 { 7 } else { (i + 2) as u8 };
    assert_eq!(bytes, (0..4 * 1905).map(|i| row(i % 1905)).collect::<Vec<_>>());
}
