//! What is in a bundle is what steps ask for.

use std::time::Instant;

use half::bf16;
use tilewright_dsl::call::Exact;
use tilewright_runtime::Launch;
use tilewright_runtime::compile::{Architecture, Nvrtc};
use tilewright_testing::Part;

use super::absent::groups;
use super::*;
use crate::kernels::{copy_from_slot_padded, place_rows};
use crate::movement::{Contribution, Counts, Movement};
use crate::plan::{Plan, Request};

const H100: Target = Target::new(Architecture::new(9, 0), 132);

fn has_nvrtc() -> bool {
    Part::Nvrtc.or_skip(Nvrtc::load()).is_some()
}

fn engine() -> Engine {
    Engine {
        dp: 4,
        rows: 150,
        ..Engine::new(128, ElementType::BF16)
    }
}

#[test]
fn steps_of_random_counts_ask_for_nothing_that_is_not_in_the_bundle() {
    if !has_nvrtc() {
        return;
    }
    let engine = Engine {
        kernels: vec![Kernels::Movement],
        ..engine()
    };
    let prepared = BundleBuilder::new();
    let begin = Instant::now();
    engine.compile(&prepared, H100, |_| {}).expect("it compiles");
    println!("{} kernels in {:?}", prepared.len(), begin.elapsed());
    let asked = BundleBuilder::new();
    let mut random = fastrand::Rng::with_seed(8);
    let topology = Topology::of_ranks(engine.dp, engine.attention_tp).expect("a topology");
    for step in 0..300 {
        // Each is a server of its own: its first launches make its resident variants.
        let device = asked.device(H100);
        let groups = groups(&device.stream(), &topology, random.u64(..4)).expect("groups");
        let raw: Vec<u64> = (0..4).map(|_| random.u64(..=engine.rows)).collect();
        let request = Request {
            row_bytes: 256,
            extend: step % 2 == 0,
            ..Request::new(raw, 4)
        };
        let plan = Plan::new(&request).expect("a plan");
        let movement = Movement::new(&plan, &topology, &groups).expect("a movement");
        let zeros = |rows| device.zeros::<bf16, 2>([rows as usize, 128]).expect("memory");
        let local = zeros(movement.slot().tokens);
        let (mut buffer, mut result) = (zeros(plan.layout().rows()), zeros(movement.slot().rows));
        let mut buffer = buffer.view_mut();
        movement
            .gather(&mut buffer, local.view(), Contribution::Partial, Counts::Planned)
            .and_then(|_| movement.scatter(&mut result.view_mut(), buffer.view(), Counts::Planned))
            .expect("rows are moved");
    }
    let prepared = prepared.keys();
    let missing: Vec<_> = asked.keys().into_iter().filter(|key| !prepared.contains(key)).collect();
    assert!(missing.is_empty() && asked.len() > 3, "{missing:?} of {}", asked.len());
}

#[test]
fn counts_that_a_policy_allows_are_literals_too() {
    if !has_nvrtc() {
        return;
    }
    let compile = |policy| {
        let bundle = BundleBuilder::new();
        let engine = Engine {
            kernels: vec![Kernels::Movement, Kernels::Padding],
            rows: 20,
            policy,
            ..engine()
        };
        engine.compile(&bundle, H100, |_| {}).expect("it compiles");
        bundle
    };
    let (without, with) = (
        compile(CountPolicy::Runtime),
        compile(CountPolicy::Buckets(vec![8, 16])),
    );
    assert!(without.keys().iter().all(|key| with.keys().contains(key)));
    assert!(with.len() > without.len());
    let exact = BundleBuilder::new();
    let device = exact.device(H100);
    device.set_specialize(Specialize::Exact);
    let zeros = || device.zeros::<bf16, 2>([16, 128]).expect("memory");
    let (mut out, src) = (zeros(), zeros());
    let (first, tokens) = (Exact(0), Exact(16));
    place_rows(&mut out, &src, first, first, tokens)
        .launch(&device)
        .expect("a launch");
    copy_from_slot_padded(&mut out, &src, first, tokens)
        .launch(&device)
        .expect("a launch");
    assert!(exact.len() == 2 && exact.keys().iter().all(|key| with.keys().contains(key)));
}

#[test]
fn all_kernels_are_compiled_and_progress_ends_where_it_should() {
    if !has_nvrtc() {
        return;
    }
    let bundle = BundleBuilder::new();
    let mut last = None;
    let engine = Engine { rows: 5, ..engine() };
    engine
        .compile(&bundle, H100, |progress| last = Some(progress))
        .expect("it compiles");
    assert!(
        last.is_some_and(|last| last.done == last.all && last.all == 10),
        "{last:?}"
    );
    let bundle = tilewright_runtime::cache::Bundle::from_bytes(bundle.to_bytes().expect("bytes")).expect("a bundle");
    let names: Vec<_> = bundle
        .cubins()
        .expect("whole")
        .into_iter()
        .map(|stored| stored.name)
        .collect();
    for kernel in [
        "place_rows",
        "place_rows_with_report",
        "copy_from_slot_padded",
        "take_rows_with_report",
        "quantize_to_slot",
        "quantize_to_slot_with_report",
        "dequantize_rows",
        "quantize_nvfp4_to_slot",
        "quantize_nvfp4_to_slot_with_report",
        "dequantize_nvfp4",
        "swizzle_scales",
        "mask_padding_ids",
        "mask_rows_outside",
        "gather_rows",
        "scatter_rows",
        "pad_rows",
        "copy_to_slot",
        "copy_from_slot",
        "permute_rows",
        "combine_rows",
        "pad_bits",
    ] {
        assert!(names.iter().any(|name| name.contains(kernel)), "{kernel} of {names:?}");
    }
}

#[test]
fn sizes_that_no_engine_has_are_refused() {
    let refused = |engine: Engine, words: &str| {
        let error = engine
            .compile(&BundleBuilder::new(), H100, |_| {})
            .expect_err("no engine");
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(Engine { rows: 0, ..engine() }, "0 rows of a rank: there are 1 to");
    refused(
        Engine {
            hidden: vec![1 << 30],
            ..engine()
        },
        "elements of a hidden state",
    );
    refused(
        Engine {
            experts_per_token: vec![0],
            ..engine()
        },
        "0 experts for a token",
    );
    refused(Engine { dp: 0, ..engine() }, "`dp` is 0");
    let policy = CountPolicy::Exact;
    refused(
        Engine {
            rows: 5000,
            policy,
            ..engine()
        },
        "allows 5000 counts as literals",
    );
    let elements = vec![ElementType::I64];
    refused(
        Engine { elements, ..engine() },
        "hidden states are f16, bf16 or f32, not i64",
    );
}

#[test]
fn neighbouring_sizes_differ_little_and_the_last_is_there() {
    let sizes = Engine { rows: 8192, ..engine() }.sizes();
    let mut rows: Vec<u64> = sizes.iter().map(|sizes| sizes.rows).collect();
    rows.dedup_by(|one, other| one == other);
    rows.sort_unstable();
    rows.dedup();
    assert_eq!((rows.first(), rows.last()), (Some(&1), Some(&8192)));
    assert!(rows.windows(2).all(|pair| pair[1] <= pair[0] + 1 + pair[0] / 64));
    assert!(sizes.iter().all(|sizes| sizes.tokens <= sizes.rows));
}
