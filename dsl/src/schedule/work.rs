//! What a program does, as far as its schedule depends on it.

use std::cell::Cell;

use super::{SECTOR_BYTES, VECTOR_BYTES};
use crate::analysis::divisibility::{divisor, stride_divisor};
use crate::analysis::effects::Effects;
use crate::analysis::lines::{handed_over, is_costly, reduces_lines};
use crate::ir::{Access, Expression, Handle, Kernel, Layout, Statement, Symbol, TensorParameter};

/// How much one program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// 16-byte accesses of its largest tile: whole ones, where its rows begin anywhere.
    pub vectors: u64,
    /// Elements of its largest tile.
    pub elements: u64,
    /// Whether its threads can work without waiting for one another.
    pub independent: bool,
    /// Whether it loads from where a loaded index says, so that it waits for memory twice.
    pub indirect_load: bool,
    /// Whether it stores to where a loaded index says.
    pub indirect_store: bool,
    /// Loads that an element of what it stores is made of, at most.
    pub loads: u64,
    /// Whether rows are not known to begin at multiples of 16 bytes, so that what is loaded is put together of two accesses and
    /// rows have ends of single elements.
    pub ragged: bool,
    /// Whether rows that are stored are not.
    pub ragged_store: bool,
    /// Whether its largest tiles are lines, and one is stored on the device itself.
    pub stores_line: bool,
    /// Whether such a line begins anywhere.
    pub ragged_line: bool,
    /// Whether such a line is stored as it was loaded, to where a loaded index says, and not known to begin at a multiple of a sector's 32
    /// bytes: then it shares sectors with what lies before and behind it. What lines share only where they end is not looked for.
    pub scatters_ends: bool,
    /// Whether elements are stored at other places of a row than they have on their line, or further apart.
    pub stores_elsewhere: bool,
    /// Whether it moves one row of elements of one or two bytes, in no loop, from memory of the device to memory of the device, and does no
    /// atomic operation.
    pub moves_row: bool,
    /// Whether it reads what it writes.
    pub in_place: bool,
    /// Whether its author denies that an access is narrow.
    pub denies_narrow: bool,
    /// Whether the extents are literals that a loaded index is compared with where it stores.
    pub literal_bounds: bool,
    /// How elements meet, if that is what its threads depend on one another by.
    pub meets: Option<Meets>,
    /// Whether elements are combined to one.
    pub to_one: bool,
    /// Whether its threads wait for one another only where lines, which are all of its tiles, are reduced to one element: then they may be of
    /// several blocks.
    pub reduces_lines: bool,
    /// Elements of the longest line of a tile whose lines are combined to one element each, if that is a long one; else 0.
    pub longest_line: u64,
    /// Whether what is combined takes long to compute.
    pub costly: bool,
    /// Whether the largest tile is a line that threads hold as they combine it, although it is no whole number of chunks.
    pub held_as_combined: bool,
    /// Bytes of the tiles that it loads and stores.
    pub bytes: u64,
    /// Bytes of the largest tile that it loads.
    pub loaded: u64,
}

/// How elements of a tile meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    /// They are scanned, by whole warps.
    Scanned,
    /// They are combined or counted.
    Combined,
    /// They are sorted.
    Sorted,
    /// They are sorted, and so many of them wanted: less than half.
    Selected(u64),
}

/// Bytes of a small element, at most.
const SMALL: usize = 2;

/// Elements of a line that is long.
const LONG_LINE: u64 = 64;

impl Work {
    /// The work of one program of `kernel`.
    pub fn of(kernel: &Kernel) -> Self {
        let effects = Effects::of(kernel);
        let independent = effects.threads_are_independent();
        let sorts = |(_, node): (_, &Expression)| matches!(node, Expression::ArgSort { .. });
        let meets = match effects.has_scans {
            true => Meets::Scanned,
            false if kernel.expressions.iter().any(sorts) => Meets::Sorted,
            false => Meets::Combined,
        };
        let combined = || {
            kernel.expressions.iter().filter_map(|(result, node)| match node {
                Expression::Reduce { value, .. } => Some((*value, result)),
                _ => None,
            })
        };
        // From how many elements to how many.
        let extents = || combined().map(|both| <[_; 2]>::from(both).map(|tile| kernel.ty(tile).shape.elements()));
        let lines = extents().filter(|[_, to]| *to > 1).map(|[from, to]| from / to);
        let by_meeting = effects.has_collectives && !effects.in_order && effects.atomics.used.is_empty();
        let loads = most_loads(kernel);
        let mut work = Self {
            vectors: 1,
            elements: 1,
            independent,
            indirect_load: false,
            indirect_store: false,
            loads: loads.max(1),
            ragged: false,
            ragged_store: false,
            stores_line: false,
            ragged_line: false,
            scatters_ends: false,
            stores_elsewhere: false,
            moves_row: false,
            in_place: !effects.stored.is_disjoint(&effects.loaded),
            denies_narrow: kernel.denies_narrow(),
            literal_bounds: false,
            meets: by_meeting.then_some(meets),
            to_one: extents().any(|[_, to]| to == 1),
            reduces_lines: effects.threads_wait_where_elements_meet()
                && effects.of_peers.is_empty()
                && reduces_lines(kernel),
            longest_line: lines.filter(|line| *line >= LONG_LINE).max().unwrap_or(0),
            costly: combined().any(|(value, _)| is_costly(kernel, value)),
            held_as_combined: false,
            bytes: 0,
            loaded: 0,
        };
        let bytes_of = |access: &Access, value| {
            let size = kernel.tensor(access.tensor).map_or(0, |tensor| tensor.element.size());
            kernel.ty(value).shape.elements() * size as u64
        };
        let loaded = |access: &Access| access.indices.iter().any(|&index| depends_on_load(kernel, index));
        let (mut bytes, mut stored, mut ragged, mut scattered) = (0, 0, 0, 0);
        // Whether a tile is of large elements or lies elsewhere than in a row, and whether there is a loop.
        let (mut is_apart, mut repeats) = (false, false);
        let moves = |access: &Access, value| {
            let is_small = kernel
                .tensor(access.tensor)
                .is_some_and(|tensor| tensor.element.size() <= SMALL);
            kernel.ty(value).is_scalar() || (is_small && !is_elsewhere(kernel, access, value))
        };
        kernel.body.walk(&mut |statement, _| {
            let value = match statement {
                Statement::Store { access, value, .. } => {
                    work.bytes += bytes_of(access, *value);
                    is_apart |= !moves(access, *value);
                    let elements = kernel.ty(*value).shape.elements();
                    stored = stored.max(elements);
                    if is_ragged(kernel, access, *value, VECTOR_BYTES) {
                        work.ragged_store = true;
                        ragged = ragged.max(elements);
                    }
                    let is_moved = matches!(kernel.expressions[*value], Expression::Load(_));
                    if is_moved && loaded(access) && is_ragged(kernel, access, *value, SECTOR_BYTES) {
                        scattered = scattered.max(elements);
                    }
                    work.ragged |= work.ragged_store;
                    work.stores_elsewhere |= is_elsewhere(kernel, access, *value);
                    work.indirect_store |= loaded(access);
                    work.literal_bounds |= is_bounded_by_literals(kernel, access);
                    *value
                }
                Statement::Assign { value, .. } => *value,
                Statement::Let(value) => match &kernel.expressions[*value] {
                    Expression::Load(access) => {
                        let bytes = bytes_of(access, *value);
                        work.bytes += bytes;
                        work.loaded = work.loaded.max(bytes);
                        is_apart |= !moves(access, *value);
                        work.ragged |= is_ragged(kernel, access, *value, VECTOR_BYTES);
                        work.indirect_load |= loaded(access);
                        return;
                    }
                    Expression::Atomic(atomic) => {
                        work.indirect_store |= loaded(&atomic.access);
                        // Each element is an access of its own.
                        let elements = kernel.ty(*value).shape.elements();
                        work.elements = work.elements.max(elements);
                        work.vectors = work.vectors.max(elements);
                        return;
                    }
                    Expression::Reduce { value, .. }
                    | Expression::Scan { value, .. }
                    | Expression::ArgSort { value, .. }
                    | Expression::Histogram { value, .. } => *value,
                    _ => return,
                },
                Statement::For { .. } | Statement::While { .. } => {
                    repeats = true;
                    return;
                }
                _ => return,
            };
            let ty = kernel.ty(value);
            let elements = ty.shape.elements();
            work.elements = work.elements.max(elements);
            bytes = bytes.max(elements * ty.element.size() as u64);
        });
        let mut shapes = kernel.expressions.iter().map(|(value, _)| kernel.ty(value).shape);
        let are_lines =
            shapes.all(|shape| shape.elements() != work.elements || u64::from(shape.innermost()) == work.elements);
        work.stores_line = are_lines && stored == work.elements && effects.of_peers.is_empty();
        work.ragged_line = work.stores_line && ragged == work.elements;
        work.scatters_ends = work.stores_line && scattered == work.elements;
        // Loaded, stored, and perhaps zeros stored in its place.
        let is_one = work.bytes < 4 * bytes && loads == 1;
        work.moves_row = work.stores_line && is_one && !is_apart && !repeats && effects.atomics.tensors.is_empty();
        let vectors = match work.ragged {
            true => bytes / u64::from(VECTOR_BYTES),
            false => bytes.div_ceil(VECTOR_BYTES.into()),
        };
        work.vectors = work.vectors.max(vectors);
        work.held_as_combined = work.meets == Some(Meets::Combined) && handed_over(kernel).contains(&work.elements);
        if work.meets == Some(Meets::Sorted) && 2 * stored < work.elements {
            work.meets = Some(Meets::Selected(stored));
        }
        work
    }
}

/// How many loads of tiles an element of what a kernel stores is made of, at most.
pub(crate) fn most_loads(kernel: &Kernel) -> u64 {
    let mut most = 0;
    kernel.body.walk(&mut |statement, _| {
        if let Statement::Store { value, .. } = statement {
            most = most.max(tile_loads(kernel, *value));
        }
    });
    most
}

/// How many loads of tiles `value` is made of.
fn tile_loads(kernel: &Kernel, value: Handle<Expression>) -> u64 {
    let loads = Cell::new(0);
    let is_tile = |value| !kernel.ty(value).is_scalar();
    let is_load = |value| matches!(kernel.expressions[value], Expression::Load(_));
    let within = |value| {
        loads.set(loads.get() + u64::from(is_tile(value) && is_load(value)));
        is_tile(value) && !is_load(value)
    };
    kernel.is_made_of(value, within, |_| false);
    loads.get()
}

/// Whether the rows of a tile that is loaded or stored are not known to begin at multiples of so many bytes. Of where the tensor begins no
/// more than 16 bytes are asked for: more is not known, and there is only one beginning.
fn is_ragged(kernel: &Kernel, access: &Access, tile: Handle<Expression>, bytes: u32) -> bool {
    let Some(parameter) = kernel.tensor(access.tensor) else {
        return false;
    };
    // Neighbours of others are not accessed together anyway.
    if parameter.layout == Layout::Strided || kernel.ty(tile).is_scalar() {
        return false;
    }
    let size = parameter.element.size() as u64;
    let rows = access
        .indices
        .iter()
        .zip(0u8..)
        .take(usize::from(parameter.rank).saturating_sub(1));
    let mut starts = rows.map(|(&index, axis)| {
        let by = divisor(kernel, index).saturating_mul(stride_divisor(kernel, access.tensor, axis));
        by.saturating_mul(size)
    });
    !parameter.alignment.is_multiple_of(VECTOR_BYTES) || starts.any(|by| !by.is_multiple_of(bytes.into()))
}

/// Whether an access puts the elements of a tile at other places of a row than they have on their line, or further apart.
fn is_elsewhere(kernel: &Kernel, access: &Access, tile: Handle<Expression>) -> bool {
    if kernel.ty(tile).shape.elements() == 1 {
        return false;
    }
    let mut along = access.indices.last().copied();
    while let Some(Expression::Reshape { value, .. } | Expression::Broadcast { value, .. }) =
        along.map(|index| &kernel.expressions[index])
    {
        along = Some(*value);
    }
    let counts = along.is_some_and(|index| matches!(kernel.expressions[index], Expression::Arange(_)));
    let is_strided = |parameter: &TensorParameter| parameter.layout == Layout::Strided;
    !counts || kernel.tensor(access.tensor).is_some_and(is_strided)
}

/// Whether a loaded index of an access is compared with literals only.
fn is_bounded_by_literals(kernel: &Kernel, access: &Access) -> bool {
    let loaded = |(index, _): &(&Handle<Expression>, u8)| depends_on_load(kernel, **index);
    let is_literal = |(_, axis): (_, u8)| {
        let tensor = access.tensor;
        kernel.bindings.exact(Symbol::Extent { tensor, axis }).is_some()
    };
    let mut axes = access.indices.iter().zip(0u8..).filter(loaded).peekable();
    axes.peek().is_some() && axes.all(is_literal)
}

fn depends_on_load(kernel: &Kernel, value: Handle<Expression>) -> bool {
    let is_load = |value| matches!(kernel.expressions[value], Expression::Load(_) | Expression::Atomic(_));
    kernel.is_made_of(value, |_| true, is_load)
}
