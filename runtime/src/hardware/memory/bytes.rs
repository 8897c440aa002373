//! Elements as the bytes that a device holds: little-endian, without gaps.

#![allow(unsafe_code)]

use std::borrow::Cow;

use tilewright_dsl::element::{Element, ElementType};

/// Whether an element's representation in Rust is its bytes on the device.
const SAME_ORDER: bool = cfg!(target_endian = "little");

/// The bytes of elements.
pub(crate) fn as_bytes<T: Element>(elements: &[T]) -> Cow<'_, [u8]> {
    if SAME_ORDER {
        return Cow::Borrowed(view_bytes(elements));
    }
    let size = T::TYPE.size();
    Cow::Owned(
        elements
            .iter()
            .flat_map(|element| element.to_bits64().to_le_bytes().into_iter().take(size))
            .collect(),
    )
}

/// The elements whose bytes these are. A `bool` is true for every byte but 0. An incomplete element at the end is dropped.
pub(crate) fn from_bytes<T: Element>(bytes: &[u8]) -> Vec<T> {
    let element = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        T::from_bits64(u64::from_le_bytes(word))
    };
    if SAME_ORDER && T::TYPE != ElementType::Bool {
        return copied(bytes);
    }
    bytes.chunks_exact(T::TYPE.size()).map(element).collect()
}

/// The memory of elements. No element type has padding.
fn view_bytes<T: Element>(elements: &[T]) -> &[u8] {
    const {
        assert!(
            size_of::<T>() == T::TYPE.size(),
            "an element is as large as its type says"
        )
    };
    // SAFETY: `Element` is sealed; its types are bool, primitive numbers and transparent wrappers of them, which have no
    // padding, and every byte of them may be read.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// A copy of bytes as elements, for the types of which every bit pattern is a value.
fn copied<T: Element>(bytes: &[u8]) -> Vec<T> {
    const {
        assert!(
            size_of::<T>() == T::TYPE.size(),
            "an element is as large as its type says"
        )
    };
    let len = bytes.len() / T::TYPE.size();
    let mut elements = vec![T::from_bits64(0); len];
    if T::TYPE != ElementType::Bool {
        // SAFETY: `elements` is as long in bytes; `Element` is sealed, and of its types only bool has bit patterns that
        // are no value.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), elements.as_mut_ptr().cast(), len * size_of::<T>()) };
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Element>() {
        let patterns = [0u64, 1, 0x7f, 0x80, 0x7f80_0001, 0x7ff0_0000_0000_0001, u64::MAX];
        let elements: Vec<T> = patterns.iter().map(|&bits| T::from_bits64(bits)).collect();
        let bytes = as_bytes(&elements);
        assert_eq!(bytes.len(), elements.len() * T::TYPE.size());
        let back = from_bytes::<T>(&bytes);
        for (element, back) in elements.iter().zip(&back) {
            assert_eq!(element.to_bits64(), back.to_bits64(), "{}", T::TYPE);
        }
    }

    #[test]
    fn every_element_type_keeps_its_bits_on_the_way_to_a_device_and_back() {
        check::<bool>();
        check::<i8>();
        check::<i16>();
        check::<i32>();
        check::<i64>();
        check::<u8>();
        check::<u16>();
        check::<u32>();
        check::<u64>();
        check::<half::f16>();
        check::<half::bf16>();
        check::<f32>();
        check::<f64>();
        check::<float8::F8E4M3>();
        check::<float8::F8E5M2>();
    }

    #[test]
    fn any_byte_but_zero_is_true() {
        assert_eq!(from_bytes::<bool>(&[0, 1, 2, 0xff]), [false, true, true, true]);
    }
}
