//! Gathering in 8 bits.

use float8::F8E4M3;
use tilewright_dsl::call::Exact;
use tilewright_runtime::{Launch, TensorView, TensorViewMut};

use super::check::check_columns;
use super::{Counts, Moved, Movement, MovementError, rows_of};
use crate::collective::{Group, Summand};
use crate::kernels::quantize::GROUP;
use crate::kernels::{dequantize_rows, quantize_to_slot, quantize_to_slot_with_report};

impl<G: Group> Movement<'_, G> {
    /// Fills the gathered buffer as [`gather_variable`](Self::gather_variable) does for replicated tensors, with the rows in
    /// 8 bits on their way: 1 byte an element and 4 for each group of 128 (7392 instead of 14336 for a row of 7168 bf16).
    /// It loses precision; rows without a token are exact zeros. Whether to use it must not depend on the rank.
    ///
    /// * `payload` `[buffer rows, columns]` and `scales` `[buffer rows, columns / 128]` are for the way, from
    ///   [arenas](crate::buffer) of the role `Wire`.
    ///
    /// # Errors
    /// The tensors do not fit the plan, rows have no whole number of groups, or another rank does not come along.
    pub fn gather_quantized<T: Summand>(
        &self,
        buffer: &mut TensorViewMut<'_, T, 2>,
        payload: &mut TensorViewMut<'_, F8E4M3, 2>,
        scales: &mut TensorViewMut<'_, f32, 2>,
        local: TensorView<'_, T, 2>,
        counts: Counts<'_>,
    ) -> Result<Moved, MovementError> {
        let moved = self.check(buffer.extents(), local.extents(), self.strictness(&counts))?;
        let [_, columns] = buffer.extents();
        if !columns.is_multiple_of(GROUP) {
            return Err(MovementError::NoGroups {
                columns: columns as u64,
                group: GROUP as u64,
            });
        }
        self.check_buffer("the payload", payload.extents()[0])?;
        self.check_buffer("the tensor of scales", scales.extents()[0])?;
        check_columns("the payload", payload.extents()[1], columns)?;
        check_columns("the tensor of scales", scales.extents()[1], columns / GROUP)?;

        let stream = self.gathering.stream();
        let (first, rows) = self.own_share();
        let start = self.slot.start + first;
        let (place, scale) = (rows_of(payload, start, rows)?, rows_of(scales, start, rows)?);
        let (at, from) = (Exact(0), Exact(first));
        match counts {
            Counts::Planned => {
                let tokens = Exact(self.slot.tokens);
                quantize_to_slot(place, scale, local, at, from, tokens).launch_on(stream)?;
            }
            Counts::OnDevice { tokens, report, .. } => {
                let tokens = self.up_to(tokens, first + rows);
                quantize_to_slot_with_report(place, scale, report, local, at, from, tokens).launch_on(stream)?;
            }
        }
        let shares = self.shares();
        self.gathering.all_gather(payload, &shares)?;
        self.gathering.all_gather(scales, &shares)?;
        let all = shares.iter().sum();
        let (payload, scales) = (rows_of(payload, 0, all)?, rows_of(scales, 0, all)?);
        dequantize_rows(rows_of(buffer, 0, all)?, payload.view(), scales.view()).launch_on(stream)?;
        self.zero_tail(buffer)?;
        Ok(moved)
    }
}
