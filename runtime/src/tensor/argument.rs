//! Tensors as arguments of a launch.

#![allow(unsafe_code)]

use tilewright_dsl::call::{Argument, ArgumentValue, Arguments, TensorArgument};
use tilewright_dsl::element::Element;
use tilewright_dsl::lang::Tensor;

use super::geometry::Geometry;
use super::{BorrowedTensor, BorrowedTensorMut, DeviceTensor, TensorView, TensorViewMut};
use crate::hardware::memory::Storage;

fn tensor<'a, T: Element, const R: usize>(
    arguments: &mut Arguments<'a>,
    mutable: bool,
    storage: &'a Storage,
    geometry: &Geometry<R>,
) {
    let value = ArgumentValue::Tensor(TensorArgument {
        element: T::TYPE,
        mutable,
        extents: geometry.extents.iter().map(|&extent| extent as u64).collect(),
        strides: geometry.strides.iter().copied().collect(),
        memory: storage,
        offset: (geometry.offset * T::TYPE.size()) as u64,
    });
    // SAFETY: whoever passes a view or a tensor has borrowed its elements for `'a`, mutably where `mutable` says so, and the geometry
    // holds no others.
    unsafe { arguments.push(value) };
}

#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &Tensor<T, R>> for TensorView<'a, T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        tensor::<T, R>(arguments, false, &self.memory.storage, &self.geometry);
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &Tensor<T, R>> for &TensorView<'a, T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        tensor::<T, R>(arguments, false, &self.memory.storage, &self.geometry);
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &Tensor<T, R>> for &'a DeviceTensor<T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<&Tensor<T, R>>::pass(self.view(), arguments);
    }
}

/// What a list of borrowed tensors lends.
#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &Tensor<T, R>> for &'a &DeviceTensor<T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<&Tensor<T, R>>::pass(self.view(), arguments);
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &mut Tensor<T, R>> for TensorViewMut<'a, T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        tensor::<T, R>(arguments, true, &self.memory.storage, &self.geometry);
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &mut Tensor<T, R>> for &'a mut TensorViewMut<'_, T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        tensor::<T, R>(arguments, true, &self.memory.storage, &self.geometry);
    }
}

/// What a list of mutably borrowed tensors lends.
#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &mut Tensor<T, R>> for &'a mut &mut DeviceTensor<T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<&mut Tensor<T, R>>::pass(self.view_mut(), arguments);
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &mut Tensor<T, R>> for &'a mut DeviceTensor<T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<&mut Tensor<T, R>>::pass(self.view_mut(), arguments);
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &Tensor<T, R>> for &'a BorrowedTensor<'_, T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<&Tensor<T, R>>::pass(self.view(), arguments);
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Element, const R: usize> Argument<'a, &mut Tensor<T, R>> for &'a mut BorrowedTensorMut<'_, T, R> {
    fn pass(self, arguments: &mut Arguments<'a>) {
        Argument::<&mut Tensor<T, R>>::pass(self.view_mut(), arguments);
    }
}
