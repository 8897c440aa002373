//! The integers of a launch, by the symbols that kernels name them with.

use arrayvec::ArrayVec;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, ListArgument};
use tilewright_dsl::interpret::Known;
use tilewright_dsl::ir::{Layout, Literal, Symbol};

use super::layout_of;

/// The value of a symbol in this launch; of a count in device memory, the maximum, which sizes the grid. `None` for what
/// the host does not know.
#[inline]
pub(crate) fn value_of(call: &Call<'_>, grid: [u64; 3], symbol: Symbol) -> Option<i64> {
    let argument = |position: u32| call.arguments().get(position as usize);
    match symbol {
        Symbol::ProgramId(_) => None,
        Symbol::NumPrograms(axis) => grid
            .get(usize::from(axis))
            .and_then(|&extent| i64::try_from(extent).ok()),
        Symbol::Extent { tensor, axis } => match argument(tensor)? {
            ArgumentValue::Tensor(tensor) => i64::try_from(*tensor.extents.get(usize::from(axis))?).ok(),
            ArgumentValue::List(list) => list_extent(list, axis),
            ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => None,
        },
        Symbol::Stride { tensor, axis } => match argument(tensor)? {
            ArgumentValue::Tensor(tensor) => tensor.strides.get(usize::from(axis)).copied(),
            // Each tensor has its own.
            ArgumentValue::List(_) | ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => None,
        },
        Symbol::Count(position) => match argument(position)? {
            ArgumentValue::Count(CountArgument::Exact(value) | CountArgument::Runtime(value)) => Some(*value),
            ArgumentValue::Count(CountArgument::Device { maximum, .. }) => Some(*maximum),
            ArgumentValue::Tensor(_) | ArgumentValue::List(_) | ArgumentValue::Scalar(_) => None,
        },
    }
}

/// Whether a launch has a value that shaped a recording. A count that shapes a tile has to be exact.
pub(crate) fn has_pinned(call: &Call<'_>, (symbol, value): (Symbol, i64)) -> bool {
    let may_shape = match symbol {
        Symbol::Count(position) => matches!(
            call.arguments().get(position as usize),
            Some(ArgumentValue::Count(CountArgument::Exact(_)))
        ),
        _ => true,
    };
    may_shape && value_of(call, [0; 3], symbol) == Some(value)
}

/// The scalar argument at a position.
pub(crate) fn scalar(arguments: &[ArgumentValue<'_>], position: u32) -> Option<Literal> {
    match arguments.get(position as usize)? {
        ArgumentValue::Scalar(literal) => Some(*literal),
        ArgumentValue::Tensor(_) | ArgumentValue::List(_) | ArgumentValue::Count(_) => None,
    }
}

/// What sizes the grid: a count in device memory is at most its maximum.
pub(crate) struct AtMost<'c, 'a>(pub(crate) &'c Call<'a>);

impl Known for AtMost<'_, '_> {
    #[inline]
    fn symbol(&self, symbol: Symbol) -> Option<i64> {
        value_of(self.0, [0; 3], symbol)
    }

    fn scalar(&self, position: u32) -> Option<Literal> {
        scalar(self.0.arguments(), position)
    }
}

/// What the host knows for certain: no count in device memory.
pub(crate) struct HostKnows<'c, 'a>(pub(crate) &'c Call<'a>);

impl Known for HostKnows<'_, '_> {
    #[inline]
    fn symbol(&self, symbol: Symbol) -> Option<i64> {
        match symbol {
            Symbol::Count(position) => match self.0.arguments().get(position as usize)? {
                ArgumentValue::Count(CountArgument::Exact(value) | CountArgument::Runtime(value)) => Some(*value),
                _ => None,
            },
            _ => value_of(self.0, [0; 3], symbol),
        }
    }

    fn scalar(&self, position: u32) -> Option<Literal> {
        scalar(self.0.arguments(), position)
    }
}

/// How many tensors a list has, and the largest extents among them.
pub(crate) fn list_extents(list: &ListArgument<'_>) -> ArrayVec<u64, 4> {
    let mut extents: ArrayVec<u64, 4> = [list.tensors.len() as u64].into_iter().collect();
    // Tensors of a list have at most three axes, or it does not fit its parameter.
    extents.extend(std::iter::repeat_n(0, list.rank).take(3));
    for tensor in &list.tensors {
        for (most, &extent) in extents.iter_mut().skip(1).zip(&tensor.extents) {
            *most = extent.max(*most);
        }
    }
    extents
}

/// Two tensors of a list whose extents differ on an axis.
pub(crate) fn differing(list: &ListArgument<'_>, axis: usize) -> Option<[usize; 2]> {
    let extent = |index: usize| list.tensors[index].extents.get(axis);
    let other = (1..list.tensors.len()).find(|&index| extent(index) != extent(0))?;
    Some([0, other])
}

fn list_extent(list: &ListArgument<'_>, axis: u8) -> Option<i64> {
    match usize::from(axis).checked_sub(1) {
        None => i64::try_from(list.tensors.len()).ok(),
        Some(axis) if axis >= list.rank => None,
        Some(axis) => {
            let extents = list.tensors.iter().filter_map(|tensor| tensor.extents.get(axis));
            i64::try_from(extents.copied().max().unwrap_or(0)).ok()
        }
    }
}

/// The extents of every tensor and list, and the strides of tensors that do not follow from them.
pub(crate) fn tensor_symbols(call: &Call<'_>) -> Vec<(Symbol, i64)> {
    let mut symbols = Vec::new();
    for (position, argument) in (0u32..).zip(call.arguments()) {
        let with_value = |symbol| value_of(call, [0; 3], symbol).map(|value| (symbol, value));
        let extents =
            |rank: usize| (0..rank as u8).filter_map(move |axis| with_value(Symbol::Extent { tensor: position, axis }));
        let tensor = match argument {
            ArgumentValue::Tensor(tensor) => tensor,
            ArgumentValue::List(list) => {
                symbols.extend(extents(list.rank + 1));
                continue;
            }
            ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => continue,
        };
        let rank = tensor.extents.len() as u8;
        symbols.extend(extents(tensor.extents.len()));
        // An innermost stride of 1 is a fact of every layout but one.
        let free = match layout_of(tensor) {
            Layout::Contiguous => 0,
            Layout::Rows { .. } => rank - 1,
            Layout::Strided => rank,
        };
        symbols.extend((0..free).filter_map(|axis| with_value(Symbol::Stride { tensor: position, axis })));
    }
    symbols
}
