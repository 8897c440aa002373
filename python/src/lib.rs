//! The Python package `tilewright`: plans, movement and padding over the tensors of torch, numpy and others.
//!
//! What is written here is what Python needs beside the library: how tensors of other frameworks are found (`tensor`),
//! on which stream a launch goes (`call`, `device`), and errors as exceptions (`error`). The rest is calls of the
//! library.

mod arena;
mod call;
mod device;
mod error;
mod group;
mod kept;
mod movement;
mod padding;
mod plan;
mod planned;
mod tensor;

pub use call::{AnyCount, Call, Detached, Held, Number};
pub use error::{Error, work};
pub use kept::Launcher;
pub use tensor::{Shaped, Tensor, Typed};

/// What the package is made of.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::arena::{Arena, Buffer};
    #[pymodule_export]
    use crate::device::{add_packages, seal, set_patience, settle, synchronize, unseal};
    #[pymodule_export]
    use crate::group::LocalGroup;
    #[pymodule_export]
    use crate::movement::{
        copy_from_slot, copy_to_slot, gather_rows, mask_padding_ids, mask_rows_outside, pack_segments, pad_segments,
        place_rows, scatter_rows, take_rows,
    };
    #[pymodule_export]
    use crate::padding::pad_batch;
    #[pymodule_export]
    use crate::plan::{NativeBatch, NativePlan, plan, profiles};

    /// The version of the package.
    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
