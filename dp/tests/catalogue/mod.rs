//! The kernels of this package as a GPU gets them, made without one.
//!
//! The CPU device stages a launch as a GPU does, up to the canonical kernel of its variant; schedule and text are made
//! from that kernel in two more steps, here for an H200.

#![allow(dead_code)] // Each suite uses its part.

use std::sync::Arc;

use tilewright_dp::kernels::*;
use tilewright_dsl::call::{Argument, Arguments, Call, Exact, Runtime};
use tilewright_dsl::element::Element;
use tilewright_dsl::ir::Kernel;
use tilewright_dsl::lang::Count;
use tilewright_dsl::lower::{Lowered, lower};
use tilewright_dsl::schedule::{self, Machine};
use tilewright_runtime::{Device, DeviceCount, DeviceTensor, Launch, TensorView, TensorViewMut, Variant, device_count};

/// What each thread of an H200 would do in a launch of this many programs.
pub fn lowered(kernel: &Kernel, programs: u64) -> Lowered {
    let schedule = schedule::choose(kernel, &Machine::H200, programs);
    lower(kernel, &schedule).unwrap_or_else(|error| panic!("{error}\n{kernel}"))
}

/// The variant that serves a call.
pub fn variant(device: &Device, call: Call<'_>) -> Arc<Variant> {
    let name = call.definition().name();
    let launched = call.launch(device).unwrap_or_else(|error| panic!("{name}: {error}"));
    launched.variant().expect("there are programs").clone()
}

/// A kernel that moves rows, and what it touches besides them.
pub struct Mover {
    /// The kernel's name.
    pub name: &'static str,
    pub variant: Arc<Variant>,
    /// Stores of rows in its text.
    pub stores: usize,
    /// Single elements that a program reads: indices and counts.
    pub single_loads: usize,
    /// Single elements that a program writes.
    pub single_stores: usize,
}

/// Where rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One behind the other, from an aligned address.
    Whole,
    /// Within wider rows whose length is a multiple of 16 bytes, from their second element on: as a view
    /// `columns(1..)` has them.
    Shifted,
}

/// How counts are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    Exact,
    Runtime,
    Device,
}

/// A count bound in one of the three ways.
#[derive(Clone, Copy)]
enum AnyCount<'a> {
    Exact(Exact),
    Runtime(Runtime),
    Device(DeviceCount<'a>),
}

impl<'a> Argument<'a, Count> for AnyCount<'a> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        match self {
            AnyCount::Exact(count) => Argument::<Count>::pass(count, arguments),
            AnyCount::Runtime(count) => Argument::<Count>::pass(count, arguments),
            AnyCount::Device(count) => Argument::<Count>::pass(count, arguments),
        }
    }
}

/// A tensor of which a range of columns is used.
struct Placed<T: Element, const R: usize> {
    tensor: DeviceTensor<T, R>,
    first: usize,
    columns: usize,
}

impl<T: Element, const R: usize> Placed<T, R> {
    fn new(device: &Device, mut extents: [usize; R], place: Place) -> Self {
        let columns = extents[R - 1];
        let first = match place {
            Place::Whole => 0,
            Place::Shifted => 1,
        };
        let lanes = 16 / T::TYPE.size();
        if place == Place::Shifted {
            extents[R - 1] = (columns + 1).next_multiple_of(lanes);
        }
        let tensor = device.zeros(extents).expect("host memory");
        Self { tensor, first, columns }
    }

    fn view(&self) -> TensorView<'_, T, R> {
        let columns = self.first..self.first + self.columns;
        self.tensor.columns(columns).expect("they exist")
    }

    fn view_mut(&mut self) -> TensorViewMut<'_, T, R> {
        let columns = self.first..self.first + self.columns;
        self.tensor.view_mut().columns(columns).expect("they exist")
    }
}

/// Every kernel that moves rows of any element type, for rows of `columns` elements.
pub fn movers<T: Element>(columns: usize, to: Place, from: Place, binding: Binding) -> Vec<Mover> {
    let device = Device::cpu();
    let source = Placed::<T, 2>::new(&device, [4, columns], from);
    let gathered = Placed::<T, 2>::new(&device, [8, columns], from);
    let packed_up = Placed::<T, 3>::new(&device, [2, 3, columns], from);
    let mut local = Placed::<T, 2>::new(&device, [4, columns], to);
    let mut others = [0, 1, 2].map(|_| Placed::<T, 2>::new(&device, [4, columns], to));
    let mut buffer = Placed::<T, 2>::new(&device, [8, columns], to);
    let mut padded = Placed::<T, 3>::new(&device, [2, 3, columns], to);
    let mut mask = device.zeros::<bool, 2>([2, 3]).expect("host memory");
    let mut report = device.zeros::<i64, 1>([2]).expect("host memory");
    let index = device.upload(&[3i32, 0, 1, 2], [4]).expect("host memory");
    let starts = device.upload(&[0i64, 3, 4], [3]).expect("host memory");
    let numbers = device
        .upload(&[0i32, 1, 2, 3, 4, 5, 6, 7, 8], [9])
        .expect("host memory");

    let count = |value: u64| match binding {
        Binding::Exact => AnyCount::Exact(Exact(value)),
        Binding::Runtime => AnyCount::Runtime(Runtime(value)),
        Binding::Device => AnyCount::Device(device_count(&numbers, value as usize, 8).expect("it exists")),
    };
    // Counts of a launch that are read by the program.
    let read = |counts: usize| if binding == Binding::Device { counts } else { 0 };
    let mut movers = Vec::new();
    let mut add = |call: Call<'_>, stores, single_loads, single_stores| {
        movers.push(Mover {
            name: call.definition().name(),
            variant: variant(&device, call),
            stores,
            single_loads,
            single_stores,
        });
    };

    let (s, i) = (source.view(), &index);
    add(gather_rows(local.view_mut(), s, i), 1, 1, 0);
    let [one, two, three] = &mut others;
    add(gather_rows_of([local.view_mut(), one.view_mut()], [s, s], i), 2, 1, 0);
    let call = gather_four(
        local.view_mut(),
        one.view_mut(),
        two.view_mut(),
        three.view_mut(),
        s,
        s,
        s,
        s,
        i,
    );
    add(call, 4, 1, 0);
    add(scatter_rows(buffer.view_mut(), s, i), 1, 1, 0);
    add(scatter_rows_except(buffer.view_mut(), s, i, 0), 1, 1, 0);
    let call = copy_to_slot(buffer.view_mut(), s, count(2), count(4));
    add(call, 1, read(2), 0);
    let call = copy_from_slot(local.view_mut(), gathered.view(), count(2), count(3));
    add(call, 1, read(2), 0);
    let call = copy_from_slot_padded(local.view_mut(), gathered.view(), count(2), count(3));
    add(call, 2, read(2), 0);
    add(pad_rows(buffer.view_mut(), s, count(3)), 2, read(1), 0);
    let (at, rows) = ([0, 2, 4, 6].map(count), [2, 1, 0, 2].map(count));
    add(fill_and_place(buffer.view_mut(), [s; 4], at, rows), 5, read(8), 0);
    let call = place_rows(buffer.view_mut(), s, count(2), count(1), count(3));
    add(call, 2, read(3), 0);
    let (at, first, rows) = (count(2), count(1), count(3));
    let call = place_rows_with_report(buffer.view_mut(), &mut report, s, at, first, rows);
    add(call, 2, read(3), 2);
    let call = take_rows_with_report(local.view_mut(), &mut report, gathered.view(), count(2), count(3));
    add(call, 2, read(2), 2);
    add(pack_segments(buffer.view_mut(), packed_up.view(), &starts), 1, 2, 0);
    add(pad_segments(padded.view_mut(), s, &starts), 2, 2, 0);
    let call = pad_segments_with_mask(padded.view_mut(), &mut mask, s, &starts);
    add(call, 2, 2, 1);
    movers
}

/// A kernel that does more than to move rows, and the bytes that its accesses have.
pub struct Other {
    pub variant: Arc<Variant>,
    pub loads: &'static [u32],
    pub stores: &'static [u32],
    /// Those of its stores where who finds the only scale that it has of a group stores it: of several, others store them in packets.
    pub stores_of_finders: &'static [u32],
}

/// The kernels that do arithmetic with what they move, and those that move ids.
///
/// The bytes are those of today: `store_mla` and `quantize_to_slot` read rows element by element, and `pad_ids` ids, where
/// wider accesses are possible.
pub fn others() -> Vec<Other> {
    let device = Device::cpu();
    let source = device.zeros::<half::bf16, 2>([3, 7168]).expect("host memory");
    let mut padded = device.zeros::<half::bf16, 2>([4, 7168]).expect("host memory");
    let ids = device.zeros::<i64, 1>([3000]).expect("host memory");
    let mut bucket = device.zeros::<i64, 1>([4096]).expect("host memory");
    let mut experts = device.zeros::<i32, 2>([256, 8]).expect("host memory");
    let counts = device.upload(&[5i64, 20], [2]).expect("host memory");
    let mut sum = device.zeros::<f32, 2>([3, 7168]).expect("host memory");
    let mut report = device.zeros::<i64, 1>([2]).expect("host memory");
    let (start, rows) = (Runtime(1), Runtime(3));
    let positions = device.zeros::<i32, 2>([4, 8]).expect("host memory");
    let weights = device.zeros::<f32, 2>([4, 8]).expect("host memory");
    let mut narrow = device.zeros::<float8::F8E4M3, 2>([3, 7168]).expect("host memory");
    let mut scales = device.zeros::<f32, 2>([3, 56]).expect("host memory");
    let wire = device.zeros::<float8::F8E4M3, 2>([3, 7168]).expect("host memory");
    let wire_scales = device.zeros::<f32, 2>([3, 56]).expect("host memory");
    let mut bytes = device.zeros::<u8, 2>([3, 3584]).expect("host memory");
    let mut steps = device.zeros::<float8::F8E4M3, 2>([3, 448]).expect("host memory");
    let wire_bytes = device.zeros::<u8, 2>([3, 3584]).expect("host memory");
    let wire_steps = device.zeros::<float8::F8E4M3, 2>([3, 448]).expect("host memory");
    let mut blocks = device.zeros(nvfp4::swizzled_extents(3, 448)).expect("host memory");
    let mut cache = device.zeros::<half::bf16, 2>([9, 576]).expect("host memory");
    let nope = device.zeros::<half::bf16, 2>([3, 512]).expect("host memory");
    let rope = device.zeros::<half::bf16, 2>([3, 64]).expect("host memory");
    let slots = device.upload(&[4i64, 2, 0], [3]).expect("host memory");
    let mut loads = device.zeros::<i32, 1>([256]).expect("host memory");
    let mut starts = device.zeros::<i32, 1>([257]).expect("host memory");
    let tokens = device.zeros::<i32, 1>([256]).expect("host memory");
    let finder = |call: Call<'_>, loads, stores, stores_of_finders| Other {
        variant: variant(&device, call),
        loads,
        stores,
        stores_of_finders,
    };
    let other = |call: Call<'_>, loads, stores| finder(call, loads, stores, stores);
    vec![
        other(
            combine_rows(&mut padded, &source, &positions, &weights),
            &[4, 16],
            &[16],
        ),
        finder(
            quantize_rows(&mut narrow, &mut scales, &source),
            &[16],
            &[8, 16],
            &[4, 8],
        ),
        other(dequantize_rows(&mut padded, &wire, &wire_scales), &[4, 8], &[16]),
        other(store_mla(&mut cache, &nope, &rope, &slots), &[8, 16], &[16]),
        other(count_experts(&mut loads, &ids), &[8, 16], &[16]),
        // What it reports is told in words of 8 bytes.
        other(
            expert_offsets(&mut starts, &tokens, Runtime(128)),
            &[8, 16],
            &[4, 8, 16],
        ),
        other(convert_rows(&mut sum, &source), &[8], &[16]),
        other(add_rows(&mut sum, &source), &[8, 16], &[16]),
        finder(
            quantize_to_slot(&mut narrow, &mut scales, &source, start, Runtime(0), rows),
            &[16],
            &[8, 16],
            &[4, 8, 16],
        ),
        finder(
            quantize_to_slot_with_report(&mut narrow, &mut scales, &mut report, &source, start, Runtime(0), rows),
            &[16],
            &[8, 16],
            &[4, 8, 16],
        ),
        // A thread has a group: two packets of the source, 8 bytes, and a scale of one.
        finder(
            quantize_nvfp4_to_slot(&mut bytes, &mut steps, &source, 1.0, start, Runtime(0), rows),
            &[16],
            &[8, 16],
            &[1, 8, 16],
        ),
        finder(
            quantize_nvfp4_to_slot_with_report(
                &mut bytes,
                &mut steps,
                &mut report,
                &source,
                1.0,
                start,
                Runtime(0),
                rows,
            ),
            &[16],
            &[8, 16],
            &[1, 8, 16],
        ),
        // Half a group, and its scale.
        other(
            dequantize_nvfp4(&mut padded, &wire_bytes, &wire_steps, 1.0),
            &[1, 4],
            &[16],
        ),
        // The four columns of four rows, to where they are side by side.
        other(swizzle_scales(&mut blocks, &wire_steps), &[4], &[16]),
        other(mask_rows_outside(&mut experts, &counts, &counts), &[8], &[16]),
        other(pad_rows_with(&mut padded, &source, Runtime(2), 0.5f32), &[16], &[16]),
        other(pad_ids(&mut bucket, &ids, Runtime(3000), -1i64), &[8, 16], &[16]),
        other(mask_padding_ids(&mut experts, &counts, Runtime(128)), &[8], &[16]),
    ]
}
