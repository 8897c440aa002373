//! Mixture of experts: where the tokens of each expert go, and their rows there and back.

use tilewright_dsl::{kernel, lang::*};

use super::integer::{check_fits, counted, largest, placed};

/// Ids per trip of [`count_experts()`].
const IDS: usize = 4096;

/// The most experts of [`expert_offsets()`]: so many counts of rows, padded, add up to less than 2^63.
const MAX_EXPERTS: usize = 1 << 20;

/// Tokens per program of [`claim_slots()`].
const CLAIMS: usize = 256;

/// Counts the tokens of each expert: `counts[e]` is how often `e` is among `ids`.
///
/// * `counts` `[experts]` of i32; `ids` `[n]` of i32 or i64, the expert ids of all tokens one after the other. Ids that are no
///   expert, the -1 of padding among them, count for nothing.
/// * One program, which goes through the ids 4096 at a time. Specialised for the id type and the number of experts.
/// * vLLM and SGLang do it in `moe_align_block_size`.
///
/// ```
/// use tilewright_dp::kernels::count_experts;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let ids = device.upload(&[2i32, 0, 2, -1], [4])?;
/// let mut counts = device.zeros::<i32, 1>([3])?;
/// count_experts(&mut counts, &ids).launch(&device)?;
/// assert_eq!(counts.download()?, [1, 0, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [1])]
pub fn count_experts<I: Integer>(counts: &mut Tensor<i32, 1>, ids: &Tensor<I, 1>) {
    require(ids.extent(0) <= largest::<i32>());
    let expert = arange(counts.extent(0));
    let mut sum = full([counts.extent(0)], 0i32);
    for trip in 0..cdiv(ids.extent(0), IDS) {
        let at = arange(IDS) + trip * IDS;
        let there = at < ids.extent(0);
        sum += ids.load([at]).histogram_where(counts.extent(0), there);
    }
    counts.store([expert], sum);
}

/// Where the rows of each expert begin, each expert padded to whole blocks: `starts[e + 1] = starts[e] + counts[e]` rounded
/// up to a multiple of `block`.
///
/// * `starts` `[experts + 1]` of i32 or i64, `counts` `[experts]` of i32 or i64; `block` a count, 1 for no padding. The last
///   entry is the rows of the whole buffer. If the type of `starts` is too narrow for them, nothing is stored, and the launch
///   reports it. There are at most 2^20 experts.
/// * One program. Specialised for the types and the number of experts, and for `block` if it is exact.
/// * DeepEP's contiguous layout (blocks of 128), `moe_align_block_size`.
///
/// ```
/// use tilewright_dp::kernels::expert_offsets;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let counts = device.upload(&[3i32, 0, 5], [3])?;
/// let mut starts = device.zeros::<i32, 1>([4])?;
/// expert_offsets(&mut starts, &counts, Exact(4)).launch(&device)?;
/// assert_eq!(starts.download()?, [0, 4, 4, 12]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [1])]
pub fn expert_offsets<S: Integer, C: Integer>(starts: &mut Tensor<S, 1>, counts: &Tensor<C, 1>, block: Count) {
    require(starts.extent(0) > counts.extent(0) && counts.extent(0) <= MAX_EXPERTS);
    let expert = arange(counts.extent(0));
    let rows = counted(counts.load([expert]));
    let padded = rows.div_ceil(block.max(1)) * block.max(1);
    let total = padded.sum_axis(0);
    check_fits::<S, 0>(
        total,
        i64::MAX,
        "the rows of all experts are more than the type of `starts` holds",
    );
    starts.store([expert], padded.cumulative_sum_exclusive(0).cast::<S>());
    starts.store([counts.extent(0)], total.cast::<S>());
}

/// Claims a slot for each token and expert, in whatever order they come: `slots[t][j] = starts[e] + cursor[e]` with
/// `e = ids[t][j]`, and `cursor[e]` grows by one.
///
/// * `slots` and `ids` `[n, k]` of i32 or i64; `starts` `[experts + 1]` or `[experts]`, as [`expert_offsets()`] makes them;
///   `cursor` `[experts]` of i32, zero before the first launch and afterwards the tokens of each expert. An id that is no
///   expert, the -1 of padding among them, gets the slot -1.
/// * Of each expert every slot from its start on is claimed once, without holes. Which token has which of them may differ
///   from run to run, so use it where the order of an expert's rows does not matter.
/// * One program per 256 tokens; experts count by atomic additions. Specialised for the types and `k`.
/// * SGLang's `ep_scatter`.
///
/// ```
/// use tilewright_dp::kernels::claim_slots;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let ids = device.upload(&[1i32, 0, 1, -1], [2, 2])?;
/// let starts = device.upload(&[0i32, 4, 8], [3])?;
/// let mut cursor = device.zeros::<i32, 1>([2])?;
/// let mut slots = device.zeros::<i32, 2>([2, 2])?;
/// claim_slots(&mut slots, &mut cursor, &ids, &starts).launch(&device)?;
/// let slots = slots.download()?;
/// // Both tokens of expert 1 have one of its first two slots.
/// assert!([slots[0], slots[2]] == [4, 5] || [slots[0], slots[2]] == [5, 4]);
/// assert_eq!([slots[1], slots[3]], [0, -1]);
/// assert_eq!(cursor.download()?, [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(slots.extent(0).min(ids.extent(0)), CLAIMS)])]
pub fn claim_slots<S: Integer, I: Integer>(
    slots: &mut Tensor<S, 2>,
    cursor: &mut Tensor<i32, 1>,
    ids: &Tensor<I, 2>,
    starts: &Tensor<S, 1>,
) {
    require(slots.extent(1) == ids.extent(1));
    let token = (arange(CLAIMS) + program_id(0) * CLAIMS).expand_dims(1);
    let choice = arange(slots.extent(1));
    let expert = placed(ids.load([token, choice]));
    let there = token < ids.extent(0).min(slots.extent(0));
    let real = there & (expert >= 0) & (expert < cursor.extent(0).min(starts.extent(0)));
    let options = AtomicOptions::new().order(MemoryOrder::Relaxed).mask(real);
    let place = cursor.atomic_add_with([expert], 1, options).cast::<i64>();
    let slot = placed(starts.load_where([expert], real)) + place;
    let slot = select(real, slot, zero::<i64>() - 1);
    check_fits::<S, 2>(slot, i64::MAX, "a slot is more than the type of `slots` holds");
    slots.store_where([token, choice], slot.cast::<S>(), there);
}

/// Copies each row to its `k` destinations: `out[positions[t][j]] = src[t]`.
///
/// * `out` `[m, hidden]`, `src` `[n, hidden]` of any element type, `positions` `[n, k]` of i32 or i64. A negative position, or
///   one not below `m`, is skipped; no two positions are equal. Rows of `out` that no position names keep their values.
/// * One program per token and destination. Specialised for the types, `k` and the hidden size.
/// * SGLang's `deepep_permute` and `pre_reorder`.
///
/// ```
/// use tilewright_dp::kernels::permute_rows;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let src = device.upload(&[1i32, 2], [2, 1])?;
/// let positions = device.upload(&[3i32, 0, -1, 2], [2, 2])?;
/// let mut out = device.zeros::<i32, 2>([4, 1])?;
/// permute_rows(&mut out, &src, &positions).launch(&device)?;
/// assert_eq!(out.download()?, [1, 0, 2, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [positions.extent(1), positions.extent(0).min(src.extent(0))])]
pub fn permute_rows<T: Element, I: Integer>(out: &mut Tensor<T, 2>, src: &Tensor<T, 2>, positions: &Tensor<I, 2>) {
    require(out.extent(1) == src.extent(1));
    let (choice, token) = (program_id(0), program_id(1));
    let to = positions.load([token, choice]);
    let cols = arange(src.extent(1));
    out.store([to, cols], src.load([token, cols]));
}

/// Combines the rows of each token's experts: `out[t]` is the sum over `j` of `weights[t][j] * x[positions[t][j]]`.
///
/// * `out` `[n, hidden]` and `x` `[m, hidden]` of one float type, `positions` `[n, k]` of i32 or i64, `weights` `[n, k]` of f32.
///   A negative position, or one not below `m`, adds nothing.
/// * Products and sums are f32, `j` ascending from +0; the sum is rounded once, to nearest even.
/// * One program per token. Specialised for the types, `k` and the hidden size.
/// * SGLang's `post_reorder` and `ep_gather`, `apply_shuffle_mul_sum`.
///
/// ```
/// use tilewright_dp::kernels::combine_rows;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let x = device.upload(&[1.0f32, 10.0, 100.0], [3, 1])?;
/// let positions = device.upload(&[2i32, 0, 1, -1], [2, 2])?;
/// let weights = device.upload(&[0.5f32, 2.0, 1.0, 1.0], [2, 2])?;
/// let mut out = device.zeros::<f32, 2>([2, 1])?;
/// combine_rows(&mut out, &x, &positions, &weights).launch(&device)?;
/// assert_eq!(out.download()?, [52.0, 10.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [out.extent(0).min(positions.extent(0))])]
pub fn combine_rows<T: Float, I: Integer>(
    out: &mut Tensor<T, 2>,
    x: &Tensor<T, 2>,
    positions: &Tensor<I, 2>,
    weights: &Tensor<f32, 2>,
) {
    require(out.extent(1) == x.extent(1));
    require(weights.extent(0) == positions.extent(0) && weights.extent(1) == positions.extent(1));
    let token = program_id(0);
    let cols = arange(out.extent(1));
    let sum = (0..comptime(positions.extent(1))).fold(full([out.extent(1)], 0.0f32), |sum, j| {
        let from = placed(positions.load([token, j]));
        let term = x.load([from, cols]).cast::<f32>() * weights.load([token, j]);
        select(from >= 0 && from < x.extent(0), sum + term, sum)
    });
    out.store([token, cols], sum.cast::<T>());
}

/// Inverts a permutation: `out[index[i]] = i`.
///
/// * `out` `[m]` of i32 or i64, `index` `[n]` of i32 or i64 without repetition. A negative index, or one not below `m`, is
///   skipped; entries of `out` that no index names keep their values. The type of `out` holds every number below `n`.
/// * One program per 1024 indices. Specialised for the types.
/// * SGLang's `compute_src2dst`.
///
/// ```
/// use tilewright_dp::kernels::invert_permutation;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let sorted = device.upload(&[2i32, 0, 1], [3])?;
/// let mut place = device.zeros::<i32, 1>([3])?;
/// invert_permutation(&mut place, &sorted).launch(&device)?;
/// assert_eq!(place.download()?, [1, 2, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(index.extent(0), 1024)])]
pub fn invert_permutation<O: Integer, I: Integer>(out: &mut Tensor<O, 1>, index: &Tensor<I, 1>) {
    require(index.extent(0) - 1 <= largest::<O>());
    let i = arange(1024) + program_id(0) * 1024;
    out.store_where([index.load([i])], i.cast::<O>(), i < index.extent(0));
}
