//! Rows that the programs of a launch move in pieces, by turns.

use tilewright_dsl::{device, lang::*};

/// Bytes at whose multiples rows of memory that peers reach begin.
const ROW: usize = 16;

/// The elements of each of the pieces in which rows of so many are moved, at most `bytes` long, as whole units of 16 bytes, and
/// as alike as can be.
pub(super) fn piece(columns: usize, element_bytes: usize, bytes: usize) -> usize {
    let pieces = (columns * element_bytes).div_ceil(bytes).max(1);
    let piece = columns.div_ceil(pieces).next_multiple_of(ROW / element_bytes);
    piece.max(ROW / element_bytes)
}

/// The elements from the beginning of a row of staging to that of the next.
pub(crate) fn pitch(columns: usize, element_bytes: usize) -> usize {
    columns.next_multiple_of(ROW / element_bytes)
}

/// Does something with the row, from 0 on, and the columns of each piece of so many rows whose turn is this program's. The last
/// piece of a row may have columns beyond it.
#[device]
pub(super) fn each_piece(
    rows: Scalar<i64>,
    columns: usize,
    piece: usize,
    done: &mut impl FnMut(Scalar<i64>, Tile<i64, 1>),
) {
    each_piece_from(program_id(0), rows, columns, piece, done);
}

/// The same with the pieces from `first` on, which is one of the program's.
#[device]
pub(super) fn each_piece_from(
    first: Scalar<i64>,
    rows: Scalar<i64>,
    columns: usize,
    piece: usize,
    done: &mut impl FnMut(Scalar<i64>, Tile<i64, 1>),
) {
    for trip in 0..cdiv(rows * columns.div_ceil(piece) - first, num_programs(0)) {
        let (row, cols) = place_of(first + trip * num_programs(0), columns, piece);
        done(row, cols);
    }
}

/// The row and the columns of a piece.
#[device]
pub(super) fn place_of(number: Scalar<i64>, columns: usize, piece: usize) -> (Scalar<i64>, Tile<i64, 1>) {
    let pieces = columns.div_ceil(piece);
    (number / pieces, arange(piece) + number % pieces * piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_units_of_sixteen_bytes_and_no_longer_than_asked_for() {
        for size in [1, 2, 4, 8] {
            for columns in [0, 1, 5, 16, 1000, 1024, 1025, 7168, 30_000] {
                for bytes in [2 << 10, 4 << 10, 16 << 10] {
                    let piece = piece(columns, size, bytes);
                    assert!((piece * size).is_multiple_of(ROW) && piece > 0, "{columns} of {size}");
                    assert!(piece * size < bytes + ROW && piece * columns.div_ceil(piece) >= columns);
                }
            }
        }
    }
}
