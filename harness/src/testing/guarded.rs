//! Tensors between guards.

use tilewright_dsl::element::Element;
use tilewright_runtime::{Device, DeviceTensor, TensorView, TensorViewMut};

use super::rows::{Rows, sentinel, sentinels, zeros};

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Rows follow each other without gaps, from an aligned address.
    Contiguous,
    /// A column of something else on both sides: rows have gaps and no alignment.
    Misaligned,
    /// Every row begins so many elements behind a multiple of [`PACKET`](Placement::PACKET) bytes.
    Offset(usize),
}

/// The placements without and with gaps. [`Placement::every`] has more.
pub const PLACEMENTS: [Placement; 2] = [Placement::Contiguous, Placement::Misaligned];

impl Placement {
    /// Bytes of the widest access that a GPU makes.
    pub const PACKET: usize = 16;

    /// Rows without gaps, rows without alignment, and rows that begin at every place in a packet at which an element may.
    pub fn every<T: Element>() -> impl Iterator<Item = Self> {
        let places = Self::PACKET / size_of::<T>();
        PLACEMENTS.into_iter().chain((0..places).map(Self::Offset))
    }

    /// Elements before and after `columns` of them in every row.
    fn margins<T: Element>(self, columns: usize) -> (usize, usize) {
        match self {
            Self::Contiguous => (0, 0),
            Self::Misaligned => (1, 1),
            Self::Offset(before) => {
                let end = before + columns;
                let packet = Self::PACKET / size_of::<T>();
                (before, end.next_multiple_of(packet) - end)
            }
        }
    }
}

/// Guard rows before and after.
const GUARD: usize = 3;

/// A matrix on a device between sentinels: rows of them before and after it, and what its [`Placement`] leaves beside each row.
///
/// Its methods panic where the device fails: there is nothing that a test could do about it.
pub struct Guarded<T: Element> {
    tensor: DeviceTensor<T, 2>,
    rows: usize,
    columns: usize,
    before: usize,
    width: usize,
}

impl<T: Element> Guarded<T> {
    /// Puts a matrix of `columns` columns on a device, as bits.
    ///
    /// # Panics
    /// If a row is longer, or the device cannot hold it.
    pub fn new(device: &Device, matrix: &Rows, columns: usize, placement: Placement) -> Self {
        let (before, after) = placement.margins::<T>(columns);
        let (rows, width) = (matrix.len(), before + columns + after);
        let guard = T::from_bits64(sentinel(T::TYPE));
        let mut elements = vec![guard; (rows + 2 * GUARD) * width];
        for (row, bits) in matrix.iter().enumerate() {
            assert!(bits.len() <= columns, "row {row} has more than {columns} elements");
            let first = (row + GUARD) * width + before;
            for (column, &bits) in bits.iter().enumerate() {
                elements[first + column] = T::from_bits64(bits);
            }
        }
        let tensor = device
            .upload(&elements, [rows + 2 * GUARD, width])
            .expect("memory on the device");
        Self {
            tensor,
            rows,
            columns,
            before,
            width,
        }
    }

    /// A matrix of sentinels, to be written.
    ///
    /// # Panics
    /// If the device cannot hold it.
    pub fn untouched(device: &Device, rows: usize, columns: usize, placement: Placement) -> Self {
        Self::new(device, &sentinels::<T>(rows, columns), columns, placement)
    }

    /// The matrix `[rows, columns]` without its guards.
    pub fn view(&self) -> TensorView<'_, T, 2> {
        let columns = self.before..self.before + self.columns;
        let rows = self.tensor.rows(GUARD..GUARD + self.rows);
        rows.and_then(|rows| rows.columns(columns))
            .expect("it is in the tensor")
    }

    /// The matrix `[rows, columns]` without its guards, to be written.
    pub fn view_mut(&mut self) -> TensorViewMut<'_, T, 2> {
        let columns = self.before..self.before + self.columns;
        let rows = self.tensor.view_mut().rows(GUARD..GUARD + self.rows);
        rows.and_then(|rows| rows.columns(columns))
            .expect("it is in the tensor")
    }

    /// The bits of the matrix as it is now.
    ///
    /// # Panics
    /// If anything around it changed, or the device failed.
    #[track_caller]
    pub fn read(&self) -> Rows {
        let all = self.tensor.download().expect("what is on the device");
        let mut matrix = zeros(self.rows, self.columns);
        for (i, bits) in all.into_iter().map(Element::to_bits64).enumerate() {
            let (row, column) = (i / self.width, i % self.width);
            let inside = (GUARD..GUARD + self.rows).contains(&row)
                && (self.before..self.before + self.columns).contains(&column);
            if inside {
                matrix[row - GUARD][column - self.before] = bits;
            } else {
                let (expected, rows, width) = (sentinel(T::TYPE), self.rows, self.width);
                assert_eq!(
                    bits, expected,
                    "the guard at row {row}, column {column} of {rows} x {width} was written"
                );
            }
        }
        matrix
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_rows, for_each_device, unique};
    use half::bf16;

    #[test]
    fn rows_begin_at_every_place_in_a_packet() {
        for columns in [0, 1, 7, 8, 13] {
            let device = Device::cpu();
            let begins = Placement::every::<bf16>().skip(2).map(|placement| {
                let guarded = Guarded::<bf16>::untouched(&device, 3, columns, placement);
                assert_eq!(guarded.width % 8, 0, "{placement:?} of {columns}");
                guarded.before
            });
            assert!(begins.eq(0..8));
        }
    }

    #[test]
    fn what_is_put_there_is_read_again_wherever_it_lies() {
        for placement in Placement::every::<u16>() {
            for_each_device(|device| {
                let rows = unique::<u16>(4, 5, 1);
                assert_rows(
                    &Guarded::<u16>::new(device, &rows, 5, placement).read(),
                    &rows,
                    placement,
                );
            });
        }
    }

    #[test]
    #[should_panic(expected = "the guard at row 2, column 1 of 2 x 3 was written")]
    fn a_guard_that_is_written_is_found() {
        let device = Device::cpu();
        let mut guarded = Guarded::<i32>::untouched(&device, 2, 3, Placement::Contiguous);
        let mut all = guarded.tensor.download().unwrap();
        all[GUARD * 3 - 2] += 1;
        guarded.tensor.copy_from(&all).unwrap();
        guarded.read();
    }
}
