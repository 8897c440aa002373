//! Indices of requests: positions, slots and pages.
//!
//! A request pool `[requests, length]` holds, in row `r`, the slot of every token of request `r`.

use tilewright_dsl::{device, kernel, lang::*};

use super::integer::{check_fits, counted, first_row, placed};

/// The largest slot that a request pool holds.
const LARGEST_SLOT: i64 = i32::MAX as i64;

/// Which of `rows` rows from `start` on are among `extent`: from one, and up to another. There is no going through all that
/// starts may say.
#[device]
fn part_inside(start: Scalar<i64>, rows: Scalar<i64>, extent: Scalar<i64>) -> (Scalar<i64>, Scalar<i64>) {
    ((zero::<i64>() - start).max(0), rows.min(extent - start))
}

/// Tokens per trip, and requests per program where a program does several.
const BLOCK: usize = 256;

/// The position of every packed token in its request: `positions[starts[b] + i] = prefix[b] + i`.
///
/// * `positions` `[total]` of i32 or i64; `requests` the [`Ragged`] layout of the tokens; `prefix` `[batch]` of i32 or i64, the
///   tokens that a request has already. Entries that no request covers keep their values.
/// * One program per request. Specialised for the types.
/// * SGLang's `compute_position`.
///
/// ```
/// use tilewright_dp::kernels::ragged_positions;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let starts = device.upload(&[0i32, 2, 5], [3])?;
/// let prefix = device.upload(&[7i32, 0], [2])?;
/// let mut positions = device.zeros::<i64, 1>([5])?;
/// ragged_positions(&mut positions, &starts, &prefix).launch(&device)?;
/// assert_eq!(positions.download()?, [7, 8, 0, 1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [prefix.extent(0)])]
pub fn ragged_positions<P: Integer, I: Integer, L: Integer>(
    positions: &mut Tensor<P, 1>,
    requests: &Ragged<I>,
    prefix: &Tensor<L, 1>,
) {
    require(requests.segments() >= prefix.extent(0));
    let request = program_id(0);
    let (start, rows) = requests.span(request);
    let first = counted(prefix.load([request]));
    check_fits::<P, 0>(
        first + rows - 1,
        i64::MAX,
        "a position is more than the type of `positions` holds",
    );
    let (before, end) = part_inside(start, rows, positions.extent(0));
    for block in before / BLOCK..cdiv(end, BLOCK) {
        let i = arange(BLOCK) + block * BLOCK;
        positions.store_where([start + i], (first + i).cast::<P>(), i < rows);
    }
}

/// The slots of every request's tokens, packed: `out[starts[b] + i] = pool[rows[b]][first[b] + i]`.
///
/// * `out` `[total]` of i32 or i64; `requests` the [`Ragged`] layout of `out` (`kv_indptr`); `rows` and `first` `[batch]` of i32
///   or i64, the pool row of a request and its first token; `pool` `[requests, length]` of i32. What the pool does not have
///   is 0.
/// * One program per request. Specialised for the types.
/// * SGLang's `create_flashinfer_kv_indices`.
///
/// ```
/// use tilewright_dp::kernels::kv_indices;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let pool = device.upload(&[10i32, 11, 12, 20, 21, 22], [2, 3])?;
/// let (starts, rows) = (device.upload(&[0i32, 2, 3], [3])?, device.upload(&[1i32, 0], [2])?);
/// let first = device.upload(&[0i32, 2], [2])?;
/// let mut out = device.zeros::<i32, 1>([3])?;
/// kv_indices(&mut out, &starts, &rows, &first, &pool).launch(&device)?;
/// assert_eq!(out.download()?, [20, 21, 12]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [rows.extent(0)])]
pub fn kv_indices<O: Integer, I: Integer, R: Integer>(
    out: &mut Tensor<O, 1>,
    requests: &Ragged<I>,
    rows: &Tensor<R, 1>,
    first: &Tensor<R, 1>,
    pool: &Tensor<i32, 2>,
) {
    require(requests.segments() >= rows.extent(0) && first.extent(0) == rows.extent(0));
    let request = program_id(0);
    let (start, count) = requests.span(request);
    let (row, first) = (placed(rows.load([request])), placed(first.load([request])));
    let (before, end) = part_inside(start, count, out.extent(0));
    for block in before / BLOCK..cdiv(end, BLOCK) {
        let i = arange(BLOCK) + block * BLOCK;
        let slot = pool.load([row, first + i]).cast::<i64>();
        check_fits::<O, 1>(
            select(i < count, slot, zero::<i64>()),
            LARGEST_SLOT,
            "a slot is more than the type of `out` holds",
        );
        out.store_where([start + i], slot.cast::<O>(), i < count);
    }
}

/// The slot of the last token of every request's prefix, or -1: `out[b] = pool[rows[b]][prefix[b] - 1]`.
///
/// * `out` `[batch]` of i32 or i64; `rows` and `prefix` `[batch]` of i32 or i64; `pool` `[requests, length]` of i32. A request
///   without a prefix, or one that the pool does not have, gives -1.
/// * One program per 256 requests. Specialised for the types.
/// * SGLang's `get_last_loc`.
///
/// ```
/// use tilewright_dp::kernels::last_slot;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let pool = device.upload(&[10i32, 11, 20, 21], [2, 2])?;
/// let (rows, prefix) = (device.upload(&[1i32, 0], [2])?, device.upload(&[2i32, 0], [2])?);
/// let mut out = device.zeros::<i64, 1>([2])?;
/// last_slot(&mut out, &rows, &prefix, &pool).launch(&device)?;
/// assert_eq!(out.download()?, [21, -1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(out.extent(0), BLOCK)])]
pub fn last_slot<O: Integer, R: Integer>(
    out: &mut Tensor<O, 1>,
    rows: &Tensor<R, 1>,
    prefix: &Tensor<R, 1>,
    pool: &Tensor<i32, 2>,
) {
    require(rows.extent(0) == out.extent(0) && prefix.extent(0) == out.extent(0));
    let request = arange(BLOCK) + program_id(0) * BLOCK;
    let row = placed(rows.load([request]));
    let last = placed(prefix.load([request])) - 1;
    let there = (row >= 0) & (row < pool.extent(0)) & (last >= 0) & (last < pool.extent(1));
    let slot = select(
        there,
        pool.load_where([row, last], there).cast::<i64>(),
        zero::<i64>() - 1,
    );
    check_fits::<O, 1>(slot, LARGEST_SLOT, "a slot is more than the type of `out` holds");
    out.store([request], slot.cast::<O>());
}

/// Slots for the new tokens of every request from a paged cache: the rest of its last page, then new pages.
///
/// * `slots` `[total]` of i64; `requests` the [`Ragged`] layout of the new tokens; `prefix` `[batch]`, the tokens that a
///   request has already, and `last` `[batch]`, the slot of the last of them, both of i64; `pages` `[free]` of i64, free
///   pages in the order in which they are taken; `used` `[1]` of i64 becomes the number of pages taken. `page` is the tokens
///   of a page, a count.
/// * Request `b` takes the pages behind those that requests before it take. Where `pages` has too few, slots are those of
///   page 0, which engines reserve for padding, and `used` is larger than its length: check it. `last`, and pages that begin,
///   beyond 2^40 on either side count as that, or as the last page before it.
/// * One program per request. Specialised for the types, and for `page` if it is exact.
/// * SGLang's `alloc_extend` and, with one new token each, `alloc_decode`.
///
/// ```
/// use tilewright_dp::kernels::alloc_extend;
/// use tilewright_dsl::call::Exact;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// // A request with 3 tokens, the last of them in slot 6, gets 3 more; another one gets its first 2. Pages have 4 tokens.
/// let starts = device.upload(&[0i64, 3, 5], [3])?;
/// let (prefix, last) = (device.upload(&[3i64, 0], [2])?, device.upload(&[6i64, -1], [2])?);
/// let pages = device.upload(&[9i64, 5, 2], [3])?;
/// let (mut slots, mut used) = (device.zeros::<i64, 1>([5])?, device.zeros::<i64, 1>([1])?);
/// alloc_extend(&mut slots, &mut used, &starts, &prefix, &last, &pages, Exact(4)).launch(&device)?;
/// assert_eq!(slots.download()?, [7, 36, 37, 20, 21]);
/// assert_eq!(used.download()?, [2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [prefix.extent(0).max(1)])]
pub fn alloc_extend<I: Integer>(
    slots: &mut Tensor<i64, 1>,
    used: &mut Tensor<i64, 1>,
    requests: &Ragged<I>,
    prefix: &Tensor<i64, 1>,
    last: &Tensor<i64, 1>,
    pages: &Tensor<i64, 1>,
    page: Count,
) {
    require(requests.segments() >= prefix.extent(0) && last.extent(0) == prefix.extent(0));
    let request = program_id(0);
    let page = page.max(1);
    // Pages that the requests before this one take.
    let mut taken = 0i64;
    for block in 0..cdiv(request, BLOCK) {
        let other = arange(BLOCK) + block * BLOCK;
        let had = counted(prefix.load([other]));
        let starts = requests.starts();
        let new = (placed(starts.load([other + 1])) - placed(starts.load([other]))).max(0);
        let more = (had + new).div_ceil(page) - had.div_ceil(page);
        taken += select(other < request, more, zero::<i64>()).sum_axis(0);
    }
    let (start, new) = requests.span(request);
    // Without requests there is one program all the same, to say that no page is used.
    let new = select(request < prefix.extent(0), new, zero::<i64>());
    let (had, last) = (counted(prefix.load([request])), placed(last.load([request])));
    let own_pages = had.div_ceil(page);
    let (before, end) = part_inside(start, new, slots.extent(0));
    for block in before / BLOCK..cdiv(end, BLOCK) {
        let i = arange(BLOCK) + block * BLOCK;
        let position = had + i;
        let fresh = position / page - own_pages;
        let slot = select(
            fresh < 0,
            last + 1 + i,
            first_row(pages.load([(taken + fresh).max(0)]), page) + position % page,
        );
        slots.store_where([start + i], slot, i < new);
    }
    if request == num_programs(0) - 1 {
        used.store([0], taken + (had + new).div_ceil(page) - own_pages);
    }
}

/// Looks ids up in a table: `out[i] = table[ids[i]]` for `i < count`, 0 for a negative id and behind `count`.
///
/// * `out` and `ids` `[n]` and `table` `[m]` of i32 or i64; an id not below `m` gives 0 too; `count` a count.
/// * One program per 256 ids. Specialised for the types, and for the count if it is exact.
/// * Engines translate virtual to physical pages so.
///
/// ```
/// use tilewright_dp::kernels::translate_ids;
/// use tilewright_dsl::call::Runtime;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let table = device.upload(&[7i32, 8, 9], [3])?;
/// let ids = device.upload(&[2i64, -1, 0, 1], [4])?;
/// let mut out = device.upload(&[5i32; 4], [4])?;
/// translate_ids(&mut out, &ids, &table, Runtime(3)).launch(&device)?;
/// assert_eq!(out.download()?, [9, 0, 7, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(out.extent(0), BLOCK)])]
pub fn translate_ids<T: Integer, I: Integer>(
    out: &mut Tensor<T, 1>,
    ids: &Tensor<I, 1>,
    table: &Tensor<T, 1>,
    count: Count,
) {
    let i = arange(BLOCK) + program_id(0) * BLOCK;
    let real = i < count.min(ids.extent(0));
    let id = ids.load_where([i], real);
    out.store([i], table.load_where([id], real));
}

/// Copies the fields of a batch, all in one launch: `out[i] = field[i]` for `i < rows`, of `N` fields of one type and `M` of
/// another.
///
/// * Each field is `[n, width]`, its copy `[m, width]`, with an `n`, `m`, width and strides of its own: a part of a larger
///   table if need be. `narrow` of one element type (i32, say), `wide` of another (i64); `rows` a count. Rows that a field
///   or its copy does not have are left out, and rows of a copy from `rows` on keep their values.
/// * One program per field and 256 rows. Specialised for the types, `N`, `M` and the widths.
/// * Engines bring ids, positions, lengths and slots of a step into the buffers of a graph so: a launch for each would take
///   longer than the copies.
///
/// ```
/// use tilewright_dp::kernels::copy_fields;
/// use tilewright_dsl::call::Runtime;
/// use tilewright_runtime::{Device, Launch};
///
/// let device = Device::cpu();
/// let (ids, lengths) = (device.upload(&[1i32, 2, 3], [3, 1])?, device.upload(&[4i32, 5], [2, 1])?);
/// let slots = device.upload(&[6i64, 7, 8, 9], [2, 2])?;
/// let (mut a, mut b) = (device.zeros::<i32, 2>([4, 1])?, device.zeros::<i32, 2>([4, 1])?);
/// let mut c = device.zeros::<i64, 2>([4, 2])?;
/// copy_fields([&mut a, &mut b], [&mut c], [&ids, &lengths], [&slots], Runtime(2)).launch(&device)?;
/// assert_eq!((a.download()?, b.download()?), (vec![1, 2, 0, 0], vec![4, 5, 0, 0]));
/// assert_eq!(c.download()?, [6, 7, 8, 9, 0, 0, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[kernel(grid = [cdiv(rows, BLOCK), (N + M) as i64])]
pub fn copy_fields<A: Element, B: Element, const N: usize, const M: usize>(
    narrow_out: [&mut Tensor<A, 2>; N],
    wide_out: [&mut Tensor<B, 2>; M],
    narrow: [&Tensor<A, 2>; N],
    wide: [&Tensor<B, 2>; M],
    rows: Count,
) {
    let (row, field) = ((program_id(0) * BLOCK + arange(BLOCK)).expand_dims(1), program_id(1));
    for f in 0..N {
        require(narrow_out[f].extent(1) == narrow[f].extent(1));
        if field == f as i64 {
            let real = row < rows.min(narrow[f].extent(0));
            let cols = arange(narrow_out[f].extent(1));
            narrow_out[f].store_where([row, cols], narrow[f].load_where([row, cols], real), real);
        }
    }
    for f in 0..M {
        require(wide_out[f].extent(1) == wide[f].extent(1));
        if field == (N + f) as i64 {
            let real = row < rows.min(wide[f].extent(0));
            let cols = arange(wide_out[f].extent(1));
            wide_out[f].store_where([row, cols], wide[f].load_where([row, cols], real), real);
        }
    }
}
