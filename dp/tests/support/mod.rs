//! What the end-to-end suites share: devices, sources whose elements can be told apart, and guarded destinations.
//!
//! Everything is compared as raw bits. A source's elements are pseudo-random bit patterns, NaNs included; a destination
//! lies between guard rows full of sentinels, which must survive.

#![allow(dead_code)] // Each suite uses its part.

use std::fmt::Debug;

use tilewright_dsl::call::{CountArgument, Specialize};
use tilewright_dsl::element::{Element, ElementType};
use tilewright_runtime::{Device, DeviceTensor, TensorView, TensorViewMut};
use tilewright_testing::Part;

/// Runs a test on the CPU device and, if there is one, on the GPU, with the best variant for each launch; both must return the
/// same.
pub fn for_each_device<R: PartialEq + Debug>(test: impl Fn(&Device) -> R) {
    let on_cpu = test(&Device::cpu());
    if let Some(gpu) = Part::Gpu.if_there(Device::cuda(0).inspect(|gpu| gpu.set_specialize(Specialize::Exact))) {
        assert_eq!(test(&gpu), on_cpu, "{gpu} and the CPU device differ");
    }
}

/// Calls a function that is generic over the element type with every element type.
#[macro_export]
macro_rules! for_every_element {
    ($function:ident($($argument:expr),*)) => {{
        $function::<bool>($($argument),*);
        $function::<i8>($($argument),*);
        $function::<i16>($($argument),*);
        $function::<i32>($($argument),*);
        $function::<i64>($($argument),*);
        $function::<u8>($($argument),*);
        $function::<u16>($($argument),*);
        $function::<u32>($($argument),*);
        $function::<u64>($($argument),*);
        $function::<half::f16>($($argument),*);
        $function::<half::bf16>($($argument),*);
        $function::<f32>($($argument),*);
        $function::<f64>($($argument),*);
        $function::<float8::F8E4M3>($($argument),*);
        $function::<float8::F8E5M2>($($argument),*);
    }};
}

/// Both bindings of a count that the host knows.
pub const BINDINGS: [fn(u64) -> CountArgument<'static>; 2] = [
    |count| CountArgument::Exact(count as i64),
    |count| CountArgument::Runtime(count as i64),
];

/// A matrix on the host, as the bits of its elements.
pub type Rows = Vec<Vec<u64>>;

/// `rows` rows of zeros.
pub fn zeros(rows: usize, columns: usize) -> Rows {
    vec![vec![0; columns]; rows]
}

/// Rows of an element type whose elements differ, as far as it has that many bit patterns.
pub fn unique<T: Element>(rows: usize, columns: usize, salt: u64) -> Rows {
    let element = |i: usize| pattern(T::TYPE, i as u64 + (salt << 40));
    (0..rows)
        .map(|row| (0..columns).map(|column| element(row * columns + column)).collect())
        .collect()
}

/// The sentinel of guard rows: a pattern that [`unique`] is unlikely to make, and no zero.
fn sentinel(ty: ElementType) -> u64 {
    if ty == ElementType::Bool {
        1
    } else {
        0xa5c3_96f0_5a3c_690f & mask(ty)
    }
}

fn mask(ty: ElementType) -> u64 {
    u64::MAX >> (64 - ty.bits())
}

fn pattern(ty: ElementType, i: u64) -> u64 {
    let mut bits = i.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    // Every fifth float is a NaN or an infinity.
    let exponent = match ty {
        ElementType::Bool => return bits & 1,
        ElementType::F16 => 0x7c00,
        ElementType::BF16 => 0x7f80,
        ElementType::F32 => 0x7f80_0000,
        ElementType::F64 => 0x7ff0_0000_0000_0000,
        ElementType::F8E4M3 => 0x7f,
        ElementType::F8E5M2 => 0x7c,
        _ => 0,
    };
    if i.is_multiple_of(5) {
        (bits | exponent) & mask(ty)
    } else {
        bits & mask(ty)
    }
}

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Rows follow each other without gaps, from an aligned address.
    Contiguous,
    /// A column of something else on both sides: rows have gaps and no alignment.
    Misaligned,
}

pub const PLACEMENTS: [Placement; 2] = [Placement::Contiguous, Placement::Misaligned];

/// Guard rows before and after.
const GUARD: usize = 3;

/// A matrix on a device between sentinels.
pub struct Guarded<T: Element> {
    tensor: DeviceTensor<T, 2>,
    rows: usize,
    columns: usize,
    margin: usize,
}

impl<T: Element> Guarded<T> {
    /// Puts a matrix of `columns` columns on a device.
    pub fn new(device: &Device, matrix: &Rows, columns: usize, placement: Placement) -> Self {
        let margin = (placement == Placement::Misaligned) as usize;
        let (rows, width) = (matrix.len(), columns + 2 * margin);
        let guard = T::from_bits64(sentinel(T::TYPE));
        let mut elements = vec![guard; (rows + 2 * GUARD) * width];
        for (row, bits) in matrix.iter().enumerate() {
            let first = (row + GUARD) * width + margin;
            for (column, &bits) in bits.iter().enumerate() {
                elements[first + column] = T::from_bits64(bits);
            }
        }
        let tensor = device.upload(&elements, [rows + 2 * GUARD, width]).unwrap();
        Self {
            tensor,
            rows,
            columns,
            margin,
        }
    }

    /// A matrix of sentinels.
    pub fn untouched(device: &Device, rows: usize, columns: usize, placement: Placement) -> Self {
        Self::new(device, &sentinels::<T>(rows, columns), columns, placement)
    }

    pub fn view(&self) -> TensorView<'_, T, 2> {
        let columns = self.margin..self.margin + self.columns;
        self.tensor
            .rows(GUARD..GUARD + self.rows)
            .unwrap()
            .columns(columns)
            .unwrap()
    }

    pub fn view_mut(&mut self) -> TensorViewMut<'_, T, 2> {
        let columns = self.margin..self.margin + self.columns;
        self.tensor
            .view_mut()
            .rows(GUARD..GUARD + self.rows)
            .unwrap()
            .columns(columns)
            .unwrap()
    }

    /// The matrix as it is now. Panics if anything around it changed.
    pub fn read(&self) -> Rows {
        let width = self.columns + 2 * self.margin;
        let all: Vec<u64> = self
            .tensor
            .download()
            .unwrap()
            .into_iter()
            .map(Element::to_bits64)
            .collect();
        let mut matrix = zeros(self.rows, self.columns);
        for (i, &bits) in all.iter().enumerate() {
            let (row, column) = (i / width, i % width);
            let inside = (GUARD..GUARD + self.rows).contains(&row)
                && (self.margin..self.margin + self.columns).contains(&column);
            if inside {
                matrix[row - GUARD][column - self.margin] = bits;
            } else {
                let expected = sentinel(T::TYPE);
                assert_eq!(
                    bits, expected,
                    "the guard at row {row}, column {column} of {} x {width} was written",
                    self.rows
                );
            }
        }
        matrix
    }
}

/// Rows as [`Guarded::untouched`] has them.
pub fn sentinels<T: Element>(rows: usize, columns: usize) -> Rows {
    vec![vec![sentinel(T::TYPE); columns]; rows]
}

/// Compares matrices and names the first element that differs.
#[track_caller]
pub fn assert_rows(found: &Rows, expected: &Rows, what: impl Debug) {
    assert_eq!(found.len(), expected.len(), "{what:?}: rows");
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        if let Some(column) = (0..expected.len()).find(|&column| found[column] != expected[column]) {
            let (is, should) = (found[column], expected[column]);
            panic!("{what:?}: row {row}, column {column} is {is:#x} and should be {should:#x}");
        }
    }
}
