//! Whole batches padded in one launch: every element type, axis and binding of counts, guards around every tensor, and every
//! batch that a plan pads.

use half::bf16;
use tilewright_dp::batch::{MAX_TENSORS, Padding, PaddingError, PlannedPadding};
use tilewright_dp::plan::{BatchPlan, Fill, ForwardMode, Plan, Profile, Request, TensorPadding};
use tilewright_dsl::call::{Exact, Runtime};
use tilewright_dsl::element::Element;
use tilewright_harness::for_every_element;
use tilewright_harness::testing::*;
use tilewright_runtime::{Device, LaunchError, TensorError, device_count};

/// `rows` cut or padded to `length`, of which the first `count` are real.
fn padded(rows: &Rows, length: usize, count: usize, fill: u64) -> Rows {
    let columns = rows[0].len();
    let real = |row: usize| row < count && row < rows.len();
    (0..length)
        .map(|row| {
            if real(row) {
                rows[row].clone()
            } else {
                vec![fill; columns]
            }
        })
        .collect()
}

fn transposed(rows: &Rows) -> Rows {
    (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column]).collect())
        .collect()
}

fn every_way<T: Element>(device: &Device) {
    let fill = T::from_bits64(unique::<T>(1, 7, 9)[0][3]);
    let bits = fill.to_bits64();
    for placement in PLACEMENTS {
        // Lists, narrow rows, rows of a vector and a bit, and rows that a program has for itself.
        for columns in [1, 3, 33, 1500] {
            let rows = unique::<T>(6, columns, 1);
            let src = Guarded::<T>::new(device, &rows, columns, placement);
            for (length, count) in [(9, 6), (9, 4), (6, 0), (3, 6), (2, 1), (9, 100)] {
                for binding in BINDINGS {
                    let what = (T::TYPE, placement, columns, length, count);
                    let [mut rows_out, mut kept_out] =
                        [0; 2].map(|_| Guarded::<T>::untouched(device, length, columns, placement));
                    let mut columns_out = Guarded::<T>::untouched(device, columns, length, placement);
                    let mut filled = Guarded::<T>::new(device, &padded(&rows, length, 6, 0), columns, placement);
                    let mut padding = Padding::new();
                    padding
                        .pad(rows_out.view_mut(), src.view(), 0, binding(count), fill)
                        .unwrap()
                        .keep(kept_out.view_mut(), src.view(), 0, binding(count))
                        .unwrap()
                        .pad(
                            columns_out.view_mut(),
                            src.view().transpose(0, 1).unwrap(),
                            1,
                            binding(count),
                            fill,
                        )
                        .unwrap()
                        .fill(filled.view_mut(), 0, binding(count), fill)
                        .unwrap();
                    assert_eq!(padding.len(), 4);
                    padding.launch_on(&device.stream()).unwrap();
                    let expected = padded(&rows, length, count as usize, bits);
                    assert_rows(&rows_out.read(), &expected, what);
                    assert_rows(&columns_out.read(), &transposed(&expected), what);
                    let sentinel = sentinels::<T>(1, 1)[0][0];
                    assert_rows(&kept_out.read(), &padded(&rows, length, count as usize, sentinel), what);
                    let there = padded(&rows, length, 6, 0);
                    assert_rows(&filled.read(), &padded(&there, length, count as usize, bits), what);
                }
            }
        }
    }
}

#[test]
fn elements_of_every_type_are_padded_along_every_axis_as_raw_bits() {
    for_each_device(|device| for_every_element!(every_way(device)));
}

/// A tensor of a batch, as the plan pads it.
struct Field<T: Element> {
    name: &'static str,
    count: u64,
    src: Guarded<T>,
    out: Guarded<T>,
    expected: Rows,
}

impl<T: Element> Field<T> {
    /// A tensor with `count` elements on the axis that is padded, and with `width` on the other.
    fn new(device: &Device, padding: &TensorPadding, count: usize, width: usize) -> Self {
        let fill = match padding.fill {
            Fill::Value(0) => 0,
            Fill::Value(fill) => {
                assert!(T::TYPE.is_integer(), "{padding:?}");
                fill as u64 & (u64::MAX >> (64 - T::TYPE.bits()))
            }
            Fill::Stale => sentinels::<T>(1, 1)[0][0],
            Fill::Nothing => panic!("{padding:?} is no tensor"),
        };
        let length = padding.length as usize;
        let mut rows = unique::<T>(count, width, padding.length);
        let lying = |rows: &Rows, extent: usize| match padding.axis {
            0 => (rows.clone(), width),
            _ if rows.is_empty() => (vec![Vec::new(); width], extent),
            _ => (transposed(rows), extent),
        };
        let (src, src_columns) = lying(&rows, count);
        rows.resize(length, vec![fill; width]);
        let (expected, columns) = lying(&rows, length);
        Self {
            name: padding.tensor,
            count: count as u64,
            src: Guarded::new(device, &src, src_columns, Placement::Contiguous),
            out: Guarded::untouched(device, expected.len(), columns, Placement::Contiguous),
            expected,
        }
    }

    fn pad<'a>(&'a mut self, padding: &mut PlannedPadding<'_, 'a>) {
        let count = Runtime(self.count);
        padding
            .pad(self.name, self.out.view_mut(), self.src.view(), count)
            .unwrap();
    }

    fn check(&self, batch: &BatchPlan) {
        assert_rows(&self.out.read(), &self.expected, (self.name, batch));
    }
}

/// Pads every tensor of a batch in one launch. Returns how many there were.
fn pad_all(device: &Device, batch: &BatchPlan, tokens: u64, requests: u64) -> usize {
    let (mut longs, mut ints, mut floats) = (Vec::new(), Vec::new(), Vec::new());
    let (mut hidden, mut masks) = (Vec::new(), Vec::new());
    let tensors = batch.tensors.iter().filter(|padding| padding.fill != Fill::Nothing);
    for padding in tensors.clone() {
        let of_tokens = [
            "input_ids",
            "out_cache_loc",
            "positions",
            "hidden_states",
            "mrope_positions",
        ];
        let real = if of_tokens.contains(&padding.tensor) {
            tokens
        } else {
            requests
        };
        // What an older version pads by requests has no more of them.
        let count = real.min(padding.length) as usize;
        match padding.tensor {
            "hidden_states" => hidden.push(Field::<bf16>::new(device, padding, count, 1504)),
            "topk_p" => floats.push(Field::<f32>::new(device, padding, count, 4)),
            "topk_index" => longs.push(Field::<i64>::new(device, padding, count, 4)),
            "mrope_positions" => longs.push(Field::new(device, padding, count, 3)),
            "mamba_track_mask" => masks.push(Field::<bool>::new(device, padding, count, 1)),
            "seq_lens" | "req_pool_indices" | "accept_length" => {
                ints.push(Field::<i32>::new(device, padding, count, 1))
            }
            _ => longs.push(Field::new(device, padding, count, 1)),
        }
    }
    let mut padding = batch.padding();
    longs.iter_mut().for_each(|field| field.pad(&mut padding));
    ints.iter_mut().for_each(|field| field.pad(&mut padding));
    floats.iter_mut().for_each(|field| field.pad(&mut padding));
    hidden.iter_mut().for_each(|field| field.pad(&mut padding));
    masks.iter_mut().for_each(|field| field.pad(&mut padding));
    padding.launch_on(&device.stream()).unwrap();
    longs.iter().for_each(|field| field.check(batch));
    ints.iter().for_each(|field| field.check(batch));
    floats.iter().for_each(|field| field.check(batch));
    hidden.iter().for_each(|field| field.check(batch));
    masks.iter().for_each(|field| field.check(batch));
    tensors.count()
}

#[test]
fn every_tensor_that_a_version_pads_is_padded_in_one_launch() {
    for_each_device(|device| {
        let mut most = 0;
        for profile in Profile::ALL {
            for (forward, raw, coef, extend, graph, requests) in [
                (ForwardMode::Decode, vec![24, 20], 1, false, false, 20),
                (ForwardMode::Decode, vec![24, 0], 1, false, false, 0),
                (ForwardMode::TargetVerify, vec![6, 5], 4, false, false, 5),
                (ForwardMode::DraftDecode, vec![6, 5], 2, false, false, 3),
                (ForwardMode::DraftExtend, vec![6, 6], 4, false, false, 2),
                (ForwardMode::Decode, vec![9, 7], 1, true, false, 7),
                (ForwardMode::Decode, vec![20, 17], 1, false, true, 17),
            ] {
                let request = Request {
                    profile,
                    coef,
                    extend,
                    graph_ok: graph,
                    graph_buckets: graph.then(|| vec![16, 24]),
                    ..Request::new(raw, 2)
                };
                let batch = Plan::new(&request).unwrap().batch(1, forward, requests).unwrap();
                most = most.max(pad_all(device, &batch, requests * coef, requests));
            }
        }
        assert!(most >= 15, "the newest version pads more than {most} tensors");
    });
}

#[test]
fn counts_in_device_memory_are_those_of_the_moment() {
    for_each_device(|device| {
        let ids = device.upload(&(1..=9i64).collect::<Vec<_>>(), [9]).unwrap();
        let lengths = device.upload(&[70i32; 9], [9]).unwrap();
        let mut counts = device.upload(&[0i32, 0], [2]).unwrap();
        let mut found = Vec::new();
        for (tokens, requests) in [(5, 2), (0, 9), (9, 0), (100, -3)] {
            counts.copy_from(&[tokens, requests]).unwrap();
            let mut padded_ids = device.upload(&[-1i64; 12], [12]).unwrap();
            let mut padded_lengths = device.upload(&[-1i32; 10], [10]).unwrap();
            let mut padding = Padding::new();
            let count = |index| device_count(&counts, index, 9).unwrap();
            padding.pad(&mut padded_ids, &ids, 0, count(0), 0).unwrap();
            padding.pad(&mut padded_lengths, &lengths, 0, count(1), 1).unwrap();
            padding.launch_on(&device.stream()).unwrap();
            let (ids, lengths) = (padded_ids.download().unwrap(), padded_lengths.download().unwrap());
            let [tokens, requests] = [tokens, requests].map(|count| count.clamp(0, 9));
            assert_eq!(
                ids,
                (1..=12)
                    .map(|id| if id <= tokens { i64::from(id) } else { 0 })
                    .collect::<Vec<_>>()
            );
            let expected = (0..10).map(|i| if i < requests { 70 } else { 1 });
            assert_eq!(lengths, expected.collect::<Vec<_>>());
            found.push((ids, lengths));
        }
        found
    });
}

#[test]
fn batches_of_other_sizes_share_the_kernel() {
    let device = Device::cpu();
    let run = |real: usize, length: usize| {
        let ids = device.zeros::<i64, 1>([real]).unwrap();
        let hidden = device.zeros::<bf16, 2>([real, 1504]).unwrap();
        let mut ids_out = device.zeros::<i64, 1>([length]).unwrap();
        let mut hidden_out = device.zeros::<bf16, 2>([length, 1504]).unwrap();
        let mut padding = Padding::new();
        padding.pad(&mut ids_out, &ids, 0, Runtime(real as u64), 0).unwrap();
        padding
            .pad(&mut hidden_out, &hidden, 0, Runtime(real as u64), bf16::ZERO)
            .unwrap();
        padding.launch_on(&device.stream()).unwrap().variant_id()
    };
    let sizes = [
        (20, 24),
        (21, 24),
        (3, 8),
        (500, 512),
        (1, 1504),
        (1023, 1030),
        (4096, 5000),
    ];
    let mut variants: Vec<_> = sizes.map(|(real, length)| run(real, length)).to_vec();
    // Where the last block is full, it has nothing to test.
    variants.extend([(1023, 1024), (1, 2048)].map(|(real, length)| run(real, length)));
    variants.sort_unstable();
    variants.dedup();
    assert_eq!(variants.len(), 2);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_launched() {
    let device = Device::cpu();
    let plan = Plan::new(&Request::new(vec![8, 5], 2)).unwrap();
    let batch = plan.batch(1, ForwardMode::Decode, 5).unwrap();
    let ids = device.zeros::<i64, 1>([5]).unwrap();
    let [mut short, mut padded_ids] = [7, 8].map(|length| device.zeros::<i64, 1>([length]).unwrap());
    let mut padding = batch.padding();
    let error = padding.pad("input_idz", &mut padded_ids, &ids, Exact(5)).err().unwrap();
    assert!(
        error
            .to_string()
            .starts_with("the plan of this batch pads no `input_idz`: it pads input_ids, "),
        "{error}"
    );
    let mut padding = batch.padding();
    let error = padding.pad("input_ids", &mut short, &ids, Exact(5)).err().unwrap();
    assert_eq!(
        error.to_string(),
        "`input_ids` has 7 elements on axis 0, and the plan pads it to 8"
    );
    let mut padding = batch.padding();
    let error = padding.pad("lora_ids", &mut padded_ids, &ids, Exact(5)).err().unwrap();
    assert!(
        matches!(error, PaddingError::NoElements { tensor: "lora_ids" }),
        "{error}"
    );
    let mut masks = device.zeros::<bool, 1>([8]).unwrap();
    let mask = device.zeros::<bool, 1>([5]).unwrap();
    let mut padding = batch.padding();
    let error = padding
        .pad("bootstrap_room_ids", &mut masks, &mask, Exact(5))
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "`bootstrap_room_ids` is padded with -1, which is no value of its type bool"
    );
    let mut matrix = device.zeros::<i64, 2>([3, 8]).unwrap();
    let narrow = device.zeros::<i64, 2>([2, 5]).unwrap();
    let mut padding = batch.padding();
    let error = padding
        .pad("mrope_positions", &mut matrix, &narrow, Exact(5))
        .err()
        .unwrap();
    assert!(
        matches!(error, PaddingError::WrongColumns { out: 3, src: 2 }),
        "{error}"
    );
    let mut padding = Padding::new();
    let error = padding.fill(&mut padded_ids, 1, Exact(5), 0).err().unwrap();
    assert!(
        matches!(
            error,
            PaddingError::Tensor(TensorError::NoSuchAxis { axis: 1, rank: 1 })
        ),
        "{error}"
    );

    let captured = Request {
        graph_ok: true,
        graph_buckets: Some(vec![16]),
        ..Request::new(vec![8, 5], 2)
    };
    let replayed = Plan::new(&captured).unwrap().batch(1, ForwardMode::Decode, 5).unwrap();
    let mut ids16 = device.zeros::<i64, 1>([16]).unwrap();
    let mut padding = replayed.padding();
    let error = padding.fill("positions", &mut ids16, Exact(5)).err().unwrap();
    assert!(matches!(error, PaddingError::Stale { tensor: "positions" }), "{error}");

    let other = Device::cpu().zeros::<i64, 1>([5]).unwrap();
    let mut padding = Padding::new();
    padding.pad(&mut padded_ids, &other, 0, Exact(u64::MAX), 0).unwrap();
    let error = padding.launch_on(&device.stream()).unwrap_err();
    assert!(matches!(error, LaunchError::CountOutOfRange { .. }), "{error}");
    assert_eq!(device.counters().launches, 0);
}

#[test]
fn as_many_tensors_as_one_launch_pads_and_no_more() {
    let device = Device::cpu();
    let src = device.upload(&[1i64, 2, 3], [3]).unwrap();
    let mut outs: Vec<_> = (0..=MAX_TENSORS)
        .map(|_| device.zeros::<i64, 1>([5]).unwrap())
        .collect();
    let mut last = outs.pop().unwrap();
    let mut padding = Padding::new();
    for out in &mut outs {
        padding.pad(out, &src, 0, Runtime(2), -1).unwrap();
    }
    let error = padding.fill(&mut last, 0, Exact(1), 7).err().unwrap();
    assert!(matches!(error, PaddingError::TooManyTensors), "{error}");
    let text = "one launch pads at most 64 tensors: launch these, and pad the rest with another `Padding`";
    assert_eq!(error.to_string(), text);
    padding.launch_on(&device.stream()).unwrap();
    for out in outs {
        assert_eq!(out.download().unwrap(), [1, 2, -1, -1, -1]);
    }
}
