//! Tensors padded by name, as a plan says.

use tilewright_dsl::arithmetic;
use tilewright_dsl::call::{Argument, Call};
use tilewright_dsl::element::{Element, ElementType};
use tilewright_dsl::ir::Literal;
use tilewright_dsl::lang::Count;
use tilewright_runtime::{LaunchError, Launched, Stream, TensorView, TensorViewMut};

use super::{Padding, PaddingError};
use crate::plan::{BatchPlan, Fill, TensorPadding};

/// Tensors of one batch to be padded by one launch, each as the batch's plan says.
pub struct PlannedPadding<'p, 'a> {
    plan: &'p BatchPlan,
    padding: Padding<'a>,
}

impl BatchPlan {
    /// Nothing of the batch padded yet.
    pub fn padding<'a>(&self) -> PlannedPadding<'_, 'a> {
        PlannedPadding {
            plan: self,
            padding: Padding::new(),
        }
    }
}

impl<'a> PlannedPadding<'_, 'a> {
    /// The axis on which the tensor of this name is padded.
    ///
    /// # Errors
    /// The plan pads no such tensor.
    pub fn axis(&self, tensor: &str) -> Result<usize, PaddingError> {
        Ok(self.find(tensor)?.axis)
    }

    /// Pads the tensor of this name, which is one of the plan's: `out` becomes the first `count` elements of `src`, and
    /// what the plan fills with behind them. If that is what an earlier replay left there, it stays.
    ///
    /// # Errors
    /// The plan pads no such tensor, or pads it to another length, or `src` does not fit `out`.
    pub fn pad<T: Element, const R: usize>(
        &mut self,
        tensor: &str,
        out: impl Into<TensorViewMut<'a, T, R>>,
        src: impl Into<TensorView<'a, T, R>>,
        count: impl Argument<'a, Count>,
    ) -> Result<&mut Self, PaddingError> {
        let (out, padding) = (out.into(), self.find(tensor)?);
        check_length(padding, &out.extents())?;
        match fill_of::<T>(padding)? {
            Some(fill) => self.padding.pad(out, src, padding.axis, count, fill)?,
            None => self.padding.keep(out, src, padding.axis, count)?,
        };
        Ok(self)
    }

    /// Fills the padding of the tensor of this name in place: `out` has its `count` elements already, in a buffer as long as
    /// planned.
    ///
    /// # Errors
    /// As for [`pad`](Self::pad); and the padding is whatever is there, so that there is nothing to do.
    pub fn fill<T: Element, const R: usize>(
        &mut self,
        tensor: &str,
        out: impl Into<TensorViewMut<'a, T, R>>,
        count: impl Argument<'a, Count>,
    ) -> Result<&mut Self, PaddingError> {
        let (out, padding) = (out.into(), self.find(tensor)?);
        check_length(padding, &out.extents())?;
        let fill = fill_of::<T>(padding)?.ok_or(PaddingError::Stale { tensor: padding.tensor })?;
        self.padding.fill(out, padding.axis, count, fill)?;
        Ok(self)
    }

    /// The one call that does all of it, for options of a launch or to be fused with others.
    pub fn into_call(self) -> Call<'a> {
        self.padding.into_call()
    }

    /// Pads all of them in one launch.
    ///
    /// # Errors
    /// A tensor that is written shares memory with another one, is on another device, or the launch failed.
    pub fn launch_on(self, stream: &Stream) -> Result<Launched, LaunchError> {
        self.padding.launch_on(stream)
    }

    fn find(&self, tensor: &str) -> Result<TensorPadding, PaddingError> {
        let mut planned = self.plan.tensors.iter();
        planned
            .find(|padding| padding.tensor == tensor)
            .copied()
            .ok_or_else(|| {
                let names: Vec<_> = self.plan.tensors.iter().map(|padding| padding.tensor).collect();
                PaddingError::NotPlanned {
                    tensor: tensor.to_owned(),
                    planned: if names.is_empty() {
                        "nothing".to_owned()
                    } else {
                        names.join(", ")
                    },
                }
            })
    }
}

fn check_length(padding: TensorPadding, extents: &[usize]) -> Result<(), PaddingError> {
    // An axis that there is not is the view's to report.
    match extents.get(padding.axis) {
        Some(&found) if found as u64 != padding.length => Err(PaddingError::WrongLength {
            tensor: padding.tensor,
            axis: padding.axis,
            found: found as u64,
            planned: padding.length,
        }),
        _ => Ok(()),
    }
}

/// The element that a tensor of `T` is filled with; `None` to leave what is there.
fn fill_of<T: Element>(padding: TensorPadding) -> Result<Option<T>, PaddingError> {
    let fill = match padding.fill {
        Fill::Stale => return Ok(None),
        Fill::Nothing => return Err(PaddingError::NoElements { tensor: padding.tensor }),
        Fill::Value(fill) => fill,
    };
    let cast = |value, to| arithmetic::cast(value, to);
    let element = cast(Literal::index(fill), T::TYPE);
    // What comes back as another number was no value of the type.
    let same = element.and_then(|element| cast(element, ElementType::I64)) == Some(Literal::index(fill));
    match element {
        Some(element) if same => Ok(Some(T::from_bits64(element.bits))),
        _ => Err(PaddingError::WrongFill {
            tensor: padding.tensor,
            fill,
            element: T::TYPE,
        }),
    }
}
