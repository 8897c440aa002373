//! A launch on a GPU: the arguments as words, and one driver call.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use tilewright_dsl::backend::Module;
use tilewright_dsl::call::{ArgumentValue, Call, CountArgument, ListArgument};
use tilewright_dsl::lower::{KernelArgument, MAX_ARGUMENT_WORDS};

use super::update::{refused, unknown_place};
use crate::arguments::{elements, list_of, word_of, words_of};
use crate::device::Device;
use crate::error::{DeviceError, LaunchError};
use crate::hardware::capture::PlaceInGraph;
use crate::hardware::cuda::{self, CudaGraph, CudaStream};
use crate::hardware::memory::{InOrder, Storage, put_launch_in_order};
use crate::hardware::tables::Table;
use crate::specialize::{CudaProgram, KeptWords, Served};

thread_local! {
    /// The words of the table at hand, kept for their memory.
    static WORDS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Puts the plan's kernel into the stream. The call is checked. Returns where it is in a graph that owns what it uses.
#[inline]
pub(super) fn launch(
    call: &Call<'_>,
    grid: [u64; 3],
    served: &Served,
    program: &CudaProgram,
    mut kept: Option<&mut KeptWords>,
    device: &Device,
    stream: &CudaStream,
) -> Result<Option<PlaceInGraph>, LaunchError> {
    if let Some((pointers, order)) = kept
        .as_mut()
        .and_then(|kept| kept.of(&served.variant)?.refilled(call, grid, stream))
    {
        let ready = Ready {
            pointers,
            marks: &[],
            order: Some(order),
        };
        return put(call, program, served.blocks, ready, device, stream);
    }
    launch_anew(call, grid, served, program, kept, device, stream)
}

/// As [`launch`], of which no words are kept. Apart, as it takes much of the stack.
#[inline(never)]
fn launch_anew(
    call: &Call<'_>,
    grid: [u64; 3],
    served: &Served,
    program: &CudaProgram,
    kept: Option<&mut KeptWords>,
    device: &Device,
    stream: &CudaStream,
) -> Result<Option<PlaceInGraph>, LaunchError> {
    let mut made = Made::new();
    made.fill(call, grid, program, device, Some(stream))?;
    let Made { words, marks, tables } = &mut made;
    let wanted = &program.module.arguments;
    let place = with_pointers(words, wanted, |pointers| {
        let ready = Ready {
            pointers,
            marks,
            order: None,
        };
        put(call, program, served.blocks, ready, device, stream)
    })?;
    tables.iter().for_each(|table| table.is_read_by(stream));
    if let Some(kept) = kept {
        kept.place_for(&served.variant)
            .keep(&served.variant, wanted, words, tables.drain(..), stream);
    }
    Ok(place)
}

/// Lets a launch in a graph be the plan's. The call is checked, and overlaps if the one that was captured did.
pub(super) fn update(
    call: &Call<'_>,
    grid: [u64; 3],
    served: &Served,
    program: &CudaProgram,
    device: &Device,
    (graph, at): (&mut CudaGraph, usize),
) -> Result<(), LaunchError> {
    let is_marks = |wanted: &KernelArgument| matches!(wanted, KernelArgument::Marks { .. });
    if program.module.arguments.iter().any(is_marks) {
        let reason = "a checked build needs memory of its own for each launch".to_owned();
        return Err(refused(call, reason));
    }
    let mut made = Made::new();
    made.fill(call, grid, program, device, None)?;
    let used = memories(call.arguments()).map(Storage::as_used);
    let Module {
        threads,
        dynamic_shared,
        ..
    } = program.module;
    let kernel = (&program.function, served.blocks, threads, dynamic_shared);
    let used = used.chain([served.variant.clone() as _]);
    // SAFETY: as for a launch; the graph keeps the memory and the kernel, and orders its launches with other uses. Tables of
    // graphs stay as long as the device.
    with_pointers(&mut made.words, &program.module.arguments, |pointers| unsafe {
        graph.update(at, kernel, pointers, used)
    })?
    .ok_or_else(|| unknown_place(call))
}

/// The arguments of a launch, and what was made for them.
struct Made {
    words: ArrayVec<u64, MAX_ARGUMENT_WORDS>,
    /// Freed when they are dropped, which the stream does after the launch.
    marks: Vec<Storage>,
    tables: ArrayVec<Arc<Table>, MAX_ARGUMENT_WORDS>,
}

impl Made {
    fn new() -> Self {
        Self {
            words: ArrayVec::new(),
            marks: Vec::new(),
            tables: ArrayVec::new(),
        }
    }

    /// Fills in what the plan's kernel wants, where it lies. Without a stream it is for a graph.
    fn fill(
        &mut self,
        call: &Call<'_>,
        grid: [u64; 3],
        program: &CudaProgram,
        device: &Device,
        stream: Option<&CudaStream>,
    ) -> Result<(), LaunchError> {
        let Self { words, marks, tables } = self;
        let kernel = call.definition().name();
        let wanted = &program.module.arguments;
        let found = wanted.iter().map(|wanted| wanted.words()).sum();
        if found > MAX_ARGUMENT_WORDS {
            return Err(LaunchError::TooManyCudaArguments {
                kernel,
                found,
                most: MAX_ARGUMENT_WORDS,
            });
        }
        for wanted in wanted {
            let missing = || LaunchError::WrongArguments {
                kernel,
                reason: format!("nothing fits {wanted:?}"),
            };
            if let KernelArgument::Entries { list, .. } = *wanted {
                let is_as_long = |list: &&ListArgument<'_>| {
                    KernelArgument::list_words(list.tensors.len(), list.rank) == wanted.words()
                };
                list_of(call, list)
                    .filter(is_as_long)
                    .and_then(|list| words_of(list, |word| words.push(word)))
                    .ok_or_else(missing)?;
                continue;
            }
            let word = match (wanted, &program.traps) {
                (KernelArgument::Trap, Some(record)) => Some(record.address()),
                (KernelArgument::Marks { tensor, words }, _) => match marks_for(call, *tensor, *words, device)? {
                    Some(storage) => {
                        marks.push(storage);
                        marks.last().map(Storage::address)
                    }
                    None => None,
                },
                (KernelArgument::Table(position), _) => match table_for(call, *position, device, stream)? {
                    Some(table) => {
                        tables.push(table);
                        tables.last().map(|table| table.address())
                    }
                    None => None,
                },
                _ => word_of(call, grid, *wanted),
            };
            words.push(word.ok_or_else(missing)?);
        }
        Ok(())
    }
}

/// Most kernels have no more arguments.
const FEW: usize = 32;

/// Does something with a pointer to the first word of each of the arguments, which the words are those of.
#[inline]
fn with_pointers<R>(words: &mut [u64], arguments: &[KernelArgument], body: impl FnOnce(&mut [*mut c_void]) -> R) -> R {
    if arguments.len() > FEW {
        return with_many_pointers(words, arguments, body);
    }
    let mut few = [ptr::null_mut(); FEW];
    for (pointer, first) in few.iter_mut().zip(first_words(words, arguments)) {
        *pointer = first;
    }
    body(&mut few)
}

#[inline(never)]
fn with_many_pointers<R>(
    words: &mut [u64],
    arguments: &[KernelArgument],
    body: impl FnOnce(&mut [*mut c_void]) -> R,
) -> R {
    // Filled where they are: collecting would move all of the room that there is.
    let mut pointers = ArrayVec::<_, MAX_ARGUMENT_WORDS>::new();
    pointers.extend(first_words(words, arguments));
    body(&mut pointers)
}

fn first_words(words: &mut [u64], arguments: &[KernelArgument]) -> impl Iterator<Item = *mut c_void> {
    let mut rest = words;
    arguments.iter().map(move |argument| {
        let (own, behind) = std::mem::take(&mut rest).split_at_mut(argument.words());
        rest = behind;
        own.as_mut_ptr().cast()
    })
}

/// What the driver is given, but where.
struct Ready<'r> {
    /// To the word of each argument.
    pointers: &'r mut [*mut c_void],
    /// Memory that only this launch uses.
    marks: &'r [Storage],
    order: Option<&'r mut InOrder>,
}

/// The driver call.
fn put(
    call: &Call<'_>,
    program: &CudaProgram,
    blocks: u32,
    ready: Ready<'_>,
    device: &Device,
    stream: &CudaStream,
) -> Result<Option<PlaceInGraph>, LaunchError> {
    let Ready { pointers, marks, order } = ready;
    let launch = match call.is_overlapping() {
        true => cuda::launch_overlapping,
        false => cuda::launch,
    };
    let used = || memories(call.arguments()).chain(marks);
    let place = put_launch_in_order(device.hardware(), stream, used, order, || {
        // SAFETY: the pointers are to the words of the arguments that the kernel was printed with, in their order, one or as
        // many as an argument has, and a word is as aligned as any of them. Every address is of an allocation that the call
        // borrows; later uses, freeing among them, are ordered after this one by `put_launch_in_order`. The kernel stays
        // within the extents and strides that were checked to lie in the allocations, as far as its author has not taken
        // that over in an `unsafe` block.
        // An overlapping launch was planned for a kernel that begins with waiting only.
        unsafe {
            launch(
                &program.function,
                blocks,
                program.module.threads,
                program.module.dynamic_shared,
                pointers,
                stream,
            )
        }
    })
    .map_err(LaunchError::from)?;
    device.hardware().mark(stream);
    Ok(place)
}

/// The memory that arguments lie in.
pub(super) fn memories<'c, 'a: 'c>(
    arguments: impl IntoIterator<Item = &'c ArgumentValue<'a>, IntoIter: Clone>,
) -> impl Iterator<Item = &'c Storage> + Clone {
    let memories = |argument: &'c ArgumentValue<'_>| {
        let (one, list) = match argument {
            ArgumentValue::Tensor(tensor) => (Some(tensor.memory), None),
            ArgumentValue::List(list) => (None, Some(&list.tensors)),
            ArgumentValue::Count(CountArgument::Device { memory, .. }) => (Some(*memory), None),
            ArgumentValue::Count(_) | ArgumentValue::Scalar(_) => (None, None),
        };
        one.into_iter()
            .chain(list.into_iter().flatten().map(|tensor| tensor.memory))
    };
    arguments.into_iter().flat_map(memories).filter_map(Storage::of)
}

/// The table of a list.
fn table_for(
    call: &Call<'_>,
    position: u32,
    device: &Device,
    stream: Option<&CudaStream>,
) -> Result<Option<Arc<Table>>, DeviceError> {
    let (Some(list), Some(cuda)) = (list_of(call, position), device.as_cuda()) else {
        return Ok(None);
    };
    WORDS.with_borrow_mut(|words| {
        words.clear();
        match words_of(list, |word| words.push(word)) {
            Some(()) => device.tables().find(cuda, words, stream).map(Some),
            None => Ok(None),
        }
    })
}

/// So many words for each element of a tensor or list, all zero.
fn marks_for(call: &Call<'_>, position: u32, words: u32, device: &Device) -> Result<Option<Storage>, DeviceError> {
    let elements = match call.arguments().get(position as usize) {
        Some(ArgumentValue::Tensor(tensor)) => elements(&tensor.extents),
        Some(ArgumentValue::List(list)) => {
            let each = list.tensors.iter().map(|tensor| elements(&tensor.extents));
            each.fold(0, u64::saturating_add)
        }
        _ => return Ok(None),
    };
    let bytes = elements.saturating_mul(u64::from(words) * size_of::<u64>() as u64);
    // What no address space holds, the allocator refuses.
    Storage::zeroed(device.hardware(), usize::try_from(bytes).unwrap_or(usize::MAX)).map(Some)
}
