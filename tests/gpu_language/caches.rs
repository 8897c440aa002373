//! What kernels ask of the caches and of the launches around them: it is in the code, and changes no result.

use tilewright::dsl::backend::Module;
use tilewright::dsl::ir::CacheHint as Hint;
use tilewright::prelude::*;
use tilewright::runtime::compile::Architecture;

use crate::devices::{Texts, on_every_device, ptx};

fn load_hint(number: usize) -> AccessOptions {
    let hints: Vec<Hint> = Hint::ALL.into_iter().filter(|hint| hint.is_for_loads()).collect();
    AccessOptions::new().cache(hints[number])
}

fn store_hint(number: usize) -> AccessOptions {
    let hints: Vec<Hint> = Hint::ALL.into_iter().filter(|hint| hint.is_for_stores()).collect();
    AccessOptions::new().cache(hints[number])
}

/// Whole vectors, single elements, masked and indirect ones.
#[kernel(grid = [out.extent(0)])]
fn hinted<T: Number>(
    out: &mut Tensor<T, 2>,
    src: &Tensor<T, 2>,
    index: &Tensor<i32, 1>,
    #[comptime] load: usize,
    #[comptime] store: usize,
) {
    let row = program_id(0);
    let cols = arange(src.extent(1));
    let from = index.load_with([row], load_hint(load));
    let value = src.load_with([from, cols], load_hint(load).mask(cols < 1000));
    let more = src.load_with([from, cols], load_hint(load));
    out.store_with([row, cols], value + more, store_hint(store));
    out.store_with([row, 0], src.load_with([0, 0], load_hint(load)), store_hint(store));
}

fn check<T: Number + PartialEq + std::fmt::Debug>(values: &[T], columns: usize, twice: impl Fn(T) -> T) {
    for (load, store) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 0)] {
        let out = on_every_device(|device| {
            let src = device.upload(values, [values.len() / columns, columns]).unwrap();
            let index = device.upload(&[1, -1, 0], [3]).unwrap();
            let mut out = device.zeros::<T, 2>([3, columns]).unwrap();
            hinted::<T>(&mut out, &src, &index, load, store).launch(device).unwrap();
            out.download().unwrap()
        });
        let expected = |row: usize, column: usize| match (row, column) {
            (_, 0) => values[0],
            (1, _) => T::from_bits64(0),
            (row, column) => twice(values[(1 - row / 2) * columns + column]),
        };
        for (i, value) in out.iter().enumerate() {
            assert_eq!(*value, expected(i / columns, i % columns), "{load} {store} {i}");
        }
    }
}

#[test]
fn every_hint_moves_the_same_bits_at_every_width() {
    for columns in [64, 37] {
        let bytes: Vec<u8> = (0..2 * columns).map(|i| i as u8).collect();
        check(&bytes, columns, |v| v.wrapping_add(v));
        let shorts: Vec<i16> = (0..2 * columns as i16).collect();
        check(&shorts, columns, |v| 2 * v);
        let floats: Vec<f32> = (0..2 * columns).map(|i| i as f32 + 0.25).collect();
        check(&floats, columns, |v| 2.0 * v);
        let longs: Vec<u64> = (0..2 * columns as u64).map(|i| i << 40).collect();
        check(&longs, columns, |v| 2 * v);
    }
}

/// Both texts of the variant that serves a call.
fn sources(call: impl Launch) -> [Module; 2] {
    let launched = call.launch(&Device::cpu()).unwrap();
    let texts = Texts::new(launched.variant().unwrap(), 100_000, Architecture::new(9, 0));
    [texts.cuda(), texts.ptx(Architecture::new(9, 0))]
}

/// The instructions of a text that begin so.
fn instructions<'t>(text: &'t str, start: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(start)
        .map(|(at, _)| text[at..].split_whitespace().next().unwrap_or_default())
}

#[test]
fn a_hint_is_in_every_instruction_of_its_access() {
    let device = Device::cpu();
    for columns in [64usize, 37] {
        let src = device.zeros::<f32, 2>([2, columns]).unwrap();
        let index = device.zeros::<i32, 1>([3]).unwrap();
        let mut out = device.zeros::<f32, 2>([3, columns]).unwrap();
        let loads = [
            "ca.nc",
            "cg.nc",
            "cs.nc",
            "cv",
            "nc.L1::no_allocate",
            "nc.L1::evict_first",
            "nc.L1::evict_last",
        ];
        let stores = ["cg", "cs", "L1::evict_first", "L1::evict_last", "wb", "wt"];
        for (load, text) in loads.iter().enumerate() {
            for (store, to) in stores.iter().enumerate() {
                for module in sources(hinted::<f32>(&mut out, &src, &index, load, store)) {
                    let source = module.text.as_str();
                    for (start, hint) in [("ld.global", text), ("st.global", to)] {
                        let found: Vec<_> = instructions(source, start).collect();
                        assert!(found.iter().any(|one| one.contains(".v4.")), "{start}: {source}");
                        let hint = format!("{start}.{hint}.");
                        assert!(found.iter().all(|one| one.starts_with(&hint)), "{hint}: {found:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_hint_survives_in_the_compiled_text() {
    let device = Device::cpu();
    let src = device.zeros::<f32, 2>([2, 64]).unwrap();
    let index = device.zeros::<i32, 1>([3]).unwrap();
    let mut out = device.zeros::<f32, 2>([3, 64]).unwrap();
    let loads = Hint::ALL.iter().filter(|hint| hint.is_for_loads());
    let stores = Hint::ALL.iter().filter(|hint| hint.is_for_stores());
    let (loads, stores): (Vec<_>, Vec<_>) = (loads.collect(), stores.collect());
    for number in 0..loads.len() {
        let (load, store) = (loads[number], stores[number % stores.len()]);
        let call = hinted::<f32>(&mut out, &src, &index, number, number % stores.len());
        let launched = call.launch(&device).unwrap();
        for text in ptx(launched.variant().unwrap(), "sm_90") {
            for (start, hint) in [("ld.global", load), ("st.global", store)] {
                let qualifier = format!(".{}.", hint.qualifier());
                let found: Vec<_> = instructions(&text, start).collect();
                assert!(found.len() > usize::from(start == "ld.global"), "{text}");
                assert!(found.iter().all(|one| one.contains(&qualifier)), "{hint:?}: {found:#?}");
            }
        }
    }
}

#[kernel(grid = [1])]
fn wrong_load(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>) {
    out.store(
        [0],
        src.load_with([0], AccessOptions::new().cache(CacheHint::WriteThrough)),
    );
}

#[kernel(grid = [1])]
fn wrong_store(out: &mut Tensor<i32, 1>, src: &Tensor<i32, 1>) {
    let value = src.load([0]);
    out.store_with([0], value, AccessOptions::new().cache(CacheHint::NoAllocate));
}

#[test]
fn a_hint_that_an_access_cannot_have_is_refused() {
    on_every_device(|device| {
        let src = device.zeros::<i32, 1>([1]).unwrap();
        let mut out = device.zeros::<i32, 1>([1]).unwrap();
        let error = wrong_load(&mut out, &src).launch(device).unwrap_err().to_string();
        assert!(
            error.contains("a load has no cache hint WriteThrough") && error.contains("caches.rs"),
            "{error}"
        );
        let error = wrong_store(&mut out, &src).launch(device).unwrap_err().to_string();
        assert!(
            error.contains("a store has no cache hint NoAllocate") && error.contains("WriteBack"),
            "{error}"
        );
    });
}

#[kernel(grid = [1])]
fn prefetching(out: &mut Tensor<f32, 1>, src: &Tensor<f32, 2>, index: &Tensor<i32, 1>) {
    wait_for_previous_launch();
    let cols = arange(src.extent(1));
    src.prefetch([0, 0]);
    src.prefetch([index.load([cols]), cols]);
    let mut sum = full([src.extent(1)], 0.0);
    for row in 0..src.extent(0) {
        src.prefetch([row + 4, cols]);
        sum += src.load([row, cols]);
    }
    trigger_next_launch();
    out.store([cols], sum);
}

#[test]
fn prefetches_and_dependent_launches_change_no_result() {
    let values: Vec<f32> = (0..9 * 200).map(|i| i as f32).collect();
    let sum = on_every_device(|device| {
        let src = device.upload(&values, [9, 200]).unwrap();
        let index = device.upload(&(-9..191).collect::<Vec<i32>>(), [200]).unwrap();
        let mut out = device.zeros::<f32, 1>([200]).unwrap();
        prefetching(&mut out, &src, &index).launch(device).unwrap();
        out.download().unwrap()
    });
    let expected = |column: usize| (0..9).map(|row| values[row * 200 + column]).sum::<f32>();
    assert_eq!(sum, (0..200).map(expected).collect::<Vec<_>>());

    let device = Device::cpu();
    let (src, index) = (
        device.zeros::<f32, 2>([9, 200]).unwrap(),
        device.zeros::<i32, 1>([200]).unwrap(),
    );
    let mut out = device.zeros::<f32, 1>([200]).unwrap();
    for module in sources(prefetching(&mut out, &src, &index)) {
        let source = module.text.as_str();
        for part in [
            "prefetch.global.L2",
            "griddepcontrol.wait",
            "griddepcontrol.launch_dependents",
        ] {
            assert!(source.contains(part), "{source}");
        }
        // What a launch before may still be writing is not taken for constant.
        assert!(!source.contains("__restrict__"), "{source}");
        assert!(
            instructions(source, "ld.global").all(|one| !one.contains(".nc")),
            "{source}"
        );
    }
}
