//! Bundles that are made without a GPU: for a launch on an offline device the same code is made as on the GPU.
//!
//! One cache serves a process, so these tests take turns.

use tilewright::dp::kernels::gather_rows;
use tilewright::prelude::*;
use tilewright::runtime::Target;
use tilewright::runtime::cache::{Bundle, BundleBuilder, CubinCache};
use tilewright::runtime::compile::{Architecture, Nvrtc, check_cubin};
use tilewright_testing::{Part, turn};

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

const H100: Target = Target::new(Architecture::new(9, 0), 132);

/// The extents and counts of some launches: (rows, columns, gathered).
const CASES: [(usize, usize, usize); 4] = [(40, 64, 7), (40, 63, 40), (1000, 7168, 256), (3, 1, 2000)];

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
    let Some(gpu) = Part::Gpu.or_skip(Device::cuda(0)) else {
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
