//! Extents of tiles.

use super::{Fault, VerifyError};
use crate::ir::{Kernel, Shape};

/// The largest number of elements of a tile.
pub const MAX_ELEMENTS: u64 = 1 << 24;

pub(super) fn check(kernel: &Kernel) -> Result<(), VerifyError> {
    for (ty, span) in kernel.types.iter().zip(&kernel.spans) {
        shape(ty.shape).map_err(|fault| fault.at(*span))?;
    }
    for (_, local) in kernel.locals.iter() {
        shape(local.ty.shape).map_err(|fault| fault.at(kernel.span))?;
    }
    Ok(())
}

/// Checks one shape. `Shape::elements` may overflow before this has passed.
pub(super) fn shape(shape: Shape) -> Result<(), Fault> {
    let mut elements = 1u64;
    for &extent in shape.extents() {
        if extent == 0 {
            return Err(Fault::EmptyShape(shape));
        }
        // At most 2^24 * 2^32 before each comparison.
        elements *= u64::from(extent);
        if elements > MAX_ELEMENTS {
            return Err(Fault::TooManyElements {
                shape,
                limit: MAX_ELEMENTS,
            });
        }
    }
    Ok(())
}
