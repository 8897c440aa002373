//! Gathering in 8 bits, and in 4.

use float8::F8E4M3;
use tilewright_dsl::call::Exact;
use tilewright_dsl::element::Element;
use tilewright_runtime::{Launch, TensorView, TensorViewMut};

use super::{Counts, Moved, Movement, MovementError, rows_of};
use crate::collective::{Group, Summand};
use crate::kernels::nvfp4::NVFP4_GROUP;
use crate::kernels::quantize::GROUP;
use crate::kernels::{
    dequantize_rows, quantize_nvfp4_to_slot, quantize_nvfp4_to_slot_with_report, quantize_to_slot,
    quantize_to_slot_with_report,
};

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
        self.check(buffer.extents(), local.extents(), self.strictness(&counts))?;
        let (extents, strictness) = ([payload.extents(), scales.extents()], self.strictness(&counts));
        let moved = self.check_wire(extents[0], extents[1], local.extents(), (GROUP, 1), strictness)?;

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
        let all = self.gather_wire(payload, scales)?;
        let (payload, scales) = (rows_of(payload, 0, all)?, rows_of(scales, 0, all)?);
        dequantize_rows(rows_of(buffer, 0, all)?, payload.view(), scales.view()).launch_on(stream)?;
        self.zero_tail(buffer)?;
        Ok(moved)
    }

    /// Fills tensors for the wire with the rows of all ranks in 4 bits, as NVFP4 experts read them: half a byte an element and a
    /// byte for each group of 16 (4032 instead of 14336 for a row of 7168 bf16). It loses precision, and how much is said at
    /// [`quantize_nvfp4_to_slot()`]. Whether to use it must not depend on the rank.
    ///
    /// * `payload` `[buffer rows, columns / 2]` and `scales` `[buffer rows, columns / 16]`, from [arenas](crate::buffer) of the
    ///   role `Wire`. Rows without a token are zero bytes.
    /// * `global` is the scale of all rows, the same on all ranks: 2688 over the largest magnitude expected of them. It does not
    ///   travel.
    ///
    /// Scales travel row by row. Who reads them with tensor cores has [`swizzle_scales()`] bring them into blocks;
    /// who wants the rows wide again has [`dequantize_nvfp4()`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use float8::F8E4M3;
    /// use tilewright_dp::kernels::dequantize_nvfp4;
    /// use tilewright_dp::movement::{Counts, Groups, Movement};
    /// use tilewright_dp::plan::{Plan, Request, Topology};
    /// use tilewright_runtime::{Device, Launch};
    ///
    /// let (device, topology) = (Device::cpu(), Topology::new(1, 1)?);
    /// let plan = Plan::new(&Request { row_bytes: 64, ..Request::new(vec![2], 1) })?;
    /// let groups = Groups::local(&device, &topology, Duration::from_secs(10)).remove(0);
    /// let local = device.upload(&[[1.5f32; 16], [-300.0; 16]].concat(), [2, 16])?;
    /// let (mut payload, mut scales) = (device.zeros::<u8, 2>([2, 8])?, device.zeros::<F8E4M3, 2>([2, 1])?);
    /// let global = 2688.0 / 300.0;
    /// Movement::new(&plan, &topology, &groups)?.gather_nvfp4(
    ///     &mut payload.view_mut(),
    ///     &mut scales.view_mut(),
    ///     local.view(),
    ///     global,
    ///     Counts::Planned,
    /// )?;
    /// assert_eq!(payload.download()?, [[0x77; 8], [0xff; 8]].concat());
    /// let mut wide = device.zeros::<f32, 2>([2, 16])?;
    /// dequantize_nvfp4(&mut wide, &payload, &scales, global).launch(&device)?;
    /// assert_eq!(wide.download()?[16..], [-300.0; 16]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The tensors do not fit the plan, rows have no whole number of groups, the global scale is no positive number, or another
    /// rank does not come along.
    ///
    /// [`quantize_nvfp4_to_slot()`]: crate::kernels::quantize_nvfp4_to_slot()
    /// [`swizzle_scales()`]: crate::kernels::swizzle_scales()
    /// [`dequantize_nvfp4()`]: crate::kernels::dequantize_nvfp4()
    pub fn gather_nvfp4<T: Summand>(
        &self,
        payload: &mut TensorViewMut<'_, u8, 2>,
        scales: &mut TensorViewMut<'_, F8E4M3, 2>,
        local: TensorView<'_, T, 2>,
        global: f32,
        counts: Counts<'_>,
    ) -> Result<Moved, MovementError> {
        let (extents, strictness) = ([payload.extents(), scales.extents()], self.strictness(&counts));
        let moved = self.check_wire(extents[0], extents[1], local.extents(), (NVFP4_GROUP, 2), strictness)?;
        if !(global.is_finite() && global > 0.0) {
            return Err(MovementError::GlobalScale { global });
        }
        let stream = self.gathering.stream();
        let (first, rows) = self.own_share();
        let start = self.slot.start + first;
        let (place, scale) = (rows_of(payload, start, rows)?, rows_of(scales, start, rows)?);
        let (at, from) = (Exact(0), Exact(first));
        match counts {
            Counts::Planned => {
                let tokens = Exact(self.slot.tokens);
                quantize_nvfp4_to_slot(place, scale, local, global, at, from, tokens).launch_on(stream)?;
            }
            Counts::OnDevice { tokens, report, .. } => {
                let tokens = self.up_to(tokens, first + rows);
                quantize_nvfp4_to_slot_with_report(place, scale, report, local, global, at, from, tokens)
                    .launch_on(stream)?;
            }
        }
        self.gather_wire(payload, scales)?;
        self.zero_tail(payload)?;
        self.zero_tail(scales)?;
        Ok(moved)
    }

    /// Brings the shares of all GPUs together, and says how many rows these are.
    fn gather_wire<P: Element, S: Element>(
        &self,
        payload: &mut TensorViewMut<'_, P, 2>,
        scales: &mut TensorViewMut<'_, S, 2>,
    ) -> Result<u64, MovementError> {
        let shares = self.shares();
        self.gathering.all_gather(payload, &shares)?;
        self.gathering.all_gather(scales, &shares)?;
        Ok(shares.iter().sum())
    }
}
