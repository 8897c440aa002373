//! Bundles that are made without a GPU: for a launch on an offline device the same code is made as on the GPU.
//!
//! One cache serves a process, so these tests take turns.

use tilewright::dp::kernels::{copy_from_slot_padded, gather_rows, place_rows};
use tilewright::dp::offline::{Engine, Kernels};
use tilewright::dsl::element::ElementType;
use tilewright::prelude::*;
use tilewright::runtime::cache::{Bundle, BundleBuilder, CubinCache};
use tilewright::runtime::compile::{Architecture, Compiler, Nvrtc, check_cubin};
use tilewright::runtime::{DeviceError, Target};
use tilewright_testing::{Part, turn};

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

const H100: Target = Target::new(Architecture::new(9, 0), 132);

/// The extents and counts of some launches: (rows, columns, gathered).
const CASES: [(usize, usize, usize); 4] = [(40, 64, 7), (40, 63, 40), (1000, 7168, 256), (3, 1, 2000)];

/// A GPU that takes what a bundle has, which NVRTC compiled: one that was told to compile PTX takes none of it.
fn of_bundles() -> Result<Device, DeviceError> {
    Device::cuda_with(0, Compiler::Auto)
}

/// Gathers on a device.
fn launch(device: &Device, (rows, columns, gathered): (usize, usize, usize)) -> Vec<u16> {
    let data: Vec<_> = (0..rows * columns).map(|element| element as u16).collect();
    let from: Vec<_> = (0..gathered).map(|row| (row * 7 % rows) as i32).collect();
    let src = device.upload(&data, [rows, columns]).expect("memory");
    let index = device.upload(&from, [gathered]).expect("memory");
    let mut out = device.zeros::<u16, 2>([gathered, columns]).expect("memory");
    gather_rows::<u16, i32>(&mut out, &src, &index)
        .launch(device)
        .expect("launched");
    out.download().expect("downloaded")
}

fn bundle(target: Target) -> Bundle {
    let builder = BundleBuilder::new();
    let offline = builder.device(target);
    for case in CASES {
        let found = launch(&offline, case);
        assert!(found.iter().all(|element| *element == 0), "nothing runs");
    }
    Bundle::from_bytes(builder.to_bytes().expect("bytes")).expect("a bundle")
}

#[test]
fn a_bundle_is_made_without_a_gpu_and_is_the_same_each_time() {
    let _turn = turn();
    if Part::Nvrtc.or_skip(Nvrtc::load()).is_none() {
        return;
    }
    for target in [(8, 0, 108), (9, 0, 132)]
        .map(|(major, minor, multiprocessors)| Target::new(Architecture::new(major, minor), multiprocessors))
    {
        let cubins = bundle(target).cubins().expect("whole");
        assert!(cubins == bundle(target).cubins().expect("whole"));
        assert!(
            (2..=2 * CASES.len()).contains(&cubins.len()),
            "rows of other lengths have other code, and each two variants"
        );
        for stored in cubins {
            check_cubin(&stored.cubin.bytes).expect("a cubin");
            assert_eq!(stored.cubin.architecture, target.architecture);
            assert_eq!(stored.name, "tilewright_gather_rows");
        }
    }
    // No programs need no code.
    let builder = BundleBuilder::new();
    launch(&builder.device(H100), (4, 4, 0));
    assert!(builder.is_empty());
}

#[test]
fn what_a_launch_refuses_is_in_no_bundle() {
    let _turn = turn();
    let cpu = Device::cpu();
    let src = cpu.zeros::<u16, 2>([4, 5]).expect("memory");
    let index = cpu.zeros::<i32, 1>([3]).expect("memory");
    let mut out = cpu.zeros::<u16, 2>([3, 6]).expect("memory");
    let builder = BundleBuilder::new();
    let offline = builder.device(H100);
    let mut refused = [&offline, &cpu].map(|device| {
        let call = gather_rows::<u16, i32>(&mut out, &src, &index);
        call.launch(device).expect_err("widths differ").to_string()
    });
    let [refused, launched] = &mut refused;
    assert!(refused == launched && builder.is_empty(), "{refused}");
}

#[test]
fn a_gpu_launches_from_a_bundle_without_compiling() {
    let _turn = turn();
    let Some(gpu) = Part::Gpu.or_skip(of_bundles()) else {
        return;
    };
    let properties = gpu.as_cuda().expect("a GPU").properties();
    let cache = CubinCache::new().with_bundle(bundle(properties.into())).install();
    let before = gpu.counters();
    for case in CASES {
        assert!(launch(&gpu, case) == launch(&Device::cpu(), case), "{case:?}");
    }
    assert!(Device::settle(LONG), "what is taken over behind is there");
    let after = gpu.counters();
    assert!(after.variants > before.variants);
    assert_eq!(after.compiles, before.compiles, "nothing was compiled");
    let counters = cache.counters();
    assert_eq!(
        (counters.bundle_hits, counters.compiled),
        (after.variants - before.variants, 0)
    );
}

/// What the kernels of an engine's steps were compiled for is what its launches ask for, whatever their counts.
#[test]
fn steps_of_random_counts_are_served_from_the_bundle_of_an_engine() {
    const HIDDEN: usize = 256;
    const ROWS: u64 = 200;
    let _turn = turn();
    let Some(gpu) = Part::Gpu.or_skip(of_bundles()) else {
        return;
    };
    let properties = gpu.as_cuda().expect("a GPU").properties();
    let engine = Engine {
        kernels: vec![Kernels::Movement],
        dp: 4,
        rows: ROWS,
        ..Engine::new(HIDDEN, ElementType::BF16)
    };
    let builder = BundleBuilder::new();
    engine
        .compile(&builder, properties.into(), |_| {})
        .expect("it compiles");
    let bundle = Bundle::from_bytes(builder.to_bytes().expect("bytes")).expect("a bundle");
    let cache = CubinCache::new().with_bundle(bundle).install();

    let mut random = fastrand::Rng::with_seed(3);
    let states: Vec<bf16> = (0..ROWS as usize * HIDDEN)
        .map(|at| bf16::from_f32(at as f32))
        .collect();
    let local = gpu.upload(&states, [ROWS as usize, HIDDEN]).expect("memory");
    let mut buffer = gpu.zeros::<bf16, 2>([4 * ROWS as usize, HIDDEN]).expect("memory");
    let mut back = gpu.zeros::<bf16, 2>([ROWS as usize, HIDDEN]).expect("memory");
    for _ in 0..300 {
        let rows = random.u64(1..=ROWS);
        let (tokens, start) = (random.u64(0..=rows), rows * random.u64(0..4));
        let slot = start as usize..(start + rows) as usize;
        let slot = buffer.view_mut().rows(slot).expect("rows");
        let from = local.rows(..tokens as usize).expect("rows");
        let counts = (Exact(0), Exact(tokens));
        place_rows(slot, from, counts.0, counts.0, counts.1)
            .launch(&gpu)
            .expect("a launch");
        let all = buffer.rows(..4 * rows as usize).expect("rows");
        let result = back.view_mut().rows(..rows as usize).expect("rows");
        copy_from_slot_padded(result, all, Exact(start), counts.1)
            .launch(&gpu)
            .expect("a launch");
        let found = back
            .rows(..rows as usize)
            .expect("rows")
            .download()
            .expect("downloaded");
        let (moved, padding) = found.split_at(tokens as usize * HIDDEN);
        assert!(moved == &states[..moved.len()] && padding.iter().all(|state| state.to_bits() == 0));
    }
    assert!(Device::settle(LONG), "what is taken over behind is there");
    let counters = cache.counters();
    // No counts came often enough that they were tried as literals.
    assert!(counters.bundle_hits > 2 && counters.compiled == 0, "{counters:?}");
}

/// A cubin that is at hand is not loaded within a capture either.
#[test]
fn a_capture_takes_nothing_from_a_bundle_and_says_what_to_do_before() {
    let _turn = turn();
    let Some(gpu) = Part::Gpu.or_skip(of_bundles()) else {
        return;
    };
    let properties = gpu.as_cuda().expect("a GPU").properties();
    let builder = BundleBuilder::new();
    let (src, index) = (vec![7i64; 40 * 12], [3i64, -1, 5]);
    let tensors = |device: &Device| {
        let src = device.upload(&src, [40, 12]).expect("memory");
        let index = device.upload(&index, [3]).expect("memory");
        (device.zeros::<i64, 2>([3, 12]).expect("memory"), src, index)
    };
    let offline = builder.device(properties.into());
    let (mut out, src, index) = tensors(&offline);
    gather_rows(&mut out, &src, &index)
        .launch(&offline)
        .expect("it compiles");
    let bundle = Bundle::from_bytes(builder.to_bytes().expect("bytes")).expect("a bundle");
    let cache = CubinCache::new().with_bundle(bundle).install();

    let (mut out, src, index) = tensors(&gpu);
    let mut gather = |stream: &Stream| gather_rows(&mut out, &src, &index).launch_on(stream).map(drop);
    let error = gpu.capture(&mut gather).expect_err("it would load").to_string();
    assert!(error.contains("gather_rows"), "{error}");
    let counters = cache.counters();
    assert_eq!((counters.bundle_hits, counters.compiled), (0, 0));
    gather(&gpu.stream()).expect("it is loaded");
    let mut graph = gpu.capture(&mut gather).expect("a graph");
    graph.launch().expect("a launch");
    let counters = cache.counters();
    assert!(counters.bundle_hits > 0 && counters.compiled == 0, "{counters:?}");
    let expected: Vec<i64> = [7, 0, 7].into_iter().flat_map(|row| [row; 12]).collect();
    assert_eq!(out.download().expect("downloaded"), expected);
}
