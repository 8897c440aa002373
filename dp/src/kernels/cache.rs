//! Rows of the key-value cache.

use tilewright_dsl::{kernel, lang::*};

/// Stores the keys and values of tokens in their slots: `keys[slots[t]] = k[t]`, `values[slots[t]] = v[t]`.
///
/// * `keys` `[slots, key width]`, `k` `[n, key width]`, `values` and `v` likewise with a width of their own, of any element
///   type; `slots` `[n]` of i32 or i64. A negative slot, or one that the cache does not have, is skipped; no two tokens have
///   one slot. All other slots keep their values.
/// * Offsets are 64-bit, so caches may exceed 2³¹ elements.
/// * One program per token. Specialised for the types and widths.
/// * SGLang's `set_kv_buffer` and `store_kv_cache`, vLLM's `reshape_and_cache_flash`.
///
/// ```
/// use tilewright_dp::kernels::store_kv;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let (k, v) = (device.upload(&[1i16, 2], [2, 1])?, device.upload(&[3i16, 4], [2, 1])?);
/// let slots = device.upload(&[3i64, -1], [2])?;
/// let (mut keys, mut values) = (device.zeros::<i16, 2>([4, 1])?, device.zeros::<i16, 2>([4, 1])?);
/// store_kv(&mut keys, &mut values, &k, &v, &slots).launch(&device)?;
/// assert_eq!(keys.download()?, [0, 0, 0, 1]);
/// assert_eq!(values.download()?, [0, 0, 0, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [slots.extent(0)])]
pub fn store_kv<T: Element, I: Integer>(
    keys: &mut Tensor<T, 2>,
    values: &mut Tensor<T, 2>,
    k: &Tensor<T, 2>,
    v: &Tensor<T, 2>,
    slots: &Tensor<I, 1>,
) {
    require(keys.extent(1) == k.extent(1) && values.extent(1) == v.extent(1));
    require(k.extent(0) >= slots.extent(0) && v.extent(0) >= slots.extent(0));
    let token = program_id(0);
    let slot = slots.load([token]);
    let cols = arange(keys.extent(1));
    keys.store([slot, cols], k.load([token, cols]));
    let cols = arange(values.extent(1));
    values.store([slot, cols], v.load([token, cols]));
}

/// Stores tokens in the slots of a multi-head latent attention cache: `cache[slots[t]] = [nope[t], rope[t]]`.
///
/// * `cache` `[slots, latent + rope]` (512 + 64 in DeepSeek's models), `nope` `[n, latent]`, `rope` `[n, rope]` of any element
///   type; `slots` as in [`store_kv()`]. Any widths that add up.
/// * One program per token. Specialised for the types and widths.
/// * SGLang's `set_mla_kv_buffer`.
///
/// ```
/// use tilewright_dp::kernels::store_mla;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let (nope, rope) = (device.upload(&[1i16, 2], [1, 2])?, device.upload(&[3i16], [1, 1])?);
/// let slots = device.upload(&[1i32], [1])?;
/// let mut cache = device.zeros::<i16, 2>([2, 3])?;
/// store_mla(&mut cache, &nope, &rope, &slots).launch(&device)?;
/// assert_eq!(cache.download()?, [0, 0, 0, 1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [slots.extent(0)])]
pub fn store_mla<T: Element, I: Integer>(
    cache: &mut Tensor<T, 2>,
    nope: &Tensor<T, 2>,
    rope: &Tensor<T, 2>,
    slots: &Tensor<I, 1>,
) {
    require(cache.extent(1) == nope.extent(1) + rope.extent(1));
    require(nope.extent(0) >= slots.extent(0) && rope.extent(0) >= slots.extent(0));
    let token = program_id(0);
    let slot = slots.load([token]);
    let latent = nope.load([token, arange(nope.extent(1))]);
    let row = latent.concatenate(rope.load([token, arange(rope.extent(1))]), 0);
    cache.store([slot, arange(nope.extent(1) + rope.extent(1))], row);
}

/// Moves rows inside the cache of every layer, in one launch: `layers[l][to[i]] = layers[l][from[i]]`.
///
/// * `layers` any number of buffers `[slots, width]` of any element type and one width; `to` and `from` `[n]` of i32 or i64,
///   without a slot in common and `to` without repetition. A pair with a slot that a cache does not have is skipped.
/// * One program per pair and layer. Specialised for the types and the width.
/// * SGLang's `copy_all_layer_kv_cache`; its table of pointers is the list here.
///
/// ```
/// use tilewright_dp::kernels::copy_kv_layers;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let mut first = device.upload(&[1i16, 2, 3], [3, 1])?;
/// let mut second = device.upload(&[4i16, 5, 6], [3, 1])?;
/// let (to, from) = (device.upload(&[0i32], [1])?, device.upload(&[2i32], [1])?);
/// copy_kv_layers([&mut first, &mut second], &to, &from).launch(&device)?;
/// assert_eq!(first.download()?, [3, 2, 3]);
/// assert_eq!(second.download()?, [6, 5, 6]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [to.extent(0).min(from.extent(0)), layers.len()])]
pub fn copy_kv_layers<T: Element, I: Integer>(layers: &mut TensorList<T, 2>, to: &Tensor<I, 1>, from: &Tensor<I, 1>) {
    let pair = program_id(0);
    let (to, from) = (to.load([pair]).cast::<i64>(), from.load([pair]).cast::<i64>());
    let cols = arange(layers.extent(1));
    let layer = &mut layers[program_id(1)];
    if from >= 0 && from < layer.extent(0) {
        let row = layer.load([from, cols]);
        layer.store([to, cols], row);
    }
}

/// Sets pages of a cache to zero.
///
/// * `cache` `[pages, page bytes or elements]` of any element type, `pages` `[n]` of i32 or i64 without repetition. A page that
///   the cache does not have is skipped; all others keep their values.
/// * One program per page. Specialised for the types and the page's width.
///
/// ```
/// use tilewright_dp::kernels::zero_pages;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let mut cache = device.upload(&[1i16, 2, 3, 4], [2, 2])?;
/// let pages = device.upload(&[1i32], [1])?;
/// zero_pages(&mut cache, &pages).launch(&device)?;
/// assert_eq!(cache.download()?, [1, 2, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [pages.extent(0)])]
pub fn zero_pages<T: Element, I: Integer>(cache: &mut Tensor<T, 2>, pages: &Tensor<I, 1>) {
    let page = pages.load([program_id(0)]);
    cache.store([page, arange(cache.extent(1))], zero::<T>());
}
